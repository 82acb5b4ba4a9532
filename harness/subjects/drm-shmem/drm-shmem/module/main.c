// SPDX-License-Identifier: GPL-2.0-only
/* GEM objects in shared memory, on a device without hardware: what there is to run. */
#include <linux/module.h>
#include <linux/seq_file.h>
#include <drm/drm_drv.h>

#include "shmem.h"

static const struct tp_case * const sh_tables[] = {
	sh_cases_state, sh_cases_purge, sh_cases_map, sh_cases_share, sh_cases_scan,
	sh_cases_fault, sh_cases_race, sh_cases_load,
};

struct sh_stats sh_stats;
atomic_t sh_objects;

static const struct tp_key sh_keys[] = {
	TP_KEY("bo", K_SIZE, bo, 4096, 64 << 20, NULL),
	TP_KEY("total", K_TOTAL, total, 0, 0, NULL),
	TP_KEY("purgeable", K_INT, purgeable, 0, 100, NULL),
	TP_KEY("threads", K_INT, threads, 1, 16, NULL),
	TP_KEY("cycles", K_INT, cycles, 1, 1000, NULL),
};

static bool sh_may_run(struct tp_run *run, const struct tp_case *c)
{
	if (c->needs & TP_NEED_PIN && !SH_HAVE_PIN_COUNT)
		tp_skip(run, "needs pages_pin_count, which this helper has not");
	else if (c->needs & TP_NEED_VMAP_DIRTIES && !SH_HAVE_VMAP_DIRTIES)
		tp_skip(run, "needs a vmap that marks pages dirty, which this helper does not");
	else if (c->needs & TP_NEED_MKWRITE && !SH_HAVE_MKWRITE)
		tp_skip(run, "needs pfn_mkwrite, which this helper has not");
	return !run->skip[0];
}

static long sh_count_objects(void)
{
	return atomic_read(&sh_objects);
}

static void sh_show_stats(struct seq_file *m)
{
#define S(name) seq_printf(m, #name "=%lld\n", atomic64_read(&sh_stats.name))
	S(populated);
	S(purged);
	S(purged_pages);
	S(scan_kswapd);
	S(scan_direct);
	S(count_calls);
	S(ebusy);
#undef S
}

const struct tp_module tp_module = {
	.name = "drm_shmem_purge",
	.device = "drm-shmem-purge",
	.objects = "objects in shared memory",
	.driver = &sh_driver,
	.tables = sh_tables,
	.nr_tables = ARRAY_SIZE(sh_tables),
	.keys = sh_keys,
	.nr_keys = ARRAY_SIZE(sh_keys),
	.may_run = sh_may_run,
	.count_objects = sh_count_objects,
	.show_stats = sh_show_stats,
};

MODULE_DESCRIPTION("Purging GEM objects in shared memory under pressure, without a GPU");
MODULE_LICENSE("GPL");

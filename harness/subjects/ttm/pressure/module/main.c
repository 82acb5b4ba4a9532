// SPDX-License-Identifier: GPL-2.0-only
/* TTM on a device without hardware: what there is to run, and with which words. */
#include <linux/module.h>
#include <linux/seq_file.h>
#include <drm/drm_drv.h>
#include <drm/drm_gem.h>

#include "pressure.h"

static const struct tp_case * const tp_tables[] = {
	/* First what loops for ever when it is broken, and what is quick and looks at a lot. */
	tp_cases_scan, tp_cases_move, tp_cases_lock, tp_cases_any,
	tp_cases_backup, tp_cases_fault, tp_cases_oom, tp_cases_full, tp_cases_room,
	tp_cases_free, tp_cases_shrink, tp_cases_empty, tp_cases_lru, tp_cases_pool,
	tp_cases_contract, tp_cases_load, tp_cases_misc, tp_cases_map, tp_cases_walk,
};

struct tp_stats tp_stats;
struct tp_stats tp_stats;

static const struct tp_key tp_keys[] = {
	TP_KEY("bo", K_SIZE, bo, 4096, 64 << 20, NULL),
	TP_KEY("total", K_TOTAL, total, 0, 0, NULL),
	TP_KEY("caching", K_ENUM, caching, 0, 0, "uc,wc,wb"),
	TP_KEY("dma", K_INT, dma, 0, 1, NULL),
	TP_KEY("dma32", K_INT, dma32, 0, 1, NULL),
	TP_KEY("beneficial", K_INT, beneficial, 0, 10, NULL),
	TP_KEY("purgeable", K_INT, purgeable, 0, 100, NULL),
	TP_KEY("busy", K_INT, busy, 0, 100, NULL),
	TP_KEY("pinned", K_INT, pinned, 0, 100, NULL),
	TP_KEY("bulk", K_INT, bulk, 0, 1, NULL),
	TP_KEY("threads", K_INT, threads, 1, 16, NULL),
	TP_KEY("cycles", K_INT, cycles, 1, 1000, NULL),
	TP_KEY("interrupt", K_INT, interrupt, 0, 1000, NULL),
	TP_KEY("retry_mayfail", K_INT, retry_mayfail, 0, 1, NULL),
	TP_KEY("free", K_ENUM, free_state, 0, 0,
	       "populated,backed,partial,midrestore,purged"),
	TP_KEY("touch", K_ENUM, touch, 0, 0, "seq,random,none"),
	TP_KEY("writeback", K_ENUM, writeback, 0, 0, "auto,always,never"),
	TP_KEY("verify", K_ENUM, verify, 0, 0, "full,head,none"),
	TP_KEY("fail", K_INT, fail, 0, 1, NULL),
};

static bool tp_may_run(struct tp_run *run, const struct tp_case *c)
{
	if (c->needs & TP_NEED_BACKUP && !TP_HAVE_BACKUP)
		tp_skip(run, "needs ttm_bo_shrink, which this kernel has not (6.15)");
	else if (c->needs & TP_NEED_STATS && !TP_HAVE_GPU_STATS)
		tp_skip(run, "needs GPUActive in vmstat, which this kernel has not (7.1)");
	else if (c->needs & TP_NEED_NATIVE && !TP_HAVE_NATIVE_ORDER)
		tp_skip(run, "needs backup at native order, which this kernel has not (7.2)");
	return !run->skip[0];
}

static long tp_count_objects(void)
{
	return atomic_read(&ttm_glob.bo_count);
}

static void tp_show_stats(struct seq_file *m)
{
#define S(name) seq_printf(m, #name "=%lld\n", atomic64_read(&tp_stats.name))
	S(populated);
	S(backed_up);
	S(purged);
	S(restored);
	S(retained);
	S(scan_kswapd);
	S(scan_direct);
	S(count_calls);
	S(visits);
	S(scan_ns);
	S(scan_ns_max);
	S(backup_ns);
	S(restore_ns);
	S(ebusy);
	S(eintr);
	S(enomem);
	S(writeback);
#undef S
}

static const struct drm_driver tp_driver = {
	.driver_features = DRIVER_GEM,
	.name = "ttm-pressure",
	.desc = "TTM without hardware",
	.major = 1,
};

const struct tp_module tp_module = {
	.name = "ttm_pressure",
	.device = "ttm-pressure",
	.objects = "objects of TTM",
	.driver = &tp_driver,
	.tables = tp_tables,
	.nr_tables = ARRAY_SIZE(tp_tables),
	.keys = tp_keys,
	.nr_keys = ARRAY_SIZE(tp_keys),
	.may_run = tp_may_run,
	.count_objects = tp_count_objects,
	.show_stats = tp_show_stats,
};

MODULE_DESCRIPTION("TTM backup, restore and shrinking under pressure, without a GPU");
MODULE_LICENSE("GPL");

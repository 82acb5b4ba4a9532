// SPDX-License-Identifier: GPL-2.0-only
/*
 * What user space sees, under /sys/module/xe/parameters: fake_cases lists the
 * cases; a name written to fake_run runs that one as a kunit suite with the
 * devices of fake_devices as its parameters; read back, fake_run says how it went.
 */

/* KTAP has nothing ahead of it. */
#define pr_fmt(fmt) fmt

#include <linux/module.h>
#include <linux/string.h>

#include "fake.h"

#define FAKE_NEEDS_ANY "any"
#define FAKE_NEEDS_SWAP "swap"
#define FAKE_NEEDS_NOSWAP "noswap"

/* The devices that a case is for. */
enum fake_devices {
	FAKE_FOR_EVERY,
	FAKE_FOR_COPIES,	/* those with a copy engine for metadata */
	FAKE_FOR_SLEEPS,
	FAKE_FOR_SLEEPS_COPIES,
	FAKE_FOR_ONE_DISCRETE,
};

struct fake_case {
	struct kunit_case kunit;
	const char *needs;
	enum fake_devices devices;
	const char *what;
};

static const struct fake_case *fake_running;

static char *fake_devices = "all";
module_param(fake_devices, charp, 0600);
MODULE_PARM_DESC(fake_devices, "Comma list of fake devices for the next case, or all");

module_param(fake_seed, ullong, 0600);
MODULE_PARM_DESC(fake_seed, "Seed of contents and random choices");

static bool fake_chosen(const struct fake_kind *kind)
{
	const char *word = fake_devices;
	size_t length;

	if (!strcmp(word, "all"))
		return true;
	for (; *word; word += length + (word[length] == ',')) {
		length = strcspn(word, ",\n");
		if (length == strlen(kind->name) && !strncmp(word, kind->name, length))
			return true;
	}
	return false;
}

static bool fake_fits(const struct fake_kind *kind)
{
	bool copies = kind->data.platform == XE_LUNARLAKE;

	switch (fake_running->devices) {
	case FAKE_FOR_COPIES:
		return copies;
	case FAKE_FOR_SLEEPS:
		return kind->sleep;
	case FAKE_FOR_SLEEPS_COPIES:
		return kind->sleep == FAKE_SLEEPS_COPIES;
	case FAKE_FOR_ONE_DISCRETE:
		return kind->data.platform == XE_DG1;
	default:
		return true;
	}
}

static const void *fake_next_kind(struct kunit *test, const void *prev, char *desc)
{
	const struct fake_kind *kind = prev ? (const struct fake_kind *)prev + 1 : fake_kinds;

	for (; kind < fake_kinds + fake_kinds_count; kind++) {
		if (!fake_chosen(kind) || !fake_fits(kind))
			continue;
		strscpy(desc, kind->name, KUNIT_PARAM_DESC_SIZE);
		return kind;
	}
	return NULL;
}

#define FAKE_CASE(_name, _needs, _devices, _what) {				\
	.kunit = { .run_case = fake_case_##_name, .name = #_name,	\
		   .generate_params = fake_next_kind,			\
		   .attr = { .speed = KUNIT_SPEED_SLOW },		\
		   .module_name = KBUILD_MODNAME },			\
	.needs = FAKE_NEEDS_##_needs, .devices = FAKE_FOR_##_devices, .what = _what, \
}

/* Name, the swap it needs, the devices it is for, what it is about. */
static const struct fake_case fake_cases[] = {
	FAKE_CASE(counts, ANY, EVERY,
		  "the driver's counters follow an object's life"),
	FAKE_CASE(content, SWAP, EVERY,
		  "content survives backup and restore"),
	FAKE_CASE(content_in_place, SWAP, EVERY,
		  "content survives, read by the CPU where it lies"),
	FAKE_CASE(purge, ANY, EVERY,
		  "DONTNEED is purged and reads as zero"),
	FAKE_CASE(purge_first, SWAP, EVERY,
		  "DONTNEED ahead in the LRU goes before anything is backed up"),
	FAKE_CASE(pinned, SWAP, EVERY,
		  "pinned objects stay, needed or not"),
	FAKE_CASE(pinned_advice, SWAP, EVERY,
		  "advice on a pinned object holds when it is unpinned"),
	FAKE_CASE(busy, SWAP, EVERY,
		  "direct reclaim leaves busy objects, kswapd waits for them"),
	FAKE_CASE(busy_purge, ANY, EVERY,
		  "... and so for objects that are not needed"),
	FAKE_CASE(revived, SWAP, EVERY,
		  "WILLNEED in time keeps the content"),
	FAKE_CASE(revived_late, ANY, EVERY,
		  "WILLNEED after the purge: purged, and zero"),
	FAKE_CASE(bound, SWAP, EVERY,
		  "VMs are told before the pages go"),
	FAKE_CASE(bound_twice, SWAP, EVERY,
		  "... all of them"),
	FAKE_CASE(private, SWAP, EVERY,
		  "objects of one VM share its lock, its fences and a bulk move"),
	FAKE_CASE(bound_validating, SWAP, EVERY,
		  "what a VM is made resident for stays"),
	FAKE_CASE(evict, ANY, EVERY,
		  "TTM's own eviction keeps content and counters, purges DONTNEED"),
	FAKE_CASE(dropped, SWAP, EVERY,
		  "an object freed while backed up gives its backup back"),
	FAKE_CASE(zombies, ANY, EVERY,
		  "busy objects without an owner leave no trace"),
	FAKE_CASE(noswap, NOSWAP, EVERY,
		  "without swap nothing is backed up, DONTNEED still goes"),
	FAKE_CASE(masks, ANY, EVERY,
		  "count and scan without __GFP_FS: only purging"),
	FAKE_CASE(portions, SWAP, EVERY,
		  "a scan ends when enough was scanned, oldest first"),
	FAKE_CASE(third_pass, SWAP, EVERY,
		  "writeback: kswapd, with __GFP_IO, in the third pass"),
	FAKE_CASE(progress, SWAP, EVERY,
		  "every scan gets on while something can go"),
	FAKE_CASE(locked, SWAP, EVERY,
		  "what somebody else has locked is passed by, and nobody waits"),
	FAKE_CASE(locked_vm, SWAP, EVERY,
		  "... all objects of a VM at once"),
	FAKE_CASE(returns, SWAP, EVERY,
		  "what xe_bo_shrink() answers to each object, and counts as scanned"),
	FAKE_CASE(move_busy, ANY, EVERY,
		  "objects move when the GPU is done with them"),
	FAKE_CASE(move_fails, SWAP, EVERY,
		  "failed moves leave object, domain and counters as they were"),
	FAKE_CASE(move_copying, SWAP, COPIES,
		  "copies that take their time are waited for"),
	FAKE_CASE(pin_moves, SWAP, EVERY,
		  "pinning for others brings back, holds, and lists"),
	FAKE_CASE(vram, SWAP, ONE_DISCRETE,
		  "objects in VRAM are put out, backed up, and come back"),
	FAKE_CASE(vram_fails, SWAP, ONE_DISCRETE,
		  "... and stay where they are if that fails"),
	FAKE_CASE(vram_suspend, SWAP, ONE_DISCRETE,
		  "what is pinned in VRAM comes through a suspend"),
	FAKE_CASE(vram_suspend_unprepared, SWAP, ONE_DISCRETE,
		  "... without the notifier's help, its backups in swap"),
	FAKE_CASE(vram_suspend_fails, SWAP, ONE_DISCRETE,
		  "... and with a copy engine that fails once"),
	FAKE_CASE(copy_error, SWAP, COPIES,
		  "a failing copy engine loses nothing"),
	FAKE_CASE(asleep_direct, SWAP, SLEEPS,
		  "direct reclaim has a sleeping device woken by the worker"),
	FAKE_CASE(asleep_kswapd, SWAP, SLEEPS,
		  "kswapd wakes the device"),
	FAKE_CASE(asleep_d3cold, SWAP, SLEEPS,
		  "kswapd does not where that would reclaim itself"),
	FAKE_CASE(asleep_purge, ANY, SLEEPS_COPIES,
		  "purging wakes nobody"),
	FAKE_CASE(asleep_system, SWAP, SLEEPS_COPIES,
		  "what lies in system memory with its metadata goes all the same"),
	FAKE_CASE(partial, SWAP, EVERY,
		  "backups of which one half fails, restored and freed"),
	FAKE_CASE(interrupted, SWAP, EVERY,
		  "restores that are interrupted are taken up again"),
	FAKE_CASE(interrupted_drop, SWAP, EVERY,
		  "an object freed in the middle of a restore"),
	FAKE_CASE(race, SWAP, EVERY,
		  "scans beside creation, advice, restore and release"),
	FAKE_CASE(pressure, SWAP, EVERY,
		  "more objects than memory, of all kinds at once"),
	FAKE_CASE(pressure_purge, NOSWAP, EVERY,
		  "without swap, DONTNEED makes room for new objects"),
	FAKE_CASE(create_fails, NOSWAP, EVERY,
		  "... and with nothing to purge a creation fails and kills nobody"),
	FAKE_CASE(pressure_nofs, NOSWAP, EVERY,
		  "... and for others' allocations without __GFP_FS"),
	FAKE_CASE(uapi, SWAP, EVERY,
		  "processes with more objects than memory"),
	FAKE_CASE(uapi_killed, SWAP, COPIES,
		  "... some of them killed wherever they are"),
	FAKE_CASE(uapi_hog, SWAP, ONE_DISCRETE,
		  "... and one that wants memory of its own"),
	FAKE_CASE(uapi_purged, ANY, EVERY,
		  "... whose object is purged: SIGBUS, and never zeroes"),
	FAKE_CASE(upstream, SWAP, ONE_DISCRETE,
		  "the body of xe's live test of shrinking"),
	FAKE_CASE(suspect_purge_behind, SWAP, EVERY,
		  "DONTNEED behind a needed object goes first"),
	FAKE_CASE(suspect_noswap_behind, NOSWAP, EVERY,
		  "... and without swap it goes at all"),
	FAKE_CASE(fatal_noswap, NOSWAP, EVERY,
		  "... and makes room for new objects"),
	FAKE_CASE(suspect_nofs_behind, ANY, EVERY,
		  "... and without __GFP_FS it goes at all"),
	FAKE_CASE(suspect_validating_first, SWAP, EVERY,
		  "an object that may not go does not end the walk"),
	FAKE_CASE(suspect_dontneed_backed_up, SWAP, EVERY,
		  "DONTNEED said of what is backed up counts"),
	FAKE_CASE(suspect_private_alone, SWAP, EVERY,
		  "the one object of a VM goes again after a fault"),
	FAKE_CASE(suspect_private_walk, SWAP, EVERY,
		  "... and a walk that stands there finds its end"),
	FAKE_CASE(suspect_vram_unpinned, ANY, ONE_DISCRETE,
		  "the backup of what others unpin before the suspend goes"),
};

static struct kunit_case fake_running_case[2];
static struct kunit_suite fake_suite = {
	.name = "xe_fake",
	.init = fake_init,
	.exit = fake_exit,
	.test_cases = fake_running_case,
};

static int fake_run_set(const char *value, const struct kernel_param *param)
{
	struct kunit_suite *suites[] = { &fake_suite };
	char none[KUNIT_PARAM_DESC_SIZE];
	unsigned int i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(fake_cases); i++)
		if (sysfs_streq(value, fake_cases[i].kunit.name))
			break;
	if (i == ARRAY_SIZE(fake_cases))
		return -EINVAL;
	fake_checks_forget();
	fake_running = &fake_cases[i];
	fake_running_case[0] = fake_running->kunit;
	if (!fake_next_kind(NULL, NULL, none)) {
		fake_running_case[0].status = KUNIT_SKIPPED;
		return 0;
	}
	pr_notice("KTAP version 1\n");
	pr_notice("1..1\n");
	fake_suite.log = NULL;	/* kunit frees it and leaves the pointer */
	ret = __kunit_test_suites_init(suites, 1, true);
	__kunit_test_suites_exit(suites, 1);
	return ret;
}

static int fake_run_get(char *buffer, const struct kernel_param *param)
{
	if (!fake_running_case[0].name)
		return sysfs_emit(buffer, "nothing was run\n");
	switch (fake_running_case[0].status) {
	case KUNIT_SUCCESS:
		return sysfs_emit(buffer, "ok\n");
	case KUNIT_SKIPPED:
		return sysfs_emit(buffer, "skip\n");
	default:
		return sysfs_emit(buffer, "not ok\n");
	}
}

static const struct kernel_param_ops fake_run_ops = {
	.set = fake_run_set,
	.get = fake_run_get,
};

module_param_cb(fake_run, &fake_run_ops, NULL, 0600);
MODULE_PARM_DESC(fake_run, "Write the name of a case to run it; read how it went");

static int fake_cases_get(char *buffer, const struct kernel_param *param)
{
	unsigned int i;
	int length = 0;

	for (i = 0; i < ARRAY_SIZE(fake_cases); i++)
		length += sysfs_emit_at(buffer, length, "%s\t%s\t%s\n", fake_cases[i].kunit.name,
					fake_cases[i].needs, fake_cases[i].what);
	return length;
}

static const struct kernel_param_ops fake_cases_ops = {
	.get = fake_cases_get,
};

module_param_cb(fake_cases, &fake_cases_ops, NULL, 0400);
MODULE_PARM_DESC(fake_cases, "The cases, what each needs, and what it is about");

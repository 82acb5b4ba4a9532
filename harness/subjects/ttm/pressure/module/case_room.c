// SPDX-License-Identifier: GPL-2.0-only
/* Backup in the context of reclaim, with hardly any room to copy into. */
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sizes.h>

#include "pressure.h"

#define TP_ROUNDS	4	/* until nobody else needed memory in between */

static unsigned long tp_free_pages(void)
{
	struct sysinfo si;

	si_meminfo(&si);
	return si.freeram;
}

/* Takes pages until that many are left, into the reserves of the kernel if need be. */
static void tp_fill_room(struct tp_guard *g, unsigned long left)
{
	unsigned int flags = memalloc_noreclaim_save();

	while (tp_free_pages() > left && !atomic_read(&g->others) && tp_guard_take(g, TP_GUARD_GFP))
		;
	memalloc_noreclaim_restore(flags);
}

/* Takes pages until, in each zone, only such are left as no __GFP_HIGH gets. */
static void tp_fill_to_reserves(struct tp_guard *g)
{
	while (!atomic_read(&g->others) && tp_guard_take(g, TP_GUARD_GFP))
		;
	/* Below the minimum without reclaim, which would only wait there. */
	while (!atomic_read(&g->others) && tp_guard_take(g, GFP_ATOMIC))
		;
}

/*
 * What backup returned with that much room (0: with the reserves), in the context
 * of reclaim. Whoever else is out of memory meanwhile gets all of it, and there is
 * too much room.
 */
static long tp_backup_in(struct tp_bo *bo, unsigned long room, bool *alone)
{
	struct tp_guard guard;
	unsigned int flags;
	long ret;

	tp_guard_start(&guard, ULONG_MAX);
	if (room)
		tp_fill_room(&guard, room);
	else
		tp_fill_to_reserves(&guard);
	flags = memalloc_noreclaim_save();
	ret = tp_bo_backup(&bo->base, NULL, false, false, false);
	memalloc_noreclaim_restore(flags);
	tp_guard_end(&guard);
	*alone = !atomic_read(&guard.others);
	return ret;
}

/* An object three times as large as the room for copies: pages go as they are copied. */
static void case_backup_large(struct tp_run *run)
{
	unsigned long pages = totalram_pages() / 5 & ~1023UL, room = pages / 3;
	struct tp_bo_args args = {
		.size = (u64)pages << PAGE_SHIFT, .caching = ttm_cached, .in_system = true,
	};
	bool alone = false;
	struct tp_dev *dev;
	struct tp_bo *bo;
	int rounds;

	if (room < 2 << MAX_PAGE_ORDER) {
		tp_skip(run, "needs more RAM: room for %lu pages, less than two blocks", room);
		return;
	}
	dev = tp_dev_new(run, NULL);
	if (!dev)
		return;
	dev->shrink_off = true;
	bo = tp_bo_new(dev, &args, NULL);
	if (!tp_check(run, bo, "no object"))
		goto out;
	tp_bo_lock(bo);
	for (rounds = 0; rounds < TP_ROUNDS && !alone && !run->failed; rounds++) {
		long ret;

		tp_eq(run, tp_bo_populate(bo, NULL), 0, "populate");
		tp_bo_fill(bo, 1 + tp_rand(run, 1000));
		ret = tp_backup_in(bo, room, &alone);
		tp_eq(run, ret, bo->nr, "pages backed up of an object three times the free memory");
		if (ret > 0)
			tp_backed(run, bo, ret, "backed up with little room");
		if (run->failed)
			break;
		tp_eq(run, tp_bo_populate(bo, NULL), 0, "restore");
		tp_bo_verify(run, bo, "backed up with little room");
	}
	tp_bo_unlock(bo);
	tp_bo_put(bo);
	tp_metric(run, "rounds", rounds);
	if (!alone && !run->failed)
		tp_skip(run, "needs a machine where others leave it so little room (%d rounds)",
			rounds);
out:
	tp_dev_free(run, dev);
}

/* With the reserves so large at least, there is always room for a block in them. */
#define TP_RESERVES	SZ_16M
#define TP_MIN_FREE	"/proc/sys/vm/min_free_kbytes"

/*
 * Backs up one block of that size with nothing free but the reserves. Whether it
 * was so: it was one block, there was room in swap, nobody else needed memory.
 */
static bool tp_backup_reserves(struct tp_run *run, struct tp_dev *dev, u64 size, long *got)
{
	struct tp_bo_args args = { .size = size, .caching = ttm_cached, .in_system = true };
	struct tp_bo *bo = tp_bo_new(dev, &args, NULL);
	bool alone, fit;

	if (!tp_check(run, bo, "no object"))
		return false;
	tp_bo_lock(bo);
	tp_eq(run, tp_bo_populate(bo, NULL), 0, "populate");
	tp_bo_fill(bo, 1 + tp_rand(run, 1000));
	fit = 1UL << page_private(bo->base.ttm->pages[0]) == bo->nr &&
	      get_nr_swap_pages() > 2 * bo->nr;
	*got = tp_backup_in(bo, 0, &alone);
	if (*got > 0)
		tp_backed(run, bo, *got, "backed up out of the reserves");
	else
		tp_populated(run, bo, "not backed up out of the reserves");
	tp_eq(run, tp_bo_populate(bo, NULL), 0, "restore");
	tp_bo_verify(run, bo, "backed up, or not, out of the reserves");
	tp_bo_unlock(bo);
	tp_bo_put(bo);
	return fit && alone && !run->failed;
}

/*
 * A page frees another as soon as it is copied and may use the reserves for it. A
 * block needs a lot of pages before it gives one, and may not.
 */
static void case_backup_reserves(struct tp_run *run)
{
	long before = tp_read_number(TP_MIN_FREE), got = 0;
	bool paged = false, refused = false;
	int rounds, blocks = 0;
	struct tp_dev *dev;
	char text[24];

	snprintf(text, sizeof(text), "%ld", max(before, (long)TP_RESERVES >> 10));
	if (before < 0 || tp_sysfs_write(TP_MIN_FREE, text)) {
		tp_skip(run, "needs " TP_MIN_FREE);
		return;
	}
	dev = tp_dev_new(run, NULL);
	if (!dev)
		goto out;
	dev->shrink_off = true;
	for (rounds = 0; rounds < 2 * TP_ROUNDS && !run->failed; rounds++) {
		if (paged && refused)
			break;
		if (tp_backup_reserves(run, dev, PAGE_SIZE, &got))
			paged = tp_eq(run, got, 1, "pages backed up out of the reserves");
		/* What others free meanwhile may do for a block, but not each time. */
		if (tp_backup_reserves(run, dev, SZ_2M, &got)) {
			blocks++;
			refused |= got == -EBUSY;
		}
	}
	tp_check(run, run->failed || refused || !blocks,
		 "a block of 2 MiB was copied into the reserves, %d times of %d", blocks, blocks);
	tp_metric(run, "rounds", rounds);
	if (!run->failed && !(paged && refused))
		tp_skip(run, "needs a machine where others leave it the reserves (%d rounds)",
			rounds);
	tp_dev_free(run, dev);
out:
	snprintf(text, sizeof(text), "%ld", before);
	tp_sysfs_write(TP_MIN_FREE, text);
}

const struct tp_case tp_cases_room[] = {
	{ "backup_reserves", "I17,I18", "the reserves are for copies of pages, not of blocks",
	  case_backup_reserves, TP_NEED_BACKUP | TP_NEED_NATIVE | TP_NEED_SWAP | TP_LOUD },
	{ "backup_large", "I17,I18", "an object larger than the free memory is backed up whole",
	  case_backup_large, TP_NEED_BACKUP | TP_NEED_SWAP | TP_LOUD },
	{ }
};

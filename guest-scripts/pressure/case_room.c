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

	while (tp_free_pages() > left && !atomic_read(&g->others) && tp_guard_take(g))
		;
	memalloc_noreclaim_restore(flags);
}

/*
 * What backup returned with that much room, in the context of reclaim. Whoever
 * else is out of memory meanwhile gets all of it, and there is too much room.
 */
static long tp_backup_in(struct tp_bo *bo, unsigned long room, bool *alone)
{
	struct tp_guard guard;
	unsigned int flags;
	long ret;

	tp_guard_start(&guard, ULONG_MAX);
	tp_fill_room(&guard, room);
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

const struct tp_case tp_cases_room[] = {
	{ "backup_large", "I17,I18", "an object larger than the free memory is backed up whole",
	  case_backup_large, TP_NEED_BACKUP | TP_NEED_SWAP | TP_LOUD },
	{ }
};

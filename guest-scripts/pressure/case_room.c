// SPDX-License-Identifier: GPL-2.0-only
/* Backup in the context of reclaim, with hardly any room to copy into. */
#include <linux/mm.h>
#include <linux/notifier.h>
#include <linux/oom.h>
#include <linux/sched/mm.h>
#include <linux/sizes.h>

#include "pressure.h"

/* Pages that are out of the way. */
static LIST_HEAD(tp_filler);
static DEFINE_SPINLOCK(tp_filler_lock);

static unsigned long tp_free_pages(void)
{
	struct sysinfo si;

	si_meminfo(&si);
	return si.freeram;
}

/* Takes pages until that many are left, into the reserves of the kernel if need be. */
static void tp_fill_room(unsigned long left)
{
	unsigned int flags = memalloc_noreclaim_save();

	while (tp_free_pages() > left) {
		struct page *p = alloc_page(GFP_KERNEL | __GFP_NOWARN);

		if (!p)
			break;
		spin_lock(&tp_filler_lock);
		list_add(&p->lru, &tp_filler);
		spin_unlock(&tp_filler_lock);
	}
	memalloc_noreclaim_restore(flags);
}

static unsigned long tp_empty_room(void)
{
	struct page *p, *next;
	unsigned long nr = 0;
	LIST_HEAD(pages);

	spin_lock(&tp_filler_lock);
	list_splice_init(&tp_filler, &pages);
	spin_unlock(&tp_filler_lock);
	list_for_each_entry_safe(p, next, &pages, lru) {
		list_del(&p->lru);
		__free_page(p);
		nr++;
	}
	return nr;
}

/* Whoever needs memory meanwhile gets it, and nobody is killed: the case then has too much room. */
static int tp_room_notify(struct notifier_block *nb, unsigned long action, void *data)
{
	*(unsigned long *)data += tp_empty_room();
	return NOTIFY_OK;
}

static struct notifier_block tp_room_nb = { .notifier_call = tp_room_notify };

/* An object three times as large as the room for copies: pages go as they are copied. */
static void case_backup_large(struct tp_run *run)
{
	unsigned long pages = totalram_pages() / 5 & ~1023UL, room = pages / 3;
	struct tp_bo_args args = {
		.size = (u64)pages << PAGE_SHIFT, .caching = ttm_cached, .in_system = true,
	};
	unsigned int flags;
	struct tp_dev *dev;
	struct tp_bo *bo;
	long ret;

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
	tp_eq(run, tp_bo_populate(bo, NULL), 0, "populate");
	tp_bo_fill(bo, 1 + tp_rand(run, 1000));
	register_oom_notifier(&tp_room_nb);
	tp_fill_room(room);
	tp_metric(run, "room_pages", tp_free_pages());
	flags = memalloc_noreclaim_save();
	ret = tp_bo_backup(&bo->base, NULL, false, false, false);
	memalloc_noreclaim_restore(flags);
	tp_empty_room();
	unregister_oom_notifier(&tp_room_nb);
	tp_eq(run, ret, bo->nr, "pages backed up of an object three times the free memory");
	if (ret > 0)
		tp_backed(run, bo, ret, "backed up with little room");
	if (!run->failed) {
		tp_eq(run, tp_bo_populate(bo, NULL), 0, "restore");
		tp_bo_verify(run, bo, "backed up with little room");
	}
	tp_bo_unlock(bo);
	tp_bo_put(bo);
out:
	tp_dev_free(run, dev);
}

const struct tp_case tp_cases_room[] = {
	{ "backup_large", "I17,I18", "an object larger than the free memory is backed up whole",
	  case_backup_large, TP_NEED_BACKUP | TP_NEED_SWAP | TP_LOUD },
	{ }
};

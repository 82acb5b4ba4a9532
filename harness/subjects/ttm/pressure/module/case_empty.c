// SPDX-License-Identifier: GPL-2.0-only
/* Objects without pages, shrunk by a driver that did not ask whether they are suitable. */
#include <linux/sizes.h>

#include "pressure.h"

/* As it was made: no page, no copy, no mapping, in no account. */
static void tp_empty(struct tp_run *run, struct tp_bo *bo, const char *when)
{
	struct ttm_tt *tt = bo->base.ttm;
	pgoff_t i;

	tp_check(run, !ttm_tt_is_populated(tt), "%s: object %u is marked populated", when, bo->id);
	tp_check(run, !tp_tt_swapped(tt), "%s: object %u is marked backed up", when, bo->id);
	tp_check(run, !tp_tt_restore_state(tt), "%s: object %u has a restore state", when, bo->id);
	tp_check(run, !to_tp_tt(tt)->accounted, "%s: object %u is counted", when, bo->id);
	for (i = 0; i < tt->num_pages; i++)
		if (!tp_check(run, !tt->pages[i], "%s: object %u, entry %lu is there (%lx)", when,
			      bo->id, i, (unsigned long)tt->pages[i]))
			break;
	tp_eq(run, tp_backup_pages(bo, NULL), 0, "%s: object %u, pages in its backup", when,
	      bo->id);
	tp_lru_expect(run, bo, when);
	tp_balance(run, when);
}

/* Purged, and the pages to come in place of those that went are refused. */
static void tp_empty_again(struct tp_run *run, struct tp_bo *bo)
{
	tp_eq(run, tp_bo_populate(bo, NULL), 0, "populate");
	tp_bo_fill(bo, bo->id);
	tp_bo_set_purgeable(bo, true);
	tp_eq(run, tp_bo_backup(&bo->base, NULL, true, false, false), bo->nr, "pages purged");
	tp_dma_fail_nth(1);
	tp_eq(run, tp_bo_populate(bo, NULL), -EFAULT, "populate after a purge, refused");
	tp_dma_fail_nth(0);
	bo->key = 0;
}

/* As drivers do with each object that they use; until then see suspect_g_refused. */
static void tp_empty_used(struct tp_bo *bo)
{
	spin_lock(&bo->base.bdev->lru_lock);
	ttm_bo_move_to_lru_tail(&bo->base);
	spin_unlock(&bo->base.bdev->lru_lock);
}

/* Caching x purge x allow_move x DMA; with DMA never populated, or no longer. */
static void case_shrink_empty(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	bool swap = get_nr_swap_pages() > 4096;
	int m, shrunk = 0;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (m = 0; m < 48 && !run->failed; m++) {
		bool purge = m & 1, move = m & 2, dma = m & 4, again = m & 8;
		struct tp_bo_args args = {
			.size = 21 * SZ_4K, .in_system = true, .dma = dma, .caching = m / 16,
		};
		const char *when = again ? "purged and refused" : "never populated";
		struct tp_bo *bo;
		u64 before;

		/* Only the mapping for DMA is refused before a page has its place. */
		if ((again && !(dma && tp_have_dma_ops())) || (!purge && !swap))
			continue;
		if (args.caching != ttm_cached && !TP_HAVE_EMPTY_UNCACHED)
			continue;
		bo = tp_bo_new(dev, &args, NULL);
		if (!tp_check(run, bo, "no object"))
			break;
		tp_bo_lock(bo);
		if (again) {
			tp_empty_again(run, bo);
			tp_empty_used(bo);
		}
		tp_empty(run, bo, when);
		before = tp_lru_hash(dev);
		tp_eq(run, tp_bo_backup(&bo->base, NULL, purge, !purge, move), 0,
		      "%s, caching %d, purge=%d move=%d dma=%d: pages", when, args.caching, purge,
		      move, dma);
		tp_check(run, tp_lru_hash(dev) == before, "%s: it was moved on its list", when);
		tp_empty(run, bo, when);
		tp_eq(run, tp_bo_populate(bo, NULL), 0, "populate at last");
		tp_populated(run, bo, "populated at last");
		tp_bo_verify(run, bo, "populated at last, to be zeroed");
		tp_balance(run, "populated at last");
		tp_bo_unlock(bo);
		tp_bo_put(bo);
		shrunk++;
	}
	tp_metric(run, "shrunk", shrunk);
}

/*
 * Found here: the driver clears the mark of a purged object before it asks for
 * pages. Are they refused once, the next populate() finds nothing that had been
 * backed up, and leaves the object on the list that no walk sees.
 */
static void case_suspect_g_refused(struct tp_run *run)
{
	struct tp_bo_args args = {
		.size = 21 * SZ_4K, .in_system = true, .dma = true, .caching = ttm_cached,
	};
	struct tp_scan s = { .gfp = GFP_KERNEL, .nr = 21 };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct tp_bo *bo;

	if (!dev)
		return;
	dev->shrink_off = true;
	bo = tp_bo_new(dev, &args, NULL);
	if (!tp_check(run, bo, "no object"))
		return;
	tp_bo_lock(bo);
	tp_empty_again(run, bo);
	tp_eq(run, tp_bo_populate(bo, NULL), 0, "populate at last");
	tp_populated(run, bo, "populated at last");
	tp_bo_set_purgeable(bo, true);
	tp_bo_unlock(bo);
	dev->shrink_off = false;
	tp_trigger_scan(dev, &s);
	dev->shrink_off = true;
	tp_eq(run, s.ret, 21, "pages purged by a scan");
	tp_bo_put(bo);
}

const struct tp_case tp_cases_empty[] = {
	{ "shrink_empty", "I12,I16", "an object without pages is shrunk by none and left alone",
	  case_shrink_empty, TP_NEED_BACKUP },
	{ "suspect_g_refused", "I6,I7", "purged, refused once, populated: a walk sees it again",
	  case_suspect_g_refused, TP_NEED_BACKUP | TP_NEED_DMAOPS | TP_HIDDEN },
	{ }
};

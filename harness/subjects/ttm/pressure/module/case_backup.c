// SPDX-License-Identifier: GPL-2.0-only
/* Backup and restore when nothing goes wrong: content, state, attributes. */
#include <linux/gfp.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "pressure.h"

/* Out and back once, looking at everything on the way. */
static bool tp_cycle(struct tp_run *run, struct tp_bo *bo, bool writeback, u32 where)
{
	struct tp_witness *w;
	long swapped;

	tp_bo_lock(bo);
	tp_bo_fill(bo, run->k.seed + tp_rand(run, 1 << 30));
	w = tp_witness_of(run, bo);
	if (!w)
		goto out;
	if (!tp_eq(run, tp_bo_backup(&bo->base, NULL, false, writeback, true), bo->nr,
		   "pages of object %u that were backed up", bo->id))
		goto out;
	tp_backed(run, bo, 0, "backed up");
	tp_eq(run, bo->base.resource->mem_type, TTM_PL_SYSTEM,
	      "memory type after a backup that may move");
	tp_backup_pages(bo, &swapped);
	if (writeback)
		tp_check(run, swapped > 0, "with writeback, no page went to swap");
	else
		tp_eq(run, swapped, 0, "pages in swap after a backup without writeback");
	tp_witness_freed(run, w, "backed up");
	tp_balance(run, "backed up");
	tp_witness_drop(w);
	bo->witness = NULL;

	tp_eq(run, where == TTM_PL_SYSTEM ? tp_bo_populate(bo, NULL) :
					    tp_bo_validate(bo, where, NULL),
	      0, "restore of object %u", bo->id);
	tp_populated(run, bo, "restored");
	tp_eq(run, bo->base.resource->mem_type, where, "memory type after restore");
	tp_bo_verify(run, bo, "restored");
	tp_balance(run, "restored");
out:
	tp_bo_unlock(bo);
	return !run->failed;
}

static void tp_content(struct tp_run *run, const struct tp_dev_args *dargs,
		       enum ttm_caching caching, bool dma, const u64 *sizes, int n,
		       bool writeback)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, dargs);
	struct tp_bo *bo;
	int i, err;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (i = 0; i < n && !run->failed; i++) {
		struct tp_bo_args args = { .size = sizes[i], .caching = caching, .dma = dma };

		bo = tp_bo_new(dev, &args, &err);
		if (!bo) {
			tp_eq(run, err, 0, "creating an object of %llu bytes", sizes[i]);
			break;
		}
		tp_bo_lock(bo);
		tp_populated(run, bo, "created");
		bo->key = 0;
		tp_bo_verify(run, bo, "created, to be zeroed");
		tp_bo_unlock(bo);
		if (tp_cycle(run, bo, writeback, TTM_PL_TT))
			tp_cycle(run, bo, false, TTM_PL_SYSTEM);
		tp_bo_put(bo);
	}
}

static const u64 tp_small[] = {
	SZ_4K, SZ_8K, 3 * SZ_4K, 17 * SZ_4K, SZ_1M + 3 * SZ_4K, SZ_2M,
};

static const u64 tp_large[] = { SZ_4M, SZ_8M + SZ_4K };

static void case_content_wb(struct tp_run *run)
{
	tp_content(run, NULL, ttm_cached, false, tp_small, ARRAY_SIZE(tp_small), false);
}

static void case_content_wc(struct tp_run *run)
{
	tp_content(run, NULL, ttm_write_combined, false, tp_small, ARRAY_SIZE(tp_small), false);
}

static void case_content_uc(struct tp_run *run)
{
	tp_content(run, NULL, ttm_uncached, false, tp_small, ARRAY_SIZE(tp_small), false);
}

static void case_content_wb_dma(struct tp_run *run)
{
	tp_content(run, NULL, ttm_cached, true, tp_small, ARRAY_SIZE(tp_small), false);
}

static void case_content_wc_dma(struct tp_run *run)
{
	tp_content(run, NULL, ttm_write_combined, true, tp_small, ARRAY_SIZE(tp_small), false);
}

static void case_content_large(struct tp_run *run)
{
	static const struct tp_dev_args nine = { .beneficial = 9 };

	tp_content(run, NULL, ttm_cached, true, tp_large, ARRAY_SIZE(tp_large), false);
	tp_content(run, &nine, ttm_write_combined, true, tp_large, 1, false);
}

static void case_content_64m(struct tp_run *run)
{
	static const u64 size[] = { SZ_64M };

	tp_content(run, NULL, ttm_cached, false, size, 1, false);
}

static void case_content_dma32(struct tp_run *run)
{
	static const struct tp_dev_args args = { .dma32 = true };

	tp_content(run, &args, ttm_write_combined, true, tp_small, ARRAY_SIZE(tp_small), false);
}

static void case_content_writeback(struct tp_run *run)
{
	tp_content(run, NULL, ttm_cached, true, tp_small, ARRAY_SIZE(tp_small), true);
	tp_content(run, NULL, ttm_write_combined, false, tp_small, 5, true);
}

/* Whether two neighbouring pages can be had at once. */
static bool tp_pair_to_be_had(void)
{
	struct page *p = alloc_pages(GFP_KERNEL | __GFP_NOWARN, 1);

	if (p)
		__free_pages(p, 1);
	return p;
}

/* Whether that page heads a block, or follows one of it: a neighbour without a reference. */
static bool tp_in_block(struct page **pages, pgoff_t i)
{
	bool follows = i && pages[i] == pages[i - 1] + 1;

	return page_private(pages[i]) || (follows && !page_count(pages[i]));
}

/* Armed by the script: every allocation above order 0 fails for this task. */
static void case_content_order0(struct tp_run *run)
{
	static const u64 sizes[] = { SZ_64K, SZ_1M };
	struct tp_bo_args args = { .size = SZ_64K, .caching = ttm_cached };
	struct tp_dev *dev;
	struct tp_bo *bo;
	int i, blocks = 0;

	tp_make_fail(true);
	if (tp_pair_to_be_had()) {
		tp_skip(run, "needs fail_page_alloc armed for the task (min-order 1)");
		goto out;
	}
	dev = tp_dev_new(run, NULL);
	if (!dev)
		goto out;
	bo = tp_bo_new(dev, &args, NULL);
	for (i = 0; bo && i < bo->nr; i++)
		blocks += tp_in_block(bo->base.ttm->pages, i);
	tp_check(run, bo, "no object when only single pages are to be had");
	tp_eq(run, blocks, 0, "pages in blocks when only single ones are to be had");
	tp_bo_put(bo);
	tp_dev_free(run, dev);
	tp_content(run, NULL, ttm_cached, true, sizes, 2, false);
	tp_content(run, NULL, ttm_write_combined, false, sizes, 2, false);
out:
	tp_make_fail(false);
}

/* A restore finds pages of other orders in the pools than it has handles for. */
static void case_content_pool_mix(struct tp_run *run)
{
	static const u64 sizes[] = { SZ_4K, SZ_8K, SZ_16K, SZ_64K, SZ_256K };
	struct tp_bo *keep[24], *bo;
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	int i, round, n = 0;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (round = 0; round < 6 && !run->failed; round++) {
		struct tp_bo_args args = {
			.size = (1 + tp_rand(run, 300)) * SZ_4K,
			.caching = round & 1 ? ttm_uncached : ttm_write_combined,
			.dma = round & 2,
		};
		struct tp_bo_args small = { .caching = args.caching };

		bo = tp_bo_new(dev, &args, NULL);
		if (!tp_check(run, bo, "no object of %llu bytes", args.size))
			break;
		tp_bo_lock(bo);
		tp_bo_fill(bo, run->k.seed + round);
		tp_eq(run, tp_bo_backup(&bo->base, NULL, false, false, true), bo->nr,
		      "pages backed up");
		tp_bo_unlock(bo);
		for (n = 0; n < ARRAY_SIZE(keep); n++) {
			small.size = sizes[tp_rand(run, ARRAY_SIZE(sizes))];
			keep[n] = tp_bo_new(dev, &small, NULL);
		}
		for (i = 0; i < n; i++) {
			if (keep[i]) {
				tp_bo_lock(keep[i]);
				tp_bo_fill(keep[i], 99);
				tp_bo_unlock(keep[i]);
			}
			tp_bo_put(keep[i]);
		}
		tp_balance(run, "pools filled");
		tp_bo_lock(bo);
		tp_eq(run, tp_bo_validate(bo, TTM_PL_TT, NULL), 0, "restore with pools filled");
		tp_populated(run, bo, "restored from pools");
		tp_bo_verify(run, bo, "restored from pools");
		tp_balance(run, "restored from pools");
		tp_bo_unlock(bo);
		tp_bo_put(bo);
	}
}

/* The last block of a large object is given back as it was allocated. */
static void case_native_order(struct tp_run *run)
{
	struct tp_bo_args args = { .size = SZ_4M, .caching = ttm_cached };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct page *head;
	struct tp_bo *bo;
	unsigned int order;
	pgoff_t i;

	if (!dev)
		return;
	dev->shrink_off = true;
	bo = tp_bo_new(dev, &args, NULL);
	if (!tp_check(run, bo, "no object of 4 MiB"))
		return;
	head = bo->base.ttm->pages[0];
	order = page_private(head);
	if (order < MAX_PAGE_ORDER) {
		tp_skip(run, "needs a free block of order %d", MAX_PAGE_ORDER);
	} else {
		tp_bo_lock(bo);
		tp_bo_fill(bo, run->k.seed);
		tp_eq(run, tp_bo_backup(&bo->base, NULL, false, false, true), bo->nr,
		      "pages backed up");
		tp_check(run, PageBuddy(head) && page_private(head) >= order,
			 "a block of order %u did not come back whole", order);
		for (i = 0; i < bo->nr; i++)
			if (!tp_eq(run, tp_handle(bo->base.ttm->pages[i]), i + 1, "handle %lu", i))
				break;
		tp_bo_unlock(bo);
	}
	tp_bo_put(bo);
}

/* Many objects out, then all back in another order: nothing gets mixed up. */
static void case_content_many(struct tp_run *run)
{
	struct tp_bo *bos[48] = { };
	struct tp_dev *dev __free(tp_dev_bos) = tp_dev_new(run, NULL);
	int i, j, round;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (i = 0; i < ARRAY_SIZE(bos); i++) {
		struct tp_bo_args args = {
			.size = (1 + tp_rand(run, 40)) * SZ_4K,
			.caching = tp_rand(run, 3), .dma = tp_rand(run, 2),
			.in_system = !tp_rand(run, 4),
			.priority = tp_rand(run, TTM_MAX_BO_PRIORITY),
		};

		bos[i] = tp_bo_filled(run, dev, &args, run->k.seed + i);
		if (!bos[i])
			return;
	}
	for (round = 0; round < 6 && !run->failed; round++) {
		for (i = 0; i < ARRAY_SIZE(bos); i++) {
			j = tp_rand(run, ARRAY_SIZE(bos));
			tp_bo_lock(bos[j]);
			if (ttm_tt_is_populated(bos[j]->base.ttm)) {
				tp_eq(run, tp_bo_backup(&bos[j]->base, NULL, false,
							tp_rand(run, 2), tp_rand(run, 2)),
				      bos[j]->nr, "pages of object %d backed up", j);
				tp_backed(run, bos[j], 0, "backed up in disorder");
			} else {
				tp_eq(run, tp_bo_populate(bos[j], NULL), 0, "restore of %d", j);
				tp_populated(run, bos[j], "restored in disorder");
				tp_bo_verify(run, bos[j], "restored in disorder");
			}
			tp_bo_unlock(bos[j]);
		}
		tp_balance(run, "in disorder");
		tp_lru_check(run, dev, "in disorder");
	}
	tp_wait_writeback();
}

#define NB (TP_NEED_BACKUP | TP_NEED_SWAP)

const struct tp_case tp_cases_backup[] = {
	{ "content_wb", "I1,I5,I12,I15", "cached objects of several orders, out and back",
	  case_content_wb, NB },
	{ "content_wc", "I1,I5,I12,I15", "write-combined objects, out and back",
	  case_content_wc, NB | TP_NEED_PAT },
	{ "content_uc", "I1,I5,I12,I15", "uncached objects, out and back",
	  case_content_uc, NB | TP_NEED_PAT },
	{ "content_wb_dma", "I1,I12", "cached objects with DMA addresses", case_content_wb_dma,
	  NB },
	{ "content_wc_dma", "I1,I12", "write-combined objects with DMA addresses",
	  case_content_wc_dma, NB | TP_NEED_PAT },
	{ "content_large", "I1,I12", "objects of 4 and 8 MiB, several blocks of the highest order",
	  case_content_large, NB },
	{ "content_64m", "I1", "one object of 64 MiB", case_content_64m, NB },
	{ "content_dma32", "I1,I12", "a pool restricted to DMA32", case_content_dma32, NB },
	{ "content_writeback", "I1,I8", "backup with writeback, read back from the swap device",
	  case_content_writeback, NB },
	{ "content_order0", "I1,I12,I17", "nothing but single pages to be had", case_content_order0,
	  NB | TP_NEED_FAULT | TP_ARM_LARGE },
	{ "content_pool_mix", "I1,I12,I13", "restore from pools of other orders",
	  case_content_pool_mix, NB | TP_NEED_PAT },
	{ "content_many", "I1,I12,I15", "many objects out and back in disorder", case_content_many,
	  NB },
	{ "native_order", "I19", "a large block is given back whole", case_native_order,
	  NB | TP_NEED_NATIVE },
	{ }
};

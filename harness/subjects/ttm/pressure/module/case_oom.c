// SPDX-License-Identifier: GPL-2.0-only
/* Out of memory at each allocation in turn, and all the time. */
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "pressure.h"

#define TP_ARMED "needs fail_page_alloc armed (min-order 0, ignore-gfp-wait N)"

static void case_oom_populate(struct tp_run *run)
{
	struct tp_dev *dev = tp_dev_new(run, NULL);
	u32 n, failed = 0;
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < 4 && !run->failed; k++) {
		for (n = 1; n < 40 && !run->failed; n++) {
			struct tp_bo_args args = {
				.size = 21 * SZ_4K, .in_system = true, .dma = k & 1,
				.caching = k & 2 ? ttm_cached : ttm_write_combined,
			};
			struct ttm_operation_ctx ctx = { .gfp_retry_mayfail = n & 1 };
			struct tp_bo *bo;
			int ret;

			/* Without a device there are no pools, which would not fail. */
			if (args.caching != ttm_cached) {
				tp_dev_free(run, dev);
				dev = tp_dev_new(run, NULL);
				if (!dev)
					return;
				dev->shrink_off = true;
			}
			bo = tp_bo_new(dev, &args, NULL);
			if (!bo)
				break;
			tp_bo_lock(bo);
			tp_fail_nth(n);
			ret = tp_bo_populate(bo, &ctx);
			tp_fail_nth(0);
			if (ret) {
				failed++;
				tp_check(run, tp_no_memory(ret, args.caching),
					 "populate out of memory at %u: got %d", n, ret);
				tp_check(run, !ttm_tt_is_populated(bo->base.ttm),
					 "populated after failure at %u", n);
				tp_balance(run, "populate failed");
				tp_eq(run, tp_bo_populate(bo, NULL), 0, "populate again");
			}
			bo->key = 0;
			tp_populated(run, bo, "populated after a failure");
			tp_bo_verify(run, bo, "populated after a failure, to be zeroed");
			tp_balance(run, "populated after a failure");
			tp_bo_unlock(bo);
			tp_bo_put(bo);
		}
	}
	tp_dev_free(run, dev);
	tp_metric(run, "failures", failed);
	if (!run->failed && failed < 4)
		tp_skip(run, TP_ARMED);
}

/* Any result is fine as long as it is true and nothing is lost. */
static void case_oom_backup(struct tp_run *run)
{
	/* The smallest has so few points that none of them is stepped over. */
	static const u32 pages[] = { 70, 37, 5 };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	u32 n, left, partial = 0, failed = 0, full = 0;
	char how[80];
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < ARRAY_SIZE(pages) && !run->failed; k++) {
		left = 0;
		for (n = 1; n < 400 && !left && !run->failed; n += k == 2 ? 1 : 1 + n / 24) {
			struct tp_bo_args args = { .size = pages[k] * SZ_4K,
						   .caching = ttm_cached };
			struct tp_bo *bo = tp_fault_new(run, dev, &args);
			u64 before;
			long ret;

			if (!bo)
				break;
			tp_fault_how(how, sizeof(how), &args, n);
			tp_bo_lock(bo);
			tp_eq(run, tp_bo_validate(bo, TTM_PL_SYSTEM, NULL), 0, "to system");
			before = tp_lru_hash(dev);
			tp_fail_nth(n);
			ret = tp_bo_backup(&bo->base, NULL, false, false, false);
			/* Where the countdown has not ended there are no more points. */
			left = tp_fail_left();
			tp_fail_nth(0);
			if (ret > 0) {
				tp_backed(run, bo, ret, how);
				full += ret == bo->nr;
				partial += ret < bo->nr;
			} else {
				failed++;
				tp_check(run, ret == -EBUSY || !ret,
					 "%s: backup out of memory: got %ld", how, ret);
				tp_populated(run, bo, how);
				tp_bo_verify(run, bo, how);
				tp_check(run, tp_lru_hash(dev) == before,
					 "%s: a failed backup moved an object", how);
			}
			tp_balance(run, how);
			if (!run->failed)
				tp_fault_in(run, bo, how);
			tp_bo_unlock(bo);
			tp_bo_put(bo);
		}
	}
	tp_metric(run, "full", full);
	tp_metric(run, "partial", partial);
	tp_metric(run, "failed", failed);
	if (!run->failed && (!failed || !partial))
		tp_skip(run, TP_ARMED);
}

/* The move before the backup runs out of memory: busy, and nothing is lost. */
static void case_oom_shrink_move(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	u32 n, failed = 0, before_backup = 0;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (n = 1; n < 30 && !run->failed; n++) {
		struct tp_bo_args args = { .size = 5 * SZ_4K, .caching = ttm_cached };
		struct tp_bo *bo = tp_fault_new(run, dev, &args);
		char how[80];
		long ret;

		if (!bo)
			break;
		tp_fault_how(how, sizeof(how), &args, n);
		tp_bo_lock(bo);
		tp_fail_nth(n);
		ret = tp_bo_backup(&bo->base, NULL, false, false, true);
		tp_fail_nth(0);
		if (ret > 0) {
			tp_backed(run, bo, ret, how);
		} else {
			tp_check(run, ret == -EBUSY || !ret, "%s: got %ld", how, ret);
			failed++;
			before_backup += bo->base.resource->mem_type == TTM_PL_TT;
			tp_populated(run, bo, how);
			tp_bo_verify(run, bo, how);
		}
		tp_balance(run, how);
		tp_lru_check(run, dev, how);
		if (!run->failed)
			tp_fault_in(run, bo, how);
		tp_bo_unlock(bo);
		tp_bo_put(bo);
	}
	tp_metric(run, "failed", failed);
	tp_metric(run, "failed_in_the_move", before_backup);
	if (!run->failed && !before_backup)
		tp_skip(run, TP_ARMED);
}

/* Failures in several places, until it is back. */
static void tp_oom_restore(struct tp_run *run, struct tp_bo *bo, struct ttm_operation_ctx *ctx,
			   u32 at, const char *how, u32 *failures)
{
	int ret, rounds = 0;

	do {
		tp_fail_nth(at);
		ret = tp_bo_populate(bo, ctx);
		tp_fail_nth(0);
		if (!ret)
			break;
		failures[0] += tp_no_memory(ret, bo->args.caching);
		failures[1] += ret == -EINTR;
		tp_check(run, tp_no_memory(ret, bo->args.caching) ||
			 (ret == -EINTR && ctx->interruptible), "%s: restore: got %d", how, ret);
		tp_midrestore(run, bo, how);
		tp_balance(run, how);
		at = 1 + tp_rand(run, 60);
	} while (!run->failed && rounds++ < 20);
	if (!run->failed)
		tp_fault_in(run, bo, how);
}

static void case_oom_restore(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	u32 n, failures[2] = { };	/* for want of memory, interrupted */
	char how[80];
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < 4 && dev && !run->failed; k++) {
		for (n = 1; n < 70 && dev && !run->failed; n += 1 + n / 24) {
			struct tp_bo_args args = {
				.size = 37 * SZ_4K, .dma = k & 1,
				.caching = k & 2 ? ttm_cached : ttm_write_combined,
			};
			struct ttm_operation_ctx ctx = {
				.interruptible = n & 1, .gfp_retry_mayfail = n & 2,
			};
			struct tp_bo *bo = tp_fault_new(run, dev, &args);

			if (!bo)
				break;
			tp_fault_how(how, sizeof(how), &args, n);
			if (tp_fault_out(run, bo))
				tp_oom_restore(run, bo, &ctx, n, how, failures);
			tp_bo_unlock(bo);
			tp_bo_put(bo);
			dev = tp_dev_again(run, dev, args.caching);
		}
	}
	tp_metric(run, "enomem", failures[0]);
	tp_metric(run, "eintr", failures[1]);
	if (!run->failed && !failures[0])
		tp_skip(run, TP_ARMED);
}

/*
 * A block from the system, none of the next order to be had, then blocks from the pool:
 * the attributes of the first are changed before those are taken.
 */
static void case_oom_pool_mix(struct tp_run *run)
{
	struct tp_bo_args small = { .size = 4 * SZ_4K };
	struct tp_bo_args large = { .size = 24 * SZ_4K, .in_system = true };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct tp_bo *bos[8] = { }, *bo;
	int i, k, mixed = 0;
	long pooled;

	for (k = 0; dev && k < 2 && !run->failed; k++) {
		small.caching = k ? ttm_uncached : ttm_write_combined;
		large.caching = small.caching;
		dev = tp_dev_again(run, dev, small.caching);
		if (!dev)
			break;
		dev->shrink_off = true;
		for (i = 0; i < ARRAY_SIZE(bos); i++)
			bos[i] = tp_bo_new(dev, &small, NULL);
		for (i = 0; i < ARRAY_SIZE(bos); i++)
			tp_bo_put(bos[i]);
		pooled = tp_pool_total();
		bo = tp_bo_new(dev, &large, NULL);
		if (!tp_check(run, bo, "no object"))
			break;
		tp_bo_lock(bo);
		tp_fail_nth(2);
		tp_eq(run, tp_bo_populate(bo, NULL), 0, "populate, with pages in the pool");
		tp_fail_nth(0);
		mixed += pooled - tp_pool_total();
		tp_populated(run, bo, "of the system and of the pool");
		bo->key = 0;
		tp_bo_verify(run, bo, "of the system and of the pool");
		tp_balance(run, "of the system and of the pool");
		tp_bo_unlock(bo);
		tp_bo_put(bo);
	}
	tp_metric(run, "from_pool", mixed);
	if (!run->failed && mixed != 16)
		tp_skip(run, TP_ARMED);
}

/* Without any memory, but for pages in the pool: reading the copies back fails. */
static int tp_swapin(struct tp_run *run, struct tp_bo *bo)
{
	int ret;

	tp_bo_lock(bo);
	tp_make_fail(true);
	ret = tp_bo_populate(bo, NULL);
	tp_make_fail(false);
	if (ret) {
		tp_eq(run, ret, -ENOMEM, "swapin out of memory");
		tp_check(run, !ttm_tt_is_populated(bo->base.ttm),
			 "populated after a swapin that failed");
		tp_check(run, bo->base.ttm->page_flags & TTM_TT_FLAG_SWAPPED,
			 "a swapin that failed forgot the copy");
		tp_balance(run, "swapin failed");
		tp_eq(run, tp_bo_populate(bo, NULL), 0, "swapin again");
	}
	tp_populated(run, bo, "swapped in at last");
	tp_bo_verify(run, bo, "swapped in at last");
	tp_bo_unlock(bo);
	return !!ret;
}

/*
 * TTM's own swapin, out of memory: nothing is populated, and the copy stays what is
 * asked for next. In a group (the script's) whose limit sends the copies to the disk.
 */
static void case_oom_swapin(struct tp_run *run)
{
	struct tp_bo_args args = {
		.size = SZ_1M, .caching = ttm_write_combined, .watermark = true,
	};
	struct tp_dev *dev __free(tp_dev_bos) = tp_dev_new(run, NULL);
	struct ttm_operation_ctx ctx = { };
	struct tp_bo *bos[8] = { };
	int i, failed = 0;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (i = 0; i < ARRAY_SIZE(bos) && !run->failed; i++) {
		bos[i] = tp_fault_new(run, dev, &args);
		if (!bos[i])
			return;
		tp_eq(run, ttm_device_swapout(&dev->bdev, &ctx, GFP_KERNEL), bos[i]->nr,
		      "pages swapped out");
	}
	/* The one whose turn it is went out first: its copy is no longer in memory. */
	for (i = 0; i < 2 * ARRAY_SIZE(bos) && !run->failed; i++) {
		failed += tp_swapin(run, bos[i % ARRAY_SIZE(bos)]);
		tp_eq(run, ttm_device_swapout(&dev->bdev, &ctx, GFP_KERNEL), bos[0]->nr,
		      "pages swapped out again");
	}
	tp_metric(run, "failures", failed);
	if (!run->failed && !failed)
		tp_skip(run, "needs fail_page_alloc armed for the task (min-order 0)");
}

/* Moves that run out of memory on the way: the object stays, with its content. */
static void case_oom_move(struct tp_run *run)
{
	static const struct tp_dev_args dargs = { .vram = SZ_1M };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, &dargs);
	bool swap = TP_HAVE_BACKUP && get_nr_swap_pages() > 4096;
	u32 n, failed = 0;
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < 4 && !run->failed; k++) {
		for (n = 1; n < 26 && !run->failed; n++) {
			struct tp_bo_args args = {
				.size = 7 * SZ_4K, .caching = ttm_cached, .dma = k & 1,
				.watermark = !TP_HAVE_BACKUP,
			};
			struct tp_bo *bo = tp_fault_new(run, dev, &args);
			u32 to = k & 2 ? TTM_PL_TT : TTM_PL_VRAM;
			int ret;

			if (!bo)
				break;
			tp_bo_lock(bo);
			if (k & 2)
				tp_eq(run, tp_bo_validate(bo, TTM_PL_VRAM, NULL), 0, "to VRAM");
			else if (swap)
				tp_eq(run, tp_bo_backup(&bo->base, NULL, false, false, true),
				      bo->nr, "pages backed up");
			tp_fail_nth(n);
			ret = tp_bo_validate(bo, to, NULL);
			tp_fail_nth(0);
			if (ret) {
				failed++;
				tp_eq(run, ret, -ENOMEM, "move %d out of memory at %u", k, n);
				tp_check(run, bo->base.resource, "an object lost its place");
				tp_lru_check(run, dev, "a move failed");
				if (k & 2) {
					tp_eq(run, bo->base.resource->mem_type, TTM_PL_VRAM,
					      "memory type after a move that failed");
					tp_check(run, !bo->base.ttm,
						 "a move that failed left a ttm_tt behind");
				}
				tp_balance(run, "a move failed");
				tp_eq(run, tp_bo_validate(bo, to, NULL), 0, "move again");
			}
			tp_eq(run, bo->base.resource->mem_type, to, "memory type at last");
			tp_eq(run, tp_bo_validate(bo, TTM_PL_TT, NULL), 0, "to TT");
			tp_populated(run, bo, "moved at last");
			tp_bo_verify(run, bo, "moved at last");
			tp_balance(run, "moved at last");
			tp_bo_unlock(bo);
			tp_bo_put(bo);
		}
	}
	tp_metric(run, "failures", failed);
	if (!run->failed && failed < 8)
		tp_skip(run, TP_ARMED);
}

/* A walk of failures sees each of so many objects of 40 pages once and ends. */
static void tp_oom_scan(struct tp_run *run, struct tp_dev *dev, int objects)
{
#if TP_HAVE_BACKUP
	struct tp_scan s = { .gfp = GFP_KERNEL, .nr = 100000 };
	u32 serial = dev->scan_serial;

	dev->shrink_off = false;
	dev->max_visits = 0;
	tp_make_fail(true);
	tp_trigger_scan(dev, &s);
	tp_make_fail(false);
	dev->shrink_off = true;
	tp_check(run, dev->scan_serial > serial, "no walk was made");
	tp_eq(run, dev->max_visits, 1, "visits of one object in one walk");
	tp_eq(run, s.ret, 0, "pages freed by a scan of failures");
	tp_eq(run, s.scanned, 2 * 40 * objects / 2, "pages scanned");
#endif
}

/* Backed up, no memory to come back with, back at last. */
static void tp_oom_out_and_back(struct tp_run *run, struct tp_bo *bo)
{
	struct ttm_operation_ctx ctx = { .gfp_retry_mayfail = true };
	int ret;

	tp_bo_lock(bo);
	tp_eq(run, tp_bo_backup(&bo->base, NULL, false, false, true), 40, "pages backed up");
	tp_make_fail(true);
	ret = tp_bo_populate(bo, &ctx);
	tp_make_fail(false);
	tp_eq(run, ret, -ENOMEM, "restore without any memory");
	tp_midrestore(run, bo, "restore without any memory");
	tp_balance(run, "restore without any memory");
	tp_fault_in(run, bo, "restore after none was to be had");
	tp_bo_unlock(bo);
}

/* All of one lock and, but for the first, of one bulk move; or each by itself. */
static bool tp_oom_objects(struct tp_run *run, struct tp_dev *dev, bool bulk, struct tp_bo **bos,
			   int n)
{
	struct tp_bo_args args = {
		.size = 40 * SZ_4K, .in_system = true, .caching = ttm_cached,
	};
	int i;

	bos[0] = tp_bo_filled(run, dev, &args, 5);
	if (!bos[0])
		return false;
	if (bulk) {
		args.resv = bos[0]->base.base.resv;
		args.bulk = &dev->bulk;
		tp_bo_lock(bos[0]);
	}
	for (i = 1; i < n; i++) {
		bos[i] = tp_bo_filled(run, dev, &args, i + 5);
		if (!bos[i])
			break;
	}
	if (bulk)
		tp_bo_unlock(bos[0]);
	return i == n;
}

static void tp_oom_round(struct tp_run *run, bool bulk)
{
	struct tp_dev *dev __free(tp_dev_bos) = tp_dev_new(run, NULL);
	struct tp_bo *bos[6] = { };
	u64 before;
	long ret;
	int i;

	if (!dev)
		return;
	dev->shrink_off = true;
	if (!tp_oom_objects(run, dev, bulk, bos, ARRAY_SIZE(bos)))
		return;
	before = tp_lru_hash(dev);
	tp_bo_lock(bos[1]);
	tp_make_fail(true);
	ret = tp_bo_backup(&bos[1]->base, NULL, false, false, true);
	tp_make_fail(false);
	tp_bo_unlock(bos[1]);
	if (ret > 0) {
		tp_skip(run, "needs fail_page_alloc armed for the task (min-order 0)");
		return;
	}
	tp_eq(run, ret, -EBUSY, "backup without any memory");
	tp_check(run, tp_lru_hash(dev) == before, "a failed backup moved an object");
	tp_populated(run, bos[1], "after a failed backup");
	tp_bo_verify(run, bos[1], "after a failed backup");
	tp_oom_scan(run, dev, ARRAY_SIZE(bos));
	tp_check(run, tp_lru_hash(dev) == before, "failed backups moved objects");
	tp_bulk_check(run, dev, &dev->bulk, "after failed backups");
	for (i = 0; i < ARRAY_SIZE(bos) && !run->failed; i++)
		tp_oom_out_and_back(run, bos[i]);
}

/* Nothing at all to be had: errors, no OOM kill, and later all is well. */
static void case_oom_total(struct tp_run *run)
{
	tp_oom_round(run, false);
	if (!run->failed && !run->skip[0])
		tp_oom_round(run, true);
}

/* The DMA API refuses a mapping: no page, no mapping, no content is lost. */
static void case_dma_refused(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	int k, n;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < 2 && !run->failed; k++) {
		for (n = 1; n <= 3 && !run->failed; n++) {
			struct tp_bo_args args = {
				.size = 7 * SZ_4K, .dma = true, .in_system = true,
				.caching = k ? ttm_cached : ttm_write_combined,
			};
			struct tp_bo *bo = tp_bo_new(dev, &args, NULL);

			if (!bo)
				break;
			tp_bo_lock(bo);
			tp_dma_fail_nth(n);
			tp_eq(run, tp_bo_populate(bo, NULL), -EFAULT, "populate, mapping %d", n);
			tp_dma_fail_nth(0);
			tp_balance(run, "a mapping was refused");
			tp_eq(run, tp_bo_populate(bo, NULL), 0, "populate again");
			tp_populated(run, bo, "populated after a refusal");
			tp_bo_fill(bo, n);
			tp_eq(run, tp_bo_backup(&bo->base, NULL, false, false, true), bo->nr,
			      "pages backed up");
			tp_dma_fail_nth(n);
			tp_eq(run, tp_bo_populate(bo, NULL), -EFAULT, "restore, mapping %d", n);
			tp_dma_fail_nth(0);
			tp_midrestore(run, bo, "a mapping was refused in a restore");
			tp_fault_in(run, bo, "restored after a refusal");
			tp_bo_unlock(bo);
			tp_bo_put(bo);
		}
	}
}

/*
 * Suspected from reading: cached pages staged for a later change of attributes
 * are changed when a page comes from a pool, but a restore that is interrupted
 * there forgets that, and frees them as cached ones. Armed by the script.
 */
static void case_suspect_e_staged(struct tp_run *run)
{
	struct ttm_operation_ctx ctx = { .interruptible = true };
	struct tp_bo_args args = { .size = 6 * SZ_4K, .caching = ttm_write_combined };
	struct tp_bo_args one = { .size = SZ_4K, .caching = ttm_write_combined };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct tp_bo *bo, *small[4] = { };
	struct tp_witness *w;
	int i;

	if (!dev)
		return;
	dev->shrink_off = true;
	bo = tp_fault_new(run, dev, &args);
	if (!bo)
		return;
	if (!tp_fault_out(run, bo)) {
		tp_bo_unlock(bo);
		return;
	}
	for (i = 0; i < 4; i++)
		small[i] = tp_bo_new(dev, &one, NULL);
	for (i = 0; i < 4; i++)
		tp_bo_put(small[i]);
	/* A block of 4 comes back; the next, of 2, is not to be had: single pages. */
	tp_make_fail(true);
	tp_fail_nth(6);
	i = tp_bo_populate(bo, &ctx);
	tp_fail_nth(0);
	tp_make_fail(false);
	w = tp_witness_of(run, bo);
	bo->witness = NULL;
	tp_bo_unlock(bo);
	if (i != -EINTR || !w || tp_witness_nr(w) != 4)
		tp_skip(run, "needs the attributes armed (ret %d, %lu pages back)", i,
			w ? tp_witness_nr(w) : 0);
	tp_bo_put(bo);
	tp_witness_given(run, w, ttm_write_combined, "freed with pages staged");
	tp_witness_mend(w);
	tp_witness_drop(w);
}

#define NF (TP_NEED_BACKUP | TP_NEED_SWAP | TP_NEED_FAULT)

const struct tp_case tp_cases_oom[] = {
	{ "oom_populate", "I6,I12", "populate out of memory at each allocation in turn",
	  case_oom_populate, TP_NEED_BACKUP | TP_NEED_FAULT | TP_ARM_POINTS },
	{ "oom_backup", "I1,I4,I15", "backup out of memory at each allocation in turn",
	  case_oom_backup, NF | TP_ARM_POINTS },
	{ "oom_shrink_move", "I7,I15", "the move before a backup out of memory: busy, nothing lost",
	  case_oom_shrink_move, NF | TP_ARM_POINTS },
	{ "oom_restore", "I1,I5", "restore out of memory at each allocation in turn",
	  case_oom_restore, NF | TP_ARM_POINTS },
	{ "oom_pool_mix", "I12", "blocks of the system, then of the pool, in one object",
	  case_oom_pool_mix, TP_NEED_FAULT | TP_NEED_PAT | TP_ARM_POINTS },
	{ "oom_swapin", "I1,I5", "(of swapin_fails) TTM's own swapin out of memory",
	  case_oom_swapin, TP_NEED_SWAP | TP_NEED_FAULT | TP_NEED_PAT | TP_LOUD | TP_HELPER },
	{ "oom_move", "I1,I6,I15", "moves out of memory at each allocation in turn", case_oom_move,
	  TP_NEED_FAULT | TP_ARM_POINTS },
	{ "oom_total", "I7,I15,I17", "no memory at all: walks end, nothing moves, no kill",
	  case_oom_total, NF | TP_ARM_TASK },
	{ "suspect_e_staged", "I12", "pages staged for WC and freed in mid-restore are cached",
	  case_suspect_e_staged, NF | TP_HIDDEN | TP_NEED_PAT | TP_ARM_OWN },
	{ "dma_refused", "I6,I12", "DMA mappings refused while populating and restoring",
	  case_dma_refused, NF | TP_NEED_DMAOPS },
	{ }
};

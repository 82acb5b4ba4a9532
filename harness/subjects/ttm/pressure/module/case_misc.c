// SPDX-License-Identifier: GPL-2.0-only
/* Other memory types, ghosts, imported objects, gutting, kernel objects. */
#include <linux/delay.h>
#include <linux/dma-fence.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "pressure.h"

static struct tp_bo *tp_filled(struct tp_run *run, struct tp_dev *dev, struct tp_bo_args *args)
{
	args->size = args->size ?: 11 * SZ_4K;
	return tp_bo_filled(run, dev, args, 0);
}

/* Backed up, then wanted in memory of its own: the content goes along. */
static void case_move_vram(struct tp_run *run)
{
	static const struct tp_dev_args dargs = { .vram = SZ_1M };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, &dargs);
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < 12 && !run->failed; k++) {
		struct tp_bo_args args = {
			.caching = k % 3, .dma = k & 1, .size = SZ_64K + SZ_4K,
		};
		bool out = k < 6 && TP_HAVE_BACKUP && get_nr_swap_pages() > 4096;
		struct tp_bo *bo = tp_filled(run, dev, &args);

		if (!bo)
			break;
		tp_bo_lock(bo);
		if (out)
			tp_eq(run, tp_bo_backup(&bo->base, NULL, false, false, true), bo->nr,
			      "pages backed up");
		else
			tp_eq(run, tp_bo_validate(bo, TTM_PL_SYSTEM, NULL), 0, "to SYSTEM");
		tp_eq(run, tp_bo_validate(bo, TTM_PL_VRAM, NULL), 0, "to VRAM");
		tp_eq(run, bo->base.resource->mem_type, TTM_PL_VRAM, "memory type");
		tp_check(run, !bo->base.ttm || !ttm_tt_is_populated(bo->base.ttm),
			 "an object in VRAM has pages still");
		tp_lru_expect(run, bo, "in VRAM");
		tp_balance(run, "in VRAM");
		tp_lru_check(run, dev, "in VRAM");
		tp_eq(run, tp_bo_validate(bo, TTM_PL_TT, NULL), 0, "back to TT");
		tp_populated(run, bo, "back from VRAM");
		tp_bo_verify(run, bo, "back from VRAM");
		if (out) {
			tp_eq(run, tp_bo_backup(&bo->base, NULL, false, false, true), bo->nr,
			      "pages backed up again");
			tp_eq(run, tp_bo_validate(bo, TTM_PL_TT, NULL), 0, "restore");
			tp_bo_verify(run, bo, "restored");
		}
		tp_balance(run, "back from VRAM");
		tp_bo_unlock(bo);
		tp_bo_put(bo);
	}
}

/* Full of pinned objects, four after the sixth: refused, and the first stays as it was. */
static void tp_vram_pinned(struct tp_run *run, struct tp_bo **bos)
{
	int i;

	for (i = 6; i < 10; i++)
		tp_bo_pin(bos[i]);
	tp_bo_lock(bos[0]);
	tp_eq(run, tp_bo_populate(bos[0], NULL), 0, "populate");
	tp_eq(run, tp_bo_validate(bos[0], TTM_PL_VRAM, NULL), -ENOMEM,
	      "to VRAM that is full of pinned objects");
	tp_populated(run, bos[0], "refused");
	tp_bo_verify(run, bos[0], "refused");
	tp_bo_unlock(bos[0]);
	for (i = 6; i < 10; i++) {
		tp_bo_lock(bos[i]);
		tp_eq(run, bos[i]->base.resource->mem_type, TTM_PL_VRAM, "pinned in VRAM");
		ttm_bo_unpin(&bos[i]->base);
		tp_bo_unlock(bos[i]);
	}
}

/* More wanted in VRAM than there is: others are evicted, then backed up. */
static void case_evict_vram(struct tp_run *run)
{
	static const struct tp_dev_args dargs = { .vram = SZ_256K };
	struct tp_dev *dev __free(tp_dev_bos) = tp_dev_new(run, &dargs);
	struct tp_bo *bos[10] = { };
	int i, round;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (i = 0; i < ARRAY_SIZE(bos); i++) {
		struct tp_bo_args args = { .caching = i % 3, .dma = i & 1, .size = SZ_64K };

		bos[i] = tp_filled(run, dev, &args);
		if (!bos[i])
			return;
	}
	for (round = 0; round < 3 && !run->failed; round++) {
		for (i = 0; i < ARRAY_SIZE(bos); i++) {
			tp_bo_lock(bos[i]);
			tp_eq(run, tp_bo_validate(bos[i], TTM_PL_VRAM, NULL), 0,
			      "object %d to VRAM", i);
			tp_lru_expect(run, bos[i], "in VRAM");
			tp_bo_unlock(bos[i]);
			if (TP_HAVE_BACKUP && get_nr_swap_pages() > 4096) {
				struct tp_scan s = { .gfp = GFP_KERNEL, .nr = 16 };

				dev->shrink_off = false;
				tp_trigger_scan(dev, &s);
				dev->shrink_off = true;
			}
			tp_lru_check(run, dev, "evicting");
			tp_balance(run, "evicting");
		}
	}
	tp_eq(run, ttm_resource_manager_usage(ttm_manager_type(&dev->bdev, TTM_PL_VRAM)),
	      SZ_256K, "bytes in use of VRAM");
	tp_vram_pinned(run, bos);
	tp_lru_check(run, dev, "refused");
	tp_eq(run, ttm_resource_manager_evict_all(&dev->bdev,
						  ttm_manager_type(&dev->bdev, TTM_PL_VRAM)),
	      0, "evicting all");
	tp_eq(run, ttm_resource_manager_usage(ttm_manager_type(&dev->bdev, TTM_PL_VRAM)),
	      0, "bytes in use of VRAM");
	for (i = 0; i < ARRAY_SIZE(bos); i++) {
		tp_bo_lock(bos[i]);
		tp_eq(run, tp_bo_validate(bos[i], TTM_PL_TT, NULL), 0, "to TT");
		tp_eq(run, tp_bo_populate(bos[i], NULL), 0, "populate");
		tp_populated(run, bos[i], "at last");
		tp_bo_verify(run, bos[i], "at last");
		tp_bo_unlock(bos[i]);
	}
}

/* A pipelined move leaves a ghost with the pages until its fence signals. */
static void case_ghost(struct tp_run *run)
{
	static const struct tp_dev_args dargs = { .vram = SZ_1M };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, &dargs);
	int k;

	if (!dev)
		return;
	for (k = 0; k < 4 && !run->failed; k++) {
		struct tp_bo_args args = { .caching = k & 1 ? ttm_write_combined : ttm_cached,
					   .dma = k & 2 };
		struct tp_scan s = { .gfp = GFP_KERNEL, .nr = 1000 };
		struct tp_bo *bo = tp_filled(run, dev, &args);
		struct dma_fence *f = tp_fence_new();
		struct tp_witness *w;

		if (!tp_check(run, bo && f, "no object, or no fence")) {
			dma_fence_put(f);
			break;
		}
		w = tp_witness_of(run, bo);
		bo->witness = NULL;
		tp_bo_lock(bo);
		dev->move_fence = f;
		tp_eq(run, tp_bo_validate(bo, TTM_PL_VRAM, NULL), 0, "to VRAM, in a pipeline");
		dev->move_fence = NULL;
		tp_bo_unlock(bo);
		msleep(20);
		tp_check(run, !list_empty(&dev->tts), "the pages went before the fence");
		tp_balance(run, "ghost");
		tp_lru_check(run, dev, "ghost");
		/* Busy, so a scan that may not wait lets it be. */
		tp_trigger_scan(dev, &s);
		tp_check(run, !s.ret || s.ret == SHRINK_STOP, "a busy ghost was shrunk: %ld",
			 (long)s.ret);
		tp_balance(run, "ghost, scanned");
		dma_fence_signal(f);
		flush_workqueue(dev->bdev.wq);
		tp_witness_given(run, w, args.caching, "ghost gone");
		tp_witness_drop(w);
		tp_balance(run, "ghost gone");
		tp_lru_check(run, dev, "ghost gone");
		tp_bo_lock(bo);
		tp_eq(run, tp_bo_validate(bo, TTM_PL_TT, NULL), 0, "back to TT");
		tp_bo_verify(run, bo, "back");
		tp_populated(run, bo, "back");
		tp_bo_unlock(bo);
		tp_bo_put(bo);
		dma_fence_put(f);
	}
}

/* Imported: somebody else's pages, never counted, shrunk or swapped out. */
static void case_imported(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct tp_bo_args args = { .sg = true, .size = 8 * SZ_4K, .caching = ttm_cached };
	struct tp_scan s = { .gfp = GFP_KERNEL, .nr = 1000 };
	struct iosys_map __maybe_unused map;
	struct tp_bo *bo;
	struct ttm_operation_ctx ctx = { };
	u64 before;

	if (!dev)
		return;
	bo = tp_bo_new(dev, &args, NULL);
	if (!tp_check(run, bo, "no imported object"))
		return;
	tp_bo_lock(bo);
	tp_eq(run, tp_bo_populate(bo, NULL), 0, "populate");
	tp_check(run, ttm_tt_is_populated(bo->base.ttm), "an imported object is not populated");
#if TP_HAVE_VMAP_REFUSED
	tp_eq(run, ttm_bo_vmap(&bo->base, &map), -EINVAL, "vmap of an object without pages");
#endif
	tp_bo_unlock(bo);
	before = tp_lru_hash(dev);
	tp_balance(run, "imported");
	tp_eq(run, tp_trigger_count(dev, GFP_KERNEL), SHRINK_EMPTY, "count of imported pages");
	tp_trigger_scan(dev, &s);
	tp_eq(run, s.ret, SHRINK_STOP, "scan of imported pages");
	tp_eq(run, ttm_device_swapout(&dev->bdev, &ctx, GFP_KERNEL), 0,
	      "swapout of imported pages");
	tp_check(run, ttm_tt_is_populated(bo->base.ttm), "an imported object was swapped out");
	tp_check(run, tp_lru_hash(dev) == before, "an imported object was moved");
	tp_bo_put(bo);
	flush_workqueue(dev->bdev.wq);
	tp_lru_check(run, dev, "imported object freed");
}

/* No placement: the pages go and come back as zeroes. */
static void case_gutting(struct tp_run *run)
{
	static const struct tp_dev_args dargs = { .vram = SZ_1M };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, &dargs);
	struct ttm_placement none = { };
	struct ttm_operation_ctx ctx = { };
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < 12 && !run->failed; k++) {
		struct tp_bo_args args = {
			.caching = k & 1 ? ttm_write_combined : ttm_cached, .dma = k & 2,
			.watermark = k & 4,
		};
		struct tp_bo *bo = tp_filled(run, dev, &args);
		struct tp_witness *w;

		if (!bo)
			break;
		tp_bo_lock(bo);
		/* What has been in VRAM is not zeroed when it is populated again. */
		if (k >= 8) {
			tp_eq(run, tp_bo_validate(bo, TTM_PL_VRAM, NULL), 0, "to VRAM");
			tp_eq(run, tp_bo_validate(bo, TTM_PL_TT, NULL), 0, "back to TT");
			tp_bo_verify(run, bo, "back from VRAM");
		}
		w = tp_witness_of(run, bo);
		bo->witness = NULL;
		tp_eq(run, ttm_bo_validate(&bo->base, &none, &ctx), 0, "gutting");
		tp_check(run, !ttm_tt_is_populated(bo->base.ttm), "gutted but populated");
		tp_witness_given(run, w, args.caching, "gutted");
		tp_witness_drop(w);
		tp_balance(run, "gutted");
		tp_eq(run, tp_bo_validate(bo, TTM_PL_TT, NULL), 0, "back to TT");
		bo->key = 0;
		tp_populated(run, bo, "back");
		tp_bo_verify(run, bo, "gutted, to be zeroed");
		tp_bo_unlock(bo);
		tp_bo_put(bo);
	}
}

/*
 * In a group with a limit of its own: backups are charged to it, beyond the limit,
 * too. All is back, and the charge gone, before the task goes on.
 */
static void case_memcg_backup(struct tp_run *run)
{
	struct tp_bo_args args = { .caching = ttm_cached, .size = SZ_1M };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct tp_bo *bos[8] = { };
	int i;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (i = 0; i < ARRAY_SIZE(bos); i++)
		bos[i] = tp_filled(run, dev, &args);
	for (i = 0; i < ARRAY_SIZE(bos) && bos[i]; i++) {
		tp_bo_lock(bos[i]);
		tp_eq(run, tp_bo_backup(&bos[i]->base, NULL, false, false, true), bos[i]->nr,
		      "pages backed up");
		tp_bo_unlock(bos[i]);
	}
	for (i = 0; i < ARRAY_SIZE(bos) && bos[i]; i++) {
		tp_bo_lock(bos[i]);
		tp_eq(run, tp_bo_populate(bos[i], NULL), 0, "restore");
		tp_bo_verify(run, bos[i], "restored");
		tp_bo_unlock(bos[i]);
	}
	for (i = 0; i < ARRAY_SIZE(bos); i++)
		tp_bo_put(bos[i]);
}

/* Backups share pages of 2 MiB: each allocation, of whatever order, has its place in them. */
static void case_huge_backup(struct tp_run *run)
{
	static const u64 sizes[] = { SZ_4K, 17 * SZ_4K, 7 * SZ_64K, SZ_1M + 3 * SZ_4K, 5 * SZ_1M };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	int i, k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (i = 0; i < 2 * ARRAY_SIZE(sizes) && !run->failed; i++) {
		struct tp_bo_args args = {
			.size = sizes[i / 2], .caching = i & 1 ? ttm_write_combined : ttm_cached,
		};
		struct tp_bo *bo = tp_filled(run, dev, &args);

		if (!bo)
			break;
		tp_bo_lock(bo);
		for (k = 0; k < 2; k++) {
			tp_eq(run, tp_bo_backup(&bo->base, NULL, false, false, true), bo->nr,
			      "pages backed up");
			tp_eq(run, tp_bo_validate(bo, TTM_PL_TT, NULL), 0, "restore");
			/* What is dropped of a large page may stay in the file, as zeroes. */
			tp_check(run, ttm_tt_is_populated(bo->base.ttm), "not populated");
			tp_bo_verify(run, bo, "restored");
		}
		tp_bo_unlock(bo);
		tp_bo_put(bo);
	}
}

/* By TTM's own copy, there and back; `out`: backed up when it is to go there. */
static void tp_memcpy_moves(struct tp_run *run, struct tp_dev *dev, enum ttm_caching caching,
			    bool out)
{
	struct tp_bo_args args = { .caching = caching, .size = SZ_64K + SZ_4K };
	struct tp_bo *bo = tp_filled(run, dev, &args);

	if (!bo)
		return;
	tp_bo_lock(bo);
	if (out)
		tp_eq(run, tp_bo_backup(&bo->base, NULL, false, false, true), bo->nr,
		      "pages backed up");
	tp_eq(run, tp_bo_validate(bo, TTM_PL_VRAM, NULL), 0, "to VRAM");
	tp_eq(run, tp_bo_validate(bo, TTM_PL_TT, NULL), 0, "back to TT");
	tp_populated(run, bo, "back from VRAM");
	tp_bo_verify(run, bo, out ? "backed up, moved by memcpy" : "moved by memcpy");
	tp_balance(run, "back from VRAM");
	tp_bo_unlock(bo);
	tp_bo_put(bo);
}

static void tp_move_memcpy(struct tp_run *run, bool out)
{
	static const struct tp_dev_args dargs = { .vram = SZ_1M };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, &dargs);
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	dev->by_memcpy = true;
	for (k = 0; k < 3 && !run->failed; k++)
		tp_memcpy_moves(run, dev, k, out);
}

static void case_move_memcpy(struct tp_run *run)
{
	tp_move_memcpy(run, false);
}

static void case_suspect_h_memcpy(struct tp_run *run)
{
	tp_move_memcpy(run, true);
}

/* Pages that are given up while they are backed up come back as zeroes, too. */
static void case_suspect_i_gutting(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct ttm_operation_ctx ctx = { };
	struct ttm_placement none = { };
	struct tp_bo_args args = { .caching = ttm_cached };
	struct tp_bo *bo;

	if (!dev)
		return;
	dev->shrink_off = true;
	bo = tp_filled(run, dev, &args);
	if (bo) {
		tp_bo_lock(bo);
		tp_eq(run, tp_bo_backup(&bo->base, NULL, false, false, true), bo->nr, "pages");
		tp_eq(run, ttm_bo_validate(&bo->base, &none, &ctx), 0, "gutting");
		tp_eq(run, tp_bo_validate(bo, TTM_PL_TT, NULL), 0, "back to TT");
		bo->key = 0;
		tp_bo_verify(run, bo, "gutted while backed up, to be zeroed");
		tp_bo_unlock(bo);
		tp_bo_put(bo);
	}
}

/*
 * Found by any_order: what comes from memory of its own need not be cleared, since it
 * is copied over. Purged then, it is populated with whatever was in the pages before.
 */
static void case_suspect_k_purge(struct tp_run *run)
{
	static const struct tp_dev_args dargs = { .vram = SZ_1M };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, &dargs);
	struct tp_bo_args args = { .caching = ttm_cached };
	struct tp_bo *bo, *other;
	struct tp_witness *w;

	if (!dev)
		return;
	dev->shrink_off = true;
	bo = tp_filled(run, dev, &args);
	other = tp_filled(run, dev, &args);
	if (bo && other) {
		tp_bo_lock(bo);
		tp_eq(run, tp_bo_validate(bo, TTM_PL_VRAM, NULL), 0, "to VRAM");
		tp_eq(run, tp_bo_validate(bo, TTM_PL_TT, NULL), 0, "back to TT");
		tp_bo_verify(run, bo, "back from VRAM");
		w = tp_witness_of(run, bo);
		bo->witness = NULL;
		tp_bo_set_purgeable(bo, true);
		tp_eq(run, tp_bo_backup(&bo->base, NULL, true, false, false), bo->nr,
		      "pages purged");
		/* Its former pages are the next ones to be had. */
		tp_witness_drop(w);
		tp_eq(run, tp_bo_populate(bo, NULL), 0, "populate");
		bo->key = 0;
		tp_bo_verify(run, bo, "purged after it came from VRAM, to be zeroed");
		tp_bo_unlock(bo);
	}
	tp_bo_put(bo);
	tp_bo_put(other);
}

/*
 * Found by any_order: backed up where it was, without a move, and moved to SYSTEM then. Its
 * new place is on a list of walks, and in its bulk move, from which it is never taken.
 */
static void case_suspect_l_unmoved(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct ttm_lru_bulk_move bulk;
	struct tp_bo_args args = { .caching = ttm_cached };
	struct tp_bo *bo;

	if (!dev)
		return;
	dev->shrink_off = true;
	ttm_lru_bulk_move_init(&bulk);
	bo = tp_filled(run, dev, &args);
	if (bo) {
		tp_bo_lock(bo);
		ttm_bo_set_bulk_move(&bo->base, &bulk);
		tp_eq(run, tp_bo_backup(&bo->base, NULL, false, false, false), bo->nr, "pages");
		tp_eq(run, tp_bo_validate(bo, TTM_PL_SYSTEM, NULL), 0, "to SYSTEM");
		tp_lru_expect(run, bo, "backed up in TT, moved to SYSTEM");
		tp_bulk_check(run, dev, &bulk, "backed up in TT, moved to SYSTEM");
		/* Back in pages it is a member as it should be, and can be taken out. */
		tp_eq(run, tp_bo_populate(bo, NULL), 0, "restore");
		tp_bo_verify(run, bo, "restored");
		ttm_bo_set_bulk_move(&bo->base, NULL);
		tp_bo_unlock(bo);
		tp_bo_put(bo);
	}
	ttm_lru_bulk_move_fini(&dev->bdev, &bulk);
}

/* A ghost that cannot be made, at each allocation in turn, is not counted. */
static void case_suspect_j_ghost(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct tp_bo_args args = { .caching = ttm_cached };
	struct ttm_operation_ctx ctx = { };
	struct ttm_placement none = { };
	struct tp_counters was, is;
	int n, ret = -ENOMEM, failed = 0;
	struct tp_later later;
	struct tp_bo *bo;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (n = 1; n < 20 && ret && !run->failed; n++) {
		bo = tp_filled(run, dev, &args);
		if (!bo)
			break;
		tp_bo_lock(bo);
		tp_bo_busy(bo);
		tp_counters_read(&was);
		/* Where not even the fences can be copied, TTM waits for the object. */
		tp_later_idle(&later, bo, HZ / 2);
		tp_fail_nth(n);
		ret = ttm_bo_validate(&bo->base, &none, &ctx);
		tp_fail_nth(0);
		tp_counters_read(&is);
		failed += !!ret;
		if (ret)
			tp_eq(run, is.objects - was.objects, 0,
			      "objects more after a ghost could not be made, at %d", n);
		tp_later_end(&later);
		tp_bo_unlock(bo);
		tp_bo_put(bo);
		flush_workqueue(dev->bdev.wq);
	}
	if (!run->failed && !failed)
		tp_skip(run, "needs failslab armed (ignore-gfp-wait N)");
}

/* Objects of the kernel are not zeroed; all else holds for them as well. */
static void case_kernel_objects(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < 3 && !run->failed; k++) {
		struct tp_bo_args args = { .caching = k, .dma = true, .kernel = true };
		struct tp_bo *bo = tp_filled(run, dev, &args);

		if (!bo)
			break;
		tp_bo_lock(bo);
		tp_check(run, !(bo->base.ttm->page_flags & TTM_TT_FLAG_ZERO_ALLOC),
			 "an object of the kernel is to be zeroed");
		if (TP_HAVE_BACKUP && get_nr_swap_pages() > 4096) {
			tp_eq(run, tp_bo_backup(&bo->base, NULL, false, true, true), bo->nr,
			      "pages backed up");
			tp_backed(run, bo, 0, "backed up");
			tp_eq(run, tp_bo_validate(bo, TTM_PL_TT, NULL), 0, "restore");
		}
		tp_populated(run, bo, "restored");
		tp_bo_verify(run, bo, "restored");
		tp_bo_unlock(bo);
		tp_bo_put(bo);
	}
}

#if TP_HAVE_BACKUP
/* A second backup file takes the place of the first, which is let go. */
static void case_setup_backup(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct tp_bo_args args = { .caching = ttm_cached };
	struct tp_bo *bo;
	struct file *f;
	int i;

	if (!dev)
		return;
	dev->shrink_off = true;
	bo = tp_filled(run, dev, &args);
	if (bo) {
		tp_bo_lock(bo);
		for (i = 0; i < 3; i++) {
			f = get_file(tp_tt_backup_file(bo->base.ttm));
			tp_eq(run, file_count(f), 2, "references to a backup file");
			tp_eq(run, i_size_read(file_inode(f)), bo->nr << PAGE_SHIFT,
			      "size of a backup file");
			tp_eq(run, ttm_tt_setup_backup(bo->base.ttm), 0, "setting up a backup");
			tp_check(run, tp_tt_backup_file(bo->base.ttm) != f, "the same file again");
			tp_eq(run, file_count(f), 1, "references to a backup file replaced");
			fput(f);
		}
		tp_eq(run, tp_bo_backup(&bo->base, NULL, false, false, true), bo->nr, "pages");
		tp_eq(run, tp_bo_populate(bo, NULL), 0, "restore");
		tp_bo_verify(run, bo, "restored");
		f = get_file(tp_tt_backup_file(bo->base.ttm));
		tp_bo_unlock(bo);
		tp_bo_put(bo);
		tp_eq(run, file_count(f), 1, "references to the backup file of a freed object");
		fput(f);
	}
}

/*
 * Suspect (a): attributes and DMA mappings go before anything is copied; when
 * then nothing can be backed up, the object keeps its pages, but not as it says.
 */
static void tp_suspect_a(struct tp_run *run, enum ttm_caching caching, bool dma)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct tp_bo_args args = { .caching = caching, .dma = dma, .size = SZ_64K };
	struct tp_bo *bo;
	long ret;

	if (!dev)
		return;
	dev->shrink_off = true;
	bo = tp_filled(run, dev, &args);
	if (bo) {
		tp_bo_lock(bo);
		/* One block, half of it allowed: none can go. */
		tp_fail_nth(1);
		ret = tp_bo_backup(&bo->base, NULL, false, false, true);
		tp_fail_nth(0);
		tp_note(run, "ttm_bo_shrink returned %ld", ret);
		tp_check(run, ret <= 0, "got %ld", ret);
		tp_populated(run, bo, "nothing was backed up");
		tp_balance(run, "nothing was backed up");
		tp_bo_verify(run, bo, "nothing was backed up");
		tp_bo_unlock(bo);
		tp_bo_put(bo);
		tp_balance(run, "freed");
	}
}

static void case_suspect_a_wc(struct tp_run *run)
{
	tp_suspect_a(run, ttm_write_combined, false);
}

static void case_suspect_a_dma(struct tp_run *run)
{
	tp_suspect_a(run, ttm_cached, true);
}

/*
 * Suspected from reading: pages of pools that use the DMA API are not counted
 * when allocated, but are when they go to the pool.
 */
static void case_suspect_f_dma_alloc(struct tp_run *run)
{
	static const struct tp_dev_args dargs = { .dma_alloc = true };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, &dargs);
	struct tp_bo_args args = {
		.caching = ttm_cached, .dma = true, .watermark = true, .size = SZ_64K,
	};
	struct tp_bo *bo;

	if (!dev)
		return;
	bo = tp_filled(run, dev, &args);
	if (bo) {
		tp_bo_lock(bo);
		tp_bo_verify(run, bo, "from the DMA API");
		tp_bo_unlock(bo);
		tp_bo_put(bo);
	}
}

/*
 * Pages of the DMA API are cached again when they have been through the pools. What the
 * counters make of them is suspect_f_dma_alloc's; here it is set right.
 */
static void case_dma_alloc(struct tp_run *run)
{
	static const struct tp_dev_args dargs = { .dma_alloc = true };
	struct tp_dev *dev = tp_dev_new(run, &dargs);
	struct tp_counters was, is;
	struct page *pages[16];
	struct tp_bo *bo;
	int k, i;

	tp_counters_read(&was);
	for (k = 0; dev && k < 3 && !run->failed; k++) {
		struct tp_bo_args args = {
			.caching = k, .dma = true, .watermark = true, .size = SZ_64K,
		};

		bo = tp_filled(run, dev, &args);
		if (!bo)
			break;
		tp_bo_lock(bo);
		for (i = 0; i < ARRAY_SIZE(pages); i++) {
			pages[i] = bo->base.ttm->pages[i];
			tp_attr_is(run, pages[i], tp_want_attr(k), "from the DMA API", bo->id, i);
		}
		tp_bo_verify(run, bo, "from the DMA API");
		tp_bo_unlock(bo);
		tp_bo_put(bo);
		tp_dev_free(run, dev);
		for (i = 0; i < ARRAY_SIZE(pages); i++)
			tp_attr_is(run, pages[i], TP_ATTR_WB, "back from the DMA API", k, i);
		dev = tp_dev_new(run, &dargs);
	}
	tp_dev_free(run, dev);
	tp_counters_read(&is);
	run->start.gpu_active += is.gpu_active - was.gpu_active;
	run->start.gpu_reclaim += is.gpu_reclaim - was.gpu_reclaim;
}

/* Suspect (b): the file made for a ttm_tt that may not have one is lost. */
static void case_suspect_b_setup(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct tp_bo_args args = { .caching = ttm_cached, .watermark = true, .size = SZ_1M };
	long c0, c1;
	struct tp_bo *bo;
	int i, ret = 0;

	if (!dev)
		return;
	bo = tp_filled(run, dev, &args);
	if (bo) {
		c0 = tp_open_files();
		for (i = 0; i < 200; i++)
			ret = ttm_tt_setup_backup(bo->base.ttm);
		c1 = tp_open_files();
		tp_eq(run, ret, -EINVAL, "setting up a backup that may not be");
		tp_check(run, c1 - c0 < 100, "%ld open files more after 200 refusals", c1 - c0);
		tp_bo_put(bo);
	}
}
#else
#define case_setup_backup	NULL
#define case_suspect_a_wc	NULL
#define case_suspect_a_dma	NULL
#define case_suspect_b_setup	NULL
#define case_suspect_f_dma_alloc	NULL
#define case_dma_alloc			NULL
#endif

#define NS (TP_NEED_BACKUP | TP_NEED_SWAP)

const struct tp_case tp_cases_misc[] = {
	{ "move_vram", "I1,I15", "a backed-up object goes to memory of its own and back",
	  case_move_vram, 0 },
	{ "evict_vram", "I1,I15", "eviction from memory of its own, then backup", case_evict_vram,
	  0 },
	{ "ghost", "I6,I9,I16", "a ghost keeps its pages until its fence signals", case_ghost,
	  TP_NEED_PAT },
	{ "imported", "I14,I16", "imported objects are never touched", case_imported, 0 },
	{ "gutting", "I2,I6,I12", "pages given up come back as zeroes", case_gutting, TP_NEED_PAT },
	{ "dma_alloc", "I1,I12", "pages of the DMA API: content, and cached at last",
	  case_dma_alloc, TP_NEED_BACKUP | TP_NEED_PAT },
	{ "move_memcpy", "I1", "moves by ttm_bo_move_memcpy()", case_move_memcpy, TP_NEED_PAT },
	{ "suspect_h_memcpy", "I1", "... of a backed-up object keep its content",
	  case_suspect_h_memcpy, TP_NEED_BACKUP | TP_NEED_SWAP | TP_HIDDEN | TP_NEED_PAT },
	{ "suspect_i_gutting", "I2", "backed-up pages that are given up come back as zeroes",
	  case_suspect_i_gutting, TP_NEED_BACKUP | TP_NEED_SWAP | TP_HIDDEN },
	{ "suspect_k_purge", "I2", "purged after it came from VRAM, it comes back as zeroes",
	  case_suspect_k_purge, TP_NEED_BACKUP | TP_HIDDEN },
	{ "suspect_l_unmoved", "I15", "backed up in TT, moved to SYSTEM: no walk sees it",
	  case_suspect_l_unmoved, TP_NEED_BACKUP | TP_NEED_SWAP | TP_HIDDEN },
	{ "suspect_j_ghost", "I6", "a ghost that could not be made is not counted",
	  case_suspect_j_ghost, TP_NEED_FAULT | TP_HIDDEN | TP_ARM_POINTS },
	{ "huge_backup", "I1", "(of shmem_huge) backups in pages of 2 MiB", case_huge_backup,
	  TP_NEED_BACKUP | TP_NEED_SWAP | TP_NEED_PAT | TP_LOUD | TP_HELPER },
	{ "memcg_backup", "I3,I11,I17", "(of group_full) backups charged to a group that is full",
	  case_memcg_backup, TP_NEED_BACKUP | TP_NEED_SWAP | TP_HELPER },
	{ "kernel_objects", "I1", "objects of the kernel, out and back", case_kernel_objects, 0 },
	{ "setup_backup", "I6", "backup files are let go", case_setup_backup, NS },
	{ "suspect_a_wc", "I12", "nothing backed up: write-combined pages stay so",
	  case_suspect_a_wc, NS | TP_HIDDEN | TP_NEED_FAULT | TP_NEED_PAT },
	{ "suspect_a_dma", "I12", "nothing backed up: DMA mappings stay",
	  case_suspect_a_dma, NS | TP_HIDDEN | TP_NEED_FAULT | TP_NEED_DMAOPS },
	{ "suspect_f_dma_alloc", "I6,I13", "pages of the DMA API do not disturb GPUActive",
	  case_suspect_f_dma_alloc, TP_NEED_BACKUP | TP_NEED_STATS | TP_HIDDEN },
	{ "suspect_b_setup", "I6", "a refused setup of a backup loses no file (warns)",
	  case_suspect_b_setup, TP_NEED_BACKUP | TP_HIDDEN },
	{ }
};

// SPDX-License-Identifier: GPL-2.0-only
/* ttm_bo_shrink(): what it returns and what it leaves, for each flag and state. */
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/hrtimer.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "pressure.h"

static struct tp_bo *tp_filled(struct tp_run *run, struct tp_dev *dev,
			       const struct tp_bo_args *args)
{
	return tp_bo_filled(run, dev, args, run->k.seed + tp_rand(run, 1 << 30));
}

/* purge x writeback x allow_move x where it is x caching */
static void case_shrink_matrix(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	bool swap = get_nr_swap_pages() > 4096;
	int m;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (m = 0; m < 32 && !run->failed; m++) {
		bool purge = m & 1, writeback = m & 2, move = m & 4, system = m & 8;
		struct tp_bo_args args = {
			.size = 21 * SZ_4K, .in_system = system, .dma = m & 1,
			.caching = m & 16 ? ttm_write_combined : ttm_cached,
		};
		struct tp_bo *bo;
		struct tp_witness *w;
		long swapped;
		u32 at;

		if (!purge && !swap)
			continue;
		bo = tp_filled(run, dev, &args);
		if (!bo)
			break;
		w = tp_witness_of(run, bo);
		tp_bo_lock(bo);
		if (purge)
			tp_bo_set_purgeable(bo, true);
		at = system || move ? TTM_PL_SYSTEM : TTM_PL_TT;
		tp_eq(run, tp_bo_backup(&bo->base, NULL, purge, writeback, move), bo->nr,
		      "purge=%d writeback=%d move=%d system=%d: pages", purge, writeback,
		      move, system);
		tp_eq(run, bo->base.resource->mem_type, at,
		      "purge=%d writeback=%d move=%d system=%d: memory type", purge, writeback,
		      move, system);
		tp_backup_pages(bo, &swapped);
		if (purge) {
			tp_purged(run, bo, "purged");
			tp_eq(run, swapped, 0, "pages of a purged object in swap");
			bo->key = 0;
		} else {
			tp_backed(run, bo, 0, "backed up");
			if (writeback)
				tp_check(run, swapped, "writeback=1: no page in swap");
			else
				tp_eq(run, swapped, 0, "writeback=0: pages in swap");
		}
		tp_witness_freed(run, w, purge ? "purged" : "backed up");
		tp_balance(run, "shrunk");
		tp_witness_drop(w);
		bo->witness = NULL;
		tp_wait_writeback();
		tp_eq(run, tp_bo_validate(bo, TTM_PL_TT, NULL), 0, "back to TT");
		tp_eq(run, tp_bo_populate(bo, NULL), 0, "populate");
		tp_populated(run, bo, "back");
		tp_bo_verify(run, bo, purge ? "after a purge, to be zeroed" : "after a backup");
		tp_balance(run, "back");
		tp_bo_unlock(bo);
		tp_bo_put(bo);
	}
}

/* Purged, populated again: zeroes, never what was there or anywhere else. */
static void case_purge_zeroes(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	int k, round;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < 6 && !run->failed; k++) {
		struct tp_bo_args args = {
			.size = SZ_256K + SZ_4K, .caching = k % 3, .dma = k >= 3,
		};
		struct tp_bo *bo = tp_filled(run, dev, &args);

		if (!bo)
			break;
		for (round = 0; round < 3 && !run->failed; round++) {
			struct tp_witness *w;

			tp_bo_lock(bo);
			tp_bo_fill(bo, run->k.seed + round);
			w = tp_witness_of(run, bo);
			tp_bo_set_purgeable(bo, true);
			tp_eq(run, tp_bo_backup(&bo->base, NULL, true, false, round & 1),
			      bo->nr, "pages purged");
			tp_purged(run, bo, "purged");
			tp_witness_freed(run, w, "purged");
			tp_balance(run, "purged");
			tp_witness_drop(w);
			bo->witness = NULL;
			tp_eq(run, tp_bo_populate(bo, NULL), 0, "populate after a purge");
			bo->key = 0;
			tp_populated(run, bo, "populated after a purge");
			tp_bo_verify(run, bo, "populated after a purge, to be zeroed");
			tp_bo_unlock(bo);
		}
		tp_bo_put(bo);
	}
}

#if TP_HAVE_BACKUP
/* A busy object and one who will not wait: nothing happens to it. */
static void case_busy_nowait(struct tp_run *run)
{
	struct ttm_operation_ctx nowait = { .no_wait_gpu = true }, wait = { };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < 6 && !run->failed; k++) {
		struct tp_bo_args args = {
			.size = 9 * SZ_4K, .caching = k % 3, .dma = k >= 3, .in_system = true,
		};
		struct tp_bo *bo = tp_filled(run, dev, &args);
		u64 before;

		if (!bo)
			break;
		tp_bo_lock(bo);
		tp_check(run, ttm_bo_shrink_suitable(&bo->base, &nowait),
			 "an idle object is not suitable");
		tp_bo_busy(bo);
		tp_check(run, !ttm_bo_shrink_suitable(&bo->base, &nowait),
			 "a busy object is suitable without waiting");
		tp_check(run, ttm_bo_shrink_suitable(&bo->base, &wait),
			 "a busy object is not suitable with waiting");
		before = tp_lru_hash(dev);
		tp_eq(run, tp_bo_backup(&bo->base, &nowait, false, false, true), -EBUSY,
		      "backup of a busy object without waiting");
		tp_populated(run, bo, "busy");
		tp_bo_verify(run, bo, "busy");
		tp_eq(run, tp_bo_backup(&bo->base, &nowait, true, false, true), -EBUSY,
		      "purge of a busy object without waiting");
		tp_populated(run, bo, "busy");
		tp_bo_verify(run, bo, "busy");
		tp_check(run, tp_lru_hash(dev) == before, "a busy object was moved on its list");
		tp_balance(run, "busy");
		tp_bo_idle(bo);
		tp_eq(run, tp_bo_backup(&bo->base, &nowait, false, false, true), bo->nr,
		      "backup of an object that is idle again");
		tp_backed(run, bo, 0, "idle again");
		tp_bo_unlock(bo);
		tp_bo_put(bo);
	}
}

/* One who waits gets it, and not before the fence is signalled. */
static void case_busy_wait(struct tp_run *run)
{
	struct tp_bo_args args = { .size = 9 * SZ_4K, .caching = ttm_cached, .dma = true };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct ttm_operation_ctx wait = { };
	struct tp_later later;
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < 3 && !run->failed; k++) {
		struct tp_bo *bo;
		u64 t0;

		args.in_system = k & 1;
		bo = tp_filled(run, dev, &args);
		if (!bo)
			break;
		tp_bo_lock(bo);
		if (k == 2)
			tp_bo_set_purgeable(bo, true);
		tp_bo_busy(bo);
		t0 = ktime_get_ns();
		tp_later_idle(&later, bo, msecs_to_jiffies(60));
		tp_eq(run, tp_bo_backup(&bo->base, &wait, k == 2, false, true), bo->nr,
		      "pages of a busy object one waits for");
		tp_check(run, ktime_get_ns() - t0 > 30 * NSEC_PER_MSEC,
			 "nobody waited for the fence");
		tp_check(run, dma_fence_is_signaled(bo->fence), "the fence is not signalled");
		tp_later_end(&later);
		if (k == 2)
			tp_purged(run, bo, "waited for");
		else
			tp_backed(run, bo, 0, "waited for");
		tp_bo_unlock(bo);
		tp_bo_put(bo);
	}
}

struct tp_waiter {
	struct tp_run *run;
	struct tp_bo *bo;
	struct completion started, done;
	bool interruptible;
	long ret;
};

/* A kernel thread can be sent a signal and go on living afterwards. */
static int tp_waiter_fn(void *data)
{
	struct tp_waiter *w = data;
	struct ttm_operation_ctx ctx = { .interruptible = w->interruptible };

	allow_signal(SIGUSR1);
	tp_bo_lock(w->bo);
	complete(&w->started);
	w->ret = tp_bo_backup(&w->bo->base, &ctx, false, false, false);
	flush_signals(current);
	tp_bo_unlock(w->bo);
	complete(&w->done);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

/* A real signal ends the wait of one who may be interrupted, with no change. */
static void case_busy_signal(struct tp_run *run)
{
	struct tp_bo_args args = {
		.size = 9 * SZ_4K, .caching = ttm_write_combined, .in_system = true, .dma = true,
	};
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < 2 && !run->failed; k++) {
		struct tp_waiter w = { .run = run, .interruptible = !k };
		struct tp_bo *bo = tp_filled(run, dev, &args);
		struct task_struct *task;
		u64 before;

		if (!bo)
			break;
		w.bo = bo;
		init_completion(&w.started);
		init_completion(&w.done);
		tp_bo_lock(bo);
		tp_bo_busy(bo);
		tp_bo_unlock(bo);
		before = tp_lru_hash(dev);
		task = kthread_run(tp_waiter_fn, &w, "ttm_pressure_w");
		if (!tp_check(run, !IS_ERR(task), "no thread"))
			break;
		get_task_struct(task);
		tp_wait_done(&w.started);
		schedule_timeout_uninterruptible(HZ / 20);
		send_sig(SIGUSR1, task, 1);
		if (!k)
			tp_check(run, wait_for_completion_timeout(&w.done, 30 * HZ),
				 "a signal did not end the wait");
		else
			tp_check(run, !wait_for_completion_timeout(&w.done, HZ / 10),
				 "a signal ended a wait that may not be interrupted");
		tp_bo_idle(bo);
		if (k)
			tp_wait_done(&w.done);
		kthread_stop(task);
		put_task_struct(task);
		tp_bo_lock(bo);
		if (!k) {
			tp_eq(run, w.ret, -ERESTARTSYS, "an interrupted wait");
			tp_populated(run, bo, "interrupted");
			tp_bo_verify(run, bo, "interrupted");
			tp_check(run, tp_lru_hash(dev) == before, "an interrupted wait moved it");
		} else {
			tp_eq(run, w.ret, bo->nr, "pages after a wait");
			tp_backed(run, bo, 0, "after a wait");
		}
		tp_bo_unlock(bo);
		tp_bo_put(bo);
	}
}

/* Nobody waits for ever: TTM gives up after 15 s, and says so. */
static void case_busy_timeout(struct tp_run *run)
{
	struct tp_bo_args args = { .size = 9 * SZ_4K, .caching = ttm_cached };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct ttm_operation_ctx ctx = { };
	struct tp_later later;
	struct tp_bo *bo;

	if (!dev)
		return;
	dev->shrink_off = true;
	bo = tp_filled(run, dev, &args);
	if (bo) {
		tp_bo_lock(bo);
		tp_bo_busy(bo);
		tp_later_idle(&later, bo, 60 * HZ);
		tp_eq(run, ttm_bo_wait_ctx(&bo->base, &ctx), -EBUSY, "a wait in vain");
		tp_populated(run, bo, "waited for in vain");
		tp_later_end(&later);
		tp_bo_unlock(bo);
		tp_bo_put(bo);
	}
}

static void case_pinned(struct tp_run *run)
{
	struct tp_bo_args args = { .size = 9 * SZ_4K, .caching = ttm_cached };
	struct tp_dev *dev __free(tp_dev_bos) = tp_dev_new(run, NULL);
	struct tp_scan s = { .gfp = GFP_KERNEL, .nr = 1000 };
	struct tp_bo *a, *b;
	struct ttm_operation_ctx ctx = { };

	if (!dev)
		return;
	dev->shrink_off = true;
	a = tp_filled(run, dev, &args);
	b = tp_filled(run, dev, &args);
	if (!a || !b)
		return;
	tp_bo_lock(a);
	ttm_bo_pin(&a->base);
	ttm_bo_pin(&a->base);
	tp_lru_expect(run, a, "pinned");
	tp_check(run, !ttm_bo_shrink_suitable(&a->base, &ctx), "a pinned object is suitable");
	tp_eq(run, tp_bo_backup(&a->base, NULL, false, false, true), -EINVAL,
	      "moving a pinned object");
	tp_populated(run, a, "pinned");
	tp_bo_unlock(a);
	dev->shrink_off = false;
	tp_trigger_scan(dev, &s);
	dev->shrink_off = true;
	tp_eq(run, s.ret, b->nr, "pages freed by a scan beside a pinned object");
	tp_bo_lock(a);
	tp_populated(run, a, "pinned, after a scan");
	tp_bo_verify(run, a, "pinned, after a scan");
	ttm_bo_unpin(&a->base);
	tp_lru_expect(run, a, "pinned once still");
	ttm_bo_unpin(&a->base);
	tp_lru_expect(run, a, "unpinned");
	tp_eq(run, tp_bo_backup(&a->base, NULL, false, false, true), a->nr,
	      "pages of an object that is no longer pinned");
	/* Pinned while it is out: it comes back and stays out of the walks. */
	tp_eq(run, tp_bo_populate(a, NULL), 0, "restore");
	tp_eq(run, tp_bo_backup(&a->base, NULL, false, false, true), a->nr, "pages");
	ttm_bo_pin(&a->base);
	tp_lru_expect(run, a, "pinned when backed up");
	tp_eq(run, tp_bo_populate(a, NULL), 0, "restore of a pinned object");
	tp_populated(run, a, "restored and pinned");
	tp_bo_verify(run, a, "restored and pinned");
	tp_lru_check(run, dev, "restored and pinned");
	ttm_bo_unpin(&a->base);
	tp_lru_expect(run, a, "restored and unpinned");
	tp_populated(run, a, "restored and unpinned");
	tp_bo_unlock(a);
}

/* No swap space: a backup is refused before anything is touched. */
static void case_noswap_backup(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct tp_counters c0, c1;
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	tp_eq(run, ttm_backup_bytes_avail(), 0, "bytes available for backup");
	for (k = 0; k < 12 && !run->failed; k++) {
		struct tp_bo_args args = {
			.size = 21 * SZ_4K, .caching = k % 3, .dma = k >= 6, .in_system = true,
		};
		struct tp_bo *bo = tp_filled(run, dev, &args), *other;
		struct page **pages;
		u64 before;

		other = tp_filled(run, dev, &args);
		if (!bo || !other)
			break;
		pages = kmemdup(bo->base.ttm->pages, bo->nr * sizeof(*pages), GFP_KERNEL);
		before = tp_lru_hash(dev);
		tp_counters_read(&c0);
		tp_bo_lock(bo);
		tp_eq(run, tp_bo_backup(&bo->base, NULL, false, k & 1, k & 2), -EBUSY,
		      "backup without swap space");
		tp_counters_read(&c1);
		tp_populated(run, bo, "refused");
		tp_bo_verify(run, bo, "refused");
		tp_check(run, pages && !memcmp(pages, bo->base.ttm->pages,
					       bo->nr * sizeof(*pages)),
			 "a refused backup changed the pages");
		tp_check(run, tp_lru_hash(dev) == before, "a refused backup moved an object");
		tp_eq(run, c1.shmem, c0.shmem, "shmem pages after a refused backup");
		tp_eq(run, c1.gpu_active, c0.gpu_active, "GPUActive after a refused backup");
		tp_balance(run, "refused");
		/* Purging needs no space. */
		tp_bo_set_purgeable(bo, true);
		tp_eq(run, tp_bo_backup(&bo->base, NULL, true, false, true), bo->nr,
		      "pages purged without swap space");
		tp_purged(run, bo, "purged without swap space");
		bo->key = 0;
		tp_eq(run, tp_bo_populate(bo, NULL), 0, "populate");
		tp_bo_verify(run, bo, "purged without swap space, to be zeroed");
		tp_bo_unlock(bo);
		kfree(pages);
		tp_bo_put(bo);
		tp_bo_put(other);
	}
}

/* Scans without swap space free what is purgeable, and nothing else. */
static void case_noswap_scan(struct tp_run *run)
{
	struct tp_bo_args args = {
		.size = 16 * SZ_4K, .caching = ttm_write_combined, .in_system = true,
	};
	static const gfp_t gfps[] = { GFP_KERNEL, GFP_NOFS, GFP_NOIO };
	struct tp_dev *dev __free(tp_dev_bos) = tp_dev_new(run, NULL);
	struct tp_bo *bos[9] = { };
	int i, g, kswapd;
	u64 before;

	if (!dev)
		return;
	for (i = 0; i < 9; i++) {
		bos[i] = tp_filled(run, dev, &args);
		if (!bos[i])
			return;
	}
	before = tp_lru_hash(dev);
	for (g = 0; g < 3; g++) {
		tp_eq(run, tp_trigger_count(dev, gfps[g]), SHRINK_EMPTY, "count without swap space");
		for (kswapd = 0; kswapd < 2; kswapd++) {
			struct tp_scan s = { .gfp = gfps[g], .nr = 1000, .kswapd = kswapd };

			dev->max_visits = 0;
			tp_trigger_scan(dev, &s);
			tp_check(run, !s.ret || s.ret == SHRINK_STOP, "scan: got %ld", (long)s.ret);
			tp_check(run, dev->max_visits <= 1, "an object was visited %u times in a walk",
				 dev->max_visits);
			tp_check(run, tp_lru_hash(dev) == before, "a futile scan moved an object");
		}
	}
	for (i = 0; i < 9; i++) {
		tp_bo_lock(bos[i]);
		tp_populated(run, bos[i], "after futile scans");
		tp_bo_set_purgeable(bos[i], i < 3);
		tp_bo_unlock(bos[i]);
	}
	for (g = 0; g < 3; g++) {
		struct tp_scan s = { .gfp = gfps[g], .nr = 16 };

		tp_eq(run, tp_trigger_count(dev, gfps[g]), 16 * (3 - g), "count of the purgeable");
		tp_trigger_scan(dev, &s);
		tp_eq(run, s.ret, 16, "pages purged by a scan");
		tp_eq(run, s.scanned, 16, "pages scanned");
	}
	tp_balance(run, "purged by scans");
	for (i = 0; i < 9; i++) {
		tp_bo_lock(bos[i]);
		if (i < 3) {
			tp_purged(run, bos[i], "purged by a scan");
		} else {
			tp_populated(run, bos[i], "not purgeable");
			tp_bo_verify(run, bos[i], "not purgeable");
		}
		tp_bo_unlock(bos[i]);
	}
}

/*
 * A small swap device that fills up while objects are written to it: backups
 * succeed until there is no space, then they are refused, and all comes back.
 */
static void case_swap_fills(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev_bos) = tp_dev_new(run, NULL);
	struct tp_bo *bos[48] = { };
	long before = get_nr_swap_pages(), ret;
	int i, refused = -1, out = 0, partial = 0;

	if (!dev)
		return;
	dev->shrink_off = true;
	if (before <= 0 || before > 8192) {
		tp_skip(run, "needs a small swap device (up to 32 MiB; the script makes one of zram)");
		return;
	}
	for (i = 0; i < ARRAY_SIZE(bos) && refused < 0 && !run->failed; i++) {
		struct tp_bo_args args = {
			.size = SZ_1M, .caching = i % 3, .dma = i & 1, .in_system = true,
		};

		bos[i] = tp_filled(run, dev, &args);
		if (!bos[i])
			break;
		tp_bo_lock(bos[i]);
		ret = tp_bo_backup(&bos[i]->base, NULL, false, true, true);
		if (ret > 0) {
			tp_backed(run, bos[i], ret, "while swap fills up");
			out++;
			partial += ret < bos[i]->nr;
		} else {
			tp_eq(run, ret, -EBUSY, "backup when swap is full");
			tp_eq(run, ttm_backup_bytes_avail(), 0, "bytes available when refused");
			tp_populated(run, bos[i], "refused");
			tp_bo_verify(run, bos[i], "refused");
			refused = i;
		}
		tp_bo_unlock(bos[i]);
		tp_wait_writeback();
		tp_balance(run, "while swap fills up");
	}
	tp_check(run, refused >= 0, "swap of %ld pages took %d objects and is not full", before,
		 out);
	tp_check(run, out >= before / 256 - 2, "swap of %ld pages took %d objects only", before,
		 out);
	for (i = 0; i < ARRAY_SIZE(bos) && !run->failed; i++) {
		if (!bos[i])
			continue;
		tp_bo_lock(bos[i]);
		tp_eq(run, tp_bo_populate(bos[i], NULL), 0, "restore from full swap");
		tp_populated(run, bos[i], "restored from full swap");
		tp_bo_verify(run, bos[i], "restored from full swap");
		tp_bo_unlock(bos[i]);
	}
	tp_balance(run, "restored from full swap");
	if (refused >= 0 && bos[refused]) {
		tp_bo_lock(bos[refused]);
		tp_eq(run, tp_bo_backup(&bos[refused]->base, NULL, false, false, true),
		      bos[refused]->nr, "pages backed up when there is space again");
		tp_bo_unlock(bos[refused]);
	}
	tp_metric(run, "out", out);
	tp_metric(run, "partial", partial);
}

/*
 * Suspect (c): as long as there is any swap space, objects of any size are
 * copied to shmem that can never be written: no page is gained by it.
 */
static void case_suspect_c_shmem(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev_bos) = tp_dev_new(run, NULL);
	struct tp_bo *bos[48] = { };
	struct tp_counters c0, c1;
	long before = get_nr_swap_pages(), pages = 0, ret;
	int i;

	if (!dev)
		return;
	dev->shrink_off = true;
	if (before <= 0 || before > 8192) {
		tp_skip(run, "needs a small swap device (up to 32 MiB; the script makes one of zram)");
		return;
	}
	for (i = 0; i < ARRAY_SIZE(bos); i++) {
		struct tp_bo_args args = { .size = SZ_1M, .caching = ttm_cached };

		bos[i] = tp_filled(run, dev, &args);
		if (!bos[i])
			return;
	}
	tp_counters_read(&c0);
	for (i = 0; i < ARRAY_SIZE(bos); i++) {
		tp_bo_lock(bos[i]);
		ret = tp_bo_backup(&bos[i]->base, NULL, false, false, true);
		tp_bo_unlock(bos[i]);
		if (ret > 0)
			pages += ret;
	}
	tp_counters_read(&c1);
	tp_metric(run, "swap_pages", before);
	tp_metric(run, "backed_up", pages);
	tp_metric(run, "shmem_more", c1.shmem - c0.shmem);
	tp_check(run, pages <= before, "%ld pages were called backed up, swap has room for %ld",
		 pages, before);
}
#else
#define case_swap_fills	NULL
#define case_suspect_c_shmem	NULL
#define case_busy_nowait	NULL
#define case_busy_wait	NULL
#define case_busy_signal	NULL
#define case_busy_timeout	NULL
#define case_pinned		NULL
#define case_noswap_backup	NULL
#define case_noswap_scan	NULL
#endif

#define NS (TP_NEED_BACKUP | TP_NEED_SWAP)
#define NN (TP_NEED_BACKUP | TP_NEED_NOSWAP)

const struct tp_case tp_cases_shrink[] = {
	{ "shrink_matrix", "I1,I2,I8,I15", "purge, writeback and allow_move, from SYSTEM and TT",
	  case_shrink_matrix, TP_NEED_BACKUP },
	{ "purge_zeroes", "I2,I12", "a purged object comes back as zeroes", case_purge_zeroes,
	  TP_NEED_BACKUP },
	{ "busy_nowait", "I9,I16", "a busy object is left alone by who may not wait",
	  case_busy_nowait, NS },
	{ "busy_wait", "I9", "a busy object is waited for by who may", case_busy_wait, NS },
	{ "busy_timeout", "I9", "a wait that is in vain ends, and says so", case_busy_timeout,
	  TP_NEED_BACKUP },
	{ "busy_signal", "I5,I9", "a real signal ends a wait, if it may", case_busy_signal,
	  NS | TP_NEED_PAT },
	{ "pinned", "I15,I16", "a pinned object is never backed up", case_pinned, NS },
	{ "noswap_backup", "I2,I3", "without swap space a backup is refused and touches nothing",
	  case_noswap_backup, NN },
	{ "noswap_scan", "I2,I3,I7", "without swap space scans purge and nothing else",
	  case_noswap_scan, NN },
	{ "swap_fills", "I1,I3,I15", "backups until swap is full, a refusal, all comes back",
	  case_swap_fills, TP_NEED_BACKUP },
	{ "suspect_c_shmem", "I3,I17", "no more is backed up than swap has room for",
	  case_suspect_c_shmem, TP_NEED_BACKUP | TP_HIDDEN },
	{ }
};

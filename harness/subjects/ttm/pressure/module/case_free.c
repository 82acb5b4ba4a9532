// SPDX-License-Identifier: GPL-2.0-only
/* Freed in whatever state it is in: nothing is left, nothing comes back wrong. */
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/kthread.h>
#include <linux/rcupdate.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "pressure.h"

struct tp_variant {
	enum ttm_caching caching;
	bool dma;
};

static const struct tp_variant tp_variants[] = {
	{ ttm_cached, false }, { ttm_write_combined, false }, { ttm_uncached, false },
	{ ttm_cached, true }, { ttm_write_combined, true }, { ttm_uncached, true },
};

static struct tp_bo *tp_filled(struct tp_run *run, struct tp_dev *dev, u64 size,
			       const struct tp_variant *v, bool watermark)
{
	struct tp_bo_args args = {
		.size = size, .caching = v->caching, .dma = v->dma, .watermark = watermark,
	};

	return tp_bo_filled(run, dev, &args, run->k.seed + tp_rand(run, 1 << 30));
}

/* Takes the witness from the object, which is about to go. */
static struct tp_witness *tp_take(struct tp_bo *bo)
{
	struct tp_witness *w = bo->witness;

	bo->witness = NULL;
	return w;
}

static void tp_nothing(struct tp_run *run, struct tp_dev *dev, const char *when)
{
	tp_balance(run, when);
	tp_eq(run, atomic_long_read(&dev->shrinkable), 0, "%s: shrinkable pages", when);
	tp_eq(run, atomic_long_read(&dev->purgeable), 0, "%s: purgeable pages", when);
	tp_check(run, list_empty(&dev->tts), "%s: the ttm_tt was not destroyed", when);
	tp_lru_check(run, dev, when);
}

static void case_free_populated(struct tp_run *run)
{
	static const u64 sizes[] = { SZ_4K, 7 * SZ_4K, SZ_1M };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct tp_witness *w;
	int i, k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < ARRAY_SIZE(tp_variants) && !run->failed; k++) {
		for (i = 0; i < 2 * ARRAY_SIZE(sizes) && !run->failed; i++) {
			const struct tp_variant *v = &tp_variants[k];
			struct tp_bo *bo = tp_filled(run, dev, sizes[i / 2], v, i & 1);
			long total = tp_pool_total(), nr;

			if (!bo)
				break;
			nr = bo->nr;
			tp_witness_of(run, bo);
			w = tp_take(bo);
			tp_bo_put(bo);
			if (v->caching == ttm_cached) {
				tp_witness_freed(run, w, "freed when populated");
				tp_eq(run, tp_pool_total(), total, "pages in pools");
			} else {
				tp_witness_pooled(run, w, v->caching == ttm_uncached ? TP_ATTR_UC :
							TP_ATTR_WC, "freed when populated");
				tp_eq(run, tp_pool_total(), total + nr, "pages in pools");
			}
			tp_witness_drop(w);
			tp_nothing(run, dev, "freed when populated");
		}
	}
}

static void case_free_backed(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < 2 * ARRAY_SIZE(tp_variants) && !run->failed; k++) {
		struct tp_bo *bo = tp_filled(run, dev, SZ_1M + SZ_4K, &tp_variants[k / 2], false);
		struct file *f;

		if (!bo)
			break;
		tp_bo_lock(bo);
		tp_eq(run, tp_bo_backup(&bo->base, NULL, false, k & 1, true), bo->nr,
		      "pages backed up");
		tp_bo_unlock(bo);
		tp_wait_writeback();
		f = tp_file_hold(bo);
		tp_bo_put(bo);
		tp_file_empty(run, f, "freed when backed up");
		tp_nothing(run, dev, "freed when backed up");
	}
}

static void case_free_partial(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct tp_witness *w;
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < ARRAY_SIZE(tp_variants) && !run->failed; k++) {
		struct tp_bo *bo = tp_filled(run, dev, SZ_8M + SZ_4K, &tp_variants[k], false);
		struct file *f;
		long got;

		if (!bo)
			break;
		tp_witness_of(run, bo);
		tp_bo_lock(bo);
		tp_fail_nth(1);
		got = tp_bo_backup(&bo->base, NULL, false, false, true);
		tp_fail_nth(0);
		tp_check(run, got > 0 && got < bo->nr, "half backed up: got %ld", got);
		tp_backed(run, bo, got, "half backed up");
		tp_bo_unlock(bo);
		w = tp_take(bo);
		f = tp_file_hold(bo);
		tp_bo_put(bo);
		tp_file_empty(run, f, "freed when partly backed up");
		/* The pages that were retained are cached and go to the system. */
		tp_witness_freed(run, w, "freed when partly backed up");
		tp_witness_drop(w);
		tp_nothing(run, dev, "freed when partly backed up");
	}
}

/* Interrupted at each page; with pools empty and with pools that have pages. */
static void case_free_midrestore(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct ttm_operation_ctx ctx = { .interruptible = true };
	u32 n;
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < 2 * ARRAY_SIZE(tp_variants) && !run->failed; k++) {
		const struct tp_variant *v = &tp_variants[k / 2];

		for (n = 1; n <= 19 && !run->failed; n++) {
			struct tp_bo *bo = tp_filled(run, dev, 19 * SZ_4K, v, false), *other;
			struct tp_witness *pooled = NULL;
			struct file *f;

			if (!bo)
				break;
			tp_bo_lock(bo);
			tp_eq(run, tp_bo_backup(&bo->base, NULL, false, false, true), bo->nr,
			      "pages backed up");
			tp_bo_unlock(bo);
			if (k & 1) {
				/* Half of what it will need lies in the pools. */
				other = tp_filled(run, dev, 17 * SZ_4K, v, false);
				if (other) {
					tp_witness_of(run, other);
					pooled = tp_take(other);
					tp_bo_put(other);
				}
			}
			tp_bo_lock(bo);
			tp_fail_nth(n);
			tp_eq(run, tp_bo_populate(bo, &ctx), -EINTR,
			      "restore interrupted at %u", n);
			tp_fail_nth(0);
			tp_midrestore(run, bo, "interrupted");
			tp_bo_unlock(bo);
			f = tp_file_hold(bo);
			tp_bo_put(bo);
			tp_file_empty(run, f, "freed in mid-restore");
			tp_witness_given(run, pooled, v->caching, "freed in mid-restore");
			tp_witness_drop(pooled);
			tp_nothing(run, dev, "freed in mid-restore");
		}
	}
}

/* As above, looking at the pages of the part that had come back. */
static void case_free_midrestore_pages(struct tp_run *run)
{
	static const u32 points[] = { 2, 257, 258, 300, 515, 770 };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct ttm_operation_ctx ctx = { .interruptible = true };
	int i, k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < ARRAY_SIZE(tp_variants) && !run->failed; k++) {
		for (i = 0; i < ARRAY_SIZE(points) && !run->failed; i++) {
			const struct tp_variant *v = &tp_variants[k];
			struct tp_bo *bo = tp_filled(run, dev, 771 * SZ_4K, v, false);
			struct file *f;
			struct tp_witness *w;

			if (!bo)
				break;
			tp_bo_lock(bo);
			tp_eq(run, tp_bo_backup(&bo->base, NULL, false, false, true), bo->nr,
			      "pages backed up");
			tp_fail_nth(points[i]);
			tp_eq(run, tp_bo_populate(bo, &ctx), -EINTR, "restore interrupted at %u",
			      points[i]);
			tp_fail_nth(0);
			tp_midrestore(run, bo, "interrupted");
			tp_balance(run, "interrupted");
			w = tp_witness_of(run, bo);
			tp_take(bo);
			tp_bo_unlock(bo);
			f = tp_file_hold(bo);
			tp_bo_put(bo);
			tp_file_empty(run, f, "freed in mid-restore");
			tp_witness_given(run, w, v->caching, "freed in mid-restore");
			tp_witness_drop(w);
			tp_nothing(run, dev, "freed in mid-restore");
		}
	}
}

/* Partly backed up, then partly restored, then freed. */
static void case_free_partial_midrestore(struct tp_run *run)
{
	static const u32 points[] = { 1, 3, 600, 1024 };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct ttm_operation_ctx ctx = { .interruptible = true };
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < 8 && !run->failed; k++) {
		const struct tp_variant *v = &tp_variants[k % ARRAY_SIZE(tp_variants)];
		struct tp_bo *bo = tp_filled(run, dev, SZ_8M + SZ_4K, v, false);
		struct tp_witness *w;
		struct file *f;
		long got;

		if (!bo)
			break;
		tp_witness_of(run, bo);
		tp_bo_lock(bo);
		tp_fail_nth(1);
		got = tp_bo_backup(&bo->base, NULL, false, false, true);
		tp_check(run, got > 0 && got < bo->nr, "half backed up: got %ld", got);
		tp_fail_nth(points[k % ARRAY_SIZE(points)]);
		tp_eq(run, tp_bo_populate(bo, &ctx), -EINTR, "restore interrupted at %u",
		      points[k % ARRAY_SIZE(points)]);
		tp_fail_nth(0);
		tp_midrestore(run, bo, "interrupted");
		tp_bo_unlock(bo);
		w = tp_take(bo);
		f = tp_file_hold(bo);
		tp_bo_put(bo);
		tp_file_empty(run, f, "freed when partly backed up and interrupted");
		tp_witness_freed(run, w, "freed when partly backed up and interrupted");
		tp_witness_drop(w);
		tp_nothing(run, dev, "freed when partly backed up and interrupted");
	}
}

static void case_free_purged(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct tp_witness *w;
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < ARRAY_SIZE(tp_variants) && !run->failed; k++) {
		struct tp_bo *bo = tp_filled(run, dev, SZ_1M + SZ_4K, &tp_variants[k], false);
		long total = tp_pool_total();

		if (!bo)
			break;
		tp_witness_of(run, bo);
		tp_bo_lock(bo);
		tp_bo_set_purgeable(bo, true);
		tp_eq(run, tp_bo_backup(&bo->base, NULL, true, false, true), bo->nr,
		      "pages purged");
		tp_purged(run, bo, "purged");
		tp_bo_unlock(bo);
		w = tp_take(bo);
		tp_witness_freed(run, w, "purged");
		tp_eq(run, tp_pool_total(), total, "pages in pools after a purge");
		tp_bo_put(bo);
		tp_witness_freed(run, w, "purged and freed");
		tp_witness_drop(w);
		tp_nothing(run, dev, "freed when purged");
	}
}

/* Freed while a fence is pending: it goes when the fence does, in full. */
static void case_free_busy(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < 2 * ARRAY_SIZE(tp_variants) && !run->failed; k++) {
		struct tp_bo *bo = tp_filled(run, dev, SZ_64K + SZ_4K, &tp_variants[k / 2], k & 1);
		struct dma_fence *fence;
		struct tp_witness *w;

		if (!bo)
			break;
		tp_witness_of(run, bo);
		tp_bo_lock(bo);
		tp_bo_busy(bo);
		fence = dma_fence_get(bo->fence);
		tp_bo_unlock(bo);
		w = tp_take(bo);
		tp_bo_put(bo);
		/* Whoever does not wait for the fence has the time to go wrong. */
		msleep(20);
		tp_check(run, !list_empty(&dev->tts), "an object was freed before its fence");
		tp_balance(run, "freed, fence pending");
		tp_lru_check(run, dev, "freed, fence pending");
		if (fence)
			dma_fence_signal(fence);
		flush_workqueue(dev->bdev.wq);
		dma_fence_put(fence);
		tp_witness_given(run, w, tp_variants[k / 2].caching, "freed after its fence");
		tp_witness_drop(w);
		tp_nothing(run, dev, "freed after its fence");
	}
}

/* ---- small allocations of TTM's own, by the thousand ---- */

#define TP_SLAB_LOOPS	8000
#define TP_SLAB_SLACK	90	/* pages; a leak of 64 bytes a loop is 125 */

static const char * const tp_slab_ways[] = {
	"restore", "resumed restore", "free in mid-restore", "free when backed up", "free",
};

static bool tp_slab_once(struct tp_run *run, struct tp_dev *dev, struct tp_bo **keep, int way)
{
	struct ttm_operation_ctx ctx = { .interruptible = true };
	struct tp_bo *bo = *keep;
	int ret = 0;

	if (!bo) {
		bo = tp_filled(run, dev, SZ_8K, &tp_variants[0], false);
		if (!bo)
			return false;
	}
	tp_bo_lock(bo);
	if (way < 4)
		tp_eq(run, tp_bo_backup(&bo->base, NULL, false, false, true), 2, "pages");
	if (way == 1 || way == 2) {
		tp_fail_nth(2);
		ret = tp_bo_populate(bo, &ctx);
		tp_fail_nth(0);
		/* Another point of the allocator's can take the second place, rarely. */
		if (ret)
			tp_eq(run, ret, -EINTR, "interrupted restore");
	}
	if (way < 2)
		tp_eq(run, tp_bo_populate(bo, NULL), 0, "restore");
	tp_bo_unlock(bo);
	if (way >= 2) {
		tp_bo_put(bo);
		bo = NULL;
	}
	*keep = bo;
	return !run->failed;
}

struct tp_slab_job {
	struct tp_run *run;
	struct tp_dev *dev;
	struct completion done;
};

static long tp_slab_pages(void)
{
	flush_delayed_fput();
	rcu_barrier();
	return tp_node_stat(NR_SLAB_UNRECLAIMABLE_B) + tp_node_stat(NR_SLAB_RECLAIMABLE_B);
}

static long tp_slab_loop(struct tp_run *run, struct tp_dev *dev, struct tp_bo **bo, int way)
{
	long before = 0;
	int i;

	for (i = -200; i < TP_SLAB_LOOPS; i++) {
		if (!i)
			before = tp_slab_pages();
		if (!tp_slab_once(run, dev, bo, way))
			break;
		if (!(i & 63)) {
			flush_delayed_fput();
			cond_resched();
		}
	}
	return tp_slab_pages() - before;
}

/* In a thread of the kernel, where files are put at once. */
static int tp_slab_thread(void *data)
{
	struct tp_slab_job *job = data;
	struct tp_run *run = job->run;
	int way;

	for (way = 0; way < ARRAY_SIZE(tp_slab_ways) && !run->failed; way++) {
		struct tp_bo *bo = NULL;
		long more = TP_SLAB_SLACK;
		int tries;

		if (way < 4 && (!TP_HAVE_BACKUP || get_nr_swap_pages() < 4096))
			continue;
		if ((way == 1 || way == 2) && !IS_ENABLED(CONFIG_FAULT_INJECTION))
			continue;
		/* A leak is there each time; what others do is not. */
		for (tries = 0; tries < 4 && more >= TP_SLAB_SLACK; tries++)
			more = tp_slab_loop(run, job->dev, &bo, way);
		tp_bo_put(bo);
		tp_metric(run, "slab_pages_more", more);
		tp_check(run, more < TP_SLAB_SLACK, "%d times \"%s\": %ld more pages in slabs",
			 TP_SLAB_LOOPS, tp_slab_ways[way], more);
	}
	complete(&job->done);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

static void case_free_slabs(struct tp_run *run)
{
	struct tp_slab_job job = { .run = run, .dev = tp_dev_new(run, NULL) };
	struct task_struct *task;

	if (!job.dev)
		return;
	if (IS_ENABLED(CONFIG_KASAN)) {
		tp_skip(run, "needs a kernel without KASAN, which keeps what is freed");
		goto out;
	}
	job.dev->shrink_off = true;
	init_completion(&job.done);
	task = kthread_run(tp_slab_thread, &job, "ttm_pressure_s");
	if (tp_check(run, !IS_ERR(task), "no thread")) {
		tp_wait_done(&job.done);
		kthread_stop(task);
	}
out:
	tp_dev_free(run, job.dev);
}

#define NS (TP_NEED_BACKUP | TP_NEED_SWAP)

const struct tp_case tp_cases_free[] = {
	{ "free_populated", "I6,I12,I13", "freed when populated", case_free_populated,
	  TP_NEED_PAT },
	{ "free_backed", "I6", "freed when backed up, in memory and in swap", case_free_backed,
	  NS },
	{ "free_partial", "I4,I6,I12", "freed when half backed up", case_free_partial,
	  NS | TP_NEED_FAULT },
	{ "free_midrestore", "I5,I6,I12", "freed in mid-restore, at each page",
	  case_free_midrestore, NS | TP_NEED_FAULT },
	{ "free_midrestore_pages", "I6,I12", "freed in mid-restore, with several blocks back",
	  case_free_midrestore_pages, NS | TP_NEED_FAULT },
	{ "free_partial_midrestore", "I4,I6", "freed when half backed up and half restored",
	  case_free_partial_midrestore, NS | TP_NEED_FAULT },
	{ "free_purged", "I2,I6,I12", "freed when purged", case_free_purged, TP_NEED_BACKUP },
	{ "free_slabs", "I5,I6", "thousands of times out and back and freed: slabs do not grow",
	  case_free_slabs, 0 },
	{ "free_busy", "I6,I16", "freed with a fence pending", case_free_busy, 0 },
	{ }
};

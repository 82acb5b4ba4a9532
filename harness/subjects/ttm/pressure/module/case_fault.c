// SPDX-License-Identifier: GPL-2.0-only
/*
 * Backup and restore that are interrupted or run out of memory, at a chosen
 * point: the task's own countdown (fail_nth) says at which one.
 */
#include <linux/sizes.h>
#include <linux/slab.h>

#include "pressure.h"

const char *tp_fault_how(char *buf, size_t len, const struct tp_bo_args *a, u32 n)
{
	static const char * const names[] = { "uc", "wc", "wb" };

	snprintf(buf, len, "%llu KiB %s%s, point %u", a->size >> 10,
		 names[a->caching], a->dma ? " dma" : "", n);
	return buf;
}

struct tp_bo *tp_fault_new(struct tp_run *run, struct tp_dev *dev,
			   const struct tp_bo_args *args)
{
	return tp_bo_filled(run, dev, args, run->k.seed + tp_rand(run, 1 << 30));
}

/* Backed up in full; the lock is held on return. */
bool tp_fault_out(struct tp_run *run, struct tp_bo *bo)
{
	tp_bo_lock(bo);
	return tp_eq(run, tp_bo_backup(&bo->base, NULL, false, false, true), bo->nr,
		     "pages of object %u backed up", bo->id);
}

/* Back in full, looked at, and out and in once more: nothing stuck. */
void tp_fault_in(struct tp_run *run, struct tp_bo *bo, const char *when)
{
	struct ttm_operation_ctx ctx = { .interruptible = true };

	tp_eq(run, tp_bo_populate(bo, &ctx), 0, "%s: restore", when);
	tp_populated(run, bo, when);
	tp_bo_verify(run, bo, when);
	tp_balance(run, when);
	if (run->failed)
		return;
	tp_eq(run, tp_bo_backup(&bo->base, NULL, false, false, true), bo->nr,
	      "%s: pages backed up the second time", when);
	tp_eq(run, tp_bo_populate(bo, &ctx), 0, "%s: second restore", when);
	tp_populated(run, bo, when);
	tp_bo_verify(run, bo, when);
}

/* A block whose copy runs out of memory in the middle is split and goes on. */
static void case_backup_split(struct tp_run *run)
{
	static const u32 points[] = { 2, 3, 9, 100, 255, 256 };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	char how[80];
	int i, k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < 6 && !run->failed; k++) {
		struct tp_bo_args args = {
			.size = SZ_1M + SZ_4K, .caching = k % 3, .dma = k >= 3,
		};

		for (i = 0; i < ARRAY_SIZE(points) && !run->failed; i++) {
			struct tp_bo *bo = tp_fault_new(run, dev, &args);
			struct tp_witness *w;

			if (!bo)
				break;
			tp_fault_how(how, sizeof(how), &args, points[i]);
			w = tp_witness_of(run, bo);
			tp_bo_lock(bo);
			tp_fail_nth(points[i]);
			tp_eq(run, tp_bo_backup(&bo->base, NULL, false, false, true), bo->nr,
			      "%s: pages backed up", how);
			tp_check(run, !tp_fail_left(), "%s: was never reached", how);
			tp_fail_nth(0);
			tp_backed(run, bo, 0, how);
			tp_witness_freed(run, w, how);
			tp_balance(run, how);
			tp_witness_drop(w);
			bo->witness = NULL;
			tp_fault_in(run, bo, how);
			tp_bo_unlock(bo);
			tp_bo_put(bo);
		}
	}
}

/* Half of it backed up: the rest keeps its pages and its content. */
static struct tp_bo *tp_half(struct tp_run *run, struct tp_dev *dev,
			     const struct tp_bo_args *args, long *got)
{
	struct tp_bo *bo = tp_fault_new(run, dev, args);
	char how[80];

	if (!bo)
		return NULL;
	tp_fault_how(how, sizeof(how), args, 1);
	tp_bo_lock(bo);
	tp_fail_nth(1);
	*got = tp_bo_backup(&bo->base, NULL, false, false, true);
	tp_fail_nth(0);
	tp_check(run, *got > 0 && *got < bo->nr, "%s: pages backed up: got %ld of %lu",
		 how, *got, bo->nr);
	if (*got > 0) {
		tp_backed(run, bo, *got, how);
		tp_eq(run, bo->base.resource->mem_type, TTM_PL_SYSTEM,
		      "%s: memory type", how);
	}
	tp_balance(run, how);
	return bo;
}

static void case_backup_partial(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct tp_bo *bo;
	long got;
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < 6 && !run->failed; k++) {
		struct tp_bo_args args = {
			.size = SZ_8M + 3 * SZ_4K, .caching = k % 3, .dma = k >= 3,
		};

		bo = tp_half(run, dev, &args, &got);
		if (!bo)
			break;
		/* A walk must not come by it, it is no longer suitable. */
#if TP_HAVE_BACKUP
		{
			struct ttm_operation_ctx ctx = { };

			tp_check(run, !ttm_bo_shrink_suitable(&bo->base, &ctx),
				 "a partly backed-up object is called suitable");
		}
#endif
		tp_fault_in(run, bo, "partial backup");
		tp_bo_unlock(bo);
		tp_bo_put(bo);
	}
}

/* Interrupted at each page in turn; then resumed, maybe interrupted again. */
static void tp_resume(struct tp_run *run, struct tp_dev *dev, struct tp_bo *bo, u32 first,
		      bool again)
{
	struct ttm_operation_ctx ctx = { .interruptible = true };
	char how[80];
	u32 n = first, rounds = 0;
	int ret;

	for (;;) {
		tp_fault_how(how, sizeof(how), &bo->args, n);
		tp_fail_nth(n);
		ret = tp_bo_populate(bo, &ctx);
		n = tp_fail_left();
		tp_fail_nth(0);
		if (!ret)
			break;
		if (!tp_eq(run, ret, -EINTR, "%s: interrupted restore", how))
			return;
		tp_midrestore(run, bo, how);
		tp_balance(run, how);
		if (run->failed || rounds++ > 4096)
			return;
		n = again ? 1 + tp_rand(run, bo->nr) : 0;
		if (!n)
			break;
	}
	tp_fault_in(run, bo, how);
}

/*
 * An object goes out, comes back interrupted at page @first (0: at one drawn),
 * and is gone: the device for the next one.
 */
static struct tp_dev *tp_resume_one(struct tp_run *run, struct tp_dev *dev,
				    const struct tp_bo_args *args, u32 first, bool again)
{
	struct tp_bo *bo = tp_fault_new(run, dev, args);

	if (!bo)
		return dev;
	if (tp_fault_out(run, bo))
		tp_resume(run, dev, bo, first ?: 1 + tp_rand(run, bo->nr), again);
	tp_bo_unlock(bo);
	tp_bo_put(bo);
	return tp_dev_again(run, dev, args->caching);
}

static void case_resume_each(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	u32 n;
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < 4; k++) {
		struct tp_bo_args args = {
			.size = 19 * SZ_4K, .caching = k & 1 ? ttm_write_combined : ttm_cached,
			.dma = k >= 2,
		};

		for (n = 1; n <= 19 && dev && !run->failed; n++)
			dev = tp_resume_one(run, dev, &args, n, false);
	}
}

static void case_resume_many(struct tp_run *run)
{
	static const u64 sizes[] = { 7 * SZ_4K, SZ_256K + 3 * SZ_4K, SZ_1M };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < 18 && dev && !run->failed; k++) {
		struct tp_bo_args args = {
			.size = sizes[k % 3], .caching = k / 3 % 3, .dma = k >= 9,
		};

		dev = tp_resume_one(run, dev, &args, 0, true);
	}
}

/* Interrupted in the last block: what resumes must also finish. */
static void case_resume_last(struct tp_run *run)
{
	static const u64 sizes[] = { SZ_4K, SZ_8K, SZ_64K, SZ_1M, SZ_1M + SZ_8K };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < 30 && dev && !run->failed; k++) {
		struct tp_bo_args args = {
			.size = sizes[k % 5], .caching = k / 5 % 3, .dma = k >= 15,
		};

		dev = tp_resume_one(run, dev, &args, args.size >> PAGE_SHIFT, false);
	}
}

/* Partial backup, then interrupted restore: retained pages among handles. */
static void case_resume_partial(struct tp_run *run)
{
	static const u32 points[] = { 1, 2, 700, 1024 };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct tp_bo *bo;
	long got;
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < 4 && dev && !run->failed; k++) {
		struct tp_bo_args args = {
			.size = SZ_8M + SZ_4K,
			.caching = k & 1 ? ttm_cached : ttm_write_combined, .dma = k & 2,
		};

		bo = tp_half(run, dev, &args, &got);
		if (!bo)
			break;
		if (!run->failed)
			tp_resume(run, dev, bo, points[k], false);
		tp_bo_unlock(bo);
		tp_bo_put(bo);
		dev = tp_dev_again(run, dev, args.caching);
	}
}

/* All it needs lies in the pools: interrupted again and again nevertheless. */
static void case_resume_pool(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct tp_bo *bo, *other;
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < 12 && dev && !run->failed; k++) {
		struct tp_bo_args args = {
			.size = (19 + 16 * (k & 1)) * SZ_4K, .dma = k & 2,
			.caching = k & 4 ? ttm_uncached : ttm_write_combined,
		};

		bo = tp_fault_new(run, dev, &args);
		if (!bo)
			break;
		if (tp_fault_out(run, bo)) {
			tp_bo_unlock(bo);
			other = tp_fault_new(run, dev, &args);
			tp_bo_put(other);
			tp_bo_lock(bo);
			tp_resume(run, dev, bo, 1 + tp_rand(run, bo->nr), true);
		}
		tp_bo_unlock(bo);
		tp_bo_put(bo);
		dev = tp_dev_again(run, dev, args.caching);
	}
}

/*
 * Suspected from a run of resume_many: pages changed to uncached when a page
 * came from a pool are changed again by the next attempt, which is refused with
 * -EINVAL, now and ever after: the content cannot be had back.
 */
static void case_suspect_e_again(struct tp_run *run)
{
	struct ttm_operation_ctx ctx = { .interruptible = true };
	struct tp_bo_args args = { .size = 66 * SZ_4K, .caching = ttm_uncached };
	struct tp_bo_args two = { .size = SZ_8K, .caching = ttm_uncached };
	struct tp_dev *dev = tp_dev_new(run, NULL);
	struct tp_bo *bo, *other;
	struct tp_witness *w = NULL;

	if (!dev)
		return;
	dev->shrink_off = true;
	bo = tp_fault_new(run, dev, &args);
	if (bo && tp_fault_out(run, bo)) {
		/* A block of 64 is back, of the next no page. */
		tp_fail_nth(65);
		tp_eq(run, tp_bo_populate(bo, &ctx), -EINTR, "interrupted restore");
		tp_fail_nth(0);
		other = tp_bo_new(dev, &two, NULL);
		tp_bo_put(other);
		tp_fail_nth(1);
		tp_eq(run, tp_bo_populate(bo, &ctx), -EINTR, "interrupted again");
		tp_fail_nth(0);
		tp_eq(run, tp_bo_populate(bo, &ctx), 0, "resumed restore");
		w = tp_witness_of(run, bo);
		bo->witness = NULL;
	}
	if (bo) {
		tp_bo_unlock(bo);
		tp_bo_put(bo);
	}
	tp_dev_free(run, dev);
	tp_witness_mend(w);
	tp_witness_drop(w);
}

/* Without interruptible nothing may come back with -EINTR. */
static void case_restore_uninterruptible(struct tp_run *run)
{
	struct tp_bo_args args = { .size = SZ_64K, .caching = ttm_cached, .dma = true };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct tp_bo *bo;
	struct ttm_operation_ctx ctx = { };

	if (!dev)
		return;
	dev->shrink_off = true;
	bo = tp_fault_new(run, dev, &args);
	if (bo && tp_fault_out(run, bo)) {
		tp_fail_nth(5);
		tp_eq(run, tp_bo_populate(bo, &ctx), 0, "restore that may not be interrupted");
		tp_fail_nth(0);
		tp_populated(run, bo, "restored");
		tp_bo_verify(run, bo, "restored");
	}
	if (bo) {
		tp_bo_unlock(bo);
		tp_bo_put(bo);
	}
}

#define NF (TP_NEED_BACKUP | TP_NEED_SWAP | TP_NEED_FAULT)

const struct tp_case tp_cases_fault[] = {
	{ "backup_split", "I1,I4,I12", "out of memory inside a block: it is split, the rest follows",
	  case_backup_split, NF | TP_NEED_NATIVE },
	{ "backup_partial", "I1,I4,I12,I15", "half backed up: the rest is kept, then all comes back",
	  case_backup_partial, NF },
	{ "resume_each", "I5", "a restore interrupted at each page in turn", case_resume_each, NF },
	{ "resume_many", "I5", "restores interrupted again and again", case_resume_many, NF },
	{ "resume_last", "I5", "a restore interrupted at its last page", case_resume_last, NF },
	{ "resume_partial", "I4,I5", "an interrupted restore of a partial backup",
	  case_resume_partial, NF },
	{ "resume_pool", "I5,I12,I13", "restores from pools interrupted again and again",
	  case_resume_pool, NF | TP_NEED_PAT },
	{ "suspect_e_again", "I5", "a restore interrupted twice can be resumed",
	  case_suspect_e_again, NF | TP_HIDDEN | TP_NEED_PAT },
	{ "restore_uninterruptible", "I5", "no -EINTR for who did not ask for it",
	  case_restore_uninterruptible, NF },
	{ }
};

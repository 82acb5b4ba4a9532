// SPDX-License-Identifier: GPL-2.0-only
/* Mappings of processes: gone before the pages are, and back through faults. */
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "pressure.h"

static const struct vm_operations_struct tp_vm_ops = {
	.fault = ttm_bo_vm_fault,
	.open = ttm_bo_vm_open,
	.close = ttm_bo_vm_close,
	.access = ttm_bo_vm_access,
};

static int tp_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct tp_bo *bo = file->private_data;

	vma->vm_ops = &tp_vm_ops;
	return ttm_bo_mmap_obj(vma, &bo->base);
}

static const struct file_operations tp_map_fops = {
	.owner = THIS_MODULE,
	.mmap = tp_mmap,
};

/* Maps an object into the process that runs the case. */
static unsigned long tp_map(struct tp_run *run, struct tp_bo *bo)
{
	return tp_map_file(run, &tp_map_fops, bo, bo->base.base.size, MAP_SHARED,
			   drm_vma_node_offset_addr(&bo->base.base.vma_node), NULL);
}

enum { TP_BY_BACKUP, TP_BY_PURGE, TP_BY_SWAPOUT, TP_BY_MOVE, TP_BY_NR };

#define TP_CPU_MAPPED 6

/* The object, locked, loses its pages; of its content the words say what is left. */
static void tp_map_lose(struct tp_run *run, struct tp_bo *bo, int by, u64 *words)
{
	struct ttm_operation_ctx ctx = { };

	switch (by) {
	case TP_BY_BACKUP:
		tp_eq(run, tp_bo_backup(&bo->base, NULL, false, false, true), TP_CPU_MAPPED,
		      "pages");
		break;
	case TP_BY_PURGE:
		tp_bo_set_purgeable(bo, true);
		tp_eq(run, tp_bo_backup(&bo->base, NULL, true, false, false), TP_CPU_MAPPED,
		      "pages");
		memset(words, 0, TP_CPU_MAPPED * sizeof(*words));
		break;
	case TP_BY_SWAPOUT:
		tp_bo_unlock(bo);
		tp_eq(run, ttm_device_swapout(bo->base.bdev, &ctx, GFP_KERNEL), TP_CPU_MAPPED,
		      "pages");
		tp_bo_lock(bo);
		break;
	case TP_BY_MOVE:
		tp_eq(run, tp_bo_validate(bo, TTM_PL_VRAM, NULL), 0, "to VRAM");
		tp_eq(run, tp_bo_validate(bo, TTM_PL_TT, NULL), 0, "back to TT");
		break;
	}
}

/* Whoever has the old pages now writes what he likes. */
static void tp_map_scribble(struct tp_witness *w)
{
	pgoff_t i;

	for (i = 0; w && i < tp_witness_nr(w); i++) {
		void *p;

		if (!tp_witness_mine(w, i))
			continue;
		p = kmap_local_page(tp_witness_page(w, i));
		memset(p, 0xee, 64);
		kunmap_local(p);
	}
}

/* Faults bring it back, and into the right pages. */
static void tp_map_back(struct tp_run *run, struct tp_bo *bo, int by, unsigned long at,
			const u64 *words)
{
	int i;

	for (i = TP_CPU_MAPPED - 1; i >= 0; i--)
		tp_user_is(run, at, i, words[i], "mapped, after it was away");
	tp_bo_lock(bo);
	if (tp_check(run, ttm_tt_is_populated(bo->base.ttm),
		     "a fault did not populate it (way %d)", by))
		for (i = 0; i < TP_CPU_MAPPED; i++)
			tp_check(run, tp_first_word(bo->base.ttm->pages[i]) == words[i],
				 "page %d of the object is not what the mapping shows", i);
	if (by != TP_BY_MOVE)
		tp_lru_expect(run, bo, "after faults");
	tp_bo_unlock(bo);
}

/* An object is mapped, written to, and loses its pages that way. */
static bool tp_mapped_away(struct tp_run *run, struct tp_dev *dev, int by)
{
	struct tp_bo_args args = {
		.size = TP_CPU_MAPPED * SZ_4K, .caching = ttm_cached,
		.in_system = by == TP_BY_SWAPOUT,
		.watermark = by == TP_BY_SWAPOUT || !TP_HAVE_BACKUP,
	};
	struct tp_bo *bo = tp_bo_filled(run, dev, &args, run->k.seed + by);
	u64 words[TP_CPU_MAPPED], mine = 0x7474206d61707065ULL;
	struct tp_witness *w;
	unsigned long at;
	int i;

	if (!bo)
		return false;
	tp_bo_lock(bo);
	for (i = 0; i < TP_CPU_MAPPED; i++)
		words[i] = tp_first_word(bo->base.ttm->pages[i]);
	tp_bo_unlock(bo);
	at = tp_map(run, bo);
	if (!at) {
		tp_bo_put(bo);
		return false;
	}
	for (i = 0; i < TP_CPU_MAPPED; i++)
		tp_user_is(run, at, i, words[i], "mapped");
	/* The process writes; that is content as well. */
	tp_check(run, !copy_to_user((void __user *)at, &mine, sizeof(mine)),
		 "a write through the mapping failed");
	words[0] = mine;
	tp_bo_lock(bo);
	w = tp_witness_of(run, bo);
	bo->witness = NULL;
	tp_map_lose(run, bo, by, words);
	tp_map_scribble(w);
	tp_bo_unlock(bo);
	tp_map_back(run, bo, by, at, words);
	tp_witness_drop(w);
	vm_munmap(at, bo->base.base.size);
	tp_balance(run, "unmapped");
	tp_bo_put(bo);
	return true;
}

static void case_cpu_mapping(struct tp_run *run)
{
	static const struct tp_dev_args dargs = { .vram = SZ_1M };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, &dargs);
	bool swap = TP_HAVE_BACKUP && get_nr_swap_pages() > 4096;
	int by, done = 0;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (by = 0; by < TP_BY_NR && !run->failed; by++) {
		if ((by == TP_BY_BACKUP && !swap) || (by == TP_BY_PURGE && !TP_HAVE_BACKUP))
			continue;
		if (!tp_mapped_away(run, dev, by))
			break;
		done++;
	}
	tp_metric(run, "ways", done);
}

#define TP_MAPPED 6

/* An object with content, and a mapping of it; the first word of each page. */
static struct tp_bo *tp_mapped_new(struct tp_run *run, struct tp_dev *dev, u64 *words,
				   unsigned long *at)
{
	struct tp_bo_args args = { .size = TP_MAPPED * SZ_4K, .caching = ttm_cached };
	struct tp_bo *bo = tp_bo_new(dev, &args, NULL);
	int i;

	if (!tp_check(run, bo, "no object to map"))
		return NULL;
	tp_bo_lock(bo);
	tp_eq(run, tp_bo_populate(bo, NULL), 0, "populate");
	tp_bo_fill(bo, run->k.seed + 1);
	for (i = 0; i < TP_MAPPED; i++)
		words[i] = tp_first_word(bo->base.ttm->pages[i]);
	tp_bo_unlock(bo);
	*at = tp_map(run, bo);
	if (!*at) {
		tp_bo_put(bo);
		return NULL;
	}
	return bo;
}

static void tp_mapped_free(struct tp_run *run, struct tp_bo *bo, unsigned long at)
{
	vm_munmap(at, bo->base.base.size);
	tp_balance(run, "unmapped");
	tp_bo_put(bo);
}

/* A fault whose restore is interrupted is taken again; it never ends in SIGBUS. */
static void case_map_interrupted(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	long before = atomic64_read(&tp_stats.eintr);
	u64 words[TP_MAPPED];
	unsigned long at;
	struct tp_bo *bo;
	int n, i;

	if (!dev)
		return;
	dev->shrink_off = true;
	bo = tp_mapped_new(run, dev, words, &at);
	for (n = 1; bo && n <= TP_MAPPED && !run->failed; n++) {
		tp_bo_lock(bo);
		tp_eq(run, tp_bo_backup(&bo->base, NULL, false, false, true), TP_MAPPED, "pages");
		tp_bo_unlock(bo);
		tp_fail_nth(n);
		for (i = 0; i < TP_MAPPED; i++)
			tp_user_is(run, at, i, words[i], "a restore interrupted in a fault");
		tp_fail_nth(0);
		tp_bo_lock(bo);
		tp_populated(run, bo, "restored by faults");
		tp_bo_verify(run, bo, "restored by faults");
		tp_bo_unlock(bo);
	}
	tp_check(run, atomic64_read(&tp_stats.eintr) - before >= TP_MAPPED,
		 "%lld restores were interrupted", atomic64_read(&tp_stats.eintr) - before);
	if (bo)
		tp_mapped_free(run, bo, at);
}

struct tp_holder {
	struct tp_bo *bo;
	struct completion held;
};

static int tp_hold_for_a_while(void *data)
{
	struct tp_holder *h = data;

	tp_bo_lock(h->bo);
	complete(&h->held);
	msleep(50);
	tp_bo_unlock(h->bo);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

/* Up to 6.17 a fault holds the one, since then the other. */
static int tp_refs(struct tp_bo *bo)
{
	return kref_read(&bo->base.kref) + kref_read(&bo->base.base.refcount);
}

/* Faults that wait for the lock of an object, with a signal pending, keep nothing of it. */
static void case_map_contended(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct task_struct *task;
	u64 words[TP_MAPPED];
	struct tp_holder h;
	unsigned long at;
	int i, page, refs = 0, contended[2] = { };

	if (!dev)
		return;
	dev->shrink_off = true;
	h.bo = tp_mapped_new(run, dev, words, &at);
	if (h.bo)
		refs = tp_refs(h.bo);
	/* On a busy host the lock may be free again before the fault comes. */
	for (i = 0; h.bo && i < 60 && !run->failed; i++) {
		if (contended[0] >= 3 && contended[1] >= 3)
			break;
		page = i % TP_MAPPED;
		tp_user_is(run, at, page, words[page], "mapped");
		ttm_bo_unmap_virtual(&h.bo->base);
		init_completion(&h.held);
		task = kthread_run(tp_hold_for_a_while, &h, "ttm_pressure_l");
		if (!tp_check(run, !IS_ERR(task), "no thread"))
			break;
		tp_wait_done(&h.held);
		/* As if there were one: it ends waits, and nobody has to handle it. */
		if (i & 1)
			set_thread_flag(TIF_SIGPENDING);
		contended[i & 1] += dma_resv_is_locked(h.bo->base.base.resv);
		tp_user_is(run, at, page, words[page], "a fault that waits for the lock");
		recalc_sigpending();
		kthread_stop(task);
	}
	if (h.bo) {
		tp_check(run, run->failed || (contended[0] && contended[1]),
			 "the lock was never held just before a fault (%d), or one with a signal (%d)",
			 contended[0], contended[1]);
		tp_eq(run, tp_refs(h.bo), refs, "references of a mapped object");
		tp_mapped_free(run, h.bo, at);
	}
}

#if TP_HAVE_ACCESS
/* By byte, across pages: populated, and backed up. */
static void tp_access(struct tp_run *run, struct tp_bo *bo, u8 *want, u8 *got, bool out)
{
	const int all = bo->base.base.size;
	const struct { int at, len; } parts[] = {
		{ 0, all }, { SZ_4K - 100, 3 * SZ_4K }, { SZ_4K - 1, 2 }, { all - 10, 10 },
		{ 3 * SZ_4K, SZ_4K }, { tp_rand(run, all - 1), 1 },
	};
	int i, k, n;

	for (i = 0; i < ARRAY_SIZE(parts) && !run->failed; i++) {
		for (k = 0; k < 2; k++) {
			if (out) {
				tp_bo_lock(bo);
				tp_eq(run, tp_bo_backup(&bo->base, NULL, false, false, true),
				      TP_MAPPED, "pages");
				tp_bo_unlock(bo);
			}
			for (n = 0; k && n < parts[i].len; n++)
				want[parts[i].at + n] ^= 0x5a + n % 7;
			memset(got, 0, parts[i].len);
			if (k)
				memcpy(got, want + parts[i].at, parts[i].len);
			tp_eq(run, ttm_bo_access(&bo->base, parts[i].at, got, parts[i].len, k),
			      parts[i].len, "bytes %s at %d", k ? "written" : "read", parts[i].at);
			/* What was written is looked at in the end, with all around it. */
			if (!k)
				tp_check(run, !memcmp(got, want + parts[i].at, parts[i].len),
					 "%d bytes read at %d are wrong", parts[i].len,
					 parts[i].at);
		}
	}
	tp_eq(run, ttm_bo_access(&bo->base, 0, got, all, 0), all, "bytes of all");
	tp_check(run, !memcmp(got, want, all), "what was written is not what is there");
	tp_check(run, ttm_bo_access(&bo->base, 1, got, all, 0) < 0, "access beyond the end");
}
#endif

static void case_access(struct tp_run *run)
{
#if TP_HAVE_ACCESS
	bool swap = TP_HAVE_BACKUP && get_nr_swap_pages() > 4096;
	struct tp_dev *dev = tp_dev_new(run, NULL);
	const int all = TP_MAPPED * SZ_4K;
	u8 *want = kvmalloc(2 * all, GFP_KERNEL);
	int k, i;

	if (!dev || !tp_check(run, want, "no memory for the bytes"))
		goto out;
	dev->shrink_off = true;
	for (k = 0; k < 6 && !run->failed; k++) {
		struct tp_bo_args args = { .size = all, .caching = k % 3 };
		struct tp_bo *bo = tp_bo_new(dev, &args, NULL);

		if (!tp_check(run, bo, "no object"))
			break;
		tp_bo_lock(bo);
		tp_eq(run, tp_bo_populate(bo, NULL), 0, "populate");
		tp_bo_fill(bo, run->k.seed + k);
		for (i = 0; i < TP_MAPPED; i++) {
			void *p = kmap_local_page(bo->base.ttm->pages[i]);

			memcpy(want + i * PAGE_SIZE, p, PAGE_SIZE);
			kunmap_local(p);
		}
		tp_bo_unlock(bo);
		tp_access(run, bo, want, want + all, k >= 3 && swap);
		tp_bo_put(bo);
	}
out:
	tp_dev_free(run, dev);
	kvfree(want);
#else
	tp_skip(run, "needs ttm_bo_access");
#endif
}

/* So many bytes of the mapping of an object, as a debugger has them. */
static int tp_debugged(unsigned long at, void *buf, int len, bool write)
{
	return access_process_vm(current, at, buf, len, FOLL_FORCE | (write ? FOLL_WRITE : 0));
}

/* Who has no place has no bytes: none are read or written, and no page is made for that. */
static void tp_access_none(struct tp_run *run, struct tp_bo *bo, unsigned long at)
{
	u64 word = 1;
	int write;

	for (write = 0; write < 2; write++) {
		tp_eq(run, tp_debugged(at + SZ_4K - 4, &word, sizeof(word), write), 0,
		      "bytes %s through a mapping, with no place", write ? "written" : "read");
#if TP_HAVE_ACCESS
		tp_eq(run, ttm_bo_access(&bo->base, 0, &word, sizeof(word), write), -ENODATA,
		      "bytes %s with no place", write ? "written" : "read");
#endif
	}
	tp_bo_lock(bo);
	tp_check(run, !bo->base.resource, "it has a place from being looked at");
	tp_check(run, !bo->base.ttm || !ttm_tt_is_populated(bo->base.ttm),
		 "it has pages from being looked at");
	tp_bo_unlock(bo);
}

/* An object that was given up, idle or busy, is looked at from outside. */
static void case_access_gutted(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev_bos) = tp_dev_new(run, NULL);
	struct ttm_placement none = { };
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < 4 && !run->failed; k++) {
		struct tp_bo_args args = {
			.size = TP_MAPPED * SZ_4K, .caching = ttm_cached, .in_system = k & 2,
			.watermark = !TP_HAVE_BACKUP,
		};
		struct tp_bo *bo = tp_bo_filled(run, dev, &args, 0);
		struct ttm_operation_ctx ctx = { };
		unsigned long at;
		u64 word = 1;

		at = bo ? tp_map(run, bo) : 0;
		if (!at)
			return;
		tp_bo_lock(bo);
		if (k & 1)
			tp_bo_busy(bo);
		tp_eq(run, ttm_bo_validate(&bo->base, &none, &ctx), 0, "given up");
		tp_check(run, !bo->base.resource, "given up, and it has a place");
		tp_bo_unlock(bo);
		tp_access_none(run, bo, at);
		tp_bo_idle(bo);
		tp_bo_lock(bo);
		tp_eq(run, tp_bo_validate(bo, TTM_PL_TT, NULL), 0, "to TT again");
		tp_bo_unlock(bo);
		tp_eq(run, tp_debugged(at, &word, sizeof(word), false), sizeof(word),
		      "bytes read through a mapping, with a place again");
		tp_eq(run, word, 0, "what is there after it was given up");
		flush_workqueue(dev->bdev.wq);
		tp_mapped_free(run, bo, at);
	}
}

const struct tp_case tp_cases_map[] = {
	{ "cpu_mapping", "I1,I2", "mappings of a process go with the pages and come back by faults",
	  case_cpu_mapping, 0 },
	{ "map_interrupted", "I1,I5", "a restore interrupted in a fault is taken up again",
	  case_map_interrupted, TP_NEED_BACKUP | TP_NEED_SWAP | TP_NEED_FAULT },
	{ "map_contended", "I6", "faults that wait for a lock, with a signal pending",
	  case_map_contended, 0 },
	{ "access", "I1", "reading and writing by byte, across pages", case_access, 0 },
	{ "access_gutted", "I2,I6", "who looks at what was given up gets nothing of it",
	  case_access_gutted, 0 },
	{ }
};

// SPDX-License-Identifier: GPL-2.0-only
/* The state of an object, of all objects together, and of pages let go. */
#include <linux/dma-resv.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/pagemap.h>
#include <linux/slab.h>

#include "pressure.h"

/* Pages of the shmem file behind a backup, in memory and in swap. */
long tp_backup_pages(struct tp_bo *bo, long *swapped)
{
	struct file *f = bo->base.ttm ? tp_tt_backup_file(bo->base.ttm) : NULL;
	struct shmem_inode_info *info;

	if (swapped)
		*swapped = 0;
	if (!f)
		return 0;
	info = SHMEM_I(file_inode(f));
	if (swapped)
		*swapped = info->swapped;
	return info->alloced;
}

/* Holds the file of a backup beyond the end of the object. */
struct file *tp_file_hold(struct tp_bo *bo)
{
	struct file *f = tp_tt_backup_file(bo->base.ttm);

	return f ? get_file(f) : NULL;
}

/* Nobody else holds it, and every handle was dropped. */
void tp_file_empty(struct tp_run *run, struct file *f, const char *when)
{
	if (!f)
		return;
	tp_eq(run, file_count(f), 1, "%s: references to the file of a backup", when);
	tp_eq(run, SHMEM_I(file_inode(f))->alloced, 0, "%s: pages left in the file of a backup",
	      when);
	fput(f);
}

static unsigned int tp_order(struct tp_dev *dev, struct page *p)
{
	return dev->args.dma_alloc ? 0 : page_private(p);
}

pgoff_t tp_tt_real(struct ttm_tt *tt)
{
	pgoff_t i, n = 0;

	if (!tt->pages)
		return 0;
	for (i = 0; i < tt->num_pages; i++)
		n += tt->pages[i] && !tp_is_handle(tt->pages[i]);
	return n;
}

void tp_populated(struct tp_run *run, struct tp_bo *bo, const char *when)
{
	struct ttm_tt *tt = bo->base.ttm;
	int attr = tp_want_attr(bo->args.caching);
	pgoff_t i, j, nr;

	if (!tp_check(run, tt, "%s: object %u has no ttm_tt", when, bo->id))
		return;
	tp_check(run, ttm_tt_is_populated(tt), "%s: object %u is not populated", when, bo->id);
	tp_check(run, !tp_tt_swapped(tt), "%s: object %u is still swapped or backed up (%x)",
		 when, bo->id, tt->page_flags);
	tp_check(run, !tp_tt_restore_state(tt), "%s: object %u still has a restore state",
		 when, bo->id);
	tp_check(run, !tt->swap_storage, "%s: object %u still has swap storage", when, bo->id);
	tp_eq(run, tp_backup_pages(bo, NULL), 0, "%s: object %u, pages left in its backup",
	      when, bo->id);
	tp_eq(run, tt->caching, bo->args.caching, "%s: object %u, caching", when, bo->id);
	tp_check(run, to_tp_tt(tt)->accounted, "%s: object %u is not counted", when, bo->id);

	for (i = 0; i < tt->num_pages; i += nr) {
		struct page *p = tt->pages[i];
		unsigned int order;

		nr = 1;
		if (!tp_check(run, p && !tp_is_handle(p),
			      "%s: object %u, entry %lu: expected a page, got %lx", when, bo->id,
			      i, (unsigned long)p))
			return;
		order = tp_order(bo->dev, p);
		nr = 1UL << order;
		if (!tp_check(run, order <= MAX_PAGE_ORDER && i + nr <= tt->num_pages,
			      "%s: object %u, entry %lu: order %u cannot be", when, bo->id, i,
			      order))
			return;
		if (!bo->witness)
			tp_eq(run, page_count(p), 1, "%s: object %u, references to page %lu",
			      when, bo->id, i);
		for (j = 0; j < nr; j++) {
			if (!tp_check(run, tt->pages[i + j] == p + j,
				      "%s: object %u, entry %lu does not follow", when,
				      bo->id, i + j))
				return;
			if (!tp_attr_is(run, p + j, attr, when, bo->id, i + j))
				return;
			if (bo->args.dma &&
			    !tp_eq(run, tt->dma_address[i + j], tp_dma_want(p + j),
				   "%s: object %u, DMA address %lu", when, bo->id, i + j))
				return;
		}
		if (bo->args.dma && tp_have_dma_ops() && !bo->dev->args.dma_alloc &&
		    !tp_eq(run, tp_dma_live(page_to_pfn(p)), order + 1,
			   "%s: object %u, page %lu: order + 1 of its DMA mapping",
			   when, bo->id, i))
			return;
	}
	tp_lru_expect(run, bo, when);
}

/* The copy of one page, where it is in memory: right, to be kept, not locked. */
bool tp_copy_check(struct tp_run *run, struct tp_bo *bo, struct file *file, pgoff_t idx,
		   pgoff_t i, const char *when)
{
	struct folio *folio = filemap_get_folio(file->f_mapping, idx);
	bool ok;

	/* What is in swap is looked at when it is back. */
	if (IS_ERR_OR_NULL(folio))
		return true;
	ok = tp_check(run, folio_test_uptodate(folio), "%s: object %u, copy of page %lu: no data",
		      when, bo->id, i);
	ok &= tp_check(run, folio_test_dirty(folio) || folio_test_writeback(folio) ||
		       folio_test_swapcache(folio),
		       "%s: object %u, copy of page %lu would be dropped by reclaim",
		       when, bo->id, i);
	ok &= tp_check(run, !folio_test_locked(folio) || folio_test_writeback(folio) ||
		       folio_test_swapcache(folio),
		       "%s: object %u, copy of page %lu was left locked", when, bo->id, i);
	if (ok)
		ok = tp_page_verify(run, bo, i, folio_file_page(folio, idx), when);
	folio_put(folio);
	return ok;
}

/* Backed up, all of it (nr == 0) or as much as TTM said. */
void tp_backed(struct tp_run *run, struct tp_bo *bo, long nr, const char *when)
{
	struct ttm_tt *tt = bo->base.ttm;
	pgoff_t i, handles = 0, real = 0, holes = 0;
	bool full = !nr;

	if (!nr)
		nr = bo->nr;
	tp_check(run, tp_tt_backed_up(tt), "%s: object %u is not marked backed up", when, bo->id);
	tp_check(run, !ttm_tt_is_populated(tt), "%s: object %u is still marked populated",
		 when, bo->id);
	tp_check(run, !tp_tt_restore_state(tt), "%s: object %u has a restore state", when, bo->id);
	tp_check(run, !to_tp_tt(tt)->accounted, "%s: object %u is still counted", when, bo->id);
	for (i = 0; i < tt->num_pages; i++) {
		struct page *p = tt->pages[i];

		if (!p) {
			holes++;
			continue;
		}
		if (tp_is_handle(p)) {
			handles++;
			if (!tp_check(run, tp_handle(p), "%s: object %u, entry %lu: empty handle",
				      when, bo->id, i))
				return;
			if (!tp_copy_check(run, bo, tp_tt_backup_file(tt), tp_handle(p) - 1, i,
					   when))
				return;
			continue;
		}
		real++;
		if (!tp_attr_is(run, p, TP_ATTR_WB, when, bo->id, i))
			return;
		if (bo->args.dma && tp_have_dma_ops() &&
		    !tp_eq(run, tp_dma_live(page_to_pfn(p)), 0,
			   "%s: object %u, retained page %lu is still DMA-mapped",
			   when, bo->id, i))
			return;
		if (!tp_page_verify(run, bo, i, p, when))
			return;
	}
	tp_eq(run, handles, nr, "%s: object %u, pages backed up", when, bo->id);
	tp_eq(run, holes, 0, "%s: object %u, entries lost", when, bo->id);
	if (full)
		tp_eq(run, real, 0, "%s: object %u, pages retained", when, bo->id);
	tp_eq(run, tp_backup_pages(bo, NULL), handles, "%s: object %u, pages in its backup",
	      when, bo->id);
	tp_lru_expect(run, bo, when);
}

void tp_purged(struct tp_run *run, struct tp_bo *bo, const char *when)
{
	struct ttm_tt *tt = bo->base.ttm;
	pgoff_t i;

	tp_check(run, !ttm_tt_is_populated(tt), "%s: object %u is still marked populated",
		 when, bo->id);
	tp_check(run, tp_tt_backed_up(tt), "%s: object %u is not marked", when, bo->id);
	tp_check(run, !to_tp_tt(tt)->accounted, "%s: object %u is still counted", when, bo->id);
	for (i = 0; i < tt->num_pages; i++)
		if (!tp_check(run, !tt->pages[i], "%s: object %u, entry %lu is left (%lx)", when,
			      bo->id, i, (unsigned long)tt->pages[i]))
			break;
	tp_eq(run, tp_backup_pages(bo, NULL), 0, "%s: object %u, pages in its backup",
	      when, bo->id);
	tp_lru_expect(run, bo, when);
}

/* An interrupted restore: pages, then entries already read, then handles. */
void tp_midrestore(struct tp_run *run, struct tp_bo *bo, const char *when)
{
	struct ttm_tt *tt = bo->base.ttm;
	pgoff_t i, left = 0;
	bool in_pages = true;

	tp_check(run, tp_tt_backed_up(tt), "%s: object %u is not marked backed up", when, bo->id);
	tp_check(run, !ttm_tt_is_populated(tt), "%s: object %u is marked populated", when, bo->id);
	tp_check(run, !to_tp_tt(tt)->accounted, "%s: object %u is counted", when, bo->id);
	for (i = 0; i < tt->num_pages; i++) {
		struct page *p = tt->pages[i];

		if (p && !tp_is_handle(p)) {
			/* What was read back so far is right already. */
			if (in_pages && !tp_page_verify(run, bo, i, p, when))
				return;
			continue;
		}
		in_pages = false;
		left += tp_is_handle(p) && tp_handle(p);
	}
	tp_eq(run, tp_backup_pages(bo, NULL), left,
	      "%s: object %u, pages in its backup, as many as handles", when, bo->id);
	tp_lru_expect(run, bo, when);
}

struct tp_sums {
	long real, mapped;
	bool restoring;
	unsigned long pooled, limit;
	bool pools;
	struct tp_counters c;
};

static void tp_sum(struct tp_run *run, struct tp_sums *s)
{
	struct tp_tt *tt;

	memset(s, 0, sizeof(*s));
	spin_lock(&run->dev->lock);
	list_for_each_entry(tt, &run->dev->tts, link) {
		if (!tt->tt.pages)
			continue;
		/* A page that is being restored is known to TTM alone. */
		if (tp_tt_restore_state(&tt->tt))
			s->restoring = true;
		if (ttm_tt_is_populated(&tt->tt) || tp_tt_backed_up(&tt->tt))
			s->real += tp_tt_real(&tt->tt);
		if (tt->dma && ttm_tt_is_populated(&tt->tt))
			s->mapped += tt->tt.num_pages;
	}
	spin_unlock(&run->dev->lock);
	s->pools = tp_pool_footer(&s->pooled, &s->limit);
	tp_counters_read(&s->c);
	s->c.gpu_active -= run->start.gpu_active;
	s->c.gpu_reclaim -= run->start.gpu_reclaim;
	s->c.dma_mapped -= run->start.dma_mapped;
}

static bool tp_settled(const struct tp_run *run, const struct tp_sums *s)
{
	if (s->restoring)
		return true;
	if (TP_HAVE_GPU_STATS &&
	    (s->c.gpu_active != s->real || (s->pools && s->c.gpu_reclaim != s->pooled)))
		return false;
	/* A ghost whose time has come goes in a worker, perhaps between the two sums. */
	return !tp_have_dma_ops() || run->dev->args.dma_alloc || s->c.dma_mapped == s->mapped;
}

/* The counters say what the page arrays say, when nobody else is at work. */
void tp_balance(struct tp_run *run, const char *when)
{
	struct tp_sums s;

	tp_sum(run, &s);
	/*
	 * After real pressure reclaim may still be going through the pools. And a CPU
	 * that folds its share of a counter into the sum has it nowhere for a moment,
	 * which is long where the host stops the CPU in it (refresh_cpu_vm_stats()).
	 */
	tp_wait_for((tp_sum(run, &s), tp_settled(run, &s)));
	if (run->dev->args.dma_alloc)
		return;
	if (TP_HAVE_GPU_STATS && !s.restoring)
		tp_eq(run, s.c.gpu_active, s.real,
		      "%s: GPUActive against the pages objects have", when);
	if (TP_HAVE_GPU_STATS && s.restoring)
		tp_check(run, s.c.gpu_active >= s.real &&
			 s.c.gpu_active <= s.real + (1L << MAX_PAGE_ORDER),
			 "%s: GPUActive is %ld pages off in an interrupted restore", when,
			 s.c.gpu_active - s.real);
	if (TP_HAVE_GPU_STATS && s.pools)
		tp_eq(run, s.c.gpu_reclaim, s.pooled,
		      "%s: GPUReclaim against the pages in pools", when);
	if (tp_have_dma_ops() && !s.restoring)
		tp_eq(run, s.c.dma_mapped, s.mapped, "%s: DMA-mapped pages", when);
}

/* ---- before and after what was refused; the lock of the object is held ---- */

static unsigned int tp_fences(struct tp_bo *bo)
{
	struct dma_resv_iter cursor;
	struct dma_fence *fence;
	unsigned int n = 0;

	dma_resv_for_each_fence(&cursor, bo->base.base.resv, DMA_RESV_USAGE_BOOKKEEP, fence)
		n += !dma_fence_is_signaled(fence);
	return n;
}

void tp_snap_take(struct tp_bo *bo, struct tp_snap *s)
{
	struct ttm_device *bdev = &bo->dev->bdev;
	int i;

	*s = (struct tp_snap){
		.lru = tp_lru_hash(bo->dev), .resource = bo->base.resource, .ttm = bo->base.ttm,
		.bulk = bo->base.bulk_move, .pins = bo->base.pin_count, .fences = tp_fences(bo),
		.refs = kref_read(&bo->base.kref), .objects = atomic_read(&ttm_glob.bo_count),
		.flags = bo->base.ttm ? bo->base.ttm->page_flags : 0,
		.mem_type = bo->base.resource ? (int)bo->base.resource->mem_type : -1,
	};
	for (i = 0; i < ARRAY_SIZE(s->usage); i++)
		if (ttm_manager_type(bdev, i))
			s->usage[i] = ttm_resource_manager_usage(ttm_manager_type(bdev, i));
}

void tp_snap_same(struct tp_run *run, struct tp_bo *bo, const struct tp_snap *was,
		  const char *when)
{
	struct ttm_resource_manager *man;
	struct tp_snap is;
	bool freed;
	int i;

	tp_snap_take(bo, &is);
	/* A move that fails takes the ttm_tt from what lies where none is used: out_err of
	 * ttm_bo_handle_move_mem().
	 */
	man = was->mem_type >= 0 ? ttm_manager_type(&bo->dev->bdev, was->mem_type) : NULL;
	freed = was->ttm && !is.ttm && man && !man->use_tt;
	tp_eq(run, is.mem_type, was->mem_type, "%s: object %u, memory type", when, bo->id);
	tp_check(run, is.resource == was->resource,
		 "%s: object %u has another place", when, bo->id);
	tp_check(run, freed || is.ttm == was->ttm, "%s: object %u has another ttm_tt (%s)", when,
		 bo->id, is.ttm ? "one" : "none");
	tp_eq(run, is.flags, freed ? 0 : was->flags, "%s: object %u, flags of its ttm_tt", when,
	      bo->id);
	tp_check(run, is.bulk == was->bulk, "%s: object %u is in another bulk move", when, bo->id);
	tp_eq(run, is.pins, was->pins, "%s: object %u, pins", when, bo->id);
	tp_eq(run, is.fences, was->fences, "%s: object %u, fences", when, bo->id);
	tp_eq(run, is.refs, was->refs, "%s: object %u, references", when, bo->id);
	tp_eq(run, is.objects, was->objects, "%s: objects of TTM", when);
	for (i = 0; i < ARRAY_SIZE(is.usage); i++)
		tp_eq(run, is.usage[i], was->usage[i], "%s: bytes in use of manager %d", when, i);
	tp_check(run, is.lru == was->lru, "%s: something was moved on the lists", when);
}

/* ---- witnesses ---- */

struct tp_witness *tp_witness_of(struct tp_run *run, struct tp_bo *bo)
{
	struct ttm_tt *tt = bo->base.ttm;
	struct tp_witness *w = tp_witness_new(run, bo->id, tt->num_pages);
	pgoff_t i, next = 0;

	if (!w)
		return NULL;
	/* Of the device, which may be gone by then. */
	w->no_dma = bo->dev->args.dma_alloc;
	for (i = 0; i < tt->num_pages; i++) {
		struct page *p = tt->pages[i];
		bool head = i == next;

		/* In an interrupted restore only the beginning has pages. */
		if (!p || tp_is_handle(p))
			break;
		tp_witness_add(w, p, head);
		if (head)
			next += 1UL << tp_order(bo->dev, p);
	}
	bo->witness = w;
	return w;
}

void tp_witness_pooled(struct tp_run *run, struct tp_witness *w, int attr, const char *when)
{
	tp_witness_check(run, w, attr, 2, true, when);
}

/* Each page is free and cached, or lies in a pool, cleared, as the pool wants it. */
void tp_witness_given(struct tp_run *run, struct tp_witness *w, enum ttm_caching caching,
		      const char *when)
{
	pgoff_t i;
	bool pooled = false;

	if (!w)
		return;
	for (i = 0; i < w->nr; i++) {
		struct page *p = w->pages[i];
		u64 *at;

		if (w->head[i]) {
			int refs = page_count(p);

			if (!tp_check(run, refs == 1 || refs == 2,
				      "%s: object %u, former page %lu: %d references",
				      when, w->id, i, refs))
				return;
			pooled = refs == 2;
		}
		if (!tp_attr_is(run, p, pooled ? tp_want_attr(caching) : TP_ATTR_WB,
				pooled ? "in a pool" : "back in the system", w->id, i))
			return;
		if (!pooled)
			continue;
		at = kmap_local_page(p);
		tp_check(run, !memchr_inv(at, 0, PAGE_SIZE),
			 "%s: object %u, former page %lu is not cleared", when, w->id, i);
		kunmap_local(at);
	}
}

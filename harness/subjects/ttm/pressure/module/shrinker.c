// SPDX-License-Identifier: GPL-2.0-only
/*
 * A registered shrinker with the contract of the one driver that has it:
 * purge first; idle objects, then waiting, then writeback; no backup without
 * __GFP_FS, no writeback without __GFP_IO, no waiting in direct reclaim.
 */
#include <linux/sched/mm.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>

#include "pressure.h"

#if TP_HAVE_BACKUP
struct tp_walk {
	struct tp_dev *dev;
	struct ttm_operation_ctx *ctx;
	unsigned long target;
	unsigned long scanned;
	unsigned long freed;
	bool purge;
};

static long tp_shrink_one(struct tp_walk *w, struct ttm_buffer_object *tbo, bool writeback)
{
	struct ttm_place place = { .mem_type = tbo->resource->mem_type };
	struct tp_tt *tt = to_tp_tt(tbo->ttm);
	bool ours = tbo->base.dev;	/* a ghost has none */
	bool doomed = tbo->deleted || !ours;
	struct tp_bo *bo = ours ? to_tp_bo(tbo) : NULL;

	if (w->purge && !tt->purgeable && !doomed)
		return -EBUSY;
	if (!ttm_bo_eviction_valuable(tbo, &place))
		return -EBUSY;
	if (tbo->pin_count)
		tp_async("a walk came by a pinned object");
	atomic64_inc(&tp_stats.visits);
	if (bo) {
		if (bo->visit_serial != w->dev->scan_serial) {
			bo->visit_serial = w->dev->scan_serial;
			bo->visits = 0;
		}
		bo->visits++;
		w->dev->max_visits = max(w->dev->max_visits, bo->visits);
	}
	w->scanned += tt->tt.num_pages;
	if (doomed || tt->purgeable) {
		/* Nobody wants the content: no move that would copy it. */
		if (tbo->resource->mem_type != TTM_PL_SYSTEM) {
			struct ttm_place sys = { .mem_type = TTM_PL_SYSTEM };
			struct ttm_placement placement = { .num_placement = 1, .placement = &sys };
			struct ttm_resource *res;
			int ret;

			ret = ttm_bo_wait_ctx(tbo, w->ctx);
			if (!ret)
				ret = ttm_bo_mem_space(tbo, &placement, &res, w->ctx);
			if (ret)
				return ret;
			ttm_bo_move_null(tbo, res);
		}
		return tp_bo_backup(tbo, w->ctx, true, false, false);
	}
	if (writeback)
		atomic64_inc(&tp_stats.writeback);
	return tp_bo_backup(tbo, w->ctx, false, writeback, true);
}

static int tp_walk_once(struct tp_walk *w, bool writeback)
{
	u32 mem_type;
	long lret;

	for (mem_type = TTM_PL_SYSTEM; mem_type <= TTM_PL_TT; mem_type++) {
		struct ttm_resource_manager *man = ttm_manager_type(&w->dev->bdev, mem_type);
		struct ttm_lru_walk_arg arg = { .ctx = w->ctx, .trylock_only = true };
		struct ttm_bo_lru_cursor curs;
		struct ttm_buffer_object *bo;

		if (!man || !man->use_tt)
			continue;
		w->dev->scan_serial++;
		ttm_bo_lru_for_each_reserved_guarded(&curs, man, &arg, bo) {
			if (!ttm_bo_shrink_suitable(bo, w->ctx))
				continue;
			/* Imported pages belong to somebody else. */
			if (!(bo->ttm->page_flags & TTM_TT_FLAG_EXTERNAL_MAPPABLE))
				continue;
			lret = tp_shrink_one(w, bo, writeback);
			if (lret < 0 && lret != -EBUSY)
				return lret;
			if (lret < 0)
				atomic64_inc(&tp_stats.ebusy);
			else
				w->freed += lret;
			if (w->scanned >= w->target)
				return 0;
		}
		if (IS_ERR(bo))
			tp_async("a walk with trylock ended with %ld", PTR_ERR(bo));
	}
	return 0;
}

static void tp_walk(struct tp_walk *w, bool writeback)
{
	bool no_wait = w->ctx->no_wait_gpu;
	int ret;

	w->ctx->no_wait_gpu = true;
	ret = tp_walk_once(w, false);
	w->ctx->no_wait_gpu = no_wait;
	if (!ret && w->scanned < w->target && !no_wait)
		ret = tp_walk_once(w, false);
	if (!ret && w->scanned < w->target && writeback)
		tp_walk_once(w, true);
}

static unsigned long tp_count(struct shrinker *shrink, struct shrink_control *sc)
{
	struct tp_dev *dev = shrink->private_data;
	unsigned long n = 0;

	atomic64_inc(&tp_stats.count_calls);
	if (dev->shrink_off)
		return SHRINK_EMPTY;
	if (sc->gfp_mask & __GFP_FS)
		n = min_t(u64, ttm_backup_bytes_avail() >> PAGE_SHIFT,
			  max(atomic_long_read(&dev->shrinkable), 0L));
	n += max(atomic_long_read(&dev->purgeable), 0L);
	return n ?: SHRINK_EMPTY;
}

static unsigned long tp_scan_objects(struct shrinker *shrink, struct shrink_control *sc)
{
	struct tp_dev *dev = shrink->private_data;
	struct ttm_operation_ctx ctx = { .no_wait_gpu = ttm_bo_shrink_avoid_wait() };
	struct tp_walk w = { .dev = dev, .ctx = &ctx, .target = sc->nr_to_scan };
	bool writeback = !ctx.no_wait_gpu && sc->gfp_mask & __GFP_IO;
	u64 t0 = ktime_get_ns(), ns;
	s64 max;

	if (dev->shrink_off)
		return SHRINK_STOP;
	if (dev->writeback == TP_WB_ALWAYS)
		writeback = sc->gfp_mask & __GFP_IO;
	else if (dev->writeback == TP_WB_NEVER)
		writeback = false;
	atomic64_inc(ctx.no_wait_gpu ? &tp_stats.scan_direct : &tp_stats.scan_kswapd);

	if (atomic_long_read(&dev->purgeable) > 0) {
		w.purge = true;
		tp_walk(&w, writeback);
	}
	sc->nr_scanned = w.scanned;
	if (w.scanned < w.target && sc->gfp_mask & __GFP_FS) {
		w.purge = false;
		tp_walk(&w, writeback);
		sc->nr_scanned = w.scanned;
	}

	ns = ktime_get_ns() - t0;
	atomic64_add(ns, &tp_stats.scan_ns);
	max = atomic64_read(&tp_stats.scan_ns_max);
	if (ns > max)
		atomic64_set(&tp_stats.scan_ns_max, ns);
	return w.scanned ? w.freed : SHRINK_STOP;
}

int tp_shrinker_add(struct tp_dev *dev)
{
	static const struct tp_reclaim reclaim = { "drm-ttm_pressure", tp_count, tp_scan_objects };

	dev->shrink = tp_reclaim_register(&reclaim, dev);
	return dev->shrink ? 0 : -ENOMEM;
}

void tp_shrinker_del(struct tp_dev *dev)
{
	shrinker_free(dev->shrink);
	dev->shrink = NULL;
}

/* As the reviewers asked for: from the context of reclaim, with any mask. */
unsigned long tp_trigger_count(struct tp_dev *dev, gfp_t gfp)
{
	return tp_reclaim_count(dev->shrink, gfp);
}

void tp_trigger_scan(struct tp_dev *dev, struct tp_scan *s)
{
	tp_reclaim_scan(dev->shrink, s);
}
#else
int tp_shrinker_add(struct tp_dev *dev)
{
	return 0;
}

void tp_shrinker_del(struct tp_dev *dev)
{
}

unsigned long tp_trigger_count(struct tp_dev *dev, gfp_t gfp)
{
	return SHRINK_EMPTY;
}

void tp_trigger_scan(struct tp_dev *dev, struct tp_scan *s)
{
	s->ret = SHRINK_STOP;
}
#endif

// SPDX-License-Identifier: GPL-2.0-only
/* Moves that fail, moves in a pipeline, who is evicted: what else there is stays as it was. */
#include <linux/delay.h>
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "pressure.h"

static struct tp_bo *tp_filled(struct tp_run *run, struct tp_dev *dev, struct tp_bo_args *args)
{
	args->size = args->size ?: SZ_64K;
	return tp_bo_filled(run, dev, args, 0);
}

/* Back in pages, with its content. */
static void tp_whole(struct tp_run *run, struct tp_bo *bo, const char *when)
{
	tp_eq(run, tp_bo_validate(bo, TTM_PL_TT, NULL), 0, "%s: to TT", when);
	tp_eq(run, tp_bo_populate(bo, NULL), 0, "%s: populate", when);
	tp_populated(run, bo, when);
	tp_bo_verify(run, bo, when);
	tp_balance(run, when);
}

static void tp_whole_again(struct tp_run *run, struct tp_bo *bo, const char *when)
{
	tp_bo_lock(bo);
	tp_whole(run, bo, when);
	tp_bo_unlock(bo);
}

/* Locked for that, with a fence that the copy leaves behind. */
static int tp_move_behind(struct tp_bo *bo, u32 mem_type, struct dma_fence *f)
{
	int ret;

	tp_bo_lock(bo);
	bo->dev->move_fence = f;
	ret = tp_bo_validate(bo, mem_type, NULL);
	bo->dev->move_fence = NULL;
	tp_bo_unlock(bo);
	return ret;
}

/* ---- the driver's move fails ---- */

enum tp_way {
	TP_TT_TO_VRAM, TP_SYSTEM_TO_VRAM, TP_VRAM_TO_TT, TP_VRAM_TO_SYSTEM,
	TP_SHRINK, TP_SWAPOUT, TP_EVICT, TP_EVICT_ALL, TP_WAYS,
};

static const struct {
	u32 from, to;
	int moves;		/* that the driver is asked for; the hop is one of them */
} tp_ways[TP_WAYS] = {
	[TP_TT_TO_VRAM] = { TTM_PL_TT, TTM_PL_VRAM, 1 },
	[TP_SYSTEM_TO_VRAM] = { TTM_PL_SYSTEM, TTM_PL_VRAM, 3 },
	[TP_VRAM_TO_TT] = { TTM_PL_VRAM, TTM_PL_TT, 1 },
	[TP_VRAM_TO_SYSTEM] = { TTM_PL_VRAM, TTM_PL_SYSTEM, 3 },
	[TP_SHRINK] = { TTM_PL_TT, TTM_PL_SYSTEM, 1 },
	[TP_SWAPOUT] = { TTM_PL_TT, TTM_PL_SYSTEM, 1 },
	[TP_EVICT] = { TTM_PL_VRAM, TTM_PL_TT, 1 },
	[TP_EVICT_ALL] = { TTM_PL_VRAM, TTM_PL_TT, 1 },
};

/* What the caller hears of what the driver said. */
static int tp_way_says(enum tp_way way, int ret)
{
	switch (way) {
	case TP_SHRINK:
		return ret == -ENOMEM || ret == -ENOSPC ? -EBUSY : ret;
	case TP_SWAPOUT:
		/* One object that cannot go: the walk goes on and finds no other. */
		return ret == -ENOMEM || ret == -ENOSPC || ret == -EBUSY ? 0 : ret;
	case TP_EVICT:
		return ret == -ENOSPC || ret == -EBUSY ? -ENOMEM : ret;
	default:
		return ret;
	}
}

static int tp_way_go(enum tp_way way, struct tp_bo *bo, struct tp_bo *other)
{
	struct ttm_device *bdev = &bo->dev->bdev;
	struct ttm_operation_ctx ctx = { };
	int ret;

	switch (way) {
	case TP_SHRINK:
		return tp_bo_backup(&bo->base, NULL, false, false, true);
	case TP_SWAPOUT:
		tp_bo_unlock(bo);
		ret = ttm_device_swapout(bdev, &ctx, GFP_KERNEL);
		break;
	case TP_EVICT:
		tp_bo_unlock(bo);
		tp_bo_lock(other);
		ret = tp_bo_validate(other, TTM_PL_VRAM, NULL);
		tp_bo_unlock(other);
		break;
	case TP_EVICT_ALL:
		tp_bo_unlock(bo);
		ret = ttm_resource_manager_evict_all(bdev, ttm_manager_type(bdev, TTM_PL_VRAM));
		break;
	default:
		return tp_bo_validate(bo, tp_ways[way].to, NULL);
	}
	tp_bo_lock(bo);
	return ret;
}

/* The so many-th move on that way fails: nothing else has happened, and the way is open again. */
static void tp_way_fails(struct tp_run *run, struct tp_dev *dev, enum tp_way way, int nth, int err,
			 const struct tp_bo_args *args)
{
	struct tp_bo_args plain = { .caching = ttm_cached, .dma = true };
	struct tp_bo_args mine = *args;
	struct tp_bo *bo, *other = NULL;
	struct tp_snap was;
	char when[64];
	int ret;

	/* A place in TT, as TTM does not swap out what is the driver's. */
	mine.watermark = way == TP_SWAPOUT || !TP_HAVE_BACKUP;
	snprintf(when, sizeof(when), "way %d, move %d fails with %d", way, nth, err);
	bo = tp_filled(run, dev, &mine);
	if (way == TP_EVICT)
		other = tp_filled(run, dev, &plain);
	if (!bo || (way == TP_EVICT && !other))
		goto out;
	tp_bo_lock(bo);
	tp_eq(run, tp_bo_validate(bo, tp_ways[way].from, NULL), 0, "%s: to where it begins", when);
	tp_snap_take(bo, &was);
	dev->move_fail_nth = nth;
	dev->move_fail_ret = err;
	ret = tp_way_go(way, bo, other);
	tp_eq(run, dev->move_fail_nth, 0, "%s: moves that were not asked for", when);
	dev->move_fail_nth = 0;
	tp_eq(run, ret, tp_way_says(way, err), "%s: what the caller hears", when);
	if (nth < 3)
		tp_snap_same(run, bo, &was, when);
	else
		tp_eq(run, bo->base.resource->mem_type, TTM_PL_TT, "%s: it is where the hop went",
		      when);
	tp_lru_check(run, dev, when);
	tp_eq(run, tp_lru_ghosts(run, dev, when), 0, "%s: ghosts", when);
	if (bo->base.resource->mem_type != TTM_PL_VRAM) {
		tp_populated(run, bo, when);
		tp_bo_verify(run, bo, when);
	}
	tp_balance(run, when);
	if (!run->failed && (way != TP_SHRINK || get_nr_swap_pages() > 4096)) {
		ret = tp_way_go(way, bo, other);
		tp_check(run, ret >= 0, "%s: the next time: got %d", when, ret);
		tp_eq(run, bo->base.resource->mem_type, tp_ways[way].to,
		      "%s: where it is the next time", when);
		tp_lru_check(run, dev, when);
	}
	tp_whole(run, bo, when);
	tp_bo_unlock(bo);
	if (other)
		tp_whole_again(run, other, when);
out:
	tp_bo_put(bo);
	tp_bo_put(other);
}

static void case_move_failed(struct tp_run *run)
{
	static const int errs[] = {
		-ENOMEM, -ENOSPC, -EBUSY, -EINTR, -ERESTARTSYS, -EDEADLK, -EAGAIN, -EIO,
	};
	/* Room for one: the other has to push it out. */
	static const struct tp_dev_args dargs = { .vram = SZ_64K };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, &dargs);
	int way, nth, e, k = 0;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (way = 0; way < TP_WAYS; way++) {
		if (way == TP_SHRINK && !TP_HAVE_BACKUP)
			continue;
		for (nth = 1; nth <= tp_ways[way].moves; nth++) {
			for (e = 0; e < ARRAY_SIZE(errs) && !run->failed; e++, k++) {
				struct tp_bo_args args = {
					.caching = k % 3, .dma = k & 1,
				};

				tp_way_fails(run, dev, way, nth, errs[e], &args);
			}
		}
	}
	/* One that never came to be. */
	for (e = 0; e < ARRAY_SIZE(errs) && !run->failed; e++) {
		struct tp_bo_args args = {
			.size = SZ_64K, .caching = ttm_cached, .mem_type = TTM_PL_VRAM,
		};
		int objects = atomic_read(&ttm_glob.bo_count), err;
		struct tp_bo *bo;

		dev->move_fail_nth = 1;
		dev->move_fail_ret = errs[e];
		bo = tp_bo_new(dev, &args, &err);
		dev->move_fail_nth = 0;
		tp_check(run, !bo, "an object was made though it could not be moved");
		tp_eq(run, err, errs[e], "making an object that could not be moved");
		tp_bo_put(bo);
		flush_workqueue(dev->bdev.wq);
		tp_eq(run, atomic_read(&ttm_glob.bo_count), objects, "objects of TTM");
		tp_lru_check(run, dev, "one that could not be made");
		tp_balance(run, "one that could not be made");
	}
	tp_metric(run, "failures", k);
}

/* ---- fences of moves in a pipeline ---- */

static bool tp_has_fence(struct tp_bo *bo, struct dma_fence *wanted)
{
	struct dma_resv_iter cursor;
	struct dma_fence *fence;
	bool found = false;

	dma_resv_for_each_fence(&cursor, bo->base.base.resv, DMA_RESV_USAGE_KERNEL, fence)
		found |= fence == wanted;
	return found;
}

struct tp_signal {
	struct delayed_work work;
	struct dma_fence *fence;
};

static void tp_signal_fn(struct work_struct *work)
{
	dma_fence_signal(container_of(to_delayed_work(work), struct tp_signal, work)->fence);
}

/*
 * A pushes B out of memory of its own, and a GPU does the copies: both, and who
 * comes there next, wait for its fence; who may not wait is refused.
 */
struct tp_pushed {
	struct tp_dev *dev;
	struct tp_bo *a, *b, *c;
	struct dma_fence *f;
	struct tp_witness *w;	/* of what A had before */
};

static void tp_push(struct tp_run *run, struct tp_pushed *p)
{
	tp_bo_lock(p->b);
	tp_eq(run, tp_bo_validate(p->b, TTM_PL_VRAM, NULL), 0, "to VRAM");
	tp_bo_unlock(p->b);
	tp_eq(run, kref_read(&p->f->refcount), 1, "references to a fence nobody has seen");
	p->w = tp_witness_of(run, p->a);
	p->a->witness = NULL;
	tp_eq(run, tp_move_behind(p->a, TTM_PL_VRAM, p->f), 0,
	      "to VRAM, which pushes another out");
	tp_bo_lock(p->a);
	tp_check(run, tp_has_fence(p->a, p->f), "the object that comes does not wait for its copy");
	tp_eq(run, kref_read(&p->a->base.kref), 2, "references to an object with a ghost");
	tp_bo_unlock(p->a);
	tp_bo_lock(p->b);
	tp_eq(run, p->b->base.resource->mem_type, TTM_PL_TT,
	      "where the one goes that was pushed out");
	tp_check(run, tp_has_fence(p->b, p->f), "the object that went does not wait for its copy");
	tp_populated(run, p->b, "pushed out in a pipeline");
	tp_bo_unlock(p->b);
	tp_eq(run, tp_lru_ghosts(run, p->dev, "in a pipeline"), 1, "ghosts");
	tp_lru_check(run, p->dev, "in a pipeline");
	tp_balance(run, "in a pipeline");
}

/* Room there is, once it has gone, but not yet for who may not wait. */
static void tp_push_refused(struct tp_run *run, struct tp_pushed *p)
{
	struct ttm_operation_ctx nowait = { .no_wait_gpu = true };
	struct tp_snap was;

	tp_eq(run, tp_move_behind(p->a, TTM_PL_TT, p->f), 0, "back to TT, in a pipeline");
	tp_bo_lock(p->c);
	tp_snap_take(p->c, &was);
	tp_eq(run, tp_bo_validate(p->c, TTM_PL_VRAM, &nowait), -ENOMEM,
	      "to VRAM that is not free yet, without waiting");
	tp_snap_same(run, p->c, &was, "to VRAM, without waiting");
	tp_bo_unlock(p->c);
	tp_lru_check(run, p->dev, "refused without waiting");
}

/* Evicting all is over when the fences are. */
static void tp_push_evict_all(struct tp_run *run, struct tp_pushed *p)
{
	struct ttm_resource_manager *vram = ttm_manager_type(&p->dev->bdev, TTM_PL_VRAM);
	struct tp_signal later = { .fence = p->f };

	INIT_DELAYED_WORK_ONSTACK(&later.work, tp_signal_fn);
	schedule_delayed_work(&later.work, HZ / 5);
	tp_eq(run, ttm_resource_manager_evict_all(&p->dev->bdev, vram), 0, "evicting all");
	tp_check(run, dma_fence_is_signaled(p->f), "evicting all did not wait for a fence");
	flush_delayed_work(&later.work);
	destroy_delayed_work_on_stack(&later.work);
	flush_workqueue(p->dev->bdev.wq);
	tp_wait_for(kref_read(&p->a->base.kref) == 1);
	tp_eq(run, kref_read(&p->a->base.kref), 1,
	      "references to an object whose ghost has gone");
	tp_eq(run, tp_lru_ghosts(run, p->dev, "the fence has come"), 0, "ghosts left");
	tp_witness_given(run, p->w, p->a->args.caching, "the fence has come");
	tp_witness_drop(p->w);
	tp_lru_check(run, p->dev, "the fence has come");
}

static void tp_fences_round(struct tp_run *run, struct tp_dev *dev, int k)
{
	struct tp_bo_args args = {
		.caching = k % 3, .dma = k & 1, .watermark = !TP_HAVE_BACKUP,
	};
	struct ttm_operation_ctx nowait = { .no_wait_gpu = true };
	struct tp_pushed p = { .dev = dev, .f = tp_fence_new() };

	p.a = tp_filled(run, dev, &args);
	p.b = tp_filled(run, dev, &args);
	p.c = tp_filled(run, dev, &args);
	if (tp_check(run, p.f, "no fence") && p.a && p.b && p.c) {
		tp_push(run, &p);
		tp_push_refused(run, &p);
		tp_push_evict_all(run, &p);
		tp_bo_lock(p.c);
		tp_eq(run, tp_bo_validate(p.c, TTM_PL_VRAM, &nowait), 0,
		      "to VRAM that is free now");
		tp_whole(run, p.c, "third");
		tp_bo_unlock(p.c);
		tp_whole_again(run, p.a, "the one that came");
		tp_whole_again(run, p.b, "the one that went");
	}
	tp_bo_put(p.a);
	tp_bo_put(p.b);
	tp_bo_put(p.c);
	flush_workqueue(dev->bdev.wq);
	if (!p.f)
		return;
	dma_fence_signal(p.f);
	/* The manager may keep the last one. */
	tp_check(run, kref_read(&p.f->refcount) <= 2, "%u references to a fence are left",
		 kref_read(&p.f->refcount));
	dev->fences[k] = p.f;
}

/*
 * One that has nothing to copy comes where another is pushed out in a pipeline: what it
 * waits for is the other's copy alone. And evicting all is over when that copy is.
 */
static void tp_fences_newcomer(struct tp_run *run, struct tp_dev *dev)
{
	struct tp_bo_args args = { .caching = ttm_cached, .watermark = !TP_HAVE_BACKUP };
	struct tp_bo_args empty = { .size = SZ_64K, .caching = ttm_cached, .in_system = true };
	struct ttm_resource_manager *vram = ttm_manager_type(&dev->bdev, TTM_PL_VRAM);
	struct tp_bo *old = tp_filled(run, dev, &args), *new = tp_bo_new(dev, &empty, NULL);
	struct dma_fence *f = tp_fence_new();
	struct tp_signal later;

	if (!old || !new || !tp_check(run, f, "no fence"))
		goto out;
	tp_bo_lock(old);
	tp_eq(run, tp_bo_validate(old, TTM_PL_VRAM, NULL), 0, "to VRAM");
	tp_bo_unlock(old);
	dev->move_fence = f;
	tp_bo_lock(new);
	tp_eq(run, tp_bo_validate(new, TTM_PL_VRAM, NULL), 0, "to VRAM, with nothing to copy");
	tp_check(run, tp_has_fence(new, f), "the newcomer does not wait for the copy of the other");
	tp_bo_unlock(new);
	later.fence = f;
	INIT_DELAYED_WORK_ONSTACK(&later.work, tp_signal_fn);
	schedule_delayed_work(&later.work, HZ / 5);
	tp_eq(run, ttm_resource_manager_evict_all(&dev->bdev, vram), 0, "evicting all, in a pipeline");
	dev->move_fence = NULL;
	tp_check(run, dma_fence_is_signaled(f), "evicting all did not wait for its own copies");
	flush_delayed_work(&later.work);
	destroy_delayed_work_on_stack(&later.work);
	tp_lru_check(run, dev, "evicted in a pipeline");
	tp_whole_again(run, old, "pushed out by one with nothing to copy");
out:
	tp_bo_put(old);
	tp_bo_put(new);
	if (f) {
		dma_fence_signal(f);
		dma_fence_put(f);
	}
}

static void case_move_fences(struct tp_run *run)
{
	static const struct tp_dev_args dargs = { .vram = SZ_64K };
	struct tp_dev *dev = tp_dev_new(run, &dargs);
	struct dma_fence *fences[TP_FENCES];
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < TP_FENCES && !run->failed; k++)
		tp_fences_round(run, dev, k);
	if (!run->failed)
		tp_fences_newcomer(run, dev);
	memcpy(fences, dev->fences, sizeof(fences));
	tp_dev_free(run, dev);
	for (k = 0; k < TP_FENCES; k++) {
		if (!fences[k])
			continue;
		tp_eq(run, kref_read(&fences[k]->refcount), 1,
		      "references to a fence when all else is gone");
		dma_fence_put(fences[k]);
	}
}

/* ---- pages given up while a fence is pending ---- */

static void tp_gut_busy(struct tp_run *run, struct tp_dev *dev, int k)
{
	struct tp_bo_args args = {
		.caching = k % 3, .dma = k & 1, .watermark = k & 4 || !TP_HAVE_BACKUP,
	};
	struct ttm_operation_ctx ctx = { };
	struct ttm_placement none = { };
	struct ttm_lru_bulk_move bulk;
	struct tp_bo *bo = tp_filled(run, dev, &args);
	struct ttm_tt *before;
	struct tp_witness *w;

	if (!bo)
		return;
	ttm_lru_bulk_move_init(&bulk);
	w = tp_witness_of(run, bo);
	bo->witness = NULL;
	tp_bo_lock(bo);
	if (k & 1)
		ttm_bo_set_bulk_move(&bo->base, &bulk);
	tp_bo_busy(bo);
	before = bo->base.ttm;
	tp_eq(run, ttm_bo_validate(&bo->base, &none, &ctx), 0, "gutting a busy object");
	tp_check(run, !bo->base.resource, "a gutted object has a place");
	tp_check(run, bo->base.ttm && bo->base.ttm != before, "a gutted object has its ttm_tt still");
	tp_check(run, !bo->base.ttm || !ttm_tt_is_populated(bo->base.ttm), "gutted but populated");
	tp_eq(run, kref_read(&bo->base.kref), 2, "references to an object with a ghost");
	tp_eq(run, tp_lru_ghosts(run, dev, "gutted when busy"), 1, "ghosts");
	tp_lru_check(run, dev, "gutted when busy");
	if (TP_HAVE_BACKUP)
		tp_bulk_check(run, dev, &bulk, "gutted when busy");
	tp_balance(run, "gutted when busy");
	/* Whoever does not wait for the fence has the time to go wrong. */
	msleep(20);
	tp_eq(run, tp_lru_ghosts(run, dev, "gutted when busy"), 1, "ghosts after a while");
	tp_eq(run, tp_bo_validate(bo, TTM_PL_TT, NULL), 0, "back to TT, while a ghost waits");
	bo->key = 0;
	tp_populated(run, bo, "back while a ghost waits");
	tp_bo_verify(run, bo, "gutted when busy, to be zeroed");
	tp_lru_check(run, dev, "back while a ghost waits");
	if (TP_HAVE_BACKUP)
		tp_bulk_check(run, dev, &bulk, "back while a ghost waits");
	tp_balance(run, "back while a ghost waits");
	tp_bo_idle(bo);
	flush_workqueue(dev->bdev.wq);
	tp_wait_for(kref_read(&bo->base.kref) == 1);
	tp_eq(run, kref_read(&bo->base.kref), 1, "references to an object whose ghost has gone");
	tp_eq(run, tp_lru_ghosts(run, dev, "gutted, and idle"), 0, "ghosts left");
	tp_witness_given(run, w, args.caching, "the ghost has gone");
	tp_witness_drop(w);
	tp_bo_fill(bo, 5);
	tp_whole(run, bo, "gutted, and used again");
	ttm_bo_set_bulk_move(&bo->base, NULL);
	tp_lru_check(run, dev, "gutted, and used again");
	tp_bo_unlock(bo);
	tp_bo_put(bo);
	ttm_lru_bulk_move_fini(&dev->bdev, &bulk);
}

static void case_gutting_busy(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (k = 0; k < 12 && !run->failed; k++)
		tp_gut_busy(run, dev, k);
}

/* ---- a ghost that cannot be made ---- */

/*
 * It is the object's still, and nobody else's. Where it is lost it is given back, since what
 * is left on a list with nobody behind it is what all else would stumble over.
 */
static bool tp_kept_place(struct tp_run *run, struct tp_bo *bo, const struct tp_snap *was,
			  const char *when)
{
	struct ttm_resource *res = was->resource;
	bool kept;

	spin_lock(&bo->dev->bdev.lru_lock);
	kept = bo->base.resource == res && res->bo == &bo->base;
	bo->base.resource = res;
	res->bo = &bo->base;
	spin_unlock(&bo->dev->bdev.lru_lock);
	return tp_check(run, kept, "%s: object %u has lost its place", when, bo->id);
}

/* The object, locked and busy, was refused: it has what it had, but for the fence of a copy. */
static void tp_ghost_refused(struct tp_run *run, struct tp_bo *bo, struct tp_snap *was,
			     const char *when)
{
	if (!tp_kept_place(run, bo, was, when))
		return;
	if (bo->dev->move_fence && tp_has_fence(bo, bo->dev->move_fence))
		was->fences++;
	/* That it stays counted is shown by suspect_j_ghost. */
	if (atomic_read(&ttm_glob.bo_count) == was->objects + 1)
		atomic_dec(&ttm_glob.bo_count);
	tp_snap_same(run, bo, was, when);
	tp_populated(run, bo, when);
	tp_bo_verify(run, bo, when);
	tp_lru_check(run, bo->dev, when);
	tp_eq(run, tp_lru_ghosts(run, bo->dev, when), 0, "%s: ghosts", when);
	tp_balance(run, when);
}

/* Out of memory at the so many-th allocation: given up when busy, or moved in a pipeline. */
static int tp_ghost_round(struct tp_run *run, struct tp_dev *dev, bool moved, int nth)
{
	struct tp_bo_args args = { .caching = ttm_cached, .watermark = !TP_HAVE_BACKUP };
	struct tp_bo *bo = tp_filled(run, dev, &args);
	struct ttm_operation_ctx ctx = { };
	struct ttm_placement none = { };
	struct tp_later later;
	struct tp_snap was;
	char when[48];
	int ret;

	if (!bo)
		return 0;
	snprintf(when, sizeof(when), "%s, out of memory at %d", moved ? "moved" : "given up", nth);
	tp_bo_lock(bo);
	if (moved)
		bo->fence = tp_fence_new();
	else
		tp_bo_busy(bo);
	tp_snap_take(bo, &was);
	dev->move_fence = moved ? bo->fence : NULL;
	/* Where not even the fences can be copied, TTM waits for the object. */
	tp_later_idle(&later, bo, HZ / 2);
	tp_fail_nth(nth);
	ret = moved ? tp_bo_validate(bo, TTM_PL_VRAM, NULL) :
		      ttm_bo_validate(&bo->base, &none, &ctx);
	tp_fail_nth(0);
	if (ret) {
		tp_eq(run, ret, -ENOMEM, "%s", when);
		tp_ghost_refused(run, bo, &was, when);
	}
	dev->move_fence = NULL;
	tp_later_end(&later);
	if (ret && !run->failed)
		tp_whole(run, bo, when);
	tp_bo_unlock(bo);
	tp_bo_put(bo);
	flush_workqueue(dev->bdev.wq);
	return ret;
}

/* An object whose ghost cannot be made keeps its place, and what is in it. */
static void case_ghost_refused(struct tp_run *run)
{
	static const struct tp_dev_args dargs = { .vram = SZ_1M };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, &dargs);
	int moved, n, ret, failed = 0;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (moved = 0; moved < 2 && !run->failed; moved++) {
		ret = -ENOMEM;
		for (n = 1; n < 20 && ret && !run->failed; n++) {
			ret = tp_ghost_round(run, dev, moved, n);
			failed += !!ret;
		}
	}
	tp_metric(run, "failures", failed);
	if (!run->failed && failed < 4)
		tp_skip(run, "needs failslab armed (ignore-gfp-wait N)");
}

/* ---- who is evicted ---- */

#define TP_SLOTS 4	/* of 64 KiB */

static int tp_at(struct tp_bo *bo, u32 first, u32 last)
{
	struct ttm_place place = {
		.fpfn = first, .lpfn = last, .mem_type = TTM_PL_VRAM,
	};
	struct ttm_placement placement = { .num_placement = 1, .placement = &place };
	struct ttm_operation_ctx plain = { };
	int ret;

	tp_bo_lock(bo);
	ret = ttm_bo_validate(&bo->base, &placement, &plain);
	tp_bo_unlock(bo);
	return ret;
}

/* Only that one is out; all others are where they were. */
static void tp_only_out(struct tp_run *run, struct tp_bo **bos, int n, int out, const char *when)
{
	int i;

	for (i = 0; i < n; i++)
		tp_eq(run, bos[i]->base.resource->mem_type, i == out ? TTM_PL_TT : TTM_PL_VRAM,
		      "%s: memory type of object %d", when, i);
	tp_lru_check(run, bos[0]->dev, when);
	tp_balance(run, when);
}

/* Each in its slot, in order, and the one that is to come out of the way. */
static void tp_slots_fill(struct tp_run *run, struct tp_bo **bos, struct tp_bo *extra)
{
	const u32 slot = SZ_64K >> PAGE_SHIFT;
	int i;

	tp_bo_lock(extra);
	tp_eq(run, tp_bo_validate(extra, TTM_PL_TT, NULL), 0, "out of the way");
	tp_bo_unlock(extra);
	for (i = 0; i < TP_SLOTS; i++) {
		tp_bo_lock(bos[i]);
		tp_eq(run, tp_bo_validate(bos[i], TTM_PL_TT, NULL), 0, "out of the way");
		tp_bo_unlock(bos[i]);
	}
	for (i = 0; i < TP_SLOTS; i++)
		tp_eq(run, tp_at(bos[i], i * slot, (i + 1) * slot), 0, "into slot %d", i);
}

static void tp_evict_round(struct tp_run *run, struct tp_dev *dev, struct tp_bo **bos,
			   struct tp_bo *extra, int round)
{
	const u32 slot = SZ_64K >> PAGE_SHIFT;

	switch (round) {
	case 0:
		tp_eq(run, tp_at(extra, 0, 0), 0, "anywhere");
		tp_only_out(run, bos, TP_SLOTS, 1, "the oldest of the lowest priority");
		break;
	case 1:
		tp_eq(run, tp_at(extra, 3 * slot, 4 * slot), 0, "into slot 3");
		tp_eq(run, extra->base.resource->start, 3 * slot, "where it is");
		tp_only_out(run, bos, TP_SLOTS, 3, "the one that is in the way");
		break;
	case 2:
		tp_bo_pin(bos[1]);
		tp_eq(run, tp_at(extra, 0, 0), 0, "anywhere, one is pinned");
		tp_only_out(run, bos, TP_SLOTS, 2, "the oldest that is not pinned");
		tp_eq(run, tp_at(bos[2], slot, 2 * slot), -ENOMEM,
		      "into the slot of the pinned one");
		tp_only_out(run, bos, TP_SLOTS, 2, "refused, as one is pinned");
		tp_bo_unpin(bos[1]);
		break;
	case 3:
		/* Used lately: the next one goes. */
		tp_bo_lock(bos[1]);
		ttm_bo_move_to_lru_tail_unlocked(&bos[1]->base);
		tp_bo_unlock(bos[1]);
		tp_eq(run, tp_at(extra, 0, 0), 0, "anywhere, one is young");
		tp_only_out(run, bos, TP_SLOTS, 2, "the oldest, as the other was used");
		break;
	case 4:
		/* One that finds no room elsewhere stays, and the next one goes. */
		dev->move_fail_nth = 1;
		dev->move_fail_ret = -ENOSPC;
		tp_eq(run, tp_at(extra, 0, 0), 0, "anywhere, one cannot go");
		tp_only_out(run, bos, TP_SLOTS, 2, "the next, as the oldest cannot go");
		break;
	case 5:
		dev->move_fail_nth = 1;
		dev->move_fail_ret = -EIO;
		tp_eq(run, tp_at(extra, 0, 0), -EIO, "anywhere, a move fails");
		tp_only_out(run, bos, TP_SLOTS, -1, "nobody, as a move failed");
		tp_eq(run, extra->base.resource->mem_type, TTM_PL_TT, "where it is still");
		break;
	}
}

/* The oldest, of the lowest priority, that is not pinned and in the way; nobody else. */
static void case_evict_order(struct tp_run *run)
{
	static const struct tp_dev_args dargs = { .vram = TP_SLOTS * SZ_64K };
	struct tp_dev *dev __free(tp_dev_bos) = tp_dev_new(run, &dargs);
	struct tp_bo *bos[TP_SLOTS] = { }, *extra = NULL;
	struct tp_bo_args args = { .caching = ttm_cached, .dma = true };
	int i, round;

	if (!dev)
		return;
	dev->shrink_off = true;
	args.watermark = !TP_HAVE_BACKUP;
	for (i = 0; i < TP_SLOTS; i++) {
		args.priority = i == 0;
		bos[i] = tp_filled(run, dev, &args);
	}
	args.priority = 0;
	extra = tp_filled(run, dev, &args);
	for (i = 0; i < TP_SLOTS; i++)
		if (!bos[i] || !extra)
			return;
	for (round = 0; round < 6 && !run->failed; round++) {
		/* 0 has the higher priority. */
		tp_slots_fill(run, bos, extra);
		tp_evict_round(run, dev, bos, extra, round);
	}
	for (i = 0; i < TP_SLOTS; i++)
		tp_whole_again(run, bos[i], "at last");
	tp_whole_again(run, extra, "at last");
}

/* Where it would like to be, and where it may be: nobody has to go for the former. */
static void case_evict_fallback(struct tp_run *run)
{
	static const struct ttm_place places[] = {
		{ .mem_type = TTM_PL_VRAM, .flags = TTM_PL_FLAG_DESIRED },
		{ .mem_type = TTM_PL_TT, .flags = TTM_PL_FLAG_FALLBACK },
	};
	static const struct ttm_placement either = { .num_placement = 2, .placement = places };
	static const struct tp_dev_args dargs = { .vram = SZ_64K };
	struct tp_dev *dev __free(tp_dev_bos) = tp_dev_new(run, &dargs);
	struct ttm_placement placement = either;
	struct tp_bo_args args = { .caching = ttm_cached, .dma = true };
	struct ttm_operation_ctx ctx = { };
	struct tp_bo *a, *b;
	struct tp_snap was;

	if (!dev)
		return;
	dev->shrink_off = true;
	args.watermark = !TP_HAVE_BACKUP;
	a = tp_filled(run, dev, &args);
	b = tp_filled(run, dev, &args);
	if (!a || !b)
		return;
	tp_bo_lock(a);
	tp_eq(run, ttm_bo_validate(&a->base, &placement, &ctx), 0, "where it likes, with room");
	tp_eq(run, a->base.resource->mem_type, TTM_PL_VRAM, "where it is, with room");
	tp_bo_unlock(a);
	tp_bo_lock(b);
	tp_snap_take(b, &was);
	tp_eq(run, ttm_bo_validate(&b->base, &placement, &ctx), 0, "where it likes, without room");
	tp_snap_same(run, b, &was, "nobody goes for what is only desired");
	tp_bo_unlock(b);
	tp_bo_lock(a);
	tp_eq(run, a->base.resource->mem_type, TTM_PL_VRAM, "where the first is still");
	tp_eq(run, tp_bo_validate(a, TTM_PL_TT, NULL), 0, "the first makes room");
	tp_bo_unlock(a);
	tp_bo_lock(b);
	tp_eq(run, ttm_bo_validate(&b->base, &placement, &ctx), 0, "where it likes, with room again");
	tp_eq(run, b->base.resource->mem_type, TTM_PL_VRAM, "where it is, with room again");
	tp_whole(run, b, "second");
	tp_bo_unlock(b);
	tp_whole_again(run, a, "first");
	tp_lru_check(run, dev, "at last");
}

#define NP TP_NEED_PAT

const struct tp_case tp_cases_move[] = {
	{ "move_failed", "I1,I15", "a move fails on each way, with each error: nothing has happened",
	  case_move_failed, NP },
	{ "move_fences", "I6,I9,I16", "fences of moves in a pipeline are waited for and let go",
	  case_move_fences, NP },
	{ "gutting_busy", "I2,I6,I16", "pages given up by a busy object wait for its fence",
	  case_gutting_busy, NP },
	{ "ghost_refused", "I1,I6,I15", "an object whose ghost cannot be made keeps its place",
	  case_ghost_refused, TP_NEED_FAULT | TP_ARM_POINTS },
	{ "evict_order", "I1,I15,I16", "who is evicted: the oldest that is in the way, and nobody else",
	  case_evict_order, 0 },
	{ "evict_fallback", "I1,I15", "for what is only desired nobody has to go",
	  case_evict_fallback, 0 },
	{ }
};

// SPDX-License-Identifier: GPL-2.0-only
/* The device, its objects, what fills them, and the callbacks TTM makes. */
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/highmem.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <drm/drm_gem.h>

#include "pressure.h"

/* ---- callbacks ---- */

void tp_tt_account(struct tp_tt *tt, bool add)
{
	long n = tt->tt.num_pages;

	if (tt->accounted == add) {
		tp_async("pages of one object counted %s twice", add ? "in" : "out");
		return;
	}
	tt->accounted = add;
	if (!(tt->tt.page_flags & TTM_TT_FLAG_EXTERNAL))
		return;
	if (!add)
		n = -n;
	atomic_long_add(n, tt->purgeable ? &tt->dev->purgeable : &tt->dev->shrinkable);
}

static bool tp_tt_imported(const struct ttm_tt *tt)
{
	return (tt->page_flags & TTM_TT_FLAG_EXTERNAL) &&
	       !(tt->page_flags & TTM_TT_FLAG_EXTERNAL_MAPPABLE);
}

static struct ttm_tt *tp_tt_create(struct ttm_buffer_object *tbo, u32 page_flags)
{
	struct tp_bo *bo = to_tp_bo(tbo);
	struct tp_tt *tt = kzalloc(sizeof(*tt), GFP_KERNEL);
	int ret;

	if (!tt)
		return NULL;
	tt->dev = bo->dev;
	tt->dma = bo->args.dma;
	if (!bo->args.sg && !bo->args.watermark)
		page_flags |= TTM_TT_FLAG_EXTERNAL | TTM_TT_FLAG_EXTERNAL_MAPPABLE;
	if (bo->args.sg) {
		ret = ttm_sg_tt_init(&tt->tt, tbo, page_flags, bo->args.caching);
	} else if (bo->args.dma) {
		/* With EXTERNAL the page array would not be allocated. */
		u32 ext = page_flags & (TTM_TT_FLAG_EXTERNAL | TTM_TT_FLAG_EXTERNAL_MAPPABLE);

		ret = ttm_sg_tt_init(&tt->tt, tbo, page_flags & ~ext, bo->args.caching);
		tt->tt.page_flags |= ext;
	} else {
		ret = ttm_tt_init(&tt->tt, tbo, page_flags, bo->args.caching, 0);
	}
	if (ret)
		goto err_free;
#if TP_HAVE_BACKUP
	if (!bo->args.sg && !bo->args.watermark) {
		ret = ttm_tt_setup_backup(&tt->tt);
		if (ret) {
			ttm_tt_fini(&tt->tt);
			goto err_free;
		}
	}
#endif
	spin_lock(&tt->dev->lock);
	list_add_tail(&tt->link, &tt->dev->tts);
	spin_unlock(&tt->dev->lock);
	return &tt->tt;

err_free:
	kfree(tt);
	return NULL;
}

static int tp_tt_populate(struct ttm_device *bdev, struct ttm_tt *ttm,
			  struct ttm_operation_ctx *ctx)
{
	struct tp_tt *tt = to_tp_tt(ttm);
	int ret;

	if (tp_tt_imported(ttm))
		return 0;
	atomic_inc(&tt->dev->populates);
#if TP_HAVE_BACKUP
	if (ttm_tt_is_backed_up(ttm) && !tt->purgeable) {
		u64 t0 = ktime_get_ns();

		ret = ttm_tt_restore(bdev, ttm, ctx);
		if (!ret) {
			atomic64_add(ttm->num_pages, &tp_stats.restored);
			atomic64_add(ktime_get_ns() - t0, &tp_stats.restore_ns);
		} else if (ret == -EINTR || ret == -ERESTARTSYS) {
			atomic64_inc(&tp_stats.eintr);
		} else if (ret == -ENOMEM) {
			atomic64_inc(&tp_stats.enomem);
		}
	} else {
		ttm_tt_clear_backed_up(ttm);
		ret = ttm_pool_alloc(&bdev->pool, ttm, ctx);
	}
#else
	ret = ttm_pool_alloc(&bdev->pool, ttm, ctx);
#endif
	if (ret)
		return ret;
	atomic64_add(ttm->num_pages, &tp_stats.populated);
	/* Whoever populates it again wants its content. */
	tt->purgeable = false;
	tp_tt_account(tt, true);
	return 0;
}

static void tp_tt_unpopulate(struct ttm_device *bdev, struct ttm_tt *ttm)
{
	struct tp_tt *tt = to_tp_tt(ttm);

	if (tp_tt_imported(ttm))
		return;
	atomic_inc(&tt->dev->unpopulates);
	ttm_pool_free(&bdev->pool, ttm);
	tp_tt_account(tt, false);
}

static void tp_tt_destroy(struct ttm_device *bdev, struct ttm_tt *ttm)
{
	struct tp_tt *tt = to_tp_tt(ttm);

	atomic_inc(&tt->dev->destroys);
	if (tt->accounted)
		tp_async("an object was destroyed with its pages counted");
	spin_lock(&tt->dev->lock);
	list_del(&tt->link);
	spin_unlock(&tt->dev->lock);
	ttm_tt_fini(ttm);
	kfree(tt);
}

static void tp_evict_flags(struct ttm_buffer_object *tbo, struct ttm_placement *placement)
{
	static const struct ttm_place to_system = { .mem_type = TTM_PL_SYSTEM };
	static const struct ttm_place to_tt = { .mem_type = TTM_PL_TT };

	placement->num_placement = 1;
	placement->placement = tbo->resource->mem_type == TTM_PL_VRAM ?
			       &to_tt : &to_system;
}

static void tp_copy(struct tp_dev *dev, struct ttm_resource *vram, struct ttm_tt *tt,
		    bool to_vram)
{
	char *base = (char *)dev->vram + ((u64)vram->start << PAGE_SHIFT);
	pgoff_t i, n = TP_PAGES(vram->size);

	for (i = 0; i < n; i++) {
		char *at = base + (i << PAGE_SHIFT);
		void *p = kmap_local_page(tt->pages[i]);

		if (to_vram)
			memcpy(at, p, PAGE_SIZE);
		else
			memcpy(p, at, PAGE_SIZE);
		kunmap_local(p);
	}
}

static int tp_move(struct ttm_buffer_object *tbo, bool evict, struct ttm_operation_ctx *ctx,
		   struct ttm_resource *new_mem, struct ttm_place *hop)
{
	struct tp_dev *dev = to_tp_dev(tbo->bdev);
	struct ttm_resource *old = tbo->resource;
	struct ttm_tt *tt = tbo->ttm;
	bool has_data = tt && (ttm_tt_is_populated(tt) || tp_tt_swapped(tt));
	u32 to = new_mem->mem_type;
	u32 from = old ? old->mem_type : to;
	int ret;

	atomic_inc(&dev->moves);
	if (dev->move_fail_nth && !--dev->move_fail_nth)
		return dev->move_fail_ret;
	if (from != TTM_PL_VRAM && to != TTM_PL_VRAM) {
		ttm_bo_move_null(tbo, new_mem);
		return 0;
	}
	if (dev->by_memcpy)
		return ttm_bo_move_memcpy(tbo, ctx, new_mem);
	if (!old || from == to || (from == TTM_PL_SYSTEM && !has_data)) {
		memset((char *)dev->vram + ((u64)new_mem->start << PAGE_SHIFT), 0,
		       new_mem->size);
		ttm_bo_move_null(tbo, new_mem);
		return 0;
	}
	if (from == TTM_PL_SYSTEM || to == TTM_PL_SYSTEM) {
		/* The copy engine of this device reaches TT only. */
		hop->fpfn = 0;
		hop->lpfn = 0;
		hop->mem_type = TTM_PL_TT;
		hop->flags = TTM_PL_FLAG_TEMPORARY;
		return -EMULTIHOP;
	}
	if (!tt || !ttm_tt_is_populated(tt)) {
		tp_async("a move from or to TT without pages");
		return -EINVAL;
	}
	/* One in a pipeline is ordered by its fences; whoever uses the copy waits for them. */
	ret = dev->move_fence ? 0 : ttm_bo_wait_ctx(tbo, ctx);
	if (ret)
		return ret;
	tp_copy(dev, to == TTM_PL_VRAM ? new_mem : old, tt, to == TTM_PL_VRAM);
	if (dev->move_fence)
		return ttm_bo_move_accel_cleanup(tbo, dev->move_fence, evict, true, new_mem);
	ttm_bo_move_sync_cleanup(tbo, new_mem);
	return 0;
}

/* For ttm_bo_move_memcpy(), which takes it for memory of the device where it says so. */
static int tp_io_mem_reserve(struct ttm_device *bdev, struct ttm_resource *mem)
{
	struct tp_dev *dev = to_tp_dev(bdev);

	if (mem->mem_type != TTM_PL_VRAM || !dev->by_memcpy)
		return 0;
	mem->bus.addr = (char *)dev->vram + ((u64)mem->start << PAGE_SHIFT);
	mem->bus.is_iomem = true;
	mem->bus.caching = ttm_cached;
	return 0;
}

static void tp_swap_notify(struct ttm_buffer_object *tbo)
{
	struct tp_dev *dev = to_tp_dev(tbo->bdev);
	int n = atomic_inc_return(&dev->swap_notifies);

	/* A walk that meets its objects again and again ends with the failures that made it so. */
	if (dev->most_notifies && n > dev->most_notifies)
		tp_make_fail(false);
}

static const struct ttm_device_funcs tp_funcs = {
	.ttm_tt_create = tp_tt_create,
	.ttm_tt_populate = tp_tt_populate,
	.ttm_tt_unpopulate = tp_tt_unpopulate,
	.ttm_tt_destroy = tp_tt_destroy,
	.eviction_valuable = ttm_bo_eviction_valuable,
	.evict_flags = tp_evict_flags,
	.move = tp_move,
	.io_mem_reserve = tp_io_mem_reserve,
	.swap_notify = tp_swap_notify,
};

/* ---- the device ---- */

struct tp_dev *tp_dev_new(struct tp_run *run, const struct tp_dev_args *args)
{
	static const struct tp_dev_args plain;
	struct drm_device *drm = tp_drm();
	struct tp_dev *dev;
	int ret;

	dev = kcalloc(1, sizeof(*dev), GFP_KERNEL);
	if (!dev)
		goto err;
	dev->args = args ? *args : plain;
	dev->run = run;
	INIT_LIST_HEAD(&dev->bos);
	INIT_LIST_HEAD(&dev->tts);
	spin_lock_init(&dev->lock);
	ttm_lru_bulk_move_init(&dev->bulk);
	dev->writeback = max(run->k.writeback, 0);
	ret = tp_ttm_device_init(&dev->bdev, &tp_funcs, tp_parent(),
				 drm->anon_inode->i_mapping, drm->vma_offset_manager,
				 dev->args.dma_alloc, dev->args.dma32,
				 dev->args.beneficial);
	if (ret)
		goto err_free;
	ret = ttm_range_man_init_nocheck(&dev->bdev, TTM_PL_TT, true, SZ_16G >> PAGE_SHIFT);
	if (ret)
		goto err_fini;
	if (dev->args.vram) {
		dev->vram = vzalloc(dev->args.vram);
		ret = dev->vram ? ttm_range_man_init_nocheck(&dev->bdev, TTM_PL_VRAM, false,
							     TP_PAGES(dev->args.vram)) : -ENOMEM;
		if (ret)
			goto err_tt;
	}
	if (!dev->args.no_shrinker) {
		ret = tp_shrinker_add(dev);
		if (ret)
			goto err_vram;
	}
	run->dev = dev;
	return dev;

err_vram:
	if (dev->args.vram)
		ttm_range_man_fini_nocheck(&dev->bdev, TTM_PL_VRAM);
err_tt:
	vfree(dev->vram);
	ttm_range_man_fini_nocheck(&dev->bdev, TTM_PL_TT);
err_fini:
	ttm_device_fini(&dev->bdev);
err_free:
	kfree(dev);
err:
	tp_bug(run, "no device could be made");
	return NULL;
}

void tp_put_many(struct tp_bo **bos, int n)
{
	int i;

	for (i = 0; i < n; i++)
		tp_bo_put(bos[i]);
}

void tp_dev_free(struct tp_run *run, struct tp_dev *dev)
{
	struct ttm_resource_manager *man;
	struct tp_bo *bo, *next;
	bool tidying = false, empty = true;
	int i, ret;

	if (!dev)
		return;
	if (run) {
		tidying = run->tidying;
		run->tidying = true;
	}
	tp_shrinker_del(dev);
	if (run)
		run->dev = NULL;
	if (run)
		tp_check(run, list_empty(&dev->bos), "objects were still there at the end");
	list_for_each_entry_safe(bo, next, &dev->bos, link) {
		if (run)
			tp_note(run, "left behind: object %u", bo->id);
		tp_bo_put(bo);
	}
	ttm_lru_bulk_move_fini(&dev->bdev, &dev->bulk);
	/* Deleted objects that were busy go through the work queue. */
	flush_workqueue(dev->bdev.wq);
	for (i = TTM_PL_SYSTEM; i <= TTM_PL_VRAM && run; i++) {
		man = ttm_manager_type(&dev->bdev, i);
		if (man)
			empty &= tp_eq(run, ttm_resource_manager_usage(man), 0,
				       "bytes left in manager %d", i);
	}
	if (run) {
		tp_lru_check(run, dev, "at the end");
		tp_eq(run, atomic_long_read(&dev->shrinkable), 0, "shrinkable pages left");
		tp_eq(run, atomic_long_read(&dev->purgeable), 0, "purgeable pages left");
		tp_check(run, list_empty(&dev->tts), "a ttm_tt was not destroyed");
	}
	/* What is left there belongs to nobody: a manager that is taken down evicts it for ever. */
	if (!empty) {
		tp_note(run, "the device is left as it is");
		run->tidying = tidying;
		return;
	}
	if (dev->args.vram) {
		ret = ttm_range_man_fini_nocheck(&dev->bdev, TTM_PL_VRAM);
		if (run)
			tp_eq(run, ret, 0, "taking down the VRAM manager");
		vfree(dev->vram);
	}
	ret = ttm_range_man_fini_nocheck(&dev->bdev, TTM_PL_TT);
	if (run)
		tp_eq(run, ret, 0, "taking down the TT manager");
	ttm_device_fini(&dev->bdev);
	kfree(dev);
	if (run)
		run->tidying = tidying;
}

/* All objects that are the case's still, the last first: it may be under another's lock. */
void tp_dev_put_bos(struct tp_dev *dev)
{
	struct tp_bo *bo, *next;

	list_for_each_entry_safe_reverse(bo, next, &dev->bos, link)
		tp_bo_put(bo);
}

void tp_dev_end(struct tp_dev *dev)
{
	if (!dev)
		return;
	tp_dev_put_bos(dev);
	tp_dev_free(dev->run, dev);
}

/*
 * The pools go with the last device: for who restores in several steps, with
 * attributes, from pools as they happen to be, meets suspect_e_*.
 */
struct tp_dev *tp_dev_again(struct tp_run *run, struct tp_dev *dev, enum ttm_caching caching)
{
	struct tp_dev_args args = dev->args;

	if (caching == ttm_cached)
		return dev;
	tp_dev_free(run, dev);
	dev = tp_dev_new(run, &args);
	if (dev)
		dev->shrink_off = true;
	return dev;
}

/* ---- objects ---- */

static void tp_bo_destroy(struct ttm_buffer_object *tbo)
{
	struct tp_bo *bo = to_tp_bo(tbo);

	spin_lock(&bo->dev->lock);
	list_del_init(&bo->link);
	spin_unlock(&bo->dev->lock);
	dma_fence_put(bo->fence);
	drm_gem_object_release(&tbo->base);
	kfree(bo);
}

struct tp_bo *tp_bo_new(struct tp_dev *dev, const struct tp_bo_args *args, int *err)
{
	struct ttm_place place = { .mem_type = args->mem_type ?: TTM_PL_TT };
	struct ttm_placement placement = { .num_placement = 1, .placement = &place };
	enum ttm_bo_type type = ttm_bo_type_device;
	struct ttm_operation_ctx plain = { };
	struct ttm_operation_ctx *ctx = args->ctx ?: &plain;
	struct tp_bo *bo = kzalloc(sizeof(*bo), GFP_KERNEL);
	int ret = -ENOMEM;

	if (!bo)
		goto out;
	bo->dev = dev;
	bo->args = *args;
	bo->nr = TP_PAGES(args->size);
	bo->base.priority = args->priority;
	INIT_LIST_HEAD(&bo->link);
	spin_lock(&dev->lock);
	bo->id = dev->next_id++;
	spin_unlock(&dev->lock);
	if (args->in_system)
		place.mem_type = TTM_PL_SYSTEM;
	if (args->sg)
		type = ttm_bo_type_sg;
	else if (args->kernel)
		type = ttm_bo_type_kernel;
	drm_gem_private_object_init(tp_drm(), &bo->base.base, args->size);
	ret = ttm_bo_init_reserved(&dev->bdev, &bo->base, type, &placement, 0, ctx, NULL,
				   args->resv, tp_bo_destroy);
	if (ret) {
		bo = NULL;
		goto out;
	}
	spin_lock(&dev->lock);
	list_add_tail(&bo->link, &dev->bos);
	spin_unlock(&dev->lock);
	if (args->bulk)
		ttm_bo_set_bulk_move(&bo->base, args->bulk);
	if (!args->resv && !args->keep_locked)
		tp_bo_unlock(bo);
out:
	if (err)
		*err = ret;
	else if (dev->run)
		tp_eq(dev->run, ret, 0, "making an object of %llu bytes", args->size);
	return bo;
}

/*
 * An object with pages and content of its own, by the key, or its number where that is 0. Its
 * lock is taken, but for one that lies under another's, which is held. NULL: that was told.
 */
struct tp_bo *tp_bo_filled(struct tp_run *run, struct tp_dev *dev,
			   const struct tp_bo_args *args, u64 key)
{
	struct tp_bo *bo = tp_bo_new(dev, args, NULL);

	if (!tp_check(run, bo, "no object of %llu bytes", args->size))
		return NULL;
	if (!args->resv)
		tp_bo_lock(bo);
	tp_eq(run, tp_bo_populate(bo, NULL), 0, "populate");
	tp_bo_fill(bo, key ?: run->k.seed + bo->id);
	if (!args->resv)
		tp_bo_unlock(bo);
	return bo;
}

void tp_bo_pin(struct tp_bo *bo)
{
	tp_bo_lock(bo);
	ttm_bo_pin(&bo->base);
	tp_bo_unlock(bo);
}

void tp_bo_unpin(struct tp_bo *bo)
{
	tp_bo_lock(bo);
	ttm_bo_unpin(&bo->base);
	tp_bo_unlock(bo);
}

void tp_bo_put(struct tp_bo *bo)
{
	if (!bo)
		return;
	spin_lock(&bo->dev->lock);
	list_del_init(&bo->link);
	spin_unlock(&bo->dev->lock);
	tp_witness_drop(bo->witness);
	bo->witness = NULL;
	/* A member is put by one who does not hold the lock; a walk may do so. */
	if (bo->base.bulk_move) {
		tp_bo_lock(bo);
		ttm_bo_set_bulk_move(&bo->base, NULL);
		tp_bo_unlock(bo);
	}
	tp_ttm_bo_put(&bo->base);
}

void tp_bo_lock(struct tp_bo *bo)
{
	dma_resv_lock(bo->base.base.resv, NULL);
}

void tp_bo_unlock(struct tp_bo *bo)
{
	dma_resv_unlock(bo->base.base.resv);
}

int tp_bo_validate(struct tp_bo *bo, u32 mem_type, struct ttm_operation_ctx *ctx)
{
	struct ttm_place place = { .mem_type = mem_type };
	struct ttm_placement placement = { .num_placement = 1, .placement = &place };
	struct ttm_operation_ctx plain = { };

	return ttm_bo_validate(&bo->base, &placement, ctx ?: &plain);
}

int tp_bo_populate(struct tp_bo *bo, struct ttm_operation_ctx *ctx)
{
	struct ttm_operation_ctx plain = { };

	return tp_ttm_bo_populate(&bo->base, ctx ?: &plain);
}

long tp_bo_backup(struct ttm_buffer_object *tbo, struct ttm_operation_ctx *ctx,
		  bool purge, bool writeback, bool allow_move)
{
#if TP_HAVE_BACKUP
	struct ttm_bo_shrink_flags flags = {
		.purge = purge, .writeback = writeback, .allow_move = allow_move,
	};
	struct tp_tt *tt = to_tp_tt(tbo->ttm);
	struct ttm_operation_ctx plain = { };
	u64 t0 = ktime_get_ns();
	long ret;

	ret = ttm_bo_shrink(ctx ?: &plain, tbo, flags);
	if (ret > 0) {
		tp_tt_account(tt, false);
		if (purge) {
			atomic64_add(ret, &tp_stats.purged);
		} else {
			atomic64_add(ret, &tp_stats.backed_up);
			atomic64_add(tt->tt.num_pages - ret, &tp_stats.retained);
			atomic64_add(ktime_get_ns() - t0, &tp_stats.backup_ns);
		}
	}
	return ret;
#else
	return -EOPNOTSUPP;
#endif
}

void tp_bo_set_purgeable(struct tp_bo *bo, bool purgeable)
{
	struct tp_tt *tt = to_tp_tt(bo->base.ttm);

	if (tt->accounted) {
		tp_tt_account(tt, false);
		tt->purgeable = purgeable;
		tp_tt_account(tt, true);
	} else {
		tt->purgeable = purgeable;
	}
	bo->purgeable = purgeable;
}

/* ---- busy objects ---- */

static const char *tp_fence_name(struct dma_fence *f)
{
	return "ttm-pressure";
}

static const struct dma_fence_ops tp_fence_ops = {
	.get_driver_name = tp_fence_name,
	.get_timeline_name = tp_fence_name,
};

static DEFINE_SPINLOCK(tp_fence_lock);

struct dma_fence *tp_fence_new(void)
{
	static atomic64_t seqno;
	static u64 context;
	struct dma_fence *f = kzalloc(sizeof(*f), GFP_KERNEL);

	if (!f)
		return NULL;
	if (!context)
		context = dma_fence_context_alloc(1);
	dma_fence_init(f, &tp_fence_ops, &tp_fence_lock, context,
		       atomic64_inc_return(&seqno));
	return f;
}

/* The caller holds the lock of the object. */
void tp_bo_busy(struct tp_bo *bo)
{
	struct dma_fence *f = tp_fence_new();

	if (!f || dma_resv_reserve_fences(bo->base.base.resv, 1)) {
		tp_async("an object that was to be busy is not: no memory for its fence");
		dma_fence_put(f);
		return;
	}
	dma_resv_add_fence(bo->base.base.resv, f, DMA_RESV_USAGE_BOOKKEEP);
	dma_fence_put(bo->fence);
	bo->fence = f;
}

void tp_bo_idle(struct tp_bo *bo)
{
	if (bo->fence)
		dma_fence_signal(bo->fence);
}

static void tp_later_fn(struct work_struct *work)
{
	tp_bo_idle(container_of(to_delayed_work(work), struct tp_later, work)->bo);
}

/* In so many jiffies, or at the end of it; the object stays until then. */
void tp_later_idle(struct tp_later *later, struct tp_bo *bo, unsigned long delay)
{
	later->bo = bo;
	INIT_DELAYED_WORK_ONSTACK(&later->work, tp_later_fn);
	schedule_delayed_work(&later->work, delay);
}

void tp_later_end(struct tp_later *later)
{
	flush_delayed_work(&later->work);
	destroy_delayed_work_on_stack(&later->work);
}

/* ---- content ---- */

void tp_bo_fill(struct tp_bo *bo, u64 key)
{
	struct ttm_tt *tt = bo->base.ttm;
	pgoff_t i;

	bo->key = key | 1;
	for (i = 0; i < tt->num_pages; i++) {
		tp_content_fill(tt->pages[i], bo->key, bo->id, i);
		if (!(i & 1023))
			cond_resched();
	}
}

bool tp_page_verify(struct tp_run *run, struct tp_bo *bo, pgoff_t i, struct page *page,
		    const char *when)
{
	return tp_content_check(run, page, bo->key, bo->id, bo->nr, i, when);
}

bool tp_bo_verify(struct tp_run *run, struct tp_bo *bo, const char *when)
{
	struct ttm_tt *tt = bo->base.ttm;
	pgoff_t i;

	if (!tp_check(run, tt && ttm_tt_is_populated(tt), "%s: object %u has no pages to verify",
		      when, bo->id))
		return false;
	for (i = 0; i < tt->num_pages; i++) {
		if (!tp_check(run, tt->pages[i] && !tp_is_handle(tt->pages[i]),
			      "%s: object %u, entry %lu is no page (%lx)", when, bo->id, i,
			      (unsigned long)tt->pages[i]))
			return false;
		if (!tp_page_verify(run, bo, i, tt->pages[i], when))
			return false;
		if (!(i & 1023))
			cond_resched();
	}
	return true;
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * The spies: every call into the driver's shrinker, by kswapd, by direct reclaim
 * or by a case, and what the driver does in it.
 */

#include <linux/ktime.h>
#include <linux/sched/mm.h>
#include <linux/swap.h>

#include <drm/ttm/ttm_backup.h>

#include "fake.h"
#include "seen.h"
#include "spy_bo.h"
#include "spy_shrinker.h"

/* Here the functions are meant, not the spies. */
#undef ttm_bo_shrink
#undef dma_resv_wait_timeout
#undef ttm_bo_wait_ctx
#undef ttm_tt_restore
#undef ttm_pool_alloc
#undef sg_alloc_table_from_pages_segment
#undef sg_free_table
#undef dma_map_sgtable
#undef dma_unmap_sgtable
#undef xe_bo_shrink
#undef ttm_bo_lru_cursor_first

#define FAKE_SCANS 64
/* Beyond that a case gives up: many times what all objects of any case can take. */
#define FAKE_SCANS_MAX 20000U

/* A scan that runs: found again by its task. */
struct fake_scan {
	struct task_struct *task;
	gfp_t gfp;
	bool kswapd;
	unsigned long wanted;		/* pages */
	unsigned long freed, scanned;	/* pages, as the spies saw them */
	bool walked, backs_up;		/* a walk was begun; one to back up */
	bool writeback;			/* asked for, of the object at hand */
};

struct fake_seen fake_seen;
DEFINE_SPINLOCK(fake_seen_lock);
struct task_struct *fake_populating;	/* the last one to ask the pool for pages, while it does */
int fake_map_error;	/* of tables of DMA addresses */
void (*fake_on_wait)(void *arg);
void *fake_on_wait_arg;

static struct xe_device *fake_watched;
static struct fake_scan fake_running[FAKE_SCANS];
static DEFINE_SPINLOCK(fake_running_lock);
static int fake_usage;	/* of the watched device, with no scan at work */
static unsigned long (*fake_real_scan)(struct shrinker *shrink, struct shrink_control *sc);
static unsigned long (*fake_real_count)(struct shrinker *shrink, struct shrink_control *sc);

bool fake_in_direct_reclaim(void)
{
	return (current->flags & PF_MEMALLOC) && !(current->flags & PF_KSWAPD);
}

static struct fake_scan *fake_running_find(struct task_struct *task)
{
	unsigned int i;

	for (i = 0; i < FAKE_SCANS; i++)
		if (fake_running[i].task == task)
			return &fake_running[i];
	return NULL;
}

static struct fake_scan *fake_scan_begin(const struct shrink_control *sc)
{
	struct fake_scan *scan;

	spin_lock(&fake_running_lock);
	scan = fake_running_find(NULL);
	if (scan)
		*scan = (struct fake_scan) {
			.task = current, .gfp = sc->gfp_mask, .wanted = sc->nr_to_scan,
			.kswapd = current_is_kswapd(),
		};
	spin_unlock(&fake_running_lock);
	return scan;
}

static struct fake_scan fake_scan_end(struct fake_scan *scan)
{
	struct fake_scan last;

	spin_lock(&fake_running_lock);
	last = *scan;
	scan->task = NULL;
	spin_unlock(&fake_running_lock);
	return last;
}

static struct fake_scan *fake_scan_current(void)
{
	struct fake_scan *scan;

	spin_lock(&fake_running_lock);
	scan = fake_running_find(current);
	spin_unlock(&fake_running_lock);
	return scan;
}

static bool fake_scan_fits(const struct fake_scan *scan, unsigned long ret,
			   unsigned long nr_scanned)
{
	if (nr_scanned != scan->scanned)
		return false;
	return ret == (scan->scanned ? scan->freed : SHRINK_STOP);
}

static unsigned long fake_spy_scan(struct shrinker *shrink, struct shrink_control *sc)
{
	struct fake_scan *scan = fake_scan_begin(sc);
	ktime_t began = ktime_get();
	struct fake_scan last;
	unsigned long ret, us;

	ret = fake_real_scan(shrink, sc);
	us = ktime_us_delta(ktime_get(), began);
	if (!scan)
		return ret;
	last = fake_scan_end(scan);
	fake_add(scans, 1);
	fake_add(kswapd_scans, last.kswapd);
	fake_add(nofs_scans, !(last.gfp & __GFP_FS));
	fake_add(freed, last.freed);
	fake_add(bad_return, !fake_scan_fits(&last, ret, sc->nr_scanned));
	if (us > fake_seen.scan_us_max)
		fake_seen.scan_us_max = us;
	return ret;
}

static unsigned long fake_spy_count(struct shrinker *shrink, struct shrink_control *sc)
{
	unsigned long ret = fake_real_count(shrink, sc);

	fake_add(zero_counts, !ret);
	return ret;
}

/* A use of the device beyond those that are always there. */
static bool fake_in_use(struct xe_device *xe)
{
	return atomic_read(&xe->drm.dev->power.usage_count) > fake_usage;
}

#ifdef FAKE_WALK_ARG
/* In the place of ttm_bo_lru_cursor_first() as the driver's shrinker calls it. */
struct ttm_buffer_object *fake_spy_first(struct ttm_bo_lru_cursor *curs)
{
	const struct ttm_lru_walk_arg *arg = curs->arg;
	const struct ttm_operation_ctx *ctx = arg->ctx;
	struct fake_scan *scan = fake_scan_current();

	fake_add(walks, 1);
	fake_add(sleeping_walks, !arg->trylock_only || arg->ticket);
	fake_add(interruptible_walks, ctx->interruptible);
	fake_add(lending_walks, ctx->resv || ctx->allow_res_evict);
	if (!ctx->no_wait_gpu)
		fake_add(waiting_walks, fake_in_direct_reclaim() || (scan && !scan->walked));
#ifdef FAKE_L2_FLUSH
	if (curs->res_curs.man == ttm_manager_type(curs->res_curs.man->bdev, XE_PL_TT)) {
		struct xe_device *xe = ttm_to_xe_device(curs->res_curs.man->bdev);

		fake_add(unpowered, xe_device_is_l2_flush_optimized(xe) && !fake_in_use(xe));
	}
#endif
	if (scan)
		scan->walked = true;
	return ttm_bo_lru_cursor_first(curs);
}
#endif

static bool fake_was_purged(const struct ttm_tt *tt)
{
	return !tt->pages[0];
}

/* What the driver's shrinker asks for, of which object. */
static void fake_saw_try(struct fake_scan *scan, const struct ttm_operation_ctx *ctx,
			 struct ttm_buffer_object *bo, const struct xe_bo_shrink_flags flags)
{
	fake_add(tried, 1);
	fake_add(unlocked, !dma_resv_is_locked(bo->base.resv));
	fake_add(unsuitable, bo->pin_count || !bo->ttm || !ttm_tt_is_populated(bo->ttm) ||
		 (ctx->no_wait_gpu &&
		  !dma_resv_test_signaled(bo->base.resv, DMA_RESV_USAGE_BOOKKEEP)));
	fake_add(writebacks_early, flags.writeback && ctx->no_wait_gpu);
	if (!scan)
		return;
	fake_add(tried_nofs, !flags.purge && !(scan->gfp & __GFP_FS));
	fake_add(purges_late, flags.purge && scan->backs_up);
	fake_add(overscans, scan->scanned >= scan->wanted);
	if (!flags.purge)
		scan->backs_up = true;
	scan->writeback = flags.writeback;
}

/* What became of it: so many pages tried, and the number of pages that went or an error. */
static void fake_saw_tried(struct ttm_buffer_object *bo, unsigned long pages, long ret)
{
	bool none_or_all = !pages || pages == bo->ttm->num_pages;

	fake_add(bad_shrink, !none_or_all || (ret > 0 && (!pages || (unsigned long)ret > pages)));
	fake_add(bad_errno, ret < 0 && ret != -EBUSY && ret != -ENOMEM && ret != -EINTR);
	if (ret > 0)
		fake_add(half_done, ttm_tt_is_populated(bo->ttm) || fake_tt_mapped(bo->ttm) ||
			 bo->resource->mem_type != XE_PL_SYSTEM);
}

/* In the place of xe_bo_shrink() as the driver's shrinker calls it. */
long fake_spy_shrink(struct ttm_operation_ctx *ctx, struct ttm_buffer_object *bo,
		     const struct xe_bo_shrink_flags flags, unsigned long *scanned)
{
	struct fake_scan *scan = fake_scan_current();
	unsigned long before = *scanned;
	long shrinkable, purgeable, ret;

	fake_saw_try(scan, ctx, bo, flags);
	ret = xe_bo_shrink(ctx, bo, flags, scanned);
	fake_saw_tried(bo, *scanned - before, ret);
	if (scan) {
		scan->scanned += *scanned - before;
		scan->freed += max(ret, 0L);
	}
	if (ret <= 0)
		return ret;
	if (fake_was_purged(bo->ttm)) {
		fake_add(purged, ret);
		return ret;
	}
	fake_add(backed_up, ret);
	if (scan && !(scan->gfp & __GFP_FS))
		fake_add(backed_up_nofs, 1);
	fake_counts(ttm_to_xe_device(bo->bdev), &shrinkable, &purgeable);
	if (purgeable > 0 || flags.purge)
		fake_add(backed_up_too_soon, ret);
	return ret;
}

/* One of the driver's, not the ghost of one, and somebody has it. */
static bool fake_is_alive(struct ttm_buffer_object *bo)
{
	return xe_bo_is_xe_bo(bo) && kref_read(&bo->base.refcount);
}

long fake_spy_ttm_shrink(struct ttm_operation_ctx *ctx, struct ttm_buffer_object *bo,
			 const struct ttm_bo_shrink_flags flags)
{
	struct xe_device *xe = ttm_to_xe_device(bo->bdev);
	struct fake_scan *scan = fake_scan_current();

	if (scan && !flags.purge)
		fake_add(writebacks_changed, flags.writeback != scan->writeback);
	/* What nobody has any more is purged, needed or not. */
	fake_add(purges_amiss, fake_tt_purgeable(bo->ttm) && !flags.purge);
	fake_add(purges_amiss, !fake_tt_purgeable(bo->ttm) && flags.purge && fake_is_alive(bo));
	if (flags.allow_move && bo->resource->mem_type == XE_PL_TT && !IS_DGFX(xe) &&
	    xe_device_has_flat_ccs(xe))
		fake_add(unpowered, !fake_in_use(xe));
	if (flags.writeback) {
		fake_add(writebacks, 1);
		if (!scan || !scan->kswapd || !(scan->gfp & __GFP_IO))
			fake_add(writebacks_amiss, 1);
	}
	return ttm_bo_shrink(ctx, bo, flags);
}

static void fake_saw_wait(struct dma_resv *resv, enum dma_resv_usage usage)
{
	if (dma_resv_test_signaled(resv, usage))
		return;
	if (fake_in_direct_reclaim())
		fake_add(direct_waits, 1);
	if (fake_on_wait)
		fake_on_wait(fake_on_wait_arg);
}

long fake_spy_resv_wait(struct dma_resv *resv, enum dma_resv_usage usage, bool intr,
			unsigned long timeout)
{
	if (timeout)
		fake_saw_wait(resv, usage);
	return dma_resv_wait_timeout(resv, usage, intr, timeout);
}

int fake_spy_bo_wait(struct ttm_buffer_object *bo, struct ttm_operation_ctx *ctx)
{
	if (!ctx->no_wait_gpu)
		fake_saw_wait(bo->base.resv, DMA_RESV_USAGE_BOOKKEEP);
	return ttm_bo_wait_ctx(bo, ctx);
}

int fake_spy_restore(struct ttm_device *bdev, struct ttm_tt *tt,
		     const struct ttm_operation_ctx *ctx)
{
	int ret = ttm_tt_restore(bdev, tt, ctx);

	if (!ret)
		fake_add(restored, tt->num_pages);
	else if (ret == -EINTR || ret == -ERESTARTSYS)
		fake_add(interrupted, 1);
	else if (ret == -ENOMEM)
		fake_add(alloc_failed, 1);
	return ret;
}

int fake_spy_alloc(struct ttm_pool *pool, struct ttm_tt *tt, struct ttm_operation_ctx *ctx)
{
	int ret;

	WRITE_ONCE(fake_populating, current);
	ret = ttm_pool_alloc(pool, tt, ctx);
	WRITE_ONCE(fake_populating, NULL);
	if (!ret)
		fake_add(allocated, tt->num_pages);
	else if (ret == -ENOMEM)
		fake_add(alloc_failed, 1);
	return ret;
}

/* The tables of the pages' DMA addresses: each is freed, each mapping is undone. */
int fake_spy_sg_alloc(struct sg_table *sgt, struct page **pages, unsigned int nr,
		      unsigned int offset, unsigned long size, unsigned int max_segment,
		      gfp_t gfp)
{
	int ret = READ_ONCE(fake_map_error);

	if (ret)
		return ret;
	ret = sg_alloc_table_from_pages_segment(sgt, pages, nr, offset, size, max_segment, gfp);
	fake_add(tables, !ret);
	return ret;
}

void fake_spy_sg_free(struct sg_table *sgt)
{
	fake_add(tables, -1);
	sg_free_table(sgt);
}

int fake_spy_map(struct device *dev, struct sg_table *sgt, enum dma_data_direction dir,
		 unsigned long attrs)
{
	int ret = dma_map_sgtable(dev, sgt, dir, attrs);

	fake_add(mappings, !ret);
	return ret;
}

void fake_spy_unmap(struct device *dev, struct sg_table *sgt, enum dma_data_direction dir,
		    unsigned long attrs)
{
	fake_add(mappings, -1);
	dma_unmap_sgtable(dev, sgt, dir, attrs);
}

/* From here on the spies count, and the scans of this device pass through us. */
void fake_watch(struct xe_device *xe)
{
	struct shrinker *shrinker = fake_shrinker(xe);

	memset(&fake_seen, 0, sizeof(fake_seen));
	fake_watched = xe;
	fake_on_wait = NULL;
	fake_usage = atomic_read(&xe->drm.dev->power.usage_count);
	fake_real_scan = shrinker->scan_objects;
	fake_real_count = shrinker->count_objects;
	WRITE_ONCE(shrinker->scan_objects, fake_spy_scan);
	WRITE_ONCE(shrinker->count_objects, fake_spy_count);
}

void fake_unwatch(void)
{
	WRITE_ONCE(fake_shrinker(fake_watched)->count_objects, fake_real_count);
	WRITE_ONCE(fake_shrinker(fake_watched)->scan_objects, fake_real_scan);
	fake_watched = NULL;
}

/* Both as reclaim calls them: PF_MEMALLOC set, lockdep told, kswapd if asked for. */
static unsigned int fake_reclaim_begin(gfp_t gfp, bool kswapd)
{
	unsigned int flags = memalloc_noreclaim_save();

	if (kswapd)
		current->flags |= PF_KSWAPD;
	fs_reclaim_acquire(gfp);
	return flags;
}

static void fake_reclaim_end(gfp_t gfp, unsigned int flags)
{
	fs_reclaim_release(gfp);
	current->flags &= ~PF_KSWAPD;
	memalloc_noreclaim_restore(flags);
}

unsigned long fake_count(struct fake *fake, gfp_t gfp)
{
	struct shrinker *shrinker = fake_shrinker(fake->xe);
	struct shrink_control sc = { .gfp_mask = gfp };
	unsigned int flags = fake_reclaim_begin(gfp, false);
	unsigned long ret = shrinker->count_objects(shrinker, &sc);

	fake_reclaim_end(gfp, flags);
	return ret;
}

unsigned long fake_scan(struct fake *fake, gfp_t gfp, unsigned long nr, bool kswapd,
			unsigned long *scanned)
{
	struct shrinker *shrinker = fake_shrinker(fake->xe);
	struct shrink_control sc = { .gfp_mask = gfp, .nr_to_scan = nr, .nr_scanned = nr };
	unsigned int flags = fake_reclaim_begin(gfp, kswapd);
	unsigned long ret = shrinker->scan_objects(shrinker, &sc);

	fake_reclaim_end(gfp, flags);
	if (scanned)
		*scanned = sc.nr_scanned;
	return ret;
}

/*
 * Scans in reclaim's portions until there is no progress: pages freed. A device
 * may have gone to sleep again before the scan that it was woken for.
 */
unsigned long fake_scan_all(struct fake *fake, bool kswapd)
{
	unsigned long freed = 0, ret, idle = 0, most = fake->kind->sleep ? 50 : 3;
	unsigned int n;

	for (n = 0; n < FAKE_SCANS_MAX && idle < most; n++) {
		ret = fake_scan(fake, GFP_KERNEL, 128, kswapd, NULL);
		if (ret == SHRINK_STOP || !ret) {
			idle++;
			fake_flush_wakeup(fake->xe);
		} else {
			idle = 0;
			freed += ret;
		}
	}
	if (n == FAKE_SCANS_MAX)
		KUNIT_FAIL(fake->test, "%u scans, and still there is progress", n);
	return freed;
}

void fake_scan_until_stop(struct fake *fake, gfp_t gfp, bool kswapd)
{
	unsigned int n;

	for (n = 0; n < FAKE_SCANS_MAX; n++)
		if (fake_scan(fake, gfp, 32, kswapd, NULL) == SHRINK_STOP)
			return;
	KUNIT_FAIL(fake->test, "%u scans, and none ended with SHRINK_STOP", n);
}

/* Whether there is room in swap for that many pages. */
bool fake_swap(unsigned long pages)
{
	return ttm_backup_bytes_avail() >> PAGE_SHIFT >= pages;
}

#define FAKE_FIGURE(name) do {						\
	if (fake_seen.name)						\
		kunit_info(test, #name "=%lu", fake_seen.name);		\
} while (0)

void fake_report(struct kunit *test)
{
	if (!fake_seen.scans)
		return;
	FAKE_FIGURE(scans);
	FAKE_FIGURE(kswapd_scans);
	FAKE_FIGURE(nofs_scans);
	FAKE_FIGURE(scan_us_max);
	FAKE_FIGURE(freed);
	FAKE_FIGURE(purged);
	FAKE_FIGURE(backed_up);
	FAKE_FIGURE(backed_up_too_soon);
	FAKE_FIGURE(restored);
	FAKE_FIGURE(allocated);
	FAKE_FIGURE(interrupted);
	FAKE_FIGURE(writebacks);
	FAKE_FIGURE(copies);
	FAKE_FIGURE(suspends);
	FAKE_FIGURE(resumes);
}

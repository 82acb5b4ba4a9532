// SPDX-License-Identifier: GPL-2.0-only
/* Operations in any order, and after each of them all that must hold; populate() that fails. */
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "pressure.h"

#define TP_ANY_BOS	10
#define TP_ANY_STEPS	400
#define TP_ANY_VRAM	SZ_256K

enum tp_any_op {
	TP_TO_TT, TP_TO_SYSTEM, TP_TO_VRAM, TP_BACKUP, TP_PURGE, TP_POPULATE, TP_PIN, TP_BUSY,
	TP_SCAN, TP_SWAP, TP_BULK, TP_BULK_TAIL, TP_TAIL, TP_MOVE_FAILS, TP_NO_DMA, TP_AGAIN,
	TP_EVICT_ALL, TP_GUT, TP_PIPELINE, TP_OPS,
};

static const char * const tp_any_names[TP_OPS] = {
	"to TT", "to SYSTEM", "to VRAM", "backup", "purge", "populate", "pin", "busy", "scan",
	"swapout", "bulk", "bulk tail", "tail", "a move fails", "no DMA", "freed, made again",
	"evict all", "gutting", "in a pipeline",
};

struct tp_any {
	struct tp_run *run;
	struct tp_dev *dev;
	/* One lock and one bulk move for the second half of the objects, or none. */
	struct tp_bo *owner;
	/* A bulk move is never empty; see suspect_bulk_empty. */
	struct tp_bo *stay[2];
	struct tp_bo *bos[TP_ANY_BOS];
	struct tp_bo *pinned;	/* one at a time, so that there is room in VRAM */
	int done[TP_OPS];
	bool swap;
	char when[48];
};

static bool tp_any_grouped(struct tp_any *a, int i)
{
	return a->owner && i >= TP_ANY_BOS / 2;
}

static bool tp_any_make(struct tp_any *a, int i)
{
	struct tp_run *run = a->run;
	struct tp_bo_args args = {
		.size = (1 + tp_rand(run, 16)) * SZ_4K, .caching = tp_rand(run, 3),
		.dma = tp_rand(run, 2), .in_system = tp_rand(run, 2),
		.priority = tp_any_grouped(a, i) ? 0 : tp_rand(run, 2),
		.watermark = !TP_HAVE_BACKUP || (!a->owner && tp_rand(run, 2)),
	};
	struct tp_bo *bo;

	if (tp_any_grouped(a, i)) {
		args.resv = a->owner->base.base.resv;
		args.bulk = &a->dev->bulk;
		tp_bo_lock(a->owner);
	} else {
		args.keep_locked = true;
	}
	bo = tp_bo_new(a->dev, &args, NULL);
	a->bos[i] = bo;
	if (!bo) {
		if (tp_any_grouped(a, i))
			tp_bo_unlock(a->owner);
		return false;
	}
	tp_eq(run, tp_bo_populate(bo, NULL), 0, "populate");
	tp_bo_fill(bo, run->k.seed + bo->id);
	tp_bo_unlock(bo);
	return true;
}

static bool tp_any_out(struct tp_bo *bo)
{
	return bo->base.ttm && tp_tt_swapped(bo->base.ttm);
}

static bool tp_any_real(struct tp_bo *bo)
{
	return bo->base.resource && bo->base.resource->mem_type != TTM_PL_VRAM &&
	       bo->base.ttm && ttm_tt_is_populated(bo->base.ttm);
}

static void tp_any_idle(struct tp_any *a)
{
	int i;

	for (i = 0; i < TP_ANY_BOS; i++)
		if (a->bos[i])
			tp_bo_idle(a->bos[i]);
	flush_workqueue(a->dev->bdev.wq);
}

/* To a memory type: done, or there is no room, or it is pinned elsewhere. */
static void tp_any_to(struct tp_any *a, struct tp_bo *bo, u32 to)
{
	bool there = bo->base.resource && bo->base.resource->mem_type == to;
	struct tp_snap was;
	int ret;

	/* The copies of this device are the CPU's, which waits; and nobody pins in vain. */
	if (to == TTM_PL_VRAM && bo->base.bulk_move)
		return;
	tp_snap_take(bo, &was);
	ret = tp_bo_validate(bo, to, NULL);
	if (bo->base.pin_count && !there) {
		tp_eq(a->run, ret, -EINVAL, "%s of a pinned object", a->when);
		tp_snap_same(a->run, bo, &was, a->when);
		return;
	}
	tp_check(a->run, !ret || (ret == -ENOMEM && to == TTM_PL_VRAM), "%s: got %d", a->when, ret);
	/* Others may have gone before it turned out that it is not enough. */
	tp_check(a->run, !ret || bo->base.resource == was.resource,
		 "%s: refused and moved", a->when);
	if (!ret)
		tp_eq(a->run, bo->base.resource->mem_type, to, "%s: where it is", a->when);
}

static void tp_any_backup(struct tp_any *a, struct tp_bo *bo, bool purge)
{
	struct ttm_operation_ctx nowait = { .no_wait_gpu = true };
	struct tp_snap was;
	long ret;

	/* As a driver's shrinker asks before. */
	if (!TP_HAVE_BACKUP || !tp_any_real(bo) || bo->base.pin_count || bo->args.watermark ||
	    (!purge && !a->swap))
		return;
	/* What came from VRAM: see suspect_k_purge. */
	if (purge && !(bo->base.ttm->page_flags & TTM_TT_FLAG_ZERO_ALLOC))
		return;
	if (purge)
		tp_bo_set_purgeable(bo, true);
	tp_snap_take(bo, &was);
	/* Out and not moved: see suspect_l_unmoved. */
	ret = tp_bo_backup(&bo->base, &nowait, purge, tp_rand(a->run, 2), true);
	if (ret == -EBUSY) {
		tp_check(a->run, !dma_resv_test_signaled(bo->base.base.resv,
							 DMA_RESV_USAGE_BOOKKEEP),
			 "%s: an idle object is called busy", a->when);
		/* It may have been moved, which waits for nobody. */
		if (bo->base.resource == was.resource)
			tp_snap_same(a->run, bo, &was, a->when);
		if (purge)
			tp_bo_set_purgeable(bo, false);
		return;
	}
	tp_eq(a->run, ret, bo->nr, "%s: pages", a->when);
	if (!purge) {
		tp_backed(a->run, bo, 0, a->when);
		return;
	}
	tp_purged(a->run, bo, a->when);
	bo->key = 0;
}

static void tp_any_populate(struct tp_any *a, struct tp_bo *bo)
{
	if (!bo->base.resource || bo->base.resource->mem_type == TTM_PL_VRAM || !bo->base.ttm)
		return;
	tp_eq(a->run, tp_bo_populate(bo, NULL), 0, "%s", a->when);
	tp_populated(a->run, bo, a->when);
	tp_bo_verify(a->run, bo, a->when);
}

static void tp_any_unpin(struct tp_bo *bo)
{
	bool pinned = bo->base.pin_count;

	while (bo->base.pin_count)
		ttm_bo_unpin(&bo->base);
	/* ttm_bo_unpin() of before 6.15 leaves it among the pinned until it is moved next. */
	if (!TP_HAVE_BACKUP && pinned)
		ttm_bo_move_to_lru_tail_unlocked(&bo->base);
}

static void tp_any_pin(struct tp_any *a, struct tp_bo *bo)
{
	if (bo->base.pin_count && (bo->base.pin_count > 2 || tp_rand(a->run, 2))) {
		tp_any_unpin(bo);
		a->pinned = NULL;
		return;
	}
	if (a->pinned && a->pinned != bo)
		return;
	ttm_bo_pin(&bo->base);
	a->pinned = bo;
}

static void tp_any_move_fails(struct tp_any *a, struct tp_bo *bo)
{
	static const u32 types[] = { TTM_PL_SYSTEM, TTM_PL_TT, TTM_PL_VRAM };
	u32 to = types[tp_rand(a->run, bo->base.bulk_move ? 2 : 3)];
	struct tp_snap was;
	int ret;

	tp_snap_take(bo, &was);
	a->dev->move_fail_nth = 1;
	a->dev->move_fail_ret = -EIO;
	ret = tp_bo_validate(bo, to, NULL);
	if (!a->dev->move_fail_nth)
		tp_eq(a->run, ret, -EIO, "%s", a->when);
	/* Where it has to be populated first, it is, and in its place still. */
	if (ret == -EIO && was.mem_type == TTM_PL_VRAM)
		tp_snap_same(a->run, bo, &was, a->when);
	if (ret && bo->base.resource)
		tp_eq(a->run, bo->base.resource->mem_type, was.mem_type,
		      "%s: where it is", a->when);
	a->dev->move_fail_nth = 0;
}

static void tp_any_no_dma(struct tp_any *a, struct tp_bo *bo)
{
	int ret;

	if (!tp_have_dma_ops() || !bo->args.dma || !bo->base.ttm || tp_any_real(bo) ||
	    !bo->base.resource || bo->base.resource->mem_type == TTM_PL_VRAM ||
	    /* See suspect_g_refused, and suspect_e_*. */
	    (tp_any_out(bo) && (!bo->key || bo->args.caching != ttm_cached)))
		return;
	tp_dma_fail_nth(1);
	ret = tp_bo_populate(bo, NULL);
	tp_dma_fail_nth(0);
	tp_eq(a->run, ret, -EFAULT, "%s", a->when);
	tp_check(a->run, !ttm_tt_is_populated(bo->base.ttm), "%s: populated", a->when);
	tp_any_populate(a, bo);
}

static void tp_any_gut(struct tp_any *a, struct tp_bo *bo)
{
	struct ttm_operation_ctx ctx = { };
	struct ttm_placement none = { };

	/* See suspect_i_gutting. */
	if (tp_any_out(bo) || bo->base.pin_count || !bo->base.resource)
		return;
	tp_eq(a->run, ttm_bo_validate(&bo->base, &none, &ctx), 0, "%s", a->when);
	tp_check(a->run, !bo->base.resource, "%s: it has a place", a->when);
	bo->key = 0;
	tp_lru_check(a->run, a->dev, a->when);
	if (tp_rand(a->run, 2)) {
		tp_eq(a->run, tp_bo_validate(bo, TTM_PL_TT, NULL), 0, "%s: to TT", a->when);
		tp_any_populate(a, bo);
	}
}

static void tp_any_pipeline(struct tp_any *a, struct tp_bo *bo)
{
	struct dma_fence *f = tp_fence_new();

	if (!f)
		return;
	a->dev->move_fence = f;
	tp_any_to(a, bo, bo->base.resource && bo->base.resource->mem_type == TTM_PL_VRAM ?
		  TTM_PL_TT : TTM_PL_VRAM);
	a->dev->move_fence = NULL;
	tp_lru_ghosts(a->run, a->dev, a->when);
	tp_lru_check(a->run, a->dev, a->when);
	tp_balance(a->run, a->when);
	dma_fence_signal(f);
	dma_fence_put(f);
}

/* What is done to one object, under its lock. */
static void tp_any_one(struct tp_any *a, enum tp_any_op op, struct tp_bo *bo)
{
	switch (op) {
	case TP_TO_TT:
		tp_any_to(a, bo, TTM_PL_TT);
		break;
	case TP_TO_SYSTEM:
		tp_any_to(a, bo, TTM_PL_SYSTEM);
		break;
	case TP_TO_VRAM:
		tp_any_to(a, bo, TTM_PL_VRAM);
		break;
	case TP_BACKUP:
	case TP_PURGE:
		tp_any_backup(a, bo, op == TP_PURGE);
		break;
	case TP_POPULATE:
		tp_any_populate(a, bo);
		break;
	case TP_PIN:
		tp_any_pin(a, bo);
		break;
	case TP_BUSY:
		if (!bo->fence || dma_fence_is_signaled(bo->fence))
			tp_bo_busy(bo);
		else
			tp_bo_idle(bo);
		break;
	case TP_BULK:
		if (!a->owner || bo->base.base.resv != a->owner->base.base.resv ||
		    (bo->base.resource && bo->base.resource->mem_type == TTM_PL_VRAM))
			break;
		ttm_bo_set_bulk_move(&bo->base, bo->base.bulk_move ? NULL : &a->dev->bulk);
		break;
	case TP_BULK_TAIL:
		if (!a->owner || bo->base.base.resv != a->owner->base.base.resv)
			break;
		spin_lock(&a->dev->bdev.lru_lock);
		ttm_lru_bulk_move_tail(&a->dev->bulk);
		spin_unlock(&a->dev->bdev.lru_lock);
		break;
	case TP_TAIL:
		ttm_bo_move_to_lru_tail_unlocked(&bo->base);
		break;
	case TP_MOVE_FAILS:
		tp_any_move_fails(a, bo);
		break;
	case TP_NO_DMA:
		tp_any_no_dma(a, bo);
		break;
	case TP_GUT:
		tp_any_gut(a, bo);
		break;
	case TP_PIPELINE:
		tp_any_pipeline(a, bo);
		break;
	default:
		break;
	}
}

/* What is done to all, or to whom TTM picks. */
static void tp_any_all(struct tp_any *a, enum tp_any_op op, int i)
{
	struct tp_scan s = { .gfp = GFP_KERNEL, .nr = 1 + tp_rand(a->run, 40) };
	struct ttm_operation_ctx ctx = { .no_wait_gpu = true };
	struct ttm_resource_manager *vram = ttm_manager_type(&a->dev->bdev, TTM_PL_VRAM);
	int ret;

	switch (op) {
	case TP_SCAN:
		if (!TP_HAVE_BACKUP || !a->swap)
			break;
		a->dev->shrink_off = false;
		tp_trigger_scan(a->dev, &s);
		a->dev->shrink_off = true;
		tp_check(a->run, s.ret == SHRINK_STOP || s.ret <= s.scanned,
			 "%s: %ld freed of %lu scanned", a->when, (long)s.ret, s.scanned);
		break;
	case TP_SWAP:
		/* Two that stay in the bulk move would be gone. */
		if (a->owner)
			break;
		ret = ttm_device_swapout(&a->dev->bdev, &ctx, GFP_KERNEL);
		tp_check(a->run, ret >= 0, "%s: got %d", a->when, ret);
		break;
	case TP_AGAIN:
		if (a->pinned == a->bos[i])
			break;
		tp_bo_idle(a->bos[i]);
		tp_bo_put(a->bos[i]);
		tp_any_make(a, i);
		break;
	case TP_EVICT_ALL:
		/* Before 6.15 it takes pinned objects for others. */
		if (!TP_HAVE_BACKUP && a->pinned)
			break;
		tp_any_idle(a);
		tp_eq(a->run, ttm_resource_manager_evict_all(&a->dev->bdev, vram), 0,
		      "%s", a->when);
		break;
	default:
		break;
	}
}

static void tp_any_look(struct tp_any *a, struct tp_bo *bo)
{
	struct tp_run *run = a->run;

	tp_lru_check(run, a->dev, a->when);
	tp_balance(run, a->when);
	if (TP_HAVE_BACKUP && a->owner) {
		tp_bo_lock(a->owner);
		tp_bulk_check(run, a->dev, &a->dev->bulk, a->when);
		tp_bo_unlock(a->owner);
	}
	tp_bo_lock(bo);
	if (tp_any_real(bo)) {
		tp_populated(run, bo, a->when);
		tp_bo_verify(run, bo, a->when);
	} else {
		tp_lru_expect(run, bo, a->when);
		/* Without a place there may be pages: a move failed that was to give one. */
		if (bo->base.ttm)
			tp_eq(run, to_tp_tt(bo->base.ttm)->accounted,
			      ttm_tt_is_populated(bo->base.ttm),
			      "%s: object %u is counted as populated", a->when, bo->id);
	}
	tp_bo_unlock(bo);
}

static bool tp_any_start(struct tp_any *a, bool grouped)
{
	struct tp_bo_args args = {
		.size = SZ_4K, .caching = ttm_cached, .watermark = true,
	};
	int i;

	if (grouped) {
		a->owner = tp_bo_new(a->dev, &args, NULL);
		if (!a->owner)
			return false;
		args.resv = a->owner->base.base.resv;
		args.bulk = &a->dev->bulk;
		tp_bo_lock(a->owner);
		for (i = 0; i < ARRAY_SIZE(a->stay); i++) {
			args.in_system = !i;
			a->stay[i] = tp_bo_new(a->dev, &args, NULL);
		}
		tp_bo_unlock(a->owner);
		if (!a->stay[0] || !a->stay[1])
			return false;
	}
	for (i = 0; i < TP_ANY_BOS; i++)
		if (!tp_any_make(a, i))
			return false;
	return true;
}

/* Everything is back, whole, and then freed as it is. */
static void tp_any_end(struct tp_any *a)
{
	struct tp_run *run = a->run;
	int i;

	tp_any_idle(a);
	snprintf(a->when, sizeof(a->when), "at the end");
	for (i = 0; i < TP_ANY_BOS; i++) {
		struct tp_bo *bo = a->bos[i];

		if (!bo)
			continue;
		tp_bo_lock(bo);
		tp_any_unpin(bo);
		if (!run->failed && i % 3) {
			tp_eq(run, tp_bo_validate(bo, TTM_PL_TT, NULL), 0, "to TT at the end");
			tp_any_populate(a, bo);
		}
		tp_bo_unlock(bo);
		if (!run->failed)
			tp_any_look(a, bo);
	}
	for (i = 0; i < TP_ANY_BOS; i++)
		tp_bo_put(a->bos[i]);
	for (i = 0; i < ARRAY_SIZE(a->stay); i++)
		tp_bo_put(a->stay[i]);
	if (TP_HAVE_BACKUP)
		tp_bulk_check(run, a->dev, &a->dev->bulk, "all freed");
	tp_bo_put(a->owner);
}

static void tp_any_order(struct tp_run *run, bool grouped)
{
	static const struct tp_dev_args dargs = { .vram = TP_ANY_VRAM };
	struct tp_any *a = kzalloc(sizeof(*a), GFP_KERNEL);
	int step, op, i, ops = 0;

	if (!tp_check(run, a, "no memory for the case"))
		return;
	a->run = run;
	a->swap = TP_HAVE_BACKUP && get_nr_swap_pages() > 4096;
	a->dev = tp_dev_new(run, &dargs);
	if (!a->dev)
		goto out;
	a->dev->shrink_off = true;
	if (!tp_any_start(a, grouped))
		goto out_end;
	for (step = 0; step < TP_ANY_STEPS && !run->failed; step++) {
		i = tp_rand(run, TP_ANY_BOS);
		op = tp_rand(run, TP_OPS);
		snprintf(a->when, sizeof(a->when), "step %d, object %u, %s", step, a->bos[i]->id,
			 tp_any_names[op]);
		/* Moves by the CPU wait for the object, up to 15 s: not for what nobody ends. */
		if (op == TP_TO_TT || op == TP_TO_SYSTEM || op == TP_TO_VRAM ||
		    op == TP_MOVE_FAILS || op == TP_PIPELINE)
			tp_any_idle(a);
		tp_bo_lock(a->bos[i]);
		tp_any_one(a, op, a->bos[i]);
		tp_bo_unlock(a->bos[i]);
		tp_any_all(a, op, i);
		if (!a->bos[i])
			break;
		tp_any_look(a, a->bos[i]);
		a->done[op]++;
	}
	for (op = 0; op < TP_OPS; op++)
		ops += a->done[op] > 0;
	tp_check(run, run->failed || ops == TP_OPS,
		 "%d of %d operations had their turn", ops, TP_OPS);
	tp_metric(run, grouped ? "steps_grouped" : "steps", step);
out_end:
	tp_any_end(a);
	tp_dev_free(run, a->dev);
out:
	kfree(a);
}

static void case_any_order(struct tp_run *run)
{
	tp_any_order(run, false);
	if (TP_HAVE_BACKUP && !run->failed)
		tp_any_order(run, true);
}

/* ---- populate() that fails, after all that can have been before ---- */

enum tp_before {
	TP_WAS_NEW, TP_WAS_SWAPPED, TP_WAS_GUTTED, TP_WAS_BACKED, TP_BEFORES,
};

/* Brings a populated object into that state, without pages; whether there is such a thing. */
static bool tp_before_is(struct tp_run *run, struct tp_bo *bo, enum tp_before before)
{
	struct ttm_operation_ctx ctx = { };
	struct ttm_placement none = { };

	switch (before) {
	case TP_WAS_SWAPPED:
		if (!bo->args.watermark)
			return false;
		tp_bo_unlock(bo);
		tp_eq(run, ttm_device_swapout(&bo->dev->bdev, &ctx, GFP_KERNEL), bo->nr, "pages");
		tp_bo_lock(bo);
		return true;
	case TP_WAS_BACKED:
		/* Purged and refused: suspect_g_refused; with attributes: suspect_e_again. */
		if (bo->args.watermark || !TP_HAVE_BACKUP || get_nr_swap_pages() < 4096 ||
		    bo->args.caching != ttm_cached)
			return false;
		tp_eq(run, tp_bo_backup(&bo->base, NULL, false, false, true), bo->nr, "pages");
		return true;
	case TP_WAS_GUTTED:
		tp_eq(run, ttm_bo_validate(&bo->base, &none, &ctx), 0, "gutting");
		tp_eq(run, tp_bo_validate(bo, TTM_PL_SYSTEM, NULL), 0, "to SYSTEM");
		bo->key = 0;
		return true;
	default:
		return false;
	}
}

static void tp_populate_fails(struct tp_run *run, struct tp_dev *dev, enum tp_before before,
			      struct tp_bo_args *args, int nth)
{
	struct tp_bo *bo = tp_bo_new(dev, args, NULL);
	struct tp_snap was;
	char when[48];
	int ret;

	if (!bo)
		return;
	snprintf(when, sizeof(when), "populate %d fails at mapping %d", before, nth);
	tp_bo_lock(bo);
	if (before != TP_WAS_NEW) {
		tp_eq(run, tp_bo_populate(bo, NULL), 0, "populate");
		tp_bo_fill(bo, run->k.seed + bo->id);
		if (!tp_before_is(run, bo, before))
			goto out;
	}
	tp_snap_take(bo, &was);
	tp_dma_fail_nth(nth);
	ret = tp_bo_populate(bo, NULL);
	tp_dma_fail_nth(0);
	if (ret) {
		tp_eq(run, ret, -EFAULT, "%s", when);
		tp_snap_same(run, bo, &was, when);
		tp_check(run, !to_tp_tt(bo->base.ttm)->accounted, "%s: it is counted", when);
	}
	tp_lru_check(run, dev, when);
	tp_balance(run, when);
	tp_eq(run, tp_bo_populate(bo, NULL), 0, "%s: populate again", when);
	tp_populated(run, bo, when);
	tp_bo_verify(run, bo, when);
	/* Asked for once more, nothing happens to what is there. */
	tp_snap_take(bo, &was);
	tp_dma_fail_nth(1);
	tp_eq(run, tp_bo_populate(bo, NULL), 0, "%s: populate of what is populated", when);
	tp_dma_fail_nth(0);
	tp_snap_same(run, bo, &was, when);
	tp_balance(run, when);
out:
	tp_bo_unlock(bo);
	tp_bo_put(bo);
}

/* As many pages as the limit says, and one more. */
static void tp_limit_exact(struct tp_run *run, struct tp_dev *dev)
{
	static const char path[] = "/sys/module/ttm/parameters/pages_limit";
	struct tp_bo_args args = { .size = SZ_64K, .caching = ttm_cached, .watermark = true };
	struct tp_bo *bos[3] = { };
	char old[24];
	int i, n;

	snprintf(old, sizeof(old), "%lu", ttm_tt_pages_limit());
	if (tp_sysfs_write(path, "32")) {
		tp_skip(run, "needs the parameter pages_limit of ttm");
		return;
	}
	n = atomic_read(&dev->swap_notifies);
	for (i = 0; i < 2; i++)
		bos[i] = tp_bo_new(dev, &args, NULL);
	tp_eq(run, atomic_read(&dev->swap_notifies) - n, 0, "swapouts at the limit");
	args.size = SZ_4K;
	bos[2] = tp_bo_new(dev, &args, NULL);
	tp_eq(run, atomic_read(&dev->swap_notifies) - n, 1, "swapouts one page beyond it");
	for (i = 0; i < 3; i++)
		tp_bo_put(bos[i]);
	tp_sysfs_write(path, old);
}

static void case_populate_refused(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	int before, k, nth;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (before = 0; before < TP_BEFORES; before++) {
		for (k = 0; k < 6; k++) {
			struct tp_bo_args args = {
				.size = 13 * SZ_4K, .in_system = true, .dma = true,
				.caching = k % 3, .watermark = k < 3 || !TP_HAVE_BACKUP,
			};

			for (nth = 1; nth <= 3 && !run->failed; nth++)
				tp_populate_fails(run, dev, before, &args, nth);
		}
	}
	/* The pages of which nothing came are counted nowhere. */
	if (!run->failed)
		tp_limit_exact(run, dev);
}

const struct tp_case tp_cases_any[] = {
	{ "any_order", "I1,I6,I12,I15,I16", "moves, backups, pins, failures in any order: all holds",
	  case_any_order, TP_NEED_PAT },
	{ "populate_refused", "I6,I12,I14", "a populate that fails leaves what was there before",
	  case_populate_refused, TP_NEED_DMAOPS | TP_NEED_PAT },
	{ }
};

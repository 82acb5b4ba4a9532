// SPDX-License-Identifier: GPL-2.0-only
/* Lists, bulk moves, and the walks that go along them. */
#include <linux/kthread.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "pressure.h"

#define TP_NR	8	/* pages of an object here */

static struct tp_bo *tp_filled(struct tp_run *run, struct tp_dev *dev, struct tp_bo_args *args)
{
	args->size = args->size ?: TP_NR * SZ_4K;
	return tp_bo_filled(run, dev, args, 0);
}

#if TP_HAVE_BACKUP
/* The order of a list against the numbers expected on it. */
static void tp_order_is(struct tp_run *run, struct tp_dev *dev, int mem_type,
			unsigned int prio, const u32 *want, int n, const char *when)
{
	u32 ids[64];
	int got = tp_lru_order(dev, mem_type, prio, ids, ARRAY_SIZE(ids)), i;

	if (!tp_eq(run, got, n, "%s: objects on the list of type %d", when, mem_type))
		return;
	for (i = 0; i < n; i++)
		if (!tp_eq(run, ids[i], want[i], "%s: place %d on the list of type %d",
			   when, i, mem_type))
			return;
}

/* A walk let go of all that it came by. */
static void tp_walk_let_go(struct tp_run *run, struct tp_dev *dev, struct tp_bo **bos, int n,
			   const char *when)
{
	int i;

	for (i = 0; i < n; i++) {
		tp_check(run, !dma_resv_is_locked(bos[i]->base.base.resv),
			 "%s: object %d was left locked", when, i);
		tp_eq(run, kref_read(&bos[i]->base.kref), 1, "%s: references", when);
	}
	tp_lru_check(run, dev, when);
}

/* A cursor sees what is on the list, in order, once, and lets go of it. */
static void case_walk_once(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev_bos) = tp_dev_new(run, NULL);
	struct ttm_bo_lru_cursor curs;
	struct ttm_buffer_object *tbo;
	struct tp_bo *bos[18] = { };
	struct ttm_operation_ctx ctx = { };
	struct ttm_lru_walk_arg arg = { .ctx = &ctx, .trylock_only = true };
	u32 seen[32], want[32];
	int i, n = 0, m = 0, prio;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (i = 0; i < ARRAY_SIZE(bos); i++) {
		struct tp_bo_args args = {
			.caching = ttm_cached, .priority = i % TTM_MAX_BO_PRIORITY,
		};

		bos[i] = tp_filled(run, dev, &args);
		if (!bos[i])
			return;
	}
	/* Not to be seen: one pinned, one out, one locked. */
	tp_bo_pin(bos[4]);
	tp_bo_lock(bos[7]);
	tp_eq(run, tp_bo_backup(&bos[7]->base, NULL, false, false, false), TP_NR, "pages");
	tp_bo_unlock(bos[7]);
	tp_bo_lock(bos[9]);
	for (prio = 0; prio < TTM_MAX_BO_PRIORITY; prio++)
		for (i = 0; i < ARRAY_SIZE(bos); i++)
			if (i % TTM_MAX_BO_PRIORITY == prio && i != 4 && i != 7 && i != 9)
				want[m++] = bos[i]->id;
	ttm_bo_lru_for_each_reserved_guarded(&curs, ttm_manager_type(&dev->bdev, TTM_PL_TT),
					     &arg, tbo) {
		if (n < ARRAY_SIZE(seen))
			seen[n] = to_tp_bo(tbo)->id;
		n++;
		tp_check(run, dma_resv_is_locked(tbo->base.resv), "a walk hands out unlocked");
		tp_eq(run, kref_read(&tbo->kref), 2, "references in a walk");
		if (n > 100)
			break;
	}
	tp_bo_unlock(bos[9]);
	tp_eq(run, n, m, "objects a walk came by");
	for (i = 0; i < m && i < n; i++)
		tp_eq(run, seen[i], want[i], "object %d of the walk", i);
	tp_walk_let_go(run, dev, bos, ARRAY_SIZE(bos), "after a walk");
	/* Left early: unlocked, unreferenced, no mark left behind. */
	ttm_bo_lru_for_each_reserved_guarded(&curs, ttm_manager_type(&dev->bdev, TTM_PL_TT),
					     &arg, tbo)
		break;
	tp_walk_let_go(run, dev, bos, ARRAY_SIZE(bos), "after a walk left early");
	tp_bo_unpin(bos[4]);
}

/* Each object goes to the tail while the walk is at it: it is not met again. */
static void case_walk_tail(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev_bos) = tp_dev_new(run, NULL);
	struct ttm_buffer_object *tbo;
	struct ttm_bo_lru_cursor curs;
	struct tp_bo *bos[8] = { };
	struct ttm_operation_ctx ctx = { };
	struct ttm_lru_walk_arg arg = { .ctx = &ctx, .trylock_only = true };
	int i, n = 0;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (i = 0; i < ARRAY_SIZE(bos); i++) {
		struct tp_bo_args args = { .caching = ttm_cached };

		bos[i] = tp_filled(run, dev, &args);
		if (!bos[i])
			return;
	}
	ttm_bo_lru_for_each_reserved_guarded(&curs, ttm_manager_type(&dev->bdev, TTM_PL_TT),
					     &arg, tbo) {
		/* The first four are backed up, as a shrinker does. */
		if (n++ < 4)
			tp_eq(run, tp_bo_backup(tbo, NULL, false, false, false), TP_NR,
			      "pages backed up in a walk");
		if (n > 50)
			break;
	}
	tp_eq(run, n, 8, "objects a walk came by");
	tp_lru_check(run, dev, "after a walk that backs up");
	for (i = 0; i < 4; i++)
		tp_backed(run, bos[i], 0, "backed up in a walk");
	for (i = 0; i < 8; i++) {
		tp_bo_lock(bos[i]);
		tp_eq(run, tp_bo_populate(bos[i], NULL), 0, "restore");
		tp_bo_verify(run, bos[i], "restored");
		tp_bo_unlock(bos[i]);
	}
}

/* Seven members of a bulk move under the lock of the first object; the second is no member. */
struct tp_members {
	struct tp_dev *dev;
	struct tp_bo *bos[7];
	struct tp_bo *first, *second;
};

static bool tp_members_make(struct tp_run *run, struct tp_members *m)
{
	struct tp_bo_args plain = { .caching = ttm_cached };
	int i;

	m->first = tp_filled(run, m->dev, &plain);
	if (!m->first)
		return false;
	tp_bo_lock(m->first);
	for (i = 0; i < ARRAY_SIZE(m->bos); i++) {
		struct tp_bo_args args = {
			.caching = i & 1 ? ttm_write_combined : ttm_cached,
			.resv = m->first->base.base.resv, .bulk = &m->dev->bulk,
		};

		m->bos[i] = tp_filled(run, m->dev, &args);
	}
	tp_bo_unlock(m->first);
	m->second = tp_filled(run, m->dev, &plain);
	for (i = 0; i < ARRAY_SIZE(m->bos); i++)
		if (!m->bos[i])
			return false;
	return m->second;
}

static void tp_members_are(struct tp_run *run, struct tp_members *m, const char *when)
{
	tp_bulk_check(run, m->dev, &m->dev->bulk, when);
}

/* The member goes out, or comes back every other time; how many are in then. */
static int tp_member_out_or_back(struct tp_run *run, struct tp_members *m, struct tp_bo *bo,
				 bool back, int in)
{
	/* See suspect_bulk_empty for the last one. */
	if (ttm_tt_is_populated(bo->base.ttm) && in > 1) {
		tp_eq(run, tp_bo_backup(&bo->base, NULL, false, false, false), TP_NR,
		      "pages of a member backed up");
		tp_backed(run, bo, 0, "member backed up");
		in--;
	} else if (back && !ttm_tt_is_populated(bo->base.ttm)) {
		tp_eq(run, tp_bo_populate(bo, NULL), 0, "restore of a member");
		in++;
		tp_populated(run, bo, "member restored");
		tp_bo_verify(run, bo, "member restored");
	}
	tp_members_are(run, m, "a member went or came");
	tp_lru_check(run, m->dev, "a member went or came");
	return in;
}

/* All but one out, all back: the order of a bulk move. */
static void tp_members_in_order(struct tp_run *run, struct tp_members *m)
{
	u32 want[9] = { m->first->id, m->second->id, m->bos[6]->id };
	int i;

	if (!ttm_tt_is_populated(m->bos[6]->base.ttm))
		tp_eq(run, tp_bo_populate(m->bos[6], NULL), 0, "restore");
	for (i = 0; i < 6; i++)
		if (ttm_tt_is_populated(m->bos[i]->base.ttm))
			tp_eq(run, tp_bo_backup(&m->bos[i]->base, NULL, false, false, false),
			      TP_NR, "pages");
	tp_members_are(run, m, "one left");
	tp_order_is(run, m->dev, TTM_PL_TT, 0, want, 3, "one member left");
	for (i = 0; i < 6; i++)
		tp_eq(run, tp_bo_populate(m->bos[i], NULL), 0, "restore");
	for (i = 0; i < 6; i++)
		want[3 + i] = m->bos[i]->id;
	tp_order_is(run, m->dev, TTM_PL_TT, 0, want, 9, "all members back");
	tp_members_are(run, m, "all back");
}

static void tp_members_to_tail(struct tp_run *run, struct tp_members *m, bool first)
{
	spin_lock(&m->dev->bdev.lru_lock);
	if (first)
		ttm_bo_move_to_lru_tail(&m->first->base);
	ttm_lru_bulk_move_tail(&m->dev->bulk);
	spin_unlock(&m->dev->bdev.lru_lock);
	tp_members_are(run, m, "moved in bulk");
}

/* Pinned members are no members; set and unset while out. */
static void tp_members_come_and_go(struct tp_run *run, struct tp_members *m)
{
	struct tp_bo **bos = m->bos;

	ttm_bo_pin(&bos[2]->base);
	tp_members_are(run, m, "a member pinned");
	tp_eq(run, tp_bo_backup(&bos[1]->base, NULL, false, false, false), TP_NR, "pages");
	ttm_bo_set_bulk_move(&bos[1]->base, NULL);
	tp_members_are(run, m, "taken out while backed up");
	tp_eq(run, tp_bo_populate(bos[1], NULL), 0, "restore");
	tp_members_are(run, m, "restored, no longer a member");
	ttm_bo_set_bulk_move(&bos[1]->base, &m->dev->bulk);
	tp_members_are(run, m, "a member again");
	ttm_bo_unpin(&bos[2]->base);
	tp_members_are(run, m, "unpinned");
}

/* Members of a bulk move leave it when they go out and join it when they are back. */
static void case_bulk_backup(struct tp_run *run)
{
	static const int first[] = { 3, 0, 6 };
	struct tp_dev *dev __free(tp_dev_bos) = tp_dev_new(run, NULL);
	struct tp_members m = { .dev = dev };
	int i, k, in = 7;

	if (!dev)
		return;
	dev->shrink_off = true;
	if (!tp_members_make(run, &m))
		return;
	tp_bo_lock(m.first);
	tp_members_are(run, &m, "set up");
	/* In the middle, at the front, at the end, then at random. */
	for (k = 0; k < 24 && !run->failed; k++) {
		struct tp_bo *bo = m.bos[k < 3 ? first[k] : tp_rand(run, 7)];

		if (k > 12 && k % 4 == 0)
			tp_members_to_tail(run, &m, false);
		in = tp_member_out_or_back(run, &m, bo, k & 1, in);
	}
	tp_members_in_order(run, &m);
	tp_members_to_tail(run, &m, true);
	tp_members_come_and_go(run, &m);
	/* Freed in all states: the lists hold. */
	for (i = 0; i < ARRAY_SIZE(m.bos); i += 2)
		tp_bo_backup(&m.bos[i]->base, NULL, false, false, false);
	for (i = 0; i < ARRAY_SIZE(m.bos); i++)
		ttm_bo_set_bulk_move(&m.bos[i]->base, NULL);
	tp_bo_unlock(m.first);
	tp_put_many(m.bos, ARRAY_SIZE(m.bos));
	tp_members_are(run, &m, "members freed");
	tp_lru_check(run, dev, "members freed");
}

/*
 * Suspected from this suite's own runs: brought back into a bulk move without
 * members, or unpinned into it, an object stays where no walk sees it until the
 * next ttm_lru_bulk_move_tail().
 */
static void case_suspect_bulk_empty(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct tp_bo_args args = { .caching = ttm_cached, .bulk = &dev->bulk, .keep_locked = true };
	struct tp_bo *bo;

	if (!dev)
		return;
	dev->shrink_off = true;
	args.size = TP_NR * SZ_4K;
	bo = tp_bo_new(dev, &args, NULL);
	if (bo) {
		tp_bulk_check(run, dev, &dev->bulk, "set up");
		tp_eq(run, tp_bo_backup(&bo->base, NULL, false, false, false), TP_NR, "pages");
		tp_bulk_check(run, dev, &dev->bulk, "out");
		tp_eq(run, tp_bo_populate(bo, NULL), 0, "restore");
		tp_lru_expect(run, bo, "restored into an empty bulk move");
		tp_bulk_check(run, dev, &dev->bulk, "restored into an empty bulk move");
		ttm_bo_set_bulk_move(&bo->base, NULL);
		ttm_bo_set_bulk_move(&bo->base, &dev->bulk);
		ttm_bo_pin(&bo->base);
		ttm_bo_unpin(&bo->base);
		tp_lru_expect(run, bo, "unpinned into an empty bulk move");
		ttm_bo_set_bulk_move(&bo->base, NULL);
		ttm_bo_move_to_lru_tail_unlocked(&bo->base);
		tp_bo_unlock(bo);
		tp_bo_put(bo);
	}
}

/*
 * The same root: a walk that stands in a bulk move is taken along to the end of
 * it by ttm_lru_bulk_move_tail(). Where the last member is on the unevictable
 * list, the walk goes on there and looks for the end of another list; where it
 * finds nothing to lock, with the lock of all lists held. Here it is only asked
 * where it stands.
 */
static void case_suspect_bulk_walk(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct tp_bo_args args = { .caching = ttm_cached, .bulk = &dev->bulk, .keep_locked = true };
	struct ttm_operation_ctx ctx = { .no_wait_gpu = true };
	struct ttm_lru_walk_arg arg = { .ctx = &ctx, .trylock_only = true };
	struct tp_bo *here, *out = NULL;
	struct ttm_buffer_object *bo;
	struct ttm_bo_lru_cursor curs;
	bool stood = false;

	if (!dev)
		return;
	dev->shrink_off = true;
	args.size = TP_NR * SZ_4K;
	here = tp_bo_new(dev, &args, NULL);
	if (!tp_check(run, here, "no object"))
		return;
	args.resv = here->base.base.resv;
	out = tp_bo_new(dev, &args, NULL);
	if (tp_check(run, out, "no second object"))
		tp_eq(run, tp_bo_backup(&out->base, NULL, false, false, false), TP_NR, "pages");
	tp_bo_unlock(here);
	ttm_bo_lru_for_each_reserved_guarded(&curs, ttm_manager_type(&dev->bdev, TTM_PL_TT),
					     &arg, bo) {
		if (!out || bo != &here->base)
			continue;
		/* The one member goes, the other comes back, and all are moved. */
		tp_eq(run, tp_bo_backup(bo, NULL, false, false, false), TP_NR, "pages");
		tp_eq(run, tp_bo_populate(out, NULL), 0, "restore");
		spin_lock(&dev->bdev.lru_lock);
		ttm_lru_bulk_move_tail(&dev->bulk);
		spin_unlock(&dev->bdev.lru_lock);
		tp_eq(run, tp_lru_where(&dev->bdev, &curs.res_curs.hitch, 0), TTM_PL_TT,
		      "the list on which the walk goes on");
		stood = true;
		break;
	}
	tp_check(run, stood, "the walk did not come to the one member");
	tp_bo_put(out);
	tp_bo_put(here);
}

/* The shrinker walks along a bulk move. */
static void case_bulk_scan(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct tp_bo *bos[6] = { }, *owner;
	struct tp_bo_args plain = { .caching = ttm_cached };
	struct tp_scan s = { .gfp = GFP_KERNEL, .nr = TP_NR };
	int i, n;

	if (!dev)
		return;
	dev->shrink_off = true;
	owner = tp_filled(run, dev, &plain);
	if (!owner)
		return;
	tp_bo_lock(owner);
	ttm_bo_pin(&owner->base);
	for (i = 0; i < ARRAY_SIZE(bos); i++) {
		struct tp_bo_args args = {
			.caching = ttm_write_combined, .resv = owner->base.base.resv,
			.bulk = &dev->bulk, .dma = true,
		};

		bos[i] = tp_filled(run, dev, &args);
	}
	tp_bo_unlock(owner);
	dev->shrink_off = false;
	for (n = 1; n <= 6 && !run->failed; n++) {
		dev->max_visits = 0;
		tp_trigger_scan(dev, &s);
		tp_eq(run, s.ret, TP_NR, "pages freed by scan %d along a bulk move", n);
		tp_check(run, dev->max_visits <= 1, "an object was visited twice in a walk");
		tp_bo_lock(owner);
		tp_bulk_check(run, dev, &dev->bulk, "after a scan");
		tp_lru_check(run, dev, "after a scan");
		tp_bo_unlock(owner);
	}
	tp_trigger_scan(dev, &s);
	tp_eq(run, s.ret, SHRINK_STOP, "scan when all is out");
	tp_bo_lock(owner);
	for (i = 0; i < ARRAY_SIZE(bos); i++) {
		if (!bos[i])
			continue;
		tp_backed(run, bos[i], 0, "scanned");
		tp_eq(run, tp_bo_validate(bos[i], TTM_PL_TT, NULL), 0, "restore");
		tp_populated(run, bos[i], "restored");
		tp_bo_verify(run, bos[i], "restored");
		tp_bulk_check(run, dev, &dev->bulk, "restored");
	}
	for (i = 0; i < ARRAY_SIZE(bos); i++)
		if (bos[i])
			ttm_bo_set_bulk_move(&bos[i]->base, NULL);
	ttm_bo_unpin(&owner->base);
	tp_bo_unlock(owner);
	tp_put_many(bos, ARRAY_SIZE(bos));
	tp_bulk_check(run, dev, &dev->bulk, "freed");
	tp_bo_put(owner);
}
#else
#define case_walk_once	NULL
#define case_walk_tail	NULL
#define case_bulk_backup	NULL
#define case_bulk_scan	NULL
#define case_suspect_bulk_empty	NULL
#define case_suspect_bulk_walk	NULL
#endif

/* ---- TTM's own swapout, on all kernels ---- */

static void tp_swapped(struct tp_run *run, struct tp_bo *bo, const char *when)
{
	struct ttm_tt *tt = bo->base.ttm;
	pgoff_t i;

	tp_check(run, !ttm_tt_is_populated(tt), "%s: object %u is still populated", when, bo->id);
	tp_check(run, tt->page_flags & TTM_TT_FLAG_SWAPPED, "%s: object %u is not marked swapped",
		 when, bo->id);
	tp_check(run, tt->swap_storage, "%s: object %u has no swap storage", when, bo->id);
	tp_check(run, !to_tp_tt(tt)->accounted, "%s: object %u is still counted", when, bo->id);
	for (i = 0; tt->swap_storage && i < bo->nr; i++)
		if (!tp_copy_check(run, bo, tt->swap_storage, i, i, when))
			break;
	if (tt->swap_storage)
		tp_eq(run, SHMEM_I(file_inode(tt->swap_storage))->alloced, bo->nr,
		      "%s: object %u, pages in its swap storage", when, bo->id);
	tp_eq(run, bo->base.resource->mem_type, TTM_PL_SYSTEM, "%s: object %u, memory type",
	      when, bo->id);
	tp_lru_expect(run, bo, when);
}

/* Busy, and nobody may wait, or locked: left alone. How many were swapped out at last. */
static int tp_swapout_in_use(struct tp_run *run, struct tp_dev *dev)
{
	struct tp_bo_args args = { .caching = ttm_cached, .watermark = true, .in_system = true };
	struct ttm_operation_ctx nowait = { .no_wait_gpu = true }, ctx = { };
	struct tp_bo *bo = tp_filled(run, dev, &args);

	if (!bo)
		return 0;
	tp_bo_lock(bo);
	tp_bo_busy(bo);
	tp_bo_unlock(bo);
	tp_eq(run, ttm_device_swapout(&dev->bdev, &nowait, GFP_KERNEL), 0,
	      "swapout of a busy object without waiting");
	tp_populated(run, bo, "busy");
	tp_bo_verify(run, bo, "busy");
	tp_bo_idle(bo);
	tp_bo_lock(bo);
	tp_eq(run, ttm_device_swapout(&dev->bdev, &ctx, GFP_KERNEL), 0,
	      "swapout of a locked object");
	tp_bo_unlock(bo);
	tp_eq(run, ttm_device_swapout(&dev->bdev, &nowait, GFP_KERNEL), bo->nr,
	      "swapout of an object that is idle again");
	tp_bo_put(bo);
	return 1;
}

static void case_swapout(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev_bos) = tp_dev_new(run, NULL);
	struct tp_bo *bos[8] = { };
	struct tp_witness *w;
	struct ttm_operation_ctx ctx = { };
	int i, ret, n;

	if (!dev)
		return;
	tp_eq(run, ttm_device_swapout(&dev->bdev, &ctx, GFP_KERNEL), 0, "swapout of nothing");
	n = tp_swapout_in_use(run, dev);
	for (i = 0; i < ARRAY_SIZE(bos); i++) {
		struct tp_bo_args args = {
			.caching = i % 3, .dma = i & 1, .watermark = i != 6,
			.in_system = i & 4, .size = (3 + i) * SZ_4K,
		};

		bos[i] = tp_filled(run, dev, &args);
		if (!bos[i])
			return;
		if (i == 7)
			tp_bo_pin(bos[i]);
	}
	/* SYSTEM first, then TT; one object at a time; 6 is not TTM's, 7 is pinned. */
	for (i = 0; i < 6; i++) {
		struct tp_bo *bo = bos[(i + 4) % 6];

		w = tp_witness_of(run, bo);
		ret = ttm_device_swapout(&dev->bdev, &ctx, GFP_KERNEL);
		tp_eq(run, ret, bo->nr, "pages swapped out by call %d", i);
		tp_swapped(run, bo, "swapped out");
		tp_witness_given(run, w, bo->args.caching, "swapped out");
		tp_witness_drop(w);
		bo->witness = NULL;
		tp_balance(run, "swapped out");
		tp_lru_check(run, dev, "swapped out");
		n++;
	}
	tp_eq(run, atomic_read(&dev->swap_notifies), n, "objects announced as swapped out");
	tp_eq(run, ttm_device_swapout(&dev->bdev, &ctx, GFP_KERNEL), 0, "swapout when all is out");
	tp_populated(run, bos[6], "external");
	tp_populated(run, bos[7], "pinned");
	for (i = 0; i < ARRAY_SIZE(bos); i++) {
		tp_bo_lock(bos[i]);
		tp_check(run, !dma_resv_trylock(bos[i]->base.base.resv), "a lock was lost");
		tp_eq(run, tp_bo_populate(bos[i], NULL), 0, "swapin of object %d", i);
		tp_populated(run, bos[i], "swapped in");
		tp_bo_verify(run, bos[i], "swapped in");
		if (i == 7)
			ttm_bo_unpin(&bos[i]->base);
		tp_bo_unlock(bos[i]);
	}
	tp_balance(run, "swapped in");
	tp_lru_check(run, dev, "swapped in");
	/* Freed when out. */
	for (i = 0; i < 3; i++)
		tp_check(run, ttm_device_swapout(&dev->bdev, &ctx, GFP_KERNEL) > 0,
			 "nothing was swapped out");
}

static struct tp_bo *tp_hibernating(struct tp_run *run, struct tp_dev *dev,
				    struct tp_bo *owner, int i)
{
	struct tp_bo_args args = {
		.caching = i % 3, .watermark = true,
		.resv = owner->base.base.resv, .bulk = &dev->bulk,
	};

	return tp_filled(run, dev, &args);
}

static void tp_hibernate(struct tp_run *run, struct tp_dev *dev)
{
#if TP_HAVE_BACKUP
	tp_eq(run, ttm_device_prepare_hibernation(&dev->bdev), 0, "prepare for hibernation");
#else
	struct ttm_operation_ctx ctx = { };
	int i;

	for (i = 0; i < 100; i++)
		if (ttm_device_swapout(&dev->bdev, &ctx, GFP_KERNEL) <= 0)
			break;
	tp_check(run, i < 100, "swapout does not end");
#endif
}

/* Some are freed while out, more are made. */
static void tp_hibernating_new(struct tp_run *run, struct tp_dev *dev, struct tp_bo *owner,
			       struct tp_bo **bos, int n)
{
	int i;

	for (i = 0; i < n; i += 3) {
		if (!bos[i])
			continue;
		ttm_bo_set_bulk_move(&bos[i]->base, NULL);
		tp_bo_put(bos[i]);
		bos[i] = NULL;
	}
	if (TP_HAVE_BACKUP)
		tp_bulk_check(run, dev, &dev->bulk, "some were freed");
	for (i = 0; i < n; i += 3)
		bos[i] = tp_hibernating(run, dev, owner, i);
	tp_lru_check(run, dev, "more were made");
}

/* To TT, with a new resource; see suspect_bulk_empty. */
static void tp_hibernated(struct tp_run *run, struct tp_bo *bo)
{
	if (!bo)
		return;
	tp_eq(run, tp_bo_validate(bo, TTM_PL_TT, NULL), 0, "swapin");
	tp_populated(run, bo, "after hibernation");
	tp_bo_verify(run, bo, "after hibernation");
}

/* Everything out at once, as before hibernation. */
static void case_hibernation(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct tp_bo *bos[12] = { }, *owner, *busy;
	struct tp_bo_args plain = { .caching = ttm_cached, .watermark = true };
	struct tp_later later;
	int i;

	if (!dev)
		return;
	owner = tp_filled(run, dev, &plain);
	if (!owner)
		return;
	tp_bo_lock(owner);
	for (i = 0; i < ARRAY_SIZE(bos); i++)
		bos[i] = tp_hibernating(run, dev, owner, i);
	tp_bo_unlock(owner);
	/* Busy for a moment: that is waited for. */
	busy = tp_filled(run, dev, &plain);
	if (busy) {
		tp_bo_lock(busy);
		tp_bo_busy(busy);
		tp_bo_unlock(busy);
		tp_later_idle(&later, busy, HZ / 5);
	}
	tp_hibernate(run, dev);
	if (busy) {
		tp_later_end(&later);
		tp_bo_lock(busy);
		tp_swapped(run, busy, "for hibernation, busy at first");
		tp_bo_unlock(busy);
		tp_bo_put(busy);
	}
	tp_bo_lock(owner);
	tp_swapped(run, owner, "for hibernation");
	for (i = 0; i < ARRAY_SIZE(bos); i++)
		if (bos[i])
			tp_swapped(run, bos[i], "for hibernation");
	tp_balance(run, "for hibernation");
	tp_lru_check(run, dev, "for hibernation");
	if (TP_HAVE_BACKUP)
		tp_bulk_check(run, dev, &dev->bulk, "for hibernation");
	tp_hibernating_new(run, dev, owner, bos, ARRAY_SIZE(bos));
	/* The rest comes back. */
	for (i = 0; i < ARRAY_SIZE(bos); i++)
		tp_hibernated(run, bos[i]);
	if (TP_HAVE_BACKUP)
		tp_bulk_check(run, dev, &dev->bulk, "all back");
	spin_lock(&dev->bdev.lru_lock);
	ttm_lru_bulk_move_tail(&dev->bulk);
	spin_unlock(&dev->bdev.lru_lock);
	tp_lru_check(run, dev, "moved in bulk");
	for (i = 0; i < ARRAY_SIZE(bos); i++)
		if (bos[i])
			ttm_bo_set_bulk_move(&bos[i]->base, NULL);
	tp_bo_unlock(owner);
	tp_put_many(bos, ARRAY_SIZE(bos));
	tp_bo_put(owner);
}

#define TP_WALKS	40

/* A swapout that finds no memory: the walk ends, all stay where they are. */
static void case_oom_swapout(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct tp_bo *bos[5] = { }, *owner;
	struct tp_bo_args plain = { .caching = ttm_cached, .watermark = true, .in_system = true };
	struct ttm_operation_ctx ctx = { };
	u64 before;
	int i, ret;

	if (!dev)
		return;
	owner = tp_filled(run, dev, &plain);
	if (!owner)
		return;
	tp_bo_lock(owner);
	for (i = 0; i < ARRAY_SIZE(bos); i++) {
		struct tp_bo_args args = {
			.caching = i % 3, .watermark = true, .in_system = true,
			.resv = owner->base.base.resv, .bulk = &dev->bulk,
		};

		bos[i] = tp_filled(run, dev, &args);
	}
	tp_bo_unlock(owner);
	before = tp_lru_hash(dev);
	atomic_set(&dev->swap_notifies, 0);
	dev->most_notifies = TP_WALKS * (ARRAY_SIZE(bos) + 1);
	tp_make_fail(true);
	/* So many times over the six of them: files that are lost add up. */
	for (i = 0; i < TP_WALKS; i++) {
		ret = ttm_device_swapout(&dev->bdev, &ctx, GFP_KERNEL);
		if (ret)
			break;
	}
	tp_make_fail(false);
	tp_check(run, atomic_read(&dev->swap_notifies) <= dev->most_notifies,
		 "a walk met objects again whose swapout had failed");
	if (ret > 0 && !run->failed) {
		tp_skip(run, "needs fail_page_alloc armed for the task (min-order 0)");
	} else if (ret <= 0) {
		tp_eq(run, ret, 0, "swapout without any memory");
		if (TP_HAVE_BACKUP)
			tp_check(run, tp_lru_hash(dev) == before,
				 "failed swapouts moved an object");
	}
	tp_bo_lock(owner);
	tp_bulk_check(run, dev, &dev->bulk, "after failed swapouts");
	tp_lru_check(run, dev, "after failed swapouts");
	for (i = 0; i < ARRAY_SIZE(bos) && ret <= 0; i++) {
		if (!bos[i])
			continue;
		tp_populated(run, bos[i], "after failed swapouts");
		tp_bo_verify(run, bos[i], "after failed swapouts");
	}
	for (i = 0; i < ARRAY_SIZE(bos); i++)
		if (bos[i])
			ttm_bo_set_bulk_move(&bos[i]->base, NULL);
	tp_bo_unlock(owner);
	tp_put_many(bos, ARRAY_SIZE(bos));
	tp_bo_put(owner);
}

#define NS (TP_NEED_BACKUP | TP_NEED_SWAP)

const struct tp_case tp_cases_lru[] = {
	{ "walk_once", "I15,I16", "a walk sees each object once, in order, and lets go of it",
	  case_walk_once, NS },
	{ "walk_tail", "I15", "objects backed up in a walk are not met again", case_walk_tail, NS },
	{ "bulk_backup", "I15", "members of a bulk move go out and come back", case_bulk_backup,
	  NS },
	{ "bulk_scan", "I7,I15", "scans along a bulk move", case_bulk_scan, NS },
	{ "suspect_bulk_empty", "I15", "an object back in an empty bulk move is on a list of walks",
	  case_suspect_bulk_empty, NS | TP_HIDDEN },
	{ "suspect_bulk_walk", "I15", "a walk along a bulk move that was empty goes on where it was",
	  case_suspect_bulk_walk, NS | TP_HIDDEN },
	{ "swapout", "I1,I14,I15,I16", "TTM's own swapout, one object a call", case_swapout,
	  TP_NEED_PAT },
	{ "hibernation", "I1,I15", "all out at once, some freed, all back", case_hibernation, 0 },
	{ "oom_swapout", "I7,I15", "swapout without any memory: walks end, nothing moves",
	  case_oom_swapout, TP_NEED_FAULT | TP_ARM_TASK },
	{ }
};

// SPDX-License-Identifier: GPL-2.0-only
/* Where an object is on the lists that walks go along. */
#include <linux/dma-resv.h>

#include "pressure.h"

static bool tp_on(struct list_head *head, struct ttm_lru_item *wanted)
{
	struct ttm_lru_item *item;

	list_for_each_entry(item, head, link)
		if (item == wanted)
			return true;
	return false;
}

/* The memory type whose list it is on, or TP_LRU_UNEVICTABLE, or TP_LRU_NONE. */
int tp_lru_where(struct ttm_device *bdev, struct ttm_lru_item *item, unsigned int priority)
{
	int i, where = TP_LRU_NONE;

	spin_lock(&bdev->lru_lock);
	if (tp_on(tp_unevictable(bdev), item))
		where = TP_LRU_UNEVICTABLE;
	for (i = 0; i < TTM_NUM_MEM_TYPES && where == TP_LRU_NONE; i++) {
		struct ttm_resource_manager *man = ttm_manager_type(bdev, i);

		if (man && tp_on(&man->lru[priority], item))
			where = i;
	}
	spin_unlock(&bdev->lru_lock);
	return where;
}

static bool tp_should_hide(struct ttm_buffer_object *bo)
{
	if (bo->pin_count)
		return true;
	return TP_HAVE_BACKUP && bo->ttm && tp_tt_swapped(bo->ttm);
}

void tp_lru_expect(struct tp_run *run, struct tp_bo *bo, const char *when)
{
	int want = TP_LRU_NONE, where = TP_LRU_NONE;

	/* Before 6.15 a pinned object stays where it is until it is moved next. */
	if (!TP_HAVE_BACKUP && bo->base.pin_count)
		return;
	if (bo->base.resource) {
		want = tp_should_hide(&bo->base) ? TP_LRU_UNEVICTABLE :
		       (int)bo->base.resource->mem_type;
		where = tp_lru_where(&bo->dev->bdev, &bo->base.resource->lru, bo->base.priority);
	}
	tp_eq(run, where, want, "%s: object %u, the list it is on", when, bo->id);
}

static bool tp_list_sane(struct tp_run *run, struct list_head *head, unsigned int max,
			 const char *when)
{
	struct list_head *at;
	unsigned int n = 0;

	for (at = head; n <= max; at = at->next, n++) {
		if (!tp_check(run, at->next->prev == at, "%s: a list of TTM is torn", when))
			return false;
		if (at->next == head)
			return true;
	}
	tp_bug(run, "%s: a list of TTM does not end", when);
	return false;
}

/*
 * Whether the object is hidden where it should not be, or the other way round. One that is being
 * freed loses its pages before its place (ttm_bo_cleanup_memtype_use()), by whoever holds its
 * reservation: what is in the middle of that cannot be judged. It leaves the list under lru_lock,
 * which the caller holds.
 */
static bool tp_mishidden(struct ttm_buffer_object *bo, bool hidden)
{
	bool freed = bo->deleted || !kref_read(&bo->kref);
	bool wrong;

	if (freed && !dma_resv_trylock(bo->base.resv))
		return false;
	wrong = tp_should_hide(bo) != hidden;
	if (freed)
		dma_resv_unlock(bo->base.resv);
	return wrong;
}

/* All lists of a device that nobody is walking along. */
void tp_lru_check(struct tp_run *run, struct tp_dev *dev, const char *when)
{
	struct ttm_device *bdev = &dev->bdev;
	unsigned int hitches = 0, wrong = 0, seen = 0, bos = 0, max = 64;
	u64 usage[TTM_NUM_MEM_TYPES] = { };
	struct tp_bo *bo;
	int i;

	spin_lock(&dev->lock);
	list_for_each_entry(bo, &dev->bos, link) {
		max += 2;
		bos += bo->base.resource ? 1 : 0;
	}
	spin_unlock(&dev->lock);
	spin_lock(&bdev->lru_lock);
	for (i = -1; i < TTM_NUM_MEM_TYPES; i++) {
		struct ttm_resource_manager *man = i < 0 ? NULL : ttm_manager_type(bdev, i);
		unsigned int prio;

		if (i >= 0 && !man)
			continue;
		for (prio = 0; prio < (i < 0 ? 1 : TTM_MAX_BO_PRIORITY); prio++) {
			struct list_head *head = i < 0 ? tp_unevictable(bdev) : &man->lru[prio];
			struct ttm_lru_item *item;

			if (!tp_list_sane(run, head, max, when))
				goto out;
			list_for_each_entry(item, head, link) {
				struct ttm_resource *res;
				bool hidden = i < 0;

				if (!ttm_lru_item_is_res(item)) {
					hitches++;
					continue;
				}
				res = ttm_lru_item_to_res(item);
				usage[res->mem_type] += res->size;
				seen++;
				if (res->bo->resource != res ||
				    (!hidden && res->mem_type != i) ||
				    (!hidden && res->bo->priority != prio) ||
				    (TP_HAVE_BACKUP && tp_mishidden(res->bo, hidden)))
					wrong++;
			}
		}
	}
	/* What has a place is on some list from its beginning to its end. */
	for (i = 0; i < TTM_NUM_MEM_TYPES; i++)
		if (ttm_manager_type(bdev, i))
			tp_eq(run, ttm_manager_type(bdev, i)->usage, usage[i],
			      "%s: bytes in use of manager %d against what is on the lists",
			      when, i);
out:
	spin_unlock(&bdev->lru_lock);
	tp_eq(run, hitches, 0, "%s: marks of walks left on the lists", when);
	tp_eq(run, wrong, 0, "%s: objects on a list they do not belong to", when);
	/* Deleted objects that wait for a fence are no longer ours. */
	tp_check(run, seen >= bos, "%s: %u of %u objects are on no list", when, bos - seen, bos);
}

/* A bulk move covers exactly its evictable members, in one stretch. */
void tp_bulk_check(struct tp_run *run, struct tp_dev *dev, struct ttm_lru_bulk_move *bulk,
		   const char *when)
{
	unsigned int t, prio;

	spin_lock(&dev->bdev.lru_lock);
	tp_check(run, list_empty(&bulk->cursor_list),
		 "%s: a walk is still attached to the bulk move", when);
	for (t = 0; t < TTM_NUM_MEM_TYPES; t++) {
		for (prio = 0; prio < TTM_MAX_BO_PRIORITY; prio++) {
			struct ttm_lru_bulk_move_pos *pos = &bulk->pos[t][prio];
			unsigned int members = 0, range = 0, foreign = 0;
			struct ttm_lru_item *item;
			bool in = false, closed = false;
			struct tp_bo *bo;

			spin_lock(&dev->lock);
			list_for_each_entry(bo, &dev->bos, link)
				members += bo->base.bulk_move == bulk && bo->base.resource &&
					   bo->base.resource->mem_type == t &&
					   bo->base.priority == prio &&
					   !tp_should_hide(&bo->base);
			spin_unlock(&dev->lock);
			tp_check(run, !pos->first == !pos->last,
				 "%s: a bulk move has one end only", when);
			if (!pos->first) {
				tp_eq(run, 0, members, "%s: members of the bulk move", when);
				continue;
			}
			if (!tp_check(run, ttm_manager_type(&dev->bdev, t),
				      "%s: a bulk move in a memory type without manager", when))
				continue;
			list_for_each_entry(item, &ttm_manager_type(&dev->bdev, t)->lru[prio],
					    link) {
				struct ttm_resource *res;

				if (!ttm_lru_item_is_res(item))
					continue;
				res = ttm_lru_item_to_res(item);
				if (res == pos->first)
					in = true;
				if (in) {
					range++;
					foreign += res->bo->bulk_move != bulk;
				}
				if (res == pos->last) {
					closed = in;
					in = false;
				}
			}
			tp_check(run, closed, "%s: the ends of a bulk move are not on the list",
				 when);
			tp_eq(run, foreign, 0, "%s: strangers inside the bulk move", when);
			tp_eq(run, range, members, "%s: members of the bulk move", when);
		}
	}
	spin_unlock(&dev->bdev.lru_lock);
}

/* Changes when any list changes its order or its members. */
u64 tp_lru_hash(struct tp_dev *dev)
{
	struct ttm_device *bdev = &dev->bdev;
	u64 hash = 7;
	int i;

	spin_lock(&bdev->lru_lock);
	for (i = -1; i < TTM_NUM_MEM_TYPES; i++) {
		struct ttm_resource_manager *man = i < 0 ? NULL : ttm_manager_type(bdev, i);
		unsigned int prio;

		if (i >= 0 && !man)
			continue;
		for (prio = 0; prio < (i < 0 ? 1 : TTM_MAX_BO_PRIORITY); prio++) {
			struct list_head *head = i < 0 ? tp_unevictable(bdev) : &man->lru[prio];
			struct ttm_lru_item *item;

			list_for_each_entry(item, head, link)
				hash = (hash ^ (unsigned long)item) * 0x100000001b3ULL;
			hash = (hash ^ (u64)(i + 2)) * 0x100000001b3ULL;
		}
	}
	spin_unlock(&bdev->lru_lock);
	return hash;
}

static bool tp_ghost_sane(const struct ttm_buffer_object *bo)
{
	return bo->deleted && !bo->pin_count && !bo->bulk_move && kref_read(&bo->kref) == 1 &&
	       !dma_resv_is_locked(bo->base.resv) &&
	       !dma_resv_test_signaled(bo->base.resv, DMA_RESV_USAGE_BOOKKEEP);
}

int tp_lru_ghosts(struct tp_run *run, struct tp_dev *dev, const char *when)
{
	struct ttm_device *bdev = &dev->bdev;
	int i, prio, ghosts = 0, odd = 0;

	spin_lock(&bdev->lru_lock);
	for (i = 0; i < TTM_NUM_MEM_TYPES; i++) {
		struct ttm_resource_manager *man = ttm_manager_type(bdev, i);

		for (prio = 0; man && prio < TTM_MAX_BO_PRIORITY; prio++) {
			struct ttm_lru_item *item;

			list_for_each_entry(item, &man->lru[prio], link) {
				struct ttm_buffer_object *bo;

				if (!ttm_lru_item_is_res(item))
					continue;
				bo = ttm_lru_item_to_res(item)->bo;
				if (bo->base.dev && !bo->deleted)
					continue;
				ghosts++;
				odd += !tp_ghost_sane(bo);
			}
		}
	}
	spin_unlock(&bdev->lru_lock);
	tp_eq(run, odd, 0, "%s: ghosts that are locked, held, pinned or not busy", when);
	return ghosts;
}

/* Numbers of the objects on one list, in the order of a walk. */
int tp_lru_order(struct tp_dev *dev, int mem_type, unsigned int prio, u32 *ids, int max)
{
	struct ttm_device *bdev = &dev->bdev;
	struct ttm_resource_manager *man;
	struct ttm_lru_item *item;
	struct list_head *head;
	int n = 0;

	if (mem_type < 0) {
		head = tp_unevictable(bdev);
	} else {
		man = ttm_manager_type(bdev, mem_type);
		head = &man->lru[prio];
	}
	spin_lock(&bdev->lru_lock);
	list_for_each_entry(item, head, link)
		if (ttm_lru_item_is_res(item) && n < max)
			ids[n++] = to_tp_bo(ttm_lru_item_to_res(item)->bo)->id;
	spin_unlock(&bdev->lru_lock);
	return n;
}

// SPDX-License-Identifier: GPL-2.0-only
/* Walks that lock in other ways, walks along bulk moves, mappings cleared. */
#include <linux/dma-resv.h>
#include <linux/kthread.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "pressure.h"

static struct tp_bo *tp_filled(struct tp_run *run, struct tp_dev *dev, struct tp_bo_args *args)
{
	args->size = args->size ?: 8 * SZ_4K;
	return tp_bo_filled(run, dev, args, 0);
}

#if TP_HAVE_BACKUP
/* Objects under a lock the walker has: only when it says so, and still his after. */
static void case_walk_resv(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev_bos) = tp_dev_new(run, NULL);
	struct tp_bo *bos[4] = { };
	struct tp_bo_args plain = { .caching = ttm_cached };
	struct ttm_bo_lru_cursor curs;
	struct ttm_buffer_object *tbo;
	int i, allow, n;

	if (!dev)
		return;
	dev->shrink_off = true;
	bos[0] = tp_filled(run, dev, &plain);
	/* Filled under its own lock, which may not be taken under another's. */
	bos[3] = tp_filled(run, dev, &plain);
	if (!bos[0] || !bos[3])
		return;
	tp_bo_lock(bos[0]);
	for (i = 1; i < 3; i++) {
		struct tp_bo_args args = { .caching = ttm_cached, .resv = bos[0]->base.base.resv };

		bos[i] = tp_filled(run, dev, &args);
	}
	for (allow = 0; allow < 2; allow++) {
		struct ttm_operation_ctx ctx = {
			.resv = bos[0]->base.base.resv, .allow_res_evict = allow,
		};
		struct ttm_lru_walk_arg arg = { .ctx = &ctx, .trylock_only = true };

		n = 0;
		ttm_bo_lru_for_each_reserved_guarded(&curs, ttm_manager_type(&dev->bdev, TTM_PL_TT),
						     &arg, tbo)
			n++;
		tp_eq(run, n, allow ? 4 : 1, "objects of a walk, allow_res_evict=%d", allow);
		tp_check(run, dma_resv_is_locked(bos[0]->base.base.resv),
			 "a walk unlocked what it had not locked");
		tp_lru_check(run, dev, "after a walk");
	}
	tp_bo_unlock(bos[0]);
	for (i = 0; i < 4; i++)
		if (bos[i])
			tp_eq(run, kref_read(&bos[i]->base.kref), 1, "references after walks");
}

struct tp_holder {
	struct tp_bo *bo;
	struct completion locked;
	struct task_struct *walker;
	bool walking, walked;
};

/* Nothing but a lock makes a walker sleep. */
static bool tp_walker_waits(const struct tp_holder *h)
{
	if (READ_ONCE(h->walked))
		return true;
	/* Pairs with the walk: it is back from the sleep before. */
	return smp_load_acquire(&h->walking) && !task_is_running(h->walker);
}

/* Somebody else who has an object locked, until the walk waits for it or has gone past. */
static int tp_hold(void *data)
{
	struct tp_holder *h = data;

	tp_bo_lock(h->bo);
	complete(&h->locked);
	tp_wait_for(tp_walker_waits(h));
	tp_bo_unlock(h->bo);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

/* With a ticket a walk waits for a lock, once; without waiting it goes on. */
static void case_walk_ticket(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev_bos) = tp_dev_new(run, NULL);
	struct tp_bo *bos[3] = { };
	struct ttm_bo_lru_cursor curs;
	struct ttm_buffer_object *tbo;
	struct ww_acquire_ctx ticket;
	struct task_struct *task;
	int i, k, n;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (i = 0; i < 3; i++) {
		struct tp_bo_args args = { .caching = ttm_cached };

		bos[i] = tp_filled(run, dev, &args);
		if (!bos[i])
			return;
	}
	for (k = 0; k < 3; k++) {
		struct ttm_operation_ctx ctx = { .no_wait_gpu = k == 1 };
		struct ttm_lru_walk_arg arg = {
			.ctx = &ctx, .trylock_only = k == 2, .ticket = &ticket,
		};

		struct tp_holder holder = { .bo = bos[1], .walker = current };

		init_completion(&holder.locked);
		task = kthread_run(tp_hold, &holder, "ttm_pressure_h");
		if (!tp_check(run, !IS_ERR(task), "no thread"))
			break;
		tp_wait_done(&holder.locked);
		ww_acquire_init(&ticket, &reservation_ww_class);
		n = 0;
		/* Pairs with tp_walker_waits(). */
		smp_store_release(&holder.walking, true);
		ttm_bo_lru_for_each_reserved_guarded(&curs, ttm_manager_type(&dev->bdev, TTM_PL_TT),
						     &arg, tbo) {
			tp_check(run, dma_resv_is_locked(tbo->base.resv), "handed out unlocked");
			n++;
		}
		WRITE_ONCE(holder.walked, true);
		tp_check(run, !IS_ERR(tbo), "a walk ended with %ld", PTR_ERR(tbo));
		tp_eq(run, n, k ? 2 : 3, "objects of walk %d", k);
		tp_check(run, !arg.ticket == !k, "the ticket of walk %d", k);
		ww_acquire_fini(&ticket);
		kthread_stop(task);
		for (i = 0; i < 3; i++) {
			tp_check(run, !dma_resv_is_locked(bos[i]->base.base.resv),
				 "walk %d left object %d locked", k, i);
			tp_eq(run, kref_read(&bos[i]->base.kref), 1, "references after walk %d", k);
		}
	}
	tp_lru_check(run, dev, "after walks with tickets");
}

/* The whole bulk goes to the tail while a walk is inside it. */
static void case_walk_bulk(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct tp_bo *bos[7] = { }, *owner;
	struct tp_bo_args plain = { .caching = ttm_cached };
	struct ttm_operation_ctx ctx = { };
	struct ttm_bo_lru_cursor curs;
	struct ttm_buffer_object *tbo;
	int i, n = 0, k;

	if (!dev)
		return;
	dev->shrink_off = true;
	owner = tp_filled(run, dev, &plain);
	if (!owner)
		return;
	tp_bo_lock(owner);
	for (i = 0; i < 7; i++) {
		struct tp_bo_args args = {
			.caching = ttm_cached, .resv = owner->base.base.resv, .bulk = &dev->bulk,
		};

		bos[i] = tp_filled(run, dev, &args);
	}
	for (k = 0; k < 3; k++) {
		struct ttm_operation_ctx own = {
			.resv = owner->base.base.resv, .allow_res_evict = true,
		};
		struct ttm_lru_walk_arg arg = { .ctx = k ? &own : &ctx, .trylock_only = true };

		n = 0;
		ttm_bo_lru_for_each_reserved_guarded(&curs, ttm_manager_type(&dev->bdev, TTM_PL_TT),
						     &arg, tbo) {
			if (++n == 4) {
				spin_lock(&dev->bdev.lru_lock);
				ttm_lru_bulk_move_tail(&dev->bulk);
				spin_unlock(&dev->bdev.lru_lock);
			}
			if (k == 2 && n == 5 && bos[5]) {
				ttm_bo_set_bulk_move(&bos[5]->base, NULL);
				ttm_bo_set_bulk_move(&bos[5]->base, &dev->bulk);
			}
			if (n > 40)
				break;
		}
		tp_check(run, n <= 40, "a walk along a bulk move does not end");
		tp_check(run, k == 0 || n >= 8, "walk %d came by %d of 8 objects", k, n);
		/* Moved to the end of the bulk first, the walk meets all of it again. */
		if (k == 1)
			tp_eq(run, n, 11, "objects of a walk that its bulk moved under");
		tp_check(run, k || !n, "a walk came by %d locked objects", n);
		tp_lru_check(run, dev, "after a walk along a bulk move");
		tp_bulk_check(run, dev, &dev->bulk, "after a walk along a bulk move");
	}
	for (i = 0; i < 7; i++)
		if (bos[i])
			ttm_bo_set_bulk_move(&bos[i]->base, NULL);
	tp_bo_unlock(owner);
	for (i = 0; i < 7; i++)
		tp_bo_put(bos[i]);
	tp_bo_put(owner);
}

/* ttm_lru_walk_for_evict(): what its callback returns decides, and it ends. */
static s64 tp_results[16];
static int tp_results_nr, tp_calls;

static s64 tp_process(struct ttm_lru_walk *walk, struct ttm_buffer_object *bo)
{
	return tp_calls < tp_results_nr ? tp_results[tp_calls++] : 0;
}

static const struct ttm_lru_walk_ops tp_walk_ops = { .process_bo = tp_process };

static void case_walk_evict(struct tp_run *run)
{
	static const struct {
		s64 results[4];
		s64 target, want;
		int calls;
	} table[] = {
		{ { 3, 3, 3, 3 }, 5, 6, 2 },
		{ { 3, 3, 3, 3 }, 100, 12, 4 },
		{ { -EBUSY, 2, -EALREADY, 2 }, 100, 4, 4 },
		{ { 2, -ENOMEM, 5, 5 }, 100, -ENOMEM, 2 },
		{ { 2, -ERESTARTSYS, 5, 5 }, 100, -ERESTARTSYS, 2 },
		{ { 2, -EINTR, 5, 5 }, 100, -EINTR, 2 },
		{ { 2, -ENOSPC, 5, 5 }, 100, -ENOSPC, 2 },
		{ { 2, -EDEADLK, 5, 5 }, 100, -EDEADLK, 2 },
		{ { 2, -EAGAIN, 5, 5 }, 100, -EAGAIN, 2 },
		{ { 0, -EALREADY, -EBUSY, 0 }, 1, 0, 4 },
		{ { 7, 1, 1, 1 }, 7, 7, 1 },
		{ { 0, 0, 0, 1 }, 1, 1, 4 },
		{ { 1, 1, 1, 1 }, 1, 1, 1 },
		{ { -EBUSY, -EBUSY, -EBUSY, -EBUSY }, 1, 0, 4 },
	};
	struct tp_dev *dev __free(tp_dev_bos) = tp_dev_new(run, NULL);
	struct tp_bo *bos[4] = { };
	struct ttm_operation_ctx ctx = { };
	int i, j;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (i = 0; i < 4; i++) {
		struct tp_bo_args args = { .caching = ttm_cached };

		bos[i] = tp_filled(run, dev, &args);
		if (!bos[i])
			return;
	}
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		struct ttm_lru_walk walk = {
			.ops = &tp_walk_ops,
			.arg = { .ctx = &ctx, .trylock_only = true },
		};

		for (j = 0; j < 4; j++)
			tp_results[j] = table[i].results[j];
		tp_results_nr = 4;
		tp_calls = 0;
		tp_eq(run, ttm_lru_walk_for_evict(&walk, &dev->bdev,
						  ttm_manager_type(&dev->bdev, TTM_PL_TT),
						  table[i].target),
		      table[i].want, "walk %d", i);
		tp_eq(run, tp_calls, table[i].calls, "objects processed by walk %d", i);
		tp_lru_check(run, dev, "after a walk");
		for (j = 0; j < 4; j++)
			tp_check(run, !dma_resv_is_locked(bos[j]->base.base.resv),
				 "walk %d left object %d locked", i, j);
	}
}

#else
#define case_walk_evict		NULL
#define case_walk_resv		NULL
#define case_walk_ticket	NULL
#define case_walk_bulk		NULL
#endif

/* What a driver does when its device has gone: no page stays mapped. */
static void case_clear_mappings(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev_bos) = tp_dev_new(run, NULL);
	struct tp_bo *bos[6] = { };
	struct tp_witness *w[6] = { };
	int i;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (i = 0; i < 6; i++) {
		struct tp_bo_args args = {
			.caching = i % 3, .dma = true, .priority = i % 3, .watermark = i & 1,
		};

		bos[i] = tp_filled(run, dev, &args);
		if (!bos[i])
			return;
	}
	tp_bo_pin(bos[3]);
	for (i = 0; i < 6; i++) {
		w[i] = tp_witness_of(run, bos[i]);
		bos[i]->witness = NULL;
	}
	ttm_device_clear_dma_mappings(&dev->bdev);
	for (i = 0; i < 6; i++) {
		tp_check(run, !ttm_tt_is_populated(bos[i]->base.ttm),
			 "object %d has pages still", i);
		tp_eq(run, kref_read(&bos[i]->base.kref), 1, "references to object %d", i);
		tp_witness_given(run, w[i], bos[i]->args.caching, "mappings cleared");
	}
	tp_balance(run, "mappings cleared");
	tp_bo_unpin(bos[3]);
	for (i = 0; i < 6; i++)
		bos[i]->witness = w[i];
}

const struct tp_case tp_cases_walk[] = {
	{ "walk_evict", "I7,I15", "what a walk returns, for each answer of its callback",
	  case_walk_evict, TP_NEED_BACKUP },
	{ "walk_resv", "I15", "a walk under a lock of the walker's", case_walk_resv,
	  TP_NEED_BACKUP },
	{ "walk_ticket", "I9,I15", "a walk with a ticket waits for one lock", case_walk_ticket,
	  TP_NEED_BACKUP },
	{ "walk_bulk", "I15", "a bulk move goes to the tail under a walk", case_walk_bulk,
	  TP_NEED_BACKUP },
	{ "clear_mappings", "I6,I12", "no page stays mapped when a device goes",
	  case_clear_mappings, 0 },
	{ }
};

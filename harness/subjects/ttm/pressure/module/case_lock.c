// SPDX-License-Identifier: GPL-2.0-only
/* Walks and evictions that wait for locks: for as long as they may, and with what in the end. */
#include <linux/dma-resv.h>
#include <linux/kthread.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "pressure.h"

static struct tp_bo *tp_filled(struct tp_run *run, struct tp_dev *dev, bool in_system)
{
	struct tp_bo_args args = {
		.size = SZ_64K, .caching = ttm_cached, .watermark = !TP_HAVE_BACKUP,
		.in_system = in_system,
	};

	return tp_bo_filled(run, dev, &args, 0);
}

/*
 * Somebody else who has an object locked, with a ticket older than any other, until
 * the walker waits for it, has gone by, or was sent away.
 */
struct tp_owner {
	struct tp_bo *bo;
	struct completion locked;
	struct task_struct *walker;
	bool for_good;		/* not before the walk is over */
	bool walking, walked;
};

static bool tp_owner_may_go(const struct tp_owner *o)
{
	if (READ_ONCE(o->walked))
		return true;
	/* Pairs with the walk: it is back from the sleep before. */
	return smp_load_acquire(&o->walking) && !o->for_good && !task_is_running(o->walker);
}

static int tp_owner_thread(void *data)
{
	struct ww_acquire_ctx ticket;
	struct tp_owner *o = data;

	ww_acquire_init(&ticket, &reservation_ww_class);
	dma_resv_lock(o->bo->base.base.resv, &ticket);
	complete(&o->locked);
	tp_wait_for(tp_owner_may_go(o));
	dma_resv_unlock(o->bo->base.base.resv);
	ww_acquire_fini(&ticket);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

static struct task_struct *tp_owner_start(struct tp_run *run, struct tp_owner *o)
{
	struct task_struct *task;

	o->walker = current;
	init_completion(&o->locked);
	task = kthread_run(tp_owner_thread, o, "ttm_pressure_o");
	if (!tp_check(run, !IS_ERR(task), "no thread"))
		return NULL;
	tp_wait_done(&o->locked);
	return task;
}

static void tp_owner_end(struct tp_owner *o, struct task_struct *task)
{
	WRITE_ONCE(o->walked, true);
	kthread_stop(task);
}

#if TP_HAVE_BACKUP
static void tp_signal_on(void)
{
	/* As if there were one: it ends waits, and nobody has to handle it. */
	set_thread_flag(TIF_SIGPENDING);
}

struct tp_lock_way {
	const char *what;
	bool interruptible, no_wait, trylock, signal, ticket, locked_first;
	bool sleeping;		/* waits without a ticket */
	int objects;		/* that the walk hands out, of three with the second locked */
	long ends;
};

static const struct tp_lock_way tp_lock_ways[] = {
	{ "trylock only", .trylock = true, .ticket = true, .objects = 2 },
	{ "without waiting", .no_wait = true, .ticket = true, .objects = 2 },
	{ "without a ticket", .objects = 2 },
	{ "with a ticket", .ticket = true, .objects = 3 },
	{ "with a ticket, interruptible", .ticket = true, .interruptible = true, .objects = 3 },
	{ "with a ticket and a signal that may not interrupt", .ticket = true, .signal = true,
	  .objects = 3 },
	{ "with a ticket, interrupted", .ticket = true, .interruptible = true, .signal = true,
	  .objects = 1, .ends = -EINTR },
	{ "with a ticket that is too young", .ticket = true, .locked_first = true, .objects = 1,
	  .ends = -ENOSPC },
#if TP_HAVE_SLEEPING_LOCK
	{ "that may sleep", .sleeping = true, .objects = 3 },
	{ "that may sleep, but not wait", .sleeping = true, .no_wait = true, .objects = 2 },
	{ "that may sleep, interrupted", .sleeping = true, .interruptible = true, .signal = true,
	  .objects = 1, .ends = -EINTR },
#endif
};

static void tp_lock_walk(struct tp_run *run, struct tp_dev *dev, struct tp_bo **bos,
			 const struct tp_lock_way *way)
{
	struct ttm_operation_ctx ctx = {
		.interruptible = way->interruptible, .no_wait_gpu = way->no_wait,
	};
	struct ww_acquire_ctx ticket;
	struct ttm_lru_walk_arg arg = {
		.ctx = &ctx, .trylock_only = way->trylock, .ticket = way->ticket ? &ticket : NULL,
	};
	/* One that has to give way, or to wait longer than a signal takes, finds it locked. */
	struct tp_owner owner = { .bo = bos[1], .for_good = way->ends };
	struct ttm_buffer_object *tbo;
	struct ttm_bo_lru_cursor curs;
	struct task_struct *task;
	int i, n = 0;

#if TP_HAVE_SLEEPING_LOCK
	arg.sleeping_lock = way->sleeping;
#endif
	task = tp_owner_start(run, &owner);
	if (!task)
		return;
	ww_acquire_init(&ticket, &reservation_ww_class);
	if (way->locked_first)
		tp_eq(run, dma_resv_lock(bos[3]->base.base.resv, &ticket), 0, "a lock of its own");
	if (way->signal)
		tp_signal_on();
	/* Pairs with tp_owner_may_go(). */
	smp_store_release(&owner.walking, true);
	ttm_bo_lru_for_each_reserved_guarded(&curs, ttm_manager_type(&dev->bdev, TTM_PL_TT),
					     &arg, tbo) {
		tp_check(run, dma_resv_is_locked(tbo->base.resv), "a walk %s hands out unlocked",
			 way->what);
		tp_eq(run, kref_read(&tbo->kref), 2, "references in a walk %s", way->what);
		if (++n > 20)
			break;
	}
	recalc_sigpending();
	tp_eq(run, IS_ERR(tbo) ? PTR_ERR(tbo) : 0, way->ends, "how a walk %s ends", way->what);
	if (way->locked_first)
		dma_resv_unlock(bos[3]->base.base.resv);
	ww_acquire_fini(&ticket);
	tp_owner_end(&owner, task);
	tp_eq(run, n, way->objects, "objects of a walk %s", way->what);
	for (i = 0; i < 4; i++) {
		tp_check(run, !dma_resv_is_locked(bos[i]->base.base.resv),
			 "a walk %s left object %d locked", way->what, i);
		tp_eq(run, kref_read(&bos[i]->base.kref), 1, "references after a walk %s",
		      way->what);
	}
	tp_lru_check(run, dev, way->what);
}

/* What a walk does at a lock that somebody has, for each way to ask. */
static void case_walk_lock(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev_bos) = tp_dev_new(run, NULL);
	struct tp_bo *bos[4] = { };
	int i;

	if (!dev)
		return;
	dev->shrink_off = true;
	for (i = 0; i < 4; i++) {
		/* The last one is not on the list; its lock is what a ticket has to lose. */
		bos[i] = tp_filled(run, dev, i == 3);
		if (!bos[i])
			return;
	}
	for (i = 0; i < ARRAY_SIZE(tp_lock_ways) && !run->failed; i++)
		tp_lock_walk(run, dev, bos, &tp_lock_ways[i]);
}
#else
#define case_walk_lock	NULL
#endif

/* ---- room that somebody has locked ---- */

/*
 * Wants the room of an object that somebody has locked: with a ticket that is older
 * than his it waits; without one, or with a younger one, it is refused at once, and
 * nothing has happened to either.
 */
static void tp_evict_locked(struct tp_run *run, struct tp_dev *dev, bool with_ticket, bool nowait,
			    bool young)
{
	struct ttm_place place = { .mem_type = TTM_PL_VRAM };
	struct ttm_placement placement = { .num_placement = 1, .placement = &place };
	struct ttm_operation_ctx ctx = { .no_wait_gpu = nowait };
	bool may = with_ticket && !nowait && !young;
	struct ww_acquire_ctx ticket;
	struct tp_owner owner = { };
	struct task_struct *task;
	struct tp_bo *a, *b;
	struct tp_snap was;

	a = tp_filled(run, dev, false);
	b = tp_filled(run, dev, false);
	if (!a || !b)
		goto out;
	tp_bo_lock(a);
	tp_eq(run, tp_bo_validate(a, TTM_PL_VRAM, NULL), 0, "to VRAM");
	tp_bo_unlock(a);
	owner.bo = a;
	owner.for_good = !may;
	if (!young)
		ww_acquire_init(&ticket, &reservation_ww_class);
	task = tp_owner_start(run, &owner);
	if (young)
		ww_acquire_init(&ticket, &reservation_ww_class);
	if (!task)
		goto out_ticket;
	dma_resv_lock(b->base.base.resv, with_ticket ? &ticket : NULL);
	tp_snap_take(b, &was);
	/* Pairs with tp_owner_may_go(). */
	smp_store_release(&owner.walking, true);
	tp_eq(run, ttm_bo_validate(&b->base, &placement, &ctx), may ? 0 : -ENOMEM,
	      "to VRAM of which somebody has the lock, ticket=%d nowait=%d young=%d",
	      with_ticket, nowait, young);
	if (!may)
		tp_snap_same(run, b, &was, "refused for a lock");
	dma_resv_unlock(b->base.base.resv);
	ww_acquire_fini(&ticket);
	tp_owner_end(&owner, task);
	tp_check(run, !dma_resv_is_locked(a->base.base.resv), "an eviction left a lock");
	tp_eq(run, kref_read(&a->base.kref), 1, "references to what was to be evicted");
	tp_eq(run, a->base.resource->mem_type, may ? TTM_PL_TT : TTM_PL_VRAM,
	      "where it is, ticket=%d nowait=%d", with_ticket, nowait);
	tp_lru_check(run, dev, "evicted, or not, for a lock");
	tp_bo_lock(a);
	tp_eq(run, tp_bo_validate(a, TTM_PL_TT, NULL), 0, "to TT");
	tp_bo_verify(run, a, "evicted, or not, for a lock");
	tp_bo_unlock(a);
	tp_bo_lock(b);
	tp_eq(run, tp_bo_validate(b, TTM_PL_TT, NULL), 0, "to TT");
	tp_bo_verify(run, b, "what wanted the room");
	tp_bo_unlock(b);
	tp_balance(run, "evicted, or not, for a lock");
out:
	tp_bo_put(a);
	tp_bo_put(b);
	return;

out_ticket:
	ww_acquire_fini(&ticket);
	goto out;
}

static void case_evict_locked(struct tp_run *run)
{
	static const struct tp_dev_args dargs = { .vram = SZ_64K };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, &dargs);
	int k;

	if (!dev)
		return;
	dev->shrink_off = true;
	/* Who comes later gives way to who has it already. */
	for (k = 0; k < 8 && !run->failed; k++)
		tp_evict_locked(run, dev, k & 1, k & 2, k & 4);
}

const struct tp_case tp_cases_lock[] = {
	{ "walk_lock", "I9,I15", "a walk waits for a lock as it may, and says how it ended",
	  case_walk_lock, TP_NEED_BACKUP },
	{ "evict_locked", "I9,I15", "eviction of what somebody has locked: with a ticket it waits",
	  case_evict_locked, 0 },
	{ }
};

// SPDX-License-Identifier: GPL-2.0-only
/* Real pressure: more objects than memory, threads, objects held beside a load. */
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "pressure.h"

static void tp_knob_args(struct tp_run *run, struct tp_bo_args *a, u64 size)
{
	memset(a, 0, sizeof(*a));
	a->size = run->k.bo ?: size;
	a->caching = run->k.caching >= 0 ? run->k.caching : ttm_cached;
	a->dma = run->k.dma > 0;
	a->watermark = !TP_HAVE_BACKUP;
}

static bool tp_pct(struct tp_run *run, int pct)
{
	return pct > 0 && tp_rand(run, 100) < pct;
}

/* ---- hold and release: for what userland wants to do beside them ---- */

static void case_hold(struct tp_run *run)
{
	struct tp_dev_args dargs = {
		.dma32 = run->k.dma32 > 0, .beneficial = max(run->k.beneficial, 0),
	};
	struct ttm_operation_ctx ctx = { .gfp_retry_mayfail = run->k.retry_mayfail > 0 };
	u64 left = run->k.total || run->k.total_pct > 0 ? tp_total(run, 0) : 0;
	struct tp_bo_args args;
	struct tp_dev *dev;
	u64 bytes = 0;
	int err;

	dev = tp_dev_new(run, &dargs);
	if (!dev)
		return;
	tp_knob_args(run, &args, SZ_1M);
	args.ctx = &ctx;
	while (left >= args.size && !run->failed) {
		struct tp_bo *bo = tp_bo_new(dev, &args, &err);

		if (!bo) {
			tp_eq(run, err, 0, "object after %llu bytes", bytes);
			break;
		}
		tp_bo_lock(bo);
		bo->args.ctx = NULL;
		/* It may have been pushed out before it could be filled. */
		if (tp_eq(run, tp_bo_populate(bo, &ctx), 0, "populate"))
			tp_bo_fill(bo, run->k.seed);
		if (tp_pct(run, run->k.purgeable))
			tp_bo_set_purgeable(bo, true);
		else if (tp_pct(run, run->k.pinned))
			ttm_bo_pin(&bo->base);
		else if (tp_pct(run, run->k.busy))
			tp_bo_busy(bo);
		tp_bo_unlock(bo);
		bytes += args.size;
		left -= args.size;
	}
	tp_metric(run, "held_bytes", bytes);
	tp_held = dev;
	dev->run = NULL;
	run->dev = NULL;
}

static void case_release(struct tp_run *run)
{
	struct tp_dev *dev = tp_held;
	struct tp_bo *bo, *next;
	u64 t0 = ktime_get_ns();
	long n = 0, purged = 0;

	if (!dev) {
		tp_skip(run, "nothing is held");
		return;
	}
	tp_held = NULL;
	dev->run = run;
	run->dev = dev;
	list_for_each_entry_safe(bo, next, &dev->bos, link) {
		struct ttm_operation_ctx ctx = { .gfp_retry_mayfail = run->k.retry_mayfail > 0 };

		tp_bo_idle(bo);
		tp_bo_lock(bo);
		if (bo->purgeable && !ttm_tt_is_populated(bo->base.ttm)) {
			bo->key = 0;
			purged++;
		}
		if (tp_eq(run, tp_bo_populate(bo, &ctx), 0, "restore of object %u", bo->id))
			tp_bo_verify(run, bo, "held");
		if (bo->base.pin_count)
			ttm_bo_unpin(&bo->base);
		tp_bo_unlock(bo);
		tp_bo_put(bo);
		n++;
	}
	tp_metric(run, "objects", n);
	tp_metric(run, "objects_purged", purged);
	tp_metric(run, "release_ms", div_u64(ktime_get_ns() - t0, NSEC_PER_MSEC));
	tp_dev_free(run, dev);
}

/* ---- threads that make more objects than there is memory, and want them back ---- */

struct tp_plan {
	unsigned int pct;	/* of the memory that is free */
	u64 size;
	int threads, cycles;
	int purgeable, busy, pinned;	/* percent of the objects */
	bool bulk, mixed, dma, interruptible;
	int caching;		/* -1: all three */
	bool may_fail;
	unsigned int beneficial;	/* order of the pool's blocks that is worth reclaim */
};

struct tp_load {
	struct tp_run *run;
	struct tp_dev *dev;
	const struct tp_plan *plan;
	u64 bytes, made;
	u32 seed;
	struct rnd_state rnd;
	struct completion *done;
	atomic_t *left;
	struct tp_guard *guard;	/* where the load can fill all memory for good */
	struct tp_bo **bos;
	int nr, max;
	long purged, failed, interrupted, refused;
	/* Objects that share one lock and one bulk move; NULL where each has its own. */
	struct tp_group *groups;
};

#define TP_GROUPS 16

struct tp_group {
	struct ttm_lru_bulk_move bulk;
	struct tp_bo *owner;
	/* Members that no shrinker takes, in system memory and in TT; see suspect_bulk_walk. */
	struct tp_bo *stay[2];
};

/* Allocations of the load fail by chance, as the attributes were armed: it hears -ENOMEM. */
static bool tp_load_faulty(const struct tp_load *l)
{
	return l->run->k.fail > 0;
}

static u32 tp_lrand(struct tp_load *l, u32 below)
{
	return below ? prandom_u32_state(&l->rnd) % below : 0;
}

static bool tp_lpct(struct tp_load *l, int knob, int plan)
{
	int pct = knob >= 0 ? knob : plan;

	return pct > 0 && tp_lrand(l, 100) < pct;
}

static bool tp_load_intr(struct tp_run *run, const struct tp_plan *plan)
{
	return run->k.interrupt >= 0 ? run->k.interrupt : plan->interruptible;
}

/* Whether that answer says that an allocation failed, perhaps as it was made to. */
static bool tp_load_refused(struct tp_load *l, enum ttm_caching caching, int ret)
{
	return ret == -ENOMEM || (tp_load_faulty(l) && tp_no_memory(ret, caching));
}

/* Whether that answer of populate() is one to be asked again after. */
static bool tp_load_again(struct tp_load *l, struct tp_bo *bo, int ret)
{
	if (ret == -EINTR || ret == -ERESTARTSYS) {
		l->interrupted++;
		flush_signals(current);
		return true;
	}
	if (!tp_load_refused(l, bo->args.caching, ret) || !tp_is_failing())
		return false;
	l->refused++;
	return true;
}

/* One object: content as it should be, or zeroes where it was purged. */
static bool tp_load_touch(struct tp_load *l, struct tp_bo *bo, const char *when)
{
	struct ttm_operation_ctx ctx = {
		.interruptible = tp_load_intr(l->run, l->plan),
		.gfp_retry_mayfail = l->run->k.retry_mayfail > 0,
	};
	bool ok = true;
	int ret, tries = 0;

	tp_bo_lock(bo);
	if (bo->purgeable && !ttm_tt_is_populated(bo->base.ttm)) {
		l->purged += !!bo->key;
		bo->key = 0;
		/* Where there is no swap space its room has been taken. */
		if (l->plan->may_fail)
			goto out;
		bo->purgeable = false;
	}
	do {
		ret = tp_bo_populate(bo, &ctx);
	} while (tp_load_again(l, bo, ret) && tries++ < 10000);
	if (ret) {
		l->failed++;
		ok = l->plan->may_fail && ret == -ENOMEM;
		if (!ok)
			tp_eq(l->run, ret, 0, "%s: restore of object %u", when, bo->id);
		goto out;
	}
	/* As drivers do after validation; see suspect_bulk_empty. */
	if (bo->base.bulk_move) {
		spin_lock(&bo->dev->bdev.lru_lock);
		ttm_lru_bulk_move_tail(bo->base.bulk_move);
		spin_unlock(&bo->dev->bdev.lru_lock);
	}
	if (l->run->k.verify != TP_VERIFY_NONE) {
		if (l->run->k.verify == TP_VERIFY_HEAD)
			ok = tp_page_verify(l->run, bo, 0, bo->base.ttm->pages[0], when);
		else
			ok = tp_bo_verify(l->run, bo, when);
	}
out:
	tp_bo_unlock(bo);
	return ok;
}

/* Brings an object into the state in which it is to be freed. */
static void tp_load_state(struct tp_load *l, struct tp_bo *bo)
{
	struct ttm_operation_ctx nowait = { .no_wait_gpu = true }, intr = { .interruptible = true };

	if (!TP_HAVE_BACKUP || !ttm_tt_is_populated(bo->base.ttm) || l->run->failed)
		return;
	switch (l->run->k.free_state) {
	case TP_FREE_BACKED:
		tp_bo_backup(&bo->base, &nowait, false, false, true);
		break;
	case TP_FREE_PARTIAL:
	case TP_FREE_MIDRESTORE:
		/* Point 1 leaves what suspect_a_* show to objects that are not cached. */
		tp_fail_nth(1 + (bo->args.dma || bo->args.caching != ttm_cached) +
			    tp_lrand(l, bo->nr));
		tp_bo_backup(&bo->base, &nowait, false, false, true);
		tp_fail_nth(0);
		if (l->run->k.free_state == TP_FREE_PARTIAL || !tp_tt_backed_up(bo->base.ttm))
			break;
		tp_fail_nth(1 + tp_lrand(l, bo->nr));
		tp_bo_populate(bo, &intr);
		tp_fail_nth(0);
		break;
	case TP_FREE_PURGED:
		tp_bo_set_purgeable(bo, true);
		tp_bo_backup(&bo->base, &nowait, true, false, true);
		break;
	default:
		break;
	}
}

static void tp_load_free(struct tp_load *l)
{
	int i;

	for (i = 0; i < l->nr; i++) {
		struct tp_bo *bo = l->bos[i];

		/* What was failed so often is whole, for all that. */
		if (tp_load_faulty(l) && !l->run->failed)
			tp_load_touch(l, bo, "after failures");
		tp_bo_lock(bo);
		if (bo->base.pin_count) {
			tp_check(l->run, ttm_tt_is_populated(bo->base.ttm),
				 "a pinned object was pushed out");
			ttm_bo_unpin(&bo->base);
		}
		tp_load_state(l, bo);
		tp_bo_unlock(bo);
		tp_bo_put(bo);
	}
}

/* What the next object of the load is like, of a group or not. */
static void tp_load_args(struct tp_load *l, struct tp_group *g, struct tp_bo_args *args)
{
	const struct tp_plan *plan = l->plan;
	struct tp_run *run = l->run;

	tp_knob_args(run, args, plan->size);
	if (plan->mixed && !run->k.bo)
		args->size = (u64)(1 + tp_lrand(l, 2 * TP_PAGES(plan->size))) << PAGE_SHIFT;
	if (run->k.caching < 0)
		args->caching = plan->caching >= 0 ? plan->caching : tp_lrand(l, 3);
	if (run->k.dma < 0)
		args->dma = plan->dma;
	if (g) {
		args->resv = g->owner->base.base.resv;
		args->bulk = &g->bulk;
	} else {
		args->keep_locked = true;
	}
}

/* An object with pages, locked; NULL where they could not be had: that was told, or is no error. */
static struct tp_bo *tp_load_make(struct tp_load *l, struct tp_group *g)
{
	struct ttm_operation_ctx ctx = { .gfp_retry_mayfail = l->plan->may_fail };
	struct tp_bo_args args;
	struct tp_bo *bo;
	int err;

	tp_load_args(l, g, &args);
	args.ctx = &ctx;
	if (g)
		tp_bo_lock(g->owner);
	bo = tp_bo_new(l->dev, &args, &err);
	if (bo) {
		bo->args.ctx = NULL;
		if (!ttm_tt_is_populated(bo->base.ttm))
			err = tp_bo_populate(bo, &ctx);
	}
	if (!err)
		return bo;
	l->failed++;
	if (!(l->plan->may_fail || tp_load_faulty(l)) || !tp_load_refused(l, args.caching, err))
		tp_eq(l->run, err, 0, "creating an object after %llu MiB", l->made >> 20);
	if (bo)
		tp_bo_unlock(bo);
	else if (g)
		tp_bo_unlock(g->owner);
	if (bo) {
		l->bos[l->nr++] = bo;
		bo->key = 0;
	}
	return NULL;
}

/* Its content, and what becomes of it; the last of four that are busy. */
static void tp_load_use(struct tp_load *l, struct tp_group *g, struct tp_bo *bo,
			struct tp_bo **busy)
{
	const struct tp_plan *plan = l->plan;
	struct tp_run *run = l->run;

	tp_bo_fill(bo, run->k.seed + l->seed + l->nr);
	if (tp_lpct(l, run->k.purgeable, plan->purgeable)) {
		tp_bo_set_purgeable(bo, true);
	} else if (tp_lpct(l, run->k.pinned, plan->pinned)) {
		ttm_bo_pin(&bo->base);
	} else if (tp_lpct(l, run->k.busy, plan->busy) && !g) {
		/* A few at a time, as a GPU would have it. */
		if (*busy)
			tp_bo_idle(*busy);
		tp_bo_busy(bo);
		*busy = bo;
	}
}

static void tp_load_fill(struct tp_load *l)
{
	struct tp_bo *busy[4] = { };
	int i;

	while (l->made < l->bytes && l->nr < l->max && !l->run->failed &&
	       !(l->guard && tp_guard_used(l->guard, 4))) {
		struct tp_group *g = l->groups ? &l->groups[tp_lrand(l, TP_GROUPS)] : NULL;
		struct tp_bo *bo = tp_load_make(l, g);

		if (!bo) {
			/* Where failures are made there may be memory for the next one. */
			if (tp_load_faulty(l) && l->failed < l->max)
				continue;
			break;
		}
		tp_load_use(l, g, bo, &busy[l->nr & 3]);
		tp_bo_unlock(bo);
		l->bos[l->nr++] = bo;
		l->made += bo->args.size;
		if (g && !(l->nr & 7)) {
			tp_bo_lock(g->owner);
			spin_lock(&l->dev->bdev.lru_lock);
			ttm_lru_bulk_move_tail(&g->bulk);
			spin_unlock(&l->dev->bdev.lru_lock);
			tp_bo_unlock(g->owner);
		}
		cond_resched();
	}
	for (i = 0; i < 4; i++)
		if (busy[i])
			tp_bo_idle(busy[i]);
}

static void tp_load_work(struct tp_load *l)
{
	struct tp_run *run = l->run;
	int i, cycle, cycles = run->k.cycles > 0 ? run->k.cycles : l->plan->cycles;

	tp_load_fill(l);
	for (cycle = 0; cycle < cycles && !run->failed; cycle++) {
		for (i = 0; i < l->nr && !run->failed; i++) {
			int j = i;

			if (run->k.touch == TP_TOUCH_NONE)
				break;
			if (run->k.touch == TP_TOUCH_RANDOM || (cycle & 1))
				j = tp_lrand(l, l->nr);
			if (!tp_load_touch(l, l->bos[j], "under pressure"))
				break;
			cond_resched();
		}
	}
}

static int tp_load_thread(void *data)
{
	struct tp_load *l = data;

	allow_signal(SIGUSR1);
	tp_make_fail(tp_load_faulty(l));
	tp_load_work(l);
	tp_make_fail(false);
	tp_load_free(l);
	if (atomic_dec_and_test(l->left))
		complete(l->done);
	while (!kthread_should_stop()) {
		flush_signals(current);
		schedule_timeout_interruptible(HZ / 10);
	}
	return 0;
}

static bool tp_group_init(struct tp_load *l, struct tp_group *g)
{
	struct tp_bo_args args = { .size = PAGE_SIZE, .caching = ttm_cached };
	int i;

	g->owner = tp_bo_new(l->dev, &args, NULL);
	if (!g->owner)
		return false;
	args.watermark = true;
	args.resv = g->owner->base.base.resv;
	args.bulk = &g->bulk;
	tp_bo_lock(g->owner);
	for (i = 0; i < ARRAY_SIZE(g->stay); i++) {
		args.in_system = !i;
		g->stay[i] = tp_bo_new(l->dev, &args, NULL);
	}
	tp_bo_unlock(g->owner);
	return g->stay[0] && g->stay[1];
}

static bool tp_load_init(struct tp_load *l, struct tp_run *run, const struct tp_plan *plan,
			 u64 bytes, int i)
{
	l->run = run;
	l->dev = run->dev;
	l->plan = plan;
	l->bytes = bytes;
	l->seed = i << 20;
	prandom_seed_state(&l->rnd, run->k.seed + i);
	l->bos = kvcalloc(8192, sizeof(*l->bos), GFP_KERNEL);
	if (!l->bos)
		return false;
	l->max = 8192;
	if (!(run->k.bulk >= 0 ? run->k.bulk : plan->bulk))
		return true;
	l->groups = kvcalloc(TP_GROUPS, sizeof(*l->groups), GFP_KERNEL);
	for (i = 0; l->groups && i < TP_GROUPS; i++)
		ttm_lru_bulk_move_init(&l->groups[i].bulk);
	for (i = 0; l->groups && i < TP_GROUPS; i++) {
		if (!tp_group_init(l, &l->groups[i]))
			return false;
	}
	return l->groups;
}

static void tp_load_fini(struct tp_load *l)
{
	int i;

	for (i = 0; l->groups && i < TP_GROUPS; i++) {
		if (TP_HAVE_BACKUP)
			tp_bulk_check(l->run, l->dev, &l->groups[i].bulk, "after the load");
		tp_bo_put(l->groups[i].stay[0]);
		tp_bo_put(l->groups[i].stay[1]);
		ttm_lru_bulk_move_fini(&l->dev->bdev, &l->groups[i].bulk);
		tp_bo_put(l->groups[i].owner);
	}
	kvfree(l->groups);
	kvfree(l->bos);
}

/* Without swap, objects that stay: others may be left with nothing, and are not to be killed. */
static bool tp_load_fills(struct tp_run *run, const struct tp_plan *plan, u64 total)
{
	int purgeable = run->k.purgeable >= 0 ? run->k.purgeable : plan->purgeable;
	struct sysinfo si;

	si_meminfo(&si);
	return plan->may_fail &&
	       TP_PAGES(div_u64(total * (100 - purgeable), 100)) > si.freeram / 4 * 3;
}

/* The threads of a load, and what each has of it. */
struct tp_loads {
	struct tp_load *loads;
	struct task_struct *tasks[16];
	int threads;
	struct completion done;
	atomic_t left;
};

static bool tp_loads_start(struct tp_loads *s, struct tp_run *run, const struct tp_plan *plan,
			   u64 total, struct tp_guard *guard)
{
	int i;

	s->loads = kvcalloc(s->threads, sizeof(*s->loads), GFP_KERNEL);
	if (!tp_check(run, s->loads, "no memory for the load itself"))
		return false;
	init_completion(&s->done);
	atomic_set(&s->left, s->threads);
	for (i = 0; i < s->threads; i++) {
		struct tp_load *l = &s->loads[i];

		l->done = &s->done;
		l->left = &s->left;
		l->guard = guard;
		tp_check(run, tp_load_init(l, run, plan, div_u64(total, s->threads), i),
			 "no memory for a thread's share of the load");
		s->tasks[i] = kthread_run(tp_load_thread, l, "ttm_pressure/%d", i);
		if (!tp_check(run, !IS_ERR(s->tasks[i]), "no thread for the load")) {
			s->tasks[i] = NULL;
			if (atomic_dec_and_test(&s->left))
				complete(&s->done);
		}
	}
	return true;
}

/* Until all are done; where signals come, so often a second. */
static void tp_loads_wait(struct tp_loads *s, unsigned int signals)
{
	unsigned long wait = signals ? max(HZ / signals, 1) : HZ;
	int i;

	while (!wait_for_completion_timeout(&s->done, wait))
		for (i = 0; i < s->threads && signals; i++)
			if (s->tasks[i])
				send_sig(SIGUSR1, s->tasks[i], 1);
}

/* What became of all of it is in `sum`. */
static void tp_loads_end(struct tp_loads *s, struct tp_load *sum)
{
	int i;

	for (i = 0; i < s->threads; i++) {
		struct tp_load *l = &s->loads[i];

		if (s->tasks[i])
			kthread_stop(s->tasks[i]);
		sum->purged += l->purged;
		sum->failed += l->failed;
		sum->nr += l->nr;
		sum->interrupted += l->interrupted;
		sum->refused += l->refused;
		tp_load_fini(l);
	}
	kvfree(s->loads);
}

static void tp_load_figures(struct tp_run *run, const struct tp_load *sum,
			    const struct tp_stats *before)
{
	tp_metric(run, "objects", sum->nr);
	tp_metric(run, "objects_purged", sum->purged);
	tp_metric(run, "failed", sum->failed);
	tp_metric(run, "interrupted", sum->interrupted);
	tp_metric(run, "refused", sum->refused);
#define M(f) tp_metric(run, #f, atomic64_read(&tp_stats.f) - atomic64_read(&before->f))
	M(backed_up);
	M(purged);
	M(restored);
	M(retained);
	M(scan_kswapd);
	M(scan_direct);
	M(writeback);
	M(ebusy);
#undef M
	tp_metric(run, "scan_ns_max", atomic64_read(&tp_stats.scan_ns_max));
}

static void tp_load_run(struct tp_run *run, const struct tp_plan *plan)
{
	struct tp_dev_args dargs = {
		.dma32 = run->k.dma32 > 0,
		.beneficial = run->k.beneficial >= 0 ? run->k.beneficial : plan->beneficial,
	};
	struct tp_loads loads = {
		.threads = run->k.threads > 0 ? run->k.threads : plan->threads,
	};
	unsigned int signals = run->k.interrupt > 0 ? run->k.interrupt : 50;
	u64 total = tp_total(run, plan->pct), t0;
	bool fills = tp_load_fills(run, plan, total);
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, &dargs);
	struct tp_stats *before __free(kfree) = NULL;
	unsigned long oom[2], in[2], out[2];
	struct tp_load sum = { };
	struct tp_guard guard;

	if (!dev)
		return;
	before = kmemdup(&tp_stats, sizeof(tp_stats), GFP_KERNEL);
	if (!tp_check(run, before, "no memory for the figures"))
		return;
	tp_events(&oom[0], &in[0], &out[0]);
	if (fills) {
		tp_guard_start(&guard, 0);
		tp_guard_set_aside(&guard);
	}
	t0 = ktime_get_ns();
	if (tp_loads_start(&loads, run, plan, total, fills ? &guard : NULL)) {
		tp_loads_wait(&loads, tp_load_intr(run, plan) ? signals : 0);
		tp_loads_end(&loads, &sum);
	}
	if (fills) {
		tp_guard_end(&guard);
		tp_metric(run, "oom_calls", atomic_read(&guard.own) + atomic_read(&guard.others));
	}
	tp_events(&oom[1], &in[1], &out[1]);
	tp_eq(run, oom[1] - oom[0], 0, "OOM kills");
	tp_metric(run, "total_mib", total >> 20);
	tp_metric(run, "load_ms", div_u64(ktime_get_ns() - t0, NSEC_PER_MSEC));
	tp_metric(run, "pswpin", in[1] - in[0]);
	tp_metric(run, "pswpout", out[1] - out[0]);
	tp_load_figures(run, &sum, before);
	if (!sum.nr)
		tp_skip(run, "needs memory for at least one object");
	tp_balance(run, "after the load");
}

/* Twice as much as there is free: it all ends, all content is back, no kill. */
static void case_forward_progress(struct tp_run *run)
{
	static const struct tp_plan plan = {
		.pct = 200, .size = SZ_1M, .threads = 2, .cycles = 1, .caching = ttm_cached,
		.beneficial = 9,
	};

	tp_load_run(run, &plan);
}

/* Without DMA addresses: under real pressure they meet suspect_a_dma now and then. */
static void case_pressure_wc(struct tp_run *run)
{
	static const struct tp_plan plan = {
		.pct = 105, .size = SZ_512K, .threads = 2, .cycles = 1,
		.caching = ttm_write_combined,
	};

	tp_load_run(run, &plan);
}

static void case_pressure_mixed(struct tp_run *run)
{
	static const struct tp_plan plan = {
		.pct = 110, .size = SZ_256K, .threads = 2, .cycles = 1, .purgeable = 25,
		.busy = 10, .pinned = 4, .mixed = true, .caching = -1, .interruptible = true,
	};

	tp_load_run(run, &plan);
}

static void case_pressure_bulk(struct tp_run *run)
{
	static const struct tp_plan plan = {
		.pct = 106, .size = SZ_256K, .threads = 2, .cycles = 1, .bulk = true,
		.mixed = true, .caching = ttm_cached,
	};

	tp_load_run(run, &plan);
}

/* No swap: what is purgeable makes room for what is not. */
static void case_noswap_purge(struct tp_run *run)
{
	static const struct tp_plan plan = {
		.pct = 130, .size = SZ_512K, .threads = 2, .cycles = 1, .purgeable = 70,
		.caching = ttm_cached, .may_fail = true,
	};

	tp_load_run(run, &plan);
}

/* The n-th of the ways in which somebody has something shrunk. */
static void tp_trigger(struct tp_run *run, struct tp_dev *dev, char *text, int n)
{
	static const gfp_t gfps[] = { GFP_KERNEL, GFP_NOFS, GFP_NOIO, GFP_KERNEL };
	struct tp_scan s = { .gfp = gfps[n & 3], .nr = 1 + tp_rand(run, 512) };

	switch (n % 5) {
	case 0:
	case 1:
		tp_trigger_scan(dev, &s);
		tp_check(run, s.ret == SHRINK_STOP || s.ret <= 1UL << 20,
			 "scan: got %ld", (long)s.ret);
		break;
	case 2:
		tp_trigger_count(dev, s.gfp);
		break;
	case 3:
		tp_debugfs_show("/sys/kernel/debug/ttm/page_pool_shrink", text, 4096);
		break;
	case 4:
		tp_debugfs_show("/sys/kernel/debug/ttm/tt_shrink", text, 4096);
		tp_debugfs_show("/sys/kernel/debug/ttm/page_pool", text, 4096);
		break;
	}
}

/* ---- triggers at any time, beside threads at work ---- */

static void case_triggers(struct tp_run *run)
{
	static const struct tp_plan plan = {
		.pct = 8, .size = SZ_64K, .threads = 2, .cycles = 2, .purgeable = 20,
		.busy = 10, .pinned = 5, .mixed = true, .caching = -1, .dma = true,
	};
	char *text __free(kfree) = kzalloc(4096, GFP_KERNEL);
	struct tp_loads loads = { .threads = 2 };
	u64 total = tp_total(run, plan.pct);
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct tp_load sum = { };
	int n = 0;

	if (!dev || !tp_check(run, text, "no memory for the text"))
		return;
	tp_debugfs_show("/sys/kernel/debug/ttm/page_pool_shrink", text, 4096);
	tp_debugfs_show("/sys/kernel/debug/ttm/tt_shrink", text, 4096);
	if (!tp_loads_start(&loads, run, &plan, total, NULL))
		return;
	while (!wait_for_completion_timeout(&loads.done, HZ / 200 ?: 1))
		tp_trigger(run, dev, text, n++);
	tp_loads_end(&loads, &sum);
	tp_check(run, n >= 5, "%d triggers beside the load, not one of each kind", n);
	tp_metric(run, "triggers", n);
	tp_balance(run, "after triggers");
}

#define NL (TP_NEED_BACKUP | TP_NEED_SWAP | TP_LOUD)

const struct tp_case tp_cases_load[] = {
	{ "triggers", "I1,I11,I20", "triggers beside threads at work", case_triggers,
	  TP_NEED_BACKUP | TP_LOUD },
	{ "forward_progress", "I1,I18", "objects of twice the free memory, out and back, no kill",
	  case_forward_progress, TP_NEED_SWAP | TP_LOUD },
	{ "pressure_wc", "I1,I12,I18", "write-combined objects under pressure",
	  case_pressure_wc, NL | TP_NEED_PAT },
	{ "pressure_mixed", "I1,I2,I5,I16,I18", "all kinds together, with signals",
	  case_pressure_mixed, NL },
	{ "pressure_bulk", "I1,I15,I18", "members of bulk moves under pressure",
	  case_pressure_bulk, NL },
	{ "noswap_purge", "I2,I3,I18", "no swap: purgeable objects make room", case_noswap_purge,
	  TP_NEED_BACKUP | TP_NEED_NOSWAP | TP_LOUD },
	{ "hold", "I1", "(control) populates objects and keeps them", case_hold,
	  TP_KEEP | TP_HIDDEN | TP_LOUD | TP_HELPER },
	{ "release", "I1", "(control) verifies and frees what is held", case_release,
	  TP_KEEP | TP_HIDDEN | TP_LOUD | TP_HELPER },
	{ }
};

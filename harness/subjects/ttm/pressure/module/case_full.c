// SPDX-License-Identifier: GPL-2.0-only
/* All memory in use, and none of it to be reclaimed. */
#include <linux/mm.h>
#include <linux/sizes.h>

#include "pressure.h"

#define TP_ROUNDS	6	/* until nobody else came in between */
#define TP_FULL_NR	256	/* pages of an object that fills */
#define TP_TRIES	300	/* to restore */
#define TP_STEP		4	/* pages; less than swap reads at once */

struct tp_full {
	struct tp_run *run;
	struct tp_dev *dev;
	struct tp_bo *out[12];	/* backed up before */
	struct tp_guard guard;
	int refused;		/* what populate() said, if anything */
	long filled, restores, restores_failed, restored, backups, others;
};

static bool tp_full_own(struct tp_full *f)
{
	return atomic_read(&f->guard.own);
}

static bool tp_full_prepare(struct tp_full *f)
{
	struct tp_bo_args args = { .size = SZ_256K, .caching = ttm_cached };
	int i;

	for (i = 0; i < ARRAY_SIZE(f->out); i++) {
		f->out[i] = tp_fault_new(f->run, f->dev, &args);
		if (!f->out[i])
			return false;
	}
	return true;
}

/* All that is to be restored is out, and in swap. */
static void tp_full_out(struct tp_full *f)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(f->out) && f->out[i]; i++) {
		tp_bo_lock(f->out[i]);
		if (ttm_tt_is_populated(f->out[i]->base.ttm))
			tp_eq(f->run, tp_bo_backup(&f->out[i]->base, NULL, false, true, true),
			      f->out[i]->nr, "pages backed up");
		tp_bo_unlock(f->out[i]);
	}
	tp_wait_writeback();
}

/* The end of the memory, as populate() says it; 0 when others stood in the way. */
static int tp_full_fill(struct tp_full *f)
{
	struct ttm_operation_ctx ctx = { .gfp_retry_mayfail = true };
	struct tp_bo *bo;
	int ret = 0;

	list_for_each_entry(bo, &f->dev->bos, link) {
		if (bo->nr != TP_FULL_NR)
			continue;
		tp_bo_lock(bo);
		if (!ttm_tt_is_populated(bo->base.ttm)) {
			ret = tp_bo_populate(bo, &ctx);
			f->filled += !ret;
		}
		tp_bo_unlock(bo);
		/* One call of the killer is enough to know. */
		if (ret || tp_full_own(f) || tp_guard_used(&f->guard, 4))
			break;
	}
	return ret;
}

/*
 * A few pages more each time, until there is enough: it comes to where there is one
 * for the object and none for what is read from swap.
 */
static void tp_full_restore(struct tp_full *f)
{
	struct ttm_operation_ctx ctx = { .gfp_retry_mayfail = true };
	int i = 0, tries, ret;

	/* What others, or an object that did not fit, have let go meanwhile. */
	while (tp_guard_take(&f->guard, TP_GUARD_GFP))
		;
	for (tries = 0; tries < TP_TRIES && i < ARRAY_SIZE(f->out); tries++) {
		if (tp_full_own(f) || tp_guard_used(&f->guard, 6))
			return;
		tp_bo_lock(f->out[i]);
		ret = tp_bo_populate(f->out[i], &ctx);
		tp_bo_unlock(f->out[i]);
		f->restores++;
		if (!ret) {
			i++;
			continue;
		}
		f->restores_failed++;
		tp_eq(f->run, ret, -ENOMEM, "restore when all memory is in use");
		tp_guard_give(&f->guard, TP_STEP);
	}
	f->restored += i;
}

/* Nor does a backup, which needs memory before it gives any. */
static void tp_full_backup(struct tp_full *f)
{
	struct tp_bo *bo;
	int tries = 0;
	long got;

	list_for_each_entry(bo, &f->dev->bos, link) {
		if (tries == 6 || tp_full_own(f) || tp_guard_used(&f->guard, 7))
			return;
		if (bo->nr != TP_FULL_NR || !ttm_tt_is_populated(bo->base.ttm))
			continue;
		tp_bo_lock(bo);
		got = tp_bo_backup(&bo->base, NULL, false, false, true);
		tp_bo_unlock(bo);
		tp_check(f->run, got == -EBUSY || got > 0,
			 "backup when all memory is in use: %ld", got);
		f->backups++;
		tries++;
	}
}

/* Fills all memory and lets it go again: whether it came to the end, and a little back. */
static bool tp_full_round(struct tp_full *f)
{
	struct tp_bo_args args = {
		.size = TP_FULL_NR * SZ_4K, .caching = ttm_cached, .in_system = true,
	};
	bool swap = f->out[0];
	struct tp_bo *bo, *next;
	unsigned long i;
	int ret, err;

	for (i = 0; i < totalram_pages() / TP_FULL_NR + 8; i++)
		if (!tp_bo_new(f->dev, &args, &err))
			break;
	tp_full_out(f);
	tp_guard_start(&f->guard, 0);
	tp_guard_set_aside(&f->guard);
	f->filled = 0;
	ret = tp_full_fill(f);
	f->refused |= ret;
	if (ret || !tp_guard_used(&f->guard, 4))
		tp_eq(f->run, ret, -ENOMEM, "populate when all memory is in use");
	tp_eq(f->run, atomic_read(&f->guard.own), 0, "calls of the OOM killer by populate");
	if (swap && ret && !f->run->failed) {
		tp_full_restore(f);
		tp_eq(f->run, atomic_read(&f->guard.own), 0, "calls of the OOM killer by restore");
	}
	if (swap && ret && !f->run->failed) {
		tp_full_backup(f);
		tp_eq(f->run, atomic_read(&f->guard.own), 0, "calls of the OOM killer by backup");
	}
	list_for_each_entry_safe(bo, next, &f->dev->bos, link)
		if (bo->nr == TP_FULL_NR)
			tp_bo_put(bo);
	tp_guard_end(&f->guard);
	f->others += atomic_read(&f->guard.others);
	return ret && (!swap || (f->restores_failed && f->restored));
}

/* An error for who may fail, and no killer is called. */
static void case_oom_mayfail(struct tp_run *run)
{
	struct tp_full full = { .run = run }, *f = &full;
	int i, rounds = 0;
	bool ended = false;

	f->dev = tp_dev_new(run, NULL);
	if (!f->dev)
		return;
	f->dev->shrink_off = true;
	if (get_nr_swap_pages() > 4096 && !tp_full_prepare(f))
		goto out;
	while (!ended && rounds < TP_ROUNDS && !run->failed) {
		ended = tp_full_round(f);
		rounds++;
	}
	if (!f->refused && !run->failed)
		tp_skip(run, "needs a machine where others let it fill all memory (%d rounds)",
			rounds);
	tp_metric(run, "rounds", rounds);
	tp_metric(run, "objects", f->filled);
	tp_metric(run, "restores", f->restores);
	tp_metric(run, "restores_failed", f->restores_failed);
	tp_metric(run, "restored", f->restored);
	tp_metric(run, "backups", f->backups);
	tp_metric(run, "oom_by_others", f->others);
	for (i = 0; i < ARRAY_SIZE(f->out) && f->out[i]; i++) {
		tp_bo_lock(f->out[i]);
		tp_fault_in(run, f->out[i], "restore when there is memory again");
		tp_bo_unlock(f->out[i]);
	}
out:
	for (i = 0; i < ARRAY_SIZE(f->out); i++)
		tp_bo_put(f->out[i]);
	tp_dev_free(run, f->dev);
}

const struct tp_case tp_cases_full[] = {
	{ "oom_mayfail", "I5,I11,I17", "all memory in use: an error for who may fail, no kill",
	  case_oom_mayfail, TP_NEED_BACKUP | TP_LOUD },
	{ }
};

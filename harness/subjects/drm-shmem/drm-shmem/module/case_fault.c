// SPDX-License-Identifier: GPL-2.0-only
/* Failures and interruptions at each point; nothing is left of them. */
#include <linux/iosys-map.h>
#include <linux/kthread.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>

#include "shmem.h"

enum sh_ask { SH_ASK_TABLE, SH_ASK_PIN, SH_ASK_VMAP, SH_ASKS };

static const char * const sh_asks[] = { "a table", "a pin", "a vmap" };

static int sh_ask(struct sh_obj *obj, enum sh_ask ask, struct iosys_map *map)
{
	switch (ask) {
	case SH_ASK_TABLE:
		return sh_get_sgt(obj);
	case SH_ASK_PIN:
		return sh_pin(obj);
	default:
		return sh_vmap(obj, map);
	}
}

/* A table is kept until the object is freed or purged. */
static void sh_unask(struct sh_obj *obj, enum sh_ask ask, struct iosys_map *map)
{
	if (ask == SH_ASK_PIN)
		sh_unpin(obj);
	else if (ask == SH_ASK_VMAP)
		sh_vunmap(obj, map);
}

/*
 * The n-th allocation of what is asked for fails, for each n until it gets by. With a
 * user there already, what he has stays as it is.
 */
static void sh_fail_each(struct tp_run *run, enum sh_ask ask, bool in_use, bool wc)
{
	struct tp_dev *dev = run->dev;
	int n, ret, failed = 0, base = in_use;

	for (n = 1; n < 400 && !run->failed; n++) {
		struct sh_obj *obj = sh_new(dev, 5 * SZ_4K, wc, NULL);
		struct iosys_map map;
		bool met;

		if (!obj)
			return;
		if (in_use) {
			tp_eq(run, sh_pin(obj), 0, "pin");
			sh_fill(obj, run->k.seed + n);
		}
		tp_fail_nth(n);
		ret = sh_ask(obj, ask, &map);
		met = !tp_fail_left();
		tp_fail_nth(0);
		if (ret) {
			failed++;
			tp_eq(run, ret, -ENOMEM, "%s, failure %d", sh_asks[ask], n);
			sh_counts(run, obj, base, base, 0, "after a failure");
			tp_check(run, !obj->base.sgt, "a table is left of a failure");
			if (in_use) {
				sh_resident(run, obj, "in use, after a failure");
				sh_verify(run, obj, "in use, after a failure");
			} else {
				sh_absent(run, obj, "after a failure");
			}
			sh_balance(run, "after a failure");
			/* It is nothing that stays. */
			ret = sh_ask(obj, ask, &map);
			tp_eq(run, ret, 0, "%s, after failure %d", sh_asks[ask], n);
		}
		if (!ret) {
			if (in_use || !met)
				sh_resident(run, obj, "asked again");
			sh_verify(run, obj, "asked again");
			sh_unask(obj, ask, &map);
		}
		if (in_use)
			sh_unpin(obj);
		sh_put(obj);
		if (!met)
			break;
	}
	tp_check(run, n < 400, "%s: failures have no end", sh_asks[ask]);
	tp_check(run, failed || (in_use && ask == SH_ASK_PIN), "%s: nothing failed", sh_asks[ask]);
	tp_metric(run, "failures", failed);
}

static void case_fail_get(struct tp_run *run)
{
	struct tp_dev *dev __free(sh_dev) = sh_dev_new(run);
	int ask;

	for (ask = 0; dev && ask < SH_ASKS; ask++)
		sh_fail_each(run, ask, false, false);
}

static void case_fail_in_use(struct tp_run *run)
{
	struct tp_dev *dev __free(sh_dev) = sh_dev_new(run);
	int ask;

	for (ask = 0; dev && ask < SH_ASKS; ask++)
		sh_fail_each(run, ask, true, false);
}

/* An object is made whole, or not at all. */
static void case_fail_create(struct tp_run *run)
{
	struct tp_dev *dev __free(sh_dev) = sh_dev_new(run);
	int n, err, failed = 0;

	if (!dev)
		return;
	for (n = 1; n < 100 && !run->failed; n++) {
		struct sh_obj *obj;
		bool met;

		tp_fail_nth(n);
		obj = sh_new(dev, 5 * SZ_4K, false, &err);
		met = !tp_fail_left();
		tp_fail_nth(0);
		if (obj) {
			sh_absent(run, obj, "new");
		} else {
			failed++;
			/* Of an inode that was not to be had shmem_get_inode() says -ENOSPC. */
			tp_check(run, err == -ENOMEM || err == -ENOSPC, "an object, failure %d: %d",
				 n, err);
		}
		sh_put(obj);
		tp_check(run, list_empty(&dev->objs), "an object is left");
		if (!met)
			break;
	}
	tp_check(run, failed, "nothing failed");
	tp_metric(run, "failures", failed);
}

/* Content that is in the file survives whatever fails on the way to it. */
static void case_fail_content(struct tp_run *run)
{
	struct tp_dev *dev __free(sh_dev) = sh_dev_new(run);
	struct iosys_map map;
	struct sh_obj *obj;
	int ask, n, ret;

	if (!dev)
		return;
	obj = sh_new(dev, 7 * SZ_4K, false, NULL);
	if (!obj)
		return;
	tp_eq(run, sh_pin(obj), 0, "pin");
	sh_fill(obj, run->k.seed);
	sh_unpin(obj);
	for (ask = SH_ASK_PIN; ask < SH_ASKS; ask++) {
		for (n = 1; n < 100 && !run->failed; n++) {
			bool met;

			tp_fail_nth(n);
			ret = sh_ask(obj, ask, &map);
			met = !tp_fail_left();
			tp_fail_nth(0);
			if (!ret)
				sh_unask(obj, ask, &map);
			sh_absent(run, obj, "after a failure");
			sh_content(run, obj, "after a failure");
			if (!met)
				break;
		}
	}
	sh_put(obj);
}

/* The device cannot map a page: no table, no mapping, and the pages as they were. */
static void case_dma_refused(struct tp_run *run)
{
	struct tp_dev *dev __free(sh_dev) = sh_dev_new(run);
	int n, in_use;

	if (!dev)
		return;
	for (in_use = 0; in_use < 2; in_use++) {
		for (n = 1; n <= 9 && !run->failed; n++) {
			struct sh_obj *obj __free(sh_obj) = sh_new(dev, 9 * SZ_4K, n & 1, NULL);

			if (!obj)
				break;
			if (in_use) {
				tp_eq(run, sh_pin(obj), 0, "pin");
				sh_fill(obj, run->k.seed);
			}
			tp_dma_fail_nth(n);
			tp_check(run, sh_get_sgt(obj) < 0,
				 "page %d was refused, a table is made", n);
			tp_dma_fail_nth(0);
			tp_check(run, !obj->base.sgt, "a table is left");
			sh_counts(run, obj, in_use, in_use, 0, "refused");
			sh_balance(run, "refused");
			if (in_use)
				sh_resident(run, obj, "refused");
			else
				sh_absent(run, obj, "refused");
			tp_eq(run, sh_get_sgt(obj), 0, "a table, not refused");
			sh_resident(run, obj, "not refused");
			if (in_use) {
				sh_verify(run, obj, "not refused");
				sh_unpin(obj);
			}
		}
	}
}

struct sh_keeper {
	struct sh_obj *obj;
	struct completion held, enough;
};

static int sh_keep(void *data)
{
	struct sh_keeper *k = data;

	sh_lock(k->obj);
	complete(&k->held);
	/* Not for ever: who does not listen is to go on, and to be red. */
	wait_for_completion_timeout(&k->enough, 5 * HZ);
	sh_unlock(k->obj);
	return 0;
}

/* Who waits for the lock of an object and is to end, ends; nothing is held for it. */
static void case_lock_interrupted(struct tp_run *run)
{
	struct tp_dev *dev __free(sh_dev) = sh_dev_new(run);
	struct task_struct *task;
	struct sh_keeper k;
	struct sh_obj *obj;
	int held;

	if (!dev)
		return;
	/* Nobody has pages of it; somebody has. */
	for (held = 0; held < 2 && !run->failed; held++) {
		obj = sh_new(dev, 4 * SZ_4K, false, NULL);
		if (!obj)
			break;
		if (held) {
			tp_eq(run, sh_pin(obj), 0, "pin");
			sh_fill(obj, run->k.seed);
		}
		k.obj = obj;
		init_completion(&k.held);
		init_completion(&k.enough);
		task = kthread_run(sh_keep, &k, "drm_shmem_keep");
		if (!tp_check(run, !IS_ERR(task), "no thread")) {
			sh_put(obj);
			break;
		}
		tp_wait_done(&k.held);
		/* As if there were one: it ends waits, and nobody has to handle it. */
		set_thread_flag(TIF_SIGPENDING);
		tp_eq(run, sh_get_sgt(obj), -EINTR, "a table, interrupted");
		if (!held || !SH_HAVE_PIN_COUNT)
			tp_eq(run, sh_pin(obj), -EINTR, "a pin, interrupted");
		recalc_sigpending();
		sh_counts(run, obj, held, held, 0, "interrupted");
		if (held && SH_HAVE_PIN_COUNT) {
			/* One more pin changes a number, and waits for nobody. */
			tp_eq(run, sh_pin(obj), 0, "one more pin, locked by somebody");
			sh_counts(run, obj, 1, 2, 0, "pinned again");
			sh_unpin(obj);
		}
		complete(&k.enough);
		tp_wait_for(!dma_resv_is_locked(obj->base.base.resv));
		sh_counts(run, obj, held, held, 0, "after the interruption");
		if (held) {
			sh_verify(run, obj, "after the interruption");
			sh_unpin(obj);
		}
		sh_absent(run, obj, "after the interruption");
		sh_put(obj);
	}
}

const struct tp_case sh_cases_fault[] = {
	{ "fail_get", "S6,S10", "each allocation of pages, table and vmap fails once",
	  case_fail_get, TP_NEED_FAULT | TP_ARM_POINTS },
	{ "fail_in_use", "S1,S10", "the same where somebody uses the object",
	  case_fail_in_use, TP_NEED_FAULT | TP_ARM_POINTS },
	{ "fail_create", "S10", "each allocation of a new object fails once",
	  case_fail_create, TP_NEED_FAULT | TP_ARM_POINTS },
	{ "fail_content", "S1,S10", "content outlives failures", case_fail_content,
	  TP_NEED_FAULT | TP_ARM_POINTS },
	{ "dma_refused", "S8,S10", "a page that cannot be mapped for DMA leaves nothing",
	  case_dma_refused, TP_NEED_DMAOPS },
	{ "lock_interrupted", "S11", "a wait for a lock that is interrupted holds nothing",
	  case_lock_interrupted, 0 },
	{ }
};

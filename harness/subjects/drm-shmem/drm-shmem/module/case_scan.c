// SPDX-License-Identifier: GPL-2.0-only
/* Count and scan, as reclaim asks for them. */
#include <linux/kthread.h>
#include <linux/sizes.h>

#include "shmem.h"

static bool sh_many(struct tp_run *run, struct sh_obj **objs, int n, pgoff_t nr)
{
	int i;

	for (i = 0; i < n; i++) {
		objs[i] = sh_ready(run, nr, false);
		if (!objs[i])
			return false;
	}
	return true;
}

/* What can be purged, exactly; it takes no swap, so the mask does not matter. */
static void case_count_contract(struct tp_run *run)
{
	static const gfp_t gfps[] = { GFP_KERNEL, GFP_USER, GFP_NOFS, GFP_NOIO, GFP_NOWAIT };
	struct tp_dev *dev __free(sh_dev_objs) = sh_dev_new(run);
	struct sh_obj *objs[5] = { };
	int i, g;

	if (!dev)
		return;
	tp_eq(run, tp_trigger_count(dev, GFP_KERNEL), SHRINK_EMPTY, "count of nothing");
	if (!sh_many(run, objs, 5, 6))
		return;
	tp_eq(run, tp_trigger_count(dev, GFP_KERNEL), SHRINK_EMPTY, "count of what is needed");
	for (i = 0; i < 5; i++) {
		sh_madvise(objs[i], SH_DONTNEED);
		for (g = 0; g < ARRAY_SIZE(gfps); g++)
			tp_eq(run, tp_trigger_count(dev, gfps[g]), 6 * (i + 1),
			      "count of %d objects, mask %d", i + 1, g);
	}
	sh_madvise(objs[2], SH_WILLNEED);
	tp_eq(run, tp_trigger_count(dev, GFP_KERNEL), 24, "count, one needed again");
	sh_purge(objs[0]);
	tp_eq(run, tp_trigger_count(dev, GFP_KERNEL), 18, "count, one purged");
	sh_put(objs[4]);
	objs[4] = NULL;
	tp_eq(run, tp_trigger_count(dev, GFP_KERNEL), 12, "count, one freed");
}

/* As many as asked for, rounded up to objects; SHRINK_STOP where there is nothing. */
static void case_scan_contract(struct tp_run *run)
{
	static const struct { unsigned long nr, freed; } steps[] = {
		{ 1, 8 }, { 8, 8 }, { 9, 16 }, { 1000, 32 },
	};
	struct tp_dev *dev __free(sh_dev_objs) = sh_dev_new(run);
	struct sh_obj *objs[8] = { };
	struct tp_scan s;
	int i;

	if (!dev)
		return;
	s = (struct tp_scan){ .gfp = GFP_KERNEL, .nr = 100 };
	tp_trigger_scan(dev, &s);
	tp_eq(run, s.ret, SHRINK_STOP, "scan of nothing");
	tp_eq(run, s.scanned, 0, "pages scanned of nothing");
	if (!sh_many(run, objs, 8, 8))
		return;
	for (i = 0; i < 8; i++)
		sh_madvise(objs[i], SH_DONTNEED);
	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		s = (struct tp_scan){ .gfp = i & 1 ? GFP_NOIO : GFP_KERNEL, .nr = steps[i].nr,
				      .kswapd = i & 1 };
		tp_trigger_scan(dev, &s);
		tp_eq(run, s.ret, steps[i].freed, "pages freed by a scan of %lu", steps[i].nr);
		tp_eq(run, s.scanned, steps[i].freed, "pages scanned by a scan of %lu",
		      steps[i].nr);
		sh_balance(run, "scanned");
	}
	s = (struct tp_scan){ .gfp = GFP_KERNEL, .nr = 100 };
	tp_trigger_scan(dev, &s);
	tp_eq(run, s.ret, SHRINK_STOP, "scan when all is purged");
	for (i = 0; i < 8; i++)
		sh_purged(run, objs[i], "scanned");
}

struct sh_holder {
	struct sh_obj *obj;
	struct mutex *lock;	/* instead of the object's */
	struct completion held, enough;
};

static int sh_hold(void *data)
{
	struct sh_holder *h = data;

	if (h->lock)
		mutex_lock(h->lock);
	else
		sh_lock(h->obj);
	complete(&h->held);
	/* Not for ever: who waits for it is to go on, and to be red. */
	wait_for_completion_timeout(&h->enough, 5 * HZ);
	if (h->lock)
		mutex_unlock(h->lock);
	else
		sh_unlock(h->obj);
	return 0;
}

/* Reclaim never waits for who may wait for memory: what is locked is left. */
static void case_scan_locked(struct tp_run *run)
{
	struct tp_dev *dev __free(sh_dev_objs) = sh_dev_new(run);
	struct sh_obj *objs[3] = { };
	struct task_struct *task;
	struct sh_holder h;
	struct tp_scan s;

	if (!dev)
		return;
	if (!sh_many(run, objs, 3, 4))
		return;
	sh_madvise(objs[0], SH_DONTNEED);
	sh_madvise(objs[1], SH_DONTNEED);
	sh_madvise(objs[2], SH_DONTNEED);
	h = (struct sh_holder){ .obj = objs[1] };
	init_completion(&h.held);
	init_completion(&h.enough);
	task = kthread_run(sh_hold, &h, "drm_shmem_hold");
	if (!tp_check(run, !IS_ERR(task), "no thread"))
		return;
	tp_wait_done(&h.held);
	s = (struct tp_scan){ .gfp = GFP_KERNEL, .nr = 1000 };
	tp_trigger_scan(dev, &s);
	tp_eq(run, s.ret, 8, "pages purged beside a locked object");
	complete(&h.enough);
	tp_wait_for(!dma_resv_is_locked(objs[1]->base.base.resv));
	sh_verify(run, objs[1], "was locked");
	sh_resident(run, objs[1], "was locked");
	tp_eq(run, sh_madvise(objs[1], SH_DONTNEED), 1, "advice for what was locked");

	h = (struct sh_holder){ .lock = &dev->shrinker_lock };
	init_completion(&h.held);
	init_completion(&h.enough);
	task = kthread_run(sh_hold, &h, "drm_shmem_hold");
	if (!tp_check(run, !IS_ERR(task), "no thread"))
		return;
	tp_wait_done(&h.held);
	tp_eq(run, tp_trigger_count(dev, GFP_KERNEL), 0, "count while the list is locked");
	tp_trigger_scan(dev, &s);
	tp_eq(run, s.ret, SHRINK_STOP, "scan while the list is locked");
	complete(&h.enough);
	tp_wait_for(!mutex_is_locked(&dev->shrinker_lock));
	tp_trigger_scan(dev, &s);
	tp_eq(run, s.ret, 4, "pages purged when nothing is locked");
}

const struct tp_case sh_cases_scan[] = {
	{ "count_contract", "S12", "count says what can be purged", case_count_contract, 0 },
	{ "scan_contract", "S12", "scan purges as much as was asked for", case_scan_contract, 0 },
	{ "scan_locked", "S12", "a scan waits for no lock", case_scan_locked, 0 },
	{ }
};

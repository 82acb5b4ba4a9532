// SPDX-License-Identifier: GPL-2.0-only
/* Real pressure: more objects than memory, and objects held beside a load. */
#include <linux/iosys-map.h>
#include <linux/kthread.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "shmem.h"

/* ---- hold and release: for what userland wants to do beside them ---- */

static void case_hold(struct tp_run *run)
{
	u64 left = run->k.total || run->k.total_pct > 0 ? tp_total(run, 0) : 0;
	u64 size = run->k.bo ?: SZ_1M, bytes = 0;
	int pct = run->k.purgeable >= 0 ? run->k.purgeable : 100;
	struct tp_dev *dev = sh_dev_new(run);

	if (!dev)
		return;
	while (left >= size && !run->failed) {
		struct sh_obj *obj = sh_ready(run, TP_PAGES(size), false);

		if (!obj)
			break;
		if (tp_rand(run, 100) < pct)
			sh_madvise(obj, SH_DONTNEED);
		bytes += size;
		left -= size;
	}
	tp_metric(run, "held_bytes", bytes);
	set_cpus_allowed_ptr(current, cpu_possible_mask);
	tp_held = dev;
	dev->run = NULL;
	run->dev = NULL;
}

static void case_release(struct tp_run *run)
{
	struct tp_dev *dev = tp_held;
	struct sh_obj *obj, *next;
	long n = 0, purged = 0;

	if (!dev) {
		tp_skip(run, "nothing is held");
		return;
	}
	tp_held = NULL;
	dev->run = run;
	run->dev = dev;
	/* What was held is to be gone in the end. */
	dev->shrink_off = true;
	run->start.dma_mapped = tp_dma_mapped();
	run->start.objects = 0;
	list_for_each_entry(obj, &dev->objs, link)
		run->start.dma_mapped -= tp_have_dma_ops() && obj->base.sgt ? obj->nr : 0;
	list_for_each_entry_safe(obj, next, &dev->objs, link) {
		if (sh_madvise(obj, SH_WILLNEED)) {
			sh_verify(run, obj, "held");
		} else {
			sh_purged(run, obj, "held");
			purged++;
		}
		sh_put(obj);
		n++;
	}
	tp_metric(run, "objects", n);
	tp_metric(run, "objects_purged", purged);
	tp_dev_free(run, dev);
}

/* ---- threads that make more objects than there is memory ---- */

struct sh_plan {
	unsigned int pct;	/* of the memory that is free */
	u64 size;
	int threads, cycles;
	int purgeable;		/* percent of the objects */
	int blocked;		/* of these one in so many is mapped by the kernel meanwhile */
};

enum { SH_KEPT = 1, SH_MAY_GO, SH_BLOCKED, SH_GONE };

struct sh_load {
	struct tp_run *run;
	const struct sh_plan *plan;
	struct rnd_state rnd;
	struct completion *done;
	atomic_t *left;
	struct sh_obj **objs;
	struct iosys_map *maps;
	u8 *what;
	int nr, max;
	long purged, kept, refused;
};

/*
 * Pages are asked for with __GFP_RETRY_MAYFAIL. While another task is in the scan the list is
 * locked, and whoever reclaims finds nothing to purge; he may be told -ENOMEM, and asks again.
 */
static int sh_load_ask(struct sh_load *l, struct sh_obj *obj, int (*ask)(struct sh_obj *obj))
{
	int ret, tries = 0;

	do {
		ret = ask(obj);
		if (ret != -ENOMEM)
			return ret;
		l->refused++;
		msleep(20);
	} while (tries++ < 500);
	return ret;
}

/*
 * What is kept lies in its file, where reclaim may write it to swap; what may go is as
 * the device left it, with its table.
 */
static bool sh_load_one(struct sh_load *l, int i)
{
	struct tp_run *run = l->run;
	int pct = run->k.purgeable >= 0 ? run->k.purgeable : l->plan->purgeable;
	bool purgeable = prandom_u32_state(&l->rnd) % 100 < pct;
	struct sh_obj *obj = sh_new(run->dev, run->k.bo ?: l->plan->size, false, NULL);

	l->objs[i] = obj;
	if (!obj)
		return false;
	l->what[i] = purgeable ? SH_MAY_GO : SH_KEPT;
	if (!purgeable) {
		if (!tp_eq(run, sh_load_ask(l, obj, sh_pin), 0, "pages of object %u", obj->id))
			return false;
		sh_fill(obj, run->k.seed + obj->id);
		sh_unpin(obj);
		return true;
	}
	if (!tp_eq(run, sh_load_ask(l, obj, sh_get_sgt), 0, "table of object %u", obj->id))
		return false;
	sh_fill(obj, run->k.seed + obj->id);
	if (l->plan->blocked && !(i % l->plan->blocked) &&
	    tp_eq(run, sh_vmap(obj, &l->maps[i]), 0, "vmap of object %u", obj->id))
		l->what[i] = SH_BLOCKED;
	sh_madvise(obj, SH_DONTNEED);
	return true;
}

/* What may not go is there; what may is as it was, or gone for good. */
static void sh_load_look(struct sh_load *l, int i)
{
	struct sh_obj *obj = l->objs[i];
	struct tp_run *run = l->run;

	switch (l->what[i]) {
	case SH_KEPT:
		if (!tp_eq(run, sh_load_ask(l, obj, sh_pin), 0, "pages of kept object %u", obj->id))
			break;
		l->kept += sh_verify(run, obj, "kept");
		sh_unpin(obj);
		break;
	case SH_BLOCKED:
		tp_check(run, obj->base.madv >= 0, "object %u was purged under a vmap", obj->id);
		sh_verify(run, obj, "blocked");
		break;
	case SH_MAY_GO:
		if (sh_madvise(obj, SH_WILLNEED)) {
			sh_verify(run, obj, "needed again");
			sh_madvise(obj, SH_DONTNEED);
			break;
		}
		sh_purged(run, obj, "purged by reclaim");
		l->what[i] = SH_GONE;
		l->purged++;
		break;
	}
}

static int sh_load_thread(void *data)
{
	struct sh_load *l = data;
	int cycles = l->run->k.cycles > 0 ? l->run->k.cycles : l->plan->cycles;
	int i, c;

	for (i = 0; i < l->max && !l->run->failed; i++) {
		l->nr = i + 1;
		if (!sh_load_one(l, i))
			break;
		/* What was made long ago is looked at now and then, while memory is short. */
		if (i > 8 && !(i & 7))
			sh_load_look(l, prandom_u32_state(&l->rnd) % i);
	}
	for (c = 0; c < cycles; c++)
		for (i = 0; i < l->nr && !l->run->failed; i++)
			sh_load_look(l, i);
	for (i = 0; i < l->nr; i++) {
		if (l->what[i] == SH_BLOCKED)
			sh_vunmap(l->objs[i], &l->maps[i]);
		sh_put(l->objs[i]);
	}
	if (atomic_dec_and_test(l->left))
		complete(l->done);
	return 0;
}

static void sh_load_run(struct tp_run *run, const struct sh_plan *plan)
{
	int threads = run->k.threads > 0 ? run->k.threads : plan->threads;
	u64 size = run->k.bo ?: plan->size, total = tp_total(run, plan->pct);
	DECLARE_COMPLETION_ONSTACK(done);
	struct tp_dev *dev __free(sh_dev) = sh_dev_new(run);
	unsigned long oom[2], in[2], out[2];
	long purged = 0, kept = 0, refused = 0, nr = 0;
	struct sh_load *loads __free(kvfree) = NULL;
	s64 pages, ebusy;
	atomic_t left;
	int i;

	if (!dev)
		return;
	pages = atomic64_read(&sh_stats.purged_pages);
	ebusy = atomic64_read(&sh_stats.ebusy);
	loads = kvcalloc(threads, sizeof(*loads), GFP_KERNEL);
	if (!tp_check(run, loads, "no memory for the load itself"))
		return;
	tp_events(&oom[0], &in[0], &out[0]);
	atomic_set(&left, threads);
	for (i = 0; i < threads; i++) {
		struct sh_load *l = &loads[i];
		struct task_struct *task = ERR_PTR(-ENOMEM);

		*l = (struct sh_load){ .run = run, .plan = plan, .done = &done, .left = &left };
		l->max = max_t(int, div64_u64(total, size * threads), 1);
		l->objs = kvcalloc(l->max, sizeof(*l->objs), GFP_KERNEL);
		l->maps = kvcalloc(l->max, sizeof(*l->maps), GFP_KERNEL);
		l->what = kvcalloc(l->max, 1, GFP_KERNEL);
		prandom_seed_state(&l->rnd, run->k.seed + i);
		if (l->objs && l->maps && l->what)
			task = kthread_run(sh_load_thread, l, "drm_shmem/%d", i);
		if (!tp_check(run, !IS_ERR(task), "no thread for the load") &&
		    atomic_dec_and_test(&left))
			complete(&done);
	}
	tp_wait_done(&done);
	tp_events(&oom[1], &in[1], &out[1]);
	for (i = 0; i < threads; i++) {
		purged += loads[i].purged;
		kept += loads[i].kept;
		refused += loads[i].refused;
		nr += loads[i].nr;
		kvfree(loads[i].objs);
		kvfree(loads[i].maps);
		kvfree(loads[i].what);
	}
	tp_eq(run, oom[1] - oom[0], 0, "OOM kills");
	if (plan->purgeable && run->k.total_pct < 0 && !run->k.total)
		tp_check(run, purged > 0, "reclaim purged nothing");
	tp_metric(run, "total_mib", total >> 20);
	tp_metric(run, "objects", nr);
	tp_metric(run, "objects_purged", purged);
	tp_metric(run, "objects_kept", kept);
	tp_metric(run, "refused", refused);
	tp_metric(run, "pages_purged", atomic64_read(&sh_stats.purged_pages) - pages);
	tp_metric(run, "ebusy", atomic64_read(&sh_stats.ebusy) - ebusy);
	tp_metric(run, "pswpin", in[1] - in[0]);
	tp_metric(run, "pswpout", out[1] - out[0]);
}

/* Twice the memory, all of it marked: everybody gets pages, as the oldest go. */
static void case_pressure_purge(struct tp_run *run)
{
	static const struct sh_plan plan = {
		.pct = 200, .size = SZ_512K, .threads = 2, .cycles = 1, .purgeable = 100,
		.blocked = 16,
	};

	sh_load_run(run, &plan);
}

/* More than memory that has to be kept: it goes to swap and comes back, word by word. */
static void case_pressure_keep(struct tp_run *run)
{
	static const struct sh_plan plan = {
		.pct = 110, .size = SZ_256K, .threads = 2, .cycles = 1, .purgeable = 0,
	};

	sh_load_run(run, &plan);
}

static void case_pressure_mixed(struct tp_run *run)
{
	static const struct sh_plan plan = {
		.pct = 150, .size = SZ_256K, .threads = 2, .cycles = 2, .purgeable = 60,
		.blocked = 32,
	};

	sh_load_run(run, &plan);
}

/* Without swap only what is marked can make room, and it is enough. */
static void case_noswap_purge(struct tp_run *run)
{
	static const struct sh_plan plan = {
		.pct = 150, .size = SZ_512K, .threads = 2, .cycles = 1, .purgeable = 75,
	};

	sh_load_run(run, &plan);
}

const struct tp_case sh_cases_load[] = {
	{ "pressure_purge", "S2,S12", "twice the memory, all marked: the oldest make room",
	  case_pressure_purge, TP_LOUD },
	{ "pressure_mixed", "S1,S12", "what is kept goes to swap, what is marked is purged",
	  case_pressure_mixed, TP_LOUD | TP_NEED_SWAP },
	{ "pressure_keep", "S1", "more than memory is kept through swap",
	  case_pressure_keep, TP_LOUD | TP_NEED_SWAP },
	{ "noswap_purge", "S1,S12", "without swap, what is marked makes room for the rest",
	  case_noswap_purge, TP_LOUD | TP_NEED_NOSWAP },
	{ "hold", "S1", "objects to be held beside a load", case_hold,
	  TP_KEEP | TP_LOUD | TP_HELPER },
	{ "release", "S1", "what was held is as it was, or gone", case_release,
	  TP_LOUD | TP_HELPER },
	{ }
};

// SPDX-License-Identifier: GPL-2.0-only
/* Advice, mappings and purges of the same objects at the same time. */
#include <linux/iosys-map.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/uaccess.h>

#include "shmem.h"

#define SH_SLOTS	8
#define SH_RACE_PAGES	4

/* Objects that all threads use; a purged one is replaced by its owner. */
struct sh_race {
	struct tp_run *run;
	struct sh_obj *slots[SH_SLOTS];
	spinlock_t lock;	/* of slots */
	bool stop;
	atomic_t purges, maps, vmaps, scans, faults;
};

static struct sh_obj *sh_race_get(struct sh_race *r, int i)
{
	struct sh_obj *obj;

	spin_lock(&r->lock);
	obj = r->slots[i];
	if (obj)
		drm_gem_object_get(&obj->base.base);
	spin_unlock(&r->lock);
	return obj;
}

static void sh_race_set(struct sh_race *r, int i, struct sh_obj *obj)
{
	struct sh_obj *old;

	spin_lock(&r->lock);
	old = r->slots[i];
	r->slots[i] = obj;
	spin_unlock(&r->lock);
	sh_put(old);
}

/* The owner of all of them: marks, needs again, replaces what is gone. */
static int sh_race_owner(void *data)
{
	struct sh_race *r = data;
	struct rnd_state rnd;

	prandom_seed_state(&rnd, r->run->k.seed);
	while (!READ_ONCE(r->stop) && !r->run->failed) {
		int i = prandom_u32_state(&rnd) % SH_SLOTS;
		struct sh_obj *obj = r->slots[i];

		if (prandom_u32_state(&rnd) & 1) {
			sh_madvise(obj, SH_DONTNEED);
		} else if (sh_madvise(obj, SH_WILLNEED)) {
			sh_verify(r->run, obj, "needed again");
		} else {
			atomic_inc(&r->purges);
			obj = sh_ready(r->run, SH_RACE_PAGES, i & 1);
			if (!obj)
				break;
			sh_race_set(r, i, obj);
		}
		cond_resched();
	}
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

/* Maps and looks: what is not purged has its content as long as it is mapped. */
static int sh_race_vmapper(void *data)
{
	struct sh_race *r = data;
	struct iosys_map map;
	struct rnd_state rnd;

	prandom_seed_state(&rnd, r->run->k.seed + 1);
	while (!READ_ONCE(r->stop) && !r->run->failed) {
		struct sh_obj *obj = sh_race_get(r, prandom_u32_state(&rnd) % SH_SLOTS);
		bool there;
		int ret;

		sh_lock(obj);
		ret = sh_vmap_locked(&obj->base, &map);
		there = obj->base.madv >= 0;
		sh_unlock(obj);
		if (tp_eq(r->run, ret, 0, "vmap")) {
			if (there) {
				cond_resched();
				sh_verify(r->run, obj, "mapped by the kernel");
				tp_check(r->run, obj->base.madv >= 0, "purged under a vmap");
				atomic_inc(&r->vmaps);
			}
			sh_vunmap(obj, &map);
		}
		sh_put(obj);
		cond_resched();
	}
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

static int sh_race_scanner(void *data)
{
	struct sh_race *r = data;
	struct rnd_state rnd;

	prandom_seed_state(&rnd, r->run->k.seed + 2);
	while (!READ_ONCE(r->stop) && !r->run->failed) {
		struct tp_scan s = { .gfp = GFP_KERNEL,
				     .nr = 1 + prandom_u32_state(&rnd) % SH_RACE_PAGES };

		tp_trigger_count(r->run->dev, GFP_KERNEL);
		tp_trigger_scan(r->run->dev, &s);
		atomic_inc(&r->scans);
		usleep_range(200, 1000);
	}
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

/* In the process: a fault finds the content, or fails, as it was purged. */
static void sh_race_mapper(struct sh_race *r)
{
	unsigned long end = jiffies + 4 * HZ;
	struct tp_run *run = r->run;

	while (time_before(jiffies, end) && !run->failed) {
		struct sh_obj *obj = sh_race_get(r, tp_rand(run, SH_SLOTS));
		u64 words[SH_RACE_PAGES], got;
		unsigned long at;
		int i, err = 0;
		bool there;

		/* What is read below is true of it as long as it is not purged. */
		sh_lock(obj);
		there = obj->base.madv >= 0;
		for (i = 0; there && i < SH_RACE_PAGES; i++)
			words[i] = tp_first_word(obj->base.pages[i]);
		sh_unlock(obj);
		at = there ? sh_map(run, obj, &err) : 0;
		/* Purged just now, it has no offset any more. */
		if (there && !at)
			tp_check(run, obj->base.madv < 0, "no mapping: %d", err);
		for (i = 0; at && i < 4 * SH_RACE_PAGES; i++) {
			int k = i % SH_RACE_PAGES;

			if (get_user(got, (u64 __user *)(at + k * PAGE_SIZE))) {
				tp_check(run, READ_ONCE(obj->base.madv) < 0,
					 "a fault failed, and it is not purged");
				atomic_inc(&r->faults);
				continue;
			}
			tp_check(run, got == words[k], "page %d of a mapping: %016llx, not %016llx",
				 k, got, words[k]);
		}
		if (at) {
			vm_munmap(at, SH_RACE_PAGES * PAGE_SIZE);
			atomic_inc(&r->maps);
		}
		sh_put(obj);
		cond_resched();
	}
}

static void case_race(struct tp_run *run)
{
	static int (* const fns[])(void *data) = {
		sh_race_owner, sh_race_vmapper, sh_race_scanner, sh_race_scanner,
	};
	struct task_struct *tasks[ARRAY_SIZE(fns)] = { };
	struct tp_dev *dev __free(sh_dev_objs) = sh_dev_new(run);
	struct sh_race r = { .run = run };
	int i;

	if (!dev)
		return;
	spin_lock_init(&r.lock);
	for (i = 0; i < SH_SLOTS; i++) {
		r.slots[i] = sh_ready(run, SH_RACE_PAGES, i & 1);
		if (!r.slots[i])
			return;
	}
	for (i = 0; i < ARRAY_SIZE(fns); i++) {
		tasks[i] = kthread_run(fns[i], &r, "drm_shmem_race");
		if (!tp_check(run, !IS_ERR(tasks[i]), "no thread"))
			tasks[i] = NULL;
	}
	sh_race_mapper(&r);
	WRITE_ONCE(r.stop, true);
	for (i = 0; i < ARRAY_SIZE(fns); i++)
		if (tasks[i])
			kthread_stop(tasks[i]);
	tp_check(run, run->failed || (atomic_read(&r.purges) && atomic_read(&r.maps) &&
				      atomic_read(&r.vmaps)),
		 "%d purges, %d mappings, %d vmaps", atomic_read(&r.purges),
		 atomic_read(&r.maps), atomic_read(&r.vmaps));
	for (i = 0; i < SH_SLOTS; i++) {
		if (r.slots[i]->base.madv >= 0) {
			sh_counts(run, r.slots[i], 1, 0, 0, "after the race");
			sh_resident(run, r.slots[i], "after the race");
			sh_verify(run, r.slots[i], "after the race");
		} else {
			sh_counts(run, r.slots[i], 0, 0, 0, "purged in the race");
		}
	}
	tp_metric(run, "purges", atomic_read(&r.purges));
	tp_metric(run, "maps", atomic_read(&r.maps));
	tp_metric(run, "vmaps", atomic_read(&r.vmaps));
	tp_metric(run, "scans", atomic_read(&r.scans));
	tp_metric(run, "faults_refused", atomic_read(&r.faults));
}

const struct tp_case sh_cases_race[] = {
	{ "race", "S1,S3,S7", "advice, vmaps, mappings and scans of the same objects at once",
	  case_race, 0 },
	{ }
};

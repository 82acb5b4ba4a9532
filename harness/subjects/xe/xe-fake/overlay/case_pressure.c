// SPDX-License-Identifier: GPL-2.0-only
/* Memory runs out: kswapd and direct reclaim call the shrinker themselves. */

#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/notifier.h>
#include <linux/oom.h>
#include <linux/prandom.h>
#include <linux/sched/mm.h>

#include "fake.h"

/* Objects of 2 MiB that make up that share of the free memory. */
static unsigned int objects_for(unsigned int percent)
{
	struct sysinfo si;

	si_meminfo(&si);
	return si.freeram / 100 * percent >> (21 - PAGE_SHIFT);
}

static void one_of_a_kind(struct fake *fake, struct fake_object *obj)
{
	struct dma_fence *fence;

	switch (obj->id % 16) {
	case 3:
		fake_pin(fake, obj);
		break;
	case 5:
		fake_advise(obj, XE_MADV_PURGEABLE_DONTNEED);
		fake_advise(obj, XE_MADV_PURGEABLE_WILLNEED);
		break;
	case 7:
		fence = fake_make_fence(fake->test);
		fake_fence_attach(obj, fence);
		fake_fence_later(fence, 200);
		dma_fence_put(fence);
		break;
	case 9:
		fake_vm_bind(fake->vm, obj);
		break;
	}
}

void fake_case_pressure(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	unsigned int n = objects_for(130), i;
	struct fake_object *obj;

	fake_vm_create(fake);
	for (i = 0; i < n; i++) {
		fake_make_many(fake, 1, SZ_2M);
		obj = list_last_entry(&fake->objects, struct fake_object, link);
		if (i < n / 8)
			fake_advise(obj, XE_MADV_PURGEABLE_DONTNEED);
		else
			one_of_a_kind(fake, obj);
	}
	fake_expect_counts(fake, "more objects than memory");
	list_for_each_entry(obj, &fake->objects, link) {
		if (xe_bo_is_pinned(obj->bo)) {
			fake_expect_state(fake, obj, true, false);
			fake_verify(fake, obj);
			fake_unpin(obj);
		}
		if (fake_backed_up(obj) && fake_vm_has(fake->vm, obj))
			KUNIT_EXPECT_TRUE_MSG(test, fake_vm_told(fake->vm, obj), "object %u",
					      obj->id);
	}
	/* Those read back push others out. */
	fake_verify_settled(fake);
	fake_expect_counts(fake, "all read back");
	KUNIT_EXPECT_GT_MSG(test, fake_seen.backed_up, 0UL, "pages backed up");
	KUNIT_EXPECT_GT_MSG(test, fake_seen.purged, 0UL, "pages purged");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.alloc_failed, 0UL, "allocations that failed");
}

static void pressure_purge(struct kunit *test, unsigned int ahead)
{
	struct fake *fake = fake_of(test);
	unsigned int unneeded = objects_for(70), needed = objects_for(45);
	bool wakes = fake->kind->sleep == FAKE_SLEEPS_FLUSHES;
	struct fake_object *obj;

	/* A device that must be awake for any purge may be so too late. */
	if (wakes)
		fake_wake(fake);
	fake_make_many(fake, ahead, SZ_2M);
	while (unneeded--) {
		fake_make_many(fake, 1, SZ_2M);
		obj = list_last_entry(&fake->objects, struct fake_object, link);
		fake_advise(obj, XE_MADV_PURGEABLE_DONTNEED);
	}
	fake_make_many(fake, needed, SZ_2M);
	fake_expect_counts(fake, "more objects than memory");
	list_for_each_entry(obj, &fake->objects, link)
		if (fake_settle(obj) && !obj->blank)
			fake_verify(fake, obj);
	KUNIT_EXPECT_GT_MSG(test, fake_seen.purged, 0UL, "pages purged");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.backed_up, 0UL, "pages backed up with no swap");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.alloc_failed, 0UL, "allocations that failed");
	if (wakes)
		fake_let_sleep(fake);
}

void fake_case_pressure_purge(struct kunit *test)
{
	pressure_purge(test, 0);
}

void fake_case_fatal_noswap(struct kunit *test)
{
	pressure_purge(test, 1);
}

/* Somebody else's pages, by an allocation that may not call into file systems. */
static unsigned long take_pages(struct list_head *pages, unsigned long n)
{
	unsigned int flags = memalloc_nofs_save();
	unsigned long taken;
	struct page *page;

	for (taken = 0; taken < n; taken++) {
		page = alloc_page(GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN);
		if (!page)
			break;
		list_add(&page->lru, pages);
	}
	memalloc_nofs_restore(flags);
	return taken;
}

void fake_case_pressure_nofs(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	unsigned int n = objects_for(75);
	unsigned long wanted = (unsigned long)objects_for(50) << (21 - PAGE_SHIFT), taken;
	struct page *page, *next;
	struct fake_object *obj;
	LIST_HEAD(pages);

	fake_wake(fake); /* as in pressure_purge */
	while (n--) {
		fake_make_many(fake, 1, SZ_2M);
		obj = list_last_entry(&fake->objects, struct fake_object, link);
		fake_advise(obj, XE_MADV_PURGEABLE_DONTNEED);
	}
	taken = take_pages(&pages, wanted);
	list_for_each_entry_safe(page, next, &pages, lru)
		__free_page(page);
	KUNIT_EXPECT_EQ_MSG(test, taken, wanted, "pages of others");
	KUNIT_EXPECT_GT_MSG(test, fake_seen.purged, 0UL, "pages purged");
	fake_expect_counts(fake, "others took pages");
	fake_verify_settled(fake);
	fake_let_sleep(fake);
}

/* Pages for whoever is about to call the OOM killer, so that nobody is killed. */
struct guard {
	struct notifier_block nb;
	struct task_struct *task;
	struct list_head pages;
	unsigned long left, own;	/* pages, calls by a populate of the task */
	spinlock_t lock;
};

#define GUARD_PAGES 4096UL
#define GUARD_PORTION 512UL

static unsigned long guard_give(struct guard *guard, unsigned long n)
{
	struct page *page, *next;
	unsigned long given = 0;
	LIST_HEAD(pages);

	spin_lock(&guard->lock);
	for (; given < n && !list_empty(&guard->pages); given++)
		list_move(guard->pages.next, &pages);
	guard->left -= given;
	spin_unlock(&guard->lock);
	list_for_each_entry_safe(page, next, &pages, lru)
		__free_page(page);
	return given;
}

/* In the task that found no memory. */
static int guard_called(struct notifier_block *nb, unsigned long action, void *freed)
{
	struct guard *guard = container_of(nb, struct guard, nb);

	if (current == guard->task && READ_ONCE(fake_populating) == current)
		guard->own++;
	*(unsigned long *)freed += guard_give(guard, GUARD_PORTION);
	return NOTIFY_OK;
}

static void guard_start(struct guard *guard)
{
	struct page *page;

	*guard = (struct guard){ .task = current };
	INIT_LIST_HEAD(&guard->pages);
	spin_lock_init(&guard->lock);
	for (; guard->left < GUARD_PAGES; guard->left++) {
		page = alloc_page(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);
		if (!page)
			break;
		list_add(&page->lru, &guard->pages);
	}
	guard->nb.notifier_call = guard_called;
	register_oom_notifier(&guard->nb);
}

static void guard_end(struct guard *guard)
{
	unregister_oom_notifier(&guard->nb);
	guard_give(guard, ULONG_MAX);
}

/* Until one cannot be made, or others want too much of the memory for that. */
static struct fake_object *make_until(struct fake *fake, struct guard *guard)
{
	unsigned long n, most = 2 * (totalram_pages() >> (21 - PAGE_SHIFT));
	struct fake_object *obj;

	for (n = 0; n < most; n++) {
		obj = fake_try_make(fake, SZ_2M);
		if (IS_ERR(obj) || READ_ONCE(guard->left) <= GUARD_PAGES / 4)
			return obj;
	}
	KUNIT_FAIL(fake->test, "%lu objects, twice the memory, and each could be made", n);
	return obj;
}

void fake_case_create_fails(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct fake_object *obj;
	struct guard guard;
	unsigned int round;

	for (round = 0, obj = NULL; round < 8 && !IS_ERR(obj); round++) {
		guard_start(&guard);
		obj = make_until(fake, &guard);
		guard_end(&guard);
		/* With page attributes there are page tables to be had, too, at any price. */
		if (fake->kind->caching == DRM_XE_GEM_CPU_CACHING_WB)
			KUNIT_EXPECT_EQ_MSG(test, guard.own, 0UL,
					    "calls of the OOM killer by a creation");
		fake_expect_counts(fake, "no memory left");
		fake_drop_all(fake);
	}
	KUNIT_EXPECT_EQ_MSG(test, PTR_ERR_OR_ZERO(obj), -ENOMEM, "a creation without memory");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.backed_up, 0UL, "pages backed up with no swap");
}

static int scan_always(void *arg)
{
	struct fake *fake = arg;
	unsigned int i = 0;

	while (!kthread_should_stop()) {
		fake_scan(fake, i % 3 ? GFP_KERNEL : GFP_NOFS, 64, i % 2, NULL);
		fake_count(fake, GFP_KERNEL);
		i++;
		cond_resched();
	}
	return 0;
}

static void any_of(struct fake *fake, struct rnd_state *random)
{
	struct fake_object *obj = fake_nth(fake, prandom_u32_state(random) % 24);

	switch (prandom_u32_state(random) % 6) {
	case 0:
		fake_drop(fake, obj);
		fake_make_many(fake, 1, SZ_64K);
		break;
	case 1:
		fake_pin(fake, obj);
		cond_resched();
		fake_unpin(obj);
		break;
	case 2:
		fake_lock(obj);
		if (!xe_bo_is_purged(obj->bo))
			xe_bo_set_purgeable_state(obj->bo, xe_bo_madv_is_dontneed(obj->bo) ?
						  XE_MADV_PURGEABLE_WILLNEED :
						  XE_MADV_PURGEABLE_DONTNEED);
		fake_unlock(obj);
		break;
	case 3:
		fake_restore(obj);
		break;
	default:
		if (fake_settle(obj))
			fake_verify(fake, obj);
	}
}

static bool nothing_shrunk(void)
{
	return !READ_ONCE(fake_seen.purged) || !READ_ONCE(fake_seen.backed_up);
}

void fake_case_race(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct task_struct *scanner[2];
	struct rnd_state random;
	unsigned long end, last;
	unsigned int i;

	prandom_seed_state(&random, fake_seed);
	fake_make_many(fake, 24, SZ_64K);
	for (i = 0; i < ARRAY_SIZE(scanner); i++) {
		scanner[i] = kthread_run(scan_always, fake, "xe_fake_scan/%u", i);
		KUNIT_ASSERT_FALSE(test, IS_ERR(scanner[i]));
	}
	/* A device with slow pages, on a host with other guests, does few of them in that time. */
	for (end = jiffies + 2 * HZ, last = end + 30 * HZ;
	     time_before(jiffies, end) || (time_before(jiffies, last) && nothing_shrunk());) {
		any_of(fake, &random);
		cond_resched();
	}
	for (i = 0; i < ARRAY_SIZE(scanner); i++)
		kthread_stop(scanner[i]);
	fake_expect_counts(fake, "scanned from two sides");
	fake_note_purged(fake);
	fake_verify_all(fake);
	KUNIT_EXPECT_GT_MSG(test, fake_seen.backed_up, 0UL, "pages backed up");
	KUNIT_EXPECT_GT_MSG(test, fake_seen.purged, 0UL, "pages purged");
}

void fake_case_upstream(struct kunit *test)
{
#ifdef FAKE_UPSTREAM_SHRINK
	struct fake *fake = fake_of(test);

	fake_upstream_shrink(fake->xe);
	KUNIT_EXPECT_GT_MSG(test, fake_seen.backed_up, 0UL, "pages backed up");
	/* It is content when it runs out of memory. */
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.alloc_failed, 0UL, "allocations that failed");
#else
	kunit_skip(test, "needs shrink_test_run_device() of tests/xe_bo.c");
#endif
}

// SPDX-License-Identifier: GPL-2.0-only
/* What a scan may not do with locks, and what xe_bo_shrink() answers to whom. */

#include <linux/completion.h>
#include <linux/workqueue.h>

#include "fake.h"

/* A scan by another task: it ends by itself, or waits for a lock that we have. */
struct beside {
	struct work_struct work;
	struct completion ended;
	struct fake *fake;
	gfp_t gfp;
	bool kswapd;
	unsigned long freed;
};

#define AT_MOST_MS 20000

static void scan_beside(struct work_struct *work)
{
	struct beside *beside = container_of(work, struct beside, work);

	beside->freed = fake_scan(beside->fake, beside->gfp, SZ_1M, beside->kswapd, NULL);
	complete(&beside->ended);
}

/* The pages freed by a scan that runs while the object is locked. */
static unsigned long scan_locked(struct fake *fake, struct fake_object *locked, gfp_t gfp,
				 bool kswapd)
{
	struct beside beside = { .fake = fake, .gfp = gfp, .kswapd = kswapd };
	unsigned long ended;

	INIT_WORK_ONSTACK(&beside.work, scan_beside);
	init_completion(&beside.ended);
	fake_lock(locked);
	queue_work(fake->xe->unordered_wq, &beside.work);
	ended = wait_for_completion_timeout(&beside.ended, msecs_to_jiffies(AT_MOST_MS));
	fake_unlock(locked);
	flush_work(&beside.work);
	destroy_work_on_stack(&beside.work);
	/* One such wait is enough. */
	KUNIT_ASSERT_GT_MSG(fake->test, ended, 0UL, "a scan waits for the lock of object %u",
			    locked->id);
	return beside.freed;
}

/* Each way to scan, with an object that somebody holds first, in the middle, and last. */
static const struct {
	gfp_t gfp;
	bool kswapd, needed;
} ways[] = {
	{ GFP_KERNEL, false, true },
	{ GFP_KERNEL, true, true },
	{ GFP_KERNEL, true, false },
	{ GFP_NOFS, false, false },
	{ GFP_NOIO, true, false },
};

static void expect_passed_by(struct fake *fake, unsigned int way, unsigned int nth)
{
	struct fake_object *locked, *obj;
	unsigned long pages;

	fake->made = 0;
	fake_make_many(fake, 3, SZ_64K);
	locked = fake_nth(fake, nth);
	pages = fake_pages(locked);
	if (!ways[way].needed)
		list_for_each_entry(obj, &fake->objects, link)
			fake_advise(obj, XE_MADV_PURGEABLE_DONTNEED);
	KUNIT_EXPECT_EQ_MSG(fake->test,
			    scan_locked(fake, locked, ways[way].gfp, ways[way].kswapd),
			    2 * pages, "pages freed, one object locked, way %u", way);
	list_for_each_entry(obj, &fake->objects, link)
		fake_expect_state(fake, obj, obj == locked, obj != locked);
	fake_expect_counts(fake, "one was locked");
	fake_scan_all(fake, ways[way].kswapd);
	KUNIT_EXPECT_EQ_MSG(fake->test, fake_populated_objects(fake), 0, "objects left");
	fake_note_purged(fake);
	fake_verify_all(fake);
	fake_drop_all(fake);
}

void fake_case_locked(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	unsigned int way, nth;

	fake_wake(fake);
	for (way = 0; way < ARRAY_SIZE(ways); way++)
		for (nth = 0; nth < 3; nth++)
			expect_passed_by(fake, way, nth);
	fake_let_sleep(fake);
}

/* The objects of a VM share its lock: all of them are passed by, and all others go. */
void fake_case_locked_vm(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct fake_object *obj;
	int kswapd;

	fake_wake(fake);
	fake_vm_create(fake);
	for (kswapd = 0; kswapd < 2; kswapd++) {
		fake->made = 0;
		fake->private = true;
		fake_make_many(fake, 2, SZ_64K);
		fake->private = false;
		fake_make_many(fake, 2, SZ_64K);
		scan_locked(fake, fake_nth(fake, 0), GFP_KERNEL, kswapd);
		list_for_each_entry(obj, &fake->objects, link)
			fake_expect_state(fake, obj, obj->id < 2, obj->id >= 2);
		fake_expect_counts(fake, "a VM was locked");
		fake_scan_all(fake, kswapd);
		KUNIT_EXPECT_EQ_MSG(test, fake_populated_objects(fake), 0, "objects left");
		fake_restore_all(fake);
		fake_verify_all(fake);
		fake_drop_all(fake);
	}
	fake_let_sleep(fake);
}

#define PURGE ((struct xe_bo_shrink_flags) { .purge = true })
#define BACK_UP ((struct xe_bo_shrink_flags) { })
#define BEFORE 7UL

/* It adds to what was scanned; the answer is that number of pages, or that error. */
static void expect_shrink(struct fake *fake, struct fake_object *obj,
			  struct xe_bo_shrink_flags flags, bool no_wait, long answer,
			  unsigned long tried, const char *what)
{
	struct ttm_operation_ctx ctx = { .no_wait_gpu = no_wait };
	unsigned long scanned = BEFORE;
	long ret;

	fake_lock(obj);
	ret = xe_bo_shrink(&ctx, &obj->bo->ttm, flags, &scanned);
	fake_unlock(obj);
	KUNIT_EXPECT_EQ_MSG(fake->test, ret, answer, "the answer for an object %s", what);
	KUNIT_EXPECT_EQ_MSG(fake->test, scanned, BEFORE + tried, "pages scanned of one %s", what);
	fake_expect_counts(fake, what);
}

static void expect_left_alone(struct fake *fake, struct fake_object *obj)
{
	struct ttm_tt *tt = obj->bo->ttm.ttm;

	expect_shrink(fake, obj, PURGE, true, -EBUSY, 0, "that is needed, to be purged");
	fake_lock(obj);
	tt->page_flags &= ~TTM_TT_FLAG_EXTERNAL_MAPPABLE;
	fake_unlock(obj);
	expect_shrink(fake, obj, BACK_UP, true, -EBUSY, 0, "of somebody else's pages");
	fake_lock(obj);
	tt->page_flags |= TTM_TT_FLAG_EXTERNAL_MAPPABLE;
	fake_unlock(obj);
	fake_vm_bind(fake->vm, obj);
	fake_vm_begin_validating(fake->vm);
	expect_shrink(fake, obj, BACK_UP, true, -EBUSY, 0, "that is made resident");
	fake_vm_end_validating(fake->vm);
	fake_vm_unbind(fake->vm, obj);
	fake_expect_state(fake, obj, true, false);
}

static void expect_copied_or_not(struct fake *fake, struct fake_object *obj)
{
	if (!fake_has_ccs(fake))
		return;
	fake_copy_error = -ENOMEM;
	expect_shrink(fake, obj, BACK_UP, true, -EBUSY, fake_pages(obj),
		      "whose metadata cannot be copied");
	fake_copy_error = 0;
	fake_expect_state(fake, obj, true, false);
	if (!fake->kind->sleep)
		return;
	fake_let_sleep(fake);
	fake_wait_asleep(fake);
	expect_shrink(fake, obj, BACK_UP, true, 0, 0, "whose metadata is with a sleeping device");
	fake_wake(fake);
	fake_expect_state(fake, obj, true, false);
}

static void expect_waited_for(struct fake *fake, struct fake_object *obj)
{
	struct dma_fence *fence = fake_make_fence(fake->test);

	fake_fence_attach(obj, fence);
	fake_fence_later(fence, 30);
	expect_shrink(fake, obj, BACK_UP, false, fake_pages(obj), fake_pages(obj),
		      "that is busy, with time to wait");
	KUNIT_EXPECT_TRUE_MSG(fake->test, dma_fence_is_signaled(fence), "not waited for");
	dma_fence_wait(fence, false);
	dma_fence_put(fence);
	fake_expect_state(fake, obj, false, true);
}

void fake_case_returns(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	unsigned long pages;

	fake_wake(fake);
	fake_vm_create(fake);
	fake_make_many(fake, 4, SZ_256K);
	pages = fake_pages(fake_nth(fake, 0));
	expect_left_alone(fake, fake_nth(fake, 0));
	expect_copied_or_not(fake, fake_nth(fake, 0));
	expect_waited_for(fake, fake_nth(fake, 0));
	expect_shrink(fake, fake_nth(fake, 1), BACK_UP, true, pages, pages, "that is needed");
	fake_expect_state(fake, fake_nth(fake, 1), false, true);
	fake_advise(fake_nth(fake, 2), XE_MADV_PURGEABLE_DONTNEED);
	expect_shrink(fake, fake_nth(fake, 2), PURGE, true, pages, pages,
		      "that is not needed, to be purged");
	fake_advise(fake_nth(fake, 3), XE_MADV_PURGEABLE_DONTNEED);
	expect_shrink(fake, fake_nth(fake, 3), BACK_UP, true, pages, pages,
		      "that is not needed, to be backed up");
	KUNIT_EXPECT_TRUE(test, fake_purged(fake_nth(fake, 2)));
	KUNIT_EXPECT_TRUE(test, fake_purged(fake_nth(fake, 3)));
	KUNIT_EXPECT_FALSE(test, fake_purged(fake_nth(fake, 1)));
	fake_expect_pages(fake, 0, 0, "all of them went");
	fake_note_purged(fake);
	fake_restore_all(fake);
	fake_verify_all(fake);
	fake_let_sleep(fake);
}

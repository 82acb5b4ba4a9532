// SPDX-License-Identifier: GPL-2.0-only
/* The shrinker's contract with reclaim: masks, portions, passes, progress. */

#include <linux/prandom.h>

#include <drm/ttm/ttm_backup.h>

#include "fake.h"

static void expect_count(struct fake *fake, gfp_t gfp, unsigned long pages, const char *mask)
{
	KUNIT_EXPECT_EQ_MSG(fake->test, fake_count(fake, gfp), pages ?: SHRINK_EMPTY,
			    "pages counted with %s", mask);
}

static void expect_counts_by_mask(struct fake *fake)
{
	unsigned long room = ttm_backup_bytes_avail() >> PAGE_SHIFT, all;
	long shrinkable, purgeable;

	fake_counts(fake->xe, &shrinkable, &purgeable);
	all = min_t(unsigned long, shrinkable, room) + purgeable;
	expect_count(fake, GFP_KERNEL, all, "GFP_KERNEL");
	expect_count(fake, GFP_KERNEL & ~__GFP_IO, all, "__GFP_FS alone");
	expect_count(fake, GFP_NOFS, purgeable, "GFP_NOFS");
	expect_count(fake, GFP_NOIO, purgeable, "GFP_NOIO");
	expect_count(fake, GFP_NOWAIT, purgeable, "GFP_NOWAIT");
}

void fake_case_masks(struct kunit *test)
{
	static const gfp_t masks[] = { GFP_NOFS, GFP_NOIO };
	struct fake *fake = fake_of(test);
	struct fake_object *obj;
	unsigned int i;

	fake_wake(fake);
	for (i = 0; i < ARRAY_SIZE(masks); i++) {
		fake_make_many(fake, 4, SZ_256K);
		list_for_each_entry(obj, &fake->objects, link)
			if (obj->id % 4 < 2)
				fake_advise(obj, XE_MADV_PURGEABLE_DONTNEED);
		expect_counts_by_mask(fake);
		fake_scan_until_stop(fake, masks[i], i);
		expect_counts_by_mask(fake);
		KUNIT_EXPECT_EQ_MSG(test, fake_populated_objects(fake), 2, "objects left");
		fake_expect_pages(fake, 2 * fake_pages(fake_nth(fake, 2)), 0, "purged");
		fake_note_purged(fake);
		fake_verify_all(fake);
		fake_drop_all(fake);
		fake->made = 0;
	}
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.backed_up, 0UL, "pages backed up, no __GFP_FS");
	fake_let_sleep(fake);
}

/* The n-th of the LRU goes, and nothing else. */
static void expect_next(struct fake *fake, struct fake_object *next, unsigned int left)
{
	unsigned long scanned, freed = fake_scan(fake, GFP_KERNEL, 1, left % 2, &scanned);

	KUNIT_EXPECT_EQ_MSG(fake->test, freed, fake_pages(next), "pages freed");
	KUNIT_EXPECT_EQ_MSG(fake->test, scanned, fake_pages(next), "pages scanned");
	fake_expect_state(fake, next, false, true);
	KUNIT_EXPECT_EQ_MSG(fake->test, fake_populated_objects(fake), left, "objects left");
}

void fake_case_portions(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	unsigned long scanned;
	unsigned int i;

	fake_wake(fake);
	fake_make_many(fake, 5, SZ_256K);
	for (i = 0; i < 5; i++)
		expect_next(fake, fake_nth(fake, i), 4 - i);
	KUNIT_EXPECT_EQ(test, fake_scan(fake, GFP_KERNEL, 1, false, &scanned), SHRINK_STOP);
	KUNIT_EXPECT_EQ_MSG(test, scanned, 0UL, "pages scanned with nothing left");
	fake_restore_all(fake);
	fake_touch(fake_nth(fake, 0));
	for (i = 0; i < 5; i++)
		expect_next(fake, fake_nth(fake, (i + 1) % 5), 4 - i);
	fake_restore_all(fake);
	KUNIT_EXPECT_EQ_MSG(test, fake_scan(fake, GFP_KERNEL, fake_pages(fake_nth(fake, 0)) + 1,
					    false, NULL),
			    2 * fake_pages(fake_nth(fake, 0)), "pages freed of a portion of two");
	fake_verify_all(fake);
	fake_let_sleep(fake);
}

struct held {
	struct fake_object *obj;
	bool held;
};

static void let_go(void *arg)
{
	struct held *held = arg;

	if (held->held)
		fake_unlock(held->obj);
	held->held = false;
}

/*
 * The first object is locked until the scan waits for the second, in its second
 * pass: only a third one can take it. Returns whether it did.
 */
static bool third_pass(struct fake *fake, gfp_t gfp, bool kswapd)
{
	struct dma_fence *fence = fake_make_fence(fake->test);
	struct held held = { .held = true };
	bool taken;

	fake_make_many(fake, 2, SZ_256K);
	held.obj = fake_nth(fake, 0);
	fake_fence_attach(fake_nth(fake, 1), fence);
	fake_lock(held.obj);
	fake_on_wait_arg = &held;
	fake_on_wait = let_go;
	fake_fence_later(fence, 30);
	fake_scan(fake, gfp, SZ_1M, kswapd, NULL);
	fake_on_wait = NULL;
	KUNIT_EXPECT_EQ_MSG(fake->test, !held.held, kswapd, "waited for the GPU");
	let_go(&held);
	dma_fence_wait(fence, false);
	dma_fence_put(fence);
	taken = fake_backed_up(held.obj);
	fake_verify_all(fake);
	fake_drop_all(fake);
	return taken;
}

void fake_case_third_pass(struct kunit *test)
{
	struct fake *fake = fake_of(test);

	fake_wake(fake);
	KUNIT_EXPECT_FALSE(test, third_pass(fake, GFP_KERNEL, false));
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.writebacks, 0UL, "writebacks in direct reclaim");
	KUNIT_EXPECT_FALSE(test, third_pass(fake, GFP_KERNEL & ~__GFP_IO, true));
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.writebacks, 0UL, "writebacks without __GFP_IO");
	KUNIT_EXPECT_TRUE_MSG(test, third_pass(fake, GFP_KERNEL, true), "by a third pass");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.writebacks, 1UL, "writebacks of kswapd");
	fake_let_sleep(fake);
}

/* Needed, pinned and not needed ones in any order: whatever is scanned, some of it goes. */
void fake_case_progress(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct fake_object *obj;
	struct rnd_state random;
	unsigned int left = 0;
	unsigned long freed;

	prandom_seed_state(&random, fake_seed);
	fake_wake(fake);
	fake_make_many(fake, 40, SZ_64K);
	list_for_each_entry(obj, &fake->objects, link) {
		u32 dice = prandom_u32_state(&random) % 4;

		left += dice != 0;
		if (dice == 0)
			fake_pin(fake, obj);
		else if (dice == 1)
			fake_advise(obj, XE_MADV_PURGEABLE_DONTNEED);
		else if (dice == 2)
			fake_touch(obj);
	}
	fake_expect_counts(fake, "populated");
	for (; left; left--) {
		freed = fake_scan(fake, GFP_KERNEL, 1, false, NULL);
		if (freed == SHRINK_STOP || !freed)
			break;
	}
	KUNIT_EXPECT_EQ_MSG(test, left, 0U, "objects that a scan did not get to");
	fake_expect_pages(fake, 0, 0, "all that may go is gone");
	fake_note_purged(fake);
	list_for_each_entry(obj, &fake->objects, link)
		if (xe_bo_is_pinned(obj->bo))
			fake_unpin(obj);
	fake_restore_all(fake);
	fake_verify_all(fake);
	fake_let_sleep(fake);
}

/* A needed object ahead of those that are not: the LRU's order is chance. */
static void make_behind(struct fake *fake)
{
	struct fake_object *obj;

	fake_make_many(fake, 9, SZ_256K);
	list_for_each_entry(obj, &fake->objects, link)
		if (obj->id)
			fake_advise(obj, XE_MADV_PURGEABLE_DONTNEED);
}

void fake_case_suspect_purge_behind(struct kunit *test)
{
	struct fake *fake = fake_of(test);

	fake_wake(fake);
	make_behind(fake);
	fake_scan_all(fake, false);
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.backed_up_too_soon, 0UL,
			    "pages backed up while others could be purged");
	fake_let_sleep(fake);
}

static void expect_all_purged(struct fake *fake, gfp_t gfp)
{
	struct fake_object *obj;
	unsigned int purged = 0, i;

	make_behind(fake);
	for (i = 0; i < 100; i++)
		fake_scan(fake, gfp, 128, i % 2, NULL);
	list_for_each_entry(obj, &fake->objects, link)
		purged += fake_purged(obj);
	KUNIT_EXPECT_EQ_MSG(fake->test, purged, 8U, "objects purged, %ld pages counted",
			    (long)fake_count(fake, gfp));
}

void fake_case_suspect_noswap_behind(struct kunit *test)
{
	expect_all_purged(fake_of(test), GFP_KERNEL);
}

void fake_case_suspect_nofs_behind(struct kunit *test)
{
	expect_all_purged(fake_of(test), GFP_NOFS);
}

void fake_case_suspect_dontneed_backed_up(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct fake_object *obj;

	fake_make_many(fake, 2, SZ_256K);
	fake_scan_all(fake, false);
	list_for_each_entry(obj, &fake->objects, link)
		fake_advise(obj, XE_MADV_PURGEABLE_DONTNEED);
	fake_restore_all(fake);
	fake_expect_pages(fake, 0, 2 * fake_pages(fake_nth(fake, 0)), "not needed, restored");
}

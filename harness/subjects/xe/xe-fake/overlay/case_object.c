// SPDX-License-Identifier: GPL-2.0-only
/* One object after the other: its life, its content, its pages in the counters. */

#include "fake.h"

static const size_t sizes[] = { SZ_4K, SZ_64K, SZ_2M, SZ_2M + SZ_64K, SZ_4M };

void fake_case_counts(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct fake_object *obj = fake_make(fake, SZ_2M);
	long pages = fake_pages(obj);

	fake_expect_pages(fake, pages, 0, "created");
	fake_advise(obj, XE_MADV_PURGEABLE_DONTNEED);
	fake_expect_pages(fake, 0, pages, "DONTNEED");
	fake_advise(obj, XE_MADV_PURGEABLE_DONTNEED);
	fake_expect_pages(fake, 0, pages, "DONTNEED twice");
	fake_advise(obj, XE_MADV_PURGEABLE_WILLNEED);
	fake_expect_pages(fake, pages, 0, "WILLNEED again");
	fake_pin(fake, obj);
	fake_expect_pages(fake, 0, 0, "pinned");
	fake_advise(obj, XE_MADV_PURGEABLE_DONTNEED);
	fake_expect_pages(fake, 0, 0, "pinned and DONTNEED");
	fake_unpin(obj);
	fake_expect_pages(fake, 0, pages, "unpinned, DONTNEED");
	fake_pin(fake, obj);
	fake_advise(obj, XE_MADV_PURGEABLE_WILLNEED);
	fake_pin(fake, obj);
	fake_unpin(obj);
	fake_expect_pages(fake, 0, 0, "pinned twice, unpinned once");
	fake_unpin(obj);
	fake_expect_pages(fake, pages, 0, "unpinned");
	fake_make(fake, SZ_64K);
	fake_expect_counts(fake, "two objects");
	fake_drop(fake, obj);
	fake_expect_counts(fake, "one object");
}

static void content(struct kunit *test, bool in_place)
{
	struct fake *fake = fake_of(test);
	struct fake_object *obj;
	unsigned int i, cycle;

	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		fake_make_many(fake, 2, sizes[i]);
	for (cycle = 0; cycle < 2; cycle++) {
		fake_expect_counts(fake, "populated");
		fake_scan_all(fake, cycle);
		fake_expect_counts(fake, "backed up");
		list_for_each_entry(obj, &fake->objects, link)
			fake_expect_state(fake, obj, false, true);
		fake_expect_pages(fake, 0, 0, "all backed up");
		if (!in_place)
			fake_restore_all(fake);
		fake_verify_all(fake);
		list_for_each_entry(obj, &fake->objects, link)
			fake_expect_state(fake, obj, true, false);
		fake_expect_counts(fake, "restored");
	}
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.restored, fake_seen.backed_up,
			    "pages restored, of those backed up");
}

void fake_case_content(struct kunit *test)
{
	content(test, false);
}

void fake_case_content_in_place(struct kunit *test)
{
	content(test, true);
}

void fake_case_purge(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct fake_object *obj;
	unsigned int i, cycle;

	for (cycle = 0; cycle < 2; cycle++) {
		for (i = 0; i < ARRAY_SIZE(sizes); i++)
			fake_make_many(fake, 1, sizes[i]);
		list_for_each_entry(obj, &fake->objects, link)
			fake_advise(obj, XE_MADV_PURGEABLE_DONTNEED);
		fake_expect_counts(fake, "DONTNEED");
		fake_scan_all(fake, cycle);
		list_for_each_entry(obj, &fake->objects, link) {
			fake_expect_state(fake, obj, false, true);
			fake_lock(obj);
			KUNIT_EXPECT_TRUE_MSG(test, xe_bo_is_purged(obj->bo), "object %u",
					      obj->id);
			fake_unlock(obj);
		}
		fake_expect_pages(fake, 0, 0, "all purged");
		fake_note_purged(fake);
		if (!cycle)
			fake_restore_all(fake);
		fake_verify_all(fake);
		fake_expect_counts(fake, "read as zero");
		fake_drop_all(fake);
	}
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.backed_up, 0UL, "pages backed up of DONTNEED objects");
}

/* In the LRU's order: n needed, n not needed, n needed, or the other way around. */
static void make_mixed(struct fake *fake, bool dontneed_first, unsigned int n)
{
	struct fake_object *obj;

	fake_make_many(fake, 3 * n, SZ_256K);
	list_for_each_entry(obj, &fake->objects, link)
		if (dontneed_first ? obj->id < n : obj->id / n % 3 == 1)
			fake_advise(obj, XE_MADV_PURGEABLE_DONTNEED);
}

/* The first scan asks for a little more than can be purged. */
static void expect_purged_first(struct fake *fake, bool kswapd)
{
	fake_scan(fake, GFP_KERNEL, 4 * fake_pages(fake_nth(fake, 0)) + 1, kswapd, NULL);
	fake_scan_all(fake, kswapd);
	KUNIT_EXPECT_EQ_MSG(fake->test, fake_seen.backed_up_too_soon, 0UL,
			    "pages backed up while others could be purged");
	KUNIT_EXPECT_EQ_MSG(fake->test, fake_populated_objects(fake), 0, "objects left populated");
	fake_expect_counts(fake, "purged and backed up");
	fake_note_purged(fake);
	fake_restore_all(fake);
	fake_verify_all(fake);
}

void fake_case_purge_first(struct kunit *test)
{
	struct fake *fake = fake_of(test);

	make_mixed(fake, true, 4);
	expect_purged_first(fake, false);
	fake_drop_all(fake);
	fake->made = 0;
	make_mixed(fake, true, 4);
	expect_purged_first(fake, true);
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.purged, fake_seen.backed_up / 2, "pages purged");
}

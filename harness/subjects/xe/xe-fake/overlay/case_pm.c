// SPDX-License-Identifier: GPL-2.0-only
/* Scans of a device that sleeps. */

#include "fake.h"

static void make_asleep(struct fake *fake, bool needed)
{
	struct fake_object *obj;

	fake_make_many(fake, 4, SZ_256K);
	if (!needed)
		list_for_each_entry(obj, &fake->objects, link)
			fake_advise(obj, XE_MADV_PURGEABLE_DONTNEED);
	fake_flush_wakeup(fake->xe);
	fake_wait_asleep(fake);
}

static void expect_wakeup_by_worker(struct fake *fake, bool kswapd)
{
	unsigned long resumes = fake_seen.resumes, ret;

	/* Else one could be there before the scan gets to what needs the device. */
	WRITE_ONCE(fake_slow_workers, true);
	ret = fake_scan(fake, GFP_KERNEL, SZ_1M, kswapd, NULL);
	WRITE_ONCE(fake_slow_workers, false);
	KUNIT_EXPECT_EQ_MSG(fake->test, ret, SHRINK_STOP, "pages freed, the device asleep");
	KUNIT_EXPECT_EQ_MSG(fake->test, fake_populated_objects(fake), 4, "objects left");
	fake_flush_wakeup(fake->xe);
	KUNIT_EXPECT_GT_MSG(fake->test, fake_seen.resumes, resumes, "no worker woke the device");
	fake_expect_counts(fake, "nothing went");
}

void fake_case_asleep_direct(struct kunit *test)
{
	struct fake *fake = fake_of(test);

	make_asleep(fake, true);
	expect_wakeup_by_worker(fake, false);
	fake_scan_all(fake, false);
	KUNIT_EXPECT_EQ_MSG(test, fake_populated_objects(fake), 0, "objects left, woken");
	fake_verify_all(fake);
}

void fake_case_asleep_kswapd(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	unsigned long resumes;

	make_asleep(fake, true);
	resumes = fake_seen.resumes;
	fake_scan(fake, GFP_KERNEL, SZ_1M, true, NULL);
	KUNIT_EXPECT_GT_MSG(test, fake_seen.resumes, resumes, "kswapd did not wake the device");
	KUNIT_EXPECT_EQ_MSG(test, fake_populated_objects(fake), 0, "objects left by kswapd");
	fake_verify_all(fake);
}

/* To come back from D3cold takes allocations: not even kswapd may wait for that. */
void fake_case_asleep_d3cold(struct kunit *test)
{
	struct fake *fake = fake_of(test);

	make_asleep(fake, true);
	fake->xe->d3cold.capable = true;
	expect_wakeup_by_worker(fake, true);
	fake->xe->d3cold.capable = false;
	fake_verify_all(fake);
}

void fake_case_asleep_purge(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	unsigned long resumes, pages;
	int kswapd;

	for (kswapd = 0; kswapd < 2; kswapd++) {
		make_asleep(fake, false);
		resumes = fake_seen.resumes;
		pages = 4 * fake_pages(fake_nth(fake, 0));
		KUNIT_EXPECT_EQ_MSG(test, fake_scan(fake, GFP_KERNEL, pages, kswapd, NULL),
				    pages, "pages purged, the device asleep");
		fake_flush_wakeup(fake->xe);
		KUNIT_EXPECT_EQ_MSG(test, fake_seen.resumes, resumes, "woken for a purge");
		fake_expect_pages(fake, 0, 0, "purged");
		fake_drop_all(fake);
	}
}

/* Read by the CPU where it lay, an object has its metadata among its pages: it needs no copy. */
void fake_case_asleep_system(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	unsigned long pages;

	fake_make_many(fake, 4, SZ_256K);
	fake_scan_all(fake, false);
	fake_verify_all(fake);
	KUNIT_EXPECT_EQ_MSG(test, fake_populated_objects(fake), 4, "objects read back");
	pages = 4 * fake_pages(fake_nth(fake, 0));
	fake_flush_wakeup(fake->xe);
	fake_wait_asleep(fake);
	/* A worker may wake it meanwhile; here it is too late for that. */
	WRITE_ONCE(fake_slow_workers, true);
	KUNIT_EXPECT_EQ_MSG(test, fake_scan(fake, GFP_KERNEL, pages, false, NULL), pages,
			    "pages freed, the device asleep");
	WRITE_ONCE(fake_slow_workers, false);
	fake_flush_wakeup(fake->xe);
	fake_expect_pages(fake, 0, 0, "all backed up");
	fake_verify_all(fake);
}

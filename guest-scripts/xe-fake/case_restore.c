// SPDX-License-Identifier: GPL-2.0-only
/* Restores that do not go through at once: by TTM's own attribute for faults. */

#include "fake.h"

#define FAULTS "cd /sys/kernel/debug/ttm/backup_fault_inject && echo 0 >verbose && "

static void faults(struct kunit *test, bool on)
{
	fake_sh(test, on ? FAULTS "echo -1 >times && echo 10 >probability" :
		FAULTS "echo 0 >probability");
}

void fake_case_interrupted(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	unsigned int tries = 0, interrupted = 0;
	struct fake_object *obj;
	int ret;

	fake_make_many(fake, 3, SZ_1M);
	fake_scan_all(fake, false);
	faults(test, true);
	list_for_each_entry(obj, &fake->objects, link) {
		do {
			ret = fake_restore(obj);
			interrupted += ret == -EINTR;
			if (interrupted % 16 == 1) {
				fake_expect_counts(fake, "interrupted");
				fake_scan(fake, GFP_KERNEL, 1, false, NULL);
			}
		} while (ret == -EINTR && tries++ < 10000);
		KUNIT_EXPECT_EQ_MSG(test, ret, 0, "object %u", obj->id);
	}
	faults(test, false);
	KUNIT_EXPECT_GT_MSG(test, interrupted, 10U, "interrupted restores");
	fake_expect_counts(fake, "restored");
	fake_verify_all(fake);
}

void fake_case_interrupted_drop(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct fake_object *obj;
	int ret;

	fake_make_many(fake, 8, SZ_1M);
	fake_scan_all(fake, false);
	faults(test, true);
	list_for_each_entry(obj, &fake->objects, link) {
		ret = fake_restore(obj);
		KUNIT_EXPECT_TRUE_MSG(test, !ret || ret == -EINTR, "%d", ret);
	}
	faults(test, false);
	KUNIT_EXPECT_GT_MSG(test, fake_seen.interrupted, 0UL, "interrupted restores");
	/* In the middle of it: not needed any more, scanned, gone. */
	fake_advise(fake_nth(fake, 0), XE_MADV_PURGEABLE_DONTNEED);
	fake_scan_all(fake, true);
	fake_expect_counts(fake, "scanned in the middle of a restore");
	fake_drop_all(fake);
	drain_workqueue(fake->xe->ttm.wq);
	fake_expect_pages(fake, 0, 0, "freed in the middle of a restore");
}

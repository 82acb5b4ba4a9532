// SPDX-License-Identifier: GPL-2.0-only
/* Backups and restores that do not go through at once: by TTM's own attribute for faults. */

#include <drm/ttm/ttm_backup.h>

#include "fake.h"

#define FAULTS "cd /sys/kernel/debug/ttm/backup_fault_inject && echo 0 >verbose && "

static void faults(struct kunit *test, bool on)
{
	fake_sh(test, on ? FAULTS "echo -1 >times && echo 10 >probability" :
		FAULTS "echo 0 >probability");
}

/* Of each object one half is backed up, the other half stays. */
static void back_up_halves(struct fake *fake)
{
	struct fake_object *obj;
	unsigned long i, kept;

	fake_sh(fake->test, FAULTS "echo -1 >times && echo 100 >probability");
	fake_scan_all(fake, false);
	faults(fake->test, false);
	list_for_each_entry(obj, &fake->objects, link) {
		fake_expect_state(fake, obj, false, true);
		fake_lock(obj);
		for (i = 0, kept = 0; i < fake_pages(obj); i++)
			kept += !ttm_backup_page_ptr_is_handle(obj->bo->ttm.ttm->pages[i]);
		fake_unlock(obj);
		KUNIT_EXPECT_TRUE_MSG(fake->test, kept && kept < fake_pages(obj),
				      "object %u: %lu of %lu pages stayed", obj->id, kept,
				      fake_pages(obj));
	}
	fake_expect_pages(fake, 0, 0, "half of each backed up");
}

void fake_case_partial(struct kunit *test)
{
	struct fake *fake = fake_of(test);

	/* So large that each half has a page of its own, of whatever order. */
	fake_make_many(fake, 3, SZ_8M);
	back_up_halves(fake);
	fake_restore_all(fake);
	fake_expect_counts(fake, "restored");
	fake_verify_all(fake);
	back_up_halves(fake);
	fake_verify(fake, fake_nth(fake, 0));
	fake_expect_counts(fake, "one restored in its place");
	fake_drop_all(fake);
	drain_workqueue(fake->xe->ttm.wq);
	fake_expect_pages(fake, 0, 0, "freed with one half backed up");
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

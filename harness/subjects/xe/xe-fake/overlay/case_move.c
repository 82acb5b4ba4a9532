// SPDX-License-Identifier: GPL-2.0-only
/* Moves between the TT domain and system memory, by others than the shrinker. */

#include <linux/delay.h>

#include "fake.h"

static u64 tt_usage(struct fake *fake)
{
	return ttm_resource_manager_usage(&fake->xe->mem.sys_mgr);
}

static int evict_all(struct fake *fake)
{
	struct ttm_device *ttm = &fake->xe->ttm;

	return ttm_resource_manager_evict_all(ttm, ttm_manager_type(ttm, XE_PL_TT));
}

static u32 domain_of(struct fake_object *obj)
{
	u32 ret;

	fake_lock(obj);
	ret = obj->bo->ttm.resource ? obj->bo->ttm.resource->mem_type : XE_PL_SYSTEM;
	fake_unlock(obj);
	return ret;
}

/* With its pages, which are mapped for DMA in the TT domain alone. */
static void expect_in(struct fake *fake, struct fake_object *obj, u32 domain, const char *when)
{
	bool mapped;

	KUNIT_EXPECT_EQ_MSG(fake->test, domain_of(obj), domain, "domain of object %u, %s", obj->id,
			    when);
	fake_expect_state(fake, obj, true, false);
	fake_lock(obj);
	mapped = fake_tt_mapped(obj->bo->ttm.ttm);
	fake_unlock(obj);
	KUNIT_EXPECT_EQ_MSG(fake->test, mapped, domain == XE_PL_TT,
			    "object %u mapped for DMA, %s", obj->id, when);
}

static int to_system(struct fake_object *obj)
{
	int ret;

	fake_lock(obj);
	ret = fake_validate_system(obj->bo);
	fake_unlock(obj);
	return ret;
}

/* Of objects in use by the GPU: nothing goes before that has ended. */
void fake_case_move_busy(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct fake_vm *vm = fake_vm_create(fake);
	struct fake_object *obj;
	struct dma_fence *fence;
	int by_eviction;

	fake_wake(fake);
	fake_make_many(fake, 2, SZ_256K);
	for (by_eviction = 0; by_eviction < 2; by_eviction++) {
		fence = fake_make_fence(test);
		list_for_each_entry(obj, &fake->objects, link) {
			if (!fake_vm_has(vm, obj))
				fake_vm_bind(vm, obj);
			expect_in(fake, obj, XE_PL_TT, "before");
			fake_fence_attach(obj, fence);
		}
		fake_fence_later(fence, 50);
		if (by_eviction)
			KUNIT_EXPECT_EQ(test, evict_all(fake), 0);
		else
			KUNIT_EXPECT_EQ(test, to_system(fake_nth(fake, 0)), 0);
		KUNIT_EXPECT_TRUE_MSG(test, dma_fence_is_signaled(fence),
				      "moved while the GPU uses it");
		dma_fence_wait(fence, false);
		dma_fence_put(fence);
		expect_in(fake, fake_nth(fake, 0), XE_PL_SYSTEM, "moved");
		KUNIT_EXPECT_TRUE_MSG(test, fake_vm_told(vm, fake_nth(fake, 0)),
				      "the VM was not told that the object moves");
		fake_expect_counts(fake, "moved");
		fake_verify_all(fake);
		fake_restore_all(fake);
		fake_verify_all(fake);
	}
	KUNIT_EXPECT_EQ_MSG(test, tt_usage(fake),
			    2ULL * xe_bo_size(fake_nth(fake, 0)->bo), "bytes in the TT domain");
	fake_let_sleep(fake);
}

/* A failed move to the TT domain leaves the object as it was, and nothing in the domain. */
static void expect_restore_fails(struct fake *fake, struct fake_object *obj, const char *why)
{
	u64 usage = tt_usage(fake);
	int i;

	for (i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ_MSG(fake->test, fake_restore(obj), -ENOMEM, "object %u, %s",
				    obj->id, why);
		KUNIT_EXPECT_EQ_MSG(fake->test, tt_usage(fake), usage,
				    "bytes in the TT domain, %s", why);
		KUNIT_EXPECT_EQ_MSG(fake->test, domain_of(obj), XE_PL_SYSTEM,
				    "domain of object %u, %s", obj->id, why);
		fake_expect_counts(fake, why);
	}
}

void fake_case_move_fails(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct fake_object *obj;

	fake_wake(fake);
	fake_make_many(fake, 3, SZ_256K);
	if (fake_has_ccs(fake)) {
		fake_copy_error = -ENOMEM;
		KUNIT_EXPECT_EQ(test, to_system(fake_nth(fake, 0)), -ENOMEM);
		fake_copy_error = 0;
		expect_in(fake, fake_nth(fake, 0), XE_PL_TT, "its metadata cannot be copied");
		fake_verify(fake, fake_nth(fake, 0));
	}
	/* One that was purged, one backed up, one with its pages in system memory. */
	fake_advise(fake_nth(fake, 0), XE_MADV_PURGEABLE_DONTNEED);
	fake_scan(fake, GFP_KERNEL, 1, false, NULL);
	KUNIT_EXPECT_TRUE(test, fake_purged(fake_nth(fake, 0)));
	fake_scan(fake, GFP_KERNEL, 1, false, NULL);
	fake_expect_state(fake, fake_nth(fake, 1), false, true);
	KUNIT_EXPECT_EQ(test, to_system(fake_nth(fake, 2)), 0);
	fake_note_purged(fake);
	fake_map_error = -ENOMEM;
	list_for_each_entry(obj, &fake->objects, link)
		expect_restore_fails(fake, obj, "no table of DMA addresses to be had");
	fake_map_error = 0;
	fake_verify_all(fake);
	list_for_each_entry(obj, &fake->objects, link) {
		KUNIT_EXPECT_EQ_MSG(test, fake_restore(obj), 0, "object %u", obj->id);
		expect_in(fake, obj, XE_PL_TT, "moved at last");
	}
	fake_scan_all(fake, true);
	KUNIT_EXPECT_EQ_MSG(test, fake_populated_objects(fake), 0, "objects left");
	fake_restore_all(fake);
	fake_verify_all(fake);
	fake_let_sleep(fake);
}

/* Copies of the metadata take their time: what is on its way is busy. */
void fake_case_move_copying(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct fake_object *obj;
	int kswapd;

	fake_wake(fake);
	fake_make_many(fake, 3, SZ_256K);
	for (kswapd = 0; kswapd < 2; kswapd++) {
		fake_copy_ms = 30;
		list_for_each_entry(obj, &fake->objects, link)
			KUNIT_EXPECT_EQ_MSG(test, to_system(obj), 0, "object %u", obj->id);
		list_for_each_entry(obj, &fake->objects, link)
			expect_in(fake, obj, XE_PL_SYSTEM, "copied");
		fake_restore_all(fake);
		fake_scan_all(fake, kswapd);
		fake_expect_counts(fake, "scanned while copies run");
		fake_copy_ms = 0;
		msleep(60);
		fake_scan_all(fake, kswapd);
		KUNIT_EXPECT_EQ_MSG(test, fake_populated_objects(fake), 0, "objects left");
		fake_copy_ms = 30;
		fake_restore_all(fake);
		fake_copy_ms = 0;
		fake_verify_all(fake);
	}
	KUNIT_EXPECT_GE_MSG(test, fake_seen.copies, 12UL, "copies of the metadata");
	fake_let_sleep(fake);
}

static unsigned int pinned_external(struct fake *fake)
{
	struct list_head *at;
	unsigned int n = 0;

	spin_lock(&fake->xe->pinned.lock);
	list_for_each(at, &fake->xe->pinned.late.external)
		n++;
	spin_unlock(&fake->xe->pinned.lock);
	return n;
}

/* What is pinned for others comes back first, stays where it is, and is listed until the end. */
void fake_case_pin_moves(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct fake_object *obj;
	int kswapd, ret;

	fake_wake(fake);
	fake_make_many(fake, 4, SZ_256K);
	for (kswapd = 0; kswapd < 2; kswapd++) {
		fake_scan_all(fake, kswapd);
		fake_pin(fake, fake_nth(fake, 0));
		fake_pin(fake, fake_nth(fake, 1));
		fake_pin(fake, fake_nth(fake, 1));
		expect_in(fake, fake_nth(fake, 0), XE_PL_TT, "pinned");
		KUNIT_EXPECT_EQ_MSG(test, pinned_external(fake), 2, "objects listed as pinned");
		fake_expect_pages(fake, 0, 0, "two pinned, two backed up");
		fake_verify_all(fake);
		ret = to_system(fake_nth(fake, 0));
		KUNIT_EXPECT_LT_MSG(test, ret, 0, "a pinned object was moved");
		KUNIT_EXPECT_EQ(test, evict_all(fake), 0);
		fake_scan_all(fake, kswapd);
		list_for_each_entry(obj, &fake->objects, link)
			if (obj->id < 2)
				expect_in(fake, obj, XE_PL_TT, "still pinned");
			else
				fake_expect_state(fake, obj, false, true);
		fake_expect_counts(fake, "two pinned");
		fake_unpin(fake_nth(fake, 1));
		KUNIT_EXPECT_EQ_MSG(test, pinned_external(fake), 2, "objects listed, unpinned once");
		fake_unpin(fake_nth(fake, 1));
		fake_unpin(fake_nth(fake, 0));
		KUNIT_EXPECT_EQ_MSG(test, pinned_external(fake), 0, "objects listed, unpinned");
		fake_restore_all(fake);
		fake_expect_counts(fake, "unpinned");
		fake_verify_all(fake);
	}
	fake_let_sleep(fake);
}

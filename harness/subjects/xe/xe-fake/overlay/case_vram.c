// SPDX-License-Identifier: GPL-2.0-only
/* Local memory: evictions to system memory, and backups of what is pinned there. */

#include "fake.h"
#include "vram.h"
#include "xe_bo_evict.h"

#ifdef FAKE_VRAM

#define SIZE SZ_256K

static int evict_vram(struct fake *fake)
{
	struct ttm_device *ttm = &fake->xe->ttm;

	return ttm_resource_manager_evict_all(ttm, ttm_manager_type(ttm, XE_PL_VRAM0));
}

static int go_home(struct fake_object *obj)
{
	int ret;

	fake_lock(obj);
	ret = fake_validate_home(obj->bo);
	fake_unlock(obj);
	return ret;
}

static void vram_make_many(struct fake *fake, unsigned int n)
{
	while (n--)
		fake_vram_fill(fake, fake_vram_make(fake, SIZE));
}

static void expect_domains(struct fake *fake, bool vram, const char *when)
{
	struct fake_object *obj;

	list_for_each_entry(obj, &fake->objects, link) {
		fake_lock(obj);
		KUNIT_EXPECT_EQ_MSG(fake->test, fake_in_vram(obj->bo), vram,
				    "object %u in VRAM, %s", obj->id, when);
		fake_unlock(obj);
	}
	fake_expect_counts(fake, when);
}

static void verify_vram(struct fake *fake)
{
	struct fake_object *obj;

	/* What was purged has nothing to be read, and nowhere to lie. */
	list_for_each_entry(obj, &fake->objects, link)
		if (!fake_purged(obj))
			fake_vram_verify(fake, obj);
}

static bool is_busy(struct fake_object *obj)
{
	bool ret;

	fake_lock(obj);
	ret = !dma_resv_test_signaled(obj->bo->ttm.base.resv, DMA_RESV_USAGE_BOOKKEEP);
	fake_unlock(obj);
	return ret;
}

/* Out of it in full use, backed up from there, and in again. */
static void out_and_in(struct fake *fake, bool kswapd)
{
	struct fake_object *obj, *busy = fake_nth(fake, 2);
	struct dma_fence *fence = fake_make_fence(fake->test);

	fake_fence_attach(busy, fence);
	fake_fence_later(fence, 50);
	KUNIT_EXPECT_EQ(fake->test, evict_vram(fake), 0);
	/* The copy is queued behind what the GPU does: until then it is busy. */
	KUNIT_EXPECT_TRUE_MSG(fake->test, is_busy(busy) || dma_fence_is_signaled(fence),
			      "evicted, and taken for idle while the GPU uses it");
	dma_fence_wait(fence, false);
	dma_fence_put(fence);
	expect_domains(fake, false, "evicted");
	KUNIT_EXPECT_EQ_MSG(fake->test, fake_vram_usage(fake), 0ULL, "bytes in VRAM, evicted");
	KUNIT_EXPECT_TRUE_MSG(fake->test, fake_purged(fake_nth(fake, 1)),
			      "evicted though not needed");
	KUNIT_EXPECT_TRUE_MSG(fake->test, fake_vm_told(fake->vm, fake_nth(fake, 0)),
			      "the VM was not told");
	fake_drop(fake, fake_nth(fake, 1));
	fake_vram_lose(fake);
	verify_vram(fake);
	fake_scan_all(fake, kswapd);
	KUNIT_EXPECT_EQ_MSG(fake->test, fake_populated_objects(fake), 0, "objects left");
	fake_expect_counts(fake, "backed up from where they were evicted to");
	list_for_each_entry(obj, &fake->objects, link)
		KUNIT_EXPECT_EQ_MSG(fake->test, go_home(obj), 0, "object %u", obj->id);
	expect_domains(fake, true, "in VRAM again");
	fake_expect_pages(fake, 0, 0, "all in VRAM");
	verify_vram(fake);
}

void fake_case_vram(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	int kswapd;

	fake_vram_add(fake, SZ_4M);
	for (kswapd = 0; kswapd < 2; kswapd++) {
		fake->made = 0;
		vram_make_many(fake, 6);
		if (!fake->vm)
			fake_vm_create(fake);
		fake_vm_bind(fake->vm, fake_nth(fake, 0));
		fake_advise(fake_nth(fake, 1), XE_MADV_PURGEABLE_DONTNEED);
		expect_domains(fake, true, "made");
		KUNIT_EXPECT_EQ_MSG(test, fake_vram_usage(fake), 6ULL * SIZE, "bytes in VRAM");
		fake_scan_all(fake, kswapd);
		expect_domains(fake, true, "a scan leaves VRAM alone");
		out_and_in(fake, kswapd);
		fake_drop_all(fake);
	}
	/* Twice as many as there is room for: each new one has the oldest put out. */
	vram_make_many(fake, 32);
	fake_expect_counts(fake, "more objects than VRAM");
	KUNIT_EXPECT_EQ_MSG(test, fake_vram_usage(fake), (u64)SZ_4M, "bytes in VRAM, all of it");
	fake_scan_all(fake, false);
	verify_vram(fake);
}

/* Copies fail, or there is no table of DMA addresses: nothing moves, and nothing stays behind. */
void fake_case_vram_fails(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct ttm_resource_manager *tt;
	struct fake_object *obj;
	int i;

	fake_vram_add(fake, SZ_4M);
	tt = &fake->xe->mem.sys_mgr;
	vram_make_many(fake, 4);
	for (i = 0; i < 2; i++) {
		fake_copy_error = i ? 0 : -ENOMEM;
		fake_map_error = i ? -ENOMEM : 0;
		KUNIT_EXPECT_LT_MSG(test, evict_vram(fake), 0, "an eviction without a copy");
		fake_copy_error = 0;
		fake_map_error = 0;
		expect_domains(fake, true, "the eviction failed");
		KUNIT_EXPECT_EQ_MSG(test, fake_vram_usage(fake), 4ULL * SIZE, "bytes in VRAM");
		KUNIT_EXPECT_EQ_MSG(test, ttm_resource_manager_usage(tt), 0ULL,
				    "bytes in the TT domain, the eviction failed");
		fake_scan_all(fake, false);
		verify_vram(fake);
	}
	KUNIT_EXPECT_EQ(test, evict_vram(fake), 0);
	fake_scan_all(fake, true);
	fake_copy_error = -ENOMEM;
	list_for_each_entry(obj, &fake->objects, link)
		KUNIT_EXPECT_EQ_MSG(test, go_home(obj), -ENOMEM, "object %u", obj->id);
	fake_copy_error = 0;
	expect_domains(fake, false, "the way back failed");
	KUNIT_EXPECT_EQ_MSG(test, fake_vram_usage(fake), 0ULL, "bytes in VRAM, the way back failed");
	verify_vram(fake);
	list_for_each_entry(obj, &fake->objects, link)
		KUNIT_EXPECT_EQ_MSG(test, go_home(obj), 0, "object %u", obj->id);
	expect_domains(fake, true, "in VRAM again");
	verify_vram(fake);
}

/* What is pinned in VRAM, one of each kind. */
enum { EARLY, LATE, UNSAVED, KERNELS };

struct pinned {
	struct xe_bo *kernel[KERNELS];
	struct fake_object *external, *user, *system;
};

static const u32 kernel_flags[KERNELS] = {
	[EARLY] = 0,
	[LATE] = XE_BO_FLAG_PINNED_LATE_RESTORE,
	[UNSAVED] = XE_BO_FLAG_PINNED_NORESTORE,
};

static void make_pinned(struct fake *fake, struct pinned *pinned)
{
	unsigned int i;

	for (i = 0; i < KERNELS; i++)
		pinned->kernel[i] = fake_vram_make_kernel(fake, kernel_flags[i], 100 + i);
	pinned->external = fake_vram_make(fake, SIZE);
	pinned->user = fake_vram_make(fake, SIZE);
	fake_vram_fill(fake, pinned->external);
	fake_vram_fill(fake, pinned->user);
	fake_pin(fake, pinned->external);
	pinned->system = fake_make(fake, SIZE);
	fake_fill(fake, pinned->system);
}

static void drop_pinned(struct pinned *pinned)
{
	unsigned int i;

	for (i = 0; i < KERNELS; i++)
		xe_bo_unpin_map_no_vm(pinned->kernel[i]);
	fake_unpin(pinned->external);
}

static bool is_saved(struct xe_bo *bo)
{
	bool ret;

	xe_bo_lock(bo, false);
	ret = bo->backup_obj;
	xe_bo_unlock(bo);
	return ret;
}

/* Each that must be kept has somewhere to be kept, or none has. */
static void expect_saved(struct fake *fake, struct pinned *pinned, bool saved, const char *when)
{
	unsigned int i;

	for (i = 0; i < KERNELS; i++)
		KUNIT_EXPECT_EQ_MSG(fake->test, is_saved(pinned->kernel[i]), saved && i != UNSAVED,
				    "a backup of the kernel's object %u, %s", i, when);
	KUNIT_EXPECT_EQ_MSG(fake->test, is_saved(pinned->external->bo), saved,
			    "a backup of the pinned object, %s", when);
	KUNIT_EXPECT_FALSE_MSG(fake->test, is_saved(pinned->user->bo),
			       "a backup of what is evicted, %s", when);
}

static void expect_kept(struct fake *fake, struct pinned *pinned, const char *when)
{
	unsigned int i;

	for (i = 0; i < KERNELS; i++)
		if (i != UNSAVED)
			KUNIT_EXPECT_TRUE_MSG(fake->test,
					      fake_vram_kernel_kept(pinned->kernel[i], 100 + i),
					      "the kernel's object %u, %s", i, when);
	fake_lock(pinned->external);
	KUNIT_EXPECT_TRUE_MSG(fake->test, fake_in_vram(pinned->external->bo),
			      "the pinned object in VRAM, %s", when);
	fake_unlock(pinned->external);
	fake_vram_verify(fake, pinned->external);
	fake_vram_verify(fake, pinned->user);
	fake_verify(fake, pinned->system);
}

static unsigned int listed(struct fake *fake, struct list_head *head)
{
	struct list_head *at;
	unsigned int n = 0;

	spin_lock(&fake->xe->pinned.lock);
	list_for_each(at, head)
		n++;
	spin_unlock(&fake->xe->pinned.lock);
	return n;
}

static void expect_lists(struct fake *fake, bool evicted, const char *when)
{
	KUNIT_EXPECT_EQ_MSG(fake->test, listed(fake, &fake->xe->pinned.early.evicted),
			    evicted ? 2 : 0, "evicted, to be restored early, %s", when);
	KUNIT_EXPECT_EQ_MSG(fake->test, listed(fake, &fake->xe->pinned.late.evicted),
			    evicted ? 1 : 0, "evicted, to be restored late, %s", when);
	KUNIT_EXPECT_EQ_MSG(fake->test, listed(fake, &fake->xe->pinned.early.kernel_bo_present),
			    evicted ? 0 : 2, "present, early, %s", when);
	KUNIT_EXPECT_EQ_MSG(fake->test, listed(fake, &fake->xe->pinned.late.kernel_bo_present),
			    evicted ? 0 : 1, "present, late, %s", when);
	KUNIT_EXPECT_EQ_MSG(fake->test, listed(fake, &fake->xe->pinned.late.external), 1,
			    "pinned for others, %s", when);
}

/* Of so many objects: what is pinned does not count, and no more does its backup. */
static void expect_shrinkable(struct fake *fake, long objects, const char *when)
{
	fake_expect_pages(fake, objects * (SIZE >> PAGE_SHIFT), 0, when);
}

/* As xe_pm_resume() does it, the memory having lost all that was in it. */
static void resume(struct fake *fake, struct pinned *pinned, const char *when)
{
	fake_vram_lose(fake);
	KUNIT_EXPECT_EQ_MSG(fake->test, xe_bo_restore_early(fake->xe), 0, "%s", when);
	KUNIT_EXPECT_TRUE_MSG(fake->test, fake_vram_kernel_kept(pinned->kernel[EARLY], 100),
			      "the kernel's object, before the GPU runs, %s", when);
	KUNIT_EXPECT_EQ_MSG(fake->test, xe_bo_restore_late(fake->xe), 0, "%s", when);
	expect_lists(fake, false, when);
	expect_saved(fake, pinned, false, when);
	expect_kept(fake, pinned, when);
}

/* Prepared by the PM notifier: there is room for the backups, and nobody takes it away. */
void fake_case_vram_suspend(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct pinned pinned;
	unsigned int i;
	int kswapd;

	fake_vram_add(fake, SZ_4M);
	make_pinned(fake, &pinned);
	expect_lists(fake, false, "made");
	expect_shrinkable(fake, 1, "made");
	for (kswapd = 0; kswapd < 2; kswapd++) {
		KUNIT_EXPECT_EQ(test, xe_bo_notifier_prepare_all_pinned(fake->xe), 0);
		expect_saved(fake, &pinned, true, "prepared");
		/* What was evicted last time is read by now. */
		expect_shrinkable(fake, kswapd ? 2 : 1, "prepared");
		fake_scan_all(fake, kswapd);
		expect_shrinkable(fake, 0, "prepared and scanned");
		KUNIT_EXPECT_EQ(test, xe_bo_evict_all(fake->xe), 0);
		expect_lists(fake, true, "evicted");
		expect_saved(fake, &pinned, true, "evicted");
		fake_scan_all(fake, kswapd);
		expect_shrinkable(fake, 0, "evicted and scanned");
		resume(fake, &pinned, "prepared");
		xe_bo_notifier_unprepare_all_pinned(fake->xe);
		fake_expect_counts(fake, "resumed");
	}
	/* Prepared, and then it does not come to it. */
	KUNIT_EXPECT_EQ(test, xe_bo_notifier_prepare_all_pinned(fake->xe), 0);
	expect_saved(fake, &pinned, true, "prepared in vain");
	xe_bo_notifier_unprepare_all_pinned(fake->xe);
	expect_saved(fake, &pinned, false, "not suspended");
	expect_lists(fake, false, "not suspended");
	expect_kept(fake, &pinned, "not suspended");
	/* ... or the kernel's own are given up in between. */
	KUNIT_EXPECT_EQ(test, xe_bo_notifier_prepare_all_pinned(fake->xe), 0);
	for (i = 0; i < KERNELS; i++)
		xe_bo_unpin_map_no_vm(pinned.kernel[i]);
	xe_bo_notifier_unprepare_all_pinned(fake->xe);
	fake_unpin(pinned.external);
	fake_expect_counts(fake, "given up");
}

/* What is unpinned by others while a suspend is prepared keeps no backup for ever. */
void fake_case_suspect_vram_unpinned(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct fake_object *obj;

	fake_vram_add(fake, SZ_4M);
	obj = fake_vram_make(fake, SIZE);
	fake_vram_fill(fake, obj);
	fake_pin(fake, obj);
	KUNIT_EXPECT_EQ(test, xe_bo_notifier_prepare_all_pinned(fake->xe), 0);
	KUNIT_EXPECT_TRUE_MSG(test, is_saved(obj->bo), "nothing was prepared");
	fake_unpin(obj);
	xe_bo_notifier_unprepare_all_pinned(fake->xe);
	KUNIT_EXPECT_FALSE_MSG(test, is_saved(obj->bo), "a backup of what is not pinned any more");
	xe_bo_notifier_unprepare_pinned(obj->bo);
	fake_vram_verify(fake, obj);
}

/* Without the notifier, as for D3cold: the backups are made on the way, and may be shrunk. */
void fake_case_vram_suspend_unprepared(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct pinned pinned;
	int kswapd;

	fake_vram_add(fake, SZ_4M);
	make_pinned(fake, &pinned);
	for (kswapd = 0; kswapd < 2; kswapd++) {
		KUNIT_EXPECT_EQ(test, xe_bo_evict_all(fake->xe), 0);
		expect_lists(fake, true, "evicted");
		expect_saved(fake, &pinned, true, "evicted");
		fake_scan_all(fake, kswapd);
		expect_shrinkable(fake, 0, "all backups in swap");
		resume(fake, &pinned, "not prepared");
		fake_expect_counts(fake, "resumed");
	}
	drop_pinned(&pinned);
}

/* The copy engine fails on the way out or back: what is there stays, and the next try is good. */
void fake_case_vram_suspend_fails(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct pinned pinned;
	int prepared;

	fake_vram_add(fake, SZ_4M);
	make_pinned(fake, &pinned);
	for (prepared = 0; prepared < 2; prepared++) {
		KUNIT_EXPECT_EQ(test, evict_vram(fake), 0);
		if (prepared)
			KUNIT_EXPECT_EQ(test, xe_bo_notifier_prepare_all_pinned(fake->xe), 0);
		fake_copy_error = -EIO;
		KUNIT_EXPECT_EQ(test, xe_bo_evict_all(fake->xe), -EIO);
		fake_copy_error = 0;
		expect_lists(fake, false, "the way out failed");
		expect_kept(fake, &pinned, "the way out failed");
		KUNIT_EXPECT_EQ(test, xe_bo_evict_all(fake->xe), 0);
		expect_lists(fake, true, "evicted at last");
		fake_vram_lose(fake);
		KUNIT_EXPECT_EQ(test, xe_bo_restore_early(fake->xe), 0);
		fake_copy_error = -EIO;
		KUNIT_EXPECT_EQ(test, xe_bo_restore_late(fake->xe), -EIO);
		fake_copy_error = 0;
		KUNIT_EXPECT_EQ(test, xe_bo_restore_late(fake->xe), 0);
		expect_lists(fake, false, "restored at last");
		expect_saved(fake, &pinned, false, "restored at last");
		expect_kept(fake, &pinned, "restored at last");
		xe_bo_notifier_unprepare_all_pinned(fake->xe);
		fake_expect_counts(fake, "resumed");
	}
	drop_pinned(&pinned);
}

#else

#define NO_VRAM "needs struct xe_vram_region of xe_vram_types.h"

void fake_case_vram(struct kunit *test)
{
	kunit_skip(test, NO_VRAM);
}

void fake_case_vram_fails(struct kunit *test)
{
	kunit_skip(test, NO_VRAM);
}

void fake_case_vram_suspend(struct kunit *test)
{
	kunit_skip(test, NO_VRAM);
}

void fake_case_vram_suspend_unprepared(struct kunit *test)
{
	kunit_skip(test, NO_VRAM);
}

void fake_case_vram_suspend_fails(struct kunit *test)
{
	kunit_skip(test, NO_VRAM);
}

void fake_case_suspect_vram_unpinned(struct kunit *test)
{
	kunit_skip(test, NO_VRAM);
}

#endif

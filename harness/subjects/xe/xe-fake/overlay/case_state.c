// SPDX-License-Identifier: GPL-2.0-only
/* Objects that may not go, or not as they are. */

#include "fake.h"

void fake_case_pinned(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct fake_object *obj;
	bool pinned;
	int kswapd;

	fake_make_many(fake, 6, SZ_256K);
	fake_advise(fake_nth(fake, 2), XE_MADV_PURGEABLE_DONTNEED);
	list_for_each_entry(obj, &fake->objects, link)
		if (obj->id % 2 == 0)
			fake_pin(fake, obj);
	for (kswapd = 0; kswapd < 2; kswapd++) {
		fake_scan_all(fake, kswapd);
		list_for_each_entry(obj, &fake->objects, link) {
			pinned = obj->id % 2 == 0;
			fake_expect_state(fake, obj, pinned, !pinned);
			if (pinned)
				fake_verify(fake, obj);
		}
		fake_expect_pages(fake, 0, 0, "pinned or gone");
	}
	list_for_each_entry(obj, &fake->objects, link)
		if (obj->id % 2 == 0)
			fake_unpin(obj);
	fake_expect_counts(fake, "unpinned");
	fake_scan_all(fake, false);
	KUNIT_EXPECT_EQ_MSG(test, fake_populated_objects(fake), 0, "objects left, unpinned");
	KUNIT_EXPECT_TRUE(test, fake_purged(fake_nth(fake, 2)));
	fake_note_purged(fake);
	fake_restore_all(fake);
	fake_verify_all(fake);
}

/* What is said of a pinned object holds when it is unpinned. */
void fake_case_pinned_advice(struct kunit *test)
{
	static const enum xe_madv_purgeable_state before[] = {
		XE_MADV_PURGEABLE_DONTNEED, XE_MADV_PURGEABLE_WILLNEED,
	};
	struct fake *fake = fake_of(test);
	struct fake_object *obj;
	unsigned int i;
	bool needed;

	fake_make_many(fake, 8, SZ_256K);
	list_for_each_entry(obj, &fake->objects, link) {
		needed = obj->id >= 4;
		for (i = 0; i < ARRAY_SIZE(before); i++)
			if (obj->id >> i & 1)
				fake_advise(obj, before[i]);
		fake_pin(fake, obj);
		fake_advise(obj, needed ? XE_MADV_PURGEABLE_WILLNEED :
			    XE_MADV_PURGEABLE_DONTNEED);
		fake_expect_counts(fake, "one pinned");
		fake_unpin(obj);
	}
	fake_expect_pages(fake, 4 * fake_pages(fake_nth(fake, 0)),
			  4 * fake_pages(fake_nth(fake, 0)), "advised while pinned");
	fake_scan_all(fake, false);
	list_for_each_entry(obj, &fake->objects, link) {
		fake_expect_state(fake, obj, false, true);
		KUNIT_EXPECT_EQ_MSG(test, fake_purged(obj), obj->id < 4, "object %u", obj->id);
	}
	fake_note_purged(fake);
	fake_restore_all(fake);
	fake_verify_all(fake);
}

/* After that a fence signals by itself: who waits in vain does not wait for ever. */
#define AT_MOST_MS 5000

/* The first of the LRU is busy; kswapd ends that by waiting. */
static void one_busy(struct kunit *test, bool needed)
{
	struct fake *fake = fake_of(test);
	struct dma_fence *fence = fake_make_fence(test);
	struct fake_object *first, *obj;

	fake_make_many(fake, 4, SZ_256K);
	first = fake_nth(fake, 0);
	if (!needed)
		list_for_each_entry(obj, &fake->objects, link)
			fake_advise(obj, XE_MADV_PURGEABLE_DONTNEED);
	fake_fence_attach(first, fence);
	fake_fence_later(fence, AT_MOST_MS);
	fake_scan_all(fake, false);
	fake_expect_state(fake, first, true, false);
	KUNIT_EXPECT_EQ_MSG(test, fake_populated_objects(fake), 1, "objects left, one is busy");
	fake_expect_counts(fake, "one is busy");
	fake_fence_later(fence, 50);
	fake_scan_all(fake, true);
	KUNIT_EXPECT_TRUE_MSG(test, dma_fence_is_signaled(fence), "kswapd did not wait");
	fake_expect_state(fake, first, false, true);
	KUNIT_EXPECT_EQ_MSG(test, fake_purged(first), !needed, "purged");
	dma_fence_wait(fence, false);
	dma_fence_put(fence);
	fake_note_purged(fake);
	fake_restore_all(fake);
	fake_verify_all(fake);
}

void fake_case_busy(struct kunit *test)
{
	one_busy(test, true);
}

void fake_case_busy_purge(struct kunit *test)
{
	one_busy(test, false);
}

void fake_case_revived(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct fake_object *obj;

	fake_make_many(fake, 4, SZ_256K);
	list_for_each_entry(obj, &fake->objects, link) {
		fake_advise(obj, XE_MADV_PURGEABLE_DONTNEED);
		fake_advise(obj, XE_MADV_PURGEABLE_WILLNEED);
	}
	fake_scan_all(fake, false);
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.purged, 0UL, "pages purged of objects needed again");
	KUNIT_EXPECT_EQ_MSG(test, fake_populated_objects(fake), 0, "objects left");
	fake_expect_counts(fake, "backed up");
	fake_restore_all(fake);
	fake_verify_all(fake);
	fake_expect_counts(fake, "restored");
}

#ifdef FAKE_WILLNEED
/* As two mappings of user space take and give up their interest. */
static void hold(struct fake_object *obj, bool willneed)
{
	fake_lock(obj);
	if (willneed)
		xe_bo_willneed_get_locked(obj->bo);
	else
		xe_bo_willneed_put_locked(obj->bo);
	fake_unlock(obj);
}

static void map(struct fake_object *obj, bool mapped)
{
	fake_lock(obj);
	if (mapped)
		xe_bo_vma_count_inc_locked(obj->bo);
	else
		xe_bo_vma_count_dec_locked(obj->bo);
	fake_unlock(obj);
}
#endif

void fake_case_revived_late(struct kunit *test)
{
#ifdef FAKE_WILLNEED
	struct fake *fake = fake_of(test);
	struct fake_object *obj;

	fake_make_many(fake, 2, SZ_256K);
	list_for_each_entry(obj, &fake->objects, link) {
		map(obj, true);
		map(obj, true);
		hold(obj, true);
		hold(obj, true);
		hold(obj, false);
	}
	fake_expect_counts(fake, "one of two mappings needs them");
	fake_expect_pages(fake, 2 * fake_pages(fake_nth(fake, 0)), 0, "one of two mappings");
	list_for_each_entry(obj, &fake->objects, link)
		hold(obj, false);
	fake_expect_pages(fake, 0, 2 * fake_pages(fake_nth(fake, 0)), "no mapping needs them");
	fake_scan_all(fake, false);
	list_for_each_entry(obj, &fake->objects, link) {
		KUNIT_EXPECT_TRUE_MSG(test, fake_purged(obj), "object %u", obj->id);
		hold(obj, true);
		KUNIT_EXPECT_TRUE_MSG(test, fake_purged(obj), "object %u, needed again",
				      obj->id);
	}
	fake_note_purged(fake);
	fake_restore_all(fake);
	fake_expect_pages(fake, 2 * fake_pages(fake_nth(fake, 0)), 0, "populated after the purge");
	fake_verify_all(fake);
	list_for_each_entry(obj, &fake->objects, link) {
		hold(obj, false);
		KUNIT_EXPECT_TRUE_MSG(test, fake_purged(obj), "object %u, given up again",
				      obj->id);
		map(obj, false);
		map(obj, false);
	}
	fake_expect_counts(fake, "given up again");
#else
	kunit_skip(test, "needs xe_bo_willneed_get_locked()");
#endif
}

void fake_case_bound(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct fake_vm *vm = fake_vm_create(fake);
	struct fake_object *obj;

	fake_make_many(fake, 6, SZ_256K);
	list_for_each_entry(obj, &fake->objects, link) {
		fake_vm_bind(vm, obj);
		if (obj->id < 3)
			fake_advise(obj, XE_MADV_PURGEABLE_DONTNEED);
	}
	list_for_each_entry(obj, &fake->objects, link)
		KUNIT_EXPECT_FALSE_MSG(test, fake_vm_told(vm, obj), "object %u", obj->id);
	fake_scan_all(fake, false);
	list_for_each_entry(obj, &fake->objects, link) {
		fake_expect_state(fake, obj, false, true);
		KUNIT_EXPECT_TRUE_MSG(test, fake_vm_told(vm, obj),
				      "the VM was not told that object %u goes", obj->id);
	}
	fake_note_purged(fake);
	fake_restore_all(fake);
	fake_verify_all(fake);
}

void fake_case_bound_twice(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct fake_vm *vm = fake_vm_create(fake), *other = fake_vm_create_another(fake);
	struct fake_object *obj;

	fake_make_many(fake, 4, SZ_256K);
	list_for_each_entry(obj, &fake->objects, link) {
		fake_vm_bind(obj->id % 2 ? vm : other, obj);
		fake_vm_bind(obj->id % 2 ? other : vm, obj);
		if (obj->id < 2)
			fake_advise(obj, XE_MADV_PURGEABLE_DONTNEED);
	}
	fake_scan_all(fake, false);
	list_for_each_entry(obj, &fake->objects, link) {
		fake_expect_state(fake, obj, false, true);
		KUNIT_EXPECT_TRUE_MSG(test, fake_vm_told(vm, obj) && fake_vm_told(other, obj),
				      "not both VMs were told that object %u goes", obj->id);
	}
	fake_note_purged(fake);
	fake_restore_all(fake);
	fake_verify_all(fake);
	list_for_each_entry(obj, &fake->objects, link)
		fake_vm_unbind(other, obj);
	fake_vm_destroy(other);
}

void fake_case_private(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct dma_fence *fence = fake_make_fence(test);
	struct fake_object *obj;
	int kswapd;

	fake_vm_create(fake);
	fake->private = true;
	fake_make_many(fake, 5, SZ_256K);
	fake_advise(fake_nth(fake, 0), XE_MADV_PURGEABLE_DONTNEED);
	fake_fence_attach(fake_nth(fake, 4), fence);
	fake_fence_later(fence, AT_MOST_MS);
	fake_scan_all(fake, false);
	KUNIT_EXPECT_EQ_MSG(test, fake_populated_objects(fake), 5, "objects left, the VM is busy");
	fake_fence_later(fence, 0);
	dma_fence_wait(fence, false);
	dma_fence_put(fence);
	for (kswapd = 0; kswapd < 2; kswapd++) {
		fake_expect_counts(fake, "populated");
		fake_scan_all(fake, kswapd);
		list_for_each_entry(obj, &fake->objects, link)
			fake_expect_state(fake, obj, false, true);
		fake_expect_pages(fake, 0, 0, "purged and backed up");
		fake_note_purged(fake);
		fake_restore_all(fake);
		fake_verify_all(fake);
	}
	KUNIT_EXPECT_TRUE(test, fake_purged(fake_nth(fake, 0)));
}

/* As a fault of the CPU does it: where the object is, and nobody is moved on the LRU. */
static int populate_in_place(struct fake_object *obj)
{
	struct ttm_operation_ctx ctx = { };

	return ttm_bo_populate(&obj->bo->ttm, &ctx);
}

/* A VM whose objects of its own, so many, are all backed up, and thus in system memory. */
static struct xe_vm *private_backed_up(struct fake *fake, unsigned int n)
{
	struct xe_vm *vm = fake_vm_base(fake_vm_create(fake));

	fake->private = true;
	fake_make_many(fake, n, SZ_256K);
	fake_scan_all(fake, false);
	KUNIT_ASSERT_EQ_MSG(fake->test, fake_populated_objects(fake), 0, "objects left");
	return vm;
}

void fake_case_suspect_private_alone(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct fake_object *obj;

	private_backed_up(fake, 1);
	obj = fake_nth(fake, 0);
	fake_lock(obj);
	KUNIT_EXPECT_EQ(test, populate_in_place(obj), 0);
	fake_unlock(obj);
	fake_expect_counts(fake, "restored by a fault");
	fake_scan_all(fake, false);
	KUNIT_EXPECT_EQ_MSG(test, fake_populated_objects(fake), 0,
			    "objects left that a fault restored");
	fake_verify_all(fake);
}

static bool on_list(struct list_head *head, struct list_head *wanted)
{
	struct list_head *at;

	list_for_each(at, head)
		if (at == wanted)
			return true;
	return false;
}

/*
 * A walk backs up the one object there is, a fault restores another, the VM is
 * submitted. All of it while the walk holds the lock, as a scan that is preempted
 * as soon as it lets the lock go would see it.
 */
void fake_case_suspect_private_walk(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct ttm_device *ttm = &fake->xe->ttm;
	struct ttm_resource_manager *man = ttm_manager_type(ttm, XE_PL_SYSTEM);
	struct ttm_operation_ctx ctx = { .no_wait_gpu = true };
	struct ttm_lru_walk_arg arg = { .ctx = &ctx, .trylock_only = true };
	struct ttm_buffer_object *bo;
	struct ttm_bo_lru_cursor curs;
	struct fake_object *first, *second;
	bool met = false, wrong = false, right = false;
	unsigned long scanned = 0;
	struct xe_vm *vm;

	fake_wake(fake);
	vm = private_backed_up(fake, 2);
	first = fake_nth(fake, 0);
	second = fake_nth(fake, 1);
	fake_verify(fake, first);
	ttm_bo_lru_for_each_reserved_guarded(&curs, man, &arg, bo) {
		if (bo != &first->bo->ttm)
			continue;
		met = xe_bo_shrink(&ctx, bo, (struct xe_bo_shrink_flags) { }, &scanned) > 0;
		KUNIT_EXPECT_EQ(test, populate_in_place(second), 0);
		spin_lock(&ttm->lru_lock);
		ttm_lru_bulk_move_tail(&vm->lru_bulk_move);
		wrong = on_list(&ttm->unevictable, &curs.res_curs.hitch.link);
		right = on_list(&man->lru[curs.res_curs.priority], &curs.res_curs.hitch.link);
		spin_unlock(&ttm->lru_lock);
		/* It would not end. */
		break;
	}
	KUNIT_EXPECT_TRUE_MSG(test, met, "the walk did not meet the object, or not back it up");
	KUNIT_EXPECT_FALSE_MSG(test, wrong, "the walk goes on along the unevictable list");
	KUNIT_EXPECT_TRUE_MSG(test, wrong || right, "the walk is on no list");
	fake_verify_all(fake);
	fake_let_sleep(fake);
}

static void expect_validating(struct fake *fake, struct fake_vm *vm)
{
	struct fake_object *obj;

	/* Awake: under the VM's lock nobody may wait for the worker. */
	fake_wake(fake);
	fake_vm_begin_validating(vm);
	fake_scan(fake, GFP_KERNEL, SZ_1M, false, NULL);
	fake_vm_end_validating(vm);
	fake_let_sleep(fake);
	list_for_each_entry(obj, &fake->objects, link)
		fake_expect_state(fake, obj, fake_vm_has(vm, obj), !fake_vm_has(vm, obj));
	fake_expect_counts(fake, "after a scan in a validation");
	fake_scan_all(fake, false);
	KUNIT_EXPECT_EQ_MSG(fake->test, fake_populated_objects(fake), 0, "objects left");
	fake_verify_all(fake);
}

static void validating_the(struct kunit *test, unsigned int nth)
{
	struct fake *fake = fake_of(test);
	struct fake_vm *vm = fake_vm_create(fake);

	fake_make_many(fake, 5, SZ_256K);
	fake_vm_bind(vm, fake_nth(fake, nth));
	expect_validating(fake, vm);
}

void fake_case_bound_validating(struct kunit *test)
{
	validating_the(test, 4);
}

void fake_case_suspect_validating_first(struct kunit *test)
{
	validating_the(test, 0);
}

void fake_case_evict(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct ttm_device *ttm = &fake->xe->ttm;
	struct fake_object *obj;

	fake_make_many(fake, 4, SZ_256K);
	list_for_each_entry(obj, &fake->objects, link)
		if (obj->id % 2)
			fake_advise(obj, XE_MADV_PURGEABLE_DONTNEED);
	KUNIT_EXPECT_EQ(test, ttm_resource_manager_evict_all(ttm, ttm_manager_type(ttm, XE_PL_TT)),
			0);
	list_for_each_entry(obj, &fake->objects, link) {
		KUNIT_EXPECT_EQ_MSG(test, fake_populated(obj), obj->id % 2 == 0,
				    "object %u populated", obj->id);
		KUNIT_EXPECT_EQ_MSG(test, fake_purged(obj), obj->id % 2, "object %u purged",
				    obj->id);
	}
	fake_expect_counts(fake, "evicted");
	fake_scan_all(fake, false);
	fake_expect_counts(fake, "evicted and shrunk");
	fake_note_purged(fake);
	fake_restore_all(fake);
	fake_verify_all(fake);
	fake_expect_counts(fake, "restored");
}

/* Pages of shmem, which backups are made of, as long as they are in memory. */
static unsigned long shmem_pages(void)
{
	struct sysinfo si;

	si_meminfo(&si);
	return si.sharedram;
}

void fake_case_dropped(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	unsigned long before = shmem_pages(), left;

	fake_make_many(fake, 8, SZ_2M);
	fake_scan_all(fake, false);
	KUNIT_EXPECT_EQ_MSG(test, fake_populated_objects(fake), 0, "objects left");
	fake_drop_all(fake);
	drain_workqueue(fake->xe->ttm.wq);
	rcu_barrier();
	left = shmem_pages();
	KUNIT_EXPECT_LT_MSG(test, left, before + 512, "pages of backups with no object left");
}

void fake_case_zombies(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct dma_fence *fence = fake_make_fence(test);
	struct fake_object *obj;

	fake_make_many(fake, 4, SZ_256K);
	fake_advise(fake_nth(fake, 1), XE_MADV_PURGEABLE_DONTNEED);
	list_for_each_entry(obj, &fake->objects, link)
		fake_fence_attach(obj, fence);
	fake_fence_later(fence, AT_MOST_MS);
	fake_drop_all(fake);
	fake_scan_all(fake, false);
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.freed, 0UL, "pages freed of busy objects");
	fake_fence_later(fence, 20);
	fake_scan(fake, GFP_KERNEL, SZ_1M, true, NULL);
	dma_fence_wait(fence, false);
	dma_fence_put(fence);
	drain_workqueue(fake->xe->ttm.wq);
	fake_expect_pages(fake, 0, 0, "all given back");
}

void fake_case_noswap(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct fake_object *obj;
	int kswapd;

	fake_make_many(fake, 6, SZ_256K);
	list_for_each_entry(obj, &fake->objects, link)
		if (obj->id < 3)
			fake_advise(obj, XE_MADV_PURGEABLE_DONTNEED);
	for (kswapd = 0; kswapd < 2; kswapd++) {
		fake_scan_all(fake, kswapd);
		list_for_each_entry(obj, &fake->objects, link) {
			KUNIT_EXPECT_EQ_MSG(test, fake_populated(obj), obj->id >= 3,
					    "object %u populated", obj->id);
			KUNIT_EXPECT_EQ_MSG(test, fake_purged(obj), obj->id < 3,
					    "object %u purged", obj->id);
		}
		fake_expect_counts(fake, "purged, the rest left as it is");
		KUNIT_EXPECT_EQ_MSG(test, fake_count(fake, GFP_KERNEL), SHRINK_EMPTY, "count");
	}
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.backed_up, 0UL, "pages backed up with no swap");
	fake_note_purged(fake);
	fake_restore_all(fake);
	fake_verify_all(fake);
}

void fake_case_copy_error(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct fake_object *obj;

	fake_make_many(fake, 4, SZ_256K);
	fake_copy_error = -ENOMEM;
	fake_scan_all(fake, false);
	KUNIT_EXPECT_GT_MSG(test, fake_seen.copies, 0UL, "copies that failed");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.backed_up, 0UL, "pages backed up in spite of it");
	list_for_each_entry(obj, &fake->objects, link)
		fake_expect_state(fake, obj, true, false);
	fake_expect_counts(fake, "the copy engine fails");
	fake_copy_error = 0;
	fake_verify_all(fake);
	fake_scan_all(fake, false);
	KUNIT_EXPECT_EQ_MSG(test, fake_populated_objects(fake), 0, "objects left");
	fake_copy_error = -ENOMEM;
	list_for_each_entry(obj, &fake->objects, link)
		KUNIT_EXPECT_EQ_MSG(test, fake_restore(obj), -ENOMEM, "object %u", obj->id);
	fake_expect_counts(fake, "the copy engine fails in the restore");
	fake_copy_error = 0;
	fake_restore_all(fake);
	fake_verify_all(fake);
}

// SPDX-License-Identifier: GPL-2.0-only
/* Objects as user space makes them, with content that is known word by word. */

#define FAKE_MAKES_ONLY

#include <linux/iosys-map.h>
#include <linux/slab.h>

#include "fake.h"
#include "migrate.h"
#include "seen.h"
#include "xe_vm.h"

unsigned long long fake_seed = 1;

u64 fake_word(const struct fake_object *obj, size_t i)
{
	return (fake_seed + obj->id) * 0x9e3779b97f4a7c15ULL ^ i * 0xd1342543de82ef95ULL;
}

void fake_lock(struct fake_object *obj)
{
	dma_resv_lock(obj->bo->ttm.base.resv, NULL);
}

void fake_unlock(struct fake_object *obj)
{
	dma_resv_unlock(obj->bo->ttm.base.resv);
}

struct fake_object *fake_try_make(struct fake *fake, size_t size)
{
	struct fake_object *obj = kzalloc(sizeof(*obj), GFP_KERNEL);
	struct xe_vm *vm = fake->private ? fake_vm_base(fake->vm) : NULL;
	struct drm_exec *exec = vm ? XE_VALIDATION_OPT_OUT : NULL;
	struct xe_bo *bo;

	if (!obj)
		return ERR_PTR(-ENOMEM);
	if (vm)
		dma_resv_lock(xe_vm_resv(vm), NULL);
	bo = xe_bo_create_user(fake->xe, vm, size, fake->kind->caching, XE_BO_FLAG_SYSTEM,
			       exec);
	if (vm)
		dma_resv_unlock(xe_vm_resv(vm));
	if (IS_ERR(bo)) {
		kfree(obj);
		return ERR_CAST(bo);
	}
	obj->bo = bo;
	obj->id = fake->made++;
	obj->blank = true;
	list_add_tail(&obj->link, &fake->objects);
	return obj;
}

/* There is room for it, or it can be made: a create without success is a fault. */
struct fake_object *fake_make(struct fake *fake, size_t size)
{
	struct fake_object *obj = fake_try_make(fake, size);

	KUNIT_ASSERT_FALSE_MSG(fake->test, IS_ERR(obj), "object %u of %zu bytes: %pe",
			       fake->made, size, obj);
	return obj;
}

void fake_make_many(struct fake *fake, unsigned int n, size_t size)
{
	while (n--)
		fake_fill(fake, fake_make(fake, size));
}

void fake_drop(struct fake *fake, struct fake_object *obj)
{
	if (fake->vm)
		fake_vm_unbind(fake->vm, obj);
	fake_lock(obj);
	if (obj->bo->vm)
		ttm_bo_set_bulk_move(&obj->bo->ttm, NULL);
	fake_forget_metadata(obj->bo);
	fake_unlock(obj);
	list_del(&obj->link);
	xe_bo_put(obj->bo);
	kfree(obj);
}

void fake_drop_all(struct fake *fake)
{
	struct fake_object *obj, *next;

	list_for_each_entry_safe(obj, next, &fake->objects, link)
		fake_drop(fake, obj);
}

void fake_fill(struct fake *fake, struct fake_object *obj)
{
	size_t i, n = xe_bo_size(obj->bo) / sizeof(u64);
	struct iosys_map map;
	u64 *words;
	int ret;

	fake_lock(obj);
	ret = ttm_bo_vmap(&obj->bo->ttm, &map);
	if (!ret) {
		words = map.vaddr;
		for (i = 0; i < n; i++)
			words[i] = fake_word(obj, i);
		ttm_bo_vunmap(&obj->bo->ttm, &map);
		fake_set_metadata(obj->bo, fake_word(obj, n));
		obj->blank = false;
	}
	fake_unlock(obj);
	KUNIT_ASSERT_EQ_MSG(fake->test, ret, 0, "object %u cannot be mapped", obj->id);
}

/* As a submission does it for a VM's own objects: the bulk move is last to go. */
void fake_bump(struct fake_object *obj)
{
	struct ttm_device *ttm = obj->bo->ttm.bdev;

	if (!obj->bo->vm)
		return;
	spin_lock(&ttm->lru_lock);
	ttm_lru_bulk_move_tail(&obj->bo->vm->lru_bulk_move);
	spin_unlock(&ttm->lru_lock);
}

void fake_verify_all(struct fake *fake)
{
	struct fake_object *obj;

	list_for_each_entry(obj, &fake->objects, link)
		fake_verify(fake, obj);
}

/* Whether it is known, from now on, what the object holds: not so while it may be purged. */
bool fake_settle(struct fake_object *obj)
{
	bool ret;

	fake_lock(obj);
	if (xe_bo_is_purged(obj->bo))
		obj->blank = true;
	ret = !xe_bo_madv_is_dontneed(obj->bo);
	fake_unlock(obj);
	return ret;
}

/* Under pressure: one that may be purged may be so at any time. */
void fake_verify_settled(struct fake *fake)
{
	struct fake_object *obj;

	list_for_each_entry(obj, &fake->objects, link)
		if (fake_settle(obj))
			fake_verify(fake, obj);
}

/* Back to where the GPU can use it, as a submission does. */
int fake_restore(struct fake_object *obj)
{
	int ret;

	fake_lock(obj);
	ret = fake_validate_tt(obj->bo, true);
	if (!ret && !fake_tt_mapped(obj->bo->ttm.ttm))
		fake_add(unmapped, 1);
	fake_bump(obj);
	fake_unlock(obj);
	return ret;
}

void fake_restore_all(struct fake *fake)
{
	struct fake_object *obj;

	list_for_each_entry(obj, &fake->objects, link)
		KUNIT_ASSERT_EQ_MSG(fake->test, fake_restore(obj), 0, "object %u", obj->id);
}

void fake_advise(struct fake_object *obj, enum xe_madv_purgeable_state state)
{
	fake_lock(obj);
	xe_bo_set_purgeable_state(obj->bo, state);
	fake_unlock(obj);
}

/* What was purged under pressure reads as zero from now on. */
void fake_note_purged(struct fake *fake)
{
	struct fake_object *obj;

	list_for_each_entry(obj, &fake->objects, link) {
		fake_lock(obj);
		if (xe_bo_is_purged(obj->bo))
			obj->blank = true;
		fake_unlock(obj);
	}
}

bool fake_populated(struct fake_object *obj)
{
	bool ret;

	fake_lock(obj);
	ret = obj->bo->ttm.ttm && ttm_tt_is_populated(obj->bo->ttm.ttm);
	fake_unlock(obj);
	return ret;
}

bool fake_backed_up(struct fake_object *obj)
{
	bool ret;

	fake_lock(obj);
	ret = obj->bo->ttm.ttm && ttm_tt_is_backed_up(obj->bo->ttm.ttm);
	fake_unlock(obj);
	return ret;
}

unsigned int fake_populated_objects(struct fake *fake)
{
	struct fake_object *obj;
	unsigned int n = 0;

	list_for_each_entry(obj, &fake->objects, link)
		n += fake_populated(obj);
	return n;
}

/* With the pages for metadata. */
unsigned long fake_pages(struct fake_object *obj)
{
	return obj->bo->ttm.ttm->num_pages;
}

bool fake_purged(struct fake_object *obj)
{
	bool ret;

	fake_lock(obj);
	ret = xe_bo_is_purged(obj->bo);
	fake_unlock(obj);
	return ret;
}

struct fake_object *fake_nth(struct fake *fake, unsigned int n)
{
	struct fake_object *obj;

	list_for_each_entry(obj, &fake->objects, link)
		if (!n--)
			return obj;
	return NULL;
}

void fake_pin(struct fake *fake, struct fake_object *obj)
{
	struct drm_exec *exec = XE_VALIDATION_OPT_OUT;	/* says something to lockdep */
	int ret;

	fake_lock(obj);
	ret = xe_bo_pin_external(obj->bo, false, exec);
	fake_unlock(obj);
	KUNIT_ASSERT_EQ_MSG(fake->test, ret, 0, "object %u cannot be pinned", obj->id);
}

void fake_unpin(struct fake_object *obj)
{
	fake_lock(obj);
	xe_bo_unpin_external(obj->bo);
	fake_unlock(obj);
}

/* As a use by the GPU does: last to go. */
void fake_touch(struct fake_object *obj)
{
	struct ttm_buffer_object *bo = &obj->bo->ttm;

	fake_lock(obj);
	spin_lock(&bo->bdev->lru_lock);
	ttm_bo_move_to_lru_tail(bo);
	spin_unlock(&bo->bdev->lru_lock);
	fake_unlock(obj);
}

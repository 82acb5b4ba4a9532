// SPDX-License-Identifier: GPL-2.0-only
/* A VM that objects are bound to: no page tables, only what the driver tells it. */

#define FAKE_MAKES_ONLY

#include <drm/drm_exec.h>
#include <linux/slab.h>

#include "fake.h"
#include "xe_vm.h"

struct fake_vm {
	struct xe_vm base;
};

struct xe_vm *fake_vm_base(struct fake_vm *vm)
{
	return &vm->base;
}

static void fake_vm_free(struct drm_gpuvm *gpuvm)
{
	ttm_lru_bulk_move_fini(&gpuvm_to_vm(gpuvm)->xe->ttm, &gpuvm_to_vm(gpuvm)->lru_bulk_move);
	kfree(container_of(gpuvm, struct fake_vm, base.gpuvm));
}

static const struct drm_gpuvm_ops fake_vm_ops = {
	.vm_free = fake_vm_free,
};

/* One that the case itself unbinds from and destroys. */
struct fake_vm *fake_vm_create_another(struct fake *fake)
{
	struct drm_gem_object *resv;
	struct fake_vm *vm = kzalloc(sizeof(*vm), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(fake->test, vm);
	resv = drm_gpuvm_resv_object_alloc(&fake->xe->drm);
	if (!resv)
		kfree(vm);
	KUNIT_ASSERT_NOT_NULL(fake->test, resv);
	vm->base.xe = fake->xe;
	ttm_lru_bulk_move_init(&vm->base.lru_bulk_move);
	drm_gpuvm_init(&vm->base.gpuvm, "xe_fake", DRM_GPUVM_RESV_PROTECTED, &fake->xe->drm,
		       resv, 0, SZ_1G, 0, 0, &fake_vm_ops);
	drm_gem_object_put(resv);
	return vm;
}

struct fake_vm *fake_vm_create(struct fake *fake)
{
	fake->vm = fake_vm_create_another(fake);
	return fake->vm;
}

void fake_vm_destroy(struct fake_vm *vm)
{
	drm_gpuvm_put(&vm->base.gpuvm);
}

static struct drm_gpuvm_bo *fake_vm_bo(struct fake_vm *vm, struct fake_object *obj)
{
	struct drm_gpuvm_bo *vm_bo;

	drm_gem_for_each_gpuvm_bo(vm_bo, &obj->bo->ttm.base)
		if (vm_bo->vm == &vm->base.gpuvm)
			return vm_bo;
	return NULL;
}

void fake_vm_bind(struct fake_vm *vm, struct fake_object *obj)
{
	fake_lock(obj);
	WARN_ON(IS_ERR(drm_gpuvm_bo_obtain_locked(&vm->base.gpuvm, &obj->bo->ttm.base)));
	fake_unlock(obj);
}

void fake_vm_unbind(struct fake_vm *vm, struct fake_object *obj)
{
	struct drm_gpuvm_bo *vm_bo;
	struct drm_exec exec;

	/* Its lists are under the lock of the VM. */
	drm_exec_init(&exec, DRM_EXEC_IGNORE_DUPLICATES, 0);
	drm_exec_until_all_locked(&exec) {
		if (!drm_exec_lock_obj(&exec, drm_gpuvm_resv_obj(&vm->base.gpuvm)))
			drm_exec_lock_obj(&exec, &obj->bo->ttm.base);
		drm_exec_retry_on_contention(&exec);
	}
	vm_bo = fake_vm_bo(vm, obj);
	if (vm_bo)
		drm_gpuvm_bo_put(vm_bo);
	drm_exec_fini(&exec);
}

bool fake_vm_has(struct fake_vm *vm, struct fake_object *obj)
{
	bool ret;

	fake_lock(obj);
	ret = fake_vm_bo(vm, obj);
	fake_unlock(obj);
	return ret;
}

/* Whether the driver told the VM that the object's pages go away. */
bool fake_vm_told(struct fake_vm *vm, struct fake_object *obj)
{
	struct drm_gpuvm_bo *vm_bo;
	bool told;

	fake_lock(obj);
	vm_bo = fake_vm_bo(vm, obj);
	told = vm_bo && vm_bo->evicted;
	fake_unlock(obj);
	return told;
}

/* As a task that makes the VM's objects resident, and must not evict them itself. */
void fake_vm_begin_validating(struct fake_vm *vm)
{
	dma_resv_lock(xe_vm_resv(&vm->base), NULL);
	xe_vm_set_validating(&vm->base, false);
}

void fake_vm_end_validating(struct fake_vm *vm)
{
	xe_vm_clear_validating(&vm->base, false);
	dma_resv_unlock(xe_vm_resv(&vm->base));
}

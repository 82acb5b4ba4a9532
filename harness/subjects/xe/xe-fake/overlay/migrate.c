// SPDX-License-Identifier: GPL-2.0-only
/*
 * A copy engine for compression metadata (flat CCS), which no fake device has.
 * An object's metadata is one number; it moves between "the hardware" (struct
 * fake_ccs) and the pages that the driver adds to the object's system memory.
 */

#include <linux/highmem.h>
#include <linux/pm_runtime.h>
#include <linux/xarray.h>

#include "fake.h"
#include "migrate.h"
#include "seen.h"
#include "spy_bo.h"
#include "vram.h"

#undef xe_migrate_copy
#undef xe_migrate_clear

unsigned int fake_copy_ms;
int fake_copy_error;

static DEFINE_XARRAY(fake_metadata);	/* xe_bo -> u64 * */

static u64 *fake_metadata_of(struct xe_bo *bo)
{
	return xa_load(&fake_metadata, (unsigned long)bo);
}

bool fake_has_metadata(struct xe_bo *bo)
{
	return xe_bo_needs_ccs_pages(bo);
}

static void fake_pages_write(struct xe_bo *bo, u64 value)
{
	struct ttm_tt *tt = bo->ttm.ttm;
	pgoff_t i;

	for (i = xe_bo_ccs_pages_start(bo) >> PAGE_SHIFT; i < tt->num_pages; i++) {
		u64 *map = kmap_local_page(tt->pages[i]);

		memset64(map, value, PAGE_SIZE / sizeof(*map));
		kunmap_local(map);
	}
}

/* Of an object that has pages. */
void fake_set_metadata(struct xe_bo *bo, u64 value)
{
	u64 *metadata = fake_metadata_of(bo);

	if (!metadata)
		return;
	*metadata = value;
	if (bo->ttm.resource->mem_type == XE_PL_SYSTEM)
		fake_pages_write(bo, value);
}

/* What the GPU would see, or what the pages hold while they are in system memory. */
bool fake_metadata_is(struct xe_bo *bo, u64 value)
{
	u64 *metadata = fake_metadata_of(bo);

	return metadata && *metadata == value;
}

void fake_forget_metadata(struct xe_bo *bo)
{
	kfree(xa_erase(&fake_metadata, (unsigned long)bo));
}

/* Also of objects that user space made. */
void fake_forget_all_metadata(void)
{
	unsigned long index;
	u64 *metadata;

	xa_for_each(&fake_metadata, index, metadata)
		kfree(metadata);
	xa_destroy(&fake_metadata);
}

static void fake_pages_read(struct xe_bo *bo, u64 *value)
{
	struct ttm_tt *tt = bo->ttm.ttm;
	pgoff_t first = xe_bo_ccs_pages_start(bo) >> PAGE_SHIFT, i;
	unsigned int j;

	for (i = first; i < tt->num_pages; i++) {
		u64 *map = kmap_local_page(tt->pages[i]);

		if (i == first)
			*value = map[0];
		for (j = 0; j < PAGE_SIZE / sizeof(*map); j++)
			if (map[j] != *value)
				break;
		kunmap_local(map);
		if (j < PAGE_SIZE / sizeof(*map)) {
			fake_add(ccs_lost, 1);
			return;
		}
	}
}

/* As the metadata's pages hold it, for an object in system memory. */
u64 fake_paged_metadata(struct xe_bo *bo)
{
	u64 value = 0;

	fake_pages_read(bo, &value);
	return value;
}

static struct dma_fence *fake_done(struct xe_bo *bo)
{
	struct dma_fence *fence;

	if (!pm_runtime_active(xe_bo_device(bo)->drm.dev))
		fake_add(copies_asleep, 1);
	if (!fake_copy_ms)
		return dma_fence_get_stub();
	fence = fake_fence();
	if (!fence)
		return ERR_PTR(-ENOMEM);
	fake_fence_later(fence, fake_copy_ms);
	return fence;
}

struct dma_fence *fake_migrate_copy(struct xe_bo *src_bo, struct xe_bo *dst_bo,
				    struct ttm_resource *src, struct ttm_resource *dst,
				    bool only_ccs)
{
	u64 *metadata = fake_metadata_of(src_bo);

	fake_add(copies, 1);
	if (fake_copy_error)
		return ERR_PTR(fake_copy_error);
	if (mem_type_is_vram(src->mem_type) || mem_type_is_vram(dst->mem_type)) {
		fake_copy_pages(src_bo, dst_bo, src, dst);
		return fake_done(src_bo);
	}
	if (WARN_ON(src_bo != dst_bo || !only_ccs))
		return ERR_PTR(-EINVAL);
	if (!metadata)	/* about to be freed */
		return fake_done(src_bo);
	if (src->mem_type == XE_PL_TT)
		fake_pages_write(src_bo, *metadata);
	else
		fake_pages_read(src_bo, metadata);
	return fake_done(src_bo);
}

struct dma_fence *fake_migrate_clear(struct xe_bo *bo, struct ttm_resource *dst, u32 flags)
{
	u64 *metadata = fake_metadata_of(bo);

	fake_add(clears, 1);
	if (mem_type_is_vram(dst->mem_type)) {
		fake_clear_pages(bo, dst);
		return fake_done(bo);
	}
	if (!metadata) {
		metadata = kzalloc(sizeof(*metadata), GFP_KERNEL);
		if (!metadata)
			return ERR_PTR(-ENOMEM);
		if (xa_is_err(xa_store(&fake_metadata, (unsigned long)bo, metadata, GFP_KERNEL))) {
			kfree(metadata);
			return ERR_PTR(-ENOMEM);
		}
	}
	*metadata = 0;
	if (flags & XE_MIGRATE_CLEAR_FLAG_CCS_DATA)
		bo->ccs_cleared = true;
	return fake_done(bo);
}

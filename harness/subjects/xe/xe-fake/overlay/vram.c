// SPDX-License-Identifier: GPL-2.0-only
/*
 * Local memory of a discrete device: the driver's own manager for it, on a region
 * that is the guest's own memory. What the copy engine would do the CPU does.
 */

#define FAKE_MAKES_ONLY

#include <linux/vmalloc.h>

#include "fake.h"
#include "vram.h"

#ifdef FAKE_VRAM

#include "xe_map.h"
#include "xe_res_cursor.h"
#include "xe_ttm_vram_mgr.h"
#include "xe_vram.h"
#include "xe_vram_types.h"

static struct xe_vram_region *fake_region(struct fake *fake)
{
	return fake->xe->tiles[0].mem.vram;
}

/* As the probe does it with what it read from the device. */
void fake_vram_add(struct fake *fake, size_t size)
{
	struct xe_vram_region *vram = fake_region(fake);

	KUNIT_ASSERT_NOT_NULL(fake->test, vram);
	fake->vram = vzalloc(size);
	KUNIT_ASSERT_NOT_NULL(fake->test, fake->vram);
	vram->mapping = (void __iomem *)fake->vram;
	/* Nobody goes there: each access is by the mapping. */
	vram->io_start = SZ_1G;
	vram->io_size = size;
	vram->usable_size = size;
	vram->actual_physical_size = size;
	KUNIT_ASSERT_EQ(fake->test, xe_ttm_vram_mgr_init(fake->xe, vram), 0);
}

/* The device was without power. */
void fake_vram_lose(struct fake *fake)
{
	memset(fake->vram, 0xa5, fake_region(fake)->usable_size);
}

u64 fake_vram_usage(struct fake *fake)
{
	return ttm_resource_manager_usage(ttm_manager_type(&fake->xe->ttm, XE_PL_VRAM0));
}

/* For user space, in VRAM and nowhere else unless it is evicted. */
struct fake_object *fake_vram_try_make(struct fake *fake, size_t size)
{
	struct fake_object *obj = kzalloc(sizeof(*obj), GFP_KERNEL);
	struct xe_bo *bo;

	if (!obj)
		return ERR_PTR(-ENOMEM);
	bo = xe_bo_create_user(fake->xe, NULL, size, DRM_XE_GEM_CPU_CACHING_WC,
			       XE_BO_FLAG_VRAM0, NULL);
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

struct fake_object *fake_vram_make(struct fake *fake, size_t size)
{
	struct fake_object *obj = fake_vram_try_make(fake, size);

	KUNIT_ASSERT_FALSE_MSG(fake->test, IS_ERR(obj), "object %u of %zu bytes in VRAM: %pe",
			       fake->made, size, obj);
	return obj;
}

/* What was purged has no resource, and its pages, if any, in system memory. */
static bool fake_is_vram(const struct ttm_resource *res)
{
	return res && mem_type_is_vram(res->mem_type);
}

bool fake_in_vram(struct xe_bo *bo)
{
	return fake_is_vram(bo->ttm.resource);
}

static void *fake_page_map(struct xe_bo *bo, struct ttm_resource *res, pgoff_t i)
{
	struct xe_res_cursor at;

	if (!fake_is_vram(res))
		return kmap_local_page(bo->ttm.ttm->pages[i]);
	xe_res_first(res, (u64)i << PAGE_SHIFT, PAGE_SIZE, &at);
	return (void __force *)xe_map_resource_to_region(res)->mapping + at.start;
}

static void fake_page_unmap(struct ttm_resource *res, void *page)
{
	if (!fake_is_vram(res))
		kunmap_local(page);
}

void fake_copy_pages(struct xe_bo *from, struct xe_bo *to, struct ttm_resource *src,
		     struct ttm_resource *dst)
{
	pgoff_t i, n = xe_bo_size(from) >> PAGE_SHIFT;

	for (i = 0; i < n; i++) {
		void *in = fake_page_map(from, src, i), *out = fake_page_map(to, dst, i);

		memcpy(out, in, PAGE_SIZE);
		fake_page_unmap(dst, out);
		fake_page_unmap(src, in);
	}
}

void fake_clear_pages(struct xe_bo *bo, struct ttm_resource *dst)
{
	pgoff_t i, n = xe_bo_size(bo) >> PAGE_SHIFT;

	for (i = 0; i < n; i++) {
		void *page = fake_page_map(bo, dst, i);

		memset(page, 0, PAGE_SIZE);
		fake_page_unmap(dst, page);
	}
}

/* Where it lies: in system memory it has to have its pages. Locked. */
static void fake_words_write(struct xe_bo *bo, const struct fake_object *like)
{
	size_t at = 0, j, n = PAGE_SIZE / sizeof(u64);
	pgoff_t i;

	for (i = 0; i < xe_bo_size(bo) >> PAGE_SHIFT; i++) {
		u64 *words = fake_page_map(bo, bo->ttm.resource, i);

		for (j = 0; j < n; j++)
			words[j] = fake_word(like, at++);
		fake_page_unmap(bo->ttm.resource, words);
	}
}

/* The words ahead of the first that is another one. Locked. */
static size_t fake_words_right(struct xe_bo *bo, const struct fake_object *like)
{
	size_t at = 0, j, n = PAGE_SIZE / sizeof(u64);
	pgoff_t i;

	for (i = 0; i < xe_bo_size(bo) >> PAGE_SHIFT; i++) {
		u64 *words = fake_page_map(bo, bo->ttm.resource, i);

		for (j = 0; j < n; j++, at++)
			if (words[j] != (like->blank ? 0 : fake_word(like, at)))
				break;
		fake_page_unmap(bo->ttm.resource, words);
		if (j < n)
			break;
	}
	return at;
}

void fake_vram_fill(struct fake *fake, struct fake_object *obj)
{
	fake_lock(obj);
	fake_words_write(obj->bo, obj);
	obj->blank = false;
	fake_unlock(obj);
}

/* In VRAM, or in system memory with the pages that it is given back. */
void fake_vram_verify(struct fake *fake, struct fake_object *obj)
{
	struct ttm_operation_ctx ctx = { };
	size_t right = 0;
	int ret = 0;

	fake_lock(obj);
	dma_resv_wait_timeout(obj->bo->ttm.base.resv, DMA_RESV_USAGE_KERNEL, false,
			      MAX_SCHEDULE_TIMEOUT);
	if (!fake_in_vram(obj->bo))
		ret = ttm_bo_populate(&obj->bo->ttm, &ctx);
	if (!ret)
		right = fake_words_right(obj->bo, obj);
	fake_unlock(obj);
	fake_expect_right(fake, obj, ret, right);
}

/* A kernel's own object, pinned and mapped; its content goes by the id. */
struct xe_bo *fake_vram_make_kernel(struct fake *fake, u32 flags, unsigned int id)
{
	struct fake_object like = { .id = id };
	struct xe_bo *bo;

	bo = xe_bo_create_pin_map_novm(fake->xe, &fake->xe->tiles[0], SZ_256K,
				       ttm_bo_type_kernel, XE_BO_FLAG_VRAM0 | flags, false);
	KUNIT_ASSERT_FALSE_MSG(fake->test, IS_ERR(bo), "a kernel's object in VRAM: %pe", bo);
	xe_bo_lock(bo, false);
	fake_words_write(bo, &like);
	xe_bo_unlock(bo);
	return bo;
}

bool fake_vram_kernel_kept(struct xe_bo *bo, unsigned int id)
{
	struct fake_object like = { .id = id };
	bool ret;

	xe_bo_lock(bo, false);
	ret = fake_in_vram(bo) &&
		fake_words_right(bo, &like) == xe_bo_size(bo) / sizeof(u64);
	xe_bo_unlock(bo);
	return ret;
}

#else

void fake_copy_pages(struct xe_bo *from, struct xe_bo *to, struct ttm_resource *src,
		     struct ttm_resource *dst)
{
}

void fake_clear_pages(struct xe_bo *bo, struct ttm_resource *dst)
{
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only */
/* What differs between the kernels this module is built for; features.toml has TP_HAVE_*. */
#ifndef TTM_PRESSURE_COMPAT_H
#define TTM_PRESSURE_COMPAT_H

#include <linux/mm.h>
#include <linux/swap.h>
#include <linux/shmem_fs.h>
#include <drm/ttm/ttm_bo.h>
#include <drm/ttm/ttm_device.h>
#include <drm/ttm/ttm_placement.h>
#include <drm/ttm/ttm_pool.h>
#include <drm/ttm/ttm_range_manager.h>
#include <drm/ttm/ttm_resource.h>
#include <drm/ttm/ttm_tt.h>

#if TP_HAVE_BACKUP
#include <drm/ttm/ttm_backup.h>
#endif
#if TP_HAVE_ALLOC_FLAGS
#include <drm/ttm/ttm_allocation.h>
#endif

static inline int tp_ttm_device_init(struct ttm_device *bdev,
				     const struct ttm_device_funcs *funcs,
				     struct device *dev,
				     struct address_space *mapping,
				     struct drm_vma_offset_manager *vma,
				     bool dma_alloc, bool dma32,
				     unsigned int beneficial)
{
#if TP_HAVE_ALLOC_FLAGS
	unsigned int flags = TTM_ALLOCATION_POOL_BENEFICIAL_ORDER(beneficial);

	if (dma_alloc)
		flags |= TTM_ALLOCATION_POOL_USE_DMA_ALLOC;
	if (dma32)
		flags |= TTM_ALLOCATION_POOL_USE_DMA32;
	return ttm_device_init(bdev, funcs, dev, mapping, vma, flags);
#else
	return ttm_device_init(bdev, funcs, dev, mapping, vma, dma_alloc, dma32);
#endif
}

static inline void tp_ttm_bo_put(struct ttm_buffer_object *bo)
{
#if TP_HAVE_BO_FINI
	ttm_bo_fini(bo);
#else
	ttm_bo_put(bo);
#endif
}

static inline int tp_ttm_bo_populate(struct ttm_buffer_object *bo,
				     struct ttm_operation_ctx *ctx)
{
#if TP_HAVE_BACKUP
	return ttm_bo_populate(bo, ctx);
#else
	return ttm_tt_populate(bo->bdev, bo->ttm, ctx);
#endif
}

static inline bool tp_tt_backed_up(const struct ttm_tt *tt)
{
#if TP_HAVE_BACKUP
	return ttm_tt_is_backed_up(tt);
#else
	return false;
#endif
}

static inline bool tp_tt_swapped(const struct ttm_tt *tt)
{
	return tp_tt_backed_up(tt) || (tt->page_flags & TTM_TT_FLAG_SWAPPED);
}

static inline bool tp_is_handle(const struct page *p)
{
#if TP_HAVE_BACKUP
	return ttm_backup_page_ptr_is_handle(p);
#else
	return false;
#endif
}

static inline unsigned long tp_handle(const struct page *p)
{
#if TP_HAVE_BACKUP
	return ttm_backup_page_ptr_to_handle(p);
#else
	return 0;
#endif
}

static inline void *tp_tt_restore_state(const struct ttm_tt *tt)
{
#if TP_HAVE_BACKUP
	return tt->restore;
#else
	return NULL;
#endif
}

/* The shmem file behind a backup, or NULL. */
static inline struct file *tp_tt_backup_file(const struct ttm_tt *tt)
{
#if TP_HAVE_BACKUP
	return (struct file *)tt->backup;
#else
	return NULL;
#endif
}

/* Where objects go that a walk must not see. */
static inline struct list_head *tp_unevictable(struct ttm_device *bdev)
{
#if TP_HAVE_BACKUP
	return &bdev->unevictable;
#else
	return &bdev->pinned;
#endif
}

static inline bool tp_backup_bytes_avail(void)
{
#if TP_HAVE_BACKUP
	return ttm_backup_bytes_avail() != 0;
#else
	return get_nr_swap_pages() > 0;
#endif
}

#endif

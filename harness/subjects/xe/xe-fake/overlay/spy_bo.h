/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Included ahead of xe_bo.c: what it asks of TTM passes through us, and what it
 * asks of the copy engine, which no fake device has, is done by us.
 */
#ifndef _FAKE_SPY_BO_H_
#define _FAKE_SPY_BO_H_

#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/scatterlist.h>

#include <drm/ttm/ttm_bo.h>
#include <drm/ttm/ttm_pool.h>
#include <drm/ttm/ttm_tt.h>

#include "xe_bo.h"
#include "xe_migrate.h"

long fake_spy_ttm_shrink(struct ttm_operation_ctx *ctx, struct ttm_buffer_object *bo,
			 const struct ttm_bo_shrink_flags flags);
long fake_spy_resv_wait(struct dma_resv *resv, enum dma_resv_usage usage, bool intr,
			unsigned long timeout);
int fake_spy_bo_wait(struct ttm_buffer_object *bo, struct ttm_operation_ctx *ctx);
int fake_spy_restore(struct ttm_device *bdev, struct ttm_tt *tt,
		     const struct ttm_operation_ctx *ctx);
int fake_spy_alloc(struct ttm_pool *pool, struct ttm_tt *tt, struct ttm_operation_ctx *ctx);
struct dma_fence *fake_migrate_copy(struct xe_bo *src_bo, struct xe_bo *dst_bo,
				    struct ttm_resource *src, struct ttm_resource *dst,
				    bool only_ccs);
int fake_spy_sg_alloc(struct sg_table *sgt, struct page **pages, unsigned int nr,
		      unsigned int offset, unsigned long size, unsigned int max_segment,
		      gfp_t gfp);
void fake_spy_sg_free(struct sg_table *sgt);
int fake_spy_map(struct device *dev, struct sg_table *sgt, enum dma_data_direction dir,
		 unsigned long attrs);
void fake_spy_unmap(struct device *dev, struct sg_table *sgt, enum dma_data_direction dir,
		    unsigned long attrs);
struct dma_fence *fake_migrate_clear(struct xe_bo *bo, struct ttm_resource *dst, u32 flags);

#define ttm_bo_shrink(ctx, bo, ...) fake_spy_ttm_shrink(ctx, bo, __VA_ARGS__)
#define dma_resv_wait_timeout(resv, usage, intr, timeout) \
	fake_spy_resv_wait(resv, usage, intr, timeout)
#define ttm_bo_wait_ctx(bo, ctx) fake_spy_bo_wait(bo, ctx)
#define ttm_tt_restore(bdev, tt, ctx) fake_spy_restore(bdev, tt, ctx)
#define ttm_pool_alloc(pool, tt, ctx) fake_spy_alloc(pool, tt, ctx)
#define sg_alloc_table_from_pages_segment(sgt, pages, nr, offset, size, max_segment, gfp) \
	fake_spy_sg_alloc(sgt, pages, nr, offset, size, max_segment, gfp)
#define sg_free_table(sgt) fake_spy_sg_free(sgt)
#define dma_map_sgtable(dev, sgt, dir, attrs) fake_spy_map(dev, sgt, dir, attrs)
#define dma_unmap_sgtable(dev, sgt, dir, attrs) fake_spy_unmap(dev, sgt, dir, attrs)
#define xe_migrate_copy(m, src_bo, dst_bo, src, dst, only_ccs) \
	((void)(m), fake_migrate_copy(src_bo, dst_bo, src, dst, only_ccs))
#define xe_migrate_clear(m, bo, dst, flags) ((void)(m), fake_migrate_clear(bo, dst, flags))

#endif

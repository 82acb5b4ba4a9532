// SPDX-License-Identifier: GPL-2.0-only
/* The types that ../memory reads an image of a kernel's memory by. */
#include <linux/module.h>
#if IS_ENABLED(CONFIG_DRM_TTM)
#include <drm/drm_gem.h>
#include <drm/ttm/ttm_bo.h>
#include <drm/ttm/ttm_device.h>
#include <drm/ttm/ttm_pool.h>
#include <drm/ttm/ttm_resource.h>
#include <drm/ttm/ttm_tt.h>
#include <linux/dma-resv.h>
#include <linux/list_lru.h>

/* A type is described where something of it is defined. */
struct dma_resv *harness_dma_resv;
struct list_lru_node *harness_list_lru_node;
struct ttm_bo_lru_cursor *harness_ttm_bo_lru_cursor;
struct ttm_buffer_object *harness_ttm_buffer_object;
struct ttm_device *harness_ttm_device;
struct ttm_global *harness_ttm_global;
struct ttm_lru_bulk_move *harness_ttm_lru_bulk_move;
struct ttm_lru_item *harness_ttm_lru_item;
struct ttm_pool_type *harness_ttm_pool_type;
struct ttm_resource *harness_ttm_resource;
struct ttm_resource_cursor *harness_ttm_resource_cursor;
struct ttm_resource_manager *harness_ttm_resource_manager;
struct ttm_tt *harness_ttm_tt;

/* Which bit it is depends on the kernel, and debug info has no macros. */
enum harness_tt_flag {
	HARNESS_TT_SWAPPED = TTM_TT_FLAG_SWAPPED,
	HARNESS_TT_ZERO_ALLOC = TTM_TT_FLAG_ZERO_ALLOC,
	HARNESS_TT_EXTERNAL = TTM_TT_FLAG_EXTERNAL,
#ifdef TTM_TT_FLAG_EXTERNAL_MAPPABLE
	HARNESS_TT_EXTERNAL_MAPPABLE = TTM_TT_FLAG_EXTERNAL_MAPPABLE,
#endif
#ifdef TTM_TT_FLAG_DECRYPTED
	HARNESS_TT_DECRYPTED = TTM_TT_FLAG_DECRYPTED,
#endif
#ifdef TTM_TT_FLAG_BACKED_UP
	HARNESS_TT_BACKED_UP = TTM_TT_FLAG_BACKED_UP,
#endif
	HARNESS_TT_POPULATED = TTM_TT_FLAG_PRIV_POPULATED,
};

enum harness_tt_flag *harness_tt_flags;
#endif

MODULE_DESCRIPTION("TTM's types for a debugger");
MODULE_LICENSE("GPL");

/* SPDX-License-Identifier: GPL-2.0-only */
/* Included ahead of xe_shrinker.c: its walks, and its calls into xe_bo.c, pass through us. */
#ifndef _FAKE_SPY_SHRINKER_H_
#define _FAKE_SPY_SHRINKER_H_

#include <drm/ttm/ttm_bo.h>

#include "features.h"
#include "xe_bo.h"

long fake_spy_shrink(struct ttm_operation_ctx *ctx, struct ttm_buffer_object *bo,
		     const struct xe_bo_shrink_flags flags, unsigned long *scanned);

#ifdef FAKE_WALK_ARG
struct ttm_buffer_object *fake_spy_first(struct ttm_bo_lru_cursor *curs);

#define ttm_bo_lru_cursor_first(curs) fake_spy_first(curs)
#endif

#define xe_bo_shrink(ctx, bo, flags, scanned) fake_spy_shrink(ctx, bo, flags, scanned)

#endif

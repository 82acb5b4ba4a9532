/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _FAKE_VRAM_H_
#define _FAKE_VRAM_H_

#include "fake.h"

void fake_vram_add(struct fake *fake, size_t size);
void fake_vram_lose(struct fake *fake);
u64 fake_vram_usage(struct fake *fake);
struct fake_object *fake_vram_try_make(struct fake *fake, size_t size);
struct fake_object *fake_vram_make(struct fake *fake, size_t size);
void fake_vram_fill(struct fake *fake, struct fake_object *obj);
void fake_vram_verify(struct fake *fake, struct fake_object *obj);
struct xe_bo *fake_vram_make_kernel(struct fake *fake, u32 flags, unsigned int id);
bool fake_vram_kernel_kept(struct xe_bo *bo, unsigned int id);
bool fake_in_vram(struct xe_bo *bo);
void fake_copy_pages(struct xe_bo *from, struct xe_bo *to, struct ttm_resource *src,
		     struct ttm_resource *dst);
void fake_clear_pages(struct xe_bo *bo, struct ttm_resource *dst);

#endif

/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _FAKE_MIGRATE_H_
#define _FAKE_MIGRATE_H_

#include "fake.h"

bool fake_has_metadata(struct xe_bo *bo);
void fake_set_metadata(struct xe_bo *bo, u64 value);
bool fake_metadata_is(struct xe_bo *bo, u64 value);
u64 fake_paged_metadata(struct xe_bo *bo);
void fake_forget_metadata(struct xe_bo *bo);

#endif

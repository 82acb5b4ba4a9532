// SPDX-License-Identifier: GPL-2.0-only
/* Included at the end of xe_bo.c, to which struct xe_ttm_tt is private. */

#include "fake/fake.h"

bool fake_tt_purgeable(const struct ttm_tt *tt)
{
	return container_of(tt, struct xe_ttm_tt, ttm)->purgeable;
}

bool fake_tt_mapped(const struct ttm_tt *tt)
{
	return container_of(tt, struct xe_ttm_tt, ttm)->sg;
}

/* Whether the addresses are those of the pages that the object has now, in their order. */
bool fake_tt_mapped_right(const struct ttm_tt *tt)
{
	const struct xe_ttm_tt *xe_tt = container_of(tt, struct xe_ttm_tt, ttm);
	struct sg_page_iter at;
	unsigned long i = 0;

	if (!xe_tt->sg)
		return true;
	for_each_sgtable_page(xe_tt->sg, &at, 0) {
		if (i >= tt->num_pages || sg_page_iter_page(&at) != tt->pages[i])
			return false;
		i++;
	}
	return i == tt->num_pages;
}

int fake_validate_tt(struct xe_bo *bo, bool interruptible)
{
	struct ttm_operation_ctx ctx = { .interruptible = interruptible };

	return ttm_bo_validate(&bo->ttm, &tt_placement, &ctx);
}

int fake_validate_system(struct xe_bo *bo)
{
	struct ttm_operation_ctx ctx = { };

	return ttm_bo_validate(&bo->ttm, &sys_placement, &ctx);
}

/* Where it was made for. */
int fake_validate_home(struct xe_bo *bo)
{
	struct ttm_operation_ctx ctx = { };

	return ttm_bo_validate(&bo->ttm, &bo->placement, &ctx);
}

#ifdef FAKE_UPSTREAM_SHRINK
void fake_upstream_shrink(struct xe_device *xe)
{
	shrink_test_run_device(xe);
}
#endif

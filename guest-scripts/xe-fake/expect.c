// SPDX-License-Identifier: GPL-2.0-only
/* What must hold of objects and of the driver's counters. */

#include <drm/drm_exec.h>

#include "fake.h"

void fake_expect_state(struct fake *fake, struct fake_object *obj, bool populated,
		       bool backed_up)
{
	KUNIT_EXPECT_EQ_MSG(fake->test, fake_populated(obj), populated, "object %u populated",
			    obj->id);
	KUNIT_EXPECT_EQ_MSG(fake->test, fake_backed_up(obj), backed_up, "object %u backed up",
			    obj->id);
	fake_lock(obj);
	if (!populated)
		KUNIT_EXPECT_FALSE_MSG(fake->test, fake_tt_mapped(obj->bo->ttm.ttm),
				       "object %u is mapped for DMA without pages", obj->id);
	else
		KUNIT_EXPECT_TRUE_MSG(fake->test, fake_tt_mapped_right(obj->bo->ttm.ttm),
				      "object %u: DMA addresses of other pages", obj->id);
	fake_unlock(obj);
}

void fake_expect_pages(struct fake *fake, long shrinkable, long purgeable, const char *when)
{
	long got_shrinkable, got_purgeable;

	fake_counts(fake->xe, &got_shrinkable, &got_purgeable);
	KUNIT_EXPECT_EQ_MSG(fake->test, got_shrinkable, shrinkable, "shrinkable pages, %s", when);
	KUNIT_EXPECT_EQ_MSG(fake->test, got_purgeable, purgeable, "purgeable pages, %s", when);
}

/*
 * The driver's counters against the objects' own state, all of them locked at
 * once, so that nobody shrinks meanwhile.
 */
void fake_expect_counts(struct fake *fake, const char *when)
{
	long shrinkable = 0, purgeable = 0, got_shrinkable, got_purgeable;
	struct fake_object *obj;
	struct drm_exec exec;
	int ret = 0;

	drm_exec_init(&exec, DRM_EXEC_IGNORE_DUPLICATES, 0);
	drm_exec_until_all_locked(&exec) {
		list_for_each_entry(obj, &fake->objects, link) {
			ret = drm_exec_lock_obj(&exec, &obj->bo->ttm.base);
			if (ret)
				break;
		}
		drm_exec_retry_on_contention(&exec);
	}
	list_for_each_entry(obj, &fake->objects, link) {
		struct ttm_tt *tt = obj->bo->ttm.ttm;

		if (!tt || !ttm_tt_is_populated(tt) || obj->bo->ttm.pin_count)
			continue;
		if (fake_tt_purgeable(tt))
			purgeable += tt->num_pages;
		else
			shrinkable += tt->num_pages;
	}
	fake_counts(fake->xe, &got_shrinkable, &got_purgeable);
	drm_exec_fini(&exec);
	KUNIT_ASSERT_EQ_MSG(fake->test, ret, 0, "objects cannot be locked, %s", when);
	KUNIT_EXPECT_EQ_MSG(fake->test, got_shrinkable, shrinkable, "shrinkable pages, %s", when);
	KUNIT_EXPECT_EQ_MSG(fake->test, got_purgeable, purgeable, "purgeable pages, %s", when);
}

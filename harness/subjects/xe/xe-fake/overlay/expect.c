// SPDX-License-Identifier: GPL-2.0-only
/* What must hold of objects and of the driver's counters. */

#include <drm/drm_exec.h>
#include <linux/iosys-map.h>

#include "fake.h"
#include "migrate.h"

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

static u64 fake_metadata_expected(const struct fake_object *obj)
{
	return obj->blank ? 0 : fake_word(obj, xe_bo_size(obj->bo) / sizeof(u64));
}

static void fake_verify_metadata(struct fake *fake, struct fake_object *obj)
{
	u64 expected = fake_metadata_expected(obj);

	if (!fake_has_metadata(obj->bo))
		return;
	if (obj->bo->ttm.resource->mem_type == XE_PL_SYSTEM)
		KUNIT_EXPECT_EQ_MSG(fake->test, fake_paged_metadata(obj->bo), expected,
				    "metadata of object %u, in system memory", obj->id);
	else
		KUNIT_EXPECT_TRUE_MSG(fake->test, fake_metadata_is(obj->bo, expected),
				      "metadata of object %u was lost", obj->id);
}

/* Word by word; an object without pages gets them back, where it is. */
void fake_verify(struct fake *fake, struct fake_object *obj)
{
	size_t i, n = xe_bo_size(obj->bo) / sizeof(u64);
	u64 got = 0, expected = 0;
	struct iosys_map map;
	u64 *words;
	int ret;

	fake_lock(obj);
	ret = ttm_bo_vmap(&obj->bo->ttm, &map);
	if (ret)
		goto out;
	words = map.vaddr;
	for (i = 0; i < n; i++) {
		expected = obj->blank ? 0 : fake_word(obj, i);
		got = READ_ONCE(words[i]);
		if (got != expected)
			break;
	}
	ttm_bo_vunmap(&obj->bo->ttm, &map);
	KUNIT_EXPECT_EQ_MSG(fake->test, i, n, "object %u, word %zu: expected %llx, got %llx",
			    obj->id, i, expected, got);
	fake_verify_metadata(fake, obj);
	fake_bump(obj);
out:
	fake_unlock(obj);
	KUNIT_ASSERT_EQ_MSG(fake->test, ret, 0, "object %u cannot be mapped", obj->id);
}

/* Of an object that was read elsewhere: so many of its words were right. */
void fake_expect_right(struct fake *fake, struct fake_object *obj, int ret, size_t right)
{
	KUNIT_EXPECT_EQ_MSG(fake->test, ret, 0, "object %u cannot be read", obj->id);
	KUNIT_EXPECT_EQ_MSG(fake->test, right, xe_bo_size(obj->bo) / sizeof(u64),
			    "words of object %u that are right", obj->id);
}

/* What holds of every scan of every case, whoever asked for it. */
void fake_expect_rules(struct kunit *test)
{
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.bad_return, 0UL,
			    "scans whose return value does not fit what they did");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.zero_counts, 0UL,
			    "counts of 0, where nothing to shrink is SHRINK_EMPTY");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.overscans, 0UL,
			    "objects tried in scans that had enough");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.backed_up_nofs, 0UL,
			    "objects backed up in reclaim without __GFP_FS");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.writebacks_amiss, 0UL,
			    "writebacks outside of kswapd or without __GFP_IO");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.direct_waits, 0UL,
			    "waits for the GPU in direct reclaim");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.direct_resumes, 0UL,
			    "the device was resumed from direct reclaim");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.copies_asleep, 0UL,
			    "the copy engine of a suspended device was used");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.ccs_lost, 0UL,
			    "objects whose compression metadata was lost");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.unmapped, 0UL,
			    "objects made resident without DMA addresses");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.mappings, 0L,
			    "tables mapped for DMA with no object left");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.tables, 0L,
			    "tables of DMA addresses with no object left");
}

/* ... of the walks it makes, of each object it tries, and of what is asked of TTM then. */
void fake_expect_walk_rules(struct kunit *test)
{
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.sleeping_walks, 0UL,
			    "walks in reclaim that may sleep on the lock of an object");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.interruptible_walks, 0UL,
			    "walks in reclaim whose waits a signal ends");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.waiting_walks, 0UL,
			    "walks of direct reclaim, or first ones, that may wait for the GPU");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.lending_walks, 0UL,
			    "walks in reclaim that take locked objects for their own");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.unpowered, 0UL,
			    "walks or backups that need the device, with no use of it taken");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.unsuitable, 0UL,
			    "objects tried that are pinned, empty, or busy with no wait allowed");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.unlocked, 0UL, "objects tried without their lock");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.tried_nofs, 0UL,
			    "objects tried for a backup without __GFP_FS");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.purges_late, 0UL,
			    "objects tried for purging after others for a backup");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.writebacks_early, 0UL,
			    "writebacks asked for in walks that do not wait");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.bad_shrink, 0UL,
			    "objects tried whose return value and pages scanned do not fit");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.bad_errno, 0UL,
			    "objects tried that ended with an error that none may end with");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.half_done, 0UL,
			    "objects shrunk that are not empty, in system memory, and unmapped");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.purges_amiss, 0UL,
			    "objects purged that are needed, or backed up though not needed");
	KUNIT_EXPECT_EQ_MSG(test, fake_seen.writebacks_changed, 0UL,
			    "backups with another writeback than was asked for");
}

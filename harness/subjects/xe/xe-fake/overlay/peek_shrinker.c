// SPDX-License-Identifier: GPL-2.0-only
/* Included at the end of xe_shrinker.c, to which struct xe_shrinker is private. */

#include "fake/fake.h"

struct shrinker *fake_shrinker(struct xe_device *xe)
{
	return xe->mem.shrinker->shrink;
}

void fake_counts(struct xe_device *xe, long *shrinkable, long *purgeable)
{
	struct xe_shrinker *shrinker = xe->mem.shrinker;

	read_lock(&shrinker->lock);
	*shrinkable = shrinker->shrinkable_pages;
	*purgeable = shrinker->purgeable_pages;
	read_unlock(&shrinker->lock);
}

void fake_flush_wakeup(struct xe_device *xe)
{
	flush_work(&xe->mem.shrinker->pm_worker);
}

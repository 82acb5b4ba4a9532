// SPDX-License-Identifier: GPL-2.0-only
/*
 * A shrinker in the way of the drivers that put one on top of the helper: it goes by
 * the list of what nobody needs, the oldest first, takes locks by trying only, and
 * purges. It never waits, and allocates nothing.
 */
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/swap.h>

#include "shmem.h"

static unsigned long sh_count(struct shrinker *shrink, struct shrink_control *sc)
{
	struct tp_dev *dev = shrink->private_data;
	struct drm_gem_shmem_object *shmem;
	unsigned long n = 0;

	atomic64_inc(&sh_stats.count_calls);
	if (dev->shrink_off)
		return SHRINK_EMPTY;
	if (!mutex_trylock(&dev->shrinker_lock))
		return 0;
	list_for_each_entry(shmem, &dev->purgeable, madv_list)
		if (drm_gem_shmem_is_purgeable(shmem))
			n += TP_PAGES(shmem->base.size);
	mutex_unlock(&dev->shrinker_lock);
	return n ?: SHRINK_EMPTY;
}

static bool sh_purge_one(struct tp_dev *dev, struct sh_obj *obj)
{
	bool purged = false;

	if (!dma_resv_trylock(obj->base.base.resv)) {
		atomic64_inc(&sh_stats.ebusy);
		return false;
	}
	/* Only with the lock is it sure. */
	if (sh_purgeable(obj)) {
		sh_purge_locked(&obj->base);
		list_del_init(&obj->base.madv_list);
		if (dev->logged < SH_LOG)
			dev->log[dev->logged++] = obj->id;
		purged = true;
	}
	dma_resv_unlock(obj->base.base.resv);
	return purged;
}

static unsigned long sh_scan(struct shrinker *shrink, struct shrink_control *sc)
{
	struct tp_dev *dev = shrink->private_data;
	struct drm_gem_shmem_object *shmem, *next;
	unsigned long freed = 0, scanned = 0;

	atomic64_inc(current_is_kswapd() ? &sh_stats.scan_kswapd : &sh_stats.scan_direct);
	sc->nr_scanned = 0;
	if (dev->shrink_off || !mutex_trylock(&dev->shrinker_lock))
		return SHRINK_STOP;
	list_for_each_entry_safe(shmem, next, &dev->purgeable, madv_list) {
		unsigned long n = TP_PAGES(shmem->base.size);

		if (freed >= sc->nr_to_scan)
			break;
		scanned += n;
		if (!sh_purge_one(dev, to_sh_obj(&shmem->base)))
			continue;
		freed += n;
		atomic64_inc(&sh_stats.purged);
		atomic64_add(n, &sh_stats.purged_pages);
	}
	mutex_unlock(&dev->shrinker_lock);
	sc->nr_scanned = scanned;
	return freed ?: SHRINK_STOP;
}

int sh_shrinker_add(struct tp_dev *dev)
{
	static const struct tp_reclaim reclaim = { "drm-shmem_purge", sh_count, sh_scan };

	dev->shrink = tp_reclaim_register(&reclaim, dev);
	return dev->shrink ? 0 : -ENOMEM;
}

void sh_shrinker_del(struct tp_dev *dev)
{
	shrinker_free(dev->shrink);
	dev->shrink = NULL;
}

unsigned long tp_trigger_count(struct tp_dev *dev, gfp_t gfp)
{
	return tp_reclaim_count(dev->shrink, gfp);
}

void tp_trigger_scan(struct tp_dev *dev, struct tp_scan *s)
{
	tp_reclaim_scan(dev->shrink, s);
}

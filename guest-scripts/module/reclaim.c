// SPDX-License-Identifier: GPL-2.0-only
/* A shrinker, called as reclaim calls it, with any mask. */
#include <linux/sched/mm.h>
#include <linux/shrinker.h>
#include <linux/timekeeping.h>

#include "module.h"

/* NULL without the memory for it; shrinker_free() takes that, too. */
struct shrinker *tp_reclaim_register(const struct tp_reclaim *r, void *data)
{
	struct shrinker *shrink = shrinker_alloc(0, "%s", r->name);

	if (!shrink)
		return NULL;
	shrink->count_objects = r->count;
	shrink->scan_objects = r->scan;
	shrink->private_data = data;
	shrinker_register(shrink);
	return shrink;
}

unsigned long tp_reclaim_count(struct shrinker *shrink, gfp_t gfp)
{
	struct shrink_control sc = { .gfp_mask = gfp };
	unsigned long n;

	if (!shrink)
		return SHRINK_EMPTY;
	fs_reclaim_acquire(gfp);
	n = shrink->count_objects(shrink, &sc);
	fs_reclaim_release(gfp);
	return n;
}

void tp_reclaim_scan(struct shrinker *shrink, struct tp_scan *s)
{
	struct shrink_control sc = { .gfp_mask = s->gfp, .nr_to_scan = s->nr,
				     .nr_scanned = s->nr };
	unsigned int noreclaim;
	u64 t0;

	s->ret = SHRINK_STOP;
	if (!shrink)
		return;
	noreclaim = memalloc_noreclaim_save();
	if (s->kswapd)
		current->flags |= PF_KSWAPD;
	fs_reclaim_acquire(s->gfp);
	t0 = ktime_get_ns();
	s->ret = shrink->scan_objects(shrink, &sc);
	s->ns = ktime_get_ns() - t0;
	fs_reclaim_release(s->gfp);
	if (s->kswapd)
		current->flags &= ~PF_KSWAPD;
	memalloc_noreclaim_restore(noreclaim);
	s->scanned = sc.nr_scanned;
}

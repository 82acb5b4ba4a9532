// SPDX-License-Identifier: GPL-2.0-only
/* What the helper keeps of an object: advice, counts, what may be purged. */
#include <linux/file.h>
#include <linux/iosys-map.h>
#include <linux/sizes.h>

#include "shmem.h"

/* drm_gem_shmem_madvise(): whether it is still there; what was purged stays so. */
static void case_madvise_states(struct tp_run *run)
{
	static const int advice[] = { 1, 0, 2, 1, 1, 0, 0, 7, 1 };
	struct tp_dev *dev __free(sh_dev) = sh_dev_new(run);
	struct sh_obj *obj;
	int i;

	if (!dev)
		return;
	obj = sh_ready(run, 4, false);
	if (!obj)
		return;
	tp_eq(run, obj->base.madv, 0, "madv of a new object");
	tp_check(run, !sh_purgeable(obj), "a new object is purgeable");
	for (i = 0; i < ARRAY_SIZE(advice); i++) {
		tp_eq(run, sh_madvise(obj, advice[i]), 1, "advice %d, kept", advice[i]);
		tp_eq(run, obj->base.madv, advice[i], "madv after advice %d", advice[i]);
		tp_eq(run, sh_purgeable(obj), advice[i] > 0,
		      "purgeable after advice %d", advice[i]);
		sh_verify(run, obj, "advised");
	}
	sh_purge(obj);
	for (i = 0; i < ARRAY_SIZE(advice); i++) {
		tp_eq(run, sh_madvise(obj, advice[i]), 0, "advice %d, purged", advice[i]);
		tp_eq(run, obj->base.madv, -1, "madv of what was purged, after %d", advice[i]);
		tp_check(run, !sh_purgeable(obj), "what was purged is purgeable");
	}
	sh_put(obj);
}

/* drm_gem_shmem_is_purgeable() for each combination of what it goes by. */
static void case_purgeable_conditions(struct tp_run *run)
{
	static const int advice[] = { 0, 1, 3 };
	struct tp_dev *dev __free(sh_dev) = sh_dev_new(run);
	struct iosys_map map;
	struct sh_obj *obj;
	int i, bits;

	if (!dev)
		return;
	for (i = 0; i < ARRAY_SIZE(advice); i++) {
		for (bits = 0; bits < 8; bits++) {
			bool sgt = bits & 1, vmap = bits & 2, pin = bits & 4 && SH_HAVE_PIN_COUNT;
			bool want = advice[i] > 0 && sgt && !vmap && !pin;

			obj = sh_new(dev, 4 * SZ_4K, false, NULL);
			if (!obj)
				break;
			if (sgt)
				tp_eq(run, sh_get_sgt(obj), 0, "table");
			if (vmap)
				tp_eq(run, sh_vmap(obj, &map), 0, "vmap");
			if (pin)
				tp_eq(run, sh_pin(obj), 0, "pin");
			sh_madvise(obj, advice[i]);
			tp_eq(run, sh_purgeable(obj), want,
			      "purgeable with advice %d, a table %d, a vmap %d, a pin %d",
			      advice[i], sgt, vmap, pin);
			tp_eq(run, tp_trigger_count(dev, GFP_KERNEL),
			      want ? 4 : SHRINK_EMPTY, "pages that the shrinker counts");
			if (vmap)
				sh_vunmap(obj, &map);
			if (pin)
				sh_unpin(obj);
			tp_eq(run, sh_purgeable(obj), advice[i] > 0 && sgt,
			      "purgeable when nobody holds it, advice %d, a table %d", advice[i],
			      sgt);
			sh_put(obj);
		}
	}
}

/* Each user counts once; with the last the pages go, and the content stays in the file. */
static void case_counts(struct tp_run *run)
{
	struct tp_dev *dev __free(sh_dev) = sh_dev_new(run);
	const bool pins = SH_HAVE_PIN_COUNT;
	struct iosys_map map, again;
	struct sg_table *sgt;
	struct sh_obj *obj;

	if (!dev)
		return;
	obj = sh_new(dev, 6 * SZ_4K, false, NULL);
	if (!obj)
		return;
	sh_absent(run, obj, "new");
	tp_eq(run, sh_file_pages(obj), 0, "pages of a new object");
	tp_eq(run, sh_pin(obj), 0, "pin");
	sh_counts(run, obj, 1, 1, 0, "pinned");
	sh_resident(run, obj, "pinned");
	sh_fill(obj, run->k.seed);
	tp_eq(run, sh_pin(obj), 0, "pin again");
	sh_counts(run, obj, pins ? 1 : 2, 2, 0, "pinned twice");
	tp_eq(run, sh_vmap(obj, &map), 0, "vmap");
	sh_counts(run, obj, pins ? 1 : 3, 3, 1, "pinned twice and mapped");
	tp_eq(run, sh_vmap(obj, &again), 0, "vmap again");
	tp_check(run, map.vaddr == again.vaddr && map.vaddr == obj->base.vaddr,
		 "a second vmap is at another address");
	sh_counts(run, obj, pins ? 1 : 3, 3, 2, "pinned and mapped twice");
	sh_unpin(obj);
	sh_unpin(obj);
	sh_counts(run, obj, 1, 1, 2, "mapped twice");
	sh_vunmap(obj, &again);
	sh_counts(run, obj, 1, 1, 1, "mapped");
	sh_verify(run, obj, "mapped");
	tp_eq(run, sh_get_sgt(obj), 0, "table");
	sh_counts(run, obj, 2, 1, 1, "mapped, for DMA as well");
	sgt = obj->base.sgt;
	tp_eq(run, sh_get_sgt(obj), 0, "table again");
	tp_check(run, obj->base.sgt == sgt, "a second table was made");
	sh_counts(run, obj, 2, 1, 1, "asked for the table again");
	sh_vunmap(obj, &map);
	sh_counts(run, obj, 1, 0, 0, "with a table alone");
	sh_resident(run, obj, "with a table alone");
	sh_verify(run, obj, "with a table alone");
	sh_balance(run, "with a table alone");
	sh_put(obj);
}

/* Pages go with the last user, their content does not; how many times does not matter. */
static void case_last_put(struct tp_run *run)
{
	struct tp_dev *dev __free(sh_dev) = sh_dev_new(run);
	struct iosys_map map;
	struct sh_obj *obj;
	int i;

	if (!dev)
		return;
	obj = sh_new(dev, 9 * SZ_4K, false, NULL);
	if (!obj)
		return;
	for (i = 0; i < 6 && !run->failed; i++) {
		if (i & 1)
			tp_eq(run, sh_vmap(obj, &map), 0, "vmap");
		else
			tp_eq(run, sh_pin(obj), 0, "pin");
		sh_counts(run, obj, 1, 1, i & 1, "in use");
		sh_resident(run, obj, "in use");
		sh_verify(run, obj, "in use");
		sh_fill(obj, run->k.seed + i);
		if (i & 1)
			sh_vunmap(obj, &map);
		else
			sh_unpin(obj);
		sh_absent(run, obj, "let go");
		tp_eq(run, sh_file_pages(obj), 9, "pages of the file of what was let go");
		if (SH_HAVE_VMAP_DIRTIES)
			tp_check(run, !obj->base.pages_mark_dirty_on_put &&
				 !obj->base.pages_mark_accessed_on_put,
				 "marks for the next pages are left");
		sh_balance(run, "let go");
	}
	sh_put(obj);
}

enum { SH_NEW, SH_TABLE, SH_IN_FILE, SH_MARKED, SH_PURGED, SH_SECOND, SH_STATES };

/* Freed in whatever state: pages, file, DMA mappings and attributes with it. */
static void case_free_states(struct tp_run *run)
{
	static const char * const names[] = { "new", "with a table", "in its file alone",
					      "marked", "purged", "purged and used again" };
	struct tp_dev *dev __free(sh_dev) = sh_dev_new(run);
	int state, wc;

	if (!dev)
		return;
	for (wc = 0; wc < 2; wc++) {
		for (state = 0; state < SH_STATES && !run->failed; state++) {
			struct tp_witness *w = NULL;
			struct sh_obj *obj;
			struct file *file;

			obj = sh_new(dev, 5 * SZ_4K, wc, NULL);
			if (!obj)
				break;
			if (state != SH_NEW && state != SH_IN_FILE)
				tp_eq(run, sh_get_sgt(obj), 0, "table");
			if (state == SH_IN_FILE)
				tp_eq(run, sh_pin(obj), 0, "pin");
			if (obj->base.pages) {
				sh_fill(obj, run->k.seed);
				w = sh_witness(run, obj);
			}
			if (state == SH_IN_FILE)
				sh_unpin(obj);
			if (state >= SH_MARKED)
				sh_madvise(obj, SH_DONTNEED);
			if (state >= SH_PURGED)
				sh_purge(obj);
			if (state == SH_SECOND) {
				sh_witness_freed(run, w, "purged");
				tp_eq(run, sh_get_sgt(obj), 0, "table of what was purged");
				w = sh_witness(run, obj);
			}
			file = get_file(obj->base.base.filp);
			sh_put(obj);
			tp_eq(run, file_count(file), 1, "references to the file, freed %s",
			      names[state]);
			__fput_sync(file);
			sh_balance(run, names[state]);
			sh_witness_freed(run, w, names[state]);
		}
	}
}

const struct tp_case sh_cases_state[] = {
	{ "madvise_states", "S4", "advice is kept and answered; what was purged stays purged",
	  case_madvise_states, 0 },
	{ "purgeable_conditions", "S5", "purgeable is what is marked, has a table, and nobody holds",
	  case_purgeable_conditions, 0 },
	{ "counts", "S6", "users of pages, pins and vmaps, each counted once", case_counts, 0 },
	{ "last_put", "S1,S6", "pages go with the last user, the content stays", case_last_put, 0 },
	{ "free_states", "S2,S8", "freed in each state, nothing stays", case_free_states, 0 },
	{ }
};

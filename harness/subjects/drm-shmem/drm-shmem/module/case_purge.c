// SPDX-License-Identifier: GPL-2.0-only
/* What a purge takes, what it leaves, and what comes after it. */
#include <linux/iosys-map.h>
#include <linux/pagemap.h>
#include <linux/sizes.h>

#include "shmem.h"

/* drm_gem_shmem_purge(): pages, table, DMA mappings, attributes, and all of the file, at once. */
static void sh_purge_frees(struct tp_run *run, bool wc, bool marked_dirty)
{
	static const pgoff_t sizes[] = { 1, 2, 16, 37, 300 };
	struct tp_dev *dev __free(sh_dev) = sh_dev_new(run);
	int i;

	if (!dev)
		return;
	for (i = 0; i < ARRAY_SIZE(sizes) && !run->failed; i++) {
		struct sh_obj *other __free(sh_obj) = sh_ready(run, 3, wc);
		struct sh_obj *obj __free(sh_obj) = sh_ready(run, sizes[i], wc);
		struct tp_witness *w;

		if (!obj || !other)
			break;
		sh_resident(run, obj, "with content");
		sh_counts(run, obj, 1, 0, 0, "with content");
		sh_balance(run, "with content");
		obj->base.pages_mark_dirty_on_put = marked_dirty;
		w = sh_witness(run, obj);
		sh_madvise(obj, SH_DONTNEED);
		sh_verify(run, obj, "marked");
		sh_purge(obj);
		sh_purged(run, obj, "purged");
		sh_counts(run, obj, 0, 0, 0, "purged");
		sh_witness_freed(run, w, "purged");
		sh_balance(run, "purged");
		sh_resident(run, other, "beside it");
		sh_verify(run, other, "beside it");
	}
}

static void case_purge_frees(struct tp_run *run)
{
	sh_purge_frees(run, false, false);
}

/* What a driver asks to be marked dirty is no reason to keep it. */
static void case_purge_dirty(struct tp_run *run)
{
	sh_purge_frees(run, false, true);
}

static void case_purge_wc(struct tp_run *run)
{
	sh_purge_frees(run, true, false);
}

/* Write-combined pages are cached again when they are let go, for whatever reason. */
static void case_wc_attributes(struct tp_run *run)
{
	struct tp_dev *dev __free(sh_dev) = sh_dev_new(run);
	struct iosys_map map;
	struct tp_witness *w;
	struct sh_obj *obj;
	pgoff_t i;
	int k;

	if (!dev)
		return;
	obj = sh_new(dev, 7 * SZ_4K, true, NULL);
	for (k = 0; obj && k < 4 && !run->failed; k++) {
		tp_eq(run, k & 1 ? sh_vmap(obj, &map) : sh_pin(obj), 0, "pages");
		sh_resident(run, obj, "in use");
		sh_verify(run, obj, "in use");
		sh_fill(obj, run->k.seed + k);
		w = sh_witness(run, obj);
		if (k & 1)
			sh_vunmap(obj, &map);
		else
			sh_unpin(obj);
		for (i = 0; w && i < tp_witness_nr(w); i++)
			tp_attr_is(run, tp_witness_page(w, i), TP_ATTR_WB, "let go", obj->id, i);
		tp_witness_drop(w);
	}
	sh_put(obj);
}

/* Whoever uses it again gets zeroes, and no second life: it is never purged again. */
static void case_purge_content(struct tp_run *run)
{
	struct tp_dev *dev __free(sh_dev) = sh_dev_new(run);
	struct iosys_map map;
	struct tp_scan s;
	int how, wc;

	if (!dev)
		return;
	for (wc = 0; wc < 2; wc++) {
		for (how = 0; how < 3 && !run->failed; how++) {
			struct sh_obj *obj __free(sh_obj) = sh_ready(run, 24, wc);

			if (!obj)
				break;
			sh_madvise(obj, SH_DONTNEED);
			sh_purge(obj);
			obj->key = 0;
			switch (how) {
			case 0:
				tp_eq(run, sh_get_sgt(obj), 0, "table of what was purged");
				break;
			case 1:
				tp_eq(run, sh_pin(obj), 0, "pin of what was purged");
				break;
			case 2:
				tp_eq(run, sh_vmap(obj, &map), 0, "vmap of what was purged");
				break;
			}
			sh_resident(run, obj, "used again");
			sh_verify(run, obj, "used again");
			tp_eq(run, obj->base.madv, -1, "madv of what was purged and used again");
			tp_eq(run, sh_madvise(obj, SH_WILLNEED), 0, "needed, after it was purged");
			tp_eq(run, sh_madvise(obj, SH_DONTNEED), 0, "marked, after it was purged");
			tp_eq(run, tp_trigger_count(dev, GFP_KERNEL), SHRINK_EMPTY,
			      "pages of what was purged and used again");
			s = (struct tp_scan){ .gfp = GFP_KERNEL, .nr = 1000 };
			tp_trigger_scan(dev, &s);
			tp_eq(run, s.ret, SHRINK_STOP, "scan of what was purged and used again");
			sh_resident(run, obj, "used again, scanned");
			if (how == 1)
				sh_unpin(obj);
			else if (how == 2)
				sh_vunmap(obj, &map);
			sh_balance(run, "used again");
		}
	}
}

/* What is marked and needed again is as it was, unless it was purged meanwhile. */
static void case_needed_again(struct tp_run *run)
{
	struct tp_dev *dev __free(sh_dev_objs) = sh_dev_new(run);
	struct sh_obj *objs[6] = { };
	struct tp_scan s;
	int i;

	if (!dev)
		return;
	for (i = 0; i < 6; i++) {
		objs[i] = sh_ready(run, 8, false);
		if (!objs[i])
			return;
		sh_madvise(objs[i], SH_DONTNEED);
	}
	for (i = 0; i < 6; i += 2)
		tp_eq(run, sh_madvise(objs[i], SH_WILLNEED), 1, "needed again");
	s = (struct tp_scan){ .gfp = GFP_KERNEL, .nr = 1000 };
	tp_trigger_scan(dev, &s);
	tp_eq(run, s.ret, 24, "pages purged");
	for (i = 0; i < 6; i++) {
		if (i & 1) {
			sh_purged(run, objs[i], "not needed");
			tp_eq(run, sh_madvise(objs[i], SH_WILLNEED), 0, "needed too late");
			continue;
		}
		sh_counts(run, objs[i], 1, 0, 0, "needed again");
		sh_resident(run, objs[i], "needed again");
		sh_verify(run, objs[i], "needed again");
	}
	sh_balance(run, "half of them purged");
}

/* The least recently marked goes first; what was marked again is the youngest. */
static void case_purge_order(struct tp_run *run)
{
	struct tp_dev *dev __free(sh_dev_objs) = sh_dev_new(run);
	struct sh_obj *objs[8] = { };
	static const int want[] = { 1, 2, 4, 5, 7, 0, 3 };
	struct tp_scan s;
	int i;

	if (!dev)
		return;
	for (i = 0; i < 8; i++) {
		objs[i] = sh_ready(run, 4, false);
		if (!objs[i])
			return;
	}
	for (i = 0; i < 8; i++)
		sh_madvise(objs[i], SH_DONTNEED);
	/* One is marked again, one was needed between, one is needed. */
	sh_madvise(objs[0], SH_DONTNEED);
	sh_madvise(objs[3], SH_WILLNEED);
	sh_madvise(objs[3], SH_DONTNEED);
	sh_madvise(objs[6], SH_WILLNEED);
	for (i = 0; i < ARRAY_SIZE(want); i++) {
		s = (struct tp_scan){ .gfp = GFP_KERNEL, .nr = 4 };
		tp_trigger_scan(dev, &s);
		tp_eq(run, s.ret, 4, "pages of scan %d", i);
		tp_eq(run, dev->logged, i + 1, "objects purged by scan %d", i);
		tp_eq(run, dev->log[i], objs[want[i]]->id, "the object that scan %d purged", i);
	}
	sh_verify(run, objs[6], "needed");
	sh_resident(run, objs[6], "needed");
}

/*
 * What was written is kept in the file: the pages are dirty by then, else reclaim would
 * drop them. That is done here by what the kernel has for it.
 */
static void sh_dropped(struct tp_run *run, struct sh_obj *obj, const char *when)
{
	unsigned long n = invalidate_mapping_pages(sh_mapping(obj), 0, -1);

	tp_eq(run, n, 0, "%s: object %u, pages that reclaim may drop", when, obj->id);
	tp_eq(run, sh_file_pages(obj), obj->nr, "%s: object %u, pages of its file", when, obj->id);
	sh_content(run, obj, when);
}

static void case_vmap_dirties(struct tp_run *run)
{
	struct tp_dev *dev __free(sh_dev) = sh_dev_new(run);
	struct iosys_map map;
	struct sh_obj *obj;
	pgoff_t i;
	int k;

	if (!dev)
		return;
	for (k = 0; k < 2 && !run->failed; k++) {
		obj = sh_new(dev, 12 * SZ_4K, k, NULL);
		if (!obj)
			break;
		tp_eq(run, sh_vmap(obj, &map), 0, "vmap");
		obj->key = run->k.seed | 1;
		for (i = 0; i < obj->nr; i++)
			tp_content_fill(vmalloc_to_page(map.vaddr + (i << PAGE_SHIFT)), obj->key,
					obj->id, i);
		sh_vunmap(obj, &map);
		sh_absent(run, obj, "written through a vmap");
		sh_dropped(run, obj, "written through a vmap");
		sh_put(obj);
	}
}

/* A driver whose device writes says so once; the pages are dirty when they are let go. */
static void case_driver_dirties(struct tp_run *run)
{
	struct tp_dev *dev __free(sh_dev) = sh_dev_new(run);
	struct sh_obj *obj;
	pgoff_t i;

	if (!dev)
		return;
	obj = sh_new(dev, 12 * SZ_4K, false, NULL);
	if (obj && tp_eq(run, sh_pin(obj), 0, "pin")) {
		obj->base.pages_mark_dirty_on_put = true;
		obj->base.pages_mark_accessed_on_put = true;
		obj->key = run->k.seed | 1;
		for (i = 0; i < obj->nr; i++)
			tp_content_fill(obj->base.pages[i], obj->key, obj->id, i);
		sh_unpin(obj);
		sh_absent(run, obj, "written by the device");
		sh_dropped(run, obj, "written by the device");
	}
	sh_put(obj);
}

const struct tp_case sh_cases_purge[] = {
	{ "purge_frees", "S2,S8", "a purge gives back all of an object, at once", case_purge_frees,
	  0 },
	{ "purge_dirty", "S2,S8", "the same where pages are to be marked dirty", case_purge_dirty,
	  0 },
	{ "purge_wc", "S2,S9", "the same for write-combined pages", case_purge_wc, TP_NEED_PAT },
	{ "wc_attributes", "S1,S9", "write-combined pages are cached again when let go",
	  case_wc_attributes, TP_NEED_PAT },
	{ "purge_content", "S3,S4", "what was purged never shows old content, and is purged once",
	  case_purge_content, 0 },
	{ "needed_again", "S1,S4", "what is needed again is as it was, or said to be gone",
	  case_needed_again, 0 },
	{ "purge_order", "S13", "the least recently marked goes first", case_purge_order, 0 },
	{ "vmap_dirties", "S1,S15", "what was written through a vmap stays when pages are let go",
	  case_vmap_dirties, TP_NEED_VMAP_DIRTIES },
	{ "driver_dirties", "S1,S15", "what a driver's device wrote stays when pages are let go",
	  case_driver_dirties, 0 },
	{ }
};

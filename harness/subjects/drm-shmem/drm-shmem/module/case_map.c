// SPDX-License-Identifier: GPL-2.0-only
/* Mappings of processes and of the kernel, against purging. */
#include <linux/file.h>
#include <linux/iosys-map.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/sizes.h>
#include <linux/uaccess.h>
#include <drm/drm_vma_manager.h>

#include "shmem.h"

static int sh_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct sh_obj *obj = file->private_data;

	return drm_gem_mmap_obj(&obj->base.base, obj->base.base.size, vma);
}

static const struct file_operations sh_map_fops = {
	.owner = THIS_MODULE,
	.mmap = sh_mmap,
};

/* The error where `err` is given; else that it can be mapped is a check. */
unsigned long sh_map(struct tp_run *run, struct sh_obj *obj, int *err)
{
	return tp_map_file(run, &sh_map_fops, obj, obj->base.base.size, MAP_SHARED,
			   drm_vma_node_offset_addr(&obj->base.base.vma_node), err);
}

static u64 sh_word(struct sh_obj *obj, pgoff_t i)
{
	return tp_first_word(obj->base.pages[i]);
}

/* A fault that fails is SIGBUS to a process; nothing is read. */
static void sh_sigbus(struct tp_run *run, unsigned long at, pgoff_t page, const char *when)
{
	u64 got = 0;

	tp_check(run, get_user(got, (u64 __user *)(at + (page << PAGE_SHIFT))),
		 "%s: page %lu can be read, it has %016llx", when, page, got);
}

#define SH_MAPPED 6

/* Faults find the right page, whoever wrote it; a mapping is a user of the pages. */
static void case_map_content(struct tp_run *run)
{
	struct tp_dev *dev __free(sh_dev) = sh_dev_new(run);
	u64 mine = 0x7368206d61707065ULL;
	struct tp_witness *w = NULL;
	unsigned long at;
	struct sh_obj *obj;
	int i, wc;

	if (!dev)
		return;
	for (wc = 0; wc < 2 && !run->failed; wc++) {
		obj = sh_new(dev, SH_MAPPED * SZ_4K, wc, NULL);
		at = obj ? sh_map(run, obj, NULL) : 0;
		if (!at) {
			sh_put(obj);
			break;
		}
		sh_counts(run, obj, 1, 0, 0, "mapped");
		for (i = 0; i < SH_MAPPED; i++)
			tp_user_is(run, at, i, 0, "new, mapped");
		sh_fill(obj, run->k.seed);
		for (i = SH_MAPPED - 1; i >= 0; i--)
			tp_user_is(run, at, i, sh_word(obj, i), "filled, mapped");
		tp_check(run, !copy_to_user((void __user *)(at + 3 * PAGE_SIZE), &mine,
					    sizeof(mine)),
			 "a write through the mapping failed");
		tp_check(run, sh_word(obj, 3) == mine, "a write through the mapping is lost");
		sh_resident(run, obj, "mapped");
		w = sh_witness(run, obj);
		vm_munmap(at, obj->base.base.size);
		sh_absent(run, obj, "unmapped");
		sh_balance(run, "unmapped");
		tp_witness_drop(w);
		sh_put(obj);
	}
}

/* Each part of a mapping is a user; the object lives as long as its last one. */
static void case_map_counts(struct tp_run *run)
{
	struct tp_dev *dev __free(sh_dev) = sh_dev_new(run);
	unsigned long at, two;
	struct sh_obj *obj;
	int refs;

	if (!dev)
		return;
	obj = sh_ready(run, SH_MAPPED, false);
	if (!obj)
		return;
	refs = kref_read(&obj->base.base.refcount);
	at = sh_map(run, obj, NULL);
	two = sh_map(run, obj, NULL);
	sh_counts(run, obj, 3, 0, 0, "mapped twice");
	tp_eq(run, kref_read(&obj->base.base.refcount), refs + 2, "references, mapped twice");
	vm_munmap(at + 2 * PAGE_SIZE, PAGE_SIZE);
	sh_counts(run, obj, 4, 0, 0, "a hole in a mapping");
	tp_user_is(run, at, 1, sh_word(obj, 1), "before the hole");
	tp_user_is(run, two, 2, sh_word(obj, 2), "the other mapping");
	vm_munmap(at, 2 * PAGE_SIZE);
	sh_counts(run, obj, 3, 0, 0, "a part of a mapping is gone");
	vm_munmap(at, obj->base.base.size);
	sh_counts(run, obj, 2, 0, 0, "one mapping is gone");
	vm_munmap(two, obj->base.base.size);
	sh_counts(run, obj, 1, 0, 0, "unmapped");
	tp_eq(run, kref_read(&obj->base.base.refcount), refs, "references, unmapped");
	sh_verify(run, obj, "unmapped");
	sh_put(obj);
	/* Put while it is mapped. */
	obj = sh_ready(run, SH_MAPPED, false);
	if (obj) {
		struct file *file = get_file(obj->base.base.filp);
		u64 word = sh_word(obj, 4);

		at = sh_map(run, obj, NULL);
		sh_put(obj);
		tp_user_is(run, at, 4, word, "put, but mapped");
		tp_check(run, !list_empty(&dev->objs), "it is gone while it is mapped");
		vm_munmap(at, SH_MAPPED * SZ_4K);
		tp_check(run, list_empty(&dev->objs), "it is there when it is not mapped any more");
		__fput_sync(file);
	}
}

/* A purge takes mappings away; later faults fail, and never find what was there. */
static void case_map_purged(struct tp_run *run)
{
	struct tp_dev *dev __free(sh_dev) = sh_dev_new(run);
	int i, how;

	if (!dev)
		return;
	/* All of it was touched, or a part, or nothing; purged by hand, or by a scan. */
	for (how = 0; how < 6 && !run->failed; how++) {
		struct sh_obj *obj __free(sh_obj) = sh_ready(run, SH_MAPPED, how == 5);
		const int touched = how % 3 * (SH_MAPPED / 2);
		struct tp_scan s = { .gfp = GFP_KERNEL, .nr = 1 };
		struct tp_witness *w;
		unsigned long at;

		at = obj ? sh_map(run, obj, NULL) : 0;
		if (!at)
			break;
		for (i = 0; i < touched; i++)
			tp_user_is(run, at, i, sh_word(obj, i), "before a purge");
		w = sh_witness(run, obj);
		sh_madvise(obj, SH_DONTNEED);
		for (i = 0; i < touched; i++)
			tp_user_is(run, at, i, sh_word(obj, i), "marked");
		if (how < 3)
			sh_purge(obj);
		else
			tp_trigger_scan(dev, &s);
		sh_purged(run, obj, "purged while mapped");
		sh_counts(run, obj, 1, 0, 0, "purged while mapped");
		for (i = 0; i < SH_MAPPED; i++)
			sh_sigbus(run, at, i, "purged while mapped");
		vm_munmap(at, obj->base.base.size);
		sh_counts(run, obj, 0, 0, 0, "purged, then unmapped");
		sh_witness_freed(run, w, "purged, then unmapped");
		sh_balance(run, "purged, then unmapped");
	}
}

/* Who maps what was purged gets no page of it either, old or new. */
static void case_map_late(struct tp_run *run)
{
	struct tp_dev *dev __free(sh_dev) = sh_dev_new(run);
	struct sh_obj *obj;
	unsigned long at;
	int i;

	if (!dev)
		return;
	obj = sh_ready(run, SH_MAPPED, false);
	if (!obj)
		return;
	sh_madvise(obj, SH_DONTNEED);
	sh_purge(obj);
	tp_eq(run, drm_gem_create_mmap_offset(&obj->base.base), 0, "an offset for what was purged");
	at = sh_map(run, obj, NULL);
	for (i = 0; at && i < SH_MAPPED; i++)
		sh_sigbus(run, at, i, "mapped after a purge");
	if (at)
		vm_munmap(at, obj->base.base.size);
	sh_counts(run, obj, 0, 0, 0, "mapped after a purge, unmapped");
	sh_put(obj);
}

/* What cannot be: more than there is, or a private copy; nothing is held for it. */
static void case_map_refused(struct tp_run *run)
{
	struct tp_dev *dev __free(sh_dev) = sh_dev_new(run);
	struct sh_obj *obj;
	unsigned long at;
	int err, refs;

	if (!dev)
		return;
	obj = sh_new(dev, SH_MAPPED * SZ_4K, false, NULL);
	if (!obj)
		return;
	refs = kref_read(&obj->base.base.refcount);
	at = tp_map_file(run, &sh_map_fops, obj, obj->base.base.size + SZ_4K, MAP_SHARED,
			 drm_vma_node_offset_addr(&obj->base.base.vma_node), &err);
	tp_check(run, !at, "more is mapped than there is");
	tp_eq(run, err, -EINVAL, "mapping more than there is");
	at = tp_map_file(run, &sh_map_fops, obj, obj->base.base.size, MAP_PRIVATE,
			 drm_vma_node_offset_addr(&obj->base.base.vma_node), &err);
	tp_check(run, !at, "there is a private mapping");
	tp_eq(run, err, -EINVAL, "a private mapping");
	sh_absent(run, obj, "refused");
	tp_eq(run, kref_read(&obj->base.base.refcount), refs, "references, refused");
	sh_put(obj);
}

/* What a process wrote is kept in the file when the pages are let go. */
static void case_map_dirties(struct tp_run *run)
{
	struct tp_dev *dev __free(sh_dev_objs) = sh_dev_new(run);
	struct sh_obj *obj;
	unsigned long at;
	u64 word;
	int i;

	if (!dev)
		return;
	obj = sh_new(dev, SH_MAPPED * SZ_4K, false, NULL);
	at = obj ? sh_map(run, obj, NULL) : 0;
	if (!at)
		return;
	/* Read first, so that the write finds the page mapped; or written at once. */
	for (i = 0; i < SH_MAPPED; i++) {
		word = 0x6469727479ULL + i;
		if (i & 1)
			tp_user_is(run, at, i, 0, "new, mapped");
		tp_check(run, !put_user(word, (u64 __user *)(at + (i << PAGE_SHIFT))),
			 "a write to page %d failed", i);
	}
	vm_munmap(at, obj->base.base.size);
	sh_absent(run, obj, "written by a process");
	tp_eq(run, invalidate_mapping_pages(sh_mapping(obj), 0, -1), 0,
	      "pages that reclaim may drop, written by a process");
	if (tp_eq(run, sh_pin(obj), 0, "pin")) {
		for (i = 0; i < SH_MAPPED; i++)
			tp_check(run, sh_word(obj, i) == 0x6469727479ULL + i,
				 "page %d lost what a process wrote", i);
		sh_unpin(obj);
	}
}

/* A mapping of the kernel: the pages of the object, and nothing is purged under it. */
static void case_vmap_blocks(struct tp_run *run)
{
	struct tp_dev *dev __free(sh_dev) = sh_dev_new(run);
	struct iosys_map map, two;
	struct tp_scan s;
	struct sh_obj *obj;
	pgoff_t i;
	int wc;

	if (!dev)
		return;
	for (wc = 0; wc < 2 && !run->failed; wc++) {
		obj = sh_ready(run, 10, wc);
		if (!obj)
			break;
		tp_eq(run, sh_vmap(obj, &map), 0, "vmap");
		tp_eq(run, sh_vmap(obj, &two), 0, "vmap again");
		tp_check(run, !map.is_iomem, "a vmap is of memory of the device");
		for (i = 0; i < obj->nr; i++)
			tp_check(run, vmalloc_to_page(map.vaddr + (i << PAGE_SHIFT)) ==
				 obj->base.pages[i], "page %lu of a vmap is another", i);
		sh_madvise(obj, SH_DONTNEED);
		for (i = 0; i < 2; i++) {
			tp_eq(run, tp_trigger_count(dev, GFP_KERNEL), SHRINK_EMPTY,
			      "pages counted under a vmap");
			s = (struct tp_scan){ .gfp = GFP_KERNEL, .nr = 1000 };
			tp_trigger_scan(dev, &s);
			tp_eq(run, s.ret, SHRINK_STOP, "scan under a vmap");
			sh_resident(run, obj, "under a vmap");
			sh_verify(run, obj, "under a vmap");
			tp_eq(run, obj->base.madv, SH_DONTNEED, "madv under a vmap");
			if (!i)
				sh_vunmap(obj, &two);
		}
		sh_vunmap(obj, &map);
		s = (struct tp_scan){ .gfp = GFP_KERNEL, .nr = 1000 };
		tp_trigger_scan(dev, &s);
		tp_eq(run, s.ret, 10, "pages purged when the vmap is gone");
		sh_purged(run, obj, "the vmap is gone");
		sh_put(obj);
	}
}

/* The same for a pin, which is what a scanout or an importer has. */
static void case_pin_blocks(struct tp_run *run)
{
	struct tp_dev *dev __free(sh_dev) = sh_dev_new(run);
	struct tp_scan s;
	struct sh_obj *obj;
	int i;

	if (!dev)
		return;
	obj = sh_ready(run, 10, false);
	if (!obj)
		return;
	tp_eq(run, sh_pin(obj), 0, "pin");
	tp_eq(run, sh_pin(obj), 0, "pin again");
	sh_madvise(obj, SH_DONTNEED);
	for (i = 0; i < 2; i++) {
		tp_eq(run, tp_trigger_count(dev, GFP_KERNEL), SHRINK_EMPTY,
		      "pages counted under a pin");
		s = (struct tp_scan){ .gfp = GFP_KERNEL, .nr = 1000 };
		tp_trigger_scan(dev, &s);
		tp_eq(run, s.ret, SHRINK_STOP, "scan under a pin");
		sh_resident(run, obj, "under a pin");
		sh_verify(run, obj, "under a pin");
		sh_unpin(obj);
	}
	s = (struct tp_scan){ .gfp = GFP_KERNEL, .nr = 1000 };
	tp_trigger_scan(dev, &s);
	tp_eq(run, s.ret, 10, "pages purged when the pin is gone");
	sh_purged(run, obj, "the pin is gone");
	sh_put(obj);
}

const struct tp_case sh_cases_map[] = {
	{ "map_content", "S1,S7", "mappings of a process show the pages, and keep them",
	  case_map_content, 0 },
	{ "map_counts", "S6,S7", "each part of a mapping is a user of the pages", case_map_counts,
	  0 },
	{ "map_purged", "S3,S7", "mappings go with a purge; faults after it fail",
	  case_map_purged, 0 },
	{ "map_late", "S3,S7", "who maps what was purged gets no page", case_map_late, 0 },
	{ "map_refused", "S6,S10", "what cannot be mapped holds nothing", case_map_refused, 0 },
	{ "map_dirties", "S1,S15", "what a process wrote stays when pages are let go",
	  case_map_dirties, TP_NEED_MKWRITE },
	{ "vmap_blocks", "S5,S7", "nothing is purged under a mapping of the kernel",
	  case_vmap_blocks, 0 },
	{ "pin_blocks", "S5", "nothing is purged that is pinned", case_pin_blocks, TP_NEED_PIN },
	{ }
};

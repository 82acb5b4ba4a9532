// SPDX-License-Identifier: GPL-2.0-only
/* The state of an object, and of all objects together. */
#include <linux/pagemap.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <drm/drm_vma_manager.h>

#include "shmem.h"

/* Pages of its file, in memory and in swap. */
long sh_file_pages(struct sh_obj *obj)
{
	return SHMEM_I(file_inode(obj->base.base.filp))->alloced;
}

/* Users of the pages, pins among them (where they are counted), and mappings of the kernel. */
void sh_counts(struct tp_run *run, struct sh_obj *obj, int use, int pin, int vmap,
	       const char *when)
{
	tp_eq(run, sh_read(obj->base.pages_use_count), use, "%s: object %u, users of its pages",
	      when, obj->id);
	if (SH_HAVE_PIN_COUNT)
		tp_eq(run, sh_pins(&obj->base), pin, "%s: object %u, pins", when, obj->id);
	tp_eq(run, sh_read(obj->base.vmap_use_count), vmap, "%s: object %u, vmaps", when,
	      obj->id);
	tp_check(run, !!obj->base.pages == !!use, "%s: object %u has %s with %d users", when,
		 obj->id, obj->base.pages ? "pages" : "none", use);
	tp_check(run, !!obj->base.vaddr == !!vmap, "%s: object %u has %s address with %d vmaps",
		 when, obj->id, obj->base.vaddr ? "an" : "no", vmap);
}

static void sh_table(struct tp_run *run, struct sh_obj *obj, const char *when)
{
	struct scatterlist *sg;
	pgoff_t i = 0, k;
	int s;

	for_each_sgtable_sg(obj->base.sgt, sg, s) {
		if (!tp_check(run, !sg->offset && PAGE_ALIGNED(sg->length),
			      "%s: object %u, an odd part of its table", when, obj->id))
			return;
		if (!tp_eq(run, sg_dma_address(sg), tp_dma_want(sg_page(sg)),
			   "%s: object %u, DMA address of page %lu", when, obj->id, i))
			return;
		for (k = 0; k < TP_PAGES(sg->length); k++, i++)
			if (!tp_check(run, i < obj->nr &&
				      sg_page(sg) + k == obj->base.pages[i],
				      "%s: object %u, the table is not its pages at %lu", when,
				      obj->id, i))
				return;
	}
	tp_eq(run, i, obj->nr, "%s: object %u, pages in its table", when, obj->id);
}

/* Every page is there: of its file, with the right attribute, mapped for DMA where it is to be. */
void sh_resident(struct tp_run *run, struct sh_obj *obj, const char *when)
{
	int attr = obj->base.map_wc ? TP_ATTR_WC : TP_ATTR_WB;
	pgoff_t i;

	if (!tp_check(run, obj->base.pages, "%s: object %u has no pages", when, obj->id))
		return;
	for (i = 0; i < obj->nr; i++) {
		struct page *p = obj->base.pages[i];

		if (!tp_check(run, p && page_folio(p)->mapping == sh_mapping(obj) &&
			      folio_file_page(page_folio(p), i) == p,
			      "%s: object %u, entry %lu is no page of its file", when, obj->id, i))
			return;
		if (!tp_attr_is(run, p, attr, when, obj->id, i))
			return;
		if (tp_have_dma_ops() &&
		    !tp_eq(run, tp_dma_live(page_to_pfn(p)), !!obj->base.sgt,
			   "%s: object %u, DMA mappings of page %lu", when, obj->id, i))
			return;
	}
	tp_eq(run, sh_file_pages(obj), obj->nr, "%s: object %u, pages of its file", when, obj->id);
	tp_check(run, mapping_unevictable(sh_mapping(obj)),
		 "%s: object %u, reclaim may take its pages", when, obj->id);
	if (obj->base.sgt)
		sh_table(run, obj, when);
}

/* Nobody uses pages of it; what is in its file, reclaim may have. */
void sh_absent(struct tp_run *run, struct sh_obj *obj, const char *when)
{
	sh_counts(run, obj, 0, 0, 0, when);
	tp_check(run, !obj->base.sgt, "%s: object %u has a table", when, obj->id);
	tp_check(run, !mapping_unevictable(sh_mapping(obj)),
		 "%s: object %u, reclaim may not take its pages", when, obj->id);
}

/* For good, and all of it. Somebody's mapping may still be a user of the pages. */
void sh_purged(struct tp_run *run, struct sh_obj *obj, const char *when)
{
	tp_eq(run, obj->base.madv, -1, "%s: object %u, madv", when, obj->id);
	tp_check(run, !obj->base.sgt, "%s: object %u has a table", when, obj->id);
	tp_check(run, !obj->base.vaddr, "%s: object %u has an address", when, obj->id);
	tp_check(run, !sh_purgeable(obj), "%s: object %u is purgeable again", when, obj->id);
	tp_check(run, list_empty(&obj->base.madv_list), "%s: object %u is listed", when, obj->id);
	tp_check(run, !drm_mm_node_allocated(&obj->base.base.vma_node.vm_node),
		 "%s: object %u can still be mapped by its offset", when, obj->id);
	tp_eq(run, sh_file_pages(obj), 0, "%s: object %u, pages left in its file", when, obj->id);
	tp_eq(run, sh_mapping(obj)->nrpages, 0, "%s: object %u, pages left in memory", when,
	      obj->id);
}

struct sh_sums {
	long pages, mapped;
	struct tp_counters c;
};

static void sh_sum(struct tp_run *run, struct sh_sums *s)
{
	struct sh_obj *obj;

	memset(s, 0, sizeof(*s));
	spin_lock(&run->dev->lock);
	list_for_each_entry(obj, &run->dev->objs, link) {
		s->pages += sh_mapping(obj)->nrpages;
		s->mapped += obj->base.sgt ? obj->nr : 0;
	}
	spin_unlock(&run->dev->lock);
	tp_counters_read(&s->c);
	s->c.shmem -= run->start.shmem;
	s->c.dma_mapped -= run->start.dma_mapped;
}

/* The counters say what the objects say, when nobody else is at work. */
void sh_balance(struct tp_run *run, const char *when)
{
	struct sh_sums s;

	tp_wait_for((sh_sum(run, &s), (!run->quiet || s.c.shmem == s.pages) &&
		     s.c.dma_mapped == (tp_have_dma_ops() ? s.mapped : 0)));
	/* Where memory was short, others' pages in shared memory may have gone to swap. */
	if (run->quiet)
		tp_eq(run, s.c.shmem, s.pages, "%s: Shmem against the pages of the files", when);
	if (tp_have_dma_ops())
		tp_eq(run, s.c.dma_mapped, s.mapped, "%s: DMA-mapped pages", when);
}

struct tp_witness *sh_witness(struct tp_run *run, struct sh_obj *obj)
{
	struct tp_witness *w = tp_witness_new(run, obj->id, obj->nr);
	pgoff_t i;

	for (i = 0; w && i < obj->nr; i++)
		tp_witness_add(w, obj->base.pages[i], true);
	return w;
}

/* Whoever else holds a page for a moment, for its place on a list, lets it go. */
void sh_witness_freed(struct tp_run *run, struct tp_witness *w, const char *when)
{
	pgoff_t i;

	if (!w)
		return;
	for (i = 0; i < tp_witness_nr(w); i++)
		if (!tp_wait_for(tp_witness_mine(w, i)))
			break;
	tp_witness_freed(run, w, when);
	tp_witness_drop(w);
}

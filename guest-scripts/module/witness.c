// SPDX-License-Identifier: GPL-2.0-only
/* Witnesses: references that outlive what is done with the pages of an object. */
#include <linux/highmem.h>
#include <linux/slab.h>

#include "module.h"

/* Of an object with at most so many pages; each is added where it is found. */
struct tp_witness *tp_witness_new(struct tp_run *run, u32 id, pgoff_t max)
{
	struct tp_witness *w = kzalloc(sizeof(*w), GFP_KERNEL);

	if (!w)
		goto err;
	w->id = id;
	w->pages = kvcalloc(max, sizeof(*w->pages), GFP_KERNEL);
	w->head = kvcalloc(max, sizeof(*w->head), GFP_KERNEL);
	if (!w->pages || !w->head)
		goto err;
	return w;
err:
	if (w) {
		kvfree(w->pages);
		kvfree(w->head);
	}
	kfree(w);
	tp_bug(run, "no memory for a witness");
	return NULL;
}

/* The next page; one reference is held to the first of those that go together. */
void tp_witness_add(struct tp_witness *w, struct page *p, bool head)
{
	if (head)
		get_page(p);
	w->head[w->nr] = head;
	w->pages[w->nr++] = p;
}

pgoff_t tp_witness_nr(struct tp_witness *w)
{
	return w->nr;
}

/* Only the witness holds this page any more. */
bool tp_witness_mine(struct tp_witness *w, pgoff_t i)
{
	return w->head[i] && page_count(w->pages[i]) == 1;
}

struct page *tp_witness_page(struct tp_witness *w, pgoff_t i)
{
	return w->pages[i];
}

/* Each page has so many references and that attribute, no mapping for a device, and is cleared. */
void tp_witness_check(struct tp_run *run, struct tp_witness *w, int attr, int refs,
		      bool zeroed, const char *when)
{
	pgoff_t i;

	if (!w)
		return;
	for (i = 0; i < w->nr; i++) {
		struct page *p = w->pages[i];

		if (w->head[i] &&
		    !tp_eq(run, page_count(p), refs,
			   "%s: object %u, references to its former page %lu", when, w->id, i))
			return;
		if (!tp_attr_is(run, p, attr, when, w->id, i))
			return;
		if (w->head[i] && tp_have_dma_ops() && !w->no_dma &&
		    !tp_eq(run, tp_dma_live(page_to_pfn(p)), 0,
			   "%s: object %u, former page %lu is still DMA-mapped", when, w->id, i))
			return;
		if (zeroed) {
			u64 *at = kmap_local_page(p);
			u64 *bad = memchr_inv(at, 0, PAGE_SIZE);

			kunmap_local(at);
			if (!tp_check(run, !bad, "%s: object %u, former page %lu is not cleared",
				      when, w->id, i))
				return;
		}
	}
}

void tp_witness_freed(struct tp_run *run, struct tp_witness *w, const char *when)
{
	tp_witness_check(run, w, TP_ATTR_WB, 1, false, when);
}

/*
 * Pages that are the witness's alone are cached again: what a known bug left in
 * their attributes must not be the next case's when they go to the system.
 */
void tp_witness_mend(struct tp_witness *w)
{
	bool mine = false;
	pgoff_t i;

	if (!w)
		return;
	for (i = 0; i < w->nr; i++) {
		int attr;

		if (w->head[i])
			mine = tp_witness_mine(w, i);
		if (!mine)
			continue;
		attr = tp_page_attr(w->pages[i]);
		if (attr != TP_ATTR_WB && attr != TP_ATTR_UNKNOWN)
			tp_set_wb(w->pages[i]);
	}
}

void tp_witness_drop(struct tp_witness *w)
{
	pgoff_t i;

	if (!w)
		return;
	for (i = 0; i < w->nr; i++)
		if (w->head[i])
			put_page(w->pages[i]);
	kvfree(w->pages);
	kvfree(w->head);
	kfree(w);
}

// SPDX-License-Identifier: GPL-2.0-only
/* DMA mappings, with operations of our own: which page is mapped, and how. */
#include <linux/dma-map-ops.h>
#include <linux/mmzone.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "module.h"

#define TP_DMA_OFFSET	BIT_ULL(40)

#ifdef CONFIG_ARCH_HAS_DMA_OPS
static u8 *tp_dma_order;	/* by page frame: order + 1 of a live mapping */
static unsigned long tp_dma_pfns;
static atomic_long_t tp_dma_pages;
static int tp_dma_fail;

static dma_addr_t tp_dma_map(phys_addr_t phys, size_t size)
{
	unsigned long pfn = PHYS_PFN(phys);

	if (tp_dma_fail && !--tp_dma_fail)
		return DMA_MAPPING_ERROR;
	if (pfn >= tp_dma_pfns || !PAGE_ALIGNED(phys) || !PAGE_ALIGNED(size)) {
		tp_async("odd DMA mapping of %zu bytes", size);
		return DMA_MAPPING_ERROR;
	}
	if (cmpxchg(&tp_dma_order[pfn], 0, get_order(size) + 1))
		tp_async("DMA mapping of a page that is mapped (pfn %lx)", pfn);
	atomic_long_add(TP_PAGES(size), &tp_dma_pages);
	return phys + TP_DMA_OFFSET;
}

static void tp_dma_unmap(dma_addr_t addr, size_t size)
{
	unsigned long pfn = PHYS_PFN(addr - TP_DMA_OFFSET);
	u8 was;

	if (addr < TP_DMA_OFFSET || pfn >= tp_dma_pfns) {
		tp_async("DMA unmapping of %llx, which no mapping gave", (u64)addr);
		return;
	}
	was = xchg(&tp_dma_order[pfn], 0);
	if (!was)
		tp_async("DMA unmapping of a page that is not mapped (pfn %lx)", pfn);
	else if (was != get_order(size) + 1)
		tp_async("DMA unmapping of %zu bytes, mapped were %lu", size,
			 PAGE_SIZE << (was - 1));
	if (was)
		atomic_long_sub(1L << (was - 1), &tp_dma_pages);
}

#if TP_HAVE_MAP_PHYS
static dma_addr_t tp_map_phys(struct device *dev, phys_addr_t phys, size_t size,
			      enum dma_data_direction dir, unsigned long attrs)
{
	return tp_dma_map(phys, size);
}

static void tp_unmap_phys(struct device *dev, dma_addr_t addr, size_t size,
			  enum dma_data_direction dir, unsigned long attrs)
{
	tp_dma_unmap(addr, size);
}
#else
static dma_addr_t tp_map_page(struct device *dev, struct page *page, unsigned long offset,
			      size_t size, enum dma_data_direction dir, unsigned long attrs)
{
	return tp_dma_map(page_to_phys(page) + offset, size);
}

static void tp_unmap_page(struct device *dev, dma_addr_t addr, size_t size,
			  enum dma_data_direction dir, unsigned long attrs)
{
	tp_dma_unmap(addr, size);
}
#endif

static void *tp_dma_alloc(struct device *dev, size_t size, dma_addr_t *handle, gfp_t gfp,
			  unsigned long attrs)
{
	struct page *p = alloc_pages(gfp | __GFP_ZERO, get_order(size));

	if (!p)
		return NULL;
	*handle = tp_dma_map(page_to_phys(p), PAGE_SIZE << get_order(size));
	if (*handle == DMA_MAPPING_ERROR) {
		__free_pages(p, get_order(size));
		return NULL;
	}
	return page_address(p);
}

static void tp_dma_free(struct device *dev, size_t size, void *vaddr, dma_addr_t handle,
			unsigned long attrs)
{
	tp_dma_unmap(handle, PAGE_SIZE << get_order(size));
	free_pages((unsigned long)vaddr, get_order(size));
}

/* Each page is a mapping of its own, whatever the parts of the table. */
static void tp_unmap_sg(struct device *dev, struct scatterlist *list, int nents,
			enum dma_data_direction dir, unsigned long attrs)
{
	struct scatterlist *sg;
	unsigned int at;
	int i;

	for_each_sg(list, sg, nents, i)
		for (at = 0; at < sg->length; at += PAGE_SIZE)
			tp_dma_unmap(sg_dma_address(sg) + at, PAGE_SIZE);
}

static int tp_map_sg(struct device *dev, struct scatterlist *list, int nents,
		     enum dma_data_direction dir, unsigned long attrs)
{
	struct scatterlist *sg;
	unsigned int at;
	int i;

	for_each_sg(list, sg, nents, i) {
		for (at = 0; at < sg->length; at += PAGE_SIZE) {
			if (tp_dma_map(sg_phys(sg) + at, PAGE_SIZE) == DMA_MAPPING_ERROR)
				goto undo;
		}
		sg_dma_address(sg) = sg_phys(sg) + TP_DMA_OFFSET;
		sg_dma_len(sg) = sg->length;
	}
	return nents;

undo:
	while (at) {
		at -= PAGE_SIZE;
		tp_dma_unmap(sg_phys(sg) + TP_DMA_OFFSET + at, PAGE_SIZE);
	}
	tp_unmap_sg(dev, list, i, dir, attrs);
	return -EIO;
}

static const struct dma_map_ops tp_dma_ops = {
	.alloc = tp_dma_alloc,
	.free = tp_dma_free,
	.map_sg = tp_map_sg,
	.unmap_sg = tp_unmap_sg,
#if TP_HAVE_MAP_PHYS
	.map_phys = tp_map_phys,
	.unmap_phys = tp_unmap_phys,
#else
	.map_page = tp_map_page,
	.unmap_page = tp_unmap_page,
#endif
};

bool tp_have_dma_ops(void)
{
	return tp_dma_order;
}

void tp_dma_fail_nth(int nth)
{
	tp_dma_fail = nth;
}

long tp_dma_mapped(void)
{
	return atomic_long_read(&tp_dma_pages);
}

int tp_dma_live(unsigned long pfn)
{
	return pfn < tp_dma_pfns ? tp_dma_order[pfn] : 0;
}

static int tp_dma_ops_setup(struct device *dev)
{
	pg_data_t *pgdat = NODE_DATA(first_online_node);

	tp_dma_pfns = pgdat->node_start_pfn + pgdat->node_spanned_pages;
	tp_dma_order = vzalloc(tp_dma_pfns);
	if (!tp_dma_order)
		return -ENOMEM;
	set_dma_ops(dev, &tp_dma_ops);
	return 0;
}

void tp_dma_teardown(struct device *dev)
{
	set_dma_ops(dev, NULL);
	vfree(tp_dma_order);
	tp_dma_order = NULL;
}
#else
bool tp_have_dma_ops(void)
{
	return false;
}

void tp_dma_fail_nth(int nth)
{
}

long tp_dma_mapped(void)
{
	return 0;
}

int tp_dma_live(unsigned long pfn)
{
	return -1;
}

static int tp_dma_ops_setup(struct device *dev)
{
	return 0;
}

void tp_dma_teardown(struct device *dev)
{
}
#endif

int tp_dma_setup(struct device *dev)
{
	int ret = dma_coerce_mask_and_coherent(dev, DMA_BIT_MASK(64));

	return ret ?: tp_dma_ops_setup(dev);
}

dma_addr_t tp_dma_want(struct page *p)
{
	return page_to_phys(p) + (tp_have_dma_ops() ? TP_DMA_OFFSET : 0);
}

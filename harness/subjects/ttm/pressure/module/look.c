// SPDX-License-Identifier: GPL-2.0-only
/* What can be looked at: counters, pools, page attributes, DMA mappings. */
#include <linux/cpumask.h>
#include <linux/dma-map-ops.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/mmzone.h>
#include <linux/platform_device.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#ifdef CONFIG_X86
#include <asm/memtype.h>
#include <asm/pgtable.h>
#include <asm/set_memory.h>
#endif
#include <drm/ttm/ttm_device.h>

#include "pressure.h"

/* ---- counters ---- */

/* With what the processors have not handed in yet. */
long tp_node_stat(enum node_stat_item item)
{
	long n = atomic_long_read(&vm_node_stat[item]);
#ifdef CONFIG_SMP
	int nid, cpu;

	for_each_online_node(nid)
		for_each_online_cpu(cpu)
			n += per_cpu_ptr(NODE_DATA(nid)->per_cpu_nodestats,
					 cpu)->vm_node_stat_diff[item];
#endif
	return n;
}

/* A seq_file of our own: what a debugfs file shows, read inside the kernel. */
int tp_debugfs_show(const char *path, char *buf, size_t len)
{
	struct seq_file fake = { .buf = buf, .size = len };
	struct seq_file *m;
	struct file *f;
	int ret = -ENXIO;

	memset(buf, 0, len);
	mutex_init(&fake.lock);
	f = filp_open(path, O_RDONLY, 0);
	if (IS_ERR(f))
		return PTR_ERR(f);
	m = f->private_data;
	if (m && m->op && m->op->show) {
		fake.private = m->private;
		fake.op = m->op;
		ret = m->op->show(&fake, NULL);
	}
	filp_close(f, NULL);
	buf[min(fake.count, len - 1)] = 0;
	return ret;
}

int tp_sysfs_write(const char *path, const char *text)
{
	struct file *f = filp_open(path, O_WRONLY, 0);
	loff_t pos = 0;
	ssize_t ret;

	if (IS_ERR(f))
		return PTR_ERR(f);
	ret = kernel_write(f, text, strlen(text), &pos);
	filp_close(f, NULL);
	return ret < 0 ? ret : 0;
}

/* A number at the start of a file of proc or sysfs; -1 where there is none. */
long tp_read_number(const char *path)
{
	struct file *f = filp_open(path, O_RDONLY, 0);
	char text[32] = { };
	loff_t pos = 0;
	long n = -1;

	if (IS_ERR(f))
		return -1;
	if (kernel_read(f, text, sizeof(text) - 1, &pos) > 0) {
		text[strcspn(text, "\t\n ")] = 0;
		if (kstrtol(text, 10, &n))
			n = -1;
	}
	filp_close(f, NULL);
	return n;
}

int tp_warn_count(void)
{
	return tp_read_number("/sys/kernel/warn_count");
}

long tp_open_files(void)
{
	return tp_read_number("/proc/sys/fs/file-nr");
}

/* The table of the global pools: entries per kind and order, their sum in pages, the totals below it. */
static bool tp_pool_table(struct tp_pool_rows *rows, unsigned long *sum, unsigned long *total,
			  unsigned long *limit)
{
	static const char * const names[TP_POOL_KINDS] = { "wc\t", "uc\t", "wc 32", "uc 32" };
	char *text = kzalloc(4096, GFP_KERNEL), *at, *line;
	bool found = false;

	*sum = 0;
	*total = 0;
	*limit = 0;
	if (!text)
		return false;
	if (tp_debugfs_show("/sys/kernel/debug/ttm/page_pool", text, 4096))
		goto out;
	at = text;
	while ((line = strsep(&at, "\n"))) {
		char *p = strchr(line, ':');
		int order = 0, kind = 0;
		unsigned long t, l;

		if (!p)
			continue;
		p++;
		if (!strncmp(line, "total", 5)) {
			if (sscanf(p, "%lu of %lu", &t, &l) == 2) {
				*total += t;
				*limit += l;
				found = true;
			}
			continue;
		}
		while (kind < TP_POOL_KINDS && strncmp(line, names[kind], strlen(names[kind])))
			kind++;
		if (kind == TP_POOL_KINDS)
			continue;
		for (; *p; order++) {
			unsigned long n;
			int used;

			if (sscanf(p, " %lu%n", &n, &used) != 1)
				break;
			if (rows && order <= MAX_PAGE_ORDER)
				rows->n[kind][order] = n;
			*sum += n << order;
			p += used;
		}
	}
out:
	kfree(text);
	return found;
}

bool tp_pool_footer(unsigned long *total, unsigned long *limit)
{
	unsigned long sum;

	return tp_pool_table(NULL, &sum, total, limit);
}

bool tp_pool_entries(struct tp_pool_rows *rows)
{
	unsigned long total, limit;

	memset(rows, 0, sizeof(*rows));
	return tp_pool_table(rows, &rows->pages, &total, &limit);
}

/* Pages in the pools of one kind. */
unsigned long tp_pool_kind(const struct tp_pool_rows *rows, enum tp_pool_kind kind)
{
	unsigned long n = 0;
	int order;

	for (order = 0; order <= MAX_PAGE_ORDER; order++)
		n += rows->n[kind][order] << order;
	return n;
}

long tp_pool_total(void)
{
	unsigned long total, limit;

	return tp_pool_footer(&total, &limit) ? total : -1;
}

long tp_pool_limit(void)
{
	unsigned long total, limit;

	return tp_pool_footer(&total, &limit) ? limit : -1;
}

/* Pages that are free, or that some counter of the kernel knows the use of. */
static long tp_known_pages(void)
{
	struct sysinfo si;
	struct zone *zone;
	long n;
	int cpu, i;

	si_meminfo(&si);
	n = si.freeram;
	for (i = 0; i < MAX_NR_ZONES; i++) {
		zone = &NODE_DATA(first_online_node)->node_zones[i];
		if (!zone->per_cpu_pageset)
			continue;
		for_each_online_cpu(cpu)
			n += per_cpu_ptr(zone->per_cpu_pageset, cpu)->count;
	}
	n += tp_node_stat(NR_FILE_PAGES) + tp_node_stat(NR_ANON_MAPPED);
	n += tp_node_stat(NR_SLAB_UNRECLAIMABLE_B) + tp_node_stat(NR_SLAB_RECLAIMABLE_B);
#if TP_HAVE_GPU_STATS
	n += tp_node_stat(NR_GPU_ACTIVE) + tp_node_stat(NR_GPU_RECLAIM);
#endif
	return n;
}

void tp_counters_read(struct tp_counters *c)
{
#if TP_HAVE_GPU_STATS
	c->gpu_active = tp_node_stat(NR_GPU_ACTIVE);
	c->gpu_reclaim = tp_node_stat(NR_GPU_RECLAIM);
#else
	c->gpu_active = 0;
	c->gpu_reclaim = 0;
#endif
	c->shmem = tp_node_stat(NR_SHMEM);
	c->swap_free = get_nr_swap_pages();
	c->bo_count = atomic_read(&ttm_glob.bo_count);
	c->dma_mapped = tp_dma_mapped();
	c->known = tp_known_pages();
}

unsigned long tp_patience = 20 * HZ;

/* A page freed under writeback keeps its swap entry until reclaim comes by. */
void tp_wait_writeback(void)
{
	tp_wait_for(tp_node_stat(NR_WRITEBACK) <= 0);
}

/* Who reads the result has files open as well, and the kernel counts in batches. */
#define TP_FILES_SLACK	120
/* Page tables, stacks, what processors keep for themselves. */
#define TP_KNOWN_SLACK	512

/* Entries of pages that reclaim has yet to look at are no leak. */
#define TP_SWAP_SLACK	32

static bool tp_all_back(struct tp_run *run, struct tp_counters *c)
{
	flush_delayed_fput();
	tp_counters_read(c);
	/* The file that is read for it is put when this task is back in user mode: one each time. */
	c->files = tp_open_files() - run->looks++;
	return c->gpu_active == run->start.gpu_active &&
	       c->gpu_reclaim == run->start.gpu_reclaim &&
	       run->start.known - c->known <= TP_KNOWN_SLACK &&
	       c->files <= run->start.files + TP_FILES_SLACK &&
	       (!run->quiet || (c->shmem <= run->start.shmem &&
				c->swap_free + TP_SWAP_SLACK >= run->start.swap_free));
}

/* Files are put with a delay: wait for what is allowed to be late. */
void tp_leak_check(struct tp_run *run)
{
	struct tp_counters c;

	tp_wait_for(tp_all_back(run, &c));
	tp_eq(run, c.gpu_active, run->start.gpu_active, "afterwards: GPUActive in pages");
	tp_eq(run, c.gpu_reclaim, run->start.gpu_reclaim, "afterwards: GPUReclaim in pages");
	tp_eq(run, c.bo_count, run->start.bo_count, "afterwards: objects of TTM");
	tp_eq(run, c.dma_mapped, run->start.dma_mapped, "afterwards: DMA-mapped pages");
	tp_metric(run, "pages_unaccounted", run->start.known - c.known);
	tp_check(run, run->start.known - c.known <= TP_KNOWN_SLACK,
		 "afterwards: %ld pages that nobody accounts for", run->start.known - c.known);
	tp_check(run, c.files <= run->start.files + TP_FILES_SLACK,
		 "afterwards: open files grew from %ld to %ld", run->start.files, c.files);
	if (run->quiet) {
		tp_check(run, c.shmem <= run->start.shmem,
			 "afterwards: shmem grew from %ld to %ld pages", run->start.shmem, c.shmem);
		tp_check(run, c.swap_free + TP_SWAP_SLACK >= run->start.swap_free,
			 "afterwards: swap free fell from %ld to %ld pages",
			 run->start.swap_free, c.swap_free);
	} else {
		tp_metric(run, "shmem_delta", c.shmem - run->start.shmem);
		tp_metric(run, "swap_free_delta", c.swap_free - run->start.swap_free);
	}
}

/* ---- page attributes ---- */

int tp_page_attr(struct page *p)
{
#ifdef CONFIG_X86_64
	unsigned int level;
	unsigned long v, pat;
	pte_t *pte;

	if (!pat_enabled())
		return TP_ATTR_UNKNOWN;
	pte = lookup_address((unsigned long)page_address(p), &level);
	if (!pte || pte_none(*pte))
		return TP_ATTR_ODD;
	v = pte_val(*pte);
	pat = level == PG_LEVEL_4K ? _PAGE_PAT : _PAGE_PAT_LARGE;
	v &= pat | _PAGE_PCD | _PAGE_PWT;
	if (!v)
		return TP_ATTR_WB;
	if (v == _PAGE_PWT)
		return TP_ATTR_WC;
	if (v == _PAGE_PCD)
		return TP_ATTR_UC;
	return TP_ATTR_ODD;
#else
	return TP_ATTR_UNKNOWN;
#endif
}

void tp_set_wb(struct page *p)
{
#ifdef CONFIG_X86_64
	set_pages_wb(p, 1);
#endif
}

const char *tp_attr_name(int attr)
{
	static const char * const names[] = { "WB", "WC", "UC", "odd", "unknown" };

	return names[attr];
}

int tp_want_attr(enum ttm_caching caching)
{
	if (caching == ttm_write_combined)
		return TP_ATTR_WC;
	return caching == ttm_uncached ? TP_ATTR_UC : TP_ATTR_WB;
}

bool tp_attr_is(struct tp_run *run, struct page *p, int want, const char *when,
		       u32 id, pgoff_t i)
{
	int attr = tp_page_attr(p);

	return tp_check(run, attr == want || attr == TP_ATTR_UNKNOWN,
			"%s: attribute of page %lu of object %u: expected %s, got %s",
			when, i, id, tp_attr_name(want), tp_attr_name(attr));
}

/* ---- DMA mappings, with operations of our own ---- */

#define TP_DMA_OFFSET	(1ULL << 40)

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

#if TP_KERNEL >= 6019
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

static const struct dma_map_ops tp_dma_ops = {
	.alloc = tp_dma_alloc,
	.free = tp_dma_free,
#if TP_KERNEL >= 6019
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

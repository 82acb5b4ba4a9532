// SPDX-License-Identifier: GPL-2.0-only
/* Counters of the kernel, and what a case left behind by them. */
#include <linux/cpumask.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mmzone.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "module.h"

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

/* False where it cannot be set. */
bool tp_param_set(struct tp_param *p, const char *value)
{
	long old = tp_read_number(p->path);

	if (old < 0 || tp_sysfs_write(p->path, value))
		return false;
	snprintf(p->old, sizeof(p->old), "%ld", old);
	return true;
}

void tp_param_restore(struct tp_param *p)
{
	if (p->old[0])
		tp_sysfs_write(p->path, p->old);
}

int tp_warn_count(void)
{
	return tp_read_number("/sys/kernel/warn_count");
}

long tp_open_files(void)
{
	return tp_read_number("/proc/sys/fs/file-nr");
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
#if TP_HAVE_GPU_COUNTERS
	n += tp_node_stat(NR_GPU_ACTIVE) + tp_node_stat(NR_GPU_RECLAIM);
#endif
	return n;
}

void tp_counters_read(struct tp_counters *c)
{
#if TP_HAVE_GPU_COUNTERS
	c->gpu_active = tp_node_stat(NR_GPU_ACTIVE);
	c->gpu_reclaim = tp_node_stat(NR_GPU_RECLAIM);
#else
	c->gpu_active = 0;
	c->gpu_reclaim = 0;
#endif
	c->shmem = tp_node_stat(NR_SHMEM);
	c->swap_free = get_nr_swap_pages();
	c->objects = tp_module.count_objects();
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
	/* The file that is read for it is put when this task is in user mode: one each time. */
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
	tp_eq(run, c.objects, run->start.objects, "afterwards: %s", tp_module.objects);
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

/* ---- of a load ---- */

/* Bytes of objects the knobs ask for, or pct of what is free now. */
u64 tp_total(struct tp_run *run, unsigned int pct)
{
	struct sysinfo si;
	u64 ram;

	if (run->k.total)
		return run->k.total;
	si_meminfo(&si);
	ram = (u64)(si.freeram + si.bufferram / 2) * si.mem_unit;
	if (run->k.total_pct > 0)
		pct = run->k.total_pct;
	return ALIGN_DOWN(div_u64(ram * pct, 100), PAGE_SIZE);
}

/* OOM kills, and pages that came from swap and went there. */
void tp_events(unsigned long *oom, unsigned long *in, unsigned long *out)
{
#ifdef CONFIG_VM_EVENT_COUNTERS
	unsigned long *events = kcalloc(NR_VM_EVENT_ITEMS, sizeof(*events), GFP_KERNEL);

	*oom = 0;
	*in = 0;
	*out = 0;
	if (!events)
		return;
	all_vm_events(events);
	*oom = events[OOM_KILL];
	*in = events[PSWPIN];
	*out = events[PSWPOUT];
	kfree(events);
#else
	*oom = 0;
	*in = 0;
	*out = 0;
#endif
}

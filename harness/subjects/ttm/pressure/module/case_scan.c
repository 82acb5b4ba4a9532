// SPDX-License-Identifier: GPL-2.0-only
/* The pools' own shrinker, called as the kernel calls it: each of its answers. */
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/sched/mm.h>
#include <linux/shrinker.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "pressure.h"

#define TP_SCAN_PATIENCE	(30 * HZ)
#define TP_SHRINKER_IDS		4096	/* numbers in the names of debugfs */

/* TTM keeps its shrinker to itself; debugfs, where there is one, has a pointer to it. */
static struct shrinker *tp_pool_shrinker(void)
{
	struct shrinker *found = NULL;
	char path[80];
	struct file *f;
	int i;

	for (i = 0; i < TP_SHRINKER_IDS && !found; i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/shrinker/drm-ttm_pool-%d/count", i);
		f = filp_open(path, O_RDONLY, 0);
		if (IS_ERR(f))
			continue;
		found = file_inode(f)->i_private;
		filp_close(f, NULL);
	}
	return found;
}

/* A scan by a thread of its own, so that one that does not end can be told from one that does. */
struct tp_scan_job {
	struct shrinker *shrinker;
	struct shrink_control sc;
	unsigned long ret;
	struct completion done;
};

static int tp_scan_thread(void *data)
{
	struct tp_scan_job *job = data;
	unsigned int noreclaim = memalloc_noreclaim_save();

	fs_reclaim_acquire(job->sc.gfp_mask);
	job->ret = job->shrinker->scan_objects(job->shrinker, &job->sc);
	fs_reclaim_release(job->sc.gfp_mask);
	memalloc_noreclaim_restore(noreclaim);
	complete(&job->done);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

/* A device with pools of the usual kind, and one with those of pages below 4 GiB. */
struct tp_pools {
	struct tp_dev *dev[2];
	struct shrinker *shrinker;
};

static struct tp_dev *tp_pools_dev(struct tp_pools *p, enum tp_pool_kind kind)
{
	return p->dev[kind == TP_POOL_WC32 || kind == TP_POOL_UC32];
}

static struct tp_bo *tp_pools_bo(struct tp_pools *p, enum tp_pool_kind kind, u64 pages)
{
	bool wc = kind == TP_POOL_WC || kind == TP_POOL_WC32;
	struct tp_bo_args args = {
		.size = pages << PAGE_SHIFT, .watermark = true,
		.caching = wc ? ttm_write_combined : ttm_uncached,
	};

	return tp_bo_new(tp_pools_dev(p, kind), &args, NULL);
}

static void tp_pools_put(struct tp_pools *p)
{
	struct tp_bo *bo, *next;
	int i;

	for (i = 0; i < ARRAY_SIZE(p->dev); i++)
		list_for_each_entry_safe(bo, next, &p->dev[i]->bos, link)
			tp_bo_put(bo);
}

/* Takes all pages out of the pools by using them: a scan for more of them has an end, too. */
static void tp_pools_drain(struct tp_pools *p)
{
	struct tp_pool_rows rows;
	unsigned long n;
	int kind, order;

	if (!tp_pool_entries(&rows))
		return;
	for (kind = 0; kind < TP_POOL_KINDS; kind++)
		for (order = 0; order <= MAX_PAGE_ORDER; order++)
			for (n = rows.n[kind][order]; n; n--)
				tp_pools_bo(p, kind, 1UL << order);
}

static bool tp_pools_scan(struct tp_run *run, struct tp_pools *p, struct tp_scan *s)
{
	struct tp_scan_job job = {
		.shrinker = p->shrinker,
		.sc = { .gfp_mask = s->gfp, .nr_to_scan = s->nr, .nr_scanned = s->nr },
	};
	struct task_struct *task;
	bool ended;

	init_completion(&job.done);
	task = kthread_run(tp_scan_thread, &job, "ttm_pressure_p");
	if (!tp_check(run, !IS_ERR(task), "no thread"))
		return false;
	ended = wait_for_completion_timeout(&job.done, TP_SCAN_PATIENCE);
	tp_check(run, ended, "a scan of the pools for %lu does not end", s->nr);
	if (!ended) {
		tp_pools_drain(p);
		tp_wait_done(&job.done);
		tp_pools_put(p);
	}
	kthread_stop(task);
	s->ret = job.ret;
	s->scanned = job.sc.nr_scanned;
	return ended;
}

static unsigned long tp_pools_count(struct tp_pools *p, gfp_t gfp)
{
	struct shrink_control sc = { .gfp_mask = gfp };
	unsigned long n;

	fs_reclaim_acquire(gfp);
	n = p->shrinker->count_objects(p->shrinker, &sc);
	fs_reclaim_release(gfp);
	return n;
}

static bool tp_pools_init(struct tp_run *run, struct tp_pools *p)
{
	static const struct tp_dev_args below = { .dma32 = true };
	struct tp_pool_rows rows;

	p->dev[0] = tp_dev_new(run, NULL);
	p->dev[1] = p->dev[0] ? tp_dev_new(run, &below) : NULL;
	if (!p->dev[1])
		return false;
	p->shrinker = tp_pool_shrinker();
	if (!p->shrinker) {
		tp_skip(run, "needs CONFIG_SHRINKER_DEBUG");
		return false;
	}
	if (!tp_pool_entries(&rows)) {
		tp_skip(run, "needs ttm/page_pool in debugfs");
		return false;
	}
	return true;
}

static void tp_pools_fini(struct tp_run *run, struct tp_pools *p)
{
	tp_dev_free(run, p->dev[1]);
	tp_dev_free(run, p->dev[0]);
}

/* Pages for each kind of pool; the witnesses are the caller's. */
static void tp_pools_fill(struct tp_run *run, struct tp_pools *p, struct tp_witness **w)
{
	static const u64 pages[TP_POOL_KINDS] = { 43, 22, 13, 7 };
	struct tp_bo *bos[TP_POOL_KINDS];
	struct tp_pool_rows rows;
	int kind;

	for (kind = 0; kind < TP_POOL_KINDS; kind++) {
		bos[kind] = tp_pools_bo(p, kind, pages[kind]);
		if (!bos[kind])
			continue;
		tp_bo_lock(bos[kind]);
		tp_bo_fill(bos[kind], run->k.seed + kind);
		tp_bo_unlock(bos[kind]);
		w[kind] = tp_witness_of(run, bos[kind]);
		bos[kind]->witness = NULL;
	}
	for (kind = 0; kind < TP_POOL_KINDS; kind++)
		tp_bo_put(bos[kind]);
	tp_check(run, tp_pool_entries(&rows), "no table of pools");
	for (kind = 0; kind < TP_POOL_KINDS; kind++) {
		bool wc = kind == TP_POOL_WC || kind == TP_POOL_WC32;

		tp_eq(run, tp_pool_kind(&rows, kind), pages[kind], "pages in the pools of kind %d",
		      kind);
		tp_witness_pooled(run, w[kind], wc ? TP_ATTR_WC : TP_ATTR_UC, "freed into a pool");
	}
	tp_eq(run, tp_pool_total(), rows.pages, "the total below the table of pools");
	tp_balance(run, "pools filled");
}

static void tp_pools_gone(struct tp_run *run, struct tp_witness **w)
{
	int kind;

	for (kind = 0; kind < TP_POOL_KINDS; kind++) {
		tp_witness_freed(run, w[kind], "shrunk out of the pools");
		tp_witness_drop(w[kind]);
		w[kind] = NULL;
	}
}

/* Entries fewer than before, as pages; which pool the last of them was of. */
static long tp_pools_less(const struct tp_pool_rows *was, const struct tp_pool_rows *is,
			  long *entries, int *pool)
{
	long pages = 0;
	int kind, order;

	*entries = 0;
	*pool = -1;
	for (kind = 0; kind < TP_POOL_KINDS; kind++) {
		for (order = 0; order <= MAX_PAGE_ORDER; order++) {
			long less = was->n[kind][order] - is->n[kind][order];

			*entries += less;
			pages += less * (1L << order);
			if (less)
				*pool = kind * (MAX_PAGE_ORDER + 1) + order;
		}
	}
	return pages;
}

static int tp_pools_kinds(const struct tp_pool_rows *rows)
{
	int kind, order, n = 0;

	for (kind = 0; kind < TP_POOL_KINDS; kind++)
		for (order = 0; order <= MAX_PAGE_ORDER; order++)
			n += rows->n[kind][order] > 0;
	return n;
}

static void tp_pools_empty(struct tp_run *run, struct tp_pools *p, const char *when)
{
	struct tp_scan s = { .gfp = GFP_KERNEL, .nr = 128 };

	tp_eq(run, tp_pools_count(p, GFP_KERNEL), SHRINK_EMPTY, "%s: count of nothing", when);
	if (!tp_pools_scan(run, p, &s))
		return;
	/* Who answers with 0 and says that nothing was scanned is asked for ever. */
	tp_eq(run, s.ret, SHRINK_STOP, "%s: scan of nothing", when);
	tp_eq(run, s.scanned, 0, "%s: pages scanned of nothing", when);
}

static const gfp_t tp_pool_gfps[] = { GFP_KERNEL, GFP_NOFS, GFP_NOIO, GFP_NOWAIT };

/* One entry a call, of each pool in turn; count falls with it. */
static void tp_pools_one_each(struct tp_run *run, struct tp_pools *p)
{
	struct tp_pool_rows was, is;
	u64 seen = 0, pools = 0;
	int i, kinds, pool;
	long entries, less;

	BUILD_BUG_ON(TP_POOL_KINDS * (MAX_PAGE_ORDER + 1) > 64);
	tp_check(run, tp_pool_entries(&was), "no table of pools");
	kinds = tp_pools_kinds(&was);
	for (i = 0; i < kinds && !run->failed; i++) {
		struct tp_scan s = { .gfp = tp_pool_gfps[i % ARRAY_SIZE(tp_pool_gfps)], .nr = 1 };

		tp_eq(run, tp_pools_count(p, s.gfp), was.pages, "count, mask %d", i);
		if (!tp_pools_scan(run, p, &s))
			break;
		tp_check(run, tp_pool_entries(&is), "no table of pools");
		less = tp_pools_less(&was, &is, &entries, &pool);
		tp_eq(run, entries, 1, "entries fewer after a scan for one");
		tp_eq(run, s.ret, less, "pages freed, as the scan says");
		tp_eq(run, s.scanned, less, "pages scanned, as the scan says");
		tp_check(run, pool >= 0 && !(seen & BIT_ULL(pool)),
			 "pool %d had its turn again before all had it", pool);
		seen |= pool >= 0 ? BIT_ULL(pool) : 0;
		pools += pool >= 0;
		was = is;
		tp_balance(run, "an entry shrunk");
	}
	tp_eq(run, pools, kinds, "pools that had their turn");
}

/* More than an entry a call, until they are empty. */
static void tp_pools_twenty(struct tp_run *run, struct tp_pools *p)
{
	long less;
	int i;

	for (i = 0; i < 64 && tp_pool_total() > 0 && !run->failed; i++) {
		struct tp_scan s = { .gfp = tp_pool_gfps[i % ARRAY_SIZE(tp_pool_gfps)], .nr = 20 };
		long before = tp_pool_total();

		if (!tp_pools_scan(run, p, &s))
			break;
		less = before - tp_pool_total();
		tp_eq(run, s.ret, less, "pages freed, as a scan for 20 says");
		tp_check(run, less >= min(before, 20L),
			 "a scan for 20 of %ld freed %ld", before, less);
	}
	tp_eq(run, tp_pool_total(), 0, "pages left in pools after scans");
}

/* All at once, for any mask. */
static void tp_pools_at_once(struct tp_run *run, struct tp_pools *p, struct tp_witness **w)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(tp_pool_gfps) && !run->failed; i++) {
		struct tp_scan s = { .gfp = tp_pool_gfps[i], .nr = 100000 };
		long before;

		tp_pools_fill(run, p, w);
		before = tp_pool_total();
		if (!tp_pools_scan(run, p, &s))
			break;
		tp_eq(run, s.ret, before,
		      "mask %d: pages freed by a scan for more than there are", i);
		tp_eq(run, s.scanned, before, "mask %d: pages scanned", i);
		tp_pools_gone(run, w);
		tp_pools_empty(run, p, "emptied at once");
	}
}

/* One entry a call, of each pool in turn; count falls with it, for any mask. */
static void case_pool_contract(struct tp_run *run)
{
	struct tp_witness *w[TP_POOL_KINDS] = { };
	struct tp_pools p = { };
	int i;

	if (!tp_pools_init(run, &p))
		goto out;
	tp_eq(run, p.shrinker->seeks, 1, "cost of an entry, as the shrinker says it");
	/* Where the pools are kept by node, a batch is more than an entry of a middle order. */
	tp_check(run, !TP_HAVE_POOL_NODES || p.shrinker->batch >= 1L << (MAX_PAGE_ORDER / 2),
		 "a batch is %ld pages, less than an entry of a middle order", p.shrinker->batch);
	tp_eq(run, p.shrinker->flags & (SHRINKER_NUMA_AWARE | SHRINKER_MEMCG_AWARE),
	      TP_HAVE_POOL_NODES ? SHRINKER_NUMA_AWARE : 0, "what the shrinker is aware of");
	tp_pools_empty(run, &p, "empty");
	tp_pools_fill(run, &p, w);
	tp_pools_one_each(run, &p);
	tp_pools_twenty(run, &p);
	tp_pools_gone(run, w);
	tp_pools_empty(run, &p, "emptied");
	tp_pools_at_once(run, &p, w);
out:
	for (i = 0; i < TP_POOL_KINDS; i++)
		tp_witness_drop(w[i]);
	tp_pools_fini(run, &p);
}

/* Pages of one kind, in use; then as many of each kind, of which only one's are in a pool. */
static void tp_pool_kind_apart(struct tp_run *run, struct tp_pools *p, int kind)
{
	struct tp_bo *bos[TP_POOL_KINDS] = { }, *bo;
	struct tp_pool_rows rows;
	int other;

	bo = tp_pools_bo(p, kind, 16);
	tp_bo_put(bo);
	for (other = 0; other < TP_POOL_KINDS; other++) {
		if (other == kind)
			continue;
		bos[other] = tp_pools_bo(p, other, 16);
		if (!bos[other])
			continue;
		tp_bo_lock(bos[other]);
		tp_populated(run, bos[other], "beside pages of another kind");
		bos[other]->key = 0;
		tp_bo_verify(run, bos[other], "beside pages of another kind, to be zeroed");
		tp_bo_fill(bos[other], run->k.seed);
		tp_bo_unlock(bos[other]);
	}
	tp_check(run, tp_pool_entries(&rows), "no table of pools");
	tp_eq(run, tp_pool_kind(&rows, kind), 16, "pages of kind %d that no other kind may take",
	      kind);
	tp_eq(run, rows.pages, 16, "pages in all pools");
	tp_eq(run, tp_pool_total(), 16, "pages in all pools, by their total");
	bo = tp_pools_bo(p, kind, 16);
	tp_eq(run, tp_pool_total(), 0, "pages in pools when kind %d has its own back", kind);
	if (bo) {
		tp_bo_lock(bo);
		tp_populated(run, bo, "from its pool");
		bo->key = 0;
		tp_bo_verify(run, bo, "from its pool, to be zeroed");
		tp_bo_unlock(bo);
	}
	tp_bo_put(bo);
	for (other = 0; other < TP_POOL_KINDS; other++)
		tp_bo_put(bos[other]);
	tp_check(run, tp_pool_entries(&rows), "no table of pools");
	for (other = 0; other < TP_POOL_KINDS; other++)
		tp_eq(run, tp_pool_kind(&rows, other), 16,
		      "pages of kind %d in their pools", other);
}

/* Several kinds of pools at once: each has its own pages, and its own attributes. */
static void case_pool_kinds(struct tp_run *run)
{
	struct tp_pools p = { };
	int kind;

	if (!tp_pools_init(run, &p))
		goto out;
	for (kind = 0; kind < TP_POOL_KINDS && !run->failed; kind++) {
		struct tp_scan s = { .gfp = GFP_KERNEL, .nr = 100000 };
		int i;

		tp_pool_kind_apart(run, &p, kind);
		tp_balance(run, "kinds of pools");
		for (i = 0; i < 200 && tp_pool_total() > 0; i++)
			if (!tp_pools_scan(run, &p, &s))
				break;
		tp_eq(run, tp_pool_total(), 0, "pages in pools after scans");
	}
out:
	tp_pools_fini(run, &p);
}

#define NP TP_NEED_PAT

const struct tp_case tp_cases_scan[] = {
	{ "pool_contract", "I7,I12,I13", "each answer of the pools' shrinker, for each pool and mask",
	  case_pool_contract, NP },
	{ "pool_kinds", "I12,I13", "several kinds of pools at once are kept apart", case_pool_kinds,
	  NP },
	{ }
};

// SPDX-License-Identifier: GPL-2.0-only
/* The pools of write-combined and uncached pages, and the limit on pages. */
#include <linux/sizes.h>
#include <linux/slab.h>

#include "pressure.h"

#define TP_PAGES_LIMIT	"/sys/module/ttm/parameters/pages_limit"

static struct tp_bo *tp_pages(struct tp_run *run, struct tp_dev *dev, pgoff_t n,
			      enum ttm_caching caching)
{
	struct tp_bo_args args = { .size = (u64)n << PAGE_SHIFT, .caching = caching,
				   .watermark = true };
	struct tp_bo *bo = tp_bo_new(dev, &args, NULL);

	tp_check(run, bo, "no object of %lu pages", n);
	return bo;
}

/* Table, totals and GPUReclaim tell the same; wc and uc are kept apart. */
static void tp_pools_are(struct tp_run *run, long wc_want, long uc_want, const char *when)
{
	unsigned long total, limit;
	struct tp_pool_rows rows;

	if (!tp_pool_entries(&rows) || !tp_pool_footer(&total, &limit)) {
		tp_skip(run, "needs ttm/page_pool in debugfs");
		return;
	}
	tp_eq(run, total, rows.pages, "%s: the total below the table of pools", when);
	if (wc_want >= 0)
		tp_eq(run, tp_pool_kind(&rows, TP_POOL_WC), wc_want,
		      "%s: write-combined pages in pools", when);
	if (uc_want >= 0)
		tp_eq(run, tp_pool_kind(&rows, TP_POOL_UC), uc_want,
		      "%s: uncached pages in pools", when);
	tp_check(run, total <= limit, "%s: %lu pages in pools, the limit is %lu", when, total,
		 limit);
	tp_balance(run, when);
}

static void case_pool_totals(struct tp_run *run)
{
	struct tp_dev *dev = tp_dev_new(run, NULL);
	struct tp_witness *w = NULL;
	struct tp_bo *a, *b;
	pgoff_t i;

	if (!dev)
		return;
	tp_pools_are(run, 0, 0, "empty");
	a = tp_pages(run, dev, 100, ttm_write_combined);
	b = tp_pages(run, dev, 60, ttm_uncached);
	if (!a || !b)
		goto out;
	tp_bo_fill(a, 1);
	tp_bo_fill(b, 2);
	tp_pools_are(run, 0, 0, "in use");
	w = tp_witness_of(run, a);
	a->witness = NULL;
	tp_bo_put(a);
	a = NULL;
	tp_pools_are(run, 100, 0, "one freed");
	tp_witness_pooled(run, w, TP_ATTR_WC, "freed");
	tp_bo_put(b);
	b = NULL;
	tp_pools_are(run, 100, 60, "both freed");
	/* The same size comes out of the pool, page for page, cleared. */
	a = tp_pages(run, dev, 100, ttm_write_combined);
	if (a && w) {
		pgoff_t same = 0;

		for (i = 0; i < 100; i++)
			same += a->base.ttm->pages[i] == tp_witness_page(w, i);
		tp_eq(run, same, 100, "pages taken from the pool");
		a->key = 0;
		a->witness = w;
		tp_bo_verify(run, a, "from the pool, to be cleared");
		tp_populated(run, a, "from the pool");
		a->witness = NULL;
		tp_pools_are(run, 0, 60, "taken from the pool");
	}
	/* A write-combined object takes nothing uncached. */
	b = tp_pages(run, dev, 60, ttm_write_combined);
	if (b)
		tp_populated(run, b, "another");
	tp_pools_are(run, 0, 60, "the other pool is not touched");
	tp_bo_put(b);
	b = tp_pages(run, dev, 60, ttm_cached);
	tp_pools_are(run, 60, 60, "cached pages come from the system");
out:
	tp_bo_put(a);
	tp_bo_put(b);
	tp_dev_free(run, dev);
	/* With the last device the pools go. */
	tp_witness_freed(run, w, "the last device is gone");
	tp_witness_drop(w);
}

/* What TTM's own trigger counted and freed; false where there is none, or it makes no sense. */
struct tp_triggered {
	char text[512];
	bool labelled;	/* by node; the count is then the one from before the scan */
	unsigned long count, freed;
};

static bool tp_pool_trigger(struct tp_run *run, struct tp_triggered *t)
{
	char *at;

	if (tp_debugfs_show("/sys/kernel/debug/ttm/page_pool_shrink", t->text, sizeof(t->text))) {
		tp_skip(run, "needs ttm/page_pool_shrink in debugfs");
		return false;
	}
	at = strchr(t->text, ':');
	t->labelled = at;
	return tp_check(run, sscanf(at ? at + 1 : t->text, "%lu/%lu", &t->count, &t->freed) == 2,
			"the trigger of the pools said: %s", t->text);
}

/* As often as there is something left; true when nothing is. */
static bool tp_pool_trigger_all(struct tp_run *run, struct tp_triggered *t)
{
	unsigned long before, after;
	int rounds = 0;

	do {
		before = tp_pool_total();
		if (!tp_pool_trigger(run, t))
			return false;
		after = tp_pool_total();
		if (t->freed == SHRINK_STOP)
			t->freed = 0;
		if (t->labelled)
			tp_eq(run, t->count, before, "pages counted by the trigger");
		tp_eq(run, before - after, t->freed, "pages freed by the trigger");
		tp_balance(run, "triggered");
	} while (after && ++rounds < 5000);
	return tp_check(run, rounds < 5000, "the trigger never empties the pools");
}

/* TTM's own trigger gives pages back, cached, and tells how many. */
static void case_pool_shrink(struct tp_run *run)
{
	struct tp_triggered *t __free(kfree) = kzalloc(sizeof(*t), GFP_KERNEL);
	struct tp_dev *dev __free(tp_dev_bos) = tp_dev_new(run, NULL);
	struct tp_witness *w[6] = { };
	struct tp_bo *bos[6] = { };
	int i;

	if (!dev || !tp_check(run, t, "no memory for the text"))
		return;
	for (i = 0; i < 6; i++) {
		bos[i] = tp_pages(run, dev, 40 + i, i & 1 ? ttm_uncached : ttm_write_combined);
		if (!bos[i])
			return;
	}
	for (i = 0; i < 6; i++) {
		w[i] = tp_witness_of(run, bos[i]);
		bos[i]->witness = NULL;
	}
	tp_put_many(bos, 6);
	if (tp_pool_trigger_all(run, t)) {
		for (i = 0; i < 6; i++)
			tp_witness_freed(run, w[i], "shrunk out of the pools");
		/* And with nothing there: none counted, none freed. */
		if (!run->failed && tp_pool_trigger(run, t)) {
			/* As the shrinker says it, by a value of its own for none. */
			const bool told = !TP_HAVE_TRIGGER_ZERO;

			tp_check(run, !t->freed || (told && t->freed == SHRINK_STOP),
				 "the trigger freed %lu of nothing", t->freed);
			tp_check(run, !t->count || (told && t->count == SHRINK_EMPTY),
				 "the trigger counted %lu of nothing", t->count);
		}
	}
	for (i = 0; i < 6; i++)
		tp_witness_drop(w[i]);
}

/* Suspect (d): older kernels may print the count as it is after the scan. */
static void case_suspect_d_trigger(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	char *text __free(kfree) = kzalloc(512, GFP_KERNEL);
	unsigned long count = 0, freed = 0;
	struct tp_bo *bo;
	char *at;
	int i;

	if (!dev || !tp_check(run, text, "no memory for the text"))
		return;
	bo = tp_pages(run, dev, 1, ttm_write_combined);
	tp_bo_put(bo);
	tp_eq(run, tp_pool_total(), 1, "pages in pools");
	for (i = 0; i < 500 && tp_pool_total() > 0; i++) {
		if (tp_debugfs_show("/sys/kernel/debug/ttm/page_pool_shrink", text, 512)) {
			tp_skip(run, "needs ttm/page_pool_shrink in debugfs");
			break;
		}
		at = strchr(text, ':');
		if (!tp_check(run, sscanf(at ? at + 1 : text, "%lu/%lu", &count, &freed) == 2,
			      "the trigger of the pools said: %s", text))
			break;
		tp_eq(run, count, 1, "pages counted before the scan");
	}
}

/* Pages below 4 GiB have pools of their own. */
static void case_pool_dma32(struct tp_run *run)
{
	static const struct tp_dev_args args = { .dma32 = true };
	struct tp_dev *dev = tp_dev_new(run, &args), *other;
	struct tp_bo *bo;

	if (!dev)
		return;
	bo = tp_pages(run, dev, 50, ttm_write_combined);
	tp_bo_put(bo);
	bo = tp_pages(run, dev, 30, ttm_uncached);
	tp_bo_put(bo);
	tp_pools_are(run, 0, 0, "restricted to DMA32");
	tp_eq(run, tp_pool_total(), 80, "pages in the pools of DMA32");
	other = tp_dev_new(run, NULL);
	if (other) {
		bo = tp_pages(run, other, 50, ttm_write_combined);
		tp_eq(run, tp_pool_total(), 80, "pages in the pools of DMA32, another device");
		tp_bo_put(bo);
		tp_pools_are(run, 50, 0, "of another device");
		tp_dev_free(run, other);
	}
	run->dev = dev;
	bo = tp_pages(run, dev, 50, ttm_write_combined);
	tp_bo_put(bo);
	tp_eq(run, tp_pool_total(), 130, "pages in pools");
	tp_dev_free(run, dev);
}

/* No more than page_pool_size pages stay behind; the rest goes back, cached. */
static void case_pool_limit(struct tp_run *run)
{
	static const char path[] = "/sys/module/ttm/parameters/page_pool_size";
	struct tp_witness *w[8] = { };
	struct tp_bo *bos[8] = { };
	struct tp_dev *dev;
	long pooled = 0;
	int i;

	if (tp_sysfs_write(path, "64")) {
		tp_skip(run, "needs the parameter page_pool_size of ttm");
		return;
	}
	dev = tp_dev_new(run, NULL);
	if (!dev)
		goto out;
	if (tp_pool_limit() < 0)
		tp_skip(run, "needs ttm/page_pool in debugfs");
	else
		tp_eq(run, tp_pool_limit(), 64, "the limit of the pools");
	for (i = 0; i < 8; i++) {
		bos[i] = tp_pages(run, dev, 24, i & 1 ? ttm_uncached : ttm_write_combined);
		if (bos[i])
			w[i] = tp_witness_of(run, bos[i]);
	}
	for (i = 0; i < 8; i++) {
		if (bos[i])
			bos[i]->witness = NULL;
		tp_bo_put(bos[i]);
		tp_check(run, tp_pool_total() <= 64, "%ld pages in pools, the limit is 64",
			 tp_pool_total());
		tp_balance(run, "limited");
	}
	for (i = 0; i < 8; i++)
		tp_witness_given(run, w[i], i & 1 ? ttm_uncached : ttm_write_combined, "limited");
	pooled = tp_pool_total();
	tp_check(run, run->skip[0] || pooled > 0, "nothing stayed in the pools");
	for (i = 0; i < 8; i++)
		tp_witness_drop(w[i]);
	tp_dev_free(run, dev);
out:
	tp_sysfs_write(path, "0");
}

static int tp_swapouts(struct tp_dev *dev)
{
	return atomic_read(&dev->swap_notifies);
}

/* Ten objects at the limit of 100 pages, one page more, all of them back. */
static void tp_limit_reached(struct tp_run *run, struct tp_dev *dev)
{
	struct tp_bo_args one = { .size = SZ_4K, .caching = ttm_cached, .watermark = true };
	struct tp_bo_args free = { .size = SZ_64K, .caching = ttm_cached };
	struct tp_bo *bos[10] = { }, *ext = NULL, *extra;
	int i, n = tp_swapouts(dev);

	for (i = 0; i < 10; i++) {
		bos[i] = tp_pages(run, dev, 10, i % 3);
		if (!bos[i])
			return;
		tp_bo_fill(bos[i], i + 1);
	}
	/* Pages that are the driver's business do not count. */
	if (TP_HAVE_BACKUP)
		ext = tp_bo_new(dev, &free, NULL);
	tp_eq(run, tp_swapouts(dev) - n, 0, "swapouts at the limit");
	extra = tp_bo_new(dev, &one, NULL);
	tp_check(run, extra, "no object beyond the limit");
	tp_eq(run, tp_swapouts(dev) - n, 1, "swapouts one page beyond it");
	tp_bo_put(extra);
	for (i = 0; i < 10; i++) {
		tp_bo_lock(bos[i]);
		tp_eq(run, tp_bo_populate(bos[i], NULL), 0, "populate");
		tp_bo_verify(run, bos[i], "at the limit");
		tp_bo_unlock(bos[i]);
	}
	/* The one that was out is back and there was room for it. */
	tp_eq(run, tp_swapouts(dev) - n, 1, "swapouts with room enough");
	if (ext && get_nr_swap_pages() > 4096) {
		tp_bo_lock(ext);
		tp_bo_backup(&ext->base, NULL, false, false, true);
		tp_eq(run, tp_bo_populate(ext, NULL), 0, "restore");
		tp_bo_unlock(ext);
	}
	tp_bo_put(ext);
}

/* Objects that fail to be populated; how many did. */
static int tp_limit_failures(struct tp_dev *dev)
{
	struct tp_bo_args sys = {
		.size = SZ_4K, .caching = ttm_cached, .watermark = true, .in_system = true,
	};
	int i, failures = 0;

	for (i = 1; i < 4 && IS_ENABLED(CONFIG_FAULT_INJECTION); i++) {
		struct tp_bo *bo = tp_bo_new(dev, &sys, NULL);

		if (!bo)
			break;
		tp_bo_lock(bo);
		tp_fail_nth(i);
		failures += !!tp_bo_populate(bo, NULL);
		tp_fail_nth(0);
		tp_bo_unlock(bo);
		tp_bo_put(bo);
	}
	return failures;
}

/*
 * The limit on pages is exact: as many as it says without any swapout, one
 * more and there is one. A count that drifts, in any path, shows here.
 */
static void case_pages_limit(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev_bos) = tp_dev_new(run, NULL);
	struct tp_param limit __cleanup(tp_param_restore) = { .path = TP_PAGES_LIMIT };
	struct ttm_operation_ctx ctx = { };
	int round, failures = 0;

	if (!dev)
		return;
	if (!tp_param_set(&limit, "100")) {
		tp_skip(run, "needs the parameter pages_limit of ttm");
		return;
	}
	tp_eq(run, ttm_tt_pages_limit(), 100, "the limit that was set");
	for (round = 0; round < 3 && !run->failed; round++) {
		tp_limit_reached(run, dev);
		/* Swapped out, then freed; failed, then freed: no page is lost. */
		tp_check(run, ttm_device_swapout(&dev->bdev, &ctx, GFP_KERNEL) > 0, "no swapout");
		failures += tp_limit_failures(dev);
		tp_dev_put_bos(dev);
		tp_balance(run, "limited");
	}
	tp_metric(run, "failures", failures);
}

/* Over the limit with nothing that can be swapped: an end, not a loop. */
static void case_pages_limit_full(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev_bos) = tp_dev_new(run, NULL);
	struct tp_param limit __cleanup(tp_param_restore) = { .path = TP_PAGES_LIMIT };
	struct tp_bo *bos[3] = { }, *more;
	int i;

	if (!dev)
		return;
	if (!tp_param_set(&limit, "30")) {
		tp_skip(run, "needs the parameter pages_limit of ttm");
		return;
	}
	for (i = 0; i < 3; i++) {
		bos[i] = tp_pages(run, dev, 10, ttm_cached);
		if (!bos[i])
			return;
	}
	for (i = 0; i < 3; i++)
		tp_bo_pin(bos[i]);
	more = tp_pages(run, dev, 10, ttm_cached);
	if (more) {
		tp_bo_lock(more);
		tp_populated(run, more, "beyond the limit, all else pinned");
		tp_bo_unlock(more);
	}
	tp_bo_put(more);
	for (i = 0; i < 3; i++) {
		tp_bo_lock(bos[i]);
		tp_populated(run, bos[i], "pinned at the limit");
		ttm_bo_unpin(&bos[i]->base);
		tp_bo_unlock(bos[i]);
	}
}

/* The pools' own shrinker, as the kernel calls it. */
static void case_pool_many_orders(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct tp_bo *bos[12] = { };
	long pages = 0;
	int i, round;

	if (!dev)
		return;
	for (round = 0; round < 4 && !run->failed; round++) {
		for (i = 0; i < 12; i++)
			bos[i] = tp_pages(run, dev, 1 + tp_rand(run, 260),
					  1 + tp_rand(run, 2) == 1 ? ttm_uncached :
					  ttm_write_combined);
		for (i = 0; i < 12; i++) {
			if (!bos[i])
				continue;
			tp_populated(run, bos[i], "of many orders");
			bos[i]->key = 0;
			tp_bo_verify(run, bos[i], "of many orders, to be zeroed");
			tp_bo_fill(bos[i], 77);
			pages += bos[i]->nr;
		}
		for (i = 0; i < 12; i++)
			tp_bo_put(bos[i]);
		tp_pools_are(run, -1, -1, "of many orders");
	}
	tp_metric(run, "pages", pages);
}

#define NP TP_NEED_PAT

/* Pages below 4 GiB have a limit, and a count, of their own; here every page is one. */
static void case_dma32_limit(struct tp_run *run)
{
	static const struct tp_dev_args dargs = { .dma32 = true };
	struct tp_param limit __cleanup(tp_param_restore) = {
		.path = "/sys/module/ttm/parameters/dma32_pages_limit",
	};
	struct tp_dev *dev __free(tp_dev_bos) = NULL;
	int i, n;

	if (!tp_param_set(&limit, "64")) {
		tp_skip(run, "needs the parameter dma32_pages_limit of ttm");
		return;
	}
	dev = tp_dev_new(run, &dargs);
	if (!dev)
		return;
	for (i = 0; i < 2; i++)
		tp_pages(run, dev, 16, ttm_cached);
	n = tp_swapouts(dev);
	for (i = 0; i < 10 && !run->failed; i++) {
		tp_bo_put(tp_pages(run, dev, 32, i & 1 ? ttm_write_combined : ttm_cached));
		tp_eq(run, tp_swapouts(dev) - n, 0,
		      "swapouts at the limit of DMA32, round %d", i);
	}
	tp_bo_put(tp_pages(run, dev, 33, ttm_cached));
	tp_eq(run, tp_swapouts(dev) - n, 1, "swapouts beyond the limit of DMA32");
}

const struct tp_case tp_cases_pool[] = {
	{ "pool_totals", "I12,I13", "freed pages lie in their pool, cleared, and come out again",
	  case_pool_totals, NP },
	{ "pool_many_orders", "I12,I13", "pools of many orders add up", case_pool_many_orders, NP },
	{ "pool_shrink", "I12,I13,I20", "the trigger of the pools gives pages back, cached",
	  case_pool_shrink, NP },
	{ "pool_dma32", "I13", "pages below 4 GiB have pools of their own", case_pool_dma32, NP },
	{ "suspect_d_trigger", "I20", "the trigger of the pools prints the count before the scan",
	  case_suspect_d_trigger, NP | TP_HIDDEN },
	{ "pool_limit", "I12,I13", "page_pool_size is kept to", case_pool_limit, NP },
	{ "pages_limit", "I14", "pages_limit is exact, whatever happened before", case_pages_limit,
	  TP_ARM_POINTS },
	{ "dma32_limit", "I14", "dma32_pages_limit is exact, too", case_dma32_limit, 0 },
	{ "pages_limit_full", "I14", "over pages_limit with all pinned: it ends",
	  case_pages_limit_full, 0 },
	{ }
};

// SPDX-License-Identifier: GPL-2.0-only
/* Count and scan, for each mask and each kind of caller. */
#include <linux/sched/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "pressure.h"

#if TP_HAVE_BACKUP
#define TP_NR	16	/* pages of an object here */

static struct tp_bo *tp_filled(struct tp_run *run, struct tp_dev *dev, enum ttm_caching caching)
{
	struct tp_bo_args args = { .size = TP_NR * SZ_4K, .caching = caching };

	return tp_bo_filled(run, dev, &args, 0);
}

static bool tp_many(struct tp_run *run, struct tp_dev *dev, struct tp_bo **bos, int n)
{
	int i;

	for (i = 0; i < n; i++) {
		bos[i] = tp_filled(run, dev, ttm_cached);
		if (!bos[i])
			return false;
	}
	return true;
}

static void case_avoid_wait(struct tp_run *run)
{
	tp_check(run, ttm_bo_shrink_avoid_wait(), "a task is told that it may wait");
	current->flags |= PF_KSWAPD;
	tp_check(run, !ttm_bo_shrink_avoid_wait(), "kswapd is told not to wait");
	current->flags &= ~PF_KSWAPD;
	tp_eq(run, ttm_backup_bytes_avail(), (u64)max(get_nr_swap_pages(), 0L) << PAGE_SHIFT,
	      "bytes available for backup");
}

static void case_count_contract(struct tp_run *run)
{
	static const gfp_t gfps[] = { GFP_KERNEL, GFP_USER, GFP_NOFS, GFP_NOIO, GFP_NOWAIT };
	struct tp_dev *dev __free(tp_dev_bos) = tp_dev_new(run, NULL);
	struct tp_bo *bos[6] = { };
	int g, i;

	if (!dev)
		return;
	for (g = 0; g < ARRAY_SIZE(gfps); g++)
		tp_eq(run, tp_trigger_count(dev, gfps[g]), SHRINK_EMPTY, "count of nothing");
	dev->shrink_off = true;
	if (!tp_many(run, dev, bos, 6))
		return;
	dev->shrink_off = false;
	for (g = 0; g < ARRAY_SIZE(gfps); g++) {
		unsigned long want = gfps[g] & __GFP_FS ? 6 * TP_NR : SHRINK_EMPTY;

		tp_eq(run, tp_trigger_count(dev, gfps[g]), want, "count, mask %d", g);
	}
	for (i = 0; i < 2; i++) {
		tp_bo_lock(bos[i]);
		tp_bo_set_purgeable(bos[i], true);
		tp_bo_unlock(bos[i]);
	}
	for (g = 0; g < ARRAY_SIZE(gfps); g++)
		tp_eq(run, tp_trigger_count(dev, gfps[g]),
		      (gfps[g] & __GFP_FS ? 6 : 2) * TP_NR, "count with purgeable, mask %d", g);
	/* An object that is out counts no more. */
	tp_bo_lock(bos[5]);
	tp_eq(run, tp_bo_backup(&bos[5]->base, NULL, false, false, true), TP_NR, "pages");
	tp_bo_unlock(bos[5]);
	tp_eq(run, tp_trigger_count(dev, GFP_KERNEL), 5 * TP_NR, "count after a backup");
	tp_bo_lock(bos[5]);
	tp_eq(run, tp_bo_populate(bos[5], NULL), 0, "restore");
	tp_bo_unlock(bos[5]);
	tp_eq(run, tp_trigger_count(dev, GFP_KERNEL), 6 * TP_NR, "count after a restore");
}

/* All that is left, then nothing: eight objects come back, of which the seventh was purged. */
static void tp_scan_the_rest(struct tp_run *run, struct tp_dev *dev, struct tp_bo **bos)
{
	struct tp_scan s = { .gfp = GFP_KERNEL, .nr = 100000 };
	int i;

	tp_trigger_scan(dev, &s);
	tp_eq(run, s.ret, 4 * TP_NR, "pages freed by the last scan");
	tp_trigger_scan(dev, &s);
	tp_eq(run, s.ret, SHRINK_STOP, "scan when all is out");
	tp_eq(run, tp_trigger_count(dev, GFP_KERNEL), SHRINK_EMPTY, "count when all is out");
	for (i = 0; i < 8; i++) {
		tp_bo_lock(bos[i]);
		if (i == 6)
			bos[i]->key = 0;
		tp_eq(run, tp_bo_populate(bos[i], NULL), 0, "restore");
		tp_populated(run, bos[i], "restored");
		tp_bo_verify(run, bos[i], "restored");
		tp_bo_unlock(bos[i]);
	}
}

/* As many as asked for, in the order of the list; purgeable ones first. */
static void case_scan_contract(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev_bos) = tp_dev_new(run, NULL);
	struct tp_bo *bos[8] = { };
	struct tp_scan s;
	int i;

	if (!dev)
		return;
	s = (struct tp_scan){ .gfp = GFP_KERNEL, .nr = 100 };
	tp_trigger_scan(dev, &s);
	tp_eq(run, s.ret, SHRINK_STOP, "scan of nothing");
	tp_eq(run, s.scanned, 0, "pages scanned of nothing");
	if (!tp_many(run, dev, bos, 8))
		return;
	tp_bo_lock(bos[6]);
	tp_bo_set_purgeable(bos[6], true);
	tp_bo_unlock(bos[6]);

	s = (struct tp_scan){ .gfp = GFP_KERNEL, .nr = TP_NR };
	tp_trigger_scan(dev, &s);
	tp_eq(run, s.ret, TP_NR, "pages freed by the first scan");
	tp_eq(run, s.scanned, TP_NR, "pages scanned");
	tp_purged(run, bos[6], "the purgeable one goes first");
	for (i = 0; i < 6; i++)
		tp_populated(run, bos[i], "not purgeable");

	s = (struct tp_scan){ .gfp = GFP_KERNEL, .nr = 3 * TP_NR - 1 };
	tp_trigger_scan(dev, &s);
	tp_eq(run, s.ret, 3 * TP_NR, "pages freed by the second scan");
	tp_eq(run, s.scanned, 3 * TP_NR, "pages scanned");
	for (i = 0; i < 8; i++) {
		if (i == 6)
			continue;
		if (i < 3)
			tp_backed(run, bos[i], 0, "the oldest go first");
		else
			tp_populated(run, bos[i], "younger");
	}
	tp_balance(run, "scanned");
	tp_lru_check(run, dev, "scanned");

	/* Restored: it is the youngest now. */
	tp_bo_lock(bos[0]);
	tp_eq(run, tp_bo_validate(bos[0], TTM_PL_TT, NULL), 0, "restore");
	tp_bo_unlock(bos[0]);
	s = (struct tp_scan){ .gfp = GFP_KERNEL, .nr = TP_NR };
	tp_trigger_scan(dev, &s);
	tp_populated(run, bos[0], "restored, so younger");
	tp_backed(run, bos[3], 0, "the oldest now");
	tp_scan_the_rest(run, dev, bos);
}

/* Backup only with __GFP_FS, writeback only for kswapd with __GFP_IO. */
static void case_scan_masks(struct tp_run *run)
{
	static const gfp_t gfps[] = { GFP_KERNEL, GFP_NOFS, GFP_NOIO, GFP_KERNEL & ~__GFP_IO };
	struct tp_dev *dev __free(tp_dev) = tp_dev_new(run, NULL);
	struct tp_bo *bos[2] = { };
	int g, kswapd, i;
	long swapped;

	if (!dev)
		return;
	for (g = 0; g < ARRAY_SIZE(gfps); g++) {
		for (kswapd = 0; kswapd < 2 && !run->failed; kswapd++) {
			struct tp_scan s = { .gfp = gfps[g], .nr = 100000, .kswapd = kswapd };
			bool out = gfps[g] & __GFP_FS;

			dev->shrink_off = true;
			if (!tp_many(run, dev, bos, 2))
				break;
			dev->shrink_off = false;
			tp_trigger_scan(dev, &s);
			tp_eq(run, s.ret, out ? 2 * TP_NR : SHRINK_STOP, "mask %d: freed", g);
			for (i = 0; i < 2; i++) {
				if (!out) {
					tp_populated(run, bos[i], "without __GFP_FS");
					continue;
				}
				tp_backed(run, bos[i], 0, "with __GFP_FS");
				/* Idle objects are enough: no writeback in the first pass. */
				tp_backup_pages(bos[i], &swapped);
				tp_eq(run, swapped, 0, "mask %d: pages written back", g);
			}
			tp_put_many(bos, 2);
			bos[0] = NULL;
			bos[1] = NULL;
		}
	}
	tp_put_many(bos, 2);
}

/* Busy objects: direct reclaim goes past them, kswapd would wait. */
static void case_scan_busy(struct tp_run *run)
{
	struct tp_dev *dev __free(tp_dev_bos) = tp_dev_new(run, NULL);
	struct tp_scan s = { .gfp = GFP_KERNEL, .nr = 100000 };
	struct tp_bo *bos[6] = { };
	int i;

	if (!dev)
		return;
	if (!tp_many(run, dev, bos, 6))
		return;
	for (i = 0; i < 6; i++) {
		tp_bo_lock(bos[i]);
		if (i & 1)
			tp_bo_busy(bos[i]);
		if (i == 1)
			tp_bo_set_purgeable(bos[i], true);
		tp_bo_unlock(bos[i]);
	}
	tp_trigger_scan(dev, &s);
	tp_eq(run, s.ret, 3 * TP_NR, "pages freed by direct reclaim beside busy objects");
	/* TTM itself waits for at most 15 s. */
	tp_check(run, s.ns < 10 * NSEC_PER_SEC, "direct reclaim took %llu ms",
		 div_u64(s.ns, NSEC_PER_MSEC));
	for (i = 0; i < 6; i++) {
		if (i & 1) {
			tp_populated(run, bos[i], "busy");
			tp_bo_verify(run, bos[i], "busy");
		} else {
			tp_backed(run, bos[i], 0, "idle");
		}
	}
	/* Locked objects are gone past as well, by all. */
	for (i = 1; i < 6; i += 2)
		tp_bo_idle(bos[i]);
	tp_bo_lock(bos[3]);
	s.kswapd = true;
	tp_trigger_scan(dev, &s);
	tp_bo_unlock(bos[3]);
	tp_eq(run, s.ret, 2 * TP_NR, "pages freed beside a locked object");
	tp_populated(run, bos[3], "locked");
	tp_purged(run, bos[1], "purgeable and idle again");
	tp_backed(run, bos[5], 0, "idle again");
	for (i = 0; i < 6; i++)
		tp_check(run, !dma_resv_is_locked(bos[i]->base.base.resv),
			 "object %d was left locked", i);
	tp_lru_check(run, dev, "beside busy objects");
}

#else
#define case_avoid_wait		NULL
#define case_count_contract		NULL
#define case_scan_contract		NULL
#define case_scan_masks		NULL
#define case_scan_busy		NULL
#endif

#define NS (TP_NEED_BACKUP | TP_NEED_SWAP)

const struct tp_case tp_cases_contract[] = {
	{ "avoid_wait", "I3,I9", "who may wait, and how much swap space there is said to be",
	  case_avoid_wait, TP_NEED_BACKUP },
	{ "count_contract", "I3,I7,I8", "what count says, for each mask", case_count_contract, NS },
	{ "scan_contract", "I2,I7,I15", "what scan frees: as much as asked for, oldest first",
	  case_scan_contract, NS },
	{ "scan_masks", "I7,I8", "no backup without __GFP_FS", case_scan_masks, NS },
	{ "scan_busy", "I7,I9,I16", "direct reclaim goes past busy and locked objects",
	  case_scan_busy, NS },
	{ }
};

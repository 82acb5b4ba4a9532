/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef TTM_PRESSURE_H
#define TTM_PRESSURE_H

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/shrinker.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/workqueue.h>
#include <drm/drm_device.h>
#include "compat.h"

#define TP_RESULT_BYTES	(32 * 1024)
#define TP_MAX_DIAG	24
#define TP_PAGES(bytes)	((pgoff_t)((bytes) >> PAGE_SHIFT))

enum tp_free_state {
	TP_FREE_POPULATED,
	TP_FREE_BACKED,
	TP_FREE_PARTIAL,
	TP_FREE_MIDRESTORE,
	TP_FREE_PURGED,
};

enum tp_touch { TP_TOUCH_SEQ, TP_TOUCH_RANDOM, TP_TOUCH_NONE };
enum tp_wb { TP_WB_AUTO, TP_WB_ALWAYS, TP_WB_NEVER };
enum tp_verify { TP_VERIFY_FULL, TP_VERIFY_HEAD, TP_VERIFY_NONE };

/* What one line written to "run" says; -1 or 0 where nothing was said. */
struct tp_knobs {
	char name[40];
	u64 seed;
	u64 bo;
	u64 total;
	int total_pct;
	int caching;
	int dma;
	int dma32;
	int beneficial;
	int purgeable;
	int busy;
	int pinned;
	int bulk;
	int threads;
	int cycles;
	int interrupt;
	int retry_mayfail;
	int free_state;
	int touch;
	int writeback;
	int verify;
	int fail;
	char broken[40];	/* FILE:LINE of a check that is to say the opposite */
};

/* Global counters that must be back where they were when a case has ended. */
struct tp_counters {
	long gpu_active;
	long gpu_reclaim;
	long shmem;
	long swap_free;
	long bo_count;
	long dma_mapped;
	long files;
	long known;
};

struct tp_stats {
	atomic64_t populated, backed_up, purged, restored, retained;
	atomic64_t scan_kswapd, scan_direct, count_calls, visits;
	atomic64_t scan_ns, scan_ns_max, ebusy, eintr, enomem, writeback;
	atomic64_t backup_ns, restore_ns;
};

struct tp_dev;

/* A place in the source where something is checked. */
struct tp_site {
	const char *file;
	int line;
	struct list_head link;	/* among those that were evaluated, by the run with this serial */
	unsigned int serial;
	atomic_long_t evaluated;
	bool broken;
};

struct tp_run {
	struct tp_knobs k;
	struct rnd_state rnd;
	struct tp_dev *dev;
	struct tp_counters start;
	/* Diagnostics and metrics, as they will be read from "result". */
	char *diag;
	size_t diag_len;
	char *metrics;
	size_t metrics_len;
	spinlock_t lock;
	int failed;
	/* Sites that were evaluated, and how often, but for those of set-up and clearing up. */
	struct list_head sites;
	unsigned int serial;
	atomic_long_t checks;
	bool tidying;
	char skip[120];
	bool finished;
	bool leak_checked;
	int looks;	/* at the number of open files, after the case */
	/* Counters are compared only where nobody else moves them. */
	bool quiet;
};

struct tp_case {
	const char *name;
	const char *invariants;
	const char *what;
	void (*fn)(struct tp_run *run);
	unsigned int needs;
};

#define TP_NEED_BACKUP	BIT(0)	/* 6.15 and later */
#define TP_NEED_SWAP	BIT(1)	/* swap space free */
#define TP_NEED_NOSWAP	BIT(2)	/* no swap space */
#define TP_NEED_FAULT	BIT(3)	/* CONFIG_FAULT_INJECTION */
#define TP_NEED_PAT	BIT(4)	/* WC and UC page attributes */
#define TP_NEED_DMAOPS	BIT(5)	/* CONFIG_ARCH_HAS_DMA_OPS */
#define TP_NEED_STATS	BIT(6)	/* GPUActive, GPUReclaim */
#define TP_KEEP		BIT(7)	/* leaves objects behind on purpose */
#define TP_NEED_NATIVE	BIT(8)	/* backup at native order (7.2) */
#define TP_HIDDEN	BIT(9)	/* shows a suspected bug; not in the default set */
#define TP_LOUD		BIT(10)	/* real pressure: counters of others move too */

struct tp_dev_args {
	bool dma_alloc;
	bool dma32;
	unsigned int beneficial;
	u64 vram;
	bool no_shrinker;
};

#define TP_FENCES 6

struct tp_dev {
	struct ttm_device bdev;
	/* On whose behalf; NULL once it is kept beyond its case. */
	struct tp_run *run;
	struct tp_dev_args args;
	struct list_head bos;
	struct list_head tts;
	spinlock_t lock;
	struct shrinker *shrink;
	atomic_long_t shrinkable;
	atomic_long_t purgeable;
	u32 next_id;
	void *vram;
	/* Knobs of the shrinker. */
	int writeback;
	bool shrink_off;
	/* Moves to and from VRAM are ttm_bo_move_memcpy()'s, and need no hop. */
	bool by_memcpy;
	/* The next moves that copy leave this fence behind (accelerated move). */
	struct dma_fence *move_fence;
	/* The so many-th move from now fails with that. */
	int move_fail_nth, move_fail_ret;
	/* Those of earlier moves, whose references are counted at the end. */
	struct dma_fence *fences[TP_FENCES];
	/* Times a walk of the scan came by, and the largest number for one object. */
	unsigned int scan_serial;
	unsigned int max_visits;
	/* Calls TTM made. */
	atomic_t populates, unpopulates, destroys, swap_notifies, moves;
};

struct tp_bo_args {
	u64 size;
	enum ttm_caching caching;
	bool dma;
	bool watermark;		/* not EXTERNAL: counted against pages_limit */
	bool sg;		/* imported */
	bool kernel;		/* ttm_bo_type_kernel: not zeroed */
	u32 mem_type;		/* TTM_PL_TT if 0 */
	bool in_system;
	unsigned int priority;
	struct dma_resv *resv;
	struct ttm_lru_bulk_move *bulk;
	struct ttm_operation_ctx *ctx;
	bool keep_locked;
};

struct tp_bo {
	struct ttm_buffer_object base;
	struct tp_dev *dev;
	struct list_head link;
	struct tp_bo_args args;
	u64 key;		/* of the pattern that fills it; 0: zeroes */
	u32 id;
	bool purgeable;
	unsigned int visits, visit_serial;
	struct dma_fence *fence;
	struct tp_wit *wit;
	pgoff_t nr;
};

struct tp_tt {
	struct ttm_tt tt;
	struct tp_dev *dev;
	struct list_head link;
	bool purgeable;
	bool accounted;
	bool dma;
};

/* A busy object that will be idle, whatever its waiter does. */
struct tp_later {
	struct delayed_work work;
	struct tp_bo *bo;
};

static inline struct tp_bo *to_tp_bo(struct ttm_buffer_object *bo)
{
	return container_of(bo, struct tp_bo, base);
}

static inline struct tp_tt *to_tp_tt(struct ttm_tt *tt)
{
	return container_of(tt, struct tp_tt, tt);
}

static inline struct tp_dev *to_tp_dev(struct ttm_device *bdev)
{
	return container_of(bdev, struct tp_dev, bdev);
}

/* main.c */
extern struct tp_stats tp_stats;
extern struct tp_dev *tp_held;
__printf(4, 5)
void tp_fail(struct tp_run *run, const char *file, int line, const char *fmt, ...);
__printf(2, 3) void tp_note(struct tp_run *run, const char *fmt, ...);
__printf(2, 3) void tp_skip(struct tp_run *run, const char *fmt, ...);
__printf(1, 2) void tp_async(const char *fmt, ...);
void tp_metric(struct tp_run *run, const char *name, s64 value);
bool tp_evaluated(struct tp_run *run, struct tp_site *site, bool ok);
u32 tp_rand(struct tp_run *run, u32 below);
struct drm_device *tp_drm(void);
struct device *tp_parent(void);

#define tp_bug(run, fmt, ...) \
	tp_fail(run, __FILE_NAME__, __LINE__, fmt, ##__VA_ARGS__)

/*
 * What is to be reported of a check: as it is, but for one that was broken on purpose.
 * Who asked goes on with what is true, so that a broken check breaks nothing else.
 */
#define tp_judged(run, ok) ({						\
	static struct tp_site _site = { .file = __FILE__, .line = __LINE__ }; \
	tp_evaluated(run, &_site, ok); })

#define tp_check(run, cond, fmt, ...) ({				\
	bool _ok = !!(cond);						\
	if (!tp_judged(run, _ok))					\
		tp_bug(run, fmt " (wanted: %s)", ##__VA_ARGS__, #cond);	\
	_ok; })

#define tp_eq(run, got, want, fmt, ...) ({				\
	s64 _got = (s64)(got), _want = (s64)(want);			\
	if (!tp_judged(run, _got == _want))				\
		tp_bug(run, fmt ": expected %lld, got %lld",		\
		       ##__VA_ARGS__, _want, _got);			\
	_got == _want; })

#ifndef __FILE_NAME__
#define __FILE_NAME__ kbasename(__FILE__)
#endif

/*
 * For what comes about in its own time: whether it did. A guest on a busy host is
 * slow, so nobody gives up early; but where that was in vain once it is a bug that
 * other cases will meet as well, and they give up soon.
 */
extern unsigned long tp_patience;
#define tp_wait_for(cond) ({						\
	unsigned long _end = jiffies + tp_patience;			\
	bool _ok;							\
	while (!(_ok = !!(cond)) && time_before(jiffies, _end))		\
		msleep(20);						\
	if (!_ok)							\
		tp_patience = HZ;					\
	_ok; })

/* For work that may take minutes; the task must not look as if it hung. */
static inline void tp_wait_done(struct completion *done)
{
	while (!wait_for_completion_timeout(done, HZ))
		;
}

/* device.c */
struct tp_dev *tp_dev_new(struct tp_run *run, const struct tp_dev_args *args);
void tp_dev_free(struct tp_run *run, struct tp_dev *dev);
struct tp_dev *tp_dev_again(struct tp_run *run, struct tp_dev *dev, enum ttm_caching caching);
struct tp_bo *tp_bo_new(struct tp_dev *dev, const struct tp_bo_args *args, int *err);
void tp_bo_put(struct tp_bo *bo);
void tp_bo_lock(struct tp_bo *bo);
void tp_bo_unlock(struct tp_bo *bo);
int tp_bo_validate(struct tp_bo *bo, u32 mem_type, struct ttm_operation_ctx *ctx);
int tp_bo_populate(struct tp_bo *bo, struct ttm_operation_ctx *ctx);
long tp_bo_backup(struct ttm_buffer_object *tbo, struct ttm_operation_ctx *ctx,
		  bool purge, bool writeback, bool allow_move);
void tp_bo_set_purgeable(struct tp_bo *bo, bool purgeable);
void tp_bo_busy(struct tp_bo *bo);
void tp_bo_idle(struct tp_bo *bo);
void tp_later_idle(struct tp_later *later, struct tp_bo *bo, unsigned long delay);
void tp_later_end(struct tp_later *later);
void tp_bo_fill(struct tp_bo *bo, u64 key);
bool tp_bo_verify(struct tp_run *run, struct tp_bo *bo, const char *when);
bool tp_page_verify(struct tp_run *run, struct tp_bo *bo, pgoff_t i,
		    struct page *p, const char *when);
void tp_tt_account(struct tp_tt *tt, bool add);
struct dma_fence *tp_fence_new(void);

/* look.c */
void tp_counters_read(struct tp_counters *c);
long tp_node_stat(enum node_stat_item item);
long tp_pool_total(void);
long tp_pool_limit(void);
bool tp_pool_footer(unsigned long *total, unsigned long *limit);

/* As the table of the global pools has them. */
enum tp_pool_kind { TP_POOL_WC, TP_POOL_UC, TP_POOL_WC32, TP_POOL_UC32, TP_POOL_KINDS };

struct tp_pool_rows {
	unsigned long n[TP_POOL_KINDS][MAX_PAGE_ORDER + 1];
	unsigned long pages;
};

bool tp_pool_entries(struct tp_pool_rows *rows);
unsigned long tp_pool_kind(const struct tp_pool_rows *rows, enum tp_pool_kind kind);
int tp_debugfs_show(const char *path, char *buf, size_t len);
int tp_sysfs_write(const char *path, const char *text);
long tp_read_number(const char *path);
enum { TP_ATTR_WB, TP_ATTR_WC, TP_ATTR_UC, TP_ATTR_ODD, TP_ATTR_UNKNOWN };

/*
 * Whether an allocation failed. Where it was that of a page table, for attributes,
 * set_pages_array_*() turns -ENOMEM into -EINVAL.
 */
static inline bool tp_no_memory(int ret, enum ttm_caching caching)
{
	return ret == -ENOMEM || (ret == -EINVAL && caching != ttm_cached);
}

int tp_page_attr(struct page *p);
void tp_set_wb(struct page *p);
const char *tp_attr_name(int attr);
int tp_want_attr(enum ttm_caching caching);
bool tp_attr_is(struct tp_run *run, struct page *p, int want, const char *when, u32 id,
		pgoff_t i);
int tp_dma_live(unsigned long pfn);
dma_addr_t tp_dma_want(struct page *p);
void tp_leak_check(struct tp_run *run);
bool tp_have_dma_ops(void);
int tp_dma_setup(struct device *dev);
void tp_dma_teardown(struct device *dev);
void tp_dma_fail_nth(int nth);
long tp_dma_mapped(void);
int tp_warn_count(void);
long tp_open_files(void);
void tp_wait_writeback(void);

/* state.c */
struct tp_wit;
void tp_populated(struct tp_run *run, struct tp_bo *bo, const char *when);
void tp_backed(struct tp_run *run, struct tp_bo *bo, long nr, const char *when);
void tp_purged(struct tp_run *run, struct tp_bo *bo, const char *when);
void tp_midrestore(struct tp_run *run, struct tp_bo *bo, const char *when);
void tp_balance(struct tp_run *run, const char *when);
long tp_backup_pages(struct tp_bo *bo, long *swapped);
struct file *tp_file_hold(struct tp_bo *bo);
void tp_file_empty(struct tp_run *run, struct file *f, const char *when);
pgoff_t tp_tt_real(struct ttm_tt *tt);
bool tp_copy_check(struct tp_run *run, struct tp_bo *bo, struct file *file, pgoff_t idx,
		   pgoff_t i, const char *when);
struct tp_wit *tp_witness(struct tp_run *run, struct tp_bo *bo);
/* Every page went back to the system, cached, exactly once. */
void tp_wit_freed(struct tp_run *run, struct tp_wit *w, const char *when);
/* Every page lies in a pool, zeroed, with the attribute of the pool. */
void tp_wit_pooled(struct tp_run *run, struct tp_wit *w, int attr, const char *when);
void tp_wit_given(struct tp_run *run, struct tp_wit *w, enum ttm_caching caching,
		  const char *when);
void tp_wit_mend(struct tp_wit *w);
void tp_wit_drop(struct tp_wit *w);
pgoff_t tp_wit_nr(struct tp_wit *w);
bool tp_wit_mine(struct tp_wit *w, pgoff_t i);
struct page *tp_wit_page(struct tp_wit *w, pgoff_t i);

/* What must be as it was after something that was refused. */
struct tp_snap {
	u64 lru;
	u64 usage[3];
	void *resource, *ttm, *bulk;
	u32 flags;
	unsigned int pins, fences;
	int refs, mem_type;
	int objects;
};

void tp_snap_take(struct tp_bo *bo, struct tp_snap *s);
void tp_snap_same(struct tp_run *run, struct tp_bo *bo, const struct tp_snap *was,
		  const char *when);

/* lru.c */
enum { TP_LRU_NONE = -1, TP_LRU_UNEVICTABLE = -2 };
int tp_lru_where(struct ttm_device *bdev, struct ttm_lru_item *item, unsigned int priority);
void tp_lru_expect(struct tp_run *run, struct tp_bo *bo, const char *when);
void tp_lru_check(struct tp_run *run, struct tp_dev *dev, const char *when);
void tp_bulk_check(struct tp_run *run, struct tp_dev *dev,
		   struct ttm_lru_bulk_move *bulk, const char *when);
u64 tp_lru_hash(struct tp_dev *dev);
/* Ghosts, and deleted objects, whose pages wait for a fence: how many, and whether all are as they must be. */
int tp_lru_ghosts(struct tp_run *run, struct tp_dev *dev, const char *when);
int tp_lru_order(struct tp_dev *dev, int mem_type, unsigned int prio, u32 *ids, int max);

/* shrinker.c */
struct tp_scan {
	gfp_t gfp;
	unsigned long nr;
	bool kswapd;
	/* out */
	unsigned long ret;
	unsigned long scanned;
	u64 ns;
};

int tp_shrinker_add(struct tp_dev *dev);
void tp_shrinker_del(struct tp_dev *dev);
unsigned long tp_trigger_count(struct tp_dev *dev, gfp_t gfp);
void tp_trigger_scan(struct tp_dev *dev, struct tp_scan *s);

/* guard.c */
#define TP_GUARD_GFP	(GFP_KERNEL | __GFP_NORETRY)	/* reclaims, calls no OOM killer */
struct tp_guard {
	struct notifier_block nb;
	struct task_struct *task;	/* who may not call the OOM killer */
	struct list_head pages;
	unsigned long left, portion, set_aside;
	spinlock_t lock;
	atomic_t own, others;		/* calls of the OOM killer */
};

void tp_guard_start(struct tp_guard *g, unsigned long portion);
void tp_guard_set_aside(struct tp_guard *g);
void tp_guard_end(struct tp_guard *g);
bool tp_guard_take(struct tp_guard *g, gfp_t gfp);
unsigned long tp_guard_give(struct tp_guard *g, unsigned long nr);
bool tp_guard_used(struct tp_guard *g, unsigned int eighths);

/* case_fault.c, for case_oom.c as well */
const char *tp_fault_how(char *buf, size_t len, const struct tp_bo_args *a, u32 n);
struct tp_bo *tp_fault_new(struct tp_run *run, struct tp_dev *dev,
			   const struct tp_bo_args *args);
bool tp_fault_out(struct tp_run *run, struct tp_bo *bo);
void tp_fault_in(struct tp_run *run, struct tp_bo *bo, const char *when);

/* cases */
extern const struct tp_case tp_cases_backup[], tp_cases_fault[], tp_cases_free[];
extern const struct tp_case tp_cases_shrink[], tp_cases_lru[], tp_cases_pool[];
extern const struct tp_case tp_cases_contract[], tp_cases_load[], tp_cases_misc[];
extern const struct tp_case tp_cases_map[], tp_cases_walk[], tp_cases_oom[];
extern const struct tp_case tp_cases_full[], tp_cases_room[], tp_cases_empty[];
extern const struct tp_case tp_cases_scan[], tp_cases_move[], tp_cases_any[], tp_cases_lock[];

#endif

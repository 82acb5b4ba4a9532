/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef TTM_PRESSURE_H
#define TTM_PRESSURE_H

#include <linux/cleanup.h>
#include <linux/workqueue.h>
#include "module.h"
#include "compat.h"

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

struct tp_stats {
	atomic64_t populated, backed_up, purged, restored, retained;
	atomic64_t scan_kswapd, scan_direct, count_calls, visits;
	atomic64_t scan_ns, scan_ns_max, ebusy, eintr, enomem, writeback;
	atomic64_t backup_ns, restore_ns;
};

#define TP_NEED_BACKUP	BIT(16)	/* TP_HAVE_BACKUP */
#define TP_NEED_STATS	BIT(17)	/* TP_HAVE_GPU_STATS */
#define TP_NEED_NATIVE	BIT(18)	/* TP_HAVE_NATIVE_ORDER */

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
	struct ttm_lru_bulk_move bulk;	/* for a case's own use */
	spinlock_t lock;	/* of bos and tts */
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
	/* After so many calls of swap_notify the task's allocations fail no more. */
	int most_notifies;
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
	struct tp_witness *witness;
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

/* device.c */
struct tp_dev *tp_dev_new(struct tp_run *run, const struct tp_dev_args *args);
struct tp_dev *tp_dev_again(struct tp_run *run, struct tp_dev *dev, enum ttm_caching caching);
void tp_put_many(struct tp_bo **bos, int n);
void tp_dev_put_bos(struct tp_dev *dev);
void tp_dev_end(struct tp_dev *dev);
struct tp_bo *tp_bo_new(struct tp_dev *dev, const struct tp_bo_args *args, int *err);
struct tp_bo *tp_bo_filled(struct tp_run *run, struct tp_dev *dev,
			   const struct tp_bo_args *args, u64 key);
void tp_bo_pin(struct tp_bo *bo);
void tp_bo_unpin(struct tp_bo *bo);
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

/*
 * What a case is made of goes with its scope, the last first: a device; with tp_dev_bos, the
 * objects that are on it still, before it.
 */
DEFINE_FREE(tp_dev, struct tp_dev *, tp_dev_free(_T ? _T->run : NULL, _T))
DEFINE_FREE(tp_dev_bos, struct tp_dev *, tp_dev_end(_T))

/* inspect.c */
long tp_pool_total(void);
long tp_pool_limit(void);
bool tp_pool_footer(unsigned long *total, unsigned long *limit);
int tp_want_attr(enum ttm_caching caching);

/* As the table of the global pools has them. */
enum tp_pool_kind { TP_POOL_WC, TP_POOL_UC, TP_POOL_WC32, TP_POOL_UC32, TP_POOL_KINDS };

struct tp_pool_rows {
	unsigned long n[TP_POOL_KINDS][MAX_PAGE_ORDER + 1];
	unsigned long pages;
};

bool tp_pool_entries(struct tp_pool_rows *rows);
unsigned long tp_pool_kind(const struct tp_pool_rows *rows, enum tp_pool_kind kind);

/*
 * Whether an allocation failed. Where it was that of a page table, for attributes,
 * set_pages_array_*() turns -ENOMEM into -EINVAL.
 */
static inline bool tp_no_memory(int ret, enum ttm_caching caching)
{
	return ret == -ENOMEM || (ret == -EINVAL && caching != ttm_cached);
}

/* state.c */
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
struct tp_witness *tp_witness_of(struct tp_run *run, struct tp_bo *bo);
/* Every page lies in a pool, zeroed, with the attribute of the pool. */
void tp_witness_pooled(struct tp_run *run, struct tp_witness *w, int attr, const char *when);
void tp_witness_given(struct tp_run *run, struct tp_witness *w, enum ttm_caching caching,
		      const char *when);

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
/* Ghosts, and deleted objects, whose pages wait for a fence: how many, and whether all are sane. */
int tp_lru_ghosts(struct tp_run *run, struct tp_dev *dev, const char *when);
int tp_lru_order(struct tp_dev *dev, int mem_type, unsigned int prio, u32 *ids, int max);

/* shrinker.c */
int tp_shrinker_add(struct tp_dev *dev);
void tp_shrinker_del(struct tp_dev *dev);

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

/* SPDX-License-Identifier: GPL-2.0-only */
/* What the modules of the suites share; see README.md. */
#ifndef TTM_HARNESS_MODULE_H
#define TTM_HARNESS_MODULE_H

#include <linux/atomic.h>
#include <linux/cleanup.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/prandom.h>
#include <linux/sched.h>
#include <linux/shrinker.h>
#include <linux/spinlock.h>
#include <linux/swap.h>
#include <linux/types.h>
#include <linux/vmstat.h>
#include <drm/drm_device.h>

#define TP_RESULT_BYTES	(32 * 1024)
#define TP_MAX_DIAG	24
#define TP_PAGES(bytes)	((pgoff_t)((bytes) >> PAGE_SHIFT))

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
	int stop;		/* the guest stands still at the first failure */
	char broken[40];	/* FILE:LINE of a check that is to say the opposite */
};

/* Global counters that must be back where they were when a case has ended. */
struct tp_counters {
	long gpu_active;
	long gpu_reclaim;
	long shmem;
	long swap_free;
	long objects;
	long dma_mapped;
	long files;
	long known;
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
	spinlock_t lock;	/* of the texts and the sites */
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

/* What a case needs, or is; from BIT(16) on they are the module's own. */
#define TP_NEED_SWAP	BIT(0)	/* swap space free */
#define TP_NEED_NOSWAP	BIT(1)	/* no swap space */
#define TP_NEED_FAULT	BIT(2)	/* CONFIG_FAULT_INJECTION */
#define TP_NEED_PAT	BIT(3)	/* WC and UC page attributes */
#define TP_NEED_DMAOPS	BIT(4)	/* CONFIG_ARCH_HAS_DMA_OPS */
#define TP_KEEP		BIT(5)	/* leaves objects behind on purpose */
#define TP_HIDDEN	BIT(6)	/* shows a suspected bug; not in the default set */
#define TP_LOUD		BIT(7)	/* real pressure: counters of others move too */
#define TP_HELPER	BIT(8)	/* no case: a script's case runs it */
/* What the script arms for it; module-cases says what that is. */
#define TP_ARM_POINTS	BIT(9)	/* every allocation, counted down by the case */
#define TP_ARM_TASK	BIT(10)	/* all allocations of the case's task */
#define TP_ARM_LARGE	BIT(11)	/* those of more than one page */
#define TP_ARM_OWN	BIT(12)	/* by a function of the suite's script */

/* ---- run.c ---- */

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

struct tp_scan {
	gfp_t gfp;
	unsigned long nr;
	bool kswapd;
	/* out */
	unsigned long ret;
	unsigned long scanned;
	u64 ns;
};

/* ---- what a module says of itself ---- */

enum tp_kind { K_INT, K_U64, K_SIZE, K_TOTAL, K_NAME, K_ENUM };

struct tp_key {
	const char *name;
	enum tp_kind kind;
	size_t offset;
	s64 min, max;
	const char *words;	/* of an enum, separated by commas */
};

#define TP_KEY(n, k, f, lo, hi, w) { n, k, offsetof(struct tp_knobs, f), lo, hi, w }

struct seq_file;

struct tp_module {
	const char *name;	/* of its directory in debugfs */
	const char *device;
	const char *objects;	/* what they are called that count_objects() counts */
	const struct drm_driver *driver;
	const struct tp_case * const *tables;
	size_t nr_tables;
	const struct tp_key *keys;
	size_t nr_keys;
	/* Says why not by tp_skip(). */
	bool (*may_run)(struct tp_run *run, const struct tp_case *c);
	long (*count_objects)(void);
	void (*show_stats)(struct seq_file *m);
};

extern const struct tp_module tp_module;

/* Objects that a case left for others, and what else is the module's. */
extern struct tp_dev *tp_held;
void tp_dev_free(struct tp_run *run, struct tp_dev *dev);
unsigned long tp_trigger_count(struct tp_dev *dev, gfp_t gfp);
void tp_trigger_scan(struct tp_dev *dev, struct tp_scan *s);

/* counters.c */
void tp_counters_read(struct tp_counters *c);
long tp_node_stat(enum node_stat_item item);
int tp_debugfs_show(const char *path, char *buf, size_t len);
int tp_sysfs_write(const char *path, const char *text);
long tp_read_number(const char *path);

/* A number in sysfs that is set for the scope, declared with __cleanup(tp_param_restore). */
struct tp_param {
	const char *path;
	char old[24];
};

bool tp_param_set(struct tp_param *p, const char *value);
void tp_param_restore(struct tp_param *p);
void tp_leak_check(struct tp_run *run);
int tp_warn_count(void);
long tp_open_files(void);
void tp_wait_writeback(void);
u64 tp_total(struct tp_run *run, unsigned int pct);
void tp_events(unsigned long *oom, unsigned long *in, unsigned long *out);

/* attributes.c */
enum { TP_ATTR_WB, TP_ATTR_WC, TP_ATTR_UC, TP_ATTR_ODD, TP_ATTR_UNKNOWN };

int tp_page_attr(struct page *p);
void tp_set_wb(struct page *p);
const char *tp_attr_name(int attr);
bool tp_attr_is(struct tp_run *run, struct page *p, int want, const char *when, u32 id,
		pgoff_t i);

/* dma.c */
int tp_dma_live(unsigned long pfn);
dma_addr_t tp_dma_want(struct page *p);
bool tp_have_dma_ops(void);
int tp_dma_setup(struct device *dev);
void tp_dma_teardown(struct device *dev);
void tp_dma_fail_nth(int nth);
long tp_dma_mapped(void);

/* content.c */
void tp_content_fill(struct page *page, u64 key, u32 id, pgoff_t i);
bool tp_content_check(struct tp_run *run, struct page *page, u64 key, u32 id, pgoff_t nr,
		      pgoff_t i, const char *when);
u64 tp_first_word(struct page *p);

/* map.c */
unsigned long tp_map_file(struct tp_run *run, const struct file_operations *fops, void *what,
			  u64 size, int flags, u64 offset, int *err);
bool tp_user_is(struct tp_run *run, unsigned long at, pgoff_t page, u64 want,
		const char *when);

/* witness.c */
struct tp_witness {
	pgoff_t nr;
	u32 id;
	bool no_dma;	/* mappings are of more than a page */
	struct page **pages;
	bool *head;
};

struct tp_witness *tp_witness_new(struct tp_run *run, u32 id, pgoff_t max);
void tp_witness_add(struct tp_witness *w, struct page *p, bool head);
void tp_witness_check(struct tp_run *run, struct tp_witness *w, int attr, int refs, bool zeroed,
		      const char *when);
/* Every page went back to the system, cached, exactly once. */
void tp_witness_freed(struct tp_run *run, struct tp_witness *w, const char *when);
void tp_witness_mend(struct tp_witness *w);
void tp_witness_drop(struct tp_witness *w);
pgoff_t tp_witness_nr(struct tp_witness *w);
bool tp_witness_mine(struct tp_witness *w, pgoff_t i);
struct page *tp_witness_page(struct tp_witness *w, pgoff_t i);

/* reclaim.c */
struct tp_reclaim {
	const char *name;
	unsigned long (*count)(struct shrinker *shrink, struct shrink_control *sc);
	unsigned long (*scan)(struct shrinker *shrink, struct shrink_control *sc);
};

struct shrinker *tp_reclaim_register(const struct tp_reclaim *r, void *data);
unsigned long tp_reclaim_count(struct shrinker *shrink, gfp_t gfp);
void tp_reclaim_scan(struct shrinker *shrink, struct tp_scan *s);

/* guard.c */
#define TP_GUARD_GFP	(GFP_KERNEL | __GFP_NORETRY)	/* reclaims, calls no OOM killer */
struct tp_guard {
	struct notifier_block nb;
	struct task_struct *task;	/* who may not call the OOM killer */
	struct list_head pages;
	unsigned long left, portion, set_aside;
	spinlock_t lock;		/* of pages and left */
	atomic_t own, others;		/* calls of the OOM killer */
};

void tp_guard_start(struct tp_guard *g, unsigned long portion);
void tp_guard_set_aside(struct tp_guard *g);
void tp_guard_end(struct tp_guard *g);
bool tp_guard_take(struct tp_guard *g, gfp_t gfp);
unsigned long tp_guard_give(struct tp_guard *g, unsigned long nr);
bool tp_guard_used(struct tp_guard *g, unsigned int eighths);

/* ---- failures ---- */

/* The fault attribute counts down for the task alone when fail_nth is set. */
static inline void tp_fail_nth(unsigned int nth)
{
#ifdef CONFIG_FAULT_INJECTION
	current->fail_nth = nth;
#endif
}

static inline unsigned int tp_fail_left(void)
{
#ifdef CONFIG_FAULT_INJECTION
	return current->fail_nth;
#else
	return 0;
#endif
}

static inline bool tp_is_failing(void)
{
#ifdef CONFIG_FAULT_INJECTION
	return current->make_it_fail;
#else
	return false;
#endif
}

static inline void tp_make_fail(bool on)
{
#ifdef CONFIG_FAULT_INJECTION
	current->make_it_fail = on;
#endif
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only */
/* xe's kunit fake devices, with the driver's real memory management on top. */
#ifndef _FAKE_FAKE_H_
#define _FAKE_FAKE_H_

#include <kunit/test.h>

#include <linux/dma-fence.h>
#include <linux/list.h>
#include <linux/shrinker.h>

#include <drm/drm_drv.h>
#include <drm/ttm/ttm_bo.h>
#include <drm/ttm/ttm_tt.h>

#include "check.h"
#include "features.h"
#include "xe_bo.h"
#include "xe_device.h"
#include "tests/xe_pci_test.h"

/* What the device does when nobody uses it, and what it is then woken for. */
enum fake_sleep {
	FAKE_AWAKE,		/* kept awake */
	FAKE_SLEEPS_COPIES,	/* asleep after a millisecond; woken to copy metadata */
	FAKE_SLEEPS_FLUSHES,	/* ... and to flush caches, whatever is shrunk */
};

/* One kind of device: what --knob device= names. */
struct fake_kind {
	const char *name;
	struct xe_pci_fake_data data;
	u16 caching;
	enum fake_sleep sleep;
};

struct fake {
	struct kunit *test;
	const struct fake_kind *kind;
	struct xe_device *xe;
	struct drm_driver driver;
	struct device_dma_parameters dma_parms;
	struct list_head objects;
	unsigned int made;
	struct fake_vm *vm;
	bool registered;		/* user space can open it */
	bool private;			/* new objects belong to the VM */
	int usage;			/* of runtime PM, with nobody using the device */
	unsigned long oom_kills;	/* before the case */
	void *vram;
};

struct fake_object {
	struct list_head link;
	struct xe_bo *bo;
	unsigned int id;
	bool blank;	/* was purged, or was never written: reads as zero */
};

/* What the spies saw since fake_watch(); pages unless it says otherwise. */
struct fake_seen {
	unsigned long scans, kswapd_scans, scan_us_max;	/* calls, calls, us */
	unsigned long nofs_scans;			/* calls */
	unsigned long freed;
	unsigned long purged, backed_up, restored, allocated;
	unsigned long interrupted, alloc_failed;	/* calls */
	unsigned long backed_up_too_soon;	/* with purgeable pages left */
	unsigned long backed_up_nofs;		/* objects, without __GFP_FS */
	unsigned long writebacks, writebacks_amiss;	/* calls */
	unsigned long direct_waits;		/* for fences, in direct reclaim */
	unsigned long copies, clears;		/* calls of the copy engine */
	unsigned long copies_asleep;		/* ... of a suspended device */
	unsigned long ccs_lost;			/* objects */
	unsigned long suspends, resumes, direct_resumes;	/* calls */
	unsigned long overscans;	/* objects tried after enough was scanned */
	unsigned long bad_return;	/* calls that broke the contract */
	unsigned long zero_counts;	/* calls */
	/* Walks of scans, by what their arguments allow. */
	unsigned long walks, sleeping_walks, interruptible_walks, waiting_walks, lending_walks;
	unsigned long unpowered;	/* walks and backups, with no use of the device */
	/* Objects that scans tried. */
	unsigned long tried, unsuitable, unlocked, tried_nofs, purges_late, writebacks_early;
	unsigned long bad_shrink, bad_errno, half_done, purges_amiss, writebacks_changed;
	long tables, mappings;		/* of DMA addresses, there at the moment */
	unsigned long unmapped;		/* objects in the TT domain without them */
};

extern struct fake_seen fake_seen;
extern unsigned long long fake_seed;
extern unsigned int fake_copy_ms;
extern int fake_copy_error;
extern int fake_map_error;
extern bool fake_slow_workers;
extern struct task_struct *fake_populating;
extern void (*fake_on_wait)(void *arg);
extern void *fake_on_wait_arg;

/* device.c */
extern const struct fake_kind fake_kinds[];
extern const unsigned int fake_kinds_count;
int fake_init(struct kunit *test);
void fake_exit(struct kunit *test);
struct fake *fake_of(struct kunit *test);
bool fake_has_ccs(struct fake *fake);
bool fake_asleep(struct fake *fake);
void fake_wait_asleep(struct fake *fake);
void fake_wake(struct fake *fake);
void fake_let_sleep(struct fake *fake);
int fake_sh_status(const char *command);
void fake_sh(struct kunit *test, const char *command);

/* object.c */
struct fake_object *fake_try_make(struct fake *fake, size_t size);
struct fake_object *fake_make(struct fake *fake, size_t size);
void fake_make_many(struct fake *fake, unsigned int n, size_t size);
void fake_drop(struct fake *fake, struct fake_object *obj);
void fake_drop_all(struct fake *fake);
void fake_lock(struct fake_object *obj);
void fake_unlock(struct fake_object *obj);
u64 fake_word(const struct fake_object *obj, size_t i);
void fake_fill(struct fake *fake, struct fake_object *obj);
void fake_bump(struct fake_object *obj);
void fake_verify_all(struct fake *fake);
void fake_verify_settled(struct fake *fake);
int fake_restore(struct fake_object *obj);
void fake_restore_all(struct fake *fake);
void fake_advise(struct fake_object *obj, enum xe_madv_purgeable_state state);
void fake_pin(struct fake *fake, struct fake_object *obj);
void fake_unpin(struct fake_object *obj);
void fake_touch(struct fake_object *obj);
void fake_note_purged(struct fake *fake);
bool fake_populated(struct fake_object *obj);
bool fake_backed_up(struct fake_object *obj);
unsigned int fake_populated_objects(struct fake *fake);
bool fake_purged(struct fake_object *obj);
bool fake_settle(struct fake_object *obj);
unsigned long fake_pages(struct fake_object *obj);
struct fake_object *fake_nth(struct fake *fake, unsigned int n);

/* expect.c */
void fake_verify(struct fake *fake, struct fake_object *obj);
void fake_expect_rules(struct kunit *test);
void fake_expect_walk_rules(struct kunit *test);
void fake_expect_counts(struct fake *fake, const char *when);
void fake_expect_right(struct fake *fake, struct fake_object *obj, int ret, size_t right);
void fake_expect_pages(struct fake *fake, long shrinkable, long purgeable, const char *when);
void fake_expect_state(struct fake *fake, struct fake_object *obj, bool populated,
		       bool backed_up);

/* fence.c */
struct dma_fence *fake_fence(void);
struct dma_fence *fake_make_fence(struct kunit *test);
void fake_fence_attach(struct fake_object *obj, struct dma_fence *fence);
void fake_fence_later(struct dma_fence *fence, unsigned int ms);

/* vm.c */
struct fake_vm *fake_vm_create(struct fake *fake);
struct fake_vm *fake_vm_create_another(struct fake *fake);
void fake_vm_destroy(struct fake_vm *vm);
void fake_vm_bind(struct fake_vm *vm, struct fake_object *obj);
void fake_vm_unbind(struct fake_vm *vm, struct fake_object *obj);
struct xe_vm *fake_vm_base(struct fake_vm *vm);
bool fake_vm_has(struct fake_vm *vm, struct fake_object *obj);
bool fake_vm_told(struct fake_vm *vm, struct fake_object *obj);
void fake_vm_begin_validating(struct fake_vm *vm);
void fake_vm_end_validating(struct fake_vm *vm);

/* scan.c */
void fake_watch(struct xe_device *xe);
void fake_unwatch(void);
void fake_adopt(struct fake *fake);
unsigned long fake_count(struct fake *fake, gfp_t gfp);
unsigned long fake_scan(struct fake *fake, gfp_t gfp, unsigned long nr, bool kswapd,
			unsigned long *scanned);
unsigned long fake_scan_all(struct fake *fake, bool kswapd);
void fake_scan_until_stop(struct fake *fake, gfp_t gfp, bool kswapd);
bool fake_swap(unsigned long pages);
bool fake_in_direct_reclaim(void);

/* migrate.c */
void fake_forget_all_metadata(void);

/* peek_device.c, peek_shrinker.c, peek_bo.c: inside the driver's own files */
const struct drm_driver *fake_driver(void);
struct shrinker *fake_shrinker(struct xe_device *xe);
void fake_counts(struct xe_device *xe, long *shrinkable, long *purgeable);
void fake_flush_wakeup(struct xe_device *xe);
bool fake_tt_purgeable(const struct ttm_tt *tt);
bool fake_tt_mapped(const struct ttm_tt *tt);
bool fake_tt_mapped_right(const struct ttm_tt *tt);
int fake_validate_tt(struct xe_bo *bo, bool interruptible);
int fake_validate_system(struct xe_bo *bo);
int fake_validate_home(struct xe_bo *bo);
void fake_upstream_shrink(struct xe_device *xe);

/* case_*.c */
void fake_case_counts(struct kunit *test);
void fake_case_content(struct kunit *test);
void fake_case_content_in_place(struct kunit *test);
void fake_case_purge(struct kunit *test);
void fake_case_purge_first(struct kunit *test);
void fake_case_pinned(struct kunit *test);
void fake_case_pinned_advice(struct kunit *test);
void fake_case_busy(struct kunit *test);
void fake_case_busy_purge(struct kunit *test);
void fake_case_revived(struct kunit *test);
void fake_case_revived_late(struct kunit *test);
void fake_case_bound(struct kunit *test);
void fake_case_bound_twice(struct kunit *test);
void fake_case_private(struct kunit *test);
void fake_case_bound_validating(struct kunit *test);
void fake_case_evict(struct kunit *test);
void fake_case_dropped(struct kunit *test);
void fake_case_zombies(struct kunit *test);
void fake_case_noswap(struct kunit *test);
void fake_case_masks(struct kunit *test);
void fake_case_portions(struct kunit *test);
void fake_case_third_pass(struct kunit *test);
void fake_case_progress(struct kunit *test);
void fake_case_copy_error(struct kunit *test);
void fake_case_asleep_direct(struct kunit *test);
void fake_case_asleep_kswapd(struct kunit *test);
void fake_case_asleep_d3cold(struct kunit *test);
void fake_case_asleep_purge(struct kunit *test);
void fake_case_asleep_system(struct kunit *test);
void fake_case_partial(struct kunit *test);
void fake_case_interrupted(struct kunit *test);
void fake_case_interrupted_drop(struct kunit *test);
void fake_case_race(struct kunit *test);
void fake_case_locked(struct kunit *test);
void fake_case_locked_vm(struct kunit *test);
void fake_case_returns(struct kunit *test);
void fake_case_move_busy(struct kunit *test);
void fake_case_move_fails(struct kunit *test);
void fake_case_move_copying(struct kunit *test);
void fake_case_pin_moves(struct kunit *test);
void fake_case_vram(struct kunit *test);
void fake_case_vram_fails(struct kunit *test);
void fake_case_vram_suspend(struct kunit *test);
void fake_case_vram_suspend_unprepared(struct kunit *test);
void fake_case_vram_suspend_fails(struct kunit *test);
void fake_case_pressure(struct kunit *test);
void fake_case_pressure_purge(struct kunit *test);
void fake_case_pressure_nofs(struct kunit *test);
void fake_case_create_fails(struct kunit *test);
void fake_case_upstream(struct kunit *test);
void fake_case_uapi(struct kunit *test);
void fake_case_uapi_purged(struct kunit *test);
void fake_case_uapi_killed(struct kunit *test);
void fake_case_uapi_hog(struct kunit *test);
void fake_case_suspect_purge_behind(struct kunit *test);
void fake_case_suspect_noswap_behind(struct kunit *test);
void fake_case_fatal_noswap(struct kunit *test);
void fake_case_suspect_nofs_behind(struct kunit *test);
void fake_case_suspect_validating_first(struct kunit *test);
void fake_case_suspect_dontneed_backed_up(struct kunit *test);
void fake_case_suspect_private_alone(struct kunit *test);
void fake_case_suspect_private_walk(struct kunit *test);
void fake_case_suspect_vram_unpinned(struct kunit *test);

#endif

/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef DRM_SHMEM_PURGE_H
#define DRM_SHMEM_PURGE_H

#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/shmem_fs.h>
#include <drm/drm_gem.h>
#include "module.h"
#include "compat.h"

struct sh_stats {
	atomic64_t populated, purged, purged_pages;
	atomic64_t scan_kswapd, scan_direct, count_calls, ebusy;
};

#define TP_NEED_PIN	BIT(16)	/* what is pinned is not purgeable */
#define TP_NEED_VMAP_DIRTIES	BIT(17)
#define TP_NEED_MKWRITE	BIT(18)

#define SH_LOG 64

/* What a driver adds to the helper: a list of what may be purged, and a shrinker. */
struct tp_dev {
	struct tp_run *run;
	struct list_head objs;
	spinlock_t lock;	/* of objs */
	struct mutex shrinker_lock;	/* of purgeable */
	struct list_head purgeable;	/* by madv_list, the least recently marked first */
	struct shrinker *shrink;
	bool shrink_off;
	u32 next_id;
	/* The objects that the shrinker purged, in this order. */
	u32 log[SH_LOG];
	int logged;
};

struct sh_obj {
	struct drm_gem_shmem_object base;
	struct tp_dev *dev;		/* NULL: nobody's, as it is imported */
	struct list_head link;
	u64 key;			/* of what fills it; 0: zeroes */
	u32 id;
	pgoff_t nr;
};

static inline struct sh_obj *to_sh_obj(struct drm_gem_object *gem)
{
	return container_of(gem, struct sh_obj, base.base);
}

static inline struct address_space *sh_mapping(struct sh_obj *obj)
{
	return obj->base.base.filp->f_mapping;
}

static inline bool sh_purgeable(struct sh_obj *obj)
{
	return drm_gem_shmem_is_purgeable(&obj->base);
}

static inline void sh_lock(struct sh_obj *obj)
{
	dma_resv_lock(obj->base.base.resv, NULL);
}

static inline void sh_unlock(struct sh_obj *obj)
{
	dma_resv_unlock(obj->base.base.resv);
}

/* What the driver's user says of an object. */
enum { SH_WILLNEED, SH_DONTNEED };

extern struct sh_stats sh_stats;
extern atomic_t sh_objects;
extern const struct drm_driver sh_driver;

/* device.c */
struct tp_dev *sh_dev_new(struct tp_run *run);
struct sh_obj *sh_new(struct tp_dev *dev, u64 size, bool wc, int *err);
struct sh_obj *sh_ready(struct tp_run *run, pgoff_t nr, bool wc);
void sh_put(struct sh_obj *obj);
int sh_get_sgt(struct sh_obj *obj);
int sh_pin(struct sh_obj *obj);
void sh_unpin(struct sh_obj *obj);
int sh_vmap(struct sh_obj *obj, struct iosys_map *map);
void sh_vunmap(struct sh_obj *obj, struct iosys_map *map);
void sh_fill(struct sh_obj *obj, u64 key);
bool sh_verify(struct tp_run *run, struct sh_obj *obj, const char *when);
bool sh_content(struct tp_run *run, struct sh_obj *obj, const char *when);
int sh_madvise(struct sh_obj *obj, int madv);
void sh_purge(struct sh_obj *obj);
struct drm_device *sh_importer_new(struct device **parent);
void sh_importer_free(struct drm_device *drm, struct device *parent);
void sh_dev_end(struct tp_dev *dev);

/*
 * What a case is made of goes with its scope, the last first: an object; the device; with
 * sh_dev_objs, the objects that are on it still, before it.
 */
DEFINE_FREE(sh_obj, struct sh_obj *, sh_put(_T))
DEFINE_FREE(sh_dev, struct tp_dev *, tp_dev_free(_T ? _T->run : NULL, _T))
DEFINE_FREE(sh_dev_objs, struct tp_dev *, sh_dev_end(_T))

/* shrinker.c */
int sh_shrinker_add(struct tp_dev *dev);
void sh_shrinker_del(struct tp_dev *dev);

/* state.c */
void sh_counts(struct tp_run *run, struct sh_obj *obj, int use, int pin, int vmap,
	       const char *when);
void sh_resident(struct tp_run *run, struct sh_obj *obj, const char *when);
void sh_absent(struct tp_run *run, struct sh_obj *obj, const char *when);
void sh_purged(struct tp_run *run, struct sh_obj *obj, const char *when);
void sh_balance(struct tp_run *run, const char *when);
long sh_file_pages(struct sh_obj *obj);
struct tp_witness *sh_witness(struct tp_run *run, struct sh_obj *obj);
void sh_witness_freed(struct tp_run *run, struct tp_witness *w, const char *when);

/* case_map.c */
unsigned long sh_map(struct tp_run *run, struct sh_obj *obj, int *err);

/* cases */
extern const struct tp_case sh_cases_state[], sh_cases_purge[], sh_cases_map[];
extern const struct tp_case sh_cases_share[], sh_cases_fault[], sh_cases_scan[];
extern const struct tp_case sh_cases_load[], sh_cases_race[];

#endif

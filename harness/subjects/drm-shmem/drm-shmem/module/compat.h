/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Everything that differs between the helpers this module is built for. Kbuild looks for
 * each in the tree: in include/drm/drm_gem_shmem_helper.h for what it declares, in
 * drivers/gpu/drm/drm_gem_shmem_helper.c for what it does.
 */
#ifndef DRM_SHMEM_COMPAT_H
#define DRM_SHMEM_COMPAT_H

#include <linux/refcount.h>
#include <drm/drm_gem_shmem_helper.h>

/*
 * drm_gem_shmem_purge_locked() is declared: what wants the lock held says so in its
 * name; before (6.12) the plain names did.
 */
#ifdef SH_LOCKED_NAMES
#define sh_madvise_locked	drm_gem_shmem_madvise_locked
#define sh_purge_locked		drm_gem_shmem_purge_locked
#define sh_vmap_locked		drm_gem_shmem_vmap_locked
#define sh_vunmap_locked	drm_gem_shmem_vunmap_locked
#define sh_put_pages_locked	drm_gem_shmem_put_pages_locked
#else
#define sh_madvise_locked	drm_gem_shmem_madvise
#define sh_purge_locked		drm_gem_shmem_purge
#define sh_vmap_locked		drm_gem_shmem_vmap
#define sh_vunmap_locked	drm_gem_shmem_vunmap
#define sh_put_pages_locked	drm_gem_shmem_put_pages
#endif

/* The counts of struct drm_gem_shmem_object are refcount_t; before they were unsigned int. */
#ifdef SH_REFCOUNTS
#define sh_read(count)		((int)refcount_read(&(count)))
#else
#define sh_read(count)		((int)(count))
#endif

/*
 * pages_pin_count: who pins is counted, and what is pinned is not purgeable; before a pin
 * was one more user of the pages, and only a mapping of the kernel kept from being purged.
 */
#ifdef SH_PIN_COUNT
#define SH_HAVE_PIN_COUNT 1
#define sh_pins(shmem)		sh_read((shmem)->pages_pin_count)
#else
#define SH_HAVE_PIN_COUNT 0
#define sh_pins(shmem)		0
#endif

/* drm_gem_shmem_vmap_locked() sets pages_mark_dirty_on_put: what was written there is kept. */
#ifdef SH_VMAP_DIRTIES
#define SH_HAVE_VMAP_DIRTIES 1
#else
#define SH_HAVE_VMAP_DIRTIES 0
#endif

/* The vm_operations have pfn_mkwrite: what a process writes makes the page dirty. */
#ifdef SH_MKWRITE
#define SH_HAVE_MKWRITE 1
#else
#define SH_HAVE_MKWRITE 0
#endif

#endif

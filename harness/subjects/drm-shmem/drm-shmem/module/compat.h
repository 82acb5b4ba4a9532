/* SPDX-License-Identifier: GPL-2.0-only */
/* What differs between the helpers this module is built for; features.toml has SH_HAVE_*. */
#ifndef DRM_SHMEM_COMPAT_H
#define DRM_SHMEM_COMPAT_H

#include <linux/refcount.h>
#include <drm/drm_gem_shmem_helper.h>

#if SH_HAVE_LOCKED_NAMES
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

#if SH_HAVE_REFCOUNTS
#define sh_read(count)		((int)refcount_read(&(count)))
#else
#define sh_read(count)		((int)(count))
#endif

#if SH_HAVE_PIN_COUNT
#define sh_pins(shmem)		sh_read((shmem)->pages_pin_count)
#else
#define sh_pins(shmem)		0
#endif

#endif

// SPDX-License-Identifier: GPL-2.0-only
/* The driver around the helper: its objects, what fills them, what its user says of them. */
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/file.h>
#include <linux/iosys-map.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_prime.h>

#include "shmem.h"

/* ---- the driver ---- */

static void sh_free(struct drm_gem_object *gem)
{
	struct sh_obj *obj = to_sh_obj(gem);
	struct tp_dev *dev = obj->dev;

	if (dev) {
		mutex_lock(&dev->shrinker_lock);
		list_del_init(&obj->base.madv_list);
		mutex_unlock(&dev->shrinker_lock);
		spin_lock(&dev->lock);
		list_del(&obj->link);
		spin_unlock(&dev->lock);
		atomic_dec(&sh_objects);
	}
	drm_gem_shmem_free(&obj->base);
}

static const struct drm_gem_object_funcs sh_funcs = {
	.free = sh_free,
	.print_info = drm_gem_shmem_object_print_info,
	.pin = drm_gem_shmem_object_pin,
	.unpin = drm_gem_shmem_object_unpin,
	.get_sg_table = drm_gem_shmem_object_get_sg_table,
	.vmap = drm_gem_shmem_object_vmap,
	.vunmap = drm_gem_shmem_object_vunmap,
	.mmap = drm_gem_shmem_object_mmap,
	.vm_ops = &drm_gem_shmem_vm_ops,
};

static struct drm_gem_object *sh_create_object(struct drm_device *drm, size_t size)
{
	struct sh_obj *obj = kcalloc(1, sizeof(*obj), GFP_KERNEL);

	if (!obj)
		return ERR_PTR(-ENOMEM);
	/* The helper frees it by this address where it fails. */
	BUILD_BUG_ON(offsetof(struct sh_obj, base.base));
	obj->base.base.funcs = &sh_funcs;
	return &obj->base.base;
}

DEFINE_DRM_GEM_FOPS(sh_fops);

const struct drm_driver sh_driver = {
	.driver_features = DRIVER_GEM,
	.name = "drm-shmem-purge",
	.desc = "GEM objects in shared memory, without hardware",
	.major = 1,
	.fops = &sh_fops,
	.gem_create_object = sh_create_object,
	.gem_prime_import_sg_table = drm_gem_shmem_prime_import_sg_table,
};

/* ---- the device ---- */

struct tp_dev *sh_dev_new(struct tp_run *run)
{
	struct tp_dev *dev = kcalloc(1, sizeof(*dev), GFP_KERNEL);

	if (!tp_check(run, dev, "no memory for the device"))
		return NULL;
	dev->run = run;
	INIT_LIST_HEAD(&dev->objs);
	INIT_LIST_HEAD(&dev->purgeable);
	spin_lock_init(&dev->lock);
	mutex_init(&dev->shrinker_lock);
	if (!tp_check(run, !sh_shrinker_add(dev), "no shrinker")) {
		kfree(dev);
		return NULL;
	}
	run->dev = dev;
	/* Pages new on a list are held by the CPU that put them there, until it comes by again. */
	if (run->quiet)
		set_cpus_allowed_ptr(current, cpumask_of(raw_smp_processor_id()));
	return dev;
}

void tp_dev_free(struct tp_run *run, struct tp_dev *dev)
{
	struct sh_obj *obj, *next;

	if (!dev)
		return;
	if (run) {
		run->tidying = true;
		if (run->quiet)
			set_cpus_allowed_ptr(current, cpu_possible_mask);
		sh_balance(run, "at the end");
		tp_check(run, list_empty(&dev->objs), "objects were still there at the end");
		run->dev = NULL;
	}
	sh_shrinker_del(dev);
	list_for_each_entry_safe(obj, next, &dev->objs, link)
		sh_put(obj);
	if (run) {
		tp_check(run, list_empty(&dev->purgeable), "an object that is gone is listed");
		run->tidying = false;
	}
	kfree(dev);
}

void sh_dev_end(struct tp_dev *dev)
{
	struct sh_obj *obj, *next;

	if (!dev)
		return;
	list_for_each_entry_safe_reverse(obj, next, &dev->objs, link)
		sh_put(obj);
	tp_dev_free(dev->run, dev);
}

/* ---- objects ---- */

/* The error where `err` is given; else that it can be made is a check. */
struct sh_obj *sh_new(struct tp_dev *dev, u64 size, bool wc, int *err)
{
	struct drm_gem_shmem_object *shmem = drm_gem_shmem_create(tp_drm(), size);
	int ret = PTR_ERR_OR_ZERO(shmem);
	struct sh_obj *obj;

	if (err)
		*err = ret;
	else
		tp_eq(dev->run, ret, 0, "making an object of %llu bytes", size);
	if (ret)
		return NULL;
	obj = to_sh_obj(&shmem->base);
	obj->dev = dev;
	obj->nr = TP_PAGES(shmem->base.size);
	obj->base.map_wc = wc;
	atomic_inc(&sh_objects);
	spin_lock(&dev->lock);
	obj->id = dev->next_id++;
	list_add_tail(&obj->link, &dev->objs);
	spin_unlock(&dev->lock);
	return obj;
}

/* An object as the device uses it: pages, mapped for DMA, with content. */
struct sh_obj *sh_ready(struct tp_run *run, pgoff_t nr, bool wc)
{
	struct sh_obj *obj = sh_new(run->dev, (u64)nr << PAGE_SHIFT, wc, NULL);

	if (!obj)
		return NULL;
	if (!tp_eq(run, sh_get_sgt(obj), 0, "pages and their DMA addresses")) {
		sh_put(obj);
		return NULL;
	}
	sh_fill(obj, run->k.seed + obj->id);
	return obj;
}

/*
 * With the file: what is put last in a task goes when that is back in user mode, and with
 * it the pages; here they are counted before. Somebody's mapping keeps both.
 */
void sh_put(struct sh_obj *obj)
{
	struct file *file;

	if (!obj)
		return;
	file = get_file(obj->base.base.filp);
	drm_gem_object_put(&obj->base.base);
	__fput_sync(file);
}

int sh_get_sgt(struct sh_obj *obj)
{
	int ret = PTR_ERR_OR_ZERO(drm_gem_shmem_get_pages_sgt(&obj->base));

	if (!ret)
		atomic64_add(obj->nr, &sh_stats.populated);
	return ret;
}

int sh_pin(struct sh_obj *obj)
{
	return drm_gem_shmem_pin(&obj->base);
}

void sh_unpin(struct sh_obj *obj)
{
	drm_gem_shmem_unpin(&obj->base);
}

int sh_vmap(struct sh_obj *obj, struct iosys_map *map)
{
	int ret;

	sh_lock(obj);
	ret = sh_vmap_locked(&obj->base, map);
	sh_unlock(obj);
	return ret;
}

void sh_vunmap(struct sh_obj *obj, struct iosys_map *map)
{
	sh_lock(obj);
	sh_vunmap_locked(&obj->base, map);
	sh_unlock(obj);
}

/* As the device would: it says of what it wrote that it is dirty. */
void sh_fill(struct sh_obj *obj, u64 key)
{
	pgoff_t i;

	obj->key = key | 1;
	for (i = 0; i < obj->nr; i++) {
		struct page *p = obj->base.pages[i];

		tp_content_fill(p, obj->key, obj->id, i);
		folio_mark_dirty(page_folio(p));
		if (!(i & 1023))
			cond_resched();
	}
}

bool sh_verify(struct tp_run *run, struct sh_obj *obj, const char *when)
{
	pgoff_t i;

	if (!tp_check(run, obj->base.pages, "%s: object %u has no pages to verify", when,
		      obj->id))
		return false;
	for (i = 0; i < obj->nr; i++) {
		if (!tp_content_check(run, obj->base.pages[i], obj->key, obj->id, obj->nr, i,
				      when))
			return false;
		if (!(i & 1023))
			cond_resched();
	}
	return true;
}

/* Its content, of which the pages may be anywhere. */
bool sh_content(struct tp_run *run, struct sh_obj *obj, const char *when)
{
	bool ok = tp_eq(run, sh_pin(obj), 0, "%s: pin of object %u", when, obj->id);

	if (ok) {
		ok = sh_verify(run, obj, when);
		sh_unpin(obj);
	}
	return ok;
}

/* The driver's ioctl: what is not needed goes to the end of the list of what may be purged. */
int sh_madvise(struct sh_obj *obj, int madv)
{
	struct tp_dev *dev = obj->dev;
	int ret;

	sh_lock(obj);
	mutex_lock(&dev->shrinker_lock);
	ret = sh_madvise_locked(&obj->base, madv);
	list_del_init(&obj->base.madv_list);
	if (ret && madv > 0)
		list_add_tail(&obj->base.madv_list, &dev->purgeable);
	mutex_unlock(&dev->shrinker_lock);
	sh_unlock(obj);
	return ret;
}

/* By hand, as the shrinker does it. */
void sh_purge(struct sh_obj *obj)
{
	struct tp_dev *dev = obj->dev;

	sh_lock(obj);
	mutex_lock(&dev->shrinker_lock);
	list_del_init(&obj->base.madv_list);
	mutex_unlock(&dev->shrinker_lock);
	sh_purge_locked(&obj->base);
	sh_unlock(obj);
}

/* ---- somebody else's device, which imports ---- */

struct drm_device *sh_importer_new(struct device **parent)
{
	struct platform_device *pdev;
	struct drm_device *drm;

	pdev = platform_device_register_simple("drm-shmem-importer", PLATFORM_DEVID_NONE, NULL,
					       0);
	if (IS_ERR(pdev))
		return NULL;
	*parent = &pdev->dev;
	drm = drm_dev_alloc(&sh_driver, &pdev->dev);
	if (IS_ERR(drm) || dma_coerce_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64))) {
		platform_device_unregister(pdev);
		return NULL;
	}
	return drm;
}

void sh_importer_free(struct drm_device *drm, struct device *parent)
{
	drm_dev_put(drm);
	platform_device_unregister(to_platform_device(parent));
}

// SPDX-License-Identifier: GPL-2.0-only
/* Objects that other devices use as well. */
#include <linux/dma-buf.h>
#include <linux/file.h>
#include <linux/iosys-map.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <drm/drm_prime.h>

#include "shmem.h"

#if SH_HAVE_QUOTED_NAMESPACE
MODULE_IMPORT_NS("DMA_BUF");
#else
MODULE_IMPORT_NS(DMA_BUF);
#endif

/* As the kernel keeps it for an object with a handle; the object holds a reference. */
static struct dma_buf *sh_export(struct tp_run *run, struct sh_obj *obj)
{
	struct dma_buf *buf = drm_gem_prime_export(&obj->base.base, 0);

	if (!tp_check(run, !IS_ERR(buf), "it cannot be exported"))
		return NULL;
	obj->base.base.dma_buf = buf;
	return buf;
}

static void sh_unexport(struct sh_obj *obj)
{
	struct dma_buf *buf = obj->base.base.dma_buf;

	obj->base.base.dma_buf = NULL;
	/* As dma_buf_put(), and at once. */
	__fput_sync(buf->file);
}

/* What was exported may be used by anybody at any time: it is not purgeable. */
static void case_export_blocks(struct tp_run *run)
{
	struct tp_dev *dev __free(sh_dev) = sh_dev_new(run);
	struct tp_scan s = { .gfp = GFP_KERNEL, .nr = 1000 };
	struct sh_obj *obj;

	if (!dev)
		return;
	obj = sh_ready(run, 8, false);
	if (!obj)
		return;
	sh_madvise(obj, SH_DONTNEED);
	if (sh_export(run, obj)) {
		tp_check(run, !sh_purgeable(obj), "what was exported is purgeable");
		tp_eq(run, tp_trigger_count(dev, GFP_KERNEL), SHRINK_EMPTY,
		      "pages counted of what was exported");
		tp_trigger_scan(dev, &s);
		tp_eq(run, s.ret, SHRINK_STOP, "scan of what was exported");
		sh_resident(run, obj, "exported");
		sh_verify(run, obj, "exported");
		sh_unexport(obj);
	}
	sh_put(obj);
}

/* An importer pins, and has the same pages; its own object is nothing to purge. */
static void case_import(struct tp_run *run)
{
	struct tp_dev *dev = sh_dev_new(run);
	struct drm_gem_object *gem;
	struct drm_device *drm = NULL;
	struct device *parent;
	struct iosys_map map;
	struct sh_obj *obj, *in;
	struct dma_buf *buf;

	if (!dev)
		return;
	obj = sh_ready(run, 8, false);
	buf = obj ? sh_export(run, obj) : NULL;
	if (!buf)
		goto out;
	drm = sh_importer_new(&parent);
	if (!tp_check(run, drm, "no device to import into"))
		goto out;
	gem = drm_gem_prime_import_dev(drm, buf, parent);
	if (!tp_check(run, !IS_ERR(gem), "the import failed: %ld", PTR_ERR(gem)))
		goto out;
	in = to_sh_obj(gem);
	sh_counts(run, obj, 2, 1, 0, "imported elsewhere");
	tp_check(run, drm_gem_is_imported(gem), "the importer's object is not marked so");
	tp_check(run, in->base.sgt && !in->base.pages, "the importer's object has pages of its own");
	tp_check(run, !in->base.map_wc, "the importer's object has attributes of its own");
	dma_resv_lock(gem->resv, NULL);
	tp_eq(run, sh_madvise_locked(&in->base, SH_DONTNEED), 1, "advice for what is imported");
	tp_check(run, !drm_gem_shmem_is_purgeable(&in->base), "what is imported is purgeable");
	if (tp_eq(run, sh_vmap_locked(&in->base, &map), 0, "vmap of what is imported")) {
		tp_check(run, vmalloc_to_page(map.vaddr) == obj->base.pages[0],
			 "the importer maps another page");
		sh_counts(run, obj, SH_HAVE_PIN_COUNT ? 2 : 3, 2, 1, "mapped by the importer");
		sh_vunmap_locked(&in->base, &map);
	}
	dma_resv_unlock(gem->resv);
	/* Not by the flag alone, which is of the exporter's handle. */
	obj->base.base.dma_buf = NULL;
	sh_madvise(obj, SH_DONTNEED);
	if (SH_HAVE_PIN_COUNT)
		tp_check(run, !sh_purgeable(obj), "what an importer uses is purgeable");
	obj->base.base.dma_buf = buf;
	drm_gem_object_put(gem);
	sh_counts(run, obj, 1, 0, 0, "the importer is gone");
	sh_resident(run, obj, "the importer is gone");
	sh_verify(run, obj, "the importer is gone");
out:
	if (buf)
		sh_unexport(obj);
	sh_put(obj);
	if (drm)
		sh_importer_free(drm, parent);
	tp_dev_free(run, dev);
}

const struct tp_case sh_cases_share[] = {
	{ "export_blocks", "S5", "nothing is purged that was exported", case_export_blocks, 0 },
	{ "import", "S5,S6", "an importer pins, and has nothing to purge", case_import, 0 },
	{ }
};

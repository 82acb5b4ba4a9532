// SPDX-License-Identifier: GPL-2.0-only
/* The fake devices: what of xe's probe needs no hardware, and runtime PM. */

#define FAKE_MAKES_ONLY

#include <drm/drm_drv.h>
#include <drm/drm_kunit_helpers.h>
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/mm.h>
#include <linux/pm_domain.h>
#include <linux/pm_runtime.h>
#include <linux/umh.h>
#include <linux/vmalloc.h>

#include "fake.h"
#include "seen.h"
#include "xe_tile.h"
#include "xe_ttm_sys_mgr.h"

#ifdef FAKE_GEM_GPUVA
/* Not as xe's own helper: without it a list that the driver walks is NULL. */
#define FAKE_FEATURES (DRIVER_GEM | DRIVER_GEM_GPUVA)
#else
#define FAKE_FEATURES DRIVER_GEM
#endif

#define WB DRM_XE_GEM_CPU_CACHING_WB
#define WC DRM_XE_GEM_CPU_CACHING_WC

const struct fake_kind fake_kinds[] = {
	{ "tgl", { .platform = XE_TIGERLAKE, .subplatform = XE_SUBPLATFORM_NONE }, WB },
	{ "tgl-wc", { .platform = XE_TIGERLAKE, .subplatform = XE_SUBPLATFORM_NONE }, WC },
	{ "dg1", { .platform = XE_DG1, .subplatform = XE_SUBPLATFORM_NONE }, WB },
	{ "bmg", { .platform = XE_BATTLEMAGE, .subplatform = XE_SUBPLATFORM_NONE,
		   .graphics_verx100 = 2001, .media_verx100 = 1301 }, WB },
	{ "lnl", { .platform = XE_LUNARLAKE, .subplatform = XE_SUBPLATFORM_NONE,
		   .graphics_verx100 = 2004, .media_verx100 = 2000 }, WB },
	{ "lnl-suspend", { .platform = XE_LUNARLAKE, .subplatform = XE_SUBPLATFORM_NONE,
			   .graphics_verx100 = 2004, .media_verx100 = 2000 },
	  WB, FAKE_SLEEPS_COPIES },
#ifdef FAKE_NOVALAKE
	{ "nvl", { .platform = XE_NOVALAKE_P, .subplatform = XE_SUBPLATFORM_NONE,
		   .graphics_verx100 = 3510, .media_verx100 = 3500 },
	  WB, FAKE_SLEEPS_FLUSHES },
#endif
};

const unsigned int fake_kinds_count = ARRAY_SIZE(fake_kinds);

static int fake_runtime_suspend(struct device *dev)
{
	fake_add(suspends, 1);
	return 0;
}

/* Workers take their time to wake the device: as long as this is set. */
bool fake_slow_workers;

static int fake_runtime_resume(struct device *dev)
{
	unsigned int ms;

	for (ms = 0; ms < 5000 && (current->flags & PF_WQ_WORKER); ms++) {
		if (!READ_ONCE(fake_slow_workers))
			break;
		usleep_range(1000, 2000);
	}
	fake_add(resumes, 1);
	if (fake_in_direct_reclaim())
		fake_add(direct_resumes, 1);
	return 0;
}

/* In the place of the PCI bus, whose callbacks would talk to hardware. */
static struct dev_pm_domain fake_pm_domain = {
	.ops = { SET_RUNTIME_PM_OPS(fake_runtime_suspend, fake_runtime_resume, NULL) },
};

struct fake *fake_of(struct kunit *test)
{
	return test->priv;
}

bool fake_has_ccs(struct fake *fake)
{
	return !IS_DGFX(fake->xe) && xe_device_has_flat_ccs(fake->xe);
}

bool fake_asleep(struct fake *fake)
{
	return pm_runtime_suspended(fake->xe->drm.dev);
}

void fake_wait_asleep(struct fake *fake)
{
	unsigned int i;

	pm_request_autosuspend(fake->xe->drm.dev);
	for (i = 0; i < 1000 && !fake_asleep(fake); i++)
		usleep_range(1000, 2000);
	KUNIT_ASSERT_TRUE_MSG(fake->test, fake_asleep(fake), "the device does not go to sleep");
}

void fake_wake(struct fake *fake)
{
	KUNIT_ASSERT_GE(fake->test, pm_runtime_resume_and_get(fake->xe->drm.dev), 0);
}

void fake_let_sleep(struct fake *fake)
{
	pm_runtime_put_autosuspend(fake->xe->drm.dev);
}

/* For what only user space can do, such as writing to debugfs: its status, as of wait(). */
int fake_sh_status(const char *command)
{
	char *argv[] = { "/bin/sh", "-c", (char *)command, NULL };
	char *envp[] = { "PATH=/bin:/sbin:/usr/bin:/usr/sbin", NULL };

	return call_usermodehelper(argv[0], argv, envp, UMH_WAIT_PROC);
}

void fake_sh(struct kunit *test, const char *command)
{
	int ret = fake_sh_status(command);

	KUNIT_ASSERT_EQ_MSG(test, ret, 0, "sh -c '%s'", command);
}

static void fake_start_pm(struct fake *fake, struct device *dev)
{
	dev->pm_domain = &fake_pm_domain;
	pm_runtime_set_active(dev);
	if (fake->kind->sleep) {
		pm_runtime_set_autosuspend_delay(dev, 1);
		pm_runtime_use_autosuspend(dev);
	} else {
		pm_runtime_get_noresume(dev);
	}
	pm_runtime_enable(dev);
	fake->usage = atomic_read(&dev->power.usage_count);
}

static void fake_stop_pm(struct fake *fake, struct device *dev)
{
	pm_runtime_disable(dev);
	if (!fake->kind->sleep)
		pm_runtime_put_noidle(dev);
	dev->pm_domain = NULL;
}

static unsigned long fake_oom_kills(void)
{
	unsigned long events[NR_VM_EVENT_ITEMS] = {};

	all_vm_events(events);
	return events[OOM_KILL];
}

int fake_init(struct kunit *test)
{
	const struct fake_kind *kind = test->param_value;
	struct xe_pci_fake_data data = kind->data;
	struct xe_device *xe;
	struct device *dev;
	struct fake *fake;

	fake = kunit_kzalloc(test, sizeof(*fake), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, fake);
	fake->test = test;
	fake->kind = kind;
	INIT_LIST_HEAD(&fake->objects);

	dev = drm_kunit_helper_alloc_device(test);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dev);
	/* As the driver's probe sets it up for its PCI device. */
	dev->dma_parms = &fake->dma_parms;
	dma_set_max_seg_size(dev, UINT_MAX);
	fake->driver = *fake_driver();
	fake->driver.driver_features |= FAKE_FEATURES;
	xe = drm_kunit_helper_alloc_drm_device_with_driver(test, dev, struct xe_device, drm,
							   &fake->driver);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, xe);
	test->priv = &data;
	KUNIT_ASSERT_EQ(test, xe_pci_fake_device_init(xe), 0);
	test->priv = fake;
	fake->xe = xe;
	/* Never looked into: our own copy engine takes its place. */
	xe->tiles[0].migrate = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, xe->tiles[0].migrate);
	KUNIT_ASSERT_EQ(test, xe_device_init_early(xe), 0);
	KUNIT_ASSERT_EQ(test, xe_ttm_sys_mgr_init(xe), 0);
	fake_start_pm(fake, dev);
	fake->oom_kills = fake_oom_kills();
	fake_watch(xe);
	fake_checks_restart();
	return 0;
}

void fake_exit(struct kunit *test)
{
	struct fake *fake = test->priv;
	long shrinkable, purgeable;

	if (!fake || !fake->xe)
		return;
	if (test->status != KUNIT_SKIPPED)
		KUNIT_EXPECT_GT_MSG(test, fake_checks_made(), 0UL, "the case checked nothing");
	fake_copy_ms = 0;
	fake_copy_error = 0;
	fake_map_error = 0;
	if (fake->registered)
		drm_dev_unregister(&fake->xe->drm);
	fake_drop_all(fake);
	if (fake->vm)
		fake_vm_destroy(fake->vm);
	fake_flush_wakeup(fake->xe);
	drain_workqueue(fake->xe->ttm.wq);
	rcu_barrier();
	fake_unwatch();
	fake_forget_all_metadata();
	fake_counts(fake->xe, &shrinkable, &purgeable);
	KUNIT_EXPECT_EQ_MSG(test, shrinkable, 0L, "shrinkable pages with no object left");
	KUNIT_EXPECT_EQ_MSG(test, purgeable, 0L, "purgeable pages with no object left");
	KUNIT_EXPECT_EQ_MSG(test, ttm_resource_manager_usage(&fake->xe->mem.sys_mgr), 0ULL,
			    "bytes in the TT domain with no object left");
	KUNIT_EXPECT_EQ_MSG(test, atomic_read(&fake->xe->drm.dev->power.usage_count),
			    fake->usage, "uses of the device, for runtime PM");
	KUNIT_EXPECT_EQ_MSG(test, fake_oom_kills(), fake->oom_kills, "OOM kills");
	fake_expect_rules(test);
	fake_expect_walk_rules(test);
	fake_stop_pm(fake, fake->xe->drm.dev);
	vfree(fake->vram);
	fake_report(test);
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * User processes that come in through the driver's own file: /tools/xe_objects
 * creates, maps, fills and reads back, and the CPU's faults bring objects back.
 */

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <linux/mm.h>

#include "fake.h"

/* In MiB: a share of all memory, however much of it is free at the moment. */
static unsigned long share_mib(unsigned int percent)
{
	struct sysinfo si;

	si_meminfo(&si);
	return (si.totalram >> (20 - PAGE_SHIFT)) * percent / 100;
}

static void run(struct fake *fake, unsigned int percent, const char *ahead, const char *behind)
{
	struct drm_device *drm = &fake->xe->drm;
	char *command;

	fake->xe->info.mem_region_mask = BIT(0);
	KUNIT_ASSERT_EQ(fake->test, drm_dev_register(drm, 0), 0);
	fake->registered = true;
	command = kasprintf(GFP_KERNEL,
			    "%s/tools/xe_objects /dev/dri/renderD%d %s %lu 1024 4 %llu %s",
			    ahead, drm->render->index,
			    fake->kind->caching == DRM_XE_GEM_CPU_CACHING_WC ? "wc" : "wb",
			    share_mib(percent), fake_seed, behind);
	KUNIT_ASSERT_NOT_NULL(fake->test, command);
	fake_sh(fake->test, command);
	kfree(command);
	KUNIT_EXPECT_GT_MSG(fake->test, fake_seen.backed_up, 0UL, "pages backed up");
}

void fake_case_uapi(struct kunit *test)
{
	run(fake_of(test), 110, "", "");
}

void fake_case_uapi_killed(struct kunit *test)
{
	run(fake_of(test), 125, "", "kill");
}

/* Somebody has much of the memory for himself, and it cannot go to swap. */
#define HOG "/tools/hog 40% 600 seq verify lock >/dev/null & "
#define HOG_HAS_STARTED							\
	"for i in 1 2 3 4 5 6 7 8 9; do "				\
	"grep -q 'Mlocked: *[0-9]\\{5,\\}' /proc/meminfo && break; sleep 1; done; "

void fake_case_uapi_hog(struct kunit *test)
{
	run(fake_of(test), 80, HOG HOG_HAS_STARTED, "; status=$?; kill $!; wait; exit $status");
}

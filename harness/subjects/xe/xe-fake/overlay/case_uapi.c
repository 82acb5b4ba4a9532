// SPDX-License-Identifier: GPL-2.0-only
/*
 * User processes that come in through the driver's own file: /tools/xe_objects
 * creates, maps, fills and reads back, and the CPU's faults bring objects back.
 */

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/workqueue.h>

#include "fake.h"

#define PROCESSES 4U

/* In MiB: a share of all memory, however much of it is free at the moment. */
static unsigned long share_mib(unsigned int percent)
{
	struct sysinfo si;

	si_meminfo(&si);
	return (si.totalram >> (20 - PAGE_SHIFT)) * percent / 100;
}

/* The command for that many MiB in objects of 1 MiB; user space can open the device. */
static char *user(struct fake *fake, unsigned long mib, const char *ahead, const char *behind)
{
	struct drm_device *drm = &fake->xe->drm;
	char *command;

	fake->xe->info.mem_region_mask = BIT(0);
	KUNIT_ASSERT_EQ(fake->test, drm_dev_register(drm, 0), 0);
	fake->registered = true;
	command = kasprintf(GFP_KERNEL,
			    "%s/tools/xe_objects 2>/dev/kmsg /dev/dri/renderD%d %s %lu 1024 %u %llu %s",
			    ahead, drm->render->index,
			    fake->kind->caching == DRM_XE_GEM_CPU_CACHING_WC ? "wc" : "wb",
			    mib, PROCESSES, fake_seed, behind);
	KUNIT_ASSERT_NOT_NULL(fake->test, command);
	return command;
}

static void run(struct fake *fake, unsigned int percent, const char *ahead, const char *behind)
{
	char *command = user(fake, share_mib(percent), ahead, behind);

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

struct beside {
	struct work_struct work;
	char *command;
	int ret;
	bool ended;
};

static void run_beside(struct work_struct *work)
{
	struct beside *beside = container_of(work, struct beside, work);

	beside->ret = fake_sh_status(beside->command);
	WRITE_ONCE(beside->ended, true);
}

/* The object of that handle, or of the next that there is, with a reference. */
static struct drm_gem_object *object_from(struct drm_file *file, int *handle)
{
	struct drm_gem_object *gem;

	spin_lock(&file->table_lock);
	gem = idr_get_next(&file->object_idr, handle);
	if (gem)
		drm_gem_object_get(gem);
	spin_unlock(&file->table_lock);
	return gem;
}

/* The objects of all processes that have the device open; advice for each, where asked for. */
static unsigned int objects_of_users(struct fake *fake, bool dontneed)
{
	struct drm_device *drm = &fake->xe->drm;
	struct fake_object obj = {};
	struct drm_gem_object *gem;
	struct drm_file *file;
	unsigned int n = 0;
	int handle;

	mutex_lock(&drm->filelist_mutex);
	list_for_each_entry(file, &drm->filelist, lhead) {
		for (handle = 0; (gem = object_from(file, &handle)); handle++) {
			n++;
			obj.bo = gem_to_xe_bo(gem);
			if (dontneed)
				fake_advise(&obj, XE_MADV_PURGEABLE_DONTNEED);
			drm_gem_object_put(gem);
		}
	}
	mutex_unlock(&drm->filelist_mutex);
	return n;
}

/* Each process has one object more than it maps, when it has filled these. */
#define EACH 3U
#define AT_MOST_MS 120000

void fake_case_uapi_purged(struct kunit *test)
{
	struct fake *fake = fake_of(test);
	struct beside *beside = kunit_kzalloc(test, sizeof(*beside), GFP_KERNEL);
	unsigned int all = PROCESSES * (EACH + 1), ms, n = 0;

	KUNIT_ASSERT_NOT_NULL(test, beside);
	beside->command = user(fake, PROCESSES * EACH, "", "purged");
	INIT_WORK(&beside->work, run_beside);
	schedule_work(&beside->work);
	for (ms = 0; ms < AT_MOST_MS && !READ_ONCE(beside->ended) && n < all; ms += 10) {
		usleep_range(10000, 20000);
		n = objects_of_users(fake, false);
	}
	KUNIT_EXPECT_EQ_MSG(test, n, all, "objects of the processes");
	objects_of_users(fake, true);
	fake_scan_all(fake, false);
	flush_work(&beside->work);
	kfree(beside->command);
	KUNIT_EXPECT_EQ_MSG(test, beside->ret, 0, "status of the processes");
	/* A process that has seen its objects go leaves, and takes the last one along. */
	KUNIT_EXPECT_GE_MSG(test, fake_seen.purged,
			    (unsigned long)PROCESSES * EACH << (20 - PAGE_SHIFT),
			    "pages purged");
}

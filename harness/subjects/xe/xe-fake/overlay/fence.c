// SPDX-License-Identifier: GPL-2.0-only
/* Fences that a case, or a timer, signals. */

#define FAKE_MAKES_ONLY

#include <linux/slab.h>
#include <linux/workqueue.h>

#include "fake.h"

struct fake_fence {
	struct dma_fence base;
	spinlock_t lock;	/* the fence's */
	struct delayed_work work;
};

static const char *fake_fence_name(struct dma_fence *fence)
{
	return "xe_fake";
}

static const struct dma_fence_ops fake_fence_ops = {
	.get_driver_name = fake_fence_name,
	.get_timeline_name = fake_fence_name,
};

static void fake_fence_work(struct work_struct *work)
{
	struct fake_fence *fence = container_of(work, struct fake_fence, work.work);

	dma_fence_signal(&fence->base);
	dma_fence_put(&fence->base);
}

struct dma_fence *fake_fence(void)
{
	struct fake_fence *fence = kzalloc(sizeof(*fence), GFP_ATOMIC);

	if (!fence)
		return NULL;
	spin_lock_init(&fence->lock);
	INIT_DELAYED_WORK(&fence->work, fake_fence_work);
	dma_fence_init(&fence->base, &fake_fence_ops, &fence->lock,
		       dma_fence_context_alloc(1), 1);
	return &fence->base;
}

struct dma_fence *fake_make_fence(struct kunit *test)
{
	struct dma_fence *fence = fake_fence();

	KUNIT_ASSERT_NOT_NULL(test, fence);
	return fence;
}

/* Said again, the last time counts. */
void fake_fence_later(struct dma_fence *fence, unsigned int ms)
{
	dma_fence_get(fence);
	if (mod_delayed_work(system_wq, &container_of(fence, struct fake_fence, base)->work,
			     msecs_to_jiffies(ms)))
		dma_fence_put(fence);
}

/* As a job of the GPU leaves it on the object. */
void fake_fence_attach(struct fake_object *obj, struct dma_fence *fence)
{
	fake_lock(obj);
	if (!dma_resv_reserve_fences(obj->bo->ttm.base.resv, 1))
		dma_resv_add_fence(obj->bo->ttm.base.resv, fence, DMA_RESV_USAGE_BOOKKEEP);
	fake_unlock(obj);
}

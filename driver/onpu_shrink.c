// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Memory pressure
 *
 * When the machine runs short of memory, idle buffer objects give back what they have
 * of it: first those whose content may be given up, then, if there is swap space,
 * those that have not been used for longest, which TTM copies to shared memory that
 * can be swapped. TTM does the latter by itself only when it has more pages than it
 * may have (ttm.pages_limit).
 *
 * To take pages from an object means to take it away from the card first, and that
 * is to wait for the card: for a packet that uses old translations. Reclaim must not,
 * nor may it wait for fences in a driver like this one. So the shrinker does
 * nothing itself. It says how much there is, tells a worker how much is wanted, and
 * counts what the worker has given back since it was asked last.
 *
 * Locking: the shrinker takes none. The worker holds &onpu_device.room for reading,
 * like all that hold reservations when somebody might look for room, and takes
 * reservations by trying only. &onpu_shrink.lock protects the list of purgeable
 * objects and is a leaf.
 */

#include <linux/dma-resv.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/swap.h>

#include <drm/drm_drv.h>
#include <drm/drm_managed.h>
#include <drm/onpu_accel.h>
#include <drm/ttm/ttm_bo.h>
#include <drm/ttm/ttm_device.h>

#include "onpu_bo.h"
#include "onpu_device.h"
#include "onpu_place.h"
#include "onpu_shrink.h"

/**
 * struct onpu_shrink - a card's part in memory pressure
 */
struct onpu_shrink {
	/** @odev: the card */
	struct onpu_device *odev;
	/** @shrinker: asks for memory */
	struct shrinker *shrinker;
	/** @wq: for @work */
	struct workqueue_struct *wq;
	/** @work: gives memory back */
	struct work_struct work;
	/** @wanted: pages to give back */
	atomic_long_t wanted;
	/** @freed: pages given back that reclaim has not been told of */
	atomic_long_t freed;
	/** @lock: protects @purgeable */
	spinlock_t lock;
	/** @purgeable: struct onpu_bo whose content may be given up, oldest first */
	struct list_head purgeable;
	/** @purgeable_bytes: size of them, wherever they are */
	atomic64_t purgeable_bytes;
};

/**
 * onpu_shrink_set_purgeable() - whether the content of an object may be given up
 * @bo: object, with its reservation held, or one that nobody else knows any more
 * @purgeable: whether
 */
void onpu_shrink_set_purgeable(struct onpu_bo *bo, bool purgeable)
{
	struct onpu_shrink *shrink = to_onpu_device(bo->ttm.base.dev)->shrink;

	if (bo->purgeable == purgeable)
		return;

	WRITE_ONCE(bo->purgeable, purgeable);
	spin_lock(&shrink->lock);
	if (purgeable)
		list_add_tail(&bo->purge_link, &shrink->purgeable);
	else
		list_del(&bo->purge_link);
	spin_unlock(&shrink->lock);
	atomic64_add(purgeable ? onpu_bo_size(bo) : -onpu_bo_size(bo), &shrink->purgeable_bytes);
}

/* --- the worker ------------------------------------------------------------ */

/* The next purgeable object in system memory, with a reference; it goes to the end. */
static struct onpu_bo *shrink_next_purgeable(struct onpu_shrink *shrink)
{
	struct onpu_bo *bo, *found = NULL;

	spin_lock(&shrink->lock);
	list_for_each_entry(bo, &shrink->purgeable, purge_link) {
		if (READ_ONCE(bo->region) != DRM_ONPU_REGION_SYSTEM ||
		    !kref_get_unless_zero(&bo->ttm.base.refcount))
			continue;
		list_move_tail(&bo->purge_link, &shrink->purgeable);
		found = bo;
		break;
	}
	spin_unlock(&shrink->lock);

	return found;
}

/* Gives up the content of one object; returns the pages that it had, or 0. */
static long shrink_purge(struct onpu_shrink *shrink)
{
	struct onpu_bo *bo = shrink_next_purgeable(shrink);
	long pages = 0;

	if (!bo)
		return 0;

	if (dma_resv_trylock(bo->ttm.base.resv)) {
		if (!onpu_place_purge(bo))
			pages = onpu_bo_size(bo) >> PAGE_SHIFT;
		dma_resv_unlock(bo->ttm.base.resv);
	}
	drm_gem_object_put(&bo->ttm.base);

	return pages;
}

/* Swaps one object out; returns its pages, or what is not more than 0. */
static long shrink_swap(struct onpu_shrink *shrink)
{
	struct ttm_operation_ctx ctx = { .no_wait_gpu = true };

	if (get_nr_swap_pages() <= 0)
		return 0;

	return ttm_device_swapout(&shrink->odev->ttm, &ctx,
				  GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);
}

static long shrink_one(struct onpu_shrink *shrink)
{
	struct onpu_device *odev = shrink->odev;
	long pages = 0;
	int idx;

	if (!drm_dev_enter(&odev->drm, &idx))
		return 0;

	down_read(&odev->room);
	pages = shrink_purge(shrink);
	if (!pages)
		pages = shrink_swap(shrink);
	up_read(&odev->room);
	drm_dev_exit(idx);

	return pages;
}

static void shrink_work(struct work_struct *work)
{
	struct onpu_shrink *shrink = container_of(work, struct onpu_shrink, work);
	long left = atomic_long_xchg(&shrink->wanted, 0), pages;

	while (left > 0) {
		pages = shrink_one(shrink);
		if (pages <= 0)
			break;
		atomic_long_add(pages, &shrink->freed);
		left -= pages;
		cond_resched();
	}
}

/* --- the shrinker ---------------------------------------------------------- */

static unsigned long shrink_count(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct onpu_shrink *shrink = shrinker->private_data;
	u64 bytes = onpu_ttm_system_resident(shrink->odev);

	/* Where it would go has to be somewhere else than in memory. */
	if (get_nr_swap_pages() <= 0)
		bytes = min_t(u64, bytes, atomic64_read(&shrink->purgeable_bytes));

	return bytes >> PAGE_SHIFT ?: SHRINK_EMPTY;
}

static unsigned long shrink_scan(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct onpu_shrink *shrink = shrinker->private_data;
	long freed = atomic_long_xchg(&shrink->freed, 0);

	atomic_long_set(&shrink->wanted, sc->nr_to_scan);
	queue_work(shrink->wq, &shrink->work);

	return freed ?: SHRINK_STOP;
}

static void shrink_fini(struct drm_device *drm, void *data)
{
	struct onpu_shrink *shrink = data;

	shrinker_free(shrink->shrinker);
	destroy_workqueue(shrink->wq);
	drm_WARN_ON(drm, !list_empty(&shrink->purgeable));
}

/**
 * onpu_shrink_init() - take part in memory pressure
 * @odev: card; its memory management is set up
 *
 * Return: 0 or -ENOMEM.
 */
int onpu_shrink_init(struct onpu_device *odev)
{
	struct onpu_shrink *shrink;

	shrink = drmm_kzalloc(&odev->drm, sizeof(*shrink), GFP_KERNEL);
	if (!shrink)
		return -ENOMEM;

	shrink->odev = odev;
	INIT_WORK(&shrink->work, shrink_work);
	spin_lock_init(&shrink->lock);
	INIT_LIST_HEAD(&shrink->purgeable);
	shrink->wq = alloc_workqueue("onpu-shrink-%s", WQ_UNBOUND, 1, dev_name(odev->drm.dev));
	if (!shrink->wq)
		return -ENOMEM;

	shrink->shrinker = shrinker_alloc(0, "onpu-%s", dev_name(odev->drm.dev));
	if (!shrink->shrinker) {
		destroy_workqueue(shrink->wq);
		return -ENOMEM;
	}

	shrink->shrinker->count_objects = shrink_count;
	shrink->shrinker->scan_objects = shrink_scan;
	shrink->shrinker->private_data = shrink;
	odev->shrink = shrink;
	shrinker_register(shrink->shrinker);

	return drmm_add_action_or_reset(&odev->drm, shrink_fini, shrink);
}

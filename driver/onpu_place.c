// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Where buffer objects are, and moves
 *
 * A buffer object is in card memory (TTM_PL_VRAM), in system memory that the card
 * can reach (TTM_PL_TT), or in TTM_PL_SYSTEM: swapped out, or without any memory
 * because its content was given up. When card memory runs short, those that have
 * not been used for longest are evicted to system memory; idle ones first, so that
 * nobody waits for somebody else's jobs without need. A submission brings back
 * what its address space maps. An object that may be in both places is used from
 * where it is, unless there is room on the card.
 *
 * A move waits until the object is idle, takes away all mappings (page tables, TLB,
 * then CPU), and only then copies, by the copy engine (onpu_migrate.c). Out of card
 * memory it also waits for the copy: if that fails, nothing has happened, and
 * memory of the card is free for the CPU as well when it says so. Into card memory it
 * does not wait; whoever uses the object waits for the fence (usage KERNEL).
 *
 * Fresh memory is cleared in the same way.
 *
 * Locking: the reservation of the object, as TTM has it. Room is found by evicting
 * objects whose reservation can be had without waiting; so a search fails that
 * would succeed if others did not hold theirs for the moment. &onpu_device.room is
 * held for reading by all that look for room, outside reservations; who fails tries
 * again holding it for writing.
 */

#include <linux/dma-resv.h>
#include <linux/wait_bit.h>

#include <drm/drm_drv.h>
#include <drm/onpu_accel.h>
#include <drm/ttm/ttm_bo.h>
#include <drm/ttm/ttm_tt.h>

#include "onpu_bo.h"
#include "onpu_device.h"
#include "onpu_migrate.h"
#include "onpu_place.h"
#include "onpu_prime.h"
#include "onpu_recovery.h"
#include "onpu_vm.h"
#include "onpu_vram.h"

/* Flags of struct ttm_place that TTM hands through. */
/* Only objects that no job uses are evicted. */
#define PLACE_IDLE_ONLY		BIT(29)
/* Nothing is evicted for this place. */
#define PLACE_NO_EVICT		BIT(30)
/* ONPU_PLACE_ROOM is BIT(31) */

/* What is made free at once for page tables. */
#define MAKE_ROOM_BYTES		SZ_64K

/* --- looking for room ------------------------------------------------------ */

/**
 * onpu_room_begin() - begin to look for room for buffer objects
 * @room: to initialise
 * @odev: card
 *
 * The caller holds no reservation.
 *
 * Return: 0 or -EINTR.
 */
int onpu_room_begin(struct onpu_room *room, struct onpu_device *odev)
{
	room->odev = odev;
	room->exclusive = false;

	return down_read_interruptible(&odev->room);
}

/**
 * onpu_room_retry() - whether to look again
 * @room: search, which failed; the caller holds no reservation any more
 * @error: what it returned
 *
 * Return: true after -ENOMEM that could have been somebody else's locks.
 */
bool onpu_room_retry(struct onpu_room *room, int error)
{
	if (error != -ENOMEM || room->exclusive)
		return false;

	up_read(&room->odev->room);
	/* Memory of dead address spaces and objects may be on its way. */
	onpu_flush_teardown();
	flush_workqueue(room->odev->ttm.wq);
	room->exclusive = true;
	down_write(&room->odev->room);

	return true;
}

/**
 * onpu_room_end() - end to look for room
 * @room: search
 */
void onpu_room_end(struct onpu_room *room)
{
	if (room->exclusive)
		up_write(&room->odev->room);
	else
		up_read(&room->odev->room);
}

/**
 * onpu_room_make() - evict something, for memory that is no buffer object
 * @odev: card
 *
 * Reservations may be held. What became free may be gone again when it returns.
 *
 * Return: 0 or a negative error.
 */
int onpu_room_make(struct onpu_device *odev)
{
	struct onpu_bo *bo = onpu_bo_create_kernel(odev, MAKE_ROOM_BYTES, 0);

	if (IS_ERR(bo))
		return PTR_ERR(bo);

	onpu_bo_destroy_kernel(bo);
	return 0;
}

/* --- placements ------------------------------------------------------------ */

static struct ttm_place *add_place(struct onpu_placement *p, u32 mem_type, u32 flags)
{
	struct ttm_place *place = &p->places[p->base.num_placement++];

	*place = (struct ttm_place) { .mem_type = mem_type, .flags = flags };
	p->base.placement = p->places;

	return place;
}

/* Card memory, evicting idle objects first; @visible: where the CPU reaches it. */
static void add_vram(struct onpu_placement *p, struct onpu_bo *bo, u32 flags, bool visible)
{
	struct onpu_device *odev = to_onpu_device(bo->ttm.base.dev);
	u32 lpfn = 0;

	if (onpu_bo_size(bo) > (visible ? onpu_vram_visible_size(odev) : onpu_vram_size(odev)))
		return;
	if (visible && odev->vram.size < odev->caps.vram_size)
		lpfn = PHYS_PFN(odev->vram.size);

	add_place(p, TTM_PL_VRAM, flags | PLACE_IDLE_ONLY)->lpfn = lpfn;
	if (!(flags & (TTM_PL_FLAG_DESIRED | PLACE_IDLE_ONLY)))
		add_place(p, TTM_PL_VRAM, flags)->lpfn = lpfn;
}

/**
 * onpu_placement_init() - where a buffer object should be
 * @p: to initialise; empty when there is no place large enough
 * @bo: object
 * @kernel: it is the driver's own
 */
void onpu_placement_init(struct onpu_placement *p, struct onpu_bo *bo, bool kernel)
{
	bool vram = bo->flags & DRM_ONPU_BO_VRAM, system = bo->flags & DRM_ONPU_BO_SYSTEM;
	bool visible = bo->flags & DRM_ONPU_BO_CPU_VISIBLE;

	*p = (struct onpu_placement) {};

	if (kernel)
		add_vram(p, bo, TTM_PL_FLAG_CONTIGUOUS, true);
	/* Better beyond the aperture than at the cost of jobs. */
	if (vram && visible)
		add_vram(p, bo, system ? TTM_PL_FLAG_DESIRED : PLACE_IDLE_ONLY, true);
	/* With a choice nothing is evicted. */
	if (vram)
		add_vram(p, bo, system ? TTM_PL_FLAG_DESIRED : 0, false);

	if (system)
		add_place(p, TTM_PL_TT,
			  PLACE_NO_EVICT | (p->base.num_placement ? TTM_PL_FLAG_FALLBACK : 0));
}

/* @others_only: not at the cost of objects that share the reservation. */
static int place_validate(struct onpu_bo *bo, struct onpu_placement *p, bool others_only)
{
	struct ttm_operation_ctx ctx = {
		.interruptible = true,
		.gfp_retry_mayfail = true,
		.resv = bo->ttm.base.resv,
		.allow_res_evict = !others_only,
	};

	if (!p->base.num_placement)
		return -ENOMEM;

	return ttm_bo_validate(&bo->ttm, &p->base, &ctx);
}

/**
 * onpu_place_validate() - have a buffer object where the card can use it
 * @bo: object, with its reservation held
 *
 * Return: 0, -ENOMEM, -EINTR, or -EIO or -ENODEV when the card failed to copy.
 */
int onpu_place_validate(struct onpu_bo *bo)
{
	struct onpu_placement p;

	/* Memory from elsewhere and what others have pinned is where it is. */
	if (bo->ext || bo->ttm.pin_count)
		return 0;

	onpu_placement_init(&p, bo, false);
	return place_validate(bo, &p, true);
}

/**
 * onpu_place_validate_for_cpu() - have a buffer object where the CPU can use it
 * @bo: object, with its reservation held
 *
 * Return: as onpu_place_validate().
 */
int onpu_place_validate_for_cpu(struct onpu_bo *bo)
{
	const struct ttm_resource *res = bo->ttm.resource;
	struct onpu_placement p = {};

	if (bo->ext || bo->ttm.pin_count)
		return 0;
	if (res && res->mem_type == TTM_PL_TT)
		return 0;
	if (res && res->mem_type == TTM_PL_VRAM && onpu_vram_visible(res))
		return 0;

	/* It is likely to be touched again. */
	if (bo->flags & DRM_ONPU_BO_VRAM) {
		bo->flags |= DRM_ONPU_BO_CPU_VISIBLE;
		add_vram(&p, bo, PLACE_IDLE_ONLY, true);
	}
	add_place(&p, TTM_PL_TT, PLACE_NO_EVICT | TTM_PL_FLAG_FALLBACK);

	return place_validate(bo, &p, false);
}

/**
 * onpu_place_prefetch() - move a buffer object to where the card is fastest
 * @bo: object, with its reservation held
 *
 * At the cost of other address spaces first: those that share the reservation may
 * well have been prefetched just before.
 *
 * Return: as onpu_place_validate().
 */
int onpu_place_prefetch(struct onpu_bo *bo)
{
	struct onpu_placement p = {};
	int ret;

	if (!(bo->flags & DRM_ONPU_BO_VRAM) || bo->ext || bo->ttm.pin_count)
		return onpu_place_validate(bo);

	add_vram(&p, bo, PLACE_IDLE_ONLY, bo->flags & DRM_ONPU_BO_CPU_VISIBLE);
	ret = place_validate(bo, &p, true);
	if (ret != -ENOMEM)
		return ret;

	p = (struct onpu_placement) {};
	if (bo->flags & DRM_ONPU_BO_CPU_VISIBLE)
		add_vram(&p, bo, PLACE_IDLE_ONLY, true);
	add_vram(&p, bo, 0, false);
	/* Of long-running address spaces nobody knows whether they are idle. */
	ret = place_validate(bo, &p, true);
	if (ret != -ENOMEM)
		return ret;
	return place_validate(bo, &p, false);
}

/**
 * onpu_place_evict() - move a buffer object out of card memory
 * @bo: object, with its reservation held
 *
 * Return: as onpu_place_validate().
 */
int onpu_place_evict(struct onpu_bo *bo)
{
	struct onpu_placement p = {};

	if (!bo->ttm.resource || bo->ttm.resource->mem_type != TTM_PL_VRAM || bo->ttm.pin_count)
		return 0;

	add_place(&p, TTM_PL_TT, PLACE_NO_EVICT);
	return place_validate(bo, &p, false);
}

/**
 * onpu_place_is_usable() - whether the card may use a buffer object where it is
 * @bo: object, with its reservation held
 *
 * Return: false when it has to be validated first.
 */
bool onpu_place_is_usable(const struct onpu_bo *bo)
{
	if (!bo->ttm.resource)
		return false;

	switch (bo->ttm.resource->mem_type) {
	case TTM_PL_VRAM:
		return true;
	case TTM_PL_TT:
		/* Also what another device has pinned there. */
		return bo->flags & DRM_ONPU_BO_SYSTEM || bo->ttm.pin_count;
	default:
		return false;
	}
}

/* --- eviction -------------------------------------------------------------- */

/* TTM has objects of its own, for memory that a move leaves behind. */
static bool is_onpu_bo(const struct ttm_buffer_object *tbo)
{
	return tbo->destroy == onpu_bo_destroy;
}

/**
 * onpu_place_eviction_valuable() - whether to evict or swap out a buffer object
 * @tbo: object
 * @place: where room is needed, NULL for anywhere (the limit of a cgroup was lowered)
 *
 * Return: true to do it.
 */
bool onpu_place_eviction_valuable(struct ttm_buffer_object *tbo, const struct ttm_place *place)
{
	bool vram = tbo->resource->mem_type == TTM_PL_VRAM;
	u32 flags = place ? place->flags : 0;

	if (flags & PLACE_NO_EVICT)
		return false;
	if (tbo->type == ttm_bo_type_sg && !tbo->deleted)
		return false;

	/* To swap out is never urgent. */
	if (!vram || flags & PLACE_IDLE_ONLY) {
		if (!dma_resv_test_signaled(tbo->base.resv, DMA_RESV_USAGE_BOOKKEEP))
			return false;
		if (is_onpu_bo(tbo) && atomic_read(&ttm_to_onpu_bo(tbo)->unsynced))
			return false;
	}

	return ttm_bo_eviction_valuable(tbo, place);
}

/**
 * onpu_place_evict_flags() - where to evict a buffer object to
 * @tbo: object
 * @placement: to fill in
 */
void onpu_place_evict_flags(struct ttm_buffer_object *tbo, struct ttm_placement *placement)
{
	static const struct ttm_place system = { .mem_type = TTM_PL_SYSTEM };
	static const struct ttm_place tt = {
		.mem_type = TTM_PL_TT,
		.flags = PLACE_NO_EVICT | ONPU_PLACE_ROOM,
	};
	bool keep = is_onpu_bo(tbo) && !ttm_to_onpu_bo(tbo)->purgeable;

	placement->num_placement = 1;
	placement->placement = keep && tbo->resource->mem_type == TTM_PL_VRAM ? &tt : &system;
}

/* --- moves ----------------------------------------------------------------- */

/* Waits until no job and no copy uses the object. */
static int move_wait_idle(struct onpu_bo *bo, struct ttm_operation_ctx *ctx)
{
	struct onpu_device *odev = to_onpu_device(bo->ttm.base.dev);
	struct dma_resv *resv = bo->ttm.base.resv;
	long ret;

	if (dma_resv_test_signaled(resv, DMA_RESV_USAGE_BOOKKEEP))
		return 0;
	if (ctx->no_wait_gpu)
		return -EBUSY;

	/* A job may wait for somebody else's fence, an unplug must not. */
	do {
		if (onpu_recovery_is_gone(odev))
			return -ENODEV;
		ret = dma_resv_wait_timeout(resv, DMA_RESV_USAGE_BOOKKEEP, ctx->interruptible,
					    HZ / 2);
	} while (!ret);

	return ret < 0 ? ret : 0;
}

/*
 * Ends all use of the object where it is. Unmapping that somebody has begun (see
 * bind_remove_vma()) takes effect first; it needs no reservation for that.
 */
static int move_begin(struct onpu_bo *bo, struct ttm_operation_ctx *ctx)
{
	int ret;

	ret = move_wait_idle(bo, ctx);
	if (ret)
		return ret;

	if (atomic_read(&bo->unsynced)) {
		if (ctx->no_wait_gpu)
			return -EBUSY;
		wait_var_event(&bo->unsynced, !atomic_read(&bo->unsynced));
	}
	onpu_prime_move_notify(bo);
	onpu_vm_zap_bo(&bo->ttm.base);

	return 0;
}

static u32 move_region(u32 mem_type)
{
	switch (mem_type) {
	case TTM_PL_VRAM:
		return DRM_ONPU_REGION_VRAM;
	case TTM_PL_TT:
		return DRM_ONPU_REGION_SYSTEM;
	default:
		return DRM_ONPU_REGION_NONE;
	}
}

/* The first memory of an object, or the first after its content was given up. */
static int move_fresh(struct onpu_bo *bo, struct ttm_resource *new_mem)
{
	struct onpu_device *odev = to_onpu_device(bo->ttm.base.dev);
	struct dma_fence *fence = NULL;

	/* Kernel objects are cleared by whoever creates them, pages by TTM. */
	if (new_mem->mem_type == TTM_PL_VRAM && bo->ttm.type != ttm_bo_type_kernel) {
		fence = onpu_migrate_clear(odev, new_mem);
		if (IS_ERR(fence))
			return PTR_ERR(fence);
	}

	ttm_bo_move_null(&bo->ttm, new_mem);
	if (fence) {
		dma_resv_add_fence(bo->ttm.base.resv, fence, DMA_RESV_USAGE_KERNEL);
		dma_fence_put(fence);
	}

	return 0;
}

/* Gives up the content. */
static int move_purge(struct onpu_bo *bo, struct ttm_operation_ctx *ctx,
		      struct ttm_resource *new_mem)
{
	int ret = move_begin(bo, ctx);

	if (ret)
		return ret;

	ttm_tt_mark_for_clear(bo->ttm.ttm);
	ttm_bo_move_null(&bo->ttm, new_mem);
	WRITE_ONCE(bo->purged, true);

	return 0;
}

/**
 * onpu_place_purge() - give up the content of a buffer object in system memory
 * @bo: object, with its reservation held, perhaps not purgeable any more
 *
 * Does not wait for jobs.
 *
 * Return: 0, or -EBUSY when it cannot be, now.
 */
int onpu_place_purge(struct onpu_bo *bo)
{
	struct ttm_operation_ctx ctx = { .no_wait_gpu = true };
	struct ttm_placement nowhere = {};

	dma_resv_assert_held(bo->ttm.base.resv);

	if (!bo->purgeable || bo->ttm.base.dma_buf || bo->ttm.pin_count || !bo->ttm.resource ||
	    bo->ttm.resource->mem_type != TTM_PL_TT)
		return -EBUSY;
	if (move_begin(bo, &ctx))
		return -EBUSY;

	ttm_bo_unmap_virtual(&bo->ttm);
	if (ttm_bo_validate(&bo->ttm, &nowhere, &ctx))
		return -EBUSY;
	WRITE_ONCE(bo->purged, true);
	WRITE_ONCE(bo->region, DRM_ONPU_REGION_NONE);

	return 0;
}

/* Between TTM_PL_TT and TTM_PL_SYSTEM: the pages stay, or TTM sees to them. */
static int move_swap(struct onpu_bo *bo, struct ttm_operation_ctx *ctx,
		     struct ttm_resource *new_mem)
{
	bool out = new_mem->mem_type == TTM_PL_SYSTEM;
	int ret;

	if (out) {
		ret = move_begin(bo, ctx);
		if (ret)
			return ret;
	}

	onpu_bo_account_swap(bo, out);
	ttm_bo_move_null(&bo->ttm, new_mem);
	return 0;
}

static int move_copy(struct onpu_bo *bo, bool evict, struct ttm_operation_ctx *ctx,
		     struct ttm_resource *new_mem)
{
	struct ttm_resource *old_mem = bo->ttm.resource;
	struct onpu_device *odev = to_onpu_device(bo->ttm.base.dev);
	struct dma_fence *fence;
	int ret;

	ret = move_begin(bo, ctx);
	if (ret)
		return ret;

	fence = onpu_migrate_copy(odev, new_mem, old_mem, bo->ttm.ttm);
	if (IS_ERR(fence))
		return PTR_ERR(fence);

	if (evict || old_mem->mem_type == TTM_PL_VRAM) {
		dma_fence_wait(fence, false);
		ret = dma_fence_get_status(fence);
		ret = min(ret, 0);
		if (!ret)
			ttm_bo_move_sync_cleanup(&bo->ttm, new_mem);
	} else {
		ret = ttm_bo_move_accel_cleanup(&bo->ttm, fence, false, true, new_mem);
		if (ret)
			dma_fence_wait(fence, false);
	}
	dma_fence_put(fence);

	return ret;
}

static bool has_content(const struct ttm_buffer_object *tbo)
{
	if (!tbo->resource)
		return false;
	if (tbo->resource->mem_type != TTM_PL_SYSTEM)
		return true;
	return tbo->ttm && (ttm_tt_is_populated(tbo->ttm) ||
			    tbo->ttm->page_flags & TTM_TT_FLAG_SWAPPED) &&
	       ttm_to_onpu_bo(tbo)->swapped;
}

/**
 * onpu_place_move() - move a buffer object
 * @tbo: object
 * @evict: it has to go from where it is
 * @ctx: how to wait
 * @new_mem: where to
 * @hop: where to go first, when -EMULTIHOP is returned
 *
 * Return: 0 or a negative error; then the object is as it was.
 */
int onpu_place_move(struct ttm_buffer_object *tbo, bool evict, struct ttm_operation_ctx *ctx,
		    struct ttm_resource *new_mem, struct ttm_place *hop)
{
	u32 from = tbo->resource ? tbo->resource->mem_type : TTM_PL_SYSTEM;
	u32 to = new_mem->mem_type;
	struct onpu_bo *bo;
	int ret, idx;

	if (!is_onpu_bo(tbo))
		return -EBUSY;
	bo = ttm_to_onpu_bo(tbo);

	if (has_content(tbo) && bo->purgeable && to == TTM_PL_SYSTEM && from == TTM_PL_VRAM) {
		ret = move_purge(bo, ctx, new_mem);
	} else if (has_content(tbo) && from != to &&
		   (from == TTM_PL_SYSTEM || to == TTM_PL_SYSTEM)) {
		if (from == TTM_PL_VRAM || to == TTM_PL_VRAM) {
			*hop = (struct ttm_place) {
				.mem_type = TTM_PL_TT,
				.flags = PLACE_NO_EVICT,
			};
			return -EMULTIHOP;
		}
		ret = move_swap(bo, ctx, new_mem);
	} else if (!drm_dev_enter(tbo->base.dev, &idx)) {
		ret = -ENODEV;
	} else {
		ret = has_content(tbo) ? move_copy(bo, evict, ctx, new_mem) :
					 move_fresh(bo, new_mem);
		drm_dev_exit(idx);
	}
	if (!ret)
		WRITE_ONCE(bo->region, bo->swapped ? DRM_ONPU_REGION_SWAP : move_region(to));

	return ret;
}

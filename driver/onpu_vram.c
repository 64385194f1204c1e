// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Card memory
 *
 * A TTM resource manager over the buddy allocator. The CPU may reach only a part
 * of the card's memory, the aperture, from its beginning: what it must reach,
 * page tables, rings, and buffer objects that say so, is allocated there, all else
 * from the other end. The region that belongs to the firmware is allocated once
 * and never given back.
 *
 * The buddy allocator hands out naturally aligned powers of two, largest first,
 * which is what the 2 MiB pages of the card's MMU want. A buffer object keeps
 * its blocks also as a sorted array of runs, so that an offset is found by
 * bisection.
 *
 * Page tables take single pages straight from the allocator: a buffer object
 * for each would cost more memory than the table.
 *
 * Where the kernel has dmem cgroups, buffer objects in card memory are charged to the
 * cgroup that creates them or brings them back, by TTM; a cgroup at its limit evicts its
 * own. Rings are charged, too, page tables are not.
 *
 * Locking: &onpu_vram_mgr.lock protects the allocator and is innermost; it is
 * taken below reservations. Runs are constant while the resource lives.
 */

#include <linux/slab.h>

#include <drm/drm_managed.h>
#include <drm/ttm/ttm_bo.h>
#include <drm/ttm/ttm_placement.h>

#include "onpu_device.h"
#include "onpu_vram.h"

/**
 * struct onpu_vram_mgr - allocator of card memory
 */
struct onpu_vram_mgr {
	/** @base: TTM resource manager */
	struct ttm_resource_manager base;
	/** @odev: the card */
	struct onpu_device *odev;
	/** @lock: protects @buddy */
	struct mutex lock;
	/** @buddy: the allocator, over offsets in card memory */
	struct gpu_buddy buddy;
	/** @reserved: blocks of the firmware's region */
	struct list_head reserved;
	/** @size: bytes that can be allocated when nothing is */
	u64 size;
	/** @visible: bytes of them that the CPU reaches */
	u64 visible;
	/** @aperture: bytes from the beginning that the CPU reaches */
	u64 aperture;
};

/**
 * struct onpu_vram_run - a contiguous part of a resource
 */
struct onpu_vram_run {
	/** @offset: where it begins in the resource */
	u64 offset;
	/** @addr: where it begins in card memory */
	u64 addr;
};

/**
 * struct onpu_vram_resource - card memory of a buffer object
 */
struct onpu_vram_resource {
	/** @base: TTM resource */
	struct ttm_resource base;
	/** @blocks: blocks of the buddy allocator */
	struct list_head blocks;
	/** @runs: the same as sorted runs, adjacent blocks merged */
	struct onpu_vram_run *runs;
	/** @nr_runs: elements of @runs */
	unsigned int nr_runs;
	/** @visible: bytes that the CPU reaches */
	u64 visible;
};

static struct onpu_vram_mgr *to_vram_mgr(struct ttm_resource_manager *man)
{
	return container_of(man, struct onpu_vram_mgr, base);
}

static struct onpu_vram_resource *to_vram_resource(const struct ttm_resource *res)
{
	return container_of(res, struct onpu_vram_resource, base);
}

static int vram_build_runs(struct onpu_vram_mgr *mgr, struct onpu_vram_resource *vres)
{
	struct gpu_buddy_block *block;
	unsigned int n = 0;
	u64 offset = 0, end = ~0ull;

	list_for_each_entry(block, &vres->blocks, link)
		n++;

	vres->runs = kvmalloc_array(n, sizeof(*vres->runs), GFP_KERNEL);
	if (!vres->runs)
		return -ENOMEM;

	list_for_each_entry(block, &vres->blocks, link) {
		u64 addr = gpu_buddy_block_offset(block);
		u64 size = gpu_buddy_block_size(&mgr->buddy, block);

		if (addr < mgr->aperture)
			vres->visible += min(size, mgr->aperture - addr);
		if (addr != end)
			vres->runs[vres->nr_runs++] = (struct onpu_vram_run) {
				.offset = offset,
				.addr = addr,
			};
		offset += size;
		end = addr + size;
	}

	return 0;
}

static int vram_alloc_blocks(struct onpu_vram_mgr *mgr, struct onpu_vram_resource *vres,
			     const struct ttm_place *place)
{
	u64 start = (u64)place->fpfn << PAGE_SHIFT;
	u64 end = place->lpfn ? (u64)place->lpfn << PAGE_SHIFT : mgr->buddy.size;
	unsigned long flags = 0;
	int ret;

	if (place->flags & TTM_PL_FLAG_CONTIGUOUS)
		flags |= GPU_BUDDY_CONTIGUOUS_ALLOCATION;
	if (start || end < mgr->buddy.size)
		flags |= GPU_BUDDY_RANGE_ALLOCATION;
	else if (mgr->aperture < mgr->buddy.size)
		flags |= GPU_BUDDY_TOPDOWN_ALLOCATION;

	mutex_lock(&mgr->lock);
	ret = gpu_buddy_alloc_blocks(&mgr->buddy, start, end, vres->base.size,
				     mgr->buddy.chunk_size, &vres->blocks, flags);
	mutex_unlock(&mgr->lock);

	return ret;
}

static void vram_free_blocks(struct onpu_vram_mgr *mgr, struct list_head *blocks)
{
	mutex_lock(&mgr->lock);
	gpu_buddy_free_list(&mgr->buddy, blocks, 0);
	mutex_unlock(&mgr->lock);
}

static int vram_mgr_alloc(struct ttm_resource_manager *man, struct ttm_buffer_object *tbo,
			  const struct ttm_place *place, struct ttm_resource **res)
{
	struct onpu_vram_mgr *mgr = to_vram_mgr(man);
	struct onpu_vram_resource *vres;
	int ret;

	if (tbo->base.size > mgr->size)
		return -ENOSPC;

	vres = kzalloc(sizeof(*vres), GFP_KERNEL);
	if (!vres)
		return -ENOMEM;

	INIT_LIST_HEAD(&vres->blocks);
	ttm_resource_init(tbo, place, &vres->base);

	ret = vram_alloc_blocks(mgr, vres, place);
	if (ret)
		goto err_fini;

	ret = vram_build_runs(mgr, vres);
	if (ret)
		goto err_free;

	vres->base.start = vres->runs[0].addr >> PAGE_SHIFT;
	*res = &vres->base;
	return 0;

err_free:
	vram_free_blocks(mgr, &vres->blocks);
err_fini:
	ttm_resource_fini(man, &vres->base);
	kfree(vres);
	return ret;
}

static void vram_mgr_free(struct ttm_resource_manager *man, struct ttm_resource *res)
{
	struct onpu_vram_resource *vres = to_vram_resource(res);

	vram_free_blocks(to_vram_mgr(man), &vres->blocks);
	ttm_resource_fini(man, res);
	kvfree(vres->runs);
	kfree(vres);
}

static void vram_mgr_debug(struct ttm_resource_manager *man, struct drm_printer *p)
{
	struct onpu_vram_mgr *mgr = to_vram_mgr(man);

	mutex_lock(&mgr->lock);
	drm_buddy_print(&mgr->buddy, p);
	mutex_unlock(&mgr->lock);
}

/* Whether freeing a resource could help to allocate in a place. */
static bool vram_mgr_intersects(struct ttm_resource_manager *man, struct ttm_resource *res,
				const struct ttm_place *place, size_t size)
{
	struct onpu_vram_resource *vres = to_vram_resource(res);

	/* Places are the aperture, what is beyond, or all. */
	if (place->fpfn)
		return vres->visible < res->size;
	if (place->lpfn)
		return vres->visible;
	return true;
}

static bool vram_mgr_compatible(struct ttm_resource_manager *man, struct ttm_resource *res,
				const struct ttm_place *place, size_t size)
{
	struct onpu_vram_resource *vres = to_vram_resource(res);

	if (place->fpfn)
		return !vres->visible;
	if (place->lpfn)
		return vres->visible == res->size;
	return true;
}

static const struct ttm_resource_manager_func vram_mgr_func = {
	.alloc = vram_mgr_alloc,
	.free = vram_mgr_free,
	.intersects = vram_mgr_intersects,
	.compatible = vram_mgr_compatible,
	.debug = vram_mgr_debug,
};

/**
 * onpu_vram_extent() - find an offset of a resource in card memory
 * @res: resource of type TTM_PL_VRAM
 * @offset: offset in it, below its size
 * @len: set to the contiguous bytes from there on
 *
 * Return: offset in card memory.
 */
u64 onpu_vram_extent(const struct ttm_resource *res, u64 offset, u64 *len)
{
	const struct onpu_vram_resource *vres = to_vram_resource(res);
	unsigned int lo = 0, hi = vres->nr_runs;

	/* The last run that begins at or before the offset. */
	while (hi - lo > 1) {
		unsigned int mid = lo + (hi - lo) / 2;

		if (vres->runs[mid].offset <= offset)
			lo = mid;
		else
			hi = mid;
	}

	*len = (hi < vres->nr_runs ? vres->runs[hi].offset : res->size) - offset;
	return vres->runs[lo].addr + (offset - vres->runs[lo].offset);
}

/**
 * onpu_vram_visible() - whether the CPU reaches all of a resource
 * @res: resource of type TTM_PL_VRAM
 *
 * Return: true when it does.
 */
bool onpu_vram_visible(const struct ttm_resource *res)
{
	return to_vram_resource(res)->visible == res->size;
}

/**
 * onpu_vram_page_alloc() - allocate a page of card memory
 * @odev: card
 *
 * The CPU reaches it. It is not cleared.
 *
 * Return: the page, or NULL.
 */
struct gpu_buddy_block *onpu_vram_page_alloc(struct onpu_device *odev)
{
	struct onpu_vram_mgr *mgr = odev->vram_mgr;
	unsigned long flags = mgr->aperture < mgr->buddy.size ? GPU_BUDDY_RANGE_ALLOCATION : 0;
	struct gpu_buddy_block *page = NULL;
	LIST_HEAD(blocks);

	mutex_lock(&mgr->lock);
	if (!gpu_buddy_alloc_blocks(&mgr->buddy, 0, mgr->aperture, mgr->buddy.chunk_size,
				    mgr->buddy.chunk_size, &blocks, flags)) {
		page = list_first_entry(&blocks, typeof(*page), link);
		list_del_init(&page->link);
	}
	mutex_unlock(&mgr->lock);

	return page;
}

/**
 * onpu_vram_page_free() - free a page of card memory
 * @odev: card
 * @page: page, or NULL
 */
void onpu_vram_page_free(struct onpu_device *odev, struct gpu_buddy_block *page)
{
	struct onpu_vram_mgr *mgr = odev->vram_mgr;

	if (!page)
		return;

	mutex_lock(&mgr->lock);
	gpu_buddy_free_block(&mgr->buddy, page);
	mutex_unlock(&mgr->lock);
}

/**
 * onpu_vram_page_offset() - where a page is
 * @page: page
 *
 * Return: its offset in card memory.
 */
u64 onpu_vram_page_offset(const struct gpu_buddy_block *page)
{
	return gpu_buddy_block_offset(page);
}

/**
 * onpu_vram_clear() - fill card memory with zeros
 * @odev: card
 * @offset: offset in card memory, multiple of 8
 * @len: bytes, multiple of 8
 *
 * The caller is between drm_dev_enter() and drm_dev_exit().
 */
void onpu_vram_clear(struct onpu_device *odev, u64 offset, u64 len)
{
	u64 __iomem *p = odev->vram.map + offset;
	u64 __iomem *end = odev->vram.map + offset + len;

	/* Plain stores: string instructions are slow on emulated CPUs. */
	for (; p < end; p++)
		__raw_writeq(0, p);
}

/**
 * onpu_vram_size() - card memory that can be allocated
 * @odev: card
 *
 * Return: bytes.
 */
u64 onpu_vram_size(struct onpu_device *odev)
{
	return odev->vram_mgr->size;
}

/**
 * onpu_vram_visible_size() - card memory that can be allocated and the CPU reaches
 * @odev: card
 *
 * Return: bytes.
 */
u64 onpu_vram_visible_size(struct onpu_device *odev)
{
	return odev->vram_mgr->visible;
}

/**
 * onpu_vram_used() - card memory that is allocated
 * @odev: card
 *
 * Return: bytes, of buffer objects and page tables.
 */
u64 onpu_vram_used(struct onpu_device *odev)
{
	struct onpu_vram_mgr *mgr = odev->vram_mgr;
	u64 avail;

	mutex_lock(&mgr->lock);
	avail = mgr->buddy.avail;
	mutex_unlock(&mgr->lock);

	return mgr->size - avail;
}

static void vram_fini(struct drm_device *drm, void *arg)
{
	struct onpu_vram_mgr *mgr = arg;

	ttm_resource_manager_set_used(&mgr->base, false);
	ttm_resource_manager_cleanup(&mgr->base);
	ttm_set_driver_manager(&mgr->odev->ttm, TTM_PL_VRAM, NULL);

	vram_free_blocks(mgr, &mgr->reserved);
	drm_WARN_ON(drm, mgr->buddy.avail != mgr->buddy.size);
	gpu_buddy_fini(&mgr->buddy);
	mutex_destroy(&mgr->lock);
}

/* Takes the firmware's region out of what can be allocated. */
static int vram_reserve_firmware(struct onpu_vram_mgr *mgr)
{
	const struct onpu_caps *caps = &mgr->odev->caps;
	u64 end = caps->fw_offset + caps->fw_size;

	return gpu_buddy_alloc_blocks(&mgr->buddy, caps->fw_offset, end, caps->fw_size,
				      mgr->buddy.chunk_size, &mgr->reserved,
				      GPU_BUDDY_RANGE_ALLOCATION);
}

/* Last, so that nothing is evicted for a cgroup while the allocator goes. */
static int vram_init_cgroup(struct onpu_vram_mgr *mgr)
{
	static const struct dmem_cgroup_ops ops = {
		.reclaim = ttm_resource_manager_dmem_reclaim,
	};
	const struct dmem_cgroup_init init = {
		.size = mgr->size,
		.ops = &ops,
		.reclaim_priv = &mgr->base,
	};
	struct dmem_cgroup_region *region;

	region = drmm_cgroup_register_region(&mgr->odev->drm, "vram", &init);
	if (IS_ERR(region))
		return PTR_ERR(region);

	ttm_resource_manager_set_dmem_region(&mgr->base, region);
	return 0;
}

/**
 * onpu_vram_init() - set up the allocator of card memory
 * @odev: card; its TTM device is initialised
 *
 * Return: 0 or a negative error.
 */
int onpu_vram_init(struct onpu_device *odev)
{
	struct onpu_vram_mgr *mgr;
	int ret;

	mgr = drmm_kzalloc(&odev->drm, sizeof(*mgr), GFP_KERNEL);
	if (!mgr)
		return -ENOMEM;

	mgr->odev = odev;
	mgr->base.func = &vram_mgr_func;
	mutex_init(&mgr->lock);
	INIT_LIST_HEAD(&mgr->reserved);

	mgr->aperture = odev->vram.size;
	ret = gpu_buddy_init(&mgr->buddy, odev->caps.vram_size, SZ_4K);
	if (ret)
		return ret;

	ret = vram_reserve_firmware(mgr);
	if (ret) {
		gpu_buddy_fini(&mgr->buddy);
		return ret;
	}

	mgr->size = mgr->buddy.avail;
	/* The firmware's region is within the aperture. */
	mgr->visible = mgr->aperture - odev->caps.fw_size;
	ttm_resource_manager_init(&mgr->base, &odev->ttm, mgr->size);
	ttm_set_driver_manager(&odev->ttm, TTM_PL_VRAM, &mgr->base);
	ttm_resource_manager_set_used(&mgr->base, true);
	odev->vram_mgr = mgr;

	ret = drmm_add_action_or_reset(&odev->drm, vram_fini, mgr);
	if (ret)
		return ret;

	return vram_init_cgroup(mgr);
}

// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Pages of buffer objects
 *
 * What stands behind a buffer object in system memory: pages of TTM's pool, which
 * the driver maps for the card in one piece, so that an IOMMU can make one range
 * of addresses of them; or memory from elsewhere (onpu_ext.c), which comes mapped.
 * Either way &ttm_tt.dma_address has the address of each page while it is
 * populated.
 *
 * When the card goes, its DMA mappings have to. The pages stay until the object is
 * freed, for another device may have those of an exported object mapped.
 *
 * Memory is coherent and mapped for as long as it is there, perhaps by several
 * devices at once, so no mapping and unmapping synchronises anything.
 *
 * Locking: TTM calls with the reservation of the object held. &onpu_device.tts.lock
 * makes the end of a mapping one step for who frees pages and who takes the card
 * away; it is a leaf, and nothing is allocated under it.
 */

#include <linux/dma-mapping.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_prime.h>
#include <drm/ttm/ttm_bo.h>
#include <drm/ttm/ttm_device.h>
#include <drm/ttm/ttm_tt.h>

#include "onpu_bo.h"
#include "onpu_device.h"
#include "onpu_tt.h"

/**
 * struct onpu_tt - pages of a buffer object
 */
struct onpu_tt {
	/** @base: TTM part */
	struct ttm_tt base;
	/** @bo: the object */
	struct onpu_bo *bo;
	/** @sgt: the pages as mapped for the card, or NULL */
	struct sg_table *sgt;
	/** @link: in &onpu_device.tts.list while mapped */
	struct list_head link;
};

static struct onpu_tt *to_onpu_tt(struct ttm_tt *tt)
{
	return container_of(tt, struct onpu_tt, base);
}

static bool tt_is_external(const struct ttm_tt *tt)
{
	return tt->page_flags & TTM_TT_FLAG_EXTERNAL;
}

/**
 * onpu_tt_create() - prepare for pages
 * @tbo: buffer object
 * @page_flags: TTM_TT_FLAG_*
 *
 * Return: the pages, not populated, or NULL.
 */
struct ttm_tt *onpu_tt_create(struct ttm_buffer_object *tbo, u32 page_flags)
{
	struct onpu_tt *otm;
	int ret;

	otm = kzalloc(sizeof(*otm), GFP_KERNEL_ACCOUNT);
	if (!otm)
		return NULL;
	otm->bo = ttm_to_onpu_bo(tbo);
	INIT_LIST_HEAD(&otm->link);

	/* TTM's pool maps page by page where it is given room for addresses. */
	if (page_flags & TTM_TT_FLAG_EXTERNAL)
		ret = ttm_sg_tt_init(&otm->base, tbo, page_flags, ttm_cached);
	else
		ret = ttm_tt_init(&otm->base, tbo, page_flags, ttm_cached, 0);
	if (ret) {
		kfree(otm);
		return NULL;
	}

	return &otm->base;
}

/**
 * onpu_tt_destroy() - forget pages
 * @bdev: TTM device
 * @tt: pages, not populated
 */
void onpu_tt_destroy(struct ttm_device *bdev, struct ttm_tt *tt)
{
	struct onpu_tt *otm = to_onpu_tt(tt);

	ttm_tt_fini(tt);
	kfree(otm);
}

/* The address of each page of a mapped table. */
static int tt_fill_addresses(const struct sg_table *sgt, dma_addr_t *addr, unsigned long pages)
{
	struct scatterlist *sg;
	unsigned long n = 0;
	int i;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		dma_addr_t dma = sg_dma_address(sg);
		u64 len = sg_dma_len(sg);

		if (!PAGE_ALIGNED(dma | len))
			return -EINVAL;
		for (; len && n < pages; len -= PAGE_SIZE, dma += PAGE_SIZE)
			addr[n++] = dma;
	}

	return n == pages ? 0 : -EINVAL;
}

static struct onpu_device *tt_device(struct onpu_tt *otm)
{
	return to_onpu_device(otm->bo->ttm.base.dev);
}

static void tt_unmap(struct onpu_tt *otm)
{
	struct device *dev = otm->bo->ttm.base.dev->dev;

	kvfree(otm->base.dma_address);
	otm->base.dma_address = NULL;
	dma_unmap_sgtable(dev, otm->sgt, DMA_BIDIRECTIONAL, DMA_ATTR_SKIP_CPU_SYNC);
	sg_free_table(otm->sgt);
	kfree(otm->sgt);
	otm->sgt = NULL;
}

/* From here on onpu_tt_unplug() may unmap it. */
static int tt_enlist(struct onpu_tt *otm)
{
	struct onpu_device *odev = tt_device(otm);
	int ret = 0;

	mutex_lock(&odev->tts.lock);
	if (odev->tts.gone)
		ret = -ENODEV;
	else
		list_add(&otm->link, &odev->tts.list);
	mutex_unlock(&odev->tts.lock);

	return ret;
}

static int tt_map(struct onpu_tt *otm)
{
	struct drm_device *drm = otm->bo->ttm.base.dev;
	struct ttm_tt *tt = &otm->base;
	dma_addr_t *addr;
	int ret;

	addr = kvmalloc_array(tt->num_pages, sizeof(*addr), GFP_KERNEL);
	if (!addr)
		return -ENOMEM;

	otm->sgt = drm_prime_pages_to_sg(drm, tt->pages, tt->num_pages);
	if (IS_ERR(otm->sgt)) {
		ret = PTR_ERR(otm->sgt);
		goto err_addr;
	}

	ret = dma_map_sgtable(drm->dev, otm->sgt, DMA_BIDIRECTIONAL, DMA_ATTR_SKIP_CPU_SYNC);
	if (ret)
		goto err_sgt;

	tt->dma_address = addr;
	ret = tt_fill_addresses(otm->sgt, addr, tt->num_pages);
	if (!ret)
		ret = tt_enlist(otm);
	if (ret)
		tt_unmap(otm);
	return ret;

err_sgt:
	sg_free_table(otm->sgt);
	kfree(otm->sgt);
err_addr:
	otm->sgt = NULL;
	kvfree(addr);
	return ret;
}

/**
 * onpu_tt_populate() - get pages and map them for the card
 * @bdev: TTM device
 * @tt: pages
 * @ctx: how hard to try
 *
 * Return: 0 or a negative error.
 */
int onpu_tt_populate(struct ttm_device *bdev, struct ttm_tt *tt, struct ttm_operation_ctx *ctx)
{
	struct onpu_tt *otm = to_onpu_tt(tt);
	int ret;

	if (tt_is_external(tt))
		return tt_fill_addresses(tt->sg, tt->dma_address, tt->num_pages);

	ret = ttm_pool_alloc(&bdev->pool, tt, ctx);
	if (ret)
		return ret;

	ret = tt_map(otm);
	if (ret)
		ttm_pool_free(&bdev->pool, tt);
	return ret;
}

/**
 * onpu_tt_unpopulate() - unmap pages and give them back
 * @bdev: TTM device
 * @tt: pages, populated
 */
void onpu_tt_unpopulate(struct ttm_device *bdev, struct ttm_tt *tt)
{
	struct onpu_tt *otm = to_onpu_tt(tt);
	struct onpu_device *odev = tt_device(otm);

	if (tt_is_external(tt))
		return;

	mutex_lock(&odev->tts.lock);
	if (otm->sgt) {
		list_del_init(&otm->link);
		tt_unmap(otm);
	}
	mutex_unlock(&odev->tts.lock);
	ttm_pool_free(&bdev->pool, tt);
}

/**
 * onpu_tt_unplug() - unmap all pages
 * @odev: card; it does no DMA any more
 *
 * None are mapped for it from here on.
 */
void onpu_tt_unplug(struct onpu_device *odev)
{
	struct onpu_tt *otm, *next;

	mutex_lock(&odev->tts.lock);
	odev->tts.gone = true;
	list_for_each_entry_safe(otm, next, &odev->tts.list, link) {
		list_del_init(&otm->link);
		tt_unmap(otm);
	}
	mutex_unlock(&odev->tts.lock);
}

// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Pages of buffer objects
 *
 * What stands behind a buffer object in system memory: pages that the driver maps for
 * the card in one piece, so that an IOMMU can make one range of addresses of them; or
 * memory from elsewhere (onpu_ext.c), which comes mapped. Either way &ttm_tt.dma_address
 * has the address of each page while it is populated.
 *
 * The pages are the driver's own, in blocks as large as there are, and charged to the
 * memory cgroup of whoever created the object: its limit is met as -ENOMEM, nobody is
 * killed for it. What has content already is not refused: objects that are evicted from
 * card memory are not charged, since somebody else wants the room, and what comes back
 * from swap space is if possible. Where the card does not reach all memory the pages are
 * those of TTM's pool, which knows how to find them and charges nobody.
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
#include <linux/gfp.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_prime.h>
#include <drm/ttm/ttm_bo.h>
#include <drm/ttm/ttm_device.h>
#include <drm/ttm/ttm_placement.h>
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
	/** @odev: card */
	struct onpu_device *odev;
	/** @bo: the object; the pages may outlive it */
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
	otm->odev = to_onpu_device(tbo->base.dev);
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

static void tt_unmap(struct onpu_tt *otm)
{
	struct device *dev = otm->odev->drm.dev;

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
	struct onpu_device *odev = otm->odev;
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
	struct drm_device *drm = &otm->odev->drm;
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

/* --- pages --------------------------------------------------------------------------- */

/* The first page of a block knows its order. */
static void tt_free_blocks(struct ttm_tt *tt, unsigned long count)
{
	unsigned long i = 0;

	while (i < count) {
		struct page *page = tt->pages[i];
		unsigned int order = page_private(page);

		set_page_private(page, 0);
		__free_pages(page, order);
		memset(tt->pages + i, 0, sizeof(tt->pages[0]) << order);
		i += 1ul << order;
	}
}

/* A large block only where there is one: single pages are as good for the card. */
static struct page *tt_alloc_block(gfp_t gfp, unsigned int order)
{
	if (order)
		gfp |= __GFP_NOMEMALLOC | __GFP_NORETRY | __GFP_NOWARN;
	if (order > PAGE_ALLOC_COSTLY_ORDER)
		gfp &= ~__GFP_DIRECT_RECLAIM;

	return alloc_pages(gfp, order);
}

static int tt_alloc_blocks(struct ttm_tt *tt, gfp_t gfp)
{
	unsigned int order = get_order(SZ_2M);
	unsigned long i = 0, end;

	while (i < tt->num_pages) {
		struct page *page;

		order = min_t(unsigned int, order, __fls(tt->num_pages - i));
		page = tt_alloc_block(gfp, order);
		if (!page && !order) {
			tt_free_blocks(tt, i);
			return -ENOMEM;
		}
		if (!page) {
			order--;
			continue;
		}
		set_page_private(page, order);
		for (end = i + (1ul << order); i < end; i++)
			tt->pages[i] = page++;
	}

	return 0;
}

static int tt_alloc_pages(struct onpu_tt *otm, const struct ttm_operation_ctx *ctx)
{
	const struct ttm_resource *res = otm->bo->ttm.resource;
	struct ttm_tt *tt = &otm->base;
	gfp_t gfp = GFP_HIGHUSER;
	struct mem_cgroup *old;
	int ret = -ENOMEM;

	if (ctx->gfp_retry_mayfail)
		gfp |= __GFP_RETRY_MAYFAIL;
	if (tt->page_flags & TTM_TT_FLAG_ZERO_ALLOC)
		gfp |= __GFP_ZERO;

	if (!res || res->mem_type != TTM_PL_VRAM) {
		old = set_active_memcg(otm->bo->memcg);
		ret = tt_alloc_blocks(tt, gfp | __GFP_ACCOUNT | __GFP_RETRY_MAYFAIL);
		set_active_memcg(old);
		if (!(tt->page_flags & TTM_TT_FLAG_SWAPPED))
			return ret;
	}

	return ret ? tt_alloc_blocks(tt, gfp) : 0;
}

static void tt_free_pages(struct ttm_device *bdev, struct ttm_tt *tt)
{
	if (to_onpu_tt(tt)->odev->tts.from_pool)
		ttm_pool_free(&bdev->pool, tt);
	else
		tt_free_blocks(tt, tt->num_pages);
}

/* --- what TTM calls -------------------------------------------------------------------- */

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

	ret = otm->odev->tts.from_pool ? ttm_pool_alloc(&bdev->pool, tt, ctx) :
					 tt_alloc_pages(otm, ctx);
	if (ret)
		return ret;

	ret = tt_map(otm);
	if (ret)
		tt_free_pages(bdev, tt);
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
	struct onpu_device *odev = otm->odev;

	if (tt_is_external(tt))
		return;

	mutex_lock(&odev->tts.lock);
	if (otm->sgt) {
		list_del_init(&otm->link);
		tt_unmap(otm);
	}
	mutex_unlock(&odev->tts.lock);
	tt_free_pages(bdev, tt);
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

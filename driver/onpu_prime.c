// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Sharing by dma-buf
 *
 * Any buffer object that is not private to a VM, nor made of a process's memory,
 * can be exported. Other devices reach system memory only: mapping an attachment
 * moves the object there, and an importer that cannot follow moves keeps it there,
 * pinned, while it is attached. The card whose object it is goes on using it by
 * the same handle and the same addresses. There is no peer-to-peer DMA.
 *
 * An import of one's own dma-buf is the same object again. Anything else becomes
 * an object whose memory is the dma-buf's (onpu_ext.c), attached and mapped at once
 * and until it is freed: such an attachment is static, so the exporter does not
 * move what is imported.
 *
 * Both share the reservation of the dma-buf. Jobs leave fences in it that only keep
 * the memory (usage BOOKKEEP): synchronisation with other devices is by sync files,
 * which user space puts into the dma-buf and takes from it by ioctls of the dma-buf.
 *
 * Locking: dma-buf's convention, see Documentation/driver-api/dma-buf.rst: attach,
 * detach, mmap and release come without the reservation, everything else with it.
 */

#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/iosys-map.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_gem_ttm_helper.h>
#include <drm/drm_prime.h>
#include <drm/ttm/ttm_bo.h>
#include <drm/ttm/ttm_placement.h>
#include <drm/ttm/ttm_tt.h>

#include "onpu_bo.h"
#include "onpu_device.h"
#include "onpu_ext.h"
#include "onpu_prime.h"

ONPU_IMPORT_NS_DMA_BUF;

/* --- export ------------------------------------------------------------------- */

/* Where another device or a kernel mapping can reach it; with the reservation held. */
static int prime_move_to_system(struct onpu_bo *bo)
{
	struct ttm_operation_ctx ctx = {
		.interruptible = true,
		.gfp_retry_mayfail = true,
	};
	struct ttm_place place = { .mem_type = TTM_PL_TT };
	struct ttm_placement placement = {
		.num_placement = 1,
		.placement = &place,
	};

	dma_resv_assert_held(bo->ttm.base.resv);

	return ttm_bo_validate(&bo->ttm, &placement, &ctx);
}

/* The same for a card that may be gone, and then its memory is. */
static int prime_pin_bo(struct onpu_bo *bo)
{
	int ret, idx;

	if (!drm_dev_enter(bo->ttm.base.dev, &idx))
		return -ENODEV;

	ret = prime_move_to_system(bo);
	if (!ret)
		ttm_bo_pin(&bo->ttm);
	drm_dev_exit(idx);

	return ret;
}

static int prime_attach(struct dma_buf *dma_buf, struct dma_buf_attachment *attach)
{
	/* System memory, whatever the importer could do. */
	attach->peer2peer = false;

	return 0;
}

static int prime_pin(struct dma_buf_attachment *attach)
{
	return prime_pin_bo(to_onpu_bo(attach->dmabuf->priv));
}

static void prime_unpin(struct dma_buf_attachment *attach)
{
	ttm_bo_unpin(&to_onpu_bo(attach->dmabuf->priv)->ttm);
}

static struct sg_table *prime_map_pages(struct dma_buf_attachment *attach, struct onpu_bo *bo,
					enum dma_data_direction dir)
{
	struct ttm_tt *tt = bo->ttm.ttm;
	struct sg_table *sgt;
	int ret;

	sgt = drm_prime_pages_to_sg(bo->ttm.base.dev, tt->pages, tt->num_pages);
	if (IS_ERR(sgt))
		return sgt;

	ret = dma_map_sgtable(attach->dev, sgt, dir, DMA_ATTR_SKIP_CPU_SYNC);
	if (ret) {
		sg_free_table(sgt);
		kfree(sgt);
		return ERR_PTR(ret);
	}

	return sgt;
}

static struct sg_table *prime_map_dma_buf(struct dma_buf_attachment *attach,
					  enum dma_data_direction dir)
{
	struct onpu_bo *bo = to_onpu_bo(attach->dmabuf->priv);
	struct sg_table *sgt;
	int ret, idx;

	if (!drm_dev_enter(bo->ttm.base.dev, &idx))
		return ERR_PTR(-ENODEV);

	ret = prime_move_to_system(bo);
	sgt = ret ? ERR_PTR(ret) : prime_map_pages(attach, bo, dir);
	drm_dev_exit(idx);

	return sgt;
}

static void prime_unmap_dma_buf(struct dma_buf_attachment *attach, struct sg_table *sgt,
				enum dma_data_direction dir)
{
	dma_unmap_sgtable(attach->dev, sgt, dir, DMA_ATTR_SKIP_CPU_SYNC);
	sg_free_table(sgt);
	kfree(sgt);
}

static const struct dma_buf_ops prime_ops = {
	.attach = prime_attach,
	.pin = prime_pin,
	.unpin = prime_unpin,
	.map_dma_buf = prime_map_dma_buf,
	.unmap_dma_buf = prime_unmap_dma_buf,
	.release = drm_gem_dmabuf_release,
	.mmap = drm_gem_dmabuf_mmap,
	.vmap = drm_gem_dmabuf_vmap,
	.vunmap = drm_gem_dmabuf_vunmap,
};

/**
 * onpu_prime_export() - make a dma-buf of a buffer object
 * @obj: object
 * @flags: DRM_CLOEXEC, DRM_RDWR
 *
 * Return: the dma-buf, or an error: -EPERM for an object that is private or made
 * of a process's memory.
 */
struct dma_buf *onpu_prime_export(struct drm_gem_object *obj, int flags)
{
	struct dma_buf_export_info info = {
		.exp_name = KBUILD_MODNAME,
		.owner = THIS_MODULE,
		.ops = &prime_ops,
		.size = obj->size,
		.flags = flags,
		.priv = obj,
		.resv = obj->resv,
	};
	struct onpu_bo *bo = to_onpu_bo(obj);

	/* Imported dma-bufs never get here: the original is handed out again. */
	if (bo->resv_obj || bo->ext)
		return ERR_PTR(-EPERM);

	return drm_gem_dmabuf_export(obj->dev, &info);
}

/**
 * onpu_prime_move_notify() - tell importers that an object is about to move
 * @bo: object, with its reservation held
 */
void onpu_prime_move_notify(struct onpu_bo *bo)
{
	dma_resv_assert_held(bo->ttm.base.resv);

	if (bo->ttm.base.dma_buf && !bo->ext)
		dma_buf_invalidate_mappings(bo->ttm.base.dma_buf);
}

/**
 * onpu_prime_vmap() - map an object into the kernel
 * @obj: object, with its reservation held
 * @map: set to where
 *
 * It stays in system memory while it is mapped.
 *
 * Return: 0 or a negative error.
 */
int onpu_prime_vmap(struct drm_gem_object *obj, struct iosys_map *map)
{
	struct onpu_bo *bo = to_onpu_bo(obj);
	int ret;

	if (bo->ext)
		return -EOPNOTSUPP;

	ret = prime_pin_bo(bo);
	if (ret)
		return ret;

	ret = drm_gem_ttm_vmap(obj, map);
	if (ret)
		ttm_bo_unpin(&bo->ttm);
	return ret;
}

/**
 * onpu_prime_vunmap() - undo onpu_prime_vmap()
 * @obj: object, with its reservation held
 * @map: where it is mapped
 */
void onpu_prime_vunmap(struct drm_gem_object *obj, struct iosys_map *map)
{
	struct onpu_bo *bo = to_onpu_bo(obj);

	drm_gem_ttm_vunmap(obj, map);
	ttm_bo_unpin(&bo->ttm);
}

/* --- import ------------------------------------------------------------------- */

/**
 * struct onpu_import - an imported dma-buf
 */
struct onpu_import {
	/** @base: memory from elsewhere */
	struct onpu_ext base;
	/** @dma_buf: the dma-buf, with a reference: its reservation is the object's */
	struct dma_buf *dma_buf;
	/** @attach: the card's attachment, until the card is gone */
	struct dma_buf_attachment *attach;
};

static struct onpu_import *to_import(struct onpu_ext *ext)
{
	return container_of(ext, struct onpu_import, base);
}

static void import_unmap(struct onpu_ext *ext)
{
	struct onpu_import *import = to_import(ext);

	dma_buf_unmap_attachment_unlocked(import->attach, ext->sgt, DMA_BIDIRECTIONAL);
	dma_buf_detach(import->dma_buf, import->attach);
	import->attach = NULL;
	ext->sgt = NULL;
	if (ext->bo)
		ext->bo->ttm.base.import_attach = NULL;
}

static void import_release(struct onpu_ext *ext)
{
	struct onpu_import *import = to_import(ext);

	dma_buf_put(import->dma_buf);
	kfree(import);
}

/* The exporter's memory, by its rules. */
static int import_mmap(struct onpu_ext *ext, struct vm_area_struct *vma)
{
	return dma_buf_mmap(to_import(ext)->dma_buf, vma, vma->vm_pgoff);
}

static const struct onpu_ext_funcs import_funcs = {
	.unmap = import_unmap,
	.release = import_release,
	.mmap = import_mmap,
};

static int import_map(struct onpu_import *import, struct device *dev)
{
	struct dma_buf *dma_buf = import->dma_buf;
	struct sg_table *sgt;

	import->attach = dma_buf_attach(dma_buf, dev);
	if (IS_ERR(import->attach))
		return PTR_ERR(import->attach);

	sgt = dma_buf_map_attachment_unlocked(import->attach, DMA_BIDIRECTIONAL);
	if (IS_ERR(sgt)) {
		dma_buf_detach(dma_buf, import->attach);
		return PTR_ERR(sgt);
	}

	import->base.sgt = sgt;
	return 0;
}

static struct onpu_bo *import_foreign(struct onpu_device *odev, struct dma_buf *dma_buf)
{
	struct dma_buf_attachment *attach;
	struct onpu_import *import;
	struct onpu_bo *bo;
	int ret;

	if (!dma_buf->size || !PAGE_ALIGNED(dma_buf->size))
		return ERR_PTR(-EINVAL);

	import = kzalloc(sizeof(*import), GFP_KERNEL_ACCOUNT);
	if (!import)
		return ERR_PTR(-ENOMEM);

	import->base.funcs = &import_funcs;
	import->dma_buf = dma_buf;
	ret = import_map(import, odev->drm.dev);
	if (ret) {
		kfree(import);
		return ERR_PTR(ret);
	}

	get_dma_buf(dma_buf);
	attach = import->attach;
	bo = onpu_ext_create_bo(&import->base, odev, dma_buf->size, dma_buf->resv);
	/* Tells DRM that the object is imported, and from where. */
	if (!IS_ERR(bo)) {
		import->base.bo = bo;
		bo->ttm.base.import_attach = attach;
	}

	return bo;
}

/**
 * onpu_prime_import() - make a buffer object of a dma-buf
 * @drm: device, between drm_dev_enter() and drm_dev_exit()
 * @dma_buf: dma-buf
 *
 * Return: the object with one reference, or an error.
 */
struct drm_gem_object *onpu_prime_import(struct drm_device *drm, struct dma_buf *dma_buf)
{
	struct drm_gem_object *obj = dma_buf->priv;
	struct onpu_bo *bo;

	if (dma_buf->ops == &prime_ops && obj->dev == drm) {
		drm_gem_object_get(obj);
		return obj;
	}

	bo = import_foreign(to_onpu_device(drm), dma_buf);
	return IS_ERR(bo) ? ERR_CAST(bo) : &bo->ttm.base;
}

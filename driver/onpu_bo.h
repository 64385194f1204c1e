/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_BO_H__
#define __ONPU_BO_H__

#include <drm/drm_gem.h>
#include <drm/ttm/ttm_bo.h>

struct dma_resv;
struct drm_file;
struct drm_printer;
struct onpu_device;
struct onpu_ext;
struct onpu_file;
struct onpu_vm;

/**
 * struct onpu_bo - a buffer object
 */
struct onpu_bo {
	/** @ttm: TTM part, embeds the GEM object */
	struct ttm_buffer_object ttm;
	/**
	 * @flags: DRM_ONPU_BO_* of user buffer objects, 0 for the kernel's;
	 * DRM_ONPU_BO_CPU_VISIBLE may be added with the reservation held
	 */
	u32 flags;
	/** @region: enum drm_onpu_region; changes with the reservation held */
	u32 region;
	/** @purgeable: content may be given up; protected by the reservation */
	bool purgeable;
	/** @purge_link: in the list of purgeable objects (onpu_shrink.c) */
	struct list_head purge_link;
	/** @purged: content was given up; protected by the reservation */
	bool purged;
	/** @swapped: in TTM_PL_SYSTEM with content; protected by the reservation */
	bool swapped;
	/**
	 * @unsynced: mappings that are gone from address spaces, but perhaps not
	 * from the card's TLB yet
	 */
	atomic_t unsynced;
	/** @bulk_vm: VM whose objects move in the LRU list together, or NULL */
	struct onpu_vm *bulk_vm;
	/**
	 * @resv_obj: GEM object whose reservation this private buffer object
	 * shares, with a reference, or NULL
	 */
	struct drm_gem_object *resv_obj;
	/** @memcg: memory cgroup of the creator, with a reference, or NULL */
	struct mem_cgroup *memcg;
	/** @ext: memory from elsewhere that it stands for, or NULL */
	struct onpu_ext *ext;
	/**
	 * @kmap: CPU pointer of a kernel buffer object, else NULL. Valid
	 * between drm_dev_enter() and drm_dev_exit() only.
	 */
	void __iomem *kmap;
	/** @vram_offset: offset in card memory of a kernel buffer object */
	u64 vram_offset;
};

static inline struct onpu_bo *to_onpu_bo(const struct drm_gem_object *obj)
{
	return container_of(obj, struct onpu_bo, ttm.base);
}

static inline struct onpu_bo *ttm_to_onpu_bo(const struct ttm_buffer_object *tbo)
{
	return container_of(tbo, struct onpu_bo, ttm);
}

static inline u64 onpu_bo_size(const struct onpu_bo *bo)
{
	return bo->ttm.base.size;
}

int onpu_ttm_init(struct onpu_device *odev);
void onpu_ttm_unplug(struct onpu_device *odev);
u64 onpu_ttm_system_used(struct onpu_device *odev);
u64 onpu_ttm_system_resident(struct onpu_device *odev);
u64 onpu_bo_max_size(struct onpu_device *odev);
u32 onpu_bo_max_handles(void);

struct onpu_bo *onpu_bo_create(struct onpu_device *odev, u64 size, u32 flags,
			       struct onpu_vm *vm);
struct onpu_bo *onpu_bo_create_ext(struct onpu_device *odev, u64 size, struct onpu_ext *ext,
				   struct dma_resv *resv);
struct onpu_bo *onpu_bo_create_kernel(struct onpu_device *odev, u64 size, u32 flags);
void onpu_bo_destroy_kernel(struct onpu_bo *bo);
void onpu_bo_destroy(struct ttm_buffer_object *tbo);
void onpu_bo_account_swap(struct onpu_bo *bo, bool out);

u64 onpu_bo_extent(struct onpu_bo *bo, u64 offset, u64 *len, bool *host);

void onpu_bo_zap_maps(struct onpu_device *odev);
void onpu_bo_show_fdinfo(struct drm_printer *p, struct drm_file *file);

int onpu_ioctl_bo_create(struct drm_device *drm, void *data, struct drm_file *file);
int onpu_ioctl_bo_advise(struct drm_device *drm, void *data, struct drm_file *file);
int onpu_ioctl_bo_info(struct drm_device *drm, void *data, struct drm_file *file);
int onpu_ioctl_bo_mmap_offset(struct drm_device *drm, void *data, struct drm_file *file);

#endif /* __ONPU_BO_H__ */

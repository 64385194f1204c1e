/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Older kernels
 *
 * The driver is written against the newest kernel interfaces. This header, and
 * nothing else, emulates them where the kernel at hand is older; what it has is
 * found out by compile probes (compat/), because stable series move too.
 */

#ifndef __ONPU_COMPAT_H__
#define __ONPU_COMPAT_H__

#include <drm/drm_drv.h>
#include <drm/drm_gpuvm.h>
#include <drm/gpu_scheduler.h>
#include <drm/ttm/ttm_bo.h>
#include <drm/ttm/ttm_device.h>
#include <drm/ttm/ttm_resource.h>

#include "onpu_probes.h"

#if ONPU_HAVE_IMPORT_NS_TOKEN
#define ONPU_IMPORT_NS_DMA_BUF	MODULE_IMPORT_NS(DMA_BUF)
#else
#define ONPU_IMPORT_NS_DMA_BUF	MODULE_IMPORT_NS("DMA_BUF")
#endif

#if !ONPU_HAVE_DMA_BUF_INVALIDATE
#define dma_buf_invalidate_mappings	dma_buf_move_notify
#endif

#if ONPU_HAVE_GPU_BUDDY
#include <linux/gpu_buddy.h>
#include <drm/drm_buddy.h>
#else
#include <drm/drm_buddy.h>
#define gpu_buddy			drm_buddy
#define gpu_buddy_block			drm_buddy_block
#define gpu_buddy_init			drm_buddy_init
#define gpu_buddy_fini			drm_buddy_fini
#define gpu_buddy_alloc_blocks		drm_buddy_alloc_blocks
#define gpu_buddy_free_block		drm_buddy_free_block
#define gpu_buddy_free_list		drm_buddy_free_list
#define gpu_buddy_block_offset		drm_buddy_block_offset
#define gpu_buddy_block_size		drm_buddy_block_size
#define GPU_BUDDY_RANGE_ALLOCATION	DRM_BUDDY_RANGE_ALLOCATION
#define GPU_BUDDY_CONTIGUOUS_ALLOCATION	DRM_BUDDY_CONTIGUOUS_ALLOCATION
#define GPU_BUDDY_TOPDOWN_ALLOCATION	DRM_BUDDY_TOPDOWN_ALLOCATION
#endif

#if ONPU_HAVE_TTM_ALLOC_FLAGS
#include <drm/ttm/ttm_allocation.h>
#else
#define TTM_ALLOCATION_POOL_USE_DMA_ALLOC	BIT(8)
#define ttm_device_init(bdev, funcs, dev, mapping, vma_manager, flags) \
	ttm_device_init(bdev, funcs, dev, mapping, vma_manager, \
			(flags) & TTM_ALLOCATION_POOL_USE_DMA_ALLOC, false)
#endif

#if ONPU_HAVE_DMEM_RECLAIM || ONPU_HAVE_DMEM_REGION
#include <linux/cgroup_dmem.h>
#endif

#if !ONPU_HAVE_DMEM_RECLAIM
struct dmem_cgroup_region;
struct dmem_cgroup_pool_state;

struct dmem_cgroup_ops {
	int (*reclaim)(struct dmem_cgroup_pool_state *pool, u64 target_bytes, void *priv);
};

struct dmem_cgroup_init {
	u64 size;
	const struct dmem_cgroup_ops *ops;
	void *reclaim_priv;
};

#define ttm_resource_manager_dmem_reclaim	NULL

static inline struct dmem_cgroup_region *
onpu_compat_cgroup_register_region(struct drm_device *drm, const char *name,
				   const struct dmem_cgroup_init *init)
{
#if ONPU_HAVE_DMEM_REGION
	return drmm_cgroup_register_region(drm, name, init->size);
#else
	return NULL;
#endif
}

#define drmm_cgroup_register_region	onpu_compat_cgroup_register_region

static inline void ttm_resource_manager_set_dmem_region(struct ttm_resource_manager *man,
							struct dmem_cgroup_region *region)
{
#if ONPU_HAVE_DMEM_REGION
	man->cg = region;
#endif
}
#endif

#if !ONPU_HAVE_TTM_BO_FINI
#define ttm_bo_fini	ttm_bo_put
#endif

#if !ONPU_HAVE_GPUVM_MAP_REQ
struct drm_gpuvm_map_req {
	struct drm_gpuva_op_map map;
};

static inline int onpu_compat_gpuvm_sm_map(struct drm_gpuvm *gpuvm, void *priv,
					   const struct drm_gpuvm_map_req *req)
{
	return drm_gpuvm_sm_map(gpuvm, priv, req->map.va.addr, req->map.va.range,
				req->map.gem.obj, req->map.gem.offset);
}

#define drm_gpuvm_sm_map	onpu_compat_gpuvm_sm_map
#endif

#if !ONPU_HAVE_GPUVM_BO_OBTAIN_LOCKED
#define drm_gpuvm_bo_obtain_locked	drm_gpuvm_bo_obtain
#endif

/* Where it says nothing, it is. */
#if !ONPU_HAVE_WQ_PERCPU
#define WQ_PERCPU	0
#endif

#if !ONPU_HAVE_GEM_OBJECT_ACTIVE
#define DRM_GEM_OBJECT_ACTIVE	0
#endif

/* Gone where it is not needed any more. */
#if ONPU_HAVE_DRIVER_GEM_GPUVA
#define ONPU_DRIVER_GEM_GPUVA	DRIVER_GEM_GPUVA
#else
#define ONPU_DRIVER_GEM_GPUVA	0
#endif

#if !ONPU_HAVE_SCHED_INIT_ARGS
struct drm_sched_init_args {
	const struct drm_sched_backend_ops *ops;
	struct workqueue_struct *submit_wq;
	struct workqueue_struct *timeout_wq;
	u32 num_rqs;
	u32 credit_limit;
	unsigned int hang_limit;
	long timeout;
	atomic_t *score;
	const char *name;
	struct device *dev;
};

static inline int onpu_compat_sched_init(struct drm_gpu_scheduler *sched,
					 const struct drm_sched_init_args *args)
{
	return drm_sched_init(sched, args->ops, args->submit_wq, args->num_rqs,
			      args->credit_limit, args->hang_limit, args->timeout,
			      args->timeout_wq, args->score, args->name, args->dev);
}

#define drm_sched_init	onpu_compat_sched_init
#endif

#if !ONPU_HAVE_SCHED_JOB_CLIENT_ID
#define drm_sched_job_init(job, entity, credits, owner, client_id) \
	((void)(client_id), drm_sched_job_init(job, entity, credits, owner))
#endif

#endif /* __ONPU_COMPAT_H__ */

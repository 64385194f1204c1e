// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Buffer objects
 *
 * GEM objects over TTM in one of two places: card memory (TTM_PL_VRAM) or system
 * memory that the card reaches by DMA (TTM_PL_TT). Which one changes with time
 * (onpu_place.c). Memory is zero before anybody can see it.
 *
 * An object that is private to a VM shares the VM's reservation, so that a
 * submission locks and fences any number of them by one lock. It cannot be
 * exported.
 *
 * Kernel objects (rings, fence pages) are pinned, contiguous card memory with a
 * CPU pointer.
 *
 * Processes that have card memory mapped must not touch it while the function is
 * being reset: writes would be lost. So the reset zaps their mappings, and a fault
 * comes back until it is over.
 *
 * Locking: TTM's, that is the reservation of the object. Freeing waits (in TTM's
 * own work) for all fences of the reservation, so memory outlives the jobs that
 * were submitted while it was mapped. A fault keeps resets away, but must not wait
 * for one, because it holds mmap_lock; so nothing that keeps resets away may
 * access user memory.
 */

#include <linux/delay.h>
#include <linux/iosys-map.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_gem_ttm_helper.h>
#include <drm/drm_managed.h>
#include <drm/ttm/ttm_placement.h>
#include <drm/ttm/ttm_tt.h>

#include "onpu_bo.h"
#include "onpu_device.h"
#include "onpu_ext.h"
#include "onpu_lr.h"
#include "onpu_place.h"
#include "onpu_prime.h"
#include "onpu_recovery.h"
#include "onpu_shrink.h"
#include "onpu_tt.h"
#include "onpu_user.h"
#include "onpu_vm.h"
#include "onpu_vram.h"

#define BO_FLAGS	(DRM_ONPU_BO_VRAM | DRM_ONPU_BO_SYSTEM | DRM_ONPU_BO_CPU_VISIBLE)
#define BO_PLACES	(DRM_ONPU_BO_VRAM | DRM_ONPU_BO_SYSTEM)

static unsigned int max_file_bos = ONPU_MAX_FILE_BOS;
module_param(max_file_bos, uint, 0644);
MODULE_PARM_DESC(max_file_bos, "Buffer objects of an open file, at most and by default 65536");

static bool bo_in_vram(const struct onpu_bo *bo)
{
	return bo->ttm.resource && bo->ttm.resource->mem_type == TTM_PL_VRAM;
}

/* --- TTM device ------------------------------------------------------------ */

static int bo_io_mem_reserve(struct ttm_device *bdev, struct ttm_resource *mem)
{
	struct onpu_device *odev = container_of(bdev, struct onpu_device, ttm);

	if (mem->mem_type != TTM_PL_VRAM)
		return 0;
	if (!onpu_vram_visible(mem))
		return -EINVAL;

	mem->bus.offset = odev->vram.base;
	mem->bus.is_iomem = true;
	mem->bus.caching = ttm_write_combined;
	return 0;
}

static unsigned long bo_io_mem_pfn(struct ttm_buffer_object *tbo, unsigned long page_offset)
{
	struct onpu_device *odev = container_of(tbo->bdev, struct onpu_device, ttm);
	u64 len;

	return PHYS_PFN(odev->vram.base +
			onpu_vram_extent(tbo->resource, (u64)page_offset << PAGE_SHIFT, &len));
}

/* For debuggers. */
static int bo_access_memory(struct ttm_buffer_object *tbo, unsigned long offset,
			    void *buf, int len, int write)
{
	struct onpu_device *odev = container_of(tbo->bdev, struct onpu_device, ttm);
	int done, idx, ret = len;

	if (!drm_dev_enter(&odev->drm, &idx))
		return -EIO;

	if (onpu_place_validate_for_cpu(ttm_to_onpu_bo(tbo)) ||
	    dma_resv_wait_timeout(tbo->base.resv, DMA_RESV_USAGE_KERNEL, true,
				  MAX_SCHEDULE_TIMEOUT) < 0 ||
	    tbo->resource->mem_type != TTM_PL_VRAM) {
		/* It went to system memory; the debugger may ask again. */
		ret = -EIO;
		goto out_exit;
	}

	onpu_recovery_touch(odev);
	for (done = 0; done < len;) {
		u64 run, addr = onpu_vram_extent(tbo->resource, offset + done, &run);
		int n = min_t(u64, run, len - done);

		if (write)
			memcpy_toio(odev->vram.map + addr, buf + done, n);
		else
			memcpy_fromio(buf + done, odev->vram.map + addr, n);
		done += n;
	}
	onpu_recovery_untouch(odev);

out_exit:
	drm_dev_exit(idx);
	return ret;
}

/*
 * An object that nobody has any more. Nothing is mapped of it, so that only jobs and
 * copies keep its memory; TTM has given it a reservation of its own.
 */
static void bo_release_notify(struct ttm_buffer_object *tbo)
{
	if (tbo->type == ttm_bo_type_sg || tbo->base.resv != &tbo->base._resv)
		return;
	if (WARN_ON(!dma_resv_trylock(tbo->base.resv)))
		return;
	onpu_lr_forget(tbo->base.resv);
	dma_resv_unlock(tbo->base.resv);
}

static struct ttm_device_funcs bo_ttm_funcs = {
	.ttm_tt_create = onpu_tt_create,
	.ttm_tt_destroy = onpu_tt_destroy,
	.ttm_tt_populate = onpu_tt_populate,
	.ttm_tt_unpopulate = onpu_tt_unpopulate,
	.eviction_valuable = onpu_place_eviction_valuable,
	.evict_flags = onpu_place_evict_flags,
	.move = onpu_place_move,
	.release_notify = bo_release_notify,
	.io_mem_reserve = bo_io_mem_reserve,
	.io_mem_pfn = bo_io_mem_pfn,
	.access_memory = bo_access_memory,
};

/* --- system memory: only accounted ------------------------------------------ */

/*
 * All cards together get half of the machine's memory. What is swapped out counts
 * too: there need not be swap space behind it.
 */
static atomic64_t tt_used;

static u64 tt_limit(void)
{
	struct sysinfo si;

	si_meminfo(&si);
	return round_down((u64)si.totalram * si.mem_unit / 2, PAGE_SIZE);
}

/* Memory from elsewhere is not the driver's, and on somebody else's account. */
static u64 tt_charge(const struct ttm_buffer_object *tbo)
{
	return tbo->type == ttm_bo_type_sg ? 0 : tbo->base.size;
}

static int tt_mgr_alloc(struct ttm_resource_manager *man, struct ttm_buffer_object *tbo,
			const struct ttm_place *place, struct ttm_resource **res)
{
	u64 size = tt_charge(tbo);
	struct ttm_resource *r;

	/* What comes back is on the account already. */
	if (atomic64_add_return(size, &tt_used) > man->size &&
	    !(place->flags & ONPU_PLACE_ROOM) && !ttm_to_onpu_bo(tbo)->swapped) {
		atomic64_sub(size, &tt_used);
		return -ENOSPC;
	}

	r = kzalloc(sizeof(*r), GFP_KERNEL);
	if (!r) {
		atomic64_sub(size, &tt_used);
		return -ENOMEM;
	}

	ttm_resource_init(tbo, place, r);
	atomic64_add(size, &container_of(man, struct onpu_device, tt_mgr)->tt_used);
	*res = r;
	return 0;
}

static void tt_mgr_free(struct ttm_resource_manager *man, struct ttm_resource *res)
{
	u64 size = tt_charge(res->bo);

	atomic64_sub(size, &tt_used);
	atomic64_sub(size, &container_of(man, struct onpu_device, tt_mgr)->tt_used);
	ttm_resource_fini(man, res);
	kfree(res);
}

static const struct ttm_resource_manager_func tt_mgr_func = {
	.alloc = tt_mgr_alloc,
	.free = tt_mgr_free,
};

/**
 * onpu_bo_account_swap() - keep swapped out memory on the account
 * @bo: object that is being swapped out, or comes back
 * @out: which of them
 */
void onpu_bo_account_swap(struct onpu_bo *bo, bool out)
{
	struct onpu_device *odev = to_onpu_device(bo->ttm.base.dev);
	s64 size = tt_charge(&bo->ttm);

	if (bo->swapped == out)
		return;

	bo->swapped = out;
	atomic64_add(out ? size : -size, &tt_used);
	atomic64_add(out ? size : -size, &odev->tt_used);
	atomic64_add(out ? size : -size, &odev->tt_swapped);
}

static void tt_mgr_init(struct onpu_device *odev)
{
	struct ttm_resource_manager *man = &odev->tt_mgr;

	man->use_tt = true;
	man->func = &tt_mgr_func;
	ttm_resource_manager_init(man, &odev->ttm, tt_limit());
	ttm_set_driver_manager(&odev->ttm, TTM_PL_TT, man);
	ttm_resource_manager_set_used(man, true);
}

static void tt_mgr_fini(struct onpu_device *odev)
{
	ttm_resource_manager_set_used(&odev->tt_mgr, false);
	ttm_resource_manager_cleanup(&odev->tt_mgr);
	ttm_set_driver_manager(&odev->ttm, TTM_PL_TT, NULL);
}

static void ttm_fini(struct drm_device *drm, void *arg)
{
	struct onpu_device *odev = to_onpu_device(drm);

	tt_mgr_fini(odev);
	ttm_device_fini(&odev->ttm);
}

/* Objects whose freeing waited for fences must be gone before the managers are. */
static void ttm_drain(struct drm_device *drm, void *arg)
{
	drain_workqueue(to_onpu_device(drm)->ttm.wq);
}

/**
 * onpu_ttm_init() - set up memory management
 * @odev: card; BARs are mapped and capabilities read
 *
 * Return: 0 or a negative error.
 */
int onpu_ttm_init(struct onpu_device *odev)
{
	struct drm_device *drm = &odev->drm;
	unsigned int flags = 0;
	int ret;

	/* Where addresses are too narrow: pages within reach, not bounce buffers. */
	odev->tts.from_pool = dma_addressing_limited(drm->dev);
	if (odev->tts.from_pool)
		flags |= TTM_ALLOCATION_POOL_USE_DMA_ALLOC;

	ret = ttm_device_init(&odev->ttm, &bo_ttm_funcs, drm->dev, drm->anon_inode->i_mapping,
			      drm->vma_offset_manager, flags);
	if (ret)
		return ret;

	tt_mgr_init(odev);
	ret = drmm_add_action_or_reset(drm, ttm_fini, NULL);
	if (ret)
		return ret;

	ret = onpu_vram_init(odev);
	if (ret)
		return ret;

	ret = onpu_shrink_init(odev);
	if (ret)
		return ret;

	return drmm_add_action_or_reset(drm, ttm_drain, NULL);
}

/**
 * onpu_ttm_unplug() - give back what belongs to the bus device
 * @odev: card; it does no DMA any more
 *
 * The DMA mappings of system memory must not outlive the binding. CPU mappings
 * fault to a dummy page by now. Not by ttm_device_clear_dma_mappings(), which goes round for
 * ever when it meets an object that is just being freed.
 */
void onpu_ttm_unplug(struct onpu_device *odev)
{
	onpu_ext_unplug(odev);
	onpu_tt_unplug(odev);
}

/**
 * onpu_ttm_system_used() - system memory of buffer objects
 * @odev: card
 *
 * Return: bytes.
 */
u64 onpu_ttm_system_used(struct onpu_device *odev)
{
	return atomic64_read(&odev->tt_used);
}

/**
 * onpu_ttm_system_resident() - system memory of buffer objects that is not swapped out
 * @odev: card
 *
 * Return: bytes.
 */
u64 onpu_ttm_system_resident(struct onpu_device *odev)
{
	s64 bytes = atomic64_read(&odev->tt_used) - atomic64_read(&odev->tt_swapped);

	return max(bytes, 0ll);
}

/**
 * onpu_bo_max_size() - size of the largest buffer object
 * @odev: card
 *
 * Return: bytes; larger ones have no chance in any place.
 */
u64 onpu_bo_max_size(struct onpu_device *odev)
{
	return max(onpu_vram_size(odev), odev->tt_mgr.size);
}

/* --- GEM -------------------------------------------------------------------- */

static void bo_gem_free(struct drm_gem_object *obj)
{
	ttm_bo_fini(&to_onpu_bo(obj)->ttm);
}

/* A private object moves in the LRU list together with its VM while it has a handle. */
static void bo_leave_bulk(struct onpu_bo *bo)
{
	struct onpu_vm *vm;

	dma_resv_lock(bo->ttm.base.resv, NULL);
	vm = bo->bulk_vm;
	bo->bulk_vm = NULL;
	ttm_bo_set_bulk_move(&bo->ttm, NULL);
	dma_resv_unlock(bo->ttm.base.resv);
	if (vm)
		onpu_vm_bulk_put(vm);
}

/**
 * onpu_bo_destroy() - TTM's last call for a buffer object
 * @tbo: object
 */
void onpu_bo_destroy(struct ttm_buffer_object *tbo)
{
	struct onpu_bo *bo = ttm_to_onpu_bo(tbo);

	onpu_shrink_set_purgeable(bo, false);
	onpu_bo_account_swap(bo, false);
	drm_gem_object_release(&tbo->base);
	if (bo->resv_obj)
		drm_gem_object_put(bo->resv_obj);
	/* With it, perhaps, the reservation. */
	if (bo->ext)
		onpu_ext_free(bo->ext);
	mem_cgroup_put(bo->memcg);
	kfree(bo);
}

static int bo_gem_mmap(struct drm_gem_object *obj, struct vm_area_struct *vma)
{
	struct onpu_ext *ext = to_onpu_bo(obj)->ext;
	int ret;

	if (!ext)
		return drm_gem_ttm_mmap(obj, vma);
	if (!ext->funcs->mmap)
		return -EPERM;

	/* What it becomes holds a reference of its own on the memory. */
	vm_flags_set(vma, VM_DONTEXPAND);
	vma->vm_pgoff -= drm_vma_node_start(&obj->vma_node);
	vma->vm_private_data = NULL;
	vma->vm_ops = NULL;
	ret = ext->funcs->mmap(ext, vma);
	if (!ret)
		drm_gem_object_put(obj);

	return ret;
}

static vm_fault_t bo_vm_fault_place(struct onpu_bo *bo)
{
	switch (onpu_place_validate_for_cpu(bo)) {
	case 0:
		return 0;
	case -EINTR:
	case -ERESTARTSYS:
	case -EBUSY:
	case -EAGAIN:
		return VM_FAULT_NOPAGE;
	case -ENOMEM:
		return VM_FAULT_OOM;
	default:
		return VM_FAULT_SIGBUS;
	}
}

static vm_fault_t bo_vm_fault_reserved(struct ttm_buffer_object *tbo, struct vm_fault *vmf)
{
	pgprot_t prot = vmf->vma->vm_page_prot;
	vm_fault_t ret;
	int idx;

	if (!drm_dev_enter(tbo->base.dev, &idx))
		return ttm_bo_vm_dummy_page(vmf, prot);

	ret = bo_vm_fault_place(ttm_to_onpu_bo(tbo));
	if (!ret)
		ret = ttm_bo_vm_fault_reserved(vmf, prot, TTM_BO_VM_NUM_PREFAULT);
	drm_dev_exit(idx);

	return ret;
}

static vm_fault_t bo_vm_fault(struct vm_fault *vmf)
{
	struct ttm_buffer_object *tbo = vmf->vma->vm_private_data;
	struct onpu_device *odev = to_onpu_device(tbo->base.dev);
	vm_fault_t ret;

	if (!onpu_recovery_try_block(odev)) {
		/* A reset: fault again, with mmap_lock dropped in between. */
		usleep_range(500, 1000);
		return VM_FAULT_NOPAGE;
	}

	ret = ttm_bo_vm_reserve(tbo, vmf);
	if (!ret) {
		ret = bo_vm_fault_reserved(tbo, vmf);
		/* Else TTM has dropped the reservation. */
		if (ret != VM_FAULT_RETRY || (vmf->flags & FAULT_FLAG_RETRY_NOWAIT))
			dma_resv_unlock(tbo->base.resv);
	}
	onpu_recovery_exit(odev);

	return ret;
}

static const struct vm_operations_struct bo_vm_ops = {
	.fault = bo_vm_fault,
	.open = ttm_bo_vm_open,
	.close = ttm_bo_vm_close,
	.access = ttm_bo_vm_access,
};

/**
 * onpu_bo_max_handles() - how many buffer objects a file may have handles of
 *
 * Return: number.
 */
u32 onpu_bo_max_handles(void)
{
	return min_t(u32, READ_ONCE(max_file_bos), ONPU_MAX_FILE_BOS);
}

/* For every new handle, by whatever way. */
static int bo_gem_open(struct drm_gem_object *obj, struct drm_file *file)
{
	struct onpu_file *ofile = file->driver_priv;

	if (atomic_inc_return(&ofile->bos) <= onpu_bo_max_handles())
		return 0;

	atomic_dec(&ofile->bos);
	return -ENOSPC;
}

static void bo_gem_close(struct drm_gem_object *obj, struct drm_file *file)
{
	struct onpu_file *ofile = file->driver_priv;

	atomic_dec(&ofile->bos);
	bo_leave_bulk(to_onpu_bo(obj));
}

static const struct drm_gem_object_funcs bo_gem_funcs = {
	.free = bo_gem_free,
	.open = bo_gem_open,
	.close = bo_gem_close,
	.export = onpu_prime_export,
	.mmap = bo_gem_mmap,
	.vmap = onpu_prime_vmap,
	.vunmap = onpu_prime_vunmap,
	.vm_ops = &bo_vm_ops,
};

/**
 * onpu_bo_zap_maps() - make processes fault when they next touch mapped memory
 * @odev: card
 */
void onpu_bo_zap_maps(struct onpu_device *odev)
{
	unmap_mapping_range(odev->drm.anon_inode->i_mapping, 0, 0, 1);
}

/*
 * An object that is not visible to anybody yet. Holds no lock afterwards. It is zero
 * when the fences of its reservation have signalled, the driver's own is not.
 */
static struct onpu_bo *bo_alloc(struct onpu_device *odev, u64 size, u32 flags,
				struct onpu_vm *vm, bool kernel)
{
	struct ttm_operation_ctx ctx = {
		.interruptible = true,
		.gfp_retry_mayfail = true,
		.allow_res_evict = vm,
	};
	struct onpu_placement placement;
	struct dma_resv *resv = NULL;
	struct onpu_bo *bo;
	int ret;

	bo = kzalloc(sizeof(*bo), GFP_KERNEL_ACCOUNT);
	if (!bo)
		return ERR_PTR(-ENOMEM);

	bo->flags = flags;
	bo->ttm.base.funcs = &bo_gem_funcs;
	drm_gem_private_object_init(&odev->drm, &bo->ttm.base, size);

	onpu_placement_init(&placement, bo, kernel);
	ret = placement.base.num_placement ? 0 : -ENOMEM;
	if (!ret && vm) {
		resv = onpu_vm_resv(vm);
		ret = dma_resv_lock_interruptible(resv, NULL);
	}
	if (ret) {
		drm_gem_object_release(&bo->ttm.base);
		kfree(bo);
		return ERR_PTR(ret);
	}
	if (vm) {
		ctx.resv = resv;
		bo->resv_obj = onpu_vm_resv_obj(vm);
		drm_gem_object_get(bo->resv_obj);
	}
	if (!kernel)
		bo->memcg = get_mem_cgroup_from_mm(current->mm);

	/* Frees the object when it fails. */
	ret = ttm_bo_init_reserved(&odev->ttm, &bo->ttm,
				   kernel ? ttm_bo_type_kernel : ttm_bo_type_device,
				   &placement.base, 0, &ctx, NULL, resv, onpu_bo_destroy);
	if (ret) {
		if (resv)
			dma_resv_unlock(resv);
		return ERR_PTR(ret);
	}

	if (kernel)
		ttm_bo_pin(&bo->ttm);
	if (vm) {
		bo->bulk_vm = vm;
		ttm_bo_set_bulk_move(&bo->ttm, onpu_vm_bulk_get(vm));
	}
	ttm_bo_unreserve(&bo->ttm);

	return bo;
}

/**
 * onpu_bo_create_ext() - create a buffer object of memory from elsewhere
 * @odev: card
 * @size: bytes, multiple of the page size
 * @ext: the memory, which the object takes over, also when this fails
 * @resv: reservation that guards the memory, or NULL for one of its own
 *
 * Return: the object with one reference, or an error.
 */
struct onpu_bo *onpu_bo_create_ext(struct onpu_device *odev, u64 size, struct onpu_ext *ext,
				   struct dma_resv *resv)
{
	struct ttm_operation_ctx ctx = { .interruptible = true };
	struct ttm_place place = { .mem_type = TTM_PL_TT };
	struct ttm_placement placement = { .num_placement = 1, .placement = &place };
	struct onpu_bo *bo;
	int ret;

	bo = kzalloc(sizeof(*bo), GFP_KERNEL_ACCOUNT);
	if (!bo) {
		onpu_ext_free(ext);
		return ERR_PTR(-ENOMEM);
	}

	bo->flags = DRM_ONPU_BO_SYSTEM;
	bo->ext = ext;
	bo->ttm.base.funcs = &bo_gem_funcs;
	drm_gem_private_object_init(&odev->drm, &bo->ttm.base, size);

	if (resv)
		dma_resv_lock(resv, NULL);
	/* Frees the object when it fails, with a worker that takes the lock. */
	ret = ttm_bo_init_reserved(&odev->ttm, &bo->ttm, ttm_bo_type_sg, &placement, 0, &ctx,
				   ext->sgt, resv, onpu_bo_destroy);
	if (resv)
		dma_resv_unlock(resv);
	else if (!ret)
		ttm_bo_unreserve(&bo->ttm);

	return ret ? ERR_PTR(ret) : bo;
}

/*
 * All objects together have room in the card's memory and what they may have of the
 * system's. So those that exist can always change places, whoever fills the rest.
 */
static bool bo_has_room(struct onpu_device *odev, u64 size)
{
	u64 used = atomic64_read(&tt_used) + onpu_vram_used(odev);

	return used + size <= onpu_vram_size(odev) + odev->tt_mgr.size;
}

/**
 * onpu_bo_create() - create a buffer object for user space
 * @odev: card, between drm_dev_enter() and drm_dev_exit()
 * @size: bytes, multiple of the page size, not 0
 * @flags: DRM_ONPU_BO_*, at least one place
 * @vm: address space that the object is private to, or NULL
 *
 * It is zero when its fences of usage KERNEL have signalled.
 *
 * Return: the object, with one reference, or an error: -ENOMEM when no place has
 * room, -EINTR.
 */
struct onpu_bo *onpu_bo_create(struct onpu_device *odev, u64 size, u32 flags,
			       struct onpu_vm *vm)
{
	struct onpu_room room;
	struct onpu_bo *bo;
	int ret;

	ret = onpu_room_begin(&room, odev);
	if (ret)
		return ERR_PTR(ret);

	do {
		bo = bo_has_room(odev, size) ? NULL : ERR_PTR(-ENOMEM);
		if (!bo)
			bo = bo_alloc(odev, size, flags, vm, false);
	} while (IS_ERR(bo) && onpu_room_retry(&room, PTR_ERR(bo)));
	onpu_room_end(&room);

	return bo;
}

/**
 * onpu_bo_create_kernel() - create a buffer object for the driver
 * @odev: card, between drm_dev_enter() and drm_dev_exit()
 * @size: bytes; rounded up to pages
 * @flags: 0
 *
 * Pinned contiguous card memory, zeroed, with &onpu_bo.kmap. The caller keeps
 * resets away, see onpu_recovery_block().
 *
 * Return: the object or an error.
 */
struct onpu_bo *onpu_bo_create_kernel(struct onpu_device *odev, u64 size, u32 flags)
{
	struct onpu_bo *bo;
	u64 len;

	if (WARN_ON(!size || flags))
		return ERR_PTR(-EINVAL);

	bo = bo_alloc(odev, PAGE_ALIGN(size), 0, NULL, true);
	if (IS_ERR(bo))
		return bo;

	bo->vram_offset = onpu_vram_extent(bo->ttm.resource, 0, &len);
	bo->kmap = odev->vram.map + bo->vram_offset;
	onpu_vram_clear(odev, bo->vram_offset, onpu_bo_size(bo));
	/* Zeros before the card is told of the memory. */
	wmb();

	return bo;
}

/**
 * onpu_bo_destroy_kernel() - destroy a buffer object of the driver
 * @bo: object, not mapped in any address space; NULL and errors are ignored
 */
void onpu_bo_destroy_kernel(struct onpu_bo *bo)
{
	if (IS_ERR_OR_NULL(bo))
		return;

	/*
	 * The caller may hold other reservations (onpu_room_make()). Nobody else holds that of
	 * an object that is pinned, but for a moment who saw it before it was, and waits for none.
	 */
	if (!dma_resv_trylock(bo->ttm.base.resv))
		dma_resv_lock(bo->ttm.base.resv, NULL);
	ttm_bo_unpin(&bo->ttm);
	dma_resv_unlock(bo->ttm.base.resv);
	drm_gem_object_put(&bo->ttm.base);
}

/**
 * onpu_bo_extent() - where a part of a buffer object is, as the card sees it
 * @bo: object
 * @offset: offset in it, page aligned, below its size
 * @len: in: bytes wanted, page aligned; out: how many of them are contiguous
 * @host: set to whether the address is a DMA address of the host
 *
 * Return: DMA address, or offset in card memory.
 */
u64 onpu_bo_extent(struct onpu_bo *bo, u64 offset, u64 *len, bool *host)
{
	const dma_addr_t *dma;
	u64 addr, run;

	*host = !bo_in_vram(bo);
	if (!*host) {
		addr = onpu_vram_extent(bo->ttm.resource, offset, &run);
		*len = min(*len, run);
		return addr;
	}

	dma = bo->ttm.ttm->dma_address + (offset >> PAGE_SHIFT);
	for (run = PAGE_SIZE; run < *len; run += PAGE_SIZE)
		if (dma[run >> PAGE_SHIFT] != dma[0] + run)
			break;
	*len = run;

	return dma[0];
}

/* --- fdinfo ------------------------------------------------------------------ */

struct bo_stats {
	struct drm_memory_stats vram;
	struct drm_memory_stats system;
};

/* Totals count where an object belongs, the rest where it is. */
static void bo_add_stats(struct bo_stats *stats, struct drm_gem_object *obj)
{
	struct onpu_bo *bo = to_onpu_bo(obj);
	struct drm_memory_stats *home = bo->flags & DRM_ONPU_BO_VRAM ? &stats->vram :
								      &stats->system;
	struct drm_memory_stats *now;

	if (drm_gem_object_is_shared_for_memory_stats(obj))
		home->shared += obj->size;
	else
		home->private += obj->size;

	switch (READ_ONCE(bo->region)) {
	case DRM_ONPU_REGION_VRAM:
		now = &stats->vram;
		break;
	case DRM_ONPU_REGION_SYSTEM:
		now = &stats->system;
		break;
	default:
		return;
	}
	now->resident += obj->size;
	if (!dma_resv_test_signaled(obj->resv, DMA_RESV_USAGE_BOOKKEEP))
		now->active += obj->size;
	else if (READ_ONCE(bo->purgeable))
		now->purgeable += obj->size;
}

/**
 * onpu_bo_show_fdinfo() - print the memory of a file
 * @p: printer
 * @file: file
 */
void onpu_bo_show_fdinfo(struct drm_printer *p, struct drm_file *file)
{
	const enum drm_gem_object_status all = DRM_GEM_OBJECT_RESIDENT |
					       DRM_GEM_OBJECT_ACTIVE |
					       DRM_GEM_OBJECT_PURGEABLE;
	struct bo_stats stats = {};
	struct drm_gem_object *obj;
	int id;

	spin_lock(&file->table_lock);
	idr_for_each_entry(&file->object_idr, obj, id)
		bo_add_stats(&stats, obj);
	spin_unlock(&file->table_lock);

	drm_print_memory_stats(p, &stats.vram, all, "vram");
	drm_print_memory_stats(p, &stats.system, all, "system");
}

/* --- ioctls ------------------------------------------------------------------ */

static int bo_publish(struct onpu_bo *bo, struct drm_file *file, struct drm_onpu_bo_create *args)
{
	int ret;

	args->size = onpu_bo_size(bo);
	ret = drm_gem_handle_create(file, &bo->ttm.base, &args->handle);
	if (ret)
		bo_leave_bulk(bo);
	drm_gem_object_put(&bo->ttm.base);

	return ret;
}

/**
 * onpu_ioctl_bo_create() - DRM_IOCTL_ONPU_BO_CREATE
 * @drm: device
 * @data: struct drm_onpu_bo_create
 * @file: caller
 *
 * Return: 0 or a negative error.
 */
int onpu_ioctl_bo_create(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct onpu_device *odev = to_onpu_device(drm);
	struct drm_onpu_bo_create *args = data;
	struct onpu_vm *vm = NULL;
	struct onpu_bo *bo;

	if (ONPU_BAD(drm, args->pad) || ONPU_BAD(drm, args->flags & ~BO_FLAGS) ||
	    ONPU_BAD(drm, !(args->flags & BO_PLACES)) || ONPU_BAD(drm, !args->size) ||
	    ONPU_BAD(drm, args->size > onpu_bo_max_size(odev)))
		return -EINVAL;

	if (args->vm_id) {
		vm = onpu_vm_lookup(file->driver_priv, args->vm_id);
		if (!vm)
			return -ENOENT;
	}

	bo = onpu_bo_create(odev, PAGE_ALIGN(args->size), args->flags, vm);
	if (vm)
		onpu_vm_put(vm);
	if (IS_ERR(bo))
		return PTR_ERR(bo);

	return bo_publish(bo, file, args);
}

/**
 * onpu_ioctl_bo_mmap_offset() - DRM_IOCTL_ONPU_BO_MMAP_OFFSET
 * @drm: device
 * @data: struct drm_onpu_bo_mmap_offset
 * @file: caller
 *
 * Return: 0 or a negative error.
 */
int onpu_ioctl_bo_mmap_offset(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_onpu_bo_mmap_offset *args = data;
	struct drm_gem_object *obj;

	if (ONPU_BAD(drm, args->flags))
		return -EINVAL;

	obj = drm_gem_object_lookup(file, args->handle);
	if (!obj)
		return -ENOENT;

	args->offset = drm_vma_node_offset_addr(&obj->vma_node);
	drm_gem_object_put(obj);

	return 0;
}

static int bo_advise_locked(struct onpu_bo *bo, struct drm_onpu_bo_advise *args)
{
	args->retained = !bo->purged;

	switch (args->advice) {
	case DRM_ONPU_ADVISE_PREFETCH:
		return onpu_place_prefetch(bo);
	case DRM_ONPU_ADVISE_EVICT:
		return onpu_place_evict(bo);
	case DRM_ONPU_ADVISE_PURGEABLE:
		/* Others count on what they share. */
		if (bo->ext || bo->ttm.base.dma_buf)
			return -EPERM;
		onpu_shrink_set_purgeable(bo, true);
		return 0;
	default:
		onpu_shrink_set_purgeable(bo, false);
		WRITE_ONCE(bo->purged, false);
		return 0;
	}
}

/**
 * onpu_ioctl_bo_advise() - DRM_IOCTL_ONPU_BO_ADVISE
 * @drm: device
 * @data: struct drm_onpu_bo_advise
 * @file: caller
 *
 * Return: 0 or a negative error.
 */
int onpu_ioctl_bo_advise(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_onpu_bo_advise *args = data;
	struct drm_gem_object *obj;
	struct onpu_room room;
	int ret;

	if (ONPU_BAD(drm, args->flags) || ONPU_BAD(drm, args->retained) ||
	    ONPU_BAD(drm, args->advice < DRM_ONPU_ADVISE_PREFETCH) ||
	    ONPU_BAD(drm, args->advice > DRM_ONPU_ADVISE_NEEDED))
		return -EINVAL;

	obj = drm_gem_object_lookup(file, args->handle);
	if (!obj)
		return -ENOENT;

	ret = onpu_room_begin(&room, to_onpu_device(drm));
	if (ret)
		goto out_put;
	do {
		ret = dma_resv_lock_interruptible(obj->resv, NULL);
		if (ret)
			break;
		ret = bo_advise_locked(to_onpu_bo(obj), args);
		dma_resv_unlock(obj->resv);
	} while (onpu_room_retry(&room, ret));
	onpu_room_end(&room);

out_put:
	drm_gem_object_put(obj);
	return ret;
}

/**
 * onpu_ioctl_bo_info() - DRM_IOCTL_ONPU_BO_INFO
 * @drm: device
 * @data: struct drm_onpu_bo_info
 * @file: caller
 *
 * Return: 0 or a negative error.
 */
int onpu_ioctl_bo_info(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_onpu_bo_info *args = data;
	struct drm_gem_object *obj;
	struct onpu_bo *bo;
	int ret;

	if (ONPU_BAD(drm, args->flags) || ONPU_BAD(drm, args->size) ||
	    ONPU_BAD(drm, args->region) || ONPU_BAD(drm, args->state))
		return -EINVAL;

	obj = drm_gem_object_lookup(file, args->handle);
	if (!obj)
		return -ENOENT;
	bo = to_onpu_bo(obj);

	ret = dma_resv_lock_interruptible(obj->resv, NULL);
	if (ret)
		goto out_put;
	args->flags = bo->flags;
	args->size = obj->size;
	args->region = bo->region;
	if (bo->purgeable)
		args->state |= DRM_ONPU_BO_STATE_PURGEABLE;
	if (bo->purged)
		args->state |= DRM_ONPU_BO_STATE_PURGED;
	dma_resv_unlock(obj->resv);

out_put:
	drm_gem_object_put(obj);
	return ret;
}

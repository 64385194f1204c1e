// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Address spaces, moves and submissions
 *
 * A buffer object that moves loses its page-table entries everywhere
 * (onpu_vm_zap_bo()) and becomes *evicted* in drm_gpuvm's sense: an evicted object
 * has no valid entries. The next submission to an address space has all its evicted
 * objects brought to where the card can use them, and maps them again; jobs wait for
 * the copies by fences.
 *
 * Locking: as in onpu_vm.c. The reservations of the VM and of all shared objects in it
 * are held from before anything is validated until the jobs are on their way, so
 * nothing that they use can move in between.
 */

#include <drm/drm_exec.h>
#include <drm/drm_gpuvm.h>
#include <drm/gpu_scheduler.h>
#include <drm/ttm/ttm_bo.h>

#include "onpu_bo.h"
#include "onpu_device.h"
#include "onpu_place.h"
#include "onpu_pt.h"
#include "onpu_recovery.h"
#include "onpu_vm.h"
#include "onpu_vm_types.h"

/* --- moves of buffer objects ------------------------------------------------------- */

/**
 * onpu_vm_bulk_get() - where the VM's private buffer objects are in the LRU list
 * @vm: address space
 *
 * Ends by onpu_vm_bulk_put().
 *
 * Return: what TTM takes.
 */
struct ttm_lru_bulk_move *onpu_vm_bulk_get(struct onpu_vm *vm)
{
	drm_gpuvm_get(&vm->base);
	return &vm->bulk;
}

/**
 * onpu_vm_bulk_put() - end of onpu_vm_bulk_get()
 * @vm: address space, which may be gone in all other respects
 */
void onpu_vm_bulk_put(struct onpu_vm *vm)
{
	drm_gpuvm_put(&vm->base);
}

static void vm_zap(struct drm_gpuvm_bo *vm_bo)
{
	struct onpu_vm *vm = to_onpu_vm(vm_bo->vm);
	struct onpu_pt_stock stock;
	struct drm_gpuva *va;

	/* Whole mappings need no split, hence no stock. */
	onpu_pt_stock_init(&stock);

	mutex_lock(&vm->pt_lock);
	onpu_recovery_touch(vm->odev);
	drm_gpuvm_bo_for_each_va(va, vm_bo)
		onpu_pt_unmap(&vm->pgt, &stock, va->va.addr, va->va.range);
	/* Whatever it returns, nothing translates through them any more. */
	onpu_pt_flush(&vm->pgt);
	onpu_recovery_untouch(vm->odev);
	onpu_pt_reap(&vm->pgt);
	mutex_unlock(&vm->pt_lock);
}

/**
 * onpu_vm_zap_bo() - take a buffer object away from the card
 * @obj: object, idle, with its reservation held
 *
 * When it returns, nothing translates to it. Address spaces get it back by the next
 * submission.
 */
void onpu_vm_zap_bo(struct drm_gem_object *obj)
{
	struct drm_gpuvm_bo *vm_bo;

	dma_resv_assert_held(obj->resv);

	drm_gem_for_each_gpuvm_bo(vm_bo, obj) {
		if (vm_bo->evicted)
			continue;
		drm_gpuvm_bo_evict(vm_bo, true);
		vm_zap(vm_bo);
	}
}

/* Maps what vm_zap() unmapped. */
static int vm_rebind(struct drm_gpuvm_bo *vm_bo)
{
	struct onpu_vm *vm = to_onpu_vm(vm_bo->vm);
	struct onpu_bo *bo = to_onpu_bo(vm_bo->obj);
	struct onpu_pt_stock stock;
	struct drm_gpuva *va;
	int ret = 0;

	onpu_pt_stock_init(&stock);
	drm_gpuvm_bo_for_each_va(va, vm_bo) {
		ret = onpu_vm_prepare_map(vm, &stock, bo, va->gem.offset, va->va.addr,
					  va->va.range);
		if (ret)
			break;
	}

	mutex_lock(&vm->pt_lock);
	onpu_recovery_touch(vm->odev);
	drm_gpuvm_bo_for_each_va(va, vm_bo) {
		if (!ret)
			onpu_pt_map(&vm->pgt, &stock, bo, va->gem.offset, va->va.addr,
				    va->va.range, to_onpu_vma(va)->bits);
		onpu_pt_release(&vm->pgt, va->va.addr, va->va.range);
	}
	/* Entries that were not valid need no sync, but tables that were made in vain do. */
	if (ret)
		onpu_pt_flush(&vm->pgt);
	onpu_recovery_untouch(vm->odev);
	if (ret)
		onpu_pt_reap(&vm->pgt);
	mutex_unlock(&vm->pt_lock);
	onpu_pt_stock_fini(vm->odev, &stock);
	if (!ret)
		drm_gpuvm_bo_evict(vm_bo, false);

	return ret;
}

/**
 * onpu_vm_bo_validate() - bring an evicted buffer object back
 * @vm_bo: link between the VM and the object
 * @exec: what is locked, both of them
 *
 * Return: 0 or a negative error.
 */
int onpu_vm_bo_validate(struct drm_gpuvm_bo *vm_bo, struct drm_exec *exec)
{
	int ret;

	ret = onpu_place_validate(to_onpu_bo(vm_bo->obj));
	if (!ret)
		ret = vm_rebind(vm_bo);
	/* The move may have used the place that was reserved. */
	if (!ret)
		ret = dma_resv_reserve_fences(vm_bo->obj->resv, 1);

	return ret;
}

/* --- submission ------------------------------------------------------------------ */

/* Before the set of locks counts as complete: eviction locks others, by the same ticket. */
static int vm_validate(struct drm_gpuvm_exec *exec)
{
	int ret;

	ret = drm_gpuvm_validate(exec->vm, &exec->exec);
	/* The move may have used the place that was reserved. */
	if (!ret)
		ret = dma_resv_reserve_fences(drm_gpuvm_resv(exec->vm), exec->num_fences);

	return ret;
}

static int vm_lock_and_validate(struct onpu_vm *vm, struct onpu_vm_exec *exec,
				unsigned int num_fences)
{
	exec->base = (struct drm_gpuvm_exec) {
		.vm = &vm->base,
		.flags = DRM_EXEC_INTERRUPTIBLE_WAIT | DRM_EXEC_IGNORE_DUPLICATES,
		.num_fences = num_fences,
		.extra.fn = vm_validate,
	};

	return drm_gpuvm_exec_lock(&exec->base);
}

/**
 * onpu_vm_lock_for_submit() - lock what a submission fences
 * @vm: address space
 * @exec: to initialise
 * @num_fences: fences that will be added, 1
 *
 * What is mapped is where the card can use it then, or on its way.
 *
 * Return: 0, -EINTR, -ENOMEM, or -EIO or -ENODEV when something cannot be copied;
 * on error nothing is locked.
 */
int onpu_vm_lock_for_submit(struct onpu_vm *vm, struct onpu_vm_exec *exec,
			    unsigned int num_fences)
{
	int ret;

	ret = onpu_room_begin(&exec->room, vm->odev);
	if (ret)
		return ret;

	do {
		ret = vm_lock_and_validate(vm, exec, num_fences);
	} while (ret && onpu_room_retry(&exec->room, ret));
	if (ret)
		onpu_room_end(&exec->room);

	return ret;
}

/**
 * onpu_vm_add_dependencies() - make a job wait for moves
 * @exec: locked by onpu_vm_lock_for_submit()
 * @job: first job
 *
 * Return: 0 or -ENOMEM.
 */
int onpu_vm_add_dependencies(struct onpu_vm_exec *exec, struct drm_sched_job *job)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < exec->base.exec.num_objects && !ret; i++)
		ret = drm_sched_job_add_resv_dependencies(job, exec->base.exec.objects[i]->resv,
							  DMA_RESV_USAGE_KERNEL);

	return ret;
}

/**
 * onpu_vm_wait_for_moves() - wait for what is under way to where the card uses it
 * @exec: locked by onpu_vm_lock_for_submit()
 *
 * Return: 0, or -ENODEV when the card goes meanwhile.
 */
int onpu_vm_wait_for_moves(struct onpu_vm_exec *exec)
{
	struct onpu_device *odev = to_onpu_vm(exec->base.vm)->odev;
	unsigned int i;

	for (i = 0; i < exec->base.exec.num_objects; i++) {
		while (!dma_resv_wait_timeout(exec->base.exec.objects[i]->resv,
					      DMA_RESV_USAGE_KERNEL, false, HZ / 2)) {
			if (onpu_recovery_is_gone(odev))
				return -ENODEV;
		}
	}

	return 0;
}

/* What is used now is evicted last. */
static void vm_move_to_lru_tail(struct onpu_vm_exec *exec)
{
	struct onpu_vm *vm = to_onpu_vm(exec->base.vm);
	struct drm_gem_object *vm_obj = drm_gpuvm_resv_obj(&vm->base);
	struct drm_exec *locked = &exec->base.exec;
	unsigned int i;

	spin_lock(&vm->odev->ttm.lru_lock);
	ttm_lru_bulk_move_tail(&vm->bulk);
	for (i = 0; i < locked->num_objects; i++)
		if (locked->objects[i] != vm_obj)
			ttm_bo_move_to_lru_tail(&to_onpu_bo(locked->objects[i])->ttm);
	spin_unlock(&vm->odev->ttm.lru_lock);
}

/**
 * onpu_vm_add_fence() - make memory outlive a job
 * @exec: locked by onpu_vm_lock_for_submit()
 * @fence: finished fence of the job
 */
void onpu_vm_add_fence(struct onpu_vm_exec *exec, struct dma_fence *fence)
{
	drm_gpuvm_exec_resv_add_fence(&exec->base, fence, DMA_RESV_USAGE_BOOKKEEP,
				      DMA_RESV_USAGE_BOOKKEEP);
	vm_move_to_lru_tail(exec);
}

/**
 * onpu_vm_unlock_submit() - unlock after a submission
 * @exec: locked by onpu_vm_lock_for_submit()
 */
void onpu_vm_unlock_submit(struct onpu_vm_exec *exec)
{
	drm_gpuvm_exec_unlock(&exec->base);
	onpu_room_end(&exec->room);
}

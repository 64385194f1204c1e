// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Address spaces
 *
 * A VM is a context of the card: an address-space id, page tables and what is
 * mapped where. The lower half belongs to user space and is tracked by
 * drm_gpuvm: VM_BIND (onpu_vm_bind.c) changes it, moves of buffer objects and
 * submissions (onpu_vm_exec.c) take it away from the card and bring it back. The
 * upper half (onpu_vm_kernel.c) holds the rings and fence pages of the VM's queues.
 * Here is what they have in common: the object, its life and its context.
 *
 * The file's id and each queue hold a reference. Mappings do not: with the last
 * reference, work on &onpu_wq removes them, tells the firmware and frees the
 * page tables. It is work because the last reference may be dropped where
 * nothing may sleep or where locks that it needs are held.
 *
 * Locking, outermost first:
 *
 *  - &onpu_recovery.block, for reading: no reset while card memory is written or
 *    a context is created or destroyed
 *  - &onpu_device.vms.lock: the list of VMs, and against the teardown of a VM's
 *    context while contexts are restored after a reset
 *  - &onpu_vm.lock: all changes of what is mapped where, that is the tree and the
 *    kernel half
 *  - reservations: of the VM and of the buffer objects that an update touches.
 *    They protect the lists of mappings of an object and where it is, and keep
 *    submissions out while the set of external objects changes
 *  - &onpu_vm.pt_lock: the page tables; held while the card's TLB is waited for
 *
 * The xarray of a file is only used for look-ups; its spinlock is a leaf.
 */

#include <linux/slab.h>

#include <drm/drm_gpuvm.h>
#include <drm/drm_mm.h>

#include "onpu_bo.h"
#include "onpu_device.h"
#include "onpu_lr.h"
#include "onpu_mbox.h"
#include "onpu_place.h"
#include "onpu_pt.h"
#include "onpu_quota.h"
#include "onpu_recovery.h"
#include "onpu_user.h"
#include "onpu_vm.h"
#include "onpu_vm_types.h"

/* --- references --------------------------------------------------------------- */

/**
 * onpu_vm_lookup() - find an address space
 * @ofile: open file
 * @id: id in that file
 *
 * Return: the VM with a reference, or NULL.
 */
struct onpu_vm *onpu_vm_lookup(struct onpu_file *ofile, u32 id)
{
	struct onpu_vm *vm;

	xa_lock(&ofile->vms);
	vm = xa_load(&ofile->vms, id);
	if (vm)
		kref_get(&vm->ref);
	xa_unlock(&ofile->vms);

	return vm;
}

/**
 * onpu_vm_get() - take a reference
 * @vm: address space
 *
 * Return: @vm.
 */
struct onpu_vm *onpu_vm_get(struct onpu_vm *vm)
{
	kref_get(&vm->ref);
	return vm;
}

static void vm_release(struct kref *ref)
{
	struct onpu_vm *vm = container_of(ref, struct onpu_vm, ref);

	queue_work(onpu_wq, &vm->destroy_work);
}

/**
 * onpu_vm_put() - drop a reference
 * @vm: address space
 *
 * From any context.
 */
void onpu_vm_put(struct onpu_vm *vm)
{
	kref_put(&vm->ref, vm_release);
}

/**
 * onpu_vm_asid() - address-space id on the card
 * @vm: address space
 *
 * Return: the ASID.
 */
u32 onpu_vm_asid(const struct onpu_vm *vm)
{
	return vm->pgt.asid;
}

/**
 * onpu_vm_lr() - what makes an address space long-running
 * @vm: address space
 *
 * Return: that, or NULL when it is not.
 */
struct onpu_lr *onpu_vm_lr(const struct onpu_vm *vm)
{
	return vm->lr;
}

/**
 * onpu_vm_resv() - reservation of an address space
 * @vm: address space
 *
 * Return: the reservation, shared by its private buffer objects.
 */
struct dma_resv *onpu_vm_resv(struct onpu_vm *vm)
{
	return drm_gpuvm_resv(&vm->base);
}

/**
 * onpu_vm_resv_obj() - GEM object that carries the reservation
 * @vm: address space
 *
 * Return: the object.
 */
struct drm_gem_object *onpu_vm_resv_obj(struct onpu_vm *vm)
{
	return drm_gpuvm_resv_obj(&vm->base);
}

/**
 * onpu_vm_note_fault() - remember a fault
 * @vm: address space
 * @va: address
 * @info: ONPU_FAULT_INFO
 * @queue: id of the queue in its file
 *
 * Does not sleep.
 */
void onpu_vm_note_fault(struct onpu_vm *vm, u64 va, u32 info, u32 queue)
{
	spin_lock(&vm->fault.lock);
	vm->fault.count++;
	vm->fault.va = va;
	vm->fault.info = info;
	vm->fault.queue = queue;
	spin_unlock(&vm->fault.lock);
}

/* --- teardown ------------------------------------------------------------------ */

static void vma_unlink(struct drm_gpuva *va)
{
	struct drm_gem_object *obj = va->gem.obj;

	if (!obj) {
		drm_gpuva_remove(va);
		kfree(to_onpu_vma(va));
		return;
	}

	/* Unlinking may drop the last reference but this one. */
	drm_gem_object_get(obj);
	dma_resv_lock(obj->resv, NULL);
	drm_gpuva_remove(va);
	drm_gpuva_unlink(va);
	dma_resv_unlock(obj->resv);
	drm_gem_object_put(obj);
	kfree(to_onpu_vma(va));
}

static void vm_destroy_context(struct onpu_vm *vm)
{
	struct onpu_device *odev = vm->odev;
	int idx;

	mutex_lock(&odev->vms.lock);
	list_del_init(&vm->link);
	if (drm_dev_enter(&odev->drm, &idx)) {
		/* When it cannot, the mailbox has taken the card down. */
		onpu_mbox_ctx_destroy(odev, vm->pgt.asid);
		drm_dev_exit(idx);
	}
	mutex_unlock(&odev->vms.lock);

	/* Before the id is used again or a table is. */
	mutex_lock(&vm->pt_lock);
	vm->pgt.dirty = true;
	onpu_pt_sync(&vm->pgt);
	mutex_unlock(&vm->pt_lock);
}

static void vm_destroy_work(struct work_struct *work)
{
	struct onpu_vm *vm = container_of(work, struct onpu_vm, destroy_work);
	struct onpu_device *odev = vm->odev;
	struct drm_gpuva *va, *next;

	onpu_lr_destroy(vm->lr);
	onpu_recovery_block(odev);
	vm_destroy_context(vm);

	mutex_lock(&vm->lock);
	drm_gpuvm_for_each_va_safe(va, next, &vm->base)
		vma_unlink(va);
	mutex_lock(&vm->pt_lock);
	onpu_pgtable_fini(&vm->pgt);
	mutex_unlock(&vm->pt_lock);
	drm_mm_takedown(&vm->kernel);
	mutex_unlock(&vm->lock);

	ida_free(&odev->vms.asids, vm->pgt.asid);
	onpu_quota_uncharge(odev, vm->quota, ONPU_QUOTA_VMS);
	onpu_recovery_exit(odev);
	/* Perhaps the last reference of the device. */
	drm_gpuvm_put(&vm->base);
}

static void vm_free(struct drm_gpuvm *gpuvm)
{
	struct onpu_vm *vm = to_onpu_vm(gpuvm);

	ttm_lru_bulk_move_fini(&vm->odev->ttm, &vm->bulk);
	mutex_destroy(&vm->pt_lock);
	mutex_destroy(&vm->lock);
	kfree(vm);
}

/* --- page tables ahead of an update ---------------------------------------------- */

/**
 * onpu_vm_prepare_map() - make the page tables that a map needs
 * @vm: address space
 * @stock: stock of the update
 * @bo: buffer object, which does not move meanwhile, or NULL
 * @bo_offset: first byte of it
 * @va: address
 * @size: bytes
 *
 * For one update at a time in each half of the address space. Ends by
 * onpu_pt_release(), also when it fails.
 *
 * Return: 0, -ENOMEM or -EINTR.
 */
int onpu_vm_prepare_map(struct onpu_vm *vm, struct onpu_pt_stock *stock, struct onpu_bo *bo,
			u64 bo_offset, u64 va, u64 size)
{
	bool complete;
	int ret;

	do {
		mutex_lock(&vm->pt_lock);
		onpu_recovery_touch(vm->odev);
		complete = onpu_pt_prepare_map(&vm->pgt, stock, bo, bo_offset, va, size);
		onpu_recovery_untouch(vm->odev);
		mutex_unlock(&vm->pt_lock);
		ret = complete ? 0 : onpu_pt_stock_grow(vm->odev, stock);
	} while (!complete && !ret);

	return ret;
}

/**
 * onpu_vm_prepare_unmap() - set aside the page tables that an unmap needs
 * @vm: address space
 * @stock: stock of the update
 * @va: address
 * @size: bytes
 *
 * As onpu_vm_prepare_map().
 *
 * Return: 0, -ENOMEM or -EINTR.
 */
int onpu_vm_prepare_unmap(struct onpu_vm *vm, struct onpu_pt_stock *stock, u64 va, u64 size)
{
	bool complete;
	int ret;

	do {
		mutex_lock(&vm->pt_lock);
		complete = onpu_pt_prepare_unmap(&vm->pgt, stock, va, size);
		mutex_unlock(&vm->pt_lock);
		ret = complete ? 0 : onpu_pt_stock_grow(vm->odev, stock);
	} while (!complete && !ret);

	return ret;
}

static const struct drm_gpuvm_ops vm_ops = {
	.vm_free = vm_free,
	.vm_bo_validate = onpu_vm_bo_validate,
	.sm_step_map = onpu_vm_step_map,
	.sm_step_remap = onpu_vm_step_remap,
	.sm_step_unmap = onpu_vm_step_unmap,
};

/* --- create and destroy ---------------------------------------------------------------- */

static int vm_create_context(struct onpu_vm *vm)
{
	struct onpu_device *odev = vm->odev;
	int ret;

	mutex_lock(&odev->vms.lock);
	ret = onpu_mbox_ctx_create(odev, vm->pgt.asid, onpu_pgtable_root(&vm->pgt));
	if (!ret)
		list_add_tail(&vm->link, &odev->vms.list);
	mutex_unlock(&odev->vms.lock);

	return ret;
}

/*
 * An address space that the firmware does not know yet; with one reference, to
 * be dropped by drm_gpuvm_put() until it does.
 */
static struct onpu_vm *vm_alloc(struct onpu_device *odev)
{
	struct drm_gem_object *resv_obj;
	struct onpu_vm *vm;

	vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	if (!vm)
		return ERR_PTR(-ENOMEM);

	resv_obj = drm_gpuvm_resv_object_alloc(&odev->drm);
	if (!resv_obj) {
		kfree(vm);
		return ERR_PTR(-ENOMEM);
	}

	vm->odev = odev;
	kref_init(&vm->ref);
	mutex_init(&vm->lock);
	spin_lock_init(&vm->fault.lock);
	mutex_init(&vm->pt_lock);
	ttm_lru_bulk_move_init(&vm->bulk);
	INIT_LIST_HEAD(&vm->link);
	INIT_WORK(&vm->destroy_work, vm_destroy_work);
	drm_gpuvm_init(&vm->base, "onpu", 0, &odev->drm, resv_obj, ONPU_VA_USER_START,
		       ONPU_VA_USER_END - ONPU_VA_USER_START, 0, 0, &vm_ops);
	drm_gem_object_put(resv_obj);

	return vm;
}

static int vm_alloc_asid(struct onpu_device *odev)
{
	int asid = ida_alloc_max(&odev->vms.asids, odev->caps.contexts - 1, GFP_KERNEL);

	if (asid != -ENOSPC)
		return asid;

	/* Ids of destroyed address spaces come back with their teardown. */
	onpu_flush_teardown();
	return ida_alloc_max(&odev->vms.asids, odev->caps.contexts - 1, GFP_KERNEL);
}

/**
 * onpu_vm_create() - create an address space
 * @odev: card
 *
 * Return: the address space with one reference, or an error pointer; -ENOMEM also when
 * card memory is full, see onpu_room_begin().
 */
struct onpu_vm *onpu_vm_create(struct onpu_device *odev)
{
	struct onpu_vm *vm;
	int asid, ret;

	vm = vm_alloc(odev);
	if (IS_ERR(vm))
		return vm;

	asid = vm_alloc_asid(odev);
	if (asid < 0) {
		ret = asid;
		goto err_put;
	}

	ret = onpu_recovery_enter(odev);
	if (ret)
		goto err_free_asid;

	ret = onpu_pgtable_init(&vm->pgt, odev, asid);
	if (ret)
		goto err_exit;

	drm_mm_init(&vm->kernel, ONPU_VA_USER_END, ONPU_VA_END - ONPU_VA_USER_END);
	ret = vm_create_context(vm);
	if (ret)
		goto err_fini;

	onpu_recovery_exit(odev);
	return vm;

err_fini:
	drm_mm_takedown(&vm->kernel);
	onpu_pgtable_fini(&vm->pgt);
err_exit:
	onpu_recovery_exit(odev);
err_free_asid:
	ida_free(&odev->vms.asids, asid);
err_put:
	drm_gpuvm_put(&vm->base);
	return ERR_PTR(ret);
}

static struct onpu_vm *vm_create_for_user(struct onpu_device *odev, u32 flags)
{
	struct onpu_vm *vm = onpu_vm_create(odev);

	if (IS_ERR(vm) || !(flags & DRM_ONPU_VM_LONG_RUNNING))
		return vm;

	vm->lr = onpu_lr_create(vm, odev);
	if (vm->lr)
		return vm;
	onpu_vm_put(vm);
	return ERR_PTR(-ENOMEM);
}

/* Creates an address space, making room for its page tables, again after a restart. */
static struct onpu_vm *vm_find_room(struct onpu_device *odev, u32 flags)
{
	struct onpu_room room;
	struct onpu_vm *vm;
	int ret;

	ret = onpu_room_begin(&room, odev);
	if (ret)
		return ERR_PTR(ret);

	do {
		vm = vm_create_for_user(odev, flags);
	} while (IS_ERR(vm) && (PTR_ERR(vm) == -EAGAIN || onpu_room_retry(&room, PTR_ERR(vm))));
	onpu_room_end(&room);

	return vm;
}

/**
 * onpu_vm_restore_contexts() - tell the firmware all contexts again
 * @odev: card whose firmware has just booted; its memory is unchanged
 *
 * Return: 0 or a negative error.
 */
int onpu_vm_restore_contexts(struct onpu_device *odev)
{
	struct onpu_vm *vm;
	int ret = 0;
	u64 root;

	mutex_lock(&odev->vms.lock);
	list_for_each_entry(vm, &odev->vms.list, link) {
		root = onpu_pgtable_root(&vm->pgt);
		ret = vm->lr ? onpu_lr_restore(vm->lr, root) :
			       onpu_mbox_ctx_create(odev, vm->pgt.asid, root);
		if (ret)
			break;
	}
	mutex_unlock(&odev->vms.lock);

	return ret;
}

/**
 * onpu_vm_close_all() - drop the address spaces of a file
 * @ofile: file that is being closed
 */
void onpu_vm_close_all(struct onpu_file *ofile)
{
	struct onpu_vm *vm;
	unsigned long id;

	xa_for_each(&ofile->vms, id, vm) {
		xa_erase(&ofile->vms, id);
		onpu_vm_put(vm);
	}
}

/**
 * onpu_ioctl_vm_create() - DRM_IOCTL_ONPU_VM_CREATE
 * @drm: device
 * @data: struct drm_onpu_vm_create
 * @file: caller
 *
 * Return: 0 or a negative error.
 */
int onpu_ioctl_vm_create(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct onpu_file *ofile = file->driver_priv;
	struct onpu_device *odev = to_onpu_device(drm);
	struct drm_onpu_vm_create *args = data;
	struct onpu_quota *quota;
	struct onpu_vm *vm;
	int ret;

	if (ONPU_BAD(drm, args->flags & ~DRM_ONPU_VM_LONG_RUNNING))
		return -EINVAL;

	/* The id first, with nothing behind it: it cannot be used before it is told. */
	ret = xa_alloc(&ofile->vms, &args->id, NULL, XA_LIMIT(1, ONPU_MAX_VMS), GFP_KERNEL);
	if (ret)
		return ret == -EBUSY ? -ENOSPC : ret;

	quota = onpu_quota_charge(odev, ONPU_QUOTA_VMS);
	if (IS_ERR(quota)) {
		ret = PTR_ERR(quota);
		goto err_release;
	}
	vm = vm_find_room(odev, args->flags);
	if (IS_ERR(vm)) {
		ret = PTR_ERR(vm);
		goto err_uncharge;
	}
	vm->quota = quota;

	xa_store(&ofile->vms, args->id, vm, GFP_KERNEL);
	return 0;

err_uncharge:
	onpu_quota_uncharge(odev, quota, ONPU_QUOTA_VMS);
err_release:
	xa_release(&ofile->vms, args->id);
	return ret;
}

/**
 * onpu_ioctl_vm_destroy() - DRM_IOCTL_ONPU_VM_DESTROY
 * @drm: device
 * @data: struct drm_onpu_vm_destroy
 * @file: caller
 *
 * Return: 0 or a negative error.
 */
int onpu_ioctl_vm_destroy(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct onpu_file *ofile = file->driver_priv;
	struct drm_onpu_vm_destroy *args = data;
	struct onpu_vm *vm;

	if (ONPU_BAD(drm, args->pad))
		return -EINVAL;

	xa_lock(&ofile->vms);
	vm = xa_load(&ofile->vms, args->id);
	if (vm)
		__xa_erase(&ofile->vms, args->id);
	xa_unlock(&ofile->vms);
	if (!vm)
		return -ENOENT;

	onpu_vm_put(vm);
	return 0;
}

/**
 * onpu_ioctl_vm_get_state() - DRM_IOCTL_ONPU_VM_GET_STATE
 * @drm: device
 * @data: struct drm_onpu_vm_get_state
 * @file: caller
 *
 * Return: 0 or a negative error.
 */
int onpu_ioctl_vm_get_state(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_onpu_vm_get_state *args = data;
	struct onpu_vm *vm;
	int ret;

	vm = onpu_vm_lookup(file->driver_priv, args->id);
	if (!vm)
		return -ENOENT;

	ret = mutex_lock_interruptible(&vm->lock);
	if (ret)
		goto out_put;
	args->mappings = vm->mappings;
	args->mapped_bytes = vm->mapped_bytes;
	args->table_bytes = onpu_pgtable_bytes(&vm->pgt);
	mutex_unlock(&vm->lock);

	spin_lock(&vm->fault.lock);
	args->faults = vm->fault.count;
	args->fault_va = vm->fault.va;
	args->fault_info = vm->fault.info;
	args->fault_queue = vm->fault.queue;
	spin_unlock(&vm->fault.lock);
	args->flags = args->faults ? DRM_ONPU_VM_FAULTED : 0;

out_put:
	onpu_vm_put(vm);
	return ret;
}

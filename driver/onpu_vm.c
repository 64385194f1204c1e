// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Address spaces
 *
 * A VM is a context of the card: an address-space id, page tables and what is
 * mapped where. The lower half belongs to user space and is tracked by
 * drm_gpuvm; the upper half holds the rings and fence pages of the VM's queues,
 * found by an interval allocator.
 *
 * The file's id and each queue hold a reference. Mappings do not: with the last
 * reference, work on &onpu_wq removes them, tells the firmware and frees the
 * page tables. It is work because the last reference may be dropped where
 * nothing may sleep or where locks that it needs are held.
 *
 * VM_BIND is synchronous and all or nothing. Everything that can fail comes
 * first: arguments, memory for mappings (three per MAP, two per UNMAP cover any
 * split), locks, links between VM and buffer objects, page tables. Then all
 * operations happen, and none of the steps can fail. The wait for the card's TLB
 * is outside the reservations, so that submissions to other parts go on; until it
 * is over, the buffer objects that were unmapped do not move.
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
#include <linux/wait_bit.h>

#include <drm/drm_exec.h>
#include <drm/drm_gpuvm.h>
#include <drm/drm_mm.h>

#include "onpu_bo.h"
#include "onpu_device.h"
#include "onpu_ext.h"
#include "onpu_mbox.h"
#include "onpu_place.h"
#include "onpu_pt.h"
#include "onpu_recovery.h"
#include "onpu_user.h"
#include "onpu_vm.h"
#include "onpu_vm_types.h"

/**
 * struct onpu_kernel_map - a mapping in the kernel half
 */
struct onpu_kernel_map {
	/** @node: addresses, in &onpu_vm.kernel */
	struct drm_mm_node node;
	/** @bo: mapped buffer object, not referenced: its owner unmaps it first */
	struct onpu_bo *bo;
};

/**
 * struct onpu_bind - an operation of a VM_BIND with all that it needs
 */
struct onpu_bind {
	/** @op: checked copy of the operation */
	struct drm_onpu_bind_op op;
	/** @bo: buffer object of a MAP, with a reference */
	struct onpu_bo *bo;
	/** @vm_bo: link between the VM and @bo, with a reference */
	struct drm_gpuvm_bo *vm_bo;
	/** @defer: the card cannot use @bo where it is; the next submission maps it */
	bool defer;
	/** @vma: mappings to use: for the new one, before it, behind it */
	struct onpu_vma *vma[3];
};

/**
 * struct onpu_bind_ctx - a VM_BIND
 */
struct onpu_bind_ctx {
	/** @vm: address space */
	struct onpu_vm *vm;
	/** @binds: operations */
	struct onpu_bind *binds;
	/** @count: elements of @binds */
	u32 count;
	/** @failed: index of the operation at fault, or @count */
	u32 failed;
	/** @cur: operation that happens now */
	struct onpu_bind *cur;
	/** @stock: page tables for all operations */
	struct onpu_pt_stock stock;
	/**
	 * @removed: mappings that are gone, linked by &drm_gpuva.rb.entry, to
	 * be freed without locks; each holds a reference on its buffer object
	 */
	struct list_head removed;
};

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

static int vm_prepare_unmap(struct onpu_vm *vm, struct onpu_pt_stock *stock, u64 va, u64 size)
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

/* --- kernel half ---------------------------------------------------------------- */

static int kernel_map_insert(struct onpu_vm *vm, struct onpu_kernel_map *map, u32 flags)
{
	u64 bits = ONPU_PTE_READ;
	struct onpu_pt_stock stock;
	int ret;

	lockdep_assert_held(&vm->lock);

	if (!(flags & ONPU_VM_MAP_RO))
		bits |= ONPU_PTE_WRITE;
	if (flags & ONPU_VM_MAP_PRIV)
		bits |= ONPU_PTE_PRIV;

	ret = drm_mm_insert_node(&vm->kernel, &map->node, onpu_bo_size(map->bo));
	if (ret)
		return ret;

	onpu_pt_stock_init(&stock);
	ret = onpu_vm_prepare_map(vm, &stock, map->bo, 0, map->node.start, map->node.size);
	mutex_lock(&vm->pt_lock);
	if (!ret) {
		onpu_pt_map(&vm->pgt, &stock, map->bo, 0, map->node.start, map->node.size, bits);
		ret = onpu_pt_sync(&vm->pgt);
		if (ret)
			onpu_pt_unmap(&vm->pgt, &stock, map->node.start, map->node.size);
	}
	onpu_pt_release(&vm->pgt, map->node.start, map->node.size);
	/* Empty tables that are left of it; otherwise it has nothing to do. */
	onpu_pt_sync(&vm->pgt);
	mutex_unlock(&vm->pt_lock);
	if (ret)
		drm_mm_remove_node(&map->node);
	onpu_pt_stock_fini(vm->odev, &stock);

	return ret;
}

/**
 * onpu_vm_map_kernel() - map a buffer object of the driver
 * @vm: address space
 * @bo: kernel buffer object; stays the caller's, who unmaps it before it goes
 * @flags: ONPU_VM_MAP_*
 * @va: set to the address
 *
 * May sleep. The caller keeps resets away, see onpu_recovery_block().
 *
 * Return: 0, -ENOMEM, -ENODEV or -EIO.
 */
int onpu_vm_map_kernel(struct onpu_vm *vm, struct onpu_bo *bo, u32 flags, u64 *va)
{
	struct onpu_kernel_map *map;
	int ret;

	map = kzalloc(sizeof(*map), GFP_KERNEL);
	if (!map)
		return -ENOMEM;
	map->bo = bo;

	mutex_lock(&vm->lock);
	ret = kernel_map_insert(vm, map, flags);
	mutex_unlock(&vm->lock);
	if (ret) {
		kfree(map);
		return ret == -ENOSPC ? -ENOMEM : ret;
	}

	*va = map->node.start;
	return 0;
}

/**
 * onpu_vm_unmap_kernel() - unmap a buffer object of the driver
 * @vm: address space
 * @va: address, from onpu_vm_map_kernel()
 *
 * May sleep. When it returns, nothing translates through the mapping any more.
 * The caller keeps resets away, see onpu_recovery_block().
 */
void onpu_vm_unmap_kernel(struct onpu_vm *vm, u64 va)
{
	struct onpu_kernel_map *map = NULL;
	struct onpu_pt_stock stock;
	struct drm_mm_node *node;

	mutex_lock(&vm->lock);
	drm_mm_for_each_node_in_range(node, &vm->kernel, va, va + 1)
		map = container_of(node, struct onpu_kernel_map, node);

	if (!drm_WARN_ON(&vm->odev->drm, !map || map->node.start != va)) {
		/* Whole mappings need no split, hence no stock. */
		onpu_pt_stock_init(&stock);
		mutex_lock(&vm->pt_lock);
		onpu_pt_unmap(&vm->pgt, &stock, va, map->node.size);
		onpu_pt_sync(&vm->pgt);
		mutex_unlock(&vm->pt_lock);
		drm_mm_remove_node(&map->node);
		kfree(map);
	}
	mutex_unlock(&vm->lock);
}

/* --- GPUVM steps, which cannot fail ------------------------------------------------ */

static void bind_count(struct onpu_bind_ctx *ctx, const struct drm_gpuva *va, bool mapped)
{
	struct onpu_vm *vm = ctx->vm;

	lockdep_assert_held(&vm->lock);

	if (mapped) {
		vm->mappings++;
		vm->mapped_bytes += va->va.range;
	} else {
		vm->mappings--;
		vm->mapped_bytes -= va->va.range;
	}
}

static struct onpu_vma *bind_take_vma(struct onpu_bind *bind, unsigned int i)
{
	struct onpu_vma *vma = bind->vma[i];

	bind->vma[i] = NULL;
	return vma;
}

/* A mapping that GPUVM has forgotten, or is about to; freed without locks. */
static void bind_remove_vma(struct onpu_bind_ctx *ctx, struct drm_gpuva *va)
{
	bind_count(ctx, va, false);
	if (va->gem.obj) {
		atomic_inc(&to_onpu_bo(va->gem.obj)->unsynced);
		drm_gem_object_get(va->gem.obj);
		drm_gpuva_unlink(va);
	}
	list_add_tail(&va->rb.entry, &ctx->removed);
}

/*
 * Entries in the range of a MAP stay until the new ones replace them, one by one:
 * a job never sees a gap where both say the same.
 */
static void bind_clear_range(struct onpu_bind_ctx *ctx, u64 va, u64 size)
{
	if (ctx->cur->op.type == DRM_ONPU_BIND_UNMAP || ctx->cur->defer)
		onpu_pt_unmap(&ctx->vm->pgt, &ctx->stock, va, size);
}

static int bind_step_map(struct drm_gpuva_op *op, void *priv)
{
	struct onpu_bind_ctx *ctx = priv;
	struct onpu_bind *bind = ctx->cur;
	struct onpu_vma *vma = bind_take_vma(bind, 0);

	vma->bits = ONPU_PTE_READ;
	if (!(bind->op.flags & DRM_ONPU_BIND_READONLY))
		vma->bits |= ONPU_PTE_WRITE;

	drm_gpuva_map(&ctx->vm->base, &vma->base, &op->map);
	if (bind->bo)
		drm_gpuva_link(&vma->base, bind->vm_bo);
	bind_count(ctx, &vma->base, true);
	if (bind->defer) {
		drm_gpuvm_bo_evict(bind->vm_bo, true);
		return 0;
	}
	onpu_pt_map(&ctx->vm->pgt, &ctx->stock, bind->bo, op->map.gem.offset,
		    op->map.va.addr, op->map.va.range, vma->bits);

	return 0;
}

/* What is left of a mapping that was cut. */
static void bind_add_rest(struct onpu_bind_ctx *ctx, struct onpu_vma *vma,
			  struct drm_gpuva *old)
{
	if (old->gem.obj)
		drm_gpuva_link(&vma->base, old->vm_bo);
	bind_count(ctx, &vma->base, true);
}

static int bind_step_remap(struct drm_gpuva_op *op, void *priv)
{
	struct onpu_bind_ctx *ctx = priv;
	struct drm_gpuva *old = op->remap.unmap->va;
	struct onpu_vma *prev = NULL, *next = NULL;
	u64 start, range;

	drm_gpuva_op_remap_to_unmap_range(&op->remap, &start, &range);

	if (op->remap.prev) {
		prev = bind_take_vma(ctx->cur, 1);
		prev->bits = to_onpu_vma(old)->bits;
	}
	if (op->remap.next) {
		next = bind_take_vma(ctx->cur, 2);
		next->bits = to_onpu_vma(old)->bits;
	}

	drm_gpuva_remap(prev ? &prev->base : NULL, next ? &next->base : NULL, &op->remap);
	if (prev)
		bind_add_rest(ctx, prev, old);
	if (next)
		bind_add_rest(ctx, next, old);
	bind_clear_range(ctx, start, range);
	bind_remove_vma(ctx, old);

	return 0;
}

static int bind_step_unmap(struct drm_gpuva_op *op, void *priv)
{
	struct onpu_bind_ctx *ctx = priv;
	struct drm_gpuva *va = op->unmap.va;

	drm_gpuva_unmap(&op->unmap);
	bind_clear_range(ctx, va->va.addr, va->va.range);
	bind_remove_vma(ctx, va);

	return 0;
}

static const struct drm_gpuvm_ops vm_ops = {
	.vm_free = vm_free,
	.vm_bo_validate = onpu_vm_bo_validate,
	.sm_step_map = bind_step_map,
	.sm_step_remap = bind_step_remap,
	.sm_step_unmap = bind_step_unmap,
};

/* --- VM_BIND ------------------------------------------------------------------------ */

static bool bind_range_valid(const struct drm_onpu_bind_op *op)
{
	u64 end;

	return op->size && PAGE_ALIGNED(op->va) && PAGE_ALIGNED(op->size) &&
	       op->va >= ONPU_VA_USER_START && !check_add_overflow(op->va, op->size, &end) &&
	       end <= ONPU_VA_USER_END;
}

static int bind_check_unmap(struct drm_device *drm, const struct drm_onpu_bind_op *op)
{
	if (ONPU_BAD(drm, op->flags) || ONPU_BAD(drm, op->handle) ||
	    ONPU_BAD(drm, op->bo_offset))
		return -EINVAL;

	return 0;
}

static int bind_check_null(struct drm_device *drm, struct onpu_bind_ctx *ctx,
			   const struct drm_onpu_bind_op *op)
{
	if (ONPU_BAD(drm, op->flags & ~(DRM_ONPU_BIND_READONLY | DRM_ONPU_BIND_NULL)) ||
	    ONPU_BAD(drm, op->handle) || ONPU_BAD(drm, op->bo_offset) ||
	    ONPU_BAD(drm, op->size > ONPU_MAX_NULL))
		return -EINVAL;

	if (ONPU_BAD(drm, (ctx->vm->odev->caps.hw_version & 0xffff) < ONPU_HW_MINOR_NULL))
		return -EOPNOTSUPP;

	return 0;
}

static int bind_check_map(struct drm_device *drm, struct onpu_bind_ctx *ctx,
			  struct onpu_bind *bind, struct drm_file *file)
{
	const struct drm_onpu_bind_op *op = &bind->op;
	struct drm_gem_object *obj, *resv_obj;
	u64 end;

	if (ONPU_BAD(drm, op->flags & ~DRM_ONPU_BIND_READONLY) ||
	    ONPU_BAD(drm, !PAGE_ALIGNED(op->bo_offset)) ||
	    ONPU_BAD(drm, check_add_overflow(op->bo_offset, op->size, &end)))
		return -EINVAL;

	obj = drm_gem_object_lookup(file, op->handle);
	if (!obj)
		return -ENOENT;
	bind->bo = to_onpu_bo(obj);

	/* Private objects belong to one address space. */
	resv_obj = bind->bo->resv_obj;
	if (ONPU_BAD(drm, end > obj->size) ||
	    ONPU_BAD(drm, resv_obj && resv_obj != onpu_vm_resv_obj(ctx->vm)))
		return -EINVAL;

	if (ONPU_BAD(drm, bind->bo->ext && bind->bo->ext->readonly &&
		     !(op->flags & DRM_ONPU_BIND_READONLY)))
		return -EACCES;

	return 0;
}

static int bind_check(struct onpu_bind_ctx *ctx, struct onpu_bind *bind, struct drm_file *file)
{
	struct drm_device *drm = ctx->vm->base.drm;

	if (ONPU_BAD(drm, bind->op.pad) || ONPU_BAD(drm, !bind_range_valid(&bind->op)))
		return -EINVAL;

	switch (bind->op.type) {
	case DRM_ONPU_BIND_MAP:
		if (bind->op.flags & DRM_ONPU_BIND_NULL)
			return bind_check_null(drm, ctx, &bind->op);
		return bind_check_map(drm, ctx, bind, file);
	case DRM_ONPU_BIND_UNMAP:
		return bind_check_unmap(drm, &bind->op);
	default:
		drm_dbg(drm, "ioctl argument: unknown bind operation\n");
		return -EINVAL;
	}
}

static int bind_check_all(struct onpu_bind_ctx *ctx, const struct drm_onpu_bind_op *ops,
			  struct drm_file *file)
{
	u32 i;
	int ret;

	for (i = 0; i < ctx->count; i++) {
		ctx->binds[i].op = ops[i];
		ret = bind_check(ctx, &ctx->binds[i], file);
		if (ret) {
			ctx->failed = i;
			return ret;
		}
	}

	return 0;
}

/* Allocates mappings, all that the operations may need. */
static int bind_prepare(struct onpu_bind_ctx *ctx)
{
	unsigned int i, j;

	for (i = 0; i < ctx->count; i++) {
		struct onpu_bind *bind = &ctx->binds[i];
		bool map = bind->op.type == DRM_ONPU_BIND_MAP;

		for (j = map ? 0 : 1; j < ARRAY_SIZE(bind->vma); j++) {
			bind->vma[j] = kzalloc(sizeof(*bind->vma[j]), GFP_KERNEL_ACCOUNT);
			if (!bind->vma[j])
				return -ENOMEM;
		}
		if (fatal_signal_pending(current))
			return -EINTR;
	}

	return 0;
}

/* Makes page tables, for where the buffer objects are now. */
static int bind_prepare_tables(struct onpu_bind_ctx *ctx)
{
	u32 i;
	int ret;

	for (i = 0; i < ctx->count; i++) {
		struct onpu_bind *bind = &ctx->binds[i];
		bool map = bind->op.type == DRM_ONPU_BIND_MAP;

		bind->defer = bind->bo &&
			      (bind->vm_bo->evicted || !onpu_place_is_usable(bind->bo));
		if (map && !bind->defer)
			ret = onpu_vm_prepare_map(ctx->vm, &ctx->stock, bind->bo,
						  bind->op.bo_offset, bind->op.va, bind->op.size);
		else
			ret = vm_prepare_unmap(ctx->vm, &ctx->stock, bind->op.va, bind->op.size);
		if (ret)
			return ret;
		if (fatal_signal_pending(current))
			return -EINTR;
	}

	return 0;
}

/* Of what is mapped in a range now. */
static int bind_lock_range(struct onpu_bind_ctx *ctx, struct drm_exec *exec,
			   const struct drm_onpu_bind_op *op)
{
	struct drm_gpuva *va;
	int ret;

	drm_gpuvm_for_each_va_range(va, &ctx->vm->base, op->va, op->va + op->size) {
		if (!va->gem.obj)
			continue;
		ret = drm_exec_lock_obj(exec, va->gem.obj);
		if (ret)
			return ret;
	}

	return 0;
}

static int bind_lock(struct onpu_bind_ctx *ctx, struct drm_exec *exec)
{
	struct drm_gpuvm *gpuvm = &ctx->vm->base;
	u32 i;
	int ret;

	drm_exec_init(exec, DRM_EXEC_INTERRUPTIBLE_WAIT | DRM_EXEC_IGNORE_DUPLICATES, 0);

	drm_exec_until_all_locked(exec) {
		ret = drm_gpuvm_prepare_vm(gpuvm, exec, 0);
		drm_exec_retry_on_contention(exec);
		if (ret)
			return ret;

		for (i = 0; i < ctx->count; i++) {
			struct onpu_bind *bind = &ctx->binds[i];

			if (bind->bo) {
				ret = drm_exec_lock_obj(exec, &bind->bo->ttm.base);
				drm_exec_retry_on_contention(exec);
				if (ret)
					return ret;
			}
			ret = bind_lock_range(ctx, exec, &bind->op);
			drm_exec_retry_on_contention(exec);
			if (ret)
				return ret;
		}
	}

	return 0;
}

/* Links the VM with the buffer objects. */
static int bind_link_bos(struct onpu_bind_ctx *ctx)
{
	u32 i;

	for (i = 0; i < ctx->count; i++) {
		struct onpu_bind *bind = &ctx->binds[i];
		struct drm_gpuvm_bo *vm_bo;

		if (!bind->bo)
			continue;

		vm_bo = drm_gpuvm_bo_obtain_locked(&ctx->vm->base, &bind->bo->ttm.base);
		if (IS_ERR(vm_bo))
			return PTR_ERR(vm_bo);
		bind->vm_bo = vm_bo;
		drm_gpuvm_bo_extobj_add(vm_bo);
	}

	return 0;
}

static void bind_unlink_bos(struct onpu_bind_ctx *ctx)
{
	u32 i;

	for (i = 0; i < ctx->count; i++) {
		if (ctx->binds[i].vm_bo)
			drm_gpuvm_bo_put(ctx->binds[i].vm_bo);
		ctx->binds[i].vm_bo = NULL;
	}
}

static void bind_commit(struct onpu_bind_ctx *ctx)
{
	struct drm_gpuvm *gpuvm = &ctx->vm->base;
	u32 i;
	int ret;

	for (i = 0; i < ctx->count; i++) {
		struct onpu_bind *bind = &ctx->binds[i];
		struct drm_gpuvm_map_req req = {
			.map.va.addr = bind->op.va,
			.map.va.range = bind->op.size,
			.map.gem.obj = bind->bo ? &bind->bo->ttm.base : NULL,
			.map.gem.offset = bind->op.bo_offset,
		};

		ctx->cur = bind;
		if (bind->op.type == DRM_ONPU_BIND_MAP)
			ret = drm_gpuvm_sm_map(gpuvm, ctx, &req);
		else
			ret = drm_gpuvm_sm_unmap(gpuvm, ctx, bind->op.va, bind->op.size);
		drm_WARN_ON(gpuvm->drm, ret);
	}
}

/* Whether an UNMAP makes two mappings of one. */
static bool bind_splits(struct drm_gpuvm *gpuvm, const struct drm_onpu_bind_op *op)
{
	struct drm_gpuva *va = drm_gpuva_find_first(gpuvm, op->va, op->size);

	return va && va->va.addr < op->va && va->va.addr + va->va.range > op->va + op->size;
}

/* Bounded from above: the operations before one can only make what it meets smaller. */
static int bind_check_room(struct onpu_bind_ctx *ctx)
{
	struct onpu_vm *vm = ctx->vm;
	u64 more = 0;
	u32 i;

	lockdep_assert_held(&vm->lock);

	for (i = 0; i < ctx->count; i++) {
		const struct drm_onpu_bind_op *op = &ctx->binds[i].op;

		if (op->type == DRM_ONPU_BIND_MAP)
			more += 2;
		else if (bind_splits(&vm->base, op))
			more++;
	}

	return more && vm->mappings + more > ONPU_MAX_MAPPINGS ? -ENOSPC : 0;
}

/* Does all of it, or nothing; with all locks but that of the page tables held. */
static int bind_locked(struct onpu_bind_ctx *ctx)
{
	struct onpu_vm *vm = ctx->vm;
	int ret;
	u32 i;

	ret = bind_link_bos(ctx);
	if (ret)
		return ret;
	ret = bind_prepare_tables(ctx);

	mutex_lock(&vm->pt_lock);
	if (!ret)
		bind_commit(ctx);
	for (i = 0; i < ctx->count; i++)
		onpu_pt_release(&vm->pgt, ctx->binds[i].op.va, ctx->binds[i].op.size);
	mutex_unlock(&vm->pt_lock);

	return ret;
}

static int bind_run(struct onpu_bind_ctx *ctx)
{
	struct onpu_vm *vm = ctx->vm;
	struct drm_exec exec;
	int ret, err;

	ret = mutex_lock_interruptible(&vm->lock);
	if (ret)
		return ret;

	ret = bind_check_room(ctx);
	if (ret) {
		mutex_unlock(&vm->lock);
		return ret;
	}

	ret = bind_lock(ctx, &exec);
	if (!ret)
		ret = bind_locked(ctx);
	bind_unlink_bos(ctx);
	drm_exec_fini(&exec);

	/* After an error: of the tables that were made. */
	mutex_lock(&vm->pt_lock);
	err = onpu_pt_sync(&vm->pgt);
	mutex_unlock(&vm->pt_lock);
	if (ret)
		/* There may be another try. */
		onpu_pt_stock_fini(vm->odev, &ctx->stock);
	mutex_unlock(&vm->lock);

	return ret ?: err;
}

static void bind_fini(struct onpu_bind_ctx *ctx)
{
	struct drm_gpuva *va, *next;
	u32 i, j;

	list_for_each_entry_safe(va, next, &ctx->removed, rb.entry) {
		struct drm_gem_object *obj = va->gem.obj;

		if (obj) {
			atomic_t *unsynced = &to_onpu_bo(obj)->unsynced;

			if (atomic_dec_and_test(unsynced))
				wake_up_var(unsynced);
			drm_gem_object_put(obj);
		}
		kfree(to_onpu_vma(va));
	}

	for (i = 0; i < ctx->count; i++) {
		struct onpu_bind *bind = &ctx->binds[i];

		if (bind->bo)
			drm_gem_object_put(&bind->bo->ttm.base);
		for (j = 0; j < ARRAY_SIZE(bind->vma); j++)
			kfree(bind->vma[j]);
	}

	onpu_pt_stock_fini(ctx->vm->odev, &ctx->stock);
	kvfree(ctx->binds);
}

static int vm_bind(struct onpu_vm *vm, struct drm_onpu_vm_bind *args,
		   const struct drm_onpu_bind_op *ops, struct drm_file *file)
{
	struct onpu_bind_ctx ctx = {
		.vm = vm,
		.count = args->ops.count,
		.failed = args->ops.count,
		.removed = LIST_HEAD_INIT(ctx.removed),
	};
	struct onpu_room room;
	int ret;

	ctx.binds = kvcalloc(ctx.count, sizeof(*ctx.binds), GFP_KERNEL);
	if (!ctx.binds)
		return -ENOMEM;
	onpu_pt_stock_init(&ctx.stock);

	ret = bind_check_all(&ctx, ops, file);
	if (!ret)
		ret = bind_prepare(&ctx);
	if (!ret)
		ret = onpu_room_begin(&room, vm->odev);
	if (!ret) {
		do {
			onpu_recovery_block(vm->odev);
			ret = bind_run(&ctx);
			onpu_recovery_exit(vm->odev);
		} while (onpu_room_retry(&room, ret));
		onpu_room_end(&room);
	}
	args->failed_op = ctx.failed;
	bind_fini(&ctx);

	return ret;
}

/**
 * onpu_ioctl_vm_bind() - DRM_IOCTL_ONPU_VM_BIND
 * @drm: device
 * @data: struct drm_onpu_vm_bind
 * @file: caller
 *
 * Return: 0 or a negative error.
 */
int onpu_ioctl_vm_bind(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_onpu_vm_bind *args = data;
	struct drm_onpu_bind_op *ops;
	struct onpu_vm *vm;
	int ret;

	args->failed_op = args->ops.count;
	if (ONPU_BAD(drm, args->pad) || ONPU_BAD(drm, args->flags))
		return -EINVAL;

	vm = onpu_vm_lookup(file->driver_priv, args->vm_id);
	if (!vm)
		return -ENOENT;

	ops = onpu_array_get(&args->ops, ONPU_MAX_BIND_OPS, sizeof(*ops), sizeof(*ops));
	if (IS_ERR(ops)) {
		ret = PTR_ERR(ops);
	} else {
		ret = args->ops.count ? vm_bind(vm, args, ops, file) : 0;
		kvfree(ops);
	}
	onpu_vm_put(vm);

	return ret;
}

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

	vm = kzalloc(sizeof(*vm), GFP_KERNEL);
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

static struct onpu_vm *vm_create(struct onpu_device *odev)
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

/* Creates an address space, making room for its page tables. */
static struct onpu_vm *vm_find_room(struct onpu_device *odev)
{
	struct onpu_room room;
	struct onpu_vm *vm;
	int ret;

	ret = onpu_room_begin(&room, odev);
	if (ret)
		return ERR_PTR(ret);

	do {
		vm = vm_create(odev);
	} while (IS_ERR(vm) && onpu_room_retry(&room, PTR_ERR(vm)));
	onpu_room_end(&room);

	return vm;
}

/**
 * onpu_vm_create_kernel() - create the address space of the copy engine
 * @odev: card
 * @card_va: where to map all card memory, for privileged packets only
 * @window_va: where to make empty tables
 * @tables: how many, of 2 MiB each
 * @offsets: set to where they are in card memory
 *
 * Return: the address space with one reference, or an error pointer.
 */
struct onpu_vm *onpu_vm_create_kernel(struct onpu_device *odev, u64 card_va, u64 window_va,
				      unsigned int tables, u64 *offsets)
{
	struct onpu_vm *vm = vm_create(odev);
	int ret;

	if (IS_ERR(vm))
		return vm;

	onpu_recovery_block(odev);
	mutex_lock(&vm->lock);
	ret = onpu_pt_map_card(&vm->pgt, 0, card_va, odev->caps.vram_size,
			       ONPU_PTE_READ | ONPU_PTE_WRITE | ONPU_PTE_PRIV);
	if (!ret)
		ret = onpu_pt_make_window(&vm->pgt, window_va, tables, offsets);
	if (!ret)
		ret = onpu_pt_sync(&vm->pgt);
	mutex_unlock(&vm->lock);
	onpu_recovery_exit(odev);
	if (ret) {
		onpu_vm_put(vm);
		return ERR_PTR(ret);
	}

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

	mutex_lock(&odev->vms.lock);
	list_for_each_entry(vm, &odev->vms.list, link) {
		ret = onpu_mbox_ctx_create(odev, vm->pgt.asid, onpu_pgtable_root(&vm->pgt));
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
	struct drm_onpu_vm_create *args = data;
	struct onpu_vm *vm;
	int ret;

	if (ONPU_BAD(drm, args->flags))
		return -EINVAL;

	/* The id first, with nothing behind it: it cannot be used before it is told. */
	ret = xa_alloc(&ofile->vms, &args->id, NULL, XA_LIMIT(1, ONPU_MAX_VMS), GFP_KERNEL);
	if (ret)
		return ret == -EBUSY ? -ENOSPC : ret;

	vm = vm_find_room(to_onpu_device(drm));
	if (IS_ERR(vm)) {
		xa_release(&ofile->vms, args->id);
		return PTR_ERR(vm);
	}

	xa_store(&ofile->vms, args->id, vm, GFP_KERNEL);
	return 0;
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

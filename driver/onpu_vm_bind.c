// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Address spaces: VM_BIND
 *
 * VM_BIND is synchronous and all or nothing. Everything that can fail comes
 * first: arguments, memory for mappings (three per MAP, two per UNMAP cover any
 * split), locks, links between VM and buffer objects, page tables. Then all
 * operations happen, and none of the steps can fail. The wait for the card's TLB
 * is outside the reservations, so that submissions to other parts go on; until it
 * is over, the buffer objects that were unmapped do not move.
 *
 * Locking: as in onpu_vm.c. User memory is read before any lock is taken. While
 * page tables are made, buffer objects that are not locked here may be evicted for
 * them, and lose their mappings in this address space.
 */

#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>

#include <drm/drm_exec.h>
#include <drm/drm_gpuvm.h>

#include "onpu_bo.h"
#include "onpu_device.h"
#include "onpu_ext.h"
#include "onpu_lr.h"
#include "onpu_place.h"
#include "onpu_pt.h"
#include "onpu_recovery.h"
#include "onpu_user.h"
#include "onpu_vm.h"
#include "onpu_vm_types.h"

static unsigned int max_vm_mappings = ONPU_MAX_MAPPINGS;
module_param(max_vm_mappings, uint, 0644);
MODULE_PARM_DESC(max_vm_mappings,
		 "Mappings of an address space, at most and by default 65536");

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

/**
 * onpu_vm_step_map() - GPUVM's step: a mapping is made
 * @op: what GPUVM says
 * @priv: struct onpu_bind_ctx
 *
 * Return: 0.
 */
int onpu_vm_step_map(struct drm_gpuva_op *op, void *priv)
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

/**
 * onpu_vm_step_remap() - GPUVM's step: a mapping is cut
 * @op: what GPUVM says
 * @priv: struct onpu_bind_ctx
 *
 * Return: 0.
 */
int onpu_vm_step_remap(struct drm_gpuva_op *op, void *priv)
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

/**
 * onpu_vm_step_unmap() - GPUVM's step: a mapping goes
 * @op: what GPUVM says
 * @priv: struct onpu_bind_ctx
 *
 * Return: 0.
 */
int onpu_vm_step_unmap(struct drm_gpuva_op *op, void *priv)
{
	struct onpu_bind_ctx *ctx = priv;
	struct drm_gpuva *va = op->unmap.va;

	drm_gpuva_unmap(&op->unmap);
	bind_clear_range(ctx, va->va.addr, va->va.range);
	bind_remove_vma(ctx, va);

	return 0;
}

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
			ret = onpu_vm_prepare_unmap(ctx->vm, &ctx->stock, bind->op.va,
						    bind->op.size);
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

/**
 * onpu_vm_max_mappings() - how many mappings an address space may have
 *
 * Return: number.
 */
u32 onpu_vm_max_mappings(void)
{
	return min_t(u32, READ_ONCE(max_vm_mappings), ONPU_MAX_MAPPINGS);
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

	return more && vm->mappings + more > onpu_vm_max_mappings() ? -ENOSPC : 0;
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
	/* No submission does it for these. */
	if (vm->lr && !ret)
		onpu_lr_validate(vm->lr);

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

/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_VM_TYPES_H__
#define __ONPU_VM_TYPES_H__

/* What onpu_vm*.c share; nobody else includes it. */

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include <drm/drm_gpuvm.h>
#include <drm/drm_mm.h>
#include <drm/ttm/ttm_resource.h>

#include "onpu_pt.h"

struct onpu_bo;
struct onpu_device;
struct onpu_lr;

/**
 * struct onpu_vm - an address space
 */
struct onpu_vm {
	/** @base: user half */
	struct drm_gpuvm base;
	/** @ref: users; the teardown work runs when there is none */
	struct kref ref;
	/** @odev: the card; @base holds a reference on its drm_device */
	struct onpu_device *odev;
	/** @quota: of the user whom it counts for, or NULL */
	struct onpu_quota *quota;
	/** @link: in &onpu_device.vms.list while the firmware knows the context */
	struct list_head link;
	/** @lock: serialises changes of what is mapped */
	struct mutex lock;
	/** @pt_lock: protects @pgt; taken inside reservations */
	struct mutex pt_lock;
	/** @pgt: page tables */
	struct onpu_pgtable pgt;
	/** @lr: what makes it long-running (onpu_lr.c), or NULL */
	struct onpu_lr *lr;
	/** @bulk: private buffer objects, which move in TTM's LRU list together */
	struct ttm_lru_bulk_move bulk;
	/** @kernel: upper half, allocator of addresses; protected by @lock */
	struct drm_mm kernel;
	/** @mappings: mappings in the user half; protected by @lock */
	u64 mappings;
	/** @mapped_bytes: what they cover; protected by @lock */
	u64 mapped_bytes;
	/** @fault: the last fault of a job */
	struct {
		/** @fault.lock: protects the others; innermost */
		spinlock_t lock;
		/** @fault.count: faults so far */
		u64 count;
		/** @fault.va: address */
		u64 va;
		/** @fault.info: ONPU_FAULT_INFO */
		u32 info;
		/** @fault.queue: id of the queue in its file */
		u32 queue;
	} fault;
	/** @destroy_work: teardown */
	struct work_struct destroy_work;
};

/**
 * struct onpu_vma - a mapping in the user half
 */
struct onpu_vma {
	/** @base: GPUVM part */
	struct drm_gpuva base;
	/** @bits: ONPU_PTE_READ and WRITE */
	u64 bits;
};

static inline struct onpu_vm *to_onpu_vm(struct drm_gpuvm *gpuvm)
{
	return container_of(gpuvm, struct onpu_vm, base);
}

static inline struct onpu_vma *to_onpu_vma(struct drm_gpuva *va)
{
	return container_of(va, struct onpu_vma, base);
}

int onpu_vm_prepare_map(struct onpu_vm *vm, struct onpu_pt_stock *stock, struct onpu_bo *bo,
			u64 bo_offset, u64 va, u64 size);
int onpu_vm_prepare_unmap(struct onpu_vm *vm, struct onpu_pt_stock *stock, u64 va, u64 size);
struct onpu_vm *onpu_vm_create(struct onpu_device *odev);

int onpu_vm_step_map(struct drm_gpuva_op *op, void *priv);
int onpu_vm_step_remap(struct drm_gpuva_op *op, void *priv);
int onpu_vm_step_unmap(struct drm_gpuva_op *op, void *priv);
int onpu_vm_bo_validate(struct drm_gpuvm_bo *vm_bo, struct drm_exec *exec);

#endif /* __ONPU_VM_TYPES_H__ */

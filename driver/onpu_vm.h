/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_VM_H__
#define __ONPU_VM_H__

#include <linux/types.h>

#include <drm/drm_gpuvm.h>

#include "onpu_place.h"

struct dma_fence;
struct dma_resv;
struct drm_device;
struct drm_file;
struct drm_gem_object;
struct drm_sched_job;
struct onpu_bo;
struct onpu_device;
struct onpu_file;
struct onpu_lr;
struct onpu_vm;
struct ttm_lru_bulk_move;

/** ONPU_VM_MAP_PRIV - only packets of a privileged queue's ring may touch it */
#define ONPU_VM_MAP_PRIV	BIT(0)
/** ONPU_VM_MAP_RO - the card may not write */
#define ONPU_VM_MAP_RO		BIT(1)

struct onpu_vm *onpu_vm_lookup(struct onpu_file *ofile, u32 id);
struct onpu_vm *onpu_vm_get(struct onpu_vm *vm);
void onpu_vm_put(struct onpu_vm *vm);

void onpu_vm_note_fault(struct onpu_vm *vm, u64 va, u32 info, u32 queue);
u32 onpu_vm_asid(const struct onpu_vm *vm);
struct onpu_lr *onpu_vm_lr(const struct onpu_vm *vm);
struct dma_resv *onpu_vm_resv(struct onpu_vm *vm);
struct drm_gem_object *onpu_vm_resv_obj(struct onpu_vm *vm);

/*
 * Mappings of kernel buffer objects in the upper half of the address space.
 * May sleep; unmapping never fails and returns when nothing translates through
 * the mapping any more (or the card is gone).
 */
int onpu_vm_map_kernel(struct onpu_vm *vm, struct onpu_bo *bo, u32 flags, u64 *va);
void onpu_vm_unmap_kernel(struct onpu_vm *vm, u64 va);

struct ttm_lru_bulk_move *onpu_vm_bulk_get(struct onpu_vm *vm);
void onpu_vm_bulk_put(struct onpu_vm *vm);
void onpu_vm_zap_bo(struct drm_gem_object *obj);

/**
 * struct onpu_vm_exec - what is locked for a submission
 */
struct onpu_vm_exec {
	/** @base: reservations of the VM and of the shared buffer objects in it */
	struct drm_gpuvm_exec base;
	/** @room: brings evicted buffer objects back */
	struct onpu_room room;
};

/*
 * Submission: lock the reservations of the VM and of every shared buffer
 * object mapped in it, with room for @num_fences each; make the first job wait
 * for moves; arm and push the jobs; add each finished fence (usage BOOKKEEP:
 * synchronisation is explicit, the fences only keep the memory); unlock.
 */
int onpu_vm_lock_for_submit(struct onpu_vm *vm, struct onpu_vm_exec *exec,
			    unsigned int num_fences);
int onpu_vm_add_dependencies(struct onpu_vm_exec *exec, struct drm_sched_job *job);
int onpu_vm_wait_for_moves(struct onpu_vm_exec *exec);
void onpu_vm_add_fence(struct onpu_vm_exec *exec, struct dma_fence *fence);
void onpu_vm_unlock_submit(struct onpu_vm_exec *exec);

struct onpu_vm *onpu_vm_create_kernel(struct onpu_device *odev, u64 card_va, u64 window_va,
				      unsigned int tables, u64 *offsets);
void onpu_vm_close_all(struct onpu_file *ofile);
int onpu_vm_restore_contexts(struct onpu_device *odev);

int onpu_ioctl_vm_create(struct drm_device *drm, void *data, struct drm_file *file);
int onpu_ioctl_vm_destroy(struct drm_device *drm, void *data, struct drm_file *file);
int onpu_ioctl_vm_get_state(struct drm_device *drm, void *data, struct drm_file *file);
u32 onpu_vm_max_mappings(void);
int onpu_ioctl_vm_bind(struct drm_device *drm, void *data, struct drm_file *file);

#endif /* __ONPU_VM_H__ */

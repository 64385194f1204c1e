// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Address spaces: the kernel half
 *
 * The upper half of an address space belongs to the driver: user space can neither
 * map anything there nor let its packets touch it. An interval allocator hands out
 * the addresses. What is mapped does not move (it is pinned), so there is no more to
 * it than page tables.
 *
 * The copy engine has an address space of its own, which maps all card memory as such
 * and has tables whose entries it writes itself.
 *
 * Locking: as in onpu_vm.c; &onpu_vm.lock without reservations.
 */

#include <linux/slab.h>

#include <drm/drm_mm.h>

#include "onpu_bo.h"
#include "onpu_device.h"
#include "onpu_pt.h"
#include "onpu_recovery.h"
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

	map = kzalloc(sizeof(*map), GFP_KERNEL_ACCOUNT);
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
	struct onpu_vm *vm = onpu_vm_create(odev);
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

// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Memory from elsewhere
 *
 * A buffer object need not have memory of its own: it may stand for somebody
 * else's dma-buf (onpu_prime.c) or for pages of a process (onpu_userptr.c).
 * TTM knows such objects as ttm_bo_type_sg: they are in TTM_PL_TT, cannot move,
 * are never swapped, and TTM frees them in a worker of its own, with no lock held.
 *
 * The memory is mapped for the card while the object lives, but not longer than
 * the card is there: when it goes, the mappings go first.
 *
 * Locking: &onpu_device.ext.lock makes unmapping happen once. It is taken outside
 * reservations.
 */

#include <linux/slab.h>

#include "onpu_bo.h"
#include "onpu_device.h"
#include "onpu_ext.h"

static void ext_unmap_locked(struct onpu_ext *ext)
{
	lockdep_assert_held(&ext->odev->ext.lock);

	if (list_empty(&ext->link))
		return;

	list_del_init(&ext->link);
	ext->funcs->unmap(ext);
}

/**
 * onpu_ext_free() - unmap and release memory from elsewhere
 * @ext: the memory; nothing uses it any more
 */
void onpu_ext_free(struct onpu_ext *ext)
{
	struct onpu_device *odev = ext->odev;

	mutex_lock(&odev->ext.lock);
	ext_unmap_locked(ext);
	mutex_unlock(&odev->ext.lock);

	ext->funcs->release(ext);
}

/**
 * onpu_ext_unplug() - undo the DMA mappings of a card that is gone
 * @odev: card; it does no DMA any more, and no ioctl runs
 */
void onpu_ext_unplug(struct onpu_device *odev)
{
	struct onpu_ext *ext, *next;

	mutex_lock(&odev->ext.lock);
	list_for_each_entry_safe(ext, next, &odev->ext.list, link)
		ext_unmap_locked(ext);
	mutex_unlock(&odev->ext.lock);
}

/**
 * onpu_ext_create_bo() - make a buffer object of memory from elsewhere
 * @ext: the memory, mapped, with &onpu_ext.funcs and &onpu_ext.sgt set
 * @odev: card, between drm_dev_enter() and drm_dev_exit()
 * @size: bytes, multiple of the page size
 * @resv: reservation that guards the memory, or NULL for one of its own
 *
 * Takes over @ext, also when it fails.
 *
 * Return: the object with one reference, or an error: -ENOMEM, -EINTR, or -EINVAL
 * for memory that is not made of whole pages.
 */
struct onpu_bo *onpu_ext_create_bo(struct onpu_ext *ext, struct onpu_device *odev, u64 size,
				   struct dma_resv *resv)
{
	ext->odev = odev;
	mutex_lock(&odev->ext.lock);
	list_add(&ext->link, &odev->ext.list);
	mutex_unlock(&odev->ext.lock);

	return onpu_bo_create_ext(odev, size, ext, resv);
}

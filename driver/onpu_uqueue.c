// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: User-mode queues
 *
 * A user-mode queue has its ring and its control block in memory of the process, and the
 * process has the page with the queue's doorbell mapped: no system call is
 * needed for a job. What the ring holds is judged by the card, for no packet of it is
 * privileged; ring and control block are below the kernel half of the address space.
 * All else is as with other queues (onpu_queue.c), but for the memory, which
 * onpu_lr.c keeps where it is.
 *
 * The doorbell is mapped page by page fault, into the file that owns the queue only. It
 * is revoked when the queue is dead, and before its number can become another
 * queue's; during a reset, and while the address space dozes (onpu_lr.c), it is not
 * mapped. Who still writes there writes to a page of memory that nobody reads. A fork
 * does not inherit it.
 *
 * The owner of a queue may have the driver own the control block
 * (DRM_ONPU_QUEUE_PROGRESS). Then it is a page of card memory that no packet reaches which
 * the driver did not write, and that the process can only read: what is there was written
 * by the card. It stays as it is when the queue is dead, until that is destroyed.
 *
 * Locking: &onpu_uqueue.lock makes the look at @revoked and the entry in the
 * process's page table one step, so that no entry is made behind onpu_uqueue_revoke(). It is
 * taken inside mmap_lock and held over allocations of page tables, so never where
 * fences are signalled.
 */

#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/onpu_accel.h>

#include <onpu/mbox.h>
#include <onpu/packet.h>
#include <onpu/regs.h>

#include "onpu_bo.h"
#include "onpu_device.h"
#include "onpu_lr.h"
#include "onpu_mbox.h"
#include "onpu_queue.h"
#include "onpu_recovery.h"
#include "onpu_uqueue.h"
#include "onpu_user.h"
#include "onpu_vm.h"

/*
 * Offsets at which doorbells are mapped: above those of buffer objects, and such that
 * 32-bit programs can have them. The control blocks of the driver are behind them.
 */
#define ONPU_DOORBELL_MMAP	BIT_ULL(43)
#define ONPU_PROGRESS_MMAP	(ONPU_DOORBELL_MMAP + ((u64)ONPU_MAX_QUEUES << PAGE_SHIFT))

/**
 * struct onpu_uqueue - what a user-mode queue has besides
 */
struct onpu_uqueue {
	/** @ring_va: address of the ring on the card */
	u64 ring_va;
	/** @ctl_va: address of the control block, or 0 */
	u64 ctl_va;
	/** @ring_order: log2 of the packets of the ring */
	u32 ring_order;
	/** @lock: see the DOC above */
	struct mutex lock;
	/** @revoked: the doorbell may not be mapped any more; protected by @lock */
	bool revoked;
	/** @progress: the control block is the driver's, see &onpu_queue.page */
	bool progress;
	/** @forgotten: that may not be mapped any more; protected by @lock */
	bool forgotten;
	/** @dummy: page that takes the place of either */
	struct page *dummy;
};

/**
 * onpu_uqueue_supported() - whether a card can have user-mode queues here
 * @odev: card
 *
 * Return: false when pages of doorbells are no pages of the host, or the firmware
 * is too old.
 */
bool onpu_uqueue_supported(struct onpu_device *odev)
{
	return onpu_mbox_can_suspend(odev) && odev->caps.doorbell_stride == PAGE_SIZE &&
	       PAGE_ALIGNED(odev->caps.doorbell_offset);
}

static bool range_ok(u64 va, u64 size)
{
	return IS_ALIGNED(va, ONPU_PACKET_SIZE) && va >= ONPU_VA_USER_START &&
	       va <= ONPU_VA_USER_END && size <= ONPU_VA_USER_END - va;
}

/**
 * onpu_uqueue_check() - check the arguments of QUEUE_CREATE
 * @odev: card
 * @args: arguments; those that all queues have are checked already
 *
 * Return: 0, -EINVAL or -EOPNOTSUPP.
 */
int onpu_uqueue_check(struct onpu_device *odev, const struct drm_onpu_queue_create *args)
{
	struct drm_device *drm = &odev->drm;

	BUILD_BUG_ON(sizeof(struct onpu_queue_ctl) != ONPU_PACKET_SIZE);

	if (ONPU_BAD(drm, args->pad) || ONPU_BAD(drm, args->doorbell_offset))
		return -EINVAL;
	if (ONPU_BAD(drm, args->progress_offset))
		return -EINVAL;
	if (!(args->flags & DRM_ONPU_QUEUE_USER))
		return ONPU_BAD(drm, args->ring_va || args->ctl_va || args->ring_order ||
				args->flags) ? -EINVAL : 0;

	if (ONPU_BAD(drm, !onpu_uqueue_supported(odev)))
		return -EOPNOTSUPP;
	if (args->flags & DRM_ONPU_QUEUE_PROGRESS) {
		if (ONPU_BAD(drm, (odev->caps.hw_version & 0xffff) < ONPU_HW_MINOR_PROGRESS ||
			     !onpu_mbox_keeps_progress(odev)))
			return -EOPNOTSUPP;
		if (ONPU_BAD(drm, args->ctl_va))
			return -EINVAL;
	}
	if (ONPU_BAD(drm, args->ring_order < ONPU_RING_ORDER_MIN ||
		     args->ring_order > odev->caps.ring_order_max) ||
	    ONPU_BAD(drm, !range_ok(args->ring_va, (u64)ONPU_PACKET_SIZE << args->ring_order)) ||
	    ONPU_BAD(drm, args->ctl_va && !range_ok(args->ctl_va, sizeof(struct onpu_queue_ctl))))
		return -EINVAL;

	return 0;
}

/**
 * onpu_uqueue_alloc() - allocate what a user-mode queue has besides
 * @args: arguments of QUEUE_CREATE, checked
 *
 * Return: that, to be freed with the queue, or NULL.
 */
struct onpu_uqueue *onpu_uqueue_alloc(const struct drm_onpu_queue_create *args)
{
	struct onpu_uqueue *uqueue = kzalloc(sizeof(*uqueue), GFP_KERNEL_ACCOUNT);

	if (!uqueue)
		return NULL;
	uqueue->dummy = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!uqueue->dummy) {
		kfree(uqueue);
		return NULL;
	}
	uqueue->ring_va = args->ring_va;
	uqueue->ctl_va = args->ctl_va;
	uqueue->ring_order = args->ring_order;
	uqueue->progress = args->flags & DRM_ONPU_QUEUE_PROGRESS;
	mutex_init(&uqueue->lock);
	return uqueue;
}

/**
 * onpu_uqueue_free() - undo onpu_uqueue_alloc()
 * @uqueue: what it returned, or NULL; nothing is mapped any more
 */
void onpu_uqueue_free(struct onpu_uqueue *uqueue)
{
	if (!uqueue)
		return;
	mutex_destroy(&uqueue->lock);
	__free_page(uqueue->dummy);
	kfree(uqueue);
}

/**
 * onpu_uqueue_has_progress() - whether the driver owns the control block
 * @uqueue: user-mode queue
 *
 * Return: true if &onpu_queue.page is to have room for it.
 */
bool onpu_uqueue_has_progress(const struct onpu_uqueue *uqueue)
{
	return uqueue->progress;
}

/**
 * onpu_uqueue_describe() - fill in what the firmware is told
 * @queue: user-mode queue
 * @body: message
 */
void onpu_uqueue_describe(const struct onpu_queue *queue, struct onpu_msg_queue_create *body)
{
	const struct onpu_uqueue *uqueue = queue->uqueue;

	body->ring_va = uqueue->ring_va;
	body->ctl_va = uqueue->progress ? queue->page.va : uqueue->ctl_va;
	body->ring_order = uqueue->ring_order;
	body->flags = 0;
	body->hang_ms = onpu_queue_job_timeout_ms();
}

/**
 * onpu_uqueue_doorbell_offset() - where to map the doorbell of a queue
 * @queue: user-mode queue
 *
 * Return: offset for mmap() on the device file.
 */
u64 onpu_uqueue_doorbell_offset(const struct onpu_queue *queue)
{
	return ONPU_DOORBELL_MMAP + ((u64)queue->index << PAGE_SHIFT);
}

/**
 * onpu_uqueue_revoke() - take the doorbell away from the process
 * @queue: user-mode queue, active
 *
 * When it returns, no process reaches it, and none will.
 */
void onpu_uqueue_revoke(struct onpu_queue *queue)
{
	struct onpu_uqueue *uqueue = queue->uqueue;

	mutex_lock(&uqueue->lock);
	uqueue->revoked = true;
	mutex_unlock(&uqueue->lock);

	onpu_uqueue_unmap(queue);
}

/**
 * onpu_uqueue_unmap() - have the next access to the doorbell fault
 * @queue: user-mode queue, active
 */
void onpu_uqueue_unmap(struct onpu_queue *queue)
{
	unmap_mapping_range(queue->odev->drm.anon_inode->i_mapping,
			    onpu_uqueue_doorbell_offset(queue), PAGE_SIZE, 1);
}

/**
 * onpu_uqueue_progress_offset() - where to map the control block of a queue
 * @queue: user-mode queue
 *
 * Return: offset for mmap() on the device file, or 0.
 */
u64 onpu_uqueue_progress_offset(const struct onpu_queue *queue)
{
	if (!queue->uqueue->progress)
		return 0;
	return ONPU_PROGRESS_MMAP + ((u64)queue->index << PAGE_SHIFT);
}

/**
 * onpu_uqueue_forget() - take all from the process that it has mapped
 * @queue: user-mode queue, torn down
 *
 * As onpu_uqueue_revoke().
 */
void onpu_uqueue_forget(struct onpu_queue *queue)
{
	struct onpu_uqueue *uqueue = queue->uqueue;

	onpu_uqueue_revoke(queue);
	if (!uqueue->progress)
		return;
	mutex_lock(&uqueue->lock);
	uqueue->forgotten = true;
	mutex_unlock(&uqueue->lock);
	unmap_mapping_range(queue->odev->drm.anon_inode->i_mapping,
			    onpu_uqueue_progress_offset(queue), PAGE_SIZE, 1);
}

/* --- mappings ----------------------------------------------------------------------- */

static vm_fault_t uqueue_insert(struct vm_area_struct *vma, struct onpu_device *odev)
{
	struct onpu_queue *queue = vma->vm_private_data;
	struct onpu_uqueue *uqueue = queue->uqueue;
	vm_fault_t ret;
	phys_addr_t addr;
	int idx;

	lockdep_assert_held(&uqueue->lock);

	if (uqueue->revoked || !drm_dev_enter(&odev->drm, &idx))
		return vmf_insert_pfn(vma, vma->vm_start, page_to_pfn(uqueue->dummy));

	addr = pci_resource_start(to_pci_dev(odev->drm.dev), ONPU_BAR_REGS) +
	       odev->caps.doorbell_offset + queue->index * odev->caps.doorbell_stride;
	ret = vmf_insert_pfn_prot(vma, vma->vm_start, PHYS_PFN(addr),
				  pgprot_noncached(vma->vm_page_prot));
	drm_dev_exit(idx);

	return ret;
}

static vm_fault_t uqueue_insert_progress(struct vm_area_struct *vma, struct onpu_device *odev)
{
	struct onpu_queue *queue = vma->vm_private_data;
	struct onpu_uqueue *uqueue = queue->uqueue;
	vm_fault_t ret;
	int idx;

	lockdep_assert_held(&uqueue->lock);

	if (uqueue->forgotten || !drm_dev_enter(&odev->drm, &idx))
		return vmf_insert_pfn(vma, vma->vm_start, page_to_pfn(uqueue->dummy));

	ret = vmf_insert_pfn_prot(vma, vma->vm_start,
				  PHYS_PFN(odev->vram.base + queue->page.bo->vram_offset),
				  pgprot_writecombine(vma->vm_page_prot));
	drm_dev_exit(idx);

	return ret;
}

static bool uqueue_is_progress(const struct vm_area_struct *vma)
{
	return vma->vm_pgoff >= PHYS_PFN(ONPU_PROGRESS_MMAP);
}

static vm_fault_t uqueue_fault(struct vm_fault *vmf)
{
	struct onpu_queue *queue = vmf->vma->vm_private_data;
	/* The file keeps the device; the queue may be gone but for its structure. */
	struct drm_file *file = vmf->vma->vm_file->private_data;
	struct onpu_device *odev = to_onpu_device(file->minor->dev);
	vm_fault_t ret;

	if (!onpu_recovery_try_block(odev)) {
		/* A reset: fault again, with mmap_lock dropped in between. */
		usleep_range(500, 1000);
		return VM_FAULT_NOPAGE;
	}
	mutex_lock(&queue->uqueue->lock);
	if (uqueue_is_progress(vmf->vma)) {
		ret = uqueue_insert_progress(vmf->vma, odev);
	} else {
		ret = uqueue_insert(vmf->vma, odev);
		/* As long as it is not revoked its address space is there. */
		if (!queue->uqueue->revoked)
			onpu_lr_wake(onpu_vm_lr(queue->vm));
	}
	mutex_unlock(&queue->uqueue->lock);
	onpu_recovery_exit(odev);

	return ret;
}

static void uqueue_vm_open(struct vm_area_struct *vma)
{
	onpu_queue_get(vma->vm_private_data);
}

static void uqueue_vm_close(struct vm_area_struct *vma)
{
	onpu_queue_put(vma->vm_private_data);
}

static const struct vm_operations_struct uqueue_vm_ops = {
	.fault = uqueue_fault,
	.open = uqueue_vm_open,
	.close = uqueue_vm_close,
};

/**
 * onpu_uqueue_mmap() - mmap() of the device file
 * @filp: file
 * @vma: what is to be mapped
 *
 * Return: 0 or a negative error code, see Documentation/uapi.md.
 */
int onpu_uqueue_mmap(struct file *filp, struct vm_area_struct *vma)
{
	struct drm_file *file = filp->private_data;
	bool progress = uqueue_is_progress(vma);
	struct onpu_queue *queue;
	u64 page = vma->vm_pgoff;

	if (page < PHYS_PFN(ONPU_DOORBELL_MMAP))
		return drm_gem_mmap(filp, vma);

	if (drm_dev_is_unplugged(file->minor->dev))
		return -ENODEV;
	page -= PHYS_PFN(progress ? ONPU_PROGRESS_MMAP : ONPU_DOORBELL_MMAP);
	if (vma->vm_end - vma->vm_start != PAGE_SIZE || !(vma->vm_flags & VM_SHARED) ||
	    vma->vm_flags & VM_EXEC)
		return -EINVAL;
	if (progress && vma->vm_flags & VM_WRITE)
		return -EACCES;
	queue = onpu_queue_find_user(file->driver_priv, page);
	if (!queue)
		return -EACCES;
	if (progress && !queue->uqueue->progress) {
		onpu_queue_put(queue);
		return -EACCES;
	}

	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP);
	vm_flags_clear(vma, progress ? VM_MAYEXEC | VM_MAYWRITE : VM_MAYEXEC);
	vma->vm_private_data = queue;
	vma->vm_ops = &uqueue_vm_ops;
	return 0;
}

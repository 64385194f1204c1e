// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Memory of processes
 *
 * BO_USERPTR makes a buffer object of pages that a process has mapped. They are
 * pinned for long (FOLL_LONGTERM) until the object is freed, so they neither move
 * nor go, whatever becomes of the mapping: the process may unmap it, fork or end,
 * and the card still has the pages that were there when the object was made. The
 * kernel refuses pages that it could not keep so: of devices, and of files that
 * track what is written. Pages that are about to be written to are marked dirty
 * when they are let go.
 *
 * Pinned pages cannot be reclaimed, so they are on the account of the user (they
 * count against RLIMIT_MEMLOCK, unless the process has CAP_IPC_LOCK) and of the
 * address space (VmPin in /proc/PID/status). The account is the one that was
 * charged, kept with a reference: the object may well be freed by another process,
 * or after the one that made it has executed another program. Above all users, all
 * cards together pin half of the machine's memory at most.
 *
 * Notifiers instead of pinning are no choice: to take pages away from a card means
 * to wait for its jobs, which nothing in the way of memory reclaim may do.
 *
 * Locking: none of its own; pages are pinned before any lock is taken and let go
 * where none is held (onpu_ext.c).
 */

#include <linux/capability.h>
#include <linux/dma-mapping.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include <drm/drm_gem.h>
#include <drm/drm_prime.h>

#include "onpu_bo.h"
#include "onpu_device.h"
#include "onpu_ext.h"
#include "onpu_user.h"
#include "onpu_userptr.h"

/**
 * struct onpu_userptr - pinned pages of a process
 */
struct onpu_userptr {
	/** @base: memory from elsewhere */
	struct onpu_ext base;
	/** @user: who is charged, with a reference */
	struct user_struct *user;
	/** @mm: address space that is charged, with a reference on the structure */
	struct mm_struct *mm;
	/** @nr_pages: how many were asked for, and are charged */
	unsigned long nr_pages;
	/** @nr_pinned: how many are pinned */
	unsigned long nr_pinned;
	/** @pages: the pages */
	struct page **pages;
};

/* Pages pinned for all cards. */
static atomic_long_t pinned;

static struct onpu_userptr *to_userptr(struct onpu_ext *ext)
{
	return container_of(ext, struct onpu_userptr, base);
}

/* --- accounts ----------------------------------------------------------------- */

/**
 * onpu_userptr_limit() - what all cards together may pin
 *
 * Return: bytes.
 */
u64 onpu_userptr_limit(void)
{
	return (u64)(totalram_pages() / 2) << PAGE_SHIFT;
}

/**
 * onpu_userptr_pinned() - what all cards together have pinned
 *
 * Return: bytes.
 */
u64 onpu_userptr_pinned(void)
{
	return (u64)atomic_long_read(&pinned) << PAGE_SHIFT;
}

/* Adds to a counter unless that takes it above a limit. */
static bool charge(atomic_long_t *counter, unsigned long pages, unsigned long limit)
{
	long sum, old = atomic_long_read(counter);

	do {
		if (check_add_overflow(old, (long)pages, &sum) || (unsigned long)sum > limit)
			return false;
	} while (!atomic_long_try_cmpxchg(counter, &old, sum));

	return true;
}

static int userptr_charge(struct onpu_userptr *up)
{
	unsigned long limit = capable(CAP_IPC_LOCK) ? LONG_MAX :
			      rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;

	if (!charge(&pinned, up->nr_pages, onpu_userptr_limit() >> PAGE_SHIFT))
		return -ENOSPC;
	if (!charge(&current_user()->locked_vm, up->nr_pages, limit)) {
		atomic_long_sub(up->nr_pages, &pinned);
		return -ENOMEM;
	}

	up->user = get_uid(current_user());
	up->mm = current->mm;
	mmgrab(up->mm);
	atomic64_add(up->nr_pages, &up->mm->pinned_vm);

	return 0;
}

static void userptr_uncharge(struct onpu_userptr *up)
{
	atomic64_sub(up->nr_pages, &up->mm->pinned_vm);
	mmdrop(up->mm);
	atomic_long_sub(up->nr_pages, &up->user->locked_vm);
	free_uid(up->user);
	atomic_long_sub(up->nr_pages, &pinned);
}

/* --- pages -------------------------------------------------------------------- */

static int userptr_pin(struct onpu_userptr *up, u64 addr)
{
	unsigned int flags = FOLL_LONGTERM | (up->base.readonly ? 0 : FOLL_WRITE);

	up->pages = kvmalloc_array(up->nr_pages, sizeof(*up->pages), GFP_KERNEL_ACCOUNT);
	if (!up->pages)
		return -ENOMEM;

	while (up->nr_pinned < up->nr_pages) {
		unsigned long left = up->nr_pages - up->nr_pinned;
		long n = pin_user_pages_fast(addr + (u64)up->nr_pinned * PAGE_SIZE,
					     min(left, (unsigned long)SZ_64K), flags,
					     up->pages + up->nr_pinned);

		if (n <= 0)
			return n ? n : -EFAULT;
		up->nr_pinned += n;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}

	return 0;
}

static void userptr_unpin(struct onpu_userptr *up)
{
	if (up->nr_pinned)
		unpin_user_pages_dirty_lock(up->pages, up->nr_pinned, !up->base.readonly);
	kvfree(up->pages);
}

static enum dma_data_direction userptr_dir(const struct onpu_userptr *up)
{
	return up->base.readonly ? DMA_TO_DEVICE : DMA_BIDIRECTIONAL;
}

static int userptr_map(struct onpu_userptr *up, struct drm_device *drm)
{
	struct sg_table *sgt;
	int ret;

	sgt = drm_prime_pages_to_sg(drm, up->pages, up->nr_pages);
	if (IS_ERR(sgt))
		return PTR_ERR(sgt);

	ret = dma_map_sgtable(drm->dev, sgt, userptr_dir(up), DMA_ATTR_SKIP_CPU_SYNC);
	if (ret) {
		sg_free_table(sgt);
		kfree(sgt);
		return ret;
	}

	up->base.sgt = sgt;
	return 0;
}

static void userptr_unmap(struct onpu_ext *ext)
{
	struct onpu_userptr *up = to_userptr(ext);

	dma_unmap_sgtable(ext->odev->drm.dev, ext->sgt, userptr_dir(up),
			  DMA_ATTR_SKIP_CPU_SYNC);
	sg_free_table(ext->sgt);
	kfree(ext->sgt);
	ext->sgt = NULL;
}

static void userptr_release(struct onpu_ext *ext)
{
	struct onpu_userptr *up = to_userptr(ext);

	userptr_unpin(up);
	userptr_uncharge(up);
	kfree(up);
}

static const struct onpu_ext_funcs userptr_funcs = {
	.unmap = userptr_unmap,
	.release = userptr_release,
};

static struct onpu_bo *userptr_create(struct onpu_device *odev,
				      const struct drm_onpu_bo_userptr *args)
{
	struct onpu_userptr *up;
	int ret;

	up = kzalloc(sizeof(*up), GFP_KERNEL_ACCOUNT);
	if (!up)
		return ERR_PTR(-ENOMEM);

	up->base.funcs = &userptr_funcs;
	up->base.readonly = args->flags & DRM_ONPU_USERPTR_READONLY;
	up->nr_pages = args->size >> PAGE_SHIFT;
	ret = userptr_charge(up);
	if (ret)
		goto err_free;

	ret = userptr_pin(up, args->addr);
	if (!ret)
		ret = userptr_map(up, &odev->drm);
	if (ret)
		goto err_unpin;

	return onpu_ext_create_bo(&up->base, odev, args->size, NULL);

err_unpin:
	userptr_unpin(up);
	userptr_uncharge(up);
err_free:
	kfree(up);
	return ERR_PTR(ret);
}

/**
 * onpu_ioctl_bo_userptr() - DRM_IOCTL_ONPU_BO_USERPTR
 * @drm: device
 * @data: struct drm_onpu_bo_userptr
 * @file: caller
 *
 * Return: 0 or a negative error.
 */
int onpu_ioctl_bo_userptr(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_onpu_bo_userptr *args = data;
	struct onpu_bo *bo;
	u64 end;
	int ret;

	if (ONPU_BAD(drm, args->flags & ~DRM_ONPU_USERPTR_READONLY) ||
	    ONPU_BAD(drm, !args->size) ||
	    ONPU_BAD(drm, !PAGE_ALIGNED(args->addr | args->size)) ||
	    ONPU_BAD(drm, check_add_overflow(args->addr, args->size, &end)) ||
	    ONPU_BAD(drm, args->size > onpu_userptr_limit()))
		return -EINVAL;

	bo = userptr_create(to_onpu_device(drm), args);
	if (IS_ERR(bo))
		return PTR_ERR(bo);

	ret = drm_gem_handle_create(file, &bo->ttm.base, &args->handle);
	drm_gem_object_put(&bo->ttm.base);

	return ret;
}

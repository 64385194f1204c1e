// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Waiting for words of memory
 *
 * A user fence is a 64-bit word in memory of the process that a SIGNAL packet
 * stores to. It is not a dma_fence and never becomes one: nothing in the kernel
 * waits for it but the caller of WAIT, who may be interrupted at any time.
 *
 * The word is read through the mapping of the caller, like any memory that a
 * system call is given. So it may lie in card memory or elsewhere, may be
 * evicted meanwhile, and needs no check but that of the access itself.
 *
 * WAIT looks at it whenever the card interrupts. An event loop has an eventfd
 * told instead (QUEUE_NOTIFY) and looks by itself.
 *
 * Locking: none is held while the word is read, for that may fault, lock
 * reservations and wait for the card. &onpu_device.waiters orders a look and an
 * interrupt: who waits is in the queue before it looks. The eventfd belongs to
 * the queue and is protected by the lock of the queue's vector (onpu_irq.c).
 */

#include <linux/eventfd.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include <drm/drm_drv.h>
#include <drm/drm_utils.h>
#include <drm/onpu_accel.h>

#include <onpu/packet.h>

#include "onpu_device.h"
#include "onpu_irq.h"
#include "onpu_queue.h"
#include "onpu_recovery.h"
#include "onpu_user.h"
#include "onpu_wait.h"

static_assert(DRM_ONPU_WAIT_GE == (int)ONPU_WAIT_GE && DRM_ONPU_WAIT_EQ == (int)ONPU_WAIT_EQ &&
	      DRM_ONPU_WAIT_NE == (int)ONPU_WAIT_NE && DRM_ONPU_WAIT_GT == (int)ONPU_WAIT_GT &&
	      DRM_ONPU_WAIT_LE == (int)ONPU_WAIT_LE && DRM_ONPU_WAIT_LT == (int)ONPU_WAIT_LT);

/**
 * onpu_wait_wake() - let all who wait for a word look again
 * @odev: card
 *
 * Any context.
 */
void onpu_wait_wake(struct onpu_device *odev)
{
	/* Has the barrier between the card's store and the look at the list. */
	if (wq_has_sleeper(&odev->waiters))
		wake_up_all(&odev->waiters);
}

static bool onpu_wait_holds(u64 word, u32 op, u64 value)
{
	switch (op) {
	case DRM_ONPU_WAIT_GE:
		return word >= value;
	case DRM_ONPU_WAIT_EQ:
		return word == value;
	case DRM_ONPU_WAIT_NE:
		return word != value;
	case DRM_ONPU_WAIT_GT:
		return word > value;
	case DRM_ONPU_WAIT_LE:
		return word <= value;
	default:
		return word < value;
	}
}

/* Why nobody will ever change the word, or 0. */
static int onpu_wait_is_vain(struct onpu_device *odev, struct onpu_queue *queue)
{
	if (onpu_recovery_is_wedged(odev))
		return -EIO;
	if (queue && onpu_queue_is_dead(queue))
		return -ECANCELED;
	return 0;
}

/* 1: the word is as wanted, 0: not yet, or a negative error. */
static int onpu_wait_look(struct onpu_device *odev, struct onpu_queue *queue,
			  const struct drm_onpu_wait *args)
{
	int vain;
	u64 word;

	/* Memory of a card that is gone reads as zero. */
	if (onpu_recovery_is_gone(odev) || drm_dev_is_unplugged(&odev->drm))
		return -ENODEV;
	/* First, for the last thing that a queue did may have been to store the word. */
	vain = onpu_wait_is_vain(odev, queue);
	/* The death is marked after the last store. */
	smp_rmb();
	if (get_user(word, (u64 __user *)u64_to_user_ptr(args->addr)))
		return -EFAULT;
	/* What the card stored before the word is there. */
	smp_rmb();
	return onpu_wait_holds(word, args->op, args->value) ? 1 : vain;
}

static int onpu_wait(struct onpu_device *odev, struct onpu_queue *queue,
		     const struct drm_onpu_wait *args)
{
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	long left;
	int ret;

	add_wait_queue(&odev->waiters, &wait);
	for (;;) {
		/* Before the look: it is also looked at when the time is over. */
		left = drm_timeout_abs_to_jiffies(args->timeout_ns);
		ret = onpu_wait_look(odev, queue, args);
		if (ret)
			break;
		ret = left ? 0 : -ETIME;
		if (!ret && signal_pending(current))
			ret = -ERESTARTSYS;
		if (ret)
			break;
		wait_woken(&wait, TASK_INTERRUPTIBLE, left);
	}
	remove_wait_queue(&odev->waiters, &wait);

	return ret < 0 ? ret : 0;
}

/**
 * onpu_ioctl_wait() - DRM_IOCTL_ONPU_WAIT
 * @drm: DRM device
 * @data: struct drm_onpu_wait
 * @file: caller
 *
 * Not between drm_dev_enter() and drm_dev_exit(): it does not hold up an unplug,
 * which ends it. As its end is absolute, it may be restarted after a signal.
 *
 * Return: 0 or a negative error code, see Documentation/uapi.md.
 */
int onpu_ioctl_wait(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct onpu_device *odev = to_onpu_device(drm);
	struct drm_onpu_wait *args = data;
	struct onpu_queue *queue = NULL;
	int ret;

	if (ONPU_BAD(drm, args->flags || args->pad) ||
	    ONPU_BAD(drm, args->op > DRM_ONPU_WAIT_LT) ||
	    ONPU_BAD(drm, args->addr % sizeof(u64)))
		return -EINVAL;
	if (args->queue_id) {
		queue = onpu_queue_lookup(file->driver_priv, args->queue_id);
		if (!queue)
			return -ENOENT;
	}

	ret = onpu_wait(odev, queue, args);
	if (queue)
		onpu_queue_put_active(queue);
	return ret;
}

/**
 * onpu_wait_drop_notify() - let go of the eventfd of a queue
 * @queue: queue that no handler looks at any more
 */
void onpu_wait_drop_notify(struct onpu_queue *queue)
{
	struct eventfd_ctx *eventfd = onpu_irq_set_notify(queue, NULL);

	if (eventfd)
		eventfd_ctx_put(eventfd);
}

/**
 * onpu_ioctl_queue_notify() - DRM_IOCTL_ONPU_QUEUE_NOTIFY
 * @drm: DRM device
 * @data: struct drm_onpu_queue_notify
 * @file: caller
 *
 * Return: 0 or a negative error code, see Documentation/uapi.md.
 */
int onpu_ioctl_queue_notify(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_onpu_queue_notify *args = data;
	struct eventfd_ctx *eventfd = NULL;
	struct onpu_queue *queue;

	if (ONPU_BAD(drm, args->flags || args->pad) || ONPU_BAD(drm, args->fd < -1))
		return -EINVAL;
	queue = onpu_queue_lookup(file->driver_priv, args->queue_id);
	if (!queue)
		return -ENOENT;
	if (args->fd >= 0)
		eventfd = eventfd_ctx_fdget(args->fd);
	if (!IS_ERR(eventfd))
		eventfd = onpu_irq_set_notify(queue, eventfd);
	onpu_queue_put_active(queue);

	if (IS_ERR(eventfd))
		return PTR_ERR(eventfd);
	if (eventfd)
		eventfd_ctx_put(eventfd);
	return 0;
}

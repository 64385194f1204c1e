/* SPDX-License-Identifier: MIT */
/*
 * Descriptors for event loops.
 *
 * A queue has one eventfd, which the kernel counts up when the queue interrupts, when a job of it
 * ends and when it dies; callers have duplicates. From when it is there, work with an event asks for an
 * interrupt of its own, which user-mode queues else avoid. It begins readable and is made readable
 * by this library where the kernel does not know that something has ended: so who reads it before
 * looking at events misses nothing.
 *
 * Locking: notify_fd is set once, under the queue's lock; whoever finds it set may use it without.
 */
#define _GNU_SOURCE
#include "internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

bool queue_notifies(const struct accel_queue *queue)
{
	return atomic_load_explicit(&queue->notify_fd, memory_order_acquire) != 0;
}

void queue_notify(struct accel_queue *queue)
{
	int fd = atomic_load(&queue->notify_fd);

	/* It can fail only if it has counted up to its limit: then it is readable. */
	if (fd && eventfd_write(fd - 1, 1))
		return;
}

static int attach(struct accel_queue *queue, int fd)
{
	struct drm_onpu_queue_notify arg = { .queue_id = queue->id, .fd = fd };

	return device_ioctl(queue->context->device, DRM_IOCTL_ONPU_QUEUE_NOTIFY, &arg);
}

int queue_notify_again(struct accel_queue *queue)
{
	int fd = atomic_load(&queue->notify_fd), ret;

	if (!fd)
		return 0;
	ret = attach(queue, fd - 1);
	if (ret)
		return fail(ret, "the driver does not notify any more: %s", strerror(-ret));
	queue_notify(queue);
	return 0;
}

/* Under the lock of a queue that has none. */
static int create(struct accel_queue *queue)
{
	int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK), ret;

	if (fd < 0)
		return fail(-errno, "no eventfd: %s", strerror(errno));
	ret = attach(queue, fd);
	if (ret) {
		close(fd);
		return fail(ret == -ENOTTY || ret == -EINVAL ? -ENOTSUP : ret,
			    "the driver does not notify of this queue: %s", strerror(-ret));
	}
	atomic_store_explicit(&queue->notify_fd, fd + 1, memory_order_release);
	/* What is in flight has not been asked to interrupt. */
	return queue_backend(queue)->arm ? queue_backend(queue)->arm(queue) : 0;
}

void queue_notify_fini(struct accel_queue *queue)
{
	int fd = atomic_load(&queue->notify_fd);

	if (fd)
		close(fd - 1);
}

int accel_queue_get_event_fd(struct accel_queue *queue, int *out)
{
	int fd, ret;

	api_begin(__func__);
	ret = queue_check(queue);
	if (ret)
		return ret;
	if (!out)
		return fail(-EINVAL, "fd is NULL");
	pthread_mutex_lock(&queue->lock);
	if (atomic_load(&queue->destroyed))
		ret = fail(-ECANCELED, "the queue is destroyed");
	else if (!queue_notifies(queue))
		ret = queue_is_over(queue) ? queue_dead(queue) : create(queue);
	fd = atomic_load(&queue->notify_fd) - 1;
	pthread_mutex_unlock(&queue->lock);
	if (ret)
		return ret;
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return fail(-errno, "no descriptor: %s", strerror(errno));
	*out = fd;
	return 0;
}

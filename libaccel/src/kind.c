/* SPDX-License-Identifier: MIT */
/*
 * The kind of a context's queues.
 *
 * A context begins with user-mode queues where there are such. Only the process knows when their work ends, so
 * the kernel cannot promise that to others: work on buffers that are shared goes through kernel queues,
 * which have fences. When the first shared buffer of a context comes, its queues are changed to
 * that kind, once they have done what they were given. The kernel's address space stays, so do the buffers in
 * it, and the numbers of submissions go on; nobody who waits for one notices.
 *
 * Locking: kind_lock, under which queues of the context are made and destroyed, then the locks of all its queues:
 * nobody else takes two of them. The state lock while the kernel's queue goes.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

struct queue_list {
	struct accel_queue **queues;
	unsigned int count;
};

static bool is_user(struct accel_queue *queue, const struct accel_context *context)
{
	return queue->context == context && queue_backend(queue) == &user_queue &&
	       !atomic_load(&queue->destroyed);
}

/* The user-mode queues of a context, each with a reference. */
static int list_queues(struct accel_context *context, struct queue_list *list)
{
	struct accel_device *device = context->device;
	unsigned int count = 0;

	pthread_mutex_lock(&device->queues_lock);
	for (struct accel_queue *queue = device->queues; queue; queue = queue->next)
		count += is_user(queue, context);
	list->queues = calloc(count + 1, sizeof(*list->queues));
	for (struct accel_queue *queue = device->queues; queue && list->queues; queue = queue->next) {
		if (!is_user(queue, context))
			continue;
		queue_get(queue);
		list->queues[list->count++] = queue;
	}
	pthread_mutex_unlock(&device->queues_lock);
	return list->queues ? 0 : fail(-ENOMEM, "out of memory");
}

static int drain(struct accel_queue *queue)
{
	struct drm_onpu_queue_get_state state;
	int ret;

	ret = queue_wait_over(queue, atomic_load(&queue->submitted), ACCEL_FOREVER, true);
	if (ret)
		return fail(ret, "waiting for the work of the context failed: %s", strerror(-ret));
	/* Of one that has stopped, why; it stays as it is. */
	return queue_state(queue, &state);
}

static int take_off(struct accel_queue *queue)
{
	int ret;

	/* Whoever asks for its state meanwhile must not ask the kernel for that of a queue that is not there. */
	pthread_mutex_lock(&queue->state_lock);
	ret = user_queue.destroy(queue);
	if (!ret)
		atomic_store(&queue->id, 0);
	pthread_mutex_unlock(&queue->state_lock);
	if (ret)
		return fail(ret, "the driver does not let go of a queue: %s", strerror(-ret));
	queue_retire_locked(queue, atomic_load(&queue->submitted));
	user_queue_drop_ring(queue);
	return 0;
}

static int renew(struct accel_queue *queue)
{
	int ret;

	if (queue_is_over(queue))
		return 0;
	ret = kernel_queue.create(queue);
	if (ret)
		return ret;
	atomic_store_explicit(&queue->backend, &kernel_queue, memory_order_release);
	return queue_notify_again(queue);
}

/* Those that could not be made anew have stopped. */
static int change(const struct queue_list *list)
{
	int ret = 0;

	for (unsigned int i = 0; i < list->count && !ret; i++)
		ret = drain(list->queues[i]);
	if (ret)
		return ret;
	for (unsigned int i = 0; i < list->count && !ret; i++)
		ret = take_off(list->queues[i]);
	for (unsigned int i = 0; i < list->count && !ret; i++)
		ret = renew(list->queues[i]);
	for (unsigned int i = 0; i < list->count && ret; i++)
		if (!list->queues[i]->ring.packets && queue_backend(list->queues[i]) == &user_queue)
			queue_give_up(list->queues[i]);
	return ret;
}

int context_need_fences(struct accel_context *context)
{
	struct queue_list list = { 0 };
	int ret = 0;

	pthread_mutex_lock(&context->kind_lock);
	if (!context->user_queues)
		goto out;
	ret = list_queues(context, &list);
	if (ret)
		goto out;
	for (unsigned int i = 0; i < list.count; i++)
		pthread_mutex_lock(&list.queues[i]->lock);
	ret = change(&list);
	if (!ret)
		context->user_queues = false;
	for (unsigned int i = 0; i < list.count; i++)
		pthread_mutex_unlock(&list.queues[i]->lock);
	for (unsigned int i = 0; i < list.count; i++)
		queue_put(list.queues[i]);
	free(list.queues);
	if (!ret)
		log_print(LOG_INFO, "a context shares buffers: %u user-mode queues became kernel queues", list.count);
out:
	pthread_mutex_unlock(&context->kind_lock);
	return ret;
}

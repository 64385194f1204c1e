/* SPDX-License-Identifier: MIT */
/*
 * What a queue waits for besides its own order: other queues, and fences of others' work on
 * shared buffers and of other cards (share.c).
 *
 * A kernel queue has the kernel wait, by syncobjs. A user-mode queue has the card wait for the other
 * queue's word, by WAIT packets; the word of a queue in another context is mapped there, read only, as long
 * as the job is in flight. When the other queue stops, its number never comes, and nobody tells the card: so
 * whoever waits for anything while such jobs are in flight looks after the queues that they wait for, and
 * sets the word of one that has stopped to WORD_OVER.
 *
 * Locking: the queue's lock for its dependencies; device->queues_lock for the look at all queues.
 */
#include "internal.h"

#include <stdlib.h>

/* Leaves the larger part of a ring. */
#define DEPENDENCIES_MAX 128u

void dependency_drop(struct accel_queue *queue, struct dependency *dependency)
{
	if (dependency->view) {
		bo_fini(dependency->view);
		free(dependency->view);
		dependency->view = NULL;
	}
	if (dependency->queue)
		queue_put(dependency->queue);
	else
		syncobj_destroy(queue->context->device, dependency->syncobj);
}

void queue_drop_dependencies(struct accel_queue *queue)
{
	for (unsigned int i = 0; i < queue->dependency_count; i++)
		dependency_drop(queue, &queue->dependencies[i]);
	queue->dependency_count = 0;
}

void queue_prune_dependencies(struct accel_queue *queue)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < queue->dependency_count; i++) {
		struct dependency *dependency = &queue->dependencies[i];

		if (dependency->queue && (queue_done(dependency->queue) >= dependency->point ||
					  atomic_load(&dependency->queue->destroyed)))
			dependency_drop(queue, dependency);
		else
			queue->dependencies[kept++] = *dependency;
	}
	queue->dependency_count = kept;
}

static int append(struct accel_queue *queue, struct dependency dependency)
{
	const struct drm_onpu_query_limits *limits = &queue->context->device->limits;
	uint64_t most = (uint64_t)limits->max_syncs * limits->max_jobs / 4;
	struct dependency *list = queue->dependencies;

	/* All of them go into one submission, next to its own jobs or packets. */
	if (queue->dependency_count >= (most < DEPENDENCIES_MAX ? most : DEPENDENCIES_MAX))
		return fail(-ENOSPC, "the queue waits for %u others: submit something first",
			    queue->dependency_count);
	if (queue->dependency_count == queue->dependency_room) {
		unsigned int room = queue->dependency_room ? queue->dependency_room * 2 : 4;

		list = realloc(list, room * sizeof(*list));
		if (!list)
			return fail(-ENOMEM, "out of memory");
		queue->dependencies = list;
		queue->dependency_room = room;
	}
	list[queue->dependency_count++] = dependency;
	return 0;
}

static int add(struct accel_queue *queue, struct accel_queue *other, uint64_t point)
{
	struct dependency *list = queue->dependencies;
	int ret;

	for (unsigned int i = 0; i < queue->dependency_count; i++) {
		if (list[i].queue != other)
			continue;
		if (list[i].point < point)
			list[i].point = point;
		return 0;
	}
	/* Its work is over. */
	if (atomic_load(&other->destroyed))
		return 0;
	ret = append(queue, (struct dependency){ .queue = other, .point = point });
	if (!ret)
		queue_get(other);
	return ret;
}

int queue_add_fence(struct accel_queue *queue, uint32_t syncobj)
{
	if (queue->capture)
		return fail(-EBUSY, "the queue is capturing: a graph waits for nobody");
	return append(queue, (struct dependency){ .syncobj = syncobj });
}

static int check_events(struct accel_queue *queue, unsigned int count,
			struct accel_event *const *events)
{
	int ret = queue_check(queue);

	if (!ret && count && !events)
		ret = fail(-EINVAL, "events is NULL");
	for (unsigned int i = 0; i < count && !ret; i++)
		ret = events[i] ? device_check(events[i]->queue->context->device) :
				  fail(-EINVAL, "event %u is NULL", i);
	return ret;
}

static bool is_elsewhere(const struct accel_queue *queue, const struct accel_event *event)
{
	return event->queue->context->device != queue->context->device;
}

static int wait_elsewhere(struct accel_queue *queue, unsigned int count,
			  struct accel_event *const *events)
{
	int ret = 0;

	for (unsigned int i = 0; i < count && !ret; i++)
		if (is_elsewhere(queue, events[i]) &&
		    queue_done(events[i]->queue) < events[i]->point)
			ret = queue_wait_across(queue, events[i]->queue, events[i]->point);
	return ret;
}

int accel_queue_wait_events(struct accel_queue *queue, unsigned int count,
			    struct accel_event *const *events)
{
	int ret;

	api_begin(__func__);
	ret = check_events(queue, count, events);
	if (ret)
		return ret;
	pthread_mutex_lock(&queue->lock);
	if (queue->capture && count)
		ret = fail(-EBUSY, "the queue is capturing: a graph waits for nobody");
	for (unsigned int i = 0; i < count && !ret; i++)
		if (events[i]->queue != queue && !is_elsewhere(queue, events[i]) &&
		    queue_done(events[i]->queue) < events[i]->point)
			ret = add(queue, events[i]->queue, events[i]->point);
	pthread_mutex_unlock(&queue->lock);
	return ret ? ret : wait_elsewhere(queue, count, events);
}

void device_look_at_watched(struct accel_device *device)
{
	struct drm_onpu_queue_get_state state;

	if (!atomic_load(&device->watched))
		return;
	pthread_mutex_lock(&device->queues_lock);
	for (struct accel_queue *queue = device->queues; queue; queue = queue->next)
		if (atomic_load(&queue->watchers) && !queue_is_over(queue))
			queue_state(queue, &state);
	pthread_mutex_unlock(&device->queues_lock);
}

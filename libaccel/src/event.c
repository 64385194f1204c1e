/* SPDX-License-Identifier: MIT */
/*
 * Events: a number of a queue's submissions. They keep the queue's memory alive, not
 * the queue.
 *
 * Locking: an event does not change.
 */
#include "internal.h"

#include <stdlib.h>

struct accel_event *event_alloc(struct accel_queue *queue)
{
	struct accel_event *event = calloc(1, sizeof(*event));

	if (event) {
		queue_get(queue);
		event->queue = queue;
	}
	return event;
}

static int event_check(struct accel_event *event)
{
	if (!event)
		return fail(-EINVAL, "event is NULL");
	return device_check(event->queue->context->device);
}

int accel_event_wait(struct accel_event *event, uint64_t timeout_ns)
{
	int ret;

	api_begin(__func__);
	ret = event_check(event);
	return ret ? ret : queue_wait(event->queue, event->point, timeout_ns);
}

int accel_event_query(struct accel_event *event)
{
	struct accel_queue *queue;
	int ret;

	api_begin(__func__);
	ret = event_check(event);
	if (ret)
		return ret;
	queue = event->queue;
	if (queue_done(queue) < event->point &&
	    queue_wait_over(queue, event->point, 0, false) == -ETIME &&
	    queue_done(queue) < event->point)
		return -EBUSY;
	return queue_wait(queue, event->point, 0);
}

int accel_event_get_status(struct accel_event *event, struct accel_status *status)
{
	struct accel_status local;
	struct accel_queue *queue;
	int ret;

	api_begin(__func__);
	ret = event_check(event);
	if (ret)
		return ret;
	if (!status)
		return fail(-EINVAL, "status is NULL");
	queue = event->queue;
	accel_status_init(&local);
	ret = queue_done(queue) >= event->point ? 0 : queue_wait_over(queue, event->point, 0, false);
	if (queue_done(queue) >= event->point) {
		local.state = ACCEL_STATE_DONE;
	} else if (ret == -ETIME) {
		local.state = ACCEL_STATE_PENDING;
	} else {
		ret = queue_failure(queue, event->point, &local);
		if (ret)
			return ret;
	}
	return copy_out(status, &local, sizeof(local), sizeof(local), "accel_status");
}

void accel_event_destroy(struct accel_event *event)
{
	if (!event || device_is_foreign(event->queue->context->device))
		return;
	queue_put(event->queue);
	profile_put(event->profile);
	free(event);
}

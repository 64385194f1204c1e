/* SPDX-License-Identifier: MIT */
/*
 * Queues: creation, waiting, destruction. submit.c fills them.
 *
 * Submissions are numbered from 1. The last packet of each stores its number in a
 * word of the arena, and the kernel signals that point of the queue's timeline
 * syncobj. The word tells success without a system call: a submission that fails never
 * gets to its last packet. So "the kernel has signalled, the word has not come" is
 * failure, and the first number that the word lacks is the submission at fault.
 *
 * Locking: queue->lock for the list of jobs, the arena and the dependencies;
 * state_lock, innermost, for the cached reason of a stopped queue. Waiting for an event
 * takes neither (a thread that submits may sleep holding the first).
 */
#include "internal.h"
#include "os.h"

#include <drm.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A kill is a message to the firmware; far longer than that may take. */
#define KILL_TIMEOUT_NS	(10ull * 1000000000u)

void queue_get(struct accel_queue *queue)
{
	atomic_fetch_add_explicit(&queue->refs, 1, memory_order_relaxed);
}

int queue_check(struct accel_queue *queue)
{
	if (!queue)
		return fail(-EINVAL, "queue is NULL");
	return device_check(queue->context->device);
}

uint64_t queue_done(const struct accel_queue *queue)
{
	return __atomic_load_n((const uint64_t *)(const void *)queue->arena.pointer,
			       __ATOMIC_ACQUIRE);
}

static void free_job(struct accel_queue *queue, struct job *job)
{
	if (job->profile) {
		if (queue_done(queue) >= job->point)
			profile_fill(job->profile, queue->context->device, job->stamps,
				     job->stamp_count);
		profile_put(job->profile);
	}
	if (job->arena_end)
		arena_free_oldest(&queue->arena, job->arena_end);
	if (job->own) {
		bo_fini(job->own);
		free(job->own);
	}
	for (unsigned int i = 0; i < job->buffer_count; i++)
		buffer_put(job->buffers[i]);
	free(job);
}

void queue_retire_locked(struct accel_queue *queue, uint64_t point)
{
	struct job *job;

	while ((job = queue->oldest) && job->point <= point) {
		queue->oldest = job->next;
		if (!queue->oldest)
			queue->newest = &queue->oldest;
		free_job(queue, job);
	}
}

static void retire_to(struct accel_queue *queue, uint64_t point)
{
	if (pthread_mutex_trylock(&queue->lock))
		return;
	queue_retire_locked(queue, point);
	pthread_mutex_unlock(&queue->lock);
}

void queue_retire(struct accel_queue *queue)
{
	retire_to(queue, queue_done(queue));
}

static int64_t deadline(uint64_t timeout_ns)
{
	uint64_t now;

	if (!timeout_ns)
		return 0;
	now = os_now_ns();
	return timeout_ns > INT64_MAX - now ? INT64_MAX : (int64_t)(now + timeout_ns);
}

int queue_wait_fence(struct accel_queue *queue, uint64_t point, uint64_t timeout_ns)
{
	int64_t end = deadline(timeout_ns);
	int ret;

	do {
		struct drm_syncobj_timeline_wait arg = {
			.handles = (uintptr_t)&queue->syncobj,
			.points = (uintptr_t)&point,
			.count_handles = 1,
			.timeout_nsec = end,
		};

		ret = device_ioctl(queue->context->device, DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, &arg);
		/* The kernel counts ticks, and a late machine gets several at once. */
	} while (ret == -ETIME && end && (int64_t)os_now_ns() < end);
	return ret;
}

int queue_wait_point(struct accel_queue *queue, uint64_t point, uint64_t timeout_ns,
		     bool blame_first)
{
	struct accel_status status;
	uint64_t done = queue_done(queue);
	int ret = 0;

	if (done < point) {
		ret = queue_wait_fence(queue, point, timeout_ns);
		done = queue_done(queue);
	}
	if (done >= point) {
		queue_retire(queue);
		return 0;
	}
	if (ret == -ETIME)
		return fail(ret, "not done in %" PRIu64 " ns", timeout_ns);
	if (ret)
		return fail(ret, "waiting for the card failed: %s", strerror(-ret));
	retire_to(queue, point);
	ret = queue_failure(queue, blame_first ? done + 1 : point, &status);
	return ret ? ret : queue_report(&status);
}

int queue_wait(struct accel_queue *queue, uint64_t point, uint64_t timeout_ns)
{
	return queue_wait_point(queue, point, timeout_ns, false);
}

int syncobj_create(struct accel_device *device, uint32_t *handle)
{
	struct drm_syncobj_create arg = { 0 };
	int ret = device_ioctl(device, DRM_IOCTL_SYNCOBJ_CREATE, &arg);

	if (ret)
		return fail(ret, "the driver refused a syncobj: %s", strerror(-ret));
	*handle = arg.handle;
	return 0;
}

void syncobj_destroy(struct accel_device *device, uint32_t handle)
{
	struct drm_syncobj_destroy arg = { .handle = handle };

	device_ioctl(device, DRM_IOCTL_SYNCOBJ_DESTROY, &arg);
}

static int create_kernel_queue(struct accel_queue *queue, uint32_t priority)
{
	struct accel_context *context = queue->context;
	struct drm_onpu_queue_create arg = { .vm_id = context->vm_id, .priority = priority };
	int ret = device_ioctl(context->device, DRM_IOCTL_ONPU_QUEUE_CREATE, &arg);

	if (ret == -EACCES)
		return fail(ret, "priority %u needs CAP_SYS_NICE", priority);
	if (ret)
		return fail(ret, "the driver refused a queue (limit: %u per open device): %s",
			    context->device->limits.max_queues, strerror(-ret));
	queue->id = arg.id;
	return 0;
}

static int init_queue(struct accel_queue *queue, struct accel_context *context, uint32_t priority)
{
	int ret;

	queue->context = context;
	ret = syncobj_create(context->device, &queue->syncobj);
	if (ret)
		return ret;
	ret = arena_init(&queue->arena, context);
	if (ret)
		goto err_syncobj;
	ret = create_kernel_queue(queue, priority);
	if (ret)
		goto err_arena;
	atomic_init(&queue->refs, 1);
	atomic_init(&queue->submitted, 0);
	atomic_init(&queue->destroyed, false);
	atomic_init(&queue->profiling, false);
	queue->newest = &queue->oldest;
	pthread_mutex_init(&queue->lock, NULL);
	pthread_mutex_init(&queue->state_lock, NULL);
	context_get(context);
	return 0;

err_arena:
	arena_fini(&queue->arena);
err_syncobj:
	syncobj_destroy(context->device, queue->syncobj);
	return ret;
}

int accel_queue_create(struct accel_context *context, uint32_t priority, struct accel_queue **out)
{
	struct accel_queue *queue;
	int ret;

	api_begin(__func__);
	if (!context || !out)
		return fail(-EINVAL, "%s is NULL", context ? "queue" : "context");
	if (priority > ACCEL_PRIORITY_REALTIME)
		return fail(-EINVAL, "unknown priority %u", priority);
	ret = device_check(context->device);
	if (ret)
		return ret;
	queue = calloc(1, sizeof(*queue));
	if (!queue)
		return fail(-ENOMEM, "out of memory");
	ret = init_queue(queue, context, priority);
	if (ret) {
		free(queue);
		return ret;
	}
	*out = queue;
	return 0;
}

void queue_put(struct accel_queue *queue)
{
	struct accel_context *context = queue->context;

	if (atomic_fetch_sub(&queue->refs, 1) != 1)
		return;
	syncobj_destroy(context->device, queue->syncobj);
	if (queue->oldest)	/* the card may still use it: better leaked than reused */
		log_print(LOG_WARN, "a queue was not killed in time, its memory is lost");
	else
		arena_fini(&queue->arena);
	pthread_mutex_destroy(&queue->state_lock);
	pthread_mutex_destroy(&queue->lock);
	context_put(context);
	free(queue);
}

void accel_queue_destroy(struct accel_queue *queue)
{
	struct drm_onpu_queue_destroy arg;
	struct drm_onpu_queue_get_state state;
	uint64_t submitted;
	int ret = 0;

	if (!queue || device_is_foreign(queue->context->device))
		return;
	pthread_mutex_lock(&queue->lock);
	submitted = atomic_load(&queue->submitted);
	if (queue_done(queue) < submitted)
		log_print(LOG_INFO, "queue destroyed with %" PRIu64 " submissions unfinished",
			  submitted - queue_done(queue));
	queue_state(queue, &state);	/* events may ask why after it has gone */
	atomic_store(&queue->destroyed, true);
	arg = (struct drm_onpu_queue_destroy){ .id = queue->id };
	device_ioctl(queue->context->device, DRM_IOCTL_ONPU_QUEUE_DESTROY, &arg);
	if (queue->oldest)
		ret = queue_wait_fence(queue, submitted, KILL_TIMEOUT_NS);
	if (!ret || ret == -ENODEV)	/* nothing runs on a card that is gone */
		queue_retire_locked(queue, submitted);
	queue_drop_dependencies(queue);
	free(queue->dependencies);
	queue->dependencies = NULL;
	queue->dependency_room = 0;
	pthread_mutex_unlock(&queue->lock);
	queue_put(queue);
}

int accel_queue_finish(struct accel_queue *queue, uint64_t timeout_ns)
{
	int ret;

	api_begin(__func__);
	ret = queue_check(queue);
	return ret ? ret :
	       queue_wait_point(queue, atomic_load(&queue->submitted), timeout_ns, true);
}

void queue_drop_dependency(struct accel_queue *queue, const struct dependency *dependency)
{
	if (dependency->queue)
		queue_put(dependency->queue);
	else
		syncobj_destroy(queue->context->device, dependency->syncobj);
}

void queue_drop_dependencies(struct accel_queue *queue)
{
	for (unsigned int i = 0; i < queue->dependency_count; i++)
		queue_drop_dependency(queue, &queue->dependencies[i]);
	queue->dependency_count = 0;
}

static int append_dependency(struct accel_queue *queue, struct dependency dependency)
{
	const struct drm_onpu_query_limits *limits = &queue->context->device->limits;
	struct dependency *list = queue->dependencies;

	/* All of them go into one submission, next to its own jobs. */
	if (queue->dependency_count >= (uint64_t)limits->max_syncs * limits->max_jobs / 4)
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

static int add_dependency(struct accel_queue *queue, struct accel_queue *other, uint64_t point)
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
	ret = append_dependency(queue, (struct dependency){ .queue = other, .point = point });
	if (!ret)
		queue_get(other);
	return ret;
}

int queue_add_fence(struct accel_queue *queue, uint32_t syncobj)
{
	return append_dependency(queue, (struct dependency){ .syncobj = syncobj });
}

int accel_queue_wait_events(struct accel_queue *queue, unsigned int count,
			    struct accel_event *const *events)
{
	int ret;

	api_begin(__func__);
	ret = queue_check(queue);
	if (ret)
		return ret;
	if (count && !events)
		return fail(-EINVAL, "events is NULL");
	for (unsigned int i = 0; i < count; i++) {
		if (!events[i])
			return fail(-EINVAL, "event %u is NULL", i);
		if (events[i]->queue->context->device != queue->context->device)
			return fail(-EXDEV, "event %u belongs to another open device", i);
	}
	pthread_mutex_lock(&queue->lock);
	for (unsigned int i = 0; i < count && !ret; i++)
		if (events[i]->queue != queue &&
		    queue_done(events[i]->queue) < events[i]->point)
			ret = add_dependency(queue, events[i]->queue, events[i]->point);
	pthread_mutex_unlock(&queue->lock);
	return ret;
}

/* SPDX-License-Identifier: MIT */
/*
 * Queues: creation, waiting, destruction. submit.c fills them.
 *
 * Submissions are numbered from 1. The last packet of each stores its number in a
 * word. The word tells success without a system call: a submission that fails never
 * gets to its last packet. So "the kernel says that it is over, the word has not come" is
 * failure, and the first number that the word lacks is the submission at fault. How
 * the kernel says so is the backend's matter.
 *
 * Locking: queue->lock for the list of jobs, the arena, the ring and the dependencies;
 * state_lock for the cached reason of a stopped queue. Waiting for an event
 * takes neither for long (a thread that submits may sleep holding the first).
 */
#include "internal.h"
#include "os.h"

#include <drm.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

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
	uint64_t done = __atomic_load_n(queue->word, __ATOMIC_ACQUIRE);

	return done == WORD_OVER ? atomic_load(&queue->last_done) : done;
}

/* ---- jobs ---- */

struct job *queue_get_job(struct accel_queue *queue, unsigned int buffers)
{
	unsigned int room = buffers > JOB_BUFFERS ? buffers : JOB_BUFFERS;
	struct job *job = queue->spare;

	if (job && room == JOB_BUFFERS) {
		queue->spare = job->next;
	} else {
		job = malloc(sizeof(*job) + room * sizeof(job->buffers[0]));
		if (!job)
			return NULL;
		job->buffer_room = room;
	}
	job->own = NULL;
	job->profile = NULL;
	job->dependencies = NULL;
	job->dependency_count = 0;
	job->graph = NULL;
	return job;
}

void queue_put_job(struct accel_queue *queue, struct job *job)
{
	if (job->buffer_room > JOB_BUFFERS) {
		free(job);
		return;
	}
	job->next = queue->spare;
	queue->spare = job;
}

static void end_job(struct accel_queue *queue, struct job *job)
{
	struct accel_device *device = queue->context->device;

	if (job->profile) {
		if (queue_done(queue) >= job->point)
			profile_fill(job->profile, device, job->stamps, job->stamp_count);
		profile_put(job->profile);
	}
	if (job->arena_end)
		arena_free_oldest(&queue->arena, job->arena_end);
	if (job->own) {
		bo_fini(job->own);
		free(job->own);
	}
	queue_backend(queue)->retire(queue, job);
	if (job->dependency_count)
		atomic_fetch_sub(&device->watched, 1);
	for (unsigned int i = 0; i < job->dependency_count; i++) {
		atomic_fetch_sub(&job->dependencies[i].queue->watchers, 1);
		dependency_drop(queue, &job->dependencies[i]);
	}
	free(job->dependencies);
	for (unsigned int i = 0; i < job->buffer_count; i++)
		buffer_put(job->buffers[i]);
	graph_put(job->graph);
	queue_put_job(queue, job);
}

void queue_retire_locked(struct accel_queue *queue, uint64_t point)
{
	struct job *job;

	while ((job = queue->oldest) && job->point <= point) {
		queue->oldest = job->next;
		if (!queue->oldest)
			queue->newest = &queue->oldest;
		end_job(queue, job);
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

/* ---- waiting ---- */

static int64_t deadline(uint64_t timeout_ns)
{
	uint64_t now;

	if (!timeout_ns)
		return 0;
	now = os_now_ns();
	return timeout_ns > INT64_MAX - now ? INT64_MAX : (int64_t)(now + timeout_ns);
}

int queue_wait_over(struct accel_queue *queue, uint64_t point, uint64_t timeout_ns, bool locked)
{
	if (queue_done(queue) >= point || queue_is_over(queue))
		return 0;
	return queue_backend(queue)->wait(queue, point, deadline(timeout_ns), locked);
}

int queue_wait_point(struct accel_queue *queue, uint64_t point, uint64_t timeout_ns,
		     bool blame_first)
{
	struct accel_status status;
	uint64_t done = queue_done(queue);
	int ret = 0;

	if (done < point) {
		ret = queue_wait_over(queue, point, timeout_ns, false);
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
	/* What the kernel has fences for it also keeps the card from; else destruction does. */
	retire_to(queue, queue_backend(queue) == &kernel_queue ? point : done);
	ret = queue_failure(queue, blame_first ? done + 1 : point, &status);
	return ret ? ret : queue_report(&status);
}

int queue_wait(struct accel_queue *queue, uint64_t point, uint64_t timeout_ns)
{
	return queue_wait_point(queue, point, timeout_ns, false);
}

int accel_queue_finish(struct accel_queue *queue, uint64_t timeout_ns)
{
	int ret;

	api_begin(__func__);
	ret = queue_check(queue);
	return ret ? ret :
	       queue_wait_point(queue, atomic_load(&queue->submitted), timeout_ns, true);
}

/* ---- life ---- */

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

static void list_add(struct accel_queue *queue)
{
	struct accel_device *device = queue->context->device;

	pthread_mutex_lock(&device->queues_lock);
	queue->next = device->queues;
	device->queues = queue;
	pthread_mutex_unlock(&device->queues_lock);
}

static void list_remove(struct accel_queue *queue)
{
	struct accel_device *device = queue->context->device;
	struct accel_queue **link;

	pthread_mutex_lock(&device->queues_lock);
	for (link = &device->queues; *link != queue; link = &(*link)->next)
		;
	*link = queue->next;
	pthread_mutex_unlock(&device->queues_lock);
}

/* A queue that has changed its kind keeps the page with its word. */
static void free_memory(struct accel_queue *queue)
{
	queue_backend(queue)->fini(queue);
	if (queue->fence.size)
		bo_fini(&queue->fence);
	arena_fini(&queue->arena);
}

/* Under the lock of the context's kinds, which decides the backend. */
static int init_queue(struct accel_queue *queue, struct accel_context *context, uint32_t priority)
{
	const struct queue_backend *backend = context->user_queues ? &user_queue : &kernel_queue;
	int ret;

	queue->context = context;
	queue->priority = priority;
	ret = arena_init(&queue->arena, context);
	if (ret)
		return ret;
	queue->word = (uint64_t *)(void *)queue->arena.pointer;
	queue->word_va = queue->arena.bo.va;
	queue->newest = &queue->oldest;
	atomic_init(&queue->backend, backend);
	ret = backend->create(queue);
	if (ret) {
		free_memory(queue);
		return ret;
	}
	atomic_init(&queue->refs, 1);
	pthread_mutex_init(&queue->lock, NULL);
	pthread_mutex_init(&queue->state_lock, NULL);
	context_get(context);
	list_add(queue);
	return 0;
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
	pthread_mutex_lock(&context->kind_lock);
	ret = init_queue(queue, context, priority);
	pthread_mutex_unlock(&context->kind_lock);
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
	struct job *job;

	if (atomic_fetch_sub(&queue->refs, 1) != 1)
		return;
	list_remove(queue);
	queue_notify_fini(queue);
	if (queue->oldest) {	/* the card may still use it: better leaked than reused */
		log_print(LOG_WARN, "a queue was not killed in time, its memory is lost");
	} else {
		free_memory(queue);
	}
	while ((job = queue->spare)) {
		queue->spare = job->next;
		free(job);
	}
	pthread_mutex_destroy(&queue->state_lock);
	pthread_mutex_destroy(&queue->lock);
	context_put(context);
	free(queue);
}

void accel_queue_destroy(struct accel_queue *queue)
{
	struct drm_onpu_queue_get_state state;
	uint64_t submitted;
	int ret;

	if (!queue || device_is_foreign(queue->context->device))
		return;
	pthread_mutex_lock(&queue->context->kind_lock);
	pthread_mutex_lock(&queue->lock);
	submitted = atomic_load(&queue->submitted);
	if (queue_done(queue) < submitted)
		log_print(LOG_INFO, "queue destroyed with %" PRIu64 " submissions unfinished",
			  submitted - queue_done(queue));
	queue_state(queue, &state);	/* events may ask why after it has gone */
	atomic_store(&queue->destroyed, true);
	ret = queue_backend(queue)->destroy(queue);
	if (!ret)
		queue_retire_locked(queue, submitted);
	queue_release_watchers(queue);
	capture_drop(queue->capture);
	queue->capture = NULL;
	queue_drop_dependencies(queue);
	free(queue->dependencies);
	queue->dependencies = NULL;
	queue->dependency_room = 0;
	pthread_mutex_unlock(&queue->lock);
	pthread_mutex_unlock(&queue->context->kind_lock);
	queue_notify(queue);
	queue_put(queue);
}

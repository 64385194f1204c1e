/* SPDX-License-Identifier: MIT */
/*
 * Kernel queues: each submission is an ioctl.
 *
 * A submission becomes one job, or several in one ioctl where the driver's limits ask for that; the last
 * signals the point of the queue's timeline syncobj. Unfinished dependencies are syncs of
 * the first job, those that do not fit go into empty jobs before it. When the kernel's queue is full the ioctl
 * waits.
 *
 * Locking: the queue's lock is held by whoever submits.
 */
#include "internal.h"
#include "os.h"

#include <drm.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A kill is a message to the firmware; far longer than that may take. */
#define KILL_TIMEOUT_NS	(10ull * 1000000000u)

static void kernel_fini(struct accel_queue *queue)
{
	if (queue->syncobj)
		syncobj_destroy(queue->context->device, queue->syncobj);
	queue->syncobj = 0;
}

static int kernel_create(struct accel_queue *queue)
{
	struct accel_context *context = queue->context;
	struct drm_onpu_queue_create arg = { .vm_id = context->vm_id, .priority = queue->priority };
	int ret;

	ret = syncobj_create(context->device, &queue->syncobj);
	if (ret)
		return ret;
	ret = device_ioctl(context->device, DRM_IOCTL_ONPU_QUEUE_CREATE, &arg);
	if (ret)
		kernel_fini(queue);
	if (ret == -EACCES)
		return fail(ret, "priority %u needs CAP_SYS_NICE", queue->priority);
	if (ret)
		return fail(ret, "the driver refused a queue (limit: %u per open device): %s",
			    context->device->limits.max_queues, strerror(-ret));
	queue->id = arg.id;
	return 0;
}

/* The jobs of one SUBMIT and their syncs. */
struct job_list {
	struct drm_onpu_job *jobs;
	unsigned int count;
	struct drm_onpu_sync *syncs;
	unsigned int sync_count;
};

static void add_job(struct job_list *list, uint64_t va, uint32_t packets, unsigned int first_sync)
{
	list->jobs[list->count++] = (struct drm_onpu_job){
		.cmd_va = va,
		.cmd_count = packets,
		.syncs = {
			.count = list->sync_count - first_sync,
			.stride = sizeof(struct drm_onpu_sync),
			.ptr = (uintptr_t)(list->syncs + first_sync),
		},
	};
}

static struct drm_onpu_sync wait_sync(const struct dependency *dependency)
{
	if (!dependency->queue)
		return (struct drm_onpu_sync){ .handle = dependency->syncobj };
	return (struct drm_onpu_sync){
		.flags = DRM_ONPU_SYNC_TIMELINE,
		.handle = dependency->queue->syncobj,
		.point = dependency->point,
	};
}

/* Adds jobs of at most max_packets; the last is left to the caller, with what it returns. */
static unsigned int add_parts(const struct accel_queue *queue, struct job_list *list, uint64_t *va,
			      unsigned int packets, unsigned int *first)
{
	const uint32_t max = queue->context->device->limits.max_packets;

	while (packets > max) {
		add_job(list, *va, max, *first);
		*first = list->sync_count;
		*va += (uint64_t)max * ONPU_PACKET_SIZE;
		packets -= max;
	}
	return packets;
}

static void fill_jobs(const struct accel_queue *queue, struct job_list *list,
		      const struct submission *submission, const struct commands *commands,
		      uint64_t point)
{
	const struct drm_onpu_query_limits *limits = &queue->context->device->limits;
	uint64_t va = commands->va;
	unsigned int first = 0, packets;

	for (unsigned int i = 0; i < queue->dependency_count; i++) {
		/* The last job also signals. */
		if (list->sync_count - first == limits->max_syncs - 1) {
			add_job(list, 0, 0, first);
			first = list->sync_count;
		}
		list->syncs[list->sync_count++] = wait_sync(&queue->dependencies[i]);
	}
	if (submission->graph) {
		uint32_t count;
		uint64_t graph = graph_commands(submission->graph, &count);

		packets = add_parts(queue, list, &graph, count, &first);
		if (packets)
			add_job(list, graph, packets, first);
		first = list->sync_count;
	}
	packets = add_parts(queue, list, &va, commands->packets, &first);
	list->syncs[list->sync_count++] = (struct drm_onpu_sync){
		.flags = DRM_ONPU_SYNC_SIGNAL | DRM_ONPU_SYNC_TIMELINE,
		.handle = queue->syncobj,
		.point = point,
	};
	add_job(list, va, packets, first);
}

/* The kernel must not wait for what only user space can tell: so we do. */
static int wait_for_user_queues(struct accel_queue *queue)
{
	for (unsigned int i = 0; i < queue->dependency_count; i++) {
		const struct dependency *dependency = &queue->dependencies[i];
		int ret;

		if (!dependency->queue || queue_backend(dependency->queue) == &kernel_queue)
			continue;
		ret = queue_wait_over(dependency->queue, dependency->point, ACCEL_FOREVER, false);
		if (ret)
			return fail(ret, "waiting for another queue failed: %s", strerror(-ret));
		/* Failed or done, it is over. */
		dependency_drop(queue, &queue->dependencies[i]);
		queue->dependencies[i--] = queue->dependencies[--queue->dependency_count];
	}
	return 0;
}

static int submit_error(struct accel_queue *queue, int error)
{
	const struct accel_device *device = queue->context->device;

	if (error == -ECANCELED)
		return queue_dead(queue);
	if (error == -ENOMEM)
		return fail(error, "the driver has no memory for the submission: the buffers of the context that must be in"
			    " card memory have to fit into its %" PRIu64 " bytes together",
			    (uint64_t)device->memory.vram_size);
	return fail(error, "the driver refused the submission: %s", strerror(-error));
}

static int kernel_submit(struct accel_queue *queue, const struct submission *submission,
			 const struct commands *commands, struct job *job, uint64_t point)
{
	const struct accel_device *device = queue->context->device;
	struct drm_onpu_job few_jobs[4];
	struct drm_onpu_sync few_syncs[8];
	struct job_list list = { .jobs = few_jobs, .syncs = few_syncs };
	struct drm_onpu_submit arg = { .queue_id = queue->id };
	uint32_t graph = submission->graph ? accel_graph_size(submission->graph) + device->limits.max_packets : 0;
	size_t jobs, syncs;
	int ret;

	(void)job;
	ret = wait_for_user_queues(queue);
	if (ret)
		return ret;
	jobs = (commands->packets + graph) / device->limits.max_packets + queue->dependency_count + 1;
	syncs = queue->dependency_count + 1;
	ret = -ENOMEM;
	if (jobs > ARRAY_SIZE(few_jobs))
		list.jobs = calloc(jobs, sizeof(*list.jobs));
	if (syncs > ARRAY_SIZE(few_syncs))
		list.syncs = calloc(syncs, sizeof(*list.syncs));
	if (list.jobs && list.syncs) {
		fill_jobs(queue, &list, submission, commands, point);
		arg.jobs.count = list.count;
		arg.jobs.stride = sizeof(*list.jobs);
		arg.jobs.ptr = (uintptr_t)list.jobs;
		ret = device_ioctl(device, DRM_IOCTL_ONPU_SUBMIT, &arg);
	}
	if (list.jobs != few_jobs)
		free(list.jobs);
	if (list.syncs != few_syncs)
		free(list.syncs);
	if (ret)
		return submit_error(queue, ret);
	queue_drop_dependencies(queue);
	return 0;
}

static int kernel_wait(struct accel_queue *queue, uint64_t point, int64_t end, bool locked)
{
	struct accel_device *device = queue->context->device;
	const int64_t slice = 20000000;
	int ret;

	(void)locked;
	do {
		int64_t now = end ? (int64_t)os_now_ns() : 0;
		bool sliced = end && atomic_load(&device->watched) && now < end - slice;
		struct drm_syncobj_timeline_wait arg = {
			.handles = (uintptr_t)&queue->syncobj,
			.points = (uintptr_t)&point,
			.count_handles = 1,
			.timeout_nsec = sliced ? now + slice : end,
		};

		ret = device_ioctl(device, DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, &arg);
		if (ret == -ETIME)
			device_look_at_watched(device);
		/* The kernel counts ticks, and a late machine gets several at once. */
	} while (ret == -ETIME && end && (int64_t)os_now_ns() < end);
	return ret;
}

/* Newest point that the kernel has signalled, with or without error. */
static uint64_t kernel_over(struct accel_queue *queue)
{
	uint64_t point = 0;
	struct drm_syncobj_timeline_array arg = {
		.handles = (uintptr_t)&queue->syncobj,
		.points = (uintptr_t)&point,
		.count_handles = 1,
	};

	if (device_ioctl(queue->context->device, DRM_IOCTL_SYNCOBJ_QUERY, &arg))
		return queue_done(queue);
	return point;
}

static void kernel_retire(struct accel_queue *queue, const struct job *job)
{
	(void)queue;
	(void)job;
}

static int kernel_destroy(struct accel_queue *queue)
{
	struct drm_onpu_queue_destroy arg = { .id = queue->id };
	int ret;

	device_ioctl(queue->context->device, DRM_IOCTL_ONPU_QUEUE_DESTROY, &arg);
	if (!queue->oldest)
		return 0;
	ret = kernel_wait(queue, atomic_load(&queue->submitted),
			  (int64_t)(os_now_ns() + KILL_TIMEOUT_NS), true);
	return ret == -ENODEV ? 0 : ret;	/* nothing runs on a card that is gone */
}

const struct queue_backend kernel_queue = {
	.signal_in_memory = true,
	.create = kernel_create,
	.submit = kernel_submit,
	.wait = kernel_wait,
	.over = kernel_over,
	.retire = kernel_retire,
	.destroy = kernel_destroy,
	.fini = kernel_fini,
};

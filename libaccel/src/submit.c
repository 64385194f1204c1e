/* SPDX-License-Identifier: MIT */
/*
 * From packets to SUBMIT: command memory, dependencies, one ioctl.
 *
 * A submission is a run of packets in the arena (or, if large, in a buffer object of its
 * own), followed by the SIGNAL that stores its number, followed by the descriptors and, when the
 * queue is profiled, room for a stamp of each packet. It
 * becomes one job, or several in one ioctl where the driver's limits ask for that; the last
 * signals the point of the queue's timeline. Unfinished dependencies are syncs of
 * the first job, those that do not fit go into empty jobs before it.
 *
 * Locking: queue->lock throughout, so that numbers, memory and jobs have one order. While
 * the arena is full the thread sleeps with the lock held; only submitters need it.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Where the commands of a submission stand. */
struct commands {
	uint8_t *pointer;
	uint64_t va;
	uint32_t arena_end;
	struct bo *own;
};

static int64_t arena_alloc_wait(struct accel_queue *queue, uint32_t size)
{
	for (;;) {
		int64_t offset = arena_alloc(&queue->arena, size);
		uint64_t point;
		int ret;

		if (offset >= 0)
			return offset;
		/* Some job in flight has it: an empty arena holds any size that comes here. */
		if (!queue->oldest)
			return fail(-ENOMEM, "command memory is lost");
		point = queue->oldest->point;
		ret = queue_wait_fence(queue, point, ACCEL_FOREVER);
		if (ret)
			return fail(ret, "waiting for command memory failed: %s", strerror(-ret));
		queue_retire_locked(queue, point);
	}
}

static int alloc_own(struct accel_queue *queue, uint32_t size, struct commands *commands)
{
	struct bo *own = malloc(sizeof(*own));
	void *pointer;
	int ret;

	if (!own)
		return fail(-ENOMEM, "out of memory");
	ret = bo_init(own, queue->context, size, DRM_ONPU_BO_VRAM | DRM_ONPU_BO_SYSTEM, 0);
	if (ret)
		goto err_free;
	ret = bo_map(own, &pointer);
	if (ret)
		goto err_fini;
	commands->pointer = pointer;
	commands->va = own->va;
	commands->own = own;
	return 0;

err_fini:
	bo_fini(own);
err_free:
	free(own);
	return ret;
}

static int alloc_commands(struct accel_queue *queue, uint32_t size, struct commands *commands)
{
	int64_t offset;

	if (size > ARENA_ALLOC_MAX)
		return alloc_own(queue, size, commands);
	offset = arena_alloc_wait(queue, size);
	if (offset < 0)
		return (int)offset;
	commands->pointer = queue->arena.pointer + offset;
	commands->va = queue->arena.bo.va + (uint64_t)offset;
	commands->arena_end = (uint32_t)offset + arena_round(size);
	return 0;
}

static uint32_t stamps_offset(const struct submission *submission)
{
	return (uint32_t)((submission->packet_count + 1) * sizeof(struct onpu_packet) +
			  submission->desc_count * sizeof(struct onpu_matmul_desc));
}

static void write_commands(const struct accel_queue *queue, const struct submission *submission,
			   const struct commands *commands, uint64_t point)
{
	uint64_t packets = (submission->packet_count + 1ull) * ONPU_PACKET_SIZE;
	struct onpu_packet packet;
	uint8_t *to = commands->pointer;

	for (unsigned int i = 0; i < submission->packet_count; i++, to += sizeof(packet)) {
		packet = submission->packets[i];
		if (packet.opcode == ONPU_OP_MATMUL)
			packet.matmul.desc_va = commands->va + packets + packet.matmul.desc_va *
						sizeof(struct onpu_matmul_desc);
		if (submission->profile) {
			packet.flags |= ONPU_PKT_STAMP;
			packet.stamp.va = commands->va + stamps_offset(submission) +
					  i * sizeof(struct onpu_stamp);
		}
		memcpy(to, &packet, sizeof(packet));
	}
	memset(&packet, 0, sizeof(packet));
	packet.opcode = ONPU_OP_SIGNAL;
	packet.signal.va = queue->arena.bo.va;
	packet.signal.value = point;
	memcpy(to, &packet, sizeof(packet));
	if (submission->desc_count)
		memcpy(commands->pointer + packets, submission->descs,
		       submission->desc_count * sizeof(*submission->descs));
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

/* Drops dependencies that are done. */
static void prune_dependencies(struct accel_queue *queue)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < queue->dependency_count; i++) {
		struct dependency *dependency = &queue->dependencies[i];

		if (dependency->queue && queue_done(dependency->queue) >= dependency->point)
			queue_drop_dependency(queue, dependency);
		else
			queue->dependencies[kept++] = *dependency;
	}
	queue->dependency_count = kept;
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

static void fill_jobs(const struct accel_queue *queue, struct job_list *list, uint64_t va,
		      unsigned int packets, uint64_t point)
{
	const struct drm_onpu_query_limits *limits = &queue->context->device->limits;
	unsigned int first = 0;

	for (unsigned int i = 0; i < queue->dependency_count; i++) {
		/* The last job also signals. */
		if (list->sync_count - first == limits->max_syncs - 1) {
			add_job(list, 0, 0, first);
			first = list->sync_count;
		}
		list->syncs[list->sync_count++] = wait_sync(&queue->dependencies[i]);
	}
	while (packets > limits->max_packets) {
		add_job(list, va, limits->max_packets, first);
		first = list->sync_count;
		va += (uint64_t)limits->max_packets * ONPU_PACKET_SIZE;
		packets -= limits->max_packets;
	}
	list->syncs[list->sync_count++] = (struct drm_onpu_sync){
		.flags = DRM_ONPU_SYNC_SIGNAL | DRM_ONPU_SYNC_TIMELINE,
		.handle = queue->syncobj,
		.point = point,
	};
	add_job(list, va, packets, first);
}

static int submit_jobs(struct accel_queue *queue, uint64_t va, unsigned int packets, uint64_t point)
{
	const struct accel_device *device = queue->context->device;
	struct drm_onpu_job few_jobs[4];
	struct drm_onpu_sync few_syncs[8];
	struct job_list list = { .jobs = few_jobs, .syncs = few_syncs };
	size_t jobs = packets / device->limits.max_packets + queue->dependency_count + 1;
	size_t syncs = queue->dependency_count + 1;
	struct drm_onpu_submit arg = { .queue_id = queue->id };
	int ret = -ENOMEM;

	if (jobs > ARRAY_SIZE(few_jobs))
		list.jobs = calloc(jobs, sizeof(*list.jobs));
	if (syncs > ARRAY_SIZE(few_syncs))
		list.syncs = calloc(syncs, sizeof(*list.syncs));
	if (list.jobs && list.syncs) {
		fill_jobs(queue, &list, va, packets, point);
		arg.jobs.count = list.count;
		arg.jobs.stride = sizeof(*list.jobs);
		arg.jobs.ptr = (uintptr_t)list.jobs;
		ret = device_ioctl(device, DRM_IOCTL_ONPU_SUBMIT, &arg);
	}
	if (list.jobs != few_jobs)
		free(list.jobs);
	if (list.syncs != few_syncs)
		free(list.syncs);
	if (ret == -ECANCELED)
		return queue_dead(queue);
	if (ret == -ENOMEM)
		return fail(ret, "the driver has no memory for the submission: the buffers of the context that must be in"
			    " card memory have to fit into its %" PRIu64 " bytes together",
			    (uint64_t)device->memory.vram_size);
	if (ret)
		return fail(ret, "the driver refused the submission: %s", strerror(-ret));
	return 0;
}

static void append_job(struct accel_queue *queue, struct job *job, const struct commands *commands,
		       const struct submission *submission, uint64_t point)
{
	job->next = NULL;
	job->point = point;
	job->arena_end = commands->arena_end;
	job->own = commands->own;
	job->profile = submission->profile;
	job->stamps = NULL;
	if (job->profile) {
		profile_get(job->profile);
		job->stamps = (const void *)(commands->pointer + stamps_offset(submission));
		job->stamp_count = submission->packet_count;
	}
	job->buffer_count = submission->buffer_count;
	for (unsigned int i = 0; i < submission->buffer_count; i++) {
		job->buffers[i] = submission->buffers[i];
		buffer_get(job->buffers[i]);
	}
	*queue->newest = job;
	queue->newest = &job->next;
	atomic_store(&queue->submitted, point);
	queue_drop_dependencies(queue);
}

static int check_limits(const struct accel_queue *queue, const struct submission *submission)
{
	const struct drm_onpu_query_limits *limits = &queue->context->device->limits;
	uint64_t most;

	if (!limits->max_packets || limits->max_syncs < 2 || !limits->max_jobs)
		return fail(-ENOTSUP, "the driver tells no limits for submissions");
	most = (uint64_t)limits->max_packets * limits->max_jobs - 1;
	if (most > ONPU_CALL_MAX - 1)
		most = ONPU_CALL_MAX - 1;
	if (submission->packet_count > most)
		return fail(-E2BIG, "%u operations are more than the %" PRIu64 " of a submission",
			    submission->packet_count, most);
	return 0;
}

static int submit_locked(struct accel_queue *queue, const struct submission *submission,
			 struct job *job, uint64_t *point)
{
	unsigned int packets = submission->packet_count + 1;
	uint32_t size = stamps_offset(submission) +
			(submission->profile ? submission->packet_count : 0) *
			(uint32_t)sizeof(struct onpu_stamp);
	struct commands commands = { 0 };
	int ret;

	queue_retire_locked(queue, queue_done(queue));
	prune_dependencies(queue);
	ret = alloc_commands(queue, size, &commands);
	if (ret)
		return ret;
	*point = atomic_load(&queue->submitted) + 1;
	write_commands(queue, submission, &commands, *point);
	ret = submit_jobs(queue, commands.va, packets, *point);
	if (!ret) {
		append_job(queue, job, &commands, submission, *point);
		return 0;
	}
	if (commands.own) {
		bo_fini(commands.own);
		free(commands.own);
	} else {
		arena_undo(&queue->arena, commands.arena_end, size);
	}
	return ret;
}

int queue_submit(struct accel_queue *queue, const struct submission *submission, uint64_t *point)
{
	struct job *job;
	int ret;

	ret = check_limits(queue, submission);
	if (ret)
		return ret;
	job = malloc(sizeof(*job) + submission->buffer_count * sizeof(job->buffers[0]));
	if (!job)
		return fail(-ENOMEM, "out of memory");
	pthread_mutex_lock(&queue->lock);
	if (atomic_load(&queue->destroyed))
		ret = fail(-ECANCELED, "the queue is destroyed");
	else
		ret = submit_locked(queue, submission, job, point);
	pthread_mutex_unlock(&queue->lock);
	if (ret)
		free(job);
	else
		log_print(LOG_DEBUG, "queue %u: submission %" PRIu64 ", %u packets", queue->id, *point,
			  submission->packet_count);
	return ret;
}

int queue_submit_event(struct accel_queue *queue, const struct submission *submission,
		       struct accel_event **out)
{
	struct submission own = *submission;
	bool profiling = atomic_load(&queue->profiling);
	struct accel_event *event = NULL;
	uint64_t point;
	int ret;

	if (out) {
		event = event_alloc(queue);
		if (event && profiling)
			event->profile = profile_create();
		if (!event || (profiling && !event->profile)) {
			accel_event_destroy(event);
			return fail(-ENOMEM, "out of memory");
		}
		own.profile = event->profile;
	}
	ret = queue_submit(queue, &own, &point);
	if (ret) {
		accel_event_destroy(event);
		return ret;
	}
	if (out) {
		event->point = point;
		*out = event;
	}
	return 0;
}

int queue_submit_wait(struct accel_queue *queue, const struct submission *submission)
{
	uint64_t point;
	int ret = queue_submit(queue, submission, &point);

	return ret ? ret : queue_wait(queue, point, ACCEL_FOREVER);
}

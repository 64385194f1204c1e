/* SPDX-License-Identifier: MIT */
/*
 * From operations to commands: packets, descriptors, the memory that they stand in.
 *
 * The command memory of a submission is in the arena (or, if large, a buffer object of its own): a run of
 * packets, with the SIGNAL that stores its number behind them if the backend wants it there; the
 * descriptors; and, when the queue is profiled, room for a stamp of each packet. Few packets may go into
 * a ring instead. Handing it all to the card is the backend's.
 *
 * Locking: queue->lock throughout, so that numbers, memory and jobs have one order. While
 * the arena is full the thread sleeps with the lock held; only submitters need it.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

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
		ret = queue_wait_over(queue, point, ACCEL_FOREVER, true);
		if (ret)
			return fail(ret, "waiting for command memory failed: %s", strerror(-ret));
		if (queue_backend(queue) != &kernel_queue && queue_done(queue) < point)
			return queue_dead(queue);
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

static int alloc_commands(struct accel_queue *queue, struct commands *commands)
{
	int64_t offset;

	if (!commands->size)
		return 0;
	if (commands->size > ARENA_ALLOC_MAX)
		return alloc_own(queue, commands->size, commands);
	offset = arena_alloc_wait(queue, commands->size);
	if (offset < 0)
		return (int)offset;
	commands->pointer = queue->arena.pointer + offset;
	commands->va = queue->arena.bo.va + (uint64_t)offset;
	commands->arena_end = (uint32_t)offset + arena_round(commands->size);
	return 0;
}

static void free_commands(struct accel_queue *queue, struct commands *commands)
{
	if (commands->own) {
		bo_fini(commands->own);
		free(commands->own);
	} else if (commands->size) {
		arena_undo(&queue->arena, commands->arena_end, commands->size);
	}
}

/* What a submission stands in, by the backend's rules. */
static void plan_commands(const struct queue_backend *backend, const struct submission *submission,
			  struct commands *commands)
{
	if (submission->packet_count > backend->inline_packets || backend->signal_in_memory)
		commands->packets = submission->packet_count + backend->signal_in_memory;
	commands->descs_offset = commands->packets * (uint32_t)sizeof(struct onpu_packet);
	commands->stamps_offset = commands->descs_offset +
				  submission->desc_count * (uint32_t)sizeof(struct onpu_matmul_desc);
	commands->size = commands->stamps_offset +
			 (submission->profile ? submission->packet_count : 0) *
			 (uint32_t)sizeof(struct onpu_stamp);
}

struct onpu_packet submission_packet(const struct submission *submission,
				     const struct commands *commands, unsigned int index)
{
	struct onpu_packet packet = submission->packets[index];

	if (packet.opcode == ONPU_OP_MATMUL)
		packet.matmul.desc_va = commands->va + commands->descs_offset +
					packet.matmul.desc_va * sizeof(struct onpu_matmul_desc);
	if (submission->profile) {
		packet.flags |= ONPU_PKT_STAMP;
		packet.stamp.va = commands->va + commands->stamps_offset + index * sizeof(struct onpu_stamp);
	}
	return packet;
}

struct onpu_packet queue_signal(const struct accel_queue *queue, uint64_t point)
{
	struct onpu_packet packet = { .opcode = ONPU_OP_SIGNAL };

	packet.signal.va = queue->word_va;
	packet.signal.value = point;
	return packet;
}

static void write_commands(const struct accel_queue *queue, const struct submission *submission,
			   const struct commands *commands, uint64_t point)
{
	struct onpu_packet packet;
	uint8_t *to = commands->pointer;

	for (unsigned int i = 0; i < commands->packets; i++, to += sizeof(packet)) {
		packet = i < submission->packet_count ? submission_packet(submission, commands, i) :
							queue_signal(queue, point);
		memcpy(to, &packet, sizeof(packet));
	}
	if (submission->desc_count)
		memcpy(commands->pointer + commands->descs_offset, submission->descs,
		       submission->desc_count * sizeof(*submission->descs));
}

static void append_job(struct accel_queue *queue, struct job *job, const struct commands *commands,
		       const struct submission *submission, uint64_t point)
{
	job->next = NULL;
	job->point = point;
	job->arena_end = commands->arena_end;
	job->own = commands->own;
	job->profile = submission->profile;
	if (job->profile) {
		profile_get(job->profile);
		job->stamps = commands->size ? (const void *)(commands->pointer + commands->stamps_offset) : NULL;
		job->stamp_count = submission->packet_count;
	}
	job->graph = submission->graph;
	if (job->graph)
		graph_get(job->graph);
	job->buffer_count = submission->buffer_count;
	for (unsigned int i = 0; i < submission->buffer_count; i++) {
		job->buffers[i] = submission->buffers[i];
		buffer_get(job->buffers[i]);
	}
	*queue->newest = job;
	queue->newest = &job->next;
	atomic_store(&queue->submitted, point);
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
			 struct job *job, bool awaited, uint64_t *point)
{
	const struct queue_backend *backend = queue_backend(queue);
	struct commands commands = { .awaited = awaited };
	int ret;

	if (queue->oldest)
		queue_retire_locked(queue, queue_done(queue));
	if (queue->dependency_count)
		queue_prune_dependencies(queue);
	plan_commands(backend, submission, &commands);
	ret = alloc_commands(queue, &commands);
	if (ret)
		return ret;
	*point = atomic_load(&queue->submitted) + 1;
	write_commands(queue, submission, &commands, *point);
	ret = backend->submit(queue, submission, &commands, job, *point);
	if (ret)
		free_commands(queue, &commands);
	else
		append_job(queue, job, &commands, submission, *point);
	return ret;
}

static int submit(struct accel_queue *queue, const struct submission *submission, bool awaited,
		  uint64_t *point);

/* With stamps for the trace. */
static int submit_traced(struct accel_queue *queue, const struct submission *submission, bool awaited,
			 uint64_t *point)
{
	struct submission own = *submission;
	int ret;

	own.profile = profile_create(queue->id);
	if (!own.profile)
		return fail(-ENOMEM, "out of memory");
	ret = submit(queue, &own, awaited, point);
	profile_put(own.profile);
	return ret;
}

/* @awaited: somebody is going to wait for it. */
static int submit(struct accel_queue *queue, const struct submission *submission, bool awaited,
		  uint64_t *point)
{
	struct job *job;
	int ret;

	if (!submission->profile && queue->context->device->engines.macs_32 && trace_on())
		return submit_traced(queue, submission, awaited, point);
	ret = check_limits(queue, submission);
	if (ret)
		return ret;
	pthread_mutex_lock(&queue->lock);
	if (queue->capture) {
		ret = awaited ? fail(-EBUSY, "the queue is capturing: there is nothing to wait for") :
				capture_add(queue, submission);
		*point = 0;
		pthread_mutex_unlock(&queue->lock);
		return ret;
	}
	job = queue_get_job(queue, submission->buffer_count);
	if (!job)
		ret = fail(-ENOMEM, "out of memory");
	else if (atomic_load(&queue->destroyed))
		ret = fail(-ECANCELED, "the queue is destroyed");
	else
		ret = submit_locked(queue, submission, job, awaited, point);
	if (ret && job)
		queue_put_job(queue, job);
	pthread_mutex_unlock(&queue->lock);
	if (!ret)
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
			event->profile = profile_create(queue->id);
		if (!event || (profiling && !event->profile)) {
			accel_event_destroy(event);
			return fail(-ENOMEM, "out of memory");
		}
		own.profile = event->profile;
	}
	ret = submit(queue, &own, out, &point);
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
	int ret = submit(queue, submission, true, &point);

	return ret ? ret : queue_wait(queue, point, ACCEL_FOREVER);
}

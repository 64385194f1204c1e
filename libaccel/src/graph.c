/* SPDX-License-Identifier: MIT */
/*
 * Graphs: operations that are recorded once and submitted as a whole, as often as wanted.
 *
 * While a queue captures, what is submitted to it is checked as ever, but its packets and descriptors are
 * kept instead. The end of the capture writes them into a buffer object of their own, which the card only
 * reads; a launch is one CALL of it in a ring, or one ioctl that names it. Neither depends on how much it is.
 *
 * A graph keeps its buffers, and a launch in flight keeps the graph. With profiling or a trace on, each launch
 * needs room for stamps of its own: then the packets are submitted like any others, from a copy in the process.
 *
 * Locking: the capture belongs to the queue and its lock; a graph does not change.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct capture {
	struct onpu_packet *packets;
	struct onpu_matmul_desc *descs;
	struct accel_buffer **buffers;	/* each with a reference */
	unsigned int packet_count, packet_room;
	unsigned int desc_count, desc_room;
	unsigned int buffer_count, buffer_room;
};

struct accel_graph {
	atomic_uint refs;
	struct accel_context *context;
	struct bo bo;		/* packets, then descriptors; size 0: there are none */
	struct capture content;	/* desc_va is an index, as in submissions; each buffer once */
};

/* ---- recording ---- */

static int grow(void *array, unsigned int *room, unsigned int need, size_t size)
{
	unsigned int more = *room ? *room : 16;
	void *old, *new;

	while (more < need)
		more *= 2;
	if (more == *room)
		return 0;
	memcpy(&old, array, sizeof(old));
	new = realloc(old, more * size);
	if (!new)
		return fail(-ENOMEM, "out of memory");
	memcpy(array, &new, sizeof(new));
	*room = more;
	return 0;
}

int capture_add(struct accel_queue *queue, const struct submission *submission)
{
	const struct drm_onpu_query_limits *limits = &queue->context->device->limits;
	/* A kernel queue takes a launch in one call, with a job for its number. */
	uint64_t most = limits->max_packets * (limits->max_jobs - 1ull);
	struct capture *capture = queue->capture;
	uint64_t packets = (uint64_t)capture->packet_count + submission->packet_count;
	unsigned int descs = capture->desc_count + submission->desc_count;
	unsigned int buffers = capture->buffer_count + submission->buffer_count;
	int ret;

	if (submission->graph)
		return fail(-EBUSY, "the queue is capturing: graphs do not contain graphs");
	/* As those of a submission, which it becomes for stamps. */
	if (most > ONPU_CALL_MAX - 1)
		most = ONPU_CALL_MAX - 1;
	if (packets > most)
		return fail(-E2BIG, "%" PRIu64 " operations are more than the %" PRIu64 " of a graph", packets, most);
	ret = grow(&capture->packets, &capture->packet_room, (unsigned int)packets, sizeof(*capture->packets));
	if (!ret)
		ret = grow(&capture->descs, &capture->desc_room, descs, sizeof(*capture->descs));
	if (!ret)
		ret = grow(&capture->buffers, &capture->buffer_room, buffers, sizeof(*capture->buffers));
	if (ret)
		return ret;
	for (unsigned int i = 0; i < submission->packet_count; i++) {
		struct onpu_packet packet = submission->packets[i];

		if (packet.opcode == ONPU_OP_MATMUL)
			packet.matmul.desc_va += capture->desc_count;
		capture->packets[capture->packet_count + i] = packet;
	}
	for (unsigned int i = 0; i < submission->desc_count; i++)
		capture->descs[capture->desc_count + i] = submission->descs[i];
	for (unsigned int i = 0; i < submission->buffer_count; i++) {
		capture->buffers[capture->buffer_count + i] = submission->buffers[i];
		buffer_get(submission->buffers[i]);
	}
	capture->packet_count = (unsigned int)packets;
	capture->desc_count = descs;
	capture->buffer_count = buffers;
	return 0;
}

static void content_fini(struct capture *capture)
{
	for (unsigned int i = 0; i < capture->buffer_count; i++)
		buffer_put(capture->buffers[i]);
	free(capture->buffers);
	free(capture->descs);
	free(capture->packets);
}

void capture_drop(struct capture *capture)
{
	if (!capture)
		return;
	content_fini(capture);
	free(capture);
}

int accel_queue_capture_begin(struct accel_queue *queue)
{
	struct capture *capture;
	int ret;

	api_begin(__func__);
	ret = queue_check(queue);
	if (ret)
		return ret;
	capture = calloc(1, sizeof(*capture));
	if (!capture)
		return fail(-ENOMEM, "out of memory");
	pthread_mutex_lock(&queue->lock);
	if (queue->capture)
		ret = fail(-EBUSY, "the queue is capturing already");
	else if (queue->dependency_count)
		ret = fail(-EBUSY, "the queue has been told to wait for others: submit something first");
	else if (atomic_load(&queue->destroyed))
		ret = fail(-ECANCELED, "the queue is destroyed");
	else
		queue->capture = capture;
	pthread_mutex_unlock(&queue->lock);
	if (ret)
		free(capture);
	return ret;
}

/* ---- graphs ---- */

static int by_address(const void *a, const void *b)
{
	const struct accel_buffer *const *x = a, *const *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Each buffer once: a launch looks at all of them. */
static void unique_buffers(struct capture *content)
{
	unsigned int kept = 0;

	if (content->buffer_count)
		qsort(content->buffers, content->buffer_count, sizeof(content->buffers[0]), by_address);
	for (unsigned int i = 0; i < content->buffer_count; i++) {
		if (kept && content->buffers[kept - 1] == content->buffers[i])
			buffer_put(content->buffers[i]);
		else
			content->buffers[kept++] = content->buffers[i];
	}
	content->buffer_count = kept;
}

static int write_graph(struct accel_graph *graph)
{
	const struct capture *content = &graph->content;
	uint64_t descs = content->packet_count * (uint64_t)ONPU_PACKET_SIZE;
	uint8_t *to;
	void *pointer;
	int ret;

	if (!content->packet_count)
		return 0;
	ret = bo_init(&graph->bo, graph->context,
		      descs + content->desc_count * sizeof(struct onpu_matmul_desc),
		      DRM_ONPU_BO_VRAM | DRM_ONPU_BO_SYSTEM, BO_CARD_READONLY);
	if (ret) {
		graph->bo.size = 0;
		return ret;
	}
	ret = bo_map(&graph->bo, &pointer);
	if (ret)
		return ret;
	to = pointer;
	for (unsigned int i = 0; i < content->packet_count; i++) {
		struct onpu_packet packet = content->packets[i];

		if (packet.opcode == ONPU_OP_MATMUL)
			packet.matmul.desc_va = graph->bo.va + descs +
						packet.matmul.desc_va * sizeof(struct onpu_matmul_desc);
		memcpy(to + i * sizeof(packet), &packet, sizeof(packet));
	}
	if (content->desc_count)
		memcpy(to + descs, content->descs, content->desc_count * sizeof(*content->descs));
	return 0;
}

void graph_put(struct accel_graph *graph)
{
	struct accel_context *context;

	if (!graph || atomic_fetch_sub(&graph->refs, 1) != 1)
		return;
	context = graph->context;
	if (graph->bo.size)
		bo_fini(&graph->bo);
	content_fini(&graph->content);
	free(graph);
	context_put(context);
}

void graph_get(struct accel_graph *graph)
{
	atomic_fetch_add_explicit(&graph->refs, 1, memory_order_relaxed);
}

uint64_t graph_commands(const struct accel_graph *graph, uint32_t *count)
{
	*count = graph->content.packet_count;
	return graph->bo.va;
}

int accel_queue_capture_end(struct accel_queue *queue, struct accel_graph **out)
{
	struct accel_graph *graph;
	struct capture *capture;
	int ret;

	api_begin(__func__);
	ret = queue_check(queue);
	if (ret)
		return ret;
	graph = out ? calloc(1, sizeof(*graph)) : NULL;
	if (out && !graph)
		return fail(-ENOMEM, "out of memory");
	pthread_mutex_lock(&queue->lock);
	capture = queue->capture;
	queue->capture = NULL;
	pthread_mutex_unlock(&queue->lock);
	if (!capture || !graph) {
		capture_drop(capture);
		free(graph);
		return capture ? 0 : fail(-EINVAL, "the queue is not capturing");
	}
	atomic_init(&graph->refs, 1);
	graph->context = queue->context;
	context_get(graph->context);
	graph->content = *capture;
	free(capture);
	unique_buffers(&graph->content);
	ret = write_graph(graph);
	if (ret) {
		graph_put(graph);
		return ret;
	}
	*out = graph;
	return 0;
}

void accel_graph_destroy(struct accel_graph *graph)
{
	if (graph && !device_is_foreign(graph->context->device))
		graph_put(graph);
}

unsigned int accel_graph_size(const struct accel_graph *graph)
{
	return graph ? graph->content.packet_count : 0;
}

static int launch(struct accel_queue *queue, struct accel_graph *graph, bool wait,
		  struct accel_event **event)
{
	struct submission submission = { .graph = graph };
	const struct capture *content;
	int ret;

	ret = queue_check(queue);
	if (ret)
		return ret;
	if (!graph)
		return fail(-EINVAL, "graph is NULL");
	if (graph->context != queue->context)
		return fail(-EXDEV, "the graph was captured in another context");
	content = &graph->content;
	for (unsigned int i = 0; i < content->buffer_count; i++) {
		ret = buffer_check_content(content->buffers[i]);
		if (ret)
			return ret;
	}
	if ((event && atomic_load(&queue->profiling)) || (trace_on() && queue->context->device->engines.macs_32))
		submission = (struct submission){
			.packets = content->packets, .packet_count = content->packet_count,
			.descs = content->descs, .desc_count = content->desc_count,
			.buffers = content->buffers, .buffer_count = content->buffer_count,
		};
	return wait ? queue_submit_wait(queue, &submission) :
		      queue_submit_event(queue, &submission, event);
}

int accel_graph_launch_async(struct accel_queue *queue, struct accel_graph *graph,
			     struct accel_event **event)
{
	api_begin(__func__);
	return launch(queue, graph, false, event);
}

int accel_graph_launch(struct accel_queue *queue, struct accel_graph *graph)
{
	api_begin(__func__);
	return launch(queue, graph, true, NULL);
}

// SPDX-License-Identifier: MIT
/*
 * What a graph saves, measured in the guest.
 *
 *     guest_replay     one line a figure: NAME MATMULS MEDIAN_NS
 *
 * Idea: MATMULS small matmuls, submitted one by one and waited for at the end, or one by one and each
 * waited for, or by one launch of a graph. All three in turn, because two things measured one after
 * the other are not compared fairly on a busy machine. The result is checked at the end.
 */
#define _GNU_SOURCE
#include <accel/accel.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "took.h"

#define MATMULS 100u
#define N 16u
#define TURNS 151u

static void report(const char *name, uint64_t *took)
{
	printf("%s %u %" PRIu64 "\n", name, MATMULS, median(took, TURNS));
}

static void check(int ret, const char *what)
{
	if (!ret)
		return;
	fprintf(stderr, "guest_replay: %s: %s (%s)\n", what, strerror(-ret), accel_error_detail());
	exit(1);
}

static void submit_all(struct accel_queue *queue, const struct accel_matmul *matmul)
{
	for (unsigned int i = 0; i < MATMULS; i++)
		check(accel_matmul_async(queue, matmul, NULL), "matmul");
}

static uint64_t time_separate(struct accel_queue *queue, const struct accel_matmul *matmul)
{
	uint64_t start = now();

	submit_all(queue, matmul);
	check(accel_queue_finish(queue, ACCEL_FOREVER), "finish");
	return now() - start;
}

static uint64_t time_waited(struct accel_queue *queue, const struct accel_matmul *matmul)
{
	uint64_t start = now();

	for (unsigned int i = 0; i < MATMULS; i++)
		check(accel_matmul(queue, matmul), "matmul");
	return now() - start;
}

static uint64_t time_replay(struct accel_queue *queue, struct accel_graph *graph)
{
	uint64_t start = now();

	check(accel_graph_launch(queue, graph), "launch");
	return now() - start;
}

/* D = A B + D, with A the unit matrix and B ones: counts the matmuls. */
static struct accel_buffer *make_operands(struct accel_context *context, struct accel_matmul *p)
{
	static float matrices[3][N][N];
	struct accel_buffer *buffer;

	for (unsigned int i = 0; i < N; i++) {
		matrices[0][i][i] = 1;
		for (unsigned int j = 0; j < N; j++)
			matrices[1][i][j] = 1;
	}
	check(accel_buffer_create(context, sizeof(matrices), ACCEL_BUFFER_CARD, &buffer), "buffer");
	check(accel_buffer_write(buffer, 0, matrices, sizeof(matrices)), "write");
	accel_matmul_init(p);
	p->flags = ACCEL_MATMUL_ACCUMULATE;
	p->m = p->n = p->k = N;
	p->a.buffer = p->b.buffer = p->d.buffer = buffer;
	p->a.type = ACCEL_TYPE_F32;
	p->b.offset = sizeof(matrices[0]);
	p->d.offset = 2 * sizeof(matrices[0]);
	return buffer;
}

int main(void)
{
	static uint64_t separate[TURNS], waited[TURNS], replay[TURNS];
	struct accel_buffer *operands;
	struct accel_context *context;
	struct accel_device *device;
	struct accel_queue *queue;
	struct accel_graph *graph;
	struct accel_matmul p;
	float result;

	check(accel_device_open(0, &device), "device");
	check(accel_context_create(device, 0, &context), "context");
	check(accel_queue_create(context, ACCEL_PRIORITY_MEDIUM, &queue), "queue");
	operands = make_operands(context, &p);
	check(accel_queue_capture_begin(queue), "capture");
	submit_all(queue, &p);
	check(accel_queue_capture_end(queue, &graph), "capture");
	for (unsigned int i = 0; i < TURNS; i++) {
		separate[i] = time_separate(queue, &p);
		replay[i] = time_replay(queue, graph);
		waited[i] = time_waited(queue, &p);
	}
	check(accel_buffer_read(operands, p.d.offset, &result, sizeof(result)), "read");
	if (result != (float)(3 * TURNS * MATMULS)) {
		fprintf(stderr, "guest_replay: the result is %g\n", (double)result);
		return 1;
	}
	report("separate", separate);
	report("waited", waited);
	report("replay", replay);
	accel_graph_destroy(graph);
	accel_buffer_destroy(operands);
	accel_queue_destroy(queue);
	accel_context_destroy(context);
	accel_device_close(device);
	return 0;
}

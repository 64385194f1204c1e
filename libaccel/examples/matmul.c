/* SPDX-License-Identifier: MIT */
/*
 * The shortest useful program with libaccel: D = A * B on the first card.
 *
 *	cc matmul.c $(pkg-config --cflags --libs libaccel) -o matmul
 */
#include <accel/accel.h>

#include <stdio.h>

#define M 2
#define N 3
#define K 4

static const float a[M][K] = { { 1, 2, 3, 4 }, { 5, 6, 7, 8 } };
static const float b[K][N] = { { 1, 0, 2 }, { 0, 1, 2 }, { 1, 0, 2 }, { 0, 1, 2 } };

/* Every libaccel function says in words what was wrong. */
static int failed(void)
{
	fprintf(stderr, "%s\n", accel_error_detail());
	return 1;
}

/* Multiplies with buffers that hold the operands. */
static int multiply(struct accel_queue *queue, struct accel_buffer *buffers[3], float d[M][N])
{
	struct accel_matmul p;

	if (accel_buffer_write(buffers[0], 0, a, sizeof(a)) ||
	    accel_buffer_write(buffers[1], 0, b, sizeof(b)))
		return failed();
	accel_matmul_init(&p);
	p.m = M;
	p.n = N;
	p.k = K;
	p.a.buffer = buffers[0];
	p.a.type = ACCEL_TYPE_F32;
	p.b.buffer = buffers[1];
	p.d.buffer = buffers[2];
	if (accel_matmul(queue, &p) ||
	    accel_buffer_read(buffers[2], 0, d, M * N * sizeof(float)))
		return failed();
	return 0;
}

static int run(struct accel_context *context, struct accel_queue *queue)
{
	static const size_t sizes[3] = { sizeof(a), sizeof(b), M * N * sizeof(float) };
	struct accel_buffer *buffers[3] = { NULL, NULL, NULL };
	float d[M][N];
	int i, status = 0;

	for (i = 0; i < 3 && !status; i++)
		if (accel_buffer_create(context, sizes[i], ACCEL_BUFFER_CARD, &buffers[i]))
			status = failed();
	if (!status)
		status = multiply(queue, buffers, d);
	if (!status)
		for (i = 0; i < M; i++)
			printf("%g %g %g\n", d[i][0], d[i][1], d[i][2]);
	for (i = 0; i < 3; i++)
		accel_buffer_destroy(buffers[i]);
	return status;
}

int main(void)
{
	struct accel_device *device = NULL;
	struct accel_context *context = NULL;
	struct accel_queue *queue = NULL;
	int status;

	if (accel_device_open(0, &device) ||
	    accel_context_create(device, 0, &context) ||
	    accel_queue_create(context, ACCEL_PRIORITY_MEDIUM, &queue))
		status = failed();
	else
		status = run(context, queue);
	accel_queue_destroy(queue);
	accel_context_destroy(context);
	accel_device_close(device);
	return status;
}

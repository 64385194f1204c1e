/* SPDX-License-Identifier: MIT */
#include <accel/accel.h>

#include <stdio.h>
#include <stdlib.h>

#define CHECK(call) do { if (call) { fprintf(stderr, "%s\n", accel_error_detail()); exit(1); } } while (0)

int main(void)
{
	float a[4] = { 1, 2, 3, 4 }, b[4] = { 5, 6, 7, 8 }, d[4];
	struct accel_device *device;
	struct accel_context *context;
	struct accel_queue *queue;
	struct accel_buffer *buffer;
	struct accel_matmul p;

	CHECK(accel_device_open(0, &device));
	CHECK(accel_context_create(device, 0, &context));
	CHECK(accel_queue_create(context, ACCEL_PRIORITY_MEDIUM, &queue));
	CHECK(accel_buffer_create(context, 3 * sizeof(a), ACCEL_BUFFER_CARD, &buffer));
	CHECK(accel_buffer_write(buffer, 0, a, sizeof(a)));
	CHECK(accel_buffer_write(buffer, sizeof(a), b, sizeof(b)));
	accel_matmul_init(&p);
	p.m = p.n = p.k = 2;
	p.a.buffer = p.b.buffer = p.d.buffer = buffer;
	p.a.type = ACCEL_TYPE_F32;
	p.b.offset = sizeof(a);
	p.d.offset = 2 * sizeof(a);
	CHECK(accel_matmul(queue, &p));
	CHECK(accel_buffer_read(buffer, p.d.offset, d, sizeof(d)));
	printf("%g %g\n%g %g\n", d[0], d[1], d[2], d[3]);
	accel_buffer_destroy(buffer);
	accel_queue_destroy(queue);
	accel_context_destroy(context);
	accel_device_close(device);
	return 0;
}

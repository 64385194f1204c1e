/* SPDX-License-Identifier: MIT */
#include <accel/accel.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(call) do { if (call) { fprintf(stderr, "%s\n", accel_error_detail()); exit(1); } } while (0)

int main(void)
{
	struct accel_device *device;
	struct accel_context *context;
	struct accel_queue *queue;
	struct accel_buffer *buffer;
	struct accel_status status;

	CHECK(accel_device_open(0, &device));
	CHECK(accel_context_create(device, 0, &context));
	CHECK(accel_queue_create(context, ACCEL_PRIORITY_MEDIUM, &queue));
	CHECK(accel_buffer_create(context, 4096, ACCEL_BUFFER_CARD, &buffer));

	/* A call that is wrong does nothing and says why. */
	if (accel_fill(queue, buffer, 4096, 4, 0) == -EINVAL)
		printf("%s\n", accel_error_detail());

	/* Work that failed would have stopped the queue; this one has not. */
	CHECK(accel_fill(queue, buffer, 0, 4096, 1));
	accel_status_init(&status);
	CHECK(accel_queue_get_status(queue, &status));
	printf("%llu of %llu done, %s\n", (unsigned long long)status.completed,
	       (unsigned long long)status.submitted, status.state == ACCEL_STATE_FAILED ? "failed" : "healthy");
	accel_buffer_destroy(buffer);
	accel_queue_destroy(queue);
	accel_context_destroy(context);
	accel_device_close(device);
	return 0;
}

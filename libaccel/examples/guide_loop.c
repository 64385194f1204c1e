/* SPDX-License-Identifier: MIT */
#include <accel/accel.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CHECK(call) do { if (call) { fprintf(stderr, "%s\n", accel_error_detail()); exit(1); } } while (0)

int main(void)
{
	struct pollfd wait = { .events = POLLIN };
	struct accel_device *device;
	struct accel_context *context;
	struct accel_queue *queue;
	struct accel_buffer *buffer;
	struct accel_event *event;
	char count[8];
	int state;

	CHECK(accel_device_open(0, &device));
	CHECK(accel_context_create(device, 0, &context));
	CHECK(accel_queue_create(context, ACCEL_PRIORITY_MEDIUM, &queue));
	CHECK(accel_buffer_create(context, 1 << 20, ACCEL_BUFFER_CARD, &buffer));
	CHECK(accel_queue_get_event_fd(queue, &wait.fd));

	CHECK(accel_fill_async(queue, buffer, 0, 1 << 20, 7, &event));
	while ((state = accel_event_query(event)) == -EBUSY) {
		poll(&wait, 1, -1);
		/* Read, then look: nothing is missed. */
		if (read(wait.fd, count, sizeof(count)) < 0 && errno != EAGAIN)
			return 1;
	}
	printf("%s\n", state ? accel_error_detail() : "done");
	close(wait.fd);
	accel_event_destroy(event);
	accel_buffer_destroy(buffer);
	accel_queue_destroy(queue);
	accel_context_destroy(context);
	accel_device_close(device);
	return 0;
}

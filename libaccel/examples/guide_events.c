/* SPDX-License-Identifier: MIT */
#include <accel/accel.h>

#include <stdio.h>
#include <stdlib.h>

#define CHECK(call) do { if (call) { fprintf(stderr, "%s\n", accel_error_detail()); exit(1); } } while (0)

int main(void)
{
	struct accel_device *device;
	struct accel_context *context;
	struct accel_queue *fills, *copies;
	struct accel_buffer *source, *target;
	struct accel_event *filled, *copied;
	struct accel_profile profile;
	uint32_t word;

	CHECK(accel_device_open(0, &device));
	CHECK(accel_context_create(device, 0, &context));
	CHECK(accel_queue_create(context, ACCEL_PRIORITY_MEDIUM, &fills));
	CHECK(accel_queue_create(context, ACCEL_PRIORITY_MEDIUM, &copies));
	CHECK(accel_buffer_create(context, 1 << 20, ACCEL_BUFFER_CARD, &source));
	CHECK(accel_buffer_create(context, 1 << 20, ACCEL_BUFFER_HOST, &target));
	CHECK(accel_queue_set_profiling(copies, 1));

	CHECK(accel_fill_async(fills, source, 0, 1 << 20, 42, &filled));
	CHECK(accel_queue_wait_events(copies, 1, &filled));	/* the CPU waits for nothing here */
	CHECK(accel_copy_async(copies, target, 0, source, 0, 1 << 20, &copied));
	CHECK(accel_event_wait(copied, 1000000000));		/* a second at most */

	CHECK(accel_buffer_read(target, (1 << 20) - 4, &word, 4));
	accel_profile_init(&profile);
	CHECK(accel_event_get_profile(copied, &profile));
	printf("%u, %llu bytes to the host\n", (unsigned int)word,
	       (unsigned long long)profile.host_write_bytes);
	accel_event_destroy(filled);
	accel_event_destroy(copied);
	accel_buffer_destroy(source);
	accel_buffer_destroy(target);
	accel_queue_destroy(fills);
	accel_queue_destroy(copies);
	accel_context_destroy(context);
	accel_device_close(device);
	return 0;
}

/* SPDX-License-Identifier: MIT */
#include <accel/accel.h>

#include <stdio.h>
#include <stdlib.h>

#define CHECK(call) do { if (call) { fprintf(stderr, "%s\n", accel_error_detail()); exit(1); } } while (0)

int main(void)
{
	struct accel_device *device;
	struct accel_context *context;
	struct accel_queue *queue;
	struct accel_buffer *mine, *scratch;
	struct accel_pointer_info owner;
	struct accel_cache_info kept;
	struct accel_cache *cache;
	uint32_t *memory = aligned_alloc(4096, 65536);

	CHECK(accel_device_open(0, &device));
	CHECK(accel_context_create(device, 0, &context));
	CHECK(accel_queue_create(context, ACCEL_PRIORITY_MEDIUM, &queue));

	/* Memory of the program that the card reads and writes where it is. */
	CHECK(accel_host_register(context, memory, 65536, 0, &mine));
	CHECK(accel_fill(queue, mine, 0, 65536, 7));
	accel_pointer_info_init(&owner);
	CHECK(accel_pointer_get_info(memory + 100, &owner));
	printf("%u at byte %llu of the buffer\n", (unsigned int)memory[100], (unsigned long long)owner.offset);

	/* Buffers that come and go. */
	CHECK(accel_cache_create(context, ACCEL_BUFFER_CARD, 64 << 20, &cache));
	for (int i = 0; i < 100; i++) {
		CHECK(accel_cache_alloc(cache, 10000, queue, &scratch));
		CHECK(accel_copy_async(queue, scratch, 0, mine, 0, 10000, NULL));
		CHECK(accel_cache_free(cache, scratch, queue));
	}
	CHECK(accel_queue_finish(queue, ACCEL_FOREVER));
	accel_cache_info_init(&kept);
	CHECK(accel_cache_get_info(cache, &kept));
	printf("%llu buffers for %llu allocations\n", (unsigned long long)kept.idle_buffers,
	       (unsigned long long)kept.allocations);
	accel_cache_destroy(cache);
	accel_buffer_destroy(mine);
	accel_queue_destroy(queue);
	accel_context_destroy(context);
	accel_device_close(device);
	free(memory);
	return 0;
}

// SPDX-License-Identifier: MIT
/*
 * What memory costs a process on the card, measured in the guest.
 *
 *     guest_memory [NVME]     one line a figure: NAME BYTES MEDIAN_NS
 *
 * Idea: copies between system memory and the card go by the card's own engine and are timed
 * from the call to its return. Buffers are created, mapped, touched and freed in turn with
 * 4 KiB reads of the NVMe device NVME (polled or not, as the kernel does it for O_DIRECT),
 * because two things measured one after the other are not compared fairly on a busy machine.
 * Every copy's result is checked once.
 */
#define _GNU_SOURCE
#include <accel/accel.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "took.h"

#define TURNS 50
#define COPIES 15
#define PAGE 4096u
#define MIB (1ull << 20)

static void report(const char *name, uint64_t bytes, uint64_t *took, unsigned int n)
{
	printf("%s %" PRIu64 " %" PRIu64 "\n", name, bytes, median(took, n));
}

static void check(int ret, const char *what)
{
	if (!ret)
		return;
	fprintf(stderr, "guest_memory: %s: %s (%s)\n", what, strerror(-ret), accel_error_detail());
	exit(1);
}

/* ---- copies ---- */

static void pattern(uint64_t *words, uint64_t size, uint64_t seed)
{
	for (uint64_t i = 0; i < size / 8; i += PAGE / 8)
		words[i] = seed + i;
}

static void copies(struct accel_context *context, struct accel_queue *queue, uint64_t size)
{
	struct accel_buffer *host, *card, *back;
	uint64_t to[COPIES], from[COPIES];
	void *in, *out;

	check(accel_buffer_create(context, size, ACCEL_BUFFER_HOST, &host), "host buffer");
	check(accel_buffer_create(context, size, ACCEL_BUFFER_HOST, &back), "host buffer");
	check(accel_buffer_create(context, size, ACCEL_BUFFER_CARD, &card), "card buffer");
	check(accel_buffer_map(host, &in), "map");
	check(accel_buffer_map(back, &out), "map");
	pattern(in, size, size);
	for (unsigned int i = 0; i < COPIES + 1; i++) {
		uint64_t start = now(), middle;

		check(accel_copy(queue, card, 0, host, 0, size), "copy to the card");
		middle = now();
		check(accel_copy(queue, back, 0, card, 0, size), "copy from the card");
		if (i) {	/* the first one finds memory that nobody has touched */
			to[i - 1] = middle - start;
			from[i - 1] = now() - middle;
		}
	}
	for (uint64_t i = 0; i < size / 8; i += PAGE / 8)
		if (((uint64_t *)out)[i] != size + i) {
			fprintf(stderr, "guest_memory: wrong data came back\n");
			exit(1);
		}
	report("copy-to-card", size, to, COPIES);
	report("copy-from-card", size, from, COPIES);
	accel_buffer_destroy(host);
	accel_buffer_destroy(back);
	accel_buffer_destroy(card);
}

/* ---- buffers, in turn with reads of the NVMe ---- */

static uint64_t create_free(struct accel_context *context, uint64_t size, uint32_t flags)
{
	struct accel_buffer *buffer;
	uint64_t start = now();

	check(accel_buffer_create(context, size, flags, &buffer), "create");
	accel_buffer_destroy(buffer);
	return now() - start;
}

static uint64_t map_touch(struct accel_context *context, uint64_t size, uint32_t flags)
{
	struct accel_buffer *buffer;
	uint64_t start, end;
	void *p;

	check(accel_buffer_create(context, size, flags, &buffer), "create");
	start = now();
	check(accel_buffer_map(buffer, &p), "map");
	for (uint64_t i = 0; i < size; i += PAGE)
		((volatile uint8_t *)p)[i] = 1;
	end = now();
	check(accel_buffer_unmap(buffer), "unmap");
	accel_buffer_destroy(buffer);
	return end - start;
}

static const struct {
	const char *name;
	uint64_t (*run)(struct accel_context *context, uint64_t size, uint32_t flags);
	uint64_t size;
	uint32_t flags;
} costs[] = {
	{ "create-free-card", create_free, PAGE, ACCEL_BUFFER_CARD },
	{ "create-free-card", create_free, 2 * MIB, ACCEL_BUFFER_CARD },
	{ "create-free-card", create_free, 64 * MIB, ACCEL_BUFFER_CARD },
	{ "create-free-host", create_free, PAGE, ACCEL_BUFFER_HOST },
	{ "create-free-host", create_free, 2 * MIB, ACCEL_BUFFER_HOST },
	{ "map-touch-card", map_touch, PAGE, ACCEL_BUFFER_CARD },
	{ "map-touch-card", map_touch, 2 * MIB, ACCEL_BUFFER_CARD },
	{ "map-touch-host", map_touch, PAGE, ACCEL_BUFFER_HOST },
	{ "map-touch-host", map_touch, 2 * MIB, ACCEL_BUFFER_HOST },
};
#define COSTS (sizeof(costs) / sizeof(costs[0]))

static uint64_t nvme_read(int fd, void *page, unsigned int turn)
{
	uint64_t start = now();

	if (pread(fd, page, PAGE, (off_t)(turn % 1024) * PAGE) != PAGE) {
		perror("guest_memory: read of the NVMe");
		exit(1);
	}
	return now() - start;
}

static void in_turn(struct accel_context *context, const char *nvme)
{
	static uint64_t took[COSTS + 1][TURNS];
	int fd = nvme ? open(nvme, O_RDONLY | O_DIRECT) : -1;
	void *page = aligned_alloc(PAGE, PAGE);

	if (!page || (nvme && fd < 0)) {
		perror(nvme);
		exit(1);
	}
	/* The turns before the first one that counts warm up. */
	for (unsigned int turn = 0; turn < TURNS + 3; turn++) {
		unsigned int slot = turn < 3 ? 0 : turn - 3;

		for (unsigned int i = 0; i < COSTS; i++) {
			if (nvme)
				took[COSTS][slot] = nvme_read(fd, page, turn);
			took[i][slot] = costs[i].run(context, costs[i].size, costs[i].flags);
		}
	}
	for (unsigned int i = 0; i < COSTS; i++)
		report(costs[i].name, costs[i].size, took[i], TURNS);
	if (nvme) {
		report("nvme-read", PAGE, took[COSTS], TURNS);
		close(fd);
	}
	free(page);
}

int main(int argc, char **argv)
{
	struct accel_device *device;
	struct accel_context *context;
	struct accel_queue *queue;

	check(accel_device_open(0, &device), "open");
	check(accel_context_create(device, 0, &context), "context");
	check(accel_queue_create(context, ACCEL_PRIORITY_MEDIUM, &queue), "queue");
	for (uint64_t size = 64 * MIB; size <= 256 * MIB; size *= 4)
		copies(context, queue, size);
	in_turn(context, argc > 1 ? argv[1] : NULL);
	accel_queue_destroy(queue);
	accel_context_destroy(context);
	accel_device_close(device);
	return 0;
}

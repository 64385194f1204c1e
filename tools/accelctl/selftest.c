/* SPDX-License-Identifier: MIT */
/*
 * accelctl selftest: does the card compute, copy and stay alive? A few seconds, harmless
 * to other users. Each test says pass or fail and why; all run even if one fails.
 */
#include "accelctl.h"
#include "reference.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What the tests work with, and where they say why they failed. */
struct bed {
	struct accel_device *device;
	struct accel_context *context;
	struct accel_queue *queue;
	char why[300];
};

static bool because(struct bed *bed, const char *why)
{
	snprintf(bed->why, sizeof(bed->why), "%s", why);
	return false;
}

static bool accel_says(struct bed *bed)
{
	return because(bed, accel_error_detail());
}

static bool test_identity(struct bed *bed)
{
	struct accel_device_info info;

	accel_device_info_init(&info);
	if (accel_device_get_info(bed->device, &info))
		return accel_says(bed);
	if (!info.cores || !info.slots || !info.memory_size || !info.types_in || !info.dim_max)
		return because(bed, "a capability reads as zero");
	if (info.memory_used > info.memory_size)
		return because(bed, "more memory is used than there is");
	return true;
}

static bool test_heartbeat(struct bed *bed)
{
	const struct timespec pause = { 0, 50000000 };
	struct accel_device_info first, now;

	accel_device_info_init(&first);
	accel_device_info_init(&now);
	if (accel_device_get_info(bed->device, &first))
		return accel_says(bed);
	for (int i = 0; i < 60; i++) {
		nanosleep(&pause, NULL);
		if (accel_device_get_info(bed->device, &now))
			return accel_says(bed);
		if (now.firmware_heartbeat != first.firmware_heartbeat)
			return true;
	}
	return because(bed, "the firmware's heartbeat stood still for 3 s");
}

static bool test_context(struct bed *bed)
{
	if (accel_context_create(bed->device, 0, &bed->context) ||
	    accel_queue_create(bed->context, ACCEL_PRIORITY_MEDIUM, &bed->queue))
		return accel_says(bed);
	return true;
}

/* Writes a pattern by the CPU and reads it back. */
static bool check_memory(struct bed *bed, struct accel_buffer *buffer, uint64_t words)
{
	uint32_t *p;

	if (accel_buffer_map(buffer, (void **)&p))
		return accel_says(bed);
	for (uint64_t i = 0; i < words; i++)
		if (p[i])
			return because(bed, "new memory is not zero");
	for (uint64_t i = 0; i < words; i++)
		p[i] = (uint32_t)i * 2654435761u;
	for (uint64_t i = 0; i < words; i++)
		if (p[i] != (uint32_t)i * 2654435761u)
			return because(bed, "memory reads back other than written");
	return true;
}

static bool memory(struct bed *bed, uint32_t flags)
{
	const uint64_t size = 4 << 20;
	struct accel_buffer *buffer;
	bool good;

	if (!bed->context)
		return because(bed, "no context");
	if (accel_buffer_create(bed->context, size, flags, &buffer))
		return accel_says(bed);
	good = check_memory(bed, buffer, size / 4);
	accel_buffer_destroy(buffer);
	return good;
}

static bool test_card_memory(struct bed *bed)
{
	return memory(bed, ACCEL_BUFFER_CARD);
}

static bool test_host_memory(struct bed *bed)
{
	return memory(bed, ACCEL_BUFFER_HOST);
}

enum { COPY_SIZE = 3 << 20, COPY_SHIFT = 13 };

/* System memory to card to card to system memory, unaligned, by the card. */
static bool copy_round(struct bed *bed, struct accel_buffer *const b[4])
{
	uint32_t *from, *to;

	if (accel_buffer_map(b[0], (void **)&from) || accel_buffer_map(b[3], (void **)&to))
		return accel_says(bed);
	for (uint32_t i = 0; i < COPY_SIZE / 4; i++)
		from[i] = i ^ 0x5a5a5a5a;
	if (accel_copy_async(bed->queue, b[1], COPY_SHIFT, b[0], 0, COPY_SIZE, NULL) ||
	    accel_copy_async(bed->queue, b[2], 0, b[1], COPY_SHIFT, COPY_SIZE, NULL) ||
	    accel_copy(bed->queue, b[3], 0, b[2], 0, COPY_SIZE))
		return accel_says(bed);
	if (memcmp(from, to, COPY_SIZE))
		return because(bed, "copied data differs");
	if (accel_fill(bed->queue, b[3], 4, COPY_SIZE - 8, 0xdeadbeef))
		return accel_says(bed);
	for (uint32_t i = 1; i < COPY_SIZE / 4 - 1; i++)
		if (to[i] != 0xdeadbeef)
			return because(bed, "filled data differs");
	if (to[0] != from[0] || to[COPY_SIZE / 4 - 1] != from[COPY_SIZE / 4 - 1])
		return because(bed, "fill went beyond its range");
	return true;
}

static bool test_copy(struct bed *bed)
{
	struct accel_buffer *b[4] = { NULL };
	bool good = true;

	if (!bed->queue)
		return because(bed, "no queue");
	for (int i = 0; i < 4 && good; i++)
		if (accel_buffer_create(bed->context, COPY_SIZE + COPY_SHIFT,
					i % 3 ? ACCEL_BUFFER_CARD : ACCEL_BUFFER_HOST, &b[i]))
			good = accel_says(bed);
	good = good && copy_round(bed, b);
	for (int i = 0; i < 4; i++)
		accel_buffer_destroy(b[i]);
	return good;
}

/* One product with gaps in every matrix, each bit compared. */
enum { ROWS = 37, COLUMNS = 41, DEPTH = 67, GAP = 3 };

static bool product(struct bed *bed, uint32_t type, uint32_t flags, struct accel_buffer *buffer)
{
	const uint64_t place = 64 << 10;
	struct ref_matrix a = { .ld = (flags & ACCEL_MATMUL_TRANS_A ? ROWS : DEPTH) + GAP, .type = type };
	struct ref_matrix b = { .ld = (flags & ACCEL_MATMUL_TRANS_B ? DEPTH : COLUMNS) + GAP, .type = type };
	struct ref_matrix c = { 0 }, d = { .ld = COLUMNS + GAP, .type = ACCEL_TYPE_F32 };
	uint8_t *memory;
	struct accel_matmul p;
	char text[80];

	if (accel_buffer_map(buffer, (void **)&memory))
		return accel_says(bed);
	a.data = memory;
	b.data = memory + place;
	d.data = memory + 2 * place;
	d.type = type == ACCEL_TYPE_I8 ? ACCEL_TYPE_I32 : ACCEL_TYPE_F32;
	ref_fill(&a, place / 8, 1, true);
	ref_fill(&b, place / 8, 2, true);
	ref_fill(&d, place / 8, 3, true);
	/* The reference's C: what D holds before. */
	c = d;
	c.data = memory + 3 * place;
	memcpy(c.data, d.data, place);
	accel_matmul_init(&p);
	p.flags = flags;
	p.m = ROWS;
	p.n = COLUMNS;
	p.k = DEPTH;
	p.a = (struct accel_matrix){ .buffer = buffer, .ld = a.ld, .type = type };
	p.b = (struct accel_matrix){ .buffer = buffer, .ld = b.ld, .offset = place };
	p.d = (struct accel_matrix){ .buffer = buffer, .ld = d.ld, .offset = 2 * place };
	if (accel_matmul(bed->queue, &p))
		return accel_says(bed);
	if (!(flags & ACCEL_MATMUL_ACCUMULATE))
		c.data = NULL;
	for (uint64_t i = 0; i < ROWS; i++) {
		for (uint64_t j = 0; j < COLUMNS; j++) {
			uint32_t got, wanted = ref_element(flags, DEPTH, &a, &b, &c, i, j);

			memcpy(&got, d.data + (i * d.ld + j) * 4, 4);
			if (ref_same(d.type, got, wanted))
				continue;
			snprintf(text, sizeof(text), "flags %u, element (%" PRIu64 ", %" PRIu64
				 "): %08x, wanted %08x", flags, i, j, got, wanted);
			return because(bed, text);
		}
	}
	return true;
}

static bool matmul(struct bed *bed, uint32_t type)
{
	struct accel_buffer *buffer;
	bool good = true;

	if (!bed->queue)
		return because(bed, "no queue");
	if (accel_buffer_create(bed->context, 256 << 10, ACCEL_BUFFER_CARD, &buffer))
		return accel_says(bed);
	for (uint32_t flags = 0; flags < 8 && good; flags++)
		good = product(bed, type, flags, buffer);
	accel_buffer_destroy(buffer);
	return good;
}

static bool test_f32(struct bed *bed)
{
	return matmul(bed, ACCEL_TYPE_F32);
}

static bool test_bf16(struct bed *bed)
{
	return matmul(bed, ACCEL_TYPE_BF16);
}

static bool test_f16(struct bed *bed)
{
	return matmul(bed, ACCEL_TYPE_F16);
}

static bool test_i8(struct bed *bed)
{
	return matmul(bed, ACCEL_TYPE_I8);
}

/* A second queue that waits for the first. */
static bool relay(struct bed *bed, struct accel_queue *second, struct accel_buffer *buffer)
{
	struct accel_event *event;
	uint32_t word;
	int ret;

	if (accel_fill_async(bed->queue, buffer, 0, 1 << 20, 0x600d, &event))
		return accel_says(bed);
	ret = accel_queue_wait_events(second, 1, &event);
	if (!ret)
		ret = accel_copy(second, buffer, 1 << 20, buffer, 0, 1 << 20);
	if (!ret)
		ret = accel_buffer_read(buffer, (2 << 20) - 4, &word, 4);
	accel_event_destroy(event);
	if (ret)
		return accel_says(bed);
	return word == 0x600d || because(bed, "the second queue did not wait for the first");
}

static bool test_queues(struct bed *bed)
{
	struct accel_queue *second;
	struct accel_buffer *buffer;
	bool good;

	if (!bed->queue)
		return because(bed, "no queue");
	if (accel_queue_create(bed->context, ACCEL_PRIORITY_MEDIUM, &second))
		return accel_says(bed);
	if (accel_buffer_create(bed->context, 2 << 20, ACCEL_BUFFER_CARD, &buffer)) {
		accel_queue_destroy(second);
		return accel_says(bed);
	}
	good = relay(bed, second, buffer);
	accel_queue_destroy(second);
	accel_buffer_destroy(buffer);
	return good;
}

static const struct {
	const char *name;
	bool (*run)(struct bed *bed);
} tests[] = {
	{ "identity", test_identity },
	{ "firmware-heartbeat", test_heartbeat },
	{ "context-and-queue", test_context },
	{ "card-memory", test_card_memory },
	{ "host-memory", test_host_memory },
	{ "copy-and-fill", test_copy },
	{ "matmul-f32", test_f32 },
	{ "matmul-bf16", test_bf16 },
	{ "matmul-fp16", test_f16 },
	{ "matmul-int8", test_i8 },
	{ "queue-dependency", test_queues },
};

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static unsigned int run_all(struct ctl *ctl, struct bed *bed, struct json_object *results)
{
	unsigned int failed = 0;

	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		struct json_object *object = json_object_new_object();
		double start = seconds();
		bool good;

		bed->why[0] = '\0';
		good = tests[i].run(bed);
		add_text(object, "name", tests[i].name);
		add_text(object, "verdict", good ? "pass" : "fail");
		add_text(object, "detail", good ? NULL : bed->why);
		add_double(object, "seconds", seconds() - start);
		json_object_array_add(results, object);
		print(ctl, "%s  %-20s %6.2f s%s%s\n", good ? "pass" : "FAIL", tests[i].name,
		      seconds() - start, good ? "" : "  ", bed->why);
		failed += !good;
	}
	return failed;
}

static enum status run_selftest(struct ctl *ctl)
{
	struct json_object *results = json_object_new_array();
	struct bed bed = { 0 };
	struct card card;
	enum status status;
	unsigned int failed;

	json_object_object_add(ctl->doc, "tests", results);
	status = choose_card(ctl, &card);
	if (!status)
		status = open_card(ctl, &card, &bed.device);
	if (status)
		return status;
	add_text(ctl->doc, "pci_address", card.pci.address);
	print(ctl, "Card %s\n", card.pci.address);
	failed = run_all(ctl, &bed, results);
	add_int(ctl->doc, "failed", failed);
	accel_queue_destroy(bed.queue);
	accel_context_destroy(bed.context);
	accel_device_close(bed.device);
	if (failed)
		return error(ctl, STATUS_FAILED, "%u of %zu tests failed", failed, ARRAY_SIZE(tests));
	print(ctl, "All %zu tests passed.\n", ARRAY_SIZE(tests));
	return STATUS_OK;
}

const struct command command_selftest = {
	.name = "selftest",
	.summary = "test memory, copies, matmuls and queues of a card",
	.usage = "[DEVICE]",
	.timeout = 60,
	.run = run_selftest,
};

// SPDX-License-Identifier: MIT
/*
 * The engine that multiplies on a card, through libaccel's public header.
 *
 * Idea: every tensor is one buffer, mapped once. Products go to one queue and
 * complete in order; one call submits all of a list and waits for the last.
 * One thread uses an engine.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <accel/accel.h>

#include "demo.h"

struct card_engine {
	struct engine engine;
	struct accel_device *device;
	struct accel_context *context;
	struct accel_queue *queue;
};

#define PRODUCTS_MAX 16

static void check(int error, const char *what)
{
	if (error)
		die("%s: %s (%s)", what, accel_error_detail(), strerror(-error));
}

static struct tensor *card_alloc(struct engine *engine, size_t size, enum place place)
{
	struct card_engine *card = (struct card_engine *)engine;
	struct tensor *tensor = must_alloc(sizeof(*tensor));
	struct accel_buffer *buffer;

	check(accel_buffer_create(card->context, size,
				  place == PLACE_CARD ? ACCEL_BUFFER_CARD : ACCEL_BUFFER_HOST,
				  &buffer), "allocating a buffer");
	check(accel_buffer_map(buffer, &tensor->data), "mapping a buffer");
	tensor->size = size;
	tensor->buffer = buffer;
	return tensor;
}

static void card_free(struct engine *engine, struct tensor *tensor)
{
	(void)engine;
	accel_buffer_unmap(tensor->buffer);
	accel_buffer_destroy(tensor->buffer);
	free(tensor);
}

static void fill_matmul(struct accel_matmul *matmul, const struct product *p)
{
	accel_matmul_init(matmul);
	matmul->flags = (p->shape.trans_a ? ACCEL_MATMUL_TRANS_A : 0) |
			(p->shape.trans_b ? ACCEL_MATMUL_TRANS_B : 0);
	matmul->m = p->shape.m;
	matmul->n = p->shape.n;
	matmul->k = p->shape.k;
	matmul->a.buffer = p->a->buffer;
	matmul->a.offset = p->a_offset;
	matmul->a.type = p->shape.type;
	matmul->b.buffer = p->b->buffer;
	matmul->b.offset = p->b_offset;
	matmul->d.buffer = p->d->buffer;
	matmul->d.offset = p->d_offset;
}

static void card_matmuls(struct engine *engine, const struct product *products, unsigned int count)
{
	struct card_engine *card = (struct card_engine *)engine;
	struct accel_matmul matmuls[PRODUCTS_MAX];

	if (count > PRODUCTS_MAX)
		die("%u products in one call", count);
	for (unsigned int i = 0; i < count; i++)
		fill_matmul(&matmuls[i], &products[i]);
	check(accel_matmul_many(card->queue, matmuls, count), "multiplying on the card");
}

static void card_destroy(struct engine *engine)
{
	struct card_engine *card = (struct card_engine *)engine;

	accel_queue_destroy(card->queue);
	accel_context_destroy(card->context);
	accel_device_close(card->device);
	free(card);
}

struct engine *engine_card(const char *name)
{
	static const struct engine_ops ops = {
		.alloc = card_alloc,
		.free = card_free,
		.matmuls = card_matmuls,
		.destroy = card_destroy,
	};
	struct card_engine *card = must_alloc(sizeof(*card));
	struct accel_device_info info;

	card->engine.ops = &ops;
	if (name)
		check(accel_device_open_name(name, &card->device), "opening the card");
	else
		check(accel_device_open(0, &card->device), "opening the first card");
	accel_device_info_init(&info);
	check(accel_device_get_info(card->device, &info), "asking the card");
	check(accel_context_create(card->device, 0, &card->context), "creating a context");
	check(accel_queue_create(card->context, ACCEL_PRIORITY_MEDIUM, &card->queue),
	      "creating a queue");
	snprintf(card->engine.name, sizeof(card->engine.name),
		 "ONPU card %.15s, %u cores, %llu MiB, firmware %u.%u.%u", info.pci_address,
		 info.cores, (unsigned long long)(info.memory_size >> 20),
		 info.firmware_version >> 24, (info.firmware_version >> 16) & 0xff,
		 info.firmware_version & 0xffff);
	return &card->engine;
}

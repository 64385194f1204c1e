// SPDX-License-Identifier: MIT
/*
 * Engines: the common part, and the CPU one, which needs no card.
 *
 * Idea: the network and the large products do not know what multiplies. The
 * CPU engine follows the definition of the product, so a run on it gives the
 * bits that a run on the card must give. One thread uses an engine.
 */
#include <stdio.h>
#include <stdlib.h>

#include "demo.h"

struct tensor *tensor_new(struct engine *engine, size_t size, enum place place)
{
	return engine->ops->alloc(engine, size, place);
}

void tensor_free(struct engine *engine, struct tensor *tensor)
{
	engine->ops->free(engine, tensor);
}

void engine_matmuls(struct engine *engine, const struct product *products, unsigned int count)
{
	engine->ops->matmuls(engine, products, count);
	engine->products += count;
}

static struct tensor *cpu_alloc(struct engine *engine, size_t size, enum place place)
{
	struct tensor *tensor = must_alloc(sizeof(*tensor));

	(void)engine;
	(void)place;
	tensor->data = must_alloc(size);
	tensor->size = size;
	return tensor;
}

static void cpu_free(struct engine *engine, struct tensor *tensor)
{
	(void)engine;
	free(tensor->data);
	free(tensor);
}

static void cpu_matmuls(struct engine *engine, const struct product *products, unsigned int count)
{
	(void)engine;
	for (unsigned int i = 0; i < count; i++) {
		const struct product *p = &products[i];

		reference_matmul(&p->shape, (const char *)p->a->data + p->a_offset,
				 (const char *)p->b->data + p->b_offset,
				 (char *)p->d->data + p->d_offset);
	}
}

static void cpu_destroy(struct engine *engine)
{
	free(engine);
}

struct engine *engine_cpu(void)
{
	static const struct engine_ops ops = {
		.alloc = cpu_alloc,
		.free = cpu_free,
		.matmuls = cpu_matmuls,
		.destroy = cpu_destroy,
	};
	struct engine *engine = must_alloc(sizeof(*engine));

	engine->ops = &ops;
	snprintf(engine->name, sizeof(engine->name), "the CPU alone, by the definition");
	return engine;
}

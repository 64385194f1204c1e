// SPDX-License-Identifier: MIT
/*
 * Large products: operands from a seed, time, a hash of every bit of the result.
 *
 * Idea: whoever knows the seed can compute the same product by the definition and
 * compare the hashes, wherever that is fast; inside a virtual machine whose processor is
 * emulated it is not, so only some elements are compared here. The operands and the
 * result are in card memory. One thread.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "demo.h"

#define SAMPLES 512
#define REPEATS_MAX 32

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void compare(const struct shape *shape, const void *a, const void *b, const uint32_t *d,
		    uint32_t row, uint32_t column)
{
	uint32_t expected = reference_element(shape, a, b, row, column);
	uint32_t got = d[(size_t)row * shape->n + column];

	if (expected != got)
		die("%s %u: element (%u, %u) is %08x, the reference says %08x",
		    element_name(shape->type), shape->n, row, column, got, expected);
}

static unsigned int compare_samples(const struct shape *shape, const void *a, const void *b,
				    const uint32_t *d)
{
	uint32_t edge = shape->n - 1;
	struct rng rng;

	/* The corners, then anywhere. */
	compare(shape, a, b, d, 0, 0);
	compare(shape, a, b, d, 0, edge);
	compare(shape, a, b, d, edge, 0);
	compare(shape, a, b, d, edge, edge);
	rng_seed(&rng, shape->n);
	for (int i = 4; i < SAMPLES; i++) {
		uint32_t row = rng_below(&rng, shape->n);

		compare(shape, a, b, d, row, rng_below(&rng, shape->n));
	}
	return SAMPLES;
}

static unsigned int compare_all(const struct shape *shape, const void *a, const void *b,
				const uint32_t *d)
{
	size_t count = (size_t)shape->n * shape->n;
	uint32_t *expected = must_alloc(count * 4);

	reference_matmul(shape, a, b, expected);
	for (size_t i = 0; i < count; i++)
		if (expected[i] != d[i])
			die("%s %u: element %zu is %08x, the reference says %08x",
			    element_name(shape->type), shape->n, i, d[i], expected[i]);
	free(expected);
	return (unsigned int)count;
}

void large_run(struct engine *engine, enum element type, uint32_t n, uint64_t seed,
	       unsigned int repeats, bool full, struct large_result *result)
{
	size_t in = (size_t)n * n * element_size(type), out = (size_t)n * n * 4;
	void *a_copy = must_alloc(in), *b_copy = must_alloc(in), *d_copy = must_alloc(out);
	struct tensor *a = tensor_new(engine, in, PLACE_CARD);
	struct tensor *b = tensor_new(engine, in, PLACE_CARD);
	struct tensor *d = tensor_new(engine, out, PLACE_CARD);
	struct product product = {
		.shape = { .type = type, .m = n, .n = n, .k = n },
		.a = a, .b = b, .d = d,
	};
	double seconds[REPEATS_MAX];

	reference_operands(type, n, seed, a_copy, b_copy);
	memcpy(a->data, a_copy, in);
	memcpy(b->data, b_copy, in);
	if (repeats > REPEATS_MAX)
		repeats = REPEATS_MAX;
	engine_matmuls(engine, &product, 1);
	for (unsigned int i = 0; i < repeats; i++) {
		double start = now();

		/* What is read below was written by the last run. */
		if (i == repeats - 1)
			memset(d->data, 0xa5, out);
		start = now();
		engine_matmuls(engine, &product, 1);
		seconds[i] = now() - start;
	}
	memcpy(d_copy, d->data, out);
	qsort(seconds, repeats, sizeof(seconds[0]), by_value);
	result->seconds = seconds[repeats / 2];
	result->hash = hash_words(HASH_START, d_copy, out);
	result->samples = full ? compare_all(&product.shape, a_copy, b_copy, d_copy) :
			  compare_samples(&product.shape, a_copy, b_copy, d_copy);
	tensor_free(engine, a);
	tensor_free(engine, b);
	tensor_free(engine, d);
	free(a_copy);
	free(b_copy);
	free(d_copy);
}

uint64_t large_reference_hash(enum element type, uint32_t n, uint64_t seed)
{
	size_t in = (size_t)n * n * element_size(type), out = (size_t)n * n * 4;
	void *a = must_alloc(in), *b = must_alloc(in), *d = must_alloc(out);
	struct shape shape = { .type = type, .m = n, .n = n, .k = n };
	uint64_t hash;

	reference_operands(type, n, seed, a, b);
	reference_matmul(&shape, a, b, d);
	hash = hash_words(HASH_START, d, out);
	free(a);
	free(b);
	free(d);
	return hash;
}

double cpu_gflops(uint32_t n)
{
	float *a = must_alloc((size_t)n * n * 4), *b = must_alloc((size_t)n * n * 4);
	float *d = must_alloc((size_t)n * n * 4);
	double start, seconds;
	volatile float keep;
	struct rng rng;

	rng_seed(&rng, n);
	for (size_t i = 0; i < (size_t)n * n; i++) {
		a[i] = rng_float(&rng);
		b[i] = rng_float(&rng);
	}
	start = now();
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t x = 0; x < n; x++)
			for (uint32_t j = 0; j < n; j++)
				d[(size_t)i * n + j] += a[(size_t)i * n + x] * b[(size_t)x * n + j];
	seconds = now() - start;
	keep = d[n];
	(void)keep;
	free(a);
	free(b);
	free(d);
	return 2.0 * n * n * n / seconds * 1e-9;
}

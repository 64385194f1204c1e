// SPDX-License-Identifier: MIT
/*
 * Random numbers, hashes, the exponential and small helpers.
 *
 * Idea: a run of the demo is reproducible to the last bit, on the card or on
 * any CPU, so that its results can be compared by a hash. So nothing here
 * depends on the C library's choice of algorithm, and the demo is compiled
 * without contraction of floating-point expressions. No shared state.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "demo.h"

void rng_seed(struct rng *rng, uint64_t seed)
{
	rng->state = seed;
}

/* splitmix64: one multiplication chain, any seed is good. */
uint64_t rng_next(struct rng *rng)
{
	uint64_t z = rng->state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

float rng_float(struct rng *rng)
{
	int32_t bits = (int32_t)(rng_next(rng) >> 39) - (1 << 24);

	return (float)bits * 0x1p-24f;
}

uint32_t rng_below(struct rng *rng, uint32_t n)
{
	return (uint32_t)(((rng_next(rng) >> 32) * n) >> 32);
}

uint64_t hash_words(uint64_t hash, const void *data, size_t size)
{
	const unsigned char *bytes = data;

	for (size_t i = 0; i + 4 <= size; i += 4) {
		uint32_t word;

		memcpy(&word, bytes + i, sizeof(word));
		hash = (hash ^ word) * 0x100000001b3ull;
	}
	return hash;
}

float exp_exact(float x)
{
	static const double ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33;
	double n, r, sum = 1.0, term = 1.0;

	if (x < -87.0f)
		return 0.0f;
	if (x > 87.0f)
		x = 87.0f;
	n = floor((double)x * 1.4426950408889634 + 0.5);
	r = ((double)x - n * ln2_high) - n * ln2_low;
	for (int i = 1; i <= 11; i++) {
		term = term * r / i;
		sum += term;
	}
	return (float)ldexp(sum, (int)n);
}

double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

void die(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fputs("onpu-demo: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

void *must_alloc(size_t size)
{
	/* Whole pages, so that buffers are aligned as the card's are. */
	size_t whole = (size + 4095) / 4096 * 4096;
	void *data = aligned_alloc(4096, whole ? whole : 4096);

	if (!data)
		die("out of memory (%zu bytes)", size);
	memset(data, 0, whole);
	return data;
}

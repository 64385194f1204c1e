/* SPDX-License-Identifier: MIT */
/*
 * Times of the benchmarks, in nanoseconds.
 */
#ifndef ONPU_BENCH_TOOK_H
#define ONPU_BENCH_TOOK_H

#include <stdint.h>
#include <stdlib.h>
#include <time.h>

static inline uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* For qsort(). */
static inline int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Sorts them. */
static inline uint64_t median(uint64_t *took, unsigned int count)
{
	qsort(took, count, sizeof(took[0]), ascending);
	return took[count / 2];
}

#endif

// SPDX-License-Identifier: MIT
/*
 * The peer of the card's copies: the C library's memcpy on the host.
 *
 *     host_memcpy BYTES REPEATS     prints the median GB/s
 *
 * Idea: both buffers are in use before the clock starts, in huge pages where the
 * system gives them, and every copy is the same, so the median is what memcpy does here.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define REPEATS_MAX 1000

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void *buffer(size_t size, int value)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, size, MADV_HUGEPAGE);
	memset(p, value, size);
	return p;
}

int main(int argc, char **argv)
{
	size_t size = argc == 3 ? strtoull(argv[1], NULL, 10) : 0;
	int repeats = argc == 3 ? atoi(argv[2]) : 0;
	double took[REPEATS_MAX];
	void *source, *target;

	if (!size || repeats < 1 || repeats > REPEATS_MAX) {
		fprintf(stderr, "usage: host_memcpy BYTES REPEATS\n");
		return 2;
	}
	source = buffer(size, 1);
	target = buffer(size, 2);
	if (!source || !target) {
		fprintf(stderr, "host_memcpy: no memory\n");
		return 1;
	}
	memcpy(target, source, size);
	for (int i = 0; i < repeats; i++) {
		double start = now();

		memcpy(target, source, size);
		/* The copy is not to be thought away. */
		__asm__ volatile("" : : "r"(target) : "memory");
		took[i] = now() - start;
	}
	qsort(took, (size_t)repeats, sizeof(took[0]), ascending);
	printf("%.3f\n", (double)size / took[repeats / 2] / 1e9);
	return 0;
}

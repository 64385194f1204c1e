// SPDX-License-Identifier: MIT
/*
 * The peer: OpenBLAS on the host.
 *
 *     host_sgemm THREADS N REPEATS     prints the fastest GFLOP/s
 *
 * Idea: OpenBLAS's threads spin for each other, so other work on the machine hits it harder
 * than anyone: the fastest of many runs is what it can do. The library is opened when the
 * program runs, so that nothing but the benchmark needs it. Exit status 77: it is not installed.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROW_MAJOR 101
#define NO_TRANS 111
#define REPEATS_MAX 100

typedef void sgemm_fn(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
		      const float *a, int lda, const float *b, int ldb, float beta, float *c,
		      int ldc);
typedef void set_threads_fn(int threads);

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static float *random_matrix(int n)
{
	float *matrix = malloc((size_t)n * (size_t)n * sizeof(float));

	for (size_t i = 0; matrix && i < (size_t)n * (size_t)n; i++)
		matrix[i] = (float)rand() / (float)RAND_MAX - 0.5f;
	return matrix;
}

int main(int argc, char **argv)
{
	int threads = argc == 4 ? atoi(argv[1]) : 0, n = argc == 4 ? atoi(argv[2]) : 0;
	int repeats = argc == 4 ? atoi(argv[3]) : 0;
	void *library = dlopen("libopenblas.so.0", RTLD_NOW);
	double fastest = 0;
	set_threads_fn *set_threads;
	float *a, *b, *c;
	sgemm_fn *sgemm;

	if (threads < 1 || n < 1 || n > 16384 || repeats < 1 || repeats > REPEATS_MAX) {
		fprintf(stderr, "usage: %s THREADS N REPEATS\n", argv[0]);
		return 1;
	}
	if (!library) {
		fprintf(stderr, "%s\n", dlerror());
		return 77;
	}
	*(void **)&sgemm = dlsym(library, "cblas_sgemm");
	*(void **)&set_threads = dlsym(library, "openblas_set_num_threads");
	a = random_matrix(n);
	b = random_matrix(n);
	c = random_matrix(n);
	if (!sgemm || !set_threads || !a || !b || !c) {
		fprintf(stderr, "host_sgemm: no cblas_sgemm, or no memory\n");
		return 1;
	}
	set_threads(threads);
	sgemm(ROW_MAJOR, NO_TRANS, NO_TRANS, n, n, n, 1, a, n, b, n, 0, c, n);
	for (int i = 0; i < repeats; i++) {
		double start = now();

		sgemm(ROW_MAJOR, NO_TRANS, NO_TRANS, n, n, n, 1, a, n, b, n, 0, c, n);
		start = now() - start;
		if (!i || start < fastest)
			fastest = start;
	}
	printf("%.2f\n", 2.0 * n * n * n / fastest * 1e-9);
	return 0;
}

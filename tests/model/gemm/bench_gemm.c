// SPDX-License-Identifier: MIT
/*
 * Matmul benchmark: our kernels against each other and, if built with OpenBLAS, against its
 * sgemm with the same number of threads. Absolute times mean nothing on shared machines, so
 * the candidates take turns in one process and the ratios of medians are what counts.
 *
 *   bench_gemm [-t threads] [-r rounds] [-i isa] [-a] [-c] [N ...]
 *      -a: also the other types, both operands of one (ratio to our own F32)
 *      -c: count the CPU time of the computing thread (one thread only; for busy machines)
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef HAVE_CBLAS
#include <cblas.h>
void openblas_set_num_threads(int n);
char *openblas_get_corename(void);
#endif

#include "gemm.h"
#include "pool.h"

#define MAX_ROUNDS 400
#define TYPES 10
#define BLAS TYPES
#define CANDIDATES (TYPES + 1)

static clockid_t clock_id = CLOCK_MONOTONIC;

static double now(void)
{
	struct timespec ts;

	clock_gettime(clock_id, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static int cmp(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), cmp);
	return v[n / 2];
}

/* A matmul as the card runs it: from a task of the pool, so that it uses just its threads. */
struct job {
	struct onpu_task task;
	struct onpu_pool *pool;
	struct onpu_gemm_desc desc;
	struct onpu_gemm_stats stats;
	struct onpu_seg seg[5];
	int result;
	int repeat;
	double seconds;
	atomic_bool done;
};

static void run_job(struct onpu_task *task)
{
	struct job *job = (struct job *)task;
	double t = now();

	for (int i = 0; i < job->repeat; i++)
		job->result = onpu_gemm(job->pool, &job->desc, NULL, &job->stats);
	job->seconds = (now() - t) / job->repeat;
	atomic_store(&job->done, true);
}

static double run_ours(struct job *job)
{
	atomic_store(&job->done, false);
	onpu_pool_submit(job->pool, &job->task);
	while (!atomic_load(&job->done))
		usleep(200);
	if (job->result) {
		fprintf(stderr, "onpu_gemm: %d\n", job->result);
		exit(1);
	}
	return job->seconds;
}

static void setup(struct job *job, struct onpu_pool *pool, uint32_t n, uint32_t dtype,
		  uint32_t isa, uint8_t *a, uint8_t *b, uint8_t *d)
{
	/* Rows in whole bytes, and a scale for each 32 elements along k. */
	uint64_t ld = (n + 7) & ~7u, size = ld * n * onpu_gemm_elem_bits(dtype) / 8;
	uint64_t nn = (uint64_t)n * n, groups = (n + 31) / 32;
	static uint8_t scales[1 << 24];

	memset(job, 0, sizeof(*job));
	onpu_task_init(&job->task, run_job);
	job->pool = pool;
	memset(scales, 127, sizeof(scales));
	job->seg[0] = (struct onpu_seg) { a, 0, size };
	job->seg[1] = (struct onpu_seg) { b, 0, size };
	job->seg[3] = (struct onpu_seg) { scales, 0, sizeof(scales) };
	job->seg[2] = (struct onpu_seg) { d, 0, nn * 4 };
	job->desc = (struct onpu_gemm_desc) {
		.m = n, .n = n, .k = n, .a_type = dtype, .b_type = dtype, .isa = isa,
		.lda = ld, .ldb = ld, .ldd = n,
		.a = { &job->seg[0], 1, size }, .b = { &job->seg[1], 1, size },
		.d = { &job->seg[2], 1, nn * 4 },
	};
	if (onpu_gemm_is_mx(dtype)) {
		job->desc.a_scales = (struct onpu_gemm_scales) { .group = 32, .ld = groups,
			.view = { &job->seg[3], 1, sizeof(scales) } };
		job->desc.b_scales = job->desc.a_scales;
		job->desc.b_scales.ld = n;
	}
}

static void fill(uint8_t *p, uint64_t n, uint32_t dtype, uint32_t seed)
{
	for (uint64_t i = 0; i < n; i++) {
		float f;
		uint32_t u;
		uint16_t h;

		seed = seed * 1664525u + 1013904223u;
		f = (float)(int32_t)seed * 0x1p-31f;
		memcpy(&u, &f, 4);
		if (dtype == ONPU_DTYPE_F32) {
			memcpy(p + i * 4, &u, 4);
		} else if (dtype == ONPU_DTYPE_BF16) {
			h = (uint16_t)(u >> 16);
			memcpy(p + i * 2, &h, 2);
		} else if (dtype == ONPU_DTYPE_F16) {
			h = (uint16_t)((seed >> 16 & 0x83ff) | 0x3800);
			memcpy(p + i * 2, &h, 2);
		} else {
			/* FP8 without infinities and NaNs; an integer is any. */
			p[i] = (uint8_t)(seed >> 24 & (dtype == ONPU_DTYPE_I8 ? 0xff : 0xbb));
		}
	}
}

static const uint32_t types[TYPES] = {
	ONPU_DTYPE_F32, ONPU_DTYPE_BF16, ONPU_DTYPE_F16, ONPU_DTYPE_I8, ONPU_DTYPE_I4,
	ONPU_DTYPE_E4M3, ONPU_DTYPE_E5M2, ONPU_DTYPE_MX_E4M3, ONPU_DTYPE_MX_E2M3, ONPU_DTYPE_MX_E2M1,
};
static const char *const type_names[TYPES] = {
	"f32", "bf16", "f16", "i8", "i4", "e4m3", "e5m2", "mxfp8", "mxfp6", "mxfp4",
};

static void bench(struct onpu_pool *pool, uint32_t n, int rounds, uint32_t isa, int ntypes,
		  int threads)
{
	static double t[CANDIDATES][MAX_ROUNDS];
	double flop = 2.0 * n * n * n, ref = 0, own;
	int repeat = (int)(4e8 / flop) + 1;
	static struct job job[TYPES];
	uint8_t *a[TYPES], *b[TYPES], *d, *e;

	d = aligned_alloc(4096, (size_t)n * n * 4 + 4096 - (size_t)n * n * 4 % 4096);
	e = aligned_alloc(4096, (size_t)n * n * 4 + 4096 - (size_t)n * n * 4 % 4096);
	for (int i = 0; i < ntypes; i++) {
		size_t size = ((size_t)n * (n + 8) * 4 + 4095) & ~(size_t)4095;

		a[i] = aligned_alloc(4096, size);
		b[i] = aligned_alloc(4096, size);
		fill(a[i], (uint64_t)n * n, types[i], 1);
		fill(b[i], (uint64_t)n * n, types[i], 2);
		setup(&job[i], pool, n, types[i], isa, a[i], b[i], d);
		job[i].repeat = 1;
		run_ours(&job[i]);
		job[i].repeat = repeat;
	}
	for (int r = 0; r < rounds; r++) {
		for (int i = 0; i < ntypes; i++)
			t[i][r] = run_ours(&job[i]);
#ifdef HAVE_CBLAS
		double s = now();

		for (int i = 0; i < repeat; i++)
			cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, (int)n, (int)n,
				    1.0f, (const float *)a[0], (int)n, (const float *)b[0], (int)n,
				    0.0f, (float *)e, (int)n);
		t[BLAS][r] = (now() - s) / repeat;
#endif
	}
	own = median(t[0], rounds);
#ifdef HAVE_CBLAS
	ref = median(t[BLAS], rounds);
#endif
	printf("N=%-5u threads=%d %-12s %8.1f GFLOP/s", n, threads, job[0].stats.kernel,
	       flop / own * 1e-9);
	if (ref > 0)
		printf("  OpenBLAS %8.1f  ratio %.2f (of the best rounds %.2f)", flop / ref * 1e-9,
		       ref / own, t[BLAS][0] / t[0][0]);
	for (int i = 1; i < ntypes; i++)
		printf("  %s %.2f", type_names[i], own / median(t[i], rounds));
	printf("\n");
	fflush(stdout);
	for (int i = 0; i < ntypes; i++) {
		free(a[i]);
		free(b[i]);
	}
	free(d);
	free(e);
}

int main(int argc, char **argv)
{
	static const uint32_t sizes[] = { 64, 128, 256, 512, 1024, 2048 };
	int threads = 1, rounds = 7, ntypes = 1, c;
	uint32_t isa = ONPU_GEMM_ISA_AUTO;
	struct onpu_pool *pool;

	while ((c = getopt(argc, argv, "t:r:i:ac")) != -1) {
		if (c == 't')
			threads = atoi(optarg);
		else if (c == 'r')
			rounds = atoi(optarg);
		else if (c == 'a')
			ntypes = TYPES;
		else if (c == 'c')
			clock_id = CLOCK_THREAD_CPUTIME_ID;
		else if (c == 'i')
			for (isa = 1; isa < ONPU_GEMM_ISA_COUNT &&
			     strcmp(onpu_gemm_isa_name((enum onpu_gemm_isa)isa), optarg); isa++)
				;
		if (c == '?' || isa == ONPU_GEMM_ISA_COUNT || threads < 1 || rounds < 1 ||
		    rounds > MAX_ROUNDS || (threads > 1 && clock_id != CLOCK_MONOTONIC)) {
			fprintf(stderr,
				"usage: %s [-t threads] [-r rounds] [-i isa] [-a] [-c] [N ...]\n",
				argv[0]);
			return 2;
		}
	}
	pool = onpu_pool_create((unsigned int)threads, "bench");
	if (!pool)
		return 1;
#ifdef HAVE_CBLAS
	openblas_set_num_threads(threads);
	printf("OpenBLAS core: %s\n", openblas_get_corename());
#endif
	if (optind == argc)
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			bench(pool, sizes[i], rounds, isa, ntypes, threads);
	for (; optind < argc; optind++)
		bench(pool, (uint32_t)atoi(argv[optind]), rounds, isa, ntypes, threads);
	onpu_pool_destroy(pool);
	return 0;
}

// SPDX-License-Identifier: MIT
/*
 * Matmul benchmark: the engine alone, without card and VM, beside the OpenBLAS and oneDNN that are
 * installed and beside reading memory, with the same number of threads. Absolute times mean
 * nothing on shared machines, so the candidates take turns in one process, and the median of the
 * rounds' ratios is what counts.
 *
 *   bench_gemm [-t threads] [-r rounds] [-i isa] [-a] [-c] [-w] [-b mib] [-f name] [N ...]
 *      -a: also the other types, both operands of one (ratio to our own F32)
 *      -c: count the CPU time of the computing thread (one thread only; for busy machines)
 *      -w: N rows by weights, in both layouts: the weights' bandwidth beside a pass over memory, and
 *          (in brackets) beside what the slower of memory and arithmetic allows
 *      -b: MiB of weights (128)
 *      -f: only weights whose name contains it
 *
 * An old OpenBLAS does not know new processors: OPENBLAS_CORETYPE=SkylakeX helps it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "gemm.h"
#include "pool.h"
#include "../../bench/peak.h"

#define ROUNDS_MAX	400
#define TYPES		10
#define SETTLE_US	20000		/* until the peers' threads have stopped waiting for more */
#define SKINNY_K	4096u
#define ALIGNMENT	((size_t)2 << 20)

typedef void cblas_fn(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
		      const float *a, int lda, const float *b, int ldb, float beta, float *c,
		      int ldc);
typedef void set_threads_fn(int threads);
/* Row-major, whatever its name says. */
typedef int dnnl_fn(char trans_a, char trans_b, int64_t m, int64_t n, int64_t k, float alpha,
		    const float *a, int64_t lda, const float *b, int64_t ldb, float beta, float *c,
		    int64_t ldc);

static cblas_fn *blas_sgemm;
static dnnl_fn *onednn_sgemm;
static struct onpu_pool *pool;
static clockid_t clock_id = CLOCK_MONOTONIC;
static int threads = 1, rounds = 7;
static const char *filter = "";
static uint32_t isa = ONPU_GEMM_ISA_AUTO;

static double now(void)
{
	struct timespec ts;

	clock_gettime(clock_id, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static int cmp(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(const double *v)
{
	double sorted[ROUNDS_MAX];

	memcpy(sorted, v, (size_t)rounds * sizeof(*v));
	qsort(sorted, (size_t)rounds, sizeof(*v), cmp);
	return sorted[rounds / 2];
}

/* How many times as fast as b. */
static double ratio(const double *a, const double *b)
{
	double r[ROUNDS_MAX];

	for (int i = 0; i < rounds; i++)
		r[i] = b[i] / a[i];
	return median(r);
}

/* A matmul as the card runs it: from a task of the pool, so that it uses just its threads. */
struct job {
	struct onpu_task task;
	struct onpu_gemm_desc desc;
	struct onpu_gemm_stats stats;
	struct onpu_seg seg[5];
	int result;
	int repeat;
	double seconds;
	sem_t done;
};

static void run_job(struct onpu_task *task)
{
	struct job *job = (struct job *)task;
	double t = now();

	for (int i = 0; i < job->repeat; i++)
		job->result = onpu_gemm(pool, &job->desc, NULL, &job->stats);
	job->seconds = (now() - t) / job->repeat;
	sem_post(&job->done);
}

static double run_ours(struct job *job)
{
	/* Looking again and again would take time from the pool's threads. */
	sem_init(&job->done, 0, 0);
	onpu_pool_submit(pool, &job->task);
	while (sem_wait(&job->done))
		;
	sem_destroy(&job->done);
	if (job->result) {
		fprintf(stderr, "onpu_gemm: %d\n", job->result);
		exit(1);
	}
	return job->seconds;
}

static void *memory(size_t bytes)
{
	size_t size = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	void *p = aligned_alloc(ALIGNMENT, size);

	if (!p) {
		fprintf(stderr, "no memory\n");
		exit(1);
	}
	/* As the card's memory: QEMU asks for that, too. */
	madvise(p, size, MADV_HUGEPAGE);
	return p;
}

/* Any bytes that are no infinities, NaNs or subnormal numbers of the type. */
static void *elements(uint64_t bytes, uint32_t dtype, uint32_t seed)
{
	uint8_t *p = memory(bytes);

	for (uint64_t i = 0; i < bytes / 4 * 4; i += 4) {
		uint32_t u;
		float f;

		seed = seed * 1664525u + 1013904223u;
		f = (float)(int32_t)(seed | 1) * 0x1p-31f;
		memcpy(&u, &f, 4);
		if (dtype == ONPU_DTYPE_BF16)
			u = (u & 0xffff0000u) | u >> 16;
		else if (dtype == ONPU_DTYPE_F16)
			u = (seed & 0x83ff83ffu) | 0x38003800u;
		else if (dtype != ONPU_DTYPE_F32)
			u = (seed >> 8) * 2654435761u & (dtype == ONPU_DTYPE_I8 ? ~0u : 0xbbbbbbbbu);
		memcpy(p + i, &u, 4);
	}
	return p;
}

static void set_view(struct job *job, unsigned int i, struct onpu_view *view, void *p, uint64_t len)
{
	job->seg[i] = (struct onpu_seg) { p, 0, len };
	*view = (struct onpu_view) { &job->seg[i], 1, len };
}

/* UE8M0 or BF16 scales, all one. */
static void set_scales(struct job *job, unsigned int i, struct onpu_gemm_scales *sc, uint32_t group,
		       uint32_t type, uint64_t ld, uint64_t rows)
{
	uint64_t bytes = rows * ld * (type ? 2 : 1);
	uint8_t *p = memory(bytes);

	for (uint64_t j = 0; j < bytes; j++)
		p[j] = !type ? 127 : j % 2 ? 0x3f : 0x80;
	sc->group = group;
	sc->type = type;
	sc->ld = ld;
	set_view(job, i, &sc->view, p, bytes);
}

struct shape {
	uint32_t m, n, k, a_type, b_type, flags, group;
};

static void setup(struct job *job, const struct shape *s)
{
	/* Rows in whole bytes. */
	bool tb = s->flags & ONPU_GEMM_TRANS_B;
	uint64_t lda = (s->k + 7) & ~7u, ldb = ((tb ? s->k : s->n) + 7) & ~7u;
	uint64_t groups = (s->k + 31) / 32, a_bytes, b_bytes;

	*job = (struct job) { .desc = {
		.m = s->m, .n = s->n, .k = s->k, .a_type = s->a_type, .b_type = s->b_type,
		.flags = s->flags, .isa = isa, .lda = lda, .ldb = ldb, .ldd = s->n,
	} };
	onpu_task_init(&job->task, run_job);
	a_bytes = lda * s->m * onpu_gemm_elem_bits(s->a_type) / 8;
	b_bytes = ldb * (tb ? s->n : s->k) * onpu_gemm_elem_bits(s->b_type) / 8;
	set_view(job, 0, &job->desc.a, elements(a_bytes, s->a_type, 1), a_bytes);
	set_view(job, 1, &job->desc.b, elements(b_bytes, s->b_type, 2), b_bytes);
	set_view(job, 2, &job->desc.d, memory((uint64_t)s->m * s->n * 4), (uint64_t)s->m * s->n * 4);
	if (onpu_gemm_is_mx(s->a_type))
		set_scales(job, 3, &job->desc.a_scales, 32, 0, groups, s->m);
	if (onpu_gemm_is_mx(s->b_type) || s->group)
		set_scales(job, 4, &job->desc.b_scales, 32, s->group ? ONPU_DTYPE_BF16 : 0,
			   tb ? groups : s->n, tb ? s->n : groups);
	/* Warm up. */
	job->repeat = 1;
	run_ours(job);
}

static void destroy(struct job *job)
{
	for (unsigned int i = 0; i < 5; i++)
		free(job->seg[i].ptr);
}

static const struct {
	uint32_t dtype;
	const char *name;
} types[TYPES] = {
	{ ONPU_DTYPE_F32, "f32" }, { ONPU_DTYPE_BF16, "bf16" }, { ONPU_DTYPE_F16, "f16" },
	{ ONPU_DTYPE_I8, "i8" }, { ONPU_DTYPE_I4, "i4" }, { ONPU_DTYPE_E4M3, "e4m3" },
	{ ONPU_DTYPE_E5M2, "e5m2" }, { ONPU_DTYPE_MX_E4M3, "mxfp8" },
	{ ONPU_DTYPE_MX_E2M3, "mxfp6" }, { ONPU_DTYPE_MX_E2M1, "mxfp4" },
};

static double run_blas(const struct job *job, int n, float *d)
{
	const float *a = (const float *)(void *)job->seg[0].ptr, *b = (void *)job->seg[1].ptr;
	double t = now();

	for (int i = 0; i < job->repeat; i++)
		blas_sgemm(101, 111, 111, n, n, n, 1, a, (int)job->desc.lda, b, (int)job->desc.ldb, 0,
			   d, n);
	t = (now() - t) / job->repeat;
	usleep(SETTLE_US);
	return t;
}

static double run_onednn(const struct job *job, int n, float *d)
{
	const float *a = (const float *)(void *)job->seg[0].ptr, *b = (void *)job->seg[1].ptr;
	double t = now();

	for (int i = 0; i < job->repeat; i++)
		onednn_sgemm('N', 'N', n, n, n, 1, a, (int64_t)job->desc.lda, b,
			     (int64_t)job->desc.ldb, 0, d, n);
	t = (now() - t) / job->repeat;
	usleep(SETTLE_US);
	return t;
}

static void bench_square(uint32_t n, int ntypes)
{
	static double t[TYPES][ROUNDS_MAX], blas[ROUNDS_MAX], onednn[ROUNDS_MAX];
	static struct job job[TYPES];
	double flop = 2.0 * n * n * n;
	float *d = memory((size_t)n * n * 4);

	for (int i = 0; i < ntypes; i++) {
		setup(&job[i], &(struct shape){ n, n, n, types[i].dtype, types[i].dtype, 0, 0 });
		job[i].repeat = (int)(4e9 / flop) + 1;
	}
	/* The first round warms up. */
	for (int r = -1; r < rounds; r++) {
		int at = r < 0 ? 0 : r;

		for (int i = 0; i < ntypes; i++)
			t[i][at] = run_ours(&job[i]);
		if (blas_sgemm)
			blas[at] = run_blas(&job[0], (int)n, d);
		if (onednn_sgemm)
			onednn[at] = run_onednn(&job[0], (int)n, d);
	}
	printf("N=%-5u threads=%d %-12s %8.1f GFLOP/s", n, threads, job[0].stats.kernel,
	       flop / median(t[0]) * 1e-9);
	if (blas_sgemm)
		printf("  x OpenBLAS %.2f", ratio(t[0], blas));
	if (onednn_sgemm)
		printf("  x oneDNN %.2f", ratio(t[0], onednn));
	for (int i = 1; i < ntypes; i++)
		printf("  %s %.2f", types[i].name, ratio(t[i], t[0]));
	printf("\n");
	fflush(stdout);
	for (int i = 0; i < ntypes; i++)
		destroy(&job[i]);
	free(d);
}

/* --- weights ---------------------------------------------------------------- */

typedef uint64_t vector __attribute__((vector_size(16)));

struct share {
	const vector *from;
	size_t count;
	vector sum;
};

static void *read_share(void *arg)
{
	struct share *share = arg;
	const vector *p = share->from, *end = p + share->count;
	vector sum[4] = { { 0 } };

	for (; p + 4 <= end; p += 4)
		for (int i = 0; i < 4; i++)
			sum[i] ^= p[i];
	share->sum = sum[0] ^ sum[1] ^ sum[2] ^ sum[3];
	return NULL;
}

static double read_once(const void *all, size_t bytes)
{
	size_t each = bytes / sizeof(vector) / (size_t)threads;
	struct share share[ONPU_POOL_MAX_THREADS];
	pthread_t thread[ONPU_POOL_MAX_THREADS];
	static volatile uint64_t sink;
	double t = now();

	for (int i = 0; i < threads; i++) {
		share[i] = (struct share){ .from = (const vector *)all + (size_t)i * each,
					   .count = each };
		if (i && pthread_create(&thread[i], NULL, read_share, &share[i]))
			exit(1);
	}
	read_share(&share[0]);
	for (int i = 0; i < threads; i++) {
		if (i)
			pthread_join(thread[i], NULL);
		sink = sink ^ share[i].sum[0] ^ share[i].sum[1];
	}
	return now() - t;
}

static const struct weights {
	const char *name;
	uint32_t a, b, group;
	double bits;	/* of a weight, with its share of the scales */
} weights[] = {
	{ "f32", ONPU_DTYPE_F32, ONPU_DTYPE_F32, 0, 32 },
	{ "bf16", ONPU_DTYPE_BF16, ONPU_DTYPE_BF16, 0, 16 },
	{ "f16", ONPU_DTYPE_F16, ONPU_DTYPE_F16, 0, 16 },
	{ "i8", ONPU_DTYPE_I8, ONPU_DTYPE_I8, 0, 8 },
	{ "e4m3", ONPU_DTYPE_BF16, ONPU_DTYPE_E4M3, 0, 8 },
	{ "i8 * i4", ONPU_DTYPE_I8, ONPU_DTYPE_I4, 0, 4 },
	{ "bf16 * i8 group 32", ONPU_DTYPE_BF16, ONPU_DTYPE_I8, 32, 8.5 },
	{ "bf16 * i4 group 32", ONPU_DTYPE_BF16, ONPU_DTYPE_I4, 32, 4.5 },
	{ "bf16 * mxfp8", ONPU_DTYPE_BF16, ONPU_DTYPE_MX_E4M3, 0, 8.25 },
	{ "bf16 * mxfp4", ONPU_DTYPE_BF16, ONPU_DTYPE_MX_E2M1, 0, 4.25 },
};

/* Seconds that so many multiply-adds take all threads at least. */
static double arithmetic(bool integer, double macs)
{
	double t = now();

	peak_run(integer, isa && isa < ONPU_GEMM_ISA_AVX512);
	return (now() - t) * macs / (double)PEAK_MACS / threads;
}

static void bench_weights(uint32_t m, size_t bytes)
{
	static double ours[ROUNDS_MAX], peer[ROUNDS_MAX], roof[ROUNDS_MAX];
	static struct job job;
	uint8_t *all = elements(bytes, ONPU_DTYPE_I8, 3);

	for (size_t i = 0; i < sizeof(weights) / sizeof(weights[0]); i++) {
		const struct weights *w = &weights[i];
		/* As wide as layers are: rows start at cache lines. */
		uint32_t n = (uint32_t)((double)bytes * 8 / SKINNY_K / w->bits) & ~255u;
		/* A scale is a multiplication for each weight. */
		double macs = (double)n * SKINNY_K * (m + (w->group || onpu_gemm_is_mx(w->b)));

		if (!strstr(w->name, filter))
			continue;
		printf("M=%-3u threads=%d %-20s", m, threads, w->name);
		for (int tb = 1; tb >= 0; tb--) {
			setup(&job, &(struct shape){ m, n, SKINNY_K, w->a, w->b,
						     tb ? ONPU_GEMM_TRANS_B : 0, w->group });
			for (int r = -1; r < rounds; r++) {
				int at = r < 0 ? 0 : r;

				ours[at] = run_ours(&job);
				peer[at] = read_once(all, bytes);
				roof[at] = arithmetic(w->a == ONPU_DTYPE_I8, macs);
				if (roof[at] < peer[at])
					roof[at] = peer[at];
			}
			printf("  %s %.2f (%.2f)", tb ? "N x K" : "K x N", ratio(ours, peer),
			       ratio(ours, roof));
			destroy(&job);
		}
		printf("  (reading: %.1f GB/s)\n", (double)bytes / median(peer) * 1e-9);
		fflush(stdout);
	}
	free(all);
}

static void open_peers(void)
{
	void *blas = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
	set_threads_fn *set_threads;
	void *onednn;
	char text[16];

	if (blas) {
		*(void **)&blas_sgemm = dlsym(blas, "cblas_sgemm");
		*(void **)&set_threads = dlsym(blas, "openblas_set_num_threads");
		set_threads(threads);
	}
	/* Debian's is built with OpenMP, which looks when it is loaded. */
	snprintf(text, sizeof(text), "%d", threads);
	setenv("OMP_NUM_THREADS", text, 1);
	onednn = dlopen("libdnnl.so.3", RTLD_NOW | RTLD_LOCAL);
	if (!onednn)
		onednn = dlopen("libdnnl.so.2", RTLD_NOW | RTLD_LOCAL);
	if (onednn)
		*(void **)&onednn_sgemm = dlsym(onednn, "dnnl_sgemm");
}

static uint32_t find_isa(const char *name)
{
	uint32_t i;

	for (i = 1; i < ONPU_GEMM_ISA_COUNT; i++)
		if (!strcmp(onpu_gemm_isa_name((enum onpu_gemm_isa)i), name))
			break;
	return i;
}

int main(int argc, char **argv)
{
	static const uint32_t squares[] = { 64, 128, 256, 512, 1024, 2048 }, rows[] = { 1, 4, 16 };
	size_t bytes = (size_t)128 << 20;
	bool all_types = false, skinny = false, ok = true;
	int c;

	while ((c = getopt(argc, argv, "t:r:i:b:f:acw")) != -1) {
		if (c == 't')
			threads = atoi(optarg);
		else if (c == 'r')
			rounds = atoi(optarg);
		else if (c == 'i')
			isa = find_isa(optarg);
		else if (c == 'b')
			bytes = (size_t)atoi(optarg) << 20;
		else if (c == 'f')
			filter = optarg;
		else if (c == 'a')
			all_types = true;
		else if (c == 'c')
			clock_id = CLOCK_THREAD_CPUTIME_ID;
		else if (c == 'w')
			skinny = true;
		else
			ok = false;
	}
	if (!ok || isa == ONPU_GEMM_ISA_COUNT || threads < 1 || threads > (int)ONPU_POOL_MAX_THREADS ||
	    rounds < 1 || rounds > ROUNDS_MAX || !bytes ||
	    (threads > 1 && clock_id != CLOCK_MONOTONIC)) {
		fprintf(stderr,
			"usage: %s [-t threads] [-r rounds] [-i isa] [-a] [-c] [-w] [-b mib] [-f name]"
			" [N ...]\n",
			argv[0]);
		return 2;
	}
	pool = onpu_pool_create((unsigned int)threads, "bench");
	if (!pool)
		return 1;
	if (!skinny)
		open_peers();
	for (size_t i = 0; optind == argc && i < (skinny ? 3 : 6); i++)
		skinny ? bench_weights(rows[i], bytes) : bench_square(squares[i], all_types ? TYPES : 1);
	for (; optind < argc; optind++) {
		uint32_t n = (uint32_t)atoi(argv[optind]);

		skinny ? bench_weights(n, bytes) : bench_square(n, all_types ? TYPES : 1);
	}
	onpu_pool_destroy(pool);
	return 0;
}

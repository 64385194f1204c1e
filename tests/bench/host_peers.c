// SPDX-License-Identifier: MIT
/*
 * The peers on the host: OpenBLAS, oneDNN, the memory itself, and the processor itself.
 *
 *     host_peers PEER THREADS     PEER: openblas, onednn, read or peak
 *
 * Reads requests from its standard input and answers each with a line, so that whoever measures
 * can take turns between the peers and the card:
 *
 *     M N K COUNT     sgemm, row-major: nanoseconds of one of COUNT that follow each other
 *     BYTES COUNT     read: nanoseconds of one pass over so much memory, the median of COUNT
 *     INTEGER COUNT   peak: nanoseconds of 2^30 multiply-adds in registers, of FP32 or (1) of bytes,
 *                     the median of COUNT
 *
 * The libraries are opened when the program runs, so that nothing but the benchmark needs them. Exit
 * status 77: the library is not installed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peak.h"
#include "took.h"

#define ROW_MAJOR 101
#define NO_TRANS 111
#define COUNT_MAX 1000
#define THREADS_MAX 256
#define ALIGNMENT ((size_t)2 << 20)

typedef void cblas_fn(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
		      const float *a, int lda, const float *b, int ldb, float beta, float *c,
		      int ldc);
typedef void set_threads_fn(int threads);
/* Row-major, whatever its name says. */
typedef int dnnl_fn(char trans_a, char trans_b, int64_t m, int64_t n, int64_t k, float alpha,
		    const float *a, int64_t lda, const float *b, int64_t ldb, float beta, float *c,
		    int64_t ldc);

struct peer {
	cblas_fn *cblas;
	dnnl_fn *dnnl;
	int threads;
	bool peak;
	float *memory;
	size_t room;
};

static void *symbol(const char *const *names, const char *function)
{
	void *library = NULL, *found;

	for (; *names && !library; names++)
		library = dlopen(*names, RTLD_NOW | RTLD_GLOBAL);
	if (!library) {
		fprintf(stderr, "%s\n", dlerror());
		exit(77);
	}
	found = dlsym(library, function);
	if (!found) {
		fprintf(stderr, "%s\n", dlerror());
		exit(1);
	}
	return found;
}

static void open_openblas(struct peer *peer)
{
	static const char *const names[] = { "libopenblas.so.0", NULL };
	set_threads_fn *set_threads;

	*(void **)&peer->cblas = symbol(names, "cblas_sgemm");
	*(void **)&set_threads = symbol(names, "openblas_set_num_threads");
	set_threads(peer->threads);
}

static void open_onednn(struct peer *peer)
{
	static const char *const names[] = { "libdnnl.so.3", "libdnnl.so.2", NULL };
	char text[16];

	/* Debian's is built with OpenMP, which looks when it is loaded. */
	snprintf(text, sizeof(text), "%d", peer->threads);
	setenv("OMP_NUM_THREADS", text, 1);
	*(void **)&peer->dnnl = symbol(names, "dnnl_sgemm");
}

/* Memory of at least so many bytes, touched. */
static float *memory(struct peer *peer, size_t bytes)
{
	if (peer->room >= bytes)
		return peer->memory;
	free(peer->memory);
	peer->room = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	peer->memory = aligned_alloc(ALIGNMENT, peer->room);
	if (!peer->memory) {
		fprintf(stderr, "host_peers: no memory\n");
		exit(1);
	}
	for (size_t i = 0; i < peer->room / sizeof(float); i++)
		peer->memory[i] = (float)(i * 2654435761u % 65536) / 65536 - 0.5f;
	return peer->memory;
}

static void sgemm(struct peer *peer, int m, int n, int k, float *a, float *b, float *c)
{
	if (peer->cblas)
		peer->cblas(ROW_MAJOR, NO_TRANS, NO_TRANS, m, n, k, 1, a, k, b, n, 0, c, n);
	else
		peer->dnnl('N', 'N', m, n, k, 1, a, k, b, n, 0, c, n);
}

static uint64_t measure_sgemm(struct peer *peer, const int dims[3], int count)
{
	size_t m = (size_t)dims[0], n = (size_t)dims[1], k = (size_t)dims[2];
	float *a = memory(peer, (m * k + k * n + m * n) * sizeof(float));
	float *b = a + m * k, *c = b + k * n;
	uint64_t start = now();

	for (int i = 0; i < count; i++)
		sgemm(peer, dims[0], dims[1], dims[2], a, b, c);
	return (now() - start) / (uint64_t)count;
}

/* --- reading memory --------------------------------------------------------- */

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

static uint64_t read_once(struct peer *peer, size_t bytes)
{
	size_t each = bytes / sizeof(vector) / (size_t)peer->threads;
	const vector *all = (const vector *)(const void *)memory(peer, bytes);
	struct share share[THREADS_MAX];
	pthread_t thread[THREADS_MAX];
	static volatile uint64_t sink;
	uint64_t start = now();

	for (int i = 0; i < peer->threads; i++) {
		share[i] = (struct share){ .from = all + (size_t)i * each, .count = each };
		if (i && pthread_create(&thread[i], NULL, read_share, &share[i])) {
			fprintf(stderr, "host_peers: no thread\n");
			exit(1);
		}
	}
	read_share(&share[0]);
	for (int i = 0; i < peer->threads; i++) {
		if (i)
			pthread_join(thread[i], NULL);
		sink = sink ^ share[i].sum[0] ^ share[i].sum[1];
	}
	return now() - start;
}

/* --- multiply-adds ---------------------------------------------------------- */

static void *peak_share(void *arg)
{
	peak_run(*(const bool *)arg, false);
	return NULL;
}

static uint64_t peak_once(struct peer *peer, bool integer)
{
	pthread_t thread[THREADS_MAX];
	uint64_t start = now();

	for (int i = 1; i < peer->threads; i++)
		if (pthread_create(&thread[i], NULL, peak_share, &integer)) {
			fprintf(stderr, "host_peers: no thread\n");
			exit(1);
		}
	peak_share(&integer);
	for (int i = 1; i < peer->threads; i++)
		pthread_join(thread[i], NULL);
	return (now() - start) / (uint64_t)peer->threads;
}

/* what: bytes, or whether integers. */
static uint64_t measure(struct peer *peer, size_t what, int count)
{
	uint64_t took[COUNT_MAX];

	for (int i = 0; i < count; i++)
		took[i] = peer->peak ? peak_once(peer, what) : read_once(peer, what);
	return median(took, (unsigned int)count);
}

int main(int argc, char **argv)
{
	struct peer peer = { .threads = argc == 3 ? atoi(argv[2]) : 0 };
	long long bytes;
	int dims[3], count;
	char line[128];

	if (peer.threads < 1 || peer.threads > THREADS_MAX) {
		fprintf(stderr, "usage: %s openblas|onednn|read|peak THREADS\n", argv[0]);
		return 1;
	}
	if (!strcmp(argv[1], "openblas"))
		open_openblas(&peer);
	else if (!strcmp(argv[1], "onednn"))
		open_onednn(&peer);
	else
		peer.peak = !strcmp(argv[1], "peak");
	while (fgets(line, sizeof(line), stdin)) {
		uint64_t took;

		if ((peer.cblas || peer.dnnl) &&
		    sscanf(line, "%d %d %d %d", &dims[0], &dims[1], &dims[2], &count) == 4 &&
		    dims[0] > 0 && dims[1] > 0 && dims[2] > 0 && count > 0)
			took = measure_sgemm(&peer, dims, count);
		else if (sscanf(line, "%lld %d", &bytes, &count) == 2 && bytes >= !peer.peak &&
			 count > 0 && count <= COUNT_MAX)
			took = measure(&peer, (size_t)bytes, count);
		else
			break;
		printf("%" PRIu64 "\n", took);
		fflush(stdout);
	}
	return 0;
}

// SPDX-License-Identifier: MIT
/*
 * What the card model itself costs, without QEMU or driver: a null job from
 * doorbell to fence, jobs per second in flight, copies against memcpy, and
 * matmuls by packet, one or many in flight, against the engine called directly.
 * Arguments: threads; whether who rings takes the first turn (1).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "card_fixture.h"

#define VA	0x10000000ull
#define BIG	0x100000000ull

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void null_job(struct fx *fx, struct fx_queue *q, uint8_t *buf)
{
	enum { N = 20000 };
	static uint64_t t[N];
	uint64_t start;

	for (unsigned int i = 0; i < N; i++) {
		struct onpu_packet p = pk_signal(VA, i + 1, false);

		start = fx_now_ns();
		fx_submit(q, &p);
		while (fx_load(buf) != i + 1)
			;
		t[i] = fx_now_ns() - start;
	}
	qsort(t, N, sizeof(t[0]), compare);
	printf("null job: median %.2f us, 99%% %.2f us\n", (double)t[N / 2] / 1e3,
	       (double)t[N * 99 / 100] / 1e3);
	(void)fx;
}

static void many_jobs(struct fx *fx, struct fx_queue *q, uint8_t *buf)
{
	const unsigned int n = 1000000, ring = 1u << q->order;
	uint64_t start = fx_now_ns();

	fx_store(buf, 0);
	for (unsigned int i = 0; i < n;) {
		while (i < n && i - (unsigned int)fx_load(buf) < ring - 1) {
			struct onpu_packet p = pk_signal(VA, ++i, false);

			fx_push(q, &p);
			if (i % 16 == 0 || i == n)
				fx_ring(q);
		}
	}
	while (fx_load(buf) != n)
		;
	printf("jobs in flight: %.2f M/s\n", (double)n * 1e3 / (double)(fx_now_ns() - start));
	(void)fx;
}

static void wait_for(uint8_t *buf, uint64_t value)
{
	while (fx_load(buf) != value)
		usleep(20);
}

static void copies(struct fx *fx, struct fx_queue *q, uint8_t *buf)
{
	const uint64_t size = 64u << 20;
	uint64_t a = fx_vram(fx, size, 2u << 20), b = fx_vram(fx, size, 2u << 20), start, best = ~0ull;
	uint64_t best_memcpy = ~0ull;

	fx_map_huge(fx, 1, BIG, a, size, RW);
	fx_map_huge(fx, 1, 2 * BIG, b, size, RW);
	memset(fx_vptr(fx, a), 1, size);
	memset(fx_vptr(fx, b), 2, size);
	for (unsigned int i = 0; i < 10; i++) {
		struct onpu_packet p[2] = { pk_copy(2 * BIG, BIG, size), pk_signal(VA + 8, i + 1, 0) };

		start = fx_now_ns();
		memcpy(fx_vptr(fx, b), fx_vptr(fx, a), size);
		if (fx_now_ns() - start < best_memcpy)
			best_memcpy = fx_now_ns() - start;
		start = fx_now_ns();
		fx_push(q, &p[0]);
		fx_push(q, &p[1]);
		fx_ring(q);
		wait_for(buf + 8, i + 1);
		if (fx_now_ns() - start < best)
			best = fx_now_ns() - start;
	}
	printf("copy: %.2f GB/s, memcpy %.2f GB/s\n", (double)size / (double)best,
	       (double)size / (double)best_memcpy);
}

/* An F32 matmul, to be called directly and by packet. */
struct product {
	uint32_t dim;
	struct onpu_seg seg[3];
	struct onpu_gemm_desc direct;
};

static void make_product(struct fx *fx, struct product *x, uint32_t dim)
{
	uint64_t size = ((uint64_t)dim * dim * 4 + (2u << 20) - 1) & ~((2ull << 20) - 1);
	uint8_t *desc = fx_vptr(fx, fx_load(fx_pte(fx, 1, VA + 4096, 0)) & ONPU_PTE_ADDR);
	uint64_t va[3], off;

	for (unsigned int i = 0; i < 3; i++) {
		va[i] = (16 + i + (uint64_t)dim * 4) << 32;
		off = fx_vram(fx, size, 2u << 20);
		fx_map_huge(fx, 1, va[i], off, size, RW);
		for (uint64_t j = 0; j < size / 4; j++)
			((float *)fx_vptr(fx, off))[j] = (float)(j % 13);
		x->seg[i] = (struct onpu_seg){ fx_vptr(fx, off), 0, (uint64_t)dim * dim * 4 };
	}
	struct onpu_matmul_desc d = {
		.a_type = ONPU_DTYPE_F32, .b_type = ONPU_DTYPE_F32, .d_type = ONPU_DTYPE_F32,
		.m = dim, .n = dim, .k = dim, .a_va = va[0], .b_va = va[1], .d_va = va[2],
		.lda = dim, .ldb = dim, .ldd = dim,
	};

	x->dim = dim;
	x->direct = (struct onpu_gemm_desc){
		.m = dim, .n = dim, .k = dim, .a_type = ONPU_DTYPE_F32, .b_type = ONPU_DTYPE_F32,
		.lda = dim, .ldb = dim, .ldd = dim,
		.a = { &x->seg[0], 1, x->seg[0].len }, .b = { &x->seg[1], 1, x->seg[1].len },
		.d = { &x->seg[2], 1, x->seg[2].len },
	};
	memcpy(desc, &d, sizeof(d));
}

/* ns of count matmuls that follow each other, called directly. */
static uint64_t run_direct(struct onpu_pool *pool, const struct product *x, unsigned int count)
{
	uint64_t start = fx_now_ns();

	for (unsigned int i = 0; i < count; i++)
		onpu_gemm(pool, &x->direct, NULL, NULL);
	return fx_now_ns() - start;
}

/* By packets, all of them in flight. */
static uint64_t run_packets(struct fx_queue *q, uint8_t *buf, unsigned int count)
{
	struct onpu_packet p = pk_matmul(VA + 4096), end;
	static uint64_t fence;
	uint64_t start = fx_now_ns();

	for (unsigned int i = 0; i < count; i++)
		fx_push(q, &p);
	end = pk_signal(VA + 16, ++fence, 0);
	fx_push(q, &end);
	fx_ring(q);
	wait_for(buf + 16, fence);
	return fx_now_ns() - start;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void matmul(struct fx *fx, struct fx_queue *q, uint8_t *buf, uint32_t dim, unsigned int count)
{
	struct onpu_pool *pool = onpu_pool_create((unsigned int)fx->opts.threads - 1, "direct");
	uint64_t direct = ~0ull, packets = ~0ull;
	double ops = 2.0 * dim * dim * dim * count;
	struct product x;

	make_product(fx, &x, dim);
	for (unsigned int i = 0; i < (count > 1 ? 20 : 5); i++) {
		direct = min_u64(direct, run_direct(pool, &x, count));
		packets = min_u64(packets, run_packets(q, buf, count));
	}
	onpu_pool_destroy(pool);
	printf("matmul %u, %u in flight: %.1f GFLOP/s by packet, %.1f directly, %.2f us a packet more\n",
	       dim, count, ops / (double)packets, ops / (double)direct,
	       ((double)packets - (double)direct) / count / 1e3);
}

int main(int argc, char **argv)
{
	struct fx_opts opts = { .threads = argc > 1 ? atoi(argv[1]) : 2,
				.doorbell_inline = argc > 2 && atoi(argv[2]),
				.vram_size = 1024ull << 20 };
	struct fx *fx = fx_create(&opts);
	struct fx_queue q;
	uint8_t *buf;

	fx_context(fx, 1);
	buf = fx_buffer(fx, 1, VA, 8192);
	fx_queue_init(&q, fx, 0, 0, 1, 8, 0);
	null_job(fx, &q, buf);
	many_jobs(fx, &q, buf);
	copies(fx, &q, buf);
	matmul(fx, &q, buf, 16, 100);
	matmul(fx, &q, buf, 64, 100);
	matmul(fx, &q, buf, 128, 100);
	matmul(fx, &q, buf, 256, 100);
	matmul(fx, &q, buf, 1024, 1);
	matmul(fx, &q, buf, 2048, 1);
	matmul(fx, &q, buf, 4096, 1);
	fx_destroy(fx);
	return 0;
}

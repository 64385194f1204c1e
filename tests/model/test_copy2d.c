// SPDX-License-Identifier: MIT
/*
 * COPY_2D against a loop over bytes: shapes and pitches at random, rows that end anywhere, memory of
 * the card and of the host, holes that are not mapped; what is malformed or out of reach; what it
 * asks of the engines; that it stops soon, and goes on where it was.
 */
#include <stdlib.h>
#include <string.h>

#include "card_fixture.h"

#define VA	0x10000000ull
#define SIZE	(12u << 20)		/* of each of the areas */
#define DST	VA
#define SRC	(VA + (1ull << 32))
#define HOST	(VA + (2ull << 32))

struct env {
	struct fx *fx;
	struct fx_queue q;
	uint8_t *dst, *src, *host, *want;
};

static void start_with(struct env *e, int threads, enum fx_dma dma)
{
	struct fx_opts opts = { .threads = threads, .dma = dma };
	uint64_t off;

	e->fx = fx_create(&opts);
	fx_context(e->fx, 1);
	e->dst = fx_buffer(e->fx, 1, DST, SIZE);
	e->src = fx_buffer(e->fx, 1, SRC, SIZE);
	off = fx_hostmem(e->fx, SIZE, 4096);
	fx_map(e->fx, 1, HOST, off, SIZE, RW | ONPU_PTE_HOST);
	e->host = fx_hptr(e->fx, off);
	e->want = malloc(SIZE);
	assert_non_null(e->want);
	for (uint64_t i = 0; i < SIZE; i++) {
		e->src[i] = (uint8_t)(i * 7 + (i >> 8) * 5 + (i >> 16));
		e->host[i] = (uint8_t)(i * 3 + (i >> 9));
	}
	fx_queue_init(&e->q, e->fx, 0, 3, 1, 4, 0);
}

static void start(struct env *e)
{
	start_with(e, 0, FX_DMA_SYNC);
}

static void finish(struct env *e)
{
	assert_int_equal(e->fx->guest_errors, 0);
	fx_destroy(e->fx);
	free(e->want);
}

struct shape {
	uint64_t dst, src, dst_pitch, src_pitch, row_bytes;
	uint32_t rows;
};

static struct onpu_packet packet_of(const struct shape *s, uint64_t dst, uint64_t src)
{
	return pk_copy_2d(dst + s->dst, s->dst_pitch, src + s->src, s->src_pitch, s->row_bytes,
			  s->rows);
}

/* What must come of it, byte by byte. */
static void expect(struct env *e, const struct shape *s, const uint8_t *from)
{
	for (uint32_t r = 0; r < s->rows; r++)
		for (uint64_t i = 0; i < s->row_bytes; i++)
			e->want[s->dst + r * s->dst_pitch + i] = from[s->src + r * s->src_pitch + i];
}

static uint64_t rnd(struct env *e, uint64_t below)
{
	return ((uint64_t)fx_random(e->fx) << 16 ^ fx_random(e->fx)) % below;
}

static struct shape some_shape(struct env *e)
{
	struct shape s = { .rows = 1 + (uint32_t)rnd(e, 300) };

	if (rnd(e, 4) == 0)
		s.rows = 1 + (uint32_t)rnd(e, 9000);
	s.dst = rnd(e, 9000);
	s.src = rnd(e, 9000);
	s.row_bytes = 1 + rnd(e, rnd(e, 3) ? 200 : (SIZE - 9000) / s.rows - 1);
	if (s.row_bytes > (SIZE - 9000) / s.rows)
		s.row_bytes = (SIZE - 9000) / s.rows;
	s.dst_pitch = (SIZE - 9000) / s.rows;
	s.dst_pitch = s.row_bytes + (rnd(e, 2) ? rnd(e, s.dst_pitch - s.row_bytes + 1) : 0);
	s.src_pitch = rnd(e, 3) ? rnd(e, (SIZE - 9000 - s.row_bytes) / s.rows + 1) : s.row_bytes;
	if (s.src + (s.rows - 1) * s.src_pitch + s.row_bytes > SIZE)
		s.src_pitch = 0;
	return s;
}

/* --- results -------------------------------------------------------------- */

static void run_shapes(struct env *e, unsigned int rounds)
{
	uint64_t bytes = fx_rd64(e->fx, ONPU_REG_CNT_COPY_BYTES);

	memset(e->dst, 0xcd, SIZE);
	memset(e->want, 0xcd, SIZE);
	for (unsigned int i = 0; i < rounds; i++) {
		struct shape s = some_shape(e);
		bool host = rnd(e, 2);
		struct onpu_packet p = packet_of(&s, DST, host ? HOST : SRC);

		fx_submit(&e->q, &p);
		assert_int_equal(fx_settle(&e->q), ONPU_SLOT_IDLE);
		expect(e, &s, host ? e->host : e->src);
		assert_memory_equal(e->dst, e->want, SIZE);
		bytes += s.rows * s.row_bytes;
		assert_true(fx_rd64(e->fx, ONPU_REG_CNT_COPY_BYTES) == bytes);
	}
}

static void any_shape(void **state)
{
	struct env e;

	(void)state;
	for (unsigned int async = 0; async < 2; async++) {
		start_with(&e, 0, async ? FX_DMA_ASYNC : FX_DMA_SYNC);
		run_shapes(&e, 40);
		finish(&e);
	}
	start_with(&e, 2, FX_DMA_SYNC);
	run_shapes(&e, 40);
	finish(&e);
}

static void to_the_host(void **state)
{
	struct shape s = { .dst = 4000, .src = 77, .dst_pitch = 4096 * 3 + 1, .src_pitch = 5000,
			   .row_bytes = 4100, .rows = 500 };
	struct env e;
	struct onpu_packet p = packet_of(&s, HOST, SRC);

	(void)state;
	start(&e);
	memcpy(e.want, e.host, SIZE);
	fx_submit(&e.q, &p);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	expect(&e, &s, e.src);
	assert_memory_equal(e.host, e.want, SIZE);
	finish(&e);
}

/* Nothing to do is no reason to touch anything; one row needs no pitch. */
static void nothing(void **state)
{
	struct env e;

	(void)state;
	start(&e);
	struct onpu_packet none[] = {
		pk_copy_2d(UINT64_MAX, 0, UINT64_MAX, 0, 64, 0),
		pk_copy_2d(UINT64_MAX, 1, UINT64_MAX, UINT64_MAX, 0, UINT32_MAX),
		pk_copy_2d(DST, 3, SRC, UINT64_MAX, 64, 1),
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(none); i++) {
		assert_int_equal(e.dst[0], 0);
		fx_submit(&e.q, &none[i]);
		assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	}
	assert_memory_equal(e.dst, e.src, 64);
	assert_int_equal(e.dst[64], 0);
	assert_int_equal(fx_rd64(e.fx, ONPU_REG_CNT_COPY_BYTES), 64);
	finish(&e);
}

/* Only the pages with rows are there. */
static void holes(void **state)
{
	const uint64_t far = 1ull << 40, pitch = (1u << 21) + 4096;
	struct env e;

	(void)state;
	start(&e);
	for (unsigned int r = 0; r < 20; r++) {
		uint8_t *page = fx_buffer(e.fx, 1, far + r * pitch, 4096);

		memset(page, (int)r + 1, 4096);
	}
	struct onpu_packet p[] = {
		pk_copy_2d(DST, 100, far + 10, pitch, 100, 20),
		pk_copy_2d(far + 2000, pitch, SRC, 0, 3, 20),
		pk_copy_2d(DST + 4096, 4096, far, pitch, 4096, 20),
		pk_copy_2d(DST, 100, far + 10, pitch, 100, 21),
	};

	for (unsigned int i = 0; i < 3; i++) {
		fx_submit(&e.q, &p[i]);
		assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	}
	for (unsigned int r = 0; r < 20; r++) {
		uint8_t *copy = e.dst + 4096 + 4096 * r;

		for (unsigned int i = 0; i < 100; i++)
			assert_int_equal(e.dst[100 * r + i], r + 1);
		assert_int_equal(copy[1999], r + 1);
		assert_memory_equal(copy + 2000, e.src, 3);
		assert_int_equal(copy[2003], r + 1);
	}
	fx_submit(&e.q, &p[3]);
	fx_expect_fault(&e.q, ONPU_FAULT_NOT_PRESENT, ONPU_FAULT_ACCESS_READ, 1, far + 10 + 20 * pitch);
	finish(&e);
}

/* --- refusals ------------------------------------------------------------- */

static void refuse(struct env *e, struct onpu_packet p)
{
	fx_submit(&e->q, &p);
	fx_expect_error(&e->q, ONPU_ERR_PACKET);
	fx_unbind(&e->q);
	fx_bind(&e->q, 0, e->q.producer, ONPU_SLOT_BIND);
}

static void refuse_range(struct env *e, struct onpu_packet p, uint32_t access, uint64_t va)
{
	fx_submit(&e->q, &p);
	fx_expect_fault(&e->q, ONPU_FAULT_VA_RANGE, access, 3, va);
	fx_unbind(&e->q);
	fx_bind(&e->q, 0, e->q.producer, ONPU_SLOT_BIND);
}

static void hostile(void **state)
{
	const uint64_t max = UINT64_MAX, end = 1ull << 48;
	const uint32_t read = ONPU_FAULT_ACCESS_READ, write = ONPU_FAULT_ACCESS_WRITE;
	struct onpu_packet p;
	struct env e;

	(void)state;
	start(&e);
	refuse(&e, pk_copy_2d(DST, 63, SRC, 64, 64, 2));
	refuse(&e, pk_copy_2d(DST, 0, SRC, 64, 1, UINT32_MAX));
	refuse(&e, pk_copy_2d(DST, max - 1, SRC, 64, max, 2));
	p = pk_copy_2d(DST, 64, SRC, 64, 64, 2);
	p.copy_2d.reserved32 = 1;
	refuse(&e, p);
	p = pk_copy_2d(DST, 64, SRC, 64, 64, 2);
	p.copy_2d.reserved = 1;
	refuse(&e, p);
	p = pk_copy_2d(DST, 64, SRC, 64, 64, 0);
	p.flags = ONPU_PKT_IRQ;
	refuse(&e, p);
	/* Products and sums that wrap, and sides that just leave the address space. */
	refuse_range(&e, pk_copy_2d(DST, 64, SRC, max, 64, 2), read, SRC);
	refuse_range(&e, pk_copy_2d(DST, 64, SRC, max / 2 + 1, 64, 3), read, SRC);
	refuse_range(&e, pk_copy_2d(DST, max, SRC, 64, 64, 2), write, DST);
	refuse_range(&e, pk_copy_2d(DST, max, SRC, 0, max, UINT32_MAX), read, SRC);
	refuse_range(&e, pk_copy_2d(DST, max / 2 + 1, SRC, 0, 64, UINT32_MAX), write, DST);
	refuse_range(&e, pk_copy_2d(DST, 64, end - 127, 64, 64, 2), read, end - 127);
	refuse_range(&e, pk_copy_2d(end - 127, 64, SRC, 64, 64, 2), write, end - 127);
	refuse_range(&e, pk_copy_2d(DST, 1ull << 17, SRC, 0, 1, UINT32_MAX), write, DST);
	refuse_range(&e, pk_copy_2d(DST, max, max, 0, max, 1), read, max);
	assert_int_equal(fx_rd64(e.fx, ONPU_REG_CNT_COPY_BYTES), 0);
	assert_int_equal(e.dst[0], 0);
	/* 2^32 rows that could be there, and are not: the first says so. */
	p = pk_copy_2d(1ull << 46, 64, SRC, 0, 64, UINT32_MAX);
	fx_submit(&e.q, &p);
	fx_expect_fault(&e.q, ONPU_FAULT_NOT_PRESENT, write, 3, 1ull << 46);
	finish(&e);
}

/* --- stopping ------------------------------------------------------------- */

/* Thousands of millions of rows, of nothing: it takes long, and yet a kill finds it at once. */
static void endless(void **state)
{
	struct onpu_packet p = pk_copy_2d(1ull << 40, 64, SRC, 0, 64, UINT32_MAX);
	struct fx_opts opts = { .threads = 2 };
	struct fx_queue q;
	uint64_t worst = 0;
	struct fx *fx = fx_create(&opts);

	(void)state;
	fx_context(fx, 1);
	fx_buffer(fx, 1, SRC, 4096);
	/* One table of level 1, of pages mapped to nothing, for 256 GiB. */
	for (uint64_t i = 0; i < 512; i++)
		fx_store(fx_pte(fx, 1, (1ull << 40) + (i << 21), 1),
			 ONPU_PTE_VALID | ONPU_PTE_LEAF | ONPU_PTE_NULL | RW);
	for (uint64_t i = 1; i < 256; i++)
		fx_store(fx_pte(fx, 1, (1ull << 40) + (i << 30), 2),
			 fx_load(fx_pte(fx, 1, 1ull << 40, 2)));
	for (unsigned int i = 0; i < 10; i++) {
		uint64_t start;

		fx_queue_init(&q, fx, 0, i, 1, 4, 0);
		fx_submit(&q, &p);
		while (fx_rd64(fx, ONPU_REG_CNT_COPY_BYTES) < (i + 1) * (8ull << 20))
			;
		start = fx_now_ns();
		fx_kill(&q);
		start = fx_now_ns() - start;
		worst = start > worst ? start : worst;
		fx_unbind(&q);
	}
	print_message("the longest kill took %.1f ms\n", (double)worst / 1e6);
	/* The machine may be busy; all of the packet would take minutes. */
	assert_true(worst < 900000000);
	fx_destroy(fx);
}

/* Rows longer than a window, shorter, and so many of them that windows are full before. */
static void suspended(void **state)
{
	static const struct shape shapes[] = {
		{ .dst = 5, .src = 9, .dst_pitch = 3, .src_pitch = 2, .row_bytes = 3, .rows = 20000 },
		{ .dst = 1, .src = 3, .dst_pitch = 730, .src_pitch = 600, .row_bytes = 700, .rows = 17000 },
		{ .dst = 1, .src = 3, .dst_pitch = 3 << 20, .src_pitch = 1 << 20,
		  .row_bytes = (3 << 20) - 100, .rows = 4 },
		{ .dst = 7, .src = 0, .dst_pitch = 9 << 20, .src_pitch = 12345,
		  .row_bytes = (9 << 20) - 20000, .rows = 1 },
	};
	struct env e;

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(shapes); i++) {
		struct onpu_packet p = packet_of(&shapes[i], DST, i == 1 ? HOST : SRC);
		unsigned int work = 0;
		uint32_t saved;

		start_with(&e, 0, i == 1 ? FX_DMA_ASYNC : FX_DMA_SYNC);
		memset(e.want, 0, SIZE);
		fx_submit(&e.q, &p);
		while (fx_slot(e.fx, e.q.slot, ONPU_SLOT_CONSUMER) != 1) {
			onpu_card_run(e.fx->card, 1);
			fx_complete(e.fx, 64, fx_random(e.fx) & 1);
			/* What is mapped is dropped with it: else it would not get on. */
			if (i == 1 && fx_random(e.fx) % 2)
				continue;
			saved = fx_suspend(&e.q);
			work += saved & ONPU_SLOT_SAVED_WORK;
			fx_resume(&e.q, fx_random(e.fx) % 4, saved);
		}
		fx_settle(&e.q);
		assert_true(work > 0);
		expect(&e, &shapes[i], i == 1 ? e.host : e.src);
		assert_memory_equal(e.dst, e.want, SIZE);
		finish(&e);
	}
}

/* A place that no COPY_2D has come to is not gone on from. */
static void damaged(void **state)
{
	struct shape s = { .dst_pitch = 3 << 20, .src_pitch = 3 << 20, .row_bytes = 3 << 20,
			   .rows = 4 };
	struct onpu_packet p = packet_of(&s, DST, SRC);
	uint64_t done = 0, size = s.rows * s.row_bytes;
	uint8_t *area = NULL;
	struct env e;
	uint32_t saved;

	(void)state;
	start(&e);
	fx_submit(&e.q, &p);
	while (!fx_rd64(e.fx, ONPU_REG_CNT_COPY_BYTES))
		onpu_card_run(e.fx->card, 1);
	done = fx_rd64(e.fx, ONPU_REG_CNT_COPY_BYTES);
	saved = fx_suspend(&e.q);
	assert_int_equal(saved, ONPU_SLOT_SAVED_WORK);
	for (uint8_t *at = fx_save_area(&e.q); at < fx_save_area(&e.q) + ONPU_SAVE_SIZE; at += 8)
		if (fx_load(at) == done)
			area = at;
	assert_non_null(area);
	fx_store(area, size + 1);
	onpu_slot_save_seal(fx_save_area(&e.q));
	fx_resume(&e.q, 1, saved);
	fx_expect_error(&e.q, ONPU_ERR_INTERNAL);
	finish(&e);
}

/* --- engine time ---------------------------------------------------------- */

static struct onpu_stamp stamp_of(struct env *e, struct onpu_packet p)
{
	struct onpu_stamp s;

	p.flags = ONPU_PKT_STAMP;
	p.stamp.va = DST + SIZE - 64;
	fx_submit(&e->q, &p);
	assert_int_equal(fx_settle(&e->q), ONPU_SLOT_IDLE);
	memcpy(&s, e->dst + SIZE - 64, sizeof(s));
	return s;
}

/* As much as a COPY of as many bytes, wherever they are. */
static void asked_of_the_engines(void **state)
{
	struct onpu_stamp flat, rows;
	struct env e;

	(void)state;
	start(&e);
	for (unsigned int host = 0; host < 2; host++) {
		uint64_t src = host ? HOST : SRC;

		flat = stamp_of(&e, pk_copy(DST, src, 5000 * 123));
		assert_int_equal(flat.vram_bytes, (host ? 1 : 2) * 5000 * 123);
		for (uint64_t pitch = 0; pitch < 2000; pitch += 41) {
			rows = stamp_of(&e, pk_copy_2d(DST, 999, src + 1, pitch, 123, 5000));
			assert_int_equal(rows.vram_bytes, flat.vram_bytes);
			assert_int_equal(rows.host_read_bytes, flat.host_read_bytes);
			assert_int_equal(rows.host_write_bytes, 0);
			assert_int_equal(rows.end - rows.start, flat.end - flat.start);
			assert_int_equal(rows.limit, flat.limit);
			assert_int_equal(rows.opcode, ONPU_OP_COPY_2D);
		}
	}
	finish(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_shape),
		cmocka_unit_test(to_the_host),
		cmocka_unit_test(nothing),
		cmocka_unit_test(holes),
		cmocka_unit_test(hostile),
		cmocka_unit_test(endless),
		cmocka_unit_test(suspended),
		cmocka_unit_test(damaged),
		cmocka_unit_test(asked_of_the_engines),
	};

	return cmocka_run_group_tests_name("copy_2d", tests, NULL, NULL);
}

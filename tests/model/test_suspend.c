// SPDX-License-Identifier: MIT
/*
 * Suspending and restoring slots: whatever a queue is in the middle of, it goes
 * on exactly there, on any slot, under other page tables, in another card. The
 * measure is memory: bit for bit what it is when nobody interrupts.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "card_fixture.h"

#define VA	0x10000000ull
#define BIG	0x100000000ull
#define DIM_M	330u
#define DIM_N	500u
#define DIM_K	900u

#if defined(__SANITIZE_THREAD__)
#define TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TSAN 1
#endif
#endif
#if defined(TSAN) || defined(__SANITIZE_ADDRESS__)
#define SLOW	1u
#else
#define SLOW	0u
#endif
#ifdef TSAN
#define ROUNDS	40u
#else
#define ROUNDS	200u
#endif

static void nap(unsigned int us)
{
	struct timespec ts = { .tv_nsec = us * 1000 };

	nanosleep(&ts, NULL);
}

/* --- a program that does everything --------------------------------------- */

struct program {
	struct fx *fx;
	struct fx_queue q;
	uint64_t data, size;		/* card memory that it works on */
};

static void fill_random(uint8_t *p, uint64_t size)
{
	uint32_t x = 12345;

	for (uint64_t i = 0; i < size; i++) {
		x = x * 1664525 + 1013904223;
		p[i] = (uint8_t)(x >> 24);
	}
}

/* Finite numbers of all sizes that sums of do depend on the order. */
static void fill_f32(float *p, uint64_t n)
{
	uint32_t x = 777;

	for (uint64_t i = 0; i < n; i++) {
		x = x * 1664525 + 1013904223;
		p[i] = ((float)(x >> 8) / 8388608.0f - 1.0f) * (float)(1u << (x & 15));
	}
}

/* D = C, so that anything that is done twice shows. */
static struct onpu_matmul_desc accumulate(uint64_t a, uint64_t b, uint64_t d)
{
	return (struct onpu_matmul_desc){
		.a_type = ONPU_DTYPE_F32, .b_type = ONPU_DTYPE_F32, .c_type = ONPU_DTYPE_F32,
		.d_type = ONPU_DTYPE_F32, .flags = ONPU_MATMUL_ACCUMULATE,
		.m = DIM_M, .n = DIM_N, .k = DIM_K, .a_va = a, .b_va = b, .c_va = d, .d_va = d,
		.lda = DIM_K, .ldb = DIM_N, .ldc = DIM_N, .ldd = DIM_N,
	};
}

static void put_desc(uint8_t *buf, unsigned int i, const struct onpu_matmul_desc *d)
{
	memcpy(buf + 256 * i, d, sizeof(*d));
}

static void put_packet(uint8_t *buf, unsigned int i, struct onpu_packet p)
{
	memcpy(buf + 8192 + 64 * i, &p, sizeof(p));
}

/*
 * VA: descriptors, +8 KiB: called packets, +16 KiB: words, +20 KiB: bytes. BIG: A, 2: B, 3: D, 4:
 * D of the epilogue, 5: 20 MiB to copy. B is in host memory, so that somebody sees when it is mapped.
 */
static void program_init(struct program *p, struct fx *fx)
{
	struct onpu_matmul_desc d = accumulate(BIG, 2 * BIG, 3 * BIG);
	uint64_t a = DIM_M * DIM_K * 4, b = DIM_K * DIM_N * 4, c = DIM_M * DIM_N * 4;
	uint64_t host = fx_hostmem(fx, b, 4096);
	uint8_t *buf;

	*p = (struct program){ .fx = fx };
	fx_context(fx, 1);
	fx_queue_init(&p->q, fx, 0, 3, 1, 6, ONPU_QUEUE_PRIVILEGED);
	p->data = fx->vram_next;
	buf = fx_buffer(fx, 1, VA, 65536);
	fill_random(buf + 20480, 45056);
	fill_f32(fx_buffer(fx, 1, BIG, a), a / 4);
	fx_map(fx, 1, 2 * BIG, host, (b + 4095) & ~4095ull, RW | ONPU_PTE_HOST);
	fill_f32(fx_hptr(fx, host), b / 4);
	fill_f32(fx_buffer(fx, 1, 3 * BIG, c), c / 4);
	fx_buffer(fx, 1, 4 * BIG, c);
	fill_random(fx_buffer(fx, 1, 5 * BIG, 20u << 20), 9u << 20);
	p->size = fx->vram_next - p->data;

	put_desc(buf, 0, &d);
	/* An epilogue, of the sums of the first. */
	d = accumulate(BIG, 2 * BIG, 0);
	d.flags = ONPU_MATMUL_ALPHA | ONPU_MATMUL_BETA;
	d.alpha = 0x3f000000;
	d.beta = 0x40400000;
	d.c_va = 3 * BIG;
	d.d_va = 4 * BIG;
	d.d_type = ONPU_DTYPE_BF16;
	d.activation = ONPU_ACT_SILU;
	put_desc(buf, 1, &d);
	/* A batch: the same A and D, part of B. */
	d = accumulate(BIG, 2 * BIG, 3 * BIG);
	d.m = 30;
	d.n = 40;
	d.k = 50;
	d.batch_mode = ONPU_BATCH_STRIDED;
	d.batch = 150;
	d.b_stride = 4;
	put_desc(buf, 2, &d);

	put_packet(buf, 0, pk_matmul(VA));
	put_packet(buf, 1, pk_signal(VA + 16384, 1, false));
	put_packet(buf, 2, pk_copy(VA + 40960, VA + 20480, 8192));
	put_packet(buf, 3, pk_wait(VA + 16384, 1, ONPU_WAIT_EQ));
	put_packet(buf, 4, pk_matmul(VA + 512));
	put_packet(buf, 5, pk_fill(VA + 53248, 400, 0x12345678));
}

static const unsigned int n_called = 6;

static unsigned int program_submit(struct program *p)
{
	struct onpu_packet all[] = {
		pk_nop(), pk_matmul(VA), pk_copy(5 * BIG + (10u << 20), 5 * BIG, 9u << 20),
		pk_call(VA + 8192, n_called), pk_signal(VA + 16392, 7, true), pk_matmul(VA + 256),
		pk_barrier(), pk_fill(5 * BIG + (1u << 20), 9u << 20, 0xabcd1234),
		pk_matmul(VA + 512), pk_call(VA + 8192, 2), pk_signal(VA + 16400, 9, false),
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(all); i++)
		fx_push(&p->q, &all[i]);
	fx_ring(&p->q);
	return ARRAY_SIZE(all);
}

static struct fx *new_card(int threads, enum fx_dma dma)
{
	struct fx_opts opts = { .threads = threads, .vram_size = 96ull << 20, .dma = dma };

	return fx_create(&opts);
}

static void check_same(struct program *p, struct program *other)
{
	assert_int_equal(p->data, other->data);
	assert_int_equal(p->size, other->size);
	for (uint64_t off = 0; off < p->size; off += 4096)
		assert_memory_equal(fx_vptr(p->fx, p->data + off),
				    fx_vptr(other->fx, other->data + off), 4096);
}

/* The same without interruption. */
static void run_plain(struct program *p)
{
	program_init(p, new_card(0, FX_DMA_SYNC));
	program_submit(p);
	assert_int_equal(fx_settle(&p->q), ONPU_SLOT_IDLE);
}

/* --- deterministic --------------------------------------------------------- */

/* Another page for one that the program uses; the old one is gone. */
static void move_page(struct program *p)
{
	uint64_t va = BIG * (1 + fx_random(p->fx) % 4), *pte, old, spare = p->data + p->size;

	if (va == 2 * BIG)
		return;
	va += 4096ull * (fx_random(p->fx) % 100);
	pte = fx_pte(p->fx, 1, va, 0);
	old = fx_load(pte) & ONPU_PTE_ADDR;
	memcpy(fx_vptr(p->fx, spare), fx_vptr(p->fx, old), 4096);
	memset(fx_vptr(p->fx, old), 0xee, 4096);
	fx_store(pte, spare | RW | ONPU_PTE_VALID | ONPU_PTE_LEAF);
	fx_invalidate(p->fx, 1);
	/* Where the next one can be told apart: back at once, under another translation. */
	memcpy(fx_vptr(p->fx, old), fx_vptr(p->fx, spare), 4096);
	memset(fx_vptr(p->fx, spare), 0xdd, 4096);
	fx_store(pte, old | RW | ONPU_PTE_VALID | ONPU_PTE_LEAF);
	fx_invalidate(p->fx, 1);
}

static void preempted_anywhere(void **state)
{
	struct program plain, p;
	unsigned int stops = 0, work = 0;

	(void)state;
	run_plain(&plain);
	for (unsigned int seed = 1; seed <= 4; seed++) {
		unsigned int total;

		program_init(&p, new_card(0, seed % 2 ? FX_DMA_SYNC : FX_DMA_ASYNC));
		fx_vram(p.fx, 4096, 4096);
		p.fx->random = seed;
		total = program_submit(&p);
		while (fx_slot(p.fx, p.q.slot, ONPU_SLOT_CONSUMER) != total) {
			uint32_t saved;

			onpu_card_run(p.fx->card, 1 + fx_random(p.fx) % 3);
			fx_complete(p.fx, 1 + fx_random(p.fx) % 4, fx_random(p.fx) & 1);
			if (fx_random(p.fx) % 3 == 0)
				continue;
			saved = fx_suspend(&p.q);
			stops++;
			work += saved & ONPU_SLOT_SAVED_WORK;
			if (fx_random(p.fx) % 4 == 0)
				move_page(&p);
			fx_resume(&p.q, fx_random(p.fx) % 4, saved);
			assert_int_not_equal(fx_slot(p.fx, p.q.slot, ONPU_SLOT_STATE),
					     ONPU_SLOT_ERRORED);
		}
		fx_settle(&p.q);
		assert_int_equal(fx_ctl(&p.q), total);
		check_same(&p, &plain);
		fx_destroy(p.fx);
	}
	print_message("suspended %u times, %u of them with work\n", stops, work);
	assert_true(work > 20);
	fx_destroy(plain.fx);
}

/* Told to stop when the matmul has just begun: one part is done, and the next time one more. */
static void stop_now(struct fx *fx)
{
	struct program *p = fx->hook_arg;

	fx_slot_wr(fx, p->q.slot, ONPU_SLOT_CMD, ONPU_SLOT_SUSPEND);
}

static void parts_of_matmuls(void **state)
{
	static const char *const isas[] = { "scalar", "sse41", NULL };
	struct program plain, p;

	(void)state;
	run_plain(&plain);
	/* The sanitizers make the slow kernels very slow. */
	for (unsigned int i = 2 * SLOW; i < ARRAY_SIZE(isas); i++) {
		struct fx_opts opts = { .vram_size = 96ull << 20, .isa = isas[i] };
		unsigned int total, stops = 0;

		program_init(&p, fx_create(&opts));
		p.fx->hook_arg = &p;
		p.fx->on_map = stop_now;
		total = program_submit(&p);
		while (fx_slot(p.fx, p.q.slot, ONPU_SLOT_CONSUMER) != total) {
			fx_run(p.fx);
			if (fx_slot(p.fx, p.q.slot, ONPU_SLOT_STATE) != ONPU_SLOT_SUSPENDED)
				continue;
			stops++;
			fx_resume(&p.q, (p.q.slot + 1) % 4, fx_suspend(&p.q));
		}
		p.fx->on_map = NULL;
		fx_settle(&p.q);
		print_message("%s: %u stops\n", isas[i] ? isas[i] : "best", stops);
		assert_true(stops > 100);
		check_same(&p, &plain);
		fx_destroy(p.fx);
	}
	fx_destroy(plain.fx);
}

/* Rows, columns and k that end in parts of their own, integers and a k that is cut. */
static void parts_of_a_large_matmul(void **state)
{
	const uint32_t m = 1500, n = 1900, k = 17000;
	struct fx_opts opts = { .vram_size = 160ull << 20 };
	uint8_t *d[2];
	struct fx *fx[2];

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		struct onpu_matmul_desc desc = {
			.a_type = ONPU_DTYPE_I8, .b_type = ONPU_DTYPE_I8,
			.c_type = ONPU_DTYPE_I32, .d_type = ONPU_DTYPE_I32,
			.flags = ONPU_MATMUL_ACCUMULATE | ONPU_MATMUL_TRANS_B,
			.m = m, .n = n, .k = k, .a_va = BIG, .b_va = 2 * BIG, .c_va = 3 * BIG,
			.d_va = 3 * BIG, .lda = k, .ldb = k, .ldc = n, .ldd = n,
		};
		struct program p = { 0 };
		struct onpu_packet pk = pk_matmul(VA);
		uint64_t host;
		unsigned int stops = 0;

		fx[i] = p.fx = fx_create(&opts);
		fx_context(fx[i], 1);
		fx_queue_init(&p.q, fx[i], 0, 0, 1, 4, 0);
		memcpy(fx_buffer(fx[i], 1, VA, 4096), &desc, sizeof(desc));
		host = fx_hostmem(fx[i], (uint64_t)m * k, 4096);
		fx_map(fx[i], 1, BIG, host, ((uint64_t)m * k + 4095) & ~4095ull, RW | ONPU_PTE_HOST);
		fill_random(fx_hptr(fx[i], host), (uint64_t)m * k);
		fill_random(fx_buffer(fx[i], 1, 2 * BIG, (uint64_t)n * k), (uint64_t)n * k);
		d[i] = fx_buffer(fx[i], 1, 3 * BIG, (uint64_t)m * n * 4);
		fill_random(d[i], (uint64_t)m * n * 4);
		fx[i]->hook_arg = &p;
		if (i)
			fx[i]->on_map = stop_now;
		fx_submit(&p.q, &pk);
		do {
			fx_run(fx[i]);
			if (fx_slot(fx[i], p.q.slot, ONPU_SLOT_STATE) != ONPU_SLOT_SUSPENDED)
				continue;
			stops++;
			fx_resume(&p.q, 1, fx_suspend(&p.q));
		} while (fx_slot(fx[i], p.q.slot, ONPU_SLOT_CONSUMER) != 1);
		fx[i]->on_map = NULL;
		fx_settle(&p.q);
		print_message("%u stops\n", stops);
		assert_true(!i || stops > 4);
	}
	assert_memory_equal(d[0], d[1], (uint64_t)m * n * 4);
	fx_destroy(fx[0]);
	fx_destroy(fx[1]);
}

/* --- states ---------------------------------------------------------------- */

static void states(void **state)
{
	struct fx *fx = fx_create(NULL);
	uint8_t *buf;
	struct onpu_packet p;
	struct fx_queue q;
	uint32_t saved;

	(void)state;
	fx_context(fx, 1);
	buf = fx_buffer(fx, 1, VA, 65536);
	fx_queue_init(&q, fx, 0, 5, 1, 4, 0);
	/* Idle: nothing to save. A doorbell meanwhile waits in its register, or becomes pending. */
	fx_slot_wr(fx, 0, ONPU_SLOT_EVENT_ENABLE, ONPU_SLOT_EV_SUSPENDED | ONPU_SLOT_EV_WAITING);
	fx_slot_wr(fx, 0, ONPU_SLOT_CMD, ONPU_SLOT_SUSPEND);
	assert_int_equal(fx_slot(fx, 0, ONPU_SLOT_STATE), ONPU_SLOT_SUSPENDED);
	assert_int_equal(fx_mcu(fx, ONPU_SLOTS_EVENTS(0)), 1);
	assert_int_equal(fx_slot(fx, 0, ONPU_SLOT_SAVED), 0);
	p = pk_signal(VA, 1, false);
	fx_submit(&q, &p);
	fx_run(fx);
	assert_int_equal(fx_load(buf), 0);
	assert_int_equal(fx_mcu(fx, ONPU_DOORBELL_PENDING(5)), 0);
	fx_unbind(&q);
	assert_int_equal(fx_mcu(fx, ONPU_SLOTS_EVENTS(0)), 0);
	fx_ring(&q);
	assert_int_equal(fx_mcu(fx, ONPU_DOORBELL_PENDING(5)), 1u << 5);
	assert_int_equal(fx_mcu(fx, ONPU_DOORBELL_WORDS), 1);
	fx_resume(&q, 2, 0);
	assert_int_equal(fx_settle(&q), ONPU_SLOT_IDLE);
	assert_int_equal(fx_load(buf), 1);
	assert_int_equal(fx_slot(fx, 2, ONPU_SLOT_PACKETS), 1);
	assert_true(fx_slot(fx, 2, ONPU_SLOT_PROGRESS) > 0);
	/* At a WAIT, in a CALL. */
	put_packet(buf, 0, pk_nop());
	put_packet(buf, 1, pk_wait(VA + 8, 5, ONPU_WAIT_EQ));
	put_packet(buf, 2, pk_signal(VA, 2, false));
	p = pk_call(VA + 8192, 3);
	fx_submit(&q, &p);
	assert_int_equal(fx_settle(&q), ONPU_SLOT_WAITING);
	assert_true(fx_slot(fx, 2, ONPU_SLOT_EVENTS) & ONPU_SLOT_EV_WAITING);
	saved = fx_suspend(&q);
	assert_int_equal(saved, ONPU_SLOT_SAVED_WORK | ONPU_SLOT_SAVED_WAIT);
	/* The packets of the CALL that are over are not looked at again. */
	put_packet(buf, 0, (struct onpu_packet){ .opcode = 200 });
	fx_store(buf + 8, 5);
	fx_resume(&q, 1, saved);
	assert_int_equal(fx_settle(&q), ONPU_SLOT_IDLE);
	assert_int_equal(fx_load(buf), 2);
	assert_int_equal(fx_ctl(&q), 2);
	/* A free, stopped or suspended slot does not suspend, and a suspended one is not killed. */
	fx_slot_wr(fx, 3, ONPU_SLOT_CMD, ONPU_SLOT_SUSPEND);
	assert_int_equal(fx_slot(fx, 3, ONPU_SLOT_STATE), ONPU_SLOT_FREE);
	fx_slot_wr(fx, 1, ONPU_SLOT_CMD, ONPU_SLOT_SUSPEND);
	fx_slot_wr(fx, 1, ONPU_SLOT_CMD, ONPU_SLOT_KILL);
	assert_int_equal(fx_slot(fx, 1, ONPU_SLOT_STATE), ONPU_SLOT_SUSPENDED);
	fx_resume(&q, 1, fx_suspend(&q));
	/* What hangs does not come to a boundary; it can be killed, and then is. */
	onpu_card_inject(fx->card, "hang-queue", 5);
	p = pk_nop();
	fx_submit(&q, &p);
	fx_run(fx);
	fx_slot_wr(fx, 1, ONPU_SLOT_CMD, ONPU_SLOT_SUSPEND);
	fx_run(fx);
	assert_int_equal(fx_slot(fx, 1, ONPU_SLOT_STATE), ONPU_SLOT_RUNNING);
	fx_slot_wr(fx, 1, ONPU_SLOT_CMD, ONPU_SLOT_KILL);
	fx_run(fx);
	assert_int_equal(fx_slot(fx, 1, ONPU_SLOT_STATE), ONPU_SLOT_KILLED);
	assert_int_equal(fx->guest_errors, 0);
	fx_destroy(fx);
}

/* The page tables of the time after count: what is gone faults, the rest of the queue is sound. */
static void gone_meanwhile(void **state)
{
	struct fx *fx = new_card(0, FX_DMA_SYNC);
	struct onpu_packet p = pk_copy(BIG + (20u << 20), BIG, 20u << 20);
	struct fx_queue q;
	uint32_t saved;

	(void)state;
	fx_context(fx, 1);
	fx_buffer(fx, 1, BIG, 40u << 20);
	fx_queue_init(&q, fx, 0, 0, 1, 4, 0);
	fx_submit(&q, &p);
	while (!fx_slot(fx, 0, ONPU_SLOT_PROGRESS) || fx_rd64(fx, ONPU_REG_CNT_COPY_BYTES) == 0)
		onpu_card_run(fx->card, 1);
	saved = fx_suspend(&q);
	assert_int_equal(saved, ONPU_SLOT_SAVED_WORK);
	/* A suspended queue holds no translations. */
	fx_unmap(fx, 1, BIG + (12u << 20), 4096);
	fx_wr(fx, ONPU_REG_TLB_INV, 1);
	assert_int_equal(fx_rd(fx, ONPU_REG_TLB_DONE), fx_rd(fx, ONPU_REG_TLB_SEQ));
	fx_resume(&q, 0, saved);
	fx_expect_fault(&q, ONPU_FAULT_NOT_PRESENT, ONPU_FAULT_ACCESS_READ, 0, BIG + (12u << 20));
	fx_destroy(fx);
}

/* Page tables do not lead into the firmware region. */
static void out_of_reach(void **state)
{
	struct fx *fx = fx_create(NULL);
	struct onpu_packet p = pk_fill(VA, 4, 0);
	struct fx_queue q;

	(void)state;
	fx_context(fx, 1);
	fx_map(fx, 1, VA, ONPU_FW_REGION_SAVE_OFFSET, 4096, RW);
	fx_queue_init(&q, fx, 0, 0, 1, 4, 0);
	fx_submit(&q, &p);
	fx_expect_fault(&q, ONPU_FAULT_ADDRESS, ONPU_FAULT_ACCESS_WRITE, 0, VA);
	fx_unbind(&q);
	fx_map_huge(fx, 1, 1ull << 40, 6u << 20, 2u << 20, RW);
	fx_queue_init(&q, fx, 0, 1, 1, 4, 0);
	p = pk_fill(1ull << 40, 4, 0);
	fx_submit(&q, &p);
	fx_expect_fault(&q, ONPU_FAULT_ADDRESS, ONPU_FAULT_ACCESS_WRITE, 1, 1ull << 40);
	fx_unbind(&q);
	/* Nor are there tables. */
	fx_store(fx_pte(fx, 1, 2ull << 40, 2), 4096 | ONPU_PTE_VALID);
	fx_queue_init(&q, fx, 0, 2, 1, 4, 0);
	p = pk_fill(2ull << 40, 4, 0);
	fx_submit(&q, &p);
	fx_expect_fault(&q, ONPU_FAULT_ADDRESS, ONPU_FAULT_ACCESS_WRITE, 1, 2ull << 40);
	fx_destroy(fx);
}

/* --- the save area --------------------------------------------------------- */

static void damaged(void **state)
{
	struct program p;
	struct fx_queue other;
	struct onpu_packet pk;
	uint8_t good[ONPU_SAVE_SIZE], *area;
	uint32_t saved, consumer;

	(void)state;
	program_init(&p, new_card(0, FX_DMA_SYNC));
	fx_queue_init(&other, p.fx, 3, 9, 1, 4, 0);
	pk = pk_matmul(VA + 512);
	fx_submit(&p.q, &pk);
	while (fx_slot(p.fx, 0, ONPU_SLOT_PROGRESS) < 3)
		onpu_card_run(p.fx->card, 1);
	saved = fx_suspend(&p.q);
	assert_true(saved & ONPU_SLOT_SAVED_WORK);
	consumer = fx_slot(p.fx, 0, ONPU_SLOT_CONSUMER);
	area = fx_save_area(&p.q);
	memcpy(good, area, sizeof(good));
	/* Any bit of what is there, alone, is seen. */
	for (unsigned int byte = 0; byte < 700; byte += 7) {
		memcpy(area, good, sizeof(good));
		area[byte] ^= (uint8_t)(1u << byte % 8);
		fx_bind(&p.q, 0, consumer, ONPU_SLOT_RESTORE);
		assert_int_equal(fx_slot(p.fx, 0, ONPU_SLOT_STATE), ONPU_SLOT_ERRORED);
		assert_int_equal(fx_slot(p.fx, 0, ONPU_SLOT_ERROR), ONPU_ERR_INTERNAL);
		fx_unbind(&p.q);
	}
	/* And when the sum is right, it is harmless. */
	p.fx->random = 3;
	for (unsigned int i = 0; i < 20 * ROUNDS; i++) {
		memcpy(area, good, sizeof(good));
		for (unsigned int j = 0; j <= i % 3; j++)
			area[16 + fx_random(p.fx) % 730] = (uint8_t)fx_random(p.fx);
		onpu_slot_save_seal(area);
		fx_bind(&p.q, 0, consumer, ONPU_SLOT_RESTORE);
		onpu_card_run(p.fx->card, 20);
		fx_slot_wr(p.fx, 0, ONPU_SLOT_CMD, ONPU_SLOT_KILL);
		onpu_card_run(p.fx->card, 20);
		fx_unbind(&p.q);
	}
	/* Of another queue, of an area that is not one. */
	memcpy(area, good, sizeof(good));
	other.producer = 0;
	pk = pk_signal(VA + 16384, 77, false);
	fx_submit(&other, &pk);
	assert_int_equal(fx_settle(&other), ONPU_SLOT_IDLE);
	fx_bind(&p.q, 0, consumer + 1, ONPU_SLOT_RESTORE);
	assert_int_equal(fx_slot(p.fx, 0, ONPU_SLOT_ERROR), ONPU_ERR_INTERNAL);
	fx_unbind(&p.q);
	p.q.flags = 0;
	fx_bind(&p.q, 0, consumer, ONPU_SLOT_RESTORE);
	assert_int_equal(fx_slot(p.fx, 0, ONPU_SLOT_ERROR), ONPU_ERR_INTERNAL);
	fx_unbind(&p.q);
	p.q.flags = ONPU_QUEUE_PRIVILEGED;
	for (unsigned int i = 0; i < 2; i++) {
		fx_slot_wr(p.fx, 0, ONPU_SLOT_SAVE, i ? ONPU_FW_REGION_MIN_SIZE : 64);
		fx_slot_wr(p.fx, 0, ONPU_SLOT_CMD, ONPU_SLOT_BIND);
		assert_int_equal(fx_slot(p.fx, 0, ONPU_SLOT_ERROR), ONPU_ERR_INTERNAL);
		fx_unbind(&p.q);
	}
	/* The good one still is. */
	fx_bind(&p.q, 1, consumer, ONPU_SLOT_RESTORE);
	assert_int_equal(fx_settle(&p.q), ONPU_SLOT_IDLE);
	fx_destroy(p.fx);
}

/* Suspended here, restored there: a slot between SUSPEND and UNBIND, and one that is free again. */
static void moves_house(void **state)
{
	struct program plain, p, other;
	uint32_t total, saved = 0;
	size_t size;
	void *blob;

	(void)state;
	run_plain(&plain);
	for (unsigned int unbound = 0; unbound < 2; unbound++) {
		program_init(&p, new_card(0, FX_DMA_SYNC));
		total = program_submit(&p);
		while (fx_slot(p.fx, 0, ONPU_SLOT_CONSUMER) < 3 ||
		       fx_slot(p.fx, 0, ONPU_SLOT_PROGRESS) < 20)
			onpu_card_run(p.fx->card, 1);
		fx_slot_wr(p.fx, 0, ONPU_SLOT_CMD, ONPU_SLOT_SUSPEND);
		fx_wait_state(&p.q, ONPU_SLOT_SUSPENDED);
		saved = fx_slot(p.fx, 0, ONPU_SLOT_SAVED);
		if (unbound)
			fx_unbind(&p.q);
		onpu_card_quiesce(p.fx->card);
		blob = onpu_card_save(p.fx->card, &size);
		assert_non_null(blob);
		other = p;
		other.fx = other.q.fx = new_card(0, FX_DMA_SYNC);
		onpu_card_quiesce(other.fx->card);
		memcpy(other.fx->vram, p.fx->vram, p.fx->vram_size);
		memcpy(other.fx->host, p.fx->host, FX_HOST_SIZE);
		assert_int_equal(onpu_card_load(other.fx->card, blob, size), 0);
		free(blob);
		onpu_card_resume(other.fx->card);
		assert_int_equal(fx_slot(other.fx, 0, ONPU_SLOT_SAVED), saved);
		if (!unbound) {
			assert_int_equal(fx_slot(other.fx, 0, ONPU_SLOT_STATE), ONPU_SLOT_SUSPENDED);
			fx_unbind(&other.q);
		}
		fx_resume(&other.q, 2, saved);
		assert_int_equal(fx_settle(&other.q), ONPU_SLOT_IDLE);
		assert_int_equal(fx_ctl(&other.q), total);
		check_same(&other, &plain);
		onpu_card_resume(p.fx->card);
		fx_destroy(p.fx);
		fx_destroy(other.fx);
	}
	fx_destroy(plain.fx);
}

/* --- threads --------------------------------------------------------------- */

static void storm(void **state)
{
	struct program plain, p;
	unsigned int stops = 0, total;
	uint64_t worst = 0;

	(void)state;
	run_plain(&plain);
	for (unsigned int i = 0; i < ROUNDS / 20; i++) {
		program_init(&p, new_card(2, i % 2 ? FX_DMA_SYNC : FX_DMA_ASYNC));
		p.fx->random = i + 1;
		total = program_submit(&p);
		while (fx_slot(p.fx, p.q.slot, ONPU_SLOT_CONSUMER) != total) {
			uint64_t start;
			uint32_t saved;

			nap(fx_random(p.fx) % 3000);
			start = fx_now_ns();
			saved = fx_suspend(&p.q);
			start = fx_now_ns() - start;
			worst = start > worst ? start : worst;
			stops++;
			fx_resume(&p.q, fx_random(p.fx) % 4, saved);
		}
		fx_settle(&p.q);
		fx_wait_value(p.fx, fx_vptr(p.fx, p.q.ctl_off), total);
		check_same(&p, &plain);
		fx_destroy(p.fx);
	}
	print_message("suspended %u times; the longest took %.1f ms\n", stops, (double)worst / 1e6);
	assert_true(stops > 10);
	fx_destroy(plain.fx);
}

/* A matmul of seconds, alone on the card, stops soon. */
static void soon(void **state)
{
#ifdef TSAN
	const uint32_t dim = 512;
#else
	const uint32_t dim = 4096;
#endif
	struct fx_opts opts = { .threads = 2, .vram_size = 512ull << 20 };
	struct fx *fx = fx_create(&opts);
	struct onpu_matmul_desc d = accumulate(BIG, BIG, 2 * BIG);
	struct onpu_packet p = pk_matmul(VA);
	uint64_t worst = 0, size = (uint64_t)dim * dim * 4;
	unsigned int stops = 0;
	struct fx_queue q;

	(void)state;
	fx_context(fx, 1);
	d.m = d.n = d.k = dim;
	d.lda = d.ldb = d.ldc = d.ldd = dim;
	memcpy(fx_buffer(fx, 1, VA, 4096), &d, sizeof(d));
	fx_buffer(fx, 1, BIG, size);
	fx_buffer(fx, 1, 2 * BIG, size);
	fx_queue_init(&q, fx, 0, 0, 1, 4, 0);
	fx_submit(&q, &p);
	while (fx_slot(fx, q.slot, ONPU_SLOT_CONSUMER) != 1) {
		uint64_t start;
		uint32_t saved;

		nap(50000);
		start = fx_now_ns();
		saved = fx_suspend(&q);
		start = fx_now_ns() - start;
		worst = start > worst ? start : worst;
		stops++;
		fx_resume(&q, 0, saved);
	}
	print_message("stopped %u times; the longest took %.1f ms\n", stops, (double)worst / 1e6);
#ifndef TSAN
	/* The machine may be busy; a whole block would take seconds, then. */
	assert_true(worst < 900000000);
#endif
	fx_destroy(fx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(storm),
		cmocka_unit_test(soon),
#ifndef TSAN /* one thread */
		cmocka_unit_test(preempted_anywhere),
		cmocka_unit_test(parts_of_matmuls),
		cmocka_unit_test(parts_of_a_large_matmul),
		cmocka_unit_test(states),
		cmocka_unit_test(gone_meanwhile),
		cmocka_unit_test(out_of_reach),
		cmocka_unit_test(damaged),
		cmocka_unit_test(moves_house),
#endif
	};

#ifdef TSAN
	(void)preempted_anywhere;
	(void)parts_of_matmuls;
	(void)parts_of_a_large_matmul;
	(void)states;
	(void)gone_meanwhile;
	(void)out_of_reach;
	(void)damaged;
	(void)moves_house;
#endif

	return cmocka_run_group_tests_name("suspend", tests, NULL, NULL);
}

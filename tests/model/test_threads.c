// SPDX-License-Identifier: MIT
/*
 * The threaded card: many queues, hostile ones beside innocent ones, kills and
 * resets in flight, bind against doorbell, invalidation under load, parking,
 * WAIT, and no CPU used when idle; all of it also with doorbells that run short
 * packets themselves. Also built with the thread sanitizer.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "card_fixture.h"

#define VA	0x10000000ull
#define BIG	0x100000000ull

#if defined(__SANITIZE_THREAD__)
#define TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TSAN 1
#endif
#endif
#ifdef TSAN
#define ROUNDS	20u
#define BIG_DIM	1024u
#else
#define ROUNDS	100u
#define BIG_DIM	4096u
#endif

static bool doorbell_inline;

static struct fx *card(int threads, enum fx_dma dma)
{
	struct fx_opts opts = { .threads = threads, .vram_size = 512ull << 20, .slots = 8,
				.dma = dma, .doorbell_inline = doorbell_inline };
	struct fx *fx = fx_create(&opts);

	for (unsigned int i = 0; i < 4; i++)
		fx_context(fx, i);
	return fx;
}

static void nap(unsigned int us)
{
	struct timespec ts = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };

	nanosleep(&ts, NULL);
}

/* A matmul that keeps the card busy for a while: operands are zero pages. */
static struct onpu_packet big_matmul(struct fx *fx, unsigned int asid, uint32_t dim)
{
	struct onpu_matmul_desc d = {
		.a_type = ONPU_DTYPE_F32, .b_type = ONPU_DTYPE_F32, .d_type = ONPU_DTYPE_F32,
		.m = dim, .n = dim, .k = dim, .a_va = BIG, .b_va = BIG, .d_va = 2 * BIG,
		.lda = dim, .ldb = dim, .ldd = dim,
	};
	uint8_t *desc = fx_buffer(fx, asid, VA + 0x800000, 4096);

	memcpy(desc, &d, sizeof(d));
	fx_map(fx, asid, BIG, ONPU_FW_REGION_MIN_SIZE + (256ull << 20), (uint64_t)dim * dim * 4,
	       ONPU_PTE_READ);
	fx_map(fx, asid, 2 * BIG, ONPU_FW_REGION_MIN_SIZE + (256ull << 20) + (64ull << 20),
	       (uint64_t)dim * dim * 4, RW);
	return pk_matmul(VA + 0x800000);
}

/* Queues in a circle, each waiting for the one before: nothing is lost, nothing out of order. */
static void circle(void **state)
{
	struct fx *fx = card(3, FX_DMA_SYNC);
	struct fx_queue q[8];
	uint8_t *buf = NULL;
	uint64_t shared = fx_vram(fx, 4096, 4096);

	(void)state;
	for (unsigned int i = 0; i < 4; i++)
		fx_map(fx, i, VA, shared, 4096, RW);
	buf = fx_vptr(fx, shared);
	for (unsigned int i = 0; i < 8; i++)
		fx_queue_init(&q[i], fx, i, i, i % 4, 8, 0);
	for (unsigned int round = 1; round <= ROUNDS; round++) {
		for (unsigned int i = 0; i < 8; i++) {
			uint64_t prev = i ? VA + 64 * (i - 1) : VA + 64 * 7;
			struct onpu_packet p[2] = {
				pk_wait(prev, i ? round : round - 1, ONPU_WAIT_EQ),
				pk_signal(VA + 64 * i, round, true),
			};

			fx_push(&q[i], &p[0]);
			fx_push(&q[i], &p[1]);
			fx_ring(&q[i]);
		}
		fx_wait_value(fx, buf + 64 * 7, round);
	}
	for (unsigned int i = 0; i < 8; i++)
		assert_int_equal(fx_settle(&q[i]), ONPU_SLOT_IDLE);
	assert_int_equal(fx_rd64(fx, ONPU_REG_CNT_PACKETS), ROUNDS * 16);
	fx_destroy(fx);
}

/* Host memory by request, answered by another thread in reverse. */
static void async_copies(void **state)
{
	struct fx_opts opts = { .threads = 2, .dma = FX_DMA_ASYNC, .max_map = 8192,
				.doorbell_inline = doorbell_inline };
	struct fx *fx = fx_create(&opts);
	struct fx_queue q[3];
	uint8_t *buf[3];
	uint64_t host;

	(void)state;
	fx_context(fx, 1);
	host = fx_hostmem(fx, 1u << 20, 4096);
	fx_map(fx, 1, BIG, host, 1u << 20, RW | ONPU_PTE_HOST);
	for (unsigned int i = 0; i < 1u << 20; i++)
		((uint8_t *)fx_hptr(fx, host))[i] = (uint8_t)(i * 7 + (i >> 9));
	for (unsigned int i = 0; i < 3; i++) {
		buf[i] = fx_buffer(fx, 1, VA + (i << 21), 1u << 20);
		fx_queue_init(&q[i], fx, i, i, 1, 6, 0);
	}
	for (unsigned int round = 0; round < 10; round++) {
		for (unsigned int i = 0; i < 3; i++) {
			struct onpu_packet p = pk_copy(VA + (i << 21) + i, BIG, (1u << 20) - i);

			fx_submit(&q[i], &p);
		}
	}
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(fx_settle(&q[i]), ONPU_SLOT_IDLE);
		assert_memory_equal(buf[i] + i, fx_hptr(fx, host), (1u << 20) - i);
	}
	fx_destroy(fx);
}

/* Two endless queues on two workers; a third gets through, and a kill is quick. */
static void hostile_neighbours(void **state)
{
	struct fx *fx = card(2, FX_DMA_SYNC);
	struct fx_queue hog[2], q;
	struct onpu_packet mm, p;
	uint64_t start, worst = 0;
	uint8_t *buf;

	(void)state;
	buf = fx_buffer(fx, 3, VA, 4096);
	for (unsigned int i = 0; i < 2; i++) {
		mm = big_matmul(fx, i, BIG_DIM);
		fx_queue_init(&hog[i], fx, i, i, i, 4, 0);
		for (unsigned int j = 0; j < 16; j++)
			fx_push(&hog[i], &mm);
		fx_ring(&hog[i]);
	}
	fx_queue_init(&q, fx, 2, 2, 3, 4, 0);
	nap(50000);
	for (unsigned int i = 1; i <= 5; i++) {
		start = fx_now_ns();
		p = pk_signal(VA, i, false);
		fx_submit(&q, &p);
		fx_wait_value(fx, buf, i);
		if (fx_now_ns() - start > worst)
			worst = fx_now_ns() - start;
	}
	print_message("job beside two large matmuls: %.1f ms at worst\n", (double)worst / 1e6);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(fx_slot(fx, i, ONPU_SLOT_STATE), ONPU_SLOT_RUNNING);
		start = fx_now_ns();
		fx_kill(&hog[i]);
		print_message("kill of a large matmul: %.1f ms\n",
			      (double)(fx_now_ns() - start) / 1e6);
		/* The promise to the host is ONPU_KILL_TIMEOUT_MS. */
		assert_true(fx_now_ns() - start < ONPU_KILL_TIMEOUT_MS * 1000000ull);
	}
	fx_destroy(fx);
}

static void reset_in_flight(void **state)
{
	struct fx *fx = card(2, FX_DMA_HOLD);
	struct onpu_packet mm = big_matmul(fx, 0, BIG_DIM);
	uint8_t *buf = fx_buffer(fx, 0, VA, 4096);
	struct fx_queue q[4];
	uint64_t start;

	(void)state;
	for (unsigned int round = 0; round < 5; round++) {
		struct onpu_packet copy = pk_copy(2 * BIG, BIG, 32u << 20);
		struct onpu_packet wait = pk_wait(VA, 1, ONPU_WAIT_EQ);
		struct onpu_packet host = pk_signal(VA + 4096, 1, false);

		fx_map(fx, 0, VA + 4096, FX_HOST_BASE, 4096, RW | ONPU_PTE_HOST);
		fx_context(fx, 0);
		fx_store(buf, 0);
		for (unsigned int i = 0; i < 4; i++)
			fx_queue_init(&q[i], fx, i, i, 0, 4, 0);
		for (unsigned int j = 0; j < 8; j++) {
			fx_submit(&q[0], &mm);
			fx_submit(&q[1], &copy);
		}
		fx_submit(&q[2], &wait);
		fx_submit(&q[3], &host);
		nap(1000 * (round + 1));
		start = fx_now_ns();
		onpu_card_reset(fx->card, ONPU_RESET_FUNCTION);
		assert_true(fx_now_ns() - start < 1000000000);
		assert_int_equal(atomic_load(&fx->maps_live), 0);
		assert_int_equal(fx_rd(fx, ONPU_REG_STATUS) & ONPU_STATUS_BUSY, 0);
		/* It works at once. */
		fx_context(fx, 0);
		fx_queue_init(&q[0], fx, 0, 5, 0, 4, 0);
		struct onpu_packet p = pk_signal(VA, 99, false);

		fx_submit(&q[0], &p);
		fx_wait_value(fx, buf, 99);
		/* The fence is there before the slot is idle again. */
		fx_wait_state(&q[0], ONPU_SLOT_IDLE);
		fx_unbind(&q[0]);
		fx_complete(fx, UINT32_MAX, false);
	}
	fx_destroy(fx);
}

/* --- doorbells against bind and unbind ------------------------------------ */

struct firmware {
	struct fx_queue *q;
	atomic_bool stop;
	unsigned int binds;
};

/* What the firmware does: unbinds what is idle, binds what has been rung. */
static void *firmware_main(void *arg)
{
	struct firmware *fw = arg;
	struct fx_queue *q = fw->q;

	while (!atomic_load(&fw->stop)) {
		fx_slot_wr(q->fx, q->slot, ONPU_SLOT_CMD, ONPU_SLOT_UNBIND);
		if (fx_slot(q->fx, q->slot, ONPU_SLOT_STATE) != ONPU_SLOT_FREE)
			continue;
		while (!atomic_load(&fw->stop) &&
		       !(fx_mcu(q->fx, ONPU_DOORBELL_PENDING(q->queue)) >> q->queue % 32 & 1))
			sched_yield();
		fx_mcu_wr(q->fx, ONPU_DOORBELL_PENDING(q->queue), 1u << q->queue % 32);
		/* Configuration registers hold garbage in between, as they may. */
		fx_slot_wr(q->fx, q->slot, ONPU_SLOT_RING_LO, 0xffffffff);
		fx_slot_wr(q->fx, q->slot, ONPU_SLOT_RING_LO, (uint32_t)q->ring_va);
		fx_slot_wr(q->fx, q->slot, ONPU_SLOT_CMD, ONPU_SLOT_BIND);
		fw->binds++;
	}
	return NULL;
}

static void no_doorbell_is_lost(void **state)
{
	struct fx *fx = card(2, FX_DMA_SYNC);
	struct fx_queue q;
	struct firmware fw = { .q = &q };
	pthread_t thread;
	uint8_t *buf;

	(void)state;
	buf = fx_buffer(fx, 0, VA, 4096);
	fx_queue_init(&q, fx, 0, 3, 0, 4, 0);
	assert_int_equal(pthread_create(&thread, NULL, firmware_main, &fw), 0);
	for (unsigned int i = 1; i <= ROUNDS * 20; i++) {
		struct onpu_packet p = pk_signal(VA, i, false);

		fx_submit(&q, &p);
		while (fx_load(buf) != i) {
			if (fx_slot(fx, 0, ONPU_SLOT_STATE) == ONPU_SLOT_ERRORED)
				fail_msg("stopped with error %u", fx_slot(fx, 0, ONPU_SLOT_ERROR));
			sched_yield();
		}
		/* Often ring just when it is being unbound, or has been. */
		for (unsigned int j = 0; i % 4 && j < 1000 * (i % 4); j++)
			if (fx_slot(fx, 0, ONPU_SLOT_STATE) == ONPU_SLOT_FREE)
				break;
			else if (j % 100 == 0)
				sched_yield();
	}
	atomic_store(&fw.stop, true);
	pthread_join(thread, NULL);
	print_message("%u binds\n", fw.binds);
	assert_true(fw.binds > 1);
	fx_destroy(fx);
}

/* --- invalidation under load ---------------------------------------------- */

static void invalidation(void **state)
{
	struct fx *fx = card(2, FX_DMA_SYNC);
	struct fx_queue q[2];
	uint64_t page[2];

	(void)state;
	for (unsigned int i = 0; i < 2; i++)
		page[i] = fx_vram(fx, 4096, 4096);
	fx_map(fx, 0, VA, page[0], 4096, RW);
	for (unsigned int i = 0; i < 2; i++)
		fx_queue_init(&q[i], fx, i, i, 0, 12, 0);
	for (unsigned int round = 0; round < ROUNDS; round++) {
		unsigned int now = round % 2;
		uint64_t *old = fx_vptr(fx, page[now]);

		for (unsigned int j = 0; j < 512; j++) {
			struct onpu_packet p = pk_signal(VA + 8 * (j % 512), round + 1, false);

			fx_push(&q[0], &p);
			fx_push(&q[1], &p);
		}
		fx_ring(&q[0]);
		fx_ring(&q[1]);
		/* Somewhere in the middle the page moves. Afterwards nobody touches the old one. */
		fx_map(fx, 0, VA, page[!now], 4096, RW);
		fx_invalidate(fx, 0);
		for (unsigned int j = 0; j < 512; j++)
			fx_store(old + j, 0xdead);
		assert_int_equal(fx_settle(&q[0]), ONPU_SLOT_IDLE);
		assert_int_equal(fx_settle(&q[1]), ONPU_SLOT_IDLE);
		for (unsigned int j = 0; j < 512; j++)
			assert_int_equal(fx_load(old + j), 0xdead);
	}
	fx_destroy(fx);
}

/* --- parking -------------------------------------------------------------- */

static void quiesce(void **state)
{
	struct fx *fx = card(2, FX_DMA_SYNC);
	struct fx_queue q[3];
	struct onpu_packet p;
	uint8_t *buf = fx_buffer(fx, 1, VA, 4096);

	(void)state;
	for (unsigned int i = 0; i < 3; i++)
		fx_queue_init(&q[i], fx, i, i, 1, 12, 0);
	p = pk_copy(2 * BIG, BIG, 16u << 20);
	fx_map(fx, 1, BIG, ONPU_FW_REGION_MIN_SIZE + (256ull << 20), 16u << 20, RW);
	fx_map(fx, 1, 2 * BIG, ONPU_FW_REGION_MIN_SIZE + (272ull << 20), 16u << 20, RW);
	for (unsigned int i = 0; i < 20; i++)
		fx_push(&q[0], &p);
	fx_ring(&q[0]);
	for (unsigned int i = 1; i <= 4000; i++) {
		p = pk_signal(VA + 8, i, false);
		fx_push(&q[1], &p);
	}
	p = pk_wait(VA, 1, ONPU_WAIT_EQ);
	fx_submit(&q[2], &p);
	fx_ring(&q[1]);
	for (unsigned int i = 0; i < 20; i++) {
		uint64_t before;
		uint32_t consumer;

		nap(500);
		onpu_card_quiesce(fx->card);
		before = fx_load(buf + 8);
		consumer = fx_slot(fx, 0, ONPU_SLOT_CONSUMER);
		nap(2000);
		assert_true(fx_load(buf + 8) == before);
		assert_int_equal(fx_slot(fx, 0, ONPU_SLOT_CONSUMER), consumer);
		if (i == 10)
			fx_store(buf, 1);
		onpu_card_resume(fx->card);
	}
	for (unsigned int i = 0; i < 3; i++)
		fx_wait_state(&q[i], ONPU_SLOT_IDLE);
	assert_int_equal(fx_load(buf + 8), 4000);
	fx_destroy(fx);
}

/* --- WAIT and idleness ---------------------------------------------------- */

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* How often threads of this process went to sleep by themselves. */
static long sleeps(void)
{
	struct rusage usage;

	assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
	return usage.ru_nvcsw;
}

static void host_ends_wait(void **state)
{
	struct fx *fx = card(2, FX_DMA_SYNC);
	uint8_t *buf = fx_buffer(fx, 1, VA, 4096);
	struct fx_queue q;

	(void)state;
	fx_queue_init(&q, fx, 0, 0, 1, 6, 0);
	for (unsigned int i = 1; i <= 20; i++) {
		struct onpu_packet p[2] = { pk_wait(VA, i, ONPU_WAIT_GE),
					    pk_signal(VA + 8, i, false) };

		fx_push(&q, &p[0]);
		fx_push(&q, &p[1]);
		fx_ring(&q);
		fx_wait_state(&q, ONPU_SLOT_WAITING);
		fx_store(buf, i);
		fx_wait_value(fx, buf + 8, i);
	}
	fx_destroy(fx);
}

static void idle_costs_nothing(void **state)
{
	struct fx *fx = card(2, FX_DMA_SYNC);
	uint8_t *buf = fx_buffer(fx, 1, VA, 4096);
	struct fx_queue q;
	uint64_t used;
	long slept;

	(void)state;
	fx_queue_init(&q, fx, 0, 0, 1, 6, 0);
	struct onpu_packet p = pk_signal(VA, 1, false);

	fx_submit(&q, &p);
	fx_wait_value(fx, buf, 1);
	nap(50000);
	slept = sleeps();
	nap(500000);
	slept = sleeps() - slept;
	print_message("idle: %ld sleeps in half a second\n", slept);
	/* This nap is one. The thread sanitizer has a thread of its own, which is not idle. */
#ifndef TSAN
	assert_in_range(slept, 1, 2);
#endif
	/* A queue at a WAIT costs one look per millisecond. */
	p = pk_wait(VA, 7, ONPU_WAIT_EQ);
	fx_submit(&q, &p);
	fx_wait_state(&q, ONPU_SLOT_WAITING);
	nap(50000);
	used = cpu_ns();
	nap(500000);
	used = cpu_ns() - used;
	print_message("one WAIT: %.1f %% of a CPU\n", (double)used / 5e6);
#ifndef TSAN
	assert_true(used < 100000000);
#endif
	fx_destroy(fx);
}

/* Registers from several threads at once, while work goes on. */
static void *poke_main(void *arg)
{
	struct fx *fx = arg;
	unsigned int seed = 7;

	for (unsigned int i = 0; i < ROUNDS * 200; i++) {
		uint32_t off = (uint32_t)rand_r(&seed) % 0x600 & ~3u;

		fx_rd(fx, off);
		if (off != ONPU_REG_RESET)
			fx_wr(fx, off, (uint32_t)rand_r(&seed) % 8);
	}
	return NULL;
}

static void pokes(void **state)
{
	struct fx *fx = card(2, FX_DMA_SYNC);
	uint8_t *buf = fx_buffer(fx, 1, VA, 4096);
	pthread_t thread[2];
	struct fx_queue q;

	(void)state;
	fx_queue_init(&q, fx, 0, 0, 1, 6, 0);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, poke_main, fx), 0);
	for (unsigned int i = 1; i <= ROUNDS * 10; i++) {
		struct onpu_packet p = pk_signal(VA, i, true);

		fx_submit(&q, &p);
		fx_wait_value(fx, buf, i);
	}
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	fx_destroy(fx);
}

/* ---- doorbells that run short packets ---- */

/* Waits until no worker has to do with the queue's slot. */
static void at_rest(struct fx_queue *q)
{
	assert_int_equal(fx_settle(q), ONPU_SLOT_IDLE);
	while (atomic_load(&q->fx->card->slots[q->slot].sched) != SLOT_SCHED_IDLE)
		nap(100);
}

/* What is short is done when the write to the doorbell returns, interrupt included. */
static void ringer_runs_short(void **state)
{
	struct fx *fx = card(2, FX_DMA_SYNC);
	uint8_t *buf = fx_buffer(fx, 1, VA, 8192);
	struct fx_queue q;

	(void)state;
	fx_queue_init(&q, fx, 0, 0, 1, 6, 0);
	for (unsigned int i = 1; i <= 10; i++) {
		struct onpu_packet p[3] = { pk_fill(VA + 4096, 4096, i), pk_copy(VA + 64, VA + 4096, 64),
					    pk_signal(VA, i, true) };

		at_rest(&q);
		for (unsigned int j = 0; j < 3; j++)
			fx_push(&q, &p[j]);
		fx_ring(&q);
		assert_int_equal(fx_load(buf), i);
		assert_int_equal(fx_load(buf + 64), (uint64_t)i << 32 | i);
		assert_int_equal(atomic_load(&fx->irqs[1]), i);
	}
	fx_destroy(fx);
}

/* What is long, or too much, is left to the workers, and nothing of it gets lost. */
static void ringer_leaves_long(void **state)
{
	struct fx *fx = card(2, FX_DMA_SYNC);
	uint8_t *buf = fx_buffer(fx, 1, VA, 4096);
	struct onpu_packet p[2] = { big_matmul(fx, 1, BIG_DIM), pk_signal(VA, 1, false) };
	struct fx_queue q;
	uint64_t start;

	(void)state;
	fx_queue_init(&q, fx, 0, 0, 1, 10, 0);
	at_rest(&q);
	fx_push(&q, &p[0]);
	fx_push(&q, &p[1]);
	start = fx_now_ns();
	fx_ring(&q);
	start = fx_now_ns() - start;
	assert_int_equal(fx_load(buf), 0);
	fx_wait_value(fx, buf, 1);
	print_message("doorbell before a matmul: %.1f us\n", (double)start / 1e3);

	at_rest(&q);
	for (unsigned int i = 2; i < 1002; i++) {
		p[0] = pk_signal(VA, i, false);
		fx_push(&q, &p[0]);
	}
	fx_ring(&q);
	/* At once some, not all. */
	assert_in_range(fx_load(buf), 2, 1001);
	fx_wait_value(fx, buf, 1001);

	/* A WAIT that does not hold is not waited for. */
	at_rest(&q);
	p[0] = pk_wait(VA + 8, 1, ONPU_WAIT_EQ);
	p[1] = pk_signal(VA, 2000, false);
	fx_push(&q, &p[0]);
	fx_push(&q, &p[1]);
	fx_ring(&q);
	assert_int_equal(fx_load(buf), 1001);
	fx_store(buf + 8, 1);
	fx_wait_value(fx, buf, 2000);
	fx_destroy(fx);
}

struct ringer {
	struct fx *fx;
	unsigned int queue;
	bool go_on;
};

/* Rings with whatever producer index, as fast as it can. */
static void *ring_wildly(void *arg)
{
	struct ringer *r = arg;
	unsigned int seed = r->queue;

	while (__atomic_load_n(&r->go_on, __ATOMIC_RELAXED))
		fx_wr(r->fx, ONPU_DOORBELL_BASE + r->queue * ONPU_DOORBELL_PAGE,
		      (uint32_t)rand_r(&seed) % 64);
	return NULL;
}

/*
 * More short matmuls than who rings does: whoever of them does which, each is done once and in
 * order, and the word comes behind them.
 */
static void short_matmuls(void **state)
{
	enum { N = 16, COUNT = 1000 };
	struct fx *fx = card(2, FX_DMA_SYNC);
	float (*matrix)[N][N];
	struct onpu_packet p[2];
	struct fx_queue q;
	uint8_t *buf;

	(void)state;
	fx_context(fx, 1);
	buf = fx_buffer(fx, 1, VA, 0x20000);
	matrix = (void *)(buf + 4096);
	fx_queue_init(&q, fx, 0, 0, 1, 6, 0);
	/* D = A B + D, with A the unit matrix and B ones. */
	struct onpu_matmul_desc d = {
		.a_type = ONPU_DTYPE_F32, .b_type = ONPU_DTYPE_F32, .c_type = ONPU_DTYPE_F32,
		.d_type = ONPU_DTYPE_F32, .flags = ONPU_MATMUL_ACCUMULATE, .m = N, .n = N, .k = N,
		.a_va = VA + 4096, .b_va = VA + 4096 + N * N * 4, .c_va = VA + 4096 + 2 * N * N * 4,
		.d_va = VA + 4096 + 2 * N * N * 4, .lda = N, .ldb = N, .ldc = N, .ldd = N,
	};

	memcpy(buf + 1024, &d, sizeof(d));
	for (unsigned int i = 0; i < N; i++)
		for (unsigned int j = 0; j < N; j++) {
			matrix[0][i][j] = i == j;
			matrix[1][i][j] = 1;
		}
	for (unsigned int i = 0; i < COUNT; i++) {
		p[0] = pk_matmul(VA + 1024);
		memcpy(buf + 0x8000 + i * sizeof(p[0]), &p[0], sizeof(p[0]));
	}
	for (unsigned int round = 1; round <= 5; round++) {
		p[0] = pk_call(VA + 0x8000, COUNT);
		p[1] = pk_signal(VA, round, false);
		fx_push(&q, &p[0]);
		fx_push(&q, &p[1]);
		fx_ring(&q);
		fx_wait_value(fx, buf, round);
		for (unsigned int i = 0; i < N * N; i++)
			assert_true(matrix[2][i / N][i % N] == (float)(round * COUNT));
	}
	assert_int_equal(fx_settle(&q), ONPU_SLOT_IDLE);
	fx_destroy(fx);
}

/* Threads that ring, also the same queue, beside resets: everybody gets out, and it still works. */
static void wild_ringers(void **state)
{
	struct fx *fx = card(2, FX_DMA_SYNC);
	struct ringer r[3] = { { fx, 0, true }, { fx, 0, true }, { fx, 1, true } };
	struct fx_queue q, wild[2];
	pthread_t thread[3];
	uint8_t *buf;

	(void)state;
	for (unsigned int i = 0; i < 2; i++)
		fx_queue_init(&wild[i], fx, i, i, 1, 4, 0);
	for (unsigned int i = 0; i < 3; i++)
		pthread_create(&thread[i], NULL, ring_wildly, &r[i]);
	for (unsigned int round = 0; round < ROUNDS; round++) {
		nap(500);
		onpu_card_reset(fx->card, ONPU_RESET_FUNCTION);
		fx_context(fx, 1);
		for (unsigned int i = 0; i < 2; i++) {
			struct onpu_packet *ring = fx_vptr(fx, wild[i].ring_off);

			for (unsigned int j = 0; j < 8; j++)
				ring[j] = pk_nop();
			fx_bind(&wild[i], i, 0, ONPU_SLOT_BIND);
		}
	}
	for (unsigned int i = 0; i < 3; i++)
		__atomic_store_n(&r[i].go_on, false, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	onpu_card_reset(fx->card, ONPU_RESET_FUNCTION);
	fx_context(fx, 2);
	buf = fx_buffer(fx, 2, VA, 4096);
	fx_queue_init(&q, fx, 0, 0, 2, 6, 0);

	struct onpu_packet p = pk_signal(VA, 7, false);

	fx_submit(&q, &p);
	fx_wait_value(fx, buf, 7);
	fx_destroy(fx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(circle),
		cmocka_unit_test(async_copies),
		cmocka_unit_test(hostile_neighbours),
		cmocka_unit_test(reset_in_flight),
		cmocka_unit_test(no_doorbell_is_lost),
		cmocka_unit_test(invalidation),
		cmocka_unit_test(quiesce),
		cmocka_unit_test(host_ends_wait),
		cmocka_unit_test(idle_costs_nothing),
		cmocka_unit_test(pokes),
	};
	const struct CMUnitTest inline_tests[] = {
		cmocka_unit_test(ringer_runs_short),
		cmocka_unit_test(ringer_leaves_long),
		cmocka_unit_test(short_matmuls),
		cmocka_unit_test(wild_ringers),
	};
	int failed = cmocka_run_group_tests_name("threads", tests, NULL, NULL);

	doorbell_inline = true;
	failed += cmocka_run_group_tests_name("threads, inline", tests, NULL, NULL);
	return failed + cmocka_run_group_tests_name("inline", inline_tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/*
 * The scheduler of the real firmware on the card: 1,024 queues on few slots,
 * priorities, WAITs that wait for queues without slots, suspension and
 * priorities that change while everything runs, hangs, engine reset, saving.
 * Deterministic and with threads. argv[1] is the firmware image.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "host_fixture.h"

#define VA	0x10000000ull		/* + 4096 * queue: its page */
#define DATA	0x40000000ull		/* 1 MiB to copy, for all */
#define MATRIX	0x50000000ull		/* + 64 KiB * queue: see matrices() */
#define QUEUES	1024u

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

/* A queue's page: ring of 16 packets, control block, fence, time, called packets. */
enum { AT_CTL = 1024, AT_FENCE = 1088, AT_TIME = 1096, AT_WORD = 1104, AT_CALL = 2048 };

struct many {
	struct host h;
	uint8_t *page[QUEUES];
	uint32_t producer[QUEUES], jobs[QUEUES];
	uint32_t n;
};

static void begin(struct many *m, int threads, unsigned int slots, uint32_t n)
{
	struct fx_opts opts = { .threads = threads, .slots = slots, .queues = QUEUES };

	memset(m, 0, sizeof(*m));
	host_start(&m->h, &opts);
	m->h.end += SLOW * 120000000000ull;
	host_bring_up(&m->h);
	m->n = n;
	for (uint32_t asid = 1; asid < 4; asid++)
		assert_int_equal(host_context(&m->h, asid), ONPU_MSG_STATUS_OK);
}

static uint32_t asid_of(uint32_t queue)
{
	return 1 + queue % 3;
}

static uint64_t va_of(uint32_t queue)
{
	return VA + 4096ull * queue;
}

static void create(struct many *m, uint32_t queue, uint32_t priority, uint32_t hang_ms)
{
	struct onpu_msg_queue_create msg = {
		.queue = queue, .asid = asid_of(queue), .ring_va = va_of(queue), .ring_order = 4,
		.ctl_va = va_of(queue) + AT_CTL, .vector = 1, .priority = priority,
		.hang_ms = hang_ms,
	};

	if (!m->page[queue])
		m->page[queue] = fx_buffer(m->h.fx, asid_of(queue), va_of(queue), 4096);
	assert_int_equal(host_request(&m->h, ONPU_MSG_QUEUE_CREATE, &msg), ONPU_MSG_STATUS_OK);
}

static void push(struct many *m, uint32_t queue, struct onpu_packet p)
{
	memcpy(m->page[queue] + m->producer[queue]++ % 16 * sizeof(p), &p, sizeof(p));
}

static void ring(struct many *m, uint32_t queue)
{
	fx_wr(m->h.fx, ONPU_DOORBELL_BASE + queue * ONPU_DOORBELL_PAGE, m->producer[queue]);
}

/* Holds unless the job before was done once, and in order. */
static void job(struct many *m, uint32_t queue)
{
	uint32_t n = m->jobs[queue]++;

	push(m, queue, pk_wait(va_of(queue) + AT_FENCE, n, ONPU_WAIT_EQ));
	push(m, queue, pk_signal(va_of(queue) + AT_FENCE, n + 1, false));
	ring(m, queue);
}

static bool done(struct many *m, uint32_t queue)
{
	return fx_load(m->page[queue] + AT_FENCE) == m->jobs[queue];
}

static void wait_all(struct many *m)
{
	for (uint32_t q = 0; q < m->n; q++)
		while (!done(m, q))
			host_work(&m->h);
}

static uint32_t queue_op(struct many *m, uint16_t type, uint32_t queue)
{
	struct onpu_msg_queue msg = { .queue = queue };

	return host_request(&m->h, type, &msg);
}

static uint32_t ctx_op(struct many *m, uint16_t type, uint32_t asid)
{
	struct onpu_msg_ctx msg = { .asid = asid };

	return host_request(&m->h, type, &msg);
}

static struct onpu_msg_queue_status status_of(struct many *m, uint32_t queue)
{
	struct onpu_msg_queue_status msg = { .queue = queue };

	assert_int_equal(host_request(&m->h, ONPU_MSG_QUEUE_STATUS, &msg), ONPU_MSG_STATUS_OK);
	return msg;
}

static struct onpu_msg_card_status card_status(struct many *m)
{
	struct onpu_msg_card_status msg = { 0 };

	assert_int_equal(host_request(&m->h, ONPU_MSG_CARD_STATUS, &msg), ONPU_MSG_STATUS_OK);
	return msg;
}

static uint64_t mcu_instructions(struct many *m)
{
	struct onpu_rv32_state s;

	onpu_rv32_get_state(m->h.fx->card->mcu.hart, &s);
	return s.minstret;
}

/* --- doorbells ------------------------------------------------------------- */

static void doorbells_on(int threads, unsigned int slots)
{
	static struct many m;
	uint32_t rounds = threads ? 20 : 6, jobs = 0;
	uint64_t insns;

	begin(&m, threads, slots, QUEUES);
	for (uint32_t q = 0; q < QUEUES; q++)
		create(&m, q, q % 4, 0);
	insns = threads ? 0 : mcu_instructions(&m);
	for (uint32_t r = 0; r < rounds; r++) {
		/* Some, all, one and the same: while they run, are idle, have no slot. */
		for (uint32_t i = 0; i < QUEUES; i++) {
			uint32_t q = r % 3 ? fx_random(m.h.fx) % QUEUES : i;

			/* Only what surely fits into the ring. */
			if (m.producer[q] - __atomic_load_n((uint32_t *)(void *)(m.page[q] + AT_CTL),
							    __ATOMIC_ACQUIRE) > 14)
				continue;
			job(&m, q);
			jobs++;
			if (r % 5 == 4)
				host_work(&m.h);
		}
		if (r % 2)
			wait_all(&m);
	}
	wait_all(&m);
	if (!threads) {
		insns = (mcu_instructions(&m) - insns) / jobs;
		print_message("%u slots: %u jobs, %u MCU instructions each\n", slots, jobs,
			      (unsigned int)insns);
		/* It does not look at a thousand queues for one. */
		assert_true(insns < 4000);
	} else {
		print_message("%u slots: %u jobs\n", slots, jobs);
	}
	for (uint32_t q = 0; q < QUEUES; q += 100) {
		struct onpu_msg_queue_status st = status_of(&m, q);

		assert_int_equal(st.consumer, m.producer[q]);
		assert_true(st.packets == m.producer[q]);
		assert_int_equal(st.error, 0);
	}
	host_finish(&m.h);
}

static void doorbells(void **state)
{
	(void)state;
	doorbells_on(0, 2);
	doorbells_on(0, 16);
}

static void doorbells_threaded(void **state)
{
	(void)state;
	doorbells_on(2, 2);
	doorbells_on(2, 16);
}

/* --- priorities ------------------------------------------------------------- */

/*
 * A thousand queues with the same work, which takes some slices' time for all. Device time goes
 * by a step at a time, so that it is the card's and not this computer's.
 */
static void priorities_on(unsigned int slots)
{
	static struct many m;
	uint64_t sum[4] = { 0 }, last = 0, worst = 0;
	uint32_t off;

	begin(&m, 0, slots, QUEUES);
	for (uint32_t asid = 1; asid < 4; asid++) {
		off = (uint32_t)fx_vram(m.h.fx, 1u << 20, 4096);
		fx_map(m.h.fx, asid, DATA, off, 1u << 20, RW);
	}
	for (uint32_t q = 0; q < QUEUES; q++)
		create(&m, q, q % 4, 0);
	for (uint32_t q = 0; q < QUEUES; q++) {
		for (uint32_t i = 0; i < 8; i++)
			push(&m, q, pk_copy(DATA + 4096 * i, DATA + 524288, 4096));
		push(&m, q, pk_timestamp(va_of(q) + AT_TIME));
		job(&m, q);
	}
	for (uint32_t q = 0; q < QUEUES; q++) {
		while (!done(&m, q)) {
			assert_true(fx_now_ns() < m.h.end);
			onpu_card_run(m.h.fx->card, 2);
			atomic_fetch_add(&m.h.fx->now, 100000);
		}
	}
	for (uint32_t q = 0; q < QUEUES; q++) {
		uint64_t t = fx_load(m.page[q] + AT_TIME);

		sum[q % 4] += t / (QUEUES / 4);
		last = t > last ? t : last;
		if (q % 4 == 0 && t > worst)
			worst = t;
	}
	print_message("%u slots: completion, priority 3 first: %.0f %.0f %.0f %.0f ms\n", slots,
		      (double)sum[3] / 1e6, (double)sum[2] / 1e6, (double)sum[1] / 1e6,
		      (double)sum[0] / 1e6);
	assert_true(sum[3] < sum[2] && sum[2] < sum[1] && sum[1] < sum[0]);
	assert_true(worst == last);
	host_finish(&m.h);
}

static void priorities(void **state)
{
	(void)state;
	priorities_on(2);
	priorities_on(16);
}

/* As many as there are slots that never stop, of the highest priority, and one below. */
static void nobody_starves(void **state)
{
	static struct many m;
	uint64_t start;

	(void)state;
	begin(&m, 0, 2, 6);
	for (uint32_t asid = 1; asid < 4; asid++)
		fx_map(m.h.fx, asid, DATA, fx_vram(m.h.fx, 1u << 20, 4096), 1u << 20, RW);
	for (uint32_t q = 0; q < 6; q++)
		create(&m, q, q < 5 ? 3 : 0, 0);
	/* Each calls itself a queue full of work: 65536 packets without end in sight. */
	for (uint32_t q = 0; q < 5; q++) {
		struct onpu_packet p = pk_fill(DATA + 65536 * q, 4096, q);
		uint64_t base = fx_vram(m.h.fx, 1u << 22, 4096);

		fx_map(m.h.fx, asid_of(q), 0x80000000ull + q * (1ull << 24), base, 1u << 22, RW);
		for (uint32_t i = 0; i < 65536; i++)
			memcpy(fx_vptr(m.h.fx, base + 64 * i), &p, 64);
		for (uint32_t i = 0; i < 8; i++)
			push(&m, q, pk_call(0x80000000ull + q * (1ull << 24), 65536));
		ring(&m, q);
	}
	for (uint32_t i = 0; i < 200; i++) {
		onpu_card_run(m.h.fx->card, 2);
		atomic_fetch_add(&m.h.fx->now, 100000);
	}
	start = fx_rd64(m.h.fx, ONPU_REG_TIME);
	job(&m, 5);
	while (!done(&m, 5)) {
		assert_true(fx_now_ns() < m.h.end);
		onpu_card_run(m.h.fx->card, 2);
		atomic_fetch_add(&m.h.fx->now, 100000);
	}
	start = fx_rd64(m.h.fx, ONPU_REG_TIME) - start;
	print_message("lowest priority served after %.0f ms\n", (double)start / 1e6);
	assert_true(start < 200000000);
	/* And all that never stop have been served, in turn. */
	for (uint32_t i = 0; i < 2000; i++) {
		onpu_card_run(m.h.fx->card, 2);
		atomic_fetch_add(&m.h.fx->now, 100000);
	}
	for (uint32_t q = 0; q < 5; q++)
		assert_true(status_of(&m, q).switches >= 2);
	assert_true(card_status(&m).preemptions > 10);
	host_finish(&m.h);
}

/* --- WAITs ------------------------------------------------------------------ */

/* Each queue waits for the next one's SIGNAL; only the last one can go. */
static void chain_on(int threads, unsigned int slots, uint32_t n)
{
	static struct many m;

	begin(&m, threads, slots, n);
	/* One context, so that they see each other's words. */
	for (uint32_t q = 0; q < n; q++)
		create(&m, 3 * q, q % 4, 0);
	for (uint32_t q = 0; q < n; q++) {
		uint64_t next = va_of(3 * (q + 1)) + AT_FENCE;

		if (q + 1 < n)
			push(&m, 3 * q, pk_wait(next, 1, ONPU_WAIT_GE));
		m.jobs[3 * q] = 1;
		push(&m, 3 * q, pk_signal(va_of(3 * q) + AT_FENCE, 1, false));
		if (q + 1 < n)
			ring(&m, 3 * q);
		if (q % 8 == 0)
			host_work(&m.h);
	}
	for (uint32_t i = 0; i < 20; i++)
		host_work(&m.h);
	assert_false(done(&m, 0));
	ring(&m, 3 * (n - 1));
	while (!done(&m, 0))
		host_work(&m.h);
	print_message("chain of %u on %u slots: %llu switches\n", n, slots,
		      (unsigned long long)card_status(&m).switches);
	assert_int_equal(card_status(&m).blocked, 0);
	host_finish(&m.h);
}

static void chains(void **state)
{
	(void)state;
	chain_on(0, 2, 50);
	chain_on(0, 16, 200);
}

static void chains_threaded(void **state)
{
	(void)state;
	chain_on(2, 2, 50);
	chain_on(2, 16, SLOW ? 60 : 200);
}

/* Queues at a WAIT without a slot see what the host stores, too. */
static void host_ends_waits(void **state)
{
	static struct many m;

	(void)state;
	begin(&m, 2, 2, 60);
	for (uint32_t q = 0; q < m.n; q++) {
		create(&m, q, q % 4, 0);
		push(&m, q, pk_wait(va_of(q) + AT_WORD, 7, ONPU_WAIT_EQ));
		job(&m, q);
	}
	/* For all of them: the firmware takes its time, and a loaded machine more of it. */
	for (uint32_t q = 0; q < m.n; q++)
		while (status_of(&m, q).state != ONPU_QSTATE_WAITING)
			host_work(&m.h);
	for (uint32_t q = 0; q < m.n; q++)
		fx_store(m.page[q] + AT_WORD, 7);
	wait_all(&m);
	host_finish(&m.h);
}

/* --- everything at once ------------------------------------------------------ */

#define DIM	48u
#define ADDS	12u

static void matrices(struct many *m, uint32_t queue)
{
	struct onpu_matmul_desc d = {
		.a_type = ONPU_DTYPE_F32, .b_type = ONPU_DTYPE_F32, .c_type = ONPU_DTYPE_F32,
		.d_type = ONPU_DTYPE_F32, .flags = ONPU_MATMUL_ACCUMULATE,
		.m = DIM, .n = DIM, .k = DIM, .lda = DIM, .ldb = DIM, .ldc = DIM, .ldd = DIM,
	};
	uint64_t va = MATRIX + 65536ull * queue;
	uint8_t *mem = fx_buffer(m->h.fx, asid_of(queue), va, 65536);
	float *a = (float *)(void *)(mem + 4096);

	d.a_va = d.b_va = va + 4096;
	d.c_va = d.d_va = va + 32768;
	memcpy(mem, &d, sizeof(d));
	for (uint32_t i = 0; i < DIM * DIM; i++)
		a[i] = (float)((int)(i * 7 + queue) % 13 - 6);
}

/* D after so many accumulations in place: small integers, so exact. */
static void check_matrices(struct many *m, uint32_t queue, unsigned int adds)
{
	uint64_t off = fx_load(fx_pte(m->h.fx, asid_of(queue), MATRIX + 65536ull * queue, 0)) &
		       ONPU_PTE_ADDR;
	const float *a = fx_vptr(m->h.fx, off + 4096), *d = fx_vptr(m->h.fx, off + 32768);

	for (uint32_t i = 0; i < DIM; i++) {
		for (uint32_t j = 0; j < DIM; j++) {
			float sum = 0;

			for (uint32_t k = 0; k < DIM; k++)
				sum += a[i * DIM + k] * a[k * DIM + j];
			if (d[i * DIM + j] != sum * (float)adds)
				fail_msg("queue %u: (%u, %u): %f, not %f", queue, i, j,
					 (double)d[i * DIM + j], (double)(sum * (float)adds));
		}
	}
}

static void disturb(struct many *m)
{
	struct onpu_msg_queue_priority prio = { .priority = fx_random(m->h.fx) % 4 };
	uint32_t q = fx_random(m->h.fx) % m->n, asid = 1 + fx_random(m->h.fx) % 3;
	struct onpu_msg empty = { 0 };

	switch (fx_random(m->h.fx) % 8) {
	case 0:
		assert_int_equal(ctx_op(m, ONPU_MSG_CTX_SUSPEND, asid), ONPU_MSG_STATUS_OK);
		break;
	case 1:
	case 2:
		assert_int_equal(ctx_op(m, ONPU_MSG_CTX_RESUME, asid), ONPU_MSG_STATUS_OK);
		break;
	case 3:
		assert_int_equal(queue_op(m, ONPU_MSG_QUEUE_SUSPEND, q), ONPU_MSG_STATUS_OK);
		break;
	case 4:
	case 5:
		assert_int_equal(queue_op(m, ONPU_MSG_QUEUE_RESUME, q), ONPU_MSG_STATUS_OK);
		break;
	case 6:
		prio.queue = q;
		assert_int_equal(host_request(&m->h, ONPU_MSG_QUEUE_PRIORITY, &prio),
				 ONPU_MSG_STATUS_OK);
		break;
	default:
		/* Nothing hangs, so nothing is hit. */
		assert_int_equal(host_request(&m->h, ONPU_MSG_ENGINE_RESET, empty.payload),
				 ONPU_MSG_STATUS_OK);
		assert_int_equal(empty.payload[0], 0);
		break;
	}
}

static void storm_on(int threads, unsigned int slots)
{
	static struct many m;
	uint32_t n = SLOW ? 20 : 100, disturbances = SLOW ? 60 : 500;

	begin(&m, threads, slots, n);
	for (uint32_t q = 0; q < n; q++) {
		create(&m, q, q % 4, 0);
		matrices(&m, q);
	}
	for (uint32_t add = 0; add < ADDS; add++) {
		for (uint32_t q = 0; q < n; q++) {
			while (m.producer[q] -
			       __atomic_load_n((uint32_t *)(void *)(m.page[q] + AT_CTL),
					       __ATOMIC_ACQUIRE) > 12)
				disturb(&m);
			push(&m, q, pk_matmul(MATRIX + 65536ull * q));
			job(&m, q);
			if (disturbances && q % 2) {
				disturb(&m);
				disturbances--;
			}
		}
	}
	for (uint32_t asid = 1; asid < 4; asid++)
		assert_int_equal(ctx_op(&m, ONPU_MSG_CTX_RESUME, asid), ONPU_MSG_STATUS_OK);
	for (uint32_t q = 0; q < n; q++)
		assert_int_equal(queue_op(&m, ONPU_MSG_QUEUE_RESUME, q), ONPU_MSG_STATUS_OK);
	wait_all(&m);
	for (uint32_t q = 0; q < n; q++)
		check_matrices(&m, q, ADDS);
	print_message("%u slots: %llu switches, %llu preemptions\n", slots,
		      (unsigned long long)card_status(&m).switches,
		      (unsigned long long)card_status(&m).preemptions);
	assert_int_equal(m.h.events, 0);
	host_finish(&m.h);
}

static void storm(void **state)
{
	(void)state;
	storm_on(0, 2);
	storm_on(0, 16);
}

static void storm_threaded(void **state)
{
	(void)state;
	storm_on(2, 2);
	storm_on(2, 16);
}

/* --- eviction ---------------------------------------------------------------- */

/* A context is suspended, its memory moves, it goes on. */
static void memory_moves(void **state)
{
	static struct many m;

	(void)state;
	begin(&m, 2, 2, 4);
	for (uint32_t q = 0; q < 4; q++) {
		create(&m, q, 1, 0);
		matrices(&m, q);
	}
	for (uint32_t round = 0; round < ADDS; round++) {
		for (uint32_t q = 0; q < 4; q++) {
			push(&m, q, pk_matmul(MATRIX + 65536ull * q));
			job(&m, q);
		}
		for (uint32_t asid = 1; asid < 4; asid++)
			assert_int_equal(ctx_op(&m, ONPU_MSG_CTX_SUSPEND, asid),
					 ONPU_MSG_STATUS_OK);
		/* What an interrupt does for a driver: their last stores come before what follows. */
		for (unsigned int s = 0; s < 2; s++)
			fx_slot(m.h.fx, s, ONPU_SLOT_STATE);
		for (uint32_t q = 0; q < 4; q++) {
			uint64_t va = MATRIX + 65536ull * q, to = fx_vram(m.h.fx, 65536, 4096);
			uint64_t from = fx_load(fx_pte(m.h.fx, asid_of(q), va, 0)) & ONPU_PTE_ADDR;

			memcpy(fx_vptr(m.h.fx, to), fx_vptr(m.h.fx, from), 65536);
			memset(fx_vptr(m.h.fx, from), 0xff, 65536);
			fx_map(m.h.fx, asid_of(q), va, to, 65536, RW);
		}
		/* Nothing of them holds translations. */
		fx_wr(m.h.fx, ONPU_REG_TLB_INV, ONPU_TLB_INV_ALL);
		assert_int_equal(fx_rd(m.h.fx, ONPU_REG_TLB_DONE), fx_rd(m.h.fx, ONPU_REG_TLB_SEQ));
		for (uint32_t asid = 1; asid < 4; asid++)
			assert_int_equal(ctx_op(&m, ONPU_MSG_CTX_RESUME, asid),
					 ONPU_MSG_STATUS_OK);
		wait_all(&m);
	}
	for (uint32_t q = 0; q < 4; q++)
		check_matrices(&m, q, ADDS);
	host_finish(&m.h);
}

/* --- damage ------------------------------------------------------------------ */

/* The save area of a suspended queue is scribbled over: its queue has an error, no other has. */
static void damaged_save_area(void **state)
{
	static struct many m;
	struct onpu_msg msg;
	uint8_t *area;

	(void)state;
	begin(&m, 0, 2, 2);
	for (uint32_t q = 0; q < 2; q++) {
		create(&m, q, 1, 0);
		push(&m, q, pk_wait(va_of(q) + AT_WORD, 7, ONPU_WAIT_EQ));
		job(&m, q);
		while (status_of(&m, q).state != ONPU_QSTATE_WAITING)
			host_work(&m.h);
		assert_int_equal(queue_op(&m, ONPU_MSG_QUEUE_SUSPEND, q), ONPU_MSG_STATUS_OK);
	}
	area = m.h.region + ONPU_FW_REGION_SAVE_OFFSET;
	area[300] ^= 0x40;
	fx_store(m.page[0] + AT_WORD, 7);
	fx_store(m.page[1] + AT_WORD, 7);
	for (uint32_t q = 0; q < 2; q++)
		assert_int_equal(queue_op(&m, ONPU_MSG_QUEUE_RESUME, q), ONPU_MSG_STATUS_OK);
	while (!done(&m, 1))
		host_work(&m.h);
	while (!m.h.events)
		if (!host_message(&m.h, &msg))
			host_work(&m.h);
	assert_int_equal(m.h.last_error.queue, 0);
	assert_int_equal(m.h.last_error.error, ONPU_ERR_INTERNAL);
	assert_int_equal(status_of(&m, 0).state, ONPU_QSTATE_ERROR);
	assert_false(done(&m, 0));
	host_finish(&m.h);
}

/* --- hangs ------------------------------------------------------------------- */

static void hang_and_reset_on(int threads)
{
	static struct many m;
	struct onpu_msg_engine_reset result;
	struct onpu_msg msg;

	begin(&m, threads, 4, 4);
	for (uint32_t q = 0; q < 4; q++)
		create(&m, q, 1, q == 1 ? 200 : 0);
	push(&m, 2, pk_wait(va_of(2) + AT_WORD, 7, ONPU_WAIT_EQ));
	job(&m, 2);
	onpu_card_inject(m.h.fx->card, "hang-queue", 1);
	job(&m, 1);
	while (!m.h.hangs)
		if (!host_message(&m.h, &msg))
			host_work(&m.h);
	assert_int_equal(m.h.last_hang.queue, 1);
	assert_int_equal(m.h.last_hang.asid, asid_of(1));
	assert_true(m.h.last_hang.stalled_ms >= 200);
	assert_int_equal(status_of(&m, 1).state, ONPU_QSTATE_RUNNING);
	memset(&result, 0, sizeof(result));
	assert_int_equal(host_request(&m.h, ONPU_MSG_ENGINE_RESET, &result), ONPU_MSG_STATUS_OK);
	assert_int_equal(result.queues, 1);
	assert_int_equal(result.contexts, 1);
	assert_int_equal(result.asids[0], 1u << asid_of(1));
	assert_int_equal(status_of(&m, 1).state, ONPU_QSTATE_KILLED);
	assert_int_equal(m.h.events, 1);
	assert_int_equal(m.h.last_error.queue, 1);
	assert_int_equal(m.h.last_error.error, ONPU_ERR_KILLED);
	onpu_card_inject(m.h.fx->card, "clear", 0);
	/* The others have lost nothing. */
	fx_store(m.page[2] + AT_WORD, 7);
	job(&m, 0);
	job(&m, 3);
	while (!done(&m, 0) || !done(&m, 2) || !done(&m, 3))
		host_work(&m.h);
	/* Suspension is answered also when slots take too long. */
	onpu_card_inject(m.h.fx->card, "slow-suspend", 100000);
	push(&m, 2, pk_wait(va_of(2) + AT_WORD, 8, ONPU_WAIT_EQ));
	ring(&m, 2);
	while (status_of(&m, 2).state != ONPU_QSTATE_WAITING)
		host_work(&m.h);
	assert_int_equal(queue_op(&m, ONPU_MSG_QUEUE_SUSPEND, 2), ONPU_MSG_STATUS_TIMEOUT);
	assert_int_equal(ctx_op(&m, ONPU_MSG_CTX_SUSPEND, asid_of(2)), ONPU_MSG_STATUS_TIMEOUT);
	onpu_card_inject(m.h.fx->card, "clear", 0);
	assert_int_equal(ctx_op(&m, ONPU_MSG_CTX_SUSPEND, asid_of(2)), ONPU_MSG_STATUS_OK);
	assert_int_equal(status_of(&m, 2).state, ONPU_QSTATE_SUSPENDED);
	host_finish(&m.h);
}

static void hang_and_reset(void **state)
{
	(void)state;
	hang_and_reset_on(0);
	hang_and_reset_on(2);
}

/* --- saving ------------------------------------------------------------------ */

/* In the middle of it all the machine moves to another card, over and over. */
static void save_and_load(void **state)
{
	static struct many m;
	uint32_t n = 40;

	(void)state;
	begin(&m, 0, 2, n);
	for (uint32_t q = 0; q < n; q++) {
		create(&m, q, q % 4, 0);
		matrices(&m, q);
		push(&m, q, pk_wait(va_of(q) + AT_WORD, 1, ONPU_WAIT_EQ));
		push(&m, q, pk_matmul(MATRIX + 65536ull * q));
		job(&m, q);
	}
	/* Suspended by the host, as well. */
	assert_int_equal(queue_op(&m, ONPU_MSG_QUEUE_SUSPEND, 5), ONPU_MSG_STATUS_OK);
	for (uint32_t i = 0; i < 25; i++) {
		struct fx *old = m.h.fx, *fx;
		size_t size;
		void *blob;

		onpu_card_run(old->card, 1 + fx_random(old) % 40);
		atomic_fetch_add(&old->now, 1000000);
		fx_store(m.page[i] + AT_WORD, 1);
		onpu_card_quiesce(old->card);
		blob = onpu_card_save(old->card, &size);
		assert_non_null(blob);
		fx = fx_create(&old->opts);
		onpu_card_quiesce(fx->card);
		memcpy(fx->vram, old->vram, old->vram_size);
		memcpy(fx->roots, old->roots, sizeof(fx->roots));
		fx->vram_next = old->vram_next;
		fx->random = old->random;
		atomic_store(&fx->now, atomic_load(&old->now));
		assert_int_equal(onpu_card_load(fx->card, blob, size), 0);
		free(blob);
		onpu_card_resume(fx->card);
		for (uint32_t q = 0; q < n; q++)
			m.page[q] = fx->vram + (m.page[q] - old->vram);
		m.h.mbox = (struct onpu_mbox_shared *)(void *)(fx->vram +
							       ((uint8_t *)m.h.mbox - old->vram));
		m.h.region = fx->vram + (m.h.region - old->vram);
		m.h.fx = fx;
		onpu_card_resume(old->card);
		fx_destroy(old);
	}
	for (uint32_t q = 0; q < n; q++)
		fx_store(m.page[q] + AT_WORD, 1);
	assert_int_equal(queue_op(&m, ONPU_MSG_QUEUE_RESUME, 5), ONPU_MSG_STATUS_OK);
	wait_all(&m);
	for (uint32_t q = 0; q < n; q++)
		check_matrices(&m, q, 1);
	host_finish(&m.h);
}

/* --- rest -------------------------------------------------------------------- */

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static long sleeps(void)
{
	struct rusage usage;

	assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
	return usage.ru_nvcsw;
}

/* After competition for slots nothing wakes but the heartbeat. */
static void quiet_again(void **state)
{
	struct timespec half = { .tv_nsec = 500000000 };
	static struct many m;
	uint64_t took;
	long slept;

	(void)state;
	begin(&m, 2, 2, 100);
	for (uint32_t q = 0; q < m.n; q++) {
		create(&m, q, q % 4, 1000);
		push(&m, q, pk_wait(va_of(q) + AT_WORD, 7, ONPU_WAIT_EQ));
		job(&m, q);
	}
	for (uint32_t i = 0; i < 100; i++)
		host_work(&m.h);
	for (uint32_t q = 0; q < m.n; q++)
		fx_store(m.page[q] + AT_WORD, 7);
	wait_all(&m);
	nanosleep(&half, NULL);
	slept = sleeps();
	took = now_ms();
	nanosleep(&half, NULL);
	took = now_ms() - took;
	slept = sleeps() - slept;
	print_message("quiet: %ld sleeps in %llu ms\n", slept, (unsigned long long)took);
#ifndef TSAN
	/* A beat in 50 ms, and this thread's own. */
	assert_in_range(slept, 1, took / 50 + 4);
#endif
	host_finish(&m.h);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chains_threaded),
		cmocka_unit_test(storm_threaded),
		cmocka_unit_test(memory_moves),
		cmocka_unit_test(quiet_again),
#ifndef TSAN /* one thread, or slow */
		cmocka_unit_test(doorbells),
		cmocka_unit_test(doorbells_threaded),
		cmocka_unit_test(priorities),
		cmocka_unit_test(nobody_starves),
		cmocka_unit_test(chains),
		cmocka_unit_test(host_ends_waits),
		cmocka_unit_test(storm),
		cmocka_unit_test(damaged_save_area),
		cmocka_unit_test(hang_and_reset),
		cmocka_unit_test(save_and_load),
#endif
	};

#ifdef TSAN
	(void)doorbells;
	(void)doorbells_threaded;
	(void)priorities;
	(void)nobody_starves;
	(void)chains;
	(void)host_ends_waits;
	(void)storm;
	(void)damaged_save_area;
	(void)hang_and_reset;
	(void)save_and_load;
#endif

	if (argc != 2) {
		fprintf(stderr, "usage: %s FIRMWARE-IMAGE\n", argv[0]);
		return 2;
	}
	host_image = argv[1];
	return cmocka_run_group_tests_name("sched", tests, NULL, NULL);
}

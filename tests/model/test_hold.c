// SPDX-License-Identifier: MIT
/*
 * Interrupts of SIGNALs that are held back: by number and by time, never behind the last one, before
 * anything that takes long or stops the queue; and none is lost, with threads too.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "card_fixture.h"

#define VA	0x10000000ull
#define SIZE	(8u << 20)
#define N	64u		/* SIGNALs of a test */
#define FOREVER	0xffffu		/* 65 ms: longer than any deterministic test */

struct env {
	struct fx *fx;
	struct fx_queue q;
	uint8_t *buf;
};

/* Slot 0 and with it vector 1. */
static void start(struct env *e, uint32_t count, uint32_t us)
{
	struct fx_opts opts = { .threads = 0 };

	e->fx = fx_create(&opts);
	fx_context(e->fx, 1);
	e->buf = fx_buffer(e->fx, 1, VA, SIZE);
	fx_queue_init(&e->q, e->fx, 0, 3, 1, 7, 0);
	fx_wr(e->fx, ONPU_REG_IRQ_HOLD(1), ONPU_IRQ_HOLD(count, us));
}

static void finish(struct env *e)
{
	assert_int_equal(e->fx->guest_errors, 0);
	fx_destroy(e->fx);
}

static void push(struct env *e, struct onpu_packet p)
{
	fx_push(&e->q, &p);
}

static void push_signals(struct env *e, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		push(e, pk_signal(VA + 8 * i, i + 1, true));
}

static unsigned int run(struct env *e)
{
	uint32_t before = atomic_load(&e->fx->irqs[1]);

	fx_ring(&e->q);
	fx_settle(&e->q);
	return atomic_load(&e->fx->irqs[1]) - before;
}

static void registers(void **state)
{
	struct env e;

	(void)state;
	start(&e, 0, 0);
	for (unsigned int v = 0; v < FX_VECTORS; v++) {
		assert_int_equal(fx_rd(e.fx, ONPU_REG_IRQ_HOLD(v)), 0);
		fx_wr(e.fx, ONPU_REG_IRQ_HOLD(v), 0xabcd0000u + v);
	}
	for (unsigned int v = 0; v < FX_VECTORS; v++)
		assert_int_equal(fx_rd(e.fx, ONPU_REG_IRQ_HOLD(v)), 0xabcd0000u + v);
	assert_int_equal(e.fx->guest_errors, 0);
	/* Of vectors that the card has not. */
	assert_int_equal(fx_rd(e.fx, ONPU_REG_IRQ_HOLD(FX_VECTORS)), 0);
	fx_wr(e.fx, ONPU_REG_IRQ_HOLD(FX_VECTORS), 1);
	fx_wr(e.fx, ONPU_REG_IRQ_HOLD(ONPU_MAX_VECTORS - 1), 1);
	assert_int_equal(e.fx->guest_errors, 3);
	e.fx->guest_errors = 0;
	onpu_card_reset(e.fx->card, ONPU_RESET_FUNCTION);
	assert_int_equal(fx_rd(e.fx, ONPU_REG_IRQ_HOLD(1)), 0);
	finish(&e);
}

static void by_number(void **state)
{
	static const uint32_t counts[] = { 0, 1, 2, 3, 8, 16, N, N + 1, 0xffff };
	struct env e;

	(void)state;
	start(&e, 0, 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(counts); i++) {
		uint32_t count = counts[i] ? counts[i] : 1;

		fx_wr(e.fx, ONPU_REG_IRQ_HOLD(1), ONPU_IRQ_HOLD(counts[i], FOREVER));
		push_signals(&e, N);
		assert_int_equal(run(&e), (N + count - 1) / count);
		assert_int_equal(fx_load(e.buf + 8 * (N - 1)), N);
	}
	finish(&e);
}

/* One at a time, nothing is ever held. */
static void one_at_a_time(void **state)
{
	struct env e;

	(void)state;
	start(&e, 0xffff, FOREVER);
	for (unsigned int i = 0; i < N; i++) {
		push(&e, pk_nop());
		push(&e, pk_signal(VA, i, true));
		assert_int_equal(run(&e), 1);
	}
	finish(&e);
}

static void by_time(void **state)
{
	unsigned int slow, quick;
	struct env e;

	(void)state;
	/* A look at the clock takes 100 ns. */
	start(&e, 0xffff, 1);
	push_signals(&e, N);
	slow = run(&e);
	assert_true(slow > 2 && slow <= N);
	fx_wr(e.fx, ONPU_REG_IRQ_HOLD(1), ONPU_IRQ_HOLD(0xffff, 4));
	push_signals(&e, N);
	quick = run(&e);
	assert_true(quick > 1 && quick < slow);
	fx_wr(e.fx, ONPU_REG_IRQ_HOLD(1), ONPU_IRQ_HOLD(0xffff, 0));
	push_signals(&e, N);
	assert_int_equal(run(&e), N);
	finish(&e);
}

/* SIGNALs of a called buffer are among others, the last one included. */
static void called(void **state)
{
	struct env e;

	(void)state;
	start(&e, 0xffff, FOREVER);
	for (unsigned int i = 0; i < 10; i++) {
		struct onpu_packet p = pk_signal(VA + 8 * i, 1, true);

		memcpy(e.buf + 8192 + i * sizeof(p), &p, sizeof(p));
	}
	push(&e, pk_call(VA + 8192, 10));
	assert_int_equal(run(&e), 1);
	push(&e, pk_call(VA + 8192, 10));
	push(&e, pk_nop());
	push(&e, pk_call(VA + 8192, 10));
	assert_int_equal(run(&e), 1);
	/* The last packet of the ring has none: the queue runs empty. */
	push(&e, pk_call(VA + 8192, 10));
	push(&e, pk_nop());
	assert_int_equal(run(&e), 1);
	finish(&e);
}

/* What the queue does next takes long, or it does nothing. */
static void before_long(void **state)
{
	struct env e;

	(void)state;
	start(&e, 0xffff, FOREVER);
	push_signals(&e, 3);
	push(&e, pk_wait(VA + 4096, 1, ONPU_WAIT_EQ));
	push_signals(&e, 2);
	assert_int_equal(run(&e), 1);
	fx_store(e.buf + 4096, 1);
	assert_int_equal(run(&e), 1);

	/* A long copy faults only when it is over: the interrupt was sent before. */
	push_signals(&e, 3);
	push(&e, pk_copy(VA + (4u << 20), VA, 4u << 20));
	push_signals(&e, 1);
	assert_int_equal(run(&e), 2);
	/* A short one is no reason. */
	push_signals(&e, 3);
	push(&e, pk_copy(VA + 8192, VA, 4096));
	push_signals(&e, 1);
	assert_int_equal(run(&e), 1);
	finish(&e);
}

static void before_the_end(void **state)
{
	struct env e;

	(void)state;
	start(&e, 0xffff, FOREVER);
	push_signals(&e, 5);
	push(&e, pk_copy(VA + 2 * SIZE, VA, 8));
	assert_int_equal(run(&e), 1);
	fx_expect_error(&e.q, ONPU_ERR_FAULT);
	finish(&e);

	start(&e, 0xffff, FOREVER);
	push_signals(&e, 5);
	push(&e, (struct onpu_packet){ .opcode = 99 });
	assert_int_equal(run(&e), 1);
	fx_expect_error(&e.q, ONPU_ERR_OPCODE);
	finish(&e);
}

/* Stopped at every step on the way: what was signalled has been told by then. */
static void stopped_anywhere(void **state)
{
	(void)state;
	for (unsigned int steps = 1; steps < 60; steps++) {
		struct env e;
		unsigned int done;

		start(&e, 0xffff, FOREVER);
		push_signals(&e, N);
		fx_ring(&e.q);
		onpu_card_run(e.fx->card, steps);
		if (steps % 3 == 0) {
			onpu_card_quiesce(e.fx->card);
			onpu_card_resume(e.fx->card);
		} else if (steps % 3 == 1) {
			fx_kill(&e.q);
		} else {
			fx_suspend(&e.q);
		}
		for (done = 0; done < N && fx_load(e.buf + 8 * done); done++)
			;
		assert_int_equal(atomic_load(&e.fx->irqs[1]) > 0, done > 0);
		finish(&e);
	}
}

/* Two queues share what they do not: each holds its own. */
static void two_queues(void **state)
{
	struct fx_queue other;
	struct env e;

	(void)state;
	start(&e, 0xffff, FOREVER);
	fx_queue_init(&other, e.fx, 1, 4, 1, 7, 0);
	push_signals(&e, N);
	for (unsigned int i = 0; i < N; i++) {
		struct onpu_packet p = pk_signal(VA + 4096, i, true);

		fx_push(&other, &p);
	}
	fx_ring(&other);
	assert_true(run(&e) >= 1);
	fx_settle(&other);
	assert_true(atomic_load(&e.fx->irqs[1]) <= N);
	assert_int_equal(atomic_load(&e.fx->irqs[2]), N);	/* its vector does not hold */
	finish(&e);
}

/*
 * With threads: whoever sees an interrupt looks, and must not wait for ever for one that was
 * swallowed. Depths and gaps at random; the doorbell is also rung while the card is at it.
 */
static void none_is_lost(void **state)
{
	struct fx_opts opts = { .threads = 2 };
	struct fx *fx = fx_create(&opts);
	uint32_t x = 12345, seen = 0;
	struct fx_queue q;
	uint8_t *buf;

	(void)state;
	fx_context(fx, 1);
	buf = fx_buffer(fx, 1, VA, SIZE);
	fx_queue_init(&q, fx, 0, 3, 1, 7, 0);
	for (unsigned int round = 0; round < 3000; round++) {
		unsigned int depth;
		uint64_t end = fx_now_ns() + 60000000000ull;

		x = x * 1664525 + 1013904223;
		if (round % 100 == 0)
			fx_wr(fx, ONPU_REG_IRQ_HOLD(1), ONPU_IRQ_HOLD((x >> 8) % 20, (x >> 16) % 200));
		depth = 1 + (x >> 24) % 40;
		for (unsigned int i = 1; i <= depth; i++) {
			struct onpu_packet p = pk_signal(VA, (uint64_t)round << 32 | i, true);

			fx_push(&q, &p);
			if ((x >> i % 24 & 7) == 0)
				fx_ring(&q);
		}
		fx_ring(&q);
		/* As a driver: it looks at the word after an interrupt only. */
		for (;;) {
			uint32_t now = atomic_load(&fx->irqs[1]);

			if (now == seen) {
				assert_true(fx_now_ns() < end);
				sched_yield();
				continue;
			}
			seen = now;
			if (fx_load(buf) == ((uint64_t)round << 32 | depth))
				break;
		}
	}
	assert_int_equal(fx->guest_errors, 0);
	fx_destroy(fx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registers),
		cmocka_unit_test(by_number),
		cmocka_unit_test(one_at_a_time),
		cmocka_unit_test(by_time),
		cmocka_unit_test(called),
		cmocka_unit_test(before_long),
		cmocka_unit_test(before_the_end),
		cmocka_unit_test(stopped_anywhere),
		cmocka_unit_test(two_queues),
		cmocka_unit_test(none_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

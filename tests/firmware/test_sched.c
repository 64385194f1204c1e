// SPDX-License-Identifier: MIT
/*
 * The firmware's scheduler on the simulator: who gets a slot and who gives
 * way, suspension and its answers, engine reset, hangs in running time.
 */
#include <stdlib.h>
#include <string.h>
#include "fwtest.h"

/* --- helpers ------------------------------------------------------------------ */

static void create(struct fake *f, uint32_t queue, uint32_t asid,
		   uint32_t priority, uint32_t hang_ms)
{
	struct onpu_msg_queue_create m = queue_args(queue, asid);

	m.priority = priority;
	m.hang_ms = hang_ms;
	assert_int_equal(fake_request(f, ONPU_MSG_QUEUE_CREATE, &m, sizeof(m),
				      NULL), OK);
}

static void ring(struct fake *f, uint32_t queue, uint32_t producer)
{
	fake_ring(f, queue, producer);
	fake_settle(f);
}

static bool has_slot(struct fake *f, uint32_t queue)
{
	return fake_slot_of(f, queue) >= 0;
}

static struct fake_slot *slot_of(struct fake *f, uint32_t queue)
{
	assert_true(has_slot(f, queue));
	return &f->slots[fake_slot_of(f, queue)];
}

static struct onpu_msg_card_status card_status(struct fake *f)
{
	struct onpu_msg_card_status s;
	struct onpu_msg reply;

	assert_int_equal(fake_request(f, ONPU_MSG_CARD_STATUS, NULL, 0, &reply),
			 OK);
	memcpy(&s, reply.payload, sizeof(s));
	return s;
}

/* A request whose answer may come later. */
static uint32_t post(struct fake *f, uint16_t type, uint32_t first)
{
	struct onpu_msg m = { .type = type, .kind = ONPU_MSG_REQUEST,
			      .seq = ++f->seq };

	m.payload[0] = first;
	fake_send(f, &m);
	fake_settle(f);
	return m.seq;
}

static bool answered(struct fake *f, uint32_t seq, uint32_t status,
		     struct onpu_msg *m)
{
	struct onpu_msg own;

	if (!m)
		m = &own;
	return fake_receive(f, m) && m->kind == ONPU_MSG_RESPONSE &&
	       m->seq == seq && m->status == status;
}

static uint32_t ctx_op(struct fake *f, uint16_t type, uint32_t asid)
{
	struct onpu_msg_ctx m = { .asid = asid };

	return fake_request(f, type, &m, sizeof(m), NULL);
}

/* --- who gets a slot ----------------------------------------------------------- */

/* All slots at a WAIT whose SIGNAL comes from a queue without one. */
static void test_wait_gives_way(void **state)
{
	struct fake *f = ready_card();

	(void)state;
	assert_int_equal(ctx_create(f, 1), OK);
	for (uint32_t q = 0; q < 6; q++)
		create(f, q, 1, 2, 0);
	for (uint32_t q = 0; q < 4; q++) {
		ring(f, q, 1);
		fake_slot_waits(f, fake_slot_of(f, q));
	}
	/* Nobody wants their slots: nothing happens. */
	fake_run(f, 100);
	for (uint32_t q = 0; q < 4; q++)
		assert_int_equal(slot_of(f, q)->binds, 1);
	ring(f, 4, 1);
	assert_true(has_slot(f, 4));
	assert_false(has_slot(f, 0));
	assert_int_equal(queue_status(f, 0).state, ONPU_QSTATE_WAITING);
	assert_int_equal(card_status(f).blocked, 1);
	assert_true(f->irq_enable & ONPU_MCU_IRQ_SIGNAL);
	ring(f, 5, 1);
	assert_true(has_slot(f, 5));
	assert_false(has_slot(f, 1));
	/* A SIGNAL: the blocked ones are tried again, within a millisecond. */
	fake_slot_idle(f, fake_slot_of(f, 5));
	fake_signal(f);
	fake_run(f, 2);
	assert_true(has_slot(f, 0));
	assert_int_equal(slot_of(f, 0)->state, ONPU_SLOT_RUNNING);
	/* Without one they have their turns as well, and nobody is forgotten. */
	for (int ms = 0; ms < 100; ms++) {
		for (int s = 0; s < FAKE_SLOTS; s++) {
			if (f->slots[s].state == ONPU_SLOT_RUNNING)
				fake_slot_waits(f, s);
		}
		fake_run(f, 1);
	}
	for (uint32_t q = 0; q < 5; q++) {
		assert_true(queue_status(f, q).switches > 3);
		assert_true(queue_status(f, q).state == ONPU_QSTATE_WAITING ||
			    slot_of(f, q)->state == ONPU_SLOT_RUNNING);
	}
	/* With room for all of them nobody gives way any more. */
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_DESTROY, 3), OK);
	fake_run(f, 20);
	for (int s = 0; s < FAKE_SLOTS; s++)
		fake_slot_waits(f, s);
	fake_run(f, 20);
	assert_false(f->irq_enable & ONPU_MCU_IRQ_SIGNAL);
	assert_int_equal(card_status(f).blocked, 0);
	finish(f);
}

static void test_priorities(void **state)
{
	struct fake *f = ready_card();

	(void)state;
	assert_int_equal(ctx_create(f, 1), OK);
	for (uint32_t q = 0; q < 12; q++)
		create(f, q, 1, q / 4 + 1, 0);
	/* Priority 1 has all slots; 2 takes them at once, and 3 from these. */
	for (uint32_t q = 0; q < 12; q++) {
		ring(f, q, 1);
		for (uint32_t i = 0; i <= q; i++)
			assert_int_equal(has_slot(f, i), i + FAKE_SLOTS > q);
	}
	assert_int_equal(card_status(f).preemptions, 8);
	assert_int_equal(card_status(f).ready, 8);
	assert_int_equal(queue_status(f, 0).state, ONPU_QSTATE_UNBOUND);
	/* As the high ones run empty the others go on, by priority, where they were. */
	for (uint32_t q = 8; q < 12; q++) {
		fake_slot_idle(f, fake_slot_of(f, q));
		fake_settle(f);
	}
	for (uint32_t q = 0; q < 12; q++)
		assert_int_equal(has_slot(f, q), q / 4 == 1);
	for (uint32_t q = 4; q < 8; q++) {
		fake_slot_idle(f, fake_slot_of(f, q));
		fake_settle(f);
	}
	for (uint32_t q = 0; q < 12; q++)
		assert_int_equal(has_slot(f, q), q / 4 == 0);
	finish(f);
}

/* Running queues that never end; what each has had of the slots, in ms. */
static void compete(struct fake *f, uint32_t queues, unsigned int ms,
		    unsigned int *had, unsigned int *longest)
{
	unsigned int without[FAKE_QUEUES] = { 0 };

	memset(had, 0, FAKE_QUEUES * sizeof(*had));
	*longest = 0;
	for (unsigned int t = 0; t < ms; t++) {
		fake_run(f, 1);
		for (uint32_t q = 0; q < queues; q++) {
			if (!has_slot(f, q)) {
				if (++without[q] > *longest)
					*longest = without[q];
				continue;
			}
			had[q]++;
			without[q] = 0;
			slot_of(f, q)->progress++;
		}
	}
}

static void test_slices(void **state)
{
	struct fake *f = ready_card();
	unsigned int had[FAKE_QUEUES], longest;
	uint32_t n = 3 * FAKE_SLOTS;

	(void)state;
	assert_int_equal(ctx_create(f, 1), OK);
	for (uint32_t q = 0; q < n; q++) {
		create(f, q, 1, 2, 0);
		fake_ring(f, q, 1);
	}
	compete(f, n, 2000, had, &longest);
	/* A third of the time each. */
	for (uint32_t q = 0; q < n; q++)
		assert_in_range(had[q], 500, 850);
	assert_true(longest <= 60);
	finish(f);
}

/* Eight of the highest priority that never stop, and one of each other. */
static void test_nobody_starves(void **state)
{
	struct fake *f = ready_card();
	unsigned int had[FAKE_QUEUES], longest;

	(void)state;
	assert_int_equal(ctx_create(f, 1), OK);
	for (uint32_t q = 0; q < 11; q++) {
		create(f, q, 1, q < 8 ? 3 : q - 8, 0);
		fake_ring(f, q, 1);
	}
	compete(f, 11, 3000, had, &longest);
	for (uint32_t q = 0; q < 8; q++)
		assert_true(had[q] > 900);
	for (uint32_t q = 8; q < 11; q++)
		assert_in_range(had[q], 60, 700);
	assert_true(longest < 400);
	finish(f);
}

/* A queue that makes no progress has longer, but not for ever. */
static void test_slow_parts(void **state)
{
	struct fake *f = ready_card();

	(void)state;
	assert_int_equal(ctx_create(f, 1), OK);
	for (uint32_t q = 0; q < 5; q++) {
		create(f, q, 1, 2, 0);
		ring(f, q, 1);
	}
	fake_run(f, 25);
	assert_false(has_slot(f, 4));
	fake_run(f, 30);
	assert_true(has_slot(f, 4));
	finish(f);
}

/* A slot that does not give way is not waited for. */
static void test_stubborn_slot(void **state)
{
	struct fake *f = ready_card();

	(void)state;
	assert_int_equal(ctx_create(f, 1), OK);
	for (uint32_t q = 0; q < 6; q++)
		create(f, q, 1, q < 4 ? 1 : 3, 0);
	for (uint32_t q = 0; q < 4; q++)
		ring(f, q, 1);
	slot_of(f, 0)->ignores_suspend = true;
	ring(f, 4, 1);
	assert_false(has_slot(f, 4));
	fake_run(f, 400);
	assert_true(has_slot(f, 4));
	assert_true(has_slot(f, 0));
	/* When it does at last, it is served like any other. */
	slot_of(f, 0)->ignores_suspend = false;
	fake_slot_suspended(f, fake_slot_of(f, 0));
	fake_run(f, 100);
	assert_int_equal(queue_status(f, 0).state == ONPU_QSTATE_RUNNING ||
			 queue_status(f, 0).state == ONPU_QSTATE_UNBOUND, 1);
	finish(f);
}

static void test_priority_message(void **state)
{
	struct onpu_msg_queue_priority m = { .queue = 4, .priority = 3 };
	struct fake *f = ready_card();

	(void)state;
	assert_int_equal(ctx_create(f, 1), OK);
	assert_int_equal(fake_request(f, ONPU_MSG_QUEUE_PRIORITY, &m, sizeof(m),
				      NULL), ONPU_MSG_STATUS_NOENT);
	for (uint32_t q = 0; q < 6; q++) {
		create(f, q, 1, 2, 0);
		ring(f, q, 1);
	}
	assert_false(has_slot(f, 4));
	assert_int_equal(fake_request(f, ONPU_MSG_QUEUE_PRIORITY, &m, sizeof(m),
				      NULL), OK);
	fake_settle(f);
	assert_true(has_slot(f, 4));
	m.priority = 4;
	assert_int_equal(fake_request(f, ONPU_MSG_QUEUE_PRIORITY, &m, sizeof(m),
				      NULL), ONPU_MSG_STATUS_INVALID);
	m.priority = 1;
	m.reserved[9] = 1;
	assert_int_equal(fake_request(f, ONPU_MSG_QUEUE_PRIORITY, &m, sizeof(m),
				      NULL), ONPU_MSG_STATUS_INVALID);
	m.reserved[9] = 0;
	/* Down again, on its slot: who waits outranks it now. */
	assert_int_equal(fake_request(f, ONPU_MSG_QUEUE_PRIORITY, &m, sizeof(m),
				      NULL), OK);
	fake_settle(f);
	assert_false(has_slot(f, 4));
	finish(f);
}

/* When the competition is over, nothing runs but the heartbeat. */
static void test_quiet_again(void **state)
{
	struct fake *f = ready_card();
	unsigned int had[FAKE_QUEUES], longest;
	uint64_t insns;

	(void)state;
	assert_int_equal(ctx_create(f, 1), OK);
	for (uint32_t q = 0; q < 9; q++) {
		create(f, q, 1, q % 4, 0);
		fake_ring(f, q, 1);
	}
	compete(f, 9, 300, had, &longest);
	for (int i = 0; i < 200; i++) {
		for (int s = 0; s < FAKE_SLOTS; s++)
			fake_slot_idle(f, s);
		fake_run(f, 1);
	}
	assert_int_equal(card_status(f).ready, 0);
	fake_run(f, 1000);
	insns = f->insns;
	fake_run(f, 1000);
	print_message("%llu instructions in a quiet second\n",
		      (unsigned long long)(f->insns - insns));
	assert_true(f->insns - insns < 20 * 1500);
	finish(f);
}

/* --- suspension ---------------------------------------------------------------- */

static void test_suspend(void **state)
{
	struct fake *f = ready_card();
	struct onpu_msg m;
	uint32_t seq;

	(void)state;
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_SUSPEND, 1),
			 ONPU_MSG_STATUS_NOENT);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_RESUME, FAKE_QUEUES),
			 ONPU_MSG_STATUS_INVALID);
	assert_int_equal(ctx_create(f, 1), OK);
	for (uint32_t q = 0; q < 4; q++)
		create(f, q, 1, 2, 0);
	/* Without a slot; what is rung meanwhile is not lost. */
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_SUSPEND, 0), OK);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_SUSPEND, 0), OK);
	ring(f, 0, 1);
	assert_false(has_slot(f, 0));
	assert_int_equal(queue_status(f, 0).state, ONPU_QSTATE_SUSPENDED);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_RESUME, 0), OK);
	fake_settle(f);
	assert_int_equal(slot_of(f, 0)->state, ONPU_SLOT_RUNNING);
	/* Running, at a WAIT, idle: answered at once, and their slots are free. */
	ring(f, 1, 1);
	fake_slot_waits(f, fake_slot_of(f, 1));
	ring(f, 2, 1);
	fake_slot_idle(f, fake_slot_of(f, 2));
	for (uint32_t q = 0; q < 3; q++) {
		assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_SUSPEND, q), OK);
		assert_false(has_slot(f, q));
		assert_int_equal(queue_status(f, q).state,
				 ONPU_QSTATE_SUSPENDED);
	}
	fake_run(f, 200);
	for (uint32_t q = 0; q < 3; q++) {
		assert_false(has_slot(f, q));
		assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_RESUME, q), OK);
	}
	fake_settle(f);
	assert_true(has_slot(f, 0) && has_slot(f, 1));
	assert_false(has_slot(f, 2));
	/* A slot that takes its time: the answer waits for it. */
	slot_of(f, 0)->ignores_suspend = true;
	seq = post(f, ONPU_MSG_QUEUE_SUSPEND, 0);
	fake_run(f, 500);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_SUSPEND, 0),
			 ONPU_MSG_STATUS_BUSY);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_RESUME, 0),
			 ONPU_MSG_STATUS_BUSY);
	fake_slot_suspended(f, fake_slot_of(f, 0));
	fake_settle(f);
	assert_true(answered(f, seq, OK, NULL));
	assert_false(has_slot(f, 0));
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_RESUME, 0), OK);
	fake_settle(f);
	/* And one that never does. */
	slot_of(f, 0)->ignores_suspend = true;
	seq = post(f, ONPU_MSG_QUEUE_SUSPEND, 0);
	fake_run(f, ONPU_KILL_TIMEOUT_MS);
	assert_true(answered(f, seq, ONPU_MSG_STATUS_TIMEOUT, NULL));
	/* A kill helps, and answers both if both are on. */
	seq = post(f, ONPU_MSG_QUEUE_SUSPEND, 0);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_KILL, 0), ~0u);
	assert_true(answered(f, f->seq, OK, NULL));
	assert_int_equal(queue_status(f, 0).state, ONPU_QSTATE_KILLED);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_SUSPEND, 0), OK);
	for (int s = 0; s < FAKE_SLOTS; s++)
		f->slots[s].ignores_suspend = false;
	/* An error on the way is an end, too. */
	slot_of(f, 1)->ignores_suspend = true;
	seq = post(f, ONPU_MSG_QUEUE_SUSPEND, 1);
	slot_of(f, 1)->ignores_suspend = false;
	fake_slot_fail(f, fake_slot_of(f, 1), ONPU_ERR_DESC);
	fake_settle(f);
	assert_true(fake_receive(f, &m) && m.type == ONPU_MSG_EV_QUEUE_ERROR);
	assert_true(answered(f, seq, OK, NULL));
	assert_int_equal(queue_status(f, 1).state, ONPU_QSTATE_ERROR);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_RESUME, 1), OK);
	/* Gone while suspended, with saved work: the next of that number is new. */
	ring(f, 2, 2);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_SUSPEND, 2), OK);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_DESTROY, 2), OK);
	f->has_saved[2] = false;
	create(f, 2, 1, 2, 0);
	ring(f, 2, 1);
	assert_true(has_slot(f, 2));
	finish(f);
}

static void test_ctx_suspend(void **state)
{
	struct fake *f = ready_card();
	uint32_t seq;

	(void)state;
	assert_int_equal(ctx_op(f, ONPU_MSG_CTX_SUSPEND, 1),
			 ONPU_MSG_STATUS_NOENT);
	assert_int_equal(ctx_op(f, ONPU_MSG_CTX_RESUME, FAKE_CONTEXTS),
			 ONPU_MSG_STATUS_INVALID);
	assert_int_equal(ctx_create(f, 1), OK);
	assert_int_equal(ctx_create(f, 2), OK);
	/* Nobody there. */
	assert_int_equal(ctx_op(f, ONPU_MSG_CTX_SUSPEND, 2), OK);
	assert_int_equal(ctx_op(f, ONPU_MSG_CTX_RESUME, 2), OK);
	for (uint32_t q = 0; q < 8; q++) {
		create(f, q, 1 + q % 2, 2, 0);
		ring(f, q, 1);
	}
	/* On slots and waiting for them; the other context gets all of those. */
	assert_int_equal(ctx_op(f, ONPU_MSG_CTX_SUSPEND, 1), OK);
	fake_settle(f);
	for (uint32_t q = 0; q < 8; q++) {
		assert_int_equal(has_slot(f, q), q % 2);
		if (q % 2 == 0)
			assert_int_equal(queue_status(f, q).state,
					 ONPU_QSTATE_SUSPENDED);
	}
	/* So do queues that come, ring or are resumed meanwhile. */
	create(f, 10, 1, 3, 0);
	ring(f, 10, 1);
	ring(f, 0, 2);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_RESUME, 0), OK);
	fake_run(f, 300);
	assert_false(has_slot(f, 10));
	assert_false(has_slot(f, 0));
	assert_int_equal(ctx_op(f, ONPU_MSG_CTX_RESUME, 1), OK);
	fake_settle(f);
	assert_true(has_slot(f, 10));
	/* One answer, when the last has stopped. */
	slot_of(f, 10)->ignores_suspend = true;
	seq = post(f, ONPU_MSG_CTX_SUSPEND, 1);
	fake_run(f, 300);
	assert_int_equal(ctx_op(f, ONPU_MSG_CTX_SUSPEND, 1),
			 ONPU_MSG_STATUS_BUSY);
	assert_int_equal(ctx_op(f, ONPU_MSG_CTX_RESUME, 1),
			 ONPU_MSG_STATUS_BUSY);
	fake_slot_suspended(f, fake_slot_of(f, 10));
	fake_settle(f);
	assert_true(answered(f, seq, OK, NULL));
	assert_int_equal(ctx_op(f, ONPU_MSG_CTX_RESUME, 1), OK);
	fake_settle(f);
	slot_of(f, 10)->ignores_suspend = true;
	seq = post(f, ONPU_MSG_CTX_SUSPEND, 1);
	fake_run(f, ONPU_KILL_TIMEOUT_MS);
	assert_true(answered(f, seq, ONPU_MSG_STATUS_TIMEOUT, NULL));
	/* A kill is an answer to that, too. */
	seq = post(f, ONPU_MSG_CTX_SUSPEND, 1);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_KILL, 10), ~0u);
	assert_true(answered(f, f->seq, OK, NULL));
	/* A context that is made anew is not suspended. */
	for (uint32_t q = 0; q < 8; q += 2)
		assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_DESTROY, q), OK);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_DESTROY, 10), OK);
	assert_int_equal(ctx_destroy(f, 1), OK);
	assert_int_equal(ctx_create(f, 1), OK);
	memset(f->has_saved, 0, sizeof(f->has_saved));
	create(f, 10, 1, 3, 0);
	for (uint32_t q = 1; q < 8; q += 2)
		assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_KILL, q), OK);
	ring(f, 10, 1);
	assert_true(has_slot(f, 10));
	finish(f);
}

/* Many answers at once, and a host that does not read. */
static void test_answers_wait(void **state)
{
	struct fake *f = ready_card();
	struct onpu_msg m;
	unsigned int answers = 0;

	(void)state;
	assert_int_equal(ctx_create(f, 1), OK);
	for (uint32_t q = 0; q < 4; q++) {
		create(f, q, 1, 2, 0);
		ring(f, q, 1);
		slot_of(f, q)->ignores_suspend = true;
		slot_of(f, q)->ignores_kill = true;
	}
	for (uint32_t q = 0; q < 4; q++) {
		post(f, ONPU_MSG_QUEUE_SUSPEND, q);
		post(f, ONPU_MSG_QUEUE_KILL, q);
	}
	post(f, ONPU_MSG_CTX_SUSPEND, 1);
	post(f, ONPU_MSG_ENGINE_RESET, 0);
	for (int i = 0; i < ONPU_MBOX_ENTRIES + 4; i++)
		post(f, ONPU_MSG_PING, 0);
	fake_run(f, 2 * ONPU_KILL_TIMEOUT_MS);
	for (int i = 0; i < 4; i++)
		fake_slot_killed(f, i);
	fake_run(f, 100);
	for (int i = 0; i < 10; i++) {
		while (fake_receive(f, &m)) {
			if (m.kind == ONPU_MSG_RESPONSE)
				answers++;
		}
		f->irq_pending |= ONPU_MCU_IRQ_MBOX;
		fake_run(f, 60);
	}
	assert_int_equal(answers, ONPU_MBOX_ENTRIES + 4 + 8 + 2);
	finish(f);
}

/* --- engine reset -------------------------------------------------------------- */

static struct onpu_msg_engine_reset reset_result(const struct onpu_msg *m)
{
	struct onpu_msg_engine_reset r;

	memcpy(&r, m->payload, sizeof(r));
	return r;
}

static void test_engine_reset(void **state)
{
	struct fake *f = ready_card();
	struct onpu_msg_engine_reset r;
	struct onpu_msg m;
	uint32_t seq, one = 1;

	(void)state;
	assert_int_equal(fake_request(f, ONPU_MSG_ENGINE_RESET, &one, 4, NULL),
			 ONPU_MSG_STATUS_INVALID);
	assert_int_equal(fake_request(f, ONPU_MSG_ENGINE_RESET, NULL, 0, &m),
			 OK);
	assert_int_equal(reset_result(&m).queues, 0);
	for (uint32_t q = 0; q < 4; q++) {
		assert_int_equal(ctx_create(f, 4 * q), OK);
		create(f, q, 4 * q, 2, 0);
		ring(f, q, 1);
	}
	/* Nothing hangs: nobody is hit, everybody goes on. */
	assert_int_equal(fake_request(f, ONPU_MSG_ENGINE_RESET, NULL, 0, &m),
			 OK);
	assert_int_equal(reset_result(&m).queues, 0);
	fake_settle(f);
	for (uint32_t q = 0; q < 4; q++)
		assert_int_equal(slot_of(f, q)->binds, 2);
	/* One hangs: it is killed, named, and reported. */
	slot_of(f, 2)->ignores_suspend = true;
	seq = post(f, ONPU_MSG_ENGINE_RESET, 0);
	fake_run(f, 100);
	assert_int_equal(fake_request(f, ONPU_MSG_ENGINE_RESET, NULL, 0, &m),
			 ONPU_MSG_STATUS_BUSY);
	for (uint32_t q = 0; q < 4; q++)
		assert_true(has_slot(f, q));
	fake_run(f, ONPU_KILL_TIMEOUT_MS);
	assert_true(fake_receive(f, &m));
	assert_int_equal(m.type, ONPU_MSG_EV_QUEUE_ERROR);
	assert_int_equal(m.payload[0], 2);
	assert_int_equal(m.payload[2], ONPU_ERR_KILLED);
	assert_true(answered(f, seq, OK, &m));
	r = reset_result(&m);
	assert_int_equal(r.queues, 1);
	assert_int_equal(r.contexts, 1);
	assert_int_equal(r.asids[0], 1u << 8);
	assert_int_equal(queue_status(f, 2).state, ONPU_QSTATE_KILLED);
	assert_true(has_slot(f, 0) && has_slot(f, 1) && has_slot(f, 3));
	/* One answers nothing at all. */
	slot_of(f, 1)->ignores_suspend = true;
	slot_of(f, 3)->ignores_suspend = true;
	slot_of(f, 3)->ignores_kill = true;
	seq = post(f, ONPU_MSG_ENGINE_RESET, 0);
	fake_run(f, ONPU_KILL_TIMEOUT_MS);
	assert_true(fake_receive(f, &m));
	assert_int_equal(m.payload[0], 1);
	assert_true(answered(f, seq, ONPU_MSG_STATUS_TIMEOUT, &m));
	r = reset_result(&m);
	assert_int_equal(r.queues, 1);
	assert_int_equal(r.asids[0], 1u << 4);
	assert_int_equal(card_status(f).engine_resets, 4);
	finish(f);
}

/* --- hangs --------------------------------------------------------------------- */

static unsigned int hang_events(struct fake *f, uint32_t queue)
{
	struct onpu_msg_queue_hang ev;
	unsigned int n = 0;
	struct onpu_msg m;

	while (fake_receive(f, &m)) {
		assert_int_equal(m.kind, ONPU_MSG_EVENT);
		assert_int_equal(m.type, ONPU_MSG_EV_QUEUE_HANG);
		memcpy(&ev, m.payload, sizeof(ev));
		assert_int_equal(ev.queue, queue);
		assert_int_equal(ev.asid, 1);
		assert_int_equal(ev.hang_ms, 300);
		assert_in_range(ev.stalled_ms, 300, 400);
		n++;
	}
	return n;
}

static void test_hang(void **state)
{
	struct fake *f = ready_card();

	(void)state;
	assert_int_equal(ctx_create(f, 1), OK);
	create(f, 0, 1, 2, 0);
	create(f, 1, 1, 2, 300);
	ring(f, 0, 1);
	ring(f, 1, 1);
	/* Queue 0 has no limit; queue 1 gets on, slowly. */
	for (int i = 0; i < 10; i++) {
		fake_run(f, 200);
		slot_of(f, 1)->progress++;
	}
	assert_int_equal(hang_events(f, 1), 0);
	assert_true(queue_status(f, 0).stalled_us > 1900000);
	assert_true(queue_status(f, 1).stalled_us < 100000);
	/* Standing at a WAIT, idle, or having no slot is not hanging. */
	slot_of(f, 1)->state = ONPU_SLOT_WAITING;
	fake_run(f, 1000);
	fake_slot_idle(f, fake_slot_of(f, 1));
	fake_run(f, 1000);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_SUSPEND, 1), OK);
	ring(f, 1, 2);
	fake_run(f, 1000);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_RESUME, 1), OK);
	fake_settle(f);
	assert_int_equal(hang_events(f, 1), 0);
	/* Running is: once, with what it was before its slot was taken away. */
	fake_run(f, 200);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_SUSPEND, 1), OK);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_RESUME, 1), OK);
	fake_run(f, 60);
	assert_int_equal(hang_events(f, 1), 0);
	fake_run(f, 100);
	assert_int_equal(hang_events(f, 1), 1);
	fake_run(f, 2000);
	assert_int_equal(hang_events(f, 1), 0);
	assert_int_equal(queue_status(f, 1).state, ONPU_QSTATE_RUNNING);
	/* And again after progress. */
	slot_of(f, 1)->progress++;
	fake_run(f, 500);
	assert_int_equal(hang_events(f, 1), 1);
	assert_int_equal(card_status(f).hangs, 2);
	finish(f);
}

static void test_counters(void **state)
{
	struct onpu_msg_queue_status st;
	struct fake *f = ready_card();

	(void)state;
	assert_int_equal(ctx_create(f, 1), OK);
	create(f, 7, 1, 2, 0);
	ring(f, 7, 5);
	fake_slot_idle(f, fake_slot_of(f, 7));
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_SUSPEND, 7), OK);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_RESUME, 7), OK);
	ring(f, 7, 9);
	fake_slot_idle(f, fake_slot_of(f, 7));
	st = queue_status(f, 7);
	assert_int_equal(st.packets, 9);
	assert_int_equal(st.switches, 2);
	assert_int_equal(st.busy_ns, 2000);
	assert_int_equal(card_status(f).switches, 2);
	assert_int_equal(card_status(f).bound, 1);
	assert_int_equal(card_status(f).preemptions, 0);
	finish(f);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wait_gives_way),
		cmocka_unit_test(test_priorities),
		cmocka_unit_test(test_slices),
		cmocka_unit_test(test_nobody_starves),
		cmocka_unit_test(test_slow_parts),
		cmocka_unit_test(test_stubborn_slot),
		cmocka_unit_test(test_priority_message),
		cmocka_unit_test(test_quiet_again),
		cmocka_unit_test(test_suspend),
		cmocka_unit_test(test_ctx_suspend),
		cmocka_unit_test(test_answers_wait),
		cmocka_unit_test(test_engine_reset),
		cmocka_unit_test(test_hang),
		cmocka_unit_test(test_counters),
	};

	fwtest_init(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/*
 * The runtime firmware on the simulator: every message good and bad, queues
 * on and off slots, kills, errors, full rings, heartbeat, log and crash.
 */
#include <stdlib.h>
#include <string.h>
#include "fwtest.h"

/* --- handshake ------------------------------------------------------------- */

static void test_hello(void **state)
{
	struct onpu_msg_hello h = { 0 }, own;
	struct fake *f = fake_create();
	struct onpu_msg reply;

	(void)state;
	assert_int_equal(fake_boot(f, fw_image, fw_image_size),
			 ONPU_BOOT_STAGE_READY);
	/* Anything else comes too early. */
	assert_int_equal(ctx_create(f, 1), ONPU_MSG_STATUS_ORDER);
	assert_int_equal(fake_request(f, ONPU_MSG_PING, NULL, 0, NULL),
			 ONPU_MSG_STATUS_ORDER);
	/* Wrong majors are refused, and told the right ones. */
	h.mbox_major = ONPU_MBOX_ABI_MAJOR + 1;
	h.packet_major = ONPU_PACKET_ABI_MAJOR;
	assert_int_equal(fake_request(f, ONPU_MSG_HELLO, &h, sizeof(h), &reply),
			 ONPU_MSG_STATUS_VERSION);
	memcpy(&own, reply.payload, sizeof(own));
	assert_int_equal(own.mbox_major, ONPU_MBOX_ABI_MAJOR);
	h.mbox_major = ONPU_MBOX_ABI_MAJOR;
	h.packet_major = ONPU_PACKET_ABI_MAJOR - 1;
	assert_int_equal(fake_request(f, ONPU_MSG_HELLO, &h, sizeof(h), NULL),
			 ONPU_MSG_STATUS_VERSION);
	h.packet_major = ONPU_PACKET_ABI_MAJOR;
	h.slots = 1;
	assert_int_equal(fake_request(f, ONPU_MSG_HELLO, &h, sizeof(h), NULL),
			 ONPU_MSG_STATUS_INVALID);
	h.slots = 0;
	/* A newer minor of the host is fine. */
	h.mbox_minor = 99;
	assert_int_equal(fake_request(f, ONPU_MSG_HELLO, &h, sizeof(h), &reply),
			 OK);
	memcpy(&own, reply.payload, sizeof(own));
	assert_int_equal(own.mbox_minor, ONPU_MBOX_ABI_MINOR);
	assert_int_equal(own.packet_major, ONPU_PACKET_ABI_MAJOR);
	assert_int_equal(own.fw_version, f->fw_version);
	assert_int_equal(own.queues, FAKE_QUEUES);
	assert_int_equal(own.slots, FAKE_SLOTS);
	assert_int_equal(own.contexts, FAKE_CONTEXTS);
	assert_int_equal(fake_request(f, ONPU_MSG_HELLO, &h, sizeof(h), NULL),
			 ONPU_MSG_STATUS_ORDER);
	finish(f);
}

static void test_ping_and_headers(void **state)
{
	uint32_t pattern[12];
	struct fake *f = ready_card();
	struct onpu_msg m, reply;

	(void)state;
	for (uint32_t i = 0; i < 12; i++)
		pattern[i] = 0x01010101u * (i + 1);
	assert_int_equal(fake_request(f, ONPU_MSG_PING, pattern,
				      sizeof(pattern), &reply), OK);
	assert_memory_equal(reply.payload, pattern, sizeof(pattern));

	for (uint32_t type = 0; type < 300; type++) {
		if (type >= ONPU_MSG_HELLO && type <= ONPU_MSG_CARD_STATUS)
			continue;
		assert_int_equal(fake_request(f, (uint16_t)type, pattern, 48,
					      NULL), ONPU_MSG_STATUS_UNKNOWN);
	}
	for (int bad = 0; bad < 5; bad++) {
		memset(&m, 0, sizeof(m));
		m.type = ONPU_MSG_PING;
		m.kind = ONPU_MSG_REQUEST;
		m.seq = 77;
		switch (bad) {
		case 0: m.kind = ONPU_MSG_RESPONSE; break;
		case 1: m.kind = ONPU_MSG_EVENT; break;
		case 2: m.kind = 0; break;
		case 3: m.status = 1; break;
		case 4: m.reserved = 0x80000000; break;
		}
		fake_send(f, &m);
		fake_settle(f);
		assert_true(fake_receive(f, &reply));
		assert_int_equal(reply.kind, ONPU_MSG_RESPONSE);
		assert_int_equal(reply.seq, 77);
		assert_int_equal(reply.status, ONPU_MSG_STATUS_INVALID);
	}
	finish(f);
}

/* --- contexts --------------------------------------------------------------- */

static uint32_t ctx_bad(struct fake *f, uint32_t asid, uint64_t root,
			uint32_t reserved0, uint32_t reserved)
{
	struct onpu_msg_ctx m = { .asid = asid, .root = root,
				  .reserved0 = reserved0 };

	m.reserved[7] = reserved;
	return fake_request(f, ONPU_MSG_CTX_CREATE, &m, sizeof(m), NULL);
}

static void test_contexts(void **state)
{
	const uint32_t inv = ONPU_MSG_STATUS_INVALID;
	struct fake *f = ready_card();
	struct onpu_msg_ctx m = { .asid = 5, .root = 4096 };

	(void)state;
	assert_int_equal(ctx_bad(f, FAKE_CONTEXTS, ROOT(0), 0, 0), inv);
	assert_int_equal(ctx_bad(f, 0xffffffff, ROOT(0), 0, 0), inv);
	assert_int_equal(ctx_bad(f, 1, ROOT(0) + 8, 0, 0), inv);
	assert_int_equal(ctx_bad(f, 1, FAKE_VRAM_SIZE, 0, 0), inv);
	assert_int_equal(ctx_bad(f, 1, ~0xfffull, 0, 0), inv);
	assert_int_equal(ctx_bad(f, 1, FAKE_REGION_OFFSET, 0, 0), inv);
	assert_int_equal(ctx_bad(f, 1, FAKE_VRAM_SIZE - 4096, 0, 0), inv);
	assert_int_equal(ctx_bad(f, 1, ROOT(0), 1, 0), inv);
	assert_int_equal(ctx_bad(f, 1, ROOT(0), 0, 1), inv);
	for (int i = 0; i < FAKE_CONTEXTS; i++)
		assert_int_equal(f->contexts[i].ctrl & ONPU_CTX_VALID, 0);

	assert_int_equal(ctx_create(f, 5), OK);
	assert_int_equal(f->contexts[5].ctrl, ONPU_CTX_VALID);
	assert_int_equal(f->contexts[5].root, ROOT(5));
	assert_int_equal(ctx_create(f, 5), ONPU_MSG_STATUS_EXIST);
	assert_int_equal(ctx_create(f, FAKE_CONTEXTS - 1), OK);
	/* The last page before the firmware's region. */
	assert_int_equal(ctx_bad(f, 2, FAKE_REGION_OFFSET - 4096, 0, 0), OK);

	assert_int_equal(fake_request(f, ONPU_MSG_CTX_DESTROY, &m, sizeof(m),
				      NULL), inv); /* root must be 0 */
	assert_int_equal(queue_create(f, 0, 5), OK);
	assert_int_equal(ctx_destroy(f, 5), ONPU_MSG_STATUS_BUSY);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_DESTROY, 0), OK);
	assert_int_equal(ctx_destroy(f, 5), OK);
	assert_int_equal(f->contexts[5].ctrl, 0);
	assert_int_equal(ctx_destroy(f, 5), ONPU_MSG_STATUS_NOENT);
	assert_int_equal(ctx_destroy(f, FAKE_CONTEXTS), inv);
	assert_int_equal(ctx_create(f, 5), OK);
	finish(f);
}

/* --- queues ----------------------------------------------------------------- */

static void test_queue_create(void **state)
{
	struct onpu_msg_queue_create bad[20], m;
	struct fake *f = ready_card();
	int n = 0;

	(void)state;
	assert_int_equal(ctx_create(f, 1), OK);
#define BAD(field, value) do { \
		bad[n] = queue_args(7, 1); \
		bad[n++].field = (value); \
	} while (0)
	BAD(queue, FAKE_QUEUES);
	BAD(queue, 0xffffffff);
	BAD(asid, FAKE_CONTEXTS);
	BAD(ring_va, 0x1020);
	BAD(ring_va, 1ull << 48);
	BAD(ring_va, (1ull << 48) - 64);
	BAD(ring_va, ~63ull);
	BAD(ctl_va, 0x1008);
	BAD(ctl_va, 1ull << 48);
	BAD(ring_order, ONPU_RING_ORDER_MIN - 1);
	BAD(ring_order, FAKE_RING_ORDER_MAX + 1);
	BAD(ring_order, 0xffffffff);
	BAD(flags, 2);
	BAD(flags, 0x80000000);
	BAD(vector, FAKE_VECTORS);
	BAD(priority, 4);
	BAD(reserved, 1);
	BAD(reserved, 0x80000000);
	for (int i = 0; i < n; i++) {
		if (fake_request(f, ONPU_MSG_QUEUE_CREATE, &bad[i],
				 sizeof(bad[i]), NULL) !=
		    ONPU_MSG_STATUS_INVALID)
			fail_msg("bad queue %d was not refused", i);
	}
	assert_int_equal(queue_create(f, 7, 2), ONPU_MSG_STATUS_NOENT);
	assert_int_equal(queue_create(f, 7, 1), OK);
	assert_int_equal(queue_create(f, 7, 1), ONPU_MSG_STATUS_EXIST);
	/* Limits themselves are allowed, and no control block. */
	m = queue_args(FAKE_QUEUES - 1, 1);
	m.ring_order = FAKE_RING_ORDER_MAX;
	m.ring_va = (1ull << 48) - (64ull << FAKE_RING_ORDER_MAX);
	m.ctl_va = 0;
	m.vector = FAKE_VECTORS - 1;
	m.priority = 3;
	m.flags = 0;
	assert_int_equal(fake_request(f, ONPU_MSG_QUEUE_CREATE, &m, sizeof(m),
				      NULL), OK);
	assert_int_equal(queue_status(f, 7).state, ONPU_QSTATE_UNBOUND);
	assert_int_equal(queue_status(f, 7).slot, ~0u);
	finish(f);
}

static void test_queue_lookup(void **state)
{
	const uint16_t types[] = { ONPU_MSG_QUEUE_KILL, ONPU_MSG_QUEUE_DESTROY,
				   ONPU_MSG_QUEUE_STATUS };
	struct fake *f = ready_card();

	(void)state;
	assert_int_equal(ctx_create(f, 1), OK);
	assert_int_equal(queue_create(f, 9, 1), OK);
	for (int i = 0; i < 3; i++) {
		struct onpu_msg_queue m = { .queue = 9 };

		assert_int_equal(queue_op(f, types[i], 8),
				 ONPU_MSG_STATUS_NOENT);
		assert_int_equal(queue_op(f, types[i], FAKE_QUEUES),
				 ONPU_MSG_STATUS_INVALID);
		assert_int_equal(queue_op(f, types[i], 0x80000009),
				 ONPU_MSG_STATUS_INVALID);
		m.reserved[10] = 1;
		assert_int_equal(fake_request(f, types[i], &m, sizeof(m),
					      NULL), ONPU_MSG_STATUS_INVALID);
	}
	assert_int_equal(queue_status(f, 9).state, ONPU_QSTATE_UNBOUND);
	finish(f);
}

static void test_bind_on_doorbell(void **state)
{
	struct onpu_msg_queue_create m = queue_args(9, 1);
	struct onpu_msg_queue_status st;
	struct fake *f = ready_card();
	struct fake_slot *s;
	int slot;

	(void)state;
	assert_int_equal(ctx_create(f, 1), OK);
	/* A doorbell of a queue that does not exist does nothing. */
	fake_ring(f, 9, 100);
	fake_settle(f);
	assert_int_equal(fake_slot_of(f, 9), -1);
	assert_int_equal(queue_create(f, 9, 1), OK);
	assert_int_equal(f->db_value[9], 0);
	assert_int_equal(fake_slot_of(f, 9), -1);

	fake_ring(f, 9, 3);
	fake_settle(f);
	slot = fake_slot_of(f, 9);
	assert_true(slot >= 0);
	s = &f->slots[slot];
	assert_int_equal(s->state, ONPU_SLOT_RUNNING);
	assert_int_equal(s->config[ONPU_SLOT_ASID / 4], 1);
	assert_int_equal(s->config[ONPU_SLOT_RING_LO / 4], m.ring_va);
	assert_int_equal(s->config[ONPU_SLOT_RING_ORDER / 4], m.ring_order);
	assert_int_equal(s->config[ONPU_SLOT_FLAGS / 4], m.flags);
	assert_int_equal(s->config[ONPU_SLOT_VECTOR / 4], m.vector);
	assert_int_equal(s->config[ONPU_SLOT_CTL_LO / 4], m.ctl_va);
	assert_int_equal(s->config[ONPU_SLOT_CONSUMER / 4], 0);
	assert_int_equal(queue_status(f, 9).state, ONPU_QSTATE_RUNNING);
	s->state = ONPU_SLOT_WAITING;
	assert_int_equal(queue_status(f, 9).state, ONPU_QSTATE_WAITING);
	/* No job passes through the firmware: more work, no wake-up. */
	fake_slot_idle(f, slot);
	fake_ring(f, 9, 5);
	assert_int_equal(f->irq_pending & f->irq_enable, 0);
	fake_slot_idle(f, slot);
	st = queue_status(f, 9);
	assert_int_equal(st.state, ONPU_QSTATE_IDLE);
	assert_int_equal(st.slot, slot);
	assert_int_equal(st.producer, 5);
	assert_int_equal(st.consumer, 5);
	assert_int_equal(st.busy_ns, 2000);
	assert_int_equal(st.error, 0);
	finish(f);
}

/* More queues than slots: idle ones give way, busy ones do not. */
static void test_more_queues_than_slots(void **state)
{
	struct fake *f = ready_card();
	struct onpu_msg_queue_status st;
	int slot;

	(void)state;
	assert_int_equal(ctx_create(f, 1), OK);
	for (uint32_t q = 0; q < 12; q++) {
		assert_int_equal(queue_create(f, q, 1), OK);
		fake_ring(f, q, 1);
	}
	fake_settle(f);
	for (uint32_t q = 0; q < 12; q++)
		assert_int_equal(fake_slot_of(f, q) >= 0, q < FAKE_SLOTS);
	/* First come, first served, one by one as slots run empty. */
	for (uint32_t q = FAKE_SLOTS; q < 12; q++) {
		uint32_t old = q - FAKE_SLOTS;

		slot = fake_slot_of(f, old);
		/* As if it had done more than 2^32 packets. */
		f->slots[slot].config[ONPU_SLOT_CONSUMER_HI / 4] = 77 + old;
		fake_slot_idle(f, slot);
		fake_settle(f);
		assert_int_equal(fake_slot_of(f, old), -1);
		assert_int_equal(f->slots[slot].config[ONPU_SLOT_CONSUMER_HI / 4], 0);
		assert_int_equal(fake_slot_of(f, q), slot);
		st = queue_status(f, old);
		assert_int_equal(st.state, ONPU_QSTATE_UNBOUND);
		assert_int_equal(st.consumer, 1);
		assert_int_equal(st.busy_ns, 1000);
	}
	/* Nobody waits any more: running empty wakes nobody, all keep slots. */
	for (uint32_t q = 8; q < 12; q++)
		fake_slot_idle(f, fake_slot_of(f, q));
	assert_int_equal(f->irq_pending & f->irq_enable, 0);
	/* The first comes back with its consumer, on the oldest idle slot. */
	slot = fake_slot_of(f, 8);
	fake_ring(f, 0, 2);
	fake_settle(f);
	assert_int_equal(fake_slot_of(f, 0), slot);
	assert_int_equal(f->slots[slot].config[ONPU_SLOT_CONSUMER / 4], 1);
	assert_int_equal(f->slots[slot].config[ONPU_SLOT_CONSUMER_HI / 4], 77);
	assert_int_equal(queue_status(f, 0).producer, 2);
	finish(f);
}

/* A doorbell at the very moment of the eviction is not lost. */
static void test_doorbell_while_evicting(void **state)
{
	struct fake *f = ready_card();

	(void)state;
	assert_int_equal(ctx_create(f, 1), OK);
	for (uint32_t q = 0; q < 5; q++)
		assert_int_equal(queue_create(f, q, 1), OK);
	for (uint32_t q = 0; q < 4; q++)
		fake_ring(f, q, 1);
	fake_settle(f);
	for (int s = 0; s < FAKE_SLOTS; s++) {
		fake_slot_idle(f, s);
		/* Still IDLE by name, but the ring is not empty: UNBIND fails. */
		f->db_value[f->slots[s].config[0]] = 2;
	}
	fake_ring(f, 4, 1);
	fake_settle(f);
	assert_int_equal(fake_slot_of(f, 4), -1);
	for (uint32_t q = 0; q < 4; q++)
		assert_true(fake_slot_of(f, q) >= 0);
	fake_slot_idle(f, 2);
	fake_settle(f);
	assert_int_equal(fake_slot_of(f, 4), 2);
	finish(f);
}

static void test_queue_error(void **state)
{
	struct onpu_msg_queue_error ev;
	struct onpu_msg_queue_status st;
	struct fake *f = ready_card();
	struct onpu_msg m;
	unsigned int binds;
	int slot;

	(void)state;
	assert_int_equal(ctx_create(f, 3), OK);
	assert_int_equal(queue_create(f, 20, 3), OK);
	fake_ring(f, 20, 9);
	fake_settle(f);
	slot = fake_slot_of(f, 20);
	f->slots[slot].config[ONPU_SLOT_CONSUMER / 4] = 4;
	f->host_irqs = 0;
	fake_slot_fail(f, slot, ONPU_ERR_FAULT);
	fake_settle(f);
	assert_true(f->host_irqs & ONPU_IRQ_MBOX);
	assert_true(fake_receive(f, &m));
	assert_int_equal(m.type, ONPU_MSG_EV_QUEUE_ERROR);
	assert_int_equal(m.kind, ONPU_MSG_EVENT);
	memcpy(&ev, m.payload, sizeof(ev));
	assert_int_equal(ev.queue, 20);
	assert_int_equal(ev.asid, 3);
	assert_int_equal(ev.error, ONPU_ERR_FAULT);
	assert_int_equal(ev.fault_info, f->slots[slot].fault_info);
	assert_int_equal(ev.fault_va, 0x123456789000ull);
	assert_int_equal(ev.consumer, 4);
	assert_int_equal(ev.opcode, ONPU_OP_COPY);
	assert_int_equal(f->slots[slot].state, ONPU_SLOT_FREE);
	st = queue_status(f, 20);
	assert_int_equal(st.state, ONPU_QSTATE_ERROR);
	assert_int_equal(st.error, ONPU_ERR_FAULT);
	assert_int_equal(st.consumer, 4);
	assert_int_equal(st.slot, ~0u);
	/* It stays dead: a doorbell does not bring it back. */
	binds = f->slots[0].binds;
	fake_ring(f, 20, 10);
	fake_settle(f);
	assert_int_equal(fake_slot_of(f, 20), -1);
	assert_int_equal(f->slots[0].binds, binds);
	/* Another error carries no fault; its slot serves the next queue. */
	assert_int_equal(queue_create(f, 21, 3), OK);
	fake_ring(f, 21, 1);
	fake_settle(f);
	fake_slot_fail(f, fake_slot_of(f, 21), ONPU_ERR_PACKET);
	fake_settle(f);
	assert_true(fake_receive(f, &m));
	memcpy(&ev, m.payload, sizeof(ev));
	assert_int_equal(ev.error, ONPU_ERR_PACKET);
	assert_int_equal(ev.fault_va, 0);
	assert_int_equal(ev.fault_info, 0);
	/* Kill of what has stopped already: fine, and the reason stays. */
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_KILL, 21), OK);
	assert_int_equal(queue_status(f, 21).state, ONPU_QSTATE_ERROR);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_DESTROY, 20), OK);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_DESTROY, 21), OK);
	assert_int_equal(ctx_destroy(f, 3), OK);
	finish(f);
}

/* --- kills ------------------------------------------------------------------- */

static void test_kill(void **state)
{
	struct fake *f = ready_card();
	struct onpu_msg_queue_status st;

	(void)state;
	assert_int_equal(ctx_create(f, 1), OK);
	for (uint32_t q = 0; q < 3; q++)
		assert_int_equal(queue_create(f, q, 1), OK);
	/* Never rung: nothing to stop. */
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_KILL, 0), OK);
	assert_int_equal(queue_status(f, 0).state, ONPU_QSTATE_KILLED);
	assert_int_equal(queue_status(f, 0).error, ONPU_ERR_KILLED);
	fake_ring(f, 0, 1);
	fake_settle(f);
	assert_int_equal(fake_slot_of(f, 0), -1);
	/* Running, and idle on a slot. */
	fake_ring(f, 1, 8);
	fake_ring(f, 2, 8);
	fake_settle(f);
	fake_slot_idle(f, fake_slot_of(f, 2));
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_KILL, 1), OK);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_KILL, 2), OK);
	for (uint32_t q = 1; q < 3; q++) {
		st = queue_status(f, q);
		assert_int_equal(st.state, ONPU_QSTATE_KILLED);
		assert_int_equal(st.error, ONPU_ERR_KILLED);
		assert_int_equal(fake_slot_of(f, q), -1);
	}
	/* Twice is no error; then it can go, and the number is free again. */
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_KILL, 1), OK);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_DESTROY, 1), OK);
	assert_int_equal(queue_create(f, 1, 1), OK);
	assert_int_equal(queue_status(f, 1).busy_ns, 0);
	fake_ring(f, 1, 1);
	fake_settle(f);
	assert_true(fake_slot_of(f, 1) >= 0);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_DESTROY, 1), OK);
	assert_int_equal(fake_slot_of(f, 1), -1);
	finish(f);
}

static void send_kill(struct fake *f, uint16_t type, uint32_t queue,
		      uint32_t seq)
{
	struct onpu_msg m = { .type = type, .kind = ONPU_MSG_REQUEST,
			      .seq = seq };

	m.payload[0] = queue;
	fake_send(f, &m);
	fake_settle(f);
}

static uint32_t kill_answer(struct fake *f, uint16_t type, uint32_t seq)
{
	struct onpu_msg m;

	if (!fake_receive(f, &m) || m.type != type || m.seq != seq ||
	    m.kind != ONPU_MSG_RESPONSE)
		return ~0u;
	return m.status;
}

/* An engine that stops late, and one that never stops. */
static void test_kill_slow(void **state)
{
	struct fake *f = ready_card();
	struct onpu_msg m;
	uint64_t start;
	int slot;

	(void)state;
	assert_int_equal(ctx_create(f, 1), OK);
	assert_int_equal(queue_create(f, 1, 1), OK);
	assert_int_equal(queue_create(f, 2, 1), OK);
	fake_ring(f, 1, 8);
	fake_settle(f);
	slot = fake_slot_of(f, 1);
	f->slots[slot].ignores_kill = true;

	send_kill(f, ONPU_MSG_QUEUE_KILL, 1, 500);
	fake_run(f, 300);
	assert_false(fake_receive(f, &m));
	/* Others are served meanwhile; the queue itself is busy. */
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_KILL, 1),
			 ONPU_MSG_STATUS_BUSY);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_KILL, 2), OK);
	fake_slot_killed(f, slot);
	fake_settle(f);
	assert_int_equal(kill_answer(f, ONPU_MSG_QUEUE_KILL, 500), OK);
	assert_int_equal(queue_status(f, 1).state, ONPU_QSTATE_KILLED);
	assert_int_equal(f->slots[slot].state, ONPU_SLOT_FREE);

	assert_int_equal(queue_create(f, 3, 1), OK);
	fake_ring(f, 3, 8);
	fake_settle(f);
	slot = fake_slot_of(f, 3);
	f->slots[slot].ignores_kill = true;
	start = f->time;
	send_kill(f, ONPU_MSG_QUEUE_DESTROY, 3, 600);
	for (int ms = 0; ms < ONPU_KILL_TIMEOUT_MS - 1; ms++) {
		fake_run(f, 1);
		if (f->f2h_head != fake_shared(f)->f2h_tail)
			break;
	}
	assert_int_equal(kill_answer(f, ONPU_MSG_QUEUE_DESTROY, 600),
			 ONPU_MSG_STATUS_TIMEOUT);
	assert_true(f->time - start < ONPU_KILL_TIMEOUT_MS * 1000000ull);
	assert_true(f->time - start > ONPU_KILL_TIMEOUT_MS * 800000ull);
	/* It is still there, and goes as soon as the engine lets go. */
	assert_int_equal(ctx_destroy(f, 1), ONPU_MSG_STATUS_BUSY);
	fake_slot_killed(f, slot);
	fake_settle(f);
	assert_int_equal(queue_status(f, 3).state, ONPU_QSTATE_KILLED);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_DESTROY, 3), OK);
	for (uint32_t q = 1; q < 3; q++)
		assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_DESTROY, q), OK);
	assert_int_equal(ctx_destroy(f, 1), OK);
	finish(f);
}

/* A kill in progress frees the slot for a queue that waits. */
static void test_kill_serves_waiting(void **state)
{
	struct fake *f = ready_card();

	(void)state;
	assert_int_equal(ctx_create(f, 1), OK);
	for (uint32_t q = 0; q < 6; q++) {
		assert_int_equal(queue_create(f, q, 1), OK);
		fake_ring(f, q, 1);
		fake_settle(f);
	}
	assert_int_equal(fake_slot_of(f, 4), -1);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_KILL, 2), OK);
	assert_true(fake_slot_of(f, 4) >= 0);
	assert_int_equal(fake_slot_of(f, 5), -1);
	/* A waiting queue that is destroyed does not wait any more. */
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_DESTROY, 5), OK);
	assert_int_equal(queue_op(f, ONPU_MSG_QUEUE_DESTROY, 0), OK);
	assert_int_equal(fake_slot_of(f, 5), -1);
	finish(f);
}

/* --- full rings and nonsense --------------------------------------------------- */

static void test_full_ring(void **state)
{
	struct onpu_msg m = { .type = ONPU_MSG_PING, .kind = ONPU_MSG_REQUEST };
	struct fake *f = ready_card();
	uint32_t pings = 0, events = 0, next = 1000;
	int slot;

	(void)state;
	assert_int_equal(ctx_create(f, 1), OK);
	assert_int_equal(queue_create(f, 1, 1), OK);
	fake_ring(f, 1, 8);
	fake_settle(f);
	slot = fake_slot_of(f, 1);
	/* The host reads nothing: answers fill the ring and no more come. */
	for (int i = 0; i < 2 * ONPU_MBOX_ENTRIES; i++) {
		if (f->h2f_tail - fake_shared(f)->h2f_head == ONPU_MBOX_ENTRIES)
			break;
		m.seq = next++;
		fake_send(f, &m);
		fake_settle(f);
	}
	assert_int_equal(fake_shared(f)->f2h_tail - f->f2h_head,
			 ONPU_MBOX_ENTRIES);
	/* Now an error: its event must not be lost either. */
	fake_slot_fail(f, slot, ONPU_ERR_OPCODE);
	fake_run(f, 200);
	for (int i = 0; i < 40; i++) {
		while (fake_receive(f, &m)) {
			if (m.kind == ONPU_MSG_EVENT)
				events++;
			else
				assert_int_equal(m.seq, 1000 + pings++);
		}
		/* No doorbell: the heartbeat makes it look again. */
		fake_run(f, 60);
	}
	assert_int_equal(events, 1);
	assert_int_equal(pings, next - 1000);
	finish(f);
}

static void test_bad_indices(void **state)
{
	struct fake *f = ready_card();
	struct onpu_mbox_shared *s = fake_shared(f);
	struct onpu_msg m;

	(void)state;
	/* A tail that is more than a ring ahead: everything is skipped. */
	s->h2f_tail = f->h2f_tail += 1000;
	fake_run(f, 60);
	assert_int_equal(s->h2f_head, f->h2f_tail);
	assert_int_equal(fake_request(f, ONPU_MSG_PING, NULL, 0, NULL), OK);
	/* A head that was never reached counts as a full ring. */
	s->f2h_head += 5000;
	m = (struct onpu_msg) { .type = ONPU_MSG_PING,
				.kind = ONPU_MSG_REQUEST };
	fake_send(f, &m);
	fake_run(f, 200);
	assert_int_equal(s->f2h_tail, f->f2h_head);
	s->f2h_head = f->f2h_head;
	fake_run(f, 200);
	assert_true(fake_receive(f, &m));
	/* What the firmware only writes it does not read. */
	s->h2f_head = 0xdeadbeef;
	s->f2h_tail = 0xdeadbeef;
	s->h2f_offset = s->f2h_offset = s->log_head = s->magic = 0;
	fake_run(f, 100);
	s->h2f_offset = ONPU_FW_REGION_STAGE_SIZE + 0x1000;
	s->f2h_offset = ONPU_FW_REGION_STAGE_SIZE + 0x2000;
	assert_int_equal(fake_request(f, ONPU_MSG_PING, NULL, 0, NULL), OK);
	finish(f);
}

/* Random messages: never a crash, always exactly one answer. */
static void test_random_messages(void **state)
{
	struct fake *f = ready_card();
	uint32_t x = 99;

	(void)state;
	for (int i = 0; i < 3000; i++) {
		struct onpu_msg m, reply;
		uint32_t *w = (uint32_t *)&m;
		int answers = 0;

		memset(&m, 0, sizeof(m));
		x = x * 1664525 + 1013904223;
		m.type = (uint16_t)(x >> 16) % 18;
		m.kind = ONPU_MSG_REQUEST;
		m.seq = (uint32_t)i;
		for (int k = 0; k < 12; k++) {
			x = x * 1664525 + 1013904223;
			if (x >> 30 == 0) /* mostly small numbers */
				m.payload[k] = x >> 8 & 15;
			else if (x >> 28 == 15)
				m.payload[k] = x * 2654435761u;
		}
		if (x % 50 == 0)
			w[(x >> 8) % 16] ^= 1u << (x >> 16) % 32;
		fake_send(f, &m);
		fake_settle(f);
		while (fake_receive(f, &reply)) {
			if (reply.kind == ONPU_MSG_RESPONSE) {
				answers++;
				assert_int_equal(reply.seq, m.seq);
				assert_int_equal(reply.type, m.type);
			}
		}
		assert_int_equal(answers, 1);
		if (x % 7 == 0)
			fake_ring(f, (x >> 10) % FAKE_QUEUES, x >> 20);
	}
	finish(f);
}

/* A host that scribbles over everything it shares while the firmware works. */
static void test_chaos(void **state)
{
	struct fake *f = ready_card();
	struct onpu_mbox_shared *s = fake_shared(f), before = *s;
	uint8_t *shared = f->window + ONPU_FW_REGION_STAGE_SIZE;
	uint32_t x = 4711, heartbeat;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		uint32_t tail = s->f2h_tail;

		heartbeat = f->heartbeat;
		for (int i = 0; i < 20; i++) {
			x = x * 1664525 + 1013904223;
			shared[(x >> 8) % 0x3000] = (uint8_t)(x >> 3);
		}
		/* Mostly believable indices, so that messages are read. */
		s->f2h_tail = tail;
		s->h2f_tail = s->h2f_head + (x >> 4) % 70;
		s->f2h_head = s->f2h_tail - (x >> 12) % 70;
		f->irq_pending |= ONPU_MCU_IRQ_MBOX;
		if (x % 5 == 0)
			fake_ring(f, (x >> 9) % FAKE_QUEUES, x >> 16);
		fake_run(f, 20);
		if (round % 10 == 9)
			fake_run(f, 100);
		assert_false(f->fatal);
		if (round % 10 == 9)
			assert_int_not_equal(f->heartbeat, heartbeat);
	}
	assert_int_equal(f->violations, 0);
	/* Put right again, it serves as before. */
	before.f2h_tail = s->f2h_tail;
	*s = before;
	s->h2f_tail = f->h2f_tail = s->h2f_tail + 0x40000000; /* skipped */
	for (int i = 0; i < 50; i++) {
		s->f2h_head = f->f2h_head = s->f2h_tail;
		fake_run(f, 60);
	}
	assert_int_equal(s->h2f_head, f->h2f_tail);
	assert_int_equal(fake_request(f, ONPU_MSG_PING, NULL, 0, NULL), OK);
	finish(f);
}

/* --- life signs ------------------------------------------------------------------ */

static void test_heartbeat(void **state)
{
	struct fake *f = ready_card();
	uint64_t insns;

	(void)state;
	for (int i = 0; i < 20; i++) {
		uint32_t before = f->heartbeat;

		fake_run(f, 100);
		assert_int_not_equal(f->heartbeat, before);
	}
	/* An idle controller sleeps: a second costs next to nothing. */
	insns = f->insns;
	fake_run(f, 1000);
	assert_true(f->insns - insns < 20000);
	finish(f);
}

static void test_log(void **state)
{
	struct onpu_msg_log_level level = { .level = 4 };
	struct fake *f = ready_card();
	char *text = fake_log(f);
	uint32_t head;

	(void)state;
	assert_non_null(strstr(text, "ONPU firmware 0.1.0\n"));
	assert_non_null(strstr(text, "64 queues, 4 slots, 16 contexts"));
	free(text);
	assert_int_equal(fake_request(f, ONPU_MSG_LOG_LEVEL, &level,
				      sizeof(level), NULL),
			 ONPU_MSG_STATUS_INVALID);
	level.level = 0;
	level.reserved[3] = 1;
	assert_int_equal(fake_request(f, ONPU_MSG_LOG_LEVEL, &level,
				      sizeof(level), NULL),
			 ONPU_MSG_STATUS_INVALID);
	level.reserved[3] = 0;
	assert_int_equal(fake_request(f, ONPU_MSG_LOG_LEVEL, &level,
				      sizeof(level), NULL), OK);
	head = fake_shared(f)->log_head;
	assert_int_equal(ctx_create(f, 99), ONPU_MSG_STATUS_INVALID);
	assert_int_equal(fake_shared(f)->log_head, head); /* errors only */
	level.level = 3;
	assert_int_equal(fake_request(f, ONPU_MSG_LOG_LEVEL, &level,
				      sizeof(level), NULL), OK);
	/* Far more than the ring holds: it wraps and stays text. */
	for (int i = 0; i < 1500; i++) {
		assert_int_equal(ctx_create(f, 1), OK);
		assert_int_equal(ctx_destroy(f, 1), OK);
	}
	assert_true(fake_shared(f)->log_head > fake_shared(f)->log_size);
	text = fake_log(f);
	assert_int_equal(strlen(text), fake_shared(f)->log_size);
	assert_non_null(strstr(text, " D context 1: root 101000\n"));
	for (char *c = text; *c; c++)
		assert_true(*c == '\n' || (*c >= ' ' && *c < 127));
	free(text);
	finish(f);
}

/* Code that is broken, trap handler included: it stops, whatever happens. */
static void test_broken_code(void **state)
{
	struct fake *f = ready_card();
	uint32_t heartbeat;

	(void)state;
	memset(f->sram, 0, image_hdr(fw_image)->sections[0].file_size);
	heartbeat = f->heartbeat;
	fake_run(f, 500);
	assert_int_equal(f->heartbeat, heartbeat);
	assert_int_equal(onpu_rv32_run(f->hart, 1000, NULL),
			 ONPU_RV32_LOCKUP);
	fake_destroy(f);
}

/* A trap leaves a record. */
static void test_crash_record(void **state)
{
	struct fake *f = ready_card();
	struct onpu_rv32_state s;
	struct onpu_fw_crash *c;

	(void)state;
	onpu_rv32_get_state(f->hart, &s);
	s.pc = 0x30000000;	/* a wild jump */
	s.x[5] = 0x55555555;
	s.x[31] = 0x31313131;
	s.wfi = 0;
	onpu_rv32_set_state(f->hart, &s);
	f->host_irqs = 0;
	fake_run(f, 10);
	assert_true(f->fatal);
	assert_int_equal(f->boot_status, ONPU_BOOT_STAGE_CRASHED |
			 ONPU_RV32_EXC_FETCH_FAULT << 16);
	c = (struct onpu_fw_crash *)(f->window + fake_shared(f)->crash_offset);
	assert_int_equal(c->valid, ONPU_FW_CRASH_MAGIC);
	assert_int_equal(c->mcause, ONPU_RV32_EXC_FETCH_FAULT);
	assert_int_equal(c->mepc, 0x30000000);
	assert_int_equal(c->mtval, 0x30000000);
	assert_int_equal(c->regs[0], 0);
	assert_int_equal(c->regs[2], s.x[2]);
	assert_int_equal(c->regs[5], 0x55555555);
	assert_int_equal(c->regs[31], 0x31313131);
	assert_true(c->time_ns > 0);
	fake_destroy(f);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hello),
		cmocka_unit_test(test_ping_and_headers),
		cmocka_unit_test(test_contexts),
		cmocka_unit_test(test_queue_create),
		cmocka_unit_test(test_queue_lookup),
		cmocka_unit_test(test_bind_on_doorbell),
		cmocka_unit_test(test_more_queues_than_slots),
		cmocka_unit_test(test_doorbell_while_evicting),
		cmocka_unit_test(test_queue_error),
		cmocka_unit_test(test_kill),
		cmocka_unit_test(test_kill_slow),
		cmocka_unit_test(test_kill_serves_waiting),
		cmocka_unit_test(test_full_ring),
		cmocka_unit_test(test_bad_indices),
		cmocka_unit_test(test_random_messages),
		cmocka_unit_test(test_chaos),
		cmocka_unit_test(test_heartbeat),
		cmocka_unit_test(test_log),
		cmocka_unit_test(test_broken_code),
		cmocka_unit_test(test_crash_record),
	};

	fwtest_init(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

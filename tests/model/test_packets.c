// SPDX-License-Identifier: MIT
/*
 * Rings and packets: order, wrap, overrun; each packet, good and malformed;
 * CALL's limits and rights; WAIT; kill, unbind, events. Deterministic mode.
 */
#include <string.h>

#include "card_fixture.h"

#define VA	0x10000000ull
#define ORDER	4u

struct env {
	struct fx *fx;
	struct fx_queue q;
	uint8_t *buf;		/* 64 KiB at VA */
};

static void start(struct env *e, uint32_t flags)
{
	e->fx = fx_create(NULL);
	fx_context(e->fx, 1);
	e->buf = fx_buffer(e->fx, 1, VA, 65536);
	fx_queue_init(&e->q, e->fx, 0, 3, 1, ORDER, flags);
}

static void finish(struct env *e)
{
	assert_int_equal(e->fx->guest_errors, 0);
	fx_destroy(e->fx);
}

static void submit(struct env *e, struct onpu_packet p)
{
	fx_submit(&e->q, &p);
}

/* Brings a stopped queue back to life at its producer index. */
static void revive(struct env *e)
{
	fx_unbind(&e->q);
	fx_slot_wr(e->fx, 0, ONPU_SLOT_CONSUMER, e->q.producer);
	fx_slot_wr(e->fx, 0, ONPU_SLOT_CMD, ONPU_SLOT_BIND);
	assert_int_equal(fx_settle(&e->q), ONPU_SLOT_IDLE);
}

static void expect_packet_error(struct env *e, struct onpu_packet p, uint32_t error)
{
	uint32_t at = e->q.producer;

	submit(e, p);
	fx_expect_error(&e->q, error);
	assert_int_equal(fx_slot(e->fx, 0, ONPU_SLOT_OPCODE), p.opcode);
	assert_int_equal(fx_slot(e->fx, 0, ONPU_SLOT_CONSUMER), at);
	revive(e);
}

/* --- rings ---------------------------------------------------------------- */

static void nop_and_signal(void **state)
{
	struct env e;

	(void)state;
	start(&e, 0);
	struct onpu_packet nop = pk_nop(), sig = pk_signal(VA + 8, 0x1234567890abcdef, true);
	struct onpu_packet quiet = pk_signal(VA + 16, 77, false), bar = pk_barrier();

	fx_push(&e.q, &nop);
	fx_push(&e.q, &sig);
	fx_push(&e.q, &bar);
	fx_push(&e.q, &quiet);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	assert_int_equal(fx_load(e.buf + 8), 0);
	fx_ring(&e.q);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	assert_true(fx_load(e.buf + 8) == 0x1234567890abcdef);
	assert_int_equal(fx_load(e.buf + 16), 77);
	assert_int_equal(fx_ctl(&e.q), 4);
	assert_int_equal(fx_slot(e.fx, 0, ONPU_SLOT_CONSUMER), 4);
	assert_int_equal(e.fx->irqs[1], 1);
	assert_int_equal(fx_rd64(e.fx, ONPU_REG_CNT_PACKETS), 4);
	assert_int_equal(fx_rd64(e.fx, ONPU_REG_CNT_IRQS), 1);
	assert_true(fx_rd64(e.fx, ONPU_REG_CNT_BUSY_NS) > 0);
	assert_true(fx_rd64(e.fx, ONPU_REG_CNT_TLB_HITS) > 0);
	finish(&e);
}

static void ring_wraps_in_order(void **state)
{
	struct env e;

	(void)state;
	start(&e, 0);
	for (unsigned int round = 0; round < 20; round++) {
		for (unsigned int i = 0; i < 13; i++) {
			/* Each packet waits for the one before: out of order would hang. */
			struct onpu_packet p = pk_signal(VA, round * 13 + i + 1, false);

			if (i & 1)
				p = pk_wait(VA, round * 13 + i, ONPU_WAIT_EQ);
			fx_push(&e.q, &p);
		}
		fx_ring(&e.q);
		assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
		assert_int_equal(fx_load(e.buf), round * 13 + 13);
	}
	/* Across the wrap of the 32-bit index. */
	fx_unbind(&e.q);
	e.q.producer = 0xfffffff8;
	fx_mcu_wr(e.fx, ONPU_DB_VALUE(3), e.q.producer);
	fx_slot_wr(e.fx, 0, ONPU_SLOT_CONSUMER, e.q.producer);
	fx_slot_wr(e.fx, 0, ONPU_SLOT_CMD, ONPU_SLOT_BIND);
	for (unsigned int i = 0; i < 16; i++)
		submit(&e, pk_signal(VA, 1000 + i, false));
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	assert_int_equal(fx_load(e.buf), 1015);
	assert_int_equal(fx_ctl(&e.q), 8);
	/* The count of 64 bits goes on, on whatever slot, and with what is written there. */
	assert_true(fx_load(fx_vptr(e.fx, e.q.ctl_off + 8)) == 0x100000008);
	assert_int_equal(fx_slot(e.fx, 0, ONPU_SLOT_CONSUMER_HI), 1);
	fx_unbind(&e.q);
	fx_slot_wr(e.fx, 0, ONPU_SLOT_CONSUMER_HI, 0xfffffff0);
	fx_slot_wr(e.fx, 0, ONPU_SLOT_CMD, ONPU_SLOT_BIND);
	submit(&e, pk_nop());
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	assert_true(fx_load(fx_vptr(e.fx, e.q.ctl_off + 8)) == 0xfffffff000000009);
	assert_int_equal(fx_load(fx_vptr(e.fx, e.q.ctl_off + 16)), 0);
	finish(&e);
}

static void full_ring_and_overrun(void **state)
{
	struct env e;

	(void)state;
	start(&e, 0);
	struct onpu_packet nop = pk_nop();

	for (unsigned int i = 0; i < 16; i++)
		fx_push(&e.q, &nop);
	fx_ring(&e.q);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	assert_int_equal(fx_ctl(&e.q), 16);
	e.q.producer += 17;
	fx_ring(&e.q);
	fx_expect_error(&e.q, ONPU_ERR_RING);
	assert_int_equal(fx_slot(e.fx, 0, ONPU_SLOT_CONSUMER), 16);
	assert_int_equal(fx_slot(e.fx, 0, ONPU_SLOT_OPCODE), 0);
	revive(&e);
	/* An index that runs backwards is the same mistake. */
	e.q.producer -= 3;
	fx_ring(&e.q);
	fx_expect_error(&e.q, ONPU_ERR_RING);
	finish(&e);
}

static void bind_sees_earlier_doorbell(void **state)
{
	struct env e;

	(void)state;
	start(&e, 0);
	fx_unbind(&e.q);
	submit(&e, pk_signal(VA, 5, false));
	assert_int_equal(fx_mcu(e.fx, ONPU_DOORBELL_PENDING(3)), 1u << 3);
	assert_int_equal(fx_mcu(e.fx, ONPU_SYS_IRQ_PENDING), ONPU_MCU_IRQ_DOORBELL);
	fx_mcu_wr(e.fx, ONPU_DOORBELL_PENDING(3), 1u << 3);
	assert_int_equal(fx_mcu(e.fx, ONPU_DOORBELL_PENDING(3)), 0);
	fx_slot_wr(e.fx, 0, ONPU_SLOT_CMD, ONPU_SLOT_BIND);
	assert_int_equal(fx_slot(e.fx, 0, ONPU_SLOT_STATE), ONPU_SLOT_RUNNING);
	/* Work is waiting: unbind has no effect. */
	fx_slot_wr(e.fx, 0, ONPU_SLOT_CMD, ONPU_SLOT_UNBIND);
	assert_int_equal(fx_slot(e.fx, 0, ONPU_SLOT_STATE), ONPU_SLOT_RUNNING);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	assert_int_equal(fx_load(e.buf), 5);
	/* An idle slot with a doorbell that nobody has looked at yet stays bound, too. */
	submit(&e, pk_signal(VA, 6, false));
	fx_slot_wr(e.fx, 0, ONPU_SLOT_CMD, ONPU_SLOT_UNBIND);
	assert_int_not_equal(fx_slot(e.fx, 0, ONPU_SLOT_STATE), ONPU_SLOT_FREE);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	assert_int_equal(fx_load(e.buf), 6);
	finish(&e);
}

/* --- slots ---------------------------------------------------------------- */

static void refuse_bind(struct env *e, unsigned int reg, uint32_t bad, uint32_t good)
{
	fx_slot_wr(e->fx, 0, reg, bad);
	fx_slot_wr(e->fx, 0, ONPU_SLOT_CMD, ONPU_SLOT_BIND);
	assert_int_equal(fx_slot(e->fx, 0, ONPU_SLOT_STATE), ONPU_SLOT_ERRORED);
	assert_int_equal(fx_slot(e->fx, 0, ONPU_SLOT_ERROR), ONPU_ERR_INTERNAL);
	/* Configuration is read-only now. */
	fx_slot_wr(e->fx, 0, reg, good);
	assert_int_equal(fx_slot(e->fx, 0, reg), bad);
	fx_unbind(&e->q);
	fx_slot_wr(e->fx, 0, reg, good);
}

static void invalid_configurations(void **state)
{
	struct env e;

	(void)state;
	start(&e, 0);
	fx_unbind(&e.q);
	refuse_bind(&e, ONPU_SLOT_QUEUE, 64, 3);
	refuse_bind(&e, ONPU_SLOT_QUEUE, 0xffffffff, 3);
	refuse_bind(&e, ONPU_SLOT_ASID, 8, 1);
	refuse_bind(&e, ONPU_SLOT_VECTOR, 8, 1);
	refuse_bind(&e, ONPU_SLOT_RING_ORDER, 3, ORDER);
	refuse_bind(&e, ONPU_SLOT_RING_ORDER, 17, ORDER);
	refuse_bind(&e, ONPU_SLOT_RING_ORDER, 32, ORDER);
	refuse_bind(&e, ONPU_SLOT_FLAGS, 2, 0);
	refuse_bind(&e, ONPU_SLOT_RING_LO, 32, (uint32_t)e.q.ring_va);
	refuse_bind(&e, ONPU_SLOT_CTL_LO, 4, 1u << 30);
	fx_slot_wr(e.fx, 0, ONPU_SLOT_CMD, ONPU_SLOT_BIND);
	assert_int_equal(fx_slot(e.fx, 0, ONPU_SLOT_STATE), ONPU_SLOT_IDLE);
	/* A second slot cannot have the same queue. */
	fx_slot_wr(e.fx, 1, ONPU_SLOT_QUEUE, 3);
	fx_slot_wr(e.fx, 1, ONPU_SLOT_ASID, 1);
	fx_slot_wr(e.fx, 1, ONPU_SLOT_RING_ORDER, ORDER);
	fx_slot_wr(e.fx, 1, ONPU_SLOT_CMD, ONPU_SLOT_BIND);
	assert_int_equal(fx_slot(e.fx, 1, ONPU_SLOT_STATE), ONPU_SLOT_ERRORED);
	fx_slot_wr(e.fx, 1, ONPU_SLOT_CMD, ONPU_SLOT_UNBIND);
	submit(&e, pk_signal(VA, 9, false));
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	assert_int_equal(fx_load(e.buf), 9);
	finish(&e);
}

static void events(void **state)
{
	struct env e;

	(void)state;
	start(&e, 0);
	submit(&e, pk_nop());
	fx_settle(&e.q);
	assert_int_equal(fx_slot(e.fx, 0, ONPU_SLOT_EVENTS), ONPU_SLOT_EV_IDLE);
	assert_int_equal(fx_mcu(e.fx, ONPU_SLOTS_EVENTS(0)), 0);
	assert_int_equal(fx_mcu(e.fx, ONPU_SYS_IRQ_PENDING), 0);
	/* Enabling tells of an event that has happened. */
	fx_slot_wr(e.fx, 0, ONPU_SLOT_EVENT_ENABLE, ONPU_SLOT_EV_IDLE | ONPU_SLOT_EV_ERROR);
	assert_int_equal(fx_mcu(e.fx, ONPU_SLOTS_EVENTS(0)), 1);
	assert_int_equal(fx_mcu(e.fx, ONPU_SYS_IRQ_PENDING), ONPU_MCU_IRQ_SLOT);
	fx_mcu_wr(e.fx, ONPU_SYS_IRQ_ACK, ~0u);
	fx_slot_wr(e.fx, 0, ONPU_SLOT_EVENTS, ONPU_SLOT_EV_IDLE);
	assert_int_equal(fx_mcu(e.fx, ONPU_SLOTS_EVENTS(0)), 0);
	submit(&e, (struct onpu_packet){ .opcode = 99 });
	fx_expect_error(&e.q, ONPU_ERR_OPCODE);
	assert_int_equal(fx_slot(e.fx, 0, ONPU_SLOT_EVENTS), ONPU_SLOT_EV_ERROR);
	assert_int_equal(fx_mcu(e.fx, ONPU_SYS_IRQ_PENDING), ONPU_MCU_IRQ_SLOT);
	/* A doorbell does not bring it back. */
	submit(&e, pk_signal(VA, 1, false));
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_ERRORED);
	assert_int_equal(fx_load(e.buf), 0);
	fx_unbind(&e.q);
	assert_int_equal(fx_slot(e.fx, 0, ONPU_SLOT_EVENT_ENABLE), 0);
	finish(&e);
}

static void kill_everywhere(void **state)
{
	struct env e;

	(void)state;
	start(&e, 0);
	/* Idle. */
	fx_kill(&e.q);
	assert_int_equal(fx_slot(e.fx, 0, ONPU_SLOT_ERROR), ONPU_ERR_KILLED);
	assert_true(fx_slot(e.fx, 0, ONPU_SLOT_EVENTS) & ONPU_SLOT_EV_KILLED);
	revive(&e);
	/* With work that has not started. */
	submit(&e, pk_signal(VA, 1, false));
	fx_kill(&e.q);
	assert_int_equal(fx_load(e.buf), 0);
	revive(&e);
	/* At a WAIT. */
	submit(&e, pk_wait(VA, 1, ONPU_WAIT_EQ));
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_WAITING);
	fx_kill(&e.q);
	revive(&e);
	/* Killing what is free or dead does nothing. */
	fx_kill(&e.q);
	fx_slot_wr(e.fx, 0, ONPU_SLOT_CMD, ONPU_SLOT_KILL);
	assert_int_equal(fx_slot(e.fx, 0, ONPU_SLOT_STATE), ONPU_SLOT_KILLED);
	fx_unbind(&e.q);
	fx_slot_wr(e.fx, 0, ONPU_SLOT_CMD, ONPU_SLOT_KILL);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_FREE);
	assert_int_equal(fx_rd(e.fx, ONPU_REG_STATUS) & ONPU_STATUS_BUSY, 0);
	finish(&e);
}

/* --- malformed packets ---------------------------------------------------- */

static void reserved_fields(void **state)
{
	const struct onpu_packet good[] = {
		pk_nop(), pk_barrier(), pk_signal(VA, 1, true), pk_timestamp(VA + 8),
		pk_wait(VA, 1, ONPU_WAIT_EQ), pk_copy(VA + 4096, VA, 64), pk_fill(VA, 64, 1),
		pk_call(VA + 8192, 1), pk_matmul(VA + 1024), pk_copy_2d(VA + 4096, 64, VA, 64, 8, 3),
	};
	/* Bytes that each packet uses, beyond the opcode. */
	const unsigned int used[][4] = {
		{ 8, 8 }, { 8, 8 }, { 8, 24 }, { 8, 16 }, { 8, 28 }, { 8, 32 }, { 8, 28 },
		{ 8, 20 }, { 8, 16 }, { 8, 52 },
	};
	struct env e;

	(void)state;
	start(&e, 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(good); i++) {
		for (unsigned int byte = 1; byte < ONPU_PACKET_SIZE; byte++) {
			struct onpu_packet p = good[i];
			bool flag = byte == 1;

			if (byte >= used[i][0] && byte < used[i][1])
				continue;
			/* SIGNAL has flag bit 0; all other bits are unknown to everybody. */
			((uint8_t *)&p)[byte] = flag && p.opcode == ONPU_OP_SIGNAL ? 0x81 : 0x80;
			expect_packet_error(&e, p, ONPU_ERR_PACKET);
			if (flag && p.opcode != ONPU_OP_SIGNAL) {
				p = good[i];
				p.flags = ONPU_PKT_IRQ;
				expect_packet_error(&e, p, ONPU_ERR_PACKET);
			}
		}
	}
	finish(&e);
}

static void bad_opcodes(void **state)
{
	struct env e;

	(void)state;
	start(&e, 0);
	expect_packet_error(&e, (struct onpu_packet){ .opcode = 0 }, ONPU_ERR_OPCODE);
	for (unsigned int op = ONPU_OP_COPY_2D + 1; op < 256; op++)
		expect_packet_error(&e, (struct onpu_packet){ .opcode = (uint8_t)op },
				    ONPU_ERR_OPCODE);
	finish(&e);
}

static void bad_fields(void **state)
{
	struct env e;

	(void)state;
	start(&e, 0);
	expect_packet_error(&e, pk_signal(VA + 4, 1, false), ONPU_ERR_PACKET);
	expect_packet_error(&e, pk_timestamp(VA + 1), ONPU_ERR_PACKET);
	expect_packet_error(&e, pk_wait(VA + 2, 0, ONPU_WAIT_GE), ONPU_ERR_PACKET);
	expect_packet_error(&e, pk_wait(VA, 0, 6), ONPU_ERR_PACKET);
	expect_packet_error(&e, pk_wait(VA, 0, 0xffffffff), ONPU_ERR_PACKET);
	expect_packet_error(&e, pk_fill(VA + 2, 4, 0), ONPU_ERR_PACKET);
	expect_packet_error(&e, pk_fill(VA, 6, 0), ONPU_ERR_PACKET);
	expect_packet_error(&e, pk_call(VA + 8, 1), ONPU_ERR_PACKET);
	expect_packet_error(&e, pk_call(VA, 0), ONPU_ERR_CALL);
	expect_packet_error(&e, pk_call(VA, ONPU_CALL_MAX + 1), ONPU_ERR_CALL);
	expect_packet_error(&e, pk_matmul(VA + 32), ONPU_ERR_PACKET);
	finish(&e);
}

/* --- data packets --------------------------------------------------------- */

static void copy_and_fill(void **state)
{
	struct env e;

	(void)state;
	start(&e, 0);
	for (unsigned int i = 0; i < 16384; i++)
		e.buf[i] = (uint8_t)(i * 7 + (i >> 8));
	/* Odd addresses and sizes, across pages. */
	submit(&e, pk_copy(VA + 32768 + 5, VA + 3, 9001));
	submit(&e, pk_copy(VA + 60000, VA, 0));
	submit(&e, pk_fill(VA + 50000, 5004, 0xdeadbeef));
	submit(&e, pk_fill(VA + 57344, 8, 0x11111111));
	submit(&e, pk_fill(VA + 60000, 0, 1));
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	assert_memory_equal(e.buf + 32768 + 5, e.buf + 3, 9001);
	assert_int_equal(e.buf[32768 + 4], 0);
	assert_int_equal(e.buf[32768 + 5 + 9001], 0);
	for (unsigned int i = 0; i < 5004; i += 4) {
		uint32_t v;

		memcpy(&v, e.buf + 50000 + i, 4);
		assert_int_equal(v, 0xdeadbeef);
	}
	assert_int_equal(e.buf[49999], 0);
	assert_int_equal(e.buf[55004], 0);
	assert_int_equal(fx_load(e.buf + 57344), 0x1111111111111111);
	assert_int_equal(e.buf[57352], 0);
	assert_int_equal(fx_rd64(e.fx, ONPU_REG_CNT_COPY_BYTES), 9001 + 5004 + 8);
	/* Ranges that wrap or leave the address space. */
	submit(&e, pk_copy(VA, 0xfffffffffffff000, 0x2000));
	fx_expect_fault(&e.q, ONPU_FAULT_VA_RANGE, ONPU_FAULT_ACCESS_READ, 3, 0xfffffffffffff000);
	revive(&e);
	submit(&e, pk_copy(VA, VA + 64, UINT64_MAX));
	fx_expect_fault(&e.q, ONPU_FAULT_VA_RANGE, ONPU_FAULT_ACCESS_READ, 3, VA + 64);
	revive(&e);
	submit(&e, pk_fill(0xfffffffff000, 0x2000, 0));
	fx_expect_fault(&e.q, ONPU_FAULT_VA_RANGE, ONPU_FAULT_ACCESS_WRITE, 3, 0xfffffffff000);
	finish(&e);
}

static void bulk(void **state)
{
	struct fx_opts opts = { .vram_size = 128ull << 20 };
	struct fx_queue q;
	uint64_t size = 20u << 20, va = 1ull << 32;
	struct fx *fx;
	uint32_t *src;
	uint8_t *dst;

	(void)state;
	fx = fx_create(&opts);
	fx_context(fx, 1);
	src = fx_buffer(fx, 1, va, size);
	dst = fx_buffer(fx, 1, 2 * va, size);
	for (uint64_t i = 0; i < size / 4; i++)
		src[i] = (uint32_t)(i * 2654435761u);
	fx_queue_init(&q, fx, 0, 0, 1, ORDER, 0);
	struct onpu_packet p = pk_copy(2 * va + 1, va, size - 1);

	fx_submit(&q, &p);
	assert_int_equal(fx_settle(&q), ONPU_SLOT_IDLE);
	assert_memory_equal(dst + 1, src, size - 1);

	p = pk_fill(2 * va + 4, size - 8, 0x01020304);
	fx_submit(&q, &p);
	assert_int_equal(fx_settle(&q), ONPU_SLOT_IDLE);
	for (uint64_t i = 1; i < size / 4 - 1; i++)
		assert_int_equal(((uint32_t *)(void *)dst)[i], 0x01020304);
	assert_memory_equal(dst + 1, src, 3);
	assert_memory_equal(dst + size - 4, (uint8_t *)src + size - 5, 4);
	fx_destroy(fx);
}

static void timestamps(void **state)
{
	uint64_t before, a, b;
	struct env e;

	(void)state;
	start(&e, 0);
	before = fx_rd64(e.fx, ONPU_REG_TIME);
	submit(&e, pk_timestamp(VA));
	submit(&e, pk_timestamp(VA + 8));
	fx_settle(&e.q);
	a = fx_load(e.buf);
	b = fx_load(e.buf + 8);
	assert_true(before < a && a < b && b < fx_rd64(e.fx, ONPU_REG_TIME));
	finish(&e);
}

static void wait_ops(void **state)
{
	static const struct {
		uint32_t op;
		uint64_t value, operand;
		bool holds;
	} cases[] = {
		{ ONPU_WAIT_GE, 5, 5, true }, { ONPU_WAIT_GE, 6, 5, true },
		{ ONPU_WAIT_GE, 4, 5, false }, { ONPU_WAIT_EQ, 5, 5, true },
		{ ONPU_WAIT_EQ, 6, 5, false }, { ONPU_WAIT_NE, 6, 5, true },
		{ ONPU_WAIT_NE, 5, 5, false }, { ONPU_WAIT_GT, 6, 5, true },
		{ ONPU_WAIT_GT, 5, 5, false }, { ONPU_WAIT_LE, 5, 5, true },
		{ ONPU_WAIT_LE, 4, 5, true }, { ONPU_WAIT_LE, 6, 5, false },
		{ ONPU_WAIT_LT, 4, 5, true }, { ONPU_WAIT_LT, 5, 5, false },
		/* Unsigned, all 64 bits. */
		{ ONPU_WAIT_GT, UINT64_MAX, 1, true }, { ONPU_WAIT_LT, UINT64_MAX, 1, false },
		{ ONPU_WAIT_EQ, 1ull << 32 | 5, 5, false },
	};
	struct env e;

	(void)state;
	start(&e, 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		fx_store(e.buf, cases[i].value);
		submit(&e, pk_wait(VA, cases[i].operand, cases[i].op));
		assert_int_equal(fx_settle(&e.q), cases[i].holds ? ONPU_SLOT_IDLE :
				 ONPU_SLOT_WAITING);
		if (cases[i].holds)
			continue;
		fx_kill(&e.q);
		revive(&e);
	}
	finish(&e);
}

static void wait_for_other_queue(void **state)
{
	struct fx_queue other;
	struct env e;

	(void)state;
	start(&e, 0);
	fx_queue_init(&other, e.fx, 1, 9, 1, ORDER, 0);
	submit(&e, pk_wait(VA, 3, ONPU_WAIT_GE));
	submit(&e, pk_signal(VA + 8, 1, true));
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_WAITING);
	assert_int_equal(fx_slot(e.fx, 0, ONPU_SLOT_CONSUMER), 0);
	struct onpu_packet p = pk_signal(VA, 2, false);

	fx_submit(&other, &p);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_WAITING);
	p = pk_signal(VA, 3, false);
	fx_submit(&other, &p);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	assert_int_equal(fx_load(e.buf + 8), 1);
	/* The host's own store ends a WAIT as well. */
	submit(&e, pk_wait(VA, 10, ONPU_WAIT_EQ));
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_WAITING);
	fx_store(e.buf, 10);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	finish(&e);
}

/* --- CALL ----------------------------------------------------------------- */

static void put(struct env *e, unsigned int index, struct onpu_packet p)
{
	memcpy(e->buf + 8192 + index * sizeof(p), &p, sizeof(p));
}

static void call(void **state)
{
	struct env e;

	(void)state;
	start(&e, ONPU_QUEUE_PRIVILEGED);
	for (unsigned int i = 0; i < 100; i++)
		put(&e, i, pk_signal(VA + 8 * i, i + 1, i == 50));
	submit(&e, pk_call(VA + 8192, 100));
	submit(&e, pk_signal(VA + 4096, 42, true));
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	for (unsigned int i = 0; i < 100; i++)
		assert_int_equal(fx_load(e.buf + 8 * i), i + 1);
	assert_int_equal(fx_load(e.buf + 4096), 42);
	assert_int_equal(fx_ctl(&e.q), 2);
	assert_int_equal(e.fx->irqs[1], 2);
	assert_int_equal(fx_rd64(e.fx, ONPU_REG_CNT_PACKETS), 102);
	/* A WAIT inside. */
	put(&e, 0, pk_wait(VA, 7, ONPU_WAIT_EQ));
	put(&e, 1, pk_signal(VA + 8, 1234, false));
	submit(&e, pk_call(VA + 8192, 2));
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_WAITING);
	fx_store(e.buf, 7);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	assert_int_equal(fx_load(e.buf + 8), 1234);
	finish(&e);
}

static void call_nested(void **state)
{
	struct env e;

	(void)state;
	start(&e, 0);
	put(&e, 0, pk_signal(VA, 1, false));
	put(&e, 1, pk_call(VA + 8192, 1));
	submit(&e, pk_call(VA + 8192, 2));
	fx_expect_error(&e.q, ONPU_ERR_CALL);
	assert_int_equal(fx_load(e.buf), 1);
	assert_int_equal(fx_slot(e.fx, 0, ONPU_SLOT_CONSUMER), 0);
	assert_int_equal(fx_slot(e.fx, 0, ONPU_SLOT_OPCODE), ONPU_OP_CALL);
	finish(&e);
}

static void call_privilege(void **state)
{
	struct env e;
	uint64_t priv = FX_KERNEL_VA + 0x1000;

	(void)state;
	start(&e, ONPU_QUEUE_PRIVILEGED);
	fx_map(e.fx, 1, priv, fx_vram(e.fx, 4096, 4096), 4096, RW | ONPU_PTE_PRIV);
	/* The ring itself may. */
	submit(&e, pk_signal(priv, 1, false));
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	/* What it calls may not, whatever it does. */
	put(&e, 0, pk_signal(priv, 2, false));
	submit(&e, pk_call(VA + 8192, 1));
	fx_expect_fault(&e.q, ONPU_FAULT_PRIVILEGE, ONPU_FAULT_ACCESS_WRITE, 0, priv);
	revive(&e);
	put(&e, 0, pk_copy(VA, priv, 8));
	submit(&e, pk_call(VA + 8192, 1));
	fx_expect_fault(&e.q, ONPU_FAULT_PRIVILEGE, ONPU_FAULT_ACCESS_READ, 0, priv);
	revive(&e);
	/* A called buffer in privileged memory is not fetched. */
	submit(&e, pk_call(priv, 1));
	fx_expect_fault(&e.q, ONPU_FAULT_PRIVILEGE, ONPU_FAULT_ACCESS_FETCH, 0, priv);
	revive(&e);
	/* Rights come back after the CALL. */
	put(&e, 0, pk_nop());
	submit(&e, pk_call(VA + 8192, 1));
	submit(&e, pk_signal(priv, 3, false));
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	finish(&e);
}

static void call_limits(void **state)
{
	struct env e;

	(void)state;
	start(&e, 0);
	/* Runs into the end of what is mapped. */
	for (unsigned int i = 0; i < (65536 - 8192) / 64; i++)
		put(&e, i, pk_nop());
	submit(&e, pk_call(VA + 8192, (65536 - 8192) / 64 + 1));
	fx_expect_fault(&e.q, ONPU_FAULT_NOT_PRESENT, ONPU_FAULT_ACCESS_FETCH, 0, VA + 65536);
	revive(&e);
	submit(&e, pk_call(0xffffffffffc0, 2));
	fx_expect_fault(&e.q, ONPU_FAULT_VA_RANGE, ONPU_FAULT_ACCESS_FETCH, 3, 0xffffffffffc0);
	finish(&e);
}

static void write_back_fault(void **state)
{
	struct env e;
	uint64_t ctl;

	(void)state;
	start(&e, 0);
	ctl = e.q.ring_va + (1u << 30);
	fx_unmap(e.fx, 1, ctl, 4096);
	submit(&e, pk_signal(VA, 1, false));
	fx_expect_fault(&e.q, ONPU_FAULT_NOT_PRESENT, ONPU_FAULT_ACCESS_WRITE, 0, ctl);
	assert_int_equal(fx_load(e.buf), 1);
	finish(&e);
}

/* No slot starves: eight slots with deep rings advance together. */
static void fairness(void **state)
{
	struct fx_opts opts = { .slots = 8 };
	struct fx *fx = fx_create(&opts);
	struct fx_queue q[8];
	struct onpu_packet nop = pk_nop();

	(void)state;
	fx_context(fx, 1);
	for (unsigned int i = 0; i < 8; i++) {
		fx_queue_init(&q[i], fx, i, i, 1, 12, 0);
		for (unsigned int j = 0; j < 4096; j++)
			fx_push(&q[i], &nop);
		fx_ring(&q[i]);
	}
	for (unsigned int step = 0; step < 200; step++) {
		uint32_t min = UINT32_MAX, max = 0;

		onpu_card_run(fx->card, 10);
		for (unsigned int i = 0; i < 8; i++) {
			uint32_t c = fx_slot(fx, i, ONPU_SLOT_CONSUMER);

			min = c < min ? c : min;
			max = c > max ? c : max;
		}
		assert_true(max - min <= 128);
	}
	fx_destroy(fx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nop_and_signal),
		cmocka_unit_test(ring_wraps_in_order),
		cmocka_unit_test(full_ring_and_overrun),
		cmocka_unit_test(bind_sees_earlier_doorbell),
		cmocka_unit_test(invalid_configurations),
		cmocka_unit_test(events),
		cmocka_unit_test(kill_everywhere),
		cmocka_unit_test(reserved_fields),
		cmocka_unit_test(bad_opcodes),
		cmocka_unit_test(bad_fields),
		cmocka_unit_test(copy_and_fill),
		cmocka_unit_test(bulk),
		cmocka_unit_test(timestamps),
		cmocka_unit_test(wait_ops),
		cmocka_unit_test(wait_for_other_queue),
		cmocka_unit_test(call),
		cmocka_unit_test(call_nested),
		cmocka_unit_test(call_privilege),
		cmocka_unit_test(call_limits),
		cmocka_unit_test(write_back_fault),
		cmocka_unit_test(fairness),
	};

	return cmocka_run_group_tests_name("packets", tests, NULL, NULL);
}

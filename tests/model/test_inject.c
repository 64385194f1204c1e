// SPDX-License-Identifier: MIT
/*
 * Fault injection: each fault does what hardware.md says, as often as it says,
 * and "clear" ends it. Deterministic mode.
 */
#include <errno.h>
#include <string.h>

#include "card_fixture.h"

#define VA	0x10000000ull

struct env {
	struct fx *fx;
	struct fx_queue q, other;
	uint8_t *buf;
};

static void start(struct env *e)
{
	e->fx = fx_create(NULL);
	fx_context(e->fx, 1);
	e->buf = fx_buffer(e->fx, 1, VA, 65536);
	fx_queue_init(&e->q, e->fx, 0, 3, 1, 4, 0);
	fx_queue_init(&e->other, e->fx, 1, 4, 1, 4, 0);
}

static void inject(struct env *e, const char *name, uint64_t arg)
{
	assert_int_equal(onpu_card_inject(e->fx->card, name, arg), 0);
}

static void signal_on(struct fx_queue *q, uint64_t va, uint64_t value)
{
	struct onpu_packet p = pk_signal(va, value, true);

	fx_submit(q, &p);
}

static void unknown(void **state)
{
	struct env e;

	(void)state;
	start(&e);
	assert_int_equal(onpu_card_inject(e.fx->card, "", 0), -ENOENT);
	assert_int_equal(onpu_card_inject(e.fx->card, "hang-queues", 0), -ENOENT);
	fx_destroy(e.fx);
}

static void hang_queue(void **state)
{
	struct env e;

	(void)state;
	start(&e);
	inject(&e, "hang-queue", 3);
	signal_on(&e.q, VA, 1);
	signal_on(&e.other, VA + 8, 2);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_RUNNING);
	assert_true(fx_rd(e.fx, ONPU_REG_STATUS) & ONPU_STATUS_BUSY);
	assert_int_equal(fx_load(e.buf), 0);
	assert_int_equal(fx_load(e.buf + 8), 2);
	/* It holds its translations. */
	fx_wr(e.fx, ONPU_REG_TLB_INV, 1);
	assert_int_equal(fx_rd(e.fx, ONPU_REG_TLB_DONE), 0);
	/* Cleared, it goes on as if nothing had been. */
	inject(&e, "clear", 0);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	assert_int_equal(fx_load(e.buf), 1);
	assert_int_equal(fx_rd(e.fx, ONPU_REG_TLB_DONE), 1);
	/* And it can be killed. */
	inject(&e, "hang-queue", 3);
	signal_on(&e.q, VA, 5);
	fx_settle(&e.q);
	fx_kill(&e.q);
	assert_int_equal(fx_load(e.buf), 1);
	fx_destroy(e.fx);
}

static void fault_queue(void **state)
{
	struct env e;

	(void)state;
	start(&e);
	inject(&e, "fault-queue", 3);
	signal_on(&e.q, VA, 1);
	signal_on(&e.other, VA + 8, 2);
	fx_expect_fault(&e.q, ONPU_FAULT_NOT_PRESENT, ONPU_FAULT_ACCESS_READ, 0, 0);
	assert_int_equal(fx_load(e.buf + 8), 2);
	/* Once. */
	fx_unbind(&e.q);
	fx_slot_wr(e.fx, 0, ONPU_SLOT_CMD, ONPU_SLOT_BIND);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	assert_int_equal(fx_load(e.buf), 1);
	fx_destroy(e.fx);
}

static void drop_irq(void **state)
{
	struct env e;

	(void)state;
	start(&e);
	inject(&e, "drop-irq", 2);
	for (unsigned int i = 1; i <= 5; i++) {
		signal_on(&e.q, VA, i);
		fx_settle(&e.q);
		assert_int_equal(fx_load(e.buf), i);
	}
	assert_int_equal(e.fx->irqs[1], 3);
	assert_int_equal(fx_rd64(e.fx, ONPU_REG_CNT_IRQS), 3);
	fx_destroy(e.fx);
}

static void corrupt_matmul(void **state)
{
	struct onpu_matmul_desc d = {
		.a_type = ONPU_DTYPE_I8, .b_type = ONPU_DTYPE_I8, .d_type = ONPU_DTYPE_I32,
		.m = 8, .n = 8, .k = 8, .a_va = VA + 4096, .b_va = VA + 8192, .d_va = VA + 12288,
		.lda = 8, .ldb = 8, .ldd = 8,
	};
	struct onpu_packet p = pk_matmul(VA);
	struct env e;

	(void)state;
	start(&e);
	memcpy(e.buf, &d, sizeof(d));
	memset(e.buf + 4096, 1, 8192);
	inject(&e, "corrupt-matmul", 1);
	for (unsigned int i = 0; i < 2; i++) {
		uint32_t *dst = (uint32_t *)(void *)(e.buf + 12288);

		fx_submit(&e.q, &p);
		assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
		assert_int_equal(dst[0], i ? 8 : 9);
		for (unsigned int j = 1; j < 64; j++)
			assert_int_equal(dst[j], 8);
	}
	fx_destroy(e.fx);
}

static void slow_kill(void **state)
{
	struct env e;
	uint64_t before;

	(void)state;
	start(&e);
	inject(&e, "slow-kill", 3);
	before = fx_rd64(e.fx, ONPU_REG_TIME);
	fx_slot_wr(e.fx, 0, ONPU_SLOT_CMD, ONPU_SLOT_KILL);
	fx_run(e.fx);
	assert_int_equal(fx_slot(e.fx, 0, ONPU_SLOT_STATE), ONPU_SLOT_IDLE);
	fx_wait_state(&e.q, ONPU_SLOT_KILLED);
	assert_true(fx_rd64(e.fx, ONPU_REG_TIME) - before >= 3000000);
	fx_destroy(e.fx);
}

static void mbox_silent(void **state)
{
	struct env e;

	(void)state;
	start(&e);
	inject(&e, "mbox-silent", 1);
	fx_wr(e.fx, ONPU_REG_MBOX_DB, 1);
	assert_int_equal(fx_mcu(e.fx, ONPU_SYS_IRQ_PENDING), 0);
	inject(&e, "mbox-silent", 0);
	fx_wr(e.fx, ONPU_REG_MBOX_DB, 1);
	assert_int_equal(fx_mcu(e.fx, ONPU_SYS_IRQ_PENDING), ONPU_MCU_IRQ_MBOX);
	fx_destroy(e.fx);
}

/* Faults survive a reset, so that recovery can be made to fail as well. */
static void survives_reset(void **state)
{
	struct env e;

	(void)state;
	start(&e);
	inject(&e, "drop-irq", 1);
	onpu_card_reset(e.fx->card, ONPU_RESET_FUNCTION);
	fx_wr(e.fx, ONPU_REG_IRQ_ENABLE, 1);
	fx_mcu_wr(e.fx, ONPU_SYS_HOST_IRQ, 1);
	assert_int_equal(e.fx->irqs[0], 0);
	fx_mcu_wr(e.fx, ONPU_SYS_HOST_IRQ, 1);
	assert_int_equal(e.fx->irqs[0], 1);
	fx_destroy(e.fx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unknown),
		cmocka_unit_test(hang_queue),
		cmocka_unit_test(fault_queue),
		cmocka_unit_test(drop_irq),
		cmocka_unit_test(corrupt_matmul),
		cmocka_unit_test(slow_kill),
		cmocka_unit_test(mbox_silent),
		cmocka_unit_test(survives_reset),
	};

	return cmocka_run_group_tests_name("inject", tests, NULL, NULL);
}

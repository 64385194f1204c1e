// SPDX-License-Identifier: MIT
/*
 * Saving and loading: work in flight goes on in another card as if nothing had
 * happened; blobs that are cut, foreign or damaged are refused or harmless.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "card_fixture.h"

#define VA	0x10000000ull
#define BIG	0x100000000ull

/* A second card with the first one's memory and state. */
static struct fx *clone(struct fx *fx)
{
	struct fx *other;
	size_t size;
	void *blob;

	onpu_card_quiesce(fx->card);
	assert_int_equal(fx->maps_live, 0);
	blob = onpu_card_save(fx->card, &size);
	assert_non_null(blob);
	other = fx_create(&fx->opts);
	onpu_card_quiesce(other->card);
	memcpy(other->vram, fx->vram, fx->vram_size);
	memcpy(other->host, fx->host, FX_HOST_SIZE);
	memcpy(other->roots, fx->roots, sizeof(fx->roots));
	other->vram_next = fx->vram_next;
	other->host_next = fx->host_next;
	atomic_store(&other->now, atomic_load(&fx->now));
	assert_int_equal(onpu_card_load(other->card, blob, size), 0);
	free(blob);
	onpu_card_resume(other->card);
	return other;
}

static void registers(void **state)
{
	static const uint32_t regs[] = {
		ONPU_REG_STATUS, ONPU_REG_IRQ_CAUSE, ONPU_REG_IRQ_ENABLE, ONPU_REG_GENERATION,
		ONPU_REG_BOOT_SIZE, ONPU_REG_BOOT_STATUS, ONPU_REG_HEARTBEAT, ONPU_REG_FW_VERSION,
		ONPU_REG_FW_MBOX, ONPU_REG_TLB_SEQ, ONPU_REG_TLB_DONE, ONPU_REG_CNT_PACKETS,
		ONPU_REG_CNT_TLB_WALKS, ONPU_REG_CNT_FAULTS, ONPU_DOORBELL_BASE,
		ONPU_DOORBELL_BASE + 9 * ONPU_DOORBELL_PAGE,
	};
	static const uint32_t mcu[] = {
		ONPU_SYS_IRQ_PENDING, ONPU_SYS_IRQ_ENABLE, ONPU_SYS_TIMECMP_LO, ONPU_SYS_TIMECMP_HI,
		ONPU_DOORBELL_PENDING(0), ONPU_CTX_ROOT_LO(1), ONPU_CTX_CTRL(1), ONPU_CRYPTO_SRC,
		ONPU_SLOT(0, ONPU_SLOT_STATE), ONPU_SLOT(0, ONPU_SLOT_ERROR),
		ONPU_SLOT(0, ONPU_SLOT_FAULT_LO), ONPU_SLOT(0, ONPU_SLOT_FAULT_INFO),
		ONPU_SLOT(0, ONPU_SLOT_OPCODE), ONPU_SLOT(0, ONPU_SLOT_CONSUMER),
		ONPU_SLOT(0, ONPU_SLOT_EVENTS), ONPU_SLOT(0, ONPU_SLOT_EVENT_ENABLE),
		ONPU_SLOT(1, ONPU_SLOT_STATE), ONPU_SLOT(1, ONPU_SLOT_RING_HI),
		ONPU_SLOT(1, ONPU_SLOT_VECTOR), ONPU_SLOT(1, ONPU_SLOT_CTL_HI),
	};
	struct fx *fx = fx_create(NULL), *other;
	struct onpu_packet p = pk_signal(0x5000, 1, false);
	struct fx_queue q, idle;

	(void)state;
	fx_context(fx, 1);
	fx_queue_init(&q, fx, 0, 0, 1, 4, 0);
	fx_queue_init(&idle, fx, 1, 1, 1, 5, 0);
	fx_slot_wr(fx, 0, ONPU_SLOT_EVENT_ENABLE, 6);
	fx_submit(&q, &p);
	fx_expect_fault(&q, ONPU_FAULT_NOT_PRESENT, ONPU_FAULT_ACCESS_WRITE, 3, 0x5000);
	fx_wr(fx, ONPU_REG_IRQ_ENABLE, 3);
	fx_mcu_wr(fx, ONPU_SYS_HOST_IRQ, 4);
	fx_mcu_wr(fx, ONPU_SYS_HEARTBEAT, 123);
	fx_mcu_wr(fx, ONPU_SYS_FW_VERSION, 456);
	fx_mcu_wr(fx, ONPU_SYS_FW_MBOX, 789);
	fx_mcu_wr(fx, ONPU_SYS_IRQ_ENABLE, 5);
	fx_mcu_wr(fx, ONPU_SYS_TIMECMP_HI, 0x7fffffff);
	fx_mcu_wr(fx, ONPU_SYS_TIMECMP_LO, 17);
	fx_mcu_wr(fx, ONPU_CRYPTO_SRC, 42);
	fx_wr(fx, ONPU_REG_BOOT_SIZE, 77);
	fx_invalidate(fx, 1);
	fx_invalidate(fx, 1);
	fx_wr(fx, ONPU_DOORBELL_BASE + 9 * ONPU_DOORBELL_PAGE, 3);
	other = clone(fx);
	onpu_card_quiesce(other->card);
	for (unsigned int i = 0; i < ARRAY_SIZE(regs); i++)
		assert_int_equal(fx_rd(other, regs[i]), fx_rd(fx, regs[i]));
	for (unsigned int i = 0; i < ARRAY_SIZE(mcu); i++)
		assert_int_equal(fx_mcu(other, mcu[i]), fx_mcu(fx, mcu[i]));
	onpu_card_resume(other->card);
	onpu_card_resume(fx->card);
	/* The idle slot owns its queue. */
	idle.fx = other;
	fx_buffer(other, 1, VA, 4096);
	p = pk_signal(VA, 5, false);
	fx_submit(&idle, &p);
	assert_int_equal(fx_settle(&idle), ONPU_SLOT_IDLE);
	fx_destroy(fx);
	fx_destroy(other);
}

/* Time goes on where it was, whatever the new machine's clock says. */
static void device_time(void **state)
{
	struct fx *fx = fx_create(NULL), *other;
	uint64_t before;

	(void)state;
	atomic_store(&fx->now, 5000000000);
	before = fx_rd64(fx, ONPU_REG_TIME);
	other = clone(fx);
	atomic_fetch_add(&other->now, 1000);
	assert_in_range(fx_rd64(other, ONPU_REG_TIME), before, before + 100000);
	fx_destroy(fx);
	fx_destroy(other);
}

/* A matmul in blocks, a copy in windows, a WAIT in a CALL: saved at every step. */
static void work_in_flight(void **state)
{
	const uint32_t m = 600, n = 1100, k = 9000;
	struct fx_opts opts = { .vram_size = 112ull << 20 };
	struct fx *fx = fx_create(&opts), *whole;
	struct onpu_matmul_desc d = {
		.a_type = ONPU_DTYPE_I8, .b_type = ONPU_DTYPE_I8, .c_type = ONPU_DTYPE_I32,
		.d_type = ONPU_DTYPE_I32, .flags = ONPU_MATMUL_ACCUMULATE,
		.m = m, .n = n, .k = k, .a_va = BIG, .b_va = 2 * BIG, .c_va = 3 * BIG,
		.d_va = 3 * BIG, .lda = k, .ldb = n, .ldc = n, .ldd = n,
	};
	struct fx_queue q[3], q2[3];
	struct onpu_packet p;
	uint8_t *a, *b, *c, *buf;
	uint64_t stamps;
	struct onpu_stamp stamp;
	unsigned int clones = 0;

	(void)state;
	fx_context(fx, 1);
	buf = fx_buffer(fx, 1, VA, 65536);
	memcpy(buf, &d, sizeof(d));
	stamps = (uint64_t)(buf + 12288 - fx->vram);
	a = fx_buffer(fx, 1, BIG, (uint64_t)m * k);
	b = fx_buffer(fx, 1, 2 * BIG, (uint64_t)n * k);
	fx_buffer(fx, 1, 3 * BIG, (uint64_t)m * n * 4);
	c = fx_buffer(fx, 1, 4 * BIG, 60u << 20);
	for (uint64_t i = 0; i < (uint64_t)m * k; i++)
		a[i] = (uint8_t)(i * 31 >> 3);
	for (uint64_t i = 0; i < (uint64_t)n * k; i++)
		b[i] = (uint8_t)(i * 17 >> 2);
	for (uint64_t i = 0; i < 30u << 20; i += 64)
		c[i] = (uint8_t)(i >> 6);
	for (unsigned int i = 0; i < 3; i++)
		fx_queue_init(&q[i], fx, i, i, 1, 4, 0);
	p = pk_matmul(VA);
	p.flags = ONPU_PKT_STAMP;
	p.stamp.va = VA + 12288;
	fx_submit(&q[0], &p);
	p = pk_copy(4 * BIG + (30u << 20), 4 * BIG, 30u << 20);
	p.flags = ONPU_PKT_STAMP;
	p.stamp.va = VA + 12288 + 64;
	fx_submit(&q[1], &p);
	p = pk_signal(VA + 4096, 1, false);
	memcpy(buf + 8192, &p, 64);
	p = pk_wait(VA + 4096, 2, ONPU_WAIT_EQ);
	memcpy(buf + 8192 + 64, &p, 64);
	p = pk_signal(VA + 4096, 3, false);
	memcpy(buf + 8192 + 128, &p, 64);
	p = pk_call(VA + 8192, 3);
	fx_submit(&q[2], &p);

	whole = clone(fx);
	memcpy(q2, q, sizeof(q));
	for (unsigned int i = 0; i < 3; i++)
		q2[i].fx = whole;
	fx_settle(&q2[0]);
	fx_store(whole->vram + (buf + 4096 - fx->vram), 2);
	fx_settle(&q2[2]);

	onpu_card_resume(fx->card);
	while (!fx_slot(fx, 0, ONPU_SLOT_CONSUMER) || !fx_slot(fx, 1, ONPU_SLOT_CONSUMER)) {
		struct fx *next;

		/* One step of the MCU, which has been kicked, and some of the slots. */
		onpu_card_run(fx->card, 2 + clones % 3);
		next = clone(fx);
		fx_destroy(fx);
		fx = next;
		clones++;
		assert_true(clones < 60);
	}
	assert_true(clones >= 6);
	for (unsigned int i = 0; i < 3; i++)
		q[i].fx = fx;
	assert_int_equal(fx_slot(fx, 2, ONPU_SLOT_STATE), ONPU_SLOT_WAITING);
	fx_store(fx_vptr(fx, fx_load(fx_pte(fx, 1, VA + 4096, 0)) & ONPU_PTE_ADDR), 2);
	assert_int_equal(fx_settle(&q[2]), ONPU_SLOT_IDLE);
	assert_int_equal(fx_settle(&q[0]), ONPU_SLOT_IDLE);
	assert_int_equal(fx_settle(&q[1]), ONPU_SLOT_IDLE);
	/* Stamps included. */
	assert_memory_equal(fx->vram, whole->vram, fx->vram_size);
	for (uint32_t reg = ONPU_REG_ENGINE_TIME; reg <= ONPU_REG_ENGINE_BYTES(ONPU_ENGINE_HOST_WRITE);
	     reg += 8)
		assert_int_equal(fx_rd64(fx, reg), fx_rd64(whole, reg));
	memcpy(&stamp, fx->vram + stamps, sizeof(stamp));
	assert_int_equal(stamp.ops, 2ull * m * n * k);
	fx_destroy(whole);
	fx_destroy(fx);
}

static void bad_blobs(void **state)
{
	struct fx_opts opts = { .slots = 2 };
	struct fx *fx = fx_create(NULL), *other = fx_create(&opts);
	struct onpu_packet p = pk_signal(VA, 5, false);
	struct fx_queue q;
	uint8_t *blob, *buf;
	size_t size;

	(void)state;
	onpu_card_quiesce(fx->card);
	onpu_card_quiesce(other->card);
	blob = onpu_card_save(fx->card, &size);
	assert_non_null(blob);
	/* Another geometry. */
	assert_int_equal(onpu_card_load(other->card, blob, size), -EINVAL);
	/* Cut, empty, too long. */
	for (size_t n = 0; n < size; n += n < 4096 ? 13 : 50021)
		assert_int_equal(onpu_card_load(fx->card, blob, n), -EINVAL);
	blob = realloc(blob, size + 1);
	assert_non_null(blob);
	assert_int_equal(onpu_card_load(fx->card, blob, size + 1), -EINVAL);
	blob[0] ^= 1;
	assert_int_equal(onpu_card_load(fx->card, blob, size), -EINVAL);
	blob[0] ^= 1;
	assert_int_equal(onpu_card_load(fx->card, blob, size), 0);
	free(blob);
	/* A refused blob leaves a card that works. */
	onpu_card_resume(other->card);
	onpu_card_resume(fx->card);
	fx_context(other, 1);
	buf = fx_buffer(other, 1, VA, 4096);
	fx_queue_init(&q, other, 0, 0, 1, 4, 0);
	fx_submit(&q, &p);
	assert_int_equal(fx_settle(&q), ONPU_SLOT_IDLE);
	assert_int_equal(fx_load(buf), 5);
	fx_destroy(fx);
	fx_destroy(other);
}

/* Damaged in any place: refused, or the card runs on without harm to its host. */
static void damaged_blobs(void **state)
{
	struct fx *fx = fx_create(NULL);
	struct onpu_packet p[4] = { pk_wait(VA, 1, ONPU_WAIT_EQ), pk_copy(VA, VA + 8192, 4096),
				    pk_call(VA + 4096, 3), pk_matmul(VA + 8192) };
	struct fx_queue q[4];
	unsigned int refused = 0;
	uint8_t *blob, *bad;
	size_t size;

	(void)state;
	fx_context(fx, 1);
	fx_buffer(fx, 1, VA, 65536);
	for (unsigned int i = 0; i < 4; i++) {
		fx_queue_init(&q[i], fx, i, i, 1, 4, 0);
		fx_submit(&q[i], &p[i]);
	}
	onpu_card_run(fx->card, 3);
	onpu_card_quiesce(fx->card);
	blob = onpu_card_save(fx->card, &size);
	assert_non_null(blob);
	bad = malloc(size);
	assert_non_null(bad);
	for (unsigned int i = 0; i < 1500; i++) {
		/* SRAM is most of the blob and takes anything: keep to the front. */
		size_t at = fx_random(fx) % (i % 2 ? 8192 : 4096);

		memcpy(bad, blob, size);
		for (unsigned int j = 0; j <= i % 4; j++)
			bad[(at + j * 4) % size] = (uint8_t)(i % 3 ? fx_random(fx) : 0xff);
		if (onpu_card_load(fx->card, bad, size)) {
			refused++;
			continue;
		}
		onpu_card_resume(fx->card);
		onpu_card_run(fx->card, 50);
		onpu_card_quiesce(fx->card);
	}
	assert_true(refused > 10);
	free(bad);
	free(blob);
	onpu_card_resume(fx->card);
	fx_destroy(fx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registers),
		cmocka_unit_test(device_time),
		cmocka_unit_test(work_in_flight),
		cmocka_unit_test(bad_blobs),
		cmocka_unit_test(damaged_blobs),
	};

	return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/*
 * BAR0: reset values, access rights, sizes and offsets, doorbells, interrupt
 * causes, reset; and the registers that only the MCU sees.
 */
#include <string.h>

#include "card_fixture.h"

struct expected {
	uint32_t reg;
	unsigned int size;
	uint64_t value;
};

static const struct expected constants[] = {
	{ ONPU_REG_MAGIC, 4, 0x55504e4f },
	{ ONPU_REG_HW_VERSION, 4, 0x10004 },
	{ ONPU_REG_OPCODES, 4, 0x7fe },
	{ ONPU_REG_CORES, 4, 32 },
	{ ONPU_REG_DTYPES_IN, 4, 0x3fde },
	{ ONPU_REG_DTYPES_OUT, 4, 0xfe },
	{ ONPU_REG_CORE_CLOCK_KHZ, 4, 1500000 },
	{ ONPU_REG_DIM_MAX, 4, 262144 },
	{ ONPU_REG_VRAM_SIZE, 8, 64ull << 20 },
	{ ONPU_REG_APERTURE_SIZE, 8, 64ull << 20 },
	{ ONPU_REG_FW_REGION_OFFSET, 8, 0 },
	{ ONPU_REG_FW_REGION_SIZE, 8, 8ull << 20 },
	{ ONPU_REG_QUEUES, 4, 64 },
	{ ONPU_REG_SLOTS, 4, 4 },
	{ ONPU_REG_CONTEXTS, 4, 8 },
	{ ONPU_REG_VECTORS, 4, 8 },
	{ ONPU_REG_VA_BITS, 4, 48 },
	{ ONPU_REG_PAGE_SIZES, 4, 0x201000 },
	{ ONPU_REG_RING_ORDER_MAX, 4, 16 },
	{ ONPU_REG_CALL_MAX, 4, 65536 },
	{ ONPU_REG_DOORBELL_OFFSET, 4, 0x400000 },
	{ ONPU_REG_DOORBELL_STRIDE, 4, 4096 },
	{ ONPU_REG_SERIAL, 8, 0x1122334455667788 },
	{ ONPU_REG_DMA_BITS, 4, 52 },
	{ ONPU_REG_MACS_32, 4, 512 },
	{ ONPU_REG_MACS_16, 4, 4096 },
	{ ONPU_REG_MACS_8, 4, 8192 },
	{ ONPU_REG_MACS_4, 4, 16384 },
	{ ONPU_REG_TILE, 4, 16 },
	{ ONPU_REG_VRAM_BANDWIDTH, 8, 1600000000000 },
	{ ONPU_REG_HOST_BANDWIDTH, 8, 56000000000 },
	{ ONPU_REG_PACKET_NS, 4, 200 },
	{ ONPU_REG_GENERATION, 4, 1 },
	{ ONPU_REG_BOOT_STATUS, 4, 0 },
	{ ONPU_REG_HEARTBEAT, 4, 0 },
	{ ONPU_REG_FW_VERSION, 4, 0 },
	{ ONPU_REG_FW_MBOX, 4, 0 },
	{ ONPU_REG_FUSE_MIN_SVN, 4, 0 },
	{ ONPU_REG_FUSE_FLAGS, 4, ONPU_FUSE_DEV_KEY },
	{ ONPU_REG_TLB_SEQ, 4, 0 },
	{ ONPU_REG_TLB_DONE, 4, 0 },
	{ ONPU_REG_CNT_BUSY_NS, 8, 0 },
	{ ONPU_REG_CNT_IRQS, 8, 0 },
	{ ONPU_REG_ENGINE_TIME, 8, 0 },
	{ ONPU_REG_ENGINE_BUSY(ONPU_ENGINE_CORES), 8, 0 },
	{ ONPU_REG_ENGINE_BUSY(ONPU_ENGINE_HOST_WRITE), 8, 0 },
	{ ONPU_REG_ENGINE_BYTES(ONPU_ENGINE_VRAM), 8, 0 },
	{ ONPU_REG_ENGINE_BYTES(ONPU_ENGINE_HOST_WRITE), 8, 0 },
};

static void expect_error(struct fx *fx, unsigned int n)
{
	assert_int_equal(fx->guest_errors, n);
}

static void reset_values(void **state)
{
	struct fx *fx = fx_create(NULL);

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(constants); i++) {
		const struct expected *x = &constants[i];

		assert_true(onpu_card_mmio_read(fx->card, x->reg, x->size) == x->value);
		if (x->size == 8) {
			assert_int_equal(fx_rd(fx, x->reg), (uint32_t)x->value);
			assert_int_equal(fx_rd(fx, x->reg + 4), (uint32_t)(x->value >> 32));
		}
	}
	assert_int_equal(fx_rd(fx, ONPU_REG_STATUS), ONPU_STATUS_MCU_RUN);
	expect_error(fx, 0);
	fx_destroy(fx);
}

static void read_only(void **state)
{
	struct fx *fx = fx_create(NULL);
	unsigned int errors = 0;

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(constants); i++) {
		const struct expected *x = &constants[i];

		onpu_card_mmio_write(fx->card, x->reg, ~x->value, x->size);
		expect_error(fx, ++errors);
		assert_true(onpu_card_mmio_read(fx->card, x->reg, x->size) == x->value);
	}
	fx_wr(fx, ONPU_REG_STATUS, 0);
	expect_error(fx, ++errors);
	fx_destroy(fx);
}

/* Every offset and size of the register page: only what exists answers, and nothing breaks. */
static void every_offset(void **state)
{
	static const unsigned int sizes[] = { 1, 2, 4, 8 };
	static const uint32_t others[] = { 0x620, 0x6fc, 0x700, 0x1000, 0x3ffffc, 0x400004, 0x400001, 0x440000,
					   0x7ffffc, 0x800000 };
	struct fx *fx = fx_create(NULL);

	(void)state;
	for (uint32_t off = 0; off < 0x800; off++) {
		for (unsigned int s = 0; s < 4; s++) {
			uint32_t errors = fx->guest_errors;
			uint64_t v = onpu_card_mmio_read(fx->card, off, sizes[s]);

			if (sizes[s] < 4 || off % 4) {
				assert_int_equal(fx->guest_errors, errors + 1);
				assert_true(v == 0);
			}
		}
	}
	/* 64 bits at a 32-bit register, and at the upper half of a 64-bit one. */
	uint32_t errors = fx->guest_errors;

	onpu_card_mmio_read(fx->card, ONPU_REG_MAGIC, 8);
	onpu_card_mmio_read(fx->card, ONPU_REG_VRAM_SIZE + 4, 8);
	onpu_card_mmio_write(fx->card, ONPU_REG_BOOT_ADDR + 4, 1, 8);
	onpu_card_mmio_write(fx->card, ONPU_REG_BOOT_SIZE, 1, 8);
	onpu_card_mmio_write(fx->card, ONPU_REG_BOOT_SIZE, 1, 2);
	assert_int_equal(fx->guest_errors, errors + 5);
	for (unsigned int i = 0; i < ARRAY_SIZE(others); i++) {
		onpu_card_mmio_read(fx->card, others[i], 4);
		onpu_card_mmio_write(fx->card, others[i], 1, 4);
		assert_int_equal(fx->guest_errors, errors + 5 + 2 * (i + 1));
	}
	onpu_card_mmio_write(fx->card, UINT64_MAX - 3, 1, 4);
	onpu_card_mmio_read(fx->card, UINT64_MAX - 7, 8);
	assert_int_equal(fx_rd(fx, ONPU_REG_BOOT_SIZE), 0);
	assert_int_equal(fx_rd64(fx, ONPU_REG_BOOT_ADDR), 0);
	fx_destroy(fx);
}

static void boot_registers(void **state)
{
	struct fx *fx = fx_create(NULL);

	(void)state;
	onpu_card_mmio_write(fx->card, ONPU_REG_BOOT_ADDR, 0x123456789abcdef0, 8);
	assert_true(fx_rd64(fx, ONPU_REG_BOOT_ADDR) == 0x123456789abcdef0);
	fx_wr(fx, ONPU_REG_BOOT_ADDR, 0x11111111);
	fx_wr(fx, ONPU_REG_BOOT_ADDR + 4, 0x22222222);
	assert_true(fx_rd64(fx, ONPU_REG_BOOT_ADDR) == 0x2222222211111111);
	assert_int_equal(fx_mcu(fx, ONPU_SYS_BOOT_ADDR_LO), 0x11111111);
	assert_int_equal(fx_mcu(fx, ONPU_SYS_BOOT_ADDR_HI), 0x22222222);
	fx_wr(fx, ONPU_REG_BOOT_SIZE, 0x3333);
	assert_int_equal(fx_mcu(fx, ONPU_SYS_BOOT_SIZE), 0x3333);
	fx_wr(fx, ONPU_REG_BOOT_CMD, ONPU_BOOT_START);
	fx_wr(fx, ONPU_REG_MBOX_DB, 0xffffffff);
	assert_int_equal(fx_mcu(fx, ONPU_SYS_IRQ_PENDING), ONPU_MCU_IRQ_BOOT | ONPU_MCU_IRQ_MBOX);
	fx_mcu_wr(fx, ONPU_SYS_IRQ_ACK, ONPU_MCU_IRQ_BOOT);
	assert_int_equal(fx_mcu(fx, ONPU_SYS_IRQ_PENDING), ONPU_MCU_IRQ_MBOX);
	expect_error(fx, 0);
	fx_wr(fx, ONPU_REG_BOOT_CMD, 2);
	expect_error(fx, 1);
	/* Write-only registers read as 0, without complaint. */
	assert_int_equal(fx_rd(fx, ONPU_REG_BOOT_CMD), 0);
	assert_int_equal(fx_rd(fx, ONPU_REG_MBOX_DB), 0);
	assert_int_equal(fx_rd(fx, ONPU_REG_RESET), 0);
	assert_int_equal(fx_rd(fx, ONPU_REG_TLB_INV), 0);
	expect_error(fx, 1);
	fx_destroy(fx);
}

static void interrupt_causes(void **state)
{
	struct fx *fx = fx_create(NULL);

	(void)state;
	/* Not enabled: recorded, not raised; enabling raises. */
	fx_mcu_wr(fx, ONPU_SYS_HOST_IRQ, ONPU_IRQ_MBOX);
	assert_int_equal(fx_rd(fx, ONPU_REG_IRQ_CAUSE), ONPU_IRQ_MBOX);
	assert_int_equal(fx->irqs[0], 0);
	fx_wr(fx, ONPU_REG_IRQ_ENABLE, ONPU_IRQ_ALL);
	assert_int_equal(fx->irqs[0], 1);
	fx_mcu_wr(fx, ONPU_SYS_HOST_IRQ, ONPU_IRQ_BOOT);
	assert_int_equal(fx->irqs[0], 2);
	/* Clearing one of two raises again: the other must not be lost. */
	fx_wr(fx, ONPU_REG_IRQ_CAUSE, ONPU_IRQ_MBOX);
	assert_int_equal(fx_rd(fx, ONPU_REG_IRQ_CAUSE), ONPU_IRQ_BOOT);
	assert_int_equal(fx->irqs[0], 3);
	fx_wr(fx, ONPU_REG_IRQ_CAUSE, ONPU_IRQ_BOOT);
	assert_int_equal(fx->irqs[0], 3);
	assert_int_equal(fx_rd64(fx, ONPU_REG_CNT_IRQS), 3);
	expect_error(fx, 0);
	fx_wr(fx, ONPU_REG_IRQ_ENABLE, 0xf0000001);
	assert_int_equal(fx_rd(fx, ONPU_REG_IRQ_ENABLE), 1);
	expect_error(fx, 1);
	/* The stages of a boot raise it, too. */
	fx_wr(fx, ONPU_REG_IRQ_ENABLE, ONPU_IRQ_BOOT);
	fx_mcu_wr(fx, ONPU_SYS_BOOT_STATUS, ONPU_BOOT_STAGE_VERIFY);
	assert_int_equal(fx->irqs[0], 3);
	fx_mcu_wr(fx, ONPU_SYS_BOOT_STATUS, ONPU_BOOT_STAGE_FAILED | ONPU_BOOT_ERR_HASH << 8);
	assert_int_equal(fx->irqs[0], 4);
	assert_int_equal(ONPU_BOOT_ERROR(fx_rd(fx, ONPU_REG_BOOT_STATUS)), ONPU_BOOT_ERR_HASH);
	fx_mcu_wr(fx, ONPU_SYS_BOOT_STATUS, ONPU_BOOT_STAGE_READY);
	assert_int_equal(fx->irqs[0], 5);
	assert_true(fx_rd(fx, ONPU_REG_STATUS) & ONPU_STATUS_FW_READY);
	fx_destroy(fx);
}

static void fatal(void **state)
{
	struct fx *fx = fx_create(NULL);

	(void)state;
	fx_wr(fx, ONPU_REG_IRQ_ENABLE, ONPU_IRQ_FATAL);
	fx_mcu_wr(fx, ONPU_SYS_FATAL, 1);
	assert_int_equal(fx_rd(fx, ONPU_REG_STATUS), ONPU_STATUS_FATAL);
	assert_int_equal(fx_rd(fx, ONPU_REG_BOOT_STATUS), ONPU_BOOT_STAGE_CRASHED);
	assert_int_equal(fx->irqs[0], 1);
	assert_int_equal(onpu_card_run(fx->card, 100), 0);
	onpu_card_reset(fx->card, ONPU_RESET_FUNCTION);
	assert_int_equal(fx_rd(fx, ONPU_REG_STATUS), ONPU_STATUS_MCU_RUN);
	assert_true(onpu_card_run(fx->card, 100) > 0);
	fx_destroy(fx);
}

static void doorbells(void **state)
{
	struct fx *fx = fx_create(NULL);

	(void)state;
	for (unsigned int q = 0; q < 64; q++)
		fx_wr(fx, ONPU_DOORBELL_BASE + q * ONPU_DOORBELL_PAGE, q * 3 + 1);
	for (unsigned int q = 0; q < 64; q++) {
		assert_int_equal(fx_rd(fx, ONPU_DOORBELL_BASE + q * ONPU_DOORBELL_PAGE), q * 3 + 1);
		assert_int_equal(fx_mcu(fx, ONPU_DB_VALUE(q)), q * 3 + 1);
	}
	assert_int_equal(fx_mcu(fx, ONPU_DOORBELL_PENDING(0)), 0xffffffff);
	assert_int_equal(fx_mcu(fx, ONPU_DOORBELL_PENDING(32)), 0xffffffff);
	fx_mcu_wr(fx, ONPU_DB_VALUE(5), 100);
	assert_int_equal(fx_rd(fx, ONPU_DOORBELL_BASE + 5 * ONPU_DOORBELL_PAGE), 100);
	expect_error(fx, 0);
	onpu_card_mmio_write(fx->card, ONPU_DOORBELL_BASE, 1, 8);
	onpu_card_mmio_write(fx->card, ONPU_DOORBELL_BASE, 1, 2);
	onpu_card_mmio_write(fx->card, ONPU_DOORBELL_BASE + 8, 1, 4);
	onpu_card_mmio_write(fx->card, ONPU_DOORBELL_BASE + 64 * ONPU_DOORBELL_PAGE, 1, 4);
	expect_error(fx, 4);
	assert_int_equal(fx_rd(fx, ONPU_DOORBELL_BASE), 1);
	fx_destroy(fx);
}

static void reset_command(void **state)
{
	struct fx *fx = fx_create(NULL);

	(void)state;
	fx_wr(fx, ONPU_REG_RESET, 1);
	expect_error(fx, 1);
	assert_int_equal(fx->resets, 0);
	fx_wr(fx, ONPU_REG_RESET, ONPU_RESET_KEY);
	assert_int_equal(fx->resets, 1);
	fx_destroy(fx);
}

/* A reset restores everything but card memory, counters and time; power-on those as well. */
static void resets(void **state)
{
	struct fx *fx = fx_create(NULL);
	struct fx_queue q;
	uint64_t time;
	uint8_t *buf;

	(void)state;
	fx_context(fx, 1);
	buf = fx_buffer(fx, 1, 0x10000, 4096);
	fx_queue_init(&q, fx, 0, 7, 1, 4, 0);
	struct onpu_packet p = pk_signal(0x10000, 99, true);

	fx_submit(&q, &p);
	fx_settle(&q);
	onpu_card_mmio_write(fx->card, ONPU_REG_BOOT_ADDR, 1 << 20, 8);
	fx_wr(fx, ONPU_REG_IRQ_ENABLE, 7);
	fx_mcu_wr(fx, ONPU_SYS_HOST_IRQ, 1);
	fx_invalidate(fx, 1);
	fx_wr(fx, ONPU_DOORBELL_BASE + ONPU_DOORBELL_PAGE, 5);
	time = fx_rd64(fx, ONPU_REG_TIME);

	onpu_card_reset(fx->card, ONPU_RESET_FUNCTION);
	assert_int_equal(fx_rd(fx, ONPU_REG_GENERATION), 2);
	assert_int_equal(fx_rd64(fx, ONPU_REG_BOOT_ADDR), 0);
	assert_int_equal(fx_rd(fx, ONPU_REG_IRQ_ENABLE), 0);
	assert_int_equal(fx_rd(fx, ONPU_REG_IRQ_CAUSE), 0);
	assert_int_equal(fx_rd(fx, ONPU_REG_TLB_SEQ), 0);
	assert_int_equal(fx_rd(fx, ONPU_DOORBELL_BASE + ONPU_DOORBELL_PAGE), 0);
	assert_int_equal(fx_mcu(fx, ONPU_DOORBELL_PENDING(0)), 0);
	assert_int_equal(fx_mcu(fx, ONPU_CTX_CTRL(1)), 0);
	assert_int_equal(fx_mcu(fx, ONPU_CTX_ROOT_LO(1)), 0);
	assert_int_equal(fx_slot(fx, 0, ONPU_SLOT_STATE), ONPU_SLOT_FREE);
	assert_int_equal(fx_slot(fx, 0, ONPU_SLOT_QUEUE), 0);
	assert_int_equal(fx_load(buf), 99);
	assert_int_equal(fx_rd64(fx, ONPU_REG_CNT_PACKETS), 1);
	assert_true(fx_rd64(fx, ONPU_REG_TIME) > time);

	onpu_card_reset(fx->card, ONPU_RESET_POWER_ON);
	assert_int_equal(fx_rd(fx, ONPU_REG_GENERATION), 1);
	assert_int_equal(fx_rd64(fx, ONPU_REG_CNT_PACKETS), 0);
	assert_true(fx_rd64(fx, ONPU_REG_TIME) < time);
	fx_destroy(fx);
}

/* --- MCU ------------------------------------------------------------------ */

static void mcu_registers(void **state)
{
	struct fx *fx = fx_create(NULL);
	uint64_t a, b;

	(void)state;
	assert_int_equal(fx_mcu(fx, ONPU_SYS_QUEUES), 64);
	assert_int_equal(fx_mcu(fx, ONPU_SYS_SLOTS), 4);
	assert_int_equal(fx_mcu(fx, ONPU_SYS_CONTEXTS), 8);
	assert_int_equal(fx_mcu(fx, ONPU_SYS_VECTORS), 8);
	assert_int_equal(fx_mcu(fx, ONPU_SYS_REGION_SIZE), 8 << 20);
	assert_int_equal(fx_mcu(fx, ONPU_SYS_VRAM_SIZE_LO), 64 << 20);
	assert_int_equal(fx_mcu(fx, ONPU_SYS_HW_VERSION), 0x10004);
	fx_mcu_wr(fx, ONPU_SYS_QUEUES, 1);
	assert_int_equal(fx_mcu(fx, ONPU_SYS_QUEUES), 64);
	fx_mcu_wr(fx, ONPU_SYS_HEARTBEAT, 55);
	fx_mcu_wr(fx, ONPU_SYS_FW_VERSION, 0x01020003);
	fx_mcu_wr(fx, ONPU_SYS_FW_MBOX, 0x400000);
	assert_int_equal(fx_rd(fx, ONPU_REG_HEARTBEAT), 55);
	assert_int_equal(fx_rd(fx, ONPU_REG_FW_VERSION), 0x01020003);
	assert_int_equal(fx_rd(fx, ONPU_REG_FW_MBOX), 0x400000);
	a = fx_mcu(fx, ONPU_SYS_TIME_LO);
	a |= (uint64_t)fx_mcu(fx, ONPU_SYS_TIME_HI) << 32;
	b = fx_rd64(fx, ONPU_REG_TIME);
	assert_true(a < b);
	assert_int_equal(fx_mcu(fx, ONPU_SYS_TIMECMP_HI), 0xffffffff);
	fx_mcu_wr(fx, ONPU_SYS_TIMECMP_HI, 0x12);
	assert_int_equal(fx_mcu(fx, ONPU_SYS_TIMECMP_HI), 0xffffffff);
	fx_mcu_wr(fx, ONPU_SYS_TIMECMP_LO, 0x34);
	assert_int_equal(fx_mcu(fx, ONPU_SYS_TIMECMP_HI), 0x12);
	assert_int_equal(fx_mcu(fx, ONPU_SYS_TIMECMP_LO), 0x34);
	fx_destroy(fx);
}

/* The whole peripheral space: accesses answer or fault, and nothing else happens. */
static void mcu_bus(void **state)
{
	struct fx *fx = fx_create(NULL);
	uint32_t value, ok = 0;

	(void)state;
	for (uint32_t addr = ONPU_MCU_SYS - 16; addr < ONPU_MCU_PERIPH_END + 16; addr++)
		ok += onpu_card_mcu_read32(fx->card, addr, &value) == 0;
	/* SYS, crypto, pending words and theirs, values, 3 words per context, slots, events. */
	assert_int_equal(ok, (ONPU_SYS_END - ONPU_MCU_SYS) / 4 + 6 + 8 + 2 + 1 + 64 + 3 * 8 +
			 4 * (12 + 14) + 1);
	assert_int_equal(onpu_card_mcu_read32(fx->card, 0, &value), -1);
	assert_int_equal(onpu_card_mcu_read32(fx->card, 0xfffffffc, &value), -1);
	assert_int_equal(onpu_card_mcu_write32(fx->card, ONPU_SLOT(4, 0), 1), -1);
	assert_int_equal(onpu_card_mcu_write32(fx->card, ONPU_CTX_CTRL(8), 1), -1);
	assert_int_equal(onpu_card_mcu_write32(fx->card, ONPU_DB_VALUE(64), 1), -1);
	assert_int_equal(onpu_card_mcu_write32(fx->card, ONPU_DOORBELL_PENDING(64), 1), -1);
	fx_destroy(fx);
}

static void crypto(void **state)
{
	static const uint8_t abc[32] = {	/* FIPS 180-4: SHA-256 of "abc" */
		0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae,
		0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61,
		0xf2, 0x00, 0x15, 0xad,
	};
	struct fx *fx = fx_create(NULL);

	(void)state;
	memcpy(fx->vram + 5, "abc", 3);
	fx_mcu_wr(fx, ONPU_CRYPTO_SRC, ONPU_MCU_WINDOW_BASE + 5);
	fx_mcu_wr(fx, ONPU_CRYPTO_LEN, 3);
	fx_mcu_wr(fx, ONPU_CRYPTO_CMD, ONPU_CRYPTO_SHA256);
	assert_int_equal(fx_mcu(fx, ONPU_CRYPTO_RESULT), ONPU_CRYPTO_OK);
	for (unsigned int i = 0; i < 8; i++) {
		uint32_t word;

		memcpy(&word, abc + 4 * i, 4);
		assert_int_equal(fx_mcu(fx, ONPU_CRYPTO_DIGEST + 4 * i), word);
	}
	/* Ranges that leave a memory. */
	fx_mcu_wr(fx, ONPU_CRYPTO_LEN, ONPU_FW_REGION_MIN_SIZE);
	fx_mcu_wr(fx, ONPU_CRYPTO_CMD, ONPU_CRYPTO_SHA256);
	assert_int_equal(fx_mcu(fx, ONPU_CRYPTO_RESULT), ONPU_CRYPTO_ERROR);
	fx_mcu_wr(fx, ONPU_CRYPTO_SRC, 0xffffffff);
	fx_mcu_wr(fx, ONPU_CRYPTO_CMD, ONPU_CRYPTO_SHA256);
	assert_int_equal(fx_mcu(fx, ONPU_CRYPTO_RESULT), ONPU_CRYPTO_ERROR);
	fx_mcu_wr(fx, ONPU_CRYPTO_SRC, ONPU_MCU_WINDOW_BASE);
	fx_mcu_wr(fx, ONPU_CRYPTO_LEN, 3);
	fx_mcu_wr(fx, ONPU_CRYPTO_KEY, ONPU_MCU_SRAM_BASE + ONPU_MCU_SRAM_SIZE - 31);
	fx_mcu_wr(fx, ONPU_CRYPTO_SIG, ONPU_MCU_SRAM_BASE);
	fx_mcu_wr(fx, ONPU_CRYPTO_CMD, ONPU_CRYPTO_VERIFY);
	assert_int_equal(fx_mcu(fx, ONPU_CRYPTO_RESULT), ONPU_CRYPTO_ERROR);
	fx_mcu_wr(fx, ONPU_CRYPTO_KEY, ONPU_MCU_SRAM_BASE);
	fx_mcu_wr(fx, ONPU_CRYPTO_CMD, ONPU_CRYPTO_VERIFY);
	assert_int_equal(fx_mcu(fx, ONPU_CRYPTO_RESULT), ONPU_CRYPTO_BAD);
	fx_mcu_wr(fx, ONPU_CRYPTO_CMD, 9);
	assert_int_equal(fx_mcu(fx, ONPU_CRYPTO_RESULT), ONPU_CRYPTO_ERROR);
	fx_destroy(fx);
}

static void bad_configs(void **state)
{
	static const struct onpu_host_ops ops;
	struct onpu_card_config good = { .vram = (void *)4096, .vram_size = 16 << 20 }, c;

	(void)state;
#define BAD(field, v) do { \
		c = good; \
		c.field = (v); \
		assert_null(onpu_card_create(&c, &ops, NULL)); \
	} while (0)
	BAD(vram, NULL);
	BAD(vram, (void *)4097);
	BAD(vram_size, 0);
	BAD(vram_size, 14 << 20);
	BAD(vram_size, (16 << 20) + 4096);
	BAD(aperture_size, 32 << 20);
	BAD(aperture_size, 4 << 20);
	BAD(slots, 65);
	BAD(queues, 1025);
	BAD(contexts, 257);
	BAD(vectors, 65);
	BAD(isa, "mmx");
#undef BAD
	onpu_card_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reset_values),
		cmocka_unit_test(read_only),
		cmocka_unit_test(every_offset),
		cmocka_unit_test(boot_registers),
		cmocka_unit_test(interrupt_causes),
		cmocka_unit_test(fatal),
		cmocka_unit_test(doorbells),
		cmocka_unit_test(reset_command),
		cmocka_unit_test(resets),
		cmocka_unit_test(mcu_registers),
		cmocka_unit_test(mcu_bus),
		cmocka_unit_test(crypto),
		cmocka_unit_test(bad_configs),
	};

	return cmocka_run_group_tests_name("registers", tests, NULL, NULL);
}

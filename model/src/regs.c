// SPDX-License-Identifier: MIT
/*
 * BAR0: registers and doorbell pages (uapi/onpu/regs.h).
 *
 * Idea: one table tells which registers exist, how wide they are and what may
 * be done to them; everything else is a guest error. A 64-bit register may be
 * accessed whole or by halves, so reads compute the whole value and cut it.
 *
 * Locking: card->lock for the registers that it guards. Host ops are called
 * after it has been dropped.
 */
#include <inttypes.h>
#include <string.h>

#include "onpu_internal.h"

enum reg_access { REG_NONE, REG_RO, REG_WO, REG_RW };

struct reg {
	uint8_t access;
	bool wide;
};

#define RO32(r)	[(r) / 4] = { REG_RO, false }
#define RO64(r)	[(r) / 4] = { REG_RO, true }
#define WO32(r)	[(r) / 4] = { REG_WO, false }
#define RW32(r)	[(r) / 4] = { REG_RW, false }
#define RW64(r)	[(r) / 4] = { REG_RW, true }

static const struct reg regs[ONPU_REGS_END / 4] = {
	RO32(ONPU_REG_MAGIC), RO32(ONPU_REG_HW_VERSION), RO32(ONPU_REG_OPCODES),
	RO32(ONPU_REG_CORES), RO32(ONPU_REG_DTYPES_IN), RO32(ONPU_REG_DTYPES_OUT),
	RO32(ONPU_REG_CORE_CLOCK_KHZ), RO32(ONPU_REG_DIM_MAX), RO64(ONPU_REG_VRAM_SIZE),
	RO64(ONPU_REG_APERTURE_SIZE), RO64(ONPU_REG_FW_REGION_OFFSET),
	RO64(ONPU_REG_FW_REGION_SIZE), RO32(ONPU_REG_QUEUES), RO32(ONPU_REG_SLOTS),
	RO32(ONPU_REG_CONTEXTS), RO32(ONPU_REG_VECTORS), RO32(ONPU_REG_VA_BITS),
	RO32(ONPU_REG_PAGE_SIZES), RO32(ONPU_REG_RING_ORDER_MAX), RO32(ONPU_REG_CALL_MAX),
	RO32(ONPU_REG_DOORBELL_OFFSET), RO32(ONPU_REG_DOORBELL_STRIDE), RO64(ONPU_REG_SERIAL),
	RO32(ONPU_REG_DMA_BITS), RO32(ONPU_REG_MACS_32), RO32(ONPU_REG_MACS_16),
	RO32(ONPU_REG_MACS_8), RO32(ONPU_REG_MACS_4), RO32(ONPU_REG_TILE),
	RO64(ONPU_REG_VRAM_BANDWIDTH), RO64(ONPU_REG_HOST_BANDWIDTH), RO32(ONPU_REG_PACKET_NS),

	WO32(ONPU_REG_RESET), RO32(ONPU_REG_STATUS), RW32(ONPU_REG_IRQ_CAUSE),
	RW32(ONPU_REG_IRQ_ENABLE), RO64(ONPU_REG_TIME), RO32(ONPU_REG_GENERATION),

	RW64(ONPU_REG_BOOT_ADDR), RW32(ONPU_REG_BOOT_SIZE), WO32(ONPU_REG_BOOT_CMD),
	RO32(ONPU_REG_BOOT_STATUS), RO32(ONPU_REG_HEARTBEAT), RO32(ONPU_REG_FW_VERSION),
	RO32(ONPU_REG_FW_MBOX),
	RO32(ONPU_REG_FUSE_KEY_HASH), RO32(ONPU_REG_FUSE_KEY_HASH + 4),
	RO32(ONPU_REG_FUSE_KEY_HASH + 8), RO32(ONPU_REG_FUSE_KEY_HASH + 12),
	RO32(ONPU_REG_FUSE_KEY_HASH + 16), RO32(ONPU_REG_FUSE_KEY_HASH + 20),
	RO32(ONPU_REG_FUSE_KEY_HASH + 24), RO32(ONPU_REG_FUSE_KEY_HASH + 28),
	RO32(ONPU_REG_FUSE_MIN_SVN), RO32(ONPU_REG_FUSE_FLAGS),

	WO32(ONPU_REG_MBOX_DB),

	WO32(ONPU_REG_TLB_INV), RO32(ONPU_REG_TLB_SEQ), RO32(ONPU_REG_TLB_DONE),

	RO64(ONPU_REG_CNT_BUSY_NS), RO64(ONPU_REG_CNT_PACKETS), RO64(ONPU_REG_CNT_MATMULS),
	RO64(ONPU_REG_CNT_MATMUL_OPS), RO64(ONPU_REG_CNT_COPY_BYTES),
	RO64(ONPU_REG_CNT_TLB_HITS), RO64(ONPU_REG_CNT_TLB_WALKS), RO64(ONPU_REG_CNT_FAULTS),
	RO64(ONPU_REG_CNT_IRQS),

	RO64(ONPU_REG_ENGINE_TIME),
	RO64(ONPU_REG_ENGINE_BUSY(ONPU_ENGINE_CORES)), RO64(ONPU_REG_ENGINE_BUSY(ONPU_ENGINE_COPY)),
	RO64(ONPU_REG_ENGINE_BUSY(ONPU_ENGINE_VRAM)),
	RO64(ONPU_REG_ENGINE_BUSY(ONPU_ENGINE_HOST_READ)),
	RO64(ONPU_REG_ENGINE_BUSY(ONPU_ENGINE_HOST_WRITE)),
	RO64(ONPU_REG_ENGINE_BYTES(ONPU_ENGINE_VRAM)),
	RO64(ONPU_REG_ENGINE_BYTES(ONPU_ENGINE_HOST_READ)),
	RO64(ONPU_REG_ENGINE_BYTES(ONPU_ENGINE_HOST_WRITE)),

	[ONPU_REG_IRQ_HOLD(0) / 4 ... ONPU_REG_IRQ_HOLD(ONPU_MAX_VECTORS - 1) / 4] = { REG_RW, false },
};

/* The register at offset, or that whose upper half stands there; base is where it starts. */
static const struct reg *find_reg(const struct onpu_card *card, uint64_t offset, uint32_t *base)
{
	const struct reg *reg;

	if (offset >= ONPU_REG_IRQ_HOLD(card->n_vectors))
		return NULL;
	*base = (uint32_t)offset & ~3u;
	reg = &regs[*base / 4];
	if (reg->access != REG_NONE)
		return reg;
	if (*base < 4 || !reg[-1].wide)
		return NULL;
	*base -= 4;
	return &reg[-1];
}

/* Whether an access of that size and place is one that the register takes. */
static bool access_fits(const struct reg *reg, uint32_t base, uint64_t offset, unsigned int size)
{
	if (size == 4)
		return offset % 4 == 0;
	return size == 8 && reg->wide && offset == base;
}

/* --- reading -------------------------------------------------------------- */

static uint32_t dtype_mask(bool input)
{
	uint32_t in = 0, out = 0;

	for (uint32_t t = 0; t < 32; t++) {
		uint32_t sum = onpu_gemm_sum_type(t, t, 0);

		if (sum) {
			in |= 1u << t;
			out |= 1u << sum;
		}
		if (onpu_gemm_is_result(t))
			out |= 1u << t;
	}
	return input ? in : out;
}

static uint64_t read_speed(struct onpu_card *card, uint32_t reg)
{
	switch (reg) {
	case ONPU_REG_TILE:
		return ONPU_COST_TILE;
	case ONPU_REG_VRAM_BANDWIDTH:
		return card->speed.vram_bandwidth;
	case ONPU_REG_HOST_BANDWIDTH:
		return card->speed.host_bandwidth;
	case ONPU_REG_PACKET_NS:
		return card->speed.packet_ns;
	default:
		return card->speed.macs[(reg - ONPU_REG_MACS_32) / 4];
	}
}

static uint64_t read_capability(struct onpu_card *card, uint32_t reg)
{
	switch (reg) {
	case ONPU_REG_MAGIC:
		return ONPU_MAGIC;
	case ONPU_REG_HW_VERSION:
		return ONPU_HW_VERSION_MAJOR << 16 | ONPU_HW_VERSION_MINOR;
	case ONPU_REG_OPCODES:
		return ONPU_OPCODES;
	case ONPU_REG_CORES:
		return card->speed.cores;
	case ONPU_REG_DTYPES_IN:
		return dtype_mask(true);
	case ONPU_REG_DTYPES_OUT:
		return dtype_mask(false);
	case ONPU_REG_CORE_CLOCK_KHZ:
		return card->speed.clock_khz;
	case ONPU_REG_DIM_MAX:
		return ONPU_DIM_MAX;
	case ONPU_REG_VRAM_SIZE:
		return card->vram_size;
	case ONPU_REG_APERTURE_SIZE:
		return card->aperture_size;
	case ONPU_REG_FW_REGION_OFFSET:
		return card->fw_offset;
	case ONPU_REG_FW_REGION_SIZE:
		return card->fw_size;
	case ONPU_REG_QUEUES:
		return card->n_queues;
	case ONPU_REG_SLOTS:
		return card->n_slots;
	case ONPU_REG_CONTEXTS:
		return card->n_contexts;
	case ONPU_REG_VECTORS:
		return card->n_vectors;
	case ONPU_REG_VA_BITS:
		return ONPU_MMU_VA_BITS;
	case ONPU_REG_PAGE_SIZES:
		return 1u << ONPU_MMU_PAGE_SHIFT | 1u << ONPU_MMU_HUGE_SHIFT;
	case ONPU_REG_RING_ORDER_MAX:
		return ONPU_RING_ORDER_MAX;
	case ONPU_REG_CALL_MAX:
		return ONPU_CALL_MAX;
	case ONPU_REG_DOORBELL_OFFSET:
		return ONPU_DOORBELL_BASE;
	case ONPU_REG_DOORBELL_STRIDE:
		return ONPU_DOORBELL_PAGE;
	case ONPU_REG_SERIAL:
		return card->serial;
	case ONPU_REG_DMA_BITS:
		return ONPU_DMA_BITS;
	default:
		return read_speed(card, reg);
	}
}

static uint64_t read_engine(struct onpu_card *card, uint32_t reg)
{
	if (reg == ONPU_REG_ENGINE_TIME)
		return onpu_engine_time(card);
	if (reg >= ONPU_REG_ENGINE_BYTES(ONPU_ENGINE_VRAM))
		return atomic_load(&card->cnt.engine_bytes[(reg - ONPU_REG_ENGINE_BYTES(0)) / 8]);
	return atomic_load(&card->cnt.engine_ns[(reg - ONPU_REG_ENGINE_BUSY(0)) / 8]);
}

static uint64_t read_counter(struct onpu_card *card, uint32_t reg)
{
	_Atomic uint64_t *counters[] = {
		&card->cnt.busy_ns, &card->cnt.packets, &card->cnt.matmuls, &card->cnt.matmul_ops,
		&card->cnt.copy_bytes, &card->cnt.tlb_hits, &card->cnt.tlb_walks,
		&card->cnt.faults, &card->cnt.irqs,
	};

	return atomic_load(counters[(reg - ONPU_REG_CNT_BUSY_NS) / 8]);
}

/* card->lock held. */
static uint32_t read_status(struct onpu_card *card)
{
	uint32_t status = 0;

	if (card->fatal)
		status |= ONPU_STATUS_FATAL;
	else
		status |= ONPU_STATUS_MCU_RUN;
	if (ONPU_BOOT_STAGE(card->boot_status) == ONPU_BOOT_STAGE_READY)
		status |= ONPU_STATUS_FW_READY;
	if (atomic_load(&card->busy_slots))
		status |= ONPU_STATUS_BUSY;
	return status;
}

/* card->lock held. */
static uint64_t read_locked(struct onpu_card *card, uint32_t reg)
{
	uint32_t word;

	switch (reg) {
	case ONPU_REG_STATUS:
		return read_status(card);
	case ONPU_REG_IRQ_CAUSE:
		return card->irq_cause;
	case ONPU_REG_IRQ_ENABLE:
		return card->irq_enable;
	case ONPU_REG_BOOT_ADDR:
		return card->boot_addr;
	case ONPU_REG_BOOT_SIZE:
		return card->boot_size;
	case ONPU_REG_BOOT_STATUS:
		return card->boot_status;
	case ONPU_REG_HEARTBEAT:
		return card->heartbeat;
	case ONPU_REG_FW_VERSION:
		return card->fw_version;
	case ONPU_REG_FW_MBOX:
		return card->fw_mbox;
	case ONPU_REG_FUSE_MIN_SVN:
		return card->min_svn;
	case ONPU_REG_FUSE_FLAGS:
		return card->fuse_flags;
	default: /* ONPU_REG_FUSE_KEY_HASH */
		memcpy(&word, card->key_hash + (reg - ONPU_REG_FUSE_KEY_HASH), sizeof(word));
		return word;
	}
}

static uint64_t read_reg(struct onpu_card *card, uint32_t reg)
{
	uint64_t value;

	if (reg < ONPU_REG_RESET)
		return read_capability(card, reg);
	if (reg >= ONPU_REG_CNT_BUSY_NS && reg <= ONPU_REG_CNT_IRQS)
		return read_counter(card, reg);
	if (reg >= ONPU_REG_IRQ_HOLD(0))
		return atomic_load(&card->irq_hold[(reg - ONPU_REG_IRQ_HOLD(0)) / 4]);
	if (reg >= ONPU_REG_ENGINE_TIME)
		return read_engine(card, reg);
	switch (reg) {
	case ONPU_REG_TIME:
		return onpu_card_time(card);
	case ONPU_REG_GENERATION:
		return atomic_load(&card->generation);
	case ONPU_REG_TLB_SEQ:
		return onpu_tlb_seq(card);
	case ONPU_REG_TLB_DONE:
		return onpu_tlb_done(card);
	default:
		break;
	}
	pthread_mutex_lock(&card->lock);
	value = read_locked(card, reg);
	pthread_mutex_unlock(&card->lock);
	if (reg == ONPU_REG_HEARTBEAT)
		onpu_mcu_rouse(card);
	return value;
}

/* --- writing -------------------------------------------------------------- */

static void write_boot_cmd(struct onpu_card *card, uint64_t value)
{
	if (value != ONPU_BOOT_START) {
		onpu_guest_error(card, "BOOT_CMD: unknown command 0x%" PRIx64, value);
		return;
	}
	onpu_mcu_irq(card, ONPU_MCU_IRQ_BOOT);
}

static void write_reset(struct onpu_card *card, uint64_t value)
{
	if (value != ONPU_RESET_KEY) {
		onpu_guest_error(card, "RESET: wrong key 0x%" PRIx64, value);
		return;
	}
	card->ops->reset_request(card->opaque);
}

static void write_tlb_inv(struct onpu_card *card, uint64_t value)
{
	if (value >= card->n_contexts && value != ONPU_TLB_INV_ALL) {
		onpu_guest_error(card, "TLB_INV: no context %" PRIu64, value);
		return;
	}
	onpu_tlb_request(card, (uint32_t)value);
}

/* Causes that stay, or have just been enabled, raise vector 0 again: no edge is lost. */
static void write_irq(struct onpu_card *card, uint32_t reg, uint32_t value)
{
	bool raise;

	pthread_mutex_lock(&card->lock);
	if (reg == ONPU_REG_IRQ_CAUSE)
		card->irq_cause &= ~value;
	else
		card->irq_enable = value & ONPU_IRQ_ALL;
	raise = card->irq_cause & card->irq_enable;
	pthread_mutex_unlock(&card->lock);
	if (value & ~ONPU_IRQ_ALL)
		onpu_guest_error(card, "register 0x%03x: reserved bits in 0x%08x", reg, value);
	if (raise)
		onpu_card_raise(card, 0);
}

static void write_mbox(struct onpu_card *card)
{
	onpu_trace(card, ONPU_TRACE_MBOX, 0, 0, 0);
	if (!atomic_load(&card->inject.mbox_silent))
		onpu_mcu_irq(card, ONPU_MCU_IRQ_MBOX);
}

static void write_boot_addr(struct onpu_card *card, uint64_t value, uint64_t mask)
{
	pthread_mutex_lock(&card->lock);
	card->boot_addr = (card->boot_addr & ~mask) | (value & mask);
	pthread_mutex_unlock(&card->lock);
}

/* mask: the bits of the register that the access names. */
static void write_reg(struct onpu_card *card, uint32_t reg, uint64_t value, uint64_t mask)
{
	if (reg >= ONPU_REG_IRQ_HOLD(0)) {
		atomic_store(&card->irq_hold[(reg - ONPU_REG_IRQ_HOLD(0)) / 4], (uint32_t)value);
		return;
	}
	switch (reg) {
	case ONPU_REG_RESET:
		write_reset(card, value);
		break;
	case ONPU_REG_IRQ_CAUSE:
	case ONPU_REG_IRQ_ENABLE:
		write_irq(card, reg, (uint32_t)value);
		break;
	case ONPU_REG_BOOT_ADDR:
		write_boot_addr(card, value, mask);
		break;
	case ONPU_REG_BOOT_SIZE:
		pthread_mutex_lock(&card->lock);
		card->boot_size = (uint32_t)value;
		pthread_mutex_unlock(&card->lock);
		break;
	case ONPU_REG_BOOT_CMD:
		write_boot_cmd(card, value);
		break;
	case ONPU_REG_MBOX_DB:
		write_mbox(card);
		break;
	case ONPU_REG_TLB_INV:
		write_tlb_inv(card, value);
		break;
	default:
		break;
	}
}

/* --- doorbells ------------------------------------------------------------ */

/* Queue whose doorbell an access means, or -1. */
static int doorbell_queue(struct onpu_card *card, uint64_t offset, unsigned int size)
{
	uint64_t queue;

	if (offset < ONPU_DOORBELL_BASE || size != 4)
		return -1;
	offset -= ONPU_DOORBELL_BASE;
	queue = offset / ONPU_DOORBELL_PAGE;
	if (offset % ONPU_DOORBELL_PAGE != ONPU_DB_PRODUCER || queue >= card->n_queues)
		return -1;
	return (int)queue;
}

/* --- entry points --------------------------------------------------------- */

uint64_t onpu_card_mmio_read(struct onpu_card *card, uint64_t offset, unsigned int size)
{
	int queue = doorbell_queue(card, offset, size);
	const struct reg *reg;
	uint32_t base = 0;
	uint64_t value;

	if (queue >= 0)
		return atomic_load(&card->db_value[queue]);
	reg = find_reg(card, offset, &base);
	if (!reg || !access_fits(reg, base, offset, size)) {
		onpu_guest_error(card, "read of %u bytes at 0x%06" PRIx64, size, offset);
		return 0;
	}
	if (reg->access == REG_WO)
		return 0;
	value = read_reg(card, base);
	if (size == 8)
		return value;
	return (uint32_t)(value >> (offset == base ? 0 : 32));
}

void onpu_card_mmio_write(struct onpu_card *card, uint64_t offset, uint64_t value,
			  unsigned int size)
{
	int queue = doorbell_queue(card, offset, size);
	const struct reg *reg;
	uint32_t base = 0;
	uint64_t mask = UINT64_MAX;

	if (queue >= 0) {
		onpu_doorbell(card, (uint32_t)queue, (uint32_t)value);
		return;
	}
	reg = find_reg(card, offset, &base);
	if (!reg || !access_fits(reg, base, offset, size) || reg->access == REG_RO) {
		onpu_guest_error(card, "write of %u bytes at 0x%06" PRIx64 ": 0x%" PRIx64, size,
				 offset, value);
		return;
	}
	if (size == 4) {
		unsigned int shift = offset == base ? 0 : 32;

		mask = 0xffffffffull << shift;
		value = (value & 0xffffffffu) << shift;
	}
	write_reg(card, base, value, mask);
}

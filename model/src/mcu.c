// SPDX-License-Identifier: MIT
/*
 * The management controller (MCU): the simulated RISC-V hart, its bus and the
 * thread that runs it.
 *
 * Idea: ROM, SRAM and the window onto the firmware region of card memory are
 * regions of the simulator; everything else goes through bus_load() and
 * bus_store(), which know the registers of uapi/onpu/mcu.h. The thread runs
 * the hart in quanta; at WFI it sleeps until somebody kicks it (an interrupt,
 * a park request) or the timer compare is reached. In deterministic mode
 * onpu_mcu_step() runs one quantum in the caller.
 *
 * Locking: the hart belongs to the MCU thread, or to whoever has parked it.
 * Registers that the host sees, too, are under card->lock; sleeping, parking
 * and kicks under mcu.lock, which nests inside everything. Registers that
 * only the MCU's bus reaches (crypto, latches) need no lock.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crypto.h"
#include "onpu_internal.h"
#include "onpu_rom.h"

#define QUANTUM		20000u	/* instructions between two looks at the clock */
#define IDLE_BEATS	3u	/* before heartbeats are slept through */

static struct onpu_card *card_of(struct onpu_mcu *mcu)
{
	return container_of(mcu, struct onpu_card, mcu);
}

/* --- interrupts, waking --------------------------------------------------- */

void onpu_mcu_kick(struct onpu_card *card)
{
	struct onpu_mcu *mcu = &card->mcu;

	pthread_mutex_lock(&mcu->lock);
	mcu->kicks++;
	atomic_store(&mcu->idle_beats, 0);
	pthread_cond_signal(&mcu->cond);
	pthread_mutex_unlock(&mcu->lock);
}

/*
 * Sleeping through heartbeats (heartbeat_on_demand). When the hart wakes by its timer only, and has done nothing each
 * time but count up HEARTBEAT and set the timer once, then there is nothing that it waits for. So it may go on
 * sleeping as long as nobody can tell: until it is kicked, a slot begins to run, or HEARTBEAT is read.
 */

static bool nothing_but_beats(struct onpu_mcu *mcu)
{
	struct onpu_card *card = card_of(mcu);

	return mcu->may_doze && atomic_load(&mcu->idle_beats) >= IDLE_BEATS && !atomic_load(&card->busy_slots) &&
	       !atomic_load(&card->polled);
}

void onpu_mcu_rouse(struct onpu_card *card)
{
	if (atomic_load(&card->mcu.dozing))
		onpu_mcu_kick(card);
}

/* What the firmware stores to registers. */
static void note_store(struct onpu_mcu *mcu, uint32_t addr)
{
	if (addr == ONPU_SYS_HEARTBEAT) {
		atomic_fetch_add(&mcu->idle_beats, 1);
		atomic_store(&mcu->timer_sets, 0);
	} else if (addr == ONPU_SYS_TIMECMP_LO ? atomic_fetch_add(&mcu->timer_sets, 1) > 0 :
		   addr != ONPU_SYS_TIMECMP_HI && addr != ONPU_SYS_IRQ_ACK) {
		atomic_store(&mcu->idle_beats, 0);
	}
}

/* card->lock held; true if the line is up. */
static bool update_line(struct onpu_mcu *mcu)
{
	bool level = mcu->irq_pending & mcu->irq_enable;

	onpu_rv32_set_irq(mcu->hart, ONPU_RV32_IRQ_EXT, level);
	return level;
}

void onpu_mcu_irq(struct onpu_card *card, uint32_t bits)
{
	bool level;

	pthread_mutex_lock(&card->lock);
	card->mcu.irq_pending |= bits;
	level = update_line(&card->mcu);
	pthread_mutex_unlock(&card->lock);
	if (level)
		onpu_mcu_kick(card);
}

/* Drives the timer line; true if it is up. */
static bool update_timer(struct onpu_mcu *mcu)
{
	bool level = onpu_card_time(card_of(mcu)) >= atomic_load(&mcu->timecmp);

	onpu_rv32_set_irq(mcu->hart, ONPU_RV32_IRQ_TIMER, level);
	return level;
}

/* The MCU is dead until the next reset. */
void onpu_mcu_crash(struct onpu_card *card)
{
	struct onpu_mcu *mcu = &card->mcu;
	uint32_t status;

	if (atomic_exchange(&mcu->halted, true))
		return;
	pthread_mutex_lock(&card->lock);
	card->fatal = true;
	card->boot_status = (card->boot_status & ~0xffu) | ONPU_BOOT_STAGE_CRASHED;
	status = card->boot_status;
	pthread_mutex_unlock(&card->lock);
	onpu_rv32_stop(mcu->hart);
	onpu_trace(card, ONPU_TRACE_BOOT, status, 0, 0);
	onpu_card_cause(card, ONPU_IRQ_FATAL);
}

/* --- SYS ------------------------------------------------------------------ */

static uint32_t hash_word(const uint8_t *hash, uint32_t offset)
{
	uint32_t word;

	memcpy(&word, hash + offset, sizeof(word));
	return word;
}

/* Constants of the card. */
static bool sys_read_const(struct onpu_card *card, uint32_t addr, uint32_t *value)
{
	if (addr >= ONPU_SYS_KEY_HASH && addr < ONPU_SYS_KEY_HASH + 32) {
		*value = hash_word(card->key_hash, addr - ONPU_SYS_KEY_HASH);
		return true;
	}
	if (addr >= ONPU_SYS_DEV_KEY_HASH && addr < ONPU_SYS_DEV_KEY_HASH + 32) {
		*value = hash_word(onpu_rom_dev_key_hash, addr - ONPU_SYS_DEV_KEY_HASH);
		return true;
	}
	switch (addr) {
	case ONPU_SYS_MIN_SVN:
		*value = card->min_svn;
		return true;
	case ONPU_SYS_FUSE_FLAGS:
		*value = card->fuse_flags;
		return true;
	case ONPU_SYS_HW_VERSION:
		*value = ONPU_HW_VERSION_MAJOR << 16 | ONPU_HW_VERSION_MINOR;
		return true;
	case ONPU_SYS_QUEUES:
		*value = card->n_queues;
		return true;
	case ONPU_SYS_SLOTS:
		*value = card->n_slots;
		return true;
	case ONPU_SYS_CONTEXTS:
		*value = card->n_contexts;
		return true;
	case ONPU_SYS_VECTORS:
		*value = card->n_vectors;
		return true;
	case ONPU_SYS_REGION_SIZE:
		*value = (uint32_t)card->fw_size;
		return true;
	case ONPU_SYS_VRAM_SIZE_LO:
		*value = (uint32_t)card->vram_size;
		return true;
	case ONPU_SYS_VRAM_SIZE_HI:
		*value = (uint32_t)(card->vram_size >> 32);
		return true;
	case ONPU_SYS_RING_ORDER_MAX:
		*value = ONPU_RING_ORDER_MAX;
		return true;
	case ONPU_SYS_REGION_OFFSET_LO:
		*value = (uint32_t)card->fw_offset;
		return true;
	case ONPU_SYS_REGION_OFFSET_HI:
		*value = (uint32_t)(card->fw_offset >> 32);
		return true;
	default:
		return false;
	}
}

static int sys_read_locked(struct onpu_card *card, uint32_t addr, uint32_t *value)
{
	struct onpu_mcu *mcu = &card->mcu;

	switch (addr) {
	case ONPU_SYS_IRQ_PENDING:
		*value = mcu->irq_pending;
		return 0;
	case ONPU_SYS_IRQ_ENABLE:
		*value = mcu->irq_enable;
		return 0;
	case ONPU_SYS_BOOT_ADDR_LO:
		*value = (uint32_t)card->boot_addr;
		return 0;
	case ONPU_SYS_BOOT_ADDR_HI:
		*value = (uint32_t)(card->boot_addr >> 32);
		return 0;
	case ONPU_SYS_BOOT_SIZE:
		*value = card->boot_size;
		return 0;
	case ONPU_SYS_BOOT_STATUS:
		*value = card->boot_status;
		return 0;
	case ONPU_SYS_HEARTBEAT:
		*value = card->heartbeat;
		return 0;
	case ONPU_SYS_FW_VERSION:
		*value = card->fw_version;
		return 0;
	case ONPU_SYS_FW_MBOX:
		*value = card->fw_mbox;
		return 0;
	case ONPU_SYS_IRQ_ACK:
	case ONPU_SYS_HOST_IRQ:
	case ONPU_SYS_FATAL:
		*value = 0;
		return 0;
	default:
		return -1;
	}
}

static int sys_read(struct onpu_card *card, uint32_t addr, uint32_t *value)
{
	struct onpu_mcu *mcu = &card->mcu;
	uint64_t time;
	int ret;

	switch (addr) {
	case ONPU_SYS_TIME_LO:
		time = onpu_card_time(card);
		mcu->time_hi = (uint32_t)(time >> 32);
		*value = (uint32_t)time;
		return 0;
	case ONPU_SYS_TIME_HI:
		*value = mcu->time_hi;
		return 0;
	case ONPU_SYS_TIMECMP_LO:
		*value = (uint32_t)atomic_load(&mcu->timecmp);
		return 0;
	case ONPU_SYS_TIMECMP_HI:
		*value = (uint32_t)(atomic_load(&mcu->timecmp) >> 32);
		return 0;
	default:
		break;
	}
	if (sys_read_const(card, addr, value))
		return 0;
	pthread_mutex_lock(&card->lock);
	ret = sys_read_locked(card, addr, value);
	pthread_mutex_unlock(&card->lock);
	return ret;
}

static void write_boot_status(struct onpu_card *card, uint32_t value)
{
	uint32_t stage = ONPU_BOOT_STAGE(value);

	pthread_mutex_lock(&card->lock);
	card->boot_status = value;
	pthread_mutex_unlock(&card->lock);
	onpu_trace(card, ONPU_TRACE_BOOT, value, 0, 0);
	if (stage == ONPU_BOOT_STAGE_READY || stage == ONPU_BOOT_STAGE_FAILED)
		onpu_card_cause(card, ONPU_IRQ_BOOT);
}

static int sys_write_locked(struct onpu_card *card, uint32_t addr, uint32_t value)
{
	struct onpu_mcu *mcu = &card->mcu;

	switch (addr) {
	case ONPU_SYS_IRQ_ENABLE:
		mcu->irq_enable = value;
		atomic_store(&card->watch_signals, (value & ONPU_MCU_IRQ_SIGNAL) != 0);
		update_line(mcu);
		return 0;
	case ONPU_SYS_IRQ_ACK:
		mcu->irq_pending &= ~value;
		update_line(mcu);
		return 0;
	case ONPU_SYS_HEARTBEAT:
		card->heartbeat = value;
		return 0;
	case ONPU_SYS_FW_VERSION:
		card->fw_version = value;
		return 0;
	case ONPU_SYS_FW_MBOX:
		card->fw_mbox = value;
		return 0;
	default:
		return -1;
	}
}

static int sys_write(struct onpu_card *card, uint32_t addr, uint32_t value)
{
	struct onpu_mcu *mcu = &card->mcu;
	uint32_t unused;
	int ret;

	switch (addr) {
	case ONPU_SYS_HOST_IRQ:
		if (value & ONPU_IRQ_MBOX)
			onpu_trace(card, ONPU_TRACE_MBOX, 1, 0, 0);
		onpu_card_cause(card, value & ONPU_IRQ_ALL);
		return 0;
	case ONPU_SYS_BOOT_STATUS:
		write_boot_status(card, value);
		return 0;
	case ONPU_SYS_FATAL:
		onpu_mcu_crash(card);
		return 0;
	case ONPU_SYS_TIMECMP_HI:
		mcu->timecmp_hi_latch = value;
		return 0;
	case ONPU_SYS_TIMECMP_LO:
		atomic_store(&mcu->timecmp, (uint64_t)mcu->timecmp_hi_latch << 32 | value);
		update_timer(mcu);
		return 0;
	default:
		break;
	}
	pthread_mutex_lock(&card->lock);
	ret = sys_write_locked(card, addr, value);
	pthread_mutex_unlock(&card->lock);
	/* Stores to read-only registers are ignored. */
	if (ret)
		ret = sys_read(card, addr, &unused);
	return ret;
}

/* --- CRYPTO --------------------------------------------------------------- */

/* MCU memory [addr, addr + len) as a pointer, or NULL. */
static const uint8_t *mcu_memory(struct onpu_card *card, uint32_t addr, uint32_t len)
{
	const struct {
		uint32_t base, size;
		const uint8_t *ptr;
	} regions[] = {
		{ ONPU_MCU_ROM_BASE, ONPU_MCU_ROM_SIZE, card->mcu.rom },
		{ ONPU_MCU_SRAM_BASE, ONPU_MCU_SRAM_SIZE, card->mcu.sram },
		{ ONPU_MCU_WINDOW_BASE, (uint32_t)card->fw_size, card->vram + card->fw_offset },
	};

	for (size_t i = 0; i < ARRAY_SIZE(regions); i++) {
		uint32_t off = addr - regions[i].base;

		if (addr >= regions[i].base && off < regions[i].size &&
		    len <= regions[i].size - off)
			return regions[i].ptr + off;
	}
	return NULL;
}

static uint32_t crypto_run(struct onpu_card *card, uint32_t cmd)
{
	struct onpu_mcu *mcu = &card->mcu;
	const uint8_t *src = mcu_memory(card, mcu->crypto_src, mcu->crypto_len);
	const uint8_t *key, *sig;

	if (!src)
		return ONPU_CRYPTO_ERROR;
	switch (cmd) {
	case ONPU_CRYPTO_SHA256:
		onpu_sha256(src, mcu->crypto_len, mcu->crypto_digest);
		return ONPU_CRYPTO_OK;
	case ONPU_CRYPTO_VERIFY:
		key = mcu_memory(card, mcu->crypto_key, ONPU_ED25519_KEY_BYTES);
		sig = mcu_memory(card, mcu->crypto_sig, ONPU_ED25519_SIG_BYTES);
		if (!key || !sig)
			return ONPU_CRYPTO_ERROR;
		return onpu_ed25519_verify(sig, src, mcu->crypto_len, key) ? ONPU_CRYPTO_OK
									   : ONPU_CRYPTO_BAD;
	default:
		return ONPU_CRYPTO_ERROR;
	}
}

static int crypto_access(struct onpu_card *card, uint32_t addr, bool write, uint32_t *value)
{
	struct onpu_mcu *mcu = &card->mcu;
	uint32_t *reg;

	switch (addr) {
	case ONPU_CRYPTO_SRC:
		reg = &mcu->crypto_src;
		break;
	case ONPU_CRYPTO_LEN:
		reg = &mcu->crypto_len;
		break;
	case ONPU_CRYPTO_KEY:
		reg = &mcu->crypto_key;
		break;
	case ONPU_CRYPTO_SIG:
		reg = &mcu->crypto_sig;
		break;
	case ONPU_CRYPTO_CMD:
		if (write)
			mcu->crypto_result = crypto_run(card, *value);
		else
			*value = 0;
		return 0;
	case ONPU_CRYPTO_RESULT:
		if (!write)
			*value = mcu->crypto_result;
		return 0;
	default:
		if (addr < ONPU_CRYPTO_DIGEST || addr >= ONPU_CRYPTO_END)
			return -1;
		if (!write)
			*value = hash_word(mcu->crypto_digest, addr - ONPU_CRYPTO_DIGEST);
		return 0;
	}
	if (write)
		*reg = *value;
	else
		*value = *reg;
	return 0;
}

/* --- DOORBELL, CONTEXT ---------------------------------------------------- */

static uint32_t doorbell_words(struct onpu_card *card)
{
	uint32_t bits = 0;

	for (unsigned int i = 0; i < (card->n_queues + 31) / 32; i++)
		bits |= (atomic_load(&card->db_pending[i]) ? 1u : 0) << i;
	return bits;
}

static int doorbell_access(struct onpu_card *card, uint32_t addr, bool write, uint32_t *value)
{
	uint32_t index;

	if (addr >= ONPU_MCU_DB_VALUES) {
		index = (addr - ONPU_MCU_DB_VALUES) / 4;
		if (index >= card->n_queues)
			return -1;
		if (write)
			atomic_store(&card->db_value[index], *value);
		else
			*value = atomic_load(&card->db_value[index]);
		return 0;
	}
	if (addr == ONPU_DOORBELL_WORDS) {
		if (!write)
			*value = doorbell_words(card);
		return 0;
	}
	index = (addr - ONPU_MCU_DOORBELL) / 4;
	if (index >= (card->n_queues + 31) / 32)
		return -1;
	if (write)
		atomic_fetch_and(&card->db_pending[index], ~*value);
	else
		*value = atomic_load(&card->db_pending[index]);
	return 0;
}

static int context_access(struct onpu_card *card, uint32_t addr, bool write, uint32_t *value)
{
	uint32_t index = (addr - ONPU_MCU_CONTEXTS) / 16;
	struct onpu_context *ctx;
	uint64_t root;

	if (index >= card->n_contexts)
		return -1;
	ctx = &card->contexts[index];
	root = atomic_load(&ctx->root);
	switch (addr % 16) {
	case 0:
		if (write)
			atomic_store(&ctx->root, (root & ~0xffffffffull) | *value);
		else
			*value = (uint32_t)root;
		return 0;
	case 4:
		if (write)
			atomic_store(&ctx->root, (root & 0xffffffffull) | (uint64_t)*value << 32);
		else
			*value = (uint32_t)(root >> 32);
		return 0;
	case 8:
		if (!write) {
			*value = atomic_load(&ctx->ctrl);
			return 0;
		}
		atomic_store(&ctx->ctrl, *value & ONPU_CTX_VALID);
		onpu_tlb_invalidate_context(card, index);
		return 0;
	default:
		return -1;
	}
}

/* --- SLOTS ---------------------------------------------------------------- */

static uint32_t events_word(struct onpu_card *card, uint32_t word)
{
	uint32_t bits = 0;

	for (unsigned int i = word * 32; i < card->n_slots && i < word * 32 + 32; i++) {
		struct onpu_slot *slot = &card->slots[i];

		if (atomic_load(&slot->events) & atomic_load(&slot->event_enable))
			bits |= 1u << i % 32;
	}
	return bits;
}

static int slot_read(struct onpu_slot *slot, uint32_t reg, uint32_t *value)
{
	switch (reg) {
	case ONPU_SLOT_QUEUE:
		*value = slot->queue;
		return 0;
	case ONPU_SLOT_ASID:
		*value = slot->asid;
		return 0;
	case ONPU_SLOT_RING_LO:
		*value = (uint32_t)slot->ring;
		return 0;
	case ONPU_SLOT_RING_HI:
		*value = (uint32_t)(slot->ring >> 32);
		return 0;
	case ONPU_SLOT_RING_ORDER:
		*value = slot->order;
		return 0;
	case ONPU_SLOT_FLAGS:
		*value = slot->flags;
		return 0;
	case ONPU_SLOT_VECTOR:
		*value = slot->vector;
		return 0;
	case ONPU_SLOT_CTL_LO:
		*value = (uint32_t)slot->ctl;
		return 0;
	case ONPU_SLOT_CTL_HI:
		*value = (uint32_t)(slot->ctl >> 32);
		return 0;
	case ONPU_SLOT_CONSUMER:
		*value = atomic_load(&slot->consumer);
		return 0;
	case ONPU_SLOT_CONSUMER_HI:
		*value = atomic_load(&slot->consumer_hi);
		return 0;
	case ONPU_SLOT_SAVE:
		*value = slot->save;
		return 0;
	case ONPU_SLOT_CMD:
		*value = 0;
		return 0;
	case ONPU_SLOT_STATE:
		*value = atomic_load(&slot->state);
		return 0;
	case ONPU_SLOT_EVENTS:
		*value = atomic_load(&slot->events);
		return 0;
	case ONPU_SLOT_EVENT_ENABLE:
		*value = atomic_load(&slot->event_enable);
		return 0;
	case ONPU_SLOT_ERROR:
		*value = atomic_load(&slot->error);
		return 0;
	case ONPU_SLOT_FAULT_LO:
		*value = (uint32_t)atomic_load(&slot->fault_va);
		return 0;
	case ONPU_SLOT_FAULT_HI:
		*value = (uint32_t)(atomic_load(&slot->fault_va) >> 32);
		return 0;
	case ONPU_SLOT_FAULT_INFO:
		*value = atomic_load(&slot->fault_info);
		return 0;
	case ONPU_SLOT_OPCODE:
		*value = atomic_load(&slot->opcode);
		return 0;
	case ONPU_SLOT_BUSY_LO:
		*value = (uint32_t)atomic_load(&slot->busy_ns);
		return 0;
	case ONPU_SLOT_BUSY_HI:
		*value = (uint32_t)(atomic_load(&slot->busy_ns) >> 32);
		return 0;
	case ONPU_SLOT_SAVED:
		*value = atomic_load(&slot->saved);
		return 0;
	case ONPU_SLOT_PROGRESS:
		*value = atomic_load(&slot->progress);
		return 0;
	case ONPU_SLOT_PACKETS:
		*value = atomic_load(&slot->packets);
		return 0;
	default:
		return -1;
	}
}

static void set_half(uint64_t *value, bool high, uint32_t half)
{
	if (high)
		*value = (*value & 0xffffffffull) | (uint64_t)half << 32;
	else
		*value = (*value & ~0xffffffffull) | half;
}

/* slot->lock held, slot FREE. */
static void slot_configure(struct onpu_slot *slot, uint32_t reg, uint32_t value)
{
	switch (reg) {
	case ONPU_SLOT_QUEUE:
		slot->queue = value;
		break;
	case ONPU_SLOT_ASID:
		slot->asid = value;
		break;
	case ONPU_SLOT_RING_LO:
	case ONPU_SLOT_RING_HI:
		set_half(&slot->ring, reg == ONPU_SLOT_RING_HI, value);
		break;
	case ONPU_SLOT_RING_ORDER:
		slot->order = value;
		break;
	case ONPU_SLOT_FLAGS:
		slot->flags = value;
		break;
	case ONPU_SLOT_VECTOR:
		slot->vector = value;
		break;
	case ONPU_SLOT_CTL_LO:
	case ONPU_SLOT_CTL_HI:
		set_half(&slot->ctl, reg == ONPU_SLOT_CTL_HI, value);
		break;
	case ONPU_SLOT_CONSUMER:
		atomic_store(&slot->consumer, value);
		break;
	case ONPU_SLOT_CONSUMER_HI:
		atomic_store(&slot->consumer_hi, value);
		break;
	case ONPU_SLOT_SAVE:
		slot->save = value;
		break;
	default:
		break;
	}
}

static int slot_write(struct onpu_slot *slot, uint32_t reg, uint32_t value)
{
	uint32_t unused;

	switch (reg) {
	case ONPU_SLOT_CMD:
		onpu_slot_command(slot, value);
		return 0;
	case ONPU_SLOT_EVENTS:
		onpu_slot_events_clear(slot, value);
		return 0;
	case ONPU_SLOT_EVENT_ENABLE:
		onpu_slot_event_enable(slot, value);
		return 0;
	default:
		break;
	}
	pthread_mutex_lock(&slot->lock);
	if (atomic_load(&slot->state) == ONPU_SLOT_FREE)
		slot_configure(slot, reg, value);
	pthread_mutex_unlock(&slot->lock);
	/* Stores to read-only registers are ignored. */
	return slot_read(slot, reg, &unused);
}

static int slots_access(struct onpu_card *card, uint32_t addr, bool write, uint32_t *value)
{
	uint32_t off = addr - ONPU_MCU_SLOTS, index = off / ONPU_SLOT_STRIDE;

	if (addr >= ONPU_SLOTS_EVENTS(0)) {
		uint32_t word = (addr - ONPU_SLOTS_EVENTS(0)) / 4;

		if (word >= (card->n_slots + 31) / 32)
			return -1;
		if (!write)
			*value = events_word(card, word);
		return 0;
	}
	if (index >= card->n_slots)
		return -1;
	if (write)
		return slot_write(&card->slots[index], off % ONPU_SLOT_STRIDE, *value);
	return slot_read(&card->slots[index], off % ONPU_SLOT_STRIDE, value);
}

/* --- the bus -------------------------------------------------------------- */

static int bus_access(struct onpu_card *card, uint32_t addr, bool write, uint32_t *value)
{
	if (addr % 4 || addr < ONPU_MCU_SYS || addr >= ONPU_MCU_PERIPH_END)
		return -1;
	if (addr >= ONPU_MCU_SLOTS)
		return slots_access(card, addr, write, value);
	if (addr >= ONPU_MCU_CONTEXTS)
		return context_access(card, addr, write, value);
	if (addr >= ONPU_MCU_DOORBELL)
		return doorbell_access(card, addr, write, value);
	if (addr >= ONPU_MCU_CRYPTO)
		return crypto_access(card, addr, write, value);
	return write ? sys_write(card, addr, *value) : sys_read(card, addr, value);
}

int onpu_card_mcu_read32(struct onpu_card *card, uint32_t addr, uint32_t *value)
{
	*value = 0;
	return bus_access(card, addr, false, value);
}

int onpu_card_mcu_write32(struct onpu_card *card, uint32_t addr, uint32_t value)
{
	return bus_access(card, addr, true, &value);
}

static int bus_load(void *opaque, uint32_t addr, unsigned int size, uint32_t *value)
{
	return size == 4 ? onpu_card_mcu_read32(opaque, addr, value) : -1;
}

static int bus_store(void *opaque, uint32_t addr, unsigned int size, uint32_t value)
{
	struct onpu_card *card = opaque;

	note_store(&card->mcu, addr);
	return size == 4 ? onpu_card_mcu_write32(opaque, addr, value) : -1;
}

/* --- running -------------------------------------------------------------- */

static bool stalled(struct onpu_mcu *mcu)
{
	return atomic_load(&mcu->halted) || atomic_load(&card_of(mcu)->inject.mcu_stall);
}

/* mcu.lock held: whether the hart has anything to do. */
static bool runnable(struct onpu_mcu *mcu)
{
	if (stalled(mcu))
		return false;
	return !mcu->waiting || mcu->kicks != mcu->seen;
}

/* One quantum; the caller owns the hart. */
static void run_quantum(struct onpu_mcu *mcu)
{
	switch (onpu_rv32_run(mcu->hart, QUANTUM, NULL)) {
	case ONPU_RV32_WFI:
		mcu->waiting = true;
		break;
	case ONPU_RV32_LOCKUP:
		onpu_mcu_crash(card_of(mcu));
		break;
	default:
		mcu->waiting = false;
		break;
	}
}

/* mcu.lock held: sleeps until a kick or, if the timer is set, for as long as that allows. */
static void sleep_locked(struct onpu_mcu *mcu)
{
	uint64_t cmp = atomic_load(&mcu->timecmp), now;
	struct timespec ts;

	now = onpu_card_time(card_of(mcu));
	if (!stalled(mcu) && cmp <= now && !onpu_rv32_irq_level(mcu->hart, ONPU_RV32_IRQ_TIMER)) {
		/* It has become due since the line was last driven. */
		mcu->kicks++;
		return;
	}
	if (stalled(mcu) || cmp == UINT64_MAX || cmp <= now) {
		pthread_cond_wait(&mcu->cond, &mcu->lock);
		return;
	}
	/* Who begins to run first says so, then looks whether it dozes: one of both sees the other. */
	atomic_store(&mcu->dozing, true);
	if (nothing_but_beats(mcu)) {
		pthread_cond_wait(&mcu->cond, &mcu->lock);
		atomic_store(&mcu->dozing, false);
		return;
	}
	atomic_store(&mcu->dozing, false);
	/* Device time may run differently: look again at least every second. */
	now = cmp - now < 1000000000 ? cmp - now : 1000000000;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += (time_t)(now / 1000000000);
	ts.tv_nsec += (long)(now % 1000000000);
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_nsec -= 1000000000;
		ts.tv_sec++;
	}
	if (pthread_cond_timedwait(&mcu->cond, &mcu->lock, &ts) == ETIMEDOUT &&
	    onpu_card_time(card_of(mcu)) >= cmp)
		mcu->kicks++;
}

static void *mcu_main(void *arg)
{
	struct onpu_mcu *mcu = arg;

	pthread_mutex_lock(&mcu->lock);
	while (!mcu->exit) {
		if (mcu->park) {
			mcu->parked = true;
			pthread_cond_broadcast(&mcu->cond);
			pthread_cond_wait(&mcu->cond, &mcu->lock);
			continue;
		}
		mcu->parked = false;
		if (!runnable(mcu)) {
			sleep_locked(mcu);
			continue;
		}
		mcu->seen = mcu->kicks;
		pthread_mutex_unlock(&mcu->lock);
		update_timer(mcu);
		run_quantum(mcu);
		pthread_mutex_lock(&mcu->lock);
	}
	pthread_mutex_unlock(&mcu->lock);
	return NULL;
}

/* Deterministic mode: one quantum, if there is anything to do. */
bool onpu_mcu_step(struct onpu_card *card)
{
	struct onpu_mcu *mcu = &card->mcu;
	bool run;

	pthread_mutex_lock(&mcu->lock);
	if (mcu->waiting && onpu_card_time(card) >= atomic_load(&mcu->timecmp) &&
	    !onpu_rv32_irq_level(mcu->hart, ONPU_RV32_IRQ_TIMER))
		mcu->kicks++;
	run = !mcu->park && runnable(mcu);
	mcu->seen = mcu->kicks;
	pthread_mutex_unlock(&mcu->lock);
	if (!run)
		return false;
	update_timer(mcu);
	run_quantum(mcu);
	return true;
}

/* Returns once the hart stands still; nested calls are not. */
void onpu_mcu_park(struct onpu_card *card)
{
	struct onpu_mcu *mcu = &card->mcu;

	pthread_mutex_lock(&mcu->lock);
	mcu->park = true;
	onpu_rv32_stop(mcu->hart);
	pthread_cond_broadcast(&mcu->cond);
	while (mcu->has_thread && !mcu->parked)
		pthread_cond_wait(&mcu->cond, &mcu->lock);
	pthread_mutex_unlock(&mcu->lock);
}

void onpu_mcu_unpark(struct onpu_card *card)
{
	struct onpu_mcu *mcu = &card->mcu;

	pthread_mutex_lock(&mcu->lock);
	mcu->park = false;
	mcu->parked = false;
	mcu->kicks++;
	pthread_cond_broadcast(&mcu->cond);
	pthread_mutex_unlock(&mcu->lock);
}

/* --- life ----------------------------------------------------------------- */

/* The hart is parked, or has not started. */
void onpu_mcu_reset(struct onpu_card *card)
{
	struct onpu_mcu *mcu = &card->mcu;

	memset(mcu->sram, 0, ONPU_MCU_SRAM_SIZE);
	mcu->time_hi = 0;
	mcu->timecmp_hi_latch = 0;
	mcu->crypto_src = 0;
	mcu->crypto_len = 0;
	mcu->crypto_key = 0;
	mcu->crypto_sig = 0;
	mcu->crypto_result = 0;
	memset(mcu->crypto_digest, 0, sizeof(mcu->crypto_digest));
	atomic_store(&mcu->timecmp, UINT64_MAX);
	atomic_store(&mcu->halted, false);
	mcu->waiting = false;
	pthread_mutex_lock(&card->lock);
	mcu->irq_pending = 0;
	mcu->irq_enable = 0;
	atomic_store(&card->watch_signals, false);
	update_line(mcu);
	pthread_mutex_unlock(&card->lock);
	update_timer(mcu);
	onpu_rv32_reset(mcu->hart);
}

/* Parked, and its state has just been loaded. */
void onpu_mcu_loaded(struct onpu_card *card)
{
	struct onpu_mcu *mcu = &card->mcu;

	mcu->waiting = false;
	pthread_mutex_lock(&card->lock);
	atomic_store(&card->watch_signals, (mcu->irq_enable & ONPU_MCU_IRQ_SIGNAL) != 0);
	update_line(mcu);
	pthread_mutex_unlock(&card->lock);
	update_timer(mcu);
}

static int add_regions(struct onpu_card *card)
{
	struct onpu_mcu *mcu = &card->mcu;
	const struct onpu_rv32_region regions[] = {
		{ ONPU_MCU_ROM_BASE, ONPU_MCU_ROM_SIZE, mcu->rom, false, true },
		{ ONPU_MCU_SRAM_BASE, ONPU_MCU_SRAM_SIZE, mcu->sram, true, true },
		{ ONPU_MCU_WINDOW_BASE, (uint32_t)card->fw_size, card->vram + card->fw_offset,
		  true, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(regions); i++) {
		int ret = onpu_rv32_add_region(mcu->hart, &regions[i]);

		if (ret)
			return ret;
	}
	return 0;
}

int onpu_mcu_init(struct onpu_card *card, const void *rom, size_t rom_size)
{
	struct onpu_mcu *mcu = &card->mcu;
	struct onpu_rv32_config config = {
		.reset_pc = ONPU_MCU_ROM_BASE,
		.bus = { .load = bus_load, .store = bus_store },
		.opaque = card,
	};
	int ret;

	if (!rom) {
		rom = onpu_rom;
		rom_size = sizeof(onpu_rom);
	}
	if (rom_size > ONPU_MCU_ROM_SIZE)
		return -EINVAL;
	ret = onpu_crypto_init();
	if (ret)
		return ret;
	mcu->rom = aligned_alloc(8, ONPU_MCU_ROM_SIZE);
	mcu->sram = aligned_alloc(8, ONPU_MCU_SRAM_SIZE);
	mcu->hart = onpu_rv32_create(&config);
	if (!mcu->rom || !mcu->sram || !mcu->hart)
		return -ENOMEM;
	memset(mcu->rom, 0, ONPU_MCU_ROM_SIZE);
	memcpy(mcu->rom, rom, rom_size);
	ret = add_regions(card);
	if (ret)
		return ret;
	onpu_mcu_reset(card);
	if (card->threaded) {
		ret = -onpu_thread_start(&mcu->thread, "onpu-mcu", mcu_main, mcu);
		mcu->has_thread = ret == 0;
	}
	return ret;
}

void onpu_mcu_fini(struct onpu_card *card)
{
	struct onpu_mcu *mcu = &card->mcu;

	if (mcu->has_thread) {
		pthread_mutex_lock(&mcu->lock);
		mcu->exit = true;
		onpu_rv32_stop(mcu->hart);
		pthread_cond_broadcast(&mcu->cond);
		pthread_mutex_unlock(&mcu->lock);
		pthread_join(mcu->thread, NULL);
		mcu->has_thread = false;
	}
	onpu_rv32_destroy(mcu->hart);
	free(mcu->rom);
	free(mcu->sram);
	mcu->hart = NULL;
	mcu->rom = NULL;
	mcu->sram = NULL;
}

// SPDX-License-Identifier: MIT
/*
 * See fakecard.h.  The register semantics follow uapi/onpu/mcu.h and are
 * written independently of the card model.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "crypto.h"
#include "fakecard.h"
#include "onpu_rom.h"

#define NS_PER_INSN	10
#define CHUNK		500

/* --- interrupts and time ----------------------------------------------------- */

static void update_lines(struct fake *f)
{
	onpu_rv32_set_irq(f->hart, ONPU_RV32_IRQ_EXT,
			  f->irq_pending & f->irq_enable);
	onpu_rv32_set_irq(f->hart, ONPU_RV32_IRQ_TIMER, f->time >= f->timecmp);
}

static void raise(struct fake *f, uint32_t irq)
{
	f->irq_pending |= irq;
	update_lines(f);
}

static void slot_event(struct fake *f, struct fake_slot *s, uint32_t event)
{
	s->events |= event;
	if (s->events & s->enable)
		raise(f, ONPU_MCU_IRQ_SLOT);
}

/* --- memory as the MCU sees it ----------------------------------------------- */

static uint8_t *mcu_ptr(struct fake *f, uint32_t addr, uint32_t size)
{
	const struct { uint32_t base, size; uint8_t *ptr; } maps[] = {
		{ ONPU_MCU_ROM_BASE, ONPU_MCU_ROM_SIZE, f->rom },
		{ ONPU_MCU_SRAM_BASE, ONPU_MCU_SRAM_SIZE, f->sram },
		{ ONPU_MCU_WINDOW_BASE, FAKE_REGION_SIZE, f->window },
	};

	for (size_t i = 0; i < 3; i++) {
		uint32_t off = addr - maps[i].base;

		if (off < maps[i].size && maps[i].size - off >= size)
			return maps[i].ptr + off;
	}
	return NULL;
}

static void crypto(struct fake *f, uint32_t cmd)
{
	const uint8_t *src, *key, *sig;

	if (f->on_crypto)
		f->on_crypto(f, cmd);
	src = mcu_ptr(f, f->crypto_src, f->crypto_len);
	f->crypto_result = ONPU_CRYPTO_ERROR;
	if (!src)
		return;
	if (cmd == ONPU_CRYPTO_SHA256) {
		uint8_t digest[32];

		onpu_sha256(src, f->crypto_len, digest);
		memcpy(f->digest, digest, sizeof(digest));
		f->crypto_result = ONPU_CRYPTO_OK;
	} else if (cmd == ONPU_CRYPTO_VERIFY) {
		key = mcu_ptr(f, f->crypto_key, 32);
		sig = mcu_ptr(f, f->crypto_sig, 64);
		if (key && sig)
			f->crypto_result = onpu_ed25519_verify(sig, src,
					f->crypto_len, key) ?
					ONPU_CRYPTO_OK : ONPU_CRYPTO_BAD;
	}
}

/* --- slots ------------------------------------------------------------------- */

static uint32_t slot_queue(const struct fake_slot *s)
{
	return s->config[0] % FAKE_QUEUES;
}

static uint32_t *slot_consumer(struct fake_slot *s)
{
	return &s->config[ONPU_SLOT_CONSUMER / 4];
}

static bool slot_empty(struct fake *f, struct fake_slot *s)
{
	return *slot_consumer(s) == f->db_value[slot_queue(s)];
}

static void slot_suspend(struct fake *f, struct fake_slot *s)
{
	if (s->state < ONPU_SLOT_IDLE || s->state > ONPU_SLOT_WAITING)
		return;
	s->saved = s->state == ONPU_SLOT_IDLE ? 0 : ONPU_SLOT_SAVED_WORK;
	if (s->state == ONPU_SLOT_WAITING)
		s->saved |= ONPU_SLOT_SAVED_WAIT;
	f->has_saved[slot_queue(s)] = s->saved;
	s->state = ONPU_SLOT_SUSPENDED;
	slot_event(f, s, ONPU_SLOT_EV_SUSPENDED);
}

/* Work that was saved is restored once, and no other is. */
static void slot_bind(struct fake *f, struct fake_slot *s, bool restore)
{
	uint32_t queue = slot_queue(s);

	if (s->state != ONPU_SLOT_FREE || f->has_saved[queue] != restore ||
	    s->config[ONPU_SLOT_SAVE / 4] != ONPU_FW_REGION_SAVE_OFFSET +
					     queue * ONPU_SAVE_SIZE) {
		f->violations++;
		return;
	}
	f->has_saved[queue] = false;
	s->error = 0;
	s->busy_ns = 0;
	s->saved = 0;
	s->progress = 0;
	s->packets = 0;
	s->binds++;
	s->state = !restore && slot_empty(f, s) ? ONPU_SLOT_IDLE :
						  ONPU_SLOT_RUNNING;
}

static void slot_command(struct fake *f, struct fake_slot *s, uint32_t cmd)
{
	switch (cmd) {
	case ONPU_SLOT_BIND:
	case ONPU_SLOT_RESTORE:
		slot_bind(f, s, cmd == ONPU_SLOT_RESTORE);
		break;
	case ONPU_SLOT_SUSPEND:
		if (!s->ignores_suspend)
			slot_suspend(f, s);
		break;
	case ONPU_SLOT_UNBIND:
		if ((s->state == ONPU_SLOT_IDLE && slot_empty(f, s)) ||
		    s->state == ONPU_SLOT_ERRORED ||
		    s->state == ONPU_SLOT_KILLED ||
		    s->state == ONPU_SLOT_SUSPENDED) {
			s->state = ONPU_SLOT_FREE;
			s->events = 0;
			s->enable = 0;
		}
		break;
	case ONPU_SLOT_KILL:
		if (!s->ignores_kill && s->state >= ONPU_SLOT_IDLE &&
		    s->state <= ONPU_SLOT_WAITING) {
			s->state = ONPU_SLOT_KILLED;
			slot_event(f, s, ONPU_SLOT_EV_KILLED);
		}
		break;
	default:
		f->violations++;
	}
}

static int slot_load(struct fake *f, uint32_t off, uint32_t *v)
{
	struct fake_slot *s = &f->slots[off / ONPU_SLOT_STRIDE];

	off %= ONPU_SLOT_STRIDE;
	switch (off) {
	case ONPU_SLOT_STATE: *v = s->state; return 0;
	case ONPU_SLOT_EVENTS: *v = s->events; return 0;
	case ONPU_SLOT_EVENT_ENABLE: *v = s->enable; return 0;
	case ONPU_SLOT_ERROR: *v = s->error; return 0;
	case ONPU_SLOT_FAULT_LO: *v = (uint32_t)s->fault_va; return 0;
	case ONPU_SLOT_FAULT_HI: *v = (uint32_t)(s->fault_va >> 32); return 0;
	case ONPU_SLOT_FAULT_INFO: *v = s->fault_info; return 0;
	case ONPU_SLOT_OPCODE: *v = s->opcode; return 0;
	case ONPU_SLOT_BUSY_LO: *v = (uint32_t)s->busy_ns; return 0;
	case ONPU_SLOT_BUSY_HI: *v = (uint32_t)(s->busy_ns >> 32); return 0;
	case ONPU_SLOT_SAVED: *v = s->saved; return 0;
	case ONPU_SLOT_PROGRESS: *v = s->progress; return 0;
	case ONPU_SLOT_PACKETS: *v = s->packets; return 0;
	}
	if (off > ONPU_SLOT_CONSUMER_HI)
		return -1;
	*v = s->config[off / 4];
	return 0;
}

static int slot_store(struct fake *f, uint32_t off, uint32_t v)
{
	struct fake_slot *s = &f->slots[off / ONPU_SLOT_STRIDE];

	off %= ONPU_SLOT_STRIDE;
	switch (off) {
	case ONPU_SLOT_CMD:
		slot_command(f, s, v);
		return 0;
	case ONPU_SLOT_EVENTS:
		s->events &= ~v;
		return 0;
	case ONPU_SLOT_EVENT_ENABLE:
		s->enable = v;
		if (s->events & s->enable)
			raise(f, ONPU_MCU_IRQ_SLOT);
		return 0;
	}
	if (off > ONPU_SLOT_CONSUMER_HI)
		return -1;
	if (s->state != ONPU_SLOT_FREE)
		f->violations++;
	s->config[off / 4] = v;
	return 0;
}

/* --- the register blocks ------------------------------------------------------ */

static uint32_t word_of(const uint8_t *bytes, uint32_t i)
{
	uint32_t v;

	memcpy(&v, bytes + 4 * i, 4);
	return v;
}

static int sys_load(struct fake *f, uint32_t addr, uint32_t *v)
{
	if (addr >= ONPU_SYS_KEY_HASH && addr < ONPU_SYS_DEV_KEY_HASH) {
		*v = word_of(f->key_hash, (addr - ONPU_SYS_KEY_HASH) / 4);
		return 0;
	}
	if (addr >= ONPU_SYS_DEV_KEY_HASH && addr < ONPU_SYS_MIN_SVN) {
		*v = word_of(f->dev_key_hash,
			     (addr - ONPU_SYS_DEV_KEY_HASH) / 4);
		return 0;
	}
	switch (addr) {
	case ONPU_SYS_IRQ_PENDING: *v = f->irq_pending; return 0;
	case ONPU_SYS_IRQ_ENABLE: *v = f->irq_enable; return 0;
	case ONPU_SYS_BOOT_ADDR_LO: *v = (uint32_t)f->boot_addr; return 0;
	case ONPU_SYS_BOOT_ADDR_HI: *v = (uint32_t)(f->boot_addr >> 32); return 0;
	case ONPU_SYS_BOOT_SIZE: *v = f->boot_size; return 0;
	case ONPU_SYS_BOOT_STATUS: *v = f->boot_status; return 0;
	case ONPU_SYS_HEARTBEAT: *v = f->heartbeat; return 0;
	case ONPU_SYS_FW_VERSION: *v = f->fw_version; return 0;
	case ONPU_SYS_FW_MBOX: *v = f->fw_mbox; return 0;
	case ONPU_SYS_TIME_LO: *v = (uint32_t)f->time; return 0;
	case ONPU_SYS_TIME_HI: *v = (uint32_t)(f->time >> 32); return 0;
	case ONPU_SYS_MIN_SVN: *v = f->min_svn; return 0;
	case ONPU_SYS_FUSE_FLAGS: *v = f->fuse_flags; return 0;
	case ONPU_SYS_HW_VERSION: *v = f->hw_version; return 0;
	case ONPU_SYS_QUEUES: *v = FAKE_QUEUES; return 0;
	case ONPU_SYS_SLOTS: *v = FAKE_SLOTS; return 0;
	case ONPU_SYS_CONTEXTS: *v = FAKE_CONTEXTS; return 0;
	case ONPU_SYS_VECTORS: *v = FAKE_VECTORS; return 0;
	case ONPU_SYS_REGION_SIZE: *v = FAKE_REGION_SIZE; return 0;
	case ONPU_SYS_VRAM_SIZE_LO: *v = (uint32_t)FAKE_VRAM_SIZE; return 0;
	case ONPU_SYS_VRAM_SIZE_HI: *v = FAKE_VRAM_SIZE >> 32; return 0;
	case ONPU_SYS_RING_ORDER_MAX: *v = FAKE_RING_ORDER_MAX; return 0;
	case ONPU_SYS_REGION_OFFSET_LO: *v = (uint32_t)FAKE_REGION_OFFSET; return 0;
	case ONPU_SYS_REGION_OFFSET_HI: *v = FAKE_REGION_OFFSET >> 32; return 0;
	}
	return -1;
}

static int sys_store(struct fake *f, uint32_t addr, uint32_t v)
{
	switch (addr) {
	case ONPU_SYS_IRQ_ENABLE: f->irq_enable = v; break;
	case ONPU_SYS_IRQ_ACK: f->irq_pending &= ~v; break;
	case ONPU_SYS_HOST_IRQ: f->host_irqs |= v; break;
	case ONPU_SYS_BOOT_STATUS:
		f->boot_status = v;
		if (f->stop_at_start && v == ONPU_BOOT_STAGE_START) {
			f->fatal = true;
			onpu_rv32_stop(f->hart);
		}
		break;
	case ONPU_SYS_HEARTBEAT: f->heartbeat = v; break;
	case ONPU_SYS_FW_VERSION: f->fw_version = v; break;
	case ONPU_SYS_FW_MBOX: f->fw_mbox = v; break;
	case ONPU_SYS_FATAL:
		f->fatal = true;
		onpu_rv32_stop(f->hart);
		break;
	case ONPU_SYS_TIMECMP_HI: f->timecmp_hi = v; break;
	case ONPU_SYS_TIMECMP_LO:
		f->timecmp = (uint64_t)f->timecmp_hi << 32 | v;
		break;
	default:
		return -1;
	}
	update_lines(f);
	return 0;
}

static int crypto_load(struct fake *f, uint32_t addr, uint32_t *v)
{
	if (addr >= ONPU_CRYPTO_DIGEST && addr < ONPU_CRYPTO_END) {
		*v = f->digest[(addr - ONPU_CRYPTO_DIGEST) / 4];
		return 0;
	}
	if (addr != ONPU_CRYPTO_RESULT)
		return -1;
	*v = f->crypto_result;
	return 0;
}

static int crypto_store(struct fake *f, uint32_t addr, uint32_t v)
{
	switch (addr) {
	case ONPU_CRYPTO_SRC: f->crypto_src = v; return 0;
	case ONPU_CRYPTO_LEN: f->crypto_len = v; return 0;
	case ONPU_CRYPTO_KEY: f->crypto_key = v; return 0;
	case ONPU_CRYPTO_SIG: f->crypto_sig = v; return 0;
	case ONPU_CRYPTO_CMD: crypto(f, v); return 0;
	}
	return -1;
}

static int context_access(struct fake *f, uint32_t addr, uint32_t *v,
			  bool store)
{
	struct fake_context *c;
	uint32_t i = (addr - ONPU_MCU_CONTEXTS) / 16;

	if (i >= FAKE_CONTEXTS)
		return -1;
	c = &f->contexts[i];
	switch (addr % 16) {
	case 0:
		if (store)
			c->root = (c->root >> 32 << 32) | *v;
		else
			*v = (uint32_t)c->root;
		return 0;
	case 4:
		if (store)
			c->root = (uint32_t)c->root | (uint64_t)*v << 32;
		else
			*v = (uint32_t)(c->root >> 32);
		return 0;
	case 8:
		if (store)
			c->ctrl = *v;
		else
			*v = c->ctrl;
		return 0;
	}
	return -1;
}

static bool in(uint32_t addr, uint32_t base, uint32_t size)
{
	return addr - base < size;
}

static int bus_load(void *opaque, uint32_t addr, unsigned int size,
		    uint32_t *v)
{
	struct fake *f = opaque;

	if (size != 4)
		return -1;
	if (in(addr, ONPU_MCU_SYS, 0x1000))
		return sys_load(f, addr, v);
	if (in(addr, ONPU_MCU_CRYPTO, 0x1000))
		return crypto_load(f, addr, v);
	if (in(addr, ONPU_MCU_DOORBELL, FAKE_QUEUES / 8)) {
		*v = f->db_pending[(addr - ONPU_MCU_DOORBELL) / 4];
		return 0;
	}
	if (addr == ONPU_DOORBELL_WORDS) {
		*v = 0;
		for (int i = 0; i < FAKE_QUEUES / 32; i++)
			*v |= (uint32_t)!!f->db_pending[i] << i;
		return 0;
	}
	if (in(addr, ONPU_MCU_DB_VALUES, 4 * FAKE_QUEUES)) {
		*v = f->db_value[(addr - ONPU_MCU_DB_VALUES) / 4];
		return 0;
	}
	if (in(addr, ONPU_MCU_CONTEXTS, 0x4000))
		return context_access(f, addr, v, false);
	if (in(addr, ONPU_MCU_SLOTS, FAKE_SLOTS * ONPU_SLOT_STRIDE))
		return slot_load(f, addr - ONPU_MCU_SLOTS, v);
	if (addr == ONPU_SLOTS_EVENTS(0)) {
		*v = 0;
		for (int i = 0; i < FAKE_SLOTS; i++)
			*v |= (uint32_t)!!(f->slots[i].events &
					   f->slots[i].enable) << i;
		return 0;
	}
	return -1;
}

static int bus_store(void *opaque, uint32_t addr, unsigned int size,
		     uint32_t v)
{
	struct fake *f = opaque;

	if (size != 4)
		return -1;
	if (in(addr, ONPU_MCU_SYS, 0x1000))
		return sys_store(f, addr, v);
	if (in(addr, ONPU_MCU_CRYPTO, 0x1000))
		return crypto_store(f, addr, v);
	if (in(addr, ONPU_MCU_DOORBELL, FAKE_QUEUES / 8)) {
		f->db_pending[(addr - ONPU_MCU_DOORBELL) / 4] &= ~v;
		return 0;
	}
	if (in(addr, ONPU_MCU_DB_VALUES, 4 * FAKE_QUEUES)) {
		f->db_value[(addr - ONPU_MCU_DB_VALUES) / 4] = v;
		return 0;
	}
	if (in(addr, ONPU_MCU_CONTEXTS, 0x4000))
		return context_access(f, addr, &v, true);
	if (in(addr, ONPU_MCU_SLOTS, FAKE_SLOTS * ONPU_SLOT_STRIDE))
		return slot_store(f, addr - ONPU_MCU_SLOTS, v);
	return -1;
}

/* --- life ---------------------------------------------------------------------- */

static void add_memory(struct fake *f, uint32_t base, uint32_t size,
		       uint8_t *ptr, bool writable, bool executable)
{
	struct onpu_rv32_region r = {
		.base = base, .size = size, .ptr = ptr,
		.writable = writable, .executable = executable,
	};
	int ret = onpu_rv32_add_region(f->hart, &r);

	assert(!ret);
	(void)ret;
}

struct fake *fake_create(void)
{
	struct fake *f = calloc(1, sizeof(*f));
	struct onpu_rv32_config config = {
		.reset_pc = ONPU_MCU_ROM_BASE,
		.bus = { .load = bus_load, .store = bus_store },
		.opaque = f,
	};

	assert(f && !onpu_crypto_init());
	f->hart = onpu_rv32_create(&config);
	f->rom = calloc(1, ONPU_MCU_ROM_SIZE);
	f->sram = calloc(1, ONPU_MCU_SRAM_SIZE);
	f->window = calloc(1, FAKE_REGION_SIZE);
	assert(f->hart && f->rom && f->sram && f->window);
	memcpy(f->rom, onpu_rom, sizeof(onpu_rom));
	memcpy(f->dev_key_hash, onpu_rom_dev_key_hash, 32);
	f->fuse_flags = ONPU_FUSE_DEV_KEY;
	f->hw_version = ONPU_HW_VERSION_MAJOR << 16 | ONPU_HW_VERSION_MINOR;
	f->timecmp = f->timecmp_hi = ~0u;
	f->timecmp = ~0ull;
	/* As a cold card: whatever was in memory, the firmware must not care. */
	memset(f->sram, 0xa5, ONPU_MCU_SRAM_SIZE);
	memset(f->window, 0x5a, FAKE_REGION_SIZE);
	add_memory(f, ONPU_MCU_ROM_BASE, ONPU_MCU_ROM_SIZE, f->rom, false, true);
	add_memory(f, ONPU_MCU_SRAM_BASE, ONPU_MCU_SRAM_SIZE, f->sram, true,
		   true);
	add_memory(f, ONPU_MCU_WINDOW_BASE, FAKE_REGION_SIZE, f->window, true,
		   false);
	return f;
}

void fake_destroy(struct fake *f)
{
	onpu_rv32_destroy(f->hart);
	free(f->rom);
	free(f->sram);
	free(f->window);
	free(f);
}

/* One step of at most CHUNK instructions; false when asleep or halted. */
static bool step(struct fake *f)
{
	enum onpu_rv32_stop why;
	uint64_t n;

	if (f->fatal || f->locked_up)
		return false;
	update_lines(f);
	why = onpu_rv32_run(f->hart, CHUNK, &n);
	f->insns += n;
	f->time += n * NS_PER_INSN;
	update_lines(f);
	f->locked_up = why == ONPU_RV32_LOCKUP;
	return why == ONPU_RV32_LIMIT || why == ONPU_RV32_STOPPED;
}

void fake_run(struct fake *f, unsigned int ms)
{
	uint64_t end = f->time + ms * 1000000ull;

	while (f->time < end && !f->fatal && !f->locked_up) {
		if (step(f))
			continue;
		/* Asleep; an interrupt of this very moment wakes it. */
		if (f->irq_pending & f->irq_enable)
			continue;
		if (f->timecmp > f->time)
			f->time = f->timecmp < end ? f->timecmp : end;
	}
}

void fake_settle(struct fake *f)
{
	/* Bounded: a second of instructions is a hang. */
	for (int i = 0; i < 200000; i++) {
		if (!step(f) && !(f->irq_pending & f->irq_enable))
			return;
	}
	assert(!"the firmware does not come to rest");
}

uint32_t fake_boot_at(struct fake *f, uint64_t addr, uint32_t size)
{
	f->boot_addr = addr;
	f->boot_size = size;
	raise(f, ONPU_MCU_IRQ_BOOT);
	fake_settle(f);
	return f->boot_status;
}

uint32_t fake_boot(struct fake *f, const void *image, size_t size)
{
	fake_settle(f); /* the ROM's own start */
	memcpy(f->window, image, size < FAKE_REGION_SIZE ? size :
	       FAKE_REGION_SIZE);
	return fake_boot_at(f, FAKE_REGION_OFFSET, (uint32_t)size);
}

/* --- engines ------------------------------------------------------------------- */

int fake_slot_of(struct fake *f, uint32_t queue)
{
	for (int i = 0; i < FAKE_SLOTS; i++) {
		if (f->slots[i].state != ONPU_SLOT_FREE &&
		    f->slots[i].config[0] == queue)
			return i;
	}
	return -1;
}

void fake_ring(struct fake *f, uint32_t queue, uint32_t producer)
{
	int slot = fake_slot_of(f, queue);

	f->db_value[queue] = producer;
	if (slot >= 0) {
		if (f->slots[slot].state == ONPU_SLOT_IDLE)
			f->slots[slot].state = ONPU_SLOT_RUNNING;
		return;
	}
	f->db_pending[queue / 32] |= 1u << queue % 32;
	raise(f, ONPU_MCU_IRQ_DOORBELL);
}

void fake_slot_idle(struct fake *f, int slot)
{
	struct fake_slot *s = &f->slots[slot];

	s->packets += f->db_value[slot_queue(s)] - *slot_consumer(s);
	s->progress++;
	*slot_consumer(s) = f->db_value[slot_queue(s)];
	s->busy_ns += 1000;
	s->state = ONPU_SLOT_IDLE;
	slot_event(f, s, ONPU_SLOT_EV_IDLE);
}

void fake_slot_fail(struct fake *f, int slot, uint32_t error)
{
	struct fake_slot *s = &f->slots[slot];

	s->state = ONPU_SLOT_ERRORED;
	s->error = error;
	s->opcode = ONPU_OP_COPY;
	s->fault_va = 0x123456789000ull;
	s->fault_info = ONPU_FAULT_INFO(ONPU_FAULT_NOT_PRESENT,
					ONPU_FAULT_ACCESS_WRITE, 2);
	slot_event(f, s, ONPU_SLOT_EV_ERROR);
}

void fake_slot_killed(struct fake *f, int slot)
{
	f->slots[slot].state = ONPU_SLOT_KILLED;
	slot_event(f, &f->slots[slot], ONPU_SLOT_EV_KILLED);
}

void fake_slot_suspended(struct fake *f, int slot)
{
	slot_suspend(f, &f->slots[slot]);
}

void fake_slot_waits(struct fake *f, int slot)
{
	f->slots[slot].state = ONPU_SLOT_WAITING;
	slot_event(f, &f->slots[slot], ONPU_SLOT_EV_WAITING);
}

void fake_signal(struct fake *f)
{
	if (f->irq_enable & ONPU_MCU_IRQ_SIGNAL)
		raise(f, ONPU_MCU_IRQ_SIGNAL);
}

/* --- the host's side of the mailbox --------------------------------------------- */

struct onpu_mbox_shared *fake_shared(struct fake *f)
{
	assert(f->fw_mbox <= FAKE_REGION_SIZE -
	       sizeof(struct onpu_mbox_shared));
	return (struct onpu_mbox_shared *)(f->window + f->fw_mbox);
}

void fake_send(struct fake *f, const struct onpu_msg *msg)
{
	struct onpu_mbox_shared *s = fake_shared(f);
	struct onpu_msg *ring = (struct onpu_msg *)(f->window + s->h2f_offset);

	ring[f->h2f_tail++ % ONPU_MBOX_ENTRIES] = *msg;
	s->h2f_tail = f->h2f_tail;
	raise(f, ONPU_MCU_IRQ_MBOX);
}

bool fake_receive(struct fake *f, struct onpu_msg *msg)
{
	struct onpu_mbox_shared *s = fake_shared(f);
	struct onpu_msg *ring = (struct onpu_msg *)(f->window + s->f2h_offset);

	if (f->f2h_head == s->f2h_tail)
		return false;
	*msg = ring[f->f2h_head++ % ONPU_MBOX_ENTRIES];
	s->f2h_head = f->f2h_head;
	return true;
}

uint32_t fake_request(struct fake *f, uint16_t type, const void *payload,
		      size_t size, struct onpu_msg *reply)
{
	struct onpu_msg msg = {
		.type = type, .kind = ONPU_MSG_REQUEST, .seq = ++f->seq,
	};
	struct onpu_msg own;

	if (!reply)
		reply = &own;
	memset(reply, 0xff, sizeof(*reply));
	if (size)
		memcpy(msg.payload, payload, size);
	fake_send(f, &msg);
	fake_settle(f);
	if (!fake_receive(f, reply) || reply->type != type ||
	    reply->kind != ONPU_MSG_RESPONSE || reply->seq != msg.seq ||
	    reply->reserved)
		return ~0u;
	return reply->status;
}

char *fake_log(struct fake *f)
{
	struct onpu_mbox_shared *s = fake_shared(f);
	uint32_t n = s->log_head < s->log_size ? s->log_head : s->log_size;
	char *text = calloc(1, (size_t)n + 1);

	assert(text);
	for (uint32_t i = 0; i < n; i++)
		text[i] = (char)f->window[s->log_offset +
			   ((s->log_head - n + i) & (s->log_size - 1))];
	return text;
}

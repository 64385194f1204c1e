// SPDX-License-Identifier: MIT
/*
 * Test host of the card model, see card_fixture.h.
 *
 * Locking: fx->lock guards the requests that are out; counters are atomic.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "card_fixture.h"

#define WAIT_SECONDS	30

/* wfi; j . - 4 */
static const uint32_t idle_rom[] = { 0x10500073, 0xffdff06f };

uint64_t fx_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void nap(void)
{
	struct timespec ts = { .tv_nsec = 50000 };

	nanosleep(&ts, NULL);
}

uint32_t fx_random(struct fx *fx)
{
	return (uint32_t)rand_r(&fx->random) << 16 ^ (uint32_t)rand_r(&fx->random);
}

/* --- platform ------------------------------------------------------------- */

static uint64_t op_time(void *opaque)
{
	struct fx *fx = opaque;

	if (fx->opts.threads)
		return fx_now_ns();
	return atomic_fetch_add(&fx->now, 100);
}

static int map_host(struct fx *fx, uint64_t addr, uint64_t len, bool write,
		    struct onpu_hostmap *map)
{
	uint64_t off = addr - FX_HOST_BASE;

	if (fx->on_map)
		fx->on_map(fx);
	if (addr < FX_HOST_BASE || off >= FX_HOST_SIZE)
		return -EFAULT;
	if (len > FX_HOST_SIZE - off)
		len = FX_HOST_SIZE - off;
	if (fx->opts.max_map && len > fx->opts.max_map - addr % fx->opts.max_map)
		len = fx->opts.max_map - addr % fx->opts.max_map;
	map->ptr = fx->host + off;
	map->len = len;
	map->write = write;
	map->cookie = fx;
	atomic_fetch_add(&fx->maps_live, 1);
	return 0;
}

static int op_try_map(void *opaque, uint64_t addr, uint64_t len, bool write,
		      struct onpu_hostmap *map)
{
	struct fx *fx = opaque;

	return fx->opts.dma == FX_DMA_SYNC ? map_host(fx, addr, len, write, map) : -EAGAIN;
}

static void op_request(void *opaque, struct onpu_dma_req *req)
{
	struct fx *fx = opaque;

	atomic_fetch_add(&fx->requests, 1);
	pthread_mutex_lock(&fx->lock);
	assert_true(fx->n_queue < ARRAY_SIZE(fx->queue));
	fx->queue[fx->n_queue++] = req;
	pthread_cond_signal(&fx->cond);
	pthread_mutex_unlock(&fx->lock);
}

static void op_unmap(void *opaque, const struct onpu_hostmap *map)
{
	struct fx *fx = opaque;

	assert_ptr_equal(map->cookie, fx);
	atomic_fetch_sub(&fx->maps_live, 1);
}

static void op_irq(void *opaque, unsigned int vector)
{
	struct fx *fx = opaque;

	assert_true(vector < FX_VECTORS);
	atomic_fetch_add(&fx->irqs[vector], 1);
}

static void op_guest_error(void *opaque, const char *fmt, va_list ap)
{
	struct fx *fx = opaque;

	pthread_mutex_lock(&fx->lock);
	vsnprintf(fx->last_error, sizeof(fx->last_error), fmt, ap);
	pthread_mutex_unlock(&fx->lock);
	atomic_fetch_add(&fx->guest_errors, 1);
}

static void op_reset(void *opaque)
{
	struct fx *fx = opaque;

	atomic_fetch_add(&fx->resets, 1);
}

static void op_trace(void *opaque, unsigned int event, uint64_t a, uint64_t b, uint64_t c)
{
	struct fx *fx = opaque;

	(void)a;
	(void)b;
	(void)c;
	if (event == ONPU_TRACE_FAULT)
		atomic_fetch_add(&fx->faults, 1);
}

static const struct onpu_host_ops ops = {
	.time_ns = op_time,
	.dma_try_map = op_try_map,
	.dma_request = op_request,
	.dma_unmap = op_unmap,
	.irq = op_irq,
	.guest_error = op_guest_error,
	.reset_request = op_reset,
	.trace = op_trace,
};

static void answer(struct fx *fx, struct onpu_dma_req *req)
{
	req->status = map_host(fx, req->addr, req->len, req->write, &req->map);
	onpu_card_dma_done(fx->card, req);
}

unsigned int fx_complete(struct fx *fx, unsigned int n, bool reverse)
{
	unsigned int done = 0;

	while (done < n) {
		struct onpu_dma_req *req;

		pthread_mutex_lock(&fx->lock);
		if (!fx->n_queue) {
			pthread_mutex_unlock(&fx->lock);
			break;
		}
		fx->n_queue--;
		req = fx->queue[reverse ? fx->n_queue : 0];
		if (!reverse)
			memmove(fx->queue, fx->queue + 1, fx->n_queue * sizeof(fx->queue[0]));
		pthread_mutex_unlock(&fx->lock);
		answer(fx, req);
		done++;
	}
	return done;
}

static void *dma_main(void *arg)
{
	struct fx *fx = arg;
	struct onpu_dma_req *req;

	pthread_mutex_lock(&fx->lock);
	while (!fx->stop) {
		if (!fx->n_queue) {
			pthread_cond_wait(&fx->cond, &fx->lock);
			continue;
		}
		req = fx->queue[--fx->n_queue];
		pthread_mutex_unlock(&fx->lock);
		answer(fx, req);
		pthread_mutex_lock(&fx->lock);
	}
	pthread_mutex_unlock(&fx->lock);
	return NULL;
}

/* --- life ----------------------------------------------------------------- */

#define GUARD	(1u << 20)

/* Memory between two guard zones. */
static uint8_t *pages(uint64_t size)
{
	uint8_t *p = mmap(NULL, size + 2 * GUARD, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(mprotect(p + GUARD, size, PROT_READ | PROT_WRITE), 0);
	return p + GUARD;
}

static void unpages(uint8_t *p, uint64_t size)
{
	munmap(p - GUARD, size + 2 * GUARD);
}

struct fx *fx_create(const struct fx_opts *opts)
{
	struct fx *fx = calloc(1, sizeof(*fx));
	struct onpu_card_config config = { 0 };

	assert_non_null(fx);
	if (opts)
		fx->opts = *opts;
	fx->vram_size = fx->opts.vram_size ? fx->opts.vram_size : 64ull << 20;
	fx->vram = pages(fx->vram_size);
	fx->host = pages(FX_HOST_SIZE);
	fx->vram_next = ONPU_FW_REGION_MIN_SIZE;
	fx->host_next = FX_HOST_BASE;
	fx->random = 1;
	pthread_mutex_init(&fx->lock, NULL);
	pthread_cond_init(&fx->cond, NULL);
	if (fx->opts.dma == FX_DMA_ASYNC && fx->opts.threads)
		fx->has_thread = pthread_create(&fx->thread, NULL, dma_main, fx) == 0;

	config.vram = fx->vram;
	config.vram_size = fx->vram_size;
	config.serial = 0x1122334455667788;
	config.slots = fx->opts.slots ? fx->opts.slots : 4;
	config.queues = fx->opts.queues ? fx->opts.queues : 64;
	config.contexts = 8;
	config.vectors = FX_VECTORS;
	config.threads = fx->opts.threads;
	config.doorbell_inline = fx->opts.doorbell_inline;
	config.isa = fx->opts.isa;
	config.speed = fx->opts.speed;
	config.no_dev_key = fx->opts.no_dev_key;
	config.min_svn = fx->opts.min_svn;
	if (!fx->opts.real_rom) {
		config.rom = idle_rom;
		config.rom_size = sizeof(idle_rom);
	}
	fx->card = onpu_card_create(&config, &ops, fx);
	assert_non_null(fx->card);
	return fx;
}

void fx_destroy(struct fx *fx)
{
	if (fx->has_thread) {
		pthread_mutex_lock(&fx->lock);
		fx->stop = true;
		pthread_cond_signal(&fx->cond);
		pthread_mutex_unlock(&fx->lock);
		pthread_join(fx->thread, NULL);
	}
	onpu_card_reset(fx->card, ONPU_RESET_FUNCTION);
	fx_complete(fx, UINT32_MAX, false);
	onpu_card_destroy(fx->card);
	assert_int_equal(fx->maps_live, 0);
	unpages(fx->vram, fx->vram_size);
	unpages(fx->host, FX_HOST_SIZE);
	pthread_mutex_destroy(&fx->lock);
	pthread_cond_destroy(&fx->cond);
	free(fx);
}

/* --- memory --------------------------------------------------------------- */

uint64_t fx_vram(struct fx *fx, uint64_t size, uint64_t align)
{
	uint64_t off = (fx->vram_next + align - 1) & ~(align - 1);

	fx->vram_next = off + size;
	assert_true(fx->vram_next <= fx->vram_size);
	return off;
}

uint64_t fx_hostmem(struct fx *fx, uint64_t size, uint64_t align)
{
	uint64_t addr = (fx->host_next + align - 1) & ~(align - 1);

	fx->host_next = addr + size;
	assert_true(fx->host_next <= FX_HOST_BASE + FX_HOST_SIZE);
	return addr;
}

void *fx_vptr(struct fx *fx, uint64_t offset)
{
	return fx->vram + offset;
}

void *fx_hptr(struct fx *fx, uint64_t dma_addr)
{
	return fx->host + (dma_addr - FX_HOST_BASE);
}

uint64_t fx_load(void *p)
{
	return __atomic_load_n((uint64_t *)p, __ATOMIC_ACQUIRE);
}

void fx_store(void *p, uint64_t value)
{
	__atomic_store_n((uint64_t *)p, value, __ATOMIC_RELEASE);
}

/* --- registers ------------------------------------------------------------ */

uint32_t fx_rd(struct fx *fx, uint32_t reg)
{
	return (uint32_t)onpu_card_mmio_read(fx->card, reg, 4);
}

uint64_t fx_rd64(struct fx *fx, uint32_t reg)
{
	return onpu_card_mmio_read(fx->card, reg, 8);
}

void fx_wr(struct fx *fx, uint32_t reg, uint32_t value)
{
	onpu_card_mmio_write(fx->card, reg, value, 4);
}

uint32_t fx_mcu(struct fx *fx, uint32_t addr)
{
	uint32_t value;

	assert_int_equal(onpu_card_mcu_read32(fx->card, addr, &value), 0);
	return value;
}

void fx_mcu_wr(struct fx *fx, uint32_t addr, uint32_t value)
{
	assert_int_equal(onpu_card_mcu_write32(fx->card, addr, value), 0);
}

uint32_t fx_slot(struct fx *fx, unsigned int slot, uint32_t reg)
{
	return fx_mcu(fx, ONPU_SLOT(slot, reg));
}

void fx_slot_wr(struct fx *fx, unsigned int slot, uint32_t reg, uint32_t value)
{
	fx_mcu_wr(fx, ONPU_SLOT(slot, reg), value);
}

/* --- page tables ---------------------------------------------------------- */

void fx_context(struct fx *fx, unsigned int asid)
{
	if (!fx->roots[asid])
		fx->roots[asid] = fx_vram(fx, 4096, 4096);
	fx_mcu_wr(fx, ONPU_CTX_ROOT_LO(asid), (uint32_t)fx->roots[asid]);
	fx_mcu_wr(fx, ONPU_CTX_ROOT_HI(asid), (uint32_t)(fx->roots[asid] >> 32));
	fx_mcu_wr(fx, ONPU_CTX_CTRL(asid), ONPU_CTX_VALID);
}

uint64_t *fx_pte(struct fx *fx, unsigned int asid, uint64_t va, unsigned int level)
{
	uint64_t table = fx->roots[asid];

	for (unsigned int l = ONPU_MMU_LEVELS - 1;; l--) {
		uint64_t *e = (uint64_t *)(void *)(fx->vram + table) +
			      (va >> ONPU_MMU_SHIFT(l) & (ONPU_MMU_ENTRIES - 1));

		if (l == level)
			return e;
		if (!(fx_load(e) & ONPU_PTE_VALID))
			fx_store(e, fx_vram(fx, 4096, 4096) | ONPU_PTE_VALID);
		table = fx_load(e) & ONPU_PTE_ADDR;
	}
}

void fx_map(struct fx *fx, unsigned int asid, uint64_t va, uint64_t addr, uint64_t size,
	    uint64_t flags)
{
	for (uint64_t off = 0; off < size; off += 4096)
		fx_store(fx_pte(fx, asid, va + off, 0),
			 (addr + off) | flags | ONPU_PTE_VALID | ONPU_PTE_LEAF);
}

void fx_map_huge(struct fx *fx, unsigned int asid, uint64_t va, uint64_t addr, uint64_t size,
		 uint64_t flags)
{
	for (uint64_t off = 0; off < size; off += 2u << 20)
		fx_store(fx_pte(fx, asid, va + off, 1),
			 (addr + off) | flags | ONPU_PTE_VALID | ONPU_PTE_LEAF);
}

void fx_unmap(struct fx *fx, unsigned int asid, uint64_t va, uint64_t size)
{
	for (uint64_t off = 0; off < size; off += 4096)
		fx_store(fx_pte(fx, asid, va + off, 0), 0);
}

void fx_invalidate(struct fx *fx, unsigned int asid)
{
	uint64_t end = fx_now_ns() + WAIT_SECONDS * 1000000000ull;
	uint32_t seq;

	fx_wr(fx, ONPU_REG_TLB_INV, asid);
	seq = fx_rd(fx, ONPU_REG_TLB_SEQ);
	while ((int32_t)(fx_rd(fx, ONPU_REG_TLB_DONE) - seq) < 0) {
		assert_true(fx_now_ns() < end);
		if (fx->opts.threads)
			nap();
		else
			onpu_card_run(fx->card, 1);
	}
}

void *fx_buffer(struct fx *fx, unsigned int asid, uint64_t va, uint64_t size)
{
	uint64_t off = fx_vram(fx, (size + 4095) & ~4095ull, 4096);

	fx_map(fx, asid, va, off, size, RW);
	return fx_vptr(fx, off);
}

/* --- queues --------------------------------------------------------------- */

void fx_queue_init(struct fx_queue *q, struct fx *fx, unsigned int slot, unsigned int queue,
		   unsigned int asid, unsigned int order, uint32_t flags)
{
	uint64_t size = (uint64_t)ONPU_PACKET_SIZE << order;
	uint64_t priv = flags & ONPU_QUEUE_PRIVILEGED ? ONPU_PTE_PRIV : 0;
	uint64_t base = FX_KERNEL_VA + ((uint64_t)queue << 32);

	*q = (struct fx_queue){ .fx = fx, .slot = slot, .queue = queue, .asid = asid,
				.order = order, .flags = flags, .ring_va = base };
	q->ring_off = fx_vram(fx, (size + 4095) & ~4095ull, 4096);
	q->ctl_off = fx_vram(fx, 4096, 4096);
	fx_map(fx, asid, base, q->ring_off, size, ONPU_PTE_READ | priv);
	fx_map(fx, asid, base + (1u << 30), q->ctl_off, 4096, ONPU_PTE_WRITE | ONPU_PTE_PRIV);
	fx_mcu_wr(fx, ONPU_DB_VALUE(queue), 0);
	fx_bind(q, slot, 0, ONPU_SLOT_BIND);
	assert_int_equal(fx_slot(fx, slot, ONPU_SLOT_STATE), ONPU_SLOT_IDLE);
}

void fx_bind(struct fx_queue *q, unsigned int slot, uint32_t consumer, uint32_t cmd)
{
	struct fx *fx = q->fx;

	q->slot = slot;
	fx_slot_wr(fx, slot, ONPU_SLOT_QUEUE, q->queue);
	fx_slot_wr(fx, slot, ONPU_SLOT_ASID, q->asid);
	fx_slot_wr(fx, slot, ONPU_SLOT_RING_LO, (uint32_t)q->ring_va);
	fx_slot_wr(fx, slot, ONPU_SLOT_RING_HI, (uint32_t)(q->ring_va >> 32));
	fx_slot_wr(fx, slot, ONPU_SLOT_RING_ORDER, q->order);
	fx_slot_wr(fx, slot, ONPU_SLOT_FLAGS, q->flags);
	fx_slot_wr(fx, slot, ONPU_SLOT_VECTOR, 1 + slot % (FX_VECTORS - 1));
	fx_slot_wr(fx, slot, ONPU_SLOT_CTL_LO, 1u << 30);
	fx_slot_wr(fx, slot, ONPU_SLOT_CTL_HI, (uint32_t)((q->ring_va + (1u << 30)) >> 32));
	fx_slot_wr(fx, slot, ONPU_SLOT_CONSUMER, consumer);
	fx_slot_wr(fx, slot, ONPU_SLOT_SAVE,
		   ONPU_FW_REGION_SAVE_OFFSET + q->queue * ONPU_SAVE_SIZE);
	fx_slot_wr(fx, slot, ONPU_SLOT_CMD, cmd);
}

uint32_t fx_suspend(struct fx_queue *q)
{
	uint32_t saved;

	fx_slot_wr(q->fx, q->slot, ONPU_SLOT_CMD, ONPU_SLOT_SUSPEND);
	fx_wait_state(q, ONPU_SLOT_SUSPENDED);
	saved = fx_slot(q->fx, q->slot, ONPU_SLOT_SAVED);
	fx_unbind(q);
	return saved;
}

void fx_resume(struct fx_queue *q, unsigned int slot, uint32_t saved)
{
	fx_bind(q, slot, fx_slot(q->fx, q->slot, ONPU_SLOT_CONSUMER),
		saved & ONPU_SLOT_SAVED_WORK ? ONPU_SLOT_RESTORE : ONPU_SLOT_BIND);
}

uint8_t *fx_save_area(struct fx_queue *q)
{
	return fx_vptr(q->fx, ONPU_FW_REGION_SAVE_OFFSET + (uint64_t)q->queue * ONPU_SAVE_SIZE);
}

void fx_push(struct fx_queue *q, const struct onpu_packet *p)
{
	uint32_t index = q->producer++ & ((1u << q->order) - 1);

	memcpy(q->fx->vram + q->ring_off + (uint64_t)index * ONPU_PACKET_SIZE, p, sizeof(*p));
}

void fx_ring(struct fx_queue *q)
{
	fx_wr(q->fx, ONPU_DOORBELL_BASE + q->queue * ONPU_DOORBELL_PAGE, q->producer);
}

void fx_submit(struct fx_queue *q, const struct onpu_packet *p)
{
	fx_push(q, p);
	fx_ring(q);
}

uint32_t fx_ctl(struct fx_queue *q)
{
	return __atomic_load_n((uint32_t *)fx_vptr(q->fx, q->ctl_off), __ATOMIC_ACQUIRE);
}

void fx_run(struct fx *fx)
{
	do
		/* What is not done after so many steps never will be. */
		assert_true(onpu_card_run(fx->card, 1000000) < 1000000);
	while (fx->opts.dma == FX_DMA_ASYNC && fx_complete(fx, 1 + fx_random(fx) % 4,
							   fx_random(fx) & 1));
}

static bool busy(struct fx_queue *q)
{
	uint32_t state = fx_slot(q->fx, q->slot, ONPU_SLOT_STATE);

	if (state == ONPU_SLOT_IDLE)
		return fx_slot(q->fx, q->slot, ONPU_SLOT_CONSUMER) != q->producer;
	return state == ONPU_SLOT_RUNNING;
}

uint32_t fx_settle(struct fx_queue *q)
{
	uint64_t end = fx_now_ns() + WAIT_SECONDS * 1000000000ull;

	if (!q->fx->opts.threads)
		fx_run(q->fx);
	while (q->fx->opts.threads && busy(q)) {
		assert_true(fx_now_ns() < end);
		nap();
	}
	return fx_slot(q->fx, q->slot, ONPU_SLOT_STATE);
}

void fx_wait_state(struct fx_queue *q, uint32_t state)
{
	uint64_t end = fx_now_ns() + WAIT_SECONDS * 1000000000ull;

	while (fx_slot(q->fx, q->slot, ONPU_SLOT_STATE) != state) {
		if (fx_now_ns() > end)
			fail_msg("slot %u: state %u, not %u", q->slot,
				 fx_slot(q->fx, q->slot, ONPU_SLOT_STATE), state);
		if (q->fx->opts.threads)
			nap();
		else
			onpu_card_run(q->fx->card, 100);
	}
}

void fx_wait_value(struct fx *fx, void *p, uint64_t value)
{
	uint64_t end = fx_now_ns() + WAIT_SECONDS * 1000000000ull;

	while (fx_load(p) != value) {
		if (fx_now_ns() > end)
			fail_msg("value %llu, not %llu", (unsigned long long)fx_load(p),
				 (unsigned long long)value);
		if (fx->opts.threads)
			nap();
		else
			onpu_card_run(fx->card, 100);
	}
}

void fx_kill(struct fx_queue *q)
{
	fx_slot_wr(q->fx, q->slot, ONPU_SLOT_CMD, ONPU_SLOT_KILL);
	fx_wait_state(q, ONPU_SLOT_KILLED);
}

void fx_unbind(struct fx_queue *q)
{
	fx_slot_wr(q->fx, q->slot, ONPU_SLOT_CMD, ONPU_SLOT_UNBIND);
	assert_int_equal(fx_slot(q->fx, q->slot, ONPU_SLOT_STATE), ONPU_SLOT_FREE);
}

void fx_expect_error(struct fx_queue *q, uint32_t error)
{
	assert_int_equal(fx_settle(q), ONPU_SLOT_ERRORED);
	assert_int_equal(fx_slot(q->fx, q->slot, ONPU_SLOT_ERROR), error);
}

void fx_expect_fault(struct fx_queue *q, uint32_t reason, uint32_t access, uint32_t level,
		     uint64_t va)
{
	uint64_t got;
	uint32_t info;

	fx_expect_error(q, ONPU_ERR_FAULT);
	got = (uint64_t)fx_slot(q->fx, q->slot, ONPU_SLOT_FAULT_HI) << 32 |
	      fx_slot(q->fx, q->slot, ONPU_SLOT_FAULT_LO);
	info = fx_slot(q->fx, q->slot, ONPU_SLOT_FAULT_INFO);
	assert_int_equal(ONPU_FAULT_INFO_REASON(info), reason);
	assert_int_equal(ONPU_FAULT_INFO_ACCESS(info), access);
	assert_int_equal(ONPU_FAULT_INFO_LEVEL(info), level);
	assert_true(got == va);
}

/* --- packets -------------------------------------------------------------- */

struct onpu_packet pk_nop(void)
{
	return (struct onpu_packet){ .opcode = ONPU_OP_NOP };
}

struct onpu_packet pk_barrier(void)
{
	return (struct onpu_packet){ .opcode = ONPU_OP_BARRIER };
}

struct onpu_packet pk_signal(uint64_t va, uint64_t value, bool irq)
{
	return (struct onpu_packet){ .opcode = ONPU_OP_SIGNAL, .flags = irq ? ONPU_PKT_IRQ : 0,
				     .signal = { .va = va, .value = value } };
}

struct onpu_packet pk_wait(uint64_t va, uint64_t value, uint32_t op)
{
	return (struct onpu_packet){ .opcode = ONPU_OP_WAIT,
				     .wait = { .va = va, .value = value, .op = op } };
}

struct onpu_packet pk_copy(uint64_t dst, uint64_t src, uint64_t size)
{
	return (struct onpu_packet){ .opcode = ONPU_OP_COPY,
				     .copy = { .dst_va = dst, .src_va = src, .size = size } };
}

struct onpu_packet pk_copy_2d(uint64_t dst, uint64_t dst_pitch, uint64_t src, uint64_t src_pitch,
			      uint64_t row_bytes, uint32_t rows)
{
	return (struct onpu_packet){ .opcode = ONPU_OP_COPY_2D,
				     .copy_2d = { .dst_va = dst, .src_va = src,
						  .dst_pitch = dst_pitch, .src_pitch = src_pitch,
						  .row_bytes = row_bytes, .rows = rows } };
}

struct onpu_packet pk_fill(uint64_t dst, uint64_t size, uint32_t pattern)
{
	return (struct onpu_packet){ .opcode = ONPU_OP_FILL,
				     .fill = { .dst_va = dst, .size = size,
					       .pattern = pattern } };
}

struct onpu_packet pk_call(uint64_t va, uint32_t count)
{
	return (struct onpu_packet){ .opcode = ONPU_OP_CALL, .call = { .va = va, .count = count } };
}

struct onpu_packet pk_matmul(uint64_t desc_va)
{
	return (struct onpu_packet){ .opcode = ONPU_OP_MATMUL, .matmul = { .desc_va = desc_va } };
}

struct onpu_packet pk_timestamp(uint64_t va)
{
	return (struct onpu_packet){ .opcode = ONPU_OP_TIMESTAMP, .timestamp = { .va = va } };
}

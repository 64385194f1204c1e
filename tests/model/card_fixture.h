/* SPDX-License-Identifier: MIT */
/*
 * A host around the card model, for tests: card memory, host memory behind a
 * platform that can be slow, stingy or deaf, and the driver's and firmware's
 * part in short calls (page tables, contexts, queues on slots, packets).
 *
 * Slots and contexts are set up through the MCU's bus, without firmware; the
 * MCU itself sleeps (an idle ROM) unless a test asks for the real one.
 */
#ifndef CARD_FIXTURE_H
#define CARD_FIXTURE_H

#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "onpu_internal.h"

#define FX_HOST_BASE	0x4000000000ull		/* DMA address of host memory */
#define FX_HOST_SIZE	(64ull << 20)
#define FX_VECTORS	8u
#define FX_KERNEL_VA	0x800000000000ull
#define RW		(ONPU_PTE_READ | ONPU_PTE_WRITE)

enum fx_dma {
	FX_DMA_SYNC,		/* try_map answers */
	FX_DMA_ASYNC,		/* requests; fx_complete(), or a thread if the card is threaded */
	FX_DMA_HOLD,		/* requests; only fx_complete() */
};

struct fx_opts {
	int threads;
	uint64_t vram_size;	/* 0: 64 MiB */
	enum fx_dma dma;
	uint64_t max_map;	/* longest mapping the platform gives; 0: any */
	unsigned int slots;	/* 0: 4 */
	unsigned int queues;	/* 0: 64 */
	bool doorbell_inline;
	bool real_rom;
	const char *isa;
	struct onpu_speed speed;	/* 0: the model's defaults */
	bool no_dev_key;
	uint32_t min_svn;
};

struct fx {
	struct onpu_card *card;
	struct fx_opts opts;
	uint8_t *vram, *host;
	uint64_t vram_size, vram_next, host_next;
	uint64_t roots[8];
	_Atomic uint64_t now;
	_Atomic uint32_t irqs[FX_VECTORS];
	_Atomic uint32_t guest_errors, resets, maps_live, requests, faults;
	char last_error[256];
	/* requests that are out */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	pthread_t thread;
	bool has_thread, stop;
	struct onpu_dma_req *queue[4096];
	unsigned int n_queue;
	unsigned int random;
	/* Called when the card maps host memory, on its thread: in the middle of a packet. */
	void (*on_map)(struct fx *fx);
	void *hook_arg;
};

struct fx_queue {
	struct fx *fx;
	unsigned int slot, queue, asid;
	uint64_t ring_off, ring_va, ctl_off;
	uint32_t order, flags, producer;
};

struct fx *fx_create(const struct fx_opts *opts);
/* Checks that nothing is still mapped. */
void fx_destroy(struct fx *fx);

/* Memory; contents are zero. */
uint64_t fx_vram(struct fx *fx, uint64_t size, uint64_t align);
uint64_t fx_hostmem(struct fx *fx, uint64_t size, uint64_t align);
void *fx_vptr(struct fx *fx, uint64_t offset);
void *fx_hptr(struct fx *fx, uint64_t dma_addr);
uint64_t fx_load(void *p);		/* 64 bits, acquire */
void fx_store(void *p, uint64_t value);	/* 64 bits, release */

/* Registers of BAR0. */
uint32_t fx_rd(struct fx *fx, uint32_t reg);
uint64_t fx_rd64(struct fx *fx, uint32_t reg);
void fx_wr(struct fx *fx, uint32_t reg, uint32_t value);
uint32_t fx_mcu(struct fx *fx, uint32_t addr);
void fx_mcu_wr(struct fx *fx, uint32_t addr, uint32_t value);
uint32_t fx_slot(struct fx *fx, unsigned int slot, uint32_t reg);
void fx_slot_wr(struct fx *fx, unsigned int slot, uint32_t reg, uint32_t value);

/* Page tables. Flags are ONPU_PTE_* without VALID and LEAF. */
void fx_context(struct fx *fx, unsigned int asid);
uint64_t *fx_pte(struct fx *fx, unsigned int asid, uint64_t va, unsigned int level);
void fx_map(struct fx *fx, unsigned int asid, uint64_t va, uint64_t addr, uint64_t size,
	    uint64_t flags);
void fx_map_huge(struct fx *fx, unsigned int asid, uint64_t va, uint64_t addr, uint64_t size,
		 uint64_t flags);
void fx_unmap(struct fx *fx, unsigned int asid, uint64_t va, uint64_t size);
/* Invalidates and waits for it. */
void fx_invalidate(struct fx *fx, unsigned int asid);
/* Fresh card memory mapped read-write at va. */
void *fx_buffer(struct fx *fx, unsigned int asid, uint64_t va, uint64_t size);

/* Queues. The ring is mapped in the kernel half, PRIV if flags say so. */
void fx_queue_init(struct fx_queue *q, struct fx *fx, unsigned int slot, unsigned int queue,
		   unsigned int asid, unsigned int order, uint32_t flags);
/* Binds the queue to a slot: ONPU_SLOT_BIND or ONPU_SLOT_RESTORE. */
void fx_bind(struct fx_queue *q, unsigned int slot, uint32_t consumer, uint32_t cmd);
/* Suspends, waits for it, unbinds; ONPU_SLOT_SAVED_*. */
uint32_t fx_suspend(struct fx_queue *q);
/* Binds it again, to any slot, and restores what fx_suspend() says is saved. */
void fx_resume(struct fx_queue *q, unsigned int slot, uint32_t saved);
uint8_t *fx_save_area(struct fx_queue *q);
void fx_push(struct fx_queue *q, const struct onpu_packet *p);
void fx_ring(struct fx_queue *q);
void fx_submit(struct fx_queue *q, const struct onpu_packet *p);	/* push and ring */
uint32_t fx_ctl(struct fx_queue *q);

/* Lets the card work: runs it, or waits until the slot is not RUNNING. Returns its state. */
uint32_t fx_settle(struct fx_queue *q);
void fx_run(struct fx *fx);
/* Waits up to 10 s for a state, a 64-bit value; fails the test else. */
void fx_wait_state(struct fx_queue *q, uint32_t state);
void fx_wait_value(struct fx *fx, void *p, uint64_t value);
void fx_kill(struct fx_queue *q);
void fx_unbind(struct fx_queue *q);

/* The slot stopped with this error, or this fault. */
void fx_expect_error(struct fx_queue *q, uint32_t error);
void fx_expect_fault(struct fx_queue *q, uint32_t reason, uint32_t access, uint32_t level,
		     uint64_t va);

/* Hands back up to n requests, the last one first if reverse; returns how many. */
unsigned int fx_complete(struct fx *fx, unsigned int n, bool reverse);

/* Packets. */
struct onpu_packet pk_nop(void);
struct onpu_packet pk_signal(uint64_t va, uint64_t value, bool irq);
struct onpu_packet pk_wait(uint64_t va, uint64_t value, uint32_t op);
struct onpu_packet pk_copy(uint64_t dst, uint64_t src, uint64_t size);
struct onpu_packet pk_copy_2d(uint64_t dst, uint64_t dst_pitch, uint64_t src, uint64_t src_pitch,
			      uint64_t row_bytes, uint32_t rows);
struct onpu_packet pk_fill(uint64_t dst, uint64_t size, uint32_t pattern);
struct onpu_packet pk_call(uint64_t va, uint32_t count);
struct onpu_packet pk_matmul(uint64_t desc_va);
struct onpu_packet pk_timestamp(uint64_t va);
struct onpu_packet pk_barrier(void);

uint64_t fx_now_ns(void);
uint32_t fx_random(struct fx *fx);

#endif

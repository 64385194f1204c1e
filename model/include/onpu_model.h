/* SPDX-License-Identifier: MIT */
/**
 * @file
 * The ONPU card as a library: the reference hardware, free of any emulator.
 *
 * A platform (the QEMU device, a host test, the in-process mode of libaccel)
 * creates a card, forwards register accesses to it, and provides the few
 * services of struct onpu_host_ops. Everything the guest can do reaches the
 * card through these functions; none of it can crash or hang them.
 *
 * Threads. With config.threads > 0 the card runs engine workers and one MCU
 * thread of its own; they call host ops from those threads, never block in
 * them and hold no card lock that onpu_card_mmio_*() or onpu_card_reset()
 * need. With threads == 0 nothing runs by itself: onpu_card_run() executes
 * the work in the calling thread, in a reproducible order.
 * All functions below may be called from any thread, except that create,
 * destroy, reset, quiesce, resume, save and load of one card are serialised
 * by the caller.
 */
#ifndef ONPU_MODEL_H
#define ONPU_MODEL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct onpu_card;

/** A piece of host memory that the card may access through @ptr. */
struct onpu_hostmap {
	void *ptr;
	uint64_t len;		/* bytes usable at @ptr, at most what was asked for */
	bool write;
	void *cookie;		/* the platform's own */
};

/**
 * A request to map host memory that dma_try_map() could not answer at once.
 * Owned by the card; the platform fills status and maps[] and hands it back
 * by onpu_card_dma_done() from any thread.
 */
struct onpu_dma_req {
	uint64_t addr;		/* host DMA address */
	uint64_t len;
	bool write;
	int status;		/* 0, or -EFAULT */
	struct onpu_hostmap map;	/* may be shorter than len: the card asks again for the rest */
	void *platform;		/* for the platform's queueing */
};

/** Depth of a reset. */
enum onpu_reset_kind {
	ONPU_RESET_POWER_ON,	/* everything, card memory is zeroed by the platform */
	ONPU_RESET_FUNCTION,	/* FLR, bus reset, ONPU_REG_RESET: state, not card memory or counters */
};

/** Services of the platform. Any thread; must not call back into the card. */
struct onpu_host_ops {
	/** Nanoseconds, monotonic; stops while the machine is stopped. */
	uint64_t (*time_ns)(void *opaque);
	/**
	 * Maps host memory without waiting: 0 and @map (possibly shorter than
	 * @len), -EFAULT if the address is not accessible RAM, or -EAGAIN if
	 * only a dma_request() can tell.
	 */
	int (*dma_try_map)(void *opaque, uint64_t addr, uint64_t len, bool write,
			   struct onpu_hostmap *map);
	/** Queues @req; onpu_card_dma_done() follows. May be NULL if try_map never says -EAGAIN. */
	void (*dma_request)(void *opaque, struct onpu_dma_req *req);
	/** Ends a mapping; a written one is visible to the host CPUs from here on. */
	void (*dma_unmap)(void *opaque, const struct onpu_hostmap *map);
	/** Sends an MSI-X vector. */
	void (*irq)(void *opaque, unsigned int vector);
	/** The guest broke a rule of hardware.md. */
	void (*guest_error)(void *opaque, const char *fmt, va_list ap)
		__attribute__((format(printf, 2, 0)));
	/** The card wants to be reset (ONPU_REG_RESET): the platform calls onpu_card_reset() soon. */
	void (*reset_request)(void *opaque);
	/** Trace point, see enum onpu_trace; may be NULL. */
	void (*trace)(void *opaque, unsigned int event, uint64_t a, uint64_t b, uint64_t c);
};

/** Trace points of the card and what a, b, c are. */
enum onpu_trace {
	ONPU_TRACE_DOORBELL,	/* queue, producer, slot or ~0 */
	ONPU_TRACE_PACKET,	/* queue, opcode, ring index */
	ONPU_TRACE_MATMUL,	/* m, n, k */
	ONPU_TRACE_FAULT,	/* asid, va, fault info */
	ONPU_TRACE_SLOT,	/* slot, state, queue */
	ONPU_TRACE_IRQ,		/* vector */
	ONPU_TRACE_MBOX,	/* 0 to firmware, 1 to host */
	ONPU_TRACE_BOOT,	/* boot status */
	ONPU_TRACE_RESET,	/* kind, generation */
};

/** How fast the engines of a card are (hardware.md, "Engine time"); 0 takes the default in brackets. */
struct onpu_speed {
	uint32_t cores;		/* [32] at most 4096 */
	uint32_t clock_khz;	/* [1500000] */
	uint32_t macs[4];	/* [512, 4096, 8192, 16384] per cycle and core: 32, 16, 8, 4 bits */
	uint32_t packet_ns;	/* [200] */
	uint64_t vram_bandwidth;	/* [1.6e12] bytes/s, at least 10^6, as host_bandwidth */
	uint64_t host_bandwidth;	/* [5.6e10] each way */
};

/** What a card is made of; 0 takes the default in brackets. */
struct onpu_card_config {
	void *vram;		/* card memory, vram_size bytes, zeroed by the platform at power-on */
	uint64_t vram_size;	/* multiple of 2 MiB, at least 16 MiB */
	uint64_t aperture_size;	/* [vram_size] */
	uint64_t serial;
	struct onpu_speed speed;
	unsigned int slots;	/* [16] */
	unsigned int queues;	/* [1024] */
	unsigned int contexts;	/* [64] */
	unsigned int vectors;	/* [32] */
	int threads;		/* engine workers; 0 deterministic, < 0 as many as CPUs */
	bool doorbell_inline;	/* a write to a doorbell may run short packets, so call all host ops */
	bool heartbeat_on_demand; /* an MCU that only beats sleeps until it has work or HEARTBEAT is read */
	const char *isa;	/* matmul kernels: NULL best, or a name that gemm.h lists */
	const void *rom;	/* boot ROM; NULL: the built-in one */
	size_t rom_size;
	uint8_t key_hash[32];	/* fuse: SHA-256 of the production key */
	uint32_t min_svn;	/* fuse */
	bool no_dev_key;	/* fuse: refuse the development key */
};

/** NULL and errno on failure. */
struct onpu_card *onpu_card_create(const struct onpu_card_config *config,
				   const struct onpu_host_ops *ops, void *opaque);
/** Stops everything; pending dma requests must have been handed back or cancelled. */
void onpu_card_destroy(struct onpu_card *card);

/** BAR0 access, size 1, 2, 4 or 8; errors are logged, never fatal. */
uint64_t onpu_card_mmio_read(struct onpu_card *card, uint64_t offset, unsigned int size);
void onpu_card_mmio_write(struct onpu_card *card, uint64_t offset, uint64_t value, unsigned int size);

/**
 * Resets the card: cancels and waits out every packet in flight (bounded: tiles
 * are small), forgets pending dma requests (their dma_done becomes a no-op that
 * unmaps), resets registers, slots, doorbells and the MCU.
 */
void onpu_card_reset(struct onpu_card *card, enum onpu_reset_kind kind);

void onpu_card_dma_done(struct onpu_card *card, struct onpu_dma_req *req);

/** Deterministic mode: works until nothing is runnable or @max_steps; returns steps done. */
unsigned int onpu_card_run(struct onpu_card *card, unsigned int max_steps);

/** Parks the engines and the MCU (machine stopped, state about to be saved) and lets them go on. */
void onpu_card_quiesce(struct onpu_card *card);
void onpu_card_resume(struct onpu_card *card);

/** State but card memory, while quiesced. save returns a malloc()ed blob; load checks all of it. */
void *onpu_card_save(struct onpu_card *card, size_t *size);
int onpu_card_load(struct onpu_card *card, const void *blob, size_t size);

/** Scriptable faults, named as in hardware.md ("hang-queue", "drop-irq", …); -ENOENT if unknown. */
int onpu_card_inject(struct onpu_card *card, const char *fault, uint64_t arg);

#endif /* ONPU_MODEL_H */

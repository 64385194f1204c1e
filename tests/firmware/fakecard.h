/* SPDX-License-Identifier: MIT */
/*
 * A small stand-in for the card around its management controller: the real
 * simulator and cryptographic block, and just enough of the other registers to
 * drive the real boot ROM and firmware from both sides.  Single-threaded and
 * deterministic: time is 10 ns per instruction and jumps while the controller
 * sleeps.
 */
#ifndef FAKECARD_H
#define FAKECARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <onpu/fwimage.h>
#include <onpu/mbox.h>
#include <onpu/mcu.h>
#include <onpu/mmu.h>
#include <onpu/packet.h>
#include <onpu/regs.h>
#include "rv32.h"

#define FAKE_QUEUES		64
#define FAKE_SLOTS		4
#define FAKE_CONTEXTS		16
#define FAKE_VECTORS		8
#define FAKE_RING_ORDER_MAX	12
#define FAKE_REGION_OFFSET	0x200000000ull
#define FAKE_REGION_SIZE	ONPU_FW_REGION_MIN_SIZE
#define FAKE_VRAM_SIZE		(FAKE_REGION_OFFSET + FAKE_REGION_SIZE)

struct fake_slot {
	uint32_t config[12];	/* ONPU_SLOT_QUEUE .. ONPU_SLOT_CONSUMER_HI */
	uint32_t state, events, enable, error;
	uint32_t fault_info, opcode;
	uint64_t fault_va, busy_ns;
	uint32_t saved, progress, packets;
	bool ignores_kill;	/* a test: the engine hangs */
	bool ignores_suspend;	/* or does not come to a boundary */
	unsigned int binds;
};

struct fake_context {
	uint64_t root;
	uint32_t ctrl;
};

struct fake {
	struct onpu_rv32 *hart;
	uint8_t *rom, *sram, *window;
	uint64_t time, timecmp;
	uint32_t timecmp_hi;
	uint32_t irq_pending, irq_enable;
	uint64_t boot_addr;
	uint32_t boot_size, boot_status, heartbeat, fw_version, fw_mbox;
	uint32_t host_irqs;	/* causes raised; tests clear them */
	bool fatal, locked_up;
	uint8_t key_hash[32], dev_key_hash[32];
	uint32_t min_svn, fuse_flags, hw_version;
	uint32_t crypto_src, crypto_len, crypto_key, crypto_sig, crypto_result;
	uint32_t digest[8];
	uint32_t db_pending[FAKE_QUEUES / 32], db_value[FAKE_QUEUES];
	bool has_saved[FAKE_QUEUES];	/* work that has to be restored */
	struct fake_context contexts[FAKE_CONTEXTS];
	struct fake_slot slots[FAKE_SLOTS];
	/* Called before each crypto command, to play a host that races. */
	void (*on_crypto)(struct fake *f, uint32_t cmd);
	bool stop_at_start;	/* halt where the ROM would jump to the image */
	unsigned int violations;	/* what real hardware calls undefined */
	uint64_t insns;
	uint32_t h2f_tail, f2h_head;	/* the host's indices */
	uint32_t seq;
};

struct fake *fake_create(void);
void fake_destroy(struct fake *f);

/* Runs @ms of device time; less if the controller halts. */
void fake_run(struct fake *f, unsigned int ms);
/* Runs until asleep with nothing pending, without letting time jump. */
void fake_settle(struct fake *f);

/* Stages an image, gives the boot command, runs; returns BOOT_STATUS. */
uint32_t fake_boot(struct fake *f, const void *image, size_t size);
uint32_t fake_boot_at(struct fake *f, uint64_t addr, uint32_t size);

/* The other engines. */
void fake_ring(struct fake *f, uint32_t queue, uint32_t producer);
int fake_slot_of(struct fake *f, uint32_t queue);	/* -1: on none */
void fake_slot_idle(struct fake *f, int slot);		/* all executed */
void fake_slot_fail(struct fake *f, int slot, uint32_t error);
void fake_slot_killed(struct fake *f, int slot);	/* a late kill */
void fake_slot_suspended(struct fake *f, int slot);	/* a late suspension */
void fake_slot_waits(struct fake *f, int slot);		/* at a WAIT */
void fake_signal(struct fake *f);			/* some queue executed a SIGNAL */

/* The host's side of the mailbox. */
struct onpu_mbox_shared *fake_shared(struct fake *f);
void fake_send(struct fake *f, const struct onpu_msg *msg);	/* and doorbell */
bool fake_receive(struct fake *f, struct onpu_msg *msg);
/* Sends a request and returns the next message, which must be its answer. */
uint32_t fake_request(struct fake *f, uint16_t type, const void *payload,
		      size_t size, struct onpu_msg *reply);
/* The log as a string, to be freed. */
char *fake_log(struct fake *f);

#endif

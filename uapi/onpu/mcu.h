/* SPDX-License-Identifier: MIT */
/**
 * @file
 * The management controller (MCU) as its firmware sees it: memory map and
 * private registers. The host cannot reach any of it.
 *
 * RV32IMC, machine mode only. All peripheral registers are 32 bits wide and
 * take aligned 32-bit accesses; anything else is an access fault. 64-bit
 * values are two registers, low word first.
 */
#ifndef ONPU_MCU_H
#define ONPU_MCU_H

#include "types.h"

/* Memory map */
#define ONPU_MCU_ROM_BASE	0x00000000u	/* boot ROM; reset vector at its start */
#define ONPU_MCU_ROM_SIZE	0x00010000u
#define ONPU_MCU_SRAM_BASE	0x10000000u	/* firmware code and data; all executable */
#define ONPU_MCU_SRAM_SIZE	0x00100000u
/* The ROM's own data and its copy of the header: images may not load here. */
#define ONPU_MCU_ROM_DATA_BASE	0x100f0000u
#define ONPU_MCU_ROM_DATA_SIZE	0x00010000u
#define ONPU_MCU_WINDOW_BASE	0x80000000u	/* the firmware region of card memory */

/* Use of the firmware region: the host stages the image in the first part. */
#define ONPU_FW_REGION_STAGE_SIZE	0x00400000u	/* host-owned, image staging */
#define ONPU_FW_REGION_SAVE_OFFSET	0x00600000u	/* save area of queue q: + q * ONPU_SAVE_SIZE */
#define ONPU_SAVE_SIZE			1024u		/* of a queue, see ONPU_SLOT_SAVE */
#define ONPU_FW_REGION_MIN_SIZE		0x00800000u

/* --- SYS ------------------------------------------------------------------- */
#define ONPU_MCU_SYS		0x20000000u
#define ONPU_SYS_IRQ_PENDING	(ONPU_MCU_SYS + 0x00) /* RO: ONPU_MCU_IRQ_* */
#define ONPU_SYS_IRQ_ENABLE	(ONPU_MCU_SYS + 0x04) /* RW, reset 0: pending & enable drives mip.MEIP */
#define ONPU_SYS_IRQ_ACK	(ONPU_MCU_SYS + 0x08) /* W1C of PENDING */
#define   ONPU_MCU_IRQ_MBOX	(1u << 0) /* host wrote ONPU_REG_MBOX_DB */
#define   ONPU_MCU_IRQ_BOOT	(1u << 1) /* host wrote ONPU_REG_BOOT_CMD */
#define   ONPU_MCU_IRQ_DOORBELL	(1u << 2) /* a doorbell of an unbound queue was rung */
#define   ONPU_MCU_IRQ_SLOT	(1u << 3) /* a slot has events: ONPU_SLOTS_EVENTS */
#define   ONPU_MCU_IRQ_SIGNAL	(1u << 4) /* a SIGNAL was executed while IRQ_ENABLE had this bit */
#define ONPU_SYS_HOST_IRQ	(ONPU_MCU_SYS + 0x0c) /* WO: sets bits of ONPU_REG_IRQ_CAUSE */
#define ONPU_SYS_BOOT_ADDR_LO	(ONPU_MCU_SYS + 0x10) /* RO: as the host wrote them */
#define ONPU_SYS_BOOT_ADDR_HI	(ONPU_MCU_SYS + 0x14)
#define ONPU_SYS_BOOT_SIZE	(ONPU_MCU_SYS + 0x18)
#define ONPU_SYS_BOOT_STATUS	(ONPU_MCU_SYS + 0x1c) /* RW: ONPU_REG_BOOT_STATUS */
#define ONPU_SYS_HEARTBEAT	(ONPU_MCU_SYS + 0x20) /* RW */
#define ONPU_SYS_FW_VERSION	(ONPU_MCU_SYS + 0x24) /* RW */
#define ONPU_SYS_FW_MBOX	(ONPU_MCU_SYS + 0x28) /* RW */
#define ONPU_SYS_FATAL		(ONPU_MCU_SYS + 0x2c) /* WO: sets STATUS.FATAL, halts the MCU until reset */
/* RO: device time in ns; reading LO latches HI */
#define ONPU_SYS_TIME_LO	(ONPU_MCU_SYS + 0x30)
#define ONPU_SYS_TIME_HI	(ONPU_MCU_SYS + 0x34)
/* RW, reset ~0: mip.MTIP is set while TIME >= TIMECMP; writing HI, then LO, applies both */
#define ONPU_SYS_TIMECMP_LO	(ONPU_MCU_SYS + 0x38)
#define ONPU_SYS_TIMECMP_HI	(ONPU_MCU_SYS + 0x3c)
#define ONPU_SYS_KEY_HASH	(ONPU_MCU_SYS + 0x40) /* RO, 8 words: fuse */
#define ONPU_SYS_DEV_KEY_HASH	(ONPU_MCU_SYS + 0x60) /* RO, 8 words: development key, in mask ROM */
#define ONPU_SYS_MIN_SVN	(ONPU_MCU_SYS + 0x80) /* RO: fuse */
#define ONPU_SYS_FUSE_FLAGS	(ONPU_MCU_SYS + 0x84) /* RO: ONPU_FUSE_* */
#define ONPU_SYS_HW_VERSION	(ONPU_MCU_SYS + 0x88) /* RO: capabilities as the host sees them */
#define ONPU_SYS_QUEUES		(ONPU_MCU_SYS + 0x8c)
#define ONPU_SYS_SLOTS		(ONPU_MCU_SYS + 0x90)
#define ONPU_SYS_CONTEXTS	(ONPU_MCU_SYS + 0x94)
#define ONPU_SYS_VECTORS	(ONPU_MCU_SYS + 0x98)
#define ONPU_SYS_REGION_SIZE	(ONPU_MCU_SYS + 0x9c) /* bytes of the firmware region */
#define ONPU_SYS_VRAM_SIZE_LO	(ONPU_MCU_SYS + 0xa0)
#define ONPU_SYS_VRAM_SIZE_HI	(ONPU_MCU_SYS + 0xa4)
#define ONPU_SYS_RING_ORDER_MAX	(ONPU_MCU_SYS + 0xa8)
/* RO: where the firmware region starts in card memory (BOOT_ADDR counts from 0) */
#define ONPU_SYS_REGION_OFFSET_LO	(ONPU_MCU_SYS + 0xac)
#define ONPU_SYS_REGION_OFFSET_HI	(ONPU_MCU_SYS + 0xb0)
#define ONPU_SYS_END		(ONPU_MCU_SYS + 0xb4)

/* --- CRYPTO: SHA-256 (FIPS 180-4) and Ed25519 (RFC 8032) -------------------- */
#define ONPU_MCU_CRYPTO		0x20001000u
#define ONPU_CRYPTO_SRC		(ONPU_MCU_CRYPTO + 0x00) /* RW: MCU address (SRAM, ROM or window) */
#define ONPU_CRYPTO_LEN		(ONPU_MCU_CRYPTO + 0x04) /* RW: bytes */
#define ONPU_CRYPTO_KEY		(ONPU_MCU_CRYPTO + 0x08) /* RW: MCU address of 32 bytes */
#define ONPU_CRYPTO_SIG		(ONPU_MCU_CRYPTO + 0x0c) /* RW: MCU address of 64 bytes */
#define ONPU_CRYPTO_CMD		(ONPU_MCU_CRYPTO + 0x10) /* WO: executes, done when the store retires */
#define   ONPU_CRYPTO_SHA256	1 /* DIGEST = SHA-256(SRC, LEN) */
#define   ONPU_CRYPTO_VERIFY	2 /* RESULT tells whether SIG signs (SRC, LEN) under KEY */
#define ONPU_CRYPTO_RESULT	(ONPU_MCU_CRYPTO + 0x14) /* RO */
#define   ONPU_CRYPTO_OK	1
#define   ONPU_CRYPTO_BAD	2 /* signature wrong */
#define   ONPU_CRYPTO_ERROR	3 /* address, length or command */
#define ONPU_CRYPTO_DIGEST	(ONPU_MCU_CRYPTO + 0x20) /* RO, 8 words in byte order of memory */
#define ONPU_CRYPTO_END		(ONPU_MCU_CRYPTO + 0x40)

/* --- DOORBELL --------------------------------------------------------------- */
#define ONPU_MCU_DOORBELL	0x20002000u
/* W1C, bit q % 32 of word q / 32: queue q was rung while not bound to a slot */
#define ONPU_DOORBELL_PENDING(q) (ONPU_MCU_DOORBELL + 4 * ((q) / 32))
/* RO, bit w: word w of the above is not zero */
#define ONPU_DOORBELL_WORDS	(ONPU_MCU_DOORBELL + 0x80)
#define ONPU_MCU_DB_VALUES	0x20003000u
/* RW: producer index last rung; a write sets it without ringing */
#define ONPU_DB_VALUE(q)	(ONPU_MCU_DB_VALUES + 4 * (q))

/* --- CONTEXT: root table of each address space ------------------------------ */
#define ONPU_MCU_CONTEXTS	0x20004000u
#define ONPU_CTX_ROOT_LO(c)	(ONPU_MCU_CONTEXTS + 16 * (c) + 0)
#define ONPU_CTX_ROOT_HI(c)	(ONPU_MCU_CONTEXTS + 16 * (c) + 4)
#define ONPU_CTX_CTRL(c)	(ONPU_MCU_CONTEXTS + 16 * (c) + 8) /* RW; a write invalidates its TLB */
#define   ONPU_CTX_VALID	(1u << 0)

/* --- SLOTS ------------------------------------------------------------------ */
#define ONPU_MCU_SLOTS		0x20008000u
#define ONPU_SLOT_STRIDE	0x100u
/* RO: bit s % 32 of word s / 32: slot s has EVENTS */
#define ONPU_SLOTS_EVENTS(w)	(ONPU_MCU_SLOTS + 0x8000u + 4 * (w))
#define ONPU_SLOT(s, r)		(ONPU_MCU_SLOTS + ONPU_SLOT_STRIDE * (s) + (r))
/*
 * Configuration, RW while FREE, RO else. UNBIND clears EVENTS and EVENT_ENABLE
 * only: everything else can be read until the next BIND.
 */
#define ONPU_SLOT_QUEUE		0x00
#define ONPU_SLOT_ASID		0x04
#define ONPU_SLOT_RING_LO	0x08
#define ONPU_SLOT_RING_HI	0x0c
#define ONPU_SLOT_RING_ORDER	0x10
#define ONPU_SLOT_FLAGS		0x14 /* ONPU_QUEUE_* */
#define ONPU_SLOT_VECTOR	0x18
#define ONPU_SLOT_CTL_LO	0x1c
#define ONPU_SLOT_CTL_HI	0x20
#define ONPU_SLOT_CONSUMER	0x24 /* the next packet; counts up while bound */
#define ONPU_SLOT_SAVE		0x28 /* save area: offset in the firmware region, multiple of SAVE_SIZE */
#define ONPU_SLOT_CONSUMER_HI	0x2c /* counts the turns of CONSUMER; hardware 1.4 */
/* state */
#define ONPU_SLOT_CMD		0x40 /* WO */
#define   ONPU_SLOT_BIND	1 /* FREE -> IDLE or RUNNING; invalid configuration: ERROR, ONPU_ERR_INTERNAL */
#define   ONPU_SLOT_UNBIND	2 /* IDLE with an empty ring, ERROR, KILLED, SUSPENDED -> FREE; else no effect */
#define   ONPU_SLOT_KILL	3 /* IDLE, RUNNING, WAITING -> KILLED, at the next tile boundary */
#define   ONPU_SLOT_SUSPEND	4 /* IDLE, RUNNING, WAITING -> SUSPENDED, at the next boundary; work is saved */
#define   ONPU_SLOT_RESTORE	5 /* as BIND, and goes on where the save area says: ONPU_ERR_INTERNAL if that is damaged */
#define ONPU_SLOT_STATE		0x44 /* RO: enum onpu_slot_state */
#define ONPU_SLOT_EVENTS	0x48 /* W1C */
#define   ONPU_SLOT_EV_IDLE	(1u << 0) /* the ring ran empty */
#define   ONPU_SLOT_EV_ERROR	(1u << 1) /* state became ERROR */
#define   ONPU_SLOT_EV_KILLED	(1u << 2) /* state became KILLED */
#define   ONPU_SLOT_EV_SUSPENDED (1u << 3) /* state became SUSPENDED */
#define   ONPU_SLOT_EV_WAITING	(1u << 4) /* state became WAITING */
#define ONPU_SLOT_EVENT_ENABLE	0x4c /* RW, reset 0, cleared by UNBIND */
#define ONPU_SLOT_ERROR		0x50 /* RO: enum onpu_queue_error */
#define ONPU_SLOT_FAULT_LO	0x54 /* RO: faulting VA */
#define ONPU_SLOT_FAULT_HI	0x58
#define ONPU_SLOT_FAULT_INFO	0x5c /* RO: ONPU_FAULT_INFO */
#define ONPU_SLOT_OPCODE	0x60 /* RO: opcode of the packet that failed */
#define ONPU_SLOT_BUSY_LO	0x64 /* RO: ns executing since BIND */
#define ONPU_SLOT_BUSY_HI	0x68
#define ONPU_SLOT_SAVED		0x6c /* RO, when SUSPENDED: what is in the save area */
#define   ONPU_SLOT_SAVED_WORK	(1u << 0) /* a packet in progress: to be RESTOREd; else BIND will do */
#define   ONPU_SLOT_SAVED_WAIT	(1u << 1) /* that is a WAIT which did not hold */
#define ONPU_SLOT_PROGRESS	0x70 /* RO: packets and parts of packets done since BIND, modulo 2^32 */
#define ONPU_SLOT_PACKETS	0x74 /* RO: packets done since BIND, those of CALLs too, modulo 2^32 */
#define ONPU_SLOT_END		0x78

enum onpu_slot_state {
	ONPU_SLOT_FREE = 0,
	ONPU_SLOT_IDLE = 1,
	ONPU_SLOT_RUNNING = 2,
	ONPU_SLOT_WAITING = 3,
	ONPU_SLOT_ERRORED = 4,
	ONPU_SLOT_KILLED = 5,
	ONPU_SLOT_SUSPENDED = 6,
};

#define ONPU_MCU_PERIPH_END	0x20011000u

#endif /* ONPU_MCU_H */

/* SPDX-License-Identifier: MIT */
/**
 * @file
 * PCI identity and host-visible registers of the ONPU card (BAR0).
 *
 * Documentation/hardware.md describes each register; this header is the letter.
 *
 * Registers are 32 bits wide and little-endian, or 64 bits where marked (64).
 * A 64-bit register may be accessed as one aligned 64-bit access or as two
 * aligned 32-bit ones. Any other size or alignment, and any offset that is not
 * listed, reads as 0, ignores writes and is logged by the card as a guest
 * error. Access: RO read-only (a write is a guest error), WO reads as 0,
 * RW, W1C write one to clear.
 */
#ifndef ONPU_REGS_H
#define ONPU_REGS_H

#include "types.h"

/* PCI identity */
#define ONPU_PCI_VENDOR_ID		0x4f4e
#define ONPU_PCI_DEVICE_ID		0x5055
#define ONPU_PCI_SUBSYSTEM_ID		0x0001	/* the board; its vendor is the card's */
#define ONPU_PCI_CLASS			0x120000 /* processing accelerator */
#define ONPU_PCI_REVISION		0x01

/* BARs */
#define ONPU_BAR_REGS			0 /* 64-bit, not prefetchable, 8 MiB */
#define ONPU_BAR_VRAM			2 /* 64-bit, prefetchable, aperture over card memory */
#define ONPU_BAR_MSIX			4 /* 32-bit, MSI-X table and PBA */
#define ONPU_BAR_REGS_SIZE		0x800000

/* --- 0x000: identity and capabilities, all RO, constant after reset ------- */
#define ONPU_REG_MAGIC			0x000
#define   ONPU_MAGIC			0x55504e4f /* "ONPU" */
#define ONPU_REG_HW_VERSION		0x004 /* major << 16 | minor */
#define   ONPU_HW_VERSION_MAJOR		1
#define   ONPU_HW_VERSION_MINOR		4
#define   ONPU_HW_MINOR_NULL		1 /* minor version that ONPU_PTE_NULL came with */
#define   ONPU_HW_MINOR_ENGINES		2 /* that engine time, its registers and ONPU_PKT_STAMP came with */
#define   ONPU_HW_MINOR_IRQ_HOLD	4 /* that ONPU_REG_IRQ_HOLD came with */
#define   ONPU_HW_MINOR_PROGRESS	4 /* that onpu_queue_ctl.completed came with */
#define ONPU_REG_OPCODES		0x008 /* bit n: packet opcode n is implemented */
#define ONPU_REG_CORES			0x00c /* matmul cores */
#define ONPU_REG_DTYPES_IN		0x010 /* bit n: enum onpu_dtype n as matmul input */
#define ONPU_REG_DTYPES_OUT		0x014 /* bit n: enum onpu_dtype n as matmul output */
#define ONPU_REG_CORE_CLOCK_KHZ		0x018
#define ONPU_REG_DIM_MAX		0x01c /* largest M, N, K */
#define ONPU_REG_VRAM_SIZE		0x020 /* (64) bytes of card memory */
#define ONPU_REG_APERTURE_SIZE		0x028 /* (64) bytes of it that BAR2 reaches, from 0 */
#define ONPU_REG_FW_REGION_OFFSET	0x030 /* (64) card memory that the firmware owns */
#define ONPU_REG_FW_REGION_SIZE		0x038 /* (64) */
#define ONPU_REG_QUEUES			0x040 /* queues = doorbell pages */
#define ONPU_REG_SLOTS			0x044 /* hardware slots that execute queues */
#define ONPU_REG_CONTEXTS		0x048 /* address spaces (ASIDs 0 .. n - 1) */
#define ONPU_REG_VECTORS		0x04c /* MSI-X vectors */
#define ONPU_REG_VA_BITS		0x050
#define ONPU_REG_PAGE_SIZES		0x054 /* bit n: leaves of 2^n bytes */
#define ONPU_REG_RING_ORDER_MAX		0x058 /* log2 of the packets in the largest ring */
#define ONPU_REG_CALL_MAX		0x05c /* packets that one CALL may name */
#define ONPU_REG_DOORBELL_OFFSET	0x060 /* BAR0 offset of queue 0's doorbell page */
#define ONPU_REG_DOORBELL_STRIDE	0x064
#define ONPU_REG_SERIAL			0x068 /* (64) */
#define ONPU_REG_DMA_BITS		0x070 /* host DMA address bits */
/* What engine time is made of; since ONPU_HW_MINOR_ENGINES. */
#define ONPU_REG_MACS_32		0x074 /* multiply-adds per cycle and core, wider operand 32 bits */
#define ONPU_REG_MACS_16		0x078 /* 16 bits */
#define ONPU_REG_MACS_8			0x07c /* 8 or 6 bits */
#define ONPU_REG_MACS_4			0x080 /* 4 bits */
#define ONPU_REG_TILE			0x084 /* rows and columns of D that a core computes at a time */
#define ONPU_REG_VRAM_BANDWIDTH		0x088 /* (64) bytes/s of card memory */
#define ONPU_REG_HOST_BANDWIDTH		0x090 /* (64) bytes/s of PCIe, each way */
#define ONPU_REG_PACKET_NS		0x098 /* fixed time of a packet */

/* --- 0x100: control ------------------------------------------------------- */
#define ONPU_REG_RESET			0x100 /* WO: ONPU_RESET_KEY resets the card as an FLR does */
#define   ONPU_RESET_KEY		0x54534552 /* "REST" */
#define ONPU_REG_STATUS			0x104 /* RO */
#define   ONPU_STATUS_MCU_RUN		(1u << 0) /* the MCU executes */
#define   ONPU_STATUS_FW_READY		(1u << 1) /* BOOT_STATUS stage is READY */
#define   ONPU_STATUS_FATAL		(1u << 2) /* the MCU crashed; only a reset helps */
#define   ONPU_STATUS_BUSY		(1u << 3) /* a slot executes a packet */
#define ONPU_REG_IRQ_CAUSE		0x108 /* W1C: why vector 0 was raised */
#define ONPU_REG_IRQ_ENABLE		0x10c /* RW, reset 0: causes that raise vector 0 */
#define   ONPU_IRQ_MBOX			(1u << 0) /* firmware wrote messages */
#define   ONPU_IRQ_BOOT			(1u << 1) /* BOOT_STATUS reached READY or FAILED */
#define   ONPU_IRQ_FATAL		(1u << 2) /* STATUS.FATAL became 1 */
#define   ONPU_IRQ_ALL			0x7u
#define ONPU_REG_TIME			0x110 /* (64) RO: device time, ns since power-on */
#define ONPU_REG_GENERATION		0x118 /* RO: resets since power-on, from 1 */

/* --- 0x200: boot ---------------------------------------------------------- */
#define ONPU_REG_BOOT_ADDR		0x200 /* (64) RW: image, offset in card memory */
#define ONPU_REG_BOOT_SIZE		0x208 /* RW: bytes of the image */
#define ONPU_REG_BOOT_CMD		0x20c /* WO: ONPU_BOOT_START */
#define   ONPU_BOOT_START		1
#define ONPU_REG_BOOT_STATUS		0x210 /* RO: stage | error << 8 | detail << 16 */
#define   ONPU_BOOT_STAGE(s)		((s) & 0xffu)
#define   ONPU_BOOT_ERROR(s)		(((s) >> 8) & 0xffu)
#define   ONPU_BOOT_DETAIL(s)		(((s) >> 16) & 0xffffu)
#define ONPU_REG_HEARTBEAT		0x214 /* RO: the firmware counts it up at least every 100 ms */
#define ONPU_REG_FW_VERSION		0x218 /* RO: major << 24 | minor << 16 | patch */
#define ONPU_REG_FW_MBOX		0x21c /* RO: offset of struct onpu_mbox_shared in the firmware region */
#define ONPU_REG_FUSE_KEY_HASH		0x220 /* RO, 8 words: SHA-256 of the production public key */
#define ONPU_REG_FUSE_MIN_SVN		0x240 /* RO: oldest security version that boots */
#define ONPU_REG_FUSE_FLAGS		0x244 /* RO */
#define   ONPU_FUSE_DEV_KEY		(1u << 0) /* images signed by the development key boot */

/** Stages of ONPU_REG_BOOT_STATUS. */
enum onpu_boot_stage {
	ONPU_BOOT_STAGE_RESET = 0,	/* the MCU has not run yet */
	ONPU_BOOT_STAGE_ROM = 1,	/* boot ROM waits for BOOT_CMD */
	ONPU_BOOT_STAGE_LOAD = 2,	/* copies the image to MCU memory */
	ONPU_BOOT_STAGE_VERIFY = 3,	/* checks hashes and signature */
	ONPU_BOOT_STAGE_START = 4,	/* firmware entered, initialises */
	ONPU_BOOT_STAGE_READY = 5,	/* mailbox answers */
	ONPU_BOOT_STAGE_FAILED = 6,	/* refused: see the error; a new BOOT_CMD tries again */
	ONPU_BOOT_STAGE_CRASHED = 7,	/* firmware trapped: crash record, STATUS.FATAL */
};

/** Errors of ONPU_REG_BOOT_STATUS when its stage is FAILED. */
enum onpu_boot_error {
	ONPU_BOOT_ERR_NONE = 0,
	ONPU_BOOT_ERR_RANGE = 1,	/* BOOT_ADDR/SIZE outside the firmware region or misaligned */
	ONPU_BOOT_ERR_MAGIC = 2,	/* not a firmware image */
	ONPU_BOOT_ERR_VERSION = 3,	/* header version not known to this ROM */
	ONPU_BOOT_ERR_LENGTH = 4,	/* lengths in the header contradict each other or BOOT_SIZE */
	ONPU_BOOT_ERR_SECTION = 5,	/* section outside MCU memory or overlapping (detail: index) */
	ONPU_BOOT_ERR_KEY = 6,		/* public key is neither fused nor the permitted development key */
	ONPU_BOOT_ERR_SIGNATURE = 7,	/* Ed25519 signature over the header is wrong */
	ONPU_BOOT_ERR_HASH = 8,		/* SHA-256 of a section is wrong (detail: index) */
	ONPU_BOOT_ERR_ROLLBACK = 9,	/* security version below the fuse */
	ONPU_BOOT_ERR_ENTRY = 10,	/* entry point outside an executable section */
	ONPU_BOOT_ERR_HARDWARE = 11,	/* image is for another hardware major version */
	ONPU_BOOT_ERR_RESERVED = 12,	/* reserved header bytes are not zero */
};

/* --- 0x300: mailbox ------------------------------------------------------- */
#define ONPU_REG_MBOX_DB		0x300 /* WO: any value; host wrote messages */

/* --- 0x400: TLB invalidation ---------------------------------------------- */
#define ONPU_REG_TLB_INV		0x400 /* WO: ASID, or ONPU_TLB_INV_ALL */
#define   ONPU_TLB_INV_ALL		0xffffffffu
#define ONPU_REG_TLB_SEQ		0x404 /* RO: invalidations requested (modulo 2^32) */
#define ONPU_REG_TLB_DONE		0x408 /* RO: invalidations complete (modulo 2^32) */

/* --- 0x500: counters since power-on, (64) RO ------------------------------- */
#define ONPU_REG_CNT_BUSY_NS		0x500 /* sum over slots of time executing packets */
#define ONPU_REG_CNT_PACKETS		0x508
#define ONPU_REG_CNT_MATMULS		0x510
#define ONPU_REG_CNT_MATMUL_OPS		0x518 /* 2 * M * N * K of each */
#define ONPU_REG_CNT_COPY_BYTES		0x520 /* COPY and FILL */
#define ONPU_REG_CNT_TLB_HITS		0x528
#define ONPU_REG_CNT_TLB_WALKS		0x530
#define ONPU_REG_CNT_FAULTS		0x538
#define ONPU_REG_CNT_IRQS		0x540

/* --- 0x580: engine time since power-on, (64) RO; since ONPU_HW_MINOR_ENGINES -- */
#define ONPU_REG_ENGINE_TIME		0x580 /* ns; latest end of a packet */
#define ONPU_REG_ENGINE_BUSY(e)		(0x588 + 8 * (e)) /* ns that enum onpu_engine e worked */
#define ONPU_REG_ENGINE_BYTES(e)	(0x5a0 + 8 * (e)) /* moved by engine e, from ENGINE_VRAM on */

/** What packets keep busy. */
enum onpu_engine {
	ONPU_ENGINE_CORES = 0,		/* the matmul cores together */
	ONPU_ENGINE_COPY = 1,
	ONPU_ENGINE_VRAM = 2,		/* card memory */
	ONPU_ENGINE_HOST_READ = 3,	/* PCIe, towards the card */
	ONPU_ENGINE_HOST_WRITE = 4,	/* PCIe, from the card */
};
#define ONPU_ENGINES			5

/* --- 0x600: interrupts held back; since ONPU_HW_MINOR_IRQ_HOLD -------------- */
#define ONPU_REG_IRQ_HOLD(v)		(0x600 + 4 * (v)) /* RW, reset 0: of SIGNALs on vector v */
#define   ONPU_IRQ_HOLD(count, us)	((count) | (us) << 16)
#define   ONPU_IRQ_HOLD_COUNT(r)	((r) & 0xffffu) /* SIGNALs that one interrupt tells of, at most; 0, 1: none is held */
#define   ONPU_IRQ_HOLD_US(r)		((r) >> 16) /* time after which it is sent */

#define ONPU_REGS_END			0x700

/* --- doorbell pages -------------------------------------------------------- */
#define ONPU_DOORBELL_BASE		0x400000
#define ONPU_DOORBELL_PAGE		0x1000
/* RW: producer index of the queue, free-running modulo 2^32, in packets */
#define ONPU_DB_PRODUCER		0x000

/* Limits of the format; a card states its own in the registers above. */
#define ONPU_MAX_QUEUES			1024
#define ONPU_MAX_SLOTS			64
#define ONPU_MAX_CONTEXTS		256
#define ONPU_MAX_VECTORS		64

#endif /* ONPU_REGS_H */

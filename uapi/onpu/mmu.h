/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Page-table format of the card's MMU.
 *
 * 48-bit virtual addresses, four levels of 512 eight-byte entries, each table
 * one 4 KiB page of card memory (never host memory). Level 3 is the root and
 * resolves VA bits 47:39, level 2 38:30, level 1 29:21, level 0 20:12.
 * Leaves stand at level 0 (4 KiB) and level 1 (2 MiB). An entry whose VALID
 * bit is clear is otherwise ignored. In a valid entry every bit that is not
 * named below must be zero, else the access faults (ONPU_FAULT_RESERVED).
 */
#ifndef ONPU_MMU_H
#define ONPU_MMU_H

#include "types.h"

#define ONPU_MMU_VA_BITS	48
#define ONPU_MMU_LEVELS		4
#define ONPU_MMU_ENTRIES	512
#define ONPU_MMU_TABLE_SIZE	4096
#define ONPU_MMU_PAGE_SHIFT	12
#define ONPU_MMU_HUGE_SHIFT	21
#define ONPU_MMU_SHIFT(level)	(ONPU_MMU_PAGE_SHIFT + 9 * (level))

#define ONPU_PTE_VALID		(1ull << 0)
#define ONPU_PTE_LEAF		(1ull << 1)	/* set at level 0 always; level 1: 2 MiB page */
#define ONPU_PTE_READ		(1ull << 2)	/* leaf only */
#define ONPU_PTE_WRITE		(1ull << 3)	/* leaf only */
#define ONPU_PTE_HOST		(1ull << 4)	/* leaf only: host DMA address, else card memory offset */
#define ONPU_PTE_PRIV		(1ull << 5)	/* leaf only: see ONPU_QUEUE_PRIVILEGED */
#define ONPU_PTE_NULL		(1ull << 6)	/* leaf only: no memory; HOST and ADDR zero */
#define ONPU_PTE_ADDR		0x000ffffffffff000ull	/* table or page address, bits 51:12 */
#define ONPU_PTE_LEAF_BITS	(ONPU_PTE_VALID | ONPU_PTE_LEAF | ONPU_PTE_READ | \
				 ONPU_PTE_WRITE | ONPU_PTE_HOST | ONPU_PTE_PRIV | \
				 ONPU_PTE_NULL | ONPU_PTE_ADDR)
#define ONPU_PTE_TABLE_BITS	(ONPU_PTE_VALID | ONPU_PTE_ADDR)

/** Why a translation faulted. */
enum onpu_fault_reason {
	ONPU_FAULT_NONE = 0,
	ONPU_FAULT_VA_RANGE = 1,	/* VA bits 63:48 not zero, or the access wraps */
	ONPU_FAULT_NOT_PRESENT = 2,	/* entry without VALID */
	ONPU_FAULT_PERMISSION = 3,	/* READ or WRITE missing */
	ONPU_FAULT_PRIVILEGE = 4,	/* PRIV page, unprivileged packet */
	ONPU_FAULT_RESERVED = 5,	/* reserved bits, or a leaf at a level without leaves */
	ONPU_FAULT_ADDRESS = 6,		/* table or page outside card memory, misaligned 2 MiB page */
	ONPU_FAULT_HOST = 7,		/* host refused the DMA (bus master off, IOMMU fault, not RAM) */
	ONPU_FAULT_CONTEXT = 8,		/* the context is not valid */
};

/** What the faulting access was (fault info register and messages). */
#define ONPU_FAULT_ACCESS_READ	0u
#define ONPU_FAULT_ACCESS_WRITE	1u
#define ONPU_FAULT_ACCESS_FETCH	2u	/* packet from the ring or a called buffer */

/* Packing of a fault info word. */
#define ONPU_FAULT_INFO(reason, access, level) \
	((__u32)(reason) | ((__u32)(access) << 8) | ((__u32)(level) << 16))
#define ONPU_FAULT_INFO_REASON(i)	((i) & 0xffu)
#define ONPU_FAULT_INFO_ACCESS(i)	(((i) >> 8) & 0xffu)
#define ONPU_FAULT_INFO_LEVEL(i)	(((i) >> 16) & 0xffu)

#endif /* ONPU_MMU_H */

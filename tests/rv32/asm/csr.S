/* SPDX-License-Identifier: MIT */
/* CSR instructions, and the fields that can and cannot be written. */
#include "rvtest.h"

	/* Write @value; read back @seen. */
	.macro	WARL n, csr, value, seen
	li	a0, \value
	csrw	\csr, a0
	csrr	a1, \csr
	EXPECT	\n, a1, \seen
	.endm

	BEGIN
	START_MAIN
	li	a0, 0x12345678
	csrw	mscratch, a0
	li	a1, 0x0f0f0f0f
	csrrw	a2, mscratch, a1
	EXPECT	2, a2, 0x12345678
	li	a1, 0xf0
	csrrs	a2, mscratch, a1
	EXPECT	3, a2, 0x0f0f0f0f
	csrr	a2, mscratch
	EXPECT	4, a2, 0x0f0f0fff
	csrrc	a2, mscratch, a1
	EXPECT	5, a2, 0x0f0f0fff
	csrrwi	a2, mscratch, 31
	EXPECT	6, a2, 0x0f0f0f0f
	csrrsi	a2, mscratch, 0
	EXPECT	7, a2, 31
	csrrci	a2, mscratch, 1
	csrr	a2, mscratch
	EXPECT	8, a2, 30
	csrrsi	a2, mscratch, 1
	csrr	a2, mscratch
	EXPECT	9, a2, 31
	/* source and destination in one register */
	li	a0, 0x55
	csrrw	a0, mscratch, a0
	EXPECT	10, a0, 31
	csrr	a0, mscratch
	EXPECT	11, a0, 0x55

	WARL 20, mstatus, -1, 0x1888
	WARL 21, mstatus, 0, 0x1800
	WARL 22, mie, -1, 0x888
	WARL 23, mie, 0, 0
	WARL 24, mip, -1, 0
	WARL 25, mtvec, -1, 0xfffffffd
	WARL 26, mtvec, 0x80000002, 0x80000000
	WARL 27, mepc, -1, 0xfffffffe
	WARL 28, mcause, 0x8000000b, 0x8000000b
	WARL 29, mtval, 0xdeadbeef, 0xdeadbeef
	WARL 30, misa, 0, 0x40001104
	WARL 31, misa, -1, 0x40001104
	WARL 32, 0x310, -1, 0			/* mstatush */
	WARL 33, mcountinhibit, -1, 5
	WARL 34, mcountinhibit, 0, 0
	WARL 35, mhpmcounter3, -1, 0
	WARL 36, mhpmevent31, -1, 0
	csrr	a0, mhartid
	EXPECT	40, a0, 0

	/* Counters count, stop, and read back what was written. */
	csrr	a0, minstret
	csrr	a1, minstret
	sub	a1, a1, a0
	EXPECT	50, a1, 1
	csrr	a0, mcycle
	nop
	nop
	csrr	a1, mcycle
	sub	a1, a1, a0
	EXPECT	51, a1, 3
	li	a0, 1000
	csrw	minstret, a0
	csrr	a1, minstret
	EXPECT	52, a1, 1000
	li	a0, -1
	csrw	mcycle, a0
	csrr	a1, mcycle
	csrr	a2, mcycleh
	EXPECT	53, a1, -1
	csrr	a3, mcycle
	EXPECT	54, a3, 4
	csrr	a4, mcycleh
	sub	a4, a4, a2
	EXPECT	55, a4, 0
	li	a0, 7
	csrw	minstreth, a0
	csrr	a1, minstreth
	EXPECT	56, a1, 7
	csrwi	mcountinhibit, 4
	csrr	a0, minstret
	nop
	csrr	a1, minstret
	bne	a0, a1, fail
	csrwi	mcountinhibit, 0
	csrr	a1, minstret
	bne	a0, a1, fail
	csrr	a1, minstret
	sub	a1, a1, a0
	EXPECT	57, a1, 2
	/* the unprivileged views */
	csrr	a0, cycle
	csrr	a1, mcycle
	sub	a1, a1, a0
	EXPECT	58, a1, 1
	END

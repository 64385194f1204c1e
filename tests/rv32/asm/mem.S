/* SPDX-License-Identifier: MIT */
/*
 * Loads and stores: widths, sign, negative offsets, misaligned accesses (which
 * this hart performs in memory), and the faults outside of it.
 */
#include "rvtest.h"

	.macro	LOAD n, op, value, off
	la	a0, data
	\op	a1, \off(a0)
	EXPECT	\n, a1, \value
	addi	a0, a0, 2047
	\op	a0, (\off - 2047)(a0)
	EXPECT	\n, a0, \value
	.endm

	/* The instruction must trap with @cause and the address in mtval. */
	.macro	TRAPS n, cause, addr, insn:vararg
	li	gp, \n
	la	t0, 9f
	csrw	mtvec, t0
	li	a0, \addr
	li	a2, 0x77
8:	\insn
	j	fail
	.balign	4
9:	csrr	t0, mcause
	EXPECT	\n, t0, \cause
	csrr	t0, mtval
	bne	t0, a0, fail
	csrr	t0, mepc
	la	t1, 8b
	bne	t0, t1, fail
	EXPECT	\n, a2, 0x77	/* nothing was written */
	la	t0, unexpected_trap
	csrw	mtvec, t0
	.endm

	BEGIN
	START_MAIN
	LOAD 2, lb, 0x11, 0
	LOAD 3, lb, -1, 5
	LOAD 4, lbu, 0xff, 5
	LOAD 5, lh, 0x2211, 0
	LOAD 6, lh, 0xffff8800, 6
	LOAD 7, lhu, 0x8800, 6
	LOAD 8, lw, 0x44332211, 0
	LOAD 9, lw, 0x8800ff55, 4
	/* misaligned */
	LOAD 10, lh, 0x3322, 1
	LOAD 11, lhu, 0x00ff, 5
	LOAD 12, lw, 0x55443322, 1
	LOAD 13, lw, 0xff554433, 2
	LOAD 14, lw, 0x00ff5544, 3

	la	a0, scratch
	li	a1, 0xcafebabe
	li	a2, 0x12345678
	sw	a1, 0(a0)
	sw	a1, 4(a0)
	sb	a2, 1(a0)
	lw	a3, 0(a0)
	EXPECT	20, a3, 0xcafe78be
	sh	a2, 2(a0)
	lw	a3, 0(a0)
	EXPECT	21, a3, 0x567878be
	sw	a2, 1(a0)
	lw	a3, 0(a0)
	EXPECT	22, a3, 0x345678be
	lw	a3, 4(a0)
	EXPECT	23, a3, 0xcafeba12
	sh	a1, 3(a0)
	lw	a3, 0(a0)
	EXPECT	24, a3, 0xbe5678be
	lbu	a3, 4(a0)
	EXPECT	25, a3, 0xba
	/* a load into x0 is done and forgotten */
	lw	zero, 0(a0)
	EXPECT	26, zero, 0

	TRAPS 30, 5, 0x40000000, lw a2, 0(a0)
	TRAPS 31, 5, 0x40000001, lb a2, 0(a0)
	TRAPS 32, 4, 0x40000001, lh a2, 0(a0)
	TRAPS 33, 4, 0x40000002, lw a2, 0(a0)
	TRAPS 34, 7, 0x40000000, sw a2, 0(a0)
	TRAPS 35, 7, 0x40000003, sb a2, 0(a0)
	TRAPS 36, 6, 0x40000001, sh a2, 0(a0)
	TRAPS 37, 6, 0x40000003, sw a2, 0(a0)
	TRAPS 38, 4, 0x7ffffffe, lw a2, 0(a0)	/* half inside memory */
	TRAPS 39, 6, 0x80fffffd, sw a2, 0(a0)
	TRAPS 40, 5, 0x40000000, lw zero, 0(a0)
	/* the last word of memory, and the first behind it */
	li	a0, 0x80fffffc
	sw	a1, 0(a0)
	lw	a3, 0(a0)
	EXPECT	41, a3, 0xcafebabe
	TRAPS 42, 5, 0x81000000, lw a2, 0(a0)
	TRAPS 43, 5, 0xfffffffc, lw a2, 0(a0)
	END
	.data
	.balign	16
data:	.word	0x44332211, 0x8800ff55
	.balign	16
scratch: .space	16

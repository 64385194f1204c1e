/* SPDX-License-Identifier: MIT */
/* Exceptions: cause, value, saved pc, the mstatus stack, mret. */
#include "rvtest.h"

	/* What follows traps with @cause and mtval @tval; mepc points to it. */
	.macro	TRAPS n, cause, tval, insn:vararg
	li	gp, \n
	la	t0, 9f
	csrw	mtvec, t0
	.balign	4
8:	\insn
	j	fail
	.balign	4
9:	csrr	t0, mcause
	EXPECT	\n, t0, \cause
	csrr	t0, mtval
	EXPECT	\n, t0, \tval
	csrr	t0, mepc
	la	t1, 8b
	bne	t0, t1, fail
	.endm

	BEGIN
	START_MAIN
	TRAPS 2, 11, 0, ecall
	TRAPS 4, 2, 0, .2byte 0		/* the all-zero instruction */
	TRAPS 5, 2, 0xffffffff, .4byte 0xffffffff
	TRAPS 6, 2, 0x00000057, .4byte 0x57	/* vector */
	TRAPS 7, 2, 0x0000002f, .4byte 0x2f	/* atomic */
	TRAPS 8, 2, 0x00000007, .4byte 0x07	/* float load */
	TRAPS 9, 2, 0x0000000b, .4byte 0x0b	/* custom */
	TRAPS 10, 2, 0x10200073, .4byte 0x10200073	/* sret */
	TRAPS 11, 2, 0x7b200073, .4byte 0x7b200073	/* dret */
	TRAPS 12, 2, 0x12000073, .4byte 0x12000073	/* sfence.vma */
	TRAPS 13, 2, 0x00003003, .4byte 0x3003	/* ld */
	TRAPS 14, 2, 0x00006003, .4byte 0x6003	/* lwu */
	TRAPS 15, 2, 0x00003023, .4byte 0x3023	/* sd */
	TRAPS 16, 2, 0x02001013, .4byte 0x02001013	/* slli by 32 */
	TRAPS 17, 2, 0x02005013, .4byte 0x02005013	/* srli by 32 */
	TRAPS 18, 2, 0x00002063, .4byte 0x2063	/* branch, reserved */
	TRAPS 19, 2, 0x00001067, .4byte 0x1067	/* jalr, reserved */
	TRAPS 20, 2, 0x04000033, .4byte 0x04000033	/* op, reserved */
	TRAPS 21, 2, 0x40001033, .4byte 0x40001033
	TRAPS 22, 2, 0x0000003b, .4byte 0x3b	/* RV64 */
	TRAPS 23, 2, 0x0000200f, .4byte 0x200f	/* cbo */
	TRAPS 24, 2, 0x00004073, .4byte 0x4073
	TRAPS 25, 2, 0x00008002, .2byte 0x8002	/* c.jr x0 */
	TRAPS 26, 2, 0x00004002, .2byte 0x4002	/* c.lwsp x0 */
	TRAPS 27, 2, 0x00006001, .2byte 0x6001	/* c.lui 0 */
	TRAPS 28, 2, 0x00006101, .2byte 0x6101	/* c.addi16sp 0 */
	TRAPS 30, 2, 0x00001002, .2byte 0x1002	/* c.slli, shamt 32 */
	TRAPS 31, 2, 0x00009c01, .2byte 0x9c01	/* c.subw */
	TRAPS 32, 2, 0x00008000, .2byte 0x8000	/* Zcb */
	TRAPS 33, 2, 0x00002000, .2byte 0x2000	/* c.fld */

	/* ebreak, both lengths: mtval is the address */
	li	gp, 40
	la	t0, 9f
	csrw	mtvec, t0
8:	.4byte	0x00100073
	j	fail
	.balign	4
9:	csrr	t0, mcause
	EXPECT	40, t0, 3
	csrr	t0, mtval
	la	t1, 8b
	bne	t0, t1, fail
	la	t0, 9f
	csrw	mtvec, t0
8:	c.ebreak
	j	fail
	.balign	4
9:	csrr	t0, mcause
	EXPECT	41, t0, 3

	/* jump to where nothing is: mepc = mtval = the target */
	li	gp, 42
	la	t0, 9f
	csrw	mtvec, t0
	li	a0, 0x40000000
	jr	a0
	.balign	4
9:	csrr	t0, mcause
	EXPECT	42, t0, 1
	csrr	t0, mepc
	bne	t0, a0, fail
	csrr	t0, mtval
	bne	t0, a0, fail
	/* a 32-bit instruction across the end: the second half is at fault */
	li	gp, 43
	la	t0, 9f
	csrw	mtvec, t0
	li	a0, 0x80fffffe
	li	a1, 0x0003
	sh	a1, 0(a0)
	jr	a0
	.balign	4
9:	csrr	t0, mepc
	bne	t0, a0, fail
	csrr	t0, mtval
	EXPECT	43, t0, 0x81000000

	/* mstatus: MPIE takes MIE, MIE clears; mret gives it back */
	li	gp, 50
	la	t0, 9f
	csrw	mtvec, t0
	csrsi	mstatus, 8
	li	a3, 0
8:	ecall
	EXPECT	50, a3, 0x1880
	csrr	t0, mstatus
	EXPECT	51, t0, 0x1888
	csrci	mstatus, 8
	ecall
	EXPECT	52, a3, 0x1800
	csrr	t0, mstatus
	EXPECT	53, t0, 0x1880
	j	1f
	.balign	4
9:	csrr	a3, mstatus
	csrr	t0, mepc
	addi	t0, t0, 4
	csrw	mepc, t0
	mret
1:
	/* vectored mode: exceptions still go to the base */
	li	gp, 54
	la	t0, 9f + 1
	csrw	mtvec, t0
	ecall
	j	fail
	.balign	4
9:	csrr	t0, mcause
	EXPECT	54, t0, 11
	END

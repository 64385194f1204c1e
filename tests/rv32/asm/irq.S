/* SPDX-License-Identifier: MIT */
/* Timer and software interrupts: masks, priorities, vectors, sleep. */
#include "rvtest.h"
#define MSIP		0x02000000
#define MTIMECMP	0x02004000
#define MTIME		0x0200bff8
#define MSIE		(1 << 3)
#define MTIE		(1 << 7)

	.macro	TIMER_IN n
	li	t0, MTIME
	lw	t1, 0(t0)
	addi	t1, t1, \n
	li	t0, MTIMECMP
	li	t2, -1
	sw	t2, 0(t0)
	sw	zero, 4(t0)
	sw	t1, 0(t0)
	.endm

	BEGIN
	START_MAIN
	la	t0, vectors + 1
	csrw	mtvec, t0
	li	s0, 0			/* mcause of the last interrupt */

	/* Pending but not enabled, in three ways: nothing happens. */
	li	a0, MSIP
	li	a1, 1
	sw	a1, 0(a0)
	csrr	a2, mip
	EXPECT	2, a2, MSIE
	csrsi	mstatus, 8
	nop
	EXPECT	3, s0, 0
	csrci	mstatus, 8
	li	a2, MSIE
	csrw	mie, a2
	nop
	EXPECT	4, s0, 0
	/* Enabled: taken before the next instruction. */
	csrsi	mstatus, 8
here:	nop
	EXPECT	5, s0, 0x80000003
	la	a2, here
	bne	s1, a2, fail
	csrr	a2, mip
	EXPECT	6, a2, 0		/* the handler lowered it */
	csrr	a2, mstatus
	EXPECT	7, a2, 0x1888		/* and mret enabled again */

	/* Sleep until the timer. */
	li	s0, 0
	li	a2, MTIE
	csrw	mie, a2
	TIMER_IN 2000
	wfi
	EXPECT	10, s0, 0x80000007
	/* With MIE clear it wakes and goes on without a trap. */
	li	s0, 0
	csrci	mstatus, 8
	TIMER_IN 2000
	wfi
	csrr	a2, mip
	EXPECT	11, a2, MTIE
	EXPECT	12, s0, 0
	wfi				/* still pending: no sleep at all */

	/* Both pending: software goes first. */
	li	a0, MSIP
	li	a1, 1
	sw	a1, 0(a0)
	li	a2, MTIE | MSIE
	csrw	mie, a2
	la	s2, first
	csrsi	mstatus, 8
	nop
	EXPECT	13, s0, 0x80000007	/* the second of the two */
	EXPECT	14, s3, 0x80000003

	/* Direct mode: everything goes to the base. */
	csrci	mstatus, 8
	la	t0, direct
	csrw	mtvec, t0
	li	s0, 0
	sw	a1, 0(a0)
	csrsi	mstatus, 8
	nop
	EXPECT	15, s0, 0x80000003
	j	pass

	.balign	4
direct:
	csrr	s0, mcause
	li	t0, MSIP
	sw	zero, 0(t0)
	mret

	.balign	64
vectors:
	.option push
	.option norvc
	j	fail			/* exceptions */
	j	fail
	j	fail
	j	software
	j	fail
	j	fail
	j	fail
	j	timer
	j	fail
	j	fail
	j	fail
	j	fail
	.option pop
software:
	csrr	s0, mcause
	csrr	s1, mepc
	mv	s3, s0
	li	t0, MSIP
	sw	zero, 0(t0)
	mret
timer:
	csrr	s0, mcause
	li	t0, MTIMECMP
	li	t1, -1
	sw	t1, 4(t0)
	mret
first:
	END

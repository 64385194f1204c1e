/* SPDX-License-Identifier: MIT */
/*
 * Macros for self-checking programs with the `tohost' convention: 1 is a pass,
 * n << 1 | 1 is a failure of check n.  gp holds the number of the check.
 */
#ifndef RVTEST_H
#define RVTEST_H

	.macro	BEGIN
	.section .text.start, "ax"
	.globl	_start
_start:
	la	t0, unexpected_trap
	csrw	mtvec, t0
	li	gp, 1
	.text
main:
	.endm

	.macro	END
pass:
	li	t0, 1
	j	done
fail:
	slli	t0, gp, 1
	ori	t0, t0, 1
done:
	la	t1, tohost
	sw	t0, 0(t1)
	sw	zero, 4(t1)
1:	j	1b

	.balign	4
unexpected_trap:
	/* 0x8000 marks a trap; the check number is in the low bits. */
	li	t0, 0x8000
	or	gp, gp, t0
	j	fail

	.section .tohost, "aw", @progbits
	.balign	64
	.globl	tohost
	.type	tohost, @object
	.size	tohost, 8
tohost:	.dword	0
	.globl	fromhost
	.type	fromhost, @object
	.size	fromhost, 8
fromhost: .dword	0
	.endm

	/* The first section falls into the second. */
	.macro	START_MAIN
	.section .text.start, "ax"
	j	main
	.text
	.endm

	/* Check number @n: @reg holds @value. */
	.macro	EXPECT n, reg, value
	li	gp, \n
	li	t6, \value
	bne	\reg, t6, fail
	.endm

	/* rd = op(a, b), both register operands. */
	.macro	RR n, op, value, a, b
	li	a0, \a
	li	a1, \b
	\op	a2, a0, a1
	EXPECT	\n, a2, \value
	EXPECT	\n, a0, \a
	/* destination = first source; = second source; = x0 */
	mv	a3, a0
	\op	a3, a3, a1
	EXPECT	\n, a3, \value
	mv	a3, a1
	\op	a3, a0, a3
	EXPECT	\n, a3, \value
	\op	zero, a0, a1
	EXPECT	\n, zero, 0
	.endm

	.macro	RI n, op, value, a, imm
	li	a0, \a
	\op	a2, a0, \imm
	EXPECT	\n, a2, \value
	mv	a3, a0
	\op	a3, a3, \imm
	EXPECT	\n, a3, \value
	\op	zero, a0, \imm
	EXPECT	\n, zero, 0
	.endm

#endif

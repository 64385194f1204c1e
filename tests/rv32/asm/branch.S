/* SPDX-License-Identifier: MIT */
/* Conditional branches, jumps and links. */
#include "rvtest.h"

	.macro	TAKEN n, op, a, b
	li	gp, \n
	li	a0, \a
	li	a1, \b
	\op	a0, a1, 2f
	j	fail
1:	\op	a0, a1, 3f	/* forwards, over the next */
	j	fail
2:	\op	a0, a1, 1b	/* backwards */
	j	fail
3:
	.endm

	.macro	NOT_TAKEN n, op, a, b
	li	gp, \n
	li	a0, \a
	li	a1, \b
	\op	a0, a1, 1f
	j	2f
1:	j	fail
2:
	.endm

	BEGIN
	START_MAIN
	TAKEN 2, beq, 5, 5
	TAKEN 3, bne, 5, 6
	TAKEN 4, blt, -1, 0
	TAKEN 5, blt, 0x80000000, 0x7fffffff
	TAKEN 6, bge, 0, -1
	TAKEN 7, bge, 5, 5
	TAKEN 8, bltu, 0, -1
	TAKEN 9, bltu, 0x7fffffff, 0x80000000
	TAKEN 10, bgeu, -1, 0
	TAKEN 11, bgeu, 5, 5
	NOT_TAKEN 12, beq, 5, 6
	NOT_TAKEN 13, bne, 5, 5
	NOT_TAKEN 14, blt, 5, 5
	NOT_TAKEN 15, blt, 0, -1
	NOT_TAKEN 16, bge, -1, 0
	NOT_TAKEN 17, bltu, 5, 5
	NOT_TAKEN 18, bltu, -1, 0
	NOT_TAKEN 19, bgeu, 0, -1

	/* jal links the next instruction, also into a register of choice. */
	.option push
	.option norvc
	li	gp, 30
	jal	a0, 1f
2:	j	fail
1:	la	a1, 2b
	bne	a0, a1, fail
	/* jalr: base = link register, odd target loses bit 0 */
	li	gp, 31
	la	a0, 1f
	addi	a0, a0, 1 + 8
	jalr	a0, -8(a0)
2:	j	fail
1:	la	a1, 2b
	bne	a0, a1, fail
	li	gp, 32
	la	a0, 1f
	jalr	zero, 0(a0)
	j	fail
1:	.option pop
	EXPECT	33, zero, 0

	/* far: the full range of a branch and beyond the nearest of jumps */
	li	gp, 34
	j	far_jump
back:	li	gp, 35
	beq	zero, zero, far_branch
	.space	4000
far_branch:
	li	gp, 36
	bne	zero, zero, fail_near
	j	over
fail_near:
	j	fail
	.space	8192
far_jump:
	j	back
over:
	END

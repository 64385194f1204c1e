/* SPDX-License-Identifier: MIT */
/* Every compressed instruction of RV32C, spelled out. */
#include "rvtest.h"
	BEGIN
	START_MAIN
	.option rvc
	la	sp, stack
	mv	s0, sp
	c.addi4spn a0, sp, 4
	sub	a0, a0, sp
	EXPECT	2, a0, 4
	c.addi4spn a0, sp, 1020
	sub	a0, a0, sp
	EXPECT	3, a0, 1020
	c.addi16sp sp, 496
	sub	a0, sp, s0
	EXPECT	4, a0, 496
	c.addi16sp sp, -512
	sub	a0, sp, s0
	EXPECT	5, a0, -16
	c.addi16sp sp, 16

	li	a1, 0x11223344
	c.swsp	a1, 0(sp)
	c.swsp	a1, 252(sp)
	c.lwsp	a2, 252(sp)
	EXPECT	6, a2, 0x11223344
	lw	a2, 0(sp)
	EXPECT	7, a2, 0x11223344
	li	a1, 0x55667788
	c.sw	a1, 124(s0)
	lw	a2, 124(s0)
	EXPECT	8, a2, 0x55667788
	c.sw	a1, 4(s0)
	c.lw	a3, 4(s0)
	EXPECT	9, a3, 0x55667788

	c.li	a0, 31
	EXPECT	10, a0, 31
	c.li	a0, -32
	EXPECT	11, a0, -32
	c.lui	a0, 1
	EXPECT	12, a0, 0x1000
	c.lui	a0, 0xfffe0
	EXPECT	13, a0, 0xfffe0000
	c.addi	a0, 31
	EXPECT	14, a0, 0xfffe001f
	c.addi	a0, -32
	EXPECT	15, a0, 0xfffdffff
	c.nop
	li	a0, 0x80000001
	c.slli	a0, 4
	EXPECT	16, a0, 0x10
	li	a0, 0x80000000
	c.srli	a0, 31
	EXPECT	17, a0, 1
	li	a0, 0x80000000
	c.srai	a0, 31
	EXPECT	18, a0, -1
	c.andi	a0, 0x15
	EXPECT	19, a0, 0x15
	c.andi	a0, -4
	EXPECT	20, a0, 0x14
	li	a1, 0x11
	c.sub	a0, a1
	EXPECT	21, a0, 3
	c.xor	a0, a1
	EXPECT	22, a0, 0x12
	c.or	a0, a1
	EXPECT	23, a0, 0x13
	c.and	a0, a1
	EXPECT	24, a0, 0x11
	c.mv	a5, a0
	EXPECT	25, a5, 0x11
	c.add	a5, a1
	EXPECT	26, a5, 0x22

	li	gp, 30
	c.j	1f
	j	fail
1:	li	gp, 31
	c.jal	1f
2:	j	fail
1:	la	a0, 2b
	bne	ra, a0, fail
	li	gp, 32
	la	a0, 1f
	c.jr	a0
	j	fail
1:	li	gp, 33
	la	a0, 1f
	c.jalr	a0
2:	j	fail
1:	la	a0, 2b
	bne	ra, a0, fail
	li	gp, 34
	la	ra, 1f
	c.jalr	ra		/* target and link in one register */
2:	j	fail
1:	la	a0, 2b
	bne	ra, a0, fail
	li	gp, 35
	li	a0, 0
	c.beqz	a0, 1f
	j	fail
1:	c.bnez	a0, 2f
	j	1f
2:	j	fail
1:	li	a0, 5
	li	gp, 36
	c.bnez	a0, 1f
	j	fail
1:	c.beqz	a0, 2f
	j	1f
2:	j	fail
1:	/* a 32-bit instruction on an odd halfword */
	.balign	4
	c.nop
	.option norvc
	lui	a0, 0xabcde
	.option rvc
	c.nop
	EXPECT	37, a0, 0xabcde000
	/* hints change nothing */
	.2byte	0x0001 | 5 << 2		/* c.nop 5 */
	.2byte	0x4001 | 7 << 2		/* c.li x0, 7 */
	.2byte	0x6001 | 7 << 2		/* c.lui x0, 7 */
	.2byte	0x8002 | 10 << 2	/* c.mv x0, a0 */
	.2byte	0x9002 | 10 << 2	/* c.add x0, a0 */
	.2byte	0x0002 | 10 << 7	/* c.slli a0, 0 */
	.2byte	0x8001 | 2 << 7		/* c.srli a0, 0 */
	EXPECT	38, a0, 0xabcde000
	EXPECT	39, zero, 0
	END
	.data
	.balign	16
	.space	512
stack:	.space	1024

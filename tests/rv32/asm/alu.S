/* SPDX-License-Identifier: MIT */
/* Integer register-register and register-immediate instructions. */
#include "rvtest.h"
	BEGIN
	START_MAIN
	RR 2, add, 0, 0, 0
	RR 3, add, 0x80000000, 0x7fffffff, 1
	RR 4, add, 0xfffffffe, 0xffffffff, 0xffffffff
	RR 5, add, 0x7fffffff, 0x80000000, 0xffffffff
	RR 6, sub, 0xffffffff, 0, 1
	RR 7, sub, 0x7fffffff, 0x80000000, 1
	RR 8, sub, 0x80000001, 1, 0x80000000
	RR 9, sll, 0x80000000, 1, 31
	RR 10, sll, 1, 1, 32
	RR 11, sll, 0x2468acf0, 0x12345678, 0xffffffe1
	RR 12, slt, 1, 0x80000000, 0x7fffffff
	RR 13, slt, 0, 0x7fffffff, 0x80000000
	RR 14, slt, 0, 5, 5
	RR 15, slt, 1, 0xffffffff, 0
	RR 16, sltu, 0, 0x80000000, 0x7fffffff
	RR 17, sltu, 1, 0x7fffffff, 0x80000000
	RR 18, sltu, 0, 0xffffffff, 0
	RR 19, sltu, 0, 7, 7
	RR 20, xor, 0xf00ff00f, 0xff00ff00, 0x0f0f0f0f
	RR 21, srl, 1, 0x80000000, 31
	RR 22, srl, 0x80000000, 0x80000000, 0x20
	RR 23, srl, 0x00109090, 0x21212121, 0xffffffe9
	RR 24, sra, 0xffffffff, 0x80000000, 31
	RR 25, sra, 0xff800000, 0x80000000, 8
	RR 26, sra, 0x00ffffff, 0x7fffffff, 7
	RR 27, or, 0xff0fff0f, 0xff00ff00, 0x0f0f0f0f
	RR 28, and, 0x0f000f00, 0xff00ff00, 0x0f0f0f0f

	RI 40, addi, 0x7ff, 0, 0x7ff
	RI 41, addi, 0xfffff800, 0, -2048
	RI 42, addi, 0x7fffffff, 0x80000000, -1
	RI 43, slti, 1, 0x80000000, -1
	RI 44, slti, 0, 0, -1
	RI 45, slti, 1, -2, -1
	RI 46, sltiu, 1, 0, -1
	RI 47, sltiu, 0, 0xffffffff, -1
	RI 48, sltiu, 1, 0, 1
	RI 49, xori, 0xff00f00f, 0x00ff0ff0, -1
	RI 50, xori, 0x00ff0f0f, 0x00ff0a0a, 0x505
	RI 51, ori, 0xffffffff, 0xff00ff00, -1
	RI 52, ori, 0xff00fff0, 0xff00ff00, 0x0f0
	RI 53, andi, 0x0000000f, 0x0f0f0f0f, 0x00f
	RI 54, andi, 0x80000000, 0x80000000, -1
	RI 55, slli, 0x80000000, 1, 31
	RI 56, slli, 0x21212121, 0x21212121, 0
	RI 57, srli, 1, 0x80000000, 31
	RI 58, srli, 0x01090909, 0x21212121, 5
	RI 59, srai, 0xffffffff, 0x80000000, 31
	RI 60, srai, 0xfc000000, 0x80000000, 5
	RI 61, srai, 0x03ffffff, 0x7fffffff, 5

	/* lui and auipc */
	lui	a0, 0xfffff
	EXPECT	70, a0, 0xfffff000
	lui	a0, 1
	EXPECT	71, a0, 0x1000
	.option push
	.option norvc
1:	auipc	a0, 0
	la	a1, 1b
	sub	a0, a0, a1
	EXPECT	72, a0, 0
1:	auipc	a0, 0x80000
	la	a1, 1b
	sub	a0, a0, a1
	EXPECT	73, a0, 0x80000000
	.option pop
	lui	zero, 0x12345
	EXPECT	74, zero, 0
	END

/* SPDX-License-Identifier: MIT */
/* Multiplication and division, with all special cases of division. */
#include "rvtest.h"
	BEGIN
	START_MAIN
	RR 2, mul, 0, 0, 0
	RR 3, mul, 0x0000ff7f, 0xaaaaaaab, 0x0002fe7d
	RR 4, mul, 1, -1, -1
	RR 5, mul, 0x80000000, 0x80000000, 1
	RR 6, mul, 0, 0x80000000, 2
	RR 7, mulh, 0, 1, 1
	RR 8, mulh, 0, -1, -1
	RR 9, mulh, 0x40000000, 0x80000000, 0x80000000
	RR 10, mulh, -1, -1, 1
	RR 11, mulh, 0xc0000000, 0x80000000, 0x7fffffff
	RR 12, mulhsu, -1, -1, -1
	RR 13, mulhsu, 0, 1, -1
	RR 14, mulhsu, 0x80000000, 0x80000000, -1
	RR 15, mulhsu, 0x7ffffffe, 0x7fffffff, -1
	RR 16, mulhu, 0xfffffffe, -1, -1
	RR 17, mulhu, 0x40000000, 0x80000000, 0x80000000
	RR 18, mulhu, 0, 1, -1
	RR 20, div, 3, 20, 6
	RR 21, div, -3, -20, 6
	RR 22, div, -3, 20, -6
	RR 23, div, 3, -20, -6
	RR 24, div, -1, 1, 0
	RR 25, div, -1, 0, 0
	RR 26, div, -1, 0x80000000, 0
	RR 27, div, 0x80000000, 0x80000000, -1
	RR 28, div, 0x80000000, 0x80000000, 1
	RR 30, divu, 3, 20, 6
	RR 31, divu, 715827879, -20, 6
	RR 32, divu, 0, 20, -6
	RR 33, divu, -1, 1, 0
	RR 34, divu, 0, 0x80000000, -1
	RR 40, rem, 2, 20, 6
	RR 41, rem, -2, -20, 6
	RR 42, rem, 2, 20, -6
	RR 43, rem, -2, -20, -6
	RR 44, rem, 17, 17, 0
	RR 45, rem, 0x80000000, 0x80000000, 0
	RR 46, rem, 0, 0x80000000, -1
	RR 50, remu, 2, 20, 6
	RR 51, remu, 2, -20, 6
	RR 52, remu, 20, 20, -6
	RR 53, remu, -20, -20, 0
	RR 54, remu, 0x80000000, 0x80000000, -1
	END

/* SPDX-License-Identifier: MIT */
/*
 * Reset vector of the boot ROM.  The ROM has no variables: its stack and its
 * copy of the image header are in the part of SRAM that is reserved for it.
 */
#include "rom.h"

	.section .text.start, "ax"
	.globl	_start
_start:
	csrw	mie, zero
	csrwi	mstatus, 0
	la	t0, trap
	csrw	mtvec, t0
	li	sp, ROM_STACK_TOP
	call	rom_main
	/* rom_main() does not return. */
1:	wfi
	j	1b

	/* A trap in the ROM: the hardware is not what this ROM was made for. */
	.balign	4
trap:
	li	sp, ROM_STACK_TOP
	csrr	a0, mcause
	call	rom_trap
1:	wfi
	j	1b

	/* void rom_jump(entry): leave with a clean machine. */
	.globl	rom_jump
rom_jump:
	csrw	mie, zero
	csrw	mtvec, zero
	csrw	mscratch, zero
	mv	t0, a0
	li	ra, 0
	li	sp, 0
	li	gp, 0
	li	tp, 0
	li	a0, 0
	li	a1, 0
	fence.i
	jr	t0

/* SPDX-License-Identifier: MIT */
/*
 * Entry from the boot ROM, and the trap handler.
 *
 * The ROM has zeroed .bss.  Interrupts are never enabled globally, so every
 * trap is a bug: its state is recorded and the controller stops.
 */
	.section .text.start, "ax"
	.globl	_start
_start:
	csrw	mie, zero
	csrwi	mstatus, 0
	la	t0, trap
	csrw	mtvec, t0
	la	sp, _stack_top
	call	rt_main
1:	wfi
	j	1b

	.balign	4
trap:
	/* t0 to mscratch frees one register; the frame is static. */
	csrw	mscratch, t0
	la	t0, trap_frame
	sw	zero, 0(t0)
	sw	x1, 4(t0)
	sw	x2, 8(t0)
	sw	x3, 12(t0)
	sw	x4, 16(t0)
	sw	x6, 24(t0)
	sw	x7, 28(t0)
	sw	x8, 32(t0)
	sw	x9, 36(t0)
	sw	x10, 40(t0)
	sw	x11, 44(t0)
	sw	x12, 48(t0)
	sw	x13, 52(t0)
	sw	x14, 56(t0)
	sw	x15, 60(t0)
	sw	x16, 64(t0)
	sw	x17, 68(t0)
	sw	x18, 72(t0)
	sw	x19, 76(t0)
	sw	x20, 80(t0)
	sw	x21, 84(t0)
	sw	x22, 88(t0)
	sw	x23, 92(t0)
	sw	x24, 96(t0)
	sw	x25, 100(t0)
	sw	x26, 104(t0)
	sw	x27, 108(t0)
	sw	x28, 112(t0)
	sw	x29, 116(t0)
	sw	x30, 120(t0)
	sw	x31, 124(t0)
	csrr	t1, mscratch
	sw	t1, 20(t0)
	/* A trap in the handler must not come back here: stop instead. */
	la	t1, trap_again
	csrw	mtvec, t1
	la	sp, trap_stack_top
	mv	a0, t0
	csrr	a1, mcause
	csrr	a2, mepc
	csrr	a3, mtval
	call	rt_crash

	.balign	4
trap_again:
	la	sp, trap_stack_top
	call	rt_halt
1:	wfi
	j	1b

	.section .bss.trap, "aw", @nobits
	.balign	16
trap_frame:
	.space	128
	.space	1024
trap_stack_top:

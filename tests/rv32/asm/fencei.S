/* SPDX-License-Identifier: MIT */
/* Code that writes code, and fences with every hint. */
#include "rvtest.h"
	BEGIN
	START_MAIN
	la	a0, patch
	lw	a1, new_code
	li	a3, 0
	sw	a1, 0(a0)
	fence.i
	call	patch
	EXPECT	2, a3, 222
	/* in a loop: each round another immediate */
	li	a4, 0
	li	a5, 50
1:	lw	a1, new_code
	slli	a2, a4, 20
	li	t0, 222 << 20
	sub	a1, a1, t0
	add	a1, a1, a2
	la	a0, patch
	sw	a1, 0(a0)
	fence.i
	call	patch
	li	gp, 3
	bne	a3, a4, fail
	addi	a4, a4, 1
	bne	a4, a5, 1b

	fence
	fence	r, w
	fence	w, r
	fence	iorw, iorw
	.4byte	0x8330000f		/* fence.tso */
	.4byte	0x0100000f		/* pause: a hint */
	.4byte	0xfff0878f		/* reserved fields are ignored */
	EXPECT	4, zero, 0
	END
	.text
	.balign	4
	.option norvc
patch:	addi	a3, zero, 111
	ret
	.balign	4
new_code:
	addi	a3, zero, 222

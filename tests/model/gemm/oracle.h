/* SPDX-License-Identifier: MIT */
/*
 * Scalar oracle for matmul, written from Documentation/numerics.md. It shares nothing with the
 * engine but the type numbers of uapi/onpu/packet.h. Operands are flat byte arrays.
 */
#ifndef ORACLE_H
#define ORACLE_H

#include <stdbool.h>
#include <stdint.h>

#include "onpu/packet.h"

struct oracle_matmul {
	uint32_t m, n, k;
	uint32_t dtype;			/* of A and B */
	bool trans_a, trans_b, accumulate;
	uint64_t lda, ldb, ldc, ldd;
	const uint8_t *a, *b, *c;
	uint8_t *d;
};

/* The bits of element (i, j) of D. */
uint32_t oracle_element(const struct oracle_matmul *mm, uint32_t i, uint32_t j);

/* All of D. */
void oracle_matmul(const struct oracle_matmul *mm);

/* FP32 bits of the value of a BF16 or FP16 number. */
uint32_t oracle_bf16(uint16_t bits);
uint32_t oracle_f16(uint16_t bits);

/* a * b + c, rounded once, in integer arithmetic on FP32 bits; any NaN is 0x7fc00000. */
uint32_t oracle_fma_soft(uint32_t a, uint32_t b, uint32_t c);

/* The same by the C library's fmaf(); test_gemm proves the two equal. */
uint32_t oracle_fma(uint32_t a, uint32_t b, uint32_t c);

#endif

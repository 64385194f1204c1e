/* SPDX-License-Identifier: MIT */
/*
 * Scalar oracle for every element type and block scale, written from Documentation/numerics.md.
 * Shares nothing with the engine but the numbers of uapi/onpu/packet.h.
 */
#ifndef ORACLE_FORMATS_H
#define ORACLE_FORMATS_H

#include <stdbool.h>
#include <stdint.h>

#include "onpu/packet.h"

struct oracle_operand {
	uint32_t type;
	bool k_rows;			/* stored with a row for each k */
	uint64_t ld;
	const uint8_t *data;
	uint32_t group;			/* 0: no scales */
	uint32_t scale_type;		/* 0: UE8M0 */
	uint64_t scale_ld;
	const uint8_t *scales;
	const uint8_t *zeros;		/* NULL: none */
};

/* The value of the number whose bits these are (not of integers of 32 bits). */
double oracle_decode(uint32_t type, uint32_t bits);
double oracle_ue8m0(uint8_t bits);

/* FP32 bits of element (lane, k) of an operand, as the multiplication sees it. */
uint32_t oracle_input(const struct oracle_operand *op, uint64_t lane, uint64_t k);

/* The sum of element (lane of A, lane of B), from acc: FP32 bits, or an integer modulo 2^32. */
uint32_t oracle_sum(const struct oracle_operand *a, uint64_t i, const struct oracle_operand *b,
		    uint64_t j, uint32_t k, uint32_t acc);

/* One element's share of an epilogue; NULL: that step is not asked for. */
struct oracle_steps {
	const float *row_scale, *col_scale, *alpha, *beta, *c, *bias, *residual, *d_scale;
	const int8_t *d_zero;
	uint32_t activation, d_type;
	bool no_saturate;
};

/* The bits that D gets for a sum (FP32 bits, or INT32 if integer). */
uint32_t oracle_result(uint32_t sum, bool integer, const struct oracle_steps *s);

/* An activation function as numerics.md computes it. */
float oracle_activation(uint32_t activation, float t);

/* value rounded to a floating-point type: its bits. */
uint32_t oracle_encode(uint32_t type, float value, bool no_saturate);

#endif

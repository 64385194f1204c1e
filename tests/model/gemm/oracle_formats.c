// SPDX-License-Identifier: MIT
/*
 * Scalar oracle for every element type: by value, in double, where all of them and all their
 * products with a scale are exact. Slow and plain on purpose. No state, no locking.
 */
#include <math.h>
#include <string.h>

#include "oracle.h"
#include "oracle_formats.h"

/* The formats: sign 1, then exponent and fraction bits; specials as the standards name them. */
static const struct format {
	int exponent, fraction, bias;
	bool ieee;			/* the highest exponent is for Inf and NaN */
	bool top_nan;			/* all ones is NaN */
} formats[] = {
	[ONPU_DTYPE_F32] = { 8, 23, 127, true, false },
	[ONPU_DTYPE_BF16] = { 8, 7, 127, true, false },
	[ONPU_DTYPE_F16] = { 5, 10, 15, true, false },
	[ONPU_DTYPE_E4M3] = { 4, 3, 7, false, true },
	[ONPU_DTYPE_E5M2] = { 5, 2, 15, true, false },
	[ONPU_DTYPE_MX_E4M3] = { 4, 3, 7, false, true },
	[ONPU_DTYPE_MX_E5M2] = { 5, 2, 15, true, false },
	[ONPU_DTYPE_MX_E2M3] = { 2, 3, 1, false, false },
	[ONPU_DTYPE_MX_E3M2] = { 3, 2, 3, false, false },
	[ONPU_DTYPE_MX_E2M1] = { 2, 1, 1, false, false },
};

static int width(uint32_t type)
{
	if (type == ONPU_DTYPE_I8)
		return 8;
	if (type == ONPU_DTYPE_I4)
		return 4;
	return 1 + formats[type].exponent + formats[type].fraction;
}

double oracle_decode(uint32_t type, uint32_t bits)
{
	const struct format *f;
	uint32_t exponent, fraction, ones;
	double value;

	if (type == ONPU_DTYPE_I8 || type == ONPU_DTYPE_I4) {
		int n = 1 << width(type), v = (int)bits;

		return v >= n / 2 ? v - n : v;
	}
	f = &formats[type];
	fraction = bits % (1u << f->fraction);
	exponent = (bits >> f->fraction) % (1u << f->exponent);
	ones = (1u << f->exponent) - 1;
	if (f->ieee && exponent == ones)
		value = fraction ? (double)NAN : (double)INFINITY;
	else if (f->top_nan && exponent == ones && fraction == (1u << f->fraction) - 1)
		value = (double)NAN;
	else if (exponent == 0)
		value = ldexp(fraction, 1 - f->bias - f->fraction);
	else
		value = ldexp((1u << f->fraction) + fraction,
			      (int)exponent - f->bias - f->fraction);
	return bits >> (f->fraction + f->exponent) ? -value : value;
}

double oracle_ue8m0(uint8_t bits)
{
	return bits == 255 ? (double)NAN : ldexp(1.0, bits - 127);
}

/* Bit by bit: elements are numbered from the start of a row, their bits from the lowest. */
static uint32_t element_bits(const uint8_t *row, int bits, uint64_t index)
{
	uint32_t v = 0;

	for (int i = 0; i < bits; i++) {
		uint64_t at = index * (uint64_t)bits + (uint64_t)i;

		v |= (uint32_t)(row[at / 8] >> (at % 8) & 1) << i;
	}
	return v;
}

static uint32_t stored(const struct oracle_operand *op, uint64_t lane, uint64_t k)
{
	uint64_t row = op->k_rows ? k : lane, column = op->k_rows ? lane : k;
	int bits = width(op->type);

	return element_bits(op->data + row * (op->ld * (uint64_t)bits / 8), bits, column);
}

uint32_t oracle_input(const struct oracle_operand *op, uint64_t lane, uint64_t k)
{
	double value = oracle_decode(op->type, stored(op, lane, k));
	float rounded;
	uint32_t out;

	if (op->group) {
		uint64_t row = op->k_rows ? k / op->group : lane;
		uint64_t at = row * op->scale_ld + (op->k_rows ? lane : k / op->group);
		uint16_t half;

		if (op->zeros)
			value -= (int8_t)op->zeros[at];
		if (op->scale_type) {
			memcpy(&half, op->scales + at * 2, 2);
			value *= oracle_decode(op->scale_type, half);
		} else {
			value *= oracle_ue8m0(op->scales[at]);
		}
	}
	/* The one rounding: to nearest, ties to even; too large is infinite. */
	rounded = (float)value;
	memcpy(&out, &rounded, 4);
	return isnan(value) ? 0x7fc00000u : out;
}

uint32_t oracle_sum(const struct oracle_operand *a, uint64_t i, const struct oracle_operand *b,
		    uint64_t j, uint32_t k, uint32_t acc)
{
	bool integer = (a->type == ONPU_DTYPE_I8 || a->type == ONPU_DTYPE_I4) && !a->group;

	for (uint32_t x = 0; x < k; x++) {
		if (integer) {
			int64_t product = (int64_t)oracle_decode(a->type, stored(a, i, x)) *
					  (int64_t)oracle_decode(b->type, stored(b, j, x));

			acc = (uint32_t)((uint64_t)product + acc);
		} else {
			acc = oracle_fma(oracle_input(a, i, x), oracle_input(b, j, x), acc);
		}
	}
	return !integer && (acc & 0x7fffffffu) > 0x7f800000u ? 0x7fc00000u : acc;
}

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

/*
 * The epilogue. Sums, products and quotients of two binary32 numbers are rounded once when they
 * are computed in double and then rounded to float: double has more than twice the digits.
 */

static float add(float x, float y)
{
	return (float)((double)x + (double)y);
}

static float mul(float x, float y)
{
	return (float)((double)x * (double)y);
}

static float divide(float x, float y)
{
	return (float)((double)x / (double)y);
}

static float fused(float x, float y, float z)
{
	uint32_t a, b, c, r;
	float out;

	memcpy(&a, &x, 4);
	memcpy(&b, &y, 4);
	memcpy(&c, &z, 4);
	r = oracle_fma_soft(a, b, c);
	memcpy(&out, &r, 4);
	return out;
}

static float horner(const float *coeff, int count, float x)
{
	float p = coeff[0];

	for (int i = 1; i < count; i++)
		p = fused(p, x, coeff[i]);
	return p;
}

/* exp(x) of the page. */
static float page_exp(float x)
{
	static const float coeff[] = {
		0x1.a01a02p-13f, 0x1.6c16c2p-10f, 0x1.111112p-7f, 0x1.555556p-5f, 0x1.555556p-3f,
		0x1p-1f, 1, 1,
	};
	float n, r;

	if (x < -87)
		x = -87;
	if (x > 88)
		x = 88;
	n = (float)nearbyint((double)mul(x, 0x1.715476p+0f));
	r = fused(n, -0x1.62e4p-1f, x);
	r = fused(n, -0x1.7f7d1cp-20f, r);
	return mul(horner(coeff, 8, r), (float)ldexp(1, (int)n));
}

static float page_erf_tail(float x)
{
	static const float coeff[] = {
		0x1.d79beep-6f, -0x1.570e7cp-3f, 0x1.4de858p-2f, -0x1.ea9af6p-3f, 0x1.cc3b46p-3f,
		0x1.7dd35p-6f, 0x1.b2dd88p-4f, 0x1.92281ap-4f, 0x1.98d984p-4f,
	};
	float s = divide(1, fused(0.25f, x, 1));

	return mul(mul(horner(coeff, 9, s), s), page_exp(mul(-0.5f, mul(x, x))));
}

float oracle_activation(uint32_t activation, float t)
{
	float x;

	if (isnan(t))
		return t;
	switch (activation) {
	case ONPU_ACT_RELU:
		return t > 0 ? t : 0;
	case ONPU_ACT_SILU:
		t = t < -88 ? -88 : t;
		return divide(t, add(1, page_exp(-t)));
	case ONPU_ACT_GELU_TANH:
		t = t < -10 ? -10 : t;
		x = mul(t, fused(0x1.2444f2p-4f, mul(t, t), 0x1.988454p+0f));
		return divide(t, add(1, page_exp(-x)));
	case ONPU_ACT_GELU_ERF:
		x = fabsf(t) > 13 ? 13 : fabsf(t);
		return fused(-x, page_erf_tail(x), t > 0 ? t : 0);
	default:
		return t;
	}
}

uint32_t oracle_encode(uint32_t type, float value, bool no_saturate)
{
	const struct format *f = &formats[type];
	bool fp8 = type == ONPU_DTYPE_E4M3 || type == ONPU_DTYPE_E5M2;
	uint32_t sign = signbit(value) ? 1u << (f->exponent + f->fraction) : 0;
	uint32_t inf = ((1u << f->exponent) - 1) << f->fraction;
	uint32_t nan = f->top_nan ? inf | ((1u << f->fraction) - 1) : inf | 1u << (f->fraction - 1);
	uint32_t largest = f->ieee ? inf - 1 : nan - 1;
	double magnitude = fabs((double)value);
	int exponent;
	double units;

	if (isnan(value))
		return nan;
	if (magnitude == 0)
		return sign;
	if (!isinf(magnitude)) {
		/* In units of the last place, to nearest, ties to even. */
		frexp(magnitude, &exponent);
		exponent -= 1;
		if (exponent < 1 - f->bias)
			exponent = 1 - f->bias;
		units = nearbyint(ldexp(magnitude, f->fraction - exponent));
		/* Bits of consecutive numbers are consecutive. */
		units += ldexp(exponent - (1 - f->bias), f->fraction);
		if (units <= largest)
			return sign | (uint32_t)units;
	}
	if (fp8 && !no_saturate)
		return sign | largest;
	return f->top_nan ? nan : sign | inf;
}

uint32_t oracle_result(uint32_t sum, bool integer, const struct oracle_steps *s)
{
	float t;
	double q;

	if (integer)
		t = (float)(double)(int32_t)sum;
	else
		memcpy(&t, &sum, 4);
	if (s->row_scale)
		t = mul(t, *s->row_scale);
	if (s->col_scale)
		t = mul(t, *s->col_scale);
	if (s->alpha)
		t = mul(*s->alpha, t);
	if (s->c)
		t = fused(*s->beta, *s->c, t);
	if (s->bias)
		t = add(t, *s->bias);
	t = oracle_activation(s->activation, t);
	if (s->residual)
		t = add(t, *s->residual);
	if (s->d_scale)
		t = mul(t, *s->d_scale);
	if (s->d_type != ONPU_DTYPE_I8)
		return oracle_encode(s->d_type, t, s->no_saturate);
	q = isnan(t) ? 0 : nearbyint((double)t);
	if (s->d_zero)
		q += *s->d_zero;
	return (uint8_t)(int8_t)(q < -128 ? -128 : q > 127 ? 127 : q);
}

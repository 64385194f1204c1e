// SPDX-License-Identifier: MIT
/*
 * Scalar matmul oracle: one element at a time, exactly as Documentation/numerics.md says.
 * Slow and plain on purpose. No state, no locking.
 */
#include "oracle.h"

#include <math.h>
#include <string.h>

#define QNAN 0x7fc00000u

static bool is_nan(uint32_t f)
{
	return (f & 0x7fffffffu) > 0x7f800000u;
}

static bool is_inf(uint32_t f)
{
	return (f & 0x7fffffffu) == 0x7f800000u;
}

static bool is_zero(uint32_t f)
{
	return (f & 0x7fffffffu) == 0;
}

uint32_t oracle_bf16(uint16_t bits)
{
	/* The upper half of an FP32 number. */
	return (uint32_t)bits * 65536u;
}

uint32_t oracle_f16(uint16_t bits)
{
	int exponent = (bits >> 10) & 31;
	int fraction = bits & 1023;
	float value;
	uint32_t out;

	/* By value, not by moving bits: ldexpf is exact here, every FP16 number is a normal FP32. */
	if (exponent == 31)
		value = fraction ? NAN : INFINITY;
	else if (exponent == 0)
		value = ldexpf((float)fraction, -24);
	else
		value = ldexpf((float)(fraction + 1024), exponent - 25);
	memcpy(&out, &value, 4);
	if (is_nan(out))
		return QNAN;
	return (out & 0x7fffffffu) | (bits & 0x8000u ? 0x80000000u : 0);
}

/* Finite, non-zero: value = m * 2^e. */
static void unpack(uint32_t f, unsigned __int128 *m, int *e)
{
	uint32_t exponent = (f >> 23) & 255, fraction = f & 0x7fffffu;

	if (exponent == 0) {
		*m = fraction;
		*e = -149;
	} else {
		*m = fraction | 0x800000u;
		*e = (int)exponent - 150;
	}
}

static int bit_length(unsigned __int128 v)
{
	int n = 0;

	while (v) {
		n++;
		v >>= 1;
	}
	return n;
}

/* m * 2^e to FP32 bits without sign, nearest, ties to even. */
static uint32_t round_magnitude(unsigned __int128 m, int e)
{
	int len = bit_length(m);
	int lsb = e + len - 24;		/* exponent of the last place kept, were it normal */
	int drop;
	uint32_t kept;

	if (lsb < -149)
		lsb = -149;
	drop = lsb - e;
	if (drop <= 0) {
		kept = (uint32_t)(m << -drop);
	} else if (drop > 126) {
		kept = 0;		/* far below half of the smallest number */
	} else {
		unsigned __int128 half = (unsigned __int128)1 << (drop - 1);
		unsigned __int128 rest = m & ((half << 1) - 1);

		kept = (uint32_t)(m >> drop);
		if (rest > half || (rest == half && (kept & 1)))
			kept++;
	}
	if (kept == 0x1000000u) {
		kept >>= 1;
		lsb++;
	}
	if (kept < 0x800000u)
		return kept;		/* subnormal or zero: lsb is -149 */
	if (lsb + 150 >= 255)
		return 0x7f800000u;
	return (uint32_t)(lsb + 150) << 23 | (kept & 0x7fffffu);
}

uint32_t oracle_fma_soft(uint32_t a, uint32_t b, uint32_t c)
{
	uint32_t psign = (a ^ b) & 0x80000000u, csign = c & 0x80000000u;
	unsigned __int128 ma, mb, mp, mc, sum;
	int ea, eb, ep, ec, d;
	uint32_t sign;

	if (is_nan(a) || is_nan(b) || is_nan(c))
		return QNAN;
	if (is_inf(a) || is_inf(b)) {
		if (is_zero(a) || is_zero(b) || (is_inf(c) && psign != csign))
			return QNAN;
		return psign | 0x7f800000u;
	}
	if (is_inf(c))
		return c;
	if (is_zero(a) || is_zero(b)) {
		if (is_zero(c))
			return psign & csign;	/* -0 only from -0 + -0 */
		return c;
	}
	unpack(a, &ma, &ea);
	unpack(b, &mb, &eb);
	mp = ma * mb;
	ep = ea + eb;
	if (is_zero(c))
		return psign | round_magnitude(mp, ep);
	unpack(c, &mc, &ec);

	/* Bring both to one exponent; what is too far below is only a sticky bit. */
	d = ep - ec;
	if (d > 70) {
		mp <<= 64;
		ep -= 64;
		mc = 1;
	} else if (d >= 0) {
		mp <<= d;
		ep = ec;
	} else if (d >= -100) {
		mc <<= -d;
	} else {
		mc <<= 64;
		ep = ec - 64;
		mp = 1;
	}
	if (psign == csign) {
		sum = mp + mc;
		sign = psign;
	} else if (mp >= mc) {
		sum = mp - mc;
		sign = psign;
	} else {
		sum = mc - mp;
		sign = csign;
	}
	if (sum == 0)
		return 0;		/* exact cancellation gives +0 */
	return sign | round_magnitude(sum, ep);
}

uint32_t oracle_fma(uint32_t a, uint32_t b, uint32_t c)
{
	float fa, fb, fc, r;
	uint32_t out;

	memcpy(&fa, &a, 4);
	memcpy(&fb, &b, 4);
	memcpy(&fc, &c, 4);
	r = fmaf(fa, fb, fc);
	memcpy(&out, &r, 4);
	return is_nan(out) ? QNAN : out;
}

static uint32_t get_f32(const uint8_t *p, uint32_t dtype, uint64_t index)
{
	uint32_t w;
	uint16_t h;

	if (dtype == ONPU_DTYPE_F32) {
		memcpy(&w, p + index * 4, 4);
		return w;
	}
	memcpy(&h, p + index * 2, 2);
	return dtype == ONPU_DTYPE_BF16 ? oracle_bf16(h) : oracle_f16(h);
}

static uint32_t get_word(const uint8_t *p, uint64_t index)
{
	uint32_t w;

	memcpy(&w, p + index * 4, 4);
	return w;
}

uint32_t oracle_element(const struct oracle_matmul *mm, uint32_t i, uint32_t j)
{
	uint32_t acc = mm->accumulate ? get_word(mm->c, (uint64_t)i * mm->ldc + j) : 0;

	for (uint32_t k = 0; k < mm->k; k++) {
		uint64_t ia = mm->trans_a ? (uint64_t)k * mm->lda + i : (uint64_t)i * mm->lda + k;
		uint64_t ib = mm->trans_b ? (uint64_t)j * mm->ldb + k : (uint64_t)k * mm->ldb + j;

		if (mm->dtype == ONPU_DTYPE_I8) {
			int64_t product = (int64_t)(int8_t)mm->a[ia] * (int8_t)mm->b[ib];

			/* Modulo 2^32 is two's-complement wrap-around. */
			acc = (uint32_t)((uint64_t)product + acc);
		} else {
			acc = oracle_fma(get_f32(mm->a, mm->dtype, ia),
					 get_f32(mm->b, mm->dtype, ib), acc);
		}
	}
	if (mm->dtype != ONPU_DTYPE_I8 && is_nan(acc))
		acc = QNAN;
	return acc;
}

void oracle_matmul(const struct oracle_matmul *mm)
{
	for (uint32_t i = 0; i < mm->m; i++)
		for (uint32_t j = 0; j < mm->n; j++) {
			uint32_t bits = oracle_element(mm, i, j);

			memcpy(mm->d + ((uint64_t)i * mm->ldd + j) * 4, &bits, 4);
		}
}

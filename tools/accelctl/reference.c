/* SPDX-License-Identifier: MIT */
/*
 * Scalar reference. No state, nothing to lock.
 */
#include "reference.h"

#include <math.h>
#include <string.h>

static float from_bits(uint32_t bits)
{
	float value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

float ref_bf16_to_f32(uint16_t bits)
{
	return from_bits((uint32_t)bits << 16);
}

float ref_f16_to_f32(uint16_t bits)
{
	uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
	uint32_t exponent = bits >> 10 & 0x1f, fraction = bits & 0x3ff;

	if (exponent == 0x1f)
		return from_bits(sign | 0x7f800000 | fraction << 13);
	if (!exponent)
		return sign ? -ldexpf((float)fraction, -24) : ldexpf((float)fraction, -24);
	return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

uint64_t ref_row_bytes(const struct ref_matrix *matrix)
{
	return matrix->ld * accel_type_bits(matrix->type) / 8;
}

/* The bits of element (r, c), one by one: rows of 4 and 6 bit elements start at bytes. */
static uint32_t element_bits(const struct ref_matrix *matrix, uint64_t r, uint64_t c)
{
	const uint8_t *row = matrix->data + r * ref_row_bytes(matrix);
	unsigned int width = accel_type_bits(matrix->type);
	uint32_t bits = 0;

	for (unsigned int i = 0; i < width; i++) {
		uint64_t at = c * width + i;

		bits |= (uint32_t)(row[at / 8] >> at % 8 & 1) << i;
	}
	return bits;
}

/* A number of @exponent and @fraction bits below its sign; the bias is that of IEEE 754. */
static float small_number(uint32_t bits, unsigned int exponent, unsigned int fraction)
{
	int e = (int)(bits >> fraction & ((1u << exponent) - 1));
	int bias = (1 << (exponent - 1)) - 1;
	float f = (float)(bits & ((1u << fraction) - 1));
	float value;

	if (e)
		value = ldexpf(f + (float)(1u << fraction), e - bias - (int)fraction);
	else
		value = ldexpf(f, 1 - bias - (int)fraction);
	return bits >> (exponent + fraction) & 1 ? -value : value;
}

float ref_load(const struct ref_matrix *matrix, uint64_t r, uint64_t c)
{
	const uint8_t *p = matrix->data + (r * matrix->ld + c) * accel_type_size(matrix->type);
	uint16_t half;
	float value;

	switch (matrix->type) {
	case ACCEL_TYPE_F32:
		memcpy(&value, p, sizeof(value));
		return value;
	case ACCEL_TYPE_BF16:
	case ACCEL_TYPE_F16:
		memcpy(&half, p, sizeof(half));
		return matrix->type == ACCEL_TYPE_BF16 ? ref_bf16_to_f32(half) : ref_f16_to_f32(half);
	case ACCEL_TYPE_E4M3:
	case ACCEL_TYPE_MXFP8_E4M3:
		return (*p & 0x7f) == 0x7f ? NAN : small_number(*p, 4, 3);
	case ACCEL_TYPE_E5M2:
	case ACCEL_TYPE_MXFP8_E5M2:
		return ref_f16_to_f32((uint16_t)(*p << 8));
	case ACCEL_TYPE_MXFP6_E2M3:
		return small_number(element_bits(matrix, r, c), 2, 3);
	case ACCEL_TYPE_MXFP6_E3M2:
		return small_number(element_bits(matrix, r, c), 3, 2);
	case ACCEL_TYPE_MXFP4_E2M1:
		return small_number(element_bits(matrix, r, c), 2, 1);
	case ACCEL_TYPE_I4:
		value = (float)element_bits(matrix, r, c);
		return value < 8 ? value : value - 16;
	default:
		return (float)(int8_t)*p;
	}
}

/* Element k of a lane (row of A, column of B), with its scale. */
static float input(const struct ref_matrix *matrix, bool k_rows, uint64_t lane, uint64_t k)
{
	float value = k_rows ? ref_load(matrix, k, lane) : ref_load(matrix, lane, k);
	uint8_t scale;

	if (!matrix->scales)
		return value;
	scale = k_rows ? matrix->scales[k / 32 * matrix->scale_ld + lane] :
			 matrix->scales[lane * matrix->scale_ld + k / 32];
	return value * (scale == 255 ? NAN : ldexpf(1, scale - 127));
}

static uint32_t integer_element(uint32_t flags, uint32_t k, const struct ref_matrix *a,
				const struct ref_matrix *b, const struct ref_matrix *c, uint64_t i,
				uint64_t j)
{
	uint32_t sum = 0;

	if (c->data)
		memcpy(&sum, c->data + (i * c->ld + j) * 4, sizeof(sum));
	for (uint64_t x = 0; x < k; x++) {
		/* Small integers are exact as floats. */
		sum += (uint32_t)((int32_t)input(a, flags & ACCEL_MATMUL_TRANS_A, i, x) *
				  (int32_t)input(b, !(flags & ACCEL_MATMUL_TRANS_B), j, x));
	}
	return sum;
}

uint32_t ref_element(uint32_t flags, uint32_t k, const struct ref_matrix *a,
		     const struct ref_matrix *b, const struct ref_matrix *c, uint64_t i, uint64_t j)
{
	float sum = 0;
	uint32_t bits;

	if (a->type == ACCEL_TYPE_I8 || a->type == ACCEL_TYPE_I4)
		return integer_element(flags, k, a, b, c, i, j);
	if (c->data)
		sum = ref_load(c, i, j);
	for (uint64_t x = 0; x < k; x++)
		sum = fmaf(input(a, flags & ACCEL_MATMUL_TRANS_A, i, x),
			   input(b, !(flags & ACCEL_MATMUL_TRANS_B), j, x), sum);
	memcpy(&bits, &sum, sizeof(bits));
	return bits;
}

void ref_matmul(uint32_t flags, uint32_t m, uint32_t n, uint32_t k, const struct ref_matrix *a,
		const struct ref_matrix *b, const struct ref_matrix *c, struct ref_matrix *d)
{
	for (uint64_t i = 0; i < m; i++) {
		for (uint64_t j = 0; j < n; j++) {
			uint32_t bits = ref_element(flags, k, a, b, c, i, j);

			memcpy(d->data + (i * d->ld + j) * 4, &bits, sizeof(bits));
		}
	}
}

/* Bits of a float with @fraction bits from random bits: exponents 2^-16 .. 2^15. */
static uint32_t random_float(uint32_t x, unsigned int fraction, bool subnormals)
{
	uint32_t sign = x >> 31 << (fraction + 8);
	uint32_t exponent = subnormals && (x >> 23 & 0xff) == 7 ? 0 : 111 + (x >> 24 & 31);

	return sign | exponent << fraction | (x & ((1u << fraction) - 1));
}

/* The same for binary16, whose exponents are all used but that of Inf and NaN. */
static uint32_t random_half(uint32_t x, bool subnormals)
{
	uint32_t exponent = subnormals ? (x >> 16 & 0x1f) % 31 : 1 + (x >> 16 & 0x1f) % 30;

	return (x & 0x83ff) | exponent << 10;
}

/* FP8 that is no infinity and no NaN. */
static uint32_t finite_fp8(uint32_t type, uint32_t x)
{
	bool e5m2 = type == ACCEL_TYPE_E5M2 || type == ACCEL_TYPE_MXFP8_E5M2;

	return e5m2 && (x & 0x7c) == 0x7c ? x ^ 0x40 : !e5m2 && (x & 0x7f) == 0x7f ? x ^ 1 : x;
}

void ref_fill(struct ref_matrix *matrix, uint64_t elements, uint32_t seed, bool subnormals)
{
	size_t size = accel_type_size(matrix->type);
	uint32_t x = seed * 2654435761u + 12345;

	/* Any bits of less than a byte are ordinary. */
	if (accel_type_bits(matrix->type) < 8) {
		elements = (elements * accel_type_bits(matrix->type) + 7) / 8;
		size = 1;
	}
	for (uint64_t i = 0; i < elements; i++) {
		uint32_t bits;

		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		bits = x;
		if (matrix->type == ACCEL_TYPE_F32)
			bits = random_float(x, 23, subnormals);
		else if (matrix->type == ACCEL_TYPE_BF16)
			bits = random_float(x, 7, subnormals);
		else if (matrix->type == ACCEL_TYPE_F16)
			bits = random_half(x, subnormals);
		else if (matrix->type == ACCEL_TYPE_E4M3 || matrix->type == ACCEL_TYPE_E5M2 ||
			 matrix->type == ACCEL_TYPE_MXFP8_E4M3 || matrix->type == ACCEL_TYPE_MXFP8_E5M2)
			bits = finite_fp8(matrix->type, x & 0xff);
		memcpy(matrix->data + i * size, &bits, size);
	}
}

int ref_same(uint32_t type, uint32_t x, uint32_t y)
{
	if (x == y)
		return 1;
	return type == ACCEL_TYPE_F32 && (x & 0x7fffffff) > 0x7f800000 &&
	       (y & 0x7fffffff) > 0x7f800000;
}

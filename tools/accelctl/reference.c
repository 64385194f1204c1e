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

float ref_load(const struct ref_matrix *matrix, uint64_t r, uint64_t c)
{
	const uint8_t *p = matrix->data + (r * matrix->ld + c) * accel_type_size(matrix->type);
	uint16_t half;
	float value;

	if (matrix->type == ACCEL_TYPE_F32) {
		memcpy(&value, p, sizeof(value));
		return value;
	}
	memcpy(&half, p, sizeof(half));
	return matrix->type == ACCEL_TYPE_BF16 ? ref_bf16_to_f32(half) : ref_f16_to_f32(half);
}

static uint32_t integer_element(uint32_t flags, uint32_t k, const struct ref_matrix *a,
				const struct ref_matrix *b, const struct ref_matrix *c, uint64_t i,
				uint64_t j)
{
	uint32_t sum = 0;

	if (c->data)
		memcpy(&sum, c->data + (i * c->ld + j) * 4, sizeof(sum));
	for (uint64_t x = 0; x < k; x++) {
		uint64_t ia = flags & ACCEL_MATMUL_TRANS_A ? x * a->ld + i : i * a->ld + x;
		uint64_t ib = flags & ACCEL_MATMUL_TRANS_B ? j * b->ld + x : x * b->ld + j;

		sum += (uint32_t)((int32_t)(int8_t)a->data[ia] * (int32_t)(int8_t)b->data[ib]);
	}
	return sum;
}

uint32_t ref_element(uint32_t flags, uint32_t k, const struct ref_matrix *a,
		     const struct ref_matrix *b, const struct ref_matrix *c, uint64_t i, uint64_t j)
{
	float sum = 0;
	uint32_t bits;

	if (a->type == ACCEL_TYPE_I8)
		return integer_element(flags, k, a, b, c, i, j);
	if (c->data)
		sum = ref_load(c, i, j);
	for (uint64_t x = 0; x < k; x++) {
		float left = flags & ACCEL_MATMUL_TRANS_A ? ref_load(a, x, i) : ref_load(a, i, x);
		float right = flags & ACCEL_MATMUL_TRANS_B ? ref_load(b, j, x) : ref_load(b, x, j);

		sum = fmaf(left, right, sum);
	}
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

void ref_fill(struct ref_matrix *matrix, uint64_t elements, uint32_t seed, bool subnormals)
{
	size_t size = accel_type_size(matrix->type);
	uint32_t x = seed * 2654435761u + 12345;

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

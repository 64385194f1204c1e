// SPDX-License-Identifier: MIT
/*
 * The reference product: the definition in Documentation/numerics.md, written
 * down as loops.
 *
 * Idea: every element of a float product is acc = fma(a[i][x], b[x][j], acc) for
 * x = 0 .. k-1 from +0. The loop over x is the outer one here and runs over a
 * row of accumulators, so that the compiler can take many columns at once;
 * that changes nothing in the order of any sum. Rows are independent. The
 * function is compiled twice, for processors with and without FMA instructions;
 * without them the C library's fmaf() computes the same, slowly. No shared state.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "demo.h"

static const struct {
	const char *name;
	size_t size;
} elements[] = {
	[ELEMENT_F32] = { "f32", 4 },
	[ELEMENT_BF16] = { "bf16", 2 },
	[ELEMENT_F16] = { "f16", 2 },
	[ELEMENT_I8] = { "i8", 1 },
};

const char *element_name(enum element type)
{
	return elements[type].name;
}

enum element element_by_name(const char *name)
{
	for (int type = ELEMENT_F32; type <= ELEMENT_I8; type++)
		if (!strcmp(elements[type].name, name))
			return (enum element)type;
	return (enum element)0;
}

size_t element_size(enum element type)
{
	return elements[type].size;
}

static float float_of_bits(uint32_t bits)
{
	float value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

static uint32_t bits_of_float(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

static float float_of_f16(uint16_t half)
{
	uint32_t sign = (uint32_t)(half & 0x8000) << 16;
	uint32_t exponent = (half >> 10) & 0x1f, fraction = half & 0x3ff;

	if (exponent == 0) {	/* zero and subnormal numbers: fraction * 2^-24 */
		float magnitude = (float)fraction * 0x1p-24f;

		return sign ? -magnitude : magnitude;
	}
	if (exponent == 0x1f)
		return float_of_bits(sign | 0x7f800000 | fraction << 13);
	return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

/* Element i of a matrix, as the exact float that numerics.md makes of it. */
static float load_float(enum element type, const void *data, size_t i)
{
	uint16_t half;

	if (type == ELEMENT_F32) {
		float value;

		memcpy(&value, (const char *)data + i * 4, sizeof(value));
		return value;
	}
	memcpy(&half, (const char *)data + i * 2, sizeof(half));
	if (type == ELEMENT_BF16)
		return float_of_bits((uint32_t)half << 16);
	return float_of_f16(half);
}

/* op(A) as m x k and op(B) as k x n, in floats or in integers. */
static void *plain(const struct shape *shape, const void *data, bool transposed,
		   uint32_t rows, uint32_t columns)
{
	float *out = must_alloc((size_t)rows * columns * 4);
	int32_t *integers = (int32_t *)out;

	for (uint32_t r = 0; r < rows; r++) {
		for (uint32_t c = 0; c < columns; c++) {
			size_t from = transposed ? (size_t)c * rows + r : (size_t)r * columns + c;
			size_t to = (size_t)r * columns + c;

			if (shape->type == ELEMENT_I8)
				integers[to] = ((const int8_t *)data)[from];
			else
				out[to] = load_float(shape->type, data, from);
		}
	}
	return out;
}

#define ROW_BLOCK 4	/* rows that share the loads of B */
#define COLUMN_BLOCK 256

/*
 * Blocks of accumulators. The body is a macro because a function that is
 * compiled for several instruction sets cannot call an inline one.
 */
#define FLOAT_BODY(FMA)								\
	for (uint32_t j0 = 0; j0 < n; j0 += COLUMN_BLOCK) {			\
		uint32_t width = n - j0 < COLUMN_BLOCK ? n - j0 : COLUMN_BLOCK;	\
		for (uint32_t i0 = 0; i0 < m; i0 += ROW_BLOCK) {		\
			uint32_t height = m - i0 < ROW_BLOCK ? m - i0 : ROW_BLOCK; \
			float acc[ROW_BLOCK][COLUMN_BLOCK] = { { 0 } };		\
			for (uint32_t x = 0; x < k; x++)			\
				for (uint32_t i = 0; i < height; i++) {		\
					float left = a[(size_t)(i0 + i) * k + x]; \
					const float *right = b + (size_t)x * n + j0; \
					for (uint32_t j = 0; j < width; j++)	\
						acc[i][j] = FMA(left, right[j], acc[i][j]); \
				}						\
			for (uint32_t i = 0; i < height; i++)			\
				memcpy(d + (size_t)(i0 + i) * n + j0, acc[i],	\
				       width * sizeof(float));			\
		}								\
	}

#if defined(__x86_64__)
__attribute__((target("avx2,fma")))
static void float_matmul_fma(uint32_t m, uint32_t n, uint32_t k, const float *a, const float *b,
			     float *d)
{
	FLOAT_BODY(__builtin_fmaf)
}
#endif

static void float_matmul(uint32_t m, uint32_t n, uint32_t k, const float *a, const float *b,
			 float *d)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
		float_matmul_fma(m, n, k, a, b, d);
		return;
	}
#endif
	FLOAT_BODY(fmaf)
}

/* Unsigned, because sums wrap. */
#define INT_BODY								\
	for (uint32_t i = 0; i < m; i++) {					\
		uint32_t *row = d + (size_t)i * n;				\
		memset(row, 0, (size_t)n * 4);					\
		for (uint32_t x = 0; x < k; x++) {				\
			uint32_t left = (uint32_t)a[(size_t)i * k + x];		\
			const int32_t *right = b + (size_t)x * n;		\
			for (uint32_t j = 0; j < n; j++)			\
				row[j] += left * (uint32_t)right[j];		\
		}								\
	}

#if defined(__x86_64__)
__attribute__((target("avx2")))
static void int_matmul_avx2(uint32_t m, uint32_t n, uint32_t k, const int32_t *a,
			    const int32_t *b, uint32_t *d)
{
	INT_BODY
}
#endif

static void int_matmul(uint32_t m, uint32_t n, uint32_t k, const int32_t *a, const int32_t *b,
		       uint32_t *d)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2")) {
		int_matmul_avx2(m, n, k, a, b, d);
		return;
	}
#endif
	INT_BODY
}

void reference_matmul(const struct shape *shape, const void *a, const void *b, void *d)
{
	void *left = plain(shape, a, shape->trans_a, shape->m, shape->k);
	void *right = plain(shape, b, shape->trans_b, shape->k, shape->n);

	if (shape->type == ELEMENT_I8)
		int_matmul(shape->m, shape->n, shape->k, left, right, d);
	else
		float_matmul(shape->m, shape->n, shape->k, left, right, d);
	free(left);
	free(right);
}

uint32_t reference_element(const struct shape *shape, const void *a, const void *b,
			   uint32_t row, uint32_t column)
{
	uint32_t integer = 0;
	float acc = 0;

	for (uint32_t x = 0; x < shape->k; x++) {
		size_t ia = shape->trans_a ? (size_t)x * shape->m + row : (size_t)row * shape->k + x;
		size_t ib = shape->trans_b ? (size_t)column * shape->k + x :
			    (size_t)x * shape->n + column;

		if (shape->type == ELEMENT_I8)
			integer += (uint32_t)(((const int8_t *)a)[ia] * ((const int8_t *)b)[ib]);
		else
			acc = fmaf(load_float(shape->type, a, ia), load_float(shape->type, b, ib), acc);
	}
	return shape->type == ELEMENT_I8 ? integer : bits_of_float(acc);
}

/* Random signs and fractions, exponents over eight octaves, so that most sums round. */
static void random_element(struct rng *rng, enum element type, void *data, size_t i)
{
	uint64_t r = rng_next(rng);
	uint32_t octave = (uint32_t)(r >> 60) & 7;
	uint32_t wide;
	uint16_t half;

	switch (type) {
	case ELEMENT_F32:
		wide = (uint32_t)(r & 0x807fffff) | (120 + octave) << 23;
		memcpy((char *)data + i * 4, &wide, 4);
		break;
	case ELEMENT_BF16:
		half = (uint16_t)((r & 0x807f) | (120 + octave) << 7);
		memcpy((char *)data + i * 2, &half, 2);
		break;
	case ELEMENT_F16:
		half = (uint16_t)((r & 0x83ff) | (8 + octave) << 10);
		memcpy((char *)data + i * 2, &half, 2);
		break;
	case ELEMENT_I8:
		((int8_t *)data)[i] = (int8_t)(r >> 24);
		break;
	}
}

void reference_operands(enum element type, uint32_t n, uint64_t seed, void *a, void *b)
{
	struct rng rng;

	rng_seed(&rng, seed ^ (uint64_t)n << 32 ^ (uint64_t)type << 24);
	for (size_t i = 0; i < (size_t)n * n; i++)
		random_element(&rng, type, a, i);
	for (size_t i = 0; i < (size_t)n * n; i++)
		random_element(&rng, type, b, i);
}

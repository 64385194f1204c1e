// SPDX-License-Identifier: MIT
/*
 * Matmul kernels in portable C: the path of last resort, and of other processors.
 *
 * fmaf() of the C library is exact with or without FMA hardware. Conversions work on the bits,
 * so that they do not depend on the floating-point mode. No state, no locking.
 */
#include <math.h>
#include <string.h>

#include "gemm_convert.h"
#include "gemm_priv.h"

#define MR	4u
#define NR	8u

static bool always(void)
{
	return true;
}

static inline uint32_t load_unit1(const uint8_t *p, enum gemm_mode mode)
{
	uint32_t w;
	uint16_t h;

	switch (mode) {
	case GEMM_F32:
		memcpy(&w, p, 4);
		return w;
	case GEMM_BF16:
		memcpy(&h, p, 2);
		return (uint32_t)h << 16;
	case GEMM_F16:
		memcpy(&h, p, 2);
		return gemm_f16_bits(h);
	default:
		return (uint32_t)(int32_t)(int8_t)*p;
	}
}

/* The share of one element in its unit: k index within the unit is i. */
static inline uint32_t unit_part(const uint8_t *p, enum gemm_mode mode, unsigned int ku,
				 unsigned int i)
{
	uint32_t w;

	if (ku == 1)
		return load_unit1(p, mode);
	if (ku == 2)
		return (load_unit1(p, GEMM_I8) & 0xffffu) << (16 * i);
	w = *p;
	if (mode == GEMM_I8_BIASED)
		w ^= 0x80u;
	return w << (8 * i);
}

static inline size_t elem_bytes(enum gemm_mode mode)
{
	return mode == GEMM_F32 ? 4 : mode == GEMM_BF16 || mode == GEMM_F16 ? 2 : 1;
}

void gemm_pack_rows_c(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
		      unsigned int count, size_t k, enum gemm_mode mode, unsigned int ku)
{
	size_t es = elem_bytes(mode);

	for (size_t k0 = 0; k0 < k; k0 += ku, dst += lanes) {
		unsigned int n = k - k0 < ku ? (unsigned int)(k - k0) : ku;

		for (unsigned int r = 0; r < lanes; r++) {
			uint32_t w = 0;

			for (unsigned int i = 0; r < count && i < n; i++)
				w |= unit_part(rows[r] + (k0 + i) * es, mode, ku, i);
			dst[r] = w;
		}
	}
}

void gemm_pack_cols_c(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows, size_t off,
		      unsigned int count, size_t k, enum gemm_mode mode, unsigned int ku)
{
	size_t es = elem_bytes(mode);

	for (size_t k0 = 0; k0 < k; k0 += ku, dst += lanes) {
		unsigned int n = k - k0 < ku ? (unsigned int)(k - k0) : ku;

		for (unsigned int c = 0; c < lanes; c++) {
			uint32_t w = 0;

			for (unsigned int i = 0; c < count && i < n; i++)
				w |= unit_part(rows[k0 + i] + off + c * es, mode, ku, i);
			dst[c] = w;
		}
	}
}

static void pack_rows(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
		      unsigned int count, size_t k, enum gemm_mode mode,
		      const struct gemm_lane_scales *scales)
{
	(void)scales;
	gemm_pack_rows_c(dst, lanes, rows, count, k, mode, 1);
}

static void pack_cols(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows, size_t off,
		      unsigned int count, size_t k, enum gemm_mode mode,
		      const struct gemm_lane_scales *scales)
{
	(void)scales;
	gemm_pack_cols_c(dst, lanes, rows, off, count, k, mode, 1);
}

static inline uint32_t float_bits(float f)
{
	uint32_t u;

	memcpy(&u, &f, sizeof(u));
	return u;
}

static inline float bits_float(uint32_t u)
{
	float f;

	memcpy(&f, &u, sizeof(f));
	return f;
}

/* Guest memory need not be aligned for the host's types, nor is it of them. */
static inline uint32_t load32(const uint32_t *p)
{
	uint32_t u;

	memcpy(&u, p, sizeof(u));
	return u;
}

static void tile_f32(unsigned int rows, unsigned int cols, size_t units, const uint32_t *a,
		     const uint32_t *b, const uint32_t *const *cin, uint32_t *const *dout,
		     size_t col, bool last)
{
	for (unsigned int r = 0; r < rows; r++) {
		float acc[NR] = { 0 };

		for (unsigned int c = 0; cin && c < cols; c++)
			acc[c] = bits_float(load32(cin[r] + col + c));
		for (size_t k = 0; k < units; k++) {
			float av = bits_float(a[k * MR + r]);

			for (unsigned int c = 0; c < cols; c++)
				acc[c] = fmaf(av, bits_float(b[k * NR + c]), acc[c]);
		}
		for (unsigned int c = 0; c < cols; c++) {
			uint32_t u = float_bits(acc[c]);

			if (last && isnan(acc[c]))
				u = GEMM_CANONICAL_NAN;
			memcpy(dout[r] + col + c, &u, sizeof(u));
		}
	}
}

static void tile_i8(unsigned int rows, unsigned int cols, size_t units, const uint32_t *a,
		    const uint32_t *b, const uint32_t *const *cin, uint32_t *const *dout,
		    size_t col, bool last)
{
	(void)last;
	for (unsigned int r = 0; r < rows; r++) {
		uint32_t acc[NR] = { 0 };

		for (unsigned int c = 0; cin && c < cols; c++)
			acc[c] = load32(cin[r] + col + c);
		/* Unsigned arithmetic: the same bits as two's complement, and wraps. */
		for (size_t k = 0; k < units; k++)
			for (unsigned int c = 0; c < cols; c++)
				acc[c] += a[k * MR + r] * b[k * NR + c];
		for (unsigned int c = 0; c < cols; c++)
			memcpy(dout[r] + col + c, &acc[c], sizeof(acc[c]));
	}
}

/* Small tiles: without FMA hardware one fmaf() takes tens of nanoseconds, and cancel waits. */
const struct gemm_kernel gemm_scalar_f32 = {
	.name = "scalar-f32", .supported = always, .isa = ONPU_GEMM_ISA_SCALAR,
	.mr = MR, .nr = NR, .a_lanes = MR, .ku = 1, .kc = 128, .tile_m = 4, .tile_n = 4,
	.pack_rows = pack_rows, .pack_cols = pack_cols, .tile = tile_f32,
};

const struct gemm_kernel gemm_scalar_i8 = {
	.name = "scalar-i8", .supported = always, .isa = ONPU_GEMM_ISA_SCALAR, .integer = true,
	.mr = MR, .nr = NR, .a_lanes = MR, .ku = 1, .kc = 256, .tile_m = 8, .tile_n = 8,
	.pack_rows = pack_rows, .pack_cols = pack_cols, .tile = tile_i8,
};

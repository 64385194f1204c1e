// SPDX-License-Identifier: MIT
/*
 * INT8 matmul for machines that have SSE4.1 and no AVX2: 16-bit pairs and pmaddwd, as in
 * gemm_avx2.c. There is no FP32 kernel here: without FMA hardware an exact fused multiply-add
 * costs more than the vector gains; gemm_scalar.c serves. No state, no locking.
 */
#include "gemm_priv.h"

#if defined(__x86_64__)
#include <smmintrin.h>
#include <string.h>

#define MR	4u
#define NR	8u
#define W	4u
#define TSSE	__attribute__((target("sse4.1")))

static bool have_sse41(void)
{
	return __builtin_cpu_supports("sse4.1");
}

TSSE static void pack_rows(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
			   unsigned int count, size_t k, enum gemm_mode mode,
			   const struct gemm_lane_scales *scales)
{
	(void)scales;
	gemm_pack_rows_c(dst, lanes, rows, count, k, mode, 2);
}

TSSE static void pack_cols(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
			   size_t off, unsigned int count, size_t k, enum gemm_mode mode,
			   const struct gemm_lane_scales *scales)
{
	(void)scales;
	gemm_pack_cols_c(dst, lanes, rows, off, count, k, mode, 2);
}

TSSE GEMM_INLINE void tile_n(const unsigned int mr, unsigned int cols, size_t units,
			     const uint32_t *a, const uint32_t *b, const uint32_t *const *cin,
			     uint32_t *const *dout, size_t col)
{
	__m128i acc[MR][2];
	uint32_t row[NR] = { 0 };

	GEMM_UNROLL
	for (unsigned int r = 0; r < mr; r++) {
		if (cin)
			memcpy(row, cin[r] + col, cols * sizeof(row[0]));
		acc[r][0] = _mm_loadu_si128((const __m128i *)row);
		acc[r][1] = _mm_loadu_si128((const __m128i *)(row + W));
	}
	for (size_t k = 0; k < units; k++, a += MR, b += NR) {
		__m128i b0 = _mm_load_si128((const __m128i *)b);
		__m128i b1 = _mm_load_si128((const __m128i *)(b + W));

		GEMM_UNROLL
		for (unsigned int r = 0; r < mr; r++) {
			__m128i av = _mm_set1_epi32((int)a[r]);

			acc[r][0] = _mm_add_epi32(acc[r][0], _mm_madd_epi16(av, b0));
			acc[r][1] = _mm_add_epi32(acc[r][1], _mm_madd_epi16(av, b1));
		}
	}
	GEMM_UNROLL
	for (unsigned int r = 0; r < mr; r++) {
		_mm_storeu_si128((__m128i *)row, acc[r][0]);
		_mm_storeu_si128((__m128i *)(row + W), acc[r][1]);
		memcpy(dout[r] + col, row, cols * sizeof(row[0]));
	}
}

TSSE static void tile(unsigned int rows, unsigned int cols, size_t units, const uint32_t *a,
		      const uint32_t *b, const uint32_t *const *cin, uint32_t *const *dout,
		      size_t col, bool last)
{
	(void)last;
	switch (rows) {
	case 1: tile_n(1, cols, units, a, b, cin, dout, col); break;
	case 2: tile_n(2, cols, units, a, b, cin, dout, col); break;
	case 3: tile_n(3, cols, units, a, b, cin, dout, col); break;
	case 4: tile_n(4, cols, units, a, b, cin, dout, col); break;
	}
}

const struct gemm_kernel gemm_sse41_i8 = {
	.name = "sse41-i8", .supported = have_sse41, .isa = ONPU_GEMM_ISA_SSE41, .integer = true,
	.mr = MR, .nr = NR, .a_lanes = MR, .ku = 2, .kc = 512, .tile_m = 16, .tile_n = 8,
	.pack_rows = pack_rows, .pack_cols = pack_cols, .tile = tile,
};

#endif

// SPDX-License-Identifier: MIT
/*
 * Matmul kernel for AVX-512 with VBMI: that of gemm_avx512.c, but packing, and the kernels for a few rows,
 * read FP8 too, by two tables of 128 bytes in registers. No state, no locking.
 */
#include "gemm_priv.h"

#if defined(__x86_64__)
#include "gemm_avx512.h"

#define TPACK	GEMM_NO_SANITIZE __attribute__((target(T512_SETS ",avx512vbmi")))
#define PACK_VBMI
#include "gemm_avx512_pack.h"
#include "gemm_avx512_few.h"

DEFINE_FEW_DENSE(e4m3, GEMM_E4M3, PLAIN)
DEFINE_FEW_DENSE(e4m3_scaled, GEMM_E4M3, SCALED)
DEFINE_FEW_DENSE(e5m2, GEMM_E5M2, PLAIN)
DEFINE_FEW_DENSE(e5m2_scaled, GEMM_E5M2, SCALED)

#define FEW_PART(part) { \
	{ FEW_ENTRY(part##_e4m3), FEW_ENTRY(part##_e4m3_scaled) }, \
	{ FEW_ENTRY(part##_e5m2), FEW_ENTRY(part##_e5m2_scaled) } }

static gemm_few_fn *find_few(enum gemm_few_layout layout, enum gemm_mode mode, bool scaled, bool zeros,
			     unsigned int rows)
{
	static gemm_few_fn *const fp8[GEMM_FEW_LAYOUTS][2][2][FEW_SIZES] = {
		[GEMM_FEW_ALONG_K] = FEW_PART(few_k),
		[GEMM_FEW_ALONG_COLS] = FEW_PART(few_cols),
	};

	if (mode == GEMM_E4M3 || mode == GEMM_E5M2)
		return fp8[layout][mode == GEMM_E5M2][scaled][few_size(rows)];
	return gemm_avx512_find_few(layout, mode, scaled, zeros, rows);
}

const struct gemm_few_kernel gemm_few_avx512vbmi = {
	.find = find_few, .spread_scales = gemm_avx512_spread_scales,
};

static bool have_vbmi(void)
{
	return gemm_have_avx512() && __builtin_cpu_supports("avx512vbmi");
}

const struct gemm_kernel gemm_avx512vbmi_f32 = {
	.name = "avx512vbmi-f32", .supported = have_vbmi, .isa = ONPU_GEMM_ISA_AVX512VNNI,
	.modes = PACK_MODES_F,
	.mr = 14, .nr = 32, .a_lanes = 16, .ku = 1, .kc = 1024, .tile_m = 6, .tile_n = 8,
	.pack_rows = pack_rows_f, .pack_cols = pack_cols_f, .tile = gemm_avx512_tile_f32,
	.tile_few = gemm_avx512_tile_few_f32, .few_rows = 3,
	.few = &gemm_few_avx512vbmi,
};

#endif

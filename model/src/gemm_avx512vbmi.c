// SPDX-License-Identifier: MIT
/*
 * Matmul kernel for AVX-512 with VBMI: that of gemm_avx512.c, but packing reads FP8 too, by two tables
 * of 128 bytes in registers. No state, no locking.
 */
#include "gemm_priv.h"

#if defined(__x86_64__)
#include "gemm_avx512.h"

#define TPACK	GEMM_NO_SANITIZE __attribute__((target(T512_SETS ",avx512vbmi")))
#define PACK_VBMI
#include "gemm_avx512_pack.h"

static bool have_vbmi(void)
{
	return gemm_have_avx512() && __builtin_cpu_supports("avx512vbmi");
}

const struct gemm_kernel gemm_avx512vbmi_f32 = {
	.name = "avx512vbmi-f32", .supported = have_vbmi, .isa = ONPU_GEMM_ISA_AVX512VNNI,
	.modes = PACK_MODES_F,
	.mr = 14, .nr = 32, .a_lanes = 16, .ku = 1, .kc = 768, .tile_m = 16, .tile_n = 8,
	.pack_rows = pack_rows_f, .pack_cols = pack_cols_f, .tile = gemm_avx512_tile_f32,
	.tile_few = gemm_avx512_tile_few_f32, .few_rows = 3,
};

#endif

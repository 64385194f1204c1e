/* SPDX-License-Identifier: MIT */
/* From sums to D: gemm_epilogue.c. */
#ifndef ONPU_MODEL_GEMM_EPILOGUE_H
#define ONPU_MODEL_GEMM_EPILOGUE_H

#include "gemm.h"

#define GEMM_PANEL_COLS	256u	/* columns of D that one call takes, at most */

/* What a run of columns of D needs, in FP32. Arrays are padded for vectors. */
struct gemm_epilogue_cols {
	_Alignas(32) float col_scale[GEMM_PANEL_COLS];
	float bias[GEMM_PANEL_COLS];
	float d_scale[GEMM_PANEL_COLS];
	float d_zero[GEMM_PANEL_COLS];
};

bool gemm_epilogue_valid(const struct onpu_gemm_desc *d);

void gemm_epilogue_cols(const struct onpu_gemm_epilogue *e, uint64_t col, uint32_t n,
			struct gemm_epilogue_cols *x);

/*
 * n sums (FP32, or INT32 if integer) of D's row from column col on, to D. v has room for
 * GEMM_PANEL_COLS, is aligned to 32 bytes, and is spoilt. The floating-point mode is set. simd: as in
 * gemm_convert.h.
 */
void gemm_epilogue_row(const struct onpu_gemm_desc *d, const struct gemm_epilogue_cols *x,
		       bool integer, bool simd, uint64_t row, uint64_t col, uint32_t n, uint32_t *v);

#endif

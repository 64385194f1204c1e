/* SPDX-License-Identifier: MIT */
/* What the kernels for AVX-512 share. */
#ifndef ONPU_MODEL_GEMM_AVX512_H
#define ONPU_MODEL_GEMM_AVX512_H

#include "gemm_few.h"
#include "gemm_priv.h"

#define T512_SETS	"avx512f,avx512bw,avx512dq,avx512vl,fma,f16c,avx2"
#define T512	GEMM_NO_SANITIZE __attribute__((target(T512_SETS)))

bool gemm_have_avx512(void);

/* The micro kernels of gemm_avx512_f32; struct gemm_kernel says what their arguments are. */
void gemm_avx512_tile_f32(unsigned int rows, unsigned int cols, size_t units, const uint32_t *a,
			  const uint32_t *b, const uint32_t *const *cin, uint32_t *const *dout,
			  size_t col, bool last);
void gemm_avx512_tile_few_f32(unsigned int rows, unsigned int cols, size_t units,
			      const uint32_t *a, const uint32_t *b, size_t stride,
			      const uint32_t *const *cin, uint32_t *const *dout, size_t col,
			      bool last);

/* Those of gemm_few_avx512. */
gemm_few_fn *gemm_avx512_find_few(enum gemm_few_layout layout, enum gemm_mode mode, bool scaled,
				  bool zeros, unsigned int rows);
void gemm_avx512_spread_scales(uint32_t *dst, const uint8_t *src, enum gemm_mode mode,
			       unsigned int per_word);

#endif

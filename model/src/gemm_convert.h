/* SPDX-License-Identifier: MIT */
/* Element types that the packing of the kernels does not read by itself (gemm_convert.c). */
#ifndef ONPU_MODEL_GEMM_CONVERT_H
#define ONPU_MODEL_GEMM_CONVERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Elements per whole number of bytes, for every type. Runs start at multiples of it. */
#define GEMM_CONVERT_GRAIN	8u

/*
 * n elements that start at the byte src: to FP32, or (I4 for integer kernels) to bytes.
 * Reads no byte behind that of the last element.
 */
typedef void (*gemm_convert_fn)(void *dst, const uint8_t *src, size_t n);

/* simd: the machine has AVX2, FMA and F16C. NULL: no such conversion. The result is the same. */
gemm_convert_fn gemm_convert_to_f32(uint32_t dtype, bool simd);
gemm_convert_fn gemm_convert_to_i8(uint32_t dtype, bool simd);

/*
 * v[i] = (v[i] - zero) * scale, with one of each, or with one for each of the lanes of rows that are
 * stride apart; zeros may be NULL.
 */
void gemm_scale_run(float *v, size_t n, float scale, float zero, bool simd);
void gemm_scale_lanes(float *v, size_t rows, size_t stride, size_t lanes, const float *scales,
		      const float *zeros, bool simd);

/* n scales (UE8M0 as dtype 0, F16, BF16) and n zero points (I8) to FP32. */
void gemm_convert_scales(float *dst, const uint8_t *src, size_t n, uint32_t dtype);
void gemm_convert_zeros(float *dst, const uint8_t *src, size_t n);

/* FP32 bits of FP16 bits; exact, whatever the floating-point mode. */
uint32_t gemm_f16_bits(uint32_t h);

#endif

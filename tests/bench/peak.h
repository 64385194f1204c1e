/* SPDX-License-Identifier: MIT */
/*
 * How many multiply-adds one thread of this processor does at most: a loop in registers, with the widest
 * vectors that there are. What a matmul reaches is at most this, whatever comes from memory.
 */
#ifndef ONPU_BENCH_PEAK_H
#define ONPU_BENCH_PEAK_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#define PEAK_MACS	((uint64_t)1 << 30)	/* of a call */
#define PEAK_CHAINS	12			/* sums side by side, none of which waits for itself */

#if defined(__x86_64__)
#include <immintrin.h>

/* The compiler is told that each step changes its sum in ways that it does not know, and must not leave any out. */
#define PEAK_STEP(acc, step) do { \
	acc = step(acc); \
	__asm__ volatile("" : "+v"(acc)); \
} while (0)
#define PEAK_LOOP(lanes, type, first, step) do { \
	type a = first, b = a, c = a, d = a, e = a, f = a, g = a, h = a, i = a, j = a, k = a, l = a; \
	for (uint64_t n = PEAK_MACS / ((lanes) * PEAK_CHAINS); n; n--) { \
		PEAK_STEP(a, step); PEAK_STEP(b, step); PEAK_STEP(c, step); PEAK_STEP(d, step); \
		PEAK_STEP(e, step); PEAK_STEP(f, step); PEAK_STEP(g, step); PEAK_STEP(h, step); \
		PEAK_STEP(i, step); PEAK_STEP(j, step); PEAK_STEP(k, step); PEAK_STEP(l, step); \
	} \
} while (0)

__attribute__((target("avx512f"))) static inline void peak_f32_512(void)
{
	__m512 x = _mm512_set1_ps(0.5f), y = _mm512_set1_ps(0.25f);

#define STEP(acc) _mm512_fmadd_ps(acc, x, y)
	PEAK_LOOP(16, __m512, y, STEP);
#undef STEP
}

__attribute__((target("avx2,fma"))) static inline void peak_f32_256(void)
{
	__m256 x = _mm256_set1_ps(0.5f), y = _mm256_set1_ps(0.25f);

#define STEP(acc) _mm256_fmadd_ps(acc, x, y)
	PEAK_LOOP(8, __m256, y, STEP);
#undef STEP
}

__attribute__((target("avx512f,avx512vnni"))) static inline void peak_i8_512(void)
{
	__m512i x = _mm512_set1_epi8(3);

#define STEP(acc) _mm512_dpbusd_epi32(acc, x, x)
	PEAK_LOOP(64, __m512i, x, STEP);
#undef STEP
}

/* Exact without VNNI: pairs of 16 bits. */
__attribute__((target("avx2"))) static inline void peak_i8_256(void)
{
	__m256i x = _mm256_set1_epi16(3);

#define STEP(acc) _mm256_add_epi32(acc, _mm256_madd_epi16(acc, x))
	PEAK_LOOP(16, __m256i, x, STEP);
#undef STEP
}
#endif

static inline void peak_scalar(void)
{
	volatile float sink;
	float acc[4] = { 1, 2, 3, 4 };

	for (uint64_t n = PEAK_MACS / 4; n; n--)
		for (int i = 0; i < 4; i++)
			acc[i] = fmaf(acc[i], 0.5f, 0.25f);
	sink = acc[0] + acc[1] + acc[2] + acc[3];
	(void)sink;
}

/* PEAK_MACS multiply-adds, of FP32 or of bytes; narrow: without AVX-512. */
static inline void peak_run(bool integer, bool narrow)
{
#if defined(__x86_64__)
	if (!narrow && integer && __builtin_cpu_supports("avx512vnni")) {
		peak_i8_512();
		return;
	}
	if (!narrow && !integer && __builtin_cpu_supports("avx512f")) {
		peak_f32_512();
		return;
	}
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
		integer ? peak_i8_256() : peak_f32_256();
		return;
	}
#endif
	(void)integer;
	(void)narrow;
	peak_scalar();
}

#endif

// SPDX-License-Identifier: MIT
/*
 * A few rows by all of B, with AVX-512: the kernels of gemm_avx512_few.h for every type that needs no
 * VBMI, and those for integers.
 *
 * Integers: bytes of B are made unsigned, by 128 or (of four bits) 8 more than they are, which is one operation
 * for all that a word holds; A stays signed. What that adds to a sum is the same for all columns
 * of a row, so gemm_few.c takes it off beforehand. The order of k is of no
 * consequence, so elements of four bits are taken apart as it comes easiest.
 */
#include "gemm_priv.h"

#if defined(__x86_64__)
#include "gemm_avx512.h"

#define TPACK	T512
#include "gemm_avx512_elements.h"
#include "gemm_avx512_few.h"

#define TVNNI	GEMM_NO_SANITIZE __attribute__((target(T512_SETS ",avx512vnni")))

DEFINE_FEW(f32, GEMM_F32, PLAIN)
DEFINE_FEW(bf16, GEMM_BF16, PLAIN)
DEFINE_FEW(f16, GEMM_F16, PLAIN)
DEFINE_FEW_DENSE(i8_scaled, GEMM_I8_F32, SCALED)
DEFINE_FEW_DENSE(i8_shifted, GEMM_I8_F32, SHIFTED_SCALED)
DEFINE_FEW_DENSE(i4_scaled, GEMM_I4_F32, SCALED)
DEFINE_FEW_DENSE(i4_shifted, GEMM_I4_F32, SHIFTED_SCALED)
DEFINE_FEW_DENSE(e2m1_scaled, GEMM_E2M1, SCALED)

#define FEW_PART(part) { \
	[GEMM_F32] = { [PLAIN] = FEW_ENTRY(part##_f32) }, \
	[GEMM_BF16] = { [PLAIN] = FEW_ENTRY(part##_bf16) }, \
	[GEMM_F16] = { [PLAIN] = FEW_ENTRY(part##_f16) }, \
	[GEMM_I8_F32] = { [SCALED] = FEW_ENTRY(part##_i8_scaled), FEW_ENTRY(part##_i8_shifted) }, \
	[GEMM_I4_F32] = { [SCALED] = FEW_ENTRY(part##_i4_scaled), FEW_ENTRY(part##_i4_shifted) }, \
	[GEMM_E2M1] = { [SCALED] = FEW_ENTRY(part##_e2m1_scaled) } }

static gemm_few_fn *const few_f32[GEMM_FEW_LAYOUTS][GEMM_MODES][3][FEW_SIZES] = {
	[GEMM_FEW_ALONG_K] = FEW_PART(few_k),
	[GEMM_FEW_ALONG_COLS] = FEW_PART(few_cols),
};

gemm_few_fn *gemm_avx512_find_few(enum gemm_few_layout layout, enum gemm_mode mode, bool scaled,
				  bool zeros, unsigned int rows)
{
	return few_f32[layout][mode][zeros ? SHIFTED_SCALED : scaled ? SCALED : PLAIN][few_size(rows)];
}

T512 void gemm_avx512_spread_scales(uint32_t *dst, const uint8_t *src, enum gemm_mode mode,
			       unsigned int per_word)
{
	if (mode == GEMM_UE8M0)
		per_word == 8 ? few_spread(dst, src, GEMM_UE8M0, 8) : few_spread(dst, src, GEMM_UE8M0, 4);
	else if (mode == GEMM_F16)
		per_word == 8 ? few_spread(dst, src, GEMM_F16, 8) : few_spread(dst, src, GEMM_F16, 4);
	else if (mode == GEMM_BF16)
		per_word == 8 ? few_spread(dst, src, GEMM_BF16, 8) : few_spread(dst, src, GEMM_BF16, 4);
	else
		per_word == 8 ? few_spread(dst, src, GEMM_I8_F32, 8) : few_spread(dst, src, GEMM_I8_F32, 4);
}

/* Integers */

enum few_bytes {
	BYTES_8_K,		/* four k of a column */
	BYTES_8_COLS,		/* the same, of rows of columns */
	BYTES_4_K,		/* eight k of a column: units of A are its even ones, then its odd ones */
	BYTES_4_COLS		/* four k of two columns, the second of which have vectors of sums of their own */
};

TVNNI GEMM_INLINE void few_dot(__m512i acc[GEMM_FEW_ROWS][FEW_MAX], const __m512i *b, const uint32_t *a,
			       const unsigned int m, const unsigned int nv)
{
	GEMM_UNROLL
	for (unsigned int r = 0; r < m; r++) {
		__m512i av = _mm512_set1_epi32((int)a[r]);

		GEMM_UNROLL
		for (unsigned int v = 0; v < nv; v++)
			acc[r][v] = _mm512_dpbusd_epi32(acc[r][v], b[v], av);
	}
}

/* The rows that come next: a share of them with each unit of k of nv vectors of sums. */
TVNNI GEMM_INLINE void few_prefetch_rows(const struct gemm_few_step *s, unsigned int at, uint32_t k,
					 const unsigned int nv, const unsigned int vectors)
{
	uint32_t row = s->k * at / vectors + k * nv / vectors, end = row + (4 * nv + vectors - 1) / vectors;

	for (; row < end && row < s->k; row++)
		FEW_PREFETCH((uintptr_t)s->rows[row] + s->ahead);
}

TVNNI GEMM_INLINE void few_bytes(const struct gemm_few_step *s, const unsigned int m,
				 const unsigned int nv, const enum few_bytes kind)
{
	const __m512i bias = _mm512_set1_epi8(kind == BYTES_4_K ? -120 : kind == BYTES_4_COLS ? 8 : -128);
	const __m512i four = _mm512_set1_epi8(0xf);
	const unsigned int vectors = GEMM_FEW_LANES / W, per = kind == BYTES_4_K ? 8 : 4;
	const size_t ld = kind == BYTES_4_COLS ? GEMM_FEW_COLS : GEMM_FEW_LANES;

	for (unsigned int at = 0; at < s->vectors; at += nv) {
		const uint32_t *a = s->a, *words = s->words + at % vectors * W;
		const __m128i shift = _mm_cvtsi32_si128(at < vectors ? 0 : 4);
		GEMM_BUFFER __m512i acc[GEMM_FEW_ROWS][FEW_MAX];

		GEMM_UNROLL
		for (unsigned int r = 0; r < m; r++)
			GEMM_UNROLL
			for (unsigned int v = 0; v < nv; v++)
				acc[r][v] = _mm512_load_si512(s->sums + r * ld + (at + v) * W);
		for (uint32_t k = 0; k < s->k; k += per, words += GEMM_FEW_LANES, a += m) {
			GEMM_BUFFER __m512i x[FEW_MAX], b[FEW_MAX];

			if (kind == BYTES_8_K || kind == BYTES_4_K)
				few_prefetch(s, at, k / per, nv, W);
			else
				few_prefetch_rows(s, at, k, nv, kind == BYTES_4_COLS ? 2 * vectors : vectors);
			GEMM_UNROLL
			for (unsigned int v = 0; v < nv; v++) {
				x[v] = _mm512_load_si512(words + v * W);
				if (kind == BYTES_4_COLS)
					x[v] = _mm512_and_si512(_mm512_srl_epi32(x[v], shift), four);
				x[v] = _mm512_xor_si512(x[v], bias);
				b[v] = kind == BYTES_4_K ? _mm512_and_si512(x[v], four) : x[v];
			}
			few_dot(acc, b, a, m, nv);
			if (kind != BYTES_4_K)
				continue;
			a += m;
			GEMM_UNROLL
			for (unsigned int v = 0; v < nv; v++)
				b[v] = _mm512_and_si512(_mm512_srli_epi32(x[v], 4), four);
			few_dot(acc, b, a, m, nv);
		}
		GEMM_UNROLL
		for (unsigned int r = 0; r < m; r++)
			GEMM_UNROLL
			for (unsigned int v = 0; v < nv; v++)
				_mm512_store_si512(s->sums + r * ld + (at + v) * W, acc[r][v]);
	}
}

#define FEW_BYTES(m, nv, name, kind) \
	TVNNI static void few_##name##_##m(const struct gemm_few_step *s) \
	{ \
		few_bytes(s, m, nv, kind); \
	}
#define DEFINE_FEW_BYTES(name, kind) \
	FEW_BYTES(1, 4, name, kind) FEW_BYTES(2, 4, name, kind) FEW_BYTES(4, 4, name, kind) \
	FEW_BYTES(8, 2, name, kind) FEW_BYTES(12, 2, name, kind) FEW_BYTES(16, 1, name, kind)

DEFINE_FEW_BYTES(i8_k, BYTES_8_K)
DEFINE_FEW_BYTES(i8_cols, BYTES_8_COLS)
DEFINE_FEW_BYTES(i4_k, BYTES_4_K)
DEFINE_FEW_BYTES(i4_cols, BYTES_4_COLS)

static gemm_few_fn *find_bytes(enum gemm_few_layout layout, enum gemm_mode mode, bool scaled,
			       bool zeros, unsigned int rows)
{
	static gemm_few_fn *const i8[GEMM_FEW_LAYOUTS][FEW_SIZES] = {
		FEW_ENTRY(few_i8_k), FEW_ENTRY(few_i8_cols),
	};
	static gemm_few_fn *const i4[GEMM_FEW_LAYOUTS][FEW_SIZES] = {
		FEW_ENTRY(few_i4_k), FEW_ENTRY(few_i4_cols),
	};

	if (scaled || zeros)
		return NULL;
	return mode == GEMM_I4 ? i4[layout][few_size(rows)] :
	       mode == GEMM_I8 ? i8[layout][few_size(rows)] : NULL;
}

T512 static void interleave(uint32_t *words, const uint8_t *const *rows, uint32_t k)
{
	for (uint32_t i = 0; i < k; i += 4, words += GEMM_FEW_LANES) {
		__m512i r[4], lo[2], hi[2];

		for (unsigned int j = 0; j < 4; j++) {
			/* What is multiplied by zeros may be anything. */
			const uint8_t *p = rows[i + j < k ? i + j : i];

			r[j] = _mm512_loadu_si512(p);
		}
		for (unsigned int j = 0; j < 2; j++) {
			lo[j] = _mm512_unpacklo_epi8(r[2 * j], r[2 * j + 1]);
			hi[j] = _mm512_unpackhi_epi8(r[2 * j], r[2 * j + 1]);
		}
		_mm512_store_si512(words, _mm512_unpacklo_epi16(lo[0], lo[1]));
		_mm512_store_si512(words + W, _mm512_unpackhi_epi16(lo[0], lo[1]));
		_mm512_store_si512(words + 2 * W, _mm512_unpacklo_epi16(hi[0], hi[1]));
		_mm512_store_si512(words + 3 * W, _mm512_unpackhi_epi16(hi[0], hi[1]));
	}
}

const struct gemm_few_kernel gemm_few_avx512 = {
	.find = gemm_avx512_find_few, .spread_scales = gemm_avx512_spread_scales,
};

const struct gemm_few_kernel gemm_few_avx512vnni = {
	.find = find_bytes, .interleave = interleave,
};

#endif

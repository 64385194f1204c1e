/* SPDX-License-Identifier: MIT */
/*
 * Kernels for a few rows with AVX-512 (gemm_few.h). To be included once by a file that has included
 * gemm_avx512_pack.h, whose elements these are.
 *
 * Idea: a column of vectors of B is decoded once, and every row multiplies it at once. As many vectors
 * go side by side as accumulators have registers for.
 */
#include "gemm_few.h"

#define FEW_MAX	8u	/* vectors side by side */

TPACK GEMM_INLINE void few_load(__m512 acc[GEMM_FEW_ROWS][FEW_MAX], const uint32_t *sums, size_t ld,
				const unsigned int m, const unsigned int nv)
{
	GEMM_UNROLL
	for (unsigned int r = 0; r < m; r++)
		GEMM_UNROLL
		for (unsigned int v = 0; v < nv; v++)
			acc[r][v] = _mm512_load_ps(sums + r * ld + v * W);
}

TPACK GEMM_INLINE void few_store(__m512 acc[GEMM_FEW_ROWS][FEW_MAX], uint32_t *sums, size_t ld,
				 const unsigned int m, const unsigned int nv)
{
	GEMM_UNROLL
	for (unsigned int r = 0; r < m; r++)
		GEMM_UNROLL
		for (unsigned int v = 0; v < nv; v++)
			_mm512_store_ps(sums + r * ld + v * W, acc[r][v]);
}

/*
 * The words of some rows that come later: a share of the lines of nv vectors of them with each word, of
 * which a line has per_line.
 */
TPACK GEMM_INLINE void few_prefetch(const struct gemm_few_step *s, unsigned int at, uint32_t word,
				    const unsigned int nv, const unsigned int per_line)
{
	const unsigned int share = W * nv / per_line ? W * nv / per_line : 1;
	const uint8_t *const *rows = s->rows + at * W + word * share % (W * nv);
	uint64_t off = s->ahead + (uint64_t)(word / per_line) * 64;

	if (share * per_line > W * nv && word % 2)
		return;
	GEMM_UNROLL
	for (unsigned int i = 0; i < share; i++)
		_mm_prefetch((const char *)((uintptr_t)rows[i] + off), _MM_HINT_T1);
}

TPACK GEMM_INLINE void few_fma(__m512 acc[GEMM_FEW_ROWS][FEW_MAX], const __m512i *b,
			       const uint32_t *a, const unsigned int m, const unsigned int nv)
{
	GEMM_UNROLL
	for (unsigned int r = 0; r < m; r++) {
		__m512 av = _mm512_castsi512_ps(_mm512_set1_epi32((int)a[r]));

		GEMM_UNROLL
		for (unsigned int v = 0; v < nv; v++)
			acc[r][v] = _mm512_fmadd_ps(av, _mm512_castsi512_ps(b[v]), acc[r][v]);
	}
}

/* Words of consecutive k. F16 is converted when it is put together to words. */
TPACK GEMM_INLINE void few_along_k(const struct gemm_few_step *s, const unsigned int m,
				   const unsigned int nv, const enum gemm_mode mode,
				   const enum scaling how)
{
	const unsigned int bits = mode_bits(mode), per = mode == GEMM_F16 ? 1 : 32 / bits;
	const unsigned int per_line = 64 * 8 / bits / per;
	const size_t ld = GEMM_FEW_LANES;
	const struct gemm_lane_scales sc = s->scales;

	for (unsigned int at = 0; at < s->vectors; at += nv) {
		const uint32_t *a = s->a, *words = s->words + at * W;
		GEMM_BUFFER __m512 acc[GEMM_FEW_ROWS][FEW_MAX];

		few_load(acc, s->sums + at * W, ld, m, nv);
		for (uint32_t k = 0; k < s->k; k += per, words += GEMM_FEW_LANES) {
			unsigned int n = s->k - k < per ? s->k - k : per;
			GEMM_BUFFER struct scale16 scale[FEW_MAX];
			GEMM_BUFFER __m512i x[FEW_MAX], b[FEW_MAX];

			few_prefetch(s, at, k / per, nv, per_line);
			GEMM_UNROLL
			for (unsigned int v = 0; v < nv; v++) {
				x[v] = _mm512_load_si512(words + v * W);
				scale[v] = load_scale(&sc, k, GEMM_FEW_LANES, (at + v) * W, how);
			}
			/* Of many, and of those of a word that is not full, one after the other. */
			if (per == 8 || n < per) {
				for (unsigned int e = 0; e < n; e++, a += m) {
					GEMM_UNROLL
					for (unsigned int v = 0; v < nv; v++) {
						b[v] = scale_units(element_f32(x[v], 0, mode),
								   scale[v], how);
						x[v] = _mm512_srli_epi32(x[v], bits);
					}
					few_fma(acc, b, a, m, nv);
				}
				continue;
			}
			GEMM_UNROLL
			for (unsigned int e = 0; e < per; e++, a += m) {
				GEMM_UNROLL
				for (unsigned int v = 0; v < nv; v++)
					b[v] = scale_units(mode == GEMM_F16 ? x[v] :
							   element_f32(x[v], e, mode), scale[v], how);
				few_fma(acc, b, a, m, nv);
			}
		}
		few_store(acc, s->sums + at * W, ld, m, nv);
	}
}

/* Words of columns side by side, in rows. F16 is converted as it is read, which keeps the columns in order. */
TPACK GEMM_INLINE void few_along_cols(const struct gemm_few_step *s, const unsigned int m,
				      const unsigned int nv, const enum gemm_mode mode,
				      const enum scaling how)
{
	const unsigned int bits = mode_bits(mode), per = mode == GEMM_F16 ? 1 : 32 / bits;
	const unsigned int bytes = W * bits * per / 8;	/* of a vector of words */
	const size_t ld = GEMM_FEW_COLS;
	const struct gemm_lane_scales sc = s->scales;

	for (unsigned int at = 0; at < s->vectors; at += nv) {
		const __m512i start = _mm512_set1_epi32((int)(at % per * bits));
		const uint32_t *a = s->a;
		GEMM_BUFFER __m512 acc[GEMM_FEW_ROWS][FEW_MAX];
		bool first = at % per == 0;

		few_load(acc, s->sums + at * W, ld, m, nv);
		for (uint32_t k = 0; k < s->k; k++, a += m) {
			const uint8_t *row = s->rows[k] + at / per * bytes;
			GEMM_BUFFER __m512i b[FEW_MAX];
			__m512i x = _mm512_setzero_si512();

			GEMM_UNROLL
			for (unsigned int v = 0; v < nv; v++) {
				const uint8_t *p = row + v / per * bytes;

				if (v % per == 0) {
					if (first && p - row < (ptrdiff_t)(nv * W * bits / 8))
						_mm_prefetch((const char *)((uintptr_t)p + s->ahead),
							     _MM_HINT_T0);
					x = mode == GEMM_F16 ? load_units(p, W, mode) :
					    _mm512_loadu_si512(p);
					if (nv < per)
						x = _mm512_srlv_epi32(x, start);
				}
				b[v] = scale_units(mode == GEMM_F16 ? x : element_f32(x, v % per, mode),
						   load_scale(&sc, k, GEMM_FEW_COLS, (at + v) * W,
							      how), how);
			}
			few_fma(acc, b, a, m, nv);
		}
		few_store(acc, s->sums + at * W, ld, m, nv);
	}
}

/* Where a row of scales has those of lane j, element e of its word: gathered four bytes at a time. */
TPACK GEMM_INLINE void few_spread(uint32_t *dst, const uint8_t *src, const enum gemm_mode mode,
				  const unsigned int per)
{
	const unsigned int es = mode_bits(mode) / 8, each = 4 / es;	/* each: in four bytes */
	const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	const __m512i index = _mm512_mullo_epi32(lane, _mm512_set1_epi32((int)(per * es)));

	for (unsigned int v = 0; v < GEMM_FEW_COLS / W; v += each) {
		const uint8_t *from = src + v / per * per * W * es + v % per * es;
		__m512i x = _mm512_i32gather_epi32(index, from, 1);

		GEMM_UNROLL
		for (unsigned int i = 0; i < each; i++)
			_mm512_store_si512(dst + (v + i) * W, mode == GEMM_F16 ?
				_mm512_castps_si512(_mm512_cvtph_ps(_mm512_cvtepi32_epi16(
					_mm512_srli_epi32(x, 16 * i)))) : element_f32(x, i, mode));
	}
}

#define FEW_K(m, nv, name, as, how) \
	TPACK static void few_k_##name##_##m(const struct gemm_few_step *s) \
	{ \
		few_along_k(s, m, nv, as, how); \
	}
#define FEW_COLS(m, nv, name, as, how) \
	TPACK static void few_cols_##name##_##m(const struct gemm_few_step *s) \
	{ \
		few_along_cols(s, m, nv, as, how); \
	}
#define DEFINE_FEW_K(name, as, how) \
	FEW_K(1, 4, name, as, how) FEW_K(2, 4, name, as, how) FEW_K(4, 4, name, as, how) \
	FEW_K(8, 2, name, as, how) FEW_K(12, 2, name, as, how) FEW_K(16, 1, name, as, how)
#define DEFINE_FEW_COLS(name, as, how) \
	FEW_COLS(1, 8, name, as, how) FEW_COLS(2, 8, name, as, how) FEW_COLS(4, 4, name, as, how) \
	FEW_COLS(8, 2, name, as, how) FEW_COLS(12, 2, name, as, how) FEW_COLS(16, 1, name, as, how)
#define DEFINE_FEW(name, as, how) DEFINE_FEW_K(name, as, how) DEFINE_FEW_COLS(name, as, how)

#define FEW_SIZES	6
#define FEW_ENTRY(name) { name##_1, name##_2, name##_4, name##_8, name##_12, name##_16 }

static inline unsigned int few_size(unsigned int rows)
{
	return rows <= 2 ? rows - 1 : rows <= 4 ? 2 : rows <= 8 ? 3 : rows <= 12 ? 4 : 5;
}

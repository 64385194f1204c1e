/* SPDX-License-Identifier: MIT */
/*
 * Elements in registers of AVX-512: how they are taken out of words of 32 bits, or loaded, and scaled. To be
 * included once by a file that says
 *
 *   TPACK	the attributes of its functions
 *   PACK_VBMI	defined if those have VBMI, which reads types of one byte by a table
 */
#include <immintrin.h>

#include "gemm_priv.h"

#define W	16u	/* lanes of a register */

static inline unsigned int mode_bits(enum gemm_mode mode)
{
	switch (mode) {
	case GEMM_F32:
		return 32;
	case GEMM_BF16:
	case GEMM_F16:
		return 16;
	case GEMM_I4:
	case GEMM_I4_F32:
	case GEMM_E2M1:
		return 4;
	default:
		return 8;
	}
}

/* k per unit. */
static inline unsigned int mode_ku(enum gemm_mode mode)
{
	return mode == GEMM_I8 || mode == GEMM_I8_BIASED || mode == GEMM_I4 ? 4 : 1;
}

/* What the 4-bit elements are as FP32. */
TPACK GEMM_INLINE __m512 nibble_table(enum gemm_mode mode)
{
	if (mode == GEMM_I4_F32)
		return _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1);
	return _mm512_setr_ps(0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f, -0.0f, -0.5f, -1.0f,
			      -1.5f, -2.0f, -3.0f, -4.0f, -6.0f);
}

/* The lowest four bits of each word choose. */
TPACK GEMM_INLINE __m512i nibbles_f32(__m512i x, enum gemm_mode mode)
{
	return _mm512_castps_si512(_mm512_permutexvar_ps(x, nibble_table(mode)));
}

/* Bytes of 0 to 15, sign-extended from four bits. */
TPACK GEMM_INLINE __m512i nibbles_i8(__m512i x)
{
	const __m512i table = _mm512_broadcast_i32x4(
		_mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1));

	return _mm512_shuffle_epi8(table, x);
}

/* The eight 4-bit elements of each word: bytes of its lower or upper four. */
TPACK GEMM_INLINE __m512i half_nibbles(__m512i x, unsigned int half)
{
	const __m512i two = _mm512_set1_epi32(0x00ff00ff), four = _mm512_set1_epi32(0x0f0f0f0f);

	x = half ? _mm512_srli_epi32(x, 16) : _mm512_and_si512(x, _mm512_set1_epi32(0xffff));
	x = _mm512_and_si512(_mm512_or_si512(x, _mm512_slli_epi32(x, 8)), two);
	x = _mm512_and_si512(_mm512_or_si512(x, _mm512_slli_epi32(x, 4)), four);
	return nibbles_i8(x);
}

#ifdef PACK_VBMI
/*
 * FP8 numbers are BF16 numbers. The two bytes of each one, for all magnitudes: a constant, since
 * the compiler can see it all.
 */
#define E4M3_BF16(i)	((i) == 0x7f ? 0x7fc0 : (i) >= 8 ? ((i) + 120 * 8) << 4 : \
			 (i) >= 4 ? (120 << 7) + ((i) - 4) * 32 : \
			 (i) >= 2 ? (119 << 7) + ((i) - 2) * 64 : (i) ? 118 << 7 : 0)
#define E5M2_BF16(i)	((i) > 0x7c ? 0x7fc0 : (i) == 0x7c ? 0x7f80 : \
			 (i) >= 4 ? ((i) + 112 * 4) << 5 : \
			 (i) >= 2 ? (112 << 7) + ((i) - 2) * 64 : (i) ? 111 << 7 : 0)

#define FOUR(f, shift, i) \
	(f(i) >> (shift) & 0xff), (f((i) + 1) >> (shift) & 0xff), \
	(f((i) + 2) >> (shift) & 0xff), (f((i) + 3) >> (shift) & 0xff)
#define SIXTEEN(f, shift, i) \
	FOUR(f, shift, i), FOUR(f, shift, (i) + 4), FOUR(f, shift, (i) + 8), \
	FOUR(f, shift, (i) + 12)
#define TABLE(f, shift) { \
	SIXTEEN(f, shift, 0), SIXTEEN(f, shift, 16), SIXTEEN(f, shift, 32), SIXTEEN(f, shift, 48), \
	SIXTEEN(f, shift, 64), SIXTEEN(f, shift, 80), SIXTEEN(f, shift, 96), SIXTEEN(f, shift, 112) }

_Alignas(64) static const uint8_t e4m3_table[2][128] = { TABLE(E4M3_BF16, 0), TABLE(E4M3_BF16, 8) };
_Alignas(64) static const uint8_t e5m2_table[2][128] = { TABLE(E5M2_BF16, 0), TABLE(E5M2_BF16, 8) };

TPACK GEMM_INLINE __m512i look_up(__m512i x, const uint8_t table[128])
{
	/* The uppermost bit, the sign, does not choose. */
	return _mm512_permutex2var_epi8(_mm512_load_si512(table), x,
					_mm512_load_si512(table + 64));
}

/* Element i of the four in each word: even ones are put together to BF16, or odd ones. */
TPACK GEMM_INLINE __m512i fp8_f32(__m512i x, unsigned int i, const uint8_t table[2][128])
{
	const __m512i even = _mm512_set1_epi32(0x00ff00ff);
	__m512i low = look_up(x, table[0]), high = look_up(x, table[1]), both;

	/* high | (x & sign), then lower bytes where even is set, upper bytes elsewhere */
	high = _mm512_ternarylogic_epi32(high, x, _mm512_set1_epi8(-128), 0xf8);
	if (i % 2)
		both = _mm512_ternarylogic_epi32(even, _mm512_srli_epi32(low, 8), high, 0xca);
	else
		both = _mm512_ternarylogic_epi32(even, low, _mm512_slli_epi32(high, 8), 0xca);
	return i / 2 ? _mm512_and_si512(both, _mm512_set1_epi32((int)0xffff0000)) :
		       _mm512_slli_epi32(both, 16);
}
#endif

/* Element i of each word, as FP32; any type but F16. */
TPACK GEMM_INLINE __m512i element_f32(__m512i x, unsigned int i, enum gemm_mode mode)
{
	const __m512i byte = _mm512_set1_epi32(0xff);
	__m512i v;

	switch (mode) {
	case GEMM_BF16:
		return i ? _mm512_and_si512(x, _mm512_set1_epi32((int)0xffff0000)) :
			   _mm512_slli_epi32(x, 16);
	case GEMM_I4_F32:
	case GEMM_E2M1:
		return nibbles_f32(_mm512_srli_epi32(x, 4 * i), mode);
	case GEMM_I8_F32:
		v = _mm512_srai_epi32(_mm512_slli_epi32(x, 24 - 8 * i), 24);
		return _mm512_castps_si512(_mm512_cvtepi32_ps(v));
#ifdef PACK_VBMI
	case GEMM_E4M3:
		return fp8_f32(x, i, e4m3_table);
	case GEMM_E5M2:
		return fp8_f32(x, i, e5m2_table);
#endif
	case GEMM_UE8M0:
		/* 2^(x - 127), of which 2^-127 is subnormal, and one NaN, which an infinity is not. */
		x = _mm512_and_si512(_mm512_srli_epi32(x, 8 * i), byte);
		v = _mm512_slli_epi32(x, 23);
		v = _mm512_mask_mov_epi32(v, _mm512_testn_epi32_mask(x, x),
					  _mm512_set1_epi32(0x00400000));
		return _mm512_mask_mov_epi32(v, _mm512_cmpeq_epi32_mask(x, byte),
					     _mm512_set1_epi32((int)GEMM_CANONICAL_NAN));
	default:
		return x;
	}
}

typedef int any_word __attribute__((aligned(1), may_alias));

/* Each of 16 consecutive 4-bit elements in the lowest bits of its word. */
TPACK GEMM_INLINE __m512i spread_nibbles(const uint8_t *p)
{
	const __m512i shift = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24,
						28);
	/* Two loads, which broadcast; one of both would go by way of a general register. */
	const any_word *word = (const any_word *)(const void *)p;

	return _mm512_srlv_epi32(_mm512_mask_set1_epi32(_mm512_set1_epi32(word[0]), 0xff00, word[1]),
				 shift);
}

/* Up to 16 units from consecutive elements; bytes past the mask read as zero. */
TPACK GEMM_INLINE __m512i load_units(const uint8_t *p, size_t elems, enum gemm_mode mode)
{
	__mmask16 m16 = elems >= 16 ? 0xffff : (__mmask16)((1u << elems) - 1);
	__mmask64 m64;
	__m512i v;

	switch (mode) {
	case GEMM_F32:
		return _mm512_maskz_loadu_epi32(m16, p);
	case GEMM_BF16:
		v = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m16, p));
		return _mm512_slli_epi32(v, 16);
	case GEMM_F16:
		return _mm512_castps_si512(_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m16, p)));
	case GEMM_I4_F32:
	case GEMM_E2M1:
		if (elems >= 16)
			return nibbles_f32(spread_nibbles(p), mode);
		m16 = (__mmask16)((1u << (elems + 1) / 2) - 1);
		v = _mm512_cvtepu8_epi64(_mm_maskz_loadu_epi8(m16, p));
		/* The upper half of a byte belongs to the upper half of 64 bits. */
		return nibbles_f32(_mm512_or_si512(v, _mm512_slli_epi64(v, 28)), mode);
	case GEMM_I8:
	case GEMM_I8_BIASED:
		m64 = elems >= 64 ? ~0ull : (1ull << elems) - 1;
		v = _mm512_maskz_loadu_epi8(m64, p);
		return mode == GEMM_I8_BIASED ? _mm512_xor_si512(v, _mm512_set1_epi8(-128)) : v;
	default:
		return element_f32(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(m16, p)), 0, mode);
	}
}

/* Each quarter of four vectors is 4 x 4 words: their transpose. */
TPACK GEMM_INLINE void transpose_quarters(__m512i r[4])
{
	__m512i a = _mm512_unpacklo_epi32(r[0], r[1]), b = _mm512_unpackhi_epi32(r[0], r[1]);
	__m512i c = _mm512_unpacklo_epi32(r[2], r[3]), d = _mm512_unpackhi_epi32(r[2], r[3]);

	r[0] = _mm512_unpacklo_epi64(a, c);
	r[1] = _mm512_unpackhi_epi64(a, c);
	r[2] = _mm512_unpacklo_epi64(b, d);
	r[3] = _mm512_unpackhi_epi64(b, d);
}

/* out[i] = element i of every row: a 16 x 16 transpose of 32-bit words. */
TPACK GEMM_INLINE void transpose16(__m512i r[16])
{
	GEMM_BUFFER __m512i t[16];

	GEMM_UNROLL
	for (int i = 0; i < 16; i += 4)
		transpose_quarters(r + i);
	GEMM_UNROLL
	for (int i = 0; i < 4; i++) {
		t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
		t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
		t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
		t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
	}
	GEMM_UNROLL
	for (int i = 0; i < 4; i++) {
		r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
		r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
		r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
		r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
	}
}

/*
 * The same of 64 bytes of each row in memory: quarters come to their places as they are loaded, by the
 * ports that multiply. What is left is to do within quarters.
 */
TPACK GEMM_INLINE void load_transposed16(__m512i r[16], const uint8_t *const *rows, size_t at)
{
	GEMM_UNROLL
	for (unsigned int i = 0; i < 16; i++) {
		const size_t off = at + i / 4 * 16;
		__m128i quarter[4];

		GEMM_UNROLL
		for (unsigned int q = 0; q < 4; q++)
			quarter[q] = _mm_loadu_si128((const void *)(rows[4 * q + i % 4] + off));
		r[i] = _mm512_castsi128_si512(quarter[0]);
		r[i] = _mm512_inserti32x4(r[i], quarter[1], 1);
		r[i] = _mm512_inserti32x4(r[i], quarter[2], 2);
		r[i] = _mm512_inserti32x4(r[i], quarter[3], 3);
		if (i % 4 == 3)
			transpose_quarters(r + i - 3);
	}
}

/* 16 words, or of F16 half as many, of each of up to 16 rows: lane i of r[j] is of row i. */
TPACK GEMM_INLINE void load_words(__m512i r[16], const uint8_t *const *rows, unsigned int count,
				  size_t at, size_t k, enum gemm_mode mode)
{
	size_t bytes = (k * mode_bits(mode) + 7) / 8;
	__mmask64 m = bytes >= 64 ? ~0ull : (1ull << bytes) - 1;

	if (bytes == 64 && count >= 16) {
		load_transposed16(r, rows, at);
		return;
	}
	GEMM_UNROLL
	for (unsigned int i = 0; i < 16; i++) {
		/* Lanes without a row get the first one's elements. */
		const uint8_t *p = rows[i < count ? i : 0] + at;

		r[i] = mode == GEMM_F16 ? load_units(p, k, mode) : _mm512_maskz_loadu_epi8(m, p);
	}
	transpose16(r);
}

/* What happens to elements once they are FP32: known when the code is compiled. */
enum scaling { PLAIN, SCALED, SHIFTED_SCALED };

/* What 16 lanes are scaled by. */
struct scale16 {
	__m512 scale, zero;
};

TPACK GEMM_INLINE struct scale16 load_scale(const struct gemm_lane_scales *sc, size_t k,
					    unsigned int lanes, unsigned int lane,
					    const enum scaling how)
{
	size_t at = how == PLAIN ? 0 : ((sc->skip + k) >> sc->shift) * lanes + lane;

	return (struct scale16){
		how == PLAIN ? _mm512_setzero_ps() : _mm512_load_ps(sc->scale + at),
		how == SHIFTED_SCALED ? _mm512_load_ps(sc->zero + at) : _mm512_setzero_ps(),
	};
}

TPACK GEMM_INLINE __m512i scale_units(__m512i v, struct scale16 s, const enum scaling how)
{
	__m512 f = _mm512_castsi512_ps(v);

	if (how == PLAIN)
		return v;
	/* Without zero points there is nothing to subtract: -0 stays as it is, too. */
	if (how == SHIFTED_SCALED)
		f = _mm512_sub_ps(f, s.zero);
	return _mm512_castps_si512(_mm512_mul_ps(f, s.scale));
}

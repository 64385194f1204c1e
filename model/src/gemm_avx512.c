// SPDX-License-Identifier: MIT
/*
 * Matmul kernels for AVX-512 (F, BW, DQ, VL) and AVX512-VNNI.
 *
 * Idea: a micro tile of 14 x 32 keeps 28 accumulators in registers; each step of k is two
 * loads of B and 14 broadcasts of A. Every row count has its own instance of the loop, so that
 * edges cost what they hold. INT8 with VNNI is the same shape, four k per step:
 * vpdpbusd multiplies unsigned by signed bytes, so A is packed as a + 128 and the sums start
 * at -128 * sum(b), which makes the result exact modulo 2^32 (the non-saturating form wraps).
 *
 * Compiled with function attributes, so that no other file gets these instructions.
 * No state, no locking.
 */
#include "gemm_priv.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define MR	14u
#define NR	32u
#define W	16u	/* lanes of a register */
#define AHEAD	32u	/* steps of k between the prefetch of a packed operand and its use */

#define T512	GEMM_NO_SANITIZE __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,f16c,avx2")))
#define TVNNI	GEMM_NO_SANITIZE __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c,avx2")))

static bool have_avx512(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
	       __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool have_avx512vnni(void)
{
	return have_avx512() && __builtin_cpu_supports("avx512vnni");
}

/* Packing */

static inline unsigned int mode_bits(enum gemm_mode mode)
{
	switch (mode) {
	case GEMM_F32:
		return 32;
	case GEMM_BF16:
	case GEMM_F16:
		return 16;
	case GEMM_I8:
	case GEMM_I8_BIASED:
		return 8;
	default:
		return 4;
	}
}

/* What the 4-bit elements are as FP32. */
T512 GEMM_INLINE __m512 nibble_table(enum gemm_mode mode)
{
	if (mode == GEMM_I4_F32)
		return _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1);
	return _mm512_setr_ps(0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f, -0.0f, -0.5f, -1.0f,
			      -1.5f, -2.0f, -3.0f, -4.0f, -6.0f);
}

/* The lowest four bits of each word choose. */
T512 GEMM_INLINE __m512i nibbles_f32(__m512i x, enum gemm_mode mode)
{
	return _mm512_castps_si512(_mm512_permutexvar_ps(x, nibble_table(mode)));
}

/* Bytes of 0 to 15, sign-extended from four bits. */
T512 GEMM_INLINE __m512i nibbles_i8(__m512i x)
{
	const __m512i table = _mm512_broadcast_i32x4(
		_mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1));

	return _mm512_shuffle_epi8(table, x);
}

static inline bool is_nibble(enum gemm_mode mode)
{
	return mode == GEMM_I4 || mode == GEMM_I4_F32 || mode == GEMM_E2M1;
}

/* Up to 16 units from consecutive elements; bytes past the mask read as zero. */
T512 GEMM_INLINE __m512i load_units(const uint8_t *p, size_t elems, enum gemm_mode mode)
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
		m16 = elems >= 16 ? 0xff : (__mmask16)((1u << (elems + 1) / 2) - 1);
		v = _mm512_cvtepu8_epi64(_mm_maskz_loadu_epi8(m16, p));
		/* The upper half of a byte belongs to the upper half of 64 bits. */
		return nibbles_f32(_mm512_or_si512(v, _mm512_slli_epi64(v, 28)), mode);
	default:
		m64 = elems >= 64 ? ~0ull : (1ull << elems) - 1;
		v = _mm512_maskz_loadu_epi8(m64, p);
		return mode == GEMM_I8_BIASED ? _mm512_xor_si512(v, _mm512_set1_epi8(-128)) : v;
	}
}

/* out[i] = element i of every row: a 16 x 16 transpose of 32-bit words. */
T512 GEMM_INLINE void transpose16(__m512i r[16])
{
	__m512i t[16];

	GEMM_UNROLL
	for (int i = 0; i < 16; i += 2) {
		t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
		t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
	}
	GEMM_UNROLL
	for (int i = 0; i < 16; i += 4) {
		r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
		r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
		r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
		r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
	}
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

/* 16 lanes of a sliver from up to 16 rows. */
T512 GEMM_INLINE void pack_rows16(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
				  unsigned int count, size_t k, enum gemm_mode mode, unsigned int ku)
{
	size_t es = mode_bits(mode) / 8;

	for (size_t k0 = 0; k0 < k; k0 += 16 * ku) {
		size_t units = (k - k0 + ku - 1) / ku;
		__m512i r[16];

		GEMM_UNROLL
		for (unsigned int i = 0; i < 16; i++)
			r[i] = i < count ? load_units(rows[i] + k0 * es, k - k0, mode) :
					   _mm512_setzero_si512();
		transpose16(r);
		if (units >= 16) {
			GEMM_UNROLL
			for (unsigned int i = 0; i < 16; i++)
				_mm512_store_si512(dst + i * lanes, r[i]);
			dst += 16 * lanes;
		} else {
			GEMM_UNROLL
			for (unsigned int i = 0; i < 16; i++)
				if (i < units)
					_mm512_store_si512(dst + i * lanes, r[i]);
		}
	}
}

/* Eight 4-bit elements of each lane: as many units of FP32, or two of bytes. */
T512 GEMM_INLINE void store_nibbles(uint32_t *dst, unsigned int lanes, __m512i x, size_t units,
				    enum gemm_mode mode)
{
	const __m512i two = _mm512_set1_epi32(0x00ff00ff), four = _mm512_set1_epi32(0x0f0f0f0f);
	const unsigned int ku = mode == GEMM_I4 ? 4 : 1;

	GEMM_UNROLL
	for (unsigned int i = 0; i < 8 / ku; i++) {
		__m512i v = _mm512_srli_epi32(x, 4 * ku * i);

		if (mode == GEMM_I4) {
			v = _mm512_and_si512(v, _mm512_set1_epi32(0xffff));
			v = _mm512_and_si512(_mm512_or_si512(v, _mm512_slli_epi32(v, 8)), two);
			v = _mm512_and_si512(_mm512_or_si512(v, _mm512_slli_epi32(v, 4)), four);
			v = nibbles_i8(v);
		} else {
			v = nibbles_f32(v, mode);
		}
		if (i < units)
			_mm512_store_si512(dst + i * lanes, v);
	}
}

/* pack_rows16() of 4-bit elements: words of eight are transposed, and taken apart after that. */
T512 GEMM_INLINE void pack_nibbles16(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
				     unsigned int count, size_t k, enum gemm_mode mode)
{
	const unsigned int ku = mode == GEMM_I4 ? 4 : 1;

	for (size_t k0 = 0; k0 < k; k0 += 128) {
		size_t bytes = (k - k0 + 1) / 2;
		__mmask64 m = bytes >= 64 ? ~0ull : (1ull << bytes) - 1;
		__m512i r[16];

		GEMM_UNROLL
		for (unsigned int i = 0; i < 16; i++)
			r[i] = i < count ? _mm512_maskz_loadu_epi8(m, rows[i] + k0 / 2) :
					   _mm512_setzero_si512();
		transpose16(r);
		/* Of an odd number, the last byte's upper half may be anything; A is zero there. */
		GEMM_UNROLL
		for (unsigned int i = 0; i < 16; i++)
			if (k0 + 8 * i < k)
				store_nibbles(dst + (k0 + 8 * i) / ku * lanes, lanes, r[i],
					      (k - k0 - 8 * i + ku - 1) / ku, mode);
	}
}

T512 GEMM_INLINE void pack_rows_mode(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
				     unsigned int count, size_t k, enum gemm_mode mode,
				     unsigned int ku)
{
	for (unsigned int half = 0; half < lanes; half += W) {
		unsigned int n = count > half ? count - half : 0;

		if (is_nibble(mode))
			pack_nibbles16(dst + half, lanes, rows + half, n, k, mode);
		else
			pack_rows16(dst + half, lanes, rows + half, n, k, mode, ku);
	}
}

T512 static void pack_rows_f(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
			     unsigned int count, size_t k, enum gemm_mode mode)
{
	if (mode == GEMM_F32)
		pack_rows_mode(dst, lanes, rows, count, k, GEMM_F32, 1);
	else if (mode == GEMM_BF16)
		pack_rows_mode(dst, lanes, rows, count, k, GEMM_BF16, 1);
	else if (mode == GEMM_F16)
		pack_rows_mode(dst, lanes, rows, count, k, GEMM_F16, 1);
	else if (mode == GEMM_I4_F32)
		pack_rows_mode(dst, lanes, rows, count, k, GEMM_I4_F32, 1);
	else
		pack_rows_mode(dst, lanes, rows, count, k, GEMM_E2M1, 1);
}

T512 static void pack_rows_i(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
			     unsigned int count, size_t k, enum gemm_mode mode)
{
	if (mode == GEMM_I8_BIASED)
		pack_rows_mode(dst, lanes, rows, count, k, GEMM_I8_BIASED, 4);
	else if (mode == GEMM_I4)
		pack_rows_mode(dst, lanes, rows, count, k, GEMM_I4, 4);
	else
		pack_rows_mode(dst, lanes, rows, count, k, GEMM_I8, 4);
}

T512 GEMM_INLINE void pack_cols_mode(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
				     size_t off, unsigned int count, size_t k, enum gemm_mode mode)
{
	unsigned int second = count > W ? count - W : 0;
	size_t off2 = second ? off + W * mode_bits(mode) / 8 : off;

	for (size_t i = 0; i < k; i++, dst += lanes) {
		_mm512_store_si512(dst, load_units(rows[i] + off, count, mode));
		if (lanes > W)
			_mm512_store_si512(dst + W, load_units(rows[i] + off2, second, mode));
	}
}

T512 static void pack_cols_f(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
			     size_t off, unsigned int count, size_t k, enum gemm_mode mode)
{
	if (mode == GEMM_F32)
		pack_cols_mode(dst, lanes, rows, off, count, k, GEMM_F32);
	else if (mode == GEMM_BF16)
		pack_cols_mode(dst, lanes, rows, off, count, k, GEMM_BF16);
	else if (mode == GEMM_F16)
		pack_cols_mode(dst, lanes, rows, off, count, k, GEMM_F16);
	else if (mode == GEMM_I4_F32)
		pack_cols_mode(dst, lanes, rows, off, count, k, GEMM_I4_F32);
	else
		pack_cols_mode(dst, lanes, rows, off, count, k, GEMM_E2M1);
}

/* Up to 32 integers as bytes. */
T512 GEMM_INLINE __m256i load_bytes(const uint8_t *p, unsigned int count, enum gemm_mode mode)
{
	const __m128i low = _mm_set1_epi8(0xf);
	__mmask32 m = count >= 32 ? ~0u : (1u << count) - 1;
	__m128i x, even, odd;

	if (mode != GEMM_I4)
		return _mm256_maskz_loadu_epi8(m, p);
	m = count >= 32 ? 0xffff : (1u << (count + 1) / 2) - 1;
	x = _mm_maskz_loadu_epi8((__mmask16)m, p);
	even = _mm_and_si128(x, low);
	odd = _mm_and_si128(_mm_srli_epi16(x, 4), low);
	return _mm512_castsi512_si256(nibbles_i8(_mm512_castsi256_si512(
		_mm256_set_m128i(_mm_unpackhi_epi8(even, odd), _mm_unpacklo_epi8(even, odd)))));
}

/* Up to 32 columns of up to four rows of integers, interleaved: one unit per column. */
T512 GEMM_INLINE void interleave4(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
				  size_t off, unsigned int count, size_t k, enum gemm_mode mode)
{
	const __m256i bias = _mm256_set1_epi8(mode == GEMM_I8_BIASED ? -128 : 0);
	__m256i r[4], t[4], u[4];

	GEMM_UNROLL
	for (unsigned int i = 0; i < 4; i++)
		r[i] = _mm256_xor_si256(bias, i < k ? load_bytes(rows[i] + off, count, mode) :
						      _mm256_setzero_si256());
	t[0] = _mm256_unpacklo_epi8(r[0], r[1]);
	t[1] = _mm256_unpackhi_epi8(r[0], r[1]);
	t[2] = _mm256_unpacklo_epi8(r[2], r[3]);
	t[3] = _mm256_unpackhi_epi8(r[2], r[3]);
	GEMM_UNROLL
	for (unsigned int i = 0; i < 2; i++) {
		u[2 * i] = _mm256_unpacklo_epi16(t[i], t[i + 2]);
		u[2 * i + 1] = _mm256_unpackhi_epi16(t[i], t[i + 2]);
	}
	/* Each half of these is four columns; those of the upper halves are 16 further. */
	GEMM_UNROLL
	for (unsigned int i = 0; i < 2; i++) {
		__m256i *out = (__m256i *)dst + i;

		_mm256_store_si256(out, _mm256_permute2x128_si256(u[2 * i], u[2 * i + 1], 0x20));
		if (lanes > W)
			_mm256_store_si256(out + 2, _mm256_permute2x128_si256(u[2 * i], u[2 * i + 1],
									      0x31));
	}
}

T512 GEMM_INLINE void interleave_mode(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
				      size_t off, unsigned int count, size_t k, enum gemm_mode mode)
{
	for (size_t i = 0; i < k; i += 4, dst += lanes)
		interleave4(dst, lanes, rows + i, off, count, k - i, mode);
}

T512 static void pack_cols_i(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
			     size_t off, unsigned int count, size_t k, enum gemm_mode mode)
{
	if (mode == GEMM_I8_BIASED)
		interleave_mode(dst, lanes, rows, off, count, k, GEMM_I8_BIASED);
	else if (mode == GEMM_I4)
		interleave_mode(dst, lanes, rows, off, count, k, GEMM_I4);
	else
		interleave_mode(dst, lanes, rows, off, count, k, GEMM_I8);
}

/* The next tile begins with sums that are some thousand cycles away, if they are not asked for. */
T512 GEMM_INLINE void prefetch_next(const uint32_t *d)
{
	_mm_prefetch((const char *)(d + NR), _MM_HINT_T0);
}

/* FP32 tile */

T512 GEMM_INLINE __m512 finish_f32(__m512 v, bool last)
{
	const __m512i nan = _mm512_set1_epi32((int)GEMM_CANONICAL_NAN);

	if (!last)
		return v;
	return _mm512_castsi512_ps(
		_mm512_mask_mov_epi32(_mm512_castps_si512(v),
				      _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), nan));
}

T512 GEMM_INLINE void tile_f32_n(const unsigned int mr, const unsigned int nv, unsigned int cols,
				 size_t units, const float *a, const float *b,
				 const uint32_t *const *cin, uint32_t *const *dout, size_t col,
				 bool last)
{
	__m512 acc[MR][2];
	__mmask16 m[2];

	m[0] = cols >= W ? 0xffff : (__mmask16)((1u << cols) - 1);
	m[1] = cols >= NR ? 0xffff : (__mmask16)((1u << (cols - (nv - 1) * W)) - 1);
	GEMM_UNROLL
	for (unsigned int r = 0; r < mr; r++)
		GEMM_UNROLL
		for (unsigned int v = 0; v < nv; v++) {
			prefetch_next(dout[r] + col + v * W);
			acc[r][v] = cin ? _mm512_maskz_loadu_ps(m[v], cin[r] + col + v * W) :
					  _mm512_setzero_ps();
		}
	for (size_t k = 0; k < units; k++, a += 16, b += NR) {
		__m512 bv[2];

		_mm_prefetch((const char *)(a + 16 * AHEAD), _MM_HINT_T0);
		_mm_prefetch((const char *)(b + NR * AHEAD), _MM_HINT_T0);
		_mm_prefetch((const char *)(b + NR * AHEAD + W), _MM_HINT_T0);
		GEMM_UNROLL
		for (unsigned int v = 0; v < nv; v++)
			bv[v] = _mm512_load_ps(b + v * W);
		GEMM_UNROLL
		for (unsigned int r = 0; r < mr; r++) {
			__m512 av = _mm512_set1_ps(a[r]);

			GEMM_UNROLL
			for (unsigned int v = 0; v < nv; v++)
				acc[r][v] = _mm512_fmadd_ps(av, bv[v], acc[r][v]);
		}
	}
	GEMM_UNROLL
	for (unsigned int r = 0; r < mr; r++)
		GEMM_UNROLL
		for (unsigned int v = 0; v < nv; v++)
			_mm512_mask_storeu_ps(dout[r] + col + v * W, m[v],
					      finish_f32(acc[r][v], last));
}

#define F32_CASE(n) \
	case n: \
		if (cols > W) \
			tile_f32_n(n, 2, cols, units, fa, fb, cin, dout, col, last); \
		else \
			tile_f32_n(n, 1, cols, units, fa, fb, cin, dout, col, last); \
		break

T512 static void tile_f32(unsigned int rows, unsigned int cols, size_t units, const uint32_t *a,
			  const uint32_t *b, const uint32_t *const *cin, uint32_t *const *dout,
			  size_t col, bool last)
{
	const float *fa = (const float *)a, *fb = (const float *)b;

	switch (rows) {
	F32_CASE(1); F32_CASE(2); F32_CASE(3); F32_CASE(4); F32_CASE(5); F32_CASE(6); F32_CASE(7);
	F32_CASE(8); F32_CASE(9); F32_CASE(10); F32_CASE(11); F32_CASE(12); F32_CASE(13);
	F32_CASE(14);
	}
}

/* INT8 tile with VNNI */

TVNNI static void finish_b_vnni(uint32_t *sliver, size_t units)
{
	const __m512i ones = _mm512_set1_epi8(1);
	__m512i s0 = _mm512_setzero_si512(), s1 = s0;

	for (size_t u = 0; u < units; u++) {
		const uint32_t *b = sliver + NR + u * NR;

		s0 = _mm512_dpbusd_epi32(s0, ones, _mm512_load_si512(b));
		s1 = _mm512_dpbusd_epi32(s1, ones, _mm512_load_si512(b + W));
	}
	/* -128 * sum, modulo 2^32 */
	s0 = _mm512_slli_epi32(_mm512_sub_epi32(_mm512_setzero_si512(), s0), 7);
	s1 = _mm512_slli_epi32(_mm512_sub_epi32(_mm512_setzero_si512(), s1), 7);
	_mm512_store_si512(sliver, s0);
	_mm512_store_si512(sliver + W, s1);
}

TVNNI GEMM_INLINE void tile_i8_n(const unsigned int mr, const unsigned int nv, unsigned int cols,
				 size_t units, const uint32_t *a, const uint32_t *b,
				 const uint32_t *const *cin, uint32_t *const *dout, size_t col)
{
	__m512i acc[MR][2];
	__mmask16 m[2];

	m[0] = cols >= W ? 0xffff : (__mmask16)((1u << cols) - 1);
	m[1] = cols >= NR ? 0xffff : (__mmask16)((1u << (cols - (nv - 1) * W)) - 1);
	GEMM_UNROLL
	for (unsigned int r = 0; r < mr; r++)
		GEMM_UNROLL
		for (unsigned int v = 0; v < nv; v++) {
			prefetch_next(dout[r] + col + v * W);
			acc[r][v] = _mm512_load_si512(b + v * W);
			if (cin)
				acc[r][v] = _mm512_add_epi32(acc[r][v],
					_mm512_maskz_loadu_epi32(m[v], cin[r] + col + v * W));
		}
	b += NR;
	for (size_t k = 0; k < units; k++, a += 16, b += NR) {
		__m512i bv[2];

		_mm_prefetch((const char *)(a + 16 * AHEAD), _MM_HINT_T0);
		_mm_prefetch((const char *)(b + NR * AHEAD), _MM_HINT_T0);
		_mm_prefetch((const char *)(b + NR * AHEAD + W), _MM_HINT_T0);
		GEMM_UNROLL
		for (unsigned int v = 0; v < nv; v++)
			bv[v] = _mm512_load_si512(b + v * W);
		GEMM_UNROLL
		for (unsigned int r = 0; r < mr; r++) {
			__m512i av = _mm512_set1_epi32((int)a[r]);

			GEMM_UNROLL
			for (unsigned int v = 0; v < nv; v++)
				acc[r][v] = _mm512_dpbusd_epi32(acc[r][v], av, bv[v]);
		}
	}
	GEMM_UNROLL
	for (unsigned int r = 0; r < mr; r++)
		GEMM_UNROLL
		for (unsigned int v = 0; v < nv; v++)
			_mm512_mask_storeu_epi32(dout[r] + col + v * W, m[v], acc[r][v]);
}

#define I8_CASE(n) \
	case n: \
		if (cols > W) \
			tile_i8_n(n, 2, cols, units, a, b, cin, dout, col); \
		else \
			tile_i8_n(n, 1, cols, units, a, b, cin, dout, col); \
		break

TVNNI static void tile_i8(unsigned int rows, unsigned int cols, size_t units, const uint32_t *a,
			  const uint32_t *b, const uint32_t *const *cin, uint32_t *const *dout,
			  size_t col, bool last)
{
	(void)last;
	switch (rows) {
	I8_CASE(1); I8_CASE(2); I8_CASE(3); I8_CASE(4); I8_CASE(5); I8_CASE(6); I8_CASE(7);
	I8_CASE(8); I8_CASE(9); I8_CASE(10); I8_CASE(11); I8_CASE(12); I8_CASE(13); I8_CASE(14);
	}
}

const struct gemm_kernel gemm_avx512_f32 = {
	.name = "avx512-f32", .supported = have_avx512, .isa = ONPU_GEMM_ISA_AVX512,
	.nibbles = true,
	.mr = MR, .nr = NR, .a_lanes = 16, .ku = 1, .kc = 768, .tile_m = 16, .tile_n = 8,
	.pack_rows = pack_rows_f, .pack_cols = pack_cols_f, .tile = tile_f32,
};

const struct gemm_kernel gemm_avx512vnni_i8 = {
	.name = "avx512vnni-i8", .supported = have_avx512vnni, .isa = ONPU_GEMM_ISA_AVX512VNNI,
	.integer = true, .nibbles = true, .a_biased = true, .b_head = NR,
	.mr = MR, .nr = NR, .a_lanes = 16, .ku = 4, .kc = 3072, .tile_m = 16, .tile_n = 8,
	.pack_rows = pack_rows_i, .pack_cols = pack_cols_i, .finish_b = finish_b_vnni,
	.tile = tile_i8,
};

#endif

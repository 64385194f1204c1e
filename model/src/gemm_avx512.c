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
#define AHEAD	16u	/* steps of k between the prefetch of a packed operand and its use */

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

static inline unsigned int mode_bytes(enum gemm_mode mode)
{
	return mode == GEMM_BF16 || mode == GEMM_F16 ? 2 : 4;
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
	size_t es = ku == 4 ? 1 : mode_bytes(mode);

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

T512 GEMM_INLINE void pack_rows_mode(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
				     unsigned int count, size_t k, enum gemm_mode mode,
				     unsigned int ku)
{
	pack_rows16(dst, lanes, rows, count, k, mode, ku);
	if (lanes > W)
		pack_rows16(dst + W, lanes, rows + W, count > W ? count - W : 0, k, mode, ku);
}

T512 static void pack_rows_f(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
			     unsigned int count, size_t k, enum gemm_mode mode)
{
	if (mode == GEMM_F32)
		pack_rows_mode(dst, lanes, rows, count, k, GEMM_F32, 1);
	else if (mode == GEMM_BF16)
		pack_rows_mode(dst, lanes, rows, count, k, GEMM_BF16, 1);
	else
		pack_rows_mode(dst, lanes, rows, count, k, GEMM_F16, 1);
}

T512 static void pack_rows_i(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
			     unsigned int count, size_t k, enum gemm_mode mode)
{
	if (mode == GEMM_I8_BIASED)
		pack_rows_mode(dst, lanes, rows, count, k, GEMM_I8_BIASED, 4);
	else
		pack_rows_mode(dst, lanes, rows, count, k, GEMM_I8, 4);
}

T512 GEMM_INLINE void pack_cols_mode(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
				     size_t off, unsigned int count, size_t k, enum gemm_mode mode)
{
	unsigned int second = count > W ? count - W : 0;
	size_t off2 = second ? off + W * mode_bytes(mode) : off;

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
	else
		pack_cols_mode(dst, lanes, rows, off, count, k, GEMM_F16);
}

/* 16 columns of four byte rows, interleaved: one unit per column. */
T512 GEMM_INLINE void interleave16(uint32_t *dst, const uint8_t *const *rows, size_t off,
				   unsigned int count, size_t k, __m128i bias)
{
	__mmask16 m = count >= 16 ? 0xffff : (__mmask16)((1u << count) - 1);
	__m128i r0 = _mm_maskz_loadu_epi8(m, rows[0] + off), r1 = _mm_setzero_si128(), r2 = r1, r3 = r1;
	__m128i lo, hi, lo2, hi2;

	if (k > 1)
		r1 = _mm_maskz_loadu_epi8(m, rows[1] + off);
	if (k > 2)
		r2 = _mm_maskz_loadu_epi8(m, rows[2] + off);
	if (k > 3)
		r3 = _mm_maskz_loadu_epi8(m, rows[3] + off);
	lo = _mm_unpacklo_epi8(r0, r1);
	hi = _mm_unpackhi_epi8(r0, r1);
	lo2 = _mm_unpacklo_epi8(r2, r3);
	hi2 = _mm_unpackhi_epi8(r2, r3);
	_mm_store_si128((__m128i *)dst, _mm_xor_si128(_mm_unpacklo_epi16(lo, lo2), bias));
	_mm_store_si128((__m128i *)dst + 1, _mm_xor_si128(_mm_unpackhi_epi16(lo, lo2), bias));
	_mm_store_si128((__m128i *)dst + 2, _mm_xor_si128(_mm_unpacklo_epi16(hi, hi2), bias));
	_mm_store_si128((__m128i *)dst + 3, _mm_xor_si128(_mm_unpackhi_epi16(hi, hi2), bias));
}

T512 static void pack_cols_i(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
			     size_t off, unsigned int count, size_t k, enum gemm_mode mode)
{
	__m128i bias = _mm_set1_epi8(mode == GEMM_I8_BIASED ? -128 : 0);
	unsigned int second = count > W ? count - W : 0;

	for (size_t i = 0; i < k; i += 4, dst += lanes) {
		interleave16(dst, rows + i, off, count, k - i, bias);
		if (lanes > W)
			interleave16(dst + W, rows + i, second ? off + W : off, second, k - i, bias);
	}
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
			_mm_prefetch((const char *)(dout[r] + col + v * W), _MM_HINT_T0);
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
			_mm_prefetch((const char *)(dout[r] + col + v * W), _MM_HINT_T0);
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
	.mr = MR, .nr = NR, .a_lanes = 16, .ku = 1, .kc = 512, .tile_m = 24, .tile_n = 8,
	.pack_rows = pack_rows_f, .pack_cols = pack_cols_f, .tile = tile_f32,
};

const struct gemm_kernel gemm_avx512vnni_i8 = {
	.name = "avx512vnni-i8", .supported = have_avx512vnni, .isa = ONPU_GEMM_ISA_AVX512VNNI,
	.integer = true, .a_biased = true, .b_head = NR,
	.mr = MR, .nr = NR, .a_lanes = 16, .ku = 4, .kc = 2048, .tile_m = 24, .tile_n = 8,
	.pack_rows = pack_rows_i, .pack_cols = pack_cols_i, .finish_b = finish_b_vnni,
	.tile = tile_i8,
};

#endif

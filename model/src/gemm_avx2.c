// SPDX-License-Identifier: MIT
/*
 * Matmul kernels for AVX2 with FMA and F16C, and for AVX-VNNI.
 *
 * Idea: a micro tile of 6 x 16 keeps 12 accumulators in registers; each step of k is two loads
 * of B and 6 broadcasts of A. INT8 without VNNI widens to 16 bits while packing and multiplies
 * pairs of k (vpmaddwd), which is exact, unlike vpmaddubsw, which saturates. With AVX-VNNI it
 * is the scheme of gemm_avx512.c in 256 bits. No state, no locking.
 */
#include <string.h>

#include "gemm_priv.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define MR	6u
#define NR	16u
#define W	8u	/* lanes of a register */
#define AHEAD	16u	/* steps of k between the prefetch of a packed operand and its use */

#define TAVX2	GEMM_NO_SANITIZE __attribute__((target("avx2,fma,f16c")))
#define TVNNI	GEMM_NO_SANITIZE __attribute__((target("avx2,fma,f16c,avxvnni")))

static bool have_avx2(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool have_avxvnni(void)
{
	uint32_t a = 7, b, c = 1, d;

	if (!have_avx2())
		return false;
	/* CPUID.(7,1):EAX[4]; older compilers do not know the name. */
	__asm__("xchg %%rbx, %q1\n\tcpuid\n\txchg %%rbx, %q1"
		: "+a" (a), "=&r" (b), "+c" (c), "=d" (d));
	return a & (1u << 4);
}

/* Packing */

static inline unsigned int elem_bytes(enum gemm_mode mode, unsigned int ku)
{
	return ku > 1 ? 1 : mode == GEMM_F32 ? 4 : 2;
}

/* Eight units from 8 * ku consecutive elements. */
TAVX2 GEMM_INLINE __m256i load_units8(const uint8_t *p, enum gemm_mode mode, unsigned int ku)
{
	__m256i v;

	if (ku == 2)
		return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p));
	switch (mode) {
	case GEMM_BF16:
		v = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
		return _mm256_slli_epi32(v, 16);
	case GEMM_F16:
		return _mm256_castps_si256(_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)));
	default:
		return _mm256_loadu_si256((const __m256i *)p);
	}
}

/* The same of elems elements, zeros behind them. */
TAVX2 GEMM_INLINE __m256i load_units(const uint8_t *p, size_t elems, enum gemm_mode mode,
				     unsigned int ku)
{
	uint8_t tail[32] = { 0 };

	if (elems >= W * ku)
		return load_units8(p, mode, ku);
	memcpy(tail, p, elems * elem_bytes(mode, ku));
	return load_units8(tail, mode, ku);
}

TAVX2 GEMM_INLINE void transpose8(__m256i r[8])
{
	__m256i t[8];

	GEMM_UNROLL
	for (int i = 0; i < 8; i += 2) {
		t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
		t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
	}
	GEMM_UNROLL
	for (int i = 0; i < 8; i += 4) {
		r[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
		r[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
		r[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
		r[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
	}
	GEMM_UNROLL
	for (int i = 0; i < 4; i++) {
		t[i] = _mm256_permute2x128_si256(r[i], r[i + 4], 0x20);
		t[i + 4] = _mm256_permute2x128_si256(r[i], r[i + 4], 0x31);
	}
	GEMM_UNROLL
	for (int i = 0; i < 8; i++)
		r[i] = t[i];
}

/* Eight lanes of a sliver from up to eight rows. */
TAVX2 GEMM_INLINE void pack_rows8(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
				  unsigned int count, size_t k, enum gemm_mode mode, unsigned int ku)
{
	const __m256i bias = _mm256_set1_epi8(mode == GEMM_I8_BIASED ? -128 : 0);
	size_t es = elem_bytes(mode, ku);

	for (size_t k0 = 0; k0 < k; k0 += W * ku) {
		size_t units = (k - k0 + ku - 1) / ku;
		__m256i r[8];

		GEMM_UNROLL
		for (unsigned int i = 0; i < 8; i++) {
			r[i] = i < count ? load_units(rows[i] + k0 * es, k - k0, mode, ku) :
					   _mm256_setzero_si256();
			if (mode == GEMM_I8_BIASED)
				r[i] = _mm256_xor_si256(r[i], bias);
		}
		transpose8(r);
		GEMM_UNROLL
		for (unsigned int i = 0; i < 8; i++)
			if (i < units)
				_mm256_store_si256((__m256i *)(dst + i * lanes), r[i]);
		dst += W * lanes;
	}
}

TAVX2 GEMM_INLINE void pack_rows_mode(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
				      unsigned int count, size_t k, enum gemm_mode mode,
				      unsigned int ku)
{
	pack_rows8(dst, lanes, rows, count, k, mode, ku);
	if (lanes > W)
		pack_rows8(dst + W, lanes, rows + W, count > W ? count - W : 0, k, mode, ku);
}

TAVX2 static void pack_rows_f(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
			      unsigned int count, size_t k, enum gemm_mode mode,
			      const struct gemm_lane_scales *scales)
{
	(void)scales;
	if (mode == GEMM_F32)
		pack_rows_mode(dst, lanes, rows, count, k, GEMM_F32, 1);
	else if (mode == GEMM_BF16)
		pack_rows_mode(dst, lanes, rows, count, k, GEMM_BF16, 1);
	else
		pack_rows_mode(dst, lanes, rows, count, k, GEMM_F16, 1);
}

TAVX2 static void pack_rows_i16(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
				unsigned int count, size_t k, enum gemm_mode mode,
				const struct gemm_lane_scales *scales)
{
	(void)scales;
	(void)mode;
	pack_rows_mode(dst, lanes, rows, count, k, GEMM_I8, 2);
}

TAVX2 static void pack_rows_i8(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
			       unsigned int count, size_t k, enum gemm_mode mode,
			       const struct gemm_lane_scales *scales)
{
	(void)scales;
	if (mode == GEMM_I8_BIASED)
		pack_rows_mode(dst, lanes, rows, count, k, GEMM_I8_BIASED, 4);
	else
		pack_rows_mode(dst, lanes, rows, count, k, GEMM_I8, 4);
}

TAVX2 GEMM_INLINE void pack_cols_mode(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
				      size_t off, unsigned int count, size_t k, enum gemm_mode mode)
{
	unsigned int second = count > W ? count - W : 0;
	size_t off2 = second ? off + W * elem_bytes(mode, 1) : off;

	for (size_t i = 0; i < k; i++, dst += lanes) {
		_mm256_store_si256((__m256i *)dst, load_units(rows[i] + off, count, mode, 1));
		if (lanes > W)
			_mm256_store_si256((__m256i *)(dst + W),
					   load_units(rows[i] + off2, second, mode, 1));
	}
}

TAVX2 static void pack_cols_f(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
			      size_t off, unsigned int count, size_t k, enum gemm_mode mode,
			      const struct gemm_lane_scales *scales)
{
	(void)scales;
	if (mode == GEMM_F32)
		pack_cols_mode(dst, lanes, rows, off, count, k, GEMM_F32);
	else if (mode == GEMM_BF16)
		pack_cols_mode(dst, lanes, rows, off, count, k, GEMM_BF16);
	else
		pack_cols_mode(dst, lanes, rows, off, count, k, GEMM_F16);
}

TAVX2 GEMM_INLINE __m128i load_bytes8(const uint8_t *p, unsigned int count)
{
	uint64_t v = 0;

	if (count >= 8)
		return _mm_loadl_epi64((const __m128i *)p);
	memcpy(&v, p, count);
	return _mm_cvtsi64_si128((long long)v);
}

/* Eight columns of two byte rows: 16-bit pairs. */
TAVX2 GEMM_INLINE void interleave2(uint32_t *dst, const uint8_t *const *rows, size_t off,
				   unsigned int count, size_t k)
{
	__m128i r0 = load_bytes8(rows[0] + off, count);
	__m128i r1 = k > 1 ? load_bytes8(rows[1] + off, count) : _mm_setzero_si128();

	_mm256_store_si256((__m256i *)dst, _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(r0, r1)));
}

/* Eight columns of four byte rows. */
TAVX2 GEMM_INLINE void interleave4(uint32_t *dst, const uint8_t *const *rows, size_t off,
				   unsigned int count, size_t k, __m128i bias)
{
	__m128i z = _mm_setzero_si128();
	__m128i r0 = load_bytes8(rows[0] + off, count);
	__m128i r1 = k > 1 ? load_bytes8(rows[1] + off, count) : z;
	__m128i r2 = k > 2 ? load_bytes8(rows[2] + off, count) : z;
	__m128i r3 = k > 3 ? load_bytes8(rows[3] + off, count) : z;
	__m128i lo = _mm_unpacklo_epi8(r0, r1), hi = _mm_unpacklo_epi8(r2, r3);

	_mm_store_si128((__m128i *)dst, _mm_xor_si128(_mm_unpacklo_epi16(lo, hi), bias));
	_mm_store_si128((__m128i *)dst + 1, _mm_xor_si128(_mm_unpackhi_epi16(lo, hi), bias));
}

TAVX2 static void pack_cols_i16(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
				size_t off, unsigned int count, size_t k, enum gemm_mode mode,
				const struct gemm_lane_scales *scales)
{
	(void)scales;
	unsigned int second = count > W ? count - W : 0;

	(void)mode;
	for (size_t i = 0; i < k; i += 2, dst += lanes) {
		interleave2(dst, rows + i, off, count, k - i);
		if (lanes > W)
			interleave2(dst + W, rows + i, second ? off + W : off, second, k - i);
	}
}

TAVX2 static void pack_cols_i8(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
			       size_t off, unsigned int count, size_t k, enum gemm_mode mode,
			       const struct gemm_lane_scales *scales)
{
	(void)scales;
	__m128i bias = _mm_set1_epi8(mode == GEMM_I8_BIASED ? -128 : 0);
	unsigned int second = count > W ? count - W : 0;

	for (size_t i = 0; i < k; i += 4, dst += lanes) {
		interleave4(dst, rows + i, off, count, k - i, bias);
		if (lanes > W)
			interleave4(dst + W, rows + i, second ? off + W : off, second, k - i, bias);
	}
}

/* Tiles. All three kinds differ only in the step. */

enum kind { KIND_F32, KIND_I16, KIND_I8 };

TAVX2 GEMM_INLINE __m256i column_mask(unsigned int cols)
{
	const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);

	return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)cols), index);
}

TAVX2 GEMM_INLINE __m256i canonical(__m256i v)
{
	__m256 f = _mm256_castsi256_ps(v);
	const __m256i nan = _mm256_set1_epi32((int)GEMM_CANONICAL_NAN);

	return _mm256_castps_si256(_mm256_blendv_ps(f, _mm256_castsi256_ps(nan),
						    _mm256_cmp_ps(f, f, _CMP_UNORD_Q)));
}

TAVX2 GEMM_INLINE void tile_begin(__m256i acc[MR][2], const unsigned int mr, const unsigned int nv,
				  const __m256i mask[2], const uint32_t *const *cin,
				  uint32_t *const *dout, size_t col)
{
	GEMM_UNROLL
	for (unsigned int r = 0; r < mr; r++) {
		_mm_prefetch((const char *)(dout[r] + col), _MM_HINT_T0);
		GEMM_UNROLL
		for (unsigned int v = 0; v < nv; v++)
			acc[r][v] = cin ? _mm256_maskload_epi32((const int *)cin[r] + col + v * W,
								mask[v]) :
					  _mm256_setzero_si256();
	}
}

TAVX2 GEMM_INLINE void tile_end(__m256i acc[MR][2], const unsigned int mr, const unsigned int nv,
				const __m256i mask[2], uint32_t *const *dout, size_t col, bool nan)
{
	GEMM_UNROLL
	for (unsigned int r = 0; r < mr; r++)
		GEMM_UNROLL
		for (unsigned int v = 0; v < nv; v++) {
			__m256i x = nan ? canonical(acc[r][v]) : acc[r][v];

			_mm256_maskstore_epi32((int *)dout[r] + col + v * W, mask[v], x);
		}
}

TAVX2 GEMM_INLINE void tile_avx2_n(const unsigned int mr, const unsigned int nv,
				   const enum kind kind, unsigned int cols, size_t units,
				   const uint32_t *a, const uint32_t *b, const uint32_t *const *cin,
				   uint32_t *const *dout, size_t col, bool last)
{
	__m256i acc[MR][2], mask[2];

	mask[0] = column_mask(cols);
	mask[1] = column_mask(cols > W ? cols - W : 0);
	tile_begin(acc, mr, nv, mask, cin, dout, col);
	for (size_t k = 0; k < units; k++, a += W, b += NR) {
		__m256i bv[2];

		_mm_prefetch((const char *)(a + W * AHEAD), _MM_HINT_T0);
		_mm_prefetch((const char *)(b + NR * AHEAD), _MM_HINT_T0);
		GEMM_UNROLL
		for (unsigned int v = 0; v < nv; v++)
			bv[v] = _mm256_load_si256((const __m256i *)(b + v * W));
		GEMM_UNROLL
		for (unsigned int r = 0; r < mr; r++) {
			__m256i av = _mm256_castps_si256(
				_mm256_broadcast_ss((const float *)(a + r)));

			GEMM_UNROLL
			for (unsigned int v = 0; v < nv; v++) {
				if (kind == KIND_F32)
					acc[r][v] = _mm256_castps_si256(_mm256_fmadd_ps(
						_mm256_castsi256_ps(av),
						_mm256_castsi256_ps(bv[v]),
						_mm256_castsi256_ps(acc[r][v])));
				else
					acc[r][v] = _mm256_add_epi32(
						acc[r][v], _mm256_madd_epi16(av, bv[v]));
			}
		}
	}
	tile_end(acc, mr, nv, mask, dout, col, kind == KIND_F32 && last);
}

TVNNI GEMM_INLINE void tile_vnni_n(const unsigned int mr, const unsigned int nv, unsigned int cols,
				   size_t units, const uint32_t *a, const uint32_t *b,
				   const uint32_t *const *cin, uint32_t *const *dout, size_t col)
{
	__m256i acc[MR][2], mask[2];

	mask[0] = column_mask(cols);
	mask[1] = column_mask(cols > W ? cols - W : 0);
	tile_begin(acc, mr, nv, mask, cin, dout, col);
	GEMM_UNROLL
	for (unsigned int r = 0; r < mr; r++)
		GEMM_UNROLL
		for (unsigned int v = 0; v < nv; v++)
			acc[r][v] = _mm256_add_epi32(acc[r][v],
				_mm256_load_si256((const __m256i *)(b + v * W)));
	b += NR;
	for (size_t k = 0; k < units; k++, a += W, b += NR) {
		__m256i bv[2];

		_mm_prefetch((const char *)(a + W * AHEAD), _MM_HINT_T0);
		_mm_prefetch((const char *)(b + NR * AHEAD), _MM_HINT_T0);
		GEMM_UNROLL
		for (unsigned int v = 0; v < nv; v++)
			bv[v] = _mm256_load_si256((const __m256i *)(b + v * W));
		GEMM_UNROLL
		for (unsigned int r = 0; r < mr; r++) {
			__m256i av = _mm256_set1_epi32((int)a[r]);

			GEMM_UNROLL
			for (unsigned int v = 0; v < nv; v++)
				acc[r][v] = _mm256_dpbusd_avx_epi32(acc[r][v], av, bv[v]);
		}
	}
	tile_end(acc, mr, nv, mask, dout, col, false);
}

TVNNI static void finish_b_vnni(uint32_t *sliver, size_t units)
{
	const __m256i ones = _mm256_set1_epi8(1);

	for (unsigned int v = 0; v < NR; v += W) {
		__m256i sum = _mm256_setzero_si256();

		for (size_t u = 0; u < units; u++)
			sum = _mm256_dpbusd_avx_epi32(sum, ones,
				_mm256_load_si256((const __m256i *)(sliver + NR + u * NR + v)));
		/* -128 * sum, modulo 2^32 */
		sum = _mm256_slli_epi32(_mm256_sub_epi32(_mm256_setzero_si256(), sum), 7);
		_mm256_store_si256((__m256i *)(sliver + v), sum);
	}
}

#define CASE(n, call2, call1) \
	case n: \
		if (cols > W) \
			call2; \
		else \
			call1; \
		break

#define AVX2_CASE(n, kind) \
	CASE(n, tile_avx2_n(n, 2, kind, cols, units, a, b, cin, dout, col, last), \
	     tile_avx2_n(n, 1, kind, cols, units, a, b, cin, dout, col, last))

#define VNNI_CASE(n) \
	CASE(n, tile_vnni_n(n, 2, cols, units, a, b, cin, dout, col), \
	     tile_vnni_n(n, 1, cols, units, a, b, cin, dout, col))

TAVX2 static void tile_f32(unsigned int rows, unsigned int cols, size_t units, const uint32_t *a,
			   const uint32_t *b, const uint32_t *const *cin, uint32_t *const *dout,
			   size_t col, bool last)
{
	switch (rows) {
	AVX2_CASE(1, KIND_F32); AVX2_CASE(2, KIND_F32); AVX2_CASE(3, KIND_F32);
	AVX2_CASE(4, KIND_F32); AVX2_CASE(5, KIND_F32); AVX2_CASE(6, KIND_F32);
	}
}

TAVX2 static void tile_i16(unsigned int rows, unsigned int cols, size_t units, const uint32_t *a,
			   const uint32_t *b, const uint32_t *const *cin, uint32_t *const *dout,
			   size_t col, bool last)
{
	switch (rows) {
	AVX2_CASE(1, KIND_I16); AVX2_CASE(2, KIND_I16); AVX2_CASE(3, KIND_I16);
	AVX2_CASE(4, KIND_I16); AVX2_CASE(5, KIND_I16); AVX2_CASE(6, KIND_I16);
	}
}

TVNNI static void tile_vnni(unsigned int rows, unsigned int cols, size_t units, const uint32_t *a,
			    const uint32_t *b, const uint32_t *const *cin, uint32_t *const *dout,
			    size_t col, bool last)
{
	(void)last;
	switch (rows) {
	VNNI_CASE(1); VNNI_CASE(2); VNNI_CASE(3); VNNI_CASE(4); VNNI_CASE(5); VNNI_CASE(6);
	}
}

const struct gemm_kernel gemm_avx2_f32 = {
	.name = "avx2-f32", .supported = have_avx2, .isa = ONPU_GEMM_ISA_AVX2,
	.mr = MR, .nr = NR, .a_lanes = 8, .ku = 1, .kc = 384, .tile_m = 12, .tile_n = 16,
	.pack_rows = pack_rows_f, .pack_cols = pack_cols_f, .tile = tile_f32,
};

const struct gemm_kernel gemm_avx2_i8 = {
	.name = "avx2-i8", .supported = have_avx2, .isa = ONPU_GEMM_ISA_AVX2, .integer = true,
	.mr = MR, .nr = NR, .a_lanes = 8, .ku = 2, .kc = 768, .tile_m = 12, .tile_n = 16,
	.pack_rows = pack_rows_i16, .pack_cols = pack_cols_i16, .tile = tile_i16,
};

const struct gemm_kernel gemm_avxvnni_i8 = {
	.name = "avxvnni-i8", .supported = have_avxvnni, .isa = ONPU_GEMM_ISA_AVXVNNI,
	.integer = true, .a_biased = true, .b_head = NR,
	.mr = MR, .nr = NR, .a_lanes = 8, .ku = 4, .kc = 1536, .tile_m = 12, .tile_n = 16,
	.pack_rows = pack_rows_i8, .pack_cols = pack_cols_i8, .finish_b = finish_b_vnni,
	.tile = tile_vnni,
};

#endif

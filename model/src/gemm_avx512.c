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
#include "gemm_avx512.h"

#define MR	14u
#define NR	32u
#define NV	8u	/* vectors of a row of a tile, at most */
#define AHEAD	32u	/* steps of k between the prefetch of a packed operand and its use */

#define TVNNI	GEMM_NO_SANITIZE __attribute__((target(T512_SETS ",avx512vnni")))

#define TPACK	T512
#include "gemm_avx512_pack.h"

bool gemm_have_avx512(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
	       __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool have_avx512vnni(void)
{
	return gemm_have_avx512() && __builtin_cpu_supports("avx512vnni");
}

/* Integers: packing */

DEFINE_PACK_ROWS(int8, GEMM_I8, PLAIN)
DEFINE_PACK_ROWS(int8_biased, GEMM_I8_BIASED, PLAIN)
DEFINE_PACK_ROWS(int4, GEMM_I4, PLAIN)

static void pack_rows_i(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
			unsigned int count, size_t k, enum gemm_mode mode,
			const struct gemm_lane_scales *scales)
{
	(mode == GEMM_I8_BIASED ? rows_int8_biased : mode == GEMM_I4 ? rows_int4 : rows_int8)(
		dst, lanes, rows, count, k, mode, scales);
}

/* Up to 16 bytes of each of up to four rows, one row in each quarter. */
T512 GEMM_INLINE __m512i load_quarters(const uint8_t *const *rows, size_t off, unsigned int bytes,
				       size_t k)
{
	__mmask16 m = bytes >= 16 ? 0xffff : (__mmask16)((1u << bytes) - 1);
	__m512i v = _mm512_zextsi128_si512(_mm_maskz_loadu_epi8(m, rows[0] + off));

	GEMM_UNROLL
	for (unsigned int i = 1; i < 4; i++)
		if (i < k)
			v = _mm512_mask_broadcast_i32x4(v, (__mmask16)(0xf << 4 * i),
							_mm_maskz_loadu_epi8(m, rows[i] + off));
	return v;
}

/* 16 units of four bytes: byte i of a unit is from the row in quarter i. */
T512 GEMM_INLINE __m512i interleave_bytes(__m512i quarters)
{
	const __m512i words = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
	const __m512i bytes = _mm512_broadcast_i32x4(
		_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));

	return _mm512_shuffle_epi8(_mm512_permutexvar_epi32(words, quarters), bytes);
}

/* The same of 16 of 32 elements of four bits: two neighbours are of one byte. */
T512 GEMM_INLINE __m512i interleave_nibbles(__m512i quarters, unsigned int half)
{
	const __m512i words = _mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 1, 5, 9, 13, 1, 5, 9, 13);
	const __m128i low = _mm_setr_epi8(0, 4, 8, 12, 0, 4, 8, 12, 1, 5, 9, 13, 1, 5, 9, 13);
	const __m128i high = _mm_add_epi8(low, _mm_set1_epi8(2));
	const __m256i pick = _mm256_set_m128i(high, low);
	const __m512i shift = _mm512_set1_epi64(4ll << 32);
	__m512i x;

	x = _mm512_permutexvar_epi32(_mm512_add_epi32(words, _mm512_set1_epi32(2 * (int)half)),
				     quarters);
	x = _mm512_shuffle_epi8(x, _mm512_broadcast_i64x4(pick));
	x = _mm512_and_si512(_mm512_srlv_epi32(x, shift), _mm512_set1_epi8(0xf));
	return nibbles_i8(x);
}

/* Up to 32 columns of up to four rows of integers, interleaved: one unit per column. */
T512 GEMM_INLINE void interleave4(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
				  size_t off, unsigned int count, size_t k, enum gemm_mode mode)
{
	const __m512i bias = _mm512_set1_epi8(mode == GEMM_I8_BIASED ? -128 : 0);
	__m512i v;

	if (mode == GEMM_I4)
		v = load_quarters(rows, off, (count + 1) / 2, k);
	GEMM_UNROLL
	for (unsigned int half = 0; half < 2; half++) {
		unsigned int n = count > half * W ? count - half * W : 0;

		if (half * W >= lanes)
			break;
		if (mode == GEMM_I4)
			_mm512_store_si512(dst + half * W, interleave_nibbles(v, half));
		else
			_mm512_store_si512(dst + half * W, _mm512_xor_si512(bias, interleave_bytes(
				load_quarters(rows, off + (n ? half * W : 0), n, k))));
	}
}

T512 GEMM_INLINE void interleave_mode(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
				      size_t off, unsigned int count, size_t k, enum gemm_mode mode)
{
	for (size_t i = 0; i < k; i += 4, dst += lanes)
		interleave4(dst, lanes, rows + i, off, count, k - i, mode);
}

T512 static void pack_cols_i(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
			     size_t off, unsigned int count, size_t k, enum gemm_mode mode,
			     const struct gemm_lane_scales *scales)
{
	(void)scales;
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

/* Which lanes of vector v of cols columns there are. */
T512 GEMM_INLINE __mmask16 lanes_of(unsigned int cols, unsigned int v)
{
	unsigned int left = cols > v * W ? cols - v * W : 0;

	return left >= W ? 0xffff : (__mmask16)((1u << left) - 1);
}

/* Vector v of a step of k: two are of one sliver. */
#define B_VECTOR(v)	(b + (v) / 2 * stride + (v) % 2 * W)

/* Of more than two vectors, B is a few slivers in the first-level cache. */
T512 GEMM_INLINE void prefetch_packed(const uint32_t *a, const uint32_t *b, const unsigned int nv)
{
	if (nv > 2)
		return;
	_mm_prefetch((const char *)(a + 16 * AHEAD), _MM_HINT_T0);
	_mm_prefetch((const char *)(b + NR * AHEAD), _MM_HINT_T0);
	_mm_prefetch((const char *)(b + NR * AHEAD + W), _MM_HINT_T0);
}

T512 GEMM_INLINE void tile_f32_n(const unsigned int mr, const unsigned int nv, unsigned int cols,
				 size_t units, const uint32_t *a, const uint32_t *b, size_t stride,
				 const uint32_t *const *cin, uint32_t *const *dout, size_t col,
				 bool last)
{
	GEMM_BUFFER __m512 acc[MR][NV];

	GEMM_UNROLL
	for (unsigned int r = 0; r < mr; r++)
		GEMM_UNROLL
		for (unsigned int v = 0; v < nv; v++) {
			prefetch_next(dout[r] + col + v * W);
			acc[r][v] = cin ? _mm512_maskz_loadu_ps(lanes_of(cols, v),
								cin[r] + col + v * W) :
					  _mm512_setzero_ps();
		}
	for (size_t k = 0; k < units; k++, a += 16, b += NR) {
		GEMM_BUFFER __m512 bv[NV];

		prefetch_packed(a, b, nv);
		GEMM_UNROLL
		for (unsigned int v = 0; v < nv; v++)
			bv[v] = _mm512_load_ps(B_VECTOR(v));
		GEMM_UNROLL
		for (unsigned int r = 0; r < mr; r++) {
			__m512 av = _mm512_castsi512_ps(_mm512_set1_epi32((int)a[r]));

			GEMM_UNROLL
			for (unsigned int v = 0; v < nv; v++)
				acc[r][v] = _mm512_fmadd_ps(av, bv[v], acc[r][v]);
		}
	}
	GEMM_UNROLL
	for (unsigned int r = 0; r < mr; r++)
		GEMM_UNROLL
		for (unsigned int v = 0; v < nv; v++)
			_mm512_mask_storeu_ps(dout[r] + col + v * W, lanes_of(cols, v),
					      finish_f32(acc[r][v], last));
}

#define TILE_CASE(tile_n, n) \
	case n: \
		if (cols > W) \
			tile_n(n, 2, cols, units, a, b, 0, cin, dout, col, last); \
		else \
			tile_n(n, 1, cols, units, a, b, 0, cin, dout, col, last); \
		break

#define TILE_CASES(tile_n) \
	TILE_CASE(tile_n, 1); TILE_CASE(tile_n, 2); TILE_CASE(tile_n, 3); TILE_CASE(tile_n, 4); \
	TILE_CASE(tile_n, 5); TILE_CASE(tile_n, 6); TILE_CASE(tile_n, 7); TILE_CASE(tile_n, 8); \
	TILE_CASE(tile_n, 9); TILE_CASE(tile_n, 10); TILE_CASE(tile_n, 11); TILE_CASE(tile_n, 12); \
	TILE_CASE(tile_n, 13); TILE_CASE(tile_n, 14)

/*
 * Few rows: eight vectors of one, four of two or three, so that no sum waits for itself. What is
 * left of the columns is a tile like others.
 */
#define TILE_FEW(tile_n, tile) \
	for (; cols; b += 2 * stride) { \
		unsigned int n = cols < 2 * NR ? cols : 2 * NR; \
		if (cols <= NR) { \
			tile(rows, cols, units, a, b, cin, dout, col, last); \
		} else if (rows == 1 && cols > 3 * NR) { \
			n = cols; \
			tile_n(1, 8, cols, units, a, b, stride, cin, dout, col, last); \
		} else if (rows == 1) { \
			tile_n(1, 4, n, units, a, b, stride, cin, dout, col, last); \
		} else if (rows == 2) { \
			tile_n(2, 4, n, units, a, b, stride, cin, dout, col, last); \
		} else { \
			tile_n(3, 4, n, units, a, b, stride, cin, dout, col, last); \
		} \
		cols -= n; \
		col += n; \
	}

T512 void gemm_avx512_tile_f32(unsigned int rows, unsigned int cols, size_t units,
			       const uint32_t *a, const uint32_t *b, const uint32_t *const *cin,
			       uint32_t *const *dout, size_t col, bool last)
{
	switch (rows) {
	TILE_CASES(tile_f32_n);
	}
}

T512 void gemm_avx512_tile_few_f32(unsigned int rows, unsigned int cols, size_t units,
				   const uint32_t *a, const uint32_t *b, size_t stride,
				   const uint32_t *const *cin, uint32_t *const *dout, size_t col,
				   bool last)
{
	TILE_FEW(tile_f32_n, gemm_avx512_tile_f32)
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
				 size_t units, const uint32_t *a, const uint32_t *b, size_t stride,
				 const uint32_t *const *cin, uint32_t *const *dout, size_t col,
				 bool last)
{
	GEMM_BUFFER __m512i acc[MR][NV];

	(void)last;
	GEMM_UNROLL
	for (unsigned int r = 0; r < mr; r++)
		GEMM_UNROLL
		for (unsigned int v = 0; v < nv; v++) {
			prefetch_next(dout[r] + col + v * W);
			acc[r][v] = _mm512_load_si512(B_VECTOR(v));
			if (cin)
				acc[r][v] = _mm512_add_epi32(acc[r][v],
					_mm512_maskz_loadu_epi32(lanes_of(cols, v),
								 cin[r] + col + v * W));
		}
	b += NR;
	for (size_t k = 0; k < units; k++, a += 16, b += NR) {
		GEMM_BUFFER __m512i bv[NV];

		prefetch_packed(a, b, nv);
		GEMM_UNROLL
		for (unsigned int v = 0; v < nv; v++)
			bv[v] = _mm512_load_si512(B_VECTOR(v));
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
			_mm512_mask_storeu_epi32(dout[r] + col + v * W, lanes_of(cols, v), acc[r][v]);
}

TVNNI static void tile_i8(unsigned int rows, unsigned int cols, size_t units, const uint32_t *a,
			  const uint32_t *b, const uint32_t *const *cin, uint32_t *const *dout,
			  size_t col, bool last)
{
	switch (rows) {
	TILE_CASES(tile_i8_n);
	}
}

TVNNI static void tile_few_i8(unsigned int rows, unsigned int cols, size_t units, const uint32_t *a,
			      const uint32_t *b, size_t stride, const uint32_t *const *cin,
			      uint32_t *const *dout, size_t col, bool last)
{
	TILE_FEW(tile_i8_n, tile_i8)
}

const struct gemm_kernel gemm_avx512_f32 = {
	.name = "avx512-f32", .supported = gemm_have_avx512, .isa = ONPU_GEMM_ISA_AVX512,
	.modes = PACK_MODES_F,
	.mr = MR, .nr = NR, .a_lanes = 16, .ku = 1, .kc = 1024, .tile_m = 6, .tile_n = 8,
	.pack_rows = pack_rows_f, .pack_cols = pack_cols_f, .tile = gemm_avx512_tile_f32,
	.tile_few = gemm_avx512_tile_few_f32, .few_rows = 3,
	.few = &gemm_few_avx512,
};

const struct gemm_kernel gemm_avx512vnni_i8 = {
	.name = "avx512vnni-i8", .supported = have_avx512vnni, .isa = ONPU_GEMM_ISA_AVX512VNNI,
	.integer = true, .modes = GEMM_MODE(GEMM_I4), .a_biased = true, .b_head = NR,
	.mr = MR, .nr = NR, .a_lanes = 16, .ku = 4, .kc = 4096, .tile_m = 6, .tile_n = 8,
	.pack_rows = pack_rows_i, .pack_cols = pack_cols_i, .finish_b = finish_b_vnni,
	.tile = tile_i8, .tile_few = tile_few_i8, .few_rows = 3,
	.few = &gemm_few_avx512vnni,
};

#endif

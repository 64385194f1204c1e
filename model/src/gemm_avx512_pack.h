/* SPDX-License-Identifier: MIT */
/*
 * Packing with AVX-512, for every kernel that has it. To be included once by a file that says what
 * gemm_avx512_elements.h asks for.
 *
 * Idea: where k is contiguous, 16 lanes times 16 words of 32 bits are transposed, however many
 * elements a word holds, and taken apart after that: the transposition is what costs. Elements
 * are scaled while they are in a register. No state, no locking.
 */
#include "gemm_avx512_elements.h"

/* A word of each of 16 lanes to units, of which there may be fewer at the end. */
TPACK GEMM_INLINE void store_word(uint32_t *dst, unsigned int lanes, __m512i x, size_t units,
				  enum gemm_mode mode, struct scale16 s, const enum scaling how)
{
	GEMM_UNROLL
	for (unsigned int i = 0; i < 32 / mode_bits(mode) / mode_ku(mode); i++) {
		__m512i v = mode == GEMM_I4 ? half_nibbles(x, i) :
			    mode == GEMM_I8_BIASED ? _mm512_xor_si512(x, _mm512_set1_epi8(-128)) :
			    element_f32(x, i, mode);

		if (i < units)
			_mm512_store_si512(dst + i * lanes, scale_units(v, s, how));
	}
}

/*
 * 16 lanes of a sliver from up to 16 rows. What a word holds behind the last k is multiplied by
 * zeros, or not stored.
 */
TPACK GEMM_INLINE void pack_words16(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
				    unsigned int count, size_t k, enum gemm_mode mode,
				    const struct gemm_lane_scales *sc, unsigned int lane,
				    const enum scaling how)
{
	const unsigned int bits = mode_bits(mode), ku = mode_ku(mode);
	/* F16 is converted before the transposition, so then a word holds one. */
	const unsigned int word = mode == GEMM_F16 ? 1 : 32 / bits;
	const enum gemm_mode words = mode == GEMM_F16 ? GEMM_F32 : mode;
	GEMM_BUFFER __m512i r[16];
	size_t k0;

	for (k0 = 0; k0 + 16 * word <= k; k0 += 16 * word) {
		load_words(r, rows, count, k0 * bits / 8, 16 * word, mode);
		/* Groups do not end within a word. */
		GEMM_UNROLL
		for (unsigned int i = 0; i < 16; i++, dst += word / ku * lanes)
			store_word(dst, lanes, r[i], word, words,
				   load_scale(sc, k0 + word * i, lanes, lane, how), how);
	}
	if (k0 == k)
		return;
	load_words(r, rows, count, k0 * bits / 8, k - k0, mode);
	for (unsigned int i = 0; i < 16 && k0 < k; i++, k0 += word, dst += word / ku * lanes)
		store_word(dst, lanes, r[i], (k - k0 + ku - 1) / ku, words,
			   load_scale(sc, k0, lanes, lane, how), how);
}

TPACK GEMM_INLINE void pack_rows_mode(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
				      unsigned int count, size_t k, enum gemm_mode mode,
				      const struct gemm_lane_scales *scales, const enum scaling how)
{
	/* Nothing that is stored changes a copy. */
	const struct gemm_lane_scales sc = how == PLAIN ? (struct gemm_lane_scales){ 0 } : *scales;

	for (unsigned int half = 0; half < count; half += W)
		pack_words16(dst + half, lanes, rows + half, count - half, k, mode, &sc, half, how);
}

/* A row of the source: a unit for each lane of a sliver. */
TPACK GEMM_INLINE void pack_row(uint32_t *dst, unsigned int lanes, const uint8_t *row,
				unsigned int count, enum gemm_mode mode, const struct scale16 s[2],
				const enum scaling how)
{
	unsigned int second = count > W ? count - W : 0;

	_mm512_store_si512(dst, scale_units(load_units(row, count, mode), s[0], how));
	if (lanes > W && second)
		_mm512_store_si512(dst + W, scale_units(load_units(row + W * mode_bits(mode) / 8,
								   second, mode), s[1], how));
}

TPACK GEMM_INLINE void pack_cols_mode(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
				      size_t off, unsigned int count, size_t k, enum gemm_mode mode,
				      const struct gemm_lane_scales *scales, const enum scaling how)
{
	const struct gemm_lane_scales sc = how == PLAIN ? (struct gemm_lane_scales){ 0 } : *scales;
	struct scale16 s[2];
	size_t i = 0, end = k;

	while (i < k) {
		s[0] = load_scale(&sc, i, lanes, 0, how);
		s[1] = load_scale(&sc, i, lanes, lanes > W ? W : 0, how);
		if (how != PLAIN)
			end = ((((sc.skip + i) >> sc.shift) + 1) << sc.shift) - sc.skip;
		end = end < k ? end : k;
		if (count == 2 * W && lanes == 2 * W)
			for (; i < end; i++, dst += 2 * W)
				pack_row(dst, 2 * W, rows[i] + off, 2 * W, mode, s, how);
		else
			for (; i < end; i++, dst += lanes)
				pack_row(dst, lanes, rows[i] + off, count, mode, s, how);
	}
}

typedef void pack_rows_fn(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
			  unsigned int count, size_t k, enum gemm_mode mode,
			  const struct gemm_lane_scales *scales);
typedef void pack_cols_fn(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows, size_t off,
			  unsigned int count, size_t k, enum gemm_mode mode,
			  const struct gemm_lane_scales *scales);

#define DEFINE_PACK_ROWS(name, as, how) \
	TPACK static void rows_##name(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows, \
				      unsigned int count, size_t k, enum gemm_mode mode, \
				      const struct gemm_lane_scales *scales) \
	{ \
		(void)mode; \
		pack_rows_mode(dst, lanes, rows, count, k, as, scales, how); \
	}

#define DEFINE_PACK(name, as, how) \
	DEFINE_PACK_ROWS(name, as, how) \
	TPACK static void cols_##name(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows, \
				      size_t off, unsigned int count, size_t k, \
				      enum gemm_mode mode, const struct gemm_lane_scales *scales) \
	{ \
		(void)mode; \
		pack_cols_mode(dst, lanes, rows, off, count, k, as, scales, how); \
	}

DEFINE_PACK(f32, GEMM_F32, PLAIN)
DEFINE_PACK(bf16, GEMM_BF16, PLAIN)
DEFINE_PACK(f16, GEMM_F16, PLAIN)
DEFINE_PACK(ue8m0, GEMM_UE8M0, PLAIN)
DEFINE_PACK(i8, GEMM_I8_F32, PLAIN)
DEFINE_PACK(i8_scaled, GEMM_I8_F32, SCALED)
DEFINE_PACK(i8_shifted, GEMM_I8_F32, SHIFTED_SCALED)
DEFINE_PACK(i4_scaled, GEMM_I4_F32, SCALED)
DEFINE_PACK(i4_shifted, GEMM_I4_F32, SHIFTED_SCALED)
DEFINE_PACK(e2m1_scaled, GEMM_E2M1, SCALED)
#ifdef PACK_VBMI
DEFINE_PACK(e4m3, GEMM_E4M3, PLAIN)
DEFINE_PACK(e4m3_scaled, GEMM_E4M3, SCALED)
DEFINE_PACK(e5m2, GEMM_E5M2, PLAIN)
DEFINE_PACK(e5m2_scaled, GEMM_E5M2, SCALED)
#define PACK_TABLE_VBMI(part) \
	[GEMM_E4M3] = { part##_e4m3, part##_e4m3_scaled }, \
	[GEMM_E5M2] = { part##_e5m2, part##_e5m2_scaled },
#define PACK_MODES_VBMI	(GEMM_MODE(GEMM_E4M3) | GEMM_MODE(GEMM_E5M2))
#else
#define PACK_TABLE_VBMI(part)
#define PACK_MODES_VBMI	0
#endif

/* A type whose scaled form alone exists has scales wherever it is met. */
#define PACK_TABLE(part) { \
	[GEMM_F32] = { part##_f32 }, [GEMM_BF16] = { part##_bf16 }, [GEMM_F16] = { part##_f16 }, \
	[GEMM_UE8M0] = { part##_ue8m0 }, \
	[GEMM_I8_F32] = { part##_i8, part##_i8_scaled, part##_i8_shifted }, \
	[GEMM_I4_F32] = { [SCALED] = part##_i4_scaled, part##_i4_shifted }, \
	[GEMM_E2M1] = { [SCALED] = part##_e2m1_scaled }, \
	PACK_TABLE_VBMI(part) }

static pack_rows_fn *const pack_rows_table[GEMM_MODES][3] = PACK_TABLE(rows);
static pack_cols_fn *const pack_cols_table[GEMM_MODES][3] = PACK_TABLE(cols);

#define PACK_MODES_F \
	(GEMM_MODE(GEMM_I4_F32) | GEMM_MODE(GEMM_E2M1) | GEMM_MODE(GEMM_I8_F32) | \
	 GEMM_MODE(GEMM_UE8M0) | PACK_MODES_VBMI)

static inline enum scaling scaling_of(const struct gemm_lane_scales *scales)
{
	return !scales ? PLAIN : scales->zero ? SHIFTED_SCALED : SCALED;
}

static void pack_rows_f(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
			unsigned int count, size_t k, enum gemm_mode mode,
			const struct gemm_lane_scales *scales)
{
	pack_rows_table[mode][scaling_of(scales)](dst, lanes, rows, count, k, mode, scales);
}

static void pack_cols_f(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows, size_t off,
			unsigned int count, size_t k, enum gemm_mode mode,
			const struct gemm_lane_scales *scales)
{
	pack_cols_table[mode][scaling_of(scales)](dst, lanes, rows, off, count, k, mode, scales);
}

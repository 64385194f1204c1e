/* SPDX-License-Identifier: MIT */
/*
 * Kernels for a few rows with AVX-512 (gemm_few.h). To be included once by a file that has included
 * gemm_avx512_pack.h, whose elements these are.
 *
 * Idea: a column of vectors of B is decoded once, and every row multiplies it at once. As many vectors
 * go side by side as accumulators have registers for; with many rows, blocks are decoded before.
 */
#include "gemm_few.h"

#define FEW_MAX	8u	/* vectors side by side */

/*
 * To the second level: rows that are a multiple of 4 KiB apart would put each other out of the first. Lines are
 * asked for between multiplications, a few at a time: of many at once the later ones wait.
 */
#define FEW_PREFETCH(p)	_mm_prefetch((const char *)(p), _MM_HINT_T1)

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
		FEW_PREFETCH((uintptr_t)rows[i] + off);
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

/* Words along k that are put together at a time: a line of each row, or half a line of F16. */
#define FEW_WORDS	16u

static inline unsigned int few_per_word(enum gemm_mode mode)
{
	return mode == GEMM_F16 ? 1 : 32 / mode_bits(mode);
}

/*
 * Words of n elements from k on, of nv vectors of rows: [FEW_WORDS][nv]. F16 is converted here. There are
 * multiplications before and behind it, in whose time lines come from the second-level cache.
 */
TPACK GEMM_INLINE void few_words(uint32_t *dst, const struct gemm_few_step *s, unsigned int at,
				 uint32_t k, uint32_t n, const unsigned int nv,
				 const enum gemm_mode mode)
{
	GEMM_UNROLL
	for (unsigned int v = 0; v < nv; v++) {
		GEMM_BUFFER __m512i r[16];

		load_words(r, s->rows + (at + v) * W, W, (size_t)k * mode_bits(mode) / 8, n, mode);
		GEMM_UNROLL
		for (unsigned int i = 0; i < FEW_WORDS; i++)
			_mm512_store_si512(dst + (i * nv + v) * W, r[i]);
	}
}

/* A word of nv vectors: as many elements of it as there are. */
TPACK GEMM_INLINE void few_word(__m512 acc[GEMM_FEW_ROWS][FEW_MAX], const struct gemm_few_step *s,
				unsigned int at, uint32_t k, const uint32_t *word, const unsigned int m,
				const unsigned int nv, const enum gemm_mode mode, const enum scaling how)
{
	const unsigned int bits = mode_bits(mode), per = few_per_word(mode);
	const uint32_t *a = s->a + (size_t)k * m;
	unsigned int n = s->k - k < per ? s->k - k : per;
	GEMM_BUFFER struct scale16 scale[FEW_MAX];
	GEMM_BUFFER __m512i x[FEW_MAX], b[FEW_MAX];

	GEMM_UNROLL
	for (unsigned int v = 0; v < nv; v++) {
		x[v] = _mm512_load_si512(word + v * W);
		scale[v] = load_scale(&s->scales, k, GEMM_FEW_LANES, (at + v) * W, how);
	}
	/* Of many, and of those of a word that is not full, one after the other. */
	if (per == 8 || n < per) {
		for (unsigned int e = 0; e < n; e++, a += m) {
			GEMM_UNROLL
			for (unsigned int v = 0; v < nv; v++) {
				b[v] = scale_units(element_f32(x[v], 0, mode), scale[v], how);
				x[v] = _mm512_srli_epi32(x[v], bits);
			}
			few_fma(acc, b, a, m, nv);
		}
		return;
	}
	GEMM_UNROLL
	for (unsigned int e = 0; e < per; e++, a += m) {
		GEMM_UNROLL
		for (unsigned int v = 0; v < nv; v++)
			b[v] = scale_units(mode == GEMM_F16 ? x[v] : element_f32(x[v], e, mode),
					   scale[v], how);
		few_fma(acc, b, a, m, nv);
	}
}

/* Words of consecutive k. */
TPACK GEMM_INLINE void few_along_k(const struct gemm_few_step *s, const unsigned int m,
				   const unsigned int nv, const enum gemm_mode mode,
				   const enum scaling how)
{
	const unsigned int per = few_per_word(mode), per_line = 64 * 8 / mode_bits(mode) / per;
	/* Nothing that is stored changes a copy. */
	const struct gemm_few_step step = *s;
	GEMM_BUFFER _Alignas(64) uint32_t words[FEW_WORDS * FEW_MAX * W];

	for (unsigned int at = 0; at < step.vectors; at += nv) {
		GEMM_BUFFER __m512 acc[GEMM_FEW_ROWS][FEW_MAX];

		few_load(acc, step.sums + at * W, GEMM_FEW_LANES, m, nv);
		for (uint32_t k = 0; k < step.k;) {
			uint32_t n = step.k - k < FEW_WORDS * per ? step.k - k : FEW_WORDS * per;
			const uint32_t *word = words;

			few_words(words, &step, at, k, n, nv, mode);
			for (uint32_t end = k + n; k < end; k += per, word += nv * W) {
				few_prefetch(&step, at, k / per, nv, per_line);
				few_word(acc, &step, at, k, word, m, nv, mode, how);
			}
		}
		few_store(acc, step.sums + at * W, GEMM_FEW_LANES, m, nv);
	}
}

/* Words of columns side by side, in rows. F16 is converted as it is read, which keeps the columns in order. */
TPACK GEMM_INLINE void few_along_cols(const struct gemm_few_step *s, const unsigned int m,
				      const unsigned int nv, const enum gemm_mode mode,
				      const enum scaling how)
{
	const unsigned int bits = mode_bits(mode), per = mode == GEMM_F16 ? 1 : 32 / bits;
	const unsigned int bytes = W * bits * per / 8;	/* of a vector of words */
	const unsigned int passes = per > nv ? per / nv : 1;
	const size_t ld = GEMM_FEW_COLS;
	const struct gemm_lane_scales sc = s->scales;

	for (unsigned int at = 0; at < s->vectors; at += nv) {
		const __m512i start = _mm512_set1_epi32((int)(at % per * bits));
		const uint32_t *a = s->a;
		GEMM_BUFFER __m512 acc[GEMM_FEW_ROWS][FEW_MAX];
		/* Of more than one pass over the words each asks for its share of what comes next. */
		unsigned int pass = at % per / nv;

		few_load(acc, s->sums + at * W, ld, m, nv);
		for (uint32_t k = 0; k < s->k; k++, a += m) {
			bool ask = (k ^ pass) % passes == 0;
			const uint8_t *row = s->rows[k] + at / per * bytes;
			GEMM_BUFFER __m512i b[FEW_MAX];
			__m512i x = _mm512_setzero_si512();

			GEMM_UNROLL
			for (unsigned int v = 0; v < nv; v++) {
				const uint8_t *p = row + v / per * bytes;

				if (v % per == 0) {
					if (ask)
						FEW_PREFETCH((uintptr_t)p + s->ahead);
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

/*
 * The more rows, the fewer vectors there are sums for. So of many rows a block is decoded first, to where the
 * first-level cache has it, and multiplied from there, by a tile of some rows and few_wide() vectors after the
 * other: nothing is decoded twice, and what is loaded serves more than one multiplication.
 */
#define FEW_DECODED	256u	/* vectors of a block, at most */
#define FEW_STEPS	4u	/* of k, between lines that are asked for */

static inline unsigned int few_tile(unsigned int m)
{
	return m == 16 ? 8 : m;
}

static inline unsigned int few_wide(unsigned int m)
{
	return m == 4 ? 4 : 2;
}

/* The lines of a step that comes later: the first one of each row, then the second ones. */
struct few_lines {
	const uint8_t *const *rows;
	uint64_t ahead;
	uint32_t at, count;		/* of the rows */
	uint32_t left, each;		/* lines that remain, and those of one turn */
};

TPACK GEMM_INLINE struct few_lines few_lines(const struct gemm_few_step *s, uint32_t count, uint32_t lines,
					     unsigned int m)
{
	uint32_t left = count * lines;
	uint32_t turns = s->vectors / few_wide(m) * (m / few_tile(m)) * (s->k / FEW_STEPS);

	return (struct few_lines){ s->rows, s->ahead, 0, count, left, turns ? left / turns + 1 : 0 };
}

TPACK GEMM_INLINE void few_ask(struct few_lines *l)
{
	for (uint32_t i = l->each; i && l->left; i--, l->left--) {
		FEW_PREFETCH((uintptr_t)l->rows[l->at] + l->ahead);
		if (++l->at == l->count) {
			l->at = 0;
			l->ahead += 64;
		}
	}
}

TPACK GEMM_INLINE void few_multiply_one(__m512 acc[GEMM_FEW_ROWS][FEW_MAX], const uint32_t *a,
					const uint32_t *b, const unsigned int mr, const unsigned int nv)
{
	GEMM_BUFFER __m512i x[FEW_MAX];

	GEMM_UNROLL
	for (unsigned int v = 0; v < nv; v++)
		x[v] = _mm512_load_si512(b + v * W);
	few_fma(acc, x, a, mr, nv);
}

/* Sums of mr rows by nv vectors; b has k times stride words, a k times m. */
TPACK GEMM_INLINE void few_multiply(uint32_t *sums, size_t ld, const uint32_t *a, const unsigned int m,
				    const uint32_t *b, size_t stride, uint32_t k, const unsigned int mr,
				    const unsigned int nv, struct few_lines *lines)
{
	GEMM_BUFFER __m512 acc[GEMM_FEW_ROWS][FEW_MAX];
	struct few_lines l = *lines;

	few_load(acc, sums, ld, mr, nv);
	for (; k >= FEW_STEPS; k -= FEW_STEPS) {
		few_ask(&l);
		GEMM_UNROLL
		for (unsigned int i = 0; i < FEW_STEPS; i++, a += m, b += stride)
			few_multiply_one(acc, a, b, mr, nv);
	}
	for (; k; k--, a += m, b += stride)
		few_multiply_one(acc, a, b, mr, nv);
	few_store(acc, sums, ld, mr, nv);
	*lines = l;
}

#define FEW_MULTIPLY(m, nv) \
	TPACK static void few_multiply_##m(uint32_t *sums, size_t ld, const uint32_t *a, \
					   const uint32_t *b, size_t stride, uint32_t k, \
					   struct few_lines *lines) \
	{ \
		for (unsigned int r = 0; r < m; r += few_tile(m)) \
			few_multiply(sums + r * ld, ld, a + r, m, b, stride, k, few_tile(m), nv, \
				     lines); \
	}
FEW_MULTIPLY(4, 4)
FEW_MULTIPLY(8, 2)
FEW_MULTIPLY(12, 2)
FEW_MULTIPLY(16, 2)

TPACK GEMM_INLINE void few_multiply_rows(const unsigned int m, uint32_t *sums, size_t ld, const uint32_t *a,
					 const uint32_t *b, size_t stride, uint32_t k,
					 struct few_lines *lines)
{
	(m == 4 ? few_multiply_4 : m == 8 ? few_multiply_8 : m == 12 ? few_multiply_12 :
	 few_multiply_16)(sums, ld, a, b, stride, k, lines);
}

/* The elements of FEW_WORDS words, or fewer, of nv vectors of rows, from k on: [n][nv]. */
TPACK GEMM_INLINE void few_decode_k(const struct gemm_few_step *s, uint32_t *dst, unsigned int at,
				    uint32_t k, uint32_t n, const unsigned int nv,
				    const enum gemm_mode mode, const enum scaling how)
{
	const unsigned int per = few_per_word(mode);
	const struct gemm_lane_scales sc = s->scales;

	GEMM_UNROLL
	for (unsigned int v = 0; v < nv; v++) {
		GEMM_BUFFER __m512i r[FEW_WORDS];

		load_words(r, s->rows + (at + v) * W, W, (size_t)k * mode_bits(mode) / 8, n, mode);
		/* What is behind the last one is decoded, too, but not multiplied. */
		GEMM_UNROLL
		for (unsigned int i = 0; i < FEW_WORDS; i++) {
			/* Those of a word, and of more words, have the same scale. */
			uint32_t at_k = i * per < n ? k + i * per : k;
			struct scale16 scale = load_scale(&sc, at_k, GEMM_FEW_LANES, (at + v) * W, how);

			GEMM_UNROLL
			for (unsigned int e = 0; e < per; e++)
				_mm512_store_si512(dst + ((i * per + e) * nv + v) * W,
						   scale_units(per == 1 ? r[i] : element_f32(r[i], e, mode),
							       scale, how));
		}
	}
}

TPACK GEMM_INLINE void few_blocks_k(const struct gemm_few_step *s, const unsigned int m,
				    const enum gemm_mode mode, const enum scaling how)
{
	const unsigned int nv = few_wide(m), line = FEW_WORDS * few_per_word(mode);
	const unsigned int most = line < 64 ? 64 : line;
	struct few_lines l = few_lines(s, s->vectors * W, (s->k * mode_bits(mode) + 511) / 512, m);
	GEMM_BUFFER _Alignas(64) uint32_t b[FEW_WORDS * 8 * 2 * W];

	for (uint32_t k = 0; k < s->k; k += most) {
		uint32_t n = s->k - k < most ? s->k - k : most;

		for (unsigned int at = 0; at < s->vectors; at += nv) {
			for (uint32_t i = 0; i < n; i += line)
				few_decode_k(s, b + i * nv * W, at, k + i, n - i < line ? n - i : line, nv,
					     mode, how);
			few_multiply_rows(m, s->sums + at * W, GEMM_FEW_LANES, s->a + (size_t)k * m, b,
					  nv * W, n, &l);
		}
	}
}

/* nv vectors of columns from vector at on, of rows k to end - 1. */
TPACK GEMM_INLINE void few_decode_cols(const struct gemm_few_step *s, uint32_t *dst, unsigned int at,
				       uint32_t k, uint32_t end, const unsigned int nv,
				       const enum gemm_mode mode, const enum scaling how)
{
	const unsigned int bits = mode_bits(mode), per = mode == GEMM_F16 ? 1 : 32 / bits;
	const unsigned int bytes = W * bits * per / 8;	/* of a vector of words */
	const struct gemm_lane_scales sc = s->scales;

	for (; k < end; k++, dst += nv * W) {
		const uint8_t *row = s->rows[k] + at / per * bytes;
		__m512i x = _mm512_setzero_si512();

		GEMM_UNROLL
		for (unsigned int v = 0; v < nv; v++) {
			const uint8_t *p = row + v / per * bytes;

			if (v % per == 0)
				x = mode == GEMM_F16 ? load_units(p, W, mode) : _mm512_loadu_si512(p);
			_mm512_store_si512(dst + v * W, scale_units(
				mode == GEMM_F16 ? x : element_f32(x, v % per, mode),
				load_scale(&sc, k, GEMM_FEW_COLS, (at + v) * W, how), how));
		}
	}
}

TPACK GEMM_INLINE void few_blocks_cols(const struct gemm_few_step *s, const unsigned int m,
				       const enum gemm_mode mode, const enum scaling how)
{
	const unsigned int wide = few_wide(m), per = mode == GEMM_F16 ? 1 : 32 / mode_bits(mode);
	const unsigned int nv = per > wide ? per : wide;
	const unsigned int most = FEW_DECODED / nv < 64 ? FEW_DECODED / nv : 64;
	struct few_lines l = few_lines(s, s->k, GEMM_FEW_COLS * mode_bits(mode) / 512, m);
	GEMM_BUFFER _Alignas(64) uint32_t b[FEW_DECODED * W];

	for (unsigned int at = 0; at < s->vectors; at += nv)
		for (uint32_t k = 0; k < s->k; k += most) {
			uint32_t n = s->k - k < most ? s->k - k : most;

			few_decode_cols(s, b, at, k, k + n, nv, mode, how);
			for (unsigned int v = 0; v < nv; v += wide)
				few_multiply_rows(m, s->sums + (at + v) * W, GEMM_FEW_COLS,
						  s->a + k * m, b + v * W, nv * W, n, &l);
		}
}

/* 16 words that are stride apart (1, 2 or 4), from the first of them on, of stride * 64 bytes at p. */
TPACK GEMM_INLINE __m512i few_every(const uint8_t *p, const unsigned int stride, const unsigned int first)
{
	const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	const __m512i index = _mm512_add_epi32(_mm512_mullo_epi32(lane, _mm512_set1_epi32((int)stride)),
					       _mm512_set1_epi32((int)first));
	__m512i x = _mm512_loadu_si512(p);

	/* A choice looks at five bits: lanes from 8 on choose likewise from what is behind. */
	if (stride > 1)
		x = _mm512_permutex2var_epi32(x, index, _mm512_loadu_si512(p + 64));
	if (stride > 2)
		x = _mm512_mask_mov_epi32(x, 0xff00, _mm512_permutex2var_epi32(
			_mm512_loadu_si512(p + 128), index, _mm512_loadu_si512(p + 192)));
	return x;
}

/* A row of scales has those of lane j, element e of its word at j * per + e. */
TPACK GEMM_INLINE void few_spread(uint32_t *dst, const uint8_t *src, const enum gemm_mode mode,
				  const unsigned int per)
{
	const unsigned int es = mode_bits(mode) / 8, each = 4 / es;	/* each: in four bytes */

	for (unsigned int v = 0; v < GEMM_FEW_COLS / W; v += per, src += per * W * es) {
		GEMM_UNROLL
		for (unsigned int e = 0; e < per; e += each) {
			__m512i x = few_every(src, per / each, e / each);

			GEMM_UNROLL
			for (unsigned int i = 0; i < each; i++, dst += W)
				_mm512_store_si512(dst, mode == GEMM_F16 ?
					_mm512_castps_si512(_mm512_cvtph_ps(_mm512_cvtepi32_epi16(
						_mm512_srli_epi32(x, 16 * i)))) :
					element_f32(x, i, mode));
		}
	}
}

#define FEW_KERNEL(part, m, name, body) \
	TPACK static void part##_##name##_##m(const struct gemm_few_step *s) \
	{ \
		body; \
	}
#define FEW_K(m, nv, name, as, how) \
	FEW_KERNEL(few_k, m, name, few_along_k(s, m, nv, as, how))
#define FEW_COLS(m, nv, name, as, how) \
	FEW_KERNEL(few_cols, m, name, few_along_cols(s, m, nv, as, how))
#define FEW_BLOCKS_K(m, name, as, how) FEW_KERNEL(few_k, m, name, few_blocks_k(s, m, as, how))
#define FEW_BLOCKS_COLS(m, name, as, how) \
	FEW_KERNEL(few_cols, m, name, few_blocks_cols(s, m, as, how))
#define DEFINE_FEW_K(name, as, how) \
	FEW_K(1, 4, name, as, how) FEW_K(2, 4, name, as, how) FEW_K(4, 4, name, as, how) \
	FEW_K(8, 2, name, as, how) FEW_BLOCKS_K(12, name, as, how) FEW_BLOCKS_K(16, name, as, how)
#define DEFINE_FEW_COLS(name, as, how) \
	FEW_COLS(1, 8, name, as, how) FEW_COLS(2, 8, name, as, how) FEW_COLS(4, 4, name, as, how) \
	FEW_COLS(8, 2, name, as, how) \
	FEW_BLOCKS_COLS(12, name, as, how) FEW_BLOCKS_COLS(16, name, as, how)
#define DEFINE_FEW(name, as, how) DEFINE_FEW_K(name, as, how) DEFINE_FEW_COLS(name, as, how)

/* Bytes and less, of which a word has more columns than a few rows have sums in registers for. */
#define DEFINE_FEW_DENSE(name, as, how) \
	DEFINE_FEW_K(name, as, how) \
	FEW_COLS(1, 8, name, as, how) FEW_COLS(2, 8, name, as, how) \
	FEW_BLOCKS_COLS(4, name, as, how) FEW_BLOCKS_COLS(8, name, as, how) \
	FEW_BLOCKS_COLS(12, name, as, how) FEW_BLOCKS_COLS(16, name, as, how)

#define FEW_SIZES	6
#define FEW_ENTRY(name) { name##_1, name##_2, name##_4, name##_8, name##_12, name##_16 }

static inline unsigned int few_size(unsigned int rows)
{
	return rows <= 2 ? rows - 1 : rows <= 4 ? 2 : rows <= 8 ? 3 : rows <= 12 ? 4 : 5;
}

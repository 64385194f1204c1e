/* SPDX-License-Identifier: MIT */
/*
 * A few rows of A by all of B (gemm_few.c): what the loop over B and its kernels agree on.
 *
 * B stays as dense as it is stored. A "word" is 32 bits of it: consecutive k of a column, or columns of
 * a row. A vector of words has 16 lanes; a kernel takes elements from them, scales them and
 * multiplies them by every row while they are in a register. Sums stay in vectors of 16 that
 * belong together, whatever columns those are.
 */
#ifndef ONPU_MODEL_GEMM_FEW_H
#define ONPU_MODEL_GEMM_FEW_H

#include "gemm_priv.h"

#define GEMM_FEW_ROWS	16u	/* at most */
#define GEMM_FEW_LANES	64u	/* words side by side: four vectors */
#define GEMM_FEW_COLS	128u	/* columns of D in one step, at most: eight vectors of sums */

/* A bit of k by some columns. */
struct gemm_few_step {
	uint32_t *sums;			/* [rows][vectors of the step * 16] */
	const uint32_t *a;		/* [k or, of integers, units of four k][rows] */
	uint32_t k;
	unsigned int vectors;		/* of sums that are wanted, of those that there are */
	const uint32_t *words;		/* integers: [words along k][GEMM_FEW_LANES] */
	const uint8_t *const *rows;	/* k rows of columns, or GEMM_FEW_LANES that k runs along */
	uint64_t ahead;			/* bytes from what rows are read to what is prefetched */
	struct gemm_lane_scales scales;	/* of all lanes, or of all vectors of sums; scale may be NULL */
};

typedef void gemm_few_fn(const struct gemm_few_step *step);

/* How words are stored, and what their elements are. */
enum gemm_few_layout {
	GEMM_FEW_ALONG_K,	/* consecutive k of a column */
	GEMM_FEW_ALONG_COLS,	/* columns of a row; of integers, packed to words of four k */
	GEMM_FEW_LAYOUTS
};

struct gemm_few_kernel {
	/* For so many rows, or more; NULL if there is none. */
	gemm_few_fn *(*find)(enum gemm_few_layout layout, enum gemm_mode mode, bool scaled, bool zeros,
			     unsigned int rows);
	/*
	 * Integers along columns: units of k / 4 (up) rows of GEMM_FEW_LANES bytes each to words.
	 * Vector i, lane j has the bytes at 16 * (j / 4) + 4 * i + j % 4.
	 */
	void (*interleave)(uint32_t *words, const uint8_t *const *rows, uint32_t k);
	/*
	 * Scales of GEMM_FEW_COLS columns, which lie side by side, to vectors of sums: vector v,
	 * lane j is column 16 * per_word * (v / per_word) + j * per_word + v % per_word.
	 */
	void (*spread_scales)(uint32_t *dst, const uint8_t *src, enum gemm_mode mode,
			      unsigned int per_word);
};

extern const struct gemm_few_kernel gemm_few_avx512, gemm_few_avx512vbmi, gemm_few_avx512vnni;

/* Rows of A that kernels are made for; others are rounded up. */
unsigned int gemm_few_rows(unsigned int rows);

struct gemm_few {
	const struct onpu_gemm_desc *desc;
	const struct gemm_kernel *kern;
	struct onpu_pool *pool;
	const atomic_bool *cancel;
	enum gemm_mode mode;		/* of B */
	uint32_t *a;			/* one sliver of A, packed, of GEMM_FEW_ROWS lanes */
};

/* Whether the kernel can do it; mode is how it reads B. */
bool gemm_few_can(const struct onpu_gemm_desc *desc, const struct gemm_kernel *kern,
		  enum gemm_mode mode);
/* Spoils a. 0, -ENOMEM or -ECANCELED. */
int gemm_few_run(const struct gemm_few *few);

#endif

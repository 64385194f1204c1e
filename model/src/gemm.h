/* SPDX-License-Identifier: MIT */
/*
 * Matrix multiplication of the card model: D = op(A) * op(B) [+ C], bit-exact as
 * Documentation/numerics.md defines it, whatever the instruction set and the number of threads.
 *
 * Operands are views: byte ranges of a context's address space, cut into segments of host memory
 * by the MMU translation. The memory behind a view belongs to a guest: it may change while it is
 * read; then the result is unspecified, and nothing else happens.
 */
#ifndef ONPU_MODEL_GEMM_H
#define ONPU_MODEL_GEMM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "onpu/packet.h"	/* enum onpu_dtype */

struct onpu_pool;

/* Bytes [off, off + len) of the operand are at ptr. */
struct onpu_seg {
	uint8_t *ptr;
	uint64_t off;
	uint64_t len;
};

/*
 * len bytes of an operand in n segments: segs[0].off == 0, each segment starts where the one
 * before ends, the last ends at len, none is empty. Segments start and end at multiples
 * of the element size (they are page-aligned in the address space).
 * A segment without elements, between the rows of a sparse matrix, may have ptr NULL: bytes that
 * belong to no element are never touched.
 */
struct onpu_view {
	const struct onpu_seg *segs;
	size_t n;
	uint64_t len;
};

/* Instruction sets. As a request each stands for "this one or what is below it". */
enum onpu_gemm_isa {
	ONPU_GEMM_ISA_AUTO = 0,		/* the best one, or what ONPU_GEMM_ISA= in the environment says */
	ONPU_GEMM_ISA_SCALAR,
	ONPU_GEMM_ISA_SSE41,		/* INT8 only; floating point is scalar */
	ONPU_GEMM_ISA_AVX2,		/* with FMA and F16C */
	ONPU_GEMM_ISA_AVXVNNI,		/* INT8; floating point as AVX2 */
	ONPU_GEMM_ISA_AVX512,		/* F, BW, DQ, VL; INT8 as AVX2 or AVXVNNI */
	ONPU_GEMM_ISA_AVX512VNNI,	/* INT8; floating point as AVX512 */
	ONPU_GEMM_ISA_COUNT
};

#define ONPU_GEMM_TRANS_A	(1u << 0)	/* A is stored K x M */
#define ONPU_GEMM_TRANS_B	(1u << 1)	/* B is stored N x K */
#define ONPU_GEMM_ACCUMULATE	(1u << 2)	/* start from C instead of +0 */

/*
 * Scales of the groups of an operand along k, stored like the operand with one element per
 * group. MX types have them (group 32, type 0: UE8M0); an integer B may, and then counts as a
 * floating-point operand of (b - zero) * scale.
 */
struct onpu_gemm_scales {
	uint32_t group;			/* 0: none, else a power of two from 32 to 128 */
	uint32_t type;			/* 0: UE8M0, else ONPU_DTYPE_F16 or ONPU_DTYPE_BF16 */
	uint64_t ld;			/* in elements; of the zero points too */
	struct onpu_view view;
	struct onpu_view zero;		/* I8; n == 0: none */
};

/* Scales and zero points of D: one for all, or one for each row or column. */
#define ONPU_GEMM_D_SCALE_ROWS	(1u << 0)
#define ONPU_GEMM_D_SCALE_COLS	(1u << 1)
#define ONPU_GEMM_NO_SATURATE	(1u << 2)	/* FP8 results overflow to infinity or NaN */
#define ONPU_GEMM_ALPHA		(1u << 3)

/*
 * What happens to a sum before it is stored, in the order of the members (numerics.md). A view
 * with n == 0 is an operand that is not there. Vectors are as long as D has rows or columns.
 */
struct onpu_gemm_epilogue {
	struct onpu_view row_scale, col_scale;	/* F32 */
	uint32_t alpha;				/* F32 bits; looked at with ONPU_GEMM_ALPHA */
	uint32_t beta;				/* F32 bits; of C */
	struct onpu_view c;
	uint32_t c_type;			/* F32, BF16 or F16, as bias_type and residual_type */
	uint64_t ldc;
	struct onpu_view bias;			/* one for each column */
	uint32_t bias_type;
	uint32_t activation;			/* enum onpu_activation */
	struct onpu_view residual;
	uint32_t residual_type;
	uint64_t ldr;
	struct onpu_view d_scale;		/* F32 */
	struct onpu_view d_zero;		/* I8; D is I8 */
	uint32_t d_type;			/* F32, BF16, F16, E4M3, E5M2 or I8 */
	uint32_t flags;				/* ONPU_GEMM_D_SCALE_* ... */
};

/*
 * Element (r, c) of a stored (row-major) matrix is at bit (r * ld + c) * element bits.
 * C may be the same memory with the same ldc as D (in place). Any other overlap of D with
 * an input gives an unspecified result.
 *
 * The product may be a block of a larger one: rows [m0, m0 + m), columns [n0, n0 + n) of D, and
 * k from k0, which is a multiple of 16. Views and scales are those of the whole.
 */
/*
 * A product may be stopped between its parts, of which at least one is done. After -EINTR the
 * columns [0, n) of D are complete; of the next part_n ones the sums have come to k, of the first
 * part_m rows of those to k + part_k.
 */
struct onpu_gemm_stop {
	const atomic_bool *flag;
	bool make_way;			/* for a task that waits for a worker, too */
	bool one_panel;			/* n may not be anything but 0, nor part_n but all of n */
	bool one_k;			/* nor k but 0, and part_k all of k */
	uint32_t n, part_n, k, part_m, part_k;
};

struct onpu_gemm_desc {
	uint32_t m, n, k;		/* each >= 1 */
	uint32_t m0, n0, k0;
	uint32_t a_type, b_type;	/* enum onpu_dtype; sums and C are F32, or I32 of two integers */
	uint32_t flags;			/* ONPU_GEMM_* */
	uint32_t isa;			/* enum onpu_gemm_isa; 0 except in tests */
	uint64_t lda, ldb, ldc, ldd;	/* in elements, >= columns of the stored matrix */
	struct onpu_view a, b, c, d;	/* c is looked at only with ACCUMULATE */
	struct onpu_gemm_scales a_scales, b_scales;
	const struct onpu_gemm_epilogue *epilogue;	/* NULL: D is the sums */
	struct onpu_gemm_stop *stop;			/* NULL: it goes on to the end */
};

struct onpu_gemm_stats {
	uint64_t macs;			/* multiply-adds asked for: m * n * k (saturating) */
	const char *kernel;		/* static string, e.g. "avx512-f32" */
};

/*
 * Returns 0; -EINVAL (bad type, flag, dimension, leading dimension, or a view shorter than its
 * matrix); -ENOMEM (no scratch memory); -EINTR (desc->stop tells how far); -ECANCELED (*cancel was seen true: D is part old,
 * part new, part intermediate). cancel and stats may be NULL. Any thread, any number at once.
 */
int onpu_gemm(struct onpu_pool *pool, const struct onpu_gemm_desc *desc,
	      const atomic_bool *cancel, struct onpu_gemm_stats *stats);

/* Bits of an element; 0 for an unknown type. */
unsigned int onpu_gemm_elem_bits(uint32_t dtype);

/* True for the types with a UE8M0 scale per 32 elements. */
bool onpu_gemm_is_mx(uint32_t dtype);

/*
 * The type of the sums: F32, I32, or 0 if A and B cannot be multiplied. b_group: B has scales
 * for groups of so many (0: it has not, or those of its MX type).
 */
uint32_t onpu_gemm_sum_type(uint32_t a_type, uint32_t b_type, uint32_t b_group);

/* True for the types that an epilogue converts to. */
bool onpu_gemm_is_result(uint32_t dtype);

/*
 * Bytes that a rows x cols matrix with leading dimension ld spans, from its first element to
 * the end of its last. False on overflow, zero dimension, ld < cols, or rows that start within
 * a byte.
 */
bool onpu_gemm_span(uint64_t rows, uint64_t cols, uint64_t ld, unsigned int elem_bits,
		    uint64_t *bytes);

/* What this machine can run, and names for messages and tests. */
bool onpu_gemm_isa_supported(enum onpu_gemm_isa isa);
const char *onpu_gemm_isa_name(enum onpu_gemm_isa isa);
/* log2 by which work is to be less that would take seconds without wide vectors. */
unsigned int onpu_gemm_slow(enum onpu_gemm_isa isa);

#endif

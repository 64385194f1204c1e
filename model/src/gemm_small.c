// SPDX-License-Identifier: MIT
/*
 * Small products: what fits into a few slivers.
 *
 * Idea: dividing the work, looking for segments and for others who might help takes longer than such
 * a product, or an eighth as long for one of 128 x 128 x 128 that nobody would help with. Operands that
 * lie in one segment each and need no conversion are packed to the stack: B as a whole, A a sliver at a time. They are
 * multiplied at once, by the kernel that all products have. What order sums have does not depend on
 * any of this, so the result is that of gemm.c.
 *
 * Locking: none, nothing is shared.
 */
#include "gemm_priv.h"

#define MAX_DIM		128u
#define SMALL_DIM	64u	/* up to this nobody is asked to help */
#define MAX_A_WORDS	2048u	/* of a packed sliver of A */
#define MAX_B_WORDS	16640u	/* of packed B: four slivers with their heads */
#define LINE_WORDS	16u	/* slivers start at cache lines */

/* One operand: lanes are rows of A or columns of B. */
struct operand {
	const uint8_t *base;
	uint64_t pitch;			/* bytes from stored row to stored row */
	unsigned int bytes;		/* of an element */
	bool k_contiguous;
	enum gemm_mode mode;
	uint32_t count;			/* lanes */
	uint32_t used;			/* of a sliver */
	uint32_t lanes;			/* of a sliver, in memory */
	uint32_t head;			/* units before a sliver */
	uint32_t stride;		/* units from sliver to sliver */
};

static uint32_t units_of(const struct gemm_kernel *kern, uint32_t k)
{
	return (k + kern->ku - 1) / kern->ku;
}

static uint32_t stride_of(uint32_t head, uint32_t units, uint32_t lanes)
{
	return (head + units * lanes + LINE_WORDS - 1) & ~(LINE_WORDS - 1);
}

static uint32_t slivers_of(uint32_t count, uint32_t used)
{
	return (count + used - 1) / used;
}

static bool one_segment(const struct onpu_view *view)
{
	return view->n == 1;
}

bool gemm_small_fits(const struct gemm_kernel *kern, const struct onpu_gemm_desc *d, bool alone)
{
	uint32_t max = alone ? MAX_DIM : SMALL_DIM, units;

	if (d->m > max || d->n > max || d->k > max || d->k > kern->kc ||
	    d->epilogue || d->a_scales.group || d->b_scales.group)
		return false;
	/* A few rows of several slivers have a kernel of their own. */
	if (d->m <= kern->few_rows && d->n > kern->nr)
		return false;
	units = units_of(kern, d->k);
	return stride_of(0, units, kern->a_lanes) <= MAX_A_WORDS &&
	       slivers_of(d->n, kern->nr) * stride_of(kern->b_head, units, kern->nr) <= MAX_B_WORDS &&
	       one_segment(&d->a) && one_segment(&d->b) && one_segment(&d->d) &&
	       (!(d->flags & ONPU_GEMM_ACCUMULATE) || one_segment(&d->c));
}

/* The sliver that begins with a lane. */
static void pack_sliver(const struct gemm_kernel *kern, const struct operand *o, uint32_t lane,
			uint32_t k, uint32_t *dst)
{
	uint32_t count = o->count - lane < o->used ? o->count - lane : o->used;
	uint32_t n = o->k_contiguous ? count : k;
	const uint8_t *rows[MAX_DIM];

	for (uint32_t r = 0; r < n; r++)
		rows[r] = o->base + ((o->k_contiguous ? lane : 0) + r) * o->pitch;
	if (o->k_contiguous)
		kern->pack_rows(dst + o->head, o->lanes, rows, count, k, o->mode, NULL);
	else
		kern->pack_cols(dst + o->head, o->lanes, rows, (size_t)lane * o->bytes, count, k,
				o->mode, NULL);
}

/* Element (row, col) of a stored matrix, which lies in one segment. */
static uint8_t *element(const struct onpu_view *view, uint64_t ld, unsigned int bytes, uint64_t row,
			uint64_t col)
{
	return view->segs[0].ptr + (row * ld + col) * bytes;
}

static struct operand operand_a(const struct gemm_kernel *kern, const struct onpu_gemm_desc *d,
				enum gemm_mode mode)
{
	bool trans = d->flags & ONPU_GEMM_TRANS_A;
	unsigned int bytes = onpu_gemm_elem_bits(d->a_type) / 8;

	return (struct operand){
		.base = element(&d->a, d->lda, bytes, trans ? d->k0 : d->m0, trans ? d->m0 : d->k0),
		.pitch = d->lda * bytes, .bytes = bytes, .k_contiguous = !trans, .mode = mode,
		.count = d->m, .used = kern->mr, .lanes = kern->a_lanes,
	};
}

static struct operand operand_b(const struct gemm_kernel *kern, const struct onpu_gemm_desc *d,
				enum gemm_mode mode)
{
	bool trans = d->flags & ONPU_GEMM_TRANS_B;
	unsigned int bytes = onpu_gemm_elem_bits(d->b_type) / 8;

	return (struct operand){
		.base = element(&d->b, d->ldb, bytes, trans ? d->n0 : d->k0, trans ? d->k0 : d->n0),
		.pitch = d->ldb * bytes, .bytes = bytes, .k_contiguous = trans, .mode = mode,
		.count = d->n, .used = kern->nr, .lanes = kern->nr, .head = kern->b_head,
		.stride = stride_of(kern->b_head, units_of(kern, d->k), kern->nr),
	};
}

/* Rows [row, row + rows) of D, all columns. */
static void multiply(const struct gemm_kernel *kern, const struct onpu_gemm_desc *d, uint32_t row,
		     uint32_t rows, const uint32_t *a, const uint32_t *b, uint32_t stride)
{
	bool adds = d->flags & ONPU_GEMM_ACCUMULATE;
	const uint32_t *in[GEMM_MR_MAX];
	uint32_t *out[GEMM_MR_MAX];

	for (uint32_t r = 0; r < rows; r++) {
		out[r] = (uint32_t *)(void *)element(&d->d, d->ldd, 4, (uint64_t)d->m0 + row + r,
						     d->n0);
		in[r] = adds ? (const uint32_t *)(const void *)
			       element(&d->c, d->ldc, 4, (uint64_t)d->m0 + row + r, d->n0) : NULL;
	}
	for (uint32_t col = 0; col < d->n; col += kern->nr, b += stride)
		kern->tile(rows, d->n - col < kern->nr ? d->n - col : kern->nr,
			   units_of(kern, d->k), a, b, adds ? in : NULL, out, col, true);
}

void gemm_small(const struct gemm_kernel *kern, const struct onpu_gemm_desc *d,
		enum gemm_mode a_mode, enum gemm_mode b_mode)
{
	GEMM_BUFFER _Alignas(64) uint32_t packed_a[MAX_A_WORDS], packed_b[MAX_B_WORDS];
	struct operand a = operand_a(kern, d, a_mode), b = operand_b(kern, d, b_mode);
	uint32_t *sliver = packed_b;

	for (uint32_t col = 0; col < d->n; col += kern->nr, sliver += b.stride) {
		pack_sliver(kern, &b, col, d->k, sliver);
		if (kern->finish_b)
			kern->finish_b(sliver, units_of(kern, d->k));
	}
	for (uint32_t row = 0; row < d->m; row += kern->mr) {
		pack_sliver(kern, &a, row, d->k, packed_a);
		multiply(kern, d, row, d->m - row < kern->mr ? d->m - row : kern->mr, packed_a,
			 packed_b, b.stride);
	}
}

// SPDX-License-Identifier: MIT
/*
 * Small products: what fits into a few slivers.
 *
 * Idea: looking for segments and dividing the work takes longer than such a product, or an eighth as long
 * for one of 128 x 128 x 128. Operands that lie in one segment each and need no conversion are packed at
 * once, B as a whole, A a sliver at a time, and multiplied by the kernel that all products have. What
 * order sums have does not depend on any of this, so the result is that of gemm.c.
 *
 * Who helps packs B for himself, then takes slivers of A as everybody does: they meet once, at the
 * end, and no packed operand goes from one processor's cache to another's.
 *
 * Locking: none. Slivers of A are claimed by an atomic counter, and each has rows of D of its own.
 */
#include <errno.h>

#include "gemm_priv.h"
#include "pool.h"

#define MAX_DIM		256u
#define STACK_DIM	128u	/* up to this packed operands are on the stack */
#define ALONE_DIM	64u	/* up to this nobody is asked to help */
#define HELP_SLIVERS	3u	/* of A, that are left: with less B is not worth packing */
#define HELP_ROWS	64u	/* above STACK_DIM, for each thread: with less packing B once is better */
#define MAX_A_WORDS	4096u	/* of a packed sliver of A */
#define STACK_B_WORDS	16640u	/* of packed B: four slivers with their heads */
#define LINE_WORDS	16u	/* slivers start at cache lines */

/* One operand: lanes are rows of A or columns of B. */
struct operand {
	const uint8_t *base;
	uint64_t pitch;			/* bytes from stored row to stored row */
	unsigned int bytes;		/* of an element */
	bool k_contiguous;
	enum gemm_mode mode;
	uint32_t count;			/* lanes */
	uint32_t lanes;			/* of a sliver, in memory */
	uint32_t head;			/* units before a sliver */
	uint32_t stride;		/* units from sliver to sliver */
};

struct small {
	const struct gemm_kernel *kern;
	const struct onpu_gemm_desc *desc;
	struct operand a, b;
	struct onpu_pool *pool;
	uint32_t *first_b;		/* for index 0, or NULL: packed B fits the stack */
	uint32_t slivers;		/* of A */
	atomic_uint next;		/* first sliver of A that nobody has claimed */
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

static size_t words_of_b(const struct gemm_kernel *kern, const struct onpu_gemm_desc *d)
{
	return (size_t)slivers_of(d->n, kern->nr) * stride_of(kern->b_head, units_of(kern, d->k), kern->nr);
}

static bool all_within(const struct onpu_gemm_desc *d, uint32_t dim)
{
	return d->m <= dim && d->n <= dim && d->k <= dim;
}

bool gemm_small_fits(const struct gemm_kernel *kern, const struct onpu_gemm_desc *d,
		     const struct onpu_pool *pool)
{
	uint32_t threads = onpu_pool_threads(pool);

	if (!all_within(d, MAX_DIM) || d->k > kern->kc || d->epilogue || d->a_scales.group ||
	    d->b_scales.group)
		return false;
	if (!all_within(d, STACK_DIM) && d->m < HELP_ROWS * threads && !onpu_pool_alone(pool))
		return false;
	/* A few rows of several slivers have a kernel of their own. */
	if (d->m <= kern->few_rows && d->n > kern->nr)
		return false;
	return stride_of(0, units_of(kern, d->k), kern->a_lanes) <= MAX_A_WORDS &&
	       one_segment(&d->a) && one_segment(&d->b) && one_segment(&d->d) &&
	       (!(d->flags & ONPU_GEMM_ACCUMULATE) || one_segment(&d->c));
}

/* The sliver of count lanes that begins with one. */
static void pack_sliver(const struct gemm_kernel *kern, const struct operand *o, uint32_t lane,
			uint32_t count, uint32_t k, uint32_t *dst)
{
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
		.count = d->m, .lanes = kern->a_lanes,
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
		.count = d->n, .lanes = kern->nr, .head = kern->b_head,
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

/* All of B. */
static void pack_b(const struct small *s, uint32_t *dst)
{
	const struct gemm_kernel *kern = s->kern;
	uint32_t n = s->desc->n, k = s->desc->k;

	for (uint32_t col = 0; col < n; col += kern->nr, dst += s->b.stride) {
		pack_sliver(kern, &s->b, col, n - col < kern->nr ? n - col : kern->nr, k, dst);
		if (kern->finish_b)
			kern->finish_b(dst, units_of(kern, k));
	}
}

/* Claims slivers of A until there are none. */
static void multiply_slivers(struct small *s, const uint32_t *packed_b)
{
	GEMM_BUFFER _Alignas(64) uint32_t packed_a[MAX_A_WORDS];
	uint32_t m = s->desc->m, i;

	while ((i = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed)) < s->slivers) {
		uint32_t row = m * i / s->slivers, rows = m * (i + 1) / s->slivers - row;

		pack_sliver(s->kern, &s->a, row, rows, s->desc->k, packed_a);
		multiply(s->kern, s->desc, row, rows, packed_a, packed_b, s->b.stride);
	}
}

static void multiply_on_stack(struct small *s)
{
	GEMM_BUFFER _Alignas(64) uint32_t packed_b[STACK_B_WORDS];

	pack_b(s, packed_b);
	multiply_slivers(s, packed_b);
}

/* Whoever comes with index 0 stays until every sliver of A is claimed; others may go. */
static void small_item(void *arg, size_t index)
{
	struct small *s = arg;
	uint32_t *packed_b = s->first_b;
	gemm_fpmode_t mode;

	if (index && atomic_load_explicit(&s->next, memory_order_relaxed) + HELP_SLIVERS > s->slivers)
		return;
	if (index && s->first_b) {
		packed_b = onpu_pool_scratch_get(s->pool, words_of_b(s->kern, s->desc) * 4);
		if (!packed_b)
			return;
	}
	gemm_fpmode_enter(&mode);
	if (packed_b) {
		pack_b(s, packed_b);
		multiply_slivers(s, packed_b);
	} else {
		multiply_on_stack(s);
	}
	gemm_fpmode_leave(&mode);
	if (index)
		onpu_pool_scratch_put(s->pool, packed_b);
}

int gemm_small(const struct gemm_kernel *kern, struct onpu_pool *pool, const struct onpu_gemm_desc *d,
	       enum gemm_mode a_mode, enum gemm_mode b_mode)
{
	struct small s = {
		.kern = kern, .desc = d, .a = operand_a(kern, d, a_mode), .b = operand_b(kern, d, b_mode),
		.pool = pool, .slivers = slivers_of(d->m, kern->mr),
	};

	if (words_of_b(kern, d) > STACK_B_WORDS) {
		s.first_b = onpu_pool_scratch_get(pool, words_of_b(kern, d) * 4);
		if (!s.first_b)
			return -ENOMEM;
	}
	if (all_within(d, ALONE_DIM) || onpu_pool_alone(pool))
		small_item(&s, 0);
	else
		onpu_pool_for(pool, onpu_pool_threads(pool) + 1, small_item, &s, NULL);
	onpu_pool_scratch_put(pool, s.first_b);
	return 0;
}

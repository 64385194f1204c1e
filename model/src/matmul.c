// SPDX-License-Identifier: MIT
/*
 * The MATMUL packet: descriptor to views to onpu_gemm().
 *
 * Idea: the descriptor has been copied; it is checked completely, then the
 * pages that its matrices touch are translated and mapped, all of them, before
 * the first element is written. The product is computed block by block: a
 * block is an onpu_gemm() of its own on a part of the product, small enough that
 * other slots are not kept waiting. Cutting m and n changes nothing; cutting
 * k continues the sums from what stands in D, which is exactly the order that
 * Documentation/numerics.md defines.
 *
 * Locking: none; runs as the slot's engine.
 */
#include <errno.h>

#include "onpu_internal.h"

/*
 * Multiply-adds of a block: alone on the card, when another worker is there for whoever comes,
 * and when others want a turn. Rows and columns do not get below the minimum: small blocks
 * pack their operands too often.
 */
#define BLOCK_MACS_ALONE	(1ull << 35)
#define BLOCK_MACS_SHARED	(1ull << 30)
#define BLOCK_MIN_ALONE		2048u
#define BLOCK_MIN_SHARED	512u
#define BLOCK_MIN_LONG		256u	/* with more than BLOCK_K that cannot be cut */
#define BLOCK_GRAIN		256u
#define BLOCK_K			8192u

/* What a matmul may access, in the order of the access list. */
enum {
	OP_A, OP_B, OP_D, OP_C, OP_A_SCALE, OP_B_SCALE, OP_B_ZERO, OP_BIAS, OP_ROW_SCALE,
	OP_COL_SCALE, OP_D_SCALE, OP_D_ZERO, OP_RESIDUAL, OP_COUNT
};

_Static_assert(OP_COUNT <= DMA_MAX_ACCESS, "an access list holds every operand");

struct operand {
	uint64_t va, ld;
	uint64_t rows, cols;		/* as stored; rows 0: not there */
	unsigned int bits;		/* of an element */
};

static bool dim_valid(uint32_t dim)
{
	return dim >= 1 && dim <= ONPU_DIM_MAX;
}

/* Rows of elements that are less than a byte start at bytes. */
static bool operand_valid(const struct operand *op)
{
	return op->va % (op->bits < 8 ? 1 : op->bits / 8) == 0 && op->ld >= op->cols &&
	       op->ld <= ONPU_MATMUL_LD_MAX && op->ld * op->bits % 8 == 0;
}

/* Group of the scales of an operand along k, or 0. */
static unsigned int group_of(uint32_t dtype, unsigned int group)
{
	return onpu_gemm_is_mx(dtype) ? ONPU_MX_GROUP : group;
}

static struct operand scales(uint64_t va, uint64_t ld, const struct onpu_matmul_desc *d,
			     uint32_t lanes, bool k_rows, unsigned int group, unsigned int bits)
{
	uint32_t groups = (d->k - 1) / group + 1;

	return (struct operand){ va, ld, k_rows ? groups : lanes, k_rows ? lanes : groups, bits };
}

static struct operand vector(uint64_t va, uint32_t length, unsigned int bits)
{
	return (struct operand){ va, length, va ? 1 : 0, length, bits };
}

static void epilogue_operands(const struct onpu_matmul_desc *d, struct operand op[OP_COUNT])
{
	uint32_t length = d->flags & ONPU_MATMUL_D_SCALE_ROWS ? d->m :
			  d->flags & ONPU_MATMUL_D_SCALE_COLS ? d->n : 1;

	op[OP_BIAS] = vector(d->bias_va, d->n, onpu_gemm_elem_bits(d->bias_type));
	op[OP_ROW_SCALE] = vector(d->row_scale_va, d->m, 32);
	op[OP_COL_SCALE] = vector(d->col_scale_va, d->n, 32);
	op[OP_D_SCALE] = vector(d->d_scale_va, length, 32);
	op[OP_D_ZERO] = vector(d->d_zero_va, length, 8);
	if (d->residual_va)
		op[OP_RESIDUAL] = (struct operand){ d->residual_va, d->ldr, d->m, d->n,
						    onpu_gemm_elem_bits(d->residual_type) };
}

/* The operands of a descriptor whose types, dimensions and groups are valid. */
static void operands(const struct onpu_matmul_desc *d, struct operand op[OP_COUNT])
{
	bool ta = d->flags & ONPU_MATMUL_TRANS_A, tb = d->flags & ONPU_MATMUL_TRANS_B;
	unsigned int ga = group_of(d->a_type, 0), gb = group_of(d->b_type, d->b_group);

	for (unsigned int i = 0; i < OP_COUNT; i++)
		op[i] = (struct operand){ 0 };
	op[OP_A] = (struct operand){ d->a_va, d->lda, ta ? d->k : d->m, ta ? d->m : d->k,
				     onpu_gemm_elem_bits(d->a_type) };
	op[OP_B] = (struct operand){ d->b_va, d->ldb, tb ? d->n : d->k, tb ? d->k : d->n,
				     onpu_gemm_elem_bits(d->b_type) };
	op[OP_D] = (struct operand){ d->d_va, d->ldd, d->m, d->n, onpu_gemm_elem_bits(d->d_type) };
	if (d->flags & (ONPU_MATMUL_ACCUMULATE | ONPU_MATMUL_BETA))
		op[OP_C] = (struct operand){ d->c_va, d->ldc, d->m, d->n,
					     onpu_gemm_elem_bits(d->c_type) };
	if (ga)
		op[OP_A_SCALE] = scales(d->a_scale_va, d->lda_scale, d, d->m, ta, ga, 8);
	if (gb)
		op[OP_B_SCALE] = scales(d->b_scale_va, d->ldb_scale, d, d->n, !tb, gb,
					d->b_group ? 16 : 8);
	if (d->b_zero_va)
		op[OP_B_ZERO] = scales(d->b_zero_va, d->ldb_scale, d, d->n, !tb, gb, 8);
	epilogue_operands(d, op);
}

static bool reserved_zero(const struct onpu_matmul_desc *d)
{
	uint64_t any = d->reserved0 | d->reserved5;

	for (size_t i = 0; i < ARRAY_SIZE(d->reserved6); i++)
		any |= d->reserved6[i];
	for (size_t i = 0; i < ARRAY_SIZE(d->reserved); i++)
		any |= d->reserved[i];
	return !any;
}

/* Fields of scales that the types do not call for are zero. */
static bool scale_fields_valid(const struct onpu_matmul_desc *d)
{
	if (!onpu_gemm_is_mx(d->a_type) && (d->a_scale_va || d->lda_scale))
		return false;
	if (!group_of(d->b_type, d->b_group) && (d->b_scale_va || d->ldb_scale))
		return false;
	if (d->b_group ? d->b_scale_type != ONPU_DTYPE_F16 && d->b_scale_type != ONPU_DTYPE_BF16 :
			 d->b_scale_type || d->b_zero_va)
		return false;
	return true;
}

static bool is_float(uint32_t dtype)
{
	return dtype == ONPU_DTYPE_F32 || dtype == ONPU_DTYPE_BF16 || dtype == ONPU_DTYPE_F16;
}

/* Whether anything but storing the sums is to be done. */
static bool has_epilogue(const struct onpu_matmul_desc *d)
{
	return d->d_type != onpu_gemm_sum_type(d->a_type, d->b_type, d->b_group) ||
	       d->flags & (ONPU_MATMUL_ALPHA | ONPU_MATMUL_BETA) || d->bias_va || d->row_scale_va ||
	       d->col_scale_va || d->d_scale_va || d->d_zero_va || d->residual_va || d->activation;
}

/* A type is named exactly when its operand is there. */
static bool optional_valid(uint64_t va, uint32_t dtype)
{
	return va ? is_float(dtype) : dtype == 0;
}

static bool epilogue_fields_valid(const struct onpu_matmul_desc *d)
{
	uint32_t which = d->flags & (ONPU_MATMUL_D_SCALE_ROWS | ONPU_MATMUL_D_SCALE_COLS);

	if (!optional_valid(d->bias_va, d->bias_type) ||
	    !optional_valid(d->residual_va, d->residual_type) || (!d->residual_va && d->ldr) ||
	    d->activation > ONPU_ACT_SILU)
		return false;
	if ((!(d->flags & ONPU_MATMUL_ALPHA) && d->alpha) ||
	    (!(d->flags & ONPU_MATMUL_BETA) && d->beta))
		return false;
	if (which && ((which & (which - 1)) || (!d->d_scale_va && !d->d_zero_va)))
		return false;
	if (d->d_zero_va && d->d_type != ONPU_DTYPE_I8)
		return false;
	if (d->flags & ONPU_MATMUL_NO_SATURATE && d->d_type != ONPU_DTYPE_E4M3 &&
	    d->d_type != ONPU_DTYPE_E5M2)
		return false;
	return !has_epilogue(d) || onpu_gemm_is_result(d->d_type);
}

static bool c_fields_valid(const struct onpu_matmul_desc *d, uint32_t sum)
{
	switch (d->flags & (ONPU_MATMUL_ACCUMULATE | ONPU_MATMUL_BETA)) {
	case ONPU_MATMUL_ACCUMULATE:
		return d->c_type == sum;
	case ONPU_MATMUL_BETA:
		return is_float(d->c_type);
	case 0:
		return !d->c_type && !d->c_va && !d->ldc;
	default:
		return false;
	}
}

static bool desc_valid(const struct onpu_matmul_desc *d)
{
	uint32_t sum = onpu_gemm_sum_type(d->a_type, d->b_type, d->b_group);
	struct operand op[OP_COUNT];

	if (d->flags & ~ONPU_MATMUL_FLAGS || !reserved_zero(d))
		return false;
	if (!sum || !scale_fields_valid(d) || !c_fields_valid(d, sum) || !epilogue_fields_valid(d))
		return false;
	if (!dim_valid(d->m) || !dim_valid(d->n) || !dim_valid(d->k))
		return false;
	operands(d, op);
	for (unsigned int i = 0; i < OP_COUNT; i++)
		if (op[i].rows && !operand_valid(&op[i]))
			return false;
	return true;
}

/* Judges slot->desc. */
enum step onpu_matmul_prepare(struct onpu_slot *slot)
{
	if (!desc_valid(&slot->desc))
		return onpu_engine_error(slot, ONPU_ERR_DESC);
	slot->mm = (struct matmul_progress){ 0 };
	return STEP_OK;
}

/* Operands that are not there keep their place, with an empty view. */
static void list_accesses(struct onpu_slot *slot)
{
	struct operand op[OP_COUNT];

	operands(&slot->desc, op);
	onpu_dma_begin(slot);
	for (unsigned int i = 0; i < OP_COUNT; i++)
		onpu_dma_add_rows(slot, op[i].va, op[i].rows, (op[i].cols * op[i].bits + 7) / 8,
				  op[i].ld * op[i].bits / 8,
				  i == OP_D ? ONPU_FAULT_ACCESS_WRITE : ONPU_FAULT_ACCESS_READ,
				  onpu_packet_priv(slot));
}

/* The whole of dim if what remains of the budget allows, else a piece of it. */
static uint32_t fit(uint32_t dim, uint64_t budget, uint32_t min)
{
	if (dim <= budget || dim <= min)
		return dim;
	budget -= budget % BLOCK_GRAIN;
	return budget < min ? min : budget;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/*
 * The size of the block that starts at slot->mm. It depends on who else is busy
 * right now; but a band of rows keeps its height until it is done over all
 * columns, and a block of columns its width until it is done over all of k.
 */
static void choose_block(struct onpu_slot *slot)
{
	const struct onpu_matmul_desc *d = &slot->desc;
	struct matmul_progress *at = &slot->mm;
	bool shared = onpu_pool_threads(slot->card->pool) == 1 ||
		      atomic_load_explicit(&slot->card->busy_slots, memory_order_relaxed) > 1;
	uint64_t macs = shared ? BLOCK_MACS_SHARED : BLOCK_MACS_ALONE;
	uint32_t min = shared ? BLOCK_MIN_SHARED : BLOCK_MIN_ALONE;
	/* Only plain sums can wait in D. */
	bool whole_k = has_epilogue(d);
	uint32_t k = whole_k ? d->k : min_u32(d->k, BLOCK_K), n;

	if (k > BLOCK_K)
		min = BLOCK_MIN_LONG;
	n = fit(d->n, macs / k / min, min);
	if (at->n == 0 && at->k == 0)
		at->bm = min_u32(fit(d->m, macs / k / n, min), d->m - at->m);
	if (at->k == 0)
		at->bn = min_u32(n, d->n - at->n);
	at->bk = min_u32(k, d->k - at->k);
}

static struct onpu_gemm_epilogue epilogue(const struct onpu_slot *slot)
{
	const struct onpu_matmul_desc *d = &slot->desc;
	const struct onpu_view *v = slot->dma.view;
	struct onpu_gemm_epilogue e = {
		.row_scale = v[OP_ROW_SCALE], .col_scale = v[OP_COL_SCALE],
		.alpha = d->alpha, .beta = d->beta,
		.bias = v[OP_BIAS], .bias_type = d->bias_type, .activation = d->activation,
		.residual = v[OP_RESIDUAL], .residual_type = d->residual_type, .ldr = d->ldr,
		.d_scale = v[OP_D_SCALE], .d_zero = v[OP_D_ZERO], .d_type = d->d_type,
	};

	if (d->flags & ONPU_MATMUL_BETA) {
		e.c = v[OP_C];
		e.c_type = d->c_type;
		e.ldc = d->ldc;
	}
	if (d->flags & ONPU_MATMUL_ALPHA)
		e.flags |= ONPU_GEMM_ALPHA;
	if (d->flags & ONPU_MATMUL_D_SCALE_ROWS)
		e.flags |= ONPU_GEMM_D_SCALE_ROWS;
	if (d->flags & ONPU_MATMUL_D_SCALE_COLS)
		e.flags |= ONPU_GEMM_D_SCALE_COLS;
	if (d->flags & ONPU_MATMUL_NO_SATURATE)
		e.flags |= ONPU_GEMM_NO_SATURATE;
	return e;
}

/* Computes one block. */
static int run_block(struct onpu_slot *slot)
{
	const struct onpu_matmul_desc *d = &slot->desc;
	const struct matmul_progress *at = &slot->mm;
	const struct onpu_view *v = slot->dma.view;
	struct onpu_gemm_desc g = {
		.m = at->bm, .n = at->bn, .k = at->bk, .m0 = at->m, .n0 = at->n, .k0 = at->k,
		.a_type = d->a_type, .b_type = d->b_type, .isa = slot->card->isa,
		.flags = d->flags & (ONPU_MATMUL_TRANS_A | ONPU_MATMUL_TRANS_B |
				     ONPU_MATMUL_ACCUMULATE),
		.lda = d->lda, .ldb = d->ldb, .ldc = d->ldc, .ldd = d->ldd,
		.a = v[OP_A], .b = v[OP_B], .c = v[OP_C], .d = v[OP_D],
		.a_scales = { .group = group_of(d->a_type, 0), .ld = d->lda_scale,
			      .view = v[OP_A_SCALE] },
		.b_scales = { .group = group_of(d->b_type, d->b_group), .ld = d->ldb_scale,
			      .type = d->b_scale_type, .view = v[OP_B_SCALE],
			      .zero = v[OP_B_ZERO] },
	};

	struct onpu_gemm_epilogue e;

	if (has_epilogue(d)) {
		e = epilogue(slot);
		g.epilogue = &e;
	}
	if (at->k) {
		/* The sums go on from where the last block of k left them. */
		g.flags |= ONPU_GEMM_ACCUMULATE;
		g.c = g.d;
		g.ldc = g.ldd;
	}
	return onpu_gemm(slot->card->pool, &g, &slot->cancel, NULL);
}

static void spoil(struct onpu_slot *slot)
{
	struct onpu_card *card = slot->card;
	uint64_t left = atomic_load_explicit(&card->inject.corrupt, memory_order_relaxed);

	while (left) {
		if (!atomic_compare_exchange_weak(&card->inject.corrupt, &left, left - 1))
			continue;
		slot->dma.view[OP_D].segs[0].ptr[0] ^= 1;
		return;
	}
}

static void finish(struct onpu_slot *slot)
{
	const struct onpu_matmul_desc *d = &slot->desc;
	struct onpu_counters *cnt = &slot->card->cnt;

	spoil(slot);
	atomic_fetch_add_explicit(&cnt->matmuls, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&cnt->matmul_ops, 2ull * d->m * d->n * d->k,
				  memory_order_relaxed);
}

enum step onpu_matmul_execute(struct onpu_slot *slot)
{
	const struct onpu_matmul_desc *d = &slot->desc;
	struct matmul_progress *at = &slot->mm;
	enum step step;
	int ret;

	if (slot->dma.state == DMA_IDLE)
		list_accesses(slot);
	step = onpu_dma_progress(slot);
	if (step != STEP_OK)
		return step;

	choose_block(slot);
	slot->work = (uint64_t)at->bm * at->bn * at->bk / ONPU_UNIT_MACS;
	ret = run_block(slot);
	if (ret == -ECANCELED)
		return STEP_STOP;
	if (ret)
		return onpu_engine_error(slot, ONPU_ERR_INTERNAL);
	at->k += at->bk;
	if (at->k < d->k)
		return STEP_YIELD;
	at->k = 0;
	at->n += at->bn;
	if (at->n < d->n)
		return STEP_YIELD;
	at->n = 0;
	at->m += at->bm;
	if (at->m < d->m)
		return STEP_YIELD;
	finish(slot);
	return STEP_OK;
}

// SPDX-License-Identifier: MIT
/*
 * The MATMUL packet: descriptor to views to onpu_gemm().
 *
 * Idea: the descriptor has been copied; it is checked completely, then the
 * pages that its matrices touch are translated and mapped, all of them, before
 * the first element is written. The product is computed block by block: a
 * block is an onpu_gemm() of its own on parts of the views, small enough that
 * other slots are not kept waiting. Cutting m and n changes nothing; cutting
 * k continues the sums from what stands in D, which is exactly the order that
 * Documentation/numerics.md defines.
 *
 * Locking: none; runs as the slot's engine.
 */
#include <errno.h>
#include <stdlib.h>

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
#define BLOCK_GRAIN		256u
#define BLOCK_K			8192u

struct operand {
	uint64_t va, ld;
	uint64_t rows, cols;		/* as stored */
	unsigned int es;
};

static unsigned int out_type(unsigned int in)
{
	switch (in) {
	case ONPU_DTYPE_F32:
	case ONPU_DTYPE_BF16:
	case ONPU_DTYPE_F16:
		return ONPU_DTYPE_F32;
	case ONPU_DTYPE_I8:
		return ONPU_DTYPE_I32;
	default:
		return 0;
	}
}

static bool dim_valid(uint32_t dim)
{
	return dim >= 1 && dim <= ONPU_DIM_MAX;
}

static bool operand_valid(const struct operand *op)
{
	return op->va % op->es == 0 && op->ld >= op->cols && op->ld <= ONPU_MATMUL_LD_MAX;
}

static void operands(const struct onpu_matmul_desc *d, struct operand op[4])
{
	bool ta = d->flags & ONPU_MATMUL_TRANS_A, tb = d->flags & ONPU_MATMUL_TRANS_B;
	unsigned int es = onpu_gemm_elem_size(d->a_type);

	op[0] = (struct operand){ d->a_va, d->lda, ta ? d->k : d->m, ta ? d->m : d->k, es };
	op[1] = (struct operand){ d->b_va, d->ldb, tb ? d->n : d->k, tb ? d->k : d->n, es };
	op[2] = (struct operand){ d->d_va, d->ldd, d->m, d->n, 4 };
	op[3] = (struct operand){ d->c_va, d->ldc, d->m, d->n, 4 };
}

static bool desc_valid(const struct onpu_matmul_desc *d)
{
	bool acc = d->flags & ONPU_MATMUL_ACCUMULATE;
	struct operand op[4];

	if (d->flags & ~ONPU_MATMUL_FLAGS || d->reserved0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(d->reserved); i++)
		if (d->reserved[i])
			return false;
	if (!out_type(d->a_type) || d->b_type != d->a_type || d->d_type != out_type(d->a_type) ||
	    d->c_type != (acc ? d->d_type : 0))
		return false;
	if (!dim_valid(d->m) || !dim_valid(d->n) || !dim_valid(d->k))
		return false;
	operands(d, op);
	if (!operand_valid(&op[0]) || !operand_valid(&op[1]) || !operand_valid(&op[2]))
		return false;
	return acc ? operand_valid(&op[3]) : d->c_va == 0 && d->ldc == 0;
}

/* Judges slot->desc. */
enum step onpu_matmul_prepare(struct onpu_slot *slot)
{
	if (!desc_valid(&slot->desc))
		return onpu_engine_error(slot, ONPU_ERR_DESC);
	slot->mm = (struct matmul_progress){ 0 };
	return STEP_OK;
}

static void list_accesses(struct onpu_slot *slot)
{
	unsigned int n = slot->desc.flags & ONPU_MATMUL_ACCUMULATE ? 4 : 3;
	struct operand op[4];

	operands(&slot->desc, op);
	onpu_dma_begin(slot);
	for (unsigned int i = 0; i < n; i++)
		onpu_dma_add_rows(slot, op[i].va, op[i].rows, op[i].cols * op[i].es,
				  op[i].ld * op[i].es,
				  i == 2 ? ONPU_FAULT_ACCESS_WRITE : ONPU_FAULT_ACCESS_READ,
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
	uint32_t k = min_u32(d->k, BLOCK_K), n = fit(d->n, macs / k / min, min);

	if (at->n == 0 && at->k == 0)
		at->bm = min_u32(fit(d->m, macs / k / n, min), d->m - at->m);
	if (at->k == 0)
		at->bn = min_u32(n, d->n - at->n);
	at->bk = min_u32(k, d->k - at->k);
}

static struct onpu_view block_view(const struct onpu_view *view, const struct operand *op,
				   uint64_t row, uint64_t col, uint64_t rows, uint64_t cols,
				   struct onpu_seg **segs)
{
	uint64_t off = (row * op->ld + col) * op->es;
	uint64_t len = ((rows - 1) * op->ld + cols) * op->es;
	struct onpu_view sub = onpu_view_sub(view, off, len, *segs);

	*segs += sub.n;
	return sub;
}

/* Computes one block; views of a whole matmul are used as they are. */
static int run_block(struct onpu_slot *slot)
{
	const struct onpu_matmul_desc *d = &slot->desc;
	const struct matmul_progress *at = &slot->mm;
	bool ta = d->flags & ONPU_MATMUL_TRANS_A, tb = d->flags & ONPU_MATMUL_TRANS_B;
	struct onpu_view *v = slot->dma.view;
	struct onpu_seg *segs = NULL, *next;
	size_t n_segs = 0;
	struct operand op[4];
	struct onpu_gemm_desc g = {
		.m = at->bm, .n = at->bn, .k = at->bk, .dtype = d->a_type,
		.flags = d->flags, .isa = slot->card->isa,
		.lda = d->lda, .ldb = d->ldb, .ldc = d->ldc, .ldd = d->ldd,
		.a = v[0], .b = v[1], .d = v[2],
	};
	int ret;

	if (d->flags & ONPU_MATMUL_ACCUMULATE)
		g.c = v[3];
	if (at->bm != d->m || at->bn != d->n || at->bk != d->k) {
		for (unsigned int i = 0; i < slot->dma.n_access; i++)
			n_segs += v[i].n;
		segs = calloc(n_segs, sizeof(*segs));
		if (!segs)
			return -ENOMEM;
		next = segs;
		operands(d, op);
		g.a = block_view(&v[0], &op[0], ta ? at->k : at->m, ta ? at->m : at->k,
				 ta ? at->bk : at->bm, ta ? at->bm : at->bk, &next);
		g.b = block_view(&v[1], &op[1], tb ? at->n : at->k, tb ? at->k : at->n,
				 tb ? at->bn : at->bk, tb ? at->bk : at->bn, &next);
		g.d = block_view(&v[2], &op[2], at->m, at->n, at->bm, at->bn, &next);
		if (at->k == 0 && d->flags & ONPU_MATMUL_ACCUMULATE)
			g.c = block_view(&v[3], &op[3], at->m, at->n, at->bm, at->bn, &next);
	}
	if (at->k) {
		/* The sums go on from where the last block of k left them. */
		g.flags |= ONPU_GEMM_ACCUMULATE;
		g.c = g.d;
		g.ldc = g.ldd;
	}
	ret = onpu_gemm(slot->card->pool, &g, &slot->cancel, NULL);
	free(segs);
	return ret;
}

static void spoil(struct onpu_slot *slot)
{
	struct onpu_card *card = slot->card;
	uint64_t left = atomic_load_explicit(&card->inject.corrupt, memory_order_relaxed);

	while (left) {
		if (!atomic_compare_exchange_weak(&card->inject.corrupt, &left, left - 1))
			continue;
		slot->dma.view[2].segs[0].ptr[0] ^= 1;
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

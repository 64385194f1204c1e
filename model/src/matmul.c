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
 * A batch is one such matmul after the other: slot->item is the descriptor of the one that
 * is being done, made of slot->desc and of what the batch's array in memory says.
 *
 * Locking: none; runs as the slot's engine.
 */
#include <errno.h>

#include "gemm_priv.h"
#include "gemm_view.h"
#include "onpu_internal.h"

/*
 * Multiply-adds of a block: alone on the card, when another worker is there for whoever comes, or
 * the only one makes way (half of it with an epilogue, which is stopped less often); and when others want
 * a turn, or of few rows, which are multiplied without a stop. Rows and columns do not get below the
 * minimum: small blocks pack their operands too often.
 * Fewer rows than the least take as long as those, to read the columns. Narrow blocks of them would read
 * a bit of each row, but a processor that is slow could not let go of wide ones in time.
 */
#define BLOCK_MACS_ALONE	(1ull << 36)
#define BLOCK_MACS_SHARED	(1ull << 30)
#define BLOCK_FEW_ROWS		32u
#define BLOCK_LEAST_ROWS	16u
#define BLOCK_MIN_ALONE		2048u
#define BLOCK_MIN_SHARED	512u
#define BLOCK_MIN_LONG		256u	/* with more than BLOCK_K that cannot be cut */
#define BLOCK_GRAIN		256u
#define BLOCK_K			8192u
/* A block of less k counts as one of so much: then what takes time is to store D. */
#define BLOCK_K_LEAST		1024u
#define BATCH_TURN		64u	/* matmuls of a batch, or units of work, in one go */
/* Of a matmul that is short: a microsecond or two, whatever the processor has. */
#define SHORT_MACS		(1u << 14)
#define SHORT_DIM		512u

/* What a matmul may access, in the order of the access list. */
enum {
	OP_A, OP_B, OP_D, OP_C,		/* those that a plain matmul has come first */
	OP_A_SCALE, OP_B_SCALE, OP_B_ZERO, OP_BIAS, OP_ROW_SCALE,
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

/* Whether anything but storing the sums is to be done. */
static bool has_epilogue(const struct onpu_matmul_desc *d)
{
	return d->d_type != onpu_gemm_sum_type(d->a_type, d->b_type, d->b_group) ||
	       d->flags & (ONPU_MATMUL_ALPHA | ONPU_MATMUL_BETA) || d->bias_va || d->row_scale_va ||
	       d->col_scale_va || d->d_scale_va || d->d_zero_va || d->residual_va || d->activation;
}

/* Whether there is nothing but A, B, D and perhaps C. */
static bool is_plain(const struct onpu_matmul_desc *d)
{
	return !has_epilogue(d) && !group_of(d->a_type, 0) && !group_of(d->b_type, d->b_group);
}

/*
 * The operands of a descriptor whose types, dimensions and groups are valid; returns how many of
 * them there may be, in their order.
 */
static unsigned int operands(const struct onpu_matmul_desc *d, struct operand op[OP_COUNT])
{
	bool ta = d->flags & ONPU_MATMUL_TRANS_A, tb = d->flags & ONPU_MATMUL_TRANS_B;
	unsigned int ga = group_of(d->a_type, 0), gb = group_of(d->b_type, d->b_group);

	op[OP_A] = (struct operand){ d->a_va, d->lda, ta ? d->k : d->m, ta ? d->m : d->k,
				     onpu_gemm_elem_bits(d->a_type) };
	op[OP_B] = (struct operand){ d->b_va, d->ldb, tb ? d->n : d->k, tb ? d->k : d->n,
				     onpu_gemm_elem_bits(d->b_type) };
	op[OP_D] = (struct operand){ d->d_va, d->ldd, d->m, d->n, onpu_gemm_elem_bits(d->d_type) };
	op[OP_C] = (struct operand){ 0 };
	if (d->flags & (ONPU_MATMUL_ACCUMULATE | ONPU_MATMUL_BETA))
		op[OP_C] = (struct operand){ d->c_va, d->ldc, d->m, d->n,
					     onpu_gemm_elem_bits(d->c_type) };
	if (is_plain(d))
		return OP_C + 1;
	for (unsigned int i = OP_C + 1; i < OP_COUNT; i++)
		op[i] = (struct operand){ 0 };
	if (ga)
		op[OP_A_SCALE] = scales(d->a_scale_va, d->lda_scale, d, d->m, ta, ga, 8);
	if (gb)
		op[OP_B_SCALE] = scales(d->b_scale_va, d->ldb_scale, d, d->n, !tb, gb,
					d->b_group ? 16 : 8);
	if (d->b_zero_va)
		op[OP_B_ZERO] = scales(d->b_zero_va, d->ldb_scale, d, d->n, !tb, gb, 8);
	epilogue_operands(d, op);
	return OP_COUNT;
}

/* Steps from matmul to matmul of a batch. */
static bool batch_fields_valid(const struct onpu_matmul_desc *d)
{
	bool strides = d->a_stride || d->b_stride || d->c_stride || d->d_stride ||
		       d->residual_stride;

	if (d->batch_mode != ONPU_BATCH_NONE && (!d->batch || d->batch > ONPU_MATMUL_BATCH_MAX))
		return false;
	switch (d->batch_mode) {
	case ONPU_BATCH_NONE:
		return !d->batch && !strides && !d->batch_va &&
		       !(d->flags & ONPU_MATMUL_BATCH_VECTORS);
	case ONPU_BATCH_STRIDED:
		return !d->batch_va && (d->c_type || !d->c_stride) &&
		       (d->residual_va || !d->residual_stride);
	case ONPU_BATCH_ITEMS:
		return !strides && d->batch_va && d->batch_va % 8 == 0;
	case ONPU_BATCH_GROUPED:
		return !d->a_stride && !d->c_stride && !d->d_stride && !d->residual_stride &&
		       d->batch_va && d->batch_va % 4 == 0 && !(d->flags & ONPU_MATMUL_TRANS_A);
	default:
		return false;
	}
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

static bool addresses_valid(const struct onpu_matmul_desc *d)
{
	GEMM_BUFFER struct operand op[OP_COUNT];
	unsigned int count = operands(d, op);

	for (unsigned int i = 0; i < count; i++)
		if (op[i].rows && !operand_valid(&op[i]))
			return false;
	return true;
}

static bool desc_valid(const struct onpu_matmul_desc *d)
{
	uint32_t sum = onpu_gemm_sum_type(d->a_type, d->b_type, d->b_group);

	if (d->flags & ~ONPU_MATMUL_FLAGS || d->reserved0 || d->reserved[0] || d->reserved[1] ||
	    !batch_fields_valid(d))
		return false;
	if (!sum || !scale_fields_valid(d) || !c_fields_valid(d, sum) || !epilogue_fields_valid(d))
		return false;
	if (!dim_valid(d->m) || !dim_valid(d->n) || !dim_valid(d->k))
		return false;
	return addresses_valid(d);
}

/* Judges slot->desc. */
enum step onpu_matmul_prepare(struct onpu_slot *slot)
{
	if (!desc_valid(&slot->desc))
		return onpu_engine_error(slot, ONPU_ERR_DESC);
	slot->mm = (struct matmul_progress){ 0 };
	return STEP_OK;
}

/* A migrated slot's progress, whose descriptor has been judged. */
bool onpu_matmul_progress_valid(const struct onpu_slot *slot)
{
	const struct onpu_matmul_desc *d = &slot->item;
	const struct matmul_progress *at = &slot->mm;

	if (at->item && at->item >= slot->desc.batch)
		return false;
	if (at->start > slot->desc.m)
		return false;
	if (!at->loaded)
		return !at->m && !at->n && !at->k && !at->part_m && !at->part_k;
	if (!desc_valid(d) || d->batch_mode || d->a_type != slot->desc.a_type ||
	    d->b_type != slot->desc.b_type || d->m > slot->desc.m || d->n != slot->desc.n ||
	    d->k != slot->desc.k)
		return false;
	if (at->m >= d->m || at->n >= d->n || at->k >= d->k || (at->k && has_epilogue(d)))
		return false;
	if ((at->n || at->k || at->part_k) && (at->bm == 0 || at->bm > d->m - at->m))
		return false;
	if ((at->k || at->part_k) && (at->bn == 0 || at->bn > d->n - at->n))
		return false;
	return at->part_k ? at->part_m && at->part_m < at->bm && at->part_k <= d->k - at->k &&
			    (at->part_k == d->k || !has_epilogue(d)) :
			    !at->part_m;
}

/* --- matmuls of a batch ----------------------------------------------------- */

static void add(__u64 *va, uint64_t bytes)
{
	if (*va)
		*va += bytes;
}

static void add_item(struct onpu_matmul_desc *d, const struct onpu_matmul_item *item)
{
	d->a_va += item->a;
	d->b_va += item->b;
	if (d->c_type)
		d->c_va += item->c;
	d->d_va += item->d;
	add(&d->residual_va, item->residual);
	if (onpu_gemm_is_mx(d->a_type))
		d->a_scale_va += item->a_scale;
	if (group_of(d->b_type, d->b_group))
		d->b_scale_va += item->b_scale;
	add(&d->b_zero_va, item->b_zero);
}

/* Scales move with their operand: matrix follows matrix. */
static struct onpu_matmul_item strides(const struct onpu_matmul_desc *d, uint64_t i)
{
	struct onpu_matmul_item item = {
		.a = i * d->a_stride, .b = i * d->b_stride, .c = i * d->c_stride,
		.d = i * d->d_stride, .residual = i * d->residual_stride,
	};
	struct operand op[OP_COUNT] = { 0 };

	operands(d, op);
	if (d->a_stride)
		item.a_scale = i * op[OP_A_SCALE].rows * op[OP_A_SCALE].ld;
	if (d->b_stride) {
		item.b_scale = i * op[OP_B_SCALE].rows * op[OP_B_SCALE].ld * op[OP_B_SCALE].bits / 8;
		item.b_zero = i * op[OP_B_ZERO].rows * op[OP_B_ZERO].ld;
	}
	return item;
}

static uint64_t vector_bytes(uint64_t length, uint32_t dtype)
{
	return length * onpu_gemm_elem_bits(dtype) / 8;
}

/* Vectors of matmul i, if every one has its own. Rows of a group follow those of the last. */
static void add_vectors(struct onpu_matmul_desc *d, uint64_t i, uint64_t start)
{
	bool grouped = d->batch_mode == ONPU_BATCH_GROUPED, own = d->flags & ONPU_MATMUL_BATCH_VECTORS;
	uint64_t cols = own ? i * d->n : 0, rows = grouped ? start : own ? i * d->m : 0;
	uint64_t at = d->flags & ONPU_MATMUL_D_SCALE_ROWS ? rows :
		      d->flags & ONPU_MATMUL_D_SCALE_COLS ? cols : own ? i : 0;

	add(&d->bias_va, vector_bytes(cols, d->bias_type));
	add(&d->col_scale_va, cols * 4);
	add(&d->row_scale_va, rows * 4);
	add(&d->d_scale_va, at * 4);
	add(&d->d_zero_va, at);
}

static struct onpu_matmul_item group_start(const struct onpu_matmul_desc *d, uint64_t i,
					   uint64_t start)
{
	struct onpu_matmul_item item = strides(d, i);

	item.a = start * (d->lda * onpu_gemm_elem_bits(d->a_type) / 8);
	item.c = start * d->ldc * onpu_gemm_elem_bits(d->c_type) / 8;
	item.d = start * d->ldd * onpu_gemm_elem_bits(d->d_type) / 8;
	item.residual = start * d->ldr * onpu_gemm_elem_bits(d->residual_type) / 8;
	item.a_scale = start * d->lda_scale;
	return item;
}

/* Reads size bytes of the batch's array in memory, which are matmul slot->mm.item's. */
static enum step fetch_entry(struct onpu_slot *slot, void *entry, size_t size)
{
	enum step step;

	if (slot->dma.state == DMA_IDLE) {
		onpu_dma_begin(slot);
		onpu_dma_add(slot, slot->desc.batch_va + (uint64_t)slot->mm.item * size, size,
			     ONPU_FAULT_ACCESS_READ, onpu_packet_priv(slot));
	}
	step = onpu_dma_progress(slot);
	if (step != STEP_OK)
		return step;
	gemm_view_read(&slot->dma.view[0], 0, entry, size);
	onpu_dma_release(slot);
	return STEP_OK;
}

/* Makes slot->item of slot->desc. Its m is 0 for a group without rows. */
static enum step load_item(struct onpu_slot *slot)
{
	struct matmul_progress *at = &slot->mm;
	struct onpu_matmul_desc d = slot->desc;
	struct onpu_matmul_item item = { 0 };
	enum step step = STEP_OK;
	uint32_t rows = d.m;

	if (d.batch_mode == ONPU_BATCH_NONE) {
		slot->item = d;
		at->loaded = true;
		return STEP_OK;
	}
	if (d.batch_mode == ONPU_BATCH_STRIDED)
		item = strides(&d, at->item);
	else if (d.batch_mode == ONPU_BATCH_ITEMS)
		step = fetch_entry(slot, &item, sizeof(item));
	else if (d.batch_mode == ONPU_BATCH_GROUPED)
		step = fetch_entry(slot, &rows, sizeof(rows));
	if (step != STEP_OK)
		return step;
	if (d.batch_mode == ONPU_BATCH_GROUPED) {
		if (rows > d.m - at->start)
			return onpu_engine_error(slot, ONPU_ERR_DESC);
		item = group_start(&d, at->item, at->start);
	}
	add_item(&d, &item);
	add_vectors(&d, at->item, at->start);
	d.m = rows;
	d.flags &= ~ONPU_MATMUL_BATCH_VECTORS;
	d.batch = 0;
	d.batch_mode = ONPU_BATCH_NONE;
	d.a_stride = d.b_stride = d.c_stride = d.d_stride = d.residual_stride = d.batch_va = 0;
	/* What is aligned here may not be so there; and an address that became 0 is none. */
	if (rows && !desc_valid(&d))
		return onpu_engine_error(slot, ONPU_ERR_DESC);
	slot->item = d;
	at->loaded = true;
	return STEP_OK;
}

/* Operands that are not there keep their place, with an empty view. */
static void list_accesses(struct onpu_slot *slot)
{
	GEMM_BUFFER struct operand op[OP_COUNT];
	unsigned int count = operands(&slot->item, op);

	onpu_dma_begin(slot);
	for (unsigned int i = count; i < OP_COUNT; i++)
		slot->dma.view[i] = (struct onpu_view){ 0 };
	for (unsigned int i = 0; i < count; i++)
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

/* Nobody else gets a turn while this slot has it. */
static bool only_worker(const struct onpu_slot *slot)
{
	return onpu_pool_threads(slot->card->pool) == 1;
}

/*
 * The size of the block that starts at slot->mm. It depends on who else is busy
 * right now; but a band of rows keeps its height until it is done over all
 * columns, and a block of columns its width until it is done over all of k. What has been done
 * of a block in part is completed first.
 */
static void choose_block(struct onpu_slot *slot)
{
	const struct onpu_matmul_desc *d = &slot->item;
	struct matmul_progress *at = &slot->mm;
	bool shared = atomic_load_explicit(&slot->card->busy_slots, memory_order_relaxed) > 1;
	bool few = d->m <= BLOCK_FEW_ROWS;
	/* Only plain sums can wait in D. */
	bool whole_k = has_epilogue(d);
	uint64_t macs = few ? BLOCK_MACS_SHARED >> onpu_gemm_slow(slot->card->isa) :
			shared ? BLOCK_MACS_SHARED : BLOCK_MACS_ALONE >> whole_k;
	uint32_t min = shared ? BLOCK_MIN_SHARED : BLOCK_MIN_ALONE;
	uint32_t k = whole_k ? d->k : min_u32(d->k, BLOCK_K), n;
	uint64_t area = macs / (k > BLOCK_K_LEAST ? k : BLOCK_K_LEAST);

	if (at->part_k) {
		at->bk = at->part_k;
		return;
	}
	if (k > BLOCK_K)
		min = BLOCK_MIN_LONG;
	n = fit(d->n, area / min_u32(d->m < BLOCK_LEAST_ROWS ? BLOCK_LEAST_ROWS : d->m, min), min);
	if (at->n == 0 && at->k == 0)
		at->bm = min_u32(fit(d->m, area / n, min), d->m - at->m);
	if (at->k == 0)
		at->bn = min_u32(n, d->n - at->n);
	at->bk = min_u32(k, d->k - at->k);
}

static struct onpu_gemm_epilogue epilogue(const struct onpu_slot *slot)
{
	const struct onpu_matmul_desc *d = &slot->item;
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

/* Computes one block, but for rows of it that are done. */
static int run_block(struct onpu_slot *slot, struct onpu_gemm_stop *stop)
{
	const struct onpu_matmul_desc *d = &slot->item;
	const struct matmul_progress *at = &slot->mm;
	const struct onpu_view *v = slot->dma.view;
	struct onpu_gemm_desc g = {
		.m = at->bm - at->part_m, .n = at->bn, .k = at->bk,
		.m0 = at->m + at->part_m, .n0 = at->n, .k0 = at->k, .stop = stop,
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
	const struct onpu_matmul_desc *d = &slot->item;
	struct onpu_counters *cnt = &slot->card->cnt;

	spoil(slot);
	onpu_engine_add_matmul(slot, d);
	atomic_fetch_add_explicit(&cnt->matmuls, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&cnt->matmul_ops, 2ull * d->m * d->n * d->k,
				  memory_order_relaxed);
}

/* A block was left half-way. */
static void note_stop(struct matmul_progress *at, const struct onpu_gemm_stop *stop)
{
	at->n += stop->n;
	if (stop->part_n)
		at->bn = stop->part_n;
	at->k += stop->k;
	at->part_m = stop->part_m + (at->part_k ? at->part_m : 0);
	at->part_k = stop->part_k;
}

/* STEP_OK once the matmul that slot->item is has been done. */
static enum step run_item(struct onpu_slot *slot)
{
	const struct onpu_matmul_desc *d = &slot->item;
	struct matmul_progress *at = &slot->mm;
	struct onpu_gemm_stop stop = { .flag = &slot->suspend, .make_way = only_worker(slot) };
	enum step step;
	int ret;

	if (slot->dma.state == DMA_IDLE)
		list_accesses(slot);
	step = onpu_dma_progress(slot);
	if (step != STEP_OK)
		return step;

	choose_block(slot);
	slot->work += (uint64_t)at->bm * at->bn * at->bk / ONPU_UNIT_MACS;
	/* All columns of a block have come to the same k, and rows to that or to k + part_k. */
	stop.one_k = at->part_k;
	stop.one_panel = at->part_k || at->k || at->bk != d->k;
	ret = run_block(slot, &stop);
	if (ret == -ECANCELED)
		return STEP_STOP;
	if (ret == -EINTR) {
		note_stop(at, &stop);
		return STEP_YIELD;
	}
	if (ret)
		return onpu_engine_error(slot, ONPU_ERR_INTERNAL);
	at->part_m = 0;
	at->part_k = 0;
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

static bool interrupted(const struct onpu_slot *slot)
{
	return atomic_load_explicit(&slot->cancel, memory_order_relaxed) ||
	       atomic_load_explicit(&slot->suspend, memory_order_relaxed) ||
	       atomic_load_explicit(&slot->card->frozen, memory_order_relaxed);
}

/* Whether the whole of slot->desc, which has been judged, takes no longer than some short packets. */
bool onpu_matmul_is_short(const struct onpu_slot *slot)
{
	const struct onpu_matmul_desc *d = &slot->desc;

	return d->batch_mode == ONPU_BATCH_NONE && d->m <= SHORT_DIM && d->n <= SHORT_DIM &&
	       d->k <= SHORT_DIM && (uint64_t)d->m * d->n * d->k <= SHORT_MACS;
}

enum step onpu_matmul_execute(struct onpu_slot *slot)
{
	struct matmul_progress *at = &slot->mm;
	enum step step;

	for (unsigned int items = 0; ; items++) {
		if (items >= BATCH_TURN || slot->work >= BATCH_TURN || (items && interrupted(slot)))
			return STEP_YIELD;
		if (!at->loaded) {
			step = load_item(slot);
			if (step != STEP_OK)
				return step;
		}
		if (slot->item.m) {
			step = run_item(slot);
			if (step != STEP_OK)
				return step;
		}
		if (slot->desc.batch_mode == ONPU_BATCH_GROUPED)
			at->start += slot->item.m;
		at->item++;
		if (at->item >= slot->desc.batch)
			return STEP_OK;
		*at = (struct matmul_progress){ .item = at->item, .start = at->start };
		onpu_dma_release(slot);
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * Matmuls of the test's kernel: hardware.md's descriptor, executed by the scalar oracle, one element
 * at a time. Judges what the library must never get wrong. No state, no locking.
 */
#include "fake_matmul.h"

#include <stdlib.h>
#include <string.h>

#include "../model/gemm/oracle_formats.h"

static unsigned int bits_of(uint32_t type)
{
	static const uint8_t bits[] = { 0, 32, 16, 16, 8, 32, 8, 8, 4, 8, 8, 6, 6, 4 };

	return type < sizeof(bits) ? bits[type] : 0;
}

static bool is_mx(uint32_t type)
{
	return type >= ONPU_DTYPE_MX_E4M3 && type <= ONPU_DTYPE_MX_E2M1;
}

static bool is_integer(uint32_t type)
{
	return type == ONPU_DTYPE_I8 || type == ONPU_DTYPE_I4;
}

/* One matmul of a batch: addresses and operands in memory. */
struct work {
	struct onpu_matmul_desc d;
	fake_access *access;
	void *queue;
	void *loaded[13];
	unsigned int count;
	bool bad, faulted;
};

/* rows rows of columns elements, with the gaps of the original; NULL if it is not there. */
static void *load(struct work *w, uint64_t va, uint64_t rows, uint64_t columns, uint64_t ld,
		  unsigned int bits)
{
	uint64_t stride = ld * bits / 8, len = (columns * bits + 7) / 8;
	uint8_t *data;

	if (w->bad || w->faulted)
		return NULL;
	if (ld < columns || ld * bits % 8 || (bits >= 8 && va % (bits / 8))) {
		w->bad = true;
		return NULL;
	}
	data = calloc(1, (rows - 1) * stride + len);
	if (!data)
		abort();
	w->loaded[w->count++] = data;
	for (uint64_t r = 0; r < rows && !w->faulted; r++)
		w->faulted = !w->access(w->queue, va + r * stride, data + r * stride, len, false);
	return data;
}

static void *load_vector(struct work *w, uint64_t va, uint64_t length, unsigned int bits)
{
	return va ? load(w, va, 1, length, length, bits) : NULL;
}

static void load_input(struct work *w, struct oracle_operand *o, uint32_t type, bool k_rows,
		       uint32_t lanes, uint64_t va, uint64_t ld, uint32_t group, uint32_t scale_type,
		       uint64_t scale_va, uint64_t scale_ld, uint64_t zero_va)
{
	uint32_t k = w->d.k, groups;

	*o = (struct oracle_operand){ .type = type, .k_rows = k_rows, .ld = ld, .group = group,
				      .scale_type = scale_type, .scale_ld = scale_ld };
	o->data = load(w, va, k_rows ? k : lanes, k_rows ? lanes : k, ld, bits_of(type));
	if (!group)
		return;
	groups = (k + group - 1) / group;
	o->scales = load(w, scale_va, k_rows ? groups : lanes, k_rows ? lanes : groups, scale_ld,
			 scale_type ? 16 : 8);
	if (zero_va)
		o->zeros = load(w, zero_va, k_rows ? groups : lanes, k_rows ? lanes : groups,
				scale_ld, 8);
}

static float number(const void *data, uint32_t type, uint64_t index)
{
	uint32_t u = 0;

	memcpy(&u, (const uint8_t *)data + index * bits_of(type) / 8, bits_of(type) / 8);
	return (float)oracle_decode(type, u);
}

static void one_matmul(struct work *w)
{
	const struct onpu_matmul_desc *d = &w->d;
	bool integer = is_integer(d->a_type), steps;
	uint32_t es = bits_of(d->d_type) / 8;
	uint64_t length = d->flags & ONPU_MATMUL_D_SCALE_ROWS ? d->m :
			  d->flags & ONPU_MATMUL_D_SCALE_COLS ? d->n : 1;
	struct oracle_operand a, b;
	void *c = NULL, *residual = NULL, *bias, *rs, *cs, *ds, *dz;
	float alpha, beta;

	memcpy(&alpha, &d->alpha, 4);
	memcpy(&beta, &d->beta, 4);
	load_input(w, &a, d->a_type, d->flags & ONPU_MATMUL_TRANS_A, d->m, d->a_va, d->lda,
		   is_mx(d->a_type) ? 32 : 0, 0, d->a_scale_va, d->lda_scale, 0);
	load_input(w, &b, d->b_type, !(d->flags & ONPU_MATMUL_TRANS_B), d->n, d->b_va, d->ldb,
		   is_mx(d->b_type) ? 32 : d->b_group, d->b_scale_type, d->b_scale_va,
		   d->ldb_scale, d->b_zero_va);
	if (d->c_type)
		c = load(w, d->c_va, d->m, d->n, d->ldc, bits_of(d->c_type));
	if (d->residual_va)
		residual = load(w, d->residual_va, d->m, d->n, d->ldr, bits_of(d->residual_type));
	bias = load_vector(w, d->bias_va, d->n, bits_of(d->bias_type));
	rs = load_vector(w, d->row_scale_va, d->m, 32);
	cs = load_vector(w, d->col_scale_va, d->n, 32);
	ds = load_vector(w, d->d_scale_va, length, 32);
	dz = load_vector(w, d->d_zero_va, length, 8);
	if (w->bad || w->faulted || d->ldd < d->n || d->d_va % es) {
		w->bad |= !w->faulted;
		return;
	}
	steps = d->d_type != ONPU_DTYPE_I32;
	for (uint64_t i = 0; i < d->m && !w->faulted; i++)
		for (uint64_t j = 0; j < d->n && !w->faulted; j++) {
			uint64_t at = length == 1 ? 0 : d->flags & ONPU_MATMUL_D_SCALE_ROWS ? i : j;
			float cv = 0, bv = 0, rv = 0;
			struct oracle_steps s = {
				.row_scale = rs ? (float *)rs + i : NULL,
				.col_scale = cs ? (float *)cs + j : NULL,
				.alpha = d->flags & ONPU_MATMUL_ALPHA ? &alpha : NULL,
				.beta = &beta, .c = d->flags & ONPU_MATMUL_BETA ? &cv : NULL,
				.bias = bias ? &bv : NULL, .residual = residual ? &rv : NULL,
				.d_scale = ds ? (float *)ds + at : NULL,
				.d_zero = dz ? (int8_t *)dz + at : NULL,
				.activation = d->activation, .d_type = d->d_type,
				.no_saturate = d->flags & ONPU_MATMUL_NO_SATURATE,
			};
			uint32_t sum = 0;

			if (d->flags & ONPU_MATMUL_ACCUMULATE)
				memcpy(&sum, (uint8_t *)c + (i * d->ldc + j) * 4, 4);
			if (s.c)
				cv = number(c, d->c_type, i * d->ldc + j);
			if (bias)
				bv = number(bias, d->bias_type, j);
			if (residual)
				rv = number(residual, d->residual_type, i * d->ldr + j);
			sum = oracle_sum(&a, i, &b, j, d->k, sum);
			if (steps)
				sum = oracle_result(sum, integer, &s);
			w->faulted = !w->access(w->queue, d->d_va + (i * d->ldd + j) * es, &sum, es,
						true);
		}
}

/* hardware.md, "Batches". */
static void place_item(struct work *w, uint32_t i, uint32_t *start)
{
	struct onpu_matmul_desc *d = &w->d;
	uint32_t own = d->flags & ONPU_MATMUL_BATCH_VECTORS ? i : 0, rows = own * d->m, first, size;
	uint32_t group = is_mx(d->b_type) ? 32 : d->b_group;
	uint64_t groups = group ? (d->k + group - 1) / group : 0;
	uint64_t a_groups = (d->k + 31) / 32;
	struct onpu_matmul_item item = { 0 };

	if (d->batch_mode == ONPU_BATCH_ITEMS) {
		w->faulted = !w->access(w->queue, d->batch_va + i * 64ull, &item, 64, false);
	} else {
		item = (struct onpu_matmul_item){ i * d->a_stride, i * d->b_stride, i * d->c_stride,
						  i * d->d_stride, i * d->residual_stride, 0, 0, 0 };
		if (d->a_stride)
			item.a_scale = i * (d->flags & ONPU_MATMUL_TRANS_A ? a_groups : d->m) *
				       d->lda_scale;
		if (d->b_stride) {
			item.b_zero = i * (d->flags & ONPU_MATMUL_TRANS_B ? d->n : groups) *
				      d->ldb_scale;
			item.b_scale = item.b_zero * (d->b_group ? 2 : 1);
		}
	}
	if (d->batch_mode == ONPU_BATCH_GROUPED) {
		w->faulted = !w->access(w->queue, d->batch_va + i * 4ull, &size, 4, false);
		if (w->faulted)
			return;
		w->bad = size > d->m - *start;
		first = rows = *start;
		item.a = (uint64_t)first * d->lda * bits_of(d->a_type) / 8;
		item.c = (uint64_t)first * d->ldc * bits_of(d->c_type) / 8;
		item.d = (uint64_t)first * d->ldd * bits_of(d->d_type) / 8;
		item.residual = (uint64_t)first * d->ldr * bits_of(d->residual_type) / 8;
		item.a_scale = (uint64_t)first * d->lda_scale;
		d->m = size;
		*start += size;
	}
	d->a_va += item.a;
	d->b_va += item.b;
	d->c_va += item.c;
	d->d_va += item.d;
	d->residual_va += d->residual_va ? item.residual : 0;
	d->a_scale_va += item.a_scale;
	d->b_scale_va += item.b_scale;
	d->b_zero_va += d->b_zero_va ? item.b_zero : 0;
	d->bias_va += d->bias_va ? (uint64_t)own * d->n * bits_of(d->bias_type) / 8 : 0;
	d->col_scale_va += d->col_scale_va ? own * d->n * 4ull : 0;
	d->row_scale_va += d->row_scale_va ? rows * 4ull : 0;
	rows = d->flags & ONPU_MATMUL_D_SCALE_ROWS ? rows :
	       d->flags & ONPU_MATMUL_D_SCALE_COLS ? own * d->n : own;
	d->d_scale_va += d->d_scale_va ? rows * 4ull : 0;
	d->d_zero_va += d->d_zero_va ? rows : 0;
}

uint32_t fake_matmul(const struct onpu_matmul_desc *desc, fake_access *access, void *queue)
{
	uint32_t count = desc->batch_mode ? desc->batch : 1, start = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct work w = { .d = *desc, .access = access, .queue = queue };

		if (desc->batch_mode)
			place_item(&w, i, &start);
		if (!w.bad && !w.faulted && w.d.m)
			one_matmul(&w);
		for (unsigned int j = 0; j < w.count; j++)
			free(w.loaded[j]);
		if (w.bad)
			return ONPU_ERR_DESC;
		if (w.faulted)
			return ONPU_ERR_FAULT;
	}
	return 0;
}

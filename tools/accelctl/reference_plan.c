/* SPDX-License-Identifier: MIT */
/*
 * Scalar reference for plans. No state, nothing to lock. Each operation on floats rounds once: the
 * file is compiled without contraction.
 */
#include "reference_plan.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "reference.h"

static uint32_t to_bits(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

static bool is_mx(uint32_t type)
{
	return type >= ACCEL_TYPE_MXFP8_E4M3 && type <= ACCEL_TYPE_MXFP4_E2M1;
}

static bool is_integer(uint32_t type)
{
	return type == ACCEL_TYPE_I8 || type == ACCEL_TYPE_I4;
}

static float load(const uint8_t *data, uint32_t type, uint64_t index)
{
	const struct ref_matrix vector = { .data = (uint8_t *)(uintptr_t)data, .type = type };

	return ref_load(&vector, 0, index);
}

static float load_f32(const uint8_t *data, uint64_t index)
{
	return load(data, ACCEL_TYPE_F32, index);
}

/* --- where things are ------------------------------------------------------- */

static uint64_t group_of(const struct accel_plan_config *p, bool b)
{
	return is_mx(b ? p->b_type : p->a_type) ? 32 : b ? p->b_group : 0;
}

static uint32_t group_rows(const struct ref_plan *plan, uint64_t item)
{
	uint32_t rows;

	memcpy(&rows, plan->data[ACCEL_OPERAND_ITEMS] + item * sizeof(rows), sizeof(rows));
	return rows;
}

uint64_t ref_plan_elements(const struct ref_plan *plan)
{
	const struct accel_plan_config *p = &plan->config;
	uint64_t rows = p->m;

	if (p->batch_mode == ACCEL_BATCH_GROUPED) {
		rows = 0;
		for (uint32_t i = 0; i < p->batch; i++)
			rows += group_rows(plan, i);
	} else if (p->batch_mode) {
		rows *= p->batch;
	}
	return rows * p->n;
}

struct ref_place ref_plan_place(const struct ref_plan *plan, uint64_t index)
{
	const struct accel_plan_config *p = &plan->config;
	struct ref_place place = { .row = index / p->n, .column = index % p->n };

	if (p->batch_mode == ACCEL_BATCH_GROUPED) {
		for (; place.row >= group_rows(plan, place.item); place.item++) {
			place.row -= group_rows(plan, place.item);
			place.start += group_rows(plan, place.item);
		}
	} else {
		place.item = place.row / p->m;
		place.row %= p->m;
	}
	return place;
}

/* Rows of an operand's scales as stored, times their leading dimension. */
static uint64_t scale_matrix(const struct accel_plan_config *p, bool b)
{
	uint64_t group = group_of(p, b), groups = group ? (p->k + group - 1) / group : 0;
	bool k_rows = b ? !(p->flags & ACCEL_MATMUL_TRANS_B) : !!(p->flags & ACCEL_MATMUL_TRANS_A);

	return (k_rows ? groups : b ? p->n : p->m) * (b ? p->ldb_scale : p->lda_scale);
}

/* Bytes from where the operands of the run start to those of the matmul. */
static struct accel_plan_item item_of(const struct ref_plan *plan, const struct ref_place *place)
{
	const struct accel_plan_config *p = &plan->config;
	struct accel_plan_item item = { 0 };
	uint64_t i = place->item;

	if (p->batch_mode == ACCEL_BATCH_ITEMS) {
		memcpy(&item, plan->data[ACCEL_OPERAND_ITEMS] + i * sizeof(item), sizeof(item));
		return item;
	}
	item.a = i * p->a_stride;
	item.b = i * p->b_stride;
	item.c = i * p->c_stride;
	item.d = i * p->d_stride;
	item.residual = i * p->residual_stride;
	if (p->a_stride)
		item.a_scale = i * scale_matrix(p, false);
	if (p->b_stride) {
		item.b_zero = i * scale_matrix(p, true);
		item.b_scale = item.b_zero * (p->b_group ? 2 : 1);
	}
	if (p->batch_mode == ACCEL_BATCH_GROUPED) {
		item.a = place->start * p->lda * accel_type_bits(p->a_type) / 8;
		item.c = place->start * p->ldc * accel_type_bits(p->c_type) / 8;
		item.d = place->start * p->ldd * accel_type_bits(p->d_type) / 8;
		item.residual = place->start * p->ldr * accel_type_bits(p->residual_type) / 8;
		item.a_scale = place->start * p->lda_scale;
	}
	return item;
}

uint64_t ref_plan_offset(const struct ref_plan *plan, const struct ref_place *place)
{
	const struct accel_plan_config *p = &plan->config;

	return item_of(plan, place).d +
	       (place->row * p->ldd + place->column) * accel_type_bits(p->d_type) / 8;
}

/* --- inputs ----------------------------------------------------------------- */

/* One operand of one matmul. */
struct input {
	struct ref_matrix matrix;
	bool k_rows;
	uint64_t group;
	uint32_t scale_type;	/* 0: UE8M0 */
	const uint8_t *scales, *zeros;
	uint64_t scale_ld;
};

static float input(const struct input *in, uint64_t lane, uint64_t k)
{
	float value = in->k_rows ? ref_load(&in->matrix, k, lane) : ref_load(&in->matrix, lane, k);
	uint64_t at;

	if (!in->group)
		return value;
	at = in->k_rows ? k / in->group * in->scale_ld + lane : lane * in->scale_ld + k / in->group;
	if (!in->scale_type)
		return value * (in->scales[at] == 255 ? NAN : ldexpf(1, in->scales[at] - 127));
	if (in->zeros)
		value -= (float)(int8_t)in->zeros[at];
	return value * load(in->scales, in->scale_type, at);
}

static void inputs(const struct ref_plan *plan, const struct accel_plan_item *item, struct input *a,
		   struct input *b)
{
	const struct accel_plan_config *p = &plan->config;

	*a = (struct input){
		.matrix = { .data = (uint8_t *)(uintptr_t)plan->data[ACCEL_OPERAND_A] + item->a,
			    .ld = p->lda, .type = p->a_type },
		.k_rows = p->flags & ACCEL_MATMUL_TRANS_A, .group = group_of(p, false),
		.scale_ld = p->lda_scale,
	};
	*b = (struct input){
		.matrix = { .data = (uint8_t *)(uintptr_t)plan->data[ACCEL_OPERAND_B] + item->b,
			    .ld = p->ldb, .type = p->b_type },
		.k_rows = !(p->flags & ACCEL_MATMUL_TRANS_B), .group = group_of(p, true),
		.scale_ld = p->ldb_scale, .scale_type = p->b_group ? p->b_scale_type : 0,
	};
	if (a->group)
		a->scales = plan->data[ACCEL_OPERAND_A_SCALE] + item->a_scale;
	if (b->group)
		b->scales = plan->data[ACCEL_OPERAND_B_SCALE] + item->b_scale;
	if (p->flags & ACCEL_PLAN_B_ZERO)
		b->zeros = plan->data[ACCEL_OPERAND_B_ZERO] + item->b_zero;
}

/* The bits of a sum, which starts from those of C or from zero. */
static uint32_t sum(const struct accel_plan_config *p, const struct input *a, const struct input *b,
		    const struct ref_place *place, uint32_t start)
{
	float acc;

	if (is_integer(p->a_type)) {
		for (uint64_t k = 0; k < p->k; k++)
			start += (uint32_t)((int32_t)input(a, place->row, k) *
					    (int32_t)input(b, place->column, k));
		return start;
	}
	memcpy(&acc, &start, sizeof(acc));
	for (uint64_t k = 0; k < p->k; k++)
		acc = fmaf(input(a, place->row, k), input(b, place->column, k), acc);
	return isnan(acc) ? 0x7fc00000 : to_bits(acc);
}

/* --- activation functions ----------------------------------------------------- */

static float horner(const float *c, unsigned int degree, float x)
{
	float y = c[degree];

	while (degree--)
		y = fmaf(y, x, c[degree]);
	return y;
}

static float exponential(float x)
{
	static const float e[] = { 1, 1, 0x1p-1f, 0x1.555556p-3f, 0x1.555556p-5f, 0x1.111112p-7f,
				   0x1.6c16c2p-10f, 0x1.a01a02p-13f };
	float n, r;

	x = x < -87 ? -87 : x > 88 ? 88 : x;
	n = nearbyintf(x * 0x1.715476p+0f);
	r = fmaf(n, -0x1.62e4p-1f, x);
	r = fmaf(n, -0x1.7f7d1cp-20f, r);
	return ldexpf(horner(e, 7, r), (int)n);
}

static float silu(float t)
{
	t = t < -88 ? -88 : t;
	return t / (1 + exponential(-t));
}

static float gelu_tanh(float t)
{
	float u;

	t = t < -10 ? -10 : t;
	u = t * fmaf(0x1.2444f2p-4f, t * t, 0x1.988454p+0f);
	return t / (1 + exponential(-u));
}

static float gelu_erf(float t)
{
	static const float q[] = { 0x1.98d984p-4f, 0x1.92281ap-4f, 0x1.b2dd88p-4f, 0x1.7dd35p-6f,
				   0x1.cc3b46p-3f, -0x1.ea9af6p-3f, 0x1.4de858p-2f, -0x1.570e7cp-3f,
				   0x1.d79beep-6f };
	float x = fabsf(t) < 13 ? fabsf(t) : 13;
	float s = 1 / fmaf(0.25f, x, 1);
	float h = horner(q, 8, s) * s * exponential(-0.5f * (x * x));

	return fmaf(-x, h, t > 0 ? t : 0);
}

static float activate(uint32_t activation, float t)
{
	if (isnan(t))
		return t;
	switch (activation) {
	case ACCEL_ACTIVATION_RELU:
		return t > 0 ? t : 0;
	case ACCEL_ACTIVATION_GELU_ERF:
		return gelu_erf(t);
	case ACCEL_ACTIVATION_GELU_TANH:
		return gelu_tanh(t);
	case ACCEL_ACTIVATION_SILU:
		return silu(t);
	default:
		return t;
	}
}

/* --- results ------------------------------------------------------------------ */

/* A floating-point type: sign, exponent and fraction bits; bits of what is beyond its largest number. */
struct format {
	unsigned int exponent, fraction;
	double largest;
	uint32_t overflow, nan;
	bool saturates;
};

static const struct format *format_of(uint32_t type)
{
	static const struct format bf16 = { 8, 7, 0x1.fep127, 0x7f80, 0x7fc0, false };
	static const struct format f16 = { 5, 10, 65504, 0x7c00, 0x7e00, false };
	static const struct format e4m3 = { 4, 3, 448, 0x7f, 0x7f, true };
	static const struct format e5m2 = { 5, 2, 57344, 0x7c, 0x7e, true };

	return type == ACCEL_TYPE_BF16 ? &bf16 : type == ACCEL_TYPE_F16 ? &f16 :
	       type == ACCEL_TYPE_E4M3 ? &e4m3 : &e5m2;
}

/* Bits of a magnitude that the format has. */
static uint32_t magnitude(const struct format *f, double value)
{
	int bias = (1 << (f->exponent - 1)) - 1, e;

	if (value < ldexp(1, 1 - bias))
		return (uint32_t)ldexp(value, bias - 1 + (int)f->fraction);
	frexp(value, &e);
	e--;
	return (uint32_t)(e + bias) << f->fraction |
	       (uint32_t)ldexp(ldexp(value, -e) - 1, (int)f->fraction);
}

static uint32_t to_format(const struct format *f, float t, bool saturate)
{
	uint32_t sign = to_bits(t) >> 31 << (f->exponent + f->fraction);
	int bias = (1 << (f->exponent - 1)) - 1, e;
	double value = fabs((double)t), unit;

	if (isnan(t))
		return f->nan;
	if (isfinite(value) && value > 0) {
		frexp(value, &e);
		e = e - 1 > 1 - bias ? e - 1 : 1 - bias;
		unit = ldexp(1, e - (int)f->fraction);
		value = nearbyint(value / unit) * unit;
	}
	if (value <= f->largest)
		return sign | magnitude(f, value);
	return saturate && f->saturates ? sign | magnitude(f, f->largest) :
	       f->overflow == f->nan ? f->nan : sign | f->overflow;
}

static uint32_t to_i8(float t, int zero)
{
	double q = isnan(t) ? 0 : nearbyint((double)t) + zero;

	return (uint8_t)(int8_t)(q < -128 ? -128 : q > 127 ? 127 : q);
}

static uint32_t convert(const struct accel_plan_config *p, float t, int zero)
{
	if (p->d_type == ACCEL_TYPE_F32)
		return isnan(t) ? 0x7fc00000 : to_bits(t);
	if (p->d_type == ACCEL_TYPE_I8)
		return to_i8(t, zero);
	return to_format(format_of(p->d_type), t, !(p->flags & ACCEL_PLAN_NO_SATURATE));
}

/* Which elements of the vectors are the place's. */
struct indices {
	uint64_t row, column, d;
};

static struct indices indices_of(const struct accel_plan_config *p, const struct ref_place *place)
{
	uint64_t own = p->flags & ACCEL_PLAN_BATCH_VECTORS ? place->item : 0;
	struct indices at = { own * p->m + place->row, own * p->n + place->column, own };

	if (p->batch_mode == ACCEL_BATCH_GROUPED)
		at.row = place->start + place->row;
	if (p->flags & ACCEL_PLAN_D_SCALE_ROWS)
		at.d = at.row;
	if (p->flags & ACCEL_PLAN_D_SCALE_COLS)
		at.d = at.column;
	return at;
}

static uint32_t epilogue(const struct ref_plan *plan, const struct ref_place *place,
			 const struct accel_plan_item *item, uint32_t bits)
{
	const struct accel_plan_config *p = &plan->config;
	const uint8_t *const *data = plan->data;
	struct indices at = indices_of(p, place);
	float t;

	memcpy(&t, &bits, sizeof(t));
	if (is_integer(p->a_type))
		t = (float)(int32_t)bits;
	if (p->flags & ACCEL_PLAN_ROW_SCALE)
		t *= load_f32(data[ACCEL_OPERAND_ROW_SCALE], at.row);
	if (p->flags & ACCEL_PLAN_COL_SCALE)
		t *= load_f32(data[ACCEL_OPERAND_COL_SCALE], at.column);
	if (p->flags & ACCEL_PLAN_ALPHA)
		t *= p->alpha;
	if (p->flags & ACCEL_PLAN_BETA)
		t = fmaf(p->beta, load(data[ACCEL_OPERAND_C] + item->c, p->c_type,
				       place->row * p->ldc + place->column), t);
	if (p->bias_type)
		t += load(data[ACCEL_OPERAND_BIAS], p->bias_type, at.column);
	t = activate(p->activation, t);
	if (p->residual_type)
		t += load(data[ACCEL_OPERAND_RESIDUAL] + item->residual, p->residual_type,
			  place->row * p->ldr + place->column);
	if (p->flags & ACCEL_PLAN_D_SCALE)
		t *= load_f32(data[ACCEL_OPERAND_D_SCALE], at.d);
	return convert(p, t, p->flags & ACCEL_PLAN_D_ZERO ?
		       (int8_t)data[ACCEL_OPERAND_D_ZERO][at.d] : 0);
}

uint32_t ref_plan_element(const struct ref_plan *plan, const struct ref_place *place)
{
	const struct accel_plan_config *p = &plan->config;
	struct accel_plan_item item = item_of(plan, place);
	struct input a, b;
	uint32_t bits = 0;

	inputs(plan, &item, &a, &b);
	if (p->flags & ACCEL_MATMUL_ACCUMULATE)
		memcpy(&bits, plan->data[ACCEL_OPERAND_C] + item.c +
			      (place->row * p->ldc + place->column) * 4, sizeof(bits));
	bits = sum(p, &a, &b, place, bits);
	return p->d_type == ACCEL_TYPE_I32 ? bits : epilogue(plan, place, &item, bits);
}

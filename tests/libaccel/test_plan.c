/* SPDX-License-Identifier: MIT */
/*
 * Matmul plans against the scalar oracle, every bit: all types and mixed pairs, epilogues, batches;
 * and everything that may not be asked.
 */
#include "common.h"

#include "../model/gemm/oracle_formats.h"

#define CARD ACCEL_BUFFER_CARD

static uint64_t seed = 1;

static uint32_t rnd(void)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33);
}

/* A run in the making: every operand has a buffer of its own, filled with ordinary numbers. */
struct run {
	struct accel_plan_config config;
	struct accel_plan *plan;
	struct accel_place places[ACCEL_OPERANDS];
	uint8_t *data[ACCEL_OPERANDS];
};

static uint32_t type_of(const struct accel_plan_config *p, unsigned int operand)
{
	const uint32_t d = p->d_type ? p->d_type : p->a_type == ACCEL_TYPE_I8 ||
			   p->a_type == ACCEL_TYPE_I4 ? ACCEL_TYPE_I32 : ACCEL_TYPE_F32;
	const uint32_t types[ACCEL_OPERANDS] = {
		p->a_type, p->b_type ? p->b_type : p->a_type, p->c_type, d, 0,
		p->b_scale_type, ACCEL_TYPE_I8, p->bias_type, ACCEL_TYPE_F32, ACCEL_TYPE_F32,
		p->residual_type, ACCEL_TYPE_F32, ACCEL_TYPE_I8, 0,
	};

	return types[operand];
}

/* Bytes that are finite numbers of about one, or scales of about one. */
static void fill(uint8_t *data, uint64_t size, uint32_t type)
{
	for (uint64_t i = 0; i < size; i++) {
		uint8_t x = (uint8_t)rnd();

		switch (type) {
		case 0:
			x = (uint8_t)(124 + x % 6);
			break;
		case ACCEL_TYPE_F32:
			x = i % 4 == 3 ? (x & 0x80) | 0x3e : x;
			break;
		case ACCEL_TYPE_BF16:
		case ACCEL_TYPE_F16:
			x = i % 2 ? (x & 0x81) | (type == ACCEL_TYPE_F16 ? 0x38 : 0x3e) : x;
			break;
		case ACCEL_TYPE_E4M3:
		case ACCEL_TYPE_E5M2:
		case ACCEL_TYPE_MXFP8_E4M3:
		case ACCEL_TYPE_MXFP8_E5M2:
			x &= 0xbb;
			break;
		}
		data[i] = x;
	}
}

static void prepare(struct fixture *f, struct run *r)
{
	ok(accel_plan_create(f->context, &r->config, &r->plan));
	for (unsigned int i = 0; i < ACCEL_OPERANDS; i++) {
		uint64_t size = accel_plan_operand_size(r->plan, i);

		if (!size)
			continue;
		r->data[i] = malloc(size);
		assert_non_null(r->data[i]);
		fill(r->data[i], size, type_of(&r->config, i));
		r->places[i].buffer = make_buffer(f, size + 64, CARD);
		r->places[i].offset = 64;
		ok(accel_buffer_write(r->places[i].buffer, 64, r->data[i], size));
	}
}

static void finish(struct run *r)
{
	for (unsigned int i = 0; i < ACCEL_OPERANDS; i++) {
		accel_buffer_destroy(r->places[i].buffer);
		free(r->data[i]);
	}
	accel_plan_destroy(r->plan);
}

static float number(const struct run *r, unsigned int operand, uint64_t index)
{
	uint32_t type = type_of(&r->config, operand), u = 0;

	memcpy(&u, r->data[operand] + index * accel_type_size(type), accel_type_size(type));
	return (float)oracle_decode(type, u);
}

static uint32_t group(const struct run *r, unsigned int operand)
{
	uint32_t type = type_of(&r->config, operand);

	return type >= ACCEL_TYPE_MXFP8_E4M3 ? 32 : operand == ACCEL_OPERAND_B ? r->config.b_group : 0;
}

/* What element (i, j) of matmul x of a strided batch is to be; dense operands only. */
static uint32_t element(const struct run *r, uint32_t x, uint32_t i, uint32_t j)
{
	const struct accel_plan_config *p = &r->config;
	uint32_t ta = type_of(p, ACCEL_OPERAND_A), tb = type_of(p, ACCEL_OPERAND_B);
	bool at = p->flags & ACCEL_MATMUL_TRANS_A, bt = p->flags & ACCEL_MATMUL_TRANS_B;
	uint32_t ga = group(r, ACCEL_OPERAND_A), gb = group(r, ACCEL_OPERAND_B);
	uint32_t na = ga ? (p->k + ga - 1) / ga : 0, nb = gb ? (p->k + gb - 1) / gb : 0;
	uint64_t mn = (uint64_t)x * p->m * p->n + i * p->n + j;
	uint32_t cols = p->flags & ACCEL_PLAN_BATCH_VECTORS ? x * p->n + j : j;
	uint32_t rows = p->flags & ACCEL_PLAN_BATCH_VECTORS ? x * p->m + i : i;
	uint32_t d = p->flags & ACCEL_PLAN_D_SCALE_ROWS ? rows :
		     p->flags & ACCEL_PLAN_D_SCALE_COLS ? cols : 0;
	uint64_t xa = p->a_stride ? x : 0, xb = p->b_stride ? x : 0;
	struct oracle_operand a = {
		.type = ta, .k_rows = at, .ld = at ? p->m : p->k, .group = ga,
		.data = r->data[ACCEL_OPERAND_A] + xa * p->a_stride, .scale_ld = at ? p->m : na,
		.scales = r->data[ACCEL_OPERAND_A_SCALE] + xa * p->m * na,
	};
	struct oracle_operand b = {
		.type = tb, .k_rows = !bt, .ld = bt ? p->k : p->n, .group = gb,
		.data = r->data[ACCEL_OPERAND_B] + xb * p->b_stride, .scale_ld = bt ? nb : p->n,
		.scale_type = p->b_scale_type,
		.scales = r->data[ACCEL_OPERAND_B_SCALE] + xb * p->n * nb * (p->b_group ? 2 : 1),
		.zeros = p->flags & ACCEL_PLAN_B_ZERO ? r->data[ACCEL_OPERAND_B_ZERO] : NULL,
	};
	float c, bias, residual;
	struct oracle_steps s = { .activation = p->activation,
				  .d_type = type_of(p, ACCEL_OPERAND_D),
				  .no_saturate = p->flags & ACCEL_PLAN_NO_SATURATE };
	uint32_t sum = 0;

	if (p->flags & ACCEL_MATMUL_ACCUMULATE)
		memcpy(&sum, r->data[ACCEL_OPERAND_C] + mn * 4, 4);
	sum = oracle_sum(&a, i, &b, j, p->k, sum);
	if (s.d_type == ACCEL_TYPE_I32)
		return sum;
	if (p->flags & ACCEL_PLAN_ROW_SCALE)
		s.row_scale = (float *)(void *)r->data[ACCEL_OPERAND_ROW_SCALE] + rows;
	if (p->flags & ACCEL_PLAN_COL_SCALE)
		s.col_scale = (float *)(void *)r->data[ACCEL_OPERAND_COL_SCALE] + cols;
	if (p->flags & ACCEL_PLAN_ALPHA)
		s.alpha = &p->alpha;
	if (p->flags & ACCEL_PLAN_BETA) {
		c = number(r, ACCEL_OPERAND_C, mn);
		s.beta = &p->beta;
		s.c = &c;
	}
	if (p->bias_type) {
		bias = number(r, ACCEL_OPERAND_BIAS, cols);
		s.bias = &bias;
	}
	if (p->residual_type) {
		residual = number(r, ACCEL_OPERAND_RESIDUAL, mn);
		s.residual = &residual;
	}
	if (p->flags & ACCEL_PLAN_D_SCALE)
		s.d_scale = (float *)(void *)r->data[ACCEL_OPERAND_D_SCALE] + d;
	if (p->flags & ACCEL_PLAN_D_ZERO)
		s.d_zero = (int8_t *)r->data[ACCEL_OPERAND_D_ZERO] + d;
	return oracle_result(sum, ta == ACCEL_TYPE_I8 || ta == ACCEL_TYPE_I4, &s);
}

static void check(struct run *r)
{
	const struct accel_plan_config *p = &r->config;
	uint64_t size = accel_plan_operand_size(r->plan, ACCEL_OPERAND_D);
	size_t es = accel_type_size(type_of(p, ACCEL_OPERAND_D));
	uint8_t *got = malloc(size);

	assert_non_null(got);
	ok(accel_buffer_read(r->places[ACCEL_OPERAND_D].buffer, 64, got, size));
	for (uint64_t i = 0; i < size / es; i++) {
		uint32_t mn = p->m * p->n, is = 0;
		uint32_t want = element(r, (uint32_t)(i / mn), (uint32_t)(i % mn / p->n),
					(uint32_t)(i % p->n));

		memcpy(&is, got + i * es, es);
		if (is != want)
			fail_msg("a %s b %s d %s flags %x act %u: element %llu is %x, wanted %x",
				 accel_type_name(p->a_type),
				 accel_type_name(type_of(p, ACCEL_OPERAND_B)),
				 accel_type_name(type_of(p, ACCEL_OPERAND_D)), p->flags,
				 p->activation, (unsigned long long)i, is, want);
	}
	free(got);
}

static struct accel_plan_config config(uint32_t a_type, uint32_t b_type, uint32_t m, uint32_t n,
				       uint32_t k)
{
	struct accel_plan_config c;

	accel_plan_config_init(&c);
	c.a_type = a_type;
	c.b_type = b_type;
	c.m = m;
	c.n = n;
	c.k = k;
	return c;
}

/* Every pair that multiplies does, and every other one is refused. */
static void pairs(void **state)
{
	struct fixture *f = *state;

	for (uint32_t a = 1; a <= ACCEL_TYPE_MXFP4_E2M1; a++)
		for (uint32_t b = 1; b <= ACCEL_TYPE_MXFP4_E2M1; b++) {
			bool ia = a == ACCEL_TYPE_I8 || a == ACCEL_TYPE_I4;
			bool ib = b == ACCEL_TYPE_I8 || b == ACCEL_TYPE_I4;
			struct run r = { .config = config(a, b, 8, 12, 40) };

			r.config.flags = rnd() % 4;
			if (ia != ib || a == ACCEL_TYPE_I32 || b == ACCEL_TYPE_I32) {
				fails(accel_plan_create(f->context, &r.config, &r.plan), -ENOTSUP);
				continue;
			}
			prepare(f, &r);
			ok(accel_plan_run(f->queue, r.plan, r.places, ACCEL_OPERANDS));
			check(&r);
			finish(&r);
		}
}

static void groups(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < 24; i++) {
		struct run r = { .config = config(i & 1 ? ACCEL_TYPE_BF16 : ACCEL_TYPE_F16,
						  i & 2 ? ACCEL_TYPE_I4 : ACCEL_TYPE_I8, 5, 12, 260) };

		r.config.b_group = 32u << i % 3;
		r.config.b_scale_type = i & 4 ? ACCEL_TYPE_BF16 : ACCEL_TYPE_F16;
		r.config.flags = (i & 8 ? ACCEL_PLAN_B_ZERO : 0) | (i & 1 ? ACCEL_MATMUL_TRANS_B : 0);
		prepare(f, &r);
		ok(accel_plan_run(f->queue, r.plan, r.places, ACCEL_OPERANDS));
		check(&r);
		finish(&r);
	}
}

static void steps(void **state)
{
	static const uint32_t results[] = {
		ACCEL_TYPE_F32, ACCEL_TYPE_BF16, ACCEL_TYPE_F16, ACCEL_TYPE_E4M3, ACCEL_TYPE_E5M2,
		ACCEL_TYPE_I8,
	};
	static const uint32_t floats[] = { ACCEL_TYPE_F32, ACCEL_TYPE_BF16, ACCEL_TYPE_F16 };
	struct fixture *f = *state;

	for (unsigned int i = 0; i < 60; i++) {
		struct run r = { .config = config(i & 1 ? ACCEL_TYPE_I8 : ACCEL_TYPE_MXFP8_E4M3, 0, 9, 20,
						  33) };
		struct accel_plan_config *p = &r.config;

		p->d_type = results[i % 6];
		p->activation = i % 5;
		p->flags = rnd() & (ACCEL_PLAN_ROW_SCALE | ACCEL_PLAN_COL_SCALE | ACCEL_PLAN_D_SCALE |
				    ACCEL_PLAN_ALPHA | ACCEL_PLAN_BETA);
		if (p->d_type == ACCEL_TYPE_I8)
			p->flags |= ACCEL_PLAN_D_ZERO;
		if (p->flags & (ACCEL_PLAN_D_SCALE | ACCEL_PLAN_D_ZERO))
			p->flags |= (i % 3) << 6;
		if (p->flags & ACCEL_PLAN_BETA)
			p->c_type = floats[rnd() % 3];
		p->bias_type = i & 2 ? floats[rnd() % 3] : 0;
		p->residual_type = i & 4 ? floats[rnd() % 3] : 0;
		p->alpha = p->flags & ACCEL_PLAN_ALPHA ? 0.37f : 0;
		p->beta = p->flags & ACCEL_PLAN_BETA ? -2.6f : 0;
		prepare(f, &r);
		ok(accel_plan_run(f->queue, r.plan, r.places, ACCEL_OPERANDS));
		check(&r);
		finish(&r);
	}
}

/* A plan is run again and again, with an event, with other operands, on another queue. */
static void again(void **state)
{
	struct fixture *f = *state;
	struct run r = { .config = config(ACCEL_TYPE_BF16, ACCEL_TYPE_MXFP4_E2M1, 8, 16, 64) };
	struct accel_queue *other;
	struct accel_event *event;

	r.config.residual_type = ACCEL_TYPE_F32;
	prepare(f, &r);
	ok(accel_queue_create(f->context, ACCEL_PRIORITY_MEDIUM, &other));
	for (unsigned int i = 0; i < 5; i++) {
		uint64_t size = accel_plan_operand_size(r.plan, ACCEL_OPERAND_A);

		fill(r.data[ACCEL_OPERAND_A], size, ACCEL_TYPE_BF16);
		ok(accel_buffer_write(r.places[ACCEL_OPERAND_A].buffer, 64, r.data[ACCEL_OPERAND_A],
				      size));
		ok(accel_plan_run_async(i & 1 ? other : f->queue, r.plan, r.places,
					ACCEL_OPERAND_RESIDUAL + 1, &event));
		ok(accel_event_wait(event, ACCEL_FOREVER));
		accel_event_destroy(event);
		check(&r);
	}
	/* In place: the residual is D. */
	accel_buffer_destroy(r.places[ACCEL_OPERAND_RESIDUAL].buffer);
	r.places[ACCEL_OPERAND_RESIDUAL] = r.places[ACCEL_OPERAND_D];
	ok(accel_buffer_read(r.places[ACCEL_OPERAND_D].buffer, 64, r.data[ACCEL_OPERAND_RESIDUAL],
			     8 * 16 * 4));
	ok(accel_plan_run(f->queue, r.plan, r.places, ACCEL_OPERANDS));
	check(&r);
	r.places[ACCEL_OPERAND_RESIDUAL].buffer = NULL;
	accel_queue_destroy(other);
	finish(&r);
}

static void strided(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < 8; i++) {
		struct run r = { .config = config(ACCEL_TYPE_MXFP4_E2M1, ACCEL_TYPE_MXFP6_E3M2, 4, 12, 64) };
		struct accel_plan_config *p = &r.config;

		p->flags = ACCEL_PLAN_COL_SCALE | ACCEL_PLAN_ROW_SCALE | ACCEL_MATMUL_TRANS_B |
			   (i & 4 ? ACCEL_PLAN_BATCH_VECTORS : 0);
		p->bias_type = ACCEL_TYPE_F16;
		p->batch_mode = ACCEL_BATCH_STRIDED;
		p->batch = 3;
		p->a_stride = i & 1 ? 4 * 64 / 2 : 0;
		p->b_stride = i & 2 ? 12 * 64 * 6 / 8 : 0;
		p->d_stride = 4 * 12 * 4;
		prepare(f, &r);
		ok(accel_plan_run(f->queue, r.plan, r.places, ACCEL_OPERANDS));
		check(&r);
		finish(&r);
	}
}

/* Groups of rows and items, against the same rows as one matmul: all use one B. */
static void grouped_and_items(void **state)
{
	static const uint32_t sizes[4] = { 3, 0, 5, 4 };
	struct fixture *f = *state;

	for (unsigned int mode = ACCEL_BATCH_ITEMS; mode <= ACCEL_BATCH_GROUPED; mode++) {
		struct accel_plan_item items[4] = { { 0 } };
		struct run r = { .config = config(ACCEL_TYPE_E5M2, ACCEL_TYPE_E4M3, 12, 20, 30) };
		struct accel_plan *whole;

		if (mode == ACCEL_BATCH_ITEMS)
			r.config.m = 3;
		r.config.d_type = ACCEL_TYPE_F16;
		r.config.batch_mode = mode;
		r.config.batch = 4;
		prepare(f, &r);
		for (uint32_t i = 0; i < 4; i++)
			items[i] = (struct accel_plan_item){ .a = i * 3 * 30, .d = i * 3 * 20 * 2 };
		ok(accel_buffer_write(r.places[ACCEL_OPERAND_ITEMS].buffer, 64,
				      mode == ACCEL_BATCH_ITEMS ? (const void *)items : sizes,
				      accel_plan_operand_size(r.plan, ACCEL_OPERAND_ITEMS)));
		/* The whole, of which the batch is the parts. */
		whole = r.plan;
		r.config.m = 12;
		r.config.batch_mode = 0;
		r.config.batch = 0;
		ok(accel_plan_create(f->context, &r.config, &r.plan));
		for (unsigned int i = 0; mode == ACCEL_BATCH_ITEMS && i < 4; i += 3) {
			uint64_t size = accel_plan_operand_size(r.plan, i);

			free(r.data[i]);
			accel_buffer_destroy(r.places[i].buffer);
			r.data[i] = malloc(size);
			assert_non_null(r.data[i]);
			fill(r.data[i], size, type_of(&r.config, i));
			r.places[i].buffer = make_buffer(f, size + 64, CARD);
			ok(accel_buffer_write(r.places[i].buffer, 64, r.data[i], size));
		}
		ok(accel_plan_run(f->queue, whole, r.places, ACCEL_OPERANDS));
		check(&r);
		accel_plan_destroy(whole);
		finish(&r);
	}
}

/* ---- what may not be asked ---- */

struct bad {
	int error;
	const char *detail;
	size_t offset, size;
	uint64_t value;
};

#define BAD(error, detail, field, value) \
	{ error, detail, offsetof(struct accel_plan_config, field), \
	  sizeof(((struct accel_plan_config *)0)->field), value }

static const struct bad bad_configs[] = {
	BAD(-EINVAL, "size is 8", size, 8),
	BAD(-EINVAL, "unknown flags 0x80000000", flags, 0x80000000),
	BAD(-EINVAL, "m 0 is not within", m, 0),
	BAD(-EINVAL, "k 4294967295 is not within", k, UINT32_MAX),
	BAD(-EINVAL, "a: unknown type 0", a_type, 0),
	BAD(-EINVAL, "b: unknown type 99", b_type, 99),
	BAD(-ENOTSUP, "a is i32, which the card does not multiply", a_type, ACCEL_TYPE_I32),
	BAD(-ENOTSUP, "a is i8, b is mxfp4_e2m1", a_type, ACCEL_TYPE_I8),
	BAD(-ENOTSUP, "d is mxfp4_e2m1", d_type, ACCEL_TYPE_MXFP4_E2M1),
	BAD(-ENOTSUP, "d is of unknown type", d_type, 77),
	BAD(-ENOTSUP, "d is i32", d_type, ACCEL_TYPE_I32),
	BAD(-EINVAL, "c is given without", c_type, ACCEL_TYPE_F32),
	BAD(-EINVAL, "c is given without", ldc, 64),
	BAD(-EINVAL, "ACCUMULATE and ACCEL_PLAN_BETA exclude", flags,
	    ACCEL_MATMUL_ACCUMULATE | ACCEL_PLAN_BETA),
	BAD(-ENOTSUP, "bias_type is not", bias_type, ACCEL_TYPE_I8),
	BAD(-ENOTSUP, "residual_type is not", residual_type, ACCEL_TYPE_E4M3),
	BAD(-EINVAL, "unknown activation 5", activation, 5),
	BAD(-EINVAL, "alpha is given without its flag", alpha, 0x3f800000),
	BAD(-EINVAL, "beta is given without its flag", beta, 0x3f800000),
	BAD(-EINVAL, "D_SCALE_ROWS and D_SCALE_COLS exclude", flags, 0xc0),
	BAD(-EINVAL, "without D_SCALE or D_ZERO", flags, ACCEL_PLAN_D_SCALE_ROWS),
	BAD(-EINVAL, "D_ZERO is given, but d is f32", flags, ACCEL_PLAN_D_ZERO),
	BAD(-EINVAL, "NO_SATURATE is given, but d is f32", flags, ACCEL_PLAN_NO_SATURATE),
	BAD(-EINVAL, "b_group 16 is none of", b_group, 16),
	BAD(-ENOTSUP, "groups are for i8 and i4 weights", b_group, 64),
	BAD(-EINVAL, "b_scale_type is given without b_group", b_scale_type, ACCEL_TYPE_F16),
	BAD(-EINVAL, "ACCEL_PLAN_B_ZERO is given without b_group", flags, ACCEL_PLAN_B_ZERO),
	BAD(-EINVAL, "leading dimension 69 of a is smaller", lda, 69),
	BAD(-EINVAL, "leading dimension 21 of b is not a multiple of 2", ldb, 21),
	BAD(-EINVAL, "leading dimension 4294967297 of d is larger", ldd, (1ull << 32) + 1),
	BAD(-EINVAL, "lda_scale is given, but a is bf16", lda_scale, 3),
	BAD(-EINVAL, "leading dimension 19 of b_scale is smaller", ldb_scale, 19),
	BAD(-EINVAL, "ldr is given without residual_type", ldr, 30),
	BAD(-EINVAL, "unknown batch_mode 4", batch_mode, 4),
	BAD(-EINVAL, "batch 0 is not within", batch_mode, ACCEL_BATCH_STRIDED),
	BAD(-EINVAL, "batch is given without batch_mode", batch, 2),
	BAD(-EINVAL, "ACCEL_PLAN_BATCH_VECTORS is given without", flags, ACCEL_PLAN_BATCH_VECTORS),
	BAD(-EINVAL, "a stride is given without ACCEL_BATCH_STRIDED", b_stride, 64),
};

static void bad_plans(void **state)
{
	struct accel_plan_config good = config(ACCEL_TYPE_BF16, ACCEL_TYPE_MXFP4_E2M1, 10, 20, 70), c;
	struct fixture *f = *state;
	struct accel_plan *plan = NULL;
	struct { struct accel_plan_config config; uint64_t more; } newer = { good, 0 };

	for (size_t i = 0; i < ARRAY_SIZE(bad_configs); i++) {
		const struct bad *b = &bad_configs[i];

		c = good;
		memcpy((char *)&c + b->offset, &b->value, b->size);
		fails(accel_plan_create(f->context, &c, &plan), b->error);
		expect_detail("accel_plan_create: ");
		expect_detail(b->detail);
		assert_null(plan);
	}
	c = good;
	c.batch_mode = ACCEL_BATCH_STRIDED;
	c.batch = 2;
	fails(accel_plan_create(f->context, &c, &plan), -EINVAL);
	expect_detail("d_stride is 0");
	c.d_stride = 802;
	fails(accel_plan_create(f->context, &c, &plan), -EINVAL);
	expect_detail("stride 802 of d is not a multiple");
	c.batch_mode = ACCEL_BATCH_GROUPED;
	c.d_stride = 0;
	c.flags = ACCEL_MATMUL_TRANS_A;
	fails(accel_plan_create(f->context, &c, &plan), -ENOTSUP);
	expect_detail("a is transposed");
	fails(accel_plan_create(NULL, &good, &plan), -EINVAL);
	fails(accel_plan_create(f->context, NULL, &plan), -EINVAL);
	fails(accel_plan_create(f->context, &good, NULL), -EINVAL);
	newer.config.size = sizeof(newer);
	ok(accel_plan_create(f->context, &newer.config, &plan));
	accel_plan_destroy(plan);
	newer.more = 1;
	fails(accel_plan_create(f->context, &newer.config, &plan), -EINVAL);
	expect_detail("something newer");
	accel_plan_destroy(NULL);
	assert_int_equal(accel_plan_operand_size(NULL, 0), 0);
}

static void bad_runs(void **state)
{
	struct fixture *f = *state;
	struct run r = { .config = config(ACCEL_TYPE_BF16, ACCEL_TYPE_MXFP4_E2M1, 10, 20, 64) };
	struct accel_place places[ACCEL_OPERANDS + 1] = { 0 };
	struct accel_context *context;
	struct accel_buffer *other, *readonly;

	prepare(f, &r);
	assert_int_equal(accel_plan_operand_size(r.plan, ACCEL_OPERAND_A), 10 * 64 * 2);
	assert_int_equal(accel_plan_operand_size(r.plan, ACCEL_OPERAND_B), 64 * 20 / 2);
	assert_int_equal(accel_plan_operand_size(r.plan, ACCEL_OPERAND_B_SCALE), 2 * 20);
	assert_int_equal(accel_plan_operand_size(r.plan, ACCEL_OPERAND_BIAS), 0);
	assert_int_equal(accel_plan_operand_size(r.plan, ACCEL_OPERANDS), 0);
	ok(accel_context_create(f->device, 0, &context));
	ok(accel_buffer_create(context, 4096, CARD, &other));
	readonly = make_buffer(f, 4096, CARD | ACCEL_BUFFER_CARD_READONLY);
#define BAD_RUN(error, detail, operand, change) do { \
		struct accel_place *place = &places[operand]; \
		memcpy(places, r.places, sizeof(r.places)); \
		change; \
		fails(accel_plan_run(f->queue, r.plan, places, ACCEL_OPERANDS), error); \
		expect_detail(detail); \
	} while (0)
	BAD_RUN(-EINVAL, "a: buffer is NULL", ACCEL_OPERAND_A, place->buffer = NULL);
	BAD_RUN(-EINVAL, "b_scale: buffer is NULL", ACCEL_OPERAND_B_SCALE, place->buffer = NULL);
	BAD_RUN(-EINVAL, "a: offset 3 is not a multiple of 2", ACCEL_OPERAND_A, place->offset = 3);
	BAD_RUN(-EINVAL, "b: offset 65 + 640 bytes is outside", ACCEL_OPERAND_B, place->offset = 65);
	BAD_RUN(-EINVAL, "bias is given, but the plan", ACCEL_OPERAND_BIAS, place->buffer = readonly);
	BAD_RUN(-EXDEV, "a: the buffer belongs to another context", ACCEL_OPERAND_A,
		place->buffer = other);
	BAD_RUN(-EACCES, "d: the buffer is ACCEL_BUFFER_CARD_READONLY", ACCEL_OPERAND_D,
		place->buffer = readonly);
	BAD_RUN(-EINVAL, "d overlaps a", ACCEL_OPERAND_D, *place = places[ACCEL_OPERAND_A]);
#undef BAD_RUN
	memcpy(places, r.places, sizeof(r.places));
	fails(accel_plan_run(f->queue, r.plan, places, ACCEL_OPERAND_B_SCALE), -EINVAL);
	expect_detail("b_scale: buffer is NULL");
	fails(accel_plan_run(f->queue, NULL, places, ACCEL_OPERANDS), -EINVAL);
	fails(accel_plan_run(f->queue, r.plan, NULL, ACCEL_OPERANDS), -EINVAL);
	ok(accel_plan_run(f->queue, r.plan, places, ACCEL_OPERANDS + 1));
	places[ACCEL_OPERANDS].buffer = readonly;
	fails(accel_plan_run(f->queue, r.plan, places, ACCEL_OPERANDS + 1), -EINVAL);
	expect_detail("operand 14 is newer");
	check(&r);
	accel_buffer_destroy(other);
	accel_buffer_destroy(readonly);
	accel_context_destroy(context);
	finish(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(pairs, setup, teardown),
		cmocka_unit_test_setup_teardown(groups, setup, teardown),
		cmocka_unit_test_setup_teardown(steps, setup, teardown),
		cmocka_unit_test_setup_teardown(again, setup, teardown),
		cmocka_unit_test_setup_teardown(strided, setup, teardown),
		cmocka_unit_test_setup_teardown(grouped_and_items, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_plans, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_runs, setup, teardown),
	};

	return run_group("libaccel plan", tests);
}

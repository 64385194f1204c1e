// SPDX-License-Identifier: MIT
/*
 * Epilogues of the matmul engine against the scalar oracle, bit by bit, on every instruction set
 * that this machine has: every step alone and all together, every result type, every activation
 * function; and what the activation functions approximate.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "gemm.h"
#include "operands.h"
#include "oracle_formats.h"
#include "pool.h"

enum { ROW_SCALE = 1, COL_SCALE = 2, ALPHA = 4, BETA = 8, BIAS = 16, RESIDUAL = 32, D_SCALE = 64,
       D_ZERO = 128, ALL_STEPS = 255 };

static const uint8_t results[] = { ONPU_DTYPE_F32, ONPU_DTYPE_BF16, ONPU_DTYPE_F16, ONPU_DTYPE_E4M3,
				   ONPU_DTYPE_E5M2, ONPU_DTYPE_I8 };
static const uint8_t floats[] = { ONPU_DTYPE_F32, ONPU_DTYPE_BF16, ONPU_DTYPE_F16 };

struct problem {
	uint32_t m, n, k, type, flags;
	uint32_t steps, activation, d_type, c_type, bias_type, residual_type;
	uint32_t which;			/* ONPU_GEMM_D_SCALE_*, NO_SATURATE */
	bool scattered, wild, c_is_d;
};

static uint32_t random_element(uint32_t type, bool wild)
{
	uint32_t u = rnd() << 16 ^ rnd();
	float f = (float)(int32_t)u * 0x1p-29f;

	if (type == ONPU_DTYPE_I8 || (wild && rnd_below(2)))
		return u;
	if (type == ONPU_DTYPE_F16)
		return (u & 0x83ffu) | (12 + rnd_below(5)) << 10;
	memcpy(&u, &f, 4);
	return type == ONPU_DTYPE_BF16 ? u >> 16 : u;
}

static void make(struct operand *op, uint64_t rows, uint64_t cols, uint64_t ld, uint32_t type,
		 const struct problem *p)
{
	unsigned int es = onpu_gemm_elem_bits(type) / 8;

	assert_true(onpu_gemm_span(rows, cols, ld, es * 8, &op->len));
	alloc_operand(op);
	for (uint64_t i = 0; i < op->len; i += es) {
		uint32_t u = random_element(type, p->wild);

		memcpy(op->flat + i, &u, es);
	}
	place_operand(op, es, p->scattered);
}

/* Element i of a floating-point operand. */
static float element(const struct operand *op, uint32_t type, uint64_t i)
{
	unsigned int es = onpu_gemm_elem_bits(type) / 8;
	uint32_t u = 0;

	memcpy(&u, op->flat + i * es, es);
	return (float)oracle_decode(type, u);
}

struct data {
	struct operand a, b, c, d, row_scale, col_scale, bias, residual, d_scale, d_zero;
	uint64_t lda, ldb, ldc, ldd, ldr, length;
	struct onpu_gemm_epilogue e;
	struct onpu_gemm_desc desc;
};

static const float some_alpha = 0.7f, some_beta = -1.3f;

static void expect(struct data *x, const struct problem *p)
{
	unsigned int es = onpu_gemm_elem_bits(p->d_type) / 8;
	bool integer = p->type == ONPU_DTYPE_I8;
	struct oracle_operand a = { .type = p->type, .ld = x->lda, .data = x->a.flat,
				    .k_rows = p->flags & ONPU_GEMM_TRANS_A };
	struct oracle_operand b = { .type = p->type, .ld = x->ldb, .data = x->b.flat,
				    .k_rows = !(p->flags & ONPU_GEMM_TRANS_B) };

	x->d.expect = xalloc(x->d.len);
	memcpy(x->d.expect, x->d.flat, x->d.len);
	for (uint32_t i = 0; i < p->m; i++)
		for (uint32_t j = 0; j < p->n; j++) {
			uint32_t at = p->which & ONPU_GEMM_D_SCALE_ROWS ? i :
				      p->which & ONPU_GEMM_D_SCALE_COLS ? j : 0;
			float rs = 0, cs = 0, c = 0, bias = 0, residual = 0, scale = 0;
			struct oracle_steps s = {
				.activation = p->activation, .d_type = p->d_type,
				.no_saturate = p->which & ONPU_GEMM_NO_SATURATE,
			};
			uint32_t sum = 0;

			if (p->steps & ROW_SCALE) {
				rs = element(&x->row_scale, ONPU_DTYPE_F32, i);
				s.row_scale = &rs;
			}
			if (p->steps & COL_SCALE) {
				cs = element(&x->col_scale, ONPU_DTYPE_F32, j);
				s.col_scale = &cs;
			}
			if (p->steps & ALPHA)
				s.alpha = &some_alpha;
			if (p->steps & BETA) {
				c = element(&x->c, p->c_type, i * x->ldc + j);
				s.beta = &some_beta;
				s.c = &c;
			}
			if (p->steps & BIAS) {
				bias = element(&x->bias, p->bias_type, j);
				s.bias = &bias;
			}
			if (p->steps & RESIDUAL) {
				residual = element(&x->residual, p->residual_type, i * x->ldr + j);
				s.residual = &residual;
			}
			if (p->steps & D_SCALE) {
				scale = element(&x->d_scale, ONPU_DTYPE_F32, at);
				s.d_scale = &scale;
			}
			if (p->steps & D_ZERO)
				s.d_zero = (const int8_t *)x->d_zero.flat + at;
			if (p->flags & ONPU_GEMM_ACCUMULATE)
				memcpy(&sum, x->c.flat + (i * x->ldc + j) * 4, 4);
			sum = oracle_sum(&a, i, &b, j, p->k, sum);
			sum = oracle_result(sum, integer, &s);
			memcpy(x->d.expect + (i * x->ldd + j) * es, &sum, es);
		}
}

static void prepare(struct data *x, const struct problem *p)
{
	bool ta = p->flags & ONPU_GEMM_TRANS_A, tb = p->flags & ONPU_GEMM_TRANS_B;
	bool has_c = p->steps & BETA || p->flags & ONPU_GEMM_ACCUMULATE;

	memset(x, 0, sizeof(*x));
	x->lda = (ta ? p->m : p->k) + rnd_below(5);
	x->ldb = (tb ? p->k : p->n) + rnd_below(5);
	x->ldc = p->n + rnd_below(5);
	x->ldd = p->c_is_d ? x->ldc : p->n + rnd_below(5);
	x->ldr = p->n + rnd_below(5);
	x->length = p->which & ONPU_GEMM_D_SCALE_ROWS ? p->m :
		    p->which & ONPU_GEMM_D_SCALE_COLS ? p->n : 1;
	make(&x->a, ta ? p->k : p->m, ta ? p->m : p->k, x->lda, p->type, p);
	make(&x->b, tb ? p->n : p->k, tb ? p->k : p->n, x->ldb, p->type, p);
	make(&x->d, p->m, p->n, x->ldd, p->d_type, p);
	if (has_c)
		make(&x->c, p->m, p->n, x->ldc, p->c_type, p);
	make(&x->row_scale, 1, p->m, p->m, ONPU_DTYPE_F32, p);
	make(&x->col_scale, 1, p->n, p->n, ONPU_DTYPE_F32, p);
	make(&x->bias, 1, p->n, p->n, p->bias_type, p);
	make(&x->residual, p->m, p->n, x->ldr, p->residual_type, p);
	make(&x->d_scale, 1, x->length, x->length, ONPU_DTYPE_F32, p);
	make(&x->d_zero, 1, x->length, x->length, ONPU_DTYPE_I8, p);
	if (p->c_is_d)
		memcpy(x->d.flat, x->c.flat, x->d.len);
	x->e = (struct onpu_gemm_epilogue){
		.c_type = p->c_type, .ldc = x->ldc, .bias_type = p->bias_type,
		.activation = p->activation, .residual_type = p->residual_type, .ldr = x->ldr,
		.d_type = p->d_type, .flags = p->which,
	};
	memcpy(&x->e.alpha, &some_alpha, 4);
	memcpy(&x->e.beta, &some_beta, 4);
	if (p->steps & ALPHA)
		x->e.flags |= ONPU_GEMM_ALPHA;
	if (p->steps & ROW_SCALE)
		x->e.row_scale = x->row_scale.view;
	if (p->steps & COL_SCALE)
		x->e.col_scale = x->col_scale.view;
	if (p->steps & BETA)
		x->e.c = p->c_is_d ? x->d.view : x->c.view;
	if (p->steps & BIAS)
		x->e.bias = x->bias.view;
	if (p->steps & RESIDUAL)
		x->e.residual = x->residual.view;
	if (p->steps & D_SCALE)
		x->e.d_scale = x->d_scale.view;
	if (p->steps & D_ZERO)
		x->e.d_zero = x->d_zero.view;
	x->desc = (struct onpu_gemm_desc){
		.m = p->m, .n = p->n, .k = p->k, .a_type = p->type, .b_type = p->type,
		.flags = p->flags, .lda = x->lda, .ldb = x->ldb, .ldc = x->ldc, .ldd = x->ldd,
		.a = x->a.view, .b = x->b.view, .c = p->c_is_d ? x->d.view : x->c.view,
		.d = x->d.view, .epilogue = &x->e,
	};
	expect(x, p);
}

static void release(struct data *x)
{
	free_operand(&x->a);
	free_operand(&x->b);
	free_operand(&x->d);
	if (x->c.len)
		free_operand(&x->c);
	free_operand(&x->row_scale);
	free_operand(&x->col_scale);
	free_operand(&x->bias);
	free_operand(&x->residual);
	free_operand(&x->d_scale);
	free_operand(&x->d_zero);
}

static void try_problem(const struct problem *p)
{
	unsigned int es = onpu_gemm_elem_bits(p->d_type) / 8;
	struct data x;
	uint8_t *got;

	prepare(&x, p);
	got = xalloc(x.d.len);
	for (int isa = 1; isa < ONPU_GEMM_ISA_COUNT; isa++) {
		if (!onpu_gemm_isa_supported((enum onpu_gemm_isa)isa))
			continue;
		x.desc.isa = (uint32_t)isa;
		view_copy(&x.d, x.d.flat, true);
		assert_int_equal(onpu_gemm(pools[rnd_below(MAX_POOLS)], &x.desc, NULL, NULL), 0);
		view_copy(&x.d, got, false);
		for (uint64_t i = 0; i < x.d.len; i += es)
			if (memcmp(got + i, x.d.expect + i, es))
				fail_msg("%s m=%u n=%u k=%u type=%u flags=%u steps=%02x act=%u d=%u which=%u: element %llu is %02x %02x, expected %02x %02x",
					 onpu_gemm_isa_name((enum onpu_gemm_isa)isa), p->m, p->n, p->k,
					 p->type, p->flags, p->steps, p->activation, p->d_type,
					 p->which, (unsigned long long)(i / es), got[i],
					 got[i + es - 1], x.d.expect[i], x.d.expect[i + es - 1]);
	}
	free(got);
	release(&x);
}

static struct problem random_problem(unsigned int i)
{
	static const uint8_t types[] = { ONPU_DTYPE_F32, ONPU_DTYPE_I8, ONPU_DTYPE_BF16 };
	struct problem p = {
		.m = 1 + rnd_below(24), .n = 1 + rnd_below(60), .k = 1 + rnd_below(40),
		.type = types[i % 3], .flags = rnd_below(4), .activation = rnd_below(5),
		.d_type = results[rnd_below(sizeof(results))], .c_type = floats[rnd_below(3)],
		.bias_type = floats[rnd_below(3)], .residual_type = floats[rnd_below(3)],
		.steps = rnd() & ALL_STEPS, .which = rnd_below(3), .scattered = rnd_below(2),
	};

	if (p.d_type != ONPU_DTYPE_I8)
		p.steps &= ~(uint32_t)D_ZERO;
	if (p.d_type == ONPU_DTYPE_E4M3 || p.d_type == ONPU_DTYPE_E5M2)
		p.which |= rnd_below(2) * ONPU_GEMM_NO_SATURATE;
	return p;
}

/* Each step alone, to each result type. */
static void test_each(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 8 * sizeof(results) * 3; i++) {
		struct problem p = random_problem(i);

		p.d_type = results[i / 3 % sizeof(results)];
		p.which &= ONPU_GEMM_D_SCALE_ROWS | ONPU_GEMM_D_SCALE_COLS;
		p.steps = 1u << i / (3 * sizeof(results));
		if (p.steps == D_ZERO)
			p.d_type = ONPU_DTYPE_I8;
		p.activation = 0;
		try_problem(&p);
	}
}

static void test_random(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 240; i++) {
		struct problem p = random_problem(i);

		p.wild = i & 1;
		try_problem(&p);
	}
	/* Small ones, which cost little. */
	for (unsigned int i = 0; i < 2500; i++) {
		struct problem p = random_problem(i);

		p.m = 1 + rnd_below(6);
		p.n = 1 + rnd_below(20);
		p.k = 1 + rnd_below(12);
		p.wild = i & 1;
		try_problem(&p);
	}
}

/*
 * Sums that wait for more k, of several blocks of rows, with and without AVX-512, and of more rows than
 * may wait (scalar); several items; sums that start from C.
 */
static void test_blocks(void **state)
{
	static const struct { uint32_t m, n, k; } s[] = {
		{ 20, 30, 700 }, { 5, 70, 2100 }, { 37, 300, 140 }, { 380, 21, 30 }, { 60, 270, 600 },
		{ 110, 40, 1100 }, { 1050, 260, 130 },
	};
	const unsigned int shapes = sizeof(s) / sizeof(s[0]) - 1;

	(void)state;
	/* The last one takes long: once is enough. */
	for (unsigned int i = 0; i <= 4 * shapes; i++) {
		unsigned int j = i < 4 * shapes ? i % shapes : shapes;
		struct problem p = random_problem(i);

		p.m = s[j].m;
		p.n = s[j].n;
		p.k = s[j].k;
		if (i & 1) {
			p.flags |= ONPU_GEMM_ACCUMULATE;
			p.steps &= ~(uint32_t)BETA;
			p.c_type = p.type == ONPU_DTYPE_I8 ? ONPU_DTYPE_I32 : ONPU_DTYPE_F32;
		}
		try_problem(&p);
	}
}

/* C is D. */
static void test_in_place(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 24; i++) {
		struct problem p = random_problem(i);

		p.c_type = floats[i / 2 % 3];
		p.d_type = p.c_type;
		p.which = 0;
		p.steps = (p.steps | BETA) & ~(uint32_t)D_ZERO;
		p.k = i & 1 ? 30 : 1200;
		p.c_is_d = true;
		if (i % 5 == 0 && p.d_type == ONPU_DTYPE_F32 && p.type != ONPU_DTYPE_I8) {
			p.steps &= ~(uint32_t)BETA;
			p.steps |= ALPHA;
			p.flags |= ONPU_GEMM_ACCUMULATE;
		}
		try_problem(&p);
	}
}

/*
 * Values through one step or conversion without arithmetic before it: 1 x n times 1 x 1, where A
 * is 1 and B are the values. Compared with the oracle on all instruction sets.
 */
static void through(const float *values, uint32_t n, uint32_t activation, uint32_t d_type,
		    uint32_t which)
{
	unsigned int es = onpu_gemm_elem_bits(d_type) / 8;
	struct onpu_gemm_epilogue e = { .activation = activation, .d_type = d_type, .flags = which };
	struct oracle_steps s = { .activation = activation, .d_type = d_type,
				  .no_saturate = which & ONPU_GEMM_NO_SATURATE };
	uint8_t *got = xalloc(n * es);
	float one = 1;
	struct onpu_seg sa = { (uint8_t *)&one, 0, 4 }, sb = { (uint8_t *)(uintptr_t)values, 0, n * 4 };
	struct onpu_seg sd = { got, 0, n * es };
	struct onpu_gemm_desc d = {
		.m = 1, .n = n, .k = 1, .a_type = ONPU_DTYPE_F32, .b_type = ONPU_DTYPE_F32,
		.lda = 1, .ldb = n, .ldd = n, .a = { &sa, 1, 4 }, .b = { &sb, 1, n * 4 },
		.d = { &sd, 1, n * es }, .epilogue = &e,
	};

	for (int isa = 1; isa < ONPU_GEMM_ISA_COUNT; isa++) {
		if (!onpu_gemm_isa_supported((enum onpu_gemm_isa)isa))
			continue;
		d.isa = (uint32_t)isa;
		assert_int_equal(onpu_gemm(NULL, &d, NULL, NULL), 0);
		for (uint32_t i = 0; i < n; i++) {
			uint32_t sum, want, is = 0;

			memcpy(&sum, &values[i], 4);
			sum = sum == 0x80000000u ? 0 : sum;	/* as the product makes it */
			want = oracle_result(sum, false, &s);
			memcpy(&is, got + i * es, es);
			if (is != want)
				fail_msg("%s act=%u d=%u which=%u: %a (%08x) gives %x, expected %x",
					 onpu_gemm_isa_name((enum onpu_gemm_isa)isa), activation,
					 d_type, which, (double)values[i], sum, is, want);
		}
	}
	free(got);
}

#define COUNT 20000

/* Every kind of number: all exponents, and the neighbourhood of every rounding boundary. */
static void test_values(void **state)
{
	static float v[COUNT];

	(void)state;
	for (uint32_t i = 0; i < COUNT; i++) {
		uint32_t u = rnd() << 16 ^ rnd();

		if (i % 4 == 1)		/* few digits: ties */
			u &= 0xfff80000u;
		if (i % 4 == 2)		/* next to ties */
			u = (u & 0xfff80000u) + (rnd_below(3) - 1);
		if (i % 4 == 3)		/* where FP8, FP16 and the activation functions live */
			u = (u & 0x80ffffffu) + ((100 + rnd_below(45)) << 23);
		memcpy(&v[i], &u, 4);
	}
	for (uint32_t i = 0; i < 256; i++) {
		double x = oracle_decode(ONPU_DTYPE_E5M2, i);

		v[i] = (float)x;
		v[i + 256] = (float)oracle_decode(ONPU_DTYPE_E4M3, i);
	}
	for (unsigned int d = 0; d < sizeof(results); d++)
		for (uint32_t which = 0; which < 2; which++)
			if (!which || results[d] == ONPU_DTYPE_E4M3 || results[d] == ONPU_DTYPE_E5M2)
				through(v, COUNT, 0, results[d], which * ONPU_GEMM_NO_SATURATE);
	for (uint32_t act = 1; act <= ONPU_ACT_SILU; act++)
		through(v, COUNT, act, ONPU_DTYPE_F32, 0);
}

/* Table 3 of OFP8 1.0 and what can be computed by hand. */
static void test_known(void **state)
{
	(void)state;
	assert_int_equal(oracle_encode(ONPU_DTYPE_E4M3, 448, false), 0x7e);
	assert_int_equal(oracle_encode(ONPU_DTYPE_E4M3, 464, true), 0x7e);	/* tie, to even */
	assert_int_equal(oracle_encode(ONPU_DTYPE_E4M3, 465, true), 0x7f);
	assert_int_equal(oracle_encode(ONPU_DTYPE_E4M3, -465, false), 0xfe);
	assert_int_equal(oracle_encode(ONPU_DTYPE_E4M3, INFINITY, false), 0x7e);
	assert_int_equal(oracle_encode(ONPU_DTYPE_E4M3, -INFINITY, true), 0x7f);
	assert_int_equal(oracle_encode(ONPU_DTYPE_E4M3, NAN, false), 0x7f);
	assert_int_equal(oracle_encode(ONPU_DTYPE_E4M3, 0x1p-10f, false), 0);	/* tie, to even */
	assert_int_equal(oracle_encode(ONPU_DTYPE_E4M3, 0x1.8p-10f, false), 1);
	assert_int_equal(oracle_encode(ONPU_DTYPE_E5M2, 57344, false), 0x7b);
	assert_int_equal(oracle_encode(ONPU_DTYPE_E5M2, 61440, true), 0x7c);	/* tie, to even */
	assert_int_equal(oracle_encode(ONPU_DTYPE_E5M2, 61440, false), 0x7b);
	assert_int_equal(oracle_encode(ONPU_DTYPE_E5M2, -INFINITY, true), 0xfc);
	assert_int_equal(oracle_encode(ONPU_DTYPE_E5M2, -INFINITY, false), 0xfb);
	assert_int_equal(oracle_encode(ONPU_DTYPE_E5M2, -NAN, false), 0x7e);
	assert_int_equal(oracle_encode(ONPU_DTYPE_F16, 65520, false), 0x7c00);
	assert_int_equal(oracle_encode(ONPU_DTYPE_F16, 65519, false), 0x7bff);
	assert_int_equal(oracle_encode(ONPU_DTYPE_BF16, 0x1.01p0f, false), 0x3f80);
	assert_int_equal(oracle_encode(ONPU_DTYPE_BF16, 0x1.03p0f, false), 0x3f82);
	assert_int_equal(oracle_encode(ONPU_DTYPE_F32, NAN, false), 0x7fc00000);
}

/* The functions are what they are called, as well as numerics.md says. */
static void test_accuracy(void **state)
{
	double worst[5] = { 0 };

	(void)state;
	for (int i = -150000; i <= 150000; i++) {
		float t = (float)i * 1e-4f;
		double x = (double)t, want[5] = { 0, 0, 0, 0, 0 };

		want[ONPU_ACT_GELU_ERF] = 0.5 * x * erfc(-x / sqrt(2));
		want[ONPU_ACT_GELU_TANH] = x / (1 + exp(-2 * sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
		want[ONPU_ACT_SILU] = x / (1 + exp(-x));
		for (uint32_t act = ONPU_ACT_GELU_ERF; act <= ONPU_ACT_SILU; act++) {
			double error = fabs((double)oracle_activation(act, t) - want[act]) /
				       fmax(1, fabs(want[act]));

			worst[act] = fmax(worst[act], error);
		}
	}
	for (uint32_t act = ONPU_ACT_GELU_ERF; act <= ONPU_ACT_SILU; act++) {
		printf("# activation %u: %.3g\n", act, worst[act]);
		assert_true(worst[act] < 2.5e-7);
	}
	for (uint32_t act = ONPU_ACT_GELU_ERF; act <= ONPU_ACT_SILU; act++) {
		assert_true(isinf(oracle_activation(act, INFINITY)));
		assert_true(fabsf(oracle_activation(act, -INFINITY)) < 1e-35f);
		assert_true(oracle_activation(act, 1e30f) == 1e30f);
		assert_true(isnan(oracle_activation(act, NAN)));
		assert_true(oracle_activation(act, 0) == 0);
	}
}

static void test_invalid(void **state)
{
	struct problem p = { .m = 8, .n = 9, .k = 10, .type = ONPU_DTYPE_F32, .steps = ALL_STEPS,
			     .d_type = ONPU_DTYPE_I8, .c_type = ONPU_DTYPE_F16,
			     .bias_type = ONPU_DTYPE_BF16, .residual_type = ONPU_DTYPE_F32 };
	struct onpu_gemm_epilogue e;
	struct data x;

	(void)state;
	prepare(&x, &p);
	assert_int_equal(onpu_gemm(NULL, &x.desc, NULL, NULL), 0);
	e = x.e;
#define BAD(change) do { \
		change; \
		assert_int_equal(onpu_gemm(NULL, &x.desc, NULL, NULL), -EINVAL); \
		x.e = e; \
	} while (0)
	BAD(x.e.d_type = ONPU_DTYPE_I32);
	BAD(x.e.d_type = ONPU_DTYPE_F32);	/* D's view is too short */
	BAD(x.e.activation = 5);
	BAD(x.e.c_type = ONPU_DTYPE_I8);
	BAD(x.e.c_type = ONPU_DTYPE_F32);	/* C's view is too short */
	BAD(x.e.ldc = 8);
	BAD(x.e.ldr = 8);
	BAD(x.e.bias_type = 0);
	BAD(x.e.bias_type = ONPU_DTYPE_F32);
	BAD(x.e.residual_type = 99);
	BAD(x.e.row_scale.len--);
	BAD(x.e.col_scale = x.row_scale.view);
	BAD(x.e.flags |= ONPU_GEMM_D_SCALE_ROWS);	/* one scale for all rows */
	BAD(x.e.flags |= ONPU_GEMM_D_SCALE_COLS);
#undef BAD
	assert_int_equal(onpu_gemm(NULL, &x.desc, NULL, NULL), 0);
	release(&x);
}

/* Sums that wait, and a matmul that is not wanted any more: D is left as it is. */
static void test_cancel(void **state)
{
	struct problem p = { .m = 60, .n = 70, .k = 1500, .type = ONPU_DTYPE_BF16, .steps = BIAS,
			     .d_type = ONPU_DTYPE_F16, .bias_type = ONPU_DTYPE_F32,
			     .residual_type = ONPU_DTYPE_F32 };
	atomic_bool cancel;
	struct data x;

	(void)state;
	atomic_init(&cancel, true);
	prepare(&x, &p);
	for (unsigned int i = 0; i < MAX_POOLS; i++) {
		uint8_t *got = xalloc(x.d.len);

		assert_int_equal(onpu_gemm(pools[i], &x.desc, &cancel, NULL), -ECANCELED);
		view_copy(&x.d, got, false);
		assert_memory_equal(got, x.d.flat, x.d.len);
		free(got);
	}
	release(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_accuracy),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_each),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_in_place),
		cmocka_unit_test(test_invalid),
		cmocka_unit_test(test_cancel),
	};
	const char *seed = getenv("TEST_SEED");

	if (seed)
		rng_state = strtoull(seed, NULL, 0);
	return cmocka_run_group_tests(tests, setup_pools, teardown_pools);
}

// SPDX-License-Identifier: MIT
/*
 * Matmul engine against the scalar oracle, bit by bit: every instruction set that this machine
 * has, all types, transposes, leading dimensions, accumulation, scattered pages, threads.
 */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include <pthread.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "gemm.h"
#include "operands.h"
#include "oracle.h"
#include "pool.h"

/* Values */

static const uint32_t special_f32[] = {
	0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007fffff, 0x807fffff, 0x00800000,
	0x80800000, 0x3f800000, 0xbf800000, 0x3f800001, 0x3f7fffff, 0x7f7fffff, 0xff7fffff,
	0x7f800000, 0xff800000, 0x7fc00000, 0xffc00001, 0x7f800001, 0xffbfffff, 0x34000000,
	0x33800000, 0x4b800000, 0x5f800000, 0x20000000, 0x1fffffff, 0x00400000, 0x7f000000,
};

enum fill {
	FILL_UNIFORM,		/* [-1, 1): ordinary data */
	FILL_EXPONENTS,		/* any finite bits: rounding, overflow, cancellation */
	FILL_SPECIAL,		/* mostly special values */
	FILL_SUBNORMAL,		/* small numbers: underflow of products and sums */
	FILL_SMALL_INT,		/* exact sums, so that a wrong index shows whatever the order */
	FILL_KINDS
};

static uint32_t rnd_f32(enum fill fill)
{
	uint32_t u = rnd() << 16 ^ rnd();
	float f;

	switch (fill) {
	case FILL_UNIFORM:
		f = (float)(int32_t)u * 0x1p-31f;
		break;
	case FILL_EXPONENTS:
		if ((u & 0x7f800000u) == 0x7f800000u)
			u ^= 0x40000000u;
		/* Two thirds around one, where sums interact. */
		if (rnd_below(3))
			u = (u & 0x80ffffffu) | 0x3f000000u;
		return u;
	case FILL_SPECIAL:
		if (rnd_below(4))
			return special_f32[rnd_below(sizeof(special_f32) / 4)];
		f = 1.0f;
		break;
	case FILL_SUBNORMAL:
		return (u & 0x807fffffu) | (rnd_below(2) ? 0x1f800000u : rnd_below(3) << 23);
	default:
		f = (float)((int)rnd_below(17) - 8);
		break;
	}
	memcpy(&u, &f, 4);
	return u;
}

static void put_elem(uint8_t *p, uint32_t dtype, enum fill fill)
{
	uint32_t u = rnd_f32(fill);
	uint16_t h = (uint16_t)(u >> 16);

	switch (dtype) {
	case ONPU_DTYPE_F32:
		memcpy(p, &u, 4);
		break;
	case ONPU_DTYPE_BF16:
		memcpy(p, &h, 2);
		break;
	case ONPU_DTYPE_F16:
		/* Any bits, without infinities and NaNs unless wanted. */
		h = (uint16_t)rnd();
		if (fill == FILL_SUBNORMAL)
			h &= 0x87ff;
		else if (fill != FILL_SPECIAL && (h & 0x7c00) == 0x7c00)
			h &= 0xbfff;
		memcpy(p, &h, 2);
		break;
	case ONPU_DTYPE_I8:
		*p = fill == FILL_SPECIAL ? (uint8_t)(rnd_below(2) ? 0x80 : 0x7f) : (uint8_t)rnd();
		break;
	default:	/* I32 */
		memcpy(p, &u, 4);
		break;
	}
}

static void make_operand(struct operand *op, uint64_t rows, uint64_t cols, uint64_t ld,
			 uint32_t dtype, enum fill fill, bool scattered)
{
	unsigned int es = onpu_gemm_elem_bits(dtype) / 8;

	assert_true(onpu_gemm_span(rows, cols, ld, es * 8, &op->len));
	alloc_operand(op);
	for (uint64_t i = 0; i < op->len; i += es)
		put_elem(op->flat + i, dtype, fill);
	place_operand(op, es, scattered);
}

struct problem {
	uint32_t m, n, k, dtype, flags;
	uint32_t pad;		/* leading dimensions exceed the row length by up to this */
	enum fill fill;
	bool scattered, in_place;
	bool alone;		/* no pool: nobody to divide it with */
};

struct matrices {
	struct operand a, b, c, d;
	struct onpu_gemm_desc desc;
};

static void make_matrices(struct matrices *x, const struct problem *p)
{
	bool ta = p->flags & ONPU_GEMM_TRANS_A, tb = p->flags & ONPU_GEMM_TRANS_B;
	uint32_t out = p->dtype == ONPU_DTYPE_I8 ? ONPU_DTYPE_I32 : ONPU_DTYPE_F32;
	uint64_t lda = (ta ? p->m : p->k) + (p->pad ? rnd_below(p->pad + 1) : 0);
	uint64_t ldb = (tb ? p->k : p->n) + (p->pad ? rnd_below(p->pad + 1) : 0);
	uint64_t ldc = p->n + (p->pad ? rnd_below(p->pad + 1) : 0);
	uint64_t ldd = p->in_place ? ldc : p->n + (p->pad ? rnd_below(p->pad + 1) : 0);
	struct oracle_matmul o;

	make_operand(&x->a, ta ? p->k : p->m, ta ? p->m : p->k, lda, p->dtype, p->fill, p->scattered);
	make_operand(&x->b, tb ? p->n : p->k, tb ? p->k : p->n, ldb, p->dtype, p->fill, p->scattered);
	make_operand(&x->c, p->m, p->n, ldc, out, p->fill, p->scattered);
	make_operand(&x->d, p->m, p->n, ldd, out, FILL_UNIFORM, p->scattered);
	if (p->in_place) {
		memcpy(x->d.flat, x->c.flat, x->d.len);
		view_copy(&x->d, x->d.flat, true);
	}
	x->desc = (struct onpu_gemm_desc) {
		.m = p->m, .n = p->n, .k = p->k, .a_type = p->dtype, .b_type = p->dtype,
		.flags = p->flags,
		.lda = lda, .ldb = ldb, .ldc = ldc, .ldd = ldd,
		.a = x->a.view, .b = x->b.view, .c = p->in_place ? x->d.view : x->c.view,
		.d = x->d.view,
	};
	/* What must be there afterwards, gaps between rows included. */
	x->d.expect = xalloc(x->d.len);
	memcpy(x->d.expect, x->d.flat, x->d.len);
	o = (struct oracle_matmul) {
		.m = p->m, .n = p->n, .k = p->k, .dtype = p->dtype, .trans_a = ta, .trans_b = tb,
		.accumulate = p->flags & ONPU_GEMM_ACCUMULATE,
		.lda = lda, .ldb = ldb, .ldc = ldc, .ldd = ldd,
		.a = x->a.flat, .b = x->b.flat, .c = x->c.flat, .d = x->d.expect,
	};
	oracle_matmul(&o);
}

static void free_matrices(struct matrices *x)
{
	free_operand(&x->a);
	free_operand(&x->b);
	free_operand(&x->c);
	free_operand(&x->d);
}

static void check_result(const struct matrices *x, const struct problem *p, const char *kernel)
{
	uint8_t *got = xalloc(x->d.len);

	view_copy(&x->d, got, false);
	for (uint64_t i = 0; i < x->d.len; i += 4) {
		uint32_t g, e;

		memcpy(&g, got + i, 4);
		memcpy(&e, x->d.expect + i, 4);
		if (g != e)
			fail_msg("%s m=%u n=%u k=%u dtype=%u flags=%u fill=%d ldd=%llu: row %llu column %llu is %08x, expected %08x",
				 kernel, p->m, p->n, p->k, p->dtype, p->flags, (int)p->fill,
				 (unsigned long long)x->desc.ldd,
				 (unsigned long long)(i / 4 / x->desc.ldd),
				 (unsigned long long)(i / 4 % x->desc.ldd), g, e);
	}
	free(got);
}

/* One problem on every instruction set, each with a random number of threads. */
static void try_problem(const struct problem *p)
{
	struct matrices x;

	make_matrices(&x, p);
	for (int isa = 1; isa < ONPU_GEMM_ISA_COUNT; isa++) {
		struct onpu_gemm_stats stats;
		struct onpu_pool *pool = p->alone || !rnd_below(8) ? NULL :
					 pools[rnd_below(MAX_POOLS)];

		if (!onpu_gemm_isa_supported((enum onpu_gemm_isa)isa))
			continue;
		x.desc.isa = (uint32_t)isa;
		view_copy(&x.d, x.d.flat, true);
		assert_int_equal(onpu_gemm(pool, &x.desc, NULL, &stats), 0);
		assert_true(stats.macs == (uint64_t)p->m * p->n * p->k);
		check_result(&x, p, stats.kernel);
	}
	free_matrices(&x);
}

/* The oracle itself */

static void test_oracle_fma(void **state)
{
	const unsigned int n = sizeof(special_f32) / 4;

	(void)state;
	for (unsigned int i = 0; i < n * n * n; i++) {
		uint32_t a = special_f32[i % n], b = special_f32[i / n % n];
		uint32_t c = special_f32[i / n / n];

		if (oracle_fma(a, b, c) != oracle_fma_soft(a, b, c))
			fail_msg("fma(%08x, %08x, %08x): %08x, in integers %08x", a, b, c,
				 oracle_fma(a, b, c), oracle_fma_soft(a, b, c));
	}
	for (unsigned int i = 0; i < 1000000; i++) {
		enum fill fill = (enum fill)(i % FILL_KINDS);
		uint32_t a = rnd_f32(fill), b = rnd_f32(fill), c = rnd_f32(fill);

		if (i & 8) {	/* c near -a * b: cancellation and ties */
			c = oracle_fma_soft(a, b, 0) ^ 0x80000000u;
			c += rnd_below(5) - 2;
		}
		if (oracle_fma(a, b, c) != oracle_fma_soft(a, b, c))
			fail_msg("fma(%08x, %08x, %08x): %08x, in integers %08x", a, b, c,
				 oracle_fma(a, b, c), oracle_fma_soft(a, b, c));
	}
}

/* Values that can be checked by hand. */
static void test_oracle_known(void **state)
{
	(void)state;
	assert_int_equal(oracle_f16(0x3c00), 0x3f800000);	/* 1 */
	assert_int_equal(oracle_f16(0x7bff), 0x477fe000);	/* 65504 */
	assert_int_equal(oracle_f16(0x0001), 0x33800000);	/* 2^-24 */
	assert_int_equal(oracle_f16(0x83ff), 0xb87fc000);	/* -1023 * 2^-24 */
	assert_int_equal(oracle_f16(0x0400), 0x38800000);	/* 2^-14 */
	assert_int_equal(oracle_f16(0xfc00), 0xff800000);
	assert_int_equal(oracle_f16(0x8000), 0x80000000);
	assert_int_equal(oracle_bf16(0x3f80), 0x3f800000);
	assert_int_equal(oracle_bf16(0x0001), 0x00010000);
	/* 1 + 2^-24 is a tie (stays 1); a fused 2^-24 * 1.5 is above it. */
	assert_int_equal(oracle_fma_soft(0x33800000, 0x3f800000, 0x3f800000), 0x3f800000);
	assert_int_equal(oracle_fma_soft(0x33800000, 0x3fc00000, 0x3f800000), 0x3f800001);
	/* 2^-75 * 2^-75 = 2^-150: half of the smallest number, to even: 0. 1.5 times that: 2^-149. */
	assert_int_equal(oracle_fma_soft(0x1a000000, 0x1a000000, 0), 0);
	assert_int_equal(oracle_fma_soft(0x1a000000, 0x1a400000, 0), 1);
	/* Overflow goes to infinity; inf - inf and 0 * inf are NaN. */
	assert_int_equal(oracle_fma_soft(0x7f7fffff, 0x40000000, 0), 0x7f800000);
	assert_int_equal(oracle_fma_soft(0x7f800000, 0x3f800000, 0xff800000), 0x7fc00000);
	assert_int_equal(oracle_fma_soft(0x7f800000, 0, 0), 0x7fc00000);
	/* (1 + 2^-23)^2 - (1 + 2^-22) = 2^-46: the product is not rounded. */
	assert_int_equal(oracle_fma_soft(0x3f800001, 0x3f800001, 0xbf800002), 0x28800000);
}

/* The engine */

static const uint32_t types[4] = { ONPU_DTYPE_F32, ONPU_DTYPE_BF16, ONPU_DTYPE_F16, ONPU_DTYPE_I8 };

/* Every BF16, FP16 and INT8 value comes through a multiplication by one. */
static void test_conversions(void **state)
{
	(void)state;
	for (unsigned int t = 1; t < 4; t++) {
		struct problem p = { .m = t == 3 ? 256 : 65536, .n = 1, .k = 1, .dtype = types[t] };
		struct matrices x;

		make_matrices(&x, &p);
		for (uint32_t i = 0; i < p.m; i++) {
			uint16_t h = (uint16_t)i;
			uint32_t e = i < 128 ? i : i - 256;

			memcpy(x.a.pages + i * onpu_gemm_elem_bits(types[t]) / 8, &h,
			       onpu_gemm_elem_bits(types[t]) / 8);
			if (t < 3) {
				e = t == 1 ? oracle_bf16(h) : oracle_f16(h);
				if ((e & 0x7fffffffu) > 0x7f800000u)
					e = 0x7fc00000u;
				if (e == 0x80000000u)
					e = 0;	/* -0 * 1 + +0 */
			}
			memcpy(x.d.expect + i * 4, &e, 4);
		}
		x.b.pages[0] = t == 3 ? 1 : t == 1 ? 0x80 : 0x00;
		if (t < 3)
			x.b.pages[1] = t == 1 ? 0x3f : 0x3c;
		for (int isa = 1; isa < ONPU_GEMM_ISA_COUNT; isa++) {
			if (!onpu_gemm_isa_supported((enum onpu_gemm_isa)isa))
				continue;
			x.desc.isa = (uint32_t)isa;
			assert_int_equal(onpu_gemm(pools[2], &x.desc, NULL, NULL), 0);
			check_result(&x, &p, onpu_gemm_isa_name((enum onpu_gemm_isa)isa));
		}
		free_matrices(&x);
	}
}

/* All small shapes around the edges of micro tiles, every flag. */
static void test_shapes(void **state)
{
	static const uint32_t dims[] = { 1, 2, 3, 5, 6, 7, 13, 14, 15, 16, 17, 29, 31, 32, 33, 48 };
	static const uint32_t ks[] = { 1, 2, 3, 4, 5, 8, 15, 16, 17, 31, 63, 64, 65, 66 };
	unsigned int count = 0;

	(void)state;
	for (unsigned int i = 0; i < sizeof(dims) / 4; i++)
		for (unsigned int j = 0; j < sizeof(dims) / 4; j++) {
			struct problem p = {
				.m = dims[i], .n = dims[j],
				.k = ks[count % (sizeof(ks) / 4)],
				.dtype = types[count % 4], .flags = rnd_below(8),
				.fill = (enum fill)rnd_below(FILL_KINDS),
				.pad = rnd_below(2) ? 9 : 0, .scattered = rnd_below(2),
			};

			count++;
			try_problem(&p);
			p.dtype = types[rnd_below(4)];
			p.flags ^= 3;
			p.k = ks[rnd_below(sizeof(ks) / 4)];
			try_problem(&p);
		}
}

static void test_random(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 120; i++) {
		struct problem p = {
			.m = 1 + rnd_below(120), .n = 1 + rnd_below(120), .k = 1 + rnd_below(300),
			.dtype = types[i % 4], .flags = i / 4 % 8,
			.fill = (enum fill)rnd_below(FILL_KINDS), .pad = rnd_below(60),
			.scattered = rnd_below(3) != 0,
		};

		try_problem(&p);
	}
}

/*
 * Up to 128 and 256 in all directions, and just beyond, in one segment: on one thread, or divided between
 * those that pack for themselves, or between all.
 */
static void test_medium(void **state)
{
	static const uint32_t dims[] = { 5, 63, 65, 84, 98, 127, 128, 129 };
	static const uint32_t large[] = { 70, 192, 255, 256, 257 };

	(void)state;
	for (unsigned int i = 0; i < 48; i++) {
		struct problem p = {
			.m = dims[rnd_below(8)], .n = dims[rnd_below(8)], .k = dims[rnd_below(8)],
			.dtype = types[i % 4], .flags = i / 4 % 8,
			.fill = (enum fill)rnd_below(FILL_KINDS), .pad = rnd_below(2) * 7,
			.alone = i % 3,
		};

		if (i < 8)
			p.m = p.n = p.k = 128;
		if (i >= 36) {
			p.m = large[rnd_below(5)];
			p.n = large[rnd_below(5)];
			p.k = large[rnd_below(5)];
		}
		try_problem(&p);
	}
}

/* Products that threads share, again and again: who helps comes sometimes, and at any time. */
static void test_shared(void **state)
{
	static const uint32_t dims[] = { 65, 100, 128, 150, 256 };

	(void)state;
	for (unsigned int i = 0; i < 20; i++) {
		struct problem p = {
			.m = dims[i % 5], .n = dims[rnd_below(5)], .k = dims[rnd_below(5)],
			.dtype = types[rnd_below(4)], .flags = rnd_below(8), .fill = FILL_EXPONENTS,
		};
		struct matrices x;

		make_matrices(&x, &p);
		for (unsigned int j = 0; j < 40; j++) {
			view_copy(&x.d, x.d.flat, true);
			assert_int_equal(onpu_gemm(pools[1 + j % (MAX_POOLS - 1)], &x.desc, NULL, NULL), 0);
			check_result(&x, &p, "auto");
		}
		free_matrices(&x);
	}
}

/* k beyond every kernel's block, so that sums wait in D; rows longer than a page. */
static void test_k_blocks(void **state)
{
	static const uint32_t ks[] = { 127, 129, 383, 385, 511, 512, 513, 769, 1025, 1537, 2049, 3100 };

	(void)state;
	for (unsigned int i = 0; i < sizeof(ks) / 4; i++)
		for (unsigned int t = 0; t < 4; t++) {
			struct problem p = {
				.m = 1 + rnd_below(40), .n = 1 + rnd_below(40), .k = ks[i],
				.dtype = types[t], .flags = rnd_below(8),
				.fill = rnd_below(2) ? FILL_EXPONENTS : FILL_UNIFORM,
				.pad = rnd_below(2) * 1500, .scattered = rnd_below(2),
			};

			try_problem(&p);
		}
}

/* More than one work item in both directions, on threads. */
static void test_many_tiles(void **state)
{
	static const struct { uint32_t m, n, k; } s[] = {
		{ 400, 300, 40 }, { 37, 1100, 33 }, { 1100, 37, 33 }, { 1, 3000, 100 },
		{ 3000, 1, 100 }, { 350, 290, 390 }, { 9, 2100, 700 },
	};

	(void)state;
	for (unsigned int i = 0; i < sizeof(s) / sizeof(s[0]); i++)
		for (unsigned int t = 0; t < 4; t++) {
			struct problem p = {
				.m = s[i].m, .n = s[i].n, .k = s[i].k, .dtype = types[t],
				.flags = rnd_below(8), .fill = FILL_EXPONENTS,
				.scattered = rnd_below(2), .pad = rnd_below(2) * 5,
			};

			try_problem(&p);
		}
}

/* Blocks beyond the packing buffers, compared at sampled elements. */
static void test_large(void **state)
{
	static const struct { uint32_t m, n, k; } s[] = {
		{ 30, 9000, 400 }, { 9000, 30, 400 }, { 700, 700, 800 },
	};

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		struct operand a, b, d;
		struct onpu_gemm_desc desc = { .m = s[i].m, .n = s[i].n, .k = s[i].k,
			.a_type = types[i == 1 ? 3 : 0], .b_type = types[i == 1 ? 3 : 0],
			.lda = s[i].k, .ldb = s[i].n, .ldd = s[i].n };
		struct oracle_matmul o = { .m = s[i].m, .n = s[i].n, .k = s[i].k,
			.dtype = desc.a_type, .lda = desc.lda, .ldb = desc.ldb, .ldd = desc.ldd };
		uint8_t *got;

		make_operand(&a, desc.m, desc.k, desc.lda, desc.a_type, FILL_UNIFORM, i == 0);
		make_operand(&b, desc.k, desc.n, desc.ldb, desc.a_type, FILL_UNIFORM, i == 1);
		make_operand(&d, desc.m, desc.n, desc.ldd, ONPU_DTYPE_F32, FILL_UNIFORM, i == 2);
		desc.a = a.view;
		desc.b = b.view;
		desc.d = d.view;
		o.a = a.flat;
		o.b = b.flat;
		got = xalloc(d.len);
		for (int isa = ONPU_GEMM_ISA_AVX2; isa < ONPU_GEMM_ISA_COUNT; isa++) {
			desc.isa = (uint32_t)isa;
			if (!onpu_gemm_isa_supported((enum onpu_gemm_isa)isa))
				continue;
			view_copy(&d, d.flat, true);
			assert_int_equal(onpu_gemm(pools[2], &desc, NULL, NULL), 0);
			view_copy(&d, got, false);
			for (unsigned int q = 0; q < 3000; q++) {
				uint32_t r = rnd_below(desc.m), c = rnd_below(desc.n), g;

				memcpy(&g, got + ((uint64_t)r * desc.ldd + c) * 4, 4);
				assert_int_equal(g, oracle_element(&o, r, c));
			}
		}
		free(got);
		free_operand(&a);
		free_operand(&b);
		free_operand(&d);
	}
}

static void test_in_place(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 12; i++) {
		struct problem p = {
			.m = 1 + rnd_below(70), .n = 1 + rnd_below(70), .k = 1 + rnd_below(900),
			.dtype = types[i % 4], .flags = ONPU_GEMM_ACCUMULATE | rnd_below(4),
			.fill = FILL_EXPONENTS, .pad = rnd_below(30), .scattered = i & 1,
			.in_place = true,
		};

		try_problem(&p);
	}
}

/* Sums leave the range of INT32 and come back round. */
static void test_int_wrap(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		struct problem p = { .m = 3, .n = 5, .k = 140000, .dtype = ONPU_DTYPE_I8,
				     .flags = ONPU_GEMM_ACCUMULATE, .scattered = true };
		struct matrices x;
		struct oracle_matmul o;
		static const uint8_t va[3] = { 0x80, 0x80, 0x7f }, vb[3] = { 0x80, 0x7f, 0x7f };

		make_matrices(&x, &p);
		memset(x.a.flat, va[i], x.a.len);
		memset(x.b.flat, vb[i], x.b.len);
		view_copy(&x.a, x.a.flat, true);
		view_copy(&x.b, x.b.flat, true);
		o = (struct oracle_matmul) { .m = p.m, .n = p.n, .k = p.k, .dtype = p.dtype,
			.accumulate = true, .lda = x.desc.lda, .ldb = x.desc.ldb,
			.ldc = x.desc.ldc, .ldd = x.desc.ldd, .a = x.a.flat, .b = x.b.flat,
			.c = x.c.flat, .d = x.d.expect };
		oracle_matmul(&o);
		for (int isa = 1; isa < ONPU_GEMM_ISA_COUNT; isa++) {
			x.desc.isa = (uint32_t)isa;
			if (!onpu_gemm_isa_supported((enum onpu_gemm_isa)isa))
				continue;
			assert_int_equal(onpu_gemm(pools[1], &x.desc, NULL, NULL), 0);
			check_result(&x, &p, onpu_gemm_isa_name((enum onpu_gemm_isa)isa));
		}
		free_matrices(&x);
	}
}

/* NaNs of any payload and sign, from any operand, come out as the one canonical NaN. */
static void test_nan(void **state)
{
	static const uint32_t nans[] = { 0x7fc00000, 0xffc00000, 0x7f800001, 0xff812345, 0x7fffffff };

	(void)state;
	for (unsigned int i = 0; i < 5 * 3; i++) {
		struct problem p = { .m = 20, .n = 40, .k = 400, .dtype = ONPU_DTYPE_F32,
				     .flags = ONPU_GEMM_ACCUMULATE };
		struct matrices x;
		struct operand *op;

		make_matrices(&x, &p);
		op = i % 3 == 0 ? &x.a : i % 3 == 1 ? &x.b : &x.c;
		/* First row of A: row 0 of D; of B and C: all columns, or row 0. */
		memcpy(op->pages, &nans[i / 3], 4);
		for (int isa = 1; isa < ONPU_GEMM_ISA_COUNT; isa++) {
			uint32_t got;

			x.desc.isa = (uint32_t)isa;
			if (!onpu_gemm_isa_supported((enum onpu_gemm_isa)isa))
				continue;
			assert_int_equal(onpu_gemm(NULL, &x.desc, NULL, NULL), 0);
			memcpy(&got, x.d.pages, 4);
			assert_int_equal(got, 0x7fc00000);
			memcpy(&got, x.d.pages + (x.desc.ldd + 1) * 4, 4);
			assert_true((got & 0x7f800000u) != 0x7f800000u);
		}
		free_matrices(&x);
	}
}

/* The caller's floating-point mode neither matters nor changes. */
static void test_fp_mode(void **state)
{
#if defined(__x86_64__)
	const unsigned int mode = 0xffc0;	/* FTZ, DAZ, round to zero, masked */
	struct problem p = { .m = 33, .n = 33, .k = 100, .dtype = ONPU_DTYPE_F32,
			     .fill = FILL_SUBNORMAL };
	unsigned int old = _mm_getcsr();
	struct matrices x;

	make_matrices(&x, &p);
	for (int isa = 1; isa < ONPU_GEMM_ISA_COUNT; isa++) {
		x.desc.isa = (uint32_t)isa;
		if (!onpu_gemm_isa_supported((enum onpu_gemm_isa)isa))
			continue;
		_mm_setcsr(mode);
		assert_int_equal(onpu_gemm(pools[1], &x.desc, NULL, NULL), 0);
		assert_int_equal(_mm_getcsr() & 0xffc0u, mode);
		_mm_setcsr(old);
		check_result(&x, &p, onpu_gemm_isa_name((enum onpu_gemm_isa)isa));
	}
	free_matrices(&x);
#endif
	(void)state;
}

static void test_invalid(void **state)
{
	struct problem p = { .m = 8, .n = 9, .k = 10, .dtype = ONPU_DTYPE_F32 };
	struct onpu_seg gap[2], empty[2];
	struct onpu_gemm_desc d;
	struct matrices x;

	(void)state;
	make_matrices(&x, &p);
#define BAD(change) do { \
		d = x.desc; \
		change; \
		assert_int_equal(onpu_gemm(pools[1], &d, NULL, NULL), -EINVAL); \
	} while (0)
	BAD(d.m = 0);
	BAD(d.n = 0);
	BAD(d.k = 0);
	BAD(d.a_type = 0);
	BAD(d.b_type = 0);
	BAD(d.a_type = ONPU_DTYPE_I32);
	BAD(d.a_type = ONPU_DTYPE_I8);
	BAD(d.b_type = 99);
	BAD(d.k0 = 1);
	BAD(d.m0 = UINT32_MAX);
	BAD(d.n0 = 1);
	BAD(d.flags = 8);
	BAD(d.isa = ONPU_GEMM_ISA_COUNT);
	BAD(d.lda = 9);
	BAD(d.ldb = 8);
	BAD(d.ldd = 8);
	BAD((d.flags = ONPU_GEMM_ACCUMULATE, d.ldc = 8));
	BAD((d.flags = ONPU_GEMM_ACCUMULATE, d.c.n = 0));
	BAD(d.m = 9);		/* views too short */
	BAD(d.k = 11);
	BAD(d.n = 10);
	BAD(d.ldd = 10);
	BAD(d.ldd = UINT64_MAX);
	BAD(d.lda = UINT64_MAX / 4);
	BAD(d.a.n = 0);
	BAD(d.a.segs = NULL);
	BAD(d.a.len--);
	BAD(d.a.len++);
	gap[0] = (struct onpu_seg) { x.a.pages, 0, 16 };
	gap[1] = (struct onpu_seg) { x.a.pages, 20, x.a.len - 20 };
	BAD((d.a.segs = gap, d.a.n = 2));
	empty[0] = (struct onpu_seg) { x.a.pages, 0, 0 };
	empty[1] = (struct onpu_seg) { x.a.pages, 0, x.a.len };
	BAD((d.a.segs = empty, d.a.n = 2));
#undef BAD
	/* and the original is fine; C is not looked at without ACCUMULATE */
	x.desc.c = (struct onpu_view) { 0 };
	x.desc.ldc = 0;
	assert_int_equal(onpu_gemm(pools[1], &x.desc, NULL, NULL), 0);
	check_result(&x, &p, "auto");
	free_matrices(&x);
}

static void test_span(void **state)
{
	uint64_t bytes;

	(void)state;
	assert_true(onpu_gemm_span(3, 5, 7, 32, &bytes));
	assert_int_equal(bytes, (2 * 7 + 5) * 4);
	assert_true(onpu_gemm_span(UINT32_MAX, 1, 1, 32, &bytes));
	assert_true(onpu_gemm_span(3, 5, 8, 6, &bytes));
	assert_int_equal(bytes, 2 * 6 + 4);
	assert_true(onpu_gemm_span(3, 1, 6, 4, &bytes));
	assert_int_equal(bytes, 2 * 3 + 1);
	assert_false(onpu_gemm_span(3, 5, 7, 4, &bytes));
	assert_false(onpu_gemm_span(3, 5, 6, 6, &bytes));
	assert_false(onpu_gemm_span(0, 5, 7, 32, &bytes));
	assert_false(onpu_gemm_span(3, 0, 7, 32, &bytes));
	assert_false(onpu_gemm_span(3, 8, 7, 32, &bytes));
	assert_false(onpu_gemm_span(UINT32_MAX, 1, UINT64_MAX / 2, 8, &bytes));
	assert_false(onpu_gemm_span(2, 1, UINT64_MAX, 8, &bytes));
	assert_false(onpu_gemm_span(1u << 31, 1, 1ull << 32, 32, &bytes));
}

/* CPU time of all our threads: other load on the machine does not count. */
static uint64_t cpu_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

struct canceller {
	atomic_bool cancel;
	uint64_t at;
};

static void *cancel_later(void *arg)
{
	struct canceller *c = arg;
	struct timespec ts = { 0, 30000000 };

	nanosleep(&ts, NULL);
	c->at = cpu_ms();
	atomic_store(&c->cancel, true);
	return NULL;
}

#define ENDLESS_DIM	32768u
#define ENDLESS_SEG	((uint64_t)4 << 20)
#define ENDLESS_SEGS	((uint64_t)ENDLESS_DIM * ENDLESS_DIM * 4 / ENDLESS_SEG)

/*
 * A matmul of minutes in 4 MiB: every page of all operands is the same memory (which also
 * shows that overlapping operands do no harm).
 */
static void test_cancel(void **state)
{
	static struct onpu_seg segs[ENDLESS_SEGS];
	uint8_t *memory = calloc(1, ENDLESS_SEG);
	struct onpu_view view = { segs, ENDLESS_SEGS, ENDLESS_SEGS * ENDLESS_SEG };

	(void)state;
	assert_non_null(memory);
	for (uint64_t i = 0; i < ENDLESS_SEGS; i++)
		segs[i] = (struct onpu_seg) { memory, i * ENDLESS_SEG, ENDLESS_SEG };
	for (int isa = 1; isa < ONPU_GEMM_ISA_COUNT; isa++) {
		struct onpu_gemm_desc desc = {
			.m = ENDLESS_DIM, .n = ENDLESS_DIM, .k = ENDLESS_DIM,
			.a_type = ONPU_DTYPE_F32, .b_type = ONPU_DTYPE_F32, .isa = (uint32_t)isa,
			.lda = ENDLESS_DIM, .ldb = ENDLESS_DIM, .ldd = ENDLESS_DIM,
			.a = view, .b = view, .d = view,
		};
		struct canceller c = { .at = 0 };
		pthread_t thread;

		if (!onpu_gemm_isa_supported((enum onpu_gemm_isa)isa))
			continue;
		/* One thread: D is written at the same places for different tiles. */
		atomic_init(&c.cancel, false);
		assert_int_equal(pthread_create(&thread, NULL, cancel_later, &c), 0);
		assert_int_equal(onpu_gemm(pools[0], &desc, &c.cancel, NULL), -ECANCELED);
		/* A few ms; the rest is for sanitizers. */
		assert_true(cpu_ms() - c.at < 200);
		pthread_join(thread, NULL);
		assert_int_equal(onpu_gemm(pools[2], &desc, &c.cancel, NULL), -ECANCELED);
	}
	free(memory);
}

/* Several matmuls at once on one pool, as several queues run them. */
#define CONCURRENT 6

struct concurrent {
	struct onpu_task task;
	struct problem p;
	struct matrices x;
	struct onpu_pool *pool;
	atomic_uint *left;
	int result;
};

static void run_concurrent(struct onpu_task *task)
{
	struct concurrent *c = (struct concurrent *)task;

	for (int i = 0; i < 3; i++)
		c->result |= onpu_gemm(c->pool, &c->x.desc, NULL, NULL);
	atomic_fetch_sub(c->left, 1);
}

static void test_concurrent(void **state)
{
	static struct concurrent c[CONCURRENT];

	(void)state;
	for (unsigned int threads = 1; threads < MAX_POOLS; threads++) {
		atomic_uint left;

		atomic_init(&left, CONCURRENT);
		for (unsigned int i = 0; i < CONCURRENT; i++) {
			c[i].p = (struct problem) {
				.m = 60 + rnd_below(200), .n = 60 + rnd_below(200),
				.k = 60 + rnd_below(300), .dtype = types[i % 4],
				.flags = rnd_below(4), .fill = FILL_EXPONENTS, .scattered = i & 1,
			};
			make_matrices(&c[i].x, &c[i].p);
			c[i].pool = pools[threads];
			c[i].left = &left;
			c[i].result = 0;
			onpu_task_init(&c[i].task, run_concurrent);
		}
		for (unsigned int i = 0; i < CONCURRENT; i++)
			assert_true(onpu_pool_submit(pools[threads], &c[i].task));
		while (atomic_load(&left))
			sched_yield();
		for (unsigned int i = 0; i < CONCURRENT; i++) {
			assert_int_equal(c[i].result, 0);
			check_result(&c[i].x, &c[i].p, "auto");
			free_matrices(&c[i].x);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_oracle_known),
		cmocka_unit_test(test_oracle_fma),
		cmocka_unit_test(test_span),
		cmocka_unit_test(test_invalid),
		cmocka_unit_test(test_conversions),
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_medium),
		cmocka_unit_test(test_shared),
		cmocka_unit_test(test_k_blocks),
		cmocka_unit_test(test_many_tiles),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_in_place),
		cmocka_unit_test(test_int_wrap),
		cmocka_unit_test(test_nan),
		cmocka_unit_test(test_fp_mode),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_concurrent),
	};
	const char *seed = getenv("TEST_SEED");

	if (seed)
		rng_state = strtoull(seed, NULL, 0);
	for (int isa = 1; isa < ONPU_GEMM_ISA_COUNT; isa++)
		printf("# %s: %s\n", onpu_gemm_isa_name((enum onpu_gemm_isa)isa),
		       onpu_gemm_isa_supported((enum onpu_gemm_isa)isa) ? "tested" : "not on this machine");
	return cmocka_run_group_tests(tests, setup_pools, teardown_pools);
}

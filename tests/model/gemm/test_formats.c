// SPDX-License-Identifier: MIT
/*
 * Element types, block scales and mixed operands of the matmul engine against the scalar oracle,
 * bit by bit, on every instruction set that this machine has; the oracle against the tables of
 * the OCP specifications (OFP8 1.0, Microscaling Formats 1.0).
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

static const uint8_t float_types[] = {
	ONPU_DTYPE_F32, ONPU_DTYPE_BF16, ONPU_DTYPE_F16, ONPU_DTYPE_E4M3, ONPU_DTYPE_E5M2,
	ONPU_DTYPE_MX_E4M3, ONPU_DTYPE_MX_E5M2, ONPU_DTYPE_MX_E2M3, ONPU_DTYPE_MX_E3M2,
	ONPU_DTYPE_MX_E2M1,
};
#define RANDOM_CASES 10000	/* small ones, each on every instruction set: what a run has at least */
#define FLOATS (sizeof(float_types))

enum fill {
	FILL_ORDINARY,		/* finite, scales around one */
	FILL_ANY,		/* any bits at all: specials, scales that overflow */
	FILL_KINDS
};

static unsigned int bits_of(uint32_t type)
{
	return onpu_gemm_elem_bits(type);
}

/* Element bits that make no NaN or infinity, and whose sums stay finite. */
static uint32_t ordinary(uint32_t type)
{
	uint32_t u = rnd() << 16 ^ rnd();

	switch (type) {
	case ONPU_DTYPE_F32:
		return (u & 0x80ffffffu) | 0x3e000000u;
	case ONPU_DTYPE_BF16:
		return (u & 0x80ffu) | 0x3e00u;
	case ONPU_DTYPE_F16:
		return (u & 0x8fffu) | 0x3000u;
	case ONPU_DTYPE_E4M3:
	case ONPU_DTYPE_MX_E4M3:
		return (u & 0x7fu) == 0x7fu ? 0x7e : u & 0xff;
	case ONPU_DTYPE_E5M2:
	case ONPU_DTYPE_MX_E5M2:
		return (u & 0x7cu) == 0x7cu ? u & 0xbf : u & 0xff;
	default:
		return u;
	}
}

static void put_bits(uint8_t *row, unsigned int bits, uint64_t index, uint32_t value)
{
	for (unsigned int i = 0; i < bits; i++) {
		uint64_t at = index * bits + i;
		uint8_t mask = (uint8_t)(1u << at % 8);

		row[at / 8] = (uint8_t)(value >> i & 1 ? row[at / 8] | mask : row[at / 8] & ~mask);
	}
}

static void make_matrix(struct operand *op, uint64_t rows, uint64_t cols, uint64_t ld, uint32_t type,
			enum fill fill, bool scattered)
{
	unsigned int bits = bits_of(type);

	assert_true(onpu_gemm_span(rows, cols, ld, bits, &op->len));
	alloc_operand(op);
	for (uint64_t i = 0; i < op->len; i++)
		op->flat[i] = (uint8_t)rnd();	/* padding too, and whatever FILL_ANY means */
	for (uint64_t r = 0; fill == FILL_ORDINARY && r < rows; r++)
		for (uint64_t c = 0; c < cols; c++)
			put_bits(op->flat + r * (ld * bits / 8), bits, c, ordinary(type));
	place_operand(op, bits >= 8 ? bits / 8 : 1, scattered);
}

/* One input with its scales. */
struct input {
	struct operand data, scales, zeros;
	struct onpu_gemm_scales sc;
	struct oracle_operand o;
};

static void make_scales(struct input *in, uint64_t lanes, uint64_t k, uint32_t group,
			uint32_t type, bool zeros, enum fill fill, bool scattered)
{
	uint64_t groups = (k + group - 1) / group;
	uint64_t rows = in->o.k_rows ? groups : lanes, cols = in->o.k_rows ? lanes : groups;
	uint64_t ld = cols + rnd_below(3) * rnd_below(40);

	make_matrix(&in->scales, rows, cols, ld, type ? type : ONPU_DTYPE_I8, fill, scattered);
	if (!type && fill == FILL_ORDINARY) {
		for (uint64_t i = 0; i < in->scales.len; i++)
			in->scales.flat[i] = (uint8_t)(120 + in->scales.flat[i] % 14);
		view_copy(&in->scales, in->scales.flat, true);
	}
	in->sc = (struct onpu_gemm_scales){ .group = group, .type = type, .ld = ld,
					    .view = in->scales.view };
	in->o.group = group;
	in->o.scale_type = type;
	in->o.scale_ld = ld;
	in->o.scales = in->scales.flat;
	if (!zeros)
		return;
	make_matrix(&in->zeros, rows, cols, ld, ONPU_DTYPE_I8, FILL_ANY, scattered);
	in->sc.zero = in->zeros.view;
	in->o.zeros = in->zeros.flat;
}

static void make_input(struct input *in, uint32_t type, bool k_rows, uint64_t lanes, uint64_t k,
		       enum fill fill, bool scattered)
{
	uint64_t rows = k_rows ? k : lanes, cols = k_rows ? lanes : k;
	uint64_t ld = cols + rnd_below(2) * rnd_below(70);

	memset(in, 0, sizeof(*in));
	if (bits_of(type) < 8)
		ld = (ld + 3) & ~3ull;
	make_matrix(&in->data, rows, cols, ld, type, fill, scattered);
	in->o = (struct oracle_operand){ .type = type, .k_rows = k_rows, .ld = ld,
					 .data = in->data.flat };
	if (onpu_gemm_is_mx(type))
		make_scales(in, lanes, k, ONPU_MX_GROUP, 0, false, fill, scattered);
}

static void free_input(struct input *in)
{
	free_operand(&in->data);
	if (in->sc.group)
		free_operand(&in->scales);
	if (in->sc.zero.n)
		free_operand(&in->zeros);
}

struct problem {
	uint32_t m, n, k, a_type, b_type, flags;
	uint32_t group, scale_type;	/* of an integer B */
	bool zeros, scattered;
	enum fill fill;
};

static void compare(const struct problem *p, const struct operand *d, const char *kernel)
{
	uint8_t *got = xalloc(d->len);

	view_copy(d, got, false);
	for (uint64_t i = 0; i < d->len; i += 4) {
		uint32_t g, e;

		memcpy(&g, got + i, 4);
		memcpy(&e, d->expect + i, 4);
		if (g != e)
			fail_msg("%s m=%u n=%u k=%u types %u x %u flags=%u group=%u fill=%d: word %llu is %08x, expected %08x",
				 kernel, p->m, p->n, p->k, p->a_type, p->b_type, p->flags, p->group,
				 (int)p->fill, (unsigned long long)i / 4, g, e);
	}
	free(got);
}

static void try_problem(const struct problem *p)
{
	bool acc = p->flags & ONPU_GEMM_ACCUMULATE;
	uint64_t ldc = p->n + rnd_below(9), ldd = p->n + rnd_below(9);
	struct onpu_gemm_desc desc;
	struct operand c, d;
	struct input a, b;

	make_input(&a, p->a_type, p->flags & ONPU_GEMM_TRANS_A, p->m, p->k, p->fill, p->scattered);
	make_input(&b, p->b_type, !(p->flags & ONPU_GEMM_TRANS_B), p->n, p->k, p->fill, p->scattered);
	if (p->group)
		make_scales(&b, p->n, p->k, p->group, p->scale_type, p->zeros, p->fill, p->scattered);
	make_matrix(&c, p->m, p->n, ldc, ONPU_DTYPE_F32, p->fill, p->scattered);
	make_matrix(&d, p->m, p->n, ldd, ONPU_DTYPE_F32, FILL_ANY, p->scattered);
	d.expect = xalloc(d.len);
	memcpy(d.expect, d.flat, d.len);
	for (uint64_t i = 0; i < p->m; i++)
		for (uint64_t j = 0; j < p->n; j++) {
			uint32_t sum = 0;

			if (acc)
				memcpy(&sum, c.flat + (i * ldc + j) * 4, 4);
			sum = oracle_sum(&a.o, i, &b.o, j, p->k, sum);
			memcpy(d.expect + (i * ldd + j) * 4, &sum, 4);
		}
	desc = (struct onpu_gemm_desc){
		.m = p->m, .n = p->n, .k = p->k, .a_type = p->a_type, .b_type = p->b_type,
		.flags = p->flags, .lda = a.o.ld, .ldb = b.o.ld, .ldc = ldc, .ldd = ldd,
		.a = a.data.view, .b = b.data.view, .c = c.view, .d = d.view,
		.a_scales = a.sc, .b_scales = b.sc,
	};
	for (int isa = 1; isa < ONPU_GEMM_ISA_COUNT; isa++) {
		if (!onpu_gemm_isa_supported((enum onpu_gemm_isa)isa))
			continue;
		desc.isa = (uint32_t)isa;
		view_copy(&d, d.flat, true);
		assert_int_equal(onpu_gemm(pools[rnd_below(MAX_POOLS)], &desc, NULL, NULL), 0);
		compare(p, &d, onpu_gemm_isa_name((enum onpu_gemm_isa)isa));
	}
	free_input(&a);
	free_input(&b);
	free_operand(&c);
	free_operand(&d);
}

/* The tables of the standards. */

static void same(uint32_t type, uint32_t bits, double value)
{
	double got = oracle_decode(type, bits);

	if (got != value || signbit(got) != signbit(value))
		fail_msg("type %u, %02x is %g, the standard says %g", type, bits, got, value);
}

static void test_tables(void **state)
{
	static const double fp4[] = { 0, 0.5, 1, 1.5, 2, 3, 4, 6 };

	(void)state;
	for (unsigned int mx = 0; mx < 2; mx++) {
		uint32_t e4m3 = mx ? ONPU_DTYPE_MX_E4M3 : ONPU_DTYPE_E4M3;
		uint32_t e5m2 = mx ? ONPU_DTYPE_MX_E5M2 : ONPU_DTYPE_E5M2;

		/* OFP8, table 2: zeros, largest, smallest normal, subnormals, NaN, infinity. */
		same(e4m3, 0x00, 0.0);
		same(e4m3, 0x80, -0.0);
		same(e4m3, 0x7e, 448);
		same(e4m3, 0xfe, -448);
		same(e4m3, 0x08, 0x1p-6);
		same(e4m3, 0x07, 0.875 * 0x1p-6);
		same(e4m3, 0x01, 0x1p-9);
		assert_true(isnan(oracle_decode(e4m3, 0x7f)) && isnan(oracle_decode(e4m3, 0xff)));
		same(e5m2, 0x80, -0.0);
		same(e5m2, 0x7b, 57344);
		same(e5m2, 0x04, 0x1p-14);
		same(e5m2, 0x03, 0.75 * 0x1p-14);
		same(e5m2, 0x01, 0x1p-16);
		same(e5m2, 0x7c, (double)INFINITY);
		same(e5m2, 0xfc, -(double)INFINITY);
		for (uint32_t x = 0x7d; x <= 0x7f; x++)
			assert_true(isnan(oracle_decode(e5m2, x)) &&
				    isnan(oracle_decode(e5m2, x | 0x80)));
	}
	/* Microscaling: FP6, FP4, E8M0. */
	same(ONPU_DTYPE_MX_E2M3, 0x1f, 7.5);
	same(ONPU_DTYPE_MX_E2M3, 0x08, 1);
	same(ONPU_DTYPE_MX_E2M3, 0x07, 0.875);
	same(ONPU_DTYPE_MX_E2M3, 0x21, -0.125);
	same(ONPU_DTYPE_MX_E3M2, 0x1f, 28);
	same(ONPU_DTYPE_MX_E3M2, 0x04, 0.25);
	same(ONPU_DTYPE_MX_E3M2, 0x03, 0.1875);
	same(ONPU_DTYPE_MX_E3M2, 0x21, -0.0625);
	for (uint32_t x = 0; x < 8; x++) {
		same(ONPU_DTYPE_MX_E2M1, x, fp4[x]);
		same(ONPU_DTYPE_MX_E2M1, x | 8, -fp4[x]);
	}
	assert_true(oracle_ue8m0(0) == 0x1p-127 && oracle_ue8m0(127) == 1 &&
		    oracle_ue8m0(254) == 0x1p127 && isnan(oracle_ue8m0(255)));
	same(ONPU_DTYPE_I4, 7, 7);
	same(ONPU_DTYPE_I4, 8, -8);
	same(ONPU_DTYPE_I4, 15, -1);
}

/* Every bit pattern of every type, and of the scales, through a multiplication by one. */
static void test_every_value(void **state)
{
	(void)state;
	for (unsigned int t = 3; t < FLOATS; t++) {
		uint32_t type = float_types[t], bits = bits_of(type), count = 1u << bits;
		struct problem p = { .m = 256, .n = 1, .k = 1, .a_type = type,
				     .b_type = ONPU_DTYPE_F32 };
		uint32_t steps = onpu_gemm_is_mx(type) ? 256 : 1;
		struct input a;
		struct operand b, d;
		float one = 1.0f;

		make_input(&a, type, false, p.m, 1, FILL_ANY, false);
		make_matrix(&b, 1, 1, 1, ONPU_DTYPE_F32, FILL_ANY, false);
		memcpy(b.pages, &one, 4);
		make_matrix(&d, p.m, 1, 1, ONPU_DTYPE_F32, FILL_ANY, false);
		d.expect = xalloc(d.len);
		for (uint32_t scale = 0; scale < steps; scale += scale < 20 || scale > 230 ? 1 : 15) {
			struct onpu_gemm_desc desc = {
				.m = p.m, .n = 1, .k = 1, .a_type = type, .b_type = ONPU_DTYPE_F32,
				.lda = a.o.ld, .ldb = 1, .ldd = 1, .a = a.data.view, .b = b.view,
				.d = d.view, .a_scales = a.sc,
			};

			for (uint32_t i = 0; i < p.m; i++) {
				uint32_t e;

				put_bits(a.data.flat + i * (a.o.ld * bits / 8), bits, 0, i % count);
				if (a.sc.group)
					a.scales.flat[i * a.sc.ld] = (uint8_t)scale;
				e = oracle_input(&a.o, i, 0);
				e = e == 0x80000000u ? 0 : e;	/* -0 * 1 + +0 */
				memcpy(d.expect + i * 4, &e, 4);
			}
			view_copy(&a.data, a.data.flat, true);
			if (a.sc.group)
				view_copy(&a.scales, a.scales.flat, true);
			for (int isa = 1; isa < ONPU_GEMM_ISA_COUNT; isa++) {
				if (!onpu_gemm_isa_supported((enum onpu_gemm_isa)isa))
					continue;
				desc.isa = (uint32_t)isa;
				assert_int_equal(onpu_gemm(NULL, &desc, NULL, NULL), 0);
				compare(&p, &d, onpu_gemm_isa_name((enum onpu_gemm_isa)isa));
			}
		}
		free_input(&a);
		free_operand(&b);
		free_operand(&d);
	}
}

/* Every pair of floating-point types, both storage orders. */
static void test_pairs(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < FLOATS * FLOATS; i++)
		for (uint32_t flags = 0; flags < 4; flags++) {
			struct problem p = {
				.m = 1 + rnd_below(20), .n = 1 + rnd_below(40), .k = 1 + rnd_below(100),
				.a_type = float_types[i % FLOATS], .b_type = float_types[i / FLOATS],
				.flags = flags | (rnd_below(2) ? ONPU_GEMM_ACCUMULATE : 0),
				.fill = rnd_below(4) ? FILL_ORDINARY : FILL_ANY,
				.scattered = rnd_below(2),
			};

			try_problem(&p);
		}
}

static void test_integers(void **state)
{
	static const uint8_t types[] = { ONPU_DTYPE_I8, ONPU_DTYPE_I4 };

	(void)state;
	for (unsigned int i = 0; i < 96; i++) {
		struct problem p = {
			.m = 1 + rnd_below(30), .n = 1 + rnd_below(70), .k = 1 + rnd_below(300),
			.a_type = types[i % 2], .b_type = types[i / 2 % 2], .flags = i / 4 % 8,
			.fill = FILL_ANY, .scattered = rnd_below(2),
		};

		if (i >= 92) {	/* the widest items, and several */
			p.m = 3;
			p.n = 9000;
			p.flags = ONPU_GEMM_ACCUMULATE;
		}
		try_problem(&p);
	}
}

/* Weights with a scale for each group of k, with and without zero points. */
static void test_groups(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 96; i++) {
		struct problem p = {
			.m = 1 + rnd_below(20), .n = 1 + rnd_below(50), .k = 1 + rnd_below(400),
			.a_type = i & 1 ? ONPU_DTYPE_BF16 : ONPU_DTYPE_F16,
			.b_type = i & 2 ? ONPU_DTYPE_I4 : ONPU_DTYPE_I8,
			.group = 32u << i % 3, .scale_type = i & 4 ? ONPU_DTYPE_BF16 : ONPU_DTYPE_F16,
			.zeros = i & 8, .flags = rnd_below(8),
			.fill = rnd_below(4) ? FILL_ORDINARY : FILL_ANY, .scattered = rnd_below(2),
		};

		try_problem(&p);
	}
}

/*
 * A few rows by columns that are many for them: every type that has kernels of its own for that, all numbers of
 * rows, columns that fill no step, k that fills no word.
 */
static void test_few_rows(void **state)
{
	static const struct { uint8_t a, b; } pairs[] = {
		{ ONPU_DTYPE_F32, ONPU_DTYPE_F32 }, { ONPU_DTYPE_BF16, ONPU_DTYPE_BF16 },
		{ ONPU_DTYPE_F16, ONPU_DTYPE_F16 }, { ONPU_DTYPE_BF16, ONPU_DTYPE_E4M3 },
		{ ONPU_DTYPE_F16, ONPU_DTYPE_E5M2 }, { ONPU_DTYPE_BF16, ONPU_DTYPE_MX_E4M3 },
		{ ONPU_DTYPE_F32, ONPU_DTYPE_MX_E5M2 }, { ONPU_DTYPE_BF16, ONPU_DTYPE_MX_E2M1 },
		{ ONPU_DTYPE_MX_E4M3, ONPU_DTYPE_MX_E2M1 }, { ONPU_DTYPE_BF16, ONPU_DTYPE_MX_E2M3 },
		{ ONPU_DTYPE_I8, ONPU_DTYPE_I8 }, { ONPU_DTYPE_I8, ONPU_DTYPE_I4 },
		{ ONPU_DTYPE_I4, ONPU_DTYPE_I8 }, { ONPU_DTYPE_I4, ONPU_DTYPE_I4 },
		/* with groups */
		{ ONPU_DTYPE_BF16, ONPU_DTYPE_I8 }, { ONPU_DTYPE_BF16, ONPU_DTYPE_I4 },
		{ ONPU_DTYPE_F16, ONPU_DTYPE_I8 }, { ONPU_DTYPE_F16, ONPU_DTYPE_I4 },
	};
	const unsigned int count = sizeof(pairs) / sizeof(pairs[0]);

	(void)state;
	for (unsigned int i = 0; i < count * 17; i++) {
		struct problem p = {
			.m = 1 + i / count % 17, .n = 1 + rnd_below(rnd_below(2) ? 150 : 500),
			.k = 1 + rnd_below(rnd_below(3) ? 150 : 600),
			.a_type = pairs[i % count].a, .b_type = pairs[i % count].b,
			.flags = rnd_below(8), .scattered = rnd_below(3) == 0,
			.fill = rnd_below(4) ? FILL_ORDINARY : FILL_ANY,
		};

		if (i % count >= count - 4) {
			p.group = 32u << rnd_below(3);
			p.scale_type = rnd_below(2) ? ONPU_DTYPE_BF16 : ONPU_DTYPE_F16;
			p.zeros = rnd_below(2);
		}
		try_problem(&p);
	}
}

/* Small ones of everything. */
static void test_random(void **state)
{
	static const uint8_t integers[] = { ONPU_DTYPE_I8, ONPU_DTYPE_I4 };

	(void)state;
	for (unsigned int i = 0; i < RANDOM_CASES; i++) {
		struct problem p = {
			.m = 1 + rnd_below(8), .n = 1 + rnd_below(i % 16 ? 24 : 140),
			.k = 1 + rnd_below(i % 8 ? 24 : 80), .flags = rnd_below(8),
			.scattered = rnd_below(4) == 0, .fill = rnd_below(3) ? FILL_ORDINARY : FILL_ANY,
		};

		switch (rnd_below(4)) {
		case 0:
			p.a_type = integers[rnd_below(2)];
			p.b_type = integers[rnd_below(2)];
			p.fill = FILL_ANY;
			break;
		case 1:
			p.a_type = rnd_below(2) ? ONPU_DTYPE_BF16 : ONPU_DTYPE_F16;
			p.b_type = integers[rnd_below(2)];
			p.group = 32u << rnd_below(3);
			p.scale_type = rnd_below(2) ? ONPU_DTYPE_BF16 : ONPU_DTYPE_F16;
			p.zeros = rnd_below(2);
			break;
		default:
			p.a_type = float_types[rnd_below(FLOATS)];
			p.b_type = float_types[rnd_below(FLOATS)];
			break;
		}
		try_problem(&p);
	}
}

/* Blocks of k that begin within a group; more than one item; lanes that begin within a byte. */
static void test_blocks(void **state)
{
	static const uint8_t types[] = {
		ONPU_DTYPE_MX_E2M1, ONPU_DTYPE_MX_E2M3, ONPU_DTYPE_E4M3, ONPU_DTYPE_MX_E5M2,
	};
	static const struct { uint32_t m, n, k; } s[] = {
		{ 19, 37, 530 }, { 13, 9, 1100 }, { 301, 70, 33 }, { 37, 600, 65 },
		{ 3, 1300, 300 },
	};

	(void)state;
	for (unsigned int i = 0; i < 40; i++) {
		struct problem p = {
			.m = s[i % 5].m, .n = s[i % 5].n, .k = s[i % 5].k,
			.a_type = types[i / 5 % 4], .b_type = types[rnd_below(4)],
			.flags = rnd_below(8), .scattered = rnd_below(2),
		};

		try_problem(&p);
		p.a_type = ONPU_DTYPE_BF16;
		p.b_type = ONPU_DTYPE_I4;
		p.group = 128;
		p.scale_type = ONPU_DTYPE_F16;
		p.zeros = true;
		if (i % 4 == 0)
			try_problem(&p);
	}
}

/* A block of a larger product is that part of it. */
static void test_origin(void **state)
{
	struct problem p = { .m = 45, .n = 50, .k = 300, .a_type = ONPU_DTYPE_MX_E2M1,
			     .b_type = ONPU_DTYPE_MX_E2M3 };
	struct input a, b;
	struct operand d;

	(void)state;
	for (uint32_t flags = 0; flags < 4; flags++) {
		struct onpu_gemm_desc desc;

		make_input(&a, p.a_type, flags & 1, p.m, p.k, FILL_ORDINARY, true);
		make_input(&b, p.b_type, !(flags & 2), p.n, p.k, FILL_ORDINARY, true);
		make_matrix(&d, p.m, p.n, p.n, ONPU_DTYPE_F32, FILL_ANY, true);
		d.expect = xalloc(d.len);
		memcpy(d.expect, d.flat, d.len);
		desc = (struct onpu_gemm_desc){
			.m = 21, .n = 31, .k = 128, .m0 = 7, .n0 = 13, .a_type = p.a_type,
			.b_type = p.b_type, .flags = flags, .lda = a.o.ld, .ldb = b.o.ld,
			.ldd = p.n, .a = a.data.view, .b = b.data.view, .d = d.view,
			.a_scales = a.sc, .b_scales = b.sc,
		};
		for (uint32_t i = 7; i < 28; i++)
			for (uint32_t j = 13; j < 44; j++) {
				uint32_t sum = oracle_sum(&a.o, i, &b.o, j, p.k, 0);

				memcpy(d.expect + (i * p.n + j) * 4, &sum, 4);
			}
		assert_int_equal(onpu_gemm(pools[2], &desc, NULL, NULL), 0);
		desc.k0 = 128;
		desc.k = 172;
		desc.flags |= ONPU_GEMM_ACCUMULATE;
		desc.c = d.view;
		desc.ldc = desc.ldd;
		assert_int_equal(onpu_gemm(pools[1], &desc, NULL, NULL), 0);
		compare(&p, &d, "block");
		free_input(&a);
		free_input(&b);
		free_operand(&d);
	}
}

static void test_invalid(void **state)
{
	struct onpu_gemm_desc desc, d;
	struct input a, b;
	struct operand out;

	(void)state;
	make_input(&a, ONPU_DTYPE_MX_E2M1, false, 8, 70, FILL_ORDINARY, false);
	make_input(&b, ONPU_DTYPE_MX_E4M3, false, 8, 70, FILL_ORDINARY, false);
	make_matrix(&out, 8, 8, 8, ONPU_DTYPE_F32, FILL_ANY, false);
	desc = (struct onpu_gemm_desc){
		.m = 8, .n = 8, .k = 70, .a_type = ONPU_DTYPE_MX_E2M1, .b_type = ONPU_DTYPE_MX_E4M3,
		.flags = ONPU_GEMM_TRANS_B, .lda = a.o.ld, .ldb = b.o.ld, .ldd = 8,
		.a = a.data.view, .b = b.data.view, .d = out.view, .a_scales = a.sc,
		.b_scales = b.sc,
	};
	assert_int_equal(onpu_gemm(NULL, &desc, NULL, NULL), 0);
#define BAD(change) do { \
		d = desc; \
		change; \
		assert_int_equal(onpu_gemm(NULL, &d, NULL, NULL), -EINVAL); \
	} while (0)
	BAD(d.lda--);			/* rows within bytes */
	BAD(d.a_scales.group = 0);
	BAD(d.a_scales.group = 64);
	BAD(d.a_scales.type = ONPU_DTYPE_F16);
	BAD(d.a_scales.ld = 2);
	BAD(d.a_scales.view.n = 0);
	BAD(d.b_scales.view.len--);
	BAD(d.b_scales.zero = d.b_scales.view);
	BAD(d.a_type = ONPU_DTYPE_I4);
	BAD(d.b_type = ONPU_DTYPE_I8);
	BAD((d.a_type = ONPU_DTYPE_I8, d.b_type = ONPU_DTYPE_I8));
	BAD(d.b_type = ONPU_DTYPE_F32);
#undef BAD
	/* Which types multiply which. */
	assert_int_equal(onpu_gemm_sum_type(ONPU_DTYPE_I8, ONPU_DTYPE_I4, 0), ONPU_DTYPE_I32);
	assert_int_equal(onpu_gemm_sum_type(ONPU_DTYPE_I8, ONPU_DTYPE_F16, 0), 0);
	assert_int_equal(onpu_gemm_sum_type(ONPU_DTYPE_F32, ONPU_DTYPE_MX_E2M1, 0), ONPU_DTYPE_F32);
	assert_int_equal(onpu_gemm_sum_type(ONPU_DTYPE_BF16, ONPU_DTYPE_I4, 64), ONPU_DTYPE_F32);
	assert_int_equal(onpu_gemm_sum_type(ONPU_DTYPE_BF16, ONPU_DTYPE_I4, 16), 0);
	assert_int_equal(onpu_gemm_sum_type(ONPU_DTYPE_F32, ONPU_DTYPE_I4, 64), 0);
	assert_int_equal(onpu_gemm_sum_type(ONPU_DTYPE_BF16, ONPU_DTYPE_E4M3, 64), 0);
	assert_int_equal(onpu_gemm_sum_type(ONPU_DTYPE_I32, ONPU_DTYPE_I32, 0), 0);
	assert_int_equal(onpu_gemm_sum_type(0, ONPU_DTYPE_F32, 0), 0);
	assert_int_equal(onpu_gemm_sum_type(ONPU_DTYPE_F32, 255, 0), 0);
	free_input(&a);
	free_input(&b);
	free_operand(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_every_value),
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_integers),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_few_rows),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_origin),
		cmocka_unit_test(test_invalid),
	};
	const char *seed = getenv("TEST_SEED");

	if (seed)
		rng_state = strtoull(seed, NULL, 0);
	return cmocka_run_group_tests(tests, setup_pools, teardown_pools);
}

// SPDX-License-Identifier: MIT
/*
 * MATMUL through packets, bit by bit against the scalar oracles: every type,
 * transposes, leading dimensions, accumulation; operands scattered over 4 KiB
 * pages of card and host memory; malformed descriptors; blocks; faults.
 */
#include <stdlib.h>
#include <string.h>

#include "card_fixture.h"
#include "gemm/oracle.h"
#include "gemm/oracle_formats.h"

#define DESC	0x10000000ull
#define A_VA	0x100000000ull
#define B_VA	0x200000000ull
#define C_VA	0x300000000ull
#define D_VA	0x400000000ull

enum place { PLACE_CARD, PLACE_HOST, PLACE_MIXED, PLACE_HUGE };

struct env {
	struct fx *fx;
	struct fx_queue q;
	struct onpu_matmul_desc *desc;
};

/* An operand: what stands in the card's address space, and a flat copy. */
struct matrix {
	uint64_t va, size;
	uint8_t *flat;
};

static void start(struct env *e, const struct fx_opts *opts)
{
	struct fx_opts o = opts ? *opts : (struct fx_opts){ 0 };

	if (!o.vram_size)
		o.vram_size = 256ull << 20;
	e->fx = fx_create(&o);
	fx_context(e->fx, 1);
	e->desc = fx_buffer(e->fx, 1, DESC, 4096);
	fx_queue_init(&e->q, e->fx, 0, 0, 1, 4, 0);
}

/* Maps size bytes at va, page by page, and tells where each page is. */
static void place(struct env *e, uint64_t va, uint64_t size, enum place where, uint64_t flags)
{
	uint64_t end = (va + size + 4095) & ~4095ull;

	if (where == PLACE_HUGE) {
		end = (va + size + (2u << 20) - 1) & ~((2ull << 20) - 1);
		va &= ~((2ull << 20) - 1);
		fx_map_huge(e->fx, 1, va, fx_vram(e->fx, end - va, 2u << 20), end - va, flags);
		return;
	}
	for (va &= ~4095ull; va < end; va += 4096) {
		bool host = where == PLACE_HOST ||
			    (where == PLACE_MIXED && fx_random(e->fx) % 2);
		uint64_t addr;

		/* Now and then a gap, so that pages are not contiguous. */
		if (fx_random(e->fx) % 3 == 0)
			host ? fx_hostmem(e->fx, 4096, 4096) : fx_vram(e->fx, 4096, 4096);
		addr = host ? fx_hostmem(e->fx, 4096, 4096) : fx_vram(e->fx, 4096, 4096);
		fx_map(e->fx, 1, va, addr, 4096, flags | (host ? ONPU_PTE_HOST : 0));
	}
}

/* Copies between the flat image and the pages behind [va, va + size). */
static void transfer(struct env *e, const struct matrix *m, bool to_card)
{
	for (uint64_t off = 0; off < m->size;) {
		uint64_t va = m->va + off, n = 4096 - va % 4096;
		uint64_t pte = fx_load(fx_pte(e->fx, 1, va, 1)), addr;
		uint8_t *p;

		if (pte & ONPU_PTE_LEAF) {
			addr = (pte & ONPU_PTE_ADDR) + (va & ((2u << 20) - 1));
		} else {
			pte = fx_load(fx_pte(e->fx, 1, va, 0));
			addr = (pte & ONPU_PTE_ADDR) + va % 4096;
		}
		p = pte & ONPU_PTE_HOST ? fx_hptr(e->fx, addr) : fx_vptr(e->fx, addr);
		if (n > m->size - off)
			n = m->size - off;
		if (to_card)
			memcpy(p, m->flat + off, n);
		else
			memcpy(m->flat + off, p, n);
		off += n;
	}
}

static unsigned int elem(uint32_t dtype)
{
	return dtype == ONPU_DTYPE_I8 ? 1 : dtype == ONPU_DTYPE_F32 || dtype == ONPU_DTYPE_I32 ?
	       4 : 2;
}

static struct matrix matrix(struct env *e, uint64_t va, uint64_t rows, uint64_t cols, uint64_t ld,
			    uint32_t dtype, enum place where, uint64_t flags)
{
	struct matrix m = { .va = va, .size = ((rows - 1) * ld + cols) * elem(dtype) };

	m.flat = calloc(1, m.size);
	assert_non_null(m.flat);
	for (uint64_t i = 0; i < m.size; i++)
		m.flat[i] = (uint8_t)fx_random(e->fx);
	if (dtype != ONPU_DTYPE_I8 && dtype != ONPU_DTYPE_I32) {
		/* Ordinary numbers: exponents near 1. */
		unsigned int es = elem(dtype);

		for (uint64_t i = 0; i + es <= m.size; i += es) {
			uint8_t *top = &m.flat[i + es - 1];

			*top = (uint8_t)((*top & 0x80) | 0x3e | (*top & 1));
		}
	}
	place(e, va, m.size, where, flags);
	transfer(e, &m, true);
	return m;
}

/* size random bytes. */
static struct matrix bytes(struct env *e, uint64_t va, uint64_t size, enum place where,
			   uint64_t flags)
{
	struct matrix m = { .va = va, .size = size };

	m.flat = calloc(1, size);
	assert_non_null(m.flat);
	for (uint64_t i = 0; i < size; i++)
		m.flat[i] = (uint8_t)fx_random(e->fx);
	place(e, va, size, where, flags);
	transfer(e, &m, true);
	return m;
}

struct shape {
	uint32_t m, n, k, dtype, flags;
	uint32_t pad_a, pad_b, pad_c, pad_d;	/* added to the leading dimensions */
	uint32_t shift;				/* of each address, in elements */
	enum place where;
	bool in_place;
};

static void check(struct env *e, const struct shape *s)
{
	bool ta = s->flags & ONPU_MATMUL_TRANS_A, tb = s->flags & ONPU_MATMUL_TRANS_B;
	bool acc = s->flags & ONPU_MATMUL_ACCUMULATE;
	uint32_t out = s->dtype == ONPU_DTYPE_I8 ? ONPU_DTYPE_I32 : ONPU_DTYPE_F32;
	unsigned int es = elem(s->dtype);
	struct onpu_matmul_desc d = {
		.a_type = (uint8_t)s->dtype, .b_type = (uint8_t)s->dtype,
		.c_type = acc ? (uint8_t)out : 0, .d_type = (uint8_t)out, .flags = s->flags,
		.m = s->m, .n = s->n, .k = s->k,
		.a_va = A_VA + s->shift * es, .b_va = B_VA + s->shift * es,
		.d_va = D_VA + s->shift * 4,
		.lda = (ta ? s->m : s->k) + s->pad_a, .ldb = (tb ? s->k : s->n) + s->pad_b,
		.ldd = s->n + s->pad_d,
	};
	struct matrix a = matrix(e, d.a_va, ta ? s->k : s->m, ta ? s->m : s->k, d.lda, s->dtype,
				 s->where, ONPU_PTE_READ);
	struct matrix b = matrix(e, d.b_va, tb ? s->n : s->k, tb ? s->k : s->n, d.ldb, s->dtype,
				 s->where, ONPU_PTE_READ);
	struct matrix dm = matrix(e, d.d_va, s->m, s->n, d.ldd, out, s->where, RW);
	struct matrix c = { 0 };
	uint8_t *expected = malloc(dm.size);
	struct onpu_packet p = pk_matmul(DESC);

	assert_non_null(expected);
	memcpy(expected, dm.flat, dm.size);
	if (acc && s->in_place) {
		d.c_va = d.d_va;
		d.ldc = d.ldd;
	} else if (acc) {
		d.c_va = C_VA + s->shift * 4;
		d.ldc = s->n + s->pad_c;
		c = matrix(e, d.c_va, s->m, s->n, d.ldc, out, s->where, ONPU_PTE_READ);
	}
	oracle_matmul(&(struct oracle_matmul){
		.m = s->m, .n = s->n, .k = s->k, .dtype = s->dtype, .trans_a = ta, .trans_b = tb,
		.accumulate = acc, .lda = d.lda, .ldb = d.ldb, .ldc = d.ldc, .ldd = d.ldd,
		.a = a.flat, .b = b.flat, .c = s->in_place ? expected : c.flat, .d = expected });

	fx_invalidate(e->fx, 1);
	memcpy(e->desc, &d, sizeof(d));
	fx_submit(&e->q, &p);
	assert_int_equal(fx_settle(&e->q), ONPU_SLOT_IDLE);
	transfer(e, &dm, false);
	assert_memory_equal(dm.flat, expected, dm.size);
	free(a.flat);
	free(b.flat);
	free(c.flat);
	free(dm.flat);
	free(expected);
}

static void types_and_flags(void **state)
{
	static const uint32_t types[] = { ONPU_DTYPE_F32, ONPU_DTYPE_BF16, ONPU_DTYPE_F16,
					  ONPU_DTYPE_I8 };

	(void)state;
	for (unsigned int t = 0; t < ARRAY_SIZE(types); t++) {
		for (uint32_t flags = 0; flags < 8; flags++) {
			for (unsigned int where = 0; where < 4; where++) {
				struct shape s = {
					.m = 37, .n = 45, .k = 83, .dtype = types[t],
					.flags = flags, .pad_a = 3, .pad_b = 1300, .pad_c = 5,
					.pad_d = 2000, .shift = 1021,
					.where = (enum place)where, .in_place = where & 1,
				};
				struct env e;

				start(&e, NULL);
				check(&e, &s);
				assert_int_equal(fx_rd64(e.fx, ONPU_REG_CNT_MATMULS), 1);
				assert_int_equal(fx_rd64(e.fx, ONPU_REG_CNT_MATMUL_OPS),
						 2 * 37 * 45 * 83);
				assert_int_equal(e.fx->guest_errors, 0);
				fx_destroy(e.fx);
			}
		}
	}
}

static void random_shapes(void **state)
{
	struct fx_opts opts = { .vram_size = 512ull << 20 };

	(void)state;
	for (unsigned int i = 0; i < 60; i++) {
		struct env e;

		opts.max_map = i % 3 ? 8192 : 0;
		opts.dma = i % 2 ? FX_DMA_ASYNC : FX_DMA_SYNC;
		start(&e, &opts);
		e.fx->random = i;
		struct shape s = {
			.m = 1 + fx_random(e.fx) % 90, .n = 1 + fx_random(e.fx) % 90,
			.k = 1 + fx_random(e.fx) % 200, .dtype = 1 + fx_random(e.fx) % 4,
			.flags = fx_random(e.fx) % 8, .pad_a = fx_random(e.fx) % 9,
			.pad_b = fx_random(e.fx) % 2000, .pad_c = fx_random(e.fx) % 9,
			.pad_d = fx_random(e.fx) % 3000, .shift = fx_random(e.fx) % 1024,
			.where = (enum place)(fx_random(e.fx) % 4), .in_place = i & 1,
		};
		check(&e, &s);
		fx_destroy(e.fx);
	}
}

/*
 * Big enough to be cut into blocks, k included; checked at random places, for the oracle is slow.
 */
static void blocks(void **state)
{
	struct fx_opts opts = { .vram_size = 512ull << 20, .slots = 2 };
	const uint32_t m = 1100, n = 1300, k = 9000;
	struct onpu_matmul_desc d = {
		.a_type = ONPU_DTYPE_I8, .b_type = ONPU_DTYPE_I8, .c_type = ONPU_DTYPE_I32,
		.d_type = ONPU_DTYPE_I32, .flags = ONPU_MATMUL_ACCUMULATE | ONPU_MATMUL_TRANS_B,
		.m = m, .n = n, .k = k, .a_va = A_VA, .b_va = B_VA, .c_va = D_VA, .d_va = D_VA,
		.lda = k, .ldb = k, .ldc = n, .ldd = n,
	};
	struct onpu_packet p = pk_matmul(DESC), wait = pk_nop();
	struct fx_queue other;
	struct env e;

	(void)state;
	start(&e, &opts);
	struct matrix a = matrix(&e, A_VA, m, k, k, ONPU_DTYPE_I8, PLACE_CARD, ONPU_PTE_READ);
	struct matrix b = matrix(&e, B_VA, n, k, k, ONPU_DTYPE_I8, PLACE_CARD, ONPU_PTE_READ);
	struct matrix c = matrix(&e, D_VA, m, n, n, ONPU_DTYPE_I32, PLACE_CARD, RW);
	uint8_t *before = malloc(c.size);
	struct oracle_matmul o = {
		.m = m, .n = n, .k = k, .dtype = ONPU_DTYPE_I8, .trans_b = true,
		.accumulate = true, .lda = k, .ldb = k, .ldc = n, .ldd = n, .a = a.flat,
		.b = b.flat, .c = before,
	};

	memcpy(before, c.flat, c.size);
	memcpy(e.desc, &d, sizeof(d));
	/* A second slot is busy from some point on, so block sizes change on the way. */
	fx_queue_init(&other, e.fx, 1, 1, 1, 12, 0);
	for (unsigned int i = 0; i < 4096; i++)
		fx_push(&other, &wait);
	fx_submit(&e.q, &p);
	onpu_card_run(e.fx->card, 3);
	assert_int_equal(fx_slot(e.fx, 0, ONPU_SLOT_STATE), ONPU_SLOT_RUNNING);
	fx_ring(&other);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	transfer(&e, &c, false);
	for (unsigned int i = 0; i < 2000; i++) {
		uint32_t row = fx_random(e.fx) % m, col = fx_random(e.fx) % n, got;

		memcpy(&got, c.flat + ((uint64_t)row * n + col) * 4, 4);
		assert_int_equal(got, oracle_element(&o, row, col));
	}
	free(a.flat);
	free(b.flat);
	free(c.flat);
	free(before);
	fx_destroy(e.fx);
}

/* --- malformed descriptors ------------------------------------------------ */

static struct onpu_matmul_desc good_desc(void)
{
	return (struct onpu_matmul_desc){
		.a_type = ONPU_DTYPE_F32, .b_type = ONPU_DTYPE_F32, .c_type = ONPU_DTYPE_F32,
		.d_type = ONPU_DTYPE_F32, .flags = ONPU_MATMUL_ACCUMULATE,
		.m = 4, .n = 5, .k = 6, .a_va = A_VA, .b_va = B_VA, .c_va = C_VA, .d_va = D_VA,
		.lda = 6, .ldb = 5, .ldc = 5, .ldd = 5,
	};
}

static void submit_desc(struct env *e, const struct onpu_matmul_desc *d)
{
	struct onpu_packet p = pk_matmul(DESC);

	memcpy(e->desc, d, sizeof(*d));
	fx_submit(&e->q, &p);
}

static void revive(struct env *e)
{
	fx_unbind(&e->q);
	fx_slot_wr(e->fx, 0, ONPU_SLOT_CONSUMER, e->q.producer);
	fx_slot_wr(e->fx, 0, ONPU_SLOT_CMD, ONPU_SLOT_BIND);
}

static void bad_desc(struct env *e, struct onpu_matmul_desc d)
{
	submit_desc(e, &d);
	fx_expect_error(&e->q, ONPU_ERR_DESC);
	assert_int_equal(fx_slot(e->fx, 0, ONPU_SLOT_OPCODE), ONPU_OP_MATMUL);
	revive(e);
}

#define BAD(field, value) do { \
		struct onpu_matmul_desc bad_ = good_desc(); \
		bad_.field = (value); \
		bad_desc(&e, bad_); \
	} while (0)

static void bad_descriptors(void **state)
{
	struct onpu_matmul_desc d = good_desc();
	struct env e;

	(void)state;
	start(&e, NULL);
	fx_buffer(e.fx, 1, A_VA, 4096);
	fx_buffer(e.fx, 1, B_VA, 4096);
	fx_buffer(e.fx, 1, C_VA, 4096);
	fx_buffer(e.fx, 1, D_VA, 4096);
	submit_desc(&e, &d);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);

	BAD(a_type, 0);
	BAD(a_type, ONPU_DTYPE_I32);
	BAD(a_type, 77);
	BAD(a_type, ONPU_DTYPE_I8);
	BAD(b_type, ONPU_DTYPE_I4);
	BAD(a_type, ONPU_DTYPE_MX_E2M1);	/* lda is odd, no scales */
	BAD(c_type, 0);
	BAD(c_type, ONPU_DTYPE_I32);
	BAD(d_type, ONPU_DTYPE_I32);
	BAD(d_type, ONPU_DTYPE_MX_E4M3);
	BAD(d_type, ONPU_DTYPE_I4);
	BAD(flags, 0x200 | ONPU_MATMUL_ACCUMULATE);
	BAD(flags, 0x80000000);
	BAD(flags, 0);			/* C named but not used */
	BAD(m, 0);
	BAD(n, 0);
	BAD(k, 0);
	BAD(m, ONPU_DIM_MAX + 1);
	BAD(n, 0xffffffff);
	BAD(k, 0x80000000);
	BAD(batch, 1);
	BAD(a_va, A_VA + 2);
	BAD(b_va, B_VA + 1);
	BAD(c_va, C_VA + 3);
	BAD(d_va, D_VA + 2);
	BAD(lda, 5);
	BAD(ldb, 4);
	BAD(ldc, 4);
	BAD(ldd, 4);
	BAD(lda, ONPU_MATMUL_LD_MAX + 1);
	BAD(ldb, UINT64_MAX);
	BAD(flags, ONPU_MATMUL_ACCUMULATE | ONPU_MATMUL_TRANS_B);	/* ldb < k */
	BAD(a_scale_va, 4);
	BAD(b_scale_va, 4);
	BAD(b_zero_va, 4);
	BAD(lda_scale, 1);
	BAD(ldb_scale, 1);
	BAD(b_scale_type, ONPU_DTYPE_F16);
	BAD(b_group, 32);
	BAD(bias_va, A_VA);			/* of no type */
	BAD(bias_type, ONPU_DTYPE_F32);		/* and a type of nothing */
	BAD(residual_type, ONPU_DTYPE_F32);
	BAD(residual_va, A_VA);
	BAD(ldr, 5);
	BAD(row_scale_va, A_VA + 2);
	BAD(col_scale_va, A_VA + 1);
	BAD(d_scale_va, A_VA + 3);
	BAD(d_zero_va, A_VA);			/* D is F32 */
	BAD(alpha, 1);
	BAD(beta, 0x3f800000);
	BAD(activation, ONPU_ACT_SILU + 1);
	BAD(flags, ONPU_MATMUL_ACCUMULATE | ONPU_MATMUL_BETA);
	BAD(flags, ONPU_MATMUL_ACCUMULATE | ONPU_MATMUL_D_SCALE_ROWS);
	BAD(flags, ONPU_MATMUL_ACCUMULATE | ONPU_MATMUL_NO_SATURATE);
	BAD(reserved0, 1);
	BAD(batch_mode, ONPU_BATCH_STRIDED);	/* of no matmul */
	BAD(batch_mode, 4);
	BAD(a_stride, 64);
	BAD(b_stride, 64);
	BAD(c_stride, 64);
	BAD(d_stride, 64);
	BAD(residual_stride, 64);
	BAD(batch_va, A_VA);
	BAD(flags, ONPU_MATMUL_ACCUMULATE | ONPU_MATMUL_BATCH_VECTORS);
	BAD(reserved[0], 1);
	BAD(reserved[1], 1ull << 63);
	assert_int_equal(e.fx->guest_errors, 0);
	fx_destroy(e.fx);
}

/* A: MXFP4, B: INT4 with groups or MXFP6; the fields that say where the scales are. */
static void bad_scales(void **state)
{
	struct onpu_matmul_desc mx, group;
	struct env e;

	(void)state;
	start(&e, NULL);
	fx_buffer(e.fx, 1, A_VA, 4096);
	fx_buffer(e.fx, 1, B_VA, 4096);
	fx_buffer(e.fx, 1, D_VA, 4096);
	mx = (struct onpu_matmul_desc){
		.a_type = ONPU_DTYPE_MX_E2M1, .b_type = ONPU_DTYPE_MX_E2M3, .d_type = ONPU_DTYPE_F32,
		.m = 4, .n = 5, .k = 40, .a_va = A_VA + 1, .b_va = B_VA + 3, .d_va = D_VA,
		.lda = 40, .ldb = 8, .ldd = 5, .a_scale_va = A_VA + 2049, .b_scale_va = B_VA + 2051,
		.lda_scale = 2, .ldb_scale = 5,
	};
	submit_desc(&e, &mx);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	group = mx;
	group.a_type = ONPU_DTYPE_BF16;
	group.a_va = A_VA;
	group.a_scale_va = 0;
	group.lda_scale = 0;
	group.b_type = ONPU_DTYPE_I4;
	group.b_scale_type = ONPU_DTYPE_BF16;
	group.b_scale_va = B_VA + 2048;
	group.b_group = 32;
	group.b_zero_va = B_VA + 3001;
	submit_desc(&e, &group);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);

#define BAD_OF(base, field, value) do { \
		struct onpu_matmul_desc bad_ = base; \
		bad_.field = (value); \
		bad_desc(&e, bad_); \
	} while (0)
	BAD_OF(mx, lda, 41);
	BAD_OF(mx, ldb, 6);
	BAD_OF(mx, lda_scale, 1);
	BAD_OF(mx, ldb_scale, 4);
	BAD_OF(mx, b_group, 32);
	BAD_OF(mx, b_scale_type, ONPU_DTYPE_F16);
	BAD_OF(mx, b_zero_va, B_VA);
	BAD_OF(mx, d_type, ONPU_DTYPE_MX_E2M1);
	BAD_OF(mx, a_type, ONPU_DTYPE_E4M3);	/* which has no scales */
	BAD_OF(mx, b_type, ONPU_DTYPE_I8);
	BAD_OF(group, a_type, ONPU_DTYPE_F32);
	BAD_OF(group, a_type, ONPU_DTYPE_I8);
	BAD_OF(group, b_type, ONPU_DTYPE_E4M3);
	BAD_OF(group, b_group, 16);
	BAD_OF(group, b_group, 0);
	BAD_OF(group, b_group, 256);
	BAD_OF(group, b_scale_type, 0);
	BAD_OF(group, b_scale_type, ONPU_DTYPE_F32);
	BAD_OF(group, b_scale_va, B_VA + 2049);
	BAD_OF(group, a_scale_va, A_VA);
	/* Each of the scales is translated before anything is written. */
	struct onpu_matmul_desc d = mx;

	d.a_scale_va = A_VA + 4096 - 7;
	submit_desc(&e, &d);
	fx_expect_fault(&e.q, ONPU_FAULT_NOT_PRESENT, ONPU_FAULT_ACCESS_READ, 0, A_VA + 4096);
	revive(&e);
	d = group;
	d.b_zero_va = B_VA + 4096 - 9;
	submit_desc(&e, &d);
	fx_expect_fault(&e.q, ONPU_FAULT_NOT_PRESENT, ONPU_FAULT_ACCESS_READ, 0, B_VA + 4096);
	assert_int_equal(e.fx->guest_errors, 0);
	fx_destroy(e.fx);
}

/* Small types through packets: scattered operands and scales, against the oracle. */
static void formats(void **state)
{
	static const uint8_t types[] = {
		ONPU_DTYPE_E4M3, ONPU_DTYPE_E5M2, ONPU_DTYPE_MX_E4M3, ONPU_DTYPE_MX_E5M2,
		ONPU_DTYPE_MX_E2M3, ONPU_DTYPE_MX_E3M2, ONPU_DTYPE_MX_E2M1, ONPU_DTYPE_I4,
	};

	(void)state;
	for (unsigned int i = 0; i < 64; i++) {
		const uint32_t m = 33, n = 47, k = 91, ld = 96;
		uint8_t ta = types[i % 8], tb = types[i / 8];
		bool grouped = tb == ONPU_DTYPE_I4 && ta != ONPU_DTYPE_I4;
		enum place where = (enum place)(i % 3);
		struct oracle_operand oa = { .ld = ld }, ob = { .ld = ld };
		struct matrix a, b, d, as = { 0 }, bs = { 0 };
		struct onpu_packet p = pk_matmul(DESC);
		struct env e;

		if (grouped)
			ta = ONPU_DTYPE_F16;
		if (ta == ONPU_DTYPE_I4)
			tb = ONPU_DTYPE_I8;
		oa.type = ta;
		ob.type = tb;
		start(&e, NULL);
		e.fx->random = i;
		a = bytes(&e, A_VA, (uint64_t)m * ld * onpu_gemm_elem_bits(ta) / 8, where, ONPU_PTE_READ);
		b = bytes(&e, B_VA, (uint64_t)n * ld * onpu_gemm_elem_bits(tb) / 8, where, ONPU_PTE_READ);
		d = bytes(&e, D_VA, (uint64_t)m * n * 4, where, RW);
		struct onpu_matmul_desc desc = {
			.a_type = ta, .b_type = tb,
			.d_type = ta == ONPU_DTYPE_I4 ? ONPU_DTYPE_I32 : ONPU_DTYPE_F32,
			.flags = ONPU_MATMUL_TRANS_B, .m = m, .n = n, .k = k, .a_va = A_VA,
			.b_va = B_VA, .d_va = D_VA, .lda = ld, .ldb = ld, .ldd = n,
		};

		if (onpu_gemm_is_mx(ta)) {
			as = bytes(&e, C_VA, m * 5, where, ONPU_PTE_READ);
			desc.a_scale_va = C_VA;
			desc.lda_scale = 5;
			oa.group = 32;
			oa.scale_ld = 5;
		}
		if (onpu_gemm_is_mx(tb) || grouped) {
			bs = bytes(&e, C_VA + 0x1000000, n * 14, where, ONPU_PTE_READ);
			desc.b_scale_va = C_VA + 0x1000000;
			desc.ldb_scale = 7;
			ob.group = 32;
			ob.scale_ld = 7;
		}
		if (grouped) {
			desc.b_group = 32;
			desc.b_scale_type = ONPU_DTYPE_F16;
			ob.scale_type = ONPU_DTYPE_F16;
		}
		oa.data = a.flat;
		oa.scales = as.flat;
		ob.data = b.flat;
		ob.scales = bs.flat;
		fx_invalidate(e.fx, 1);
		memcpy(e.desc, &desc, sizeof(desc));
		fx_submit(&e.q, &p);
		assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
		transfer(&e, &d, false);
		for (uint32_t x = 0; x < m * n; x++) {
			uint32_t got;

			memcpy(&got, d.flat + x * 4, 4);
			assert_int_equal(got, oracle_sum(&oa, x / n, &ob, x % n, k, 0));
		}
		free(a.flat);
		free(b.flat);
		free(as.flat);
		free(bs.flat);
		free(d.flat);
		assert_int_equal(e.fx->guest_errors, 0);
		fx_destroy(e.fx);
	}
}

#define VEC_VA(i)	(C_VA + 0x1000000 * (uint64_t)(i))

/* Every step of the epilogue through packets; each operand is translated first. */
static void epilogues(void **state)
{
	static const uint8_t results[] = {
		ONPU_DTYPE_F32, ONPU_DTYPE_BF16, ONPU_DTYPE_F16, ONPU_DTYPE_E4M3, ONPU_DTYPE_E5M2,
		ONPU_DTYPE_I8,
	};

	(void)state;
	for (unsigned int i = 0; i < 24; i++) {
		const uint32_t m = 37, n = 300, k = i % 4 == 3 ? 9000 : 20;
		uint8_t type = results[i % 6], in = i & 1 ? ONPU_DTYPE_I8 : ONPU_DTYPE_E5M2;
		unsigned int es = onpu_gemm_elem_bits(type) / 8;
		uint32_t which = i % 3 == 1 ? ONPU_MATMUL_D_SCALE_ROWS :
				 i % 3 == 2 ? ONPU_MATMUL_D_SCALE_COLS : 0;
		uint32_t length = i % 3 == 1 ? m : i % 3 == 2 ? n : 1;
		enum place where = (enum place)(i % 3);
		const float alpha = 0.25f, beta = -3.5f;
		struct env e;

		start(&e, NULL);
		e.fx->random = i;
		struct matrix a = bytes(&e, A_VA, m * k, where, ONPU_PTE_READ);
		struct matrix b = bytes(&e, B_VA, n * k, where, ONPU_PTE_READ);
		struct matrix d = bytes(&e, D_VA, m * n * es, where, RW);
		struct matrix c = matrix(&e, C_VA, m, n, n, ONPU_DTYPE_F16, where, ONPU_PTE_READ);
		struct matrix res = matrix(&e, VEC_VA(1), m, n, n + 7, ONPU_DTYPE_BF16, where,
					   ONPU_PTE_READ);
		struct matrix bias = matrix(&e, VEC_VA(2), 1, n, n, ONPU_DTYPE_F32, where,
					    ONPU_PTE_READ);
		struct matrix rs = matrix(&e, VEC_VA(3), 1, m, m, ONPU_DTYPE_F32, where,
					  ONPU_PTE_READ);
		struct matrix cs = matrix(&e, VEC_VA(4), 1, n, n, ONPU_DTYPE_F32, where,
					  ONPU_PTE_READ);
		struct matrix ds = matrix(&e, VEC_VA(5), 1, length, length, ONPU_DTYPE_F32, where,
					  ONPU_PTE_READ);
		struct matrix dz = bytes(&e, VEC_VA(6), length, where, ONPU_PTE_READ);
		struct onpu_matmul_desc desc = {
			.a_type = in, .b_type = in, .c_type = ONPU_DTYPE_F16, .d_type = type,
			.flags = ONPU_MATMUL_TRANS_B | ONPU_MATMUL_ALPHA | ONPU_MATMUL_BETA | which,
			.m = m, .n = n, .k = k, .a_va = A_VA, .b_va = B_VA, .c_va = C_VA, .d_va = D_VA,
			.lda = k, .ldb = k, .ldc = n, .ldd = n, .bias_va = VEC_VA(2),
			.bias_type = ONPU_DTYPE_F32, .row_scale_va = VEC_VA(3),
			.col_scale_va = VEC_VA(4), .d_scale_va = VEC_VA(5),
			.d_zero_va = type == ONPU_DTYPE_I8 ? VEC_VA(6) : 0,
			.residual_va = VEC_VA(1), .residual_type = ONPU_DTYPE_BF16, .ldr = n + 7,
			.activation = (uint8_t)(i % 5),
		};
		struct oracle_operand oa = { .type = in, .ld = k, .data = a.flat };
		struct oracle_operand ob = { .type = in, .ld = k, .data = b.flat };

		memcpy(&desc.alpha, &alpha, 4);
		memcpy(&desc.beta, &beta, 4);
		/* E5M2 without infinities and NaNs. */
		for (uint32_t x = 0; in == ONPU_DTYPE_E5M2 && x < m * k; x++)
			a.flat[x] &= 0xbf;
		for (uint32_t x = 0; in == ONPU_DTYPE_E5M2 && x < n * k; x++)
			b.flat[x] &= 0xbf;
		transfer(&e, &a, true);
		transfer(&e, &b, true);
		fx_invalidate(e.fx, 1);
		submit_desc(&e, &desc);
		assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
		transfer(&e, &d, false);
		for (uint32_t x = 0; x < m * n; x += k > 1000 ? 53 : 1) {
			uint32_t row = x / n, col = x % n, at = length == m ? row : length == n ? col : 0;
			uint32_t got = 0, u = 0;
			float cv, rv;
			struct oracle_steps s = {
				.row_scale = (float *)(void *)rs.flat + row,
				.col_scale = (float *)(void *)cs.flat + col,
				.alpha = &alpha, .beta = &beta, .c = &cv,
				.bias = (float *)(void *)bias.flat + col, .residual = &rv,
				.d_scale = (float *)(void *)ds.flat + at,
				.d_zero = desc.d_zero_va ? (int8_t *)dz.flat + at : NULL,
				.activation = desc.activation, .d_type = type,
			};

			memcpy(&u, c.flat + x * 2, 2);
			cv = (float)oracle_decode(ONPU_DTYPE_F16, u);
			memcpy(&u, res.flat + (row * (n + 7) + col) * 2, 2);
			rv = (float)oracle_decode(ONPU_DTYPE_BF16, u);
			memcpy(&got, d.flat + x * es, es);
			assert_int_equal(got, oracle_result(oracle_sum(&oa, row, &ob, col, k, 0),
							    in == ONPU_DTYPE_I8, &s));
		}
		/* An operand that leaves what is mapped: nothing is written. */
		if (i < 8) {
			__u64 *va[] = { &desc.bias_va, &desc.row_scale_va, &desc.col_scale_va,
					&desc.d_scale_va, &desc.residual_va, &desc.c_va };
			struct matrix before = d;

			for (unsigned int j = 0; j < ARRAY_SIZE(va); j++) {
				uint64_t good = *va[j];

				*va[j] = 0x700000000000 - 4 * (uint64_t)j;
				submit_desc(&e, &desc);
				fx_expect_error(&e.q, ONPU_ERR_FAULT);
				revive(&e);
				*va[j] = good;
			}
			before.flat = malloc(d.size);
			assert_non_null(before.flat);
			transfer(&e, &before, false);
			assert_memory_equal(before.flat, d.flat, d.size);
			free(before.flat);
		}
		free(a.flat);
		free(b.flat);
		free(c.flat);
		free(d.flat);
		free(res.flat);
		free(bias.flat);
		free(rs.flat);
		free(cs.flat);
		free(ds.flat);
		free(dz.flat);
		assert_int_equal(e.fx->guest_errors, 0);
		fx_destroy(e.fx);
	}
}

#define BATCH	5u
#define B_M	6u
#define B_N	21u
#define B_K	70u
#define B_LD	72u	/* of A and B */

/* BF16 times MXFP4, bias, row and column scales, residual: all that moves with a batch. */
struct batch {
	struct env e;
	struct matrix a, b, bs, d, res, bias, rs, cs;
	struct onpu_matmul_desc desc;
	uint8_t *expected;
};

static void batch_start(struct batch *x, unsigned int seed)
{
	enum place where = (enum place)(seed % 3);

	start(&x->e, NULL);
	x->e.fx->random = seed;
	x->a = matrix(&x->e, A_VA, BATCH * B_M, B_K, B_LD, ONPU_DTYPE_BF16, where, ONPU_PTE_READ);
	x->b = bytes(&x->e, B_VA, BATCH * B_N * B_LD / 2, where, ONPU_PTE_READ);
	x->bs = bytes(&x->e, VEC_VA(1), BATCH * B_N * 4, where, ONPU_PTE_READ);
	x->d = bytes(&x->e, D_VA, BATCH * B_M * B_N * 2, where, RW);
	x->res = matrix(&x->e, VEC_VA(2), BATCH * B_M, B_N, B_N, ONPU_DTYPE_F32, where,
			ONPU_PTE_READ);
	x->bias = matrix(&x->e, VEC_VA(3), BATCH, B_N, B_N, ONPU_DTYPE_F16, where, ONPU_PTE_READ);
	x->rs = matrix(&x->e, VEC_VA(4), BATCH, B_M, B_M, ONPU_DTYPE_F32, where, ONPU_PTE_READ);
	x->cs = matrix(&x->e, VEC_VA(5), BATCH, B_N, B_N, ONPU_DTYPE_F32, where, ONPU_PTE_READ);
	for (uint64_t i = 0; i < x->bs.size; i++)
		x->bs.flat[i] = (uint8_t)(125 + x->bs.flat[i] % 4);
	transfer(&x->e, &x->bs, true);
	fx_invalidate(x->e.fx, 1);
	x->expected = malloc(x->d.size);
	assert_non_null(x->expected);
	memcpy(x->expected, x->d.flat, x->d.size);
	x->desc = (struct onpu_matmul_desc){
		.a_type = ONPU_DTYPE_BF16, .b_type = ONPU_DTYPE_MX_E2M1, .d_type = ONPU_DTYPE_BF16,
		.flags = ONPU_MATMUL_TRANS_B, .m = B_M, .n = B_N, .k = B_K, .batch = BATCH,
		.a_va = A_VA, .b_va = B_VA, .d_va = D_VA, .lda = B_LD, .ldb = B_LD, .ldd = B_N,
		.b_scale_va = VEC_VA(1), .ldb_scale = 4, .residual_va = VEC_VA(2), .ldr = B_N,
		.residual_type = ONPU_DTYPE_F32, .bias_va = VEC_VA(3), .bias_type = ONPU_DTYPE_F16,
		.row_scale_va = VEC_VA(4), .col_scale_va = VEC_VA(5),
	};
}

/* What row r of all rows of D is to be, with matrix b of B and vectors v; residual row as D's. */
static void batch_row(struct batch *x, uint32_t a_row, uint32_t d_row, uint32_t b, uint32_t cols,
		      uint32_t rs)
{
	struct oracle_operand oa = { .type = ONPU_DTYPE_BF16, .ld = B_LD, .data = x->a.flat };
	struct oracle_operand ob = {
		.type = ONPU_DTYPE_MX_E2M1, .ld = B_LD, .group = 32, .scale_ld = 4,
		.data = x->b.flat + b * (B_N * B_LD / 2), .scales = x->bs.flat + b * (B_N * 4),
	};

	for (uint32_t j = 0; j < B_N; j++) {
		float bias, residual;
		uint16_t half;
		struct oracle_steps s = {
			.row_scale = (float *)(void *)x->rs.flat + rs,
			.col_scale = (float *)(void *)x->cs.flat + cols * B_N + j,
			.bias = &bias, .residual = &residual, .d_type = ONPU_DTYPE_BF16,
		};

		memcpy(&half, x->bias.flat + (cols * B_N + j) * 2, 2);
		bias = (float)oracle_decode(ONPU_DTYPE_F16, half);
		memcpy(&residual, x->res.flat + (d_row * B_N + j) * 4, 4);
		half = (uint16_t)oracle_result(oracle_sum(&oa, a_row, &ob, j, B_K, 0), false, &s);
		memcpy(x->expected + (d_row * B_N + j) * 2, &half, 2);
	}
}

static void batch_end(struct batch *x, unsigned int matmuls)
{
	submit_desc(&x->e, &x->desc);
	assert_int_equal(fx_settle(&x->e.q), ONPU_SLOT_IDLE);
	transfer(&x->e, &x->d, false);
	assert_memory_equal(x->d.flat, x->expected, x->d.size);
	assert_int_equal(fx_rd64(x->e.fx, ONPU_REG_CNT_MATMULS), matmuls);
	assert_int_equal(x->e.fx->guest_errors, 0);
}

static void batch_free(struct batch *x)
{
	free(x->a.flat);
	free(x->b.flat);
	free(x->bs.flat);
	free(x->d.flat);
	free(x->res.flat);
	free(x->bias.flat);
	free(x->rs.flat);
	free(x->cs.flat);
	free(x->expected);
	fx_destroy(x->e.fx);
}

/* Every operand strided or the same for all, with vectors of each matmul or shared. */
static void batch_strided(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 8; i++) {
		bool sa = i & 1, sb = i & 2, vectors = i & 4;
		struct batch x;

		batch_start(&x, i);
		x.desc.batch_mode = ONPU_BATCH_STRIDED;
		x.desc.a_stride = sa ? B_M * B_LD * 2 : 0;
		x.desc.b_stride = sb ? B_N * B_LD / 2 : 0;
		x.desc.d_stride = B_M * B_N * 2;
		x.desc.residual_stride = B_M * B_N * 4;
		x.desc.flags |= vectors ? ONPU_MATMUL_BATCH_VECTORS : 0;
		for (uint32_t g = 0; g < BATCH; g++)
			for (uint32_t r = 0; r < B_M; r++)
				batch_row(&x, (sa ? g * B_M : 0) + r, g * B_M + r, sb ? g : 0,
					  vectors ? g : 0, (vectors ? g * B_M : 0) + r);
		batch_end(&x, BATCH);
		batch_free(&x);
	}
}

static void batch_items(void **state)
{
	static const uint32_t order[BATCH] = { 3, 0, 4, 1, 2 };
	struct onpu_matmul_item *item;
	struct batch x;

	(void)state;
	batch_start(&x, 1);
	item = fx_buffer(x.e.fx, 1, VEC_VA(6), 4096);
	x.desc.batch_mode = ONPU_BATCH_ITEMS;
	x.desc.batch_va = VEC_VA(6);
	/* Addresses are sums: the descriptor's may be before or behind. */
	x.desc.a_va += 4096;
	for (uint32_t g = 0; g < BATCH; g++) {
		item[g] = (struct onpu_matmul_item){
			.a = (uint64_t)order[g] * B_M * B_LD * 2 - 4096, .b = (BATCH - 1 - g) * B_N * B_LD / 2,
			.b_scale = (BATCH - 1 - g) * B_N * 4, .d = g * B_M * B_N * 2,
			.residual = g * B_M * B_N * 4,
			.c = 12345, .a_scale = 1, .b_zero = 77,	/* of what is not there */
		};
		for (uint32_t r = 0; r < B_M; r++)
			batch_row(&x, order[g] * B_M + r, g * B_M + r, BATCH - 1 - g, 0, r);
	}
	batch_end(&x, BATCH);
	/* An item that is not aligned is found when its turn comes. */
	item[2].d++;
	submit_desc(&x.e, &x.desc);
	fx_expect_error(&x.e.q, ONPU_ERR_DESC);
	revive(&x.e);
	item[2].d--;
	/* And so are items that are not there. */
	x.desc.batch_va = VEC_VA(6) + 4096 - 3 * 64;
	submit_desc(&x.e, &x.desc);
	fx_expect_error(&x.e.q, ONPU_ERR_FAULT);
	revive(&x.e);
	batch_free(&x);
}

/* Groups of rows, each with a matrix of its own, some empty; rows behind the last stay. */
static void batch_grouped(void **state)
{
	static const uint32_t sizes[][BATCH] = {
		{ 6, 6, 6, 6, 6 }, { 0, 13, 0, 1, 9 }, { 0, 0, 0, 0, 0 }, { 30, 0, 0, 0, 0 },
		{ 1, 2, 3, 4, 5 }, { 10, 10, 11, 0, 0 }, { 0xffffffff, 1, 0, 0, 0 },
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint32_t *groups, row = 0, matmuls = 0;
		struct batch x;

		batch_start(&x, i);
		groups = fx_buffer(x.e.fx, 1, VEC_VA(6), 4096);
		memcpy(groups, sizes[i], sizeof(sizes[i]));
		x.desc.batch_mode = ONPU_BATCH_GROUPED;
		x.desc.batch_va = VEC_VA(6);
		x.desc.m = BATCH * B_M;
		x.desc.b_stride = B_N * B_LD / 2;
		x.desc.flags |= ONPU_MATMUL_BATCH_VECTORS;
		if (i >= 5) {
			submit_desc(&x.e, &x.desc);
			fx_expect_error(&x.e.q, ONPU_ERR_DESC);
			batch_free(&x);
			continue;
		}
		for (uint32_t g = 0; g < BATCH; g++) {
			for (uint32_t r = 0; r < sizes[i][g]; r++, row++)
				batch_row(&x, row, row, g, g, row);
			matmuls += sizes[i][g] != 0;
		}
		batch_end(&x, matmuls);
		batch_free(&x);
	}
}

static void batch_bad(void **state)
{
	struct onpu_matmul_desc strided, items, grouped;
	struct batch x;
	struct env e;

	(void)state;
	batch_start(&x, 0);
	e = x.e;
	strided = x.desc;
	strided.batch_mode = ONPU_BATCH_STRIDED;
	items = x.desc;
	items.batch_mode = ONPU_BATCH_ITEMS;
	items.batch_va = A_VA;
	grouped = x.desc;
	grouped.batch_mode = ONPU_BATCH_GROUPED;
	grouped.batch_va = A_VA;
	BAD_OF(strided, batch, 0);
	BAD_OF(strided, batch, ONPU_MATMUL_BATCH_MAX + 1);
	BAD_OF(strided, batch_va, A_VA);
	BAD_OF(strided, c_stride, 64);		/* no C */
	BAD_OF(strided, d_stride, 1);		/* the second is not aligned */
	BAD_OF(items, a_stride, 64);
	BAD_OF(items, batch_va, 0);
	BAD_OF(items, batch_va, A_VA + 4);
	BAD_OF(items, batch, 0);
	BAD_OF(grouped, a_stride, 64);
	BAD_OF(grouped, d_stride, 64);
	BAD_OF(grouped, residual_stride, 64);
	BAD_OF(grouped, batch_va, A_VA + 2);
	BAD_OF(grouped, batch_va, 0);
	BAD_OF(grouped, flags, ONPU_MATMUL_TRANS_A | ONPU_MATMUL_TRANS_B);
	x.e = e;
	batch_free(&x);
}

/* More matmuls than a turn has, and a kill on the way. */
static void batch_long(void **state)
{
	struct batch x;

	(void)state;
	batch_start(&x, 0);
	x.desc.batch_mode = ONPU_BATCH_STRIDED;
	x.desc.batch = 1000;
	for (uint32_t r = 0; r < B_M; r++)
		batch_row(&x, r, r, 0, 0, r);
	batch_end(&x, 1000);
	x.desc.batch = ONPU_MATMUL_BATCH_MAX;
	submit_desc(&x.e, &x.desc);
	onpu_card_run(x.e.fx->card, 5);
	assert_int_equal(fx_slot(x.e.fx, 0, ONPU_SLOT_STATE), ONPU_SLOT_RUNNING);
	fx_slot_wr(x.e.fx, 0, ONPU_SLOT_CMD, ONPU_SLOT_KILL);
	assert_int_equal(fx_settle(&x.e.q), ONPU_SLOT_KILLED);
	batch_free(&x);
}

static void operand_faults(void **state)
{
	struct onpu_matmul_desc d;
	struct env e;
	uint32_t *dst;

	(void)state;
	start(&e, NULL);
	fx_buffer(e.fx, 1, A_VA, 4096);
	fx_buffer(e.fx, 1, B_VA, 4096);
	fx_buffer(e.fx, 1, C_VA, 4096);
	dst = fx_buffer(e.fx, 1, D_VA, 4096);
	dst[0] = 0x12345678;

	/* The last element of A just over the edge: nothing is written. */
	d = good_desc();
	d.a_va = A_VA + 4096 - 23 * 4;
	submit_desc(&e, &d);
	fx_expect_fault(&e.q, ONPU_FAULT_NOT_PRESENT, ONPU_FAULT_ACCESS_READ, 0, A_VA + 4096);
	assert_int_equal(dst[0], 0x12345678);
	revive(&e);
	/* One element earlier it fits. */
	d.a_va -= 4;
	submit_desc(&e, &d);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	/* D must be writable, C only readable. */
	fx_map(e.fx, 1, C_VA, fx_vram(e.fx, 4096, 4096), 4096, ONPU_PTE_READ);
	fx_map(e.fx, 1, D_VA + 4096, fx_vram(e.fx, 4096, 4096), 4096, ONPU_PTE_READ);
	fx_invalidate(e.fx, 1);
	d.d_va = D_VA + 4096;
	submit_desc(&e, &d);
	fx_expect_fault(&e.q, ONPU_FAULT_PERMISSION, ONPU_FAULT_ACCESS_WRITE, 0, D_VA + 4096);
	revive(&e);
	/* Strides that leave the address space, or overflow on the way there. */
	d = good_desc();
	d.ldb = 1ull << 32;
	d.k = 1u << 17;
	d.lda = d.k;
	d.m = 1;
	submit_desc(&e, &d);
	fx_expect_error(&e.q, ONPU_ERR_FAULT);
	revive(&e);
	/* The descriptor itself. */
	struct onpu_packet p = pk_matmul(DESC + 4096);

	fx_submit(&e.q, &p);
	fx_expect_fault(&e.q, ONPU_FAULT_NOT_PRESENT, ONPU_FAULT_ACCESS_READ, 0, DESC + 4096);
	fx_destroy(e.fx);
}

/* Rows far apart: only the pages that they touch need be there. */
static void sparse_rows(void **state)
{
	struct onpu_matmul_desc d = good_desc();
	struct env e;
	float *row[4], *b, *dst;

	(void)state;
	start(&e, NULL);
	for (unsigned int i = 0; i < 4; i++) {
		row[i] = fx_buffer(e.fx, 1, A_VA + ((uint64_t)i << 33), 4096);
		for (unsigned int j = 0; j < 6; j++)
			row[i][j] = (float)(i + 1);
	}
	b = fx_buffer(e.fx, 1, B_VA, 4096);
	for (unsigned int j = 0; j < 30; j++)
		b[j] = 1.0f;
	dst = fx_buffer(e.fx, 1, D_VA, 4096);
	d.flags = 0;
	d.c_type = 0;
	d.c_va = 0;
	d.ldc = 0;
	d.lda = 1ull << 31;
	submit_desc(&e, &d);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	for (unsigned int i = 0; i < 20; i++)
		assert_true(dst[i] == (float)(6 * (i / 5 + 1)));
	fx_destroy(e.fx);
}

/* A whole address space of pages that are all the same: refused, and quickly. */
static void too_many_segments(void **state)
{
	struct onpu_matmul_desc d = {
		.a_type = ONPU_DTYPE_I8, .b_type = ONPU_DTYPE_I8, .d_type = ONPU_DTYPE_I32,
		.m = 1u << 18, .n = 1, .k = 1u << 18, .a_va = A_VA, .b_va = A_VA, .d_va = A_VA,
		.lda = 1u << 18, .ldb = 1, .ldd = 1,
	};
	uint64_t page, table;
	struct env e;

	(void)state;
	start(&e, NULL);
	page = fx_vram(e.fx, 4096, 4096);
	fx_map(e.fx, 1, A_VA, page, 2u << 20, RW);
	for (unsigned int i = 0; i < 512; i++)
		fx_store(fx_pte(e.fx, 1, A_VA + 4096 * i, 0), page | RW | ONPU_PTE_VALID |
			 ONPU_PTE_LEAF);
	table = fx_load(fx_pte(e.fx, 1, A_VA, 1));
	for (unsigned int i = 0; i < 65536 / 2 + 512; i++)
		fx_store(fx_pte(e.fx, 1, A_VA + ((uint64_t)i << 21), 1), table);
	submit_desc(&e, &d);
	fx_expect_error(&e.q, ONPU_ERR_INTERNAL);
	fx_destroy(e.fx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(types_and_flags),
		cmocka_unit_test(random_shapes),
		cmocka_unit_test(blocks),
		cmocka_unit_test(bad_descriptors),
		cmocka_unit_test(bad_scales),
		cmocka_unit_test(formats),
		cmocka_unit_test(epilogues),
		cmocka_unit_test(batch_strided),
		cmocka_unit_test(batch_items),
		cmocka_unit_test(batch_grouped),
		cmocka_unit_test(batch_bad),
		cmocka_unit_test(batch_long),
		cmocka_unit_test(operand_faults),
		cmocka_unit_test(sparse_rows),
		cmocka_unit_test(too_many_segments),
	};

	return cmocka_run_group_tests_name("matmul", tests, NULL, NULL);
}

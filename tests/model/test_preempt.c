// SPDX-License-Identifier: MIT
/*
 * How long a matmul holds its slot at most when it is told to leave, in engine time (hardware.md, section
 * 11): the largest shapes, of each kind of types, are suspended over and over, each time as soon as
 * they go on. What was done in between is what a suspension may have to wait for.
 *
 * Operands are mapped to nothing, but for one page of A in host memory: mapping it tells that the
 * matmul has begun.
 */
#include <string.h>

#include "card_fixture.h"

#define VA	0x10000000ull
#define A_VA	(1ull << 40)
#define B_VA	(2ull << 40)
#define D_VA	(3ull << 40)
#define HUGE	(2ull << 20)
#define MAX	ONPU_DIM_MAX

/* The bounds of hardware.md, section 4, in ns. */
#define PLAIN_NS	200000u		/* sums can wait in D */
#define LONG_NS		2000000u	/* with an epilogue they cannot: whole K at a time */
/* Few rows are not stopped half-way: 2^28 multiply-adds, which take a processor without vectors about half a second. */
#define SLOW_NS		12000u

struct shape {
	const char *name;
	uint32_t m, n, k;
	uint8_t type, sum;
	bool trans_b, epilogue;
	unsigned int stops;
};

static const struct shape shapes[] = {
	{ "F32", MAX, MAX, MAX, ONPU_DTYPE_F32, ONPU_DTYPE_F32, false, false, 3 },
	{ "F32, B transposed", MAX, MAX, MAX, ONPU_DTYPE_F32, ONPU_DTYPE_F32, true, false, 2 },
	{ "F32, one row", 1, MAX, MAX, ONPU_DTYPE_F32, ONPU_DTYPE_F32, true, false, 4 },
	{ "F32, few rows", 16, MAX, MAX, ONPU_DTYPE_F32, ONPU_DTYPE_F32, false, false, 3 },
	{ "F32, one column", MAX, 1, MAX, ONPU_DTYPE_F32, ONPU_DTYPE_F32, false, false, 3 },
	{ "F32, K = 1", MAX, MAX, 1, ONPU_DTYPE_F32, ONPU_DTYPE_F32, false, false, 3 },
	{ "F32, epilogue", MAX, MAX, MAX, ONPU_DTYPE_F32, ONPU_DTYPE_F32, false, true, 1 },
	{ "BF16", MAX, MAX, MAX, ONPU_DTYPE_BF16, ONPU_DTYPE_F32, true, false, 2 },
	{ "E4M3", MAX, MAX, MAX, ONPU_DTYPE_E4M3, ONPU_DTYPE_F32, true, false, 2 },
	{ "I8", MAX, MAX, MAX, ONPU_DTYPE_I8, ONPU_DTYPE_I32, true, false, 2 },
	{ "I4", MAX, MAX, MAX, ONPU_DTYPE_I4, ONPU_DTYPE_I32, true, false, 2 },
};

/* [va, va + size) in pages of the level, whole ones. */
static void map_nothing(struct fx *fx, uint64_t va, uint64_t size, unsigned int level, uint64_t flags)
{
	for (uint64_t off = 0; off < size; off += level ? HUGE : 4096)
		fx_store(fx_pte(fx, 1, va + off, level),
			 flags | ONPU_PTE_NULL | ONPU_PTE_VALID | ONPU_PTE_LEAF);
}

/* Bytes of rows by cols elements. */
static uint64_t bytes(uint64_t rows, uint64_t cols, uint32_t type)
{
	return rows * cols * onpu_gemm_elem_bits(type) / 8;
}

static void map_operands(struct fx *fx, const struct shape *s)
{
	uint64_t host = fx_hostmem(fx, 4096, 4096);

	fx_map(fx, 1, A_VA, host, 4096, ONPU_PTE_READ | ONPU_PTE_HOST);
	map_nothing(fx, A_VA + 4096, HUGE - 4096, 0, ONPU_PTE_READ);
	map_nothing(fx, A_VA + HUGE, bytes(s->m, s->k, s->type), 1, ONPU_PTE_READ);
	map_nothing(fx, B_VA, bytes(s->k, s->n, s->type), 1, ONPU_PTE_READ);
	map_nothing(fx, D_VA, bytes(s->m, s->n, ONPU_DTYPE_F32), 1, ONPU_PTE_READ | ONPU_PTE_WRITE);
}

static struct onpu_matmul_desc describe(const struct shape *s)
{
	return (struct onpu_matmul_desc){
		.a_type = s->type, .b_type = s->type, .d_type = (uint8_t)s->sum,
		.flags = (s->trans_b ? ONPU_MATMUL_TRANS_B : 0) |
			 (s->epilogue ? ONPU_MATMUL_ALPHA : 0),
		.alpha = s->epilogue ? 0x3f000000 : 0,
		.m = s->m, .n = s->n, .k = s->k, .a_va = A_VA, .b_va = B_VA, .d_va = D_VA,
		.lda = s->k, .ldb = s->trans_b ? s->k : s->n, .ldd = s->n,
	};
}

static void add_part(struct onpu_demand *demand, uint32_t m, uint32_t n, uint32_t k)
{
	if (m && n && k)
		onpu_cost_add_matmul(demand, m, n, k);
}

/* Time for what has been done of a matmul, by the cores and to store D. */
static uint64_t time_until(struct fx *fx, const struct shape *s, const struct matmul_progress *at)
{
	const struct onpu_speed *speed = &fx->card->speed;
	struct onpu_demand demand = { 0 };
	uint64_t ns[ONPU_ENGINES];

	demand.macs = onpu_cost_macs(speed, onpu_gemm_elem_bits(s->type), onpu_gemm_elem_bits(s->type));
	add_part(&demand, at->m, s->n, s->k);
	add_part(&demand, at->bm, at->n, s->k);
	add_part(&demand, at->bm, at->bn, at->k);
	add_part(&demand, at->part_m, at->bn, at->part_k);
	demand.bytes[ONPU_ENGINE_VRAM] = 4 * ((uint64_t)at->m * s->n + (uint64_t)at->bm * at->n +
					     (uint64_t)at->part_m * at->bn);
	onpu_cost_times(speed, &demand, ns);
	return ns[ONPU_ENGINE_CORES] > ns[ONPU_ENGINE_VRAM] ? ns[ONPU_ENGINE_CORES] :
							      ns[ONPU_ENGINE_VRAM];
}

static void stop_now(struct fx *fx)
{
	struct fx_queue *q = fx->hook_arg;

	fx_slot_wr(fx, q->slot, ONPU_SLOT_CMD, ONPU_SLOT_SUSPEND);
}

/* The longest time from one stop to the next. */
static uint64_t longest_part(const struct shape *s, const char *isa)
{
	struct fx_opts opts = { .vram_size = 64ull << 20, .isa = isa };
	struct fx *fx = fx_create(&opts);
	struct onpu_matmul_desc desc = describe(s);
	struct onpu_packet p = pk_matmul(VA);
	uint64_t longest = 0, before = 0, now;
	struct fx_queue q;

	fx_context(fx, 1);
	fx_queue_init(&q, fx, 0, 0, 1, 4, 0);
	memcpy(fx_buffer(fx, 1, VA, 4096), &desc, sizeof(desc));
	map_operands(fx, s);
	fx->hook_arg = &q;
	fx->on_map = stop_now;
	fx_submit(&q, &p);
	for (unsigned int i = 0; i < s->stops; i++) {
		const struct matmul_progress *at = &fx->card->slots[q.slot].mm;

		fx_run(fx);
		assert_int_equal(fx_slot(fx, q.slot, ONPU_SLOT_ERROR), 0);
		assert_int_equal(fx_slot(fx, q.slot, ONPU_SLOT_STATE), ONPU_SLOT_SUSPENDED);
		now = time_until(fx, s, at);
		assert_true(now > before);
		if (now - before > longest)
			longest = now - before;
		before = now;
		fx_resume(&q, (q.slot + 1) % 4, fx_suspend(&q));
	}
	fx->on_map = NULL;
	fx_destroy(fx);
	return longest;
}

static void bounded(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(shapes); i++) {
		const struct shape *s = &shapes[i];
		uint64_t ns = longest_part(s, NULL);

		print_message("%s, %u x %u x %u: %.1f us of engine time\n", s->name, s->m, s->n,
			      s->k, (double)ns / 1e3);
		assert_true(ns <= (s->epilogue ? LONG_NS : PLAIN_NS));
	}
}

static void few_rows_without_vectors(void **state)
{
	static const struct shape s = {
		"F32, few rows, no vectors", 16, MAX, MAX, ONPU_DTYPE_F32, ONPU_DTYPE_F32, false, false, 2
	};

	(void)state;
	assert_in_range(longest_part(&s, "scalar"), 1, SLOW_NS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bounded),
		cmocka_unit_test(few_rows_without_vectors),
	};

	return cmocka_run_group_tests_name("preempt", tests, NULL, NULL);
}

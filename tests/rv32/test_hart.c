// SPDX-License-Identifier: MIT
/*
 * The simulator as a library: CSR access table, memory regions, bus calls,
 * interrupts, stopping, saving and restoring, limits.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "rv32.h"

#define BASE	0x10000u
#define SIZE	0x1000u

#define NOP	0x00000013u
#define WFI	0x10500073u
#define EBREAK	0x00100073u
#define SELF	0x0000006fu	/* jal x0, 0 */

struct box {
	struct onpu_rv32 *hart;
	uint32_t *mem;
	uint32_t last_addr, last_value;
	unsigned int last_size, loads, stores;
	int bus_error;
};

static int bus_load(void *opaque, uint32_t addr, unsigned int size,
		    uint32_t *v)
{
	struct box *b = opaque;

	b->loads++;
	b->last_addr = addr;
	b->last_size = size;
	*v = 0xdeadbeef;
	return b->bus_error;
}

static int bus_store(void *opaque, uint32_t addr, unsigned int size,
		     uint32_t v)
{
	struct box *b = opaque;

	b->stores++;
	b->last_addr = addr;
	b->last_size = size;
	b->last_value = v;
	return b->bus_error;
}

static void add(struct box *b, uint32_t base, uint32_t size, void *ptr,
		bool w, bool x, int expected)
{
	struct onpu_rv32_region r = { .base = base, .size = size, .ptr = ptr,
				      .writable = w, .executable = x };

	assert_int_equal(onpu_rv32_add_region(b->hart, &r), expected);
}

static int setup(void **state)
{
	struct box *b = calloc(1, sizeof(*b));
	struct onpu_rv32_config config = {
		.reset_pc = BASE, .hartid = 7, .vendorid = 0x11,
		.archid = 0x22, .impid = 0x33,
		.bus = { bus_load, bus_store }, .opaque = b,
	};

	b->hart = onpu_rv32_create(&config);
	b->mem = calloc(1, SIZE);
	add(b, BASE, SIZE, b->mem, true, true, 0);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct box *b = *state;

	onpu_rv32_destroy(b->hart);
	free(b->mem);
	free(b);
	return 0;
}

static struct onpu_rv32_state get(struct box *b)
{
	struct onpu_rv32_state s;

	onpu_rv32_get_state(b->hart, &s);
	return s;
}

/* --- CSRs -------------------------------------------------------------------- */

enum access { NONE, RO, RW };

/* Written from the privileged specification, not from the simulator. */
static enum access csr_access(uint32_t csr)
{
	static const struct { uint16_t first, last; enum access access; } t[] = {
		{ 0x300, 0x301, RW },	/* mstatus, misa */
		{ 0x304, 0x305, RW },	/* mie, mtvec */
		{ 0x310, 0x310, RW },	/* mstatush */
		{ 0x320, 0x320, RW },	/* mcountinhibit */
		{ 0x323, 0x33f, RW },	/* mhpmevent3..31 */
		{ 0x340, 0x344, RW },	/* mscratch mepc mcause mtval mip */
		{ 0x7a0, 0x7a2, RW },	/* tselect tdata1 tdata2 */
		{ 0xb00, 0xb00, RW },	/* mcycle */
		{ 0xb02, 0xb1f, RW },	/* minstret, mhpmcounter3..31 */
		{ 0xb80, 0xb80, RW },
		{ 0xb82, 0xb9f, RW },
		{ 0xc00, 0xc00, RO },	/* cycle */
		{ 0xc02, 0xc02, RO },	/* instret */
		{ 0xc80, 0xc80, RO },
		{ 0xc82, 0xc82, RO },
		{ 0xf11, 0xf15, RO },	/* ids, mconfigptr */
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		if (csr >= t[i].first && csr <= t[i].last)
			return t[i].access;
	}
	return NONE;
}

/* All 4,096 numbers, every operation, with and without a source. */
static void test_csr_table(void **state)
{
	struct box *b = *state;

	for (uint32_t csr = 0; csr < 4096; csr++) {
		for (uint32_t f3 = 1; f3 < 8; f3++) {
			for (uint32_t rs1 = 0; rs1 < 2; rs1++) {
				bool writes = (f3 & 3) == 1 || rs1;
				enum access a = csr_access(csr);
				bool ok = a == RW || (a == RO && !writes);
				struct onpu_rv32_state s;

				if (f3 == 4)
					continue;
				onpu_rv32_reset(b->hart);
				s = get(b);
				s.mtvec = BASE + 0x800;
				s.x[1] = 0;
				s.x[5] = 0x5a5a;
				onpu_rv32_set_state(b->hart, &s);
				b->mem[0] = csr << 20 | rs1 << 15 | f3 << 12 |
					    5 << 7 | 0x73;
				onpu_rv32_run(b->hart, 1, NULL);
				s = get(b);
				if ((s.pc == BASE + 4) != ok)
					fail_msg("csr %#x f3 %u rs1 %u: pc %#x",
						 csr, f3, rs1, s.pc);
				if (!ok) {
					assert_int_equal(s.mcause, 2);
					assert_int_equal(s.mtval, b->mem[0]);
					assert_int_equal(s.x[5], 0x5a5a);
				}
			}
		}
	}
}

static void test_ids(void **state)
{
	struct box *b = *state;
	const uint32_t expected[] = { 0x11, 0x22, 0x33, 7, 0 };

	for (uint32_t i = 0; i < 5; i++) {
		onpu_rv32_reset(b->hart);
		b->mem[0] = (0xf11 + i) << 20 | 2 << 12 | 5 << 7 | 0x73;
		onpu_rv32_run(b->hart, 1, NULL);
		assert_int_equal(get(b).x[5], expected[i]);
	}
}

/* --- memory and bus ------------------------------------------------------------ */

static void test_regions(void **state)
{
	static uint32_t m[64];
	struct box *b = *state;

	add(b, 0x20002, 64, m, true, true, -EINVAL);
	add(b, 0x20000, 62, m, true, true, -EINVAL);
	add(b, 0x20000, 0, m, true, true, -EINVAL);
	add(b, 0x20000, 64, NULL, true, true, -EINVAL);
	add(b, 0x20000, 64, (char *)m + 1, true, true, -EINVAL);
	add(b, 0xfffffff0, 0x20, m, true, true, -EINVAL);
	add(b, BASE + SIZE - 4, 8, m, true, true, -EINVAL);
	add(b, BASE - 4, 8, m, true, true, -EINVAL);
	add(b, BASE - 4, SIZE + 8, m, true, true, -EINVAL);
	add(b, BASE + 16, 16, m, true, true, -EINVAL);
	add(b, 0xfffffff0, 0x10, m, true, true, 0);
	for (int i = 2; i < ONPU_RV32_MAX_REGIONS; i++)
		add(b, 0x100000u * (unsigned int)i, 16, m, true, true, 0);
	add(b, 0x2000000, 16, m, true, true, -ENOSPC);
}

/* Runs one load (or store) of @f3 with base register @addr. */
static struct onpu_rv32_state access_at(struct box *b, uint32_t addr,
					uint32_t f3, bool store)
{
	struct onpu_rv32_state s;

	onpu_rv32_reset(b->hart);
	s = get(b);
	s.x[1] = addr;
	s.x[2] = 0x89abcdef;
	s.mtvec = BASE + 0x800;
	onpu_rv32_set_state(b->hart, &s);
	b->mem[0] = store ? 2 << 20 | 1 << 15 | f3 << 12 | 0x23 :
			    1 << 15 | f3 << 12 | 2 << 7 | 0x03;
	onpu_rv32_run(b->hart, 1, NULL);
	return get(b);
}

static void test_bus(void **state)
{
	struct box *b = *state;

	assert_int_equal(access_at(b, 0x50000, 2, false).x[2], 0xdeadbeef);
	assert_int_equal(b->last_addr, 0x50000);
	assert_int_equal(b->last_size, 4);
	/* The bus function may leave anything in the upper bits. */
	assert_int_equal(access_at(b, 0x50001, 0, false).x[2], 0xffffffef);
	assert_int_equal(access_at(b, 0x50001, 4, false).x[2], 0xef);
	assert_int_equal(access_at(b, 0x50002, 1, false).x[2], 0xffffbeef);
	assert_int_equal(access_at(b, 0x50002, 5, false).x[2], 0xbeef);
	assert_int_equal(b->last_size, 2);
	access_at(b, 0x50003, 0, true);
	assert_int_equal(b->last_value, 0xef);
	assert_int_equal(b->last_size, 1);
	access_at(b, 0x50002, 1, true);
	assert_int_equal(b->last_value, 0xcdef);
	access_at(b, 0x50000, 2, true);
	assert_int_equal(b->last_value, 0x89abcdef);
	/* Misaligned device accesses never reach the bus. */
	b->loads = b->stores = 0;
	assert_int_equal(access_at(b, 0x50001, 2, false).mcause, 4);
	assert_int_equal(access_at(b, 0x50001, 1, true).mcause, 6);
	assert_int_equal(b->loads + b->stores, 0);
	/* A refusal is an access fault with the address. */
	b->bus_error = -1;
	assert_int_equal(access_at(b, 0x50000, 2, false).mcause, 5);
	assert_int_equal(access_at(b, 0x50000, 2, true).mcause, 7);
	assert_int_equal(get(b).mtval, 0x50000);
	assert_int_equal(get(b).x[2], 0x89abcdef);
}

static void test_permissions(void **state)
{
	static uint32_t rom[4], data[4] = { NOP, NOP, NOP, NOP };
	struct box *b = *state;
	struct onpu_rv32_state s;

	add(b, 0x20000, sizeof(rom), rom, false, true, 0);
	add(b, 0x20010, sizeof(data), data, true, false, 0);
	assert_int_equal(access_at(b, 0x20000, 2, true).mcause, 7);
	assert_int_equal(access_at(b, 0x20001, 2, true).mcause, 7);
	assert_int_equal(rom[0], 0);
	assert_int_equal(access_at(b, 0x20010, 2, true).mcause, 0);
	assert_int_equal(data[0], 0x89abcdef);
	/* Across two regions: misaligned, and not performed at all. */
	assert_int_equal(access_at(b, 0x2000e, 2, true).mcause, 6);
	assert_int_equal(access_at(b, 0x2000e, 2, false).mcause, 4);
	assert_int_equal(data[0], 0x89abcdef);
	/* Data is not code, although a data access came just before. */
	access_at(b, 0x20010, 2, false);
	s = get(b);
	s.pc = 0x20014;
	onpu_rv32_set_state(b->hart, &s);
	onpu_rv32_run(b->hart, 1, NULL);
	assert_int_equal(get(b).mcause, ONPU_RV32_EXC_FETCH_FAULT);
	assert_int_equal(get(b).mtval, 0x20014);
}

/* Regions whose end is the end of the address space. */
static void test_top_of_memory(void **state)
{
	static uint32_t top[4];
	struct box *b = *state;

	add(b, 0xfffffff0, 16, top, true, true, 0);
	access_at(b, 0xfffffffc, 2, true);
	assert_int_equal(top[3], 0x89abcdef);
	assert_int_equal(access_at(b, 0xfffffffe, 2, true).mcause, 6);
	assert_int_equal(access_at(b, 0xffffffff, 0, false).x[2], 0xffffff89);
	/* Code that runs over the top goes on at zero, where nothing is. */
	top[3] = NOP;
	struct onpu_rv32_state s = get(b);

	s.pc = 0xfffffffc;
	s.mtvec = BASE;
	onpu_rv32_set_state(b->hart, &s);
	onpu_rv32_run(b->hart, 2, NULL);
	assert_int_equal(get(b).mepc, 0);
	assert_int_equal(get(b).mcause, ONPU_RV32_EXC_FETCH_FAULT);
}

/* --- running and stopping -------------------------------------------------------- */

static void test_limits(void **state)
{
	struct box *b = *state;
	uint64_t n;

	b->mem[0] = SELF;
	assert_int_equal(onpu_rv32_run(b->hart, 12345, &n), ONPU_RV32_LIMIT);
	assert_int_equal(n, 12345);
	assert_int_equal(get(b).minstret, 12345);
	assert_int_equal(onpu_rv32_run(b->hart, 0, &n), ONPU_RV32_LIMIT);
	assert_int_equal(n, 0);
	/* Traps that trap are bounded as well, and count as cycles only. */
	onpu_rv32_reset(b->hart);
	struct onpu_rv32_state s = get(b);

	s.mtvec = BASE + 0x100;
	onpu_rv32_set_state(b->hart, &s);
	b->mem[0] = b->mem[0x40] = EBREAK;
	assert_int_equal(onpu_rv32_run(b->hart, 1000, &n), ONPU_RV32_LIMIT);
	assert_int_equal(n, 1000);
	assert_int_equal(get(b).minstret, 0);
	assert_int_equal(get(b).mcycle, 1000);
}

static void test_lockup(void **state)
{
	struct box *b = *state;
	uint64_t n;

	b->mem[0] = 0; /* illegal, and the vector leads nowhere */
	assert_int_equal(onpu_rv32_run(b->hart, 1000, &n), ONPU_RV32_LOCKUP);
	assert_in_range(n, 1, 3);
	assert_int_equal(get(b).mcause, ONPU_RV32_EXC_ILLEGAL);
	assert_int_equal(get(b).mepc, BASE);
	assert_int_equal(onpu_rv32_run(b->hart, 1000, &n), ONPU_RV32_LOCKUP);
	assert_int_equal(n, 0);
	onpu_rv32_reset(b->hart);
	b->mem[0] = NOP;
	assert_int_equal(onpu_rv32_run(b->hart, 1, &n), ONPU_RV32_LIMIT);
}

static void test_ebreak(void **state)
{
	struct box *b = *state;

	b->mem[0] = EBREAK;
	onpu_rv32_stop_on_ebreak(b->hart, true);
	assert_int_equal(onpu_rv32_run(b->hart, 10, NULL), ONPU_RV32_EBREAK);
	assert_int_equal(get(b).pc, BASE);
	assert_int_equal(get(b).minstret, 0);
	onpu_rv32_stop_on_ebreak(b->hart, false);
	onpu_rv32_run(b->hart, 1, NULL);
	assert_int_equal(get(b).mcause, ONPU_RV32_EXC_BREAKPOINT);
}

static void test_wfi_and_irq(void **state)
{
	struct box *b = *state;
	struct onpu_rv32_state s;
	uint64_t n;

	b->mem[0] = WFI;
	b->mem[1] = SELF;
	s = get(b);
	s.mie = 1u << ONPU_RV32_IRQ_EXT;
	s.mtvec = BASE + 0x101; /* vectored */
	onpu_rv32_set_state(b->hart, &s);
	assert_int_equal(onpu_rv32_run(b->hart, 100, &n), ONPU_RV32_WFI);
	assert_int_equal(n, 1);
	assert_int_equal(onpu_rv32_run(b->hart, 100, &n), ONPU_RV32_WFI);
	assert_int_equal(n, 0);
	/* A line that is not enabled does not wake it. */
	onpu_rv32_set_irq(b->hart, ONPU_RV32_IRQ_TIMER, true);
	assert_int_equal(onpu_rv32_run(b->hart, 100, &n), ONPU_RV32_WFI);
	assert_true(onpu_rv32_irq_level(b->hart, ONPU_RV32_IRQ_TIMER));
	assert_false(onpu_rv32_irq_level(b->hart, ONPU_RV32_IRQ_EXT));
	onpu_rv32_set_irq(b->hart, ONPU_RV32_IRQ_EXT, true);
	assert_int_equal(onpu_rv32_run(b->hart, 100, &n), ONPU_RV32_LIMIT);
	assert_int_equal(n, 100);
	assert_int_equal(get(b).pc, BASE + 4);
	/* With MIE it goes to its vector. */
	s = get(b);
	s.mstatus |= 8;
	onpu_rv32_set_state(b->hart, &s);
	b->mem[0x40 + 11] = SELF;
	onpu_rv32_run(b->hart, 5, NULL);
	assert_int_equal(get(b).pc, BASE + 0x100 + 44);
	assert_int_equal(get(b).mcause, 0x8000000b);
	assert_int_equal(get(b).mepc, BASE + 4);
	/* Lines that do not exist are ignored. */
	onpu_rv32_set_irq(b->hart, 31, true);
	onpu_rv32_set_irq(b->hart, 5, true);
	onpu_rv32_set_irq(b->hart, 77, true);
	assert_int_equal(onpu_rv32_run(b->hart, 5, NULL), ONPU_RV32_LIMIT);
	assert_false(onpu_rv32_irq_level(b->hart, 5));
	assert_false(onpu_rv32_irq_level(b->hart, 77));
}

static void *stop_soon(void *arg)
{
	usleep(20000);
	onpu_rv32_stop(arg);
	return NULL;
}

static void test_stop_from_thread(void **state)
{
	struct box *b = *state;
	pthread_t t;
	uint64_t n;

	b->mem[0] = SELF;
	assert_int_equal(pthread_create(&t, NULL, stop_soon, b->hart), 0);
	assert_int_equal(onpu_rv32_run(b->hart, UINT64_MAX, &n),
			 ONPU_RV32_STOPPED);
	pthread_join(t, NULL);
	assert_int_equal(get(b).minstret, n);
	/* Stopping an idle hart makes the next run return once. */
	onpu_rv32_stop(b->hart);
	assert_int_equal(onpu_rv32_run(b->hart, 10, &n), ONPU_RV32_STOPPED);
	assert_int_equal(n, 0);
	assert_int_equal(onpu_rv32_run(b->hart, 10, &n), ONPU_RV32_LIMIT);
	/* Also in its sleep. */
	b->mem[0] = WFI;
	assert_int_equal(onpu_rv32_run(b->hart, 10, NULL), ONPU_RV32_WFI);
	onpu_rv32_stop(b->hart);
	assert_int_equal(onpu_rv32_run(b->hart, 10, NULL), ONPU_RV32_STOPPED);
	assert_int_equal(onpu_rv32_run(b->hart, 10, NULL), ONPU_RV32_WFI);
}

/* --- saving and restoring ----------------------------------------------------------- */

static uint32_t next_random(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

/* Random code runs the same in one go and with a restore at every step. */
static void test_save_restore(void **state)
{
	struct box *b = *state;
	uint32_t *start = malloc(SIZE), seed = 5;
	struct onpu_rv32_state s, whole;

	for (int round = 0; round < 200; round++) {
		onpu_rv32_reset(b->hart);
		for (uint32_t i = 0; i < SIZE / 4; i++)
			b->mem[i] = next_random(&seed);
		memcpy(start, b->mem, SIZE);
		s = get(b);
		s.mtvec = BASE + 0x200;
		for (int i = 1; i < 32; i++)
			s.x[i] = BASE + next_random(&seed) % SIZE;
		onpu_rv32_set_state(b->hart, &s);
		onpu_rv32_run(b->hart, 300, NULL);
		whole = get(b);

		memcpy(b->mem, start, SIZE);
		onpu_rv32_reset(b->hart);
		onpu_rv32_set_state(b->hart, &s);
		for (int i = 0; i < 300; i++) {
			struct onpu_rv32_state t;

			onpu_rv32_run(b->hart, 1, NULL);
			t = get(b);
			onpu_rv32_reset(b->hart);
			onpu_rv32_set_state(b->hart, &t);
		}
		s = get(b);
		assert_memory_equal(&s, &whole, sizeof(s));
	}
	free(start);
}

/* Any bytes as a state: made legal, never harmful. */
static void test_hostile_state(void **state)
{
	struct box *b = *state;
	uint32_t seed = 77;

	for (int round = 0; round < 2000; round++) {
		struct onpu_rv32_state s;
		uint32_t *w = (uint32_t *)&s;

		for (size_t i = 0; i < sizeof(s) / 4; i++)
			w[i] = next_random(&seed);
		onpu_rv32_set_state(b->hart, &s);
		s = get(b);
		assert_int_equal(s.x[0], 0);
		assert_int_equal(s.pc & 1, 0);
		assert_int_equal(s.mepc & 1, 0);
		assert_int_equal(s.mtvec & 2, 0);
		assert_int_equal(s.mie & ~0x888u, 0);
		assert_int_equal(s.lines & ~0x888u, 0);
		assert_int_equal(s.mstatus & ~0x88u, 0x1800);
		onpu_rv32_run(b->hart, 20, NULL);
	}
}

static unsigned int traced;
static uint32_t trace_pc[4], trace_insn[4];

static void on_insn(void *opaque, uint32_t pc, uint32_t insn)
{
	assert_ptr_equal(opaque, trace_pc);
	if (traced < 4) {
		trace_pc[traced] = pc;
		trace_insn[traced] = insn;
	}
	traced++;
}

static void test_trace(void **state)
{
	struct box *b = *state;

	traced = 0;
	b->mem[0] = 0x00010001; /* two c.nop */
	b->mem[1] = NOP;
	b->mem[2] = SELF;
	onpu_rv32_set_trace(b->hart, on_insn, trace_pc);
	onpu_rv32_run(b->hart, 4, NULL);
	onpu_rv32_set_trace(b->hart, NULL, NULL);
	onpu_rv32_run(b->hart, 4, NULL);
	assert_int_equal(traced, 4);
	assert_int_equal(trace_pc[1], BASE + 2);
	assert_int_equal(trace_insn[1], 1);
	assert_int_equal(trace_pc[3], BASE + 8);
	assert_int_equal(trace_insn[2], NOP);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_csr_table),
		TEST(test_ids),
		TEST(test_regions),
		TEST(test_bus),
		TEST(test_permissions),
		TEST(test_top_of_memory),
		TEST(test_limits),
		TEST(test_lockup),
		TEST(test_ebreak),
		TEST(test_wfi_and_irq),
		TEST(test_stop_from_thread),
		TEST(test_save_restore),
		TEST(test_hostile_state),
		TEST(test_trace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

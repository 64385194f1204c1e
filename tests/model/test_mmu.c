// SPDX-License-Identifier: MIT
/*
 * MMU and TLB: every fault reason at every level, page sizes, rights, targets,
 * addresses at the edges, staleness and invalidation.
 */
#include <string.h>

#include "card_fixture.h"

#define VA	0x10000000ull

struct env {
	struct fx *fx;
	struct fx_queue q;
	uint8_t *buf;
};

static void start(struct env *e, uint32_t flags)
{
	e->fx = fx_create(NULL);
	fx_context(e->fx, 1);
	e->buf = fx_buffer(e->fx, 1, VA, 8192);
	fx_queue_init(&e->q, e->fx, 0, 3, 1, 4, flags);
}

static void finish(struct env *e)
{
	assert_int_equal(e->fx->guest_errors, 0);
	fx_destroy(e->fx);
}

static void revive(struct env *e)
{
	fx_unbind(&e->q);
	fx_slot_wr(e->fx, 0, ONPU_SLOT_CONSUMER, e->q.producer);
	fx_slot_wr(e->fx, 0, ONPU_SLOT_CMD, ONPU_SLOT_BIND);
	fx_invalidate(e->fx, 1);
	fx_settle(&e->q);
}

static void store(struct env *e, uint64_t va, uint64_t value)
{
	struct onpu_packet p = pk_signal(va, value, false);

	fx_submit(&e->q, &p);
}

static void expect_store_fault(struct env *e, uint64_t va, uint32_t reason, uint32_t level)
{
	uint64_t faults = fx_rd64(e->fx, ONPU_REG_CNT_FAULTS);

	store(e, va, 1);
	fx_expect_fault(&e->q, reason, ONPU_FAULT_ACCESS_WRITE, level, va);
	assert_int_equal(fx_rd64(e->fx, ONPU_REG_CNT_FAULTS), faults + 1);
	revive(e);
}

static void expect_store_ok(struct env *e, uint64_t va)
{
	static uint64_t value = 1000;

	store(e, va, ++value);
	assert_int_equal(fx_settle(&e->q), ONPU_SLOT_IDLE);
}

static void not_present(void **state)
{
	struct env e;

	(void)state;
	start(&e, 0);
	for (unsigned int level = 0; level < 4; level++) {
		uint64_t va = 0x7f0000000000 + 8 * level;
		uint64_t *pte;

		if (level < 3)
			fx_map(e.fx, 1, va & ~4095ull, fx_vram(e.fx, 4096, 4096), 4096, RW);
		else
			va = 0x110000000000;
		pte = fx_pte(e.fx, 1, va, level);
		/* All other bits set: ignored without VALID. */
		fx_store(pte, ~ONPU_PTE_VALID);
		expect_store_fault(&e, va, ONPU_FAULT_NOT_PRESENT, level);
		fx_store(pte, 0);
		expect_store_fault(&e, va, ONPU_FAULT_NOT_PRESENT, level);
	}
	finish(&e);
}

static void reserved_bits(void **state)
{
	struct env e;

	(void)state;
	start(&e, 0);
	for (unsigned int level = 0; level < 4; level++) {
		uint64_t named = level ? ONPU_PTE_TABLE_BITS : ONPU_PTE_LEAF_BITS;
		uint64_t *pte = fx_pte(e.fx, 1, VA, level), good = fx_load(pte);

		for (unsigned int bit = 0; bit < 64; bit++) {
			if (named >> bit & 1)
				continue;
			/* LEAF in a level-1 entry makes it a 2 MiB page: another test. */
			if (level == 1 && 1ull << bit == ONPU_PTE_LEAF)
				continue;
			fx_store(pte, good | 1ull << bit);
			fx_invalidate(e.fx, 1);
			expect_store_fault(&e, VA, ONPU_FAULT_RESERVED, level);
			fx_store(pte, good);
		}
		fx_invalidate(e.fx, 1);
		expect_store_ok(&e, VA);
	}
	/* A level-0 entry that is not a leaf. */
	fx_store(fx_pte(e.fx, 1, VA, 0), fx_load(fx_pte(e.fx, 1, VA, 0)) & ~ONPU_PTE_LEAF);
	fx_invalidate(e.fx, 1);
	expect_store_fault(&e, VA, ONPU_FAULT_RESERVED, 0);
	finish(&e);
}

static void addresses(void **state)
{
	struct env e;
	uint64_t *pte, good;

	(void)state;
	start(&e, 0);
	/* Tables and pages at and beyond the end of card memory. */
	for (unsigned int level = 0; level < 4; level++) {
		pte = fx_pte(e.fx, 1, VA, level);
		good = fx_load(pte);
		fx_store(pte, (good & ~ONPU_PTE_ADDR) | e.fx->vram_size);
		fx_invalidate(e.fx, 1);
		expect_store_fault(&e, VA, ONPU_FAULT_ADDRESS, level ? level - 1 : 0);
		fx_store(pte, good | ONPU_PTE_ADDR);
		fx_invalidate(e.fx, 1);
		expect_store_fault(&e, VA, ONPU_FAULT_ADDRESS, level ? level - 1 : 0);
		fx_store(pte, good);
	}
	fx_invalidate(e.fx, 1);
	/* The last page is fine. */
	fx_map(e.fx, 1, VA + 0x100000, e.fx->vram_size - 4096, 4096, RW);
	expect_store_ok(&e, VA + 0x100000 + 4088);
	/* The root. */
	fx_mcu_wr(e.fx, ONPU_CTX_ROOT_HI(1), 0x100);
	fx_invalidate(e.fx, 1);
	store(&e, VA, 1);
	fx_expect_fault(&e.q, ONPU_FAULT_ADDRESS, ONPU_FAULT_ACCESS_FETCH, 3,
			e.q.ring_va + 64 * ((e.q.producer - 1) & 15));
	fx_unbind(&e.q);
	fx_mcu_wr(e.fx, ONPU_CTX_ROOT_HI(1), 0);
	fx_mcu_wr(e.fx, ONPU_CTX_ROOT_LO(1), (uint32_t)e.fx->roots[1] + 8);
	fx_slot_wr(e.fx, 0, ONPU_SLOT_CMD, ONPU_SLOT_BIND);
	fx_expect_fault(&e.q, ONPU_FAULT_ADDRESS, ONPU_FAULT_ACCESS_FETCH, 3,
			e.q.ring_va + 64 * ((e.q.producer - 1) & 15));
	finish(&e);
}

static void huge_pages(void **state)
{
	uint64_t base, va = 0x40000000;
	struct env e;
	uint8_t *p;

	(void)state;
	start(&e, 0);
	base = fx_vram(e.fx, 4u << 20, 2u << 20);
	fx_map_huge(e.fx, 1, va, base, 4u << 20, RW);
	p = fx_vptr(e.fx, base);
	for (uint64_t off = 0; off < 4u << 20; off += 65536 + 8) {
		store(&e, va + off, off + 1);
		assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
		assert_int_equal(fx_load(p + off), off + 1);
	}
	/* Across the boundary of two huge pages, and of a huge and a small one. */
	for (unsigned int i = 0; i < 8192; i++)
		p[(2u << 20) - 4096 + i] = (uint8_t)(i * 5);
	struct onpu_packet c = pk_copy(VA, va + (2u << 20) - 4096, 8192);

	fx_submit(&e.q, &c);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	assert_memory_equal(e.buf, p + (2u << 20) - 4096, 8192);
	/* Misaligned address: bits below 2 MiB. */
	fx_store(fx_pte(e.fx, 1, va, 1), (base + 4096) | RW | ONPU_PTE_VALID | ONPU_PTE_LEAF);
	fx_invalidate(e.fx, 1);
	expect_store_fault(&e, va, ONPU_FAULT_ADDRESS, 1);
	/* Beyond card memory. */
	fx_store(fx_pte(e.fx, 1, va, 1), e.fx->vram_size | RW | ONPU_PTE_VALID | ONPU_PTE_LEAF);
	fx_invalidate(e.fx, 1);
	expect_store_fault(&e, va, ONPU_FAULT_ADDRESS, 1);
	/* Rights and reserved bits are those of a leaf. */
	fx_store(fx_pte(e.fx, 1, va, 1), base | ONPU_PTE_READ | ONPU_PTE_VALID | ONPU_PTE_LEAF);
	fx_invalidate(e.fx, 1);
	expect_store_fault(&e, va + 4096, ONPU_FAULT_PERMISSION, 1);
	fx_store(fx_pte(e.fx, 1, va, 1), base | RW | ONPU_PTE_VALID | ONPU_PTE_LEAF | 1 << 7);
	fx_invalidate(e.fx, 1);
	expect_store_fault(&e, va, ONPU_FAULT_RESERVED, 1);
	/* 1 GiB and larger leaves do not exist. */
	for (unsigned int level = 2; level < 4; level++) {
		uint64_t far = 0x300000000000;

		fx_store(fx_pte(e.fx, 1, far, level), RW | ONPU_PTE_VALID | ONPU_PTE_LEAF);
		fx_invalidate(e.fx, 1);
		expect_store_fault(&e, far, ONPU_FAULT_RESERVED, level);
		fx_store(fx_pte(e.fx, 1, far, level), 0);
	}
	finish(&e);
}

/* Pages without memory. */
static void null_pages(void **state)
{
	uint64_t small = VA + 0x100000, large = 0x40000000, both = large + (2u << 20) - 4096;
	struct onpu_packet p;
	struct env e;

	(void)state;
	start(&e, 0);
	for (unsigned int i = 0; i < 2; i++)
		fx_map(e.fx, 1, small + 4096 * i, 0, 4096, RW | ONPU_PTE_NULL);
	fx_store(fx_pte(e.fx, 1, large, 1), RW | ONPU_PTE_NULL | ONPU_PTE_VALID | ONPU_PTE_LEAF);
	fx_map(e.fx, 1, large + (2u << 20), fx_vram(e.fx, 4096, 4096), 4096, RW);
	for (unsigned int round = 0; round < 2; round++) {
		/* Writes are lost, to whatever page; nothing faults. */
		for (unsigned int i = 0; i < 8192; i++)
			e.buf[i] = (uint8_t)(i * 11 + 1);
		p = pk_copy(small, VA, 8192);
		fx_submit(&e.q, &p);
		p = pk_copy(large + 12345, VA, 8192);
		fx_submit(&e.q, &p);
		/* Half of it has memory. */
		p = pk_copy(both, VA, 8192);
		fx_submit(&e.q, &p);
		assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
		expect_store_ok(&e, small + 4088);
		expect_store_ok(&e, large + 8);
		/* And read as zeros. */
		p = pk_copy(VA, small, 8192);
		fx_submit(&e.q, &p);
		assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
		for (unsigned int i = 0; i < 8192; i++)
			assert_int_equal(e.buf[i], 0);
		memset(e.buf, 0xff, 8192);
		p = pk_copy(VA, both, 8192);
		fx_submit(&e.q, &p);
		p = pk_wait(large + 64, 0, ONPU_WAIT_EQ);
		fx_submit(&e.q, &p);
		assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
		for (unsigned int i = 0; i < 4096; i++) {
			assert_int_equal(e.buf[i], 0);
			assert_int_equal(e.buf[4096 + i], (uint8_t)((4096 + i) * 11 + 1));
		}
	}
	/* Rights hold; an address or HOST is a mistake. */
	fx_map(e.fx, 1, small, 0, 4096, ONPU_PTE_READ | ONPU_PTE_NULL);
	fx_invalidate(e.fx, 1);
	expect_store_fault(&e, small, ONPU_FAULT_PERMISSION, 0);
	fx_map(e.fx, 1, small, 4096, 4096, RW | ONPU_PTE_NULL);
	fx_invalidate(e.fx, 1);
	expect_store_fault(&e, small, ONPU_FAULT_RESERVED, 0);
	fx_map(e.fx, 1, small, 0, 4096, RW | ONPU_PTE_NULL | ONPU_PTE_HOST);
	fx_invalidate(e.fx, 1);
	expect_store_fault(&e, small, ONPU_FAULT_RESERVED, 0);
	/* In a table it is reserved: see reserved_bits(). */
	finish(&e);
}

static void permissions(void **state)
{
	uint64_t ro = VA + 0x10000, wo = VA + 0x20000, priv = VA + 0x30000, none = VA + 0x40000;
	struct env e;

	(void)state;
	start(&e, 0);
	fx_map(e.fx, 1, ro, fx_vram(e.fx, 4096, 4096), 4096, ONPU_PTE_READ);
	fx_map(e.fx, 1, wo, fx_vram(e.fx, 4096, 4096), 4096, ONPU_PTE_WRITE);
	fx_map(e.fx, 1, priv, fx_vram(e.fx, 4096, 4096), 4096, RW | ONPU_PTE_PRIV);
	fx_map(e.fx, 1, none, fx_vram(e.fx, 4096, 4096), 4096, 0);
	expect_store_fault(&e, ro, ONPU_FAULT_PERMISSION, 0);
	expect_store_ok(&e, wo);
	expect_store_fault(&e, priv, ONPU_FAULT_PRIVILEGE, 0);
	expect_store_fault(&e, none, ONPU_FAULT_PERMISSION, 0);
	struct onpu_packet p = pk_copy(VA, wo, 8);

	fx_submit(&e.q, &p);
	fx_expect_fault(&e.q, ONPU_FAULT_PERMISSION, ONPU_FAULT_ACCESS_READ, 0, wo);
	revive(&e);
	p = pk_wait(priv, 0, ONPU_WAIT_EQ);
	fx_submit(&e.q, &p);
	fx_expect_fault(&e.q, ONPU_FAULT_PRIVILEGE, ONPU_FAULT_ACCESS_READ, 0, priv);
	revive(&e);
	/* The same from the TLB: rights are checked on a hit, too. */
	p = pk_copy(VA, ro, 8);
	fx_submit(&e.q, &p);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	store(&e, ro, 1);
	fx_expect_fault(&e.q, ONPU_FAULT_PERMISSION, ONPU_FAULT_ACCESS_WRITE, 0, ro);
	finish(&e);
}

static void va_range(void **state)
{
	struct env e;

	(void)state;
	start(&e, 0);
	expect_store_fault(&e, 1ull << 48, ONPU_FAULT_VA_RANGE, 3);
	expect_store_fault(&e, 1ull << 63, ONPU_FAULT_VA_RANGE, 3);
	expect_store_fault(&e, 0xfffffffffffffff8, ONPU_FAULT_VA_RANGE, 3);
	/* The last word of the address space is an ordinary one. */
	fx_map(e.fx, 1, 0xfffffffff000, fx_vram(e.fx, 4096, 4096), 4096, RW);
	expect_store_ok(&e, 0xfffffffffff8);
	finish(&e);
}

static void context_validity(void **state)
{
	struct env e;

	(void)state;
	start(&e, 0);
	fx_mcu_wr(e.fx, ONPU_CTX_CTRL(1), 0);
	store(&e, VA, 1);
	fx_expect_fault(&e.q, ONPU_FAULT_CONTEXT, ONPU_FAULT_ACCESS_FETCH, 3, e.q.ring_va);
	fx_mcu_wr(e.fx, ONPU_CTX_CTRL(1), 0xfffffffe);
	assert_int_equal(fx_mcu(e.fx, ONPU_CTX_CTRL(1)), 0);
	finish(&e);
}

static void host_target(void **state)
{
	uint64_t addr, va = VA + 0x100000;
	struct env e;

	(void)state;
	start(&e, 0);
	addr = fx_hostmem(e.fx, 16384, 4096);
	fx_map(e.fx, 1, va, addr, 16384, RW | ONPU_PTE_HOST);
	expect_store_ok(&e, va + 8);
	struct onpu_packet p = pk_signal(va, 321, true);

	fx_submit(&e.q, &p);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	assert_int_equal(fx_load(fx_hptr(e.fx, addr)), 321);
	assert_int_equal(e.fx->maps_live, 0);
	memset(fx_hptr(e.fx, addr + 4096), 0x5a, 8192);
	p = pk_copy(VA, va + 4096, 8192);
	fx_submit(&e.q, &p);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	assert_memory_equal(e.buf, fx_hptr(e.fx, addr + 4096), 8192);
	/* The host refuses: below its memory, beyond it, and half of a copy beyond. */
	fx_map(e.fx, 1, va + 0x10000, FX_HOST_BASE - 4096, 4096, RW | ONPU_PTE_HOST);
	fx_map(e.fx, 1, va + 0x20000, FX_HOST_BASE + FX_HOST_SIZE - 4096, 8192, RW | ONPU_PTE_HOST);
	fx_map(e.fx, 1, va + 0x30000, ONPU_PTE_ADDR, 4096, RW | ONPU_PTE_HOST);
	expect_store_fault(&e, va + 0x10000, ONPU_FAULT_HOST, 0);
	expect_store_ok(&e, va + 0x20000);
	expect_store_fault(&e, va + 0x21000, ONPU_FAULT_HOST, 0);
	expect_store_fault(&e, va + 0x30000, ONPU_FAULT_HOST, 0);
	p = pk_copy(VA, va + 0x20000, 8192);
	fx_submit(&e.q, &p);
	fx_expect_fault(&e.q, ONPU_FAULT_HOST, ONPU_FAULT_ACCESS_READ, 0, va + 0x21000);
	assert_int_equal(e.fx->maps_live, 0);
	revive(&e);
	/* Page tables are never in host memory: the flag is reserved in table entries. */
	fx_store(fx_pte(e.fx, 1, va, 1), fx_load(fx_pte(e.fx, 1, va, 1)) | ONPU_PTE_HOST);
	fx_invalidate(e.fx, 1);
	expect_store_fault(&e, va, ONPU_FAULT_RESERVED, 1);
	finish(&e);
}

/* --- TLB ------------------------------------------------------------------ */

static void staleness(void **state)
{
	uint64_t a, b, walks;
	struct env e;

	(void)state;
	start(&e, 0);
	a = fx_vram(e.fx, 4096, 4096);
	b = fx_vram(e.fx, 4096, 4096);
	fx_map(e.fx, 1, VA + 0x10000, a, 4096, RW);
	store(&e, VA + 0x10000, 1);
	fx_settle(&e.q);
	walks = fx_rd64(e.fx, ONPU_REG_CNT_TLB_WALKS);
	store(&e, VA + 0x10000, 2);
	fx_settle(&e.q);
	assert_int_equal(fx_rd64(e.fx, ONPU_REG_CNT_TLB_WALKS) - walks, 0);
	assert_int_equal(fx_load(fx_vptr(e.fx, a)), 2);
	/* Without invalidation the old translation serves on. */
	fx_map(e.fx, 1, VA + 0x10000, b, 4096, RW);
	store(&e, VA + 0x10000, 3);
	fx_settle(&e.q);
	assert_int_equal(fx_load(fx_vptr(e.fx, a)), 3);
	/* Another context's invalidation does not concern this one. */
	fx_invalidate(e.fx, 2);
	store(&e, VA + 0x10000, 4);
	fx_settle(&e.q);
	assert_int_equal(fx_load(fx_vptr(e.fx, a)), 4);
	fx_invalidate(e.fx, 1);
	store(&e, VA + 0x10000, 5);
	fx_settle(&e.q);
	assert_int_equal(fx_load(fx_vptr(e.fx, a)), 4);
	assert_int_equal(fx_load(fx_vptr(e.fx, b)), 5);
	/* All contexts at once. */
	fx_unmap(e.fx, 1, VA + 0x10000, 4096);
	fx_invalidate(e.fx, ONPU_TLB_INV_ALL);
	expect_store_fault(&e, VA + 0x10000, ONPU_FAULT_NOT_PRESENT, 0);
	/* A missing entry is not remembered: mapping needs no invalidation. */
	fx_map(e.fx, 1, VA + 0x10000, a, 4096, RW);
	store(&e, VA + 0x10000, 6);
	fx_settle(&e.q);
	assert_int_equal(fx_load(fx_vptr(e.fx, a)), 6);
	finish(&e);
}

static void invalid_requests(void **state)
{
	struct env e;

	(void)state;
	start(&e, 0);
	fx_wr(e.fx, ONPU_REG_TLB_INV, 8);
	assert_int_equal(e.fx->guest_errors, 1);
	assert_int_equal(fx_rd(e.fx, ONPU_REG_TLB_SEQ), 0);
	fx_wr(e.fx, ONPU_REG_TLB_INV, 7);
	assert_int_equal(fx_rd(e.fx, ONPU_REG_TLB_SEQ), 1);
	assert_int_equal(fx_rd(e.fx, ONPU_REG_TLB_DONE), 1);
	fx_destroy(e.fx);
}

/* Done only when the packets in flight of that context are. */
static void completion(void **state)
{
	struct fx_opts opts = { .dma = FX_DMA_HOLD };
	struct fx *fx = fx_create(&opts);
	uint64_t addr, va = VA + 0x100000;
	struct fx_queue q, other;
	struct onpu_packet p = pk_signal(va, 1, false);

	(void)state;
	fx_context(fx, 1);
	fx_context(fx, 2);
	addr = fx_hostmem(fx, 4096, 4096);
	fx_map(fx, 1, va, addr, 4096, RW | ONPU_PTE_HOST);
	fx_queue_init(&q, fx, 0, 0, 1, 4, 0);
	fx_queue_init(&other, fx, 1, 1, 2, 4, 0);
	/* The packet now waits for the host to map the page. */
	fx_submit(&q, &p);
	fx_run(fx);
	assert_int_equal(fx->n_queue, 1);
	fx_wr(fx, ONPU_REG_TLB_INV, 2);
	assert_int_equal(fx_rd(fx, ONPU_REG_TLB_DONE), 1);
	fx_wr(fx, ONPU_REG_TLB_INV, 1);
	fx_wr(fx, ONPU_REG_TLB_INV, 2);
	assert_int_equal(fx_rd(fx, ONPU_REG_TLB_SEQ), 3);
	assert_int_equal(fx_rd(fx, ONPU_REG_TLB_DONE), 1);
	fx_complete(fx, 1, false);
	fx_run(fx);
	assert_int_equal(fx_rd(fx, ONPU_REG_TLB_DONE), 3);
	assert_int_equal(fx_load(fx_hptr(fx, addr)), 1);
	/* A kill lets go as well. */
	fx_submit(&q, &p);
	fx_run(fx);
	fx_wr(fx, ONPU_REG_TLB_INV, ONPU_TLB_INV_ALL);
	assert_int_equal(fx_rd(fx, ONPU_REG_TLB_DONE), 3);
	fx_kill(&q);
	assert_int_equal(fx_rd(fx, ONPU_REG_TLB_DONE), 4);
	/* A queue at a WAIT holds nothing. */
	p = pk_wait(FX_KERNEL_VA, 1, ONPU_WAIT_EQ);
	fx_unbind(&q);
	fx_queue_init(&q, fx, 0, 0, 1, 4, 0);
	fx_submit(&q, &p);
	assert_int_equal(fx_settle(&q), ONPU_SLOT_WAITING);
	fx_wr(fx, ONPU_REG_TLB_INV, 1);
	assert_int_equal(fx_rd(fx, ONPU_REG_TLB_DONE), 5);
	fx_destroy(fx);
}

/* Contexts see their own memory and nothing else, at the same addresses. */
static void isolation(void **state)
{
	struct fx *fx = fx_create(NULL);
	struct fx_queue q[3];
	uint8_t *buf[3];

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		fx_context(fx, i);
		buf[i] = fx_buffer(fx, i, VA, 4096);
		fx_queue_init(&q[i], fx, i, i, i, 4, 0);
	}
	for (unsigned int round = 0; round < 10; round++) {
		for (unsigned int i = 0; i < 3; i++) {
			struct onpu_packet p = pk_signal(VA + 8 * round, 100 * i + round, false);

			fx_submit(&q[i], &p);
		}
		fx_run(fx);
	}
	for (unsigned int i = 0; i < 3; i++)
		for (unsigned int round = 0; round < 10; round++)
			assert_int_equal(fx_load(buf[i] + 8 * round), 100 * i + round);
	/* A slot that changes its context takes nothing along. */
	fx_unbind(&q[0]);
	fx_queue_init(&q[0], fx, 0, 5, 2, 4, 0);
	struct onpu_packet p = pk_signal(VA, 777, false);

	fx_submit(&q[0], &p);
	fx_settle(&q[0]);
	assert_int_equal(fx_load(buf[0]), 0);
	assert_int_equal(fx_load(buf[2]), 777);
	fx_destroy(fx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(not_present),
		cmocka_unit_test(reserved_bits),
		cmocka_unit_test(addresses),
		cmocka_unit_test(huge_pages),
		cmocka_unit_test(null_pages),
		cmocka_unit_test(permissions),
		cmocka_unit_test(va_range),
		cmocka_unit_test(context_validity),
		cmocka_unit_test(host_target),
		cmocka_unit_test(staleness),
		cmocka_unit_test(invalid_requests),
		cmocka_unit_test(completion),
		cmocka_unit_test(isolation),
	};

	return cmocka_run_group_tests_name("mmu", tests, NULL, NULL);
}

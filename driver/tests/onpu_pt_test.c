// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Tests of the page tables
 *
 * Tables are built in ordinary memory that stands for the card's, and read back
 * by a walker that does what hardware.md says the card's MMU does. Updates
 * are compared with a plain array of what each page must translate to, and
 * every table must be free again at the end.
 */

#include <kunit/test.h>

#include <linux/prandom.h>
#include <linux/vmalloc.h>

#include "../onpu_pt.c"

#include "onpu_kunit.h"

#define CARD_PAGES	512
#define RW		(ONPU_PTE_READ | ONPU_PTE_WRITE)
#define LEAF		(ONPU_PTE_VALID | ONPU_PTE_LEAF)

/* A buffer object in pieces of @piece bytes, which lie @stride apart from @base on. */
struct pt_bo {
	struct onpu_bo bo;
	u64 base, piece, stride;
	bool host;
};

struct pt_test {
	struct onpu_device odev;
	struct onpu_pgtable pgt;
	struct gpu_buddy_block blocks[CARD_PAGES];
	DECLARE_BITMAP(taken, CARD_PAGES);
	/* allocations that succeed still */
	unsigned int budget;
	void *regs;
	struct rnd_state rnd;
};

/* The fakes find it here: a page does not know its card. */
static struct pt_test *the_test;

/* What the source calls of the other files. */

struct gpu_buddy_block *onpu_vram_page_alloc(struct onpu_device *odev)
{
	struct pt_test *t = container_of(odev, struct pt_test, odev);
	unsigned int i = find_first_zero_bit(t->taken, CARD_PAGES);

	if (!t->budget || i == CARD_PAGES)
		return NULL;
	t->budget--;
	__set_bit(i, t->taken);
	return &t->blocks[i];
}

void onpu_vram_page_free(struct onpu_device *odev, struct gpu_buddy_block *page)
{
	struct pt_test *t = container_of(odev, struct pt_test, odev);
	unsigned int i = page - t->blocks;

	WARN_ON(!__test_and_clear_bit(i, t->taken));
	/* What is still read of it translates to nonsense. */
	memset((void __force *)odev->vram.map + i * PAGE_SIZE, 0x5a, PAGE_SIZE);
}

u64 onpu_vram_page_offset(const struct gpu_buddy_block *page)
{
	return (u64)(page - the_test->blocks) * PAGE_SIZE;
}

void onpu_vram_clear(struct onpu_device *odev, u64 offset, u64 len)
{
	memset((void __force *)odev->vram.map + offset, 0, len);
}

u64 onpu_bo_extent(struct onpu_bo *bo, u64 offset, u64 *len, bool *host)
{
	struct pt_bo *b = container_of(bo, struct pt_bo, bo);
	u64 in_piece = offset % b->piece;

	*host = b->host;
	*len = min(*len, b->piece - in_piece);
	return b->base + offset / b->piece * b->stride + in_piece;
}

/* Nothing can be evicted. */
int onpu_room_make(struct onpu_device *odev)
{
	return -ENOMEM;
}

u32 onpu_queue_job_timeout_ms(void)
{
	return 100;
}

bool onpu_recovery_is_wedged(struct onpu_device *odev)
{
	return false;
}

bool onpu_recovery_is_stopped(struct onpu_device *odev)
{
	return false;
}

bool onpu_recovery_is_gone(struct onpu_device *odev)
{
	return false;
}

void onpu_recovery_sync(struct onpu_device *odev)
{
}

void onpu_recovery_restart(struct onpu_device *odev, const char *why)
{
}

void onpu_recovery_flush(struct onpu_device *odev)
{
}

static unsigned int tables(struct pt_test *t)
{
	return bitmap_weight(t->taken, CARD_PAGES);
}

/* What the card's MMU finds for @va: the leaf as one of 4 KiB, 0, or ~0 for a malformed entry. */
static u64 walk(struct pt_test *t, u64 va)
{
	u64 table = onpu_pgtable_root(&t->pgt);
	int level;

	for (level = ONPU_MMU_LEVELS - 1; level >= 0; level--) {
		const u64 *entries = (void __force *)t->odev.vram.map + table;
		u64 pte = entries[(va >> ONPU_MMU_SHIFT(level)) & (ONPU_MMU_ENTRIES - 1)];

		if (!(pte & ONPU_PTE_VALID))
			return 0;
		if (pte & ONPU_PTE_LEAF) {
			u64 rest = va & (BIT_ULL(ONPU_MMU_SHIFT(level)) - 1);

			if (level > 1 || (pte & ~ONPU_PTE_LEAF_BITS) ||
			    !IS_ALIGNED(pte & ONPU_PTE_ADDR, BIT_ULL(ONPU_MMU_SHIFT(level))))
				return ~0ull;
			return pte + ALIGN_DOWN(rest, SZ_4K);
		}
		table = pte & ONPU_PTE_ADDR;
		if (!level || (pte & ~ONPU_PTE_TABLE_BITS) || table >= CARD_PAGES * SZ_4K)
			return ~0ull;
	}

	return ~0ull;
}

/* One range of an update, or with @bo NULL of an unmap. */
struct pt_range {
	struct pt_bo *bo;
	u64 offset, va, size;
};

static int prepare(struct pt_test *t, struct onpu_pt_stock *stock, const struct pt_range *r)
{
	bool complete;
	int ret;

	do {
		complete = r->bo ? onpu_pt_prepare_map(&t->pgt, stock, &r->bo->bo, r->offset,
						       r->va, r->size) :
				   onpu_pt_prepare_unmap(&t->pgt, stock, r->va, r->size);
		ret = complete ? 0 : onpu_pt_stock_grow(&t->odev, stock);
	} while (!complete && !ret);

	return ret;
}

/* All of the ranges or none. */
static int update(struct pt_test *t, const struct pt_range *ranges, unsigned int count, u64 bits)
{
	struct onpu_pt_stock stock;
	const struct pt_range *r;
	int ret = 0;

	onpu_pt_stock_init(&stock);
	for (r = ranges; r < ranges + count && !ret; r++)
		ret = prepare(t, &stock, r);
	for (r = ranges; r < ranges + count && !ret; r++) {
		if (r->bo)
			onpu_pt_map(&t->pgt, &stock, &r->bo->bo, r->offset, r->va, r->size, bits);
		else
			onpu_pt_unmap(&t->pgt, &stock, r->va, r->size);
	}
	for (r = ranges; r < ranges + count; r++)
		onpu_pt_release(&t->pgt, r->va, r->size);
	onpu_pt_stock_fini(&t->odev, &stock);
	if (ret)
		onpu_pt_sync(&t->pgt);

	return ret;
}

static int map(struct pt_test *t, struct pt_bo *bo, u64 offset, u64 va, u64 size, u64 bits)
{
	struct pt_range range = { bo, offset, va, size };

	return update(t, &range, 1, bits);
}

static int unmap(struct pt_test *t, u64 va, u64 size)
{
	struct pt_range range = { NULL, 0, va, size };

	return update(t, &range, 1, 0);
}

/* Every page of the range translates to the buffer object with @bits. */
static void expect_mapped(struct kunit *test, struct pt_bo *bo, u64 offset, u64 va, u64 size,
			  u64 bits)
{
	u64 done;

	for (done = 0; done < size; done += SZ_4K) {
		bool host;
		u64 len = SZ_4K, addr = onpu_bo_extent(&bo->bo, offset + done, &len, &host);

		KUNIT_ASSERT_EQ_MSG(test, walk(test->priv, va + done),
				    addr | bits | LEAF | (host ? ONPU_PTE_HOST : 0),
				    "va %#llx", va + done);
	}
}

static void expect_unmapped(struct kunit *test, u64 va, u64 size)
{
	u64 done;

	for (done = 0; done < size; done += SZ_4K)
		KUNIT_ASSERT_EQ_MSG(test, walk(test->priv, va + done), 0, "va %#llx", va + done);
}

static int pt_init(struct kunit *test)
{
	struct pt_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	void *memory = vzalloc(CARD_PAGES * PAGE_SIZE);

	KUNIT_ASSERT_NOT_NULL(test, t);
	KUNIT_ASSERT_NOT_NULL(test, memory);
	memset(memory, 0x5a, CARD_PAGES * PAGE_SIZE);
	t->odev.vram.map = (void __iomem __force *)memory;
	t->regs = vzalloc(ONPU_REGS_END);
	KUNIT_ASSERT_NOT_NULL(test, t->regs);
	t->odev.regs = (void __iomem __force *)t->regs;
	t->odev.caps.page_sizes = BIT(ONPU_MMU_PAGE_SHIFT) | BIT(ONPU_MMU_HUGE_SHIFT);
	spin_lock_init(&t->odev.tlb.lock);
	t->budget = ~0u;
	prandom_seed_state(&t->rnd, 4711);
	the_test = t;
	test->priv = t;
	return onpu_pgtable_init(&t->pgt, &t->odev, 3);
}

static void pt_exit(struct kunit *test)
{
	struct pt_test *t = test->priv;

	if (!t)
		return;
	onpu_pgtable_fini(&t->pgt);
	KUNIT_EXPECT_EQ(test, tables(t), 0);
	vfree(t->regs);
	vfree((void __force *)t->odev.vram.map);
}

static void pages_of_4k(struct kunit *test)
{
	struct pt_bo bo = { .base = SZ_1G, .piece = SZ_4K, .stride = SZ_8K };
	struct pt_test *t = test->priv;
	u64 va = SZ_2G + SZ_4K;

	KUNIT_ASSERT_EQ(test, map(t, &bo, SZ_4K, va, 3 * SZ_4K, RW), 0);
	expect_mapped(test, &bo, SZ_4K, va, 3 * SZ_4K, RW);
	expect_unmapped(test, va - SZ_4K, SZ_4K);
	expect_unmapped(test, va + 3 * SZ_4K, SZ_4K);
	KUNIT_EXPECT_EQ(test, tables(t), ONPU_MMU_LEVELS);
	/* Nothing valid was changed, so no translation can be stale. */
	KUNIT_EXPECT_FALSE(test, t->pgt.dirty);
}

static void bits_reach_the_card(struct kunit *test)
{
	struct pt_bo host = { .base = 0x7654321000ull, .piece = SZ_1G, .host = true };
	struct pt_test *t = test->priv;

	KUNIT_ASSERT_EQ(test, map(t, &host, 0, SZ_4K, SZ_4K, ONPU_PTE_READ), 0);
	KUNIT_EXPECT_EQ(test, walk(t, SZ_4K),
			0x7654321000ull | LEAF | ONPU_PTE_READ | ONPU_PTE_HOST);
	KUNIT_ASSERT_EQ(test, map(t, &host, 0, SZ_8K, SZ_4K, RW | ONPU_PTE_PRIV), 0);
	KUNIT_EXPECT_EQ(test, walk(t, SZ_8K),
			0x7654321000ull | LEAF | RW | ONPU_PTE_PRIV | ONPU_PTE_HOST);
}

static void pages_of_2m_where_they_fit(struct kunit *test)
{
	struct pt_bo bo = { .base = SZ_64M, .piece = SZ_1G };
	struct pt_test *t = test->priv;

	/* Root, two directories; no table of level 0. */
	KUNIT_ASSERT_EQ(test, map(t, &bo, 0, SZ_1G, SZ_4M, RW), 0);
	expect_mapped(test, &bo, 0, SZ_1G, SZ_4M, RW);
	KUNIT_EXPECT_EQ(test, tables(t), 3);
	/* The address fits, the memory does not. */
	KUNIT_ASSERT_EQ(test, map(t, &bo, SZ_4K, SZ_1G + SZ_4M, SZ_2M, RW), 0);
	expect_mapped(test, &bo, SZ_4K, SZ_1G + SZ_4M, SZ_2M, RW);
	KUNIT_EXPECT_EQ(test, tables(t), 4);
}

static void no_pages_of_2m_on_a_card_without(struct kunit *test)
{
	struct pt_bo bo = { .base = SZ_64M, .piece = SZ_1G };
	struct pt_test *t = test->priv;

	t->odev.caps.page_sizes = BIT(ONPU_MMU_PAGE_SHIFT);
	KUNIT_ASSERT_EQ(test, map(t, &bo, 0, SZ_1G, SZ_2M, RW), 0);
	expect_mapped(test, &bo, 0, SZ_1G, SZ_2M, RW);
	KUNIT_EXPECT_EQ(test, tables(t), 4);
}

static void both_sizes_in_one_range(struct kunit *test)
{
	struct pt_bo bo = { .base = SZ_64M + SZ_2M - SZ_4K, .piece = SZ_1G };
	struct pt_test *t = test->priv;
	u64 va = SZ_1G + SZ_2M - SZ_4K;

	/* A page, two of 2 MiB, and two pages. */
	KUNIT_ASSERT_EQ(test, map(t, &bo, 0, va, SZ_4M + 3 * SZ_4K, RW), 0);
	expect_mapped(test, &bo, 0, va, SZ_4M + 3 * SZ_4K, RW);
	expect_unmapped(test, va - SZ_4K, SZ_4K);
	expect_unmapped(test, va + SZ_4M + 3 * SZ_4K, SZ_4K);
	KUNIT_EXPECT_EQ(test, tables(t), 5);
}

static void a_2m_page_is_split(struct kunit *test)
{
	struct pt_bo bo = { .base = SZ_64M, .piece = SZ_1G };
	struct pt_test *t = test->priv;
	u64 hole = 77 * SZ_4K;

	KUNIT_ASSERT_EQ(test, map(t, &bo, 0, SZ_1G, SZ_2M, ONPU_PTE_READ), 0);
	KUNIT_ASSERT_EQ(test, unmap(t, SZ_1G + hole, SZ_4K), 0);
	expect_mapped(test, &bo, 0, SZ_1G, hole, ONPU_PTE_READ);
	expect_unmapped(test, SZ_1G + hole, SZ_4K);
	expect_mapped(test, &bo, hole + SZ_4K, SZ_1G + hole + SZ_4K, SZ_2M - hole - SZ_4K,
		      ONPU_PTE_READ);
	KUNIT_EXPECT_TRUE(test, t->pgt.dirty);
}

static void a_2m_page_replaces_small_ones(struct kunit *test)
{
	struct pt_bo small = { .base = SZ_16M, .piece = SZ_4K, .stride = SZ_8K };
	struct pt_bo huge = { .base = SZ_64M, .piece = SZ_1G };
	struct pt_test *t = test->priv;

	KUNIT_ASSERT_EQ(test, map(t, &small, 0, SZ_1G, SZ_2M, RW), 0);
	KUNIT_ASSERT_EQ(test, onpu_pt_sync(&t->pgt), 0);
	KUNIT_ASSERT_EQ(test, map(t, &huge, 0, SZ_1G, SZ_2M, RW), 0);
	expect_mapped(test, &huge, 0, SZ_1G, SZ_2M, RW);
	/* The card may walk the old table until it has been told. */
	KUNIT_EXPECT_EQ(test, tables(t), 4);
	KUNIT_EXPECT_TRUE(test, t->pgt.dirty);
	KUNIT_EXPECT_EQ(test, onpu_pt_sync(&t->pgt), 0);
	KUNIT_EXPECT_EQ(test, tables(t), 3);
	KUNIT_EXPECT_FALSE(test, t->pgt.dirty);
}

static void empty_tables_go(struct kunit *test)
{
	struct pt_bo bo = { .base = SZ_64M, .piece = SZ_4K, .stride = SZ_8K };
	struct pt_test *t = test->priv;

	KUNIT_ASSERT_EQ(test, map(t, &bo, 0, SZ_1G, SZ_8K, RW), 0);
	KUNIT_ASSERT_EQ(test, unmap(t, SZ_1G, SZ_4K), 0);
	KUNIT_ASSERT_EQ(test, onpu_pt_sync(&t->pgt), 0);
	KUNIT_EXPECT_EQ(test, tables(t), 4);
	/* Holes around it do not matter. */
	KUNIT_ASSERT_EQ(test, unmap(t, SZ_4K, 3ull * SZ_1G), 0);
	KUNIT_ASSERT_EQ(test, onpu_pt_sync(&t->pgt), 0);
	KUNIT_EXPECT_EQ(test, tables(t), 1);
	expect_unmapped(test, SZ_1G, SZ_16K);
}

static void ends_of_the_address_space(struct kunit *test)
{
	struct pt_bo bo = { .base = SZ_64M, .piece = SZ_1G };
	struct pt_test *t = test->priv;
	u64 last = BIT_ULL(ONPU_MMU_VA_BITS) - SZ_4K;

	KUNIT_ASSERT_EQ(test, map(t, &bo, 0, last - SZ_4K, SZ_8K, RW), 0);
	KUNIT_ASSERT_EQ(test, map(t, &bo, SZ_8K, 0, SZ_4K, RW), 0);
	expect_mapped(test, &bo, 0, last - SZ_4K, SZ_8K, RW);
	expect_mapped(test, &bo, SZ_8K, 0, SZ_4K, RW);
	KUNIT_ASSERT_EQ(test, unmap(t, last, SZ_4K), 0);
	expect_unmapped(test, last, SZ_4K);
	expect_mapped(test, &bo, 0, last - SZ_4K, SZ_4K, RW);
	/* Over the border of the highest level. */
	KUNIT_ASSERT_EQ(test, map(t, &bo, 0, BIT_ULL(47) - SZ_4K, SZ_8K, RW), 0);
	expect_mapped(test, &bo, 0, BIT_ULL(47) - SZ_4K, SZ_8K, RW);
}

static void the_tlb_is_told_of_the_address_space(struct kunit *test)
{
	struct pt_bo bo = { .base = SZ_64M, .piece = SZ_1G };
	struct pt_test *t = test->priv;

	onpu_write32(&t->odev, ONPU_REG_TLB_INV, ~0u);
	KUNIT_ASSERT_EQ(test, map(t, &bo, 0, SZ_1G, SZ_4K, RW), 0);
	KUNIT_EXPECT_EQ(test, onpu_pt_sync(&t->pgt), 0);
	KUNIT_EXPECT_EQ(test, onpu_read32(&t->odev, ONPU_REG_TLB_INV), ~0u);
	KUNIT_ASSERT_EQ(test, unmap(t, SZ_1G, SZ_4K), 0);
	KUNIT_EXPECT_EQ(test, onpu_pt_sync(&t->pgt), 0);
	KUNIT_EXPECT_EQ(test, onpu_read32(&t->odev, ONPU_REG_TLB_INV), 3);
}

static void a_card_that_is_gone_is_left_alone(struct kunit *test)
{
	struct pt_bo bo = { .base = SZ_64M, .piece = SZ_1G };
	struct pt_test *t = test->priv;
	const size_t size = CARD_PAGES * PAGE_SIZE;
	void *copy = vmalloc(size);

	KUNIT_ASSERT_NOT_NULL(test, copy);
	KUNIT_ASSERT_EQ(test, map(t, &bo, 0, SZ_1G, SZ_2M, RW), 0);
	t->odev.drm.unplugged = true;
	memcpy(copy, (void __force *)t->odev.vram.map, size);
	/* The books are kept all the same: nothing is left over at the end. */
	KUNIT_EXPECT_EQ(test, unmap(t, SZ_1G + SZ_4K, SZ_4K), 0);
	KUNIT_EXPECT_EQ(test, unmap(t, SZ_1G, SZ_2M), 0);
	KUNIT_EXPECT_EQ(test, onpu_pt_sync(&t->pgt), -ENODEV);
	KUNIT_EXPECT_EQ(test, tables(t), 1);
	/* Freed pages were overwritten by the fake; those in use were not touched. */
	KUNIT_EXPECT_MEMEQ(test, (void __force *)t->odev.vram.map + onpu_pgtable_root(&t->pgt),
			   copy + onpu_pgtable_root(&t->pgt), SZ_4K);
	vfree(copy);
}

static void every_allocation_may_fail(struct kunit *test)
{
	struct pt_bo bo = { .base = SZ_64M, .piece = SZ_4K, .stride = SZ_8K };
	struct pt_test *t = test->priv;
	unsigned int n;
	int ret = -ENOMEM;

	/* Over borders of levels 0, 1 and 2. */
	for (n = 0; ret; n++) {
		t->budget = n;
		ret = map(t, &bo, 0, SZ_512M + SZ_512M - SZ_2M - SZ_4K, SZ_4M + SZ_8K, RW);
		if (ret) {
			KUNIT_ASSERT_EQ(test, ret, -ENOMEM);
			KUNIT_ASSERT_EQ(test, tables(t), 1);
		}
	}
	expect_mapped(test, &bo, 0, SZ_1G - SZ_2M - SZ_4K, SZ_4M + SZ_8K, RW);
	/* A directory, two below it, four tables; one more try succeeds. */
	KUNIT_EXPECT_EQ(test, n, 8);
	/* What needs no table needs no memory. */
	KUNIT_EXPECT_EQ(test, t->budget, 0);
	KUNIT_EXPECT_EQ(test, unmap(t, SZ_1G, SZ_4K), 0);
	KUNIT_EXPECT_EQ(test, map(t, &bo, 0, SZ_1G, SZ_4K, RW), 0);
}

static void a_split_may_fail(struct kunit *test)
{
	struct pt_bo bo = { .base = SZ_64M, .piece = SZ_1G };
	struct pt_bo other = { .base = SZ_512M, .piece = SZ_4K, .stride = SZ_8K };
	struct pt_test *t = test->priv;
	struct pt_range both[] = {
		{ NULL, 0, SZ_1G + SZ_4K, SZ_4K },
		{ &other, 0, SZ_1G + SZ_2M, SZ_8K },
	};

	KUNIT_ASSERT_EQ(test, map(t, &bo, 0, SZ_1G, SZ_4M, RW), 0);
	t->budget = 0;
	KUNIT_EXPECT_EQ(test, unmap(t, SZ_1G + SZ_4K, SZ_4K), -ENOMEM);
	t->budget = 1;
	KUNIT_EXPECT_EQ(test, update(t, both, 2, RW), -ENOMEM);
	/* The large pages are still there, nothing was even changed for a moment. */
	expect_mapped(test, &bo, 0, SZ_1G, SZ_4M, RW);
	KUNIT_EXPECT_EQ(test, tables(t), 3);
	t->budget = 2;
	KUNIT_EXPECT_EQ(test, update(t, both, 2, RW), 0);
	expect_unmapped(test, SZ_1G + SZ_4K, SZ_4K);
	expect_mapped(test, &other, 0, SZ_1G + SZ_2M, SZ_8K, RW);
}

/* What ranges have in common is allocated once. */
static void ranges_share_their_tables(struct kunit *test)
{
	struct pt_bo bo = { .base = SZ_64M, .piece = SZ_4K, .stride = SZ_8K };
	struct pt_test *t = test->priv;
	struct pt_range *ranges = kunit_kcalloc(test, 1024, sizeof(*ranges), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, ranges);
	/* Every other page of 4 MiB, upwards and downwards mixed. */
	for (i = 0; i < 1024; i++)
		ranges[i] = (struct pt_range) { &bo, i * SZ_4K,
			SZ_1G + (i & 1 ? 1024 - i : i) * (u64)SZ_4K, SZ_4K };
	t->budget = 4;
	KUNIT_ASSERT_EQ(test, update(t, ranges, 1024, RW), 0);
	KUNIT_EXPECT_EQ(test, tables(t), 5);
	for (i = 0; i < 1024; i++)
		expect_mapped(test, &bo, i * SZ_4K, ranges[i].va, SZ_4K, RW);
	/* Holes in a page of 2 MiB: one table. */
	bo = (struct pt_bo) { .base = SZ_64M, .piece = SZ_1G };
	t->budget = 1;
	KUNIT_ASSERT_EQ(test, map(t, &bo, 0, SZ_2G, SZ_2M, RW), 0);
	for (i = 0; i < 256; i++)
		ranges[i] = (struct pt_range) { NULL, 0, SZ_2G + 2 * i * (u64)SZ_4K, SZ_4K };
	t->budget = 1;
	KUNIT_ASSERT_EQ(test, update(t, ranges, 256, RW), 0);
	for (i = 0; i < 256; i++) {
		expect_unmapped(test, ranges[i].va, SZ_4K);
		expect_mapped(test, &bo, (2 * i + 1) * SZ_4K, ranges[i].va + SZ_4K, SZ_4K, RW);
	}
}

/* Ranges of one update that undo what those before them did. */
static void ranges_meet(struct kunit *test)
{
	struct pt_bo huge = { .base = SZ_64M, .piece = SZ_1G };
	struct pt_bo small = { .base = SZ_512M, .piece = SZ_4K, .stride = SZ_8K };
	struct pt_test *t = test->priv;
	const u64 va = SZ_1G;
	struct pt_range ranges[] = {
		{ &small, 0, va, SZ_2M },
		{ &huge, 0, va, SZ_2M },
		{ NULL, 0, va + SZ_4K, SZ_4K },
		{ &huge, 0, va, SZ_2M },
		{ NULL, 0, va, SZ_1M },
		{ NULL, 0, va + SZ_1M, SZ_1M },
		{ &small, 0, va + SZ_8K, SZ_4K },
		{ &huge, 0, va, SZ_2M },
		{ NULL, 0, va, SZ_2M },
		{ &small, 0, va + SZ_4K, SZ_4K },
	};

	KUNIT_ASSERT_EQ(test, update(t, ranges, ARRAY_SIZE(ranges), RW), 0);
	expect_unmapped(test, va, SZ_4K);
	expect_mapped(test, &small, 0, va + SZ_4K, SZ_4K, RW);
	expect_unmapped(test, va + SZ_8K, SZ_2M - SZ_8K);
	KUNIT_EXPECT_EQ(test, onpu_pt_sync(&t->pgt), 0);
	KUNIT_EXPECT_EQ(test, tables(t), 4);

	/* A large page from before is cut up, emptied and used again. */
	KUNIT_ASSERT_EQ(test, map(t, &huge, 0, va, SZ_2M, RW), 0);
	KUNIT_ASSERT_EQ(test, update(t, &ranges[4], 3, RW), 0);
	expect_unmapped(test, va, SZ_8K);
	expect_mapped(test, &small, 0, va + SZ_8K, SZ_4K, RW);
	KUNIT_EXPECT_EQ(test, onpu_pt_sync(&t->pgt), 0);
	KUNIT_EXPECT_EQ(test, tables(t), 4);

	/* All in vain: no table is left. */
	ranges[0] = (struct pt_range) { &small, 0, va + SZ_1G, SZ_4K };
	ranges[1] = (struct pt_range) { NULL, 0, va, 2ull * SZ_1G };
	KUNIT_ASSERT_EQ(test, update(t, ranges, 2, RW), 0);
	KUNIT_EXPECT_EQ(test, onpu_pt_sync(&t->pgt), 0);
	KUNIT_EXPECT_EQ(test, tables(t), 1);
}

#define WINDOW_PAGES	(16 * 512u)
#define WINDOW_START	((u64)SZ_1G - SZ_16M)

/* A random range of the window; @want is what each of its pages shall translate to. */
static void random_range(struct pt_test *t, struct pt_bo *bo, struct pt_range *range, u64 *want)
{
	u32 first = prandom_u32_state(&t->rnd) % WINDOW_PAGES;
	u32 count = 1 + prandom_u32_state(&t->rnd) % (WINDOW_PAGES - first);
	u64 bo_first = prandom_u32_state(&t->rnd) % 2048, len;
	bool host;
	u32 i;

	/* Often a few pages only, so that several ranges of an update leave something. */
	if (prandom_u32_state(&t->rnd) % 2)
		count = 1 + count % 600;
	if (prandom_u32_state(&t->rnd) % 2) {
		first = ALIGN_DOWN(first, 512);
		bo_first = ALIGN_DOWN(bo_first, 512);
	}
	*range = (struct pt_range) {
		bo, bo_first * SZ_4K, WINDOW_START + first * (u64)SZ_4K, count * (u64)SZ_4K
	};
	for (i = 0; i < count; i++) {
		len = SZ_4K;
		want[first + i] = !bo ? 0 :
			onpu_bo_extent(&bo->bo, (bo_first + i) * SZ_4K, &len, &host) | LEAF | RW |
			(bo->host ? ONPU_PTE_HOST : 0);
	}
}

/* The first page of the window that does not translate as @want says. */
static unsigned int first_wrong(struct pt_test *t, const u64 *want)
{
	unsigned int i;

	for (i = 0; i < WINDOW_PAGES; i++)
		if (walk(t, WINDOW_START + i * (u64)SZ_4K) != want[i])
			break;

	return i;
}

/* Random updates, compared with a plain array after each. */
static void random_updates(struct kunit *test)
{
	static struct pt_bo bos[] = {
		{ .base = SZ_1G, .piece = SZ_1G },
		{ .base = SZ_2G, .piece = SZ_2M, .stride = SZ_4M },
		{ .base = 3ull * SZ_1G, .piece = SZ_4K, .stride = SZ_8K, .host = true },
		{ .base = SZ_1G + SZ_4K, .piece = SZ_4M + SZ_4K, .stride = SZ_8M },
	};
	struct pt_test *t = test->priv;
	u64 *want = kunit_kcalloc(test, WINDOW_PAGES, sizeof(u64), GFP_KERNEL);
	struct pt_range ranges[8];
	unsigned int round;

	KUNIT_ASSERT_NOT_NULL(test, want);
	for (round = 0; round < 200; round++) {
		unsigned int i, count = 1 + prandom_u32_state(&t->rnd) % ARRAY_SIZE(ranges);

		for (i = 0; i < count; i++) {
			struct pt_bo *bo = &bos[prandom_u32_state(&t->rnd) % ARRAY_SIZE(bos)];

			if (prandom_u32_state(&t->rnd) % 3 == 0)
				bo = NULL;
			random_range(t, bo, &ranges[i], want);
		}
		KUNIT_ASSERT_EQ(test, update(t, ranges, count, RW), 0);
		KUNIT_ASSERT_EQ_MSG(test, first_wrong(t, want), WINDOW_PAGES, "round %u", round);
		KUNIT_ASSERT_EQ(test, onpu_pt_sync(&t->pgt), 0);
	}
	KUNIT_ASSERT_EQ(test, unmap(t, WINDOW_START, WINDOW_PAGES * (u64)SZ_4K), 0);
	KUNIT_ASSERT_EQ(test, onpu_pt_sync(&t->pgt), 0);
	KUNIT_EXPECT_EQ(test, tables(t), 1);
}

static struct kunit_case pt_cases[] = {
	KUNIT_CASE(pages_of_4k),
	KUNIT_CASE(bits_reach_the_card),
	KUNIT_CASE(pages_of_2m_where_they_fit),
	KUNIT_CASE(no_pages_of_2m_on_a_card_without),
	KUNIT_CASE(both_sizes_in_one_range),
	KUNIT_CASE(a_2m_page_is_split),
	KUNIT_CASE(a_2m_page_replaces_small_ones),
	KUNIT_CASE(empty_tables_go),
	KUNIT_CASE(ends_of_the_address_space),
	KUNIT_CASE(the_tlb_is_told_of_the_address_space),
	KUNIT_CASE(a_card_that_is_gone_is_left_alone),
	KUNIT_CASE(every_allocation_may_fail),
	KUNIT_CASE(a_split_may_fail),
	KUNIT_CASE(ranges_share_their_tables),
	KUNIT_CASE(ranges_meet),
	KUNIT_CASE(random_updates),
	{}
};

struct kunit_suite onpu_pt_suite = {
	.name = "onpu_pt",
	.init = pt_init,
	.exit = pt_exit,
	.test_cases = pt_cases,
};

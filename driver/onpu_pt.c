// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Page tables
 *
 * Four levels of 4 KiB tables in card memory, read by the card's MMU. The driver
 * never reads them back: of each entry that matters it keeps a copy. Directories
 * (levels 3 to 1) copy every entry, as pointer to the next table or as 2 MiB leaf;
 * level-0 tables only know which entries are valid.
 *
 * An update is one map or unmap, or many that happen together, and has four steps:
 *
 *  1. onpu_pt_prepare_map() and onpu_pt_prepare_unmap(), for each range in order,
 *     make the tables that are missing. They come from a stock; when that has too
 *     few, the range is incomplete, onpu_pt_stock_grow() allocates as many as it
 *     lacks, without the owner's lock, and the range is prepared again. An empty
 *     table says the same as none, so they are linked at once: the tree itself
 *     knows what all ranges have in common, and none is allocated in vain. They are
 *     *held*, that is, stay although they are empty. Splitting a large page would
 *     be seen, so that a table is only set aside for it.
 *  2. onpu_pt_map() and onpu_pt_unmap(), for each range; they cannot fail.
 *  3. onpu_pt_release(), for each range, lets go of what was held. Instead of step
 *     2 it undoes step 1.
 *  4. onpu_pt_sync() makes the card forget old translations and then frees the
 *     tables that became empty.
 *
 * Between the steps, others may take mappings away, but not add any.
 *
 * Every change is one 64-bit store into a live table, and a new table is complete
 * before it is linked, so that jobs that use other parts of the address space,
 * even of a 2 MiB page that is being split, never notice.
 *
 * Locking: the owner serialises all calls for one &struct onpu_pgtable
 * (&onpu_vm.pt_lock). After the card is gone the same calls keep the books and leave the
 * hardware alone; so card memory is only touched within drm_dev_enter(), which
 * each entry point does itself.
 */

#include <linux/bitmap.h>
#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "onpu_bo.h"
#include "onpu_device.h"
#include "onpu_place.h"
#include "onpu_pt.h"
#include "onpu_queue.h"
#include "onpu_recovery.h"
#include "onpu_vram.h"

/* What a sync may take beyond the longest packet that the watchdog tolerates. */
#define TLB_TIMEOUT_EXTRA_MS	10000

#define HUGE_SIZE		BIT_ULL(ONPU_MMU_HUGE_SHIFT)

/* How often room is made for a page table. */
#define PAGE_TRIES		8

/**
 * struct onpu_pt - a page table
 */
struct onpu_pt {
	/** @link: in a stock, or in &onpu_pgtable.dead */
	struct list_head link;
	/** @page: card memory of the table */
	struct gpu_buddy_block *page;
	/** @level: 3 (root) to 0 */
	unsigned int level;
	/** @used: valid entries */
	unsigned int used;
	/** @held: stays when it is empty, an update counts on it */
	bool held;
	union {
		/** @valid: level 0: which entries are valid */
		DECLARE_BITMAP(valid, ONPU_MMU_ENTRIES);
		/** @spare: level 1: large pages for whose split a table is set aside */
		DECLARE_BITMAP(spare, ONPU_MMU_ENTRIES);
	};
	/**
	 * @entry: levels 3 to 1: 0, a leaf as the card sees it (bit 0 set), or
	 * the address of the next struct onpu_pt
	 */
	u64 entry[];
};

static u64 pt_entry_size(unsigned int level)
{
	return 1ull << ONPU_MMU_SHIFT(level);
}

static unsigned int pt_index(unsigned int level, u64 va)
{
	return (va >> ONPU_MMU_SHIFT(level)) & (ONPU_MMU_ENTRIES - 1);
}

/* End of the entry that translates @va, or @end if that comes first. */
static u64 pt_entry_end(unsigned int level, u64 va, u64 end)
{
	u64 next = ALIGN_DOWN(va, pt_entry_size(level)) + pt_entry_size(level);

	return min(next, end);
}

static struct onpu_pt *pt_child(const struct onpu_pt *pt, unsigned int i)
{
	if (pt->entry[i] & ONPU_PTE_VALID)
		return NULL;
	return (struct onpu_pt *)(uintptr_t)pt->entry[i];
}

/* Stores an entry where the card sees it. */
static void pt_store(struct onpu_pgtable *pgt, struct onpu_pt *pt, unsigned int i, u64 pte)
{
	void __iomem *table = pgt->odev->vram.map + onpu_vram_page_offset(pt->page);

	if (pgt->live)
		writeq(pte, table + i * sizeof(u64));
}

/* Card memory is touched between these two only. */
static void pt_begin(struct onpu_pgtable *pgt, int *idx)
{
	pgt->live = drm_dev_enter(&pgt->odev->drm, idx);
}

static void pt_end(struct onpu_pgtable *pgt, int idx)
{
	if (pgt->live)
		drm_dev_exit(idx);
	pgt->live = false;
}

static void pt_free(struct onpu_device *odev, struct onpu_pt *pt)
{
	onpu_vram_page_free(odev, pt->page);
	kfree(pt);
}

static struct onpu_pt *pt_alloc(struct onpu_device *odev, bool dir)
{
	unsigned int tries;
	struct onpu_pt *pt;

	pt = kzalloc(struct_size(pt, entry, dir ? ONPU_MMU_ENTRIES : 0), GFP_KERNEL_ACCOUNT);
	if (!pt)
		return NULL;

	/* What is made free may be gone at once to somebody else. */
	for (tries = 0; tries < PAGE_TRIES; tries++) {
		pt->page = onpu_vram_page_alloc(odev);
		if (pt->page)
			return pt;
		if (onpu_room_make(odev))
			break;
	}
	kfree(pt);

	return NULL;
}

static void pt_clear(struct onpu_pgtable *pgt, struct onpu_pt *pt)
{
	if (pgt->live)
		onpu_vram_clear(pgt->odev, onpu_vram_page_offset(pt->page),
				ONPU_MMU_TABLE_SIZE);
}

/* A cleared table from the stock, which has enough by construction. */
static struct onpu_pt *pt_take(struct onpu_pgtable *pgt, struct onpu_pt_stock *stock,
			       unsigned int level)
{
	struct onpu_pt *pt;

	pt = list_first_entry(level ? &stock->dirs : &stock->leaves, typeof(*pt), link);
	list_del_init(&pt->link);
	if (!level)
		stock->nr_leaves--;
	pt->level = level;
	pgt->tables++;
	pt_clear(pgt, pt);

	return pt;
}

/* Makes @child, which is complete, the table behind entry @i. */
static void pt_link(struct onpu_pgtable *pgt, struct onpu_pt *pt, unsigned int i,
		    struct onpu_pt *child)
{
	if (!pt->entry[i])
		pt->used++;
	pt->entry[i] = (uintptr_t)child;

	/* The card must not see the link before the table. */
	wmb();
	pt_store(pgt, pt, i, onpu_vram_page_offset(child->page) | ONPU_PTE_VALID);
}

/* The entries of a table that is no longer linked die with it. */
static void pt_bury(struct onpu_pgtable *pgt, struct onpu_pt *pt)
{
	unsigned int i;

	for (i = 0; pt->level && i < ONPU_MMU_ENTRIES; i++)
		if (pt_child(pt, i))
			pt_bury(pgt, pt_child(pt, i));

	list_add_tail(&pt->link, &pgt->dead);
	pgt->tables--;
	pgt->dirty = true;
}

static void pt_set_leaf(struct onpu_pgtable *pgt, struct onpu_pt *pt, unsigned int i, u64 pte)
{
	if (pt->level) {
		struct onpu_pt *child = pt_child(pt, i);

		if (pt->entry[i])
			pgt->dirty = true;
		else
			pt->used++;
		pt->entry[i] = pte;
		pt_store(pgt, pt, i, pte);
		if (child)
			pt_bury(pgt, child);
		return;
	}

	if (__test_and_set_bit(i, pt->valid))
		pgt->dirty = true;
	else
		pt->used++;
	pt_store(pgt, pt, i, pte);
}

static void pt_clear_entry(struct onpu_pgtable *pgt, struct onpu_pt *pt, unsigned int i)
{
	if (pt->level)
		pt->entry[i] = 0;
	else if (!__test_and_clear_bit(i, pt->valid))
		return;

	pt->used--;
	pt_store(pgt, pt, i, 0);
	pgt->dirty = true;
}

/* A leaf; one without memory has no address. */
static u64 pt_leaf(u64 addr, u64 bits)
{
	return bits & ONPU_PTE_NULL ? bits : addr | bits;
}

/*
 * Where a part of a buffer object is, or of nothing (@bo is NULL): that is in one
 * piece and aligned as its address is, so large pages will do. @bits is set to what
 * the leaf needs to say of the place.
 */
static u64 pt_extent(struct onpu_bo *bo, u64 bo_offset, u64 va, u64 *run, u64 *bits)
{
	bool host;
	u64 addr;

	if (!bo) {
		*bits = ONPU_PTE_NULL;
		return va;
	}

	addr = onpu_bo_extent(bo, bo_offset, run, &host);
	*bits = host ? ONPU_PTE_HOST : 0;
	return addr;
}

/* Replaces the 2 MiB leaf behind entry @i by a table that says the same. */
static struct onpu_pt *pt_split(struct onpu_pgtable *pgt, struct onpu_pt_stock *stock,
				struct onpu_pt *pt, unsigned int i)
{
	struct onpu_pt *child = pt_take(pgt, stock, 0);
	u64 pte = pt->entry[i];
	unsigned int j;

	for (j = 0; j < ONPU_MMU_ENTRIES; j++)
		pt_store(pgt, child, j, pt_leaf((pte & ONPU_PTE_ADDR) + j * SZ_4K,
						pte & ~ONPU_PTE_ADDR));
	bitmap_fill(child->valid, ONPU_MMU_ENTRIES);
	child->used = ONPU_MMU_ENTRIES;
	/* It is set aside once for the whole update, so it has to stay. */
	child->held = test_bit(i, pt->spare);

	pt_link(pgt, pt, i, child);
	/* The 2 MiB translation may be cached still. */
	pgt->dirty = true;

	return child;
}

/* The table behind entry @i, made if need be. */
static struct onpu_pt *pt_descend(struct onpu_pgtable *pgt, struct onpu_pt_stock *stock,
				  struct onpu_pt *pt, unsigned int i)
{
	struct onpu_pt *child = pt_child(pt, i);

	if (child)
		return child;
	if (pt->entry[i])
		return pt_split(pgt, stock, pt, i);

	child = pt_take(pgt, stock, pt->level - 1);
	pt_link(pgt, pt, i, child);

	return child;
}

/* Whether a 2 MiB leaf can begin at @va; @run bytes from @addr are contiguous. */
static bool pt_fits_huge(struct onpu_device *odev, u64 va, u64 addr, u64 run)
{
	return (odev->caps.page_sizes & BIT(ONPU_MMU_HUGE_SHIFT)) &&
	       IS_ALIGNED(va | addr, HUGE_SIZE) && run >= HUGE_SIZE;
}

static void pt_map_page(struct onpu_pgtable *pgt, struct onpu_pt_stock *stock,
			u64 va, u64 pte, unsigned int leaf_level)
{
	struct onpu_pt *pt = pgt->root;

	while (pt->level > leaf_level)
		pt = pt_descend(pgt, stock, pt, pt_index(pt->level, va));

	pt_set_leaf(pgt, pt, pt_index(leaf_level, va), pte);
}

/* Maps up to the end of a level-0 table, walking down to it once. */
static u64 pt_map_small(struct onpu_pgtable *pgt, struct onpu_pt_stock *stock,
			u64 va, u64 addr, u64 run, u64 bits)
{
	u64 end = pt_entry_end(1, va, va + run);
	struct onpu_pt *pt = pgt->root;
	u64 done;

	while (pt->level)
		pt = pt_descend(pgt, stock, pt, pt_index(pt->level, va));

	for (done = 0; va + done < end; done += SZ_4K)
		pt_set_leaf(pgt, pt, pt_index(0, va + done), pt_leaf(addr + done, bits));

	return done;
}

/* Maps @run contiguous bytes from @addr; @bits is complete. */
static void pt_map_run(struct onpu_pgtable *pgt, struct onpu_pt_stock *stock,
		       u64 va, u64 addr, u64 run, u64 bits)
{
	u64 step = 0;

	while (step < run) {
		if (pt_fits_huge(pgt->odev, va + step, addr + step, run - step)) {
			pt_map_page(pgt, stock, va + step, pt_leaf(addr + step, bits), 1);
			step += HUGE_SIZE;
		} else {
			step += pt_map_small(pgt, stock, va + step, addr + step,
					     run - step, bits);
		}
	}
}

/**
 * onpu_pt_map() - map a range of a buffer object
 * @pgt: page tables
 * @stock: stock that the same range was prepared with
 * @bo: buffer object; it does not move while it is mapped; or NULL for nothing,
 *	which reads as zero
 * @bo_offset: first byte of it, page aligned
 * @va: address, page aligned
 * @size: bytes, page aligned
 * @bits: ONPU_PTE_READ, WRITE and PRIV
 *
 * Replaces what was mapped there.
 */
void onpu_pt_map(struct onpu_pgtable *pgt, struct onpu_pt_stock *stock,
		 struct onpu_bo *bo, u64 bo_offset, u64 va, u64 size, u64 bits)
{
	int idx;

	bits |= ONPU_PTE_VALID | ONPU_PTE_LEAF;
	pt_begin(pgt, &idx);

	while (size) {
		u64 run = size, place;
		u64 addr = pt_extent(bo, bo_offset, va, &run, &place);

		pt_map_run(pgt, stock, va, addr, run, bits | place);
		va += run;
		bo_offset += run;
		size -= run;
	}

	pt_end(pgt, idx);
}

static void pt_unmap_level(struct onpu_pgtable *pgt, struct onpu_pt_stock *stock,
			   struct onpu_pt *pt, u64 va, u64 end)
{
	u64 next;

	for (; va < end; va = next) {
		unsigned int i = pt_index(pt->level, va);
		struct onpu_pt *child;

		next = pt_entry_end(pt->level, va, end);
		if (!pt->level) {
			pt_clear_entry(pgt, pt, i);
			continue;
		}
		if (!pt->entry[i])
			continue;

		child = pt_child(pt, i);
		if (!child) {
			if (next - va == pt_entry_size(pt->level)) {
				pt_clear_entry(pgt, pt, i);
				continue;
			}
			child = pt_split(pgt, stock, pt, i);
		}

		pt_unmap_level(pgt, stock, child, va, next);
		if (!child->used && !child->held) {
			pt_clear_entry(pgt, pt, i);
			pt_bury(pgt, child);
		}
	}
}

/**
 * onpu_pt_unmap() - unmap a range
 * @pgt: page tables
 * @stock: stock that the same range was prepared with
 * @va: address, page aligned
 * @size: bytes, page aligned; holes are fine
 */
void onpu_pt_unmap(struct onpu_pgtable *pgt, struct onpu_pt_stock *stock,
		   u64 va, u64 size)
{
	int idx;

	pt_begin(pgt, &idx);
	pt_unmap_level(pgt, stock, pgt->root, va, va + size);
	pt_end(pgt, idx);
}

/**
 * onpu_pt_stock_init() - begin with an empty stock
 * @stock: stock
 */
void onpu_pt_stock_init(struct onpu_pt_stock *stock)
{
	memset(stock, 0, sizeof(*stock));
	INIT_LIST_HEAD(&stock->dirs);
	INIT_LIST_HEAD(&stock->leaves);
	stock->huge.start = ~0ull;
}

/* --- before an update: the tables that it needs ----------------------------------- */

/* Begins to prepare a range, perhaps not for the first time. */
static void prepare_begin(struct onpu_pt_stock *stock)
{
	unsigned int i;

	stock->lacks.dirs = 0;
	stock->lacks.leaves = 0;
	for (i = 0; i < ARRAY_SIZE(stock->lacks.last); i++)
		stock->lacks.last[i] = ~0ull;
	stock->extra = 0;
	stock->small = ~0ull;
}

/* Whether the range is complete; then what it needs beyond the tree is set aside. */
static bool prepare_end(struct onpu_pt_stock *stock)
{
	unsigned int left = stock->nr_leaves - stock->nr_spare;

	if (stock->extra > left)
		stock->lacks.leaves += stock->extra - left;
	if (stock->lacks.dirs || stock->lacks.leaves)
		return false;

	stock->nr_spare += stock->extra;
	return true;
}

/* Counts the tables from level @from down to @to that are missing at @va, each once. */
static void prepare_count(struct onpu_pt_stock *stock, u64 va, unsigned int from, unsigned int to)
{
	unsigned int level;

	for (level = from + 1; level-- > to;) {
		u64 which = va >> ONPU_MMU_SHIFT(level + 1);

		if (stock->lacks.last[level] == which)
			continue;
		stock->lacks.last[level] = which;
		if (level)
			stock->lacks.dirs++;
		else
			stock->lacks.leaves++;
	}
}

/* Sets a table aside for the split of the large page behind entry @i of level 1. */
static void prepare_split(struct onpu_pt_stock *stock, struct onpu_pt *pt, unsigned int i)
{
	if (test_bit(i, pt->spare))
		return;

	if (stock->nr_leaves > stock->nr_spare) {
		stock->nr_spare++;
		__set_bit(i, pt->spare);
	} else {
		stock->lacks.leaves++;
	}
}

/*
 * An earlier range of the same update makes large pages around there, which are not in
 * the tree yet: a table for each time that one may have to be split.
 */
static void prepare_maybe_split(struct onpu_pt_stock *stock, u64 va)
{
	if (va >= stock->huge.start && va < stock->huge.end)
		stock->extra++;
}

/* Has tables made down to @level. */
static void prepare_path(struct onpu_pgtable *pgt, struct onpu_pt_stock *stock, u64 va,
			 unsigned int level)
{
	struct onpu_pt *pt = pgt->root;

	while (pt->level > level) {
		unsigned int i = pt_index(pt->level, va), next = pt->level - 1;
		struct onpu_pt *child = pt_child(pt, i);

		if (!child && pt->entry[i]) {
			prepare_split(stock, pt, i);
			return;
		}
		if (!child) {
			if (next ? list_empty(&stock->dirs) : stock->nr_leaves <= stock->nr_spare) {
				prepare_count(stock, va, next, level);
				return;
			}
			child = pt_take(pgt, stock, next);
			pt_link(pgt, pt, i, child);
		}
		child->held = true;
		pt = child;
	}
}

/* Scattered pages have their table in common. */
static void prepare_small(struct onpu_pgtable *pgt, struct onpu_pt_stock *stock, u64 va)
{
	if (va >> ONPU_MMU_HUGE_SHIFT == stock->small)
		return;

	stock->small = va >> ONPU_MMU_HUGE_SHIFT;
	prepare_path(pgt, stock, va, 0);
	prepare_maybe_split(stock, va);
}

/* For pt_map_run() with the same arguments. */
static void prepare_run(struct onpu_pgtable *pgt, struct onpu_pt_stock *stock, u64 va,
			u64 addr, u64 run)
{
	u64 step = 0, len;

	while (step < run) {
		if (pt_fits_huge(pgt->odev, va + step, addr + step, run - step)) {
			/* All large pages of a table. */
			len = pt_entry_end(2, va + step, va + run) - (va + step);
			prepare_path(pgt, stock, va + step, 1);
			step += ALIGN_DOWN(len, HUGE_SIZE);
		} else {
			prepare_small(pgt, stock, va + step);
			step = pt_entry_end(1, va + step, va + run) - va;
		}
	}
}

/* Whether a run has large pages; they matter to the ranges that follow. */
static bool run_has_huge(struct onpu_device *odev, u64 va, u64 addr, u64 run)
{
	u64 skip = ALIGN(va, HUGE_SIZE) - va;

	return skip < run && pt_fits_huge(odev, va + skip, addr + skip, run - skip);
}

static void note_huge(struct onpu_pt_stock *stock, u64 va, u64 size)
{
	stock->huge.start = min(stock->huge.start, ALIGN_DOWN(va, HUGE_SIZE));
	stock->huge.end = max(stock->huge.end, ALIGN(va + size, HUGE_SIZE));
}

/**
 * onpu_pt_prepare_map() - make the tables that a map needs
 * @pgt: page tables
 * @stock: stock of the update
 * @bo: arguments of the onpu_pt_map() to come
 * @bo_offset: likewise
 * @va: likewise
 * @size: likewise
 *
 * Return: false when the stock has too few: onpu_pt_stock_grow(), and again.
 */
bool onpu_pt_prepare_map(struct onpu_pgtable *pgt, struct onpu_pt_stock *stock,
			 struct onpu_bo *bo, u64 bo_offset, u64 va, u64 size)
{
	u64 done, run;
	bool huge = false;
	int idx;

	prepare_begin(stock);
	pt_begin(pgt, &idx);
	for (done = 0; done < size; done += run) {
		u64 start = va + done, addr, place;

		run = size - done;
		addr = pt_extent(bo, bo_offset + done, start, &run, &place);
		huge = huge || run_has_huge(pgt->odev, start, addr, run);
		prepare_run(pgt, stock, start, addr, run);
	}
	pt_end(pgt, idx);

	if (!prepare_end(stock))
		return false;
	if (huge)
		note_huge(stock, va, size);
	return true;
}

static void prepare_edge(struct onpu_pgtable *pgt, struct onpu_pt_stock *stock, u64 va)
{
	struct onpu_pt *pt = pgt->root;

	prepare_maybe_split(stock, va);
	while (pt && pt->level > 1)
		pt = pt_child(pt, pt_index(pt->level, va));
	if (pt && pt->entry[pt_index(1, va)] & ONPU_PTE_VALID)
		prepare_split(stock, pt, pt_index(1, va));
}

/**
 * onpu_pt_prepare_unmap() - set aside the tables that an unmap needs
 * @pgt: page tables
 * @stock: stock of the update
 * @va: arguments of the onpu_pt_unmap() to come
 * @size: likewise
 *
 * Return: false when the stock has too few: onpu_pt_stock_grow(), and again.
 */
bool onpu_pt_prepare_unmap(struct onpu_pgtable *pgt, struct onpu_pt_stock *stock,
			   u64 va, u64 size)
{
	u64 end = va + size;

	/* Large pages at the ends are split, those between go as a whole. */
	prepare_begin(stock);
	if (!IS_ALIGNED(va, HUGE_SIZE))
		prepare_edge(pgt, stock, va);
	if (!IS_ALIGNED(end, HUGE_SIZE))
		prepare_edge(pgt, stock, end);

	return prepare_end(stock);
}

static void pt_release_level(struct onpu_pgtable *pgt, struct onpu_pt *pt, u64 va, u64 end)
{
	u64 next;

	for (; va < end; va = next) {
		unsigned int i = pt_index(pt->level, va);
		struct onpu_pt *child = pt_child(pt, i);

		next = pt_entry_end(pt->level, va, end);
		if (pt->level == 1)
			__clear_bit(i, pt->spare);
		if (!child)
			continue;

		if (child->level)
			pt_release_level(pgt, child, va, next);
		child->held = false;
		if (!child->used) {
			pt_clear_entry(pgt, pt, i);
			pt_bury(pgt, child);
		}
	}
}

/**
 * onpu_pt_release() - let go of the tables that a range was prepared with
 * @pgt: page tables
 * @va: address, page aligned
 * @size: bytes, page aligned
 *
 * Those that are empty go with the next onpu_pt_sync().
 */
void onpu_pt_release(struct onpu_pgtable *pgt, u64 va, u64 size)
{
	int idx;

	pt_begin(pgt, &idx);
	pt_release_level(pgt, pgt->root, va, va + size);
	pt_end(pgt, idx);
}

static int stock_add(struct onpu_device *odev, struct onpu_pt_stock *stock, bool dir)
{
	struct onpu_pt *pt = pt_alloc(odev, dir);

	if (!pt)
		return -ENOMEM;

	list_add(&pt->link, dir ? &stock->dirs : &stock->leaves);
	if (!dir)
		stock->nr_leaves++;
	cond_resched();

	return 0;
}

/**
 * onpu_pt_stock_grow() - allocate the tables that a range lacks
 * @odev: card
 * @stock: stock
 *
 * Without the owner's lock: what makes room for a table may take mappings away.
 *
 * Return: 0, or -ENOMEM or -EINTR; what was added stays in @stock.
 */
int onpu_pt_stock_grow(struct onpu_device *odev, struct onpu_pt_stock *stock)
{
	int ret = 0;

	for (; !ret && stock->lacks.dirs; stock->lacks.dirs--)
		ret = stock_add(odev, stock, true);
	for (; !ret && stock->lacks.leaves; stock->lacks.leaves--)
		ret = stock_add(odev, stock, false);

	return ret ?: fatal_signal_pending(current) ? -EINTR : 0;
}

static void pt_free_list(struct onpu_device *odev, struct list_head *list)
{
	struct onpu_pt *pt, *next;

	list_for_each_entry_safe(pt, next, list, link)
		pt_free(odev, pt);
	INIT_LIST_HEAD(list);
}

/**
 * onpu_pt_stock_fini() - free what is left of a stock
 * @odev: card
 * @stock: stock
 */
void onpu_pt_stock_fini(struct onpu_device *odev, struct onpu_pt_stock *stock)
{
	pt_free_list(odev, &stock->dirs);
	pt_free_list(odev, &stock->leaves);
	onpu_pt_stock_init(stock);
}

/**
 * onpu_pt_map_card() - map card memory as such
 * @pgt: page tables, which nobody else uses yet
 * @addr: offset in card memory, page aligned
 * @va: address, page aligned, with nothing mapped there
 * @size: bytes, page aligned
 * @bits: ONPU_PTE_READ, WRITE and PRIV
 *
 * Return: 0, -ENOMEM or -EINTR.
 */
int onpu_pt_map_card(struct onpu_pgtable *pgt, u64 addr, u64 va, u64 size, u64 bits)
{
	struct onpu_pt_stock stock;
	bool complete;
	int ret, idx;

	onpu_pt_stock_init(&stock);
	do {
		prepare_begin(&stock);
		pt_begin(pgt, &idx);
		prepare_run(pgt, &stock, va, addr, size);
		pt_end(pgt, idx);
		complete = prepare_end(&stock);
		ret = complete ? 0 : onpu_pt_stock_grow(pgt->odev, &stock);
	} while (!complete && !ret);

	if (!ret) {
		pt_begin(pgt, &idx);
		pt_map_run(pgt, &stock, va, addr, size, bits | ONPU_PTE_VALID | ONPU_PTE_LEAF);
		pt_end(pgt, idx);
	}
	onpu_pt_release(pgt, va, size);
	onpu_pt_stock_fini(pgt->odev, &stock);

	return ret;
}

static u64 window_table(struct onpu_pgtable *pgt, u64 va)
{
	struct onpu_pt *pt = pgt->root;

	while (pt->level)
		pt = pt_child(pt, pt_index(pt->level, va));

	return onpu_vram_page_offset(pt->page);
}

/**
 * onpu_pt_make_window() - make empty tables whose entries the caller writes
 * @pgt: page tables, which nobody else uses yet
 * @va: address, aligned to 2 MiB, with nothing mapped there
 * @tables: level-0 tables, that is pieces of 2 MiB
 * @offsets: set to where each of them is in card memory
 *
 * The tables live as long as the page tables: they are held for good.
 *
 * Return: 0, -ENOMEM or -EINTR.
 */
int onpu_pt_make_window(struct onpu_pgtable *pgt, u64 va, unsigned int tables, u64 *offsets)
{
	struct onpu_pt_stock stock;
	bool complete;
	unsigned int i;
	int ret, idx;

	onpu_pt_stock_init(&stock);
	do {
		prepare_begin(&stock);
		pt_begin(pgt, &idx);
		for (i = 0; i < tables; i++)
			prepare_path(pgt, &stock, va + i * HUGE_SIZE, 0);
		pt_end(pgt, idx);
		complete = prepare_end(&stock);
		ret = complete ? 0 : onpu_pt_stock_grow(pgt->odev, &stock);
	} while (!complete && !ret);

	for (i = 0; !ret && i < tables; i++)
		offsets[i] = window_table(pgt, va + i * HUGE_SIZE);
	onpu_pt_stock_fini(pgt->odev, &stock);

	return ret;
}

/* Asks for an invalidation; returns its sequence number. */
static u32 pt_tlb_request(struct onpu_device *odev, u32 asid)
{
	u32 seq;

	spin_lock(&odev->tlb.lock);
	onpu_write32(odev, ONPU_REG_TLB_INV, asid);
	seq = onpu_read32(odev, ONPU_REG_TLB_SEQ);
	spin_unlock(&odev->tlb.lock);

	return seq;
}

/*
 * Waits until the card has done invalidation @seq. It waits itself for packets
 * that use old translations, so this may take as long as a packet may run.
 */
static int pt_tlb_wait(struct onpu_device *odev, u32 seq)
{
	unsigned int delay_us = 5;
	ktime_t end = ktime_add_ms(ktime_get(), onpu_queue_job_timeout_ms() + TLB_TIMEOUT_EXTRA_MS);

	while ((s32)(onpu_read32(odev, ONPU_REG_TLB_DONE) - seq) < 0) {
		if (onpu_device_gone(odev))
			return -ENODEV;
		if (onpu_recovery_is_stopped(odev)) {
			/* Reset, it has forgotten all. It is not started before we leave. */
			onpu_recovery_sync(odev);
			return onpu_recovery_is_gone(odev) ? -ENODEV :
			       onpu_recovery_is_wedged(odev) ? -EIO : 0;
		}
		if (ktime_after(ktime_get(), end)) {
			onpu_recovery_restart(odev, "TLB invalidation does not end");
			onpu_recovery_flush(odev);
		}
		usleep_range(delay_us, 2 * delay_us);
		delay_us = min(2 * delay_us, 10000u);
	}

	return 0;
}

/**
 * onpu_pt_invalidate() - make the card forget translations
 * @odev: card; registers accessible
 * @asid: address-space id
 *
 * For tables whose entries somebody else writes. Waits for packets of that
 * context that execute. Safe where fences are signalled.
 *
 * Return: as onpu_pt_sync().
 */
int onpu_pt_invalidate(struct onpu_device *odev, u32 asid)
{
	/* Entries before the invalidation. */
	wmb();
	return pt_tlb_wait(odev, pt_tlb_request(odev, asid));
}

/**
 * onpu_pt_flush() - make changes take effect, but free nothing
 * @pgt: page tables
 *
 * As onpu_pt_sync(), for callers who hold what is taken where fences are signalled:
 * freeing is not allowed there. onpu_pt_reap() has to follow.
 *
 * Return: as onpu_pt_sync().
 */
int onpu_pt_flush(struct onpu_pgtable *pgt)
{
	struct onpu_device *odev = pgt->odev;
	int ret = 0, idx;

	if (drm_dev_enter(&odev->drm, &idx)) {
		/* Entries before the invalidation, and before any doorbell. */
		wmb();
		if (pgt->dirty)
			ret = pt_tlb_wait(odev, pt_tlb_request(odev, pgt->asid));
		drm_dev_exit(idx);
	} else {
		ret = -ENODEV;
	}
	pgt->dirty = false;

	return ret;
}

/**
 * onpu_pt_reap() - free the tables that became empty
 * @pgt: page tables, after onpu_pt_flush()
 */
void onpu_pt_reap(struct onpu_pgtable *pgt)
{
	pt_free_list(pgt->odev, &pgt->dead);
}

/**
 * onpu_pt_sync() - make changes take effect
 * @pgt: page tables
 *
 * When it returns 0, jobs submitted later see the new entries and nothing
 * translates through the old ones.
 *
 * Not even a fatal signal ends the wait: the memory behind removed mappings may
 * belong to somebody else afterwards.
 *
 * Return: 0, -ENODEV when the card is gone, or -EIO when it is wedged; then too
 * nothing translates through the old entries.
 */
int onpu_pt_sync(struct onpu_pgtable *pgt)
{
	int ret = onpu_pt_flush(pgt);

	onpu_pt_reap(pgt);
	return ret;
}

/**
 * onpu_pgtable_root() - where the page tables begin
 * @pgt: page tables
 *
 * Return: offset of the root table in card memory.
 */
u64 onpu_pgtable_root(const struct onpu_pgtable *pgt)
{
	return onpu_vram_page_offset(pgt->root->page);
}

/**
 * onpu_pgtable_bytes() - card memory in page tables
 * @pgt: page tables
 *
 * Return: bytes, without those of tables that are about to be freed.
 */
u64 onpu_pgtable_bytes(const struct onpu_pgtable *pgt)
{
	return pgt->tables * ONPU_MMU_TABLE_SIZE;
}

/**
 * onpu_pgtable_init() - create empty page tables
 * @pgt: to initialise
 * @odev: card
 * @asid: address-space id
 *
 * Return: 0 or -ENOMEM.
 */
int onpu_pgtable_init(struct onpu_pgtable *pgt, struct onpu_device *odev, u32 asid)
{
	int idx;

	pgt->odev = odev;
	pgt->asid = asid;
	pgt->dirty = false;
	INIT_LIST_HEAD(&pgt->dead);

	pgt->root = pt_alloc(odev, true);
	if (!pgt->root)
		return -ENOMEM;
	pgt->tables = 1;
	pgt->root->level = ONPU_MMU_LEVELS - 1;
	pt_begin(pgt, &idx);
	pt_clear(pgt, pgt->root);
	/* Zeros before the card is told of the table. */
	wmb();
	pt_end(pgt, idx);

	return 0;
}

/**
 * onpu_pgtable_fini() - free page tables
 * @pgt: page tables; the card does not walk them any more
 */
void onpu_pgtable_fini(struct onpu_pgtable *pgt)
{
	if (!pgt->root)
		return;

	pt_bury(pgt, pgt->root);
	pt_free_list(pgt->odev, &pgt->dead);
	pgt->root = NULL;
}

/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_PT_H__
#define __ONPU_PT_H__

#include <linux/list.h>
#include <linux/types.h>

struct onpu_bo;
struct onpu_device;
struct onpu_pt;

/**
 * struct onpu_pgtable - page tables of an address space
 *
 * Whoever owns it locks it; see the DOC block of onpu_pt.c.
 */
struct onpu_pgtable {
	/** @odev: the card */
	struct onpu_device *odev;
	/** @root: table of level 3 */
	struct onpu_pt *root;
	/** @dead: tables that the card may still walk until the next sync */
	struct list_head dead;
	/** @tables: tables that are linked, the root included */
	u64 tables;
	/** @asid: address-space id that translations are tagged with */
	u32 asid;
	/** @dirty: valid entries changed since the last sync */
	bool dirty;
	/** @live: within an update, the card is there to be written to */
	bool live;
};

/**
 * struct onpu_pt_stock - tables allocated ahead of an update
 */
struct onpu_pt_stock {
	/** @dirs: tables of levels 1 and 2 */
	struct list_head dirs;
	/** @leaves: tables of level 0 */
	struct list_head leaves;
	/** @nr_leaves: how many @leaves has */
	unsigned int nr_leaves;
	/** @nr_spare: how many of them are set aside */
	unsigned int nr_spare;
	/** @extra: how many the range that is being prepared may need beyond the tree */
	unsigned int extra;
	/** @small: number of the 2 MiB piece whose small pages were prepared last */
	u64 small;
	/** @lacks: what that range lacks */
	struct {
		/** @lacks.dirs: tables of levels 1 and 2 */
		unsigned int dirs;
		/** @lacks.leaves: tables of level 0 */
		unsigned int leaves;
		/** @lacks.last: by level, the table that was counted last */
		u64 last[3];
	} lacks;
	/** @huge: around the large pages that ranges prepared so far will make */
	struct {
		/** @huge.start: first byte */
		u64 start;
		/** @huge.end: first byte behind */
		u64 end;
	} huge;
};

int onpu_pgtable_init(struct onpu_pgtable *pgt, struct onpu_device *odev, u32 asid);
void onpu_pgtable_fini(struct onpu_pgtable *pgt);
u64 onpu_pgtable_root(const struct onpu_pgtable *pgt);
u64 onpu_pgtable_bytes(const struct onpu_pgtable *pgt);

void onpu_pt_stock_init(struct onpu_pt_stock *stock);
int onpu_pt_stock_grow(struct onpu_device *odev, struct onpu_pt_stock *stock);
void onpu_pt_stock_fini(struct onpu_device *odev, struct onpu_pt_stock *stock);

bool onpu_pt_prepare_map(struct onpu_pgtable *pgt, struct onpu_pt_stock *stock,
			 struct onpu_bo *bo, u64 bo_offset, u64 va, u64 size);
bool onpu_pt_prepare_unmap(struct onpu_pgtable *pgt, struct onpu_pt_stock *stock,
			   u64 va, u64 size);
void onpu_pt_release(struct onpu_pgtable *pgt, u64 va, u64 size);
void onpu_pt_map(struct onpu_pgtable *pgt, struct onpu_pt_stock *stock,
		 struct onpu_bo *bo, u64 bo_offset, u64 va, u64 size, u64 bits);
int onpu_pt_map_card(struct onpu_pgtable *pgt, u64 addr, u64 va, u64 size, u64 bits);
int onpu_pt_make_window(struct onpu_pgtable *pgt, u64 va, unsigned int tables, u64 *offsets);
void onpu_pt_unmap(struct onpu_pgtable *pgt, struct onpu_pt_stock *stock,
		   u64 va, u64 size);
int onpu_pt_flush(struct onpu_pgtable *pgt);
void onpu_pt_reap(struct onpu_pgtable *pgt);
int onpu_pt_sync(struct onpu_pgtable *pgt);
int onpu_pt_invalidate(struct onpu_device *odev, u32 asid);

#endif /* __ONPU_PT_H__ */

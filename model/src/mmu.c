// SPDX-License-Identifier: MIT
/*
 * The device MMU: four-level page walk of one context (uapi/onpu/mmu.h).
 *
 * Idea: a slot asks its own TLB first and walks the tables in card memory when
 * that misses. Every entry is loaded once, atomically, and judged on the copy:
 * the guest may change the tables at any moment and gets either the old or the
 * new translation, never a mixture, and never an address outside card memory.
 *
 * A run of 4 KiB pages mostly lies in one level-0 table; the TLB remembers the
 * table walked last, so that each further page of the run costs one load.
 *
 * Locking: none. Runs as the slot's engine; contexts are read by atomics. The
 * generation of the context is read before the tables: an invalidation that
 * comes in between makes what is inserted here stale at once.
 */
#include "onpu_internal.h"

#define VA_END	(1ull << ONPU_MMU_VA_BITS)

void onpu_mmu_fault(struct onpu_slot *slot, uint64_t va, unsigned int reason, unsigned int kind,
		    unsigned int level)
{
	slot->fault.va = va;
	slot->fault.info = ONPU_FAULT_INFO(reason, kind, level);
}

/* False, and the fault recorded, unless [va, va + len) lies in the address space. */
bool onpu_mmu_check_range(struct onpu_slot *slot, uint64_t va, uint64_t len, unsigned int kind)
{
	if (va < VA_END && len <= VA_END - va)
		return true;
	onpu_mmu_fault(slot, va, ONPU_FAULT_VA_RANGE, kind, ONPU_MMU_LEVELS - 1);
	return false;
}

/* What the firmware keeps in card memory is nobody else's, whatever page tables say. */
static bool hits_firmware(const struct onpu_card *card, uint64_t addr, uint64_t size)
{
	return addr < card->fw_offset + card->fw_size && card->fw_offset < addr + size;
}

static unsigned int leaf_problem(const struct onpu_card *card, uint64_t pte, unsigned int level)
{
	uint64_t size = 1ull << ONPU_MMU_SHIFT(level);
	uint64_t addr = pte & ONPU_PTE_ADDR;

	if (pte & ~ONPU_PTE_LEAF_BITS)
		return ONPU_FAULT_RESERVED;
	if (pte & ONPU_PTE_NULL)
		return pte & (ONPU_PTE_HOST | ONPU_PTE_ADDR) ? ONPU_FAULT_RESERVED
							     : ONPU_FAULT_NONE;
	if (addr & (size - 1))
		return ONPU_FAULT_ADDRESS;
	if (!(pte & ONPU_PTE_HOST) && (addr >= card->vram_size || size > card->vram_size - addr ||
				       hits_firmware(card, addr, size)))
		return ONPU_FAULT_ADDRESS;
	return ONPU_FAULT_NONE;
}

/* Walks to the leaf of va; ONPU_FAULT_NONE and the leaf, or the reason; level in any case. */
static unsigned int walk(struct onpu_slot *slot, uint64_t gen, uint64_t va, uint64_t *leaf,
			 unsigned int *level)
{
	struct onpu_card *card = slot->card;
	struct tlb *tlb = &slot->tlb;
	uint64_t table;
	int l = ONPU_MMU_LEVELS - 1;

	if (tlb->table_gen == gen && tlb->table_vpn == va >> ONPU_MMU_HUGE_SHIFT) {
		table = tlb->table;
		l = 0;
	} else {
		table = atomic_load_explicit(&card->contexts[slot->asid].root,
					     memory_order_relaxed);
	}
	for (;; l--) {
		unsigned int index = (va >> ONPU_MMU_SHIFT(l)) & (ONPU_MMU_ENTRIES - 1);
		uint64_t pte;

		*level = l;
		if (table & (ONPU_MMU_TABLE_SIZE - 1) || table >= card->vram_size ||
		    hits_firmware(card, table, ONPU_MMU_TABLE_SIZE))
			return ONPU_FAULT_ADDRESS;
		/* vram_size is a multiple of the table size, so the table ends inside, too. */
		pte = __atomic_load_n((uint64_t *)(void *)(card->vram + table) + index,
				      __ATOMIC_ACQUIRE);
		if (!(pte & ONPU_PTE_VALID))
			return ONPU_FAULT_NOT_PRESENT;
		if (pte & ONPU_PTE_LEAF) {
			if (l > 1)
				return ONPU_FAULT_RESERVED;
			*leaf = pte;
			return leaf_problem(card, pte, l);
		}
		if (l == 0 || pte & ~ONPU_PTE_TABLE_BITS)
			return ONPU_FAULT_RESERVED;
		table = pte & ONPU_PTE_ADDR;
		if (l == 1 && table < card->vram_size) {
			tlb->table_gen = gen;
			tlb->table_vpn = va >> ONPU_MMU_HUGE_SHIFT;
			tlb->table = table;
		}
	}
}

static unsigned int find_leaf(struct onpu_slot *slot, uint64_t va, uint64_t *pte,
			      unsigned int *level)
{
	struct onpu_context *ctx = &slot->card->contexts[slot->asid];
	uint64_t gen = atomic_load_explicit(&ctx->gen, memory_order_seq_cst);
	const struct tlb_entry *entry;
	unsigned int reason;

	*level = ONPU_MMU_LEVELS - 1;
	if (!(atomic_load_explicit(&ctx->ctrl, memory_order_acquire) & ONPU_CTX_VALID))
		return ONPU_FAULT_CONTEXT;
	entry = onpu_tlb_lookup(&slot->tlb, gen, va);
	if (entry) {
		slot->tlb.hits++;
		*pte = entry->pte;
		*level = entry >= slot->tlb.huge && entry < slot->tlb.huge + TLB_HUGE_ENTRIES;
		return ONPU_FAULT_NONE;
	}
	slot->tlb.walks++;
	reason = walk(slot, gen, va, pte, level);
	if (reason == ONPU_FAULT_NONE)
		onpu_tlb_insert(&slot->tlb, gen, va, *level, *pte);
	return reason;
}

/* Translates one address; on failure false and the fault recorded in the slot. */
bool onpu_mmu_translate(struct onpu_slot *slot, uint64_t va, unsigned int kind, bool priv,
			struct mmu_xlat *out)
{
	uint64_t need = kind == ONPU_FAULT_ACCESS_WRITE ? ONPU_PTE_WRITE : ONPU_PTE_READ;
	unsigned int level = ONPU_MMU_LEVELS - 1, reason;
	uint64_t pte = 0, mask;

	if (va >= VA_END)
		reason = ONPU_FAULT_VA_RANGE;
	else
		reason = find_leaf(slot, va, &pte, &level);
	if (reason == ONPU_FAULT_NONE && pte & ONPU_PTE_PRIV && !priv)
		reason = ONPU_FAULT_PRIVILEGE;
	if (reason == ONPU_FAULT_NONE && !(pte & need))
		reason = ONPU_FAULT_PERMISSION;
	if (reason != ONPU_FAULT_NONE) {
		onpu_mmu_fault(slot, va, reason, kind, level);
		return false;
	}
	mask = (1ull << ONPU_MMU_SHIFT(level)) - 1;
	out->addr = (pte & ONPU_PTE_ADDR) + (va & mask);
	out->len = mask + 1 - (va & mask);
	out->host = pte & ONPU_PTE_HOST;
	out->null = pte & ONPU_PTE_NULL;
	out->level = level;
	return true;
}

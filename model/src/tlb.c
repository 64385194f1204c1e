// SPDX-License-Identifier: MIT
/*
 * Translation cache and its invalidation.
 *
 * Idea: each slot has a direct-mapped TLB of its own, so that look-ups need no
 * lock. Entries carry the generation of the context they were walked in;
 * generations come from one counter and are never reused, so advancing a
 * context's generation invalidates it in every slot at once, and an entry can
 * never serve another context.
 *
 * That alone does not end an invalidation: a packet in flight may hold
 * pointers that it got from old translations. A slot announces itself before
 * it translates anything (onpu_tlb_use_begin) and leaves when the packet is
 * complete. A request marks the slots of its context that are inside; TLB_DONE
 * stays below the oldest request that still has such a slot. A slot that is not marked
 * stays inside for its next packet, if that follows at once: it has not been asked to leave.
 *
 * Locking: inv_lock orders requests, use_lock (per slot) guards the mark. A
 * slot is either inside before the request looks, then it is marked; or it
 * enters later, then it sees the new generation (and the guest's new tables).
 */
#include "onpu_internal.h"

/* Neighbours never collide, and regions at round addresses seldom do. */
static unsigned int small_index(uint64_t vpn)
{
	return (vpn ^ vpn >> 9 ^ vpn >> 18 ^ vpn >> 27) & (TLB_SMALL_ENTRIES - 1);
}

static unsigned int huge_index(uint64_t vpn)
{
	return (vpn ^ vpn >> 6 ^ vpn >> 12 ^ vpn >> 18) & (TLB_HUGE_ENTRIES - 1);
}

const struct tlb_entry *onpu_tlb_lookup(struct tlb *tlb, uint64_t gen, uint64_t va)
{
	uint64_t vpn = va >> ONPU_MMU_PAGE_SHIFT;
	const struct tlb_entry *entry = &tlb->small[small_index(vpn)];

	if (entry->gen == gen && entry->vpn == vpn)
		return entry;
	vpn = va >> ONPU_MMU_HUGE_SHIFT;
	entry = &tlb->huge[huge_index(vpn)];
	if (entry->gen == gen && entry->vpn == vpn)
		return entry;
	return NULL;
}

void onpu_tlb_insert(struct tlb *tlb, uint64_t gen, uint64_t va, unsigned int level, uint64_t pte)
{
	uint64_t vpn = va >> ONPU_MMU_SHIFT(level);
	struct tlb_entry *entry = level ? &tlb->huge[huge_index(vpn)]
					: &tlb->small[small_index(vpn)];

	entry->gen = gen;
	entry->vpn = vpn;
	entry->pte = pte;
}

void onpu_tlb_invalidate_context(struct onpu_card *card, unsigned int asid)
{
	atomic_store(&card->contexts[asid].gen, atomic_fetch_add(&card->tlb_gen, 1) + 1);
}

/* ONPU_REG_TLB_INV: asid is below the number of contexts, or ONPU_TLB_INV_ALL. */
void onpu_tlb_request(struct onpu_card *card, uint32_t asid)
{
	bool all = asid == ONPU_TLB_INV_ALL;

	pthread_mutex_lock(&card->inv_lock);
	card->tlb_seq++;
	for (unsigned int i = all ? 0 : asid; i < (all ? card->n_contexts : asid + 1); i++)
		onpu_tlb_invalidate_context(card, i);
	for (unsigned int i = 0; i < card->n_slots; i++) {
		struct onpu_slot *slot = &card->slots[i];

		pthread_mutex_lock(&slot->use_lock);
		if (slot->in_use && !slot->blocks && (all || slot->asid == asid)) {
			slot->blocks = true;
			slot->blocks_seq = card->tlb_seq;
		}
		pthread_mutex_unlock(&slot->use_lock);
	}
	pthread_mutex_unlock(&card->inv_lock);
}

uint32_t onpu_tlb_seq(struct onpu_card *card)
{
	uint32_t seq;

	pthread_mutex_lock(&card->inv_lock);
	seq = card->tlb_seq;
	pthread_mutex_unlock(&card->inv_lock);
	return seq;
}

uint32_t onpu_tlb_done(struct onpu_card *card)
{
	uint32_t seq, behind = 0;

	pthread_mutex_lock(&card->inv_lock);
	seq = card->tlb_seq;
	for (unsigned int i = 0; i < card->n_slots; i++) {
		struct onpu_slot *slot = &card->slots[i];

		pthread_mutex_lock(&slot->use_lock);
		if (slot->blocks && seq - slot->blocks_seq + 1 > behind)
			behind = seq - slot->blocks_seq + 1;
		pthread_mutex_unlock(&slot->use_lock);
	}
	pthread_mutex_unlock(&card->inv_lock);
	return seq - behind;
}

void onpu_tlb_use_begin(struct onpu_slot *slot)
{
	/* Only the engine, who asks, changes it. */
	if (slot->in_use)
		return;
	pthread_mutex_lock(&slot->use_lock);
	slot->in_use = true;
	pthread_mutex_unlock(&slot->use_lock);
}

static void count_lookups(struct onpu_slot *slot)
{
	struct onpu_counters *cnt = &slot->card->cnt;

	if (slot->tlb.hits)
		atomic_fetch_add_explicit(&cnt->tlb_hits, slot->tlb.hits, memory_order_relaxed);
	if (slot->tlb.walks)
		atomic_fetch_add_explicit(&cnt->tlb_walks, slot->tlb.walks, memory_order_relaxed);
	slot->tlb.hits = 0;
	slot->tlb.walks = 0;
}

void onpu_tlb_use_end(struct onpu_slot *slot)
{
	if (slot->in_use) {
		pthread_mutex_lock(&slot->use_lock);
		slot->in_use = false;
		slot->blocks = false;
		pthread_mutex_unlock(&slot->use_lock);
	}
	count_lookups(slot);
}

/* A packet is complete; whoever waits for that need wait no more. */
void onpu_tlb_packet_end(struct onpu_slot *slot)
{
	if (atomic_load(&slot->blocks))
		onpu_tlb_use_end(slot);
	else
		count_lookups(slot);
}

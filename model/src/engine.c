// SPDX-License-Identifier: MIT
/*
 * Engine time: when packets would have run on the card (Documentation/hardware.md, "Engine time").
 *
 * Idea: every slot has a clock that its packets advance, every engine the time until which
 * it has been given work and the last gaps before that, because a slot may be far ahead of another
 * one. A packet starts when its slot and its main engine are free, takes from each
 * engine what cost.c says, and ends when the last of them is done. Engine time is the latest end of
 * any packet: it stands still while nothing executes, and how fast the host computes does not
 * show. What a queue may have learnt from others is not earlier than the engine time at which it
 * learnt it, which is when its doorbell is rung and when a WAIT holds.
 *
 * Locking: card->engine_lock for what the engines have been given; engine_time is an atomic
 * that only rises. A slot's clock and demand belong to the slot's engine fields.
 */
#include <string.h>

#include "gemm_view.h"
#include "onpu_internal.h"

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

uint64_t onpu_engine_time(struct onpu_card *card)
{
	return atomic_load_explicit(&card->engine_time, memory_order_acquire);
}

static void advance(struct onpu_card *card, uint64_t end)
{
	uint64_t old = atomic_load_explicit(&card->engine_time, memory_order_relaxed);

	while (old < end && !atomic_compare_exchange_weak(&card->engine_time, &old, end))
		;
}

/* The slot's next packet does not start before time. */
void onpu_engine_not_before(struct onpu_slot *slot, uint64_t time)
{
	slot->clock = max_u64(slot->clock, time);
}

/* Before the first access of a packet is counted. */
void onpu_engine_begin(struct onpu_slot *slot)
{
	memset(&slot->demand, 0, sizeof(slot->demand));
}

static enum onpu_engine engine_of(const struct dma_piece *piece, unsigned int kind)
{
	if (piece->target == DMA_CARD)
		return ONPU_ENGINE_VRAM;
	return kind == ONPU_FAULT_ACCESS_WRITE ? ONPU_ENGINE_HOST_WRITE : ONPU_ENGINE_HOST_READ;
}

/* Counts what the access list, which is READY, names: each byte once, where it is. */
void onpu_engine_add_accesses(struct onpu_slot *slot)
{
	const struct dma_list *list = &slot->dma;

	for (size_t i = 0; i < list->n_pieces; i++) {
		const struct dma_piece *piece = &list->pieces[i];
		const struct dma_access *acc = &list->access[piece->access];

		if (piece->target != DMA_CARD && piece->target != DMA_HOST)
			continue;
		onpu_cost_add(&slot->demand.bytes[engine_of(piece, acc->kind)],
			      onpu_cost_row_bytes(piece->off, piece->off + piece->len, acc->rows,
						  acc->len, acc->stride));
	}
}

/* Counts a matmul that has been done; its access list is READY. */
void onpu_engine_add_matmul(struct onpu_slot *slot, const struct onpu_matmul_desc *d)
{
	slot->demand.macs = onpu_cost_macs(&slot->card->speed, onpu_gemm_elem_bits(d->a_type),
					   onpu_gemm_elem_bits(d->b_type));
	onpu_cost_add_matmul(&slot->demand, d->m, d->n, d->k);
	onpu_engine_add_accesses(slot);
}

static uint8_t limit_of(const uint64_t ns[ONPU_ENGINES], uint64_t fixed)
{
	uint8_t limit = ONPU_ENGINES;
	uint64_t longest = fixed;

	for (uint8_t i = 0; i < ONPU_ENGINES; i++) {
		if (i != ONPU_ENGINE_COPY && ns[i] > longest) {
			longest = ns[i];
			limit = i;
		}
	}
	return limit;
}

static void drop_gap(struct engine *e, unsigned int i)
{
	e->gaps--;
	memmove(&e->gap[i], &e->gap[i + 1], (e->gaps - i) * sizeof(e->gap[0]));
}

/* A gap at place i; without room the oldest is forgotten. */
static void insert_gap(struct engine *e, unsigned int i, uint64_t from, uint64_t to)
{
	if (from >= to)
		return;
	if (e->gaps == ENGINE_GAPS) {
		if (i == 0)
			return;
		drop_gap(e, 0);
		i--;
	}
	memmove(&e->gap[i + 1], &e->gap[i], (e->gaps - i) * sizeof(e->gap[0]));
	e->gap[i] = (struct engine_gap){ from, to };
	e->gaps++;
}

/* Lets an engine work for ns in its first idle moments from begin on; returns when that ends. */
static uint64_t take(struct engine *e, uint64_t begin, uint64_t ns)
{
	uint64_t end = begin;

	for (unsigned int i = 0; i < e->gaps && ns;) {
		struct engine_gap gap = e->gap[i];
		uint64_t from = max_u64(gap.from, begin), use;

		if (from >= gap.to) {
			i++;
			continue;
		}
		use = gap.to - from < ns ? gap.to - from : ns;
		ns -= use;
		end = from + use;
		drop_gap(e, i);
		insert_gap(e, i, end, gap.to);
		insert_gap(e, i, gap.from, from);
		if (ns)
			i = 0;
	}
	if (ns) {
		insert_gap(e, e->gaps, e->free, begin);
		e->free = max_u64(begin, e->free) + ns;
		end = e->free;
	}
	return end;
}

/* Gives the engines their work; moves *start to when the packet starts and returns its end. */
static uint64_t occupy(struct onpu_slot *slot, unsigned int main, const uint64_t ns[ONPU_ENGINES],
		       uint64_t *start)
{
	struct onpu_card *card = slot->card;
	uint64_t begin, end;

	pthread_mutex_lock(&card->engine_lock);
	begin = max_u64(*start + card->speed.packet_ns, card->engines[main].free);
	end = begin + ns[main];
	for (unsigned int i = ONPU_ENGINE_VRAM; i < ONPU_ENGINES; i++)
		if (ns[i])
			end = max_u64(end, take(&card->engines[i], begin, ns[i]));
	card->engines[main].free = end;
	pthread_mutex_unlock(&card->engine_lock);
	*start = begin - card->speed.packet_ns;
	return end;
}

static void count(struct onpu_slot *slot, const uint64_t ns[ONPU_ENGINES])
{
	struct onpu_counters *cnt = &slot->card->cnt;

	for (unsigned int i = 0; i < ONPU_ENGINES; i++) {
		if (ns[i])
			atomic_fetch_add_explicit(&cnt->engine_ns[i], ns[i], memory_order_relaxed);
		if (slot->demand.bytes[i])
			atomic_fetch_add_explicit(&cnt->engine_bytes[i], slot->demand.bytes[i],
						  memory_order_relaxed);
	}
}

static bool has_engine(uint8_t opcode)
{
	return opcode == ONPU_OP_MATMUL || opcode == ONPU_OP_COPY || opcode == ONPU_OP_COPY_2D ||
	       opcode == ONPU_OP_FILL;
}

/* A packet has done its work: when did it run? */
void onpu_engine_end(struct onpu_slot *slot)
{
	struct onpu_card *card = slot->card;
	const struct onpu_packet *p = &slot->packet;
	uint64_t ns[ONPU_ENGINES] = { 0 }, start, end;

	if (p->opcode == ONPU_OP_WAIT)
		onpu_engine_not_before(slot, onpu_engine_time(card));
	start = slot->clock;
	end = start + card->speed.packet_ns;
	if (has_engine(p->opcode)) {
		onpu_cost_times(&card->speed, &slot->demand, ns);
		end = occupy(slot, p->opcode == ONPU_OP_MATMUL ? ONPU_ENGINE_CORES : ONPU_ENGINE_COPY,
			     ns, &start);
		count(slot, ns);
	}
	slot->clock = end;
	advance(card, end);
	if (!(p->flags & ONPU_PKT_STAMP))
		return;
	slot->stamp = (struct onpu_stamp){ .start = start, .end = end, .opcode = p->opcode,
					   .limit = limit_of(ns, card->speed.packet_ns) };
	if (!has_engine(p->opcode))
		return;
	slot->stamp.ops = slot->demand.ops;
	slot->stamp.vram_bytes = slot->demand.bytes[ONPU_ENGINE_VRAM];
	slot->stamp.host_read_bytes = slot->demand.bytes[ONPU_ENGINE_HOST_READ];
	slot->stamp.host_write_bytes = slot->demand.bytes[ONPU_ENGINE_HOST_WRITE];
	slot->stamp.cores_ns = ns[ONPU_ENGINE_CORES];
	slot->stamp.macs = slot->demand.macs;
}

/* Stores the stamp of a packet that asked for it. */
enum step onpu_engine_stamp(struct onpu_slot *slot)
{
	enum step step;

	if (slot->dma.state == DMA_IDLE) {
		onpu_dma_begin(slot);
		onpu_dma_add(slot, slot->packet.stamp.va, sizeof(slot->stamp),
			     ONPU_FAULT_ACCESS_WRITE, onpu_packet_priv(slot));
	}
	step = onpu_dma_progress(slot);
	if (step != STEP_OK)
		return step;
	gemm_view_write(&slot->dma.view[0], 0, &slot->stamp, sizeof(slot->stamp));
	onpu_dma_release(slot);
	return STEP_OK;
}

// SPDX-License-Identifier: MIT
/*
 * Command packets: checking and execution (uapi/onpu/packet.h).
 *
 * Idea: a packet has been copied before it comes here, and only the copy is
 * looked at. Decoding judges everything that needs no memory. Execution lists
 * its accesses (dma.c) whenever no list is under way, so a packet can be left
 * at any step and taken up again from what the slot remembers: the packet, the
 * descriptor and how far it got. COPY and FILL go through memory in windows,
 * so that mappings are short-lived and other slots get their turn; each window
 * is spread over the pool.
 *
 * Locking: none; runs as the slot's engine.
 */
#include <string.h>

#include "onpu_internal.h"
#include "stream.h"

#define WINDOW_BYTES	(8ull << 20)
#define SPREAD_BYTES	(512u << 10)	/* smaller windows stay on one thread */
#define CHUNK_MIN	(256u << 10)

struct spread {
	struct onpu_slot *slot;
	uint64_t len, chunk;
	bool stream;
};

/* Packets of the ring have the queue's rights, those of a called buffer none. */
bool onpu_packet_priv(const struct onpu_slot *slot)
{
	return slot->flags & ONPU_QUEUE_PRIVILEGED && slot->call_left == 0;
}

enum step onpu_engine_error(struct onpu_slot *slot, uint32_t error)
{
	slot->err = error;
	return STEP_ERROR;
}

/* Whether all behind offset is zero, where a stamp has its address excepted. */
static bool zero_from(const struct onpu_packet *p, size_t offset)
{
	const uint8_t *bytes = (const uint8_t *)p;
	size_t end = p->flags & ONPU_PKT_STAMP ? offsetof(struct onpu_packet, stamp.va) : sizeof(*p);

	for (size_t i = offset; i < end; i++)
		if (bytes[i])
			return false;
	return true;
}

/* --- decoding ------------------------------------------------------------- */

static enum step decode_copy(struct onpu_slot *slot, const struct onpu_packet *p)
{
	if (!zero_from(p, offsetof(struct onpu_packet, copy.reserved)))
		return onpu_engine_error(slot, ONPU_ERR_PACKET);
	if (!onpu_mmu_check_range(slot, p->copy.src_va, p->copy.size, ONPU_FAULT_ACCESS_READ) ||
	    !onpu_mmu_check_range(slot, p->copy.dst_va, p->copy.size, ONPU_FAULT_ACCESS_WRITE))
		return STEP_FAULT;
	return STEP_OK;
}

static enum step decode_fill(struct onpu_slot *slot, const struct onpu_packet *p)
{
	if (!zero_from(p, offsetof(struct onpu_packet, fill.reserved32)) ||
	    p->fill.dst_va % 4 || p->fill.size % 4)
		return onpu_engine_error(slot, ONPU_ERR_PACKET);
	if (!onpu_mmu_check_range(slot, p->fill.dst_va, p->fill.size, ONPU_FAULT_ACCESS_WRITE))
		return STEP_FAULT;
	return STEP_OK;
}

static enum step decode_call(struct onpu_slot *slot, const struct onpu_packet *p)
{
	if (slot->call_left)
		return onpu_engine_error(slot, ONPU_ERR_CALL);
	if (!zero_from(p, offsetof(struct onpu_packet, call.reserved32)) ||
	    p->call.va % ONPU_PACKET_SIZE)
		return onpu_engine_error(slot, ONPU_ERR_PACKET);
	if (p->call.count == 0 || p->call.count > ONPU_CALL_MAX)
		return onpu_engine_error(slot, ONPU_ERR_CALL);
	if (!onpu_mmu_check_range(slot, p->call.va, (uint64_t)p->call.count * ONPU_PACKET_SIZE,
				  ONPU_FAULT_ACCESS_FETCH))
		return STEP_FAULT;
	return STEP_OK;
}

/* Zero from the given offset on, and the address aligned. */
static enum step decode_plain(struct onpu_slot *slot, const struct onpu_packet *p, size_t zero,
			      uint64_t va, unsigned int align)
{
	if (!zero_from(p, zero) || va % align)
		return onpu_engine_error(slot, ONPU_ERR_PACKET);
	return STEP_OK;
}

static bool flags_valid(const struct onpu_packet *p)
{
	uint8_t flags = p->opcode == ONPU_OP_SIGNAL ? ONPU_PKT_IRQ :
			p->opcode == ONPU_OP_CALL ? 0 : ONPU_PKT_STAMP;

	return !(p->flags & ~flags) &&
	       (!(p->flags & ONPU_PKT_STAMP) || p->stamp.va % ONPU_STAMP_ALIGN == 0);
}

/* Judges slot->packet; STEP_OK if it may be executed. */
enum step onpu_packet_decode(struct onpu_slot *slot)
{
	const struct onpu_packet *p = &slot->packet;

	if (p->opcode < ONPU_OP_NOP || p->opcode > ONPU_OP_TIMESTAMP)
		return onpu_engine_error(slot, ONPU_ERR_OPCODE);
	if (!flags_valid(p) || p->reserved0 || p->reserved1)
		return onpu_engine_error(slot, ONPU_ERR_PACKET);

	switch (p->opcode) {
	case ONPU_OP_MATMUL:
		return decode_plain(slot, p, offsetof(struct onpu_packet, matmul.reserved),
				    p->matmul.desc_va, ONPU_MATMUL_DESC_ALIGN);
	case ONPU_OP_COPY:
		return decode_copy(slot, p);
	case ONPU_OP_FILL:
		return decode_fill(slot, p);
	case ONPU_OP_CALL:
		return decode_call(slot, p);
	case ONPU_OP_WAIT:
		if (p->wait.op > ONPU_WAIT_LT)
			return onpu_engine_error(slot, ONPU_ERR_PACKET);
		return decode_plain(slot, p, offsetof(struct onpu_packet, wait.reserved32),
				    p->wait.va, 8);
	case ONPU_OP_SIGNAL:
		return decode_plain(slot, p, offsetof(struct onpu_packet, signal.reserved),
				    p->signal.va, 8);
	case ONPU_OP_TIMESTAMP:
		return decode_plain(slot, p, offsetof(struct onpu_packet, timestamp.reserved),
				    p->timestamp.va, 8);
	default:
		return decode_plain(slot, p, offsetof(struct onpu_packet, none), 0, 1);
	}
}

/* --- COPY and FILL -------------------------------------------------------- */

static void spread_item(void *arg, size_t index)
{
	const struct spread *s = arg;
	struct onpu_slot *slot = s->slot;
	uint64_t off = index * s->chunk;
	uint64_t len = s->len - off < s->chunk ? s->len - off : s->chunk;

	if (slot->packet.opcode == ONPU_OP_FILL)
		onpu_view_fill(&slot->dma.view[0], off, len, slot->packet.fill.pattern,
			       s->stream);
	else
		onpu_view_copy(&slot->dma.view[0], &slot->dma.view[1], off, len, s->stream);
}

static bool run_window(struct onpu_slot *slot, uint64_t len, bool stream)
{
	struct spread s = { .slot = slot, .len = len, .chunk = len, .stream = stream };
	struct onpu_pool *pool = slot->card->pool;
	unsigned int threads = onpu_pool_threads(pool);

	if (len >= SPREAD_BYTES && threads > 1) {
		/* Page-sized multiples, so that no two threads share a line. */
		s.chunk = (len / threads / 2 + ONPU_PAGE_SIZE - 1) & ~(uint64_t)(ONPU_PAGE_SIZE - 1);
		if (s.chunk < CHUNK_MIN)
			s.chunk = CHUNK_MIN;
	}
	return onpu_pool_for(pool, (len + s.chunk - 1) / s.chunk, spread_item, &s, &slot->cancel);
}

static enum step execute_bulk(struct onpu_slot *slot)
{
	const struct onpu_packet *p = &slot->packet;
	bool fill = p->opcode == ONPU_OP_FILL;
	uint64_t size = fill ? p->fill.size : p->copy.size;
	uint64_t dst = fill ? p->fill.dst_va : p->copy.dst_va;
	uint64_t len = size - slot->done < WINDOW_BYTES ? size - slot->done : WINDOW_BYTES;
	bool priv = onpu_packet_priv(slot);
	enum step step;

	if (len == 0)
		return STEP_OK;
	if (slot->dma.state == DMA_IDLE) {
		onpu_dma_begin(slot);
		onpu_dma_add(slot, dst + slot->done, len, ONPU_FAULT_ACCESS_WRITE, priv);
		if (!fill)
			onpu_dma_add(slot, p->copy.src_va + slot->done, len,
				     ONPU_FAULT_ACCESS_READ, priv);
	}
	step = onpu_dma_progress(slot);
	if (step != STEP_OK)
		return step;
	slot->work = len / ONPU_UNIT_BYTES;
	if (!run_window(slot, len, size >= ONPU_STREAM_MIN))
		return STEP_STOP;
	onpu_engine_add_accesses(slot);
	onpu_dma_release(slot);
	slot->done += len;
	atomic_fetch_add_explicit(&slot->card->cnt.copy_bytes, len, memory_order_relaxed);
	return slot->done == size ? STEP_OK : STEP_YIELD;
}

/* --- words ---------------------------------------------------------------- */

static enum step access_word(struct onpu_slot *slot, uint64_t va, unsigned int kind)
{
	if (slot->dma.state == DMA_IDLE) {
		onpu_dma_begin(slot);
		onpu_dma_add(slot, va, sizeof(uint64_t), kind, onpu_packet_priv(slot));
	}
	return onpu_dma_progress(slot);
}

static enum step execute_store(struct onpu_slot *slot, uint64_t va, uint64_t value)
{
	enum step step = access_word(slot, va, ONPU_FAULT_ACCESS_WRITE);

	if (step == STEP_OK)
		onpu_view_store64(&slot->dma.view[0], value);
	return step;
}

static bool wait_holds(uint32_t op, uint64_t value, uint64_t operand)
{
	switch (op) {
	case ONPU_WAIT_GE:
		return value >= operand;
	case ONPU_WAIT_EQ:
		return value == operand;
	case ONPU_WAIT_NE:
		return value != operand;
	case ONPU_WAIT_GT:
		return value > operand;
	case ONPU_WAIT_LE:
		return value <= operand;
	default:
		return value < operand;
	}
}

static enum step execute_wait(struct onpu_slot *slot)
{
	const struct onpu_packet *p = &slot->packet;
	enum step step = access_word(slot, p->wait.va, ONPU_FAULT_ACCESS_READ);
	uint64_t value;

	if (step != STEP_OK)
		return step;
	value = onpu_view_load64(&slot->dma.view[0]);
	onpu_dma_release(slot);
	return wait_holds(p->wait.op, value, p->wait.value) ? STEP_OK : STEP_WAIT;
}

/*
 * Goes on with slot->packet: STEP_OK when it is complete (what it mapped may
 * still be mapped), else as dma_progress(), or STEP_YIELD and STEP_WAIT.
 */
enum step onpu_packet_execute(struct onpu_slot *slot)
{
	const struct onpu_packet *p = &slot->packet;

	switch (p->opcode) {
	case ONPU_OP_MATMUL:
		return onpu_matmul_execute(slot);
	case ONPU_OP_COPY:
	case ONPU_OP_FILL:
		return execute_bulk(slot);
	case ONPU_OP_WAIT:
		return execute_wait(slot);
	case ONPU_OP_SIGNAL:
		return execute_store(slot, p->signal.va, p->signal.value);
	case ONPU_OP_TIMESTAMP:
		return execute_store(slot, p->timestamp.va, onpu_card_time(slot->card));
	default:
		/* NOP; BARRIER, since packets complete in order and stores are in order. */
		atomic_thread_fence(memory_order_seq_cst);
		return STEP_OK;
	}
}

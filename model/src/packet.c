// SPDX-License-Identifier: MIT
/*
 * Command packets: checking and execution (uapi/onpu/packet.h).
 *
 * Idea: a packet has been copied before it comes here, and only the copy is
 * looked at. Decoding judges everything that needs no memory. Execution lists
 * its accesses (dma.c) whenever no list is under way, so a packet can be left
 * at any step and taken up again from what the slot remembers: the packet, the
 * descriptor and how far it got. COPY, COPY_2D and FILL go through memory in windows,
 * so that mappings are short-lived and other slots get their turn; each window
 * is spread over the pool. A window of COPY_2D is some whole rows, or a part of a row.
 *
 * Locking: none; runs as the slot's engine.
 */
#include <string.h>

#include "onpu_internal.h"
#include "stream.h"

#define WINDOW_BYTES	(8ull << 20)
#define SPREAD_BYTES	(512u << 10)	/* smaller windows stay on one thread */
#define CHUNK_MIN	(256u << 10)
/* Short rows take time by their number: translation, and pieces of the access list. */
#define WINDOW_ROWS	4096u
#define ROW_UNIT	64u		/* rows that cost a slot one unit of its turn */
#define STREAM_ROW_MIN	4096u		/* shorter rows are copied through the caches */

struct spread {
	struct onpu_slot *slot;
	uint64_t len, chunk;
	bool stream;
};

/* What a window of a COPY, COPY_2D or FILL does: rows of len bytes each. */
struct window {
	uint64_t dst, src;
	uint64_t len;
	uint64_t rows;
	uint64_t dst_pitch, src_pitch;
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

/* False, and a fault, unless all rows lie in the address space. */
static bool check_rows(struct onpu_slot *slot, uint64_t va, uint64_t pitch, unsigned int kind)
{
	const struct onpu_packet *p = &slot->packet;
	uint64_t len;

	if (__builtin_mul_overflow(p->copy_2d.rows - 1ull, pitch, &len) ||
	    __builtin_add_overflow(len, p->copy_2d.row_bytes, &len))
		len = UINT64_MAX;
	return onpu_mmu_check_range(slot, va, len, kind);
}

static enum step decode_copy_2d(struct onpu_slot *slot, const struct onpu_packet *p)
{
	if (!zero_from(p, offsetof(struct onpu_packet, copy_2d.reserved32)) ||
	    (p->copy_2d.rows > 1 && p->copy_2d.dst_pitch < p->copy_2d.row_bytes))
		return onpu_engine_error(slot, ONPU_ERR_PACKET);
	if (!p->copy_2d.rows || !p->copy_2d.row_bytes)
		return STEP_OK;
	if (!check_rows(slot, p->copy_2d.src_va, p->copy_2d.src_pitch, ONPU_FAULT_ACCESS_READ) ||
	    !check_rows(slot, p->copy_2d.dst_va, p->copy_2d.dst_pitch, ONPU_FAULT_ACCESS_WRITE))
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

	if (p->opcode < ONPU_OP_NOP || p->opcode > ONPU_OP_COPY_2D)
		return onpu_engine_error(slot, ONPU_ERR_OPCODE);
	if (!flags_valid(p) || p->reserved0 || p->reserved1)
		return onpu_engine_error(slot, ONPU_ERR_PACKET);

	switch (p->opcode) {
	case ONPU_OP_MATMUL:
		return decode_plain(slot, p, offsetof(struct onpu_packet, matmul.reserved),
				    p->matmul.desc_va, ONPU_MATMUL_DESC_ALIGN);
	case ONPU_OP_COPY:
		return decode_copy(slot, p);
	case ONPU_OP_COPY_2D:
		return decode_copy_2d(slot, p);
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

/* --- COPY, COPY_2D and FILL ----------------------------------------------- */

/* Bytes of a COPY, COPY_2D or FILL, decoded before: rows do not overlap, so it is below 2^48. */
uint64_t onpu_packet_bytes(const struct onpu_packet *p)
{
	switch (p->opcode) {
	case ONPU_OP_COPY:
		return p->copy.size;
	case ONPU_OP_COPY_2D:
		return p->copy_2d.rows * p->copy_2d.row_bytes;
	case ONPU_OP_FILL:
		return p->fill.size;
	default:
		return 0;
	}
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The next window, behind slot->done bytes, which are row after row. */
static struct window next_window(const struct onpu_slot *slot)
{
	const struct onpu_packet *p = &slot->packet;
	struct window w = { .rows = 1 };
	uint64_t row, at;

	if (p->opcode != ONPU_OP_COPY_2D) {
		bool fill = p->opcode == ONPU_OP_FILL;

		w.dst = (fill ? p->fill.dst_va : p->copy.dst_va) + slot->done;
		w.src = fill ? 0 : p->copy.src_va + slot->done;
		w.len = min_u64(onpu_packet_bytes(p) - slot->done, WINDOW_BYTES);
		return w;
	}
	row = slot->done / p->copy_2d.row_bytes;
	at = slot->done % p->copy_2d.row_bytes;
	w.dst = p->copy_2d.dst_va + row * p->copy_2d.dst_pitch + at;
	w.src = p->copy_2d.src_va + row * p->copy_2d.src_pitch + at;
	w.len = min_u64(p->copy_2d.row_bytes - at, WINDOW_BYTES);
	if (w.len != p->copy_2d.row_bytes)
		return w;
	w.dst_pitch = p->copy_2d.dst_pitch;
	w.src_pitch = p->copy_2d.src_pitch;
	w.rows = min_u64(min_u64(WINDOW_BYTES / w.len, WINDOW_ROWS), p->copy_2d.rows - row);
	return w;
}

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
		onpu_view_copy(&slot->dma.view[0], &slot->dma.view[1], off, off, len, s->stream);
}

/* Chunks of rows: off and len count them. */
static void spread_rows(void *arg, size_t index)
{
	const struct spread *s = arg;
	const struct dma_list *list = &s->slot->dma;
	uint64_t row = index * s->chunk, end = min_u64(row + s->chunk, s->len);

	for (; row < end; row++)
		onpu_view_copy(&list->view[0], &list->view[1], row * list->access[0].stride,
			       row * list->access[1].stride, list->access[0].len, s->stream);
}

static bool run_window(struct onpu_slot *slot, const struct window *w, bool stream)
{
	struct spread s = { .slot = slot, .len = w->len, .chunk = w->len, .stream = stream };
	struct onpu_pool *pool = slot->card->pool;
	unsigned int threads = onpu_pool_threads(pool);
	bool several = w->rows > 1;

	if (several) {
		s.len = w->rows;
		s.chunk = w->rows;
		s.stream = stream && w->len >= STREAM_ROW_MIN;
	}
	if (w->len * w->rows >= SPREAD_BYTES && threads > 1) {
		/* Page-sized multiples, so that no two threads share a line. */
		s.chunk = (w->len * w->rows / threads / 2 + ONPU_PAGE_SIZE - 1) &
			  ~(uint64_t)(ONPU_PAGE_SIZE - 1);
		if (s.chunk < CHUNK_MIN)
			s.chunk = CHUNK_MIN;
		if (several)
			s.chunk = (s.chunk - 1) / w->len + 1;
	}
	return onpu_pool_for(pool, (s.len + s.chunk - 1) / s.chunk,
			     several ? spread_rows : spread_item, &s, &slot->cancel);
}

static enum step execute_bulk(struct onpu_slot *slot)
{
	uint64_t size = onpu_packet_bytes(&slot->packet);
	bool priv = onpu_packet_priv(slot);
	struct window w;
	enum step step;

	if (slot->done == size)
		return STEP_OK;
	w = next_window(slot);
	if (slot->dma.state == DMA_IDLE) {
		onpu_dma_begin(slot);
		onpu_dma_add_rows(slot, w.dst, w.rows, w.len, w.dst_pitch, ONPU_FAULT_ACCESS_WRITE,
				  priv);
		if (slot->packet.opcode != ONPU_OP_FILL)
			onpu_dma_add_rows(slot, w.src, w.rows, w.len, w.src_pitch,
					  ONPU_FAULT_ACCESS_READ, priv);
	}
	step = onpu_dma_progress(slot);
	if (step != STEP_OK)
		return step;
	slot->work = w.len * w.rows / ONPU_UNIT_BYTES + w.rows / ROW_UNIT;
	if (!run_window(slot, &w, size >= ONPU_STREAM_MIN))
		return STEP_STOP;
	onpu_engine_add_accesses(slot);
	onpu_dma_release(slot);
	slot->done += w.len * w.rows;
	atomic_fetch_add_explicit(&slot->card->cnt.copy_bytes, w.len * w.rows,
				  memory_order_relaxed);
	return slot->done == size ? STEP_OK : STEP_YIELD;
}

/* --- words ---------------------------------------------------------------- */

static enum step list_word(struct onpu_slot *slot, uint64_t va, unsigned int kind)
{
	if (slot->dma.state == DMA_IDLE) {
		onpu_dma_begin(slot);
		onpu_dma_add(slot, va, sizeof(uint64_t), kind, onpu_packet_priv(slot));
	}
	return onpu_dma_progress(slot);
}

static enum step load_word(struct onpu_slot *slot, uint64_t va, uint64_t *value)
{
	struct dma_small small;
	enum step step = onpu_dma_small(slot, va, sizeof(*value), ONPU_FAULT_ACCESS_READ,
					onpu_packet_priv(slot), &small);

	if (step == STEP_OK) {
		*value = onpu_load64(small.ptr);
		onpu_dma_small_end(slot, &small);
	} else if (step == STEP_PENDING) {
		step = list_word(slot, va, ONPU_FAULT_ACCESS_READ);
		if (step == STEP_OK) {
			*value = onpu_view_load64(&slot->dma.view[0]);
			onpu_dma_release(slot);
		}
	}
	return step;
}

static enum step execute_store(struct onpu_slot *slot, uint64_t va, uint64_t value)
{
	struct dma_small small;
	enum step step = onpu_dma_small(slot, va, sizeof(value), ONPU_FAULT_ACCESS_WRITE,
					onpu_packet_priv(slot), &small);

	if (step == STEP_OK) {
		onpu_store64(small.ptr, value);
		onpu_dma_small_end(slot, &small);
	} else if (step == STEP_PENDING) {
		step = list_word(slot, va, ONPU_FAULT_ACCESS_WRITE);
		if (step == STEP_OK)
			onpu_view_store64(&slot->dma.view[0], value);
	}
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
	uint64_t value = 0;
	enum step step = load_word(slot, p->wait.va, &value);

	if (step != STEP_OK)
		return step;
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
	case ONPU_OP_COPY_2D:
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

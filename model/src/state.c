// SPDX-License-Identifier: MIT
/*
 * Saving and loading the card's state, card memory excepted.
 *
 * Idea: one visitor per structure serves both directions, so that the two
 * cannot drift apart. The blob is little-endian words in a fixed order. A blob
 * is untrusted: what is loaded is judged as if a guest had written it (packets
 * are decoded again), and if anything is wrong the card ends up reset.
 *
 * Work in flight is saved as the packet and how far it got; mappings are not,
 * they are made again (onpu_card_quiesce() has dropped them).
 *
 * Locking: the card is quiesced, so this thread owns everything.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "onpu_internal.h"

#define STATE_MAGIC	0x5441545355504e4full	/* "ONPUSTAT" */
#define STATE_VERSION	5u

/* Engine time that no card reaches; later ones would overflow. */
#define ENGINE_TIME_MAX	(1ull << 62)

struct io {
	uint8_t *buf;
	size_t size, pos;
	bool load;
	bool bad;		/* ran out, or a value is impossible */
};

static void io_bytes(struct io *io, void *data, size_t len)
{
	if (io->load) {
		if (io->bad || len > io->size - io->pos) {
			io->bad = true;
			memset(data, 0, len);
			return;
		}
		memcpy(data, io->buf + io->pos, len);
	} else {
		if (len > io->size - io->pos) {
			size_t size = (io->size + len) * 2;
			uint8_t *buf = realloc(io->buf, size);

			if (!buf) {
				io->bad = true;
				return;
			}
			io->buf = buf;
			io->size = size;
		}
		memcpy(io->buf + io->pos, data, len);
	}
	io->pos += len;
}

static void io_u32(struct io *io, uint32_t *v)
{
	io_bytes(io, v, sizeof(*v));
}

static void io_u64(struct io *io, uint64_t *v)
{
	io_bytes(io, v, sizeof(*v));
}

static void io_a32(struct io *io, _Atomic uint32_t *v)
{
	uint32_t x = atomic_load(v);

	io_u32(io, &x);
	atomic_store(v, x);
}

static void io_a64(struct io *io, _Atomic uint64_t *v)
{
	uint64_t x = atomic_load(v);

	io_u64(io, &x);
	atomic_store(v, x);
}

static void io_bool(struct io *io, bool *v)
{
	uint32_t x = *v;

	io_u32(io, &x);
	*v = x != 0;
}

/* A value that must be the same on both sides. */
static void io_const(struct io *io, uint64_t value)
{
	uint64_t x = value;

	io_u64(io, &x);
	if (x != value)
		io->bad = true;
}

static void require(struct io *io, bool ok)
{
	if (!ok)
		io->bad = true;
}

/* --- the card ------------------------------------------------------------- */

static void io_registers(struct io *io, struct onpu_card *card)
{
	uint64_t now = card->ops->time_ns(card->opaque), time = now - atomic_load(&card->time_base);
	_Atomic uint64_t *counters[] = {
		&card->cnt.busy_ns, &card->cnt.packets, &card->cnt.matmuls, &card->cnt.matmul_ops,
		&card->cnt.copy_bytes, &card->cnt.tlb_hits, &card->cnt.tlb_walks,
		&card->cnt.faults, &card->cnt.irqs,
	};

	io_u64(io, &time);
	atomic_store(&card->time_base, now - time);
	io_u32(io, &card->irq_cause);
	io_u32(io, &card->irq_enable);
	for (unsigned int i = 0; i < card->n_vectors; i++)
		io_a32(io, &card->irq_hold[i]);
	io_u64(io, &card->boot_addr);
	io_u32(io, &card->boot_size);
	io_u32(io, &card->boot_status);
	io_u32(io, &card->heartbeat);
	io_u32(io, &card->fw_version);
	io_u32(io, &card->fw_mbox);
	io_bool(io, &card->fatal);
	io_a32(io, &card->generation);
	io_u32(io, &card->tlb_seq);
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		io_a64(io, counters[i]);
	card->irq_cause &= ONPU_IRQ_ALL;
	card->irq_enable &= ONPU_IRQ_ALL;
}

static void io_engine(struct io *io, struct engine *e)
{
	uint32_t gaps = e->gaps;
	uint64_t last = 0;

	io_u64(io, &e->free);
	io_u32(io, &gaps);
	require(io, gaps <= ENGINE_GAPS && e->free <= ENGINE_TIME_MAX);
	e->gaps = io->bad ? 0 : gaps;
	for (unsigned int i = 0; i < e->gaps; i++) {
		io_u64(io, &e->gap[i].from);
		io_u64(io, &e->gap[i].to);
		require(io, e->gap[i].from >= last && e->gap[i].to > e->gap[i].from);
		last = e->gap[i].to;
	}
	require(io, last <= e->free);
}

static void io_engines(struct io *io, struct onpu_card *card)
{
	io_a64(io, &card->engine_time);
	require(io, atomic_load(&card->engine_time) <= ENGINE_TIME_MAX);
	for (unsigned int i = 0; i < ONPU_ENGINES; i++) {
		io_engine(io, &card->engines[i]);
		io_a64(io, &card->cnt.engine_ns[i]);
		io_a64(io, &card->cnt.engine_bytes[i]);
	}
	for (unsigned int i = 0; i < card->n_queues; i++) {
		io_a64(io, &card->db_time[i]);
		require(io, atomic_load(&card->db_time[i]) <= ENGINE_TIME_MAX);
	}
}

static void io_doorbells(struct io *io, struct onpu_card *card)
{
	for (unsigned int i = 0; i < card->n_queues; i++)
		io_a32(io, &card->db_value[i]);
	for (unsigned int i = 0; i < (card->n_queues + 31) / 32; i++)
		io_a32(io, &card->db_pending[i]);
	for (unsigned int i = 0; i < card->n_contexts; i++) {
		io_a64(io, &card->contexts[i].root);
		io_a32(io, &card->contexts[i].ctrl);
	}
}

/* --- slots ---------------------------------------------------------------- */

static void io_config(struct io *io, struct onpu_slot *slot)
{
	io_u32(io, &slot->queue);
	io_u32(io, &slot->asid);
	io_u32(io, &slot->order);
	io_u32(io, &slot->flags);
	io_u32(io, &slot->vector);
	io_u64(io, &slot->ring);
	io_u64(io, &slot->ctl);
	io_u32(io, &slot->save);
	io_a32(io, &slot->state);
	io_a32(io, &slot->events);
	io_a32(io, &slot->event_enable);
	io_a32(io, &slot->error);
	io_a32(io, &slot->fault_info);
	io_a32(io, &slot->opcode);
	io_a64(io, &slot->fault_va);
	io_a32(io, &slot->consumer);
	io_a32(io, &slot->consumer_hi);
	io_a64(io, &slot->busy_ns);
	io_a32(io, &slot->saved);
	io_a32(io, &slot->progress);
	io_a32(io, &slot->packets);
}

static void io_engine_work(struct io *io, struct onpu_slot *slot)
{
	io_u64(io, &slot->clock);
	io_u64(io, &slot->demand.tiles);
	io_u32(io, &slot->demand.k);
	io_u32(io, &slot->demand.macs);
	io_u64(io, &slot->demand.ops);
	for (unsigned int i = 0; i < ONPU_ENGINES; i++)
		io_u64(io, &slot->demand.bytes[i]);
	io_bytes(io, &slot->stamp, sizeof(slot->stamp));
	require(io, slot->clock <= ENGINE_TIME_MAX);
}

static void io_work(struct io *io, struct onpu_slot *slot)
{
	bool blocks = atomic_load(&slot->blocks);
	uint32_t phase = slot->phase;

	io_u32(io, &phase);
	require(io, phase <= PH_WRITEBACK);
	slot->phase = io->bad ? PH_IDLE : (enum slot_phase)phase;
	io_bytes(io, &slot->packet, sizeof(slot->packet));
	io_bytes(io, &slot->desc, sizeof(slot->desc));
	io_u32(io, &slot->mm.m);
	io_u32(io, &slot->mm.n);
	io_u32(io, &slot->mm.k);
	io_u32(io, &slot->mm.bm);
	io_u32(io, &slot->mm.bn);
	io_u32(io, &slot->mm.bk);
	io_u32(io, &slot->mm.item);
	io_u32(io, &slot->mm.start);
	io_bool(io, &slot->mm.loaded);
	io_u32(io, &slot->mm.part_m);
	io_u32(io, &slot->mm.part_k);
	io_bytes(io, &slot->item, sizeof(slot->item));
	io_u64(io, &slot->done);
	io_u64(io, &slot->wait_since);
	io_u64(io, &slot->call_va);
	io_u32(io, &slot->call_left);
	io_engine_work(io, slot);
	io_bool(io, &slot->in_use);
	io_bool(io, &blocks);
	atomic_store(&slot->blocks, blocks);
	io_u32(io, &slot->blocks_seq);
}

static void adopt_slot(struct io *io, struct onpu_slot *slot, bool owns)
{
	struct onpu_card *card = slot->card;
	uint32_t state = atomic_load(&slot->state), none = 0;
	bool alive = state == ONPU_SLOT_IDLE || state == ONPU_SLOT_RUNNING ||
		     state == ONPU_SLOT_WAITING;

	require(io, state <= ONPU_SLOT_SUSPENDED && owns <= (state != ONPU_SLOT_FREE) &&
		    (!alive || owns));
	if (owns)
		require(io, onpu_slot_config_valid(slot) &&
			    atomic_compare_exchange_strong(&card->db_slot[slot->queue], &none,
							   slot->index + 1));
	if (!alive)
		slot->phase = PH_IDLE;
	else if (!io->bad)
		require(io, onpu_slot_work_valid(slot));
	/* A packet holds translations, but for a WAIT that does not hold. */
	require(io, slot->in_use <= (slot->phase != PH_IDLE) && slot->blocks <= slot->in_use &&
		    (slot->in_use || slot->phase == PH_IDLE || slot->wait_since));
	if (state == ONPU_SLOT_RUNNING)
		atomic_fetch_add(&card->busy_slots, 1);
	if (atomic_load(&slot->polled))
		atomic_fetch_add(&card->polled, 1);
	atomic_store(&slot->cancel, alive && atomic_load(&slot->kill));
}

static void io_slot(struct io *io, struct onpu_slot *slot)
{
	struct onpu_card *card = slot->card;
	bool owns = slot->queue < card->n_queues &&
		    atomic_load(&card->db_slot[slot->queue]) == slot->index + 1;
	bool kill = atomic_load(&slot->kill), polled = atomic_load(&slot->polled);
	bool suspend = atomic_load(&slot->suspend);

	io_config(io, slot);
	io_work(io, slot);
	io_bool(io, &owns);
	io_bool(io, &kill);
	io_bool(io, &suspend);
	io_bool(io, &polled);
	io_a64(io, &slot->kill_time);
	if (!io->load)
		return;
	atomic_store(&slot->kill, kill);
	atomic_store(&slot->suspend, suspend);
	atomic_store(&slot->polled, polled);
	adopt_slot(io, slot, owns);
}

/* --- MCU ------------------------------------------------------------------ */

static void io_hart(struct io *io, struct onpu_mcu *mcu)
{
	struct onpu_rv32_state state;

	onpu_rv32_get_state(mcu->hart, &state);
	for (unsigned int i = 0; i < ARRAY_SIZE(state.x); i++)
		io_u32(io, &state.x[i]);
	io_u32(io, &state.pc);
	io_u32(io, &state.lines);
	io_u32(io, &state.mstatus);
	io_u32(io, &state.mie);
	io_u32(io, &state.mtvec);
	io_u32(io, &state.mscratch);
	io_u32(io, &state.mepc);
	io_u32(io, &state.mcause);
	io_u32(io, &state.mtval);
	io_u32(io, &state.mcountinhibit);
	io_u64(io, &state.mcycle);
	io_u64(io, &state.minstret);
	io_u32(io, &state.wfi);
	io_u32(io, &state.lockup);
	if (io->load)
		onpu_rv32_set_state(mcu->hart, &state);
}

static void io_mcu(struct io *io, struct onpu_mcu *mcu)
{
	bool halted = atomic_load(&mcu->halted);

	io_hart(io, mcu);
	io_bytes(io, mcu->sram, ONPU_MCU_SRAM_SIZE);
	io_u32(io, &mcu->irq_pending);
	io_u32(io, &mcu->irq_enable);
	io_u32(io, &mcu->time_hi);
	io_u32(io, &mcu->timecmp_hi_latch);
	io_u32(io, &mcu->crypto_src);
	io_u32(io, &mcu->crypto_len);
	io_u32(io, &mcu->crypto_key);
	io_u32(io, &mcu->crypto_sig);
	io_u32(io, &mcu->crypto_result);
	io_bytes(io, mcu->crypto_digest, sizeof(mcu->crypto_digest));
	io_a64(io, &mcu->timecmp);
	io_bool(io, &halted);
	atomic_store(&mcu->halted, halted);
}

/* --- entry points --------------------------------------------------------- */

static void io_card(struct io *io, struct onpu_card *card)
{
	io_const(io, STATE_MAGIC);
	io_const(io, STATE_VERSION);
	io_const(io, card->vram_size);
	io_const(io, card->aperture_size);
	io_const(io, card->fw_offset);
	io_const(io, card->fw_size);
	io_const(io, card->n_slots);
	io_const(io, card->n_queues);
	io_const(io, card->n_contexts);
	io_const(io, card->n_vectors);
	io_const(io, card->speed.cores);
	io_const(io, card->speed.clock_khz);
	for (size_t i = 0; i < ARRAY_SIZE(card->speed.macs); i++)
		io_const(io, card->speed.macs[i]);
	io_const(io, card->speed.packet_ns);
	io_const(io, card->speed.vram_bandwidth);
	io_const(io, card->speed.host_bandwidth);
	if (io->bad)
		return;
	io_registers(io, card);
	io_doorbells(io, card);
	io_engines(io, card);
	for (unsigned int i = 0; i < card->n_slots; i++)
		io_slot(io, &card->slots[i]);
	io_mcu(io, &card->mcu);
}

void *onpu_card_save(struct onpu_card *card, size_t *size)
{
	struct io io = { .load = false };

	io_card(&io, card);
	if (io.bad) {
		free(io.buf);
		return NULL;
	}
	*size = io.pos;
	return io.buf;
}

int onpu_card_load(struct onpu_card *card, const void *blob, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);
	struct io io = { .buf = copy, .size = size, .load = true };

	if (!copy)
		return -ENOMEM;
	if (size)
		memcpy(copy, blob, size);
	onpu_card_reset(card, ONPU_RESET_FUNCTION);
	io_card(&io, card);
	free(copy);
	if (io.bad || io.pos != size) {
		onpu_card_reset(card, ONPU_RESET_FUNCTION);
		return -EINVAL;
	}
	onpu_mcu_loaded(card);
	return 0;
}

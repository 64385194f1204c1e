// SPDX-License-Identifier: MIT
/*
 * Suspending: the work of a slot, saved to and restored from card memory.
 *
 * Idea: a slot that is told to suspend stops where its work can be described in
 * a few words: between packets, behind a part of a copy, behind a tile of a
 * matmul, at a WAIT. These words (packet, descriptor, position in a CALL,
 * position in the packet) go to the save area of its queue, in the firmware
 * region of card memory, which no page table reaches. Nothing that was
 * translated is among them, so work goes on under whatever page tables there
 * are then.
 *
 * The area is memory like any other. What is read back is copied first, then
 * judged as if a guest had written it: it must be whole (a check sum), be of
 * this queue, and be work that the engine could have come to. Else the queue,
 * and only it, gets ONPU_ERR_INTERNAL.
 *
 * Locking: saving runs as the slot's engine; restoring under slot->lock while
 * the slot is FREE and nobody is engaged.
 */
#include <string.h>

#include "onpu_internal.h"

#define SAVE_MAGIC	0x45564153u	/* "SAVE" */
#define SAVE_VERSION	1u

/* Layout of a save area; the firmware does not look inside. */
struct slot_save {
	uint32_t magic, version;
	uint64_t sum;			/* of everything, with 0 here */
	uint32_t queue, asid, order, flags;
	uint64_t ring, ctl;
	uint32_t consumer;
	uint32_t phase;
	struct onpu_packet packet;
	struct onpu_matmul_desc desc, item;
	struct matmul_progress mm;
	uint32_t call_left;
	uint64_t call_va;
	uint64_t done;
	struct onpu_demand demand;
	struct onpu_stamp stamp;
};

_Static_assert(sizeof(struct slot_save) <= ONPU_SAVE_SIZE, "a save area holds all the work");

static uint64_t sum_of(const struct slot_save *save)
{
	const uint8_t *bytes = (const uint8_t *)save;
	uint64_t sum = 0xcbf29ce484222325ull;

	/* FNV-1a: finds damage, keeps nobody out. */
	for (size_t i = 0; i < sizeof(*save); i++)
		sum = (sum ^ bytes[i]) * 0x100000001b3ull;
	return sum;
}

/* Makes the sum right, whatever is there. */
void onpu_slot_save_seal(uint8_t *area)
{
	struct slot_save save;

	memcpy(&save, area, sizeof(save));
	save.sum = 0;
	save.sum = sum_of(&save);
	memcpy(area, &save, sizeof(save));
}

static uint8_t *area(const struct onpu_slot *slot)
{
	return slot->card->vram + slot->card->fw_offset + slot->save;
}

bool onpu_slot_save_valid(const struct onpu_slot *slot)
{
	return slot->save % ONPU_SAVE_SIZE == 0 &&
	       slot->save <= slot->card->fw_size - ONPU_SAVE_SIZE;
}

static bool bytes_at_most(const struct onpu_demand *demand, uint64_t max)
{
	for (unsigned int i = 0; i < ONPU_ENGINES; i++)
		if (demand->bytes[i] > max)
			return false;
	return true;
}

/* What a packet has asked of the engines so far is not more than what it has done. */
static bool demand_valid(const struct onpu_slot *slot)
{
	const struct onpu_matmul_desc *d = &slot->desc;
	const struct onpu_demand *demand = &slot->demand;
	uint64_t items = slot->mm.item, m = d->m, n = d->n, k = d->k;

	if (slot->packet.opcode != ONPU_OP_MATMUL)
		return !demand->tiles && !demand->macs && !demand->ops &&
		       bytes_at_most(demand, 2 * slot->done);
	if (!demand->macs)
		return !demand->tiles && !demand->ops && bytes_at_most(demand, 0);
	/* Elements have up to four bytes; vectors and scales are less than what they scale. */
	return demand->macs == onpu_cost_macs(&slot->card->speed, onpu_gemm_elem_bits(d->a_type),
					      onpu_gemm_elem_bits(d->b_type)) &&
	       demand->k == k &&
	       demand->tiles <= items * ((m + ONPU_COST_TILE - 1) / ONPU_COST_TILE) *
				((n + ONPU_COST_TILE - 1) / ONPU_COST_TILE) &&
	       demand->ops / 2 / m / n / k <= items &&
	       bytes_at_most(demand, items * 8 * (m * k + k * n + 4 * m * n + 4 * m + 4 * n));
}

/* Judges a packet in flight as the engine did when it came to it. */
bool onpu_slot_work_valid(struct onpu_slot *slot)
{
	const struct onpu_packet *p = &slot->packet;
	struct matmul_progress mm = slot->mm;

	if (slot->call_left > ONPU_CALL_MAX ||
	    (slot->call_left && slot->call_va % ONPU_PACKET_SIZE))
		return false;
	if (slot->phase != PH_DESC && slot->phase != PH_EXEC && slot->phase != PH_STAMP)
		return true;
	if (onpu_packet_decode(slot) != STEP_OK)
		return false;
	if (slot->phase == PH_STAMP)
		return p->flags & ONPU_PKT_STAMP;
	if (slot->phase == PH_DESC)
		return p->opcode == ONPU_OP_MATMUL;
	switch (p->opcode) {
	case ONPU_OP_MATMUL:
		if (onpu_matmul_prepare(slot) != STEP_OK)
			return false;
		slot->mm = mm;
		return onpu_matmul_progress_valid(slot) && demand_valid(slot);
	case ONPU_OP_COPY:
	case ONPU_OP_COPY_2D:
		return slot->done <= onpu_packet_bytes(p) && demand_valid(slot);
	case ONPU_OP_FILL:
		return slot->done <= p->fill.size && slot->done % 4 == 0 && demand_valid(slot);
	default:
		return true;
	}
}

/*
 * Saves what the slot is in the middle of; ONPU_SLOT_SAVED_*. A packet that has
 * only been looked at is fetched again, unless it stands in a CALL.
 */
uint32_t onpu_slot_save(struct onpu_slot *slot)
{
	enum slot_phase phase = slot->phase;
	struct slot_save save;

	if (phase == PH_FETCH && !slot->call_left)
		phase = PH_IDLE;
	if (phase == PH_IDLE)
		return 0;
	/* Holes included: the sum is over all of it. */
	memset(&save, 0, sizeof(save));
	save.magic = SAVE_MAGIC;
	save.version = SAVE_VERSION;
	save.queue = slot->queue;
	save.asid = slot->asid;
	save.order = slot->order;
	save.flags = slot->flags;
	save.ring = slot->ring;
	save.ctl = slot->ctl;
	save.consumer = atomic_load(&slot->consumer);
	save.phase = phase;
	save.packet = slot->packet;
	if (phase == PH_EXEC && slot->packet.opcode == ONPU_OP_MATMUL) {
		save.desc = slot->desc;
		save.item = slot->item;
		memcpy(&save.mm, &slot->mm, sizeof(save.mm));
	}
	save.call_left = slot->call_left;
	save.call_va = slot->call_va;
	save.done = slot->done;
	save.demand = slot->demand;
	save.stamp = slot->stamp;
	memcpy(area(slot), &save, sizeof(save));
	onpu_slot_save_seal(area(slot));
	return ONPU_SLOT_SAVED_WORK |
	       (slot->wait_since && phase == PH_EXEC ? ONPU_SLOT_SAVED_WAIT : 0);
}

static bool is_ours(const struct onpu_slot *slot, struct slot_save *save)
{
	uint64_t sum = save->sum;

	save->sum = 0;
	return save->magic == SAVE_MAGIC && save->version == SAVE_VERSION &&
	       sum == sum_of(save) && save->queue == slot->queue && save->asid == slot->asid &&
	       save->order == slot->order && save->flags == slot->flags &&
	       save->ring == slot->ring && save->ctl == slot->ctl &&
	       save->consumer == slot->consumer && save->phase > PH_IDLE &&
	       save->phase <= PH_WRITEBACK;
}

/* False, and the slot without work, if the save area does not hold work of this queue. */
bool onpu_slot_restore(struct onpu_slot *slot)
{
	struct slot_save save;
	uint8_t loaded;

	memcpy(&save, area(slot), sizeof(save));
	if (!is_ours(slot, &save))
		return false;
	/* A bool that is neither 0 nor 1 is not to be looked at as one. */
	memcpy(&loaded, &save.mm.loaded, sizeof(loaded));
	if (loaded > 1)
		return false;
	slot->phase = (enum slot_phase)save.phase;
	slot->packet = save.packet;
	slot->desc = save.desc;
	slot->item = save.item;
	slot->mm = save.mm;
	slot->call_left = save.call_left;
	slot->call_va = save.call_va;
	slot->done = save.done;
	slot->demand = save.demand;
	slot->stamp = save.stamp;
	if (onpu_slot_work_valid(slot))
		return true;
	slot->phase = PH_IDLE;
	slot->call_left = 0;
	slot->call_va = 0;
	return false;
}

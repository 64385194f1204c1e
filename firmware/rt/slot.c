// SPDX-License-Identifier: MIT
/*
 * Driver of the hardware slots.
 *
 * Idea: a slot is free, or belongs to one queue.  A queue that stopped (error
 * or kill) leaves its slot at once; an idle queue keeps its slot until another
 * one needs it, and the one that was bound longest ago goes first.  The
 * hardware unbinds a slot only while its ring is empty and checks that in one
 * step, so a doorbell that comes at the same moment is not lost: either the
 * slot keeps running, or the doorbell becomes pending.
 *
 * Events are only reasons to look; what counts is the state register.
 */
#include "rt.h"

struct slot {
	bool bound;
	__u32 queue;
	__u32 bind_no;	/* binds made before this one, modulo 2^32 */
};

static struct slot slots[ONPU_MAX_SLOTS];
static __u32 binds;
static bool want_idle;

static __u32 reg(__u32 slot, __u32 r)
{
	return mcu_read(ONPU_SLOT(slot, r));
}

static void set_reg(__u32 slot, __u32 r, __u32 value)
{
	mcu_write(ONPU_SLOT(slot, r), value);
}

static __u64 reg64(__u32 slot, __u32 r)
{
	return (__u64)reg(slot, r + 4) << 32 | reg(slot, r);
}

__u32 slot_state(__u32 slot)
{
	return reg(slot, ONPU_SLOT_STATE);
}

__u32 slot_consumer(__u32 slot)
{
	return reg(slot, ONPU_SLOT_CONSUMER);
}

__u64 slot_busy_ns(__u32 slot)
{
	__u32 high, low;

	do { /* it counts while we read */
		high = reg(slot, ONPU_SLOT_BUSY_HI);
		low = reg(slot, ONPU_SLOT_BUSY_LO);
	} while (high != reg(slot, ONPU_SLOT_BUSY_HI));
	return (__u64)high << 32 | low;
}

/* A 64-bit shift by a variable would be a call into libgcc. */
static __u64 slot_bit(__u32 slot)
{
	__u32 bit = 1u << slot % 32;

	return slot < 32 ? bit : (__u64)bit << 32;
}

static __u32 events_wanted(void)
{
	return ONPU_SLOT_EV_ERROR | ONPU_SLOT_EV_KILLED |
	       (want_idle ? ONPU_SLOT_EV_IDLE : 0);
}

/* Free the slot of a queue that does not run: true if the hardware did it. */
static bool release(__u32 slot, struct slot_stop *stop)
{
	stop->state = slot_state(slot);
	set_reg(slot, ONPU_SLOT_CMD, ONPU_SLOT_UNBIND);
	if (slot_state(slot) != ONPU_SLOT_FREE)
		return false;
	/* These keep their values until the next BIND. */
	stop->consumer = slot_consumer(slot);
	stop->busy_ns = slot_busy_ns(slot);
	stop->error = reg(slot, ONPU_SLOT_ERROR);
	stop->fault_va = reg64(slot, ONPU_SLOT_FAULT_LO);
	stop->fault_info = reg(slot, ONPU_SLOT_FAULT_INFO);
	stop->opcode = reg(slot, ONPU_SLOT_OPCODE);
	/* It may have run and failed after its state was read as idle. */
	if (stop->error && stop->error != ONPU_ERR_KILLED)
		stop->state = ONPU_SLOT_ERRORED;
	slots[slot].bound = false;
	return true;
}

/* The slot whose queue is idle and was bound longest ago, but for @except. */
static __u32 oldest_idle(__u64 except)
{
	__u32 best = NO_SLOT, best_age = 0;

	for (__u32 s = 0; s < limits.slots; s++) {
		__u32 age = binds - slots[s].bind_no;

		if (slots[s].bound && !(except & slot_bit(s)) &&
		    slot_state(s) == ONPU_SLOT_IDLE &&
		    (best == NO_SLOT || age > best_age)) {
			best = s;
			best_age = age;
		}
	}
	return best;
}

__u32 slot_find(void)
{
	struct slot_stop stop;
	__u64 refused = 0;
	__u32 s;

	for (s = 0; s < limits.slots; s++) {
		if (!slots[s].bound)
			return s;
	}
	while ((s = oldest_idle(refused)) != NO_SLOT) {
		if (release(s, &stop)) {
			queue_stopped(slots[s].queue, &stop);
			return s;
		}
		refused |= slot_bit(s); /* it got work at this moment */
	}
	return NO_SLOT;
}

void slot_bind(__u32 slot, const struct slot_config *c)
{
	set_reg(slot, ONPU_SLOT_QUEUE, c->queue);
	set_reg(slot, ONPU_SLOT_ASID, c->asid);
	set_reg(slot, ONPU_SLOT_RING_LO, (__u32)c->ring_va);
	set_reg(slot, ONPU_SLOT_RING_HI, (__u32)(c->ring_va >> 32));
	set_reg(slot, ONPU_SLOT_RING_ORDER, c->ring_order);
	set_reg(slot, ONPU_SLOT_FLAGS, c->flags);
	set_reg(slot, ONPU_SLOT_VECTOR, c->vector);
	set_reg(slot, ONPU_SLOT_CTL_LO, (__u32)c->ctl_va);
	set_reg(slot, ONPU_SLOT_CTL_HI, (__u32)(c->ctl_va >> 32));
	set_reg(slot, ONPU_SLOT_CONSUMER, c->consumer);
	set_reg(slot, ONPU_SLOT_EVENTS, ~0u);
	set_reg(slot, ONPU_SLOT_EVENT_ENABLE, events_wanted());
	slots[slot].bound = true;
	slots[slot].queue = c->queue;
	slots[slot].bind_no = binds++;
	set_reg(slot, ONPU_SLOT_CMD, ONPU_SLOT_BIND);
}

void slot_kill(__u32 slot)
{
	set_reg(slot, ONPU_SLOT_CMD, ONPU_SLOT_KILL);
}

void slot_check(__u32 slot)
{
	struct slot_stop stop;
	__u32 state;

	if (!slots[slot].bound)
		return;
	state = slot_state(slot);
	if ((state == ONPU_SLOT_ERRORED || state == ONPU_SLOT_KILLED) &&
	    release(slot, &stop))
		queue_stopped(slots[slot].queue, &stop);
}

void slot_poll(void)
{
	for (__u32 s = 0; s < limits.slots; s++) {
		__u32 word = mcu_read(ONPU_SLOTS_EVENTS(s / 32));

		if (word >> s % 32 & 1) {
			set_reg(s, ONPU_SLOT_EVENTS, reg(s, ONPU_SLOT_EVENTS));
			slot_check(s);
		}
	}
}

void slot_want_idle(bool want)
{
	if (want == want_idle)
		return;
	want_idle = want;
	for (__u32 s = 0; s < limits.slots; s++) {
		if (slots[s].bound)
			set_reg(s, ONPU_SLOT_EVENT_ENABLE, events_wanted());
	}
}

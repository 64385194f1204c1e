// SPDX-License-Identifier: MIT
/*
 * Driver of the hardware slots.
 *
 * Idea: a slot is free, or belongs to one queue.  A queue that stopped (error,
 * kill, suspension) leaves its slot at once; an idle queue keeps its slot
 * until another one needs it, and the one that was bound longest ago goes
 * first.  The hardware unbinds a slot only while its ring is empty, or it has
 * stopped, and checks that in one step, so a doorbell that comes at the same
 * moment is not lost: either the slot keeps running, or the doorbell becomes
 * pending, or the index is there to be read after the slot is free.
 *
 * Events are only reasons to look; what counts is the state register.  What
 * is asked often (who is where, since when) is kept here; a few registers are
 * read only when somebody needs a slot.
 */
#include "rt.h"

#define SLICE_NS	MS(10)	/* a queue has so long while others wait, */
#define SLICE_MAX_NS	MS(40)	/* and so long to make any progress at all */
#define LEAVE_NS	MS(200)	/* who takes longer to give way is not waited for */

struct slot {
	bool bound;
	bool leaving;		/* has been told to suspend */
	bool stuck;		/* for too long */
	bool yielded;		/* because its slice was over */
	bool boosted;		/* nobody outranks it in its first slice */
	__u32 queue;
	__u32 bind_no;		/* binds made before this one, modulo 2^32 */
	__u64 bound_at;
	__u64 told_at;
	__u32 progress;		/* as last seen */
	__u64 looked_at;
};

static struct slot slots[ONPU_MAX_SLOTS];
static __u32 binds;
static __u32 n_leaving;
static __u32 n_bound;
static bool wanted;

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

__u32 slot_packets(__u32 slot)
{
	return reg(slot, ONPU_SLOT_PACKETS);
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
	       ONPU_SLOT_EV_SUSPENDED |
	       (wanted ? ONPU_SLOT_EV_IDLE | ONPU_SLOT_EV_WAITING : 0);
}

__u32 slot_leaving(void)
{
	return n_leaving;
}

__u32 slot_bound(void)
{
	return n_bound;
}

bool slot_is_bound(__u32 slot)
{
	return slots[slot].bound;
}

static void not_leaving(struct slot *s)
{
	if (s->leaving && !s->stuck)
		n_leaving--;
	s->leaving = false;
	s->stuck = false;
}

/* --- progress ---------------------------------------------------------------- */

/* A queue's running time counts while its slot is RUNNING, until it gets on. */
void slot_look(__u32 slot, __u64 now)
{
	struct slot *s = &slots[slot];
	struct queue *q = queue_at(s->queue);
	__u32 progress = reg(slot, ONPU_SLOT_PROGRESS), us;
	__u64 ns = now - s->looked_at;

	s->looked_at = now;
	if (progress != s->progress) {
		s->progress = progress;
		q->stalled_us = 0;
		q->hang_told = false;
		return;
	}
	if (slot_state(slot) != ONPU_SLOT_RUNNING)
		return;
	us = ns >> 32 ? 4000000 : (__u32)ns / 1000;
	q->stalled_us = q->stalled_us > ~us ? ~0u : q->stalled_us + us;
}

void slot_watch(__u64 now)
{
	for (__u32 i = 0; i < limits.slots; i++) {
		struct slot *s = &slots[i];
		struct queue *q = queue_at(s->queue);

		if (!s->bound)
			continue;
		slot_look(i, now);
		if (q->hang_ms && !q->hang_told &&
		    q->stalled_us / 1000 >= q->hang_ms)
			queue_hangs(q);
		if (s->leaving && !s->stuck && now - s->told_at >= LEAVE_NS) {
			s->stuck = true;
			n_leaving--;
			log_print(LOG_WARN, "slot %u: queue %u does not give way",
				  i, s->queue);
		}
	}
}

/* --- leaving ----------------------------------------------------------------- */

/* Free the slot of a queue that does not run: true if the hardware did it. */
static bool release(__u32 slot, struct slot_stop *stop)
{
	slot_look(slot, mcu_time());
	stop->state = slot_state(slot);
	set_reg(slot, ONPU_SLOT_CMD, ONPU_SLOT_UNBIND);
	if (slot_state(slot) != ONPU_SLOT_FREE)
		return false;
	/* These keep their values until the next BIND. */
	stop->consumer = slot_consumer(slot);
	stop->consumer_hi = reg(slot, ONPU_SLOT_CONSUMER_HI);
	stop->busy_ns = slot_busy_ns(slot);
	stop->packets = slot_packets(slot);
	stop->saved = stop->state == ONPU_SLOT_SUSPENDED ?
		      reg(slot, ONPU_SLOT_SAVED) : 0;
	stop->error = reg(slot, ONPU_SLOT_ERROR);
	stop->fault_va = reg64(slot, ONPU_SLOT_FAULT_LO);
	stop->fault_info = reg(slot, ONPU_SLOT_FAULT_INFO);
	stop->opcode = reg(slot, ONPU_SLOT_OPCODE);
	/* It may have run and failed after its state was read as idle. */
	if (stop->error && stop->error != ONPU_ERR_KILLED)
		stop->state = ONPU_SLOT_ERRORED;
	not_leaving(&slots[slot]);
	slots[slot].bound = false;
	n_bound--;
	return true;
}

static void stopped(__u32 slot, const struct slot_stop *stop)
{
	struct queue *q = queue_at(slots[slot].queue);

	queue_stopped(slots[slot].queue, stop, slots[slot].yielded);
	engine_slot_free(slot, q->life == QUEUE_DEAD ? q : NULL);
}

/* The slot whose queue is idle and was bound longest ago, but for @except. */
static __u32 oldest_idle(__u64 except)
{
	__u32 best = NO_SLOT, best_age = 0;

	for (__u32 s = 0; s < limits.slots; s++) {
		__u32 age = binds - slots[s].bind_no;

		if (slots[s].bound && !slots[s].leaving &&
		    !(except & slot_bit(s)) && slot_state(s) == ONPU_SLOT_IDLE &&
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

	for (s = 0; n_bound < limits.slots && s < limits.slots; s++) {
		if (!slots[s].bound)
			return s;
	}
	while ((s = oldest_idle(refused)) != NO_SLOT) {
		if (release(s, &stop)) {
			stopped(s, &stop);
			return s;
		}
		refused |= slot_bit(s); /* it got work at this moment */
	}
	return NO_SLOT;
}

void slot_check(__u32 slot)
{
	struct slot_stop stop;
	__u32 state;

	if (!slots[slot].bound)
		return;
	state = slot_state(slot);
	if ((state == ONPU_SLOT_ERRORED || state == ONPU_SLOT_KILLED ||
	     state == ONPU_SLOT_SUSPENDED) && release(slot, &stop))
		stopped(slot, &stop);
}

void slot_poll(void)
{
	for (__u32 w = 0; w < (limits.slots + 31) / 32; w++) {
		__u32 bits = mcu_read(ONPU_SLOTS_EVENTS(w));

		for (__u32 s = 32 * w; bits; s++, bits >>= 1) {
			if (!(bits & 1))
				continue;
			set_reg(s, ONPU_SLOT_EVENTS, reg(s, ONPU_SLOT_EVENTS));
			slot_check(s);
		}
	}
}

/* --- coming and going -------------------------------------------------------- */

void slot_bind(__u32 slot, struct queue *q, bool boosted, __u64 now)
{
	const struct slot_config *c = &q->config;

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
	set_reg(slot, ONPU_SLOT_CONSUMER_HI, c->consumer_hi);
	set_reg(slot, ONPU_SLOT_SAVE, ONPU_FW_REGION_SAVE_OFFSET +
				      c->queue * ONPU_SAVE_SIZE);
	set_reg(slot, ONPU_SLOT_EVENTS, ~0u);
	set_reg(slot, ONPU_SLOT_EVENT_ENABLE, events_wanted());
	slots[slot] = (struct slot) {
		.bound = true,
		.boosted = boosted,
		.queue = c->queue,
		.bind_no = binds++,
		.bound_at = now,
		.looked_at = now,
	};
	n_bound++;
	q->life = QUEUE_BOUND;
	q->slot = slot;
	q->switches++;
	context_bound(c->asid);
	set_reg(slot, ONPU_SLOT_CMD, q->saved ? ONPU_SLOT_RESTORE :
						ONPU_SLOT_BIND);
	log_print(LOG_DEBUG, "queue %u: on slot %u", c->queue, slot);
}

void slot_kill(__u32 slot)
{
	set_reg(slot, ONPU_SLOT_CMD, ONPU_SLOT_KILL);
}

bool slot_suspend(__u32 slot, bool yielded, __u64 now)
{
	struct slot *s = &slots[slot];

	if (!s->leaving) {
		s->leaving = true;
		s->yielded = yielded;
		s->told_at = now;
		n_leaving++;
		set_reg(slot, ONPU_SLOT_CMD, ONPU_SLOT_SUSPEND);
	}
	slot_check(slot);
	return !s->bound;
}

void slot_want(bool want)
{
	if (want == wanted)
		return;
	wanted = want;
	for (__u32 s = 0; s < limits.slots; s++) {
		if (slots[s].bound)
			set_reg(s, ONPU_SLOT_EVENT_ENABLE, events_wanted());
	}
}

/* --- who gives way ----------------------------------------------------------- */

static bool slice_over(const struct slot *s, __u64 now)
{
	__u64 had = now - s->bound_at;

	return had >= SLICE_NS && (s->progress || had >= SLICE_MAX_NS);
}

__u32 slot_victim(__u32 priority)
{
	__u32 best = NO_SLOT, best_priority = priority, waits = NO_SLOT;
	__u64 now = mcu_time();

	for (__u32 i = 0; i < limits.slots; i++) {
		struct slot *s = &slots[i];
		__u32 p = queue_at(s->queue)->priority;

		if (!s->bound || s->leaving)
			continue;
		if (slot_state(i) == ONPU_SLOT_WAITING) {
			if (waits == NO_SLOT ||
			    s->bound_at < slots[waits].bound_at)
				waits = i;
			continue;
		}
		if (s->boosted && now - s->bound_at < SLICE_NS)
			p = ONPU_PRIORITIES;
		if (p < best_priority ||
		    (best != NO_SLOT && p == best_priority &&
		     s->bound_at < slots[best].bound_at)) {
			best = i;
			best_priority = p;
		}
	}
	return waits != NO_SLOT ? waits : best;
}

__u32 slot_expired(__u32 priority, __u64 now)
{
	__u32 best = NO_SLOT;

	for (__u32 i = 0; i < limits.slots; i++) {
		struct slot *s = &slots[i];

		if (!s->bound || s->leaving ||
		    queue_at(s->queue)->priority > priority ||
		    (best != NO_SLOT && s->bound_at >= slots[best].bound_at))
			continue;
		if (!s->progress)
			slot_look(i, now);
		if (slice_over(s, now))
			best = i;
	}
	return best;
}

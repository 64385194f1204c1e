// SPDX-License-Identifier: MIT
/*
 * Queues: what they are, and what the host asks of them.
 *
 * Idea: a queue exists, sits on a slot or not, and stops for good by an error
 * or a kill.  Which queue sits on a slot is the business of sched.c.  A queue
 * that the host has suspended, itself or its context, gets none.
 *
 * A kill or suspension of a queue on a slot is a request to that slot and is
 * answered when the slot has stopped, or with TIMEOUT.  Events for which the
 * host's ring has no room are kept here, one of each kind per queue, and sent
 * later.  Queues with something in progress or due are on a list, so that
 * nobody looks at the others.
 */
#include "rt.h"

/* A little less than promised, so that the answer is there in time. */
#define KILL_NS		MS(ONPU_KILL_TIMEOUT_MS - 100)

static struct queue queues[ONPU_MAX_QUEUES];
static struct queue_list work;
static __u32 n_hangs;

struct queue *queue_at(__u32 index)
{
	return &queues[index];
}

__u32 queue_id(const struct queue *q)
{
	return (__u32)(q - queues);
}

void queue_init(void)
{
	list_init(&work);
}

/* --- lists ------------------------------------------------------------------- */

void list_init(struct queue_list *list)
{
	list->first = NO_QUEUE;
	list->last = NO_QUEUE;
	list->count = 0;
}

void list_add(struct queue_list *list, struct queue *q, enum queue_link link,
	      bool front)
{
	struct link *l = &q->link[link];
	__u16 id = (__u16)queue_id(q);

	l->prev = front ? NO_QUEUE : list->last;
	l->next = front ? list->first : NO_QUEUE;
	if (l->prev == NO_QUEUE)
		list->first = id;
	else
		queues[l->prev].link[link].next = id;
	if (l->next == NO_QUEUE)
		list->last = id;
	else
		queues[l->next].link[link].prev = id;
	list->count++;
}

void list_del(struct queue_list *list, struct queue *q, enum queue_link link)
{
	struct link *l = &q->link[link];

	if (l->prev == NO_QUEUE)
		list->first = l->next;
	else
		queues[l->prev].link[link].next = l->next;
	if (l->next == NO_QUEUE)
		list->last = l->prev;
	else
		queues[l->next].link[link].prev = l->prev;
	list->count--;
}

struct queue *list_first(const struct queue_list *list)
{
	return list->first == NO_QUEUE ? NULL : &queues[list->first];
}

struct queue *list_next(const struct queue *q, enum queue_link link)
{
	__u16 next = q->link[link].next;

	return next == NO_QUEUE ? NULL : &queues[next];
}

/* --- answers and events ------------------------------------------------------ */

/* Puts the queue on the list of those with work, or takes it off. */
static void update_work(struct queue *q)
{
	bool any = q->kill.type || q->suspend.type || q->error_due ||
		   q->hang_due;

	if (any == q->working)
		return;
	q->working = any;
	if (any)
		list_add(&work, q, LINK_WORK, false);
	else
		list_del(&work, q, LINK_WORK);
}

static bool send_error(const struct queue *q)
{
	struct onpu_msg_queue_error ev = {
		.queue = queue_id(q),
		.asid = q->config.asid,
		.error = q->stop.error,
		.fault_info = q->stop.error == ONPU_ERR_FAULT ?
			      q->stop.fault_info : 0,
		.fault_va = q->stop.error == ONPU_ERR_FAULT ?
			    q->stop.fault_va : 0,
		.consumer = q->stop.consumer,
		.opcode = q->stop.opcode,
	};

	return mbox_event(ONPU_MSG_EV_QUEUE_ERROR, &ev, sizeof(ev));
}

static bool send_hang(const struct queue *q)
{
	struct onpu_msg_queue_hang ev = {
		.queue = queue_id(q),
		.asid = q->config.asid,
		.stalled_ms = q->stalled_us / 1000,
		.hang_ms = q->hang_ms,
		.consumer = q->life == QUEUE_BOUND ? slot_consumer(q->slot) :
						     q->config.consumer,
		.slot = q->slot,
	};

	return mbox_event(ONPU_MSG_EV_QUEUE_HANG, &ev, sizeof(ev));
}

static void announce_error(struct queue *q)
{
	q->error_due = !send_error(q);
	update_work(q);
}

void queue_hangs(struct queue *q)
{
	q->hang_told = true;
	n_hangs++;
	log_print(LOG_WARN, "queue %u: no progress for %u ms", queue_id(q),
		  q->stalled_us / 1000);
	q->hang_due = !send_hang(q);
	update_work(q);
}

__u32 queue_hangs_told(void)
{
	return n_hangs;
}

void queue_killed_by_reset(struct queue *q)
{
	announce_error(q);
}

static void begin(struct queue *q, struct queue_op *op, __u16 type, __u32 seq)
{
	op->type = type;
	op->seq = seq;
	op->deadline = mcu_time() + KILL_NS;
	update_work(q);
}

/* The queue is gone. */
static void forget(struct queue *q)
{
	sched_remove(q);
	q->error_due = false;
	q->hang_due = false;
	update_work(q);
	context_del(q);
	memset(q, 0, sizeof(*q));
}

static void finish(struct queue *q, struct queue_op *op, __u32 status)
{
	__u16 type = op->type;
	__u32 seq = op->seq;

	if (!type)
		return;
	op->type = 0;
	update_work(q);
	if (type == ONPU_MSG_QUEUE_DESTROY && status == ONPU_MSG_STATUS_OK)
		forget(q);
	mbox_answer(type, seq, status);
}

/* --- stopping ---------------------------------------------------------------- */

bool queue_may_run(const struct queue *q)
{
	return q->life == QUEUE_READY && !q->held &&
	       !context_suspended(q->config.asid);
}

bool queue_has_work(const struct queue *q)
{
	return q->saved ||
	       mcu_read(ONPU_DB_VALUE(queue_id(q))) != q->config.consumer;
}

static void take_over(struct queue *q, const struct slot_stop *stop)
{
	q->slot = NO_SLOT;
	q->busy_ns += stop->busy_ns;
	q->packets += stop->packets;
	q->config.consumer = stop->consumer;
	q->config.consumer_hi = stop->consumer_hi;
	q->saved = stop->saved & ONPU_SLOT_SAVED_WORK;
	q->at_wait = stop->saved & ONPU_SLOT_SAVED_WAIT;
	q->stop = *stop;
}

void queue_stopped(__u32 queue, const struct slot_stop *stop, bool yielded)
{
	struct queue *q = &queues[queue];

	take_over(q, stop);
	if (stop->state == ONPU_SLOT_ERRORED) {
		q->life = QUEUE_FAILED;
		log_print(LOG_WARN,
			  "queue %u: error %u, opcode %u, va %llx, info %x",
			  queue, stop->error, stop->opcode, stop->fault_va,
			  stop->fault_info);
		announce_error(q);
	} else if (stop->state == ONPU_SLOT_KILLED || q->kill.type) {
		q->life = QUEUE_DEAD;
		q->stop.error = ONPU_ERR_KILLED;
		log_print(LOG_INFO, "queue %u: killed", queue);
	} else {
		q->life = QUEUE_READY;
		if (stop->state == ONPU_SLOT_SUSPENDED)
			sched_requeue(q, !yielded);
	}
	context_unbound(q->config.asid);
	finish(q, &q->suspend, ONPU_MSG_STATUS_OK);
	finish(q, &q->kill, ONPU_MSG_STATUS_OK);
}

/* --- messages ---------------------------------------------------------------- */

static bool range_is_valid(__u64 va, __u64 size)
{
	return va < 1ull << ONPU_MMU_VA_BITS &&
	       size <= (1ull << ONPU_MMU_VA_BITS) - va;
}

static bool create_is_valid(const struct onpu_msg_queue_create *m)
{
	if (m->queue >= limits.queues || m->asid >= limits.contexts ||
	    m->ring_order < ONPU_RING_ORDER_MIN ||
	    m->ring_order > limits.ring_order_max ||
	    m->flags & ~ONPU_QUEUE_FLAGS || m->vector >= limits.vectors ||
	    m->priority >= ONPU_PRIORITIES || m->reserved)
		return false;
	if (m->ring_va & (ONPU_PACKET_SIZE - 1) ||
	    !range_is_valid(m->ring_va, ONPU_PACKET_SIZE << m->ring_order))
		return false;
	return !(m->ctl_va & (sizeof(struct onpu_queue_ctl) - 1)) &&
	       range_is_valid(m->ctl_va, sizeof(struct onpu_queue_ctl));
}

static void clear_doorbell(__u32 queue)
{
	mcu_write(ONPU_DB_VALUE(queue), 0);
	mcu_write(ONPU_DOORBELL_PENDING(queue), 1u << queue % 32);
}

__u32 queue_create(const struct onpu_msg_queue_create *m)
{
	struct queue *q;

	if (!create_is_valid(m))
		return ONPU_MSG_STATUS_INVALID;
	q = &queues[m->queue];
	if (q->life != QUEUE_NONE)
		return ONPU_MSG_STATUS_EXIST;
	if (!context_exists(m->asid))
		return ONPU_MSG_STATUS_NOENT;

	clear_doorbell(m->queue);
	memset(q, 0, sizeof(*q));
	q->life = QUEUE_READY;
	q->slot = NO_SLOT;
	q->priority = (__u8)m->priority;
	q->hang_ms = m->hang_ms;
	q->config = (struct slot_config) {
		.queue = m->queue,
		.asid = m->asid,
		.ring_va = m->ring_va,
		.ctl_va = m->ctl_va,
		.ring_order = m->ring_order,
		.flags = m->flags,
		.vector = m->vector,
	};
	context_add(q);
	log_print(LOG_DEBUG, "queue %u: context %u, ring %llx order %u",
		  m->queue, m->asid, m->ring_va, m->ring_order);
	return ONPU_MSG_STATUS_OK;
}

/* The queue that @m names: its status if it cannot be used. */
static __u32 lookup(const struct onpu_msg_queue *m, struct queue **q)
{
	__u32 used = 0;

	for (__u32 i = 0; i < sizeof(m->reserved) / sizeof(m->reserved[0]); i++)
		used |= m->reserved[i];
	if (used || m->queue >= limits.queues)
		return ONPU_MSG_STATUS_INVALID;
	*q = &queues[m->queue];
	return (*q)->life == QUEUE_NONE ? ONPU_MSG_STATUS_NOENT :
					  ONPU_MSG_STATUS_OK;
}

/* Make it stop; STATUS_LATER if that takes time. */
static __u32 kill(struct queue *q, __u16 type, __u32 seq)
{
	if (q->kill.type)
		return ONPU_MSG_STATUS_BUSY;
	sched_remove(q);
	if (q->life == QUEUE_BOUND) {
		slot_kill(q->slot);
		slot_check(q->slot);
	}
	if (q->life == QUEUE_BOUND) {
		begin(q, &q->kill, type, seq);
		return STATUS_LATER;
	}
	/* Also when it was suspended just now, on its way. */
	sched_remove(q);
	if (q->life == QUEUE_READY) {
		q->life = QUEUE_DEAD;
		q->stop.error = ONPU_ERR_KILLED;
	}
	return ONPU_MSG_STATUS_OK;
}

__u32 queue_kill(const struct onpu_msg_queue *m, __u32 seq)
{
	struct queue *q;
	__u32 status = lookup(m, &q);

	return status == ONPU_MSG_STATUS_OK ?
	       kill(q, ONPU_MSG_QUEUE_KILL, seq) : status;
}

__u32 queue_destroy(const struct onpu_msg_queue *m, __u32 seq)
{
	struct queue *q;
	__u32 status = lookup(m, &q);

	if (status == ONPU_MSG_STATUS_OK)
		status = kill(q, ONPU_MSG_QUEUE_DESTROY, seq);
	if (status == ONPU_MSG_STATUS_OK)
		forget(q);
	return status;
}

__u32 queue_suspend(const struct onpu_msg_queue *m, __u32 seq)
{
	struct queue *q;
	__u32 status = lookup(m, &q);

	if (status != ONPU_MSG_STATUS_OK)
		return status;
	if (q->suspend.type || q->kill.type)
		return ONPU_MSG_STATUS_BUSY;
	q->held = true;
	sched_remove(q);
	if (q->life != QUEUE_BOUND || slot_suspend(q->slot, false, mcu_time()))
		return ONPU_MSG_STATUS_OK;
	begin(q, &q->suspend, ONPU_MSG_QUEUE_SUSPEND, seq);
	return STATUS_LATER;
}

__u32 queue_resume(const struct onpu_msg_queue *m)
{
	struct queue *q;
	__u32 status = lookup(m, &q);

	if (status != ONPU_MSG_STATUS_OK)
		return status;
	if (q->suspend.type)
		return ONPU_MSG_STATUS_BUSY;
	q->held = false;
	sched_consider(q);
	return ONPU_MSG_STATUS_OK;
}

__u32 queue_set_priority(const struct onpu_msg_queue_priority *m)
{
	struct onpu_msg_queue named = { .queue = m->queue };
	struct queue *q;
	__u32 status;

	memcpy(named.reserved, m->reserved, sizeof(m->reserved));
	status = lookup(&named, &q);
	if (m->priority >= ONPU_PRIORITIES)
		return ONPU_MSG_STATUS_INVALID;
	if (status == ONPU_MSG_STATUS_OK)
		sched_set_priority(q, m->priority);
	return status;
}

static __u32 public_state(const struct queue *q)
{
	switch (q->life) {
	case QUEUE_READY:
		if (q->held || context_suspended(q->config.asid))
			return ONPU_QSTATE_SUSPENDED;
		return q->at_wait ? ONPU_QSTATE_WAITING : ONPU_QSTATE_UNBOUND;
	case QUEUE_FAILED:
		return ONPU_QSTATE_ERROR;
	case QUEUE_DEAD:
		return ONPU_QSTATE_KILLED;
	case QUEUE_BOUND:
		break;
	default:
		return ONPU_QSTATE_NONE;
	}
	switch (slot_state(q->slot)) {
	case ONPU_SLOT_IDLE:
		return ONPU_QSTATE_IDLE;
	case ONPU_SLOT_WAITING:
		return ONPU_QSTATE_WAITING;
	case ONPU_SLOT_ERRORED:
		return ONPU_QSTATE_ERROR;
	case ONPU_SLOT_KILLED:
		return ONPU_QSTATE_KILLED;
	default:
		return ONPU_QSTATE_RUNNING;
	}
}

__u32 queue_status(const struct onpu_msg_queue *m,
		   struct onpu_msg_queue_status *out)
{
	struct queue *q;
	__u32 status = lookup(m, &q);

	if (status != ONPU_MSG_STATUS_OK)
		return status;
	if (q->life == QUEUE_BOUND)
		slot_check(q->slot); /* it may have stopped just now */
	out->queue = m->queue;
	out->state = public_state(q);
	out->slot = q->slot;
	out->producer = mcu_read(ONPU_DB_VALUE(m->queue));
	out->consumer = q->config.consumer;
	out->busy_ns = q->busy_ns;
	out->packets = q->packets;
	if (q->life == QUEUE_BOUND) {
		slot_look(q->slot, mcu_time());
		out->consumer = slot_consumer(q->slot);
		out->busy_ns += slot_busy_ns(q->slot);
		out->packets += slot_packets(q->slot);
	} else if (q->life != QUEUE_READY) {
		out->error = q->stop.error;
	}
	out->switches = q->switches;
	out->stalled_us = q->stalled_us;
	return ONPU_MSG_STATUS_OK;
}

/* --- what could not be done at once ------------------------------------------ */

static void poll_one(struct queue *q, __u64 now)
{
	if (q->error_due)
		q->error_due = !send_error(q);
	if (q->hang_due)
		q->hang_due = !send_hang(q);
	update_work(q);
	if (q->suspend.type && q->suspend.deadline <= now) {
		log_print(LOG_ERROR, "queue %u: suspension timed out",
			  queue_id(q));
		finish(q, &q->suspend, ONPU_MSG_STATUS_TIMEOUT);
	}
	if (q->kill.type && q->kill.deadline <= now) {
		log_print(LOG_ERROR, "queue %u: kill timed out", queue_id(q));
		finish(q, &q->kill, ONPU_MSG_STATUS_TIMEOUT);
	}
}

void queue_poll_due(__u64 now)
{
	struct queue *q = list_first(&work), *next;

	for (; q; q = next) {
		next = list_next(q, LINK_WORK);
		poll_one(q, now);
	}
}

__u64 queue_next_deadline(void)
{
	__u64 first = NEVER;

	for (struct queue *q = list_first(&work); q;
	     q = list_next(q, LINK_WORK)) {
		if (q->kill.type && q->kill.deadline < first)
			first = q->kill.deadline;
		if (q->suspend.type && q->suspend.deadline < first)
			first = q->suspend.deadline;
	}
	return first;
}

// SPDX-License-Identifier: MIT
/*
 * Queues, and which of them sit on slots.
 *
 * Idea: a queue gets a slot when its doorbell is rung while it has none, first
 * come, first served.  While queues wait, slots report when they run empty,
 * and an idle queue gives way.  A queue that waits at a WAIT packet or
 * executes keeps its slot: nothing is preempted.
 *
 * A kill is a request to the slot and is answered when the slot has stopped,
 * or with TIMEOUT; answers and events for which the host's ring has no room
 * are kept here, one of each per queue, and sent later.
 */
#include "rt.h"

/* A little less than promised, so that the answer is there in time. */
#define KILL_NS		MS(ONPU_KILL_TIMEOUT_MS - 100)

enum queue_life {
	QUEUE_NONE = 0,
	QUEUE_READY,	/* exists, on no slot */
	QUEUE_BOUND,
	QUEUE_FAILED,
	QUEUE_DEAD,	/* killed */
};

struct queue {
	__u8 life;
	bool waiting;		/* for a slot */
	bool event_due;		/* EV_QUEUE_ERROR not sent yet */
	__u16 op;		/* message type whose kill is in progress, or 0 */
	__u16 reply;		/* message type whose answer is due, or 0 */
	__u32 op_seq;
	__u32 reply_seq;
	__u32 reply_status;
	__u32 ticket;		/* order of waiting */
	__u32 slot;
	__u64 deadline;		/* of op */
	__u64 busy_ns;		/* before the present slot */
	struct slot_config config;
	struct slot_stop stop;	/* why it stopped */
};

static struct queue queues[ONPU_MAX_QUEUES];
static __u32 n_waiting;
static __u32 n_ops;		/* kills in progress */
static __u32 n_due;		/* answers and events due */
static __u32 next_ticket;

static __u32 id_of(const struct queue *q)
{
	return (__u32)(q - queues);
}

/* --- answers and events ------------------------------------------------------ */

static bool send_event(const struct queue *q)
{
	struct onpu_msg_queue_error ev = {
		.queue = id_of(q),
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

static void announce_error(struct queue *q)
{
	if (!send_event(q)) {
		q->event_due = true;
		n_due++;
	}
}

static void answer(struct queue *q, __u16 type, __u32 seq, __u32 status)
{
	if (!mbox_respond(type, seq, status)) {
		q->reply = type;
		q->reply_seq = seq;
		q->reply_status = status;
		n_due++;
	}
}

static void stop_waiting(struct queue *q)
{
	if (q->waiting) {
		q->waiting = false;
		n_waiting--;
	}
}

/* The queue is gone; only an answer that is due may remain of it. */
static void forget(struct queue *q)
{
	__u16 reply = q->reply;
	__u32 seq = q->reply_seq, status = q->reply_status;

	stop_waiting(q);
	if (q->event_due)
		n_due--;
	context_put(q->config.asid);
	memset(q, 0, sizeof(*q));
	q->reply = reply;
	q->reply_seq = seq;
	q->reply_status = status;
}

static void finish_op(struct queue *q, __u32 status)
{
	__u16 type = q->op;
	__u32 seq = q->op_seq;

	q->op = 0;
	n_ops--;
	if (type == ONPU_MSG_QUEUE_DESTROY && status == ONPU_MSG_STATUS_OK)
		forget(q);
	answer(q, type, seq, status);
}

void queue_stopped(__u32 queue, const struct slot_stop *stop)
{
	struct queue *q = &queues[queue];

	q->slot = NO_SLOT;
	q->busy_ns += stop->busy_ns;
	q->config.consumer = stop->consumer;
	q->stop = *stop;
	if (stop->state == ONPU_SLOT_ERRORED) {
		q->life = QUEUE_FAILED;
		log_print(LOG_WARN,
			  "queue %u: error %u, opcode %u, va %llx, info %x",
			  queue, stop->error, stop->opcode, stop->fault_va,
			  stop->fault_info);
		announce_error(q);
	} else if (stop->state == ONPU_SLOT_KILLED || q->op) {
		q->life = QUEUE_DEAD;
		q->stop.error = ONPU_ERR_KILLED;
		log_print(LOG_INFO, "queue %u: killed", queue);
	} else {
		q->life = QUEUE_READY;
	}
	if (q->op)
		finish_op(q, ONPU_MSG_STATUS_OK);
}

/* --- slots for waiting queues ------------------------------------------------ */

static struct queue *longest_waiting(void)
{
	struct queue *best = NULL;

	for (__u32 i = 0; i < limits.queues; i++) {
		struct queue *q = &queues[i];

		if (q->waiting && (!best || next_ticket - q->ticket >
					    next_ticket - best->ticket))
			best = q;
	}
	return best;
}

static void bind(struct queue *q, __u32 slot)
{
	stop_waiting(q);
	q->life = QUEUE_BOUND;
	q->slot = slot;
	slot_bind(slot, &q->config);
	log_print(LOG_DEBUG, "queue %u: on slot %u", id_of(q), slot);
}

static void serve_waiting(void)
{
	while (n_waiting) {
		__u32 slot = slot_find();

		if (slot == NO_SLOT) {
			/* Look again: one may have run empty in between. */
			slot_want_idle(true);
			slot = slot_find();
		}
		if (slot == NO_SLOT)
			return;
		bind(longest_waiting(), slot);
	}
	slot_want_idle(false);
}

static void rung(__u32 queue)
{
	struct queue *q = &queues[queue];

	/* Of a queue that is on a slot by now the hardware knows already. */
	if (q->life != QUEUE_READY || q->waiting)
		return;
	q->waiting = true;
	q->ticket = next_ticket++;
	n_waiting++;
}

void queue_poll_doorbells(void)
{
	for (__u32 base = 0; base < limits.queues; base += 32) {
		__u32 bits = mcu_read(ONPU_DOORBELL_PENDING(base));

		mcu_write(ONPU_DOORBELL_PENDING(base), bits);
		for (__u32 i = 0; i < 32 && base + i < limits.queues; i++) {
			if (bits >> i & 1)
				rung(base + i);
		}
	}
	serve_waiting();
}

void queue_poll_slots(void)
{
	slot_poll();
	serve_waiting();
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
	    m->priority > 3 || m->reserved[0] || m->reserved[1])
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
	if (q->reply)
		return ONPU_MSG_STATUS_BUSY;

	clear_doorbell(m->queue);
	context_get(m->asid);
	q->life = QUEUE_READY;
	q->slot = NO_SLOT;
	q->config = (struct slot_config) {
		.queue = m->queue,
		.asid = m->asid,
		.ring_va = m->ring_va,
		.ctl_va = m->ctl_va,
		.ring_order = m->ring_order,
		.flags = m->flags,
		.vector = m->vector,
	};
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
	if (q->op || q->reply)
		return ONPU_MSG_STATUS_BUSY;
	if (q->life == QUEUE_BOUND) {
		slot_kill(q->slot);
		slot_check(q->slot);
	}
	if (q->life == QUEUE_BOUND) {
		q->op = type;
		q->op_seq = seq;
		q->deadline = mcu_time() + KILL_NS;
		n_ops++;
		return STATUS_LATER;
	}
	stop_waiting(q);
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

	if (status == ONPU_MSG_STATUS_OK)
		status = kill(q, ONPU_MSG_QUEUE_KILL, seq);
	serve_waiting();
	return status;
}

__u32 queue_destroy(const struct onpu_msg_queue *m, __u32 seq)
{
	struct queue *q;
	__u32 status = lookup(m, &q);

	if (status == ONPU_MSG_STATUS_OK)
		status = kill(q, ONPU_MSG_QUEUE_DESTROY, seq);
	if (status == ONPU_MSG_STATUS_OK)
		forget(q);
	serve_waiting();
	return status;
}

static __u32 public_state(const struct queue *q)
{
	switch (q->life) {
	case QUEUE_READY:
		return ONPU_QSTATE_UNBOUND;
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
	if (q->life == QUEUE_BOUND) {
		out->consumer = slot_consumer(q->slot);
		out->busy_ns += slot_busy_ns(q->slot);
	} else if (q->life != QUEUE_READY) {
		out->error = q->stop.error;
	}
	return ONPU_MSG_STATUS_OK;
}

/* --- what could not be done at once ------------------------------------------ */

static void send_due(struct queue *q)
{
	if (q->event_due && send_event(q)) {
		q->event_due = false;
		n_due--;
	}
	if (q->reply && mbox_respond(q->reply, q->reply_seq, q->reply_status)) {
		q->reply = 0;
		n_due--;
	}
}

void queue_poll_due(__u64 now)
{
	for (__u32 i = 0; (n_ops || n_due) && i < limits.queues; i++) {
		struct queue *q = &queues[i];

		if (q->op && q->deadline <= now) {
			log_print(LOG_ERROR, "queue %u: kill timed out", i);
			finish_op(q, ONPU_MSG_STATUS_TIMEOUT);
		}
		if (n_due)
			send_due(q);
	}
}

__u64 queue_next_deadline(void)
{
	__u64 first = NEVER;

	for (__u32 i = 0; n_ops && i < limits.queues; i++) {
		if (queues[i].op && queues[i].deadline < first)
			first = queues[i].deadline;
	}
	return first;
}

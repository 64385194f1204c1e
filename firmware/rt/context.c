// SPDX-License-Identifier: MIT
/*
 * Contexts: which address spaces exist, which queues use each, and whether
 * they may run.  Main loop only.
 *
 * Idea: a context counts how many of its queues sit on slots.  Suspending it
 * makes all of them leave; the request is answered when the count is zero,
 * or with TIMEOUT.  Queues that come later find the context suspended.
 */
#include "rt.h"

/* A little less than promised, so that the answer is there in time. */
#define SUSPEND_NS	MS(ONPU_KILL_TIMEOUT_MS - 100)

struct context {
	bool exists;
	bool suspended;
	bool answers;		/* a suspension is in progress */
	__u32 seq;		/* of it */
	__u64 deadline;
	__u32 bound;		/* queues on slots */
	struct queue_list queues;
};

static struct context contexts[ONPU_MAX_CONTEXTS];
static __u32 n_answers;		/* suspensions in progress */

bool context_exists(__u32 asid)
{
	return asid < limits.contexts && contexts[asid].exists;
}

bool context_suspended(__u32 asid)
{
	return contexts[asid].suspended;
}

void context_add(struct queue *q)
{
	list_add(&contexts[q->config.asid].queues, q, LINK_CTX, false);
}

void context_del(struct queue *q)
{
	list_del(&contexts[q->config.asid].queues, q, LINK_CTX);
}

static void answer(struct context *c, __u32 status)
{
	c->answers = false;
	n_answers--;
	mbox_answer(ONPU_MSG_CTX_SUSPEND, c->seq, status);
}

void context_bound(__u32 asid)
{
	contexts[asid].bound++;
}

void context_unbound(__u32 asid)
{
	struct context *c = &contexts[asid];

	if (--c->bound == 0 && c->answers)
		answer(c, ONPU_MSG_STATUS_OK);
}

void context_poll(__u64 now)
{
	for (__u32 i = 0; n_answers && i < limits.contexts; i++) {
		if (contexts[i].answers && contexts[i].deadline <= now) {
			log_print(LOG_ERROR, "context %u: suspension timed out", i);
			answer(&contexts[i], ONPU_MSG_STATUS_TIMEOUT);
		}
	}
}

__u64 context_next_deadline(void)
{
	__u64 first = NEVER;

	for (__u32 i = 0; n_answers && i < limits.contexts; i++) {
		if (contexts[i].answers && contexts[i].deadline < first)
			first = contexts[i].deadline;
	}
	return first;
}

static bool all_zero(const __u32 *words, __u32 n)
{
	while (n--) {
		if (*words++)
			return false;
	}
	return true;
}

/* A page of card memory that is not the firmware's. */
static bool root_is_valid(__u64 root)
{
	__u64 fw_end = limits.region_offset + limits.region_size;

	return !(root & (ONPU_MMU_TABLE_SIZE - 1)) &&
	       limits.vram_size >= ONPU_MMU_TABLE_SIZE &&
	       root <= limits.vram_size - ONPU_MMU_TABLE_SIZE &&
	       (root >= fw_end ||
		root + ONPU_MMU_TABLE_SIZE <= limits.region_offset);
}

__u32 context_create(const struct onpu_msg_ctx *msg)
{
	if (msg->asid >= limits.contexts || msg->reserved0 ||
	    !all_zero(msg->reserved, 8) || !root_is_valid(msg->root))
		return ONPU_MSG_STATUS_INVALID;
	if (contexts[msg->asid].exists)
		return ONPU_MSG_STATUS_EXIST;

	mcu_write(ONPU_CTX_ROOT_LO(msg->asid), (__u32)msg->root);
	mcu_write(ONPU_CTX_ROOT_HI(msg->asid), (__u32)(msg->root >> 32));
	mcu_write(ONPU_CTX_CTRL(msg->asid), ONPU_CTX_VALID);
	memset(&contexts[msg->asid], 0, sizeof(contexts[msg->asid]));
	list_init(&contexts[msg->asid].queues);
	contexts[msg->asid].exists = true;
	log_print(LOG_DEBUG, "context %u: root %llx", msg->asid, msg->root);
	return ONPU_MSG_STATUS_OK;
}

/* The context that @msg names, which has nothing else in it; or its status. */
static __u32 lookup(const struct onpu_msg_ctx *msg, struct context **c)
{
	if (msg->asid >= limits.contexts || msg->reserved0 || msg->root ||
	    !all_zero(msg->reserved, 8))
		return ONPU_MSG_STATUS_INVALID;
	*c = &contexts[msg->asid];
	return (*c)->exists ? ONPU_MSG_STATUS_OK : ONPU_MSG_STATUS_NOENT;
}

__u32 context_destroy(const struct onpu_msg_ctx *msg)
{
	struct context *c;
	__u32 status = lookup(msg, &c);

	if (status != ONPU_MSG_STATUS_OK)
		return status;
	if (c->queues.count)
		return ONPU_MSG_STATUS_BUSY;

	mcu_write(ONPU_CTX_CTRL(msg->asid), 0);
	mcu_write(ONPU_CTX_ROOT_LO(msg->asid), 0);
	mcu_write(ONPU_CTX_ROOT_HI(msg->asid), 0);
	c->exists = false;
	log_print(LOG_DEBUG, "context %u: gone", msg->asid);
	return ONPU_MSG_STATUS_OK;
}

__u32 context_suspend(const struct onpu_msg_ctx *msg, __u32 seq)
{
	__u64 now = mcu_time();
	struct context *c;
	__u32 status = lookup(msg, &c);

	if (status != ONPU_MSG_STATUS_OK)
		return status;
	if (c->answers)
		return ONPU_MSG_STATUS_BUSY;
	c->suspended = true;
	for (struct queue *q = list_first(&c->queues); q;
	     q = list_next(q, LINK_CTX)) {
		sched_remove(q);
		if (q->life == QUEUE_BOUND)
			slot_suspend(q->slot, false, now);
	}
	if (!c->bound)
		return ONPU_MSG_STATUS_OK;
	c->answers = true;
	c->seq = seq;
	c->deadline = now + SUSPEND_NS;
	n_answers++;
	return STATUS_LATER;
}

__u32 context_resume(const struct onpu_msg_ctx *msg)
{
	struct context *c;
	__u32 status = lookup(msg, &c);

	if (status != ONPU_MSG_STATUS_OK)
		return status;
	if (c->answers)
		return ONPU_MSG_STATUS_BUSY;
	c->suspended = false;
	for (struct queue *q = list_first(&c->queues); q;
	     q = list_next(q, LINK_CTX))
		sched_consider(q);
	return ONPU_MSG_STATUS_OK;
}

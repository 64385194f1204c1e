// SPDX-License-Identifier: MIT
/*
 * Reset of the engine: what hangs is killed, what does not is left alone.
 *
 * Idea: every slot that has a queue is told to suspend.  Those that do go on
 * later as if nothing had happened.  Those that have not after ENGINE_STOP_NS
 * are killed, and only they count as hit.  The answer comes when all are free,
 * or with TIMEOUT.
 */
#include "rt.h"

#define ENGINE_STOP_NS	MS(ONPU_KILL_TIMEOUT_MS / 2)
#define ENGINE_ALL_NS	MS(ONPU_KILL_TIMEOUT_MS - 100)

static __u64 waited;		/* slots that have not answered; bits */
static bool running, killing, due;
static __u32 seq, status;
static __u64 begun;
static __u32 n_resets;
static struct onpu_msg_engine_reset result;

static __u64 bit_of(__u32 slot)
{
	__u32 bit = 1u << slot % 32;

	return slot < 32 ? bit : (__u64)bit << 32;
}

__u32 engine_resets(void)
{
	return n_resets;
}

__u32 engine_reset(const struct onpu_msg *msg,
		   struct onpu_msg_engine_reset *out)
{
	__u64 now = mcu_time();

	if (running)
		return ONPU_MSG_STATUS_BUSY;
	n_resets++;
	memset(&result, 0, sizeof(result));
	waited = 0;
	for (__u32 s = 0; s < limits.slots; s++) {
		if (!slot_is_bound(s))
			continue;
		if (!slot_suspend(s, false, now))
			waited |= bit_of(s);
	}
	*out = result;
	if (!waited)
		return ONPU_MSG_STATUS_OK;
	running = true;
	killing = false;
	seq = msg->seq;
	begun = now;
	return STATUS_LATER;
}

static void answer(__u32 with)
{
	status = with;
	due = !mbox_answer_with(ONPU_MSG_ENGINE_RESET, seq, status, &result,
				sizeof(result));
	running = due;
	waited = 0;
}

static void hit(const struct queue *q)
{
	__u32 asid = q->config.asid, bit = 1u << asid % 32;

	result.queues++;
	result.contexts += !(result.asids[asid / 32] & bit);
	result.asids[asid / 32] |= bit;
}

void engine_slot_free(__u32 slot, struct queue *killed)
{
	if (!(waited & bit_of(slot)))
		return;
	waited &= ~bit_of(slot);
	if (killed && killing) {
		hit(killed);
		queue_killed_by_reset(killed);
	}
	if (!waited)
		answer(ONPU_MSG_STATUS_OK);
}

void engine_poll(__u64 now)
{
	if (due) {
		answer(status);
		return;
	}
	if (!running)
		return;
	if (!killing && now - begun >= ENGINE_STOP_NS) {
		killing = true;
		for (__u32 s = 0; s < limits.slots; s++) {
			if (!(waited & bit_of(s)))
				continue;
			log_print(LOG_ERROR, "slot %u: killed by engine reset", s);
			slot_kill(s);
			slot_check(s);
		}
	}
	if (running && !due && now - begun >= ENGINE_ALL_NS) {
		log_print(LOG_ERROR, "engine reset timed out");
		answer(ONPU_MSG_STATUS_TIMEOUT);
	}
}

__u64 engine_next_deadline(void)
{
	if (!running || due)
		return NEVER;
	return begun + (killing ? ENGINE_ALL_NS : ENGINE_STOP_NS);
}

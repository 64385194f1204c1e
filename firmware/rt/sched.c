// SPDX-License-Identifier: MIT
/*
 * Scheduler: which queues sit on slots (Documentation/firmware.md, section 5).
 *
 * Idea: queues with work and no slot stand in one line per priority; a slot
 * goes to the first of the highest line.  If none is free, an idle queue
 * gives way, then one that stands at a WAIT, then one of lower priority; one
 * of the same priority when its slice is over.  So that nobody starves, now
 * and then a slot goes to whoever has waited longest, for a slice in which
 * nobody outranks him.
 *
 * A queue that gave way at a WAIT is blocked: it has work, but perhaps none
 * that can be done.  It gets a free slot, and else its turn in small doses,
 * soon after a SIGNAL.
 *
 * Nothing here looks at more queues than it serves.  No timer runs unless
 * somebody waits for a slot.
 */
#include "rt.h"

#define TICK_NS			MS(5)	/* slices are looked at so often */
#define AGE_NS			MS(50)	/* who has waited so long gets a slot out of turn, */
#define BOOST_NS		MS(20)	/* one of them in so long, */
#define BOOST_BINDS		8	/* or of so many */
#define RETRY_NS		MS(4)	/* blocked queues are tried so often, */
#define RETRY_SIGNAL_NS		MS(1)	/* or after a SIGNAL, but not more often than that, */
#define RETRY_COUNT		8	/* so many at a time */

static struct queue_list ready[ONPU_PRIORITIES];
static struct queue_list blocked;
static __u32 n_ready;
static __u64 next_tick;
static __u64 last_boost, last_retry;
static __u32 binds_since_boost;
static bool signalled, watching;
static __u64 switches, preemptions;

void sched_init(void)
{
	for (__u32 p = 0; p < ONPU_PRIORITIES; p++)
		list_init(&ready[p]);
	list_init(&blocked);
}

/* --- lines ------------------------------------------------------------------- */

static void add_ready(struct queue *q, bool front, __u64 now)
{
	if (!n_ready)
		next_tick = now + TICK_NS;
	q->turn = TURN_READY;
	q->since = now;
	list_add(&ready[q->priority], q, LINK_SCHED, front);
	n_ready++;
}

void sched_remove(struct queue *q)
{
	if (q->turn == TURN_READY) {
		list_del(&ready[q->priority], q, LINK_SCHED);
		n_ready--;
	} else if (q->turn == TURN_BLOCKED) {
		list_del(&blocked, q, LINK_SCHED);
	}
	q->turn = TURN_NONE;
}

void sched_consider(struct queue *q)
{
	if (q->turn == TURN_NONE && queue_may_run(q) && queue_has_work(q))
		add_ready(q, false, mcu_time());
}

void sched_requeue(struct queue *q, bool first)
{
	if (q->turn != TURN_NONE || !queue_may_run(q) || !queue_has_work(q))
		return;
	preemptions++;
	if (!q->at_wait) {
		add_ready(q, first, mcu_time());
		return;
	}
	if (!blocked.count)
		last_retry = mcu_time();
	q->turn = TURN_BLOCKED;
	list_add(&blocked, q, LINK_SCHED, false);
}

void sched_set_priority(struct queue *q, __u32 priority)
{
	bool moves = q->turn == TURN_READY;

	if (moves)
		list_del(&ready[q->priority], q, LINK_SCHED);
	q->priority = (__u8)priority;
	if (moves)
		list_add(&ready[priority], q, LINK_SCHED, false);
}

void sched_poll_doorbells(void)
{
	__u32 words = mcu_read(ONPU_DOORBELL_WORDS);

	for (__u32 w = 0; words; w++, words >>= 1) {
		__u32 bits;

		if (!(words & 1))
			continue;
		bits = mcu_read(ONPU_DOORBELL_PENDING(32 * w));
		mcu_write(ONPU_DOORBELL_PENDING(32 * w), bits);
		/* Of a queue that is on a slot by now the hardware knows. */
		for (__u32 i = 0; bits; i++, bits >>= 1) {
			if (bits & 1 && 32 * w + i < limits.queues)
				sched_consider(queue_at(32 * w + i));
		}
	}
}

void sched_signalled(void)
{
	signalled = true;
}

/* --- whose turn it is -------------------------------------------------------- */

static struct queue *highest(void)
{
	for (__u32 p = ONPU_PRIORITIES; p-- > 0;) {
		if (ready[p].count)
			return list_first(&ready[p]);
	}
	return NULL;
}

/* Who has waited longest, if it is too long and somebody stands before him. */
static struct queue *aged(__u64 now)
{
	struct queue *best = NULL;

	if (now - last_boost < BOOST_NS && binds_since_boost < BOOST_BINDS)
		return NULL;
	for (__u32 p = 0; p < ONPU_PRIORITIES; p++) {
		struct queue *q = list_first(&ready[p]);

		if (q && (!best || q->since < best->since))
			best = q;
	}
	/* The first of the highest line needs no help. */
	return best && best != highest() && now - best->since >= AGE_NS ?
	       best : NULL;
}

static void bind(struct queue *q, __u32 slot, bool boosted, __u64 now)
{
	sched_remove(q);
	switches++;
	binds_since_boost++;
	if (boosted) {
		binds_since_boost = 0;
		last_boost = now;
	}
	slot_bind(slot, q, boosted, now);
}

/* Slots that are free, or idle, are given to whoever waits. */
static void fill(__u64 now)
{
	while (n_ready || blocked.count) {
		__u32 slot = slot_find();
		struct queue *q;

		if (slot == NO_SLOT)
			return;
		q = aged(now);
		if (q)
			bind(q, slot, true, now);
		else if (n_ready)
			bind(highest(), slot, false, now);
		else
			bind(list_first(&blocked), slot, false, now);
	}
}

/* --- making room ------------------------------------------------------------- */

/* At once: WAITs, and lower priorities.  True if a slot became free. */
static bool take_slots(__u64 now)
{
	__u32 coming = slot_leaving();
	bool freed = false;

	for (__u32 p = ONPU_PRIORITIES; p-- > 0;) {
		for (__u32 n = ready[p].count; n; n--) {
			__u32 slot;

			if (coming) {
				coming--;
				continue;
			}
			slot = slot_victim(p);
			if (slot == NO_SLOT)
				break;
			freed |= slot_suspend(slot, false, now);
		}
	}
	return freed;
}

/* When slices are over.  True if a slot became free. */
static bool rotate(__u64 now)
{
	bool freed = false;

	while (n_ready > slot_leaving()) {
		bool out_of_turn = aged(now);
		__u32 slot = slot_expired(out_of_turn ? ONPU_PRIORITIES :
						highest()->priority, now);

		if (slot == NO_SLOT)
			break;
		freed = slot_suspend(slot, true, now);
		if (freed)
			break;
	}
	return freed;
}

static void retry_blocked(__u64 now)
{
	if (!blocked.count || now - last_retry < RETRY_SIGNAL_NS ||
	    (!signalled && now - last_retry < RETRY_NS))
		return;
	signalled = false;
	last_retry = now;
	for (__u32 i = 0; i < RETRY_COUNT && blocked.count; i++) {
		struct queue *q = list_first(&blocked);

		sched_remove(q);
		add_ready(q, false, now);
	}
}

/* SIGNALs wake the controller only while somebody is blocked. */
static void watch_signals(void)
{
	bool want = blocked.count;

	if (want == watching)
		return;
	watching = want;
	mcu_write(ONPU_SYS_IRQ_ENABLE, ONPU_MCU_IRQ_MBOX |
		  ONPU_MCU_IRQ_DOORBELL | ONPU_MCU_IRQ_SLOT |
		  (want ? ONPU_MCU_IRQ_SIGNAL : 0));
}

void sched_run(__u64 now)
{
	bool tick;

	retry_blocked(now);
	fill(now);
	tick = n_ready && now >= next_tick;
	slot_want(n_ready);
	/* Bounded: each round binds somebody, or ends. */
	for (__u32 i = 0; n_ready && i < 2 * ONPU_MAX_SLOTS; i++) {
		if (!take_slots(now) && !(tick && rotate(now)))
			break;
		fill(now);
	}
	if (tick)
		next_tick = now + TICK_NS;
	slot_want(n_ready);
	watch_signals();
}

__u64 sched_next_deadline(void)
{
	__u64 first = n_ready ? next_tick : NEVER, retry;

	if (blocked.count) {
		retry = last_retry + (signalled ? RETRY_SIGNAL_NS : RETRY_NS);
		first = retry < first ? retry : first;
	}
	return first;
}

void sched_status(struct onpu_msg_card_status *out)
{
	out->switches = switches;
	out->preemptions = preemptions;
	out->ready = n_ready;
	out->blocked = blocked.count;
}

/* SPDX-License-Identifier: MIT */
/*
 * Parts of the runtime firmware.
 *
 * One thread and no interrupt handlers: the main loop sleeps, polls every
 * source once and sleeps again, so no part needs a lock.
 */
#ifndef RT_H
#define RT_H

#include <stdbool.h>
#include <onpu/fwimage.h>
#include <onpu/mbox.h>
#include <onpu/mmu.h>
#include <onpu/packet.h>
#include "mcu_io.h"
#include "string.h"

#define MS(n)		((n) * 1000000ull)
#define HEARTBEAT_NS	MS(50)
#define NO_SLOT		0xffffffffu
#define NEVER		(~0ull)

/* --- limits of this card, read once at start ------------------------------- */

struct limits {
	__u32 queues;
	__u32 slots;
	__u32 contexts;
	__u32 vectors;
	__u32 ring_order_max;
	__u64 vram_size;
	__u64 region_offset;
	__u32 region_size;
};

extern struct limits limits;

/* --- log.c: text ring in shared memory --------------------------------------- */

enum log_level { LOG_ERROR = 0, LOG_WARN = 1, LOG_INFO = 2, LOG_DEBUG = 3 };

void log_set_level(__u32 level);
/* Formats: %u %d %x (32 bits), %llx, %s, %c, %%. */
void log_print(enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* --- mbox.c: rings and messages ---------------------------------------------- */

void mbox_init(void);
/* Handle what the host sent and send what is due, as far as there is room. */
void mbox_poll(void);
/* Send; false if the host's ring is full (then try again later). */
bool mbox_send(const struct onpu_msg *msg);
bool mbox_event(__u16 type, const void *payload, __u32 size);
/* The answer to a request that was taken before; waits for room by itself. */
void mbox_answer(__u16 type, __u32 seq, __u32 status);
bool mbox_answer_with(__u16 type, __u32 seq, __u32 status, const void *payload,
		      __u32 size);

/* The shared block and the crash record, for log.c and main.c. */
struct onpu_mbox_shared *mbox_shared(void);
struct onpu_fw_crash *mbox_crash_record(void);
char *mbox_log_ring(void);
#define LOG_RING_SIZE	0x10000u

/* --- queue.c: what queues are ------------------------------------------------ */

/* Returned by what answers later. */
#define STATUS_LATER	0xffffffffu
#define NO_QUEUE	0xffffu

/* What a slot needs to run a queue. */
struct slot_config {
	__u32 queue;
	__u32 asid;
	__u64 ring_va;
	__u64 ctl_va;
	__u32 ring_order;
	__u32 flags;
	__u32 vector;
	__u32 consumer;
	__u32 consumer_hi;
};

/* What is left of a queue when it leaves its slot. */
struct slot_stop {
	__u32 state;		/* enum onpu_slot_state before it became free */
	__u32 consumer;
	__u32 consumer_hi;
	__u64 busy_ns;
	__u32 packets;
	__u32 saved;		/* ONPU_SLOT_SAVED_* */
	__u32 error;
	__u32 fault_info;
	__u64 fault_va;
	__u32 opcode;
};

enum queue_life {
	QUEUE_NONE = 0,
	QUEUE_READY,	/* exists, on no slot */
	QUEUE_BOUND,
	QUEUE_FAILED,
	QUEUE_DEAD,	/* killed */
};

/* Lists that a queue can be on, one of each kind. */
enum queue_link {
	LINK_SCHED,	/* for a slot (sched.c) */
	LINK_WORK,	/* has something in progress or due (queue.c) */
	LINK_CTX,	/* of its context */
	LINK_COUNT
};

enum queue_turn { TURN_NONE, TURN_READY, TURN_BLOCKED };

struct queue_list {
	__u16 first, last;
	__u32 count;
};

struct link {
	__u16 prev, next;
};

/* A kill or a suspension that has not been answered. */
struct queue_op {
	__u16 type;		/* 0: none */
	__u32 seq;
	__u64 deadline;
};

struct queue {
	__u8 life;
	__u8 turn;		/* enum queue_turn: its list in sched.c */
	__u8 priority;
	bool held;		/* the host suspended it */
	bool saved;		/* work is in its save area */
	bool at_wait;		/* which is a WAIT that did not hold */
	bool working;		/* on the list of LINK_WORK */
	bool error_due;		/* events not sent yet */
	bool hang_due;
	bool hang_told;		/* since it last made progress */
	__u32 slot;
	__u64 since;		/* when it came onto its list */
	__u64 busy_ns;		/* before the present slot, as what follows */
	__u64 packets;
	__u32 switches;
	__u32 stalled_us;
	__u32 hang_ms;
	struct link link[LINK_COUNT];
	struct queue_op kill, suspend;
	struct slot_config config;
	struct slot_stop stop;	/* why it stopped */
};

struct queue *queue_at(__u32 index);
__u32 queue_id(const struct queue *q);
/* It exists, has no slot, and nobody keeps it from getting one. */
bool queue_may_run(const struct queue *q);
bool queue_has_work(const struct queue *q);

void list_init(struct queue_list *list);
void list_add(struct queue_list *list, struct queue *q, enum queue_link link,
	      bool front);
void list_del(struct queue_list *list, struct queue *q, enum queue_link link);
struct queue *list_first(const struct queue_list *list);
struct queue *list_next(const struct queue *q, enum queue_link link);

void queue_init(void);
__u32 queue_create(const struct onpu_msg_queue_create *msg);
__u32 queue_kill(const struct onpu_msg_queue *msg, __u32 seq);
__u32 queue_destroy(const struct onpu_msg_queue *msg, __u32 seq);
__u32 queue_suspend(const struct onpu_msg_queue *msg, __u32 seq);
__u32 queue_resume(const struct onpu_msg_queue *msg);
__u32 queue_set_priority(const struct onpu_msg_queue_priority *msg);
__u32 queue_status(const struct onpu_msg_queue *msg,
		   struct onpu_msg_queue_status *out);

/* Tell the host that it stands still. */
void queue_hangs(struct queue *q);
__u32 queue_hangs_told(void);
/* An engine reset killed it: the host is told, as of an error. */
void queue_killed_by_reset(struct queue *q);
/* Events that the full ring held back; overdue answers. */
void queue_poll_due(__u64 now);
/* When queue_poll_due() must run at the latest. */
__u64 queue_next_deadline(void);

/* Called by slot.c when the queue on a slot stopped; the slot is free again. */
void queue_stopped(__u32 queue, const struct slot_stop *stop, bool yielded);

/* --- context.c --------------------------------------------------------------- */

__u32 context_create(const struct onpu_msg_ctx *msg);
__u32 context_destroy(const struct onpu_msg_ctx *msg);
__u32 context_suspend(const struct onpu_msg_ctx *msg, __u32 seq);
__u32 context_resume(const struct onpu_msg_ctx *msg);
bool context_exists(__u32 asid);
bool context_suspended(__u32 asid);
void context_add(struct queue *q);	/* a queue uses it */
void context_del(struct queue *q);
void context_bound(__u32 asid);		/* one of its queues got a slot */
void context_unbound(__u32 asid);
void context_poll(__u64 now);
__u64 context_next_deadline(void);

/* --- sched.c: which queues sit on slots -------------------------------------- */

void sched_init(void);
/* It may have work, and may want a slot. */
void sched_consider(struct queue *q);
/* It left its slot with work, or at a WAIT; @first: before its time. */
void sched_requeue(struct queue *q, bool first);
void sched_remove(struct queue *q);
void sched_set_priority(struct queue *q, __u32 priority);
void sched_poll_doorbells(void);
void sched_signalled(void);
/* Give slots to queues, as far as there are any of both. */
void sched_run(__u64 now);
__u64 sched_next_deadline(void);
void sched_status(struct onpu_msg_card_status *out);

/* --- slot.c: the hardware slots ---------------------------------------------- */

/* A free slot, emptying an idle one if need be; or NO_SLOT. */
__u32 slot_find(void);
void slot_bind(__u32 slot, struct queue *q, bool boosted, __u64 now);
void slot_kill(__u32 slot);
/*
 * Make its queue give way, with @yielded if its time is over; true if it did at
 * once.
 */
bool slot_suspend(__u32 slot, bool yielded, __u64 now);
/* Look at one slot's state; calls queue_stopped() if its queue stopped. */
void slot_check(__u32 slot);
void slot_poll(void);
/* Whether slots tell that they ran empty, or came to a WAIT. */
void slot_want(bool want);
/* Slots that have been told to give way, and can be expected to. */
__u32 slot_leaving(void);
__u32 slot_bound(void);
bool slot_is_bound(__u32 slot);
/* The slot to take for a queue of that priority at once, or NO_SLOT. */
__u32 slot_victim(__u32 priority);
/* The slot whose queue has had its time, longest ago, and does not outrank @priority. */
__u32 slot_expired(__u32 priority, __u64 now);
/* Every now and then: progress of what runs, slots that do not answer. */
void slot_watch(__u64 now);
__u32 slot_state(__u32 slot);
__u32 slot_consumer(__u32 slot);
__u64 slot_busy_ns(__u32 slot);
__u32 slot_packets(__u32 slot);
/* Bring the queue's stalled_us up to date. */
void slot_look(__u32 slot, __u64 now);

/* --- engine.c: reset of the slots -------------------------------------------- */

__u32 engine_reset(const struct onpu_msg *msg, struct onpu_msg_engine_reset *out);
/* A slot that was part of a reset is free; @killed its queue, or NULL. */
void engine_slot_free(__u32 slot, struct queue *killed);
void engine_poll(__u64 now);
__u64 engine_next_deadline(void);
__u32 engine_resets(void);

/* --- main.c ------------------------------------------------------------------ */

void rt_main(void);
void rt_crash(const __u32 *regs, __u32 mcause, __u32 mepc, __u32 mtval)
	__attribute__((noreturn));
void rt_halt(void) __attribute__((noreturn));

/* --- bad.c: only in images that break their promises, for tests of the driver -- */

typedef __u32 bad_handler(const struct onpu_msg *in, struct onpu_msg *out);

#ifdef ONPU_BAD_FIRMWARE
void bad_start(void);
void bad_shared(struct onpu_mbox_shared *s);
__u32 bad_handle(const struct onpu_msg *in, struct onpu_msg *out, bad_handler *handle);
#else
static inline void bad_start(void)
{
}

static inline void bad_shared(struct onpu_mbox_shared *s)
{
	(void)s;
}

static inline __u32 bad_handle(const struct onpu_msg *in, struct onpu_msg *out,
			       bad_handler *handle)
{
	return handle(in, out);
}
#endif

#endif

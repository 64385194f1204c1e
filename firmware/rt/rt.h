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
bool mbox_event(__u16 type, const void *payload, __u32 size);
bool mbox_respond(__u16 type, __u32 seq, __u32 status);

/* The shared block and the crash record, for log.c and main.c. */
struct onpu_mbox_shared *mbox_shared(void);
struct onpu_fw_crash *mbox_crash_record(void);
char *mbox_log_ring(void);
#define LOG_RING_SIZE	0x10000u

/* --- context.c --------------------------------------------------------------- */

__u32 context_create(const struct onpu_msg_ctx *msg);
__u32 context_destroy(const struct onpu_msg_ctx *msg);
bool context_exists(__u32 asid);
void context_get(__u32 asid);	/* a queue uses it */
void context_put(__u32 asid);

/* --- queue.c: queues, and which of them sit on slots ------------------------- */

/* Returned by what answers later. */
#define STATUS_LATER	0xffffffffu

__u32 queue_create(const struct onpu_msg_queue_create *msg);
__u32 queue_kill(const struct onpu_msg_queue *msg, __u32 seq);
__u32 queue_destroy(const struct onpu_msg_queue *msg, __u32 seq);
__u32 queue_status(const struct onpu_msg_queue *msg,
		   struct onpu_msg_queue_status *out);

void queue_poll_doorbells(void);
void queue_poll_slots(void);
/* Answers and events that the full ring held back; overdue kills. */
void queue_poll_due(__u64 now);
/* When queue_poll_due() must run at the latest. */
__u64 queue_next_deadline(void);

/* Called by slot.c when the queue on a slot stopped; the slot is free again. */
struct slot_stop;
void queue_stopped(__u32 queue, const struct slot_stop *stop);

/* --- slot.c: the hardware slots ---------------------------------------------- */

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
};

/* What is left of a queue when it leaves its slot. */
struct slot_stop {
	__u32 state;		/* enum onpu_slot_state before it became free */
	__u32 consumer;
	__u64 busy_ns;
	__u32 error;
	__u32 fault_info;
	__u64 fault_va;
	__u32 opcode;
};

/* A slot for one more queue, emptying an idle one if need be; or NO_SLOT. */
__u32 slot_find(void);
void slot_bind(__u32 slot, const struct slot_config *config);
void slot_kill(__u32 slot);
/* Look at one slot's state; calls queue_stopped() if its queue stopped. */
void slot_check(__u32 slot);
void slot_poll(void);
/* Tell whether somebody waits for a slot, so that idle ones say so. */
void slot_want_idle(bool want);
__u32 slot_state(__u32 slot);
__u32 slot_consumer(__u32 slot);
__u64 slot_busy_ns(__u32 slot);

/* --- main.c ------------------------------------------------------------------ */

void rt_main(void);
void rt_crash(const __u32 *regs, __u32 mcause, __u32 mepc, __u32 mtval)
	__attribute__((noreturn));
void rt_halt(void) __attribute__((noreturn));

#endif

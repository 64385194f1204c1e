/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Mailbox between the host driver and the firmware.
 *
 * Two rings of 64-byte messages in the firmware region of card memory, found
 * by struct onpu_mbox_shared at offset ONPU_REG_FW_MBOX of that region. Each
 * ring has one writer of each index; indices are free-running modulo 2^32.
 * The host rings ONPU_REG_MBOX_DB after writing h2f_tail; the firmware raises
 * ONPU_IRQ_MBOX after writing f2h_tail. Neither side trusts what it reads.
 */
#ifndef ONPU_MBOX_H
#define ONPU_MBOX_H

#include "regs.h"
#include "types.h"

#define ONPU_MBOX_MAGIC		0x584f424d	/* "MBOX" */
#define ONPU_MBOX_ABI_MAJOR	1
#define ONPU_MBOX_ABI_MINOR	1
#define ONPU_MBOX_MINOR_SUSPEND	1		/* minor version that CTX_SUSPEND came with */
#define ONPU_MBOX_ENTRIES	64		/* of each ring */

/** A mailbox message. */
struct onpu_msg {
	__u16 type;		/* enum onpu_msg_type */
	__u16 kind;		/* enum onpu_msg_kind */
	__u32 seq;		/* chosen by the sender of a request, repeated in its response */
	__u32 status;		/* enum onpu_msg_status in responses, else 0 */
	__u32 reserved;
	__u32 payload[12];	/* one of the structs below, unused bytes zero */
};
ONPU_ASSERT_SIZE(struct onpu_msg, 64);

enum onpu_msg_kind {
	ONPU_MSG_REQUEST = 1,	/* host to firmware, answered once */
	ONPU_MSG_RESPONSE = 2,	/* firmware to host */
	ONPU_MSG_EVENT = 3,	/* firmware to host, not answered */
};

enum onpu_msg_type {
	ONPU_MSG_HELLO = 1,		/* first; others before it: ONPU_MSG_STATUS_ORDER */
	ONPU_MSG_PING = 2,		/* payload is echoed */
	ONPU_MSG_CTX_CREATE = 3,
	ONPU_MSG_CTX_DESTROY = 4,	/* BUSY while it has queues */
	ONPU_MSG_QUEUE_CREATE = 5,
	ONPU_MSG_QUEUE_DESTROY = 6,	/* kills what runs */
	ONPU_MSG_QUEUE_KILL = 7,	/* answered when nothing of the queue executes any more */
	ONPU_MSG_QUEUE_STATUS = 8,
	ONPU_MSG_LOG_LEVEL = 9,
	/* From mailbox ABI 1.1 on. */
	ONPU_MSG_QUEUE_SUSPEND = 10,	/* answered when nothing of the queue executes; its work is saved */
	ONPU_MSG_QUEUE_RESUME = 11,	/* BUSY while it is being suspended */
	ONPU_MSG_CTX_SUSPEND = 12,	/* as QUEUE_SUSPEND, of all queues that the context has and gets */
	ONPU_MSG_CTX_RESUME = 13,
	ONPU_MSG_QUEUE_PRIORITY = 14,
	ONPU_MSG_ENGINE_RESET = 15,	/* kills what does not answer */
	ONPU_MSG_CARD_STATUS = 16,
	ONPU_MSG_EV_QUEUE_ERROR = 64,	/* a queue stopped: struct onpu_msg_queue_error */
	ONPU_MSG_EV_QUEUE_HANG = 65,	/* from 1.1 on: struct onpu_msg_queue_hang */
};

enum onpu_msg_status {
	ONPU_MSG_STATUS_OK = 0,
	ONPU_MSG_STATUS_UNKNOWN = 1,	/* message type not known */
	ONPU_MSG_STATUS_INVALID = 2,	/* a field is out of range or a reserved one is not zero */
	ONPU_MSG_STATUS_ORDER = 3,	/* HELLO missing, or repeated */
	ONPU_MSG_STATUS_VERSION = 4,	/* majors differ */
	ONPU_MSG_STATUS_NOENT = 5,	/* no such context or queue */
	ONPU_MSG_STATUS_EXIST = 6,	/* already created */
	ONPU_MSG_STATUS_BUSY = 7,
	ONPU_MSG_STATUS_TIMEOUT = 8,	/* a slot did not stop in ONPU_KILL_TIMEOUT_MS */
};

/** Kills, suspensions and engine resets are answered within this time, with OK or TIMEOUT. */
#define ONPU_KILL_TIMEOUT_MS	1000

/** HELLO request (host's versions) and response (firmware's). */
struct onpu_msg_hello {
	__u16 mbox_major;
	__u16 mbox_minor;
	__u16 packet_major;
	__u16 packet_minor;
	__u32 fw_version;	/* response only */
	__u32 queues;		/* response only: limits as the registers state them */
	__u32 slots;
	__u32 contexts;
	__u32 reserved[6];
};

/** CTX_CREATE request; CTX_DESTROY, CTX_SUSPEND and CTX_RESUME use asid only. */
struct onpu_msg_ctx {
	__u32 asid;		/* < ONPU_REG_CONTEXTS */
	__u32 reserved0;
	__u64 root;		/* card-memory offset of the level-3 table, 4 KiB aligned */
	__u32 reserved[8];
};

#define ONPU_QUEUE_PRIVILEGED	(1u << 0)	/* packets fetched from the ring may use PRIV pages */
#define ONPU_QUEUE_FLAGS	ONPU_QUEUE_PRIVILEGED

/** QUEUE_CREATE request. */
struct onpu_msg_queue_create {
	__u32 queue;		/* < ONPU_REG_QUEUES; its doorbell page */
	__u32 asid;
	__u64 ring_va;		/* 64-byte aligned; fetched with PRIV rights if PRIVILEGED */
	__u64 ctl_va;		/* struct onpu_queue_ctl, written with PRIV rights; 0: none */
	__u32 ring_order;	/* log2 packets, ONPU_RING_ORDER_MIN .. RING_ORDER_MAX */
	__u32 flags;		/* ONPU_QUEUE_* */
	__u32 vector;		/* MSI-X vector of SIGNALs with ONPU_PKT_IRQ, < ONPU_REG_VECTORS */
	__u32 priority;		/* 0 lowest .. ONPU_PRIORITIES - 1 */
	__u32 hang_ms;		/* from 1.1 on: EV_QUEUE_HANG after running so long without progress; 0: never */
	__u32 reserved;
};
#define ONPU_PRIORITIES		4

/** QUEUE_PRIORITY request. */
struct onpu_msg_queue_priority {
	__u32 queue;
	__u32 priority;
	__u32 reserved[10];
};

/** QUEUE_DESTROY, QUEUE_KILL, QUEUE_STATUS, QUEUE_SUSPEND, QUEUE_RESUME request. */
struct onpu_msg_queue {
	__u32 queue;
	__u32 reserved[11];
};

enum onpu_queue_state {
	ONPU_QSTATE_NONE = 0,
	ONPU_QSTATE_UNBOUND = 1,	/* no slot, nothing to do or its turn has not come */
	ONPU_QSTATE_IDLE = 2,		/* has a slot, ring empty */
	ONPU_QSTATE_RUNNING = 3,
	ONPU_QSTATE_WAITING = 4,	/* at a WAIT packet, with or without a slot */
	ONPU_QSTATE_ERROR = 5,
	ONPU_QSTATE_KILLED = 6,
	ONPU_QSTATE_SUSPENDED = 7,	/* by the host, itself or its context */
};

/** QUEUE_STATUS response. */
struct onpu_msg_queue_status {
	__u32 queue;
	__u32 state;		/* enum onpu_queue_state */
	__u32 slot;		/* ~0: none */
	__u32 producer;
	__u32 consumer;
	__u32 error;		/* enum onpu_queue_error */
	__u64 busy_ns;		/* time executing packets */
	/* From 1.1 on. */
	__u64 packets;		/* completed, those of CALLs too */
	__u32 switches;		/* times that it got a slot, modulo 2^32 */
	__u32 stalled_us;	/* running time since it last made progress; saturates */
};

/** EV_QUEUE_ERROR. */
struct onpu_msg_queue_error {
	__u32 queue;
	__u32 asid;
	__u32 error;		/* enum onpu_queue_error */
	__u32 fault_info;	/* ONPU_FAULT_INFO, 0 unless ONPU_ERR_FAULT */
	__u64 fault_va;
	__u32 consumer;		/* ring index of the packet at fault */
	__u32 opcode;
	__u32 reserved[4];
};

/** EV_QUEUE_HANG: once for each time that it stands still; the queue goes on. */
struct onpu_msg_queue_hang {
	__u32 queue;
	__u32 asid;
	__u32 stalled_ms;	/* running time without progress */
	__u32 hang_ms;		/* the limit */
	__u32 consumer;		/* ring index of the packet */
	__u32 slot;
	__u32 reserved[6];
};

/** ENGINE_RESET response, also with TIMEOUT. */
struct onpu_msg_engine_reset {
	__u32 queues;		/* killed; each has an EV_QUEUE_ERROR, too */
	__u32 contexts;		/* of these queues */
	__u32 asids[8];		/* bit a % 32 of word a / 32: context a was hit */
	__u32 reserved[2];
};
ONPU_STATIC_ASSERT(ONPU_MAX_CONTEXTS == 8 * 32, "a bit for every context");

/** CARD_STATUS response; counters since the firmware started. */
struct onpu_msg_card_status {
	__u64 switches;		/* queues given a slot */
	__u64 preemptions;	/* queues whose slot was taken while they had work */
	__u32 bound;		/* queues on slots now */
	__u32 ready;		/* that have work and no slot */
	__u32 blocked;		/* at a WAIT without a slot */
	__u32 hangs;		/* events sent */
	__u32 engine_resets;
	__u32 reserved[3];
};

/** LOG_LEVEL request. */
struct onpu_msg_log_level {
	__u32 level;		/* 0 errors, 1 warnings, 2 info, 3 debug */
	__u32 reserved[11];
};

ONPU_ASSERT_SIZE(struct onpu_msg_hello, 48);
ONPU_ASSERT_SIZE(struct onpu_msg_ctx, 48);
ONPU_ASSERT_SIZE(struct onpu_msg_queue_create, 48);
ONPU_ASSERT_SIZE(struct onpu_msg_queue, 48);
ONPU_ASSERT_SIZE(struct onpu_msg_queue_status, 48);
ONPU_ASSERT_SIZE(struct onpu_msg_queue_error, 48);
ONPU_ASSERT_SIZE(struct onpu_msg_queue_priority, 48);
ONPU_ASSERT_SIZE(struct onpu_msg_queue_hang, 48);
ONPU_ASSERT_SIZE(struct onpu_msg_engine_reset, 48);
ONPU_ASSERT_SIZE(struct onpu_msg_card_status, 48);
ONPU_ASSERT_SIZE(struct onpu_msg_log_level, 48);

/** What the firmware recorded when it trapped. */
struct onpu_fw_crash {
	__u32 valid;		/* ONPU_FW_CRASH_MAGIC */
	__u32 mcause;
	__u32 mepc;
	__u32 mtval;
	__u32 regs[32];		/* x0 .. x31 */
	__u64 time_ns;
	__u32 reserved[2];
};
ONPU_ASSERT_SIZE(struct onpu_fw_crash, 160);
#define ONPU_FW_CRASH_MAGIC	0x48535243	/* "CRSH" */

/** Shared block; offsets are from the start of the firmware region. */
struct onpu_mbox_shared {
	__u32 magic;		/* ONPU_MBOX_MAGIC, written last */
	__u16 abi_major;
	__u16 abi_minor;
	__u32 size;		/* of this struct */
	__u32 h2f_offset;	/* ONPU_MBOX_ENTRIES messages */
	__u32 f2h_offset;
	__u32 log_offset;	/* text ring */
	__u32 log_size;		/* bytes, power of two */
	__u32 crash_offset;	/* struct onpu_fw_crash */
	__u32 reserved0[8];
	__u32 h2f_tail;		/* written by the host */
	__u32 reserved1[15];
	__u32 h2f_head;		/* written by the firmware */
	__u32 reserved2[15];
	__u32 f2h_tail;		/* written by the firmware */
	__u32 reserved3[15];
	__u32 f2h_head;		/* written by the host */
	__u32 reserved4[15];
	__u32 log_head;		/* bytes logged so far, modulo 2^32, written by the firmware */
	__u32 reserved5[15];
};
ONPU_ASSERT_SIZE(struct onpu_mbox_shared, 384);
ONPU_ASSERT_OFFSET(struct onpu_mbox_shared, h2f_tail, 64);
ONPU_ASSERT_OFFSET(struct onpu_mbox_shared, f2h_head, 256);
ONPU_ASSERT_OFFSET(struct onpu_mbox_shared, log_head, 320);

#endif /* ONPU_MBOX_H */

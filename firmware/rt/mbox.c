// SPDX-License-Identifier: MIT
/*
 * Mailbox: the rings that are shared with the host, and what each message
 * does.
 *
 * Idea: nothing that the host can write is read twice or believed.  A message
 * is copied to SRAM, then checked, then used; the firmware's own indices live
 * in SRAM and are only published in shared memory.  A request is taken only
 * while there is room for its answer; an answer whose room was taken by events
 * meanwhile is held, and no request is taken until it is sent.
 */
#include "rt.h"

/* An image for tests of the driver speaks as one of an older minor version does. */
#ifdef ONPU_OLD_MBOX_MINOR
#define MBOX_MINOR	ONPU_OLD_MBOX_MINOR
#else
#define MBOX_MINOR	ONPU_MBOX_ABI_MINOR
#endif

/* Layout of the firmware region after the part for staging images. */
#define SHARED_OFFSET	ONPU_FW_REGION_STAGE_SIZE
#define H2F_OFFSET	(SHARED_OFFSET + 0x1000)
#define F2H_OFFSET	(SHARED_OFFSET + 0x2000)
#define CRASH_OFFSET	(SHARED_OFFSET + 0x3000)
#define LOG_OFFSET	(SHARED_OFFSET + 0x10000)
#define SHARED_END	(LOG_OFFSET + LOG_RING_SIZE)

ONPU_STATIC_ASSERT(ONPU_MBOX_ENTRIES * sizeof(struct onpu_msg) <= 0x1000,
		   "rings overlap");
ONPU_STATIC_ASSERT(SHARED_END <= ONPU_FW_REGION_SAVE_OFFSET,
		   "save areas overlap what is shared");
ONPU_STATIC_ASSERT(ONPU_FW_REGION_SAVE_OFFSET +
		   ONPU_MAX_QUEUES * ONPU_SAVE_SIZE <= ONPU_FW_REGION_MIN_SIZE,
		   "the smallest firmware region is too small");

/*
 * Answers that wait for room.  While there are any no request is taken, so
 * there is at most one for each request that can be in progress: a kill and a
 * suspension for each queue, a suspension for each context.
 */
#define MAX_LATE	(2 * ONPU_MAX_QUEUES + ONPU_MAX_CONTEXTS)

struct late {
	__u16 type;
	__u32 seq;
	__u32 status;
};

static __u32 h2f_head;	/* requests taken */
static __u32 f2h_tail;	/* messages sent */
static bool hello_done;
static struct onpu_msg held;	/* an answer that did not fit */
static bool held_valid;
static struct late late[MAX_LATE];
static __u32 late_head, late_tail;	/* free-running */

struct onpu_mbox_shared *mbox_shared(void)
{
	return (struct onpu_mbox_shared *)(ONPU_MCU_WINDOW_BASE +
					   SHARED_OFFSET);
}

struct onpu_fw_crash *mbox_crash_record(void)
{
	return (struct onpu_fw_crash *)(ONPU_MCU_WINDOW_BASE + CRASH_OFFSET);
}

char *mbox_log_ring(void)
{
	return (char *)(ONPU_MCU_WINDOW_BASE + LOG_OFFSET);
}

static struct onpu_msg *ring_entry(__u32 offset, __u32 index)
{
	return (struct onpu_msg *)(ONPU_MCU_WINDOW_BASE + offset) +
	       index % ONPU_MBOX_ENTRIES;
}

static __u32 read_once(const __u32 *p)
{
	return *(const volatile __u32 *)p;
}

static void write_once(__u32 *p, __u32 v)
{
	*(volatile __u32 *)p = v;
}

/* --- sending ----------------------------------------------------------------- */

static bool has_room(void)
{
	/* An index that makes no sense counts as full until it does. */
	return f2h_tail - read_once(&mbox_shared()->f2h_head) <
	       ONPU_MBOX_ENTRIES;
}

bool mbox_send(const struct onpu_msg *msg)
{
	if (!has_room())
		return false;
	memcpy(ring_entry(F2H_OFFSET, f2h_tail), msg, sizeof(*msg));
	f2h_tail++;
	mcu_fence();
	write_once(&mbox_shared()->f2h_tail, f2h_tail);
	mcu_fence();
	mcu_write(ONPU_SYS_HOST_IRQ, ONPU_IRQ_MBOX);
	return true;
}

bool mbox_event(__u16 type, const void *payload, __u32 size)
{
	struct onpu_msg msg = { .type = type, .kind = ONPU_MSG_EVENT };

	memcpy(msg.payload, payload, size);
	return mbox_send(&msg);
}

bool mbox_answer_with(__u16 type, __u32 seq, __u32 status, const void *payload,
		      __u32 size)
{
	struct onpu_msg msg = {
		.type = type, .kind = ONPU_MSG_RESPONSE, .seq = seq,
		.status = status,
	};

	memcpy(msg.payload, payload, size);
	return mbox_send(&msg);
}

static bool send_late(void)
{
	while (late_head != late_tail) {
		const struct late *l = &late[late_head % MAX_LATE];

		if (!mbox_answer_with(l->type, l->seq, l->status, NULL, 0))
			return false;
		late_head++;
	}
	return true;
}

void mbox_answer(__u16 type, __u32 seq, __u32 status)
{
	if (send_late() && mbox_answer_with(type, seq, status, NULL, 0))
		return;
	if (late_tail - late_head < MAX_LATE)
		late[late_tail++ % MAX_LATE] = (struct late){ type, seq, status };
}

/* --- requests: the payload of @in to the payload of @out --------------------- */

typedef __u32 handler(const struct onpu_msg *in, struct onpu_msg *out);

static __u32 do_hello(const struct onpu_msg *in, struct onpu_msg *out)
{
	struct onpu_msg_hello host, own = {
		.mbox_major = ONPU_MBOX_ABI_MAJOR,
		.mbox_minor = MBOX_MINOR,
		.packet_major = ONPU_PACKET_ABI_MAJOR,
		.packet_minor = ONPU_PACKET_ABI_MINOR,
		.fw_version = ONPU_FW_VERSION,
		.queues = limits.queues,
		.slots = limits.slots,
		.contexts = limits.contexts,
	};

	memcpy(&host, in->payload, sizeof(host));
	for (__u32 i = 2; i < 12; i++) { /* all but the versions */
		if (in->payload[i])
			return ONPU_MSG_STATUS_INVALID;
	}
	if (hello_done)
		return ONPU_MSG_STATUS_ORDER;
	/* Also in a refusal: the host can say what would have fitted. */
	memcpy(out->payload, &own, sizeof(own));
	if (host.mbox_major != own.mbox_major ||
	    host.packet_major != own.packet_major) {
		log_print(LOG_ERROR, "host speaks mailbox %u.%u, packets %u.%u",
			  host.mbox_major, host.mbox_minor, host.packet_major,
			  host.packet_minor);
		return ONPU_MSG_STATUS_VERSION;
	}
	hello_done = true;
	log_print(LOG_INFO, "host: mailbox %u.%u, packets %u.%u",
		  host.mbox_major, host.mbox_minor, host.packet_major,
		  host.packet_minor);
	return ONPU_MSG_STATUS_OK;
}

static __u32 do_ping(const struct onpu_msg *in, struct onpu_msg *out)
{
	memcpy(out->payload, in->payload, sizeof(out->payload));
	return ONPU_MSG_STATUS_OK;
}

static __u32 do_ctx_create(const struct onpu_msg *in, struct onpu_msg *out)
{
	struct onpu_msg_ctx m;

	(void)out;
	memcpy(&m, in->payload, sizeof(m));
	return context_create(&m);
}

static __u32 do_ctx_destroy(const struct onpu_msg *in, struct onpu_msg *out)
{
	struct onpu_msg_ctx m;

	(void)out;
	memcpy(&m, in->payload, sizeof(m));
	return context_destroy(&m);
}

static __u32 do_queue_create(const struct onpu_msg *in, struct onpu_msg *out)
{
	struct onpu_msg_queue_create m;

	(void)out;
	memcpy(&m, in->payload, sizeof(m));
	return queue_create(&m);
}

static __u32 do_queue_destroy(const struct onpu_msg *in, struct onpu_msg *out)
{
	struct onpu_msg_queue m;

	(void)out;
	memcpy(&m, in->payload, sizeof(m));
	return queue_destroy(&m, in->seq);
}

static __u32 do_queue_kill(const struct onpu_msg *in, struct onpu_msg *out)
{
	struct onpu_msg_queue m;

	(void)out;
	memcpy(&m, in->payload, sizeof(m));
	return queue_kill(&m, in->seq);
}

static __u32 do_queue_status(const struct onpu_msg *in, struct onpu_msg *out)
{
	struct onpu_msg_queue_status reply = { 0 };
	struct onpu_msg_queue m;
	__u32 status;

	memcpy(&m, in->payload, sizeof(m));
	status = queue_status(&m, &reply);
	if (status == ONPU_MSG_STATUS_OK)
		memcpy(out->payload, &reply, sizeof(reply));
	return status;
}

static __u32 do_queue_suspend(const struct onpu_msg *in, struct onpu_msg *out)
{
	struct onpu_msg_queue m;

	(void)out;
	memcpy(&m, in->payload, sizeof(m));
	return queue_suspend(&m, in->seq);
}

static __u32 do_queue_resume(const struct onpu_msg *in, struct onpu_msg *out)
{
	struct onpu_msg_queue m;

	(void)out;
	memcpy(&m, in->payload, sizeof(m));
	return queue_resume(&m);
}

static __u32 do_queue_priority(const struct onpu_msg *in, struct onpu_msg *out)
{
	struct onpu_msg_queue_priority m;

	(void)out;
	memcpy(&m, in->payload, sizeof(m));
	return queue_set_priority(&m);
}

static __u32 do_ctx_suspend(const struct onpu_msg *in, struct onpu_msg *out)
{
	struct onpu_msg_ctx m;

	(void)out;
	memcpy(&m, in->payload, sizeof(m));
	return context_suspend(&m, in->seq);
}

static __u32 do_ctx_resume(const struct onpu_msg *in, struct onpu_msg *out)
{
	struct onpu_msg_ctx m;

	(void)out;
	memcpy(&m, in->payload, sizeof(m));
	return context_resume(&m);
}

static bool payload_is_empty(const struct onpu_msg *in)
{
	__u32 used = 0;

	for (__u32 i = 0; i < 12; i++)
		used |= in->payload[i];
	return !used;
}

static __u32 do_engine_reset(const struct onpu_msg *in, struct onpu_msg *out)
{
	struct onpu_msg_engine_reset reply = { 0 };
	__u32 status;

	if (!payload_is_empty(in))
		return ONPU_MSG_STATUS_INVALID;
	status = engine_reset(in, &reply);
	if (status == ONPU_MSG_STATUS_OK)
		memcpy(out->payload, &reply, sizeof(reply));
	return status;
}

static __u32 do_card_status(const struct onpu_msg *in, struct onpu_msg *out)
{
	struct onpu_msg_card_status reply = { 0 };

	if (!payload_is_empty(in))
		return ONPU_MSG_STATUS_INVALID;
	sched_status(&reply);
	reply.bound = slot_bound();
	reply.hangs = queue_hangs_told();
	reply.engine_resets = engine_resets();
	memcpy(out->payload, &reply, sizeof(reply));
	return ONPU_MSG_STATUS_OK;
}

static __u32 do_log_level(const struct onpu_msg *in, struct onpu_msg *out)
{
	(void)out;
	for (__u32 i = 1; i < 12; i++) {
		if (in->payload[i])
			return ONPU_MSG_STATUS_INVALID;
	}
	if (in->payload[0] > LOG_DEBUG)
		return ONPU_MSG_STATUS_INVALID;
	log_set_level(in->payload[0]);
	return ONPU_MSG_STATUS_OK;
}

static handler *find_handler(__u16 type)
{
	switch (type) {
	case ONPU_MSG_HELLO:
		return do_hello;
	case ONPU_MSG_PING:
		return do_ping;
	case ONPU_MSG_CTX_CREATE:
		return do_ctx_create;
	case ONPU_MSG_CTX_DESTROY:
		return do_ctx_destroy;
	case ONPU_MSG_QUEUE_CREATE:
		return do_queue_create;
	case ONPU_MSG_QUEUE_DESTROY:
		return do_queue_destroy;
	case ONPU_MSG_QUEUE_KILL:
		return do_queue_kill;
	case ONPU_MSG_QUEUE_STATUS:
		return do_queue_status;
	case ONPU_MSG_LOG_LEVEL:
		return do_log_level;
	case ONPU_MSG_QUEUE_SUSPEND:
		return do_queue_suspend;
	case ONPU_MSG_QUEUE_RESUME:
		return do_queue_resume;
	case ONPU_MSG_CTX_SUSPEND:
		return do_ctx_suspend;
	case ONPU_MSG_CTX_RESUME:
		return do_ctx_resume;
	case ONPU_MSG_QUEUE_PRIORITY:
		return do_queue_priority;
	case ONPU_MSG_ENGINE_RESET:
		return do_engine_reset;
	case ONPU_MSG_CARD_STATUS:
		return do_card_status;
	default:
		return NULL;
	}
}

/* What came with a later minor version is not known to an older one. */
static bool is_known(__u16 type)
{
	return MBOX_MINOR >= ONPU_MBOX_MINOR_SUSPEND ||
	       type < ONPU_MSG_QUEUE_SUSPEND;
}

static __u32 handle(const struct onpu_msg *in, struct onpu_msg *out)
{
	handler *fn = is_known(in->type) ? find_handler(in->type) : NULL;

	if (in->kind != ONPU_MSG_REQUEST || in->status || in->reserved)
		return ONPU_MSG_STATUS_INVALID;
	if (!fn)
		return ONPU_MSG_STATUS_UNKNOWN;
	if (!hello_done && in->type != ONPU_MSG_HELLO)
		return ONPU_MSG_STATUS_ORDER;
	return fn(in, out);
}

/* --- receiving --------------------------------------------------------------- */

static void take_request(void)
{
	struct onpu_msg in, out = { .kind = ONPU_MSG_RESPONSE };

	memcpy(&in, ring_entry(H2F_OFFSET, h2f_head), sizeof(in));
	h2f_head++;
	mcu_fence();
	write_once(&mbox_shared()->h2f_head, h2f_head);

	out.type = in.type;
	out.seq = in.seq;
	out.status = bad_handle(&in, &out, handle);
	if (out.status == STATUS_LATER)
		return;
	if (out.status != ONPU_MSG_STATUS_OK)
		log_print(LOG_WARN, "message type %u seq %u: status %u",
			  in.type, in.seq, out.status);
	if (!mbox_send(&out)) {
		held = out;
		held_valid = true;
	}
}

void mbox_poll(void)
{
	__u32 tail = read_once(&mbox_shared()->h2f_tail);

	if (tail - h2f_head > ONPU_MBOX_ENTRIES) {
		log_print(LOG_ERROR, "mailbox: tail %u, head %u: skipped",
			  tail, h2f_head);
		h2f_head = tail;
		write_once(&mbox_shared()->h2f_head, h2f_head);
	}
	mcu_fence();
	if (held_valid && mbox_send(&held))
		held_valid = false;
	send_late();
	/* At most one ring at a time: the rest of the firmware gets its turn. */
	while (h2f_head != tail && !held_valid && send_late() && has_room())
		take_request();
}

void mbox_init(void)
{
	struct onpu_mbox_shared *s = mbox_shared();

	memset((void *)s, 0, SHARED_END - SHARED_OFFSET);
	s->abi_major = ONPU_MBOX_ABI_MAJOR;
	s->abi_minor = MBOX_MINOR;
	s->size = sizeof(*s);
	s->h2f_offset = H2F_OFFSET;
	s->f2h_offset = F2H_OFFSET;
	s->log_offset = LOG_OFFSET;
	s->log_size = LOG_RING_SIZE;
	s->crash_offset = CRASH_OFFSET;
	mcu_fence();
	write_once(&s->magic, ONPU_MBOX_MAGIC);
	mcu_write(ONPU_SYS_FW_MBOX, SHARED_OFFSET);
	bad_shared(s);
}

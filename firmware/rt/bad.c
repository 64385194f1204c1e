// SPDX-License-Identifier: MIT
/*
 * Breaks what the firmware promises the host: no part of the image that is installed, but of those that
 * test what the driver does then (tests/kselftest/onpu_badfw.c).
 *
 * Idea: one program, signed under several names.  The host leaves the image where it staged it, so the
 * program finds its name there and misbehaves accordingly.
 */
#include "rt.h"

static __u32 contexts, queues;	/* asked for since the boot */

static bool is(const char *what)
{
	const struct onpu_fw_header *h = (const void *)ONPU_MCU_WINDOW_BASE;
	const char *name = h->name + sizeof("bad-") - 1;

	while (*what && *what == *name) {
		what++;
		name++;
	}
	return *what == *name;
}

void bad_start(void)
{
	while (is("never-ready"))
		mcu_wait();
	if (is("trap-at-start"))
		__builtin_trap();
}

void bad_shared(struct onpu_mbox_shared *s)
{
	if (is("magic"))
		s->magic++;
	if (is("major"))
		s->abi_major++;
	if (is("size"))
		s->size = sizeof(*s) - 4;
	if (is("requests"))
		s->h2f_offset++;
	if (is("answers"))
		s->f2h_offset = ONPU_FW_REGION_STAGE_SIZE - 64;
	if (is("crash"))
		s->crash_offset = limits.region_size;
	if (is("log"))
		s->log_offset = 0xfffffff0;
	if (is("log-size"))
		s->log_size--;
	mcu_fence();
	if (is("offset"))
		mcu_write(ONPU_SYS_FW_MBOX, limits.region_size - 8);
}

static __u32 hello(const struct onpu_msg *in, struct onpu_msg *out, bad_handler *handle)
{
	struct onpu_msg_hello m;
	__u32 status;

	if (is("silent"))
		return STATUS_LATER;
	if (is("refuses"))
		return 1234;
	status = handle(in, out);
	memcpy(&m, out->payload, sizeof(m));
	if (is("mailbox-2"))
		m.mbox_major = 2;
	if (is("packets-2"))
		m.packet_major = 2;
	if (is("few-queues"))
		m.queues--;
	if (is("few-contexts"))
		m.contexts--;
	memcpy(out->payload, &m, sizeof(m));
	return status;
}

/* What nobody asked for, or does not exist: queues, errors, whole kinds of messages. */
static void make_noise(const struct onpu_msg *in)
{
	struct onpu_msg_queue_error error = { .asid = 0xffffff };
	struct onpu_msg_queue_hang hang = { .asid = 0xffffff };
	struct onpu_msg msg = *in;

	msg.kind = 9;
	mbox_send(&msg);
	mbox_event(999, msg.payload, sizeof(msg.payload));
	mbox_answer_with(in->type, in->seq + 7, ONPU_MSG_STATUS_OK, NULL, 0);
	mbox_answer_with(in->type + 1, in->seq, ONPU_MSG_STATUS_OK, NULL, 0);
	for (__u32 i = 0; i < 3; i++) {
		/* One that may be there, but in no such context; one beyond the last; none at all. */
		hang.queue = i == 2 ? 0xffffffff : i * limits.queues;
		error.queue = hang.queue;
		error.error = i == 2 ? 1000 : ONPU_ERR_FAULT;
		mbox_event(ONPU_MSG_EV_QUEUE_ERROR, &error, sizeof(error));
		mbox_event(ONPU_MSG_EV_QUEUE_HANG, &hang, sizeof(hang));
	}
}

/* The first is the driver's own. */
static __u32 refusal(__u32 *count)
{
	static const __u32 statuses[] = {
		ONPU_MSG_STATUS_OK, ONPU_MSG_STATUS_NOENT, ONPU_MSG_STATUS_EXIST,
		ONPU_MSG_STATUS_BUSY, ONPU_MSG_STATUS_TIMEOUT, 1234,
	};
	__u32 n = (*count)++;

	return n < sizeof(statuses) / 4 ? statuses[n] : ONPU_MSG_STATUS_OK;
}

static __u32 context(const struct onpu_msg *in, struct onpu_msg *out, bad_handler *handle)
{
	__u32 status = refusal(&contexts);

	if (is("contexts") && status)
		return status;
	if (contexts == 1)
		return handle(in, out);
	if (is("trap"))
		__builtin_trap();
	if (is("index")) {
		*(volatile __u32 *)&mbox_shared()->f2h_tail += 1000;
		mcu_fence();
		mcu_write(ONPU_SYS_HOST_IRQ, ONPU_IRQ_MBOX);
		return STATUS_LATER;
	}
	return handle(in, out);
}

__u32 bad_handle(const struct onpu_msg *in, struct onpu_msg *out, bad_handler *handle)
{
	__u32 status;

	if (is("noise"))
		make_noise(in);
	if (in->type == ONPU_MSG_HELLO)
		return hello(in, out, handle);
	if (in->type == ONPU_MSG_CTX_CREATE)
		return context(in, out, handle);
	if (in->type == ONPU_MSG_QUEUE_CREATE && is("queues")) {
		status = refusal(&queues);
		if (status)
			return status;
	}
	return handle(in, out);
}

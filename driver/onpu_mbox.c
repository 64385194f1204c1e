// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Mailbox
 *
 * Two rings of messages in the firmware region of card memory. A caller puts
 * its request into the ring, rings the mailbox doorbell and sleeps, bounded,
 * until the response with its sequence number arrives; several callers may be
 * under way at once. Responses nobody waits for any more are dropped. Events
 * go to the block that they concern. Everything read from the rings is copied
 * once and checked: the firmware is not trusted to keep the driver alive.
 *
 * A request that is not answered in time means that the firmware is dead: the
 * caller gets -ETIMEDOUT and the card is handed to recovery.
 *
 * Locking: @tx_lock covers the ring towards the firmware and the list of
 * waiters, @rx_lock the ring from it. Order: @rx_lock, @tx_lock. Both are
 * spinlocks that are never taken in hard interrupt context. onpu_mbox_call()
 * allocates nothing and waits for nothing but the firmware, so it may be used
 * where fences are signalled.
 */

#include <linux/completion.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/semaphore.h>
#include <linux/string_helpers.h>

#include <drm/drm_managed.h>

#include <onpu/mcu.h>
#include <onpu/packet.h>

#include "onpu_device.h"
#include "onpu_mbox.h"
#include "onpu_queue.h"
#include "onpu_recovery.h"

/* Callers at once; half the ring, so that a live firmware never finds it full. */
#define ONPU_MBOX_CALLERS	(ONPU_MBOX_ENTRIES / 2)
/* How often a caller looks for itself, should an interrupt have been lost. */
#define ONPU_MBOX_POLL_MS	100
/* Of the firmware's log, in a report. */
#define ONPU_MBOX_LOG_TAIL	1024

static unsigned int mbox_timeout_ms = 5000;
module_param(mbox_timeout_ms, uint, 0644);
MODULE_PARM_DESC(mbox_timeout_ms,
		 "Time after which a firmware that does not answer counts as dead (default 5000)");

/**
 * struct onpu_mbox_waiter - a caller that waits for a response
 */
struct onpu_mbox_waiter {
	/** @node: in &onpu_mbox.waiters until answered */
	struct list_head node;
	/** @seq: sequence number of the request */
	u32 seq;
	/** @type: its type, which the response repeats */
	u16 type;
	/** @error: why there is no response, or 0 */
	int error;
	/** @resp: the response */
	struct onpu_msg resp;
	/** @done: completed with @resp or @error valid and @node unlinked */
	struct completion done;
};

/**
 * struct onpu_mbox - mailbox of a card
 */
struct onpu_mbox {
	/** @callers: admits ONPU_MBOX_CALLERS callers */
	struct semaphore callers;

	/** @tx_lock: protects @error, @seq, @tail and @waiters */
	spinlock_t tx_lock;
	/** @minor: minor version of the interface that the firmware has */
	u16 minor;
	/** @packet_minor: of its interface to the engine */
	u16 packet_minor;
	/** @error: why no calls are possible now, or 0 */
	int error;
	/** @seq: sequence number of the last request */
	u32 seq;
	/** @tail: messages sent, modulo 2^32 */
	u32 tail;
	/** @waiters: struct onpu_mbox_waiter */
	struct list_head waiters;

	/** @rx_lock: protects @head */
	spinlock_t rx_lock;
	/** @head: messages received, modulo 2^32 */
	u32 head;

	/** @shared: struct onpu_mbox_shared; the pointers change with no caller under way */
	void __iomem *shared;
	/** @h2f: ring towards the firmware */
	void __iomem *h2f;
	/** @f2h: ring from the firmware */
	void __iomem *f2h;
	/** @crash: struct onpu_fw_crash */
	void __iomem *crash;
	/** @log: the firmware's log */
	void __iomem *log;
	/** @log_size: its bytes, a power of two */
	u32 log_size;
};

/**
 * onpu_mbox_timeout_ms() - how long the firmware may be silent
 *
 * Return: milliseconds, at least 1.
 */
u32 onpu_mbox_timeout_ms(void)
{
	return max(READ_ONCE(mbox_timeout_ms), 1u);
}

static u32 onpu_mbox_read(struct onpu_mbox *mbox, size_t field)
{
	return readl(mbox->shared + field);
}

static void onpu_mbox_write(struct onpu_mbox *mbox, size_t field, u32 val)
{
	writel(val, mbox->shared + field);
}

/* Takes a waiter off the list and wakes it. */
static void onpu_mbox_finish(struct onpu_mbox *mbox, struct onpu_mbox_waiter *waiter, int error)
{
	lockdep_assert_held(&mbox->tx_lock);

	list_del_init(&waiter->node);
	waiter->error = error;
	complete(&waiter->done);
}

static void onpu_mbox_response(struct onpu_device *odev, const struct onpu_msg *msg)
{
	struct onpu_mbox *mbox = odev->mbox;
	struct onpu_mbox_waiter *waiter;

	spin_lock(&mbox->tx_lock);
	list_for_each_entry(waiter, &mbox->waiters, node) {
		if (waiter->seq != msg->seq || waiter->type != msg->type)
			continue;
		waiter->resp = *msg;
		onpu_mbox_finish(mbox, waiter, 0);
		spin_unlock(&mbox->tx_lock);
		return;
	}
	spin_unlock(&mbox->tx_lock);

	drm_dbg(&odev->drm, "response %u to message %u that nobody waits for\n",
		msg->seq, msg->type);
}

static void onpu_mbox_event(struct onpu_device *odev, const struct onpu_msg *msg)
{
	struct onpu_msg_queue_error error;
	struct onpu_msg_queue_hang hang;

	switch (msg->type) {
	case ONPU_MSG_EV_QUEUE_ERROR:
		BUILD_BUG_ON(sizeof(error) != sizeof(msg->payload));
		memcpy(&error, msg->payload, sizeof(error));
		onpu_queue_error_event(odev, &error);
		break;
	case ONPU_MSG_EV_QUEUE_HANG:
		BUILD_BUG_ON(sizeof(hang) != sizeof(msg->payload));
		memcpy(&hang, msg->payload, sizeof(hang));
		onpu_queue_hang_event(odev, &hang);
		break;
	default:
		drm_dbg(&odev->drm, "unknown firmware event %u\n", msg->type);
	}
}

static void onpu_mbox_dispatch(struct onpu_device *odev, const struct onpu_msg *msg)
{
	switch (msg->kind) {
	case ONPU_MSG_RESPONSE:
		onpu_mbox_response(odev, msg);
		break;
	case ONPU_MSG_EVENT:
		onpu_mbox_event(odev, msg);
		break;
	default:
		drm_dbg(&odev->drm, "firmware message of kind %u\n", msg->kind);
	}
}

/**
 * onpu_mbox_receive() - take in what the firmware sent
 * @odev: card; card memory accessible
 *
 * Called by the interrupt thread, and by callers in case an interrupt was lost.
 */
void onpu_mbox_receive(struct onpu_device *odev)
{
	struct onpu_mbox *mbox = odev->mbox;
	struct onpu_msg msg;
	u32 tail;

	spin_lock(&mbox->rx_lock);
	if (READ_ONCE(mbox->error))
		goto out_unlock;

	tail = onpu_mbox_read(mbox, offsetof(struct onpu_mbox_shared, f2h_tail));
	if (tail - mbox->head > ONPU_MBOX_ENTRIES) {
		onpu_recovery_restart(odev, "mailbox index out of range");
		goto out_unlock;
	}

	while (mbox->head != tail) {
		memcpy_fromio(&msg, mbox->f2h +
			      (mbox->head % ONPU_MBOX_ENTRIES) * sizeof(msg), sizeof(msg));
		mbox->head++;
		onpu_mbox_dispatch(odev, &msg);
	}
	/* The messages must have been read before their places are given back. */
	mb();
	onpu_mbox_write(mbox, offsetof(struct onpu_mbox_shared, f2h_head), tail);

out_unlock:
	spin_unlock(&mbox->rx_lock);
}

static int onpu_mbox_send(struct onpu_device *odev, const struct onpu_msg *req,
			  struct onpu_mbox_waiter *waiter)
{
	struct onpu_mbox *mbox = odev->mbox;
	struct onpu_msg msg = *req;
	u32 head;
	int ret;

	spin_lock(&mbox->tx_lock);
	ret = mbox->error;
	if (ret)
		goto out_unlock;

	head = onpu_mbox_read(mbox, offsetof(struct onpu_mbox_shared, h2f_head));
	if (mbox->tail - head >= ONPU_MBOX_ENTRIES) {
		ret = -ETIMEDOUT;
		goto out_unlock;
	}

	waiter->seq = ++mbox->seq;
	waiter->type = msg.type;
	list_add_tail(&waiter->node, &mbox->waiters);

	msg.kind = ONPU_MSG_REQUEST;
	msg.seq = waiter->seq;
	memcpy_toio(mbox->h2f + (mbox->tail % ONPU_MBOX_ENTRIES) * sizeof(msg), &msg, sizeof(msg));
	/* Write-combined memory: message, then index, then doorbell. */
	wmb();
	onpu_mbox_write(mbox, offsetof(struct onpu_mbox_shared, h2f_tail), ++mbox->tail);
	/* As above. */
	wmb();
	onpu_write32(odev, ONPU_REG_MBOX_DB, 1);

out_unlock:
	spin_unlock(&mbox->tx_lock);
	return ret;
}

/* Whether the waiter was answered; after false nobody touches it any more. */
static bool onpu_mbox_abandon(struct onpu_mbox *mbox, struct onpu_mbox_waiter *waiter)
{
	bool answered;

	spin_lock(&mbox->tx_lock);
	answered = list_empty(&waiter->node);
	list_del_init(&waiter->node);
	spin_unlock(&mbox->tx_lock);

	return answered;
}

static int onpu_mbox_wait(struct onpu_device *odev, struct onpu_mbox_waiter *waiter)
{
	unsigned long deadline = jiffies + msecs_to_jiffies(mbox_timeout_ms);

	for (;;) {
		if (wait_for_completion_timeout(&waiter->done,
						msecs_to_jiffies(ONPU_MBOX_POLL_MS)))
			return waiter->error;
		onpu_mbox_receive(odev);
		if (time_after(jiffies, deadline))
			break;
	}

	return onpu_mbox_abandon(odev->mbox, waiter) ? waiter->error : -ETIMEDOUT;
}

static int onpu_mbox_status_to_errno(u32 status)
{
	switch (status) {
	case ONPU_MSG_STATUS_OK:
		return 0;
	case ONPU_MSG_STATUS_NOENT:
		return -ENOENT;
	case ONPU_MSG_STATUS_EXIST:
		return -EEXIST;
	case ONPU_MSG_STATUS_BUSY:
		return -EBUSY;
	case ONPU_MSG_STATUS_TIMEOUT:
		return -ETIME;
	default:
		return -EPROTO;
	}
}

/**
 * onpu_mbox_call() - send a request and wait for its response
 * @odev: card; registers and card memory accessible
 * @req: request; type and payload are filled in
 * @resp: where to copy the response, or NULL
 *
 * Sleeps for at most the module parameter mbox_timeout_ms. Safe where fences
 * are signalled.
 *
 * Return: 0 when the firmware answered OK; -ENOENT, -EEXIST, -EBUSY, -ETIME
 * (a slot did not stop), -EPROTO (anything else) as it answered; -ETIMEDOUT
 * when it did not, and it is about to be restarted; -EIO, -EAGAIN or -ENODEV when
 * the card is wedged, being reset or gone.
 */
int onpu_mbox_call(struct onpu_device *odev, const struct onpu_msg *req, struct onpu_msg *resp)
{
	struct onpu_mbox *mbox = odev->mbox;
	struct onpu_mbox_waiter waiter = {
		.node = LIST_HEAD_INIT(waiter.node),
		.done = COMPLETION_INITIALIZER_ONSTACK(waiter.done),
	};
	int ret;

	ret = down_timeout(&mbox->callers, msecs_to_jiffies(mbox_timeout_ms));
	if (ret)
		return -ETIMEDOUT; /* those before us have stopped the card by now */

	ret = onpu_mbox_send(odev, req, &waiter);
	if (!ret)
		ret = onpu_mbox_wait(odev, &waiter);
	up(&mbox->callers);

	if (ret == -ETIMEDOUT) {
		drm_err(&odev->drm, "firmware does not answer message %u\n", req->type);
		onpu_recovery_restart(odev, "firmware does not answer");
	}
	if (ret)
		return ret;

	ret = onpu_mbox_status_to_errno(waiter.resp.status);
	if (ret == -EPROTO)
		drm_err(&odev->drm, "firmware answered message %u with status %u\n",
			req->type, waiter.resp.status);
	if (resp)
		*resp = waiter.resp;
	return ret;
}

/**
 * onpu_mbox_create() - have the firmware create something
 * @odev: card; registers and card memory accessible
 * @req: request; type and payload are filled in
 *
 * What is created is chosen by the driver and new, so every refusal is the firmware's mistake.
 *
 * Return: as onpu_mbox_call(), but -EPROTO for all that it may answer.
 */
int onpu_mbox_create(struct onpu_device *odev, const struct onpu_msg *req)
{
	int ret = onpu_mbox_call(odev, req, NULL);

	switch (ret) {
	case -ENOENT:
	case -EEXIST:
	case -EBUSY:
	case -ETIME:
		drm_err(&odev->drm, "firmware refused message %u: %d\n", req->type, ret);
		return -EPROTO;
	default:
		return ret;
	}
}

static void onpu_mbox_ctx_request(struct onpu_msg *req, u16 type, u32 asid, u64 root)
{
	struct onpu_msg_ctx ctx = { .asid = asid, .root = root };

	BUILD_BUG_ON(sizeof(ctx) != sizeof(req->payload));
	*req = (struct onpu_msg) { .type = type };
	memcpy(req->payload, &ctx, sizeof(ctx));
}

static int onpu_mbox_ctx_call(struct onpu_device *odev, u16 type, u32 asid, u64 root)
{
	struct onpu_msg req;

	onpu_mbox_ctx_request(&req, type, asid, root);
	return onpu_mbox_call(odev, &req, NULL);
}

/**
 * onpu_mbox_ctx_create() - create a context on the card
 * @odev: card; registers and card memory accessible
 * @asid: its number
 * @root: offset of its root table in card memory
 *
 * Return: as onpu_mbox_create().
 */
int onpu_mbox_ctx_create(struct onpu_device *odev, u32 asid, u64 root)
{
	struct onpu_msg req;

	onpu_mbox_ctx_request(&req, ONPU_MSG_CTX_CREATE, asid, root);
	return onpu_mbox_create(odev, &req);
}

/**
 * onpu_mbox_ctx_destroy() - destroy a context on the card
 * @odev: card; registers and card memory accessible
 * @asid: its number
 *
 * Return: as onpu_mbox_call().
 */
int onpu_mbox_ctx_destroy(struct onpu_device *odev, u32 asid)
{
	return onpu_mbox_ctx_call(odev, ONPU_MSG_CTX_DESTROY, asid, 0);
}

/**
 * onpu_mbox_can_suspend() - whether the firmware knows onpu_mbox_ctx_suspend()
 * @odev: card
 *
 * Return: false with firmware from before that.
 */
bool onpu_mbox_can_suspend(struct onpu_device *odev)
{
	return READ_ONCE(odev->mbox->minor) >= ONPU_MBOX_MINOR_SUSPEND;
}

/**
 * onpu_mbox_keeps_progress() - whether the firmware takes 64 bits of progress from slot to slot
 * @odev: card
 *
 * Return: false with firmware from before that.
 */
bool onpu_mbox_keeps_progress(struct onpu_device *odev)
{
	return READ_ONCE(odev->mbox->packet_minor) >= ONPU_PACKET_MINOR_PROGRESS;
}

/**
 * onpu_mbox_ctx_suspend() - have nothing of a context execute
 * @odev: card; registers and card memory accessible
 * @asid: its number
 *
 * Return: as onpu_mbox_call(). After 0 its queues go on where they were by
 * onpu_mbox_ctx_resume() only.
 */
int onpu_mbox_ctx_suspend(struct onpu_device *odev, u32 asid)
{
	return onpu_mbox_ctx_call(odev, ONPU_MSG_CTX_SUSPEND, asid, 0);
}

/**
 * onpu_mbox_ctx_resume() - have the queues of a context go on
 * @odev: card; registers and card memory accessible
 * @asid: its number
 *
 * Return: as onpu_mbox_call().
 */
int onpu_mbox_ctx_resume(struct onpu_device *odev, u32 asid)
{
	return onpu_mbox_ctx_call(odev, ONPU_MSG_CTX_RESUME, asid, 0);
}

/**
 * onpu_mbox_engine_reset() - have the engine let go of queues that do not stop
 * @odev: card; registers and card memory accessible
 *
 * Of each queue that it killed an event tells.
 *
 * Return: as onpu_mbox_call(). After 0 nothing executes that was told to stop.
 */
int onpu_mbox_engine_reset(struct onpu_device *odev)
{
	struct onpu_msg req = { .type = ONPU_MSG_ENGINE_RESET };

	return onpu_mbox_call(odev, &req, NULL);
}

static int onpu_mbox_hello(struct onpu_device *odev)
{
	struct onpu_msg_hello hello = {
		.mbox_major = ONPU_MBOX_ABI_MAJOR,
		.mbox_minor = ONPU_MBOX_ABI_MINOR,
		.packet_major = ONPU_PACKET_ABI_MAJOR,
		.packet_minor = ONPU_PACKET_ABI_MINOR,
	};
	struct onpu_msg req = { .type = ONPU_MSG_HELLO };
	struct onpu_msg resp;
	int ret;

	BUILD_BUG_ON(sizeof(hello) != sizeof(req.payload));
	memcpy(req.payload, &hello, sizeof(hello));
	ret = onpu_mbox_call(odev, &req, &resp);
	if (ret)
		return ret;

	memcpy(&hello, resp.payload, sizeof(hello));
	if (hello.mbox_major != ONPU_MBOX_ABI_MAJOR ||
	    hello.packet_major != ONPU_PACKET_ABI_MAJOR) {
		drm_err(&odev->drm, "firmware speaks mailbox %u.%u, packets %u.%u; %u.x, %u.x needed\n",
			hello.mbox_major, hello.mbox_minor, hello.packet_major, hello.packet_minor,
			ONPU_MBOX_ABI_MAJOR, ONPU_PACKET_ABI_MAJOR);
		return -EINVAL;
	}
	odev->mbox->minor = hello.mbox_minor;
	odev->mbox->packet_minor = hello.packet_minor;
	if (hello.queues < odev->caps.queues || hello.contexts < odev->caps.contexts) {
		drm_err(&odev->drm, "firmware serves %u queues and %u contexts of %u and %u\n",
			hello.queues, hello.contexts, odev->caps.queues, odev->caps.contexts);
		return -EINVAL;
	}

	return 0;
}

/* An object of the shared block lies in the firmware's part of the region. */
static bool onpu_mbox_valid(struct onpu_device *odev, u32 offset, u32 size)
{
	return IS_ALIGNED(offset, 4) && offset >= ONPU_FW_REGION_STAGE_SIZE &&
	       offset <= odev->caps.fw_size && size <= odev->caps.fw_size - offset;
}

static int onpu_mbox_map(struct onpu_device *odev, struct onpu_mbox_shared *s)
{
	void __iomem *region = odev->vram.map + odev->caps.fw_offset;
	const u32 ring_size = ONPU_MBOX_ENTRIES * sizeof(struct onpu_msg);
	u32 offset = onpu_read32(odev, ONPU_REG_FW_MBOX);
	struct onpu_mbox *mbox = odev->mbox;

	if (!onpu_mbox_valid(odev, offset, sizeof(*s)))
		return -EPROTO;

	memcpy_fromio(s, region + offset, sizeof(*s));
	if (s->magic != ONPU_MBOX_MAGIC || s->abi_major != ONPU_MBOX_ABI_MAJOR ||
	    s->size < sizeof(*s) ||
	    !onpu_mbox_valid(odev, s->h2f_offset, ring_size) ||
	    !onpu_mbox_valid(odev, s->f2h_offset, ring_size) ||
	    !onpu_mbox_valid(odev, s->crash_offset, sizeof(struct onpu_fw_crash)) ||
	    !is_power_of_2(s->log_size) || !onpu_mbox_valid(odev, s->log_offset, s->log_size))
		return -EPROTO;

	mbox->shared = region + offset;
	mbox->h2f = region + s->h2f_offset;
	mbox->f2h = region + s->f2h_offset;
	mbox->crash = region + s->crash_offset;
	mbox->log = region + s->log_offset;
	mbox->log_size = s->log_size;
	return 0;
}

/**
 * onpu_mbox_start() - begin to talk to a firmware that has just become ready
 * @odev: card; registers and card memory accessible, no call possible yet
 *
 * Return: 0, or a negative error code after a message that says what is wrong.
 */
int onpu_mbox_start(struct onpu_device *odev)
{
	struct onpu_mbox *mbox = odev->mbox;
	struct onpu_mbox_shared shared;
	bool gone;
	int ret;

	ret = onpu_mbox_map(odev, &shared);
	if (ret) {
		drm_err(&odev->drm, "the firmware's mailbox is malformed\n");
		return ret;
	}

	spin_lock(&mbox->rx_lock);
	spin_lock(&mbox->tx_lock);
	mbox->tail = shared.h2f_tail;
	mbox->head = shared.f2h_head;
	/*
	 * Who unplugs the card meanwhile has stopped it and ends all jobs: none may be given to
	 * it any more, which takes calls.
	 */
	gone = mbox->error == -ENODEV;
	if (!gone)
		WRITE_ONCE(mbox->error, 0);
	spin_unlock(&mbox->tx_lock);
	spin_unlock(&mbox->rx_lock);

	return gone ? -ENODEV : onpu_mbox_hello(odev);
}

/**
 * onpu_mbox_stop() - end all calls and take no more
 * @odev: card
 * @error: what callers get from now on until onpu_mbox_start(); -ENODEV for good
 */
void onpu_mbox_stop(struct onpu_device *odev, int error)
{
	struct onpu_mbox *mbox = odev->mbox;
	struct onpu_mbox_waiter *waiter, *next;

	spin_lock(&mbox->rx_lock);
	spin_lock(&mbox->tx_lock);
	if (mbox->error != -ENODEV)
		WRITE_ONCE(mbox->error, error);
	list_for_each_entry_safe(waiter, next, &mbox->waiters, node)
		onpu_mbox_finish(mbox, waiter, error);
	spin_unlock(&mbox->tx_lock);
	spin_unlock(&mbox->rx_lock);
}

/**
 * onpu_mbox_read_crash() - copy the firmware's crash record
 * @odev: card; card memory accessible
 * @crash: where to
 *
 * Return: 0, or -ENODATA when the firmware did not leave one.
 */
int onpu_mbox_read_crash(struct onpu_device *odev, struct onpu_fw_crash *crash)
{
	struct onpu_mbox *mbox = odev->mbox;

	if (!mbox->crash)
		return -ENODATA;
	memcpy_fromio(crash, mbox->crash, sizeof(*crash));
	return crash->valid == ONPU_FW_CRASH_MAGIC ? 0 : -ENODATA;
}

/**
 * onpu_mbox_report_log() - put the end of the firmware's log into the kernel's
 * @odev: card; card memory accessible
 */
void onpu_mbox_report_log(struct onpu_device *odev)
{
	struct onpu_mbox *mbox = odev->mbox;
	char line[128];
	u32 head, pos;
	size_t len = 0;

	if (!mbox->log)
		return;

	head = onpu_mbox_read(mbox, offsetof(struct onpu_mbox_shared, log_head));
	pos = head - min3(head, mbox->log_size, (u32)ONPU_MBOX_LOG_TAIL);
	for (; pos != head; pos++) {
		char c = readb(mbox->log + (pos & (mbox->log_size - 1)));

		if (c != '\n')
			line[len++] = c;
		if (!len || (c != '\n' && len < sizeof(line)))
			continue;
		drm_err(&odev->drm, "firmware log: %*pE\n", (int)len, line);
		len = 0;
	}
	if (len)
		drm_err(&odev->drm, "firmware log: %*pE\n", (int)len, line);
}

/**
 * onpu_mbox_init() - allocate the mailbox of a card
 * @odev: card
 *
 * Return: 0 or -ENOMEM.
 */
int onpu_mbox_init(struct onpu_device *odev)
{
	struct onpu_mbox *mbox;

	mbox = drmm_kzalloc(&odev->drm, sizeof(*mbox), GFP_KERNEL);
	if (!mbox)
		return -ENOMEM;

	sema_init(&mbox->callers, ONPU_MBOX_CALLERS);
	spin_lock_init(&mbox->tx_lock);
	spin_lock_init(&mbox->rx_lock);
	INIT_LIST_HEAD(&mbox->waiters);
	mbox->error = -EAGAIN;

	odev->mbox = mbox;
	return 0;
}

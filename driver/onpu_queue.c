// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Queues
 *
 * A queue is a ring of packets on the card, fed by a scheduler of its own: the
 * card's firmware decides which queue has a slot, so there is nothing to
 * decide between queues here. The ring and a page that the card writes are
 * kernel buffer objects in the upper half of the VM's address space.
 *
 * Life: the id in the file, each job and each work under way keep a queue
 * active. Destroying it, or closing the file, takes the id away and kills it:
 * it is marked dead, so that jobs that have not started end at once, and work
 * on the recovery queue takes it off its slot and ends those in the ring. The
 * last job's end then starts the teardown on the module's workqueue.
 *
 * Death: the first cause stays. The same way serves for a fault that the
 * firmware reports, for a job that runs too long and for destruction.
 *
 * Watchdog: the card writes the time into the page when it starts a job, and the
 * watchdog compares that with the device time. Of a job that was started too long
 * ago it asks the firmware how long it has run, for others may have had its slot.
 * Waiting for a slot is bounded too, generously: fences must signal.
 *
 * Locking: &onpu_queue_mgr.queues is locked by its own xa_lock. States and
 * fences of a queue are under &onpu_queue.fences.lock (hard interrupt). There
 * is no lock that is held over a mailbox call or an allocation here; creation
 * excludes a reset of the card by onpu_recovery_enter().
 */

#include <linux/module.h>
#include <linux/slab.h>

#include <drm/drm_managed.h>

#include "onpu_bo.h"
#include "onpu_device.h"
#include "onpu_fence.h"
#include "onpu_irq.h"
#include "onpu_job.h"
#include "onpu_lr.h"
#include "onpu_mbox.h"
#include "onpu_place.h"
#include "onpu_queue.h"
#include "onpu_quota.h"
#include "onpu_recovery.h"
#include "onpu_uqueue.h"
#include "onpu_user.h"
#include "onpu_vm.h"
#include "onpu_wait.h"

/* The watchdog looks so many times in the time that a job may run. */
#define ONPU_WATCHDOG_LOOKS	4
/* A job may wait for a slot this many times as long as it may run. */
#define ONPU_WAIT_FACTOR	12
/* How long close() waits for its queues to leave the card. */
#define ONPU_CLOSE_TIMEOUT_MS	5000

static unsigned int job_timeout_ms = 10000;
module_param(job_timeout_ms, uint, 0644);
MODULE_PARM_DESC(job_timeout_ms, "Running time after which a job counts as hung (default 10000)");

/**
 * struct onpu_queue_mgr - queues of a card
 */
struct onpu_queue_mgr {
	/** @queues: number on the card to struct onpu_queue; an entry holds &onpu_queue.ref */
	struct xarray queues;
	/** @wq: runs schedulers and watchdogs; part of signalling fences */
	struct workqueue_struct *wq;
};

/**
 * onpu_queue_job_timeout_ms() - how long a job may run
 *
 * Return: milliseconds, at least 1.
 */
u32 onpu_queue_job_timeout_ms(void)
{
	return max(READ_ONCE(job_timeout_ms), 1u);
}

static void onpu_queue_release(struct kref *ref)
{
	struct onpu_queue *queue = container_of(ref, struct onpu_queue, ref);
	bool kernel = queue->kernel;

	onpu_uqueue_free(queue->uqueue);
	kfree(queue);
	if (!kernel)
		module_put(THIS_MODULE);
}

/**
 * onpu_queue_get() - keep the structure of a queue
 * @queue: queue
 */
void onpu_queue_get(struct onpu_queue *queue)
{
	kref_get(&queue->ref);
}

/**
 * onpu_queue_put() - drop a reference of onpu_queue_get()
 * @queue: queue
 *
 * Any context.
 */
void onpu_queue_put(struct onpu_queue *queue)
{
	kref_put(&queue->ref, onpu_queue_release);
}

static void onpu_queue_inactive(struct kref *ref)
{
	struct onpu_queue *queue = container_of(ref, struct onpu_queue, active);

	queue_work(onpu_wq, &queue->teardown_work);
}

/**
 * onpu_queue_get_active() - keep a queue on the card
 * @queue: queue
 *
 * Return: false when it is leaving already.
 */
bool onpu_queue_get_active(struct onpu_queue *queue)
{
	return kref_get_unless_zero(&queue->active);
}

/**
 * onpu_queue_put_active() - drop a reference of onpu_queue_get_active()
 * @queue: queue
 *
 * Any context.
 */
void onpu_queue_put_active(struct onpu_queue *queue)
{
	kref_put(&queue->active, onpu_queue_inactive);
}

/**
 * onpu_queue_lookup() - find a queue of a file
 * @ofile: file
 * @id: id of the queue in it
 *
 * Return: the queue, kept active for the caller, or NULL.
 */
struct onpu_queue *onpu_queue_lookup(struct onpu_file *ofile, u32 id)
{
	struct onpu_queue *queue;

	xa_lock(&ofile->queues);
	queue = xa_load(&ofile->queues, id);
	if (queue)
		kref_get(&queue->active);
	xa_unlock(&ofile->queues);

	return queue;
}

/**
 * onpu_queue_find_user() - find a user-mode queue of a file
 * @ofile: file
 * @index: its number on the card
 *
 * Return: the queue, kept by onpu_queue_get(), or NULL.
 */
struct onpu_queue *onpu_queue_find_user(struct onpu_file *ofile, u64 index)
{
	struct onpu_queue *queue, *found = NULL;
	unsigned long id;

	xa_lock(&ofile->queues);
	xa_for_each(&ofile->queues, id, queue) {
		if (queue->uqueue && queue->index == index) {
			onpu_queue_get(queue);
			found = queue;
			break;
		}
	}
	xa_unlock(&ofile->queues);

	return found;
}

/**
 * onpu_queue_next() - iterate over the queues of a card
 * @odev: card
 * @index: where to start, 0 at first; the caller adds 1 for the next
 *
 * Return: a queue kept by onpu_queue_get(), or NULL.
 */
struct onpu_queue *onpu_queue_next(struct onpu_device *odev, unsigned long *index)
{
	struct xarray *queues = &odev->queue_mgr->queues;
	struct onpu_queue *queue;

	xa_lock(queues);
	queue = xa_find(queues, index, ULONG_MAX, XA_PRESENT);
	if (queue)
		onpu_queue_get(queue);
	xa_unlock(queues);

	return queue;
}

/**
 * onpu_queue_ring_doorbell() - tell the card how far the ring is filled
 * @queue: queue, active; registers accessible
 */
void onpu_queue_ring_doorbell(struct onpu_queue *queue)
{
	const struct onpu_caps *caps = &queue->odev->caps;

	onpu_write32(queue->odev, caps->doorbell_offset + queue->index * caps->doorbell_stride +
		     ONPU_DB_PRODUCER, READ_ONCE(queue->ring.tail));
}

static int onpu_queue_call(struct onpu_queue *queue, u16 type, struct onpu_msg *resp)
{
	struct onpu_msg_queue body = { .queue = queue->index };
	struct onpu_msg req = { .type = type };

	BUILD_BUG_ON(sizeof(body) != sizeof(req.payload));
	memcpy(req.payload, &body, sizeof(body));
	return onpu_mbox_call(queue->odev, &req, resp);
}

static bool onpu_queue_status(struct onpu_queue *queue, struct onpu_msg_queue_status *status)
{
	struct onpu_msg resp;

	BUILD_BUG_ON(sizeof(*status) != sizeof(resp.payload));
	if (onpu_queue_call(queue, ONPU_MSG_QUEUE_STATUS, &resp))
		return false;
	memcpy(status, resp.payload, sizeof(*status));
	return true;
}

/**
 * onpu_queue_create_on_card() - tell the firmware of a queue
 * @queue: queue with its memory mapped and its ring empty; registers accessible
 *
 * Return: as onpu_mbox_create().
 */
int onpu_queue_create_on_card(struct onpu_queue *queue)
{
	struct onpu_msg_queue_create body = {
		.queue = queue->index,
		.asid = onpu_vm_asid(queue->vm),
		.ring_va = queue->ring.va,
		.ring_order = queue->ring.order,
		.flags = ONPU_QUEUE_PRIVILEGED,
		.vector = queue->vector,
		.priority = queue->priority,
	};
	struct onpu_msg req = { .type = ONPU_MSG_QUEUE_CREATE };
	int ret;

	if (queue->uqueue)
		onpu_uqueue_describe(queue, &body);

	BUILD_BUG_ON(sizeof(body) != sizeof(req.payload));
	memcpy(req.payload, &body, sizeof(body));
	ret = onpu_mbox_create(queue->odev, &req);
	if (!ret)
		queue->on_card = true;
	return ret;
}

/* What the owner finds in fdinfo, also when it has destroyed the queue. */
static void onpu_queue_count_guilt(struct onpu_queue *queue, const struct onpu_queue_death *death)
{
	struct onpu_file *ofile = queue->ofile;

	if (death->flags & DRM_ONPU_QUEUE_TIMEDOUT)
		atomic64_inc(&ofile->guilt.hangs);
	else if (death->flags & DRM_ONPU_QUEUE_FAULT)
		atomic64_inc(&ofile->guilt.faults);
	else if (death->flags & DRM_ONPU_QUEUE_BAD_PACKET || death->error == ONPU_ERR_RING)
		atomic64_inc(&ofile->guilt.errors);
}

/**
 * onpu_queue_mark_dead() - a queue takes no more jobs
 * @queue: queue
 * @death: why
 *
 * Jobs that have not started end as they come up. Those in the ring end by
 * onpu_fence_cancel(), once nothing of the queue executes.
 *
 * Return: false when it was dead before, then for what it was then.
 */
bool onpu_queue_mark_dead(struct onpu_queue *queue, const struct onpu_queue_death *death)
{
	unsigned long flags;
	bool first;

	spin_lock_irqsave(&queue->fences.lock, flags);
	first = !(queue->state.flags & DRM_ONPU_QUEUE_DEAD);
	if (first) {
		queue->state.error = death->error;
		queue->state.guilty = death->guilty;
		queue->state.others = death->others;
		queue->state.fault_info = death->fault_info;
		queue->state.fault_va = death->fault_va;
		queue->state.opcode = death->opcode;
		WRITE_ONCE(queue->state.flags, death->flags | DRM_ONPU_QUEUE_DEAD);
	} else {
		/* Whatever it died of, its owner must know that the card is lost. */
		WRITE_ONCE(queue->state.flags, queue->state.flags |
			   (death->flags & DRM_ONPU_QUEUE_DEVICE_LOST));
	}
	spin_unlock_irqrestore(&queue->fences.lock, flags);

	/* Before anybody is told of the death. */
	if (first)
		onpu_queue_count_guilt(queue, death);
	wake_up_all(&queue->jobs.wait);
	onpu_irq_notify(queue);
	if (first && queue->uqueue && kref_get_unless_zero(&queue->active))
		queue_work(onpu_wq, &queue->revoke_work);
	return first;
}

static void onpu_queue_kill_ended(struct onpu_queue *queue)
{
	atomic_dec(&queue->kills);
	wake_up_all(&queue->jobs.wait);
}

/**
 * onpu_queue_kill() - end a queue
 * @queue: queue, active
 * @death: why
 *
 * Any context. The jobs end soon, bounded, but not before it returns.
 */
void onpu_queue_kill(struct onpu_queue *queue, const struct onpu_queue_death *death)
{
	/* Before it is dead to others, who then wait for it. */
	atomic_inc(&queue->kills);
	if (!onpu_queue_mark_dead(queue, death)) {
		onpu_queue_kill_ended(queue);
		return;
	}

	kref_get(&queue->active);
	queue_work(onpu_recovery_wq(queue->odev), &queue->kill_work);
}

/*
 * The firmware could not stop the queue. Others that do not let go of the engine either
 * are killed with it, of which events tell; those that do go on.
 */
static int onpu_queue_reset_engine(struct onpu_queue *queue)
{
	drm_warn(&queue->odev->drm, "queue %u does not stop, the engine is reset\n", queue->index);
	return onpu_mbox_engine_reset(queue->odev);
}

/* Nothing of the queue executes any more: its memory need not stay for it. */
static void onpu_queue_leave_lr(struct onpu_queue *queue)
{
	if (xchg(&queue->in_lr, false))
		onpu_lr_remove_queue(onpu_vm_lr(queue->vm), queue->uqueue);
}

static void onpu_queue_kill_work(struct work_struct *work)
{
	struct onpu_queue *queue = container_of(work, struct onpu_queue, kill_work);
	struct onpu_device *odev = queue->odev;
	bool cookie = dma_fence_begin_signalling();
	int idx, ret;

	if (drm_dev_enter(&odev->drm, &idx)) {
		ret = onpu_queue_call(queue, ONPU_MSG_QUEUE_KILL, NULL);
		if (ret == -ETIME)
			ret = onpu_queue_reset_engine(queue);
		/*
		 * As long as the queue may still execute, its jobs must not
		 * end, for their memory would be given to others. A card that
		 * is wedged or being reset executes nothing.
		 */
		if (ret && ret != -ENOENT)
			onpu_recovery_stop_card(odev, "a queue cannot be stopped");
		onpu_fence_cancel(queue);
		if (queue->uqueue)
			onpu_queue_leave_lr(queue);
		drm_dev_exit(idx);
	}
	/* Else onpu_recovery_unplug() ends the jobs, when it has stopped the card. */
	onpu_queue_kill_ended(queue);
	dma_fence_end_signalling(cookie);

	onpu_queue_put_active(queue);
}

static void onpu_queue_revoke_work(struct work_struct *work)
{
	struct onpu_queue *queue = container_of(work, struct onpu_queue, revoke_work);

	onpu_uqueue_revoke(queue);
	onpu_queue_put_active(queue);
}

static const struct onpu_queue_death onpu_death_destroyed = {
	.error = ONPU_ERR_KILLED,
	.guilty = -ECANCELED,
	.others = -ECANCELED,
};

static const struct onpu_queue_death onpu_death_timeout = {
	.flags = DRM_ONPU_QUEUE_TIMEDOUT,
	.error = ONPU_ERR_KILLED,
	.guilty = -ETIME,
	.others = -ECANCELED,
};

static const struct onpu_queue_death onpu_death_no_memory = {
	.flags = DRM_ONPU_QUEUE_NO_MEMORY,
	.error = ONPU_ERR_KILLED,
	.guilty = -ENOMEM,
	.others = -ENOMEM,
};

/**
 * onpu_queue_unmap_vm() - have the next access to any doorbell of an address space fault
 * @odev: card
 * @vm: address space
 */
void onpu_queue_unmap_vm(struct onpu_device *odev, struct onpu_vm *vm)
{
	struct onpu_queue *queue;
	unsigned long index;

	for (index = 0; (queue = onpu_queue_next(odev, &index)); index++) {
		if (onpu_queue_get_active(queue)) {
			if (queue->uqueue && queue->vm == vm)
				onpu_uqueue_unmap(queue);
			onpu_queue_put_active(queue);
		}
		onpu_queue_put(queue);
	}
}

static bool onpu_queue_is_idle(struct onpu_queue *queue)
{
	struct onpu_msg_queue_status status;

	if (onpu_queue_is_dead(queue))
		return true;
	return onpu_queue_status(queue, &status) && status.producer == status.consumer;
}

/**
 * onpu_queue_vm_is_idle() - whether no queue of an address space has anything to do
 * @odev: card
 * @vm: address space, suspended
 *
 * Return: false also when the card does not tell.
 */
bool onpu_queue_vm_is_idle(struct onpu_device *odev, struct onpu_vm *vm)
{
	struct onpu_queue *queue;
	unsigned long index;
	bool idle = true;
	int idx;

	if (!drm_dev_enter(&odev->drm, &idx))
		return false;
	for (index = 0; idle && (queue = onpu_queue_next(odev, &index)); index++) {
		if (onpu_queue_get_active(queue)) {
			if (queue->uqueue && queue->vm == vm)
				idle = onpu_queue_is_idle(queue);
			onpu_queue_put_active(queue);
		}
		onpu_queue_put(queue);
	}
	drm_dev_exit(idx);

	return idle;
}

/**
 * onpu_queue_kill_vm() - end the queues of an address space for which there is no memory
 * @odev: card
 * @vm: address space
 */
void onpu_queue_kill_vm(struct onpu_device *odev, struct onpu_vm *vm)
{
	struct onpu_queue *queue;
	unsigned long index;

	for (index = 0; (queue = onpu_queue_next(odev, &index)); index++) {
		if (onpu_queue_get_active(queue)) {
			if (queue->vm == vm)
				onpu_queue_kill(queue, &onpu_death_no_memory);
			onpu_queue_put_active(queue);
		}
		onpu_queue_put(queue);
	}
}

static void onpu_queue_error_death(const struct onpu_msg_queue_error *ev,
				   struct onpu_queue_death *death)
{
	death->error = ev->error;
	death->opcode = ev->opcode;
	death->others = -ECANCELED;

	switch (ev->error) {
	case ONPU_ERR_FAULT:
		death->flags = DRM_ONPU_QUEUE_FAULT;
		death->guilty = -EFAULT;
		death->fault_info = ev->fault_info;
		death->fault_va = ev->fault_va;
		break;
	case ONPU_ERR_OPCODE:
	case ONPU_ERR_PACKET:
	case ONPU_ERR_DESC:
	case ONPU_ERR_CALL:
		death->flags = DRM_ONPU_QUEUE_BAD_PACKET;
		death->guilty = -EINVAL;
		break;
	case ONPU_ERR_KILLED:
		/* By a reset of the engine that another queue caused. */
		death->flags = DRM_ONPU_QUEUE_INNOCENT;
		death->guilty = -ECANCELED;
		break;
	default:
		death->guilty = -EIO;
	}
}

/* The queue that an event is about, kept active, or NULL: nothing of it is to be trusted. */
static struct onpu_queue *onpu_queue_of_event(struct onpu_device *odev, u32 number, u32 asid)
{
	unsigned long index = number;
	struct onpu_queue *queue;

	if (number >= odev->caps.queues)
		return NULL;
	queue = onpu_queue_next(odev, &index);
	if (!queue)
		return NULL;
	if (index != number || !onpu_queue_get_active(queue)) {
		onpu_queue_put(queue);
		return NULL;
	}
	onpu_queue_put(queue);
	if (onpu_vm_asid(queue->vm) == asid)
		return queue;
	onpu_queue_put_active(queue);
	return NULL;
}

/**
 * onpu_queue_error_event() - the firmware says that a queue stopped
 * @odev: card
 * @ev: what it says, a copy
 *
 * In the interrupt thread; does not sleep.
 */
void onpu_queue_error_event(struct onpu_device *odev, const struct onpu_msg_queue_error *ev)
{
	struct onpu_queue_death death = {};
	struct onpu_queue *queue;

	if (ev->error == ONPU_ERR_NONE ||
	    ev->error > ONPU_ERR_INTERNAL) {
		drm_dbg(&odev->drm, "malformed error event: queue %u, error %u\n",
			ev->queue, ev->error);
		return;
	}

	queue = onpu_queue_of_event(odev, ev->queue, ev->asid);
	if (!queue)
		return;

	drm_dbg(&odev->drm, "queue %u (%s): error %u, opcode %u, va %#llx, fault info %#x\n",
		ev->queue, queue->name, ev->error, ev->opcode, ev->fault_va, ev->fault_info);
	onpu_queue_error_death(ev, &death);
	/* First, so that who has seen the job fail sees it. */
	if (death.flags & DRM_ONPU_QUEUE_FAULT)
		onpu_vm_note_fault(queue->vm, ev->fault_va, ev->fault_info, queue->id);
	onpu_queue_kill(queue, &death);
	onpu_queue_put_active(queue);
}

/**
 * onpu_queue_hang_event() - the firmware says that a queue makes no progress
 * @odev: card
 * @ev: what it says, a copy
 *
 * Of user-mode queues; those of the kernel have the watchdog. In the interrupt
 * thread; does not sleep.
 */
void onpu_queue_hang_event(struct onpu_device *odev, const struct onpu_msg_queue_hang *ev)
{
	struct onpu_queue *queue = onpu_queue_of_event(odev, ev->queue, ev->asid);

	if (!queue)
		return;
	if (queue->uqueue) {
		drm_dbg(&odev->drm, "queue %u (%s): no progress for %u ms\n", ev->queue,
			queue->name, ev->stalled_ms);
		onpu_queue_kill(queue, &onpu_death_timeout);
	}
	onpu_queue_put_active(queue);
}

/**
 * onpu_queue_watch() - the ring is not empty any more
 * @queue: queue, active
 *
 * Any context.
 */
void onpu_queue_watch(struct onpu_queue *queue)
{
	u32 ms = DIV_ROUND_UP(onpu_queue_job_timeout_ms(), ONPU_WATCHDOG_LOOKS);

	queue_delayed_work(queue->odev->queue_mgr->wq, &queue->watchdog.work,
			   max(msecs_to_jiffies(ms), 1ul));
}

static bool onpu_queue_has_slot(struct onpu_queue *queue)
{
	struct onpu_msg_queue_status status;

	return onpu_queue_status(queue, &status) && status.state != ONPU_QSTATE_UNBOUND;
}

/* Whether the oldest job, which has not started, never will. */
static bool onpu_queue_stuck(struct onpu_queue *queue)
{
	unsigned long limit = msecs_to_jiffies(onpu_queue_job_timeout_ms());

	/* Harmless when the doorbell was not lost, and the only help when it was. */
	onpu_queue_ring_doorbell(queue);

	if (time_before(jiffies, queue->watchdog.since + limit))
		return false;
	if (time_after(jiffies, queue->watchdog.since + ONPU_WAIT_FACTOR * limit))
		return true;
	/* With a slot a job starts at once; look twice, it may have got it just now. */
	if (!onpu_queue_has_slot(queue))
		queue->watchdog.stuck = 0;
	else
		queue->watchdog.stuck++;
	return queue->watchdog.stuck >= 2;
}

/*
 * Whether the oldest job, which was started that long ago, has run for that long. Time that
 * others had its slot does not count; to stand at a WAIT does, for a fence must signal.
 */
static bool onpu_queue_ran(struct onpu_queue *queue, u64 limit)
{
	struct onpu_msg_queue_status status;

	/* A firmware that does not answer is seen to elsewhere. */
	if (!onpu_queue_status(queue, &status) || status.state == ONPU_QSTATE_UNBOUND)
		return false;
	if (status.state != ONPU_QSTATE_RUNNING)
		return true;
	/* Without progress it may not count as busy, and the other way round. */
	return (u64)status.stalled_us * NSEC_PER_USEC >= limit ||
	       status.busy_ns - queue->watchdog.busy_ns >= limit;
}

/* Whether the oldest job has run, or waited, for too long. */
static bool onpu_queue_hangs(struct onpu_queue *queue, u64 seqno)
{
	const u32 jobs = (1 << queue->ring.order) / ONPU_JOB_PACKETS;
	struct onpu_queue_page __iomem *page = queue->page.bo->kmap;
	u64 limit = (u64)onpu_queue_job_timeout_ms() * NSEC_PER_MSEC;
	u64 start = readq(&page->times[seqno % jobs].start);
	u64 now = onpu_read64(queue->odev, ONPU_REG_TIME);

	/* Nothing can be said of a card that does not answer. */
	if (now == ~0ull)
		return false;
	if (!start)
		return onpu_queue_stuck(queue);
	if (now <= start || now - start < limit)
		return false;
	return now - start >= ONPU_WAIT_FACTOR * limit || onpu_queue_ran(queue, limit);
}

static void onpu_queue_watchdog(struct work_struct *work)
{
	struct onpu_queue *queue = container_of(to_delayed_work(work), struct onpu_queue,
						watchdog.work);
	struct onpu_device *odev = queue->odev;
	bool cookie = dma_fence_begin_signalling();
	struct onpu_msg_queue_status status;
	u64 seqno;
	int idx;

	if (!drm_dev_enter(&odev->drm, &idx))
		goto out_end_signalling;

	/* Should an interrupt have been lost. */
	onpu_fence_process(queue);
	seqno = onpu_fence_oldest(queue);
	if (!seqno || onpu_queue_is_dead(queue))
		goto out_exit;

	if (seqno != queue->watchdog.seqno) {
		if (onpu_queue_status(queue, &status)) {
			queue->watchdog.seqno = seqno;
			queue->watchdog.since = jiffies;
			queue->watchdog.stuck = 0;
			queue->watchdog.busy_ns = status.busy_ns;
		}
	} else if (onpu_queue_hangs(queue, seqno)) {
		drm_dbg(&odev->drm, "queue %u (%s): job %llu hangs\n",
			queue->index, queue->name, seqno);
		onpu_queue_kill(queue, &onpu_death_timeout);
		goto out_exit;
	}
	onpu_queue_watch(queue);

out_exit:
	drm_dev_exit(idx);
out_end_signalling:
	dma_fence_end_signalling(cookie);
}

static void onpu_queue_free_memory(struct onpu_queue *queue)
{
	if (queue->ring.va)
		onpu_vm_unmap_kernel(queue->vm, queue->ring.va);
	if (queue->page.va)
		onpu_vm_unmap_kernel(queue->vm, queue->page.va);
	onpu_bo_destroy_kernel(queue->ring.bo);
	onpu_bo_destroy_kernel(queue->page.bo);
}

static int onpu_queue_alloc_bo(struct onpu_queue *queue, u64 size, u32 map_flags,
			       struct onpu_bo **bo, u64 *va)
{
	struct onpu_bo *new;

	new = onpu_bo_create_kernel(queue->odev, size, 0);
	if (IS_ERR(new))
		return PTR_ERR(new);
	*bo = new;
	return onpu_vm_map_kernel(queue->vm, new, ONPU_VM_MAP_PRIV | map_flags, va);
}

static int onpu_queue_alloc_memory(struct onpu_queue *queue)
{
	int ret;

	if (queue->uqueue) {
		if (!onpu_uqueue_has_progress(queue->uqueue))
			return 0;
		ret = onpu_queue_alloc_bo(queue, PAGE_SIZE, 0, &queue->page.bo, &queue->page.va);
		if (ret)
			onpu_queue_free_memory(queue);
		return ret;
	}

	queue->ring.order = min_t(u32, ONPU_RING_ORDER, queue->odev->caps.ring_order_max);
	ret = onpu_queue_alloc_bo(queue, (u64)ONPU_PACKET_SIZE << queue->ring.order,
				  ONPU_VM_MAP_RO, &queue->ring.bo, &queue->ring.va);
	if (!ret)
		ret = onpu_queue_alloc_bo(queue, sizeof(struct onpu_queue_page), 0,
					  &queue->page.bo, &queue->page.va);
	if (ret)
		onpu_queue_free_memory(queue);
	return ret;
}

static int onpu_queue_init_sched(struct onpu_queue *queue)
{
	const struct drm_sched_init_args args = {
		.ops = &onpu_sched_ops,
		.submit_wq = queue->odev->queue_mgr->wq,
		.num_rqs = 1,
		/* Half of the ring; one place stays free, see onpu_job.c. */
		.credit_limit = onpu_job_half_ring(queue) - 1,
		.timeout = MAX_SCHEDULE_TIMEOUT,
		.timeout_wq = onpu_recovery_wq(queue->odev),
		.name = queue->name,
		.dev = queue->odev->drm.dev,
	};
	struct drm_gpu_scheduler *sched = &queue->sched;
	int ret;

	if (queue->uqueue)
		return 0;

	ret = drm_sched_init(sched, &args);
	if (ret)
		return ret;
	ret = drm_sched_entity_init(&queue->entity, DRM_SCHED_PRIORITY_KERNEL, &sched, 1, NULL);
	if (ret)
		drm_sched_fini(sched);
	return ret;
}

static void onpu_queue_fini_sched(struct onpu_queue *queue)
{
	if (queue->uqueue)
		return;

	drm_sched_entity_fini(&queue->entity);

	/*
	 * Whoever signalled the last fence may only be about to queue the
	 * scheduler's work again; drm_sched_fini() alone would miss that.
	 */
	drm_sched_wqueue_stop(&queue->sched);
	spin_lock_irq(&queue->fences.lock);
	spin_unlock_irq(&queue->fences.lock);
	drm_sched_fini(&queue->sched);
}

/* What the firmware has counted for a user-mode queue; registers accessible. */
static u64 onpu_queue_user_busy_ns(struct onpu_queue *queue)
{
	struct onpu_msg_queue_status status;

	if (!onpu_queue_status(queue, &status))
		return 0;
	/* Whatever it says, a sum must not run backwards. */
	return min_t(u64, status.busy_ns, S64_MAX / ONPU_MAX_QUEUES);
}

static void onpu_queue_leave_card(struct onpu_queue *queue)
{
	struct onpu_device *odev = queue->odev;
	int idx;

	if (!queue->on_card || !drm_dev_enter(&odev->drm, &idx))
		return;

	if (queue->uqueue)
		atomic64_add(onpu_queue_user_busy_ns(queue), &queue->ofile->busy_ns);

	/*
	 * Errors do not matter, but the memory must not go while the card might
	 * use it: when the firmware is dead, wait until the card was stopped.
	 */
	if (onpu_queue_call(queue, ONPU_MSG_QUEUE_DESTROY, NULL))
		onpu_recovery_flush(odev);
	drm_dev_exit(idx);
}

static void onpu_queue_teardown(struct work_struct *work)
{
	struct onpu_queue *queue = container_of(work, struct onpu_queue, teardown_work);
	struct onpu_device *odev = queue->odev;

	cancel_delayed_work_sync(&queue->watchdog.work);
	onpu_recovery_block(odev);
	onpu_queue_fini_sched(queue);
	onpu_irq_unwatch(queue);
	onpu_wait_drop_notify(queue);
	onpu_queue_leave_card(queue);
	/* Before the number is another queue's. */
	if (queue->uqueue)
		onpu_uqueue_forget(queue);
	onpu_queue_leave_lr(queue);
	xa_erase(&odev->queue_mgr->queues, queue->index);
	onpu_quota_uncharge(odev, queue->quota, ONPU_QUOTA_QUEUES);
	onpu_queue_put(queue); /* that of the entry */
	onpu_queue_free_memory(queue);
	onpu_vm_put(queue->vm);
	onpu_recovery_exit(odev);
	onpu_file_put(queue->ofile);
	complete_all(&queue->gone);
	onpu_queue_put(queue);
}

static struct onpu_queue *onpu_queue_alloc(struct onpu_file *ofile, struct onpu_vm *vm,
					   u32 priority)
{
	struct onpu_queue *queue = kzalloc(sizeof(*queue), GFP_KERNEL_ACCOUNT);

	if (!queue)
		return NULL;

	__module_get(THIS_MODULE);
	kref_init(&queue->ref);
	kref_init(&queue->active);
	queue->odev = ofile->odev;
	queue->ofile = ofile;
	queue->vm = vm;
	queue->priority = priority;
	spin_lock_init(&queue->fences.lock);
	INIT_LIST_HEAD(&queue->fences.list);
	queue->fences.context = dma_fence_context_alloc(1);
	init_waitqueue_head(&queue->jobs.wait);
	INIT_DELAYED_WORK(&queue->watchdog.work, onpu_queue_watchdog);
	INIT_WORK(&queue->revoke_work, onpu_queue_revoke_work);
	INIT_WORK(&queue->kill_work, onpu_queue_kill_work);
	INIT_WORK(&queue->teardown_work, onpu_queue_teardown);
	INIT_LIST_HEAD(&queue->irq_node);
	init_completion(&queue->gone);
	return queue;
}

static int onpu_queue_join_lr(struct onpu_queue *queue)
{
	struct onpu_lr *lr = onpu_vm_lr(queue->vm);
	int ret;

	if (!lr)
		return 0;
	ret = onpu_lr_add_queue(lr, queue->uqueue);
	if (ONPU_BAD(&queue->odev->drm, ret))
		return ret;
	queue->in_lr = true;
	return 0;
}

/* @args: of a user-mode queue, else NULL. */
static struct onpu_queue *onpu_queue_create(struct onpu_file *ofile, struct onpu_vm *vm,
					    u32 priority, const struct drm_onpu_queue_create *args)
{
	struct onpu_device *odev = ofile->odev;
	struct xarray *queues = &odev->queue_mgr->queues;
	struct onpu_queue *queue;
	int ret;

	queue = onpu_queue_alloc(ofile, vm, priority);
	if (!queue)
		return ERR_PTR(-ENOMEM);
	if (args) {
		queue->uqueue = onpu_uqueue_alloc(args);
		ret = queue->uqueue ? 0 : -ENOMEM;
		if (ret)
			goto err_put;
	}

	ret = xa_alloc(queues, &queue->index, NULL, XA_LIMIT(0, odev->caps.queues - 1),
		       GFP_KERNEL);
	if (ret) {
		ret = ret == -EBUSY ? -ENOSPC : ret;
		goto err_put;
	}
	snprintf(queue->name, sizeof(queue->name), "onpu-%s-q%u", dev_name(odev->drm.dev),
		 queue->index);
	queue->vector = onpu_irq_vector_of(odev, queue->index);

	ret = onpu_queue_alloc_memory(queue);
	if (ret)
		goto err_index;
	ret = onpu_queue_init_sched(queue);
	if (ret)
		goto err_memory;

	/* From here on others may see the queue, and teardown undoes everything. */
	onpu_vm_get(vm);
	onpu_file_get(ofile);
	onpu_queue_get(queue);
	xa_store(queues, queue->index, queue, GFP_KERNEL);
	onpu_irq_watch(queue);
	ret = onpu_queue_join_lr(queue);
	if (!ret)
		ret = onpu_queue_create_on_card(queue);
	if (ret) {
		onpu_queue_put_active(queue);
		return ERR_PTR(ret);
	}

	return queue;

err_memory:
	onpu_queue_free_memory(queue);
err_index:
	xa_erase(queues, queue->index);
err_put:
	onpu_queue_put(queue);
	return ERR_PTR(ret);
}

/**
 * onpu_queue_create_kernel() - create a queue of the driver's own
 * @ofile: a file of the driver's own
 * @vm: address space
 *
 * It has no id. Its ring is written by its owner, not by a scheduler.
 *
 * Return: the queue, kept active, or an error pointer. It ends by
 * onpu_queue_destroy_kernel().
 */
struct onpu_queue *onpu_queue_create_kernel(struct onpu_file *ofile, struct onpu_vm *vm)
{
	struct onpu_queue *queue;
	int ret;

	ret = onpu_recovery_enter(ofile->odev);
	if (ret)
		return ERR_PTR(ret);
	queue = onpu_queue_create(ofile, vm, DRM_ONPU_PRIORITY_HIGH, NULL);
	if (!IS_ERR(queue)) {
		/* Nobody outside sees its fences; it must not keep the module. */
		queue->kernel = true;
		module_put(THIS_MODULE);
	}
	onpu_recovery_exit(ofile->odev);

	return queue;
}

/**
 * onpu_queue_destroy_kernel() - destroy a queue of the driver's own
 * @queue: queue with nothing in its ring
 */
void onpu_queue_destroy_kernel(struct onpu_queue *queue)
{
	onpu_queue_kill(queue, &onpu_death_destroyed);
	onpu_queue_put_active(queue);
}

/**
 * onpu_queue_revive_kernel() - make a dead queue of the driver's own work again
 * @queue: queue; all its fences have signalled, no reset can happen now
 *
 * Registers are accessible. Safe where fences are signalled.
 *
 * Return: 0 or a negative error; then it is dead still.
 */
int onpu_queue_revive_kernel(struct onpu_queue *queue)
{
	static const struct onpu_queue_death failed = {
		.error = ONPU_ERR_INTERNAL,
		.guilty = -EIO,
		.others = -EIO,
	};
	int ret;

	/*
	 * Else it would kill the queue that is created here. Waiting for the work itself
	 * would be a cycle to lockdep, for it signals fences as its caller does.
	 */
	smp_rmb();
	wait_event(queue->jobs.wait, !atomic_read(&queue->kills));
	ret = onpu_queue_call(queue, ONPU_MSG_QUEUE_DESTROY, NULL);
	if (ret && ret != -ENOENT)
		return ret;

	spin_lock_irq(&queue->fences.lock);
	WRITE_ONCE(queue->ring.tail, 0);
	memset(&queue->state, 0, sizeof(queue->state));
	spin_unlock_irq(&queue->fences.lock);

	ret = onpu_queue_create_on_card(queue);
	if (ret)
		onpu_queue_mark_dead(queue, &failed);
	return ret;
}

/* Creates a queue, making room for its memory, again after a restart of the firmware. */
static struct onpu_queue *onpu_queue_find_room(struct onpu_file *ofile, struct onpu_vm *vm,
					       const struct drm_onpu_queue_create *args)
{
	bool user = args->flags & DRM_ONPU_QUEUE_USER;
	struct onpu_device *odev = ofile->odev;
	struct onpu_queue *queue;
	struct onpu_room room;
	int ret;

	ret = onpu_room_begin(&room, odev);
	if (ret)
		return ERR_PTR(ret);

	do {
		ret = onpu_recovery_enter(odev);
		if (ret) {
			queue = ERR_PTR(ret);
			break;
		}
		queue = onpu_queue_create(ofile, vm, args->priority, user ? args : NULL);
		onpu_recovery_exit(odev);
	} while (IS_ERR(queue) && (PTR_ERR(queue) == -EAGAIN ||
				   onpu_room_retry(&room, PTR_ERR(queue))));
	onpu_room_end(&room);

	return queue;
}

static int onpu_queue_publish(struct onpu_file *ofile, struct onpu_vm *vm,
			      struct drm_onpu_queue_create *args)
{
	struct onpu_quota *quota;
	struct onpu_queue *queue;
	u32 *id = &args->id;
	int ret;

	/* The number first, so that a file at its limit costs the card nothing. */
	ret = xa_alloc(&ofile->queues, id, NULL, XA_LIMIT(1, ONPU_MAX_FILE_QUEUES), GFP_KERNEL);
	if (ret)
		return ret == -EBUSY ? -ENOSPC : ret;

	quota = onpu_quota_charge(ofile->odev, ONPU_QUOTA_QUEUES);
	if (IS_ERR(quota)) {
		ret = PTR_ERR(quota);
		goto err_erase;
	}
	queue = onpu_queue_find_room(ofile, vm, args);
	if (IS_ERR(queue)) {
		ret = PTR_ERR(queue);
		goto err_uncharge;
	}
	queue->quota = quota;
	if (queue->uqueue) {
		/* Nobody can ring before all is where it should be. */
		onpu_lr_validate(onpu_vm_lr(vm));
		args->doorbell_offset = onpu_uqueue_doorbell_offset(queue);
		args->progress_offset = onpu_uqueue_progress_offset(queue);
	}

	queue->id = *id;
	/* The place is allocated; user space may use the id from here on. */
	xa_store(&ofile->queues, *id, queue, GFP_KERNEL);
	return 0;

err_uncharge:
	onpu_quota_uncharge(ofile->odev, quota, ONPU_QUOTA_QUEUES);
err_erase:
	xa_erase(&ofile->queues, *id);
	return ret;
}

/**
 * onpu_ioctl_queue_create() - DRM_IOCTL_ONPU_QUEUE_CREATE
 * @drm: DRM device, entered
 * @data: struct drm_onpu_queue_create
 * @file: caller
 *
 * Return: 0 or a negative error code, see Documentation/uapi.md.
 */
int onpu_ioctl_queue_create(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_onpu_queue_create *args = data;
	struct onpu_file *ofile = file->driver_priv;
	struct onpu_vm *vm;
	int ret;

	if (ONPU_BAD(drm, args->flags & ~(DRM_ONPU_QUEUE_USER | DRM_ONPU_QUEUE_PROGRESS)) ||
	    ONPU_BAD(drm, args->priority > DRM_ONPU_PRIORITY_REALTIME))
		return -EINVAL;
	ret = onpu_uqueue_check(to_onpu_device(drm), args);
	if (ret)
		return ret;
	if (args->priority > DRM_ONPU_PRIORITY_MEDIUM && !capable(CAP_SYS_NICE))
		return -EACCES;

	vm = onpu_vm_lookup(ofile, args->vm_id);
	if (!vm)
		return -ENOENT;
	if (ONPU_BAD(drm, args->flags & DRM_ONPU_QUEUE_USER && !onpu_vm_lr(vm)))
		ret = -EINVAL;
	else
		ret = onpu_queue_publish(ofile, vm, args);
	onpu_vm_put(vm);
	return ret;
}

/**
 * onpu_ioctl_queue_destroy() - DRM_IOCTL_ONPU_QUEUE_DESTROY
 * @drm: DRM device, entered
 * @data: struct drm_onpu_queue_destroy
 * @file: caller
 *
 * Return: 0 or a negative error code, see Documentation/uapi.md.
 */
int onpu_ioctl_queue_destroy(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_onpu_queue_destroy *args = data;
	struct onpu_file *ofile = file->driver_priv;
	struct onpu_queue *queue;

	if (ONPU_BAD(drm, args->pad))
		return -EINVAL;

	/* An id that is being created has an entry without a queue; it stays. */
	xa_lock(&ofile->queues);
	queue = xa_load(&ofile->queues, args->id);
	if (queue)
		__xa_erase(&ofile->queues, args->id);
	xa_unlock(&ofile->queues);
	if (!queue)
		return -ENOENT;

	onpu_queue_get(queue);
	onpu_queue_kill(queue, &onpu_death_destroyed);
	onpu_queue_put_active(queue);
	/* The jobs of others have fences that tell when the card has let go of the memory. */
	if (queue->uqueue)
		wait_for_completion_killable_timeout(&queue->gone,
						     msecs_to_jiffies(ONPU_CLOSE_TIMEOUT_MS));
	onpu_queue_put(queue);
	return 0;
}

/**
 * onpu_ioctl_queue_get_state() - DRM_IOCTL_ONPU_QUEUE_GET_STATE
 * @drm: DRM device
 * @data: struct drm_onpu_queue_get_state
 * @file: caller
 *
 * Return: 0 or a negative error code, see Documentation/uapi.md.
 */
int onpu_ioctl_queue_get_state(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_onpu_queue_get_state *args = data;
	struct onpu_queue *queue;

	if (ONPU_BAD(drm, args->pad))
		return -EINVAL;

	queue = onpu_queue_lookup(file->driver_priv, args->id);
	if (!queue)
		return -ENOENT;

	spin_lock_irq(&queue->fences.lock);
	args->flags = queue->state.flags;
	args->error = queue->state.error;
	args->fault_info = queue->state.fault_info;
	args->fault_va = queue->state.fault_va;
	args->opcode = queue->state.opcode;
	spin_unlock_irq(&queue->fences.lock);
	args->jobs_completed = atomic64_read(&queue->jobs.completed);
	args->jobs_submitted = atomic64_read(&queue->jobs.submitted);

	onpu_queue_put_active(queue);
	return 0;
}

/**
 * onpu_queue_file_close() - destroy the queues of a file
 * @ofile: file that is being closed; no ioctl of it is under way
 *
 * Waits, bounded, until they have left the card, so that whoever waits for the
 * process finds its memory free and the module unloadable. A job that waits
 * for somebody else's fence may take longer; it is left to itself.
 */
void onpu_queue_file_close(struct onpu_file *ofile)
{
	unsigned long left = msecs_to_jiffies(ONPU_CLOSE_TIMEOUT_MS);
	struct onpu_queue *queue;
	unsigned long id;

	/* First all, so that they stop together, then wait for each. */
	xa_for_each(&ofile->queues, id, queue) {
		onpu_queue_get(queue);
		onpu_queue_kill(queue, &onpu_death_destroyed);
		onpu_queue_put_active(queue);
	}
	xa_for_each(&ofile->queues, id, queue) {
		if (left)
			left = wait_for_completion_timeout(&queue->gone, left);
		xa_erase(&ofile->queues, id);
		onpu_queue_put(queue);
	}
}

static u64 onpu_queue_file_running_ns(struct onpu_file *ofile)
{
	struct onpu_queue *queue;
	unsigned long id;
	u64 ns = 0;
	int idx;

	if (!drm_dev_enter(&ofile->odev->drm, &idx))
		return 0;
	/* The lock keeps each queue active: who takes an id away needs it. */
	xa_lock(&ofile->queues);
	xa_for_each(&ofile->queues, id, queue)
		ns += queue->uqueue ? 0 : onpu_fence_running_ns(queue);
	xa_unlock(&ofile->queues);

	for (id = 1; id <= ONPU_MAX_FILE_QUEUES; id++) {
		queue = onpu_queue_lookup(ofile, id);
		if (!queue)
			continue;
		if (queue->uqueue)
			ns += onpu_queue_user_busy_ns(queue);
		onpu_queue_put_active(queue);
	}
	drm_dev_exit(idx);

	return ns;
}

static void onpu_queue_show_counts(struct drm_printer *p, struct onpu_file *ofile)
{
	u32 vms = 0, queues = 0, user = 0, dead = 0;
	struct onpu_queue *queue;
	unsigned long id;
	void *vm;

	xa_lock(&ofile->vms);
	xa_for_each(&ofile->vms, id, vm)
		vms++;
	xa_unlock(&ofile->vms);

	/* As above: each is active as long as the lock is held. */
	xa_lock(&ofile->queues);
	xa_for_each(&ofile->queues, id, queue) {
		queues++;
		user += !!queue->uqueue;
		dead += onpu_queue_is_dead(queue);
	}
	xa_unlock(&ofile->queues);

	drm_printf(p, "onpu-contexts:\t%u\n", vms);
	drm_printf(p, "onpu-queues:\t%u\n", queues);
	drm_printf(p, "onpu-user-queues:\t%u\n", user);
	drm_printf(p, "onpu-dead-queues:\t%u\n", dead);
	drm_printf(p, "onpu-jobs:\t%lld\n", atomic64_read(&ofile->jobs));
	drm_printf(p, "onpu-hangs:\t%lld\n", atomic64_read(&ofile->guilt.hangs));
	drm_printf(p, "onpu-faults:\t%lld\n", atomic64_read(&ofile->guilt.faults));
	drm_printf(p, "onpu-errors:\t%lld\n", atomic64_read(&ofile->guilt.errors));
}

/**
 * onpu_queue_show_fdinfo() - print the engine lines of fdinfo, and those of queues
 * @p: printer
 * @ofile: file
 *
 * Times that the card stored, plus what the running jobs have run until now. Of
 * user-mode queues the firmware is asked.
 */
void onpu_queue_show_fdinfo(struct drm_printer *p, struct onpu_file *ofile)
{
	s64 ns = atomic64_read(&ofile->busy_ns) + onpu_queue_file_running_ns(ofile);
	s64 shown = atomic64_read(&ofile->busy_shown);

	do {
		if (ns <= shown) {
			ns = shown;
			break;
		}
	} while (!atomic64_try_cmpxchg(&ofile->busy_shown, &shown, ns));

	drm_printf(p, "drm-engine-matmul:\t%lld ns\n", ns);
	drm_printf(p, "drm-engine-capacity-matmul:\t%u\n", ofile->odev->caps.slots);
	onpu_queue_show_counts(p, ofile);
}

/**
 * onpu_queue_pause() - give the ring no more jobs
 * @queue: queue, active
 */
void onpu_queue_pause(struct onpu_queue *queue)
{
	if (!queue->uqueue)
		drm_sched_wqueue_stop(&queue->sched);
}

/**
 * onpu_queue_unpause() - end of onpu_queue_pause()
 * @queue: queue, active
 */
void onpu_queue_unpause(struct onpu_queue *queue)
{
	if (!queue->uqueue)
		drm_sched_wqueue_start(&queue->sched);
}

static void onpu_queue_mgr_fini(struct drm_device *drm, void *data)
{
	struct onpu_queue_mgr *mgr = data;

	WARN_ON(!xa_empty(&mgr->queues));
	xa_destroy(&mgr->queues);
	destroy_workqueue(mgr->wq);
}

/**
 * onpu_queue_mgr_init() - prepare a card for queues
 * @odev: card
 *
 * Return: 0 or -ENOMEM.
 */
int onpu_queue_mgr_init(struct onpu_device *odev)
{
	struct onpu_queue_mgr *mgr;

	mgr = drmm_kzalloc(&odev->drm, sizeof(*mgr), GFP_KERNEL);
	if (!mgr)
		return -ENOMEM;

	/* Not unbound: another CPU may have to be woken first, which takes longer than a job. */
	mgr->wq = alloc_workqueue("onpu-sched-%s", WQ_MEM_RECLAIM | WQ_HIGHPRI | WQ_PERCPU, 0,
				  dev_name(odev->drm.dev));
	if (!mgr->wq)
		return -ENOMEM;
	xa_init_flags(&mgr->queues, XA_FLAGS_ALLOC);
	odev->queue_mgr = mgr;

	return drmm_add_action_or_reset(&odev->drm, onpu_queue_mgr_fini, mgr);
}

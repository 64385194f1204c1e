// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Jobs
 *
 * A job takes one place of its queue's ring: four packets that store the time,
 * call the user's packets, store the time again, and store the sequence number
 * with an interrupt. The called packets run unprivileged, so they cannot touch
 * the ring or the page that the other three write. One place always stays
 * free: the card may still count the packet whose store ended a job.
 *
 * Jobs of one SUBMIT go together as long as nobody can tell: when only the first
 * one waits for something, and only the last one signals anything. They are one
 * job to the scheduler then, with one fence, one write to the doorbell and one
 * interrupt, but each has its place, its times and its number, so that the
 * watchdog and the accounts see them one by one.
 *
 * A job that has nothing to wait for, when the scheduler has none of the queue either,
 * is put into the ring by the SUBMIT itself: for a short job the scheduler's
 * way to its worker and back takes longer than all the rest. Nothing can overtake
 * another: the reservation of the VM, held by whoever pushes jobs, and
 * &onpu_queue.jobs.scheduled, which drops when the scheduler's worker is through
 * with the ring, leave the ring to one writer at a time. Half of the ring is the
 * scheduler's, half is for these. A reset from outside, which stops the
 * schedulers, is kept away meanwhile (onpu_recovery_try_block()).
 *
 * run_job allocates nothing, sleeps for nothing and takes no lock but the one
 * of the fences: other work may wait for what it does. The scheduler's own
 * timeout is not used; see the watchdog in onpu_queue.c, which counts the time
 * that a job has been running, not waiting for a slot.
 */

#include <linux/slab.h>

#include <drm/onpu_accel.h>

#include <onpu/packet.h>

#include "onpu_bo.h"
#include "onpu_device.h"
#include "onpu_fence.h"
#include "onpu_irq.h"
#include "onpu_job.h"
#include "onpu_queue.h"
#include "onpu_recovery.h"

static struct onpu_job *to_onpu_job(struct drm_sched_job *base)
{
	return container_of(base, struct onpu_job, base);
}

static void onpu_job_make_packets(struct onpu_queue *queue, const struct onpu_job_cmds *cmds,
				  u64 seqno, u32 place, struct onpu_packet *p)
{
	u64 times = queue->page.va + offsetof(struct onpu_queue_page, times) +
		    place * sizeof(struct onpu_job_times);

	memset(p, 0, ONPU_JOB_PACKETS * sizeof(*p));
	p[0].opcode = ONPU_OP_TIMESTAMP;
	p[0].timestamp.va = times + offsetof(struct onpu_job_times, start);
	if (cmds->count) {
		p[1].opcode = ONPU_OP_CALL;
		p[1].call.va = cmds->va;
		p[1].call.count = cmds->count;
	} else {
		p[1].opcode = ONPU_OP_NOP;
	}
	p[2].opcode = ONPU_OP_TIMESTAMP;
	p[2].timestamp.va = times + offsetof(struct onpu_job_times, end);
	p[3].opcode = ONPU_OP_SIGNAL;
	p[3].signal.va = queue->page.va + offsetof(struct onpu_queue_page, seqno);
	p[3].signal.value = seqno;
}

static void onpu_job_put(struct onpu_job *job, u32 i)
{
	struct onpu_queue *queue = job->queue;
	struct onpu_queue_page __iomem *page = queue->page.bo->kmap;
	const u32 places = (1 << queue->ring.order) / ONPU_JOB_PACKETS;
	u64 seqno = job->fence->base.seqno - job->count + 1 + i;
	u32 first = queue->ring.tail & ((1 << queue->ring.order) - 1);
	struct onpu_packet packets[ONPU_JOB_PACKETS];
	u32 place = seqno % places;

	onpu_job_make_packets(queue, &job->cmds[i], seqno, place, packets);
	if (i == job->count - 1)
		packets[ONPU_JOB_PACKETS - 1].flags = ONPU_PKT_IRQ;
	writeq(0, &page->times[place].start);
	writeq(0, &page->times[place].end);
	__iowrite64_copy(queue->ring.bo->kmap + first * sizeof(packets[0]), packets,
			 ONPU_JOB_PACKETS * (ONPU_PACKET_SIZE / sizeof(u64)));
	queue->ring.tail += ONPU_JOB_PACKETS;
}

static void onpu_job_ring(struct onpu_job *job)
{
	u32 i;

	for (i = 0; i < job->count; i++)
		onpu_job_put(job, i);
	/* Write-combined memory: the packets, then the doorbell. */
	wmb();
	onpu_queue_ring_doorbell(job->queue);
	/* What is short may be done, and its interrupt still on the way to another CPU. */
	onpu_fence_process(job->queue);
}

/**
 * onpu_job_half_ring() - jobs in the ring that the scheduler may have, or others
 * @queue: queue
 *
 * Return: jobs, at least 2; one less for the scheduler.
 */
u32 onpu_job_half_ring(const struct onpu_queue *queue)
{
	return (1 << queue->ring.order) / ONPU_JOB_PACKETS / 2;
}

/* The scheduler is through with the job's part of the ring. */
static void onpu_job_ran(struct onpu_job *job)
{
	if (job->ran)
		return;
	job->ran = true;
	/* Pairs with onpu_job_run_directly(): the ring's tail, then this. */
	smp_mb__before_atomic();
	atomic_dec(&job->queue->jobs.scheduled);
}

/**
 * onpu_job_rewind() - move the jobs in the ring to where it begins
 * @queue: queue that is on no card now and gets no jobs; the card has begun none of them
 * @buf: room for the ring
 */
void onpu_job_rewind(struct onpu_queue *queue, void *buf)
{
	const u32 size = 1 << queue->ring.order, packet = sizeof(struct onpu_packet);
	void __iomem *ring = queue->ring.bo->kmap;
	u32 count = onpu_fence_count(queue) * ONPU_JOB_PACKETS, i;
	u32 first = queue->ring.tail - count;

	for (i = 0; i < count; i++)
		memcpy_fromio(buf + i * packet, ring + ((first + i) & (size - 1)) * packet, packet);
	memcpy_toio(ring, buf, count * packet);
	/* They must be there before the doorbell is rung. */
	wmb();
	WRITE_ONCE(queue->ring.tail, count);
}

static struct dma_fence *onpu_job_run(struct drm_sched_job *base)
{
	struct onpu_job *job = to_onpu_job(base);
	struct onpu_queue *queue = job->queue;
	int idx, ret = -ENODEV;

	if (drm_dev_enter(&queue->odev->drm, &idx)) {
		ret = onpu_fence_begin(job->fence);
		if (!ret)
			onpu_job_ring(job);
		drm_dev_exit(idx);
	}
	onpu_job_ran(job);
	if (ret) {
		atomic64_add(job->count, &queue->jobs.completed);
		atomic64_add(job->count, &queue->ofile->jobs);
		return ERR_PTR(ret);
	}

	return dma_fence_get(&job->fence->base);
}

static void onpu_job_free(struct drm_sched_job *base)
{
	struct onpu_job *job = to_onpu_job(base);
	struct onpu_queue *queue = job->queue;
	u32 count = job->count;

	onpu_job_ran(job);
	onpu_fence_adopt(job->fence, base->s_fence);
	drm_sched_job_cleanup(base);
	onpu_fence_drop(job->fence);
	kfree(job);
	onpu_job_unreserve(queue, count);
	/* No interrupt tells of jobs that never ran. */
	if (onpu_queue_is_dead(queue))
		onpu_irq_notify(queue);
	onpu_queue_put_active(queue);
}

/** onpu_sched_ops - what the scheduler of a queue calls */
const struct drm_sched_backend_ops onpu_sched_ops = {
	.run_job = onpu_job_run,
	.free_job = onpu_job_free,
};

static bool onpu_job_try_reserve(struct onpu_queue *queue, u32 count)
{
	int old = atomic_read(&queue->jobs.in_flight);

	do {
		if (old + count > ONPU_MAX_JOBS_IN_FLIGHT)
			return false;
	} while (!atomic_try_cmpxchg(&queue->jobs.in_flight, &old, old + count));

	return true;
}

/**
 * onpu_job_reserve() - wait until a queue takes so many more jobs
 * @queue: queue, active
 * @count: jobs, at most ONPU_MAX_JOBS_PER_SUBMIT
 *
 * Return: 0 with the places taken, -ECANCELED when the queue is dead,
 * -ERESTARTSYS.
 */
int onpu_job_reserve(struct onpu_queue *queue, u32 count)
{
	bool reserved = false;
	int ret;

	ret = wait_event_interruptible(queue->jobs.wait,
				       (reserved = onpu_job_try_reserve(queue, count)) ||
				       onpu_queue_is_dead(queue));
	if (ret)
		return ret;
	if (!onpu_queue_is_dead(queue))
		return 0;
	if (reserved)
		onpu_job_unreserve(queue, count);
	return -ECANCELED;
}

/**
 * onpu_job_unreserve() - give places back
 * @queue: queue, active
 * @count: jobs
 */
void onpu_job_unreserve(struct onpu_queue *queue, u32 count)
{
	atomic_sub(count, &queue->jobs.in_flight);
	wake_up(&queue->jobs.wait);
}

/**
 * onpu_job_create() - make a job that can be armed
 * @queue: queue, active; the job keeps it so, and has a place of it reserved
 * @file: file that submits it
 * @args: what user space asks for, checked
 * @room: how many may go as one job, at least 1
 *
 * Return: the job, or an error pointer.
 */
struct onpu_job *onpu_job_create(struct onpu_queue *queue, struct drm_file *file,
				 const struct drm_onpu_job *args, u32 room)
{
	struct onpu_job *job;
	int ret;

	room = min3(room, ONPU_JOB_GROUP_MAX, onpu_job_half_ring(queue) - 1);
	job = kzalloc(struct_size(job, cmds, room), GFP_KERNEL);
	if (!job)
		return ERR_PTR(-ENOMEM);
	job->room = room;

	job->fence = onpu_fence_alloc(queue, GFP_KERNEL);
	if (!job->fence) {
		ret = -ENOMEM;
		goto err_free;
	}

	ret = drm_sched_job_init(&job->base, &queue->entity, 1, queue, file->client_id);
	if (ret)
		goto err_drop_fence;

	job->count = 1;
	job->cmds[0].va = args->cmd_va;
	job->cmds[0].count = args->cmd_count;
	job->queue = queue;
	/* The caller holds the queue active, so this cannot fail. */
	kref_get(&queue->active);
	return job;

err_drop_fence:
	onpu_fence_drop(job->fence);
err_free:
	kfree(job);
	return ERR_PTR(ret);
}

/**
 * onpu_job_join() - let another job of the same SUBMIT go with a job
 * @job: job that was not armed and signals nothing
 * @args: what user space asks for, checked; it waits for nothing
 *
 * Return: false when there is no room for it.
 */
bool onpu_job_join(struct onpu_job *job, const struct drm_onpu_job *args)
{
	if (job->count == job->room)
		return false;
	job->cmds[job->count].va = args->cmd_va;
	job->cmds[job->count].count = args->cmd_count;
	job->count++;
	job->base.credits++;
	job->fence->jobs++;
	return true;
}

/**
 * onpu_job_push() - give a job to the scheduler
 * @job: job, armed, with the reservation of its VM held
 */
void onpu_job_push(struct onpu_job *job)
{
	atomic_inc(&job->queue->jobs.scheduled);
	drm_sched_entity_push_job(&job->base);
}

static bool onpu_job_waits(struct onpu_job *job)
{
	struct dma_fence *fence;
	unsigned long i;

	xa_for_each(&job->base.dependencies, i, fence)
		if (!dma_fence_is_signaled(fence))
			return true;
	return false;
}

/* Puts the job into the ring, without the scheduler. */
static bool onpu_job_try_ring(struct onpu_job *job)
{
	struct onpu_device *odev = job->queue->odev;
	bool rung = false;
	int idx;

	/* Who is being reset or unplugged has a scheduler that sees to it. */
	if (!onpu_recovery_try_block(odev))
		return false;
	if (drm_dev_enter(&odev->drm, &idx)) {
		job->fence->direct = true;
		rung = !onpu_fence_begin(job->fence);
		if (rung)
			onpu_job_ring(job);
		else
			job->fence->direct = false;
		drm_dev_exit(idx);
	}
	onpu_recovery_exit(odev);

	return rung;
}

/**
 * onpu_job_run_directly() - run a job without the scheduler, if that can be
 * @job: the only job of a SUBMIT, not armed, with the reservation of its VM held;
 *	it is gone when a fence is returned
 *
 * Return: its fence, with a reference, or NULL: the scheduler must have it.
 */
struct dma_fence *onpu_job_run_directly(struct onpu_job *job)
{
	struct onpu_fence *fence = job->fence;

	/* Acquire: what the scheduler's worker did to the ring. */
	if (atomic_read_acquire(&job->queue->jobs.scheduled) || onpu_job_waits(job))
		return NULL;
	if (!onpu_job_try_ring(job))
		return NULL;

	/* Its place and its hold on the queue are the fence's. */
	drm_sched_job_cleanup(&job->base);
	kfree(job);
	return &fence->base;
}

/**
 * onpu_job_abort() - undo onpu_job_create() of a job that was not armed
 * @job: job
 *
 * Its place in the queue stays reserved.
 */
void onpu_job_abort(struct onpu_job *job)
{
	struct onpu_queue *queue = job->queue;

	drm_sched_job_cleanup(&job->base);
	onpu_fence_drop(job->fence);
	kfree(job);
	onpu_queue_put_active(queue);
}

// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Fences of kernel queues
 *
 * Jobs of a queue end in order, so one 64-bit number tells which have ended:
 * each job's last packet stores its sequence number into the queue's page. The
 * last one of those that share a fence (onpu_job.c) interrupts, and the handler
 * signals the fences up to that number.
 *
 * Two hazards of the scheduler of 6.12 are met here. The timeline name of a
 * scheduler fence is read from the scheduler even long after it signalled, so
 * the scheduler, which is part of the queue, must not be freed before the last
 * such fence: every fence of ours holds the queue, and every scheduler fence
 * holds one of ours as its parent; those of jobs that never ran get one too
 * (onpu_fence_adopt()). And the text of these functions must stay: the queue
 * holds the module.
 *
 * Locking: &onpu_queue.fences.lock, taken in hard interrupt context, is the
 * lock of the fences and covers the list. Callbacks of fences run under it.
 * A fence is released outside it, for its release may free the queue.
 */

#include <linux/slab.h>

#include <drm/gpu_scheduler.h>

#include "onpu_bo.h"
#include "onpu_device.h"
#include "onpu_fence.h"
#include "onpu_irq.h"
#include "onpu_job.h"
#include "onpu_queue.h"

static const struct dma_fence_ops onpu_fence_ops;

static struct onpu_fence *to_onpu_fence(struct dma_fence *fence)
{
	return container_of(fence, struct onpu_fence, base);
}

static const char *onpu_fence_get_driver_name(struct dma_fence *fence)
{
	return "onpu";
}

static const char *onpu_fence_get_timeline_name(struct dma_fence *fence)
{
	return to_onpu_fence(fence)->queue->name;
}

static void onpu_fence_release(struct dma_fence *base)
{
	struct onpu_queue *queue = to_onpu_fence(base)->queue;

	BUILD_BUG_ON(offsetof(struct onpu_fence, base));
	dma_fence_free(base);
	onpu_queue_put(queue);
}

static const struct dma_fence_ops onpu_fence_ops = {
	.get_driver_name = onpu_fence_get_driver_name,
	.get_timeline_name = onpu_fence_get_timeline_name,
	.release = onpu_fence_release,
};

/**
 * onpu_fence_alloc() - allocate the fence of a job
 * @queue: queue of the job; the fence references it
 * @gfp: how to allocate
 *
 * It becomes a fence by onpu_fence_begin() or onpu_fence_adopt(); before, it
 * goes by onpu_fence_drop().
 *
 * Return: the fence or NULL.
 */
struct onpu_fence *onpu_fence_alloc(struct onpu_queue *queue, gfp_t gfp)
{
	struct onpu_fence *fence = kzalloc(sizeof(*fence), gfp);

	if (!fence)
		return NULL;
	onpu_queue_get(queue);
	fence->queue = queue;
	fence->jobs = 1;
	INIT_LIST_HEAD(&fence->node);
	return fence;
}

/**
 * onpu_fence_drop() - let go of the fence of a job that ends
 * @fence: fence
 */
void onpu_fence_drop(struct onpu_fence *fence)
{
	if (fence->base.ops) {
		dma_fence_put(&fence->base);
		return;
	}
	onpu_queue_put(fence->queue);
	kfree(fence);
}

/**
 * onpu_fence_begin() - jobs go into the ring
 * @fence: their fence, with the last one's sequence number when 0 is returned
 *
 * Called by whoever writes the ring: run_job, or a SUBMIT of which the scheduler
 * has no part.
 *
 * Return: 0; -EBUSY when there is no room for a direct one; or the error that the
 * job ends with because the queue is dead.
 */
int onpu_fence_begin(struct onpu_fence *fence)
{
	struct onpu_queue *queue = fence->queue;
	int ret = 0;

	spin_lock_irq(&queue->fences.lock);
	if (queue->state.flags & DRM_ONPU_QUEUE_DEAD) {
		ret = queue->state.others;
		goto out_unlock;
	}
	if (fence->direct) {
		if (queue->fences.direct + fence->jobs > onpu_job_half_ring(queue)) {
			ret = -EBUSY;
			goto out_unlock;
		}
		queue->fences.direct += fence->jobs;
	}
	queue->fences.seqno += fence->jobs;
	dma_fence_init(&fence->base, &onpu_fence_ops, &queue->fences.lock,
		       queue->fences.context, queue->fences.seqno);
	dma_fence_get(&fence->base);
	list_add_tail(&fence->node, &queue->fences.list);
	if (list_is_singular(&queue->fences.list))
		onpu_queue_watch(queue);

out_unlock:
	spin_unlock_irq(&queue->fences.lock);
	return ret;
}

/**
 * onpu_fence_adopt() - tie the scheduler fence of a job that never ran to the queue
 * @fence: the job's fence
 * @s_fence: its scheduler fence, signalled
 */
void onpu_fence_adopt(struct onpu_fence *fence, struct drm_sched_fence *s_fence)
{
	struct onpu_queue *queue = fence->queue;

	if (s_fence->parent)
		return;
	if (!fence->base.ops) {
		dma_fence_init(&fence->base, &onpu_fence_ops, &queue->fences.lock,
			       queue->fences.context, 0);
		dma_fence_set_error(&fence->base, -ECANCELED);
		dma_fence_signal(&fence->base);
	}
	/* Read by drm_sched_fence_set_deadline_finished() with acquire. */
	smp_store_release(&s_fence->parent, dma_fence_get(&fence->base));
}

/* Number of the first of the jobs of a fence. */
static u64 onpu_fence_first(const struct onpu_fence *fence)
{
	return fence->base.seqno - fence->jobs + 1;
}

/* How long the jobs of a fence have been running; one that did not get to its end, until now. */
static u64 onpu_fence_ran(struct onpu_queue *queue, const struct onpu_fence *fence)
{
	const u32 places = (1 << queue->ring.order) / ONPU_JOB_PACKETS;
	struct onpu_queue_page __iomem *page = queue->page.bo->kmap;
	u64 seqno, sum = 0;

	for (seqno = onpu_fence_first(fence); seqno <= fence->base.seqno; seqno++) {
		u64 start = readq(&page->times[seqno % places].start);
		u64 end = readq(&page->times[seqno % places].end);

		if (start && !end)
			end = onpu_read64(queue->odev, ONPU_REG_TIME);
		/* Whatever the card wrote, and if it is gone, the sum must not run backwards. */
		if (start && end > start && end - start < S64_MAX / (ONPU_RING_JOBS_MAX + 1))
			sum += end - start;
	}

	return sum;
}

static void onpu_fence_account(struct onpu_queue *queue, const struct onpu_fence *fence)
{
	atomic64_add(onpu_fence_ran(queue, fence), &queue->ofile->busy_ns);
}

static void onpu_fence_end(struct onpu_queue *queue, struct onpu_fence *fence, int error,
			   struct list_head *done)
{
	lockdep_assert_held(&queue->fences.lock);

	/* Who saw the fence must find the jobs counted. */
	atomic64_add(fence->jobs, &queue->jobs.completed);
	atomic64_add(fence->jobs, &queue->ofile->jobs);
	if (fence->direct)
		queue->fences.direct -= fence->jobs;
	list_move_tail(&fence->node, done);
	if (error)
		dma_fence_set_error(&fence->base, error);
	dma_fence_signal_locked(&fence->base);
}

static void onpu_fence_end_finished(struct onpu_queue *queue, struct list_head *done)
{
	struct onpu_queue_page __iomem *page;
	struct onpu_fence *fence, *next;
	u64 seqno;

	lockdep_assert_held(&queue->fences.lock);

	/* A user-mode queue never has any, nor a page. */
	if (list_empty(&queue->fences.list))
		return;

	page = queue->page.bo->kmap;
	seqno = readq(&page->seqno);
	/* Nonsense, for instance all ones when the card is gone. */
	if (seqno > queue->fences.seqno)
		return;

	list_for_each_entry_safe(fence, next, &queue->fences.list, node) {
		if (fence->base.seqno > seqno)
			break;
		onpu_fence_account(queue, fence);
		onpu_fence_end(queue, fence, 0, done);
	}
}

static void onpu_fence_put_all(struct list_head *done)
{
	struct onpu_fence *fence, *next;

	list_for_each_entry_safe(fence, next, done, node) {
		list_del_init(&fence->node);
		if (fence->direct) {
			onpu_job_unreserve(fence->queue, fence->jobs);
			onpu_queue_put_active(fence->queue);
		}
		dma_fence_put(&fence->base);
	}
}

/**
 * onpu_fence_process() - signal the fences of the jobs that have ended
 * @queue: queue, active, or kept on the list of its vector
 *
 * Any context. Card memory is accessible.
 */
void onpu_fence_process(struct onpu_queue *queue)
{
	unsigned long flags;
	LIST_HEAD(done);

	spin_lock_irqsave(&queue->fences.lock, flags);
	onpu_fence_end_finished(queue, &done);
	spin_unlock_irqrestore(&queue->fences.lock, flags);

	onpu_fence_put_all(&done);
}

/* The first of the jobs of a fence that has not ended. */
static u64 onpu_fence_current(struct onpu_queue *queue, const struct onpu_fence *fence)
{
	struct onpu_queue_page __iomem *page = queue->page.bo->kmap;
	u64 first = onpu_fence_first(fence), done = 0;
	int idx;

	if (fence->jobs > 1 && drm_dev_enter(&queue->odev->drm, &idx)) {
		done = readq(&page->seqno);
		drm_dev_exit(idx);
	}

	return done >= first && done < fence->base.seqno ? done + 1 : first;
}

/**
 * onpu_fence_cancel() - end the jobs of a dead queue
 * @queue: queue, active and dead; nothing of it executes any more
 *
 * Jobs that were done count as such; the oldest of the others is the one that
 * was running.
 */
void onpu_fence_cancel(struct onpu_queue *queue)
{
	struct onpu_fence *fence, *next;
	LIST_HEAD(done);
	int idx, error;

	spin_lock_irq(&queue->fences.lock);
	if (drm_dev_enter(&queue->odev->drm, &idx)) {
		onpu_fence_end_finished(queue, &done);
		fence = list_first_entry_or_null(&queue->fences.list, struct onpu_fence, node);
		if (fence)
			onpu_fence_account(queue, fence);
		drm_dev_exit(idx);
	}
	/* Of jobs that share a fence the last one counts. */
	fence = list_first_entry_or_null(&queue->fences.list, struct onpu_fence, node);
	if (fence && onpu_fence_current(queue, fence) == fence->base.seqno)
		error = queue->state.guilty;
	else
		error = queue->state.others;
	list_for_each_entry_safe(fence, next, &queue->fences.list, node) {
		onpu_fence_end(queue, fence, error, &done);
		error = queue->state.others;
	}
	spin_unlock_irq(&queue->fences.lock);

	onpu_fence_put_all(&done);
	/* Who was told of the queue's death may have looked before the jobs had ended. */
	onpu_irq_notify(queue);
}

/**
 * onpu_fence_oldest() - oldest job in the ring
 * @queue: queue, active
 *
 * Return: its sequence number, or 0 when the ring is empty.
 */
u64 onpu_fence_oldest(struct onpu_queue *queue)
{
	struct onpu_fence *fence;
	u64 seqno = 0;

	spin_lock_irq(&queue->fences.lock);
	fence = list_first_entry_or_null(&queue->fences.list, struct onpu_fence, node);
	if (fence)
		seqno = onpu_fence_current(queue, fence);
	spin_unlock_irq(&queue->fences.lock);

	return seqno;
}

/**
 * onpu_fence_running_ns() - time of jobs that is not accounted yet
 * @queue: kernel queue, active; card memory and registers are accessible
 *
 * Return: nanoseconds for which the jobs of the oldest fence have been running.
 */
u64 onpu_fence_running_ns(struct onpu_queue *queue)
{
	struct onpu_fence *fence;
	u64 ns = 0;

	spin_lock_irq(&queue->fences.lock);
	fence = list_first_entry_or_null(&queue->fences.list, struct onpu_fence, node);
	if (fence)
		ns = onpu_fence_ran(queue, fence);
	spin_unlock_irq(&queue->fences.lock);

	return ns;
}

/**
 * onpu_fence_count() - jobs in the ring
 * @queue: queue, active; nothing of it executes
 *
 * Return: how many have not ended; each has a place and a number.
 */
u32 onpu_fence_count(struct onpu_queue *queue)
{
	const u32 places = (1 << queue->ring.order) / ONPU_JOB_PACKETS;
	struct onpu_queue_page __iomem *page;
	u64 count = 0;

	spin_lock_irq(&queue->fences.lock);
	if (!list_empty(&queue->fences.list)) {
		page = queue->page.bo->kmap;
		count = queue->fences.seqno - readq(&page->seqno);
	}
	spin_unlock_irq(&queue->fences.lock);

	/* Whatever the card wrote. */
	return min_t(u64, count, places);
}

/**
 * onpu_fence_is_unfinished() - whether the ring has jobs that have not ended
 * @queue: queue, active; nothing of it executes
 *
 * Those that have ended, and nobody was told, do not count, and remain so.
 *
 * Return: true when there is one.
 */
bool onpu_fence_is_unfinished(struct onpu_queue *queue)
{
	struct onpu_queue_page __iomem *page;
	bool unfinished = false;
	u64 seqno;

	spin_lock_irq(&queue->fences.lock);
	if (!list_empty(&queue->fences.list)) {
		page = queue->page.bo->kmap;
		seqno = readq(&page->seqno);
		unfinished = seqno != queue->fences.seqno;
	}
	spin_unlock_irq(&queue->fences.lock);

	return unfinished;
}

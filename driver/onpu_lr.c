// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Long-running address spaces
 *
 * The queues of a long-running VM belong to user space: jobs of theirs may run for
 * ever, and nothing tells when one ends. So no fence keeps the memory that they use
 * where it is. Instead a *preempt fence* does, one for the whole VM: it is in the
 * reservations of the VM and of all shared buffer objects in it. Who waits for it, to
 * move such an object, has the firmware suspend the context, in bounded time; then
 * the fence signals. Work on a queue of its own brings back what was moved, arms
 * another fence and has the context go on.
 *
 * Between the two the context may stay suspended for as long as it takes to find
 * memory. Nobody in the kernel waits for that but VM_BIND and QUEUE_CREATE of the
 * VM itself. When no memory is found, the queues of the VM are killed.
 *
 * A context that was resumed runs for a while before it is suspended again,
 * so that two address spaces that do not fit together both get on.
 *
 * One whose queues have nothing to do when it is suspended stays so, and its memory
 * stays where it was moved: it *dozes*. Its doorbells are taken out of the processes'
 * page tables, so that the next who rings one faults, and that wakes it. The ring is
 * not lost, for the card remembers doorbells of suspended queues. So idle processes
 * can have more memory together than the card, at no cost.
 *
 * While it has no queues of user space, such a VM also takes kernel queues, whose jobs
 * have fences as anywhere. Never both at a time: a job's fence would keep memory that
 * the suspended context has to get back before it, and so perhaps the job, goes on.
 *
 * Locking: &onpu_lr.lock is held over the messages that suspend and resume, where
 * fences are signalled; nothing is allocated under it, and no reservation is locked. It
 * is taken inside reservations. enable_signaling() takes no lock: it
 * queues work.
 */

#include <linux/delay.h>
#include <linux/module.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_managed.h>

#include "onpu_device.h"
#include "onpu_lr.h"
#include "onpu_mbox.h"
#include "onpu_queue.h"
#include "onpu_recovery.h"
#include "onpu_vm.h"

/* A context runs so long, at least, before it is suspended again. */
#define ONPU_LR_MIN_RUN_MS	5
/* How often, and how long, memory is looked for before the queues are killed. */
#define ONPU_LR_TRIES		200
#define ONPU_LR_RETRY_MS	20

/**
 * struct onpu_preempt - a preempt fence
 */
struct onpu_preempt {
	/** @base: fence; first, so that dma_fence_free() frees it all */
	struct dma_fence base;
	/** @lock: of the fence */
	spinlock_t lock;
	/** @lr: address space; valid while not signalled */
	struct onpu_lr *lr;
};

/**
 * struct onpu_lr - what makes an address space long-running
 */
struct onpu_lr {
	/** @vm: address space that this belongs to */
	struct onpu_vm *vm;
	/** @odev: card */
	struct onpu_device *odev;
	/** @lock: protects @fence to @since */
	struct mutex lock;
	/** @fence: armed, with a reference; NULL while the context does not run */
	struct onpu_preempt *fence;
	/** @queues: queues of user space on the card */
	u32 queues;
	/** @kernel_queues: queues of the other kind; if there are any, @queues is 0 */
	u32 kernel_queues;
	/** @suspended: the firmware was told to suspend the context */
	bool suspended;
	/** @dozing: doorbells are not mapped until one is rung; read without the lock too */
	bool dozing;
	/** @woken: one has been; atomic */
	bool woken;
	/** @since: jiffies when it was resumed last; read without the lock too */
	unsigned long since;
	/** @context: fence context */
	u64 context;
	/** @seqno: of the last fence; used by @validate_work only */
	u64 seqno;
	/** @preempt_work: suspends; part of signalling fences */
	struct delayed_work preempt_work;
	/** @validate_work: brings back and resumes; holds a reference on @vm while queued */
	struct work_struct validate_work;
};

/* --- the fence --------------------------------------------------------------------- */

static const char *preempt_get_driver_name(struct dma_fence *fence)
{
	return "onpu";
}

static const char *preempt_get_timeline_name(struct dma_fence *fence)
{
	return "onpu-preempt";
}

static bool preempt_enable_signaling(struct dma_fence *fence)
{
	struct onpu_lr *lr = container_of(fence, struct onpu_preempt, base)->lr;
	unsigned long end = READ_ONCE(lr->since) + msecs_to_jiffies(ONPU_LR_MIN_RUN_MS);
	unsigned long now = jiffies;

	queue_delayed_work(onpu_recovery_wq(lr->odev), &lr->preempt_work,
			   time_after(end, now) ? end - now : 0);
	return true;
}

static void preempt_release(struct dma_fence *fence)
{
	dma_fence_free(fence);
	module_put(THIS_MODULE);
}

static const struct dma_fence_ops onpu_preempt_ops = {
	.get_driver_name = preempt_get_driver_name,
	.get_timeline_name = preempt_get_timeline_name,
	.enable_signaling = preempt_enable_signaling,
	.release = preempt_release,
};

/**
 * onpu_lr_forget() - take preempt fences out of a reservation
 * @resv: reservation of a buffer object that nothing is mapped of any more
 *
 * Freeing it must not suspend anybody.
 */
void onpu_lr_forget(struct dma_resv *resv)
{
	struct dma_fence *fence, *stub;
	struct dma_resv_iter cursor;

	dma_resv_assert_held(resv);

	stub = dma_fence_get_stub();
	dma_resv_for_each_fence(&cursor, resv, DMA_RESV_USAGE_BOOKKEEP, fence) {
		if (fence->ops == &onpu_preempt_ops)
			dma_resv_replace_fences(resv, fence->context, stub,
						DMA_RESV_USAGE_BOOKKEEP);
	}
	dma_fence_put(stub);
}

/* --- suspend ------------------------------------------------------------------------ */

static void lr_queue_validate(struct onpu_lr *lr)
{
	onpu_vm_get(lr->vm);
	if (!queue_work(lr->odev->lr_wq, &lr->validate_work))
		onpu_vm_put(lr->vm);
}

/* When it returns, nothing of the context executes. */
static void lr_suspend_locked(struct onpu_lr *lr)
{
	struct onpu_device *odev = lr->odev;
	int idx, ret;

	lockdep_assert_held(&lr->lock);

	if (lr->suspended || !lr->queues || !drm_dev_enter(&odev->drm, &idx))
		return;

	ret = onpu_mbox_ctx_suspend(odev, onpu_vm_asid(lr->vm));
	if (ret == -ETIME) {
		/* It is suspended as soon as the engine lets go of it. */
		drm_warn(&odev->drm, "an address space does not stop, the engine is reset\n");
		ret = onpu_mbox_engine_reset(odev);
	}
	if (ret)
		onpu_recovery_stop_card(odev, "an address space cannot be suspended");
	lr->suspended = true;
	drm_dev_exit(idx);
}

/* Signals the fence; nothing of the context executes, or nobody needs to know. */
static void lr_signal_locked(struct onpu_lr *lr)
{
	struct onpu_preempt *fence = lr->fence;

	lockdep_assert_held(&lr->lock);

	if (!fence)
		return;
	lr->fence = NULL;
	dma_fence_signal(&fence->base);
	dma_fence_put(&fence->base);
}

static void lr_preempt_work(struct work_struct *work)
{
	struct onpu_lr *lr = container_of(to_delayed_work(work), struct onpu_lr, preempt_work);
	bool cookie = dma_fence_begin_signalling();

	mutex_lock(&lr->lock);
	/* Another one may have been armed since this was queued; then it suspends in vain. */
	if (lr->fence) {
		lr_suspend_locked(lr);
		lr_signal_locked(lr);
	}
	if (lr->queues)
		lr_queue_validate(lr);
	mutex_unlock(&lr->lock);
	dma_fence_end_signalling(cookie);
}

/* --- validate and resume ------------------------------------------------------------- */

static struct onpu_preempt *lr_alloc_fence(struct onpu_lr *lr)
{
	struct onpu_preempt *fence = kzalloc(sizeof(*fence), GFP_KERNEL);

	BUILD_BUG_ON(offsetof(struct onpu_preempt, base));
	if (!fence)
		return NULL;
	__module_get(THIS_MODULE);
	fence->lr = lr;
	spin_lock_init(&fence->lock);
	dma_fence_init(&fence->base, &onpu_preempt_ops, &fence->lock, lr->context, ++lr->seqno);
	return fence;
}

/* Takes @fence if there is none; returns the one that is armed, with a reference. */
static struct dma_fence *lr_arm(struct onpu_lr *lr, struct onpu_preempt *fence)
{
	struct dma_fence *armed = NULL;

	mutex_lock(&lr->lock);
	if (lr->queues && !lr->fence) {
		dma_fence_get(&fence->base);
		lr->fence = fence;
	}
	if (lr->fence)
		armed = dma_fence_get(&lr->fence->base);
	mutex_unlock(&lr->lock);

	return armed;
}

static void lr_resume(struct onpu_lr *lr, struct dma_fence *armed)
{
	struct onpu_device *odev = lr->odev;
	int idx;

	mutex_lock(&lr->lock);
	/* It may have been preempted before it began; then this work comes again. */
	if (lr->suspended && lr->fence && &lr->fence->base == armed &&
	    drm_dev_enter(&odev->drm, &idx)) {
		WRITE_ONCE(lr->since, jiffies);
		WRITE_ONCE(lr->dozing, false);
		/* An error is one of the card, which has been stopped then or was reset. */
		if (!onpu_mbox_ctx_resume(odev, onpu_vm_asid(lr->vm)))
			lr->suspended = false;
		drm_dev_exit(idx);
	}
	mutex_unlock(&lr->lock);
}

/* Has everything where the card can use it, and the context run. */
static int lr_validate_once(struct onpu_lr *lr)
{
	struct onpu_preempt *fence;
	struct onpu_vm_exec exec;
	struct dma_fence *armed;
	int ret;

	fence = lr_alloc_fence(lr);
	if (!fence)
		return -ENOMEM;

	ret = onpu_vm_lock_for_submit(lr->vm, &exec, 1);
	if (ret)
		goto out_put;
	armed = lr_arm(lr, fence);
	if (armed)
		onpu_vm_add_fence(&exec, armed);
	ret = onpu_vm_wait_for_moves(&exec);
	onpu_vm_unlock_submit(&exec);
	if (armed && !ret)
		lr_resume(lr, armed);
	dma_fence_put(armed);

out_put:
	/* If it was not armed nobody has seen it. */
	dma_fence_put(&fence->base);
	return ret;
}

/* What it may access may not be there: it must not run. */
static void lr_hold(struct onpu_lr *lr)
{
	bool cookie = dma_fence_begin_signalling();

	mutex_lock(&lr->lock);
	lr_suspend_locked(lr);
	lr_signal_locked(lr);
	mutex_unlock(&lr->lock);
	dma_fence_end_signalling(cookie);
}

/* Whether the context, suspended, may stay so until a doorbell is rung. */
static bool lr_doze(struct onpu_lr *lr)
{
	bool suspended, idle;

	if (xchg(&lr->woken, false))
		return false;

	mutex_lock(&lr->lock);
	suspended = lr->suspended && lr->queues;
	if (suspended)
		WRITE_ONCE(lr->dozing, true);
	mutex_unlock(&lr->lock);
	if (!suspended)
		return false;

	/* Who rings from here on comes to onpu_lr_wake(); who did before is seen. */
	onpu_queue_unmap_vm(lr->odev, lr->vm);
	idle = onpu_queue_vm_is_idle(lr->odev, lr->vm);
	if (!idle)
		WRITE_ONCE(lr->dozing, false);
	return idle;
}

/**
 * onpu_lr_wake() - a process is about to ring a doorbell
 * @lr: long-running address space of the queue
 *
 * After the doorbell was mapped. Does not wait.
 */
void onpu_lr_wake(struct onpu_lr *lr)
{
	if (!READ_ONCE(lr->dozing))
		return;
	WRITE_ONCE(lr->woken, true);
	lr_queue_validate(lr);
}

static bool lr_is_needed(struct onpu_lr *lr)
{
	return READ_ONCE(lr->queues) && onpu_recovery_is_up(lr->odev);
}

static void lr_validate_work(struct work_struct *work)
{
	struct onpu_lr *lr = container_of(work, struct onpu_lr, validate_work);
	int ret = 0, tries;

	if (lr_doze(lr))
		goto out_put;
	for (tries = 0; tries < ONPU_LR_TRIES && lr_is_needed(lr); tries++) {
		ret = lr_validate_once(lr);
		if (!ret)
			break;
		lr_hold(lr);
		if (lr_doze(lr))
			goto out_put;
		msleep(ONPU_LR_RETRY_MS);
	}
	if (ret && lr_is_needed(lr))
		onpu_queue_kill_vm(lr->odev, lr->vm);
out_put:
	onpu_vm_put(lr->vm);
}

/**
 * onpu_lr_validate() - have a VM use what was mapped in it
 * @lr: long-running address space, kept by the caller
 *
 * The caller holds no lock. When it returns, what was mapped before can be used by
 * the queues of the VM; or they doze, with nothing to do; or they are dead.
 */
void onpu_lr_validate(struct onpu_lr *lr)
{
	lr_queue_validate(lr);
	flush_work(&lr->validate_work);
}

/* --- life ------------------------------------------------------------------------------ */

/**
 * onpu_lr_add_queue() - a queue comes
 * @lr: long-running address space
 * @user: it is one of user space
 *
 * Before the firmware knows of it; and before one of user space is given work,
 * onpu_lr_validate().
 *
 * Return: 0, or -EINVAL when the VM has queues of the other kind.
 */
int onpu_lr_add_queue(struct onpu_lr *lr, bool user)
{
	int ret = 0;

	mutex_lock(&lr->lock);
	if (user ? lr->kernel_queues : lr->queues)
		ret = -EINVAL;
	else if (user)
		WRITE_ONCE(lr->queues, lr->queues + 1);
	else
		lr->kernel_queues++;
	mutex_unlock(&lr->lock);

	return ret;
}

/* Kernel queues that come find the context running. */
static void lr_end_suspend_locked(struct onpu_lr *lr)
{
	struct onpu_device *odev = lr->odev;
	int idx;

	lockdep_assert_held(&lr->lock);

	if (!lr->suspended || !drm_dev_enter(&odev->drm, &idx))
		return;
	if (!onpu_mbox_ctx_resume(odev, onpu_vm_asid(lr->vm)))
		lr->suspended = false;
	WRITE_ONCE(lr->dozing, false);
	drm_dev_exit(idx);
}

/**
 * onpu_lr_remove_queue() - a queue has left the card
 * @lr: long-running address space
 * @user: it was one of user space
 */
void onpu_lr_remove_queue(struct onpu_lr *lr, bool user)
{
	bool cookie = dma_fence_begin_signalling();

	mutex_lock(&lr->lock);
	if (user) {
		WRITE_ONCE(lr->queues, lr->queues - 1);
		if (!lr->queues) {
			lr_end_suspend_locked(lr);
			lr_signal_locked(lr);
		}
	} else {
		lr->kernel_queues--;
	}
	mutex_unlock(&lr->lock);
	dma_fence_end_signalling(cookie);
}

/**
 * onpu_lr_restore() - tell the firmware the context again
 * @lr: long-running address space
 * @root: address of its page table
 *
 * The firmware has forgotten all contexts, and that this one was suspended. Its queues
 * of user space are dead, or about to be: those that come find it running.
 *
 * Return: 0 or a negative error.
 */
int onpu_lr_restore(struct onpu_lr *lr, u64 root)
{
	int ret;

	mutex_lock(&lr->lock);
	ret = onpu_mbox_ctx_create(lr->odev, onpu_vm_asid(lr->vm), root);
	lr->suspended = false;
	WRITE_ONCE(lr->dozing, false);
	mutex_unlock(&lr->lock);

	return ret;
}

/**
 * onpu_lr_create() - make an address space long-running
 * @vm: address space, new
 * @odev: card
 *
 * Return: what makes it so, or NULL.
 */
struct onpu_lr *onpu_lr_create(struct onpu_vm *vm, struct onpu_device *odev)
{
	struct onpu_lr *lr = kzalloc(sizeof(*lr), GFP_KERNEL);

	if (!lr)
		return NULL;
	lr->vm = vm;
	lr->odev = odev;
	lr->context = dma_fence_context_alloc(1);
	lr->since = jiffies;
	mutex_init(&lr->lock);
	INIT_DELAYED_WORK(&lr->preempt_work, lr_preempt_work);
	INIT_WORK(&lr->validate_work, lr_validate_work);
	return lr;
}

/**
 * onpu_lr_destroy() - undo onpu_lr_create()
 * @lr: what it returned, or NULL; it has no queues
 */
void onpu_lr_destroy(struct onpu_lr *lr)
{
	if (!lr)
		return;
	WARN_ON(lr->queues || lr->kernel_queues || lr->fence);
	/* It may have been asked for when the last queue went. */
	cancel_delayed_work_sync(&lr->preempt_work);
	mutex_destroy(&lr->lock);
	kfree(lr);
}

static void lr_fini(struct drm_device *drm, void *wq)
{
	destroy_workqueue(wq);
}

/**
 * onpu_lr_init() - prepare a card for long-running address spaces
 * @odev: card
 *
 * Return: 0 or -ENOMEM.
 */
int onpu_lr_init(struct onpu_device *odev)
{
	odev->lr_wq = alloc_workqueue("onpu-lr-%s", WQ_UNBOUND, 0, dev_name(odev->drm.dev));
	if (!odev->lr_wq)
		return -ENOMEM;
	return drmm_add_action_or_reset(&odev->drm, lr_fini, odev->lr_wq);
}

// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Boot, reset and loss of the card
 *
 * The steps, from small to large: a queue that faults or hangs is killed by
 * the firmware (onpu_queue.c), and nobody else notices. One that does not stop
 * has the engine reset. When the firmware is dead, because it crashed, does not answer,
 * or its heart stands still, it is *restarted* from the image that the driver keeps:
 * the card is reset, so that nothing on it executes and nothing is written to memory
 * any more; only then the jobs that it had end, with -ECANCELED, and their queues are
 * dead and innocent. Those with nothing in flight survive, but for user-mode queues, and
 * so do card memory, address spaces, and jobs that the card had not been given. This
 * happens in two parts: the end of the jobs is part of signalling fences
 * (onpu_recovery_stop_card()), the boot is not (onpu_recovery_restart_work()), and jobs
 * that come into the ring in between wait for it.
 *
 * A card whose firmware dies again soon, or cannot be restarted, or that did what a
 * restart does not help against, is *wedged*: reset as well, but all jobs end, with -EIO,
 * and queues are told that the card is lost. A function-level reset from
 * outside (sysfs) boots a wedged card again. For queues it is like a restart.
 *
 * The rule that everything here keeps: a fence signals only when nothing that
 * its job started can still write to memory.
 *
 * Locking, outermost first: @block is held for reading by whoever creates
 * queues and contexts or writes card memory, for writing during a reset from
 * outside, from before it until after it. @touch is held inside reservations, for
 * moves of memory and for moments only; a reset waits for that and sets @away
 * until it is over. So the fences of moves, like those of jobs in the ring, wait for
 * a reset that is under way, and that takes locks of the PCI core under which others
 * allocate. No harm comes of it because nothing in this driver makes reclaim wait
 * for a fence: there is no MMU notifier, and the shrinker (onpu_shrink.c) waits for
 * nothing. @lock covers the state; nothing is
 * allocated under it, since fences signal under it. The works of @wq, kills and
 * wedging, are part of signalling fences too and take @lock, never @block. Those of
 * @restart_wq are not, and take @block. Nobody who has @block waits for the end of a restart.
 */

#include <linux/module.h>
#include <linux/pci.h>
#include <linux/rwsem.h>
#include <linux/wait.h>

#include <drm/drm_file.h>
#include <drm/drm_managed.h>

#include <onpu/packet.h>

#include "onpu_bo.h"
#include "onpu_device.h"
#include "onpu_fence.h"
#include "onpu_fw.h"
#include "onpu_irq.h"
#include "onpu_job.h"
#include "onpu_mbox.h"
#include "onpu_migrate.h"
#include "onpu_queue.h"
#include "onpu_recovery.h"
#include "onpu_vm.h"
#include "onpu_wait.h"

/**
 * enum onpu_card_state - whether the card works
 */
enum onpu_card_state {
	/** @ONPU_CARD_DOWN: not booted yet, or being reset from outside */
	ONPU_CARD_DOWN,
	/** @ONPU_CARD_UP: works */
	ONPU_CARD_UP,
	/** @ONPU_CARD_HALTED: stopped, and its firmware is about to be restarted */
	ONPU_CARD_HALTED,
	/** @ONPU_CARD_WEDGED: stopped, until a reset from outside */
	ONPU_CARD_WEDGED,
	/** @ONPU_CARD_GONE: unplugged */
	ONPU_CARD_GONE,
};

/**
 * struct onpu_recovery - state of the card and work that ends things
 */
struct onpu_recovery {
	/** @odev: card */
	struct onpu_device *odev;
	/** @block: keeps a reset from outside away, see the DOC above */
	struct rw_semaphore block;
	/** @touch: held where card memory is touched inside reservations; protects @away */
	struct rw_semaphore touch;
	/** @away: a reset from outside is under way, nothing may be touched */
	bool away;
	/** @back: for the end of @away, and of HALTED */
	wait_queue_head_t back;
	/** @lock: protects changes of @state and what comes with them */
	struct mutex lock;
	/** @state: read without the lock where a late answer does no harm */
	enum onpu_card_state state;
	/** @wq: kills queues and wedges the card, one thing at a time */
	struct workqueue_struct *wq;
	/** @wedge_work: wedges the card */
	struct work_struct wedge_work;
	/** @why: it was asked to; a string constant */
	const char *why;
	/** @ring: room for the ring of a queue; protected by @block */
	void *ring;
	/** @restart_wq: what takes its time, and may allocate */
	struct workqueue_struct *restart_wq;
	/** @restart_work: restarts the firmware, or tells that the card is wedged */
	struct work_struct restart_work;
	/** @heart_work: looks whether the firmware's heart beats */
	struct delayed_work heart_work;
	/** @heart: what it read last, and when that changed; of @heart_work only */
	struct {
		/** @heart.beat: the register */
		u32 beat;
		/** @heart.ups: @ups then; another heart may have come to the same number */
		u32 ups;
		/** @heart.since: jiffies */
		unsigned long since;
	} heart;
	/** @ups: how often the card came up, protected by @lock */
	u32 ups;
	/** @restarts: of the firmware since probe, protected by @lock */
	u32 restarts;
	/** @restarted: jiffies of the last one, valid if there was one; protected by @lock */
	unsigned long restarted;
};

static unsigned int restart_interval_s = 60;
module_param(restart_interval_s, uint, 0644);
MODULE_PARM_DESC(restart_interval_s,
		 "A firmware that dies so soon after a restart is not restarted again (default 60)");

/**
 * onpu_recovery_wq() - the workqueue that kills queues
 * @odev: card
 *
 * Return: an ordered workqueue; its works are part of signalling fences.
 */
struct workqueue_struct *onpu_recovery_wq(struct onpu_device *odev)
{
	return odev->recovery->wq;
}

/**
 * onpu_recovery_is_wedged() - whether the card has been given up
 * @odev: card
 *
 * Return: true when only a reset from outside helps.
 */
bool onpu_recovery_is_wedged(struct onpu_device *odev)
{
	return READ_ONCE(odev->recovery->state) == ONPU_CARD_WEDGED;
}

/**
 * onpu_recovery_is_up() - whether the card executes
 * @odev: card
 *
 * Return: true when it works.
 */
bool onpu_recovery_is_up(struct onpu_device *odev)
{
	return READ_ONCE(odev->recovery->state) == ONPU_CARD_UP;
}

/**
 * onpu_recovery_is_halted() - whether the firmware is about to be restarted
 * @odev: card
 *
 * Return: true from when nothing executes any more until the restart begins.
 */
bool onpu_recovery_is_halted(struct onpu_device *odev)
{
	return READ_ONCE(odev->recovery->state) == ONPU_CARD_HALTED;
}

/**
 * onpu_recovery_is_stopped() - whether the card does nothing, until it is started again
 * @odev: card
 *
 * Return: true from when it is told to stop; when it has, onpu_recovery_sync() knows.
 */
bool onpu_recovery_is_stopped(struct onpu_device *odev)
{
	enum onpu_card_state state = READ_ONCE(odev->recovery->state);

	return state == ONPU_CARD_HALTED || state == ONPU_CARD_WEDGED || state == ONPU_CARD_GONE;
}

/**
 * onpu_recovery_restarts() - how often the firmware was restarted
 * @odev: card
 *
 * Return: times since probe, without those that failed.
 */
u32 onpu_recovery_restarts(struct onpu_device *odev)
{
	return READ_ONCE(odev->recovery->restarts);
}

/**
 * onpu_recovery_is_gone() - whether the card is being unplugged, or was
 * @odev: card
 *
 * Return: true when no work of it will ever end by itself.
 */
bool onpu_recovery_is_gone(struct onpu_device *odev)
{
	return READ_ONCE(odev->recovery->state) == ONPU_CARD_GONE;
}

/**
 * onpu_recovery_block() - keep a reset from outside away
 * @odev: card
 *
 * For what writes card memory or creates objects on the card. Sleeps while a
 * reset is under way. Ends by onpu_recovery_exit().
 */
void onpu_recovery_block(struct onpu_device *odev)
{
	down_read(&odev->recovery->block);
}

/**
 * onpu_recovery_touch() - keep a reset from outside away for a moment
 * @odev: card
 *
 * Like onpu_recovery_block(), but taken inside reservations, and where fences are
 * signalled: for no longer than some registers and card memory are accessed. Ends
 * by onpu_recovery_untouch().
 */
void onpu_recovery_touch(struct onpu_device *odev)
{
	struct onpu_recovery *recovery = odev->recovery;

	for (;;) {
		down_read(&recovery->touch);
		if (!recovery->away)
			return;
		up_read(&recovery->touch);
		wait_event(recovery->back, !READ_ONCE(recovery->away));
	}
}

/**
 * onpu_recovery_untouch() - end of onpu_recovery_touch()
 * @odev: card
 */
void onpu_recovery_untouch(struct onpu_device *odev)
{
	up_read(&odev->recovery->touch);
}

/**
 * onpu_recovery_enter() - onpu_recovery_block() unless the card is wedged
 * @odev: card
 *
 * Waits for the end of a restart of the firmware, so the caller holds nothing that it needs.
 *
 * Return: 0, or -EIO when the card is wedged, then without blocking.
 */
int onpu_recovery_enter(struct onpu_device *odev)
{
	struct onpu_recovery *recovery = odev->recovery;

	for (;;) {
		onpu_recovery_block(odev);
		if (!onpu_recovery_is_halted(odev))
			break;
		onpu_recovery_exit(odev);
		wait_event(recovery->back, !onpu_recovery_is_halted(odev));
	}
	if (!onpu_recovery_is_wedged(odev))
		return 0;
	onpu_recovery_exit(odev);
	return -EIO;
}

/**
 * onpu_recovery_try_block() - onpu_recovery_block() if that does not sleep
 * @odev: card
 *
 * Return: false while a reset is under way or wanted.
 */
bool onpu_recovery_try_block(struct onpu_device *odev)
{
	return down_read_trylock(&odev->recovery->block);
}

/**
 * onpu_recovery_exit() - let a reset from outside happen again
 * @odev: card
 */
void onpu_recovery_exit(struct onpu_device *odev)
{
	up_read(&odev->recovery->block);
}

/* Whoever touches the card has ended when this returns; others wait until it is back. */
static void onpu_recovery_set_away(struct onpu_recovery *recovery, bool away)
{
	down_write(&recovery->touch);
	WRITE_ONCE(recovery->away, away);
	up_write(&recovery->touch);
	wake_up_all(&recovery->back);
}

static void onpu_recovery_end_queue(struct onpu_queue *queue,
				    const struct onpu_queue_death *death, bool all, int pass)
{
	if (!pass) {
		if (all || onpu_fence_is_unfinished(queue))
			onpu_queue_mark_dead(queue, death);
	} else if (onpu_queue_is_dead(queue)) {
		onpu_fence_cancel(queue);
	} else {
		onpu_fence_process(queue);
	}
}

/* All of them, or those that have jobs on the card. */
static void onpu_recovery_end_queues(struct onpu_device *odev,
				     const struct onpu_queue_death *death, bool all)
{
	struct onpu_queue *queue;
	unsigned long index;
	int pass;

	/* What is told of the end of a job may put its own into another ring at once. */
	for (pass = 0; pass < 2; pass++) {
		for (index = 0; (queue = onpu_queue_next(odev, &index)); index++) {
			if (onpu_queue_get_active(queue)) {
				onpu_recovery_end_queue(queue, death, all, pass);
				onpu_queue_put_active(queue);
			}
			onpu_queue_put(queue);
		}
	}
}

static void onpu_recovery_set_up_locked(struct onpu_recovery *recovery)
{
	lockdep_assert_held(&recovery->lock);

	recovery->ups++;
	WRITE_ONCE(recovery->state, ONPU_CARD_UP);
}

/* Nothing on the card executes after this. Returns whether it did as it was told. */
static bool onpu_recovery_halt_locked(struct onpu_device *odev, enum onpu_card_state state,
				      int error)
{
	struct pci_dev *pdev = to_pci_dev(odev->drm.dev);
	int ret;

	lockdep_assert_held(&odev->recovery->lock);

	WRITE_ONCE(odev->recovery->state, state);
	onpu_mbox_stop(odev, error);
	/* A card that ignores its reset can at least not reach the host any more. */
	ret = onpu_fw_reset_card(odev);
	if (ret == -ETIMEDOUT)
		drm_err(&odev->drm, "the card ignores its reset\n");
	pci_clear_master(pdev);
	wake_up_all(&odev->recovery->back);

	return !ret;
}

static bool onpu_recovery_may_restart_locked(struct onpu_recovery *recovery)
{
	unsigned long interval = READ_ONCE(restart_interval_s) * (unsigned long)HZ;

	lockdep_assert_held(&recovery->lock);

	return !recovery->restarts || time_after(jiffies, recovery->restarted + interval);
}

static void onpu_recovery_stop(struct onpu_device *odev, const char *why, bool may_restart)
{
	static const struct onpu_queue_death lost = {
		.flags = DRM_ONPU_QUEUE_DEVICE_LOST,
		.error = ONPU_ERR_KILLED,
		.guilty = -EIO,
		.others = -EIO,
	};
	static const struct onpu_queue_death innocent = {
		.flags = DRM_ONPU_QUEUE_INNOCENT,
		.error = ONPU_ERR_KILLED,
		.guilty = -ECANCELED,
		.others = -ECANCELED,
	};
	struct onpu_recovery *recovery = odev->recovery;

	mutex_lock(&recovery->lock);
	if (recovery->state == ONPU_CARD_UP) {
		bool restart = may_restart && onpu_recovery_may_restart_locked(recovery);

		if (restart)
			drm_err(&odev->drm, "the firmware is restarted: %s\n", why);
		onpu_fw_report_crash(odev);
		if (!onpu_recovery_halt_locked(odev, restart ? ONPU_CARD_HALTED : ONPU_CARD_WEDGED,
					       restart ? -EAGAIN : -EIO) && restart) {
			restart = false;
			onpu_recovery_halt_locked(odev, ONPU_CARD_WEDGED, -EIO);
		}
		if (!restart)
			drm_err(&odev->drm,
				"wedged: %s; jobs are lost, a reset of the function may help\n",
				why);
		onpu_recovery_end_queues(odev, restart ? &innocent : &lost, !restart);
		onpu_wait_wake(odev);
		queue_work(recovery->restart_wq, &recovery->restart_work);
	}
	mutex_unlock(&recovery->lock);
}

/**
 * onpu_recovery_stop_card() - stop the card, now, and restart its firmware
 * @odev: card; registers accessible
 * @why: string constant for the log
 *
 * When it returns, nothing on the card executes. For works that are part of signalling
 * fences, as it takes no lock that those may not; others use onpu_recovery_restart().
 */
void onpu_recovery_stop_card(struct onpu_device *odev, const char *why)
{
	onpu_recovery_stop(odev, why, true);
}

/**
 * onpu_recovery_wedge_card() - stop the card, now, for a restart would not help
 * @odev: card; registers accessible
 * @why: string constant for the log
 *
 * As onpu_recovery_stop_card().
 */
void onpu_recovery_wedge_card(struct onpu_device *odev, const char *why)
{
	onpu_recovery_stop(odev, why, false);
}

static void onpu_recovery_wedge_work(struct work_struct *work)
{
	struct onpu_recovery *recovery = container_of(work, struct onpu_recovery, wedge_work);
	struct onpu_device *odev = recovery->odev;
	bool cookie = dma_fence_begin_signalling();
	int idx;

	if (drm_dev_enter(&odev->drm, &idx)) {
		onpu_recovery_stop_card(odev, READ_ONCE(recovery->why));
		drm_dev_exit(idx);
	}
	dma_fence_end_signalling(cookie);
}

/**
 * onpu_recovery_restart() - have the firmware restarted, or the card wedged
 * @odev: card
 * @why: string constant for the log
 *
 * Any context; it happens soon. Without effect while the card is not up.
 */
void onpu_recovery_restart(struct onpu_device *odev, const char *why)
{
	struct onpu_recovery *recovery = odev->recovery;

	if (READ_ONCE(recovery->state) != ONPU_CARD_UP)
		return;
	WRITE_ONCE(recovery->why, why);
	queue_work(recovery->wq, &recovery->wedge_work);
}

/**
 * onpu_recovery_flush() - wait until a card that is being stopped has stopped
 * @odev: card
 *
 * Not for works of onpu_recovery_wq().
 */
void onpu_recovery_flush(struct onpu_device *odev)
{
	struct onpu_recovery *recovery = odev->recovery;

	flush_work(&recovery->wedge_work);
	mutex_lock(&recovery->lock);
	mutex_unlock(&recovery->lock);
}

/**
 * onpu_recovery_sync() - wait until a card that is being stopped has stopped
 * @odev: card; its state says so already
 *
 * Also for where fences are signalled.
 */
void onpu_recovery_sync(struct onpu_device *odev)
{
	mutex_lock(&odev->recovery->lock);
	mutex_unlock(&odev->recovery->lock);
}

static int onpu_recovery_bring_up(struct onpu_device *odev)
{
	int ret;

	ret = onpu_fw_reset_card(odev);
	if (ret)
		return ret;
	onpu_irq_enable(odev);
	return onpu_fw_boot(odev);
}

static int onpu_recovery_recreate_queue(struct onpu_queue *queue)
{
	int ret;

	onpu_job_rewind(queue, queue->odev->recovery->ring);
	ret = onpu_queue_create_on_card(queue);
	if (!ret && queue->ring.tail)
		onpu_queue_ring_doorbell(queue);
	return ret;
}

/*
 * A queue after a reset: nothing of it executes, its scheduler is stopped. In a restart of the
 * firmware those that had jobs on the card are dead; what is there now came after that.
 */
static void onpu_recovery_resume_queue(struct onpu_queue *queue, bool lost, bool restart)
{
	struct onpu_queue_death death = {
		.flags = lost ? DRM_ONPU_QUEUE_DEVICE_LOST : DRM_ONPU_QUEUE_INNOCENT,
		.error = ONPU_ERR_KILLED,
		.guilty = lost ? -EIO : -ECANCELED,
		.others = lost ? -EIO : -ECANCELED,
	};

	queue->on_card = false;
	onpu_fence_process(queue);
	/*
	 * The copy engine makes its queue work again when it needs it. What a
	 * user-mode queue had in its ring nobody knows.
	 */
	if (lost || queue->kernel || queue->uqueue || (!restart && onpu_fence_oldest(queue)))
		onpu_queue_mark_dead(queue, &death);
	else if (!onpu_queue_is_dead(queue) && onpu_recovery_recreate_queue(queue))
		onpu_queue_mark_dead(queue, &death);
	if (onpu_queue_is_dead(queue))
		onpu_fence_cancel(queue);
}

static void onpu_recovery_pause_queues(struct onpu_device *odev)
{
	struct onpu_queue *queue;
	unsigned long index;

	for (index = 0; (queue = onpu_queue_next(odev, &index)); index++) {
		queue->restore = onpu_queue_get_active(queue);
		if (queue->restore)
			onpu_queue_pause(queue);
		onpu_queue_put(queue);
	}
}

static void onpu_recovery_unpause_queues(struct onpu_device *odev)
{
	struct onpu_queue *queue;
	unsigned long index;

	for (index = 0; (queue = onpu_queue_next(odev, &index)); index++) {
		if (queue->restore) {
			queue->restore = false;
			onpu_queue_unpause(queue);
			onpu_queue_put_active(queue);
		}
		onpu_queue_put(queue);
	}
}

static void onpu_recovery_resume_queues(struct onpu_device *odev, bool lost, bool restart)
{
	struct onpu_queue *queue;
	unsigned long index;

	for (index = 0; (queue = onpu_queue_next(odev, &index)); index++) {
		if (queue->restore) {
			queue->restore = false;
			onpu_recovery_resume_queue(queue, lost, restart);
			onpu_queue_unpause(queue);
			onpu_queue_put_active(queue);
		}
		onpu_queue_put(queue);
	}
}

/*
 * The PCI core is about to reset the function. The state stays DOWN until it
 * says that it did, and @block is held for as long, so that nobody writes card
 * memory, which cannot be reached in the meantime; processes neither, see
 * onpu_bo.c.
 */
static void onpu_recovery_reset_prepare(struct pci_dev *pdev)
{
	struct onpu_device *odev = pci_get_drvdata(pdev);
	struct onpu_recovery *recovery = odev->recovery;

	drm_info(&odev->drm, "the function is being reset\n");
	down_write(&recovery->block);
	onpu_bo_zap_maps(odev);
	onpu_recovery_set_away(recovery, true);
	onpu_recovery_pause_queues(odev);

	mutex_lock(&recovery->lock);
	WRITE_ONCE(recovery->state, ONPU_CARD_DOWN);
	onpu_mbox_stop(odev, -EAGAIN);
	/* So that a kill that was refused just now may count it as stopped. */
	onpu_fw_reset_card(odev);
	mutex_unlock(&recovery->lock);

	onpu_irq_disable(odev);
}

/* The card is DOWN, so nobody else touches it; @block is held and @away set. */
static int onpu_recovery_revive(struct onpu_device *odev, bool restart)
{
	struct onpu_recovery *recovery = odev->recovery;
	int ret;

	pci_set_master(to_pci_dev(odev->drm.dev));
	ret = onpu_recovery_bring_up(odev);
	if (!ret)
		ret = onpu_vm_restore_contexts(odev);
	if (!ret)
		ret = onpu_migrate_restore(odev);
	if (ret) {
		mutex_lock(&recovery->lock);
		/* Unless it is GONE, then it has been told already. */
		if (recovery->state == ONPU_CARD_DOWN) {
			drm_err(&odev->drm, "wedged: the card does not work after the reset: %d\n",
				ret);
			onpu_recovery_halt_locked(odev, ONPU_CARD_WEDGED, -EIO);
		}
		mutex_unlock(&recovery->lock);
	}
	onpu_recovery_resume_queues(odev, ret, restart);
	if (!ret) {
		mutex_lock(&recovery->lock);
		if (recovery->state == ONPU_CARD_DOWN)
			onpu_recovery_set_up_locked(recovery);
		else
			ret = -ENODEV;
		mutex_unlock(&recovery->lock);
	}
	if (!ret)
		drm_info(&odev->drm, "the card works again\n");
	return ret;
}

static void onpu_recovery_reset_done(struct pci_dev *pdev)
{
	struct onpu_device *odev = pci_get_drvdata(pdev);
	struct onpu_recovery *recovery = odev->recovery;

	onpu_recovery_revive(odev, false);
	onpu_recovery_set_away(recovery, false);
	up_write(&recovery->block);
}

static void onpu_recovery_count_restart(struct onpu_recovery *recovery)
{
	mutex_lock(&recovery->lock);
	recovery->restarted = jiffies;
	WRITE_ONCE(recovery->restarts, recovery->restarts + 1);
	mutex_unlock(&recovery->lock);
}

/* Restarts a firmware that is dead. Returns whether it was. */
static bool onpu_recovery_restart_firmware(struct onpu_device *odev)
{
	struct onpu_recovery *recovery = odev->recovery;
	bool restart;

	down_write(&recovery->block);
	onpu_recovery_set_away(recovery, true);
	onpu_recovery_pause_queues(odev);

	mutex_lock(&recovery->lock);
	/* A reset from outside, or an unplug, may have come first. */
	restart = recovery->state == ONPU_CARD_HALTED;
	if (restart)
		WRITE_ONCE(recovery->state, ONPU_CARD_DOWN);
	mutex_unlock(&recovery->lock);

	if (!restart)
		onpu_recovery_unpause_queues(odev);
	else if (!onpu_recovery_revive(odev, true))
		onpu_recovery_count_restart(recovery);

	onpu_recovery_set_away(recovery, false);
	up_write(&recovery->block);

	return restart;
}

/* Tells whoever listens to the kernel's events what became of the card. */
static void onpu_recovery_tell(struct onpu_device *odev, bool restart)
{
	bool lost = onpu_recovery_is_wedged(odev);
	char *env[2] = {};

	/* As DRM has it for a device that needs somebody to reset it. */
	env[0] = lost ? "WEDGED=bus-reset" : "ONPU_RESTARTED=1";
	if (lost || (restart && onpu_recovery_is_up(odev)))
		kobject_uevent_env(&odev->drm.accel->kdev->kobj, KOBJ_CHANGE, env);
}

static void onpu_recovery_restart_work(struct work_struct *work)
{
	struct onpu_recovery *recovery = container_of(work, struct onpu_recovery, restart_work);
	struct onpu_device *odev = recovery->odev;
	bool restart;
	int idx;

	if (!drm_dev_enter(&odev->drm, &idx))
		return;
	restart = onpu_recovery_is_halted(odev) && onpu_recovery_restart_firmware(odev);
	onpu_recovery_tell(odev, restart);
	drm_dev_exit(idx);
}

/* Whether the heart beats, or need not: another one, after a reset, begins anew. */
static bool onpu_recovery_heart_beats(struct onpu_recovery *recovery)
{
	struct onpu_device *odev = recovery->odev;
	bool beats = true;
	u32 beat = 0;

	mutex_lock(&recovery->lock);
	/* During a reset from outside nobody reads. */
	if (recovery->state == ONPU_CARD_UP) {
		beat = onpu_read32(odev, ONPU_REG_HEARTBEAT);
		beats = beat != recovery->heart.beat || recovery->ups != recovery->heart.ups;
	}
	recovery->heart.beat = beat;
	recovery->heart.ups = recovery->ups;
	mutex_unlock(&recovery->lock);

	/* Nothing can be said of a card that does not answer. */
	return beats || beat == ~0u;
}

/* A firmware that stands still is found out when nobody talks to it, too. */
static void onpu_recovery_heart_work(struct work_struct *work)
{
	struct onpu_recovery *recovery = container_of(to_delayed_work(work), struct onpu_recovery,
						      heart_work);
	unsigned long limit = msecs_to_jiffies(onpu_mbox_timeout_ms());
	struct onpu_device *odev = recovery->odev;
	int idx;

	if (!drm_dev_enter(&odev->drm, &idx))
		return;
	if (onpu_recovery_heart_beats(recovery))
		recovery->heart.since = jiffies;
	else if (time_after(jiffies, recovery->heart.since + limit))
		onpu_recovery_restart(odev, "the firmware's heart stands still");
	queue_delayed_work(recovery->restart_wq, &recovery->heart_work, max(limit / 4, 1ul));
	drm_dev_exit(idx);
}

/** onpu_pci_error_handlers - what the PCI core calls around a reset */
const struct pci_error_handlers onpu_pci_error_handlers = {
	.reset_prepare = onpu_recovery_reset_prepare,
	.reset_done = onpu_recovery_reset_done,
};

static const struct onpu_queue_death onpu_death_unplugged = {
	.flags = DRM_ONPU_QUEUE_DEVICE_LOST,
	.error = ONPU_ERR_KILLED,
	.guilty = -ENODEV,
	.others = -ENODEV,
};

/**
 * onpu_recovery_prepare_unplug() - the card will be unplugged
 * @odev: card
 *
 * Before drm_dev_unplug(), which waits for all ioctls: lets go those that wait
 * for jobs to end, or for memory that moves. So the card is stopped first.
 */
void onpu_recovery_prepare_unplug(struct onpu_device *odev)
{
	struct onpu_recovery *recovery = odev->recovery;

	mutex_lock(&recovery->lock);
	onpu_recovery_halt_locked(odev, ONPU_CARD_GONE, -ENODEV);
	mutex_unlock(&recovery->lock);

	onpu_recovery_end_queues(odev, &onpu_death_unplugged, true);
	onpu_wait_wake(odev);
}

/**
 * onpu_recovery_unplug() - stop the card for good
 * @odev: card, after drm_dev_unplug(), its BARs still mapped
 *
 * When it returns, the card executes nothing and interrupts nobody, and all
 * jobs in its rings have ended, with -ENODEV.
 */
void onpu_recovery_unplug(struct onpu_device *odev)
{
	struct onpu_recovery *recovery = odev->recovery;

	mutex_lock(&recovery->lock);
	onpu_recovery_halt_locked(odev, ONPU_CARD_GONE, -ENODEV);
	mutex_unlock(&recovery->lock);
	onpu_irq_disable(odev);

	onpu_recovery_end_queues(odev, &onpu_death_unplugged, true);
	flush_workqueue(recovery->wq);
	cancel_delayed_work_sync(&recovery->heart_work);
	cancel_work_sync(&recovery->restart_work);
}

static void onpu_recovery_fini(struct drm_device *drm, void *data)
{
	struct onpu_recovery *recovery = data;

	cancel_delayed_work_sync(&recovery->heart_work);
	destroy_workqueue(recovery->wq);
	destroy_workqueue(recovery->restart_wq);
	mutex_destroy(&recovery->lock);
}

static int onpu_recovery_alloc(struct onpu_device *odev)
{
	struct onpu_recovery *recovery;

	recovery = drmm_kzalloc(&odev->drm, sizeof(*recovery), GFP_KERNEL);
	if (!recovery)
		return -ENOMEM;

	recovery->ring = drmm_kmalloc(&odev->drm, sizeof(struct onpu_packet) << ONPU_RING_ORDER,
				      GFP_KERNEL);
	if (!recovery->ring)
		return -ENOMEM;

	recovery->wq = alloc_ordered_workqueue("onpu-recovery-%s", WQ_MEM_RECLAIM,
					       dev_name(odev->drm.dev));
	if (!recovery->wq)
		return -ENOMEM;
	recovery->restart_wq = alloc_workqueue("onpu-restart-%s", WQ_UNBOUND, 0,
					       dev_name(odev->drm.dev));
	if (!recovery->restart_wq) {
		destroy_workqueue(recovery->wq);
		return -ENOMEM;
	}
	recovery->odev = odev;
	init_rwsem(&recovery->block);
	init_rwsem(&recovery->touch);
	init_waitqueue_head(&recovery->back);
	mutex_init(&recovery->lock);
	INIT_WORK(&recovery->wedge_work, onpu_recovery_wedge_work);
	INIT_WORK(&recovery->restart_work, onpu_recovery_restart_work);
	INIT_DELAYED_WORK(&recovery->heart_work, onpu_recovery_heart_work);
	odev->recovery = recovery;

	return drmm_add_action_or_reset(&odev->drm, onpu_recovery_fini, recovery);
}

/**
 * onpu_recovery_init() - boot the card and what queues and messages need
 * @odev: card with registers, capabilities and card memory accessible
 *
 * In probe, before the device is registered.
 *
 * Return: 0, or a negative error code after a message that says what is wrong.
 */
int onpu_recovery_init(struct onpu_device *odev)
{
	int ret;

	ret = onpu_recovery_alloc(odev);
	if (ret)
		return ret;
	ret = onpu_queue_mgr_init(odev);
	if (ret)
		return ret;
	ret = onpu_mbox_init(odev);
	if (ret)
		return ret;
	ret = onpu_fw_init(odev);
	if (ret)
		return ret;
	ret = onpu_irq_init(odev);
	if (ret)
		return ret;

	mutex_lock(&odev->recovery->lock);
	ret = onpu_recovery_bring_up(odev);
	if (ret)
		onpu_recovery_halt_locked(odev, ONPU_CARD_DOWN, -ENODEV);
	else
		onpu_recovery_set_up_locked(odev->recovery);
	mutex_unlock(&odev->recovery->lock);
	if (!ret)
		queue_delayed_work(odev->recovery->restart_wq, &odev->recovery->heart_work, 0);

	return ret;
}

/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_QUEUE_H__
#define __ONPU_QUEUE_H__

#include <linux/completion.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <drm/gpu_scheduler.h>
#include <drm/onpu_accel.h>

#include <onpu/mbox.h>
#include <onpu/packet.h>

struct drm_device;
struct drm_file;
struct drm_printer;
struct eventfd_ctx;
struct onpu_bo;
struct onpu_device;
struct onpu_file;
struct onpu_quota;
struct onpu_uqueue;
struct onpu_vm;

/* Limits, told to user space by DEV_QUERY; ONPU_MAX_FILE_QUEUES is in onpu_device.h */

/** ONPU_MAX_JOBS_PER_SUBMIT - jobs of one SUBMIT */
#define ONPU_MAX_JOBS_PER_SUBMIT	64
/** ONPU_MAX_SYNCS_PER_JOB - syncs of one job */
#define ONPU_MAX_SYNCS_PER_JOB		64
/** ONPU_MAX_JOBS_IN_FLIGHT - jobs of a queue that have not ended */
#define ONPU_MAX_JOBS_IN_FLIGHT		1024

/** ONPU_JOB_PACKETS - ring packets of a job: time, work, time, fence */
#define ONPU_JOB_PACKETS		4
/** ONPU_RING_ORDER - log2 of the packets of a queue's ring */
#define ONPU_RING_ORDER			9
/** ONPU_RING_JOBS_MAX - places for jobs in such a ring */
#define ONPU_RING_JOBS_MAX		((1 << ONPU_RING_ORDER) / ONPU_JOB_PACKETS)

/**
 * struct onpu_job_times - when a job ran, device time in ns, written by the card
 */
struct onpu_job_times {
	/** @start: its first packet, 0 before */
	u64 start;
	/** @end: after its last packet, 0 before */
	u64 end;
};

/**
 * struct onpu_queue_page - what the card writes for a kernel queue
 *
 * In card memory, mapped into the kernel half of the queue's address space, so
 * that only packets that the driver wrote can reach it.
 */
struct onpu_queue_page {
	/** @seqno: of the last job that ended */
	u64 seqno;
	/** @reserved: keeps the times off the cache line that is polled */
	u64 reserved[7];
	/** @times: one for each place in the ring */
	struct onpu_job_times times[ONPU_RING_JOBS_MAX];
};

/**
 * struct onpu_queue - a queue
 *
 * Two reference counts, because fences outlive everything: @active is held by
 * the id in the file, by jobs and by work under way; when it drops, the queue
 * leaves the card and lets go of its memory, address space and file. @ref
 * keeps just this structure (names, locks) and is also held by each fence, for
 * a sync_file may ask for the name of its timeline at any time.
 */
struct onpu_queue {
	/** @ref: keeps the structure and the module */
	struct kref ref;
	/** @active: keeps the queue on the card; 0 after that */
	struct kref active;

	/** @odev: card; valid while active */
	struct onpu_device *odev;
	/** @ofile: file that created it, referenced; valid while active */
	struct onpu_file *ofile;
	/** @vm: address space that its jobs run in, referenced; valid while active */
	struct onpu_vm *vm;
	/** @index: number on the card, and of its doorbell */
	u32 index;
	/** @id: id in @ofile, which may be another queue's when it is destroyed */
	u32 id;
	/** @quota: of the user whom it counts for, or NULL */
	struct onpu_quota *quota;
	/** @priority: enum drm_onpu_priority */
	u32 priority;
	/** @name: of its timeline */
	char name[32];

	/** @uqueue: what a user-mode queue has instead of all up to @watchdog, or NULL */
	struct onpu_uqueue *uqueue;

	/** @sched: feeds the ring, one scheduler for one queue */
	struct drm_gpu_scheduler sched;
	/** @entity: its only entity; pushing is ordered by the VM's reservation */
	struct drm_sched_entity entity;

	/** @ring: the packets; written by run_job only, one at a time */
	struct {
		/** @ring.bo: memory */
		struct onpu_bo *bo;
		/** @ring.va: address on the card */
		u64 va;
		/** @ring.order: log2 of its packets */
		u32 order;
		/** @ring.tail: packets written, modulo 2^32 */
		u32 tail;
	} ring;

	/** @page: struct onpu_queue_page */
	struct {
		/** @page.bo: memory */
		struct onpu_bo *bo;
		/** @page.va: address on the card */
		u64 va;
	} page;

	/** @fences: jobs in the ring */
	struct {
		/**
		 * @fences.lock: protects this group and @state; lock of the
		 * fences; taken in hard interrupt context
		 */
		spinlock_t lock;
		/** @fences.context: fence context of the ring */
		u64 context;
		/** @fences.seqno: of the last job that was put into the ring */
		u64 seqno;
		/** @fences.list: struct onpu_fence, oldest first, each with a reference */
		struct list_head list;
		/** @fences.direct: jobs in the ring that did not come from the scheduler */
		u32 direct;
	} fences;

	/** @state: whether and why the queue stopped, protected by @fences.lock */
	struct {
		/** @state.flags: DRM_ONPU_QUEUE_* */
		u32 flags;
		/** @state.error: enum onpu_queue_error */
		u32 error;
		/** @state.guilty: error of the job that ran when it stopped */
		int guilty;
		/** @state.others: error of all others, 0 while alive */
		int others;
		/** @state.fault_info: ONPU_FAULT_INFO */
		u32 fault_info;
		/** @state.opcode: of the packet at fault */
		u32 opcode;
		/** @state.fault_va: address of a fault */
		u64 fault_va;
	} state;

	/** @jobs: what GET_STATE and SUBMIT count */
	struct {
		/** @jobs.submitted: jobs taken from SUBMIT */
		atomic64_t submitted;
		/** @jobs.completed: jobs whose fences signalled */
		atomic64_t completed;
		/** @jobs.scheduled: the scheduler has them and has not run them yet */
		atomic_t scheduled;
		/** @jobs.in_flight: places taken of ONPU_MAX_JOBS_IN_FLIGHT */
		atomic_t in_flight;
		/** @jobs.wait: for places */
		wait_queue_head_t wait;
	} jobs;

	/** @watchdog: looks for a job that runs too long */
	struct {
		/** @watchdog.work: runs while the ring is not empty */
		struct delayed_work work;
		/** @watchdog.seqno: oldest job when it looked last; used by the work only */
		u64 seqno;
		/** @watchdog.since: jiffies when it first saw that job; used by the work only */
		unsigned long since;
		/** @watchdog.busy_ns: what the queue had run by then; used by the work only */
		u64 busy_ns;
		/** @watchdog.stuck: looks that found that job with a slot and not started */
		u32 stuck;
	} watchdog;

	/** @revoke_work: takes the doorbell of a user-mode queue from the process */
	struct work_struct revoke_work;
	/** @kill_work: takes the queue off its slot and ends its jobs */
	struct work_struct kill_work;
	/** @kills: kills that have begun and not ended */
	atomic_t kills;
	/** @teardown_work: runs when @active has dropped */
	struct work_struct teardown_work;
	/** @gone: completed when the queue has left the card */
	struct completion gone;

	/** @vector: interrupt vector */
	u32 vector;
	/** @irq_node: in the list of queues of that vector (onpu_irq.c) */
	struct list_head irq_node;
	/** @notify: eventfd of QUEUE_NOTIFY or NULL; protected by the vector's lock */
	struct eventfd_ctx *notify;
	/** @on_card: the firmware knows the queue */
	bool on_card;
	/** @in_lr: it counts in what makes its address space long-running */
	bool in_lr;
	/** @kernel: of the driver's own, see onpu_migrate.c */
	bool kernel;
	/** @restore: to be created again after the reset; recovery only */
	bool restore;
};

int onpu_queue_mgr_init(struct onpu_device *odev);

struct onpu_queue *onpu_queue_lookup(struct onpu_file *ofile, u32 id);
struct onpu_queue *onpu_queue_next(struct onpu_device *odev, unsigned long *index);
bool onpu_queue_get_active(struct onpu_queue *queue);
void onpu_queue_put_active(struct onpu_queue *queue);
void onpu_queue_get(struct onpu_queue *queue);
void onpu_queue_put(struct onpu_queue *queue);

/**
 * struct onpu_queue_death - why a queue dies
 */
struct onpu_queue_death {
	/** @flags: DRM_ONPU_QUEUE_*, besides DEAD */
	u32 flags;
	/** @error: enum onpu_queue_error */
	u32 error;
	/** @guilty: error of the job that runs */
	int guilty;
	/** @others: error of all other jobs */
	int others;
	/** @fault_info: ONPU_FAULT_INFO */
	u32 fault_info;
	/** @opcode: of the packet at fault */
	u32 opcode;
	/** @fault_va: address of a fault */
	u64 fault_va;
};

/**
 * onpu_queue_is_dead() - whether a queue takes no more jobs
 * @queue: queue
 *
 * Return: true when dead, which it stays.
 */
static inline bool onpu_queue_is_dead(struct onpu_queue *queue)
{
	return READ_ONCE(queue->state.flags) & DRM_ONPU_QUEUE_DEAD;
}

bool onpu_queue_mark_dead(struct onpu_queue *queue, const struct onpu_queue_death *death);
void onpu_queue_kill(struct onpu_queue *queue, const struct onpu_queue_death *death);
struct onpu_queue *onpu_queue_create_kernel(struct onpu_file *ofile, struct onpu_vm *vm);
void onpu_queue_destroy_kernel(struct onpu_queue *queue);
int onpu_queue_revive_kernel(struct onpu_queue *queue);
int onpu_queue_create_on_card(struct onpu_queue *queue);
void onpu_queue_ring_doorbell(struct onpu_queue *queue);
void onpu_queue_error_event(struct onpu_device *odev, const struct onpu_msg_queue_error *ev);
void onpu_queue_hang_event(struct onpu_device *odev, const struct onpu_msg_queue_hang *ev);
void onpu_queue_watch(struct onpu_queue *queue);

struct onpu_queue *onpu_queue_find_user(struct onpu_file *ofile, u64 index);
void onpu_queue_unmap_vm(struct onpu_device *odev, struct onpu_vm *vm);
bool onpu_queue_vm_is_idle(struct onpu_device *odev, struct onpu_vm *vm);
void onpu_queue_kill_vm(struct onpu_device *odev, struct onpu_vm *vm);
void onpu_queue_pause(struct onpu_queue *queue);
void onpu_queue_unpause(struct onpu_queue *queue);
void onpu_queue_file_close(struct onpu_file *ofile);
void onpu_queue_show_fdinfo(struct drm_printer *p, struct onpu_file *ofile);
u32 onpu_queue_job_timeout_ms(void);

int onpu_ioctl_queue_create(struct drm_device *drm, void *data, struct drm_file *file);
int onpu_ioctl_queue_destroy(struct drm_device *drm, void *data, struct drm_file *file);
int onpu_ioctl_queue_get_state(struct drm_device *drm, void *data, struct drm_file *file);

#endif /* __ONPU_QUEUE_H__ */

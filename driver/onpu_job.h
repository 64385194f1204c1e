/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_JOB_H__
#define __ONPU_JOB_H__

#include <linux/types.h>

#include <drm/gpu_scheduler.h>

struct dma_fence;
struct drm_file;
struct drm_onpu_job;
struct onpu_fence;
struct onpu_queue;

/** ONPU_JOB_GROUP_MAX - jobs of user space that go as one */
#define ONPU_JOB_GROUP_MAX	16

/**
 * struct onpu_job_cmds - what a job executes
 */
struct onpu_job_cmds {
	/** @va: address of the first packet */
	u64 va;
	/** @count: packets, 0: an empty job */
	u32 count;
};

/**
 * struct onpu_job - a job, from SUBMIT until its fence has signalled
 */
struct onpu_job {
	/** @base: the scheduler's part */
	struct drm_sched_job base;
	/** @queue: keeps it active */
	struct onpu_queue *queue;
	/** @fence: signalled by the card */
	struct onpu_fence *fence;
	/** @ran: the scheduler has run it */
	bool ran;
	/** @room: elements of @cmds that were allocated */
	u32 room;
	/** @count: jobs of user space that it is made of, 1 to @room */
	u32 count;
	/** @cmds: what each of them executes */
	struct onpu_job_cmds cmds[] __counted_by(room);
};

extern const struct drm_sched_backend_ops onpu_sched_ops;

struct onpu_job *onpu_job_create(struct onpu_queue *queue, struct drm_file *file,
				 const struct drm_onpu_job *args, u32 room);
bool onpu_job_join(struct onpu_job *job, const struct drm_onpu_job *args);
void onpu_job_push(struct onpu_job *job);
struct dma_fence *onpu_job_run_directly(struct onpu_job *job);
void onpu_job_abort(struct onpu_job *job);
u32 onpu_job_half_ring(const struct onpu_queue *queue);
int onpu_job_reserve(struct onpu_queue *queue, u32 count);
void onpu_job_unreserve(struct onpu_queue *queue, u32 count);
void onpu_job_rewind(struct onpu_queue *queue, void *buf);

#endif /* __ONPU_JOB_H__ */

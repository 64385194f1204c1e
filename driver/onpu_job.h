/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_JOB_H__
#define __ONPU_JOB_H__

#include <linux/types.h>

#include <drm/gpu_scheduler.h>

struct drm_file;
struct drm_onpu_job;
struct onpu_fence;
struct onpu_queue;

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
	/** @cmd_va: address of the first packet */
	u64 cmd_va;
	/** @cmd_count: packets, 0: an empty job */
	u32 cmd_count;
};

extern const struct drm_sched_backend_ops onpu_sched_ops;

struct onpu_job *onpu_job_create(struct onpu_queue *queue, struct drm_file *file,
				 const struct drm_onpu_job *args);
void onpu_job_abort(struct onpu_job *job);
int onpu_job_reserve(struct onpu_queue *queue, u32 count);
void onpu_job_unreserve(struct onpu_queue *queue, u32 count);

#endif /* __ONPU_JOB_H__ */

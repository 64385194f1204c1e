/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_FENCE_H__
#define __ONPU_FENCE_H__

#include <linux/dma-fence.h>
#include <linux/types.h>

struct drm_sched_fence;
struct onpu_queue;

/**
 * struct onpu_fence - completion of a job in the ring
 *
 * Never given to anybody but the scheduler, whose own fences are what others
 * see; those keep this one as their parent and, through it, the queue.
 */
struct onpu_fence {
	/** @base: fence; first, so that it is freed by RCU as the core does it */
	struct dma_fence base;
	/** @queue: referenced */
	struct onpu_queue *queue;
	/** @node: in &onpu_queue.fences.list until signalled */
	struct list_head node;
	/** @jobs: how many it stands for; its number is the last one's */
	u32 jobs;
	/** @direct: it has their places, and keeps the queue active, until it has signalled */
	bool direct;
};

struct onpu_fence *onpu_fence_alloc(struct onpu_queue *queue, gfp_t gfp);
void onpu_fence_drop(struct onpu_fence *fence);
int onpu_fence_begin(struct onpu_fence *fence);
void onpu_fence_adopt(struct onpu_fence *fence, struct drm_sched_fence *s_fence);

void onpu_fence_process(struct onpu_queue *queue);
void onpu_fence_cancel(struct onpu_queue *queue);
u64 onpu_fence_oldest(struct onpu_queue *queue);
u64 onpu_fence_running_ns(struct onpu_queue *queue);
bool onpu_fence_is_unfinished(struct onpu_queue *queue);
u32 onpu_fence_count(struct onpu_queue *queue);

#endif /* __ONPU_FENCE_H__ */

// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Synchronisation of jobs
 *
 * Jobs wait for and signal syncobjs, binary ones and points of timelines. What
 * a job signals becomes visible when the whole SUBMIT does, but a later job of
 * the same call may already wait for it: then the order of the queue does the
 * waiting, and only what the syncobj holds besides counts.
 *
 * Everything is allocated before the first job is armed; publishing cannot
 * fail. Locking: none of its own; a context belongs to one call.
 */

#include <linux/dma-fence-chain.h>
#include <linux/slab.h>

#include <drm/drm_syncobj.h>
#include <drm/gpu_scheduler.h>
#include <drm/onpu_accel.h>

#include "onpu_sync.h"

/**
 * struct onpu_sync_signal - a syncobj that a job will signal
 */
struct onpu_sync_signal {
	/** @node: in &onpu_sync_ctx.signals */
	struct list_head node;
	/** @job: the job */
	struct drm_sched_job *job;
	/** @syncobj: referenced */
	struct drm_syncobj *syncobj;
	/** @chain: link of the timeline, or NULL for a binary syncobj */
	struct dma_fence_chain *chain;
	/** @point: of the timeline */
	u64 point;
};

/**
 * onpu_sync_init() - begin a SUBMIT
 * @ctx: context
 */
void onpu_sync_init(struct onpu_sync_ctx *ctx)
{
	INIT_LIST_HEAD(&ctx->signals);
}

/**
 * onpu_sync_check() - check what user space asks for
 * @sync: a copy of it
 *
 * Return: 0 or -EINVAL.
 */
int onpu_sync_check(const struct drm_onpu_sync *sync)
{
	if (sync->flags & ~(DRM_ONPU_SYNC_SIGNAL | DRM_ONPU_SYNC_TIMELINE))
		return -EINVAL;
	/* A timeline has points from 1, a binary syncobj none. */
	if (!(sync->flags & DRM_ONPU_SYNC_TIMELINE) != !sync->point)
		return -EINVAL;
	return 0;
}

/* The last job of this call that signals what is waited for, if any. */
static struct onpu_sync_signal *onpu_sync_find(struct onpu_sync_ctx *ctx,
					       struct drm_syncobj *syncobj,
					       const struct drm_sched_job *before, u64 point)
{
	struct onpu_sync_signal *signal;

	list_for_each_entry_reverse(signal, &ctx->signals, node) {
		if (signal->syncobj == syncobj && signal->job != before &&
		    (!point || signal->point >= point))
			return signal;
	}

	return NULL;
}

/**
 * onpu_sync_wait() - make a job wait
 * @ctx: context
 * @file: caller
 * @job: job
 * @sync: what it waits for, checked
 *
 * Return: 0, -ENOENT for a handle that the file does not have, -EINVAL when
 * there is nothing to wait for, -ENOMEM.
 */
int onpu_sync_wait(struct onpu_sync_ctx *ctx, struct drm_file *file, struct drm_sched_job *job,
		   const struct drm_onpu_sync *sync)
{
	struct drm_syncobj *syncobj = drm_syncobj_find(file, sync->handle);
	struct onpu_sync_signal *earlier;
	struct dma_fence *fence = NULL;
	int ret;

	if (!syncobj)
		return -ENOENT;

	earlier = onpu_sync_find(ctx, syncobj, job, sync->point);
	if (earlier && !earlier->chain) {
		/* Replaces what was in the syncobj; the queue is in order. */
		ret = 0;
		goto out_put;
	}

	ret = drm_syncobj_find_fence(file, sync->handle, sync->point, 0, &fence);
	if (ret && earlier) {
		/* The point will follow what the timeline holds now. */
		fence = drm_syncobj_fence_get(syncobj);
		ret = 0;
	}
	if (!ret)
		ret = drm_sched_job_add_dependency(job, fence);

out_put:
	drm_syncobj_put(syncobj);
	return ret;
}

/**
 * onpu_sync_add_signal() - make a job signal
 * @ctx: context
 * @file: caller
 * @job: job, not before those already in @ctx
 * @sync: what it signals, checked
 *
 * Return: 0, -ENOENT for a handle that the file does not have, -ENOMEM.
 */
int onpu_sync_add_signal(struct onpu_sync_ctx *ctx, struct drm_file *file,
			 struct drm_sched_job *job, const struct drm_onpu_sync *sync)
{
	struct onpu_sync_signal *signal;
	int ret = -ENOMEM;

	signal = kzalloc(sizeof(*signal), GFP_KERNEL);
	if (!signal)
		return -ENOMEM;
	if (sync->flags & DRM_ONPU_SYNC_TIMELINE) {
		signal->chain = dma_fence_chain_alloc();
		if (!signal->chain)
			goto err_free;
	}
	signal->syncobj = drm_syncobj_find(file, sync->handle);
	if (!signal->syncobj) {
		ret = -ENOENT;
		goto err_free;
	}

	signal->job = job;
	signal->point = sync->point;
	list_add_tail(&signal->node, &ctx->signals);
	return 0;

err_free:
	dma_fence_chain_free(signal->chain);
	kfree(signal);
	return ret;
}

/**
 * onpu_sync_publish() - put the fences of armed jobs into their syncobjs
 * @ctx: context
 * @fence: of the only job, when the scheduler has nothing to do with it; else NULL
 */
void onpu_sync_publish(struct onpu_sync_ctx *ctx, struct dma_fence *fence)
{
	struct onpu_sync_signal *signal;

	list_for_each_entry(signal, &ctx->signals, node) {
		struct dma_fence *done = fence ?: &signal->job->s_fence->finished;

		if (!signal->chain) {
			drm_syncobj_replace_fence(signal->syncobj, done);
			continue;
		}
		drm_syncobj_add_point(signal->syncobj, signal->chain, done, signal->point);
		/* The chain belongs to the syncobj now. */
		signal->chain = NULL;
	}
}

/**
 * onpu_sync_fini() - end a SUBMIT
 * @ctx: context
 */
void onpu_sync_fini(struct onpu_sync_ctx *ctx)
{
	struct onpu_sync_signal *signal, *next;

	list_for_each_entry_safe(signal, next, &ctx->signals, node) {
		dma_fence_chain_free(signal->chain);
		drm_syncobj_put(signal->syncobj);
		kfree(signal);
	}
}

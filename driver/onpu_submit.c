// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: SUBMIT
 *
 * All or nothing: arguments are copied once and checked, places in the queue
 * are waited for, jobs, fences and timeline points are allocated, dependencies
 * are looked up. Then the reservations of the VM and of its shared buffer
 * objects are locked and what was evicted is brought back. From there on nothing
 * can fail: the jobs are armed, their fences go into the reservations and the
 * syncobjs, and the scheduler gets the jobs, or a single one goes past it (onpu_job.c).
 *
 * Jobs of a queue end in order and their fences share a context, so the last
 * job's fence is enough for the reservations.
 *
 * Locking: the reservation of the VM is held from the first arming to the last
 * push, which keeps the order of two calls on one queue the same in both.
 */

#include <linux/slab.h>

#include <drm/drm_gpuvm.h>
#include <drm/onpu_accel.h>

#include "onpu_device.h"
#include "onpu_job.h"
#include "onpu_queue.h"
#include "onpu_submit.h"
#include "onpu_sync.h"
#include "onpu_user.h"
#include "onpu_vm.h"

/**
 * struct onpu_submit - a SUBMIT under way
 */
struct onpu_submit {
	/** @drm: DRM device */
	struct drm_device *drm;
	/** @file: caller */
	struct drm_file *file;
	/** @queue: kept active */
	struct onpu_queue *queue;
	/** @jobs: created so far; each is one job of user space or several */
	struct onpu_job *jobs[ONPU_MAX_JOBS_PER_SUBMIT];
	/** @count: elements of @jobs */
	u32 count;
	/** @left: jobs of user space that are not among @jobs yet */
	u32 left;
	/** @joinable: the last of @jobs signals nothing */
	bool joinable;
	/** @syncs: what they signal */
	struct onpu_sync_ctx syncs;
};

static int onpu_submit_check_job(struct onpu_submit *submit, const struct drm_onpu_job *job)
{
	struct drm_device *drm = submit->drm;
	u64 size = (u64)job->cmd_count * ONPU_PACKET_SIZE;

	if (ONPU_BAD(drm, job->flags) ||
	    ONPU_BAD(drm, job->cmd_count > submit->queue->odev->caps.call_max) ||
	    ONPU_BAD(drm, job->cmd_va % ONPU_PACKET_SIZE))
		return -EINVAL;
	if (ONPU_BAD(drm, job->cmd_count && job->cmd_va < ONPU_VA_USER_START) ||
	    ONPU_BAD(drm, job->cmd_va > ONPU_VA_USER_END) ||
	    ONPU_BAD(drm, size > ONPU_VA_USER_END - job->cmd_va))
		return -EINVAL;

	return 0;
}

static int onpu_submit_add_syncs(struct onpu_submit *submit, struct onpu_job *job,
				 const struct drm_onpu_sync *syncs, u32 count)
{
	int ret = 0;
	u32 i;

	for (i = 0; i < count && !ret; i++) {
		ret = onpu_sync_check(&syncs[i]);
		if (ret)
			break;
		if (syncs[i].flags & DRM_ONPU_SYNC_SIGNAL)
			ret = onpu_sync_add_signal(&submit->syncs, submit->file, &job->base,
						   &syncs[i]);
		else
			ret = onpu_sync_wait(&submit->syncs, submit->file, &job->base, &syncs[i]);
	}
	ONPU_BAD(submit->drm, ret && "syncs");

	return ret;
}

static bool onpu_submit_has(const struct drm_onpu_sync *syncs, u32 count, bool signal)
{
	u32 i;

	for (i = 0; i < count; i++)
		if (!(syncs[i].flags & DRM_ONPU_SYNC_SIGNAL) == !signal)
			return true;
	return false;
}

/* The job that @args becomes, or becomes a part of. */
static struct onpu_job *onpu_submit_get_job(struct onpu_submit *submit,
					    const struct drm_onpu_job *args, bool waits)
{
	struct onpu_job *job;

	if (submit->joinable && !waits) {
		job = submit->jobs[submit->count - 1];
		if (onpu_job_join(job, args))
			return job;
	}
	job = onpu_job_create(submit->queue, submit->file, args, submit->left);
	if (!IS_ERR(job))
		submit->jobs[submit->count++] = job;
	return job;
}

static int onpu_submit_add_job(struct onpu_submit *submit, const struct drm_onpu_job *args)
{
	struct drm_onpu_sync *syncs;
	struct onpu_job *job;
	int ret;

	ret = onpu_submit_check_job(submit, args);
	if (ret)
		return ret;

	syncs = onpu_array_get(&args->syncs, ONPU_MAX_SYNCS_PER_JOB,
			       sizeof(struct drm_onpu_sync), sizeof(struct drm_onpu_sync));
	if (IS_ERR(syncs))
		return PTR_ERR(syncs);

	job = onpu_submit_get_job(submit, args, onpu_submit_has(syncs, args->syncs.count, false));
	if (IS_ERR(job)) {
		ret = PTR_ERR(job);
		goto out_free;
	}
	submit->left--;
	submit->joinable = !onpu_submit_has(syncs, args->syncs.count, true);
	ret = onpu_submit_add_syncs(submit, job, syncs, args->syncs.count);

out_free:
	kvfree(syncs);
	return ret;
}

/* Arms and pushes the jobs; they belong to the scheduler when it returns 0. */
static int onpu_submit_push(struct onpu_submit *submit, u32 count)
{
	struct onpu_queue *queue = submit->queue;
	struct onpu_job *last = submit->jobs[submit->count - 1];
	struct dma_fence *fence;
	struct onpu_vm_exec exec;
	u32 i;
	int ret;

	ret = onpu_vm_lock_for_submit(queue->vm, &exec, 1);
	if (ret)
		return ret;
	ret = onpu_vm_add_dependencies(&exec, &submit->jobs[0]->base);
	if (ret) {
		onpu_vm_unlock_submit(&exec);
		return ret;
	}

	/* Nothing can fail from here on. */
	atomic64_add(count, &queue->jobs.submitted);
	fence = submit->count == 1 ? onpu_job_run_directly(last) : NULL;
	if (!fence)
		for (i = 0; i < submit->count; i++)
			drm_sched_job_arm(&submit->jobs[i]->base);
	onpu_vm_add_fence(&exec, fence ?: &last->base.s_fence->finished);
	onpu_sync_publish(&submit->syncs, fence);
	if (!fence)
		for (i = 0; i < submit->count; i++)
			onpu_job_push(submit->jobs[i]);
	dma_fence_put(fence);

	onpu_vm_unlock_submit(&exec);
	return 0;
}

static int onpu_submit_jobs(struct onpu_submit *submit, const struct drm_onpu_job *jobs, u32 count)
{
	int ret;
	u32 i;

	ret = onpu_job_reserve(submit->queue, count);
	if (ret)
		return ret;

	submit->left = count;
	onpu_sync_init(&submit->syncs);
	for (i = 0; i < count && !ret; i++)
		ret = onpu_submit_add_job(submit, &jobs[i]);
	if (!ret)
		ret = onpu_submit_push(submit, count);
	onpu_sync_fini(&submit->syncs);
	if (!ret)
		return 0;

	for (i = 0; i < submit->count; i++)
		onpu_job_abort(submit->jobs[i]);
	onpu_job_unreserve(submit->queue, count);
	return ret;
}

/**
 * onpu_ioctl_submit() - DRM_IOCTL_ONPU_SUBMIT
 * @drm: DRM device
 * @data: struct drm_onpu_submit
 * @file: caller
 *
 * Return: 0 or a negative error code, see Documentation/uapi.md.
 */
int onpu_ioctl_submit(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_onpu_submit *args = data;
	struct drm_onpu_job *jobs;
	struct onpu_submit *submit;
	int ret;

	if (ONPU_BAD(drm, args->flags) || ONPU_BAD(drm, !args->jobs.count))
		return -EINVAL;

	jobs = onpu_array_get(&args->jobs, ONPU_MAX_JOBS_PER_SUBMIT,
			      sizeof(struct drm_onpu_job), sizeof(struct drm_onpu_job));
	if (IS_ERR(jobs))
		return PTR_ERR(jobs);
	submit = kzalloc(sizeof(*submit), GFP_KERNEL);
	if (!submit) {
		ret = -ENOMEM;
		goto out_free_jobs;
	}

	submit->drm = drm;
	submit->file = file;
	submit->queue = onpu_queue_lookup(file->driver_priv, args->queue_id);
	if (!submit->queue) {
		ret = -ENOENT;
		goto out_free_submit;
	}
	if (ONPU_BAD(drm, submit->queue->uqueue))
		ret = -EINVAL;
	else
		ret = onpu_submit_jobs(submit, jobs, args->jobs.count);
	onpu_queue_put_active(submit->queue);

out_free_submit:
	kfree(submit);
out_free_jobs:
	kvfree(jobs);
	return ret;
}

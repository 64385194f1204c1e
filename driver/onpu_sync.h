/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_SYNC_H__
#define __ONPU_SYNC_H__

#include <linux/list.h>
#include <linux/types.h>

struct dma_fence;
struct drm_file;
struct drm_onpu_sync;
struct drm_sched_job;

/**
 * struct onpu_sync_ctx - syncs of a SUBMIT
 */
struct onpu_sync_ctx {
	/** @signals: struct onpu_sync_signal, in the order of their jobs */
	struct list_head signals;
};

void onpu_sync_init(struct onpu_sync_ctx *ctx);
int onpu_sync_check(const struct drm_onpu_sync *sync);
int onpu_sync_wait(struct onpu_sync_ctx *ctx, struct drm_file *file, struct drm_sched_job *job,
		   const struct drm_onpu_sync *sync);
int onpu_sync_add_signal(struct onpu_sync_ctx *ctx, struct drm_file *file,
			 struct drm_sched_job *job, const struct drm_onpu_sync *sync);
void onpu_sync_publish(struct onpu_sync_ctx *ctx, struct dma_fence *fence);
void onpu_sync_fini(struct onpu_sync_ctx *ctx);

#endif /* __ONPU_SYNC_H__ */

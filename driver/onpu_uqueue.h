/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_UQUEUE_H__
#define __ONPU_UQUEUE_H__

#include <linux/types.h>

struct drm_onpu_queue_create;
struct file;
struct onpu_device;
struct onpu_msg_queue_create;
struct onpu_queue;
struct onpu_uqueue;
struct vm_area_struct;

bool onpu_uqueue_supported(struct onpu_device *odev);
int onpu_uqueue_check(struct onpu_device *odev, const struct drm_onpu_queue_create *args);
struct onpu_uqueue *onpu_uqueue_alloc(const struct drm_onpu_queue_create *args);
void onpu_uqueue_free(struct onpu_uqueue *uqueue);
bool onpu_uqueue_has_progress(const struct onpu_uqueue *uqueue);
void onpu_uqueue_describe(const struct onpu_queue *queue, struct onpu_msg_queue_create *body);
u64 onpu_uqueue_doorbell_offset(const struct onpu_queue *queue);
u64 onpu_uqueue_progress_offset(const struct onpu_queue *queue);
void onpu_uqueue_revoke(struct onpu_queue *queue);
void onpu_uqueue_unmap(struct onpu_queue *queue);
void onpu_uqueue_forget(struct onpu_queue *queue);

int onpu_uqueue_mmap(struct file *filp, struct vm_area_struct *vma);

#endif /* __ONPU_UQUEUE_H__ */

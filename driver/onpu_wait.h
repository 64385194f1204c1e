/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_WAIT_H__
#define __ONPU_WAIT_H__

struct drm_device;
struct drm_file;
struct onpu_device;
struct onpu_queue;

void onpu_wait_wake(struct onpu_device *odev);
void onpu_wait_drop_notify(struct onpu_queue *queue);

int onpu_ioctl_wait(struct drm_device *drm, void *data, struct drm_file *file);
int onpu_ioctl_queue_notify(struct drm_device *drm, void *data, struct drm_file *file);

#endif /* __ONPU_WAIT_H__ */

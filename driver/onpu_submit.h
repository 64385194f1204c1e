/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_SUBMIT_H__
#define __ONPU_SUBMIT_H__

struct drm_device;
struct drm_file;

int onpu_ioctl_submit(struct drm_device *drm, void *data, struct drm_file *file);

#endif /* __ONPU_SUBMIT_H__ */

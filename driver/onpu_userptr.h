/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_USERPTR_H__
#define __ONPU_USERPTR_H__

#include <linux/types.h>

struct drm_device;
struct drm_file;

u64 onpu_userptr_limit(void);
u64 onpu_userptr_pinned(void);

int onpu_ioctl_bo_userptr(struct drm_device *drm, void *data, struct drm_file *file);

#endif /* __ONPU_USERPTR_H__ */

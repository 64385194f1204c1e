/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_USER_H__
#define __ONPU_USER_H__

#include <linux/types.h>

#include <drm/drm_print.h>
#include <drm/onpu_accel.h>

/**
 * ONPU_BAD() - a condition that makes an ioctl fail
 * @drm: DRM device
 * @cond: condition
 *
 * Says in the debug log which condition it was, so that a user of the
 * interface can find out why there was an -EINVAL.
 */
#define ONPU_BAD(drm, cond) \
	((cond) && (drm_dbg((drm), "ioctl argument: %s\n", #cond), 1))

void *onpu_array_get(const struct drm_onpu_array *arr, u32 max_count,
		     size_t min_stride, size_t elem_size);

#endif /* __ONPU_USER_H__ */

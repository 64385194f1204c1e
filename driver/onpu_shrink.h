/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_SHRINK_H__
#define __ONPU_SHRINK_H__

#include <linux/types.h>

struct onpu_bo;
struct onpu_device;

int onpu_shrink_init(struct onpu_device *odev);
void onpu_shrink_set_purgeable(struct onpu_bo *bo, bool purgeable);

#endif /* __ONPU_SHRINK_H__ */

/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_MIGRATE_H__
#define __ONPU_MIGRATE_H__

#include <linux/types.h>

struct dma_fence;
struct onpu_device;
struct ttm_resource;
struct ttm_tt;

int onpu_migrate_init(struct onpu_device *odev);
void onpu_migrate_unplug(struct onpu_device *odev);

int onpu_migrate_restore(struct onpu_device *odev);

struct dma_fence *onpu_migrate_clear(struct onpu_device *odev, struct ttm_resource *res);
struct dma_fence *onpu_migrate_copy(struct onpu_device *odev, struct ttm_resource *dst,
				    struct ttm_resource *src, struct ttm_tt *tt);

#endif /* __ONPU_MIGRATE_H__ */

/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_TT_H__
#define __ONPU_TT_H__

#include <linux/types.h>

struct onpu_device;
struct ttm_buffer_object;
struct ttm_device;
struct ttm_operation_ctx;
struct ttm_tt;

struct ttm_tt *onpu_tt_create(struct ttm_buffer_object *tbo, u32 page_flags);
void onpu_tt_destroy(struct ttm_device *bdev, struct ttm_tt *tt);
int onpu_tt_populate(struct ttm_device *bdev, struct ttm_tt *tt, struct ttm_operation_ctx *ctx);
void onpu_tt_unpopulate(struct ttm_device *bdev, struct ttm_tt *tt);
void onpu_tt_unplug(struct onpu_device *odev);

#endif /* __ONPU_TT_H__ */

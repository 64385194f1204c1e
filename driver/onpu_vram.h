/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_VRAM_H__
#define __ONPU_VRAM_H__

#include <linux/types.h>

struct gpu_buddy_block;
struct onpu_device;
struct ttm_resource;

int onpu_vram_init(struct onpu_device *odev);

u64 onpu_vram_size(struct onpu_device *odev);
u64 onpu_vram_visible_size(struct onpu_device *odev);
u64 onpu_vram_used(struct onpu_device *odev);

bool onpu_vram_visible(const struct ttm_resource *res);
u64 onpu_vram_extent(const struct ttm_resource *res, u64 offset, u64 *len);

struct gpu_buddy_block *onpu_vram_page_alloc(struct onpu_device *odev);
void onpu_vram_page_free(struct onpu_device *odev, struct gpu_buddy_block *page);
u64 onpu_vram_page_offset(const struct gpu_buddy_block *page);

void onpu_vram_clear(struct onpu_device *odev, u64 offset, u64 len);

#endif /* __ONPU_VRAM_H__ */

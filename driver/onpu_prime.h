/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_PRIME_H__
#define __ONPU_PRIME_H__

struct dma_buf;
struct drm_device;
struct drm_gem_object;
struct iosys_map;
struct onpu_bo;

struct dma_buf *onpu_prime_export(struct drm_gem_object *obj, int flags);
struct drm_gem_object *onpu_prime_import(struct drm_device *drm, struct dma_buf *dma_buf);
void onpu_prime_move_notify(struct onpu_bo *bo);

int onpu_prime_vmap(struct drm_gem_object *obj, struct iosys_map *map);
void onpu_prime_vunmap(struct drm_gem_object *obj, struct iosys_map *map);

#endif /* __ONPU_PRIME_H__ */

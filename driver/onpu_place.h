/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_PLACE_H__
#define __ONPU_PLACE_H__

#include <linux/bits.h>
#include <linux/types.h>

#include <drm/ttm/ttm_placement.h>

struct onpu_bo;
struct onpu_device;
struct ttm_buffer_object;
struct ttm_operation_ctx;
struct ttm_resource;

/**
 * ONPU_PLACE_ROOM - flag of a struct ttm_place in system memory: something else takes
 * the memory of the card, so the limit of system memory does not count
 */
#define ONPU_PLACE_ROOM		BIT(31)

/**
 * struct onpu_placement - where a buffer object may be
 */
struct onpu_placement {
	/** @base: what TTM takes */
	struct ttm_placement base;
	/** @places: in order of preference */
	struct ttm_place places[4];
};

/**
 * struct onpu_room - a try to find room
 */
struct onpu_room {
	/** @odev: the card */
	struct onpu_device *odev;
	/** @exclusive: nobody else looks for room meanwhile */
	bool exclusive;
};

int onpu_room_begin(struct onpu_room *room, struct onpu_device *odev);
bool onpu_room_retry(struct onpu_room *room, int error);
void onpu_room_end(struct onpu_room *room);
int onpu_room_make(struct onpu_device *odev);

void onpu_placement_init(struct onpu_placement *p, struct onpu_bo *bo, bool kernel);
int onpu_place_validate(struct onpu_bo *bo);
int onpu_place_validate_for_cpu(struct onpu_bo *bo);
int onpu_place_prefetch(struct onpu_bo *bo);
int onpu_place_evict(struct onpu_bo *bo);
int onpu_place_purge(struct onpu_bo *bo);
bool onpu_place_is_usable(const struct onpu_bo *bo);

bool onpu_place_eviction_valuable(struct ttm_buffer_object *tbo, const struct ttm_place *place);
void onpu_place_evict_flags(struct ttm_buffer_object *tbo, struct ttm_placement *placement);
int onpu_place_move(struct ttm_buffer_object *tbo, bool evict, struct ttm_operation_ctx *ctx,
		    struct ttm_resource *new_mem, struct ttm_place *hop);

#endif /* __ONPU_PLACE_H__ */

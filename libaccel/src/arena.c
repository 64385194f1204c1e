/* SPDX-License-Identifier: MIT */
/*
 * Command memory of a queue. Submissions finish in order, so a ring of bytes is
 * enough: allocated at the head, freed at the tail. An allocation never wraps; what
 * is left at the end of the ring is skipped and comes back with the allocation after it.
 *
 * Card memory is tried first: the card fetches from it without crossing PCIe.
 *
 * Locking: the queue's lock.
 */
#include "internal.h"

#include <string.h>

int arena_init(struct arena *arena, struct accel_context *context)
{
	void *pointer;
	int ret;

	ret = bo_init(&arena->bo, context, ARENA_SIZE, DRM_ONPU_BO_VRAM | DRM_ONPU_BO_SYSTEM, 0);
	if (ret)
		return ret;
	ret = bo_map(&arena->bo, &pointer);
	if (ret) {
		bo_fini(&arena->bo);
		return ret;
	}
	arena->pointer = pointer;
	arena->head = ARENA_RESERVED;
	arena->tail = ARENA_RESERVED;
	arena->live = 0;
	return 0;
}

void arena_fini(struct arena *arena)
{
	bo_fini(&arena->bo);
}

uint32_t arena_round(uint32_t size)
{
	return (size + 63) & ~63u;
}

int64_t arena_alloc(struct arena *arena, uint32_t size)
{
	uint32_t start;

	size = arena_round(size);
	if (!arena->live)
		arena->head = arena->tail = ARENA_RESERVED;
	start = arena->head;
	if (!arena->live || arena->head > arena->tail) {
		/* Free: head to the end, then the beginning up to the tail. */
		if (ARENA_SIZE - start < size) {
			start = ARENA_RESERVED;
			if (arena->tail - start < size)
				return -EAGAIN;
		}
	} else if (arena->tail - start < size) {
		return -EAGAIN;
	}
	arena->head = start + size;
	arena->live++;
	return start;
}

void arena_free_oldest(struct arena *arena, uint32_t end)
{
	arena->tail = end;
	arena->live--;
}

/* After a wrap the end of the ring stays skipped, which costs room but is right. */
void arena_undo(struct arena *arena, uint32_t end, uint32_t size)
{
	arena->head = end - arena_round(size);
	arena->live--;
}

/* SPDX-License-Identifier: MIT */
/*
 * Buffers: memory of a context for the application.
 *
 * A submission holds a reference to the buffers that it uses until it is done, so
 * that destroying a buffer never takes memory from under running work.
 *
 * Locking: nothing changes but atomic counts and flags.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_FLAGS (ACCEL_BUFFER_CARD | ACCEL_BUFFER_HOST | ACCEL_BUFFER_CARD_READONLY | \
		      ACCEL_BUFFER_CPU_VISIBLE | ACCEL_BUFFER_SHAREABLE)

void buffer_get(struct accel_buffer *buffer)
{
	atomic_fetch_add_explicit(&buffer->refs, 1, memory_order_relaxed);
}

void buffer_put(struct accel_buffer *buffer)
{
	if (atomic_fetch_sub(&buffer->refs, 1) != 1)
		return;
	if (atomic_load(&buffer->listed))
		pointer_remove(buffer, (char *)buffer->bo.pointer + buffer->start);
	bo_fini(&buffer->bo);
	free(buffer);
}

int buffer_list(struct accel_buffer *buffer)
{
	uint64_t size = buffer->bo.borrowed ? buffer->size : buffer->bo.size;
	int ret;

	if (atomic_exchange(&buffer->listed, true))
		return 0;
	ret = pointer_add(buffer, (char *)buffer->bo.pointer + buffer->start, size);
	if (ret)
		atomic_store(&buffer->listed, false);
	return ret;
}

uint64_t buffer_va(const struct accel_buffer *buffer)
{
	return buffer->bo.va + buffer->start;
}

bool buffer_same(const struct accel_buffer *a, const struct accel_buffer *b)
{
	return a == b || (a && b && a->bo.shared && a->bo.shared == b->bo.shared);
}

int buffer_check_content(const struct accel_buffer *buffer)
{
	if (atomic_load_explicit(&buffer->purgeable, memory_order_relaxed))
		return fail(-ENODATA, "the buffer is purgeable, its content may be gone: say ACCEL_ADVICE_NEEDED first");
	return 0;
}

static int check_create(const struct accel_context *context, uint64_t size, uint32_t flags)
{
	uint64_t max = context->device->limits.max_bo_size;

	if (!size)
		return fail(-EINVAL, "size is 0");
	if (flags & ~BUFFER_FLAGS)
		return fail(-EINVAL, "unknown flags 0x%x", flags & ~BUFFER_FLAGS);
	if (!(flags & (ACCEL_BUFFER_CARD | ACCEL_BUFFER_HOST)))
		return fail(-EINVAL, "flags 0x%x name no place: ACCEL_BUFFER_CARD, ACCEL_BUFFER_HOST",
			    flags);
	if (flags & ACCEL_BUFFER_CPU_VISIBLE && !(flags & ACCEL_BUFFER_CARD))
		return fail(-EINVAL, "ACCEL_BUFFER_CPU_VISIBLE is about card memory: give ACCEL_BUFFER_CARD too");
	if (size > max)
		return fail(-E2BIG, "size %" PRIu64 " is larger than the largest buffer, %" PRIu64, size,
			    max);
	return device_check(context->device);
}

int buffer_create(struct accel_context *context, uint64_t size, uint32_t flags, struct accel_buffer **out)
{
	struct accel_buffer *buffer;
	uint32_t placement = 0, bo_flags = 0;
	int ret;

	ret = check_create(context, size, flags);
	if (ret)
		return ret;
	if (flags & ACCEL_BUFFER_CARD)
		placement |= DRM_ONPU_BO_VRAM;
	if (flags & ACCEL_BUFFER_HOST)
		placement |= DRM_ONPU_BO_SYSTEM;
	if (flags & ACCEL_BUFFER_CPU_VISIBLE)
		placement |= DRM_ONPU_BO_CPU_VISIBLE;
	if (flags & ACCEL_BUFFER_CARD_READONLY)
		bo_flags |= BO_CARD_READONLY;
	if (flags & ACCEL_BUFFER_SHAREABLE) {
		bo_flags |= BO_SHAREABLE;
		ret = context_need_fences(context);
		if (ret)
			return ret;
	}
	buffer = calloc(1, sizeof(*buffer));
	if (!buffer)
		return fail(-ENOMEM, "out of memory");
	ret = bo_init(&buffer->bo, context, size, placement, bo_flags);
	if (ret) {
		free(buffer);
		return ret;
	}
	atomic_init(&buffer->refs, 1);
	buffer->size = size;
	buffer->flags = flags;
	buffer->origin = ACCEL_ORIGIN_CREATED;
	log_print(LOG_DEBUG, "buffer of %" PRIu64 " bytes at 0x%" PRIx64, size, buffer->bo.va);
	*out = buffer;
	return 0;
}

int accel_buffer_create(struct accel_context *context, uint64_t size, uint32_t flags,
			struct accel_buffer **out)
{
	api_begin(__func__);
	if (!context || !out)
		return fail(-EINVAL, "%s is NULL", context ? "buffer" : "context");
	return buffer_create(context, size, flags, out);
}

void accel_buffer_destroy(struct accel_buffer *buffer)
{
	if (buffer && !device_is_foreign(buffer->bo.context->device))
		buffer_put(buffer);
}

uint64_t accel_buffer_size(const struct accel_buffer *buffer)
{
	return buffer ? buffer->size : 0;
}

uint64_t accel_buffer_address(const struct accel_buffer *buffer)
{
	return buffer ? buffer_va(buffer) : 0;
}

int buffer_check(const struct accel_buffer *buffer)
{
	if (!buffer)
		return fail(-EINVAL, "buffer is NULL");
	return device_check(buffer->bo.context->device);
}

/* Maps the buffer for the CPU: where its first byte is. */
static int map_start(struct accel_buffer *buffer, void **pointer)
{
	void *first;
	int ret;

	ret = buffer_check_content(buffer);
	if (!ret)
		ret = bo_map(&buffer->bo, &first);
	if (!ret)
		ret = buffer_list(buffer);
	if (!ret)
		*pointer = (char *)first + buffer->start;
	return ret;
}

int accel_buffer_map(struct accel_buffer *buffer, void **pointer)
{
	int ret;

	api_begin(__func__);
	ret = buffer_check(buffer);
	if (ret)
		return ret;
	if (!pointer)
		return fail(-EINVAL, "pointer is NULL");
	ret = map_start(buffer, pointer);
	if (!ret)
		atomic_fetch_add(&buffer->maps, 1);
	return ret;
}

int accel_buffer_unmap(struct accel_buffer *buffer)
{
	unsigned int maps;
	int ret;

	api_begin(__func__);
	ret = buffer_check(buffer);
	if (ret)
		return ret;
	maps = atomic_load(&buffer->maps);
	do {
		if (!maps)
			return fail(-EINVAL, "the buffer is not mapped");
	} while (!atomic_compare_exchange_weak(&buffer->maps, &maps, maps - 1));
	return 0;
}

/* Checks a transfer and maps the buffer for it. */
static int transfer_begin(struct accel_buffer *buffer, uint64_t offset, const void *memory,
			  uint64_t size, void **pointer)
{
	int ret = buffer_check(buffer);

	if (ret)
		return ret;
	if (offset > buffer->size || size > buffer->size - offset)
		return fail(-EINVAL, "offset %" PRIu64 " + size %" PRIu64 " is outside the buffer of %" PRIu64
			    " bytes", offset, size, buffer->size);
	if (!memory && size)
		return fail(-EINVAL, "the host pointer is NULL");
	return map_start(buffer, pointer);
}

int accel_buffer_write(struct accel_buffer *buffer, uint64_t offset, const void *source,
		       uint64_t size)
{
	void *pointer;
	int ret;

	api_begin(__func__);
	ret = transfer_begin(buffer, offset, source, size, &pointer);
	if (!ret && size)
		memcpy((char *)pointer + offset, source, size);
	return ret;
}

int accel_buffer_read(struct accel_buffer *buffer, uint64_t offset, void *target, uint64_t size)
{
	void *pointer;
	int ret;

	api_begin(__func__);
	ret = transfer_begin(buffer, offset, target, size, &pointer);
	if (!ret && size)
		memcpy(target, (const char *)pointer + offset, size);
	return ret;
}

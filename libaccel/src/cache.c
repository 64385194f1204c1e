/* SPDX-License-Identifier: MIT */
/*
 * Caches of buffers: what is freed is kept and handed out again, because to create a buffer is a
 * matter of the kernel, of page tables and of zeroes.
 *
 * Sizes are rounded up to one of four steps between powers of two, so that what comes back fits what
 * is asked for next, at the cost of a quarter at most. A buffer that comes back with a queue may
 * be used by work that the queue has not done yet: the same queue gets it at once, for its work is
 * in order; others when the work is done.
 *
 * Locking: cache->lock, outside of all others but held over no wait.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_FLAGS (ACCEL_BUFFER_CARD | ACCEL_BUFFER_HOST | ACCEL_BUFFER_CPU_VISIBLE)

/* Steps of the 2^12 .. 2^63; the first is a page. */
#define CLASSES	(4 * 52 + 1)

struct idle {
	struct idle *next;
	struct accel_buffer *buffer;
	struct accel_queue *queue;	/* whose work may still use it, or NULL */
	uint64_t point;
};

struct accel_cache {
	pthread_mutex_t lock;
	struct accel_context *context;
	uint32_t flags;
	uint64_t limit;
	struct idle *idle[CLASSES];	/* the last that came first */
	struct accel_cache_info info;
};

/* The class that holds @size and the bytes of it. */
static unsigned int class_of(uint64_t size, uint64_t *rounded)
{
	unsigned int shift = 0, step;

	size = (size + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
	if (size <= PAGE_SIZE) {
		*rounded = PAGE_SIZE;
		return 0;
	}
	/* 2^shift < size <= 2^(shift + 1) */
	shift = 63 - (unsigned int)__builtin_clzll(size - 1);
	step = (unsigned int)((size - 1 - (1ull << shift)) >> (shift - 2)) + 1;
	*rounded = (1ull << shift) + ((uint64_t)step << (shift - 2));
	*rounded = (*rounded + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
	return 1 + 4 * (shift - 12) + step - 1;
}

int accel_cache_create(struct accel_context *context, uint32_t flags, uint64_t limit,
		       struct accel_cache **out)
{
	struct accel_cache *cache;
	int ret;

	api_begin(__func__);
	if (!context || !out)
		return fail(-EINVAL, "%s is NULL", context ? "cache" : "context");
	if (flags & ~BUFFER_FLAGS || !(flags & (ACCEL_BUFFER_CARD | ACCEL_BUFFER_HOST)))
		return fail(-EINVAL, "flags 0x%x are not made of ACCEL_BUFFER_CARD, _HOST and _CPU_VISIBLE", flags);
	ret = device_check(context->device);
	if (ret)
		return ret;
	cache = calloc(1, sizeof(*cache));
	if (!cache)
		return fail(-ENOMEM, "out of memory");
	pthread_mutex_init(&cache->lock, NULL);
	context_get(context);
	cache->context = context;
	cache->flags = flags;
	cache->limit = limit;
	accel_cache_info_init(&cache->info);
	*out = cache;
	return 0;
}

static void free_idle(struct accel_cache *cache, struct idle *idle)
{
	cache->info.idle_buffers--;
	cache->info.idle_bytes -= idle->buffer->bo.size;
	if (idle->queue)
		queue_put(idle->queue);
	buffer_put(idle->buffer);
	free(idle);
}

/* The largest first: what is large is seldom, and its room is what is wanted. */
static void trim(struct accel_cache *cache, uint64_t keep)
{
	for (unsigned int i = CLASSES; i-- && cache->info.idle_bytes > keep;) {
		while (cache->idle[i] && cache->info.idle_bytes > keep) {
			struct idle *idle = cache->idle[i];

			cache->idle[i] = idle->next;
			free_idle(cache, idle);
		}
	}
}

void accel_cache_destroy(struct accel_cache *cache)
{
	if (!cache || device_is_foreign(cache->context->device))
		return;
	trim(cache, 0);
	pthread_mutex_destroy(&cache->lock);
	context_put(cache->context);
	free(cache);
}

static bool is_free(struct idle *idle, const struct accel_queue *queue)
{
	if (!idle->queue || idle->queue == queue || queue_done(idle->queue) >= idle->point)
		return true;
	/* Over, but not well. */
	return atomic_load(&idle->queue->destroyed) || queue_wait_over(idle->queue, idle->point, 0, false) != -ETIME;
}

static struct accel_buffer *take(struct accel_cache *cache, unsigned int class, const struct accel_queue *queue)
{
	for (struct idle **link = &cache->idle[class]; *link; link = &(*link)->next) {
		struct idle *idle = *link;
		struct accel_buffer *buffer = idle->buffer;

		if (!is_free(idle, queue))
			continue;
		*link = idle->next;
		buffer_get(buffer);
		buffer->idle = false;
		free_idle(cache, idle);
		return buffer;
	}
	return NULL;
}

static int create(struct accel_cache *cache, uint64_t rounded, struct accel_buffer **out)
{
	int ret = buffer_create(cache->context, rounded, cache->flags, out);

	if (ret != -ENOMEM && ret != -ENOSPC)
		return ret;
	/* What lies idle is in the way. */
	pthread_mutex_lock(&cache->lock);
	trim(cache, 0);
	pthread_mutex_unlock(&cache->lock);
	return buffer_create(cache->context, rounded, cache->flags, out);
}

int accel_cache_alloc(struct accel_cache *cache, uint64_t size, struct accel_queue *queue,
		      struct accel_buffer **out)
{
	struct accel_buffer *buffer;
	unsigned int class;
	uint64_t rounded;
	int ret;

	api_begin(__func__);
	if (!cache || !out)
		return fail(-EINVAL, "%s is NULL", cache ? "buffer" : "cache");
	ret = device_check(cache->context->device);
	if (ret)
		return ret;
	if (!size || size > cache->context->device->limits.max_bo_size)
		return buffer_create(cache->context, size, cache->flags, out);	/* says why not */
	class = class_of(size, &rounded);
	pthread_mutex_lock(&cache->lock);
	buffer = take(cache, class, queue);
	pthread_mutex_unlock(&cache->lock);
	if (!buffer) {
		if (rounded > cache->context->device->limits.max_bo_size)
			rounded = cache->context->device->limits.max_bo_size;
		ret = create(cache, rounded, &buffer);
	}
	pthread_mutex_lock(&cache->lock);
	cache->info.allocations++;
	if (!ret) {
		cache->info.used_buffers++;
		cache->info.used_bytes += buffer->bo.size;
		if (cache->info.peak_bytes < cache->info.used_bytes + cache->info.idle_bytes)
			cache->info.peak_bytes = cache->info.used_bytes + cache->info.idle_bytes;
		cache->info.hits += buffer->cached;
		buffer->cached = true;
	}
	pthread_mutex_unlock(&cache->lock);
	if (ret)
		return ret;
	buffer->size = size;
	*out = buffer;
	return 0;
}

static int check_free(const struct accel_cache *cache, const struct accel_buffer *buffer,
		      const struct accel_queue *queue)
{
	int ret;

	if (!cache)
		return fail(-EINVAL, "cache is NULL");
	ret = buffer_check(buffer);
	if (ret)
		return ret;
	if (!buffer->cached || buffer->bo.context != cache->context)
		return fail(-EINVAL, "the buffer is not from this cache");
	if (queue && queue->context != cache->context)
		return fail(-EXDEV, "the queue belongs to another context");
	return buffer_check_content(buffer);
}

int accel_cache_free(struct accel_cache *cache, struct accel_buffer *buffer, struct accel_queue *queue)
{
	struct idle *idle;
	uint64_t rounded;
	unsigned int class;
	int ret;

	api_begin(__func__);
	if (!buffer)
		return 0;
	ret = check_free(cache, buffer, queue);
	if (ret)
		return ret;
	idle = malloc(sizeof(*idle));
	if (!idle)
		return fail(-ENOMEM, "out of memory");
	*idle = (struct idle){ .buffer = buffer };
	if (queue && queue_done(queue) < atomic_load(&queue->submitted)) {
		queue_get(queue);
		idle->queue = queue;
		idle->point = atomic_load(&queue->submitted);
	}
	class = class_of(buffer->size, &rounded);
	pthread_mutex_lock(&cache->lock);
	if (buffer->idle) {
		pthread_mutex_unlock(&cache->lock);
		if (idle->queue)
			queue_put(idle->queue);
		free(idle);
		return fail(-EINVAL, "the buffer is in the cache already");
	}
	buffer->idle = true;
	cache->info.used_buffers--;
	cache->info.used_bytes -= buffer->bo.size;
	cache->info.idle_buffers++;
	cache->info.idle_bytes += buffer->bo.size;
	idle->next = cache->idle[class];
	cache->idle[class] = idle;
	if (cache->limit)
		trim(cache, cache->limit);
	pthread_mutex_unlock(&cache->lock);
	return 0;
}

int accel_cache_trim(struct accel_cache *cache, uint64_t keep)
{
	int ret;

	api_begin(__func__);
	if (!cache)
		return fail(-EINVAL, "cache is NULL");
	ret = device_check(cache->context->device);
	if (ret)
		return ret;
	pthread_mutex_lock(&cache->lock);
	trim(cache, keep);
	pthread_mutex_unlock(&cache->lock);
	return 0;
}

int accel_cache_get_info(struct accel_cache *cache, struct accel_cache_info *info)
{
	struct accel_cache_info local;
	int ret;

	api_begin(__func__);
	if (!cache || !info)
		return fail(-EINVAL, "%s is NULL", cache ? "info" : "cache");
	ret = device_check(cache->context->device);
	if (ret)
		return ret;
	pthread_mutex_lock(&cache->lock);
	local = cache->info;
	pthread_mutex_unlock(&cache->lock);
	return copy_out(info, &local, sizeof(local), sizeof(local), "accel_cache_info");
}

/* SPDX-License-Identifier: MIT */
/*
 * Buffers that others have too: dma-bufs in and out, memory of the process, and the order of work
 * on them.
 *
 * Work of different contexts, processes and cards on the same memory is ordered by fences in its
 * dma-buf. accel_queue_release() puts the fence of what a queue was given into it,
 * accel_queue_acquire() takes those out that are there and makes a queue wait for them. Fences
 * travel as sync files and become syncobjs on the queue's side. The dma-buf is exported anew each
 * time, which the kernel answers with the same one, so that a buffer costs no descriptor.
 *
 * Locking: the queue's lock for its dependencies.
 */
#include "internal.h"
#include "os.h"

#include <drm.h>
#include <inttypes.h>
#include <linux/dma-buf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Memory is registered by whole pages; the least that malloc() aligns to is right for all types. */
#define MEMORY_ALIGN	16u

/* ---- export and import ---- */

int buffer_export(const struct accel_buffer *buffer)
{
	int fd = buffer_check_content(buffer);

	if (fd)
		return fd;
	if (buffer->origin == ACCEL_ORIGIN_REGISTERED)
		return fail(-EPERM, "registered memory cannot be exported");
	if (!(buffer->flags & ACCEL_BUFFER_SHAREABLE))
		return fail(-EPERM, "the buffer was created without ACCEL_BUFFER_SHAREABLE");
	fd = bo_export(&buffer->bo);
	if (fd < 0)
		return fail(fd, "the driver made no dma-buf of the buffer: %s", strerror(-fd));
	return fd;
}

int accel_buffer_export(struct accel_buffer *buffer, uint32_t flags, int *fd)
{
	int ret;

	api_begin(__func__);
	ret = buffer_check(buffer);
	if (ret)
		return ret;
	if (!fd)
		return fail(-EINVAL, "fd is NULL");
	if (flags)
		return fail(-EINVAL, "flags 0x%x are not 0", flags);
	ret = buffer_export(buffer);
	if (ret < 0)
		return ret;
	*fd = ret;
	return 0;
}

static int check_new(const struct accel_context *context, struct accel_buffer *const *out, uint32_t flags)
{
	if (!context || !out)
		return fail(-EINVAL, "%s is NULL", context ? "buffer" : "context");
	if (flags & ~ACCEL_BUFFER_CARD_READONLY)
		return fail(-EINVAL, "flags 0x%x are neither 0 nor ACCEL_BUFFER_CARD_READONLY", flags);
	return device_check(context->device);
}

int accel_buffer_import(struct accel_context *context, int fd, uint32_t flags,
			struct accel_buffer **out)
{
	struct accel_buffer *buffer;
	int ret;

	api_begin(__func__);
	ret = check_new(context, out, flags);
	if (ret)
		return ret;
	ret = context_need_fences(context);
	if (ret)
		return ret;
	buffer = calloc(1, sizeof(*buffer));
	if (!buffer)
		return fail(-ENOMEM, "out of memory");
	ret = bo_init_import(&buffer->bo, context, fd,
			     flags & ACCEL_BUFFER_CARD_READONLY ? BO_CARD_READONLY : 0);
	if (ret) {
		free(buffer);
		return ret;
	}
	atomic_init(&buffer->refs, 1);
	buffer->size = buffer->bo.size;
	buffer->flags = flags | ACCEL_BUFFER_SHAREABLE;
	buffer->origin = ACCEL_ORIGIN_IMPORTED;
	os_exporter(fd, buffer->exporter, sizeof(buffer->exporter));
	log_print(LOG_DEBUG, "imported %" PRIu64 " bytes of %s at 0x%" PRIx64, buffer->size,
		  buffer->exporter, buffer->bo.va);
	*out = buffer;
	return 0;
}

/* ---- memory of the process ---- */

static int check_memory(const struct accel_context *context, const void *memory, uint64_t size)
{
	uint64_t max = context->device->limits.max_pinned_bytes;

	if (!memory || !size)
		return fail(-EINVAL, memory ? "size is 0" : "memory is NULL");
	if ((uintptr_t)memory % MEMORY_ALIGN)
		return fail(-EINVAL, "memory %p is not aligned to %u bytes", memory, MEMORY_ALIGN);
	if (max && size > max)	/* 0: a driver that refuses by itself */
		return fail(-E2BIG, "size %" PRIu64 " is more than all processes together may register, %" PRIu64,
			    size, max);
	if ((uintptr_t)memory > UINTPTR_MAX - size - PAGE_SIZE)
		return fail(-EINVAL, "memory %p with size %" PRIu64 " wraps", memory, size);
	return 0;
}

int accel_host_register(struct accel_context *context, void *memory, uint64_t size, uint32_t flags,
			struct accel_buffer **out)
{
	uint64_t start = (uintptr_t)memory % PAGE_SIZE;
	struct accel_buffer *buffer;
	int ret;

	api_begin(__func__);
	ret = check_new(context, out, flags);
	if (!ret)
		ret = check_memory(context, memory, size);
	if (ret)
		return ret;
	buffer = calloc(1, sizeof(*buffer));
	if (!buffer)
		return fail(-ENOMEM, "out of memory");
	ret = bo_init_memory(&buffer->bo, context, (char *)memory - start,
			     (start + size + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1),
			     flags & ACCEL_BUFFER_CARD_READONLY ? BO_CARD_READONLY : 0);
	if (ret) {
		free(buffer);
		return ret;
	}
	atomic_init(&buffer->refs, 1);
	buffer->start = start;
	buffer->size = size;
	buffer->flags = flags;
	buffer->origin = ACCEL_ORIGIN_REGISTERED;
	ret = buffer_list(buffer);
	if (ret) {
		buffer_put(buffer);
		return ret;
	}
	log_print(LOG_DEBUG, "registered %" PRIu64 " bytes at %p at 0x%" PRIx64, size, memory,
		  buffer_va(buffer));
	*out = buffer;
	return 0;
}

/* ---- order of work on shared buffers ---- */

static uint32_t sync_flags(uint32_t access)
{
	return access & ACCEL_ACCESS_WRITE ? DMA_BUF_SYNC_WRITE : DMA_BUF_SYNC_READ;
}

static int check_access(uint32_t access)
{
	if (!access || access & ~(ACCEL_ACCESS_READ | ACCEL_ACCESS_WRITE))
		return fail(-EINVAL, "access 0x%x is not made of ACCEL_ACCESS_READ and ACCEL_ACCESS_WRITE",
			    access);
	return 0;
}

static int check_sync(struct accel_queue *queue, struct accel_buffer *buffer, uint32_t access)
{
	int ret;

	ret = queue_check(queue);
	if (!ret)
		ret = check_range(queue, "buffer", buffer, 0, 0, false);
	return ret ? ret : check_access(access);
}

/* A sync file of what is in a dma-buf, or a failure. */
static int take_fences(int dma_buf, uint32_t access)
{
	struct dma_buf_export_sync_file arg = { .flags = sync_flags(access), .fd = -1 };
	int ret = os_ioctl(dma_buf, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &arg);

	return ret ? fail(ret, "the kernel does not give the fences of the dma-buf: %s", strerror(-ret)) :
		     arg.fd;
}

static int put_fence(int dma_buf, int sync_file, uint32_t access)
{
	struct dma_buf_import_sync_file arg = { .flags = sync_flags(access), .fd = sync_file };
	int ret = os_ioctl(dma_buf, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &arg);

	return ret ? fail(ret, "the kernel does not take a fence into the dma-buf: %s", strerror(-ret)) : 0;
}

/* A syncobj of a sync file. */
static int import_fence(struct accel_device *device, int sync_file, uint32_t *syncobj)
{
	struct drm_syncobj_handle arg = {
		.flags = DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_IMPORT_SYNC_FILE,
		.fd = sync_file,
	};
	int ret;

	ret = syncobj_create(device, &arg.handle);
	if (ret)
		return ret;
	ret = device_ioctl(device, DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, &arg);
	if (ret) {
		syncobj_destroy(device, arg.handle);
		return fail(ret, "the driver does not take the sync file: %s", strerror(-ret));
	}
	*syncobj = arg.handle;
	return 0;
}

static bool is_signalled(struct accel_device *device, uint32_t syncobj)
{
	struct drm_syncobj_wait arg = { .handles = (uintptr_t)&syncobj, .count_handles = 1 };

	return !device_ioctl(device, DRM_IOCTL_SYNCOBJ_WAIT, &arg);
}

/* The queue waits for a sync file. */
static int wait_sync_file(struct accel_queue *queue, int sync_file)
{
	struct accel_device *device = queue->context->device;
	uint32_t syncobj = 0;
	int ret;

	ret = import_fence(device, sync_file, &syncobj);
	if (ret)
		return ret;
	if (is_signalled(device, syncobj)) {
		syncobj_destroy(device, syncobj);
		return 0;
	}
	pthread_mutex_lock(&queue->lock);
	if (atomic_load(&queue->destroyed))
		ret = fail(-ECANCELED, "the queue is destroyed");
	else
		ret = queue_add_fence(queue, syncobj);
	pthread_mutex_unlock(&queue->lock);
	if (ret)
		syncobj_destroy(device, syncobj);
	return ret;
}

int accel_queue_acquire(struct accel_queue *queue, struct accel_buffer *buffer, uint32_t access)
{
	int ret, dma_buf, sync_file;

	api_begin(__func__);
	ret = check_sync(queue, buffer, access);
	if (ret)
		return ret;
	dma_buf = buffer_export(buffer);
	if (dma_buf < 0)
		return dma_buf;
	sync_file = take_fences(dma_buf, access);
	close(dma_buf);
	if (sync_file < 0)
		return sync_file;
	ret = wait_sync_file(queue, sync_file);
	close(sync_file);
	return ret;
}

/* A sync file of submission @point. */
static int export_point(struct accel_queue *queue, uint64_t point)
{
	struct accel_device *device = queue->context->device;
	struct drm_syncobj_transfer transfer = { .src_handle = queue->syncobj, .src_point = point };
	struct drm_syncobj_handle arg = {
		.flags = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE,
		.fd = -1,
	};
	int ret;

	ret = syncobj_create(device, &arg.handle);
	if (ret)
		return ret;
	transfer.dst_handle = arg.handle;
	ret = device_ioctl(device, DRM_IOCTL_SYNCOBJ_TRANSFER, &transfer);
	if (!ret)
		ret = device_ioctl(device, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &arg);
	syncobj_destroy(device, arg.handle);
	return ret ? fail(ret, "the driver does not give the fence of the work: %s", strerror(-ret)) : arg.fd;
}

int queue_wait_across(struct accel_queue *queue, struct accel_queue *other, uint64_t point)
{
	int ret, sync_file;

	ret = context_need_fences(other->context);
	if (!ret)
		ret = context_need_fences(queue->context);
	if (ret)
		return device_is_gone(other->context->device) ? 0 : ret;
	if (queue_done(other) >= point || queue_is_over(other))
		return 0;
	sync_file = export_point(other, point);
	if (sync_file < 0)	/* what a card that is gone was to do is over */
		return device_is_gone(other->context->device) ? 0 : sync_file;
	ret = wait_sync_file(queue, sync_file);
	close(sync_file);
	return ret;
}

int accel_queue_release(struct accel_queue *queue, struct accel_buffer *buffer, uint32_t access)
{
	int ret, dma_buf, sync_file;
	uint64_t point;

	api_begin(__func__);
	ret = check_sync(queue, buffer, access);
	if (ret)
		return ret;
	dma_buf = buffer_export(buffer);
	if (dma_buf < 0)
		return dma_buf;
	point = atomic_load(&queue->submitted);
	if (queue_done(queue) >= point) {
		close(dma_buf);
		return 0;
	}
	sync_file = export_point(queue, point);
	ret = sync_file < 0 ? sync_file : put_fence(dma_buf, sync_file, access);
	if (sync_file >= 0)
		close(sync_file);
	close(dma_buf);
	return ret;
}

int accel_buffer_wait(struct accel_buffer *buffer, uint32_t access, uint64_t timeout_ns)
{
	uint64_t now, deadline = 0;
	int ret, dma_buf;

	api_begin(__func__);
	ret = buffer_check(buffer);
	if (!ret)
		ret = check_access(access);
	if (ret)
		return ret;
	dma_buf = buffer_export(buffer);
	if (dma_buf < 0)
		return dma_buf;
	if (timeout_ns) {
		now = os_now_ns();
		deadline = timeout_ns > UINT64_MAX - now ? UINT64_MAX : now + timeout_ns;
	}
	ret = os_wait_fences(dma_buf, access & ACCEL_ACCESS_WRITE, deadline);
	close(dma_buf);
	if (ret == -ETIME)
		return fail(ret, "not done in %" PRIu64 " ns", timeout_ns);
	if (ret)
		return fail(ret, "waiting for the dma-buf failed: %s", strerror(-ret));
	return 0;
}

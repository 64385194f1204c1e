/* SPDX-License-Identifier: MIT */
/*
 * A kernel buffer object bound at an address of a context: what buffers and command
 * memory are made of. At least one page behind each stays unmapped, so that the card
 * faults when it runs over the end. From 2 MiB on, addresses are aligned to 2 MiB, so
 * that the driver can use the card's large pages; those of the process's memory are as far behind such a
 * border as its own, because the large pages that it may be made of begin there.
 *
 * Its memory is the driver's, a dma-buf's, or the process's own; a view is another bo's. The kernel gives a dma-buf one
 * handle in an open device, however often it is imported; so handles of what can be a dma-buf are
 * counted.
 *
 * Locking: the context's lock for its addresses; map_lock for the CPU mapping; handles_lock of the
 * device for counted handles, held from the moment that the kernel gives a handle until it is
 * counted, and from when the count is 0 until it is closed.
 */
#include "internal.h"
#include "os.h"

#include <drm.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct shared_handle *handle_find(const struct accel_device *device, uint32_t handle)
{
	struct shared_handle *shared = device->handles;

	while (shared && shared->handle != handle)
		shared = shared->next;
	return shared;
}

static void handle_add(struct accel_device *device, struct shared_handle *shared, uint32_t handle)
{
	shared->handle = handle;
	shared->refs = 1;
	shared->next = device->handles;
	device->handles = shared;
}

/* True: it was the last, and the lock is held until the caller has closed the handle. */
static bool handle_unref(struct accel_device *device, struct shared_handle *shared)
{
	struct shared_handle **link = &device->handles;

	pthread_mutex_lock(&device->handles_lock);
	if (--shared->refs) {
		pthread_mutex_unlock(&device->handles_lock);
		return false;
	}
	while (*link != shared)
		link = &(*link)->next;
	*link = shared->next;
	free(shared);
	return true;
}

static void close_handle(const struct bo *bo)
{
	struct drm_gem_close arg = { .handle = bo->handle };
	struct accel_device *device = bo->context->device;

	if (bo->view || (bo->shared && !handle_unref(device, bo->shared)))
		return;
	device_ioctl(device, DRM_IOCTL_GEM_CLOSE, &arg);
	if (bo->shared)
		pthread_mutex_unlock(&device->handles_lock);
}

static int bind(struct bo *bo, uint32_t type, uint32_t flags)
{
	struct drm_onpu_bind_op op = {
		.type = type,
		.flags = flags,
		.handle = type == DRM_ONPU_BIND_MAP ? bo->handle : 0,
		.va = bo->va,
		.size = bo->size,
	};
	struct drm_onpu_vm_bind arg = {
		.vm_id = bo->context->vm_id,
		.ops = { .count = 1, .stride = sizeof(op), .ptr = (uintptr_t)&op },
	};

	return device_ioctl(bo->context->device, DRM_IOCTL_ONPU_VM_BIND, &arg);
}

static int reserve_range(struct bo *bo)
{
	struct accel_context *context = bo->context;
	bool huge = bo->size >= HUGE_SIZE;
	uint64_t phase = huge && bo->borrowed ? (uintptr_t)bo->pointer % HUGE_SIZE : 0;

	pthread_mutex_lock(&context->lock);
	bo->range = va_alloc(&context->va, phase + bo->size + PAGE_SIZE, huge ? HUGE_SIZE : PAGE_SIZE);
	pthread_mutex_unlock(&context->lock);
	if (!bo->range)
		return fail(-ENOMEM, "no %" PRIu64 " bytes of address space left", bo->size);
	bo->va = bo->range->start + phase;
	return 0;
}

static void release_range(struct bo *bo)
{
	pthread_mutex_lock(&bo->context->lock);
	va_free(&bo->context->va, bo->range);
	pthread_mutex_unlock(&bo->context->lock);
}

/* Addresses and a mapping for a bo that has its handle, which is closed if that fails. */
static int attach(struct bo *bo, uint32_t flags)
{
	int ret;

	ret = reserve_range(bo);
	if (ret)
		goto err_close;
	ret = bind(bo, DRM_ONPU_BIND_MAP, flags & BO_CARD_READONLY ? DRM_ONPU_BIND_READONLY : 0);
	if (ret == -ENOSPC) {
		fail(ret, "the context has the %u mappings that it may have",
		     bo->context->device->limits.max_mappings);
		goto err_range;
	}
	if (ret) {
		fail(ret, "the driver did not map %" PRIu64 " bytes at 0x%" PRIx64 ": %s", bo->size,
		     bo->va, strerror(-ret));
		goto err_range;
	}
	pthread_mutex_init(&bo->map_lock, NULL);
	context_get(bo->context);
	return 0;

err_range:
	release_range(bo);
err_close:
	close_handle(bo);
	return ret;
}

/* The error of a call that was to make a handle. */
static int refused(const struct accel_context *context, int error, const char *what)
{
	if (error == -ENOSPC)
		return fail(error, "%s: the open device has the %u buffers that it may have", what,
			    context->device->limits.max_bos);
	return fail(error, "the driver refused %s: %s", what, strerror(-error));
}

/* ---- memory of the driver ---- */

static int create(struct bo *bo, uint64_t size, uint32_t placement, uint32_t vm_id)
{
	struct drm_onpu_bo_create arg = { .size = size, .flags = placement, .vm_id = vm_id };
	const uint32_t both = DRM_ONPU_BO_VRAM | DRM_ONPU_BO_SYSTEM;
	char what[80];
	int ret = device_ioctl(bo->context->device, DRM_IOCTL_ONPU_BO_CREATE, &arg);

	if (ret) {
		snprintf(what, sizeof(what), "%" PRIu64 " bytes of %s memory", size,
			 (placement & both) == both ? "card or system" :
			 placement & DRM_ONPU_BO_VRAM ? "card" : "system");
		return refused(bo->context, ret, what);
	}
	bo->handle = arg.handle;
	bo->size = arg.size;
	return 0;
}

static int create_shareable(struct bo *bo, uint64_t size, uint32_t placement)
{
	struct accel_device *device = bo->context->device;
	int ret;

	bo->shared = calloc(1, sizeof(*bo->shared));
	if (!bo->shared)
		return fail(-ENOMEM, "out of memory");
	pthread_mutex_lock(&device->handles_lock);
	ret = create(bo, size, placement, 0);
	if (!ret)
		handle_add(device, bo->shared, bo->handle);
	pthread_mutex_unlock(&device->handles_lock);
	if (ret)
		free(bo->shared);
	return ret;
}

int bo_init(struct bo *bo, struct accel_context *context, uint64_t size, uint32_t placement,
	    uint32_t flags)
{
	int ret;

	memset(bo, 0, sizeof(*bo));
	bo->context = context;
	ret = flags & BO_SHAREABLE ? create_shareable(bo, size, placement) :
	      create(bo, size, placement, flags & BO_VIEWABLE ? 0 : context->vm_id);
	if (!ret)
		ret = attach(bo, flags);
	if (!ret && !(placement & DRM_ONPU_BO_SYSTEM)) {
		bo->card_only = true;
		atomic_fetch_add(&context->card_bytes, bo->size);
	}
	return ret;
}

int bo_init_view(struct bo *bo, struct accel_context *context, const struct bo *other)
{
	memset(bo, 0, sizeof(*bo));
	bo->context = context;
	bo->handle = other->handle;
	bo->size = other->size;
	bo->view = true;
	return attach(bo, BO_CARD_READONLY);
}

/* ---- dma-bufs ---- */

static int import_failed(const struct accel_context *context, int fd, int error)
{
	char what[40];

	if (error == -EBADF)
		return fail(error, "descriptor %d is not open", fd);
	if (error == -EINVAL)
		return fail(error, "descriptor %d is no dma-buf, or one that is not made of whole pages", fd);
	snprintf(what, sizeof(what), "the dma-buf of descriptor %d", fd);
	return refused(context, error, what);
}

/* The handle, which another buffer may have already, under the lock of the handles. */
static int import_locked(struct bo *bo, int fd, struct shared_handle *fresh)
{
	struct accel_device *device = bo->context->device;
	struct drm_prime_handle arg = { .fd = fd };
	int ret;

	ret = device_ioctl(device, DRM_IOCTL_PRIME_FD_TO_HANDLE, &arg);
	if (ret)
		return import_failed(bo->context, fd, ret);
	bo->handle = arg.handle;
	bo->shared = handle_find(device, arg.handle);
	if (bo->shared) {
		bo->shared->refs++;
		free(fresh);
	} else {
		bo->shared = fresh;
		handle_add(device, fresh, arg.handle);
	}
	return 0;
}

int bo_init_import(struct bo *bo, struct accel_context *context, int fd, uint32_t flags)
{
	struct shared_handle *fresh = calloc(1, sizeof(*fresh));
	struct accel_device *device = context->device;
	struct drm_onpu_bo_info info = { 0 };
	int ret;

	memset(bo, 0, sizeof(*bo));
	bo->context = context;
	if (!fresh)
		return fail(-ENOMEM, "out of memory");
	pthread_mutex_lock(&device->handles_lock);
	ret = import_locked(bo, fd, fresh);
	pthread_mutex_unlock(&device->handles_lock);
	if (ret) {
		free(fresh);
		return ret;
	}
	info.handle = bo->handle;
	ret = device_ioctl(device, DRM_IOCTL_ONPU_BO_INFO, &info);
	if (ret) {
		close_handle(bo);
		return fail(ret, "the driver does not tell the size of the dma-buf: %s", strerror(-ret));
	}
	bo->size = info.size;
	return attach(bo, flags);
}

int bo_export(const struct bo *bo)
{
	struct drm_prime_handle arg = { .handle = bo->handle, .flags = DRM_CLOEXEC | DRM_RDWR, .fd = -1 };
	int ret = device_ioctl(bo->context->device, DRM_IOCTL_PRIME_HANDLE_TO_FD, &arg);

	return ret ? ret : arg.fd;
}

/* ---- memory of the process ---- */

static int memory_failed(const struct accel_context *context, const void *memory, uint64_t size,
			 uint32_t flags, int error)
{
	const struct drm_onpu_query_limits *limits = &context->device->limits;
	uint64_t lock_limit = os_memlock_limit();

	if (error == -ENOMEM && lock_limit != UINT64_MAX)
		return fail(error, "%" PRIu64 " bytes cannot be pinned: either memory is short, or all processes of the user together"
			    " would exceed RLIMIT_MEMLOCK, %" PRIu64 " bytes: raise it (ulimit -l, limits.conf,"
			    " LimitMEMLOCK= of systemd) or give the process CAP_IPC_LOCK", size, lock_limit);
	if (error == -ENOSPC)
		return fail(error, "%" PRIu64 " bytes cannot be pinned: all processes together may register %" PRIu64
			    " bytes, and this open device may have %u buffers", size,
			    (uint64_t)limits->max_pinned_bytes, limits->max_bos);
	if (error == -EFAULT)
		return fail(error, "%" PRIu64 " bytes at %p are not all memory that the process can %s, or it is a device's%s",
			    size, memory, flags & BO_CARD_READONLY ? "read" : "write",
			    flags & BO_CARD_READONLY ? "" :
			    " or a file's; memory that the card only reads needs ACCEL_BUFFER_CARD_READONLY");
	return fail(error, "the driver refused %" PRIu64 " bytes at %p: %s", size, memory, strerror(-error));
}

int bo_init_memory(struct bo *bo, struct accel_context *context, void *memory, uint64_t size,
		   uint32_t flags)
{
	struct drm_onpu_bo_userptr arg = {
		.addr = (uintptr_t)memory,
		.size = size,
		.flags = flags & BO_CARD_READONLY ? DRM_ONPU_USERPTR_READONLY : 0,
	};
	int ret;

	memset(bo, 0, sizeof(*bo));
	bo->context = context;
	ret = device_ioctl(context->device, DRM_IOCTL_ONPU_BO_USERPTR, &arg);
	if (ret)
		return memory_failed(context, memory, size, flags, ret);
	bo->handle = arg.handle;
	bo->size = size;
	bo->pointer = memory;
	bo->borrowed = true;
	return attach(bo, flags);
}

void bo_fini(struct bo *bo)
{
	struct accel_context *context = bo->context;
	int ret;

	if (bo->pointer && !bo->borrowed)
		os_munmap(bo->pointer, bo->size);
	ret = bind(bo, DRM_ONPU_BIND_UNMAP, 0);
	if (ret && ret != -ENODEV)
		log_print(LOG_WARN, "0x%" PRIx64 " stays mapped on the card: %s", bo->va,
			  strerror(-ret));
	else
		release_range(bo);
	close_handle(bo);
	if (bo->card_only)
		atomic_fetch_sub(&context->card_bytes, bo->size);
	pthread_mutex_destroy(&bo->map_lock);
	context_put(context);
}

int bo_map(struct bo *bo, void **pointer)
{
	struct drm_onpu_bo_mmap_offset arg = { .handle = bo->handle };
	struct accel_device *device = bo->context->device;
	int ret = 0;

	pthread_mutex_lock(&bo->map_lock);
	if (!bo->pointer) {
		ret = device_ioctl(device, DRM_IOCTL_ONPU_BO_MMAP_OFFSET, &arg);
		if (!ret)
			ret = os_mmap(device->fd, arg.offset, bo->size, &bo->pointer);
	}
	if (!ret)
		*pointer = bo->pointer;
	pthread_mutex_unlock(&bo->map_lock);
	if (ret)
		return fail(ret, "cannot map %" PRIu64 " bytes for the CPU: %s", bo->size, strerror(-ret));
	return 0;
}

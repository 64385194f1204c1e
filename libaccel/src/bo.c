/* SPDX-License-Identifier: MIT */
/*
 * A kernel buffer object bound at an address of a context: what buffers and command
 * memory are made of. At least one page behind each stays unmapped, so that the card
 * faults when it runs over the end. From 2 MiB on, addresses are aligned to 2 MiB, so
 * that the driver can use the card's large pages.
 *
 * Locking: the context's lock for its addresses; map_lock for the CPU mapping.
 */
#include "internal.h"
#include "os.h"

#include <drm.h>
#include <inttypes.h>
#include <string.h>

static void close_handle(struct bo *bo)
{
	struct drm_gem_close arg = { .handle = bo->handle };

	device_ioctl(bo->context->device, DRM_IOCTL_GEM_CLOSE, &arg);
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

	pthread_mutex_lock(&context->lock);
	bo->range = va_alloc(&context->va, bo->size + PAGE_SIZE,
			     bo->size >= HUGE_SIZE ? HUGE_SIZE : PAGE_SIZE);
	pthread_mutex_unlock(&context->lock);
	if (!bo->range)
		return fail(-ENOMEM, "no %" PRIu64 " bytes of address space left", bo->size);
	bo->va = bo->range->start;
	return 0;
}

static void release_range(struct bo *bo)
{
	pthread_mutex_lock(&bo->context->lock);
	va_free(&bo->context->va, bo->range);
	pthread_mutex_unlock(&bo->context->lock);
}

static int create(struct bo *bo, uint64_t size, uint32_t placement)
{
	struct drm_onpu_bo_create arg = {
		.size = size,
		.flags = placement,
		.vm_id = bo->context->vm_id,
	};
	int ret = device_ioctl(bo->context->device, DRM_IOCTL_ONPU_BO_CREATE, &arg);

	if (ret)
		return fail(ret, "the driver refused %" PRIu64 " bytes of %s memory: %s", size,
			    placement == DRM_ONPU_BO_VRAM ? "card" :
			    placement == DRM_ONPU_BO_SYSTEM ? "system" : "card or system",
			    strerror(-ret));
	bo->handle = arg.handle;
	bo->size = arg.size;
	return 0;
}

int bo_init(struct bo *bo, struct accel_context *context, uint64_t size, uint32_t placement,
	    bool card_readonly)
{
	int ret;

	memset(bo, 0, sizeof(*bo));
	bo->context = context;
	ret = create(bo, size, placement);
	if (ret)
		return ret;
	ret = reserve_range(bo);
	if (ret)
		goto err_close;
	ret = bind(bo, DRM_ONPU_BIND_MAP, card_readonly ? DRM_ONPU_BIND_READONLY : 0);
	if (ret) {
		fail(ret, "the driver did not map %" PRIu64 " bytes at 0x%" PRIx64 ": %s", bo->size,
		     bo->va, strerror(-ret));
		goto err_range;
	}
	pthread_mutex_init(&bo->map_lock, NULL);
	context_get(context);
	return 0;

err_range:
	release_range(bo);
err_close:
	close_handle(bo);
	return ret;
}

void bo_fini(struct bo *bo)
{
	struct accel_context *context = bo->context;
	int ret;

	if (bo->pointer)
		os_munmap(bo->pointer, bo->size);
	ret = bind(bo, DRM_ONPU_BIND_UNMAP, 0);
	if (ret && ret != -ENODEV)
		log_print(LOG_WARN, "0x%" PRIx64 " stays mapped on the card: %s", bo->va,
			  strerror(-ret));
	else
		release_range(bo);
	close_handle(bo);
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

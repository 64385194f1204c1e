/* SPDX-License-Identifier: MIT */
/*
 * Contexts: a VM of the kernel and the allocator of its addresses.
 *
 * A context begins with user-mode queues where there are such. Nobody but the process knows when their
 * work ends, so the kernel cannot promise it to others: work on buffers that are shared goes through kernel
 * queues. A context whose first shared buffer comes has its queues changed to that kind, once they have done
 * what they were given: the VM stays, so do its buffers, and the numbers of submissions go on.
 *
 * Locking: context->lock guards the allocator, kind_lock the kind of the queues; a queue is made and
 * destroyed under it. To change them takes the locks of all of them; nobody else takes two.
 */
#include "internal.h"
#include "os.h"

#include <stdlib.h>
#include <string.h>

void context_get(struct accel_context *context)
{
	atomic_fetch_add_explicit(&context->refs, 1, memory_order_relaxed);
}

void context_put(struct accel_context *context)
{
	struct drm_onpu_vm_destroy arg = { .id = context->vm_id };

	if (atomic_fetch_sub(&context->refs, 1) != 1)
		return;
	device_ioctl(context->device, DRM_IOCTL_ONPU_VM_DESTROY, &arg);
	va_fini(&context->va);
	pthread_mutex_destroy(&context->kind_lock);
	pthread_mutex_destroy(&context->lock);
	device_put(context->device);
	free(context);
}

int accel_context_create(struct accel_device *device, uint32_t flags, struct accel_context **out)
{
	struct drm_onpu_vm_create arg = { 0 };
	struct accel_context *context;
	int ret;

	api_begin(__func__);
	if (!device || !out)
		return fail(-EINVAL, "%s is NULL", device ? "context" : "device");
	if (flags)
		return fail(-EINVAL, "flags 0x%x are not 0", flags);
	ret = device_check(device);
	if (ret)
		return ret;
	context = calloc(1, sizeof(*context));
	if (!context)
		return fail(-ENOMEM, "out of memory");
	ret = va_init(&context->va, device->memory.va_start, device->memory.va_end);
	if (ret) {
		fail(ret, "no address range from the driver, or out of memory");
		goto err_free;
	}
	if (device->user_queues)
		arg.flags = DRM_ONPU_VM_LONG_RUNNING;
	ret = device_ioctl(device, DRM_IOCTL_ONPU_VM_CREATE, &arg);
	if (ret) {
		fail(ret, "the driver refused an address space (limit: %u per open device): %s",
		     device->limits.max_vms, strerror(-ret));
		goto err_va;
	}
	atomic_init(&context->refs, 1);
	pthread_mutex_init(&context->lock, NULL);
	pthread_mutex_init(&context->kind_lock, NULL);
	context->user_queues = device->user_queues;
	context->vm_id = arg.id;
	context->device = device;
	device_get(device);
	*out = context;
	return 0;

err_va:
	va_fini(&context->va);
err_free:
	free(context);
	return ret;
}

void accel_context_destroy(struct accel_context *context)
{
	if (context && !device_is_foreign(context->device))
		context_put(context);
}

/* SPDX-License-Identifier: MIT */
/*
 * What can be asked about memory and said about its use: devices, contexts, buffers, advice.
 *
 * Locking: none; whether a buffer is purgeable is an atomic flag.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

_Static_assert((int)ACCEL_LOCATION_NONE == (int)DRM_ONPU_REGION_NONE &&
	       (int)ACCEL_LOCATION_CARD == (int)DRM_ONPU_REGION_VRAM &&
	       (int)ACCEL_LOCATION_HOST == (int)DRM_ONPU_REGION_SYSTEM &&
	       (int)ACCEL_LOCATION_SWAP == (int)DRM_ONPU_REGION_SWAP, "regions pass through");
_Static_assert((int)ACCEL_ADVICE_PREFETCH == (int)DRM_ONPU_ADVISE_PREFETCH &&
	       (int)ACCEL_ADVICE_EVICT == (int)DRM_ONPU_ADVISE_EVICT &&
	       (int)ACCEL_ADVICE_PURGEABLE == (int)DRM_ONPU_ADVISE_PURGEABLE &&
	       (int)ACCEL_ADVICE_NEEDED == (int)DRM_ONPU_ADVISE_NEEDED, "advice passes through");
_Static_assert(ACCEL_BUFFER_PURGEABLE == DRM_ONPU_BO_STATE_PURGEABLE &&
	       ACCEL_BUFFER_PURGED == DRM_ONPU_BO_STATE_PURGED, "states pass through");

/* ---- devices and contexts ---- */

int accel_device_get_memory(struct accel_device *device, struct accel_memory_info *info)
{
	struct drm_onpu_query_memory memory;
	struct accel_memory_info local;
	int ret;

	api_begin(__func__);
	if (!device || !info)
		return fail(-EINVAL, "%s is NULL", device ? "info" : "device");
	ret = device_check(device);
	if (ret)
		return ret;
	ret = device_query(device, DRM_ONPU_QUERY_MEMORY, &memory, sizeof(memory));
	if (ret)
		return fail(ret, "%s does not answer: %s", device->found.node, strerror(-ret));
	accel_memory_info_init(&local);
	local.card_size = memory.vram_size;
	local.card_visible = memory.vram_visible;
	local.card_used = memory.vram_used;
	local.card_free = memory.vram_size > memory.vram_used ? memory.vram_size - memory.vram_used : 0;
	local.host_used = memory.system_used;
	local.page_sizes = memory.page_sizes;
	local.registered_used = memory.pinned_used;
	local.registered_max = device->limits.max_pinned_bytes;
	local.buffer_size_max = device->limits.max_bo_size;
	local.buffers_max = device->limits.max_bos;
	local.mappings_max = device->limits.max_mappings;
	local.contexts_max = device->limits.max_vms;
	local.queues_max = device->limits.max_queues;
	return copy_out(info, &local, sizeof(local), sizeof(local), "accel_memory_info");
}

int accel_context_get_status(struct accel_context *context, struct accel_context_status *status)
{
	struct drm_onpu_vm_get_state state = { 0 };
	struct accel_context_status local;
	int ret;

	api_begin(__func__);
	if (!context || !status)
		return fail(-EINVAL, "%s is NULL", context ? "status" : "context");
	ret = device_check(context->device);
	if (ret)
		return ret;
	state.id = context->vm_id;
	ret = device_ioctl(context->device, DRM_IOCTL_ONPU_VM_GET_STATE, &state);
	if (ret)
		return fail(ret, "the driver does not tell the state of the context: %s", strerror(-ret));
	accel_context_status_init(&local);
	local.mappings = state.mappings;
	local.mapped_bytes = state.mapped_bytes;
	local.table_bytes = state.table_bytes;
	local.faults = state.faults;
	if (state.flags & DRM_ONPU_VM_FAULTED) {
		local.fault_address = state.fault_va;
		local.fault_access = ONPU_FAULT_INFO_ACCESS(state.fault_info);
		local.fault_reason = ONPU_FAULT_INFO_REASON(state.fault_info);
		fault_text(local.fault_text, sizeof(local.fault_text), local.fault_address,
			   local.fault_access, local.fault_reason);
	}
	return copy_out(status, &local, sizeof(local), sizeof(local), "accel_context_status");
}

/* ---- buffers ---- */

static uint32_t public_flags(const struct accel_buffer *buffer, uint32_t flags)
{
	return (flags & DRM_ONPU_BO_VRAM ? ACCEL_BUFFER_CARD : 0) |
	       (flags & DRM_ONPU_BO_SYSTEM ? ACCEL_BUFFER_HOST : 0) |
	       (flags & DRM_ONPU_BO_CPU_VISIBLE ? ACCEL_BUFFER_CPU_VISIBLE : 0) |
	       (buffer->flags & (ACCEL_BUFFER_CARD_READONLY | ACCEL_BUFFER_SHAREABLE));
}

int accel_buffer_get_info(struct accel_buffer *buffer, struct accel_buffer_info *info)
{
	struct drm_onpu_bo_info from = { 0 };
	struct accel_buffer_info local;
	int ret;

	api_begin(__func__);
	ret = buffer_check(buffer);
	if (ret)
		return ret;
	if (!info)
		return fail(-EINVAL, "info is NULL");
	from.handle = buffer->bo.handle;
	ret = device_ioctl(buffer->bo.context->device, DRM_IOCTL_ONPU_BO_INFO, &from);
	if (ret)
		return fail(ret, "the driver does not tell about the buffer: %s", strerror(-ret));
	accel_buffer_info_init(&local);
	local.bytes = buffer->size;
	local.allocated = from.size;
	local.address = buffer_va(buffer);
	local.flags = public_flags(buffer, from.flags);
	local.location = from.region;
	local.origin = buffer->origin;
	local.state = from.state & (ACCEL_BUFFER_PURGEABLE | ACCEL_BUFFER_PURGED);
	if (buffer->origin == ACCEL_ORIGIN_REGISTERED)
		local.memory = (char *)buffer->bo.pointer + buffer->start;
	memcpy(local.exporter, buffer->exporter, sizeof(local.exporter));
	return copy_out(info, &local, sizeof(local), sizeof(local), "accel_buffer_info");
}

static int advice_failed(const struct accel_buffer *buffer, uint32_t advice, int error)
{
	if (error == -EPERM)
		return fail(error, "the content of %s is not this process's alone to give up",
			    buffer->origin == ACCEL_ORIGIN_CREATED ? "an exported buffer" :
			    buffer->origin == ACCEL_ORIGIN_IMPORTED ? "an imported buffer" :
			    "registered memory");
	if (error == -ENOMEM)
		return fail(error, "no room for %" PRIu64 " bytes in %s memory", buffer->bo.size,
			    advice == ACCEL_ADVICE_PREFETCH ? "card" : "system");
	return fail(error, "the driver refused the advice: %s", strerror(-error));
}

int accel_buffer_advise(struct accel_buffer *buffer, uint32_t advice)
{
	struct drm_onpu_bo_advise arg = { .advice = advice };
	int ret;

	api_begin(__func__);
	ret = buffer_check(buffer);
	if (ret)
		return ret;
	if (advice < ACCEL_ADVICE_PREFETCH || advice > ACCEL_ADVICE_NEEDED)
		return fail(-EINVAL, "unknown advice %u", advice);
	arg.handle = buffer->bo.handle;
	ret = device_ioctl(buffer->bo.context->device, DRM_IOCTL_ONPU_BO_ADVISE, &arg);
	if (ret)
		return advice_failed(buffer, advice, ret);
	if (advice == ACCEL_ADVICE_PURGEABLE)
		atomic_store(&buffer->purgeable, true);
	if (advice != ACCEL_ADVICE_NEEDED)
		return 0;
	atomic_store(&buffer->purgeable, false);
	if (!arg.retained)
		return fail(-ENODATA, "the content was given up while the buffer was purgeable: it is zero now");
	return 0;
}

// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: DEV_QUERY
 *
 * One function per type fills a zeroed structure on the stack; the ioctl copies
 * as much of it as the caller knows.
 *
 * Locking: none of its own. Values that change (memory in use, counters, time)
 * are read one after the other.
 */

#include <linux/nospec.h>
#include <linux/uaccess.h>

#include "onpu_bo.h"
#include "onpu_device.h"
#include "onpu_fw.h"
#include "onpu_query.h"
#include "onpu_queue.h"
#include "onpu_quota.h"
#include "onpu_uqueue.h"
#include "onpu_user.h"
#include "onpu_userptr.h"
#include "onpu_vm.h"
#include "onpu_vram.h"

static void query_device(struct onpu_device *odev, void *data)
{
	struct pci_dev *pdev = to_pci_dev(odev->drm.dev);
	const struct onpu_caps *caps = &odev->caps;
	struct drm_onpu_query_device *q = data;

	q->hw_version = caps->hw_version;
	q->pci_vendor_device = (u32)pdev->vendor << 16 | pdev->device;
	q->serial = caps->serial;
	q->opcodes = caps->opcodes;
	q->dtypes_in = caps->dtypes_in;
	q->dtypes_out = caps->dtypes_out;
	q->cores = caps->cores;
	q->core_clock_khz = caps->core_clock_khz;
	q->dim_max = caps->dim_max;
	q->slots = caps->slots;
	q->generation = onpu_read32(odev, ONPU_REG_GENERATION);
	q->device_time_ns = onpu_read64(odev, ONPU_REG_TIME);
}

static void query_memory(struct onpu_device *odev, void *data)
{
	struct drm_onpu_query_memory *q = data;

	q->vram_size = onpu_vram_size(odev);
	q->vram_visible = onpu_vram_visible_size(odev);
	q->vram_used = onpu_vram_used(odev);
	q->system_used = onpu_ttm_system_used(odev);
	q->va_start = ONPU_VA_USER_START;
	q->va_end = ONPU_VA_USER_END;
	q->page_sizes = odev->caps.page_sizes;
	q->pinned_used = onpu_userptr_pinned();
}

static void query_firmware(struct onpu_device *odev, void *data)
{
	onpu_fw_query(odev, data);
}

static void query_limits(struct onpu_device *odev, void *data)
{
	struct drm_onpu_query_limits *q = data;

	q->max_vms = ONPU_MAX_VMS;
	q->max_queues = ONPU_MAX_FILE_QUEUES;
	q->max_bind_ops = ONPU_MAX_BIND_OPS;
	q->max_jobs = ONPU_MAX_JOBS_PER_SUBMIT;
	q->max_syncs = ONPU_MAX_SYNCS_PER_JOB;
	q->max_packets = odev->caps.call_max;
	q->max_bo_size = onpu_bo_max_size(odev);
	q->max_jobs_in_flight = ONPU_MAX_JOBS_IN_FLIGHT;
	q->job_timeout_ms = onpu_queue_job_timeout_ms();
	q->max_bos = onpu_bo_max_handles();
	q->max_mappings = onpu_vm_max_mappings();
	q->max_pinned_bytes = onpu_userptr_limit();
	q->max_ring_order = onpu_uqueue_supported(odev) ? odev->caps.ring_order_max : 0;
	onpu_quota_query(odev, q);
}

static void query_counters(struct onpu_device *odev, void *data)
{
	struct drm_onpu_query_counters *q = data;

	q->busy_ns = onpu_read64(odev, ONPU_REG_CNT_BUSY_NS);
	q->packets = onpu_read64(odev, ONPU_REG_CNT_PACKETS);
	q->matmuls = onpu_read64(odev, ONPU_REG_CNT_MATMULS);
	q->matmul_ops = onpu_read64(odev, ONPU_REG_CNT_MATMUL_OPS);
	q->copy_bytes = onpu_read64(odev, ONPU_REG_CNT_COPY_BYTES);
	q->tlb_hits = onpu_read64(odev, ONPU_REG_CNT_TLB_HITS);
	q->tlb_walks = onpu_read64(odev, ONPU_REG_CNT_TLB_WALKS);
	q->faults = onpu_read64(odev, ONPU_REG_CNT_FAULTS);
	q->irqs = onpu_read64(odev, ONPU_REG_CNT_IRQS);
}

static void query_engines(struct onpu_device *odev, void *data)
{
	struct drm_onpu_query_engines *q = data;

	if ((odev->caps.hw_version & 0xffff) < ONPU_HW_MINOR_ENGINES)
		return;

	q->macs_32 = onpu_read32(odev, ONPU_REG_MACS_32);
	q->macs_16 = onpu_read32(odev, ONPU_REG_MACS_16);
	q->macs_8 = onpu_read32(odev, ONPU_REG_MACS_8);
	q->macs_4 = onpu_read32(odev, ONPU_REG_MACS_4);
	q->tile = onpu_read32(odev, ONPU_REG_TILE);
	q->packet_ns = onpu_read32(odev, ONPU_REG_PACKET_NS);
	q->vram_bandwidth = onpu_read64(odev, ONPU_REG_VRAM_BANDWIDTH);
	q->host_bandwidth = onpu_read64(odev, ONPU_REG_HOST_BANDWIDTH);
	q->cores_busy_ns = onpu_read64(odev, ONPU_REG_ENGINE_BUSY(ONPU_ENGINE_CORES));
	q->copy_busy_ns = onpu_read64(odev, ONPU_REG_ENGINE_BUSY(ONPU_ENGINE_COPY));
	q->vram_busy_ns = onpu_read64(odev, ONPU_REG_ENGINE_BUSY(ONPU_ENGINE_VRAM));
	q->host_read_busy_ns = onpu_read64(odev, ONPU_REG_ENGINE_BUSY(ONPU_ENGINE_HOST_READ));
	q->host_write_busy_ns = onpu_read64(odev, ONPU_REG_ENGINE_BUSY(ONPU_ENGINE_HOST_WRITE));
	q->vram_bytes = onpu_read64(odev, ONPU_REG_ENGINE_BYTES(ONPU_ENGINE_VRAM));
	q->host_read_bytes = onpu_read64(odev, ONPU_REG_ENGINE_BYTES(ONPU_ENGINE_HOST_READ));
	q->host_write_bytes = onpu_read64(odev, ONPU_REG_ENGINE_BYTES(ONPU_ENGINE_HOST_WRITE));
	/* Last, so that nobody was busier than there was time. */
	q->time_ns = onpu_read64(odev, ONPU_REG_ENGINE_TIME);
}

/**
 * union onpu_query_buf - room for any answer
 */
union onpu_query_buf {
	/** @device: DRM_ONPU_QUERY_DEVICE */
	struct drm_onpu_query_device device;
	/** @memory: DRM_ONPU_QUERY_MEMORY */
	struct drm_onpu_query_memory memory;
	/** @firmware: DRM_ONPU_QUERY_FIRMWARE */
	struct drm_onpu_query_firmware firmware;
	/** @limits: DRM_ONPU_QUERY_LIMITS */
	struct drm_onpu_query_limits limits;
	/** @counters: DRM_ONPU_QUERY_COUNTERS */
	struct drm_onpu_query_counters counters;
	/** @engines: DRM_ONPU_QUERY_ENGINES */
	struct drm_onpu_query_engines engines;
};

static const struct {
	void (*fill)(struct onpu_device *odev, void *data);
	u32 size;
} queries[] = {
	[DRM_ONPU_QUERY_DEVICE] = { query_device, sizeof(struct drm_onpu_query_device) },
	[DRM_ONPU_QUERY_MEMORY] = { query_memory, sizeof(struct drm_onpu_query_memory) },
	[DRM_ONPU_QUERY_FIRMWARE] = { query_firmware, sizeof(struct drm_onpu_query_firmware) },
	[DRM_ONPU_QUERY_LIMITS] = { query_limits, sizeof(struct drm_onpu_query_limits) },
	[DRM_ONPU_QUERY_COUNTERS] = { query_counters, sizeof(struct drm_onpu_query_counters) },
	[DRM_ONPU_QUERY_ENGINES] = { query_engines, sizeof(struct drm_onpu_query_engines) },
};

/**
 * onpu_ioctl_dev_query() - DRM_IOCTL_ONPU_DEV_QUERY
 * @drm: device
 * @data: struct drm_onpu_dev_query
 * @file: caller
 *
 * Return: 0 or a negative error.
 */
int onpu_ioctl_dev_query(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_onpu_dev_query *args = data;
	union onpu_query_buf buf;
	u32 type = args->type;

	if (ONPU_BAD(drm, type >= ARRAY_SIZE(queries)))
		return -EINVAL;
	type = array_index_nospec(type, ARRAY_SIZE(queries));

	if (!args->ptr) {
		args->size = queries[type].size;
		return 0;
	}

	memset(&buf, 0, sizeof(buf));
	queries[type].fill(to_onpu_device(drm), &buf);

	args->size = min(args->size, queries[type].size);
	if (copy_to_user(u64_to_user_ptr(args->ptr), &buf, args->size))
		return -EFAULT;

	return 0;
}

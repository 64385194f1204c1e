/* SPDX-License-Identifier: MIT */
/*
 * DEV_QUERY: the answers are the card's registers and what this kernel counts.
 *
 * Locking: mk_lock.
 */
#include "mk.h"

#include <string.h>

struct drm_onpu_query_limits mk_limits = {
	.max_vms = MK_VMS, .max_queues = MK_QUEUES, .max_bind_ops = MK_BIND_OPS, .max_jobs = MK_JOBS,
	.max_syncs = MK_SYNCS, .max_packets = ONPU_CALL_MAX, .max_jobs_in_flight = MK_IN_FLIGHT,
	.max_bos = MK_BOS, .max_mappings = MK_MAPPINGS, .max_ring_order = ONPU_RING_ORDER_MAX,
};

static void query_device(const struct mk_card *card, struct drm_onpu_query_device *q)
{
	q->hw_version = mk_read32(card, ONPU_REG_HW_VERSION);
	q->pci_vendor_device = (uint32_t)ONPU_PCI_VENDOR_ID << 16 | ONPU_PCI_DEVICE_ID;
	q->serial = mk_read64(card, ONPU_REG_SERIAL);
	q->opcodes = mk_read32(card, ONPU_REG_OPCODES);
	q->dtypes_in = mk_read32(card, ONPU_REG_DTYPES_IN);
	q->dtypes_out = mk_read32(card, ONPU_REG_DTYPES_OUT);
	q->cores = mk_read32(card, ONPU_REG_CORES);
	q->core_clock_khz = mk_read32(card, ONPU_REG_CORE_CLOCK_KHZ);
	q->dim_max = mk_read32(card, ONPU_REG_DIM_MAX);
	q->slots = mk_read32(card, ONPU_REG_SLOTS);
	q->generation = mk_read32(card, ONPU_REG_GENERATION);
	q->device_time_ns = mk_read64(card, ONPU_REG_TIME);
}

static void query_memory(const struct mk_card *card, struct drm_onpu_query_memory *q)
{
	q->vram_size = card->vram;
	q->vram_visible = card->vram;
	/* Page tables may take more than there is: they do not make room. */
	q->vram_used = card->vram_used < card->vram ? card->vram_used : card->vram;
	q->system_used = card->host_used;
	q->va_start = MK_VA_START;
	q->va_end = MK_VA_END;
	q->page_sizes = mk_read32(card, ONPU_REG_PAGE_SIZES);
	q->pinned_used = mk_pinned();
}

static void query_limits(const struct mk_card *card, struct drm_onpu_query_limits *q)
{
	uint32_t ring_order = mk_read32(card, ONPU_REG_RING_ORDER_MAX);

	*q = mk_limits;
	q->max_bo_size = mk_bo_max(card);
	q->max_pinned_bytes = mk_pinned_limit();
	if (q->max_ring_order > ring_order)
		q->max_ring_order = ring_order;
	/* There is one user, who may have all. */
	q->max_user_vms = ONPU_MAX_CONTEXTS;
	q->max_user_queues = ONPU_MAX_QUEUES;
	for (unsigned int i = 0; i < ONPU_MAX_CONTEXTS; i++)
		q->user_vms += card->vms[i] != NULL;
	for (unsigned int i = 0; i < ONPU_MAX_QUEUES; i++)
		q->user_queues += card->queues[i] != NULL;
}

static void query_counters(const struct mk_card *card, struct drm_onpu_query_counters *q)
{
	q->busy_ns = mk_read64(card, ONPU_REG_CNT_BUSY_NS);
	q->packets = mk_read64(card, ONPU_REG_CNT_PACKETS);
	q->matmuls = mk_read64(card, ONPU_REG_CNT_MATMULS);
	q->matmul_ops = mk_read64(card, ONPU_REG_CNT_MATMUL_OPS);
	q->copy_bytes = mk_read64(card, ONPU_REG_CNT_COPY_BYTES);
	q->tlb_hits = mk_read64(card, ONPU_REG_CNT_TLB_HITS);
	q->tlb_walks = mk_read64(card, ONPU_REG_CNT_TLB_WALKS);
	q->faults = mk_read64(card, ONPU_REG_CNT_FAULTS);
	q->irqs = mk_read64(card, ONPU_REG_CNT_IRQS);
}

static void query_engines(const struct mk_card *card, struct drm_onpu_query_engines *q)
{
	q->macs_32 = mk_read32(card, ONPU_REG_MACS_32);
	q->macs_16 = mk_read32(card, ONPU_REG_MACS_16);
	q->macs_8 = mk_read32(card, ONPU_REG_MACS_8);
	q->macs_4 = mk_read32(card, ONPU_REG_MACS_4);
	q->tile = mk_read32(card, ONPU_REG_TILE);
	q->packet_ns = mk_read32(card, ONPU_REG_PACKET_NS);
	q->vram_bandwidth = mk_read64(card, ONPU_REG_VRAM_BANDWIDTH);
	q->host_bandwidth = mk_read64(card, ONPU_REG_HOST_BANDWIDTH);
	q->cores_busy_ns = mk_read64(card, ONPU_REG_ENGINE_BUSY(ONPU_ENGINE_CORES));
	q->copy_busy_ns = mk_read64(card, ONPU_REG_ENGINE_BUSY(ONPU_ENGINE_COPY));
	q->vram_busy_ns = mk_read64(card, ONPU_REG_ENGINE_BUSY(ONPU_ENGINE_VRAM));
	q->host_read_busy_ns = mk_read64(card, ONPU_REG_ENGINE_BUSY(ONPU_ENGINE_HOST_READ));
	q->host_write_busy_ns = mk_read64(card, ONPU_REG_ENGINE_BUSY(ONPU_ENGINE_HOST_WRITE));
	q->vram_bytes = mk_read64(card, ONPU_REG_ENGINE_BYTES(ONPU_ENGINE_VRAM));
	q->host_read_bytes = mk_read64(card, ONPU_REG_ENGINE_BYTES(ONPU_ENGINE_HOST_READ));
	q->host_write_bytes = mk_read64(card, ONPU_REG_ENGINE_BYTES(ONPU_ENGINE_HOST_WRITE));
	/* Last, so that nobody was busier than there was time. */
	q->time_ns = mk_read64(card, ONPU_REG_ENGINE_TIME);
}

union answer {
	struct drm_onpu_query_device device;
	struct drm_onpu_query_memory memory;
	struct drm_onpu_query_firmware firmware;
	struct drm_onpu_query_limits limits;
	struct drm_onpu_query_counters counters;
	struct drm_onpu_query_engines engines;
};

/* Returns the size of the answer, 0 for a question that is not known. */
static uint32_t answer(const struct mk_card *card, uint32_t type, union answer *a)
{
	switch (type) {
	case DRM_ONPU_QUERY_DEVICE:
		query_device(card, &a->device);
		return sizeof(a->device);
	case DRM_ONPU_QUERY_MEMORY:
		query_memory(card, &a->memory);
		return sizeof(a->memory);
	case DRM_ONPU_QUERY_FIRMWARE:
		a->firmware = card->firmware;
		a->firmware.heartbeat = mk_read32(card, ONPU_REG_HEARTBEAT);
		return sizeof(a->firmware);
	case DRM_ONPU_QUERY_LIMITS:
		query_limits(card, &a->limits);
		return sizeof(a->limits);
	case DRM_ONPU_QUERY_COUNTERS:
		query_counters(card, &a->counters);
		return sizeof(a->counters);
	case DRM_ONPU_QUERY_ENGINES:
		query_engines(card, &a->engines);
		return sizeof(a->engines);
	default:
		return 0;
	}
}

static int query(const struct mk_card *card, struct drm_onpu_dev_query *arg)
{
	union answer a;
	uint32_t size;

	memset(&a, 0, sizeof(a));
	size = answer(card, arg->type, &a);
	if (!size)
		return -EINVAL;
	if (!arg->ptr || arg->size > size)
		arg->size = size;
	if (arg->ptr)
		memcpy((void *)(uintptr_t)arg->ptr, &a, arg->size);
	return 0;
}

/* As the driver's. */
static int version(struct drm_version *arg)
{
	static const char name[] = "onpu";

	arg->version_major = 1;
	arg->version_minor = 3;
	arg->version_patchlevel = 0;
	if (arg->name && arg->name_len)
		memcpy(arg->name, name, arg->name_len < sizeof(name) - 1 ? arg->name_len : sizeof(name) - 1);
	arg->name_len = sizeof(name) - 1;
	arg->date_len = 0;
	arg->desc_len = 0;
	return 0;
}

int mk_query_ioctl(struct mk_file *file, unsigned long request, void *arg)
{
	switch (request) {
	case DRM_IOCTL_ONPU_DEV_QUERY:
		return query(file->card, arg);
	case DRM_IOCTL_VERSION:
		return version(arg);
	default:
		return -ENOTTY;
	}
}

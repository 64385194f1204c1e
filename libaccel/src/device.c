/* SPDX-License-Identifier: MIT */
/*
 * Open cards and what they tell of themselves.
 *
 * Locking: an open device does not change, apart from its reference count.
 */
#include "internal.h"
#include "os.h"

#include <drm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void device_get(struct accel_device *device)
{
	atomic_fetch_add_explicit(&device->refs, 1, memory_order_relaxed);
}

void device_put(struct accel_device *device)
{
	if (atomic_fetch_sub(&device->refs, 1) != 1)
		return;
	fork_unregister(device);
	os_close(device->fd);
	pthread_mutex_destroy(&device->queues_lock);
	pthread_mutex_destroy(&device->handles_lock);
	log_print(LOG_INFO, "closed %s (%s)", device->found.node, device->found.pci_address);
	free(device);
}

bool device_is_foreign(const struct accel_device *device)
{
	return device->fork_generation != fork_generation();
}

int device_check(const struct accel_device *device)
{
	if (device_is_foreign(device))
		return fail(-ECHILD, "the object belongs to the parent process, which opened %s before fork()",
			    device->found.node);
	return 0;
}

int device_ioctl(const struct accel_device *device, unsigned long request, void *arg)
{
	int ret = os_ioctl(device->fd, request, arg);

	/* A driver that is older than what is asked of it. */
	return ret == -ENOTTY ? -ENOTSUP : ret;
}

bool device_is_gone(const struct accel_device *device)
{
	struct drm_onpu_query_limits limits;

	return device_query(device, DRM_ONPU_QUERY_LIMITS, &limits, sizeof(limits)) == -ENODEV;
}

/* Reads @size bytes of a query; what an older driver does not know stays zero. */
static int query(int fd, uint32_t type, void *data, uint32_t size)
{
	struct drm_onpu_dev_query arg = {
		.type = type,
		.size = size,
		.ptr = (uintptr_t)data,
	};

	memset(data, 0, size);
	return os_ioctl(fd, DRM_IOCTL_ONPU_DEV_QUERY, &arg);
}

int device_query(const struct accel_device *device, uint32_t type, void *data, uint32_t size)
{
	return query(device->fd, type, data, size);
}

/* A driver before 1.2 knows no such question: all zero. */
static int query_engines(int fd, struct drm_onpu_query_engines *engines)
{
	int ret = query(fd, DRM_ONPU_QUERY_ENGINES, engines, sizeof(*engines));

	if (ret == -EINVAL)
		memset(engines, 0, sizeof(*engines));
	return ret == -EINVAL ? 0 : ret;
}

static int read_driver(int fd, struct accel_device_info *info)
{
	struct drm_version version = { 0 };
	char name[sizeof(info->driver_name)] = "";
	int ret;

	version.name = name;
	version.name_len = sizeof(name) - 1;
	ret = os_ioctl(fd, DRM_IOCTL_VERSION, &version);
	if (ret)
		return ret;
	memcpy(info->driver_name, name, sizeof(name));
	info->driver_version[0] = (uint32_t)version.version_major;
	info->driver_version[1] = (uint32_t)version.version_minor;
	info->driver_version[2] = (uint32_t)version.version_patchlevel;
	return strcmp(name, DRIVER_NAME) || version.version_major > 1 ? -ENOTSUP : 0;
}

static void fill_caps(struct accel_device_info *info, const struct drm_onpu_query_device *caps,
		      const struct drm_onpu_query_memory *memory,
		      const struct drm_onpu_query_firmware *firmware,
		      const struct drm_onpu_query_limits *limits)
{
	info->hw_version = caps->hw_version;
	info->serial = caps->serial;
	info->cores = caps->cores;
	info->core_clock_khz = caps->core_clock_khz;
	info->slots = caps->slots;
	info->dim_max = caps->dim_max;
	info->types_in = caps->dtypes_in;
	info->types_out = caps->dtypes_out;
	info->generation = caps->generation;
	info->device_time_ns = caps->device_time_ns;
	info->memory_size = memory->vram_size;
	info->memory_used = memory->vram_used;
	info->memory_visible = memory->vram_visible;
	info->host_used = memory->system_used;
	info->firmware_version = firmware->version;
	info->firmware_svn = firmware->svn;
	info->firmware_heartbeat = firmware->heartbeat;
	info->buffer_size_max = limits->max_bo_size;
	info->contexts_max = limits->max_vms;
	info->queues_max = limits->max_queues;
	info->job_timeout_ms = limits->job_timeout_ms;
}

static void fill_engines(struct accel_device_info *info, const struct drm_onpu_query_engines *engines)
{
	info->macs_per_cycle[0] = engines->macs_32;
	info->macs_per_cycle[1] = engines->macs_16;
	info->macs_per_cycle[2] = engines->macs_8;
	info->macs_per_cycle[3] = engines->macs_4;
	info->memory_bandwidth = engines->vram_bandwidth;
	info->host_bandwidth = engines->host_bandwidth;
	info->packet_ns = engines->packet_ns;
}

static int read_card(int fd, struct accel_device_info *info)
{
	struct drm_onpu_query_device caps;
	struct drm_onpu_query_memory memory;
	struct drm_onpu_query_firmware firmware;
	struct drm_onpu_query_limits limits;
	struct drm_onpu_query_engines engines;
	int ret;

	ret = read_driver(fd, info);
	if (!ret)
		ret = query(fd, DRM_ONPU_QUERY_DEVICE, &caps, sizeof(caps));
	if (!ret)
		ret = query(fd, DRM_ONPU_QUERY_MEMORY, &memory, sizeof(memory));
	if (!ret)
		ret = query(fd, DRM_ONPU_QUERY_FIRMWARE, &firmware, sizeof(firmware));
	if (!ret)
		ret = query(fd, DRM_ONPU_QUERY_LIMITS, &limits, sizeof(limits));
	if (!ret)
		ret = query_engines(fd, &engines);
	if (!ret) {
		fill_caps(info, &caps, &memory, &firmware, &limits);
		fill_engines(info, &engines);
	}
	return ret;
}

static void fill_identity(struct accel_device_info *info, const struct found_device *found)
{
	accel_device_info_init(info);
	memcpy(info->pci_address, found->pci_address, sizeof(info->pci_address));
	memcpy(info->node, found->node, sizeof(info->node));
	info->vendor_id = found->vendor_id;
	info->device_id = found->device_id;
}

static int info_out(struct accel_device_info *target, const struct accel_device_info *source)
{
	return copy_out(target, source, sizeof(*source), sizeof(*source), "accel_device_info");
}

int accel_device_count(void)
{
	struct found_device *found;
	int count;

	api_begin(__func__);
	found = calloc(DEVICES_MAX, sizeof(*found));
	if (!found)
		return fail(-ENOMEM, "out of memory");
	count = find_devices(found, DEVICES_MAX);
	free(found);
	return count;
}

/* Finds the card with the wanted index or name (NULL: index). */
static int find_device(unsigned int index, const char *name, struct found_device *device)
{
	struct found_device *found = calloc(DEVICES_MAX, sizeof(*found));
	int count, ret = -ENODEV;

	if (!found)
		return fail(-ENOMEM, "out of memory");
	count = find_devices(found, DEVICES_MAX);
	if (count < 0) {
		free(found);
		return count;
	}
	for (unsigned int i = 0; i < (unsigned int)count; i++) {
		if (name ? strcmp(name, found[i].pci_address) && strcmp(name, found[i].node) :
			   i != index)
			continue;
		*device = found[i];
		ret = 0;
		break;
	}
	free(found);
	if (ret && name)
		return fail(ret, "no card %s: its driver is bound to %d card%s, that is not one of them",
			    name, count, count == 1 ? "" : "s");
	if (ret)
		return fail(ret, "no card %u: the driver has %d card%s", index, count,
			    count == 1 ? "" : "s");
	return 0;
}

int accel_device_list_info(unsigned int index, struct accel_device_info *info)
{
	struct accel_device_info local;
	struct found_device found;
	int fd, ret;

	api_begin(__func__);
	if (!info)
		return fail(-EINVAL, "info is NULL");
	ret = find_device(index, NULL, &found);
	if (ret)
		return ret;
	fill_identity(&local, &found);
	fd = os_open(found.node);
	if (fd < 0) {
		local.status = fd;
	} else {
		local.status = read_card(fd, &local);
		os_close(fd);
	}
	return info_out(info, &local);
}

static int read_open_caps(struct accel_device *device)
{
	struct accel_device_info info;
	int ret;

	accel_device_info_init(&info);
	ret = read_driver(device->fd, &info);
	if (ret == -ENOTSUP)
		return fail(ret, "%s has driver \"%s\" %u.%u, not " DRIVER_NAME " 1.x", device->found.node,
			    info.driver_name, info.driver_version[0], info.driver_version[1]);
	if (!ret)
		ret = query(device->fd, DRM_ONPU_QUERY_DEVICE, &device->caps, sizeof(device->caps));
	if (!ret)
		ret = query(device->fd, DRM_ONPU_QUERY_MEMORY, &device->memory,
			    sizeof(device->memory));
	if (!ret)
		ret = query(device->fd, DRM_ONPU_QUERY_LIMITS, &device->limits,
			    sizeof(device->limits));
	if (!ret)
		ret = query_engines(device->fd, &device->engines);
	if (ret)
		return fail(ret, "%s does not answer: %s", device->found.node, strerror(-ret));
	return 0;
}

static int open_found(const struct found_device *found, struct accel_device **out)
{
	struct accel_device *device = calloc(1, sizeof(*device));
	int ret;

	if (!device)
		return fail(-ENOMEM, "out of memory");
	atomic_init(&device->refs, 1);
	device->found = *found;
	device->fd = os_open(found->node);
	if (device->fd < 0) {
		ret = fail(device->fd, "cannot open %s: %s", found->node, strerror(-device->fd));
		goto err_free;
	}
	ret = read_open_caps(device);
	if (!ret)
		ret = user_queues_init(device);
	if (ret)
		goto err_close;
	ret = fork_register(device);
	if (ret) {
		fail(ret, "cannot register fork handlers: %s", strerror(-ret));
		goto err_close;
	}
	pthread_mutex_init(&device->handles_lock, NULL);
	pthread_mutex_init(&device->queues_lock, NULL);
	log_print(LOG_INFO, "opened %s (%s)", found->node, found->pci_address);
	*out = device;
	return 0;

err_close:
	os_close(device->fd);
err_free:
	free(device);
	return ret;
}

static int open_checked(unsigned int index, const char *name, struct accel_device **device)
{
	struct found_device found;
	int ret;

	if (!device)
		return fail(-EINVAL, "device is NULL");
	ret = find_device(index, name, &found);
	return ret ? ret : open_found(&found, device);
}

int accel_device_open(unsigned int index, struct accel_device **device)
{
	api_begin(__func__);
	return open_checked(index, NULL, device);
}

int accel_device_open_name(const char *name, struct accel_device **device)
{
	unsigned int pci[4], index;
	char full[32];
	int end = 0;

	api_begin(__func__);
	if (!name)
		return fail(-EINVAL, "name is NULL");
	if (*name == '/')
		return open_checked(0, name, device);
	if (sscanf(name, "%4x:%2x:%2x.%1u%n", &pci[0], &pci[1], &pci[2], &pci[3], &end) == 4 &&
	    !name[end]) {
		snprintf(full, sizeof(full), "%04x:%02x:%02x.%u", pci[0], pci[1], pci[2], pci[3]);
		return open_checked(0, full, device);
	}
	if (sscanf(name, "%2x:%2x.%1u%n", &pci[1], &pci[2], &pci[3], &end) == 3 && !name[end]) {
		snprintf(full, sizeof(full), "0000:%02x:%02x.%u", pci[1], pci[2], pci[3]);
		return open_checked(0, full, device);
	}
	if (*name >= '0' && *name <= '9' && sscanf(name, "%9u%n", &index, &end) == 1 && !name[end])
		return open_checked(index, NULL, device);
	return fail(-EINVAL, "\"%.64s\" is no PCI address (0000:00:04.0), device node or index", name);
}

void accel_device_close(struct accel_device *device)
{
	if (device && !device_is_foreign(device))
		device_put(device);
}

int accel_device_get_info(struct accel_device *device, struct accel_device_info *info)
{
	struct accel_device_info local;
	int ret;

	api_begin(__func__);
	if (!device || !info)
		return fail(-EINVAL, "%s is NULL", device ? "info" : "device");
	ret = device_check(device);
	if (ret)
		return ret;
	fill_identity(&local, &device->found);
	ret = read_card(device->fd, &local);
	if (ret)
		return fail(ret, "%s does not answer: %s", device->found.node, strerror(-ret));
	return info_out(info, &local);
}

int accel_device_get_counters(struct accel_device *device, struct accel_device_counters *counters)
{
	struct drm_onpu_query_counters from;
	struct drm_onpu_query_engines engines;
	struct accel_device_counters local;
	int ret;

	api_begin(__func__);
	if (!device || !counters)
		return fail(-EINVAL, "%s is NULL", device ? "counters" : "device");
	ret = device_check(device);
	if (ret)
		return ret;
	ret = query(device->fd, DRM_ONPU_QUERY_COUNTERS, &from, sizeof(from));
	if (!ret)
		ret = query_engines(device->fd, &engines);
	if (ret)
		return fail(ret, "%s does not answer: %s", device->found.node, strerror(-ret));
	accel_device_counters_init(&local);
	local.busy_ns = from.busy_ns;
	local.packets = from.packets;
	local.matmuls = from.matmuls;
	local.matmul_ops = from.matmul_ops;
	local.copy_bytes = from.copy_bytes;
	local.tlb_hits = from.tlb_hits;
	local.tlb_walks = from.tlb_walks;
	local.faults = from.faults;
	local.irqs = from.irqs;
	local.engine_time_ns = engines.time_ns;
	local.cores_busy_ns = engines.cores_busy_ns;
	local.copy_busy_ns = engines.copy_busy_ns;
	local.memory_busy_ns = engines.vram_busy_ns;
	local.host_read_busy_ns = engines.host_read_busy_ns;
	local.host_write_busy_ns = engines.host_write_busy_ns;
	local.memory_bytes = engines.vram_bytes;
	local.host_read_bytes = engines.host_read_bytes;
	local.host_write_bytes = engines.host_write_bytes;
	return copy_out(counters, &local, sizeof(local), sizeof(local), "accel_device_counters");
}

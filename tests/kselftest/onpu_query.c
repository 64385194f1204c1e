// SPDX-License-Identifier: GPL-2.0-only
/* DEV_QUERY: every type, every kind of size and pointer, and what must be true of the answers. */
#include "kselftest_harness.h"

#include "onpu_kselftest.h"

static const uint32_t sizes[] = {
	[DRM_ONPU_QUERY_DEVICE] = sizeof(struct drm_onpu_query_device),
	[DRM_ONPU_QUERY_MEMORY] = sizeof(struct drm_onpu_query_memory),
	[DRM_ONPU_QUERY_FIRMWARE] = sizeof(struct drm_onpu_query_firmware),
	[DRM_ONPU_QUERY_LIMITS] = sizeof(struct drm_onpu_query_limits),
	[DRM_ONPU_QUERY_COUNTERS] = sizeof(struct drm_onpu_query_counters),
	[DRM_ONPU_QUERY_ENGINES] = sizeof(struct drm_onpu_query_engines),
};

FIXTURE(query)
{
	int fd;
	struct drm_onpu_dev_query args;
	unsigned char data[512];
};

FIXTURE_VARIANT(query)
{
	uint32_t type;
};

FIXTURE_VARIANT_ADD(query, device) { .type = DRM_ONPU_QUERY_DEVICE };
FIXTURE_VARIANT_ADD(query, memory) { .type = DRM_ONPU_QUERY_MEMORY };
FIXTURE_VARIANT_ADD(query, firmware) { .type = DRM_ONPU_QUERY_FIRMWARE };
FIXTURE_VARIANT_ADD(query, limits) { .type = DRM_ONPU_QUERY_LIMITS };
FIXTURE_VARIANT_ADD(query, counters) { .type = DRM_ONPU_QUERY_COUNTERS };
FIXTURE_VARIANT_ADD(query, engines) { .type = DRM_ONPU_QUERY_ENGINES };

FIXTURE_SETUP(query)
{
	self->fd = onpu_open();
	ASSERT_GE(self->fd, 0);
	memset(self->data, 0xaa, sizeof(self->data));
	self->args.type = variant->type;
	self->args.ptr = USER_PTR(self->data);
}

FIXTURE_TEARDOWN(query)
{
	close(self->fd);
}

static bool untouched(const unsigned char *data, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		if (data[i] != 0xaa)
			return false;
	return true;
}

TEST_F(query, null_pointer_tells_size)
{
	self->args.ptr = 0;
	for (uint32_t size = 0; size < 200; size += 50) {
		self->args.size = size;
		ASSERT_EQ(0, onpu_ioctl(self->fd, DRM_IOCTL_ONPU_DEV_QUERY, &self->args));
		EXPECT_EQ(sizes[variant->type], self->args.size);
	}
}

TEST_F(query, exact_size)
{
	self->args.size = sizes[variant->type];
	ASSERT_EQ(0, onpu_ioctl(self->fd, DRM_IOCTL_ONPU_DEV_QUERY, &self->args));
	EXPECT_EQ(sizes[variant->type], self->args.size);
	EXPECT_FALSE(untouched(self->data, 0, sizes[variant->type]));
	EXPECT_TRUE(untouched(self->data, sizes[variant->type], sizeof(self->data)));
}

TEST_F(query, short_size)
{
	for (uint32_t size = 0; size <= 12; size += 4) {
		memset(self->data, 0xaa, sizeof(self->data));
		self->args.size = size;
		ASSERT_EQ(0, onpu_ioctl(self->fd, DRM_IOCTL_ONPU_DEV_QUERY, &self->args));
		EXPECT_EQ(size, self->args.size);
		EXPECT_TRUE(untouched(self->data, size, sizeof(self->data)));
	}
}

TEST_F(query, long_size)
{
	self->args.size = sizeof(self->data);
	ASSERT_EQ(0, onpu_ioctl(self->fd, DRM_IOCTL_ONPU_DEV_QUERY, &self->args));
	EXPECT_EQ(sizes[variant->type], self->args.size);
	EXPECT_TRUE(untouched(self->data, sizes[variant->type], sizeof(self->data)));
	self->args.size = UINT32_MAX;
	ASSERT_EQ(0, onpu_ioctl(self->fd, DRM_IOCTL_ONPU_DEV_QUERY, &self->args));
	EXPECT_EQ(sizes[variant->type], self->args.size);
}

TEST_F(query, bad_pointers)
{
	void *locked = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t bad[] = { 8, PAGE - 1, USER_PTR(locked), 0xffff888000000000ull, UINT64_MAX - 3 };

	ASSERT_NE(MAP_FAILED, locked);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		self->args.size = sizes[variant->type];
		self->args.ptr = bad[i];
		EXPECT_EQ(-EFAULT, onpu_ioctl(self->fd, DRM_IOCTL_ONPU_DEV_QUERY, &self->args));
	}
}

TEST(unknown_type)
{
	uint32_t types[] = { DRM_ONPU_QUERY_ENGINES + 1, 0x80000000u, UINT32_MAX };
	unsigned char data[64];
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	for (int i = 0; i < 3; i++) {
		struct drm_onpu_dev_query args = { .type = types[i], .size = sizeof(data) };

		EXPECT_EQ(-EINVAL, onpu_ioctl(fd, DRM_IOCTL_ONPU_DEV_QUERY, &args));
		args.ptr = USER_PTR(data);
		EXPECT_EQ(-EINVAL, onpu_ioctl(fd, DRM_IOCTL_ONPU_DEV_QUERY, &args));
	}
	close(fd);
}

TEST(bad_argument_pointer)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	EXPECT_EQ(-EFAULT, onpu_ioctl(fd, DRM_IOCTL_ONPU_DEV_QUERY, NULL));
	EXPECT_EQ(-EFAULT, onpu_ioctl(fd, DRM_IOCTL_ONPU_DEV_QUERY, (void *)(uintptr_t)64));
	close(fd);
}

TEST(unknown_ioctl)
{
	struct drm_onpu_dev_query args = { 0 };
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	EXPECT_EQ(-EINVAL, onpu_ioctl(fd, DRM_IOWR(DRM_COMMAND_BASE + DRM_ONPU_SUBMIT + 1,
						   struct drm_onpu_dev_query), &args));
	EXPECT_EQ(-EINVAL, onpu_ioctl(fd, DRM_IOWR(DRM_COMMAND_END - 1,
						   struct drm_onpu_dev_query), &args));
	close(fd);
}

TEST(device_answers)
{
	struct drm_onpu_query_device device;
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, onpu_query(fd, DRM_ONPU_QUERY_DEVICE, &device, sizeof(device)));
	EXPECT_EQ(ONPU_HW_VERSION_MAJOR, device.hw_version >> 16);
	EXPECT_EQ((uint32_t)ONPU_PCI_VENDOR_ID << 16 | ONPU_PCI_DEVICE_ID, device.pci_vendor_device);
	EXPECT_EQ(ONPU_OPCODES, device.opcodes & ONPU_OPCODES);
	/* All but the sums of integers; what is stored has whole bytes and no scales. */
	EXPECT_EQ(((2u << ONPU_DTYPE_MX_E2M1) - 2) & ~(1u << ONPU_DTYPE_I32), device.dtypes_in);
	EXPECT_EQ((2u << ONPU_DTYPE_E5M2) - 2, device.dtypes_out);
	EXPECT_NE(0, device.cores);
	EXPECT_NE(0, device.core_clock_khz);
	EXPECT_GE(device.dim_max, 1024);
	EXPECT_NE(0, device.slots);
	EXPECT_NE(0, device.generation);
	close(fd);
}

TEST(device_time_advances)
{
	int fd = onpu_open();
	uint64_t before;

	ASSERT_GE(fd, 0);
	before = onpu_device(fd).device_time_ns;
	usleep(10000);
	EXPECT_GT(onpu_device(fd).device_time_ns, before);
	close(fd);
}

TEST(memory_answers)
{
	struct drm_onpu_query_memory memory;
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, onpu_query(fd, DRM_ONPU_QUERY_MEMORY, &memory, sizeof(memory)));
	EXPECT_NE(0, memory.vram_size);
	EXPECT_LE(memory.vram_used, memory.vram_size);
	EXPECT_GE(memory.va_start, PAGE);
	EXPECT_EQ(0, memory.va_start % PAGE);
	EXPECT_GT(memory.va_end, memory.va_start);
	EXPECT_LE(memory.va_end, 1ull << 47);
	EXPECT_NE(0, memory.page_sizes & PAGE);
	close(fd);
}

TEST(firmware_is_alive)
{
	struct drm_onpu_query_firmware before, after;
	int fd = onpu_open();
	int64_t end = onpu_now() + WAIT_NS;

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, onpu_query(fd, DRM_ONPU_QUERY_FIRMWARE, &before, sizeof(before)));
	EXPECT_NE(0, before.version);
	EXPECT_EQ(ONPU_PACKET_ABI_MAJOR, before.packet_abi >> 16);
	do {
		usleep(50000);
		ASSERT_EQ(0, onpu_query(fd, DRM_ONPU_QUERY_FIRMWARE, &after, sizeof(after)));
	} while (after.heartbeat == before.heartbeat && onpu_now() < end);
	EXPECT_NE(before.heartbeat, after.heartbeat);
	close(fd);
}

TEST(limits_are_usable)
{
	struct drm_onpu_query_limits limits;
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, onpu_query(fd, DRM_ONPU_QUERY_LIMITS, &limits, sizeof(limits)));
	EXPECT_NE(0, limits.max_vms);
	EXPECT_NE(0, limits.max_queues);
	EXPECT_NE(0, limits.max_bind_ops);
	EXPECT_NE(0, limits.max_jobs);
	EXPECT_GE(limits.max_syncs, 2);
	EXPECT_NE(0, limits.max_packets);
	EXPECT_GE(limits.max_bo_size, MIB(1));
	EXPECT_NE(0, limits.max_jobs_in_flight);
	EXPECT_NE(0, limits.job_timeout_ms);
	close(fd);
}

TEST_HARNESS_MAIN

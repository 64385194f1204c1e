// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control groups: what the driver keeps in kernel memory for a process is charged to the memory
 * cgroup of that process, so that a container cannot fill the machine by it.
 */
#include "kselftest_harness.h"

#include <sys/mount.h>

#include "onpu_kselftest.h"

#define ROOT "/tmp/cgroup-of-test"
#define GROUP ROOT "/test"

FIXTURE(cgroup)
{
	struct drm_onpu_query_memory before;
	int fd;
};

FIXTURE_SETUP(cgroup)
{
	char text[32], controllers[256];

	self->fd = onpu_open();
	ASSERT_GE(self->fd, 0);
	self->before = onpu_memory(self->fd);
	mkdir(ROOT, 0755);
	if (mount("none", ROOT, "cgroup2", 0, NULL))
		SKIP(return, "no control groups in this kernel");
	ASSERT_EQ(0, onpu_read_file(ROOT "/cgroup.controllers", controllers, sizeof(controllers)));
	if (!strstr(controllers, "memory"))
		SKIP(return, "no memory controller in this kernel");
	ASSERT_EQ(0, onpu_write_file(ROOT "/cgroup.subtree_control", "+memory"));
	ASSERT_EQ(0, mkdir(GROUP, 0755));
	snprintf(text, sizeof(text), "%d", getpid());
	ASSERT_EQ(0, onpu_write_file(GROUP "/cgroup.procs", text));
}

FIXTURE_TEARDOWN(cgroup)
{
	char text[32];

	snprintf(text, sizeof(text), "%d", getpid());
	onpu_write_file(ROOT "/cgroup.procs", text);
	close(self->fd);
	onpu_unmap_all();
	rmdir(GROUP);
	umount(ROOT);
	rmdir(ROOT);
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

static int64_t charged(void)
{
	char text[32];

	return onpu_read_file(GROUP "/memory.current", text, sizeof(text)) ? -1 : atoll(text);
}

/* A page in each GiB: a directory and a table for each, of which the driver keeps copies. */
TEST_F_TIMEOUT(cgroup, page_tables, 60)
{
	static struct drm_onpu_bind_op ops[1024];
	int64_t before, with, after;
	uint32_t vm, handle;

	ASSERT_EQ(0, onpu_vm_create(self->fd, &vm));
	ASSERT_EQ(0, onpu_bo_create(self->fd, PAGE, DRM_ONPU_BO_SYSTEM, vm, &handle));
	for (uint64_t i = 0; i < 1024; i++)
		ops[i] = (struct drm_onpu_bind_op) {
			.type = DRM_ONPU_BIND_MAP, .handle = handle, .va = (1ull << 40) + (i << 30),
			.size = PAGE,
		};
	before = charged();
	ASSERT_EQ(0, onpu_bind(self->fd, vm, ops, 1024, NULL));
	with = charged();
	ASSERT_EQ(0, onpu_unmap(self->fd, vm, 1ull << 40, 1ull << 40));
	after = charged();
	TH_LOG("%lld KiB, with 1024 mappings %lld, without %lld", (long long)before >> 10,
	       (long long)with >> 10, (long long)after >> 10);
	EXPECT_GE(with - before, 1024 * 512 * 8);
	EXPECT_LE(after, with - 1024 * 512 * 8 / 2);
}

/* Objects of a page: their books are a good part of it. */
TEST_F_TIMEOUT(cgroup, buffer_objects, 60)
{
	int64_t before = charged(), with;
	uint32_t handle;

	for (int i = 0; i < 2000; i++)
		ASSERT_EQ(0, onpu_bo_create(self->fd, PAGE, DRM_ONPU_BO_VRAM, 0, &handle));
	with = charged();
	TH_LOG("%lld KiB, with 2000 objects %lld", (long long)before >> 10, (long long)with >> 10);
	EXPECT_GE(with - before, 2000 * 512);
}

/* Pages of buffer objects count for who created them. */
TEST_F_TIMEOUT(cgroup, system_memory, 60)
{
	int64_t before = charged(), with, after;
	uint32_t handle;

	ASSERT_EQ(0, onpu_bo_create(self->fd, MIB(16), DRM_ONPU_BO_SYSTEM, 0, &handle));
	with = charged();
	ASSERT_EQ(0, onpu_bo_close(self->fd, handle));
	for (int i = 0; i < 500 && charged() > with - (int64_t)MIB(15); i++)
		usleep(10000);
	after = charged();
	TH_LOG("%lld KiB, with 16 MiB %lld, without %lld", (long long)before >> 10,
	       (long long)with >> 10, (long long)after >> 10);
	/* Single pages may come from what the group was charged ahead. */
	EXPECT_GE(with - before, (int64_t)MIB(15));
	EXPECT_LE(after, with - (int64_t)MIB(15));
}

static int set_max(int64_t bytes)
{
	char text[32] = "max";

	if (bytes)
		snprintf(text, sizeof(text), "%lld", (long long)bytes);
	return onpu_write_file(GROUP "/memory.max", text);
}

/* One at its limit gets no more, lives on, and others do. */
TEST_F_TIMEOUT(cgroup, system_memory_has_a_limit, 60)
{
	int ret = 0, fd, out = open(ROOT "/cgroup.procs", O_WRONLY | O_CLOEXEC);
	uint32_t handle, count = 0;
	char text[32];

	/* At the limit even a file that is opened may be too much, for which the kernel kills. */
	ASSERT_GE(out, 0);
	ASSERT_EQ(0, set_max(charged() + (int64_t)MIB(24)));
	while (!ret && count < 64) {
		ret = onpu_bo_create(self->fd, MIB(2), DRM_ONPU_BO_SYSTEM, 0, &handle);
		count += !ret;
	}
	/* The same process, outside. */
	snprintf(text, sizeof(text), "%d", getpid());
	ASSERT_EQ((ssize_t)strlen(text), write(out, text, strlen(text)));
	close(out);
	EXPECT_EQ(-ENOMEM, ret);
	EXPECT_LE(8, count);
	EXPECT_GE(12, count);
	fd = onpu_open();
	ASSERT_GE(fd, 0);
	EXPECT_EQ(0, onpu_bo_create(fd, MIB(32), DRM_ONPU_BO_SYSTEM, 0, &handle));
	close(fd);
	ASSERT_EQ(0, set_max(0));
	ASSERT_EQ(0, onpu_write_file(GROUP "/cgroup.procs", text));
	EXPECT_EQ(0, onpu_bo_create(self->fd, MIB(2), DRM_ONPU_BO_SYSTEM, 0, &handle));
}

/* Card memory can be had from one who is at its limit: what is evicted is not charged. */
TEST_F_TIMEOUT(cgroup, eviction_is_not_refused, 60)
{
	struct drm_onpu_bo_advise advise = { .advice = DRM_ONPU_ADVISE_EVICT };
	struct drm_onpu_bo_info info = { 0 };
	volatile uint32_t *data;
	uint32_t handle;

	ASSERT_EQ(0, onpu_bo_create(self->fd, MIB(16), DRM_ONPU_BO_VRAM, 0, &handle));
	data = onpu_bo_map(self->fd, handle, MIB(16));
	ASSERT_NE(NULL, data);
	data[0] = 4711;
	data[MIB(16) / 4 - 1] = 815;
	ASSERT_EQ(0, set_max(charged() + (int64_t)MIB(4)));
	advise.handle = handle;
	ASSERT_EQ(0, onpu_ioctl(self->fd, DRM_IOCTL_ONPU_BO_ADVISE, &advise));
	info.handle = handle;
	ASSERT_EQ(0, onpu_ioctl(self->fd, DRM_IOCTL_ONPU_BO_INFO, &info));
	EXPECT_EQ(DRM_ONPU_REGION_SYSTEM, info.region);
	EXPECT_EQ(4711, data[0]);
	EXPECT_EQ(815, data[MIB(16) / 4 - 1]);
	ASSERT_EQ(0, set_max(0));
}

TEST_HARNESS_MAIN

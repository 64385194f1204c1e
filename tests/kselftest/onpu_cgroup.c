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

TEST_HARNESS_MAIN

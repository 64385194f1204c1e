// SPDX-License-Identifier: GPL-2.0-only
/* Buffer objects: creation, mapping, isolation between files, exhaustion of card memory. */
#include "kselftest_harness.h"

#include <sys/sysinfo.h>
#include <sys/wait.h>

#include "onpu_kselftest.h"

#define BOTH (DRM_ONPU_BO_VRAM | DRM_ONPU_BO_SYSTEM)

FIXTURE(bo)
{
	int fd;
	struct drm_onpu_query_memory before;
};

FIXTURE_VARIANT(bo)
{
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(bo, vram) { .flags = DRM_ONPU_BO_VRAM };
FIXTURE_VARIANT_ADD(bo, system) { .flags = DRM_ONPU_BO_SYSTEM };
FIXTURE_VARIANT_ADD(bo, both) { .flags = BOTH };

FIXTURE_SETUP(bo)
{
	self->fd = onpu_open();
	ASSERT_GE(self->fd, 0);
	self->before = onpu_memory(self->fd);
}

FIXTURE_TEARDOWN(bo)
{
	close(self->fd);
	onpu_unmap_all();
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

static uint64_t used(int fd)
{
	struct drm_onpu_query_memory memory = onpu_memory(fd);

	return memory.vram_used + memory.system_used;
}

TEST_F(bo, sizes_are_rounded_to_pages)
{
	static const uint64_t sizes[] = { 1, 4095, 4096, 4097, 65536, 2097152, 2097153, 5000000 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct drm_onpu_bo_create args = { .size = sizes[i], .flags = variant->flags };

		ASSERT_EQ(0, onpu_ioctl(self->fd, DRM_IOCTL_ONPU_BO_CREATE, &args));
		EXPECT_EQ((sizes[i] + PAGE - 1) / PAGE * PAGE, args.size);
		EXPECT_NE(0, args.handle);
		EXPECT_EQ(0, args.pad);
		EXPECT_EQ(0, onpu_bo_close(self->fd, args.handle));
	}
}

TEST_F(bo, memory_is_accounted)
{
	uint64_t start = used(self->fd);
	uint32_t handle;

	ASSERT_EQ(0, onpu_bo_create(self->fd, MIB(4), variant->flags, 0, &handle));
	EXPECT_GE(used(self->fd), start + MIB(4));
	if (variant->flags & DRM_ONPU_BO_VRAM) {
		EXPECT_GE(onpu_memory(self->fd).vram_used, self->before.vram_used + MIB(4));
	} else {
		EXPECT_EQ(self->before.vram_used, onpu_memory(self->fd).vram_used);
	}
}

TEST_F(bo, bad_arguments)
{
	uint64_t max = onpu_limits(self->fd).max_bo_size;
	struct drm_onpu_bo_create bad[] = {
		{ .size = 0, .flags = variant->flags },
		{ .size = max + 1, .flags = variant->flags },
		{ .size = 1ull << 63, .flags = variant->flags },
		{ .size = UINT64_MAX, .flags = variant->flags },
		{ .size = UINT64_MAX - PAGE + 2, .flags = variant->flags },
		{ .size = PAGE, .flags = 0 },
		{ .size = PAGE, .flags = variant->flags | 1u << 3 },
		{ .size = PAGE, .flags = DRM_ONPU_BO_CPU_VISIBLE },
		{ .size = PAGE, .flags = variant->flags | 1u << 31 },
		{ .size = PAGE, .flags = variant->flags, .pad = 1 },
	};
	struct drm_onpu_bo_create args = { .size = PAGE, .flags = variant->flags, .vm_id = 7777 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		EXPECT_EQ(-EINVAL, onpu_ioctl(self->fd, DRM_IOCTL_ONPU_BO_CREATE, &bad[i])) {
			TH_LOG("case %zu", i);
		}
	}
	EXPECT_EQ(-ENOENT, onpu_ioctl(self->fd, DRM_IOCTL_ONPU_BO_CREATE, &args));
	EXPECT_EQ(used(self->fd), self->before.vram_used + self->before.system_used);
}

TEST_F(bo, map_offset)
{
	struct drm_onpu_bo_mmap_offset args = { 0 };
	uint64_t offset;
	uint32_t handle;

	ASSERT_EQ(0, onpu_bo_create(self->fd, PAGE, variant->flags, 0, &handle));
	EXPECT_EQ(0, onpu_bo_offset(self->fd, handle, &offset));
	EXPECT_NE(0, offset);
	EXPECT_EQ(0, offset % PAGE);
	args.handle = handle;
	args.flags = 1;
	EXPECT_EQ(-EINVAL, onpu_ioctl(self->fd, DRM_IOCTL_ONPU_BO_MMAP_OFFSET, &args));
	EXPECT_EQ(-ENOENT, onpu_bo_offset(self->fd, 0, &offset));
	EXPECT_EQ(-ENOENT, onpu_bo_offset(self->fd, handle + 100, &offset));
	EXPECT_EQ(-ENOENT, onpu_bo_offset(self->fd, UINT32_MAX, &offset));
	ASSERT_EQ(0, onpu_bo_close(self->fd, handle));
	EXPECT_EQ(-ENOENT, onpu_bo_offset(self->fd, handle, &offset));
	EXPECT_EQ(-EINVAL, onpu_bo_close(self->fd, handle));
}

TEST_F(bo, maps_share_memory_and_outlive_the_handle)
{
	uint64_t size = 3 * PAGE;
	unsigned int *one, *two;
	uint32_t handle;

	ASSERT_EQ(0, onpu_bo_create(self->fd, size, variant->flags, 0, &handle));
	one = onpu_bo_map(self->fd, handle, size);
	two = onpu_bo_map(self->fd, handle, size);
	ASSERT_NE(NULL, one);
	ASSERT_NE(NULL, two);
	one[700] = 0x12345678;
	EXPECT_EQ(0x12345678, two[700]);
	EXPECT_EQ(0, onpu_bo_close(self->fd, handle));
	two[2047] = 0x9abcdef0;
	EXPECT_EQ(0x9abcdef0, one[2047]);
	EXPECT_EQ(0, munmap(one, size));
	EXPECT_EQ(0x12345678, two[700]);
	EXPECT_EQ(0, munmap(two, size));
}

/* A debugger reaches what a process has mapped, wherever it is. */
TEST_F(bo, a_debugger_reads_and_writes)
{
	int file = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	struct drm_onpu_bo_advise advise = { .advice = DRM_ONPU_ADVISE_EVICT };
	uint64_t size = 3 * PAGE, at;
	uint32_t words[16];
	volatile uint32_t *map;
	uint32_t handle;

	ASSERT_GE(file, 0);
	ASSERT_EQ(0, onpu_bo_create(self->fd, size, variant->flags, 0, &handle));
	map = onpu_bo_map(self->fd, handle, size);
	ASSERT_NE(NULL, map);
	for (uint32_t i = 0; i < size / 4; i++)
		map[i] = 0x5000 + i;
	/* Across the end of a page; at home, away, and at home again after the process has touched it. */
	at = PAGE - 32;
	for (uint32_t round = 0; round < 3; round++) {
		ASSERT_EQ((ssize_t)sizeof(words),
			  pread(file, words, sizeof(words), (off_t)(USER_PTR(map) + at)));
		for (uint32_t i = 0; i < 16; i++)
			EXPECT_EQ(0x5000 + at / 4 + i, words[i]);
		words[0] = 0xd00d + round;
		ASSERT_EQ(4, pwrite(file, words, 4, (off_t)(USER_PTR(map) + size - 4)));
		if (!round) {
			advise.handle = handle;
			ASSERT_EQ(0, onpu_ioctl(self->fd, DRM_IOCTL_ONPU_BO_ADVISE, &advise));
			ASSERT_EQ(4, pread(file, words, 4, (off_t)(USER_PTR(map) + size - 4)));
			EXPECT_EQ(0xd00d, words[0]);
		} else {
			EXPECT_EQ(0xd00d + round, map[size / 4 - 1]);
		}
	}
	close(file);
	EXPECT_EQ(0, munmap((void *)map, size));
	EXPECT_EQ(0, onpu_bo_close(self->fd, handle));
}

TEST_F(bo, map_beyond_the_end)
{
	uint64_t offset;
	uint32_t handle;

	ASSERT_EQ(0, onpu_bo_create(self->fd, PAGE, variant->flags, 0, &handle));
	ASSERT_EQ(0, onpu_bo_offset(self->fd, handle, &offset));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, self->fd, (off_t)offset));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, self->fd,
				   (off_t)(offset + PAGE)));
}

TEST_F(bo, partial_maps)
{
	unsigned char *all, *tail;
	uint64_t offset;
	uint32_t handle;

	ASSERT_EQ(0, onpu_bo_create(self->fd, 4 * PAGE, variant->flags, 0, &handle));
	ASSERT_EQ(0, onpu_bo_offset(self->fd, handle, &offset));
	all = onpu_bo_map(self->fd, handle, 4 * PAGE);
	tail = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd,
		    (off_t)(offset + 3 * PAGE));
	ASSERT_NE(NULL, all);
	/* A map in the middle of an object is refused or right. */
	if (tail != MAP_FAILED) {
		tail[5] = 77;
		EXPECT_EQ(77, all[3 * PAGE + 5]);
		munmap(tail, PAGE);
	}
	EXPECT_EQ(0, munmap(all + PAGE, PAGE));
	all[0] = 1;
	all[2 * PAGE] = 2;
	EXPECT_EQ(1, all[0]);
	EXPECT_EQ(2, all[2 * PAGE]);
}

TEST_F(bo, foreign_files_have_no_access)
{
	int other = onpu_open();
	uint64_t offset, ignored;
	uint32_t handle;

	ASSERT_GE(other, 0);
	ASSERT_EQ(0, onpu_bo_create(self->fd, PAGE, variant->flags, 0, &handle));
	ASSERT_EQ(0, onpu_bo_offset(self->fd, handle, &offset));
	EXPECT_EQ(-ENOENT, onpu_bo_offset(other, handle, &ignored));
	EXPECT_EQ(-EINVAL, onpu_bo_close(other, handle));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, other, (off_t)offset));
	close(other);
}

static bool is_zero(const uint64_t *data, uint64_t size)
{
	for (uint64_t i = 0; i < size / 8; i++)
		if (data[i])
			return false;
	return true;
}

TEST_F(bo, memory_of_others_comes_back_zero)
{
	const uint64_t size = MIB(4);
	uint32_t handle;
	uint64_t *data;
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		int fd = onpu_open();

		for (int i = 0; i < 8; i++) {
			if (onpu_bo_create(fd, size, variant->flags, 0, &handle))
				_exit(1);
			data = onpu_bo_map(fd, handle, size);
			if (!data || !is_zero(data, size))
				_exit(2);
			memset(data, 0x5a, size);
		}
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	for (int i = 0; i < 12; i++) {
		ASSERT_EQ(0, onpu_bo_create(self->fd, size, variant->flags, 0, &handle));
		data = onpu_bo_map(self->fd, handle, size);
		ASSERT_NE(NULL, data);
		ASSERT_TRUE(is_zero(data, size));
	}
}

TEST_F(bo, memory_is_zero_for_the_card_too)
{
	const uint64_t size = MIB(2);
	struct onpu_buf from, to;
	struct onpu_env env;

	ASSERT_EQ(0, onpu_env_on(&env, self->fd));
	ASSERT_EQ(0, onpu_buf_new(&env, size, variant->flags, &to));
	memset(to.cpu, 0xff, size);
	ASSERT_EQ(0, onpu_buf_new(&env, size, variant->flags, &from));
	ASSERT_EQ(0, onpu_run_one(&env, pkt_copy(to.va, from.va, size)));
	EXPECT_TRUE(is_zero(to.cpu, size));
}

TEST_F(bo, private_to_an_address_space)
{
	uint32_t vm, other, handle;
	struct drm_prime_handle prime;

	ASSERT_EQ(0, onpu_vm_create(self->fd, &vm));
	ASSERT_EQ(0, onpu_vm_create(self->fd, &other));
	ASSERT_EQ(0, onpu_bo_create(self->fd, PAGE, variant->flags, vm, &handle));
	EXPECT_NE(NULL, onpu_bo_map(self->fd, handle, PAGE));
	EXPECT_EQ(0, onpu_map(self->fd, vm, handle, 0, MIB(16), PAGE, 0));
	EXPECT_EQ(-EINVAL, onpu_map(self->fd, other, handle, 0, MIB(16), PAGE, 0));
	prime = (struct drm_prime_handle) { .handle = handle, .fd = -1 };
	EXPECT_GT(0, onpu_ioctl(self->fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime));
	/* The address space may go first. */
	EXPECT_EQ(0, onpu_vm_destroy(self->fd, vm));
	EXPECT_EQ(0, onpu_bo_close(self->fd, handle));
}

TEST_F(bo, many_small_ones)
{
	uint32_t handles[1000];

	for (int i = 0; i < 1000; i++) {
		ASSERT_EQ(0, onpu_bo_create(self->fd, PAGE, variant->flags, 0, &handles[i]));
	}
	for (int i = 0; i < 1000; i += 2) {
		ASSERT_EQ(0, onpu_bo_close(self->fd, handles[i]));
	}
	for (int i = 0; i < 1000; i += 2) {
		ASSERT_EQ(0, onpu_bo_create(self->fd, PAGE, variant->flags, 0, &handles[i]));
	}
}

FIXTURE(full)
{
	int fd;
	struct drm_onpu_query_memory before;
};

FIXTURE_SETUP(full)
{
	self->fd = onpu_open();
	ASSERT_GE(self->fd, 0);
	self->before = onpu_memory(self->fd);
}

FIXTURE_TEARDOWN(full)
{
	close(self->fd);
	onpu_unmap_all();
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

/* Fills all memory with objects of falling sizes; returns how many. */
static unsigned int fill_vram(int fd, uint32_t *handles, unsigned int room)
{
	uint64_t size = onpu_limits(fd).max_bo_size;
	unsigned int count = 0;

	if (size > MIB(512))
		size = MIB(512);
	for (; size >= PAGE && count < room; size /= 2)
		while (count < room &&
		       !onpu_bo_create(fd, size / PAGE * PAGE, DRM_ONPU_BO_VRAM, 0, &handles[count]))
			count++;
	return count;
}

TEST_F_TIMEOUT(full, exhaustion_and_recovery, 240)
{
	uint32_t handles[4096], handle = 0;
	struct drm_onpu_query_memory memory = self->before;
	struct sysinfo si;
	unsigned int count = fill_vram(self->fd, handles, 4096);

	if (memory.vram_size > MIB(4096))
		SKIP(return, "the card has more than 4 GiB to fill");
	ASSERT_GT(count, 0);
	ASSERT_LT(count, 4096);
	EXPECT_EQ(-ENOMEM, onpu_bo_create(self->fd, PAGE, DRM_ONPU_BO_VRAM, 0, &handle));
	EXPECT_EQ(-ENOMEM, onpu_bo_create(self->fd, MIB(16), DRM_ONPU_BO_VRAM, 0, &handle));
	memory = onpu_memory(self->fd);
	/*
	 * What did not fit is in system memory, of which all cards may have a half. Which part of it
	 * that is is the last evictions' choice, but together it is all that there is.
	 */
	ASSERT_EQ(0, sysinfo(&si));
	EXPECT_GT(memory.vram_used + memory.system_used + PAGE,
		  memory.vram_size + (uint64_t)si.totalram * si.mem_unit / 2 / PAGE * PAGE);
	EXPECT_GT(memory.system_used, self->before.system_used);
	EXPECT_EQ(-ENOMEM, onpu_bo_create(self->fd, MIB(1), BOTH, 0, &handle));
	EXPECT_EQ(-ENOMEM, onpu_bo_create(self->fd, MIB(1), DRM_ONPU_BO_SYSTEM, 0, &handle));
	/* The first one was a large one. */
	EXPECT_EQ(0, onpu_bo_close(self->fd, handles[0]));
	for (int i = 0; i < 100 && onpu_bo_create(self->fd, MIB(1), DRM_ONPU_BO_VRAM, 0, &handle); i++)
		usleep(20000);
	EXPECT_NE(NULL, onpu_bo_map(self->fd, handle, MIB(1)));
}

TEST_F_TIMEOUT(full, system_memory_runs_out, 120)
{
	uint32_t handles[256], handle;
	unsigned int count = 0;
	int ret = 0;

	/* There is a limit well before the machine has nothing left. */
	while (count < 256 && !ret) {
		ret = onpu_bo_create(self->fd, MIB(32), DRM_ONPU_BO_SYSTEM, 0, &handles[count]);
		if (!ret)
			count++;
	}
	if (!ret)
		SKIP(return, "the machine has more than 8 GiB for the card");
	EXPECT_EQ(-ENOMEM, ret);
	EXPECT_GT(count, 0);
	EXPECT_EQ(0, onpu_bo_close(self->fd, handles[0]));
	ret = -ENOMEM;
	for (int i = 0; i < 100 && ret == -ENOMEM; i++) {
		ret = onpu_bo_create(self->fd, MIB(1), DRM_ONPU_BO_SYSTEM, 0, &handle);
		usleep(20000);
	}
	EXPECT_EQ(0, ret);
}

TEST_F_TIMEOUT(full, other_ioctls_fail_cleanly_and_recover, 240)
{
	uint32_t handles[4096], handle = 0, vm = 0, queue = 0;
	unsigned int count;
	int ret;

	if (self->before.vram_size > MIB(4096))
		SKIP(return, "the card has more than 4 GiB to fill");
	ASSERT_EQ(0, onpu_vm_create(self->fd, &vm));
	ASSERT_EQ(0, onpu_bo_create(self->fd, PAGE, DRM_ONPU_BO_SYSTEM, 0, &handle));
	count = fill_vram(self->fd, handles, 4096);
	ASSERT_GT(count, 0);
	/* Page tables and rings need card memory. */
	for (uint64_t va = 1ull << 30; va < 1ull << 46; va <<= 1) {
		ret = onpu_map(self->fd, vm, handle, 0, va, PAGE, 0);
		if (ret) {
			EXPECT_EQ(-ENOMEM, ret);
		}
	}
	ret = onpu_queue_create(self->fd, vm, DRM_ONPU_PRIORITY_MEDIUM, &queue);
	if (ret) {
		EXPECT_EQ(-ENOMEM, ret);
	}
	ret = onpu_vm_create(self->fd, &vm);
	if (ret) {
		EXPECT_EQ(-ENOMEM, ret);
	}
	for (unsigned int i = 0; i < count; i++) {
		EXPECT_EQ(0, onpu_bo_close(self->fd, handles[i]));
	}
	ret = -ENOMEM;
	for (int i = 0; i < 100 && ret == -ENOMEM; i++) {
		ret = onpu_vm_create(self->fd, &vm);
		if (!ret)
			ret = onpu_map(self->fd, vm, handle, 0, 1ull << 40, PAGE, 0);
		if (!ret)
			ret = onpu_queue_create(self->fd, vm, DRM_ONPU_PRIORITY_MEDIUM, &queue);
		usleep(20000);
	}
	EXPECT_EQ(0, ret);
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0-only
/* Memory of processes as buffer objects: what can be pinned, for whom, and who pays. */
#include "kselftest_harness.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "onpu_kselftest.h"

#define SIZE MIB(1)
#define WORDS (SIZE / 4)
#define VA MIB(512)

static int userptr(int fd, const void *addr, uint64_t size, uint32_t flags, uint32_t *handle)
{
	struct drm_onpu_bo_userptr args = { .addr = USER_PTR(addr), .size = size, .flags = flags };
	int ret = onpu_ioctl(fd, DRM_IOCTL_ONPU_BO_USERPTR, &args);

	*handle = args.handle;
	return ret;
}

static void *anon(uint64_t size, int prot, int flags)
{
	void *p = mmap(NULL, size, prot, MAP_ANONYMOUS | flags, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static bool all_words(const uint32_t *map, uint32_t value)
{
	for (uint64_t i = 0; i < WORDS; i++)
		if (map[i] != value)
			return false;
	return true;
}

/* KiB that the process has pinned. */
static long pinned(void)
{
	char text[4096], *at;

	if (onpu_read_file("/proc/self/status", text, sizeof(text)))
		return -1;
	at = strstr(text, "VmPin:");
	return at ? atol(at + 6) : -1;
}

/* Buffer objects are freed by workers. */
static bool pinned_becomes(long kib)
{
	for (int i = 0; i < 500; i++) {
		if (pinned() == kib)
			return true;
		usleep(20000);
	}
	return false;
}

FIXTURE(userptr)
{
	struct onpu_env env;
	struct drm_onpu_query_memory before;
	uint32_t *mem;
};

FIXTURE_SETUP(userptr)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	ASSERT_EQ(0, onpu_env_on(&self->env, fd));
	self->mem = anon(SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	ASSERT_NE(NULL, self->mem);
}

FIXTURE_TEARDOWN(userptr)
{
	onpu_env_fini(&self->env);
	onpu_unmap_all();
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
	EXPECT_TRUE(pinned_becomes(0));
}

/* Makes memory a buffer object that the card has at VA. */
static int give(struct onpu_env *env, const void *addr, uint64_t size, uint32_t flags,
		uint32_t *handle)
{
	int ret = userptr(env->fd, addr, size, flags, handle);

	if (!ret)
		ret = onpu_map(env->fd, env->vm, *handle, 0, VA, size,
			       flags ? DRM_ONPU_BIND_READONLY : 0);
	return ret;
}

static int fill(struct onpu_env *env, uint32_t value)
{
	return onpu_run_one(env, pkt_fill(VA, SIZE, value));
}

TEST_F(userptr, read_and_write)
{
	struct onpu_buf to;
	uint32_t handle;

	ASSERT_EQ(0, give(&self->env, self->mem, SIZE, 0, &handle));
	EXPECT_EQ((long)SIZE / 1024, pinned());
	/* It is not the driver's memory. */
	EXPECT_EQ(self->before.system_used, onpu_memory(self->env.fd).system_used);
	ASSERT_EQ(0, fill(&self->env, 0x1234));
	EXPECT_TRUE(all_words(self->mem, 0x1234));
	for (uint32_t i = 0; i < WORDS; i++)
		self->mem[i] = i * 3;
	ASSERT_EQ(0, onpu_buf_new(&self->env, SIZE, DRM_ONPU_BO_VRAM, &to));
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_copy(to.va, VA, SIZE)));
	EXPECT_EQ(0, memcmp(to.cpu, self->mem, SIZE));
	ASSERT_EQ(0, onpu_unmap(self->env.fd, self->env.vm, VA, SIZE));
	ASSERT_EQ(0, onpu_bo_close(self->env.fd, handle));
	EXPECT_TRUE(pinned_becomes(0));
}

TEST_F(userptr, a_part_in_the_middle)
{
	uint32_t handle;

	ASSERT_EQ(0, userptr(self->env.fd, (char *)self->mem + 3 * PAGE, 5 * PAGE, 0, &handle));
	EXPECT_EQ(20, pinned());
	/* Of that, a part is mapped. */
	ASSERT_EQ(0, onpu_map(self->env.fd, self->env.vm, handle, PAGE, VA, 2 * PAGE, 0));
	EXPECT_EQ(-EINVAL, onpu_map(self->env.fd, self->env.vm, handle, 4 * PAGE, VA, 2 * PAGE, 0));
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_fill(VA, 2 * PAGE, 7)));
	EXPECT_EQ(0, self->mem[4 * 1024 - 1]);
	EXPECT_EQ(7, self->mem[4 * 1024]);
	EXPECT_EQ(7, self->mem[6 * 1024 - 1]);
	EXPECT_EQ(0, self->mem[6 * 1024]);
}

TEST_F(userptr, the_same_twice)
{
	uint32_t one, two;

	ASSERT_EQ(0, give(&self->env, self->mem, SIZE, 0, &one));
	ASSERT_EQ(0, userptr(self->env.fd, self->mem, SIZE, 0, &two));
	EXPECT_NE(one, two);
	EXPECT_EQ(2 * (long)SIZE / 1024, pinned());
	ASSERT_EQ(0, onpu_map(self->env.fd, self->env.vm, two, 0, VA + SIZE, SIZE, 0));
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_fill(VA, 64, 5)));
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_copy(VA + SIZE + 64, VA + SIZE, 64)));
	EXPECT_EQ(5, self->mem[16]);
}

TEST_F(userptr, bad_arguments)
{
	uint64_t limit = onpu_limits(self->env.fd).max_pinned_bytes;
	char *mem = (char *)self->mem;
	uint32_t handle;

	EXPECT_EQ(-EINVAL, userptr(self->env.fd, mem + 4, PAGE, 0, &handle));
	EXPECT_EQ(-EINVAL, userptr(self->env.fd, mem, PAGE + 512, 0, &handle));
	EXPECT_EQ(-EINVAL, userptr(self->env.fd, mem, 0, 0, &handle));
	EXPECT_EQ(-EINVAL, userptr(self->env.fd, mem, PAGE, 2, &handle));
	EXPECT_EQ(-EINVAL, userptr(self->env.fd, mem, 0ull - PAGE, 0, &handle));
	EXPECT_EQ(-EINVAL, userptr(self->env.fd, mem, limit + PAGE, 0, &handle));
	EXPECT_EQ(-EFAULT, userptr(self->env.fd, NULL, PAGE, 0, &handle));
	EXPECT_EQ(-EFAULT, userptr(self->env.fd, (void *)0xffff888000000000ull, PAGE, 0, &handle));
	EXPECT_EQ(-EINVAL, userptr(self->env.fd, (void *)0xfffffffffffff000ull, PAGE, 0, &handle));
	EXPECT_EQ(0, pinned());
}

TEST_F(userptr, holes_and_protection)
{
	char *mem = (char *)self->mem;
	uint32_t handle;

	ASSERT_EQ(0, munmap(mem + 7 * PAGE, PAGE));
	EXPECT_EQ(-EFAULT, userptr(self->env.fd, mem, SIZE, 0, &handle));
	EXPECT_EQ(-EFAULT, userptr(self->env.fd, mem, SIZE, DRM_ONPU_USERPTR_READONLY, &handle));
	ASSERT_EQ(0, mprotect(mem + 2 * PAGE, PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, userptr(self->env.fd, mem, 4 * PAGE, 0, &handle));
	EXPECT_EQ(0, userptr(self->env.fd, mem, 4 * PAGE, DRM_ONPU_USERPTR_READONLY, &handle));
	ASSERT_EQ(0, mprotect(mem + 3 * PAGE, PAGE, PROT_NONE));
	EXPECT_EQ(-EFAULT, userptr(self->env.fd, mem, 4 * PAGE, DRM_ONPU_USERPTR_READONLY, &handle));
	EXPECT_EQ(16, pinned());
}

/* A card's memory cannot be kept where it is by somebody else's reference. */
TEST_F(userptr, not_of_devices)
{
	struct onpu_buf buf;
	uint32_t handle;

	ASSERT_EQ(0, onpu_buf_new(&self->env, PAGE, DRM_ONPU_BO_VRAM, &buf));
	EXPECT_EQ(-EFAULT, userptr(self->env.fd, buf.cpu, PAGE, 0, &handle));
	ASSERT_EQ(0, onpu_buf_new(&self->env, PAGE, DRM_ONPU_BO_SYSTEM, &buf));
	EXPECT_EQ(-EFAULT, userptr(self->env.fd, buf.cpu, PAGE, 0, &handle));
}

TEST_F(userptr, read_only)
{
	struct drm_onpu_vm_get_state state = { .id = self->env.vm };
	uint32_t *ro = anon(SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE), handle;
	struct onpu_buf to;

	for (uint32_t i = 0; i < WORDS; i++)
		ro[i] = 0xc0ffee;
	ASSERT_EQ(0, mprotect(ro, SIZE, PROT_READ));
	ASSERT_EQ(0, userptr(self->env.fd, ro, SIZE, DRM_ONPU_USERPTR_READONLY, &handle));
	EXPECT_EQ(-EACCES, onpu_map(self->env.fd, self->env.vm, handle, 0, VA, SIZE, 0));
	ASSERT_EQ(0, onpu_map(self->env.fd, self->env.vm, handle, 0, VA, SIZE,
			      DRM_ONPU_BIND_READONLY));
	ASSERT_EQ(0, onpu_buf_new(&self->env, SIZE, DRM_ONPU_BO_VRAM, &to));
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_copy(to.va, VA, SIZE)));
	EXPECT_TRUE(all_words(to.cpu, 0xc0ffee));
	EXPECT_EQ(-EFAULT, fill(&self->env, 1));
	EXPECT_TRUE(all_words(ro, 0xc0ffee));
	ASSERT_EQ(0, onpu_ioctl(self->env.fd, DRM_IOCTL_ONPU_VM_GET_STATE, &state));
	EXPECT_EQ(VA, state.fault_va);
	EXPECT_EQ(ONPU_FAULT_PERMISSION, ONPU_FAULT_INFO_REASON(state.fault_info));
}

/* Pages that nobody has written to yet are the process's own when it does. */
TEST_F(userptr, read_only_of_fresh_memory)
{
	uint32_t handle;
	struct onpu_buf to;

	ASSERT_EQ(0, give(&self->env, self->mem, SIZE, DRM_ONPU_USERPTR_READONLY, &handle));
	for (uint32_t i = 0; i < WORDS; i++)
		self->mem[i] = 0xf00;
	ASSERT_EQ(0, onpu_buf_new(&self->env, SIZE, DRM_ONPU_BO_VRAM, &to));
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_copy(to.va, VA, SIZE)));
	EXPECT_TRUE(all_words(to.cpu, 0xf00));
}

TEST_F(userptr, neither_mapped_nor_exported)
{
	struct drm_prime_handle prime = { .fd = -1, .flags = DRM_CLOEXEC };
	uint32_t handle;
	uint64_t offset;

	ASSERT_EQ(0, userptr(self->env.fd, self->mem, SIZE, 0, &handle));
	prime.handle = handle;
	EXPECT_EQ(-EPERM, onpu_ioctl(self->env.fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime));
	ASSERT_EQ(0, onpu_bo_offset(self->env.fd, handle, &offset));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, SIZE, PROT_READ, MAP_SHARED, self->env.fd, (off_t)offset));
	EXPECT_EQ(EPERM, errno);
}

TEST_F(userptr, outlives_its_mapping)
{
	uint32_t handle, *other;

	ASSERT_EQ(0, give(&self->env, self->mem, SIZE, 0, &handle));
	ASSERT_EQ(0, munmap(self->mem, SIZE));
	other = mmap(self->mem, SIZE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	ASSERT_EQ(self->mem, other);
	/* Others get that address, not that memory. */
	ASSERT_EQ(0, fill(&self->env, 0xbad));
	EXPECT_TRUE(all_words(other, 0));
}

TEST_F(userptr, unmapped_while_jobs_run)
{
	volatile uint64_t *word = (void *)&self->env.packets[500];
	uint32_t handle;

	ASSERT_EQ(0, give(&self->env, self->mem, SIZE, 0, &handle));
	onpu_add(&self->env, pkt_wait(self->env.cmd.va + 64 * 500, ONPU_WAIT_EQ, 1));
	for (int i = 0; i < 8; i++)
		onpu_add(&self->env, pkt_fill(VA, SIZE, i));
	ASSERT_EQ(0, onpu_start(&self->env, 0, self->env.sync));
	ASSERT_EQ(0, onpu_bo_close(self->env.fd, handle));
	ASSERT_EQ(0, munmap(self->mem, SIZE));
	*word = 1;
	EXPECT_EQ(0, onpu_sync_wait(self->env.fd, self->env.sync));
	EXPECT_EQ(1, onpu_sync_status(self->env.fd, self->env.sync));
}

/* Writing after a fork must not give the parent a copy that the card does not have. */
TEST_F(userptr, fork_leaves_the_parents_pages)
{
	uint32_t handle;
	int status, go[2];
	struct onpu_buf to;
	pid_t pid;

	self->mem[0] = 1;
	ASSERT_EQ(0, pipe(go));
	ASSERT_EQ(0, give(&self->env, self->mem, SIZE, 0, &handle));
	ASSERT_EQ(0, fill(&self->env, 2));
	pid = fork();
	if (!pid) {
		char c;

		/* A copy, as of the fork. */
		if (read(go[0], &c, 1) != 1 || !all_words(self->mem, 2))
			_exit(1);
		memset(self->mem, 0xee, SIZE);
		_exit(0);
	}
	for (uint32_t i = 0; i < WORDS; i++)
		self->mem[i] = 3;
	ASSERT_EQ(0, onpu_buf_new(&self->env, SIZE, DRM_ONPU_BO_VRAM, &to));
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_copy(to.va, VA, SIZE)));
	EXPECT_TRUE(all_words(to.cpu, 3));
	ASSERT_EQ(1, write(go[1], "x", 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	ASSERT_EQ(0, fill(&self->env, 4));
	EXPECT_TRUE(all_words(self->mem, 4));
}

/* Shared memory is the same for all, the card too. */
TEST_F(userptr, shared_memory)
{
	uint32_t *shared = anon(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED), handle;
	int status;
	pid_t pid;

	ASSERT_EQ(0, give(&self->env, shared, SIZE, 0, &handle));
	pid = fork();
	if (!pid) {
		for (uint32_t i = 0; i < WORDS; i++)
			shared[i] = 0x5a;
		_exit(fill(&self->env, 0xa5) || !all_words(shared, 0xa5));
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(all_words(shared, 0xa5));
	/* What the card wrote is in the file behind it, dirty: it is there after the pages. */
	ASSERT_EQ(0, onpu_unmap(self->env.fd, self->env.vm, VA, SIZE));
	ASSERT_EQ(0, onpu_bo_close(self->env.fd, handle));
	EXPECT_TRUE(pinned_becomes(0));
	EXPECT_TRUE(all_words(shared, 0xa5));
}

TEST_F(userptr, huge_pages)
{
	struct drm_onpu_vm_get_state state = { .id = self->env.vm };
	uint64_t tables;
	uint32_t handle;
	void *huge;

	if (onpu_write_file("/proc/sys/vm/nr_hugepages", "4"))
		SKIP(return, "the kernel has no huge pages");
	huge = anon(MIB(4), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_HUGETLB);
	if (!huge)
		SKIP(return, "no huge pages");
	ASSERT_EQ(0, onpu_ioctl(self->env.fd, DRM_IOCTL_ONPU_VM_GET_STATE, &state));
	tables = state.table_bytes;
	ASSERT_EQ(0, give(&self->env, huge, MIB(4), 0, &handle));
	ASSERT_EQ(0, onpu_ioctl(self->env.fd, DRM_IOCTL_ONPU_VM_GET_STATE, &state));
	/* The card's are as large: no table of small ones was needed. */
	EXPECT_EQ(tables, state.table_bytes);
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_fill(VA, MIB(4), 0x41414141)));
	EXPECT_EQ(0x41, ((char *)huge)[0]);
	EXPECT_EQ(0x41, ((char *)huge)[MIB(4) - 1]);
	ASSERT_EQ(0, munmap(huge, MIB(4)));
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_fill(VA, MIB(4), 0x42424242)));
	ASSERT_EQ(0, onpu_unmap(self->env.fd, self->env.vm, VA, MIB(4)));
	ASSERT_EQ(0, onpu_bo_close(self->env.fd, handle));
	EXPECT_TRUE(pinned_becomes(0));
	ASSERT_EQ(0, onpu_write_file("/proc/sys/vm/nr_hugepages", "0"));
}

TEST_F(userptr, transparent_huge_pages)
{
	char *area = anon(MIB(6), PROT_READ | PROT_WRITE, MAP_PRIVATE);
	char *mem = (char *)((USER_PTR(area) + MIB(2) - 1) / MIB(2) * MIB(2));
	uint32_t handle;

	ASSERT_NE(NULL, area);
	madvise(mem, MIB(4), MADV_HUGEPAGE);
	ASSERT_EQ(0, give(&self->env, mem, MIB(4), 0, &handle));
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_fill(VA, MIB(4), 0x43434343)));
	EXPECT_EQ(0x43, mem[0]);
	EXPECT_EQ(0x43, mem[MIB(4) - 1]);
	/* Splitting one for the process leaves the card alone. */
	ASSERT_EQ(0, munmap(mem + PAGE, PAGE));
	madvise(mem + MIB(2), PAGE, MADV_DONTNEED);
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_fill(VA, MIB(4), 0x44444444)));
	EXPECT_EQ(0x44, mem[0]);
	EXPECT_EQ(0, mem[MIB(2)]);
	EXPECT_EQ(0x44, mem[MIB(2) + PAGE]);
}

/* Becomes somebody who may pin @bytes and no more. */
static int be_nobody(uint64_t bytes)
{
	struct rlimit limit = { .rlim_cur = bytes, .rlim_max = bytes };

	if (setrlimit(RLIMIT_MEMLOCK, &limit) || setgid(65534) || setuid(65534))
		return -errno;
	return 0;
}

/* In a process of its own, so that others keep their rights. */
#define CHILD_DOES(call) ({						\
	int child_status;						\
	pid_t child = fork();						\
									\
	if (!child)							\
		_exit(call);						\
	ASSERT_EQ(child, waitpid(child, &child_status, 0));		\
	ASSERT_TRUE(WIFEXITED(child_status));				\
	WEXITSTATUS(child_status);					\
})

/* The number of the first thing that is not as it should be. */
static int limited(int fd, char *mem)
{
	uint32_t one, two, three;
	int ret = -ENOMEM;

	if (be_nobody(16 * PAGE))
		return 1;
	if (userptr(fd, mem, 17 * PAGE, 0, &one) != -ENOMEM)
		return 2;
	if (userptr(fd, mem, 8 * PAGE, 0, &one) || userptr(fd, mem, 8 * PAGE, 0, &two))
		return 3;
	if (pinned() != 64)
		return 4;
	if (userptr(fd, mem, PAGE, DRM_ONPU_USERPTR_READONLY, &three) != -ENOMEM)
		return 5;
	/* Failing to pin costs nothing. */
	if (onpu_bo_close(fd, one))
		return 6;
	for (int i = 0; i < 500 && ret == -ENOMEM; i++) {
		ret = userptr(fd, NULL, 8 * PAGE, 0, &three);
		usleep(20000);
	}
	if (ret != -EFAULT)
		return 7;
	return userptr(fd, mem, 8 * PAGE, 0, &one) ? 8 : 0;
}

TEST_F(userptr, memlock_limit)
{
	EXPECT_EQ(0, CHILD_DOES(limited(self->env.fd, (char *)self->mem)));
}

static int pin_and_leave(int fd, void *mem)
{
	uint32_t handle;

	if (be_nobody(16 * PAGE) || userptr(fd, mem, 16 * PAGE, 0, &handle))
		return 0;
	return (int)handle;
}

static int pin_again(int fd, void *mem, int expected)
{
	uint32_t handle;
	int ret = -ENOMEM;

	if (be_nobody(16 * PAGE))
		return 1;
	for (int i = 0; i < 100 && ret == -ENOMEM; i++) {
		ret = userptr(fd, mem, 16 * PAGE, 0, &handle);
		if (ret == expected)
			return 0;
		usleep(20000);
	}
	return 2;
}

/* A file that is inherited: memory that a process leaves behind in it stays charged to its user. */
TEST_F(userptr, charged_until_it_is_freed)
{
	int handle = CHILD_DOES(pin_and_leave(self->env.fd, self->mem));

	ASSERT_NE(0, handle);
	EXPECT_EQ(0, pinned());
	EXPECT_EQ(0, CHILD_DOES(pin_again(self->env.fd, self->mem, -ENOMEM)));
	/* Freed by somebody else. */
	EXPECT_EQ(0, onpu_bo_close(self->env.fd, (uint32_t)handle));
	EXPECT_EQ(0, CHILD_DOES(pin_again(self->env.fd, self->mem, 0)));
}

TEST_F(userptr, limit_of_the_machine)
{
	uint64_t limit = onpu_limits(self->env.fd).max_pinned_bytes;
	uint32_t handle;

	ASSERT_GT(limit, MIB(16));
	ASSERT_EQ(0, userptr(self->env.fd, self->mem, PAGE, 0, &handle));
	EXPECT_EQ(self->before.pinned_used + PAGE, onpu_memory(self->env.fd).pinned_used);
	/* Refused before anything of it is pinned, or even looked at. */
	EXPECT_EQ(-ENOSPC, userptr(self->env.fd, self->mem, limit, 0, &handle));
	EXPECT_EQ(4, pinned());
}

TEST_F_TIMEOUT(userptr, process_ends_with_jobs_running, 60)
{
	for (int round = 0; round < 10; round++) {
		pid_t pid = fork();
		int status;

		if (!pid) {
			struct onpu_env own;
			uint32_t handle;

			if (onpu_env_init(&own) || give(&own, self->mem, SIZE, 0, &handle))
				_exit(1);
			for (int i = 0; i < 200; i++)
				onpu_add(&own, pkt_fill(VA, SIZE, i));
			if (onpu_start(&own, 0, own.sync))
				_exit(2);
			_exit(0);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
	}
	EXPECT_TRUE(all_words(self->mem, 0));
}

TEST_F_TIMEOUT(userptr, card_goes, 60)
{
	uint32_t handle;
	char name[64];

	ASSERT_EQ(0, onpu_bus_name(self->env.fd, name, sizeof(name)));
	ASSERT_EQ(0, give(&self->env, self->mem, SIZE, 0, &handle));
	for (int i = 0; i < 100; i++)
		onpu_add(&self->env, pkt_fill(VA, SIZE, 0x77));
	ASSERT_EQ(0, onpu_start(&self->env, 0, self->env.sync));
	ASSERT_EQ(0, onpu_write_file("/sys/bus/pci/drivers/onpu/unbind", name));
	/* It is the process's memory, whatever is in it. */
	memset(self->mem, 0, SIZE);
	EXPECT_TRUE(all_words(self->mem, 0));
	ASSERT_EQ(0, onpu_write_file("/sys/bus/pci/drivers/onpu/bind", name));
	EXPECT_TRUE(all_words(self->mem, 0));
}

TEST_HARNESS_MAIN

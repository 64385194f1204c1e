// SPDX-License-Identifier: GPL-2.0-only
/*
 * Somebody who asks for everything is refused at some point, and nobody else notices: a
 * second client works all the time.
 */
#include "kselftest_harness.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "onpu_kselftest.h"

#define SIZE KIB(64)
#define VA 0x1000000000ull

FIXTURE(limits)
{
	struct drm_onpu_query_memory before;
	struct drm_onpu_query_limits limits;
	struct onpu_env other;		/* the second client */
	struct onpu_buf buf;
	uint32_t value;
	int fd;				/* the first one */
};

static int set_limit(const char *name, unsigned int value)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", value);
	return onpu_write_file(name, text);
}

FIXTURE_SETUP(limits)
{
	/* When the harness is ended, nobody goes on asking for more. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	self->fd = onpu_open();
	ASSERT_GE(self->fd, 0);
	self->before = onpu_memory(self->fd);
	self->limits = onpu_limits(self->fd);
	ASSERT_EQ(0, onpu_env_init(&self->other));
	ASSERT_EQ(0, onpu_buf_new(&self->other, SIZE, DRM_ONPU_BO_VRAM, &self->buf));
}

FIXTURE_TEARDOWN(limits)
{
	EXPECT_EQ(0, set_limit(ONPU_PARAM("max_file_bos"), 65536));
	EXPECT_EQ(0, set_limit(ONPU_PARAM("max_vm_mappings"), 65536));
	close(self->fd);
	onpu_env_fini(&self->other);
	onpu_unmap_all();
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

static bool second_works(struct onpu_env *env, struct onpu_buf *buf, uint32_t value)
{
	uint32_t *data = buf->cpu;

	if (onpu_run_one(env, pkt_fill(buf->va, SIZE, value)))
		return false;
	return data[0] == value && data[SIZE / 4 - 1] == value;
}

#define SECOND_WORKS() \
	EXPECT_TRUE(second_works(&self->other, &self->buf, ++self->value))

/* Tries again for a while: what was freed may be on its way. */
#define COMES_BACK(expr) ({							\
	int comes_ret = -1;							\
										\
	for (int i = 0; i < 200 && comes_ret; i++) {				\
		comes_ret = (expr);						\
		if (comes_ret)							\
			usleep(20000);						\
	}									\
	EXPECT_EQ(0, comes_ret);						\
})

/* Where a call takes milliseconds, tens of thousands of them show nothing more: then a lower limit. */
#define MANY 4096

TEST_F(limits, are_all_there)
{
	EXPECT_GT(self->limits.max_bos, 0);
	EXPECT_GT(self->limits.max_mappings, 0);
	EXPECT_GT(self->limits.max_pinned_bytes, 0);
	SECOND_WORKS();
}

TEST_F(limits, address_spaces)
{
	uint32_t ids[1024], count = 0, id;
	int ret = 0;

	ASSERT_LT(self->limits.max_vms, 1024);
	while (count < 1024 && !ret) {
		ret = onpu_vm_create(self->fd, &ids[count]);
		if (!ret)
			count++;
	}
	EXPECT_EQ(-ENOSPC, ret);
	EXPECT_EQ(self->limits.max_vms, count);
	SECOND_WORKS();
	EXPECT_EQ(0, onpu_vm_destroy(self->fd, ids[0]));
	COMES_BACK(onpu_vm_create(self->fd, &id));
}

/* With as many files as it takes. */
TEST_F_TIMEOUT(limits, contexts_of_the_card, 120)
{
	int fds[128], ret = 0;
	unsigned int files = 0, count = 0;
	uint32_t id, queue;

	while (files < 128 && !ret) {
		fds[files] = onpu_open();
		ASSERT_GE(fds[files], 0);
		for (uint32_t i = 0; i < self->limits.max_vms && !ret; i++) {
			ret = onpu_vm_create(fds[files], &id);
			count += !ret;
		}
		files++;
	}
	EXPECT_EQ(-ENOSPC, ret);
	EXPECT_GT(count, self->limits.max_vms);
	SECOND_WORKS();
	/* Nobody gets one now, but who has one may go on using it. */
	EXPECT_EQ(-ENOSPC, onpu_vm_create(self->fd, &id));
	EXPECT_EQ(0, onpu_queue_create(self->other.fd, self->other.vm, DRM_ONPU_PRIORITY_LOW,
				       &queue));
	while (files)
		close(fds[--files]);
	COMES_BACK(onpu_vm_create(self->fd, &id));
}

TEST_F_TIMEOUT(limits, queues, 120)
{
	uint32_t vm, ids[4096], count = 0, id;
	int ret = 0;

	ASSERT_LT(self->limits.max_queues, 4096);
	ASSERT_EQ(0, onpu_vm_create(self->fd, &vm));
	while (count < 4096 && !ret) {
		ret = onpu_queue_create(self->fd, vm, DRM_ONPU_PRIORITY_MEDIUM, &ids[count]);
		if (!ret)
			count++;
	}
	EXPECT_EQ(-ENOSPC, ret);
	EXPECT_GT(count, 1);
	EXPECT_LE(count, self->limits.max_queues);
	SECOND_WORKS();
	EXPECT_EQ(0, onpu_queue_destroy(self->fd, ids[0]));
	COMES_BACK(onpu_queue_create(self->fd, vm, DRM_ONPU_PRIORITY_MEDIUM, &id));
}

TEST_F_TIMEOUT(limits, queues_of_the_card, 120)
{
	int fds[64], ret = 0;
	unsigned int files = 0;
	uint32_t vm, id;

	while (files < 64 && !ret) {
		fds[files] = onpu_open();
		ASSERT_GE(fds[files], 0);
		ret = onpu_vm_create(fds[files], &vm);
		for (uint32_t i = 0; i < self->limits.max_queues && !ret; i++)
			ret = onpu_queue_create(fds[files], vm, DRM_ONPU_PRIORITY_MEDIUM, &id);
		files++;
	}
	/* Of a card with little memory that goes first: it holds each queue's state. */
	EXPECT_TRUE(ret == -ENOSPC ||
		    (ret == -ENOMEM && onpu_memory(self->fd).vram_size < MIB(256)));
	SECOND_WORKS();
	while (files)
		close(fds[--files]);
	ASSERT_EQ(0, onpu_vm_create(self->fd, &vm));
	COMES_BACK(onpu_queue_create(self->fd, vm, DRM_ONPU_PRIORITY_MEDIUM, &id));
}

/* --- of a user ---------------------------------------------------------------- */

#define NOBODY 65534
#define SOMEBODY 65533

static int become(uid_t uid)
{
	return setgid(uid) || setuid(uid) ? -errno : 0;
}

/* A process of that user; @call says by its value what went wrong first. */
#define USER_DOES(uid, call) ({							\
	int child_status = -1;							\
	pid_t child = fork();							\
										\
	if (!child)								\
		_exit(become(uid) ? 99 : (call));				\
	ASSERT_EQ(child, waitpid(child, &child_status, 0));			\
	ASSERT_TRUE(WIFEXITED(child_status));					\
	WEXITSTATUS(child_status);						\
})

/* By as many files as it likes, and a fork. */
static int takes_vms(const int *fds, unsigned int max)
{
	uint32_t id, first;
	int status;

	for (unsigned int i = 0; i < max; i++) {
		if (onpu_limits(fds[i % 4]).user_vms != i ||
		    onpu_vm_create(fds[i % 4], i ? &id : &first))
			return 1;
	}
	if (onpu_limits(fds[0]).max_user_vms != max || onpu_limits(fds[0]).user_vms != max)
		return 2;
	for (int i = 0; i < 4; i++) {
		if (onpu_vm_create(fds[i], &id) != -EDQUOT)
			return 3;
	}
	if (!fork())
		_exit(onpu_vm_create(fds[0], &id) == -EDQUOT ? 0 : 1);
	wait(&status);
	if (status)
		return 4;
	/* One comes, one goes: what is on its way is waited for. */
	for (int i = 0; i < 20; i++) {
		if (onpu_vm_destroy(fds[0], first) || onpu_vm_create(fds[0], &first))
			return 5;
	}
	return onpu_limits(fds[0]).user_vms == max ? 0 : 6;
}

static int takes_queues(const int *fds, unsigned int max)
{
	uint32_t id, vm[4];

	for (int i = 0; i < 4; i++) {
		if (onpu_vm_create(fds[i], &vm[i]))
			return 1;
	}
	for (unsigned int i = 0; i < max; i++) {
		if (onpu_queue_create(fds[i % 4], vm[i % 4], DRM_ONPU_PRIORITY_LOW, &id))
			return 2;
	}
	if (onpu_limits(fds[0]).max_user_queues != max || onpu_limits(fds[0]).user_queues != max)
		return 3;
	for (int i = 0; i < 4; i++) {
		if (onpu_queue_create(fds[i], vm[i], DRM_ONPU_PRIORITY_LOW, &id) != -EDQUOT)
			return 4;
	}
	return onpu_queue_destroy(fds[0], 1) ? 5 : 0;
}

static int takes_one(int fd)
{
	uint32_t vm, queue;

	return onpu_vm_create(fd, &vm) || onpu_queue_create(fd, vm, DRM_ONPU_PRIORITY_LOW, &queue);
}

/* Whoever opened the files: what counts is who creates. */
TEST_F_TIMEOUT(limits, of_a_user, 120)
{
	struct drm_onpu_query_limits mine = onpu_limits(self->fd);
	uint32_t vm, queue;
	int fds[4], fd;

	ASSERT_EQ(0, set_limit(ONPU_PARAM("max_user_vms"), 6));
	ASSERT_EQ(0, set_limit(ONPU_PARAM("max_user_queues"), 9));
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 4; i++) {
			fds[i] = onpu_open();
			ASSERT_GE(fds[i], 0);
		}
		EXPECT_EQ(0, USER_DOES(NOBODY, takes_vms(fds, 6)));
		/* The files are open still, and with them what is his. */
		EXPECT_EQ(3, USER_DOES(NOBODY, takes_one(fds[0]) ? 3 : 0));
		EXPECT_EQ(0, USER_DOES(SOMEBODY, takes_one(fds[0])));
		SECOND_WORKS();
		for (int i = 0; i < 4; i++)
			close(fds[i]);

		for (int i = 0; i < 4; i++)
			fds[i] = onpu_open();
		COMES_BACK(USER_DOES(NOBODY, onpu_limits(fds[0]).user_vms));
		EXPECT_EQ(0, USER_DOES(NOBODY, takes_queues(fds, 9)));
		EXPECT_EQ(0, USER_DOES(SOMEBODY, takes_one(fds[1])));
		SECOND_WORKS();
		for (int i = 0; i < 4; i++)
			close(fds[i]);
		fd = onpu_open();
		COMES_BACK(USER_DOES(NOBODY, onpu_limits(fd).user_queues +
				     onpu_limits(fd).user_vms));
		close(fd);
	}
	/* Root counts, and is exempt; what others had counts for them, not for it. */
	EXPECT_EQ(mine.user_vms, onpu_limits(self->fd).user_vms);
	EXPECT_EQ(mine.user_queues, onpu_limits(self->fd).user_queues);
	for (int i = 0; i < 12; i++) {
		ASSERT_EQ(0, onpu_vm_create(self->fd, &vm));
		ASSERT_EQ(0, onpu_queue_create(self->fd, vm, DRM_ONPU_PRIORITY_LOW, &queue));
	}
	EXPECT_EQ(mine.user_vms + 12, onpu_limits(self->fd).user_vms);
	EXPECT_EQ(mine.user_queues + 12, onpu_limits(self->fd).user_queues);
	ASSERT_EQ(0, set_limit(ONPU_PARAM("max_user_vms"), 0));
	ASSERT_EQ(0, set_limit(ONPU_PARAM("max_user_queues"), 0));
}

/* Killed in the middle of it. */
TEST_F_TIMEOUT(limits, of_a_user_that_is_killed, 120)
{
	uint64_t *words = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status, fd = onpu_open();

	ASSERT_NE(MAP_FAILED, words);
	ASSERT_GE(fd, 0);
	for (int round = 0; round < 5; round++) {
		pid_t child = fork();

		words[0] = 0;
		if (!child) {
			int own = onpu_open_card(0);

			if (become(NOBODY))
				_exit(1);
			while (!takes_one(own))
				__atomic_fetch_add(words, 1, __ATOMIC_RELAXED);
			pause();
		}
		while (__atomic_load_n(words, __ATOMIC_RELAXED) < 5 + 5 * (uint64_t)round)
			usleep(1000);
		kill(child, SIGKILL);
		ASSERT_EQ(child, waitpid(child, &status, 0));
		COMES_BACK(USER_DOES(NOBODY, onpu_limits(fd).user_queues +
				     onpu_limits(fd).user_vms));
		SECOND_WORKS();
	}
	close(fd);
}

/* Nobody changed them: a card is not one user's alone. */
TEST_F_TIMEOUT(limits, of_a_user_by_default, 120)
{
	struct drm_onpu_query_limits limits = onpu_limits(self->fd);
	int fds[64], fd = onpu_open();

	for (int i = 0; i < 64; i++) {
		fds[i] = onpu_open();
		ASSERT_GE(fds[i], 0);
	}
	EXPECT_EQ(5, USER_DOES(NOBODY, ({
		unsigned int count = 0;
		uint32_t id;
		int ret = 0;

		while (!ret && count < 64 * limits.max_vms) {
			ret = onpu_vm_create(fds[count % 64], &id);
			count += !ret;
		}
		ret == -EDQUOT && count == limits.max_user_vms ? 5 : ret ? -ret : 6;
	})));
	EXPECT_EQ(0, USER_DOES(SOMEBODY, takes_one(fd)));
	SECOND_WORKS();
	for (int i = 0; i < 64; i++)
		close(fds[i]);
	close(fd);
}

TEST_F_TIMEOUT(limits, mappings, 120)
{
	const uint32_t batch = self->limits.max_bind_ops;
	struct drm_onpu_bind_op *ops = calloc(batch, sizeof(*ops));
	struct drm_onpu_vm_get_state state;
	uint32_t vm, handle;
	uint64_t done = 0;
	int ret = 0;

	if (onpu_slow() > 1) {
		ASSERT_EQ(0, set_limit(ONPU_PARAM("max_vm_mappings"), MANY));
		self->limits = onpu_limits(self->fd);
		ASSERT_EQ(MANY, self->limits.max_mappings);
	}
	ASSERT_NE(NULL, ops);
	ASSERT_EQ(0, onpu_vm_create(self->fd, &vm));
	ASSERT_EQ(0, onpu_bo_create(self->fd, 3 * PAGE, DRM_ONPU_BO_SYSTEM, 0, &handle));
	while (!ret && done <= self->limits.max_mappings) {
		for (uint32_t i = 0; i < batch; i++)
			ops[i] = (struct drm_onpu_bind_op){
				.type = DRM_ONPU_BIND_MAP, .handle = handle, .size = PAGE,
				.va = VA + (done + i) * PAGE,
			};
		ret = onpu_bind(self->fd, vm, ops, batch, NULL);
		done += ret ? 0 : batch;
	}
	EXPECT_EQ(-ENOSPC, ret);
	EXPECT_GE(done + 2 * batch, self->limits.max_mappings);
	state.id = vm;
	ASSERT_EQ(0, onpu_ioctl(self->fd, DRM_IOCTL_ONPU_VM_GET_STATE, &state));
	EXPECT_EQ(done, state.mappings);
	EXPECT_LE(state.mappings, self->limits.max_mappings);
	SECOND_WORKS();
	/* As many as fit one by one, and then only what makes no more of them. */
	for (ret = 0; !ret && done <= self->limits.max_mappings; done++)
		ret = onpu_map(self->fd, vm, handle, 0, VA + (done + 1) * 4 * PAGE + (1ull << 40),
			       3 * PAGE, 0);
	EXPECT_EQ(-ENOSPC, ret);
	EXPECT_EQ(0, onpu_unmap(self->fd, vm, VA, PAGE));
	EXPECT_EQ(0, onpu_unmap(self->fd, vm, VA, 16 * PAGE));
	EXPECT_EQ(0, onpu_map(self->fd, vm, handle, 0, VA, PAGE, 0));
	EXPECT_EQ(0, onpu_unmap(self->fd, vm, VA, 1ull << 44));
	free(ops);
}

TEST_F_TIMEOUT(limits, buffer_objects, 240)
{
	uint32_t handle, first = 0, count = 0;
	int ret = 0;

	if (onpu_slow() > 1) {
		ASSERT_EQ(0, set_limit(ONPU_PARAM("max_file_bos"), MANY));
		self->limits = onpu_limits(self->fd);
		ASSERT_EQ(MANY, self->limits.max_bos);
	}
	while (!ret && count <= self->limits.max_bos) {
		ret = onpu_bo_create(self->fd, PAGE, DRM_ONPU_BO_SYSTEM, 0, &handle);
		if (!ret && !count++)
			first = handle;
	}
	if (ret == -ENOMEM)
		SKIP(return, "too little memory for so many");
	EXPECT_EQ(-ENOSPC, ret);
	EXPECT_EQ(self->limits.max_bos, count);
	SECOND_WORKS();
	EXPECT_EQ(0, onpu_bo_close(self->fd, first));
	COMES_BACK(onpu_bo_create(self->fd, PAGE, DRM_ONPU_BO_SYSTEM, 0, &handle));
}

/* Whoever runs the machine may want less of it; what is there above the limit stays. */
TEST_F(limits, that_are_set_lower)
{
	uint32_t vm, handles[8];

	ASSERT_EQ(0, onpu_vm_create(self->fd, &vm));
	for (int i = 0; i < 8; i++) {
		ASSERT_EQ(0, onpu_bo_create(self->fd, PAGE, DRM_ONPU_BO_SYSTEM, 0, &handles[i]));
		ASSERT_EQ(0, onpu_map(self->fd, vm, handles[i], 0, VA + i * 2 * PAGE, PAGE, 0));
	}
	ASSERT_EQ(0, set_limit(ONPU_PARAM("max_file_bos"), 6));
	ASSERT_EQ(0, set_limit(ONPU_PARAM("max_vm_mappings"), 4));
	EXPECT_EQ(6, onpu_limits(self->fd).max_bos);
	EXPECT_EQ(4, onpu_limits(self->fd).max_mappings);
	EXPECT_EQ(-ENOSPC, onpu_bo_create(self->fd, PAGE, DRM_ONPU_BO_SYSTEM, 0, &handles[0]));
	EXPECT_EQ(-ENOSPC, onpu_map(self->fd, vm, handles[0], 0, VA + MIB(2), PAGE, 0));
	SECOND_WORKS();
	for (int i = 5; i < 8; i++)
		ASSERT_EQ(0, onpu_bo_close(self->fd, handles[i]));
	EXPECT_EQ(0, onpu_bo_create(self->fd, PAGE, DRM_ONPU_BO_SYSTEM, 0, &handles[5]));
	EXPECT_EQ(-ENOSPC, onpu_bo_create(self->fd, PAGE, DRM_ONPU_BO_SYSTEM, 0, &handles[6]));
	/* Never more than the driver itself sets. */
	ASSERT_EQ(0, set_limit(ONPU_PARAM("max_file_bos"), 1000000));
	ASSERT_EQ(0, set_limit(ONPU_PARAM("max_vm_mappings"), 1000000));
	EXPECT_EQ(65536, onpu_limits(self->fd).max_bos);
	EXPECT_EQ(65536, onpu_limits(self->fd).max_mappings);
	EXPECT_EQ(0, onpu_bo_create(self->fd, PAGE, DRM_ONPU_BO_SYSTEM, 0, &handles[6]));
	EXPECT_EQ(0, onpu_map(self->fd, vm, handles[0], 0, VA + MIB(2), PAGE, 0));
}

/* Fills a place with objects of falling sizes; returns the error in the end. */
static int fill_place(int fd, uint32_t flags)
{
	uint32_t handle;
	int ret = 0;

	for (uint64_t size = MIB(64); size >= PAGE; size /= 4)
		do {
			ret = onpu_bo_create(fd, size, flags, 0, &handle);
		} while (!ret);
	return ret;
}

TEST_F_TIMEOUT(limits, system_memory, 240)
{
	uint32_t handle;

	EXPECT_EQ(-ENOMEM, fill_place(self->fd, DRM_ONPU_BO_SYSTEM));
	SECOND_WORKS();
	close(self->fd);
	self->fd = onpu_open();
	COMES_BACK(onpu_bo_create(self->fd, MIB(4), DRM_ONPU_BO_SYSTEM, 0, &handle));
}

TEST_F_TIMEOUT(limits, card_memory, 240)
{
	uint32_t handle;
	int ret;

	if (self->before.vram_size > MIB(4096))
		SKIP(return, "the card has more than 4 GiB to fill");
	ret = fill_place(self->fd, DRM_ONPU_BO_VRAM);
	EXPECT_TRUE(ret == -ENOMEM || ret == -ENOSPC);
	SECOND_WORKS();
	close(self->fd);
	self->fd = onpu_open();
	COMES_BACK(onpu_bo_create(self->fd, MIB(4), DRM_ONPU_BO_VRAM, 0, &handle));
}

TEST_F_TIMEOUT(limits, memory_of_processes, 120)
{
	/* DMA debugging looks down on more mappings of a page than this, which is no mistake here. */
	const uint64_t times = 7;
	struct drm_onpu_bo_userptr args = {
		.size = self->limits.max_pinned_bytes / times / PAGE * PAGE,
	};
	uint64_t rounds = times + 1;
	void *mem = mmap(NULL, args.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int ret = 0;

	/* The same pages again and again count again and again. */
	ASSERT_NE(MAP_FAILED, mem);
	args.addr = USER_PTR(mem);
	while (!ret && rounds--)
		ret = onpu_ioctl(self->fd, DRM_IOCTL_ONPU_BO_USERPTR, &args);
	EXPECT_EQ(-ENOSPC, ret);
	SECOND_WORKS();
	close(self->fd);
	self->fd = onpu_open();
	COMES_BACK(onpu_ioctl(self->fd, DRM_IOCTL_ONPU_BO_USERPTR, &args));
}

TEST_HARNESS_MAIN

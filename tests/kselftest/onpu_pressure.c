// SPDX-License-Identifier: GPL-2.0-only
/*
 * The machine is short of memory: idle buffer objects in system memory give theirs back, those
 * whose content may be given up first, the others when there is swap space. What jobs use stays.
 * Asking the kernel to drop what its shrinkers hold is the pressure.
 */
#include "kselftest_harness.h"

#include <sys/swap.h>

#include "onpu_kselftest.h"

#define COUNT 6
#define SIZE MIB(4)

FIXTURE(pressure)
{
	struct onpu_env env;
	struct onpu_buf buf[COUNT];
	struct drm_onpu_query_memory before;
};

FIXTURE_SETUP(pressure)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	/* A job waits for as long as it takes to press. */
	ASSERT_GT(onpu_set_timeout(100000), 0);
	ASSERT_EQ(0, onpu_env_on(&self->env, fd));
	for (uint32_t i = 0; i < COUNT; i++) {
		ASSERT_EQ(0, onpu_buf_new(&self->env, SIZE, DRM_ONPU_BO_SYSTEM, &self->buf[i]));
		ASSERT_EQ(0, onpu_run_one(&self->env, pkt_fill(self->buf[i].va, SIZE, 0x700 + i)));
	}
}

FIXTURE_TEARDOWN(pressure)
{
	onpu_set_timeout(10000);
	onpu_env_fini(&self->env);
	onpu_unmap_all();
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

static uint32_t region(struct onpu_env *env, uint32_t handle)
{
	struct drm_onpu_bo_info args = { .handle = handle };

	return onpu_ioctl(env->fd, DRM_IOCTL_ONPU_BO_INFO, &args) ? UINT32_MAX : args.region;
}

static int advise(struct onpu_env *env, uint32_t handle, uint32_t advice, uint32_t *retained)
{
	struct drm_onpu_bo_advise args = { .handle = handle, .advice = advice };
	int ret = onpu_ioctl(env->fd, DRM_IOCTL_ONPU_BO_ADVISE, &args);

	if (retained)
		*retained = args.retained;
	return ret;
}

/* How many of the buffers are somewhere. */
static uint32_t count_in(struct onpu_env *env, const struct onpu_buf *buf, uint32_t where)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < COUNT; i++)
		count += region(env, buf[i].handle) == where;
	return count;
}

/* Presses until so many buffers are there; returns how many are in the end. */
static uint32_t press(struct onpu_env *env, const struct onpu_buf *buf, uint32_t where,
		      uint32_t wanted, int tries)
{
	uint32_t count = 0;

	for (int i = 0; i < tries && count < wanted; i++) {
		if (onpu_write_file("/proc/sys/vm/drop_caches", "2"))
			return 0;
		usleep(20000);
		count = count_in(env, buf, where);
	}
	return count;
}

static bool is_filled(const struct onpu_buf *buf, uint32_t value)
{
	const uint32_t *data = buf->cpu;

	for (uint64_t i = 0; i < SIZE / 4; i++)
		if (data[i] != value)
			return false;
	return true;
}

TEST_F_TIMEOUT(pressure, purgeable_memory_goes, 120)
{
	struct onpu_env *env = &self->env;
	uint32_t retained;

	for (uint32_t i = 0; i < COUNT; i += 2)
		ASSERT_EQ(0, advise(env, self->buf[i].handle, DRM_ONPU_ADVISE_PURGEABLE, NULL));
	EXPECT_EQ(COUNT / 2, press(env, self->buf, DRM_ONPU_REGION_NONE, COUNT / 2, 500));
	EXPECT_GE(self->before.system_used + COUNT / 2 * SIZE, onpu_memory(env->fd).system_used);
	/* One more for each that is needed again; zero for the CPU and for the card. */
	for (uint32_t i = 0; i < COUNT; i++) {
		ASSERT_EQ(0, advise(env, self->buf[i].handle, DRM_ONPU_ADVISE_NEEDED, &retained));
		EXPECT_EQ(i % 2, retained);
		if (i == 2) {
			ASSERT_EQ(0, onpu_run_one(env, pkt_copy(env->cmd.va + 64 * 512,
								self->buf[i].va + SIZE - 64, 64)));
			EXPECT_EQ(0, env->packets[512].opcode);
		}
		EXPECT_TRUE(is_filled(&self->buf[i], i % 2 ? 0x700 + i : 0));
	}
	ASSERT_EQ(0, onpu_run_one(env, pkt_fill(self->buf[0].va, SIZE, 0x777)));
	EXPECT_TRUE(is_filled(&self->buf[0], 0x777));
}

/* A job that is in flight keeps what is mapped, purgeable or not. */
TEST_F_TIMEOUT(pressure, what_a_job_uses_stays, 120)
{
	volatile uint64_t *word = (volatile uint64_t *)&self->env.packets[500];
	struct onpu_env *env = &self->env;

	for (uint32_t i = 0; i < COUNT; i++)
		ASSERT_EQ(0, advise(env, self->buf[i].handle, DRM_ONPU_ADVISE_PURGEABLE, NULL));
	*word = 0;
	onpu_add(env, pkt_wait(env->cmd.va + 64 * 500, ONPU_WAIT_EQ, 1));
	onpu_add(env, pkt_copy(self->buf[1].va, self->buf[0].va, SIZE));
	ASSERT_EQ(0, onpu_start(env, 0, env->sync));
	EXPECT_EQ(0, press(env, self->buf, DRM_ONPU_REGION_NONE, 1, 20));
	EXPECT_EQ(0, press(env, self->buf, DRM_ONPU_REGION_SWAP, 1, 2));
	*word = 1;
	ASSERT_EQ(0, onpu_sync_wait(env->fd, env->sync));
	EXPECT_EQ(1, onpu_sync_status(env->fd, env->sync));
	EXPECT_TRUE(is_filled(&self->buf[1], 0x700));
	EXPECT_EQ(COUNT, press(env, self->buf, DRM_ONPU_REGION_NONE, COUNT, 500));
}

#define ZRAM "/sys/block/zram0/"

/* A header of swap space, as mkswap writes it. */
static int make_swap(const char *path, uint64_t size)
{
	uint8_t page[PAGE] = { 0 };
	uint32_t version = 1, last = size / PAGE - 1;
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	memcpy(page + 1024, &version, 4);
	memcpy(page + 1028, &last, 4);
	memcpy(page + PAGE - 10, "SWAPSPACE2", 10);
	ret = write(fd, page, PAGE) == (ssize_t)PAGE ? 0 : -EIO;
	close(fd);
	return ret;
}

TEST_F_TIMEOUT(pressure, the_rest_is_swapped, 120)
{
	struct onpu_env *env = &self->env;
	uint32_t swapped;

	if (system("modprobe zram >/dev/null 2>&1") ||
	    onpu_write_file(ZRAM "disksize", "128M"))
		SKIP(return, "no compressed memory to swap to in this kernel");
	ASSERT_EQ(0, make_swap("/dev/zram0", MIB(128)));
	ASSERT_EQ(0, swapon("/dev/zram0", 0));

	swapped = press(env, self->buf, DRM_ONPU_REGION_SWAP, COUNT, 500);
	EXPECT_EQ(COUNT, swapped);
	/* What is swapped out counts still. */
	EXPECT_LE(self->before.system_used + COUNT * SIZE, onpu_memory(env->fd).system_used);
	/* Half of it comes back for the CPU, and then all for the card. */
	for (uint32_t i = 0; i < COUNT / 2; i++) {
		EXPECT_TRUE(is_filled(&self->buf[i], 0x700 + i));
		EXPECT_EQ(DRM_ONPU_REGION_SYSTEM, region(env, self->buf[i].handle));
	}
	ASSERT_EQ(0, onpu_run_one(env, pkt_copy(self->buf[0].va, self->buf[COUNT - 1].va, SIZE)));
	EXPECT_TRUE(is_filled(&self->buf[0], 0x700 + COUNT - 1));
	for (uint32_t i = 1; i < COUNT; i++)
		EXPECT_TRUE(is_filled(&self->buf[i], 0x700 + i));
	EXPECT_EQ(0, swapoff("/dev/zram0"));
	EXPECT_EQ(0, onpu_write_file(ZRAM "reset", "1"));
}

TEST_HARNESS_MAIN

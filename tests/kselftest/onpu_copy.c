// SPDX-License-Identifier: GPL-2.0-only
/*
 * The copy engine when the card fails at it. A card without bus mastering cannot reach the host, so
 * its part of every move faults, while all that stays on the card works, without interrupts.
 * What the CPU reaches it then moves by itself; what it does not is either where it was, or the
 * card is wedged before anybody could read what others left there.
 */
#include "kselftest_harness.h"

#include "onpu_kselftest.h"

#define TIMEOUT_MS 1000
#define SIZE MIB(6)

FIXTURE(copy)
{
	struct onpu_env env;
	struct drm_onpu_query_memory before;
	char sysfs[512];
};

static int set_bus_master(const char *sysfs, bool on)
{
	uint16_t command;
	char path[600];
	int fd, ret = -EIO;

	snprintf(path, sizeof(path), "%s/config", sysfs);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (pread(fd, &command, 2, 4) == 2) {
		command = on ? command | 4 : command & ~4;
		ret = pwrite(fd, &command, 2, 4) == 2 ? 0 : -EIO;
	}
	close(fd);
	return ret;
}

static int reset_card(const char *sysfs)
{
	char path[600];

	snprintf(path, sizeof(path), "%s/reset", sysfs);
	return onpu_write_file(path, "1");
}

FIXTURE_SETUP(copy)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	ASSERT_EQ(0, onpu_sysfs(fd, self->sysfs, sizeof(self->sysfs)));
	ASSERT_EQ(0, onpu_env_on(&self->env, fd));
	ASSERT_GT(onpu_set_timeout(TIMEOUT_MS), 0);
}

FIXTURE_TEARDOWN_PARENT(copy)
{
	int fd = onpu_open();
	char sysfs[512];

	/* With it comes the bus mastering, and a card that was wedged. */
	EXPECT_EQ(0, onpu_sysfs(fd, sysfs, sizeof(sysfs)));
	EXPECT_EQ(0, reset_card(sysfs));
	close(fd);
	onpu_set_timeout(10000);
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

static int advise(struct onpu_env *env, uint32_t handle, uint32_t advice)
{
	struct drm_onpu_bo_advise args = { .handle = handle, .advice = advice };

	return onpu_ioctl(env->fd, DRM_IOCTL_ONPU_BO_ADVISE, &args);
}

static uint32_t region(struct onpu_env *env, uint32_t handle)
{
	struct drm_onpu_bo_info args = { .handle = handle };

	return onpu_ioctl(env->fd, DRM_IOCTL_ONPU_BO_INFO, &args) ? UINT32_MAX : args.region;
}

/* Anywhere on the card: on one with a small aperture, beyond it. */
static int new_buffer(struct onpu_env *env, uint32_t flags, uint64_t va, uint32_t *handle)
{
	int ret = onpu_bo_create(env->fd, SIZE, DRM_ONPU_BO_VRAM | flags, 0, handle);

	return ret ? ret : onpu_map(env->fd, env->vm, *handle, 0, va, SIZE, 0);
}

static bool is_all(const uint32_t *data, uint32_t value)
{
	for (uint64_t i = 0; i < SIZE / 4; i++)
		if (data[i] != value)
			return false;
	return true;
}

#define VA (1ull << 40)

/* Both ways, without the card, and with it again when it can. */
TEST_F_TIMEOUT(copy, the_cpu_does_what_it_can, 120)
{
	struct onpu_env *env = &self->env;
	uint32_t handle, *data;

	ASSERT_EQ(0, new_buffer(env, DRM_ONPU_BO_CPU_VISIBLE, VA, &handle));
	ASSERT_EQ(0, onpu_run_one(env, pkt_fill(VA, SIZE, 0x11111111)));
	data = onpu_bo_map(env->fd, handle, SIZE);
	ASSERT_NE(NULL, data);

	ASSERT_EQ(0, set_bus_master(self->sysfs, false));
	EXPECT_EQ(0, advise(env, handle, DRM_ONPU_ADVISE_EVICT));
	EXPECT_EQ(DRM_ONPU_REGION_SYSTEM, region(env, handle));
	EXPECT_TRUE(is_all(data, 0x11111111));
	for (uint64_t i = 0; i < SIZE / 4; i++)
		data[i] = 0x22222222;
	EXPECT_EQ(0, advise(env, handle, DRM_ONPU_ADVISE_PREFETCH));
	EXPECT_EQ(DRM_ONPU_REGION_VRAM, region(env, handle));
	EXPECT_TRUE(is_all(data, 0x22222222));

	ASSERT_EQ(0, set_bus_master(self->sysfs, true));
	EXPECT_EQ(0, onpu_run_one(env, pkt_fill(VA, 64, 0x22222222)));
	EXPECT_EQ(0, advise(env, handle, DRM_ONPU_ADVISE_EVICT));
	EXPECT_TRUE(is_all(data, 0x22222222));
}

/* Clears stay on the card; their ends are noticed without interrupts. */
TEST_F_TIMEOUT(copy, fresh_memory_without_interrupts, 120)
{
	struct onpu_env *env = &self->env;
	uint32_t old, handles[40], *data;

	/* Something to find, if it were not cleared. */
	ASSERT_EQ(0, new_buffer(env, 0, VA, &old));
	ASSERT_EQ(0, onpu_run_one(env, pkt_fill(VA, SIZE, 0x33333333)));
	ASSERT_EQ(0, onpu_unmap(env->fd, env->vm, VA, SIZE));
	ASSERT_EQ(0, onpu_bo_close(env->fd, old));

	ASSERT_EQ(0, set_bus_master(self->sysfs, false));
	for (int i = 0; i < 40; i++) {
		ASSERT_EQ(0, onpu_bo_create(env->fd, KIB(4) << i % 6, DRM_ONPU_BO_VRAM, 0,
					    &handles[i]));
	}
	ASSERT_EQ(0, onpu_bo_create(env->fd, SIZE, DRM_ONPU_BO_VRAM, 0, &old));
	ASSERT_EQ(0, set_bus_master(self->sysfs, true));
	data = onpu_bo_map(env->fd, old, SIZE);
	ASSERT_NE(NULL, data);
	EXPECT_TRUE(is_all(data, 0));
	for (int i = 0; i < 40; i++) {
		data = onpu_bo_map(env->fd, handles[i], KIB(4) << i % 6);
		ASSERT_NE(NULL, data);
		for (uint64_t j = 0; j < (KIB(4) << i % 6) / 4; j++) {
			ASSERT_EQ(0, data[j]);
		}
	}
}

#ifdef ONPU_SMALL_CARDS		/* of which the CPU reaches a part */

/* Nobody can take it off the card: it stays there as it is. */
TEST_F_TIMEOUT(copy, what_cannot_leave_stays, 120)
{
	struct onpu_env *env = &self->env;
	uint32_t handle, *data;

	if (self->before.vram_visible == self->before.vram_size)
		SKIP(return, "the CPU reaches all memory of this card");
	ASSERT_EQ(0, new_buffer(env, 0, VA, &handle));
	ASSERT_EQ(0, onpu_run_one(env, pkt_fill(VA, SIZE, 0x44444444)));
	ASSERT_EQ(0, set_bus_master(self->sysfs, false));
	EXPECT_EQ(-EIO, advise(env, handle, DRM_ONPU_ADVISE_EVICT));
	EXPECT_EQ(DRM_ONPU_REGION_VRAM, region(env, handle));
	ASSERT_EQ(0, set_bus_master(self->sysfs, true));
	/* The card works, and has it still. */
	EXPECT_EQ(0, onpu_run_one(env, pkt_fill(VA, 4, 0x44444444)));
	EXPECT_EQ(0, advise(env, handle, DRM_ONPU_ADVISE_EVICT));
	data = onpu_bo_map(env->fd, handle, SIZE);
	ASSERT_NE(NULL, data);
	EXPECT_TRUE(is_all(data, 0x44444444));
}

/* Nobody can bring it back: the card stops before a job could see what is there instead. */
TEST_F_TIMEOUT(copy, what_cannot_come_back_is_not_somebody_elses, 120)
{
	struct drm_onpu_queue_get_state state;
	struct onpu_env *env = &self->env, again;
	uint32_t handle, old, *data;
	int64_t end;

	if (self->before.vram_visible == self->before.vram_size)
		SKIP(return, "the CPU reaches all memory of this card");
	ASSERT_EQ(0, new_buffer(env, 0, VA, &handle));
	ASSERT_EQ(0, onpu_run_one(env, pkt_fill(VA, SIZE, 0x55555555)));
	/* What others left, in all places that it could get. */
	for (int i = 0; i < 4; i++) {
		ASSERT_EQ(0, new_buffer(env, 0, VA + SIZE, &old));
		ASSERT_EQ(0, onpu_run_one(env, pkt_fill(VA + SIZE, SIZE, 0x66666666)));
		ASSERT_EQ(0, onpu_unmap(env->fd, env->vm, VA + SIZE, SIZE));
		if (i == 3) {
			ASSERT_EQ(0, onpu_bo_close(env->fd, old));
		}
	}
	ASSERT_EQ(0, advise(env, handle, DRM_ONPU_ADVISE_EVICT));
	EXPECT_EQ(DRM_ONPU_REGION_SYSTEM, region(env, handle));

	ASSERT_EQ(0, set_bus_master(self->sysfs, false));
	EXPECT_EQ(0, advise(env, handle, DRM_ONPU_ADVISE_PREFETCH));
	EXPECT_EQ(DRM_ONPU_REGION_VRAM, region(env, handle));
	end = onpu_now() + WAIT_NS;
	do {
		ASSERT_EQ(0, onpu_queue_state(env->fd, env->queue, &state));
		usleep(10000);
	} while (!(state.flags & DRM_ONPU_QUEUE_DEVICE_LOST) && onpu_now() < end);
	EXPECT_TRUE(state.flags & DRM_ONPU_QUEUE_DEVICE_LOST);
	EXPECT_NE(0, onpu_run_one(env, pkt_nop()));

	ASSERT_EQ(0, reset_card(self->sysfs));
	ASSERT_EQ(0, onpu_env_init(&again));
	EXPECT_EQ(0, onpu_run_one(&again, pkt_nop()));
	/* It is lost, but nobody else's. */
	data = onpu_bo_map(env->fd, handle, SIZE);
	ASSERT_NE(NULL, data);
	EXPECT_TRUE(is_all(data, 0));
	onpu_env_fini(&again);
}

#endif

TEST_HARNESS_MAIN

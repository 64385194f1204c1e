// SPDX-License-Identifier: GPL-2.0-only
/* Queues: creation, priorities, state, limits, more queues than the card has slots. */
#include "kselftest_harness.h"

#include <linux/capability.h>
#include <sys/syscall.h>

#include "onpu_kselftest.h"

FIXTURE(queue)
{
	struct onpu_env env;
	struct drm_onpu_query_memory before;
};

FIXTURE_SETUP(queue)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	ASSERT_EQ(0, onpu_env_on(&self->env, fd));
}

FIXTURE_TEARDOWN(queue)
{
	onpu_env_fini(&self->env);
	onpu_unmap_all();
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	memset(data, 0, sizeof(data));
	return (int)syscall(SYS_capset, &header, data);
}

TEST_F(queue, bad_create)
{
	const struct drm_onpu_queue_create good = {
		.vm_id = self->env.vm, .priority = DRM_ONPU_PRIORITY_MEDIUM,
	};
	struct drm_onpu_queue_create args;

#define BAD(error, member, value) do {						\
		args = good;							\
		args.member = value;						\
		EXPECT_EQ(error, onpu_ioctl(self->env.fd, DRM_IOCTL_ONPU_QUEUE_CREATE, &args)); \
	} while (0)
	BAD(-ENOENT, vm_id, 0);
	BAD(-ENOENT, vm_id, self->env.vm + 1000);
	BAD(-EINVAL, flags, 1);
	BAD(-EINVAL, flags, 1u << 31);
	BAD(-EINVAL, priority, DRM_ONPU_PRIORITY_REALTIME + 1);
	BAD(-EINVAL, priority, UINT32_MAX);
#undef BAD
}

TEST_F(queue, bad_destroy)
{
	struct drm_onpu_queue_destroy args = { .id = self->env.queue, .pad = 1 };

	EXPECT_EQ(-EINVAL, onpu_ioctl(self->env.fd, DRM_IOCTL_ONPU_QUEUE_DESTROY, &args));
	EXPECT_EQ(-ENOENT, onpu_queue_destroy(self->env.fd, 0));
	EXPECT_EQ(-ENOENT, onpu_queue_destroy(self->env.fd, self->env.queue + 1000));
	EXPECT_EQ(-ENOENT, onpu_queue_destroy(self->env.fd, UINT32_MAX));
	EXPECT_EQ(0, onpu_queue_destroy(self->env.fd, self->env.queue));
	EXPECT_EQ(-ENOENT, onpu_queue_destroy(self->env.fd, self->env.queue));
}

TEST_F(queue, bad_get_state)
{
	struct drm_onpu_queue_get_state state = { .id = self->env.queue, .pad = 1 };

	EXPECT_EQ(-EINVAL, onpu_ioctl(self->env.fd, DRM_IOCTL_ONPU_QUEUE_GET_STATE, &state));
	EXPECT_EQ(-ENOENT, onpu_queue_state(self->env.fd, 0, &state));
	EXPECT_EQ(-ENOENT, onpu_queue_state(self->env.fd, self->env.queue + 1000, &state));
	ASSERT_EQ(0, onpu_queue_destroy(self->env.fd, self->env.queue));
	EXPECT_EQ(-ENOENT, onpu_queue_state(self->env.fd, self->env.queue, &state));
}

TEST_F(queue, a_healthy_state)
{
	struct drm_onpu_queue_get_state state;

	/* What comes in is not what goes out. */
	memset(&state, 0xff, sizeof(state));
	state.id = self->env.queue;
	state.pad = 0;
	ASSERT_EQ(0, onpu_ioctl(self->env.fd, DRM_IOCTL_ONPU_QUEUE_GET_STATE, &state));
	EXPECT_EQ(0, state.flags);
	EXPECT_EQ(ONPU_ERR_NONE, state.error);
	EXPECT_EQ(0, state.fault_info);
	EXPECT_EQ(0, state.fault_va);
	EXPECT_EQ(0, state.opcode);
	EXPECT_EQ(0, state.pad);
	EXPECT_EQ(0, state.jobs_submitted);
	EXPECT_EQ(0, state.jobs_completed);
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, onpu_run_one(&self->env, pkt_nop()));
	}
	ASSERT_EQ(0, onpu_queue_state(self->env.fd, self->env.queue, &state));
	EXPECT_EQ(0, state.flags);
	EXPECT_EQ(3, state.jobs_submitted);
	EXPECT_EQ(3, state.jobs_completed);
}

TEST_F(queue, ids_belong_to_a_file)
{
	struct drm_onpu_queue_get_state state;
	int other = onpu_open();
	uint32_t queue;

	ASSERT_GE(other, 0);
	EXPECT_EQ(-ENOENT, onpu_queue_state(other, self->env.queue, &state));
	EXPECT_EQ(-ENOENT, onpu_queue_destroy(other, self->env.queue));
	EXPECT_EQ(-ENOENT, onpu_queue_create(other, self->env.vm, DRM_ONPU_PRIORITY_LOW, &queue));
	EXPECT_EQ(-ENOENT, onpu_submit(other, self->env.queue, self->env.cmd.va, 1, 0, 0));
	close(other);
}

TEST_F(queue, every_priority_runs)
{
	for (uint32_t priority = 0; priority <= DRM_ONPU_PRIORITY_REALTIME; priority++) {
		ASSERT_EQ(0, onpu_queue_destroy(self->env.fd, self->env.queue));
		ASSERT_EQ(0, onpu_queue_create(self->env.fd, self->env.vm, priority,
					       &self->env.queue));
		EXPECT_EQ(0, onpu_run_one(&self->env, pkt_nop()));
	}
}

TEST_F(queue, high_priorities_need_a_capability)
{
	uint32_t queue;

	ASSERT_EQ(0, drop_capabilities());
	EXPECT_EQ(0, onpu_queue_create(self->env.fd, self->env.vm, DRM_ONPU_PRIORITY_LOW, &queue));
	EXPECT_EQ(0, onpu_queue_create(self->env.fd, self->env.vm, DRM_ONPU_PRIORITY_MEDIUM, &queue));
	EXPECT_EQ(-EACCES, onpu_queue_create(self->env.fd, self->env.vm,
					     DRM_ONPU_PRIORITY_HIGH, &queue));
	EXPECT_EQ(-EACCES, onpu_queue_create(self->env.fd, self->env.vm,
					     DRM_ONPU_PRIORITY_REALTIME, &queue));
}

TEST_F_TIMEOUT(queue, as_many_as_allowed, 120)
{
	uint32_t cap = onpu_limits(self->env.fd).max_queues, count = 0, other;
	uint32_t *ids = calloc(cap + 1, sizeof(*ids));
	int ret = 0;

	ASSERT_NE(NULL, ids);
	while (count <= cap && !ret) {
		ret = onpu_queue_create(self->env.fd, self->env.vm, DRM_ONPU_PRIORITY_MEDIUM,
					&ids[count]);
		if (!ret)
			count++;
	}
	EXPECT_EQ(-ENOSPC, ret);
	EXPECT_GT(count, 1);
	EXPECT_LT(count, cap);		/* one more is the environment's */
	ASSERT_EQ(0, onpu_queue_destroy(self->env.fd, ids[count / 2]));
	/* A queue leaves the card some time after its id is gone. */
	ret = -ENOSPC;
	for (int i = 0; i < 200 && ret == -ENOSPC; i++) {
		ret = onpu_queue_create(self->env.fd, self->env.vm, DRM_ONPU_PRIORITY_MEDIUM, &other);
		if (ret)
			usleep(10000);
	}
	EXPECT_EQ(0, ret);
	free(ids);
}

TEST_F_TIMEOUT(queue, more_than_slots_all_run, 120)
{
	uint32_t slots = onpu_device(self->env.fd).slots;
	uint32_t cap = onpu_limits(self->env.fd).max_queues;
	uint32_t count = 2 * slots + 1, queues[256], syncs[256];
	struct onpu_buf result;

	if (count > cap - 1)
		count = cap - 1;
	if (count > 250)
		count = 250;
	ASSERT_EQ(0, onpu_buf_new(&self->env, PAGE, DRM_ONPU_BO_VRAM, &result));
	for (uint32_t i = 0; i < count; i++) {
		ASSERT_EQ(0, onpu_queue_create(self->env.fd, self->env.vm,
					       DRM_ONPU_PRIORITY_MEDIUM, &queues[i]));
		syncs[i] = onpu_sync_create(self->env.fd, false);
		self->env.packets[i] = pkt_fill(result.va + i * 4, 4, i + 1);
	}
	for (int round = 0; round < 3; round++) {
		memset(result.cpu, 0, PAGE);
		for (uint32_t i = 0; i < count; i++) {
			ASSERT_EQ(0, onpu_submit(self->env.fd, queues[i],
						 self->env.cmd.va + i * sizeof(struct onpu_packet),
						 1, 0, syncs[i]));
		}
		for (uint32_t i = 0; i < count; i++) {
			ASSERT_EQ(0, onpu_sync_wait(self->env.fd, syncs[i]));
			EXPECT_EQ(i + 1, ((uint32_t *)result.cpu)[i]);
		}
	}
}

TEST_F(queue, create_and_destroy_many_times)
{
	for (int i = 0; i < 100; i++) {
		ASSERT_EQ(0, onpu_env_new_queue(&self->env));
		if (i % 10 == 0) {
			ASSERT_EQ(0, onpu_run_one(&self->env, pkt_nop()));
		}
	}
}

TEST_HARNESS_MAIN

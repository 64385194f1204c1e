// SPDX-License-Identifier: GPL-2.0-only
/* SUBMIT: arguments, order, binary and timeline syncobjs, sync files, dead queues. */
#include "kselftest_harness.h"

#include <signal.h>
#include <sys/wait.h>

#include "onpu_kselftest.h"

FIXTURE(submit)
{
	struct onpu_env env;
	struct onpu_buf data;
	volatile uint64_t *words;	/* in data */
	struct drm_onpu_query_memory before;
};

FIXTURE_SETUP(submit)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	ASSERT_EQ(0, onpu_env_on(&self->env, fd));
	/* Jobs wait for words that the CPU writes meanwhile: it has to reach them where they are. */
	ASSERT_EQ(0, onpu_buf_new(&self->env, KIB(64), DRM_ONPU_BO_VRAM | DRM_ONPU_BO_CPU_VISIBLE,
				  &self->data));
	self->words = self->data.cpu;
}

FIXTURE_TEARDOWN(submit)
{
	onpu_env_fini(&self->env);
	onpu_unmap_all();
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

#define WORD(i) (self->data.va + (uint64_t)(i) * 8)
#define CMD(i) (self->env.cmd.va + (uint64_t)(i) * sizeof(struct onpu_packet))

TEST_F(submit, bad_arguments)
{
	uint32_t cap = onpu_limits(self->env.fd).max_jobs;
	struct drm_onpu_job job = { .cmd_va = self->env.cmd.va, .cmd_count = 1 };
	const struct drm_onpu_submit good = {
		.queue_id = self->env.queue,
		.jobs = { .count = 1, .stride = sizeof(job), .ptr = USER_PTR(&job) },
	};
	struct drm_onpu_queue_get_state state;
	struct drm_onpu_submit args;

	self->env.packets[0] = pkt_nop();
#define BAD(error, member, value) do {						\
		args = good;							\
		args.member = value;						\
		EXPECT_EQ(error, onpu_ioctl(self->env.fd, DRM_IOCTL_ONPU_SUBMIT, &args)); \
	} while (0)
	BAD(-EINVAL, flags, 1);
	BAD(-EINVAL, flags, 1u << 31);
	BAD(-ENOENT, queue_id, 0);
	BAD(-ENOENT, queue_id, 4711);
	BAD(-EINVAL, jobs.count, 0);
	BAD(-EINVAL, jobs.count, cap + 1);
	BAD(-EINVAL, jobs.count, UINT32_MAX);
	BAD(-EINVAL, jobs.stride, 0);
	BAD(-EINVAL, jobs.stride, 8);
	BAD(-EINVAL, jobs.stride, sizeof(job) - 8);
	BAD(-EINVAL, jobs.stride, sizeof(job) + 4);
	BAD(-EFAULT, jobs.ptr, 0);
	BAD(-EFAULT, jobs.ptr, 4096 - 8);
	BAD(-EFAULT, jobs.ptr, 0xffff888000000000ull);
#undef BAD
	ASSERT_EQ(0, onpu_queue_state(self->env.fd, self->env.queue, &state));
	EXPECT_EQ(0, state.jobs_submitted);
	EXPECT_EQ(0, state.flags);
}

TEST_F(submit, bad_jobs)
{
	struct drm_onpu_query_memory memory = onpu_memory(self->env.fd);
	struct drm_onpu_query_limits limits = onpu_limits(self->env.fd);
	struct drm_onpu_sync sync = { .flags = DRM_ONPU_SYNC_SIGNAL, .handle = self->env.sync };
	const struct drm_onpu_job good = {
		.cmd_va = self->env.cmd.va, .cmd_count = 1,
		.syncs = { .count = 1, .stride = sizeof(sync), .ptr = USER_PTR(&sync) },
	};
	struct drm_onpu_queue_get_state state;
	struct drm_onpu_job jobs[2];

	self->env.packets[0] = pkt_signal(WORD(0), 1);
	/* The first job is right; the second is not: none may run. */
#define BAD(error, member, value) do {						\
		jobs[0] = good;							\
		jobs[1] = good;							\
		jobs[1].member = value;						\
		EXPECT_EQ(error, onpu_submit_jobs(self->env.fd, self->env.queue, jobs, 2)); \
	} while (0)
	BAD(-EINVAL, flags, 1);
	BAD(-EINVAL, cmd_va, self->env.cmd.va + 1);
	BAD(-EINVAL, cmd_va, self->env.cmd.va + 32);
	BAD(-EINVAL, cmd_va, 1ull << 47);
	BAD(-EINVAL, cmd_va, memory.va_end);
	BAD(-EINVAL, cmd_va, UINT64_MAX - 63);
	BAD(-EINVAL, cmd_count, limits.max_packets + 1);
	BAD(-EINVAL, cmd_count, UINT32_MAX);
	BAD(-EINVAL, syncs.count, limits.max_syncs + 1);
	BAD(-EINVAL, syncs.count, UINT32_MAX);
	BAD(-EINVAL, syncs.stride, 4);
	BAD(-EINVAL, syncs.stride, sizeof(sync) + 4);
	BAD(-EFAULT, syncs.ptr, 0);
	BAD(-EFAULT, syncs.ptr, 0xffff888000000000ull);
#undef BAD
	ASSERT_EQ(0, onpu_queue_state(self->env.fd, self->env.queue, &state));
	EXPECT_EQ(0, state.jobs_submitted);
	/* Nor did the syncobj get a fence. */
	EXPECT_EQ(-EINVAL, onpu_sync_wait_for(self->env.fd, self->env.sync, 0));
	EXPECT_EQ(0, self->words[0]);
}

TEST_F(submit, bad_syncs)
{
	uint32_t empty = onpu_sync_create(self->env.fd, false);
	struct drm_onpu_sync syncs[2];
	struct drm_onpu_job job = {
		.cmd_va = self->env.cmd.va, .cmd_count = 1,
		.syncs = { .count = 2, .stride = sizeof(syncs[0]), .ptr = USER_PTR(syncs) },
	};
	const struct drm_onpu_sync bad[] = {
		{ .flags = 1u << 2, .handle = self->env.sync },
		{ .flags = 1u << 31, .handle = self->env.sync },
		{ .flags = DRM_ONPU_SYNC_SIGNAL, .handle = self->env.sync, .point = 1 },
		{ .flags = 0, .handle = self->env.sync, .point = 1 },
		{ .flags = DRM_ONPU_SYNC_SIGNAL | DRM_ONPU_SYNC_TIMELINE, .handle = self->env.sync },
		{ .flags = DRM_ONPU_SYNC_TIMELINE, .handle = self->env.sync },
		/* Nothing will ever signal it. */
		{ .flags = 0, .handle = empty },
		{ .flags = DRM_ONPU_SYNC_TIMELINE, .handle = empty, .point = 5 },
	};
	const struct drm_onpu_sync missing[] = {
		{ .flags = DRM_ONPU_SYNC_SIGNAL, .handle = 0 },
		{ .flags = DRM_ONPU_SYNC_SIGNAL, .handle = 4711 },
		{ .flags = DRM_ONPU_SYNC_SIGNAL | DRM_ONPU_SYNC_TIMELINE, .handle = 4711, .point = 1 },
		{ .flags = 0, .handle = 4711 },
	};
	struct drm_onpu_queue_get_state state;

	ASSERT_NE(0, empty);
	self->env.packets[0] = pkt_nop();
	syncs[0] = (struct drm_onpu_sync) { DRM_ONPU_SYNC_SIGNAL, self->env.sync, 0 };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		syncs[1] = bad[i];
		EXPECT_EQ(-EINVAL, onpu_submit_jobs(self->env.fd, self->env.queue, &job, 1)) {
			TH_LOG("case %zu", i);
		}
	}
	for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
		syncs[1] = missing[i];
		EXPECT_EQ(-ENOENT, onpu_submit_jobs(self->env.fd, self->env.queue, &job, 1)) {
			TH_LOG("case %zu", i);
		}
	}
	ASSERT_EQ(0, onpu_queue_state(self->env.fd, self->env.queue, &state));
	EXPECT_EQ(0, state.jobs_submitted);
	EXPECT_EQ(-EINVAL, onpu_sync_wait_for(self->env.fd, self->env.sync, 0));
}

TEST_F(submit, larger_elements)
{
	struct {
		struct drm_onpu_sync sync;
		uint64_t later;
	} sync = { .sync = { DRM_ONPU_SYNC_SIGNAL, self->env.sync, 0 } };
	struct {
		struct drm_onpu_job job;
		uint64_t later[2];
	} job = {
		.job = {
			.cmd_va = self->env.cmd.va, .cmd_count = 1,
			.syncs = { .count = 1, .stride = sizeof(sync), .ptr = USER_PTR(&sync) },
		},
	};
	struct drm_onpu_submit args = {
		.queue_id = self->env.queue,
		.jobs = { .count = 1, .stride = sizeof(job), .ptr = USER_PTR(&job) },
	};

	self->env.packets[0] = pkt_signal(WORD(0), 7);
	job.later[1] = 1;
	EXPECT_EQ(-E2BIG, onpu_ioctl(self->env.fd, DRM_IOCTL_ONPU_SUBMIT, &args));
	job.later[1] = 0;
	sync.later = 1ull << 63;
	EXPECT_EQ(-E2BIG, onpu_ioctl(self->env.fd, DRM_IOCTL_ONPU_SUBMIT, &args));
	EXPECT_EQ(0, self->words[0]);
	sync.later = 0;
	ASSERT_EQ(0, onpu_ioctl(self->env.fd, DRM_IOCTL_ONPU_SUBMIT, &args));
	ASSERT_EQ(0, onpu_sync_wait(self->env.fd, self->env.sync));
	EXPECT_EQ(7, self->words[0]);
}

TEST_F(submit, an_empty_job_signals)
{
	uint32_t out = onpu_sync_create(self->env.fd, false);

	ASSERT_EQ(0, onpu_submit(self->env.fd, self->env.queue, 0, 0, 0, self->env.sync));
	EXPECT_EQ(0, onpu_sync_wait(self->env.fd, self->env.sync));
	/* And it waits for what comes before it in the queue. */
	onpu_add(&self->env, pkt_wait(WORD(0), ONPU_WAIT_EQ, 1));
	onpu_add(&self->env, pkt_signal(WORD(1), 5));
	ASSERT_EQ(0, onpu_start(&self->env, 0, 0));
	ASSERT_EQ(0, onpu_submit(self->env.fd, self->env.queue, 0, 0, 0, out));
	EXPECT_EQ(-ETIME, onpu_sync_wait_for(self->env.fd, out, 50000000));
	self->words[0] = 1;
	EXPECT_EQ(0, onpu_sync_wait(self->env.fd, out));
	EXPECT_EQ(5, self->words[1]);
}

TEST_F(submit, jobs_of_a_queue_run_in_order)
{
	struct drm_onpu_job jobs[64];
	struct drm_onpu_sync sync = { DRM_ONPU_SYNC_SIGNAL, self->env.sync, 0 };
	uint32_t count = onpu_limits(self->env.fd).max_jobs;

	if (count > 64)
		count = 64;
	/* Job i copies what job i - 1 left, and adds its own mark behind it. */
	self->words[0] = 42;
	memset(jobs, 0, sizeof(jobs));
	for (uint32_t i = 0; i < count; i++) {
		self->env.packets[2 * i] = pkt_copy(WORD(i + 1), WORD(i), 8);
		self->env.packets[2 * i + 1] = pkt_fill(WORD(100 + i), 8, i + 1);
		jobs[i].cmd_va = CMD(2 * i);
		jobs[i].cmd_count = 2;
	}
	jobs[count - 1].syncs = (struct drm_onpu_array) { 1, sizeof(sync), USER_PTR(&sync) };
	ASSERT_EQ(0, onpu_submit_jobs(self->env.fd, self->env.queue, jobs, count));
	ASSERT_EQ(0, onpu_sync_wait(self->env.fd, self->env.sync));
	EXPECT_EQ(42, self->words[count]);
	for (uint32_t i = 0; i < count; i++) {
		EXPECT_EQ(i + 1, self->words[100 + i] & 0xffffffff);
	}
}

TEST_F(submit, queues_depend_on_each_other)
{
	uint32_t queues[8], syncs[8];

	for (int i = 0; i < 8; i++) {
		ASSERT_EQ(0, onpu_queue_create(self->env.fd, self->env.vm,
					       DRM_ONPU_PRIORITY_MEDIUM, &queues[i]));
		syncs[i] = onpu_sync_create(self->env.fd, false);
		ASSERT_NE(0, syncs[i]);
		self->env.packets[1 + i] = pkt_copy(WORD(i + 2), WORD(i + 1), 8);
	}
	/* Nothing happens until the first queue is let go. */
	self->env.packets[0] = pkt_wait(WORD(0), ONPU_WAIT_GE, 1);
	self->words[1] = 0x1122334455667788ull;
	ASSERT_EQ(0, onpu_submit(self->env.fd, self->env.queue, CMD(0), 1, 0, self->env.sync));
	for (int i = 0; i < 8; i++) {
		ASSERT_EQ(0, onpu_submit(self->env.fd, queues[i], CMD(1 + i), 1,
					 i ? syncs[i - 1] : self->env.sync, syncs[i]));
	}
	EXPECT_EQ(-ETIME, onpu_sync_wait_for(self->env.fd, syncs[7], 50000000));
	EXPECT_EQ(0, self->words[2]);
	self->words[0] = 1;
	ASSERT_EQ(0, onpu_sync_wait(self->env.fd, syncs[7]));
	EXPECT_EQ(0x1122334455667788ull, self->words[9]);
}

TEST_F(submit, queues_are_independent)
{
	uint32_t other, sync = onpu_sync_create(self->env.fd, false);

	ASSERT_EQ(0, onpu_queue_create(self->env.fd, self->env.vm, DRM_ONPU_PRIORITY_MEDIUM, &other));
	self->env.packets[0] = pkt_wait(WORD(0), ONPU_WAIT_EQ, 1);
	self->env.packets[1] = pkt_signal(WORD(0), 1);
	ASSERT_EQ(0, onpu_submit(self->env.fd, self->env.queue, CMD(0), 1, 0, self->env.sync));
	/* The other queue's job is what the first one waits for. */
	ASSERT_EQ(0, onpu_submit(self->env.fd, other, CMD(1), 1, 0, sync));
	EXPECT_EQ(0, onpu_sync_wait(self->env.fd, sync));
	EXPECT_EQ(0, onpu_sync_wait(self->env.fd, self->env.sync));
}

TEST_F(submit, timelines)
{
	uint32_t line = onpu_sync_create(self->env.fd, false), other;
	struct drm_onpu_sync syncs[2] = {
		{ DRM_ONPU_SYNC_TIMELINE, line, 0 },
		{ DRM_ONPU_SYNC_TIMELINE | DRM_ONPU_SYNC_SIGNAL, line, 0 },
	};
	struct drm_onpu_job job = { .cmd_count = 1 };
	uint64_t point = 0;
	struct drm_syncobj_timeline_array query = {
		.handles = USER_PTR(&line), .points = USER_PTR(&point), .count_handles = 1,
	};

	ASSERT_NE(0, line);
	ASSERT_EQ(0, onpu_queue_create(self->env.fd, self->env.vm, DRM_ONPU_PRIORITY_MEDIUM, &other));
	self->env.packets[0] = pkt_wait(WORD(0), ONPU_WAIT_EQ, 1);
	for (uint64_t i = 1; i <= 10; i++) {
		/* Point i copies word i to word i + 1, on alternating queues. */
		self->env.packets[i] = pkt_copy(WORD(i + 1), WORD(i), 8);
		syncs[0].point = i - 1;
		syncs[1].point = i;
		job.cmd_va = i == 1 ? CMD(0) : CMD(i);
		job.cmd_count = i == 1 ? 2 : 1;
		job.syncs = (struct drm_onpu_array) {
			i == 1 ? 1 : 2, sizeof(syncs[0]), USER_PTR(i == 1 ? &syncs[1] : syncs),
		};
		ASSERT_EQ(0, onpu_submit_jobs(self->env.fd, i & 1 ? self->env.queue : other, &job, 1));
	}
	EXPECT_EQ(-ETIME, onpu_timeline_wait_for(self->env.fd, line, 1, 20000000));
	self->words[1] = 99;
	self->words[0] = 1;
	ASSERT_EQ(0, onpu_timeline_wait_for(self->env.fd, line, 10, WAIT_NS));
	EXPECT_EQ(99, self->words[11]);
	ASSERT_EQ(0, onpu_ioctl(self->env.fd, DRM_IOCTL_SYNCOBJ_QUERY, &query));
	EXPECT_EQ(10, point);
}

TEST_F(submit, one_job_signals_many)
{
	struct drm_onpu_sync syncs[8];
	uint32_t count = onpu_limits(self->env.fd).max_syncs;
	struct drm_onpu_job job = {
		.cmd_va = self->env.cmd.va, .cmd_count = 1,
		.syncs = { .stride = sizeof(syncs[0]), .ptr = USER_PTR(syncs) },
	};

	if (count > 8)
		count = 8;
	job.syncs.count = count;
	for (uint32_t i = 0; i < count; i++) {
		syncs[i] = (struct drm_onpu_sync) {
			DRM_ONPU_SYNC_SIGNAL, onpu_sync_create(self->env.fd, false), 0,
		};
	}
	self->env.packets[0] = pkt_nop();
	ASSERT_EQ(0, onpu_submit_jobs(self->env.fd, self->env.queue, &job, 1));
	for (uint32_t i = 0; i < count; i++) {
		EXPECT_EQ(0, onpu_sync_wait(self->env.fd, syncs[i].handle));
	}
}

TEST_F_TIMEOUT(submit, many_in_flight, 120)
{
	const int rounds = 2000;
	struct drm_onpu_queue_get_state state;

	for (int i = 0; i < 1000; i++)
		self->env.packets[i] = pkt_fill(WORD(i), 8, (uint32_t)i + 1);
	/* More than a ring and than max_jobs_in_flight hold: SUBMIT blocks at times. */
	for (int i = 0; i < rounds; i++) {
		ASSERT_EQ(0, onpu_submit(self->env.fd, self->env.queue, CMD(i % 1000), 1, 0,
					 i == rounds - 1 ? self->env.sync : 0));
	}
	ASSERT_EQ(0, onpu_sync_wait(self->env.fd, self->env.sync));
	for (int i = 0; i < 1000; i++) {
		EXPECT_EQ(i + 1, self->words[i] & 0xffffffff);
	}
	ASSERT_EQ(0, onpu_queue_state(self->env.fd, self->env.queue, &state));
	EXPECT_EQ(0, state.flags);
	EXPECT_EQ(rounds, state.jobs_submitted);
	EXPECT_EQ(rounds, state.jobs_completed);
}

/* A full queue makes SUBMIT sleep; a signal ends that, and so does the end of the queue. */
TEST_F_TIMEOUT(submit, a_submit_that_sleeps_can_be_killed, 60)
{
	uint32_t limit = onpu_limits(self->env.fd).max_jobs_in_flight;
	uint32_t *taken = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int64_t start;
	int status;
	pid_t pid;

	ASSERT_NE(MAP_FAILED, taken);
	self->env.packets[0] = pkt_wait(WORD(0), ONPU_WAIT_EQ, 1);
	self->env.packets[1] = pkt_nop();
	ASSERT_EQ(0, onpu_submit(self->env.fd, self->env.queue, CMD(0), 1, 0, self->env.sync));
	pid = fork();
	if (!pid) {
		while (!onpu_submit(self->env.fd, self->env.queue, CMD(1), 1, 0, 0))
			(*taken)++;
		_exit(1);
	}
	ASSERT_GT(pid, 0);
	start = onpu_now();
	do {
		status = (int)*(volatile uint32_t *)taken;
		usleep(300000);
	} while (status != (int)*(volatile uint32_t *)taken && onpu_now() - start < WAIT_NS);
	EXPECT_GT(status, 0);
	EXPECT_LE(status, (int)limit);
	kill(pid, SIGKILL);
	start = onpu_now();
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_LT(onpu_now() - start, 5000000000ll);
	/* What was taken before runs. */
	self->words[0] = 1;
	ASSERT_EQ(0, onpu_submit(self->env.fd, self->env.queue, 0, 0, 0, self->env.sync));
	EXPECT_EQ(0, onpu_sync_wait(self->env.fd, self->env.sync));
	EXPECT_EQ(1, onpu_sync_status(self->env.fd, self->env.sync));
}

TEST_F(submit, a_large_job)
{
	uint32_t count = onpu_limits(self->env.fd).max_packets;
	struct onpu_packet *packets;
	struct onpu_buf big;

	if (count > 65536)
		count = 65536;
	ASSERT_EQ(0, onpu_buf_new(&self->env, (uint64_t)count * sizeof(*packets),
				  DRM_ONPU_BO_SYSTEM, &big));
	packets = big.cpu;
	for (uint32_t i = 0; i < count; i++)
		packets[i] = i % 64 ? pkt_nop() : pkt_fill(WORD(i / 64), 8, i + 1);
	packets[count - 1] = pkt_signal(WORD(2000), 0xfeed);
	ASSERT_EQ(0, onpu_submit(self->env.fd, self->env.queue, big.va, count, 0, self->env.sync));
	ASSERT_EQ(0, onpu_sync_wait(self->env.fd, self->env.sync));
	EXPECT_EQ(1, onpu_sync_status(self->env.fd, self->env.sync));
	EXPECT_EQ(0xfeed, self->words[2000]);
	EXPECT_EQ(65, self->words[1] & 0xffffffff);
}

TEST_F(submit, a_dead_queue_takes_nothing)
{
	struct drm_onpu_queue_get_state state;

	/* An opcode that does not exist. */
	EXPECT_NE(0, onpu_run_one(&self->env, pkt_op(200)));
	self->env.packets[0] = pkt_nop();
	EXPECT_EQ(-ECANCELED, onpu_submit(self->env.fd, self->env.queue, CMD(0), 1, 0,
					  self->env.sync));
	EXPECT_EQ(-ECANCELED, onpu_submit(self->env.fd, self->env.queue, 0, 0, 0, self->env.sync));
	ASSERT_EQ(0, onpu_queue_state(self->env.fd, self->env.queue, &state));
	EXPECT_NE(0, state.flags & DRM_ONPU_QUEUE_DEAD);
	EXPECT_EQ(1, state.jobs_submitted);
	EXPECT_EQ(1, state.jobs_completed);
	ASSERT_EQ(0, onpu_env_new_queue(&self->env));
	EXPECT_EQ(0, onpu_run_one(&self->env, pkt_nop()));
}

TEST_F(submit, jobs_behind_a_bad_one_are_cancelled)
{
	uint32_t syncs[20];

	for (int i = 0; i < 20; i++)
		syncs[i] = onpu_sync_create(self->env.fd, false);
	self->env.packets[0] = pkt_wait(WORD(0), ONPU_WAIT_EQ, 1);
	self->env.packets[1] = pkt_op(200);
	self->env.packets[2] = pkt_signal(WORD(1), 1);
	ASSERT_EQ(0, onpu_submit(self->env.fd, self->env.queue, CMD(0), 2, 0, self->env.sync));
	for (int i = 0; i < 20; i++) {
		ASSERT_EQ(0, onpu_submit(self->env.fd, self->env.queue, CMD(2), 1, 0, syncs[i]));
	}
	self->words[0] = 1;
	ASSERT_EQ(0, onpu_sync_wait(self->env.fd, self->env.sync));
	EXPECT_GT(0, onpu_sync_status(self->env.fd, self->env.sync));
	for (int i = 0; i < 20; i++) {
		ASSERT_EQ(0, onpu_sync_wait(self->env.fd, syncs[i]));
		EXPECT_EQ(-ECANCELED, onpu_sync_status(self->env.fd, syncs[i]));
	}
	EXPECT_EQ(0, self->words[1]);
}

TEST_F(submit, destroy_cancels_and_does_not_wait)
{
	uint32_t second = onpu_sync_create(self->env.fd, false);
	int64_t start;

	self->env.packets[0] = pkt_wait(WORD(0), ONPU_WAIT_EQ, 1);
	self->env.packets[1] = pkt_signal(WORD(1), 1);
	ASSERT_EQ(0, onpu_submit(self->env.fd, self->env.queue, CMD(0), 1, 0, self->env.sync));
	ASSERT_EQ(0, onpu_submit(self->env.fd, self->env.queue, CMD(1), 1, 0, second));
	EXPECT_EQ(-ETIME, onpu_sync_wait_for(self->env.fd, self->env.sync, 20000000));
	start = onpu_now();
	ASSERT_EQ(0, onpu_queue_destroy(self->env.fd, self->env.queue));
	EXPECT_LT(onpu_now() - start, 2000000000ll);
	EXPECT_EQ(0, onpu_sync_wait(self->env.fd, self->env.sync));
	EXPECT_EQ(0, onpu_sync_wait(self->env.fd, second));
	EXPECT_EQ(-ECANCELED, onpu_sync_status(self->env.fd, self->env.sync));
	EXPECT_EQ(-ECANCELED, onpu_sync_status(self->env.fd, second));
	EXPECT_EQ(0, self->words[1]);
	EXPECT_EQ(-ENOENT, onpu_submit(self->env.fd, self->env.queue, CMD(1), 1, 0, 0));
}

/* The scheduler's name is read from the fence's file long after the queue is gone. */
TEST_F(submit, sync_files_outlive_the_queue)
{
	struct sync_fence_info info;
	uint32_t pending = onpu_sync_create(self->env.fd, false);
	int files[3];

	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_nop()));
	files[0] = onpu_sync_to_file(self->env.fd, self->env.sync);
	ASSERT_GE(files[0], 0);
	/* One that runs, and one behind it that the card has never seen. */
	self->env.packets[0] = pkt_wait(WORD(0), ONPU_WAIT_EQ, 1);
	ASSERT_EQ(0, onpu_submit(self->env.fd, self->env.queue, CMD(0), 1, 0, self->env.sync));
	files[1] = onpu_sync_to_file(self->env.fd, self->env.sync);
	ASSERT_GE(files[1], 0);
	ASSERT_EQ(0, onpu_submit(self->env.fd, self->env.queue, CMD(0), 1, self->env.sync, pending));
	files[2] = onpu_sync_to_file(self->env.fd, pending);
	ASSERT_GE(files[2], 0);
	ASSERT_EQ(0, onpu_queue_destroy(self->env.fd, self->env.queue));
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 3; i++) {
			onpu_file_status(files[i], &info);
			EXPECT_NE(0, info.driver_name[0]);
		}
		usleep(10000);
	}
	EXPECT_EQ(0, onpu_sync_wait(self->env.fd, pending));
	EXPECT_EQ(1, onpu_file_status(files[0], &info));
	EXPECT_EQ(-ECANCELED, onpu_file_status(files[1], &info));
	EXPECT_EQ(-ECANCELED, onpu_file_status(files[2], &info));
	/* The file, too, goes before them. */
	close(self->env.fd);
	usleep(200000);
	EXPECT_EQ(1, onpu_file_status(files[0], &info));
	EXPECT_EQ(-ECANCELED, onpu_file_status(files[1], &info));
	EXPECT_EQ(-ECANCELED, onpu_file_status(files[2], &info));
	for (int i = 0; i < 3; i++)
		close(files[i]);
	self->env.fd = -1;
}

TEST_F(submit, a_cancelled_dependency_does_not_block)
{
	uint32_t other, sync = onpu_sync_create(self->env.fd, false);

	ASSERT_EQ(0, onpu_queue_create(self->env.fd, self->env.vm, DRM_ONPU_PRIORITY_MEDIUM, &other));
	self->env.packets[0] = pkt_wait(WORD(0), ONPU_WAIT_EQ, 1);
	self->env.packets[1] = pkt_nop();
	ASSERT_EQ(0, onpu_submit(self->env.fd, self->env.queue, CMD(0), 1, 0, self->env.sync));
	ASSERT_EQ(0, onpu_submit(self->env.fd, other, CMD(1), 1, self->env.sync, sync));
	ASSERT_EQ(0, onpu_queue_destroy(self->env.fd, self->env.queue));
	EXPECT_EQ(0, onpu_sync_wait(self->env.fd, sync));
}

/* As many jobs as a call takes, some of which wait and signal: in order, each once, all counted. */
TEST_F(submit, jobs_of_one_call)
{
	enum { JOBS = 64, EVERY = 7 };
	struct drm_onpu_queue_get_state state;
	struct drm_onpu_job jobs[JOBS];
	struct drm_onpu_sync syncs[JOBS][2];
	uint32_t timeline = onpu_sync_create(self->env.fd, false);

	memset(jobs, 0, sizeof(jobs));
	memset(syncs, 0, sizeof(syncs));
	for (int i = 0; i < JOBS; i++) {
		/* What the one before has stored is waited for: fails at once if it did not. */
		if (i)
			self->env.packets[2 * i] = pkt_copy(WORD(JOBS + i), WORD(i - 1), 8);
		else
			self->env.packets[0] = pkt_nop();
		self->env.packets[2 * i + 1] = pkt_signal(WORD(i), i + 1);
		jobs[i].cmd_va = CMD(2 * i);
		jobs[i].cmd_count = i % 5 == 4 ? 0 : 2;
		jobs[i].syncs.stride = sizeof(syncs[0][0]);
		jobs[i].syncs.ptr = USER_PTR(syncs[i]);
		if (i % EVERY == 3 && i > EVERY)
			syncs[i][jobs[i].syncs.count++] = (struct drm_onpu_sync){
				.flags = DRM_ONPU_SYNC_TIMELINE, .handle = timeline, .point = i - EVERY,
			};
		if (i % EVERY == 3 || i == JOBS - 1)
			syncs[i][jobs[i].syncs.count++] = (struct drm_onpu_sync){
				.flags = DRM_ONPU_SYNC_TIMELINE | DRM_ONPU_SYNC_SIGNAL,
				.handle = timeline, .point = i,
			};
	}
	for (int round = 1; round <= 3; round++) {
		memset((void *)self->words, 0, 2 * JOBS * 8);
		ASSERT_EQ(0, onpu_submit_jobs(self->env.fd, self->env.queue, jobs, JOBS));
		ASSERT_EQ(0, onpu_timeline_wait_for(self->env.fd, timeline, JOBS - 1, WAIT_NS));
		for (int i = 0; i < JOBS; i++) {
			bool ran = i % 5 != 4, before = i && (i - 1) % 5 != 4;

			ASSERT_EQ(ran ? i + 1 : 0, self->words[i]);
			ASSERT_EQ(ran && before ? i : 0, self->words[JOBS + i]);
		}
		ASSERT_EQ(0, onpu_queue_state(self->env.fd, self->env.queue, &state));
		EXPECT_EQ(0, state.flags);
		EXPECT_EQ(round * JOBS, state.jobs_submitted);
		EXPECT_EQ(round * JOBS, state.jobs_completed);
		/* A timeline goes on. */
		ASSERT_EQ(0, onpu_sync_destroy(self->env.fd, timeline));
		timeline = onpu_sync_create(self->env.fd, false);
		for (int i = 0; i < JOBS; i++)
			syncs[i][0].handle = syncs[i][1].handle = timeline;
	}
}

TEST_F(submit, counters_count)
{
	struct drm_onpu_query_counters before, after;

	ASSERT_EQ(0, onpu_query(self->env.fd, DRM_ONPU_QUERY_COUNTERS, &before, sizeof(before)));
	onpu_add(&self->env, pkt_fill(WORD(0), 4096, 1));
	onpu_add(&self->env, pkt_copy(WORD(1024), WORD(0), 1000));
	onpu_add(&self->env, pkt_nop());
	ASSERT_EQ(0, onpu_run(&self->env));
	ASSERT_EQ(0, onpu_query(self->env.fd, DRM_ONPU_QUERY_COUNTERS, &after, sizeof(after)));
	EXPECT_GE(after.packets, before.packets + 3);
	EXPECT_GE(after.copy_bytes, before.copy_bytes + 5096);
	EXPECT_GT(after.busy_ns, before.busy_ns);
	EXPECT_GT(after.irqs, before.irqs);
	EXPECT_GT(after.tlb_hits + after.tlb_walks, before.tlb_hits + before.tlb_walks);
	EXPECT_EQ(before.faults, after.faults);
}

TEST_HARNESS_MAIN

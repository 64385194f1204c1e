// SPDX-License-Identifier: GPL-2.0-only
/*
 * Jobs that the card has not been given, because they wait for somebody else's fence, when their
 * queue dies, is destroyed, its file is closed, its process killed, the firmware restarted, or the card
 * unplugged: each ends when that fence has signalled, with the right error, and has done nothing.
 */
#include "kselftest_harness.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "onpu_kselftest.h"

#define SYS_DRIVER "/sys/bus/pci/drivers/onpu/"
#define DEAD(why) (DRM_ONPU_QUEUE_DEAD | DRM_ONPU_QUEUE_##why)
#define JOBS 5
#define FOREVER_MS 3600000

/* A job that ends when the CPU says so, for others to wait for. */
struct gate {
	struct onpu_env env;
	volatile uint64_t *word;
	int fd;			/* its fence, as a syncobj for any file */
};

static int gate_close(struct gate *gate, unsigned int card)
{
	struct drm_syncobj_handle handle = { .fd = -1 };
	int fd = onpu_open_card(card), ret;

	if (fd < 0)
		return fd;
	ret = onpu_env_on(&gate->env, fd);
	if (ret)
		return ret;
	gate->word = (void *)&gate->env.packets[500];
	onpu_add(&gate->env, pkt_wait(gate->env.cmd.va + 64 * 500, ONPU_WAIT_EQ, 1));
	ret = onpu_start(&gate->env, 0, gate->env.sync);
	if (ret)
		return ret;
	handle.handle = gate->env.sync;
	ret = onpu_ioctl(fd, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &handle);
	gate->fd = handle.fd;
	return ret;
}

static void gate_open(struct gate *gate)
{
	*gate->word = 1;
}

static void gate_fini(struct gate *gate)
{
	gate_open(gate);
	onpu_sync_wait(gate->env.fd, gate->env.sync);
	close(gate->fd);
	onpu_env_fini(&gate->env);
}

/* Some jobs of the environment's queue, the first of which waits at the gate. */
struct jobs {
	int count;
	int files[JOBS];	/* their fences, which outlive the file */
	volatile uint64_t *words;	/* a word each, 1 when it ran */
};

static int jobs_start(struct onpu_env *env, const struct gate *gate, struct jobs *jobs)
{
	struct drm_syncobj_handle handle = { .fd = gate->fd };
	int ret = onpu_ioctl(env->fd, DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, &handle);

	jobs->words = (void *)&env->packets[600];
	memset((void *)jobs->words, 0, JOBS * sizeof(*jobs->words));
	jobs->count = 0;
	for (int i = 0; i < JOBS && !ret; i++) {
		uint32_t sync = onpu_sync_create(env->fd, false);

		env->packets[400 + i] = pkt_signal(env->cmd.va + 64 * 600 + 8 * i, 1);
		ret = onpu_submit(env->fd, env->queue, env->cmd.va + 64 * (400 + i), 1,
				  i ? 0 : handle.handle, sync);
		if (!ret)
			jobs->files[jobs->count++] = onpu_sync_to_file(env->fd, sync);
		onpu_sync_destroy(env->fd, sync);
	}
	onpu_sync_destroy(env->fd, handle.handle);
	return ret;
}

/* The status of a job's fence when it has ended; 0: it does not. */
static int ended(int file)
{
	int64_t end = onpu_now() + WAIT_NS * onpu_slow();
	struct sync_fence_info info;
	int status;

	while (!(status = onpu_file_status(file, &info)) && onpu_now() < end)
		usleep(1000);
	return status;
}

/* How many have not ended so. */
static int others(const struct jobs *jobs, int status)
{
	int count = 0;

	for (int i = 0; i < jobs->count; i++) {
		int how = ended(jobs->files[i]);

		if (how != status)
			printf("# job %d: %d\n", i, how);
		count += how != status;
		close(jobs->files[i]);
	}
	return count;
}

/* How many have run, which they have by the time that others() says that they ended. */
static int ran(const struct jobs *jobs)
{
	int count = 0;

	for (int i = 0; i < jobs->count; i++)
		count += jobs->words[i] != 0;
	return count;
}

/* They end in order, the first ones well and the rest with @error: how many ended well, or -1. */
static int ran_until(const struct jobs *jobs, int error)
{
	int well = 0;

	for (int i = 0; i < jobs->count; i++) {
		int how = ended(jobs->files[i]);

		if (how == 1 ? well != i : how != error) {
			printf("# job %d: %d\n", i, how);
			well = -1;
		} else if (how == 1) {
			well++;
		}
		close(jobs->files[i]);
	}
	return well;
}

FIXTURE(depend)
{
	struct gate gate;
	struct onpu_env env;
	struct jobs jobs;
	struct drm_onpu_query_memory before;
	char name[64], reset[600];
	int timeout;
};

FIXTURE_SETUP(depend)
{
	char path[512];
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	ASSERT_EQ(0, onpu_sysfs(fd, path, sizeof(path)));
	snprintf(self->name, sizeof(self->name), "%s", strrchr(path, '/') + 1);
	snprintf(self->reset, sizeof(self->reset), "%s/reset", path);
	/* Nothing ends by itself. */
	self->timeout = onpu_set_timeout(FOREVER_MS);
	ASSERT_GT(self->timeout, 0);
	ASSERT_EQ(0, onpu_env_on(&self->env, fd));
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_nop()));
}

FIXTURE_TEARDOWN_PARENT(depend)
{
	onpu_set_timeout((unsigned int)self->timeout);
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

static uint32_t flags_of(struct onpu_env *env)
{
	struct drm_onpu_queue_get_state state;

	return onpu_queue_state(env->fd, env->queue, &state) ? ~0u : state.flags;
}

/* ---- queues that die ---------------------------------------------------------------------- */

/* What the card executes kills the queue, when the others are there. */
TEST_F_TIMEOUT(depend, the_queue_dies, 100)
{
	static const struct {
		uint32_t flags;
		int status;
	} ends[] = {
		{ DEAD(FAULT), -EFAULT }, { DEAD(BAD_PACKET), -EINVAL }, { DEAD(TIMEDOUT), -ETIME },
	};

	for (int i = 0; i < 3; i++) {
		struct drm_onpu_queue_get_state state;
		int ret;

		ASSERT_EQ(0, gate_close(&self->gate, 0));
		/* For the queue that comes now; the one at the gate is looked at as seldom as before. */
		ASSERT_LT(0, onpu_set_timeout(i < 2 ? FOREVER_MS : 500));
		ASSERT_EQ(0, onpu_env_new_queue(&self->env));
		*(volatile uint64_t *)&self->env.packets[501] = 0;
		onpu_add(&self->env, pkt_wait(self->env.cmd.va + 64 * 501, ONPU_WAIT_EQ, 1));
		onpu_add(&self->env, i ? pkt_op(99) : pkt_fill(0x7000000000ull, 64, 0));
		ASSERT_EQ(0, onpu_start(&self->env, 0, self->env.sync));
		ret = jobs_start(&self->env, &self->gate, &self->jobs);
		/* By then it may have been too long. */
		if (i < 2 || ret != -ECANCELED)
			ASSERT_EQ(0, ret);
		if (i < 2)
			*(volatile uint64_t *)&self->env.packets[501] = 1;
		ASSERT_EQ(0, onpu_sync_wait(self->env.fd, self->env.sync));
		EXPECT_EQ(ends[i].status, onpu_sync_status(self->env.fd, self->env.sync));
		EXPECT_EQ(ends[i].flags, flags_of(&self->env));
		EXPECT_EQ(-ECANCELED, onpu_submit(self->env.fd, self->env.queue, self->env.cmd.va, 1, 0, 0));
		gate_open(&self->gate);
		EXPECT_EQ(0, others(&self->jobs, -ECANCELED));
		EXPECT_EQ(0, ran(&self->jobs));
		ASSERT_EQ(0, onpu_queue_state(self->env.fd, self->env.queue, &state));
		EXPECT_EQ(ends[i].flags, state.flags);
		EXPECT_EQ(state.jobs_submitted, state.jobs_completed);
		ASSERT_LT(0, onpu_set_timeout(FOREVER_MS));
		gate_fini(&self->gate);
		ASSERT_EQ(0, onpu_env_new_queue(&self->env));
		ASSERT_EQ(0, onpu_run_one(&self->env, pkt_nop()));
	}
	onpu_env_fini(&self->env);
}

/* Without an error of its own; the address space and the memory go with it. */
TEST_F_TIMEOUT(depend, the_queue_is_destroyed, 60)
{
	struct drm_gem_close gem = { .handle = self->env.cmd.handle };

	ASSERT_EQ(0, gate_close(&self->gate, 0));
	ASSERT_EQ(0, jobs_start(&self->env, &self->gate, &self->jobs));
	ASSERT_EQ(0, onpu_queue_destroy(self->env.fd, self->env.queue));
	EXPECT_EQ(-ENOENT, onpu_submit(self->env.fd, self->env.queue, self->env.cmd.va, 1, 0, 0));
	EXPECT_EQ(0, onpu_vm_destroy(self->env.fd, self->env.vm));
	EXPECT_EQ(0, onpu_ioctl(self->env.fd, DRM_IOCTL_GEM_CLOSE, &gem));
	gate_open(&self->gate);
	EXPECT_EQ(0, others(&self->jobs, -ECANCELED));
	EXPECT_EQ(0, ran(&self->jobs));
	gate_fini(&self->gate);
	onpu_env_fini(&self->env);
}

static void *open_gate(void *gate)
{
	gate_open(gate);
	return NULL;
}

/* At the same moment: each job has run or not, and its fence says which. */
TEST_F_TIMEOUT(depend, the_queue_is_destroyed_just_then, 100)
{
	for (unsigned int i = 0; i < onpu_rounds(40, 10); i++) {
		pthread_t thread;
		int well;

		ASSERT_EQ(0, gate_close(&self->gate, 0));
		ASSERT_EQ(0, jobs_start(&self->env, &self->gate, &self->jobs));
		ASSERT_EQ(0, pthread_create(&thread, NULL, open_gate, &self->gate));
		usleep(i % 20 * 20);
		ASSERT_EQ(0, onpu_env_new_queue(&self->env));
		ASSERT_EQ(0, pthread_join(thread, NULL));
		well = ran_until(&self->jobs, -ECANCELED);
		ASSERT_LE(0, well);
		/* What was cancelled may have got that far. */
		EXPECT_LE(well, ran(&self->jobs));
		ASSERT_EQ(0, onpu_run_one(&self->env, pkt_nop()));
		gate_fini(&self->gate);
	}
	onpu_env_fini(&self->env);
}

/* ---- files and processes that go ------------------------------------------------------------ */

/* The file does not wait for ever for what somebody else's job holds up. */
TEST_F_TIMEOUT(depend, the_file_is_closed, 60)
{
	ASSERT_EQ(0, gate_close(&self->gate, 0));
	ASSERT_EQ(0, jobs_start(&self->env, &self->gate, &self->jobs));
	onpu_env_fini(&self->env);
	gate_open(&self->gate);
	EXPECT_EQ(0, others(&self->jobs, -ECANCELED));
	gate_fini(&self->gate);
}

TEST_F_TIMEOUT(depend, the_process_is_killed, 60)
{
	int pipes[2], status;
	char byte;
	pid_t pid;

	ASSERT_EQ(0, gate_close(&self->gate, 0));
	ASSERT_EQ(0, pipe(pipes));
	pid = fork();
	if (!pid) {
		struct onpu_env env;

		if (onpu_env_init(&env) || jobs_start(&env, &self->gate, &self->jobs) ||
		    write(pipes[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	ASSERT_EQ(1, read(pipes[0], &byte, 1));
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_nop()));
	gate_fini(&self->gate);
	onpu_env_fini(&self->env);
}

/* ---- cards that are reset, or go ------------------------------------------------------------ */

/* The gate is another card's, which has nothing to do with it. */
#define OTHER_CARD() do {								\
		int error = gate_close(&self->gate, 1);					\
											\
		if (error == -ENODEV) {							\
			onpu_env_fini(&self->env);					\
			SKIP(return, "needs two cards");				\
		}									\
		ASSERT_EQ(0, error);							\
	} while (0)

/* A queue that had nothing on the card goes on; one that had is dead, with all that waits in it. */
TEST_F_TIMEOUT(depend, the_card_is_reset, 60)
{
	for (int busy = 0; busy < 2; busy++) {
		OTHER_CARD();
		if (busy) {
			onpu_add(&self->env, pkt_wait(self->env.cmd.va + 64 * 501, ONPU_WAIT_EQ, 1));
			ASSERT_EQ(0, onpu_start(&self->env, 0, self->env.sync));
		}
		ASSERT_EQ(0, jobs_start(&self->env, &self->gate, &self->jobs));
		ASSERT_EQ(0, onpu_write_file(self->reset, "1"));
		EXPECT_EQ(busy ? DEAD(INNOCENT) : 0, flags_of(&self->env));
		gate_open(&self->gate);
		EXPECT_EQ(0, others(&self->jobs, busy ? -ECANCELED : 1));
		EXPECT_EQ(busy ? 0 : JOBS, ran(&self->jobs));
		gate_fini(&self->gate);
	}
	onpu_env_fini(&self->env);
}

TEST_F_TIMEOUT(depend, the_card_goes, 60)
{
	for (int late = 0; late < 2; late++) {
		OTHER_CARD();
		ASSERT_EQ(0, jobs_start(&self->env, &self->gate, &self->jobs));
		ASSERT_EQ(0, onpu_write_file(SYS_DRIVER "unbind", self->name));
		EXPECT_EQ(-ENODEV, onpu_submit(self->env.fd, self->env.queue, self->env.cmd.va, 1, 0, 0));
		/* Its file may go before them. */
		if (late)
			onpu_env_fini(&self->env);
		gate_open(&self->gate);
		EXPECT_EQ(0, others(&self->jobs, -ENODEV));
		gate_fini(&self->gate);
		if (!late)
			onpu_env_fini(&self->env);
		ASSERT_EQ(0, onpu_write_file(SYS_DRIVER "bind", self->name));
		if (!late)
			ASSERT_EQ(0, onpu_env_init(&self->env));
	}
}

/* And at the same moment. */
TEST_F_TIMEOUT(depend, the_card_goes_just_then, 100)
{
	onpu_env_fini(&self->env);
	for (unsigned int i = 0; i < onpu_rounds(12, 4); i++) {
		pthread_t thread;

		ASSERT_EQ(0, onpu_env_init(&self->env));
		OTHER_CARD();
		ASSERT_EQ(0, jobs_start(&self->env, &self->gate, &self->jobs));
		ASSERT_EQ(0, pthread_create(&thread, NULL, open_gate, &self->gate));
		usleep(i * 50);
		ASSERT_EQ(0, onpu_write_file(SYS_DRIVER "unbind", self->name));
		ASSERT_EQ(0, pthread_join(thread, NULL));
		EXPECT_LE(0, ran_until(&self->jobs, -ENODEV));
		gate_fini(&self->gate);
		onpu_env_fini(&self->env);
		ASSERT_EQ(0, onpu_write_file(SYS_DRIVER "bind", self->name));
	}
}

TEST_HARNESS_MAIN

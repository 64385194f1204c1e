// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ends of things: processes killed with jobs in flight, the module unloaded, the driver
 * unbound under open files, the function reset. After each, what is left works and
 * memory is as before.
 */
#include "kselftest_harness.h"

#include <signal.h>
#include <sys/wait.h>

#include "onpu_kselftest.h"

#define SYS_DRIVER "/sys/bus/pci/drivers/onpu/"

/* A file, an address space and a queue work from end to end. */
static int try_card(void)
{
	struct onpu_env env;
	int ret = onpu_env_init(&env);

	if (ret)
		return ret;
	onpu_add(&env, pkt_signal(env.cmd.va + 6400, 0x77));
	ret = onpu_run(&env);
	if (!ret && *(volatile uint64_t *)&env.packets[100] != 0x77)
		ret = -EIO;
	onpu_env_fini(&env);
	return ret;
}

/* The same once udev or devtmpfs has made the node again. */
static int try_card_soon(void)
{
	int ret = -ENODEV;

	for (int i = 0; i < 100 && ret == -ENODEV; i++) {
		ret = try_card();
		if (ret == -ENODEV)
			usleep(50000);
	}
	return ret;
}

static int run(const char *command)
{
	int status = system(command);

	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/*
 * What a process leaves behind is freed by workers, and until then the module counts as used:
 * a moment, not for ever.
 */
static int unload(void)
{
	int64_t end = onpu_now() + 5000000000ll;
	int ret;

	do {
		ret = run("rmmod onpu 2>/dev/null");
		if (ret)
			usleep(10000);
	} while (ret && onpu_now() < end);
	return ret;
}

/* The name of the first card's PCI function. */
static int card_name(char *name, size_t size)
{
	int fd = onpu_open(), ret;

	if (fd < 0)
		return fd;
	ret = onpu_bus_name(fd, name, size);
	close(fd);
	return ret;
}

FIXTURE(life)
{
	struct drm_onpu_query_memory before;
	char name[64], reset[600];
};

FIXTURE_SETUP(life)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	close(fd);
	ASSERT_EQ(0, card_name(self->name, sizeof(self->name)));
	snprintf(self->reset, sizeof(self->reset), "/sys/bus/pci/devices/%s/reset", self->name);
}

FIXTURE_TEARDOWN(life)
{
	EXPECT_EQ(0, try_card_soon());
	onpu_unmap_all();
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

/* fork(): the child writes a byte to @tell, which the parent reads from @ready. */
static pid_t fork_that_tells(int *ready, int *tell)
{
	int pipes[2];
	pid_t pid;

	if (pipe(pipes))
		return -1;
	*ready = pipes[0];
	*tell = pipes[1];
	pid = fork();
	if (pid)
		close(*tell);
	return pid;
}

/* A child that has much in flight when it says so; @hang: for ever. */
static pid_t start_victim(bool hang, int *ready)
{
	struct onpu_buf buf;
	struct onpu_env env;
	uint32_t queue;
	int tell;
	pid_t pid = fork_that_tells(ready, &tell);

	if (pid)
		return pid;
	if (onpu_env_init(&env) || onpu_buf_new(&env, MIB(32), DRM_ONPU_BO_VRAM, &buf))
		_exit(1);
	for (uint32_t i = 0; i < 64; i++)
		env.packets[i] = pkt_copy(buf.va + MIB(16), buf.va, MIB(16));
	env.packets[64] = pkt_wait(buf.va, ONPU_WAIT_EQ, 1);
	for (int i = 0; i < 3; i++) {
		if (onpu_queue_create(env.fd, env.vm, DRM_ONPU_PRIORITY_MEDIUM, &queue))
			_exit(2);
		for (int j = 0; j < 20; j++)
			if (onpu_submit(env.fd, queue, env.cmd.va + (hang ? 64 * 64 : 0),
					hang ? 1 : 64, 0, env.sync))
				_exit(3);
	}
	if (write(tell, "x", 1) != 1)
		_exit(4);
	pause();
	_exit(5);
}

TEST_F_TIMEOUT(life, kill_9_in_flight, 100)
{
	struct onpu_env env;
	struct onpu_buf buf;
	uint32_t value = 0;
	char byte;

	ASSERT_EQ(0, onpu_env_init(&env));
	ASSERT_EQ(0, onpu_buf_new(&env, PAGE, DRM_ONPU_BO_VRAM, &buf));
	for (unsigned int round = 0; round < onpu_rounds(8, 2); round++) {
		int ready = -1, status;
		pid_t pid = start_victim(round & 1, &ready);

		ASSERT_GT(pid, 0);
		ASSERT_EQ(1, read(ready, &byte, 1));
		close(ready);
		usleep(5000u * round);
		kill(pid, SIGKILL);
		/* This process goes on computing while the other one is cleared away. */
		for (int i = 0; i < 10; i++) {
			value++;
			onpu_add(&env, pkt_fill(buf.va, PAGE, value));
			ASSERT_EQ(0, onpu_run(&env));
			ASSERT_EQ(value, ((volatile uint32_t *)buf.cpu)[1023]);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
	}
	onpu_env_fini(&env);
}

TEST_F_TIMEOUT(life, the_module_stays_while_a_file_is_open, 60)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	EXPECT_NE(0, run("rmmod onpu 2>/dev/null"));
	EXPECT_GT(onpu_memory(fd).vram_size, 0);
	close(fd);
}

TEST_F_TIMEOUT(life, unload_and_load_many_times, 120)
{
	for (unsigned int i = 0; i < onpu_rounds(20, 3); i++) {
		ASSERT_EQ(0, unload()) {
			TH_LOG("round %u", i);
		}
		ASSERT_EQ(-ENODEV, onpu_open());
		ASSERT_EQ(0, run("modprobe onpu")) {
			TH_LOG("round %u", i);
		}
		ASSERT_EQ(0, try_card_soon()) {
			TH_LOG("round %u", i);
		}
	}
}

TEST_F_TIMEOUT(life, unload_right_after_a_kill, 60)
{
	for (unsigned int i = 0; i < onpu_rounds(3, 2); i++) {
		int ready = -1, status;
		pid_t pid = start_victim(i & 1, &ready);
		char byte;

		ASSERT_GT(pid, 0);
		ASSERT_EQ(1, read(ready, &byte, 1));
		close(ready);
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_EQ(0, unload());
		ASSERT_EQ(0, run("modprobe onpu"));
		ASSERT_EQ(0, try_card_soon());
	}
}

TEST_F_TIMEOUT(life, unbind_and_bind, 100)
{
	for (unsigned int i = 0; i < onpu_rounds(5, 2); i++) {
		ASSERT_EQ(0, onpu_write_file(SYS_DRIVER "unbind", self->name));
		ASSERT_EQ(0, onpu_write_file(SYS_DRIVER "bind", self->name));
		ASSERT_EQ(0, try_card_soon());
	}
}

/* A child whose job never ends and uses much system memory. */
static pid_t start_hoarder(int *ready)
{
	struct onpu_env env;
	int tell;
	pid_t pid = fork_that_tells(ready, &tell);

	if (pid)
		return pid;
	if (onpu_env_init(&env))
		_exit(1);
	for (uint64_t i = 0; i < 300; i++) {
		uint32_t handle;

		if (onpu_bo_create(env.fd, KIB(64), DRM_ONPU_BO_SYSTEM, 0, &handle) ||
		    onpu_map(env.fd, env.vm, handle, 0, MIB(1024) + i * KIB(64), KIB(64), 0))
			_exit(2);
	}
	env.packets[0] = pkt_wait(MIB(1024), ONPU_WAIT_EQ, 1);
	if (onpu_submit(env.fd, env.queue, env.cmd.va, 1, 0, env.sync) ||
	    write(tell, "x", 1) != 1)
		_exit(3);
	pause();
	_exit(4);
}

/* Its memory is being freed while the DMA mappings of all that there is are taken away. */
TEST_F_TIMEOUT(life, unbind_right_after_a_kill, 100)
{
	for (unsigned int i = 0; i < onpu_rounds(12, 6); i++) {
		int ready = -1, status;
		pid_t pid = start_hoarder(&ready);
		char byte;

		ASSERT_GT(pid, 0);
		ASSERT_EQ(1, read(ready, &byte, 1));
		close(ready);
		kill(pid, SIGKILL);
		if (i & 1) {
			ASSERT_EQ(pid, waitpid(pid, &status, 0));
		}
		ASSERT_EQ(0, onpu_write_file(SYS_DRIVER "unbind", self->name));
		if (!(i & 1)) {
			ASSERT_EQ(pid, waitpid(pid, &status, 0));
		}
		EXPECT_TRUE(WIFSIGNALED(status));
		ASSERT_EQ(0, onpu_write_file(SYS_DRIVER "bind", self->name));
		ASSERT_EQ(0, try_card_soon());
	}
}

static int any_ioctl(struct onpu_env *env, int which)
{
	struct drm_onpu_query_device device;
	struct drm_onpu_queue_get_state state;
	uint32_t id;

	switch (which) {
	case 0: return onpu_query(env->fd, DRM_ONPU_QUERY_DEVICE, &device, sizeof(device));
	case 1: return onpu_bo_create(env->fd, PAGE, DRM_ONPU_BO_VRAM, 0, &id);
	case 2: return onpu_vm_create(env->fd, &id);
	case 3: return onpu_map(env->fd, env->vm, env->cmd.handle, 0, MIB(1), PAGE, 0);
	case 4: return onpu_queue_create(env->fd, env->vm, DRM_ONPU_PRIORITY_LOW, &id);
	case 5: return onpu_submit(env->fd, env->queue, env->cmd.va, 1, 0, 0);
	default: return onpu_queue_state(env->fd, env->queue, &state);
	}
}

TEST_F_TIMEOUT(life, unbind_under_an_open_file, 100)
{
	for (unsigned int round = 0; round < onpu_rounds(4, 2); round++) {
		volatile uint64_t *words;
		struct sync_fence_info info;
		struct onpu_env env;
		struct onpu_buf system;
		int file;

		ASSERT_EQ(0, onpu_env_init(&env));
		ASSERT_EQ(0, onpu_buf_new(&env, KIB(64), DRM_ONPU_BO_SYSTEM, &system));
		words = (void *)&env.packets[500];
		/* A job that never ends, and one behind it. */
		onpu_add(&env, pkt_wait(env.cmd.va + 64 * 500, ONPU_WAIT_EQ, 1));
		ASSERT_EQ(0, onpu_start(&env, 0, env.sync));
		ASSERT_EQ(0, onpu_submit(env.fd, env.queue, env.cmd.va, 1, 0, env.sync));
		file = onpu_sync_to_file(env.fd, env.sync);
		ASSERT_GE(file, 0);
		ASSERT_EQ(0, onpu_write_file(SYS_DRIVER "unbind", self->name));
		/* Its jobs have ended with an error. */
		for (int i = 0; i < 200 && !onpu_file_status(file, &info); i++)
			usleep(10000);
		EXPECT_GT(0, onpu_file_status(file, &info));
		for (int i = 0; i < 7; i++) {
			EXPECT_EQ(-ENODEV, any_ioctl(&env, i)) {
				TH_LOG("call %d", i);
			}
		}
		/* Mapped memory does not kill who touches it. */
		words[0] = 1;
		(void)words[0];
		memset(system.cpu, 1, system.size);
		onpu_bo_unmap(system.cpu, system.size);
		if (round & 1) {
			/* The card comes back while the old file is open. */
			ASSERT_EQ(0, onpu_write_file(SYS_DRIVER "bind", self->name));
			ASSERT_EQ(0, try_card_soon());
			EXPECT_EQ(-ENODEV, any_ioctl(&env, 0));
			onpu_env_fini(&env);
		} else {
			onpu_env_fini(&env);
			ASSERT_EQ(0, onpu_write_file(SYS_DRIVER "bind", self->name));
			ASSERT_EQ(0, try_card_soon());
		}
		EXPECT_GT(0, onpu_file_status(file, &info));
		close(file);
	}
}

TEST_F_TIMEOUT(life, sync_files_outlive_the_module, 60)
{
	struct sync_fence_info info;
	struct onpu_env env;
	int file;

	ASSERT_EQ(0, onpu_env_init(&env));
	ASSERT_EQ(0, onpu_run_one(&env, pkt_nop()));
	file = onpu_sync_to_file(env.fd, env.sync);
	ASSERT_GE(file, 0);
	onpu_env_fini(&env);
	/* Either the file keeps the module, or it does not need it. */
	if (!run("rmmod onpu 2>/dev/null")) {
		EXPECT_EQ(1, onpu_file_status(file, &info));
		close(file);
		ASSERT_EQ(0, run("modprobe onpu"));
	} else {
		EXPECT_EQ(1, onpu_file_status(file, &info));
		close(file);
	}
}

TEST_F_TIMEOUT(life, reset_of_an_idle_function, 60)
{
	struct onpu_env env;
	uint32_t generation;

	ASSERT_EQ(0, onpu_env_init(&env));
	generation = onpu_device(env.fd).generation;
	for (int i = 0; i < 5; i++) {
		env.packets[200 + i] = pkt_op((uint8_t)(100 + i));
		ASSERT_EQ(0, onpu_write_file(self->reset, "1"));
		EXPECT_GT(onpu_device(env.fd).generation, generation);
		generation = onpu_device(env.fd).generation;
		/* Idle queues survive, and so does what is in card memory. */
		EXPECT_EQ(100 + i, env.packets[200 + i].opcode);
		ASSERT_EQ(0, onpu_run_one(&env, pkt_nop()));
		ASSERT_EQ(0, try_card());
	}
	onpu_env_fini(&env);
}

TEST_F_TIMEOUT(life, reset_with_jobs_in_flight, 100)
{
	struct drm_onpu_queue_get_state state;
	struct onpu_env env, idle;

	ASSERT_EQ(0, onpu_env_init(&idle));
	for (int i = 0; i < 4; i++) {
		volatile uint64_t *started;
		int64_t end = onpu_now() + WAIT_NS;

		ASSERT_EQ(0, onpu_env_init(&env));
		/* A job that the scheduler has not given to the card yet would survive. */
		started = (void *)&env.packets[600];
		onpu_add(&env, pkt_signal(env.cmd.va + 64 * 600, 1));
		onpu_add(&env, pkt_wait(env.cmd.va + 64 * 500, ONPU_WAIT_EQ, 1));
		ASSERT_EQ(0, onpu_start(&env, 0, env.sync));
		while (*started != 1 && onpu_now() < end)
			usleep(1000);
		ASSERT_EQ(1, *started);
		ASSERT_EQ(0, onpu_write_file(self->reset, "1"));
		ASSERT_EQ(0, onpu_sync_wait(env.fd, env.sync));
		EXPECT_EQ(-ECANCELED, onpu_sync_status(env.fd, env.sync));
		ASSERT_EQ(0, onpu_queue_state(env.fd, env.queue, &state));
		EXPECT_EQ(DRM_ONPU_QUEUE_DEAD | DRM_ONPU_QUEUE_INNOCENT, state.flags);
		EXPECT_EQ(-ECANCELED, onpu_submit(env.fd, env.queue, env.cmd.va, 1, 0, 0));
		ASSERT_EQ(0, onpu_env_new_queue(&env));
		EXPECT_EQ(0, onpu_run_one(&env, pkt_nop()));
		EXPECT_EQ(0, onpu_run_one(&idle, pkt_nop()));
		onpu_env_fini(&env);
	}
	onpu_env_fini(&idle);
}

/* While the function is reset nobody reaches card memory; who has it mapped must not notice. */
TEST_F_TIMEOUT(life, mapped_memory_during_resets, 100)
{
	int64_t end = onpu_now() + 4000000000ll;
	int status;
	pid_t pid = fork();

	if (!pid) {
		volatile uint64_t *words;
		struct onpu_env env;
		struct onpu_buf buf;
		uint64_t value = 0;

		if (onpu_env_init(&env) || onpu_buf_new(&env, MIB(1), DRM_ONPU_BO_VRAM, &buf))
			_exit(1);
		words = buf.cpu;
		while (onpu_now() < end) {
			for (uint64_t i = 0; i < MIB(1) / 8; i += 61) {
				words[i] = ++value;
				if (words[i] != value)
					_exit(2);
			}
			for (uint64_t i = 0; i < MIB(1) / 8; i += 61)
				if (words[i] + (MIB(1) / 8 - 1 - i) / 61 != value)
					_exit(3);
		}
		_exit(0);
	}
	while (onpu_now() < end) {
		EXPECT_EQ(0, onpu_write_file(self->reset, "1"));
		usleep(20000);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* A process works with the card without pause; resets may cancel its jobs, no more. */
TEST_F_TIMEOUT(life, reset_under_load, 100)
{
	int64_t end = onpu_now() + 4000000000ll;
	pid_t pids[2];
	int status;

	for (int i = 0; i < 2; i++) {
		pids[i] = fork();
		if (!pids[i]) {
			struct onpu_env env;
			int ret;

			while (onpu_now() < end) {
				if (onpu_env_init(&env))
					_exit(1);
				for (int j = 0; j < 20; j++) {
					onpu_add(&env, pkt_copy(env.cmd.va + KIB(32), env.cmd.va, 8192));
					ret = onpu_run(&env);
					if (ret && ret != -ECANCELED) {
						struct drm_onpu_queue_get_state state;

						onpu_queue_state(env.fd, env.queue, &state);
						fprintf(stderr, "# job: %d, queue: flags %x error %u fault %x at %llx\n",
							ret, state.flags, state.error, state.fault_info,
							(unsigned long long)state.fault_va);
						_exit(2);
					}
					if (ret && onpu_env_new_queue(&env))
						_exit(3);
				}
				onpu_env_fini(&env);
			}
			_exit(0);
		}
	}
	while (onpu_now() < end) {
		EXPECT_EQ(0, onpu_write_file(self->reset, "1"));
		usleep(100000);
	}
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(pids[i], waitpid(pids[i], &status, 0));
		EXPECT_EQ(0, status);
	}
}

TEST_HARNESS_MAIN

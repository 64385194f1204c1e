// SPDX-License-Identifier: GPL-2.0-only
/*
 * More memory than the card has: buffer objects are evicted to system memory and come back,
 * with their content, whoever uses them, and nobody sees what others left.
 */
#include "kselftest_harness.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "onpu_kselftest.h"

#define BOTH (DRM_ONPU_BO_VRAM | DRM_ONPU_BO_SYSTEM)

/* Objects are so large that a few of them fill the card. */
#define FEW 8

FIXTURE(evict)
{
	struct onpu_env env;
	struct drm_onpu_query_memory before;
	uint64_t size;
};

FIXTURE_SETUP(evict)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	ASSERT_EQ(0, onpu_env_on(&self->env, fd));
	/* FEW do not fit, FEW - 2 do. */
	self->size = self->before.vram_size / (FEW - 1) / MIB(2) * MIB(2);
}

FIXTURE_TEARDOWN(evict)
{
	onpu_env_fini(&self->env);
	onpu_unmap_all();
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

/* One word of each page tells whose it is. */
static void sign(volatile uint64_t *data, uint64_t size, uint64_t who)
{
	for (uint64_t i = 0; i < size / PAGE; i++)
		data[i * PAGE / 8 + i % 512] = who << 32 | i;
}

static bool is_signed(const volatile uint64_t *data, uint64_t size, uint64_t who)
{
	for (uint64_t i = 0; i < size / PAGE; i++)
		if (data[i * PAGE / 8 + i % 512] != (who << 32 | i))
			return false;
	return true;
}

static bool is_zero(const uint64_t *data, uint64_t size)
{
	for (uint64_t i = 0; i < size / 8; i++)
		if (data[i])
			return false;
	return true;
}

/* Card memory that the CPU has looked at: evicted or not, its content is what was written. */
TEST_F_TIMEOUT(evict, content_survives_for_the_cpu, 120)
{
	uint32_t handles[FEW];
	uint64_t *data[FEW];

	for (int i = 0; i < FEW; i++) {
		ASSERT_EQ(0, onpu_bo_create(self->env.fd, self->size, DRM_ONPU_BO_VRAM, 0,
					    &handles[i]));
		data[i] = onpu_bo_map(self->env.fd, handles[i], self->size);
		ASSERT_NE(NULL, data[i]);
		sign(data[i], self->size, i + 1);
	}
	/* What did not fit is in system memory. */
	EXPECT_GT(onpu_memory(self->env.fd).system_used, self->before.system_used);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < FEW; i++) {
			EXPECT_TRUE(is_signed(data[i], self->size, i + 1));
		}
	}
}

/* Each job brings back what it needs. */
TEST_F_TIMEOUT(evict, content_survives_for_jobs, 240)
{
	struct onpu_env env[FEW];
	struct onpu_buf buf[FEW], out;

	ASSERT_EQ(0, onpu_buf_new(&self->env, PAGE, DRM_ONPU_BO_SYSTEM, &out));
	for (int i = 0; i < FEW; i++) {
		ASSERT_EQ(0, onpu_env_init(&env[i]));
		ASSERT_EQ(0, onpu_buf_new(&env[i], self->size, DRM_ONPU_BO_VRAM, &buf[i]));
		ASSERT_EQ(0, onpu_run_one(&env[i], pkt_fill(buf[i].va, self->size, 0x1000 + i)));
	}
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < FEW; i++) {
			uint64_t half = self->size / 2;

			/* The card moves the content around, the CPU looks at it in between. */
			onpu_add(&env[i], pkt_fill(buf[i].va, 64, 0x2000 + round * 16 + i));
			ASSERT_EQ(0, onpu_run(&env[i]));
			onpu_add(&env[i], pkt_copy(buf[i].va + half, buf[i].va, half));
			ASSERT_EQ(0, onpu_run(&env[i]));
		}
		for (int i = 0; i < FEW; i++) {
			volatile uint32_t *data = buf[i].cpu;

			EXPECT_EQ(0x2000 + round * 16 + i, data[0]);
			EXPECT_EQ(0x2000 + round * 16 + i, data[self->size / 8]);
			EXPECT_EQ(0x1000 + i, data[self->size / 4 - 1]);
		}
	}
	for (int i = 0; i < FEW; i++)
		onpu_env_fini(&env[i]);
}

/* Jobs that are in flight when their memory is wanted finish first. */
TEST_F_TIMEOUT(evict, jobs_in_flight_are_not_disturbed, 240)
{
	struct onpu_env busy;
	struct onpu_buf buf;
	uint32_t handles[FEW];

	ASSERT_EQ(0, onpu_env_init(&busy));
	ASSERT_EQ(0, onpu_buf_new(&busy, self->size, DRM_ONPU_BO_VRAM, &buf));
	for (int round = 0; round < 4; round++) {
		uint32_t sync = onpu_sync_create(busy.fd, false);
		int count = 0;

		for (int i = 0; i < 16; i++)
			onpu_add(&busy, pkt_fill(buf.va, self->size, 0x3000 + round));
		ASSERT_EQ(0, onpu_start(&busy, 0, sync));
		while (count < FEW && !onpu_bo_create(self->env.fd, self->size, DRM_ONPU_BO_VRAM, 0,
						      &handles[count]))
			count++;
		EXPECT_EQ(FEW, count);
		EXPECT_EQ(0, onpu_sync_wait(busy.fd, sync));
		EXPECT_EQ(1, onpu_sync_status(busy.fd, sync));
		for (uint64_t at = 0; at < self->size / 4; at += 1000) {
			ASSERT_EQ(0x3000 + round, ((volatile uint32_t *)buf.cpu)[at]);
		}
		while (count)
			EXPECT_EQ(0, onpu_bo_close(self->env.fd, handles[--count]));
	}
	onpu_env_fini(&busy);
}

/* One that wants all that a job holds: memory of its own, and then a job there. */
struct hungry {
	struct onpu_env env;
	uint64_t size;
	int error;
	atomic_bool done;
};

static void *want_room(void *arg)
{
	struct hungry *hungry = arg;
	uint32_t handle = 0;

	for (int i = 0; i < FEW / 2 && !hungry->error; i++)
		hungry->error = onpu_bo_create(hungry->env.fd, hungry->size, DRM_ONPU_BO_VRAM,
					       hungry->env.vm, &handle);
	if (!hungry->error)
		hungry->error = onpu_map(hungry->env.fd, hungry->env.vm, handle, 0, 1ull << 40,
					 hungry->size, 0);
	onpu_add(&hungry->env, pkt_fill(1ull << 40, hungry->size, 0x600d));
	if (!hungry->error)
		hungry->error = onpu_run(&hungry->env);
	hungry->done = true;
	return NULL;
}

/*
 * A job has nearly all of the card's memory and does not end. Who wants that memory waits for it; who
 * has what he needs does not, whatever he does with it.
 */
TEST_F_TIMEOUT(evict, others_go_on_meanwhile, 120)
{
	int timeout = onpu_set_timeout(100000);
	struct onpu_buf buf[FEW - 2], word, own;
	struct hungry hungry = { .size = self->size };
	struct onpu_env holder, other;
	pthread_t thread;
	uint32_t sync;

	ASSERT_GT(timeout, 0);
	ASSERT_EQ(0, onpu_env_init(&holder));
	ASSERT_EQ(0, onpu_env_init(&other));
	ASSERT_EQ(0, onpu_env_init(&hungry.env));
	ASSERT_EQ(0, onpu_buf_new(&holder, PAGE, DRM_ONPU_BO_SYSTEM, &word));
	for (int i = 0; i < FEW - 2; i++)
		ASSERT_EQ(0, onpu_buf_new(&holder, self->size, DRM_ONPU_BO_VRAM, &buf[i]));
	ASSERT_EQ(0, onpu_buf_new(&other, KIB(64), DRM_ONPU_BO_VRAM, &own));
	sync = onpu_sync_create(holder.fd, false);
	onpu_add(&holder, pkt_wait(word.va, ONPU_WAIT_EQ, 1));
	ASSERT_EQ(0, onpu_start(&holder, 0, sync));
	ASSERT_EQ(0, pthread_create(&thread, NULL, want_room, &hungry));
	usleep(200000);

	for (uint32_t i = 0; i < 20; i++) {
		uint32_t handle;

		ASSERT_EQ(0, onpu_run_one(&other, pkt_fill(own.va, KIB(64), 0x7000 + i)));
		EXPECT_EQ(0x7000 + i, ((volatile uint32_t *)own.cpu)[KIB(64) / 4 - 1]);
		ASSERT_EQ(0, onpu_bo_create(other.fd, KIB(64), DRM_ONPU_BO_SYSTEM, 0, &handle));
		ASSERT_EQ(0, onpu_map(other.fd, other.vm, handle, 0, 1ull << 40, KIB(64), 0));
		ASSERT_EQ(0, onpu_run_one(&other, pkt_copy(1ull << 40, own.va, KIB(64))));
		ASSERT_EQ(0, onpu_unmap(other.fd, other.vm, 1ull << 40, KIB(64)));
		ASSERT_EQ(0, onpu_bo_close(other.fd, handle));
	}
	EXPECT_EQ(-ETIME, onpu_sync_wait_for(holder.fd, sync, 0));
	EXPECT_FALSE(atomic_load(&hungry.done));

	*(volatile uint32_t *)word.cpu = 1;
	ASSERT_EQ(0, onpu_sync_wait(holder.fd, sync));
	EXPECT_EQ(1, onpu_sync_status(holder.fd, sync));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, hungry.error);
	onpu_set_timeout((unsigned int)timeout);
	onpu_env_fini(&holder);
	onpu_env_fini(&other);
	onpu_env_fini(&hungry.env);
}

/* One address space that needs more than there is: its jobs are refused, others go on. */
TEST_F_TIMEOUT(evict, working_set_too_large, 240)
{
	struct onpu_buf buf[FEW + 1];
	struct onpu_env other;
	int count = 0, ret = 0;

	ASSERT_EQ(0, onpu_env_init(&other));
	for (; count <= FEW; count++)
		ASSERT_EQ(0, onpu_buf_new(&self->env, self->size, DRM_ONPU_BO_VRAM, &buf[count]));
	ret = onpu_run_one(&self->env, pkt_nop());
	EXPECT_EQ(-ENOMEM, ret);
	onpu_add(&other, pkt_signal(other.cmd.va + 6400, 0x99));
	EXPECT_EQ(0, onpu_run(&other));
	EXPECT_EQ(0x99, *(volatile uint64_t *)&other.packets[100]);
	/* With less mapped, it works again. */
	while (count > FEW / 2) {
		count--;
		onpu_buf_free(&self->env, &buf[count]);
	}
	self->env.count = 0;
	EXPECT_EQ(0, onpu_run_one(&self->env, pkt_fill(buf[0].va, 64, 1)));
	onpu_env_fini(&other);
}

/* What may be in both places never makes room, and is used from where it is. */
TEST_F_TIMEOUT(evict, second_choice, 240)
{
	struct onpu_buf buf[FEW + 2];

	for (int i = 0; i < FEW + 2; i++) {
		ASSERT_EQ(0, onpu_buf_new(&self->env, self->size, BOTH, &buf[i]));
		ASSERT_EQ(0, onpu_run_one(&self->env, pkt_fill(buf[i].va, self->size, 0x4000 + i)));
	}
	EXPECT_GT(onpu_memory(self->env.fd).system_used, self->before.system_used);
	for (int i = 0; i < FEW + 2; i++) {
		volatile uint32_t *data = buf[i].cpu;

		EXPECT_EQ(0x4000 + i, data[0]);
		EXPECT_EQ(0x4000 + i, data[self->size / 4 - 1]);
	}
}

/* Fresh memory is zero although what was there has only just been moved away. */
TEST_F_TIMEOUT(evict, fresh_memory_is_zero, 240)
{
	struct onpu_env *env = &self->env;
	uint32_t handle;
	uint64_t *data;

	for (int i = 0; i < FEW * 2; i++) {
		struct onpu_buf buf;

		ASSERT_EQ(0, onpu_bo_create(env->fd, self->size, DRM_ONPU_BO_VRAM, 0, &handle));
		data = onpu_bo_map(env->fd, handle, self->size);
		ASSERT_NE(NULL, data);
		ASSERT_TRUE(is_zero(data, self->size));
		memset(data, 0xa5, self->size);
		onpu_bo_unmap(data, self->size);
		/* Most of them stay, so that what comes next needs somebody's place. */
		if (i >= FEW)
			ASSERT_EQ(0, onpu_bo_close(env->fd, handle));
		if (i % 4)
			continue;
		/* As the card sees it. */
		ASSERT_EQ(0, onpu_buf_new(env, self->size, DRM_ONPU_BO_VRAM, &buf));
		onpu_add(env, pkt_copy(env->cmd.va + 64 * 512, buf.va + self->size - PAGE, PAGE));
		ASSERT_EQ(0, onpu_run(env));
		ASSERT_TRUE(is_zero((uint64_t *)&env->packets[512], PAGE));
		memset(&env->packets[512], 0xff, PAGE);
		onpu_buf_free(env, &buf);
	}
}

/*
 * An array of binds needs room for the tables that are missing, not for what each operation might
 * need: nobody is evicted for it although there is little room.
 */
TEST_F_TIMEOUT(evict, arrays_of_binds_need_little_room, 120)
{
	static struct drm_onpu_bind_op ops[1024];
	struct drm_onpu_vm_get_state state = { .id = self->env.vm };
	struct drm_onpu_query_memory full;
	uint32_t handles[512], own, count = 0;
	uint64_t tables;

	ASSERT_EQ(0, onpu_bo_create(self->env.fd, MIB(4), DRM_ONPU_BO_SYSTEM, self->env.vm, &own));
	ASSERT_EQ(0, onpu_ioctl(self->env.fd, DRM_IOCTL_ONPU_VM_GET_STATE, &state));
	tables = state.table_bytes;
	/* Until somebody has to go; then that much is free. */
	full = onpu_memory(self->env.fd);
	do {
		ASSERT_LT(count, 512);
		ASSERT_EQ(0, onpu_bo_create(self->env.fd, MIB(1),
					    DRM_ONPU_BO_VRAM | DRM_ONPU_BO_CPU_VISIBLE, 0,
					    &handles[count++]));
	} while (onpu_memory(self->env.fd).system_used == full.system_used);
	full = onpu_memory(self->env.fd);
	ASSERT_EQ(0, onpu_bo_close(self->env.fd, handles[--count]));
	/*
	 * It goes when it has been cleared, and the place of what was evicted when that has been copied: one
	 * of them now, the other perhaps later. So less than this may be used from now on, but not more.
	 */
	for (int i = 0; i < 6000 && onpu_memory(self->env.fd).vram_used == full.vram_used; i++)
		usleep(10000);
	full = onpu_memory(self->env.fd);

	for (uint32_t i = 0; i < 1024; i++)
		ops[i] = (struct drm_onpu_bind_op) {
			.type = DRM_ONPU_BIND_MAP, .handle = own, .bo_offset = i * PAGE,
			.va = (5ull << 40) + (i * 7 % 1024) * 2 * PAGE, .size = PAGE,
		};
	ASSERT_EQ(0, onpu_bind(self->env.fd, self->env.vm, ops, 1024, NULL));
	EXPECT_EQ(full.system_used, onpu_memory(self->env.fd).system_used);
	/* Two directories and four tables, for 8 MiB of addresses. */
	state = (struct drm_onpu_vm_get_state) { .id = self->env.vm };
	ASSERT_EQ(0, onpu_ioctl(self->env.fd, DRM_IOCTL_ONPU_VM_GET_STATE, &state));
	EXPECT_EQ(tables + 6 * PAGE, state.table_bytes);
	EXPECT_GE(full.vram_used + 6 * PAGE, onpu_memory(self->env.fd).vram_used);
	ASSERT_EQ(0, onpu_unmap(self->env.fd, self->env.vm, 5ull << 40, MIB(8)));
	EXPECT_GE(full.vram_used, onpu_memory(self->env.fd).vram_used);
	state = (struct drm_onpu_vm_get_state) { .id = self->env.vm };
	ASSERT_EQ(0, onpu_ioctl(self->env.fd, DRM_IOCTL_ONPU_VM_GET_STATE, &state));
	EXPECT_EQ(tables, state.table_bytes);
}

static void *reset_often(void *arg)
{
	char path[600], *dir = arg;

	snprintf(path, sizeof(path), "%s/reset", dir);
	for (int i = 0; i < 8; i++) {
		usleep(60000);
		if (onpu_write_file(path, "1"))
			return (void *)1;
	}
	return NULL;
}

/* Moves and clears that a reset of the function interrupts are done again. */
TEST_F_TIMEOUT(evict, resets_meanwhile, 240)
{
	uint32_t handles[FEW];
	uint64_t *data[FEW];
	pthread_t thread;
	char path[512];
	void *result;

	ASSERT_EQ(0, onpu_sysfs(self->env.fd, path, sizeof(path)));
	ASSERT_EQ(0, pthread_create(&thread, NULL, reset_often, path));
	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < FEW; i++) {
			ASSERT_EQ(0, onpu_bo_create(self->env.fd, self->size, DRM_ONPU_BO_VRAM, 0,
						    &handles[i]));
			data[i] = onpu_bo_map(self->env.fd, handles[i], self->size);
			ASSERT_NE(NULL, data[i]);
			ASSERT_TRUE(is_zero(data[i], self->size));
			sign(data[i], self->size, i + 1);
		}
		for (int i = 0; i < FEW; i++) {
			struct drm_onpu_bo_advise args = {
				.handle = handles[i], .advice = DRM_ONPU_ADVISE_PREFETCH,
			};

			EXPECT_EQ(0, onpu_ioctl(self->env.fd, DRM_IOCTL_ONPU_BO_ADVISE, &args));
			EXPECT_TRUE(is_signed(data[i], self->size, i + 1));
		}
		for (int i = 0; i < FEW; i++) {
			onpu_bo_unmap(data[i], self->size);
			ASSERT_EQ(0, onpu_bo_close(self->env.fd, handles[i]));
		}
	}
	ASSERT_EQ(0, pthread_join(thread, &result));
	EXPECT_EQ(NULL, result);
}

/* Whoever is killed in the middle of it all leaves nothing behind. */
TEST_F_TIMEOUT(evict, killed_meanwhile, 240)
{
	for (int round = 0; round < 4; round++) {
		pid_t pid = fork();
		int status;

		if (!pid) {
			uint32_t others[FEW] = { 0 };
			struct onpu_env env;
			struct onpu_buf buf;

			if (onpu_env_init(&env) ||
			    onpu_buf_new(&env, self->size, DRM_ONPU_BO_VRAM, &buf))
				_exit(1);
			env.packets[0] = pkt_fill(buf.va, self->size, 1);
			for (uint32_t i = 0;; i++) {
				if (onpu_submit(env.fd, env.queue, env.cmd.va, 1, 0, env.sync))
					_exit(2);
				if (others[i % FEW])
					onpu_bo_close(env.fd, others[i % FEW]);
				if (onpu_bo_create(env.fd, self->size, DRM_ONPU_BO_VRAM, 0,
						   &others[i % FEW]))
					_exit(3);
			}
		}
		usleep(150000 + round * 70000);
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
		EXPECT_EQ(0, onpu_run_one(&self->env, pkt_nop()));
	}
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0-only
/* fdinfo: the keys of the kernel's Documentation/gpu/drm-usage-stats.rst, and that they are true. */
#include "kselftest_harness.h"

#include "onpu_kselftest.h"

FIXTURE(fdinfo)
{
	struct onpu_env env;
	char text[4096];
};

FIXTURE_SETUP(fdinfo)
{
	ASSERT_EQ(0, onpu_env_init(&self->env));
}

FIXTURE_TEARDOWN(fdinfo)
{
	onpu_env_fini(&self->env);
}

static int read_fdinfo(int fd, char *text, size_t size)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	return onpu_read_file(path, text, size);
}

/* The value of a key as text, NULL if there is no such line. */
static const char *value(const char *text, const char *key, char *out, size_t size)
{
	const char *line = text;
	size_t length = strlen(key);

	while (line && strncmp(line, key, length)) {
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	if (!line)
		return NULL;
	line += length;
	line += strspn(line, " \t");
	snprintf(out, size, "%.*s", (int)strcspn(line, "\n"), line);
	return out;
}

/* A number of bytes; -1 without the key or with a unit that does not exist. */
static int64_t bytes(const char *text, const char *key)
{
	char out[64], *unit;
	int64_t number;

	if (!value(text, key, out, sizeof(out)))
		return -1;
	number = strtoll(out, &unit, 10);
	unit += strspn(unit, " ");
	if (!*unit)
		return number;
	return !strcmp(unit, "KiB") ? number * 1024 : !strcmp(unit, "MiB") ? number * 1048576 : -1;
}

static int64_t busy_ns(int fd, const char *key)
{
	char text[4096], out[64], *unit;
	int64_t ns;

	if (read_fdinfo(fd, text, sizeof(text)) || !value(text, key, out, sizeof(out)))
		return -1;
	ns = strtoll(out, &unit, 10);
	return strcmp(unit, " ns") ? -1 : ns;
}

TEST_F(fdinfo, identity)
{
	char out[64], path[512];
	int other = onpu_open();
	char text[4096], id[64];

	ASSERT_EQ(0, read_fdinfo(self->env.fd, self->text, sizeof(self->text)));
	ASSERT_NE(NULL, value(self->text, "drm-driver:", out, sizeof(out)));
	EXPECT_STREQ("onpu", out);
	ASSERT_NE(NULL, value(self->text, "drm-pdev:", out, sizeof(out)));
	ASSERT_EQ(0, onpu_sysfs(self->env.fd, path, sizeof(path)));
	EXPECT_STREQ(strrchr(path, '/') + 1, out);
	/* Every open file is a client of its own. */
	ASSERT_EQ(0, read_fdinfo(other, text, sizeof(text)));
	ASSERT_NE(NULL, value(self->text, "drm-client-id:", out, sizeof(out)));
	ASSERT_NE(NULL, value(text, "drm-client-id:", id, sizeof(id)));
	EXPECT_STRNE(id, out);
	close(other);
}

TEST_F(fdinfo, memory)
{
	int64_t vram, system;
	uint32_t handle, in_system;

	ASSERT_EQ(0, read_fdinfo(self->env.fd, self->text, sizeof(self->text)));
	vram = bytes(self->text, "drm-total-vram:");
	system = bytes(self->text, "drm-total-system:");
	EXPECT_GE(vram, (int64_t)self->env.cmd.size);
	EXPECT_EQ(0, system);
	ASSERT_EQ(0, onpu_bo_create(self->env.fd, MIB(3), DRM_ONPU_BO_VRAM, 0, &handle));
	ASSERT_EQ(0, onpu_bo_create(self->env.fd, MIB(5), DRM_ONPU_BO_SYSTEM, 0, &in_system));
	ASSERT_EQ(0, read_fdinfo(self->env.fd, self->text, sizeof(self->text)));
	EXPECT_EQ(vram + (int64_t)MIB(3), bytes(self->text, "drm-total-vram:"));
	EXPECT_EQ((int64_t)MIB(5), bytes(self->text, "drm-total-system:"));
	EXPECT_EQ(0, bytes(self->text, "drm-shared-vram:"));
	EXPECT_GE(bytes(self->text, "drm-resident-vram:"), (int64_t)MIB(3));
	ASSERT_EQ(0, onpu_bo_close(self->env.fd, handle));
	ASSERT_EQ(0, onpu_bo_close(self->env.fd, in_system));
	ASSERT_EQ(0, read_fdinfo(self->env.fd, self->text, sizeof(self->text)));
	EXPECT_EQ(vram, bytes(self->text, "drm-total-vram:"));
	EXPECT_EQ(0, bytes(self->text, "drm-total-system:"));
}

/* No job, and no copy of the driver's, uses memory of the file any more. */
static bool becomes_inactive(int fd)
{
	char text[4096];

	for (int i = 0; i < 1000; i++) {
		if (read_fdinfo(fd, text, sizeof(text)))
			return false;
		if (!bytes(text, "drm-active-vram:") && !bytes(text, "drm-active-system:"))
			return true;
		usleep(10000);
	}
	return false;
}

/* Memory that two files have is shared, in both; memory of a job that has not ended is active. */
TEST_F(fdinfo, shared_and_active_memory)
{
	struct onpu_env *env = &self->env;
	struct drm_prime_handle prime = { .fd = -1 };
	struct onpu_buf word, buf;
	int other = onpu_open();
	char text[4096];

	ASSERT_EQ(0, onpu_buf_new(env, PAGE, DRM_ONPU_BO_SYSTEM, &word));
	ASSERT_EQ(0, onpu_buf_new(env, MIB(3), DRM_ONPU_BO_VRAM, &buf));
	EXPECT_TRUE(becomes_inactive(env->fd));
	ASSERT_EQ(0, read_fdinfo(env->fd, self->text, sizeof(self->text)));
	EXPECT_EQ(0, bytes(self->text, "drm-shared-vram:"));

	prime.handle = buf.handle;
	ASSERT_EQ(0, onpu_ioctl(env->fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime));
	ASSERT_EQ(0, onpu_ioctl(other, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime));
	close(prime.fd);
	ASSERT_EQ(0, read_fdinfo(env->fd, self->text, sizeof(self->text)));
	EXPECT_EQ((int64_t)MIB(3), bytes(self->text, "drm-shared-vram:"));
	EXPECT_EQ(0, bytes(self->text, "drm-shared-system:"));
	ASSERT_EQ(0, read_fdinfo(other, text, sizeof(text)));
	EXPECT_EQ((int64_t)MIB(3), bytes(text, "drm-shared-vram:"));
	EXPECT_EQ((int64_t)MIB(3), bytes(text, "drm-total-vram:"));

	onpu_add(env, pkt_wait(word.va, ONPU_WAIT_EQ, 1));
	ASSERT_EQ(0, onpu_start(env, 0, env->sync));
	ASSERT_EQ(0, read_fdinfo(env->fd, self->text, sizeof(self->text)));
	EXPECT_GE(bytes(self->text, "drm-active-vram:"), (int64_t)MIB(3));
	EXPECT_EQ((int64_t)PAGE, bytes(self->text, "drm-active-system:"));
	*(volatile uint32_t *)word.cpu = 1;
	ASSERT_EQ(0, onpu_sync_wait(env->fd, env->sync));
	EXPECT_TRUE(becomes_inactive(env->fd));
	close(other);
}

TEST_F(fdinfo, engine_time_rises_with_work)
{
	static const char key[] = "drm-engine-matmul:";
	int64_t before = busy_ns(self->env.fd, key), last = before, end;
	int other = onpu_open();
	struct onpu_buf buf;

	ASSERT_EQ(0, before);
	ASSERT_EQ(0, onpu_buf_new(&self->env, MIB(16), DRM_ONPU_BO_VRAM, &buf));
	end = onpu_now() + 1000000000ll;
	while (onpu_now() < end) {
		int64_t ns;

		for (int i = 0; i < 8; i++)
			onpu_add(&self->env, pkt_copy(buf.va + MIB(8), buf.va, MIB(8)));
		ASSERT_EQ(0, onpu_start(&self->env, 0, self->env.sync));
		do {
			ns = busy_ns(self->env.fd, key);
			ASSERT_GE(ns, last);
			last = ns;
		} while (onpu_sync_wait_for(self->env.fd, self->env.sync, 1000000) == -ETIME);
	}
	EXPECT_GT(busy_ns(self->env.fd, key), before);
	/* Not longer than there was time, and nobody else's. */
	EXPECT_LT(busy_ns(self->env.fd, key), WAIT_NS);
	EXPECT_EQ(0, busy_ns(other, key));
	last = busy_ns(self->env.fd, key);
	ASSERT_EQ(0, onpu_queue_destroy(self->env.fd, self->env.queue));
	usleep(100000);
	EXPECT_GE(busy_ns(self->env.fd, key), last);
	close(other);
}

TEST_F(fdinfo, capacity_is_the_number_of_slots)
{
	char out[64];

	ASSERT_EQ(0, read_fdinfo(self->env.fd, self->text, sizeof(self->text)));
	ASSERT_NE(NULL, value(self->text, "drm-engine-capacity-matmul:", out, sizeof(out)));
	EXPECT_EQ(onpu_device(self->env.fd).slots, (uint32_t)atoi(out));
}

TEST_F(fdinfo, contexts_and_queues)
{
	int fd = self->env.fd, other = onpu_open();
	uint32_t vm, queue;

	EXPECT_EQ(0, onpu_fdinfo_number(other, "onpu-contexts"));
	EXPECT_EQ(0, onpu_fdinfo_number(other, "onpu-queues"));
	EXPECT_EQ(1, onpu_fdinfo_number(fd, "onpu-contexts"));
	EXPECT_EQ(1, onpu_fdinfo_number(fd, "onpu-queues"));
	EXPECT_EQ(0, onpu_fdinfo_number(fd, "onpu-user-queues"));
	EXPECT_EQ(0, onpu_fdinfo_number(fd, "onpu-dead-queues"));
	EXPECT_EQ(0, onpu_fdinfo_number(fd, "onpu-jobs"));
	ASSERT_EQ(0, onpu_vm_create(fd, &vm));
	ASSERT_EQ(0, onpu_queue_create(fd, vm, DRM_ONPU_PRIORITY_MEDIUM, &queue));
	EXPECT_EQ(2, onpu_fdinfo_number(fd, "onpu-contexts"));
	EXPECT_EQ(2, onpu_fdinfo_number(fd, "onpu-queues"));
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, onpu_run_one(&self->env, pkt_nop()));
	EXPECT_EQ(3, onpu_fdinfo_number(fd, "onpu-jobs"));
	ASSERT_EQ(0, onpu_queue_destroy(fd, queue));
	ASSERT_EQ(0, onpu_vm_destroy(fd, vm));
	EXPECT_EQ(1, onpu_fdinfo_number(fd, "onpu-contexts"));
	EXPECT_EQ(1, onpu_fdinfo_number(fd, "onpu-queues"));
	EXPECT_EQ(0, onpu_fdinfo_number(other, "onpu-jobs"));
	close(other);
}

TEST_F(fdinfo, who_is_guilty)
{
	int fd = self->env.fd, other = onpu_open();

	/* Nothing is mapped there. */
	EXPECT_EQ(-EFAULT, onpu_run_one(&self->env, pkt_fill(0x7000000000ull, 64, 0)));
	EXPECT_EQ(1, onpu_fdinfo_number(fd, "onpu-faults"));
	EXPECT_EQ(1, onpu_fdinfo_number(fd, "onpu-dead-queues"));
	EXPECT_EQ(0, onpu_fdinfo_number(fd, "onpu-errors"));
	ASSERT_EQ(0, onpu_env_new_queue(&self->env));
	EXPECT_EQ(0, onpu_fdinfo_number(fd, "onpu-dead-queues"));
	EXPECT_EQ(-EINVAL, onpu_run_one(&self->env, pkt_op(0xee)));
	EXPECT_EQ(1, onpu_fdinfo_number(fd, "onpu-faults"));
	EXPECT_EQ(1, onpu_fdinfo_number(fd, "onpu-errors"));
	EXPECT_EQ(0, onpu_fdinfo_number(fd, "onpu-hangs"));
	EXPECT_EQ(0, onpu_fdinfo_number(other, "onpu-faults"));
	close(other);
}

TEST_HARNESS_MAIN

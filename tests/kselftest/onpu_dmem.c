// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control groups for device memory: a card's memory is a region of the dmem controller. What a group
 * has of it is charged to the group, and one at its limit makes room at its own cost only.
 */
#include "kselftest_harness.h"

#include <sys/mount.h>
#include <sys/wait.h>

#include "onpu_kselftest.h"

#define ROOT "/tmp/dmem-of-test"
#define GROUP ROOT "/test"

#define SIZE MIB(2)
#define LIMIT MIB(8)
#define COUNT 8		/* twice as many as the limit allows */
#define BOTH (DRM_ONPU_BO_VRAM | DRM_ONPU_BO_SYSTEM)

FIXTURE(dmem)
{
	struct drm_onpu_query_memory before;
	char region[128];	/* as the controller calls it */
	int fd;
	bool mounted, inside;
};

/* Of lines "REGION VALUE" the value of one, -1 if there is none, INT64_MAX for "max". */
static int64_t value_of(const char *path, const char *region)
{
	size_t len = strlen(region);
	char text[1024];

	if (onpu_read_file(path, text, sizeof(text)))
		return -1;
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		if (!strncmp(line, region, len) && line[len] == ' ')
			return strcmp(line + len + 1, "max") ? atoll(line + len + 1) : INT64_MAX;
	return -1;
}

static int enter(const char *group)
{
	char path[128], text[32];

	snprintf(path, sizeof(path), "%s/cgroup.procs", group);
	snprintf(text, sizeof(text), "%d", getpid());
	return onpu_write_file(path, text);
}

FIXTURE_SETUP(dmem)
{
	char controllers[256], sysfs[512];

	self->fd = onpu_open();
	ASSERT_GE(self->fd, 0);
	self->before = onpu_memory(self->fd);
	ASSERT_EQ(0, onpu_sysfs(self->fd, sysfs, sizeof(sysfs)));
	snprintf(self->region, sizeof(self->region), "drm/%.60s/vram", strrchr(sysfs, '/') + 1);
	mkdir(ROOT, 0755);
	if (mount("none", ROOT, "cgroup2", 0, NULL))
		SKIP(return, "no control groups in this kernel");
	self->mounted = true;
	ASSERT_EQ(0, onpu_read_file(ROOT "/cgroup.controllers", controllers, sizeof(controllers)));
	if (!strstr(controllers, "dmem"))
		SKIP(return, "no control groups for device memory in this kernel");
	ASSERT_EQ(0, onpu_write_file(ROOT "/cgroup.subtree_control", "+dmem"));
	ASSERT_EQ(0, mkdir(GROUP, 0755));
	ASSERT_EQ(0, enter(GROUP));
	self->inside = true;
}

FIXTURE_TEARDOWN(dmem)
{
	if (self->inside)
		EXPECT_EQ(0, enter(ROOT));
	close(self->fd);
	onpu_unmap_all();
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
	/* A group that has memory of the card would stay. */
	if (self->inside)
		EXPECT_EQ(0, rmdir(GROUP));
	if (self->mounted)
		EXPECT_EQ(0, umount(ROOT));
	rmdir(ROOT);
}

static int64_t charged(const char *region)
{
	int64_t bytes = value_of(GROUP "/dmem.current", region);

	return bytes < 0 ? 0 : bytes;
}

/* Memory is given back by workers. */
static bool charge_becomes(const char *region, int64_t bytes)
{
	for (int i = 0; i < 1000 && charged(region) != bytes; i++)
		usleep(10000);
	if (charged(region) != bytes)
		fprintf(stderr, "# %lld bytes are charged, not %lld\n", (long long)charged(region),
			(long long)bytes);
	return charged(region) == bytes;
}

static int set_limit(const char *region, int64_t bytes)
{
	char text[256];

	snprintf(text, sizeof(text), "%s %lld", region, (long long)bytes);
	return onpu_write_file(GROUP "/dmem.max", text);
}

static uint32_t where(int fd, uint32_t handle)
{
	struct drm_onpu_bo_info args = { .handle = handle };

	return onpu_ioctl(fd, DRM_IOCTL_ONPU_BO_INFO, &args) ? 0 : args.region;
}

/* How many of some objects are in card memory. */
static uint32_t on_card(int fd, const uint32_t *handles, uint32_t count)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < count; i++)
		found += where(fd, handles[i]) == DRM_ONPU_REGION_VRAM;
	return found;
}

TEST_F(dmem, the_card_is_a_region)
{
	EXPECT_EQ(self->before.vram_size, value_of(ROOT "/dmem.capacity", self->region));
	EXPECT_EQ(INT64_MAX, value_of(GROUP "/dmem.max", self->region));
	EXPECT_EQ(0, charged(self->region));
}

TEST_F(dmem, what_is_on_the_card_is_charged)
{
	uint32_t handles[COUNT], system;

	for (int i = 0; i < COUNT; i++) {
		ASSERT_EQ(0, onpu_bo_create(self->fd, SIZE, DRM_ONPU_BO_VRAM, 0, &handles[i]));
		EXPECT_EQ((i + 1) * SIZE, charged(self->region));
	}
	ASSERT_EQ(0, onpu_bo_create(self->fd, SIZE, DRM_ONPU_BO_SYSTEM, 0, &system));
	EXPECT_EQ(COUNT * SIZE, charged(self->region));
	for (int i = 0; i < COUNT; i++)
		ASSERT_EQ(0, onpu_bo_close(self->fd, handles[i]));
	EXPECT_TRUE(charge_becomes(self->region, 0));
}

/* Signs what it creates, and says whether it is still so. */
static int create_signed(int fd, uint32_t *handle, volatile uint32_t **data, uint32_t who)
{
	int ret = onpu_bo_create(fd, SIZE, DRM_ONPU_BO_VRAM, 0, handle);

	if (ret)
		return ret;
	*data = onpu_bo_map(fd, *handle, SIZE);
	if (!*data)
		return -ENXIO;
	(*data)[0] = who;
	(*data)[SIZE / 4 - 1] = ~who;
	return 0;
}

/*
 * A process that is in no group: fills a part of the card, says so, and has it undisturbed until it
 * is told to look.
 */
static pid_t start_bystander(int told[2], int tells[2])
{
	uint32_t handles[COUNT];
	pid_t pid = fork();
	char byte = 0;
	int fd;

	if (pid)
		return pid;
	if (enter(ROOT))
		_exit(1);
	fd = onpu_open();
	for (int i = 0; i < COUNT; i++)
		if (onpu_bo_create(fd, SIZE, DRM_ONPU_BO_VRAM, 0, &handles[i]))
			_exit(2);
	if (write(tells[1], &byte, 1) != 1 || read(told[0], &byte, 1) != 1)
		_exit(3);
	_exit(on_card(fd, handles, COUNT) == COUNT ? 0 : 4);
}

/* One at its limit evicts its own; nobody else's, and nothing is lost. */
TEST_F_TIMEOUT(dmem, a_group_at_its_limit, 60)
{
	volatile uint32_t *data[COUNT];
	int told[2], tells[2], status;
	uint32_t handles[COUNT];
	char byte = 0;
	pid_t pid;

	ASSERT_EQ(0, pipe(told));
	ASSERT_EQ(0, pipe(tells));
	ASSERT_EQ(0, set_limit(self->region, LIMIT));
	pid = start_bystander(told, tells);
	ASSERT_GT(pid, 0);
	ASSERT_EQ(1, read(tells[0], &byte, 1));

	for (uint32_t i = 0; i < COUNT; i++) {
		ASSERT_EQ(0, create_signed(self->fd, &handles[i], &data[i], 0x1000 + i));
		EXPECT_GE(LIMIT, charged(self->region));
	}
	EXPECT_EQ(LIMIT / SIZE, on_card(self->fd, handles, COUNT));
	EXPECT_LT(self->before.system_used, onpu_memory(self->fd).system_used);
	for (uint32_t i = 0; i < COUNT; i++) {
		EXPECT_EQ(0x1000 + i, data[i][0]);
		EXPECT_EQ(~(0x1000 + i), data[i][SIZE / 4 - 1]);
	}
	EXPECT_GE(LIMIT, charged(self->region));

	ASSERT_EQ(1, write(told[1], &byte, 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* What can never fit fails, here only; what may be elsewhere is. */
TEST_F_TIMEOUT(dmem, what_is_above_the_limit, 60)
{
	uint32_t handle, other;
	int fd = onpu_open();

	ASSERT_EQ(0, set_limit(self->region, LIMIT));
	EXPECT_EQ(-ENOMEM, onpu_bo_create(self->fd, LIMIT + SIZE, DRM_ONPU_BO_VRAM, 0, &handle));
	ASSERT_EQ(0, onpu_bo_create(self->fd, LIMIT + SIZE, BOTH, 0, &handle));
	EXPECT_EQ(DRM_ONPU_REGION_SYSTEM, where(self->fd, handle));
	EXPECT_EQ(0, charged(self->region));
	ASSERT_EQ(0, onpu_bo_create(self->fd, LIMIT, DRM_ONPU_BO_VRAM, 0, &other));
	EXPECT_EQ(LIMIT, charged(self->region));
	/* The card has room. */
	ASSERT_EQ(0, enter(ROOT));
	ASSERT_EQ(0, onpu_bo_create(fd, LIMIT + SIZE, DRM_ONPU_BO_VRAM, 0, &handle));
	EXPECT_EQ(DRM_ONPU_REGION_VRAM, where(fd, handle));
	EXPECT_EQ(LIMIT, charged(self->region));
	ASSERT_EQ(0, enter(GROUP));
	close(fd);
}

/* Jobs bring back what they use, in turn, and never more than the group may have. */
TEST_F_TIMEOUT(dmem, jobs_of_a_group_at_its_limit, 100)
{
	struct onpu_env env[3];
	struct onpu_buf buf[3];

	/* Two of them with their memory fit, and all rings and commands. */
	ASSERT_EQ(0, set_limit(self->region, LIMIT + MIB(2)));
	for (uint32_t i = 0; i < 3; i++) {
		ASSERT_EQ(0, onpu_env_init(&env[i]));
		ASSERT_EQ(0, onpu_buf_new(&env[i], LIMIT / 2, DRM_ONPU_BO_VRAM, &buf[i]));
	}
	for (uint32_t round = 0; round < 4; round++) {
		for (uint32_t i = 0; i < 3; i++) {
			ASSERT_EQ(0, onpu_run_one(&env[i], pkt_fill(buf[i].va, LIMIT / 2,
								    0x2000 + round * 4 + i)));
			EXPECT_GE(LIMIT + MIB(2), charged(self->region));
		}
		for (uint32_t i = 0; i < 3; i++) {
			volatile uint32_t *data = buf[i].cpu;

			EXPECT_EQ(0x2000 + round * 4 + i, data[0]);
			EXPECT_EQ(0x2000 + round * 4 + i, data[LIMIT / 8 - 1]);
		}
	}
	for (uint32_t i = 0; i < 3; i++)
		onpu_env_fini(&env[i]);
}

/* A job that needs more than its group may have fails, and the next one does not. */
TEST_F_TIMEOUT(dmem, a_job_above_the_limit, 60)
{
	struct onpu_buf buf[3];
	struct onpu_env env;

	ASSERT_EQ(0, set_limit(self->region, LIMIT));
	ASSERT_EQ(0, onpu_env_init(&env));
	for (uint32_t i = 0; i < 3; i++)
		ASSERT_EQ(0, onpu_buf_new(&env, LIMIT / 2 - MIB(1), DRM_ONPU_BO_VRAM, &buf[i]));
	EXPECT_EQ(-ENOMEM, onpu_run_one(&env, pkt_nop()));
	EXPECT_GE(LIMIT, charged(self->region));
	onpu_buf_free(&env, &buf[2]);
	EXPECT_EQ(0, onpu_run_one(&env, pkt_fill(buf[0].va, SIZE, 0x55)));
	EXPECT_EQ(0x55, ((volatile uint32_t *)buf[0].cpu)[0]);
	onpu_env_fini(&env);
}

/* Where the kernel asks the driver to make room, and else with what comes next. */
TEST_F_TIMEOUT(dmem, a_limit_that_falls, 60)
{
	volatile uint32_t *data[COUNT], *more;
	uint32_t handles[COUNT], handle;

	for (uint32_t i = 0; i < COUNT; i++)
		ASSERT_EQ(0, create_signed(self->fd, &handles[i], &data[i], 0x3000 + i));
	EXPECT_EQ(COUNT * SIZE, charged(self->region));
	ASSERT_EQ(0, set_limit(self->region, LIMIT));
	TH_LOG("%lld of %llu KiB are left on the card", (long long)charged(self->region) >> 10,
	       (unsigned long long)COUNT * SIZE >> 10);
	ASSERT_EQ(0, create_signed(self->fd, &handle, &more, 0x4000));
	EXPECT_GE(LIMIT, charged(self->region));
	for (uint32_t i = 0; i < COUNT; i++) {
		EXPECT_EQ(0x3000 + i, data[i][0]);
		EXPECT_EQ(~(0x3000 + i), data[i][SIZE / 4 - 1]);
	}
	EXPECT_EQ(0x4000, more[0]);
	EXPECT_GE(LIMIT, charged(self->region));
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0-only
/*
 * The steps of recovery above the kill of a queue: the engine is reset, the firmware restarted, the
 * card wedged. What dies of it, what does not, and who is told. The card is made to fail from
 * outside: lines of the form "# card N: inject NAME" are for whoever runs the test.
 */
#include "kselftest_harness.h"

#include "onpu_uq.h"

#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define DEAD(why) (DRM_ONPU_QUEUE_DEAD | DRM_ONPU_QUEUE_##why)

FIXTURE(restart)
{
	struct onpu_env idle, busy;	/* kernel queues: with nothing in flight, at a WAIT */
	struct onpu_env lr;
	struct onpu_buf word, data;
	struct uq q;
	struct drm_onpu_query_memory before;
	char sysfs[512];
	uint32_t fence;			/* of busy's job */
	uint32_t restarts;
	int uevents;
};

static int reset_card(const char *sysfs)
{
	char path[600];

	snprintf(path, sizeof(path), "%s/reset", sysfs);
	return onpu_write_file(path, "1");
}

static uint32_t restarts(int fd)
{
	struct drm_onpu_query_firmware firmware;

	if (onpu_query(fd, DRM_ONPU_QUERY_FIRMWARE, &firmware, sizeof(firmware)))
		return ~0u;
	return firmware.restarts;
}

static int open_uevents(void)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);

	return fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ? -errno : fd;
}

/* Whether an event of the node has this line. */
static bool told(int fd, const char *line)
{
	struct pollfd look = { .fd = fd, .events = POLLIN };
	char text[4096];

	while (poll(&look, 1, 10000) == 1) {
		ssize_t size = recv(fd, text, sizeof(text) - 1, 0);
		bool node = false, found = false;

		if (size <= 0)
			return false;
		text[size] = 0;
		for (char *p = text; p < text + size; p += strlen(p) + 1) {
			node |= strstr(p, "/accel/accel") && !strncmp(p, "DEVPATH=", 8);
			found |= !strcmp(p, line);
		}
		if (node && found)
			return true;
	}
	return false;
}

FIXTURE_SETUP(restart)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	self->restarts = restarts(fd);
	ASSERT_EQ(0, onpu_sysfs(fd, self->sysfs, sizeof(self->sysfs)));
	self->uevents = open_uevents();
	ASSERT_GE(self->uevents, 0);
	ASSERT_EQ(0, onpu_set_parameter(ONPU_PARAM("restart_interval_s"), 0));
	ASSERT_EQ(0, onpu_env_on(&self->idle, fd));
	ASSERT_EQ(0, onpu_env_init(&self->busy));
	ASSERT_EQ(0, onpu_buf_new(&self->busy, PAGE, DRM_ONPU_BO_SYSTEM, &self->word));
	ASSERT_EQ(0, onpu_buf_new(&self->idle, MIB(1), DRM_ONPU_BO_VRAM, &self->data));
	self->fence = onpu_sync_create(self->busy.fd, false);
	self->lr.fd = onpu_open();
	self->lr.next_va = 0x10000000ull;
	ASSERT_EQ(0, lr_vm_create(self->lr.fd, &self->lr.vm));
	ASSERT_EQ(0, uq_create(&self->lr, &self->q, 6, DRM_ONPU_BO_SYSTEM, 0));
	ASSERT_EQ(0, uq_run(&self->q));
	ASSERT_EQ(0, onpu_run_one(&self->idle, pkt_fill(self->data.va, MIB(1), 0x55667788)));
}

FIXTURE_TEARDOWN_PARENT(restart)
{
	int fd = onpu_open();
	char sysfs[512];

	onpu_inject("clear");
	EXPECT_EQ(0, onpu_sysfs(fd, sysfs, sizeof(sysfs)));
	EXPECT_EQ(0, reset_card(sysfs));
	close(fd);
	onpu_set_parameter(ONPU_PARAM("mbox_timeout_ms"), 5000 * onpu_slow());
	onpu_set_parameter(ONPU_PARAM("boot_timeout_ms"), 10000 * onpu_slow());
	onpu_set_parameter(ONPU_PARAM("restart_interval_s"), 60);
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

/* A job that stands at a WAIT, and one behind it that has not been started. */
static int make_busy(struct onpu_env *env, struct onpu_buf *word, uint32_t fence)
{
	onpu_add(env, pkt_wait(word->va, ONPU_WAIT_EQ, 1));
	return onpu_start(env, 0, fence);
}

#define BUSY() ASSERT_EQ(0, make_busy(&self->busy, &self->word, self->fence))

static uint32_t flags_of(struct onpu_env *env)
{
	struct drm_onpu_queue_get_state state;

	return onpu_queue_state(env->fd, env->queue, &state) ? ~0u : state.flags;
}

static bool is_all(const uint32_t *words, uint32_t value)
{
	for (uint64_t i = 0; i < MIB(1) / 4; i++)
		if (words[i] != value)
			return false;
	return true;
}

/* What has a restart behind it. */
#define RESTARTED() do {								\
		EXPECT_EQ(0, onpu_sync_wait(self->busy.fd, self->fence));		\
		EXPECT_EQ(-ECANCELED, onpu_sync_status(self->busy.fd, self->fence));	\
		EXPECT_EQ(DEAD(INNOCENT), flags_of(&self->busy));			\
		/* Calls wait until it is over. */					\
		ASSERT_EQ(0, onpu_env_new_queue(&self->busy));				\
		EXPECT_TRUE(told(self->uevents, "ONPU_RESTARTED=1"));			\
		EXPECT_EQ(self->restarts + 1, restarts(self->idle.fd));			\
		ASSERT_EQ(0, onpu_run_one(&self->busy, pkt_fill(self->word.va, 64, 7)));	\
		/* The other one goes on, and finds its memory. */			\
		EXPECT_EQ(0, flags_of(&self->idle));					\
		EXPECT_TRUE(is_all(self->data.cpu, 0x55667788));			\
		ASSERT_EQ(0, onpu_run_one(&self->idle, pkt_fill(self->data.va, MIB(1), 1)));	\
		EXPECT_TRUE(is_all(self->data.cpu, 1));					\
		/* Of a user-mode queue nobody knows what it was about to do. */	\
		EXPECT_EQ(-ECANCELED, uq_wait_for(&self->q, 1000, WAIT_NS));		\
		EXPECT_EQ(DEAD(INNOCENT), uq_flags(&self->q));				\
		*self->q.doorbell = 3;							\
		uq_destroy(&self->q);							\
		ASSERT_EQ(0, uq_create(&self->lr, &self->q, 6, DRM_ONPU_BO_VRAM, 0));	\
		ASSERT_EQ(0, uq_run(&self->q));						\
	} while (0)

TEST_F_TIMEOUT(restart, of_a_firmware_that_crashes, 60)
{
	BUSY();
	uq_add(&self->q, pkt_wait(uq_fence_va(&self->q) + 8, ONPU_WAIT_EQ, 1));
	uq_ring(&self->q);
	onpu_inject("mcu-crash");
	RESTARTED();
}

/* And of the one that is started in its place, and so on: nothing gets less. */
TEST_F_TIMEOUT(restart, again_and_again, 100)
{
	for (int i = 0; i < 5; i++) {
		onpu_inject("mcu-crash");
		for (int j = 0; j < 200 && restarts(self->idle.fd) != self->restarts + i + 1; j++)
			usleep(20000);
		ASSERT_EQ(self->restarts + i + 1, restarts(self->idle.fd));
		ASSERT_EQ(0, onpu_run_one(&self->idle, pkt_fill(self->data.va, MIB(1), i)));
		EXPECT_TRUE(is_all(self->data.cpu, i));
	}
}

/* Nobody talks to it; its heart says that it is dead. */
TEST_F_TIMEOUT(restart, of_a_firmware_that_stands_still, 60)
{
	ASSERT_EQ(0, onpu_set_parameter(ONPU_PARAM("mbox_timeout_ms"), 1000 * onpu_slow()));
	BUSY();
	onpu_inject("mcu-stall=1");
	EXPECT_EQ(0, onpu_sync_wait(self->busy.fd, self->fence));
	/* It boots as soon as it can. */
	onpu_inject("clear");
	RESTARTED();
}

/* Once: the next heart may well have come as far as the last when somebody looks. */
TEST_F_TIMEOUT(restart, once_for_each_stall, 100)
{
	const unsigned int timeout_ms = 1000 * onpu_slow();

	ASSERT_EQ(0, onpu_set_parameter(ONPU_PARAM("mbox_timeout_ms"), timeout_ms));
	for (uint32_t i = 1; i <= 6; i++) {
		uint32_t fence = onpu_sync_create(self->busy.fd, false);

		/* It begins here, and is stopped at another beat each time. */
		ASSERT_EQ(0, reset_card(self->sysfs));
		usleep(i * 40000);
		ASSERT_EQ(0, make_busy(&self->busy, &self->word, fence));
		onpu_inject("mcu-stall=1");
		EXPECT_EQ(0, onpu_sync_wait(self->busy.fd, fence));
		onpu_inject("clear");
		ASSERT_EQ(0, onpu_env_new_queue(&self->busy));
		usleep(timeout_ms * 500);
		ASSERT_EQ(self->restarts + i, restarts(self->idle.fd));
	}
}

/* Who waits for a packet that never ends to let go of old translations: the reset forgets them all. */
TEST_F_TIMEOUT(restart, while_an_unmapping_waits, 60)
{
	int before = onpu_set_timeout(60000), ret = 0, status;
	struct onpu_buf buf;
	char text[32];
	struct uq q;
	pid_t pid;

	ASSERT_GT(before, 0);
	ASSERT_EQ(0, onpu_buf_new(&self->lr, PAGE, DRM_ONPU_BO_SYSTEM, &buf));
	ASSERT_EQ(0, uq_create(&self->lr, &q, 4, DRM_ONPU_BO_SYSTEM, 0));
	snprintf(text, sizeof(text), "hang-queue=%u",
		 (unsigned int)(q.args.doorbell_offset / PAGE % ONPU_MAX_QUEUES));
	onpu_inject(text);
	for (int i = 0; i < 20 && !ret; i++) {
		uq_signal(&q);
		ret = uq_wait_for(&q, q.seq, 500000000);
	}
	EXPECT_EQ(-ETIME, ret);
	pid = fork();
	if (!pid)
		_exit(onpu_unmap(self->lr.fd, self->lr.vm, buf.va, PAGE) ? 1 : 0);
	ASSERT_GT(pid, 0);
	usleep(300000);
	onpu_inject("mcu-crash");
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	onpu_inject("clear");
	onpu_set_timeout((unsigned int)before);
	/* Calls wait until it is over. */
	ASSERT_EQ(0, onpu_env_new_queue(&self->idle));
	EXPECT_EQ(self->restarts + 1, restarts(self->idle.fd));
	EXPECT_EQ(DEAD(INNOCENT), uq_flags(&q));
	ASSERT_EQ(0, onpu_run_one(&self->idle, pkt_fill(self->data.va, MIB(1), 3)));
	uq_destroy(&q);
}

/* Jobs that the card has not been given wait, and run. */
TEST_F_TIMEOUT(restart, jobs_that_wait, 60)
{
	uint32_t lost = onpu_sync_create(self->idle.fd, false);
	uint32_t done = onpu_sync_create(self->idle.fd, false);
	struct onpu_buf word;
	uint32_t queue;

	ASSERT_EQ(0, onpu_buf_new(&self->idle, PAGE, DRM_ONPU_BO_SYSTEM, &word));
	ASSERT_EQ(0, onpu_queue_create(self->idle.fd, self->idle.vm, DRM_ONPU_PRIORITY_LOW, &queue));
	self->idle.packets[0] = pkt_wait(word.va, ONPU_WAIT_EQ, 1);
	for (uint32_t i = 1; i <= 8; i++)
		self->idle.packets[i] = pkt_fill(self->data.va, MIB(1), i);
	ASSERT_EQ(0, onpu_submit(self->idle.fd, queue, self->idle.cmd.va, 1, 0, lost));
	/* They begin with the end of the other one, when the card does nothing any more. */
	for (uint32_t i = 1; i <= 8; i++)
		ASSERT_EQ(0, onpu_submit(self->idle.fd, self->idle.queue, self->idle.cmd.va + 64 * i, 1,
					 i == 1 ? lost : 0, i == 8 ? done : 0));
	onpu_inject("mcu-crash");
	ASSERT_EQ(0, onpu_sync_wait(self->idle.fd, done));
	EXPECT_EQ(1, onpu_sync_status(self->idle.fd, done));
	EXPECT_EQ(-ECANCELED, onpu_sync_status(self->idle.fd, lost));
	EXPECT_EQ(0, flags_of(&self->idle));
	EXPECT_TRUE(is_all(self->data.cpu, 8));
	EXPECT_EQ(self->restarts + 1, restarts(self->idle.fd));
}

/* A firmware that died again soon is left alone, and the next step is somebody else's. */
TEST_F_TIMEOUT(restart, not_twice, 60)
{
	struct onpu_env other;

	onpu_inject("mcu-crash");
	for (int i = 0; i < 200 && restarts(self->idle.fd) == self->restarts; i++)
		usleep(20000);
	ASSERT_EQ(0, onpu_run_one(&self->idle, pkt_nop()));
	ASSERT_EQ(0, onpu_set_parameter(ONPU_PARAM("restart_interval_s"), 1000));
	onpu_inject("mcu-crash");
	EXPECT_TRUE(told(self->uevents, "WEDGED=bus-reset"));
	EXPECT_EQ(DEAD(DEVICE_LOST), flags_of(&self->idle));
	EXPECT_EQ(DEAD(INNOCENT) | DRM_ONPU_QUEUE_DEVICE_LOST, uq_flags(&self->q));
	EXPECT_EQ(-EIO, onpu_env_init(&other));
	EXPECT_EQ(self->restarts + 1, restarts(self->idle.fd));
	ASSERT_EQ(0, reset_card(self->sysfs));
	ASSERT_EQ(0, onpu_env_new_queue(&self->idle));
	EXPECT_TRUE(is_all(self->data.cpu, 0x55667788));
	ASSERT_EQ(0, onpu_run_one(&self->idle, pkt_fill(self->data.va, MIB(1), 1)));
}

/* One that does not come up. */
TEST_F_TIMEOUT(restart, that_fails, 60)
{
	uint32_t queue;

	ASSERT_EQ(0, onpu_set_parameter(ONPU_PARAM("mbox_timeout_ms"), 1000 * onpu_slow()));
	ASSERT_EQ(0, onpu_set_parameter(ONPU_PARAM("boot_timeout_ms"), 1500 * onpu_slow()));
	BUSY();
	onpu_inject("mcu-stall=1");
	EXPECT_TRUE(told(self->uevents, "WEDGED=bus-reset"));
	EXPECT_EQ(DEAD(INNOCENT) | DRM_ONPU_QUEUE_DEVICE_LOST, flags_of(&self->busy));
	EXPECT_EQ(DEAD(DEVICE_LOST), flags_of(&self->idle));
	EXPECT_EQ(DEAD(DEVICE_LOST), uq_flags(&self->q));
	EXPECT_EQ(-EIO, onpu_queue_create(self->idle.fd, self->idle.vm, DRM_ONPU_PRIORITY_LOW,
					  &queue));
	onpu_inject("clear");
	ASSERT_EQ(0, onpu_set_parameter(ONPU_PARAM("boot_timeout_ms"), 10000 * onpu_slow()));
	ASSERT_EQ(0, reset_card(self->sysfs));
	ASSERT_EQ(0, onpu_env_new_queue(&self->idle));
	ASSERT_EQ(0, onpu_run_one(&self->idle, pkt_fill(self->data.va, MIB(1), 1)));
}

/* The card is pulled while it is being restarted. */
TEST_F_TIMEOUT(restart, and_unbound_meanwhile, 60)
{
	const char *name = strrchr(self->sysfs, '/') + 1;

	/* Nobody waits for it to come up. */
	ASSERT_EQ(0, onpu_set_parameter(ONPU_PARAM("boot_timeout_ms"), 1000000));
	ASSERT_EQ(0, onpu_set_parameter(ONPU_PARAM("mbox_timeout_ms"), 1000 * onpu_slow()));
	BUSY();
	onpu_inject("mcu-stall=1");
	EXPECT_EQ(0, onpu_sync_wait(self->busy.fd, self->fence));
	ASSERT_EQ(0, onpu_write_file("/sys/bus/pci/drivers/onpu/unbind", name));
	EXPECT_EQ(-ENODEV, onpu_run_one(&self->idle, pkt_nop()));
	onpu_inject("clear");
	ASSERT_EQ(0, onpu_write_file("/sys/bus/pci/drivers/onpu/bind", name));
}

/* The card is reset from outside while it is being restarted. */
TEST_F_TIMEOUT(restart, and_reset_meanwhile, 60)
{
	ASSERT_EQ(0, onpu_set_parameter(ONPU_PARAM("mbox_timeout_ms"), 1000 * onpu_slow()));
	BUSY();
	onpu_inject("mcu-stall=1");
	EXPECT_EQ(0, onpu_sync_wait(self->busy.fd, self->fence));
	onpu_inject("clear");
	ASSERT_EQ(0, reset_card(self->sysfs));
	EXPECT_EQ(0, flags_of(&self->idle));
	ASSERT_EQ(0, onpu_run_one(&self->idle, pkt_fill(self->data.va, MIB(1), 1)));
}

/* Neither a kill nor a reset of the engine gets through. */
TEST_F_TIMEOUT(restart, an_engine_that_does_not_let_go, 60)
{
	int before = onpu_set_timeout(500 * onpu_slow());
	struct drm_onpu_queue_get_state state;

	ASSERT_GT(before, 0);
	onpu_inject("slow-kill=20000");
	onpu_add(&self->busy, pkt_wait(self->word.va, ONPU_WAIT_EQ, 1));
	/* It is the one to blame, and stays so. */
	EXPECT_EQ(-ETIME, onpu_run(&self->busy));
	onpu_set_timeout((unsigned int)before);
	ASSERT_EQ(0, onpu_queue_state(self->busy.fd, self->busy.queue, &state));
	EXPECT_EQ(DEAD(TIMEDOUT), state.flags);
	onpu_inject("clear");
	ASSERT_EQ(0, onpu_env_new_queue(&self->busy));
	EXPECT_EQ(self->restarts + 1, restarts(self->idle.fd));
	EXPECT_EQ(0, flags_of(&self->idle));
	ASSERT_EQ(0, onpu_run_one(&self->idle, pkt_fill(self->data.va, MIB(1), 1)));
	EXPECT_EQ(DEAD(INNOCENT), uq_flags(&self->q));
}

/* --- slow, and yet alive ---------------------------------------------------------- */

static int advise(struct onpu_env *env, uint32_t handle, uint32_t advice)
{
	struct drm_onpu_bo_advise args = { .handle = handle, .advice = advice };

	return onpu_ioctl(env->fd, DRM_IOCTL_ONPU_BO_ADVISE, &args);
}

/* A kill that takes its time delays its queue's end, and nothing else. */
TEST_F_TIMEOUT(restart, not_for_a_slow_kill, 60)
{
	BUSY();
	onpu_inject("slow-kill=600");
	ASSERT_EQ(0, onpu_queue_destroy(self->busy.fd, self->busy.queue));
	ASSERT_EQ(0, onpu_run_one(&self->idle, pkt_fill(self->data.va, MIB(1), 1)));
	ASSERT_EQ(0, uq_run(&self->q));
	EXPECT_EQ(0, onpu_sync_wait(self->busy.fd, self->fence));
	EXPECT_EQ(-ECANCELED, onpu_sync_status(self->busy.fd, self->fence));
	onpu_inject("clear");
	ASSERT_EQ(0, onpu_queue_create(self->busy.fd, self->busy.vm, 0, &self->busy.queue));
	ASSERT_EQ(0, onpu_run_one(&self->busy, pkt_nop()));
	EXPECT_EQ(self->restarts, restarts(self->idle.fd));
}

/* Memory of a user-mode queue that suspends slowly moves late, and the queue goes on. */
TEST_F_TIMEOUT(restart, not_for_a_slow_suspension, 60)
{
	struct onpu_buf buf;

	ASSERT_EQ(0, onpu_buf_new(&self->lr, MIB(1), DRM_ONPU_BO_VRAM, &buf));
	((volatile uint32_t *)buf.cpu)[0] = 4711;
	uq_add(&self->q, pkt_wait(uq_fence_va(&self->q) + 8, ONPU_WAIT_EQ, 1));
	uq_add(&self->q, pkt_copy(uq_fence_va(&self->q) + 16, buf.va, 4));
	uq_ring(&self->q);
	onpu_inject("slow-suspend=600");
	ASSERT_EQ(0, advise(&self->lr, buf.handle, DRM_ONPU_ADVISE_EVICT));
	ASSERT_EQ(0, onpu_run_one(&self->idle, pkt_fill(self->data.va, MIB(1), 1)));
	self->q.fence[1] = 1;
	ASSERT_EQ(0, uq_run(&self->q));
	EXPECT_EQ(4711, (uint32_t)self->q.fence[2]);
	onpu_inject("clear");
	EXPECT_EQ(0, uq_flags(&self->q));
	EXPECT_EQ(self->restarts, restarts(self->idle.fd));
}

/* One that does not suspend in time is killed by a reset of the engine; its owner is told. */
TEST_F_TIMEOUT(restart, not_for_a_suspension_that_fails, 60)
{
	struct onpu_buf buf;

	ASSERT_EQ(0, onpu_buf_new(&self->lr, MIB(1), DRM_ONPU_BO_VRAM, &buf));
	uq_add(&self->q, pkt_wait(uq_fence_va(&self->q) + 8, ONPU_WAIT_EQ, 1));
	uq_ring(&self->q);
	onpu_inject("slow-suspend=30000");
	ASSERT_EQ(0, advise(&self->lr, buf.handle, DRM_ONPU_ADVISE_EVICT));
	EXPECT_EQ(-ECANCELED, uq_wait_for(&self->q, 1000, WAIT_NS));
	EXPECT_EQ(DEAD(INNOCENT), uq_flags(&self->q));
	onpu_inject("clear");
	/* All that had slots was told to suspend, and did not either. */
	ASSERT_EQ(0, onpu_env_new_queue(&self->idle));
	ASSERT_EQ(0, onpu_run_one(&self->idle, pkt_fill(self->data.va, MIB(1), 1)));
	uq_destroy(&self->q);
	ASSERT_EQ(0, uq_create(&self->lr, &self->q, 6, DRM_ONPU_BO_SYSTEM, 0));
	ASSERT_EQ(0, uq_run(&self->q));
	EXPECT_EQ(self->restarts, restarts(self->idle.fd));
}

TEST_HARNESS_MAIN

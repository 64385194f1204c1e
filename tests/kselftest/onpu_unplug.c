// SPDX-License-Identifier: GPL-2.0-only
/*
 * The firmware dies and is restarted while the card is taken away, by unbinding the driver or off the bus: one
 * overtakes the other, at all stages. What was at work ends, who has files open is told, and the card that comes back works.
 */
#include "kselftest_harness.h"

#include "onpu_uq.h"

#include <pthread.h>
#include <stdatomic.h>

FIXTURE(unplug)
{
	struct drm_onpu_query_memory before;
	char name[64];
};

FIXTURE_SETUP(unplug)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	ASSERT_EQ(0, onpu_bus_name(fd, self->name, sizeof(self->name)));
	close(fd);
	ASSERT_EQ(0, onpu_set_parameter(ONPU_PARAM("restart_interval_s"), 0));
}

FIXTURE_TEARDOWN_PARENT(unplug)
{
	onpu_inject("clear");
	onpu_set_parameter(ONPU_PARAM("mbox_timeout_ms"), 5000 * onpu_slow());
	onpu_set_parameter(ONPU_PARAM("restart_interval_s"), 60);
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

/* A job at a WAIT. */
static int stand(struct onpu_env *env)
{
	onpu_add(env, pkt_wait(env->cmd.va + 64 * 500, ONPU_WAIT_EQ, 1));
	return onpu_start(env, 0, env->sync);
}

/* What goes on on a card while it is taken away. */
struct traffic {
	pthread_t thread;
	const char *name;
	atomic_bool stop;
};

/* The card of this name; it may be away, and another one there. */
static int open_named(const char *name)
{
	int fd = onpu_open();
	char its_name[64];

	if (fd < 0)
		return fd;
	if (!onpu_bus_name(fd, its_name, sizeof(its_name)) && !strcmp(its_name, name))
		return fd;
	close(fd);
	return -ENODEV;
}

/* Queues come and go, memory moves. What becomes of it is for others to tell. */
static void try_all(int fd)
{
	struct drm_onpu_bo_advise away = { .advice = DRM_ONPU_ADVISE_EVICT };
	uint32_t vm, queue, sync = onpu_sync_create(fd, false);

	if (onpu_vm_create(fd, &vm) || onpu_queue_create(fd, vm, 0, &queue) ||
	    onpu_bo_create(fd, MIB(1), DRM_ONPU_BO_VRAM, 0, &away.handle) ||
	    onpu_map(fd, vm, away.handle, 0, MIB(16), MIB(1), 0))
		return;
	for (int i = 0; i < 2; i++) {
		if (!onpu_submit(fd, queue, 0, 0, 0, sync))
			onpu_sync_wait(fd, sync);
		onpu_ioctl(fd, DRM_IOCTL_ONPU_BO_ADVISE, &away);
	}
}

static void *traffic_main(void *arg)
{
	struct traffic *traffic = arg;

	while (!atomic_load(&traffic->stop)) {
		int fd = open_named(traffic->name);

		if (fd >= 0)
			try_all(fd);
		else
			usleep(1000);
		close(fd);
	}
	return NULL;
}

static int take_away(const char *name, bool remove)
{
	char path[600];

	if (!remove)
		return onpu_write_file("/sys/bus/pci/drivers/onpu/unbind", name);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/remove", name);
	return onpu_write_file(path, "1");
}

/* Brings it back, and runs a job: again if it happens to die once more, because of who was asked so late. */
static bool bring_again(const char *name, bool remove)
{
	int64_t end = onpu_now() + WAIT_NS * onpu_slow();
	struct onpu_env env;
	int ret;

	if (remove && onpu_write_file("/sys/bus/pci/rescan", "1"))
		return false;
	do {
		env.fd = open_named(name);
		ret = env.fd < 0 ? env.fd : onpu_env_on(&env, env.fd);
		if (!ret)
			ret = onpu_run_one(&env, pkt_nop());
		if (env.fd < 0)
			onpu_write_file("/sys/bus/pci/drivers/onpu/bind", name);
		else
			close(env.fd);
		onpu_unmap_all();
		if (ret)
			usleep(10000);
	} while (ret && onpu_now() < end);
	return !ret;
}

/*
 * The firmware dies and the card is taken away, by turns unbound and removed from the bus, so many microseconds
 * after somebody was asked to let it die. Which comes first differs, and nobody can tell in the end.
 */
static int unplug_after(const char *name, const char *how, unsigned int us, bool remove)
{
	struct traffic traffic = { .name = name };
	struct onpu_env busy, idle, lr = { .fd = onpu_open(), .next_va = 0x10000000ull };
	struct sync_fence_info info;
	int64_t end;
	struct uq q;
	int file, wrong = 0;

	/* One with something on the card, one without, and a user-mode queue at work. */
	if (onpu_env_init(&busy) || onpu_env_init(&idle) || lr_vm_create(lr.fd, &lr.vm) ||
	    uq_create(&lr, &q, 6, DRM_ONPU_BO_SYSTEM, 0) ||
	    stand(&busy) ||
	    pthread_create(&traffic.thread, NULL, traffic_main, &traffic))
		return -1;
	file = onpu_sync_to_file(busy.fd, busy.sync);
	uq_add(&q, pkt_wait(uq_fence_va(&q) + 8, ONPU_WAIT_EQ, 1));
	uq_signal(&q);

	printf("# card 0: inject %s\n", how);
	fflush(stdout);
	usleep(us);
	wrong += take_away(name, remove) != 0;
	end = onpu_now() + WAIT_NS * onpu_slow();
	while (!onpu_file_status(file, &info) && onpu_now() < end)
		usleep(1000);
	wrong += info.status != -ECANCELED && info.status != -ENODEV;
	wrong += onpu_run_one(&idle, pkt_nop()) != -ENODEV;
	wrong += uq_wait_for(&q, 1, WAIT_NS) != -ENODEV;
	*q.doorbell = 7;

	/* It has died by now, in any case. */
	onpu_inject("clear");
	atomic_store(&traffic.stop, true);
	pthread_join(traffic.thread, NULL);
	close(file);
	munmap((void *)q.doorbell, PAGE);
	close(busy.fd);
	close(idle.fd);
	close(lr.fd);
	return wrong + !bring_again(name, remove);
}

TEST_F_TIMEOUT(unplug, and_a_crash, 120)
{
	for (unsigned int i = 0; i < onpu_rounds(8, 6); i++) {
		ASSERT_EQ(0, unplug_after(self->name, "mcu-crash", i / 2 * 6000, i & 1))
			TH_LOG("round %u", i);
	}
}

/* By its heart, while nothing is answered. */
TEST_F_TIMEOUT(unplug, and_a_stall, 120)
{
	const unsigned int timeout_ms = 400 * onpu_slow();

	ASSERT_EQ(0, onpu_set_parameter(ONPU_PARAM("mbox_timeout_ms"), timeout_ms));
	for (unsigned int i = 0; i < 6; i++) {
		ASSERT_EQ(0, unplug_after(self->name, "mcu-stall=1", timeout_ms * (600 + i * 200), i & 1))
			TH_LOG("round %u", i);
	}
}

TEST_HARNESS_MAIN

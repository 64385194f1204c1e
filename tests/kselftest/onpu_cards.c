// SPDX-License-Identifier: GPL-2.0-only
/* Two cards in one machine: each has its own memory, queues and troubles. */
#include "kselftest_harness.h"

#include <sys/wait.h>

#include "onpu_kselftest.h"

#define SYS_DRIVER "/sys/bus/pci/drivers/onpu/"

FIXTURE(cards)
{
	struct onpu_env env[2];
	char name[2][64];
};

FIXTURE_SETUP(cards)
{
	for (unsigned int i = 0; i < 2; i++) {
		int fd = onpu_open_card(i);

		if (fd == -ENODEV) {
			SKIP(return, "needs two cards");
		}
		ASSERT_GE(fd, 0);
		ASSERT_EQ(0, onpu_env_on(&self->env[i], fd));
		ASSERT_EQ(0, onpu_bus_name(fd, self->name[i], sizeof(self->name[i])));
	}
}

FIXTURE_TEARDOWN(cards)
{
	for (int i = 0; i < 2; i++)
		onpu_env_fini(&self->env[i]);
}

TEST_F(cards, differ)
{
	struct drm_onpu_query_device one = onpu_device(self->env[0].fd);
	struct drm_onpu_query_device two = onpu_device(self->env[1].fd);

	EXPECT_STRNE(self->name[0], self->name[1]);
	EXPECT_NE(one.serial, two.serial);
	EXPECT_EQ(one.pci_vendor_device, two.pci_vendor_device);
}

TEST_F(cards, have_their_own_memory)
{
	uint64_t before = onpu_memory(self->env[1].fd).vram_used;
	uint32_t handle;

	ASSERT_EQ(0, onpu_bo_create(self->env[0].fd, MIB(8), DRM_ONPU_BO_VRAM, 0, &handle));
	EXPECT_EQ(before, onpu_memory(self->env[1].fd).vram_used);
	/* The same address means other memory. */
	for (int i = 0; i < 2; i++) {
		onpu_add(&self->env[i], pkt_signal(self->env[i].cmd.va + 6400, 100 + i));
		ASSERT_EQ(0, onpu_run(&self->env[i]));
	}
	ASSERT_EQ(self->env[0].cmd.va, self->env[1].cmd.va);
	for (int i = 0; i < 2; i++) {
		EXPECT_EQ(100 + i, *(volatile uint64_t *)&self->env[i].packets[100]);
	}
}

TEST_F(cards, compute_at_the_same_time)
{
	struct onpu_buf buf[2];

	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, onpu_buf_new(&self->env[i], MIB(8), DRM_ONPU_BO_VRAM, &buf[i]));
		onpu_add(&self->env[i], pkt_fill(buf[i].va, MIB(4), 0x11111111u * (i + 1)));
		for (int j = 0; j < 16; j++)
			onpu_add(&self->env[i], pkt_copy(buf[i].va + MIB(4), buf[i].va, MIB(4)));
		ASSERT_EQ(0, onpu_start(&self->env[i], 0, self->env[i].sync));
	}
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, onpu_sync_wait(self->env[i].fd, self->env[i].sync));
		for (uint64_t at = 0; at < MIB(8) / 4; at += 4099) {
			ASSERT_EQ(0x11111111u * (i + 1), ((uint32_t *)buf[i].cpu)[at]);
		}
	}
}

/* A job of one card waits for a job of the other. */
TEST_F(cards, wait_for_each_other)
{
	volatile uint64_t *word = (void *)&self->env[0].packets[500];
	struct drm_syncobj_handle handle = { .handle = self->env[0].sync, .fd = -1 };
	uint32_t sync = onpu_sync_create(self->env[1].fd, false), imported;

	onpu_add(&self->env[0], pkt_wait(self->env[0].cmd.va + 64 * 500, ONPU_WAIT_EQ, 1));
	ASSERT_EQ(0, onpu_start(&self->env[0], 0, self->env[0].sync));
	ASSERT_EQ(0, onpu_ioctl(self->env[0].fd, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &handle));
	handle.handle = 0;
	ASSERT_EQ(0, onpu_ioctl(self->env[1].fd, DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, &handle));
	imported = handle.handle;
	close(handle.fd);
	onpu_add(&self->env[1], pkt_nop());
	ASSERT_EQ(0, onpu_start(&self->env[1], imported, sync));
	EXPECT_EQ(-ETIME, onpu_sync_wait_for(self->env[1].fd, sync, 50000000));
	*word = 1;
	EXPECT_EQ(0, onpu_sync_wait(self->env[1].fd, sync));
}

TEST_F(cards, fail_alone)
{
	struct drm_onpu_queue_get_state state;

	EXPECT_NE(0, onpu_run_one(&self->env[0], pkt_op(123)));
	EXPECT_EQ(0, onpu_run_one(&self->env[1], pkt_nop()));
	ASSERT_EQ(0, onpu_queue_state(self->env[1].fd, self->env[1].queue, &state));
	EXPECT_EQ(0, state.flags);
}

TEST_F_TIMEOUT(cards, are_unbound_alone, 60)
{
	uint32_t value = 0;

	for (int round = 0; round < 3; round++) {
		ASSERT_EQ(0, onpu_write_file(SYS_DRIVER "unbind", self->name[0]));
		for (int i = 0; i < 20; i++) {
			value++;
			onpu_add(&self->env[1], pkt_signal(self->env[1].cmd.va + 6400, value));
			ASSERT_EQ(0, onpu_run(&self->env[1]));
			ASSERT_EQ(value, *(volatile uint64_t *)&self->env[1].packets[100]);
		}
		ASSERT_EQ(0, onpu_write_file(SYS_DRIVER "bind", self->name[0]));
	}
}

TEST_F_TIMEOUT(cards, are_reset_alone, 60)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/reset", self->name[0]);
	onpu_add(&self->env[1], pkt_wait(self->env[1].cmd.va + 64 * 500, ONPU_WAIT_EQ, 1));
	ASSERT_EQ(0, onpu_start(&self->env[1], 0, self->env[1].sync));
	for (int round = 0; round < 3; round++) {
		ASSERT_EQ(0, onpu_write_file(path, "1"));
		EXPECT_EQ(0, onpu_run_one(&self->env[0], pkt_nop()));
	}
	*(volatile uint64_t *)&self->env[1].packets[500] = 1;
	EXPECT_EQ(0, onpu_sync_wait(self->env[1].fd, self->env[1].sync));
	EXPECT_EQ(1, onpu_sync_status(self->env[1].fd, self->env[1].sync));
}

TEST_HARNESS_MAIN

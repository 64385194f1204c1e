// SPDX-License-Identifier: GPL-2.0-only
/*
 * A driver with firmware from before mailbox version 1.1, which cannot suspend: there are no user-mode
 * queues, whoever asks is told so, and all else works.
 */
#include "kselftest_harness.h"

#include "onpu_fw_old.h"
#include "onpu_uq.h"

#define SYS_DRIVER "/sys/bus/pci/drivers/onpu/"
#define FW_PATH "/sys/module/firmware_class/parameters/path"
#define FOLDER "/tmp/old-firmware"

FIXTURE(old)
{
	struct drm_onpu_query_memory before;
	char names[8][64];		/* of all cards */
	int count;
};

static int write_image(void)
{
	FILE *file;
	bool ok;

	mkdir("/tmp", 0755);
	mkdir(FOLDER, 0755);
	mkdir(FOLDER "/onpu", 0755);
	file = fopen(FOLDER "/onpu/onpu_fw.bin", "w");
	if (!file)
		return -errno;
	ok = fwrite(onpu_fw_image, sizeof(onpu_fw_image), 1, file) == 1;
	return fclose(file) || !ok ? -EIO : 0;
}

static int find_cards(char names[8][64])
{
	DIR *dir = opendir(SYS_DRIVER);
	struct dirent *entry;
	int count = 0;

	while (dir && (entry = readdir(dir)) && count < 8) {
		if (strchr(entry->d_name, ':'))
			snprintf(names[count++], 64, "%.63s", entry->d_name);
	}
	if (dir)
		closedir(dir);
	return count;
}

/*
 * All cards with the firmware that is found in that folder first. All, because the kernel gives an
 * image that somebody has to whoever asks for its name.
 */
static int rebind(char names[8][64], int count, const char *folder)
{
	int ret = onpu_write_file(FW_PATH, folder);

	for (int i = 0; i < count && !ret; i++)
		ret = onpu_write_file(SYS_DRIVER "unbind", names[i]);
	for (int i = 0; i < count && !ret; i++)
		ret = onpu_write_file(SYS_DRIVER "bind", names[i]);
	return ret;
}

FIXTURE_SETUP(old)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	close(fd);
	self->count = find_cards(self->names);
	ASSERT_GT(self->count, 0);
	ASSERT_EQ(0, write_image());
	ASSERT_EQ(0, rebind(self->names, self->count, FOLDER));
}

FIXTURE_TEARDOWN_PARENT(old)
{
	char names[8][64];

	EXPECT_EQ(0, rebind(names, find_cards(names), "/lib/firmware"));
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

TEST_F_TIMEOUT(old, has_no_user_mode_queues, 60)
{
	struct drm_onpu_query_firmware firmware;
	struct onpu_env env, lr = { .next_va = 0x10000000ull };
	struct onpu_buf buf;
	struct uq q;

	ASSERT_EQ(0, onpu_env_init(&env));
	ASSERT_EQ(0, onpu_query(env.fd, DRM_ONPU_QUERY_FIRMWARE, &firmware, sizeof(firmware)));
	EXPECT_EQ(1, firmware.version);
	EXPECT_EQ(0, onpu_limits(env.fd).max_ring_order);
	lr.fd = env.fd;
	/* The address space there is; nothing can run in it. */
	ASSERT_EQ(0, lr_vm_create(lr.fd, &lr.vm));
	EXPECT_EQ(-EOPNOTSUPP, uq_create(&lr, &q, 4, DRM_ONPU_BO_SYSTEM, 0));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, lr.fd,
				   (off_t)1 << 43));
	/* What it does not have cannot be missed by others. */
	ASSERT_EQ(0, onpu_buf_new(&env, PAGE, DRM_ONPU_BO_VRAM, &buf));
	ASSERT_EQ(0, onpu_run_one(&env, pkt_fill(buf.va, PAGE, 0x12345678)));
	EXPECT_EQ(0x12345678, *(uint32_t *)buf.cpu);
}

/* A job that hangs is found out by the watchdog, without the firmware's help. */
TEST_F_TIMEOUT(old, kills_what_hangs, 60)
{
	int before = onpu_set_timeout(500);
	struct onpu_env env;
	struct onpu_buf buf;

	ASSERT_GT(before, 0);
	ASSERT_EQ(0, onpu_env_init(&env));
	ASSERT_EQ(0, onpu_buf_new(&env, PAGE, DRM_ONPU_BO_SYSTEM, &buf));
	EXPECT_EQ(-ETIME, onpu_run_one(&env, pkt_wait(buf.va, ONPU_WAIT_EQ, 1)));
	onpu_set_timeout((unsigned int)before);
	ASSERT_EQ(0, onpu_env_new_queue(&env));
	ASSERT_EQ(0, onpu_run_one(&env, pkt_fill(buf.va, PAGE, 5)));
}

TEST_HARNESS_MAIN

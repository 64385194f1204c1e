// SPDX-License-Identifier: GPL-2.0-only
/*
 * Firmware that is wrong: files that are no image, images that the driver or the card must refuse, and
 * images that are signed, start, and break their promises (firmware/rt/bad.c). The driver says what is
 * wrong and lets go of the card, or goes on; never more than that. With the right image all is well again.
 */
#include "kselftest_harness.h"

#include <onpu/fwimage.h>
#include <onpu/regs.h>

#include "onpu_fw_bad.h"
#include "onpu_kselftest.h"

#define SYS_DRIVER "/sys/bus/pci/drivers/onpu/"
#define FW_PATH "/sys/module/firmware_class/parameters/path"
#define FOLDER "/tmp/bad-firmware"
#define GOOD "/lib/firmware/" ONPU_FW_FILE
#define AWAY GOOD ".away"
#define MAX_CARDS 8

FIXTURE(bad)
{
	struct drm_onpu_query_memory before;
	char names[MAX_CARDS][64];	/* of all cards */
	int count;
	unsigned char *image;		/* the right one */
	struct onpu_fw_header *header;
	size_t size;
};

static int find_cards(char names[MAX_CARDS][64])
{
	DIR *dir = opendir(SYS_DRIVER);
	struct dirent *entry;
	int count = 0;

	while (dir && (entry = readdir(dir)) && count < MAX_CARDS)
		if (strchr(entry->d_name, ':'))
			snprintf(names[count++], 64, "%.63s", entry->d_name);
	if (dir)
		closedir(dir);
	return count;
}

static int write_image(const void *image, size_t size)
{
	FILE *file = fopen(FOLDER "/" ONPU_FW_FILE, "w");
	bool ok;

	if (!file)
		return -errno;
	ok = fwrite(image, 1, size, file) == size;
	return fclose(file) || !ok ? -EIO : 0;
}

static void *read_image(size_t *size)
{
	unsigned char *image = malloc(ONPU_FW_MAX_SIZE);
	FILE *file = fopen(GOOD, "r");

	*size = file && image ? fread(image, 1, ONPU_FW_MAX_SIZE, file) : 0;
	if (file)
		fclose(file);
	return image;
}

static int set_parameter(const char *path, unsigned int value)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", value);
	return onpu_write_file(path, text);
}

/* All cards, because the kernel gives an image that somebody has to whoever asks for its name. */
FIXTURE_SETUP(bad)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	close(fd);
	self->image = read_image(&self->size);
	self->header = (struct onpu_fw_header *)self->image;
	ASSERT_GT(self->size, sizeof(*self->header));
	mkdir("/tmp", 0755);
	mkdir(FOLDER, 0755);
	mkdir(FOLDER "/onpu", 0755);
	unlink(FOLDER "/" ONPU_FW_FILE);
	self->count = find_cards(self->names);
	ASSERT_GT(self->count, 0);
	for (int i = 0; i < self->count; i++)
		ASSERT_EQ(0, onpu_write_file(SYS_DRIVER "unbind", self->names[i]));
	ASSERT_EQ(0, onpu_write_file(FW_PATH, FOLDER));
}

FIXTURE_TEARDOWN_PARENT(bad)
{
	char names[MAX_CARDS][64];

	rename(AWAY, GOOD);
	EXPECT_EQ(0, onpu_write_file(FW_PATH, "/lib/firmware"));
	set_parameter(ONPU_PARAM("mbox_timeout_ms"), 5000 * onpu_slow());
	set_parameter(ONPU_PARAM("boot_timeout_ms"), 10000 * onpu_slow());
	for (int i = find_cards(names); i > 0; i--)
		EXPECT_EQ(0, onpu_write_file(SYS_DRIVER "unbind", names[i - 1]));
	for (int i = 0; i < self->count; i++)
		EXPECT_EQ(0, onpu_write_file(SYS_DRIVER "bind", self->names[i]));
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

/* What the probe of the first card says to the image that is there. */
static int probe(const char *card)
{
	return onpu_write_file(SYS_DRIVER "bind", card);
}

#define REFUSED(error, image, size)						\
	do {									\
		ASSERT_EQ(0, write_image(image, size));				\
		EXPECT_EQ(error, probe(self->names[0]));			\
		EXPECT_EQ(-ENODEV, onpu_open());				\
	} while (0)

/* One after the other with one thing wrong. */
#define WRONG(member, value)							\
	do {									\
		struct onpu_fw_header good = *self->header;			\
										\
		self->header->member = value;					\
		REFUSED(-EINVAL, self->image, self->size);			\
		*self->header = good;						\
	} while (0)

static bool works(const char *card)
{
	struct onpu_env env;
	struct onpu_buf buf;
	bool ok;

	if (probe(card) || onpu_env_init(&env))
		return false;
	ok = !onpu_buf_new(&env, PAGE, DRM_ONPU_BO_VRAM, &buf) &&
	     !onpu_run_one(&env, pkt_fill(buf.va, PAGE, 0xfeedf00d)) &&
	     *(uint32_t *)buf.cpu == 0xfeedf00d;
	onpu_env_fini(&env);
	return ok && !onpu_write_file(SYS_DRIVER "unbind", card);
}

TEST_F_TIMEOUT(bad, files, 60)
{
	ASSERT_EQ(0, rename(GOOD, AWAY));
	EXPECT_EQ(-ENOENT, probe(self->names[0]));
	REFUSED(-EINVAL, self->image, sizeof(*self->header) - 1);
	REFUSED(-EINVAL, self->image, self->size - 1);
	REFUSED(-EINVAL, self->image, ONPU_FW_MAX_SIZE);
	/* One byte more than the largest. */
	ASSERT_EQ(0, truncate(FOLDER "/" ONPU_FW_FILE, ONPU_FW_MAX_SIZE + 1));
	EXPECT_EQ(-EINVAL, probe(self->names[0]));
	ASSERT_EQ(0, write_image(self->image, self->size));
	EXPECT_TRUE(works(self->names[0]));
}

TEST_F_TIMEOUT(bad, headers, 60)
{
	WRONG(magic, 0x464c457f);
	WRONG(header_version, ONPU_FW_HEADER_VERSION + 1);
	WRONG(header_size, ONPU_FW_HEADER_SIZE - 64);
	WRONG(image_size, self->size + 1);
	WRONG(num_sections, 0);
	WRONG(num_sections, ONPU_FW_MAX_SECTIONS + 1);
	WRONG(sections[0].offset, ONPU_FW_HEADER_SIZE - 64);
	WRONG(sections[0].offset, self->size + 64);
	WRONG(sections[0].file_size, self->size);
	WRONG(sections[0].mem_size, 0);
	WRONG(abi[ONPU_FW_ABI_HW].major, 2);
	WRONG(abi[ONPU_FW_ABI_MBOX].major, 2);
	WRONG(abi[ONPU_FW_ABI_PACKET].major, 2);
	ASSERT_EQ(0, write_image(self->image, self->size));
	EXPECT_TRUE(works(self->names[0]));
}

/* What the driver does not see, the card does. */
TEST_F_TIMEOUT(bad, what_the_card_refuses, 60)
{
	WRONG(signature[5], ~good.signature[5]);
	WRONG(public_key[0], ~good.public_key[0]);
	WRONG(fw_version, good.fw_version + 1);
	WRONG(reserved[17], 1);
	self->image[self->header->sections[0].offset + 40]++;
	REFUSED(-EINVAL, self->image, self->size);
	self->image[self->header->sections[0].offset + 40]--;
	ASSERT_EQ(0, write_image(self->image, self->size));
	EXPECT_TRUE(works(self->names[0]));
}

/* Has the image that does this wrong where the driver finds it. */
static int use_bad(const char *what)
{
	const unsigned char *p = onpu_fw_image;

	while (p < onpu_fw_image + sizeof(onpu_fw_image)) {
		const struct onpu_fw_header *h = (const void *)p;

		if (!strncmp(h->name, "bad-", 4) && !strcmp(h->name + 4, what))
			return write_image(p, h->image_size);
		p += (h->image_size + 63) / 64 * 64;
	}
	return -ENOENT;
}

TEST_F_TIMEOUT(bad, promises_of_the_boot, 100)
{
	static const struct {
		const char *what;
		int error;
	} all[] = {
		{ "magic", -EPROTO }, { "major", -EPROTO }, { "size", -EPROTO }, { "requests", -EPROTO },
		{ "answers", -EPROTO }, { "crash", -EPROTO }, { "log", -EPROTO },
		{ "log-size", -EPROTO }, { "offset", -EPROTO },
		{ "trap-at-start", -EIO }, { "refuses", -EPROTO }, { "mailbox-2", -EINVAL },
		{ "packets-2", -EINVAL }, { "few-queues", -EINVAL }, { "few-contexts", -EINVAL },
		/* Last, as time limits are lower for them. */
		{ "never-ready", -ETIMEDOUT }, { "silent", -ETIMEDOUT },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (!strcmp(all[i].what, "never-ready")) {
			ASSERT_EQ(0, set_parameter(ONPU_PARAM("boot_timeout_ms"), 500));
		} else if (!strcmp(all[i].what, "silent")) {
			ASSERT_EQ(0, set_parameter(ONPU_PARAM("boot_timeout_ms"),
						   10000 * onpu_slow()));
			ASSERT_EQ(0, set_parameter(ONPU_PARAM("mbox_timeout_ms"), 300));
		}
		ASSERT_EQ(0, use_bad(all[i].what));
		EXPECT_EQ(all[i].error, probe(self->names[0])) TH_LOG("%s", all[i].what);
		EXPECT_EQ(-ENODEV, onpu_open());
	}
	ASSERT_EQ(0, set_parameter(ONPU_PARAM("mbox_timeout_ms"), 5000 * onpu_slow()));
	ASSERT_EQ(0, write_image(self->image, self->size));
	EXPECT_TRUE(works(self->names[0]));
}

/* What it says besides is nobody's concern. */
TEST_F_TIMEOUT(bad, noise, 60)
{
	ASSERT_EQ(0, use_bad("noise"));
	for (int i = 0; i < 3; i++) {
		EXPECT_TRUE(works(self->names[0]));
	}
}

/* It refuses something new, for each reason that there is, and one that there is not. */
TEST_F_TIMEOUT(bad, refused_contexts, 60)
{
	struct onpu_env env;
	uint32_t vm;
	int fd;

	ASSERT_EQ(0, use_bad("contexts"));
	ASSERT_EQ(0, probe(self->names[0]));
	fd = onpu_open();
	ASSERT_GE(fd, 0);
	for (int i = 0; i < 5; i++) {
		EXPECT_EQ(-EPROTO, onpu_vm_create(fd, &vm));
	}
	ASSERT_EQ(0, onpu_env_on(&env, fd));
	EXPECT_EQ(0, onpu_run_one(&env, pkt_nop()));
	onpu_env_fini(&env);
}

TEST_F_TIMEOUT(bad, refused_queues, 60)
{
	struct onpu_env env = { 0 };
	uint32_t vm, queue;

	ASSERT_EQ(0, use_bad("queues"));
	ASSERT_EQ(0, probe(self->names[0]));
	env.fd = onpu_open();
	ASSERT_GE(env.fd, 0);
	ASSERT_EQ(0, onpu_vm_create(env.fd, &vm));
	for (int i = 0; i < 5; i++) {
		EXPECT_EQ(-EPROTO, onpu_queue_create(env.fd, vm, DRM_ONPU_PRIORITY_MEDIUM, &queue));
	}
	ASSERT_EQ(0, onpu_env_on(&env, env.fd));
	EXPECT_EQ(0, onpu_run_one(&env, pkt_nop()));
	onpu_env_fini(&env);
}

/* It dies of what it is asked for, is restarted, and dies again: the card is given up. */
static int die_twice(const char *card, int *last)
{
	uint32_t vm;
	int fd, ret = probe(card);

	if (ret)
		return ret;
	fd = onpu_open();
	if (fd < 0)
		return fd;
	*last = 0;
	for (int i = 0; i < 100 && *last != -EIO; i++) {
		*last = onpu_vm_create(fd, &vm);
		if (!*last)
			break;
		usleep(10000);
	}
	close(fd);
	return onpu_write_file(SYS_DRIVER "unbind", card);
}

TEST_F_TIMEOUT(bad, traps, 60)
{
	int last;

	ASSERT_EQ(0, use_bad("trap"));
	ASSERT_EQ(0, die_twice(self->names[0], &last));
	EXPECT_EQ(-EIO, last);
	ASSERT_EQ(0, write_image(self->image, self->size));
	EXPECT_TRUE(works(self->names[0]));
}

TEST_F_TIMEOUT(bad, index_of_the_mailbox, 60)
{
	int last;

	ASSERT_EQ(0, use_bad("index"));
	ASSERT_EQ(0, die_twice(self->names[0], &last));
	EXPECT_EQ(-EIO, last);
	ASSERT_EQ(0, write_image(self->image, self->size));
	EXPECT_TRUE(works(self->names[0]));
}

TEST_HARNESS_MAIN

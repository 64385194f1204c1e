// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Tests of the firmware header's checks
 *
 * A header that passes, and for each statement in it the values around what
 * is allowed.
 */

#include <kunit/test.h>

#include "../onpu_fw.c"

#include "onpu_kunit.h"

#define IMAGE_SIZE	(ONPU_FW_HEADER_SIZE + 4096)

u32 onpu_recovery_restarts(struct onpu_device *odev)
{
	return 0;
}

/* What the source calls of the mailbox; no test gets there. */
int onpu_mbox_start(struct onpu_device *odev)
{
	return -ENODEV;
}

int onpu_mbox_read_crash(struct onpu_device *odev, struct onpu_fw_crash *crash)
{
	return -ENODEV;
}

void onpu_mbox_report_log(struct onpu_device *odev)
{
}

struct fw_test {
	struct onpu_device odev;
	struct onpu_fw_header header;
};

static int fw_init(struct kunit *test)
{
	struct fw_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	struct onpu_fw_header *h;

	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	t->odev.caps.hw_version = 1 << 16 | 7;
	h = &t->header;
	h->magic = ONPU_FW_MAGIC;
	h->header_version = ONPU_FW_HEADER_VERSION;
	h->header_size = ONPU_FW_HEADER_SIZE;
	h->image_size = IMAGE_SIZE;
	h->num_sections = 1;
	h->sections[0].offset = ONPU_FW_HEADER_SIZE;
	h->sections[0].file_size = 4096;
	h->sections[0].mem_size = 4096;
	h->abi[ONPU_FW_ABI_HW].major = 1;
	h->abi[ONPU_FW_ABI_MBOX].major = ONPU_MBOX_ABI_MAJOR;
	h->abi[ONPU_FW_ABI_PACKET].major = ONPU_PACKET_ABI_MAJOR;
	return 0;
}

static int layout(struct kunit *test)
{
	struct fw_test *t = test->priv;

	return onpu_fw_check_layout(&t->odev, &t->header, IMAGE_SIZE);
}

/* With the field set to @value, the layout is judged as @result; then it is as before. */
static void try_value(struct kunit *test, u32 *field, u32 value, int result)
{
	struct fw_test *t = test->priv;
	u32 before = *field;

	*field = value;
	KUNIT_EXPECT_EQ_MSG(test, layout(test), result, "value %#x of byte %td", value,
			    (u8 *)field - (u8 *)&t->header);
	*field = before;
}

static void a_good_header_passes(struct kunit *test)
{
	struct fw_test *t = test->priv;

	KUNIT_EXPECT_EQ(test, layout(test), 0);
	KUNIT_EXPECT_EQ(test, onpu_fw_check_versions(&t->odev, &t->header), 0);
}

static void head(struct kunit *test)
{
	struct fw_test *t = test->priv;

	try_value(test, &t->header.magic, ONPU_FW_MAGIC ^ 1, -EINVAL);
	try_value(test, &t->header.magic, 0, -EINVAL);
	try_value(test, &t->header.header_version, 0, -EINVAL);
	try_value(test, &t->header.header_version, ONPU_FW_HEADER_VERSION + 1, -EINVAL);
	try_value(test, &t->header.header_size, ONPU_FW_HEADER_SIZE - 1, -EINVAL);
	try_value(test, &t->header.header_size, ONPU_FW_HEADER_SIZE + 64, -EINVAL);
	try_value(test, &t->header.image_size, IMAGE_SIZE - 1, -EINVAL);
	try_value(test, &t->header.image_size, IMAGE_SIZE + 1, -EINVAL);
	try_value(test, &t->header.image_size, 0, -EINVAL);
}

static void number_of_sections(struct kunit *test)
{
	struct fw_test *t = test->priv;
	unsigned int i;

	try_value(test, &t->header.num_sections, 0, -EINVAL);
	try_value(test, &t->header.num_sections, ONPU_FW_MAX_SECTIONS + 1, -EINVAL);
	try_value(test, &t->header.num_sections, ~0u, -EINVAL);
	/* The second one is empty, and at no place that a section can have. */
	try_value(test, &t->header.num_sections, 2, -EINVAL);
	for (i = 1; i < ONPU_FW_MAX_SECTIONS; i++)
		t->header.sections[i].offset = ONPU_FW_HEADER_SIZE;
	try_value(test, &t->header.num_sections, ONPU_FW_MAX_SECTIONS, 0);
	/* The last one is looked at as well. */
	t->header.num_sections = ONPU_FW_MAX_SECTIONS;
	try_value(test, &t->header.sections[ONPU_FW_MAX_SECTIONS - 1].file_size, 4097, -EINVAL);
}

static void place_of_a_section(struct kunit *test)
{
	struct fw_test *t = test->priv;

	try_value(test, &t->header.sections[0].offset, ONPU_FW_HEADER_SIZE - 1, -EINVAL);
	try_value(test, &t->header.sections[0].offset, 0, -EINVAL);
	try_value(test, &t->header.sections[0].offset, ONPU_FW_HEADER_SIZE + 1, -EINVAL);
	try_value(test, &t->header.sections[0].offset, ~0u, -EINVAL);
	/* The sum of offset and size would wrap. */
	try_value(test, &t->header.sections[0].offset, 0u - 4096, -EINVAL);
	try_value(test, &t->header.sections[0].file_size, 4097, -EINVAL);
	try_value(test, &t->header.sections[0].file_size, ~0u, -EINVAL);
	try_value(test, &t->header.sections[0].file_size, 0u - ONPU_FW_HEADER_SIZE, -EINVAL);
	try_value(test, &t->header.sections[0].mem_size, 4095, -EINVAL);
	try_value(test, &t->header.sections[0].mem_size, 0, -EINVAL);
	try_value(test, &t->header.sections[0].mem_size, 8192, 0);
	/* One without bytes may stand at the end, but not behind it. */
	t->header.sections[0].file_size = 0;
	try_value(test, &t->header.sections[0].offset, IMAGE_SIZE, 0);
	try_value(test, &t->header.sections[0].offset, IMAGE_SIZE + 1, -EINVAL);
}

static void versions(struct kunit *test)
{
	struct fw_test *t = test->priv;
	unsigned int i;

	for (i = 0; i < ONPU_FW_ABI_COUNT; i++) {
		struct onpu_fw_version *v = &t->header.abi[i];

		v->minor = 0xffff;
		KUNIT_EXPECT_EQ_MSG(test, onpu_fw_check_versions(&t->odev, &t->header), 0,
				    "interface %u", i);
		v->major++;
		KUNIT_EXPECT_EQ_MSG(test, onpu_fw_check_versions(&t->odev, &t->header), -EINVAL,
				    "interface %u", i);
		v->major -= 2;
		KUNIT_EXPECT_EQ_MSG(test, onpu_fw_check_versions(&t->odev, &t->header), -EINVAL,
				    "interface %u", i);
		v->major++;
	}
}

static void every_error_has_a_name(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i <= ONPU_BOOT_ERR_RESERVED; i++)
		KUNIT_EXPECT_NOT_NULL_MSG(test, onpu_fw_error_name(i), "error %u", i);
	KUNIT_EXPECT_STREQ(test, onpu_fw_error_name(ONPU_BOOT_ERR_RESERVED + 1), "unknown error");
	KUNIT_EXPECT_STREQ(test, onpu_fw_error_name(~0u), "unknown error");
}

static void ends_of_boot(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, onpu_fw_boot_ended(ONPU_BOOT_STAGE_READY));
	KUNIT_EXPECT_TRUE(test, onpu_fw_boot_ended(ONPU_BOOT_STAGE_FAILED));
	KUNIT_EXPECT_TRUE(test, onpu_fw_boot_ended(ONPU_BOOT_STAGE_CRASHED));
	KUNIT_EXPECT_TRUE(test, onpu_fw_boot_ended(~0u));
	KUNIT_EXPECT_FALSE(test, onpu_fw_boot_ended(ONPU_BOOT_STAGE_ROM));
}

static struct kunit_case fw_cases[] = {
	KUNIT_CASE(a_good_header_passes),
	KUNIT_CASE(head),
	KUNIT_CASE(number_of_sections),
	KUNIT_CASE(place_of_a_section),
	KUNIT_CASE(versions),
	KUNIT_CASE(every_error_has_a_name),
	KUNIT_CASE(ends_of_boot),
	{}
};

struct kunit_suite onpu_fw_suite = {
	.name = "onpu_fw",
	.init = fw_init,
	.test_cases = fw_cases,
};

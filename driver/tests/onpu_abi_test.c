// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Tests of the ABI
 *
 * What user space was compiled with must never change: number, direction and
 * size of each ioctl, and the rules that every structure keeps.
 */

#include <kunit/test.h>

#include <linux/ioctl.h>

#include <drm/onpu_accel.h>

#include "onpu_kunit.h"

/* As user space has them since the version that they came with. */
static const struct {
	unsigned int nr, dir, size, cmd;
} ioctls[] = {
	{ 0x40, _IOC_READ | _IOC_WRITE, 16, DRM_IOCTL_ONPU_DEV_QUERY },
	{ 0x41, _IOC_READ | _IOC_WRITE, 24, DRM_IOCTL_ONPU_BO_CREATE },
	{ 0x42, _IOC_READ | _IOC_WRITE, 16, DRM_IOCTL_ONPU_BO_MMAP_OFFSET },
	{ 0x43, _IOC_READ | _IOC_WRITE, 8, DRM_IOCTL_ONPU_VM_CREATE },
	{ 0x44, _IOC_WRITE, 8, DRM_IOCTL_ONPU_VM_DESTROY },
	{ 0x45, _IOC_READ | _IOC_WRITE, 32, DRM_IOCTL_ONPU_VM_BIND },
	{ 0x46, _IOC_READ | _IOC_WRITE, 16, DRM_IOCTL_ONPU_QUEUE_CREATE },
	{ 0x47, _IOC_WRITE, 8, DRM_IOCTL_ONPU_QUEUE_DESTROY },
	{ 0x48, _IOC_READ | _IOC_WRITE, 48, DRM_IOCTL_ONPU_QUEUE_GET_STATE },
	{ 0x49, _IOC_WRITE, 24, DRM_IOCTL_ONPU_SUBMIT },
	{ 0x4a, _IOC_READ | _IOC_WRITE, 16, DRM_IOCTL_ONPU_BO_ADVISE },
	{ 0x4b, _IOC_READ | _IOC_WRITE, 24, DRM_IOCTL_ONPU_BO_INFO },
	{ 0x4c, _IOC_READ | _IOC_WRITE, 24, DRM_IOCTL_ONPU_BO_USERPTR },
	{ 0x4d, _IOC_READ | _IOC_WRITE, 56, DRM_IOCTL_ONPU_VM_GET_STATE },
	{ 0x4e, _IOC_WRITE, 40, DRM_IOCTL_ONPU_WAIT },
	{ 0x4f, _IOC_WRITE, 16, DRM_IOCTL_ONPU_QUEUE_NOTIFY },
};

static void ioctl_numbers_stay(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ioctls); i++) {
		unsigned int cmd = ioctls[i].cmd;

		KUNIT_EXPECT_EQ_MSG(test, _IOC_TYPE(cmd), 'd', "ioctl %u", i);
		KUNIT_EXPECT_EQ_MSG(test, _IOC_NR(cmd), ioctls[i].nr, "ioctl %u", i);
		KUNIT_EXPECT_EQ_MSG(test, _IOC_DIR(cmd), ioctls[i].dir, "ioctl %u", i);
		/* An argument may grow at its end, so that older ones are a beginning of it. */
		KUNIT_EXPECT_GE_MSG(test, _IOC_SIZE(cmd), ioctls[i].size, "ioctl %u", i);
	}
}

#define CHECK_STRUCT(type, first_size) do {					\
		KUNIT_EXPECT_EQ_MSG(test, sizeof(struct type) % 8, 0, #type);	\
		KUNIT_EXPECT_LE_MSG(test, __alignof__(struct type), 8, #type);	\
		KUNIT_EXPECT_GE_MSG(test, sizeof(struct type), first_size, #type); \
	} while (0)

static void structures_keep_the_rules(struct kunit *test)
{
	CHECK_STRUCT(drm_onpu_array, 16);
	CHECK_STRUCT(drm_onpu_query_device, 56);
	CHECK_STRUCT(drm_onpu_query_memory, 64);
	CHECK_STRUCT(drm_onpu_query_firmware, 56);
	CHECK_STRUCT(drm_onpu_query_limits, 40);
	CHECK_STRUCT(drm_onpu_query_counters, 72);
	CHECK_STRUCT(drm_onpu_bind_op, 40);
	CHECK_STRUCT(drm_onpu_sync, 16);
	CHECK_STRUCT(drm_onpu_job, 32);
}

static void array_members_stay(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, offsetof(struct drm_onpu_bind_op, bo_offset), 16);
	KUNIT_EXPECT_EQ(test, offsetof(struct drm_onpu_bind_op, va), 24);
	KUNIT_EXPECT_EQ(test, offsetof(struct drm_onpu_bind_op, size), 32);
	KUNIT_EXPECT_EQ(test, offsetof(struct drm_onpu_sync, point), 8);
	KUNIT_EXPECT_EQ(test, offsetof(struct drm_onpu_job, cmd_count), 8);
	KUNIT_EXPECT_EQ(test, offsetof(struct drm_onpu_job, syncs), 16);
}

static struct kunit_case abi_cases[] = {
	KUNIT_CASE(ioctl_numbers_stay),
	KUNIT_CASE(structures_keep_the_rules),
	KUNIT_CASE(array_members_stay),
	{}
};

struct kunit_suite onpu_abi_suite = {
	.name = "onpu_abi",
	.test_cases = abi_cases,
};

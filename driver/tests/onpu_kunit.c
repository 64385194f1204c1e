// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: KUnit tests
 *
 * The driver's pure logic without a card: page tables, ring, firmware header,
 * arrays from user space, ABI. Each test file includes the source that it tests,
 * so that it reaches static functions, and gives it small fakes of what that
 * source calls. So the module onpu_kunit needs neither onpu.ko nor exports
 * of it. Kbuild makes it where the kernel has KUnit.
 *
 * Locking: none; KUnit runs one test at a time.
 */

#include <linux/module.h>

#include <kunit/test.h>

#include "onpu_kunit.h"

kunit_test_suites(&onpu_abi_suite,
		  &onpu_fw_suite,
		  &onpu_job_suite,
		  &onpu_pt_suite,
		  &onpu_user_suite);

MODULE_DESCRIPTION("KUnit tests of the ONPU driver");
MODULE_AUTHOR("The ONPU authors");
MODULE_LICENSE("GPL");

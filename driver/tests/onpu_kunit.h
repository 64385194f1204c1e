/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_KUNIT_H__
#define __ONPU_KUNIT_H__

struct kunit_suite;

extern struct kunit_suite onpu_abi_suite;
extern struct kunit_suite onpu_fw_suite;
extern struct kunit_suite onpu_job_suite;
extern struct kunit_suite onpu_pt_suite;
extern struct kunit_suite onpu_user_suite;

#endif /* __ONPU_KUNIT_H__ */

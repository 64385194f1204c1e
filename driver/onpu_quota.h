/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_QUOTA_H__
#define __ONPU_QUOTA_H__

#include <linux/types.h>

struct drm_onpu_query_limits;
struct onpu_device;
struct onpu_quota;

/**
 * enum onpu_quota_kind - what a user can have so many of
 */
enum onpu_quota_kind {
	/** @ONPU_QUOTA_VMS: address spaces */
	ONPU_QUOTA_VMS,
	/** @ONPU_QUOTA_QUEUES: queues */
	ONPU_QUOTA_QUEUES,
	/** @ONPU_QUOTA_KINDS: how many kinds there are */
	ONPU_QUOTA_KINDS,
};

struct onpu_quota *onpu_quota_charge(struct onpu_device *odev, enum onpu_quota_kind kind);
void onpu_quota_uncharge(struct onpu_device *odev, struct onpu_quota *quota,
			 enum onpu_quota_kind kind);
void onpu_quota_query(struct onpu_device *odev, struct drm_onpu_query_limits *limits);
int onpu_quota_init(struct onpu_device *odev);

#endif /* __ONPU_QUOTA_H__ */

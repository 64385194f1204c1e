/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_FW_H__
#define __ONPU_FW_H__

struct drm_onpu_query_firmware;
struct onpu_device;

int onpu_fw_init(struct onpu_device *odev);
int onpu_fw_reset_card(struct onpu_device *odev);
int onpu_fw_boot(struct onpu_device *odev);
void onpu_fw_report_crash(struct onpu_device *odev);
void onpu_fw_query(struct onpu_device *odev, struct drm_onpu_query_firmware *q);

#endif /* __ONPU_FW_H__ */

/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_MBOX_H__
#define __ONPU_MBOX_H__

#include <linux/types.h>

#include <onpu/mbox.h>

struct onpu_device;

int onpu_mbox_init(struct onpu_device *odev);
int onpu_mbox_start(struct onpu_device *odev);
void onpu_mbox_stop(struct onpu_device *odev, int error);
void onpu_mbox_receive(struct onpu_device *odev);

int onpu_mbox_call(struct onpu_device *odev, const struct onpu_msg *req, struct onpu_msg *resp);
int onpu_mbox_create(struct onpu_device *odev, const struct onpu_msg *req);
int onpu_mbox_ctx_create(struct onpu_device *odev, u32 asid, u64 root);
int onpu_mbox_ctx_destroy(struct onpu_device *odev, u32 asid);
u32 onpu_mbox_timeout_ms(void);
bool onpu_mbox_can_suspend(struct onpu_device *odev);
bool onpu_mbox_keeps_progress(struct onpu_device *odev);
int onpu_mbox_ctx_suspend(struct onpu_device *odev, u32 asid);
int onpu_mbox_ctx_resume(struct onpu_device *odev, u32 asid);
int onpu_mbox_engine_reset(struct onpu_device *odev);

int onpu_mbox_read_crash(struct onpu_device *odev, struct onpu_fw_crash *crash);
void onpu_mbox_report_log(struct onpu_device *odev);

#endif /* __ONPU_MBOX_H__ */

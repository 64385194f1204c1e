/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_RECOVERY_H__
#define __ONPU_RECOVERY_H__

#include <linux/types.h>

struct onpu_device;
struct pci_error_handlers;
struct workqueue_struct;

int onpu_recovery_init(struct onpu_device *odev);
void onpu_recovery_prepare_unplug(struct onpu_device *odev);
void onpu_recovery_unplug(struct onpu_device *odev);

int onpu_recovery_enter(struct onpu_device *odev);
void onpu_recovery_block(struct onpu_device *odev);
bool onpu_recovery_try_block(struct onpu_device *odev);
void onpu_recovery_touch(struct onpu_device *odev);
void onpu_recovery_untouch(struct onpu_device *odev);
void onpu_recovery_exit(struct onpu_device *odev);

void onpu_recovery_restart(struct onpu_device *odev, const char *why);
void onpu_recovery_stop_card(struct onpu_device *odev, const char *why);
void onpu_recovery_wedge_card(struct onpu_device *odev, const char *why);
void onpu_recovery_flush(struct onpu_device *odev);
void onpu_recovery_sync(struct onpu_device *odev);
bool onpu_recovery_is_up(struct onpu_device *odev);
bool onpu_recovery_is_halted(struct onpu_device *odev);
u32 onpu_recovery_restarts(struct onpu_device *odev);
bool onpu_recovery_is_stopped(struct onpu_device *odev);
bool onpu_recovery_is_gone(struct onpu_device *odev);
bool onpu_recovery_is_wedged(struct onpu_device *odev);
struct workqueue_struct *onpu_recovery_wq(struct onpu_device *odev);

extern const struct pci_error_handlers onpu_pci_error_handlers;

#endif /* __ONPU_RECOVERY_H__ */

/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_LR_H__
#define __ONPU_LR_H__

#include <linux/types.h>

struct dma_resv;
struct onpu_device;
struct onpu_lr;
struct onpu_vm;

int onpu_lr_init(struct onpu_device *odev);

struct onpu_lr *onpu_lr_create(struct onpu_vm *vm, struct onpu_device *odev);
void onpu_lr_destroy(struct onpu_lr *lr);

int onpu_lr_add_queue(struct onpu_lr *lr, bool user);
void onpu_lr_remove_queue(struct onpu_lr *lr, bool user);
void onpu_lr_wake(struct onpu_lr *lr);
void onpu_lr_validate(struct onpu_lr *lr);
int onpu_lr_restore(struct onpu_lr *lr, u64 root);
void onpu_lr_forget(struct dma_resv *resv);

#endif /* __ONPU_LR_H__ */

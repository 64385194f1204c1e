/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_IRQ_H__
#define __ONPU_IRQ_H__

#include <linux/sysfs.h>
#include <linux/types.h>

struct eventfd_ctx;
struct onpu_device;
struct onpu_queue;

extern const struct attribute_group onpu_irq_attr_group;

int onpu_irq_init(struct onpu_device *odev);
void onpu_irq_enable(struct onpu_device *odev);
void onpu_irq_disable(struct onpu_device *odev);

u32 onpu_irq_vector_of(struct onpu_device *odev, u32 index);
void onpu_irq_watch(struct onpu_queue *queue);
void onpu_irq_unwatch(struct onpu_queue *queue);
struct eventfd_ctx *onpu_irq_set_notify(struct onpu_queue *queue, struct eventfd_ctx *eventfd);
void onpu_irq_notify(struct onpu_queue *queue);

#endif /* __ONPU_IRQ_H__ */

/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __ONPU_RECOVERY_H__
#define __ONPU_RECOVERY_H__

#include <linux/types.h>

struct onpu_device;
struct pci_error_handlers;
struct workqueue_struct;

/*
 * Hooks of probe and remove: onpu_recovery_init() after the BARs are mapped, the
 * capabilities read and card memory can be allocated, before
 * drm_dev_register(); onpu_recovery_unplug() after drm_dev_unplug().
 */
int onpu_recovery_init(struct onpu_device *odev);
void onpu_recovery_unplug(struct onpu_device *odev);

void onpu_recovery_wedge(struct onpu_device *odev, const char *why);
bool onpu_recovery_is_wedged(struct onpu_device *odev);
struct workqueue_struct *onpu_recovery_wq(struct onpu_device *odev);
struct workqueue_struct *onpu_recovery_sched_wq(struct onpu_device *odev);

extern const struct pci_error_handlers onpu_pci_error_handlers;

#endif /* __ONPU_RECOVERY_H__ */

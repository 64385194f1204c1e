/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __ONPU_QUEUE_H__
#define __ONPU_QUEUE_H__

#include <linux/types.h>

struct drm_device;
struct drm_file;
struct drm_printer;
struct onpu_device;
struct onpu_file;

/* Limits, told to user space by DEV_QUERY; ONPU_MAX_FILE_QUEUES is in onpu_device.h */

#define ONPU_MAX_JOBS_PER_SUBMIT	64
#define ONPU_MAX_SYNCS_PER_JOB		64
#define ONPU_MAX_JOBS_IN_FLIGHT		1024

int onpu_queue_mgr_init(struct onpu_device *odev);

/* Hook of postclose, before the file's VMs go. */
void onpu_queue_file_close(struct onpu_file *ofile);
/* Hook of show_fdinfo: the drm-engine lines. */
void onpu_queue_show_fdinfo(struct drm_printer *p, struct onpu_file *ofile);
/* For DEV_QUERY. */
u32 onpu_queue_job_timeout_ms(void);

int onpu_ioctl_queue_create(struct drm_device *drm, void *data, struct drm_file *file);
int onpu_ioctl_queue_destroy(struct drm_device *drm, void *data, struct drm_file *file);
int onpu_ioctl_queue_get_state(struct drm_device *drm, void *data, struct drm_file *file);

#endif /* __ONPU_QUEUE_H__ */

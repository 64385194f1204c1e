// SPDX-License-Identifier: GPL-2.0-only
/* drm_sched_job_init() takes a client id as fifth argument. */
#include <linux/module.h>
#include <drm/gpu_scheduler.h>

_Static_assert(__builtin_types_compatible_p(typeof(&drm_sched_job_init),
	int (*)(struct drm_sched_job *, struct drm_sched_entity *, u32, void *, u64)), "");

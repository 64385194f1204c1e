// SPDX-License-Identifier: GPL-2.0-only
/* drm_sched_init() takes a structure, before that a row of arguments. */
#include <linux/module.h>
#include <drm/gpu_scheduler.h>

_Static_assert(__builtin_types_compatible_p(typeof(&drm_sched_init),
	int (*)(struct drm_gpu_scheduler *, const struct drm_sched_init_args *)), "");

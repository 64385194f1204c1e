// SPDX-License-Identifier: GPL-2.0-only
/* drm_gpuvm_bo_obtain_locked(), before that drm_gpuvm_bo_obtain(). */
#include <linux/module.h>
#include <drm/drm_gpuvm.h>

_Static_assert(__builtin_types_compatible_p(typeof(&drm_gpuvm_bo_obtain_locked),
	struct drm_gpuvm_bo *(*)(struct drm_gpuvm *, struct drm_gem_object *)), "");

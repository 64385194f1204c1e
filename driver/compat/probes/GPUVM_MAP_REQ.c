// SPDX-License-Identifier: GPL-2.0-only
/* drm_gpuvm_sm_map() takes a request, before that its members. */
#include <linux/module.h>
#include <drm/drm_gpuvm.h>

_Static_assert(__builtin_types_compatible_p(typeof(&drm_gpuvm_sm_map),
	int (*)(struct drm_gpuvm *, void *, const struct drm_gpuvm_map_req *)), "");

// SPDX-License-Identifier: GPL-2.0-only
/* ttm_device_init() takes allocation flags, before that two booleans. */
#include <linux/module.h>
#include <drm/ttm/ttm_device.h>
#include <drm/ttm/ttm_allocation.h>

_Static_assert(__builtin_types_compatible_p(typeof(&ttm_device_init),
	int (*)(struct ttm_device *, const struct ttm_device_funcs *, struct device *,
		struct address_space *, struct drm_vma_offset_manager *, unsigned int)), "");

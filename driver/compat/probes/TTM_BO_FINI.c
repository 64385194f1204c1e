// SPDX-License-Identifier: GPL-2.0-only
/* ttm_bo_fini(), before that ttm_bo_put(). */
#include <linux/module.h>
#include <drm/ttm/ttm_bo.h>

_Static_assert(__builtin_types_compatible_p(typeof(&ttm_bo_fini),
	void (*)(struct ttm_buffer_object *)), "");

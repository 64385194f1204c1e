// SPDX-License-Identifier: GPL-2.0-only
/* The buddy allocator's names: gpu_buddy, before that drm_buddy. */
#include <linux/gpu_buddy.h>

_Static_assert(__builtin_types_compatible_p(typeof(&gpu_buddy_free_block),
	void (*)(struct gpu_buddy *, struct gpu_buddy_block *)), "");

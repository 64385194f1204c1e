// SPDX-License-Identifier: GPL-2.0-only
/* drm_print_memory_stats() is told whether "active" is known; before, it always is. */
#include <linux/module.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>

_Static_assert(DRM_GEM_OBJECT_ACTIVE != 0, "");

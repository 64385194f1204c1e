// SPDX-License-Identifier: GPL-2.0-only
/* There are dmem cgroups, but a region is told its size only. */
#include <linux/module.h>
#include <linux/cgroup_dmem.h>
#include <drm/drm_drv.h>
#include <drm/ttm/ttm_resource.h>

_Static_assert(__builtin_types_compatible_p(typeof(&drmm_cgroup_register_region),
	struct dmem_cgroup_region *(*)(struct drm_device *, const char *, u64)), "");

void probe(struct ttm_resource_manager *man, struct dmem_cgroup_region *region)
{
	man->cg = region;
}

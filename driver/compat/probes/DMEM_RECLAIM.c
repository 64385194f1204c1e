// SPDX-License-Identifier: GPL-2.0-only
/* A region of a dmem cgroup takes back memory when a limit falls. */
#include <linux/module.h>
#include <linux/cgroup_dmem.h>
#include <drm/drm_drv.h>
#include <drm/ttm/ttm_resource.h>

static const struct dmem_cgroup_ops ops = { .reclaim = ttm_resource_manager_dmem_reclaim };

void probe(struct drm_device *drm, struct ttm_resource_manager *man)
{
	const struct dmem_cgroup_init init = { .size = 4096, .ops = &ops, .reclaim_priv = man };

	ttm_resource_manager_set_dmem_region(man, drmm_cgroup_register_region(drm, "x", &init));
}

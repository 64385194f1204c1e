// SPDX-License-Identifier: GPL-2.0-only
/* Must compile: shows that probing works at all. */
#include <linux/module.h>
#include <drm/drm_device.h>

int probe(struct drm_device *drm);
int probe(struct drm_device *drm)
{
	return drm->driver != NULL;
}

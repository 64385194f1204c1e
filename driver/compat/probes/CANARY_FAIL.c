// SPDX-License-Identifier: GPL-2.0-only
/* Must not compile: shows that a missing function is noticed. */
#include <linux/module.h>
#include <drm/drm_device.h>

int probe(struct drm_device *drm);
int probe(struct drm_device *drm)
{
	return drm_device_has_no_such_function(drm);
}

// SPDX-License-Identifier: GPL-2.0-only
/* A driver announces GPUVA support by a feature bit, later it need not. */
#include <linux/module.h>
#include <drm/drm_drv.h>

int probe(void);
int probe(void)
{
	return DRIVER_GEM_GPUVA;
}

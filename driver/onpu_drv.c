// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: ONPU driver
 *
 * The module, the PCI driver, the DRM driver with its ioctl table, and open and
 * close of files. Every ioctl of the driver runs between drm_dev_enter() and
 * drm_dev_exit(), so that none of them needs to ask whether the card is still
 * there.
 *
 * Locking: none of its own; the lock order of the driver is in onpu_device.c.
 */

#include <linux/compat.h>
#include <linux/module.h>
#include <linux/pci.h>

#include <drm/drm_accel.h>
#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_ioctl.h>
#include <drm/onpu_accel.h>

#include "onpu_bo.h"
#include "onpu_device.h"
#include "onpu_irq.h"
#include "onpu_prime.h"
#include "onpu_query.h"
#include "onpu_queue.h"
#include "onpu_recovery.h"
#include "onpu_submit.h"
#include "onpu_uqueue.h"
#include "onpu_userptr.h"
#include "onpu_vm.h"
#include "onpu_wait.h"

struct workqueue_struct *onpu_wq;

static int onpu_open(struct drm_device *drm, struct drm_file *file)
{
	file->driver_priv = onpu_file_create(to_onpu_device(drm));

	return file->driver_priv ? 0 : -ENOMEM;
}

static void onpu_postclose(struct drm_device *drm, struct drm_file *file)
{
	struct onpu_file *ofile = file->driver_priv;

	onpu_queue_file_close(ofile);
	onpu_vm_close_all(ofile);
	onpu_file_put(ofile);

	/* What the file had is free again, and the module with it, when this returns. */
	onpu_flush_teardown();
}

static void onpu_show_fdinfo(struct drm_printer *p, struct drm_file *file)
{
	onpu_queue_show_fdinfo(p, file->driver_priv);
	onpu_bo_show_fdinfo(p, file);
}

static bool is_onpu_ioctl(unsigned int cmd)
{
	unsigned int nr = DRM_IOCTL_NR(cmd);

	return nr >= DRM_COMMAND_BASE && nr < DRM_COMMAND_END;
}

/*
 * DRM's own must not hold up an unplug: waiting for a syncobj has no end, and no more
 * has our WAIT. But those that share memory use the card.
 */
static bool needs_card(unsigned int cmd)
{
	if (DRM_IOCTL_NR(cmd) == DRM_COMMAND_BASE + DRM_ONPU_WAIT)
		return false;
	return is_onpu_ioctl(cmd) || cmd == DRM_IOCTL_PRIME_HANDLE_TO_FD ||
	       cmd == DRM_IOCTL_PRIME_FD_TO_HANDLE;
}

static long onpu_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	struct drm_file *file = filp->private_data;
	struct drm_device *drm = file->minor->dev;
	long ret;
	int idx;

	if (!needs_card(cmd))
		return drm_ioctl(filp, cmd, arg);

	if (!drm_dev_enter(drm, &idx))
		return -ENODEV;

	ret = drm_ioctl(filp, cmd, arg);
	drm_dev_exit(idx);

	return ret;
}

#ifdef CONFIG_COMPAT
static long onpu_compat_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	/* These have the same layout everywhere. */
	if (is_onpu_ioctl(cmd) || needs_card(cmd))
		return onpu_ioctl(filp, cmd, (unsigned long)compat_ptr(arg));

	return drm_compat_ioctl(filp, cmd, arg);
}
#else
#define onpu_compat_ioctl NULL
#endif

static const struct file_operations onpu_fops = {
	.owner = THIS_MODULE,
	.open = accel_open,
	.release = drm_release,
	.unlocked_ioctl = onpu_ioctl,
	.compat_ioctl = onpu_compat_ioctl,
	.poll = drm_poll,
	.read = drm_read,
	.llseek = noop_llseek,
	.mmap = onpu_uqueue_mmap,
	.show_fdinfo = drm_show_fdinfo,
	.fop_flags = FOP_UNSIGNED_OFFSET,
};

static const struct drm_ioctl_desc onpu_ioctls[] = {
	DRM_IOCTL_DEF_DRV(ONPU_DEV_QUERY, onpu_ioctl_dev_query, 0),
	DRM_IOCTL_DEF_DRV(ONPU_BO_CREATE, onpu_ioctl_bo_create, 0),
	DRM_IOCTL_DEF_DRV(ONPU_BO_MMAP_OFFSET, onpu_ioctl_bo_mmap_offset, 0),
	DRM_IOCTL_DEF_DRV(ONPU_VM_CREATE, onpu_ioctl_vm_create, 0),
	DRM_IOCTL_DEF_DRV(ONPU_VM_DESTROY, onpu_ioctl_vm_destroy, 0),
	DRM_IOCTL_DEF_DRV(ONPU_VM_BIND, onpu_ioctl_vm_bind, 0),
	DRM_IOCTL_DEF_DRV(ONPU_QUEUE_CREATE, onpu_ioctl_queue_create, 0),
	DRM_IOCTL_DEF_DRV(ONPU_QUEUE_DESTROY, onpu_ioctl_queue_destroy, 0),
	DRM_IOCTL_DEF_DRV(ONPU_QUEUE_GET_STATE, onpu_ioctl_queue_get_state, 0),
	DRM_IOCTL_DEF_DRV(ONPU_SUBMIT, onpu_ioctl_submit, 0),
	DRM_IOCTL_DEF_DRV(ONPU_BO_ADVISE, onpu_ioctl_bo_advise, 0),
	DRM_IOCTL_DEF_DRV(ONPU_BO_INFO, onpu_ioctl_bo_info, 0),
	DRM_IOCTL_DEF_DRV(ONPU_BO_USERPTR, onpu_ioctl_bo_userptr, 0),
	DRM_IOCTL_DEF_DRV(ONPU_VM_GET_STATE, onpu_ioctl_vm_get_state, 0),
	DRM_IOCTL_DEF_DRV(ONPU_WAIT, onpu_ioctl_wait, 0),
	DRM_IOCTL_DEF_DRV(ONPU_QUEUE_NOTIFY, onpu_ioctl_queue_notify, 0),
};

/*
 * Versions of the uAPI:
 *  1.0 - initial
 *  1.1 - BO_USERPTR, VM_GET_STATE; foreign dma-bufs; DRM_ONPU_BO_CPU_VISIBLE, BO_ADVISE,
 *        BO_INFO
 *  1.2 - WAIT, QUEUE_NOTIFY; long-running address spaces and user-mode queues
 *  1.3 - limits for each user; restarts of the firmware are counted
 *  1.4 - DRM_ONPU_QUEUE_PROGRESS
 */
static const struct drm_driver onpu_driver = {
	.driver_features = DRIVER_GEM | DRIVER_COMPUTE_ACCEL | DRIVER_SYNCOBJ |
			   DRIVER_SYNCOBJ_TIMELINE | ONPU_DRIVER_GEM_GPUVA,
	.open = onpu_open,
	.postclose = onpu_postclose,
	.show_fdinfo = onpu_show_fdinfo,
	.ioctls = onpu_ioctls,
	.num_ioctls = ARRAY_SIZE(onpu_ioctls),
	.gem_prime_import = onpu_prime_import,
	.fops = &onpu_fops,
	.name = "onpu",
	.desc = "ONPU accelerator",
	.major = 1,
	.minor = 4,
};

static int onpu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct onpu_device *odev;
	int ret;

	odev = devm_drm_dev_alloc(&pdev->dev, &onpu_driver, struct onpu_device, drm);
	if (IS_ERR(odev))
		return PTR_ERR(odev);
	pci_set_drvdata(pdev, odev);

	ret = onpu_device_init(odev);
	if (ret)
		return ret;

	ret = drm_dev_register(&odev->drm, 0);
	if (ret)
		onpu_device_unplug(odev);

	return ret;
}

static void onpu_remove(struct pci_dev *pdev)
{
	onpu_device_unplug(pci_get_drvdata(pdev));
}

static void onpu_shutdown(struct pci_dev *pdev)
{
	onpu_device_shutdown(pci_get_drvdata(pdev));
}

static const struct pci_device_id onpu_pci_ids[] = {
	{ PCI_DEVICE(ONPU_PCI_VENDOR_ID, ONPU_PCI_DEVICE_ID) },
	{}
};
MODULE_DEVICE_TABLE(pci, onpu_pci_ids);

static const struct attribute_group *onpu_dev_groups[] = {
	&onpu_irq_attr_group,
	NULL
};

static struct pci_driver onpu_pci_driver = {
	.name = "onpu",
	.id_table = onpu_pci_ids,
	.probe = onpu_probe,
	.remove = onpu_remove,
	.shutdown = onpu_shutdown,
	.err_handler = &onpu_pci_error_handlers,
	.dev_groups = onpu_dev_groups,
};

static int __init onpu_init(void)
{
	int ret;

	onpu_wq = alloc_workqueue("onpu", WQ_UNBOUND, 0);
	if (!onpu_wq)
		return -ENOMEM;

	ret = pci_register_driver(&onpu_pci_driver);
	if (ret)
		destroy_workqueue(onpu_wq);

	return ret;
}
module_init(onpu_init);

static void __exit onpu_exit(void)
{
	pci_unregister_driver(&onpu_pci_driver);
	destroy_workqueue(onpu_wq);
}
module_exit(onpu_exit);

MODULE_DESCRIPTION("ONPU accelerator");
MODULE_AUTHOR("The ONPU authors");
MODULE_LICENSE("GPL");

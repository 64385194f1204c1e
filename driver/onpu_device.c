// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Life of a card
 *
 * Probe maps the BARs, reads the capability registers once and checks them, then
 * sets up memory management and last the running card (firmware, mailbox,
 * interrupts, queues; onpu_recovery.c). What open files can reach lives until the
 * last of them is closed (drmm_); what belongs to the bus device ends with the
 * binding (devm_).
 *
 * Unplug may come at any time. Ioctls that wait for jobs are let go, then
 * drm_dev_unplug(): no ioctl starts any more, those that ran have ended, CPU
 * mappings fault to a dummy page, and code outside ioctls fails drm_dev_enter().
 * Then the card is reset, so that it does no DMA, every fence is signalled, and
 * the DMA mappings go.
 *
 * Lock order of the driver, outermost first:
 *
 *  1. drm_dev_enter() (SRCU), taken by the ioctl wrapper
 *  2. &onpu_device.room, by whoever looks for room or gives memory back, then
 *     &onpu_recovery.block, for reading by whoever writes card memory
 *  3. &onpu_device.vms.lock, &onpu_device.ext.lock
 *  4. &onpu_vm.lock
 *  5. reservations (ww_mutex) of VMs and buffer objects
 *  6. &onpu_vm.pt_lock, &onpu_recovery.touch, &onpu_vram_mgr.lock, TTM's LRU lock
 *  7. mailbox
 *  8. &onpu_queue.fences.lock, &onpu_device.tlb.lock, xarray locks
 *
 * The mailbox waits for the firmware, never for a job. It may be called with 3
 * held, not with reservations. The wait for a TLB invalidation (with 4 or pt_lock
 * held) may last as long as a packet runs: so whatever ends a packet, that is the
 * watchdog, the kill of a queue and wedging, takes none of 2 to 5. No fence depends
 * on 2 to 5; those of the copy engine wait for a reset that is under way, see
 * onpu_recovery.c.
 */

#include <linux/dma-mapping.h>
#include <linux/pci.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include <drm/drm_managed.h>

#include "onpu_bo.h"
#include "onpu_device.h"
#include "onpu_lr.h"
#include "onpu_migrate.h"
#include "onpu_queue.h"
#include "onpu_quota.h"
#include "onpu_recovery.h"
#include "onpu_vm.h"

/* --- capabilities ------------------------------------------------------------- */

static void caps_read(struct onpu_device *odev, struct onpu_caps *caps)
{
	caps->hw_version = onpu_read32(odev, ONPU_REG_HW_VERSION);
	caps->opcodes = onpu_read32(odev, ONPU_REG_OPCODES);
	caps->cores = onpu_read32(odev, ONPU_REG_CORES);
	caps->dtypes_in = onpu_read32(odev, ONPU_REG_DTYPES_IN);
	caps->dtypes_out = onpu_read32(odev, ONPU_REG_DTYPES_OUT);
	caps->core_clock_khz = onpu_read32(odev, ONPU_REG_CORE_CLOCK_KHZ);
	caps->dim_max = onpu_read32(odev, ONPU_REG_DIM_MAX);
	caps->vram_size = onpu_read64(odev, ONPU_REG_VRAM_SIZE);
	caps->aperture_size = onpu_read64(odev, ONPU_REG_APERTURE_SIZE);
	caps->fw_offset = onpu_read64(odev, ONPU_REG_FW_REGION_OFFSET);
	caps->fw_size = onpu_read64(odev, ONPU_REG_FW_REGION_SIZE);
	caps->queues = onpu_read32(odev, ONPU_REG_QUEUES);
	caps->slots = onpu_read32(odev, ONPU_REG_SLOTS);
	caps->contexts = onpu_read32(odev, ONPU_REG_CONTEXTS);
	caps->vectors = onpu_read32(odev, ONPU_REG_VECTORS);
	caps->page_sizes = onpu_read32(odev, ONPU_REG_PAGE_SIZES);
	caps->ring_order_max = onpu_read32(odev, ONPU_REG_RING_ORDER_MAX);
	caps->call_max = onpu_read32(odev, ONPU_REG_CALL_MAX);
	caps->doorbell_offset = onpu_read32(odev, ONPU_REG_DOORBELL_OFFSET);
	caps->doorbell_stride = onpu_read32(odev, ONPU_REG_DOORBELL_STRIDE);
	caps->serial = onpu_read64(odev, ONPU_REG_SERIAL);
	caps->dma_bits = onpu_read32(odev, ONPU_REG_DMA_BITS);
}

/* Says which statement of the card the driver cannot live with. */
#define CAPS_BAD(odev, cond) \
	((cond) && (drm_err(&(odev)->drm, "capability registers: %s\n", #cond), 1))

static bool caps_identity_bad(struct onpu_device *odev, const struct onpu_caps *caps)
{
	if (CAPS_BAD(odev, onpu_read32(odev, ONPU_REG_MAGIC) != ONPU_MAGIC))
		return true;

	if (caps->hw_version >> 16 != ONPU_HW_VERSION_MAJOR) {
		drm_err(&odev->drm, "hardware version %u.%u, this driver knows %u.x\n",
			caps->hw_version >> 16, caps->hw_version & 0xffff,
			ONPU_HW_VERSION_MAJOR);
		return true;
	}

	return false;
}

static bool caps_queues_bad(struct onpu_device *odev, const struct onpu_caps *caps,
			    resource_size_t bar_size)
{
	return CAPS_BAD(odev, !caps->queues || caps->queues > ONPU_MAX_QUEUES) ||
	       CAPS_BAD(odev, !caps->slots || caps->slots > ONPU_MAX_SLOTS) ||
	       CAPS_BAD(odev, !caps->contexts || caps->contexts > ONPU_MAX_CONTEXTS) ||
	       CAPS_BAD(odev, !caps->vectors || caps->vectors > ONPU_MAX_VECTORS) ||
	       CAPS_BAD(odev, !caps->call_max) ||
	       CAPS_BAD(odev, caps->ring_order_max > 16) ||
	       CAPS_BAD(odev, !PAGE_ALIGNED(caps->doorbell_offset)) ||
	       CAPS_BAD(odev, caps->doorbell_stride < sizeof(u32)) ||
	       CAPS_BAD(odev, caps->doorbell_offset + (u64)caps->queues * caps->doorbell_stride >
			      bar_size);
}

static bool caps_memory_bad(struct onpu_device *odev, const struct onpu_caps *caps,
			    resource_size_t bar_size)
{
	u32 va_bits = onpu_read32(odev, ONPU_REG_VA_BITS);
	u64 fw_end;

	return CAPS_BAD(odev, va_bits != ONPU_MMU_VA_BITS) ||
	       CAPS_BAD(odev, !(caps->page_sizes & BIT(ONPU_MMU_PAGE_SHIFT))) ||
	       CAPS_BAD(odev, caps->dma_bits < 32 || caps->dma_bits > 64) ||
	       CAPS_BAD(odev, !caps->vram_size || !PAGE_ALIGNED(caps->vram_size)) ||
	       CAPS_BAD(odev, caps->vram_size > ONPU_PTE_ADDR) ||
	       CAPS_BAD(odev, !caps->aperture_size || !PAGE_ALIGNED(caps->aperture_size)) ||
	       CAPS_BAD(odev, caps->aperture_size > caps->vram_size) ||
	       CAPS_BAD(odev, caps->aperture_size > bar_size) ||
	       CAPS_BAD(odev, !PAGE_ALIGNED(caps->fw_offset | caps->fw_size)) ||
	       CAPS_BAD(odev, !caps->fw_size) ||
	       CAPS_BAD(odev, check_add_overflow(caps->fw_offset, caps->fw_size, &fw_end)) ||
	       CAPS_BAD(odev, fw_end > caps->aperture_size);
}

static int caps_init(struct onpu_device *odev)
{
	struct pci_dev *pdev = to_pci_dev(odev->drm.dev);
	struct onpu_caps *caps = &odev->caps;

	caps_read(odev, caps);
	if (caps_identity_bad(odev, caps) ||
	    caps_queues_bad(odev, caps, pci_resource_len(pdev, ONPU_BAR_REGS)) ||
	    caps_memory_bad(odev, caps, pci_resource_len(pdev, ONPU_BAR_VRAM)))
		return -ENODEV;

	return 0;
}

/* --- init and unplug ------------------------------------------------------------ */

static int device_map_regs(struct onpu_device *odev, struct pci_dev *pdev)
{
	int ret;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;

	if (pci_resource_len(pdev, ONPU_BAR_REGS) < ONPU_REGS_END)
		return -ENODEV;

	odev->regs = pcim_iomap_region(pdev, ONPU_BAR_REGS, "onpu registers");
	return PTR_ERR_OR_ZERO(odev->regs);
}

static int device_map_vram(struct onpu_device *odev, struct pci_dev *pdev)
{
	int ret;

	ret = pcim_request_region(pdev, ONPU_BAR_VRAM, "onpu memory");
	if (ret)
		return ret;

	odev->vram.base = pci_resource_start(pdev, ONPU_BAR_VRAM);
	odev->vram.size = odev->caps.aperture_size;
	odev->vram.map = devm_ioremap_wc(&pdev->dev, odev->vram.base, odev->vram.size);

	return odev->vram.map ? 0 : -ENOMEM;
}

static void device_fini(struct drm_device *drm, void *arg)
{
	struct onpu_device *odev = to_onpu_device(drm);

	drm_WARN_ON(drm, !list_empty(&odev->vms.list));
	drm_WARN_ON(drm, !list_empty(&odev->ext.list));
	mutex_destroy(&odev->tts.lock);
	mutex_destroy(&odev->ext.lock);
	ida_destroy(&odev->vms.asids);
	mutex_destroy(&odev->vms.lock);
}

static int device_init_locks(struct onpu_device *odev)
{
	spin_lock_init(&odev->tlb.lock);
	init_waitqueue_head(&odev->waiters);
	init_rwsem(&odev->room);
	mutex_init(&odev->tts.lock);
	INIT_LIST_HEAD(&odev->tts.list);
	mutex_init(&odev->ext.lock);
	INIT_LIST_HEAD(&odev->ext.list);
	mutex_init(&odev->vms.lock);
	INIT_LIST_HEAD(&odev->vms.list);
	ida_init(&odev->vms.asids);

	return drmm_add_action_or_reset(&odev->drm, device_fini, NULL);
}

/**
 * onpu_device_init() - bring a card up
 * @odev: card, its DRM device initialised but not registered
 *
 * Return: 0 or a negative error; what was done is undone by devm_ and drmm_.
 */
int onpu_device_init(struct onpu_device *odev)
{
	struct pci_dev *pdev = to_pci_dev(odev->drm.dev);
	u32 dma_bits;
	int ret;

	ret = device_init_locks(odev);
	if (ret)
		return ret;

	ret = device_map_regs(odev, pdev);
	if (ret)
		return ret;

	ret = caps_init(odev);
	if (ret)
		return ret;

	ret = device_map_vram(odev, pdev);
	if (ret)
		return ret;

	/* Nor may an address have more bits than a page-table entry. */
	dma_bits = min_t(u32, odev->caps.dma_bits, fls64(ONPU_PTE_ADDR));
	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(dma_bits));
	if (ret)
		return ret;
	dma_set_max_seg_size(&pdev->dev, UINT_MAX);
	pci_set_master(pdev);

	ret = onpu_lr_init(odev);
	if (ret)
		return ret;

	ret = onpu_ttm_init(odev);
	if (ret)
		return ret;

	ret = onpu_quota_init(odev);
	if (ret)
		return ret;
	ret = onpu_recovery_init(odev);
	if (ret)
		return ret;

	ret = onpu_migrate_init(odev);
	if (ret)
		onpu_device_unplug(odev);

	return ret;
}

/**
 * onpu_device_unplug() - take a card down for good
 * @odev: card; open files stay usable, as far as that goes
 */
void onpu_device_unplug(struct onpu_device *odev)
{
	onpu_recovery_prepare_unplug(odev);
	drm_dev_unplug(&odev->drm);
	onpu_recovery_unplug(odev);
	flush_workqueue(odev->lr_wq);
	onpu_migrate_unplug(odev);
	onpu_ttm_unplug(odev);
	onpu_flush_teardown();
}

/**
 * onpu_device_shutdown() - silence a card before the machine goes down
 * @odev: card
 */
void onpu_device_shutdown(struct onpu_device *odev)
{
	int idx;

	if (!drm_dev_enter(&odev->drm, &idx))
		return;

	onpu_write32(odev, ONPU_REG_RESET, ONPU_RESET_KEY);
	pci_clear_master(to_pci_dev(odev->drm.dev));
	drm_dev_exit(idx);
}

/* --- files ------------------------------------------------------------------------ */

/**
 * onpu_file_create() - state of a newly opened file
 * @odev: card
 *
 * Return: the file with one reference, or NULL.
 */
struct onpu_file *onpu_file_create(struct onpu_device *odev)
{
	struct onpu_file *ofile;

	ofile = kzalloc(sizeof(*ofile), GFP_KERNEL_ACCOUNT);
	if (!ofile)
		return NULL;

	kref_init(&ofile->ref);
	ofile->odev = odev;
	drm_dev_get(&odev->drm);
	xa_init_flags(&ofile->vms, XA_FLAGS_ALLOC1);
	xa_init_flags(&ofile->queues, XA_FLAGS_ALLOC1);

	return ofile;
}

static void file_release(struct kref *ref)
{
	struct onpu_file *ofile = container_of(ref, struct onpu_file, ref);
	struct onpu_device *odev = ofile->odev;

	xa_destroy(&ofile->vms);
	xa_destroy(&ofile->queues);
	kfree(ofile);
	drm_dev_put(&odev->drm);
}

/**
 * onpu_file_put() - drop a reference
 * @ofile: open file
 *
 * The last one may drop the last one of the device too, so it may sleep.
 */
void onpu_file_put(struct onpu_file *ofile)
{
	kref_put(&ofile->ref, file_release);
}

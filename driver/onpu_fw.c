// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Firmware
 *
 * The management controller of the card runs a signed image. The driver reads
 * it once at probe, checks its header against itself and against the interface
 * versions that the driver speaks, and keeps it for restarts, which happen
 * where files cannot be read. To boot, it resets the card, copies the image to
 * the staging part of the firmware region, names it to the boot ROM and waits,
 * bounded, until the firmware is ready or refused. The ROM does the checks
 * that security rests on: it verifies its own copy.
 *
 * Locking: the image does not change after onpu_fw_init(). Boots happen at
 * probe and under the recovery lock (onpu_recovery.c), so never two at once.
 */

#include <linux/delay.h>
#include <linux/firmware.h>
#include <linux/iopoll.h>
#include <linux/module.h>

#include <drm/drm_managed.h>
#include <drm/onpu_accel.h>

#include <onpu/fwimage.h>
#include <onpu/mbox.h>
#include <onpu/mcu.h>
#include <onpu/packet.h>

#include "onpu_device.h"
#include "onpu_fw.h"
#include "onpu_mbox.h"
#include "onpu_recovery.h"

#define ONPU_RESET_TIMEOUT_US	(2 * USEC_PER_SEC)

static unsigned int boot_timeout_ms = 10000;
module_param(boot_timeout_ms, uint, 0644);
MODULE_PARM_DESC(boot_timeout_ms, "Time that the firmware has to boot (default 10000)");

/**
 * struct onpu_fw - the firmware of a card
 */
struct onpu_fw {
	/** @image: the file */
	const struct firmware *image;
	/** @header: copy of its header, checked */
	struct onpu_fw_header header;
};

static const char *onpu_fw_error_name(u32 error)
{
	static const char * const names[] = {
		[ONPU_BOOT_ERR_NONE] = "no error given",
		[ONPU_BOOT_ERR_RANGE] = "image outside the firmware region",
		[ONPU_BOOT_ERR_MAGIC] = "not a firmware image",
		[ONPU_BOOT_ERR_VERSION] = "header version not known to the boot ROM",
		[ONPU_BOOT_ERR_LENGTH] = "lengths contradict each other",
		[ONPU_BOOT_ERR_SECTION] = "section outside the controller's memory",
		[ONPU_BOOT_ERR_KEY] = "signed by a key that the card does not accept",
		[ONPU_BOOT_ERR_SIGNATURE] = "signature wrong",
		[ONPU_BOOT_ERR_HASH] = "hash of a section wrong",
		[ONPU_BOOT_ERR_ROLLBACK] = "security version older than the card accepts",
		[ONPU_BOOT_ERR_ENTRY] = "entry point outside the code",
		[ONPU_BOOT_ERR_HARDWARE] = "image is for other hardware",
		[ONPU_BOOT_ERR_RESERVED] = "reserved header bytes not zero",
	};

	return error < ARRAY_SIZE(names) ? names[error] : "unknown error";
}

static int onpu_fw_check_layout(struct onpu_device *odev, const struct onpu_fw_header *h,
				size_t size)
{
	u32 i;

	if (h->magic != ONPU_FW_MAGIC) {
		drm_err(&odev->drm, "firmware %s: not a firmware image\n", ONPU_FW_FILE);
		return -EINVAL;
	}
	if (h->header_version != ONPU_FW_HEADER_VERSION ||
	    h->header_size != ONPU_FW_HEADER_SIZE) {
		drm_err(&odev->drm, "firmware %s: header version %u of %u bytes, %u of %u known\n",
			ONPU_FW_FILE, h->header_version, h->header_size,
			ONPU_FW_HEADER_VERSION, ONPU_FW_HEADER_SIZE);
		return -EINVAL;
	}
	if (h->image_size != size) {
		drm_err(&odev->drm, "firmware %s: header says %u bytes, the file has %zu\n",
			ONPU_FW_FILE, h->image_size, size);
		return -EINVAL;
	}
	if (!h->num_sections || h->num_sections > ONPU_FW_MAX_SECTIONS) {
		drm_err(&odev->drm, "firmware %s: %u sections\n", ONPU_FW_FILE, h->num_sections);
		return -EINVAL;
	}
	for (i = 0; i < h->num_sections; i++) {
		const struct onpu_fw_section *s = &h->sections[i];

		if (s->offset < ONPU_FW_HEADER_SIZE || s->offset > size ||
		    s->file_size > size - s->offset || s->mem_size < s->file_size) {
			drm_err(&odev->drm, "firmware %s: section %u outside the file\n",
				ONPU_FW_FILE, i);
			return -EINVAL;
		}
	}

	return 0;
}

static int onpu_fw_check_abi(struct onpu_device *odev, const char *name,
			     struct onpu_fw_version have, u32 major)
{
	if (have.major == major)
		return 0;

	drm_err(&odev->drm, "firmware %s: %s interface %u.%u, %u.x needed\n",
		ONPU_FW_FILE, name, have.major, have.minor, major);
	return -EINVAL;
}

static int onpu_fw_check_versions(struct onpu_device *odev, const struct onpu_fw_header *h)
{
	int ret;

	ret = onpu_fw_check_abi(odev, "hardware", h->abi[ONPU_FW_ABI_HW],
				odev->caps.hw_version >> 16);
	if (ret)
		return ret;
	ret = onpu_fw_check_abi(odev, "mailbox", h->abi[ONPU_FW_ABI_MBOX], ONPU_MBOX_ABI_MAJOR);
	if (ret)
		return ret;
	return onpu_fw_check_abi(odev, "packet", h->abi[ONPU_FW_ABI_PACKET],
				 ONPU_PACKET_ABI_MAJOR);
}

static void onpu_fw_release(struct drm_device *drm, void *data)
{
	struct onpu_fw *fw = data;

	release_firmware(fw->image);
}

/**
 * onpu_fw_init() - read the firmware image and check its header
 * @odev: card
 *
 * Return: 0, or a negative error code after a message that says what is wrong.
 */
int onpu_fw_init(struct onpu_device *odev)
{
	struct onpu_fw *fw;
	int ret;

	fw = drmm_kzalloc(&odev->drm, sizeof(*fw), GFP_KERNEL);
	if (!fw)
		return -ENOMEM;

	ret = request_firmware(&fw->image, ONPU_FW_FILE, odev->drm.dev);
	if (ret) {
		drm_err(&odev->drm, "cannot read firmware %s from /lib/firmware: %d\n",
			ONPU_FW_FILE, ret);
		return ret;
	}
	ret = drmm_add_action_or_reset(&odev->drm, onpu_fw_release, fw);
	if (ret)
		return ret;

	if (fw->image->size < sizeof(fw->header) || fw->image->size > ONPU_FW_MAX_SIZE ||
	    fw->image->size > ONPU_FW_REGION_STAGE_SIZE) {
		drm_err(&odev->drm, "firmware %s: %zu bytes cannot be an image\n",
			ONPU_FW_FILE, fw->image->size);
		return -EINVAL;
	}
	memcpy(&fw->header, fw->image->data, sizeof(fw->header));
	ret = onpu_fw_check_layout(odev, &fw->header, fw->image->size);
	if (ret)
		return ret;
	ret = onpu_fw_check_versions(odev, &fw->header);
	if (ret)
		return ret;

	if (odev->caps.fw_size < ONPU_FW_REGION_MIN_SIZE) {
		drm_err(&odev->drm, "firmware region of %llu bytes is too small\n",
			odev->caps.fw_size);
		return -ENODEV;
	}

	odev->fw = fw;
	return 0;
}

/**
 * onpu_fw_reset_card() - reset the card
 * @odev: card; registers accessible
 *
 * When it returns 0, nothing on the card executes but the boot ROM: no packet
 * runs, no DMA is under way. Queues and contexts are gone, card memory stays.
 *
 * Return: 0, -ENODEV when the card does not answer, or -ETIMEDOUT.
 */
int onpu_fw_reset_card(struct onpu_device *odev)
{
	u32 generation = onpu_read32(odev, ONPU_REG_GENERATION);
	u32 now;
	int ret;

	onpu_write32(odev, ONPU_REG_RESET, ONPU_RESET_KEY);
	ret = read_poll_timeout(onpu_read32, now, now != generation, 100, ONPU_RESET_TIMEOUT_US,
				false, odev, ONPU_REG_GENERATION);
	return onpu_device_gone(odev) ? -ENODEV : ret;
}

static int onpu_fw_wait_rom(struct onpu_device *odev)
{
	u32 status;
	int ret;

	ret = read_poll_timeout(onpu_read32, status,
				ONPU_BOOT_STAGE(status) == ONPU_BOOT_STAGE_ROM || status == ~0u,
				100, ONPU_RESET_TIMEOUT_US, false, odev, ONPU_REG_BOOT_STATUS);
	if (status == ~0u)
		return -ENODEV;
	if (ret)
		drm_err(&odev->drm, "the card's boot ROM does not come up: boot stage %u\n",
			ONPU_BOOT_STAGE(status));
	return ret;
}

static bool onpu_fw_boot_ended(u32 status)
{
	u32 stage = ONPU_BOOT_STAGE(status);

	/* A card that was pulled reads as ~0. */
	return stage == ONPU_BOOT_STAGE_READY || stage == ONPU_BOOT_STAGE_FAILED ||
	       stage == ONPU_BOOT_STAGE_CRASHED || status == ~0u;
}

static int onpu_fw_wait_ready(struct onpu_device *odev)
{
	u32 status;
	int ret;

	/* Who unplugs the card meanwhile has reset it: it will never be ready. */
	ret = read_poll_timeout(onpu_read32, status,
				onpu_fw_boot_ended(status) || onpu_recovery_is_gone(odev), 500,
				(u64)boot_timeout_ms * USEC_PER_MSEC, false,
				odev, ONPU_REG_BOOT_STATUS);
	if (status == ~0u || onpu_recovery_is_gone(odev))
		return -ENODEV;
	if (ret) {
		drm_err(&odev->drm, "firmware not ready after %u ms: boot stage %u\n",
			boot_timeout_ms, ONPU_BOOT_STAGE(status));
		return ret;
	}

	switch (ONPU_BOOT_STAGE(status)) {
	case ONPU_BOOT_STAGE_READY:
		return 0;
	case ONPU_BOOT_STAGE_FAILED:
		drm_err(&odev->drm, "the card refused firmware %s: %s (error %u, detail %u)\n",
			ONPU_FW_FILE, onpu_fw_error_name(ONPU_BOOT_ERROR(status)),
			ONPU_BOOT_ERROR(status), ONPU_BOOT_DETAIL(status));
		return -EINVAL;
	default:
		drm_err(&odev->drm, "firmware crashed while it started\n");
		return -EIO;
	}
}

/**
 * onpu_fw_boot() - start the firmware on a card that was just reset
 * @odev: card; registers and card memory accessible
 *
 * Bounded by the module parameters boot_timeout_ms and mbox_timeout_ms. When
 * it returns 0, the mailbox works and versions were exchanged.
 *
 * Return: 0, or a negative error code after a message that says what is wrong.
 */
int onpu_fw_boot(struct onpu_device *odev)
{
	struct onpu_fw *fw = odev->fw;
	ktime_t start = ktime_get();
	u32 version;
	int ret;

	ret = onpu_fw_wait_rom(odev);
	if (ret)
		return ret;

	memcpy_toio(odev->vram.map + odev->caps.fw_offset, fw->image->data, fw->image->size);
	/* The card must see the image before the command. */
	wmb();
	onpu_write64(odev, ONPU_REG_BOOT_ADDR, odev->caps.fw_offset);
	onpu_write32(odev, ONPU_REG_BOOT_SIZE, fw->image->size);
	onpu_write32(odev, ONPU_REG_BOOT_CMD, ONPU_BOOT_START);

	ret = onpu_fw_wait_ready(odev);
	if (ret)
		return ret;
	ret = onpu_mbox_start(odev);
	if (ret)
		return ret;

	version = onpu_read32(odev, ONPU_REG_FW_VERSION);
	drm_info(&odev->drm, "firmware %u.%u.%u, security version %u, ready after %lld ms\n",
		 version >> 24, (version >> 16) & 0xff, version & 0xffff, fw->header.svn,
		 ktime_ms_delta(ktime_get(), start));
	return 0;
}

/**
 * onpu_fw_report_crash() - log what the firmware left when it crashed
 * @odev: card; registers accessible
 */
void onpu_fw_report_crash(struct onpu_device *odev)
{
	struct onpu_fw_crash crash;
	u32 status = onpu_read32(odev, ONPU_REG_STATUS);

	if (status == ~0u || !(status & ONPU_STATUS_FATAL))
		return;

	if (onpu_mbox_read_crash(odev, &crash))
		drm_err(&odev->drm, "firmware crashed and left no record\n");
	else
		drm_err(&odev->drm,
			"firmware crashed: mcause %#x, mepc %#x, mtval %#x, ra %#x, sp %#x\n",
			crash.mcause, crash.mepc, crash.mtval, crash.regs[1], crash.regs[2]);
	onpu_mbox_report_log(odev);
}

/**
 * onpu_fw_query() - fill the answer to DRM_ONPU_QUERY_FIRMWARE
 * @odev: card; registers accessible
 * @q: answer, zeroed
 */
void onpu_fw_query(struct onpu_device *odev, struct drm_onpu_query_firmware *q)
{
	const struct onpu_fw_header *h = &odev->fw->header;

	q->version = h->fw_version;
	q->svn = h->svn;
	q->mbox_abi = h->abi[ONPU_FW_ABI_MBOX].major << 16 | h->abi[ONPU_FW_ABI_MBOX].minor;
	q->packet_abi = h->abi[ONPU_FW_ABI_PACKET].major << 16 | h->abi[ONPU_FW_ABI_PACKET].minor;
	memcpy(q->build_id, h->build_id, sizeof(q->build_id));
	q->heartbeat = onpu_read32(odev, ONPU_REG_HEARTBEAT);
	q->restarts = onpu_recovery_restarts(odev);
}

MODULE_FIRMWARE(ONPU_FW_FILE);

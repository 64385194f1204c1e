/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_DEVICE_H__
#define __ONPU_DEVICE_H__

#include <linux/idr.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <drm/drm_device.h>
#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_print.h>
#include <drm/ttm/ttm_device.h>
#include <drm/ttm/ttm_resource.h>

#include <onpu/mmu.h>
#include <onpu/regs.h>

#include "onpu_compat.h"

struct onpu_fw;
struct onpu_irq;
struct onpu_mbox;
struct onpu_migrate;
struct onpu_queue_mgr;
struct onpu_quotas;
struct onpu_recovery;
struct onpu_shrink;
struct onpu_vram_mgr;

/** ONPU_MAX_VMS - address spaces that one file may have */
#define ONPU_MAX_VMS		32
/** ONPU_MAX_FILE_QUEUES - queues that one file may have */
#define ONPU_MAX_FILE_QUEUES	128
/** ONPU_MAX_BIND_OPS - operations of one VM_BIND */
#define ONPU_MAX_BIND_OPS	1024

/** ONPU_MAX_FILE_BOS - buffer objects that one file may have handles of */
#define ONPU_MAX_FILE_BOS	65536
/** ONPU_MAX_NULL - bytes that one operation maps to nothing */
#define ONPU_MAX_NULL		BIT_ULL(40)
/** ONPU_MAX_MAPPINGS - mappings that an address space may have */
#define ONPU_MAX_MAPPINGS	65536

/** ONPU_VA_USER_START - lowest address that VM_BIND takes */
#define ONPU_VA_USER_START	((u64)SZ_4K)
/** ONPU_VA_USER_END - end of what VM_BIND takes, start of the kernel half */
#define ONPU_VA_USER_END	BIT_ULL(ONPU_MMU_VA_BITS - 1)
/** ONPU_VA_END - end of the address space */
#define ONPU_VA_END		BIT_ULL(ONPU_MMU_VA_BITS)

/**
 * struct onpu_caps - what the card's capability registers say
 *
 * Read once at probe, range-checked, constant afterwards.
 */
struct onpu_caps {
	/** @hw_version: major << 16 | minor */
	u32 hw_version;
	/** @opcodes: bit n: packet opcode n is implemented */
	u32 opcodes;
	/** @cores: matmul cores */
	u32 cores;
	/** @dtypes_in: bit n: enum onpu_dtype n is a matmul input */
	u32 dtypes_in;
	/** @dtypes_out: bit n: enum onpu_dtype n is a matmul output */
	u32 dtypes_out;
	/** @core_clock_khz: clock of the cores */
	u32 core_clock_khz;
	/** @dim_max: largest M, N and K */
	u32 dim_max;
	/** @queues: queues, that is doorbell pages */
	u32 queues;
	/** @slots: hardware slots that execute queues */
	u32 slots;
	/** @contexts: address spaces (ASIDs 0 .. n - 1) */
	u32 contexts;
	/** @vectors: MSI-X vectors */
	u32 vectors;
	/** @page_sizes: bit n: MMU leaves of 2^n bytes */
	u32 page_sizes;
	/** @ring_order_max: log2 of the packets of the largest ring */
	u32 ring_order_max;
	/** @call_max: packets that one CALL may name */
	u32 call_max;
	/** @doorbell_offset: BAR0 offset of queue 0's doorbell page */
	u32 doorbell_offset;
	/** @doorbell_stride: bytes from doorbell page to doorbell page */
	u32 doorbell_stride;
	/** @dma_bits: width of the card's host DMA addresses */
	u32 dma_bits;
	/** @serial: serial number */
	u64 serial;
	/** @vram_size: bytes of card memory */
	u64 vram_size;
	/** @aperture_size: bytes of it that the CPU reaches, from offset 0 */
	u64 aperture_size;
	/** @fw_offset: start of the firmware's region of card memory */
	u64 fw_offset;
	/** @fw_size: its bytes; the region lies within the aperture */
	u64 fw_size;
};

/**
 * struct onpu_device - a card
 */
struct onpu_device {
	/** @drm: DRM device; first, so that its release frees this structure */
	struct drm_device drm;

	/** @regs: BAR0; access through onpu_read32() and friends only */
	void __iomem *regs;

	/** @vram: card memory as the CPU sees it */
	struct {
		/**
		 * @vram.map: write-combined mapping of the aperture. Valid
		 * between drm_dev_enter() and drm_dev_exit() only.
		 */
		void __iomem *map;
		/** @vram.base: bus address of the aperture */
		resource_size_t base;
		/** @vram.size: bytes that are mapped */
		u64 size;
	} vram;

	/** @caps: capabilities of the card */
	struct onpu_caps caps;

	/** @ttm: buffer-object device */
	struct ttm_device ttm;

	/** @tts: pages that are mapped for the card */
	struct {
		/** @tts.lock: protects the rest */
		struct mutex lock;
		/** @tts.list: all that are */
		struct list_head list;
		/** @tts.gone: no more, for the card goes */
		bool gone;
		/** @tts.from_pool: TTM allocates the pages; constant */
		bool from_pool;
	} tts;

	/** @room: looking for room for buffer objects, see onpu_place.c */
	struct rw_semaphore room;

	/** @vram_mgr: allocator of card memory */
	struct onpu_vram_mgr *vram_mgr;

	/** @tt_mgr: accounting of system memory that the card can reach */
	struct ttm_resource_manager tt_mgr;

	/** @tt_used: bytes of system memory that the driver has allocated for it */
	atomic64_t tt_used;

	/** @tt_swapped: bytes of @tt_used that are swapped out */
	atomic64_t tt_swapped;

	/** @shrink: memory pressure (onpu_shrink.c) */
	struct onpu_shrink *shrink;

	/** @ext: memory of buffer objects that comes from elsewhere (onpu_ext.c) */
	struct {
		/**
		 * @ext.lock: protects @ext.list and makes unmapping happen
		 * once; taken outside reservations
		 */
		struct mutex lock;
		/** @ext.list: struct onpu_ext that are mapped for the card */
		struct list_head list;
	} ext;

	/** @tlb: translation caches of the card's MMU */
	struct {
		/**
		 * @tlb.lock: makes a write to TLB_INV and the read of its
		 * sequence number one step. Held for two register accesses.
		 */
		spinlock_t lock;
	} tlb;

	/** @vms: address spaces of all files */
	struct {
		/** @vms.lock: protects @vms.list; taken outside VM locks */
		struct mutex lock;
		/** @vms.list: struct onpu_vm, until its context is destroyed */
		struct list_head list;
		/** @vms.asids: allocator of address-space ids; locks itself */
		struct ida asids;
	} vms;

	/** @waiters: for user fences (onpu_wait.c) */
	wait_queue_head_t waiters;
	/** @irq: interrupt vectors (onpu_irq.c) */
	struct onpu_irq *irq;
	/** @fw: firmware image and boot (onpu_fw.c) */
	struct onpu_fw *fw;
	/** @mbox: messages to and from the firmware (onpu_mbox.c) */
	struct onpu_mbox *mbox;
	/** @migrate: copy engine (onpu_migrate.c) */
	struct onpu_migrate *migrate;
	/** @quotas: what users have (onpu_quota.c) */
	struct onpu_quotas *quotas;
	/** @queue_mgr: queue ids and what queues share (onpu_queue.c) */
	struct onpu_queue_mgr *queue_mgr;
	/** @lr_wq: brings back what long-running address spaces use (onpu_lr.c) */
	struct workqueue_struct *lr_wq;
	/** @recovery: boot, reset and loss of the card (onpu_recovery.c) */
	struct onpu_recovery *recovery;
};

/**
 * struct onpu_file - an open file of the device
 */
struct onpu_file {
	/** @ref: the open file holds one; queues hold one each */
	struct kref ref;
	/** @odev: the card; a reference on its drm_device is held */
	struct onpu_device *odev;
	/** @vms: id to struct onpu_vm; each entry holds a reference */
	struct xarray vms;
	/** @queues: id to struct onpu_queue; each entry holds a reference */
	struct xarray queues;
	/** @bos: buffer objects that it has handles of */
	atomic_t bos;
	/** @busy_ns: time that the card executed jobs of this file */
	atomic64_t busy_ns;
	/** @busy_shown: largest time that fdinfo showed, which never runs backwards */
	atomic64_t busy_shown;
	/** @jobs: jobs of this file that ended */
	atomic64_t jobs;
	/** @guilt: queues of this file that died by what they did themselves */
	struct {
		/** @guilt.hangs: a job or packet ran too long */
		atomic64_t hangs;
		/** @guilt.faults: an access was refused */
		atomic64_t faults;
		/** @guilt.errors: a packet, descriptor or producer index was malformed */
		atomic64_t errors;
	} guilt;
};

/*
 * Teardown that must not run in its caller's context.
 *
 * Module-wide and unbound: the last reference of a device may be dropped by
 * work on it, and module exit drains it before the text goes.
 */
extern struct workqueue_struct *onpu_wq;

/**
 * onpu_flush_teardown() - wait for what was dropped to be torn down
 *
 * Twice, because the teardown of a queue may queue that of its VM. The caller
 * holds no lock that teardown takes.
 */
static inline void onpu_flush_teardown(void)
{
	flush_workqueue(onpu_wq);
	flush_workqueue(onpu_wq);
}

static inline struct onpu_device *to_onpu_device(const struct drm_device *drm)
{
	return container_of(drm, struct onpu_device, drm);
}

int onpu_device_init(struct onpu_device *odev);
void onpu_device_unplug(struct onpu_device *odev);
void onpu_device_shutdown(struct onpu_device *odev);

struct onpu_file *onpu_file_create(struct onpu_device *odev);
void onpu_file_put(struct onpu_file *ofile);

/**
 * onpu_file_get() - take a reference
 * @ofile: open file
 *
 * Return: @ofile.
 */
static inline struct onpu_file *onpu_file_get(struct onpu_file *ofile)
{
	kref_get(&ofile->ref);
	return ofile;
}

/*
 * Register access. The caller is between drm_dev_enter() and drm_dev_exit();
 * every ioctl is. A card that was pulled reads as all ones.
 */

static inline u32 onpu_read32(struct onpu_device *odev, u32 reg)
{
	return readl(odev->regs + reg);
}

static inline u64 onpu_read64(struct onpu_device *odev, u32 reg)
{
	return readq(odev->regs + reg);
}

static inline void onpu_write32(struct onpu_device *odev, u32 reg, u32 val)
{
	writel(val, odev->regs + reg);
}

static inline void onpu_write64(struct onpu_device *odev, u32 reg, u64 val)
{
	writeq(val, odev->regs + reg);
}

/**
 * onpu_device_gone() - whether the card answers no longer
 * @odev: card
 *
 * Return: true when a register that is never all ones reads so.
 */
static inline bool onpu_device_gone(struct onpu_device *odev)
{
	return onpu_read32(odev, ONPU_REG_MAGIC) == ~0u;
}

#endif /* __ONPU_DEVICE_H__ */

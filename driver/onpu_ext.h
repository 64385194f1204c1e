/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (c) 2026 The ONPU authors */
#ifndef __ONPU_EXT_H__
#define __ONPU_EXT_H__

#include <linux/list.h>
#include <linux/types.h>

struct dma_resv;
struct onpu_bo;
struct onpu_device;
struct onpu_ext;
struct sg_table;
struct vm_area_struct;

/**
 * struct onpu_ext_funcs - what memory from elsewhere can do
 */
struct onpu_ext_funcs {
	/** @unmap: undo the DMA mapping for the card; called once, may sleep */
	void (*unmap)(struct onpu_ext *ext);
	/** @release: give the memory back and free the structure; may sleep */
	void (*release)(struct onpu_ext *ext);
	/** @mmap: map it into a process, or NULL if that is refused */
	int (*mmap)(struct onpu_ext *ext, struct vm_area_struct *vma);
};

/**
 * struct onpu_ext - memory of a buffer object that comes from elsewhere
 */
struct onpu_ext {
	/** @funcs: operations */
	const struct onpu_ext_funcs *funcs;
	/** @odev: the card that it is mapped for */
	struct onpu_device *odev;
	/** @bo: the object that stands for it, once there is one */
	struct onpu_bo *bo;
	/** @sgt: the memory, mapped for the card; not to be used after that is gone */
	struct sg_table *sgt;
	/** @link: in &onpu_device.ext.list while it is mapped */
	struct list_head link;
	/** @readonly: the card may not write to it */
	bool readonly;
};

struct onpu_bo *onpu_ext_create_bo(struct onpu_ext *ext, struct onpu_device *odev, u64 size,
				   struct dma_resv *resv);
void onpu_ext_free(struct onpu_ext *ext);
void onpu_ext_unplug(struct onpu_device *odev);

#endif /* __ONPU_EXT_H__ */

// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Copy engine
 *
 * The driver clears and moves memory with a queue of its own, in an address
 * space of its own. All card memory is mapped there at one address, and there is
 * a window onto host memory, of two halves, whose page-table entries are written
 * for each part of a copy: while the card works through one half, the other one
 * is prepared.
 *
 * An operation is a fence. Operations happen one after the other, in the order of
 * their creation; a worker feeds the ring and waits. Clears that come in a row are
 * done together, because the trip to the card and back takes longer than most of
 * them. When the card fails at one
 * (a reset in the middle, a queue that had to be killed, a wedged card) the
 * worker tries again with a fresh queue, then by the CPU. What neither can do,
 * because the memory is beyond the aperture, ends with an error. If that was to fill
 * card memory, whoever got it would read what others left there: the card is wedged
 * before the fence signals, and the memory cleared before the card runs anybody's
 * jobs again. Data is not lost that way where
 * the caller waits for the fence before it lets go of the source.
 *
 * Small clears are done by the CPU at once, where it reaches the memory: see
 * CPU_CLEAR_MAX.
 *
 * Locking: the worker is part of signalling fences. It waits for no memory (fences
 * of the ring come with the operation; more are tried for without waiting) and takes
 * no reservation and no &onpu_recovery.block. It touches card memory and registers
 * between onpu_recovery_touch() and onpu_recovery_untouch(), but does not wait for the
 * card's work there. &onpu_migrate.lock protects the list of operations and is a leaf.
 */

#include <linux/dma-fence.h>
#include <linux/highmem.h>
#include <linux/module.h>
#include <linux/slab.h>

#include <drm/drm_managed.h>
#include <drm/ttm/ttm_placement.h>
#include <drm/ttm/ttm_tt.h>

#include "onpu_bo.h"
#include "onpu_device.h"
#include "onpu_fence.h"
#include "onpu_migrate.h"
#include "onpu_pt.h"
#include "onpu_queue.h"
#include "onpu_recovery.h"
#include "onpu_vm.h"
#include "onpu_vram.h"

/* Addresses of the copy engine; user space has none there. */
#define MIGRATE_CARD_VA		BIT_ULL(40)
#define MIGRATE_WINDOW_VA	BIT_ULL(46)

/* Half of the window, and so the most that one part of a copy covers. */
#define HALF_TABLES		8
#define HALF_BYTES		((u64)HALF_TABLES << ONPU_MMU_HUGE_SHIFT)
/* Without the window, parts are bounded so that none looks like a hang. */
#define PART_BYTES		((u64)SZ_64M)
/* Clears up to this size are done together with others. */
#define BATCH_BYTES		((u64)SZ_512K)
/* COPY or FILL packets that a part has at most. */
#define PART_PACKETS		96
/* Parts beyond the necessary ones that an operation may be retried with. */
#define SPARE_PARTS		6
/* How often the card may fail at an operation. */
#define MAX_TRIES		3

/*
 * Up to here the CPU clears memory itself. Measured on an emulated CPU and card: memory is
 * cleared by the card some 0.6 ms after it was asked for, whatever the size, which the CPU
 * reaches at 1 MiB; but already to ask for it costs the caller 0.1 ms of CPU time, as much
 * as it takes to store 256 KiB of zeros. A real CPU stores as much over PCIe in that order
 * of time, with the same costs of asking.
 */
#define CPU_CLEAR_MAX		((u64)SZ_256K)

/**
 * struct onpu_migrate_run - a contiguous part of card memory
 */
struct onpu_migrate_run {
	/** @offset: where it begins in the operation */
	u64 offset;
	/** @addr: where it begins in card memory */
	u64 addr;
};

/**
 * struct onpu_migrate_side - source or destination of an operation
 */
struct onpu_migrate_side {
	/** @tt: pages of the host, or NULL for card memory */
	struct ttm_tt *tt;
	/** @runs: card memory, sorted */
	struct onpu_migrate_run *runs;
	/** @nr_runs: elements of @runs; 0 with @tt NULL: the source of a clear */
	unsigned int nr_runs;
};

/**
 * struct onpu_migrate_op - an operation
 */
struct onpu_migrate_op {
	/** @base: signals when it is done; first, so that it is freed by RCU */
	struct dma_fence base;
	/** @lock: of the fence */
	spinlock_t lock;
	/** @link: in &onpu_migrate.ops, later perhaps in &onpu_migrate.lost */
	struct list_head link;
	/** @size: bytes */
	u64 size;
	/** @done: bytes that are complete */
	u64 done;
	/** @dst: destination */
	struct onpu_migrate_side dst;
	/** @src: source */
	struct onpu_migrate_side src;
	/** @fences: unused struct onpu_fence */
	struct list_head fences;
};

/**
 * struct onpu_migrate_part - a part of an operation, in the ring
 */
struct onpu_migrate_part {
	/** @fence: signalled by the card; NULL: no such part */
	struct onpu_fence *fence;
	/** @end: how far the operation is when the part is complete */
	u64 end;
};

/**
 * struct onpu_migrate - copy engine of a card
 */
struct onpu_migrate {
	/** @odev: the card */
	struct onpu_device *odev;
	/** @ofile: file of the driver's own that @queue belongs to */
	struct onpu_file *ofile;
	/** @vm: address space */
	struct onpu_vm *vm;
	/** @queue: queue, NULL after unplug */
	struct onpu_queue *queue;
	/** @tables: card memory of the window's tables */
	u64 tables[2 * HALF_TABLES];
	/** @lock: protects @ops, @lost and @seqno */
	spinlock_t lock;
	/** @ops: operations to do, oldest first */
	struct list_head ops;
	/** @lost: operations that failed and left their destination uncleared */
	struct list_head lost;
	/** @context: fence context */
	u64 context;
	/** @seqno: of the last operation */
	u64 seqno;
	/** @wq: for @work */
	struct workqueue_struct *wq;
	/** @work: does operations */
	struct work_struct work;
	/** @part_packets: COPY and FILL packets that a part may have */
	unsigned int part_packets;
	/** @packets: packets of a part, used by the worker */
	struct onpu_packet packets[PART_PACKETS + 3];
};

/* --- the fence ------------------------------------------------------------- */

static struct onpu_migrate_op *to_migrate_op(struct dma_fence *fence)
{
	return container_of(fence, struct onpu_migrate_op, base);
}

static const char *migrate_fence_get_driver_name(struct dma_fence *fence)
{
	return "onpu";
}

static const char *migrate_fence_get_timeline_name(struct dma_fence *fence)
{
	return "onpu-migrate";
}

static void migrate_op_free_runs(struct onpu_migrate_op *op)
{
	kvfree(op->dst.runs);
	kvfree(op->src.runs);
	op->dst.runs = NULL;
	op->src.runs = NULL;
}

static void migrate_op_free_fences(struct onpu_migrate_op *op)
{
	struct onpu_fence *fence, *next;

	list_for_each_entry_safe(fence, next, &op->fences, node) {
		list_del_init(&fence->node);
		onpu_fence_drop(fence);
	}
}

static void migrate_fence_release(struct dma_fence *fence)
{
	struct onpu_migrate_op *op = to_migrate_op(fence);

	BUILD_BUG_ON(offsetof(struct onpu_migrate_op, base));
	WARN_ON(!list_empty(&op->fences));
	migrate_op_free_runs(op);
	dma_fence_free(fence);
	module_put(THIS_MODULE);
}

static const struct dma_fence_ops migrate_fence_ops = {
	.get_driver_name = migrate_fence_get_driver_name,
	.get_timeline_name = migrate_fence_get_timeline_name,
	.release = migrate_fence_release,
};

/* --- where things are ------------------------------------------------------ */

/* Card memory at an offset of the operation; @len: contiguous bytes from there. */
static u64 side_addr(const struct onpu_migrate_side *side, u64 offset, u64 *len, u64 size)
{
	unsigned int lo = 0, hi = side->nr_runs;

	while (hi - lo > 1) {
		unsigned int mid = lo + (hi - lo) / 2;

		if (side->runs[mid].offset <= offset)
			lo = mid;
		else
			hi = mid;
	}

	*len = (hi < side->nr_runs ? side->runs[hi].offset : size) - offset;
	return side->runs[lo].addr + (offset - side->runs[lo].offset);
}

static int side_init(struct onpu_migrate_side *side, struct ttm_resource *res, struct ttm_tt *tt)
{
	u64 offset, len;
	unsigned int n = 0;

	if (res->mem_type != TTM_PL_VRAM) {
		side->tt = tt;
		return 0;
	}

	for (offset = 0; offset < res->size; offset += len, n++)
		onpu_vram_extent(res, offset, &len);
	side->runs = kvmalloc_array(n, sizeof(*side->runs), GFP_KERNEL);
	if (!side->runs)
		return -ENOMEM;

	for (offset = 0; offset < res->size; offset += len, side->nr_runs++) {
		side->runs[side->nr_runs].offset = offset;
		side->runs[side->nr_runs].addr = onpu_vram_extent(res, offset, &len);
	}

	return 0;
}

/* Whether the CPU reaches all of it. */
static bool side_visible(struct onpu_migrate *migrate, const struct onpu_migrate_side *side,
			 u64 size)
{
	unsigned int i;

	for (i = 0; i < side->nr_runs; i++) {
		u64 next = i + 1 < side->nr_runs ? side->runs[i + 1].offset : size;

		if (side->runs[i].addr + (next - side->runs[i].offset) >
		    migrate->odev->vram.size)
			return false;
	}

	return true;
}

static bool op_uses_window(const struct onpu_migrate_op *op)
{
	return op->dst.tt || op->src.tt;
}

static bool op_is_clear(const struct onpu_migrate_op *op)
{
	return !op->src.tt && !op->src.nr_runs;
}

/* --- by the card ----------------------------------------------------------- */

/* Points half of the window at pages of the host. */
static int migrate_fill_window(struct onpu_migrate *migrate, struct ttm_tt *tt, u64 pos,
			       unsigned int half)
{
	const u64 bits = ONPU_PTE_VALID | ONPU_PTE_LEAF | ONPU_PTE_READ | ONPU_PTE_WRITE |
			 ONPU_PTE_HOST | ONPU_PTE_PRIV;
	const dma_addr_t *dma = tt->dma_address + (pos >> PAGE_SHIFT);
	unsigned int i, n = min_t(u64, tt->num_pages - (pos >> PAGE_SHIFT),
				  HALF_BYTES >> PAGE_SHIFT);

	for (i = 0; i < n; i++) {
		u64 table = migrate->tables[half * HALF_TABLES + i / ONPU_MMU_ENTRIES];

		writeq(dma[i] | bits, migrate->odev->vram.map + table +
		       i % ONPU_MMU_ENTRIES * sizeof(u64));
	}

	return onpu_pt_invalidate(migrate->odev, onpu_vm_asid(migrate->vm));
}

/* Where the card finds an offset of the operation, and how much of it from there on. */
static u64 migrate_va(const struct onpu_migrate_op *op, const struct onpu_migrate_side *side,
		      u64 pos, u64 start, unsigned int half, u64 *len)
{
	if (side->tt) {
		*len = op->size - pos;
		return MIGRATE_WINDOW_VA + half * HALF_BYTES + (pos - start);
	}
	return MIGRATE_CARD_VA + side_addr(side, pos, len, op->size);
}

/* Adds packets from @pos on to the @n of a part; returns how many it has, and where it ends. */
static unsigned int migrate_make_packets(struct onpu_migrate *migrate, struct onpu_migrate_op *op,
					 u64 pos, unsigned int half, unsigned int n, u64 *end)
{
	struct onpu_packet *p = migrate->packets + 1 + n;
	u64 start = pos, stop, dst_len, src_len;

	stop = min(op->size, pos + (op_uses_window(op) ? HALF_BYTES : PART_BYTES));
	for (; n < migrate->part_packets && pos < stop; n++, p++) {
		u64 dst = migrate_va(op, &op->dst, pos, start, half, &dst_len);
		u64 len = min(stop - pos, dst_len);

		memset(p, 0, sizeof(*p));
		if (op_is_clear(op)) {
			p->opcode = ONPU_OP_FILL;
			p->fill.dst_va = dst;
			p->fill.size = len;
		} else {
			u64 src = migrate_va(op, &op->src, pos, start, half, &src_len);

			len = min(len, src_len);
			p->opcode = ONPU_OP_COPY;
			p->copy.dst_va = dst;
			p->copy.src_va = src;
			p->copy.size = len;
		}
		pos += len;
	}

	*end = pos;
	return n;
}

/* Puts @count packets of a part into the ring, between those that every job has. */
static int migrate_ring(struct onpu_migrate *migrate, unsigned int count,
			struct onpu_fence *fence)
{
	struct onpu_queue *queue = migrate->queue;
	const u32 mask = (1 << queue->ring.order) - 1;
	const u32 jobs = (1 << queue->ring.order) / ONPU_JOB_PACKETS;
	struct onpu_queue_page __iomem *page = queue->page.bo->kmap;
	struct onpu_packet *p = migrate->packets;
	u64 times = queue->page.va + offsetof(struct onpu_queue_page, times);
	u32 place, i;
	int ret;

	ret = onpu_fence_begin(fence);
	if (ret)
		return ret;

	place = fence->base.seqno % jobs;
	times += place * sizeof(struct onpu_job_times);
	memset(&p[0], 0, sizeof(*p));
	p[0].opcode = ONPU_OP_TIMESTAMP;
	p[0].timestamp.va = times + offsetof(struct onpu_job_times, start);
	memset(&p[count + 1], 0, 2 * sizeof(*p));
	p[count + 1].opcode = ONPU_OP_TIMESTAMP;
	p[count + 1].timestamp.va = times + offsetof(struct onpu_job_times, end);
	p[count + 2].opcode = ONPU_OP_SIGNAL;
	p[count + 2].flags = ONPU_PKT_IRQ;
	p[count + 2].signal.va = queue->page.va + offsetof(struct onpu_queue_page, seqno);
	p[count + 2].signal.value = fence->base.seqno;

	writeq(0, &page->times[place].start);
	writeq(0, &page->times[place].end);
	for (i = 0; i < count + 3; i++)
		memcpy_toio(queue->ring.bo->kmap + ((queue->ring.tail + i) & mask) * sizeof(*p),
			    &p[i], sizeof(*p));
	WRITE_ONCE(queue->ring.tail, queue->ring.tail + count + 3);
	/* Write-combined memory: the packets, then the doorbell. */
	wmb();
	onpu_queue_ring_doorbell(queue);

	return 0;
}

static int migrate_revive(struct onpu_migrate *migrate)
{
	return onpu_queue_is_dead(migrate->queue) ? onpu_queue_revive_kernel(migrate->queue) : 0;
}

/* Puts the @count packets that were made into the ring, with a fence of @op. */
static int migrate_put(struct onpu_migrate *migrate, struct onpu_migrate_op *op,
		       unsigned int count, struct onpu_migrate_part *part)
{
	struct onpu_fence *fence;
	int ret;

	/* After many failures there may be none left. */
	fence = list_first_entry_or_null(&op->fences, struct onpu_fence, node);
	if (fence)
		list_del_init(&fence->node);
	else
		fence = onpu_fence_alloc(migrate->queue, GFP_NOWAIT | __GFP_NOWARN);
	if (!fence)
		return -ENOMEM;

	ret = migrate_ring(migrate, count, fence);
	if (ret) {
		onpu_fence_drop(fence);
		return ret;
	}
	part->fence = fence;

	return 0;
}

static int migrate_start_locked(struct onpu_migrate *migrate, struct onpu_migrate_op *op,
				u64 pos, unsigned int half, struct onpu_migrate_part *part)
{
	unsigned int count;
	int ret;

	ret = migrate_revive(migrate);
	if (ret)
		return ret;

	if (op_uses_window(op)) {
		ret = migrate_fill_window(migrate, op->dst.tt ?: op->src.tt, pos, half);
		if (ret)
			return ret;
	}

	count = migrate_make_packets(migrate, op, pos, half, 0, &part->end);
	return migrate_put(migrate, op, count, part);
}

/* Keeps the card as it is, when it works, until migrate_exit(). */
static int migrate_enter(struct onpu_migrate *migrate, int *idx)
{
	struct onpu_device *odev = migrate->odev;
	int ret = -ENODEV;

	onpu_recovery_touch(odev);
	if (migrate->queue && drm_dev_enter(&odev->drm, idx)) {
		if (onpu_recovery_is_up(odev))
			return 0;
		if (!onpu_recovery_is_gone(odev))
			ret = -EIO;
		drm_dev_exit(*idx);
	}
	onpu_recovery_untouch(odev);

	return ret;
}

static void migrate_exit(struct onpu_migrate *migrate, int idx)
{
	drm_dev_exit(idx);
	onpu_recovery_untouch(migrate->odev);
}

/* Puts a part of the operation into the ring. */
static int migrate_start(struct onpu_migrate *migrate, struct onpu_migrate_op *op,
			 u64 pos, unsigned int half, struct onpu_migrate_part *part)
{
	int ret, idx;

	ret = migrate_enter(migrate, &idx);
	if (ret)
		return ret;
	ret = migrate_start_locked(migrate, op, pos, half, part);
	migrate_exit(migrate, idx);

	return ret;
}

/* Waits, bounded by the queue's watchdog, until the card has done a part. */
static int migrate_finish(struct onpu_migrate_op *op, struct onpu_migrate_part *part)
{
	int ret;

	if (!part->fence)
		return 0;

	dma_fence_wait(&part->fence->base, false);
	ret = dma_fence_get_status(&part->fence->base);
	if (ret > 0)
		op->done = part->end;
	onpu_fence_drop(part->fence);
	part->fence = NULL;

	return ret < 0 ? ret : 0;
}

/* Does what is left of the operation; goes on from there when it is called again. */
static int migrate_by_card(struct onpu_migrate *migrate, struct onpu_migrate_op *op)
{
	struct onpu_migrate_part parts[2] = {};
	u64 pos = op->done;
	unsigned int half = 0;
	int ret = 0, err;

	while (!ret && pos < op->size) {
		/* The older part; its half of the window is needed. */
		ret = migrate_finish(op, &parts[half]);
		if (ret)
			break;
		ret = migrate_start(migrate, op, pos, half, &parts[half]);
		if (ret)
			break;
		pos = parts[half].end;
		half ^= 1;
	}

	/* A part counts only if those before it do. */
	err = migrate_finish(op, &parts[half]);
	if (!ret)
		ret = err;
	if (ret && parts[half ^ 1].fence)
		parts[half ^ 1].end = op->done;
	err = migrate_finish(op, &parts[half ^ 1]);

	return ret ?: err;
}

/*
 * Does several clears in one part. When the card fails none of them is done, and each
 * is tried again by itself.
 */
static void migrate_batch(struct onpu_migrate *migrate, struct list_head *batch)
{
	struct onpu_migrate_part part = {};
	struct onpu_migrate_op *op;
	unsigned int count = 0;
	int ret, idx;
	u64 end;

	if (list_is_singular(batch) || migrate_enter(migrate, &idx))
		return;

	ret = migrate_revive(migrate);
	if (!ret) {
		list_for_each_entry(op, batch, link)
			count = migrate_make_packets(migrate, op, 0, 0, count, &end);
		op = list_first_entry(batch, struct onpu_migrate_op, link);
		ret = migrate_put(migrate, op, count, &part);
	}
	migrate_exit(migrate, idx);
	if (ret)
		return;

	dma_fence_wait(&part.fence->base, false);
	if (dma_fence_get_status(&part.fence->base) > 0)
		list_for_each_entry(op, batch, link)
			op->done = op->size;
	onpu_fence_drop(part.fence);
}

/* --- by the CPU ------------------------------------------------------------ */

static void cpu_copy_page(struct onpu_migrate *migrate, struct onpu_migrate_op *op, u64 pos)
{
	void __iomem *map = migrate->odev->vram.map;
	void __iomem *dst = NULL;
	void __iomem *src = NULL;
	struct page *page;
	void *cpu;
	u64 len;

	if (!op->dst.tt)
		dst = map + side_addr(&op->dst, pos, &len, op->size);
	if (!op->src.tt && op->src.nr_runs)
		src = map + side_addr(&op->src, pos, &len, op->size);

	if (op->dst.tt || op->src.tt) {
		page = (op->dst.tt ?: op->src.tt)->pages[pos >> PAGE_SHIFT];
		cpu = kmap_local_page(page);
		if (src)
			memcpy_fromio(cpu, src, PAGE_SIZE);
		else
			memcpy_toio(dst, cpu, PAGE_SIZE);
		kunmap_local(cpu);
		return;
	}

	for (len = 0; len < PAGE_SIZE; len += sizeof(u64))
		__raw_writeq(src ? __raw_readq(src + len) : 0, dst + len);
}

static int migrate_by_cpu(struct onpu_migrate *migrate, struct onpu_migrate_op *op)
{
	struct onpu_device *odev = migrate->odev;
	int ret = 0, idx;

	if (!side_visible(migrate, &op->dst, op->size) ||
	    !side_visible(migrate, &op->src, op->size))
		return -EIO;

	for (; !ret && op->done < op->size; op->done += PAGE_SIZE) {
		onpu_recovery_touch(odev);
		if (drm_dev_enter(&odev->drm, &idx)) {
			cpu_copy_page(migrate, op, op->done);
			drm_dev_exit(idx);
		} else {
			ret = -ENODEV;
		}
		onpu_recovery_untouch(odev);
		cond_resched();
	}
	/* Before anybody looks at it by another mapping. */
	wmb();

	return ret;
}

/* --- the worker ------------------------------------------------------------ */

static int migrate_run(struct onpu_migrate *migrate, struct onpu_migrate_op *op)
{
	unsigned int tries;
	int ret, idx;

	for (tries = 0; tries < MAX_TRIES; tries++) {
		ret = migrate_by_card(migrate, op);
		if (!ret || ret == -ENODEV)
			return ret;
		if (onpu_recovery_is_gone(migrate->odev))
			return -ENODEV;
		drm_dbg(&migrate->odev->drm, "copy engine: the card failed: %d\n", ret);
	}

	ret = migrate_by_cpu(migrate, op);
	if (!ret || ret == -ENODEV || op->dst.tt)
		return ret;

	/* Jobs that wait for the fence must not run: the memory holds what others left. */
	if (drm_dev_enter(&migrate->odev->drm, &idx)) {
		onpu_recovery_wedge_card(migrate->odev, "the copy engine cannot fill card memory");
		drm_dev_exit(idx);
	}
	return ret;
}

/*
 * The rest of the destination holds what others left there. Pages of the host are
 * cleared at once, card memory before the card works again. Returns false when it does
 * already, because it was reset in between. After true the fences that the operation did not
 * need are gone, or go with what is lost.
 */
static bool migrate_fail(struct onpu_migrate *migrate, struct onpu_migrate_op *op)
{
	struct page **pages = op->dst.tt ? op->dst.tt->pages : NULL;

	for (; pages && op->done < op->size; op->done += PAGE_SIZE)
		clear_highpage(pages[op->done >> PAGE_SHIFT]);
	if (pages) {
		migrate_op_free_fences(op);
		return true;
	}

	/* No reset looks for what is lost before it is there. */
	onpu_recovery_touch(migrate->odev);
	if (onpu_recovery_is_up(migrate->odev)) {
		onpu_recovery_untouch(migrate->odev);
		return false;
	}

	/* It becomes a clear. */
	op->src.tt = NULL;
	op->src.nr_runs = 0;
	dma_fence_get(&op->base);
	spin_lock(&migrate->lock);
	list_add_tail(&op->link, &migrate->lost);
	spin_unlock(&migrate->lock);
	onpu_recovery_untouch(migrate->odev);

	return true;
}

/* Whether an operation can go with others: then its runs are its packets. */
static bool op_is_small_clear(const struct onpu_migrate_op *op)
{
	return op_is_clear(op) && !op_uses_window(op) && op->size <= BATCH_BYTES;
}

/* Takes the oldest operation, and with a clear those that follow and fit. */
static void migrate_next(struct onpu_migrate *migrate, struct list_head *batch)
{
	struct onpu_migrate_op *op, *next;
	unsigned int packets = 0;

	spin_lock(&migrate->lock);
	list_for_each_entry_safe(op, next, &migrate->ops, link) {
		packets += op->dst.nr_runs;
		if (!list_empty(batch) &&
		    (!op_is_small_clear(op) || packets > migrate->part_packets))
			break;
		list_move_tail(&op->link, batch);
		if (!op_is_small_clear(op))
			break;
	}
	spin_unlock(&migrate->lock);
}

static void migrate_do(struct onpu_migrate *migrate, struct onpu_migrate_op *op)
{
	int ret;

	do {
		ret = op->done == op->size ? 0 : migrate_run(migrate, op);
	} while (ret && !migrate_fail(migrate, op));

	if (ret)
		dma_fence_set_error(&op->base, ret);
	else
		migrate_op_free_fences(op);
	dma_fence_signal(&op->base);
	dma_fence_put(&op->base);
}

static void migrate_work(struct work_struct *work)
{
	struct onpu_migrate *migrate = container_of(work, struct onpu_migrate, work);
	bool cookie = dma_fence_begin_signalling();
	struct onpu_migrate_op *op, *next;
	LIST_HEAD(batch);

	for (;;) {
		migrate_next(migrate, &batch);
		if (list_empty(&batch))
			break;

		migrate_batch(migrate, &batch);
		list_for_each_entry_safe(op, next, &batch, link) {
			list_del_init(&op->link);
			migrate_do(migrate, op);
		}
	}

	dma_fence_end_signalling(cookie);
}

/* --- operations ------------------------------------------------------------ */

static int migrate_op_alloc_fences(struct onpu_migrate *migrate, struct onpu_migrate_op *op)
{
	u64 part = op_uses_window(op) ? HALF_BYTES : PART_BYTES;
	u64 n = DIV_ROUND_UP_ULL(op->size, part) + SPARE_PARTS +
		(op->dst.nr_runs + op->src.nr_runs) / migrate->part_packets;

	for (; n; n--) {
		struct onpu_fence *fence = onpu_fence_alloc(migrate->queue, GFP_KERNEL);

		if (!fence)
			return -ENOMEM;
		list_add(&fence->node, &op->fences);
	}

	return 0;
}

static struct onpu_migrate_op *migrate_op_alloc(struct onpu_migrate *migrate,
						struct ttm_resource *dst,
						struct ttm_resource *src, struct ttm_tt *tt)
{
	struct onpu_migrate_op *op;
	int ret;

	op = kzalloc(sizeof(*op), GFP_KERNEL);
	if (!op)
		return ERR_PTR(-ENOMEM);

	INIT_LIST_HEAD(&op->link);
	INIT_LIST_HEAD(&op->fences);
	spin_lock_init(&op->lock);
	op->size = dst->size;

	ret = side_init(&op->dst, dst, tt);
	if (!ret && src)
		ret = side_init(&op->src, src, tt);
	if (!ret)
		ret = migrate_op_alloc_fences(migrate, op);
	if (ret) {
		migrate_op_free_fences(op);
		migrate_op_free_runs(op);
		kfree(op);
		return ERR_PTR(ret);
	}

	return op;
}

static struct dma_fence *migrate_queue_op(struct onpu_migrate *migrate,
					  struct onpu_migrate_op *op)
{
	__module_get(THIS_MODULE);
	spin_lock(&migrate->lock);
	dma_fence_init(&op->base, &migrate_fence_ops, &op->lock, migrate->context,
		       ++migrate->seqno);
	dma_fence_get(&op->base);
	list_add_tail(&op->link, &migrate->ops);
	spin_unlock(&migrate->lock);
	queue_work(migrate->wq, &migrate->work);

	return &op->base;
}

static bool migrate_clear_small(struct onpu_migrate *migrate, struct ttm_resource *res)
{
	struct onpu_device *odev = migrate->odev;
	u64 offset, len, addr;

	if (res->size > CPU_CLEAR_MAX || !onpu_vram_visible(res))
		return false;

	onpu_recovery_touch(odev);
	for (offset = 0; offset < res->size; offset += len) {
		addr = onpu_vram_extent(res, offset, &len);
		onpu_vram_clear(odev, addr, len);
	}
	onpu_recovery_untouch(odev);
	/* Zeros before anything that is written later, by whatever mapping. */
	wmb();

	return true;
}

/**
 * onpu_migrate_clear() - fill card memory with zeros
 * @odev: card, between drm_dev_enter() and drm_dev_exit()
 * @res: the memory, which nobody uses; stays until the fence has signalled
 *
 * Return: a fence, NULL when it is done already, or -ENOMEM.
 */
struct dma_fence *onpu_migrate_clear(struct onpu_device *odev, struct ttm_resource *res)
{
	struct onpu_migrate_op *op;

	if (migrate_clear_small(odev->migrate, res))
		return NULL;

	op = migrate_op_alloc(odev->migrate, res, NULL, NULL);
	if (IS_ERR(op))
		return ERR_CAST(op);

	return migrate_queue_op(odev->migrate, op);
}

/**
 * onpu_migrate_copy() - copy the content of a buffer object
 * @odev: card, between drm_dev_enter() and drm_dev_exit()
 * @dst: where to, card memory or TTM_PL_TT
 * @src: where from; one of them is card memory
 * @tt: populated pages of the other, if it is not
 *
 * Nobody else uses either place. They stay until the fence has signalled.
 *
 * Return: a fence, or -ENOMEM.
 */
struct dma_fence *onpu_migrate_copy(struct onpu_device *odev, struct ttm_resource *dst,
				    struct ttm_resource *src, struct ttm_tt *tt)
{
	struct onpu_migrate_op *op = migrate_op_alloc(odev->migrate, dst, src, tt);

	if (IS_ERR(op))
		return ERR_CAST(op);

	return migrate_queue_op(odev->migrate, op);
}

/* --- resets ---------------------------------------------------------------- */

static int migrate_restore_op(struct onpu_migrate *migrate, struct onpu_migrate_op *op)
{
	struct onpu_migrate_part part = {};
	int ret = 0;

	while (!ret && op->done < op->size) {
		ret = migrate_start_locked(migrate, op, op->done, 0, &part);
		if (!ret)
			ret = migrate_finish(op, &part);
	}

	return ret;
}

/**
 * onpu_migrate_restore() - clear what could not be cleared when the card was wedged
 * @odev: card that works again; no queue does, nobody else touches it
 *
 * Return: 0 or a negative error.
 */
int onpu_migrate_restore(struct onpu_device *odev)
{
	struct onpu_migrate *migrate = odev->migrate;
	struct onpu_migrate_op *op;
	int ret;

	for (;;) {
		spin_lock(&migrate->lock);
		op = list_first_entry_or_null(&migrate->lost, struct onpu_migrate_op, link);
		spin_unlock(&migrate->lock);
		if (!op)
			return 0;

		ret = migrate_restore_op(migrate, op);
		if (ret)
			return ret;

		spin_lock(&migrate->lock);
		list_del_init(&op->link);
		spin_unlock(&migrate->lock);
		migrate_op_free_fences(op);
		dma_fence_put(&op->base);
	}
}

/* --- init and unplug ------------------------------------------------------- */

/**
 * onpu_migrate_unplug() - stop for good
 * @odev: card that executes nothing any more; no ioctl runs
 */
void onpu_migrate_unplug(struct onpu_device *odev)
{
	struct onpu_migrate *migrate = odev->migrate;
	struct onpu_migrate_op *op, *next;
	struct onpu_queue *queue;

	if (!migrate)
		return;

	/* Operations that come later find no card. */
	flush_work(&migrate->work);
	queue = migrate->queue;
	migrate->queue = NULL;

	/* No job will run on this card. */
	list_for_each_entry_safe(op, next, &migrate->lost, link) {
		list_del_init(&op->link);
		migrate_op_free_fences(op);
		dma_fence_put(&op->base);
	}

	onpu_queue_destroy_kernel(queue);
	onpu_vm_put(migrate->vm);
	onpu_file_put(migrate->ofile);
}

static int migrate_make_space(struct onpu_migrate *migrate)
{
	struct onpu_device *odev = migrate->odev;
	int ret;

	migrate->ofile = onpu_file_create(odev);
	if (!migrate->ofile)
		return -ENOMEM;

	migrate->vm = onpu_vm_create_kernel(odev, MIGRATE_CARD_VA, MIGRATE_WINDOW_VA,
					    2 * HALF_TABLES, migrate->tables);
	if (IS_ERR(migrate->vm)) {
		ret = PTR_ERR(migrate->vm);
		goto err_file;
	}

	migrate->queue = onpu_queue_create_kernel(migrate->ofile, migrate->vm);
	if (IS_ERR(migrate->queue)) {
		ret = PTR_ERR(migrate->queue);
		goto err_vm;
	}

	/* Two parts and their frames fit the ring. */
	migrate->part_packets = min_t(u32, PART_PACKETS,
				      (1 << (migrate->queue->ring.order - 1)) - 4);
	return 0;

err_vm:
	onpu_vm_put(migrate->vm);
err_file:
	onpu_file_put(migrate->ofile);
	onpu_flush_teardown();
	return ret;
}

static void migrate_fini(struct drm_device *drm, void *data)
{
	struct onpu_migrate *migrate = data;

	destroy_workqueue(migrate->wq);
}

/**
 * onpu_migrate_init() - set up the copy engine
 * @odev: card that works
 *
 * Return: 0 or a negative error.
 */
int onpu_migrate_init(struct onpu_device *odev)
{
	struct onpu_migrate *migrate;
	int ret;

	migrate = drmm_kzalloc(&odev->drm, sizeof(*migrate), GFP_KERNEL);
	if (!migrate)
		return -ENOMEM;

	migrate->odev = odev;
	spin_lock_init(&migrate->lock);
	INIT_LIST_HEAD(&migrate->ops);
	INIT_LIST_HEAD(&migrate->lost);
	INIT_WORK(&migrate->work, migrate_work);
	migrate->context = dma_fence_context_alloc(1);
	migrate->wq = alloc_ordered_workqueue("onpu-migrate-%s", WQ_MEM_RECLAIM | WQ_HIGHPRI,
					      dev_name(odev->drm.dev));
	if (!migrate->wq)
		return -ENOMEM;

	ret = drmm_add_action_or_reset(&odev->drm, migrate_fini, migrate);
	if (ret)
		return ret;

	ret = migrate_make_space(migrate);
	if (ret)
		return ret;

	odev->migrate = migrate;
	return 0;
}

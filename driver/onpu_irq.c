// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Interrupts
 *
 * Vector 0 is management: mailbox messages and crashes of the firmware, handled
 * in a thread. The other vectors tell that jobs ended; queues are spread over
 * them. The handler looks at the queues of its vector and signals fences right
 * there, in hard interrupt context: whoever waits for a job waits for nothing
 * else. User fences may have been stored as well, of which only their waiters
 * know: these are woken (onpu_wait.c). A platform that gives one vector only
 * has everything on vector 0.
 *
 * The card holds interrupts of jobs back while a queue has more to do, so that one tells of
 * several (ONPU_REG_IRQ_HOLD). It sends the last one at once: whoever submits one job at a
 * time notices nothing. How many and for how long is set by module parameters for all cards,
 * by attributes of the device for one.
 *
 * Locking: &onpu_irq_vector.lock covers the list of queues of a vector, and their
 * eventfds, and is held while their fences signal, so after onpu_irq_unwatch() no handler
 * touches the queue. Enabling and disabling is ordered by their callers: probe,
 * reset of the function and unplug, which exclude each other. &onpu_irq.hold_lock makes changing
 * a part of &onpu_irq.hold and telling the card one step; nothing is locked inside.
 */

#include <linux/eventfd.h>
#include <linux/interrupt.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/sysfs.h>

#include <drm/drm_managed.h>

#include "onpu_device.h"
#include "onpu_fence.h"
#include "onpu_fw.h"
#include "onpu_irq.h"
#include "onpu_mbox.h"
#include "onpu_queue.h"
#include "onpu_recovery.h"
#include "onpu_wait.h"

static unsigned int irq_coalesce_count = 16;
module_param(irq_coalesce_count, uint, 0444);
MODULE_PARM_DESC(irq_coalesce_count,
		 "Jobs of a busy queue that one interrupt tells of, at most (default 16; 0: each has its own)");

static unsigned int irq_coalesce_us = 100;
module_param(irq_coalesce_us, uint, 0444);
MODULE_PARM_DESC(irq_coalesce_us,
		 "Time in us that the interrupt of a job is held back, at most (default 100)");

/**
 * struct onpu_irq_vector - an interrupt vector
 */
struct onpu_irq_vector {
	/** @odev: card */
	struct onpu_device *odev;
	/** @irq: Linux interrupt number */
	int irq;
	/** @name: in /proc/interrupts */
	char name[32];
	/** @lock: protects @queues and &onpu_queue.notify of each */
	spinlock_t lock;
	/** @queues: struct onpu_queue whose jobs signal on this vector */
	struct list_head queues;
};

/**
 * struct onpu_irq - interrupts of a card
 */
struct onpu_irq {
	/** @disabled: by onpu_irq_disable() */
	bool disabled;
	/** @hold_lock: protects writing of @hold */
	struct mutex hold_lock;
	/** @hold: ONPU_REG_IRQ_HOLD of all vectors */
	u32 hold;
	/** @count: elements of @vectors, at least 1 */
	u32 count;
	/** @vectors: the first is the management vector */
	struct onpu_irq_vector vectors[] __counted_by(count);
};

static void onpu_irq_process(struct onpu_irq_vector *vector)
{
	struct onpu_queue *queue;
	unsigned long flags;

	spin_lock_irqsave(&vector->lock, flags);
	list_for_each_entry(queue, &vector->queues, irq_node) {
		onpu_fence_process(queue);
		if (queue->notify)
			eventfd_signal(queue->notify);
	}
	spin_unlock_irqrestore(&vector->lock, flags);

	onpu_wait_wake(vector->odev);
}

static irqreturn_t onpu_irq_completion(int irq, void *data)
{
	onpu_irq_process(data);
	return IRQ_HANDLED;
}

static irqreturn_t onpu_irq_management(int irq, void *data)
{
	struct onpu_irq_vector *vector = data;
	struct onpu_device *odev = vector->odev;
	u32 cause;
	int idx;

	if (!drm_dev_enter(&odev->drm, &idx))
		return IRQ_HANDLED;

	/* Causes that come up while one is handled interrupt again. */
	cause = onpu_read32(odev, ONPU_REG_IRQ_CAUSE);
	if (cause == ~0u)
		goto out_exit;
	onpu_write32(odev, ONPU_REG_IRQ_CAUSE, cause);

	if (cause & ONPU_IRQ_MBOX)
		onpu_mbox_receive(odev);
	if (cause & ONPU_IRQ_FATAL)
		onpu_recovery_restart(odev, "firmware crashed");
	onpu_irq_process(vector);

out_exit:
	drm_dev_exit(idx);
	return IRQ_HANDLED;
}

/**
 * onpu_irq_vector_of() - vector of a queue
 * @odev: card
 * @index: number of the queue on the card
 *
 * Return: the vector.
 */
u32 onpu_irq_vector_of(struct onpu_device *odev, u32 index)
{
	u32 completion = odev->irq->count - 1;

	return completion ? 1 + index % completion : 0;
}

/**
 * onpu_irq_watch() - begin to look at a queue when its vector interrupts
 * @queue: queue with a page
 */
void onpu_irq_watch(struct onpu_queue *queue)
{
	struct onpu_irq_vector *vector = &queue->odev->irq->vectors[queue->vector];

	spin_lock_irq(&vector->lock);
	list_add_tail(&queue->irq_node, &vector->queues);
	spin_unlock_irq(&vector->lock);
}

/**
 * onpu_irq_unwatch() - undo onpu_irq_watch()
 * @queue: queue
 *
 * When it returns, no handler touches the queue any more.
 */
void onpu_irq_unwatch(struct onpu_queue *queue)
{
	struct onpu_irq_vector *vector = &queue->odev->irq->vectors[queue->vector];

	spin_lock_irq(&vector->lock);
	list_del_init(&queue->irq_node);
	spin_unlock_irq(&vector->lock);
}

/**
 * onpu_irq_set_notify() - set the eventfd of a queue
 * @queue: queue
 * @eventfd: its reference goes to the queue; NULL for none
 *
 * Return: the one before, with its reference, or NULL.
 */
struct eventfd_ctx *onpu_irq_set_notify(struct onpu_queue *queue, struct eventfd_ctx *eventfd)
{
	struct onpu_irq_vector *vector = &queue->odev->irq->vectors[queue->vector];

	spin_lock_irq(&vector->lock);
	swap(queue->notify, eventfd);
	spin_unlock_irq(&vector->lock);

	return eventfd;
}

/**
 * onpu_irq_notify() - tell who waits that something became of a queue
 * @queue: queue, active
 *
 * Any context.
 */
void onpu_irq_notify(struct onpu_queue *queue)
{
	struct onpu_irq_vector *vector = &queue->odev->irq->vectors[queue->vector];
	unsigned long flags;

	spin_lock_irqsave(&vector->lock, flags);
	if (queue->notify)
		eventfd_signal(queue->notify);
	spin_unlock_irqrestore(&vector->lock, flags);

	onpu_wait_wake(queue->odev);
}

static bool onpu_irq_can_hold(struct onpu_device *odev)
{
	return (odev->caps.hw_version & 0xffff) >= ONPU_HW_MINOR_IRQ_HOLD;
}

/* Registers accessible. */
static void onpu_irq_tell_hold(struct onpu_device *odev)
{
	struct onpu_irq *irq = odev->irq;
	u32 i;

	if (!onpu_irq_can_hold(odev))
		return;
	for (i = 0; i < irq->count; i++)
		onpu_write32(odev, ONPU_REG_IRQ_HOLD(i), READ_ONCE(irq->hold));
}

/**
 * onpu_irq_enable() - let a card that was just reset interrupt
 * @odev: card; registers accessible
 */
void onpu_irq_enable(struct onpu_device *odev)
{
	struct onpu_irq *irq = odev->irq;
	u32 i;

	for (i = 0; irq->disabled && i < irq->count; i++)
		enable_irq(irq->vectors[i].irq);
	irq->disabled = false;

	onpu_irq_tell_hold(odev);
	onpu_write32(odev, ONPU_REG_IRQ_CAUSE, ONPU_IRQ_ALL);
	onpu_write32(odev, ONPU_REG_IRQ_ENABLE, ONPU_IRQ_MBOX | ONPU_IRQ_FATAL);
}

/**
 * onpu_irq_disable() - take no more interrupts
 * @odev: card
 *
 * When it returns, no handler runs.
 */
void onpu_irq_disable(struct onpu_device *odev)
{
	struct onpu_irq *irq = odev->irq;
	u32 i;

	for (i = 0; !irq->disabled && i < irq->count; i++)
		disable_irq(irq->vectors[i].irq);
	irq->disabled = true;
}

static int onpu_irq_request(struct onpu_device *odev, u32 i)
{
	struct onpu_irq_vector *vector = &odev->irq->vectors[i];
	struct pci_dev *pdev = to_pci_dev(odev->drm.dev);

	vector->odev = odev;
	spin_lock_init(&vector->lock);
	INIT_LIST_HEAD(&vector->queues);
	vector->irq = pci_irq_vector(pdev, i);

	if (i) {
		snprintf(vector->name, sizeof(vector->name), "onpu-%s-%u", pci_name(pdev), i);
		return devm_request_irq(&pdev->dev, vector->irq, onpu_irq_completion, 0,
					vector->name, vector);
	}
	snprintf(vector->name, sizeof(vector->name), "onpu-%s-mgmt", pci_name(pdev));
	return devm_request_threaded_irq(&pdev->dev, vector->irq, NULL, onpu_irq_management,
					 IRQF_ONESHOT, vector->name, vector);
}

/* --- attributes of the device ---------------------------------------------------- */

/* One half of the register; a card that is gone keeps what was set for a reader only. */
static ssize_t onpu_irq_set_hold(struct device *dev, const char *buf, size_t size, u32 shift)
{
	struct onpu_device *odev = dev_get_drvdata(dev);
	struct onpu_irq *irq = odev->irq;
	u32 mask = 0xffffu << shift;
	u16 value;
	int ret, idx;

	ret = kstrtou16(buf, 0, &value);
	if (ret)
		return ret;

	mutex_lock(&irq->hold_lock);
	WRITE_ONCE(irq->hold, (irq->hold & ~mask) | (u32)value << shift);
	if (drm_dev_enter(&odev->drm, &idx)) {
		onpu_irq_tell_hold(odev);
		drm_dev_exit(idx);
	}
	mutex_unlock(&irq->hold_lock);

	return size;
}

static ssize_t irq_coalesce_count_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct onpu_device *odev = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%u\n", ONPU_IRQ_HOLD_COUNT(READ_ONCE(odev->irq->hold)));
}

static ssize_t irq_coalesce_count_store(struct device *dev, struct device_attribute *attr,
					const char *buf, size_t size)
{
	return onpu_irq_set_hold(dev, buf, size, 0);
}
static DEVICE_ATTR_RW(irq_coalesce_count);

static ssize_t irq_coalesce_us_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct onpu_device *odev = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%u\n", ONPU_IRQ_HOLD_US(READ_ONCE(odev->irq->hold)));
}

static ssize_t irq_coalesce_us_store(struct device *dev, struct device_attribute *attr,
				     const char *buf, size_t size)
{
	return onpu_irq_set_hold(dev, buf, size, 16);
}
static DEVICE_ATTR_RW(irq_coalesce_us);

static struct attribute *onpu_irq_attrs[] = {
	&dev_attr_irq_coalesce_count.attr,
	&dev_attr_irq_coalesce_us.attr,
	NULL
};

static umode_t onpu_irq_attr_visible(struct kobject *kobj, struct attribute *attr, int n)
{
	return onpu_irq_can_hold(dev_get_drvdata(kobj_to_dev(kobj))) ? attr->mode : 0;
}

/* Of a card's device, while the driver is bound to it. */
const struct attribute_group onpu_irq_attr_group = {
	.attrs = onpu_irq_attrs,
	.is_visible = onpu_irq_attr_visible,
};

static void onpu_irq_free_vectors(void *data)
{
	pci_free_irq_vectors(data);
}

/**
 * onpu_irq_init() - allocate and request the vectors of a card
 * @odev: card
 *
 * One management vector, and completion vectors as many as there are CPUs, as
 * far as the card and the platform have them.
 *
 * Return: 0, or a negative error code after a message that says what is wrong.
 */
int onpu_irq_init(struct onpu_device *odev)
{
	struct pci_dev *pdev = to_pci_dev(odev->drm.dev);
	struct onpu_irq *irq;
	int count, ret;
	u32 i;

	count = min(odev->caps.vectors, 1 + num_online_cpus());
	count = pci_alloc_irq_vectors(pdev, 1, count, PCI_IRQ_MSIX);
	if (count < 0) {
		drm_err(&odev->drm, "no MSI-X vector: %d\n", count);
		return count;
	}
	ret = devm_add_action_or_reset(&pdev->dev, onpu_irq_free_vectors, pdev);
	if (ret)
		return ret;

	irq = drmm_kzalloc(&odev->drm, struct_size(irq, vectors, count), GFP_KERNEL);
	if (!irq)
		return -ENOMEM;
	irq->count = count;
	irq->hold = ONPU_IRQ_HOLD(min_t(u32, irq_coalesce_count, U16_MAX),
				  min_t(u32, irq_coalesce_us, U16_MAX));
	ret = drmm_mutex_init(&odev->drm, &irq->hold_lock);
	if (ret)
		return ret;
	odev->irq = irq;

	for (i = 0; i < irq->count; i++) {
		ret = onpu_irq_request(odev, i);
		if (ret) {
			drm_err(&odev->drm, "interrupt vector %u: %d\n", i, ret);
			return ret;
		}
	}

	return 0;
}

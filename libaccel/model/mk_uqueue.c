/* SPDX-License-Identifier: MIT */
/*
 * User-mode queues: doorbells, and waiting for words of memory.
 *
 * Ring, control block and words are memory of the process that the card sees anyhow. A doorbell is not: no
 * access to memory can call the model. So what the library "maps" is a struct mk_bell, which its os_ring()
 * is given back, and which leads to the queue as long as the queue is alive; who rings one later rings
 * nothing, as on the driver's page that nobody reads.
 *
 * Objects of a long-running address space may be moved at any time, for that changes nothing for what the card
 * executes (mk_bo.c). They are brought back when a doorbell is rung; when there is no memory for that for as long
 * as the driver looks for some, the queues of the address space are killed.
 *
 * There is no control block of the kernel's (DRM_ONPU_QUEUE_PROGRESS): all that the card writes is memory of the process, which
 * could write there itself, and the library does not ask for one (../src/uqueue.c).
 *
 * Locking: mk_lock. It is not held while the card is told; a queue is taken off the card only when nobody
 * rings its doorbell any more (mk_queue_destroy()).
 */
#define _GNU_SOURCE
#include "mk.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The driver looks for memory so long, and so often. */
uint64_t mk_patience_ns = 4000000000u;
#define MEMORY_RETRY_NS		20000000u

struct mk_bell {
	struct mk_bell *next;		/* in the list of all */
	struct mk_queue *queue;		/* NULL: it is dead */
	unsigned int maps;
};

static struct mk_bell *bells;

void mk_bells_forget(void)
{
	bells = NULL;
}

/* ---- doorbells ---- */

struct mk_bell *mk_bell_create(struct mk_queue *queue)
{
	struct mk_bell *bell = calloc(1, sizeof(*bell));

	if (!bell)
		return NULL;
	bell->queue = queue;
	bell->next = bells;
	bells = bell;
	return bell;
}

static void put_bell(struct mk_bell *bell)
{
	struct mk_bell **link = &bells;

	if (bell->queue || bell->maps)
		return;
	while (*link != bell)
		link = &(*link)->next;
	*link = bell->next;
	free(bell);
}

void mk_bell_revoke(struct mk_queue *queue)
{
	struct mk_bell *bell = queue->bell;

	queue->bell = NULL;
	if (!bell)
		return;
	bell->queue = NULL;
	put_bell(bell);
}

int mk_bell_map(struct mk_file *file, uint32_t index, void **pointer)
{
	struct mk_queue *queue = index < ONPU_MAX_QUEUES ? file->card->queues[index] : NULL;

	/* One that is being created may yet go without waiting for who rings it. */
	if (!queue || !queue->user || !queue->on_card || file->queues[queue->id] != queue)
		return -EACCES;
	/* One that has died meanwhile gets a bell that rings nothing. */
	*pointer = queue->bell ? queue->bell : mk_bell_create(NULL);
	if (!*pointer)
		return -ENOMEM;
	((struct mk_bell *)*pointer)->maps++;
	return 0;
}

bool mk_bell_unmap(const void *pointer)
{
	struct mk_bell *bell = bells;

	while (bell && (const void *)bell != pointer)
		bell = bell->next;
	if (!bell)
		return false;
	bell->maps--;
	put_bell(bell);
	return true;
}

/* Has all that the address space maps where it must be; false: the queue is dead. */
static bool bring_memory(struct mk_queue *queue)
{
	uint64_t end = mk_now() + mk_patience_ns;

	while (queue->bell && mk_bo_validate(queue->vm)) {
		/* Nobody tells when there is room. */
		if (mk_now() < end)
			mk_wait(mk_now() + MEMORY_RETRY_NS);
		else
			mk_queue_no_memory(queue->vm);
	}
	return queue->bell;
}

void mk_bell_ring(const volatile void *pointer, uint32_t value)
{
	const volatile struct mk_bell *bell = pointer;
	struct mk_queue *queue;

	pthread_mutex_lock(&mk_lock);
	queue = bell->queue;
	if (queue) {
		queue->ringing++;
		if (bring_memory(queue)) {
			pthread_mutex_unlock(&mk_lock);
			mk_write32(queue->card, ONPU_DOORBELL_BASE + queue->index * ONPU_DOORBELL_PAGE, value);
			pthread_mutex_lock(&mk_lock);
		}
		queue->ringing--;
		if (queue->leaving)
			mk_changed();
	}
	pthread_mutex_unlock(&mk_lock);
}

/* ---- QUEUE_CREATE ---- */

static bool range_ok(uint64_t va, uint64_t size)
{
	return va % ONPU_PACKET_SIZE == 0 && va >= MK_VA_START && va <= MK_VA_END && size <= MK_VA_END - va;
}

int mk_uqueue_check(const struct mk_card *card, const struct drm_onpu_queue_create *arg)
{
	if (arg->pad || arg->doorbell_offset || arg->progress_offset)
		return -EINVAL;
	if (!(arg->flags & DRM_ONPU_QUEUE_USER))
		return arg->ring_va || arg->ctl_va || arg->ring_order || arg->flags ? -EINVAL : 0;
	if (arg->flags & DRM_ONPU_QUEUE_PROGRESS)
		return -EOPNOTSUPP;
	if (arg->ring_order < ONPU_RING_ORDER_MIN || arg->ring_order > mk_limits.max_ring_order ||
	    arg->ring_order > mk_read32(card, ONPU_REG_RING_ORDER_MAX) ||
	    !range_ok(arg->ring_va, (uint64_t)ONPU_PACKET_SIZE << arg->ring_order) ||
	    (arg->ctl_va && !range_ok(arg->ctl_va, sizeof(struct onpu_queue_ctl))))
		return -EINVAL;
	return 0;
}

/* ---- WAIT ---- */

static bool holds(uint64_t word, uint32_t op, uint64_t value)
{
	switch (op) {
	case DRM_ONPU_WAIT_GE:
		return word >= value;
	case DRM_ONPU_WAIT_EQ:
		return word == value;
	case DRM_ONPU_WAIT_NE:
		return word != value;
	case DRM_ONPU_WAIT_GT:
		return word > value;
	case DRM_ONPU_WAIT_LE:
		return word <= value;
	default:
		return word < value;
	}
}

static bool is_dead(uint64_t number)
{
	const struct mk_queue *queue = mk_queue_by_number(number);

	return !queue || queue->leaving || queue->state.flags & DRM_ONPU_QUEUE_DEAD;
}

static int wait_for_word(struct mk_file *file, const struct drm_onpu_wait *arg)
{
	const uint64_t *word = (const uint64_t *)(uintptr_t)arg->addr;
	uint64_t number = 0;
	bool in_time = true;

	if (arg->flags || arg->pad || arg->op > DRM_ONPU_WAIT_LT || arg->addr % sizeof(*word))
		return -EINVAL;
	if (arg->queue_id) {
		const struct mk_queue *queue = mk_queue_find(file, arg->queue_id);

		if (!queue)
			return -ENOENT;
		number = queue->number;
	}
	if (!word)
		return -EFAULT;
	for (;;) {
		/* First: the last thing that a queue did may have been to store the word. */
		bool vain = number && is_dead(number);

		if (file->card->lost)
			return -ENODEV;
		if (holds(__atomic_load_n(word, __ATOMIC_ACQUIRE), arg->op, arg->value))
			return 0;
		if (vain)
			return -ECANCELED;
		if (!in_time || arg->timeout_ns <= 0)
			return -ETIME;
		in_time = mk_wait((uint64_t)arg->timeout_ns);
	}
}

/* ---- QUEUE_NOTIFY ---- */

static bool is_eventfd(int fd)
{
	static const char name[] = "anon_inode:[eventfd]";
	char link[64], path[64];
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path));
	return length == sizeof(name) - 1 && !memcmp(path, name, sizeof(name) - 1);
}

void mk_queue_notify(const struct mk_queue *queue)
{
	const uint64_t one = 1;

	/* It fails when somebody has filled it, who is told enough. */
	if (queue->notify >= 0 && write(queue->notify, &one, sizeof(one)) < 0)
		return;
}

static int set_notify(struct mk_file *file, const struct drm_onpu_queue_notify *arg)
{
	struct mk_queue *queue;
	int fd = -1;

	if (arg->flags || arg->pad || arg->fd < -1)
		return -EINVAL;
	queue = mk_queue_find(file, arg->queue_id);
	if (!queue)
		return -ENOENT;
	if (arg->fd >= 0) {
		fd = fcntl(arg->fd, F_DUPFD_CLOEXEC, 3);
		if (fd < 0)
			return -errno;
		if (!is_eventfd(fd)) {
			close(fd);
			return -EINVAL;
		}
	}
	if (queue->notify >= 0)
		close(queue->notify);
	queue->notify = fd;
	return 0;
}

int mk_uqueue_ioctl(struct mk_file *file, unsigned long request, void *arg)
{
	switch (request) {
	case DRM_IOCTL_ONPU_WAIT:
		return wait_for_word(file, arg);
	case DRM_IOCTL_ONPU_QUEUE_NOTIFY:
		return set_notify(file, arg);
	default:
		return -ENOTTY;
	}
}

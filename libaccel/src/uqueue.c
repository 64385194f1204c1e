/* SPDX-License-Identifier: MIT */
/*
 * User-mode queues: the ring and the doorbell are in the process, a submission is no system call.
 *
 * A submission of few packets stands in the ring itself, a larger one in command memory, by CALL; its SIGNAL
 * comes behind it. Packets of the ring are counted modulo 2^32. What is free is known from the jobs that are
 * done, so no control block is needed; as the card stores a job's number before it counts the SIGNAL as
 * consumed, the ring is never filled to the last packet. When it is full the thread sleeps until its oldest
 * job is done.
 *
 * *Waiting.* The word is looked at for a while, then the thread sleeps in the kernel's WAIT, which an interrupt
 * ends. An interrupt costs more than a small job, so only some SIGNALs ask for one: those that somebody
 * is going to sleep for, as far as is known, and every IRQ_EVERY-th, so that one in the middle of much work is not
 * told at its end only. Who wants to sleep and finds that none would come adds a SIGNAL of his own that does. How
 * long to look is learned: as long as what was waited for usually takes, at most about as long as it takes
 * to sleep and be woken, else not.
 *
 * The word is memory that a packet could write to, and the kernel offers a counter that none can
 * (DRM_ONPU_QUEUE_PROGRESS). It is not used: all packets here are this library's, which checks what they write, so who could forge the
 * word can write to all of the library's memory as well; queues that wait for one another on the card need a word that the card
 * can read in any case; and the counter stands in card memory, where each look of a CPU costs a round trip over PCIe.
 * What need not be written by the card is read-only to it: the ring, packets of graphs, and the word for other contexts.
 *
 * The kernel has no fence of such work; it does not know that there is any. So what ends a wait besides the word
 * is the queue's death, of which WAIT tells as well.
 *
 * Locking: the ring belongs to who holds the queue's lock. The word and the numbers of the spinning are
 * atomic.
 */
#define _GNU_SOURCE
#include "internal.h"
#include "barrier.h"
#include "os.h"

#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* Packets of a ring: 2^9, 32 KiB. */
#define RING_ORDER	9u
#define RING_ORDER_MIN	6u
/* Packets that are not used by jobs: see above, and for interrupts. */
#define RING_SLACK	4u
#define INLINE_PACKETS	8u
#define IRQ_EVERY	16u

/* In the page of the word: where SIGNALs that only interrupt store to. */
#define SCRATCH_OFFSET	64u

/* How long to look at a word at most before sleeping, and at least even if it never helped. */
#define SPIN_MAX_NS	50000u
#define SPIN_MIN_NS	1000u
/* A sleep that could miss something is so long, and any at most: to look after what went wrong. */
#define SLICE_NS	20000000
#define SLICE_MAX_NS	1000000000

/* ---- the device ---- */

static uint32_t spin_max(void)
{
	const char *text = getenv("ACCEL_SPIN_US");
	cpu_set_t cpus;

	if (text)
		return (uint32_t)(strtoul(text, NULL, 10) < 1000000 ? strtoul(text, NULL, 10) * 1000 : 1000000000);
	/* On one CPU, nobody can store the word while this thread looks. */
	if (!sched_getaffinity(0, sizeof(cpus), &cpus) && CPU_COUNT(&cpus) == 1)
		return 0;
	return SPIN_MAX_NS;
}

int user_queues_init(struct accel_device *device)
{
	const char *wanted = getenv("ACCEL_QUEUES");
	bool offered = device->limits.max_ring_order >= RING_ORDER_MIN;

	device->spin_max_ns = spin_max();
	device->user_queues = offered;
	if (!wanted || !*wanted || !strcmp(wanted, "auto"))
		return 0;
	if (!strcmp(wanted, "kernel"))
		device->user_queues = false;
	else if (strcmp(wanted, "user"))
		return fail(-EINVAL, "ACCEL_QUEUES is \"%s\", neither auto, kernel nor user", wanted);
	else if (!offered)
		return fail(-ENOTSUP, "ACCEL_QUEUES is user, but the driver or the card has no user-mode queues");
	return 0;
}

/* ---- life ---- */

static uint32_t ring_size(const struct ring *ring)
{
	return (uint32_t)(ring->bo.size / ONPU_PACKET_SIZE);
}

void user_queue_drop_ring(struct accel_queue *queue)
{
	struct ring *ring = &queue->ring;

	if (ring->doorbell)
		os_munmap((void *)(uintptr_t)ring->doorbell, PAGE_SIZE);
	if (ring->packets)
		bo_fini(&ring->bo);
	memset(ring, 0, sizeof(*ring));
}

/* The word, in a page of its own that other contexts may see. System memory: the CPU's cache has it. */
static int create_word(struct accel_queue *queue)
{
	void *pointer;
	int ret;

	ret = bo_init(&queue->fence, queue->context, PAGE_SIZE, DRM_ONPU_BO_SYSTEM, BO_VIEWABLE);
	if (ret) {
		queue->fence.size = 0;
		return ret;
	}
	ret = bo_map(&queue->fence, &pointer);
	if (ret)
		return ret;
	queue->word = pointer;
	queue->word_va = queue->fence.va;
	return 0;
}

static int create_ring(struct accel_queue *queue, uint32_t order)
{
	void *pointer;
	int ret;

	ret = bo_init(&queue->ring.bo, queue->context, (uint64_t)ONPU_PACKET_SIZE << order,
		      DRM_ONPU_BO_VRAM | DRM_ONPU_BO_SYSTEM, BO_CARD_READONLY);
	if (ret)
		return ret;
	ret = bo_map(&queue->ring.bo, &pointer);
	if (ret) {
		bo_fini(&queue->ring.bo);
		return ret;
	}
	queue->ring.packets = pointer;
	return 0;
}

static int create_on_card(struct accel_queue *queue, uint32_t order)
{
	struct accel_device *device = queue->context->device;
	struct drm_onpu_queue_create arg = {
		.vm_id = queue->context->vm_id,
		.priority = queue->priority,
		.flags = DRM_ONPU_QUEUE_USER,
		.ring_va = queue->ring.bo.va,
		.ring_order = order,
	};
	void *doorbell;
	int ret;

	ret = device_ioctl(device, DRM_IOCTL_ONPU_QUEUE_CREATE, &arg);
	if (ret == -EACCES)
		return fail(ret, "priority %u needs CAP_SYS_NICE", queue->priority);
	if (ret)
		return fail(ret, "the driver refused a queue (limit: %u per open device): %s",
			    device->limits.max_queues, strerror(-ret));
	ret = os_mmap(device->fd, arg.doorbell_offset, PAGE_SIZE, &doorbell);
	if (ret) {
		device_ioctl(device, DRM_IOCTL_ONPU_QUEUE_DESTROY,
			     &(struct drm_onpu_queue_destroy){ .id = arg.id });
		return fail(ret, "cannot map the doorbell of a queue: %s", strerror(-ret));
	}
	queue->ring.doorbell = doorbell;
	queue->id = arg.id;
	return 0;
}

static int user_create(struct accel_queue *queue)
{
	const struct accel_device *device = queue->context->device;
	uint32_t order = device->limits.max_ring_order < RING_ORDER ? device->limits.max_ring_order :
								       RING_ORDER;
	int ret;

	atomic_init(&queue->spin_ns, device->spin_max_ns / 2);
	ret = create_word(queue);
	if (!ret)
		ret = create_ring(queue, order);
	return ret ? ret : create_on_card(queue, order);
}

/* Waits until the card has let go of the queue. */
static int user_destroy(struct accel_queue *queue)
{
	struct drm_onpu_queue_destroy arg = { .id = queue->id };
	int ret;

	if (!queue->ring.doorbell)	/* it is not there any more */
		return 0;
	ret = device_ioctl(queue->context->device, DRM_IOCTL_ONPU_QUEUE_DESTROY, &arg);
	/* Nothing runs on a card that is gone. */
	return ret == -ENODEV || ret == -ENOENT ? 0 : ret;
}

/* ---- waiting ---- */

static bool word_is_there(const struct accel_queue *queue, uint64_t point)
{
	if (__atomic_load_n(queue->word, __ATOMIC_ACQUIRE) < point)
		return false;
	barrier_after_word();
	return true;
}

static void write_packet(struct accel_queue *queue, const struct onpu_packet *packet)
{
	struct ring *ring = &queue->ring;

	memcpy(&ring->packets[ring->tail++ & (ring_size(ring) - 1)], packet, sizeof(*packet));
}

static void ring_doorbell(struct accel_queue *queue)
{
	barrier_before_doorbell();
	os_ring(queue->ring.doorbell, queue->ring.tail);
}

/* Has an interrupt come behind @point; false: perhaps none does. */
static bool arm(struct accel_queue *queue, uint64_t point, bool locked)
{
	struct ring *ring = &queue->ring;
	struct onpu_packet packet = { .opcode = ONPU_OP_SIGNAL, .flags = ONPU_PKT_IRQ };
	bool armed;

	if (!locked && pthread_mutex_trylock(&queue->lock))
		return false;
	armed = ring->armed >= point;
	if (!armed && ring->packets && ring->tail - ring->freed < ring_size(ring) - 1) {
		packet.signal.va = queue->word_va + SCRATCH_OFFSET;
		packet.signal.value = point;
		write_packet(queue, &packet);
		ring_doorbell(queue);
		ring->armed = atomic_load(&queue->submitted);
		ring->quiet = 0;
		armed = true;
	}
	if (!locked)
		pthread_mutex_unlock(&queue->lock);
	return armed;
}

/* Learns from a wait of @ns: its length, and whether it ended while the thread looked. */
static void learn(struct accel_queue *queue, uint64_t ns, bool seen)
{
	uint32_t max = queue->context->device->spin_max_ns;
	uint64_t spin = atomic_load_explicit(&queue->spin_ns, memory_order_relaxed);

	if (seen)
		spin += (4 * ns + SPIN_MIN_NS) / 8 - spin / 8;
	else if (ns < 2ull * max)
		spin = 2 * ns;
	else
		spin /= 2;
	if (spin < SPIN_MIN_NS)
		spin = SPIN_MIN_NS;
	if (spin > max)
		spin = max;
	atomic_store_explicit(&queue->spin_ns, (uint32_t)spin, memory_order_relaxed);
	atomic_store_explicit(&queue->sleepy, !seen, memory_order_relaxed);
}

static bool spin(const struct accel_queue *queue, uint64_t point, uint64_t start, uint64_t end)
{
	uint64_t budget = atomic_load_explicit(&queue->spin_ns, memory_order_relaxed);

	if (budget > end - start)
		budget = end - start;
	do {
		for (int i = 0; i < 16; i++) {
			if (word_is_there(queue, point))
				return true;
			barrier_relax();
		}
	} while (budget && os_now_ns() - start < budget);
	return false;
}

/* Looks once at what the kernel knows. */
static int look(struct accel_queue *queue, uint64_t point)
{
	struct drm_onpu_queue_get_state state;

	device_look_at_watched(queue->context->device);
	queue_state(queue, &state);
	return word_is_there(queue, point) || queue_is_over(queue) ? 0 : -ETIME;
}

/* Sleeps until the word comes, the queue dies or the slice is over: 0, or an error besides these. */
static int sleep_in_kernel(struct accel_queue *queue, uint64_t point, int64_t end, bool locked)
{
	struct accel_device *device = queue->context->device;
	struct drm_onpu_queue_get_state state;
	struct drm_onpu_wait arg = {
		.addr = (uintptr_t)queue->word,
		.value = point,
		.op = DRM_ONPU_WAIT_GE,
		.queue_id = queue->id,
		.timeout_ns = end,
	};
	bool careful = !arm(queue, point, locked) || atomic_load(&device->watched);
	int64_t soon = (int64_t)os_now_ns() + (careful ? SLICE_NS : SLICE_MAX_NS);
	int ret;

	if (soon < end)
		arg.timeout_ns = soon;
	ret = device_ioctl(device, DRM_IOCTL_ONPU_WAIT, &arg);
	switch (ret) {
	case -ETIME:
		device_look_at_watched(device);
		return 0;
	case -ECANCELED:
	case -ENODEV:
	case -EIO:
	case -ENOENT:
		/* Also when the queue has become a kernel queue, which it does when its work is done. */
		return word_is_there(queue, point) ? 0 : queue_state(queue, &state);
	default:
		return ret;
	}
}

static int user_wait(struct accel_queue *queue, uint64_t point, int64_t end, bool locked)
{
	uint64_t start = end ? os_now_ns() : 0;
	int ret = 0;

	if (!end)
		return look(queue, point);
	if ((int64_t)start < end && spin(queue, point, start, (uint64_t)end)) {
		learn(queue, os_now_ns() - start, true);
		return 0;
	}
	while (!ret) {
		if (word_is_there(queue, point) || queue_is_over(queue)) {
			learn(queue, os_now_ns() - start, false);
			return 0;
		}
		if ((int64_t)os_now_ns() >= end)
			return look(queue, point);
		ret = sleep_in_kernel(queue, point, end, locked);
	}
	return ret;
}

/* ---- submitting ---- */

/* Waits for room for @need packets. */
static int reserve(struct accel_queue *queue, uint32_t need)
{
	struct ring *ring = &queue->ring;

	while (ring_size(ring) - RING_SLACK - (ring->tail - ring->freed) < need ||
	       ring->tail - ring->freed > ring_size(ring) - RING_SLACK) {
		uint64_t point;
		int ret;

		if (!queue->oldest)
			return fail(-ENOMEM, "the ring is lost");
		point = queue->oldest->point;
		ret = user_wait(queue, point, INT64_MAX, true);
		if (ret)
			return fail(ret, "waiting for room in the ring failed: %s", strerror(-ret));
		if (queue_done(queue) < point)
			return queue_dead(queue);
		queue_retire_locked(queue, queue_done(queue));
	}
	return 0;
}

static int user_arm(struct accel_queue *queue)
{
	uint64_t submitted = atomic_load(&queue->submitted);
	int ret;

	if (queue_done(queue) >= submitted)
		return 0;
	ret = reserve(queue, 1);
	if (!ret)
		arm(queue, submitted, true);
	return ret;
}

/* The address of a dependency's word in this queue's context. */
static int word_of(struct accel_queue *queue, struct dependency *dependency, uint64_t *va)
{
	struct accel_queue *other = dependency->queue;
	int ret;

	*va = other->word_va;
	if (other->context == queue->context || dependency->view)
		goto out;
	dependency->view = malloc(sizeof(*dependency->view));
	if (!dependency->view)
		return fail(-ENOMEM, "out of memory");
	ret = bo_init_view(dependency->view, queue->context, &other->fence);
	if (ret) {
		free(dependency->view);
		dependency->view = NULL;
		return ret;
	}
out:
	if (dependency->view)
		*va = dependency->view->va;
	return 0;
}

/* Those that the card cannot look at, this thread waits for. */
static int prepare_dependencies(struct accel_queue *queue)
{
	for (unsigned int i = 0; i < queue->dependency_count; i++) {
		struct dependency *dependency = &queue->dependencies[i];
		uint64_t va;
		int ret;

		if (queue_backend(dependency->queue) == &user_queue) {
			ret = word_of(queue, dependency, &va);
			if (ret)
				return ret;
			continue;
		}
		ret = queue_wait_over(dependency->queue, dependency->point, ACCEL_FOREVER, false);
		if (ret)
			return fail(ret, "waiting for another queue failed: %s", strerror(-ret));
		dependency_drop(queue, dependency);
		*dependency = queue->dependencies[--queue->dependency_count];
		i--;
	}
	return 0;
}

/* The job keeps what it waits for, and others look after that. */
static void write_dependencies(struct accel_queue *queue, struct job *job)
{
	for (unsigned int i = 0; i < queue->dependency_count; i++) {
		struct dependency *dependency = &queue->dependencies[i];
		struct onpu_packet packet = { .opcode = ONPU_OP_WAIT };

		atomic_fetch_add(&dependency->queue->watchers, 1);
		packet.wait.va = dependency->view ? dependency->view->va : dependency->queue->word_va;
		packet.wait.value = dependency->point;
		packet.wait.op = ONPU_WAIT_GE;
		write_packet(queue, &packet);
	}
	if (!queue->dependency_count)
		return;
	atomic_fetch_add(&queue->context->device->watched, 1);
	job->dependencies = queue->dependencies;
	job->dependency_count = queue->dependency_count;
	queue->dependencies = NULL;
	queue->dependency_count = 0;
	queue->dependency_room = 0;
}

static void write_body(struct accel_queue *queue, const struct submission *submission,
		       const struct commands *commands)
{
	struct onpu_packet packet = { .opcode = ONPU_OP_CALL };

	if (submission->graph) {
		packet.call.va = graph_commands(submission->graph, &packet.call.count);
		if (packet.call.count)
			write_packet(queue, &packet);
		return;
	}
	if (commands->packets) {
		packet.call.va = commands->va;
		packet.call.count = commands->packets;
		write_packet(queue, &packet);
		return;
	}
	for (unsigned int i = 0; i < submission->packet_count; i++) {
		packet = submission_packet(submission, commands, i);
		write_packet(queue, &packet);
	}
}

static void write_signal(struct accel_queue *queue, const struct commands *commands, uint64_t point)
{
	struct onpu_packet packet = queue_signal(queue, point);
	struct ring *ring = &queue->ring;

	if (++ring->quiet == IRQ_EVERY ||
	    (commands->awaited && (queue_notifies(queue) ||
				   atomic_load_explicit(&queue->sleepy, memory_order_relaxed)))) {
		packet.flags = ONPU_PKT_IRQ;
		ring->armed = point;
		ring->quiet = 0;
	}
	write_packet(queue, &packet);
}

static int user_submit(struct accel_queue *queue, const struct submission *submission,
		       const struct commands *commands, struct job *job, uint64_t point)
{
	uint64_t card_bytes = atomic_load_explicit(&queue->context->card_bytes, memory_order_relaxed);
	uint64_t card_size = queue->context->device->memory.vram_size;
	int ret;

	if (queue_is_over(queue))
		return queue_dead(queue);
	if (card_bytes > card_size)
		return fail(-ENOMEM, "the buffers of the context that must be in card memory, %" PRIu64 " bytes, have to fit"
			    " into its %" PRIu64 " bytes together", card_bytes, card_size);
	ret = prepare_dependencies(queue);
	if (!ret)
		ret = reserve(queue, queue->dependency_count + 1 +
			      (commands->packets || submission->graph ? 1 : submission->packet_count));
	if (ret)
		return ret;
	write_dependencies(queue, job);
	write_body(queue, submission, commands);
	write_signal(queue, commands, point);
	job->ring_end = queue->ring.tail;
	ring_doorbell(queue);
	return 0;
}

static void user_retire(struct accel_queue *queue, const struct job *job)
{
	queue->ring.freed = job->ring_end;
}

static uint64_t user_over(struct accel_queue *queue)
{
	return atomic_load(&queue->submitted);
}

const struct queue_backend user_queue = {
	.inline_packets = INLINE_PACKETS,
	.create = user_create,
	.submit = user_submit,
	.wait = user_wait,
	.over = user_over,
	.arm = user_arm,
	.retire = user_retire,
	.destroy = user_destroy,
	.fini = user_queue_drop_ring,
};

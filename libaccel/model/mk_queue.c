/* SPDX-License-Identifier: MIT */
/*
 * Queues and jobs.
 *
 * A queue has a ring in card memory, mapped for the kernel alone in the upper half of its address
 * space. A job takes two packets there: a CALL of the user's packets, which run unprivileged, and a
 * SIGNAL that stores the job's number and interrupts. A job goes into the ring when the fences that
 * it waits for have signalled and there is a place; the one at the front decides for all
 * behind it.
 *
 * There is no watchdog: nothing that comes through the library can run for ever, and a
 * model under a sanitizer is slow without being hung.
 *
 * Locking: mk_lock. The ring is written under it, the fence word is read from anywhere. The doorbell is rung
 * without it.
 */
#include "mk.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RING_ORDER	9u
#define RING_BYTES	((uint64_t)ONPU_PACKET_SIZE << RING_ORDER)
#define JOB_PACKETS	2u
/* The card may still count the packet whose store ended a job: one place stays free. */
#define RING_JOBS	((1u << RING_ORDER) / JOB_PACKETS - 1)
#define BUCKETS		256u

static struct mk_queue *table[BUCKETS];	/* by number */
static uint64_t last_number;
static uint64_t waiting;		/* jobs that are in no ring, of all queues */
static bool hold;
static uint32_t kill_flags;
unsigned int mk_submits;

struct mk_queue *mk_queue_by_number(uint64_t number)
{
	struct mk_queue *queue = table[number % BUCKETS];

	while (queue && queue->number != number)
		queue = queue->next;
	return queue;
}

/* ---- jobs ---- */

static void free_job(struct mk_job *job)
{
	free(job->waits.list);
	free(job);
}

/* Jobs up to @seqno have ended. */
static void complete(struct mk_queue *queue, uint64_t seqno)
{
	struct mk_job *job;

	while ((job = queue->first) && job->seqno <= seqno) {
		queue->first = job->next;
		if (!queue->first)
			queue->last = &queue->first;
		if (queue->waiting == job) {
			queue->waiting = job->next;
			waiting--;
		}
		queue->state.jobs_completed++;
		free_job(job);
	}
	if (queue->completed < seqno)
		queue->completed = seqno;
	mk_share_update();
	mk_changed();
	mk_queue_notify(queue);
	if (waiting)
		mk_kick();
}

void mk_queue_interrupt(struct mk_card *card, unsigned int vector)
{
	for (uint32_t i = vector - 1; i < ONPU_MAX_QUEUES; i += ONPU_MAX_VECTORS - 1) {
		struct mk_queue *queue = card->queues[i];
		uint64_t seqno;

		if (queue && queue->user) {
			mk_changed();
			mk_queue_notify(queue);
		}
		if (!queue || !queue->fence)
			continue;
		seqno = __atomic_load_n(queue->fence, __ATOMIC_ACQUIRE);
		if (seqno > queue->completed)
			complete(queue, seqno);
	}
}

static void write_packets(struct mk_queue *queue, const struct mk_job *job)
{
	struct onpu_packet packets[JOB_PACKETS] = { 0 };

	packets[0].opcode = job->count ? ONPU_OP_CALL : ONPU_OP_NOP;
	if (job->count) {
		packets[0].call.va = job->va;
		packets[0].call.count = job->count;
	}
	packets[1].opcode = ONPU_OP_SIGNAL;
	packets[1].flags = ONPU_PKT_IRQ;
	packets[1].signal.va = queue->va + RING_BYTES;
	packets[1].signal.value = job->seqno;
	memcpy(queue->ring + queue->tail % (1u << RING_ORDER) * sizeof(packets[0]), packets, sizeof(packets));
	queue->tail += JOB_PACKETS;
}

static bool may_start(const struct mk_queue *queue, const struct mk_job *job)
{
	return !(hold && job->count) && queue->pushed - queue->completed < RING_JOBS &&
	       mk_all_signalled(&job->waits);
}

static void die(struct mk_queue *queue, uint32_t flags)
{
	queue->state.flags |= flags | DRM_ONPU_QUEUE_DEAD;
	mk_bell_revoke(queue);
	complete(queue, queue->submitted);
}

void mk_queue_no_memory(const struct mk_vm *vm)
{
	for (unsigned int i = 0; i < ONPU_MAX_QUEUES; i++) {
		struct mk_queue *queue = vm->card->queues[i];

		if (queue && queue->vm == vm && queue->user)
			die(queue, DRM_ONPU_QUEUE_NO_MEMORY);
	}
}

static bool killed(struct mk_queue *queue)
{
	uint32_t flags = kill_flags;

	if (!flags || !queue->waiting->count)
		return false;
	kill_flags = 0;
	die(queue, flags);
	return true;
}

/*
 * Tells the card, with the lock released: it may do short work in this very thread, and interrupt. Who
 * comes while somebody rings leaves it to him, so that the index never goes back.
 */
static void ring(struct mk_queue *queue)
{
	uint32_t tail;

	if (queue->ringing)
		return;
	queue->ringing = 1;
	do {
		tail = queue->tail;
		pthread_mutex_unlock(&mk_lock);
		mk_write32(queue->card, ONPU_DOORBELL_BASE + queue->index * ONPU_DOORBELL_PAGE, tail);
		pthread_mutex_lock(&mk_lock);
	} while (tail != queue->tail);
	queue->ringing = 0;
	mk_changed();
}

/* Puts jobs into the ring as far as they may start; true: it did, and the lock was released. */
static bool push(struct mk_queue *queue)
{
	uint32_t before = queue->tail;

	while (queue->waiting && !queue->leaving && may_start(queue, queue->waiting)) {
		struct mk_job *job = queue->waiting;

		if (killed(queue))
			return false;
		write_packets(queue, job);
		queue->pushed = job->seqno;
		queue->waiting = job->next;
		waiting--;
	}
	if (queue->tail == before)
		return false;
	ring(queue);
	return true;
}

static bool push_one(void)
{
	for (unsigned int i = 0; i < BUCKETS && waiting; i++)
		for (struct mk_queue *queue = table[i]; queue; queue = queue->next)
			if (push(queue))
				return true;
	return false;
}

void mk_queue_push_all(void)
{
	while (push_one())	/* what there is may change whenever one has been pushed */
		;
}

bool mk_queue_waits(void)
{
	return waiting;
}

void mk_queue_hold(bool on)
{
	pthread_mutex_lock(&mk_lock);
	hold = on;
	mk_queue_push_all();
	pthread_mutex_unlock(&mk_lock);
}

void mk_queue_kill_next(uint32_t flags)
{
	pthread_mutex_lock(&mk_lock);
	kill_flags = flags;
	pthread_mutex_unlock(&mk_lock);
}

/* ---- the end of queues ---- */

void mk_queue_stopped(struct mk_card *card, const struct onpu_msg_queue_error *msg)
{
	struct mk_queue *queue = msg->queue < ONPU_MAX_QUEUES ? card->queues[msg->queue] : NULL;
	struct drm_onpu_vm_get_state *vm;

	if (!queue || queue->state.flags & DRM_ONPU_QUEUE_DEAD)
		return;
	/* What it did before may not have been told of yet. */
	if (queue->fence)
		complete(queue, __atomic_load_n(queue->fence, __ATOMIC_ACQUIRE));
	queue->state.error = msg->error;
	queue->state.opcode = msg->opcode;
	if (msg->error == ONPU_ERR_FAULT) {
		vm = &queue->vm->state;
		vm->flags |= DRM_ONPU_VM_FAULTED;
		vm->faults++;
		vm->fault_va = queue->state.fault_va = msg->fault_va;
		vm->fault_info = queue->state.fault_info = msg->fault_info;
		vm->fault_queue = queue->id;
	}
	die(queue, msg->error == ONPU_ERR_FAULT ? DRM_ONPU_QUEUE_FAULT :
	    msg->error == ONPU_ERR_KILLED || msg->error == ONPU_ERR_INTERNAL ? 0 : DRM_ONPU_QUEUE_BAD_PACKET);
}

void mk_queue_card_lost(struct mk_card *card)
{
	for (unsigned int i = 0; i < ONPU_MAX_QUEUES; i++)
		if (card->queues[i])
			die(card->queues[i], DRM_ONPU_QUEUE_DEVICE_LOST);
}

void mk_queue_forget(void)
{
	mk_bells_forget();
	memset(table, 0, sizeof(table));
	waiting = 0;
	hold = false;
	kill_flags = 0;
}

static void queue_free(struct mk_queue *queue)
{
	struct mk_queue **link = &table[queue->number % BUCKETS];

	while (*link != queue)
		link = &(*link)->next;
	*link = queue->next;
	mk_bell_revoke(queue);
	if (queue->notify >= 0)
		close(queue->notify);
	queue->vm->queues[queue->user]--;
	if (queue->range) {
		mk_pt_unmap(queue->vm, queue->va, RING_BYTES + MK_PAGE);
		queue->fence = NULL;
		mk_card_invalidate(queue->card, queue->vm->asid);
		queue->card->vram_used -= RING_BYTES + MK_PAGE;
		mk_range_free(queue->card, queue->range);
	}
	/* Now the next may have its place on the card, and with that its addresses. */
	queue->card->queues[queue->index] = NULL;
	mk_vm_put(queue->vm);
	free(queue);
}

void mk_queue_destroy(struct mk_file *file, uint32_t id)
{
	struct mk_queue *queue = file->queues[id];
	struct onpu_msg_queue msg = { .queue = queue->index };

	file->queues[id] = NULL;
	queue->leaving = true;
	mk_bell_revoke(queue);
	mk_changed();
	while (queue->ringing)
		mk_wait(UINT64_MAX);
	/* Answered when nothing of it executes any more. */
	if (queue->on_card)
		mk_card_request(queue->card, ONPU_MSG_QUEUE_DESTROY, &msg);
	die(queue, 0);
	queue_free(queue);
}

/* ---- creation ---- */

static int create_ring(struct mk_queue *queue)
{
	struct mk_card *card = queue->card;
	const uint64_t bits = ONPU_PTE_READ | ONPU_PTE_WRITE | ONPU_PTE_PRIV;

	queue->range = mk_range_alloc(card, RING_BYTES + MK_PAGE);
	if (!queue->range)
		return -ENOMEM;
	card->vram_used += RING_BYTES + MK_PAGE;
	queue->ring = card->memory + queue->range->start;
	queue->fence = (uint64_t *)(void *)(queue->ring + RING_BYTES);
	queue->va = MK_VA_KERNEL + (uint64_t)queue->index * MK_HUGE;
	return mk_pt_map(queue->vm, queue->va, RING_BYTES + MK_PAGE, queue->range->start | bits);
}

static int create_on_card(struct mk_queue *queue, const struct drm_onpu_queue_create *arg)
{
	struct onpu_msg_queue_create msg = {
		.queue = queue->index, .asid = queue->vm->asid, .ring_va = queue->va,
		.ring_order = RING_ORDER, .flags = ONPU_QUEUE_PRIVILEGED, .vector = queue->vector,
		.priority = arg->priority,
	};
	int ret;

	if (queue->user) {
		msg.ring_va = arg->ring_va;
		msg.ctl_va = arg->ctl_va;
		msg.ring_order = arg->ring_order;
		msg.flags = 0;
	}
	mk_write32(queue->card, ONPU_DOORBELL_BASE + queue->index * ONPU_DOORBELL_PAGE, 0);
	ret = mk_card_request(queue->card, ONPU_MSG_QUEUE_CREATE, &msg);
	queue->on_card = !ret;
	return ret;
}

static int create(struct mk_file *file, struct drm_onpu_queue_create *arg)
{
	struct mk_vm *vm = mk_vm_find(file, arg->vm_id);
	bool user = arg->flags & DRM_ONPU_QUEUE_USER;
	struct mk_card *card = file->card;
	struct mk_queue *queue;
	uint32_t id, index;
	int ret;

	if (arg->flags & ~(DRM_ONPU_QUEUE_USER | DRM_ONPU_QUEUE_PROGRESS) || arg->priority > DRM_ONPU_PRIORITY_REALTIME)
		return -EINVAL;
	ret = mk_uqueue_check(card, arg);
	if (ret)
		return ret;
	if (!vm)
		return -ENOENT;
	/* Never both kinds at a time. */
	if (user ? !vm->long_running || vm->queues[false] : vm->queues[true])
		return -EINVAL;
	for (id = 1; id <= mk_limits.max_queues && file->queues[id]; id++)
		;
	for (index = 0; index < ONPU_MAX_QUEUES && card->queues[index]; index++)
		;
	if (id > mk_limits.max_queues || index == ONPU_MAX_QUEUES)
		return -ENOSPC;
	queue = calloc(1, sizeof(*queue));
	if (!queue)
		return -ENOMEM;
	queue->number = ++last_number;
	queue->next = table[queue->number % BUCKETS];
	table[queue->number % BUCKETS] = queue;
	queue->vm = vm;
	mk_vm_get(vm);
	queue->card = card;
	queue->index = index;
	queue->vector = 1 + index % (ONPU_MAX_VECTORS - 1);
	queue->id = id;
	queue->last = &queue->first;
	queue->user = user;
	queue->notify = -1;
	vm->queues[user]++;
	card->queues[index] = queue;
	file->queues[id] = queue;
	if (user)
		queue->bell = mk_bell_create(queue);
	ret = !user ? create_ring(queue) : queue->bell ? 0 : -ENOMEM;
	if (!ret)
		ret = create_on_card(queue, arg);
	if (ret) {
		file->queues[id] = NULL;
		queue_free(queue);
		return ret;
	}
	arg->id = id;
	arg->doorbell_offset = user ? MK_DOORBELLS + index : 0;
	return 0;
}

struct mk_queue *mk_queue_find(struct mk_file *file, uint32_t id)
{
	struct mk_queue *queue = id && id <= MK_QUEUES ? file->queues[id] : NULL;

	/* Not while it is being created. */
	return queue && queue->on_card ? queue : NULL;
}

/* ---- SUBMIT ---- */

/* A SUBMIT under way: its jobs, and what they will signal. */
struct submission {
	struct mk_job *first, **last;
	unsigned int count;
	unsigned int signals;
	struct {
		uint32_t handle;
		uint64_t point;
		unsigned int job;
	} signal[MK_JOBS * MK_SYNCS];
};

static int check_job(const struct drm_onpu_job *job)
{
	uint64_t size = (uint64_t)job->cmd_count * ONPU_PACKET_SIZE;

	if (job->flags || job->cmd_count > mk_limits.max_packets || job->cmd_va % ONPU_PACKET_SIZE ||
	    (job->cmd_count && job->cmd_va < MK_VA_START) || job->cmd_va > MK_VA_END ||
	    size > MK_VA_END - job->cmd_va || job->syncs.count > mk_limits.max_syncs ||
	    (job->syncs.count && job->syncs.stride != sizeof(struct drm_onpu_sync)))
		return -EINVAL;
	return 0;
}

/* What an earlier job of the call signals is in order by the queue. */
static bool is_signalled_before(const struct submission *s, const struct drm_onpu_sync *sync)
{
	for (unsigned int i = 0; i < s->signals; i++)
		if (s->signal[i].handle == sync->handle && s->signal[i].job + 1 < s->count &&
		    (!sync->point || s->signal[i].point >= sync->point))
			return true;
	return false;
}

static int add_sync(struct mk_file *file, struct submission *s, struct mk_job *job,
		    const struct drm_onpu_sync *sync)
{
	struct mk_syncobj *syncobj = mk_syncobj_find(file, sync->handle);

	if (sync->flags & ~(DRM_ONPU_SYNC_SIGNAL | DRM_ONPU_SYNC_TIMELINE) ||
	    !(sync->flags & DRM_ONPU_SYNC_TIMELINE) != !sync->point)
		return -EINVAL;
	if (!syncobj)
		return -ENOENT;
	if (!(sync->flags & DRM_ONPU_SYNC_SIGNAL))
		return is_signalled_before(s, sync) ? 0 :
		       mk_syncobj_fence(syncobj, sync->point, &job->waits);
	if (mk_syncobj_reserve(syncobj, s->signals + 1))
		return -ENOMEM;
	s->signal[s->signals].handle = sync->handle;
	s->signal[s->signals].point = sync->point;
	s->signal[s->signals++].job = s->count - 1;
	return 0;
}

static int add_job(struct mk_file *file, struct submission *s, const struct drm_onpu_job *from)
{
	const struct drm_onpu_sync *syncs = (const void *)(uintptr_t)from->syncs.ptr;
	struct mk_job *job;
	int ret = check_job(from);

	if (ret)
		return ret;
	job = calloc(1, sizeof(*job));
	if (!job)
		return -ENOMEM;
	job->va = from->cmd_va;
	job->count = from->cmd_count;
	*s->last = job;
	s->last = &job->next;
	s->count++;
	for (uint32_t i = 0; i < from->syncs.count && !ret; i++)
		ret = add_sync(file, s, job, &syncs[i]);
	return ret;
}

static void drop(struct submission *s)
{
	while (s->first) {
		struct mk_job *next = s->first->next;

		free_job(s->first);
		s->first = next;
	}
}

/* Nothing can fail any more. */
static void publish(struct mk_file *file, struct mk_queue *queue, struct submission *s)
{
	uint64_t before = queue->submitted;

	for (struct mk_job *job = s->first; job; job = job->next)
		job->seqno = ++queue->submitted;
	for (unsigned int i = 0; i < s->signals; i++)
		mk_syncobj_signal(mk_syncobj_find(file, s->signal[i].handle), s->signal[i].point,
				  (struct mk_fence){ queue->number, before + 1 + s->signal[i].job });
	*queue->last = s->first;
	queue->last = s->last;
	if (!queue->waiting)
		queue->waiting = s->first;
	waiting += s->count;
	queue->state.jobs_submitted += s->count;
	mk_submits++;
	push(queue);
	/* What it waits for may be another process's, of which nobody tells. */
	if (waiting && mk_must_poll())
		mk_kick();
}

/* Waits for places; 0, -ENOENT when the queue has gone meanwhile, -ECANCELED when it is dead. */
static int reserve(struct mk_file *file, uint32_t id, uint32_t count, struct mk_queue **out)
{
	for (;;) {
		struct mk_queue *queue = mk_queue_find(file, id);

		if (!queue)
			return -ENOENT;
		if (queue->user)
			return -EINVAL;
		if (queue->state.flags & DRM_ONPU_QUEUE_DEAD)
			return -ECANCELED;
		*out = queue;
		if (queue->submitted - queue->completed + count <= mk_limits.max_jobs_in_flight)
			return 0;
		mk_wait(UINT64_MAX);
	}
}

static int submit(struct mk_file *file, const struct drm_onpu_submit *arg)
{
	const struct drm_onpu_job *jobs = (const void *)(uintptr_t)arg->jobs.ptr;
	struct mk_queue *queue;
	struct submission *s;
	int ret;

	if (arg->flags || !arg->jobs.count || arg->jobs.count > mk_limits.max_jobs ||
	    arg->jobs.stride != sizeof(*jobs))
		return -EINVAL;
	ret = reserve(file, arg->queue_id, arg->jobs.count, &queue);
	if (ret)
		return ret;
	s = malloc(sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->first = NULL;
	s->last = &s->first;
	s->count = s->signals = 0;
	for (uint32_t i = 0; i < arg->jobs.count && !ret; i++)
		ret = add_job(file, s, &jobs[i]);
	if (!ret)
		ret = mk_bo_validate(queue->vm);
	if (ret)
		drop(s);
	else
		publish(file, queue, s);
	free(s);
	return ret;
}

static int get_state(struct mk_file *file, struct drm_onpu_queue_get_state *arg)
{
	struct mk_queue *queue = mk_queue_find(file, arg->id);

	if (!queue)
		return -ENOENT;
	*arg = queue->state;
	arg->id = queue->id;
	return 0;
}

static int destroy(struct mk_file *file, const struct drm_onpu_queue_destroy *arg)
{
	if (arg->pad)
		return -EINVAL;
	if (!mk_queue_find(file, arg->id))
		return -ENOENT;
	mk_queue_destroy(file, arg->id);
	return 0;
}

int mk_queue_ioctl(struct mk_file *file, unsigned long request, void *arg)
{
	switch (request) {
	case DRM_IOCTL_ONPU_QUEUE_CREATE:
		return create(file, arg);
	case DRM_IOCTL_ONPU_QUEUE_DESTROY:
		return destroy(file, arg);
	case DRM_IOCTL_ONPU_QUEUE_GET_STATE:
		return get_state(file, arg);
	case DRM_IOCTL_ONPU_SUBMIT:
		return submit(file, arg);
	default:
		return -ENOTTY;
	}
}

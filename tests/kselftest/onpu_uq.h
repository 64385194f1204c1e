/* SPDX-License-Identifier: GPL-2.0-only */
/* User-mode queues for the selftests: made, filled, rung and waited for. */
#ifndef ONPU_UQ_H
#define ONPU_UQ_H

#include "onpu_kselftest.h"

static inline int lr_vm_create(int fd, uint32_t *id)
{
	struct drm_onpu_vm_create args = { .flags = DRM_ONPU_VM_LONG_RUNNING };
	int ret = onpu_ioctl(fd, DRM_IOCTL_ONPU_VM_CREATE, &args);

	*id = args.id;
	return ret;
}

static inline int wait_word(int fd, const volatile uint64_t *word, uint32_t op, uint64_t value,
		     uint32_t queue, int64_t ns)
{
	struct drm_onpu_wait args = {
		.addr = USER_PTR(word), .value = value, .op = op, .queue_id = queue,
		.timeout_ns = onpu_now() + ns,
	};

	return onpu_ioctl(fd, DRM_IOCTL_ONPU_WAIT, &args);
}

/* ---- a user-mode queue ------------------------------------------------------ */

struct uq {
	struct onpu_env *env;	/* only its file, VM and next_va are used */
	struct onpu_buf mem;	/* ring, then control block and fence */
	struct drm_onpu_queue_create args;
	struct onpu_packet *ring;
	volatile struct onpu_queue_ctl *ctl;
	volatile uint64_t *fence;
	volatile uint32_t *doorbell;
	uint32_t tail;
	uint64_t seq;
};

static inline uint64_t uq_ring_bytes(const struct uq *q)
{
	return (uint64_t)ONPU_PACKET_SIZE << q->args.ring_order;
}

static inline int uq_create(struct onpu_env *env, struct uq *q, uint32_t order, uint32_t flags,
		     uint32_t priority)
{
	uint64_t ring = (uint64_t)ONPU_PACKET_SIZE << order;
	int ret;

	memset(q, 0, sizeof(*q));
	q->env = env;
	ret = onpu_buf_new(env, ring + PAGE, flags, &q->mem);
	if (ret)
		return ret;
	q->ring = q->mem.cpu;
	q->ctl = (void *)((char *)q->mem.cpu + ring);
	q->fence = (void *)((char *)q->mem.cpu + ring + 64);
	q->args = (struct drm_onpu_queue_create){
		.vm_id = env->vm, .priority = priority, .flags = DRM_ONPU_QUEUE_USER,
		.ring_va = q->mem.va, .ring_order = order, .ctl_va = q->mem.va + ring,
	};
	ret = onpu_ioctl(env->fd, DRM_IOCTL_ONPU_QUEUE_CREATE, &q->args);
	if (ret)
		return ret;
	q->doorbell = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, env->fd,
			   (off_t)q->args.doorbell_offset);
	return q->doorbell == MAP_FAILED ? -errno : 0;
}

static inline uint64_t uq_fence_va(const struct uq *q)
{
	return q->mem.va + uq_ring_bytes(q) + 64;
}

static inline void uq_destroy(struct uq *q)
{
	onpu_queue_destroy(q->env->fd, q->args.id);
	munmap((void *)q->doorbell, PAGE);
	onpu_buf_free(q->env, &q->mem);
}

static inline void uq_add(struct uq *q, struct onpu_packet packet)
{
	const uint32_t size = 1u << q->args.ring_order;

	/* Room is what the card has consumed. */
	while (q->tail - __atomic_load_n(&q->ctl->consumer, __ATOMIC_ACQUIRE) >= size)
		usleep(100);
	q->ring[q->tail++ % size] = packet;
}

static inline void uq_ring(struct uq *q)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	*q->doorbell = q->tail;
}

static inline int uq_wait_for(struct uq *q, uint64_t seq, int64_t ns)
{
	return wait_word(q->env->fd, q->fence, DRM_ONPU_WAIT_GE, seq, q->args.id, ns);
}

static inline uint64_t uq_signal(struct uq *q)
{
	struct onpu_packet packet = pkt_signal(uq_fence_va(q), ++q->seq);

	packet.flags = ONPU_PKT_IRQ;
	uq_add(q, packet);
	uq_ring(q);
	return q->seq;
}

/* Runs what was added. */
static inline int uq_run(struct uq *q)
{
	return uq_wait_for(q, uq_signal(q), WAIT_NS);
}

static inline uint32_t uq_flags(struct uq *q)
{
	struct drm_onpu_queue_get_state state;

	return onpu_queue_state(q->env->fd, q->args.id, &state) ? ~0u : state.flags;
}

#endif /* ONPU_UQ_H */

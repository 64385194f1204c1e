// SPDX-License-Identifier: GPL-2.0-only
/*
 * Processes that write random bytes over their own rings, packets, descriptors and control blocks and ring
 * doorbells as fast as they can, beside an innocent one that checks its results: it loses nothing but time.
 *
 * Bytes that are wholly random get no further than the check of the opcode, so most of what is scribbled
 * begins as something that makes sense: packets and descriptors whose addresses are the process's own, of which
 * then some bits are changed, also while the card reads them.
 *
 * ONPU_SCRIBBLE_SECONDS sets for how long (10), ONPU_SCRIBBLE_SEED what is random.
 */
#include "kselftest_harness.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "onpu_uq.h"

#define SCRIBBLERS	2
#define DATA		KIB(64)		/* behind ring and control block, of each scribbler */
#define DESCS		16

static long setting(const char *name, long without)
{
	const char *text = getenv(name);

	return text && atol(text) > 0 ? atol(text) : without;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* What the process has besides a queue. */
struct scribbler {
	struct onpu_env env;
	struct onpu_buf data;	/* descriptors, then anything */
	uint64_t random;
};

static uint64_t own_va(struct scribbler *s, uint64_t align)
{
	return s->data.va + next_random(&s->random) % DATA / align * align;
}

/* A matmul that could run. */
static void fill_desc(struct scribbler *s, struct onpu_matmul_desc *desc)
{
	uint32_t n = 1 + (uint32_t)(next_random(&s->random) % 32);

	memset(desc, 0, sizeof(*desc));
	desc->a_type = ONPU_DTYPE_F32;
	desc->b_type = ONPU_DTYPE_F32;
	desc->d_type = ONPU_DTYPE_F32;
	desc->m = n;
	desc->n = n;
	desc->k = n;
	desc->a_va = own_va(s, 64);
	desc->b_va = own_va(s, 64);
	desc->d_va = own_va(s, 64);
	desc->lda = n;
	desc->ldb = n;
	desc->ldd = n;
}

/* A packet that could run, or begins as one. */
static struct onpu_packet sensible(struct scribbler *s)
{
	uint64_t size = next_random(&s->random) % KIB(8) / 4 * 4;
	struct onpu_packet packet;

	switch (next_random(&s->random) % 9) {
	case 0:
		return pkt_nop();
	case 1:
		return pkt_copy(own_va(s, 1), own_va(s, 1), size);
	case 2:
		return pkt_fill(own_va(s, 4), size, (uint32_t)s->random);
	case 3:
		return pkt_copy_2d(own_va(s, 1), 128, own_va(s, 1), 64, 64, (uint32_t)(size / 128));
	case 4:
		return pkt_timestamp(own_va(s, 8));
	case 5:
		return pkt_wait(own_va(s, 8), (uint32_t)(next_random(&s->random) % 6), s->random % 4);
	case 6:
		packet = pkt_op(ONPU_OP_CALL);
		packet.call.va = own_va(s, 64);
		packet.call.count = 1 + (uint32_t)(next_random(&s->random) % 8);
		return packet;
	case 7:
		packet = pkt_signal(own_va(s, 8), s->random);
		packet.flags = next_random(&s->random) & 1 ? ONPU_PKT_IRQ : 0;
		return packet;
	default:
		return pkt_matmul(s->data.va + next_random(&s->random) % DESCS * sizeof(struct onpu_matmul_desc));
	}
}

static void scribble(struct scribbler *s, void *memory, uint64_t size, unsigned int times)
{
	for (unsigned int i = 0; i < times; i++)
		((uint64_t *)memory)[next_random(&s->random) % (size / 8)] ^=
			next_random(&s->random) >> next_random(&s->random) % 64;
}

/* Until the queue is dead, which it soon is, or for some rounds. */
static void scribble_on(struct scribbler *s, struct uq *q)
{
	const uint32_t size = 1u << q->args.ring_order;

	for (int i = 0; i < 200 && !uq_flags(q); i++) {
		for (uint32_t j = 0; j < DESCS; j++)
			fill_desc(s, (struct onpu_matmul_desc *)s->data.cpu + j);
		for (uint32_t j = 0; j < size; j++)
			q->ring[j] = sensible(s);
		for (uint32_t j = 0; j < 8; j++)
			((struct onpu_packet *)s->data.cpu)[64 + next_random(&s->random) % 512] = sensible(s);
		/* In half of the rounds nothing is wrong, so that the queue lives longer. */
		if (i & 1)
			scribble(s, s->data.cpu, DATA, 4);
		q->tail += (uint32_t)(next_random(&s->random) % size);
		*q->doorbell = q->tail;
		if (next_random(&s->random) % 4)
			continue;
		/* Under the eyes of the card. */
		scribble(s, q->mem.cpu, q->mem.size, 1 + (unsigned int)(next_random(&s->random) % 20));
		*q->doorbell = next_random(&s->random) % 4 ? q->tail : (uint32_t)next_random(&s->random);
	}
}

/* Never returns. */
static void be_hostile(pid_t innocent, uint64_t seed)
{
	struct scribbler s = { .env = { .fd = onpu_open(), .next_va = 0x10000000ull }, .random = seed };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != innocent || s.env.fd < 0 || lr_vm_create(s.env.fd, &s.env.vm))
		_exit(1);
	for (;;) {
		uint64_t place = next_random(&s.random) & 1 ? DRM_ONPU_BO_VRAM : DRM_ONPU_BO_SYSTEM;
		uint32_t order = 4 + (uint32_t)(next_random(&s.random) % 3);
		struct uq q;

		if (onpu_buf_new(&s.env, DATA, (uint32_t)place, &s.data) ||
		    uq_create(&s.env, &q, order, (uint32_t)place, 0))
			_exit(2);
		scribble_on(&s, &q);
		uq_destroy(&q);
		onpu_buf_free(&s.env, &s.data);
		/* Addresses are used again: caches of the card that were not emptied would show. */
		if (next_random(&s.random) % 8 == 0)
			s.env.next_va = 0x10000000ull;
	}
}

FIXTURE(scribble)
{
	struct onpu_env env;
	struct drm_onpu_query_memory before;
	struct uq q;
};

FIXTURE_SETUP(scribble)
{
	ASSERT_GE(self->env.fd = onpu_open(), 0);
	self->before = onpu_memory(self->env.fd);
	self->env.next_va = 0x10000000ull;
	ASSERT_EQ(0, lr_vm_create(self->env.fd, &self->env.vm));
	ASSERT_EQ(0, uq_create(&self->env, &self->q, 6, DRM_ONPU_BO_VRAM, DRM_ONPU_PRIORITY_MEDIUM));
}

FIXTURE_TEARDOWN_PARENT(scribble)
{
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

TEST_F_TIMEOUT(scribble, beside_hostile_processes, 7200)
{
	const long seconds = setting("ONPU_SCRIBBLE_SECONDS", 10);
	const int64_t end = onpu_now() + seconds * 1000000000ll;
	const pid_t innocent = getpid();
	pid_t pids[SCRIBBLERS];
	struct onpu_buf buf;
	uint32_t i = 0;
	int status;

	ASSERT_EQ(0, onpu_buf_new(&self->env, KIB(64), DRM_ONPU_BO_VRAM, &buf));
	for (int p = 0; p < SCRIBBLERS; p++) {
		pids[p] = fork();
		if (!pids[p])
			be_hostile(innocent, (uint64_t)setting("ONPU_SCRIBBLE_SEED", 1) * 0x1234567ull + (uint64_t)p);
		ASSERT_GT(pids[p], 0);
	}
	/* At least one round, however slow the machine is. */
	do {
		uq_add(&self->q, pkt_fill(buf.va, KIB(64), ++i));
		uq_add(&self->q, pkt_copy(buf.va + KIB(32), buf.va + 4, 1024));
		ASSERT_EQ(0, uq_run(&self->q));
		for (uint32_t j = 0; j < KIB(16); j += 97)
			ASSERT_EQ(i, ((volatile uint32_t *)buf.cpu)[j]);
	} while (onpu_now() < end);
	for (int p = 0; p < SCRIBBLERS; p++) {
		EXPECT_EQ(0, waitpid(pids[p], &status, WNOHANG));
		kill(pids[p], SIGKILL);
		ASSERT_EQ(pids[p], waitpid(pids[p], &status, 0));
	}
	TH_LOG("%u rounds", i);
	EXPECT_EQ(0, uq_flags(&self->q));
}

TEST_HARNESS_MAIN

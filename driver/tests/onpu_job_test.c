// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Tests of the ring
 *
 * Which packets a job becomes, where in the ring they stand, also when the ring
 * and its counter wrap, and how many jobs a queue takes.
 */

#include <kunit/test.h>

#include "../onpu_job.c"

#include "onpu_kunit.h"

#define RING_PACKETS	((u32)BIT(ONPU_RING_ORDER))
#define RING_VA		0x800000100000ull
#define PAGE_VA		0x800000200000ull
#define TOGETHER	3u

struct job_test {
	struct onpu_queue queue;
	struct onpu_bo ring_bo, page_bo;
	struct onpu_fence fence;
	struct onpu_job *job;
	struct onpu_packet ring[RING_PACKETS];
	struct onpu_queue_page page;
	/* what the doorbell said last */
	u32 doorbell;
	/* jobs in the ring that have not ended */
	u32 count;
	/* for onpu_job_rewind() */
	struct onpu_packet moved[RING_PACKETS];
};

/* What the source calls of the other files. */

void onpu_queue_ring_doorbell(struct onpu_queue *queue)
{
	container_of(queue, struct job_test, queue)->doorbell = queue->ring.tail;
}

struct onpu_fence *onpu_fence_alloc(struct onpu_queue *queue, gfp_t gfp)
{
	return NULL;
}

void onpu_fence_drop(struct onpu_fence *fence)
{
}

int onpu_fence_begin(struct onpu_fence *fence)
{
	return -ENODEV;
}

void onpu_fence_process(struct onpu_queue *queue)
{
}

u32 onpu_fence_count(struct onpu_queue *queue)
{
	return container_of(queue, struct job_test, queue)->count;
}

void onpu_fence_adopt(struct onpu_fence *fence, struct drm_sched_fence *s_fence)
{
}

bool onpu_recovery_try_block(struct onpu_device *odev)
{
	return false;
}

void onpu_recovery_exit(struct onpu_device *odev)
{
}

void onpu_queue_put_active(struct onpu_queue *queue)
{
}

void onpu_irq_notify(struct onpu_queue *queue)
{
}

static int job_init(struct kunit *test)
{
	struct job_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	t->queue.ring.bo = &t->ring_bo;
	t->queue.ring.va = RING_VA;
	t->queue.ring.order = ONPU_RING_ORDER;
	t->queue.page.bo = &t->page_bo;
	t->queue.page.va = PAGE_VA;
	t->ring_bo.kmap = (void __iomem __force *)t->ring;
	t->page_bo.kmap = (void __iomem __force *)&t->page;
	init_waitqueue_head(&t->queue.jobs.wait);

	t->job = kunit_kzalloc(test, struct_size(t->job, cmds, TOGETHER), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t->job);
	t->job->queue = &t->queue;
	t->job->fence = &t->fence;
	t->job->room = TOGETHER;
	t->job->count = 1;
	t->job->cmds[0] = (struct onpu_job_cmds) { .va = 0x1234000, .count = 17 };
	return 0;
}

static void a_job_is_four_packets(struct kunit *test)
{
	struct job_test *t = test->priv;
	struct onpu_packet p[ONPU_JOB_PACKETS];
	u64 times = PAGE_VA + offsetof(struct onpu_queue_page, times[5]);

	memset(p, 0xff, sizeof(p));
	onpu_job_make_packets(&t->queue, &t->job->cmds[0], 0x123456789ull, 5, p);

	KUNIT_EXPECT_EQ(test, p[0].opcode, ONPU_OP_TIMESTAMP);
	KUNIT_EXPECT_EQ(test, p[0].timestamp.va, times);
	KUNIT_EXPECT_EQ(test, p[1].opcode, ONPU_OP_CALL);
	KUNIT_EXPECT_EQ(test, p[1].call.va, 0x1234000);
	KUNIT_EXPECT_EQ(test, p[1].call.count, 17);
	KUNIT_EXPECT_EQ(test, p[2].opcode, ONPU_OP_TIMESTAMP);
	KUNIT_EXPECT_EQ(test, p[2].timestamp.va, times + 8);
	KUNIT_EXPECT_EQ(test, p[3].opcode, ONPU_OP_SIGNAL);
	KUNIT_EXPECT_EQ(test, p[3].signal.va, PAGE_VA);
	KUNIT_EXPECT_EQ(test, p[3].signal.value, 0x123456789ull);
	/* Whether there is an interrupt depends on what comes behind it. */
	KUNIT_EXPECT_EQ(test, p[0].flags | p[1].flags | p[2].flags | p[3].flags, 0);
}

static void an_empty_job_calls_nothing(struct kunit *test)
{
	struct job_test *t = test->priv;
	struct onpu_packet p[ONPU_JOB_PACKETS];
	struct onpu_packet nop = { .opcode = ONPU_OP_NOP };

	t->job->cmds[0].count = 0;
	onpu_job_make_packets(&t->queue, &t->job->cmds[0], 1, 0, p);
	KUNIT_EXPECT_MEMEQ(test, &p[1], &nop, sizeof(nop));
}

/* Puts jobs into the ring from @tail on, and checks each place. */
static void fill_ring(struct kunit *test, u32 tail, u64 seqno, unsigned int jobs)
{
	struct job_test *t = test->priv;
	unsigned int i;

	t->queue.ring.tail = tail;
	for (i = 0; i < jobs; i++) {
		u32 first = (tail + i * ONPU_JOB_PACKETS) % RING_PACKETS;
		u32 place = (seqno + i) % ONPU_RING_JOBS_MAX;

		t->page.times[place].start = 1;
		t->page.times[place].end = 2;
		t->fence.base.seqno = seqno + i;
		onpu_job_ring(t->job);

		KUNIT_ASSERT_EQ(test, t->ring[first + 3].opcode, ONPU_OP_SIGNAL);
		KUNIT_ASSERT_EQ(test, t->ring[first + 3].signal.value, seqno + i);
		KUNIT_ASSERT_EQ(test, t->ring[first + 3].flags, ONPU_PKT_IRQ);
		KUNIT_ASSERT_EQ(test, t->ring[first].timestamp.va,
				PAGE_VA + offsetof(struct onpu_queue_page, times) + place * 16);
		KUNIT_ASSERT_EQ(test, t->queue.ring.tail, (u32)(tail + (i + 1) * 4));
		KUNIT_ASSERT_EQ(test, t->doorbell, t->queue.ring.tail);
		/* The card has not run it: times of the job before must not stay. */
		KUNIT_ASSERT_EQ(test, t->page.times[place].start, 0);
		KUNIT_ASSERT_EQ(test, t->page.times[place].end, 0);
	}
}

static void the_ring_wraps(struct kunit *test)
{
	fill_ring(test, 0, 1, 3 * ONPU_RING_JOBS_MAX + 5);
}

static void the_counter_wraps(struct kunit *test)
{
	fill_ring(test, 0u - 10 * ONPU_JOB_PACKETS, 0xfffffff0ull, 2 * ONPU_RING_JOBS_MAX);
}

/* Each has its place and number, the last one the interrupt; across the end of the ring, too. */
static void jobs_go_together(struct kunit *test)
{
	struct job_test *t = test->priv;
	u32 i;

	for (i = 0; i < TOGETHER; i++)
		t->job->cmds[i] = (struct onpu_job_cmds) { .va = 0x10000 * (i + 1), .count = i };
	t->job->count = TOGETHER;
	t->queue.ring.tail = RING_PACKETS - ONPU_JOB_PACKETS;
	t->fence.base.seqno = 0x1000000ull + TOGETHER - 1;
	onpu_job_ring(t->job);

	KUNIT_EXPECT_EQ(test, t->doorbell, RING_PACKETS + (TOGETHER - 1) * ONPU_JOB_PACKETS);
	for (i = 0; i < TOGETHER; i++) {
		struct onpu_packet *p = t->ring +
			(RING_PACKETS + i * ONPU_JOB_PACKETS - ONPU_JOB_PACKETS) % RING_PACKETS;
		u32 place = (0x1000000ull + i) % ONPU_RING_JOBS_MAX;

		KUNIT_EXPECT_EQ(test, p[0].timestamp.va,
				PAGE_VA + offsetof(struct onpu_queue_page, times) + place * 16);
		KUNIT_EXPECT_EQ(test, p[1].opcode, i ? ONPU_OP_CALL : ONPU_OP_NOP);
		KUNIT_EXPECT_EQ(test, p[1].call.va, i ? 0x10000 * (i + 1) : 0);
		KUNIT_EXPECT_EQ(test, p[1].call.count, i);
		KUNIT_EXPECT_EQ(test, p[3].signal.value, 0x1000000ull + i);
		KUNIT_EXPECT_EQ(test, p[3].flags, i == TOGETHER - 1 ? ONPU_PKT_IRQ : 0);
	}
}

/* Those that have not ended stand at the start then, in their order, wherever they were. */
static void jobs_move_to_the_start(struct kunit *test)
{
	struct job_test *t = test->priv;
	u32 tails[] = { 0, 8, RING_PACKETS - 4, 0u - 8 }, i, j;

	for (i = 0; i < ARRAY_SIZE(tails); i++) {
		fill_ring(test, tails[i], 77, 5);
		t->count = 3;
		onpu_job_rewind(&t->queue, t->moved);
		KUNIT_EXPECT_EQ(test, t->queue.ring.tail, 3 * ONPU_JOB_PACKETS);
		for (j = 0; j < t->count; j++) {
			struct onpu_packet *p = t->ring + j * ONPU_JOB_PACKETS;

			KUNIT_EXPECT_EQ(test, p[0].opcode, ONPU_OP_TIMESTAMP);
			KUNIT_EXPECT_EQ(test, p[3].signal.value, 77 + 2 + j);
		}
	}
	/* A full ring, and an empty one. */
	fill_ring(test, 12, 1, ONPU_RING_JOBS_MAX);
	t->count = ONPU_RING_JOBS_MAX;
	onpu_job_rewind(&t->queue, t->moved);
	for (j = 0; j < t->count; j++)
		KUNIT_EXPECT_EQ(test, t->ring[j * ONPU_JOB_PACKETS + 3].signal.value, 1 + j);
	t->count = 0;
	onpu_job_rewind(&t->queue, t->moved);
	KUNIT_EXPECT_EQ(test, t->queue.ring.tail, 0);
}

static void a_job_fits_no_more_than_its_place(struct kunit *test)
{
	struct job_test *t = test->priv;
	const size_t before = sizeof(t->ring) - ONPU_JOB_PACKETS * sizeof(t->ring[0]);

	/* The last place: nothing is written at the start of the ring, or behind it. */
	memset(t->ring, 0xa5, sizeof(t->ring));
	memset(&t->page, 0xa5, sizeof(t->page));
	t->queue.ring.tail = RING_PACKETS - ONPU_JOB_PACKETS;
	t->fence.base.seqno = ONPU_RING_JOBS_MAX - 1;
	onpu_job_ring(t->job);
	KUNIT_EXPECT_NULL(test, memchr_inv(t->ring, 0xa5, before));
	KUNIT_EXPECT_EQ(test, t->page.seqno, 0xa5a5a5a5a5a5a5a5ull);
	KUNIT_EXPECT_EQ(test, t->page.times[0].start, 0xa5a5a5a5a5a5a5a5ull);
	KUNIT_EXPECT_EQ(test, t->page.times[ONPU_RING_JOBS_MAX - 1].end, 0);
}

static void places_are_counted(struct kunit *test)
{
	struct job_test *t = test->priv;
	struct onpu_queue *queue = &t->queue;

	KUNIT_EXPECT_TRUE(test, onpu_job_try_reserve(queue, ONPU_MAX_JOBS_IN_FLIGHT - 1));
	KUNIT_EXPECT_FALSE(test, onpu_job_try_reserve(queue, 2));
	KUNIT_EXPECT_TRUE(test, onpu_job_try_reserve(queue, 1));
	KUNIT_EXPECT_FALSE(test, onpu_job_try_reserve(queue, 1));
	KUNIT_EXPECT_EQ(test, atomic_read(&queue->jobs.in_flight), ONPU_MAX_JOBS_IN_FLIGHT);
	onpu_job_unreserve(queue, 5);
	KUNIT_EXPECT_EQ(test, onpu_job_reserve(queue, 5), 0);
	KUNIT_EXPECT_FALSE(test, onpu_job_try_reserve(queue, 1));
}

static void a_dead_queue_gives_places_back(struct kunit *test)
{
	struct job_test *t = test->priv;
	struct onpu_queue *queue = &t->queue;

	queue->state.flags = DRM_ONPU_QUEUE_DEAD;
	KUNIT_EXPECT_EQ(test, onpu_job_reserve(queue, 7), -ECANCELED);
	KUNIT_EXPECT_EQ(test, atomic_read(&queue->jobs.in_flight), 0);
	/* Nor does it wait when there is no place. */
	atomic_set(&queue->jobs.in_flight, ONPU_MAX_JOBS_IN_FLIGHT);
	KUNIT_EXPECT_EQ(test, onpu_job_reserve(queue, 1), -ECANCELED);
	KUNIT_EXPECT_EQ(test, atomic_read(&queue->jobs.in_flight), ONPU_MAX_JOBS_IN_FLIGHT);
}

static struct kunit_case job_cases[] = {
	KUNIT_CASE(a_job_is_four_packets),
	KUNIT_CASE(an_empty_job_calls_nothing),
	KUNIT_CASE(the_ring_wraps),
	KUNIT_CASE(the_counter_wraps),
	KUNIT_CASE(jobs_go_together),
	KUNIT_CASE(jobs_move_to_the_start),
	KUNIT_CASE(a_job_fits_no_more_than_its_place),
	KUNIT_CASE(places_are_counted),
	KUNIT_CASE(a_dead_queue_gives_places_back),
	{}
};

struct kunit_suite onpu_job_suite = {
	.name = "onpu_job",
	.init = job_init,
	.test_cases = job_cases,
};

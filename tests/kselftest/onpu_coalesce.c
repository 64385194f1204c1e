// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts that tell of several jobs (irq_coalesce_count, irq_coalesce_us): fewer of them under load,
 * the same when jobs come one at a time, and nobody who waits for one is forgotten.
 */
#include "kselftest_harness.h"

#include <pthread.h>

#include "onpu_uq.h"

#define MANY	256		/* jobs that are there at once */
#define LONGEST	65535		/* count and us */

FIXTURE(coalesce)
{
	struct onpu_env env;
	struct drm_onpu_query_memory before;
	struct uq q;
	char dir[512];
	int count, us;		/* before */
};

static int setting(const char *dir, const char *name)
{
	char path[600], text[32];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return onpu_read_file(path, text, sizeof(text)) ? -1 : atoi(text);
}

static int set(const char *dir, const char *name, const char *value)
{
	char path[600];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return onpu_write_file(path, value);
}

static int set_both(const char *dir, int count, int us)
{
	char text[32];
	int ret;

	snprintf(text, sizeof(text), "%d", count);
	ret = set(dir, "irq_coalesce_count", text);
	snprintf(text, sizeof(text), "%d", us);
	return ret ? ret : set(dir, "irq_coalesce_us", text);
}

FIXTURE_SETUP(coalesce)
{
	ASSERT_GE(self->env.fd = onpu_open(), 0);
	self->before = onpu_memory(self->env.fd);
	ASSERT_EQ(0, onpu_sysfs(self->env.fd, self->dir, sizeof(self->dir)));
	ASSERT_GE(self->count = setting(self->dir, "irq_coalesce_count"), 0);
	ASSERT_GE(self->us = setting(self->dir, "irq_coalesce_us"), 0);
	self->env.next_va = 0x10000000ull;
	ASSERT_EQ(0, lr_vm_create(self->env.fd, &self->env.vm));
	ASSERT_EQ(0, uq_create(&self->env, &self->q, 9, DRM_ONPU_BO_VRAM, DRM_ONPU_PRIORITY_MEDIUM));
}

FIXTURE_TEARDOWN_PARENT(coalesce)
{
	/* Also when the test was killed. */
	set_both(self->dir, self->count, self->us);
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

static uint64_t interrupts(int fd)
{
	struct drm_onpu_query_counters counters;

	return onpu_query(fd, DRM_ONPU_QUERY_COUNTERS, &counters, sizeof(counters)) ? 0 : counters.irqs;
}

static void add_signal(struct uq *q)
{
	struct onpu_packet packet = pkt_signal(uq_fence_va(q), ++q->seq);

	packet.flags = ONPU_PKT_IRQ;
	uq_add(q, packet);
}

TEST_F(coalesce, settings)
{
	static const char *const bad[] = { "", "-1", "65536", "x", "1 2" };

	/* It is on unless somebody wants it otherwise. */
	EXPECT_EQ(16, self->count);
	EXPECT_EQ(100, self->us);
	ASSERT_EQ(0, set_both(self->dir, 7, 65535));
	EXPECT_EQ(7, setting(self->dir, "irq_coalesce_count"));
	EXPECT_EQ(65535, setting(self->dir, "irq_coalesce_us"));
	for (int i = 1; i < 5; i++) {
		EXPECT_NE(0, set(self->dir, "irq_coalesce_count", bad[i]));
		EXPECT_NE(0, set(self->dir, "irq_coalesce_us", bad[i]));
	}
	EXPECT_EQ(7, setting(self->dir, "irq_coalesce_count"));
	EXPECT_EQ(65535, setting(self->dir, "irq_coalesce_us"));
}

/* Jobs that are there all at once, by one doorbell; how many interrupts there were. */
static uint64_t burst(struct uq *q)
{
	uint64_t before = interrupts(q->env->fd);

	for (int i = 0; i < MANY; i++)
		add_signal(q);
	uq_ring(q);
	return uq_wait_for(q, q->seq, WAIT_NS) ? 0 : interrupts(q->env->fd) - before;
}

TEST_F(coalesce, fewer_under_load)
{
	uint64_t all, some;

	ASSERT_EQ(0, set_both(self->dir, 0, 0));
	all = burst(&self->q);
	EXPECT_GE(all, MANY);
	ASSERT_EQ(0, set_both(self->dir, 16, LONGEST));
	some = burst(&self->q);
	EXPECT_GE(some, 1);
	EXPECT_LT(some, all / 2);
	TH_LOG("%d jobs: %llu interrupts, and %llu", MANY, (unsigned long long)all, (unsigned long long)some);
	/* What the driver sets by itself. */
	ASSERT_EQ(0, set_both(self->dir, self->count, self->us));
	TH_LOG("%llu by default", (unsigned long long)burst(&self->q));
	/* Its time is over before it has begun. */
	ASSERT_EQ(0, set_both(self->dir, 16, 0));
	EXPECT_GE(burst(&self->q), MANY);
}

/* Nothing is behind a job that is alone, so its interrupt comes at once, whatever is set. */
TEST_F_TIMEOUT(coalesce, one_at_a_time, 100)
{
	const int rounds = (int)onpu_rounds(500, 100);
	uint64_t before;

	ASSERT_EQ(0, set_both(self->dir, LONGEST, LONGEST));
	before = interrupts(self->env.fd);
	for (int i = 0; i < rounds; i++) {
		uq_add(&self->q, pkt_nop());
		ASSERT_EQ(0, uq_run(&self->q));
	}
	EXPECT_GE(interrupts(self->env.fd) - before, (uint64_t)rounds);
}

/* Jobs of a kernel queue, which began when all of them were there. */
TEST_F_TIMEOUT(coalesce, jobs_of_a_kernel_queue, 60)
{
	volatile uint64_t *word;
	struct onpu_env env;
	uint64_t before;
	uint32_t first;

	ASSERT_EQ(0, onpu_env_init(&env));
	word = (volatile uint64_t *)&env.packets[500];
	first = onpu_sync_create(env.fd, false);
	ASSERT_EQ(0, set_both(self->dir, 16, LONGEST));
	env.packets[0] = pkt_wait(env.cmd.va + 64 * 500, ONPU_WAIT_EQ, 1);
	env.packets[1] = pkt_nop();
	ASSERT_EQ(0, onpu_submit(env.fd, env.queue, env.cmd.va, 1, 0, first));
	for (int i = 0; i < 60; i++)
		ASSERT_EQ(0, onpu_submit(env.fd, env.queue, env.cmd.va + 64, 1, 0, i == 59 ? env.sync : 0));
	before = interrupts(env.fd);
	*word = 1;
	ASSERT_EQ(0, onpu_sync_wait(env.fd, first));
	ASSERT_EQ(0, onpu_sync_wait(env.fd, env.sync));
	EXPECT_EQ(1, onpu_sync_status(env.fd, env.sync));
	TH_LOG("61 jobs: %llu interrupts", (unsigned long long)(interrupts(env.fd) - before));
	onpu_env_fini(&env);
}

/* ---- nobody is forgotten ------------------------------------------------------------------ */

struct sleeper {
	pthread_t thread;
	struct onpu_env env;
	struct uq q;
	uint64_t random;
	int rounds, result;
};

/* Bursts of any depth; it sleeps until the last one is done, or one in the middle. */
static void *sleep_often(void *arg)
{
	struct sleeper *s = arg;

	for (int i = 0; i < s->rounds && !s->result; i++) {
		uint64_t first = s->q.seq + 1;
		unsigned int depth;

		s->random = s->random * 6364136223846793005ull + 1442695040888963407ull;
		depth = 1 + (unsigned int)(s->random >> 33) % 40;
		for (unsigned int j = 0; j < depth; j++) {
			add_signal(&s->q);
			if (!(s->random >> 40 >> j % 16 & 7))
				uq_ring(&s->q);
		}
		uq_ring(&s->q);
		if (s->random >> 60 & 1)
			s->result = uq_wait_for(&s->q, first + (s->random >> 50) % depth, WAIT_NS);
		if (!s->result)
			s->result = uq_wait_for(&s->q, s->q.seq, WAIT_NS);
	}
	return NULL;
}

TEST_F_TIMEOUT(coalesce, nobody_is_forgotten, 100)
{
	static const int counts[] = { 0, 2, 16, LONGEST }, times[] = { 1, 100, LONGEST };
	struct sleeper sleepers[3] = {};

	for (int i = 0; i < 3; i++) {
		struct sleeper *s = &sleepers[i];

		s->env = (struct onpu_env){ .fd = self->env.fd, .vm = self->env.vm,
					    .next_va = 0x100000000ull * (uint64_t)(i + 1) };
		s->random = (uint64_t)i + 1;
		ASSERT_EQ(0, uq_create(&s->env, &s->q, 6, DRM_ONPU_BO_VRAM, DRM_ONPU_PRIORITY_MEDIUM));
	}
	for (int i = 0; i < 12; i++) {
		ASSERT_EQ(0, set_both(self->dir, counts[i % 4], times[i % 3]));
		for (int j = 0; j < 3; j++) {
			sleepers[j].rounds = (int)onpu_rounds(100, 20);
			ASSERT_EQ(0, pthread_create(&sleepers[j].thread, NULL, sleep_often, &sleepers[j]));
		}
		for (int j = 0; j < 3; j++) {
			ASSERT_EQ(0, pthread_join(sleepers[j].thread, NULL));
			ASSERT_EQ(0, sleepers[j].result);
		}
	}
}

TEST_HARNESS_MAIN

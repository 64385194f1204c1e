// SPDX-License-Identifier: GPL-2.0-only
/*
 * Jobs that never end: the driver kills their queue after the job timeout, tells
 * why, and nobody else notices. The timeout is the module's parameter; the
 * tests make it short and put it back.
 */
#include "kselftest_harness.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include "onpu_uq.h"

#define TIMEOUT_MS 500

FIXTURE(hang)
{
	struct onpu_env env, other;
	struct drm_onpu_query_memory before;
	int former;
};

FIXTURE_SETUP(hang)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	self->former = onpu_set_timeout(TIMEOUT_MS);
	ASSERT_GT(self->former, 0);
	ASSERT_EQ(0, onpu_env_on(&self->env, fd));
	ASSERT_EQ(0, onpu_env_init(&self->other));
}

FIXTURE_TEARDOWN_PARENT(hang)
{
	/* Also when the test was killed. Its files went with its process. */
	onpu_set_timeout(10000);
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

#define WORD_VA(env) ((env)->cmd.va + 64 * 500)
#define WORD(env) (*(volatile uint64_t *)&(env)->packets[500])

static void add_hang(struct onpu_env *env)
{
	onpu_add(env, pkt_wait(WORD_VA(env), ONPU_WAIT_EQ, 0xdeadbeef));
}

TEST_F(hang, the_limit_is_told)
{
	EXPECT_EQ(TIMEOUT_MS, onpu_limits(self->env.fd).job_timeout_ms);
}

TEST_F_TIMEOUT(hang, a_hung_job_kills_its_queue, 60)
{
	struct drm_onpu_queue_get_state state;
	int64_t start = onpu_now();

	add_hang(&self->env);
	ASSERT_EQ(0, onpu_start(&self->env, 0, self->env.sync));
	ASSERT_EQ(0, onpu_sync_wait(self->env.fd, self->env.sync));
	EXPECT_GE(onpu_now() - start, TIMEOUT_MS * 900000ll);
	EXPECT_EQ(-ETIME, onpu_sync_status(self->env.fd, self->env.sync));
	ASSERT_EQ(0, onpu_queue_state(self->env.fd, self->env.queue, &state));
	EXPECT_EQ(DRM_ONPU_QUEUE_DEAD | DRM_ONPU_QUEUE_TIMEDOUT, state.flags);
	EXPECT_EQ(1, state.jobs_submitted);
	EXPECT_EQ(1, state.jobs_completed);
	EXPECT_EQ(1, onpu_fdinfo_number(self->env.fd, "onpu-hangs"));
	EXPECT_EQ(0, onpu_fdinfo_number(self->other.fd, "onpu-hangs"));
	EXPECT_EQ(-ECANCELED, onpu_submit(self->env.fd, self->env.queue, self->env.cmd.va, 1, 0, 0));
	/* The address space lives on. */
	ASSERT_EQ(0, onpu_env_new_queue(&self->env));
	EXPECT_EQ(0, onpu_run_one(&self->env, pkt_nop()));
	EXPECT_EQ(0, onpu_run_one(&self->other, pkt_nop()));
}

TEST_F_TIMEOUT(hang, others_compute_meanwhile, 60)
{
	struct drm_onpu_queue_get_state state;
	uint32_t sibling, rounds = 0;

	ASSERT_EQ(0, onpu_queue_create(self->env.fd, self->env.vm, DRM_ONPU_PRIORITY_MEDIUM, &sibling));
	add_hang(&self->env);
	ASSERT_EQ(0, onpu_start(&self->env, 0, self->env.sync));
	while (onpu_sync_wait_for(self->env.fd, self->env.sync, 0) == -ETIME) {
		/* Another file, and another queue in the same address space. */
		onpu_add(&self->other, pkt_signal(WORD_VA(&self->other), rounds + 1));
		ASSERT_EQ(0, onpu_run(&self->other));
		ASSERT_EQ(rounds + 1, WORD(&self->other));
		self->env.packets[300] = pkt_nop();
		ASSERT_EQ(0, onpu_submit(self->env.fd, sibling, self->env.cmd.va + 64 * 300, 1, 0, 0));
		rounds++;
	}
	EXPECT_GT(rounds, 0);
	ASSERT_EQ(0, onpu_queue_state(self->env.fd, sibling, &state));
	EXPECT_EQ(0, state.flags);
	ASSERT_EQ(0, onpu_queue_state(self->other.fd, self->other.queue, &state));
	EXPECT_EQ(0, state.flags);
	EXPECT_EQ(0, onpu_submit(self->env.fd, sibling, 0, 0, 0, self->env.sync));
	EXPECT_EQ(0, onpu_sync_wait(self->env.fd, self->env.sync));
}

/* Jobs of one call go to the card together; each may run as long as any. */
TEST_F_TIMEOUT(hang, jobs_of_one_call_have_their_own_time, 60)
{
	enum { JOBS = 6 };
	volatile uint64_t *words = (volatile uint64_t *)&self->env.packets[500];
	struct drm_onpu_job jobs[JOBS] = { 0 };
	struct drm_onpu_sync sync = {
		.flags = DRM_ONPU_SYNC_SIGNAL, .handle = self->env.sync,
	};
	struct drm_onpu_queue_get_state state;
	int64_t start = onpu_now();

	for (int i = 0; i < JOBS; i++) {
		onpu_add(&self->env, pkt_wait(WORD_VA(&self->env) + 8 * i, ONPU_WAIT_EQ, 1));
		jobs[i].cmd_va = self->env.cmd.va + 64 * i;
		jobs[i].cmd_count = 1;
	}
	jobs[JOBS - 1].syncs = (struct drm_onpu_array){
		.count = 1, .stride = sizeof(sync), .ptr = USER_PTR(&sync),
	};
	ASSERT_EQ(0, onpu_submit_jobs(self->env.fd, self->env.queue, jobs, JOBS));
	for (int i = 0; i < JOBS; i++) {
		usleep(TIMEOUT_MS * 300);
		words[i] = 1;
	}
	ASSERT_EQ(0, onpu_sync_wait(self->env.fd, self->env.sync));
	EXPECT_GT(onpu_now() - start, TIMEOUT_MS * 1500000ll);
	EXPECT_EQ(1, onpu_sync_status(self->env.fd, self->env.sync));

	/* The fourth one hangs: those before it have ended, and it is not the last one's fault. */
	for (int i = 0; i < JOBS; i++)
		words[i] = i != 3;
	ASSERT_EQ(0, onpu_submit_jobs(self->env.fd, self->env.queue, jobs, JOBS));
	ASSERT_EQ(0, onpu_sync_wait(self->env.fd, self->env.sync));
	EXPECT_EQ(-ECANCELED, onpu_sync_status(self->env.fd, self->env.sync));
	ASSERT_EQ(0, onpu_queue_state(self->env.fd, self->env.queue, &state));
	EXPECT_EQ(DRM_ONPU_QUEUE_DEAD | DRM_ONPU_QUEUE_TIMEDOUT, state.flags);
	EXPECT_EQ(2 * JOBS, state.jobs_submitted);
	EXPECT_EQ(2 * JOBS, state.jobs_completed);

	/* The last one hangs: it is. */
	ASSERT_EQ(0, onpu_env_new_queue(&self->env));
	for (int i = 0; i < JOBS; i++)
		words[i] = i != JOBS - 1;
	ASSERT_EQ(0, onpu_submit_jobs(self->env.fd, self->env.queue, jobs, JOBS));
	ASSERT_EQ(0, onpu_sync_wait(self->env.fd, self->env.sync));
	EXPECT_EQ(-ETIME, onpu_sync_status(self->env.fd, self->env.sync));
}

/* More jobs than slots, which take turns: each is under way for longer than it may run. */
TEST_F_TIMEOUT(hang, the_time_of_others_does_not_count, 100)
{
	enum { QUEUES = 40, FILLS = 60 };
	uint32_t queues[QUEUES], syncs[QUEUES];
	struct onpu_buf buf;
	int64_t start, alone, together;
	int limit_ms;

	ASSERT_EQ(0, onpu_buf_new(&self->env, MIB(16), DRM_ONPU_BO_VRAM, &buf));
	for (int i = 0; i < FILLS; i++)
		onpu_add(&self->env, pkt_fill(buf.va, MIB(16), (uint32_t)i));
	onpu_set_timeout(10000);
	start = onpu_now();
	ASSERT_EQ(0, onpu_run(&self->env));
	alone = onpu_now() - start;
	limit_ms = (int)(alone * 6 / 1000000) + 20;
	for (int i = 0; i < QUEUES; i++) {
		ASSERT_EQ(0, onpu_queue_create(self->env.fd, self->env.vm,
					       DRM_ONPU_PRIORITY_MEDIUM, &queues[i]));
		syncs[i] = onpu_sync_create(self->env.fd, false);
	}
	onpu_set_timeout((unsigned int)limit_ms);
	start = onpu_now();
	for (int i = 0; i < QUEUES; i++)
		ASSERT_EQ(0, onpu_submit(self->env.fd, queues[i], self->env.cmd.va, FILLS, 0,
					 syncs[i]));
	for (int i = 0; i < QUEUES; i++) {
		ASSERT_EQ(0, onpu_sync_wait(self->env.fd, syncs[i]));
		EXPECT_EQ(1, onpu_sync_status(self->env.fd, syncs[i]));
	}
	together = onpu_now() - start;
	TH_LOG("%lld ms alone, limit %d ms, %lld ms together", (long long)alone / 1000000,
	       limit_ms, (long long)together / 1000000);
	/* Else it has shown nothing. */
	EXPECT_LT(limit_ms, together / 1000000);
}

TEST_F_TIMEOUT(hang, only_running_counts, 60)
{
	struct drm_onpu_queue_get_state state;
	uint32_t second, sync = onpu_sync_create(self->env.fd, false);

	/* Jobs that wait for a syncobj longer than the limit are not hung, ... */
	ASSERT_EQ(0, onpu_queue_create(self->env.fd, self->env.vm, DRM_ONPU_PRIORITY_MEDIUM, &second));
	self->env.packets[0] = pkt_wait(WORD_VA(&self->env), ONPU_WAIT_EQ, 1);
	self->env.packets[1] = pkt_nop();
	for (int i = 0; i < 6; i++) {
		/* ... nor are many in a row that together take longer. */
		WORD(&self->env) = 0;
		ASSERT_EQ(0, onpu_submit(self->env.fd, self->env.queue, self->env.cmd.va, 1, 0,
					 self->env.sync));
		if (!i) {
			ASSERT_EQ(0, onpu_submit(self->env.fd, second, self->env.cmd.va + 64, 1,
						 self->env.sync, sync));
		}
		usleep(TIMEOUT_MS * 1000 / 4);
		WORD(&self->env) = 1;
		ASSERT_EQ(0, onpu_sync_wait(self->env.fd, self->env.sync));
	}
	EXPECT_EQ(0, onpu_sync_wait(self->env.fd, sync));
	ASSERT_EQ(0, onpu_queue_state(self->env.fd, self->env.queue, &state));
	EXPECT_EQ(0, state.flags);
	ASSERT_EQ(0, onpu_queue_state(self->env.fd, second, &state));
	EXPECT_EQ(0, state.flags);
}

TEST_F_TIMEOUT(hang, dependants_go_on, 60)
{
	uint32_t second, sync = onpu_sync_create(self->env.fd, false);

	ASSERT_EQ(0, onpu_queue_create(self->env.fd, self->env.vm, DRM_ONPU_PRIORITY_MEDIUM, &second));
	add_hang(&self->env);
	ASSERT_EQ(0, onpu_start(&self->env, 0, self->env.sync));
	self->env.packets[300] = pkt_nop();
	ASSERT_EQ(0, onpu_submit(self->env.fd, second, self->env.cmd.va + 64 * 300, 1,
				 self->env.sync, sync));
	EXPECT_EQ(0, onpu_sync_wait(self->env.fd, sync));
}

TEST_F_TIMEOUT(hang, more_hung_queues_than_slots, 100)
{
	uint32_t count = onpu_device(self->env.fd).slots + 2, queues[64], syncs[64];

	if (count > 64)
		count = 64;
	self->env.packets[0] = pkt_wait(WORD_VA(&self->env), ONPU_WAIT_EQ, 0xdeadbeef);
	for (uint32_t i = 0; i < count; i++) {
		ASSERT_EQ(0, onpu_queue_create(self->env.fd, self->env.vm,
					       DRM_ONPU_PRIORITY_MEDIUM, &queues[i]));
		syncs[i] = onpu_sync_create(self->env.fd, false);
		ASSERT_EQ(0, onpu_submit(self->env.fd, queues[i], self->env.cmd.va, 1, 0, syncs[i]));
	}
	/* Sooner or later the innocent one gets a slot. */
	EXPECT_EQ(0, onpu_run_one(&self->other, pkt_nop()));
	for (uint32_t i = 0; i < count; i++) {
		struct drm_onpu_queue_get_state state;

		ASSERT_EQ(0, onpu_sync_wait(self->env.fd, syncs[i]));
		ASSERT_EQ(0, onpu_queue_state(self->env.fd, queues[i], &state));
		EXPECT_NE(0, state.flags & DRM_ONPU_QUEUE_DEAD);
	}
}

/* ---- who depends on a queue that died ------------------------------------------------------- */

struct dependant {
	pthread_t thread;
	struct uq *q;
	int result;
};

static void *depend(void *arg)
{
	struct dependant *d = arg;

	d->result = uq_wait_for(d->q, 1, WAIT_NS);
	return NULL;
}

/* What would have stored the word is dead: whoever waits for it is told, or ends within bounds. */
TEST_F_TIMEOUT(hang, dependants_of_a_dead_queue, 100)
{
	struct drm_onpu_queue_notify notify = { .fd = eventfd(0, EFD_CLOEXEC) };
	struct onpu_env env = { .fd = self->env.fd, .next_va = 0x10000000ull };
	struct pollfd poller = { .fd = notify.fd, .events = POLLIN };
	struct dependant early[4], late;
	const uint64_t shared = 0x700000000ull;	/* where the other address space has its memory */
	struct uq dies, waits;

	ASSERT_EQ(0, lr_vm_create(env.fd, &env.vm));
	ASSERT_EQ(0, uq_create(&env, &dies, 4, DRM_ONPU_BO_VRAM, DRM_ONPU_PRIORITY_MEDIUM));
	ASSERT_EQ(0, uq_create(&env, &waits, 4, DRM_ONPU_BO_VRAM, DRM_ONPU_PRIORITY_MEDIUM));
	notify.queue_id = dies.args.id;
	ASSERT_EQ(0, onpu_ioctl(env.fd, DRM_IOCTL_ONPU_QUEUE_NOTIFY, &notify));

	/* Callers of WAIT; a packet of another queue; a job of a kernel queue in another address space. */
	for (int i = 0; i < 4; i++) {
		early[i].q = &dies;
		ASSERT_EQ(0, pthread_create(&early[i].thread, NULL, depend, &early[i]));
	}
	uq_add(&waits, pkt_wait(uq_fence_va(&dies), ONPU_WAIT_GE, 1));
	uq_signal(&waits);
	late.q = &waits;
	ASSERT_EQ(0, pthread_create(&late.thread, NULL, depend, &late));
	ASSERT_EQ(0, onpu_map(env.fd, self->env.vm, dies.mem.handle, 0, shared, dies.mem.size, 0));
	onpu_add(&self->env, pkt_wait(shared + uq_fence_va(&dies) - dies.mem.va, ONPU_WAIT_GE, 1));
	ASSERT_EQ(0, onpu_start(&self->env, 0, self->env.sync));

	/* Nothing is mapped there: the signal behind it never comes. */
	uq_add(&dies, pkt_fill(0x7000000000ull, 64, 0));
	uq_signal(&dies);
	for (int i = 0; i < 4; i++) {
		ASSERT_EQ(0, pthread_join(early[i].thread, NULL));
		EXPECT_EQ(-ECANCELED, early[i].result);
	}
	EXPECT_EQ(1, poll(&poller, 1, (int)(WAIT_NS / 1000000)));
	EXPECT_EQ(DRM_ONPU_QUEUE_DEAD | DRM_ONPU_QUEUE_FAULT, uq_flags(&dies));
	EXPECT_EQ(-ECANCELED, uq_wait_for(&dies, 1, WAIT_NS));

	/* A job must end, and this one had a limit of its own. */
	ASSERT_EQ(0, onpu_sync_wait(self->env.fd, self->env.sync));
	EXPECT_EQ(-ETIME, onpu_sync_status(self->env.fd, self->env.sync));
	/* A user-mode queue may wait for ever: it lives until its owner has enough of it. */
	EXPECT_EQ(0, uq_flags(&waits));
	EXPECT_EQ(-ETIME, uq_wait_for(&waits, 1, 1000000));
	ASSERT_EQ(0, onpu_queue_destroy(env.fd, waits.args.id));
	ASSERT_EQ(0, pthread_join(late.thread, NULL));
	EXPECT_EQ(-ECANCELED, late.result);
	EXPECT_EQ(0, onpu_run_one(&self->other, pkt_nop()));
	/* Not mapped in the harness's process, which looks at the card's memory in the end. */
	munmap((void *)waits.doorbell, PAGE);
	munmap((void *)dies.doorbell, PAGE);
	onpu_bo_unmap(waits.mem.cpu, waits.mem.size);
	onpu_bo_unmap(dies.mem.cpu, dies.mem.size);
	close(notify.fd);
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Creates, binds, unbinds and destroys from many threads at once: each has an address
 * space of its own, all share one more, and now and then one of them is replaced. The card
 * uses what is mapped in every sixth round.
 *
 * ONPU_STRESS_ROUNDS sets how many rounds all threads do together (10000),
 * ONPU_STRESS_SEED what is random in them.
 */
#include "kselftest_harness.h"

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

#include "onpu_kselftest.h"

#define THREADS 8
#define WINDOW MIB(64)			/* of addresses, for each thread in the shared VM */
#define LARGEST 32			/* pages */
#define BASE 0x100000000ull

struct world {
	int fd;
	uint32_t shared_vm;
	uint32_t shared_bo;		/* everybody maps parts of it */
	long rounds;
	_Atomic long next;
	_Atomic long jobs;
};

struct worker {
	struct world *world;
	unsigned int number;
	uint64_t random;
	struct onpu_env env;
	const char *failed;		/* what, first */
	int error;
};

static uint64_t rnd(struct worker *w, uint64_t below)
{
	/* xorshift64 */
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return w->random % below;
}

static bool expect(struct worker *w, int ret, const char *what)
{
	if (ret && !w->failed) {
		w->failed = what;
		w->error = ret;
	}
	return !ret;
}

/* The list of mappings in the environment is no thread's. */
static pthread_mutex_t maps_lock = PTHREAD_MUTEX_INITIALIZER;

/* An address space with a queue; the file is everybody's. */
static void renew(struct worker *w)
{
	pthread_mutex_lock(&maps_lock);
	if (w->env.vm) {
		onpu_bo_unmap(w->env.cmd.cpu, w->env.cmd.size);
		expect(w, onpu_bo_close(w->world->fd, w->env.cmd.handle), "close commands");
		expect(w, onpu_queue_destroy(w->world->fd, w->env.queue), "destroy queue");
		expect(w, onpu_vm_destroy(w->world->fd, w->env.vm), "destroy VM");
		expect(w, onpu_sync_destroy(w->world->fd, w->env.sync), "destroy syncobj");
	}
	expect(w, onpu_env_on(&w->env, w->world->fd), "create VM and queue");
	pthread_mutex_unlock(&maps_lock);
}

/* The card writes to both ends of what is mapped in the thread's own VM. */
static void touch(struct worker *w, uint64_t va, uint64_t size)
{
	onpu_add(&w->env, pkt_fill(va, 64, 0x5eed));
	onpu_add(&w->env, pkt_fill(va + size - 64, 64, 0x5eed));
	if (expect(w, onpu_run(&w->env), "job"))
		w->world->jobs++;
}

static void one_round(struct worker *w)
{
	uint64_t pages = 1 + rnd(w, LARGEST), size = pages * PAGE, part;
	uint64_t va = BASE + w->number * WINDOW + rnd(w, (WINDOW - MIB(1)) / PAGE) * PAGE;
	uint32_t flags = rnd(w, 2) ? DRM_ONPU_BO_VRAM : DRM_ONPU_BO_SYSTEM, handle;
	bool own = rnd(w, 2), private = own && rnd(w, 2);
	uint32_t vm = own ? w->env.vm : w->world->shared_vm;
	int fd = w->world->fd;

	if (!expect(w, onpu_bo_create(fd, size, flags, private ? vm : 0, &handle), "create BO"))
		return;
	expect(w, onpu_map(fd, vm, handle, 0, va, size, 0), "map");
	if (own && !rnd(w, 3))
		touch(w, va, size);
	/* A part of something else in the middle, or a hole. */
	part = rnd(w, pages);
	if (rnd(w, 2))
		expect(w, onpu_map(fd, vm, w->world->shared_bo, part * PAGE, va + part * PAGE, PAGE,
				   0), "map into the middle");
	else
		expect(w, onpu_unmap(fd, vm, va + part * PAGE, PAGE), "unmap the middle");
	/* The handle may go first. */
	if (rnd(w, 2)) {
		expect(w, onpu_bo_close(fd, handle), "close BO");
		handle = 0;
	}
	expect(w, onpu_unmap(fd, vm, va, size), "unmap");
	if (handle)
		expect(w, onpu_bo_close(fd, handle), "close BO");
	if (!rnd(w, 50))
		renew(w);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	renew(w);
	while (!w->failed && w->world->next++ < w->world->rounds)
		one_round(w);
	return NULL;
}

static long setting(const char *name, long otherwise)
{
	const char *text = getenv(name);

	return text ? atol(text) : otherwise;
}

FIXTURE(stress)
{
	struct drm_onpu_query_memory before;
};

FIXTURE_SETUP(stress)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	close(fd);
}

FIXTURE_TEARDOWN(stress)
{
	onpu_unmap_all();
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

TEST_F_TIMEOUT(stress, create_bind_unbind_destroy, 3600)
{
	struct drm_onpu_vm_get_state state = { 0 };
	struct worker *workers = calloc(THREADS, sizeof(*workers));
	struct world world = { .rounds = setting("ONPU_STRESS_ROUNDS", 10000) };
	pthread_t threads[THREADS];
	int64_t start = onpu_now();

	/* When the harness is ended, the threads do not go on alone. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	ASSERT_NE(NULL, workers);
	world.fd = onpu_open();
	ASSERT_GE(world.fd, 0);
	ASSERT_EQ(0, onpu_vm_create(world.fd, &world.shared_vm));
	ASSERT_EQ(0, onpu_bo_create(world.fd, LARGEST * PAGE, DRM_ONPU_BO_VRAM, 0,
				    &world.shared_bo));
	for (unsigned int i = 0; i < THREADS; i++) {
		workers[i].world = &world;
		workers[i].number = i;
		workers[i].random = (uint64_t)setting("ONPU_STRESS_SEED", 1) * 1000003 + i + 1;
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, work, &workers[i]));
	}
	for (unsigned int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		if (workers[i].failed)
			TH_LOG("thread %u: %s: %d", i, workers[i].failed, workers[i].error);
		EXPECT_EQ(NULL, workers[i].failed);
	}
	TH_LOG("%ld rounds, %ld jobs in %lld ms", world.rounds, world.jobs,
	       (long long)(onpu_now() - start) / 1000000);
	/* All that was mapped is unmapped. */
	state.id = world.shared_vm;
	ASSERT_EQ(0, onpu_ioctl(world.fd, DRM_IOCTL_ONPU_VM_GET_STATE, &state));
	EXPECT_EQ(0, state.mappings);
	EXPECT_EQ(0, state.mapped_bytes);
	EXPECT_EQ(4096, state.table_bytes);
	for (unsigned int i = 0; i < THREADS; i++) {
		state.id = workers[i].env.vm;
		ASSERT_EQ(0, onpu_ioctl(world.fd, DRM_IOCTL_ONPU_VM_GET_STATE, &state));
		EXPECT_EQ(1, state.mappings);
		EXPECT_EQ(0, state.faults);
	}
	close(world.fd);
	free(workers);
}

TEST_HARNESS_MAIN

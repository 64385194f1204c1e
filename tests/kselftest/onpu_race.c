// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many threads do everything at random for some seconds, on files and objects that they share.
 * Most calls fail, which is no error: what counts is that nothing crashes or hangs, that
 * memory comes back, and that an honest process computes rightly meanwhile.
 */
#include "kselftest_harness.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "onpu_kselftest.h"

#define THREADS 6
#define SECONDS 6
#define SHARED 16

struct shared {
	int fd;
	int64_t end;
	/* Ids that some thread made; others use and destroy them. Races are the purpose. */
	uint32_t vms[SHARED], queues[SHARED], bos[SHARED], syncs[SHARED];
	bool close_early;
};

struct worker {
	struct shared *shared;
	uint64_t seed;
	unsigned long calls, jobs;
};

static uint32_t draw(struct worker *worker, uint32_t n)
{
	worker->seed = worker->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((worker->seed >> 33) % n);
}

#define PICK(kind) __atomic_load_n(&s->kind[draw(w, SHARED)], __ATOMIC_RELAXED)
#define PUT(kind, id) __atomic_exchange_n(&s->kind[draw(w, SHARED)], id, __ATOMIC_RELAXED)

/* An object's commands are a mixture of good and bad packets. */
static void write_commands(struct worker *w, struct onpu_packet *packets)
{
	for (int i = 0; i < 64; i++) {
		uint64_t va = MIB(1) + draw(w, 64) * PAGE;

		switch (draw(w, 200)) {
		case 0 ... 9: packets[i] = pkt_copy(va, MIB(1), draw(w, 100000)); break;
		case 10 ... 19: packets[i] = pkt_signal(va, 1); break;
		case 20: packets[i] = pkt_wait(va, draw(w, 7), draw(w, 2)); break;
		case 21: packets[i] = pkt_matmul(va); break;
		case 22: packets[i] = pkt_op((uint8_t)draw(w, 256)); break;
		default: packets[i] = pkt_nop();
		}
	}
}

static void submit_something(struct worker *w, struct shared *s)
{
	struct drm_onpu_sync syncs[4];
	struct drm_onpu_job jobs[3];
	uint32_t count = 1 + draw(w, 3), nsyncs = draw(w, 2) ? 0 : draw(w, 5);

	memset(jobs, 0, sizeof(jobs));
	for (int i = 0; i < 4; i++)
		syncs[i] = (struct drm_onpu_sync) { draw(w, 2), PICK(syncs), 0 };
	for (uint32_t i = 0; i < count; i++) {
		jobs[i].cmd_va = MIB(1) + draw(w, 8) * PAGE;
		jobs[i].cmd_count = draw(w, 64);
		jobs[i].syncs = (struct drm_onpu_array) {
			nsyncs, sizeof(syncs[0]), USER_PTR(syncs),
		};
	}
	w->jobs += !onpu_submit_jobs(s->fd, PICK(queues), jobs, count);
}

static void create_bo(struct worker *w, struct shared *s)
{
	uint64_t size = PAGE << draw(w, 10), offset;
	struct onpu_packet *packets;
	uint32_t handle;

	if (onpu_bo_create(s->fd, size, 1 + draw(w, 3), draw(w, 4) ? 0 : PICK(vms), &handle))
		return;
	if (!onpu_bo_offset(s->fd, handle, &offset)) {
		packets = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, (off_t)offset);
		if (packets != MAP_FAILED) {
			write_commands(w, packets);
			munmap(packets, PAGE);
		}
	}
	handle = PUT(bos, handle);
	if (handle)
		onpu_bo_close(s->fd, handle);
}

static void act(struct worker *w, struct shared *s)
{
	struct drm_onpu_queue_get_state state;
	uint32_t id;

	switch (draw(w, 16)) {
	case 0:
		if (!onpu_vm_create(s->fd, &id)) {
			id = PUT(vms, id);
			if (id)
				onpu_vm_destroy(s->fd, id);
		}
		break;
	case 1:
		if (!draw(w, 8))
			onpu_vm_destroy(s->fd, PICK(vms));
		break;
	case 2: case 3:
		create_bo(w, s);
		break;
	case 4:
		if (!draw(w, 4))
			onpu_bo_close(s->fd, PICK(bos));
		break;
	case 5: case 13:
		if (!onpu_queue_create(s->fd, PICK(vms), draw(w, 4), &id)) {
			id = PUT(queues, id);
			if (id)
				onpu_queue_destroy(s->fd, id);
		}
		break;
	case 6:
		if (!draw(w, 4))
			onpu_queue_destroy(s->fd, PICK(queues));
		break;
	case 7:
		onpu_queue_state(s->fd, PICK(queues), &state);
		break;
	case 8:
		id = onpu_sync_create(s->fd, draw(w, 4));
		id = PUT(syncs, id);
		if (id)
			onpu_sync_destroy(s->fd, id);
		break;
	case 9:
		onpu_sync_wait_for(s->fd, PICK(syncs), draw(w, 100000));
		break;
	case 10: case 11:
		/* Mostly from the start, so that the commands there run. */
		onpu_map(s->fd, PICK(vms), PICK(bos), draw(w, 8) ? 0 : PAGE,
			 MIB(1) + draw(w, draw(w, 2) ? 8 : 64) * PAGE, PAGE << draw(w, 5),
			 draw(w, 2));
		break;
	case 12:
		onpu_unmap(s->fd, PICK(vms), MIB(1) + (8 + draw(w, 56)) * PAGE, PAGE << draw(w, 4));
		break;
	default:
		submit_something(w, s);
	}
	w->calls++;
}

static void *work(void *arg)
{
	struct worker *w = arg;

	while (onpu_now() < w->shared->end)
		act(w, w->shared);
	return NULL;
}

/* Computes and checks until it is told to stop. Exits with 0 if all was right. */
static pid_t start_honest_process(int64_t end)
{
	struct onpu_env env;
	uint64_t rounds = 0;
	struct onpu_buf buf;
	pid_t pid = fork();
	int status = 0;

	if (pid)
		return pid;
	if (onpu_env_init(&env) || onpu_buf_new(&env, KIB(64), DRM_ONPU_BO_VRAM, &buf))
		_exit(1);
	do {
		rounds++;
		onpu_add(&env, pkt_fill(buf.va, KIB(32), (uint32_t)rounds));
		onpu_add(&env, pkt_copy(buf.va + KIB(32), buf.va, KIB(32)));
		if (onpu_run(&env)) {
			status = 2;
			break;
		}
		for (uint64_t i = 0; i < KIB(64) / 4; i += 511)
			if (((uint32_t *)buf.cpu)[i] != (uint32_t)rounds)
				status = 3;
	} while (!status && onpu_now() < end);
	_exit(status);
}

FIXTURE(race)
{
	struct drm_onpu_query_memory before;
	int former;
};

FIXTURE_SETUP(race)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	close(fd);
	/* Random WAITs hang. */
	self->former = onpu_set_timeout(300);
	ASSERT_GT(self->former, 0);
}

FIXTURE_TEARDOWN_PARENT(race)
{
	onpu_set_timeout(10000);
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

TEST_F_TIMEOUT(race, threads_on_one_file, 100)
{
	struct shared shared = { .fd = onpu_open(), .end = onpu_now() + SECONDS * 1000000000ll };
	struct worker workers[THREADS];
	pthread_t threads[THREADS];
	unsigned long calls = 0, jobs = 0;
	int status;
	pid_t honest;

	ASSERT_GE(shared.fd, 0);
	honest = start_honest_process(shared.end);
	for (int i = 0; i < THREADS; i++) {
		workers[i] = (struct worker) { .shared = &shared, .seed = (uint64_t)i * 12345 + 1 };
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, work, &workers[i]));
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		calls += workers[i].calls;
		jobs += workers[i].jobs;
	}
	TH_LOG("%lu calls, %lu submits taken", calls, jobs);
	EXPECT_GT(jobs, 0);
	close(shared.fd);
	ASSERT_EQ(honest, waitpid(honest, &status, 0));
	EXPECT_EQ(0, status);
}

/* Each process opens, puts work in flight and ends without cleaning up, on and on. */
TEST_F_TIMEOUT(race, processes_that_just_end, 100)
{
	int64_t end = onpu_now() + SECONDS * 1000000000ll;
	pid_t honest = start_honest_process(end), pids[4] = { 0 };
	unsigned int started = 0;
	int status;

	while (onpu_now() < end) {
		pid_t *slot = &pids[started % 4];

		if (*slot) {
			if (started & 1)
				kill(*slot, SIGKILL);
			ASSERT_EQ(*slot, waitpid(*slot, &status, 0));
		}
		*slot = fork();
		if (!*slot) {
			struct shared shared = { .fd = onpu_open(), .end = onpu_now() + 100000000ll };
			struct worker worker = { .shared = &shared, .seed = started * 77ull + 5 };
			pthread_t thread;

			pthread_create(&thread, NULL, work, &worker);
			work(&worker);
			_exit(0);
		}
		started++;
		usleep(20000);
	}
	for (int i = 0; i < 4; i++) {
		if (pids[i]) {
			waitpid(pids[i], &status, 0);
		}
	}
	ASSERT_EQ(honest, waitpid(honest, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_GT(started, 4);
}

/* The file is closed while another thread is in the middle of its ioctls. */
TEST_F_TIMEOUT(race, close_in_flight, 100)
{
	int64_t end = onpu_now() + SECONDS * 1000000000ll;
	unsigned int rounds = 0;

	while (onpu_now() < end) {
		struct shared shared = { .fd = onpu_open(), .end = onpu_now() + 50000000ll };
		struct worker workers[2] = {
			{ .shared = &shared, .seed = rounds + 1 },
			{ .shared = &shared, .seed = rounds + 1000 },
		};
		pthread_t threads[2];

		ASSERT_GE(shared.fd, 0);
		for (int i = 0; i < 2; i++) {
			ASSERT_EQ(0, pthread_create(&threads[i], NULL, work, &workers[i]));
		}
		usleep(20000);
		close(shared.fd);
		for (int i = 0; i < 2; i++)
			pthread_join(threads[i], NULL);
		rounds++;
	}
	EXPECT_GT(rounds, 5);
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Long-running address spaces that do not fit into card memory together: each is suspended
 * and evicted for the other, again and again, and never notices.
 */
#include "kselftest_harness.h"

#include "onpu_uq.h"

#include <pthread.h>
#include <sys/wait.h>

#define CHUNK MIB(2)
#define RUN_NS 8000000000ll

/* One process: its own address space, @count buffers, and data that goes round in them. */
struct runner {
	struct onpu_env env;
	struct uq q;
	struct onpu_buf *bufs;
	uint32_t count;
};

static int runner_init(struct runner *r, uint32_t count)
{
	int ret;

	memset(r, 0, sizeof(*r));
	r->count = count;
	r->bufs = calloc(count, sizeof(*r->bufs));
	r->env.fd = onpu_open();
	r->env.next_va = 0x10000000ull;
	if (!r->bufs || r->env.fd < 0)
		return -ENODEV;
	ret = lr_vm_create(r->env.fd, &r->env.vm);
	if (!ret)
		ret = uq_create(&r->env, &r->q, 6, DRM_ONPU_BO_SYSTEM, DRM_ONPU_PRIORITY_MEDIUM);
	for (uint32_t i = 0; i < count && !ret; i++) {
		struct onpu_buf *buf = &r->bufs[i];

		/* Not mapped by the CPU: a mapping of all would keep nothing, but take long. */
		buf->size = CHUNK;
		buf->va = 0x40000000ull + i * CHUNK;
		ret = onpu_bo_create(r->env.fd, CHUNK, DRM_ONPU_BO_VRAM, 0, &buf->handle);
		if (!ret)
			ret = onpu_map(r->env.fd, r->env.vm, buf->handle, 0, buf->va, CHUNK, 0);
	}
	return ret;
}

/* Each buffer holds its pattern; they are handed on by one, and the last comes first. */
static int runner_run(struct runner *r, uint32_t seed, int64_t ns, uint32_t *rounds)
{
	const int64_t end = onpu_now() + ns;
	struct onpu_buf check;
	int ret;

	ret = onpu_buf_new(&r->env, PAGE * r->count, DRM_ONPU_BO_SYSTEM, &check);
	if (ret)
		return ret;
	for (uint32_t i = 0; i < r->count; i++)
		uq_add(&r->q, pkt_fill(r->bufs[i].va, CHUNK, seed + i));
	ret = uq_run(&r->q);
	for (uint32_t round = 1; !ret && onpu_now() < end; round++) {
		const uint64_t spare = check.va;

		/* The first page of each moves on; the rest stays and is looked at by the last one. */
		uq_add(&r->q, pkt_copy(spare, r->bufs[r->count - 1].va, PAGE));
		for (uint32_t i = r->count - 1; i; i--)
			uq_add(&r->q, pkt_copy(r->bufs[i].va, r->bufs[i - 1].va, PAGE));
		uq_add(&r->q, pkt_copy(r->bufs[0].va, spare, PAGE));
		for (uint32_t i = 0; i < r->count; i++)
			uq_add(&r->q, pkt_copy(check.va + i * PAGE, r->bufs[i].va, PAGE));
		ret = uq_run(&r->q);
		for (uint32_t i = 0; i < r->count && !ret; i++) {
			uint32_t expected = seed + (i + r->count - round % r->count) % r->count;

			if (((uint32_t *)check.cpu)[i * 1024 + 77] != expected)
				ret = -EILSEQ;
		}
		for (uint32_t i = 0; i < r->count; i++)
			uq_add(&r->q, pkt_copy(check.va + i * PAGE, r->bufs[i].va + CHUNK - PAGE, PAGE));
		if (!ret)
			ret = uq_run(&r->q);
		for (uint32_t i = 0; i < r->count && !ret; i++)
			if (((uint32_t *)check.cpu)[i * 1024 + 5] != seed + i)
				ret = -EILSEQ;
		*rounds = round;
	}
	return ret;
}

static void runner_fini(struct runner *r)
{
	close(r->env.fd);
	munmap((void *)r->q.doorbell, PAGE);
	onpu_unmap_all();
	free(r->bufs);
}

FIXTURE(overcommit)
{
	struct drm_onpu_query_memory before;
	uint32_t chunks;	/* that fit into card memory */
};

FIXTURE_SETUP(overcommit)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	self->chunks = (uint32_t)((self->before.vram_size - self->before.vram_used) / CHUNK);
	close(fd);
}

FIXTURE_TEARDOWN(overcommit)
{
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

TEST_F_TIMEOUT(overcommit, three_that_do_not_fit_together, 110)
{
	pid_t pids[3];
	int status;

	for (int p = 0; p < 3; p++) {
		pids[p] = fork();
		ASSERT_GE(pids[p], 0);
		if (!pids[p]) {
			struct runner r;
			uint32_t rounds = 0;
			int ret = runner_init(&r, self->chunks * 6 / 10);

			if (!ret)
				ret = runner_run(&r, 0x1000000u * (uint32_t)(p + 1), RUN_NS, &rounds);
			fprintf(stderr, "# process %d: %u rounds, %d\n", p, rounds, ret);
			runner_fini(&r);
			_exit(ret ? 1 : rounds < 2 ? 2 : 0);
		}
	}
	for (int p = 0; p < 3; p++) {
		ASSERT_EQ(pids[p], waitpid(pids[p], &status, 0));
		EXPECT_EQ(0, status);
	}
}

TEST_F_TIMEOUT(overcommit, more_than_there_is, 100)
{
	struct drm_onpu_queue_get_state state;
	struct runner r;
	int64_t start = onpu_now();

	/* As long as it has nothing to do it dozes, and nobody minds what it has mapped. */
	EXPECT_EQ(0, runner_init(&r, self->chunks + 4));
	TH_LOG("%lld ms", (long long)(onpu_now() - start) / 1000000);
	ASSERT_EQ(0, onpu_queue_state(r.env.fd, r.q.args.id, &state));
	EXPECT_EQ(0, state.flags);

	/* With work, alone, it can never run; that is said in bounded time. */
	uq_signal(&r.q);
	for (int i = 0; i < 200; i++) {
		ASSERT_EQ(0, onpu_queue_state(r.env.fd, r.q.args.id, &state));
		if (state.flags)
			break;
		usleep(100000);
	}
	EXPECT_EQ(DRM_ONPU_QUEUE_DEAD | DRM_ONPU_QUEUE_NO_MEMORY, state.flags);
	runner_fini(&r);
}

TEST_HARNESS_MAIN

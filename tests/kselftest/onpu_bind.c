// SPDX-License-Identifier: GPL-2.0-only
/*
 * VM_BIND against a model: random sequences of maps and unmaps, several in a
 * call, over a window in which small and large pages meet. An array says which
 * page of which object each address should show; the card reads every page that
 * is mapped and a few of those that are not. A call that must fail has to leave
 * everything as it was.
 */
#include "kselftest_harness.h"

#include "onpu_kselftest.h"

#define WINDOW (5ull << 39)	/* where tables of all levels begin */
#define WINDOW_BASE (WINDOW - MIB(4))
#define WINDOW_PAGES 2560u	/* 10 MiB */
#define BO_PAGES 1536u		/* 6 MiB */
#define BOS 4
#define ROUNDS 60

FIXTURE(bind)
{
	struct onpu_env env;
	struct onpu_buf result;
	uint32_t bo[BOS];
	uint32_t shows[WINDOW_PAGES];	/* tag of the page that stands there, or 0 */
	bool read_only[WINDOW_PAGES];
	uint64_t seed;
	struct drm_onpu_query_memory before;
};

static uint32_t tag(uint32_t bo, uint32_t page)
{
	return bo << 16 | (page + 1);
}

static uint32_t pick(uint64_t *seed, uint32_t below)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*seed >> 33) % below;
}

/* A private and a shared one in either place. */
static int new_bo(struct onpu_env *env, uint32_t index, uint32_t *handle)
{
	uint32_t flags = index & 1 ? DRM_ONPU_BO_SYSTEM : DRM_ONPU_BO_VRAM;
	uint32_t *data;
	int ret;

	ret = onpu_bo_create(env->fd, BO_PAGES * PAGE, flags, index & 2 ? env->vm : 0, handle);
	if (ret)
		return ret;
	data = onpu_bo_map(env->fd, *handle, BO_PAGES * PAGE);
	if (!data)
		return -ENXIO;
	for (uint32_t page = 0; page < BO_PAGES; page++)
		data[page * (PAGE / 4)] = tag(index, page);
	onpu_bo_unmap(data, BO_PAGES * PAGE);
	return 0;
}

FIXTURE_SETUP(bind)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	ASSERT_EQ(0, onpu_env_on(&self->env, fd));
	ASSERT_EQ(0, onpu_buf_new(&self->env, WINDOW_PAGES * 4, DRM_ONPU_BO_VRAM, &self->result));
	for (uint32_t i = 0; i < BOS; i++)
		ASSERT_EQ(0, new_bo(&self->env, i, &self->bo[i]));
	memset(self->shows, 0, sizeof(self->shows));
	memset(self->read_only, 0, sizeof(self->read_only));
	self->seed = 1;
}

FIXTURE_TEARDOWN(bind)
{
	onpu_env_fini(&self->env);
	onpu_unmap_all();
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

/* Pages of an operation: often whole large pages, at places where they fit. */
static void pick_range(uint64_t *seed, uint32_t limit, uint32_t *first, uint32_t *count)
{
	switch (pick(seed, 4)) {
	case 0:
		*count = 512 * (1 + pick(seed, 3));
		*first = 512 * pick(seed, (limit - *count) / 512 + 1);
		break;
	case 1:
		*count = 1 + pick(seed, 16);
		*first = pick(seed, limit - *count + 1);
		break;
	default:
		*count = 1 + pick(seed, limit);
		*first = pick(seed, limit - *count + 1);
		break;
	}
}

/* A random operation, carried out on the model too. */
static struct drm_onpu_bind_op pick_op(uint64_t *seed, const uint32_t *bos, uint32_t *shows,
				       bool *read_only)
{
	struct drm_onpu_bind_op op = { .type = DRM_ONPU_BIND_UNMAP };
	uint32_t first, count, bo, from;

	if (pick(seed, 3)) {
		op.type = DRM_ONPU_BIND_MAP;
		pick_range(seed, BO_PAGES, &from, &count);
		/* As often as not so that large pages can be used. */
		first = pick(seed, WINDOW_PAGES - count + 1);
		if (pick(seed, 2)) {
			first = first / 512 * 512 + from % 512;
			if (first + count > WINDOW_PAGES)
				first = from % 512;
		}
		bo = pick(seed, BOS);
		op.handle = bos[bo];
		op.bo_offset = from * PAGE;
		op.flags = pick(seed, 4) ? 0 : DRM_ONPU_BIND_READONLY;
		for (uint32_t i = 0; i < count; i++) {
			shows[first + i] = tag(bo, from + i);
			read_only[first + i] = op.flags;
		}
	} else {
		pick_range(seed, WINDOW_PAGES, &first, &count);
		memset(shows + first, 0, count * sizeof(*shows));
	}
	op.va = WINDOW_BASE + first * PAGE;
	op.size = count * PAGE;
	return op;
}

/* 0 when the card sees the window as the model does, else 1 + the page where it does not. */
static uint32_t compare(struct onpu_env *env, struct onpu_buf *result, const uint32_t *shows)
{
	volatile uint32_t *seen = result->cpu;
	uint32_t page = 0;

	memset(result->cpu, 0, WINDOW_PAGES * 4);
	while (page < WINDOW_PAGES) {
		for (; page < WINDOW_PAGES && env->count < CMD_PACKETS; page++)
			if (shows[page])
				onpu_add(env, pkt_copy(result->va + page * 4,
						       WINDOW_BASE + page * PAGE, 4));
		if (env->count && onpu_run(env))
			return WINDOW_PAGES + 1;
	}
	for (page = 0; page < WINDOW_PAGES; page++)
		if (seen[page] != shows[page])
			return page + 1;
	return 0;
}

/* Whether an access of the card faults there; the queue is a new one then. */
static bool faults(struct onpu_env *env, struct onpu_packet packet, uint64_t va)
{
	struct drm_onpu_queue_get_state state;

	return onpu_run_one(env, packet) && !onpu_queue_state(env->fd, env->queue, &state) &&
	       (state.flags & DRM_ONPU_QUEUE_FAULT) && state.fault_va == va &&
	       !onpu_env_new_queue(env);
}

TEST_F_TIMEOUT(bind, random_sequences, 300)
{
	struct drm_onpu_bind_op ops[8];

	for (unsigned int round = 0; round < onpu_rounds(ROUNDS, 1); round++) {
		uint32_t count = 1 + pick(&self->seed, 8), failed = 0, page;
		uint64_t va;

		for (uint32_t i = 0; i < count; i++)
			ops[i] = pick_op(&self->seed, self->bo, self->shows, self->read_only);
		ASSERT_EQ(0, onpu_bind(self->env.fd, self->env.vm, ops, count, &failed));
		EXPECT_EQ(count, failed);
		ASSERT_EQ(0, compare(&self->env, &self->result, self->shows)) {
			TH_LOG("round %u", round);
		}

		page = pick(&self->seed, WINDOW_PAGES);
		va = WINDOW_BASE + page * PAGE;
		if (!self->shows[page]) {
			ASSERT_TRUE(faults(&self->env, pkt_copy(self->result.va, va, 4), va));
		} else if (self->read_only[page]) {
			ASSERT_TRUE(faults(&self->env, pkt_fill(va, 4, 0), va));
		} else {
			ASSERT_EQ(0, onpu_run_one(&self->env, pkt_fill(va, 4, self->shows[page])));
		}
	}
}

TEST_F_TIMEOUT(bind, a_refused_call_changes_nothing, 120)
{
	struct drm_onpu_bind_op ops[4];
	uint32_t failed;

	for (unsigned int round = 0; round < onpu_rounds(20, 2); round++) {
		uint32_t shows[WINDOW_PAGES], bad = pick(&self->seed, 4);

		ops[0] = pick_op(&self->seed, self->bo, self->shows, self->read_only);
		ASSERT_EQ(0, onpu_bind(self->env.fd, self->env.vm, ops, 1, &failed));
		memcpy(shows, self->shows, sizeof(shows));
		for (int i = 0; i < 4; i++)
			ops[i] = pick_op(&self->seed, self->bo, shows, self->read_only);
		ops[bad].va = round & 1 ? 1ull << 47 : ops[bad].va + 1;
		ASSERT_EQ(-EINVAL, onpu_bind(self->env.fd, self->env.vm, ops, 4, &failed));
		EXPECT_EQ(bad, failed);
		ASSERT_EQ(0, compare(&self->env, &self->result, self->shows)) {
			TH_LOG("round %u", round);
		}
	}
}

/* Card memory is full: page tables cannot be had, in the middle of a call at that. */
TEST_F_TIMEOUT(bind, no_memory_changes_nothing, 300)
{
	static struct drm_onpu_bind_op ops[1024];
	struct drm_onpu_query_memory memory = onpu_memory(self->env.fd), after;
	/* Page tables that do not fit: a table for each 2 MiB of small pages. */
	uint64_t each = (memory.vram_size / PAGE / 1000 + 1) * MIB(2);
	uint32_t big, failed = 0;

	if (each > MIB(768))
		SKIP(return, "the card has too much memory for that");
	/* Small pages only, because of the offset. */
	ASSERT_EQ(0, onpu_bo_create(self->env.fd, each + PAGE, DRM_ONPU_BO_SYSTEM, 0, &big));
	ops[0] = (struct drm_onpu_bind_op) {
		.type = DRM_ONPU_BIND_UNMAP, .va = WINDOW_BASE, .size = WINDOW_PAGES * PAGE,
	};
	for (uint64_t i = 1; i < 1024; i++)
		ops[i] = (struct drm_onpu_bind_op) {
			.type = DRM_ONPU_BIND_MAP, .handle = big, .bo_offset = PAGE,
			.va = (1ull << 40) + i * MIB(1024), .size = each,
		};
	ASSERT_EQ(0, onpu_map(self->env.fd, self->env.vm, self->bo[0], 0, WINDOW_BASE,
			      BO_PAGES * PAGE, 0));
	for (uint32_t i = 0; i < BO_PAGES; i++)
		self->shows[i] = tag(0, i);

	memory = onpu_memory(self->env.fd);
	ASSERT_EQ(-ENOMEM, onpu_bind(self->env.fd, self->env.vm, ops, 1024, &failed));
	EXPECT_EQ(1024, failed);
	/* Buffer objects may have been evicted for them, and then their page tables are gone. */
	after = onpu_memory(self->env.fd);
	EXPECT_GE(memory.vram_used + memory.system_used, after.vram_used + after.system_used);
	ASSERT_EQ(0, compare(&self->env, &self->result, self->shows));
}

/* Nanoseconds that each of @count operations takes, in calls of @at_once; the best of some. */
static double bind_ns(struct onpu_env *env, const struct drm_onpu_bind_op *ops, uint32_t count,
		      uint32_t at_once)
{
	struct drm_onpu_bind_op clear = {
		.type = DRM_ONPU_BIND_UNMAP, .va = 1ull << 40, .size = MIB(1024),
	};
	double best = 1e18;

	for (unsigned int round = 0; round < onpu_rounds(5, 1); round++) {
		int64_t start = onpu_now();

		for (uint32_t i = 0; i < count; i += at_once)
			if (onpu_bind(env->fd, env->vm, ops + i, at_once, NULL))
				return 0;
		if (best > (double)(onpu_now() - start) / count)
			best = (double)(onpu_now() - start) / count;
		if (onpu_bind(env->fd, env->vm, &clear, 1, NULL))
			return 0;
	}
	return best;
}

/* What an operation costs beside the cheapest call, alone and in an array. */
TEST_F_TIMEOUT(bind, cost_of_operations, 120)
{
	static struct drm_onpu_bind_op ops[1024];
	struct drm_onpu_bo_info info = { .handle = self->bo[0] };
	double call = 1e18, single, array;

	for (unsigned int round = 0; round < onpu_rounds(5, 1); round++) {
		int64_t start = onpu_now();

		for (int i = 0; i < 1024; i++) {
			info = (struct drm_onpu_bo_info) { .handle = self->bo[0] };
			ASSERT_EQ(0, onpu_ioctl(self->env.fd, DRM_IOCTL_ONPU_BO_INFO, &info));
		}
		if (call > (double)(onpu_now() - start) / 1024)
			call = (double)(onpu_now() - start) / 1024;
	}
	for (uint32_t i = 0; i < 1024; i++)
		ops[i] = (struct drm_onpu_bind_op) {
			.type = DRM_ONPU_BIND_MAP, .handle = self->bo[0], .bo_offset = i * PAGE,
			.va = (1ull << 40) + i * 2 * PAGE, .size = PAGE,
		};
	single = bind_ns(&self->env, ops, 1024, 1);
	array = bind_ns(&self->env, ops, 1024, 1024);
	ASSERT_GT(single, 0);
	ASSERT_GT(array, 0);
	TH_LOG("BO_INFO %.1f us; a MAP alone %.1f us (%.1f of it), of 1024 in a call %.1f us (%.1f)",
	       call / 1e3, single / 1e3, single / call, array / 1e3, array / call);
	EXPECT_LT(array, single);
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Address spaces and VM_BIND. What a bind did is judged by what the card then
 * can and cannot reach, not by what the driver says.
 */
#include "kselftest_harness.h"

#include "onpu_kselftest.h"

FIXTURE(vm)
{
	struct onpu_env env;
	struct onpu_buf result;		/* where the card copies what it read */
	uint32_t bo;			/* 64 pages, page n is filled with n + 1 */
	struct drm_onpu_query_memory before;
};

FIXTURE_VARIANT(vm)
{
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(vm, vram) { .flags = DRM_ONPU_BO_VRAM };
FIXTURE_VARIANT_ADD(vm, system) { .flags = DRM_ONPU_BO_SYSTEM };

#define PAGES 64
#define BO_SIZE (PAGES * PAGE)
#define VA (1ull << 36)

FIXTURE_SETUP(vm)
{
	uint32_t *data;
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	ASSERT_EQ(0, onpu_env_on(&self->env, fd));
	ASSERT_EQ(0, onpu_buf_new(&self->env, PAGE, DRM_ONPU_BO_VRAM, &self->result));
	ASSERT_EQ(0, onpu_bo_create(fd, BO_SIZE, variant->flags, 0, &self->bo));
	data = onpu_bo_map(fd, self->bo, BO_SIZE);
	ASSERT_NE(NULL, data);
	for (uint32_t i = 0; i < BO_SIZE / 4; i++)
		data[i] = (uint32_t)(i / (PAGE / 4)) + 1;
	onpu_bo_unmap(data, BO_SIZE);
}

FIXTURE_TEARDOWN(vm)
{
	onpu_env_fini(&self->env);
	onpu_unmap_all();
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

/* What the card reads at @va: the word, or -1 when it faults. */
static int64_t card_reads(struct onpu_env *env, struct onpu_buf *result, uint64_t va)
{
	struct drm_onpu_queue_get_state state;
	volatile uint32_t *word = result->cpu;

	*word = 0xdead;
	if (!onpu_run_one(env, pkt_copy(result->va, va, 4)))
		return *word;
	if (onpu_queue_state(env->fd, env->queue, &state) ||
	    !(state.flags & DRM_ONPU_QUEUE_FAULT) || state.fault_va != va)
		return -2;
	return onpu_env_new_queue(env) ? -3 : -1;
}

/* 0 when the card can write at @va, -1 when it faults. */
static int card_writes(struct onpu_env *env, uint64_t va, uint32_t value)
{
	struct drm_onpu_queue_get_state state;

	if (!onpu_run_one(env, pkt_fill(va, 4, value)))
		return 0;
	if (onpu_queue_state(env->fd, env->queue, &state) ||
	    !(state.flags & DRM_ONPU_QUEUE_FAULT) || state.fault_va != va ||
	    ONPU_FAULT_INFO_ACCESS(state.fault_info) != ONPU_FAULT_ACCESS_WRITE)
		return -2;
	return onpu_env_new_queue(env) ? -3 : -1;
}

#define READS(va) card_reads(&self->env, &self->result, va)
#define MAP(va, page, pages, flags) \
	onpu_map(self->env.fd, self->env.vm, self->bo, (page) * PAGE, va, (pages) * PAGE, flags)
#define UNMAP(va, pages) onpu_unmap(self->env.fd, self->env.vm, va, (pages) * PAGE)

TEST_F(vm, map_and_unmap)
{
	EXPECT_EQ(-1, READS(VA));
	ASSERT_EQ(0, MAP(VA, 0, PAGES, 0));
	EXPECT_EQ(1, READS(VA));
	EXPECT_EQ(64, READS(VA + 63 * PAGE));
	EXPECT_EQ(-1, READS(VA - 4));
	EXPECT_EQ(-1, READS(VA + BO_SIZE));
	EXPECT_EQ(0, card_writes(&self->env, VA + 8, 99));
	EXPECT_EQ(99, READS(VA + 8));
	ASSERT_EQ(0, UNMAP(VA, PAGES));
	EXPECT_EQ(-1, READS(VA));
	EXPECT_EQ(-1, READS(VA + 63 * PAGE));
}

TEST_F(vm, offsets_count)
{
	ASSERT_EQ(0, MAP(VA, 10, 2, 0));
	ASSERT_EQ(0, MAP(VA + 2 * PAGE, 5, 1, 0));
	EXPECT_EQ(11, READS(VA));
	EXPECT_EQ(12, READS(VA + PAGE));
	EXPECT_EQ(6, READS(VA + 2 * PAGE));
	EXPECT_EQ(-1, READS(VA + 3 * PAGE));
}

TEST_F(vm, twice_in_one_address_space)
{
	ASSERT_EQ(0, MAP(VA, 0, 4, 0));
	ASSERT_EQ(0, MAP(2 * VA, 0, 4, 0));
	EXPECT_EQ(0, card_writes(&self->env, VA + PAGE, 1234));
	EXPECT_EQ(1234, READS(2 * VA + PAGE));
	ASSERT_EQ(0, UNMAP(VA, 4));
	EXPECT_EQ(1234, READS(2 * VA + PAGE));
}

TEST_F(vm, unmap_splits)
{
	ASSERT_EQ(0, MAP(VA, 0, PAGES, 0));
	ASSERT_EQ(0, UNMAP(VA + 10 * PAGE, 5));
	EXPECT_EQ(10, READS(VA + 9 * PAGE));
	EXPECT_EQ(-1, READS(VA + 10 * PAGE));
	EXPECT_EQ(-1, READS(VA + 14 * PAGE));
	EXPECT_EQ(16, READS(VA + 15 * PAGE));
	/* Over both ends of what is left, and the hole. */
	ASSERT_EQ(0, UNMAP(VA + 5 * PAGE, 20));
	EXPECT_EQ(5, READS(VA + 4 * PAGE));
	EXPECT_EQ(-1, READS(VA + 5 * PAGE));
	EXPECT_EQ(-1, READS(VA + 24 * PAGE));
	EXPECT_EQ(26, READS(VA + 25 * PAGE));
	EXPECT_EQ(64, READS(VA + 63 * PAGE));
}

TEST_F(vm, unmap_of_nothing_is_no_error)
{
	EXPECT_EQ(0, UNMAP(VA, 1));
	EXPECT_EQ(0, onpu_unmap(self->env.fd, self->env.vm, VA, 1ull << 40));
}

TEST_F(vm, map_replaces)
{
	ASSERT_EQ(0, MAP(VA, 0, 8, 0));
	ASSERT_EQ(0, MAP(VA + 2 * PAGE, 32, 3, 0));
	EXPECT_EQ(2, READS(VA + PAGE));
	EXPECT_EQ(33, READS(VA + 2 * PAGE));
	EXPECT_EQ(35, READS(VA + 4 * PAGE));
	EXPECT_EQ(6, READS(VA + 5 * PAGE));
	ASSERT_EQ(0, MAP(VA, 48, 8, 0));
	EXPECT_EQ(49, READS(VA));
	EXPECT_EQ(52, READS(VA + 3 * PAGE));
}

TEST_F(vm, read_only)
{
	ASSERT_EQ(0, MAP(VA, 0, 4, DRM_ONPU_BIND_READONLY));
	EXPECT_EQ(1, READS(VA));
	EXPECT_EQ(-1, card_writes(&self->env, VA, 5));
	EXPECT_EQ(1, READS(VA));
	/* A page between two that may be written. */
	ASSERT_EQ(0, MAP(VA, 0, 4, 0));
	ASSERT_EQ(0, MAP(VA + PAGE, 1, 1, DRM_ONPU_BIND_READONLY));
	EXPECT_EQ(0, card_writes(&self->env, VA, 5));
	EXPECT_EQ(-1, card_writes(&self->env, VA + PAGE, 5));
	EXPECT_EQ(0, card_writes(&self->env, VA + 2 * PAGE, 5));
	EXPECT_EQ(2, READS(VA + PAGE));
	ASSERT_EQ(0, MAP(VA + PAGE, 1, 1, 0));
	EXPECT_EQ(0, card_writes(&self->env, VA + PAGE, 5));
}

TEST_F(vm, large_pages_split)
{
	const uint64_t size = MIB(6);
	uint32_t big, *data;

	ASSERT_EQ(0, onpu_bo_create(self->env.fd, size, variant->flags, 0, &big));
	data = onpu_bo_map(self->env.fd, big, size);
	ASSERT_NE(NULL, data);
	for (uint64_t page = 0; page < size / PAGE; page++)
		data[page * 1024] = (uint32_t)page + 1;
	ASSERT_EQ(0, onpu_map(self->env.fd, self->env.vm, big, 0, VA, size, 0));
	EXPECT_EQ(1, READS(VA));
	EXPECT_EQ(1025, READS(VA + MIB(4)));
	/* One page out of the middle of what may be one large page. */
	ASSERT_EQ(0, UNMAP(VA + MIB(2) + 100 * PAGE, 1));
	EXPECT_EQ(512 + 100, READS(VA + MIB(2) + 99 * PAGE));
	EXPECT_EQ(-1, READS(VA + MIB(2) + 100 * PAGE));
	EXPECT_EQ(512 + 102, READS(VA + MIB(2) + 101 * PAGE));
	EXPECT_EQ(512, READS(VA + MIB(2) - PAGE));
	EXPECT_EQ(1536, READS(VA + size - PAGE));
	/* A page of another object in another large page. */
	ASSERT_EQ(0, MAP(VA + 7 * PAGE, 20, 1, 0));
	EXPECT_EQ(7, READS(VA + 6 * PAGE));
	EXPECT_EQ(21, READS(VA + 7 * PAGE));
	EXPECT_EQ(9, READS(VA + 8 * PAGE));
	/* All of it again. */
	ASSERT_EQ(0, onpu_map(self->env.fd, self->env.vm, big, 0, VA, size, 0));
	EXPECT_EQ(8, READS(VA + 7 * PAGE));
	EXPECT_EQ(512 + 101, READS(VA + MIB(2) + 100 * PAGE));
	ASSERT_EQ(0, onpu_unmap(self->env.fd, self->env.vm, VA, size));
	EXPECT_EQ(-1, READS(VA + MIB(3)));
}

TEST_F(vm, address_spaces_are_separate)
{
	struct onpu_env other;

	ASSERT_EQ(0, onpu_env_on(&other, self->env.fd));
	ASSERT_EQ(0, MAP(VA, 0, 4, 0));
	ASSERT_EQ(0, onpu_map(other.fd, other.vm, self->bo, 8 * PAGE, VA, PAGE, 0));
	EXPECT_EQ(1, READS(VA));
	EXPECT_EQ(0, card_writes(&other, VA, 777));
	EXPECT_EQ(1, READS(VA));
	EXPECT_EQ(-1, card_writes(&other, VA + PAGE, 777));
	EXPECT_EQ(2, READS(VA + PAGE));
	ASSERT_EQ(0, onpu_unmap(other.fd, other.vm, VA, PAGE));
	EXPECT_EQ(-1, card_writes(&other, VA, 777));
	EXPECT_EQ(1, READS(VA));
}

TEST_F(vm, ends_of_the_range)
{
	struct drm_onpu_query_memory memory = onpu_memory(self->env.fd);

	ASSERT_EQ(0, MAP(memory.va_start, 0, 1, 0));
	ASSERT_EQ(0, MAP(memory.va_end - PAGE, 1, 1, 0));
	EXPECT_EQ(1, READS(memory.va_start));
	EXPECT_EQ(2, READS(memory.va_end - PAGE));
	EXPECT_EQ(2, READS(memory.va_end - 4));
	EXPECT_EQ(0, UNMAP(memory.va_start, 1));
	EXPECT_EQ(0, UNMAP(memory.va_end - PAGE, 1));
}

TEST_F(vm, bad_operations)
{
	struct drm_onpu_query_memory memory = onpu_memory(self->env.fd);
	const struct drm_onpu_bind_op good = {
		.type = DRM_ONPU_BIND_MAP, .handle = self->bo, .va = VA, .size = PAGE,
	};
	const struct drm_onpu_bind_op unmap = {
		.type = DRM_ONPU_BIND_UNMAP, .va = VA, .size = PAGE,
	};
	struct { const struct drm_onpu_bind_op *base; size_t at; uint64_t value; int error; } bad[] = {
#define FIELD(member) offsetof(struct drm_onpu_bind_op, member)
		{ &good, FIELD(va), VA + 1, -EINVAL },
		{ &good, FIELD(va), VA + 2048, -EINVAL },
		{ &good, FIELD(va), 0, -EINVAL },
		{ &good, FIELD(va), memory.va_start - PAGE, -EINVAL },
		{ &good, FIELD(va), memory.va_end, -EINVAL },
		{ &good, FIELD(va), 1ull << 47, -EINVAL },
		{ &good, FIELD(va), 3ull << 46, -EINVAL },
		{ &good, FIELD(va), 1ull << 48, -EINVAL },
		{ &good, FIELD(va), UINT64_MAX - PAGE + 1, -EINVAL },
		{ &good, FIELD(size), 0, -EINVAL },
		{ &good, FIELD(size), 1, -EINVAL },
		{ &good, FIELD(size), PAGE + 1, -EINVAL },
		{ &good, FIELD(size), BO_SIZE + PAGE, -EINVAL },
		{ &good, FIELD(size), UINT64_MAX - PAGE + 1, -EINVAL },
		{ &good, FIELD(size), -VA, -EINVAL },
		{ &good, FIELD(bo_offset), 1, -EINVAL },
		{ &good, FIELD(bo_offset), BO_SIZE, -EINVAL },
		{ &good, FIELD(bo_offset), UINT64_MAX - PAGE + 1, -EINVAL },
		{ &good, FIELD(flags), 1u << 1, -EINVAL },
		{ &good, FIELD(flags), 1u << 31, -EINVAL },
		{ &good, FIELD(type), 2, -EINVAL },
		{ &good, FIELD(type), UINT32_MAX, -EINVAL },
		{ &good, FIELD(pad), 1, -EINVAL },
		{ &good, FIELD(handle), self->bo + 1000, -ENOENT },
		{ &good, FIELD(handle), 0, -ENOENT },
		{ &unmap, FIELD(va), VA + 1, -EINVAL },
		{ &unmap, FIELD(va), 0, -EINVAL },
		{ &unmap, FIELD(va), memory.va_end, -EINVAL },
		{ &unmap, FIELD(va), 1ull << 47, -EINVAL },
		{ &unmap, FIELD(size), 0, -EINVAL },
		{ &unmap, FIELD(size), 100, -EINVAL },
		{ &unmap, FIELD(size), UINT64_MAX - PAGE + 1, -EINVAL },
		{ &unmap, FIELD(flags), DRM_ONPU_BIND_READONLY, -EINVAL },
		{ &unmap, FIELD(handle), self->bo, -EINVAL },
		{ &unmap, FIELD(bo_offset), PAGE, -EINVAL },
		{ &unmap, FIELD(pad), 1, -EINVAL },
	};

	ASSERT_EQ(0, MAP(VA + MIB(1), 3, 1, 0));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct drm_onpu_bind_op ops[3] = { good, *bad[i].base, good };
		bool wide = bad[i].at >= FIELD(bo_offset);
		uint32_t failed = 77;

		/* The first is right and would replace what is mapped. */
		ops[0].va = VA + MIB(1);
		memcpy((char *)&ops[1] + bad[i].at, &bad[i].value, wide ? 8 : 4);
		EXPECT_EQ(bad[i].error, onpu_bind(self->env.fd, self->env.vm, ops, 3, &failed)) {
			TH_LOG("case %zu", i);
		}
		EXPECT_EQ(1, failed) {
			TH_LOG("case %zu", i);
		}
	}
	EXPECT_EQ(4, READS(VA + MIB(1)));
	EXPECT_EQ(-1, READS(VA));
#undef FIELD
}

TEST_F(vm, bad_bind_arguments)
{
	struct drm_onpu_bind_op op = {
		.type = DRM_ONPU_BIND_MAP, .handle = self->bo, .va = VA, .size = PAGE,
	};
	const struct drm_onpu_vm_bind good = {
		.vm_id = self->env.vm,
		.ops = { .count = 1, .stride = sizeof(op), .ptr = USER_PTR(&op) },
	};
	struct drm_onpu_vm_bind args;
	uint32_t cap = onpu_limits(self->env.fd).max_bind_ops;

#define BAD(error, member, value) do {						\
		args = good;							\
		args.member = value;						\
		EXPECT_EQ(error, onpu_ioctl(self->env.fd, DRM_IOCTL_ONPU_VM_BIND, &args)); \
	} while (0)
	BAD(-EINVAL, flags, 1);
	BAD(-EINVAL, flags, 1u << 31);
	BAD(-EINVAL, pad, 1);
	BAD(-ENOENT, vm_id, 0);
	BAD(-ENOENT, vm_id, 4711);
	BAD(-EINVAL, ops.stride, 0);
	BAD(-EINVAL, ops.stride, 8);
	BAD(-EINVAL, ops.stride, sizeof(op) - 8);
	BAD(-EINVAL, ops.stride, sizeof(op) + 4);
	BAD(-EINVAL, ops.stride, sizeof(op) + 1);
	BAD(-EINVAL, ops.count, cap + 1);
	BAD(-EINVAL, ops.count, UINT32_MAX);
	BAD(-EFAULT, ops.ptr, 0);
	BAD(-EFAULT, ops.ptr, 64);
	BAD(-EFAULT, ops.ptr, 0xffff888000000000ull);
#undef BAD
	EXPECT_EQ(-1, READS(VA));
}

TEST_F(vm, larger_elements)
{
	struct {
		struct drm_onpu_bind_op op;
		uint64_t later[3];
	} ops[2];
	struct drm_onpu_vm_bind args = {
		.vm_id = self->env.vm,
		.ops = { .count = 2, .stride = sizeof(ops[0]), .ptr = USER_PTR(ops) },
	};

	memset(ops, 0, sizeof(ops));
	for (int i = 0; i < 2; i++)
		ops[i].op = (struct drm_onpu_bind_op) {
			.type = DRM_ONPU_BIND_MAP, .handle = self->bo,
			.bo_offset = (uint64_t)i * PAGE, .va = VA + (uint64_t)i * PAGE, .size = PAGE,
		};
	ops[1].later[2] = 1;
	EXPECT_EQ(-E2BIG, onpu_ioctl(self->env.fd, DRM_IOCTL_ONPU_VM_BIND, &args));
	EXPECT_EQ(-1, READS(VA));
	ops[1].later[2] = 0;
	EXPECT_EQ(0, onpu_ioctl(self->env.fd, DRM_IOCTL_ONPU_VM_BIND, &args));
	EXPECT_EQ(2, args.failed_op);
	EXPECT_EQ(1, READS(VA));
	EXPECT_EQ(2, READS(VA + PAGE));
}

TEST_F(vm, as_many_operations_as_allowed)
{
	uint32_t cap = onpu_limits(self->env.fd).max_bind_ops, failed;
	struct drm_onpu_bind_op *ops = calloc(cap, sizeof(*ops));

	ASSERT_NE(NULL, ops);
	for (uint32_t i = 0; i < cap; i++)
		ops[i] = (struct drm_onpu_bind_op) {
			.type = DRM_ONPU_BIND_MAP, .handle = self->bo, .size = PAGE,
			.bo_offset = i % PAGES * PAGE, .va = VA + (uint64_t)i * 2 * PAGE,
		};
	ASSERT_EQ(0, onpu_bind(self->env.fd, self->env.vm, ops, cap, &failed));
	EXPECT_EQ(cap, failed);
	EXPECT_EQ(1, READS(VA));
	EXPECT_EQ((cap - 1) % PAGES + 1, READS(VA + (uint64_t)(cap - 1) * 2 * PAGE));
	EXPECT_EQ(-1, READS(VA + PAGE));
	free(ops);
}

TEST_F(vm, operations_happen_in_order)
{
	struct drm_onpu_bind_op ops[] = {
		{ .type = DRM_ONPU_BIND_MAP, .handle = self->bo, .va = VA, .size = 4 * PAGE },
		{ .type = DRM_ONPU_BIND_UNMAP, .va = VA + PAGE, .size = PAGE },
		{ .type = DRM_ONPU_BIND_MAP, .handle = self->bo, .va = VA + 2 * PAGE,
		  .bo_offset = 40 * PAGE, .size = PAGE },
	};

	ASSERT_EQ(0, onpu_bind(self->env.fd, self->env.vm, ops, 3, NULL));
	EXPECT_EQ(1, READS(VA));
	EXPECT_EQ(-1, READS(VA + PAGE));
	EXPECT_EQ(41, READS(VA + 2 * PAGE));
	EXPECT_EQ(4, READS(VA + 3 * PAGE));
}

TEST_F(vm, closed_and_foreign_handles)
{
	int other = onpu_open();
	uint32_t handle, vm;

	ASSERT_GE(other, 0);
	ASSERT_EQ(0, onpu_vm_create(other, &vm));
	EXPECT_EQ(-ENOENT, onpu_map(other, vm, self->bo, 0, VA, PAGE, 0));
	ASSERT_EQ(0, onpu_bo_create(self->env.fd, PAGE, variant->flags, 0, &handle));
	ASSERT_EQ(0, onpu_bo_close(self->env.fd, handle));
	EXPECT_EQ(-ENOENT, onpu_map(self->env.fd, self->env.vm, handle, 0, VA, PAGE, 0));
	/* An address space of another file. */
	EXPECT_EQ(-ENOENT, onpu_map(other, vm + 50, 1, 0, VA, PAGE, 0));
	close(other);
}

TEST_F(vm, a_mapping_keeps_its_memory)
{
	uint32_t handles[16];

	ASSERT_EQ(0, MAP(VA, 0, PAGES, 0));
	ASSERT_EQ(0, onpu_bo_close(self->env.fd, self->bo));
	/* Would reuse the memory if it were free. */
	for (int i = 0; i < 16; i++) {
		ASSERT_EQ(0, onpu_bo_create(self->env.fd, BO_SIZE, variant->flags, 0, &handles[i]));
	}
	for (uint64_t page = 0; page < PAGES; page += 9) {
		EXPECT_EQ((int64_t)page + 1, READS(VA + page * PAGE));
	}
	ASSERT_EQ(0, UNMAP(VA, PAGES));
	EXPECT_EQ(-1, READS(VA));
}

TEST_F(vm, a_destroyed_id_is_gone_and_its_queues_run)
{
	uint32_t queue;

	ASSERT_EQ(0, MAP(VA, 0, 2, 0));
	ASSERT_EQ(0, onpu_vm_destroy(self->env.fd, self->env.vm));
	EXPECT_EQ(-ENOENT, onpu_vm_destroy(self->env.fd, self->env.vm));
	EXPECT_EQ(-ENOENT, UNMAP(VA, 1));
	EXPECT_EQ(-ENOENT, onpu_queue_create(self->env.fd, self->env.vm,
					     DRM_ONPU_PRIORITY_MEDIUM, &queue));
	EXPECT_EQ(2, READS(VA + PAGE));
}

TEST_F(vm, the_same_mapping_again_disturbs_no_job)
{
	const uint64_t size = MIB(8);
	uint32_t big, *data, rounds = 0;

	ASSERT_EQ(0, onpu_bo_create(self->env.fd, 2 * size, variant->flags, 0, &big));
	data = onpu_bo_map(self->env.fd, big, 2 * size);
	ASSERT_NE(NULL, data);
	for (uint64_t i = 0; i < size / 4; i++)
		data[i] = (uint32_t)i;
	ASSERT_EQ(0, onpu_map(self->env.fd, self->env.vm, big, 0, VA, 2 * size, 0));
	for (int i = 0; i < 32; i++)
		onpu_add(&self->env, pkt_copy(VA + size, VA, size));
	ASSERT_EQ(0, onpu_start(&self->env, 0, self->env.sync));
	do {
		ASSERT_EQ(0, onpu_map(self->env.fd, self->env.vm, big, 0, VA, 2 * size, 0));
		rounds++;
	} while (onpu_sync_wait_for(self->env.fd, self->env.sync, 0) == -ETIME && rounds < 100000);
	ASSERT_EQ(0, onpu_sync_wait(self->env.fd, self->env.sync));
	EXPECT_EQ(1, onpu_sync_status(self->env.fd, self->env.sync));
	EXPECT_EQ(0, memcmp(data, data + size / 4, size));
}

/* A job that loses what it works on faults or ends; it never reaches what is there later. */
TEST_F(vm, unmap_under_a_running_job)
{
	const uint64_t size = MIB(8);
	uint32_t big, *data;

	for (int round = 0; round < 5; round++) {
		ASSERT_EQ(0, onpu_bo_create(self->env.fd, size, variant->flags, 0, &big));
		ASSERT_EQ(0, onpu_map(self->env.fd, self->env.vm, big, 0, VA, size, 0));
		for (uint32_t i = 0; i < 200; i++)
			onpu_add(&self->env, pkt_fill(VA, size, 0xbadbad));
		ASSERT_EQ(0, onpu_start(&self->env, 0, self->env.sync));
		ASSERT_EQ(0, onpu_unmap(self->env.fd, self->env.vm, VA, size));
		ASSERT_EQ(0, onpu_bo_close(self->env.fd, big));
		/* The memory is someone else's now. */
		ASSERT_EQ(0, onpu_bo_create(self->env.fd, size, variant->flags, 0, &big));
		data = onpu_bo_map(self->env.fd, big, size);
		ASSERT_NE(NULL, data);
		ASSERT_EQ(0, onpu_sync_wait(self->env.fd, self->env.sync));
		for (uint64_t i = 0; i < size / 4; i++) {
			if (data[i]) {
				ASSERT_EQ(0, data[i]);
			}
		}
		onpu_bo_unmap(data, size);
		ASSERT_EQ(0, onpu_bo_close(self->env.fd, big));
		ASSERT_EQ(0, onpu_env_new_queue(&self->env));
	}
}

TEST(create_and_destroy)
{
	struct drm_onpu_vm_create create = { .flags = 2 };
	struct drm_onpu_vm_destroy destroy = { 0 };
	int fd = onpu_open();
	uint32_t one, two;

	ASSERT_GE(fd, 0);
	EXPECT_EQ(-EINVAL, onpu_ioctl(fd, DRM_IOCTL_ONPU_VM_CREATE, &create));
	create.flags = 1u << 31;
	EXPECT_EQ(-EINVAL, onpu_ioctl(fd, DRM_IOCTL_ONPU_VM_CREATE, &create));
	EXPECT_EQ(-ENOENT, onpu_vm_destroy(fd, 0));
	EXPECT_EQ(-ENOENT, onpu_vm_destroy(fd, 1));
	EXPECT_EQ(-ENOENT, onpu_vm_destroy(fd, UINT32_MAX));
	ASSERT_EQ(0, onpu_vm_create(fd, &one));
	ASSERT_EQ(0, onpu_vm_create(fd, &two));
	EXPECT_NE(0, one);
	EXPECT_NE(one, two);
	destroy.id = one;
	destroy.pad = 1;
	EXPECT_EQ(-EINVAL, onpu_ioctl(fd, DRM_IOCTL_ONPU_VM_DESTROY, &destroy));
	EXPECT_EQ(0, onpu_vm_destroy(fd, one));
	EXPECT_EQ(-ENOENT, onpu_vm_destroy(fd, one));
	EXPECT_EQ(0, onpu_vm_destroy(fd, two));
	close(fd);
}

TEST(ids_belong_to_a_file)
{
	int fd = onpu_open(), other = onpu_open();
	uint32_t vm;

	ASSERT_GE(fd, 0);
	ASSERT_GE(other, 0);
	ASSERT_EQ(0, onpu_vm_create(fd, &vm));
	EXPECT_EQ(-ENOENT, onpu_vm_destroy(other, vm));
	EXPECT_EQ(0, onpu_vm_destroy(fd, vm));
	close(other);
	close(fd);
}

TEST(as_many_as_allowed)
{
	int ret = 0, fd = onpu_open();
	uint32_t cap = onpu_limits(fd).max_vms, count = 0;
	uint32_t *ids = calloc(cap + 1, sizeof(*ids));

	ASSERT_GE(fd, 0);
	ASSERT_NE(NULL, ids);
	while (count <= cap && !ret) {
		ret = onpu_vm_create(fd, &ids[count]);
		if (!ret)
			count++;
	}
	EXPECT_EQ(-ENOSPC, ret);
	EXPECT_GT(count, 1);
	EXPECT_LE(count, cap);
	ASSERT_EQ(0, onpu_vm_destroy(fd, ids[count / 2]));
	EXPECT_EQ(0, onpu_vm_create(fd, &ids[count / 2]));
	EXPECT_EQ(-ENOSPC, onpu_vm_create(fd, &ids[0]));
	close(fd);
	free(ids);
}

TEST_HARNESS_MAIN

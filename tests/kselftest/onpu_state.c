// SPDX-License-Identifier: GPL-2.0-only
/* What an address space tells of itself: mappings, page tables, faults. */
#include "kselftest_harness.h"

#include "onpu_kselftest.h"

#define VA 0x40000000ull

static struct drm_onpu_vm_get_state vm_state(int fd, uint32_t vm)
{
	struct drm_onpu_vm_get_state state = { .id = vm };

	if (onpu_ioctl(fd, DRM_IOCTL_ONPU_VM_GET_STATE, &state))
		memset(&state, 0xff, sizeof(state));
	return state;
}

FIXTURE(state)
{
	struct onpu_env env;
	struct drm_onpu_query_memory before;
	struct drm_onpu_vm_get_state start;
	uint32_t handle;
};

FIXTURE_SETUP(state)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	ASSERT_EQ(0, onpu_env_on(&self->env, fd));
	ASSERT_EQ(0, onpu_bo_create(fd, MIB(4), DRM_ONPU_BO_SYSTEM, 0, &self->handle));
	self->start = vm_state(fd, self->env.vm);
}

FIXTURE_TEARDOWN(state)
{
	onpu_env_fini(&self->env);
	onpu_unmap_all();
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

TEST_F(state, of_a_new_one)
{
	struct drm_onpu_vm_get_state state;
	uint32_t vm;

	ASSERT_EQ(0, onpu_vm_create(self->env.fd, &vm));
	state = vm_state(self->env.fd, vm);
	EXPECT_EQ(0, state.flags);
	EXPECT_EQ(0, state.faults);
	EXPECT_EQ(0, state.fault_queue);
	EXPECT_EQ(0, state.mappings);
	EXPECT_EQ(0, state.mapped_bytes);
	EXPECT_EQ(4096, state.table_bytes);
	EXPECT_EQ(0, onpu_vm_destroy(self->env.fd, vm));
	EXPECT_EQ(-ENOENT, onpu_ioctl(self->env.fd, DRM_IOCTL_ONPU_VM_GET_STATE, &state));
	state.id = 0;
	EXPECT_EQ(-ENOENT, onpu_ioctl(self->env.fd, DRM_IOCTL_ONPU_VM_GET_STATE, &state));
}

TEST_F(state, counts_mappings)
{
	struct drm_onpu_vm_get_state *start = &self->start, state;
	int fd = self->env.fd;
	uint32_t vm = self->env.vm;

	/* The environment's own. */
	EXPECT_EQ(1, start->mappings);
	EXPECT_EQ(self->env.cmd.size, start->mapped_bytes);
	ASSERT_EQ(0, onpu_map(fd, vm, self->handle, 0, VA, 16 * PAGE, 0));
	state = vm_state(fd, vm);
	EXPECT_EQ(start->mappings + 1, state.mappings);
	EXPECT_EQ(start->mapped_bytes + 16 * PAGE, state.mapped_bytes);
	/* A hole makes two of one, a map into it three, over all one. */
	ASSERT_EQ(0, onpu_unmap(fd, vm, VA + 4 * PAGE, 2 * PAGE));
	state = vm_state(fd, vm);
	EXPECT_EQ(start->mappings + 2, state.mappings);
	EXPECT_EQ(start->mapped_bytes + 14 * PAGE, state.mapped_bytes);
	ASSERT_EQ(0, onpu_map(fd, vm, self->handle, 0, VA + 4 * PAGE, 2 * PAGE, 0));
	EXPECT_EQ(start->mappings + 3, vm_state(fd, vm).mappings);
	ASSERT_EQ(0, onpu_map(fd, vm, self->handle, 0, VA, 16 * PAGE, 0));
	state = vm_state(fd, vm);
	EXPECT_EQ(start->mappings + 1, state.mappings);
	EXPECT_EQ(start->mapped_bytes + 16 * PAGE, state.mapped_bytes);
	ASSERT_EQ(0, onpu_map(fd, vm, self->handle, 0, VA + 15 * PAGE, 2 * PAGE, 0));
	state = vm_state(fd, vm);
	EXPECT_EQ(start->mappings + 2, state.mappings);
	EXPECT_EQ(start->mapped_bytes + 17 * PAGE, state.mapped_bytes);
	ASSERT_EQ(0, onpu_unmap(fd, vm, VA, MIB(1)));
	state = vm_state(fd, vm);
	EXPECT_EQ(start->mappings, state.mappings);
	EXPECT_EQ(start->mapped_bytes, state.mapped_bytes);
	EXPECT_EQ(start->table_bytes, state.table_bytes);
}

TEST_F(state, page_tables_are_freed)
{
	struct drm_onpu_query_memory memory = onpu_memory(self->env.fd);
	uint64_t most = 0;

	for (int round = 0; round < 3; round++) {
		for (uint64_t va = 1ull << 32; va < 1ull << 46; va <<= 1) {
			ASSERT_EQ(0, onpu_map(self->env.fd, self->env.vm, self->handle, 0, va + PAGE,
					      PAGE, 0));
		}
		most = vm_state(self->env.fd, self->env.vm).table_bytes;
		EXPECT_GT(most, self->start.table_bytes + 14 * 2 * 4096);
		EXPECT_EQ(memory.vram_used + most - self->start.table_bytes,
			  onpu_memory(self->env.fd).vram_used);
		/* One by one, or all at a time. */
		for (uint64_t va = 1ull << 32; round && va < 1ull << 46; va <<= 1) {
			ASSERT_EQ(0, onpu_unmap(self->env.fd, self->env.vm, va, 2 * PAGE));
		}
		ASSERT_EQ(0, onpu_unmap(self->env.fd, self->env.vm, 1ull << 32,
					(1ull << 46) - (1ull << 32)));
		EXPECT_EQ(self->start.table_bytes,
			  vm_state(self->env.fd, self->env.vm).table_bytes);
		EXPECT_EQ(memory.vram_used, onpu_memory(self->env.fd).vram_used);
	}
}

TEST_F(state, tells_the_last_fault)
{
	struct drm_onpu_vm_get_state state;
	struct onpu_buf buf;
	uint32_t queues[3];

	ASSERT_EQ(0, onpu_buf_new(&self->env, PAGE, DRM_ONPU_BO_VRAM, &buf));
	for (uint32_t i = 0; i < 3; i++) {
		uint64_t va = VA + i * MIB(64);

		queues[i] = self->env.queue;
		onpu_add(&self->env, i == 2 ? pkt_copy(buf.va, va, 64) : pkt_fill(va, 64, 0));
		EXPECT_EQ(-EFAULT, onpu_run(&self->env));
		state = vm_state(self->env.fd, self->env.vm);
		EXPECT_EQ(DRM_ONPU_VM_FAULTED, state.flags);
		EXPECT_EQ(i + 1, state.faults);
		EXPECT_EQ(va, state.fault_va);
		EXPECT_EQ(queues[i], state.fault_queue);
		EXPECT_EQ(ONPU_FAULT_NOT_PRESENT, ONPU_FAULT_INFO_REASON(state.fault_info));
		EXPECT_EQ(i == 2 ? ONPU_FAULT_ACCESS_READ : ONPU_FAULT_ACCESS_WRITE,
			  ONPU_FAULT_INFO_ACCESS(state.fault_info));
		ASSERT_EQ(0, onpu_env_new_queue(&self->env));
	}
	/* Others have nothing to do with it. */
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_nop()));
	EXPECT_EQ(3, vm_state(self->env.fd, self->env.vm).faults);
}

/* Translations that the card has at hand are of no use after an unmap. */
TEST_F(state, stale_translations_fault)
{
	for (int round = 0; round < 20; round++) {
		uint64_t size = round % 2 ? MIB(2) : PAGE, va = VA + round * MIB(8);

		ASSERT_EQ(0, onpu_map(self->env.fd, self->env.vm, self->handle, 0, va, size, 0));
		for (int i = 0; i < 3; i++) {
			ASSERT_EQ(0, onpu_run_one(&self->env, pkt_fill(va, size, i)));
		}
		/* Together with a job that was there before. */
		onpu_add(&self->env, pkt_fill(va, size, 1));
		ASSERT_EQ(0, onpu_start(&self->env, 0, self->env.sync));
		ASSERT_EQ(0, onpu_sync_wait(self->env.fd, self->env.sync));
		ASSERT_EQ(0, onpu_unmap(self->env.fd, self->env.vm, va, size));
		EXPECT_EQ(-EFAULT, onpu_run_one(&self->env, pkt_fill(va + size - 64, 64, 9)));
		EXPECT_EQ(round + 1, vm_state(self->env.fd, self->env.vm).faults);
		ASSERT_EQ(0, onpu_env_new_queue(&self->env));
	}
}

/* Mappings without memory. */
TEST_F(state, nothing_mapped)
{
	int fd = self->env.fd;
	uint32_t vm = self->env.vm;
	struct drm_onpu_bind_op op = {
		.type = DRM_ONPU_BIND_MAP, .flags = DRM_ONPU_BIND_NULL, .va = VA, .size = MIB(8),
	};
	struct drm_onpu_query_memory memory = onpu_memory(fd);
	struct drm_onpu_vm_get_state state;
	struct onpu_buf buf;
	uint64_t *data;

	ASSERT_EQ(0, onpu_buf_new(&self->env, MIB(4), DRM_ONPU_BO_VRAM, &buf));
	data = buf.cpu;
	ASSERT_EQ(0, onpu_bind(fd, vm, &op, 1, NULL));
	state = vm_state(fd, vm);
	EXPECT_EQ(self->start.mappings + 2, state.mappings);
	EXPECT_EQ(self->start.mapped_bytes + MIB(12), state.mapped_bytes);
	/* Large pages: the two tables above them at most. */
	EXPECT_LE(onpu_memory(fd).vram_used, memory.vram_used + MIB(4) + 4 * 4096);
	memset(buf.cpu, 0xff, MIB(4));
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_copy(VA + 4096, buf.va, MIB(4))));
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_copy(buf.va, VA + 4096, MIB(4))));
	for (uint64_t i = 0; i < MIB(4) / 8; i++)
		ASSERT_EQ(0, data[i]);
	/* A hole in it, memory in the hole, and what is left is nothing still. */
	ASSERT_EQ(0, onpu_unmap(fd, vm, VA + MIB(1), PAGE));
	EXPECT_EQ(self->start.mappings + 3, vm_state(fd, vm).mappings);
	EXPECT_EQ(-EFAULT, onpu_run_one(&self->env, pkt_fill(VA + MIB(1), 64, 1)));
	ASSERT_EQ(0, onpu_env_new_queue(&self->env));
	ASSERT_EQ(0, onpu_map(fd, vm, self->handle, 0, VA + MIB(1), PAGE, 0));
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_fill(VA, MIB(4), 0x01010101)));
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_copy(buf.va, VA, MIB(4))));
	for (uint64_t i = 0; i < MIB(4) / 8; i++)
		ASSERT_EQ(i / 512 == MIB(1) / PAGE ? 0x0101010101010101ull : 0, data[i]);
	/* Nothing over memory, and memory over nothing. */
	op.va = buf.va;
	op.size = MIB(4);
	op.flags |= DRM_ONPU_BIND_READONLY;
	ASSERT_EQ(0, onpu_bind(fd, vm, &op, 1, NULL));
	EXPECT_EQ(-EFAULT, onpu_run_one(&self->env, pkt_fill(buf.va, 64, 1)));
	EXPECT_EQ(ONPU_FAULT_PERMISSION,
		  ONPU_FAULT_INFO_REASON(vm_state(fd, vm).fault_info));
	ASSERT_EQ(0, onpu_env_new_queue(&self->env));
	ASSERT_EQ(0, onpu_map(fd, vm, buf.handle, 0, buf.va, MIB(4), 0));
	EXPECT_EQ(0x0101010101010101ull, data[MIB(1) / 8]);
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_copy(buf.va, VA, MIB(1))));
	ASSERT_EQ(0, onpu_unmap(fd, vm, VA, MIB(8)));
	ASSERT_EQ(0, onpu_unmap(fd, vm, buf.va, MIB(4)));
	EXPECT_EQ(self->start.mappings, vm_state(fd, vm).mappings);
	EXPECT_EQ(self->start.table_bytes, vm_state(fd, vm).table_bytes);
}

TEST_F(state, nothing_mapped_wrongly)
{
	struct drm_onpu_bind_op op = {
		.type = DRM_ONPU_BIND_MAP, .flags = DRM_ONPU_BIND_NULL, .va = VA, .size = PAGE,
	}, bad;

	bad = op;
	bad.handle = self->handle;
	EXPECT_EQ(-EINVAL, onpu_bind(self->env.fd, self->env.vm, &bad, 1, NULL));
	bad = op;
	bad.bo_offset = PAGE;
	EXPECT_EQ(-EINVAL, onpu_bind(self->env.fd, self->env.vm, &bad, 1, NULL));
	bad = op;
	bad.size = (1ull << 40) + PAGE;
	EXPECT_EQ(-EINVAL, onpu_bind(self->env.fd, self->env.vm, &bad, 1, NULL));
	bad = op;
	bad.type = DRM_ONPU_BIND_UNMAP;
	EXPECT_EQ(-EINVAL, onpu_bind(self->env.fd, self->env.vm, &bad, 1, NULL));
	/* The address space goes with it. */
	EXPECT_EQ(0, onpu_bind(self->env.fd, self->env.vm, &op, 1, NULL));
}

/* An operand of zeros that takes no memory. */
TEST_F(state, products_with_nothing)
{
	struct onpu_matmul_desc *desc = (void *)&self->env.packets[600];
	struct drm_onpu_bind_op op = {
		.type = DRM_ONPU_BIND_MAP, .flags = DRM_ONPU_BIND_NULL, .va = VA, .size = MIB(2),
	};
	struct onpu_buf a, d;
	float *in, *out;

	ASSERT_EQ(0, onpu_bind(self->env.fd, self->env.vm, &op, 1, NULL));
	ASSERT_EQ(0, onpu_buf_new(&self->env, 64 * 64 * 4, DRM_ONPU_BO_VRAM, &a));
	ASSERT_EQ(0, onpu_buf_new(&self->env, 64 * 64 * 4, DRM_ONPU_BO_VRAM, &d));
	in = a.cpu;
	out = d.cpu;
	for (int i = 0; i < 64 * 64; i++) {
		in[i] = (float)i;
		out[i] = -1;
	}
	memset(desc, 0, sizeof(*desc));
	desc->m = 64;
	desc->n = 64;
	desc->k = 64;
	desc->lda = 64;
	desc->ldb = 64;
	desc->ldd = 64;
	desc->a_type = ONPU_DTYPE_F32;
	desc->b_type = ONPU_DTYPE_F32;
	desc->d_type = ONPU_DTYPE_F32;
	desc->a_va = a.va;
	desc->b_va = VA + 4096;
	desc->d_va = d.va;
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_matmul(self->env.cmd.va + 64 * 600)));
	for (int i = 0; i < 64 * 64; i++)
		ASSERT_EQ(0, out[i]);
	/* Into nothing as well. */
	desc->d_va = VA;
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_matmul(self->env.cmd.va + 64 * 600)));
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Jobs that go wrong: each kills its own queue, tells why, and nothing else
 * stops. Another address space computes during every test and is checked at its end.
 */
#include "kselftest_harness.h"

#include <sys/wait.h>

#include "onpu_kselftest.h"

#define KERNEL_HALF (1ull << 47)

FIXTURE(fault)
{
	struct onpu_env env, other;
	struct onpu_buf data;
	struct drm_onpu_queue_get_state state;
	struct drm_onpu_query_memory before;
};

FIXTURE_SETUP(fault)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	ASSERT_EQ(0, onpu_env_on(&self->env, fd));
	ASSERT_EQ(0, onpu_env_init(&self->other));
	ASSERT_EQ(0, onpu_buf_new(&self->env, KIB(64), DRM_ONPU_BO_VRAM, &self->data));
	/* A job that is in flight during the whole test. */
	onpu_add(&self->other, pkt_wait(self->other.cmd.va + 64 * 100, ONPU_WAIT_EQ, 1));
	onpu_add(&self->other, pkt_signal(self->other.cmd.va + 64 * 101, 0x600d));
	ASSERT_EQ(0, onpu_start(&self->other, 0, self->other.sync));
}

FIXTURE_TEARDOWN(fault)
{
	struct drm_onpu_queue_get_state state;

	*(volatile uint64_t *)&self->other.packets[100] = 1;
	EXPECT_EQ(0, onpu_sync_wait(self->other.fd, self->other.sync));
	EXPECT_EQ(1, onpu_sync_status(self->other.fd, self->other.sync));
	EXPECT_EQ(0x600d, *(volatile uint64_t *)&self->other.packets[101]);
	EXPECT_EQ(0, onpu_queue_state(self->other.fd, self->other.queue, &state));
	EXPECT_EQ(0, state.flags);
	onpu_env_fini(&self->other);
	onpu_env_fini(&self->env);
	onpu_unmap_all();
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

/* Runs a packet that must fault so. */
#define FAULTS(packet, va, access, reason) do {					\
		EXPECT_NE(0, onpu_run_one(&self->env, packet));			\
		ASSERT_EQ(0, onpu_queue_state(self->env.fd, self->env.queue, &self->state)); \
		EXPECT_EQ(DRM_ONPU_QUEUE_DEAD | DRM_ONPU_QUEUE_FAULT, self->state.flags); \
		EXPECT_EQ(ONPU_ERR_FAULT, self->state.error);			\
		EXPECT_EQ(va, self->state.fault_va);				\
		EXPECT_EQ(access, ONPU_FAULT_INFO_ACCESS(self->state.fault_info)); \
		EXPECT_EQ(reason, ONPU_FAULT_INFO_REASON(self->state.fault_info)); \
		EXPECT_EQ(0, self->state.pad);					\
		ASSERT_EQ(0, onpu_env_new_queue(&self->env));			\
	} while (0)

#define READ ONPU_FAULT_ACCESS_READ
#define WRITE ONPU_FAULT_ACCESS_WRITE
#define FETCH ONPU_FAULT_ACCESS_FETCH

TEST_F(fault, unmapped_reads)
{
	uint64_t va = self->data.va + self->data.size;

	FAULTS(pkt_copy(self->data.va, va, 8), va, READ, ONPU_FAULT_NOT_PRESENT);
	EXPECT_EQ(ONPU_OP_COPY, self->state.opcode);
	FAULTS(pkt_copy(self->data.va, va - 4, 8), va, READ, ONPU_FAULT_NOT_PRESENT);
	FAULTS(pkt_copy(self->data.va, 0, 8), 0, READ, ONPU_FAULT_NOT_PRESENT);
	FAULTS(pkt_wait(va, ONPU_WAIT_EQ, 1), va, READ, ONPU_FAULT_NOT_PRESENT);
	FAULTS(pkt_matmul(va), va, READ, ONPU_FAULT_NOT_PRESENT);
	EXPECT_EQ(ONPU_OP_MATMUL, self->state.opcode);
}

TEST_F(fault, unmapped_writes)
{
	uint64_t va = self->data.va + self->data.size;

	FAULTS(pkt_copy(va, self->data.va, 8), va, WRITE, ONPU_FAULT_NOT_PRESENT);
	FAULTS(pkt_fill(va, 8, 1), va, WRITE, ONPU_FAULT_NOT_PRESENT);
	FAULTS(pkt_fill(va - 4, 8, 1), va, WRITE, ONPU_FAULT_NOT_PRESENT);
	FAULTS(pkt_signal(va, 1), va, WRITE, ONPU_FAULT_NOT_PRESENT);
	FAULTS(pkt_timestamp(va), va, WRITE, ONPU_FAULT_NOT_PRESENT);
}

TEST_F(fault, operands_of_products)
{
	struct onpu_matmul_desc desc = {
		.a_type = ONPU_DTYPE_F32, .b_type = ONPU_DTYPE_F32, .d_type = ONPU_DTYPE_F32,
		.m = 8, .n = 8, .k = 8, .lda = 8, .ldb = 8, .ldd = 8,
		.a_va = self->data.va + 4096, .b_va = self->data.va + 8192,
		.d_va = self->data.va + 12288,
	};
	uint64_t hole = self->data.va + self->data.size;

	memcpy(self->data.cpu, &desc, sizeof(desc));
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_matmul(self->data.va)));
	((struct onpu_matmul_desc *)self->data.cpu)->a_va = hole;
	FAULTS(pkt_matmul(self->data.va), hole, READ, ONPU_FAULT_NOT_PRESENT);
	((struct onpu_matmul_desc *)self->data.cpu)->a_va = desc.a_va;
	((struct onpu_matmul_desc *)self->data.cpu)->b_va = hole - 32;
	FAULTS(pkt_matmul(self->data.va), hole, READ, ONPU_FAULT_NOT_PRESENT);
	((struct onpu_matmul_desc *)self->data.cpu)->b_va = desc.b_va;
	((struct onpu_matmul_desc *)self->data.cpu)->d_va = hole;
	FAULTS(pkt_matmul(self->data.va), hole, WRITE, ONPU_FAULT_NOT_PRESENT);
}

TEST_F(fault, unmapped_commands)
{
	uint64_t va = self->data.va + self->data.size;
	uint32_t sync = self->env.sync;

	ASSERT_EQ(0, onpu_submit(self->env.fd, self->env.queue, va, 1, 0, sync));
	ASSERT_EQ(0, onpu_sync_wait(self->env.fd, sync));
	EXPECT_GT(0, onpu_sync_status(self->env.fd, sync));
	ASSERT_EQ(0, onpu_queue_state(self->env.fd, self->env.queue, &self->state));
	EXPECT_EQ(DRM_ONPU_QUEUE_DEAD | DRM_ONPU_QUEUE_FAULT, self->state.flags);
	EXPECT_EQ(va, self->state.fault_va);
	EXPECT_EQ(FETCH, ONPU_FAULT_INFO_ACCESS(self->state.fault_info));
}

TEST_F(fault, read_only_writes)
{
	uint64_t va = 1ull << 40;

	ASSERT_EQ(0, onpu_map(self->env.fd, self->env.vm, self->data.handle, 0, va, PAGE,
			      DRM_ONPU_BIND_READONLY));
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_copy(self->data.va + 8, va, 8)));
	FAULTS(pkt_fill(va, 4, 1), va, WRITE, ONPU_FAULT_PERMISSION);
	FAULTS(pkt_copy(va + 8, self->data.va, 8), va + 8, WRITE, ONPU_FAULT_PERMISSION);
	FAULTS(pkt_signal(va + 16, 1), va + 16, WRITE, ONPU_FAULT_PERMISSION);
}

TEST_F(fault, addresses_that_do_not_exist)
{
	FAULTS(pkt_copy(self->data.va, 1ull << 48, 8), 1ull << 48, READ, ONPU_FAULT_VA_RANGE);
	FAULTS(pkt_fill(1ull << 63, 8, 1), 1ull << 63, WRITE, ONPU_FAULT_VA_RANGE);
	FAULTS(pkt_signal(UINT64_MAX - 7, 1), UINT64_MAX - 7, WRITE, ONPU_FAULT_VA_RANGE);
}

/*
 * The kernel keeps rings and fences in the upper half. The pages are really there,
 * whatever their addresses are: all are tried that the layout makes likely, and none
 * may be readable or writable by a job.
 */
TEST_F_TIMEOUT(fault, the_kernels_half_is_closed, 120)
{
	static const uint64_t steps[] = { 0, PAGE, 2 * PAGE, KIB(64), MIB(1), MIB(2), MIB(2) + PAGE,
					  MIB(4), MIB(1024) };
	unsigned int privilege = 0;

	for (size_t i = 0; i < 2 * sizeof(steps) / sizeof(steps[0]); i++) {
		uint64_t va = KERNEL_HALF + steps[i / 2];
		bool write = i & 1;

		EXPECT_NE(0, onpu_run_one(&self->env, write ? pkt_fill(va, 4, 0xbad) :
					  pkt_copy(self->data.va, va, 4)));
		ASSERT_EQ(0, onpu_queue_state(self->env.fd, self->env.queue, &self->state));
		EXPECT_EQ(ONPU_ERR_FAULT, self->state.error);
		EXPECT_EQ(va, self->state.fault_va);
		EXPECT_EQ(write ? WRITE : READ, ONPU_FAULT_INFO_ACCESS(self->state.fault_info));
		privilege += ONPU_FAULT_INFO_REASON(self->state.fault_info) == ONPU_FAULT_PRIVILEGE;
		ASSERT_EQ(0, onpu_env_new_queue(&self->env));
	}
	/* At least one address was one of the kernel's pages, so that the test tests something. */
	EXPECT_GT(privilege, 0);
}

#define MALFORMED(packet, code) do {						\
		EXPECT_NE(0, onpu_run_one(&self->env, packet));			\
		ASSERT_EQ(0, onpu_queue_state(self->env.fd, self->env.queue, &self->state)); \
		EXPECT_EQ(DRM_ONPU_QUEUE_DEAD | DRM_ONPU_QUEUE_BAD_PACKET, self->state.flags); \
		EXPECT_EQ(code, self->state.error) {				\
			TH_LOG("%s", #packet);					\
		}								\
		EXPECT_EQ(0, self->state.fault_va);				\
		ASSERT_EQ(0, onpu_env_new_queue(&self->env));			\
	} while (0)

TEST_F(fault, unknown_opcodes)
{
	static const uint8_t opcodes[] = { 0, ONPU_OP_COPY_2D + 1, 31, 32, 64, 128, 255 };

	for (size_t i = 0; i < sizeof(opcodes); i++) {
		MALFORMED(pkt_op(opcodes[i]), ONPU_ERR_OPCODE);
		EXPECT_EQ(opcodes[i], self->state.opcode);
	}
}

TEST_F(fault, malformed_packets)
{
	struct onpu_packet packet;
	uint64_t va = self->data.va;

#define BAD(make, change) do {							\
		packet = make;							\
		change;								\
		MALFORMED(packet, ONPU_ERR_PACKET);				\
	} while (0)
	BAD(pkt_nop(), packet.flags = ONPU_PKT_IRQ);
	BAD(pkt_nop(), packet.flags = 0x80);
	BAD(pkt_nop(), packet.reserved0 = 1);
	BAD(pkt_nop(), packet.reserved1 = 1);
	BAD(pkt_nop(), packet.none.reserved[6] = 1);
	BAD(pkt_op(ONPU_OP_BARRIER), packet.none.reserved[0] = 1);
	BAD(pkt_copy(va, va + 64, 8), packet.copy.reserved[3] = 1);
	BAD(pkt_copy(va, va + 64, 8), packet.flags = ONPU_PKT_IRQ);
	BAD(pkt_copy_2d(va, 8, va + 64, 8, 8, 2), packet.copy_2d.reserved32 = 1);
	BAD(pkt_copy_2d(va, 7, va + 64, 8, 8, 2), (void)0);
	BAD(pkt_copy_2d(va, 0, va, 0, 1, UINT32_MAX), (void)0);
	BAD(pkt_fill(va + 2, 8, 0), (void)0);
	BAD(pkt_fill(va, 6, 0), (void)0);
	BAD(pkt_fill(va, 8, 0), packet.fill.reserved32 = 1);
	BAD(pkt_wait(va + 4, ONPU_WAIT_EQ, 0), (void)0);
	BAD(pkt_wait(va, 6, 0), (void)0);
	BAD(pkt_wait(va, UINT32_MAX, 0), (void)0);
	BAD(pkt_wait(va, ONPU_WAIT_EQ, 0), packet.wait.reserved32 = 1);
	BAD(pkt_signal(va + 1, 0), (void)0);
	BAD(pkt_signal(va, 0), packet.flags = 2);
	BAD(pkt_signal(va, 0), packet.signal.reserved[0] = 1);
	BAD(pkt_timestamp(va + 4), (void)0);
	BAD(pkt_matmul(va + 32), (void)0);
	BAD(pkt_matmul(va), packet.matmul.reserved[0] = 1);
#undef BAD
}

TEST_F(fault, packets_before_the_bad_one_count)
{
	volatile uint64_t *words = self->data.cpu;

	onpu_add(&self->env, pkt_signal(self->data.va, 11));
	onpu_add(&self->env, pkt_op(99));
	onpu_add(&self->env, pkt_signal(self->data.va + 8, 22));
	EXPECT_NE(0, onpu_run(&self->env));
	EXPECT_EQ(11, words[0]);
	EXPECT_EQ(0, words[1]);
}

/* A job may signal with an interrupt of its own; it gains nothing by it. */
TEST_F(fault, an_interrupt_from_a_job_is_harmless)
{
	struct onpu_packet packet = pkt_signal(self->data.va, 1);

	packet.flags = ONPU_PKT_IRQ;
	for (int i = 0; i < 50; i++)
		onpu_add(&self->env, packet);
	EXPECT_EQ(0, onpu_run(&self->env));
	EXPECT_EQ(1, *(volatile uint64_t *)self->data.cpu);
}

TEST_F_TIMEOUT(fault, many_faults_in_many_queues, 120)
{
	uint32_t queues[8], syncs[8];

	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < 8; i++) {
			ASSERT_EQ(0, onpu_queue_create(self->env.fd, self->env.vm,
						       DRM_ONPU_PRIORITY_MEDIUM, &queues[i]));
			syncs[i] = onpu_sync_create(self->env.fd, false);
			self->env.packets[i] = i & 1 ? pkt_op(77) :
					       pkt_fill(self->data.va + self->data.size, 4, 1);
			ASSERT_EQ(0, onpu_submit(self->env.fd, queues[i],
						 self->env.cmd.va + 64 * i, 1, 0, syncs[i]));
		}
		for (int i = 0; i < 8; i++) {
			ASSERT_EQ(0, onpu_sync_wait(self->env.fd, syncs[i]));
			EXPECT_GT(0, onpu_sync_status(self->env.fd, syncs[i]));
			ASSERT_EQ(0, onpu_queue_state(self->env.fd, queues[i], &self->state));
			EXPECT_EQ(i & 1 ? ONPU_ERR_OPCODE : ONPU_ERR_FAULT, self->state.error);
			ASSERT_EQ(0, onpu_queue_destroy(self->env.fd, queues[i]));
			onpu_sync_destroy(self->env.fd, syncs[i]);
		}
	}
	EXPECT_EQ(0, onpu_run_one(&self->env, pkt_nop()));
}

TEST_HARNESS_MAIN

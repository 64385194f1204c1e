// SPDX-License-Identifier: GPL-2.0-only
/* Engine time: stamps of packets in jobs, who may write them where, and how busy the card was. */
#include "kselftest_harness.h"

#include "onpu_kselftest.h"

#define M 100
#define N 60
#define K 300
#define DESC 4096

FIXTURE(engines)
{
	struct onpu_env env;
	struct onpu_buf stamps, data;
	struct drm_onpu_query_engines before;
	struct drm_onpu_query_memory memory;
};

FIXTURE_VARIANT(engines)
{
	uint32_t stamps;
};

FIXTURE_VARIANT_ADD(engines, vram) { DRM_ONPU_BO_VRAM };
FIXTURE_VARIANT_ADD(engines, system) { DRM_ONPU_BO_SYSTEM };

static struct drm_onpu_query_engines engines(int fd)
{
	struct drm_onpu_query_engines q = { 0 };

	onpu_query(fd, DRM_ONPU_QUERY_ENGINES, &q, sizeof(q));
	return q;
}

FIXTURE_SETUP(engines)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->memory = onpu_memory(fd);
	ASSERT_EQ(0, onpu_env_on(&self->env, fd));
	ASSERT_EQ(0, onpu_buf_new(&self->env, PAGE, variant->stamps, &self->stamps));
	ASSERT_EQ(0, onpu_buf_new(&self->env, MIB(1), DRM_ONPU_BO_VRAM, &self->data));
	/* Clearing memory, and moving it to where the CPU reaches it, is the card's work as well: over. */
	*(volatile char *)self->stamps.cpu = 0;
	*(volatile char *)self->data.cpu = 0;
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_nop()));
	self->before = engines(fd);
	ASSERT_NE(0, self->before.vram_bandwidth);
}

FIXTURE_TEARDOWN(engines)
{
	onpu_env_fini(&self->env);
	onpu_unmap_all();
	EXPECT_TRUE(onpu_memory_is_back(&self->memory));
}

static struct onpu_packet stamped(struct onpu_packet packet, uint64_t va)
{
	packet.flags |= ONPU_PKT_STAMP;
	packet.stamp.va = va;
	return packet;
}

static struct onpu_packet matmul(struct onpu_buf *data)
{
	struct onpu_matmul_desc *desc = (void *)((char *)data->cpu + DESC);

	*desc = (struct onpu_matmul_desc){
		.a_type = ONPU_DTYPE_F32, .b_type = ONPU_DTYPE_F32, .d_type = ONPU_DTYPE_F32,
		.m = M, .n = N, .k = K, .a_va = data->va + KIB(8), .b_va = data->va + KIB(256),
		.d_va = data->va + KIB(512), .lda = K, .ldb = N, .ldd = N,
	};
	return pkt_matmul(data->va + DESC);
}

TEST_F(engines, stamps_of_a_job)
{
	volatile struct onpu_stamp *s = self->stamps.cpu;
	struct drm_onpu_query_engines after;

	onpu_add(&self->env, stamped(matmul(&self->data), self->stamps.va));
	onpu_add(&self->env, stamped(pkt_fill(self->data.va, 4096, 1), self->stamps.va + 64));
	onpu_add(&self->env, stamped(pkt_nop(), self->stamps.va + 128));
	ASSERT_EQ(0, onpu_run(&self->env));
	EXPECT_EQ(ONPU_OP_MATMUL, s[0].opcode);
	EXPECT_EQ(2 * M * N * K, s[0].ops);
	EXPECT_EQ(4 * (M * K + K * N + M * N), s[0].vram_bytes);
	EXPECT_EQ(self->before.macs_32, s[0].macs);
	EXPECT_GT(s[0].cores_ns, 0);
	EXPECT_GE(s[0].start, self->before.time_ns);
	EXPECT_GE(s[0].end - s[0].start, s[0].cores_ns);
	EXPECT_GT(s[0].end - s[0].start, self->before.packet_ns);
	EXPECT_EQ(ONPU_OP_FILL, s[1].opcode);
	EXPECT_EQ(4096, s[1].vram_bytes);
	EXPECT_EQ(s[0].end, s[1].start);
	EXPECT_EQ(s[1].end, s[2].start);
	EXPECT_EQ(s[2].start + self->before.packet_ns, s[2].end);
	EXPECT_EQ(0, s[3].end);

	after = engines(self->env.fd);
	EXPECT_EQ(s[0].cores_ns, after.cores_busy_ns - self->before.cores_busy_ns);
	EXPECT_EQ(s[0].vram_bytes + 4096, after.vram_bytes - self->before.vram_bytes);
	EXPECT_GE(after.time_ns, s[2].end);
	EXPECT_LE(after.vram_busy_ns - self->before.vram_busy_ns, after.time_ns - self->before.time_ns);
}

/* The time that work takes is the same whenever it runs. */
TEST_F(engines, it_takes_as_long_again)
{
	volatile struct onpu_stamp *s = self->stamps.cpu;
	uint64_t first;

	onpu_add(&self->env, stamped(matmul(&self->data), self->stamps.va));
	ASSERT_EQ(0, onpu_run(&self->env));
	first = s[0].end - s[0].start;
	for (int i = 0; i < 20; i++) {
		uint64_t end = s[0].end;

		onpu_add(&self->env, stamped(matmul(&self->data), self->stamps.va));
		ASSERT_EQ(0, onpu_run(&self->env));
		EXPECT_EQ(first, s[0].end - s[0].start);
		EXPECT_GE(s[0].start, end);
	}
}

TEST_F(engines, bytes_over_pcie)
{
	volatile struct onpu_stamp *s = self->stamps.cpu;
	struct onpu_buf host;

	ASSERT_EQ(0, onpu_buf_new(&self->env, MIB(1), DRM_ONPU_BO_SYSTEM, &host));
	onpu_add(&self->env, stamped(pkt_copy(self->data.va, host.va, 100000), self->stamps.va));
	onpu_add(&self->env, stamped(pkt_copy(host.va, self->data.va, 90000), self->stamps.va + 64));
	ASSERT_EQ(0, onpu_run(&self->env));
	EXPECT_EQ(100000, s[0].host_read_bytes);
	EXPECT_EQ(0, s[0].host_write_bytes);
	EXPECT_EQ(100000, s[0].vram_bytes);
	EXPECT_EQ(ONPU_ENGINE_HOST_READ, s[0].limit);
	EXPECT_EQ(90000, s[1].host_write_bytes);
	EXPECT_EQ(ONPU_ENGINE_HOST_WRITE, s[1].limit);
	/* As long as the bytes take, rounded up to nanoseconds. */
	EXPECT_EQ(self->before.packet_ns + (100000ull * 1000000000 + self->before.host_bandwidth - 1) /
		  self->before.host_bandwidth, s[0].end - s[0].start);
	onpu_buf_free(&self->env, &host);
}

/* A job that another one's end released comes after it, on whichever queue. */
TEST_F(engines, syncs_order_time)
{
	volatile struct onpu_stamp *s = self->stamps.cpu;
	uint32_t second, sync = onpu_sync_create(self->env.fd, false);

	ASSERT_EQ(0, onpu_queue_create(self->env.fd, self->env.vm, DRM_ONPU_PRIORITY_MEDIUM, &second));
	onpu_add(&self->env, stamped(matmul(&self->data), self->stamps.va));
	ASSERT_EQ(0, onpu_start(&self->env, 0, sync));
	self->env.packets[8] = stamped(pkt_nop(), self->stamps.va + 64);
	ASSERT_EQ(0, onpu_submit(self->env.fd, second, self->env.cmd.va + 8 * sizeof(struct onpu_packet),
				 1, sync, self->env.sync));
	EXPECT_EQ(0, onpu_sync_wait(self->env.fd, self->env.sync));
	EXPECT_GE(s[1].start, s[0].end);
	onpu_queue_destroy(self->env.fd, second);
	onpu_sync_destroy(self->env.fd, sync);
}

/* Stamps go where packets of the job may write, and nowhere else. */
TEST_F(engines, stamps_are_stores_of_the_job)
{
	struct drm_onpu_queue_get_state state;
	uint64_t readonly = self->stamps.va + MIB(64);
	struct drm_onpu_bind_op op = {
		.type = DRM_ONPU_BIND_MAP, .flags = DRM_ONPU_BIND_READONLY,
		.handle = self->stamps.handle, .va = readonly, .size = PAGE,
	};
	const uint64_t bad[] = { readonly, self->stamps.va + MIB(128), 1ull << 47, UINT64_MAX - 63 };

	ASSERT_EQ(0, onpu_bind(self->env.fd, self->env.vm, &op, 1, NULL));
	for (int i = 0; i < 4; i++) {
		volatile uint32_t *words = self->data.cpu;

		words[0] = 0;
		EXPECT_EQ(-EFAULT, onpu_run_one(&self->env,
						stamped(pkt_fill(self->data.va, 4, 77), bad[i])));
		ASSERT_EQ(0, onpu_queue_state(self->env.fd, self->env.queue, &state));
		EXPECT_EQ(ONPU_ERR_FAULT, state.error);
		EXPECT_EQ(bad[i], state.fault_va);
		EXPECT_EQ(ONPU_OP_FILL, state.opcode);
		EXPECT_EQ(77, words[0]);
		ASSERT_EQ(0, onpu_env_new_queue(&self->env));
	}
	EXPECT_EQ(-EINVAL, onpu_run_one(&self->env, stamped(pkt_nop(), self->stamps.va + 8)));
	ASSERT_EQ(0, onpu_env_new_queue(&self->env));
	EXPECT_EQ(-EINVAL, onpu_run_one(&self->env, stamped(pkt_signal(self->data.va, 1),
							    self->stamps.va)));
	ASSERT_EQ(0, onpu_env_new_queue(&self->env));
}

TEST_HARNESS_MAIN

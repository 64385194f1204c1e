// SPDX-License-Identifier: GPL-2.0-only
/* What jobs do: every packet, in card memory and in system memory, and products of every type. */
#include "kselftest_harness.h"

#include <math.h>

#include "onpu_kselftest.h"

FIXTURE(packet)
{
	struct onpu_env env;
	struct onpu_buf a, b;
	struct drm_onpu_query_memory before;
};

FIXTURE_VARIANT(packet)
{
	uint32_t a, b;
};

FIXTURE_VARIANT_ADD(packet, vram) { DRM_ONPU_BO_VRAM, DRM_ONPU_BO_VRAM };
FIXTURE_VARIANT_ADD(packet, system) { DRM_ONPU_BO_SYSTEM, DRM_ONPU_BO_SYSTEM };
FIXTURE_VARIANT_ADD(packet, system_to_vram) { DRM_ONPU_BO_SYSTEM, DRM_ONPU_BO_VRAM };
FIXTURE_VARIANT_ADD(packet, vram_to_system) { DRM_ONPU_BO_VRAM, DRM_ONPU_BO_SYSTEM };

#define SIZE MIB(4)

FIXTURE_SETUP(packet)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	ASSERT_EQ(0, onpu_env_on(&self->env, fd));
	ASSERT_EQ(0, onpu_buf_new(&self->env, SIZE, variant->a, &self->a));
	ASSERT_EQ(0, onpu_buf_new(&self->env, SIZE, variant->b, &self->b));
}

FIXTURE_TEARDOWN(packet)
{
	onpu_env_fini(&self->env);
	onpu_unmap_all();
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

TEST_F(packet, nop_and_barrier)
{
	onpu_add(&self->env, pkt_nop());
	onpu_add(&self->env, pkt_op(ONPU_OP_BARRIER));
	onpu_add(&self->env, pkt_nop());
	EXPECT_EQ(0, onpu_run(&self->env));
}

TEST_F(packet, fill)
{
	const uint64_t at[] = { 0, 4, 4092, 8192, 100000, MIB(2) - 4 };
	const uint64_t size[] = { 4, 8, 8, 4096, 70000, 8 };
	uint32_t *words = self->b.cpu;
	uint32_t *expected = calloc(1, SIZE);

	ASSERT_NE(NULL, expected);
	for (int i = 0; i < 6; i++) {
		onpu_add(&self->env, pkt_fill(self->b.va + at[i], size[i], 0x01020304u * (i + 1)));
		for (uint64_t j = 0; j < size[i] / 4; j++)
			expected[at[i] / 4 + j] = 0x01020304u * (i + 1);
	}
	onpu_add(&self->env, pkt_fill(self->b.va, 0, 0xffffffff));
	ASSERT_EQ(0, onpu_run(&self->env));
	EXPECT_EQ(0, memcmp(words, expected, SIZE));
	free(expected);
}

TEST_F(packet, copy)
{
	static const struct {
		uint64_t to, from, size;
	} copies[] = {
		{ 0, 0, 4096 }, { 4097, 1, 1 }, { 5001, 4095, 2 }, { 6000, 123, 777 },
		{ 8191, 8193, 4096 }, { 65536 + 3, 65536 + 5, 65536 + 7 },
		{ MIB(2) - 1000, MIB(2) - 999, 3000 }, { MIB(3), MIB(1), MIB(1) }, { 7, 7, 0 },
	};
	uint8_t *from = self->a.cpu, *to = self->b.cpu, *expected = calloc(1, SIZE);

	ASSERT_NE(NULL, expected);
	for (uint64_t i = 0; i < SIZE / 8; i++)
		((uint64_t *)(void *)from)[i] = (i + 1) * 0x9e3779b97f4a7c15ull;
	for (size_t i = 0; i < sizeof(copies) / sizeof(copies[0]); i++) {
		onpu_add(&self->env, pkt_copy(self->b.va + copies[i].to,
					      self->a.va + copies[i].from, copies[i].size));
		memcpy(expected + copies[i].to, from + copies[i].from, copies[i].size);
	}
	ASSERT_EQ(0, onpu_run(&self->env));
	EXPECT_EQ(0, memcmp(to, expected, SIZE));
	free(expected);
}

TEST_F(packet, copy_2d)
{
	static const struct {
		uint64_t to, to_pitch, from, from_pitch, bytes;
		uint32_t rows;
	} copies[] = {
		{ 0, 4096, 0, 4096, 4096, 10 }, { 50001, 333, 7, 1000, 222, 100 },
		{ 100000, 1, 5, 0, 1, 7777 }, { 200001, 9000, 4090, 3, 8999, 50 },
		{ MIB(2) - 1000, 4097, MIB(2) - 999, 5000, 4001, 100 }, { MIB(3), 0, 3, 0, MIB(1), 1 },
		{ 0, 0, 0, 0, 0, 1000 }, { 0, 8, 0, 8, 8, 0 },
	};
	uint8_t *from = self->a.cpu, *to = self->b.cpu, *expected = calloc(1, SIZE);

	ASSERT_NE(NULL, expected);
	for (uint64_t i = 0; i < SIZE / 8; i++)
		((uint64_t *)(void *)from)[i] = (i + 1) * 0x9e3779b97f4a7c15ull;
	for (size_t i = 0; i < sizeof(copies) / sizeof(copies[0]); i++) {
		onpu_add(&self->env, pkt_copy_2d(self->b.va + copies[i].to, copies[i].to_pitch,
						 self->a.va + copies[i].from, copies[i].from_pitch,
						 copies[i].bytes, copies[i].rows));
		for (uint64_t r = 0; r < copies[i].rows; r++)
			memcpy(expected + copies[i].to + r * copies[i].to_pitch,
			       from + copies[i].from + r * copies[i].from_pitch, copies[i].bytes);
	}
	ASSERT_EQ(0, onpu_run(&self->env));
	EXPECT_EQ(0, memcmp(to, expected, SIZE));
	free(expected);
}

TEST_F(packet, signal_and_wait)
{
	volatile uint64_t *words = self->b.cpu;
	static const struct {
		uint32_t op;
		uint64_t value, operand;
	} holds[] = {
		{ ONPU_WAIT_GE, 5, 5 }, { ONPU_WAIT_GE, UINT64_MAX, 1 }, { ONPU_WAIT_EQ, 7, 7 },
		{ ONPU_WAIT_NE, 7, 8 }, { ONPU_WAIT_GT, 1ull << 63, 5 }, { ONPU_WAIT_LE, 3, 3 },
		{ ONPU_WAIT_LE, 2, UINT64_MAX }, { ONPU_WAIT_LT, 2, 3 },
	};

	for (size_t i = 0; i < sizeof(holds) / sizeof(holds[0]); i++) {
		onpu_add(&self->env, pkt_signal(self->b.va + 8 * i, holds[i].value));
		onpu_add(&self->env, pkt_wait(self->b.va + 8 * i, holds[i].op, holds[i].operand));
	}
	ASSERT_EQ(0, onpu_run(&self->env));
	for (size_t i = 0; i < sizeof(holds) / sizeof(holds[0]); i++) {
		EXPECT_EQ(holds[i].value, words[i]);
	}
}

TEST_F(packet, the_cpu_releases_a_wait)
{
	volatile uint64_t *words = self->b.cpu;

	/* It comes to where the CPU reaches it, which it could not do under the job. */
	words[0] = 0;
	onpu_add(&self->env, pkt_wait(self->b.va, ONPU_WAIT_EQ, 0x1234));
	onpu_add(&self->env, pkt_signal(self->b.va + 8, 1));
	ASSERT_EQ(0, onpu_start(&self->env, 0, self->env.sync));
	EXPECT_EQ(-ETIME, onpu_sync_wait_for(self->env.fd, self->env.sync, 50000000));
	EXPECT_EQ(0, words[1]);
	words[0] = 0x1234;
	EXPECT_EQ(0, onpu_sync_wait(self->env.fd, self->env.sync));
	EXPECT_EQ(1, words[1]);
}

TEST_F(packet, timestamps_rise)
{
	volatile uint64_t *words = self->b.cpu;
	uint64_t before = onpu_device(self->env.fd).device_time_ns;

	for (int i = 0; i < 10; i++)
		onpu_add(&self->env, pkt_timestamp(self->b.va + 8 * i));
	ASSERT_EQ(0, onpu_run(&self->env));
	EXPECT_GE(words[0], before);
	for (int i = 1; i < 10; i++) {
		EXPECT_GE(words[i], words[i - 1]);
	}
	EXPECT_GE(onpu_device(self->env.fd).device_time_ns, words[9]);
}

TEST_F(packet, call_is_the_kernels)
{
	struct drm_onpu_queue_get_state state;
	struct onpu_packet packet = pkt_op(ONPU_OP_CALL);

	/* A job is called already, and calls do not nest. */
	packet.call.va = self->env.cmd.va + 64;
	packet.call.count = 1;
	EXPECT_NE(0, onpu_run_one(&self->env, packet));
	ASSERT_EQ(0, onpu_queue_state(self->env.fd, self->env.queue, &state));
	EXPECT_EQ(ONPU_ERR_CALL, state.error);
	EXPECT_NE(0, state.flags & DRM_ONPU_QUEUE_BAD_PACKET);
}

/* ---- products ----------------------------------------------------------- */

static float bits_float(uint32_t bits)
{
	float value;

	memcpy(&value, &bits, 4);
	return value;
}

static uint32_t float_bits(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, 4);
	return bits;
}

static float half_float(uint16_t half)
{
	float magnitude = ldexpf((float)(half & 0x3ff) + (half >> 10 & 31 ? 1024 : 0),
				 (half >> 10 & 31 ? half >> 10 & 31 : 1) - 25);

	return half & 0x8000 ? -magnitude : magnitude;
}

static unsigned int type_size(uint8_t type)
{
	return type == ONPU_DTYPE_I8 ? 1 : type == ONPU_DTYPE_F32 || type == ONPU_DTYPE_I32 ? 4 : 2;
}

static float element(uint8_t type, const void *matrix, uint64_t i)
{
	switch (type) {
	case ONPU_DTYPE_F32: return ((const float *)matrix)[i];
	case ONPU_DTYPE_BF16: return bits_float((uint32_t)((const uint16_t *)matrix)[i] << 16);
	case ONPU_DTYPE_F16: return half_float(((const uint16_t *)matrix)[i]);
	default: return ((const int8_t *)matrix)[i];
	}
}

/* Finite numbers whose sums round. */
static void fill_matrix(uint8_t type, void *matrix, uint64_t count, uint64_t seed)
{
	for (uint64_t i = 0; i < count; i++) {
		uint64_t r = (seed + i + 1) * 0x9e3779b97f4a7c15ull;

		r = (r ^ r >> 29) * 0xbf58476d1ce4e5b9ull;
		r ^= r >> 32;
		if (type == ONPU_DTYPE_F32)
			((uint32_t *)matrix)[i] = (uint32_t)((r & 0x81ffffff) + 0x3e000000);
		else if (type == ONPU_DTYPE_BF16)
			((uint16_t *)matrix)[i] = (uint16_t)((r & 0x81ff) + 0x3e00);
		else if (type == ONPU_DTYPE_F16)
			((uint16_t *)matrix)[i] = (uint16_t)((r & 0x8fff) + 0x3000);
		else
			((int8_t *)matrix)[i] = (int8_t)r;
	}
}

struct product {
	struct onpu_matmul_desc d;
	uint8_t *a, *b, *out;	/* CPU addresses of the matrices */
};

/* The bits of element (r, c), from the definition. */
static uint32_t expected_element(const struct product *p, const uint8_t *c_in, uint32_t r,
				 uint32_t c)
{
	bool integer = p->d.a_type == ONPU_DTYPE_I8;
	uint32_t sum = 0;
	float acc = 0;

	if (p->d.flags & ONPU_MATMUL_ACCUMULATE) {
		memcpy(&sum, c_in + (r * p->d.ldc + c) * 4, 4);
		acc = bits_float(sum);
	}
	for (uint32_t x = 0; x < p->d.k; x++) {
		uint64_t ia = p->d.flags & ONPU_MATMUL_TRANS_A ? x * p->d.lda + r : r * p->d.lda + x;
		uint64_t ib = p->d.flags & ONPU_MATMUL_TRANS_B ? c * p->d.ldb + x : x * p->d.ldb + c;
		float a = element(p->d.a_type, p->a, ia), b = element(p->d.b_type, p->b, ib);

		if (integer)
			sum += (uint32_t)((int32_t)a * (int32_t)b);
		else
			acc = fmaf(a, b, acc);
	}
	return integer ? sum : float_bits(acc);
}

FIXTURE(matmul)
{
	struct onpu_env env;
	struct onpu_buf desc, a, b, d;
	struct drm_onpu_query_memory before;
};

FIXTURE_VARIANT(matmul)
{
	uint8_t type;
};

FIXTURE_VARIANT_ADD(matmul, f32) { ONPU_DTYPE_F32 };
FIXTURE_VARIANT_ADD(matmul, bf16) { ONPU_DTYPE_BF16 };
FIXTURE_VARIANT_ADD(matmul, f16) { ONPU_DTYPE_F16 };
FIXTURE_VARIANT_ADD(matmul, i8) { ONPU_DTYPE_I8 };

FIXTURE_SETUP(matmul)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	ASSERT_EQ(0, onpu_env_on(&self->env, fd));
	ASSERT_EQ(0, onpu_buf_new(&self->env, PAGE, DRM_ONPU_BO_VRAM, &self->desc));
	ASSERT_EQ(0, onpu_buf_new(&self->env, MIB(1), DRM_ONPU_BO_VRAM, &self->a));
	ASSERT_EQ(0, onpu_buf_new(&self->env, MIB(1), DRM_ONPU_BO_SYSTEM, &self->b));
	ASSERT_EQ(0, onpu_buf_new(&self->env, MIB(1), DRM_ONPU_BO_VRAM, &self->d));
}

FIXTURE_TEARDOWN(matmul)
{
	onpu_env_fini(&self->env);
	onpu_unmap_all();
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

/* A product of @type with rows that are @gap elements longer than they need be. */
static void make_product(struct product *p, uint8_t type, uint32_t flags, uint32_t m, uint32_t n,
			 uint32_t k, uint32_t gap, struct onpu_buf *a, struct onpu_buf *b,
			 struct onpu_buf *d)
{
	uint8_t out = type == ONPU_DTYPE_I8 ? ONPU_DTYPE_I32 : ONPU_DTYPE_F32;
	/* Not at the start of the buffers, but aligned. */
	uint64_t offset = gap ? 3 * type_size(type) : 0;

	memset(p, 0, sizeof(*p));
	p->d.a_type = type;
	p->d.b_type = type;
	p->d.d_type = out;
	p->d.flags = flags;
	p->d.m = m;
	p->d.n = n;
	p->d.k = k;
	p->d.lda = (flags & ONPU_MATMUL_TRANS_A ? m : k) + gap;
	p->d.ldb = (flags & ONPU_MATMUL_TRANS_B ? k : n) + gap;
	p->d.ldd = n + gap;
	p->d.a_va = a->va + offset;
	p->d.b_va = b->va + offset;
	p->d.d_va = d->va;
	p->a = (uint8_t *)a->cpu + offset;
	p->b = (uint8_t *)b->cpu + offset;
	p->out = d->cpu;
	if (flags & ONPU_MATMUL_ACCUMULATE) {
		p->d.c_type = out;
		p->d.c_va = d->va;
		p->d.ldc = p->d.ldd;
	}
}

/* Runs it; returns how many elements are wrong, or a negative errno. */
static int run_product(struct onpu_env *env, struct onpu_buf *desc, struct product *p)
{
	uint64_t a_count = p->d.lda * (p->d.flags & ONPU_MATMUL_TRANS_A ? p->d.k : p->d.m);
	uint64_t b_count = p->d.ldb * (p->d.flags & ONPU_MATMUL_TRANS_B ? p->d.n : p->d.k);
	uint64_t d_count = p->d.ldd * p->d.m;
	uint8_t *before = malloc(d_count * 4);
	int wrong = 0, ret;

	fill_matrix(p->d.a_type, p->a, a_count, p->d.m);
	fill_matrix(p->d.b_type, p->b, b_count, p->d.n + 1000000);
	fill_matrix(ONPU_DTYPE_F32, p->out, d_count, 2000000);
	memcpy(before, p->out, d_count * 4);
	memcpy(desc->cpu, &p->d, sizeof(p->d));
	ret = onpu_run_one(env, pkt_matmul(desc->va));
	for (uint32_t r = 0; r < p->d.m && !ret; r++) {
		for (uint64_t c = 0; c < p->d.ldd; c++) {
			uint32_t got, expected;

			memcpy(&got, p->out + (r * p->d.ldd + c) * 4, 4);
			/* What is between the rows stays as it was. */
			memcpy(&expected, before + (r * p->d.ldd + c) * 4, 4);
			if (c < p->d.n)
				expected = expected_element(p, before, r, (uint32_t)c);
			wrong += got != expected;
		}
	}
	free(before);
	return ret ? ret : wrong;
}

TEST_F_TIMEOUT(matmul, sizes, 120)
{
	static const uint32_t dims[][3] = {
		{ 1, 1, 1 }, { 1, 1, 300 }, { 2, 3, 5 }, { 17, 19, 23 }, { 1, 64, 64 },
		{ 64, 1, 33 }, { 33, 65, 17 }, { 48, 40, 130 },
	};
	struct product p;

	for (size_t i = 0; i < sizeof(dims) / sizeof(dims[0]); i++) {
		make_product(&p, variant->type, 0, dims[i][0], dims[i][1], dims[i][2], 0,
			     &self->a, &self->b, &self->d);
		EXPECT_EQ(0, run_product(&self->env, &self->desc, &p)) {
			TH_LOG("%u x %u x %u", dims[i][0], dims[i][1], dims[i][2]);
		}
	}
}

TEST_F_TIMEOUT(matmul, transposes_strides_and_sums, 120)
{
	struct product p;

	for (uint32_t flags = 0; flags <= (ONPU_MATMUL_TRANS_A | ONPU_MATMUL_TRANS_B |
					   ONPU_MATMUL_ACCUMULATE); flags++) {
		make_product(&p, variant->type, flags, 21, 35, 27, 5, &self->a, &self->b, &self->d);
		EXPECT_EQ(0, run_product(&self->env, &self->desc, &p)) {
			TH_LOG("flags %u", flags);
		}
	}
}

TEST_F(matmul, bad_descriptors)
{
	struct drm_onpu_queue_get_state state;
	uint32_t dim_max = onpu_device(self->env.fd).dim_max;
	struct product p;
	int cases = 0;

#define BAD(member, value) do {							\
		make_product(&p, variant->type, 0, 4, 4, 4, 0, &self->a, &self->b, &self->d); \
		p.d.member = value;						\
		memcpy(self->desc.cpu, &p.d, sizeof(p.d));			\
		EXPECT_NE(0, onpu_run_one(&self->env, pkt_matmul(self->desc.va))); \
		EXPECT_EQ(0, onpu_queue_state(self->env.fd, self->env.queue, &state)); \
		EXPECT_EQ(ONPU_ERR_DESC, state.error) {				\
			TH_LOG(#member " = " #value);				\
		}								\
		EXPECT_EQ(ONPU_OP_MATMUL, state.opcode);			\
		EXPECT_EQ(DRM_ONPU_QUEUE_DEAD | DRM_ONPU_QUEUE_BAD_PACKET, state.flags); \
		ASSERT_EQ(0, onpu_env_new_queue(&self->env));			\
		cases++;							\
	} while (0)
	BAD(a_type, 0);
	BAD(a_type, 99);
	BAD(b_type, ONPU_DTYPE_I32);
	BAD(d_type, 0);
	BAD(d_type, ONPU_DTYPE_MX_E2M1);
	BAD(c_type, ONPU_DTYPE_F32);
	BAD(flags, 0x400);
	BAD(m, 0);
	BAD(n, 0);
	BAD(k, 0);
	BAD(m, dim_max + 1);
	BAD(k, UINT32_MAX);
	BAD(lda, 3);
	BAD(ldb, 0);
	BAD(ldd, 3);
	BAD(lda, ONPU_MATMUL_LD_MAX + 1);
	BAD(ldd, UINT64_MAX);
	BAD(c_va, 64);
	BAD(ldc, 4);
	BAD(reserved0, 1);
	BAD(b_zero_va, 1);
	BAD(reserved[1], 1ull << 63);
	BAD(d_va, self->d.va + 2);
#undef BAD
	EXPECT_EQ(23, cases);
}

TEST_HARNESS_MAIN

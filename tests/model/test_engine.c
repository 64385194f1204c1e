// SPDX-License-Identifier: MIT
/*
 * Engine time: the cost model against the rules of hardware.md written down once more, stamps of
 * every packet, what is counted where, several queues, and that neither host nor threads show.
 */
#include <stdlib.h>
#include <string.h>

#include "card_fixture.h"

#define VA	0x10000000ull
#define HOST_VA	0x20000000ull
#define SIZE	(4u << 20)
#define STAMPS	VA		/* the first page */
#define DESC	(VA + 4096)
#define DATA	(VA + 8192)

/* Round figures: a core cycle is 1 ns, 1 byte a ns of PCIe, 10 of card memory. */
static const struct onpu_speed slow = {
	.cores = 4, .clock_khz = 1000000, .macs = { 16, 64, 128, 256 }, .packet_ns = 100,
	.vram_bandwidth = 10000000000, .host_bandwidth = 1000000000,
};

struct env {
	struct fx *fx;
	struct fx_queue q;
	uint8_t *card;		/* SIZE at VA */
	uint8_t *host;		/* SIZE at HOST_VA */
};

static void start_with(struct env *e, const struct fx_opts *opts)
{
	uint64_t off;

	e->fx = fx_create(opts);
	fx_context(e->fx, 1);
	e->card = fx_buffer(e->fx, 1, VA, SIZE);
	off = fx_hostmem(e->fx, SIZE, 4096);
	fx_map(e->fx, 1, HOST_VA, off, SIZE, RW | ONPU_PTE_HOST);
	e->host = fx_hptr(e->fx, off);
	fx_queue_init(&e->q, e->fx, 0, 3, 1, 6, 0);
}

static void start(struct env *e)
{
	struct fx_opts opts = { .speed = slow };

	start_with(e, &opts);
}

static void finish(struct env *e)
{
	assert_int_equal(e->fx->guest_errors, 0);
	fx_destroy(e->fx);
}

static struct onpu_stamp stamp(struct env *e, unsigned int i)
{
	struct onpu_stamp s;

	memcpy(&s, e->card + i * sizeof(s), sizeof(s));
	return s;
}

static struct onpu_packet stamped(struct onpu_packet p, unsigned int i)
{
	p.flags |= ONPU_PKT_STAMP;
	p.stamp.va = STAMPS + i * sizeof(struct onpu_stamp);
	return p;
}

/* Runs a packet with a stamp. */
static struct onpu_stamp run(struct env *e, struct onpu_packet p)
{
	memset(e->card, 0xee, sizeof(struct onpu_stamp));
	p = stamped(p, 0);
	fx_submit(&e->q, &p);
	assert_int_equal(fx_settle(&e->q), ONPU_SLOT_IDLE);
	assert_int_equal(stamp(e, 0).opcode, p.opcode);
	assert_int_equal(stamp(e, 0).reserved, 0);
	return stamp(e, 0);
}

/* --- the arithmetic ------------------------------------------------------- */

static uint64_t up(uint64_t a, uint64_t b)
{
	return a / b + (a % b != 0);
}

static void times(void **state)
{
	static const uint32_t dims[] = { 1, 2, 15, 16, 17, 100, 1000, 4096, 262144 };
	struct onpu_speed s = slow;
	uint64_t ns[ONPU_ENGINES];

	(void)state;
	assert_true(onpu_speed_init(&s));
	for (unsigned int i = 0; i < ARRAY_SIZE(dims); i++)
		for (unsigned int j = 0; j < ARRAY_SIZE(dims); j++) {
			struct onpu_demand d = { .macs = 64 };
			uint64_t turns = up(up(dims[i], 16) * up(dims[j], 16), 4);

			onpu_cost_add_matmul(&d, dims[i], dims[j], dims[i]);
			d.bytes[ONPU_ENGINE_VRAM] = dims[j] * 1001ull;
			d.bytes[ONPU_ENGINE_HOST_READ] = dims[i];
			onpu_cost_times(&s, &d, ns);
			assert_true(ns[ONPU_ENGINE_CORES] == turns * up(dims[i] * 256ull, 64));
			assert_true(ns[ONPU_ENGINE_VRAM] == up(dims[j] * 1001ull, 10));
			assert_int_equal(ns[ONPU_ENGINE_HOST_READ], dims[i]);
			assert_int_equal(ns[ONPU_ENGINE_HOST_WRITE], 0);
			assert_int_equal(ns[ONPU_ENGINE_COPY], 0);
			assert_true(d.ops == 2ull * dims[i] * dims[j] * dims[i]);
		}
	/* Another clock; and what does not fit saturates. */
	struct onpu_demand big = { .macs = 1 };

	s.clock_khz = 1500000;
	onpu_cost_add_matmul(&big, 1, 1, 3);
	onpu_cost_times(&s, &big, ns);
	assert_int_equal(ns[ONPU_ENGINE_CORES], 512);
	for (unsigned int i = 0; i < 1u << 20; i++)
		onpu_cost_add_matmul(&big, 1u << 18, 1u << 18, 1u << 18);
	big.bytes[ONPU_ENGINE_VRAM] = UINT64_MAX;
	onpu_cost_times(&s, &big, ns);
	assert_true(big.ops == UINT64_MAX);
	assert_true(ns[ONPU_ENGINE_CORES] == ONPU_COST_MAX && ns[ONPU_ENGINE_VRAM] == ONPU_COST_MAX);
}

static void rates_of_types(void **state)
{
	struct onpu_speed s = { 0 };

	(void)state;
	assert_true(onpu_speed_init(&s));
	assert_int_equal(onpu_cost_macs(&s, 32, 4), 512);
	assert_int_equal(onpu_cost_macs(&s, 16, 32), 512);
	assert_int_equal(onpu_cost_macs(&s, 16, 16), 4096);
	assert_int_equal(onpu_cost_macs(&s, 16, 4), 4096);
	assert_int_equal(onpu_cost_macs(&s, 8, 8), 8192);
	assert_int_equal(onpu_cost_macs(&s, 6, 6), 8192);
	assert_int_equal(onpu_cost_macs(&s, 6, 4), 8192);
	assert_int_equal(onpu_cost_macs(&s, 4, 4), 16384);
}

static void speeds_out_of_range(void **state)
{
	static const struct onpu_speed bad[] = {
		{ .cores = 4097 }, { .clock_khz = 999 }, { .clock_khz = 10000001 },
		{ .macs = { 0, 0, (1u << 20) + 1, 0 } }, { .packet_ns = 1000000001 },
		{ .vram_bandwidth = 999999 }, { .host_bandwidth = (1ull << 50) + 1 },
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		struct onpu_speed s = bad[i];

		assert_false(onpu_speed_init(&s));
	}
}

/* Against counting byte by byte. */
static void bytes_of_rows(void **state)
{
	static const uint64_t shapes[][3] = {
		{ 1, 100, 0 }, { 1, 100, 7 }, { 3, 10, 10 }, { 5, 3, 8 }, { 2, 1, 50 }, { 7, 9, 11 },
		{ 4, 20, 0 }, { 9, 20, 1 }, { 6, 20, 7 }, { 3, 40, 30 }, { 12, 9, 8 },
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(shapes); i++) {
		uint64_t rows = shapes[i][0], len = shapes[i][1], stride = shapes[i][2];
		uint8_t in[128] = { 0 };

		for (uint64_t r = 0; r < rows; r++)
			for (uint64_t at = 0; at < len; at++)
				in[r * stride + at]++;
		for (uint64_t from = 0; from < 128; from++) {
			uint64_t count = 0;

			for (uint64_t to = from; to < 128; to++) {
				assert_true(onpu_cost_row_bytes(from, to, rows, len, stride) == count);
				count += in[to];
			}
		}
	}
}

/* --- single packets ------------------------------------------------------- */

static void plain_packets(void **state)
{
	struct env e;
	struct onpu_packet p[] = { pk_nop(), pk_barrier(), pk_timestamp(DATA),
				   pk_wait(DATA + 8, 0, ONPU_WAIT_EQ) };
	uint64_t end = 0;

	(void)state;
	start(&e);
	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++) {
		struct onpu_stamp s = run(&e, p[i]);

		assert_true(s.start == end && s.end == end + 100);
		assert_true(!s.ops && !s.vram_bytes && !s.host_read_bytes && !s.host_write_bytes &&
			    !s.cores_ns && !s.macs);
		assert_int_equal(s.limit, ONPU_ENGINES);
		end = s.end;
		assert_true(fx_rd64(e.fx, ONPU_REG_ENGINE_TIME) == end);
	}
	/* SIGNAL takes time too, but tells nobody. */
	p[0] = pk_signal(DATA, 1, false);
	fx_submit(&e.q, &p[0]);
	fx_settle(&e.q);
	assert_true(fx_rd64(e.fx, ONPU_REG_ENGINE_TIME) == end + 100);
	finish(&e);
}

static void refused(void **state)
{
	struct onpu_packet p[] = { pk_signal(DATA, 1, false), pk_call(DATA, 1), pk_nop(), pk_nop(),
				   pk_copy(DATA, DATA + 64, 64) };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++) {
		struct env e;

		start(&e);
		p[i] = stamped(p[i], 0);
		if (i == 2)
			p[i].stamp.va += 32;	/* misaligned */
		if (i == 3)
			p[i].flags &= ~ONPU_PKT_STAMP;	/* reserved bytes */
		if (i == 4)
			p[i].copy.reserved[0] = 1;
		fx_submit(&e.q, &p[i]);
		fx_expect_error(&e.q, ONPU_ERR_PACKET);
		assert_true(fx_rd64(e.fx, ONPU_REG_ENGINE_TIME) == 0);
		finish(&e);
	}
}

/* A stamp that cannot be stored: the packet has done its work, and the queue stops. */
static void stamp_faults(void **state)
{
	struct env e;
	struct onpu_packet p;

	(void)state;
	start(&e);
	p = stamped(pk_fill(DATA, 64, 0x01020304), 0);
	p.stamp.va = 0x5000;
	fx_submit(&e.q, &p);
	fx_expect_fault(&e.q, ONPU_FAULT_NOT_PRESENT, ONPU_FAULT_ACCESS_WRITE, 1, 0x5000);
	assert_int_equal(e.card[DATA - VA], 4);
	assert_int_equal(fx_slot(e.fx, 0, ONPU_SLOT_OPCODE), ONPU_OP_FILL);
	assert_int_equal(fx_slot(e.fx, 0, ONPU_SLOT_CONSUMER), 0);
	finish(&e);

	start(&e);
	p = stamped(pk_nop(), 0);
	p.stamp.va = 1ull << 48;
	fx_submit(&e.q, &p);
	fx_expect_fault(&e.q, ONPU_FAULT_VA_RANGE, ONPU_FAULT_ACCESS_WRITE, 3, 1ull << 48);
	finish(&e);
}

/* Behind the control block: only for the privileged. */
#define CTL_VA(q)	((q)->ring_va + (1u << 30) + 64)

/* Called packets have no privilege, and neither has their stamp. */
static void stamp_rights(void **state)
{
	struct env e;
	struct onpu_packet p;

	(void)state;
	start(&e);
	fx_queue_init(&e.q, e.fx, 1, 4, 1, 4, ONPU_QUEUE_PRIVILEGED);
	p = stamped(pk_nop(), 0);
	p.stamp.va = CTL_VA(&e.q);
	fx_submit(&e.q, &p);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	memcpy(e.card + (DATA - VA), &p, sizeof(p));
	p = pk_call(DATA, 1);
	fx_submit(&e.q, &p);
	fx_expect_fault(&e.q, ONPU_FAULT_PRIVILEGE, ONPU_FAULT_ACCESS_WRITE, 0, CTL_VA(&e.q));
	finish(&e);
}

static void stamp_in_host_memory(void **state)
{
	struct env e;
	struct onpu_packet p = pk_nop();
	struct onpu_stamp s;

	(void)state;
	for (unsigned int async = 0; async < 2; async++) {
		struct fx_opts opts = { .speed = slow, .dma = async ? FX_DMA_ASYNC : FX_DMA_SYNC };

		start_with(&e, &opts);
		p.flags = ONPU_PKT_STAMP;
		p.stamp.va = HOST_VA + 4096 - 64;
		fx_submit(&e.q, &p);
		fx_settle(&e.q);
		memcpy(&s, e.host + 4096 - 64, sizeof(s));
		assert_true(s.start == 0 && s.end == 100 && s.opcode == ONPU_OP_NOP);
		finish(&e);
	}
}

static void copies(void **state)
{
	struct env e;
	struct onpu_stamp s;

	(void)state;
	start(&e);
	s = run(&e, pk_copy(DATA, DATA + 100000, 50001));
	assert_true(s.end - s.start == 100 + up(2 * 50001, 10));
	assert_int_equal(s.vram_bytes, 2 * 50001);
	assert_int_equal(s.limit, ONPU_ENGINE_VRAM);
	s = run(&e, pk_copy(DATA, HOST_VA + 1, 50000));
	assert_true(s.end - s.start == 100 + 50000);
	assert_true(s.vram_bytes == 50000 && s.host_read_bytes == 50000 && !s.host_write_bytes);
	assert_int_equal(s.limit, ONPU_ENGINE_HOST_READ);
	s = run(&e, pk_copy(HOST_VA, DATA, 50000));
	assert_true(s.vram_bytes == 50000 && !s.host_read_bytes && s.host_write_bytes == 50000);
	assert_int_equal(s.limit, ONPU_ENGINE_HOST_WRITE);
	s = run(&e, pk_copy(HOST_VA, HOST_VA + SIZE / 2, 30000));
	assert_true(s.end - s.start == 100 + 30000);
	assert_true(!s.vram_bytes && s.host_read_bytes == 30000 && s.host_write_bytes == 30000);
	s = run(&e, pk_fill(DATA, 40000, 5));
	assert_true(s.end - s.start == 100 + 4000);
	assert_true(s.vram_bytes == 40000 && !s.ops && !s.macs && !s.cores_ns);
	s = run(&e, pk_fill(DATA, 0, 5));
	assert_true(s.end - s.start == 100);
	assert_int_equal(s.limit, ONPU_ENGINES);
	/* A long one goes in windows and adds up. */
	fx_buffer(e.fx, 1, 0x100000000, 20u << 20);
	s = run(&e, pk_fill(0x100000000, 20u << 20, 5));
	assert_int_equal(s.vram_bytes, 20u << 20);
	assert_true(fx_rd64(e.fx, ONPU_REG_ENGINE_BYTES(ONPU_ENGINE_VRAM)) ==
		    2 * 50001 + 2 * 50000 + 40000 + (20u << 20));
	assert_true(fx_rd64(e.fx, ONPU_REG_ENGINE_BYTES(ONPU_ENGINE_HOST_READ)) == 80000);
	assert_true(fx_rd64(e.fx, ONPU_REG_ENGINE_BYTES(ONPU_ENGINE_HOST_WRITE)) == 80000);
	assert_true(fx_rd64(e.fx, ONPU_REG_ENGINE_BUSY(ONPU_ENGINE_HOST_READ)) == 80000);
	assert_true(fx_rd64(e.fx, ONPU_REG_ENGINE_BUSY(ONPU_ENGINE_COPY)) ==
		    fx_rd64(e.fx, ONPU_REG_ENGINE_TIME) - 7 * 100);
	assert_true(fx_rd64(e.fx, ONPU_REG_ENGINE_BUSY(ONPU_ENGINE_CORES)) == 0);
	finish(&e);
}

/* --- matmuls -------------------------------------------------------------- */

static struct onpu_packet matmul(struct env *e, unsigned int i, const struct onpu_matmul_desc *d)
{
	memcpy(e->card + (DESC - VA) + i * sizeof(*d), d, sizeof(*d));
	return pk_matmul(DESC + i * sizeof(*d));
}

static struct onpu_matmul_desc bf16(uint32_t m, uint32_t n, uint32_t k)
{
	return (struct onpu_matmul_desc){
		.a_type = ONPU_DTYPE_BF16, .b_type = ONPU_DTYPE_BF16, .d_type = ONPU_DTYPE_F32,
		.m = m, .n = n, .k = k, .a_va = DATA, .b_va = DATA + (1u << 20),
		.d_va = DATA + (2u << 20), .lda = k, .ldb = n, .ldd = n,
	};
}

static void matmuls(void **state)
{
	struct env e;
	struct onpu_matmul_desc d = bf16(33, 70, 100);
	struct onpu_stamp s;

	(void)state;
	start(&e);
	s = run(&e, matmul(&e, 0, &d));
	assert_int_equal(s.ops, 2 * 33 * 70 * 100);
	assert_int_equal(s.macs, 64);
	/* 15 tiles are 4 turns of 4 cores, of 400 cycles. */
	assert_int_equal(s.cores_ns, 1600);
	assert_int_equal(s.vram_bytes, 33 * 100 * 2 + 100 * 70 * 2 + 33 * 70 * 4);
	assert_true(s.end - s.start == 100 + up(s.vram_bytes, 10));
	assert_int_equal(s.limit, ONPU_ENGINE_VRAM);

	/* Compute is the roof: a long k of a full set of tiles. */
	d = bf16(32, 32, 5000);
	s = run(&e, matmul(&e, 0, &d));
	assert_int_equal(s.cores_ns, 20000);
	assert_true(s.vram_bytes / 10 > 20000 && s.limit == ONPU_ENGINE_VRAM);
	d.a_type = d.b_type = ONPU_DTYPE_F32;
	d.b_va = DATA + (1u << 20);
	d.k = 4000;
	d.lda = 4000;
	s = run(&e, matmul(&e, 0, &d));
	assert_int_equal(s.macs, 16);
	assert_int_equal(s.cores_ns, 64000);
	assert_true(s.end - s.start == up(32 * 4000 * 8 + 4096, 10) + 100);
	d = bf16(64, 64, 5000);
	s = run(&e, matmul(&e, 0, &d));
	assert_int_equal(s.cores_ns, 80000);
	assert_true(up(s.vram_bytes, 10) == 64 * 5000 * 4 / 10 + 64 * 64 * 4 / 10 + 1);
	d = bf16(128, 128, 2000);
	s = run(&e, matmul(&e, 0, &d));
	assert_true(s.end - s.start == 100 + 128000);
	assert_true(s.cores_ns == 128000 && s.limit == ONPU_ENGINE_CORES);

	/* An operand of the host; gaps between rows do not count; D stays on the card. */
	d = bf16(10, 20, 30);
	d.a_va = HOST_VA + 2;
	d.lda = 5000;
	s = run(&e, matmul(&e, 0, &d));
	assert_int_equal(s.host_read_bytes, 10 * 30 * 2);
	assert_int_equal(s.vram_bytes, 30 * 20 * 2 + 10 * 20 * 4);
	d.d_va = HOST_VA + (1u << 20);
	s = run(&e, matmul(&e, 0, &d));
	assert_int_equal(s.host_write_bytes, 10 * 20 * 4);
	finish(&e);
}

/* Every operand that there is. */
static void operands_count(void **state)
{
	struct env e;
	struct onpu_matmul_desc d = bf16(48, 40, 96);
	struct onpu_stamp s;
	uint64_t bytes;

	(void)state;
	start(&e);
	d.b_type = ONPU_DTYPE_I4;
	d.b_group = 32;
	d.b_scale_type = ONPU_DTYPE_F16;
	d.b_scale_va = DATA + 1600000;
	d.ldb_scale = 50;
	d.b_zero_va = DATA + 1620000;
	d.bias_va = DATA + 1640000;
	d.bias_type = ONPU_DTYPE_BF16;
	d.residual_va = DATA + 1660000;
	d.residual_type = ONPU_DTYPE_F32;
	d.ldr = 44;
	d.row_scale_va = DATA + 1700000;
	d.col_scale_va = DATA + 1720000;
	d.flags = ONPU_MATMUL_BETA;
	d.c_type = ONPU_DTYPE_F16;
	d.c_va = DATA + 1740000;
	d.ldc = 41;
	d.d_scale_va = DATA + 1780000;
	bytes = 48 * 96 * 2 + 96 * 40 / 2 + 48 * 40 * 4 + 3 * 40 * 2 + 3 * 40 + 40 * 2 + 48 * 40 * 4 +
		48 * 4 + 40 * 4 + 48 * 40 * 2 + 4;
	s = run(&e, matmul(&e, 0, &d));
	assert_int_equal(s.vram_bytes, bytes);
	assert_int_equal(s.macs, 64);
	finish(&e);
}

static void batches(void **state)
{
	struct env e;
	struct onpu_matmul_desc d = bf16(20, 20, 64);
	uint32_t sizes[] = { 17, 0, 3 };
	struct onpu_stamp s;

	(void)state;
	start(&e);
	d.batch_mode = ONPU_BATCH_STRIDED;
	d.batch = 5;
	d.a_stride = 20 * 64 * 2;
	d.d_stride = 20 * 20 * 4;
	s = run(&e, matmul(&e, 0, &d));
	assert_int_equal(s.ops, 5 * 2 * 20 * 20 * 64);
	assert_int_equal(s.vram_bytes, 5 * (20 * 64 * 2 * 2 + 20 * 20 * 4));
	/* 5 * 4 tiles together. */
	assert_int_equal(s.cores_ns, 5 * 256);

	d = bf16(20, 20, 64);
	d.batch_mode = ONPU_BATCH_GROUPED;
	d.batch = 3;
	d.b_stride = 64 * 20 * 2;
	d.batch_va = DATA + (3u << 20);
	memcpy(e.card + (d.batch_va - VA), sizes, sizeof(sizes));
	s = run(&e, matmul(&e, 0, &d));
	assert_int_equal(s.ops, 2 * 20 * 20 * 64);
	assert_int_equal(s.vram_bytes, 20 * 64 * 2 + 2 * 64 * 20 * 2 + 20 * 20 * 4);
	assert_int_equal(s.cores_ns, 2 * 256);	/* 4 and 2 tiles */
	memset(e.card + (d.batch_va - VA), 0, sizeof(sizes));
	s = run(&e, matmul(&e, 0, &d));
	assert_true(s.end - s.start == 100 && !s.ops && !s.cores_ns && s.limit == ONPU_ENGINES);
	finish(&e);
}

/* Memory that is mapped to nothing moves nothing. */
static void nothing(void **state)
{
	struct env e;
	struct onpu_stamp s;

	(void)state;
	start(&e);
	for (unsigned int i = 0; i < 16; i++) {
		fx_map(e.fx, 1, 0x40000000 + i * 4096, fx_vram(e.fx, 4096, 4096), 4096, RW);
		*fx_pte(e.fx, 1, 0x40000000 + i * 4096, 0) =
			ONPU_PTE_VALID | ONPU_PTE_LEAF | RW | ONPU_PTE_NULL;
	}
	s = run(&e, pk_copy(DATA, 0x40000000, 65536));
	assert_true(s.vram_bytes == 65536 && !s.host_read_bytes);
	finish(&e);
}

/* --- several queues ------------------------------------------------------- */

static void add(struct fx_queue *q, struct onpu_packet p)
{
	fx_push(q, &p);
}

static void engines_in_parallel(void **state)
{
	struct env e;
	struct fx_queue q2, q3;
	struct onpu_matmul_desc d = bf16(128, 128, 2000);
	struct onpu_stamp s[6];

	(void)state;
	start(&e);
	fx_queue_init(&q2, e.fx, 1, 4, 1, 4, 0);
	fx_queue_init(&q3, e.fx, 2, 5, 1, 4, 0);
	/* Two matmuls, two copies over PCIe beside them, one more matmul in a third queue. */
	add(&e.q, stamped(matmul(&e, 0, &d), 0));
	add(&e.q, stamped(matmul(&e, 0, &d), 1));
	add(&q2, stamped(pk_copy(DATA + (3u << 20), HOST_VA, 50000), 2));
	add(&q2, stamped(pk_copy(DATA + (3u << 20), HOST_VA, 50000), 3));
	add(&q3, stamped(matmul(&e, 0, &d), 4));
	fx_ring(&e.q);
	fx_ring(&q2);
	fx_ring(&q3);
	fx_settle(&e.q);
	fx_settle(&q2);
	fx_settle(&q3);
	for (unsigned int i = 0; i < 5; i++)
		s[i] = stamp(&e, i);
	/* Matmuls one at a time, whoever was first; each starts when the cores are free. */
	assert_true(s[0].start == 0 && s[0].end == 100 + 128000);
	assert_true(s[2].start == 0);
	/* The copy's PCIe time is beside the first matmul, its card memory behind that one's. */
	assert_true(s[2].end == 100 + up(s[0].vram_bytes, 10) + 5000);
	/* In the gap that the first matmul leaves, and behind the second one. */
	assert_true(s[3].start == s[2].end && s[3].end == s[3].start + 100 + 50000);
	assert_true(s[1].end - s[1].start == 128100 && s[4].end - s[4].start == 128100);
	assert_true(s[1].end == s[4].start + 100 || s[4].end == s[1].start + 100);
	assert_true(fx_rd64(e.fx, ONPU_REG_ENGINE_BUSY(ONPU_ENGINE_CORES)) == 3 * 128000);
	assert_true(fx_rd64(e.fx, ONPU_REG_ENGINE_TIME) == (s[1].end > s[4].end ? s[1].end : s[4].end));
	finish(&e);
}

/* Two that need card memory at the same time share it. */
static void memory_is_shared(void **state)
{
	struct env e;
	struct fx_queue q2;
	struct onpu_matmul_desc d = bf16(16, 16, 8000);	/* 32000 ns of cores, 51303 of memory */
	struct onpu_stamp s;

	(void)state;
	start(&e);
	fx_queue_init(&q2, e.fx, 1, 4, 1, 4, 0);
	add(&e.q, stamped(matmul(&e, 0, &d), 0));
	add(&q2, stamped(pk_fill(DATA + (3u << 20), 500000, 1), 1));
	fx_ring(&e.q);
	fx_ring(&q2);
	fx_settle(&e.q);
	fx_settle(&q2);
	s = stamp(&e, 0);
	assert_true(s.vram_bytes == 16 * 8000 * 4 + 1024 && s.cores_ns == 32000);
	assert_true(s.end == 100 + 51303 && s.limit == ONPU_ENGINE_VRAM);
	s = stamp(&e, 1);
	assert_true(s.start == 0 && s.end == 100 + 51303 + 50000);
	assert_true(fx_rd64(e.fx, ONPU_REG_ENGINE_BUSY(ONPU_ENGINE_VRAM)) + 100 ==
		    fx_rd64(e.fx, ONPU_REG_ENGINE_TIME));
	finish(&e);
}

/* No engine is busier than time goes by. */
static void no_engine_above_one(void **state)
{
	struct env e;
	struct fx_queue q[4];

	(void)state;
	start(&e);
	q[0] = e.q;
	for (unsigned int i = 1; i < 4; i++)
		fx_queue_init(&q[i], e.fx, i, 3 + i, 1, 6, 0);
	for (unsigned int round = 0; round < 200; round++) {
		struct fx_queue *to = &q[fx_random(e.fx) % 4];
		struct onpu_matmul_desc d = bf16(1 + fx_random(e.fx) % 60, 1 + fx_random(e.fx) % 60,
						 1 + fx_random(e.fx) % 60);
		uint64_t len = fx_random(e.fx) % 9000;
		struct onpu_packet p;

		switch (fx_random(e.fx) % 5) {
		case 0:
			p = matmul(&e, 0, &d);
			break;
		case 1:
			p = pk_copy(HOST_VA, DATA, len);
			break;
		case 2:
			p = pk_copy(DATA, HOST_VA + 5, len);
			break;
		case 3:
			p = pk_fill(DATA, len & ~3ull, 7);
			break;
		default:
			p = pk_nop();
		}
		fx_submit(to, &p);
		if (round % 3 == 0)
			fx_settle(to);
	}
	fx_run(e.fx);
	for (unsigned int i = 0; i < ONPU_ENGINES; i++) {
		uint64_t busy = fx_rd64(e.fx, ONPU_REG_ENGINE_BUSY(i));

		assert_true(busy > 0 && busy <= fx_rd64(e.fx, ONPU_REG_ENGINE_TIME));
	}
	finish(&e);
}

/* What was submitted after another queue's packet was seen to be done comes after it. */
static void cause_before_effect(void **state)
{
	struct env e;
	struct fx_queue q2;
	uint64_t end;

	(void)state;
	start(&e);
	fx_queue_init(&q2, e.fx, 1, 4, 1, 4, 0);
	end = run(&e, pk_copy(DATA, HOST_VA, 100000)).end;
	add(&q2, stamped(pk_nop(), 1));
	fx_ring(&q2);
	fx_settle(&q2);
	assert_true(stamp(&e, 1).start == end);
	/* A doorbell rung before, and a WAIT. */
	add(&q2, pk_wait(DATA + 8, 1, ONPU_WAIT_EQ));
	add(&q2, stamped(pk_nop(), 1));
	fx_ring(&q2);
	fx_run(e.fx);
	memset(e.card + (DATA - VA), 0, 64);
	add(&e.q, stamped(pk_fill(DATA + 64, 100000, 1), 0));
	add(&e.q, pk_signal(DATA + 8, 1, false));
	fx_ring(&e.q);
	fx_settle(&e.q);
	fx_settle(&q2);
	assert_true(stamp(&e, 1).start >= stamp(&e, 0).end + 100);
	finish(&e);
}

/* --- nothing of the host shows --------------------------------------------- */

#define RUN_PACKETS	12u

static void run_all(const struct fx_opts *opts, struct onpu_stamp *out)
{
	struct onpu_matmul_desc d[3] = { bf16(300, 200, 100), bf16(17, 250, 300), bf16(1, 512, 512) };
	struct env e;

	start_with(&e, opts);
	for (unsigned int i = 0; i < RUN_PACKETS; i++) {
		if (i % 3 == 0)
			add(&e.q, stamped(matmul(&e, i / 3 % 3, &d[i / 3 % 3]), i));
		else if (i % 3 == 1)
			add(&e.q, stamped(pk_copy(DATA, i & 4 ? HOST_VA : DATA + (3u << 20), 1000 * i), i));
		else
			add(&e.q, stamped(pk_nop(), i));
	}
	fx_ring(&e.q);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	memcpy(out, e.card, RUN_PACKETS * sizeof(*out));
	finish(&e);
}

static void the_same_everywhere(void **state)
{
	struct fx_opts opts[] = {
		{ .speed = slow }, { .speed = slow, .threads = 1 }, { .speed = slow, .threads = 3 },
		{ .speed = slow, .isa = "scalar" }, { .speed = slow, .dma = FX_DMA_ASYNC },
		{ .speed = slow, .dma = FX_DMA_ASYNC, .max_map = 4096, .threads = 2 },
	};
	struct onpu_stamp first[RUN_PACKETS], other[RUN_PACKETS];

	(void)state;
	run_all(&opts[0], first);
	assert_true(first[RUN_PACKETS - 1].end > 0);
	for (unsigned int i = 1; i < ARRAY_SIZE(opts); i++) {
		run_all(&opts[i], other);
		assert_memory_equal(first, other, sizeof(first));
	}
}

/* A reset keeps engine time; a killed packet took none. */
static void reset_and_kill(void **state)
{
	struct env e;
	struct onpu_packet p = stamped(pk_wait(DATA, 1, ONPU_WAIT_EQ), 1);
	uint64_t end, bytes;

	(void)state;
	start(&e);
	end = run(&e, pk_fill(DATA, 4096, 0)).end;
	bytes = fx_rd64(e.fx, ONPU_REG_ENGINE_BYTES(ONPU_ENGINE_VRAM));
	fx_submit(&e.q, &p);
	fx_run(e.fx);
	fx_kill(&e.q);
	fx_wait_state(&e.q, ONPU_SLOT_KILLED);
	assert_true(fx_rd64(e.fx, ONPU_REG_ENGINE_TIME) == end);
	onpu_card_reset(e.fx->card, ONPU_RESET_FUNCTION);
	assert_true(fx_rd64(e.fx, ONPU_REG_ENGINE_TIME) == end);
	assert_true(fx_rd64(e.fx, ONPU_REG_ENGINE_BYTES(ONPU_ENGINE_VRAM)) == bytes && bytes == 4096);
	onpu_card_reset(e.fx->card, ONPU_RESET_POWER_ON);
	assert_true(fx_rd64(e.fx, ONPU_REG_ENGINE_TIME) == 0);
	assert_true(fx_rd64(e.fx, ONPU_REG_ENGINE_BYTES(ONPU_ENGINE_VRAM)) == 0);
	finish(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times),
		cmocka_unit_test(rates_of_types),
		cmocka_unit_test(speeds_out_of_range),
		cmocka_unit_test(bytes_of_rows),
		cmocka_unit_test(plain_packets),
		cmocka_unit_test(refused),
		cmocka_unit_test(stamp_faults),
		cmocka_unit_test(stamp_rights),
		cmocka_unit_test(stamp_in_host_memory),
		cmocka_unit_test(copies),
		cmocka_unit_test(matmuls),
		cmocka_unit_test(operands_count),
		cmocka_unit_test(batches),
		cmocka_unit_test(nothing),
		cmocka_unit_test(engines_in_parallel),
		cmocka_unit_test(memory_is_shared),
		cmocka_unit_test(no_engine_above_one),
		cmocka_unit_test(cause_before_effect),
		cmocka_unit_test(the_same_everywhere),
		cmocka_unit_test(reset_and_kill),
	};

	return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/*
 * Random garbage against the card, deterministic mode: rings, packets,
 * descriptors, page tables, registers, the MCU's bus, host answers. Nothing
 * may crash, hang or reach outside card and host memory (guard pages around
 * both; the sanitizer builds see the rest).
 *
 * Mostly valid structures with some bits wrong get further than noise, so that
 * is what it makes. Arguments: [first seed] [number of seeds].
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "card_fixture.h"

#define VA		0x10000000ull
#define PAGES		48u
#define STEPS		150u
#define RUN		3000u

struct fuzz {
	struct fx *fx;
	struct fx_queue q[4];
	uint64_t page[PAGES];		/* card memory behind VA + 4096 * i */
	uint64_t hostpage[8];
};

static unsigned int first_seed = 1, seeds = 1000;
static uint64_t packets, matmuls, faults, bytes;

static uint32_t rnd(struct fuzz *f, uint32_t below)
{
	return fx_random(f->fx) % below;
}

static uint64_t rnd64(struct fuzz *f)
{
	return (uint64_t)fx_random(f->fx) << 32 | fx_random(f->fx);
}

static bool one_in(struct fuzz *f, uint32_t n)
{
	return rnd(f, n) == 0;
}

/*
 * Pages 0 .. 3 hold descriptors, 4 .. 7 packets for CALL, the others data. An address mostly
 * means data.
 */
static uint64_t some_va(struct fuzz *f)
{
	switch (rnd(f, 100)) {
	case 0:
		return rnd64(f);
	case 1:
		return rnd64(f) & 0xffffffffffff;
	case 2:
		return VA + rnd(f, 4096 * (PAGES + 16));
	case 3:
		return 0xffffffffffff - rnd(f, 8192);
	case 4:
		return f->q[rnd(f, 4)].ring_va + rnd(f, 4096);
	case 5:
		return f->q[rnd(f, 4)].ring_va + (1u << 30);
	default:
		return VA + 8 * 4096 + 64 * rnd(f, 64 * (PAGES - 16));
	}
}

static uint64_t desc_va(struct fuzz *f)
{
	return one_in(f, 20) ? some_va(f) & ~63ull : VA + 256 * rnd(f, 64);
}

static uint64_t call_va(struct fuzz *f)
{
	return one_in(f, 20) ? some_va(f) & ~63ull : VA + 4 * 4096 + 64 * rnd(f, 256);
}

static uint64_t some_size(struct fuzz *f)
{
	switch (rnd(f, 50)) {
	case 0:
		return rnd64(f);
	case 1:
		return 1ull << rnd(f, 64);
	default:
		return rnd(f, 20000);
	}
}

static struct onpu_packet some_packet(struct fuzz *f)
{
	struct onpu_packet p = { .opcode = (uint8_t)(1 + rnd(f, 10)) };

	switch (p.opcode) {
	case ONPU_OP_MATMUL:
		p.matmul.desc_va = desc_va(f);
		break;
	case ONPU_OP_COPY:
		p.copy.dst_va = some_va(f);
		p.copy.src_va = some_va(f);
		p.copy.size = some_size(f);
		break;
	case ONPU_OP_COPY_2D:
		p.copy_2d.dst_va = some_va(f);
		p.copy_2d.src_va = some_va(f);
		p.copy_2d.row_bytes = one_in(f, 10) ? some_size(f) : rnd(f, 300);
		p.copy_2d.dst_pitch = p.copy_2d.row_bytes + (one_in(f, 10) ? some_size(f) : rnd(f, 300));
		p.copy_2d.src_pitch = one_in(f, 10) ? some_size(f) : rnd(f, 300);
		p.copy_2d.rows = one_in(f, 10) ? fx_random(f->fx) : (uint32_t)rnd(f, 100);
		break;
	case ONPU_OP_FILL:
		p.fill.dst_va = some_va(f) & ~3ull;
		p.fill.size = some_size(f) & ~3ull;
		p.fill.pattern = fx_random(f->fx);
		break;
	case ONPU_OP_CALL:
		p.call.va = call_va(f);
		p.call.count = 1 + rnd(f, one_in(f, 20) ? 70000 : 12);
		break;
	case ONPU_OP_WAIT:
		p.wait.va = some_va(f) & ~7ull;
		p.wait.op = rnd(f, 6);
		p.wait.value = one_in(f, 3) ? rnd64(f) : 0;
		if (!one_in(f, 5))
			p.wait.op = ONPU_WAIT_GE;
		break;
	case ONPU_OP_SIGNAL:
		p.signal.va = some_va(f) & ~7ull;
		p.signal.value = rnd64(f);
		p.flags = (uint8_t)rnd(f, 2);
		break;
	case ONPU_OP_TIMESTAMP:
		p.timestamp.va = some_va(f) & ~7ull;
		break;
	default:
		break;
	}
	if (one_in(f, 30))
		((uint8_t *)&p)[rnd(f, sizeof(p))] = (uint8_t)fx_random(f->fx);
	return p;
}

static struct onpu_matmul_desc some_desc(struct fuzz *f)
{
	uint32_t big = one_in(f, 20) ? ONPU_DIM_MAX : 70;
	struct onpu_matmul_desc d = {
		.a_type = (uint8_t)(1 + rnd(f, 13)), .flags = rnd(f, 8),
		.m = 1 + rnd(f, 70), .n = 1 + rnd(f, 70), .k = 1 + rnd(f, big),
	};

	d.b_type = one_in(f, 2) ? d.a_type : (uint8_t)(1 + rnd(f, 13));
	if (one_in(f, 8)) {
		d.b_group = (uint16_t)(32u << rnd(f, 3));
		d.b_scale_type = one_in(f, 2) ? ONPU_DTYPE_F16 : ONPU_DTYPE_BF16;
		d.b_zero_va = one_in(f, 2) ? some_va(f) : 0;
	}
	d.d_type = (uint8_t)onpu_gemm_sum_type(d.a_type, d.b_type, d.b_group);
	if (onpu_gemm_is_mx(d.a_type)) {
		d.a_scale_va = some_va(f);
		d.lda_scale = 70 + rnd(f, 100);
	}
	if (onpu_gemm_is_mx(d.b_type) || d.b_group) {
		d.b_scale_va = some_va(f) & ~1ull;
		d.ldb_scale = 70 + rnd(f, 100);
	}
	d.a_va = some_va(f) & ~3ull;
	d.b_va = some_va(f) & ~3ull;
	d.d_va = some_va(f) & ~3ull;
	d.lda = (d.flags & ONPU_MATMUL_TRANS_A ? d.m : d.k) + rnd(f, 9);
	d.ldb = (d.flags & ONPU_MATMUL_TRANS_B ? d.k : d.n) + rnd(f, 9);
	d.ldd = d.n + rnd(f, 2000);
	if (d.flags & ONPU_MATMUL_ACCUMULATE) {
		d.c_type = d.d_type;
		d.c_va = one_in(f, 2) ? d.d_va : some_va(f) & ~3ull;
		d.ldc = d.n + rnd(f, 10);
	}
	if (!one_in(f, 10)) {
		d.lda = (d.lda + 3) & ~3ull;	/* whole bytes in a row */
		d.ldb = (d.ldb + 3) & ~3ull;
	}
	if (one_in(f, 2)) {
		static const uint8_t out[] = { ONPU_DTYPE_F32, ONPU_DTYPE_BF16, ONPU_DTYPE_F16,
					       ONPU_DTYPE_E4M3, ONPU_DTYPE_E5M2, ONPU_DTYPE_I8 };
		uint32_t which = rnd(f, 3);

		d.d_type = out[rnd(f, 6)];
		d.activation = (uint8_t)rnd(f, 5);
		d.row_scale_va = one_in(f, 2) ? some_va(f) & ~3ull : 0;
		d.col_scale_va = one_in(f, 2) ? some_va(f) & ~3ull : 0;
		d.d_scale_va = one_in(f, 2) ? some_va(f) & ~3ull : 0;
		d.d_zero_va = d.d_type == ONPU_DTYPE_I8 ? some_va(f) : 0;
		if (which && (d.d_scale_va || d.d_zero_va))
			d.flags |= which << 6;
		if (one_in(f, 2)) {
			d.bias_va = some_va(f) & ~3ull;
			d.bias_type = out[rnd(f, 3)];
		}
		if (one_in(f, 2)) {
			d.residual_va = some_va(f) & ~3ull;
			d.residual_type = out[rnd(f, 3)];
			d.ldr = d.n + rnd(f, 20);
		}
		if (one_in(f, 2)) {
			d.flags |= ONPU_MATMUL_ALPHA;
			d.alpha = (uint32_t)rnd64(f);
		}
	}
	if (one_in(f, 4)) {
		d.batch_mode = (uint8_t)(1 + rnd(f, 3));
		d.batch = 1 + rnd(f, one_in(f, 10) ? 10000 : 6);
		d.flags |= one_in(f, 2) ? ONPU_MATMUL_BATCH_VECTORS : 0;
		d.b_stride = d.batch_mode == ONPU_BATCH_ITEMS ? 0 : rnd(f, 9) * 64;
		if (d.batch_mode == ONPU_BATCH_STRIDED) {
			d.a_stride = rnd(f, 9) * 64;
			d.d_stride = rnd64(f) & ~63ull;
		} else {
			d.batch_va = some_va(f) & ~7ull;
		}
	}
	if (one_in(f, 10))
		d.lda = rnd64(f) >> rnd(f, 64);
	if (one_in(f, 10))
		((uint8_t *)&d)[rnd(f, sizeof(d))] = (uint8_t)fx_random(f->fx);
	return d;
}

static uint64_t some_pte(struct fuzz *f)
{
	uint64_t pte = ONPU_PTE_VALID | (fx_random(f->fx) & 0x3e);

	if (one_in(f, 6))
		return rnd64(f);
	if (one_in(f, 3))
		pte |= rnd64(f) & ONPU_PTE_ADDR & (f->fx->vram_size * 2 - 1);
	else if (pte & ONPU_PTE_HOST)
		pte |= f->hostpage[rnd(f, 8)];
	else
		pte |= f->page[rnd(f, PAGES)];
	/* Tables that contain themselves, too. */
	if (one_in(f, 8))
		pte = f->fx->roots[1] | ONPU_PTE_VALID;
	return pte;
}

/* --- what happens --------------------------------------------------------- */

static void push(struct fuzz *f, struct fx_queue *q)
{
	unsigned int n = 1 + rnd(f, 5);

	while (n--) {
		struct onpu_packet p = some_packet(f);

		fx_push(q, &p);
	}
	if (one_in(f, 30))
		q->producer += rnd(f, 40);
	fx_ring(q);
}

static void scribble(struct fuzz *f)
{
	uint8_t *base = fx_vptr(f->fx, f->page[0]);

	for (unsigned int i = 0; i < 8; i++) {
		struct onpu_matmul_desc d = some_desc(f);
		struct onpu_packet p = some_packet(f);

		memcpy(base + 256 * rnd(f, 64), &d, sizeof(d));
		memcpy(base + 4 * 4096 + 64 * rnd(f, 256), &p, sizeof(p));
	}
	if (one_in(f, 4))
		for (unsigned int i = 0, at = rnd(f, PAGES * 4096 - 64); i < 64; i++)
			base[at + i] = (uint8_t)fx_random(f->fx);
}

static void page_tables(struct fuzz *f)
{
	unsigned int level = one_in(f, 4) ? 1 + rnd(f, 3) : 0;
	uint64_t va = VA + 4096ull * rnd(f, PAGES + 8);

	/* Through the tables as they are meant to be: they may be garbage by now. */
	if (level == 0 && one_in(f, 2)) {
		fx_store(fx_vptr(f->fx, f->page[0]) + 8 * rnd(f, 512), some_pte(f));
	} else {
		uint64_t *root = fx_vptr(f->fx, f->fx->roots[1]);

		if (level == 3)
			fx_store(&root[rnd(f, 512)], some_pte(f));
		else
			fx_store((uint64_t *)fx_vptr(f->fx, f->q[3].ctl_off) + (va >> 12) % 512,
				 some_pte(f));
	}
	if (one_in(f, 2))
		fx_wr(f->fx, ONPU_REG_TLB_INV, rnd(f, 10));
}

static void registers(struct fuzz *f)
{
	static const unsigned int sizes[] = { 1, 2, 4, 4, 4, 8 };
	unsigned int size = sizes[rnd(f, 6)];
	uint64_t off = one_in(f, 4) ? rnd(f, ONPU_BAR_REGS_SIZE + 64) : rnd(f, 0x600);

	if (!one_in(f, 4))
		off &= ~(uint64_t)(size - 1);
	if (one_in(f, 2))
		onpu_card_mmio_read(f->fx->card, off, size);
	else
		onpu_card_mmio_write(f->fx->card, off, rnd64(f) >> rnd(f, 64), size);
}

static void mcu(struct fuzz *f)
{
	uint32_t addr = ONPU_MCU_SYS + (rnd(f, ONPU_MCU_PERIPH_END - ONPU_MCU_SYS) & ~3u), value;

	if (one_in(f, 2))
		addr = ONPU_SLOT(rnd(f, 5), 4 * rnd(f, 30));
	/* Hashing megabytes finds nothing and takes long. */
	if (addr == ONPU_CRYPTO_CMD || addr == ONPU_SYS_FATAL)
		return;
	if (one_in(f, 2))
		onpu_card_mcu_read32(f->fx->card, addr, &value);
	else
		onpu_card_mcu_write32(f->fx->card, addr, fx_random(f->fx) >> rnd(f, 32));
}

/* Mostly with the sum made right again: what is judged behind it is to be seen as well. */
static void damage_save(struct fuzz *f, uint8_t *area)
{
	uint32_t n = one_in(f, 3) ? 0 : 1 + rnd(f, 4);

	while (n--)
		area[rnd(f, one_in(f, 4) ? ONPU_SAVE_SIZE : 800)] = (uint8_t)fx_random(f->fx);
	if (!one_in(f, 4))
		onpu_slot_save_seal(area);
}

static void slots(struct fuzz *f)
{
	struct fx_queue *q = &f->q[rnd(f, 4)];
	uint32_t state = fx_slot(f->fx, q->slot, ONPU_SLOT_STATE);

	if (one_in(f, 60))
		fx_slot_wr(f->fx, q->slot, ONPU_SLOT_CMD, 1 + rnd(f, 3));
	if (one_in(f, 10)) {
		fx_slot_wr(f->fx, q->slot, ONPU_SLOT_CMD, ONPU_SLOT_SUSPEND);
		state = fx_slot(f->fx, q->slot, ONPU_SLOT_STATE);
	}
	if (state == ONPU_SLOT_SUSPENDED) {
		damage_save(f, fx_save_area(q));
		fx_slot_wr(f->fx, q->slot, ONPU_SLOT_CMD, ONPU_SLOT_UNBIND);
		fx_slot_wr(f->fx, q->slot, ONPU_SLOT_CMD, ONPU_SLOT_RESTORE);
		state = fx_slot(f->fx, q->slot, ONPU_SLOT_STATE);
	}
	if (state == ONPU_SLOT_ERRORED || state == ONPU_SLOT_KILLED)
		fx_slot_wr(f->fx, q->slot, ONPU_SLOT_CMD, ONPU_SLOT_UNBIND);
	if (fx_slot(f->fx, q->slot, ONPU_SLOT_STATE) != ONPU_SLOT_FREE)
		return;
	fx_slot_wr(f->fx, q->slot, ONPU_SLOT_QUEUE, q->queue);
	fx_slot_wr(f->fx, q->slot, ONPU_SLOT_ASID, 1);
	fx_slot_wr(f->fx, q->slot, ONPU_SLOT_RING_LO, (uint32_t)q->ring_va);
	fx_slot_wr(f->fx, q->slot, ONPU_SLOT_RING_HI, (uint32_t)(q->ring_va >> 32));
	fx_slot_wr(f->fx, q->slot, ONPU_SLOT_RING_ORDER, q->order);
	fx_slot_wr(f->fx, q->slot, ONPU_SLOT_FLAGS, rnd(f, 2));
	fx_slot_wr(f->fx, q->slot, ONPU_SLOT_VECTOR, rnd(f, FX_VECTORS));
	fx_slot_wr(f->fx, q->slot, ONPU_SLOT_CTL_LO, one_in(f, 4) ? 0 : 1u << 30);
	fx_slot_wr(f->fx, q->slot, ONPU_SLOT_CTL_HI, (uint32_t)(q->ring_va >> 32));
	fx_slot_wr(f->fx, q->slot, ONPU_SLOT_CONSUMER, q->producer);
	fx_slot_wr(f->fx, q->slot, ONPU_SLOT_CMD, ONPU_SLOT_BIND);
}

static void machine(struct fuzz *f)
{
	static const char *const faults[] = { "hang-queue", "fault-queue", "drop-irq", "dma-fault",
					      "corrupt-matmul", "slow-kill", "slow-suspend", "mbox-silent",
					      "mcu-stall", "clear", "clear", "nonsense" };
	size_t size;
	void *blob;

	switch (rnd(f, 12)) {
	case 0:
		onpu_card_reset(f->fx->card, ONPU_RESET_FUNCTION);
		fx_context(f->fx, 1);
		break;
	case 1:
		onpu_card_quiesce(f->fx->card);
		blob = onpu_card_save(f->fx->card, &size);
		assert_non_null(blob);
		assert_int_equal(onpu_card_load(f->fx->card, blob, size), 0);
		free(blob);
		onpu_card_resume(f->fx->card);
		break;
	case 2:
		onpu_card_inject(f->fx->card, faults[rnd(f, ARRAY_SIZE(faults))], rnd(f, 5));
		break;
	default:
		break;
	}
}

/* Good page tables for the next steps. */
static void repair(struct fuzz *f)
{
	memset(fx_vptr(f->fx, f->fx->roots[1]), 0, 4096);
	f->fx->vram_next = f->page[PAGES - 1] + 4096;
	for (unsigned int i = 0; i < PAGES; i++)
		fx_map(f->fx, 1, VA + 4096 * i, f->page[i], 4096, RW);
	for (unsigned int i = 0; i < 8; i++)
		fx_map(f->fx, 1, VA + 4096 * (PAGES + i), f->hostpage[i], 4096,
		       RW | ONPU_PTE_HOST);
	for (unsigned int i = 0; i < 4; i++) {
		fx_map(f->fx, 1, f->q[i].ring_va, f->q[i].ring_off, 4096, RW);
		fx_map(f->fx, 1, f->q[i].ring_va + (1u << 30), f->q[i].ctl_off, 4096,
		       RW | ONPU_PTE_PRIV);
	}
	fx_mcu_wr(f->fx, ONPU_CTX_ROOT_LO(1), (uint32_t)f->fx->roots[1]);
	fx_mcu_wr(f->fx, ONPU_CTX_ROOT_HI(1), 0);
	fx_mcu_wr(f->fx, ONPU_CTX_CTRL(1), ONPU_CTX_VALID);
}

static void prepare(struct fuzz *f, unsigned int seed)
{
	struct fx_opts opts = {
		.vram_size = 16ull << 20,
		.dma = seed % 3 == 1 ? FX_DMA_HOLD : FX_DMA_SYNC,
		.max_map = seed % 2 ? 4096 : 0,
	};

	memset(f, 0, sizeof(*f));
	f->fx = fx_create(&opts);
	f->fx->random = seed;
	fx_context(f->fx, 1);
	for (unsigned int i = 0; i < 4; i++)
		fx_queue_init(&f->q[i], f->fx, i, i, 1, 6, 0);
	for (unsigned int i = 0; i < 8; i++)
		f->hostpage[i] = fx_hostmem(f->fx, 4096, 4096);
	f->page[0] = fx_vram(f->fx, 4096 * PAGES, 4096);
	for (unsigned int i = 1; i < PAGES; i++)
		f->page[i] = f->page[0] + 4096 * i;
	repair(f);
	for (unsigned int i = 0; i < 40; i++)
		scribble(f);
}

/* What the card got done, so that the test notices when it only makes noise. */
static void count(struct fuzz *f)
{
	packets += fx_rd64(f->fx, ONPU_REG_CNT_PACKETS);
	matmuls += fx_rd64(f->fx, ONPU_REG_CNT_MATMULS);
	faults += fx_rd64(f->fx, ONPU_REG_CNT_FAULTS);
	bytes += fx_rd64(f->fx, ONPU_REG_CNT_COPY_BYTES);
}

static void fuzz_one(unsigned int seed)
{
	struct fuzz f;

	prepare(&f, seed);
	for (unsigned int i = 0; i < STEPS; i++) {
		if (i % 15 == 0)
			repair(&f);
		switch (rnd(&f, 10)) {
		case 0:
		case 1:
			scribble(&f);
			break;
		case 2:
			if (one_in(&f, 2))
				page_tables(&f);
			break;
		case 3:
			registers(&f);
			break;
		case 4:
			mcu(&f);
			break;
		case 5:
			machine(&f);
			break;
		default:
			push(&f, &f.q[rnd(&f, 4)]);
		}
		for (unsigned int j = 0; j < 4; j++)
			slots(&f);
		onpu_card_run(f.fx->card, rnd(&f, 60));
		fx_complete(f.fx, rnd(&f, 20), one_in(&f, 2));
	}
	/* Whatever it is in the middle of, a kill stops every slot at once. */
	onpu_card_inject(f.fx->card, "clear", 0);
	for (unsigned int i = 0; i < 4; i++)
		fx_slot_wr(f.fx, i, ONPU_SLOT_CMD, ONPU_SLOT_KILL);
	onpu_card_run(f.fx->card, RUN);
	for (unsigned int i = 0; i < 4; i++) {
		uint32_t state = fx_slot(f.fx, i, ONPU_SLOT_STATE);

		assert_true(state == ONPU_SLOT_FREE || state == ONPU_SLOT_ERRORED ||
			    state == ONPU_SLOT_KILLED ||
			    state == ONPU_SLOT_SUSPENDED);
	}
	fx_complete(f.fx, UINT32_MAX, false);
	assert_int_equal(f.fx->maps_live, 0);
	count(&f);
	fx_destroy(f.fx);
}

static void fuzz(void **state)
{
	(void)state;
	for (unsigned int seed = first_seed; seed < first_seed + seeds; seed++) {
		if (seeds == 1)
			print_message("seed %u\n", seed);
		fuzz_one(seed);
	}
	print_message("%u seeds: %llu packets, %llu matmuls, %llu faults, %llu bytes copied\n",
		      seeds, (unsigned long long)packets, (unsigned long long)matmuls,
		      (unsigned long long)faults, (unsigned long long)bytes);
	if (seeds >= 300) {
		assert_true(packets > 10 * seeds);
		assert_true(matmuls > seeds / 10);
		assert_true(faults > seeds);
		assert_true(bytes > 1000 * seeds);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(fuzz) };

	if (argc > 1)
		first_seed = (unsigned int)strtoul(argv[1], NULL, 0);
	if (argc > 2)
		seeds = (unsigned int)strtoul(argv[2], NULL, 0);
	return cmocka_run_group_tests_name("fuzz", tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/*
 * Host memory that is mapped by request: answers in any order, short, late,
 * wrong or never; kill, reset, quiesce with requests out. Deterministic mode.
 */
#include <string.h>

#include "card_fixture.h"

#define VA	0x10000000ull
#define HOST_VA	0x20000000ull
#define SIZE	(1u << 20)

struct env {
	struct fx *fx;
	struct fx_queue q;
	uint8_t *card;		/* SIZE at VA */
	uint8_t *host;		/* SIZE at HOST_VA, every page somewhere else */
	uint64_t page[SIZE / 4096];
};

static void start(struct env *e, enum fx_dma dma, uint64_t max_map)
{
	struct fx_opts opts = { .dma = dma, .max_map = max_map };

	e->fx = fx_create(&opts);
	fx_context(e->fx, 1);
	e->card = fx_buffer(e->fx, 1, VA, SIZE);
	for (unsigned int i = 0; i < SIZE / 4096; i++) {
		if (i % 2)
			fx_hostmem(e->fx, 4096, 4096);
		e->page[i] = fx_hostmem(e->fx, 4096, 4096);
		fx_map(e->fx, 1, HOST_VA + 4096 * i, e->page[i], 4096, RW | ONPU_PTE_HOST);
		for (unsigned int j = 0; j < 4096; j++)
			((uint8_t *)fx_hptr(e->fx, e->page[i]))[j] = (uint8_t)fx_random(e->fx);
	}
	fx_queue_init(&e->q, e->fx, 0, 0, 1, 6, 0);
}

static void submit(struct env *e, struct onpu_packet p)
{
	fx_submit(&e->q, &p);
}

static void check_copied(struct env *e, uint64_t off, uint64_t len)
{
	for (uint64_t i = off; i < off + len; i++)
		assert_int_equal(e->card[i], ((uint8_t *)fx_hptr(e->fx, e->page[i / 4096]))[i % 4096]);
}

static void any_order(void **state)
{
	static const uint64_t max_maps[] = { 0, 4096, 8192 };

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		struct env e;

		start(&e, FX_DMA_ASYNC, max_maps[i]);
		submit(&e, pk_copy(VA + 77, HOST_VA + 77, SIZE - 1000));
		submit(&e, pk_signal(HOST_VA + SIZE - 8, 4711, true));
		assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
		check_copied(&e, 77, SIZE - 1000);
		assert_int_equal(fx_load((uint8_t *)fx_hptr(e.fx, e.page[SIZE / 4096 - 1]) + 4088),
				 4711);
		assert_int_equal(e.fx->irqs[1], 1);
		assert_int_equal(e.fx->maps_live, 0);
		assert_true(e.fx->requests > SIZE / 4096 / 8);
		fx_destroy(e.fx);
	}
}

/* The platform is not flooded. */
static void bounded_requests(void **state)
{
	struct env e;
	unsigned int most = 0;

	(void)state;
	start(&e, FX_DMA_HOLD, 4096);
	submit(&e, pk_copy(VA, HOST_VA, SIZE));
	do {
		onpu_card_run(e.fx->card, 1000);
		if (e.fx->n_queue > most)
			most = e.fx->n_queue;
	} while (fx_complete(e.fx, 5, true));
	assert_int_equal(most, DMA_MAX_REQS);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	check_copied(&e, 0, SIZE);
	fx_destroy(e.fx);
}

static void refused(void **state)
{
	struct env e;

	(void)state;
	start(&e, FX_DMA_ASYNC, 0);
	/* One page in the middle is nowhere. */
	fx_map(e.fx, 1, HOST_VA + 0x40000, 0x1000, 4096, RW | ONPU_PTE_HOST);
	submit(&e, pk_copy(VA, HOST_VA, SIZE));
	fx_expect_fault(&e.q, ONPU_FAULT_HOST, ONPU_FAULT_ACCESS_READ, 0, HOST_VA + 0x40000);
	fx_complete(e.fx, 100, false);
	assert_int_equal(e.fx->maps_live, 0);
	fx_destroy(e.fx);
}

static void refused_by_injection(void **state)
{
	struct env e;

	(void)state;
	start(&e, FX_DMA_SYNC, 0);
	assert_int_equal(onpu_card_inject(e.fx->card, "dma-fault", 1), 0);
	submit(&e, pk_copy(VA, HOST_VA, SIZE));
	fx_expect_fault(&e.q, ONPU_FAULT_HOST, ONPU_FAULT_ACCESS_READ, 0, HOST_VA);
	fx_unbind(&e.q);
	fx_slot_wr(e.fx, 0, ONPU_SLOT_CMD, ONPU_SLOT_BIND);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	check_copied(&e, 0, SIZE);
	fx_destroy(e.fx);
}

static void kill_while_pending(void **state)
{
	struct env e;

	(void)state;
	start(&e, FX_DMA_HOLD, 4096);
	for (unsigned int answered = 0; answered < 70; answered += 10) {
		submit(&e, pk_copy(VA, HOST_VA, SIZE));
		onpu_card_run(e.fx->card, 1000);
		/* Some have come and not been collected, some never will. */
		fx_complete(e.fx, answered, true);
		assert_int_equal(fx_slot(e.fx, 0, ONPU_SLOT_STATE), ONPU_SLOT_RUNNING);
		fx_slot_wr(e.fx, 0, ONPU_SLOT_CMD, ONPU_SLOT_KILL);
		fx_run(e.fx);
		assert_int_equal(fx_slot(e.fx, 0, ONPU_SLOT_STATE), ONPU_SLOT_KILLED);
		assert_int_equal(e.fx->maps_live, 0);
		/* Late answers are taken back and given up at once. */
		fx_complete(e.fx, UINT32_MAX, false);
		assert_int_equal(e.fx->maps_live, 0);
		fx_unbind(&e.q);
		fx_slot_wr(e.fx, 0, ONPU_SLOT_CONSUMER, e.q.producer);
		fx_slot_wr(e.fx, 0, ONPU_SLOT_CMD, ONPU_SLOT_BIND);
		fx_run(e.fx);
	}
	fx_destroy(e.fx);
}

static void reset_while_pending(void **state)
{
	struct env e;

	(void)state;
	start(&e, FX_DMA_HOLD, 4096);
	submit(&e, pk_copy(VA, HOST_VA, SIZE));
	onpu_card_run(e.fx->card, 1000);
	fx_complete(e.fx, 7, false);
	onpu_card_reset(e.fx->card, ONPU_RESET_FUNCTION);
	assert_int_equal(e.fx->maps_live, 0);
	assert_int_equal(e.fx->n_queue, DMA_MAX_REQS - 7);
	assert_int_equal(fx_rd(e.fx, ONPU_REG_STATUS) & ONPU_STATUS_BUSY, 0);
	/* The card works while old requests are still out. */
	fx_context(e.fx, 1);
	e.fx->vram_next += 4096;
	fx_queue_init(&e.q, e.fx, 0, 9, 1, 4, 0);
	submit(&e, pk_signal(VA, 1, false));
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	fx_complete(e.fx, UINT32_MAX, true);
	assert_int_equal(e.fx->maps_live, 0);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	fx_destroy(e.fx);
}

static void quiesce_while_pending(void **state)
{
	struct env e;
	uint32_t asked;

	(void)state;
	start(&e, FX_DMA_HOLD, 4096);
	submit(&e, pk_copy(VA, HOST_VA, SIZE));
	onpu_card_run(e.fx->card, 1000);
	fx_complete(e.fx, 20, false);
	onpu_card_quiesce(e.fx->card);
	assert_int_equal(e.fx->maps_live, 0);
	assert_int_equal(onpu_card_run(e.fx->card, 1000), 0);
	fx_complete(e.fx, UINT32_MAX, false);
	assert_int_equal(e.fx->maps_live, 0);
	asked = e.fx->requests;
	onpu_card_resume(e.fx->card);
	do
		onpu_card_run(e.fx->card, 1000);
	while (fx_complete(e.fx, 100, false));
	/* Everything was asked for once more. */
	assert_int_equal(e.fx->requests, asked + SIZE / 4096);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	check_copied(&e, 0, SIZE);
	fx_destroy(e.fx);
}

/* Ring, control page, fence and descriptor in host memory, all by request. */
static void everything_on_the_host(void **state)
{
	uint64_t ring, fence_va = HOST_VA + 8;
	struct env e;

	(void)state;
	start(&e, FX_DMA_ASYNC, 0);
	fx_unbind(&e.q);
	ring = fx_hostmem(e.fx, 4096, 4096);
	fx_map(e.fx, 1, 0x30000000, ring, 4096, ONPU_PTE_READ | ONPU_PTE_HOST);
	fx_slot_wr(e.fx, 0, ONPU_SLOT_RING_LO, 0x30000000);
	fx_slot_wr(e.fx, 0, ONPU_SLOT_RING_HI, 0);
	fx_slot_wr(e.fx, 0, ONPU_SLOT_CTL_LO, HOST_VA + 4096);
	fx_slot_wr(e.fx, 0, ONPU_SLOT_CTL_HI, 0);
	fx_slot_wr(e.fx, 0, ONPU_SLOT_CONSUMER, 0);
	fx_slot_wr(e.fx, 0, ONPU_SLOT_CMD, ONPU_SLOT_BIND);
	for (unsigned int i = 0; i < 50; i++) {
		struct onpu_packet p = pk_signal(fence_va, i + 1, false);

		memcpy((uint8_t *)fx_hptr(e.fx, ring) + i * 64, &p, 64);
	}
	e.q.producer = 50;
	fx_ring(&e.q);
	assert_int_equal(fx_settle(&e.q), ONPU_SLOT_IDLE);
	assert_int_equal(fx_load((uint8_t *)fx_hptr(e.fx, e.page[0]) + 8), 50);
	assert_int_equal(*(uint32_t *)fx_hptr(e.fx, e.page[1]), 50);
	fx_destroy(e.fx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_order),
		cmocka_unit_test(bounded_requests),
		cmocka_unit_test(refused),
		cmocka_unit_test(refused_by_injection),
		cmocka_unit_test(kill_while_pending),
		cmocka_unit_test(reset_while_pending),
		cmocka_unit_test(quiesce_while_pending),
		cmocka_unit_test(everything_on_the_host),
	};

	return cmocka_run_group_tests_name("dma", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * More memory in buffers than the card has: who has to go, who comes back, what is given up. For
 * a card of little memory, of which the CPU reaches a part.
 */
#include "common.h"

#define CARD ACCEL_BUFFER_CARD
#define HOST ACCEL_BUFFER_HOST

enum { PARTS = 8, MOST = 2 * PARTS };

/* A context that fills a good part of the card with buffers of an eighth of it each. */
struct side {
	struct accel_context *context;
	struct accel_queue *queue;
	struct accel_buffer *buffers[MOST];
	unsigned int count;
	uint64_t size;
	uint32_t seed;
};

static struct accel_memory_info memory_of(struct accel_device *device)
{
	struct accel_memory_info info;

	accel_memory_info_init(&info);
	ok(accel_device_get_memory(device, &info));
	return info;
}

static struct accel_buffer_info info_of(struct accel_buffer *buffer)
{
	struct accel_buffer_info info;

	accel_buffer_info_init(&info);
	ok(accel_buffer_get_info(buffer, &info));
	return info;
}

static void open_side(struct side *side, struct fixture *f, unsigned int count, uint32_t flags,
		      uint32_t seed)
{
	memset(side, 0, sizeof(*side));
	side->size = (memory_of(f->device).card_size / PARTS) & ~0xfffffull;
	side->count = count;
	side->seed = seed;
	ok(accel_context_create(f->device, 0, &side->context));
	ok(accel_queue_create(side->context, ACCEL_PRIORITY_MEDIUM, &side->queue));
	for (unsigned int i = 0; i < count; i++)
		ok(accel_buffer_create(side->context, side->size, flags, &side->buffers[i]));
}

static void close_side(struct side *side)
{
	for (unsigned int i = 0; i < side->count; i++)
		accel_buffer_destroy(side->buffers[i]);
	accel_queue_destroy(side->queue);
	accel_context_destroy(side->context);
}

static void fill(struct side *side)
{
	for (unsigned int i = 0; i < side->count; i++)
		ok(accel_fill_async(side->queue, side->buffers[i], 0, side->size, side->seed + i, NULL));
	ok(accel_queue_finish(side->queue, ACCEL_FOREVER));
}

static void check_one(struct side *side, unsigned int i, uint32_t wanted)
{
	uint32_t words[3];

	ok(accel_buffer_read(side->buffers[i], 0, &words[0], 4));
	ok(accel_buffer_read(side->buffers[i], side->size / 2, &words[1], 4));
	ok(accel_buffer_read(side->buffers[i], side->size - 4, &words[2], 4));
	for (int w = 0; w < 3; w++)
		if (words[w] != wanted)
			fail_msg("buffer %u, word %d: %08x, wanted %08x", i, w, words[w], wanted);
}

static void check(struct side *side)
{
	for (unsigned int i = 0; i < side->count; i++)
		check_one(side, i, side->seed + i);
}

static unsigned int on_card(struct side *side)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < side->count; i++)
		count += info_of(side->buffers[i]).location == ACCEL_LOCATION_CARD;
	return count;
}

/* Two contexts that do not fit together take turns; three fit even less. */
static void contexts_take_turns(void **state)
{
	struct fixture *f = *state;
	struct side sides[3];

	for (unsigned int i = 0; i < 3; i++) {
		open_side(&sides[i], f, 5, CARD, 1000 * (i + 1));
		fill(&sides[i]);
		assert_int_equal(on_card(&sides[i]), 5);
	}
	for (int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < 3; i++) {
			/* Its own work on what it has not seen for a while. */
			ok(accel_copy(sides[i].queue, sides[i].buffers[0], 0, sides[i].buffers[4], 0, 4096));
			assert_int_equal(on_card(&sides[i]), 5);
			ok(accel_fill(sides[i].queue, sides[i].buffers[0], 0, 4096, sides[i].seed));
			check(&sides[i]);
		}
	}
	assert_true(on_card(&sides[0]) + on_card(&sides[1]) + on_card(&sides[2]) <= PARTS);
	for (unsigned int i = 0; i < 3; i++) {
		check(&sides[i]);
		close_side(&sides[i]);
	}
}

static void evicting_makes_room(void **state)
{
	struct fixture *f = *state;
	struct side side;
	uint64_t before;

	open_side(&side, f, 5, CARD, 7);
	fill(&side);
	before = memory_of(f->device).card_free;
	for (unsigned int i = 0; i < 5; i++)
		ok(accel_buffer_advise(side.buffers[i], ACCEL_ADVICE_EVICT));
	assert_int_equal(on_card(&side), 0);
	assert_true(memory_of(f->device).card_free >= before + 5 * side.size);
	check(&side);
	for (unsigned int i = 0; i < 5; i++)
		ok(accel_buffer_advise(side.buffers[i], ACCEL_ADVICE_PREFETCH));
	assert_int_equal(on_card(&side), 5);
	check(&side);
	close_side(&side);
}

/* What is prefetched makes others go. */
static void prefetch_at_the_cost_of_others(void **state)
{
	struct fixture *f = *state;
	struct side mine, others;

	open_side(&mine, f, 5, CARD | HOST, 100);
	fill(&mine);
	for (unsigned int i = 0; i < 5; i++)
		ok(accel_buffer_advise(mine.buffers[i], ACCEL_ADVICE_EVICT));
	open_side(&others, f, 6, CARD, 200);
	fill(&others);
	assert_int_equal(on_card(&others), 6);
	for (unsigned int i = 0; i < 5; i++)
		ok(accel_buffer_advise(mine.buffers[i], ACCEL_ADVICE_PREFETCH));
	assert_int_equal(on_card(&mine), 5);
	assert_true(on_card(&others) <= 3);
	check(&mine);
	check(&others);
	close_side(&mine);
	close_side(&others);
}

static void given_up_under_pressure(void **state)
{
	struct fixture *f = *state;
	struct side mine, others;
	unsigned int lost = 0;

	open_side(&mine, f, 5, CARD, 100);
	fill(&mine);
	/* Without pressure nothing happens. */
	for (unsigned int i = 0; i < 4; i++) {
		ok(accel_buffer_advise(mine.buffers[i], ACCEL_ADVICE_PURGEABLE));
		ok(accel_buffer_advise(mine.buffers[i], ACCEL_ADVICE_NEEDED));
	}
	check(&mine);
	/* Reading may have moved some out of the card, to where the CPU reaches them. */
	fill(&mine);
	for (unsigned int i = 0; i < 4; i++)
		ok(accel_buffer_advise(mine.buffers[i], ACCEL_ADVICE_PURGEABLE));
	open_side(&others, f, 7, CARD, 200);
	fill(&others);
	check(&others);
	for (unsigned int i = 0; i < 4; i++) {
		struct accel_buffer_info info = info_of(mine.buffers[i]);
		int ret = accel_buffer_advise(mine.buffers[i], ACCEL_ADVICE_NEEDED);

		if (!ret) {
			check_one(&mine, i, 100 + i);
			continue;
		}
		fails(ret, -ENODATA);
		expect_detail("it is zero now");
		assert_true(info.state & ACCEL_BUFFER_PURGED);
		assert_int_equal(info.location, ACCEL_LOCATION_NONE);
		check_one(&mine, i, 0);
		lost++;
	}
	assert_true(lost >= 3);
	check_one(&mine, 4, 104);	/* was never purgeable */
	close_side(&others);
	fill(&mine);
	check(&mine);
	close_side(&mine);
}

/* What is mapped in one context has to fit; that is said, and ends when it fits again. */
static void too_much_for_one_context(void **state)
{
	struct fixture *f = *state;
	struct side side, other;

	open_side(&side, f, PARTS + 2, CARD, 5);
	open_side(&other, f, 2, CARD, 50);
	fails(accel_fill(side.queue, side.buffers[0], 0, 4096, 1), -ENOMEM);
	expect_detail("card memory");
	fill(&other);
	check(&other);
	while (side.count > 4)
		accel_buffer_destroy(side.buffers[--side.count]);
	fill(&side);
	check(&side);
	close_side(&side);
	close_side(&other);
}

/* With a choice of places there is no such limit. */
static void either_place(void **state)
{
	struct fixture *f = *state;
	struct side side;

	open_side(&side, f, PARTS + 4, CARD | HOST, 9);
	fill(&side);
	assert_true(on_card(&side) >= 4 && on_card(&side) <= PARTS);
	check(&side);
	close_side(&side);
}

/* The CPU gets at everything, wherever the card has it. */
static void beyond_the_aperture(void **state)
{
	struct fixture *f = *state;
	struct accel_memory_info memory = memory_of(f->device);
	struct side side, visible;

	assert_true(memory.card_visible < memory.card_size);
	open_side(&side, f, 4, CARD, 300);
	open_side(&visible, f, 2, CARD | ACCEL_BUFFER_CPU_VISIBLE, 400);
	fill(&side);
	fill(&visible);
	for (int round = 0; round < 2; round++) {
		check(&side);
		check(&visible);
		ok(accel_copy(side.queue, side.buffers[0], 4096, side.buffers[1], 4096, 4096));
		ok(accel_fill(side.queue, side.buffers[0], 4096, 4096, 300));
	}
	close_side(&side);
	close_side(&visible);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(contexts_take_turns, setup, teardown),
		cmocka_unit_test_setup_teardown(evicting_makes_room, setup, teardown),
		cmocka_unit_test_setup_teardown(prefetch_at_the_cost_of_others, setup, teardown),
		cmocka_unit_test_setup_teardown(given_up_under_pressure, setup, teardown),
		cmocka_unit_test_setup_teardown(too_much_for_one_context, setup, teardown),
		cmocka_unit_test_setup_teardown(either_place, setup, teardown),
		cmocka_unit_test_setup_teardown(beyond_the_aperture, setup, teardown),
	};

	return run_group("pressure", tests);
}

/* SPDX-License-Identifier: MIT */
/*
 * The allocators inside libaccel, by random use against what must hold.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "../../libaccel/src/internal.h"

#include <cmocka.h>

#include "fake_kernel.h"

static uint32_t random_state = 1;

static uint32_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state;
}

#define SPACE_START 0x1000ull
#define SPACE_END (0x1000ull + (64ull << 20))

/* The free list ascends, never touches itself, and with what is taken it makes the space. */
static void check_space(const struct va_space *space, struct va_range *const *taken, int count)
{
	uint64_t sum = 0, before = 0;

	for (const struct va_range *range = space->free; range; range = range->next) {
		assert_true(range->start < range->end);
		assert_true(!before || before < range->start);
		before = range->end;
		sum += range->end - range->start;
		for (int i = 0; i < count; i++)
			if (taken[i])
				assert_true(taken[i]->end <= range->start || range->end <= taken[i]->start);
	}
	for (int i = 0; i < count; i++) {
		if (!taken[i])
			continue;
		sum += taken[i]->end - taken[i]->start;
		for (int j = 0; j < i; j++)
			if (taken[j])
				assert_true(taken[j]->end <= taken[i]->start ||
					    taken[i]->end <= taken[j]->start);
	}
	assert_int_equal(sum, SPACE_END - SPACE_START);
}

static void addresses(void **state)
{
	struct va_range *taken[40] = { NULL };
	struct va_space space;
	int refused = 0;

	(void)state;
	assert_int_equal(va_init(&space, 5, 5), -EINVAL);
	assert_int_equal(va_init(&space, SPACE_START, SPACE_END), 0);
	for (int round = 0; round < 20000; round++) {
		int i = (int)(next_random() % ARRAY_SIZE(taken));

		if (taken[i]) {
			va_free(&space, taken[i]);
			taken[i] = NULL;
		} else {
			uint64_t size = (1 + next_random() % 1500) * 4096ull;
			uint64_t align = next_random() % 4 ? 4096 : 2 << 20;

			taken[i] = va_alloc(&space, size, align);
			refused += !taken[i];
			if (taken[i]) {
				assert_int_equal(taken[i]->end - taken[i]->start, size);
				assert_int_equal(taken[i]->start % align, 0);
			}
		}
		if (round % 16 == 0)
			check_space(&space, taken, ARRAY_SIZE(taken));
	}
	assert_true(refused > 0);	/* it was full at times */
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
		if (taken[i])
			va_free(&space, taken[i]);
	assert_int_equal(space.free->start, SPACE_START);
	assert_int_equal(space.free->end, SPACE_END);
	assert_null(space.free->next);
	assert_null(va_alloc(&space, UINT64_MAX, 4096));
	va_fini(&space);
}

/* A queue of allocations, freed in order; every byte belongs to one at most. */
static void arena(void **state)
{
	struct { uint32_t start, size; } live[4096];
	unsigned int first = 0, last = 0, full = 0;
	static uint8_t owner[ARENA_SIZE / 64];
	struct arena arena = { .head = ARENA_RESERVED, .tail = ARENA_RESERVED };

	(void)state;
	for (int round = 0; round < 200000; round++) {
		uint32_t size = 1 + next_random() % (next_random() % 8 ? 2000 : ARENA_ALLOC_MAX);
		bool add = next_random() % 16 < (round / 500 % 2 ? 11u : 5u);
		int64_t start;

		if (!add && first != last) {
			for (uint32_t b = 0; b < live[first % 4096].size; b += 64)
				owner[(live[first % 4096].start + b) / 64] = 0;
			arena_free_oldest(&arena, live[first % 4096].start + live[first % 4096].size);
			first++;
			continue;
		}
		start = arena_alloc(&arena, size);
		full += start < 0;
		if (start < 0) {
			assert_true(first != last);	/* an empty one takes any */
			continue;
		}
		size = arena_round(size);
		assert_true(start >= ARENA_RESERVED && start % 64 == 0 && start + size <= ARENA_SIZE);
		if (next_random() % 8 == 0) {
			arena_undo(&arena, (uint32_t)start + size, size);
			continue;
		}
		for (uint32_t b = 0; b < size; b += 64) {
			assert_int_equal(owner[(start + b) / 64], 0);
			owner[(start + b) / 64] = 1;
		}
		live[last % 4096].start = (uint32_t)start;
		live[last % 4096].size = size;
		last++;
	}
	assert_true(full > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses),
		cmocka_unit_test(arena),
	};

	return cmocka_run_group_tests_name("internals", tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/*
 * Random numbers, and operands in memory as the engine meets it: ending at an inaccessible page,
 * or scattered over pages. One thread.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <sys/mman.h>

#include "operands.h"

struct onpu_pool *pools[MAX_POOLS];

int setup_pools(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < MAX_POOLS; i++) {
		pools[i] = onpu_pool_create(i, "test");
		if (!pools[i])
			return -1;
	}
	return 0;
}

int teardown_pools(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < MAX_POOLS; i++)
		onpu_pool_destroy(pools[i]);
	return 0;
}

#define PAGE 4096u

uint64_t rng_state = 0x9e3779b97f4a7c15u;

uint32_t rnd(void)
{
	uint64_t z = rng_state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (uint32_t)((z ^ (z >> 31)) >> 16);
}

uint32_t rnd_below(uint32_t n)
{
	return rnd() % n;
}

void *xalloc(size_t n)
{
	void *p = malloc(n ? n : 1);

	assert_non_null(p);
	return p;
}

static void one_segment(struct operand *op)
{
	uint64_t size = (op->len + PAGE - 1) / PAGE * PAGE;
	uint8_t *map = mmap(NULL, size + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	/* Ends (or, every fourth time, begins) at an inaccessible page: a byte too far faults. */
	assert_true(map != MAP_FAILED);
	assert_int_equal(mprotect(map + PAGE, size, PROT_READ | PROT_WRITE), 0);
	op->map = map;
	op->map_size = size + 2 * PAGE;
	op->pages = rnd_below(4) ? map + PAGE + size - op->len : map + PAGE;
	op->segs = xalloc(sizeof(*op->segs));
	op->segs[0] = (struct onpu_seg) { op->pages, 0, op->len };
	op->view = (struct onpu_view) { op->segs, 1, op->len };
}

/* Cut at random page boundaries of an address space, pages in shuffled order in memory. */
static void scatter(struct operand *op, unsigned int es)
{
	uint64_t start = rnd_below(PAGE / es) * es;
	uint64_t npages = (start + op->len + PAGE - 1) / PAGE;
	uint64_t *order = xalloc(npages * sizeof(*order));
	size_t n = 0;

	op->pages = aligned_alloc(PAGE, npages * PAGE);
	assert_non_null(op->pages);
	op->segs = xalloc(npages * sizeof(*op->segs));
	for (uint64_t i = 0; i < npages; i++)
		order[i] = i;
	for (uint64_t i = npages; i > 1; i--) {
		uint64_t j = rnd_below((uint32_t)i), t = order[j];

		order[j] = order[i - 1];
		order[i - 1] = t;
	}
	for (uint64_t i = 0; i < npages; i++) {
		uint64_t first = i == 0 ? start : 0;
		uint64_t off = i * PAGE + first - start;
		uint64_t len = PAGE - first < op->len - off ? PAGE - first : op->len - off;

		op->segs[n++] = (struct onpu_seg) { op->pages + order[i] * PAGE + first, off, len };
		/* Neighbours in memory too: merge, as a page-table walk does. */
		if (n > 1 && rnd_below(2) && op->segs[n - 2].ptr + op->segs[n - 2].len ==
		    op->segs[n - 1].ptr) {
			op->segs[n - 2].len += len;
			n--;
		}
	}
	free(order);
	op->view = (struct onpu_view) { op->segs, n, op->len };
}

void view_copy(const struct operand *op, uint8_t *flat, bool to_view)
{
	for (size_t i = 0; i < op->view.n; i++) {
		const struct onpu_seg *s = &op->segs[i];

		if (to_view)
			memcpy(s->ptr, flat + s->off, s->len);
		else
			memcpy(flat + s->off, s->ptr, s->len);
	}
}

void alloc_operand(struct operand *op)
{
	op->flat = xalloc(op->len);
	op->expect = NULL;
	op->map = NULL;
}

void place_operand(struct operand *op, unsigned int es, bool scattered)
{
	if (scattered)
		scatter(op, es);
	else
		one_segment(op);
	view_copy(op, op->flat, true);
}

void free_operand(struct operand *op)
{
	free(op->flat);
	free(op->expect);
	if (op->map)
		munmap(op->map, op->map_size);
	else
		free(op->pages);
	free(op->segs);
}

/* SPDX-License-Identifier: MIT */
/* Operands of matmul tests: a flat copy for the oracle, and the same bytes in pages for the engine. */
#ifndef OPERANDS_H
#define OPERANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gemm.h"
#include "pool.h"

struct operand {
	uint8_t *flat, *expect;
	uint64_t len;
	uint8_t *pages;
	uint8_t *map;		/* NULL: pages are from the allocator */
	size_t map_size;
	struct onpu_seg *segs;
	struct onpu_view view;
};

/* By number of threads; group fixtures. */
#define MAX_POOLS 5
extern struct onpu_pool *pools[MAX_POOLS];
int setup_pools(void **state);
int teardown_pools(void **state);

extern uint64_t rng_state;
uint32_t rnd(void);
uint32_t rnd_below(uint32_t n);

void *xalloc(size_t n);

/* Memory for op->len bytes in op->flat. */
void alloc_operand(struct operand *op);

/*
 * Gives the engine op->flat: in one segment, or (then elements of es bytes, a power of two, stay
 * whole) in pages in any order.
 */
void place_operand(struct operand *op, unsigned int es, bool scattered);
void view_copy(const struct operand *op, uint8_t *flat, bool to_view);
void free_operand(struct operand *op);

#endif

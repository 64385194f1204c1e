/* SPDX-License-Identifier: MIT */
/*
 * The cost model: from what a packet asks of the engines to the time that each of them takes.
 * Documentation/hardware.md, "Engine time", is the definition.
 */
#ifndef ONPU_MODEL_COST_H
#define ONPU_MODEL_COST_H

#include <stdbool.h>
#include <stdint.h>

#include "onpu/packet.h"
#include "onpu/regs.h"
#include "onpu_model.h"

#define ONPU_COST_TILE	16u		/* rows and columns of D */
#define ONPU_COST_MAX	(1ull << 56)	/* longest time of a packet on an engine, ns */

/* What a packet asks for. Adds up while it executes; saturates. */
struct onpu_demand {
	uint64_t tiles;			/* of D, all matmuls together */
	uint32_t k;
	uint32_t macs;			/* rate of its types; 0: no matmul */
	uint64_t ops;
	uint64_t bytes[ONPU_ENGINES];	/* of the engines that move bytes */
};

/* Fills in defaults; false if a value is out of range. */
bool onpu_speed_init(struct onpu_speed *speed);
/* Multiply-adds per cycle and core of operands with so many bits. */
uint32_t onpu_cost_macs(const struct onpu_speed *speed, unsigned int a_bits, unsigned int b_bits);
void onpu_cost_add(uint64_t *sum, uint64_t value);
void onpu_cost_add_matmul(struct onpu_demand *demand, uint32_t m, uint32_t n, uint32_t k);
/* Bytes of the range [from, to) that are in rows of len bytes, stride apart, from 0. */
uint64_t onpu_cost_row_bytes(uint64_t from, uint64_t to, uint64_t rows, uint64_t len,
			     uint64_t stride);
/* Time that each engine takes, in ns. */
void onpu_cost_times(const struct onpu_speed *speed, const struct onpu_demand *demand,
		     uint64_t ns[ONPU_ENGINES]);

#endif

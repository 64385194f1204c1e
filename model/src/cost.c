// SPDX-License-Identifier: MIT
/*
 * The cost model (cost.h): arithmetic only.
 *
 * Idea: a packet's demand on each engine is counted in tiles and bytes, and every engine
 * turns its part into time by one rate. Integers throughout, rounded up, so that the same
 * packet takes the same time on every host, with any number of threads and any kernel.
 *
 * Locking: none; the functions have no state.
 */
#include "cost.h"

#define NS_PER_S	1000000000ull

typedef unsigned __int128 u128;

static const struct onpu_speed defaults = {
	.cores = 32, .clock_khz = 1500000, .macs = { 512, 4096, 8192, 16384 }, .packet_ns = 200,
	.vram_bandwidth = 1600000000000ull, .host_bandwidth = 56000000000ull,
};

static void or_default32(uint32_t *value, uint32_t def)
{
	if (!*value)
		*value = def;
}

static bool bandwidth_valid(uint64_t bandwidth)
{
	return bandwidth >= 1000000 && bandwidth <= 1ull << 50;
}

bool onpu_speed_init(struct onpu_speed *s)
{
	bool ok;

	or_default32(&s->cores, defaults.cores);
	or_default32(&s->clock_khz, defaults.clock_khz);
	or_default32(&s->packet_ns, defaults.packet_ns);
	if (!s->vram_bandwidth)
		s->vram_bandwidth = defaults.vram_bandwidth;
	if (!s->host_bandwidth)
		s->host_bandwidth = defaults.host_bandwidth;
	ok = s->cores <= 4096 && s->clock_khz >= 1000 && s->clock_khz <= 10000000 &&
	     s->packet_ns <= NS_PER_S && bandwidth_valid(s->vram_bandwidth) &&
	     bandwidth_valid(s->host_bandwidth);
	for (unsigned int i = 0; i < 4; i++) {
		or_default32(&s->macs[i], defaults.macs[i]);
		ok &= s->macs[i] <= 1u << 20;
	}
	return ok;
}

uint32_t onpu_cost_macs(const struct onpu_speed *speed, unsigned int a_bits, unsigned int b_bits)
{
	unsigned int bits = a_bits > b_bits ? a_bits : b_bits;

	return speed->macs[bits > 16 ? 0 : bits > 8 ? 1 : bits > 4 ? 2 : 3];
}

void onpu_cost_add(uint64_t *sum, uint64_t value)
{
	if (__builtin_add_overflow(*sum, value, sum))
		*sum = UINT64_MAX;
}

void onpu_cost_add_matmul(struct onpu_demand *demand, uint32_t m, uint32_t n, uint32_t k)
{
	uint64_t rows = (m + ONPU_COST_TILE - 1ull) / ONPU_COST_TILE;
	uint64_t columns = (n + ONPU_COST_TILE - 1ull) / ONPU_COST_TILE;

	onpu_cost_add(&demand->tiles, rows * columns);
	demand->k = k;
	/* At most 2^55: no dimension is above 2^18. */
	onpu_cost_add(&demand->ops, 2ull * m * n * k);
}

/* Bytes of rows below an offset; rows that overlap count each for itself. */
static uint64_t bytes_below(uint64_t offset, uint64_t rows, uint64_t len, uint64_t stride)
{
	uint64_t whole = 0, begun, n;

	if (rows <= 1 || !stride)
		return rows * (offset < len ? offset : len);
	/* The first rows lie below it, the next ones in part, each by a stride less. */
	if (offset >= len)
		whole = (offset - len) / stride + 1;
	begun = offset ? (offset - 1) / stride + 1 : 0;
	if (whole > rows)
		whole = rows;
	if (begun > rows)
		begun = rows;
	if (begun <= whole)
		return whole * len;
	n = begun - whole;
	return whole * len + n * (offset - whole * stride) - stride * (n * (n - 1) / 2);
}

uint64_t onpu_cost_row_bytes(uint64_t from, uint64_t to, uint64_t rows, uint64_t len,
			     uint64_t stride)
{
	return bytes_below(to, rows, len, stride) - bytes_below(from, rows, len, stride);
}

/* amount units at per_second of them, in ns, rounded up. */
static uint64_t time_of(u128 amount, uint64_t per_second)
{
	u128 ns;

	/* What does not fit below is far above the limit. */
	if (amount >> 90)
		return ONPU_COST_MAX;
	ns = (amount * NS_PER_S + per_second - 1) / per_second;
	return ns < ONPU_COST_MAX ? (uint64_t)ns : ONPU_COST_MAX;
}

/* Cores take tiles in turns; the last turn may leave some of them idle. */
static uint64_t cores_time(const struct onpu_speed *speed, const struct onpu_demand *demand)
{
	uint64_t turns, cycles;

	if (!demand->tiles || !demand->macs)
		return 0;
	turns = (demand->tiles - 1) / speed->cores + 1;
	cycles = ((uint64_t)demand->k * ONPU_COST_TILE * ONPU_COST_TILE - 1) / demand->macs + 1;
	return time_of((u128)turns * cycles, speed->clock_khz * 1000ull);
}

void onpu_cost_times(const struct onpu_speed *speed, const struct onpu_demand *demand,
		     uint64_t ns[ONPU_ENGINES])
{
	uint64_t longest = 0;

	ns[ONPU_ENGINE_CORES] = cores_time(speed, demand);
	ns[ONPU_ENGINE_VRAM] = time_of(demand->bytes[ONPU_ENGINE_VRAM], speed->vram_bandwidth);
	ns[ONPU_ENGINE_HOST_READ] = time_of(demand->bytes[ONPU_ENGINE_HOST_READ],
					    speed->host_bandwidth);
	ns[ONPU_ENGINE_HOST_WRITE] = time_of(demand->bytes[ONPU_ENGINE_HOST_WRITE],
					     speed->host_bandwidth);
	for (unsigned int i = ONPU_ENGINE_VRAM; i < ONPU_ENGINES; i++)
		if (ns[i] > longest)
			longest = ns[i];
	/* The copy engine is as fast as the memory on both sides. */
	ns[ONPU_ENGINE_COPY] = demand->macs ? 0 : longest;
}

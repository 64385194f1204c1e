// SPDX-License-Identifier: MIT
/*
 * Hostile code: random memory is executed, with regions that end at guarded
 * pages, random bus answers and random interrupts.  The program is built with
 * the address and undefined-behaviour sanitizers; it fails if the simulator
 * touches a byte that it was not given, calls the bus with an address that a
 * region has, or runs longer than it was told.
 *
 * usage: fuzz_hart [ROUNDS [SEED]]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "rv32.h"

#define CODE_BASE	0x1000u
#define CODE_SIZE	0x800u
#define DATA_BASE	0x8000u
#define DATA_SIZE	0x404u
#define ROM_BASE	0xffffff00u
#define ROM_SIZE	0x100u
#define INSNS		2000

static uint64_t rng;

static uint32_t rnd(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (uint32_t)(rng >> 16);
}

static void check(int ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "fuzz_hart: %s\n", what);
		abort();
	}
}

/* A device access is aligned and not to writable memory. */
static void check_bus(uint32_t addr, unsigned int size)
{
	check(size == 1 || size == 2 || size == 4, "size");
	check(!(addr & (size - 1)), "alignment");
	check(addr - CODE_BASE >= CODE_SIZE, "code through the bus");
	check(addr - DATA_BASE >= DATA_SIZE, "data through the bus");
}

static int bus_load(void *opaque, uint32_t addr, unsigned int size,
		    uint32_t *v)
{
	(void)opaque;
	check_bus(addr, size);
	*v = rnd();
	return rnd() % 4 == 0;
}

static int bus_store(void *opaque, uint32_t addr, unsigned int size,
		     uint32_t v)
{
	check_bus(addr, size);
	check(size == 4 || !(v >> (8 * size)), "value wider than the store");
	if (rnd() % 16 == 0)
		onpu_rv32_stop(*(struct onpu_rv32 **)opaque);
	onpu_rv32_set_irq(*(struct onpu_rv32 **)opaque, rnd() % 16, rnd() & 1);
	return rnd() % 4 == 0;
}

/* Random words, many of them real instructions on small registers. */
static uint32_t random_insn(void)
{
	static const uint8_t ops[] = { 0x03, 0x13, 0x23, 0x33, 0x63, 0x67, 0x6f,
				       0x73, 0x17, 0x37, 0x0f };
	static const uint16_t csrs[] = { 0x300, 0x304, 0x305, 0x320, 0x340,
					 0x341, 0x342, 0x344, 0xb00, 0xb02,
					 0xb80, 0xb82 };
	uint32_t w = rnd();

	switch (w & 7) {
	case 0:
		return w;
	case 1:
		return (uint32_t)csrs[(w >> 8) % 12] << 20 | (rnd() & 0xff000) |
		       (rnd() & 0xf80) | 0x73;
	case 2:
		return w << 16 | (rnd() & 0xffff); /* compressed */
	default:
		return (rnd() & 0xfff87f80) | (rnd() & 0x7000) |
		       ops[(w >> 8) % sizeof(ops)];
	}
}

static void fill(uint32_t *p, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes / 4; i++)
		p[i] = random_insn();
}

static void round_of(void)
{
	/* Exact heap blocks: the sanitizer sees one byte too far. */
	uint32_t *code = malloc(CODE_SIZE), *data = malloc(DATA_SIZE);
	uint32_t *rom = malloc(ROM_SIZE), *rom_copy = malloc(ROM_SIZE);
	struct onpu_rv32 *h = NULL;
	struct onpu_rv32_config config = {
		.reset_pc = CODE_BASE + (rnd() % CODE_SIZE & ~1u),
		.bus = { bus_load, bus_store }, .opaque = &h,
	};
	const struct onpu_rv32_region regions[] = {
		{ CODE_BASE, CODE_SIZE, (uint8_t *)code, true, true },
		{ DATA_BASE, DATA_SIZE, (uint8_t *)data, true, false },
		{ ROM_BASE, ROM_SIZE, (uint8_t *)rom, false, true },
	};
	struct onpu_rv32_state s;
	uint64_t n, total = 0;

	fill(code, CODE_SIZE);
	fill(data, DATA_SIZE);
	fill(rom, ROM_SIZE);
	memcpy(rom_copy, rom, ROM_SIZE);
	h = onpu_rv32_create(&config);
	for (int i = 0; i < 3; i++)
		check(!onpu_rv32_add_region(h, &regions[i]), "add_region");
	onpu_rv32_get_state(h, &s);
	for (int i = 0; i < 32; i++) {
		switch (rnd() % 4) {
		case 0: s.x[i] = rnd(); break;
		case 1: s.x[i] = DATA_BASE + rnd() % (DATA_SIZE + 8); break;
		case 2: s.x[i] = CODE_BASE + rnd() % (CODE_SIZE + 8); break;
		case 3: s.x[i] = ROM_BASE + rnd() % ROM_SIZE; break;
		}
	}
	s.mtvec = CODE_BASE + rnd() % CODE_SIZE;
	onpu_rv32_set_state(h, &s);
	onpu_rv32_stop_on_ebreak(h, rnd() & 1);
	for (int i = 0; i < 8 && total < INSNS; i++) {
		uint64_t max = rnd() % INSNS;

		onpu_rv32_set_irq(h, rnd() % 16, rnd() & 1);
		onpu_rv32_run(h, max, &n);
		check(n <= max, "ran too long");
		total += n;
		onpu_rv32_get_state(h, &s);
		check(!s.x[0] && !(s.pc & 1) && !(s.mepc & 1), "state");
		/* Random code soon runs away: bring it back. */
		s.pc = CODE_BASE + rnd() % CODE_SIZE;
		s.wfi = s.lockup = 0;
		onpu_rv32_set_state(h, &s);
	}
	check(!memcmp(rom, rom_copy, ROM_SIZE), "ROM was written");
	onpu_rv32_destroy(h);
	free(code);
	free(data);
	free(rom);
	free(rom_copy);
}

int main(int argc, char **argv)
{
	unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 0) : 3000;

	rng = argc > 2 ? strtoull(argv[2], NULL, 0) : 0x9e3779b97f4a7c15ull;
	rng |= 1;
	for (unsigned long i = 0; i < rounds; i++)
		round_of();
	printf("%lu rounds\n", rounds);
	return 0;
}

// SPDX-License-Identifier: MIT
/*
 * Prints what the simulator makes of instructions, for decode_sweep.py:
 * "compressed": all 65,536 16-bit values with their 32-bit equivalents;
 * "legal": for each 32-bit word on stdin whether it traps as illegal.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "rv32.h"

static void compressed(void)
{
	for (uint32_t i = 0; i < 1 << 16; i++)
		printf("%04" PRIx32 " %08" PRIx32 "\n", i,
		       onpu_rv32_expand((uint16_t)i));
}

/* Executes one word at address 0 and looks whether it was illegal. */
static void legal(void)
{
	static uint32_t mem[64];
	struct onpu_rv32_region r = {
		.base = 0x1000, .size = sizeof(mem), .ptr = (uint8_t *)mem,
		.writable = false, .executable = true,
	};
	struct onpu_rv32_config config = { .reset_pc = 0x1000 };
	struct onpu_rv32 *h = onpu_rv32_create(&config);
	struct onpu_rv32_state s;
	char line[64];

	if (!h || onpu_rv32_add_region(h, &r))
		exit(2);
	while (fgets(line, sizeof(line), stdin)) {
		uint32_t insn = (uint32_t)strtoul(line, NULL, 16);

		mem[0] = insn;
		onpu_rv32_reset(h);
		onpu_rv32_get_state(h, &s);
		s.mtvec = 0x2000;
		onpu_rv32_set_state(h, &s);
		onpu_rv32_run(h, 1, NULL);
		onpu_rv32_get_state(h, &s);
		printf("%d\n", s.mcause != ONPU_RV32_EXC_ILLEGAL);
	}
	onpu_rv32_destroy(h);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "compressed"))
		compressed();
	else if (argc == 2 && !strcmp(argv[1], "legal"))
		legal();
	else
		return 2;
	return 0;
}

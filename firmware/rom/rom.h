/* SPDX-License-Identifier: MIT */
/* Addresses that the ROM's C and assembly share. */
#ifndef ROM_H
#define ROM_H

/* ONPU_MCU_ROM_DATA_BASE and _SIZE; checked in rom.c. */
#define ROM_HEADER_COPY	0x100f0000
#define ROM_STACK_TOP	0x10100000

#endif

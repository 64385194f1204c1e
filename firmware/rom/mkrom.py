#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Turns the boot ROM's binary into a C header for the card model.

The development key is part of the mask ROM on the card, so its hash goes into
the same header.
"""
import hashlib
import sys


def read_key(path):
    """The 32 bytes of a key file: hexadecimal, lines with # are comments."""
    with open(path, encoding='ascii') as f:
        text = ''.join(line.strip() for line in f
                       if not line.startswith('#'))
    key = bytes.fromhex(text)
    if len(key) != 32:
        sys.exit(f'{path}: not a 32-byte key')
    return key


def c_bytes(data):
    lines = []
    for i in range(0, len(data), 12):
        lines.append('\t' + ' '.join(f'0x{b:02x},' for b in data[i:i + 12]))
    return '\n'.join(lines)


def main():
    rom_path, key_path, out_path = sys.argv[1:]
    with open(rom_path, 'rb') as f:
        rom = f.read()
    digest = hashlib.sha256(read_key(key_path)).digest()
    with open(out_path, 'w', encoding='ascii') as f:
        f.write(f'''/* SPDX-License-Identifier: MIT */
/* Generated from the boot ROM and the development key: do not edit. */
#ifndef ONPU_ROM_H
#define ONPU_ROM_H

#include <stdint.h>

/* Boot ROM, to be placed at ONPU_MCU_ROM_BASE; the rest of it is zero. */
static const uint8_t onpu_rom[{len(rom)}] = {{
{c_bytes(rom)}
}};

/* SHA-256 of the development public key: ONPU_SYS_DEV_KEY_HASH. */
static const uint8_t onpu_rom_dev_key_hash[32] = {{
{c_bytes(digest)}
}};

#endif
''')


if __name__ == '__main__':
    main()

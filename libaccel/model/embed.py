#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Turns firmware images, each at a multiple of 64 bytes, into a C header: embed.py IMAGE... HEADER."""
import sys


def main():
    *images, header = sys.argv[1:]
    data = b''
    for image in images:
        with open(image, 'rb') as f:
            data += f.read()
        data += bytes(-len(data) % 64)
    lines = ['\t' + ' '.join(f'0x{b:02x},' for b in data[i:i + 12])
             for i in range(0, len(data), 12)]
    with open(header, 'w', encoding='ascii') as f:
        f.write('/* SPDX-License-Identifier: MIT */\n'
                '/* Generated from the firmware image: do not edit. */\n'
                '#include <stdalign.h>\n'
                'static const alignas(64) unsigned char onpu_fw_image[] = {\n')
        f.write('\n'.join(lines) + '\n};\n')


main()

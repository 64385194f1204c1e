#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Turns the firmware image into a C header: embed.py IMAGE HEADER."""
import sys


def main():
    image, header = sys.argv[1:]
    with open(image, 'rb') as f:
        data = f.read()
    lines = ['\t' + ' '.join(f'0x{b:02x},' for b in data[i:i + 12])
             for i in range(0, len(data), 12)]
    with open(header, 'w', encoding='ascii') as f:
        f.write('/* SPDX-License-Identifier: MIT */\n'
                '/* Generated from the firmware image: do not edit. */\n'
                '#include <stdalign.h>\n'
                'static const alignas(64) unsigned char onpu_fw_image[] = {\n')
        f.write('\n'.join(lines) + '\n};\n')


main()

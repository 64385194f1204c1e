#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""onpu-fwtool: images judged by an independent reader and an independent
Ed25519 (RFC 8032 in plain Python), refusals, exit statuses.

usage: test_fwtool.py FWTOOL ELF IMAGE KEYDIR
"""
import hashlib
import json
import os
import stat
import re
import struct
import subprocess
import sys
import tempfile

TOOL, ELF, IMAGE, KEYS = sys.argv[1:]
failures = 0


def check(what, good, text=''):
    global failures
    if not good:
        failures += 1
        print(f'FAILED: {what} {text}')


def run(*args, status=0):
    r = subprocess.run([TOOL, *args], capture_output=True, text=True,
                       timeout=60, check=False)
    check(f'{args}', r.returncode == status,
          f'status {r.returncode}: {r.stdout}{r.stderr}')
    return r


# --- Ed25519 verification, from the text of RFC 8032 --------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def add(a, b):
    x1, y1, z1, t1 = a
    x2, y2, z2, t2 = b
    e = (y1 - x1) * (y2 - x2)
    f = (y1 + x1) * (y2 + x2)
    g = 2 * t1 * t2 * D
    h = 2 * z1 * z2
    e, f, g, h = f - e, h - g, h + g, f + e
    return e * f % P, g * h % P, f * g % P, e * h % P


def mul(n, point):
    q = (0, 1, 1, 0)
    while n:
        if n & 1:
            q = add(q, point)
        point = add(point, point)
        n >>= 1
    return q


def decompress(data):
    y = int.from_bytes(data, 'little')
    sign = y >> 255
    y &= (1 << 255) - 1
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - x2) % P:
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


BASE = decompress((4 * pow(5, P - 2, P) % P).to_bytes(32, 'little'))


def verify(key, message, sig):
    a, r = decompress(key), decompress(sig[:32])
    s = int.from_bytes(sig[32:], 'little')
    if a is None or r is None or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(sig[:32] + key + message).digest(),
                       'little') % L
    left, right = mul(s, BASE), add(r, mul(h, a))
    return ((left[0] * right[2] - right[0] * left[2]) % P == 0 and
            (left[1] * right[2] - right[1] * left[2]) % P == 0)


# --- the image format, from Documentation/firmware.md -------------------------

def read_image(data):
    names = ('magic', 'header_version', 'header_size', 'image_size',
             'fw_version', 'svn', 'entry', 'num_sections')
    image = dict(zip(names, struct.unpack_from('<8I', data)))
    image['abi'] = struct.unpack_from('<16H', data, 32)
    image['name'] = data[96:128].rstrip(b'\0').decode()
    image['sections'] = []
    for i in range(8):
        f = struct.unpack_from('<8I32s', data, 128 + 64 * i)
        image['sections'].append(f)
    image['key'] = data[896:928]
    image['signature'] = data[960:1024]
    return image


def key_of(path):
    with open(path, encoding='ascii') as f:
        return bytes.fromhex(''.join(line for line in f
                                     if line[0] != '#').strip())


def read(path):
    with open(path, 'rb') as f:
        return f.read()


def contract_versions():
    """Major and minor of the hardware, mailbox and packet contracts, from their headers."""
    uapi = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../uapi/onpu')
    text = ''.join(read(os.path.join(uapi, f'{name}.h')).decode()
                   for name in ('regs', 'mbox', 'packet'))
    return tuple(int(re.search(rf'define\s+ONPU_{what}_{part}\s+(\d+)', text).group(1))
                 for what in ('HW_VERSION', 'MBOX_ABI', 'PACKET_ABI')
                 for part in ('MAJOR', 'MINOR'))


def judge(data, key):
    image = read_image(data)
    check('magic', data[:4] == b'OFWI')
    check('sizes', image['header_version'] == 1 and
          image['header_size'] == 1024 and image['image_size'] == len(data))
    check('versions', image['abi'][:6] == contract_versions() and
          not any(image['abi'][6:]))
    check('key', image['key'] == key)
    check('signature', verify(key, data[:960], image['signature']))
    check('forgery', not verify(key, data[:959] + b'x', image['signature']))
    for i, s in enumerate(image['sections']):
        off, size, addr, mem, flags, r0, r1, r2, digest = s
        if i >= image['num_sections']:
            check('unused section', not any(s[:8]) and digest == bytes(32))
            continue
        check('section', off % 64 == 0 and off >= 1024 and
              off + size <= len(data) and addr % 4 == 0 and size <= mem and
              flags in (0, 1) and not r0 | r1 | r2)
        check('hash', hashlib.sha256(data[off:off + size]).digest() == digest)
    return image


def main(tmp):
    dev_pub = key_of(f'{KEYS}/dev.pub')
    data = read(IMAGE)
    image = judge(data, dev_pub)

    # The same input gives the same bytes.
    args = ('build', '--elf', ELF, '--key', f'{KEYS}/dev.key', '--name',
            image['name'], '--svn', str(image['svn']), '--version',
            '{}.{}.{}'.format(image['fw_version'] >> 24,
                              image['fw_version'] >> 16 & 255,
                              image['fw_version'] & 0xffff))
    for name in ('a', 'b'):
        run(*args, '--out', f'{tmp}/{name}')
        check('reproducible', read(f'{tmp}/{name}') == data)

    # A new key: signed again, and everything else as it was.
    r = run('keygen', f'{tmp}/prod')
    check('private key mode',
          stat.S_IMODE(os.stat(f'{tmp}/prod.key').st_mode) == 0o600)
    pub = key_of(f'{tmp}/prod.pub')
    check('fuse hash', hashlib.sha256(pub).hexdigest() in r.stdout)
    run('sign', '--key', f'{tmp}/prod.key', '--out', f'{tmp}/signed', IMAGE)
    signed = read(f'{tmp}/signed')
    judge(signed, pub)
    check('only the signature', signed[:896] == data[:896] and
          signed[1024:] == data[1024:])

    run('verify', IMAGE)
    run('verify', '--pub', f'{KEYS}/dev.pub', IMAGE)
    run('verify', '--pub', f'{tmp}/prod.pub', f'{tmp}/signed')
    run('verify', '--pub', f'{tmp}/prod.pub', IMAGE, status=1)

    # Any changed byte that means something is noticed.
    bad = f'{tmp}/bad'
    first = image['sections'][0]
    for at in (0, 4, 8, 12, 16, 20, 24, 28, 33, 100, 140, 700, 900, 940, 970,
               first[0], first[0] + first[1] - 1):
        changed = bytearray(data)
        changed[at] ^= 1
        with open(bad, 'wb') as f:
            f.write(changed)
        run('verify', bad, status=1)
    for size in (0, 100, 1023, 1024, len(data) - 1):
        with open(bad, 'wb') as f:
            f.write(data[:size])
        run('verify', bad, status=1)
    with open(bad, 'wb') as f:
        f.write(data + bytes(64))
    run('verify', bad, status=1)

    # What is printed can be read by programs.
    text = json.loads(run('inspect', '--json', IMAGE).stdout)
    check('json', text['name'] == image['name'] and
          text['key_hash'] == hashlib.sha256(dev_pub).hexdigest() and
          len(text['sections']) == image['num_sections'] and
          text['sections'][0]['exec'] is True)
    check('text', 'sha256' in run('inspect', IMAGE).stdout)
    # ... also when the name is hostile.
    changed = bytearray(data)
    changed[96:128] = b'"\\\x1b[31m\n' + b'\xff' * 24
    with open(bad, 'wb') as f:
        f.write(changed)
    json.loads(run('inspect', '--json', bad).stdout)

    # Usage and files.
    run(status=2)
    run('nonsense', status=2)
    run('build', status=2)
    run('build', '--elf', ELF, status=2)
    run(*args[:-1], '1.2', '--out', bad, status=2)
    run(*args[:-1], '256.0.0', '--out', bad, status=2)
    run('verify', status=2)
    run('verify', 'a', 'b', status=2)
    run('verify', f'{tmp}/nothing', status=1)
    run('build', '--elf', IMAGE, '--key', f'{KEYS}/dev.key', '--version',
        '1.0.0', '--out', bad, status=1)
    run('build', '--elf', ELF, '--key', IMAGE, '--version', '1.0.0', '--out',
        bad, status=1)
    run('sign', '--key', f'{KEYS}/dev.key', '--out', '/nonexistent/x', IMAGE,
        status=1)
    check('help', 'usage' in run('--help').stdout)


with tempfile.TemporaryDirectory() as directory:
    main(directory)
sys.exit(1 if failures else 0)

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""onpu-rv32run: exit status, signature, options, broken files.

usage: test_runner.py RUNNER GCC
"""
import os
import random
import subprocess
import sys
import tempfile

RUNNER, GCC = sys.argv[1:]
failures = 0

PROGRAM = '''
    .section .text.start, "ax"
    .globl _start
_start: {body}
1:  j 1b
    .data
    .balign 16
    .globl begin_signature
begin_signature: .word 0x11223344, 0xdeadbeef, 0
    .globl end_signature
end_signature:
    .balign 64
    .globl tohost
tohost: .dword 0
'''


def build(path, body, base=0x80000000):
    src = path + '.S'
    with open(src, 'w', encoding='ascii') as f:
        f.write(PROGRAM.format(body=body))
    subprocess.run([GCC, '-misa-spec=2.2', '-march=rv32imc', '-mabi=ilp32',
                    '-nostdlib', '-nostartfiles', '-static', '-mno-relax',
                    '-Wl,--build-id=none', '-Wl,-N',
                    '-Wl,--no-warn-rwx-segments', f'-Wl,-Ttext={base:#x}',
                    '-o', path, src], check=True)
    return path


def run(*args):
    return subprocess.run([RUNNER, *args], capture_output=True, text=True,
                          timeout=60, check=False)


def expect(what, result, status, stdout=None, stderr=None):
    global failures
    good = (result.returncode == status and
            (stdout is None or result.stdout == stdout) and
            (stderr is None or stderr in result.stderr))
    if not good:
        failures += 1
        print(f'{what}: status {result.returncode}, expected {status}\n'
              f'{result.stdout}{result.stderr}')


def tohost(value):
    return f'li a0, {value}; la a1, tohost; sw a0, 0(a1)'


def main(tmp):
    passing = build(f'{tmp}/pass', tohost(1))
    expect('pass', run(passing), 0, '', 'PASS')
    expect('quiet', run('-q', passing), 0, '', '')
    expect('fail', run(build(f'{tmp}/fail', tohost(7))), 1, '', 'FAIL (3)')
    expect('limit', run('-n', '5000', build(f'{tmp}/loop', 'nop')), 3, '',
           'instruction limit')
    expect('sleep', run(build(f'{tmp}/sleep', 'wfi')), 3, '', 'sleeps')
    expect('lockup', run(build(f'{tmp}/lock', '.word 0')), 3, '', 'locked up')
    hello = ''.join(
        f'li a0, {ord(c)}; la a1, tohost; li a2, 0x01010000;'
        'sw a2, 4(a1); sw a0, 0(a1); 2: lw a3, 0(a1); bnez a3, 2b;'
        'lw a3, 4(a1); bnez a3, 2b;' for c in 'Hi\n')
    expect('console', run(build(f'{tmp}/hello', hello + tohost(1))), 0, 'Hi\n')
    sig = f'{tmp}/sig'
    expect('signature', run('-s', sig, passing), 0)
    with open(sig, encoding='ascii') as f:
        expect_text = '11223344\ndeadbeef\n00000000\n'
        if f.read() != expect_text:
            expect('signature text', run(passing), -1)
    low = build(f'{tmp}/low', tohost(1), 0x10000000)
    expect('elsewhere', run(low), 2, '', 'outside of memory')
    expect('memory', run('-m', '0x10000000:64K', low), 0)
    expect('overlap', run('-m', '0x80000000:64K', '-m', '0x80001000:64K',
                          passing), 2, '', 'overlap')
    expect('trace', run('-t', '-n', '3', passing), 3, '', '80000000:')
    for bad in (['-m', 'x'], ['-m', '0:0'], ['-n', '-'], ['--nonsense'], []):
        expect(f'usage {bad}', run(*bad, *([passing] if bad else [])), 2)
    expect('help', run('--help'), 0)
    expect('no file', run(f'{tmp}/nothing'), 2, '', 'No such file')
    expect('directory', run(tmp), 2)

    # Broken ELF files: refused or run, never a crash of the runner.
    with open(passing, 'rb') as f:
        good = f.read()
    rng = random.Random(3)
    broken = f'{tmp}/broken'
    for i in range(60):
        data = bytearray(good)
        for _ in range(rng.randint(1, 8)):
            at = rng.randrange(min(len(data), 200) if i % 2 else len(data))
            data[at] = rng.getrandbits(8)
        if i % 5 == 0:
            data = data[:rng.randrange(len(data))]
        with open(broken, 'wb') as f:
            f.write(data)
        result = run('-n', '10000', '-s', f'{tmp}/s', broken)
        if result.returncode not in (0, 1, 2, 3):
            expect(f'broken {i}', result, 2)


with tempfile.TemporaryDirectory() as directory:
    main(directory)
sys.exit(1 if failures else 0)

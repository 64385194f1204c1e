#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares the simulator's decoder with binutils.

1. All 65,536 compressed encodings: the 32-bit equivalent that the simulator
   uses must disassemble to what binutils says of the compressed one.
2. Random and systematic 32-bit words: legal for the simulator exactly when
   binutils knows them as RV32IM_Zicsr_Zifencei.

usage: decode_sweep.py DUMP_PROGRAM GCC OBJCOPY OBJDUMP
"""
import os
import random
import re
import subprocess
import sys
import tempfile

DUMP, GCC, OBJCOPY, OBJDUMP = sys.argv[1:]

# binutils lists these with the base ISA; the simulator has machine mode only,
# no debug mode, no address translation and no extension that they belong to.
NOT_OURS = {'uret', 'sret', 'hret', 'dret', 'sfence.vma', 'sfence.vm',
            'mnret', 'wrs.nto', 'wrs.sto'}


# c.addi16sp with an immediate of zero: reserved by the specification, but
# binutils disassembles it.
RESERVED = {0x6101}


def disassemble(directive, values, march):
    """Mnemonic and operands of each value, None if binutils has none."""
    with tempfile.TemporaryDirectory() as tmp:
        asm = os.path.join(tmp, 'x.S')
        obj = os.path.join(tmp, 'x.o')
        with open(asm, 'w', encoding='ascii') as f:
            f.write('.text\n')
            for v in values:
                f.write(f'{directive} {v:#x}\n')
        subprocess.run([GCC, '-c', f'-march={march}', '-mabi=ilp32', '-o', obj,
                        asm], check=True)
        # Without symbols the words count as code, not as data.
        subprocess.run([OBJCOPY, '--strip-all', obj], check=True)
        size = 2 if directive == '.2byte' else 4
        text = subprocess.run(
            [OBJDUMP, '-d', '-M', 'no-aliases,numeric', '-z', obj],
            check=True, capture_output=True, text=True).stdout
    result = {}
    for line in text.splitlines():
        m = re.match(r'\s*([0-9a-f]+):\s+([0-9a-f]+)\s+(\S+)\s*(.*)', line)
        if m:
            result[int(m[1], 16)] = (m[2], m[3], m[4])
    out = []
    for i in range(len(values)):
        raw, name, args = result[i * size]
        assert int(raw, 16) == values[i], (raw, hex(values[i]))
        if name.startswith('.') or name == 'unimp' or name == 'c.unimp':
            out.append(None)
            continue
        args = re.sub(r'\s*(#|<).*', '', args).strip()
        # binutils knows these for RV64; RV32 reserves amounts above 31.
        shift = re.match(r'(?:c\.)?(?:slli|srli|srai)$', name)
        if shift and number(args.split(',')[-1]) > 31:
            out.append(None)
            continue
        out.append((name, args, i * size))
    return out


def number(text):
    return int(text, 0)


def normal(name, args, pc):
    """One 32-bit instruction as a tuple; branch targets become distances."""
    parts = [p for p in re.split(r'[,()]', args) if p]
    if name in ('jal', 'beq', 'bne'):
        parts[-1] = str(int(parts[-1], 16) - pc)
    if name == 'jalr' and len(parts) == 3:   # rd, imm(rs1)
        pass
    if name == 'lui':
        parts[1] = str(number(parts[1]) & 0xfffff)
    elif name in ('addi', 'andi', 'slli', 'srli', 'srai', 'lw', 'sw', 'jalr'):
        parts = [str(number(p)) if not p.startswith('x') else p
                 for p in parts]
    return (name, *parts)


def expand(name, args, pc):
    """What the compressed instruction `name args' stands for."""
    p = [x for x in re.split(r'[,()]', args) if x]
    base = name[2:]
    if base in ('nop',):
        return ('addi', 'x0', 'x0', str(number(p[0]) if p else 0))
    if base == 'addi':
        return ('addi', p[0], p[0], str(number(p[1])))
    if base == 'addi16sp':
        return ('addi', 'x2', 'x2', str(number(p[1])))
    if base == 'addi4spn':
        return ('addi', p[0], 'x2', str(number(p[2])))
    if base == 'li':
        return ('addi', p[0], 'x0', str(number(p[1])))
    if base == 'lui':
        return ('lui', p[0], str(number(p[1]) & 0xfffff))
    if base in ('slli', 'srli', 'srai', 'andi'):
        return (base, p[0], p[0], str(number(p[1])))
    if base in ('slli64', 'srli64', 'srai64'):
        return (base[:-2], p[0], p[0], '0')
    if base in ('sub', 'xor', 'or', 'and', 'add'):
        return (base, p[0], p[0], p[1])
    if base == 'mv':
        return ('add', p[0], 'x0', p[1])
    if base in ('lw', 'sw', 'lwsp', 'swsp'):
        return (base[:2], p[0], str(number(p[1])), p[2])
    if base in ('j', 'jal'):
        return ('jal', 'x0' if base == 'j' else 'x1', str(int(p[0], 16) - pc))
    if base == 'jr':
        return ('jalr', 'x0', '0', p[0])
    if base == 'jalr':
        return ('jalr', 'x1', '0', p[0])
    if base in ('beqz', 'bnez'):
        return (base[:3], p[0], 'x0', str(int(p[1], 16) - pc))
    if base == 'ebreak':
        return ('ebreak',)
    raise ValueError(f'{name} {args}')


def sweep_compressed():
    lines = subprocess.run([DUMP, 'compressed'], check=True,
                           capture_output=True, text=True).stdout.split('\n')
    table = {int(a, 16): int(b, 16)
             for a, b in (line.split() for line in lines if line)}
    assert len(table) == 65536
    halves = [v for v in range(65536) if v & 3 != 3]
    theirs = dict(zip(halves, disassemble('.2byte', halves, 'rv32imc')))
    legal = [v for v in halves if table[v]]
    ours = dict(zip(legal, disassemble('.4byte', [table[v] for v in legal],
                                       'rv32im')))
    bad = 0
    for v in range(65536):
        if v & 3 == 3:
            wrong = table[v] != 0
            want = None
        else:
            want = theirs[v] and v not in RESERVED and expand(*theirs[v])
            want = want or None
            got = ours.get(v)
            wrong = (normal(*got) if got else None) != want
        if wrong:
            bad += 1
            if bad < 20:
                print(f'{v:04x}: simulator {table[v]:08x} {ours.get(v)}, '
                      f'binutils {theirs.get(v)} = {want}')
    print(f'compressed: 65536 encodings, {len(legal)} legal, {bad} differ')
    return bad


def interesting_words():
    rng = random.Random(1)
    words = set()
    for op in range(32):            # every opcode, funct3 and funct7
        for f3 in range(8):
            for f7 in range(128):
                word = op << 2 | 3 | f3 << 12 | f7 << 25
                words.add(word)
                words.add(word | rng.getrandbits(5) << 7 |
                          rng.getrandbits(10) << 15)
    for i in range(1 << 12):        # every system instruction without operands
        words.add(i << 20 | 0x73)
    for _ in range(20000):
        words.add(rng.getrandbits(32) | 3)
    # Known to binutils as instructions of lengths that do not exist here.
    return sorted(w for w in words if w & 0x1f != 0x1f)


def sweep_words():
    words = interesting_words()
    # CSR instructions are judged by the CSR table test, not here.
    words = [w for w in words if not (w & 0x7f == 0x73 and w >> 12 & 3)]
    theirs = disassemble('.4byte', words, 'rv32im_zicsr_zifencei')
    ours = subprocess.run([DUMP, 'legal'], check=True, capture_output=True,
                          text=True,
                          input='\n'.join(f'{w:x}' for w in words) + '\n'
                          ).stdout.split()
    bad = 0
    for w, t, o in zip(words, theirs, ours):
        want = t is not None and t[0] not in NOT_OURS
        if w & 0x707f in (0x0f, 0x100f):
            want = True             # fences: reserved fields are ignored
        if want != (o == '1'):
            bad += 1
            if bad < 20:
                print(f'{w:08x}: simulator {o}, binutils {t}')
    print(f'32-bit: {len(words)} words, {bad} differ')
    return bad


sys.exit(1 if sweep_compressed() + sweep_words() else 0)

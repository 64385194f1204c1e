// SPDX-License-Identifier: MIT
/*
 * Compressed instructions of RV32IMC.
 *
 * Each 16-bit instruction has exactly one 32-bit equivalent, so the simulator
 * executes only 32-bit instructions and looks compressed ones up in a table
 * that is filled from onpu_rv32_expand() once.  Pure functions, no locking.
 */
#include "rv32.h"
#include "rv32_priv.h"

/* Instruction @c's bit @from becomes bit @to of an immediate. */
#define BIT(c, from, to)	((((uint32_t)(c) >> (from)) & 1u) << (to))
/* @n bits of @c from bit @from on become bits @to on. */
#define BITS(c, from, n, to) \
	((((uint32_t)(c) >> (from)) & ((1u << (n)) - 1)) << (to))

enum { X0 = 0, RA = 1, SP = 2 };

static uint32_t enc_r(uint32_t f7, uint32_t rs2, uint32_t rs1, uint32_t f3,
		      uint32_t rd)
{
	return f7 << 25 | rs2 << 20 | rs1 << 15 | f3 << 12 | rd << 7 | 0x33;
}

static uint32_t enc_i(uint32_t imm, uint32_t rs1, uint32_t f3, uint32_t rd,
		      uint32_t op)
{
	return imm << 20 | rs1 << 15 | f3 << 12 | rd << 7 | op;
}

static uint32_t enc_sw(uint32_t imm, uint32_t rs2, uint32_t rs1)
{
	return BITS(imm, 5, 7, 25) | rs2 << 20 | rs1 << 15 | 2u << 12 |
	       BITS(imm, 0, 5, 7) | 0x23;
}

static uint32_t enc_b(uint32_t imm, uint32_t rs1, uint32_t f3)
{
	return BIT(imm, 12, 31) | BITS(imm, 5, 6, 25) | rs1 << 15 | f3 << 12 |
	       BITS(imm, 1, 4, 8) | BIT(imm, 11, 7) | 0x63;
}

static uint32_t enc_jal(uint32_t imm, uint32_t rd)
{
	return BIT(imm, 20, 31) | BITS(imm, 1, 10, 21) | BIT(imm, 11, 20) |
	       BITS(imm, 12, 8, 12) | rd << 7 | 0x6f;
}

static uint32_t sext(uint32_t v, unsigned int bits)
{
	uint32_t sign = 1u << (bits - 1);

	return (v ^ sign) - sign;
}

static uint32_t imm6(uint32_t c)
{
	return sext(BIT(c, 12, 5) | BITS(c, 2, 5, 0), 6);
}

static uint32_t imm_cj(uint32_t c)
{
	return sext(BIT(c, 12, 11) | BIT(c, 11, 4) | BITS(c, 9, 2, 8) |
		    BIT(c, 8, 10) | BIT(c, 7, 6) | BIT(c, 6, 7) |
		    BITS(c, 3, 3, 1) | BIT(c, 2, 5), 12);
}

static uint32_t imm_cb(uint32_t c)
{
	return sext(BIT(c, 12, 8) | BITS(c, 10, 2, 3) | BITS(c, 5, 2, 6) |
		    BITS(c, 3, 2, 1) | BIT(c, 2, 5), 9);
}

static uint32_t expand_q0(uint32_t c)
{
	uint32_t rd = BITS(c, 2, 3, 0) + 8, rs1 = BITS(c, 7, 3, 0) + 8;
	uint32_t imm;

	switch (c >> 13) {
	case 0: /* c.addi4spn */
		imm = BITS(c, 11, 2, 4) | BITS(c, 7, 4, 6) | BIT(c, 6, 2) |
		      BIT(c, 5, 3);
		return imm ? enc_i(imm, SP, 0, rd, 0x13) : 0;
	case 2: /* c.lw */
	case 6: /* c.sw */
		imm = BITS(c, 10, 3, 3) | BIT(c, 6, 2) | BIT(c, 5, 6);
		return c >> 13 == 2 ? enc_i(imm, rs1, 2, rd, 0x03) :
				      enc_sw(imm, rd, rs1);
	default: /* floating point; reserved */
		return 0;
	}
}

static uint32_t expand_alu(uint32_t c)
{
	static const uint8_t f3[4] = { 0, 4, 6, 7 }; /* sub xor or and */
	uint32_t rd = BITS(c, 7, 3, 0) + 8, rs2 = BITS(c, 2, 3, 0) + 8;
	uint32_t sel = BITS(c, 5, 2, 0), bit12 = BIT(c, 12, 0);

	switch (BITS(c, 10, 2, 0)) {
	case 0: /* c.srli; shamt[5] is for RV64 */
		return bit12 ? 0 : enc_i(BITS(c, 2, 5, 0), rd, 5, rd, 0x13);
	case 1: /* c.srai */
		return bit12 ? 0 : enc_i(BITS(c, 2, 5, 0) | 0x400, rd, 5, rd,
					 0x13);
	case 2: /* c.andi */
		return enc_i(imm6(c), rd, 7, rd, 0x13);
	default:
		return bit12 ? 0 : enc_r(sel ? 0 : 0x20, rs2, rd, f3[sel], rd);
	}
}

static uint32_t expand_lui(uint32_t c)
{
	uint32_t rd = BITS(c, 7, 5, 0), imm;

	if (rd == SP) { /* c.addi16sp */
		imm = sext(BIT(c, 12, 9) | BIT(c, 6, 4) | BIT(c, 5, 6) |
			   BITS(c, 3, 2, 7) | BIT(c, 2, 5), 10);
		return imm ? enc_i(imm, SP, 0, SP, 0x13) : 0;
	}
	imm = imm6(c) << 12;
	return imm ? imm | rd << 7 | 0x37 : 0;
}

static uint32_t expand_q1(uint32_t c)
{
	uint32_t rd = BITS(c, 7, 5, 0), rs1 = BITS(c, 7, 3, 0) + 8;

	switch (c >> 13) {
	case 0: /* c.addi, c.nop */
		return enc_i(imm6(c), rd, 0, rd, 0x13);
	case 1: /* c.jal */
		return enc_jal(imm_cj(c), RA);
	case 2: /* c.li */
		return enc_i(imm6(c), X0, 0, rd, 0x13);
	case 3:
		return expand_lui(c);
	case 4:
		return expand_alu(c);
	case 5: /* c.j */
		return enc_jal(imm_cj(c), X0);
	case 6: /* c.beqz */
		return enc_b(imm_cb(c), rs1, 0);
	default: /* c.bnez */
		return enc_b(imm_cb(c), rs1, 1);
	}
}

static uint32_t expand_jr_mv_add(uint32_t c)
{
	uint32_t rd = BITS(c, 7, 5, 0), rs2 = BITS(c, 2, 5, 0);

	if (!BIT(c, 12, 0)) {
		if (rs2)
			return enc_r(0, rs2, X0, 0, rd); /* c.mv */
		return rd ? enc_i(0, rd, 0, X0, 0x67) : 0; /* c.jr */
	}
	if (rs2)
		return enc_r(0, rs2, rd, 0, rd); /* c.add */
	return rd ? enc_i(0, rd, 0, RA, 0x67) : /* c.jalr */
		    0x00100073; /* c.ebreak */
}

static uint32_t expand_q2(uint32_t c)
{
	uint32_t rd = BITS(c, 7, 5, 0);

	switch (c >> 13) {
	case 0: /* c.slli; shamt[5] is for RV64 */
		return BIT(c, 12, 0) ? 0 :
		       enc_i(BITS(c, 2, 5, 0), rd, 1, rd, 0x13);
	case 2: /* c.lwsp */
		return rd ? enc_i(BIT(c, 12, 5) | BITS(c, 4, 3, 2) |
				  BITS(c, 2, 2, 6), SP, 2, rd, 0x03) : 0;
	case 4:
		return expand_jr_mv_add(c);
	case 6: /* c.swsp */
		return enc_sw(BITS(c, 9, 4, 2) | BITS(c, 7, 2, 6),
			      BITS(c, 2, 5, 0), SP);
	default: /* floating point */
		return 0;
	}
}

uint32_t onpu_rv32_expand(uint16_t insn)
{
	switch (insn & 3) {
	case 0:
		return expand_q0(insn);
	case 1:
		return expand_q1(insn);
	case 2:
		return expand_q2(insn);
	default:
		return 0;
	}
}

void rv32_fill_expansions(uint32_t table[1 << 16])
{
	for (uint32_t i = 0; i < 1 << 16; i++)
		table[i] = onpu_rv32_expand((uint16_t)i);
}

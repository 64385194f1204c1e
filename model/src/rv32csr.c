// SPDX-License-Identifier: MIT
/*
 * Control and status registers of the RV32 simulator.
 *
 * Called by the thread that runs the hart; the only thing that other threads
 * change is @lines, which is atomic.  Before a call the run loop has brought
 * mcycle and minstret up to date without the accessing instruction itself.
 */
#include "rv32_priv.h"

#define CSR_MSTATUS		0x300
#define CSR_MISA		0x301
#define CSR_MIE			0x304
#define CSR_MTVEC		0x305
#define CSR_MSTATUSH		0x310
#define CSR_MCOUNTINHIBIT	0x320
#define CSR_MHPMEVENT3		0x323
#define CSR_MHPMEVENT31		0x33f
#define CSR_MSCRATCH		0x340
#define CSR_MEPC		0x341
#define CSR_MCAUSE		0x342
#define CSR_MTVAL		0x343
#define CSR_MIP			0x344
#define CSR_MCYCLE		0xb00
#define CSR_MINSTRET		0xb02
#define CSR_MHPMCOUNTER3	0xb03
#define CSR_MHPMCOUNTER31	0xb1f
#define CSR_MCYCLEH		0xb80
#define CSR_MINSTRETH		0xb82
#define CSR_MHPMCOUNTER3H	0xb83
#define CSR_MHPMCOUNTER31H	0xb9f
#define CSR_TSELECT		0x7a0
#define CSR_TDATA1		0x7a1
#define CSR_TDATA2		0x7a2
#define CSR_CYCLE		0xc00
#define CSR_INSTRET		0xc02
#define CSR_CYCLEH		0xc80
#define CSR_INSTRETH		0xc82
#define CSR_MVENDORID		0xf11
#define CSR_MARCHID		0xf12
#define CSR_MIMPID		0xf13
#define CSR_MHARTID		0xf14
#define CSR_MCONFIGPTR		0xf15

/* MXL = 32 bits; extensions C, I, M; nothing can be switched off. */
#define MISA_VALUE	(1u << 30 | 1u << ('C' - 'A') | 1u << ('I' - 'A') | \
			 1u << ('M' - 'A'))

void rv32_update_wake(struct onpu_rv32 *h)
{
	h->wake_mask = LINE_STOP | (h->mstatus & MSTATUS_MIE ? h->mie : 0);
}

static uint32_t legal_mtvec(uint32_t v)
{
	return v & ~2u; /* modes: 0 direct, 1 vectored */
}

/* Counters and debug triggers that always read as zero and ignore writes. */
static bool is_zero(uint32_t csr)
{
	return (csr >= CSR_TSELECT && csr <= CSR_TDATA2) ||
	       (csr >= CSR_MHPMEVENT3 && csr <= CSR_MHPMEVENT31) ||
	       (csr >= CSR_MHPMCOUNTER3 && csr <= CSR_MHPMCOUNTER31) ||
	       (csr >= CSR_MHPMCOUNTER3H && csr <= CSR_MHPMCOUNTER31H);
}

bool rv32_csr_read(struct onpu_rv32 *h, uint32_t csr, uint32_t *value)
{
	uint32_t v = 0;

	switch (csr) {
	case CSR_MSTATUS:	v = h->mstatus; break;
	case CSR_MISA:		v = MISA_VALUE; break;
	case CSR_MIE:		v = h->mie; break;
	case CSR_MTVEC:		v = h->mtvec; break;
	case CSR_MSTATUSH:	break;
	case CSR_MCOUNTINHIBIT:	v = h->mcountinhibit; break;
	case CSR_MSCRATCH:	v = h->mscratch; break;
	case CSR_MEPC:		v = h->mepc; break;
	case CSR_MCAUSE:	v = h->mcause; break;
	case CSR_MTVAL:		v = h->mtval; break;
	case CSR_MIP:
		v = atomic_load_explicit(&h->lines, memory_order_acquire) &
		    IRQ_MASK;
		break;
	case CSR_CYCLE:
	case CSR_MCYCLE:	v = (uint32_t)h->mcycle; break;
	case CSR_CYCLEH:
	case CSR_MCYCLEH:	v = (uint32_t)(h->mcycle >> 32); break;
	case CSR_INSTRET:
	case CSR_MINSTRET:	v = (uint32_t)h->minstret; break;
	case CSR_INSTRETH:
	case CSR_MINSTRETH:	v = (uint32_t)(h->minstret >> 32); break;
	case CSR_MVENDORID:	v = h->config.vendorid; break;
	case CSR_MARCHID:	v = h->config.archid; break;
	case CSR_MIMPID:	v = h->config.impid; break;
	case CSR_MHARTID:	v = h->config.hartid; break;
	case CSR_MCONFIGPTR:	break;
	default:
		if (!is_zero(csr))
			return false;
	}
	*value = v;
	return true;
}

/*
 * A written counter must read back as written by the next instruction, but
 * the run loop still counts the writing one: store one less.
 */
static void write_counter(struct onpu_rv32 *h, uint64_t *counter,
			  uint32_t inhibit, bool high, uint32_t v)
{
	uint64_t now = *counter;

	if (high)
		now = (uint64_t)v << 32 | (uint32_t)now;
	else
		now = (now & ~0xffffffffull) | v;
	*counter = h->mcountinhibit & inhibit ? now : now - 1;
}

/* Starting or stopping a counter takes effect with the next instruction. */
static void write_inhibit(struct onpu_rv32 *h, uint32_t v)
{
	uint32_t old = h->mcountinhibit;

	h->mcountinhibit = v & (INHIBIT_CYCLE | INHIBIT_INSTRET);
	h->mcycle += !(old & INHIBIT_CYCLE) - !(v & INHIBIT_CYCLE);
	h->minstret += !(old & INHIBIT_INSTRET) - !(v & INHIBIT_INSTRET);
}

bool rv32_csr_write(struct onpu_rv32 *h, uint32_t csr, uint32_t v)
{
	if (csr >> 10 == 3)
		return false; /* read-only by its number */

	switch (csr) {
	case CSR_MSTATUS:
		h->mstatus = (v & (MSTATUS_MIE | MSTATUS_MPIE)) | MSTATUS_MPP;
		rv32_update_wake(h);
		return true;
	case CSR_MIE:
		h->mie = v & IRQ_MASK;
		rv32_update_wake(h);
		return true;
	case CSR_MTVEC:		h->mtvec = legal_mtvec(v); return true;
	case CSR_MCOUNTINHIBIT:	write_inhibit(h, v); return true;
	case CSR_MSCRATCH:	h->mscratch = v; return true;
	case CSR_MEPC:		h->mepc = v & ~1u; return true;
	case CSR_MCAUSE:	h->mcause = v; return true;
	case CSR_MTVAL:		h->mtval = v; return true;
	case CSR_MCYCLE:
		write_counter(h, &h->mcycle, INHIBIT_CYCLE, false, v);
		return true;
	case CSR_MCYCLEH:
		write_counter(h, &h->mcycle, INHIBIT_CYCLE, true, v);
		return true;
	case CSR_MINSTRET:
		write_counter(h, &h->minstret, INHIBIT_INSTRET, false, v);
		return true;
	case CSR_MINSTRETH:
		write_counter(h, &h->minstret, INHIBIT_INSTRET, true, v);
		return true;
	case CSR_MISA:		/* fixed */
	case CSR_MSTATUSH:	/* little endian only */
	case CSR_MIP:		/* all bits belong to the platform */
		return true;
	default:
		return is_zero(csr);
	}
}

/* Make every field legal after the state was loaded from outside. */
void rv32_sanitize(struct onpu_rv32 *h)
{
	h->x[0] = 0;
	h->pc &= ~1u;
	h->mstatus = (h->mstatus & (MSTATUS_MIE | MSTATUS_MPIE)) | MSTATUS_MPP;
	h->mie &= IRQ_MASK;
	h->mtvec = legal_mtvec(h->mtvec);
	h->mepc &= ~1u;
	h->mcountinhibit &= INHIBIT_CYCLE | INHIBIT_INSTRET;
	rv32_update_wake(h);
}

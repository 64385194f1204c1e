// SPDX-License-Identifier: MIT
/*
 * RV32IMC simulator: memory, instruction execution, traps, the run loop.
 *
 * Idea: no decode cache, so nothing can be stale and fence.i has nothing to
 * do.  A fetch is one region check and one or two 16-bit loads; compressed
 * instructions go through a 64 Ki-entry expansion table shared by all harts;
 * a switch on the opcode does the rest.  That gives well over 100 million
 * instructions per second, and a management controller mostly sleeps.
 *
 * Locking: a hart belongs to the thread that runs it.  Other threads only set
 * bits of @lines (atomic) and access the memory behind regions; aligned
 * accesses to that memory are relaxed atomics, FENCE is a full fence.  All
 * arithmetic is on unsigned types, so guest code can cause no overflow.
 */
#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include "rv32_priv.h"

#define ALWAYS_INLINE	static inline __attribute__((always_inline))
#define UNLIKELY(x)	__builtin_expect(!!(x), 0)

typedef uint32_t __attribute__((may_alias)) alias32;
typedef uint16_t __attribute__((may_alias)) alias16;

/* What one instruction did: a trap if @cause is not NO_TRAP. */
struct step {
	uint32_t next;	/* pc of the next instruction */
	uint32_t cause;
	uint32_t tval;
};

#define NO_TRAP		0xffffffffu
#define STOP_EBREAK	0xfffffffeu	/* not a trap: leave the loop */
#define ENTER_WFI	0xfffffffdu	/* likewise, after retiring */

static uint32_t expansions[1 << 16];
/* Where the region hints point while they hint at nothing. */
static const struct onpu_rv32_region no_region;
static pthread_once_t expansions_once = PTHREAD_ONCE_INIT;

static void fill_expansions(void)
{
	rv32_fill_expansions(expansions);
}

/* ------------------------------------------------------------- memory */

ALWAYS_INLINE bool region_has(const struct onpu_rv32_region *r, uint32_t addr,
			      uint32_t size)
{
	uint32_t off = addr - r->base;

	return off < r->size && r->size - off >= size;
}

static const struct onpu_rv32_region *find_region(struct onpu_rv32 *h,
						  uint32_t addr, uint32_t size)
{
	for (unsigned int i = 0; i < h->n_regions; i++) {
		if (region_has(&h->regions[i], addr, size))
			return &h->regions[i];
	}
	return NULL;
}

ALWAYS_INLINE uint8_t *data_ptr(struct onpu_rv32 *h, uint32_t addr,
				uint32_t size, bool write)
{
	const struct onpu_rv32_region *r = h->data;

	if (UNLIKELY(!region_has(r, addr, size))) {
		r = find_region(h, addr, size);
		if (!r)
			return NULL;
		h->data = r;
	}
	if (UNLIKELY(write && !r->writable))
		return NULL;
	return r->ptr + (addr - r->base);
}

ALWAYS_INLINE uint32_t mem_read(const uint8_t *p, uint32_t addr, uint32_t size)
{
	uint32_t v = 0;

	if (UNLIKELY(addr & (size - 1))) {
		for (uint32_t i = 0; i < size; i++)
			v |= (uint32_t)__atomic_load_n(p + i, __ATOMIC_RELAXED)
			     << (8 * i);
		return v;
	}
	switch (size) {
	case 1:
		return __atomic_load_n(p, __ATOMIC_RELAXED);
	case 2:
		return le16toh(__atomic_load_n((const alias16 *)p,
					       __ATOMIC_RELAXED));
	default:
		return le32toh(__atomic_load_n((const alias32 *)p,
					       __ATOMIC_RELAXED));
	}
}

ALWAYS_INLINE void mem_write(uint8_t *p, uint32_t addr, uint32_t size,
			     uint32_t v)
{
	if (UNLIKELY(addr & (size - 1))) {
		for (uint32_t i = 0; i < size; i++)
			__atomic_store_n(p + i, (uint8_t)(v >> (8 * i)),
					 __ATOMIC_RELAXED);
		return;
	}
	switch (size) {
	case 1:
		__atomic_store_n(p, (uint8_t)v, __ATOMIC_RELAXED);
		break;
	case 2:
		__atomic_store_n((alias16 *)p, htole16((uint16_t)v),
				 __ATOMIC_RELAXED);
		break;
	default:
		__atomic_store_n((alias32 *)p, htole32(v), __ATOMIC_RELAXED);
	}
}

/* Addresses outside of writable memory: 0 or the exception. */
static uint32_t slow_load(struct onpu_rv32 *h, uint32_t addr, uint32_t size,
			  uint32_t *v)
{
	if (addr & (size - 1))
		return ONPU_RV32_EXC_LOAD_MISALIGNED;
	*v = 0;
	if (!h->config.bus.load ||
	    h->config.bus.load(h->config.opaque, addr, size, v))
		return ONPU_RV32_EXC_LOAD_FAULT;
	return 0;
}

static uint32_t slow_store(struct onpu_rv32 *h, uint32_t addr, uint32_t size,
			   uint32_t v)
{
	if (find_region(h, addr, 1)) {
		/* Read-only, or misaligned over the end of a region. */
		return find_region(h, addr, size) ?
		       ONPU_RV32_EXC_STORE_FAULT :
		       ONPU_RV32_EXC_STORE_MISALIGNED;
	}
	if (addr & (size - 1))
		return ONPU_RV32_EXC_STORE_MISALIGNED;
	if (!h->config.bus.store ||
	    h->config.bus.store(h->config.opaque, addr, size, v))
		return ONPU_RV32_EXC_STORE_FAULT;
	return 0;
}

/* One 16-bit parcel of code. */
ALWAYS_INLINE bool fetch16(struct onpu_rv32 *h, uint32_t addr, uint32_t *v)
{
	const struct onpu_rv32_region *r = h->fetch;

	if (UNLIKELY(!region_has(r, addr, 2))) {
		r = find_region(h, addr, 2);
		if (!r || !r->executable)
			return false;
		h->fetch = r;
	}
	*v = mem_read(r->ptr + (addr - r->base), 0, 2);
	return true;
}

/* ---------------------------------------------------------- execution */

ALWAYS_INLINE uint32_t rd_of(uint32_t insn)	{ return insn >> 7 & 31; }
ALWAYS_INLINE uint32_t rs1_of(uint32_t insn)	{ return insn >> 15 & 31; }
ALWAYS_INLINE uint32_t rs2_of(uint32_t insn)	{ return insn >> 20 & 31; }
ALWAYS_INLINE uint32_t f3_of(uint32_t insn)	{ return insn >> 12 & 7; }

/* Every compiler that can build this shifts signed values arithmetically. */
ALWAYS_INLINE uint32_t sra(uint32_t v, uint32_t n)
{
	return (uint32_t)((int32_t)v >> n);
}

_Static_assert(-2 >> 1 == -1, "arithmetic right shift");

ALWAYS_INLINE uint32_t imm_i(uint32_t insn)
{
	return sra(insn, 20);
}

ALWAYS_INLINE uint32_t imm_s(uint32_t insn)
{
	return (sra(insn, 20) & ~31u) | rd_of(insn);
}

ALWAYS_INLINE uint32_t imm_b(uint32_t insn)
{
	return (sra(insn, 19) & ~0xfffu) | (insn << 4 & 0x800) |
	       (insn >> 20 & 0x7e0) | (insn >> 7 & 0x1e);
}

ALWAYS_INLINE uint32_t imm_j(uint32_t insn)
{
	return (sra(insn, 11) & ~0xfffffu) | (insn & 0xff000) |
	       (insn >> 9 & 0x800) | (insn >> 20 & 0x7fe);
}

/* Signed comparison by flipping the sign bits. */
ALWAYS_INLINE bool less_signed(uint32_t a, uint32_t b)
{
	return (a ^ 0x80000000u) < (b ^ 0x80000000u);
}

ALWAYS_INLINE void illegal(struct step *s, uint32_t raw)
{
	s->cause = ONPU_RV32_EXC_ILLEGAL;
	s->tval = raw;
}

ALWAYS_INLINE void do_load(struct onpu_rv32 *h, uint32_t insn, uint32_t raw,
			   struct step *s)
{
	uint32_t addr = h->x[rs1_of(insn)] + imm_i(insn);
	uint32_t f3 = f3_of(insn), size = 1u << (f3 & 3), v, cause;
	const uint8_t *p;

	if (UNLIKELY(size == 8 || f3 == 6)) {
		illegal(s, raw);
		return;
	}
	p = data_ptr(h, addr, size, false);
	if (p) {
		v = mem_read(p, addr, size);
	} else {
		cause = slow_load(h, addr, size, &v);
		if (cause) {
			s->cause = cause;
			s->tval = addr;
			return;
		}
	}
	switch (f3) {
	case 0:
		v = sra(v << 24, 24);
		break;
	case 1:
		v = sra(v << 16, 16);
		break;
	case 4:
		v &= 0xff; /* whatever the bus function left above */
		break;
	case 5:
		v &= 0xffff;
		break;
	}
	h->x[rd_of(insn)] = v;
}

ALWAYS_INLINE void do_store(struct onpu_rv32 *h, uint32_t insn, uint32_t raw,
			    struct step *s)
{
	uint32_t addr = h->x[rs1_of(insn)] + imm_s(insn);
	uint32_t f3 = f3_of(insn), size = 1u << (f3 & 3), cause;
	uint32_t v = h->x[rs2_of(insn)];
	uint8_t *p;

	if (UNLIKELY(f3 > 2)) {
		illegal(s, raw);
		return;
	}
	p = data_ptr(h, addr, size, true);
	if (p) {
		mem_write(p, addr, size, v);
		return;
	}
	if (size < 4)
		v &= (1u << (8 * size)) - 1;
	cause = slow_store(h, addr, size, v);
	if (cause) {
		s->cause = cause;
		s->tval = addr;
	}
}

static uint32_t mul_div(uint32_t f3, uint32_t a, uint32_t b)
{
	int64_t sa = (int32_t)a, sb = (int32_t)b;

	switch (f3) {
	case 0: /* mul */
		return a * b;
	case 1: /* mulh */
		return (uint32_t)((uint64_t)(sa * sb) >> 32);
	case 2: /* mulhsu */
		return (uint32_t)((uint64_t)(sa * (int64_t)b) >> 32);
	case 3: /* mulhu */
		return (uint32_t)((uint64_t)a * b >> 32);
	case 4: /* div; in 64 bits the most negative number is no special case */
		return b ? (uint32_t)(sa / sb) : 0xffffffffu;
	case 5: /* divu */
		return b ? a / b : 0xffffffffu;
	case 6: /* rem */
		return b ? (uint32_t)(sa % sb) : a;
	default: /* remu */
		return b ? a % b : a;
	}
}

/* The operations that OP and OP-IMM share; @alt: sub or sra. */
ALWAYS_INLINE uint32_t alu(uint32_t f3, bool alt, uint32_t a, uint32_t b)
{
	switch (f3) {
	case 0:
		return alt ? a - b : a + b;
	case 1:
		return a << (b & 31);
	case 2:
		return less_signed(a, b);
	case 3:
		return a < b;
	case 4:
		return a ^ b;
	case 5:
		return alt ? sra(a, b & 31) : a >> (b & 31);
	case 6:
		return a | b;
	default:
		return a & b;
	}
}

ALWAYS_INLINE void do_op_imm(struct onpu_rv32 *h, uint32_t insn, uint32_t raw,
			     struct step *s)
{
	uint32_t f3 = f3_of(insn), f7 = insn >> 25;
	bool alt = false;

	if (f3 == 1 || f3 == 5) {
		alt = f3 == 5 && f7 == 0x20;
		if (UNLIKELY(f7 && !alt)) {
			illegal(s, raw);
			return;
		}
	}
	h->x[rd_of(insn)] = alu(f3, alt, h->x[rs1_of(insn)], imm_i(insn));
}

ALWAYS_INLINE void do_op(struct onpu_rv32 *h, uint32_t insn, uint32_t raw,
			 struct step *s)
{
	uint32_t a = h->x[rs1_of(insn)], b = h->x[rs2_of(insn)];
	uint32_t f3 = f3_of(insn), f7 = insn >> 25, v;

	if (f7 == 0) {
		v = alu(f3, false, a, b);
	} else if (f7 == 1) {
		v = mul_div(f3, a, b);
	} else if (f7 == 0x20 && (f3 == 0 || f3 == 5)) {
		v = alu(f3, true, a, b);
	} else {
		illegal(s, raw);
		return;
	}
	h->x[rd_of(insn)] = v;
}

ALWAYS_INLINE void do_branch(struct onpu_rv32 *h, uint32_t insn, uint32_t raw,
			     uint32_t pc, struct step *s)
{
	uint32_t a = h->x[rs1_of(insn)], b = h->x[rs2_of(insn)];
	uint32_t f3 = f3_of(insn);
	bool take;

	switch (f3 >> 1) {
	case 0:
		take = a == b;
		break;
	case 2:
		take = less_signed(a, b);
		break;
	case 3:
		take = a < b;
		break;
	default:
		illegal(s, raw);
		return;
	}
	if (take != (f3 & 1))
		s->next = pc + imm_b(insn);
}

static void do_csr(struct onpu_rv32 *h, uint32_t insn, uint32_t raw,
		   struct step *s)
{
	uint32_t f3 = f3_of(insn), csr = insn >> 20, rs1 = rs1_of(insn);
	uint32_t arg = f3 & 4 ? rs1 : h->x[rs1];
	uint32_t old, new;
	bool write = true;

	if (!rv32_csr_read(h, csr, &old)) {
		illegal(s, raw);
		return;
	}
	switch (f3 & 3) {
	case 1:
		new = arg;
		break;
	case 2:
		new = old | arg;
		write = rs1 != 0;
		break;
	default:
		new = old & ~arg;
		write = rs1 != 0;
	}
	if (write && !rv32_csr_write(h, csr, new)) {
		illegal(s, raw);
		return;
	}
	h->x[rd_of(insn)] = old;
}

static void do_mret(struct onpu_rv32 *h, struct step *s)
{
	bool mpie = h->mstatus & MSTATUS_MPIE;

	h->mstatus = MSTATUS_MPP | MSTATUS_MPIE | (mpie ? MSTATUS_MIE : 0);
	rv32_update_wake(h);
	s->next = h->mepc;
}

static void do_system(struct onpu_rv32 *h, uint32_t insn, uint32_t raw,
		      uint32_t pc, struct step *s)
{
	if (f3_of(insn) & 3) {
		do_csr(h, insn, raw, s);
		return;
	}
	switch (insn) {
	case 0x00000073: /* ecall */
		s->cause = ONPU_RV32_EXC_ECALL_M;
		s->tval = 0;
		break;
	case 0x00100073: /* ebreak */
		s->cause = h->stop_on_ebreak ? STOP_EBREAK :
			   ONPU_RV32_EXC_BREAKPOINT;
		s->tval = pc;
		break;
	case 0x30200073:
		do_mret(h, s);
		break;
	case 0x10500073:
		s->cause = ENTER_WFI;
		break;
	default:
		illegal(s, raw);
	}
}

ALWAYS_INLINE void execute(struct onpu_rv32 *h, uint32_t insn, uint32_t raw,
			   uint32_t pc, struct step *s)
{
	uint32_t target;

	if (UNLIKELY((insn & 3) != 3)) {
		illegal(s, raw);
		return;
	}
	switch (insn >> 2 & 31) {
	case 0x00:
		do_load(h, insn, raw, s);
		break;
	case 0x03: /* fence: any hint is a full fence; fence.i: no cache */
		if (f3_of(insn) == 0)
			atomic_thread_fence(memory_order_seq_cst);
		else if (f3_of(insn) != 1)
			illegal(s, raw);
		break;
	case 0x04:
		do_op_imm(h, insn, raw, s);
		break;
	case 0x05: /* auipc */
		h->x[rd_of(insn)] = pc + (insn & 0xfffff000u);
		break;
	case 0x08:
		do_store(h, insn, raw, s);
		break;
	case 0x0c:
		do_op(h, insn, raw, s);
		break;
	case 0x0d: /* lui */
		h->x[rd_of(insn)] = insn & 0xfffff000u;
		break;
	case 0x18:
		do_branch(h, insn, raw, pc, s);
		break;
	case 0x19: /* jalr */
		if (f3_of(insn)) {
			illegal(s, raw);
			break;
		}
		target = (h->x[rs1_of(insn)] + imm_i(insn)) & ~1u;
		h->x[rd_of(insn)] = s->next;
		s->next = target;
		break;
	case 0x1b: /* jal */
		h->x[rd_of(insn)] = s->next;
		s->next = pc + imm_j(insn);
		break;
	case 0x1c:
		do_system(h, insn, raw, pc, s);
		break;
	default:
		illegal(s, raw);
	}
}

/* -------------------------------------------------------------- traps */

static void enter_trap(struct onpu_rv32 *h, uint32_t pc, uint32_t cause,
		       uint32_t tval)
{
	bool mie = h->mstatus & MSTATUS_MIE;

	h->mepc = pc;
	h->mcause = cause;
	h->mtval = tval;
	h->mstatus = MSTATUS_MPP | (mie ? MSTATUS_MPIE : 0);
	rv32_update_wake(h);
	h->pc = h->mtvec & ~3u;
	if (cause >> 31 && h->mtvec & 1)
		h->pc += 4 * (cause & 31);
}

static void take_exception(struct onpu_rv32 *h, uint32_t pc,
			   const struct step *s)
{
	/*
	 * At the vector itself the same trap would be taken again for ever.
	 * Stop there and keep the cause of the first one for the post-mortem.
	 */
	if (pc == (h->mtvec & ~3u) && (s->cause == ONPU_RV32_EXC_FETCH_FAULT ||
				       s->cause == ONPU_RV32_EXC_ILLEGAL)) {
		h->lockup = true;
		h->pc = pc;
	} else {
		enter_trap(h, pc, s->cause, s->tval);
	}
	if (!(h->mcountinhibit & INHIBIT_INSTRET))
		h->minstret--; /* it was counted but does not retire */
}

/* Priority as the privileged architecture has it. */
static void take_interrupt(struct onpu_rv32 *h, uint32_t pc, uint32_t pending)
{
	uint32_t irq = ONPU_RV32_IRQ_TIMER;

	if (pending & 1u << ONPU_RV32_IRQ_EXT)
		irq = ONPU_RV32_IRQ_EXT;
	else if (pending & 1u << ONPU_RV32_IRQ_SOFT)
		irq = ONPU_RV32_IRQ_SOFT;
	enter_trap(h, pc, 1u << 31 | irq, 0);
}

/* ----------------------------------------------------------- run loop */

static void count(struct onpu_rv32 *h, uint64_t n)
{
	if (!(h->mcountinhibit & INHIBIT_CYCLE))
		h->mcycle += n;
	if (!(h->mcountinhibit & INHIBIT_INSTRET))
		h->minstret += n;
}

/* Fetch and expand: false leaves a fetch fault in @s. */
ALWAYS_INLINE bool fetch(struct onpu_rv32 *h, uint32_t pc, uint32_t *insn,
			 uint32_t *raw, struct step *s)
{
	uint32_t low, high;

	if (UNLIKELY(!fetch16(h, pc, &low))) {
		s->cause = ONPU_RV32_EXC_FETCH_FAULT;
		s->tval = pc;
		return false;
	}
	if ((low & 3) != 3) {
		*raw = low;
		*insn = expansions[low];
		s->next = pc + 2;
		return true;
	}
	if (UNLIKELY(!fetch16(h, pc + 2, &high))) {
		s->cause = ONPU_RV32_EXC_FETCH_FAULT;
		s->tval = pc + 2;
		return false;
	}
	*raw = *insn = high << 16 | low;
	s->next = pc + 4;
	return true;
}

/* A line that matters is up: true if the loop must end. */
static bool handle_lines(struct onpu_rv32 *h, uint32_t pc)
{
	uint32_t lines = atomic_load_explicit(&h->lines, memory_order_acquire);
	uint32_t pending = lines & h->wake_mask;

	if (pending & LINE_STOP) {
		atomic_fetch_and(&h->lines, ~LINE_STOP);
		h->pc = pc;
		return true;
	}
	h->pc = pc;
	if (pending)
		take_interrupt(h, pc, pending);
	return false;
}

/* The rare outcomes of an instruction; *@stop tells whether to leave. */
static enum onpu_rv32_stop settle(struct onpu_rv32 *h, uint32_t pc,
				  const struct step *s, bool *stop)
{
	*stop = true;
	switch (s->cause) {
	case STOP_EBREAK: /* not executed: pc stays */
		h->pc = pc;
		if (!(h->mcountinhibit & INHIBIT_INSTRET))
			h->minstret--;
		return ONPU_RV32_EBREAK;
	case ENTER_WFI:
		h->pc = s->next;
		h->wfi = true;
		return ONPU_RV32_WFI;
	default:
		take_exception(h, pc, s);
		*stop = h->lockup;
		return ONPU_RV32_LOCKUP;
	}
}

ALWAYS_INLINE enum onpu_rv32_stop loop(struct onpu_rv32 *h, uint64_t max,
				       uint64_t *executed, bool traced)
{
	enum onpu_rv32_stop why = ONPU_RV32_LIMIT;
	uint64_t n = 0, counted = 0;
	uint32_t pc = h->pc, insn, raw;
	bool stop;

	while (n < max) {
		struct step s = { .cause = NO_TRAP };

		if (UNLIKELY(atomic_load_explicit(&h->lines,
						  memory_order_relaxed) &
			     h->wake_mask)) {
			if (handle_lines(h, pc)) {
				pc = h->pc;
				why = ONPU_RV32_STOPPED;
				break;
			}
			pc = h->pc;
		}
		if (fetch(h, pc, &insn, &raw, &s)) {
			if (traced)
				h->trace(h->trace_opaque, pc, raw);
			if (UNLIKELY((insn & 0x7f) == 0x73)) {
				count(h, n - counted); /* for CSR reads */
				counted = n;
			}
			execute(h, insn, raw, pc, &s);
			h->x[0] = 0;
		}
		n++;
		if (UNLIKELY(s.cause != NO_TRAP)) {
			why = settle(h, pc, &s, &stop);
			pc = h->pc;
			if (stop)
				break;
			why = ONPU_RV32_LIMIT;
			continue;
		}
		pc = s.next;
	}
	count(h, n - counted);
	h->pc = pc;
	*executed = n;
	return why;
}

static enum onpu_rv32_stop loop_plain(struct onpu_rv32 *h, uint64_t max,
				      uint64_t *executed)
{
	return loop(h, max, executed, false);
}

static enum onpu_rv32_stop loop_traced(struct onpu_rv32 *h, uint64_t max,
				       uint64_t *executed)
{
	return loop(h, max, executed, true);
}

/* WFI ends when an enabled line is up, whether mstatus.MIE is set or not. */
static bool still_waiting(struct onpu_rv32 *h)
{
	if (h->wfi && atomic_load_explicit(&h->lines, memory_order_acquire) &
		      h->mie)
		h->wfi = false;
	return h->wfi;
}

enum onpu_rv32_stop onpu_rv32_run(struct onpu_rv32 *h, uint64_t max_insns,
				  uint64_t *executed)
{
	enum onpu_rv32_stop why = ONPU_RV32_LIMIT;
	uint64_t n;

	if (executed)
		*executed = 0;
	while (max_insns) {
		if (h->lockup)
			return ONPU_RV32_LOCKUP;
		if (still_waiting(h)) {
			if (atomic_fetch_and(&h->lines, ~LINE_STOP) & LINE_STOP)
				return ONPU_RV32_STOPPED;
			return ONPU_RV32_WFI;
		}
		why = h->trace ? loop_traced(h, max_insns, &n) :
				 loop_plain(h, max_insns, &n);
		if (executed)
			*executed += n;
		max_insns -= n;
		/* A line may be up already: then WFI was a no-op. */
		if (why != ONPU_RV32_WFI || still_waiting(h))
			return why;
	}
	return ONPU_RV32_LIMIT;
}

/* ---------------------------------------------------- set-up and state */

struct onpu_rv32 *onpu_rv32_create(const struct onpu_rv32_config *config)
{
	struct onpu_rv32 *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	pthread_once(&expansions_once, fill_expansions);
	h->config = *config;
	h->fetch = &no_region; /* only ever an executable region: fetch16() */
	h->data = &no_region;
	onpu_rv32_reset(h);
	return h;
}

void onpu_rv32_destroy(struct onpu_rv32 *h)
{
	free(h);
}

int onpu_rv32_add_region(struct onpu_rv32 *h,
			 const struct onpu_rv32_region *r)
{
	uint64_t end = (uint64_t)r->base + r->size;

	if (!r->ptr || !r->size || (r->base | r->size) & 3 ||
	    (uintptr_t)r->ptr & 3 || end > 1ull << 32)
		return -EINVAL;
	for (unsigned int i = 0; i < h->n_regions; i++) {
		const struct onpu_rv32_region *o = &h->regions[i];

		if (r->base < (uint64_t)o->base + o->size && o->base < end)
			return -EINVAL;
	}
	if (h->n_regions == ONPU_RV32_MAX_REGIONS)
		return -ENOSPC;
	h->regions[h->n_regions++] = *r;
	return 0;
}

void onpu_rv32_reset(struct onpu_rv32 *h)
{
	for (unsigned int i = 0; i < 32; i++)
		h->x[i] = 0;
	h->pc = h->config.reset_pc & ~1u;
	h->mstatus = MSTATUS_MPP;
	h->mie = 0;
	h->mtvec = 0;
	h->mscratch = 0;
	h->mepc = 0;
	h->mcause = 0;
	h->mtval = 0;
	h->mcountinhibit = 0;
	h->mcycle = 0;
	h->minstret = 0;
	h->wfi = false;
	h->lockup = false;
	atomic_fetch_and(&h->lines, ~LINE_STOP);
	rv32_update_wake(h);
}

void onpu_rv32_set_irq(struct onpu_rv32 *h, unsigned int irq, bool level)
{
	uint32_t bit = irq < 32 ? 1u << irq & IRQ_MASK : 0;

	if (level)
		atomic_fetch_or(&h->lines, bit);
	else
		atomic_fetch_and(&h->lines, ~bit);
}

bool onpu_rv32_irq_level(const struct onpu_rv32 *h, unsigned int irq)
{
	return irq < 31 && atomic_load(&h->lines) >> irq & 1;
}

void onpu_rv32_stop(struct onpu_rv32 *h)
{
	atomic_fetch_or(&h->lines, LINE_STOP);
}

void onpu_rv32_stop_on_ebreak(struct onpu_rv32 *h, bool enable)
{
	h->stop_on_ebreak = enable;
}

void onpu_rv32_set_trace(struct onpu_rv32 *h, onpu_rv32_trace_fn *fn,
			 void *opaque)
{
	h->trace = fn;
	h->trace_opaque = opaque;
}

void onpu_rv32_get_state(const struct onpu_rv32 *h, struct onpu_rv32_state *s)
{
	for (unsigned int i = 0; i < 32; i++)
		s->x[i] = h->x[i];
	s->pc = h->pc;
	s->lines = atomic_load(&h->lines) & IRQ_MASK;
	s->mstatus = h->mstatus;
	s->mie = h->mie;
	s->mtvec = h->mtvec;
	s->mscratch = h->mscratch;
	s->mepc = h->mepc;
	s->mcause = h->mcause;
	s->mtval = h->mtval;
	s->mcountinhibit = h->mcountinhibit;
	s->mcycle = h->mcycle;
	s->minstret = h->minstret;
	s->wfi = h->wfi;
	s->lockup = h->lockup;
}

void onpu_rv32_set_state(struct onpu_rv32 *h, const struct onpu_rv32_state *s)
{
	for (unsigned int i = 0; i < 32; i++)
		h->x[i] = s->x[i];
	h->pc = s->pc;
	atomic_store(&h->lines, s->lines & IRQ_MASK);
	h->mstatus = s->mstatus;
	h->mie = s->mie;
	h->mtvec = s->mtvec;
	h->mscratch = s->mscratch;
	h->mepc = s->mepc;
	h->mcause = s->mcause;
	h->mtval = s->mtval;
	h->mcountinhibit = s->mcountinhibit;
	h->mcycle = s->mcycle;
	h->minstret = s->minstret;
	h->wfi = s->wfi != 0;
	h->lockup = s->lockup != 0;
	rv32_sanitize(h);
}

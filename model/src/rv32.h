/* SPDX-License-Identifier: MIT */
/*
 * RV32IMC instruction-set simulator: one machine-mode hart on a small bus.
 *
 * Implements RV32I 2.1, M 2.0, C 2.0, Zicsr 2.0, Zifencei 2.0 and the
 * machine-mode part of the privileged architecture 1.12: no U or S mode, no
 * PMP; of the unprivileged counters cycle and instret but not time; no debug
 * triggers (tselect and tdata1 read as zero).  Everything else traps as an
 * illegal instruction, all reserved and custom encodings included.
 *
 * Misaligned loads and stores are performed when they lie entirely within one
 * memory region; outside of regions they raise an address-misaligned trap.
 *
 * The code that runs is untrusted.  Whatever it does, the simulator touches
 * only the regions it was given and calls only the bus functions it was given.
 */
#ifndef ONPU_MODEL_RV32_H
#define ONPU_MODEL_RV32_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct onpu_rv32;

/* Most regions that a hart can have. */
#define ONPU_RV32_MAX_REGIONS	8

/* Interrupt lines: bit numbers of mip and mie. */
#define ONPU_RV32_IRQ_SOFT	3
#define ONPU_RV32_IRQ_TIMER	7
#define ONPU_RV32_IRQ_EXT	11

/* Exception codes of mcause. */
#define ONPU_RV32_EXC_FETCH_FAULT	1
#define ONPU_RV32_EXC_ILLEGAL		2
#define ONPU_RV32_EXC_BREAKPOINT	3
#define ONPU_RV32_EXC_LOAD_MISALIGNED	4
#define ONPU_RV32_EXC_LOAD_FAULT	5
#define ONPU_RV32_EXC_STORE_MISALIGNED	6
#define ONPU_RV32_EXC_STORE_FAULT	7
#define ONPU_RV32_EXC_ECALL_M		11

/*
 * Device access, for addresses in no region.  @size is 1, 2 or 4 and @addr is
 * a multiple of it.  Return 0, or anything else for an access fault.  Called
 * from the thread that runs the hart.
 */
struct onpu_rv32_bus {
	int (*load)(void *opaque, uint32_t addr, unsigned int size,
		    uint32_t *value);
	int (*store)(void *opaque, uint32_t addr, unsigned int size,
		     uint32_t value);
};

/*
 * Memory that is accessed directly.  @base, @size and @ptr are multiples of 4,
 * regions do not overlap.  Code runs from executable regions only.  Aligned
 * accesses are single-copy atomic, so that @ptr may be shared with other
 * threads; the memory is little endian on every host.
 */
struct onpu_rv32_region {
	uint32_t base;
	uint32_t size;
	uint8_t *ptr;
	bool writable;
	bool executable;
};

struct onpu_rv32_config {
	uint32_t reset_pc;
	uint32_t hartid;
	uint32_t vendorid;
	uint32_t archid;
	uint32_t impid;
	struct onpu_rv32_bus bus;	/* either function may be NULL: fault */
	void *opaque;
};

/* Why onpu_rv32_run() returned. */
enum onpu_rv32_stop {
	ONPU_RV32_LIMIT,	/* max_insns reached */
	ONPU_RV32_WFI,		/* waiting: run again once a line is raised */
	ONPU_RV32_STOPPED,	/* onpu_rv32_stop() */
	ONPU_RV32_EBREAK,	/* ebreak while onpu_rv32_stop_on_ebreak() */
	ONPU_RV32_LOCKUP,	/* the trap handler cannot be fetched or decoded:
				 * nothing but a reset helps */
};

/*
 * The whole architectural state with the interrupt lines, for saving and
 * restoring.  Memory is the platform's to save.
 */
struct onpu_rv32_state {
	uint32_t x[32];
	uint32_t pc;
	uint32_t lines;
	uint32_t mstatus;
	uint32_t mie;
	uint32_t mtvec;
	uint32_t mscratch;
	uint32_t mepc;
	uint32_t mcause;
	uint32_t mtval;
	uint32_t mcountinhibit;
	uint64_t mcycle;
	uint64_t minstret;
	uint32_t wfi;
	uint32_t lockup;
};

/* Called before each instruction; @insn has 16 valid bits if compressed. */
typedef void onpu_rv32_trace_fn(void *opaque, uint32_t pc, uint32_t insn);

struct onpu_rv32 *onpu_rv32_create(const struct onpu_rv32_config *config);
void onpu_rv32_destroy(struct onpu_rv32 *hart);

/* Add memory: 0, -EINVAL (alignment, overlap, wrap) or -ENOSPC. */
int onpu_rv32_add_region(struct onpu_rv32 *hart,
			 const struct onpu_rv32_region *region);

/* Registers to reset values, pc to the reset pc; interrupt lines stay. */
void onpu_rv32_reset(struct onpu_rv32 *hart);

/*
 * Run until something in enum onpu_rv32_stop happens.  Every instruction and
 * every trap counts against @max_insns, so a call is always bounded.  The
 * number counted goes to @executed if it is not NULL.
 */
enum onpu_rv32_stop onpu_rv32_run(struct onpu_rv32 *hart, uint64_t max_insns,
				  uint64_t *executed);

/* These may be called from any thread, also while the hart runs. */
void onpu_rv32_set_irq(struct onpu_rv32 *hart, unsigned int irq, bool level);
bool onpu_rv32_irq_level(const struct onpu_rv32 *hart, unsigned int irq);
void onpu_rv32_stop(struct onpu_rv32 *hart);

/* These only while the hart does not run. */
void onpu_rv32_stop_on_ebreak(struct onpu_rv32 *hart, bool enable);
void onpu_rv32_set_trace(struct onpu_rv32 *hart, onpu_rv32_trace_fn *fn,
			 void *opaque);
void onpu_rv32_get_state(const struct onpu_rv32 *hart,
			 struct onpu_rv32_state *state);
/* Any content is accepted: fields are made legal as a CSR write would. */
void onpu_rv32_set_state(struct onpu_rv32 *hart,
			 const struct onpu_rv32_state *state);

/*
 * The 32-bit equivalent of a compressed instruction; 0 if @insn is reserved,
 * not of RV32IMC, or not compressed at all.
 */
uint32_t onpu_rv32_expand(uint16_t insn);

#ifdef __cplusplus
}
#endif

#endif

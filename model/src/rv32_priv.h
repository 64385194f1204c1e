/* SPDX-License-Identifier: MIT */
/* Shared by the files of the RV32 simulator only. */
#ifndef ONPU_MODEL_RV32_PRIV_H
#define ONPU_MODEL_RV32_PRIV_H

#include <stdatomic.h>
#include "rv32.h"

#define MSTATUS_MIE	(1u << 3)
#define MSTATUS_MPIE	(1u << 7)
#define MSTATUS_MPP	(3u << 11)	/* machine mode only: reads as 3 */

#define IRQ_MASK	(1u << ONPU_RV32_IRQ_SOFT | \
			 1u << ONPU_RV32_IRQ_TIMER | \
			 1u << ONPU_RV32_IRQ_EXT)
#define LINE_STOP	(1u << 31)	/* onpu_rv32_stop(): not part of mip */

#define INHIBIT_CYCLE	(1u << 0)
#define INHIBIT_INSTRET	(1u << 2)

struct onpu_rv32 {
	uint32_t x[32];
	uint32_t pc;
	atomic_uint lines;	/* interrupt lines and LINE_STOP */
	uint32_t wake_mask;	/* lines that must leave the fast loop */
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
	bool wfi;
	bool lockup;
	bool stop_on_ebreak;
	unsigned int n_regions;
	const struct onpu_rv32_region *fetch;	/* region of the last fetch */
	const struct onpu_rv32_region *data;	/* region of the last access */
	struct onpu_rv32_region regions[ONPU_RV32_MAX_REGIONS];
	struct onpu_rv32_config config;
	onpu_rv32_trace_fn *trace;
	void *trace_opaque;
};

void rv32_fill_expansions(uint32_t table[1 << 16]);

/* Recompute what the run loop looks at after mstatus or mie changed. */
void rv32_update_wake(struct onpu_rv32 *h);

/* CSR access: false if the CSR does not exist (or is read-only on write). */
bool rv32_csr_read(struct onpu_rv32 *h, uint32_t csr, uint32_t *value);
bool rv32_csr_write(struct onpu_rv32 *h, uint32_t csr, uint32_t value);
void rv32_sanitize(struct onpu_rv32 *h);

#endif

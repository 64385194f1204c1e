/* SPDX-License-Identifier: MIT */
/*
 * accelctl bench: what is asked for, and what came out of one case of it.
 */
#ifndef ACCELCTL_BENCH_H
#define ACCELCTL_BENCH_H

#include <accel/accel.h>

#include <stdbool.h>
#include <stdint.h>

#define SWEEP_MAX	64	/* values of one dimension, or types */

struct values {
	unsigned int count;
	uint32_t value[SWEEP_MAX];
};

struct bench {
	struct values types;
	struct values m, n, k;
	bool square;			/* n and k are m */
	/* What all cases have in common; a type of 0 is the default, a leading dimension of 0 no gap. */
	struct accel_plan_config plan;
	uint32_t pad;			/* elements behind the rows of every matrix */
	bool share_a, share_b;		/* one operand for all matmuls of a batch */
	uint32_t memory;		/* ACCEL_BUFFER_* of the operands */
	unsigned int iterations;
	unsigned int check;		/* elements; 0 none, UINT_MAX all */
	uint32_t seed;
};

struct bench_result {
	double *times;			/* iterations of them, rising */
	double pipelined;		/* seconds for one */
	double ops;			/* of one */
	bool profiled;
	struct accel_profile profile;	/* of one */
	uint64_t elements, checked, wrong;
	uint64_t wrong_item, wrong_row, wrong_column;	/* the first */
	uint32_t got, wanted;
};

/* Fills in what the case leaves to defaults, so that the reference sees it. */
void bench_resolve(const struct bench *bench, struct accel_plan_config *config);
/* 0, -ENOMEM (host or card), or what libaccel says. The caller frees result->times. */
int bench_case_run(struct accel_device *device, const struct bench *bench,
		   const struct accel_plan_config *config, struct bench_result *result);

#endif

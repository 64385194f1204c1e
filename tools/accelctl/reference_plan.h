/* SPDX-License-Identifier: MIT */
/*
 * The scalar reference for matmul plans: scales of groups, epilogues, conversions and batches,
 * written from numerics.md and accel.h. Shares nothing with libaccel, the card's model or its tests.
 */
#ifndef ACCELCTL_REFERENCE_PLAN_H
#define ACCELCTL_REFERENCE_PLAN_H

#include <accel/accel.h>

#include <stdint.h>

/* A plan and what its operands held before it ran. */
struct ref_plan {
	/* With all types, leading dimensions and strides filled in. */
	struct accel_plan_config config;
	const uint8_t *data[ACCEL_OPERANDS];
};

/* One element of one matmul of a plan. */
struct ref_place {
	uint64_t item;		/* which matmul */
	uint64_t row, column;	/* in its D */
	uint64_t start;		/* rows of the groups before */
};

/* Elements of D that are written, all matmuls together. */
uint64_t ref_plan_elements(const struct ref_plan *plan);
/* The index-th of them. */
struct ref_place ref_plan_place(const struct ref_plan *plan, uint64_t index);
/* Where it stands, in bytes from the start of D. */
uint64_t ref_plan_offset(const struct ref_plan *plan, const struct ref_place *place);
/* Its bits. */
uint32_t ref_plan_element(const struct ref_plan *plan, const struct ref_place *place);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The scalar reference for matmuls: numerics.md written down once more, as plainly as
 * possible. Shares nothing with libaccel or the card's model.
 */
#ifndef ACCELCTL_REFERENCE_H
#define ACCELCTL_REFERENCE_H

#include <accel/accel.h>

#include <stdbool.h>
#include <stdint.h>

/* One operand in CPU memory. */
struct ref_matrix {
	uint8_t *data;
	uint64_t ld;
	uint32_t type;
	const uint8_t *scales;	/* UE8M0 of the MX types, one for 32 elements along k */
	uint64_t scale_ld;
};

/* Bytes of a row of ld elements, which start at bytes. */
uint64_t ref_row_bytes(const struct ref_matrix *matrix);

float ref_bf16_to_f32(uint16_t bits);
float ref_f16_to_f32(uint16_t bits);

/* Element (r, c) of a floating-point or 4-bit matrix, exactly and without its scale. */
float ref_load(const struct ref_matrix *matrix, uint64_t r, uint64_t c);

/* Stored bits of element (i, j) of op(A) * op(B) + C; c->data NULL: no C. */
uint32_t ref_element(uint32_t flags, uint32_t k, const struct ref_matrix *a,
		     const struct ref_matrix *b, const struct ref_matrix *c, uint64_t i, uint64_t j);

/* The whole product; c may be d. */
void ref_matmul(uint32_t flags, uint32_t m, uint32_t n, uint32_t k, const struct ref_matrix *a,
		const struct ref_matrix *b, const struct ref_matrix *c, struct ref_matrix *d);

/*
 * Deterministic operands, finite and ordinary: all signs and fractions, exponents around 1. With @subnormals
 * one in 256 is subnormal or zero, which some processors multiply a hundred times slower.
 */
void ref_fill(struct ref_matrix *matrix, uint64_t elements, uint32_t seed, bool subnormals);

/* NaNs are equal whatever their bits when numerics.md leaves them open. */
int ref_same(uint32_t type, uint32_t x, uint32_t y);

#endif

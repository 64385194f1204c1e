/* SPDX-License-Identifier: MIT */
/*
 * What the matmul driver (gemm.c) and the kernels (gemm_<isa>.c) agree on.
 *
 * Operands are packed before use. A "unit" is one 32-bit word of packed data: one FP32 value,
 * or 1, 2 or 4 consecutive k of an integer operand (ku says which). A "sliver" holds a few rows
 * of A, or columns of B ("lanes"), for one block of k: unit[k / ku][lanes]. k past the edge of
 * the matrix is zero, lanes past it are of no consequence. A micro kernel multiplies one sliver of A by one of B.
 */
#ifndef ONPU_MODEL_GEMM_PRIV_H
#define ONPU_MODEL_GEMM_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#else
#include <fenv.h>
#endif

#include "gemm.h"

#define GEMM_MR_MAX	16u		/* rows of a micro tile, any kernel */
#define GEMM_LANES_MAX	32u		/* lanes of a sliver, any kernel */
#define GEMM_FEW_SLIVERS	4u	/* of B, side by side when there are few rows */
#define GEMM_CANONICAL_NAN	0x7fc00000u

/* How source elements become units. */
enum gemm_mode {
	GEMM_F32,	/* FP32 as it is */
	GEMM_BF16,	/* to FP32, exact */
	GEMM_F16,	/* to FP32, exact */
	GEMM_I8,	/* ku = 1: sign-extended to 32 bits; ku = 2: two 16-bit halves; ku = 4: bytes */
	GEMM_I8_BIASED,	/* ku = 4 only: bytes + 128, unsigned */
	/* Kernels read these too if they say so; 4-bit elements from a whole byte on. */
	GEMM_I4,	/* as GEMM_I8 */
	GEMM_I4_F32,	/* to FP32, as all that follow */
	GEMM_E2M1,
	GEMM_I8_F32,
	GEMM_E4M3,
	GEMM_E5M2,
	GEMM_UE8M0,
	GEMM_MODES
};

#define GEMM_MODE(mode)		(1u << (mode))

/*
 * What packed elements are scaled by: (v - zero) * scale, with one of each for every lane of
 * every group along k: as many as the sliver has lanes. Groups are of 32 or more.
 */
struct gemm_lane_scales {
	const float *scale;
	const float *zero;		/* NULL: none */
	unsigned int shift;		/* log2 of the elements of a group */
	uint32_t skip;			/* of the first group, a multiple of 16 */
};

struct gemm_kernel {
	const char *name;
	bool (*supported)(void);
	enum onpu_gemm_isa isa;
	bool integer;		/* INT8 -> INT32, else FP32 */
	bool a_biased;		/* A is packed as GEMM_I8_BIASED; finish_b makes up for it */
	uint32_t modes;		/* GEMM_MODE()s that packing reads beyond the first ones; then it scales */
	uint8_t mr;		/* rows of a micro tile */
	uint8_t nr;		/* columns of a micro tile = lanes of a sliver of B */
	uint8_t a_lanes;	/* lanes of a sliver of A, >= mr */
	uint8_t ku;		/* k per unit */
	uint8_t b_head;		/* units before a sliver of B: nr words for finish_b, or 0 */
	uint16_t kc;		/* most k of a block, multiple of 16 * ku */
	uint16_t tile_m;	/* slivers of A of a work item (stays in L2) */
	uint16_t tile_n;	/* slivers of B of a work item */

	/*
	 * Pack count (<= lanes) source rows, k elements of k each, one lane per row
	 * (operand stored with k contiguous), scaled unless scales is NULL.
	 */
	void (*pack_rows)(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
			  unsigned int count, size_t k, enum gemm_mode mode,
			  const struct gemm_lane_scales *scales);
	/*
	 * Pack k source rows, count (<= lanes) elements of each starting at byte off,
	 * one lane per element (operand stored with the lanes contiguous).
	 */
	void (*pack_cols)(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows, size_t off,
			  unsigned int count, size_t k, enum gemm_mode mode,
			  const struct gemm_lane_scales *scales);
	/* Fill the head of a sliver of B once its units are complete; may be NULL. */
	void (*finish_b)(uint32_t *sliver, size_t units);
	/*
	 * rows x cols tile of D: starts from cin (NULL: zero), stores to dout; row r is at
	 * cin[r] + col and dout[r] + col (col in elements). b points at the sliver's head.
	 * last: this ends the sums, so canonicalise NaNs.
	 */
	void (*tile)(unsigned int rows, unsigned int cols, size_t units, const uint32_t *a,
		     const uint32_t *b, const uint32_t *const *cin, uint32_t *const *dout,
		     size_t col, bool last);
	/*
	 * The same for up to few_rows rows and GEMM_FEW_SLIVERS slivers of B, stride units from
	 * one to the next: a few sums of one sliver would wait for each other. May be NULL.
	 */
	void (*tile_few)(unsigned int rows, unsigned int cols, size_t units, const uint32_t *a,
			 const uint32_t *b, size_t stride, const uint32_t *const *cin,
			 uint32_t *const *dout, size_t col, bool last);
	uint8_t few_rows;
	const struct gemm_few_kernel *few;	/* gemm_few.h, or NULL */
};

/*
 * gemm_small.c: products of which each thread packs all of B by itself. gemm_small() with the modes that
 * the kernel packs the types by, which are of whole bytes; 0 or -ENOMEM.
 */
bool gemm_small_fits(const struct gemm_kernel *kern, const struct onpu_gemm_desc *d,
		     const struct onpu_pool *pool);
int gemm_small(const struct gemm_kernel *kern, struct onpu_pool *pool, const struct onpu_gemm_desc *d,
	       enum gemm_mode a_mode, enum gemm_mode b_mode);

extern const struct gemm_kernel gemm_scalar_f32, gemm_scalar_i8;

/* Portable packing, also for kernels that have none of their own. */
void gemm_pack_rows_c(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows,
		      unsigned int count, size_t k, enum gemm_mode mode, unsigned int ku);
void gemm_pack_cols_c(uint32_t *dst, unsigned int lanes, const uint8_t *const *rows, size_t off,
		      unsigned int count, size_t k, enum gemm_mode mode, unsigned int ku);

#if defined(__x86_64__)
extern const struct gemm_kernel gemm_sse41_i8, gemm_avx2_f32, gemm_avx2_i8, gemm_avxvnni_i8,
	gemm_avx512_f32, gemm_avx512vbmi_f32, gemm_avx512vnni_i8;
#endif

/*
 * Sanitizers check each lane of a masked access by itself, which takes compilers minutes for these
 * unrolled kernels. test_gemm puts operands against inaccessible pages instead, which finds
 * accesses past their ends in every build.
 */
#if defined(__clang__)
#define GEMM_NO_SANITIZE __attribute__((no_sanitize("address", "undefined")))
#else
#define GEMM_NO_SANITIZE __attribute__((no_sanitize("address,undefined")))
#endif

/*
 * Large buffers on the stack, which a build with -ftrivial-auto-var-init (QEMU's) would clear with
 * every call: that took longer than packing.
 */
#if defined(__has_attribute)
#if __has_attribute(uninitialized)
#define GEMM_BUFFER __attribute__((uninitialized))
#endif
#endif
#ifndef GEMM_BUFFER
#define GEMM_BUFFER
#endif

#define GEMM_INLINE static inline __attribute__((always_inline))

/* Loops over micro-tile rows must unroll fully, or the accumulators do not stay in registers. */
#if defined(__clang__)
#define GEMM_UNROLL	_Pragma("clang loop unroll(full)")
#else
#define GEMM_UNROLL	_Pragma("GCC unroll 16")
#endif

/*
 * Round to nearest, no flush-to-zero, no denormals-are-zero, exceptions masked: the threads
 * belong to a program that may have set anything else.
 */
#if defined(__x86_64__)
typedef unsigned int gemm_fpmode_t;

static inline void gemm_fpmode_enter(gemm_fpmode_t *old)
{
	*old = _mm_getcsr();
	_mm_setcsr(0x1f80);
}

static inline void gemm_fpmode_leave(const gemm_fpmode_t *old)
{
	_mm_setcsr(*old);
}
#else
typedef fenv_t gemm_fpmode_t;

static inline void gemm_fpmode_enter(gemm_fpmode_t *old)
{
	fegetenv(old);
	fesetenv(FE_DFL_ENV);
}

static inline void gemm_fpmode_leave(const gemm_fpmode_t *old)
{
	fesetenv(old);
}
#endif

#endif

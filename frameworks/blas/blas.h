/* SPDX-License-Identifier: MIT */
/*
 * What the parts of libblas.so.3 share.
 *
 *   symbols.txt, forward.py   the exported names, and the jumps to the next BLAS
 *   next.c      finds the next BLAS and fills the jumps' slots
 *   settings.c  the environment, and the log
 *   model.c     what a call costs on the CPU and on the card
 *   card.c      the card: opening it, operands, products
 *   calls.c     the entry points of single precision: arguments, and where the call goes
 *   level3.c    the level-3 routines, as products and small blocks on the CPU
 *   batch.c     the batched entry points
 *   dgemm.c     double precision, on the card if asked for: slices of integers
 *
 * Inside, matrices are as in Fortran: column-major. The row-major calls of CBLAS become column-major
 * calls for the transposed matrices.
 */
#ifndef ACCEL_BLAS_H
#define ACCEL_BLAS_H

#include <accel/accel.h>
#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLAS_API	__attribute__((visibility("default")))

/* The values of cblas.h. */
enum { ROW_MAJOR = 101, COL_MAJOR = 102 };
enum { NO_TRANS = 111, TRANS = 112, CONJ_TRANS = 113 };
enum { UPPER = 121, LOWER = 122 };
enum { NON_UNIT = 131, UNIT = 132 };
enum { LEFT = 141, RIGHT = 142 };

/* ---- next.c ------------------------------------------------------------- */

#define GEMM_ARGS(T) const char *, const char *, const int *, const int *, const int *, \
	const T *, const T *, const int *, const T *, const int *, const T *, T *, const int *
#define CBLAS_GEMM_ARGS(T) int, int, int, int, int, int, T, const T *, int, const T *, int, \
	T, T *, int

/* Fortran passes the lengths of character arguments behind the others. */
typedef void sgemm_fn(GEMM_ARGS(float), size_t, size_t);
typedef void dgemm_fn(GEMM_ARGS(double), size_t, size_t);
typedef void ssymm_fn(const char *, const char *, const int *, const int *, const float *,
		      const float *, const int *, const float *, const int *, const float *,
		      float *, const int *, size_t, size_t);
typedef void ssyrk_fn(const char *, const char *, const int *, const int *, const float *,
		      const float *, const int *, const float *, float *, const int *,
		      size_t, size_t);
typedef void ssyr2k_fn(const char *, const char *, const int *, const int *, const float *,
		       const float *, const int *, const float *, const int *, const float *,
		       float *, const int *, size_t, size_t);
typedef void strxm_fn(const char *, const char *, const char *, const char *, const int *,
		      const int *, const float *, const float *, const int *, float *,
		      const int *, size_t, size_t, size_t, size_t);
typedef void cblas_sgemm_fn(CBLAS_GEMM_ARGS(float));
typedef void cblas_dgemm_fn(CBLAS_GEMM_ARGS(double));
typedef void cblas_ssymm_fn(int, int, int, int, int, float, const float *, int, const float *,
			    int, float, float *, int);
typedef void cblas_ssyrk_fn(int, int, int, int, int, float, const float *, int, float,
			    float *, int);
typedef void cblas_ssyr2k_fn(int, int, int, int, int, float, const float *, int,
			     const float *, int, float, float *, int);
typedef void cblas_strxm_fn(int, int, int, int, int, int, int, float, const float *, int,
			    float *, int);

/* The next BLAS's functions of those that are ours. */
#pragma GCC visibility push(hidden)
extern sgemm_fn *blas_next_sgemm_;
extern dgemm_fn *blas_next_dgemm_;
extern ssymm_fn *blas_next_ssymm_;
extern ssyrk_fn *blas_next_ssyrk_;
extern ssyr2k_fn *blas_next_ssyr2k_;
extern strxm_fn *blas_next_strmm_, *blas_next_strsm_;
extern cblas_sgemm_fn *blas_next_cblas_sgemm;
extern cblas_dgemm_fn *blas_next_cblas_dgemm;
extern cblas_ssymm_fn *blas_next_cblas_ssymm;
extern cblas_ssyrk_fn *blas_next_cblas_ssyrk;
extern cblas_ssyr2k_fn *blas_next_cblas_ssyr2k;
extern cblas_strxm_fn *blas_next_cblas_strmm, *blas_next_cblas_strsm;

/* Path of the next BLAS. */
const char *blas_next_path(void);

/* ---- settings.c --------------------------------------------------------- */

struct blas_settings {
	bool off;		/* ACCEL_BLAS=off */
	bool always;		/* ACCEL_BLAS_MIN=0: whatever is legal goes to the card */
	double min_work;	/* ACCEL_BLAS_MIN=N: N^3, replaces the cost model; 0: not set */
	unsigned int slices;	/* ACCEL_BLAS_DGEMM: slices of a double, 0: on the CPU */
	const char *next;	/* ACCEL_BLAS_NEXT, or NULL */
	const char *device;	/* ACCEL_BLAS_DEVICE, or NULL */
	const char *model;	/* ACCEL_BLAS_MODEL, or NULL */
};

/* Read once, before anything else runs. */
const struct blas_settings *blas_settings(void);

/* Whether ACCEL_BLAS_LOG is set: then every call of ours says where it went. */
extern bool blas_logging;
void blas_log(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Said even without a log: what the user must know. */
void blas_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint64_t blas_now(void);	/* ns */

/* From this size on operands are registered if they can be, whatever was measured on a busy machine. */
#define BLAS_REGISTER_FROM	(1u << 20)

/* ---- model.c ------------------------------------------------------------ */

struct blas_lane;

/* Times in ns, sizes in bytes, work in multiplications (m n k). */
struct blas_costs {
	double cpu_call;	/* of a call on the CPU, */
	double cpu_work;	/* and of each multiplication */
	double card_call;	/* of a submission to the card, until its end is known, */
	double card_step;	/* of each further product of a submission, */
	double card_work;	/* and of each multiplication */
	double copy_byte;	/* of copying a byte to or from staging memory */
	double pin_call;	/* of registering memory and giving it back, */
	double pin_byte;	/* and of each byte of it */
};

extern struct blas_costs blas_costs;

/* Calls with less work than this are not looked at any closer. */
extern _Atomic double blas_floor;

/* Sets blas_costs from the environment, the cache or a measurement, and blas_floor. */
void blas_model_init(struct blas_lane *lane, const char *card);
/* Cost of making @compact bytes in a span of @span bytes reachable, @ways: copies in and out. */
double blas_model_operand(double compact, double span, int ways);

/* ---- card.c ------------------------------------------------------------- */

/* A queue, and memory for operands that are copied. Used by one call at a time. */
struct blas_lane;

/* An operand. @cpu is where the CPU finds it as long as it is one: in place or a copy. */
struct blas_operand {
	struct accel_buffer *buffer;
	uint64_t offset;	/* bytes in the buffer to element (0, 0) */
	int64_t ld;		/* elements */
	void *cpu;
	void *user;		/* as what follows: the caller's matrix */
	int64_t user_ld;
	int64_t rows, cols;
	unsigned int element;	/* bytes */
	unsigned int access;	/* ACCEL_ACCESS_* */
	bool registered;	/* else it is a copy */
};

/* A place in an operand, by element. */
struct blas_view {
	const struct blas_operand *op;
	int64_t row, col;
};

/* C = alpha op(A) op(B) + beta C; beta 0 does not read C. @batch: 0, or matmuls at strides. */
struct blas_product {
	bool ta, tb;
	int64_t m, n, k;
	float alpha, beta;
	struct blas_view a, b, c;
	int64_t batch, a_stride, b_stride, c_stride;	/* elements */
	uint32_t type;		/* enum accel_type of A and B; DEFAULT: F32. I8: C is I32 */
};

/* Whether a call of so much work may be worth the card; opens it when it is the first. */
bool blas_card_wanted(double work);
/* A lane, or NULL; waits for one if all are busy. */
struct blas_lane *blas_lane_get(void);
/* Gives it back. @failed: its queue is not to be used any more. */
void blas_lane_put(struct blas_lane *lane, bool failed);

/* Makes @user, a column-major matrix, reachable. WRITE without READ: its content does not matter. */
int blas_operand_get(struct blas_lane *lane, struct blas_operand *op, const void *user,
		     int64_t rows, int64_t cols, int64_t ld, unsigned int element,
		     unsigned int access);
/* Memory of @rows by @cols, not of the caller's. */
int blas_operand_temporary(struct blas_lane *lane, struct blas_operand *op, int64_t rows,
			   int64_t cols, unsigned int element);
/* Ends it. @ok: a copy that was written goes back to the caller's matrix. */
void blas_operand_put(struct blas_operand *op, bool ok);

/* Submits a product; those of a lane run in order. */
int blas_lane_product(struct blas_lane *lane, const struct blas_product *product);
/* Waits for what was submitted, if anything. */
int blas_lane_wait(struct blas_lane *lane);

/* What the lane has done since it was got, for the log: "A registered, B copied". */
const char *blas_lane_story(const struct blas_lane *lane);
/* The CPU is about to write the operand: says so if it is the caller's own memory. */
void blas_lane_changes(struct blas_lane *lane, const struct blas_operand *op);
/* Whether the caller's memory may be changed already, by the card or the CPU. */
bool blas_lane_changed(const struct blas_lane *lane);

/* ---- level3.c ----------------------------------------------------------- */

/* A call of single precision, column-major. Unused members are 0. */
struct blas_call {
	const char *name;	/* "sgemm" */
	int (*run)(struct blas_lane *lane, const struct blas_call *call);
	char side, uplo, ta, tb, diag;	/* upper case; T for C */
	int64_t m, n, k;
	float alpha, beta;
	const float *a, *b;
	float *c;
	int64_t lda, ldb, ldc;
};

/* What a call is on the card: products, on how many, and what is left to the CPU. */
struct blas_estimate {
	double work;		/* multiplications of the card */
	double cpu_work;	/* of the CPU when the card does the rest */
	double total;		/* of the CPU when it does all */
	double calls;		/* times that the CPU waits for the card */
	double steps;		/* products */
	double operands;	/* ns, blas_model_operand() */
};

void blas_estimate(const struct blas_call *call, struct blas_estimate *estimate);
int blas_run_gemm(struct blas_lane *lane, const struct blas_call *call);
int blas_run_symm(struct blas_lane *lane, const struct blas_call *call);
int blas_run_syrk(struct blas_lane *lane, const struct blas_call *call);
int blas_run_trmm(struct blas_lane *lane, const struct blas_call *call);
int blas_run_trsm(struct blas_lane *lane, const struct blas_call *call);

/* ---- calls.c ------------------------------------------------------------ */

/*
 * Set in a thread while the next BLAS works for one of ours that has decided: reference libraries
 * come back to us, from the C interface to the Fortran one.
 */
extern _Thread_local bool blas_in_next;

/*
 * Runs a legal call on the card if that is the better place. False: it is the CPU's, and
 * nothing has been touched.
 */
bool blas_offload(const struct blas_call *call);

/* Whether a call of so much work is worth a closer look. */
static inline bool blas_candidate(double work)
{
	return __builtin_expect(work >= atomic_load_explicit(&blas_floor, memory_order_relaxed), 0) &&
	       !blas_in_next;
}

/* ---- dgemm.c ------------------------------------------------------------ */

struct blas_dgemm {
	bool ta, tb;
	int64_t m, n, k;
	double alpha, beta;
	const double *a, *b;
	double *c;
	int64_t lda, ldb, ldc;
};

/* As blas_offload(). */
bool blas_dgemm_offload(const struct blas_dgemm *call, unsigned int slices);
#pragma GCC visibility pop

static inline int64_t blas_max(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static inline int64_t blas_min(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

#endif

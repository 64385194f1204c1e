// SPDX-License-Identifier: MIT
/*
 * The entry points of single precision.
 *
 * Each looks first whether the call has enough work for the card to be thought of: three
 * multiplications and a comparison with blas_floor, no lock. What has not is handed on at
 * once, arguments untouched, and so is what is not legal: the next BLAS says what is wrong with it in its way
 * (xerbla). What remains is compared by the cost model. A call with alpha 0 or an empty sum is no
 * matter for a card either.
 *
 * The C interface of the reference library calls its Fortran interface, which may be ours again;
 * blas_in_next tells that the decision has been made.
 */
#include "blas.h"

#include <ctype.h>
#include <stdlib.h>

_Thread_local bool blas_in_next;

/* ---- where it goes ------------------------------------------------------ */

static void tell(const struct blas_call *p, const char *where, double took, double here,
		 double there, const char *why)
{
	if (blas_logging)
		blas_log("%s %c%c%c%c%c m=%lld n=%lld k=%lld: %s%s, %.3f ms (expected: card %.3f, CPU %.3f)",
			 p->name, p->side ? p->side : '-', p->uplo ? p->uplo : '-',
			 p->ta ? p->ta : '-', p->tb ? p->tb : '-', p->diag ? p->diag : '-',
			 (long long)p->m, (long long)p->n, (long long)p->k, where, why, took / 1e6,
			 there / 1e6, here / 1e6);
}

static void judge(const struct blas_call *call, double *here, double *there)
{
	const struct blas_costs *c = &blas_costs;
	struct blas_estimate e;

	blas_estimate(call, &e);
	*here = c->cpu_call + e.total * c->cpu_work;
	*there = e.calls * c->card_call + e.steps * c->card_step + e.work * c->card_work +
		 e.cpu_work * c->cpu_work + e.operands;
}

/*
 * The card failed. The CPU can do it all again if the caller's memory is as it was, or if what has
 * changed is no operand. Else an operand is lost, and a wrong result would not be noticed.
 */
static bool may_repeat(const struct blas_call *call, const struct blas_lane *lane)
{
	if (!blas_lane_changed(lane))
		return true;
	return (call->run == blas_run_gemm || call->run == blas_run_symm) && call->beta == 0;
}

bool blas_offload(const struct blas_call *call)
{
	const struct blas_settings *settings = blas_settings();
	double here = 0, there = 0;
	struct blas_lane *lane;
	uint64_t start;
	bool repeat;
	int ret;

	judge(call, &here, &there);
	if (!settings->always && !(settings->min_work > 0) && there >= here) {
		tell(call, "CPU", 0, here, there, "");
		return false;
	}
	lane = blas_lane_get();
	if (!lane)
		return false;
	start = blas_now();
	ret = call->run(lane, call);
	if (!ret) {
		tell(call, "card: ", (double)(blas_now() - start), here, there,
		     blas_lane_story(lane));
		blas_lane_put(lane, false);
		return true;
	}
	repeat = may_repeat(call, lane);
	tell(call, repeat ? "CPU, because the card failed: " : "the card failed: ",
	     (double)(blas_now() - start), here, there, accel_error_detail());
	if (!repeat) {
		blas_complain("%s: the card failed when it had begun to change the result, which was an operand too: %s",
			      call->name, accel_error_detail());
		abort();
	}
	blas_lane_put(lane, true);
	return false;
}

/* A call with so much work, of legal arguments: card or not. */
static bool offload(struct blas_call *call, double work, bool legal)
{
	return legal && work > 0 && call->alpha != 0 && blas_card_wanted(work) && blas_offload(call);
}

/* ---- legality ----------------------------------------------------------- */

/* Fortran's letters; 0 for what is none. */
static char letter(const char *p, const char *allowed)
{
	char c = (char)toupper((unsigned char)*p);

	for (; *allowed; allowed++)
		if (c == *allowed)
			return c == 'C' ? 'T' : c;
	return 0;
}

/* CBLAS's values as letters. */
static char c_trans(int value)
{
	return value == NO_TRANS ? 'N' : value == TRANS || value == CONJ_TRANS ? 'T' : 0;
}

static char c_uplo(int value, bool flip)
{
	if (value != UPPER && value != LOWER)
		return 0;
	return (value == UPPER) != flip ? 'U' : 'L';
}

static char c_side(int value, bool flip)
{
	if (value != LEFT && value != RIGHT)
		return 0;
	return (value == LEFT) != flip ? 'L' : 'R';
}

static char c_diag(int value)
{
	return value == UNIT ? 'U' : value == NON_UNIT ? 'N' : 0;
}

static bool ld_ok(int64_t ld, int64_t rows)
{
	return ld >= blas_max(1, rows);
}

static bool gemm_ok(const struct blas_call *p)
{
	return p->ta && p->tb && p->m >= 0 && p->n >= 0 && p->k >= 0 &&
	       ld_ok(p->lda, p->ta == 'T' ? p->k : p->m) &&
	       ld_ok(p->ldb, p->tb == 'T' ? p->n : p->k) && ld_ok(p->ldc, p->m);
}

static bool symm_ok(const struct blas_call *p)
{
	return p->side && p->uplo && p->m >= 0 && p->n >= 0 &&
	       ld_ok(p->lda, p->side == 'L' ? p->m : p->n) && ld_ok(p->ldb, p->m) &&
	       ld_ok(p->ldc, p->m);
}

static bool syrk_ok(const struct blas_call *p)
{
	int64_t rows = p->ta == 'T' ? p->k : p->n;

	return p->uplo && p->ta && p->n >= 0 && p->k >= 0 && ld_ok(p->lda, rows) &&
	       (!p->b || ld_ok(p->ldb, rows)) && ld_ok(p->ldc, p->n);
}

static bool triangle_ok(const struct blas_call *p)
{
	return p->side && p->uplo && p->ta && p->diag && p->m >= 0 && p->n >= 0 &&
	       ld_ok(p->lda, p->side == 'L' ? p->m : p->n) && ld_ok(p->ldc, p->m);
}

static double volume(int a, int b, int c)
{
	return (double)a * (double)b * (double)c;
}

/* ---- gemm --------------------------------------------------------------- */

BLAS_API sgemm_fn sgemm_;
void sgemm_(const char *transa, const char *transb, const int *m, const int *n, const int *k,
	    const float *alpha, const float *a, const int *lda, const float *b, const int *ldb,
	    const float *beta, float *c, const int *ldc, size_t len_a, size_t len_b)
{
	double work = volume(*m, *n, *k);

	if (blas_candidate(work)) {
		struct blas_call call = {
			.name = "sgemm", .run = blas_run_gemm,
			.ta = letter(transa, "NTC"), .tb = letter(transb, "NTC"),
			.m = *m, .n = *n, .k = *k, .alpha = *alpha, .beta = *beta,
			.a = a, .b = b, .c = c, .lda = *lda, .ldb = *ldb, .ldc = *ldc,
		};

		if (offload(&call, work, gemm_ok(&call)))
			return;
	}
	blas_next_sgemm_(transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, len_a, len_b);
}

static bool cblas_gemm(int layout, int transa, int transb, int m, int n, int k, float alpha,
		       const float *a, int lda, const float *b, int ldb, float beta, float *c,
		       int ldc)
{
	bool row = layout == ROW_MAJOR;
	struct blas_call call = {
		.name = "cblas_sgemm", .run = blas_run_gemm,
		.ta = c_trans(row ? transb : transa), .tb = c_trans(row ? transa : transb),
		.m = row ? n : m, .n = row ? m : n, .k = k, .alpha = alpha, .beta = beta,
		.a = row ? b : a, .b = row ? a : b, .c = c,
		.lda = row ? ldb : lda, .ldb = row ? lda : ldb, .ldc = ldc,
	};

	return offload(&call, volume(m, n, k), (row || layout == COL_MAJOR) && gemm_ok(&call));
}

/*
 * After the decision the next BLAS runs with blas_in_next set, because a reference library would come
 * back by the Fortran name. What is too small for a decision would be so again: no need there.
 */
BLAS_API cblas_sgemm_fn cblas_sgemm;
void cblas_sgemm(int layout, int transa, int transb, int m, int n, int k, float alpha,
		 const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc)
{
	if (blas_candidate(volume(m, n, k))) {
		if (cblas_gemm(layout, transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc))
			return;
		blas_in_next = true;
		blas_next_cblas_sgemm(layout, transa, transb, m, n, k, alpha, a, lda, b, ldb, beta,
				      c, ldc);
		blas_in_next = false;
		return;
	}
	blas_next_cblas_sgemm(layout, transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

/* ---- symm --------------------------------------------------------------- */

static double side_volume(bool left, int m, int n)
{
	return volume(m, n, left ? m : n);
}

BLAS_API ssymm_fn ssymm_;
void ssymm_(const char *side, const char *uplo, const int *m, const int *n, const float *alpha,
	    const float *a, const int *lda, const float *b, const int *ldb, const float *beta,
	    float *c, const int *ldc, size_t len_side, size_t len_uplo)
{
	struct blas_call call = {
		.name = "ssymm", .run = blas_run_symm,
		.side = letter(side, "LR"), .uplo = letter(uplo, "LU"), .m = *m, .n = *n,
		.alpha = *alpha, .beta = *beta, .a = a, .b = b, .c = c,
		.lda = *lda, .ldb = *ldb, .ldc = *ldc,
	};
	double work = side_volume(call.side == 'L', *m, *n);

	if (blas_candidate(work) && offload(&call, work, symm_ok(&call)))
		return;
	blas_next_ssymm_(side, uplo, m, n, alpha, a, lda, b, ldb, beta, c, ldc, len_side, len_uplo);
}

BLAS_API cblas_ssymm_fn cblas_ssymm;
void cblas_ssymm(int layout, int side, int uplo, int m, int n, float alpha, const float *a, int lda,
		 const float *b, int ldb, float beta, float *c, int ldc)
{
	bool row = layout == ROW_MAJOR, outer = blas_in_next;
	struct blas_call call = {
		.name = "cblas_ssymm", .run = blas_run_symm,
		.side = c_side(side, row), .uplo = c_uplo(uplo, row),
		.m = row ? n : m, .n = row ? m : n, .alpha = alpha, .beta = beta,
		.a = a, .b = b, .c = c, .lda = lda, .ldb = ldb, .ldc = ldc,
	};
	double work = side_volume(side == LEFT, m, n);

	if (blas_candidate(work) &&
	    offload(&call, work, (row || layout == COL_MAJOR) && symm_ok(&call)))
		return;
	blas_in_next = true;
	blas_next_cblas_ssymm(layout, side, uplo, m, n, alpha, a, lda, b, ldb, beta, c, ldc);
	blas_in_next = outer;
}

/* ---- syrk, syr2k -------------------------------------------------------- */

BLAS_API ssyrk_fn ssyrk_;
void ssyrk_(const char *uplo, const char *trans, const int *n, const int *k, const float *alpha,
	    const float *a, const int *lda, const float *beta, float *c, const int *ldc,
	    size_t len_uplo, size_t len_trans)
{
	struct blas_call call = {
		.name = "ssyrk", .run = blas_run_syrk,
		.uplo = letter(uplo, "LU"), .ta = letter(trans, "NTC"), .n = *n, .k = *k,
		.alpha = *alpha, .beta = *beta, .a = a, .c = c, .lda = *lda, .ldc = *ldc,
	};
	double work = volume(*n, *n, *k) / 2;

	if (blas_candidate(work) && offload(&call, work, syrk_ok(&call)))
		return;
	blas_next_ssyrk_(uplo, trans, n, k, alpha, a, lda, beta, c, ldc, len_uplo, len_trans);
}

static char flipped_trans(int trans, bool row)
{
	char t = c_trans(trans);

	return row && t ? (t == 'N' ? 'T' : 'N') : t;
}

BLAS_API cblas_ssyrk_fn cblas_ssyrk;
void cblas_ssyrk(int layout, int uplo, int trans, int n, int k, float alpha, const float *a, int lda,
		 float beta, float *c, int ldc)
{
	bool row = layout == ROW_MAJOR, outer = blas_in_next;
	struct blas_call call = {
		.name = "cblas_ssyrk", .run = blas_run_syrk,
		.uplo = c_uplo(uplo, row), .ta = flipped_trans(trans, row), .n = n, .k = k,
		.alpha = alpha, .beta = beta, .a = a, .c = c, .lda = lda, .ldc = ldc,
	};
	double work = volume(n, n, k) / 2;

	if (blas_candidate(work) &&
	    offload(&call, work, (row || layout == COL_MAJOR) && syrk_ok(&call)))
		return;
	blas_in_next = true;
	blas_next_cblas_ssyrk(layout, uplo, trans, n, k, alpha, a, lda, beta, c, ldc);
	blas_in_next = outer;
}

BLAS_API ssyr2k_fn ssyr2k_;
void ssyr2k_(const char *uplo, const char *trans, const int *n, const int *k, const float *alpha,
	     const float *a, const int *lda, const float *b, const int *ldb, const float *beta,
	     float *c, const int *ldc, size_t len_uplo, size_t len_trans)
{
	struct blas_call call = {
		.name = "ssyr2k", .run = blas_run_syrk,
		.uplo = letter(uplo, "LU"), .ta = letter(trans, "NTC"), .n = *n, .k = *k,
		.alpha = *alpha, .beta = *beta, .a = a, .b = b, .c = c,
		.lda = *lda, .ldb = *ldb, .ldc = *ldc,
	};
	double work = volume(*n, *n, *k);

	if (blas_candidate(work) && offload(&call, work, b && syrk_ok(&call)))
		return;
	blas_next_ssyr2k_(uplo, trans, n, k, alpha, a, lda, b, ldb, beta, c, ldc, len_uplo, len_trans);
}

BLAS_API cblas_ssyr2k_fn cblas_ssyr2k;
void cblas_ssyr2k(int layout, int uplo, int trans, int n, int k, float alpha, const float *a,
		  int lda, const float *b, int ldb, float beta, float *c, int ldc)
{
	bool row = layout == ROW_MAJOR, outer = blas_in_next;
	struct blas_call call = {
		.name = "cblas_ssyr2k", .run = blas_run_syrk,
		.uplo = c_uplo(uplo, row), .ta = flipped_trans(trans, row), .n = n, .k = k,
		.alpha = alpha, .beta = beta, .a = a, .b = b, .c = c,
		.lda = lda, .ldb = ldb, .ldc = ldc,
	};
	double work = volume(n, n, k);

	if (blas_candidate(work) &&
	    offload(&call, work, b && (row || layout == COL_MAJOR) && syrk_ok(&call)))
		return;
	blas_in_next = true;
	blas_next_cblas_ssyr2k(layout, uplo, trans, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
	blas_in_next = outer;
}

/* ---- trmm, trsm --------------------------------------------------------- */

static bool triangle(const char *name, int (*run)(struct blas_lane *, const struct blas_call *),
		     const char *side, const char *uplo, const char *transa, const char *diag,
		     int m, int n, float alpha, const float *a, int lda, float *b, int ldb)
{
	struct blas_call call = {
		.name = name, .run = run, .side = letter(side, "LR"), .uplo = letter(uplo, "LU"),
		.ta = letter(transa, "NTC"), .diag = letter(diag, "NU"), .m = m, .n = n,
		.alpha = alpha, .a = a, .c = b, .lda = lda, .ldc = ldb,
	};
	double work = side_volume(call.side == 'L', m, n) / 2;

	return blas_candidate(work) && offload(&call, work, triangle_ok(&call));
}

BLAS_API strxm_fn strmm_;
void strmm_(const char *side, const char *uplo, const char *transa, const char *diag, const int *m,
	    const int *n, const float *alpha, const float *a, const int *lda, float *b,
	    const int *ldb, size_t len_s, size_t len_u, size_t len_t, size_t len_d)
{
	if (!triangle("strmm", blas_run_trmm, side, uplo, transa, diag, *m, *n, *alpha, a, *lda, b,
		      *ldb))
		blas_next_strmm_(side, uplo, transa, diag, m, n, alpha, a, lda, b, ldb, len_s,
				 len_u, len_t, len_d);
}

BLAS_API strxm_fn strsm_;
void strsm_(const char *side, const char *uplo, const char *transa, const char *diag, const int *m,
	    const int *n, const float *alpha, const float *a, const int *lda, float *b,
	    const int *ldb, size_t len_s, size_t len_u, size_t len_t, size_t len_d)
{
	if (!triangle("strsm", blas_run_trsm, side, uplo, transa, diag, *m, *n, *alpha, a, *lda, b,
		      *ldb))
		blas_next_strsm_(side, uplo, transa, diag, m, n, alpha, a, lda, b, ldb, len_s,
				 len_u, len_t, len_d);
}

static bool cblas_triangle(const char *name,
			   int (*run)(struct blas_lane *, const struct blas_call *), int layout,
			   int side, int uplo, int transa, int diag, int m, int n, float alpha,
			   const float *a, int lda, float *b, int ldb)
{
	bool row = layout == ROW_MAJOR;
	struct blas_call call = {
		.name = name, .run = run, .side = c_side(side, row), .uplo = c_uplo(uplo, row),
		.ta = c_trans(transa), .diag = c_diag(diag), .m = row ? n : m, .n = row ? m : n,
		.alpha = alpha, .a = a, .c = b, .lda = lda, .ldc = ldb,
	};
	double work = side_volume(side == LEFT, m, n) / 2;

	return blas_candidate(work) &&
	       offload(&call, work, (row || layout == COL_MAJOR) && triangle_ok(&call));
}

BLAS_API cblas_strxm_fn cblas_strmm;
void cblas_strmm(int layout, int side, int uplo, int transa, int diag, int m, int n, float alpha,
		 const float *a, int lda, float *b, int ldb)
{
	bool outer = blas_in_next;

	if (cblas_triangle("cblas_strmm", blas_run_trmm, layout, side, uplo, transa, diag, m, n,
			   alpha, a, lda, b, ldb))
		return;
	blas_in_next = true;
	blas_next_cblas_strmm(layout, side, uplo, transa, diag, m, n, alpha, a, lda, b, ldb);
	blas_in_next = outer;
}

BLAS_API cblas_strxm_fn cblas_strsm;
void cblas_strsm(int layout, int side, int uplo, int transa, int diag, int m, int n, float alpha,
		 const float *a, int lda, float *b, int ldb)
{
	bool outer = blas_in_next;

	if (cblas_triangle("cblas_strsm", blas_run_trsm, layout, side, uplo, transa, diag, m, n,
			   alpha, a, lda, b, ldb))
		return;
	blas_in_next = true;
	blas_next_cblas_strsm(layout, side, uplo, transa, diag, m, n, alpha, a, lda, b, ldb);
	blas_in_next = outer;
}

/* ---- double precision --------------------------------------------------- */

BLAS_API dgemm_fn dgemm_;
void dgemm_(const char *transa, const char *transb, const int *m, const int *n, const int *k,
	    const double *alpha, const double *a, const int *lda, const double *b, const int *ldb,
	    const double *beta, double *c, const int *ldc, size_t len_a, size_t len_b)
{
	unsigned int slices = blas_settings()->slices;

	if (slices && blas_candidate(volume(*m, *n, *k))) {
		char ta = letter(transa, "NTC"), tb = letter(transb, "NTC");
		struct blas_dgemm call = {
			.ta = ta == 'T', .tb = tb == 'T', .m = *m, .n = *n, .k = *k,
			.alpha = *alpha, .beta = *beta, .a = a, .b = b, .c = c,
			.lda = *lda, .ldb = *ldb, .ldc = *ldc,
		};

		if (ta && tb && blas_dgemm_offload(&call, slices))
			return;
	}
	blas_next_dgemm_(transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, len_a, len_b);
}

BLAS_API cblas_dgemm_fn cblas_dgemm;
void cblas_dgemm(int layout, int transa, int transb, int m, int n, int k, double alpha,
		 const double *a, int lda, const double *b, int ldb, double beta, double *c, int ldc)
{
	unsigned int slices = blas_settings()->slices;
	bool outer = blas_in_next, row = layout == ROW_MAJOR;

	if (slices && blas_candidate(volume(m, n, k)) && (row || layout == COL_MAJOR)) {
		char ta = c_trans(row ? transb : transa), tb = c_trans(row ? transa : transb);
		struct blas_dgemm call = {
			.ta = ta == 'T', .tb = tb == 'T', .m = row ? n : m, .n = row ? m : n, .k = k,
			.alpha = alpha, .beta = beta, .a = row ? b : a, .b = row ? a : b, .c = c,
			.lda = row ? ldb : lda, .ldb = row ? lda : ldb, .ldc = ldc,
		};

		if (ta && tb && blas_dgemm_offload(&call, slices))
			return;
	}
	blas_in_next = true;
	blas_next_cblas_dgemm(layout, transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
	blas_in_next = outer;
}

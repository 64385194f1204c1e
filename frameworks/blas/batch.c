// SPDX-License-Identifier: MIT
/*
 * Batches of single-precision products: the entry points that OpenBLAS 0.3.29 and MKL have.
 *
 * Debian 12's libraries do not have them, so what does not go to the card is a loop over the next
 * BLAS's sgemm, which also says what is wrong with arguments. A strided batch is one submission to the
 * card. Of a batch by pointers each item has operands of its own; the products of up to GROUP items
 * are under way together.
 */
#include "blas.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#define GROUP	16

BLAS_API cblas_sgemm_fn cblas_sgemm;
BLAS_API sgemm_fn sgemm_;

/* ---- strided ------------------------------------------------------------ */

struct strided {
	struct blas_call call;
	int64_t a_stride, b_stride, c_stride, count;
};

/*
 * The matrices of a batch as one: columns at a distance of ld, and the next matrix at the stride.
 * Only where that is a whole number of columns it is one matrix; else there is no card for it.
 */
static bool columns(int64_t stride, int64_t ld, int64_t cols, int64_t count, int64_t *total)
{
	if (stride % ld)
		return false;
	*total = stride / ld * (count - 1) + cols;
	return true;
}

static int run_strided(struct blas_lane *lane, const struct strided *s)
{
	const struct blas_call *p = &s->call;
	bool ta = p->ta == 'T', tb = p->tb == 'T';
	struct blas_operand ops[3] = { 0 };
	struct blas_product x = {
		.ta = ta, .tb = tb, .m = p->m, .n = p->n, .k = p->k,
		.alpha = p->alpha, .beta = p->beta, .batch = s->count,
		.a = { .op = &ops[0] }, .b = { .op = &ops[1] }, .c = { .op = &ops[2] },
	};
	unsigned int access = ACCEL_ACCESS_WRITE;
	int64_t a_cols, b_cols, c_cols;
	int ret, error;

	if (!columns(s->a_stride, p->lda, ta ? p->m : p->k, s->count, &a_cols) ||
	    !columns(s->b_stride, p->ldb, tb ? p->k : p->n, s->count, &b_cols) ||
	    !columns(s->c_stride, p->ldc, p->n, s->count, &c_cols))
		return -EINVAL;
	/* What lies between the matrices of C may be another's: it must not be written back. */
	if (c_cols != p->n * s->count)
		return -EINVAL;
	if (p->beta != 0)
		access |= ACCEL_ACCESS_READ;
	ret = blas_operand_get(lane, &ops[0], p->a, ta ? p->k : p->m, a_cols, p->lda, sizeof(float),
			       ACCEL_ACCESS_READ);
	if (!ret)
		ret = blas_operand_get(lane, &ops[1], p->b, tb ? p->n : p->k, b_cols, p->ldb,
				       sizeof(float), ACCEL_ACCESS_READ);
	if (!ret)
		ret = blas_operand_get(lane, &ops[2], p->c, p->m, c_cols, p->ldc, sizeof(float),
				       access);
	if (!ret) {
		x.a_stride = s->a_stride / p->lda * ops[0].ld;
		x.b_stride = s->b_stride / p->ldb * ops[1].ld;
		x.c_stride = s->c_stride / p->ldc * ops[2].ld;
		ret = blas_lane_product(lane, &x);
	}
	/* Whatever has been submitted works in the caller's memory. */
	error = blas_lane_wait(lane);
	ret = ret ? ret : error;
	for (int i = 0; i < 3; i++)
		blas_operand_put(&ops[i], !ret);
	return ret;
}

static bool strided_on_card(const struct strided *s)
{
	const struct blas_costs *c = &blas_costs;
	const struct blas_call *p = &s->call;
	double work = (double)p->m * (double)p->n * (double)p->k * (double)s->count;
	const struct blas_settings *settings = blas_settings();
	struct blas_estimate e;
	struct blas_lane *lane;
	uint64_t start;
	double here, there;
	int ret;

	if (!blas_candidate(work) || !blas_card_wanted(work))
		return false;
	blas_estimate(p, &e);
	here = (double)s->count * (c->cpu_call + e.total * c->cpu_work);
	there = c->card_call + c->card_step + work * c->card_work + (double)s->count * e.operands;
	if (!settings->always && !(settings->min_work > 0) && there >= here)
		return false;
	lane = blas_lane_get();
	if (!lane)
		return false;
	start = blas_now();
	ret = run_strided(lane, s);
	if (!ret)
		blas_log("sgemm_batch_strided %c%c m=%lld n=%lld k=%lld, %lld of them: card: %s, %.3f ms",
			 p->ta, p->tb, (long long)p->m, (long long)p->n, (long long)p->k,
			 (long long)s->count, blas_lane_story(lane),
			 (double)(blas_now() - start) / 1e6);
	if (ret && blas_lane_changed(lane) && p->beta != 0) {
		blas_complain("sgemm_batch_strided: the card failed when it had begun to change the result, which was an operand too: %s",
			      accel_error_detail());
		abort();
	}
	blas_lane_put(lane, ret && ret != -EINVAL);
	return !ret;
}

static bool positive(int64_t ld, int64_t rows)
{
	return ld >= rows && ld > 0;
}

/* Everything about a batch that the next BLAS would complain about for a single product. */
static bool legal(const struct blas_call *p)
{
	return p->ta && p->tb && p->m > 0 && p->n > 0 && p->k > 0 && p->alpha != 0 &&
	       positive(p->lda, p->ta == 'T' ? p->k : p->m) &&
	       positive(p->ldb, p->tb == 'T' ? p->n : p->k) && positive(p->ldc, p->m);
}

static char c_letter(int trans)
{
	return trans == NO_TRANS ? 'N' : trans == TRANS || trans == CONJ_TRANS ? 'T' : 0;
}

static char f_letter(const char *trans)
{
	char c = (char)toupper((unsigned char)*trans);

	return c == 'C' ? 'T' : c == 'N' || c == 'T' ? c : 0;
}

typedef void cblas_strided_fn(int, int, int, int, int, int, float, const float *, int, int,
			      const float *, int, int, float, float *, int, int, int);

BLAS_API cblas_strided_fn cblas_sgemm_batch_strided;
void cblas_sgemm_batch_strided(int layout, int transa, int transb, int m, int n, int k, float alpha,
			       const float *a, int lda, int stridea, const float *b, int ldb,
			       int strideb, float beta, float *c, int ldc, int stridec, int batch_size)
{
	bool row = layout == ROW_MAJOR;
	struct strided s = {
		.call = {
			.run = blas_run_gemm,
			.ta = c_letter(row ? transb : transa), .tb = c_letter(row ? transa : transb),
			.m = row ? n : m, .n = row ? m : n, .k = k, .alpha = alpha, .beta = beta,
			.a = row ? b : a, .b = row ? a : b, .c = c,
			.lda = row ? ldb : lda, .ldb = row ? lda : ldb, .ldc = ldc,
		},
		.a_stride = row ? strideb : stridea, .b_stride = row ? stridea : strideb,
		.c_stride = stridec, .count = batch_size,
	};

	if (batch_size > 1 && (row || layout == COL_MAJOR) && legal(&s.call) && stridea >= 0 &&
	    strideb >= 0 && stridec > 0 && strided_on_card(&s))
		return;
	for (int i = 0; i < batch_size; i++)
		cblas_sgemm(layout, transa, transb, m, n, k, alpha, a + (ptrdiff_t)i * stridea, lda,
			    b + (ptrdiff_t)i * strideb, ldb, beta, c + (ptrdiff_t)i * stridec, ldc);
}

typedef void strided_fn(const char *, const char *, const int *, const int *, const int *,
			const float *, const float *, const int *, const int *, const float *,
			const int *, const int *, const float *, float *, const int *, const int *,
			const int *);

BLAS_API strided_fn sgemm_batch_strided_;
void sgemm_batch_strided_(const char *transa, const char *transb, const int *m, const int *n,
			  const int *k, const float *alpha, const float *a, const int *lda,
			  const int *stridea, const float *b, const int *ldb, const int *strideb,
			  const float *beta, float *c, const int *ldc, const int *stridec,
			  const int *batch_size)
{
	struct strided s = {
		.call = {
			.run = blas_run_gemm, .ta = f_letter(transa), .tb = f_letter(transb),
			.m = *m, .n = *n, .k = *k, .alpha = *alpha, .beta = *beta,
			.a = a, .b = b, .c = c, .lda = *lda, .ldb = *ldb, .ldc = *ldc,
		},
		.a_stride = *stridea, .b_stride = *strideb, .c_stride = *stridec,
		.count = *batch_size,
	};

	if (*batch_size > 1 && legal(&s.call) && *stridea >= 0 && *strideb >= 0 && *stridec > 0 &&
	    strided_on_card(&s))
		return;
	for (int i = 0; i < *batch_size; i++)
		sgemm_(transa, transb, m, n, k, alpha, a + (ptrdiff_t)i * *stridea, lda,
		       b + (ptrdiff_t)i * *strideb, ldb, beta, c + (ptrdiff_t)i * *stridec, ldc, 1, 1);
}

/* ---- by pointers -------------------------------------------------------- */

/* Up to GROUP products of one shape, whose operands are @a, @b and @c. */
static int run_group(struct blas_lane *lane, const struct blas_call *p, const float *const *a,
		     const float *const *b, float *const *c, int count)
{
	bool ta = p->ta == 'T', tb = p->tb == 'T';
	unsigned int access = ACCEL_ACCESS_WRITE | (p->beta != 0 ? ACCEL_ACCESS_READ : 0);
	struct blas_operand ops[3 * GROUP] = { 0 };
	int ret = 0, error;

	for (int i = 0; i < count && !ret; i++) {
		struct blas_operand *op = &ops[3 * i];
		struct blas_product x = {
			.ta = ta, .tb = tb, .m = p->m, .n = p->n, .k = p->k,
			.alpha = p->alpha, .beta = p->beta,
			.a = { .op = op }, .b = { .op = op + 1 }, .c = { .op = op + 2 },
		};

		ret = blas_operand_get(lane, op, a[i], ta ? p->k : p->m, ta ? p->m : p->k, p->lda,
				       sizeof(float), ACCEL_ACCESS_READ);
		if (!ret)
			ret = blas_operand_get(lane, op + 1, b[i], tb ? p->n : p->k,
					       tb ? p->k : p->n, p->ldb, sizeof(float),
					       ACCEL_ACCESS_READ);
		if (!ret)
			ret = blas_operand_get(lane, op + 2, c[i], p->m, p->n, p->ldc,
					       sizeof(float), access);
		if (!ret)
			ret = blas_lane_product(lane, &x);
	}
	error = blas_lane_wait(lane);
	ret = ret ? ret : error;
	for (int i = 0; i < 3 * count; i++)
		blas_operand_put(&ops[i], !ret);
	return ret;
}

/* How many of @count products of one shape the card has done; the rest is the CPU's. */
static int group_on_card(const struct blas_call *p, const float *const *a, const float *const *b,
			 float *const *c, int count)
{
	const struct blas_settings *settings = blas_settings();
	const struct blas_costs *cost = &blas_costs;
	double work = (double)p->m * (double)p->n * (double)p->k * count, here, there;
	struct blas_estimate e;
	struct blas_lane *lane;
	int done = 0, ret = 0;

	if (!legal(p) || !blas_candidate(work) || !blas_card_wanted(work))
		return 0;
	blas_estimate(p, &e);
	here = count * (cost->cpu_call + e.total * cost->cpu_work);
	there = (1 + count / GROUP) * cost->card_call +
		count * (cost->card_step + e.total * cost->card_work + e.operands);
	if (!settings->always && !(settings->min_work > 0) && there >= here)
		return 0;
	lane = blas_lane_get();
	if (!lane)
		return 0;
	while (done < count && !ret) {
		int some = count - done < GROUP ? count - done : GROUP;

		ret = run_group(lane, p, a + done, b + done, c + done, some);
		if (!ret)
			done += some;
	}
	blas_log("sgemm_batch %c%c m=%lld n=%lld k=%lld, %d of them, %d on the card: %s", p->ta,
		 p->tb, (long long)p->m, (long long)p->n, (long long)p->k, count, done,
		 blas_lane_story(lane));
	if (ret && blas_lane_changed(lane) && p->beta != 0) {
		blas_complain("sgemm_batch: the card failed when it had begun to change the result, which was an operand too: %s",
			      accel_error_detail());
		abort();
	}
	blas_lane_put(lane, ret && ret != -EINVAL);
	return done;
}

typedef void cblas_batch_fn(int, const int *, const int *, const int *, const int *, const int *,
			    const float *, const float **, const int *, const float **, const int *,
			    const float *, float **, const int *, int, const int *);

BLAS_API cblas_batch_fn cblas_sgemm_batch;
void cblas_sgemm_batch(int layout, const int *transa, const int *transb, const int *m, const int *n,
		       const int *k, const float *alpha, const float **a, const int *lda,
		       const float **b, const int *ldb, const float *beta, float **c,
		       const int *ldc, int group_count, const int *group_size)
{
	bool row = layout == ROW_MAJOR;

	for (int g = 0; g < group_count; g++) {
		struct blas_call call = {
			.run = blas_run_gemm,
			.ta = c_letter(row ? transb[g] : transa[g]),
			.tb = c_letter(row ? transa[g] : transb[g]),
			.m = row ? n[g] : m[g], .n = row ? m[g] : n[g], .k = k[g],
			.alpha = alpha[g], .beta = beta[g],
			.lda = row ? ldb[g] : lda[g], .ldb = row ? lda[g] : ldb[g], .ldc = ldc[g],
		};
		int done = 0;

		if (group_size[g] > 1 && (row || layout == COL_MAJOR))
			done = group_on_card(&call, row ? b : a, row ? a : b, c, group_size[g]);
		for (int i = done; i < group_size[g]; i++)
			cblas_sgemm(layout, transa[g], transb[g], m[g], n[g], k[g], alpha[g], a[i],
				    lda[g], b[i], ldb[g], beta[g], c[i], ldc[g]);
		a += group_size[g];
		b += group_size[g];
		c += group_size[g];
	}
}

typedef void batch_fn(const char *, const char *, const int *, const int *, const int *,
		      const float *, const float **, const int *, const float **, const int *,
		      const float *, float **, const int *, const int *, const int *);

BLAS_API batch_fn sgemm_batch_;
void sgemm_batch_(const char *transa, const char *transb, const int *m, const int *n, const int *k,
		  const float *alpha, const float **a, const int *lda, const float **b,
		  const int *ldb, const float *beta, float **c, const int *ldc,
		  const int *group_count, const int *group_size)
{
	for (int g = 0; g < *group_count; g++) {
		struct blas_call call = {
			.run = blas_run_gemm, .ta = f_letter(&transa[g]), .tb = f_letter(&transb[g]),
			.m = m[g], .n = n[g], .k = k[g], .alpha = alpha[g], .beta = beta[g],
			.lda = lda[g], .ldb = ldb[g], .ldc = ldc[g],
		};
		int done = 0;

		if (group_size[g] > 1)
			done = group_on_card(&call, a, b, c, group_size[g]);
		for (int i = done; i < group_size[g]; i++)
			sgemm_(&transa[g], &transb[g], &m[g], &n[g], &k[g], &alpha[g], a[i], &lda[g],
			       b[i], &ldb[g], &beta[g], c[i], &ldc[g], 1, 1);
		a += group_size[g];
		b += group_size[g];
		c += group_size[g];
	}
}

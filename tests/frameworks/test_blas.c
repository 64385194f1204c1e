// SPDX-License-Identifier: MIT
/*
 * libblas.so.3 of ours against the definitions, computed here in double precision.
 *
 * The same program runs on the host above the tests' own kernel (BLAS_TEST_FAKE, which can fail on
 * request), on the host on libaccel's model of the card, and in the VM. The environment
 * says what the library shall do, so each configuration is a run of its own: blas.sh and
 * meson.build have them. With BLAS_TEST_CARD=1 every product must have gone to the card, which the library's
 * log tells.
 */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#ifdef BLAS_TEST_FAKE
#include <drm/onpu_accel.h>

#include "../userspace/fake_kernel.h"
#endif

#define FLOAT_EPS	0x1p-23
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

void sgemm_(const char *ta, const char *tb, const int *m, const int *n, const int *k,
	    const float *alpha, const float *a, const int *lda, const float *b, const int *ldb,
	    const float *beta, float *c, const int *ldc);
void dgemm_(const char *ta, const char *tb, const int *m, const int *n, const int *k,
	    const double *alpha, const double *a, const int *lda, const double *b, const int *ldb,
	    const double *beta, double *c, const int *ldc);
void ssymm_(const char *side, const char *uplo, const int *m, const int *n, const float *alpha,
	    const float *a, const int *lda, const float *b, const int *ldb, const float *beta,
	    float *c, const int *ldc);
void ssyrk_(const char *uplo, const char *trans, const int *n, const int *k, const float *alpha,
	    const float *a, const int *lda, const float *beta, float *c, const int *ldc);
void ssyr2k_(const char *uplo, const char *trans, const int *n, const int *k, const float *alpha,
	     const float *a, const int *lda, const float *b, const int *ldb, const float *beta,
	     float *c, const int *ldc);
void strmm_(const char *side, const char *uplo, const char *ta, const char *diag, const int *m,
	    const int *n, const float *alpha, const float *a, const int *lda, float *b,
	    const int *ldb);
void strsm_(const char *side, const char *uplo, const char *ta, const char *diag, const int *m,
	    const int *n, const float *alpha, const float *a, const int *lda, float *b,
	    const int *ldb);
void cblas_sgemm(int layout, int ta, int tb, int m, int n, int k, float alpha, const float *a,
		 int lda, const float *b, int ldb, float beta, float *c, int ldc);
void cblas_dgemm(int layout, int ta, int tb, int m, int n, int k, double alpha, const double *a,
		 int lda, const double *b, int ldb, double beta, double *c, int ldc);
void cblas_ssymm(int layout, int side, int uplo, int m, int n, float alpha, const float *a, int lda,
		 const float *b, int ldb, float beta, float *c, int ldc);
void cblas_ssyrk(int layout, int uplo, int trans, int n, int k, float alpha, const float *a, int lda,
		 float beta, float *c, int ldc);
void cblas_ssyr2k(int layout, int uplo, int trans, int n, int k, float alpha, const float *a,
		  int lda, const float *b, int ldb, float beta, float *c, int ldc);
void cblas_strmm(int layout, int side, int uplo, int ta, int diag, int m, int n, float alpha,
		 const float *a, int lda, float *b, int ldb);
void cblas_strsm(int layout, int side, int uplo, int ta, int diag, int m, int n, float alpha,
		 const float *a, int lda, float *b, int ldb);
void cblas_sgemm_batch_strided(int layout, int ta, int tb, int m, int n, int k, float alpha,
			       const float *a, int lda, int stridea, const float *b, int ldb,
			       int strideb, float beta, float *c, int ldc, int stridec, int count);
void sgemm_batch_strided_(const char *ta, const char *tb, const int *m, const int *n, const int *k,
			  const float *alpha, const float *a, const int *lda, const int *stridea,
			  const float *b, const int *ldb, const int *strideb, const float *beta,
			  float *c, const int *ldc, const int *stridec, const int *count);
void cblas_sgemm_batch(int layout, const int *ta, const int *tb, const int *m, const int *n,
		       const int *k, const float *alpha, const float **a, const int *lda,
		       const float **b, const int *ldb, const float *beta, float **c, const int *ldc,
		       int group_count, const int *group_size);
void sgemm_batch_(const char *ta, const char *tb, const int *m, const int *n, const int *k,
		  const float *alpha, const float **a, const int *lda, const float **b,
		  const int *ldb, const float *beta, float **c, const int *ldc,
		  const int *group_count, const int *group_size);

enum { ROW = 101, COL = 102, N = 111, T = 112, UP = 121, LO = 122, NON = 131, ONE = 132,
       LEFT = 141, RIGHT = 142 };

static const int layouts[] = { 0 /* Fortran */, COL, ROW };
static const float alphas[] = { 1, -0.5f };
static const float betas[] = { 0, 1, 0.75f };

/* ---- where calls went ---------------------------------------------------- */

/* Lines of the library's log that say "card:". */
static unsigned int on_card(void)
{
	const char *path = getenv("ACCEL_BLAS_LOG");
	FILE *file = path ? fopen(path, "r") : NULL;
	unsigned int count = 0;
	char line[1024];

	while (file && fgets(line, sizeof(line), file))
		count += strstr(line, ": card: ") != NULL;
	if (file)
		fclose(file);
	return count;
}

static bool must_be_card(void)
{
	return getenv("BLAS_TEST_CARD") != NULL;
}

/* ---- matrices ------------------------------------------------------------ */

static uint32_t seed = 1;

static double number(void)
{
	seed = seed * 1664525u + 1013904223u;
	return (double)(int32_t)seed / 0x1p31;
}

/* A matrix in the caller's layout, with @pad elements beside each row or column. */
struct matrix {
	int layout, rows, cols, ld;
	size_t size;
	float *data, *before;
};

#define CANARY	77.0f

static size_t place(const struct matrix *x, int row, int col)
{
	return x->layout == ROW ? (size_t)row * (size_t)x->ld + (size_t)col :
				  (size_t)col * (size_t)x->ld + (size_t)row;
}

static float get(const struct matrix *x, int row, int col)
{
	return x->before[place(x, row, col)];
}

static struct matrix make(int layout, int rows, int cols, int pad)
{
	struct matrix x = { .layout = layout, .rows = rows, .cols = cols };
	int lines = layout == ROW ? rows : cols;

	x.ld = (layout == ROW ? cols : rows) + pad;
	x.size = (size_t)x.ld * (size_t)lines;
	x.data = malloc(x.size * sizeof(float));
	x.before = malloc(x.size * sizeof(float));
	assert_non_null(x.data);
	assert_non_null(x.before);
	for (size_t i = 0; i < x.size; i++)
		x.data[i] = CANARY;
	for (int i = 0; i < rows; i++)
		for (int j = 0; j < cols; j++)
			x.data[place(&x, i, j)] = (float)number();
	memcpy(x.before, x.data, x.size * sizeof(float));
	return x;
}

/* What the call must not read, or changes nothing by what it is. */
static void spoil(struct matrix *x, float value)
{
	for (int i = 0; i < x->rows; i++)
		for (int j = 0; j < x->cols; j++)
			x->data[place(x, i, j)] = value;
	memcpy(x->before, x->data, x->size * sizeof(float));
}

static void drop(struct matrix *x)
{
	free(x->data);
	free(x->before);
}

static bool same_bits(float a, float b)
{
	return !memcmp(&a, &b, sizeof(a));
}

/* ---- definitions --------------------------------------------------------- */

/* An operand as the definition sees it: element (i, j), and which elements there are. */
struct view {
	const struct matrix *x;
	bool trans;
	int uplo;		/* 0: all, else one triangle is stored */
	bool symmetric;		/* and the other one is the same; else it is zero */
	bool unit;
};

static double element(const struct view *v, int i, int j)
{
	int row = v->trans ? j : i, col = v->trans ? i : j;
	bool stored = !v->uplo || row == col || (v->uplo == LO) == (row > col);

	if (v->unit && row == col)
		return 1;
	if (!stored)
		return v->symmetric ? get(v->x, col, row) : 0;
	return get(v->x, row, col);
}

/* The sum and the sum of absolute values of (i, j) of A B. */
static double sum(const struct view *a, const struct view *b, int i, int j, int k, double *size)
{
	double s = 0;

	for (int l = 0; l < k; l++) {
		double p = element(a, i, l) * element(b, l, j);

		s += p;
		*size += fabs(p);
	}
	return s;
}

static void near(double result, double wanted, double size, int k, const char *what, int i, int j)
{
	double bound = (k + 8) * FLOAT_EPS * (size + fabs(wanted)) + 1e-30;

	if (!(fabs(result - wanted) <= bound))
		fail_msg("%s: element %d, %d is %.9g, not %.9g (within %.3g)", what, i, j, result,
			 wanted, bound);
}

/* C is alpha A B + beta C where @uplo says (0: everywhere), and untouched elsewhere. */
static void check(const struct matrix *c, struct view a, struct view b, struct view a2,
		  struct view b2, int k, double alpha, double beta, int uplo, const char *what)
{
	for (int i = 0; i < c->rows; i++)
		for (int j = 0; j < c->cols; j++) {
			float result = c->data[place(c, i, j)];
			double size = 0, wanted;

			if (uplo && i != j && (uplo == LO) != (i > j)) {
				assert_true(same_bits(result, get(c, i, j)));
				continue;
			}
			wanted = sum(&a, &b, i, j, k, &size);
			if (a2.x)
				wanted += sum(&a2, &b2, i, j, k, &size);
			wanted *= alpha;
			if (beta != 0)
				wanted += beta * get(c, i, j);
			near(result, wanted, size, k, what, i, j);
		}
	for (int line = 0; line < (c->layout == ROW ? c->rows : c->cols); line++)
		for (int i = c->layout == ROW ? c->cols : c->rows; i < c->ld; i++)
			assert_true(c->data[(size_t)line * (size_t)c->ld + (size_t)i] == CANARY);
}

static const struct view none;

static const char *flag(int value)
{
	switch (value) {
	case T: return "T";
	case N: case NON: return "N";
	case UP: case ONE: return "U";
	case LO: case LEFT: return "L";
	default: return "R";
	}
}

/* ---- gemm ---------------------------------------------------------------- */

static void gemm_once(int layout, int ta, int tb, int m, int n, int k, float alpha, float beta,
		      int pad)
{
	struct matrix a = make(layout, ta == T ? k : m, ta == T ? m : k, pad);
	struct matrix b = make(layout, tb == T ? n : k, tb == T ? k : n, pad * 2);
	struct matrix c = make(layout, m, n, pad * 3);
	unsigned int before = on_card();

	if (beta == 0)
		spoil(&c, NAN);
	if (layout)
		cblas_sgemm(layout, ta, tb, m, n, k, alpha, a.data, a.ld, b.data, b.ld, beta,
			    c.data, c.ld);
	else
		sgemm_(flag(ta), flag(tb), &m, &n, &k, &alpha, a.data, &a.ld, b.data, &b.ld, &beta,
		       c.data, &c.ld);
	check(&c, (struct view){ .x = &a, .trans = ta == T }, (struct view){ .x = &b, .trans = tb == T },
	      none, none, k, alpha, beta, 0, "gemm");
	if (must_be_card())
		assert_int_equal(on_card(), before + 1);
	drop(&a);
	drop(&b);
	drop(&c);
}

static void gemm(void **state)
{
	static const int shapes[][3] = {
		{ 1, 1, 1 }, { 3, 5, 7 }, { 17, 1, 9 }, { 1, 20, 33 }, { 33, 17, 65 }, { 70, 130, 20 },
	};

	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(shapes); s++)
		for (int i = 0; i < 3 * 4 * 2 * 3; i++)
			gemm_once(layouts[i % 3], i / 3 % 2 ? T : N, i / 6 % 2 ? T : N, shapes[s][0],
				  shapes[s][1], shapes[s][2], alphas[i / 12 % 2], betas[i / 24],
				  (int)s % 2 * 3);
}

/* ---- level 3 ------------------------------------------------------------- */

static void symm_once(int layout, int side, int uplo, int m, int n, float alpha, float beta)
{
	int order = side == LEFT ? m : n;
	struct matrix a = make(layout, order, order, 1), b = make(layout, m, n, 0);
	struct matrix c = make(layout, m, n, 2);
	struct view s = { .x = &a, .uplo = uplo, .symmetric = true }, v = { .x = &b };

	if (beta == 0)
		spoil(&c, NAN);
	for (int i = 0; i < order; i++)		/* the other triangle must not be read */
		for (int j = 0; j < order; j++)
			if (i != j && (uplo == LO) != (i > j))
				a.data[place(&a, i, j)] = NAN;
	if (layout)
		cblas_ssymm(layout, side, uplo, m, n, alpha, a.data, a.ld, b.data, b.ld, beta, c.data,
			    c.ld);
	else
		ssymm_(flag(side), flag(uplo), &m, &n, &alpha, a.data, &a.ld, b.data, &b.ld, &beta,
		       c.data, &c.ld);
	check(&c, side == LEFT ? s : v, side == LEFT ? v : s, none, none, order, alpha, beta, 0, "symm");
	drop(&a);
	drop(&b);
	drop(&c);
}

static void symm(void **state)
{
	(void)state;
	for (int i = 0; i < 3 * 2 * 2 * 3; i++) {
		int layout = layouts[i % 3], side = i / 3 % 2 ? LEFT : RIGHT, uplo = i / 6 % 2 ? UP : LO;

		symm_once(layout, side, uplo, 5, 9, alphas[i % 2], betas[i / 12]);
		symm_once(layout, side, uplo, side == LEFT ? 300 : 6, side == LEFT ? 6 : 300,
			  alphas[i % 2], betas[i / 12]);
	}
}

static void syrk_once(int layout, int uplo, int trans, int n, int k, float alpha, float beta, bool two)
{
	struct matrix a = make(layout, trans == T ? k : n, trans == T ? n : k, 1);
	struct matrix b = make(layout, trans == T ? k : n, trans == T ? n : k, 0);
	struct matrix c = make(layout, n, n, 2);
	struct view va = { .x = &a, .trans = trans == T }, vb = { .x = two ? &b : &a, .trans = va.trans };
	struct view va_t = va, vb_t = vb;

	va_t.trans = !va.trans;
	vb_t.trans = !vb.trans;
	if (beta == 0)
		spoil(&c, NAN);
	if (two && layout)
		cblas_ssyr2k(layout, uplo, trans, n, k, alpha, a.data, a.ld, b.data, b.ld, beta,
			     c.data, c.ld);
	else if (two)
		ssyr2k_(flag(uplo), flag(trans), &n, &k, &alpha, a.data, &a.ld, b.data, &b.ld, &beta,
			c.data, &c.ld);
	else if (layout)
		cblas_ssyrk(layout, uplo, trans, n, k, alpha, a.data, a.ld, beta, c.data, c.ld);
	else
		ssyrk_(flag(uplo), flag(trans), &n, &k, &alpha, a.data, &a.ld, &beta, c.data, &c.ld);
	check(&c, va, vb_t, two ? vb : none, va_t, k, alpha, beta, uplo, two ? "syr2k" : "syrk");
	drop(&a);
	drop(&b);
	drop(&c);
}

static void syrk(void **state)
{
	(void)state;
	for (int i = 0; i < 3 * 2 * 2 * 3 * 2; i++) {
		int layout = layouts[i % 3], uplo = i / 3 % 2 ? UP : LO, trans = i / 6 % 2 ? T : N;

		syrk_once(layout, uplo, trans, 7, 5, alphas[i % 2], betas[i / 12 % 3], i / 36);
		syrk_once(layout, uplo, trans, 300, 4, alphas[i % 2], betas[i / 12 % 3], i / 36);
	}
}

/* A well-conditioned triangle: solutions stay as large as what they are solutions of. */
static void tame(struct matrix *a)
{
	for (int i = 0; i < a->rows; i++)
		for (int j = 0; j < a->cols; j++)
			a->data[place(a, i, j)] *= i == j ? 1 : 1.0f / (float)a->rows;
	for (int i = 0; i < a->rows; i++)
		a->data[place(a, i, i)] += a->data[place(a, i, i)] < 0 ? -1 : 1;
	memcpy(a->before, a->data, a->size * sizeof(float));
}

static void triangle_once(int layout, int side, int uplo, int ta, int diag, int m, int n,
			  float alpha, bool solve)
{
	int order = side == LEFT ? m : n;
	struct matrix a = make(layout, order, order, 1), b = make(layout, m, n, 2), x;
	struct view t = { .x = &a, .trans = ta == T, .uplo = uplo, .unit = diag == ONE };
	struct view v = { .x = &b };

	tame(&a);
	for (int i = 0; i < order; i++)
		for (int j = 0; j < order; j++)
			if ((i != j && (uplo == LO) != (i > j)) || (i == j && diag == ONE))
				a.data[place(&a, i, j)] = NAN;
	if (layout)
		(solve ? cblas_strsm : cblas_strmm)(layout, side, uplo, ta, diag, m, n, alpha, a.data,
						    a.ld, b.data, b.ld);
	else
		(solve ? strsm_ : strmm_)(flag(side), flag(uplo), flag(ta), flag(diag), &m, &n, &alpha,
					  a.data, &a.ld, b.data, &b.ld);
	if (!solve) {
		check(&b, side == LEFT ? t : v, side == LEFT ? v : t, none, none, order, alpha, 0, 0,
		      "trmm");
	} else {
		/* The solution, multiplied, is what was given. */
		x = make(layout, m, n, 2);
		memcpy(x.before, b.data, b.size * sizeof(float));
		for (size_t i = 0; i < b.size; i++)
			b.data[i] = b.before[i] == CANARY ? CANARY : alpha * b.before[i];
		v.x = &x;
		check(&b, side == LEFT ? t : v, side == LEFT ? v : t, none, none, order, 1, 0, 0, "trsm");
		drop(&x);
	}
	drop(&a);
	drop(&b);
}

static void triangles(bool solve)
{
	for (int i = 0; i < 3 * 2 * 2 * 2 * 2; i++) {
		int layout = layouts[i % 3], side = i / 3 % 2 ? LEFT : RIGHT, uplo = i / 6 % 2 ? UP : LO;
		int ta = i / 12 % 2 ? T : N, diag = i / 24 ? ONE : NON;

		triangle_once(layout, side, uplo, ta, diag, 5, 7, alphas[i % 2], solve);
		triangle_once(layout, side, uplo, ta, diag, side == LEFT ? 200 : 4,
			      side == LEFT ? 4 : 200, alphas[i % 2], solve);
	}
}

static void trmm(void **state)
{
	(void)state;
	triangles(false);
}

static void trsm(void **state)
{
	(void)state;
	triangles(true);
}

/* ---- special cases ------------------------------------------------------- */

static void special_values(void **state)
{
	float a[4] = { 1, 2, 3, 4 }, b[4] = { 1, 0, 0, 1 }, c[4] = { NAN, NAN, NAN, NAN };
	float one = 1, zero = 0, two = 2;
	int n = 2, none_at_all = 0, ld = 2;

	(void)state;
	/* beta 0: C is not read; alpha 0: A and B are not. */
	sgemm_("N", "N", &n, &n, &n, &one, a, &ld, b, &ld, &zero, c, &ld);
	for (int i = 0; i < 4; i++)
		assert_true(c[i] == a[i]);
	b[0] = NAN;
	sgemm_("N", "N", &n, &n, &n, &zero, a, &ld, b, &ld, &two, c, &ld);
	for (int i = 0; i < 4; i++)
		assert_true(c[i] == 2 * a[i]);
	sgemm_("N", "N", &n, &n, &none_at_all, &one, a, &ld, b, &ld, &two, c, &ld);
	for (int i = 0; i < 4; i++)
		assert_true(c[i] == 4 * a[i]);
	sgemm_("N", "N", &none_at_all, &n, &n, &one, a, &ld, b, &ld, &zero, c, &ld);
	for (int i = 0; i < 4; i++)
		assert_true(c[i] == 4 * a[i]);
	/* NaN and infinity go where they must, also times zero. */
	sgemm_("N", "N", &n, &n, &n, &one, a, &ld, b, &ld, &zero, c, &ld);
	assert_true(isnan(c[0]) && isnan(c[1]) && c[2] == a[2] && c[3] == a[3]);
	b[0] = INFINITY;
	a[0] = 0;
	sgemm_("N", "N", &n, &n, &n, &one, a, &ld, b, &ld, &zero, c, &ld);
	assert_true(isnan(c[0]) && isinf(c[1]));
}

static int xerbla_info;
static char xerbla_name[16];

/* The program's own: what complains must find it. */
void xerbla_(const char *name, const int *info, size_t length);
void xerbla_(const char *name, const int *info, size_t length)
{
	xerbla_info = *info;
	snprintf(xerbla_name, sizeof(xerbla_name), "%.*s", length < 6 ? (int)length : 6, name);
}

static void errors(void **state)
{
	float x[64] = { 0 }, one = 1;
	int n = 8, bad = 7, minus = -1;

	(void)state;
	sgemm_("X", "N", &n, &n, &n, &one, x, &n, x, &n, &one, x, &n);
	assert_int_equal(xerbla_info, 1);
	assert_int_equal(strncmp(xerbla_name, "SGEMM", 5), 0);
	sgemm_("N", "N", &n, &minus, &n, &one, x, &n, x, &n, &one, x, &n);
	assert_int_equal(xerbla_info, 4);
	sgemm_("N", "N", &n, &n, &n, &one, x, &n, x, &n, &one, x, &bad);
	assert_int_equal(xerbla_info, 13);
	ssymm_("L", "U", &n, &n, &one, x, &bad, x, &n, &one, x, &n);
	assert_int_equal(xerbla_info, 7);
	ssyrk_("U", "N", &n, &n, &one, x, &bad, &one, x, &n);
	assert_int_equal(xerbla_info, 7);
	ssyr2k_("U", "N", &n, &n, &one, x, &n, x, &bad, &one, x, &n);
	assert_int_equal(xerbla_info, 9);
	strmm_("L", "U", "N", "X", &n, &n, &one, x, &n, x, &n);
	assert_int_equal(xerbla_info, 4);
	strsm_("R", "U", "N", "N", &n, &n, &one, x, &bad, x, &n);
	assert_int_equal(xerbla_info, 9);
	for (int i = 0; i < 64; i++)
		assert_true(x[i] == 0);
}

/* ---- batches ------------------------------------------------------------- */

#define ITEMS	19

static void batch_once(int layout, int ta, int tb, int m, int n, int k, float beta)
{
	size_t a_size = (size_t)(m * k), b_size = (size_t)(k * n), c_size = (size_t)(m * n);
	float *data = malloc(ITEMS * (a_size + b_size + 3 * c_size) * sizeof(float));
	float *a = data, *b = a + ITEMS * a_size, *c = b + ITEMS * b_size;
	float *wanted = c + ITEMS * c_size, *start = wanted + ITEMS * c_size, alpha = 0.5f;
	const float *as[ITEMS], *bs[ITEMS];
	float *cs[ITEMS];
	bool row = layout == ROW;
	int lda = (ta == T) == row ? m : k, ldb = (tb == T) == row ? k : n, ldc = row ? n : m;
	int sa = (int)a_size, sb = (int)b_size, sc = (int)c_size, items = ITEMS, one = 1;

	assert_non_null(data);
	for (size_t i = 0; i < ITEMS * (a_size + b_size + 3 * c_size); i++)
		data[i] = (float)number();
	memcpy(wanted, start, ITEMS * c_size * sizeof(float));
	for (int i = 0; i < ITEMS; i++) {
		as[i] = a + (size_t)i * a_size;
		bs[i] = b + (size_t)i * b_size;
		cs[i] = c + (size_t)i * c_size;
		cblas_sgemm(layout ? layout : COL, ta, tb, m, n, k, alpha, as[i], lda, bs[i], ldb,
			    beta, wanted + (size_t)i * c_size, ldc);
	}
	for (int way = 0; way < 2; way++) {
		memcpy(c, start, ITEMS * c_size * sizeof(float));
		if (layout && way)
			cblas_sgemm_batch(layout, &ta, &tb, &m, &n, &k, &alpha, as, &lda, bs, &ldb,
					  &beta, cs, &ldc, 1, &items);
		else if (layout)
			cblas_sgemm_batch_strided(layout, ta, tb, m, n, k, alpha, a, lda, sa, b, ldb,
						  sb, beta, c, ldc, sc, items);
		else if (way)
			sgemm_batch_(flag(ta), flag(tb), &m, &n, &k, &alpha, as, &lda, bs, &ldb,
				     &beta, cs, &ldc, &one, &items);
		else
			sgemm_batch_strided_(flag(ta), flag(tb), &m, &n, &k, &alpha, a, &lda, &sa, b,
					     &ldb, &sb, &beta, c, &ldc, &sc, &items);
		for (size_t i = 0; i < ITEMS * c_size; i++)
			if (fabsf(c[i] - wanted[i]) > 64 * (float)(k * FLOAT_EPS))
				fail_msg("batch: element %zu is %g, not %g", i, (double)c[i],
					 (double)wanted[i]);
	}
	free(data);
}

static void batches(void **state)
{
	(void)state;
	for (int i = 0; i < 3 * 4 * 2; i++)
		batch_once(layouts[i % 3], i / 3 % 2 ? T : N, i / 6 % 2 ? T : N, 12, 5, 8,
			   i / 12 ? 0.5f : 0);
}

/* ---- threads and processes ------------------------------------------------ */

static void *thread(void *arg)
{
	int n = 20 + (int)(intptr_t)arg;
	float *data = malloc((size_t)(3 * n * n) * sizeof(float)), one = 1, zero = 0;
	float *a = data, *b = a + n * n, *c = b + n * n;
	intptr_t bad = 0;

	for (int i = 0; i < n * n; i++) {
		a[i] = (float)(i % 7);
		b[i] = i % (n + 1) ? 0 : 2;
	}
	for (int round = 0; round < 20; round++) {
		memset(c, 0xff, (size_t)(n * n) * sizeof(float));
		sgemm_("N", "N", &n, &n, &n, &one, a, &n, b, &n, &zero, c, &n);
		for (int i = 0; i < n * n; i++)
			bad += c[i] != 2 * a[i];
	}
	free(data);
	return (void *)bad;
}

static void threads(void **state)
{
	pthread_t ids[12];
	void *bad;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		assert_int_equal(pthread_create(&ids[i], NULL, thread, (void *)i), 0);
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		assert_int_equal(pthread_join(ids[i], &bad), 0);
		assert_null(bad);
	}
}

#ifndef BLAS_TEST_FAKE
/* The child has the card for itself, if there is one; so has the parent afterwards. */
static void forks(void **state)
{
	unsigned int before;
	int status;
	pid_t child;

	(void)state;
	gemm_once(COL, N, N, 20, 20, 20, 1, 0, 0);
	before = on_card();
	child = fork();
	if (!child) {
		bool wrong = thread(NULL) != NULL;

		_exit(wrong ? 1 : must_be_card() && on_card() != before + 20 ? 2 : 0);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	gemm_once(COL, N, N, 20, 20, 20, 1, 0, 0);
}
#endif

/* ---- double precision ----------------------------------------------------- */

/* Exact enough: long double has 64 bits, and the sums are short. */
static void dgemm_once(int layout, int ta, int tb, int m, int n, int k, double alpha, double beta,
		       int range)
{
	const char *text = getenv("ACCEL_BLAS_DGEMM");
	int slices = text ? atoi(text) : 0;
	double *data = malloc((size_t)(m * k + k * n + 2 * m * n) * sizeof(double));
	double *a = data, *b = a + m * k, *c = b + k * n, *old = c + m * n;
	bool row = layout == ROW;
	int lda = (ta == T) == row ? m : k, ldb = (tb == T) == row ? k : n, ldc = row ? n : m;

	assert_non_null(data);
	for (int i = 0; i < m * k + k * n; i++)
		data[i] = (number() + number() * 0x1p-31) * exp2((int)(number() * range));
	for (int i = 0; i < m * n; i++)
		c[i] = old[i] = beta != 0 ? number() : NAN;
	if (layout)
		cblas_dgemm(layout, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
	else
		dgemm_(flag(ta), flag(tb), &m, &n, &k, &alpha, a, &lda, b, &ldb, &beta, c, &ldc);
	for (int i = 0; i < m; i++)
		for (int j = 0; j < n; j++) {
			double most_a = 0, most_b = 0, bound, had = row ? old[i * n + j] : old[j * m + i];
			long double s = 0;
			int ea, eb;

			for (int l = 0; l < k; l++) {
				double x = (ta == T) == row ? a[l * m + i] : a[i * k + l];
				double y = (tb == T) == row ? b[j * k + l] : b[l * n + j];

				s += (long double)x * y;
				most_a = fmax(most_a, fabs(x));
				most_b = fmax(most_b, fabs(y));
			}
			frexp(most_a, &ea);
			frexp(most_b, &eb);
			/* The documented bound; on the CPU the usual one. */
			bound = ldexp(k, ea + eb) * (slices ? (slices + 2) * exp2(-7 * slices) + 0x1p-52 :
						     k * 0x1p-52);
			bound = fabs(alpha) * bound + 0x1p-51 * fabs((double)(alpha * s));
			s *= alpha;
			if (beta != 0) {
				s += (long double)beta * had;
				bound += 0x1p-51 * fabs(had);
			}
			if (!(fabsl((row ? c[i * n + j] : c[j * m + i]) - s) <= bound))
				fail_msg("dgemm: element %d, %d is off by %Lg, more than %g", i, j,
					 fabsl((row ? c[i * n + j] : c[j * m + i]) - s), bound);
		}
	free(data);
}

static void dgemm(void **state)
{
	unsigned int before = on_card();
	int calls = 0;

	(void)state;
	for (int i = 0; i < 3 * 4 * 2; i++, calls += 2) {
		dgemm_once(layouts[i % 3], i / 3 % 2 ? T : N, i / 6 % 2 ? T : N, 13, 9, 21,
			   i % 2 ? 1 : -0.75, i / 12 ? 0.5 : 0, 0);
		dgemm_once(layouts[i % 3], i / 3 % 2 ? T : N, i / 6 % 2 ? T : N, 9, 13, 40, 1, 0, 60);
	}
	if (must_be_card() && getenv("ACCEL_BLAS_DGEMM"))
		assert_int_equal(on_card(), before + (unsigned int)calls);
}

static void dgemm_special(void **state)
{
	double a[4] = { 1, 2, NAN, 4 }, b[4] = { 1, 0, 0, 1 }, c[4], one = 1, zero = 0;
	int n = 2;

	(void)state;
	dgemm_("N", "N", &n, &n, &n, &one, a, &n, b, &n, &zero, c, &n);
	assert_true(isnan(c[0]) && c[1] == 2 && isnan(c[2]) && c[3] == 4);
	a[2] = 0x1p-1040;
	dgemm_("N", "N", &n, &n, &n, &one, a, &n, b, &n, &zero, c, &n);
	assert_true(c[2] == 0x1p-1040 || fabs(c[2]) <= 0x1p-48);
	a[0] = a[1] = a[2] = a[3] = 0;
	dgemm_("N", "N", &n, &n, &n, &one, a, &n, b, &n, &zero, c, &n);
	assert_true(c[0] == 0 && c[1] == 0 && c[2] == 0 && c[3] == 0);
}

/* ---- failures ------------------------------------------------------------- */

#ifdef BLAS_TEST_FAKE
/* What cannot be registered is copied. */
static void no_registering(void **state)
{
	(void)state;
	fake_fail_ioctl(DRM_IOCTL_ONPU_BO_USERPTR, -EFAULT);
	gemm_once(COL, N, T, 30, 20, 40, 1, 0.75f, 1);
	fake_fail_ioctl(0, 0);
}

static int lose_an_operand(void)
{
	static float a[30 * 30] = { 2 }, c[30 * 30] = { 2 };
	float one = 1;
	int n = 30;

	if (!freopen("/dev/null", "w", stderr))
		return 1;
	fake_kill_next(DRM_ONPU_QUEUE_FAULT);
	sgemm_("N", "N", &n, &n, &n, &one, a, &n, a, &n, &one, c, &n);
	return c[0] == 6 && c[1] == 0 ? 0 : 1;
}

/* What the card does not finish is the CPU's, as long as the result is no operand. */
static void card_fails(void **state)
{
	unsigned int before = on_card();
	struct matrix a = make(COL, 30, 30, 0), c = make(COL, 30, 30, 0);
	float one = 1, zero = 0;
	int n = 30, status;
	pid_t child;

	(void)state;
	fake_kill_next(DRM_ONPU_QUEUE_FAULT);
	spoil(&c, NAN);
	sgemm_("N", "N", &n, &n, &n, &one, a.data, &n, a.data, &n, &zero, c.data, &n);
	check(&c, (struct view){ .x = &a }, (struct view){ .x = &a }, none, none, n, 1, 0, 0, "failed");
	assert_int_equal(on_card(), before);
	drop(&a);
	drop(&c);
	/* Else nobody may go on with what is in place. (The tests' kernel does not live on in a fork.) */
	child = fork();
	if (!child) {
		execl("/proc/self/exe", "host-blas", "lose-an-operand", NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (strstr(getenv("ACCEL_BLAS_MODEL"), "pin_call=0"))
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	else		/* the card worked on a copy */
		assert_int_equal(status, 0);
	/* And the next call has a queue again. */
	gemm_once(COL, N, N, 30, 20, 40, 1, 0, 0);
}
#endif

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gemm),
		cmocka_unit_test(symm),
		cmocka_unit_test(syrk),
		cmocka_unit_test(trmm),
		cmocka_unit_test(trsm),
		cmocka_unit_test(special_values),
		cmocka_unit_test(errors),
		cmocka_unit_test(batches),
		cmocka_unit_test(threads),
#ifndef BLAS_TEST_FAKE
		cmocka_unit_test(forks),
#endif
		cmocka_unit_test(dgemm),
		cmocka_unit_test(dgemm_special),
#ifdef BLAS_TEST_FAKE
		cmocka_unit_test(no_registering),
		cmocka_unit_test(card_fails),
#endif
	};

#ifdef BLAS_TEST_FAKE
	if (argc > 1 && !strcmp(argv[1], "lose-an-operand"))
		return lose_an_operand();
#else
	(void)argc;
	(void)argv;
#endif
	/* The library has it open already. */
	if (getenv("ACCEL_BLAS_LOG") && truncate(getenv("ACCEL_BLAS_LOG"), 0))
		return 1;
	return cmocka_run_group_tests_name(getenv("BLAS_TEST_NAME") ? getenv("BLAS_TEST_NAME") : "blas",
					   tests, NULL, NULL);
}

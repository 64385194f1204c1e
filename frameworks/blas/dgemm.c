// SPDX-License-Identifier: MIT
/*
 * Double precision on a card that has none: dgemm by products of integers.
 *
 * The scheme of Ozaki, on integers: K. Ozaki, T. Ogita, S. Oishi, S. M. Rump, "Error-free
 * transformations of matrix multiplication by using fast routines of matrix multiplication and its
 * applications", Numerical Algorithms 59 (2012); H. Ootomo, K. Ozaki, R. Yokota, "DGEMM on integer
 * matrix multiplication unit", International Journal of High Performance Computing Applications (2024).
 *
 * Row i of op(A) gets the power of two 2^e with |a| < 2^e for all of its elements, and each element is
 * written as  a = 2^e (a1 2^-6 + a2 2^-13 + a3 2^-20 ... + as 2^(1-7s)) + rest,  with integers of
 * |a1| <= 64 and, since each is the nearest one, |a2|, |a3| ... <= 64 and |rest| <= 2^e 2^-7s. Columns of
 * op(B) likewise, with f. The products of slices are exact on the card: sums of INT8 products in INT32. Those
 * with the same p + q have the same weight, so the card adds them up, exactly; s sums are left for each
 * element of C. Pairs with p + q > s + 1 are left out: they and the rests are the error. The CPU
 * slices and adds the sums, least first, in double precision.
 *
 * Error: with N = k 2^e(i) 2^f(j), the computed element of op(A) op(B) is off by at most
 * N ((s + 2) 2^-7s + 2^-52): the first is what is left out, the second the adding. Documentation/frameworks.md
 * has the derivation, tests/frameworks tests it. The bound is by row and column, not by
 * element: small elements beside large ones in a row lose.
 *
 * Operands with NaN or infinity are the CPU's, and so are exponents near the ends of the range.
 */
#include "blas.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Sums of s K products of at most 2^12 fit into 31 bits. */
#define TERMS_MAX	(1 << 19)
#define ROWS_STEP	16
/* Of a double, far from where scaling would round or overflow. */
#define EXPONENT_MIN	(-400)
#define EXPONENT_MAX	400

struct sliced {
	struct blas_operand op;		/* s matrices, k x count each, one behind the other */
	int *exponents;			/* of each of the count columns */
	int64_t count, k, k_ld;
};

/* Exponents of the @count rows of op(A) (columns of op(B)); false: not for the card. */
static bool exponents(struct sliced *x, const double *data, int64_t ld, bool along)
{
	for (int64_t i = 0; i < x->count; i++) {
		double most = 0;
		int e;

		for (int64_t l = 0; l < x->k; l++) {
			double v = fabs(along ? data[i * ld + l] : data[l * ld + i]);

			if (!(v <= 0x1p1000))
				return false;
			if (v > most)
				most = v;
		}
		frexp(most, &e);
		if (most != 0 && (e < EXPONENT_MIN || e > EXPONENT_MAX))
			return false;
		x->exponents[i] = most != 0 ? e : 0;
	}
	return true;
}

/* The slices of one row: each takes the nearest integer, and what is left goes on, 7 bits further. */
static void slice_row(struct sliced *x, const double *data, int64_t step, int64_t i,
		      unsigned int slices)
{
	/* Adding and taking away rounds to an integer. */
	const double round = 0x1.8p52;
	double scale = ldexp(1, 6 - x->exponents[i]);
	int8_t *to = (int8_t *)x->op.cpu + i * x->k_ld;
	int64_t plane = x->count * x->k_ld;

	for (int64_t l = 0; l < x->k; l++) {
		double rest = data[l * step] * scale;

		for (unsigned int s = 0; s < slices; s++) {
			double digit = (rest + round) - round;

			to[s * plane + l] = (int8_t)digit;
			rest = (rest - digit) * 128;
		}
	}
}

static int slice(struct blas_lane *lane, struct sliced *x, const double *data, int64_t ld, bool along,
		 unsigned int slices)
{
	int ret;

	x->k_ld = (x->k + ROWS_STEP - 1) / ROWS_STEP * ROWS_STEP;
	ret = blas_operand_temporary(lane, &x->op, x->k_ld, x->count * slices, 1);
	if (ret)
		return ret;
	for (int64_t i = 0; i < x->count; i++)
		slice_row(x, along ? data + i * ld : data + i, along ? 1 : ld, i, slices);
	return 0;
}

/* The sums of the pairs (p, q) with p + q = @weight + 1, one behind the other in @sums. */
static int multiply(struct blas_lane *lane, const struct sliced *a, const struct sliced *b,
		    const struct blas_operand *sums, unsigned int slices)
{
	struct blas_product x = {
		.ta = true, .m = a->count, .n = b->count, .k = a->k, .alpha = 1,
		.type = ACCEL_TYPE_I8,
	};

	for (unsigned int weight = 1; weight <= slices; weight++) {
		x.beta = 0;
		x.c = (struct blas_view){ .op = sums, .col = (weight - 1) * b->count };
		for (unsigned int p = 1; p <= weight; p++) {
			int ret;

			x.a = (struct blas_view){ .op = &a->op, .col = (p - 1) * a->count };
			x.b = (struct blas_view){ .op = &b->op, .col = (weight - p) * b->count };
			ret = blas_lane_product(lane, &x);
			if (ret)
				return ret;
			x.beta = 1;
		}
	}
	return 0;
}

/* C = alpha times the sums + beta C. */
static void combine(const struct blas_dgemm *p, const struct sliced *a, const struct sliced *b,
		    const struct blas_operand *sums, unsigned int slices)
{
	int64_t plane = a->count * b->count;

	for (int64_t j = 0; j < p->n; j++)
		for (int64_t i = 0; i < p->m; i++) {
			const int32_t *from = (const int32_t *)sums->cpu + j * sums->ld + i;
			double *c = &p->c[j * p->ldc + i], sum = 0;

			for (unsigned int s = slices; s-- > 0; )
				sum = sum / 128 + from[s * plane];
			sum = p->alpha * ldexp(sum, a->exponents[i] + b->exponents[j] - 12);
			*c = p->beta == 0 ? sum : fma(p->beta, *c, sum);
		}
}

static int run(struct blas_lane *lane, const struct blas_dgemm *p, struct sliced *a,
	       struct sliced *b, unsigned int slices)
{
	struct blas_operand sums;
	int ret;

	ret = slice(lane, a, p->a, p->lda, p->ta, slices);
	if (!ret)
		ret = slice(lane, b, p->b, p->ldb, !p->tb, slices);
	if (!ret)
		ret = blas_operand_temporary(lane, &sums, p->m, p->n * slices, sizeof(int32_t));
	if (!ret)
		ret = multiply(lane, a, b, &sums, slices);
	if (!ret)
		ret = blas_lane_wait(lane);
	if (!ret)
		combine(p, a, b, &sums, slices);
	return ret;
}

static bool legal(const struct blas_dgemm *p, unsigned int slices)
{
	return p->m > 0 && p->n > 0 && p->k > 0 && p->alpha != 0 &&
	       p->k <= TERMS_MAX / (int64_t)slices && p->lda >= (p->ta ? p->k : p->m) &&
	       p->ldb >= (p->tb ? p->n : p->k) && p->ldc >= p->m;
}

bool blas_dgemm_offload(const struct blas_dgemm *p, unsigned int slices)
{
	double work = (double)p->m * (double)p->n * (double)p->k;
	struct sliced a = { .count = p->m, .k = p->k }, b = { .count = p->n, .k = p->k };
	struct blas_lane *lane = NULL;
	uint64_t start = blas_now();
	int ret = -EINVAL;

	if (!legal(p, slices) || !blas_card_wanted(work))
		return false;
	a.exponents = malloc((size_t)p->m * sizeof(int));
	b.exponents = malloc((size_t)p->n * sizeof(int));
	if (a.exponents && b.exponents && exponents(&a, p->a, p->lda, p->ta) &&
	    exponents(&b, p->b, p->ldb, !p->tb))
		lane = blas_lane_get();
	if (lane) {
		/* C is written last, by the CPU: a failure leaves it as it was. */
		ret = run(lane, p, &a, &b, slices);
		blas_log("dgemm %c%c m=%lld n=%lld k=%lld, %u slices: %s%s, %.3f ms", p->ta ? 'T' : 'N',
			 p->tb ? 'T' : 'N', (long long)p->m, (long long)p->n, (long long)p->k, slices,
			 ret ? "CPU, because the card failed: " : "card: ",
			 ret ? accel_error_detail() : blas_lane_story(lane),
			 (double)(blas_now() - start) / 1e6);
		blas_lane_put(lane, ret);
	}
	free(a.exponents);
	free(b.exponents);
	return !ret;
}

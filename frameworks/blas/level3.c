// SPDX-License-Identifier: MIT
/*
 * The level-3 routines as products.
 *
 * - gemm is one product.
 * - symm: by blocks of the symmetric matrix. What is beside the diagonal is stored once and is
 *   used twice, as it lies and transposed; blocks on the diagonal are completed by the CPU.
 * - syrk, syr2k: only one triangle may be touched. Rectangles beside the diagonal are products in place,
 *   blocks on the diagonal are products elsewhere, of which the CPU adds the triangle.
 * - trmm, trsm: halves, recursively. A triangular matrix is two triangular halves and a rectangle: the
 *   rectangle is a product, and triangles of at most LEAF are the CPU's, done by the next BLAS in place.
 *   So no triangle is ever inverted, and the other half of the matrix is never read.
 *
 * All of it works on one lane, whose products run in order; the CPU waits before it touches what
 * the card has written or still reads.
 */
#include "blas.h"

#include <errno.h>

/* Blocks on the diagonal of symm, syrk and syr2k; triangles that trmm and trsm leave to the CPU. */
#define BLOCK	256
#define LEAF	64

static struct blas_view at(const struct blas_operand *op, int64_t row, int64_t col)
{
	return (struct blas_view){ .op = op, .row = row, .col = col };
}

static float *cpu(const struct blas_operand *op, int64_t row, int64_t col)
{
	return (float *)op->cpu + col * op->ld + row;
}

/* Rows and columns of the matrix whose op() is rows x cols. */
static int get_input(struct blas_lane *lane, struct blas_operand *op, const float *data, int64_t ld,
		     bool trans, int64_t rows, int64_t cols)
{
	return blas_operand_get(lane, op, data, trans ? cols : rows, trans ? rows : cols, ld,
				sizeof(float), ACCEL_ACCESS_READ);
}

static int finish(struct blas_lane *lane, int ret)
{
	int error = blas_lane_wait(lane);

	return ret ? ret : error;
}

/* ---- gemm --------------------------------------------------------------- */

int blas_run_gemm(struct blas_lane *lane, const struct blas_call *p)
{
	struct blas_operand a = { 0 }, b = { 0 }, c = { 0 };
	struct blas_product product = {
		.ta = p->ta == 'T', .tb = p->tb == 'T', .m = p->m, .n = p->n, .k = p->k,
		.alpha = p->alpha, .beta = p->beta,
		.a = at(&a, 0, 0), .b = at(&b, 0, 0), .c = at(&c, 0, 0),
	};
	unsigned int access = ACCEL_ACCESS_WRITE | (p->beta != 0 ? ACCEL_ACCESS_READ : 0);
	int ret;

	ret = get_input(lane, &a, p->a, p->lda, product.ta, p->m, p->k);
	if (!ret)
		ret = get_input(lane, &b, p->b, p->ldb, product.tb, p->k, p->n);
	if (!ret)
		ret = blas_operand_get(lane, &c, p->c, p->m, p->n, p->ldc, sizeof(float), access);
	if (!ret)
		ret = blas_lane_product(lane, &product);
	ret = finish(lane, ret);
	blas_operand_put(&a, !ret);
	blas_operand_put(&b, !ret);
	blas_operand_put(&c, !ret);
	return ret;
}

/* ---- symm --------------------------------------------------------------- */

/* Block (i, i) of a symmetric matrix, of which one triangle is stored, into @to at column @i. */
static void complete(const struct blas_operand *to, const struct blas_operand *a, bool lower,
		     int64_t i, int64_t size)
{
	for (int64_t col = 0; col < size; col++) {
		const float *from = cpu(a, i, i + col);
		int64_t first = lower ? col : 0, last = lower ? size : col + 1;

		for (int64_t row = first; row < last; row++) {
			*cpu(to, row, i + col) = from[row];
			*cpu(to, col, i + row) = from[row];
		}
	}
}

/* Block @i of C: the parts of the symmetric matrix on, before and behind the diagonal. */
static int symm_block(struct blas_lane *lane, const struct blas_call *p,
		      const struct blas_operand ops[4], int64_t i, int64_t size)
{
	const struct blas_operand *a = &ops[0], *b = &ops[1], *c = &ops[2], *diagonal = &ops[3];
	bool left = p->side == 'L', lower = p->uplo == 'L';
	int64_t order = left ? p->m : p->n, behind = i + size;
	struct blas_product x = {
		.m = left ? size : p->m, .n = left ? p->n : size,
		.alpha = p->alpha, .beta = p->beta,
		.c = left ? at(c, i, 0) : at(c, 0, i),
	};
	int ret;

	for (int part = 0; part < 3; part++) {
		int64_t first = part == 0 ? i : part == 1 ? 0 : behind;
		int64_t last = part == 0 ? behind : part == 1 ? i : order;
		/* Beside the diagonal: as it is stored, or the other triangle's. */
		bool row_stored = part == 1 ? lower : !lower;
		bool trans = part && left != row_stored;
		struct blas_view s;

		if (first == last)
			continue;
		if (!part)
			s = at(diagonal, 0, i);
		else
			s = row_stored ? at(a, i, first) : at(a, first, i);
		x.k = last - first;
		x.ta = left && trans;
		x.tb = !left && trans;
		x.a = left ? s : at(b, 0, first);
		x.b = left ? at(b, first, 0) : s;
		ret = blas_lane_product(lane, &x);
		if (ret)
			return ret;
		x.beta = 1;
	}
	return 0;
}

int blas_run_symm(struct blas_lane *lane, const struct blas_call *p)
{
	int64_t order = p->side == 'L' ? p->m : p->n;
	unsigned int access = ACCEL_ACCESS_WRITE | (p->beta != 0 ? ACCEL_ACCESS_READ : 0);
	struct blas_operand ops[4] = { 0 };
	int ret;

	ret = get_input(lane, &ops[0], p->a, p->lda, false, order, order);
	if (!ret)
		ret = get_input(lane, &ops[1], p->b, p->ldb, false, p->m, p->n);
	if (!ret)
		ret = blas_operand_get(lane, &ops[2], p->c, p->m, p->n, p->ldc, sizeof(float), access);
	if (!ret)
		ret = blas_operand_temporary(lane, &ops[3], blas_min(BLOCK, order), order,
					     sizeof(float));
	for (int64_t i = 0; i < order && !ret; i += BLOCK) {
		int64_t size = blas_min(BLOCK, order - i);

		complete(&ops[3], &ops[0], p->uplo == 'L', i, size);
		ret = symm_block(lane, p, ops, i, size);
	}
	ret = finish(lane, ret);
	for (int i = 0; i < 4; i++)
		blas_operand_put(&ops[i], !ret);
	return ret;
}

/* ---- syrk, syr2k -------------------------------------------------------- */

/* x op(A) op(B)^T for rows from @row, columns from @col, into @c. */
static int outer(struct blas_lane *lane, const struct blas_call *p, const struct blas_operand *a,
		 const struct blas_operand *b, int64_t row, int64_t col, struct blas_product *x)
{
	bool trans = p->ta == 'T';

	x->ta = trans;
	x->tb = !trans;
	x->k = p->k;
	x->alpha = p->alpha;
	x->a = trans ? at(a, 0, row) : at(a, row, 0);
	x->b = trans ? at(b, 0, col) : at(b, col, 0);
	return blas_lane_product(lane, x);
}

/* Both products of syr2k, or the one of syrk. */
static int outers(struct blas_lane *lane, const struct blas_call *p,
		  const struct blas_operand ops[4], int64_t row, int64_t col, struct blas_product x)
{
	const struct blas_operand *a = &ops[0], *b = p->b ? &ops[1] : &ops[0];
	int ret = outer(lane, p, a, b, row, col, &x);

	if (ret || !p->b)
		return ret;
	x.beta = 1;
	return outer(lane, p, b, a, row, col, &x);
}

static int syrk_block(struct blas_lane *lane, const struct blas_call *p,
		      const struct blas_operand ops[4], int64_t i, int64_t size)
{
	bool lower = p->uplo == 'L';
	int64_t row = lower ? i + size : 0;
	struct blas_product x = {
		.m = lower ? p->n - row : i, .n = size, .beta = p->beta, .c = at(&ops[2], row, i),
	};
	int ret = x.m ? outers(lane, p, ops, row, i, x) : 0;

	if (ret)
		return ret;
	x = (struct blas_product){ .m = size, .n = size, .c = at(&ops[3], 0, i) };
	return outers(lane, p, ops, i, i, x);
}

/* C's triangle of block @i = beta C + what the card has made of it. */
static void merge(const struct blas_call *p, const struct blas_operand ops[4], int64_t i,
		  int64_t size)
{
	for (int64_t col = 0; col < size; col++) {
		const float *from = cpu(&ops[3], 0, i + col);
		float *to = cpu(&ops[2], i, i + col);
		int64_t first = p->uplo == 'L' ? col : 0;
		int64_t last = p->uplo == 'L' ? size : col + 1;

		for (int64_t row = first; row < last; row++)
			to[row] = p->beta == 0 ? from[row] : fmaf(p->beta, to[row], from[row]);
	}
}

int blas_run_syrk(struct blas_lane *lane, const struct blas_call *p)
{
	struct blas_operand ops[4] = { 0 };
	bool trans = p->ta == 'T';
	int ret;

	ret = get_input(lane, &ops[0], p->a, p->lda, trans, p->n, p->k);
	if (!ret && p->b)
		ret = get_input(lane, &ops[1], p->b, p->ldb, trans, p->n, p->k);
	/* The other triangle must come back as it was. */
	if (!ret)
		ret = blas_operand_get(lane, &ops[2], p->c, p->n, p->n, p->ldc, sizeof(float),
				       ACCEL_ACCESS_READ | ACCEL_ACCESS_WRITE);
	if (!ret)
		ret = blas_operand_temporary(lane, &ops[3], blas_min(BLOCK, p->n), p->n,
					     sizeof(float));
	for (int64_t i = 0; i < p->n && !ret; i += BLOCK)
		ret = syrk_block(lane, p, ops, i, blas_min(BLOCK, p->n - i));
	ret = finish(lane, ret);
	for (int64_t i = 0; i < p->n && !ret; i += BLOCK)
		merge(p, ops, i, blas_min(BLOCK, p->n - i));
	for (int i = 0; i < 4; i++)
		blas_operand_put(&ops[i], !ret);
	return ret;
}

/* ---- trmm, trsm --------------------------------------------------------- */

struct triangle {
	struct blas_lane *lane;
	const struct blas_call *call;
	struct blas_operand a, b;
	bool left, trans, solve;
	bool lower;		/* op(A) is */
};

static int leaf(struct triangle *t, int64_t i, int64_t size, float alpha)
{
	const struct blas_call *p = t->call;
	int m = (int)(t->left ? size : p->m), n = (int)(t->left ? p->n : size);
	int lda = (int)t->a.ld, ldb = (int)t->b.ld;
	strxm_fn *function = t->solve ? blas_next_strsm_ : blas_next_strmm_;
	int ret = blas_lane_wait(t->lane);

	if (ret)
		return ret;
	blas_lane_changes(t->lane, &t->b);
	blas_in_next = true;
	function(&p->side, &p->uplo, &p->ta, &p->diag, &m, &n, &alpha, cpu(&t->a, i, i), &lda,
		 t->left ? cpu(&t->b, i, 0) : cpu(&t->b, 0, i), &ldb, 1, 1, 1, 1);
	blas_in_next = false;
	return 0;
}

/*
 * B's part at @to (size @to_size of the triangle's order) = beta of it + alpha times the rectangle of
 * op(A) between the halves and B's part at @from.
 */
static int rectangle(struct triangle *t, int64_t to, int64_t to_size, int64_t from,
		     int64_t from_size, float alpha, float beta)
{
	/* Of op(A): rows @to, columns @from on the left, the other way round on the right. */
	int64_t row = t->left ? to : from, col = t->left ? from : to;
	struct blas_view a = t->trans ? at(&t->a, col, row) : at(&t->a, row, col);
	struct blas_view b = t->left ? at(&t->b, from, 0) : at(&t->b, 0, from);
	struct blas_product x = {
		.m = t->left ? to_size : t->call->m, .n = t->left ? t->call->n : to_size,
		.k = from_size, .alpha = alpha, .beta = beta,
		.ta = t->left && t->trans, .tb = !t->left && t->trans,
		.a = t->left ? a : b, .b = t->left ? b : a,
		.c = t->left ? at(&t->b, to, 0) : at(&t->b, 0, to),
	};

	return blas_lane_product(t->lane, &x);
}

/*
 * With op(A) lower and on the left, the second half of B depends on the first one. A solution needs
 * the first half solved; a product needs it as it was. Upper, or on the right: the other way round.
 */
static int halve(struct triangle *t, int64_t i, int64_t size, float alpha)
{
	int64_t first = (size / 2 + LEAF - 1) / LEAF * LEAF, second = size - first;
	bool second_depends = t->lower == t->left;
	struct { int64_t at, size; } source, target;
	int ret;

	if (size <= LEAF)
		return leaf(t, i, size, alpha);
	source.at = second_depends ? i : i + first;
	source.size = second_depends ? first : second;
	target.at = second_depends ? i + first : i;
	target.size = second_depends ? second : first;
	ret = t->solve ? halve(t, source.at, source.size, alpha) :
			 halve(t, target.at, target.size, alpha);
	if (!ret)
		ret = rectangle(t, target.at, target.size, source.at, source.size,
				t->solve ? -1 : alpha, t->solve ? alpha : 1);
	if (ret)
		return ret;
	return t->solve ? halve(t, target.at, target.size, 1) :
			  halve(t, source.at, source.size, alpha);
}

static int run_triangle(struct blas_lane *lane, const struct blas_call *p, bool solve)
{
	struct triangle t = {
		.lane = lane, .call = p, .left = p->side == 'L', .trans = p->ta == 'T',
		.solve = solve, .lower = (p->uplo == 'L') != (p->ta == 'T'),
	};
	int64_t order = t.left ? p->m : p->n;
	int ret;

	ret = get_input(lane, &t.a, p->a, p->lda, false, order, order);
	if (!ret)
		ret = blas_operand_get(lane, &t.b, p->c, p->m, p->n, p->ldc, sizeof(float),
				       ACCEL_ACCESS_READ | ACCEL_ACCESS_WRITE);
	if (!ret)
		ret = halve(&t, 0, order, p->alpha);
	ret = finish(lane, ret);
	blas_operand_put(&t.a, !ret);
	blas_operand_put(&t.b, !ret);
	return ret;
}

int blas_run_trmm(struct blas_lane *lane, const struct blas_call *call)
{
	return run_triangle(lane, call, false);
}

int blas_run_trsm(struct blas_lane *lane, const struct blas_call *call)
{
	return run_triangle(lane, call, true);
}

/* ---- what a call is ----------------------------------------------------- */

static double matrix_cost(int64_t rows, int64_t cols, int64_t ld, int ways)
{
	double size = sizeof(float);

	return blas_model_operand((double)rows * (double)cols * size,
				  ((double)(cols - 1) * (double)ld + (double)rows) * size, ways);
}

static double blocks(int64_t order, int64_t block)
{
	return (double)((order + block - 1) / block);
}

void blas_estimate(const struct blas_call *p, struct blas_estimate *e)
{
	double m = (double)p->m, n = (double)p->n, k = (double)p->k;
	bool left = p->side == 'L', ta = p->ta == 'T', tb = p->tb == 'T';
	int64_t order = left ? p->m : p->n;

	*e = (struct blas_estimate){ .calls = 1 };
	if (p->run == blas_run_gemm) {
		e->work = e->total = m * n * k;
		e->steps = 1;
		e->operands = matrix_cost(ta ? p->k : p->m, ta ? p->m : p->k, p->lda, 1) +
			      matrix_cost(tb ? p->n : p->k, tb ? p->k : p->n, p->ldb, 1) +
			      matrix_cost(p->m, p->n, p->ldc, p->beta != 0 ? 2 : 1);
	} else if (p->run == blas_run_symm) {
		e->work = e->total = m * n * (double)order;
		e->steps = 3 * blocks(order, BLOCK);
		/* Completing the diagonal costs the CPU about what copying it does. */
		e->operands = matrix_cost(order, order, p->lda, 1) +
			      (double)order * BLOCK * 4 * blas_costs.copy_byte +
			      matrix_cost(p->m, p->n, p->ldb, 1) +
			      matrix_cost(p->m, p->n, p->ldc, p->beta != 0 ? 2 : 1);
	} else if (p->run == blas_run_syrk) {
		double products = p->b ? 2 : 1;

		e->total = products * n * n * k / 2;
		e->work = e->total + products * n * k * (double)blas_min(BLOCK, p->n) / 2;
		e->steps = 2 * products * blocks(p->n, BLOCK);
		e->operands = products * matrix_cost(ta ? p->k : p->n, ta ? p->n : p->k, p->lda, 1) +
			      n * BLOCK * 4 * blas_costs.copy_byte +
			      matrix_cost(p->n, p->n, p->ldc, 2);
	} else {
		e->total = m * n * (double)order / 2;
		e->cpu_work = m * n * (double)blas_min(LEAF, order) / 2;
		e->work = e->total - e->cpu_work;
		e->calls = e->steps = blocks(order, LEAF) - 1;
		e->operands = matrix_cost(order, order, p->lda, 1) + matrix_cost(p->m, p->n, p->ldc, 2);
	}
}

// SPDX-License-Identifier: MIT
/*
 * A few rows of A by all of B: what a language model does for each word. What counts is how fast B comes
 * from memory, once, and how soon its elements are multiplied: nobody packs them.
 *
 * Idea: an item of the loop over columns has some of them for all of k. Where k runs along the rows, it
 * has 64 columns; words of 32 bits are transposed, a bit of k at a time (of integers here, else by the
 * kernels, between multiplications), and the sums stay in the first-level cache. Where columns run along
 * the rows, 32 or 64 rows are read side by side, so that each goes on for kilobytes, and sums wait in scratch
 * memory in the order that suits the kernels. While a bit is multiplied the next one is on its way.
 *
 * Rows that cross segments, and what is left of a row, go through a bounce buffer.
 *
 * Locking: none. Items write disjoint memory.
 */
#include <errno.h>
#include <string.h>

#include "gemm_convert.h"
#include "gemm_epilogue.h"
#include "gemm_few.h"
#include "gemm_view.h"
#include "pool.h"

#define A_BYTES		((size_t)4 << 20)	/* all of A, packed */
#define WORDS		64u	/* along k, at a time */
#define ROWS		64u	/* of B, side by side, at most */
#define ROWS_LESS	32u	/* those that are 4 KiB apart put each other out of the caches less often */
#define ROW_BYTES	(GEMM_FEW_COLS * 4)	/* of one of them at a time, at most */
#define GROUPS		64u	/* of scales along k, at a time */
#define RUN		4096u	/* bytes of a row that an item reads, about */
#define AHEAD		2u	/* steps: the end of a row's part may be in the next cache line */
#define ITEMS		4u	/* for each thread */
#define INLINE_MACS	(1u << 18)	/* below this a second thread is not worth waking */

struct few {
	const struct gemm_few *job;
	const struct onpu_gemm_desc *desc;
	gemm_few_fn *fn;
	enum gemm_few_layout layout;
	unsigned int bits;		/* of an element of B */
	unsigned int rows;		/* of A, rounded up to what there is a kernel for */
	uint32_t step_k;		/* elements of k at a time */
	uint32_t cols;			/* columns of a step */
	uint32_t strip;			/* columns of an item */
	uint32_t *sums;			/* along columns: [steps][rows][cols] */
	uint32_t start[GEMM_FEW_ROWS];	/* what sums start from, beside C */
	uint8_t column[GEMM_FEW_COLS];	/* of a step, whose sum is in this place */
};

/* Scales of a step for kernels, along k of more. */
struct few_scales {
	_Alignas(64) uint32_t scale[GROUPS * GEMM_FEW_LANES];
	_Alignas(64) uint32_t zero[GROUPS * GEMM_FEW_LANES];
	uint64_t from, end;		/* k that is there */
};

static const uint8_t sizes[] = { 1, 2, 4, 8, 12, 16 };

unsigned int gemm_few_rows(unsigned int rows)
{
	unsigned int i = 0;

	while (sizes[i] < rows)
		i++;
	return sizes[i];
}

static inline uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static inline uint32_t div_up(uint32_t a, uint32_t b)
{
	return a / b + (a % b != 0);
}

static bool cancelled(const struct few *f)
{
	return f->job->cancel && atomic_load_explicit(f->job->cancel, memory_order_acquire);
}

/* The scales of B, or NULL. */
static const struct onpu_gemm_scales *scales_of(const struct onpu_gemm_desc *d)
{
	return d->b_scales.group ? &d->b_scales : NULL;
}

static enum gemm_mode scale_mode(const struct onpu_gemm_scales *sc)
{
	return !sc->type ? GEMM_UE8M0 : sc->type == ONPU_DTYPE_F16 ? GEMM_F16 : GEMM_BF16;
}

/* --- sums ------------------------------------------------------------------- */

/* The sums of columns [col, col + count), before anything is added. */
static void begin_sums(const struct few *f, uint32_t *sums, uint32_t col, uint32_t count)
{
	const struct onpu_gemm_desc *d = f->desc;
	GEMM_BUFFER uint32_t c[GEMM_FEW_COLS];

	for (uint32_t r = 0; r < f->rows; r++)
		for (uint32_t i = 0; i < f->cols; i++)
			sums[r * f->cols + i] = f->start[r];
	for (uint32_t r = 0; d->flags & ONPU_GEMM_ACCUMULATE && r < d->m; r++) {
		uint64_t at = ((uint64_t)d->m0 + r) * d->ldc + d->n0 + col;

		gemm_view_read(&d->c, at * 4, c, (size_t)count * 4);
		/* The start of floating-point sums is +0, which would turn -0 into +0. */
		for (uint32_t i = 0; i < f->cols; i++)
			if (f->column[i] < count)
				sums[r * f->cols + i] = c[f->column[i]] +
							(f->job->kern->integer ? f->start[r] : 0);
	}
}

static void end_sums(const struct few *f, const uint32_t *sums, uint32_t col, uint32_t count)
{
	const struct onpu_gemm_desc *d = f->desc;
	GEMM_BUFFER _Alignas(64) uint32_t row[GEMM_PANEL_COLS];
	GEMM_BUFFER struct gemm_epilogue_cols cols;
	bool integer = f->job->kern->integer;

	if (d->epilogue)
		gemm_epilogue_cols(d->epilogue, (uint64_t)d->n0 + col, count, &cols);
	for (uint32_t r = 0; r < d->m; r++, sums += f->cols) {
		for (uint32_t i = 0; i < f->cols; i++)
			row[f->column[i]] = !integer && (sums[i] & 0x7fffffff) > 0x7f800000 ?
					    GEMM_CANONICAL_NAN : sums[i];
		if (d->epilogue)
			gemm_epilogue_row(d, &cols, integer, true, (uint64_t)d->m0 + r,
					  (uint64_t)d->n0 + col, count, row);
		else
			gemm_view_write(&d->d, (((uint64_t)d->m0 + r) * d->ldd + d->n0 + col) * 4,
					row, (size_t)count * 4);
	}
}

static const uint32_t *a_at(const struct few *f, uint32_t k)
{
	return f->job->a + (size_t)(k / f->job->kern->ku) * f->rows;
}

/* --- k along the rows of B -------------------------------------------------- */

/* len bytes of each of count rows from (lane, elem) on, which lie in view one after the other. */
static void point(const struct onpu_view *view, uint64_t ld, unsigned int bits, uint64_t lane,
		  uint32_t count, uint64_t elem, size_t len, const uint8_t **rows, uint8_t *bounce,
		  size_t room)
{
	for (uint32_t i = 0; i < count; i++) {
		uint64_t off = ((lane + i) * ld + elem) * bits / 8;

		rows[i] = gemm_view_at(view, off, len);
		if (!rows[i]) {
			gemm_view_read(view, off, bounce + i * room, len);
			rows[i] = bounce + i * room;
		}
	}
}

static void pack_lane_scales(const struct few *f, const struct onpu_view *view, enum gemm_mode mode,
			     uint32_t col, uint32_t count, uint64_t group, uint32_t groups,
			     uint32_t *dst)
{
	const struct onpu_gemm_scales *sc = &f->desc->b_scales;
	GEMM_BUFFER uint8_t bounce[GEMM_FEW_LANES * GROUPS * 2];
	const uint8_t *rows[GEMM_FEW_LANES];
	unsigned int es = mode == GEMM_F16 || mode == GEMM_BF16 ? 2 : 1;

	point(view, sc->ld, es * 8, (uint64_t)f->desc->n0 + col, count, group, (size_t)groups * es, rows,
	      bounce, GROUPS * 2);
	f->job->kern->pack_rows(dst, GEMM_FEW_LANES, rows, count, groups, mode, NULL);
}

static void find_lane_scales(const struct few *f, struct few_scales *fs, uint32_t col, uint32_t count,
			     uint32_t k, uint32_t n, struct gemm_lane_scales *out)
{
	const struct onpu_gemm_scales *sc = scales_of(f->desc);
	uint64_t at = (uint64_t)f->desc->k0 + k, end = (uint64_t)f->desc->k0 + f->desc->k;
	uint32_t groups;

	if (!sc)
		return;
	if (at < fs->from || at + n > fs->end) {
		fs->from = at - at % sc->group;
		groups = (uint32_t)((end - fs->from + sc->group - 1) / sc->group);
		groups = min_u32(groups, GROUPS);
		fs->end = fs->from + (uint64_t)groups * sc->group;
		pack_lane_scales(f, &sc->view, scale_mode(sc), col, count, fs->from / sc->group,
				 groups, fs->scale);
		if (sc->zero.n)
			pack_lane_scales(f, &sc->zero, GEMM_I8_F32, col, count,
					 fs->from / sc->group, groups, fs->zero);
	}
	*out = (struct gemm_lane_scales){
		.scale = (const float *)(const void *)fs->scale,
		.zero = sc->zero.n ? (const float *)(const void *)fs->zero : NULL,
		.shift = (unsigned int)__builtin_ctz(sc->group), .skip = (uint32_t)(at - fs->from),
	};
}

/* len bytes of each of count columns, off bytes behind k = 0: where they are, or in bounce. */
static void find_lanes(const struct few *f, const uint8_t *const *all, const uint8_t **rows,
		       uint8_t *bounce, uint32_t col, uint32_t count, size_t off, size_t len)
{
	const struct onpu_gemm_desc *d = f->desc;

	for (uint32_t i = 0; i < count; i++) {
		rows[i] = all[i] ? all[i] + off : bounce + i * WORDS * 4;
		if (!all[i])
			gemm_view_read(&d->b, (((uint64_t)d->n0 + col + i) * d->ldb + d->k0) * f->bits / 8 +
				       off, bounce + i * WORDS * 4, len);
	}
	for (uint32_t i = count; i < GEMM_FEW_LANES; i++)
		rows[i] = rows[0];
}

static void along_k_item(void *arg, size_t index)
{
	const struct few *f = arg;
	const struct onpu_gemm_desc *d = f->desc;
	const struct gemm_kernel *kern = f->job->kern;
	GEMM_BUFFER _Alignas(64) uint32_t words[WORDS * GEMM_FEW_LANES];
	GEMM_BUFFER _Alignas(64) uint32_t sums[GEMM_FEW_ROWS * GEMM_FEW_LANES];
	GEMM_BUFFER uint8_t bounce[GEMM_FEW_LANES * WORDS * 4];
	GEMM_BUFFER struct few_scales scales;
	const uint8_t *all[GEMM_FEW_LANES], *rows[GEMM_FEW_LANES];
	uint32_t col = (uint32_t)index * GEMM_FEW_LANES, count = min_u32(GEMM_FEW_LANES, d->n - col);
	bool direct = true;
	uint32_t next;
	struct gemm_few_step s = {
		.sums = sums, .vectors = div_up(count, 16), .words = words, .rows = rows,
	};
	gemm_fpmode_t mode;

	scales.end = 0;
	gemm_fpmode_enter(&mode);
	begin_sums(f, sums, col, count);
	for (uint32_t i = 0; i < GEMM_FEW_LANES; i++) {
		all[i] = i >= count ? all[0] :
			gemm_view_at(&d->b, (((uint64_t)d->n0 + col + i) * d->ldb + d->k0) * f->bits / 8,
				     ((uint64_t)d->k * f->bits + 7) / 8);
		direct = direct && all[i];
	}
	for (uint32_t k = 0; k < d->k && !cancelled(f); k = next) {
		size_t off = (size_t)k * f->bits / 8, len;

		s.k = min_u32(f->step_k, d->k - k);
		next = k + s.k;
		len = (s.k * f->bits + 7) / 8;
		/* Most often every row is where it can be read. */
		for (uint32_t i = 0; direct && i < GEMM_FEW_LANES; i++)
			rows[i] = all[i] + off;
		if (!direct)
			find_lanes(f, all, rows, bounce, col, count, off, len);
		/* What comes next: more of these rows, or the rows behind them. */
		s.ahead = next < d->k ? len : d->ldb * GEMM_FEW_LANES * f->bits / 8 - off;
		find_lane_scales(f, &scales, col, count, k, s.k, &s.scales);
		if (kern->integer)
			kern->pack_rows(words, GEMM_FEW_LANES, rows, count, (s.k * f->bits + 7) / 8,
					GEMM_I8, NULL);
		s.a = a_at(f, k);
		f->fn(&s);
	}
	end_sums(f, sums, col, count);
	gemm_fpmode_leave(&mode);
}

/* --- columns along the rows of B -------------------------------------------- */

/* Scales of the groups of k .. k + n - 1 for a step's columns. */
static void find_column_scales(const struct few *f, struct few_scales *fs, uint32_t col,
			       uint32_t count, uint32_t k, uint32_t n, struct gemm_lane_scales *out)
{
	const struct onpu_gemm_scales *sc = scales_of(f->desc);
	GEMM_BUFFER uint8_t bounce[GEMM_FEW_COLS * 2];
	uint64_t at = (uint64_t)f->desc->k0 + k;
	const struct gemm_few_kernel *few = f->job->kern->few;

	if (!sc)
		return;
	for (uint64_t q = at / sc->group; q * sc->group < at + n; q++) {
		uint32_t i = (uint32_t)(q - at / sc->group);
		uint64_t elem = q * sc->ld + f->desc->n0 + col;
		size_t es = sc->type ? 2 : 1;
		const uint8_t *src = count < GEMM_FEW_COLS ? NULL :
				     gemm_view_at(&sc->view, elem * es, GEMM_FEW_COLS * es);

		/* Lanes without a column get numbers that do not slow multiplications down. */
		if (!src) {
			memset(bounce + count * es, 0x7f, (GEMM_FEW_COLS - count) * es);
			gemm_view_read(&sc->view, elem * es, bounce, count * es);
		}
		few->spread_scales(fs->scale + i * GEMM_FEW_COLS, src ? src : bounce, scale_mode(sc),
				   32 / f->bits);
		if (!sc->zero.n)
			continue;
		gemm_view_read(&sc->zero, elem, bounce, count);
		few->spread_scales(fs->zero + i * GEMM_FEW_COLS, bounce, GEMM_I8_F32, 32 / f->bits);
	}
	*out = (struct gemm_lane_scales){
		.scale = (const float *)(const void *)fs->scale,
		.zero = sc->zero.n ? (const float *)(const void *)fs->zero : NULL,
		.shift = (unsigned int)__builtin_ctz(sc->group), .skip = (uint32_t)(at % sc->group),
	};
}

/* A step's columns of n rows: where they are, which whole says of all of the strip, or in bounce. */
static void find_columns(const struct few *f, const uint8_t *const *strip, uint32_t first, uint32_t col,
			 uint32_t count, uint32_t k, uint32_t n, bool whole, const uint8_t **rows,
			 uint8_t *bounce)
{
	const struct onpu_gemm_desc *d = f->desc;
	size_t len = (count * f->bits + 7) / 8, room = (size_t)f->cols * f->bits / 8;
	size_t off = (size_t)(col - first) * f->bits / 8;

	/* Asking for each of them took a quarter as long as all else does for one row of A. */
	if (whole && count == f->cols) {
		for (uint32_t i = 0; i < n; i++)
			rows[i] = strip[i] + off;
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (strip[i] && count == f->cols) {
			rows[i] = strip[i] + off;
			continue;
		}
		rows[i] = bounce + i * ROW_BYTES;
		memset(bounce + i * ROW_BYTES + len, 0, room - len);
		gemm_view_read(&d->b, (((uint64_t)d->k0 + k + i) * d->ldb + d->n0 + col) * f->bits / 8,
			       bounce + i * ROW_BYTES, len);
	}
}

static void along_cols_step(const struct few *f, struct gemm_few_step *s, uint32_t col, uint32_t count,
			    uint32_t k)
{
	GEMM_BUFFER _Alignas(64) uint32_t words[ROWS / 4 * GEMM_FEW_LANES];
	GEMM_BUFFER struct few_scales scales;

	s->sums = f->sums + (size_t)(col / f->cols) * f->rows * f->cols;
	s->a = a_at(f, k);
	if (k == 0)
		begin_sums(f, s->sums, col, count);
	if (f->job->kern->integer) {
		f->job->kern->few->interleave(words, s->rows, s->k);
		s->words = words;
	}
	find_column_scales(f, &scales, col, count, k, s->k, &s->scales);
	f->fn(s);
	if (k + s->k == f->desc->k)
		end_sums(f, s->sums, col, count);
}

static void along_cols_item(void *arg, size_t index)
{
	const struct few *f = arg;
	const struct onpu_gemm_desc *d = f->desc;
	GEMM_BUFFER _Alignas(64) uint8_t bounce[ROWS * ROW_BYTES];
	const uint8_t *strip[ROWS], *rows[ROWS];
	uint32_t first = (uint32_t)index * f->strip, end = first + min_u32(f->strip, d->n - first);
	uint64_t width = ((uint64_t)(end - first) * f->bits + 7) / 8;
	uint64_t ahead = (uint64_t)f->cols * f->bits / 8 * AHEAD;
	gemm_fpmode_t mode;

	gemm_fpmode_enter(&mode);
	for (uint32_t k = 0; k < d->k && !cancelled(f); k += f->step_k) {
		uint32_t n = min_u32(f->step_k, d->k - k);
		bool whole = true;

		for (uint32_t i = 0; i < n; i++) {
			strip[i] = gemm_view_at(&d->b, (((uint64_t)d->k0 + k + i) * d->ldb + d->n0 +
							first) * f->bits / 8, width);
			whole = whole && strip[i];
		}
		for (uint32_t col = first; col < end; col += f->cols) {
			struct gemm_few_step s = { .k = n, .vectors = f->cols / 16, .rows = rows };
			uint64_t done = (uint64_t)(col - first) * f->bits / 8;

			find_columns(f, strip, first, col, min_u32(f->cols, end - col), k, n, whole,
				     rows, bounce);
			/* Further along these rows, or at the beginning of those that come next. */
			s.ahead = ahead + (done + ahead < width ? 0 : d->ldb * f->step_k * f->bits / 8 - width);
			along_cols_step(f, &s, col, min_u32(f->cols, end - col), k);
		}
	}
	gemm_fpmode_leave(&mode);
}

/* --- all of it -------------------------------------------------------------- */

/* Lanes of A that no kernel wants go. */
static void squeeze(uint32_t *a, size_t units, unsigned int rows)
{
	const uint32_t *from = a;

	if (rows == GEMM_FEW_ROWS)
		return;
	/* Each unit goes to before where it was, or to its place. */
	for (size_t u = 0; u < units; u++, from += GEMM_FEW_ROWS)
		for (unsigned int r = 0; r < rows; r++)
			*a++ = from[r];
}

/* Sums of integers start from what is too much in them: B is taken for bias more than it is. */
static void take_off(struct few *f, size_t units, uint32_t bias)
{
	for (size_t u = 0; u < units; u++)
		for (unsigned int r = 0; r < f->rows; r++) {
			uint32_t word = f->job->a[u * f->rows + r];

			for (unsigned int i = 0; i < 32; i += 8)
				f->start[r] -= bias * (uint32_t)(int8_t)(word >> i);
		}
}

/* The even ones of each eight k, then the odd ones. */
static void part_k(uint32_t *a, size_t units, unsigned int rows)
{
	for (size_t u = 0; u < units; u += 2, a += 2 * rows)
		for (unsigned int r = 0; r < rows; r++) {
			uint64_t both = a[r] | (uint64_t)a[rows + r] << 32, even, odd;

			even = both & 0x00ff00ff00ff00ff;
			odd = both >> 8 & 0x00ff00ff00ff00ff;
			even = (even | even >> 8) & 0x0000ffff0000ffff;
			odd = (odd | odd >> 8) & 0x0000ffff0000ffff;
			a[r] = (uint32_t)(even | even >> 16);
			a[rows + r] = (uint32_t)(odd | odd >> 16);
		}
}

/* Which column of a step has its sum in this place. */
static uint8_t column_of(const struct few *f, uint32_t place)
{
	uint32_t vector = place / 16, lane = place % 16, per = 32 / f->bits;

	if (f->layout == GEMM_FEW_ALONG_K)
		return (uint8_t)place;
	if (f->job->kern->integer) {
		per = 8 / f->bits;
		return (uint8_t)((16 * (lane / 4) + 4 * (vector / per) + lane % 4) * per + vector % per);
	}
	if (f->job->mode == GEMM_F16)
		per = 1;
	return (uint8_t)(16 * per * (vector / per) + lane * per + vector % per);
}

static enum gemm_few_layout layout_of(const struct onpu_gemm_desc *d)
{
	return d->flags & ONPU_GEMM_TRANS_B ? GEMM_FEW_ALONG_K : GEMM_FEW_ALONG_COLS;
}

static gemm_few_fn *find(const struct onpu_gemm_desc *d, const struct gemm_kernel *kern,
			 enum gemm_mode mode)
{
	const struct onpu_gemm_scales *sc = scales_of(d);

	return kern->few->find(layout_of(d), mode, sc, sc && sc->zero.n, d->m);
}

bool gemm_few_can(const struct onpu_gemm_desc *desc, const struct gemm_kernel *kern,
		  enum gemm_mode mode)
{
	return kern->few && desc->m <= GEMM_FEW_ROWS &&
	       (desc->flags & ONPU_GEMM_TRANS_B || desc->n >= GEMM_FEW_COLS) &&
	       desc->k <= A_BYTES / (GEMM_FEW_ROWS * 4) * kern->ku && find(desc, kern, mode);
}

static void choose_sizes(struct few *f)
{
	const struct onpu_gemm_desc *d = f->desc;
	bool integer = f->job->kern->integer;
	uint32_t items = (onpu_pool_threads(f->job->pool) + 1) * ITEMS;

	if (f->layout == GEMM_FEW_ALONG_K) {
		f->cols = f->strip = GEMM_FEW_LANES;
		/* Of 4 bits half as much as there is room for: A is to stay in the cache, too. */
		f->step_k = f->bits == 4 ? WORDS * 4 : !integer && f->job->mode == GEMM_F16 ? WORDS :
			    WORDS * 32 / f->bits;
		return;
	}
	f->cols = integer && f->bits == 8 ? GEMM_FEW_LANES : GEMM_FEW_COLS;
	/* Sums come and go with each step: the more of them there are for what is read of B, the longer it is. */
	f->step_k = f->rows > f->bits / 2 ? ROWS : ROWS_LESS;
	f->strip = f->cols * min_u32(div_up(RUN * 8 / f->bits, f->cols),
				     div_up(div_up(d->n, items), f->cols));
}

int gemm_few_run(const struct gemm_few *job)
{
	const struct onpu_gemm_desc *d = job->desc;
	size_t units = div_up(d->k, job->kern->ku);
	struct few f = {
		.job = job, .desc = d, .fn = find(d, job->kern, job->mode), .layout = layout_of(d),
		.bits = onpu_gemm_elem_bits(d->b_type), .rows = gemm_few_rows(d->m),
	};
	struct onpu_pool *pool = (uint64_t)d->m * d->n <= INLINE_MACS &&
				 (uint64_t)d->m * d->n * d->k <= INLINE_MACS ? NULL : job->pool;
	bool ok;

	choose_sizes(&f);
	for (uint32_t i = 0; i < f.cols; i++)
		f.column[i] = column_of(&f, i);
	squeeze(job->a, units, f.rows);
	if (job->kern->integer)
		take_off(&f, units, f.bits == 4 ? 8 : 128);
	if (job->mode == GEMM_I4 && f.layout == GEMM_FEW_ALONG_K) {
		if (units % 2)
			memset(job->a + units * f.rows, 0, f.rows * sizeof(*job->a));
		part_k(job->a, units, f.rows);
	}
	if (f.layout == GEMM_FEW_ALONG_COLS) {
		f.sums = onpu_pool_scratch_get(job->pool, (size_t)div_up(d->n, f.cols) * f.cols * f.rows * 4);
		if (!f.sums)
			return -ENOMEM;
	}
	ok = onpu_pool_for(pool, div_up(d->n, f.strip),
			   f.layout == GEMM_FEW_ALONG_K ? along_k_item : along_cols_item, &f, job->cancel);
	if (f.sums)
		onpu_pool_scratch_put(job->pool, f.sums);
	return ok && !cancelled(&f) ? 0 : -ECANCELED;
}

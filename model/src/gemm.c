// SPDX-License-Identifier: MIT
/*
 * Matmul: blocking, packing and the distribution over threads. The arithmetic is in the
 * micro kernels (gemm_<isa>.c); the result is defined by Documentation/numerics.md.
 *
 * Idea (as BLIS and GotoBLAS have it): D is cut into macro blocks, k into blocks of at most kc.
 * For each of them one parallel loop packs the operands into slivers, a second one
 * computes tiles of D. Between blocks of k the FP32 sums wait in D itself, so every
 * sum still runs through k in increasing order and is never split: storing and loading an FP32
 * value changes no bit. Hence the result does not depend on blocking, kernel or threads.
 * With a few rows only the second loop is there, over columns: each item packs what it is
 * about to use of B, since all of it is used just once (stream_item), or does not even pack it
 * (gemm_few.c), if the kernel can do that.
 *
 * Rows of an operand are reached through views. A row of a tile that crosses a segment
 * boundary goes through a bounce buffer on the stack; everything else is read and written in place.
 *
 * Locking: none. Items of one parallel loop write disjoint memory; loops are separated by
 * onpu_pool_for() returning. Operands are untrusted memory: no control flow depends on them.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "gemm_convert.h"
#include "gemm_epilogue.h"
#include "gemm_few.h"
#include "gemm_priv.h"
#include "gemm_view.h"
#include "pool.h"

#define ROWS_STEP	256u	/* elements of a row at a time when k is contiguous */
#define BOUNCE_BYTES	(ROWS_STEP * GEMM_LANES_MAX * 4)	/* on the stack of a packing thread */
#define COLS_CHUNK	8u	/* slivers that are packed together when the lanes are contiguous */
#define COLS_MAX	(COLS_CHUNK * GEMM_LANES_MAX + GEMM_CONVERT_GRAIN)
#define COLS_STEP	64u	/* source rows at a time */
#define GROUPS_MAX	(ROWS_STEP * 8 / 32 + 1)	/* of scales in a step of 4-bit elements */
#define FETCH_MAX	512u	/* bytes of a run of elements that are converted */
#define PACK_A_BYTES	((size_t)16 << 20)	/* at most */
#define PACK_B_BYTES	((size_t)16 << 20)
#define SUMS_BYTES	((size_t)16 << 20)	/* that wait for more k, with an epilogue */
#define SLOW		4u		/* log2 by which these are less where a block would take seconds */
#define TILE_ROWS_MAX	512u	/* tile_m * mr of any kernel */
#define INLINE_MACS	(1u << 18)	/* below this a second thread is not worth waking */
#define ITEMS_WANTED	64u	/* of the loop over tiles, for each thread if there are some */
#define STREAM_SLIVERS	2u	/* of A: so few rows do not pay for packing all of B */
#define STREAM_A_BYTES	((size_t)4 << 20)	/* all of A, packed */
#define STREAM_WORDS	(10u << 10)	/* of B, packed, on the stack of a thread: the first-level cache */
#define STREAM_UNITS	256u	/* of k at a time when k is contiguous */
#define STREAM_ROWS	64u	/* of B at a time when it is not */
#define STREAM_ROW_SLIVERS 2u	/* of few rows by k contiguous, at most */
#define STREAM_RUN	4096u	/* bytes of each that an item reads, about */
#define STREAM_AHEAD	512u	/* bytes, at least */
#define STREAM_ITEMS	4u	/* for each thread */
#define CACHE_LINE	64u

static const struct gemm_kernel *const kernels[] = {
	/* Best first. */
#if defined(__x86_64__)
	&gemm_avx512vnni_i8, &gemm_avx512vbmi_f32, &gemm_avx512_f32, &gemm_avxvnni_i8, &gemm_avx2_f32, &gemm_avx2_i8,
	&gemm_sse41_i8,
#endif
	&gemm_scalar_f32, &gemm_scalar_i8,
};

static const char *const isa_names[ONPU_GEMM_ISA_COUNT] = {
	[ONPU_GEMM_ISA_AUTO] = "auto",
	[ONPU_GEMM_ISA_SCALAR] = "scalar",
	[ONPU_GEMM_ISA_SSE41] = "sse41",
	[ONPU_GEMM_ISA_AVX2] = "avx2",
	[ONPU_GEMM_ISA_AVXVNNI] = "avxvnni",
	[ONPU_GEMM_ISA_AVX512] = "avx512",
	[ONPU_GEMM_ISA_AVX512VNNI] = "avx512vnni",
};

/* One packed operand of the current block. Lanes are rows of A or columns of B. */
struct side {
	const struct onpu_view *view;
	const struct onpu_gemm_scales *scales;	/* NULL: none */
	gemm_convert_fn convert;	/* NULL: packing reads the type by itself */
	bool simd;			/* which versions of the conversions */
	uint64_t ld;
	bool k_contiguous;
	bool is_b;
	unsigned int bits;		/* of a stored element */
	unsigned int packed_bits;	/* of an element when it is packed: converted, or not */
	enum gemm_mode mode;
	unsigned int lanes;		/* of a sliver, in memory */
	unsigned int max_lanes;		/* used ones */
	uint64_t ahead;			/* bytes from what is read to what is prefetched, or 0 */
	const uint8_t *const *rows;	/* of the block, from rows_elem on, or NULL; each may be */
	uint64_t rows_elem;
	struct packed_scales *scale_cache;	/* of each sliver of the block, or NULL */
	uint32_t *packed;
	size_t skip;			/* units of a sliver before the block of k */
	size_t stride;			/* units from sliver to sliver */
	uint64_t lane0;			/* the block's first lane in the operand */
	uint32_t count;			/* lanes of the block */
	uint32_t slivers;
	uint32_t per_item;		/* slivers per item of the packing loop */
};

struct gemm {
	const struct onpu_gemm_desc *desc;
	const struct gemm_kernel *kern;
	const atomic_bool *cancel;
	struct onpu_pool *pool;
	struct side a, b;
	uint64_t k0;			/* current block of k, in the operands */
	uint32_t kn;
	size_t units;
	bool first, last;		/* block of k */
	uint32_t items_a;		/* packing loop: items for A, then those for B */
	uint32_t tile_m, tile_n;	/* slivers of A and of B in an item of the loop over tiles */
	uint32_t tiles_m, tiles_n;
	bool by_columns;		/* the order of the items */
	uint32_t strip, chunk, stream_k;	/* columns of an item of a stream, at a time, and k */
	/* With an epilogue: sums of the block, if they have to wait for more k, and of which row on. */
	uint32_t *sums;
	size_t sums_ld;
	uint64_t sums_row;
	bool stopped;			/* desc->stop is filled in */
};

static inline uint32_t div_up(uint32_t a, uint32_t b)
{
	return a / b + (a % b != 0);
}

static inline uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/*
 * First lane (within the block) of a sliver. Columns of B fill slivers up, which suits
 * vectors; rows of A are spread evenly, so that no sliver is nearly empty.
 */
static uint32_t sliver_start(const struct side *s, uint32_t sliver)
{
	if (s->is_b)
		return min_u32(sliver * s->max_lanes, s->count);
	return sliver * (s->count / s->slivers) + min_u32(sliver, s->count % s->slivers);
}

static uint32_t *sliver_data(const struct gemm *g, const struct side *s, uint32_t sliver)
{
	return s->packed + sliver * s->stride + s->skip + (s->is_b ? g->kern->b_head : 0);
}

/* Asks for the len bytes that are distance behind p, which may be no memory at all. */
static inline void prefetch(const uint8_t *p, uint64_t distance, size_t len)
{
	uintptr_t at = ((uintptr_t)p + distance) & ~(uintptr_t)(CACHE_LINE - 1);

	for (; at < (uintptr_t)p + distance + len; at += CACHE_LINE)
		__builtin_prefetch((const void *)at);
}

/*
 * n elements of a stored row from elem on. Converted ones go to dst; others stay where
 * they are unless they cross segments. elem is a multiple of 8 if elements are less than a byte.
 */
static const uint8_t *fetch(const struct side *s, uint64_t row, uint64_t elem, uint32_t n,
			    uint8_t *dst)
{
	uint64_t off = (row * s->ld + elem) * s->bits / 8;
	size_t len = ((size_t)n * s->bits + 7) / 8;
	const uint8_t *src = gemm_view_at(s->view, off, len);
	GEMM_BUFFER uint8_t raw[FETCH_MAX];

	if (s->ahead && src)
		prefetch(src, s->ahead, len);
	if (!s->convert) {
		if (src)
			return src;
		gemm_view_read(s->view, off, dst, len);
		return dst;
	}
	if (!src) {
		gemm_view_read(s->view, off, raw, len);
		src = raw;
	}
	s->convert(dst, src, n);
	return dst;
}

/* The same of a row of the block that has been found already, or NULL. Nothing is prefetched. */
static inline const uint8_t *known_row(const struct side *s, uint32_t row, uint64_t elem)
{
	const uint8_t *p = s->rows ? s->rows[row] : NULL;

	return p ? p + (elem - s->rows_elem) * s->bits / 8 : NULL;
}

/*
 * Asks for what comes behind n elements of known rows [from, end): a share of the rows at a time, since
 * the processor waits when it is asked for too much at once.
 */
static inline void prefetch_rows(const struct side *s, const uint8_t *const *rows, uint32_t from,
				 uint32_t end, uint32_t n)
{
	for (uint32_t r = from; s->rows && r < end; r++)
		prefetch(rows[r], s->ahead, ((size_t)n * s->bits + 7) / 8);
}

/* n scales and, if there are any, zero points from (row, elem) of their matrix. */
static void fetch_scales(const struct onpu_gemm_scales *sc, uint64_t row, uint64_t elem, uint32_t n,
			 float *scales, float *zeros)
{
	GEMM_BUFFER uint8_t raw[FETCH_MAX * 2];
	unsigned int es = sc->type ? 2 : 1;

	gemm_view_read(&sc->view, (row * sc->ld + elem) * es, raw, (size_t)n * es);
	gemm_convert_scales(scales, raw, n, sc->type);
	if (!sc->zero.n)
		return;
	gemm_view_read(&sc->zero, row * sc->ld + elem, raw, n);
	gemm_convert_zeros(zeros, raw, n);
}

/* Scales n elements from k on of one lane. */
static void scale_along_k(const struct side *s, uint64_t lane, uint64_t k, uint32_t n, float *v)
{
	const struct onpu_gemm_scales *sc = s->scales;
	float scales[ROWS_STEP / 32 + 1], zeros[ROWS_STEP / 32 + 1] = { 0 };
	uint32_t group = sc->group, skip = (uint32_t)(k % group), at = 0;

	fetch_scales(sc, lane, k / group, div_up(skip + n, group), scales, zeros);
	for (uint32_t i = 0; at < n; i++) {
		uint32_t run = min_u32(group - skip, n - at);

		gemm_scale_run(v + at, run, scales[i], zeros[i], s->simd);
		at += run;
		skip = 0;
	}
}

/* The scales of some k and the lanes of a sliver, for kernels that scale while they pack. */
struct packed_scales {
	_Alignas(64) uint32_t scale[GROUPS_MAX * GEMM_LANES_MAX];
	_Alignas(64) uint32_t zero[GROUPS_MAX * GEMM_LANES_MAX];
	uint64_t from, end;		/* k of the groups that are there */
	struct gemm_lane_scales lanes;
};

/* They lie as their operand does, so they are packed as it is. */
static void pack_groups(const struct gemm *g, const struct side *s, const struct onpu_view *view,
			enum gemm_mode mode, size_t es, uint64_t lane, uint32_t count,
			uint64_t group, uint32_t groups, uint32_t *dst)
{
	GEMM_BUFFER uint8_t bounce[GEMM_LANES_MAX * GROUPS_MAX * 2];
	const uint8_t *rows[GEMM_LANES_MAX];
	uint64_t row0 = s->k_contiguous ? lane : group, elem = s->k_contiguous ? group : lane;
	uint32_t n = s->k_contiguous ? count : groups;
	size_t len = (s->k_contiguous ? groups : count) * es;

	for (uint32_t r = 0; r < n; r++) {
		uint64_t off = ((row0 + r) * s->scales->ld + elem) * es;

		rows[r] = gemm_view_at(view, off, len);
		if (!rows[r]) {
			gemm_view_read(view, off, bounce + r * len, len);
			rows[r] = bounce + r * len;
		}
	}
	if (s->k_contiguous)
		g->kern->pack_rows(dst, s->lanes, rows, count, groups, mode, NULL);
	else
		g->kern->pack_cols(dst, s->lanes, rows, 0, count, groups, mode, NULL);
}

/* What the packing of k .. k + n - 1 of a sliver gets: NULL if it does not scale. */
static const struct gemm_lane_scales *pack_scales(const struct gemm *g, const struct side *s,
						  uint32_t sliver, uint64_t k, uint32_t n,
						  struct packed_scales *ps)
{
	const struct onpu_gemm_scales *sc = s->scales;
	uint32_t start = sliver_start(s, sliver), count = sliver_start(s, sliver + 1) - start;
	uint32_t groups;

	if (!sc || s->convert)
		return NULL;
	if (s->scale_cache)
		ps = &s->scale_cache[sliver];
	if (!s->scale_cache || k < ps->from || k + n > ps->end) {
		/* With a cache as many as there is room for: the next steps will want them. */
		ps->from = k - k % sc->group;
		ps->end = s->scale_cache ? g->desc->k0 + (uint64_t)g->desc->k : k + n;
		groups = min_u32(div_up((uint32_t)(ps->end - ps->from), sc->group), GROUPS_MAX);
		ps->end = ps->from + (uint64_t)groups * sc->group;
		ps->lanes.scale = (const float *)(const void *)ps->scale;
		ps->lanes.zero = sc->zero.n ? (const float *)(const void *)ps->zero : NULL;
		ps->lanes.shift = (unsigned int)__builtin_ctz(sc->group);
		pack_groups(g, s, &sc->view, !sc->type ? GEMM_UE8M0 :
			    sc->type == ONPU_DTYPE_F16 ? GEMM_F16 : GEMM_BF16, sc->type ? 2 : 1,
			    s->lane0 + start, count, k / sc->group, groups, ps->scale);
		if (sc->zero.n)
			pack_groups(g, s, &sc->zero, GEMM_I8_F32, 1, s->lane0 + start, count,
				    k / sc->group, groups, ps->zero);
	}
	ps->lanes.skip = (uint32_t)(k - ps->from);
	return &ps->lanes;
}

/* Source with k contiguous: one row per lane, a step of k at a time. */
static void pack_sliver_rows(const struct gemm *g, const struct side *s, uint32_t sliver)
{
	GEMM_BUFFER _Alignas(64) uint8_t bounce[BOUNCE_BYTES];
	const uint8_t *rows[GEMM_LANES_MAX];
	uint32_t start = sliver_start(s, sliver);
	uint32_t count = sliver_start(s, sliver + 1) - start;
	uint32_t *dst = sliver_data(g, s, sliver);
	uint32_t step = ROWS_STEP * 32 / s->packed_bits;
	GEMM_BUFFER struct packed_scales ps;

	for (uint32_t k = 0; k < g->kn; k += step) {
		uint32_t n = min_u32(step, g->kn - k);
		uint32_t *to = dst + (size_t)(k / g->kern->ku) * s->lanes;

		for (uint32_t r = 0; r < count; r++) {
			uint64_t lane = s->lane0 + start + r;
			uint8_t *tmp = bounce + (size_t)r * ROWS_STEP * 4;

			rows[r] = known_row(s, start + r, g->k0 + k);
			if (rows[r])
				continue;
			rows[r] = fetch(s, lane, g->k0 + k, n, tmp);
			if (s->scales && s->convert)
				scale_along_k(s, lane, g->k0 + k, n, (float *)(void *)tmp);
		}
		prefetch_rows(s, rows, 0, count / 2, n);
		g->kern->pack_rows(to, s->lanes, rows, count, n, s->mode,
				   pack_scales(g, s, sliver, g->k0 + k, n, &ps));
		prefetch_rows(s, rows, count / 2, count, n);
	}
}

/* The scales of one group for the lanes of some slivers. */
struct lane_scales {
	uint64_t group;			/* index, or UINT64_MAX */
	float scales[COLS_MAX], zeros[COLS_MAX];
};

/* Those of n lanes and the group of k; NULL if there are no zero points. */
static const float *find_scales(const struct side *s, struct lane_scales *ls, uint64_t k,
				uint64_t lane, uint32_t n)
{
	const struct onpu_gemm_scales *sc = s->scales;

	if (ls->group != k / sc->group) {
		ls->group = k / sc->group;
		fetch_scales(sc, ls->group, lane, n, ls->scales, ls->zeros);
	}
	return sc->zero.n ? ls->zeros : NULL;
}

/* Rows [k, k + n) of the source, width elements from lane on. */
static void fetch_rows(const struct gemm *g, const struct side *s, struct lane_scales *ls, uint32_t k,
		       uint32_t n, uint64_t lane, uint32_t width, const uint8_t **rows,
		       uint8_t *bounce)
{
	for (uint32_t r = 0; r < n; r++) {
		uint8_t *tmp = bounce + (size_t)r * COLS_MAX * 4;
		const float *zeros;

		rows[r] = known_row(s, k + r, lane);
		if (rows[r])
			continue;
		rows[r] = fetch(s, g->k0 + k + r, lane, width, tmp);
		if (s->scales && s->convert) {
			zeros = find_scales(s, ls, g->k0 + k + r, lane, width);
			gemm_scale_lanes((float *)(void *)tmp, 1, 0, width, ls->scales, zeros,
					 s->simd);
		}
	}
}

/* Source with the lanes contiguous: slivers [first, end) together, some source rows at a time. */
static void pack_slivers_cols(const struct gemm *g, const struct side *s, uint32_t first,
			      uint32_t end)
{
	GEMM_BUFFER _Alignas(64) uint8_t bounce[COLS_STEP * COLS_MAX * 4];
	const uint8_t *rows[COLS_STEP];
	GEMM_BUFFER struct lane_scales ls;
	GEMM_BUFFER struct packed_scales ps;
	uint32_t start = sliver_start(s, first);
	uint64_t lane = s->lane0 + start;
	/* Elements of less than a byte are converted from a whole one on. */
	uint32_t lead = s->bits < 8 ? (uint32_t)(lane % GEMM_CONVERT_GRAIN) : 0;
	uint32_t width = lead + sliver_start(s, end) - start;

	ls.group = UINT64_MAX;
	for (uint32_t k = 0; k < g->kn; k += COLS_STEP) {
		uint32_t n = min_u32(COLS_STEP, g->kn - k);

		fetch_rows(g, s, &ls, k, n, lane - lead, width, rows, bounce);
		for (uint32_t i = first; i < end; i++) {
			uint32_t at = sliver_start(s, i), count = sliver_start(s, i + 1) - at;

			prefetch_rows(s, rows, n * (i - first) / (end - first),
				      n * (i + 1 - first) / (end - first), width);
			g->kern->pack_cols(sliver_data(g, s, i) +
					   (size_t)(k / g->kern->ku) * s->lanes, s->lanes, rows,
					   (size_t)(at - start + lead) * s->packed_bits / 8,
					   count, n, s->mode,
					   pack_scales(g, s, i, g->k0 + k, n, &ps));
		}
	}
}

static void pack_item(void *arg, size_t index)
{
	const struct gemm *g = arg;
	bool is_b = index >= g->items_a;
	const struct side *s = is_b ? &g->b : &g->a;
	uint32_t first = (uint32_t)(index - (is_b ? g->items_a : 0)) * s->per_item;
	uint32_t end = min_u32(first + s->per_item, s->slivers);
	gemm_fpmode_t mode;

	gemm_fpmode_enter(&mode);
	if (s->k_contiguous) {
		for (uint32_t i = first; i < end; i++)
			pack_sliver_rows(g, s, i);
	} else {
		pack_slivers_cols(g, s, first, end);
	}
	if (is_b && g->kern->finish_b)
		for (uint32_t i = first; i < end; i++)
			g->kern->finish_b(s->packed + i * s->stride, g->units);
	gemm_fpmode_leave(&mode);
}

/* Where the rows of a tile of D are, and of what its sums start from. */
struct tile_rows {
	const struct onpu_view *in;	/* C, D, or NULL: zero */
	uint64_t ld_in;
	uint64_t row0, col0;
	uint32_t *out_row[TILE_ROWS_MAX];	/* NULL: crosses segments */
	const uint32_t *in_row[TILE_ROWS_MAX];
};

static void find_rows(const struct gemm *g, struct tile_rows *t, uint32_t rows, uint32_t cols)
{
	const struct onpu_gemm_desc *d = g->desc;

	if (!g->first) {
		t->in = &d->d;
		t->ld_in = d->ldd;
	} else {
		t->in = d->flags & ONPU_GEMM_ACCUMULATE ? &d->c : NULL;
		t->ld_in = d->ldc;
	}
	for (uint32_t r = 0; r < rows; r++) {
		uint64_t out = ((t->row0 + r) * d->ldd + t->col0) * 4;
		uint64_t in = ((t->row0 + r) * t->ld_in + t->col0) * 4;

		t->out_row[r] = (uint32_t *)(void *)gemm_view_at(&d->d, out, (uint64_t)cols * 4);
		t->in_row[r] = NULL;
		if (t->in == &d->d)
			t->in_row[r] = t->out_row[r];
		else if (t->in)
			t->in_row[r] = (const uint32_t *)(const void *)
				       gemm_view_at(t->in, in, (uint64_t)cols * 4);
		if (t->in && !t->in_row[r])
			t->out_row[r] = NULL;
	}
}

/* A micro tile with a row that crosses segments, through a copy. */
static void bounced_tile(const struct gemm *g, const struct tile_rows *t, uint32_t row,
			 uint32_t rows, uint32_t col, uint32_t cols, const uint32_t *a,
			 const uint32_t *b)
{
	uint32_t buf[GEMM_MR_MAX][GEMM_LANES_MAX];
	uint32_t *ptr[GEMM_MR_MAX];
	const uint32_t *cptr[GEMM_MR_MAX];

	for (uint32_t r = 0; r < rows; r++) {
		ptr[r] = buf[r];
		cptr[r] = buf[r];
		if (t->in)
			gemm_view_read(t->in, ((t->row0 + row + r) * t->ld_in + t->col0 + col) * 4,
				       buf[r], (size_t)cols * 4);
	}
	g->kern->tile(rows, cols, g->units, a, b, t->in ? cptr : NULL, ptr, 0, g->last);
	for (uint32_t r = 0; r < rows; r++)
		gemm_view_write(&g->desc->d,
				((t->row0 + row + r) * g->desc->ldd + t->col0 + col) * 4,
				buf[r], (size_t)cols * 4);
}

static bool all_direct(const struct tile_rows *t, uint32_t row, uint32_t rows)
{
	for (uint32_t r = 0; r < rows; r++)
		if (!t->out_row[row + r])
			return false;
	return true;
}

/* Slivers of B that are multiplied together, from js on. */
static uint32_t slivers_at(const struct gemm *g, uint32_t rows, uint32_t js, uint32_t end)
{
	return rows <= g->kern->few_rows ? min_u32(GEMM_FEW_SLIVERS, end - js) : 1;
}

/* A tile of n slivers of B. */
static void run_tile(const struct gemm *g, uint32_t rows, uint32_t cols, uint32_t n,
		     const uint32_t *a, const uint32_t *b, const uint32_t *const *cin,
		     uint32_t *const *dout, uint32_t col, bool last)
{
	if (n > 1)
		g->kern->tile_few(rows, cols, g->units, a, b, g->b.stride, cin, dout, col, last);
	else
		g->kern->tile(rows, cols, g->units, a, b, cin, dout, col, last);
}

/*
 * The first slivers of an item. Those that follow each other share slivers of A; several threads, whose
 * items have fewer of those, share slivers of B.
 */
static uint32_t item_row(const struct gemm *g, size_t index)
{
	return (uint32_t)(g->by_columns ? index % g->tiles_m : index / g->tiles_n) * g->tile_m;
}

static uint32_t item_column(const struct gemm *g, size_t index)
{
	return (uint32_t)(g->by_columns ? index / g->tiles_m : index % g->tiles_n) * g->tile_n;
}

static void tile_item(void *arg, size_t index)
{
	const struct gemm *g = arg;
	uint32_t is0 = item_row(g, index), is1 = min_u32(is0 + g->tile_m, g->a.slivers);
	uint32_t js0 = item_column(g, index), js1 = min_u32(js0 + g->tile_n, g->b.slivers);
	uint32_t i0 = sliver_start(&g->a, is0), j0 = sliver_start(&g->b, js0);
	GEMM_BUFFER struct tile_rows t;
	gemm_fpmode_t mode;

	t.row0 = g->a.lane0 + i0;
	t.col0 = g->b.lane0 + j0;
	find_rows(g, &t, sliver_start(&g->a, is1) - i0, sliver_start(&g->b, js1) - j0);

	gemm_fpmode_enter(&mode);
	for (uint32_t is = is0; is < is1; is++) {
		const uint32_t *a = sliver_data(g, &g->a, is);
		uint32_t row = sliver_start(&g->a, is) - i0;
		uint32_t rows = sliver_start(&g->a, is + 1) - i0 - row;
		bool direct = all_direct(&t, row, rows);

		for (uint32_t js = js0, few; js < js1; js += few) {
			const uint32_t *b = g->b.packed + js * g->b.stride;
			uint32_t col = sliver_start(&g->b, js) - j0, cols;

			few = direct ? slivers_at(g, rows, js, js1) : 1;
			cols = sliver_start(&g->b, js + few) - j0 - col;
			if (direct)
				run_tile(g, rows, cols, few, a, b, t.in ? t.in_row + row : NULL,
					 t.out_row + row, col, g->last);
			else
				bounced_tile(g, &t, row, rows, col, cols, a, b);
		}
	}
	gemm_fpmode_leave(&mode);
}

/* Pointers to the rows of a micro tile in a matrix of words. */
static void point_rows(uint32_t **ptr, uint32_t *base, size_t ld, uint32_t rows)
{
	for (uint32_t r = 0; r < rows; r++)
		ptr[r] = base + r * ld;
}

/* What a micro tile starts from when its sums do not go to D: NULL, or rows that ptr names. */
static const uint32_t *const *panel_start(const struct gemm *g, uint32_t **panel, uint64_t row,
					  uint32_t rows, uint64_t col0, uint32_t col, uint32_t cols,
					  uint32_t **sums)
{
	const struct onpu_gemm_desc *d = g->desc;

	if (!g->first)
		return (const uint32_t *const *)sums;
	if (!(d->flags & ONPU_GEMM_ACCUMULATE))
		return NULL;
	for (uint32_t r = 0; r < rows; r++)
		gemm_view_read(&d->c, ((row + r) * d->ldc + col0 + col) * 4, panel[r] + col,
			       (size_t)cols * 4);
	return (const uint32_t *const *)panel;
}

/* tile_item() with an epilogue: sums wait in g->sums, and go by way of a panel at last. */
static void panel_item(void *arg, size_t index)
{
	const struct gemm *g = arg;
	const struct gemm_kernel *kern = g->kern;
	GEMM_BUFFER _Alignas(64) uint32_t buf[GEMM_MR_MAX * GEMM_PANEL_COLS];
	uint32_t *panel[GEMM_MR_MAX], *sums[GEMM_MR_MAX];
	uint32_t is0 = item_row(g, index), is1 = min_u32(is0 + g->tile_m, g->a.slivers);
	uint32_t js0 = item_column(g, index), js1 = min_u32(js0 + g->tile_n, g->b.slivers);
	uint32_t j0 = sliver_start(&g->b, js0), n = sliver_start(&g->b, js1) - j0;
	bool simd = kern->isa >= ONPU_GEMM_ISA_AVX2;
	GEMM_BUFFER struct gemm_epilogue_cols cols_data;
	gemm_fpmode_t mode;

	gemm_fpmode_enter(&mode);
	if (g->last)
		gemm_epilogue_cols(g->desc->epilogue, g->b.lane0 + j0, n, &cols_data);
	point_rows(panel, buf, GEMM_PANEL_COLS, GEMM_MR_MAX);
	for (uint32_t is = is0; is < is1; is++) {
		uint32_t row = sliver_start(&g->a, is), rows = sliver_start(&g->a, is + 1) - row;

		if (g->sums)
			point_rows(sums, g->sums + (g->a.lane0 - g->sums_row + row) * g->sums_ld + j0,
				   g->sums_ld, rows);
		for (uint32_t js = js0, few; js < js1; js += few) {
			uint32_t col = sliver_start(&g->b, js) - j0, cols;

			few = slivers_at(g, rows, js, js1);
			cols = sliver_start(&g->b, js + few) - j0 - col;
			run_tile(g, rows, cols, few, sliver_data(g, &g->a, is),
				 g->b.packed + js * g->b.stride,
				 panel_start(g, panel, g->a.lane0 + row, rows, g->b.lane0 + j0,
					     col, cols, sums),
				 g->last ? panel : sums, col, false);
		}
		for (uint32_t r = 0; g->last && r < rows; r++)
			gemm_epilogue_row(g->desc, &cols_data, kern->integer, simd,
					  g->a.lane0 + row + r, g->b.lane0 + j0, n, panel[r]);
	}
	gemm_fpmode_leave(&mode);
}

static void set_block(struct side *s, uint64_t lane0, uint32_t count)
{
	s->lane0 = lane0;
	s->count = count;
	s->slivers = div_up(count, s->max_lanes);
	s->per_item = s->k_contiguous ? 1 : COLS_CHUNK;
}

/* Those that may take part: the caller is one of them, or comes to them. */
static uint32_t threads_of(const struct gemm *g)
{
	return onpu_pool_threads(g->pool) + !onpu_pool_on_worker(g->pool);
}

/* Items for some threads, so that none of them waits long for the last item of another. */
static void share_packing(const struct gemm *g, struct side *s)
{
	uint32_t threads = threads_of(g);

	if (threads > 1 && !s->k_contiguous)
		s->per_item = min_u32(s->per_item, div_up(s->slivers, threads * 4));
}

static void choose_tiles(struct gemm *g)
{
	const struct gemm_kernel *kern = g->kern;
	uint32_t threads = threads_of(g), want = threads > 1 ? threads * ITEMS_WANTED : 1;

	g->tile_n = min_u32(kern->tile_n, g->b.slivers);
	g->tiles_n = div_up(g->b.slivers, g->tile_n);
	g->tiles_m = min_u32(g->a.slivers, div_up(want, g->tiles_n));
	g->tile_m = min_u32(kern->tile_m, div_up(g->a.slivers, g->tiles_m));
	g->tiles_m = div_up(g->a.slivers, g->tile_m);
	g->by_columns = threads > 1;
}

static bool run_block(struct gemm *g, bool pack_b)
{
	uint32_t items_b;

	share_packing(g, &g->a);
	share_packing(g, &g->b);
	items_b = pack_b ? div_up(g->b.slivers, g->b.per_item) : 0;
	g->items_a = div_up(g->a.slivers, g->a.per_item);
	if (!onpu_pool_for(g->pool, (size_t)g->items_a + items_b, pack_item, g, g->cancel))
		return false;
	choose_tiles(g);
	return onpu_pool_for(g->pool, (size_t)g->tiles_m * g->tiles_n,
			     g->desc->epilogue ? panel_item : tile_item, g, g->cancel);
}

/* So many slivers per block at most, then evened out over the blocks. */
static uint32_t block_lanes(const struct side *s, uint32_t total, size_t fit)
{
	uint32_t lanes, blocks;

	if (fit == 0)
		fit = 1;
	if (fit > UINT32_MAX / GEMM_LANES_MAX)
		fit = UINT32_MAX / GEMM_LANES_MAX;
	lanes = (uint32_t)fit * s->max_lanes;
	if (lanes >= total)
		return total;
	blocks = div_up(total, lanes);
	return min_u32(div_up(div_up(total, blocks), s->max_lanes) * s->max_lanes, lanes);
}

/*
 * Slivers of A that are packed at a time: a row of tiles, which are still in the second-level cache when
 * they are multiplied. Several threads meet after each loop, so they get more, and so does everybody where
 * there is little to do with a sliver.
 */
static size_t slivers_together(const struct gemm *g, uint32_t cols)
{
	const struct gemm_kernel *kern = g->kern;
	size_t words = (size_t)kern->tile_m * kern->a_lanes * (kern->kc / kern->ku);
	uint32_t tiles = div_up(cols, kern->nr);
	size_t most = PACK_A_BYTES / (g->a.stride * 4);
	size_t fit = words / g->a.stride * threads_of(g) * (tiles < kern->tile_n ? kern->tile_n / tiles : 1);

	return fit < most ? fit : most;
}

static void set_k(struct gemm *g, uint32_t k, uint32_t kstep)
{
	g->k0 = (uint64_t)g->desc->k0 + k;
	g->kn = min_u32(kstep, g->desc->k - k);
	g->units = div_up(g->kn, g->kern->ku);
	g->first = k == 0;
	g->last = k + g->kn == g->desc->k;
}

static bool told_to_stop(const struct gemm *g)
{
	const struct onpu_gemm_stop *stop = g->desc->stop;

	return stop && (atomic_load_explicit(stop->flag, memory_order_relaxed) ||
			(stop->make_way && onpu_pool_tasks(g->pool)));
}

/* Rows [0, m) of the block of columns have come to k + kn, the others to k: whether to stop here. */
static bool stop_here(struct gemm *g, uint32_t k, uint32_t m, uint32_t kn)
{
	const struct onpu_gemm_desc *d = g->desc;
	struct onpu_gemm_stop *stop = d->stop;
	uint32_t n = (uint32_t)(g->b.lane0 - d->n0), part_n = g->b.count;

	if (!told_to_stop(g) || (stop->one_panel && part_n != d->n) || (stop->one_k && kn != d->k))
		return false;
	if (m == d->m) {
		k += kn;
		m = kn = 0;
	}
	if (k == d->k) {
		n += part_n;
		k = part_n = 0;
	}
	if (n == d->n)
		return false;
	stop->n = n;
	stop->part_n = part_n;
	stop->k = k;
	stop->part_m = m;
	stop->part_k = kn;
	g->stopped = true;
	return true;
}

/* A block of columns with sums that wait in D, or do not wait: B is packed once. */
static bool run_columns(struct gemm *g, uint32_t kstep, uint32_t mb)
{
	const struct onpu_gemm_desc *d = g->desc;
	bool ok = true;

	for (uint64_t k = 0; ok && k < d->k; k += kstep) {
		set_k(g, (uint32_t)k, kstep);
		for (uint64_t i = 0; ok && i < d->m; i += mb) {
			set_block(&g->a, d->m0 + i, min_u32(mb, d->m - (uint32_t)i));
			ok = run_block(g, i == 0) &&
			     !stop_here(g, (uint32_t)k, (uint32_t)i + g->a.count, g->kn);
		}
	}
	return ok;
}

/* The same of rows [first, end), all of k, with sums that wait in g->sums. */
static bool run_waiting_rows(struct gemm *g, uint32_t kstep, uint32_t mb, uint64_t first, uint64_t end)
{
	const struct onpu_gemm_desc *d = g->desc;
	bool ok = true;

	g->sums_row = d->m0 + first;
	for (uint64_t k = 0; ok && k < d->k; k += kstep) {
		set_k(g, (uint32_t)k, kstep);
		for (uint64_t i = first; ok && i < end; i += mb) {
			set_block(&g->a, d->m0 + i, min_u32(mb, (uint32_t)(end - i)));
			ok = run_block(g, i == first);
		}
	}
	return ok;
}

/* A block of columns with sums that wait in g->sums, which has so many rows. */
static bool run_rows(struct gemm *g, uint32_t kstep, uint32_t mb, uint32_t rows)
{
	const struct onpu_gemm_desc *d = g->desc;
	bool ok = true;

	for (uint64_t i = 0; ok && i < d->m; i += rows) {
		uint64_t end = i + min_u32(rows, d->m - (uint32_t)i);

		/* Sums that are not complete would be lost. */
		ok = run_waiting_rows(g, kstep, mb, i, end) && !stop_here(g, 0, (uint32_t)end, d->k);
	}
	return ok;
}

static bool cancelled(const struct gemm *g)
{
	return g->cancel && atomic_load_explicit(g->cancel, memory_order_acquire);
}

/* Where count rows of B are, width elements from elem on; NULL for those that cross segments. */
static void find_stream_rows(struct side *b, uint64_t row, uint32_t count, uint64_t elem,
			     uint32_t width, const uint8_t **rows)
{
	b->rows_elem = elem - elem % GEMM_CONVERT_GRAIN;
	width += (uint32_t)(elem - b->rows_elem);
	for (uint32_t r = 0; r < count; r++)
		rows[r] = gemm_view_at(b->view, ((row + r) * b->ld + b->rows_elem) * b->bits / 8,
				       ((uint64_t)width * b->bits + 7) / 8);
	b->rows = rows;
}

/*
 * How far from what is read of B that is which will be read a little later: further along its
 * rows, or at the beginning of those that come next.
 */
static uint64_t look_ahead(const struct gemm *g, uint32_t k, uint32_t at, uint32_t width)
{
	const struct side *b = &g->b;
	uint32_t rows = b->k_contiguous ? g->chunk : g->stream_k;
	uint64_t pos = b->k_contiguous ? k : at, end = b->k_contiguous ? g->desc->k : width;

	if (pos + b->ahead * 8 / b->bits < end)
		return b->ahead;
	return b->ahead + (rows * b->ld - end) * b->bits / 8;
}

/*
 * A few rows by many columns: what counts is how fast B comes from memory, once. Nobody packs all
 * of it; each item has some columns, for all of k, and packs a bit of them at a time, to where
 * the first-level cache keeps it.
 */
static void stream_item(void *arg, size_t index)
{
	const struct gemm *all = arg;
	GEMM_BUFFER _Alignas(CACHE_LINE) uint32_t packed[STREAM_WORDS];
	GEMM_BUFFER struct packed_scales scales[STREAM_ROW_SLIVERS];
	const uint8_t *rows[STREAM_ROWS];
	uint32_t start = (uint32_t)index * all->strip;
	uint32_t width = min_u32(all->strip, all->b.count - start);
	struct gemm g = *all;

	g.b.packed = packed;
	g.items_a = 0;
	g.tile_m = all->kern->tile_m;
	g.tile_n = all->kern->tile_n;
	g.tiles_n = 1;
	if (g.b.k_contiguous && !g.b.convert) {
		find_stream_rows(&g.b, all->b.lane0 + start, width, g.desc->k0, g.desc->k, rows);
		for (uint32_t i = 0; i < STREAM_ROW_SLIVERS; i++)
			scales[i].end = 0;
		g.b.scale_cache = scales;
	}
	for (uint64_t k = 0; k < g.desc->k && !cancelled(&g); k += all->stream_k) {
		set_k(&g, (uint32_t)k, all->stream_k);
		g.a.skip = (size_t)(k / g.kern->ku) * g.a.lanes;
		if (!g.b.k_contiguous && !g.b.convert)
			find_stream_rows(&g.b, g.k0, g.kn, all->b.lane0 + start, width, rows);
		for (uint32_t at = 0; at < width; at += all->chunk) {
			set_block(&g.b, all->b.lane0 + start + at, min_u32(all->chunk, width - at));
			g.b.ahead = look_ahead(all, (uint32_t)k, at, width);
			if (g.sums)
				g.sums = all->sums + start + at;
			for (uint32_t i = 0; i < div_up(g.b.slivers, g.b.per_item); i++)
				pack_item(&g, i);
			(g.desc->epilogue ? panel_item : tile_item)(&g, 0);
		}
	}
}

/*
 * What an item has, and packs at a time. Rows of B that k runs along go on behind each other: a
 * sliver, and much of k. Where columns run along the rows, those are read side by side, as
 * many as caches and page tables can follow, each of them as far as the item goes.
 */
static void choose_strip(struct gemm *g)
{
	const struct gemm_kernel *kern = g->kern;
	uint32_t items = (onpu_pool_threads(g->pool) + 1) * STREAM_ITEMS, slivers = 1;
	uint32_t units = STREAM_ROWS / kern->ku;

	if (g->b.k_contiguous) {
		slivers = g->desc->m <= kern->few_rows ? STREAM_ROW_SLIVERS : 1;
		units = STREAM_UNITS / slivers;
	}
	g->stream_k = units * kern->ku;
	g->b.stride = (kern->b_head + units * kern->nr + 15) & ~15u;	/* cache lines */
	if (g->b.k_contiguous) {
		g->b.ahead = (uint64_t)g->stream_k * g->b.bits / 8;
	} else {
		slivers = min_u32(kern->tile_n, STREAM_WORDS / (uint32_t)g->b.stride);
		g->b.ahead = (uint64_t)slivers * kern->nr * g->b.bits / 8;
	}
	if (g->b.ahead < STREAM_AHEAD)
		g->b.ahead = STREAM_AHEAD;
	g->chunk = g->strip = slivers * kern->nr;
	if (!g->b.k_contiguous)
		g->strip *= min_u32(div_up(STREAM_RUN * 8 / g->b.bits, g->chunk),
				    div_up(div_up(g->desc->n, items), g->chunk));
}

static bool worth_streaming(const struct gemm *g)
{
	uint32_t slivers = div_up(g->desc->m, g->kern->mr);

	return slivers <= STREAM_SLIVERS &&
	       (uint64_t)slivers * g->desc->k * g->kern->a_lanes * 4 / g->kern->ku <= STREAM_A_BYTES;
}

static int run_stream(struct gemm *g)
{
	const struct onpu_gemm_desc *d = g->desc;
	const struct gemm_kernel *kern = g->kern;
	size_t a_bytes, sums_bytes = 0;
	uint8_t *scratch;
	bool ok;

	choose_strip(g);
	set_k(g, 0, d->k);
	g->a.stride = (g->units * kern->a_lanes + 15) & ~(size_t)15;
	set_block(&g->a, d->m0, d->m);
	set_block(&g->b, d->n0, d->n);
	a_bytes = g->a.slivers * g->a.stride * 4;
	if (d->epilogue && g->stream_k < d->k) {
		g->sums_ld = (d->n + 15u) & ~15u;
		sums_bytes = g->sums_ld * d->m * 4;
	}
	scratch = onpu_pool_scratch_get(g->pool, a_bytes + sums_bytes);
	if (!scratch)
		return -ENOMEM;
	g->a.packed = (uint32_t *)(void *)scratch;
	if (sums_bytes)
		g->sums = (uint32_t *)(void *)(scratch + a_bytes);
	g->items_a = div_up(g->a.slivers, g->a.per_item);
	ok = onpu_pool_for(g->pool, g->items_a, pack_item, g, g->cancel) &&
	     onpu_pool_for(g->pool, div_up(d->n, g->strip), stream_item, g, g->cancel);
	onpu_pool_scratch_put(g->pool, scratch);
	return ok && !cancelled(g) ? 0 : -ECANCELED;
}

/* A few rows, by kernels that need no packed B. */
static int run_few(struct gemm *g)
{
	const struct onpu_gemm_desc *d = g->desc;
	struct gemm_few few = {
		.desc = d, .kern = g->kern, .pool = g->pool, .cancel = g->cancel, .mode = g->b.mode,
	};
	int ret;

	g->a.max_lanes = GEMM_FEW_ROWS;
	if (g->a.mode == GEMM_I8_BIASED)
		g->a.mode = GEMM_I8;
	set_k(g, 0, d->k);
	set_block(&g->a, d->m0, d->m);
	g->items_a = 1;
	/* A unit more: of integers they are taken in pairs. */
	few.a = onpu_pool_scratch_get(g->pool, (g->units + 1) * g->a.lanes * sizeof(*few.a));
	if (!few.a)
		return -ENOMEM;
	g->a.packed = few.a;
	pack_item(g, 0);
	ret = gemm_few_run(&few);
	onpu_pool_scratch_put(g->pool, few.a);
	return ret;
}

static unsigned int slow_by(const struct gemm_kernel *kern)
{
	return kern->isa < ONPU_GEMM_ISA_AVX2 ? SLOW : 0;
}

static int run(struct gemm *g)
{
	const struct onpu_gemm_desc *d = g->desc;
	const struct gemm_kernel *kern = g->kern;
	uint32_t grain = 16u * kern->ku;
	uint32_t kstep = div_up(d->k, div_up(d->k, kern->kc));
	unsigned int slow = slow_by(kern);
	uint32_t mb, nb, rows = 0;
	size_t a_bytes, b_bytes, sums_bytes = 0, max_units;
	uint8_t *scratch;
	struct onpu_pool *pool = g->pool;
	bool ok = true;

	kstep = div_up(kstep, grain) * grain;
	max_units = div_up(min_u32(kstep, d->k), kern->ku);
	/* Slivers start at cache lines. */
	g->a.stride = (max_units * kern->a_lanes + 15) & ~(size_t)15;
	g->b.stride = (kern->b_head + max_units * kern->nr + 15) & ~(size_t)15;
	nb = block_lanes(&g->b, d->n, (PACK_B_BYTES >> slow) / (g->b.stride * 4));
	mb = block_lanes(&g->a, d->m, slivers_together(g, nb));
	a_bytes = div_up(mb, kern->mr) * g->a.stride * 4;
	b_bytes = div_up(nb, kern->nr) * g->b.stride * 4;

	if (d->epilogue && kstep < d->k) {
		g->sums_ld = (nb + 15u) & ~15u;
		rows = min_u32(d->m, div_up((SUMS_BYTES >> slow) / (g->sums_ld * 4), mb) * mb);
		sums_bytes = g->sums_ld * rows * 4;
	}

	scratch = onpu_pool_scratch_get(pool, a_bytes + b_bytes + sums_bytes);
	if (!scratch)
		return -ENOMEM;
	if ((uint64_t)d->m * d->n <= INLINE_MACS && (uint64_t)d->m * d->n * d->k <= INLINE_MACS)
		g->pool = NULL;
	g->b.packed = (uint32_t *)(void *)scratch;
	g->a.packed = (uint32_t *)(void *)(scratch + b_bytes);
	if (sums_bytes)
		g->sums = (uint32_t *)(void *)(scratch + b_bytes + a_bytes);

	for (uint64_t j = 0; ok && j < d->n; j += nb) {
		set_block(&g->b, d->n0 + j, min_u32(nb, d->n - (uint32_t)j));
		ok = g->sums ? run_rows(g, kstep, mb, rows) : run_columns(g, kstep, mb);
	}
	onpu_pool_scratch_put(pool, scratch);
	return ok ? 0 : g->stopped ? -EINTR : -ECANCELED;
}

unsigned int onpu_gemm_elem_bits(uint32_t dtype)
{
	static const uint8_t bits[] = {
		[ONPU_DTYPE_F32] = 32, [ONPU_DTYPE_BF16] = 16, [ONPU_DTYPE_F16] = 16,
		[ONPU_DTYPE_I8] = 8, [ONPU_DTYPE_I32] = 32, [ONPU_DTYPE_E4M3] = 8,
		[ONPU_DTYPE_E5M2] = 8, [ONPU_DTYPE_I4] = 4, [ONPU_DTYPE_MX_E4M3] = 8,
		[ONPU_DTYPE_MX_E5M2] = 8, [ONPU_DTYPE_MX_E2M3] = 6, [ONPU_DTYPE_MX_E3M2] = 6,
		[ONPU_DTYPE_MX_E2M1] = 4,
	};

	return dtype < sizeof(bits) ? bits[dtype] : 0;
}

bool onpu_gemm_is_mx(uint32_t dtype)
{
	return dtype >= ONPU_DTYPE_MX_E4M3 && dtype <= ONPU_DTYPE_MX_E2M1;
}

static bool is_integer(uint32_t dtype)
{
	return dtype == ONPU_DTYPE_I8 || dtype == ONPU_DTYPE_I4;
}

static bool is_input(uint32_t dtype)
{
	return onpu_gemm_elem_bits(dtype) && dtype != ONPU_DTYPE_I32;
}

uint32_t onpu_gemm_sum_type(uint32_t a_type, uint32_t b_type, uint32_t b_group)
{
	if (!is_input(a_type) || !is_input(b_type))
		return 0;
	if (b_group)
		return is_integer(b_type) && (a_type == ONPU_DTYPE_BF16 || a_type == ONPU_DTYPE_F16) &&
		       (b_group == 32 || b_group == 64 || b_group == 128) ? ONPU_DTYPE_F32 : 0;
	if (is_integer(a_type) != is_integer(b_type))
		return 0;
	return is_integer(a_type) ? ONPU_DTYPE_I32 : ONPU_DTYPE_F32;
}

bool onpu_gemm_span(uint64_t rows, uint64_t cols, uint64_t ld, unsigned int elem_bits,
		    uint64_t *bytes)
{
	uint64_t n, row, last;

	if (rows == 0 || cols == 0 || ld < cols)
		return false;
	if (__builtin_mul_overflow(ld, elem_bits, &row) || row % 8 ||
	    __builtin_mul_overflow(rows - 1, row / 8, &n) ||
	    __builtin_mul_overflow(cols, elem_bits, &last))
		return false;
	return !__builtin_add_overflow(n, last / 8 + (last % 8 != 0), bytes);
}

static bool operand_ok(const struct onpu_view *view, uint64_t rows, uint64_t cols, uint64_t ld,
		       unsigned int bits)
{
	uint64_t bytes;

	return onpu_gemm_span(rows, cols, ld, bits, &bytes) && gemm_view_valid(view, bytes);
}

/* lanes x k elements, stored with k in rows or in columns, and their scales. */
static bool input_ok(const struct onpu_view *view, uint32_t dtype, uint64_t ld, bool k_rows,
		     uint64_t lanes, uint64_t k, const struct onpu_gemm_scales *sc)
{
	uint64_t groups;

	if (!operand_ok(view, k_rows ? k : lanes, k_rows ? lanes : k, ld, onpu_gemm_elem_bits(dtype)))
		return false;
	if (onpu_gemm_is_mx(dtype) ? sc->group != ONPU_MX_GROUP || sc->type || sc->zero.n :
	    sc->group && sc->type != ONPU_DTYPE_F16 && sc->type != ONPU_DTYPE_BF16)
		return false;
	if (!sc->group)
		return true;
	groups = (k + sc->group - 1) / sc->group;
	return operand_ok(&sc->view, k_rows ? groups : lanes, k_rows ? lanes : groups, sc->ld,
			  sc->type ? 16 : 8) &&
	       (!sc->zero.n || operand_ok(&sc->zero, k_rows ? groups : lanes,
					  k_rows ? lanes : groups, sc->ld, 8));
}

static bool desc_ok(const struct onpu_gemm_desc *d)
{
	const uint32_t flags = ONPU_GEMM_TRANS_A | ONPU_GEMM_TRANS_B | ONPU_GEMM_ACCUMULATE;
	bool ta = d->flags & ONPU_GEMM_TRANS_A, tb = d->flags & ONPU_GEMM_TRANS_B;
	uint32_t group = onpu_gemm_is_mx(d->b_type) ? 0 : d->b_scales.group;
	uint64_t m = (uint64_t)d->m0 + d->m, n = (uint64_t)d->n0 + d->n, k = (uint64_t)d->k0 + d->k;

	return onpu_gemm_sum_type(d->a_type, d->b_type, group) && (d->flags & ~flags) == 0 &&
	       (onpu_gemm_is_mx(d->a_type) || !d->a_scales.group) &&
	       d->isa < ONPU_GEMM_ISA_COUNT && d->m && d->n && d->k && d->k0 % 16 == 0 &&
	       input_ok(&d->a, d->a_type, d->lda, ta, m, k, &d->a_scales) &&
	       input_ok(&d->b, d->b_type, d->ldb, !tb, n, k, &d->b_scales) &&
	       (!d->epilogue || gemm_epilogue_valid(d)) &&
	       operand_ok(&d->d, m, n, d->ldd,
			  d->epilogue ? onpu_gemm_elem_bits(d->epilogue->d_type) : 32) &&
	       (!(d->flags & ONPU_GEMM_ACCUMULATE) || operand_ok(&d->c, m, n, d->ldc, 32));
}

static enum onpu_gemm_isa env_isa = ONPU_GEMM_ISA_COUNT - 1;

static void read_env(void)
{
	const char *s = getenv("ONPU_GEMM_ISA");

	for (int i = 1; s && i < ONPU_GEMM_ISA_COUNT; i++)
		if (strcmp(s, isa_names[i]) == 0)
			env_isa = (enum onpu_gemm_isa)i;
}

static const struct gemm_kernel *choose(bool integer, enum onpu_gemm_isa isa)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (isa == ONPU_GEMM_ISA_AUTO) {
		pthread_once(&once, read_env);
		isa = env_isa;
	}
	for (size_t i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++)
		if (kernels[i]->integer == integer && kernels[i]->isa <= isa &&
		    kernels[i]->supported())
			return kernels[i];
	return integer ? &gemm_scalar_i8 : &gemm_scalar_f32;
}

bool onpu_gemm_isa_supported(enum onpu_gemm_isa isa)
{
	for (size_t i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++)
		if (kernels[i]->isa == isa)
			return kernels[i]->supported();
	return isa == ONPU_GEMM_ISA_AUTO;
}

const char *onpu_gemm_isa_name(enum onpu_gemm_isa isa)
{
	return isa < ONPU_GEMM_ISA_COUNT ? isa_names[isa] : "?";
}

unsigned int onpu_gemm_slow(enum onpu_gemm_isa isa)
{
	return slow_by(choose(false, isa));
}

/* How a kernel's packing reads a type, unless it does not. */
static bool native_mode(const struct gemm_kernel *kern, uint32_t dtype, enum gemm_mode *mode)
{
	switch (dtype) {
	case ONPU_DTYPE_F32:
		*mode = GEMM_F32;
		return true;
	case ONPU_DTYPE_BF16:
		*mode = GEMM_BF16;
		return true;
	case ONPU_DTYPE_F16:
		*mode = GEMM_F16;
		return true;
	case ONPU_DTYPE_I8:
		*mode = kern->integer ? GEMM_I8 : GEMM_I8_F32;
		return kern->integer || kern->modes & GEMM_MODE(*mode);
	case ONPU_DTYPE_I4:
		*mode = kern->integer ? GEMM_I4 : GEMM_I4_F32;
		break;
	case ONPU_DTYPE_E4M3:
	case ONPU_DTYPE_MX_E4M3:
		*mode = GEMM_E4M3;
		break;
	case ONPU_DTYPE_E5M2:
	case ONPU_DTYPE_MX_E5M2:
		*mode = GEMM_E5M2;
		break;
	case ONPU_DTYPE_MX_E2M1:
		*mode = GEMM_E2M1;
		break;
	default:
		return false;
	}
	return kern->modes & GEMM_MODE(*mode);
}

/* How the elements of an operand come into the slivers. */
static void set_source(struct side *s, const struct gemm_kernel *kern, uint32_t dtype,
		       const struct onpu_gemm_scales *scales, uint32_t lane0)
{
	bool native = native_mode(kern, dtype, &s->mode);

	s->bits = s->packed_bits = onpu_gemm_elem_bits(dtype);
	s->scales = scales->group ? scales : NULL;
	s->simd = kern->isa >= ONPU_GEMM_ISA_AVX2;
	/* Slivers of B start at bytes if its first one does; those of A start anywhere. */
	if (native && s->bits < 8)
		native = s->is_b ? s->k_contiguous || lane0 % 2 == 0 :
				   s->k_contiguous && !kern->integer;
	if (native) {
		if (kern->a_biased && !s->is_b)
			s->mode = GEMM_I8_BIASED;
		return;
	}
	if (kern->integer) {
		s->mode = kern->a_biased && !s->is_b ? GEMM_I8_BIASED : GEMM_I8;
		s->packed_bits = 8;
		s->convert = gemm_convert_to_i8(dtype, s->simd);
	} else {
		s->mode = GEMM_F32;
		s->packed_bits = 32;
		s->convert = gemm_convert_to_f32(dtype, s->simd);
	}
}

/* Whether gemm_small() can do it: a product that is small and has nothing special. */
static bool is_small(const struct gemm_kernel *kern, const struct onpu_gemm_desc *d,
		     const struct onpu_pool *pool, enum gemm_mode *a_mode, enum gemm_mode *b_mode)
{
	if (onpu_gemm_elem_bits(d->a_type) < 8 || onpu_gemm_elem_bits(d->b_type) < 8 ||
	    !native_mode(kern, d->a_type, a_mode) || !native_mode(kern, d->b_type, b_mode))
		return false;
	if (kern->a_biased)
		*a_mode = GEMM_I8_BIASED;
	return gemm_small_fits(kern, d, pool);
}

int onpu_gemm(struct onpu_pool *pool, const struct onpu_gemm_desc *desc,
	      const atomic_bool *cancel, struct onpu_gemm_stats *stats)
{
	const struct gemm_kernel *kern;
	enum gemm_mode a_mode, b_mode;
	struct gemm g;

	if (!desc_ok(desc))
		return -EINVAL;
	kern = choose(is_integer(desc->a_type), (enum onpu_gemm_isa)desc->isa);
	if (stats) {
		stats->kernel = kern->name;
		if (__builtin_mul_overflow((uint64_t)desc->m * desc->n, desc->k, &stats->macs))
			stats->macs = UINT64_MAX;
	}
	if (is_small(kern, desc, pool, &a_mode, &b_mode))
		return gemm_small(kern, pool, desc, a_mode, b_mode);
	g = (struct gemm) {
		.sums_row = desc->m0,
		.desc = desc, .kern = kern, .cancel = cancel, .pool = pool,
		.a = {
			.view = &desc->a, .ld = desc->lda,
			.k_contiguous = !(desc->flags & ONPU_GEMM_TRANS_A),
			.lanes = kern->a_lanes, .max_lanes = kern->mr,
		},
		.b = {
			.view = &desc->b, .ld = desc->ldb, .is_b = true,
			.k_contiguous = desc->flags & ONPU_GEMM_TRANS_B,
			.lanes = kern->nr, .max_lanes = kern->nr,
		},
	};
	set_source(&g.a, kern, desc->a_type, &desc->a_scales, desc->m0);
	set_source(&g.b, kern, desc->b_type, &desc->b_scales, desc->n0);
	if (!g.b.convert && gemm_few_can(desc, kern, g.b.mode))
		return run_few(&g);
	return worth_streaming(&g) ? run_stream(&g) : run(&g);
}

// SPDX-License-Identifier: MIT
/*
 * Segmented operand views: most rows of a matrix lie in one segment and are used where they
 * are; a row that crosses a boundary is copied. Stateless, no locking: views are constant
 * while a matmul runs (the memory behind them need not be).
 */
#include <string.h>

#include "gemm_view.h"

bool gemm_view_valid(const struct onpu_view *view, uint64_t need)
{
	uint64_t end = 0;

	if (view->n == 0 || !view->segs)
		return false;
	for (size_t i = 0; i < view->n; i++) {
		const struct onpu_seg *s = &view->segs[i];

		if (s->off != end || s->len == 0 ||
		    __builtin_add_overflow(end, s->len, &end))
			return false;
	}
	return end == view->len && need <= end;
}

/* The segment that holds byte off. */
static const struct onpu_seg *find(const struct onpu_view *view, uint64_t off)
{
	size_t lo = 0, hi = view->n;

	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (view->segs[mid].off <= off)
			lo = mid;
		else
			hi = mid;
	}
	return &view->segs[lo];
}

uint8_t *gemm_view_at(const struct onpu_view *view, uint64_t off, uint64_t len)
{
	const struct onpu_seg *s = find(view, off);

	off -= s->off;
	return len <= s->len - off ? s->ptr + off : NULL;
}

void gemm_view_read(const struct onpu_view *view, uint64_t off, void *dst, size_t len)
{
	const struct onpu_seg *s = find(view, off);
	uint8_t *out = dst;

	for (off -= s->off; len > 0; s++, off = 0) {
		size_t n = s->len - off < len ? (size_t)(s->len - off) : len;

		memcpy(out, s->ptr + off, n);
		out += n;
		len -= n;
	}
}

void gemm_view_write(const struct onpu_view *view, uint64_t off, const void *src, size_t len)
{
	const struct onpu_seg *s = find(view, off);
	const uint8_t *in = src;

	for (off -= s->off; len > 0; s++, off = 0) {
		size_t n = s->len - off < len ? (size_t)(s->len - off) : len;

		memcpy(s->ptr + off, in, n);
		in += n;
		len -= n;
	}
}

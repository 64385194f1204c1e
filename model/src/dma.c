// SPDX-License-Identifier: MIT
/*
 * Access lists: from virtual ranges of a context to pointers.
 *
 * Idea: before a packet touches memory it lists what it will access. The list
 * is translated whole (faults come before any effect), the host parts are
 * mapped by the platform, and then every access has a view: an array of
 * segments, in order, without gaps. Card memory is a pointer at once. Host
 * memory is mapped synchronously where the platform can, else by requests, of
 * which several are out at a time; the engine leaves (STEP_PENDING) and is
 * kicked when one comes back. Everything is unmapped together (release).
 *
 * What packets, fences and control blocks need is small and lies in one page: that
 * has its pointer without a list (onpu_dma_small), unless the platform must be asked
 * and waited for.
 *
 * A strided access (a matrix) touches only the pages that its rows touch; what
 * lies between is a hole of the view, which nobody dereferences.
 *
 * What is mapped to nothing (ONPU_PTE_NULL) has pointers as well, so that whoever
 * accesses it need not know: to zeros for reading, to bytes that nobody reads for
 * writing. Both are as large as the largest page and used by the low bits of the
 * address.
 *
 * Locking: a list belongs to the slot's engine, but for pending, done and
 * n_pending, which dma_lock guards. A request outlives the list if it must: it
 * loses its slot, and onpu_card_dma_done() only unmaps and frees it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gemm_view.h"
#include "onpu_internal.h"
#include "stream.h"

#define KEEP_BYTES	(256u << 10)	/* larger arrays are given back after use */

static bool grow(void *array, size_t *cap, size_t need, size_t elem)
{
	size_t n = *cap ? *cap : 16;
	void *p;

	if (need <= *cap)
		return true;
	while (n < need)
		n *= 2;
	memcpy(&p, array, sizeof(p));
	p = realloc(p, n * elem);
	if (!p)
		return false;
	memcpy(array, &p, sizeof(p));
	*cap = n;
	return true;
}

/* --- building ------------------------------------------------------------- */

void onpu_dma_begin(struct onpu_slot *slot)
{
	struct dma_list *list = &slot->dma;

	list->n_access = 0;
	list->n_pieces = 0;
	list->n_maps = 0;
	list->next_piece = 0;
	list->unsorted = false;
	list->state = DMA_TRANSLATE;
}

void onpu_dma_add_rows(struct onpu_slot *slot, uint64_t va, uint64_t rows, uint64_t len,
		       uint64_t stride, unsigned int kind, bool priv)
{
	struct dma_access *acc = &slot->dma.access[slot->dma.n_access++];

	/* No rows: nothing is accessed, and the view is empty. */
	acc->va = va;
	acc->rows = rows;
	acc->len = len;
	acc->stride = stride;
	acc->kind = kind;
	acc->priv = priv;
}

void onpu_dma_add(struct onpu_slot *slot, uint64_t va, uint64_t len, unsigned int kind, bool priv)
{
	onpu_dma_add_rows(slot, va, 1, len, 0, kind, priv);
}

/* --- translation ---------------------------------------------------------- */

static enum step emit(struct onpu_slot *slot, unsigned int access, uint64_t off, uint64_t len,
		      enum dma_target target, const struct mmu_xlat *x)
{
	struct dma_list *list = &slot->dma;
	struct dma_piece *last = list->n_pieces ? &list->pieces[list->n_pieces - 1] : NULL;

	if (last && last->access == access && last->target == target && target != DMA_HOLE &&
	    target != DMA_NULL &&
	    last->addr + last->len == x->addr) {
		last->len += len;
		return STEP_OK;
	}
	if (list->n_pieces >= DMA_MAX_SEGS ||
	    !grow(&list->pieces, &list->cap_pieces, list->n_pieces + 1, sizeof(*last)))
		return onpu_engine_error(slot, ONPU_ERR_INTERNAL);
	list->pieces[list->n_pieces++] = (struct dma_piece){
		.off = off, .len = len, .addr = x ? x->addr : 0, .access = access,
		.target = target, .level = x ? x->level : 0,
	};
	/* A list can be long: a kill must not wait for it. */
	if (list->n_pieces % 1024 == 0 && atomic_load(&slot->cancel))
		return STEP_STOP;
	return STEP_OK;
}

/* Translates [*pos, end) of the access; whole pages as far as the access goes. */
static enum step translate_row(struct onpu_slot *slot, unsigned int access, uint64_t *pos,
			       uint64_t end, uint64_t total)
{
	const struct dma_access *acc = &slot->dma.access[access];

	while (*pos < end) {
		struct mmu_xlat x;
		enum step step;
		uint64_t len;

		if (!onpu_mmu_translate(slot, acc->va + *pos, acc->kind, acc->priv, &x))
			return STEP_FAULT;
		len = x.len < total - *pos ? x.len : total - *pos;
		step = emit(slot, access, *pos, len,
			    x.null ? DMA_NULL : x.host ? DMA_HOST : DMA_CARD, &x);
		if (step != STEP_OK)
			return step;
		*pos += len;
	}
	return STEP_OK;
}

static enum step translate_access(struct onpu_slot *slot, unsigned int access)
{
	const struct dma_access *acc = &slot->dma.access[access];
	uint64_t total, pos = 0;
	enum step step;

	slot->dma.view[access].len = 0;
	if (!acc->rows)
		return STEP_OK;
	if (__builtin_mul_overflow(acc->rows - 1, acc->stride, &total) ||
	    __builtin_add_overflow(total, acc->len, &total))
		total = UINT64_MAX;
	if (!onpu_mmu_check_range(slot, acc->va, total, acc->kind))
		return STEP_FAULT;

	for (uint64_t r = 0; r < acc->rows && pos < total; r++) {
		uint64_t start = r * acc->stride, end = start + acc->len;

		if (end <= pos)
			continue;
		if (start > pos) {
			/* Both offsets are page boundaries of the address space from here on. */
			uint64_t page = ((acc->va + start) & ~(uint64_t)(ONPU_PAGE_SIZE - 1)) -
					acc->va;

			if (page > pos) {
				step = emit(slot, access, pos, page - pos, DMA_HOLE, NULL);
				if (step != STEP_OK)
					return step;
				pos = page;
			}
		}
		step = translate_row(slot, access, &pos, end, total);
		/* The page may begin before the row; nobody asked for that part of it. */
		if (step == STEP_FAULT && slot->fault.va < acc->va + start)
			slot->fault.va = acc->va + start;
		if (step != STEP_OK)
			return step;
	}
	slot->dma.view[access].len = total;
	return STEP_OK;
}

/* --- mapping -------------------------------------------------------------- */

static enum step host_fault(struct onpu_slot *slot, const struct dma_piece *piece, uint64_t off)
{
	const struct dma_access *acc = &slot->dma.access[piece->access];

	onpu_mmu_fault(slot, acc->va + piece->off + off, ONPU_FAULT_HOST, acc->kind, piece->level);
	return STEP_FAULT;
}

static bool refuse_injected(struct onpu_card *card)
{
	uint64_t left = atomic_load_explicit(&card->inject.dma_fault, memory_order_relaxed);

	while (left)
		if (atomic_compare_exchange_weak(&card->inject.dma_fault, &left, left - 1))
			return true;
	return false;
}

/* A mapping that is shorter than asked for ends at a page, so that words stay whole. */
static bool map_usable(const struct onpu_hostmap *map, uint64_t addr, uint64_t asked)
{
	if (!map->ptr || !map->len || map->len > asked)
		return false;
	return map->len == asked || (addr + map->len) % ONPU_PAGE_SIZE == 0;
}

static enum step add_map(struct onpu_slot *slot, const struct dma_piece *piece, uint64_t off,
			 const struct onpu_hostmap *map)
{
	struct dma_list *list = &slot->dma;

	if (!grow(&list->maps, &list->cap_maps, list->n_maps + 1, sizeof(*list->maps))) {
		slot->card->ops->dma_unmap(slot->card->opaque, map);
		return onpu_engine_error(slot, ONPU_ERR_INTERNAL);
	}
	list->maps[list->n_maps++] = (struct dma_map){
		.map = *map, .off = piece->off + off, .access = piece->access,
	};
	return STEP_OK;
}

static enum step request(struct onpu_slot *slot, size_t index, uint64_t off)
{
	struct onpu_card *card = slot->card;
	struct dma_list *list = &slot->dma;
	const struct dma_piece *piece = &list->pieces[index];
	struct dma_pending *p;

	if (!card->ops->dma_request)
		return host_fault(slot, piece, off);
	p = calloc(1, sizeof(*p));
	if (!p)
		return onpu_engine_error(slot, ONPU_ERR_INTERNAL);
	p->req.addr = piece->addr + off;
	p->req.len = piece->len - off;
	p->req.write = list->access[piece->access].kind == ONPU_FAULT_ACCESS_WRITE;
	p->slot = slot;
	p->piece = index;
	p->off = off;
	pthread_mutex_lock(&card->dma_lock);
	p->next = list->pending;
	list->pending = p;
	list->n_pending++;
	pthread_mutex_unlock(&card->dma_lock);
	list->unsorted = true;
	card->ops->dma_request(card->opaque, &p->req);
	return STEP_OK;
}

/* Maps piece from off on: completely, or as far as a request that is now out. */
static enum step map_piece(struct onpu_slot *slot, size_t index, uint64_t off)
{
	struct onpu_card *card = slot->card;
	enum step step;

	while (off < slot->dma.pieces[index].len) {
		const struct dma_piece *piece = &slot->dma.pieces[index];
		bool write = slot->dma.access[piece->access].kind == ONPU_FAULT_ACCESS_WRITE;
		struct onpu_hostmap map = { .write = write };
		int ret;

		if (refuse_injected(card))
			return host_fault(slot, piece, off);
		ret = card->ops->dma_try_map(card->opaque, piece->addr + off, piece->len - off,
					     write, &map);
		if (ret == -EAGAIN)
			return request(slot, index, off);
		if (ret || !map_usable(&map, piece->addr + off, piece->len - off))
			return host_fault(slot, piece, off);
		step = add_map(slot, piece, off, &map);
		if (step != STEP_OK)
			return step;
		off += map.len;
	}
	return STEP_OK;
}

/* Takes over one request that came back; frees it. */
static enum step collect_one(struct onpu_slot *slot, struct dma_pending *p)
{
	const struct dma_piece *piece = &slot->dma.pieces[p->piece];
	struct onpu_hostmap map = p->req.map;
	size_t index = p->piece;
	uint64_t off = p->off;
	int status = p->req.status;
	enum step step;

	free(p);
	if (status || !map_usable(&map, piece->addr + off, piece->len - off))
		return host_fault(slot, piece, off);
	step = add_map(slot, piece, off, &map);
	if (step == STEP_OK)
		step = map_piece(slot, index, off + map.len);
	return step;
}

static struct dma_pending *pop_done(struct onpu_slot *slot, unsigned int *pending)
{
	struct dma_pending *p;

	pthread_mutex_lock(&slot->card->dma_lock);
	p = slot->dma.done;
	if (p)
		slot->dma.done = p->next;
	*pending = slot->dma.n_pending;
	pthread_mutex_unlock(&slot->card->dma_lock);
	return p;
}

static enum step map_all(struct onpu_slot *slot)
{
	struct dma_list *list = &slot->dma;
	struct dma_pending *p;
	unsigned int pending;
	enum step step;

	for (;;) {
		while ((p = pop_done(slot, &pending))) {
			step = collect_one(slot, p);
			if (step != STEP_OK)
				return step;
		}
		if (atomic_load_explicit(&slot->cancel, memory_order_relaxed))
			return STEP_STOP;
		if (pending >= DMA_MAX_REQS)
			return STEP_PENDING;
		while (list->next_piece < list->n_pieces &&
		       list->pieces[list->next_piece].target != DMA_HOST)
			list->next_piece++;
		if (list->next_piece == list->n_pieces)
			return pending ? STEP_PENDING : STEP_OK;
		step = map_piece(slot, list->next_piece++, 0);
		if (step != STEP_OK)
			return step;
	}
}

/* --- views ---------------------------------------------------------------- */

static int compare_maps(const void *a, const void *b)
{
	const struct dma_map *x = a, *y = b;

	if (x->access != y->access)
		return x->access < y->access ? -1 : 1;
	return x->off < y->off ? -1 : x->off > y->off;
}

static struct onpu_seg *add_seg(struct onpu_seg *first, struct onpu_seg *seg, uint8_t *ptr,
				uint64_t off, uint64_t len)
{
	if (seg > first && ptr && seg[-1].ptr && seg[-1].ptr + seg[-1].len == ptr) {
		seg[-1].len += len;
		return seg;
	}
	*seg = (struct onpu_seg){ .ptr = ptr, .off = off, .len = len };
	return seg + 1;
}

/* A piece is of one page, so it ends where the memory for nothing ends or before. */
static uint8_t *null_pointer(struct onpu_slot *slot, const struct dma_piece *piece)
{
	const struct dma_access *acc = &slot->dma.access[piece->access];
	uint8_t *base = acc->kind == ONPU_FAULT_ACCESS_WRITE ? slot->card->null_write
							     : slot->card->null_read;

	return base + ((acc->va + piece->off) & (ONPU_HUGE_SIZE - 1));
}

/* Where a piece is that needs no mapping; NULL for a hole. */
static uint8_t *piece_pointer(struct onpu_slot *slot, const struct dma_piece *piece)
{
	switch (piece->target) {
	case DMA_CARD:
		return slot->card->vram + piece->addr;
	case DMA_NULL:
		return null_pointer(slot, piece);
	default:
		return NULL;
	}
}

static enum step build_views(struct onpu_slot *slot)
{
	struct dma_list *list = &slot->dma;
	struct onpu_seg *seg, *first;
	size_t map = 0, piece = 0;

	if (!grow(&list->segs, &list->cap_segs, list->n_pieces + list->n_maps,
		  sizeof(*list->segs)))
		return onpu_engine_error(slot, ONPU_ERR_INTERNAL);
	if (list->unsorted)
		qsort(list->maps, list->n_maps, sizeof(*list->maps), compare_maps);
	seg = list->segs;
	for (unsigned int i = 0; i < list->n_access; i++) {
		first = seg;
		for (; piece < list->n_pieces && list->pieces[piece].access == i; piece++) {
			const struct dma_piece *p = &list->pieces[piece];

			if (p->target != DMA_HOST) {
				seg = add_seg(first, seg, piece_pointer(slot, p), p->off, p->len);
				continue;
			}
			for (; map < list->n_maps && list->maps[map].access == i &&
			       list->maps[map].off < p->off + p->len; map++)
				seg = add_seg(first, seg, list->maps[map].map.ptr,
					      list->maps[map].off, list->maps[map].map.len);
		}
		list->view[i].segs = first;
		list->view[i].n = seg - first;
	}
	return STEP_OK;
}

/*
 * Goes on with the list: STEP_OK once all views are there, STEP_PENDING while
 * the platform has requests, STEP_FAULT, STEP_ERROR, STEP_STOP (cancelled).
 */
enum step onpu_dma_progress(struct onpu_slot *slot)
{
	struct dma_list *list = &slot->dma;
	enum step step = STEP_OK;

	if (list->state == DMA_TRANSLATE) {
		for (unsigned int i = 0; i < list->n_access && step == STEP_OK; i++)
			step = translate_access(slot, i);
		if (step != STEP_OK)
			return step;
		list->state = DMA_MAPPING;
	}
	if (list->state == DMA_MAPPING) {
		step = map_all(slot);
		if (step == STEP_OK)
			step = build_views(slot);
		if (step == STEP_OK)
			list->state = DMA_READY;
	}
	return step;
}

/* --- small accesses ------------------------------------------------------- */

static enum step small_host(struct onpu_slot *slot, uint64_t va, unsigned int kind,
			    const struct mmu_xlat *x, struct dma_small *out)
{
	struct onpu_card *card = slot->card;
	uint64_t len = out->map.len;
	int ret = -EFAULT;

	out->map.write = kind == ONPU_FAULT_ACCESS_WRITE;
	if (!refuse_injected(card))
		ret = card->ops->dma_try_map(card->opaque, x->addr, len, out->map.write, &out->map);
	if (ret == -EAGAIN)
		return STEP_PENDING;
	if (ret || !out->map.ptr || out->map.len < len) {
		if (!ret)
			card->ops->dma_unmap(card->opaque, &out->map);
		onpu_mmu_fault(slot, va, ONPU_FAULT_HOST, kind, x->level);
		return STEP_FAULT;
	}
	out->ptr = out->map.ptr;
	out->mapped = true;
	return STEP_OK;
}

/*
 * A range without a list: STEP_OK and its pointer, until onpu_dma_small_end(); STEP_FAULT; or
 * STEP_PENDING where only a list will do.
 */
enum step onpu_dma_small(struct onpu_slot *slot, uint64_t va, uint64_t len, unsigned int kind,
			 bool priv, struct dma_small *out)
{
	struct mmu_xlat x;

	if (slot->dma.state != DMA_IDLE || (va & (ONPU_PAGE_SIZE - 1)) + len > ONPU_PAGE_SIZE)
		return STEP_PENDING;
	if (!onpu_mmu_translate(slot, va, kind, priv, &x))
		return STEP_FAULT;
	out->mapped = false;
	out->map = (struct onpu_hostmap){ .len = len };
	if (x.host)
		return small_host(slot, va, kind, &x, out);
	if (x.null)
		out->ptr = (kind == ONPU_FAULT_ACCESS_WRITE ? slot->card->null_write
							    : slot->card->null_read) +
			   (va & (ONPU_HUGE_SIZE - 1));
	else
		out->ptr = slot->card->vram + x.addr;
	return STEP_OK;
}

/* What was written is visible to the host afterwards. */
void onpu_dma_small_end(struct onpu_slot *slot, const struct dma_small *small)
{
	if (small->mapped)
		slot->card->ops->dma_unmap(slot->card->opaque, &small->map);
}

/* --- the end -------------------------------------------------------------- */

/* Forgets requests that are out and takes back those that have come. */
static void abandon(struct onpu_slot *slot)
{
	struct onpu_card *card = slot->card;
	struct dma_list *list = &slot->dma;
	struct dma_pending *p, *done;

	pthread_mutex_lock(&card->dma_lock);
	for (p = list->pending; p; p = p->next)
		p->slot = NULL;
	list->pending = NULL;
	list->n_pending = 0;
	done = list->done;
	list->done = NULL;
	pthread_mutex_unlock(&card->dma_lock);

	while ((p = done)) {
		done = p->next;
		if (p->req.status == 0)
			card->ops->dma_unmap(card->opaque, &p->req.map);
		free(p);
	}
}

static void shrink(void *array, size_t *cap, size_t elem)
{
	void *p;

	if (*cap * elem <= KEEP_BYTES)
		return;
	memcpy(&p, array, sizeof(p));
	free(p);
	p = NULL;
	memcpy(array, &p, sizeof(p));
	*cap = 0;
}

/* Ends all mappings of the list; what was written is visible to the host afterwards. */
void onpu_dma_release(struct onpu_slot *slot)
{
	struct dma_list *list = &slot->dma;

	if (list->state == DMA_IDLE)
		return;
	if (list->state != DMA_READY)
		abandon(slot);
	for (size_t i = 0; i < list->n_maps; i++)
		slot->card->ops->dma_unmap(slot->card->opaque, &list->maps[i].map);
	list->n_maps = 0;
	list->n_pieces = 0;
	shrink(&list->pieces, &list->cap_pieces, sizeof(*list->pieces));
	shrink(&list->maps, &list->cap_maps, sizeof(*list->maps));
	shrink(&list->segs, &list->cap_segs, sizeof(*list->segs));
	list->state = DMA_IDLE;
}

void onpu_dma_free(struct onpu_slot *slot)
{
	onpu_dma_release(slot);
	free(slot->dma.pieces);
	free(slot->dma.maps);
	free(slot->dma.segs);
	memset(&slot->dma, 0, sizeof(slot->dma));
}

void onpu_card_dma_done(struct onpu_card *card, struct onpu_dma_req *req)
{
	struct dma_pending *p = container_of(req, struct dma_pending, req), **link;
	struct onpu_slot *slot;

	pthread_mutex_lock(&card->dma_lock);
	slot = p->slot;
	if (slot) {
		for (link = &slot->dma.pending; *link != p; link = &(*link)->next)
			;
		*link = p->next;
		slot->dma.n_pending--;
		p->next = slot->dma.done;
		slot->dma.done = p;
	}
	pthread_mutex_unlock(&card->dma_lock);
	if (slot) {
		onpu_slot_kick(slot);
		return;
	}
	if (p->req.status == 0)
		card->ops->dma_unmap(card->opaque, &p->req.map);
	free(p);
}

/* --- access through views ------------------------------------------------- */

/* Index of the segment that holds off, which lies in the view. */
static size_t find_seg(const struct onpu_view *view, uint64_t off)
{
	size_t lo = 0, hi = view->n;

	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (view->segs[mid].off <= off)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

/* A naturally aligned word of a view lies in one segment: segments end at pages. */
static bool word_aligned(const struct onpu_view *view, size_t size)
{
	return view->segs[0].len >= size && (uintptr_t)view->segs[0].ptr % size == 0;
}

uint64_t onpu_view_load64(const struct onpu_view *view)
{
	uint64_t value;

	if (word_aligned(view, sizeof(value)))
		return __atomic_load_n((uint64_t *)(void *)view->segs[0].ptr, __ATOMIC_ACQUIRE);
	gemm_view_read(view, 0, &value, sizeof(value));
	return value;
}

void onpu_view_store64(const struct onpu_view *view, uint64_t value)
{
	if (word_aligned(view, sizeof(value)))
		__atomic_store_n((uint64_t *)(void *)view->segs[0].ptr, value, __ATOMIC_RELEASE);
	else
		gemm_view_write(view, 0, &value, sizeof(value));
}

/* Both counts of a control block; ptr is where the block is. */
void onpu_store_ctl(uint8_t *ptr, uint32_t consumer, uint32_t high)
{
	uint64_t completed = (uint64_t)high << 32 | consumer;

	onpu_store64(ptr + offsetof(struct onpu_queue_ctl, completed), completed);
	onpu_store32(ptr, consumer);
}

void onpu_view_store_ctl(const struct onpu_view *view, uint32_t consumer, uint32_t high)
{
	uint64_t completed = (uint64_t)high << 32 | consumer;
	const size_t at = offsetof(struct onpu_queue_ctl, completed);

	if (word_aligned(view, at + sizeof(completed))) {
		onpu_store_ctl(view->segs[0].ptr, consumer, high);
	} else {
		gemm_view_write(view, at, &completed, sizeof(completed));
		gemm_view_write(view, 0, &consumer, sizeof(consumer));
	}
}

/* Copies len bytes from a place of one view to a place of another; stream: see stream.c. */
void onpu_view_copy(const struct onpu_view *dst, const struct onpu_view *src, uint64_t dst_off,
		    uint64_t src_off, uint64_t len, bool stream)
{
	const struct onpu_seg *d = &dst->segs[find_seg(dst, dst_off)];
	const struct onpu_seg *s = &src->segs[find_seg(src, src_off)];

	while (len) {
		uint64_t n = len, left;

		left = d->off + d->len - dst_off;
		if (n > left)
			n = left;
		left = s->off + s->len - src_off;
		if (n > left)
			n = left;
		/* The guest may name the same bytes twice; then the result is undefined. */
		if (stream)
			onpu_stream_copy(d->ptr + (dst_off - d->off), s->ptr + (src_off - s->off), n);
		else
			memmove(d->ptr + (dst_off - d->off), s->ptr + (src_off - s->off), n);
		dst_off += n;
		src_off += n;
		len -= n;
		if (dst_off == d->off + d->len)
			d++;
		if (src_off == s->off + s->len)
			s++;
	}
	if (stream)
		onpu_stream_end();
}

/* off and len are multiples of 4, and so is every segment. */
void onpu_view_fill(const struct onpu_view *dst, uint64_t off, uint64_t len, uint32_t pattern,
		    bool stream)
{
	const struct onpu_seg *d = &dst->segs[find_seg(dst, off)];
	bool bytes = pattern == (pattern & 0xffu) * 0x01010101u;

	while (len) {
		uint64_t n = d->off + d->len - off;
		uint8_t *p = d->ptr + (off - d->off);

		if (n > len)
			n = len;
		if (stream) {
			onpu_stream_fill(p, n, pattern);
		} else if (bytes) {
			memset(p, (int)(pattern & 0xff), n);
		} else {
			for (uint64_t i = 0; i < n; i += sizeof(pattern))
				memcpy(p + i, &pattern, sizeof(pattern));
		}
		off += n;
		len -= n;
		if (off == d->off + d->len)
			d++;
	}
	if (stream)
		onpu_stream_end();
}

/* SPDX-License-Identifier: MIT */
/*
 * Matmuls over several cards, of matrices in the memory of the process that need not fit into any
 * card.
 *
 * D is cut into tiles, and what a tile sums into pieces of k where a card cannot hold all of it. The
 * pieces follow each other with ACCUMULATE, so every element is summed in the same order as by one
 * matmul on one card, and comes out the same bit for bit.
 *
 * Each card has a thread here that takes the next tile of all, so a quicker card does more. It has two
 * sets of buffers: while the card works on one piece, the CPU fills the operands of the next.
 *
 * Locking: the next tile is an atomic; lock guards the first failure. One call at a time per object.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SETS		2u
/* Largest side of a tile: enough to keep a card busy, few enough that cards get equal shares. */
#define TILE_MAX	4096u
#define TILE_MIN	64u
#define K_MAX		16384u

struct side {
	struct accel_device *device;
	struct accel_context *context;
	struct accel_queue *queue;
	uint64_t room;		/* bytes of card memory that tiles may use */
	uint32_t dim_max;
};

struct accel_multi {
	pthread_mutex_t lock;	/* of a call */
	unsigned int count;
	struct side sides[];
};

/* A call: the matmul, how it is cut, and what became of it. */
struct work {
	const struct accel_multi_matmul *p;
	uint32_t a_size, b_size, d_size;
	uint64_t tile_m, tile_n, tile_k;
	uint64_t rows, columns, pieces;
	atomic_uint_fast64_t next;
	atomic_int error;
	pthread_mutex_t lock;
	char detail[480];
};

/* What a card works on while the next one is prepared. */
struct set {
	struct accel_buffer *a, *b, *d;
	uint8_t *a_memory, *b_memory, *d_memory;
	struct accel_event *event;
	uint64_t m, n, k;	/* where the tile is */
	uint64_t rows, columns;
	bool last;		/* piece of its tile */
};

struct worker {
	struct work *work;
	struct side *side;
	struct set sets[SETS];
	pthread_t thread;
};

/* ---- pieces ---- */

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Rows of @bytes each, between places with strides of their own. */
static void copy_rows(uint8_t *to, uint64_t to_stride, const uint8_t *from, uint64_t from_stride,
		      uint64_t rows, uint64_t bytes)
{
	for (uint64_t i = 0; i < rows; i++)
		memcpy(to + i * to_stride, from + i * from_stride, bytes);
}

/* A part of an operand as it is stored: @rows x @columns from (@row, @column), packed. */
static void load(uint8_t *to, const struct accel_host_matrix *matrix, uint32_t size, uint64_t row,
		 uint64_t column, uint64_t rows, uint64_t columns)
{
	const uint8_t *from = (const uint8_t *)matrix->data + (row * matrix->ld + column) * size;

	copy_rows(to, columns * size, from, matrix->ld * size, rows, columns * size);
}

static void load_operands(const struct work *w, const struct set *set, uint64_t ks)
{
	const struct accel_multi_matmul *p = w->p;

	if (p->flags & ACCEL_MATMUL_TRANS_A)
		load(set->a_memory, &p->a, w->a_size, set->k, set->m, ks, set->rows);
	else
		load(set->a_memory, &p->a, w->a_size, set->m, set->k, set->rows, ks);
	if (p->flags & ACCEL_MATMUL_TRANS_B)
		load(set->b_memory, &p->b, w->b_size, set->n, set->k, set->columns, ks);
	else
		load(set->b_memory, &p->b, w->b_size, set->k, set->n, ks, set->columns);
}

static uint8_t *place_of(const struct work *w, const struct set *set)
{
	const struct accel_host_matrix *d = &w->p->d;

	return (uint8_t *)d->data + (set->m * d->ld + set->n) * w->d_size;
}

/* Waits for a piece and takes the tile out that it may have ended. */
static int finish(const struct work *w, struct set *set)
{
	uint64_t bytes = set->columns * w->d_size;
	int ret;

	if (!set->event)
		return 0;
	ret = accel_event_wait(set->event, ACCEL_FOREVER);
	accel_event_destroy(set->event);
	set->event = NULL;
	if (!ret && set->last)
		copy_rows(place_of(w, set), w->p->d.ld * w->d_size, set->d_memory, bytes, set->rows, bytes);
	return ret;
}

/* @d: the tile's own buffer, which all pieces of it sum into. */
static int submit(const struct worker *worker, struct set *set, struct accel_buffer *d, uint64_t ks)
{
	const struct accel_multi_matmul *p = worker->work->p;
	bool continues = set->k || p->flags & ACCEL_MATMUL_ACCUMULATE;
	struct accel_matmul one;

	accel_matmul_init(&one);
	one.flags = (p->flags & (ACCEL_MATMUL_TRANS_A | ACCEL_MATMUL_TRANS_B)) |
		    (continues ? ACCEL_MATMUL_ACCUMULATE : 0);
	one.m = (uint32_t)set->rows;
	one.n = (uint32_t)set->columns;
	one.k = (uint32_t)ks;
	one.a = (struct accel_matrix){ .buffer = set->a, .type = p->a.type };
	one.b = (struct accel_matrix){ .buffer = set->b, .type = p->b.type };
	one.d = (struct accel_matrix){ .buffer = d };
	return accel_matmul_async(worker->side->queue, &one, &set->event);
}

/*
 * One tile. Pieces take turns with the operands of the sets; the tile is in the set of the first, where it
 * stays until the last is done. @turn: the set to begin with.
 */
static int do_tile(struct worker *worker, uint64_t tile, unsigned int *turn)
{
	struct work *w = worker->work;
	const struct accel_multi_matmul *p = w->p;
	struct set *home = &worker->sets[*turn];
	uint64_t m = tile % w->rows * w->tile_m, n = tile / w->rows * w->tile_n;
	int ret = 0;

	for (uint64_t k = 0; k < p->k && !ret; k += w->tile_k) {
		struct set *set = &worker->sets[*turn];
		uint64_t ks = smaller(w->tile_k, p->k - k);

		ret = finish(w, set);
		if (ret)
			break;
		set->m = m;
		set->n = n;
		set->k = k;
		set->rows = smaller(w->tile_m, p->m - m);
		set->columns = smaller(w->tile_n, p->n - n);
		set->last = w->pieces == 1;
		if (!k && p->flags & ACCEL_MATMUL_ACCUMULATE)
			copy_rows(home->d_memory, set->columns * w->d_size, place_of(w, set),
				  p->d.ld * w->d_size, set->rows, set->columns * w->d_size);
		load_operands(w, set, ks);
		ret = submit(worker, set, home->d, ks);
		*turn = (*turn + 1) % SETS;
	}
	if (ret || w->pieces == 1)
		return ret;
	/* A tile of several pieces ends here: its home is needed for the next. */
	for (unsigned int i = 0; i < SETS && !ret; i++)
		ret = finish(w, &worker->sets[i]);
	if (!ret)
		copy_rows(place_of(w, home), p->d.ld * w->d_size, home->d_memory, home->columns * w->d_size,
			  home->rows, home->columns * w->d_size);
	return ret;
}

/* ---- workers ---- */

static int create_set(struct worker *worker, struct set *set)
{
	const struct work *w = worker->work;
	const uint32_t flags = ACCEL_BUFFER_CARD | ACCEL_BUFFER_CPU_VISIBLE;
	const struct {
		struct accel_buffer **buffer;
		uint8_t **memory;
		uint64_t size;
	} parts[] = {
		{ &set->a, &set->a_memory, w->tile_m * w->tile_k * w->a_size },
		{ &set->b, &set->b_memory, w->tile_n * w->tile_k * w->b_size },
		{ &set->d, &set->d_memory, w->tile_m * w->tile_n * w->d_size },
	};
	int ret = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(parts) && !ret; i++) {
		ret = accel_buffer_create(worker->side->context, parts[i].size, flags, parts[i].buffer);
		if (!ret)
			ret = accel_buffer_map(*parts[i].buffer, (void **)parts[i].memory);
	}
	return ret;
}

static void destroy_set(struct set *set)
{
	accel_event_destroy(set->event);
	accel_buffer_destroy(set->a);
	accel_buffer_destroy(set->b);
	accel_buffer_destroy(set->d);
}

static void record(struct work *w, int error)
{
	pthread_mutex_lock(&w->lock);
	if (!atomic_load(&w->error)) {
		atomic_store(&w->error, error);
		strncpy(w->detail, accel_error_detail(), sizeof(w->detail) - 1);
	}
	pthread_mutex_unlock(&w->lock);
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;
	struct work *w = worker->work;
	unsigned int turn = 0;
	int ret = 0;

	for (unsigned int i = 0; i < SETS && !ret; i++)
		ret = create_set(worker, &worker->sets[i]);
	while (!ret && !atomic_load(&w->error)) {
		uint64_t tile = atomic_fetch_add(&w->next, 1);

		if (tile >= w->rows * w->columns)
			break;
		ret = do_tile(worker, tile, &turn);
	}
	for (unsigned int i = 0; i < SETS && !ret; i++)
		ret = finish(w, &worker->sets[i]);
	if (ret)
		record(w, ret);
	for (unsigned int i = 0; i < SETS; i++)
		destroy_set(&worker->sets[i]);
	return NULL;
}

/* ---- the call ---- */

static uint64_t set_bytes(const struct work *w)
{
	return w->tile_m * w->tile_k * w->a_size + w->tile_n * w->tile_k * w->b_size +
	       w->tile_m * w->tile_n * w->d_size;
}

/* Halves the largest side until two sets fit into each card, and all cards get some. */
static bool cut(struct work *w, const struct accel_multi *multi)
{
	uint64_t room = UINT64_MAX, limit = K_MAX;

	for (unsigned int i = 0; i < multi->count; i++) {
		room = smaller(room, multi->sides[i].room);
		limit = smaller(limit, multi->sides[i].dim_max);
	}
	w->tile_m = smaller(w->p->m, smaller(TILE_MAX, limit));
	w->tile_n = smaller(w->p->n, smaller(TILE_MAX, limit));
	w->tile_k = smaller(w->p->k, limit);
	while (set_bytes(w) * SETS > room) {
		uint64_t *largest = w->tile_k >= w->tile_m && w->tile_k >= w->tile_n ? &w->tile_k :
				    w->tile_m >= w->tile_n ? &w->tile_m : &w->tile_n;

		if (*largest <= TILE_MIN)
			return false;
		*largest = (*largest + 1) / 2;
	}
	for (;;) {
		uint64_t *larger = w->tile_m >= w->tile_n ? &w->tile_m : &w->tile_n;

		w->rows = (w->p->m + w->tile_m - 1) / w->tile_m;
		w->columns = (w->p->n + w->tile_n - 1) / w->tile_n;
		if (w->rows * w->columns >= 2ull * multi->count || multi->count == 1 || *larger <= 4 * TILE_MIN)
			break;
		*larger = (*larger + 1) / 2;
	}
	w->pieces = (w->p->k + w->tile_k - 1) / w->tile_k;
	return true;
}

static int run(struct accel_multi *multi, struct work *w)
{
	struct worker *workers = calloc(multi->count, sizeof(*workers));
	unsigned int started = 0, wanted;
	int ret = 0;

	if (!workers)
		return fail(-ENOMEM, "out of memory");
	wanted = (unsigned int)smaller(multi->count, w->rows * w->columns);
	for (; started < wanted && !ret; started += !ret) {
		workers[started].work = w;
		workers[started].side = &multi->sides[started];
		ret = pthread_create(&workers[started].thread, NULL, worker_main, &workers[started]);
	}
	if (ret)
		atomic_store(&w->error, -ret);
	for (unsigned int i = 0; i < started; i++)
		pthread_join(workers[i].thread, NULL);
	free(workers);
	if (!atomic_load(&w->error))
		return 0;
	return fail(atomic_load(&w->error), "%s", w->detail[0] ? w->detail : strerror(ret));
}

static int check_matrix(const char *name, const struct accel_host_matrix *matrix, uint64_t columns)
{
	if (!matrix->data)
		return fail(-EINVAL, "%s is NULL", name);
	if (matrix->reserved)
		return fail(-EINVAL, "%s: reserved is not 0", name);
	if (matrix->ld < columns)
		return fail(-EINVAL, "%s: ld %" PRIu64 " is smaller than its rows, %" PRIu64, name, matrix->ld,
			    columns);
	return 0;
}

static int check(const struct accel_multi_matmul *p)
{
	const uint32_t flags = ACCEL_MATMUL_TRANS_A | ACCEL_MATMUL_TRANS_B | ACCEL_MATMUL_ACCUMULATE;
	bool ta = p->flags & ACCEL_MATMUL_TRANS_A, tb = p->flags & ACCEL_MATMUL_TRANS_B;
	int ret;

	if (p->size < sizeof(*p))
		return fail(-EINVAL, "size is %zu, set it to sizeof(struct accel_multi_matmul)", p->size);
	if (p->flags & ~flags || p->reserved)
		return fail(-EINVAL, "flags 0x%x, reserved %u", p->flags, p->reserved);
	if (!p->m || !p->n || !p->k || p->m >> 40 || p->n >> 40 || p->k >> 40)
		return fail(-EINVAL, "m, n and k are %" PRIu64 ", %" PRIu64 " and %" PRIu64
			    ", not in 1 .. 2^40 - 1", p->m, p->n, p->k);
	if (p->a.type != ACCEL_TYPE_F32 && p->a.type != ACCEL_TYPE_BF16 && p->a.type != ACCEL_TYPE_F16 &&
	    p->a.type != ACCEL_TYPE_I8)
		return fail(-ENOTSUP, "a: type %u is not F32, BF16, F16 or I8", p->a.type);
	if (p->b.type != ACCEL_TYPE_DEFAULT && p->b.type != p->a.type)
		return fail(-EINVAL, "a and b have different types");
	ret = check_matrix("a", &p->a, ta ? p->m : p->k);
	if (!ret)
		ret = check_matrix("b", &p->b, tb ? p->k : p->n);
	return ret ? ret : check_matrix("d", &p->d, p->n);
}

int accel_multi_matmul(struct accel_multi *multi, const struct accel_multi_matmul *matmul)
{
	struct accel_multi_matmul own;
	struct work w = { .p = &own };
	int ret;

	api_begin(__func__);
	if (!multi || !matmul)
		return fail(-EINVAL, "%s is NULL", multi ? "matmul" : "multi");
	ret = device_check(multi->sides[0].device);
	if (!ret)
		ret = check(matmul);
	if (ret)
		return ret;
	own = *matmul;
	own.b.type = own.a.type;
	if (own.d.type && own.d.type != (own.a.type == ACCEL_TYPE_I8 ? ACCEL_TYPE_I32 : ACCEL_TYPE_F32))
		return fail(-EINVAL, "d: the type of sums is %s", own.a.type == ACCEL_TYPE_I8 ? "I32" : "F32");
	w.a_size = w.b_size = (uint32_t)accel_type_size(own.a.type);
	w.d_size = 4;
	pthread_mutex_lock(&multi->lock);
	pthread_mutex_init(&w.lock, NULL);
	ret = cut(&w, multi) ? run(multi, &w) :
	      fail(-ENOMEM, "a card has less than %" PRIu64 " bytes for tiles", set_bytes(&w) * SETS);
	pthread_mutex_destroy(&w.lock);
	pthread_mutex_unlock(&multi->lock);
	return ret;
}

/* ---- life ---- */

static int open_side(struct side *side, unsigned int index)
{
	struct accel_memory_info memory;
	int ret;

	ret = accel_device_open(index, &side->device);
	if (!ret)
		ret = accel_context_create(side->device, 0, &side->context);
	if (!ret)
		ret = accel_queue_create(side->context, ACCEL_PRIORITY_MEDIUM, &side->queue);
	accel_memory_info_init(&memory);
	if (!ret)
		ret = accel_device_get_memory(side->device, &memory);
	if (ret)
		return ret;
	/* Others want some too, and command memory comes on top. */
	side->room = smaller(memory.card_free, memory.card_visible) / 4 * 3;
	side->dim_max = side->device->caps.dim_max;
	return 0;
}

static void close_side(struct side *side)
{
	accel_queue_destroy(side->queue);
	accel_context_destroy(side->context);
	accel_device_close(side->device);
}

int accel_multi_create(const unsigned int *devices, unsigned int count, struct accel_multi **out)
{
	struct accel_multi *multi;
	int ret = 0, all;

	api_begin(__func__);
	if (!out)
		return fail(-EINVAL, "multi is NULL");
	if (devices && !count)
		return fail(-EINVAL, "count is 0");
	if (!devices) {
		all = accel_device_count();
		if (all <= 0)
			return all ? all : fail(-ENODEV, "no card");
		count = count && count < (unsigned int)all ? count : (unsigned int)all;
	}
	multi = calloc(1, sizeof(*multi) + count * sizeof(multi->sides[0]));
	if (!multi)
		return fail(-ENOMEM, "out of memory");
	for (unsigned int i = 0; i < count && !ret; i++, multi->count++)
		ret = open_side(&multi->sides[i], devices ? devices[i] : i);
	pthread_mutex_init(&multi->lock, NULL);
	if (ret) {
		accel_multi_destroy(multi);
		return ret;
	}
	*out = multi;
	return 0;
}

unsigned int accel_multi_count(const struct accel_multi *multi)
{
	return multi ? multi->count : 0;
}

void accel_multi_destroy(struct accel_multi *multi)
{
	if (!multi || (multi->count && multi->sides[0].device && device_is_foreign(multi->sides[0].device)))
		return;
	for (unsigned int i = 0; i < multi->count; i++)
		close_side(&multi->sides[i]);
	pthread_mutex_destroy(&multi->lock);
	free(multi);
}

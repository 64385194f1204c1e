// SPDX-License-Identifier: MIT
/*
 * The card: opening it, lanes, operands, products.
 *
 * A lane is a queue with staging memory. A call has a lane for itself, so several threads
 * multiply at the same time, each in its own queue. Operands are not copied when they are large: the
 * caller's memory is registered for the time of the call and the card works in it. Small ones are
 * copied to memory that the lane keeps, because registering has a fixed price. blas_model_operand()
 * knows both prices. Registrations are not kept between calls: the caller may unmap its
 * memory at any time, and the card would go on with the old pages.
 *
 * Locking: card.lock is over everything in card, is never held while work runs, and is held for long
 * only by the first call, which opens the card and measures. A lane that was got belongs to its thread.
 * Whoever finds no card is not kept waiting: card.state is read without the lock.
 *
 * A forked child has no card (libaccel's objects stay the parent's) and forgets it here; it
 * opens the card for itself when it first has something for it.
 */
#include "blas.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LANES_MAX	8
#define CHUNKS_MAX	24
#define CHUNK_SIZE	(1u << 20)
/* What a lane keeps of its staging memory between calls, and what a call may have. */
#define KEEP_SIZE	(32u << 20)
#define STAGING_MAX	(1u << 30)
#define STAGING_ALIGN	64u
/* With so many failed calls in a row the card is given up. */
#define FAILURES_MAX	3

struct chunk {
	struct accel_buffer *buffer;
	char *memory;
	uint64_t size, used;
};

struct blas_lane {
	struct accel_queue *queue;
	struct accel_plan *plan;		/* the last one, and what it was made for */
	struct accel_plan_config config;
	struct chunk chunks[CHUNKS_MAX];
	unsigned int chunk_count;
	unsigned int registered, copied, products;
	uint64_t waited;			/* ns */
	bool busy, pending, changed;
	char story[128];
};

enum state { UNOPENED, OPEN, ABSENT };

static struct {
	pthread_mutex_t lock;
	pthread_cond_t idle;
	_Atomic int state;
	struct accel_device *device;
	struct accel_context *context;
	struct blas_lane *lanes[LANES_MAX];
	uint32_t dim_max;
	unsigned int failures;
	bool model_ready;
	_Atomic bool registers;		/* read and cleared without the lock */
} card = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.idle = PTHREAD_COND_INITIALIZER,
	.registers = true,
};

/* ---- Staging ------------------------------------------------------------ */

static void chunk_drop(struct blas_lane *lane, unsigned int index)
{
	accel_buffer_destroy(lane->chunks[index].buffer);
	lane->chunks[index] = lane->chunks[--lane->chunk_count];
}

static struct chunk *chunk_new(struct blas_lane *lane, uint64_t size)
{
	struct chunk *chunk = &lane->chunks[lane->chunk_count];
	void *memory;

	if (lane->chunk_count == CHUNKS_MAX || size > STAGING_MAX)
		return NULL;
	*chunk = (struct chunk){ .size = size > CHUNK_SIZE ? size : CHUNK_SIZE };
	if (accel_buffer_create(card.context, chunk->size, ACCEL_BUFFER_HOST, &chunk->buffer))
		return NULL;
	if (accel_buffer_map(chunk->buffer, &memory)) {
		accel_buffer_destroy(chunk->buffer);
		return NULL;
	}
	chunk->memory = memory;
	lane->chunk_count++;
	return chunk;
}

/* The memory stays the call's until the lane is given back. */
static int staging_take(struct blas_lane *lane, struct blas_operand *op, uint64_t size)
{
	struct chunk *chunk = NULL;

	size = (size + STAGING_ALIGN - 1) / STAGING_ALIGN * STAGING_ALIGN;
	for (unsigned int i = 0; i < lane->chunk_count && !chunk; i++)
		if (lane->chunks[i].size - lane->chunks[i].used >= size)
			chunk = &lane->chunks[i];
	if (!chunk)
		chunk = chunk_new(lane, size);
	if (!chunk)
		return -ENOMEM;
	op->buffer = chunk->buffer;
	op->offset = chunk->used;
	op->cpu = chunk->memory + chunk->used;
	chunk->used += size;
	return 0;
}

static void staging_reset(struct blas_lane *lane)
{
	uint64_t kept = 0;

	for (unsigned int i = 0; i < lane->chunk_count; ) {
		lane->chunks[i].used = 0;
		if (kept + lane->chunks[i].size > KEEP_SIZE) {
			chunk_drop(lane, i);
			continue;
		}
		kept += lane->chunks[i++].size;
	}
}

/* ---- Lanes -------------------------------------------------------------- */

static void lane_free(struct blas_lane *lane)
{
	if (!lane)
		return;
	while (lane->chunk_count)
		chunk_drop(lane, 0);
	accel_plan_destroy(lane->plan);
	accel_queue_destroy(lane->queue);
	free(lane);
}

static struct blas_lane *lane_new(void)
{
	struct blas_lane *lane = calloc(1, sizeof(*lane));

	if (lane && accel_queue_create(card.context, ACCEL_PRIORITY_MEDIUM, &lane->queue)) {
		blas_log("no queue: %s", accel_error_detail());
		free(lane);
		return NULL;
	}
	return lane;
}

static void give_up(const char *why)
{
	atomic_store(&blas_floor, INFINITY);
	atomic_store(&card.state, ABSENT);
	blas_log("everything goes to %s: %s", blas_next_path(), why);
}

struct blas_lane *blas_lane_get(void)
{
	struct blas_lane *lane = NULL;

	pthread_mutex_lock(&card.lock);
	while (!lane && atomic_load(&card.state) == OPEN) {
		unsigned int i, there = 0;

		for (i = 0; i < LANES_MAX && !lane; i++) {
			there += card.lanes[i] != NULL;
			if (card.lanes[i] && !card.lanes[i]->busy)
				lane = card.lanes[i];
		}
		for (i = 0; i < LANES_MAX && !lane; i++)
			if (!card.lanes[i])
				lane = card.lanes[i] = lane_new();
		if (!lane && !there)
			break;		/* not even a first queue */
		if (!lane)
			pthread_cond_wait(&card.idle, &card.lock);
	}
	if (lane) {
		lane->busy = true;
		lane->registered = lane->copied = lane->products = 0;
		lane->changed = false;
		lane->waited = 0;
	}
	pthread_mutex_unlock(&card.lock);
	return lane;
}

void blas_lane_put(struct blas_lane *lane, bool failed)
{
	if (!failed)
		staging_reset(lane);
	pthread_mutex_lock(&card.lock);
	lane->busy = false;
	if (failed) {
		for (unsigned int i = 0; i < LANES_MAX; i++)
			if (card.lanes[i] == lane)
				card.lanes[i] = NULL;
		if (++card.failures == FAILURES_MAX)
			give_up("the card has failed too often");
	} else {
		card.failures = 0;
	}
	pthread_cond_signal(&card.idle);
	pthread_mutex_unlock(&card.lock);
	if (failed)
		lane_free(lane);
}

/* ---- Opening ------------------------------------------------------------ */

static void before_fork(void)
{
	pthread_mutex_lock(&card.lock);
}

static void after_fork(void)
{
	pthread_mutex_unlock(&card.lock);
}

/* The parent's objects are as good as gone: to destroy them does nothing. */
static void in_child(void)
{
	memset(card.lanes, 0, sizeof(card.lanes));
	card.device = NULL;
	card.context = NULL;
	if (atomic_load(&card.state) == OPEN)
		atomic_store(&card.state, UNOPENED);
	pthread_cond_init(&card.idle, NULL);
	pthread_mutex_unlock(&card.lock);
}

__attribute__((constructor)) static void init(void)
{
	const struct blas_settings *settings = blas_settings();

	pthread_atfork(before_fork, after_fork, in_child);
	if (settings->off)
		give_up("ACCEL_BLAS=off");
	else if (settings->always)
		atomic_store(&blas_floor, 0);
	else if (settings->min_work > 0)
		atomic_store(&blas_floor, settings->min_work);
}

static int open_device(void)
{
	const char *name = blas_settings()->device;
	int ret;

	ret = name ? accel_device_open_name(name, &card.device) :
		     accel_device_open(0, &card.device);
	if (ret)
		return ret;
	ret = accel_context_create(card.device, 0, &card.context);
	if (ret)
		accel_device_close(card.device);
	return ret;
}

static void describe(char *text, size_t size)
{
	struct accel_device_info info;

	accel_device_info_init(&info);
	accel_device_get_info(card.device, &info);
	card.dim_max = info.dim_max ? info.dim_max : 1u << 16;
	snprintf(text, size, "%s %llx fw %x driver %s %u.%u.%u", info.pci_address,
		 (unsigned long long)info.serial, info.firmware_version, info.driver_name,
		 info.driver_version[0], info.driver_version[1], info.driver_version[2]);
}

/* With card.lock held. */
static void open_card(void)
{
	struct blas_lane *lane;
	char name[128];
	int ret = open_device();

	if (ret) {
		give_up(accel_error_detail());
		return;
	}
	describe(name, sizeof(name));
	lane = lane_new();
	if (!lane) {
		accel_context_destroy(card.context);
		accel_device_close(card.device);
		give_up("the card gives no queue");
		return;
	}
	if (!card.model_ready)
		blas_model_init(lane, name);
	card.model_ready = true;
	staging_reset(lane);
	card.lanes[0] = lane;
	card.failures = 0;
	atomic_store(&card.state, OPEN);
	blas_log("card %s, otherwise %s", name, blas_next_path());
}

bool blas_card_wanted(double work)
{
	if (atomic_load(&card.state) == UNOPENED) {
		pthread_mutex_lock(&card.lock);
		if (atomic_load(&card.state) == UNOPENED)
			open_card();
		pthread_mutex_unlock(&card.lock);
	}
	return atomic_load(&card.state) == OPEN &&
	       work >= atomic_load_explicit(&blas_floor, memory_order_relaxed);
}

/* ---- Operands ----------------------------------------------------------- */

/* A column. Not memcpy(): on an emulated processor its string instructions take ten times as long. */
static void copy_bytes(char *restrict to, const char *restrict from, size_t size)
{
	typedef int64_t vector __attribute__((vector_size(16), aligned(1), may_alias));
	size_t i = 0;

	for (; i + 64 <= size; i += 64) {
		vector v0 = *(const vector *)(from + i), v1 = *(const vector *)(from + i + 16);
		vector v2 = *(const vector *)(from + i + 32), v3 = *(const vector *)(from + i + 48);

		*(vector *)(to + i) = v0;
		*(vector *)(to + i + 16) = v1;
		*(vector *)(to + i + 32) = v2;
		*(vector *)(to + i + 48) = v3;
	}
	for (; i + 4 <= size; i += 4)
		memcpy(to + i, from + i, 4);
	for (; i < size; i++)
		to[i] = from[i];
}

static void copy_columns(void *to, int64_t to_ld, const void *from, int64_t from_ld,
			 const struct blas_operand *op)
{
	size_t column = (size_t)op->rows * op->element;

	if (to_ld == op->rows && from_ld == op->rows) {
		copy_bytes(to, from, column * (size_t)op->cols);
		return;
	}
	for (int64_t j = 0; j < op->cols; j++)
		copy_bytes((char *)to + j * to_ld * op->element,
			   (const char *)from + j * from_ld * op->element, column);
}

static int operand_register(struct blas_operand *op, uint64_t span)
{
	uint64_t start = (uintptr_t)op->user & 15;
	uint32_t flags = op->access & ACCEL_ACCESS_WRITE ? 0 : ACCEL_BUFFER_CARD_READONLY;
	int ret = accel_host_register(card.context, (char *)op->user - start, span + start, flags,
				      &op->buffer);

	if (ret) {
		blas_log("memory is copied, not registered: %s", accel_error_detail());
		/* The limit will not rise: do not try each time. */
		if (ret == -ENOMEM || ret == -EPERM)
			card.registers = false;
		return ret;
	}
	op->registered = true;
	op->offset = start;
	op->ld = op->user_ld;
	op->cpu = op->user;
	return 0;
}

int blas_operand_get(struct blas_lane *lane, struct blas_operand *op, const void *user,
		     int64_t rows, int64_t cols, int64_t ld, unsigned int element,
		     unsigned int access)
{
	uint64_t span = (uint64_t)((cols - 1) * ld + rows) * element;
	uint64_t compact = (uint64_t)(rows * cols) * element;
	int ways = !!(access & ACCEL_ACCESS_READ) + !!(access & ACCEL_ACCESS_WRITE);
	double copy = (double)compact * ways * blas_costs.copy_byte;
	double pin = blas_costs.pin_call + (double)span * blas_costs.pin_byte;
	int ret;

	*op = (struct blas_operand){
		.user = (void *)user, .user_ld = ld, .rows = rows, .cols = cols,
		.element = element, .access = access,
	};
	if ((pin < copy || compact >= BLAS_REGISTER_FROM) && card.registers && !operand_register(op, span)) {
		lane->registered++;
		return 0;
	}
	ret = staging_take(lane, op, compact);
	if (ret)
		return ret;
	lane->copied++;
	op->ld = rows;
	if (access & ACCEL_ACCESS_READ)
		copy_columns(op->cpu, op->ld, user, ld, op);
	return 0;
}

int blas_operand_temporary(struct blas_lane *lane, struct blas_operand *op, int64_t rows,
			   int64_t cols, unsigned int element)
{
	*op = (struct blas_operand){
		.ld = rows, .rows = rows, .cols = cols, .element = element,
	};
	return staging_take(lane, op, (uint64_t)(rows * cols) * element);
}

void blas_operand_put(struct blas_operand *op, bool ok)
{
	if (op->registered)
		accel_buffer_destroy(op->buffer);
	else if (ok && op->user && op->access & ACCEL_ACCESS_WRITE)
		copy_columns(op->user, op->user_ld, op->cpu, op->ld, op);
	*op = (struct blas_operand){ 0 };
}

/* ---- Products ----------------------------------------------------------- */

static int use_plan(struct blas_lane *lane, const struct accel_plan_config *config)
{
	struct accel_plan *plan;
	int ret;

	if (lane->plan && !memcmp(&lane->config, config, sizeof(*config)))
		return 0;
	ret = accel_plan_create(card.context, config, &plan);
	if (ret)
		return ret;
	accel_plan_destroy(lane->plan);
	lane->plan = plan;
	lane->config = *config;
	return 0;
}

static struct accel_place place(const struct blas_view *view, int64_t row, int64_t col)
{
	const struct blas_operand *op = view->op;

	return (struct accel_place){
		.buffer = op->buffer,
		.offset = op->offset + (uint64_t)((view->col + col) * op->ld + view->row + row) *
			  op->element,
	};
}

/* The column-major product is the row-major product of the transposed matrices, swapped. */
static void configure(struct accel_plan_config *config, const struct blas_product *p)
{
	accel_plan_config_init(config);
	config->flags = (p->tb ? ACCEL_MATMUL_TRANS_A : 0) | (p->ta ? ACCEL_MATMUL_TRANS_B : 0);
	config->m = (uint32_t)p->n;
	config->n = (uint32_t)p->m;
	config->k = (uint32_t)p->k;
	config->a_type = p->type ? p->type : ACCEL_TYPE_F32;
	config->lda = (uint64_t)p->b.op->ld;
	config->ldb = (uint64_t)p->a.op->ld;
	config->ldd = (uint64_t)p->c.op->ld;
	if (p->alpha != 1) {
		config->flags |= ACCEL_PLAN_ALPHA;
		config->alpha = p->alpha;
	}
	if (p->beta == 1 && p->alpha == 1) {
		config->flags |= ACCEL_MATMUL_ACCUMULATE;
	} else if (p->beta != 0) {
		config->flags |= ACCEL_PLAN_BETA;
		config->beta = p->beta;
	}
	if (p->beta != 0)
		config->ldc = config->ldd;
	if (p->batch) {
		config->batch_mode = ACCEL_BATCH_STRIDED;
		config->batch = (uint32_t)p->batch;
		config->a_stride = (uint64_t)p->b_stride * p->b.op->element;
		config->b_stride = (uint64_t)p->a_stride * p->a.op->element;
		config->d_stride = (uint64_t)p->c_stride * p->c.op->element;
		config->c_stride = p->beta != 0 ? config->d_stride : 0;
	}
}

/* A product that the card takes at once, whose places are (i, j) and term l further on. */
static int submit(struct blas_lane *lane, const struct blas_product *p, int64_t i, int64_t j,
		  int64_t l)
{
	struct accel_place places[4] = { { 0 } };
	struct accel_plan_config config;
	int ret;

	configure(&config, p);
	ret = use_plan(lane, &config);
	if (ret)
		return ret;
	places[ACCEL_OPERAND_A] = p->tb ? place(&p->b, j, l) : place(&p->b, l, j);
	places[ACCEL_OPERAND_B] = p->ta ? place(&p->a, l, i) : place(&p->a, i, l);
	places[ACCEL_OPERAND_D] = place(&p->c, i, j);
	if (p->beta != 0)
		places[ACCEL_OPERAND_C] = places[ACCEL_OPERAND_D];
	ret = accel_plan_run_async(lane->queue, lane->plan, places, 4, NULL);
	if (!ret) {
		blas_lane_changes(lane, p->c.op);
		lane->pending = true;
		lane->products++;
	}
	return ret;
}

int blas_lane_product(struct blas_lane *lane, const struct blas_product *product)
{
	int64_t max = card.dim_max;
	int ret = 0;

	for (int64_t i = 0; i < product->m && !ret; i += max)
		for (int64_t j = 0; j < product->n && !ret; j += max)
			for (int64_t l = 0; l < product->k && !ret; l += max) {
				struct blas_product part = *product;

				part.m = blas_min(max, product->m - i);
				part.n = blas_min(max, product->n - j);
				part.k = blas_min(max, product->k - l);
				part.beta = l ? 1 : product->beta;
				ret = submit(lane, &part, i, j, l);
			}
	return ret;
}

int blas_lane_wait(struct blas_lane *lane)
{
	uint64_t start;
	int ret;

	if (!lane->pending)
		return 0;
	lane->pending = false;
	start = blas_now();
	ret = accel_queue_finish(lane->queue, ACCEL_FOREVER);
	lane->waited += blas_now() - start;
	return ret;
}

void blas_lane_changes(struct blas_lane *lane, const struct blas_operand *op)
{
	lane->changed |= op->registered;
}

bool blas_lane_changed(const struct blas_lane *lane)
{
	return lane->changed;
}

const char *blas_lane_story(const struct blas_lane *lane)
{
	struct blas_lane *mine = (struct blas_lane *)lane;

	snprintf(mine->story, sizeof(mine->story),
		 "%u product%s, operands: %u registered, %u copied, waited %.3f ms", lane->products,
		 lane->products == 1 ? "" : "s", lane->registered, lane->copied,
		 (double)lane->waited / 1e6);
	return mine->story;
}

/* SPDX-License-Identifier: MIT */
/*
 * One case of accelctl bench: operands, runs, times, profile, and the check bit by bit.
 *
 * Two times: one run after the other, from the call to its return, and all submitted at
 * once, divided by their number. The profile is that of one more run.
 */
#include "bench.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "reference.h"
#include "reference_plan.h"

/* --- the plan ------------------------------------------------------------- */

static bool is_integer(uint32_t type)
{
	return type == ACCEL_TYPE_I8 || type == ACCEL_TYPE_I4;
}

static bool is_mx(uint32_t type)
{
	return type >= ACCEL_TYPE_MXFP8_E4M3 && type <= ACCEL_TYPE_MXFP4_E2M1;
}

/* Rows of elements of less than a byte start at bytes. */
static uint64_t leading(uint64_t given, uint64_t columns, uint32_t pad, uint32_t type)
{
	uint64_t grain = accel_type_bits(type) < 8 ? 4 : 1;

	return given ? given : (columns + pad + grain - 1) / grain * grain;
}

static uint64_t matrix_bytes(uint64_t rows, uint64_t ld, uint32_t type)
{
	return rows * ld * accel_type_bits(type) / 8;
}

static void resolve_strides(const struct bench *bench, struct accel_plan_config *c)
{
	bool ta = c->flags & ACCEL_MATMUL_TRANS_A, tb = c->flags & ACCEL_MATMUL_TRANS_B;

	if ((c->batch_mode == ACCEL_BATCH_STRIDED || c->batch_mode == ACCEL_BATCH_GROUPED) &&
	    !bench->share_b)
		c->b_stride = matrix_bytes(tb ? c->n : c->k, c->ldb, c->b_type);
	if (c->batch_mode != ACCEL_BATCH_STRIDED)
		return;
	if (!bench->share_a)
		c->a_stride = matrix_bytes(ta ? c->k : c->m, c->lda, c->a_type);
	c->d_stride = matrix_bytes(c->m, c->ldd, c->d_type);
	if (c->c_type)
		c->c_stride = matrix_bytes(c->m, c->ldc, c->c_type);
	if (c->residual_type)
		c->residual_stride = matrix_bytes(c->m, c->ldr, c->residual_type);
}

void bench_resolve(const struct bench *bench, struct accel_plan_config *c)
{
	bool ta = c->flags & ACCEL_MATMUL_TRANS_A, tb = c->flags & ACCEL_MATMUL_TRANS_B;
	uint32_t sum = is_integer(c->a_type) ? ACCEL_TYPE_I32 : ACCEL_TYPE_F32;
	uint64_t group;

	if (!c->b_type)
		c->b_type = c->a_type;
	if (!c->d_type)
		c->d_type = sum;
	if (c->flags & ACCEL_MATMUL_ACCUMULATE)
		c->c_type = sum;
	else if (c->flags & ACCEL_PLAN_BETA && !c->c_type)
		c->c_type = ACCEL_TYPE_F32;
	if (c->b_group && !c->b_scale_type)
		c->b_scale_type = c->a_type;
	c->lda = leading(c->lda, ta ? c->m : c->k, bench->pad, c->a_type);
	c->ldb = leading(c->ldb, tb ? c->k : c->n, bench->pad, c->b_type);
	c->ldd = leading(c->ldd, c->n, bench->pad, c->d_type);
	if (c->c_type)
		c->ldc = leading(c->ldc, c->n, bench->pad, c->c_type);
	if (c->residual_type)
		c->ldr = leading(c->ldr, c->n, bench->pad, c->residual_type);
	if (is_mx(c->a_type))
		c->lda_scale = (ta ? c->m : (c->k + 31ull) / 32) + bench->pad;
	group = is_mx(c->b_type) ? 32 : c->b_group;
	if (group)
		c->ldb_scale = (tb ? (c->k + group - 1) / group : c->n) + bench->pad;
	resolve_strides(bench, c);
}

/* --- operands -------------------------------------------------------------- */

struct run {
	const struct bench *bench;
	struct accel_context *context;
	struct accel_queue *queue;
	struct accel_plan *plan;
	struct ref_plan reference;
	uint8_t *data[ACCEL_OPERANDS];
	uint64_t size[ACCEL_OPERANDS];
	struct accel_place places[ACCEL_OPERANDS];
};

static uint32_t next(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

/* A float within a factor of 4 of 1, of either sign. */
static uint32_t near_one(uint32_t type, uint32_t x)
{
	switch (type) {
	case ACCEL_TYPE_F32:
		return (x & 0x807fffff) | (125 + (x >> 24 & 3)) << 23;
	case ACCEL_TYPE_BF16:
		return (x & 0x807f) | (125 + (x >> 16 & 3)) << 7;
	case ACCEL_TYPE_F16:
		return (x & 0x83ff) | (13 + (x >> 16 & 3)) << 10;
	case ACCEL_TYPE_E4M3:
	case ACCEL_TYPE_MXFP8_E4M3:
		return (x & 0x87) | (5 + (x >> 16 & 3)) << 3;
	case ACCEL_TYPE_E5M2:
	case ACCEL_TYPE_MXFP8_E5M2:
		return (x & 0x83) | (13 + (x >> 16 & 3)) << 2;
	default:
		return x;	/* all others have small numbers only */
	}
}

/*
 * Numbers of a matrix. Results of few bits want operands near 1, so that they are not all
 * infinite; sums as they are take all exponents.
 */
static void fill_numbers(uint8_t *data, uint64_t size, uint32_t type, uint32_t seed, bool small)
{
	struct ref_matrix matrix = { .data = data, .type = type };
	uint64_t step = accel_type_size(type) ? accel_type_size(type) : 1;
	uint32_t x = seed * 2654435761u + 12345;

	if (!small) {
		ref_fill(&matrix, size * 8 / accel_type_bits(type), seed, false);
		return;
	}
	for (uint64_t at = 0; at + step <= size; at += step) {
		uint32_t bits = near_one(type, next(&x));

		memcpy(data + at, &bits, step);
	}
}

/* Positive, from scale / 2 to scale * 4. */
static void fill_scales(uint8_t *data, uint64_t size, uint32_t type, uint32_t seed, float scale)
{
	uint64_t step = type ? accel_type_size(type) : 1;
	uint32_t x = seed * 2654435761u + 12345;

	for (uint64_t at = 0; at + step <= size; at += step) {
		uint32_t bits = next(&x), number;
		float value;

		if (!type) {	/* UE8M0 */
			data[at] = (uint8_t)(125 + (bits >> 24) % 5);
			continue;
		}
		number = near_one(type, bits) & ~(type == ACCEL_TYPE_F32 ? 0x80000000u : 0x8000u);
		if (type == ACCEL_TYPE_F32) {
			memcpy(&value, &number, sizeof(value));
			value *= scale;
			memcpy(&number, &value, sizeof(number));
		}
		memcpy(data + at, &number, step);
	}
}

/* What brings the sums of integers to the size of ordinary numbers. */
static float sum_scale(const struct accel_plan_config *c)
{
	float element = c->a_type == ACCEL_TYPE_I8 ? 74 : 4.6f;

	if (!is_integer(c->a_type))
		return 1;
	element *= c->b_type == ACCEL_TYPE_I8 ? 74 : 4.6f;
	return 32 / (element * sqrtf((float)c->k));
}

static uint32_t random_rows(uint32_t left, uint32_t groups, uint32_t *seed)
{
	uint64_t most = 2ull * left / groups;

	if (groups == 1)
		return left;
	return (uint32_t)(next(seed) % (most + 1));
}

/* Sizes of groups, which together are m; or items from the last place to the first. */
static void fill_items(struct run *r, uint8_t *data, const uint64_t one[ACCEL_OPERANDS])
{
	const struct accel_plan_config *c = &r->reference.config;
	uint32_t seed = r->bench->seed * 2654435761u + 99, left = c->m;

	for (uint32_t i = 0; i < c->batch; i++) {
		uint64_t at = c->batch - 1 - i;
		struct accel_plan_item item = {
			.a = r->bench->share_a ? 0 : at * one[ACCEL_OPERAND_A],
			.b = r->bench->share_b ? 0 : at * one[ACCEL_OPERAND_B],
			.c = at * one[ACCEL_OPERAND_C], .d = at * one[ACCEL_OPERAND_D],
			.residual = at * one[ACCEL_OPERAND_RESIDUAL],
			.a_scale = r->bench->share_a ? 0 : at * one[ACCEL_OPERAND_A_SCALE],
			.b_scale = r->bench->share_b ? 0 : at * one[ACCEL_OPERAND_B_SCALE],
			.b_zero = r->bench->share_b ? 0 : at * one[ACCEL_OPERAND_B_ZERO],
		};

		if (c->batch_mode == ACCEL_BATCH_ITEMS) {
			memcpy(data + i * sizeof(item), &item, sizeof(item));
		} else {
			uint32_t rows = random_rows(left, c->batch - i, &seed);

			memcpy(data + i * sizeof(rows), &rows, sizeof(rows));
			left -= rows;
		}
	}
}

static bool is_item_operand(unsigned int i)
{
	return i <= ACCEL_OPERAND_B_ZERO || i == ACCEL_OPERAND_RESIDUAL;
}

static void fill(struct run *r, unsigned int i)
{
	const struct accel_plan_config *c = &r->reference.config;
	bool sums = c->d_type == ACCEL_TYPE_I32 || c->d_type == ACCEL_TYPE_F32;
	bool small = !sums || c->activation || c->flags & ACCEL_PLAN_BETA || c->residual_type;
	uint32_t seed = r->bench->seed + i, types[ACCEL_OPERANDS] = { 0 };
	uint64_t size = r->size[i];
	uint8_t *data = r->data[i];

	types[ACCEL_OPERAND_A] = c->a_type;
	types[ACCEL_OPERAND_B] = c->b_type;
	types[ACCEL_OPERAND_C] = c->c_type;
	types[ACCEL_OPERAND_BIAS] = c->bias_type;
	types[ACCEL_OPERAND_RESIDUAL] = c->residual_type;
	switch (i) {
	case ACCEL_OPERAND_D:
		break;
	case ACCEL_OPERAND_A_SCALE:
		fill_scales(data, size, 0, seed, 1);
		break;
	case ACCEL_OPERAND_B_SCALE:
		fill_scales(data, size, c->b_group ? c->b_scale_type : 0, seed, 1);
		break;
	case ACCEL_OPERAND_ROW_SCALE:
	case ACCEL_OPERAND_COL_SCALE:
		fill_scales(data, size, ACCEL_TYPE_F32, seed, 1);
		break;
	case ACCEL_OPERAND_D_SCALE:
		fill_scales(data, size, ACCEL_TYPE_F32, seed, sum_scale(c));
		break;
	case ACCEL_OPERAND_B_ZERO:
	case ACCEL_OPERAND_D_ZERO:
		fill_numbers(data, size, ACCEL_TYPE_I8, seed, true);
		break;
	default:
		fill_numbers(data, size, types[i], seed, small);
	}
}

static int upload(struct run *r)
{
	const struct accel_plan_config *c = &r->reference.config;
	uint64_t one[ACCEL_OPERANDS];
	int ret = 0;

	for (unsigned int i = 0; i < ACCEL_OPERANDS && !ret; i++) {
		one[i] = accel_plan_operand_size(r->plan, i);
		r->size[i] = one[i];
		if (!one[i])
			continue;
		if (c->batch_mode == ACCEL_BATCH_ITEMS && is_item_operand(i)) {
			one[i] = (one[i] + 63) / 64 * 64;
			r->size[i] = one[i] * c->batch;
		}
		r->data[i] = calloc(1, r->size[i]);
		if (!r->data[i])
			return -ENOMEM;
		r->reference.data[i] = r->data[i];
		if (i == ACCEL_OPERAND_ITEMS)
			fill_items(r, r->data[i], one);
		else
			fill(r, i);
		ret = accel_buffer_create(r->context, r->size[i], r->bench->memory, &r->places[i].buffer);
		if (!ret)
			ret = accel_buffer_write(r->places[i].buffer, 0, r->data[i], r->size[i]);
	}
	return ret;
}

/* --- measuring --------------------------------------------------------------- */

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int submit(struct run *r, struct accel_event **event)
{
	return accel_plan_run_async(r->queue, r->plan, r->places, ACCEL_OPERANDS, event);
}

static int run_once(struct run *r)
{
	return accel_plan_run(r->queue, r->plan, r->places, ACCEL_OPERANDS);
}

static int compare_times(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static int measure(struct run *r, struct bench_result *result)
{
	unsigned int count = r->bench->iterations;
	struct accel_event *event;
	double start;
	int ret = run_once(r);	/* warm */

	for (unsigned int i = 0; i < count && !ret; i++) {
		start = seconds();
		ret = run_once(r);
		result->times[i] = seconds() - start;
	}
	if (ret)
		return ret;
	qsort(result->times, count, sizeof(*result->times), compare_times);
	start = seconds();
	for (unsigned int i = 1; i < count && !ret; i++)
		ret = submit(r, NULL);
	if (!ret)
		ret = submit(r, &event);
	if (ret)
		return ret;
	ret = accel_event_wait(event, ACCEL_FOREVER);
	result->pipelined = (seconds() - start) / count;
	accel_event_destroy(event);
	return ret;
}

/* A card that tells no times has no profile, which is no error. */
static int profile(struct run *r, struct bench_result *result)
{
	struct accel_event *event;
	int ret = accel_queue_set_profiling(r->queue, 1);

	if (ret == -ENOTSUP)
		return 0;
	if (!ret)
		ret = submit(r, &event);
	if (ret)
		return ret;
	accel_profile_init(&result->profile);
	ret = accel_event_wait(event, ACCEL_FOREVER);
	if (!ret)
		ret = accel_event_get_profile(event, &result->profile);
	accel_event_destroy(event);
	result->profiled = !ret;
	return ret;
}

/* --- the check ---------------------------------------------------------------- */

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void check_element(struct run *r, const uint8_t *d, uint64_t index, struct bench_result *result)
{
	struct ref_place place = ref_plan_place(&r->reference, index);
	uint32_t got = 0, wanted = ref_plan_element(&r->reference, &place);

	memcpy(&got, d + ref_plan_offset(&r->reference, &place),
	       accel_type_size(r->reference.config.d_type));
	if (got == wanted)
		return;
	if (!result->wrong++) {
		result->wrong_item = place.item;
		result->wrong_row = place.row;
		result->wrong_column = place.column;
		result->got = got;
		result->wanted = wanted;
	}
}

/* Compares all elements, or a random sample that the seed decides. */
static int check(struct run *r, struct bench_result *result)
{
	uint64_t total = ref_plan_elements(&r->reference), size = r->size[ACCEL_OPERAND_D];
	uint64_t random = r->bench->seed * 2654435769ull + 88172645463325252ull;
	bool full = r->bench->check >= total;
	uint8_t *d = malloc(size);
	int ret;

	if (!d)
		return -ENOMEM;
	ret = accel_buffer_read(r->places[ACCEL_OPERAND_D].buffer, 0, d, size);
	result->elements = total;
	result->checked = full ? total : r->bench->check;
	for (uint64_t x = 0; x < result->checked && !ret; x++)
		check_element(r, d, full ? x : next_random(&random) % total, result);
	free(d);
	return ret;
}

/* --- all of it ----------------------------------------------------------------- */

static double operations(const struct accel_plan_config *c)
{
	double ops = 2.0 * c->m * c->n * c->k;

	return c->batch_mode == ACCEL_BATCH_STRIDED || c->batch_mode == ACCEL_BATCH_ITEMS ?
	       ops * c->batch : ops;
}

int bench_case_run(struct accel_device *device, const struct bench *bench,
		   const struct accel_plan_config *config, struct bench_result *result)
{
	struct run r = { .bench = bench, .reference = { .config = *config } };
	int ret;

	memset(result, 0, sizeof(*result));
	result->times = calloc(bench->iterations, sizeof(*result->times));
	result->ops = operations(config);
	if (!result->times)
		return -ENOMEM;
	ret = accel_context_create(device, 0, &r.context);
	if (!ret)
		ret = accel_queue_create(r.context, ACCEL_PRIORITY_MEDIUM, &r.queue);
	if (!ret)
		ret = accel_plan_create(r.context, config, &r.plan);
	if (!ret)
		ret = upload(&r);
	if (!ret)
		ret = measure(&r, result);
	if (!ret)
		ret = profile(&r, result);
	if (!ret && bench->check)
		ret = check(&r, result);
	accel_queue_destroy(r.queue);
	for (unsigned int i = 0; i < ACCEL_OPERANDS; i++) {
		accel_buffer_destroy(r.places[i].buffer);
		free(r.data[i]);
	}
	accel_plan_destroy(r.plan);
	accel_context_destroy(r.context);
	return ret;
}

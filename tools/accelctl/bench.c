/* SPDX-License-Identifier: MIT */
/*
 * accelctl bench matmul: how fast the card multiplies, seen from a process, and whether the
 * bits are right.
 *
 * Two figures: one matmul at a time, from the call to its return (the median), and all
 * iterations submitted at once, divided by their number.
 */
#include "accelctl.h"
#include "reference.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SAMPLE 1024

enum { OPT_TYPE = 1000, OPT_B_TYPE, OPT_ITERATIONS, OPT_CHECK, OPT_SEED, OPT_TRANS_A, OPT_TRANS_B, OPT_ACCUMULATE,
       OPT_M, OPT_N, OPT_K };

static const struct option options[] = {
	{ "type", required_argument, NULL, OPT_TYPE },
	{ "b-type", required_argument, NULL, OPT_B_TYPE },
	{ "iterations", required_argument, NULL, OPT_ITERATIONS },
	{ "check", optional_argument, NULL, OPT_CHECK },
	{ "seed", required_argument, NULL, OPT_SEED },
	{ "trans-a", no_argument, NULL, OPT_TRANS_A },
	{ "trans-b", no_argument, NULL, OPT_TRANS_B },
	{ "accumulate", no_argument, NULL, OPT_ACCUMULATE },
	{ "m", required_argument, NULL, OPT_M },
	{ "n", required_argument, NULL, OPT_N },
	{ "k", required_argument, NULL, OPT_K },
	{ NULL, 0, NULL, 0 },
};

static const struct {
	const char *name;
	uint32_t type;
} type_names[] = {
	{ "f32", ACCEL_TYPE_F32 }, { "bf16", ACCEL_TYPE_BF16 }, { "fp16", ACCEL_TYPE_F16 },
	{ "int8", ACCEL_TYPE_I8 }, { "int4", ACCEL_TYPE_I4 }, { "e4m3", ACCEL_TYPE_E4M3 },
	{ "e5m2", ACCEL_TYPE_E5M2 }, { "mxfp8", ACCEL_TYPE_MXFP8_E4M3 },
	{ "mxfp8-e5m2", ACCEL_TYPE_MXFP8_E5M2 }, { "mxfp6", ACCEL_TYPE_MXFP6_E2M3 },
	{ "mxfp6-e3m2", ACCEL_TYPE_MXFP6_E3M2 }, { "mxfp4", ACCEL_TYPE_MXFP4_E2M1 },
	{ "f16", ACCEL_TYPE_F16 }, { "i8", ACCEL_TYPE_I8 }, { "i4", ACCEL_TYPE_I4 },
};

#define TYPE_NAMES "f32, bf16, fp16, int8, int4, e4m3, e5m2, mxfp8, mxfp8-e5m2, mxfp6, mxfp6-e3m2, mxfp4"

static bool is_integer(uint32_t type)
{
	return type == ACCEL_TYPE_I8 || type == ACCEL_TYPE_I4;
}

static bool is_mx(uint32_t type)
{
	return type >= ACCEL_TYPE_MXFP8_E4M3 && type <= ACCEL_TYPE_MXFP4_E2M1;
}

static const char *type_name(uint32_t type)
{
	for (size_t i = 0; i < ARRAY_SIZE(type_names); i++)
		if (type_names[i].type == type)
			return type_names[i].name;
	return "?";
}

static enum status take_number(struct ctl *ctl, const char *name, const char *argument,
			       uint32_t min, uint32_t *value)
{
	unsigned long long number;
	char *end;

	errno = 0;
	number = strtoull(argument, &end, 0);
	if (errno || *argument == '-' || end == argument || *end || number < min || number > INT32_MAX)
		return error(ctl, STATUS_USAGE, "--%s: \"%s\" is no number from %u to %d", name, argument,
			     min, INT32_MAX);
	*value = (uint32_t)number;
	return STATUS_OK;
}

static enum status take_type(struct ctl *ctl, const char *option, const char *argument,
			     uint32_t *type)
{
	for (size_t i = 0; i < ARRAY_SIZE(type_names); i++) {
		if (!strcmp(argument, type_names[i].name)) {
			*type = type_names[i].type;
			return STATUS_OK;
		}
	}
	return error(ctl, STATUS_USAGE, "--%s: \"%s\" is none of " TYPE_NAMES, option, argument);
}

static enum status take_check(struct ctl *ctl, const char *argument)
{
	if (!argument || !strcmp(argument, "sample"))
		ctl->bench.check = SAMPLE;
	else if (!strcmp(argument, "full"))
		ctl->bench.check = UINT_MAX;
	else if (!strcmp(argument, "none"))
		ctl->bench.check = 0;
	else
		return error(ctl, STATUS_USAGE, "--check: \"%s\" is none of sample, full, none", argument);
	return STATUS_OK;
}

static enum status bench_option(struct ctl *ctl, int value, const char *argument)
{
	struct bench *bench = &ctl->bench;

	switch (value) {
	case OPT_TYPE:
		return take_type(ctl, "type", argument, &bench->type);
	case OPT_B_TYPE:
		return take_type(ctl, "b-type", argument, &bench->b_type);
	case OPT_ITERATIONS:
		return take_number(ctl, "iterations", argument, 1, &bench->iterations);
	case OPT_CHECK:
		return take_check(ctl, argument);
	case OPT_SEED:
		return take_number(ctl, "seed", argument, 0, &bench->seed);
	case OPT_TRANS_A:
		bench->flags |= ACCEL_MATMUL_TRANS_A;
		return STATUS_OK;
	case OPT_TRANS_B:
		bench->flags |= ACCEL_MATMUL_TRANS_B;
		return STATUS_OK;
	case OPT_ACCUMULATE:
		bench->flags |= ACCEL_MATMUL_ACCUMULATE;
		return STATUS_OK;
	case OPT_M:
		return take_number(ctl, "m", argument, 1, &bench->m);
	case OPT_N:
		return take_number(ctl, "n", argument, 1, &bench->n);
	default:
		return take_number(ctl, "k", argument, 1, &bench->k);
	}
}

static enum status bench_arguments(struct ctl *ctl, int count, char **arguments)
{
	if (!count || strcmp(arguments[0], "matmul"))
		return error(ctl, STATUS_USAGE, "bench what? There is: matmul");
	if (count > 1)
		return error(ctl, STATUS_USAGE, "unexpected argument \"%s\"", arguments[1]);
	return STATUS_OK;
}

/* Operands on the card, and the CPU's copies for the check. */
enum { A, B, C, D, A_SCALE, B_SCALE, BUFFERS };

struct job {
	struct accel_device *device;
	struct accel_context *context;
	struct accel_queue *queue;
	struct accel_plan *plan;
	struct ref_matrix matrices[4];	/* A, B, C, D */
	uint8_t *data[BUFFERS];
	struct accel_place places[BUFFERS];
	double *times;
	double total;
	uint64_t elements;	/* of D */
	uint64_t checked, wrong;
};

_Static_assert((int)A_SCALE == (int)ACCEL_OPERAND_A_SCALE && (int)B_SCALE == (int)ACCEL_OPERAND_B_SCALE &&
	       (int)D == (int)ACCEL_OPERAND_D, "operands stand in the library's order");

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Scales from a quarter to four. */
static void fill_scales(uint8_t *scales, uint64_t size, uint32_t seed)
{
	for (uint64_t i = 0; i < size; i++) {
		seed = seed * 1664525u + 1013904223u;
		scales[i] = (uint8_t)(125 + (seed >> 24) % 5);
	}
}

static int upload(struct job *job, int i, uint32_t seed)
{
	uint64_t size = accel_plan_operand_size(job->plan, (uint32_t)i);
	int ret;

	if (!size)
		return 0;
	job->data[i] = calloc(1, size);
	if (!job->data[i])
		return -ENOMEM;
	ret = accel_buffer_create(job->context, size, ACCEL_BUFFER_CARD, &job->places[i].buffer);
	if (i < 4)
		job->matrices[i].data = job->data[i];
	if (ret || i == D)
		return ret;
	if (i < 4)
		ref_fill(&job->matrices[i], size * 8 / accel_type_bits(job->matrices[i].type),
			 seed + (uint32_t)i, false);
	else
		fill_scales(job->data[i], size, seed + (uint32_t)i);
	return accel_buffer_write(job->places[i].buffer, 0, job->data[i], size);
}

/* Rows of elements of less than a byte start at bytes. */
static uint64_t leading(uint64_t columns, uint32_t type)
{
	return accel_type_bits(type) < 8 ? (columns + 3) / 4 * 4 : columns;
}

static int prepare(struct job *job, const struct bench *bench)
{
	bool ta = bench->flags & ACCEL_MATMUL_TRANS_A, tb = bench->flags & ACCEL_MATMUL_TRANS_B;
	uint64_t groups = (bench->k + 31ull) / 32;
	struct ref_matrix *m = job->matrices;
	struct accel_plan_config config;
	int ret;

	m[A].type = bench->type;
	m[B].type = bench->b_type ? bench->b_type : bench->type;
	m[C].type = m[D].type = is_integer(bench->type) ? ACCEL_TYPE_I32 : ACCEL_TYPE_F32;
	m[A].ld = leading(ta ? bench->m : bench->k, m[A].type);
	m[B].ld = leading(tb ? bench->k : bench->n, m[B].type);
	m[C].ld = m[D].ld = bench->n;
	m[A].scale_ld = ta ? bench->m : groups;
	m[B].scale_ld = tb ? groups : bench->n;
	accel_plan_config_init(&config);
	config.flags = bench->flags;
	config.m = bench->m;
	config.n = bench->n;
	config.k = bench->k;
	config.a_type = m[A].type;
	config.b_type = m[B].type;
	config.lda = m[A].ld;
	config.ldb = m[B].ld;
	ret = accel_plan_create(job->context, &config, &job->plan);
	for (int i = 0; i < BUFFERS && !ret; i++)
		ret = upload(job, i, bench->seed);
	m[A].scales = is_mx(m[A].type) ? job->data[A_SCALE] : NULL;
	m[B].scales = is_mx(m[B].type) ? job->data[B_SCALE] : NULL;
	job->elements = (uint64_t)bench->m * bench->n;
	return ret;
}

static int run_once(struct job *job)
{
	return accel_plan_run(job->queue, job->plan, job->places, BUFFERS);
}

static int submit(struct job *job, struct accel_event **event)
{
	return accel_plan_run_async(job->queue, job->plan, job->places, BUFFERS, event);
}

static int measure(struct job *job, unsigned int iterations)
{
	struct accel_event *event;
	double start;
	int ret;

	ret = run_once(job);	/* warm */
	for (unsigned int i = 0; i < iterations && !ret; i++) {
		start = seconds();
		ret = run_once(job);
		job->times[i] = seconds() - start;
	}
	if (ret)
		return ret;
	start = seconds();
	for (unsigned int i = 1; i < iterations && !ret; i++)
		ret = submit(job, NULL);
	if (!ret)
		ret = submit(job, &event);
	if (ret)
		return ret;
	ret = accel_event_wait(event, ACCEL_FOREVER);
	job->total = seconds() - start;
	accel_event_destroy(event);
	return ret;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Compares all elements, or a random sample that the seed decides. */
static int check(struct job *job, const struct bench *bench, struct json_object *result)
{
	const struct ref_matrix *m = job->matrices;
	uint64_t total = job->elements, random = bench->seed * 2654435769ull + 88172645463325252ull;
	bool full = bench->check >= total;
	int ret = accel_buffer_read(job->places[D].buffer, 0, m[D].data, total * 4);

	if (ret)
		return ret;
	job->checked = full ? total : bench->check;
	for (uint64_t x = 0; x < job->checked; x++) {
		uint64_t at = full ? x : next_random(&random) % total;
		uint32_t got, wanted;

		memcpy(&got, m[3].data + at * 4, 4);
		wanted = ref_element(bench->flags, bench->k, &m[0], &m[1], &m[2], at / bench->n,
				     at % bench->n);
		if (ref_same(m[3].type, got, wanted))
			continue;
		if (!job->wrong++) {
			struct json_object *first = json_object_new_object();

			add_int(first, "row", (int64_t)(at / bench->n));
			add_int(first, "column", (int64_t)(at % bench->n));
			add_format(first, "got", "0x%08x", got);
			add_format(first, "wanted", "0x%08x", wanted);
			json_object_object_add(result, "first_wrong", first);
		}
	}
	return 0;
}

static int compare_times(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void report(struct ctl *ctl, struct job *job)
{
	const struct bench *bench = &ctl->bench;
	struct json_object *object = json_object_new_object();
	double ops = 2.0 * bench->m * bench->n * bench->k, median, each;
	unsigned int count = bench->iterations;

	qsort(job->times, count, sizeof(*job->times), compare_times);
	median = job->times[count / 2];
	each = job->total / count;
	add_int(object, "iterations", count);
	add_double(object, "seconds_min", job->times[0]);
	add_double(object, "seconds_median", median);
	add_double(object, "seconds_max", job->times[count - 1]);
	add_double(object, "seconds_pipelined", each);
	add_double(object, "gops_blocking", ops / median / 1e9);
	add_double(object, "gops_pipelined", ops / each / 1e9);
	json_object_object_add(ctl->doc, "result", object);
	print(ctl, "matmul %s%s%s, m %u, n %u, k %u%s%s%s, %u iterations\n", type_name(bench->type),
	      bench->b_type ? " x " : "", bench->b_type ? type_name(bench->b_type) : "", bench->m,
	      bench->n, bench->k, bench->flags & ACCEL_MATMUL_TRANS_A ? ", A transposed" : "",
	      bench->flags & ACCEL_MATMUL_TRANS_B ? ", B transposed" : "",
	      bench->flags & ACCEL_MATMUL_ACCUMULATE ? ", accumulating" : "", count);
	print(ctl, "  one at a time   %10.3f ms  (%.3f .. %.3f)  %8.2f %s\n", median * 1e3,
	      job->times[0] * 1e3, job->times[count - 1] * 1e3, ops / median / 1e9,
	      is_integer(bench->type) ? "GOP/s" : "GFLOP/s");
	print(ctl, "  pipelined       %10.3f ms%*s%8.2f %s\n", each * 1e3, 22, "", ops / each / 1e9,
	      is_integer(bench->type) ? "GOP/s" : "GFLOP/s");
}

static enum status report_check(struct ctl *ctl, struct job *job)
{
	struct json_object *object = json_object_new_object();
	int ret;

	json_object_object_add(ctl->doc, "check", object);
	print(ctl, "  checking ...\n");
	ret = check(job, &ctl->bench, object);
	if (ret)
		return accel_failed(ctl, ret);
	add_int(object, "elements", (int64_t)job->elements);
	add_int(object, "checked", (int64_t)job->checked);
	add_int(object, "wrong", (int64_t)job->wrong);
	print(ctl, "  checked         %" PRIu64 " of %" PRIu64 " elements bit by bit, %" PRIu64 " wrong\n",
	      job->checked, job->elements, job->wrong);
	if (job->wrong)
		return error(ctl, STATUS_FAILED, "%" PRIu64 " of %" PRIu64 " checked elements are wrong",
			     job->wrong, job->checked);
	return STATUS_OK;
}

static enum status run_job(struct ctl *ctl, struct job *job)
{
	const struct bench *bench = &ctl->bench;
	enum status status = STATUS_OK;
	int ret;

	job->times = calloc(bench->iterations, sizeof(*job->times));
	if (!job->times)
		abort();
	ret = accel_context_create(job->device, 0, &job->context);
	if (!ret)
		ret = accel_queue_create(job->context, ACCEL_PRIORITY_MEDIUM, &job->queue);
	if (!ret)
		ret = prepare(job, bench);
	if (!ret)
		ret = measure(job, bench->iterations);
	if (ret == -ENOMEM) {
		status = error(ctl, STATUS_DEVICE, "not enough memory for the operands");
	} else if (ret) {
		status = accel_failed(ctl, ret);
	} else {
		report(ctl, job);
		if (bench->check)
			status = report_check(ctl, job);
	}
	accel_queue_destroy(job->queue);
	for (int i = 0; i < BUFFERS; i++) {
		accel_buffer_destroy(job->places[i].buffer);
		free(job->data[i]);
	}
	accel_plan_destroy(job->plan);
	accel_context_destroy(job->context);
	free(job->times);
	return status;
}

static enum status check_dims(struct ctl *ctl, const struct card *card)
{
	const struct bench *bench = &ctl->bench;
	uint32_t max = card->info.dim_max;

	if (bench->m > max || bench->n > max || bench->k > max)
		return error(ctl, STATUS_USAGE, "the card's matmuls end at %u x %u x %u", max, max, max);
	return STATUS_OK;
}

static enum status run_bench(struct ctl *ctl)
{
	struct json_object *parameters = json_object_new_object();
	const struct bench *bench = &ctl->bench;
	struct job job = { 0 };
	struct card card;
	enum status status;

	add_text(parameters, "type", type_name(bench->type));
	add_text(parameters, "b_type", type_name(bench->b_type ? bench->b_type : bench->type));
	add_int(parameters, "m", bench->m);
	add_int(parameters, "n", bench->n);
	add_int(parameters, "k", bench->k);
	add_bool(parameters, "trans_a", bench->flags & ACCEL_MATMUL_TRANS_A);
	add_bool(parameters, "trans_b", bench->flags & ACCEL_MATMUL_TRANS_B);
	add_bool(parameters, "accumulate", bench->flags & ACCEL_MATMUL_ACCUMULATE);
	add_int(parameters, "seed", bench->seed);
	json_object_object_add(ctl->doc, "parameters", parameters);
	status = choose_card(ctl, &card);
	if (!status)
		status = open_card(ctl, &card, &job.device);
	if (status)
		return status;
	add_text(ctl->doc, "pci_address", card.pci.address);
	status = check_dims(ctl, &card);
	if (!status)
		status = run_job(ctl, &job);
	accel_device_close(job.device);
	return status;
}

const struct command command_bench = {
	.name = "bench",
	.summary = "measure matmuls, and check them bit by bit",
	.usage = "matmul",
	.options =
		"  --type TYPE        f32 (default), bf16, fp16, int8, int4, e4m3, e5m2, mxfp8,\n"
		"                     mxfp8-e5m2, mxfp6, mxfp6-e3m2, mxfp4\n"
		"  --b-type TYPE      of the right operand, if it is another\n"
		"  -m M, -n N, -k K   D is M x N, the sums have K terms (default: 1024 each)\n"
		"  --iterations N     how often (default: 10)\n"
		"  --trans-a          A is stored transposed; --trans-b likewise\n"
		"  --accumulate       add to a third operand\n"
		"  --check[=HOW]      compare with the scalar reference: sample (1024 random\n"
		"                     elements, all if there are fewer; default), full, none\n"
		"  --seed N           of operands and sample (default: 1)\n",
	.timeout = 600,
	.long_options = options,
	.option = bench_option,
	.arguments = bench_arguments,
	.run = run_bench,
};

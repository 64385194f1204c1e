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

enum { OPT_TYPE = 1000, OPT_ITERATIONS, OPT_CHECK, OPT_SEED, OPT_TRANS_A, OPT_TRANS_B, OPT_ACCUMULATE,
       OPT_M, OPT_N, OPT_K };

static const struct option options[] = {
	{ "type", required_argument, NULL, OPT_TYPE },
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
	{ "int8", ACCEL_TYPE_I8 }, { "f16", ACCEL_TYPE_F16 }, { "i8", ACCEL_TYPE_I8 },
};

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

static enum status take_type(struct ctl *ctl, const char *argument)
{
	for (size_t i = 0; i < ARRAY_SIZE(type_names); i++) {
		if (!strcmp(argument, type_names[i].name)) {
			ctl->bench.type = type_names[i].type;
			return STATUS_OK;
		}
	}
	return error(ctl, STATUS_USAGE, "--type: \"%s\" is none of f32, bf16, fp16, int8", argument);
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
		return take_type(ctl, argument);
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
struct job {
	struct accel_device *device;
	struct accel_context *context;
	struct accel_queue *queue;
	struct ref_matrix matrices[4];	/* A, B, C, D */
	uint64_t elements[4];
	struct accel_buffer *buffers[4];
	struct accel_matmul matmul;
	double *times;
	double total;
	uint64_t checked, wrong;
};

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int upload(struct job *job, int i, uint32_t seed)
{
	uint64_t size = job->elements[i] * accel_type_size(job->matrices[i].type);
	int ret;

	job->matrices[i].data = malloc(size);
	if (!job->matrices[i].data)
		return -ENOMEM;
	ret = accel_buffer_create(job->context, size, ACCEL_BUFFER_CARD, &job->buffers[i]);
	if (ret || i == 3)
		return ret;
	ref_fill(&job->matrices[i], job->elements[i], seed + (uint32_t)i, false);
	return accel_buffer_write(job->buffers[i], 0, job->matrices[i].data, size);
}

static int prepare(struct job *job, const struct bench *bench)
{
	uint32_t result = bench->type == ACCEL_TYPE_I8 ? ACCEL_TYPE_I32 : ACCEL_TYPE_F32;
	const uint64_t columns[] = {
		bench->flags & ACCEL_MATMUL_TRANS_A ? bench->m : bench->k,
		bench->flags & ACCEL_MATMUL_TRANS_B ? bench->k : bench->n, bench->n, bench->n,
	};
	const uint64_t elements[] = {
		(uint64_t)bench->m * bench->k, (uint64_t)bench->k * bench->n,
		(uint64_t)bench->m * bench->n, (uint64_t)bench->m * bench->n,
	};
	struct accel_matmul *p = &job->matmul;
	struct accel_matrix *const matrices[] = { &p->a, &p->b, &p->c, &p->d };

	accel_matmul_init(p);
	p->flags = bench->flags;
	p->m = bench->m;
	p->n = bench->n;
	p->k = bench->k;
	for (int i = 0; i < 4; i++) {
		int ret;

		if (i == 2 && !(bench->flags & ACCEL_MATMUL_ACCUMULATE))
			continue;
		job->matrices[i].type = i < 2 ? bench->type : result;
		job->matrices[i].ld = columns[i];
		job->elements[i] = elements[i];
		ret = upload(job, i, bench->seed);
		if (ret)
			return ret;
		matrices[i]->buffer = job->buffers[i];
		matrices[i]->type = job->matrices[i].type;
	}
	return 0;
}

static int measure(struct job *job, unsigned int iterations)
{
	struct accel_event *event;
	double start;
	int ret;

	ret = accel_matmul(job->queue, &job->matmul);	/* warm */
	for (unsigned int i = 0; i < iterations && !ret; i++) {
		start = seconds();
		ret = accel_matmul(job->queue, &job->matmul);
		job->times[i] = seconds() - start;
	}
	if (ret)
		return ret;
	start = seconds();
	for (unsigned int i = 1; i < iterations && !ret; i++)
		ret = accel_matmul_async(job->queue, &job->matmul, NULL);
	if (!ret)
		ret = accel_matmul_async(job->queue, &job->matmul, &event);
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
	uint64_t total = job->elements[3], random = bench->seed * 2654435769ull + 88172645463325252ull;
	bool full = bench->check >= total;
	int ret = accel_buffer_read(job->buffers[3], 0, m[3].data, total * 4);

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
	print(ctl, "matmul %s, m %u, n %u, k %u%s%s%s, %u iterations\n", type_name(bench->type), bench->m,
	      bench->n, bench->k, bench->flags & ACCEL_MATMUL_TRANS_A ? ", A transposed" : "",
	      bench->flags & ACCEL_MATMUL_TRANS_B ? ", B transposed" : "",
	      bench->flags & ACCEL_MATMUL_ACCUMULATE ? ", accumulating" : "", count);
	print(ctl, "  one at a time   %10.3f ms  (%.3f .. %.3f)  %8.2f %s\n", median * 1e3,
	      job->times[0] * 1e3, job->times[count - 1] * 1e3, ops / median / 1e9,
	      bench->type == ACCEL_TYPE_I8 ? "GOP/s" : "GFLOP/s");
	print(ctl, "  pipelined       %10.3f ms%*s%8.2f %s\n", each * 1e3, 22, "", ops / each / 1e9,
	      bench->type == ACCEL_TYPE_I8 ? "GOP/s" : "GFLOP/s");
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
	add_int(object, "elements", (int64_t)job->elements[3]);
	add_int(object, "checked", (int64_t)job->checked);
	add_int(object, "wrong", (int64_t)job->wrong);
	print(ctl, "  checked         %" PRIu64 " of %" PRIu64 " elements bit by bit, %" PRIu64 " wrong\n",
	      job->checked, job->elements[3], job->wrong);
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
	for (int i = 0; i < 4; i++) {
		accel_buffer_destroy(job->buffers[i]);
		free(job->matrices[i].data);
	}
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
		"  --type TYPE        f32, bf16, fp16 or int8 (default: f32)\n"
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

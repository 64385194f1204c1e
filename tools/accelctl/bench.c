/* SPDX-License-Identifier: MIT */
/*
 * accelctl bench matmul: how fast the card multiplies, seen from a process and by the card's own
 * clock, and whether the bits are right. This file has the options, the sweep over sizes and types, and
 * the report; bench_case.c does the work of one case.
 */
#include "accelctl.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLE 1024

enum {
	OPT_TYPE = 1000, OPT_B_TYPE, OPT_C_TYPE, OPT_D_TYPE, OPT_BIAS, OPT_RESIDUAL, OPT_B_SCALE_TYPE,
	OPT_ACTIVATION, OPT_ALPHA, OPT_BETA, OPT_D_SCALE, OPT_B_GROUP,
	OPT_BATCH, OPT_BATCH_MODE, OPT_SHARE, OPT_LDA, OPT_LDB, OPT_LDC, OPT_LDD, OPT_LDR, OPT_PAD,
	OPT_MEMORY, OPT_ITERATIONS, OPT_CHECK, OPT_SEED, OPT_M, OPT_N, OPT_K, OPT_S, OPT_SWEEP,
	OPT_FLAGS,	/* the rest: options that are a flag of the plan each */
};

static const struct {
	const char *name;
	uint32_t flag;
} plan_flags[] = {
	{ "trans-a", ACCEL_MATMUL_TRANS_A }, { "trans-b", ACCEL_MATMUL_TRANS_B },
	{ "accumulate", ACCEL_MATMUL_ACCUMULATE }, { "row-scale", ACCEL_PLAN_ROW_SCALE },
	{ "col-scale", ACCEL_PLAN_COL_SCALE }, { "d-zero", ACCEL_PLAN_D_ZERO },
	{ "b-zero", ACCEL_PLAN_B_ZERO }, { "no-saturate", ACCEL_PLAN_NO_SATURATE },
	{ "batch-vectors", ACCEL_PLAN_BATCH_VECTORS },
};

static const struct option options[] = {
	{ "type", required_argument, NULL, OPT_TYPE },
	{ "b-type", required_argument, NULL, OPT_B_TYPE },
	{ "c-type", required_argument, NULL, OPT_C_TYPE },
	{ "d-type", required_argument, NULL, OPT_D_TYPE },
	{ "bias", required_argument, NULL, OPT_BIAS },
	{ "residual", required_argument, NULL, OPT_RESIDUAL },
	{ "b-scale-type", required_argument, NULL, OPT_B_SCALE_TYPE },
	{ "activation", required_argument, NULL, OPT_ACTIVATION },
	{ "alpha", required_argument, NULL, OPT_ALPHA },
	{ "beta", required_argument, NULL, OPT_BETA },
	{ "d-scale", optional_argument, NULL, OPT_D_SCALE },
	{ "b-group", required_argument, NULL, OPT_B_GROUP },
	{ "batch", required_argument, NULL, OPT_BATCH },
	{ "batch-mode", required_argument, NULL, OPT_BATCH_MODE },
	{ "share", required_argument, NULL, OPT_SHARE },
	{ "lda", required_argument, NULL, OPT_LDA },
	{ "ldb", required_argument, NULL, OPT_LDB },
	{ "ldc", required_argument, NULL, OPT_LDC },
	{ "ldd", required_argument, NULL, OPT_LDD },
	{ "ldr", required_argument, NULL, OPT_LDR },
	{ "pad", required_argument, NULL, OPT_PAD },
	{ "memory", required_argument, NULL, OPT_MEMORY },
	{ "iterations", required_argument, NULL, OPT_ITERATIONS },
	{ "check", optional_argument, NULL, OPT_CHECK },
	{ "seed", required_argument, NULL, OPT_SEED },
	{ "m", required_argument, NULL, OPT_M },
	{ "n", required_argument, NULL, OPT_N },
	{ "k", required_argument, NULL, OPT_K },
	{ "s", required_argument, NULL, OPT_S },
	{ "sweep", no_argument, NULL, OPT_SWEEP },
	{ "trans-a", no_argument, NULL, OPT_FLAGS },
	{ "trans-b", no_argument, NULL, OPT_FLAGS + 1 },
	{ "accumulate", no_argument, NULL, OPT_FLAGS + 2 },
	{ "row-scale", no_argument, NULL, OPT_FLAGS + 3 },
	{ "col-scale", no_argument, NULL, OPT_FLAGS + 4 },
	{ "d-zero", no_argument, NULL, OPT_FLAGS + 5 },
	{ "b-zero", no_argument, NULL, OPT_FLAGS + 6 },
	{ "no-saturate", no_argument, NULL, OPT_FLAGS + 7 },
	{ "batch-vectors", no_argument, NULL, OPT_FLAGS + 8 },
	{ NULL, 0, NULL, 0 },
};

_Static_assert(ARRAY_SIZE(options) + 5 <= OPTIONS_MAX, "main.c has room for all options");

/* The first twelve are what a card multiplies; aliases come last. */
static const struct {
	const char *name;
	uint32_t type;
} type_names[] = {
	{ "f32", ACCEL_TYPE_F32 }, { "bf16", ACCEL_TYPE_BF16 }, { "fp16", ACCEL_TYPE_F16 },
	{ "int8", ACCEL_TYPE_I8 }, { "int4", ACCEL_TYPE_I4 }, { "e4m3", ACCEL_TYPE_E4M3 },
	{ "e5m2", ACCEL_TYPE_E5M2 }, { "mxfp8", ACCEL_TYPE_MXFP8_E4M3 },
	{ "mxfp8-e5m2", ACCEL_TYPE_MXFP8_E5M2 }, { "mxfp6", ACCEL_TYPE_MXFP6_E2M3 },
	{ "mxfp6-e3m2", ACCEL_TYPE_MXFP6_E3M2 }, { "mxfp4", ACCEL_TYPE_MXFP4_E2M1 },
	{ "int32", ACCEL_TYPE_I32 }, { "f16", ACCEL_TYPE_F16 }, { "i8", ACCEL_TYPE_I8 },
	{ "i4", ACCEL_TYPE_I4 }, { "i32", ACCEL_TYPE_I32 },
};
#define INPUT_TYPES	12

#define TYPE_NAMES "f32, bf16, fp16, int8, int4, e4m3, e5m2, mxfp8, mxfp8-e5m2, mxfp6, mxfp6-e3m2, mxfp4"

static const char *const activations[] = { "none", "relu", "gelu", "gelu-tanh", "silu" };
static const char *const batch_modes[] = { "none", "strided", "pointers", "grouped" };
static const char *const d_scales[] = { "one", "rows", "cols" };
static const char *const shares[] = { "a", "b", "ab" };
static const char *const memories[] = { "card", "host" };
static const char *const bounds[] = { "overhead", "compute", "memory", "host" };

static bool is_integer(uint32_t type)
{
	return type == ACCEL_TYPE_I8 || type == ACCEL_TYPE_I4;
}

static const char *type_name(uint32_t type)
{
	for (size_t i = 0; i < ARRAY_SIZE(type_names); i++)
		if (type_names[i].type == type)
			return type_names[i].name;
	return NULL;
}

/* --- options --------------------------------------------------------------- */

/* A number at *text, which then points behind it. */
static bool parse_number(const char **text, uint32_t min, uint32_t *value)
{
	unsigned long long number;
	char *end;

	if (**text < '0' || **text > '9')
		return false;
	errno = 0;
	number = strtoull(*text, &end, 0);
	if (errno || number < min || number > INT32_MAX)
		return false;
	*text = end;
	*value = (uint32_t)number;
	return true;
}

static enum status take_number(struct ctl *ctl, const char *name, const char *argument,
			       uint32_t min, uint32_t *value)
{
	const char *at = argument;

	if (!parse_number(&at, min, value) || *at)
		return error(ctl, STATUS_USAGE, "--%s: \"%s\" is no number from %u to %d", name, argument,
			     min, INT32_MAX);
	return STATUS_OK;
}

static enum status take_leading(struct ctl *ctl, const char *name, const char *argument, uint64_t *value)
{
	uint32_t number = 0;
	enum status status = take_number(ctl, name, argument, 1, &number);

	*value = number;
	return status;
}

static bool add_value(struct values *values, uint32_t value)
{
	if (values->count == SWEEP_MAX)
		return false;
	values->value[values->count++] = value;
	return true;
}

/* FROM:TO, with :xFACTOR or :+STEP behind it (default: x2). */
static bool parse_range(const char **text, uint32_t from, struct values *values)
{
	uint32_t to, step = 2;
	bool add = false;
	uint64_t at = from;

	if (!parse_number(text, from, &to))
		return false;
	if (**text == ':') {
		add = (*text)[1] == '+';
		if (!add && (*text)[1] != 'x')
			return false;
		*text += 2;
		if (!parse_number(text, add ? 1 : 2, &step))
			return false;
	}
	for (; at <= to; at = add ? at + step : at * step)
		if (!add_value(values, (uint32_t)at))
			return false;
	return true;
}

static enum status take_sizes(struct ctl *ctl, const char *name, const char *argument,
			      struct values *values)
{
	const char *at = argument;
	uint32_t value;
	bool good = true;

	values->count = 0;
	do {
		good = parse_number(&at, 1, &value);
		if (good && *at == ':') {
			at++;
			good = parse_range(&at, value, values);
		} else if (good) {
			good = add_value(values, value);
		}
	} while (good && *at == ',' && at++);
	if (!good || *at)
		return error(ctl, STATUS_USAGE,
			     "-%s: \"%s\" is no number from 1 to %d, nor FROM:TO[:xFACTOR|:+STEP], nor a list of these (at most %d values)",
			     name, argument, INT32_MAX, SWEEP_MAX);
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
	return error(ctl, STATUS_USAGE, "--%s: \"%s\" is none of " TYPE_NAMES ", int32", option, argument);
}

/* A list of types, or all that are inputs. */
static enum status take_types(struct ctl *ctl, const char *argument)
{
	struct values *types = &ctl->bench.types;
	enum status status = STATUS_OK;
	char *copy = strdup(argument), *rest, *name;

	if (!copy)
		abort();
	types->count = 0;
	for (size_t i = 0; i < INPUT_TYPES && !strcmp(argument, "all"); i++)
		add_value(types, type_names[i].type);
	if (!types->count) {
		for (name = strtok_r(copy, ",", &rest); name && !status; name = strtok_r(NULL, ",", &rest)) {
			uint32_t type = 0;

			status = take_type(ctl, "type", name, &type);
			if (!status && !add_value(types, type))
				status = error(ctl, STATUS_USAGE, "--type: more than %d types", SWEEP_MAX);
		}
	}
	if (!status && !types->count)
		status = error(ctl, STATUS_USAGE, "--type: \"%s\" is none of " TYPE_NAMES, argument);
	free(copy);
	return status;
}

/* Index of @argument among @count words. */
static enum status take_word(struct ctl *ctl, const char *option, const char *argument,
			     const char *const *words, size_t count, uint32_t *value)
{
	char all[100] = "";

	for (size_t i = 0; i < count; i++) {
		if (!strcmp(argument, words[i])) {
			*value = (uint32_t)i;
			return STATUS_OK;
		}
		snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i ? ", " : "", words[i]);
	}
	return error(ctl, STATUS_USAGE, "--%s: \"%s\" is none of %s", option, argument, all);
}
#define TAKE_WORD(ctl, option, argument, words, value) \
	take_word(ctl, option, argument, words, ARRAY_SIZE(words), value)

static enum status take_float(struct ctl *ctl, const char *option, const char *argument, uint32_t flag,
			      float *value)
{
	char *end;

	*value = strtof(argument, &end);
	if (end == argument || *end)
		return error(ctl, STATUS_USAGE, "--%s: \"%s\" is no number", option, argument);
	ctl->bench.plan.flags |= flag;
	return STATUS_OK;
}

static enum status take_d_scale(struct ctl *ctl, const char *argument)
{
	static const uint32_t flags[] = { 0, ACCEL_PLAN_D_SCALE_ROWS, ACCEL_PLAN_D_SCALE_COLS };
	uint32_t which = 0;
	enum status status = STATUS_OK;

	if (argument)
		status = TAKE_WORD(ctl, "d-scale", argument, d_scales, &which);
	ctl->bench.plan.flags |= ACCEL_PLAN_D_SCALE | flags[which];
	return status;
}

static enum status take_share(struct ctl *ctl, const char *argument)
{
	uint32_t which = 0;
	enum status status = TAKE_WORD(ctl, "share", argument, shares, &which);

	ctl->bench.share_a = which != 1;
	ctl->bench.share_b = which != 0;
	return status;
}

static enum status take_memory(struct ctl *ctl, const char *argument)
{
	uint32_t which = 0;
	enum status status = TAKE_WORD(ctl, "memory", argument, memories, &which);

	ctl->bench.memory = which ? ACCEL_BUFFER_HOST : ACCEL_BUFFER_CARD;
	return status;
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

static enum status take_square(struct ctl *ctl, const char *argument)
{
	ctl->bench.square = true;
	return take_sizes(ctl, "s", argument, &ctl->bench.m);
}

/* What the matmul is. */
static enum status plan_option(struct ctl *ctl, int value, const char *argument)
{
	struct accel_plan_config *plan = &ctl->bench.plan;

	switch (value) {
	case OPT_B_TYPE:
		return take_type(ctl, "b-type", argument, &plan->b_type);
	case OPT_C_TYPE:
		return take_type(ctl, "c-type", argument, &plan->c_type);
	case OPT_D_TYPE:
		return take_type(ctl, "d-type", argument, &plan->d_type);
	case OPT_BIAS:
		return take_type(ctl, "bias", argument, &plan->bias_type);
	case OPT_RESIDUAL:
		return take_type(ctl, "residual", argument, &plan->residual_type);
	case OPT_B_SCALE_TYPE:
		return take_type(ctl, "b-scale-type", argument, &plan->b_scale_type);
	case OPT_ACTIVATION:
		return TAKE_WORD(ctl, "activation", argument, activations, &plan->activation);
	case OPT_ALPHA:
		return take_float(ctl, "alpha", argument, ACCEL_PLAN_ALPHA, &plan->alpha);
	case OPT_BETA:
		return take_float(ctl, "beta", argument, ACCEL_PLAN_BETA, &plan->beta);
	case OPT_D_SCALE:
		return take_d_scale(ctl, argument);
	case OPT_B_GROUP:
		return take_number(ctl, "b-group", argument, 1, &plan->b_group);
	case OPT_BATCH:
		return take_number(ctl, "batch", argument, 1, &plan->batch);
	default: /* OPT_BATCH_MODE */
		return TAKE_WORD(ctl, "batch-mode", argument, batch_modes, &plan->batch_mode);
	}
}

static enum status layout_option(struct ctl *ctl, int value, const char *argument)
{
	struct accel_plan_config *plan = &ctl->bench.plan;

	switch (value) {
	case OPT_SHARE:
		return take_share(ctl, argument);
	case OPT_LDA:
		return take_leading(ctl, "lda", argument, &plan->lda);
	case OPT_LDB:
		return take_leading(ctl, "ldb", argument, &plan->ldb);
	case OPT_LDC:
		return take_leading(ctl, "ldc", argument, &plan->ldc);
	case OPT_LDD:
		return take_leading(ctl, "ldd", argument, &plan->ldd);
	case OPT_LDR:
		return take_leading(ctl, "ldr", argument, &plan->ldr);
	case OPT_PAD:
		return take_number(ctl, "pad", argument, 0, &ctl->bench.pad);
	default: /* OPT_MEMORY */
		return take_memory(ctl, argument);
	}
}

static enum status bench_option(struct ctl *ctl, int value, const char *argument)
{
	struct bench *bench = &ctl->bench;

	if (value >= OPT_FLAGS) {
		bench->plan.flags |= plan_flags[value - OPT_FLAGS].flag;
		return STATUS_OK;
	}
	if (value >= OPT_B_TYPE && value <= OPT_BATCH_MODE)
		return plan_option(ctl, value, argument);
	if (value >= OPT_SHARE && value <= OPT_MEMORY)
		return layout_option(ctl, value, argument);
	switch (value) {
	case OPT_TYPE:
		return take_types(ctl, argument);
	case OPT_ITERATIONS:
		return take_number(ctl, "iterations", argument, 1, &bench->iterations);
	case OPT_CHECK:
		return take_check(ctl, argument);
	case OPT_SEED:
		return take_number(ctl, "seed", argument, 0, &bench->seed);
	case OPT_S:
		return take_square(ctl, argument);
	case OPT_SWEEP:
		return take_square(ctl, "128:4096");
	case OPT_M:
		return take_sizes(ctl, "m", argument, &bench->m);
	case OPT_N:
		return take_sizes(ctl, "n", argument, &bench->n);
	default:
		return take_sizes(ctl, "k", argument, &bench->k);
	}
}

static enum status bench_arguments(struct ctl *ctl, int count, char **arguments)
{
	struct accel_plan_config *plan = &ctl->bench.plan;

	if (!count || strcmp(arguments[0], "matmul"))
		return error(ctl, STATUS_USAGE, "bench what? There is: matmul");
	if (count > 1)
		return error(ctl, STATUS_USAGE, "unexpected argument \"%s\"", arguments[1]);
	if (plan->batch && !plan->batch_mode)
		plan->batch_mode = ACCEL_BATCH_STRIDED;
	if (plan->batch_mode && !plan->batch)
		return error(ctl, STATUS_USAGE, "--batch-mode needs --batch");
	return STATUS_OK;
}

/* --- the report -------------------------------------------------------------- */

static const char *unit(const struct accel_plan_config *config)
{
	return is_integer(config->a_type) ? "GOP/s" : "GFLOP/s";
}

static struct json_object *parameters_json(const struct bench *bench, const struct accel_plan_config *c)
{
	struct json_object *object = json_object_new_object();

	add_text(object, "type", type_name(c->a_type));
	add_text(object, "b_type", type_name(c->b_type));
	add_text(object, "c_type", type_name(c->c_type));
	add_text(object, "d_type", type_name(c->d_type));
	add_int(object, "m", c->m);
	add_int(object, "n", c->n);
	add_int(object, "k", c->k);
	for (size_t i = 0; i < ARRAY_SIZE(plan_flags); i++) {
		char name[32];

		snprintf(name, sizeof(name), "%s", plan_flags[i].name);
		for (char *p = strchr(name, '-'); p; p = strchr(p, '-'))
			*p = '_';
		add_bool(object, name, c->flags & plan_flags[i].flag);
	}
	add_text(object, "bias", type_name(c->bias_type));
	add_text(object, "residual", type_name(c->residual_type));
	add_text(object, "activation", activations[c->activation]);
	if (c->flags & ACCEL_PLAN_ALPHA)
		add_double(object, "alpha", (double)c->alpha);
	if (c->flags & ACCEL_PLAN_BETA)
		add_double(object, "beta", (double)c->beta);
	add_text(object, "d_scale", !(c->flags & ACCEL_PLAN_D_SCALE) ? NULL :
		 c->flags & ACCEL_PLAN_D_SCALE_ROWS ? "rows" :
		 c->flags & ACCEL_PLAN_D_SCALE_COLS ? "cols" : "one");
	add_int(object, "b_group", c->b_group);
	add_int(object, "batch", c->batch);
	add_text(object, "batch_mode", batch_modes[c->batch_mode]);
	add_int(object, "lda", (int64_t)c->lda);
	add_int(object, "ldb", (int64_t)c->ldb);
	add_int(object, "ldd", (int64_t)c->ldd);
	add_text(object, "memory", memories[bench->memory == ACCEL_BUFFER_HOST]);
	add_int(object, "seed", bench->seed);
	return object;
}

static struct json_object *card_json(const struct bench_result *r)
{
	const struct accel_profile *p = &r->profile;
	struct json_object *object;

	if (!r->profiled)
		return NULL;
	object = json_object_new_object();
	add_int(object, "time_ns", (int64_t)(p->end_ns - p->start_ns));
	add_int(object, "start_ns", (int64_t)p->start_ns);
	add_int(object, "end_ns", (int64_t)p->end_ns);
	add_int(object, "ops", (int64_t)p->ops);
	add_int(object, "memory_bytes", (int64_t)p->memory_bytes);
	add_int(object, "host_read_bytes", (int64_t)p->host_read_bytes);
	add_int(object, "host_write_bytes", (int64_t)p->host_write_bytes);
	add_double(object, "gops", p->ops_per_second / 1e9);
	add_double(object, "gops_roof", p->roof_ops_per_second / 1e9);
	add_double(object, "utilisation", p->utilisation);
	add_double(object, "memory_utilisation", p->memory_utilisation);
	add_double(object, "host_utilisation", p->host_utilisation);
	add_double(object, "roofline", p->roofline);
	add_text(object, "bound", bounds[p->bound]);
	return object;
}

static struct json_object *result_json(const struct bench *bench, const struct bench_result *r)
{
	struct json_object *object = json_object_new_object();
	unsigned int count = bench->iterations;
	double median = r->times[count / 2];

	add_int(object, "iterations", count);
	add_double(object, "seconds_min", r->times[0]);
	add_double(object, "seconds_median", median);
	add_double(object, "seconds_max", r->times[count - 1]);
	add_double(object, "seconds_pipelined", r->pipelined);
	add_double(object, "gops_blocking", r->ops / median / 1e9);
	add_double(object, "gops_pipelined", r->ops / r->pipelined / 1e9);
	json_object_object_add(object, "card", card_json(r));
	return object;
}

static struct json_object *check_json(const struct bench_result *r)
{
	struct json_object *object = json_object_new_object(), *first;

	add_int(object, "elements", (int64_t)r->elements);
	add_int(object, "checked", (int64_t)r->checked);
	add_int(object, "wrong", (int64_t)r->wrong);
	if (!r->wrong)
		return object;
	first = json_object_new_object();
	add_int(first, "item", (int64_t)r->wrong_item);
	add_int(first, "row", (int64_t)r->wrong_row);
	add_int(first, "column", (int64_t)r->wrong_column);
	add_format(first, "got", "0x%08x", r->got);
	add_format(first, "wanted", "0x%08x", r->wanted);
	json_object_object_add(object, "first_wrong", first);
	return object;
}

static void print_case(const struct ctl *ctl, const struct accel_plan_config *c)
{
	print(ctl, "matmul %s", type_name(c->a_type));
	if (c->b_type != c->a_type)
		print(ctl, " x %s", type_name(c->b_type));
	print(ctl, " to %s, m %u, n %u, k %u", type_name(c->d_type), c->m, c->n, c->k);
	if (c->batch_mode)
		print(ctl, ", batch of %u (%s)", c->batch, batch_modes[c->batch_mode]);
	for (size_t i = 0; i < ARRAY_SIZE(plan_flags); i++)
		if (c->flags & plan_flags[i].flag)
			print(ctl, ", %s", plan_flags[i].name);
	print(ctl, ", %u iterations\n", ctl->bench.iterations);
}

/* All that is known of one case. */
static void print_single(const struct ctl *ctl, const struct accel_plan_config *c,
			 const struct bench_result *r)
{
	const struct accel_profile *p = &r->profile;
	unsigned int count = ctl->bench.iterations;
	double median = r->times[count / 2];

	print_case(ctl, c);
	print(ctl, "  one at a time   %10.3f ms  (%.3f .. %.3f)  %8.2f %s\n", median * 1e3,
	      r->times[0] * 1e3, r->times[count - 1] * 1e3, r->ops / median / 1e9, unit(c));
	print(ctl, "  pipelined       %10.3f ms%*s%8.2f %s\n", r->pipelined * 1e3, 22, "",
	      r->ops / r->pipelined / 1e9, unit(c));
	if (r->profiled) {
		print(ctl, "  engine time     %10.3f us%*s%8.0f %s\n",
		      (double)(p->end_ns - p->start_ns) / 1e3, 22, "", p->ops_per_second / 1e9, unit(c));
		print(ctl, "  utilisation     %10.1f %%   card memory %.1f %%, PCIe %.1f %%\n", p->utilisation,
		      p->memory_utilisation, p->host_utilisation);
		print(ctl, "  roofline        %10.1f %%   of %.0f %s, bound by %s\n", p->roofline,
		      p->roof_ops_per_second / 1e9, unit(c), bounds[p->bound]);
	}
	if (ctl->bench.check)
		print(ctl, "  checked         %" PRIu64 " of %" PRIu64 " elements bit by bit, %" PRIu64 " wrong\n",
		      r->checked, r->elements, r->wrong);
}

static void print_header(const struct ctl *ctl)
{
	print(ctl, "%-10s %-10s %6s %6s %6s %5s | %10s %9s | %11s %9s %6s %6s %-8s", "A", "B", "m", "n", "k",
	      "batch", "call ms", "GOP/s", "engine us", "GOP/s", "util %", "roof %", "bound");
	print(ctl, "%s\n", ctl->bench.check ? "  wrong" : "");
}

static void print_row(const struct ctl *ctl, const struct accel_plan_config *c,
		      const struct bench_result *r)
{
	const struct accel_profile *p = &r->profile;
	double median = r->times[ctl->bench.iterations / 2];

	print(ctl, "%-10s %-10s %6u %6u %6u %5u | %10.3f %9.2f | ", type_name(c->a_type),
	      type_name(c->b_type), c->m, c->n, c->k, c->batch ? c->batch : 1, median * 1e3,
	      r->ops / r->pipelined / 1e9);
	if (r->profiled)
		print(ctl, "%11.3f %9.0f %6.1f %6.1f %-8s", (double)(p->end_ns - p->start_ns) / 1e3,
		      p->ops_per_second / 1e9, p->utilisation, p->roofline, bounds[p->bound]);
	if (ctl->bench.check)
		print(ctl, "  %" PRIu64 "/%" PRIu64, r->wrong, r->checked);
	print(ctl, "\n");
}

/* --- the sweep ---------------------------------------------------------------- */

/* What has been done so far. */
struct sweep {
	struct accel_device *device;
	struct json_object *results;
	bool single;
	uint64_t checked, wrong;
};

static void report(struct ctl *ctl, struct sweep *sweep, const struct accel_plan_config *config,
		   const struct bench_result *r)
{
	struct json_object *entry = sweep->single ? ctl->doc : json_object_new_object();

	json_object_object_add(entry, "parameters", parameters_json(&ctl->bench, config));
	json_object_object_add(entry, "result", result_json(&ctl->bench, r));
	if (ctl->bench.check)
		json_object_object_add(entry, "check", check_json(r));
	if (!sweep->single)
		json_object_array_add(sweep->results, entry);
	if (sweep->single)
		print_single(ctl, config, r);
	else
		print_row(ctl, config, r);
	fflush(stdout);
	sweep->checked += r->checked;
	sweep->wrong += r->wrong;
}

static enum status run_case(struct ctl *ctl, struct sweep *sweep, uint32_t type, uint32_t m, uint32_t n,
			    uint32_t k)
{
	struct accel_plan_config config = ctl->bench.plan;
	struct bench_result result;
	enum status status = STATUS_OK;
	int ret;

	config.a_type = type;
	config.m = m;
	config.n = n;
	config.k = k;
	bench_resolve(&ctl->bench, &config);
	ret = bench_case_run(sweep->device, &ctl->bench, &config, &result);
	if (!ret)
		report(ctl, sweep, &config, &result);
	else if (ret == -ENOMEM)
		status = error(ctl, STATUS_DEVICE, "not enough memory for the operands");
	else
		status = accel_failed(ctl, ret);
	free(result.times);
	return status;
}

static enum status run_sizes(struct ctl *ctl, struct sweep *sweep, uint32_t type)
{
	const struct bench *bench = &ctl->bench;
	enum status status = STATUS_OK;

	for (unsigned int m = 0; m < bench->m.count && !status; m++) {
		uint32_t size = bench->m.value[m];

		if (bench->square) {
			status = run_case(ctl, sweep, type, size, size, size);
			continue;
		}
		for (unsigned int n = 0; n < bench->n.count && !status; n++)
			for (unsigned int k = 0; k < bench->k.count && !status; k++)
				status = run_case(ctl, sweep, type, size, bench->n.value[n],
						  bench->k.value[k]);
	}
	return status;
}

static enum status check_values(struct ctl *ctl, const struct values *values, uint32_t max)
{
	for (unsigned int i = 0; i < values->count; i++)
		if (values->value[i] > max)
			return error(ctl, STATUS_USAGE, "the card's matmuls end at %u x %u x %u", max, max,
				     max);
	return STATUS_OK;
}

static enum status check_dims(struct ctl *ctl, const struct card *card)
{
	const struct bench *bench = &ctl->bench;
	enum status status = check_values(ctl, &bench->m, card->info.dim_max);

	if (!status)
		status = check_values(ctl, &bench->n, card->info.dim_max);
	if (!status)
		status = check_values(ctl, &bench->k, card->info.dim_max);
	return status;
}

static enum status run_sweep(struct ctl *ctl, struct sweep *sweep)
{
	const struct bench *bench = &ctl->bench;
	enum status status = STATUS_OK;

	sweep->single = bench->types.count == 1 && bench->m.count == 1 &&
			(bench->square || (bench->n.count == 1 && bench->k.count == 1));
	if (!sweep->single) {
		sweep->results = json_object_new_array();
		json_object_object_add(ctl->doc, "results", sweep->results);
		print_header(ctl);
	}
	for (unsigned int i = 0; i < bench->types.count && !status; i++)
		status = run_sizes(ctl, sweep, bench->types.value[i]);
	if (status || !sweep->wrong)
		return status;
	return error(ctl, STATUS_FAILED, "%" PRIu64 " of %" PRIu64 " checked elements are wrong",
		     sweep->wrong, sweep->checked);
}

static void set_default(struct values *values, uint32_t value)
{
	if (!values->count)
		add_value(values, value);
}

static enum status run_bench(struct ctl *ctl)
{
	struct bench *bench = &ctl->bench;
	struct sweep sweep = { 0 };
	struct card card;
	enum status status;

	set_default(&bench->types, ACCEL_TYPE_F32);
	set_default(&bench->m, 1024);
	set_default(&bench->n, 1024);
	set_default(&bench->k, 1024);
	status = choose_card(ctl, &card);
	if (!status)
		status = open_card(ctl, &card, &sweep.device);
	if (status)
		return status;
	add_text(ctl->doc, "pci_address", card.pci.address);
	status = check_dims(ctl, &card);
	if (!status)
		status = run_sweep(ctl, &sweep);
	accel_device_close(sweep.device);
	return status;
}

const struct command command_bench = {
	.name = "bench",
	.summary = "measure matmuls, and check them bit by bit",
	.usage = "matmul",
	.options =
		"  --type TYPE,...    f32 (default), bf16, fp16, int8, int4, e4m3, e5m2, mxfp8,\n"
		"                     mxfp8-e5m2, mxfp6, mxfp6-e3m2, mxfp4; all\n"
		"  --b-type TYPE      of the right operand, if it is another\n"
		"  -m M, -n N, -k K   D is M x N, the sums have K terms (default: 1024 each). Each may\n"
		"                     be a list of numbers and of ranges FROM:TO[:xFACTOR|:+STEP]\n"
		"  -s SIZES           m, n and k alike; --sweep is -s 128:4096:x2\n"
		"  --trans-a          A is stored transposed; --trans-b likewise\n"
		"  --lda N            elements from row to row; --ldb, --ldc, --ldd, --ldr\n"
		"  --pad N            so many elements behind the rows of every matrix\n"
		"  --memory WHERE     of the operands: card (default), host\n"
		"epilogue:\n"
		"  --accumulate       start the sums from a third operand\n"
		"  --alpha X          multiply by X\n"
		"  --beta X           add X times a third operand, of --c-type TYPE (f32)\n"
		"  --row-scale        multiply by a vector; --col-scale likewise\n"
		"  --bias TYPE        add a vector: f32, bf16, fp16\n"
		"  --activation F     relu, gelu, gelu-tanh, silu\n"
		"  --residual TYPE    add a matrix\n"
		"  --d-scale[=HOW]    multiply before the conversion: one (default), rows, cols\n"
		"  --d-zero           add zero points (int8 results)\n"
		"  --d-type TYPE      of the result: f32, bf16, fp16, e4m3, e5m2, int8, int32\n"
		"  --no-saturate      FP8 results overflow to infinity or NaN\n"
		"scaled weights:\n"
		"  --b-group N        32, 64 or 128: B is int8 or int4 (--b-type) with scales of\n"
		"                     --b-scale-type fp16 or bf16; --b-zero: and zero points\n"
		"batches:\n"
		"  --batch N          matmuls in one operation, --batch-mode strided (default),\n"
		"                     pointers, grouped (M rows in N groups)\n"
		"  --share WHICH      operands that all matmuls have in common: a, b, ab\n"
		"  --batch-vectors    each matmul has vectors of its own\n"
		"runs:\n"
		"  --iterations N     how often (default: 10)\n"
		"  --check[=HOW]      compare with the scalar reference: sample (1024 random\n"
		"                     elements, all if there are fewer; default), full, none\n"
		"  --seed N           of operands and sample (default: 1)\n",
	.timeout = 600,
	.long_options = options,
	.option = bench_option,
	.arguments = bench_arguments,
	.run = run_bench,
};

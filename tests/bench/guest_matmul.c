// SPDX-License-Identifier: MIT
/*
 * Matmuls of a process in the VM, on request.
 *
 *     guest_matmul CHANNEL QUEUES
 *
 * Reads requests from CHANNEL and answers each with a line, so that whoever measures can take turns
 * between the card and its peers on the host:
 *
 *     new A_TYPE B_TYPE M N K FLAGS GROUP SEED   makes operands on the card, runs the matmul once and
 *                                                compares elements with the definition: its number
 *     run NUMBER COUNT FLIGHT                    nanoseconds of one of COUNT matmuls, up to FLIGHT of
 *                                                which are under way at a time
 *     many NUMBER COUNT FLIGHT                   the same, half of FLIGHT submitted by one call
 *     graph NUMBER COUNT FLIGHT                  the same, half of FLIGHT recorded once and launched again and
 *                                                again, on QUEUES queues in turn
 *     rows NUMBER M                              the same with the first M rows: its number
 *     drop                                       forgets all of them
 *
 * Types and flags are accel.h's numbers. The CPU only makes the operands: packing, layout and
 * everything else that takes time is the card's. The elements that are compared are a sample, because
 * an emulated CPU is slow; tests compare all.
 */
#include <accel/accel.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reference.h"
#include "took.h"

#define CASES_MAX 32
#define SAMPLE 48
#define FLIGHT_MAX 1000
#define QUEUES_MAX 8

enum { A, B, C, D, A_SCALE, B_SCALE, PLACES };

struct job {
	struct accel_plan_config config;
	struct accel_plan *plan;
	struct accel_place places[PLACES];
	bool borrowed;			/* the places are another's */
	struct accel_graph *graphs[QUEUES_MAX];	/* of graph_size matmuls each, or NULL */
	struct accel_buffer *results[QUEUES_MAX];	/* their D, but for the first one's */
	unsigned int graph_size;
};

static struct accel_context *context;
static struct accel_queue *queue;	/* the first one */
static struct accel_queue *queues[QUEUES_MAX];
static unsigned int queue_count;
static struct job cases[CASES_MAX];
static unsigned int case_count;

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "guest_matmul: %s: %s\n", what, why);
	exit(1);
}

static void check(int ret, const char *what)
{
	if (ret)
		fail(what, accel_error_detail());
}

static void *allocate(uint64_t size)
{
	void *p = calloc(1, size);

	if (!p)
		fail("operands", "no memory");
	return p;
}

/* --- operands --------------------------------------------------------------- */

/* UE8M0 or BF16 from a quarter to four; NULL if the operand has none. */
static uint8_t *make_scales(const struct job *job, uint32_t operand, bool bf16, uint32_t seed)
{
	uint64_t size = accel_plan_operand_size(job->plan, operand);
	uint8_t *scales = size ? allocate(size) : NULL;

	for (uint64_t i = 0; i < size; i++) {
		seed = seed * 1664525u + 1013904223u;
		if (!bf16)
			scales[i] = (uint8_t)(125 + (seed >> 24) % 5);
		else
			scales[i] = i % 2 ? 0x3f : (uint8_t)(seed >> 24);
	}
	return scales;
}

static uint64_t leading(uint64_t columns, uint32_t type)
{
	return accel_type_bits(type) < 8 ? (columns + 3) / 4 * 4 : columns;
}

static void upload(struct job *job, int operand, const void *data)
{
	uint64_t size = accel_plan_operand_size(job->plan, (uint32_t)operand);

	if (!size)
		return;
	check(accel_buffer_create(context, size, ACCEL_BUFFER_CARD, &job->places[operand].buffer),
	      "card memory");
	if (data)
		check(accel_buffer_write(job->places[operand].buffer, 0, data, size), "operand");
}

/* A column of op(B) whose scales are those of groups, as the F32 numbers that it stands for. */
static struct ref_matrix expand(const struct accel_plan_config *config, const struct ref_matrix *b,
				uint64_t col)
{
	struct ref_matrix out = { .ld = 1, .type = ACCEL_TYPE_F32 };
	float *values = allocate(config->k * sizeof(*values));

	for (uint64_t k = 0; k < config->k; k++) {
		uint64_t group = k / config->b_group;
		bool tb = config->flags & ACCEL_MATMUL_TRANS_B;
		uint64_t at = tb ? col * b->scale_ld + group : group * b->scale_ld + col;
		uint16_t scale;

		memcpy(&scale, b->scales + at * 2, 2);
		values[k] = (tb ? ref_load(b, col, k) : ref_load(b, k, col)) *
			    ref_bf16_to_f32(scale);
	}
	out.data = (uint8_t *)values;
	return out;
}

static uint32_t element(const struct accel_plan_config *config, const struct ref_matrix *a,
			const struct ref_matrix *b, uint64_t row, uint64_t col)
{
	static const struct ref_matrix none;
	struct ref_matrix column;
	uint32_t bits;

	if (!config->b_group)
		return ref_element(config->flags, config->k, a, b, &none, row, col);
	column = expand(config, b, col);
	bits = ref_element(0, config->k, a, &column, &none, row, 0);
	free(column.data);
	return bits;
}

static void compare(const struct job *job, const struct accel_plan_config *config,
		    const struct ref_matrix *a, const struct ref_matrix *b, uint32_t seed)
{
	uint32_t got, wanted;

	for (unsigned int i = 0; i < SAMPLE; i++) {
		uint64_t row, col;

		seed = seed * 1664525u + 1013904223u;
		row = (seed >> 8) % config->m;
		seed = seed * 1664525u + 1013904223u;
		col = (seed >> 8) % config->n;
		check(accel_buffer_read(job->places[D].buffer, (row * config->n + col) * 4, &got, 4),
		      "result");
		wanted = element(config, a, b, row, col);
		if (got == wanted)
			continue;
		fprintf(stderr, "guest_matmul: types %" PRIu32 " and %" PRIu32 ", %" PRIu32 " x %" PRIu32
			" x %" PRIu32 ": element %" PRIu64 ", %" PRIu64 " is %08" PRIx32
			", should be %08" PRIx32 "\n", config->a_type, config->b_type, config->m, config->n,
			config->k, row, col, got, wanted);
		exit(1);
	}
}

static void new_case(const struct accel_plan_config *base, uint32_t seed)
{
	struct accel_plan_config config = *base;
	bool tb = config.flags & ACCEL_MATMUL_TRANS_B;
	uint64_t b_rows = tb ? config.n : config.k, b_cols = tb ? config.k : config.n;
	uint32_t group = config.b_group ? config.b_group : 32;
	struct ref_matrix a = { .type = config.a_type }, b = { .type = config.b_type };
	uint8_t *a_scales, *b_scales;
	struct job *job = &cases[case_count];

	if (case_count == CASES_MAX)
		fail("new", "too many");
	a.ld = leading(config.k, a.type);
	b.ld = leading(b_cols, b.type);
	a.scale_ld = (config.k + 31) / 32;
	b.scale_ld = tb ? (config.k + group - 1) / group : config.n;
	config.lda = a.ld;
	config.ldb = b.ld;
	*job = (struct job){ .config = config };
	check(accel_plan_create(context, &config, &job->plan), "plan");
	/* Whole multiples of what the generator makes at a time. */
	a.data = allocate(ref_row_bytes(&a) * config.m + 64);
	b.data = allocate(ref_row_bytes(&b) * b_rows + 64);
	ref_fill(&a, a.ld * config.m, seed, false);
	ref_fill(&b, b.ld * b_rows, seed + 1, false);
	a.scales = a_scales = make_scales(job, A_SCALE, false, seed + 2);
	b.scales = b_scales = make_scales(job, B_SCALE, config.b_group, seed + 3);
	upload(job, A, a.data);
	upload(job, B, b.data);
	upload(job, D, NULL);
	upload(job, A_SCALE, a.scales);
	upload(job, B_SCALE, b.scales);
	check(accel_plan_run(queue, job->plan, job->places, PLACES), "run");
	compare(job, &config, &a, &b, seed);
	free(a.data);
	free(b.data);
	free(a_scales);
	free(b_scales);
	case_count++;
}

/* Rows of A and D follow each other, so fewer of them start at the same places. */
static void fewer_rows(const struct job *from, uint32_t rows)
{
	struct job *job = &cases[case_count];

	if (case_count == CASES_MAX || !rows || rows > from->config.m)
		fail("rows", "too many");
	*job = *from;
	job->borrowed = true;
	job->graph_size = 0;
	memset(job->graphs, 0, sizeof(job->graphs));
	memset(job->results, 0, sizeof(job->results));
	job->config.m = rows;
	check(accel_plan_create(context, &job->config, &job->plan), "plan");
	case_count++;
}

static void drop_graphs(struct job *job)
{
	for (unsigned int i = 0; i < queue_count; i++) {
		accel_graph_destroy(job->graphs[i]);
		if (job->results[i])
			accel_buffer_destroy(job->results[i]);
		job->graphs[i] = NULL;
		job->results[i] = NULL;
	}
	job->graph_size = 0;
}

static void drop_cases(void)
{
	while (case_count) {
		struct job *job = &cases[--case_count];

		drop_graphs(job);
		for (int i = 0; i < PLACES; i++)
			if (job->places[i].buffer && !job->borrowed)
				accel_buffer_destroy(job->places[i].buffer);
		accel_plan_destroy(job->plan);
	}
}

/* --- measuring -------------------------------------------------------------- */

/* Submits count matmuls, a call each. */
static struct accel_event *submit_each(struct job *job, unsigned int count)
{
	struct accel_event *event;

	for (unsigned int i = 0; i < count; i++)
		check(accel_plan_run_async(queue, job->plan, job->places, PLACES,
					   i + 1 == count ? &event : NULL), "run");
	return event;
}

/* The same with one call to the kernel; of types that accel_matmul_many_async() takes. */
static struct accel_event *submit_many(struct job *job, unsigned int count)
{
	static struct accel_matmul matmuls[FLIGHT_MAX];
	const struct accel_plan_config *config = &job->config;
	struct accel_event *event;

	for (unsigned int i = 0; i < count; i++) {
		struct accel_matmul *m = &matmuls[i];

		accel_matmul_init(m);
		m->flags = config->flags;
		m->m = config->m;
		m->n = config->n;
		m->k = config->k;
		m->a = (struct accel_matrix){ .buffer = job->places[A].buffer, .type = config->a_type };
		m->b = (struct accel_matrix){ .buffer = job->places[B].buffer, .type = config->b_type };
		m->d.buffer = job->places[D].buffer;
	}
	check(accel_matmul_many_async(queue, matmuls, count, &event), "run many");
	return event;
}

/* A graph of size matmuls for each queue, which has a result of its own. */
static void record(struct job *job, unsigned int size)
{
	drop_graphs(job);
	job->graph_size = size;
	for (unsigned int i = 0; i < queue_count; i++) {
		struct accel_place places[PLACES];

		memcpy(places, job->places, sizeof(places));
		if (i) {
			check(accel_buffer_create(context, accel_plan_operand_size(job->plan, D),
						  ACCEL_BUFFER_CARD, &job->results[i]), "card memory");
			places[D].buffer = job->results[i];
		}
		check(accel_queue_capture_begin(queues[i]), "capture");
		for (unsigned int j = 0; j < size; j++)
			check(accel_plan_run_async(queues[i], job->plan, places, PLACES, NULL), "run");
		check(accel_queue_capture_end(queues[i], &job->graphs[i]), "capture");
	}
}

static struct accel_event *submit_graph(struct job *job, unsigned int count)
{
	static unsigned int turn;
	unsigned int at = turn++ % queue_count;
	struct accel_event *event;

	if (count != job->graph_size)
		record(job, count);
	check(accel_graph_launch_async(queues[at], job->graphs[at], &event), "launch");
	return event;
}

static void finish(struct accel_event *event)
{
	check(accel_event_wait(event, ACCEL_FOREVER), "wait");
	accel_event_destroy(event);
}

/* In two halves: while the card is busy with one, the CPU submits the other. */
static uint64_t run_case(struct job *job, unsigned int count, unsigned int flight,
			 struct accel_event *(*submit)(struct job *job, unsigned int count))
{
	unsigned int half = flight > 1 ? flight / 2 : 1;
	struct accel_event *before = NULL, *event;
	uint64_t start = now();

	for (unsigned int done = 0, n; done < count; done += n) {
		n = count - done < half ? count - done : half;
		event = submit(job, n);
		if (flight == 1)
			finish(event);
		else if (before)
			finish(before);
		before = flight > 1 ? event : NULL;
	}
	if (before)
		finish(before);
	return (now() - start) / count;
}

static void serve(FILE *channel, FILE *answers)
{
	struct accel_plan_config config;
	unsigned int number, count, flight;
	uint32_t seed;
	char line[160];

	while (fgets(line, sizeof(line), channel)) {
		accel_plan_config_init(&config);
		if (sscanf(line, "new %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %"
			   SCNu32 " %" SCNu32 " %" SCNu32, &config.a_type, &config.b_type, &config.m,
			   &config.n, &config.k, &config.flags, &config.b_group, &seed) == 8) {
			config.b_scale_type = config.b_group ? ACCEL_TYPE_BF16 : 0;
			new_case(&config, seed);
			fprintf(answers, "%u\n", case_count - 1);
		} else if ((sscanf(line, "run %u %u %u", &number, &count, &flight) == 3 ||
			    sscanf(line, "many %u %u %u", &number, &count, &flight) == 3 ||
			    sscanf(line, "graph %u %u %u", &number, &count, &flight) == 3) &&
			   count && flight && flight <= FLIGHT_MAX && number < case_count) {
			fprintf(answers, "%" PRIu64 "\n", run_case(&cases[number], count, flight,
				*line == 'm' ? submit_many : *line == 'g' ? submit_graph : submit_each));
		} else if (sscanf(line, "rows %u %u", &number, &count) == 2 && number < case_count) {
			fewer_rows(&cases[number], count);
			fprintf(answers, "%u\n", case_count - 1);
		} else if (!strcmp(line, "drop\n")) {
			drop_cases();
			fprintf(answers, "0\n");
		} else {
			return;
		}
		fflush(answers);
	}
}

int main(int argc, char **argv)
{
	int fd = argc == 3 ? open(argv[1], O_RDWR) : -1;
	FILE *channel = fd < 0 ? NULL : fdopen(fd, "r");
	FILE *answers = fd < 0 ? NULL : fdopen(dup(fd), "w");
	struct accel_device *device;

	queue_count = argc == 3 ? (unsigned int)atoi(argv[2]) : 0;
	if (!channel || !answers || !queue_count || queue_count > QUEUES_MAX) {
		fprintf(stderr, "usage: %s CHANNEL QUEUES\n", argv[0]);
		return 1;
	}
	check(accel_device_open(0, &device), "open");
	check(accel_context_create(device, 0, &context), "context");
	for (unsigned int i = 0; i < queue_count; i++)
		check(accel_queue_create(context, ACCEL_PRIORITY_MEDIUM, &queues[i]), "queue");
	queue = queues[0];
	fprintf(answers, "ready\n");
	fflush(answers);
	serve(channel, answers);
	drop_cases();
	for (unsigned int i = 0; i < queue_count; i++)
		accel_queue_destroy(queues[i]);
	accel_context_destroy(context);
	accel_device_close(device);
	fclose(channel);
	fclose(answers);
	return 0;
}

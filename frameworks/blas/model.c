// SPDX-License-Identifier: MIT
/*
 * What a call costs, on the CPU and on the card.
 *
 * Straight lines: a fixed time and a time for each multiplication, for each copied byte, for
 * each registered byte. The first call that is not tiny measures them, in some tens of
 * milliseconds, with the next BLAS's sgemm on the one side and this lane on the other. The result is kept
 * below XDG_CACHE_HOME for the same card, driver, next BLAS and number of CPUs. ACCEL_BLAS_MODEL
 * replaces single values ("cpu_work=0.1,card_call=2e5") or asks for a new measurement ("fresh").
 *
 * blas_floor is half the work of the smallest square product that the card would win: what is below is
 * not looked at. Until something is measured it is the work of 32 x 32, which no card wins.
 *
 * Locking: card.lock is held, except by blas_model_operand(), which only reads.
 */
#include "blas.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FORMAT	1
#define START_FLOOR	(32.0 * 32 * 32)
/* A measurement is repeated until this much time has passed, at least three times, at most so often. */
#define ENOUGH_NS	3e6
#define TRIES_MAX	20
/* Larger products on the CPU are tried as long as one takes less than this. */
#define LONG_NS		5e6

struct blas_costs blas_costs;
_Atomic double blas_floor = START_FLOOR;

static const struct { const char *name; size_t offset; } fields[] = {
#define FIELD(x) { #x, offsetof(struct blas_costs, x) }
	FIELD(cpu_call), FIELD(cpu_work), FIELD(card_call), FIELD(card_step), FIELD(card_work),
	FIELD(copy_byte), FIELD(pin_call), FIELD(pin_byte),
};

#define FIELDS (sizeof(fields) / sizeof(fields[0]))

static double *field(struct blas_costs *costs, size_t i)
{
	return (double *)((char *)costs + fields[i].offset);
}

double blas_model_operand(double compact, double span, int ways)
{
	double copy = compact * ways * blas_costs.copy_byte;
	double pin = blas_costs.pin_call + span * blas_costs.pin_byte;

	return copy < pin && compact < BLAS_REGISTER_FROM ? copy : pin;
}

/* ---- Measuring ---------------------------------------------------------- */

struct bench {
	struct blas_lane *lane;
	float *memory;		/* three matrices of the CPU */
	int n, count;
	int error;
};

/* The shortest of several times, in ns. */
static double fastest(struct bench *bench, void (*function)(struct bench *))
{
	double best = INFINITY, sum = 0;

	for (int i = 0; i < TRIES_MAX && (i < 3 || sum < ENOUGH_NS) && !bench->error; i++) {
		uint64_t start = blas_now();
		double took;

		function(bench);
		took = (double)(blas_now() - start);
		sum += took;
		if (took < best)
			best = took;
	}
	return best;
}

static void on_cpu(struct bench *bench)
{
	float one = 1, zero = 0;
	int n = bench->n;
	float *a = bench->memory, *b = a + (size_t)n * (size_t)n, *c = b + (size_t)n * (size_t)n;

	blas_in_next = true;
	blas_next_sgemm_("N", "N", &n, &n, &n, &one, a, &n, b, &n, &zero, c, &n, 1, 1);
	blas_in_next = false;
}

/* @count products of matrices that are there already. */
static struct blas_operand bench_ops[3];

static void on_card(struct bench *bench)
{
	struct blas_product x = {
		.m = bench->n, .n = bench->n, .k = bench->n, .alpha = 1,
		.a = { .op = &bench_ops[0] }, .b = { .op = &bench_ops[1] }, .c = { .op = &bench_ops[2] },
	};
	int ret = 0;

	for (int i = 0; i < bench->count && !ret; i++)
		ret = blas_lane_product(bench->lane, &x);
	bench->error = ret ? ret : blas_lane_wait(bench->lane);
}

/* Makes n x n floats reachable, by what costs nothing in blas_costs. */
static void reach(struct bench *bench)
{
	struct blas_operand op;

	bench->error = blas_operand_get(bench->lane, &op, bench->memory, bench->n, bench->n, bench->n,
					sizeof(float), ACCEL_ACCESS_READ);
	if (!bench->error)
		blas_operand_put(&op, true);
}

static void measure_cpu(struct bench *bench, struct blas_costs *costs)
{
	double small, took;

	bench->n = 32;
	small = fastest(bench, on_cpu);
	for (bench->n = 128; ; bench->n *= 2) {
		took = fastest(bench, on_cpu);
		if (took > LONG_NS || bench->n == 512)
			break;
	}
	costs->cpu_work = took / pow(bench->n, 3);
	costs->cpu_call = fmax(0, small - costs->cpu_work * pow(32, 3));
}

static void measure_card(struct bench *bench, struct blas_costs *costs)
{
	double one, two, large;
	int n = 512;

	for (int i = 0; i < 3 && !bench->error; i++)
		bench->error = blas_operand_temporary(bench->lane, &bench_ops[i], n, n, sizeof(float));
	bench->n = 32;
	bench->count = 1;
	one = fastest(bench, on_card);
	bench->count = 9;
	two = fastest(bench, on_card);
	bench->count = 1;
	bench->n = n;
	large = fastest(bench, on_card);
	costs->card_work = fmax(0, large - one) / pow(n, 3);
	costs->card_step = fmax(0, two - one) / 8;
	costs->card_call = fmax(0, one - costs->card_step);
}

static void measure_operands(struct bench *bench, struct blas_costs *costs)
{
	double small, large;

	blas_costs = (struct blas_costs){ .copy_byte = 1, .pin_call = 0 };
	bench->n = 32;
	small = fastest(bench, reach);
	bench->n = 512;
	large = fastest(bench, reach);
	costs->pin_byte = fmax(0, large - small) / ((512.0 * 512 - 32 * 32) * sizeof(float));
	costs->pin_call = small;

	blas_costs = (struct blas_costs){ .pin_call = INFINITY };
	bench->n = 256;
	costs->copy_byte = fastest(bench, reach) / (256.0 * 256 * sizeof(float));
}

static int measure(struct blas_lane *lane, struct blas_costs *costs)
{
	size_t size = 3 * 512 * 512 * sizeof(float);
	struct bench bench = { .lane = lane };
	uint64_t start = blas_now();

	bench.memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (bench.memory == MAP_FAILED)
		return -ENOMEM;
	memset(bench.memory, 0, size);		/* so that there are pages */
	measure_card(&bench, costs);
	measure_operands(&bench, costs);
	/* Last: its threads go on waiting for more for a while, at full speed. */
	measure_cpu(&bench, costs);
	munmap(bench.memory, size);
	blas_log("measured CPU and card in %.1f ms", (double)(blas_now() - start) / 1e6);
	return bench.error;
}

/* ---- Keeping ------------------------------------------------------------ */

static uint64_t hash(const char *text)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 0x100000001b3u;
	return h;
}

static void identity(char *text, size_t size, const char *card)
{
	const char *threads[] = { "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS" };
	cpu_set_t cpus;
	int count = 0;

	if (!sched_getaffinity(0, sizeof(cpus), &cpus))
		count = CPU_COUNT(&cpus);
	for (int i = 0; i < 2; i++)
		threads[i] = getenv(threads[i]) ? getenv(threads[i]) : "-";
	snprintf(text, size, "%d | %s | %s | %d CPUs, threads %s %s", FORMAT, card, blas_next_path(),
		 count, threads[0], threads[1]);
}

/* Path of the file in the cache; with @make, its folder is made. */
static bool cache_file(char *path, size_t size, const char *id, bool make)
{
	const char *cache = secure_getenv("XDG_CACHE_HOME"), *home = secure_getenv("HOME");
	char folder[3072];
	int length;

	if (cache && *cache == '/')
		length = snprintf(folder, sizeof(folder), "%s", cache);
	else if (home && *home == '/')
		length = snprintf(folder, sizeof(folder), "%s/.cache", home);
	else
		return false;
	if (length < 0 || length > (int)sizeof(folder) - 32)
		return false;
	if (make)
		mkdir(folder, 0700);
	strcat(folder, "/accel-blas");
	if (make)
		mkdir(folder, 0700);
	return snprintf(path, size, "%s/%016llx", folder, (unsigned long long)hash(id)) < (int)size;
}

/* "name=value", separated by commas or white space; false if something is not understood. */
static bool parse(char *text, struct blas_costs *costs, size_t *count)
{
	char *rest, *word = strtok_r(text, ", \t\n", &rest);

	for (; word; word = strtok_r(NULL, ", \t\n", &rest)) {
		char *value = strchr(word, '='), *end;
		double number = value ? strtod(value + 1, &end) : -1;
		size_t i;

		if (!value || end == value + 1 || *end || !(number >= 0) || isinf(number))
			return false;
		*value = 0;
		for (i = 0; i < FIELDS && strcmp(word, fields[i].name); i++)
			;
		if (i == FIELDS)
			return false;
		*field(costs, i) = number;
		++*count;
	}
	return true;
}

static bool load(const char *id, struct blas_costs *costs)
{
	char path[4096], text[4096];
	size_t length, count = 0;
	FILE *file = cache_file(path, sizeof(path), id, false) ? fopen(path, "re") : NULL;
	char *line;

	if (!file)
		return false;
	length = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[length] = 0;
	line = strchr(text, '\n');
	if (!line)
		return false;
	*line++ = 0;
	return !strcmp(text, id) && parse(line, costs, &count) && count == FIELDS;
}

static void store(const char *id, struct blas_costs *costs)
{
	char path[4096], partial[4160];
	FILE *file;
	bool ok;

	if (!cache_file(path, sizeof(path), id, true))
		return;
	snprintf(partial, sizeof(partial), "%s.%ld", path, (long)getpid());
	file = fopen(partial, "wxe");
	if (!file)
		return;
	fprintf(file, "%s\n", id);
	for (size_t i = 0; i < FIELDS; i++)
		fprintf(file, "%s=%.9g\n", fields[i].name, *field(costs, i));
	ok = !ferror(file);
	if (fclose(file) || !ok || rename(partial, path))
		unlink(partial);
}

/* ---- Deciding ----------------------------------------------------------- */

static double smallest_win(void)
{
	const struct blas_costs *c = &blas_costs;

	for (double side = 4; side < 1e5; side *= 1.05) {
		double work = side * side * side, bytes = side * side * sizeof(float);
		double card = c->card_call + c->card_step + c->card_work * work +
			      3 * blas_model_operand(bytes, bytes, 1);

		if (card < c->cpu_call + c->cpu_work * work)
			return work;
	}
	return INFINITY;
}

void blas_model_init(struct blas_lane *lane, const char *card)
{
	const struct blas_settings *settings = blas_settings();
	bool fresh = settings->model && !strcmp(settings->model, "fresh");
	char *wish = settings->model && !fresh ? strdup(settings->model) : NULL;
	struct blas_costs costs = { 0 }, given = { 0 };
	size_t count = 0;
	char id[1024];

	for (size_t i = 0; i < FIELDS; i++)
		*field(&given, i) = -1;
	if (wish && !parse(wish, &given, &count))
		blas_complain("ACCEL_BLAS_MODEL is not understood: %s", settings->model);
	free(wish);
	identity(id, sizeof(id), card);
	if (count < FIELDS && (fresh || !load(id, &costs))) {
		if (measure(lane, &costs)) {
			/* Whatever is wrong will be wrong with the call, too, and is handled there. */
			blas_log("measuring failed: %s", accel_error_detail());
			costs = (struct blas_costs){ .card_call = 1e9, .copy_byte = 1, .pin_call = 1e6 };
		} else {
			store(id, &costs);
		}
	}
	for (size_t i = 0; i < FIELDS; i++)
		if (*field(&given, i) >= 0)
			*field(&costs, i) = *field(&given, i);
	blas_costs = costs;
	if (!settings->always && !(settings->min_work > 0))
		atomic_store(&blas_floor, smallest_win() / 2);
	blas_log("ns: CPU %.3g + %.3g/multiplication; card %.3g + %.3g/product + %.3g/multiplication",
		 costs.cpu_call, costs.cpu_work, costs.card_call, costs.card_step, costs.card_work);
	blas_log("ns: copying %.3g/byte, registering %.3g + %.3g/byte; from %.0f^3 on the card is looked at",
		 costs.copy_byte, costs.pin_call, costs.pin_byte, cbrt(atomic_load(&blas_floor)));
}

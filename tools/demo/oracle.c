// SPDX-License-Identifier: MIT
/*
 * onpu-oracle: judges what onpu-demo says it computed.
 *
 * Idea: copies its input to its output and collects the lines that begin with
 * "check:". At the end it repeats every one of those computations from the seed
 * by the definition (reference.c), in full, and compares the hashes of all
 * bits. It runs on the host, after the demo, so that it takes no time from it.
 * The text comes from a virtual machine: nothing in it is trusted to be well formed.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "demo.h"

#define CHECKS_MAX 64

struct check {
	enum element type;		/* 0: training */
	uint32_t n;			/* or epochs */
	unsigned int right, right8;
	uint64_t seed, hash;
};

static const char help[] =
"Usage: onpu-demo | onpu-oracle [--digits FILE]\n"
"Copies the demo's output, then repeats the computations of its \"check:\" lines by the\n"
"definition and compares every bit by hash.\n"
"\n"
"      --digits FILE    data set of the training (else it is not repeated: an error)\n"
"  -h, --help           this text\n"
"\n"
"Exit status: 0 when the demo ended well and everything agrees, else 1.\n";

static bool parse_check(const char *line, struct check *check)
{
	char type[8];
	int used = -1;

	memset(check, 0, sizeof(*check));
	sscanf(line, "check: training epochs=%" SCNu32 " right=%u right8=%u hash=%" SCNx64 " %n",
	       &check->n, &check->right, &check->right8, &check->hash, &used);
	if (used > 0 && !line[used])
		return check->n >= 1 && check->n <= 1000;
	used = -1;
	sscanf(line, "check: matmul type=%7s n=%" SCNu32 " seed=%" SCNu64 " hash=%" SCNx64 " %n",
	       type, &check->n, &check->seed, &check->hash, &used);
	if (used <= 0 || line[used])
		return false;
	check->type = element_by_name(type);
	return check->type && check->n >= 1 && check->n <= 8192;
}

static bool judge_training(const struct check *check, const char *path)
{
	struct engine *engine = engine_cpu();
	unsigned int right, right8;
	struct network *network;
	struct digits digits;
	uint64_t hash;
	bool good;

	digits_load(&digits, path);
	network = network_new(engine, &digits);
	network_train(network, check->n, true);
	right8 = network_evaluate_int8(network, NULL);
	right = network_evaluate(network, NULL);
	hash = network_hash(network);
	good = hash == check->hash && right == check->right && right8 == check->right8;
	printf("oracle: training, %u epochs: %s (%u and %u right here)\n", check->n,
	       good ? "every weight equal, bit by bit" : "DIFFERS", right, right8);
	network_free(network);
	digits_free(&digits);
	engine->ops->destroy(engine);
	return good;
}

static bool judge_matmul(const struct check *check)
{
	bool good = large_reference_hash(check->type, check->n, check->seed) == check->hash;

	printf("oracle: %-4s N = %-5u %s %u elements %s\n", element_name(check->type), check->n,
	       good ? "all" : "of", check->n * check->n,
	       good ? "equal, bit by bit" : "at least one DIFFERS");
	fflush(stdout);
	return good;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "digits", required_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct check checks[CHECKS_MAX];
	unsigned int count = 0, bad = 0;
	const char *digits = NULL;
	bool end = false, at_start = true, is_start;
	char line[1024];
	int c;

	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c == 'h') {
			fputs(help, stdout);
			return 0;
		}
		if (c != 'd') {
			fputs("Try onpu-oracle --help.\n", stderr);
			return 1;
		}
		digits = optarg;
	}
	while (fgets(line, sizeof(line), stdin)) {
		fputs(line, stdout);
		fflush(stdout);
		/* A line that is longer than the buffer comes in pieces. */
		is_start = at_start;
		at_start = strchr(line, '\n');
		line[strcspn(line, "\r\n")] = 0;
		if (!is_start || strncmp(line, "check:", 6))
			continue;
		if (!strcmp(line, "check: end"))
			end = true;
		else if (count < CHECKS_MAX && parse_check(line, &checks[count]))
			count++;
		else
			bad++;
	}
	for (unsigned int i = 0; i < count; i++) {
		if (checks[i].type)
			bad += !judge_matmul(&checks[i]);
		else if (digits)
			bad += !judge_training(&checks[i], digits);
		else
			bad++;
	}
	if (!end || !count || bad) {
		printf("oracle: FAILED: %s\n", bad ? "results differ or a check line is not understood" :
		       count ? "the demo did not end well" : "the demo stated no result");
		return 1;
	}
	printf("oracle: %u results, all equal to the definition in every bit\n", count);
	return 0;
}

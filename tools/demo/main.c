// SPDX-License-Identifier: MIT
/*
 * onpu-demo: a network learns to read handwritten digits on the card, then
 * large matrices are multiplied and checked.
 *
 * Idea: the lines that begin with "check:" state a result by its hash. They mean
 * something by themselves, and onpu-oracle, run where the processor is fast,
 * repeats those computations by the definition and says whether every bit
 * agrees.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "demo.h"

#ifndef DIGITS_PATH
#define DIGITS_PATH "/usr/local/share/onpu/digits.csv"
#endif

#define EPOCHS 12
#define SHOWN 5
#define CPU_N 192

static struct options {
	const char *device, *digits;
	unsigned int epochs, size, repeats;
	bool cpu, full, digits_only, matmul_only;
} options = { .digits = DIGITS_PATH, .epochs = EPOCHS, .repeats = 5 };

static const char help[] =
"Usage: onpu-demo [OPTION]...\n"
"Trains a network on handwritten digits with every matrix product on the card,\n"
"evaluates it and an 8-bit copy of it, then multiplies large matrices and checks them.\n"
"\n"
"  -d, --device NAME    card: PCI address, device node or index (default: the first)\n"
"  -c, --cpu            no card: compute everything on the CPU, to the same bits\n"
"      --digits FILE    data set (default " DIGITS_PATH ")\n"
"  -e, --epochs N       passes over the training images (default 12)\n"
"      --digits-only    only the network\n"
"      --matmul-only    only the large products\n"
"  -n, --size N         one size of large products instead of 1024 and 2048 (F32)\n"
"  -r, --repeats N      how often a large product is timed (default 5)\n"
"  -f, --full-check     compare every element here (slow on an emulated processor)\n"
"  -h, --help           this text\n"
"\n"
"Exit status: 0 when all went well, 1 on an error, a wrong element or a bad accuracy.\n";

static double percent(unsigned int part, unsigned int whole)
{
	return 100.0 * part / whole;
}

/* Some images and what the network says: a wrong answer first, if there is one. */
static void show_digits(const struct digits *digits, const unsigned char *answers)
{
	unsigned int held_out = digits->count - digits->train, images[SHOWN], shown = 0;
	char text[SHOWN][DIGIT_SIDE * 2 + 1];

	for (unsigned int i = 0; i < held_out && !shown; i++)
		if (answers[i] != digits->label[digits->train + i])
			images[shown++] = i;
	for (unsigned int i = 0; i < held_out && shown < SHOWN; i++)
		if (answers[i] == digits->label[digits->train + i])
			images[shown++] = i;
	for (unsigned int i = 0; i < shown; i++) {
		unsigned int answer = answers[images[i]];

		images[i] += digits->train;
		if (answer == digits->label[images[i]])
			snprintf(text[i], sizeof(text[i]), "answer: %u", answer % 10);
		else
			snprintf(text[i], sizeof(text[i]), "answer: %u is %u", answer % 10,
				 digits->label[images[i]] % 10u);
	}
	printf("\nSome of the held-out digits:\n\n");
	digits_draw(digits, images, shown, text);
}

static bool run_digits(struct engine *engine)
{
	unsigned int held_out, right, right8;
	struct network *network;
	unsigned char *answers;
	struct digits digits;
	double start = now();
	bool good;

	digits_load(&digits, options.digits);
	held_out = digits.count - digits.train;
	answers = must_alloc(held_out);
	printf("Training on %u handwritten digits, %u held out; every product on %s\n\n",
	       digits.train, held_out, options.cpu ? "the CPU" : "the card");
	network = network_new(engine, &digits);
	network_train(network, options.epochs, false);
	right8 = network_evaluate_int8(network, NULL);
	right = network_evaluate(network, answers);
	show_digits(&digits, answers);
	printf("\n  F32:  %u of %u held-out digits right, %.2f %%\n", right, held_out,
	       percent(right, held_out));
	printf("  INT8: %u of %u held-out digits right, %.2f %%\n", right8, held_out,
	       percent(right8, held_out));
	printf("  %lu products in %.1f s\n", engine->products, now() - start);
	printf("check: training epochs=%u right=%u right8=%u hash=%016" PRIx64 "\n\n",
	       options.epochs, right, right8, network_hash(network));
	good = percent(right, held_out) >= 95 &&
	       percent(right8, held_out) >= percent(right, held_out) - 1;
	if (!good)
		printf("FAILED: expected at least 95 %%, and INT8 within 1 point of F32\n");
	network_free(network);
	digits_free(&digits);
	free(answers);
	return good;
}

static void run_large(struct engine *engine, enum element type, uint32_t n, double cpu)
{
	struct large_result result;
	double gflops;

	large_run(engine, type, n, DEMO_SEED, options.repeats, options.full, &result);
	gflops = 2.0 * n * n * n / result.seconds * 1e-9;
	printf("  %-5s N = %-5u %9.2f ms  %8.2f G%s  %6.0f x the CPU  %u elements equal\n",
	       element_name(type), n, result.seconds * 1e3, gflops,
	       type == ELEMENT_I8 ? "OP/s  " : "FLOP/s", gflops / cpu, result.samples);
	printf("check: matmul type=%s n=%u seed=%d hash=%016" PRIx64 "\n", element_name(type), n,
	       DEMO_SEED, result.hash);
	fflush(stdout);
}

static void run_matmuls(struct engine *engine)
{
	double cpu = cpu_gflops(CPU_N);

	printf("Large products, operands and result in card memory, median of %u;\n"
	       "%s elements are compared here with the definition, bit by bit.\n"
	       "This machine's CPU: %.2f GFLOP/s (one thread, compiled loop, N = %d)\n\n",
	       options.repeats, options.full ? "all" : "some", cpu, CPU_N);
	if (options.size) {
		for (int type = ELEMENT_F32; type <= ELEMENT_I8; type++)
			run_large(engine, (enum element)type, options.size, cpu);
		return;
	}
	run_large(engine, ELEMENT_F32, 1024, cpu);
	run_large(engine, ELEMENT_BF16, 1024, cpu);
	run_large(engine, ELEMENT_F16, 1024, cpu);
	run_large(engine, ELEMENT_I8, 1024, cpu);
	run_large(engine, ELEMENT_F32, 2048, cpu);
	run_large(engine, ELEMENT_I8, 2048, cpu);
}

static unsigned int number(const char *text, unsigned int limit)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || value < 1 || value > limit)
		die("%s: expected a number from 1 to %u", text, limit);
	return (unsigned int)value;
}

static void parse(int argc, char **argv)
{
	enum { DIGITS = 256, DIGITS_ONLY, MATMUL_ONLY };
	static const struct option longs[] = {
		{ "device", required_argument, NULL, 'd' },
		{ "cpu", no_argument, NULL, 'c' },
		{ "digits", required_argument, NULL, DIGITS },
		{ "epochs", required_argument, NULL, 'e' },
		{ "digits-only", no_argument, NULL, DIGITS_ONLY },
		{ "matmul-only", no_argument, NULL, MATMUL_ONLY },
		{ "size", required_argument, NULL, 'n' },
		{ "repeats", required_argument, NULL, 'r' },
		{ "full-check", no_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "d:ce:n:r:fh", longs, NULL)) != -1) {
		switch (c) {
		case 'd': options.device = optarg; break;
		case 'c': options.cpu = true; break;
		case DIGITS: options.digits = optarg; break;
		case 'e': options.epochs = number(optarg, 1000); break;
		case DIGITS_ONLY: options.digits_only = true; break;
		case MATMUL_ONLY: options.matmul_only = true; break;
		case 'n': options.size = number(optarg, 8192); break;
		case 'r': options.repeats = number(optarg, 32); break;
		case 'f': options.full = true; break;
		case 'h': fputs(help, stdout); exit(0);
		default: fputs("Try onpu-demo --help.\n", stderr); exit(1);
		}
	}
	if (optind < argc)
		die("%s: no such argument; try --help", argv[optind]);
}

int main(int argc, char **argv)
{
	struct engine *engine;
	bool good = true;

	parse(argc, argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	engine = options.cpu ? engine_cpu() : engine_card(options.device);
	printf("%s\n\n", engine->name);
	if (!options.matmul_only)
		good = run_digits(engine);
	if (!options.digits_only)
		run_matmuls(engine);
	engine->ops->destroy(engine);
	printf("%s\n", good ? "check: end" : "check: failed");
	return good ? 0 : 1;
}

// SPDX-License-Identifier: MIT
/*
 * The data set: handwritten digits, 8 x 8 pixels in 17 greys.
 *
 * Idea: a text file with one image a line, 64 numbers from 0 to 16 and the digit
 * that it shows, as scikit-learn ships it (tools/demo/fetch-digits tells where it
 * comes from). The order is shuffled once by a fixed seed; the last fifth is
 * held out and never trained on.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "demo.h"

#define DIGITS_MAX 100000

static void parse_line(char *line, unsigned char *pixels, unsigned char *label,
		       const char *path, unsigned int number)
{
	char *at = line;

	for (int i = 0; i <= DIGIT_PIXELS; i++) {
		long limit = i < DIGIT_PIXELS ? 16 : DIGIT_CLASSES - 1;
		char *end;
		long value = strtol(at, &end, 10);

		if (end == at || value < 0 || value > limit ||
		    (i < DIGIT_PIXELS ? *end != ',' : *end && *end != '\n' && *end != '\r'))
			die("%s:%u: not an image of 64 pixels and its digit", path, number);
		if (i < DIGIT_PIXELS)
			pixels[i] = (unsigned char)value;
		else
			*label = (unsigned char)value;
		at = end + 1;
	}
}

static void shuffle(struct digits *digits)
{
	struct rng rng;

	rng_seed(&rng, DEMO_SEED);
	for (uint32_t i = digits->count - 1; i > 0; i--) {
		uint32_t other = rng_below(&rng, i + 1);
		unsigned char pixels[DIGIT_PIXELS], label = digits->label[i];

		memcpy(pixels, digits->pixels[i], DIGIT_PIXELS);
		memcpy(digits->pixels[i], digits->pixels[other], DIGIT_PIXELS);
		memcpy(digits->pixels[other], pixels, DIGIT_PIXELS);
		digits->label[i] = digits->label[other];
		digits->label[other] = label;
	}
}

void digits_load(struct digits *digits, const char *path)
{
	FILE *file = fopen(path, "r");
	unsigned int room = 2048;
	char line[512];

	if (!file)
		die("%s: %s", path, strerror(errno));
	memset(digits, 0, sizeof(*digits));
	digits->pixels = malloc(room * DIGIT_PIXELS);
	digits->label = malloc(room);
	while (digits->pixels && digits->label && fgets(line, sizeof(line), file)) {
		if (digits->count == DIGITS_MAX)
			die("%s: more than %d images", path, DIGITS_MAX);
		if (digits->count == room) {
			room *= 2;
			digits->pixels = realloc(digits->pixels, room * DIGIT_PIXELS);
			digits->label = realloc(digits->label, room);
			if (!digits->pixels || !digits->label)
				break;
		}
		parse_line(line, digits->pixels[digits->count], &digits->label[digits->count],
			   path, digits->count + 1);
		digits->count++;
	}
	fclose(file);
	if (!digits->pixels || !digits->label)
		die("out of memory");
	if (digits->count < 100)
		die("%s: only %u images", path, digits->count);
	shuffle(digits);
	digits->train = digits->count - digits->count / 5;
}

void digits_free(struct digits *digits)
{
	free(digits->pixels);
	free(digits->label);
}

void digits_draw(const struct digits *digits, const unsigned int *images, unsigned int count,
		 char text[][DIGIT_SIDE * 2 + 1])
{
	static const char grey[] = " .:-=+*#%@";

	for (int row = 0; row < DIGIT_SIDE; row++) {
		printf("  ");
		for (unsigned int i = 0; i < count; i++) {
			const unsigned char *pixels = digits->pixels[images[i]] + row * DIGIT_SIDE;

			for (int column = 0; column < DIGIT_SIDE; column++) {
				char c = grey[pixels[column] * 9 / 16];

				printf("%c%c", c, c);
			}
			printf("  ");
		}
		printf("\n");
	}
	printf("  ");
	for (unsigned int i = 0; i < count; i++)
		printf("%-*s  ", DIGIT_SIDE * 2, text[i]);
	printf("\n");
}

// SPDX-License-Identifier: MIT
/*
 * The network: 64 pixels, two hidden layers with ReLU, ten classes; softmax and
 * cross-entropy; mini-batches, gradient descent with momentum.
 *
 * Idea: every matrix product is the engine's: three per batch on the way
 * forward, five on the way back. What is left to the CPU is linear in the number of
 * activations and weights: bias, ReLU, softmax, update. The training images stay
 * on the card for an epoch; the rest is memory that both see. All sums have a fixed
 * order, so the weights after training are the same to the last bit on every
 * engine. The 8-bit copy has one scale per layer's input and one per output column of the
 * weights, from the largest magnitudes; its products are INT8 with INT32 sums.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "demo.h"

#define LAYERS 3
#define BATCH 32

static const uint32_t widths[LAYERS + 1] = { DIGIT_PIXELS, 96, 64, DIGIT_CLASSES };

struct layer {
	uint32_t in, out;
	struct tensor *weights;		/* in x out */
	struct tensor *gradient;	/* of the weights */
	struct tensor *output;		/* rows x out */
	struct tensor *delta;		/* of the output */
	float *bias, *velocity, *bias_velocity;
	float input_scale;		/* of the 8-bit copy */
};

struct network {
	struct engine *engine;
	const struct digits *digits;
	struct layer layers[LAYERS];
	struct tensor *images;		/* of an epoch, in its order; or those held out */
	unsigned int *order;
	unsigned int capacity;		/* rows of images and outputs */
};

static void layer_init(struct network *network, struct layer *layer, uint32_t in, uint32_t out,
		       struct rng *rng)
{
	float *weights, limit = sqrtf(6.0f / (float)in);

	layer->in = in;
	layer->out = out;
	layer->weights = tensor_new(network->engine, in * out * 4, PLACE_HOST);
	layer->gradient = tensor_new(network->engine, in * out * 4, PLACE_HOST);
	layer->output = tensor_new(network->engine, (size_t)network->capacity * out * 4, PLACE_HOST);
	layer->delta = tensor_new(network->engine, BATCH * out * 4, PLACE_HOST);
	layer->bias = must_alloc(out * sizeof(float));
	layer->bias_velocity = must_alloc(out * sizeof(float));
	layer->velocity = must_alloc(in * out * sizeof(float));
	weights = layer->weights->data;
	for (uint32_t i = 0; i < in * out; i++)
		weights[i] = limit * rng_float(rng);
}

struct network *network_new(struct engine *engine, const struct digits *digits)
{
	struct network *network = must_alloc(sizeof(*network));
	struct rng rng;

	network->engine = engine;
	network->digits = digits;
	network->capacity = digits->train;
	network->images = tensor_new(engine, (size_t)network->capacity * DIGIT_PIXELS * 4, PLACE_CARD);
	network->order = must_alloc(digits->train * sizeof(*network->order));
	for (unsigned int i = 0; i < digits->train; i++)
		network->order[i] = i;
	rng_seed(&rng, DEMO_SEED + 1);
	for (int i = 0; i < LAYERS; i++)
		layer_init(network, &network->layers[i], widths[i], widths[i + 1], &rng);
	return network;
}

void network_free(struct network *network)
{
	for (int i = 0; i < LAYERS; i++) {
		struct layer *layer = &network->layers[i];

		tensor_free(network->engine, layer->weights);
		tensor_free(network->engine, layer->gradient);
		tensor_free(network->engine, layer->output);
		tensor_free(network->engine, layer->delta);
		free(layer->bias);
		free(layer->velocity);
		free(layer->bias_velocity);
	}
	tensor_free(network->engine, network->images);
	free(network->order);
	free(network);
}

static void put_image(const struct digits *digits, unsigned int image, float *to)
{
	for (int i = 0; i < DIGIT_PIXELS; i++)
		to[i] = (float)digits->pixels[image][i] * 0.0625f;
}

/* Adds the bias and, below the last layer, clips at zero. */
static void finish_layer(const struct layer *layer, uint32_t rows, bool last)
{
	float *out = layer->output->data;

	for (uint32_t r = 0; r < rows; r++) {
		for (uint32_t c = 0; c < layer->out; c++) {
			float value = out[r * layer->out + c] + layer->bias[c];

			out[r * layer->out + c] = last || value > 0 ? value : 0;
		}
	}
}

/* From images first .. first + rows to the last layer's outputs. */
static void forward(struct network *network, uint32_t first, uint32_t rows)
{
	const struct tensor *input = network->images;
	size_t offset = (size_t)first * DIGIT_PIXELS * 4;

	for (int i = 0; i < LAYERS; i++) {
		struct layer *layer = &network->layers[i];
		struct product product = {
			.shape = { .type = ELEMENT_F32, .m = rows, .n = layer->out, .k = layer->in },
			.a = input, .a_offset = offset,
			.b = layer->weights,
			.d = layer->output,
		};

		engine_matmuls(network->engine, &product, 1);
		finish_layer(layer, rows, i == LAYERS - 1);
		input = layer->output;
		offset = 0;
	}
}

/* Softmax of each row, and what the outputs should have been different by. Returns the loss. */
static double output_delta(struct network *network, uint32_t first, uint32_t rows)
{
	struct layer *last = &network->layers[LAYERS - 1];
	double loss = 0;

	for (uint32_t r = 0; r < rows; r++) {
		const float *out = (float *)last->output->data + r * DIGIT_CLASSES;
		float *delta = (float *)last->delta->data + r * DIGIT_CLASSES;
		unsigned int label = network->digits->label[network->order[first + r]];
		float largest = out[0], sum = 0;

		for (int c = 1; c < DIGIT_CLASSES; c++)
			largest = out[c] > largest ? out[c] : largest;
		for (int c = 0; c < DIGIT_CLASSES; c++)
			sum += delta[c] = exp_exact(out[c] - largest);
		loss -= log((double)(delta[label] / sum) + 1e-30);
		for (int c = 0; c < DIGIT_CLASSES; c++)
			delta[c] = (delta[c] / sum - (c == (int)label ? 1.0f : 0.0f)) / (float)rows;
	}
	return loss;
}

/* Gradients of the weights of every layer, deltas of all but the first. */
static void backward(struct network *network, uint32_t first, uint32_t rows)
{
	for (int i = LAYERS - 1; i >= 0; i--) {
		struct layer *layer = &network->layers[i];
		struct layer *below = i ? &network->layers[i - 1] : NULL;
		struct product products[2] = {
			{	/* gradient = input^T * delta */
				.shape = { .type = ELEMENT_F32, .trans_a = true,
					   .m = layer->in, .n = layer->out, .k = rows },
				.a = below ? below->output : network->images,
				.a_offset = below ? 0 : (size_t)first * DIGIT_PIXELS * 4,
				.b = layer->delta,
				.d = layer->gradient,
			},
			{	/* delta of the layer below = delta * weights^T */
				.shape = { .type = ELEMENT_F32, .trans_b = true,
					   .m = rows, .n = layer->in, .k = layer->out },
				.a = layer->delta,
				.b = layer->weights,
				.d = below ? below->delta : NULL,
			},
		};

		engine_matmuls(network->engine, products, below ? 2 : 1);
		for (uint32_t j = 0; below && j < rows * below->out; j++)
			if (((float *)below->output->data)[j] <= 0)
				((float *)below->delta->data)[j] = 0;
	}
}

static void step(float *values, float *velocity, const float *gradient, uint32_t count, float rate)
{
	for (uint32_t i = 0; i < count; i++) {
		velocity[i] = 0.9f * velocity[i] - rate * gradient[i];
		values[i] += velocity[i];
	}
}

static void update(struct network *network, uint32_t rows, float rate)
{
	for (int i = 0; i < LAYERS; i++) {
		struct layer *layer = &network->layers[i];
		const float *delta = layer->delta->data;
		float bias_gradient[128] = { 0 };

		for (uint32_t r = 0; r < rows; r++)
			for (uint32_t c = 0; c < layer->out; c++)
				bias_gradient[c] += delta[r * layer->out + c];
		step(layer->weights->data, layer->velocity, layer->gradient->data,
		     layer->in * layer->out, rate);
		step(layer->bias, layer->bias_velocity, bias_gradient, layer->out, rate);
	}
}

static void new_order(struct network *network, unsigned int epoch)
{
	struct rng rng;

	rng_seed(&rng, DEMO_SEED + 100 + epoch);
	for (uint32_t i = network->digits->train - 1; i > 0; i--) {
		uint32_t other = rng_below(&rng, i + 1);
		unsigned int image = network->order[i];

		network->order[i] = network->order[other];
		network->order[other] = image;
	}
	for (uint32_t i = 0; i < network->digits->train; i++)
		put_image(network->digits, network->order[i],
			  (float *)network->images->data + (size_t)i * DIGIT_PIXELS);
}

void network_train(struct network *network, unsigned int epochs, bool quiet)
{
	uint32_t count = network->digits->train;

	for (unsigned int epoch = 0; epoch < epochs; epoch++) {
		unsigned long products = network->engine->products;
		double start = now(), loss = 0;
		/* Half the rate in the second half, a quarter in the last quarter. */
		float rate = 0.05f;

		if (2 * epoch >= epochs)
			rate *= 0.5f;
		if (4 * epoch >= 3 * epochs)
			rate *= 0.5f;
		new_order(network, epoch);
		for (uint32_t first = 0; first < count; first += BATCH) {
			uint32_t rows = count - first < BATCH ? count - first : BATCH;

			forward(network, first, rows);
			loss += output_delta(network, first, rows);
			backward(network, first, rows);
			update(network, rows, rate);
		}
		if (!quiet)
			printf("  epoch %2u of %u   loss %6.4f   %lu products   %5.2f s\n",
			       epoch + 1, epochs, loss / count,
			       network->engine->products - products, now() - start);
		fflush(stdout);
	}
}

static unsigned int count_right(struct network *network, const float *outputs,
				unsigned char *answers)
{
	const struct digits *digits = network->digits;
	unsigned int right = 0;

	for (unsigned int i = digits->train; i < digits->count; i++) {
		const float *out = outputs + (i - digits->train) * DIGIT_CLASSES;
		unsigned char answer = 0;

		for (unsigned char c = 1; c < DIGIT_CLASSES; c++)
			if (out[c] > out[answer])
				answer = c;
		right += answer == digits->label[i];
		if (answers)
			answers[i - digits->train] = answer;
	}
	return right;
}

unsigned int network_evaluate(struct network *network, unsigned char *answers)
{
	const struct digits *digits = network->digits;
	uint32_t rows = digits->count - digits->train;

	for (uint32_t i = 0; i < rows; i++)
		put_image(digits, digits->train + i,
			  (float *)network->images->data + (size_t)i * DIGIT_PIXELS);
	forward(network, 0, rows);
	return count_right(network, network->layers[LAYERS - 1].output->data, answers);
}

static int8_t quantise(float value, float scale)
{
	float scaled = floorf(value / scale + 0.5f);

	return (int8_t)(scaled > 127 ? 127 : scaled < -127 ? -127 : scaled);
}

static float largest_magnitude(const float *values, uint32_t count, uint32_t stride)
{
	float largest = 1e-20f;

	for (uint32_t i = 0; i < count; i++)
		if (fabsf(values[(size_t)i * stride]) > largest)
			largest = fabsf(values[(size_t)i * stride]);
	return largest;
}

/* The scales of the layers' inputs, from a part of the training images. */
static void calibrate(struct network *network)
{
	uint32_t rows = network->digits->train < 256 ? network->digits->train : 256;

	for (uint32_t i = 0; i < rows; i++)
		put_image(network->digits, i,
			  (float *)network->images->data + (size_t)i * DIGIT_PIXELS);
	forward(network, 0, rows);
	network->layers[0].input_scale = 1.0f / 127;
	for (int i = 1; i < LAYERS; i++)
		network->layers[i].input_scale =
			largest_magnitude(network->layers[i - 1].output->data,
					  rows * network->layers[i].in, 1) / 127;
}

/* One layer of the 8-bit copy; input and output are floats in CPU memory. */
static void int8_layer(struct network *network, struct layer *layer, const float *input,
		       uint32_t rows, bool last)
{
	struct engine *engine = network->engine;
	struct tensor *a = tensor_new(engine, rows * layer->in, PLACE_HOST);
	struct tensor *b = tensor_new(engine, layer->in * layer->out, PLACE_CARD);
	struct tensor *d = tensor_new(engine, rows * layer->out * 4, PLACE_HOST);
	struct product product = {
		.shape = { .type = ELEMENT_I8, .m = rows, .n = layer->out, .k = layer->in },
		.a = a, .b = b, .d = d,
	};
	const float *weights = layer->weights->data;
	float scale[128], *out = layer->output->data;

	for (uint32_t i = 0; i < rows * layer->in; i++)
		((int8_t *)a->data)[i] = quantise(input[i], layer->input_scale);
	for (uint32_t c = 0; c < layer->out; c++)
		scale[c] = largest_magnitude(weights + c, layer->in, layer->out) / 127;
	for (uint32_t i = 0; i < layer->in * layer->out; i++)
		((int8_t *)b->data)[i] = quantise(weights[i], scale[i % layer->out]);
	engine_matmuls(engine, &product, 1);
	for (uint32_t i = 0; i < rows * layer->out; i++)
		out[i] = (float)((int32_t *)d->data)[i] * (layer->input_scale * scale[i % layer->out]);
	finish_layer(layer, rows, last);
	tensor_free(engine, a);
	tensor_free(engine, b);
	tensor_free(engine, d);
}

unsigned int network_evaluate_int8(struct network *network, unsigned char *answers)
{
	const struct digits *digits = network->digits;
	uint32_t rows = digits->count - digits->train;
	float *images = must_alloc((size_t)rows * DIGIT_PIXELS * sizeof(float));
	const float *input = images;

	calibrate(network);
	for (uint32_t i = 0; i < rows; i++)
		put_image(digits, digits->train + i, images + (size_t)i * DIGIT_PIXELS);
	for (int i = 0; i < LAYERS; i++) {
		int8_layer(network, &network->layers[i], input, rows, i == LAYERS - 1);
		input = network->layers[i].output->data;
	}
	free(images);
	return count_right(network, network->layers[LAYERS - 1].output->data, answers);
}

uint64_t network_hash(const struct network *network)
{
	uint64_t hash = HASH_START;

	for (int i = 0; i < LAYERS; i++) {
		const struct layer *layer = &network->layers[i];

		hash = hash_words(hash, layer->weights->data, layer->in * layer->out * 4);
		hash = hash_words(hash, layer->bias, layer->out * 4);
	}
	return hash;
}

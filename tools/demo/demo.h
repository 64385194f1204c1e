/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Parts of the demo: numbers, the reference, the engine that multiplies, the
 * digits, the network, the large products. Functions print what went wrong
 * and end the program; a demo has nothing to clean up that exit() does not.
 */
#ifndef ONPU_DEMO_H
#define ONPU_DEMO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEMO_SEED	2024

/* ---- numbers.c -------------------------------------------------------- */

/** A generator of its own, so that every machine draws the same numbers. */
struct rng {
	uint64_t state;
};

void rng_seed(struct rng *rng, uint64_t seed);
uint64_t rng_next(struct rng *rng);
/** Uniform in [-1, 1), 24 random bits. */
float rng_float(struct rng *rng);
/** Uniform in [0, n). */
uint32_t rng_below(struct rng *rng, uint32_t n);

#define HASH_START	0xcbf29ce484222325ull
/** FNV-1a over 32-bit words; size is a multiple of 4. */
uint64_t hash_words(uint64_t hash, const void *data, size_t size);

/** e^x by IEEE double operations alone: the same bits with every C library. */
float exp_exact(float x);

/** Monotonic time in seconds. */
double now(void);

void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...);
void *must_alloc(size_t size);

/* ---- reference.c ------------------------------------------------------ */

/** Element types, numbered as in enum accel_type. */
enum element {
	ELEMENT_F32 = 1,
	ELEMENT_BF16 = 2,
	ELEMENT_F16 = 3,
	ELEMENT_I8 = 4,
};

const char *element_name(enum element type);
/** 0 if there is no such type. */
enum element element_by_name(const char *name);
size_t element_size(enum element type);

/** D = op(A) * op(B), row-major without gaps. D is float, or int32_t for I8. */
struct shape {
	enum element type;
	bool trans_a, trans_b;	/**< A is stored k x m, B is stored n x k */
	uint32_t m, n, k;
};

/**
 * The product as numerics.md defines it, by the loops of the definition. It knows nothing of
 * the card and none of its code.
 */
void reference_matmul(const struct shape *shape, const void *a, const void *b, void *d);

/** One element of it: the bits of the float or the integer. */
uint32_t reference_element(const struct shape *shape, const void *a, const void *b,
			   uint32_t row, uint32_t column);

/** Fills the operands of the large product of that type, size and seed. */
void reference_operands(enum element type, uint32_t n, uint64_t seed, void *a, void *b);

/* ---- engine.c, engine_cpu.c ------------------------------------------- */

/** What multiplies: a card, or the CPU by reference_matmul(). */
struct engine;

/** Memory that both the CPU and the engine see. */
struct tensor;

enum place {
	PLACE_HOST,	/**< the CPU works on it, the card reads and writes it by DMA */
	PLACE_CARD,	/**< the card works on it */
};

/** One product: tensors and the bytes in them where the matrices start. */
struct product {
	struct shape shape;
	const struct tensor *a, *b;
	struct tensor *d;
	size_t a_offset, b_offset, d_offset;
};

struct engine_ops {
	struct tensor *(*alloc)(struct engine *engine, size_t size, enum place place);
	void (*free)(struct engine *engine, struct tensor *tensor);
	void (*matmuls)(struct engine *engine, const struct product *products, unsigned int count);
	void (*destroy)(struct engine *engine);
};

struct engine {
	const struct engine_ops *ops;
	char name[96];
	unsigned long products;	/**< so far */
};

struct tensor {
	void *data;		/**< for the CPU, while no product uses it */
	size_t size;
	void *buffer;		/**< the engine's own */
};

struct engine *engine_cpu(void);
/** name: as accel_device_open_name() takes it, or NULL for the first card. */
struct engine *engine_card(const char *name);

struct tensor *tensor_new(struct engine *engine, size_t size, enum place place);
void tensor_free(struct engine *engine, struct tensor *tensor);
/** Multiplies one after the other; when it returns the results are there. */
void engine_matmuls(struct engine *engine, const struct product *products, unsigned int count);

/* ---- digits.c --------------------------------------------------------- */

#define DIGIT_SIDE	8
#define DIGIT_PIXELS	64
#define DIGIT_CLASSES	10

struct digits {
	unsigned int count, train;	/**< images; the first of them are for training */
	unsigned char (*pixels)[DIGIT_PIXELS];	/**< 0 .. 16 */
	unsigned char *label;
};

/** Reads the file and shuffles; one in five images is held out. */
void digits_load(struct digits *digits, const char *path);
void digits_free(struct digits *digits);
/** Draws images side by side, with a line of text below each. */
void digits_draw(const struct digits *digits, const unsigned int *images, unsigned int count,
		 char text[][DIGIT_SIDE * 2 + 1]);

/* ---- network.c -------------------------------------------------------- */

struct network;

struct network *network_new(struct engine *engine, const struct digits *digits);
void network_free(struct network *network);
/** Trains for some epochs and prints the progress unless quiet. */
void network_train(struct network *network, unsigned int epochs, bool quiet);
/** Classifies the held-out images; answers may be NULL. Returns how many are right. */
unsigned int network_evaluate(struct network *network, unsigned char *answers);
/** The same with weights and activations in 8-bit integers. */
unsigned int network_evaluate_int8(struct network *network, unsigned char *answers);
/** Hash of every weight and bias. */
uint64_t network_hash(const struct network *network);

/* ---- large.c ---------------------------------------------------------- */

/** What a large product was like. */
struct large_result {
	uint64_t hash;		/**< of every bit of D */
	double seconds;		/**< the median */
	unsigned int samples;	/**< elements compared here with the reference */
};

/** Multiplies, times it, compares some elements (or all) with the reference. */
void large_run(struct engine *engine, enum element type, uint32_t n, uint64_t seed,
	       unsigned int repeats, bool full, struct large_result *result);

/** Hash of the product by the reference. */
uint64_t large_reference_hash(enum element type, uint32_t n, uint64_t seed);

/** GFLOP/s of one CPU thread by a plain loop that the compiler vectorises. */
double cpu_gflops(uint32_t n);

#endif /* ONPU_DEMO_H */

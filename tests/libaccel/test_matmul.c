/* SPDX-License-Identifier: MIT */
/*
 * Matmuls against the scalar reference, every bit, and everything that may not be asked.
 */
#include "common.h"

#define CARD ACCEL_BUFFER_CARD
#define TA ACCEL_MATMUL_TRANS_A
#define TB ACCEL_MATMUL_TRANS_B
#define ACC ACCEL_MATMUL_ACCUMULATE

static const uint32_t in_types[] = {
	ACCEL_TYPE_F32, ACCEL_TYPE_BF16, ACCEL_TYPE_F16, ACCEL_TYPE_I8,
};

/* One product and what it should be. */
struct shape {
	uint32_t m, n, k;
	uint32_t gap[4];	/* ld beyond the row length of A, B, C, D */
	uint32_t skip[4];	/* elements before the first */
};

struct side {
	struct accel_buffer *buffer;
	struct ref_matrix ref;	/* the buffer's whole content */
	uint64_t elements;
};

static void make_side(struct fixture *f, struct side *side, struct accel_matrix *matrix,
		      uint32_t type, uint32_t rows, uint32_t columns, uint32_t gap, uint32_t skip,
		      uint32_t seed)
{
	uint64_t size = accel_type_size(type);

	side->elements = skip + (uint64_t)rows * (columns + gap) + 3;
	side->ref.type = type;
	side->ref.ld = columns + gap;
	side->ref.data = malloc(side->elements * size);
	assert_non_null(side->ref.data);
	ref_fill(&side->ref, side->elements, seed, true);
	side->buffer = make_buffer(f, side->elements * size, CARD);
	ok(accel_buffer_write(side->buffer, 0, side->ref.data, side->elements * size));
	matrix->buffer = side->buffer;
	matrix->type = type;
	matrix->offset = skip * size;
	matrix->ld = gap ? side->ref.ld : 0;
}

static void free_side(struct side *side)
{
	accel_buffer_destroy(side->buffer);
	free(side->ref.data);
}

/* The reference's view of a matrix inside the content of its buffer. */
static struct ref_matrix view(const struct side *side, const struct accel_matrix *matrix)
{
	return (struct ref_matrix){
		.data = side->ref.data ? side->ref.data + matrix->offset : NULL,
		.ld = side->ref.ld,
		.type = side->ref.type,
	};
}

static void compare(const struct side *d, const char *what)
{
	uint32_t *result = malloc(d->elements * 4), *wanted = (uint32_t *)(void *)d->ref.data;

	assert_non_null(result);
	ok(accel_buffer_read(d->buffer, 0, result, d->elements * 4));
	for (uint64_t i = 0; i < d->elements; i++)
		if (!ref_same(d->ref.type, result[i], wanted[i]))
			fail_msg("%s: word %llu is %08x, wanted %08x", what, (unsigned long long)i,
				 result[i], wanted[i]);
	free(result);
}

/* Runs one product; gaps of D and what stands before and behind must not change. */
static void check_product(struct fixture *f, uint32_t type, uint32_t flags, const struct shape *s,
			  bool in_place)
{
	uint32_t result = type == ACCEL_TYPE_I8 ? ACCEL_TYPE_I32 : ACCEL_TYPE_F32;
	struct side a, b, c = { 0 }, d;
	struct ref_matrix ra, rb, rc = { 0 }, rd;
	struct accel_matmul p;
	char what[120];

	snprintf(what, sizeof(what), "%s flags %x m %u n %u k %u gap %u %u %u %u%s",
		 accel_type_name(type), flags, s->m, s->n, s->k, s->gap[0], s->gap[1], s->gap[2],
		 s->gap[3], in_place ? " in place" : "");
	accel_matmul_init(&p);
	p.flags = flags;
	p.m = s->m;
	p.n = s->n;
	p.k = s->k;
	make_side(f, &a, &p.a, type, flags & TA ? s->k : s->m, flags & TA ? s->m : s->k, s->gap[0],
		  s->skip[0], 1);
	make_side(f, &b, &p.b, type, flags & TB ? s->n : s->k, flags & TB ? s->k : s->n, s->gap[1],
		  s->skip[1], 2);
	make_side(f, &d, &p.d, result, s->m, s->n, s->gap[3], s->skip[3], 3);
	ra = view(&a, &p.a);
	rb = view(&b, &p.b);
	rd = view(&d, &p.d);
	if (flags & ACC && in_place) {
		rc = rd;
	} else if (flags & ACC) {
		make_side(f, &c, &p.c, result, s->m, s->n, s->gap[2], s->skip[2], 4);
		rc = view(&c, &p.c);
	}
	ref_matmul(flags, s->m, s->n, s->k, &ra, &rb, &rc, &rd);
	ok(accel_matmul(f->queue, &p));
	compare(&d, what);
	free_side(&a);
	free_side(&b);
	free_side(&d);
	free_side(&c);
}

static void all_types_and_flags(void **state)
{
	static const struct shape shapes[] = {
		{ 1, 1, 1, { 0 }, { 0 } },
		{ 7, 5, 9, { 1, 2, 3, 4 }, { 5, 6, 7, 8 } },
		{ 33, 65, 17, { 0, 3, 0, 1 }, { 0 } },
		{ 64, 48, 80, { 0 }, { 1, 2, 3, 4 } },
	};
	struct fixture *f = *state;

	for (size_t t = 0; t < ARRAY_SIZE(in_types); t++)
		for (uint32_t flags = 0; flags < 8; flags++)
			for (size_t s = 0; s < ARRAY_SIZE(shapes); s++)
				check_product(f, in_types[t], flags, &shapes[s], false);
}

static void in_place(void **state)
{
	static const struct shape shape = { 19, 23, 29, { 1, 2, 0, 3 }, { 0, 0, 0, 2 } };
	struct fixture *f = *state;

	for (size_t t = 0; t < ARRAY_SIZE(in_types); t++)
		check_product(f, in_types[t], ACC, &shape, true);
}

static void vectors_and_long_sums(void **state)
{
	static const struct shape shapes[] = {
		{ 1, 300, 200, { 0 }, { 0 } }, { 300, 1, 200, { 0 }, { 0 } },
		{ 2, 3, 5000, { 0 }, { 0 } }, { 260, 250, 1, { 0 }, { 0 } },
	};
	struct fixture *f = *state;

	for (size_t t = 0; t < ARRAY_SIZE(in_types); t++)
		for (size_t s = 0; s < ARRAY_SIZE(shapes); s++)
			check_product(f, in_types[t], s % 2 ? TA | TB : 0, &shapes[s], false);
}

/* Operands in system memory, C given as D itself, ld of a single row beyond the buffer. */
static void special_arguments(void **state)
{
	static const float a[4] = { 1, 2, 3, 4 }, b[4] = { 5, 6, 7, 8 }, one[4] = { 1, 1, 1, 1 };
	static const float wanted[4] = { 20, 23, 44, 51 };
	struct fixture *f = *state;
	struct accel_buffer *buffers[3];
	struct accel_matmul p;
	float d[4];

	for (int i = 0; i < 3; i++)
		buffers[i] = make_buffer(f, 16, ACCEL_BUFFER_HOST);
	ok(accel_buffer_write(buffers[0], 0, a, 16));
	ok(accel_buffer_write(buffers[1], 0, b, 16));
	ok(accel_buffer_write(buffers[2], 0, one, 16));
	accel_matmul_init(&p);
	p.flags = ACC;
	p.m = p.n = p.k = 2;
	p.a = (struct accel_matrix){ .buffer = buffers[0], .type = ACCEL_TYPE_F32 };
	p.b = (struct accel_matrix){ .buffer = buffers[1], .type = ACCEL_TYPE_F32, .ld = 2 };
	p.c = p.d = (struct accel_matrix){ .buffer = buffers[2], .type = ACCEL_TYPE_F32, .ld = 2 };
	ok(accel_matmul(f->queue, &p));
	ok(accel_buffer_read(buffers[2], 0, d, 16));
	assert_memory_equal(d, wanted, 16);
	p.flags = 0;
	memset(&p.c, 0, sizeof(p.c));
	p.m = 1;
	p.a.ld = 1u << 30;
	ok(accel_matmul(f->queue, &p));
	ok(accel_buffer_read(buffers[2], 0, d, 8));
	assert_true(d[0] == 19 && d[1] == 22);
	for (int i = 0; i < 3; i++)
		accel_buffer_destroy(buffers[i]);
}

/* Left and right halves of one buffer's rows do not overlap. */
static void interleaved_panels(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *both = make_buffer(f, 8 * 16 * 4, CARD), *b = make_buffer(f, 8 * 8 * 4, CARD);
	struct accel_matmul p;
	float rows[8][16], unit[8][8] = { { 0 } };

	for (int i = 0; i < 8; i++) {
		unit[i][i] = 2;
		for (int j = 0; j < 16; j++)
			rows[i][j] = (float)(i * 16 + j);
	}
	ok(accel_buffer_write(both, 0, rows, sizeof(rows)));
	ok(accel_buffer_write(b, 0, unit, sizeof(unit)));
	accel_matmul_init(&p);
	p.m = p.n = p.k = 8;
	p.a = (struct accel_matrix){ .buffer = both, .ld = 16, .type = ACCEL_TYPE_F32 };
	p.b = (struct accel_matrix){ .buffer = b };
	p.d = (struct accel_matrix){ .buffer = both, .ld = 16, .offset = 32 };
	ok(accel_matmul(f->queue, &p));
	ok(accel_buffer_read(both, 0, rows, sizeof(rows)));
	for (int i = 0; i < 8; i++)
		for (int j = 0; j < 16; j++)
			assert_true(rows[i][j] == (float)(j < 8 ? i * 16 + j : 2 * (i * 16 + j - 8)));
	p.d.offset = 28;
	fails(accel_matmul(f->queue, &p), -EINVAL);
	expect_detail("accel_matmul: d overlaps a");
	accel_buffer_destroy(both);
	accel_buffer_destroy(b);
}

static void many(void **state)
{
	enum { COUNT = 100, N = 12 };
	const uint64_t bytes = (uint64_t)N * N * 4;
	struct fixture *f = *state;
	struct accel_buffer *buffer = make_buffer(f, (COUNT + 2) * bytes, CARD);
	struct accel_matmul *p = calloc(COUNT, sizeof(*p));
	float unit[N][N] = { { 0 } }, first[N][N], last[N][N];
	struct accel_event *event;

	assert_non_null(p);
	for (int i = 0; i < N; i++) {
		unit[i][(i + 1) % N] = 1;
		for (int j = 0; j < N; j++)
			first[i][j] = (float)(i * N + j);
	}
	ok(accel_buffer_write(buffer, 0, unit, bytes));
	ok(accel_buffer_write(buffer, bytes, first, bytes));
	/* Each takes the result of the one before: columns rotate COUNT times. */
	for (int i = 0; i < COUNT; i++) {
		accel_matmul_init(&p[i]);
		p[i].m = p[i].n = p[i].k = N;
		p[i].a = (struct accel_matrix){ .buffer = buffer, .type = ACCEL_TYPE_F32,
						.offset = (uint64_t)(i + 1) * bytes };
		p[i].b = (struct accel_matrix){ .buffer = buffer };
		p[i].d = (struct accel_matrix){ .buffer = buffer, .offset = (uint64_t)(i + 2) * bytes };
	}
	ok(accel_matmul_many_async(f->queue, p, COUNT, &event));
	ok(accel_event_wait(event, ACCEL_FOREVER));
	ok(accel_buffer_read(buffer, (COUNT + 1) * bytes, last, bytes));
	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j++)
			assert_true(last[i][(j + COUNT) % N] == first[i][j]);
	ok(accel_matmul_many(f->queue, p, COUNT));
	p[7].d.ld = 3;
	fails(accel_matmul_many(f->queue, p, COUNT), -EINVAL);
	expect_detail("accel_matmul_many: element 7: ldd 3 is smaller than n 12");
	fails(accel_matmul_many(f->queue, p, 0), -EINVAL);
	fails(accel_matmul_many(f->queue, NULL, 1), -EINVAL);
	fails(accel_matmul_many(NULL, p, 1), -EINVAL);
	fails(accel_matmul_many(f->queue, p, 1u << 31), -E2BIG);
	accel_event_destroy(event);
	accel_buffer_destroy(buffer);
	free(p);
}

/* A good product of 100 x 110 by 110 x 120 that each bad case spoils. */
struct bad {
	int error;
	const char *detail;
	size_t offset;		/* of the member to spoil */
	size_t size;
	uint64_t value;
};

#define BAD(error, detail, member, value) \
	{ error, detail, offsetof(struct accel_matmul, member), \
	  sizeof(((struct accel_matmul *)0)->member), value }

static const struct bad bad_cases[] = {
	BAD(-EINVAL, "size is 0", size, 0),
	BAD(-EINVAL, "size is 8", size, 8),
	BAD(-EINVAL, "unknown flags 0x8", flags, 8),
	BAD(-EINVAL, "unknown flags 0x80000000", flags, 0x80000000),
	BAD(-EINVAL, "m is 0", m, 0),
	BAD(-EINVAL, "n is 0", n, 0),
	BAD(-EINVAL, "k is 0", k, 0),
	BAD(-EINVAL, "m 4294967295 is larger than the card's", m, UINT32_MAX),
	BAD(-EINVAL, "k 4294967295 is larger than the card's", k, UINT32_MAX),
	BAD(-EINVAL, "lda 109 is smaller than k 110", a.ld, 109),
	BAD(-EINVAL, "ldb 1 is smaller than n 120", b.ld, 1),
	BAD(-EINVAL, "ldd 119 is smaller than n 120", d.ld, 119),
	BAD(-EINVAL, "a: offset 0 + ", a.ld, 1u << 31),
	BAD(-EINVAL, "lda 4294967297 is larger than", a.ld, (1ull << 32) + 1),
	BAD(-EINVAL, "ldb 18446744073709551615 is larger than", b.ld, UINT64_MAX),
	BAD(-EINVAL, "a: offset 0 + 44440 bytes is outside", m, 101),
	BAD(-EINVAL, "a: offset 2 is not a multiple", a.offset, 2),
	BAD(-EINVAL, "a: offset 4 + 44000 bytes is outside the buffer of 44000", a.offset, 4),
	BAD(-EINVAL, "b: offset 18446744073709551612 + ", b.offset, UINT64_MAX - 3),
	BAD(-EINVAL, "d: offset 1 is not a multiple", d.offset, 1),
	BAD(-EINVAL, "a: unknown type 0", a.type, 0),
	BAD(-EINVAL, "a: unknown type 77", a.type, 77),
	BAD(-ENOTSUP, "a is f32, b is bf16", b.type, ACCEL_TYPE_BF16),
	BAD(-ENOTSUP, "b is of unknown type", b.type, 99),
	BAD(-ENOTSUP, "d is i32", d.type, ACCEL_TYPE_I32),
	BAD(-ENOTSUP, "d is bf16", d.type, ACCEL_TYPE_BF16),
	BAD(-EINVAL, "a: reserved is not 0", a.reserved, 1),
	BAD(-EINVAL, "d: reserved is not 0", d.reserved, 1),
	BAD(-EINVAL, "a: buffer is NULL", a.buffer, 0),
	BAD(-EINVAL, "b: buffer is NULL", b.buffer, 0),
	BAD(-EINVAL, "d: buffer is NULL", d.buffer, 0),
	BAD(-EINVAL, "c is given without ACCEL_MATMUL_ACCUMULATE", c.ld, 120),
	BAD(-EINVAL, "c is given without ACCEL_MATMUL_ACCUMULATE", c.offset, 4),
};

static void good_product(struct fixture *f, struct accel_matmul *p)
{
	accel_matmul_init(p);
	p->m = 100;
	p->n = 120;
	p->k = 110;
	p->a = (struct accel_matrix){ .buffer = make_buffer(f, 100 * 110 * 4, CARD),
				      .type = ACCEL_TYPE_F32 };
	p->b = (struct accel_matrix){ .buffer = make_buffer(f, 110 * 120 * 4, CARD) };
	p->d = (struct accel_matrix){ .buffer = make_buffer(f, 100 * 120 * 4, CARD) };
}

static void bad_arguments(void **state)
{
	struct fixture *f = *state;
	struct accel_event *event = NULL;
	struct accel_matmul p, bad;

	good_product(f, &p);
	for (size_t i = 0; i < ARRAY_SIZE(bad_cases); i++) {
		const struct bad *c = &bad_cases[i];

		bad = p;
		memcpy((char *)&bad + c->offset, &c->value, c->size);
		fails(accel_matmul_async(f->queue, &bad, &event), c->error);
		expect_detail("accel_matmul_async: ");
		expect_detail(c->detail);
		assert_null(event);
	}
	fails(accel_matmul(f->queue, NULL), -EINVAL);
	fails(accel_matmul(NULL, &p), -EINVAL);
	bad = p;
	bad.d.buffer = p.a.buffer;
	bad.n = 100;
	fails(accel_matmul(f->queue, &bad), -EINVAL);
	expect_detail("accel_matmul: d overlaps a");
	bad = p;
	bad.flags = ACC;
	bad.c = (struct accel_matrix){ .buffer = p.d.buffer, .offset = 4 };
	bad.m = 99;
	fails(accel_matmul(f->queue, &bad), -EINVAL);
	expect_detail("c and d overlap without being the same");
	bad.c = (struct accel_matrix){ .ld = 120 };
	fails(accel_matmul(f->queue, &bad), -EINVAL);
	bad.c = (struct accel_matrix){ .buffer = p.d.buffer, .type = ACCEL_TYPE_I32 };
	fails(accel_matmul(f->queue, &bad), -ENOTSUP);
	bad = p;
	bad.flags = TA;
	bad.a.ld = 99;
	fails(accel_matmul(f->queue, &bad), -EINVAL);
	expect_detail("lda 99 is smaller than m 100");
	bad = p;
	bad.flags = TB;
	bad.b.ld = 109;
	fails(accel_matmul(f->queue, &bad), -EINVAL);
	expect_detail("ldb 109 is smaller than k 110");
	ok(accel_matmul(f->queue, &p));
	accel_buffer_destroy(p.a.buffer);
	accel_buffer_destroy(p.b.buffer);
	accel_buffer_destroy(p.d.buffer);
}

/* A program that is newer than the library. */
static void newer_structure(void **state)
{
	struct { struct accel_matmul p; uint64_t later[2]; } newer;
	struct fixture *f = *state;

	memset(&newer, 0, sizeof(newer));
	good_product(f, &newer.p);
	newer.p.size = sizeof(newer);
	ok(accel_matmul(f->queue, &newer.p));
	newer.later[1] = 1;
	fails(accel_matmul(f->queue, &newer.p), -EINVAL);
	expect_detail("newer than this library");
	accel_buffer_destroy(newer.p.a.buffer);
	accel_buffer_destroy(newer.p.b.buffer);
	accel_buffer_destroy(newer.p.d.buffer);
}

static void foreign_and_readonly(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *foreign, *fixed = make_buffer(f, 48000, CARD | ACCEL_BUFFER_CARD_READONLY);
	struct accel_context *other;
	struct accel_matmul p, bad;

	good_product(f, &p);
	ok(accel_context_create(f->device, 0, &other));
	ok(accel_buffer_create(other, 100000, CARD, &foreign));
	bad = p;
	bad.b.buffer = foreign;
	fails(accel_matmul(f->queue, &bad), -EXDEV);
	expect_detail("accel_matmul: b: the buffer belongs to another context");
	bad = p;
	bad.d.buffer = fixed;
	fails(accel_matmul(f->queue, &bad), -EACCES);
	expect_detail("d: the buffer is ACCEL_BUFFER_CARD_READONLY");
	bad = p;
	bad.a.buffer = fixed;
	ok(accel_matmul(f->queue, &bad));
	accel_buffer_destroy(foreign);
	accel_buffer_destroy(fixed);
	accel_context_destroy(other);
	accel_buffer_destroy(p.a.buffer);
	accel_buffer_destroy(p.b.buffer);
	accel_buffer_destroy(p.d.buffer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_types_and_flags, setup, teardown),
		cmocka_unit_test_setup_teardown(in_place, setup, teardown),
		cmocka_unit_test_setup_teardown(vectors_and_long_sums, setup, teardown),
		cmocka_unit_test_setup_teardown(special_arguments, setup, teardown),
		cmocka_unit_test_setup_teardown(interleaved_panels, setup, teardown),
		cmocka_unit_test_setup_teardown(many, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_arguments, setup, teardown),
		cmocka_unit_test_setup_teardown(newer_structure, setup, teardown),
		cmocka_unit_test_setup_teardown(foreign_and_readonly, setup, teardown),
	};

	return run_group("matmul", tests);
}

/* SPDX-License-Identifier: MIT */
/*
 * Buffers, copies, fills.
 */
#include "common.h"

#include <drm.h>
#include <drm/onpu_accel.h>

#define CARD ACCEL_BUFFER_CARD
#define HOST ACCEL_BUFFER_HOST
#define READONLY ACCEL_BUFFER_CARD_READONLY

static void create_errors(void **state)
{
	struct fixture *f = *state;
	struct accel_device_info info;
	struct accel_buffer *buffer;

	fails(accel_buffer_create(NULL, 1, CARD, &buffer), -EINVAL);
	fails(accel_buffer_create(f->context, 1, CARD, NULL), -EINVAL);
	fails(accel_buffer_create(f->context, 0, CARD, &buffer), -EINVAL);
	expect_detail("accel_buffer_create: size is 0");
	fails(accel_buffer_create(f->context, 1, 0, &buffer), -EINVAL);
	fails(accel_buffer_create(f->context, 1, READONLY, &buffer), -EINVAL);
	fails(accel_buffer_create(f->context, 1, CARD | 1u << 5, &buffer), -EINVAL);
	fails(accel_buffer_create(f->context, 1, 1u << 31 | HOST, &buffer), -EINVAL);
	accel_device_info_init(&info);
	ok(accel_device_get_info(f->device, &info));
	if (info.buffer_size_max < UINT64_MAX) {
		fails(accel_buffer_create(f->context, info.buffer_size_max + 1, CARD, &buffer), -E2BIG);
		fails(accel_buffer_create(f->context, UINT64_MAX, HOST, &buffer), -E2BIG);
	}
	accel_buffer_destroy(NULL);
	assert_int_equal(accel_buffer_size(NULL), 0);
	assert_int_equal(accel_buffer_address(NULL), 0);
}

static void sizes_and_zero(void **state)
{
	static const uint64_t sizes[] = { 1, 3, 4095, 4096, 4097, 65536, (2 << 20) - 1, 2 << 20,
					  (4 << 20) + 5 };
	static const uint32_t flags[] = { CARD, HOST, CARD | HOST, CARD | READONLY };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(sizes) * ARRAY_SIZE(flags); i++) {
		uint64_t size = sizes[i / ARRAY_SIZE(flags)];
		struct accel_buffer *buffer = make_buffer(f, size, flags[i % ARRAY_SIZE(flags)]);
		uint64_t address = accel_buffer_address(buffer);
		uint8_t *p;

		assert_int_equal(accel_buffer_size(buffer), size);
		assert_true(address && address % 4096 == 0);
		if (size >= 2 << 20)
			assert_int_equal(address % (2 << 20), 0);
		ok(accel_buffer_map(buffer, (void **)&p));
		for (uint64_t b = 0; b < size; b += b < 4096 || b + 4096 > size ? 1 : 509)
			assert_int_equal(p[b], 0);
		memset(p, 0xa5, size);	/* the next owner of the memory must not see it */
		accel_buffer_destroy(buffer);
	}
}

static void addresses_differ(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *buffers[40];

	for (size_t i = 0; i < ARRAY_SIZE(buffers); i++)
		buffers[i] = make_buffer(f, i % 3 ? 5000 : 70000, i % 2 ? CARD : HOST);
	for (size_t i = 0; i < ARRAY_SIZE(buffers); i += 3)
		accel_buffer_destroy(buffers[i]);
	for (size_t i = 0; i < ARRAY_SIZE(buffers); i += 3)
		buffers[i] = make_buffer(f, 9000, CARD);
	for (size_t i = 0; i < ARRAY_SIZE(buffers); i++) {
		uint64_t a = accel_buffer_address(buffers[i]);

		for (size_t j = 0; j < i; j++) {
			uint64_t b = accel_buffer_address(buffers[j]);

			assert_true(a + accel_buffer_size(buffers[i]) <= b ||
				    b + accel_buffer_size(buffers[j]) <= a);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(buffers); i++)
		accel_buffer_destroy(buffers[i]);
}

static void map_unmap(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *buffer = make_buffer(f, 10000, CARD);
	void *one, *two;

	fails(accel_buffer_map(NULL, &one), -EINVAL);
	fails(accel_buffer_map(buffer, NULL), -EINVAL);
	fails(accel_buffer_unmap(NULL), -EINVAL);
	fails(accel_buffer_unmap(buffer), -EINVAL);
	expect_detail("accel_buffer_unmap: the buffer is not mapped");
	ok(accel_buffer_map(buffer, &one));
	ok(accel_buffer_map(buffer, &two));
	assert_ptr_equal(one, two);
	ok(accel_buffer_unmap(buffer));
	memset(one, 1, 10000);
	ok(accel_buffer_unmap(buffer));
	fails(accel_buffer_unmap(buffer), -EINVAL);
	ok(accel_buffer_map(buffer, &one));
	assert_int_equal(((char *)one)[9999], 1);
	accel_buffer_destroy(buffer);
}

static void write_read(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *buffer = make_buffer(f, 5000, CARD);
	uint8_t in[5000], out[5000];

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 7);
	ok(accel_buffer_write(buffer, 0, in, 5000));
	ok(accel_buffer_write(buffer, 13, in, 101));
	ok(accel_buffer_read(buffer, 0, out, 5000));
	assert_memory_equal(out, in, 13);
	assert_memory_equal(out + 13, in, 101);
	assert_memory_equal(out + 114, in + 114, 5000 - 114);
	ok(accel_buffer_read(buffer, 4999, out, 1));
	assert_int_equal(out[0], in[4999]);
	ok(accel_buffer_read(buffer, 5000, out, 0));
	ok(accel_buffer_write(buffer, 0, NULL, 0));
	fails(accel_buffer_read(buffer, 5000, out, 1), -EINVAL);
	fails(accel_buffer_read(buffer, 5001, out, 0), -EINVAL);
	fails(accel_buffer_write(buffer, 1, in, 5000), -EINVAL);
	expect_detail("accel_buffer_write: offset 1 + size 5000 is outside the buffer of 5000 bytes");
	fails(accel_buffer_write(buffer, UINT64_MAX, in, 2), -EINVAL);
	fails(accel_buffer_write(buffer, 2, in, UINT64_MAX), -EINVAL);
	fails(accel_buffer_write(buffer, 0, NULL, 1), -EINVAL);
	fails(accel_buffer_read(NULL, 0, out, 1), -EINVAL);
	accel_buffer_destroy(buffer);
}

static void copies(void **state)
{
	static const uint32_t places[] = { CARD, HOST };
	static const struct { uint64_t to, from, size; } ranges[] = {
		{ 0, 0, 1 }, { 1, 0, 4095 }, { 0, 3, 4097 }, { 4095, 4090, 9000 }, { 7, 11, 1 << 20 },
		{ 100, 100, 0 }, { 0, 0, (1 << 20) + 4096 },
	};
	const uint64_t size = (1 << 20) + 4096;
	uint8_t *expect = malloc(size), *result = malloc(size);
	struct fixture *f = *state;

	for (int pair = 0; pair < 4; pair++) {
		struct accel_buffer *from = make_buffer(f, size, places[pair & 1]);
		struct accel_buffer *to = make_buffer(f, size, places[pair >> 1]);
		uint8_t *p;

		ok(accel_buffer_map(from, (void **)&p));
		for (uint64_t i = 0; i < size; i++)
			p[i] = (uint8_t)(i * 31 + (i >> 8));
		memset(expect, 0, size);
		for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
			ok(accel_copy(f->queue, to, ranges[i].to, from, ranges[i].from, ranges[i].size));
			memcpy(expect + ranges[i].to, p + ranges[i].from, ranges[i].size);
			ok(accel_buffer_read(to, 0, result, size));
			assert_memory_equal(result, expect, size);
		}
		accel_buffer_destroy(from);
		accel_buffer_destroy(to);
	}
	free(expect);
	free(result);
}

static void copies_of_rows(void **state)
{
	static const struct { uint64_t to, to_pitch, from, from_pitch, bytes, rows; } cases[] = {
		{ 0, 100, 0, 100, 100, 5 }, { 3, 777, 5, 1024, 700, 90 }, { 1, 1, 9, 0, 1, 5000 },
		{ 11, 4096, 0, 3, 4000, 60 }, { 0, 0, 1, 0, 65536, 1 }, { 70000, 8192, 13, 5000, 64, 100 },
		{ 0, 0, 0, 0, 0, 1000 }, { 0, 5, 0, 5, 3, 0 },
	};
	static const uint32_t places[] = { CARD, HOST };
	const uint64_t size = 1 << 20;
	uint8_t *expect = malloc(size), *result = malloc(size), *p;
	struct fixture *f = *state;

	for (int pair = 0; pair < 4; pair++) {
		struct accel_buffer *from = make_buffer(f, size, places[pair & 1]);
		struct accel_buffer *to = make_buffer(f, size, places[pair >> 1]);

		ok(accel_buffer_map(from, (void **)&p));
		for (uint64_t i = 0; i < size; i++)
			p[i] = (uint8_t)(i * 31 + (i >> 8));
		memset(expect, 0, size);
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			ok(accel_copy_2d(f->queue, to, cases[i].to, cases[i].to_pitch, from, cases[i].from,
					 cases[i].from_pitch, cases[i].bytes, cases[i].rows));
			for (uint64_t r = 0; r < cases[i].rows; r++)
				memcpy(expect + cases[i].to + r * cases[i].to_pitch,
				       p + cases[i].from + r * cases[i].from_pitch, cases[i].bytes);
			ok(accel_buffer_read(to, 0, result, size));
			assert_memory_equal(result, expect, size);
		}
		accel_buffer_destroy(from);
		accel_buffer_destroy(to);
	}
	free(expect);
	free(result);
}

static void copy_of_rows_errors(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *a = make_buffer(f, 1000, CARD), *b = make_buffer(f, 2000, HOST);
	struct accel_buffer *fixed = make_buffer(f, 2000, CARD | READONLY);
	struct accel_event *event = NULL;

	fails(accel_copy_2d(NULL, a, 0, 1, b, 0, 1, 1, 1), -EINVAL);
	fails(accel_copy_2d(f->queue, NULL, 0, 1, b, 0, 1, 1, 1), -EINVAL);
	fails(accel_copy_2d(f->queue, a, 0, 100, NULL, 0, 100, 100, 10), -EINVAL);
	fails(accel_copy_2d(f->queue, a, 1, 100, b, 0, 100, 100, 10), -EINVAL);
	expect_detail("accel_copy_2d: target: offset 1 + 1000 bytes is outside the buffer of 1000 bytes");
	fails(accel_copy_2d(f->queue, a, 0, 100, b, 0, 212, 100, 10), -EINVAL);
	expect_detail("source: offset 0 + 2008 bytes");
	fails(accel_copy_2d(f->queue, a, 0, 99, b, 0, 100, 100, 2), -EINVAL);
	expect_detail("target: pitch 99 is less than a row of 100 bytes");
	fails(accel_copy_2d(f->queue, a, 0, UINT64_MAX, b, 0, 1, 1, 3), -EINVAL);
	fails(accel_copy_2d(f->queue, a, 0, 1, b, 0, UINT64_MAX, 1, 3), -EINVAL);
	expect_detail("source: the rows reach beyond 2^64 bytes");
	fails(accel_copy_2d(f->queue, a, 0, 1, b, 0, 1, 1, 1ull << 32), -EINVAL);
	fails(accel_copy_2d(f->queue, a, UINT64_MAX, 1, b, 0, 1, 1, 1), -EINVAL);
	/* Interleaved rows of one buffer; and such that meet. */
	ok(accel_copy_2d(f->queue, b, 0, 100, b, 50, 100, 50, 20));
	fails(accel_copy_2d(f->queue, b, 0, 100, b, 50, 100, 51, 19), -EINVAL);
	expect_detail("overlap");
	fails(accel_copy_2d(f->queue, b, 100, 50, b, 90, 0, 50, 20), -EINVAL);
	fails(accel_copy_2d(f->queue, b, 0, 100, b, 60, 10, 50, 10), -EINVAL);
	ok(accel_copy_2d_async(f->queue, b, 0, 50, b, 1900, 3, 50, 17, &event));
	ok(accel_event_wait(event, -1));
	accel_event_destroy(event);
	fails(accel_copy_2d(f->queue, fixed, 0, 1, b, 0, 1, 1, 1), -EACCES);
	accel_buffer_destroy(fixed);
	accel_buffer_destroy(a);
	accel_buffer_destroy(b);
}

static void copy_errors(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *a = make_buffer(f, 1000, CARD), *b = make_buffer(f, 2000, HOST);
	struct accel_buffer *fixed = make_buffer(f, 2000, CARD | READONLY), *foreign;
	struct accel_context *other;
	struct accel_event *event = NULL;

	ok(accel_context_create(f->device, 0, &other));
	ok(accel_buffer_create(other, 1000, CARD, &foreign));
	fails(accel_copy(NULL, a, 0, b, 0, 1), -EINVAL);
	fails(accel_copy(f->queue, NULL, 0, b, 0, 1), -EINVAL);
	fails(accel_copy(f->queue, a, 0, NULL, 0, 1), -EINVAL);
	fails(accel_copy(f->queue, a, 0, b, 0, 1001), -EINVAL);
	expect_detail("accel_copy: target: offset 0 + 1001 bytes is outside the buffer of 1000 bytes");
	fails(accel_copy(f->queue, b, 0, a, 1, 1000), -EINVAL);
	expect_detail("source");
	fails(accel_copy(f->queue, b, UINT64_MAX, a, 0, 2), -EINVAL);
	fails(accel_copy(f->queue, b, 0, a, 0, UINT64_MAX), -EINVAL);
	fails(accel_copy(f->queue, b, 0, b, 999, 1000), -EINVAL);
	expect_detail("overlap");
	ok(accel_copy(f->queue, b, 0, b, 1000, 1000));
	fails(accel_copy(f->queue, fixed, 0, b, 0, 1), -EACCES);
	ok(accel_copy(f->queue, b, 0, fixed, 0, 2000));
	fails(accel_copy_async(f->queue, a, 0, foreign, 0, 1, &event), -EXDEV);
	expect_detail("accel_copy_async: source: the buffer belongs to another context");
	fails(accel_copy(f->queue, foreign, 0, a, 0, 1), -EXDEV);
	assert_null(event);
	accel_buffer_destroy(a);
	accel_buffer_destroy(b);
	accel_buffer_destroy(fixed);
	accel_buffer_destroy(foreign);
	accel_context_destroy(other);
}

static void fills(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *buffer = make_buffer(f, 100004, CARD);
	uint32_t words[25001];

	ok(accel_fill(f->queue, buffer, 0, 100004, 0x01020304));
	ok(accel_fill(f->queue, buffer, 4096, 8, 0xffffffff));
	ok(accel_fill(f->queue, buffer, 100000, 4, 5));
	ok(accel_fill(f->queue, buffer, 100004, 0, 9));
	ok(accel_buffer_read(buffer, 0, words, sizeof(words)));
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		assert_int_equal(words[i], i == 25000 ? 5 : i == 1024 || i == 1025 ? 0xffffffff : 0x01020304);
	fails(accel_fill(f->queue, buffer, 2, 4, 0), -EINVAL);
	fails(accel_fill(f->queue, buffer, 0, 5, 0), -EINVAL);
	fails(accel_fill(f->queue, buffer, 100004, 4, 0), -EINVAL);
	fails(accel_fill(f->queue, NULL, 0, 4, 0), -EINVAL);
	fails(accel_fill(NULL, buffer, 0, 4, 0), -EINVAL);
	accel_buffer_destroy(buffer);
}

/* Work in flight keeps its buffers, whatever the application destroys. */
static void destroy_in_flight(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *a, *b, *c = make_buffer(f, 1 << 20, CARD);
	uint32_t word;

	begin_long(f, f->queue);
	for (int i = 0; i < 20; i++) {
		a = make_buffer(f, 1 << 20, HOST);
		b = make_buffer(f, 1 << 20, CARD);
		ok(accel_fill_async(f->queue, a, 0, 1 << 20, 100u + (uint32_t)i, NULL));
		ok(accel_copy_async(f->queue, b, 0, a, 0, 1 << 20, NULL));
		ok(accel_copy_async(f->queue, c, 0, b, 0, 1 << 20, NULL));
		accel_buffer_destroy(a);
		accel_buffer_destroy(b);
	}
	end_long(f);
	ok(accel_queue_finish(f->queue, ACCEL_FOREVER));
	ok(accel_buffer_read(c, (1 << 20) - 4, &word, 4));
	assert_int_equal(word, 119);
	accel_buffer_destroy(c);
}

#ifdef ACCEL_TEST_FAKE
static void card_full(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *extra;

	fake_fail_ioctl(DRM_IOCTL_ONPU_BO_CREATE, -ENOMEM);
	fails(accel_buffer_create(f->context, 16 << 20, CARD, &extra), -ENOMEM);
	expect_detail("the driver refused 16777216 bytes of card memory");
	fails(accel_buffer_create(f->context, 16 << 20, CARD | HOST, &extra), -ENOMEM);
	expect_detail("the driver refused 16777216 bytes of card or system memory");
	fake_fail_ioctl(0, 0);
	ok(accel_buffer_create(f->context, 16 << 20, CARD, &extra));
	accel_buffer_destroy(extra);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(create_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(sizes_and_zero, setup, teardown),
		cmocka_unit_test_setup_teardown(addresses_differ, setup, teardown),
		cmocka_unit_test_setup_teardown(map_unmap, setup, teardown),
		cmocka_unit_test_setup_teardown(write_read, setup, teardown),
		cmocka_unit_test_setup_teardown(copies, setup, teardown),
		cmocka_unit_test_setup_teardown(copies_of_rows, setup, teardown),
		cmocka_unit_test_setup_teardown(copy_of_rows_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(copy_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(fills, setup, teardown),
		cmocka_unit_test_setup_teardown(destroy_in_flight, setup, teardown),
#ifdef ACCEL_TEST_FAKE
		cmocka_unit_test_setup_teardown(card_full, setup, teardown),
#endif
	};

	return run_group("buffers", tests);
}

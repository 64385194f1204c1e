/* SPDX-License-Identifier: MIT */
/*
 * Caches of buffers, and whose a pointer is.
 */
#include "common.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CARD ACCEL_BUFFER_CARD
#define HOST ACCEL_BUFFER_HOST
#define PAGE 4096u

static struct accel_cache_info info_of(struct accel_cache *cache)
{
	struct accel_cache_info info;

	accel_cache_info_init(&info);
	ok(accel_cache_get_info(cache, &info));
	return info;
}

static struct accel_buffer *get(struct accel_cache *cache, uint64_t size, struct accel_queue *queue)
{
	struct accel_buffer *buffer;

	ok(accel_cache_alloc(cache, size, queue, &buffer));
	assert_int_equal(accel_buffer_size(buffer), size);
	return buffer;
}

static void kept_and_found(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *a, *b, *c;
	struct accel_cache *cache;
	uint64_t address;

	ok(accel_cache_create(f->context, CARD, 0, &cache));
	a = get(cache, 100000, NULL);
	address = accel_buffer_address(a);
	assert_int_equal(info_of(cache).used_buffers, 1);
	assert_true(info_of(cache).used_bytes >= 100000 && info_of(cache).used_bytes <= 125000);
	assert_int_equal(info_of(cache).hits, 0);
	ok(accel_cache_free(cache, a, NULL));
	assert_int_equal(info_of(cache).used_buffers, 0);
	assert_int_equal(info_of(cache).idle_buffers, 1);
	/* Another size of the same step, with bounds of its own. */
	b = get(cache, 99001, NULL);
	assert_int_equal(accel_buffer_address(b), address);
	fails(accel_fill(f->queue, b, 99000, 4, 0), -EINVAL);
	assert_int_equal(info_of(cache).hits, 1);
	c = get(cache, 99001, NULL);
	assert_true(accel_buffer_address(c) != address);
	ok(accel_cache_free(cache, b, NULL));
	ok(accel_cache_free(cache, c, NULL));
	ok(accel_cache_free(cache, NULL, NULL));
	assert_int_equal(info_of(cache).idle_buffers, 2);
	assert_int_equal(info_of(cache).peak_bytes, info_of(cache).idle_bytes);
	ok(accel_cache_trim(cache, info_of(cache).idle_bytes - 1));
	assert_int_equal(info_of(cache).idle_buffers, 1);
	ok(accel_cache_trim(cache, 0));
	assert_int_equal(info_of(cache).idle_bytes, 0);
	assert_int_equal(info_of(cache).allocations, 3);
	/* What is in the cache cannot come back to it. */
	a = get(cache, PAGE, NULL);
	ok(accel_cache_free(cache, a, NULL));
	fails(accel_cache_free(cache, a, f->queue), -EINVAL);
	expect_detail("in the cache already");
	assert_int_equal(info_of(cache).idle_buffers, 1);
	accel_cache_destroy(cache);
	accel_cache_destroy(NULL);
}

/* Every size fits and wastes a quarter at most. */
static void sizes(void **state)
{
	struct fixture *f = *state;
	struct accel_cache *cache;

	ok(accel_cache_create(f->context, HOST, 1, &cache));	/* keeps nothing */
	for (uint64_t size = 1; size < 4 << 20; size += size / 3 + 1) {
		struct accel_buffer *buffer = get(cache, size, NULL);
		uint64_t used = info_of(cache).used_bytes, pages = (size + PAGE - 1) & ~(PAGE - 1ull);

		assert_true(used >= pages && used <= pages + pages / 4);
		if (size >= 4)
			ok(accel_fill(f->queue, buffer, (size & ~3ull) - 4, 4, 1));
		ok(accel_cache_free(cache, buffer, NULL));
		assert_int_equal(info_of(cache).idle_bytes, 0);
	}
	accel_cache_destroy(cache);
}

/* Work in flight: the queue of it gets the buffer at once, others another. */
static void in_the_order_of_queues(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *a, *b, *c;
	struct accel_cache *cache;
	struct accel_queue *other;
	uint64_t address;

	ok(accel_cache_create(f->context, CARD, 0, &cache));
	ok(accel_queue_create(f->context, ACCEL_PRIORITY_MEDIUM, &other));
	a = get(cache, PAGE, f->queue);
	address = accel_buffer_address(a);
	begin_long(f, f->queue);
	ok(accel_fill_async(f->queue, a, 0, PAGE, 1, NULL));
	ok(accel_cache_free(cache, a, f->queue));
	b = get(cache, PAGE, other);
	assert_true(accel_buffer_address(b) != address);
	c = get(cache, PAGE, NULL);
	assert_true(accel_buffer_address(c) != address);
	a = get(cache, PAGE, f->queue);
	assert_int_equal(accel_buffer_address(a), address);
	ok(accel_fill_async(f->queue, a, 0, PAGE, 2, NULL));
	ok(accel_cache_free(cache, a, f->queue));
	end_long(f);
	ok(accel_queue_finish(f->queue, ACCEL_FOREVER));
	a = get(cache, PAGE, other);
	assert_int_equal(accel_buffer_address(a), address);
	/* Work that is canceled is over, too. */
	begin_long(f, other);
	ok(accel_fill_async(other, a, 0, PAGE, 1, NULL));
	ok(accel_cache_free(cache, a, other));
	accel_queue_destroy(other);
	end_long(f);
	a = get(cache, PAGE, f->queue);
	assert_int_equal(accel_buffer_address(a), address);
	ok(accel_cache_free(cache, a, NULL));
	ok(accel_cache_free(cache, b, NULL));
	/* One that outlives the cache. */
	accel_cache_destroy(cache);
	ok(accel_fill(f->queue, c, 0, PAGE, 1));
	accel_buffer_destroy(c);
}

static void cache_errors(void **state)
{
	struct fixture *f = *state;
	struct accel_cache *cache, *untouched = (struct accel_cache *)state;
	struct accel_buffer *buffer, *plain = make_buffer(f, PAGE, CARD);
	struct accel_cache_info old = { .size = 8 };
	struct accel_context *context;
	struct accel_queue *foreign;

	cache = untouched;
	fails(accel_cache_create(NULL, CARD, 0, &cache), -EINVAL);
	fails(accel_cache_create(f->context, CARD, 0, NULL), -EINVAL);
	fails(accel_cache_create(f->context, 0, 0, &cache), -EINVAL);
	fails(accel_cache_create(f->context, CARD | ACCEL_BUFFER_SHAREABLE, 0, &cache), -EINVAL);
	assert_ptr_equal(cache, untouched);
	ok(accel_cache_create(f->context, CARD, 0, &cache));
	fails(accel_cache_alloc(cache, 0, NULL, &buffer), -EINVAL);
	expect_detail("accel_cache_alloc: size is 0");
	fails(accel_cache_alloc(cache, UINT64_MAX, NULL, &buffer), -E2BIG);
	fails(accel_cache_alloc(cache, 1, NULL, NULL), -EINVAL);
	fails(accel_cache_alloc(NULL, 1, NULL, &buffer), -EINVAL);
	fails(accel_cache_free(cache, plain, NULL), -EINVAL);
	expect_detail("not from this cache");
	fails(accel_cache_free(NULL, plain, NULL), -EINVAL);
	ok(accel_context_create(f->device, 0, &context));
	ok(accel_queue_create(context, ACCEL_PRIORITY_LOW, &foreign));
	buffer = get(cache, 1, NULL);
	fails(accel_cache_free(cache, buffer, foreign), -EXDEV);
	ok(accel_cache_free(cache, buffer, f->queue));
	fails(accel_cache_trim(NULL, 0), -EINVAL);
	fails(accel_cache_get_info(cache, NULL), -EINVAL);
	fails(accel_cache_get_info(cache, &old), -EINVAL);
	accel_queue_destroy(foreign);
	accel_context_destroy(context);
	accel_cache_destroy(cache);
	accel_buffer_destroy(plain);
}

/* ---- pointers ---- */

static struct accel_pointer_info owner_of(const void *pointer)
{
	struct accel_pointer_info info;

	accel_pointer_info_init(&info);
	ok(accel_pointer_get_info(pointer, &info));
	return info;
}

static void owners(void **state)
{
	enum { COUNT = 50 };
	struct fixture *f = *state;
	struct accel_buffer *buffers[COUNT], *twice;
	struct accel_pointer_info info, old = { .size = 4 };
	char *pointers[COUNT], *memory;

	for (int i = 0; i < COUNT; i++) {
		buffers[i] = make_buffer(f, PAGE * (1 + (uint64_t)i % 7), i % 2 ? CARD : HOST);
		ok(accel_buffer_map(buffers[i], (void **)&pointers[i]));
	}
	for (int i = 0; i < COUNT; i += 3) {
		accel_buffer_destroy(buffers[i]);
		buffers[i] = NULL;
	}
	for (int i = 0; i < COUNT; i++) {
		if (!buffers[i])
			continue;
		info = owner_of(pointers[i] + PAGE - 1);
		assert_ptr_equal(info.buffer, buffers[i]);
		assert_ptr_equal(info.context, f->context);
		assert_ptr_equal(info.device, f->device);
		assert_int_equal(info.offset, PAGE - 1);
		assert_int_equal(info.bytes, accel_buffer_size(buffers[i]) - (PAGE - 1));
		assert_int_equal(info.address, accel_buffer_address(buffers[i]) + PAGE - 1);
		assert_int_equal(info.origin, ACCEL_ORIGIN_CREATED);
		accel_buffer_destroy(buffers[i]);
	}
	for (int i = 0; i < COUNT; i++)
		assert_null(owner_of(pointers[i]).buffer);
	assert_null(owner_of(&info).buffer);
	assert_null(owner_of(NULL).buffer);
	/* Memory of the process, by two buffers that overlap. */
	memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(memory != MAP_FAILED);
	ok(accel_host_register(f->context, memory + 64, 3 * PAGE, 0, &buffers[0]));
	ok(accel_host_register(f->context, memory + PAGE, 128, 0, &twice));
	assert_null(owner_of(memory + 63).buffer);
	assert_ptr_equal(owner_of(memory + 64).buffer, buffers[0]);
	assert_int_equal(owner_of(memory + 64).origin, ACCEL_ORIGIN_REGISTERED);
	assert_ptr_equal(owner_of(memory + PAGE).buffer, twice);
	assert_ptr_equal(owner_of(memory + PAGE + 128).buffer, buffers[0]);
	accel_buffer_destroy(twice);
	assert_ptr_equal(owner_of(memory + PAGE).buffer, buffers[0]);
	assert_int_equal(owner_of(memory + PAGE).offset, PAGE - 64);
	accel_buffer_destroy(buffers[0]);
	assert_null(owner_of(memory + PAGE).buffer);
	munmap(memory, 4 * PAGE);
	fails(accel_pointer_get_info(memory, NULL), -EINVAL);
	fails(accel_pointer_get_info(memory, &old), -EINVAL);
}

/* In a forked child the parent's buffers are nobody's. */
static void after_fork(void **state)
{
	struct fixture *f = *state;
	char *memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct accel_buffer *buffer;
	int status;
	pid_t pid;

	ok(accel_host_register(f->context, memory, PAGE, 0, &buffer));
	fflush(NULL);
	pid = fork();
	if (!pid) {
		struct accel_pointer_info info;

		accel_pointer_info_init(&info);
		_exit(accel_pointer_get_info(memory, &info) || info.buffer ? 1 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_ptr_equal(owner_of(memory).buffer, buffer);
	accel_buffer_destroy(buffer);
	munmap(memory, PAGE);
}

/* ---- threads ---- */

struct worker {
	pthread_t thread;
	struct accel_cache *cache;
	struct fixture *f;
	uint32_t number;
	const char *problem;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	struct accel_queue *queue;

	if (accel_queue_create(w->f->context, ACCEL_PRIORITY_MEDIUM, &queue))
		w->problem = "no queue";
	for (uint32_t i = 0; i < 200 && !w->problem; i++) {
		struct accel_pointer_info info = { .size = sizeof(info) };
		struct accel_buffer *buffer;
		void *pointer;

		if (accel_cache_alloc(w->cache, 4 + i * 977 % 30000, queue, &buffer) ||
		    accel_fill_async(queue, buffer, 0, 4, w->number, NULL) ||
		    accel_buffer_map(buffer, &pointer) || accel_pointer_get_info(pointer, &info))
			w->problem = "a call failed";
		else if (info.buffer != buffer)
			w->problem = "another's pointer";
		else if (i % 8 == 0 && (accel_queue_finish(queue, ACCEL_FOREVER) ||
					*(uint32_t *)pointer != w->number))
			w->problem = "another's content";
		if (!w->problem && (accel_buffer_unmap(buffer) || accel_cache_free(w->cache, buffer, queue)))
			w->problem = "not given back";
	}
	accel_queue_destroy(queue);
	return NULL;
}

static void threads(void **state)
{
	struct worker workers[4];
	struct fixture *f = *state;
	struct accel_cache *cache;

	ok(accel_cache_create(f->context, HOST, 100000, &cache));
	for (uint32_t i = 0; i < ARRAY_SIZE(workers); i++) {
		workers[i] = (struct worker){ .cache = cache, .f = f, .number = i + 1 };
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (uint32_t i = 0; i < ARRAY_SIZE(workers); i++)
		pthread_join(workers[i].thread, NULL);
	for (uint32_t i = 0; i < ARRAY_SIZE(workers); i++)
		if (workers[i].problem)
			fail_msg("thread %u: %s", i, workers[i].problem);
	assert_int_equal(info_of(cache).used_buffers, 0);
	assert_true(info_of(cache).idle_bytes <= 100000);
	assert_true(info_of(cache).hits > 100);
	accel_cache_destroy(cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(kept_and_found, setup, teardown),
		cmocka_unit_test_setup_teardown(sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(in_the_order_of_queues, setup, teardown),
		cmocka_unit_test_setup_teardown(cache_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(owners, setup, teardown),
		cmocka_unit_test_setup_teardown(after_fork, setup, teardown),
		cmocka_unit_test_setup_teardown(threads, setup, teardown),
	};

	return run_group("cache", tests);
}

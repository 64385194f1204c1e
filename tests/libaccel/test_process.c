/* SPDX-License-Identifier: MIT */
/*
 * Threads, fork() and the order in which things are closed.
 */
#include "common.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#define CARD ACCEL_BUFFER_CARD

enum { THREADS = 4, ROUNDS = 60 };

struct family;

struct worker {
	pthread_t thread;
	struct fixture *f;
	struct family *family;
	struct accel_queue *queue;	/* NULL: makes its own */
	uint32_t number;
	char problem[300];
};

#define CHECK(call) do { \
	int result = (call); \
	if (result) { \
		snprintf(w->problem, sizeof(w->problem), "%s: %d %s", #call, result, \
			 accel_error_detail()); \
		return NULL; \
	} \
} while (0)

/* No cmocka here: it belongs to the main thread. */
static void *work(void *arg)
{
	struct worker *w = arg;
	struct accel_queue *queue = w->queue;

	if (!queue)
		CHECK(accel_queue_create(w->f->context, ACCEL_PRIORITY_MEDIUM, &queue));
	for (uint32_t i = 0; i < ROUNDS; i++) {
		struct accel_buffer *a, *b;
		struct accel_event *event;
		uint32_t wanted = w->number << 16 | i, word = 0;

		CHECK(accel_buffer_create(w->f->context, 8192, CARD, &a));
		CHECK(accel_buffer_create(w->f->context, 8192, ACCEL_BUFFER_HOST, &b));
		CHECK(accel_fill_async(queue, a, 0, 8192, wanted, NULL));
		CHECK(accel_copy_async(queue, b, 0, a, 0, 8192, &event));
		CHECK(accel_event_wait(event, ACCEL_FOREVER));
		CHECK(accel_buffer_read(b, 8188, &word, 4));
		if (word != wanted)
			snprintf(w->problem, sizeof(w->problem), "round %u: %08x", i, word);
		/* The detail text is this thread's own. */
		if (accel_fill(queue, a, w->number * 4 + 1, 4, 0) != -EINVAL ||
		    (unsigned int)atoi(strstr(accel_error_detail(), "offset ") + 7) != w->number * 4 + 1)
			snprintf(w->problem, sizeof(w->problem), "%s", accel_error_detail());
		accel_event_destroy(event);
		accel_buffer_destroy(a);
		accel_buffer_destroy(b);
	}
	if (!w->queue)
		accel_queue_destroy(queue);
	return NULL;
}

static void run_threads(struct worker first, void *(*run)(void *))
{
	struct worker workers[THREADS];

	for (uint32_t i = 0; i < THREADS; i++) {
		workers[i] = first;
		workers[i].number = i + 1;
		assert_int_equal(pthread_create(&workers[i].thread, NULL, run, &workers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	for (int i = 0; i < THREADS; i++)
		if (workers[i].problem[0])
			fail_msg("thread %d: %s", i, workers[i].problem);
}

static void threads_own_queues(void **state)
{
	run_threads((struct worker){ .f = *state }, work);
}

static void threads_one_queue(void **state)
{
	struct fixture *f = *state;

	run_threads((struct worker){ .f = f, .queue = f->queue }, work);
}

/* One of each object. */
struct family {
	struct fixture *f;
	struct accel_buffer *buffer, *shared, *cached, *registered;
	struct accel_cache *cache;
	struct accel_graph *graph;
	struct accel_plan *plan;
	struct accel_multi *multi;
	struct accel_event *event;
	struct accel_matmul matmul;
	struct accel_plan_config config;
	struct accel_multi_matmul all;
	float numbers[16 * 16];
	void *memory, *mapped;
	int dma_buf;
};

static void make_family(struct family *x)
{
	struct fixture *f = x->f;

	x->buffer = make_buffer(f, 65536, CARD);
	x->shared = make_buffer(f, 4096, CARD | ACCEL_BUFFER_SHAREABLE);
	ok(accel_buffer_export(x->shared, 0, &x->dma_buf));
	ok(accel_cache_create(f->context, CARD, 0, &x->cache));
	ok(accel_cache_alloc(x->cache, 4096, NULL, &x->cached));
	x->memory = aligned_alloc(4096, 4096);
	assert_non_null(x->memory);
	ok(accel_host_register(f->context, x->memory, 4096, 0, &x->registered));
	ok(accel_buffer_map(x->buffer, &x->mapped));
	ok(accel_queue_capture_begin(f->queue));
	ok(accel_fill_async(f->queue, x->buffer, 0, 4096, 1, NULL));
	ok(accel_queue_capture_end(f->queue, &x->graph));
	accel_matmul_init(&x->matmul);
	x->matmul.m = x->matmul.n = x->matmul.k = 16;
	x->matmul.a = (struct accel_matrix){ .buffer = x->buffer, .offset = 32768, .type = ACCEL_TYPE_F32 };
	x->matmul.b = (struct accel_matrix){ .buffer = x->buffer, .offset = 32768 };
	x->matmul.d = (struct accel_matrix){ .buffer = x->buffer, .offset = 4096 };
	accel_plan_config_init(&x->config);
	x->config.m = x->config.n = x->config.k = 16;
	x->config.a_type = ACCEL_TYPE_F32;
	ok(accel_plan_create(f->context, &x->config, &x->plan));
	ok(accel_multi_create(NULL, 1, &x->multi));
	accel_multi_matmul_init(&x->all);
	x->all.m = x->all.n = x->all.k = 8;
	x->all.a = (struct accel_host_matrix){ .data = x->numbers, .ld = 8, .type = ACCEL_TYPE_F32 };
	x->all.b = (struct accel_host_matrix){ .data = x->numbers + 64, .ld = 8 };
	x->all.d = (struct accel_host_matrix){ .data = x->numbers + 128, .ld = 8 };
	ok(accel_fill_async(f->queue, x->buffer, 0, 4096, 2, &x->event));
	ok(accel_event_wait(x->event, ACCEL_FOREVER));
}

static void end_family(struct family *x)
{
	accel_event_destroy(x->event);
	accel_multi_destroy(x->multi);
	accel_plan_destroy(x->plan);
	accel_graph_destroy(x->graph);
	accel_buffer_destroy(x->registered);
	accel_buffer_destroy(x->cached);
	accel_cache_destroy(x->cache);
	accel_buffer_destroy(x->shared);
	accel_buffer_destroy(x->buffer);
}

static void *look(struct worker *w)
{
	struct family *x = w->family;
	struct accel_context_status status;
	struct accel_pointer_info pointer;
	struct accel_memory_info memory;
	struct accel_cache_info kept;
	struct accel_buffer_info info;
	struct accel_status state;
	void *mapped;

	accel_context_status_init(&status);
	accel_pointer_info_init(&pointer);
	accel_memory_info_init(&memory);
	accel_cache_info_init(&kept);
	accel_buffer_info_init(&info);
	accel_status_init(&state);
	CHECK(accel_device_get_memory(x->f->device, &memory));
	CHECK(accel_context_get_status(x->f->context, &status));
	CHECK(accel_buffer_get_info(x->shared, &info));
	CHECK(accel_cache_get_info(x->cache, &kept));
	CHECK(accel_queue_get_status(x->f->queue, &state));
	CHECK(accel_event_get_status(x->event, &state));
	CHECK(accel_event_query(x->event));
	CHECK(accel_event_wait(x->event, ACCEL_FOREVER));
	CHECK(accel_buffer_map(x->buffer, &mapped));
	CHECK(accel_pointer_get_info(mapped, &pointer));
	if (mapped != x->mapped || pointer.buffer != x->buffer)
		snprintf(w->problem, sizeof(w->problem), "mapped somewhere else");
	CHECK(accel_buffer_unmap(x->buffer));
	return w;
}

/* All of them use the same plan, graph, buffers, events and cards; each has a part of D for itself. */
static void *use_all(void *arg)
{
	struct worker *w = arg;
	struct family *x = w->family;
	struct accel_place places[ACCEL_OPERANDS] = { { NULL, 0 } };
	struct accel_multi_matmul all = x->all;
	struct accel_matmul matmul = x->matmul;
	struct accel_buffer *cached;
	struct accel_queue *queue;
	struct accel_event *event;
	float d[64];

	CHECK(accel_queue_create(x->f->context, ACCEL_PRIORITY_MEDIUM, &queue));
	matmul.d.offset = 8192 + w->number * 4096;
	places[ACCEL_OPERAND_A].buffer = places[ACCEL_OPERAND_B].buffer = places[ACCEL_OPERAND_D].buffer = x->buffer;
	places[ACCEL_OPERAND_A].offset = places[ACCEL_OPERAND_B].offset = 32768;
	places[ACCEL_OPERAND_D].offset = matmul.d.offset + 2048;
	all.d.data = d;
	for (uint32_t i = 0; i < ROUNDS / 3; i++) {
		CHECK(accel_plan_run_async(queue, x->plan, places, ACCEL_OPERANDS, &event));
		CHECK(accel_queue_wait_events(x->f->queue, 1, &event));
		CHECK(accel_matmul(i % 2 ? x->f->queue : queue, &matmul));
		CHECK(accel_graph_launch(x->f->queue, x->graph));
		CHECK(accel_event_wait(event, ACCEL_FOREVER));
		accel_event_destroy(event);
		CHECK(accel_cache_alloc(x->cache, 4096, queue, &cached));
		CHECK(accel_fill_async(queue, cached, 0, 4096, i, NULL));
		CHECK(accel_cache_free(x->cache, cached, queue));
		if (!look(w))
			return NULL;
		if (i % 8 == 0)
			CHECK(accel_multi_matmul(x->multi, &all));
	}
	CHECK(accel_queue_finish(queue, ACCEL_FOREVER));
	accel_queue_destroy(queue);
	return NULL;
}

static void threads_one_of_each(void **state)
{
	struct family x = { .f = *state };

	make_family(&x);
	run_threads((struct worker){ .family = &x }, use_all);
	ok(accel_queue_finish(x.f->queue, ACCEL_FOREVER));
	end_family(&x);
	free(x.memory);
	close(x.dma_buf);
}

#define CHILD(condition) do { if (!(condition)) _exit(__LINE__ % 200 + 1); } while (0)

/* In the child: nothing of the parent's works, nothing disturbs it, own devices do. */
static void child(struct fixture *f, struct accel_buffer *buffer, struct accel_event *event)
{
	struct accel_device_info info;
	struct accel_device *device;
	struct accel_context *context;
	struct accel_buffer *own;
	struct accel_queue *queue;
	void *pointer;

	accel_device_info_init(&info);
	CHILD(accel_device_get_info(f->device, &info) == -ECHILD);
	CHILD(strstr(accel_error_detail(), "before fork()"));
	CHILD(accel_context_create(f->device, 0, &context) == -ECHILD);
	CHILD(accel_buffer_create(f->context, 4096, CARD, &own) == -ECHILD);
	CHILD(accel_buffer_map(buffer, &pointer) == -ECHILD);
	CHILD(accel_buffer_write(buffer, 0, &info, 4) == -ECHILD);
	CHILD(accel_queue_create(f->context, ACCEL_PRIORITY_LOW, &queue) == -ECHILD);
	CHILD(accel_fill(f->queue, buffer, 0, 4, 0) == -ECHILD);
	CHILD(accel_queue_finish(f->queue, 0) == -ECHILD);
	CHILD(accel_event_wait(event, 0) == -ECHILD);
	CHILD(accel_queue_wait_events(f->queue, 1, &event) == -ECHILD);
	accel_event_destroy(event);
	accel_buffer_destroy(buffer);
	accel_queue_destroy(f->queue);
	accel_context_destroy(f->context);
	accel_device_close(f->device);
#ifndef __SANITIZE_THREAD__	/* which has no threads in a child */
	CHILD(!accel_device_open(0, &device));
	CHILD(!accel_context_create(device, 0, &context));
	CHILD(!accel_queue_create(context, ACCEL_PRIORITY_MEDIUM, &queue));
	CHILD(!accel_buffer_create(context, 4096, CARD, &own));
	CHILD(!accel_fill(queue, own, 0, 4096, 3));
	accel_device_close(device);	/* and leaves the rest to exit */
#else
	(void)device;
#endif
	_exit(0);
}

static void forked(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *buffer = make_buffer(f, 4096, CARD);
	struct accel_event *event;
	uint32_t word;
	int status;
	pid_t pid;

	begin_long(f, f->queue);
	ok(accel_fill_async(f->queue, buffer, 0, 4096, 77, &event));
	fflush(NULL);
	pid = fork();
	if (!pid)
		child(f, buffer, event);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		fail_msg("the child failed: status %x", status);
	end_long(f);
	ok(accel_event_wait(event, ACCEL_FOREVER));
	ok(accel_buffer_read(buffer, 0, &word, 4));
	assert_int_equal(word, 77);
	ok(accel_fill(f->queue, buffer, 0, 4096, 78));
	accel_event_destroy(event);
	accel_buffer_destroy(buffer);
}

#define FOREIGN(call) do { \
	int result = (call); \
	if (result != -ECHILD || !strstr(accel_error_detail(), "before fork()")) { \
		fprintf(stderr, "%s: %d %s\n", #call, result, accel_error_detail()); \
		wrong = 1; \
	} \
} while (0)

static int foreign_memory(struct family *x)
{
	struct accel_context_status status;
	struct accel_device_counters counters;
	struct accel_memory_info memory;
	struct accel_buffer_info info;
	struct accel_buffer *buffer;
	struct accel_cache *cache;
	struct accel_cache_info kept;
	int wrong = 0, fd;
	char byte;

	accel_context_status_init(&status);
	accel_device_counters_init(&counters);
	accel_memory_info_init(&memory);
	accel_buffer_info_init(&info);
	accel_cache_info_init(&kept);
	FOREIGN(accel_device_get_counters(x->f->device, &counters));
	FOREIGN(accel_device_get_memory(x->f->device, &memory));
	FOREIGN(accel_context_get_status(x->f->context, &status));
	FOREIGN(accel_buffer_get_info(x->buffer, &info));
	FOREIGN(accel_buffer_read(x->buffer, 0, &byte, 1));
	FOREIGN(accel_buffer_unmap(x->buffer));
	FOREIGN(accel_buffer_advise(x->buffer, ACCEL_ADVICE_PREFETCH));
	FOREIGN(accel_buffer_export(x->shared, 0, &fd));
	FOREIGN(accel_buffer_import(x->f->context, x->dma_buf, 0, &buffer));
	FOREIGN(accel_host_register(x->f->context, x->memory, 4096, 0, &buffer));
	FOREIGN(accel_buffer_wait(x->shared, ACCEL_ACCESS_READ, 0));
	FOREIGN(accel_cache_create(x->f->context, CARD, 0, &cache));
	FOREIGN(accel_cache_alloc(x->cache, 4096, NULL, &buffer));
	FOREIGN(accel_cache_free(x->cache, x->cached, NULL));
	FOREIGN(accel_cache_trim(x->cache, 0));
	FOREIGN(accel_cache_get_info(x->cache, &kept));
	return wrong;
}

static int foreign_work(struct family *x)
{
	struct accel_place places[ACCEL_OPERANDS] = { { NULL, 0 } };
	struct accel_queue *queue = x->f->queue;
	struct accel_profile profile;
	struct accel_status status;
	struct accel_graph *graph;
	struct accel_event *event;
	struct accel_plan *plan;
	int wrong = 0, fd;

	accel_status_init(&status);
	accel_profile_init(&profile);
	FOREIGN(accel_queue_get_event_fd(queue, &fd));
	FOREIGN(accel_queue_acquire(queue, x->shared, ACCEL_ACCESS_READ));
	FOREIGN(accel_queue_release(queue, x->shared, ACCEL_ACCESS_READ));
	FOREIGN(accel_queue_get_status(queue, &status));
	FOREIGN(accel_queue_set_profiling(queue, 1));
	FOREIGN(accel_event_query(x->event));
	FOREIGN(accel_event_get_status(x->event, &status));
	FOREIGN(accel_event_get_profile(x->event, &profile));
	FOREIGN(accel_copy(queue, x->buffer, 0, x->buffer, 4096, 64));
	FOREIGN(accel_copy_async(queue, x->buffer, 0, x->buffer, 4096, 64, &event));
	FOREIGN(accel_copy_2d(queue, x->buffer, 0, 64, x->buffer, 4096, 64, 64, 2));
	FOREIGN(accel_copy_2d_async(queue, x->buffer, 0, 64, x->buffer, 4096, 64, 64, 2, &event));
	FOREIGN(accel_fill_async(queue, x->buffer, 0, 64, 0, &event));
	FOREIGN(accel_matmul(queue, &x->matmul));
	FOREIGN(accel_matmul_async(queue, &x->matmul, &event));
	FOREIGN(accel_matmul_many(queue, &x->matmul, 1));
	FOREIGN(accel_matmul_many_async(queue, &x->matmul, 1, &event));
	FOREIGN(accel_plan_create(x->f->context, &x->config, &plan));
	places[ACCEL_OPERAND_A].buffer = places[ACCEL_OPERAND_B].buffer = places[ACCEL_OPERAND_D].buffer = x->buffer;
	places[ACCEL_OPERAND_D].offset = 4096;
	FOREIGN(accel_plan_run(queue, x->plan, places, ACCEL_OPERANDS));
	FOREIGN(accel_plan_run_async(queue, x->plan, places, ACCEL_OPERANDS, &event));
	FOREIGN(accel_multi_matmul(x->multi, &x->all));
	FOREIGN(accel_queue_capture_begin(queue));
	FOREIGN(accel_queue_capture_end(queue, &graph));
	FOREIGN(accel_graph_launch(queue, x->graph));
	FOREIGN(accel_graph_launch_async(queue, x->graph, &event));
	return wrong;
}

/* What was mapped or registered is nobody's in the child. */
static int foreign_pointers(struct family *x)
{
	const void *const pointers[] = { x->mapped, x->memory };
	int wrong = 0;

	for (size_t i = 0; i < ARRAY_SIZE(pointers); i++) {
		struct accel_pointer_info info;

		accel_pointer_info_init(&info);
		if (accel_pointer_get_info(pointers[i], &info) || info.buffer) {
			fprintf(stderr, "pointer %zu is still of a buffer\n", i);
			wrong = 1;
		}
	}
	return wrong;
}

/* Whatever a child asks of its parent's objects, it is told whose they are; they are as before. */
static void inherited(void **state)
{
	struct family x = { .f = *state };
	uint32_t word;
	int status;
	pid_t pid;

	make_family(&x);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		int wrong = foreign_memory(&x) | foreign_work(&x) | foreign_pointers(&x);

		end_family(&x);
		_exit(wrong);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
	ok(accel_graph_launch(x.f->queue, x.graph));
	ok(accel_buffer_read(x.buffer, 4092, &word, 4));
	assert_int_equal(word, 1);
	ok(accel_matmul(x.f->queue, &x.matmul));
	ok(accel_multi_matmul(x.multi, &x.all));
	end_family(&x);
	free(x.memory);
	close(x.dma_buf);
}

/* Every order of destruction, with work done and with work in flight. */
static void closing_order(void **state)
{
	(void)state;
#ifdef ACCEL_TEST_FAKE
	fake_set_cards(1);
#endif
	for (int order = 0; order < 120 * 2; order++) {
		struct accel_buffer *buffer;
		struct accel_event *event;
		struct fixture f = { 0 };
		int left[5] = { 0, 1, 2, 3, 4 }, n = order % 120;

		ok(accel_device_open(0, &f.device));
		ok(accel_context_create(f.device, 0, &f.context));
		ok(accel_queue_create(f.context, ACCEL_PRIORITY_MEDIUM, &f.queue));
		buffer = make_buffer(&f, 1 << 20, CARD);
		ok(accel_fill_async(f.queue, buffer, 0, 1 << 20, 1, &event));
		if (order >= 120)
			ok(accel_event_wait(event, ACCEL_FOREVER));
		for (int count = 5; count; n /= count, count--) {
			int pick = n % count, what = left[pick];

			memmove(left + pick, left + pick + 1, (size_t)(4 - pick) * sizeof(left[0]));
			if (what == 0)
				accel_device_close(f.device);
			else if (what == 1)
				accel_context_destroy(f.context);
			else if (what == 2)
				accel_queue_destroy(f.queue);
			else if (what == 3)
				accel_buffer_destroy(buffer);
			else
				accel_event_destroy(event);
		}
#ifdef ACCEL_TEST_FAKE
		assert_int_equal(fake_objects(), 0);
#endif
	}
}

#if !defined(ACCEL_TEST_FAKE) && !defined(ACCEL_TEST_MODEL)
static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

/* The driver goes from under an open device with work in flight. */
static void unbound(void **state)
{
	struct accel_device_info info;
	struct accel_buffer *buffer, *other;
	struct accel_status status;
	struct accel_event *event;
	struct fixture f = { 0 };
	void *pointer;

	(void)state;
	ok(accel_device_open(0, &f.device));
	ok(accel_context_create(f.device, 0, &f.context));
	ok(accel_queue_create(f.context, ACCEL_PRIORITY_MEDIUM, &f.queue));
	accel_device_info_init(&info);
	ok(accel_device_get_info(f.device, &info));
	buffer = make_buffer(&f, 1 << 20, CARD);
	ok(accel_buffer_map(buffer, &pointer));
	begin_long(&f, f.queue);
	ok(accel_fill_async(f.queue, buffer, 0, 1 << 20, 1, &event));
	write_file("/sys/bus/pci/drivers/onpu/unbind", info.pci_address);
	fails(accel_event_wait(event, ACCEL_FOREVER), -ENODEV);
	accel_status_init(&status);
	ok(accel_event_get_status(event, &status));
	assert_int_equal(status.reason, ACCEL_REASON_DEVICE_LOST);
	fails(accel_device_get_info(f.device, &info), -ENODEV);
	fails(accel_buffer_create(f.context, 4096, CARD, &other), -ENODEV);
	fails(accel_fill(f.queue, buffer, 0, 4, 1), -ENODEV);
	fails(accel_queue_finish(f.queue, ACCEL_FOREVER), -ENODEV);
	end_long(&f);
	accel_event_destroy(event);
	accel_queue_destroy(f.queue);
	accel_buffer_destroy(buffer);
	accel_context_destroy(f.context);
	accel_device_close(f.device);
	write_file("/sys/bus/pci/drivers/onpu/bind", info.pci_address);
	ok(accel_device_open_name(info.pci_address, &f.device));
	ok(accel_context_create(f.device, 0, &f.context));
	accel_context_destroy(f.context);
	accel_device_close(f.device);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(threads_own_queues, setup, teardown),
		cmocka_unit_test_setup_teardown(threads_one_queue, setup, teardown),
		cmocka_unit_test_setup_teardown(threads_one_of_each, setup, teardown),
		cmocka_unit_test_setup_teardown(forked, setup, teardown),
		cmocka_unit_test_setup_teardown(inherited, setup, teardown),
		cmocka_unit_test(closing_order),
#if !defined(ACCEL_TEST_FAKE) && !defined(ACCEL_TEST_MODEL)
		cmocka_unit_test(unbound),
#endif
	};

	return run_group("process", tests);
}

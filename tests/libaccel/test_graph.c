/* SPDX-License-Identifier: MIT */
/*
 * Graphs: what is recorded, what a launch does, who keeps what alive.
 */
#include "common.h"

#define CARD ACCEL_BUFFER_CARD

enum { N = 16, MATRIX = N * N * 4 };

static uint32_t read_word(struct accel_buffer *buffer, uint64_t offset)
{
	uint32_t word = 0;

	ok(accel_buffer_read(buffer, offset, &word, 4));
	return word;
}

/* D = A B + D, all in one buffer. */
static void accumulate(struct accel_matmul *p, struct accel_buffer *buffer)
{
	accel_matmul_init(p);
	p->flags = ACCEL_MATMUL_ACCUMULATE;
	p->m = p->n = p->k = N;
	p->a.buffer = p->b.buffer = p->d.buffer = buffer;
	p->a.type = ACCEL_TYPE_F32;
	p->b.offset = MATRIX;
	p->d.offset = 2 * MATRIX;
}

/* A unit matrix, ones, and zero. */
static struct accel_buffer *make_operands(struct fixture *f)
{
	struct accel_buffer *buffer = make_buffer(f, 3 * MATRIX, CARD);
	float matrices[2][N][N] = { { { 0 } } };

	for (int i = 0; i < N; i++) {
		matrices[0][i][i] = 1;
		for (int j = 0; j < N; j++)
			matrices[1][i][j] = 1;
	}
	ok(accel_buffer_write(buffer, 0, matrices, sizeof(matrices)));
	return buffer;
}

static float result_of(struct accel_buffer *buffer)
{
	float result[N][N];

	ok(accel_buffer_read(buffer, 2 * MATRIX, result, sizeof(result)));
	for (int i = 0; i < N * N; i++)
		assert_true(result[i / N][i % N] == result[0][0]);
	return result[0][0];
}

/* Records @count operations: matmuls, with fills and copies in between. */
static struct accel_graph *record(struct fixture *f, struct accel_buffer *operands,
				  struct accel_buffer *words, unsigned int count)
{
	struct accel_graph *graph;
	struct accel_matmul p;

	accumulate(&p, operands);
	ok(accel_queue_capture_begin(f->queue));
	for (unsigned int i = 0; i < count; i++) {
		switch (i % 4) {
		case 1:
			ok(accel_fill_async(f->queue, words, 0, 64, i, NULL));
			break;
		case 2:
			ok(accel_copy_async(f->queue, words, 64 + i / 4 * 4, words, 0, 4, NULL));
			break;
		default:
			ok(accel_matmul_async(f->queue, &p, NULL));
		}
	}
	ok(accel_queue_capture_end(f->queue, &graph));
	assert_int_equal(accel_graph_size(graph), count);
	return graph;
}

static void launches(void **state)
{
	enum { COUNT = 100, ROUNDS = 20 };
	struct fixture *f = *state;
	struct accel_buffer *operands = make_operands(f), *words = make_buffer(f, 4096, CARD);
	struct accel_graph *graph = record(f, operands, words, COUNT);
	struct accel_event *event;
	float wanted = 0;

	/* Recorded, not executed. */
	ok(accel_queue_finish(f->queue, ACCEL_FOREVER));
	assert_true(result_of(operands) == 0);
	for (int round = 0; round < ROUNDS; round++) {
		ok(accel_fill(f->queue, words, 0, 4096, 0));
		ok(accel_graph_launch_async(f->queue, graph, round & 1 ? &event : NULL));
		ok(accel_graph_launch(f->queue, graph));
		wanted += COUNT;	/* half of the operations, twice */
		assert_true(result_of(operands) == wanted);
		for (uint32_t i = 0; i < COUNT / 4; i++)
			assert_int_equal(read_word(words, 64 + i * 4), i * 4 + 1);
		if (round & 1) {
			ok(accel_event_wait(event, 0));
			accel_event_destroy(event);
		}
	}
	accel_graph_destroy(graph);
	accel_graph_destroy(NULL);
	accel_buffer_destroy(words);
	accel_buffer_destroy(operands);
}

/* Between other work, and more of it than command memory and ring hold. */
static void in_order(void **state)
{
	enum { ROUNDS = 1500 };
	struct fixture *f = *state;
	struct accel_buffer *words = make_buffer(f, 8192, CARD);
	struct accel_graph *graph;

	ok(accel_queue_capture_begin(f->queue));
	ok(accel_copy_async(f->queue, words, 4096, words, 0, 4096, NULL));
	ok(accel_fill_async(f->queue, words, 0, 4096, 0xdead, NULL));
	ok(accel_queue_capture_end(f->queue, &graph));
	for (uint32_t i = 0; i < ROUNDS; i++) {
		ok(accel_fill_async(f->queue, words, 0, 4096, i, NULL));
		ok(accel_graph_launch_async(f->queue, graph, NULL));
		if (i % 500 == 77) {
			ok(accel_queue_finish(f->queue, ACCEL_FOREVER));
			assert_int_equal(read_word(words, 0), 0xdead);
			assert_int_equal(read_word(words, 8188), i);
		}
	}
	ok(accel_queue_finish(f->queue, ACCEL_FOREVER));
	assert_int_equal(read_word(words, 4096), ROUNDS - 1);
	accel_graph_destroy(graph);
	accel_buffer_destroy(words);
}

/* More than a job takes, and than a submission's command memory. */
static void large(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *operands = make_operands(f), *words = make_buffer(f, 65536, CARD);
#ifdef ACCEL_TEST_FAKE
	struct accel_graph *graph = record(f, operands, words, 400);
	const float once = 200;
#else
	struct accel_graph *graph = record(f, operands, words, 10000);
	const float once = 5000;
#endif

	ok(accel_graph_launch(f->queue, graph));
	assert_true(result_of(operands) == once);
	ok(accel_graph_launch(f->queue, graph));
	assert_true(result_of(operands) == 2 * once);
	accel_graph_destroy(graph);
	accel_buffer_destroy(words);
	accel_buffer_destroy(operands);
}

/* Everything goes while a launch is in flight; what the graph used goes after it. */
static void destroyed_in_flight(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *words = make_buffer(f, 1 << 20, CARD), *copy = make_buffer(f, 4096, CARD);
	struct accel_graph *graph;

	ok(accel_queue_capture_begin(f->queue));
	for (uint32_t i = 0; i < 20; i++)
		ok(accel_fill_async(f->queue, words, 0, 1 << 20, i, NULL));
	ok(accel_copy_async(f->queue, copy, 0, words, 0, 4096, NULL));
	ok(accel_queue_capture_end(f->queue, &graph));
	accel_buffer_destroy(words);
	begin_long(f, f->queue);
	ok(accel_graph_launch_async(f->queue, graph, NULL));
	accel_graph_destroy(graph);
	end_long(f);
	ok(accel_queue_finish(f->queue, ACCEL_FOREVER));
	assert_int_equal(read_word(copy, 4092), 19);
	accel_buffer_destroy(copy);
}

static void on_several_queues(void **state)
{
	enum { QUEUES = 4 };
	struct fixture *f = *state;
	struct accel_buffer *words = make_buffer(f, 4096, CARD);
	struct accel_queue *queues[QUEUES];
	struct accel_event *last = NULL;
	struct accel_graph *graph;

	/* Doubles a word's place: each launch must see the one before. */
	ok(accel_queue_capture_begin(f->queue));
	for (uint32_t i = 63; i; i--)
		ok(accel_copy_async(f->queue, words, i * 4, words, (i - 1) * 4, 4, NULL));
	ok(accel_queue_capture_end(f->queue, &graph));
	ok(accel_fill(f->queue, words, 0, 4, 5));
	for (int i = 0; i < QUEUES; i++)
		ok(accel_queue_create(f->context, ACCEL_PRIORITY_MEDIUM, &queues[i]));
	for (int i = 0; i < 60; i++) {
		struct accel_event *event;

		if (last)
			ok(accel_queue_wait_events(queues[i % QUEUES], 1, &last));
		ok(accel_graph_launch_async(queues[i % QUEUES], graph, &event));
		accel_event_destroy(last);
		last = event;
	}
	ok(accel_event_wait(last, ACCEL_FOREVER));
	accel_event_destroy(last);
	assert_int_equal(read_word(words, 60 * 4), 5);
	assert_int_equal(read_word(words, 61 * 4), 0);
	for (int i = 0; i < QUEUES; i++)
		accel_queue_destroy(queues[i]);
	accel_graph_destroy(graph);
	accel_buffer_destroy(words);
}

static void profiled(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *operands = make_operands(f), *words = make_buffer(f, 4096, CARD);
	struct accel_graph *graph = record(f, operands, words, 40);
	struct accel_profile profile;
	struct accel_event *event;

	if (accel_queue_set_profiling(f->queue, 1))
		goto out;
	ok(accel_graph_launch_async(f->queue, graph, &event));
	ok(accel_event_wait(event, ACCEL_FOREVER));
	accel_profile_init(&profile);
	ok(accel_event_get_profile(event, &profile));
	assert_int_equal(profile.operations, 40);
	assert_int_equal(profile.ops, 20ull * 2 * N * N * N);
	accel_event_destroy(event);
	assert_true(result_of(operands) == 20);
out:
	accel_graph_destroy(graph);
	accel_buffer_destroy(words);
	accel_buffer_destroy(operands);
}

static void errors(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *words = make_buffer(f, 4096, CARD);
	struct accel_graph *graph, *none = NULL;
	struct accel_context *context;
	struct accel_event *event, *before;
	struct accel_queue *queue;

	fails(accel_queue_capture_begin(NULL), -EINVAL);
	fails(accel_queue_capture_end(NULL, &none), -EINVAL);
	fails(accel_queue_capture_end(f->queue, &none), -EINVAL);
	expect_detail("accel_queue_capture_end: the queue is not capturing");
	fails(accel_queue_capture_end(f->queue, NULL), -EINVAL);
	fails(accel_graph_launch(f->queue, NULL), -EINVAL);
	fails(accel_graph_launch(NULL, NULL), -EINVAL);
	assert_int_equal(accel_graph_size(NULL), 0);

	ok(accel_fill_async(f->queue, words, 0, 4, 1, &before));
	ok(accel_queue_create(f->context, ACCEL_PRIORITY_MEDIUM, &queue));
	ok(accel_queue_capture_begin(f->queue));
	fails(accel_queue_capture_begin(f->queue), -EBUSY);
	fails(accel_fill(f->queue, words, 0, 4, 1), -EBUSY);
	expect_detail("the queue is capturing");
	fails(accel_fill_async(f->queue, words, 0, 4, 1, &event), -EBUSY);
	fails(accel_queue_wait_events(f->queue, 1, &before), -EBUSY);
	ok(accel_queue_wait_events(f->queue, 0, NULL));
	/* What is wrong is said at once, and the capture goes on without it. */
	fails(accel_fill_async(f->queue, words, 2, 4, 1, NULL), -EINVAL);
	ok(accel_fill_async(f->queue, words, 8, 4, 9, NULL));
	ok(accel_queue_finish(f->queue, ACCEL_FOREVER));
	ok(accel_event_wait(before, 0));
	ok(accel_queue_capture_end(f->queue, &graph));
	assert_int_equal(accel_graph_size(graph), 1);

	ok(accel_queue_capture_begin(queue));
	fails(accel_graph_launch_async(queue, graph, NULL), -EBUSY);
	ok(accel_queue_capture_end(queue, NULL));
	ok(accel_graph_launch(queue, graph));
	assert_int_equal(read_word(words, 8), 9);

	/* An empty one does nothing. */
	ok(accel_queue_capture_begin(queue));
	ok(accel_queue_capture_end(queue, &none));
	assert_int_equal(accel_graph_size(none), 0);
	ok(accel_graph_launch(queue, none));
	accel_graph_destroy(none);

	ok(accel_buffer_advise(words, ACCEL_ADVICE_PURGEABLE));
	fails(accel_graph_launch(queue, graph), -ENODATA);
	ok(accel_buffer_advise(words, ACCEL_ADVICE_NEEDED));
	ok(accel_graph_launch(queue, graph));

	ok(accel_queue_capture_begin(queue));
	ok(accel_fill_async(queue, words, 0, 4, 1, NULL));
	accel_queue_destroy(queue);	/* with what it had recorded */

	ok(accel_context_create(f->device, 0, &context));
	ok(accel_queue_create(context, ACCEL_PRIORITY_MEDIUM, &queue));
	fails(accel_graph_launch(queue, graph), -EXDEV);
	accel_queue_destroy(queue);
	accel_context_destroy(context);
	accel_event_destroy(before);
	accel_graph_destroy(graph);
	accel_buffer_destroy(words);
}

#ifdef ACCEL_TEST_FAKE
static void too_large(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *words = make_buffer(f, 4096, CARD);
	struct accel_graph *graph;
	unsigned int count = 0;
	int ret;

	ok(accel_queue_capture_begin(f->queue));
	do {
		ret = accel_fill_async(f->queue, words, 0, 4, count, NULL);
		count += !ret;
	} while (!ret && count < 100000);
	fails(ret, -E2BIG);
	ok(accel_queue_capture_end(f->queue, &graph));
	assert_int_equal(accel_graph_size(graph), count);
	ok(accel_graph_launch(f->queue, graph));
	assert_int_equal(read_word(words, 0), count - 1);
	accel_graph_destroy(graph);
	accel_buffer_destroy(words);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(launches, setup, teardown),
		cmocka_unit_test_setup_teardown(in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(large, setup, teardown),
		cmocka_unit_test_setup_teardown(destroyed_in_flight, setup, teardown),
		cmocka_unit_test_setup_teardown(on_several_queues, setup, teardown),
		cmocka_unit_test_setup_teardown(profiled, setup, teardown),
		cmocka_unit_test_setup_teardown(errors, setup, teardown),
#ifdef ACCEL_TEST_FAKE
		cmocka_unit_test_setup_teardown(too_large, setup, teardown),
#endif
	};

	return run_group("graph", tests);
}

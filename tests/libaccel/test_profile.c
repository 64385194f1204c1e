/* SPDX-License-Identifier: MIT */
/*
 * Profiling: what is counted, that times are those of the card, how it used its roofs, and what
 * becomes of profiles when queues fail or go.
 */
#include "common.h"

#include <math.h>

#define CARD ACCEL_BUFFER_CARD
#define HOST ACCEL_BUFFER_HOST

static struct accel_profile profile_of(struct accel_event *event)
{
	struct accel_profile profile;

	accel_profile_init(&profile);
	ok(accel_event_wait(event, ACCEL_FOREVER));
	ok(accel_event_get_profile(event, &profile));
	accel_event_destroy(event);
	return profile;
}

static struct accel_matmul square(struct fixture *f, uint32_t n, uint32_t type)
{
	uint64_t size = (uint64_t)n * n * 4;
	struct accel_matmul m;

	accel_matmul_init(&m);
	m.m = m.n = m.k = n;
	m.a.buffer = make_buffer(f, size, CARD);
	m.b.buffer = make_buffer(f, size, CARD);
	m.d.buffer = make_buffer(f, size, CARD);
	m.a.type = type;
	return m;
}

static void destroy(struct accel_matmul *m)
{
	accel_buffer_destroy(m->a.buffer);
	accel_buffer_destroy(m->b.buffer);
	accel_buffer_destroy(m->d.buffer);
}

static bool close_to(double a, double b)
{
	return fabs(a - b) <= 1e-6 * fabs(b) + 1e-9;
}

static void off_unless_asked_for(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *buffer = make_buffer(f, 4096, CARD);
	struct accel_profile profile;
	struct accel_event *event;

	accel_profile_init(&profile);
	ok(accel_fill_async(f->queue, buffer, 0, 4096, 1, &event));
	ok(accel_event_wait(event, ACCEL_FOREVER));
	fails(accel_event_get_profile(event, &profile), -EINVAL);
	expect_detail("accel_event_get_profile: the work was submitted without profiling");
	/* Switched on later: still nothing for what was submitted before. */
	ok(accel_queue_set_profiling(f->queue, 1));
	fails(accel_event_get_profile(event, &profile), -EINVAL);
	accel_event_destroy(event);
	ok(accel_fill_async(f->queue, buffer, 0, 4096, 1, &event));
	ok(accel_queue_set_profiling(f->queue, 0));
	assert_int_equal(profile_of(event).memory_bytes, 4096);
	ok(accel_fill_async(f->queue, buffer, 0, 4096, 1, &event));
	ok(accel_event_wait(event, ACCEL_FOREVER));
	fails(accel_event_get_profile(event, &profile), -EINVAL);
	fails(accel_event_get_profile(event, NULL), -EINVAL);
	fails(accel_event_get_profile(NULL, &profile), -EINVAL);
	fails(accel_queue_set_profiling(NULL, 1), -EINVAL);
	accel_event_destroy(event);
	accel_buffer_destroy(buffer);
}

static void matmul(void **state)
{
	struct fixture *f = *state;
	struct accel_matmul m = square(f, 128, ACCEL_TYPE_F32);
	struct accel_device_info info;
	struct accel_profile p, again;
	struct accel_event *event;
	double peak;

	accel_device_info_init(&info);
	ok(accel_device_get_info(f->device, &info));
	assert_true(info.macs_per_cycle[0] && info.memory_bandwidth && info.host_bandwidth);
	ok(accel_queue_set_profiling(f->queue, 1));
	ok(accel_matmul_async(f->queue, &m, &event));
	p = profile_of(event);
	assert_int_equal(p.operations, 1);
	assert_int_equal(p.ops, 2 * 128 * 128 * 128);
	assert_int_equal(p.memory_bytes, 3 * 128 * 128 * 4);
	assert_true(!p.host_read_bytes && !p.host_write_bytes);
	assert_true(p.end_ns > p.start_ns);
	peak = 2.0 * info.macs_per_cycle[0] * info.cores * info.core_clock_khz * 1e3;
	assert_true(close_to(p.compute_roof_ns, (double)p.ops / peak * 1e9));
	assert_true(close_to(p.memory_roof_ns, (double)p.memory_bytes * 1e9 / (double)info.memory_bandwidth));
	assert_true(p.cores_ns + 1 >= (uint64_t)p.compute_roof_ns);
	assert_true(close_to(p.utilisation, 100 * p.compute_roof_ns / (double)(p.end_ns - p.start_ns)));
	assert_true(close_to(p.ops_per_second, (double)p.ops * 1e9 / (double)(p.end_ns - p.start_ns)));
	assert_true(p.utilisation > 0 && p.utilisation <= p.roofline && p.roofline <= 100);
	assert_true(p.memory_utilisation > 0 && p.memory_utilisation <= p.roofline);
	assert_true(p.ops_per_second < p.roof_ops_per_second && p.roof_ops_per_second <= peak * 1.000001);
	/* The same work takes the same time, later. */
	ok(accel_matmul_async(f->queue, &m, &event));
	again = profile_of(event);
	assert_true(again.start_ns >= p.end_ns);
	assert_true(again.end_ns - again.start_ns == p.end_ns - p.start_ns);
	destroy(&m);
}

static void copies(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *card = make_buffer(f, 1 << 20, CARD), *host = make_buffer(f, 1 << 20, HOST);
	struct accel_event *event;
	struct accel_profile p;

	ok(accel_queue_set_profiling(f->queue, 1));
	ok(accel_copy_async(f->queue, card, 0, host, 4, 1000000, &event));
	p = profile_of(event);
	assert_true(p.host_read_bytes == 1000000 && !p.host_write_bytes && p.memory_bytes == 1000000);
	assert_int_equal(p.bound, ACCEL_BOUND_HOST);
	assert_true(!p.ops && p.utilisation == 0 && p.ops_per_second == 0);
	assert_true(p.host_utilisation > 50 && p.host_utilisation <= 100);
	ok(accel_copy_async(f->queue, host, 0, card, 0, 1000000, &event));
	p = profile_of(event);
	assert_true(!p.host_read_bytes && p.host_write_bytes == 1000000);
	ok(accel_fill_async(f->queue, card, 0, 1 << 20, 1, &event));
	p = profile_of(event);
	assert_true(p.memory_bytes == 1 << 20 && p.bound == ACCEL_BOUND_MEMORY);
	ok(accel_fill_async(f->queue, card, 0, 4, 1, &event));
	assert_int_equal(profile_of(event).bound, ACCEL_BOUND_OVERHEAD);
	accel_buffer_destroy(card);
	accel_buffer_destroy(host);
}

static void many_in_one(void **state)
{
	struct fixture *f = *state;
	struct accel_matmul list[50];
	struct accel_event *event;
	struct accel_profile p;

	for (unsigned int i = 0; i < ARRAY_SIZE(list); i++) {
		list[i] = square(f, 16 + i % 3, ACCEL_TYPE_BF16);
		if (i >= 3) {
			destroy(&list[i]);
			list[i] = list[i % 3];
		}
	}
	ok(accel_queue_set_profiling(f->queue, 1));
	ok(accel_matmul_many_async(f->queue, list, ARRAY_SIZE(list), &event));
	p = profile_of(event);
	assert_int_equal(p.operations, 50);
	assert_int_equal(p.ops, 2 * (17 * 16 * 16 * 16 + 17 * 17 * 17 * 17 + 16 * 18 * 18 * 18));
	assert_true(p.end_ns - p.start_ns >= 50);
	assert_true(p.utilisation <= 100 && p.roofline <= 100);
	for (unsigned int i = 0; i < 3; i++)
		destroy(&list[i]);
}

/* Many profiles outlive the command memory that their stamps were in. */
static void kept_for_later(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *buffer = make_buffer(f, 65536, CARD);
	static struct accel_event *events[3000];
	struct accel_profile p;
	uint64_t last = 0;

	ok(accel_queue_set_profiling(f->queue, 1));
	for (unsigned int i = 0; i < ARRAY_SIZE(events); i++)
		ok(accel_fill_async(f->queue, buffer, 0, 4 * (i + 1), i, &events[i]));
	ok(accel_queue_finish(f->queue, ACCEL_FOREVER));
	accel_queue_destroy(f->queue);
	f->queue = NULL;
	for (unsigned int i = 0; i < ARRAY_SIZE(events); i++) {
		p = profile_of(events[i]);
		assert_int_equal(p.memory_bytes, 4 * (i + 1));
		assert_true(p.start_ns >= last);
		last = p.end_ns;
	}
	accel_buffer_destroy(buffer);
}

static void not_done_and_failed(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *buffer = make_buffer(f, 4096, CARD), *gone = make_buffer(f, 4096, CARD);
	struct accel_event *event;
	struct accel_profile p;

	accel_profile_init(&p);
	begin_long(f, f->queue);
	ok(accel_queue_set_profiling(f->queue, 1));
	ok(accel_fill_async(f->queue, buffer, 0, 4096, 7, &event));
	fails(accel_event_get_profile(event, &p), -EBUSY);
	end_long(f);
	accel_event_wait(event, ACCEL_FOREVER);
	accel_event_destroy(event);
	accel_queue_destroy(f->queue);
	ok(accel_queue_create(f->context, ACCEL_PRIORITY_MEDIUM, &f->queue));
	ok(accel_queue_set_profiling(f->queue, 1));
	steal_mapping(gone);
	ok(accel_fill_async(f->queue, gone, 0, 4096, 7, &event));
	fails(accel_event_wait(event, ACCEL_FOREVER), -EFAULT);
	fails(accel_event_get_profile(event, &p), -EFAULT);
	accel_event_destroy(event);
	accel_buffer_destroy(gone);
	accel_buffer_destroy(buffer);
}

static void counters(void **state)
{
	struct fixture *f = *state;
	struct accel_device_counters c;

	accel_device_counters_init(&c);
	ok(accel_device_get_counters(f->device, &c));
	assert_true(c.engine_time_ns > 0);
	assert_true(c.cores_busy_ns <= c.engine_time_ns && c.memory_busy_ns <= c.engine_time_ns);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(off_unless_asked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(matmul, setup, teardown),
		cmocka_unit_test_setup_teardown(copies, setup, teardown),
		cmocka_unit_test_setup_teardown(many_in_one, setup, teardown),
		cmocka_unit_test_setup_teardown(kept_for_later, setup, teardown),
		cmocka_unit_test_setup_teardown(not_done_and_failed, setup, teardown),
		cmocka_unit_test_setup_teardown(counters, setup, teardown),
	};

	return run_group("profile", tests);
}

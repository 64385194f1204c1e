/* SPDX-License-Identifier: MIT */
/*
 * Queues and events: order, waiting, dependencies, many in flight, and what happens when
 * work fails or its queue goes.
 */
#include "common.h"

#include <drm/onpu_accel.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#define CARD ACCEL_BUFFER_CARD

static uint32_t read_word(struct accel_buffer *buffer, uint64_t offset)
{
	uint32_t word = 0;

	ok(accel_buffer_read(buffer, offset, &word, 4));
	return word;
}

static void create_errors(void **state)
{
	struct fixture *f = *state;
	struct accel_queue *queues[4096], *one;
	int count = 0, ret;

	fails(accel_queue_create(NULL, ACCEL_PRIORITY_LOW, &one), -EINVAL);
	fails(accel_queue_create(f->context, ACCEL_PRIORITY_LOW, NULL), -EINVAL);
	fails(accel_queue_create(f->context, 4, &one), -EINVAL);
	expect_detail("accel_queue_create: unknown priority 4");
	ok(accel_queue_create(f->context, ACCEL_PRIORITY_LOW, &one));
	accel_queue_destroy(one);
	do {
		ret = accel_queue_create(f->context, ACCEL_PRIORITY_MEDIUM, &queues[count]);
		count += !ret;
	} while (!ret && count < (int)ARRAY_SIZE(queues));
	assert_int_equal(ret, -ENOSPC);
	while (count)
		accel_queue_destroy(queues[--count]);
	accel_queue_destroy(NULL);
	accel_event_destroy(NULL);
	fails(accel_queue_finish(NULL, 0), -EINVAL);
	fails(accel_queue_get_status(NULL, NULL), -EINVAL);
	fails(accel_event_wait(NULL, 0), -EINVAL);
	fails(accel_event_query(NULL), -EINVAL);
	fails(accel_event_get_status(NULL, NULL), -EINVAL);
	fails(accel_queue_wait_events(NULL, 0, NULL), -EINVAL);
}

static void events(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *buffer = make_buffer(f, 4096, CARD);
	struct accel_event *event;
	struct accel_status status;
	uint64_t start;

	ok(accel_queue_finish(f->queue, 0));
	begin_long(f, f->queue);
	ok(accel_fill_async(f->queue, buffer, 0, 4096, 7, &event));
	assert_int_equal(accel_event_query(event), -EBUSY);
	fails(accel_event_wait(event, 0), -ETIME);
	start = now_ns();
	fails(accel_event_wait(event, SECOND / 50), -ETIME);
	expect_detail("accel_event_wait: not done in 20000000 ns");
	assert_true(now_ns() - start >= SECOND / 50);
	fails(accel_queue_finish(f->queue, 1000), -ETIME);
	accel_status_init(&status);
	ok(accel_event_get_status(event, &status));
	assert_int_equal(status.state, ACCEL_STATE_PENDING);
	end_long(f);
	ok(accel_event_wait(event, ACCEL_FOREVER));
	ok(accel_event_wait(event, 0));
	ok(accel_event_query(event));
	ok(accel_event_get_status(event, &status));
	assert_int_equal(status.state, ACCEL_STATE_DONE);
	assert_int_equal(status.error, 0);
	ok(accel_queue_finish(f->queue, 0));
	ok(accel_queue_get_status(f->queue, &status));
	assert_int_equal(status.state, ACCEL_STATE_PENDING);
	assert_true(status.submitted >= 2 && status.completed == status.submitted);
	assert_int_equal(read_word(buffer, 4092), 7);
	status.size = 1;
	fails(accel_event_get_status(event, &status), -EINVAL);
	fails(accel_event_get_status(event, NULL), -EINVAL);
	accel_event_destroy(event);
	accel_buffer_destroy(buffer);
}

/* Queue by queue, each waits for the one before: a relay through one word. */
static void dependencies(void **state)
{
	enum { QUEUES = 4, LAPS = 40 };
	struct fixture *f = *state;
	struct accel_buffer *track = make_buffer(f, (QUEUES * LAPS + 1) * 4096ull, CARD);
	struct accel_queue *queues[QUEUES];
	struct accel_event *last, *event = NULL;

	for (int i = 0; i < QUEUES; i++)
		ok(accel_queue_create(f->context, ACCEL_PRIORITY_MEDIUM, &queues[i]));
	begin_long(f, f->queue);
	ok(accel_fill_async(f->queue, track, 0, 4096, 0xcafe, &last));
	for (uint64_t i = 0; i < QUEUES * LAPS; i++) {
		ok(accel_queue_wait_events(queues[i % QUEUES], 1, &last));
		accel_event_destroy(last);
		ok(accel_copy_async(queues[i % QUEUES], track, (i + 1) * 4096, track, i * 4096, 4096,
				    &event));
		last = event;
	}
	assert_int_equal(accel_event_query(last), -EBUSY);
	end_long(f);
	ok(accel_event_wait(last, ACCEL_FOREVER));
	assert_int_equal(read_word(track, QUEUES * LAPS * 4096), 0xcafe);
	accel_event_destroy(last);
	for (int i = 0; i < QUEUES; i++)
		accel_queue_destroy(queues[i]);
	accel_buffer_destroy(track);
}

/* More dependencies than a job has room for, some on the queue itself, some long done. */
static void many_dependencies(void **state)
{
	enum { QUEUES = 6 };
	struct fixture *f = *state;
	struct accel_buffer *buffer = make_buffer(f, 65536, CARD);
	struct accel_queue *queues[QUEUES];
	struct accel_event *all[QUEUES * 2 + 2], *end;
	unsigned int count = 0;

	ok(accel_fill_async(f->queue, buffer, 0, 4, 1, &all[count++]));
	ok(accel_queue_finish(f->queue, ACCEL_FOREVER));
	begin_long(f, f->queue);
	for (int i = 0; i < QUEUES; i++) {
		ok(accel_queue_create(f->context, ACCEL_PRIORITY_LOW, &queues[i]));
		for (int j = 0; j < 2; j++)
			ok(accel_fill_async(queues[i], buffer, 4096u * (unsigned int)(i + 1), 4096,
					    (uint32_t)(10 + i + j), &all[count++]));
	}
	ok(accel_fill_async(f->queue, buffer, 0, 4, 2, &all[count++]));
	ok(accel_queue_wait_events(f->queue, count, all));
	ok(accel_queue_wait_events(f->queue, 0, NULL));
	fails(accel_queue_wait_events(f->queue, 1, NULL), -EINVAL);
	fails(accel_queue_wait_events(f->queue, 1, (struct accel_event *[]){ NULL }), -EINVAL);
	ok(accel_copy_async(f->queue, buffer, 40960, buffer, 4096, 4096 * QUEUES > 20480 ? 20480 : 4096,
			    &end));
	end_long(f);
	ok(accel_event_wait(end, ACCEL_FOREVER));
	for (uint64_t i = 0; i < 5; i++)
		assert_int_equal(read_word(buffer, 40960 + i * 4096), 11 + i);
	while (count)
		accel_event_destroy(all[--count]);
	accel_event_destroy(end);
	for (int i = 0; i < QUEUES; i++)
		accel_queue_destroy(queues[i]);
	accel_buffer_destroy(buffer);
}

#define LARGE	(1u << 20)

/* A chain that goes to and fro between two open devices: of two cards, if there are. */
static void between_devices(struct fixture *f, struct accel_queue *there, struct accel_buffer *mine,
			    struct accel_buffer *theirs)
{
	enum { ROUNDS = 8 };

	for (uint64_t round = 1; round <= ROUNDS; round++) {
		struct accel_event *event;

		/* Much work, so that the event is not done when the other queue hears of it. */
		for (int i = 0; i < 8; i++)
			ok(accel_fill_async(f->queue, mine, 0, LARGE, (uint32_t)round + 100, NULL));
		ok(accel_fill_async(f->queue, mine, 0, LARGE, (uint32_t)round, &event));
		ok(accel_queue_wait_events(there, 1, &event));
		accel_event_destroy(event);
		/* The card there reads what the card here has written to memory of the process. */
		ok(accel_copy_async(there, theirs, LARGE, theirs, 0, LARGE, &event));
		ok(accel_queue_wait_events(f->queue, 1, &event));
		ok(accel_fill_async(f->queue, mine, 0, LARGE, 0, NULL));
		ok(accel_event_wait(event, ACCEL_FOREVER));
		accel_event_destroy(event);
		ok(accel_queue_finish(f->queue, ACCEL_FOREVER));
		assert_int_equal(read_word(theirs, LARGE), round);
		assert_int_equal(read_word(theirs, 2 * LARGE - 4), round);
		assert_int_equal(read_word(theirs, 0), 0);
	}
}

static void other_device(void **state)
{
	struct fixture *f = *state;
	void *memory = aligned_alloc(4096, 2 * LARGE);
	struct accel_buffer *mine, *theirs;
	struct accel_event *events[2];
	struct accel_device *device;
	struct accel_context *context;
	struct accel_queue *queue;

	assert_non_null(memory);
	memset(memory, 0, 2 * LARGE);
	ok(accel_device_open(accel_device_count() > 1 ? 1 : 0, &device));
	ok(accel_context_create(device, 0, &context));
	ok(accel_queue_create(context, ACCEL_PRIORITY_MEDIUM, &queue));
	ok(accel_host_register(f->context, memory, 2 * LARGE, 0, &mine));
	ok(accel_host_register(context, memory, 2 * LARGE, 0, &theirs));
	between_devices(f, queue, mine, theirs);
	/* Beside one of the queue's own device; with the other device closed behind it. */
	ok(accel_fill_async(f->queue, mine, 0, LARGE, 7, &events[0]));
	ok(accel_fill_async(queue, theirs, LARGE, 8, 9, &events[1]));
	ok(accel_queue_wait_events(queue, 2, events));
	ok(accel_copy(queue, theirs, LARGE, theirs, 0, LARGE));
	assert_int_equal(read_word(theirs, 2 * LARGE - 4), 7);
	accel_event_destroy(events[1]);
	accel_buffer_destroy(theirs);
	accel_queue_destroy(queue);
	accel_context_destroy(context);
	accel_device_close(device);
	ok(accel_event_wait(events[0], ACCEL_FOREVER));
	accel_event_destroy(events[0]);
	accel_buffer_destroy(mine);
	free(memory);
}

/* Enough to go round the command memory several times, without waiting in between. */
static void many_in_flight(void **state)
{
	enum { COUNT = 6000 };
	struct fixture *f = *state;
	struct accel_buffer *buffer = make_buffer(f, 4096 * 4, CARD);
	struct accel_event *events[8] = { NULL };
	struct accel_status status;

	for (uint32_t i = 0; i < COUNT; i++) {
		accel_event_destroy(events[i % 8]);
		ok(accel_fill_async(f->queue, buffer, i % 4096 * 4, 4, i + 1, &events[i % 8]));
	}
	for (uint32_t i = 0; i < 8; i++) {
		ok(accel_event_wait(events[i], ACCEL_FOREVER));
		accel_event_destroy(events[i]);
	}
	for (uint32_t i = 0; i < 4096; i += 17)
		assert_int_equal(read_word(buffer, i * 4), i + 1 + (i < COUNT - 4096 ? 4096 : 0));
	accel_status_init(&status);
	ok(accel_queue_get_status(f->queue, &status));
	assert_int_equal(status.submitted, COUNT);
	assert_int_equal(status.completed, COUNT);
	accel_buffer_destroy(buffer);
}

/* Large batches between small ones: they have memory of their own. */
static void large_and_small(void **state)
{
	enum { N = 8, COUNT = 400 };
	struct fixture *f = *state;
	struct accel_buffer *buffers[3];
	struct accel_matmul *p = calloc(COUNT, sizeof(*p));
	float unit[N][N] = { { 0 } }, one[N][N], result[N][N];

	assert_non_null(p);
	for (int i = 0; i < 3; i++)
		buffers[i] = make_buffer(f, sizeof(unit), CARD);
	for (int i = 0; i < N; i++) {
		unit[i][i] = 1;
		for (int j = 0; j < N; j++)
			one[i][j] = 1;
	}
	ok(accel_buffer_write(buffers[0], 0, unit, sizeof(unit)));
	ok(accel_buffer_write(buffers[1], 0, one, sizeof(one)));
	for (int i = 0; i < COUNT; i++) {
		accel_matmul_init(&p[i]);
		p[i].flags = ACCEL_MATMUL_ACCUMULATE;
		p[i].m = p[i].n = p[i].k = N;
		p[i].a = (struct accel_matrix){ .buffer = buffers[0], .type = ACCEL_TYPE_F32 };
		p[i].b = (struct accel_matrix){ .buffer = buffers[1] };
		p[i].d = (struct accel_matrix){ .buffer = buffers[2] };
	}
	/* The arena is free again although the last to finish did not use it. */
	ok(accel_matmul_async(f->queue, p, NULL));
	ok(accel_matmul_many_async(f->queue, p, COUNT, NULL));
	ok(accel_queue_finish(f->queue, ACCEL_FOREVER));
	for (unsigned int i = 0; i < 10; i++) {
		ok(accel_matmul_many_async(f->queue, p, COUNT, NULL));
		for (unsigned int j = 0; j <= i; j++)
			ok(accel_matmul_many_async(f->queue, p, 1 + 20 * j, NULL));
	}
	ok(accel_queue_finish(f->queue, ACCEL_FOREVER));
	ok(accel_buffer_read(buffers[2], 0, result, sizeof(result)));
	/* 11 * COUNT + 1 + the sum over i of the sum over j <= i of 1 + 20 j */
	assert_true(result[3][4] == 11 * COUNT + 1 + 55 + 20 * 165);
	for (int i = 0; i < 3; i++)
		accel_buffer_destroy(buffers[i]);
	free(p);
}

static void destroy_cancels(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *buffer = make_buffer(f, 4096, CARD);
	struct accel_queue *queue, *other;
	struct accel_event *first, *second, *after;
	struct accel_status status;

	ok(accel_queue_create(f->context, ACCEL_PRIORITY_MEDIUM, &queue));
	ok(accel_queue_create(f->context, ACCEL_PRIORITY_MEDIUM, &other));
	begin_long(f, queue);
	ok(accel_fill_async(queue, buffer, 0, 4, 1, &first));
	ok(accel_fill_async(queue, buffer, 0, 4, 2, &second));
	ok(accel_queue_wait_events(other, 1, &second));
	accel_queue_destroy(queue);
	fails(accel_event_wait(first, ACCEL_FOREVER), -ECANCELED);
	expect_detail("canceled");
	fails(accel_event_wait(second, 0), -ECANCELED);
	fails(accel_event_query(second), -ECANCELED);
	accel_status_init(&status);
	ok(accel_event_get_status(second, &status));
	assert_int_equal(status.state, ACCEL_STATE_FAILED);
	assert_int_equal(status.reason, ACCEL_REASON_CANCELED);
	assert_int_equal(status.error, -ECANCELED);
	end_long(f);
	/* A dependency on work that was canceled orders, no more. */
	ok(accel_fill_async(other, buffer, 0, 4, 3, &after));
	ok(accel_event_wait(after, ACCEL_FOREVER));
	assert_int_equal(read_word(buffer, 0), 3);
	accel_event_destroy(first);
	accel_event_destroy(second);
	accel_event_destroy(after);
	accel_queue_destroy(other);
	accel_buffer_destroy(buffer);
}

/* A real fault: the driver loses the mapping that the library believes in. */
static void fault(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *good = make_buffer(f, 4096, CARD), *lost = make_buffer(f, 4096, CARD);
	struct accel_event *before, *guilty, *behind;
	struct accel_status status;
	struct accel_queue *queue;

	ok(accel_queue_create(f->context, ACCEL_PRIORITY_MEDIUM, &queue));
	steal_mapping(lost);
	begin_long(f, queue);
	ok(accel_fill_async(queue, good, 0, 4096, 5, &before));
	ok(accel_fill_async(queue, lost, 64, 64, 6, &guilty));
	ok(accel_fill_async(queue, good, 0, 4096, 7, &behind));
	end_long(f);
	fails(accel_event_wait(behind, ACCEL_FOREVER), -ECANCELED);
	fails(accel_event_wait(guilty, ACCEL_FOREVER), -EFAULT);
	expect_detail("the card faulted: write of address");
	expect_detail("(not mapped) by FILL");
	ok(accel_event_wait(before, 0));
	assert_int_equal(read_word(good, 0), 5);
	accel_status_init(&status);
	ok(accel_event_get_status(guilty, &status));
	assert_int_equal(status.reason, ACCEL_REASON_FAULT);
	assert_int_equal(status.error, -EFAULT);
	assert_int_equal(status.fault_access, 1);
	assert_int_equal(status.fault_address & ~63ull, accel_buffer_address(lost) + 64);
	fails(accel_queue_finish(queue, ACCEL_FOREVER), -EFAULT);
	fails(accel_fill(queue, good, 0, 4, 1), -ECANCELED);
	expect_detail("accel_fill: the queue has stopped: the card faulted: write");
	ok(accel_queue_get_status(queue, &status));
	assert_int_equal(status.state, ACCEL_STATE_FAILED);
	assert_int_equal(status.reason, ACCEL_REASON_FAULT);
	assert_int_equal(status.completed, status.submitted);
	accel_queue_destroy(queue);
	/* The reason outlives the queue, and the other queue did not notice. */
	fails(accel_event_wait(guilty, 0), -EFAULT);
	ok(accel_fill(f->queue, good, 0, 4, 8));
	accel_event_destroy(before);
	accel_event_destroy(guilty);
	accel_event_destroy(behind);
	accel_buffer_destroy(good);
	accel_buffer_destroy(lost);
}

#ifndef ACCEL_TEST_FAKE
/* Readable within a time that no machine needs; what it has counted. */
static uint64_t notified(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t count = 0;

	assert_int_equal(poll(&p, 1, 60000), 1);
	assert_int_equal(p.revents, POLLIN);
	assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
	return count;
}

/* As an event loop waits: for the descriptor only. */
static int loop_until_done(int fd, struct accel_event *event)
{
	int ret;

	while ((ret = accel_event_query(event)) == -EBUSY)
		notified(fd);
	return ret;
}

static void event_loop(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *buffer = make_buffer(f, 4096, CARD);
	struct accel_event *event, *events[50];
	struct accel_queue *queue;
	int fd, other, flags;
	uint64_t count;

	fails(accel_queue_get_event_fd(NULL, &fd), -EINVAL);
	fails(accel_queue_get_event_fd(f->queue, NULL), -EINVAL);
	ok(accel_queue_create(f->context, ACCEL_PRIORITY_MEDIUM, &queue));
	/* What was submitted before counts as well. */
	begin_long(f, queue);
	ok(accel_fill_async(queue, buffer, 0, 4096, 1, &event));
	ok(accel_queue_get_event_fd(queue, &fd));
	flags = fcntl(fd, F_GETFL);
	assert_true(flags >= 0 && flags & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_true(notified(fd) >= 1);		/* once at the beginning */
	ok(loop_until_done(fd, event));
	accel_event_destroy(event);
	end_long(f);
	/* One by one, then many; each is told of. */
	for (uint32_t i = 0; i < 200; i++) {
		ok(accel_fill_async(queue, buffer, 0, 4096, i, &event));
		ok(loop_until_done(fd, event));
		accel_event_destroy(event);
	}
	for (uint32_t i = 0; i < ARRAY_SIZE(events); i++)
		ok(accel_fill_async(queue, buffer, 0, 4096, i, &events[i]));
	ok(loop_until_done(fd, events[ARRAY_SIZE(events) - 1]));
	for (uint32_t i = 0; i < ARRAY_SIZE(events); i++) {
		ok(accel_event_query(events[i]));
		accel_event_destroy(events[i]);
	}
	/* Further descriptors are of the same, and live as long as they like. */
	ok(accel_queue_get_event_fd(queue, &other));
	assert_int_not_equal(fd, other);
	close(fd);
	ok(accel_fill_async(queue, buffer, 0, 4096, 3, &event));
	ok(loop_until_done(other, event));
	accel_event_destroy(event);
	while (read(other, &count, sizeof(count)) > 0)
		;
	accel_queue_destroy(queue);
	assert_true(notified(other) >= 1);
	close(other);
	accel_buffer_destroy(buffer);
}

/* The loop hears of work that fails, and of that which fails with it. */
static void event_loop_fault(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *lost = make_buffer(f, 4096, CARD);
	struct accel_event *guilty, *behind;
	struct accel_queue *queue;
	int fd;

	ok(accel_queue_create(f->context, ACCEL_PRIORITY_MEDIUM, &queue));
	ok(accel_queue_get_event_fd(queue, &fd));
	steal_mapping(lost);
	ok(accel_fill_async(queue, lost, 0, 64, 6, &guilty));
	if (accel_fill_async(queue, lost, 0, 64, 7, &behind))
		behind = NULL;	/* it is known to have stopped by now */
	fails(loop_until_done(fd, guilty), -EFAULT);
	if (behind)
		fails(loop_until_done(fd, behind), -ECANCELED);
	accel_event_destroy(guilty);
	accel_event_destroy(behind);
	close(fd);
	accel_queue_destroy(queue);
	accel_buffer_destroy(lost);
}
#endif

#ifdef ACCEL_TEST_FAKE
static void reasons(void **state)
{
	static const struct { uint32_t flags, reason; int error; const char *detail; } cases[] = {
		{ DRM_ONPU_QUEUE_TIMEDOUT, ACCEL_REASON_TIMED_OUT, -ETIMEDOUT, "ran longer" },
		{ DRM_ONPU_QUEUE_BAD_PACKET, ACCEL_REASON_BAD_PACKET, -EBADMSG, "malformed" },
		{ DRM_ONPU_QUEUE_INNOCENT, ACCEL_REASON_RESET, -ECONNRESET, "reset" },
		{ DRM_ONPU_QUEUE_DEVICE_LOST, ACCEL_REASON_DEVICE_LOST, -ENODEV, "gone" },
		{ DRM_ONPU_QUEUE_DEAD, ACCEL_REASON_OTHER, -EIO, "no closer reason" },
	};
	struct fixture *f = *state;
	struct accel_buffer *buffer = make_buffer(f, 4096, CARD);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct accel_status status;
		struct accel_queue *queue;
		struct accel_event *event;

		ok(accel_queue_create(f->context, ACCEL_PRIORITY_MEDIUM, &queue));
		fake_kill_next(cases[i].flags);
		ok(accel_fill_async(queue, buffer, 0, 4, 1, &event));
		fails(accel_event_wait(event, ACCEL_FOREVER), cases[i].error);
		expect_detail(cases[i].detail);
		accel_status_init(&status);
		ok(accel_event_get_status(event, &status));
		assert_int_equal(status.reason, cases[i].reason);
		accel_queue_destroy(queue);
		accel_event_destroy(event);
	}
	accel_buffer_destroy(buffer);
}

/* What the kernel refuses comes back as it is, and nothing leaks (teardown looks). */
static void refused(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *buffer = make_buffer(f, 4096, CARD), *other;
	struct accel_queue *queue;
	struct accel_event *event;
	static const unsigned long requests[] = {
		DRM_IOCTL_SYNCOBJ_CREATE, DRM_IOCTL_ONPU_BO_CREATE, DRM_IOCTL_ONPU_VM_BIND,
		DRM_IOCTL_ONPU_BO_MMAP_OFFSET, DRM_IOCTL_ONPU_QUEUE_CREATE,
	};

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		fake_fail_ioctl(requests[i], -EIO);
		fails(accel_queue_create(f->context, ACCEL_PRIORITY_LOW, &queue), -EIO);
		fake_fail_ioctl(0, 0);
	}
	for (size_t i = 1; i < 3; i++) {
		fake_fail_ioctl(requests[i], -ENOMEM);
		fails(accel_buffer_create(f->context, 4096, CARD, &other), -ENOMEM);
		fake_fail_ioctl(0, 0);
	}
	fake_fail_ioctl(DRM_IOCTL_ONPU_SUBMIT, -ENOSPC);
	for (int i = 0; i < 10000; i++)
		fails(accel_fill_async(f->queue, buffer, 0, 4, 1, &event), -ENOSPC);
	expect_detail("accel_fill_async: the driver refused the submission");
	fake_fail_ioctl(0, 0);
	ok(accel_fill(f->queue, buffer, 0, 4, 1));
	accel_buffer_destroy(buffer);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(create_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(events, setup, teardown),
		cmocka_unit_test_setup_teardown(dependencies, setup, teardown),
		cmocka_unit_test_setup_teardown(many_dependencies, setup, teardown),
		cmocka_unit_test_setup_teardown(other_device, setup, teardown),
		cmocka_unit_test_setup_teardown(many_in_flight, setup, teardown),
		cmocka_unit_test_setup_teardown(large_and_small, setup, teardown),
		cmocka_unit_test_setup_teardown(destroy_cancels, setup, teardown),
		cmocka_unit_test_setup_teardown(fault, setup, teardown),
#ifndef ACCEL_TEST_FAKE
		cmocka_unit_test_setup_teardown(event_loop, setup, teardown),
		cmocka_unit_test_setup_teardown(event_loop_fault, setup, teardown),
#endif
#ifdef ACCEL_TEST_FAKE
		cmocka_unit_test_setup_teardown(reasons, setup, teardown),
		cmocka_unit_test_setup_teardown(refused, setup, teardown),
#endif
	};

#ifndef ACCEL_TEST_FAKE
	/* The test "fault" makes the card complain of an address. */
	printf("# expect-card-errors\n# expect-kernel: fault\n");
	fflush(stdout);
#endif
	return run_group("queues", tests);
}

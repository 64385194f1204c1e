/* SPDX-License-Identifier: MIT */
/*
 * Buffers that others have too: in another context, another process, on another card, or from
 * another exporter; and the order of work on them.
 *
 * "libaccel-share consumer FD CARD" is the other process: see consumer().
 */
#define _GNU_SOURCE
#include "common.h"

#include <drm.h>
#include <drm/onpu_accel.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CARD ACCEL_BUFFER_CARD
#define HOST ACCEL_BUFFER_HOST
#define SHARED ACCEL_BUFFER_SHAREABLE
#define READ ACCEL_ACCESS_READ
#define WRITE ACCEL_ACCESS_WRITE
#define SIZE (64u << 10)

/* Another context, on card @card. */
static void open_side(struct fixture *side, unsigned int card)
{
	memset(side, 0, sizeof(*side));
	ok(accel_device_open(card, &side->device));
	ok(accel_context_create(side->device, 0, &side->context));
	ok(accel_queue_create(side->context, ACCEL_PRIORITY_MEDIUM, &side->queue));
}

static void close_side(struct fixture *side)
{
	accel_queue_destroy(side->queue);
	accel_context_destroy(side->context);
	accel_device_close(side->device);
}

static struct accel_buffer *import(struct fixture *side, int fd, uint32_t flags)
{
	struct accel_buffer *buffer;

	ok(accel_buffer_import(side->context, fd, flags, &buffer));
	return buffer;
}

/* The same memory on the other side. */
static struct accel_buffer *share(struct accel_buffer *buffer, struct fixture *side)
{
	struct accel_buffer *other;
	int fd;

	ok(accel_buffer_export(buffer, 0, &fd));
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	other = import(side, fd, 0);
	close(fd);
	return other;
}

#ifdef ACCEL_TEST_MODEL
/* Of the model's kernel (../../libaccel/model/mk.h): jobs that have not started wait. */
void mk_queue_hold(bool hold);
#endif

#ifndef ACCEL_TEST_FAKE
/* Says what failed in a process without cmocka. */
#define MUST(call) do { \
	if (call) { \
		printf("# consumer: %s: %s\n", #call, accel_error_detail()); \
		return 1; \
	} \
} while (0)
#endif

static uint32_t word_at(struct accel_buffer *buffer, uint64_t offset)
{
	uint32_t word;

	ok(accel_buffer_read(buffer, offset, &word, sizeof(word)));
	return word;
}

static struct accel_buffer_info info_of(struct accel_buffer *buffer)
{
	struct accel_buffer_info info;

	accel_buffer_info_init(&info);
	ok(accel_buffer_get_info(buffer, &info));
	return info;
}

/* ---- export and import ---- */

static void between_contexts(void **state)
{
	static const uint32_t places[] = { CARD | SHARED, HOST | SHARED };
	struct accel_buffer *mine, *theirs, *again;
	struct accel_buffer_info info;
	struct fixture *f = *state, other;

	open_side(&other, 0);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		mine = make_buffer(f, SIZE - 100, places[i]);
		ok(accel_fill(f->queue, mine, 0, SIZE - 100, 0x11));
		theirs = share(mine, &other);
		info = info_of(theirs);
		assert_int_equal(info.origin, ACCEL_ORIGIN_IMPORTED);
		assert_int_equal(info.bytes, SIZE);	/* whole pages */
		assert_int_equal(accel_buffer_size(theirs), SIZE);
		assert_true(info.flags & SHARED);
#ifndef ACCEL_TEST_FAKE
		assert_string_equal(info.exporter, "onpu");
		assert_int_equal(info.location, places[i] & CARD ? ACCEL_LOCATION_CARD : ACCEL_LOCATION_HOST);
#endif
		assert_int_equal(word_at(theirs, 64), 0x11);
		ok(accel_fill(other.queue, theirs, 64, 4, 0x22));
		assert_int_equal(word_at(mine, 64), 0x22);
		/* An import can be handed on, and outlives what it came from. */
		accel_buffer_destroy(mine);
		again = share(theirs, f);
		accel_buffer_destroy(theirs);
		ok(accel_fill(f->queue, again, 68, 4, 0x33));
		assert_int_equal(word_at(again, 64), 0x22);
		assert_int_equal(word_at(again, 68), 0x33);
		accel_buffer_destroy(again);
	}
	close_side(&other);
}

/* The kernel has one handle for all imports of a dma-buf: none may take it from the others. */
static void within_a_device(void **state)
{
	struct accel_buffer *mine, *copies[6];
	struct accel_context *context;
	struct fixture *f = *state, other;

	ok(accel_context_create(f->device, 0, &context));
	other = *f;
	other.context = context;
	ok(accel_queue_create(context, ACCEL_PRIORITY_MEDIUM, &other.queue));
	mine = make_buffer(f, SIZE, CARD | SHARED);
	for (size_t i = 0; i < ARRAY_SIZE(copies); i++)
		copies[i] = share(mine, i % 2 ? f : &other);
	ok(accel_fill(f->queue, mine, 0, SIZE, 5));
	/* Aliases of one memory in one context. */
	fails(accel_copy(f->queue, copies[1], 0, mine, 4, 100), -EINVAL);
	expect_detail("target and source overlap");
	ok(accel_copy(f->queue, copies[1], 0, mine, 200, 100));
	accel_buffer_destroy(mine);
	for (size_t i = 0; i < ARRAY_SIZE(copies); i++) {
		ok(accel_fill(i % 2 ? f->queue : other.queue, copies[i], 4 * i, 4, 10 + (uint32_t)i));
		assert_int_equal(word_at(copies[ARRAY_SIZE(copies) - 1], 4 * i), 10 + i);
		assert_int_equal(info_of(copies[i]).bytes, SIZE);
		ok(accel_buffer_advise(copies[i], ACCEL_ADVICE_PREFETCH));
		if (i != ARRAY_SIZE(copies) - 1)
			accel_buffer_destroy(copies[i]);
	}
	mine = share(copies[ARRAY_SIZE(copies) - 1], &other);
	accel_buffer_destroy(copies[ARRAY_SIZE(copies) - 1]);
	assert_int_equal(word_at(mine, 8), 12);
	accel_buffer_destroy(mine);
	accel_queue_destroy(other.queue);
	accel_context_destroy(context);
}

static void read_only(void **state)
{
	struct accel_buffer *mine, *theirs;
	struct fixture *f = *state, other;
	int fd;

	open_side(&other, 0);
	mine = make_buffer(f, SIZE, CARD | SHARED);
	ok(accel_buffer_export(mine, 0, &fd));
	theirs = import(&other, fd, ACCEL_BUFFER_CARD_READONLY);
	close(fd);
	assert_true(info_of(theirs).flags & ACCEL_BUFFER_CARD_READONLY);
	fails(accel_fill(other.queue, theirs, 0, 4, 1), -EACCES);
	ok(accel_fill(f->queue, mine, 0, 4, 1));
	assert_int_equal(word_at(theirs, 0), 1);
	accel_buffer_destroy(theirs);
	accel_buffer_destroy(mine);
	close_side(&other);
}

static void errors(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *untouched = (struct accel_buffer *)state, *buffer = untouched;
	struct accel_buffer *private = make_buffer(f, SIZE, CARD);
	struct accel_buffer *shared = make_buffer(f, SIZE, CARD | SHARED);
	struct accel_context *context;
	struct accel_buffer *foreign;
	int fd = -7, null;

	fails(accel_buffer_export(NULL, 0, &fd), -EINVAL);
	fails(accel_buffer_export(shared, 0, NULL), -EINVAL);
	fails(accel_buffer_export(shared, 1, &fd), -EINVAL);
	fails(accel_buffer_export(private, 0, &fd), -EPERM);
	expect_detail("accel_buffer_export: the buffer was created without ACCEL_BUFFER_SHAREABLE");
	assert_int_equal(fd, -7);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	fails(accel_buffer_import(NULL, null, 0, &buffer), -EINVAL);
	fails(accel_buffer_import(f->context, null, 0, NULL), -EINVAL);
	fails(accel_buffer_import(f->context, null, CARD, &buffer), -EINVAL);
	fails(accel_buffer_import(f->context, null, 0, &buffer), -EINVAL);
	expect_detail("is no dma-buf, or one that is not made of whole pages");
	close(null);
	fails(accel_buffer_import(f->context, null, 0, &buffer), -EBADF);
	expect_detail("is not open");
	fails(accel_buffer_import(f->context, -1, 0, &buffer), -EBADF);
	assert_ptr_equal(buffer, untouched);

	ok(accel_context_create(f->device, 0, &context));
	ok(accel_buffer_create(context, SIZE, CARD | SHARED, &foreign));
	fails(accel_queue_acquire(NULL, shared, READ), -EINVAL);
	fails(accel_queue_acquire(f->queue, NULL, READ), -EINVAL);
	fails(accel_queue_acquire(f->queue, shared, 0), -EINVAL);
	fails(accel_queue_acquire(f->queue, shared, 4), -EINVAL);
	expect_detail("accel_queue_acquire: access 0x4 is not made of ACCEL_ACCESS_READ and");
	fails(accel_queue_acquire(f->queue, foreign, READ), -EXDEV);
	fails(accel_queue_acquire(f->queue, private, READ), -EPERM);
	fails(accel_queue_release(NULL, shared, READ), -EINVAL);
	fails(accel_queue_release(f->queue, NULL, WRITE), -EINVAL);
	fails(accel_queue_release(f->queue, shared, 0), -EINVAL);
	fails(accel_queue_release(f->queue, foreign, WRITE), -EXDEV);
	fails(accel_queue_release(f->queue, private, WRITE), -EPERM);
	fails(accel_buffer_wait(NULL, READ, 0), -EINVAL);
	fails(accel_buffer_wait(shared, 0, 0), -EINVAL);
	fails(accel_buffer_wait(private, READ, 0), -EPERM);
	accel_buffer_destroy(foreign);
	accel_context_destroy(context);
	accel_buffer_destroy(private);
	accel_buffer_destroy(shared);
}

/* ---- order ---- */

/* What one writes, the other reads after it. */
static void write_then_read(void **state)
{
	struct accel_buffer *mine, *theirs, *result;
	struct fixture *f = *state, other;
	struct accel_event *event;

	open_side(&other, 0);
	mine = make_buffer(f, SIZE, CARD | SHARED);
	theirs = share(mine, &other);
	result = make_buffer(&other, SIZE, HOST);
	/* Nothing to wait for yet, nothing to release. */
	ok(accel_queue_acquire(other.queue, theirs, READ | WRITE));
	ok(accel_queue_release(other.queue, theirs, READ | WRITE));
	ok(accel_buffer_wait(mine, WRITE, ACCEL_FOREVER));

	begin_long(f, f->queue);
	ok(accel_fill_async(f->queue, mine, 0, SIZE, 0x600d, NULL));
	ok(accel_queue_release(f->queue, mine, WRITE));
	ok(accel_queue_acquire(other.queue, theirs, READ));
	ok(accel_copy_async(other.queue, result, 0, theirs, 0, SIZE, &event));
	fails(accel_event_query(event), -EBUSY);
	fails(accel_buffer_wait(theirs, READ, 0), -ETIME);
	expect_detail("accel_buffer_wait: not done in 0 ns");
	fails(accel_buffer_wait(theirs, READ, 1000000), -ETIME);
	fails(accel_buffer_wait(mine, WRITE, 0), -ETIME);
	end_long(f);
	ok(accel_buffer_wait(theirs, READ, ACCEL_FOREVER));
	ok(accel_event_wait(event, ACCEL_FOREVER));
	assert_int_equal(word_at(result, SIZE - 4), 0x600d);
	accel_event_destroy(event);
	accel_buffer_destroy(mine);
	accel_buffer_destroy(theirs);
	accel_buffer_destroy(result);
	close_side(&other);
}

/* What one still reads, the other does not overwrite; to read it too is no reason to wait. */
static void read_then_write(void **state)
{
	struct accel_buffer *mine, *theirs, *result;
	struct fixture *f = *state, other;
	struct accel_event *event;

	open_side(&other, 0);
	mine = make_buffer(f, SIZE, CARD | SHARED);
	theirs = share(mine, &other);
	result = make_buffer(f, SIZE, HOST);
	ok(accel_fill(f->queue, mine, 0, SIZE, 1));
	begin_long(f, f->queue);
	ok(accel_copy_async(f->queue, result, 0, mine, 0, SIZE, NULL));
	ok(accel_queue_release(f->queue, mine, READ));
	ok(accel_buffer_wait(theirs, READ, 0));
	fails(accel_buffer_wait(theirs, WRITE, 0), -ETIME);
#ifndef ACCEL_TEST_FAKE	/* whose hold holds all */
	{
		struct accel_buffer *copy = make_buffer(&other, SIZE, HOST);

		ok(accel_queue_acquire(other.queue, theirs, READ));
		ok(accel_copy(other.queue, copy, 0, theirs, 0, SIZE));
		fails(accel_buffer_wait(theirs, WRITE, 0), -ETIME);
		accel_buffer_destroy(copy);
	}
#endif
	ok(accel_queue_acquire(other.queue, theirs, WRITE));
	ok(accel_fill_async(other.queue, theirs, 0, SIZE, 2, &event));
	fails(accel_event_query(event), -EBUSY);
	end_long(f);
	ok(accel_event_wait(event, ACCEL_FOREVER));
	ok(accel_queue_finish(f->queue, ACCEL_FOREVER));
	assert_int_equal(word_at(result, SIZE - 4), 1);
	assert_int_equal(word_at(mine, SIZE - 4), 2);
	accel_event_destroy(event);
	accel_buffer_destroy(mine);
	accel_buffer_destroy(theirs);
	accel_buffer_destroy(result);
	close_side(&other);
}

enum { ROUNDS = 12 };

/*
 * A value goes back and forth between two sides that never wait for each other by the CPU: each
 * round one side writes it, the other takes a copy.
 */
static void ping_pong(struct fixture *a, struct fixture *b)
{
	struct accel_buffer *mine = make_buffer(a, SIZE, CARD | SHARED), *theirs = share(mine, b);
	struct accel_buffer *result = make_buffer(b, ROUNDS * SIZE, HOST);

	for (uint32_t i = 0; i < ROUNDS; i++) {
		ok(accel_queue_acquire(a->queue, mine, WRITE));
		ok(accel_fill_async(a->queue, mine, 0, SIZE, 100 + i, NULL));
		ok(accel_queue_release(a->queue, mine, WRITE));
		ok(accel_queue_acquire(b->queue, theirs, READ));
		ok(accel_copy_async(b->queue, result, i * SIZE, theirs, 0, SIZE, NULL));
		ok(accel_queue_release(b->queue, theirs, READ));
	}
	ok(accel_queue_finish(b->queue, ACCEL_FOREVER));
	for (uint32_t i = 0; i < ROUNDS; i++) {
		assert_int_equal(word_at(result, i * SIZE), 100 + i);
		assert_int_equal(word_at(result, (i + 1) * SIZE - 4), 100 + i);
	}
	ok(accel_queue_finish(a->queue, ACCEL_FOREVER));
	accel_buffer_destroy(result);
	accel_buffer_destroy(theirs);
	accel_buffer_destroy(mine);
}

static void back_and_forth(void **state)
{
	struct fixture other;

	open_side(&other, 0);
	ping_pong(*state, &other);
	ping_pong(&other, *state);
	close_side(&other);
}

/* More buffers than a job may wait for. */
static void many_buffers(void **state)
{
	enum { COUNT = 20 };
	struct accel_buffer *mine[COUNT], *theirs[COUNT], *result;
	struct fixture *f = *state, other;

	open_side(&other, 0);
	result = make_buffer(&other, COUNT * 4096, HOST);
	for (int i = 0; i < COUNT; i++) {
		mine[i] = make_buffer(f, 4096, CARD | SHARED);
		theirs[i] = share(mine[i], &other);
	}
	begin_long(f, f->queue);
	for (int i = 0; i < COUNT; i++) {
		ok(accel_fill_async(f->queue, mine[i], 0, 4096, 50u + (uint32_t)i, NULL));
		ok(accel_queue_release(f->queue, mine[i], WRITE));
		ok(accel_queue_acquire(other.queue, theirs[i], READ));
	}
	for (int i = 0; i < COUNT; i++)
		ok(accel_copy_async(other.queue, result, (uint64_t)i * 4096, theirs[i], 0, 4096, NULL));
	end_long(f);
	ok(accel_queue_finish(other.queue, ACCEL_FOREVER));
	for (int i = 0; i < COUNT; i++) {
		assert_int_equal(word_at(result, (uint64_t)i * 4096), 50 + i);
		accel_buffer_destroy(mine[i]);
		accel_buffer_destroy(theirs[i]);
	}
	accel_buffer_destroy(result);
	close_side(&other);
}

/* What was acquired and never submitted goes with the queue. */
static void acquired_for_nothing(void **state)
{
	struct fixture *f = *state, other;
	struct accel_buffer *mine, *theirs;

	open_side(&other, 0);
	mine = make_buffer(f, SIZE, CARD | SHARED);
	theirs = share(mine, &other);
	begin_long(f, f->queue);
	ok(accel_fill_async(f->queue, mine, 0, SIZE, 1, NULL));
	ok(accel_queue_release(f->queue, mine, WRITE));
	ok(accel_queue_acquire(other.queue, theirs, WRITE));
	ok(accel_queue_acquire(other.queue, theirs, READ));
	accel_buffer_destroy(theirs);
	close_side(&other);
	end_long(f);
	ok(accel_queue_finish(f->queue, ACCEL_FOREVER));
	accel_buffer_destroy(mine);
}

/* Threads that watch a queue while it changes its kind. */
struct watcher {
	struct fixture *f;
	struct accel_event *event;
	atomic_bool over;
};

static void *watch(void *arg)
{
	struct watcher *w = arg;
	struct accel_status status;

	accel_status_init(&status);
	while (!atomic_load(&w->over)) {
		if (accel_queue_get_status(w->f->queue, &status) || status.state == ACCEL_STATE_FAILED ||
		    accel_event_wait(w->event, ACCEL_FOREVER))
			return (void *)1;
	}
	return NULL;
}

static void *submit_behind(void *arg)
{
	struct watcher *w = arg;
	struct accel_context *context;
	struct accel_buffer *buffer;
	struct accel_queue *queue;
	int ret = 0;

	if (accel_context_create(w->f->device, 0, &context) ||
	    accel_queue_create(context, ACCEL_PRIORITY_MEDIUM, &queue) ||
	    accel_buffer_create(context, 4096, CARD, &buffer))
		return (void *)1;
	while (!atomic_load(&w->over) && !ret) {
		ret = accel_queue_wait_events(queue, 1, &w->event);
		if (!ret)
			ret = accel_fill(queue, buffer, 0, 4, 1);
	}
	accel_buffer_destroy(buffer);
	accel_queue_destroy(queue);
	accel_context_destroy(context);
	return (void *)(intptr_t)ret;
}

/* A context's first shared buffer comes while others wait for its queue, ask for its state and depend on it. */
static void watched_change(void **state)
{
	struct watcher w = { .f = *state };
	struct accel_buffer *plain, *shared;
	pthread_t threads[3];
	void *failed;

	plain = make_buffer(w.f, 4096, CARD);
	/* The queue changes when it has done this; one that is held would not. */
#ifndef ACCEL_TEST_FAKE
	begin_long(w.f, w.f->queue);
#endif
	ok(accel_fill_async(w.f->queue, plain, 0, 4096, 2, &w.event));
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, i ? watch : submit_behind, &w), 0);
	shared = make_buffer(w.f, 4096, CARD | SHARED);
	ok(accel_fill(w.f->queue, shared, 0, 4096, 3));
	atomic_store(&w.over, true);
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
#ifndef ACCEL_TEST_FAKE
	end_long(w.f);
#endif
	assert_int_equal(word_at(plain, 0), 2);
	accel_event_destroy(w.event);
	accel_buffer_destroy(plain);
	accel_buffer_destroy(shared);
}

/*
 * Nothing but events orders two cards: one stores a number into shared memory, the other takes it from there to a
 * place of its own, and tells the first that it may go on. All of it is submitted ahead.
 */
static void events_of_another_card(void **state)
{
	enum { ROUNDS = 60 };
	struct fixture *f = *state, other;
	struct accel_buffer *mine, *theirs, *seen;
	struct accel_event *written, *taken;

	open_side(&other, accel_device_count() > 1);
	mine = make_buffer(f, SIZE, CARD | SHARED);
	theirs = share(mine, &other);
	seen = make_buffer(&other, ROUNDS * 4, CARD);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		ok(accel_fill_async(f->queue, mine, 0, SIZE, 1000 + i, &written));
		ok(accel_queue_wait_events(other.queue, 1, &written));
		ok(accel_copy_async(other.queue, seen, i * 4, theirs, SIZE - 4, 4, &taken));
		ok(accel_queue_wait_events(f->queue, 1, &taken));
		accel_event_destroy(written);
		accel_event_destroy(taken);
	}
	ok(accel_queue_finish(other.queue, ACCEL_FOREVER));
	for (uint32_t i = 0; i < ROUNDS; i++)
		assert_int_equal(word_at(seen, i * 4), 1000 + i);
	accel_buffer_destroy(mine);
	accel_buffer_destroy(theirs);
	accel_buffer_destroy(seen);
	close_side(&other);
}

#ifdef ACCEL_TEST_FAKE

static unsigned int open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* Each step fails; nothing is left behind (teardown() counts the kernel's objects). */
static void each_step_fails(void **state)
{
	static const struct { unsigned long request; bool acquire, release, import, export, wait; } steps[] = {
		{ DRM_IOCTL_PRIME_HANDLE_TO_FD, true, true, false, true, true },
		{ DMA_BUF_IOCTL_EXPORT_SYNC_FILE, true, false, false, false, false },
		{ DRM_IOCTL_SYNCOBJ_CREATE, true, true, false, false, false },
		{ DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, true, false, false, false, false },
		{ DRM_IOCTL_SYNCOBJ_TRANSFER, false, true, false, false, false },
		{ DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, false, true, false, false, false },
		{ DMA_BUF_IOCTL_IMPORT_SYNC_FILE, false, true, false, false, false },
		{ DRM_IOCTL_PRIME_FD_TO_HANDLE, false, false, true, false, false },
		{ DRM_IOCTL_ONPU_BO_INFO, false, false, true, false, false },
		{ DRM_IOCTL_ONPU_VM_BIND, false, false, true, false, false },
	};
	struct fixture *f = *state, other;
	struct accel_buffer *mine, *theirs, *more;
	unsigned int before;
	int fd, none;

	open_side(&other, 0);
	mine = make_buffer(f, SIZE, CARD | SHARED);
	ok(accel_buffer_export(mine, 0, &fd));
	theirs = import(&other, fd, 0);
	begin_long(f, f->queue);
	ok(accel_fill_async(f->queue, mine, 0, SIZE, 1, NULL));
	before = open_descriptors();
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		fake_fail_ioctl(steps[i].request, -ENOMEM);
		if (steps[i].acquire)
			fails(accel_queue_acquire(other.queue, theirs, READ), -ENOMEM);
		if (steps[i].release)
			fails(accel_queue_release(f->queue, mine, WRITE), -ENOMEM);
		if (steps[i].wait)
			fails(accel_buffer_wait(mine, READ, 0), -ENOMEM);
		if (steps[i].export)
			fails(accel_buffer_export(mine, 0, &none), -ENOMEM);
		if (steps[i].import) {
			fails(accel_buffer_import(f->context, fd, 0, &more), -ENOMEM);
			fails(accel_buffer_import(other.context, fd, 0, &more), -ENOMEM);
		}
		assert_non_null(strchr(accel_error_detail(), ':'));
		fake_fail_ioctl(0, 0);
		assert_int_equal(open_descriptors(), before);
	}
	/* And then all is well. */
	more = import(f, fd, 0);
	ok(accel_queue_release(f->queue, more, WRITE));
	ok(accel_queue_acquire(other.queue, theirs, READ));
	assert_int_equal(open_descriptors(), before);
	end_long(f);
	ok(accel_queue_finish(f->queue, ACCEL_FOREVER));
	accel_buffer_destroy(more);
	accel_buffer_destroy(theirs);
	close_side(&other);
	accel_buffer_destroy(mine);
	close(fd);
}

static void too_many_acquired(void **state)
{
	struct fixture *f = *state, other;
	struct accel_buffer *mine, *theirs;

	open_side(&other, 0);
	mine = make_buffer(f, SIZE, CARD | SHARED);
	theirs = share(mine, &other);
	begin_long(f, f->queue);
	ok(accel_fill_async(f->queue, mine, 0, SIZE, 1, NULL));
	ok(accel_queue_release(f->queue, mine, WRITE));
	for (int i = 0; i < 32; i++)
		ok(accel_queue_acquire(other.queue, theirs, READ));
	fails(accel_queue_acquire(other.queue, theirs, READ), -ENOSPC);
	expect_detail("the queue waits for 32 others: submit something first");
	ok(accel_fill_async(other.queue, theirs, 0, 4, 1, NULL));
	ok(accel_queue_acquire(other.queue, theirs, READ));
	end_long(f);
	ok(accel_queue_finish(other.queue, ACCEL_FOREVER));
	accel_buffer_destroy(mine);
	accel_buffer_destroy(theirs);
	close_side(&other);
}

#else

/* ---- matmuls on what somebody else has ---- */

enum { M = 61, N = 47, K = 83, A_BYTES = M * K * 4, B_AT = 24576, D_AT = 45056, ALL = 65536 };

static void write_operands(float *a, float *b)
{
	for (int i = 0; i < M * K; i++)
		a[i] = (float)(i % 19) * 0.73f - 5;
	for (int i = 0; i < K * N; i++)
		b[i] = (float)(i % 31) * 0.17f - 2;
}

static void check_result(const float *a, const float *b, const float *d)
{
	for (int i = 0; i < M; i++) {
		for (int j = 0; j < N; j++) {
			float sum = 0;

			for (int k = 0; k < K; k++)
				sum = __builtin_fmaf(a[i * K + k], b[k * N + j], sum);
			assert_memory_equal(&sum, &d[i * N + j], 4);
		}
	}
}

/* D = A B, all three in one buffer. */
static void describe(struct accel_matmul *p, struct accel_buffer *buffer)
{
	accel_matmul_init(p);
	p->m = M;
	p->n = N;
	p->k = K;
	p->a.buffer = p->b.buffer = p->d.buffer = buffer;
	p->a.type = ACCEL_TYPE_F32;
	p->b.offset = B_AT;
	p->d.offset = D_AT;
}

static void matmul_on(struct fixture *side, struct accel_buffer *buffer, void *memory)
{
	float *a = memory, *b = (float *)((char *)memory + B_AT), *d = (float *)((char *)memory + D_AT);
	struct accel_matmul p;

	write_operands(a, b);
	memset(d, 0xff, M * N * 4);
	describe(&p, buffer);
	ok(accel_matmul(side->queue, &p));
	check_result(a, b, d);
}

/* Another card reaches the memory in the host's; the first goes on with it. */
static void two_cards(void **state)
{
	struct fixture *f = *state, other;
	struct accel_buffer *mine, *theirs;
	void *memory;

	if (accel_device_count() < 2)
		skip();
	open_side(&other, 1);
	mine = make_buffer(f, ALL, CARD | SHARED);
	ok(accel_fill(f->queue, mine, 0, ALL, 7));
	assert_int_equal(info_of(mine).location, ACCEL_LOCATION_CARD);
	theirs = share(mine, &other);
	assert_int_equal(word_at(theirs, ALL - 4), 7);
	assert_int_equal(info_of(mine).location, ACCEL_LOCATION_HOST);
	assert_string_equal(info_of(theirs).exporter, "onpu");
	ok(accel_buffer_map(theirs, &memory));
	matmul_on(&other, theirs, memory);
	matmul_on(f, mine, memory);
	ping_pong(f, &other);
	ping_pong(&other, f);
	/* The exporter lets go first. */
	accel_buffer_destroy(mine);
	matmul_on(&other, theirs, memory);
	accel_buffer_destroy(theirs);
	close_side(&other);
}

static int udmabuf_new(size_t size)
{
	struct udmabuf_create args = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = size };
	int memfd = memfd_create("share", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	int dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), fd = -1;

	if (memfd >= 0 && dev >= 0 && !ftruncate(memfd, (off_t)size) &&
	    !fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK)) {
		args.memfd = (uint32_t)memfd;
		fd = ioctl(dev, UDMABUF_CREATE, &args);
	}
	close(memfd);
	close(dev);
	return fd;
}

static int heap_new(size_t size)
{
	struct dma_heap_allocation_data args = { .len = size, .fd_flags = O_RDWR | O_CLOEXEC };
	int dev = open("/dev/dma_heap/system", O_RDWR | O_CLOEXEC), ret;

	if (dev < 0)
		return -1;
	ret = ioctl(dev, DMA_HEAP_IOCTL_ALLOC, &args);
	close(dev);
	return ret ? -1 : (int)args.fd;
}

static void of_another_exporter(struct fixture *f, int fd, const char *exporter)
{
	struct accel_buffer *buffer;
	void *memory, *mapped;

	if (fd < 0)
		skip();
	memory = mmap(NULL, ALL, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(memory != MAP_FAILED);
	buffer = import(f, fd, 0);
	close(fd);
	assert_string_equal(info_of(buffer).exporter, exporter);
	assert_int_equal(info_of(buffer).location, ACCEL_LOCATION_HOST);
	assert_int_equal(accel_buffer_size(buffer), ALL);
	matmul_on(f, buffer, memory);
	ok(accel_buffer_map(buffer, &mapped));
	matmul_on(f, buffer, mapped);
	assert_memory_equal(mapped, memory, ALL);
	fails(accel_buffer_advise(buffer, ACCEL_ADVICE_PURGEABLE), -EPERM);
	expect_detail("an imported buffer is not this process's alone");
	ok(accel_queue_acquire(f->queue, buffer, WRITE));
	ok(accel_queue_release(f->queue, buffer, WRITE));
	ok(accel_buffer_wait(buffer, WRITE, ACCEL_FOREVER));
	accel_buffer_destroy(buffer);
	munmap(memory, ALL);
}

static void from_udmabuf(void **state)
{
	of_another_exporter(*state, udmabuf_new(ALL), "udmabuf");
}

static void from_a_heap(void **state)
{
	of_another_exporter(*state, heap_new(ALL), "system");
}

/* ---- processes ---- */

static int send_descriptor(int sock, int fd)
{
	union { struct cmsghdr header; char space[CMSG_SPACE(sizeof(int))]; } control = { 0 };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};

	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	return sendmsg(sock, &message, 0) == 1 ? 0 : -1;
}

static int receive_descriptor(int sock)
{
	union { struct cmsghdr header; char space[CMSG_SPACE(sizeof(int))]; } control = { 0 };
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	int fd = -1;

	if (recvmsg(sock, &message, MSG_CMSG_CLOEXEC) == 1 && control.header.cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
	return fd;
}


/*
 * The other process: imports what comes through the socket on its card, multiplies what the
 * sender's card may not have written yet, and says when it has submitted that, not waited for it.
 */
static int consume(int fd, int sock, unsigned int card, bool finish)
{
	struct accel_context *context;
	struct accel_device *device;
	struct accel_buffer *buffer;
	struct accel_queue *queue;
	struct accel_matmul p;
	char byte = 1;

	MUST(accel_device_open(card, &device));
	MUST(accel_context_create(device, 0, &context));
	MUST(accel_queue_create(context, ACCEL_PRIORITY_MEDIUM, &queue));
	MUST(accel_buffer_import(context, fd, 0, &buffer));
	describe(&p, buffer);
	MUST(accel_queue_acquire(queue, buffer, READ | WRITE));
	MUST(accel_matmul_async(queue, &p, NULL));
	MUST(accel_queue_release(queue, buffer, READ | WRITE));
	if (write(sock, &byte, 1) != 1)
		return 2;
	if (finish)
		MUST(accel_queue_finish(queue, ACCEL_FOREVER));
	/* The sender says when it has seen the result. */
	if (read(sock, &byte, 1) != 1)
		return 3;
	accel_buffer_destroy(buffer);
	accel_queue_destroy(queue);
	accel_context_destroy(context);
	accel_device_close(device);
	return 0;
}

static int consumer(int sock, unsigned int card)
{
	int fd = receive_descriptor(sock);

	return fd < 0 ? 4 : consume(fd, sock, card, false);
}

/* The producer's side: A and B arrive by its card, late; D is read when the fences say so. */
static void produce(struct fixture *f, int sock, bool send)
{
	struct accel_buffer *shared = make_buffer(f, ALL, CARD | SHARED);
	struct accel_buffer *source = make_buffer(f, ALL, HOST);
	float *memory, *result = malloc(ALL);
	char byte;
	int fd;

	ok(accel_buffer_map(source, (void **)&memory));
	write_operands(memory, memory + B_AT / 4);
	ok(accel_buffer_export(shared, 0, &fd));
	begin_long(f, f->queue);
	ok(accel_copy_async(f->queue, shared, 0, source, 0, D_AT, NULL));
	ok(accel_queue_release(f->queue, shared, WRITE));
	assert_int_equal(send ? send_descriptor(sock, fd) : (int)write(sock, "", 1) - 1, 0);
	assert_int_equal(read(sock, &byte, 1), 1);
	end_long(f);
	ok(accel_buffer_wait(shared, READ, ACCEL_FOREVER));
	ok(accel_buffer_read(shared, 0, result, ALL));
	check_result(memory, memory + B_AT / 4, result + D_AT / 4);
	assert_int_equal(write(sock, &byte, 1), 1);
	close(fd);
	free(result);
	accel_buffer_destroy(source);
	accel_buffer_destroy(shared);
}

static void between_processes(struct fixture *f, unsigned int card)
{
	char sock[12], number[12];
	int socks[2], status;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, socks), 0);
	snprintf(sock, sizeof(sock), "%d", socks[1]);
	snprintf(number, sizeof(number), "%u", card);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		close(socks[0]);
		execl("/proc/self/exe", "libaccel-share", "consumer", sock, number, NULL);
		_exit(127);
	}
	close(socks[1]);
	produce(f, socks[0], true);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(socks[0]);
}

static void by_a_socket(void **state)
{
	between_processes(*state, 0);
}

static void by_a_socket_on_two_cards(void **state)
{
	if (accel_device_count() < 2)
		skip();
	between_processes(*state, 1);
}

#ifndef __SANITIZE_THREAD__	/* which has no threads in a child */

/* A child inherits the descriptor; it opens the card anew. */
static void inherited(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *shared = make_buffer(f, ALL, CARD | SHARED);
	struct accel_event *event;
	struct accel_matmul p;
	int socks[2], status, fd;
	float *memory;
	char byte = 0;
	pid_t pid;

	ok(accel_buffer_export(shared, 0, &fd));
	ok(accel_buffer_map(shared, (void **)&memory));
	write_operands(memory, memory + B_AT / 4);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, socks), 0);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		close(socks[0]);	/* so that the end of the parent is seen */
		_exit(accel_buffer_export(shared, 0, &fd) != -ECHILD ||
		      accel_buffer_wait(shared, READ, 0) != -ECHILD ||
		      accel_queue_acquire(f->queue, shared, READ) != -ECHILD ||
		      accel_queue_release(f->queue, shared, READ) != -ECHILD ||
		      accel_buffer_advise(shared, ACCEL_ADVICE_EVICT) != -ECHILD ||
		      accel_buffer_import(f->context, fd, 0, &p.a.buffer) != -ECHILD ||
		      accel_host_register(f->context, socks, 4096, 0, &p.a.buffer) != -ECHILD ||
		      consume(fd, socks[1], 0, true));
	}
	close(socks[1]);
	assert_int_equal(read(socks[0], &byte, 1), 1);
	/* After the child's matmul, ours on its result. */
	ok(accel_queue_acquire(f->queue, shared, READ | WRITE));
	describe(&p, shared);
	p.flags = ACCEL_MATMUL_TRANS_B;
	p.a.offset = p.b.offset = D_AT;
	p.m = p.n = M;
	p.k = N;
	p.d.offset = 0;
	ok(accel_matmul_async(f->queue, &p, &event));
	ok(accel_event_wait(event, ACCEL_FOREVER));
	for (int i = 0; i < M; i++) {
		for (int j = 0; j < M; j++) {
			const float *d = memory + D_AT / 4;
			float sum = 0;

			for (int k = 0; k < N; k++)
				sum = __builtin_fmaf(d[i * N + k], d[j * N + k], sum);
			assert_memory_equal(&sum, &memory[i * M + j], 4);
		}
	}
	assert_int_equal(write(socks[0], &byte, 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(socks[0]);
	close(fd);
	accel_event_destroy(event);
	accel_buffer_destroy(shared);
}

/* A process that ends in the middle leaves no one waiting for ever. */
static void the_other_is_killed(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *shared = make_buffer(f, ALL, CARD | SHARED);
	int fd, status, ready[2];
	char byte = 0;
	pid_t pid;

	ok(accel_buffer_export(shared, 0, &fd));
	assert_int_equal(pipe(ready), 0);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		struct accel_buffer *mine;
		struct fixture side;

		open_side(&side, 0);
		mine = import(&side, fd, 0);
#ifdef ACCEL_TEST_MODEL
		mk_queue_hold(true);	/* until it is killed */
#else
		begin_long(&side, side.queue);
#endif
		ok(accel_fill_async(side.queue, mine, 0, ALL, 1, NULL));
		ok(accel_queue_release(side.queue, mine, WRITE));
		if (write(ready[1], &byte, 1) != 1)
			_exit(1);
		pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	fails(accel_buffer_wait(shared, READ, 0), -ETIME);
	ok(accel_queue_acquire(f->queue, shared, WRITE));
	kill(pid, SIGKILL);
	ok(accel_fill(f->queue, shared, 0, ALL, 2));
	assert_int_equal(word_at(shared, 0), 2);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(fd);
	close(ready[0]);
	close(ready[1]);
	accel_buffer_destroy(shared);
}

#endif
#endif

#ifdef ACCEL_TEST_MODEL
/* Another process, with cards of its own: has the same memory, on its card too. */
static int borrower(int fd)
{
	struct accel_context *context;
	struct accel_device *device;
	struct accel_buffer *buffer;
	struct accel_queue *queue;
	uint32_t word;

	MUST(accel_device_open(0, &device));
	MUST(accel_context_create(device, 0, &context));
	MUST(accel_queue_create(context, ACCEL_PRIORITY_MEDIUM, &queue));
	MUST(accel_buffer_import(context, fd, 0, &buffer));
	MUST(accel_buffer_read(buffer, 4096, &word, 4));
	if (word != 7 || ftruncate(fd, 0) != -1)
		return 2;
	MUST(accel_copy(queue, buffer, 0, buffer, 4096, 4096));
	MUST(accel_fill(queue, buffer, 4096, 4096, 9));
	accel_buffer_destroy(buffer);
	accel_queue_destroy(queue);
	accel_context_destroy(context);
	accel_device_close(device);
	return 0;
}

static void by_another_process(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *shared = make_buffer(f, 8192, CARD | SHARED);
	char number[12];
	int fd, status;
	pid_t pid;

	ok(accel_fill(f->queue, shared, 4096, 4096, 7));
	ok(accel_buffer_export(shared, 0, &fd));
	assert_int_equal(fcntl(fd, F_SETFD, 0), 0);
	snprintf(number, sizeof(number), "%d", fd);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		execl("/proc/self/exe", "libaccel-share", "borrower", number, NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(word_at(shared, 0), 7);
	assert_int_equal(word_at(shared, 4096), 9);
	close(fd);
	accel_buffer_destroy(shared);
}
#endif

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(between_contexts, setup, teardown),
		cmocka_unit_test_setup_teardown(within_a_device, setup, teardown),
		cmocka_unit_test_setup_teardown(read_only, setup, teardown),
		cmocka_unit_test_setup_teardown(errors, setup, teardown),
		cmocka_unit_test_setup_teardown(write_then_read, setup, teardown),
		cmocka_unit_test_setup_teardown(read_then_write, setup, teardown),
		cmocka_unit_test_setup_teardown(back_and_forth, setup, teardown),
		cmocka_unit_test_setup_teardown(many_buffers, setup, teardown),
		cmocka_unit_test_setup_teardown(acquired_for_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(watched_change, setup, teardown),
		cmocka_unit_test_setup_teardown(events_of_another_card, setup, teardown),
#ifdef ACCEL_TEST_FAKE
		cmocka_unit_test_setup_teardown(each_step_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(too_many_acquired, setup, teardown),
#else
		cmocka_unit_test_setup_teardown(two_cards, setup, teardown),
#ifdef ACCEL_TEST_MODEL
		cmocka_unit_test_setup_teardown(by_another_process, setup, teardown),
#endif
		cmocka_unit_test_setup_teardown(from_udmabuf, setup, teardown),
		cmocka_unit_test_setup_teardown(from_a_heap, setup, teardown),
		cmocka_unit_test_setup_teardown(by_a_socket, setup, teardown),
		cmocka_unit_test_setup_teardown(by_a_socket_on_two_cards, setup, teardown),
#ifndef __SANITIZE_THREAD__
		cmocka_unit_test_setup_teardown(inherited, setup, teardown),
		cmocka_unit_test_setup_teardown(the_other_is_killed, setup, teardown),
#endif
#endif
	};

#ifndef ACCEL_TEST_FAKE
	if (argc == 4 && !strcmp(argv[1], "consumer"))
		return consumer(atoi(argv[2]), (unsigned int)atoi(argv[3]));
	/* The heap maps its pages for each importer, which DMA debugging takes for a mistake. */
	printf("# expect-kernel: Call Trace|kernel/dma/debug.c.*add_dma_entry\n");
	fflush(stdout);
#else
	(void)argc;
	(void)argv;
#endif
#ifdef ACCEL_TEST_MODEL
	if (argc == 3 && !strcmp(argv[1], "borrower"))
		return borrower(atoi(argv[2]));
#endif
	return run_group("share", tests);
}

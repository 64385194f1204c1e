/* SPDX-License-Identifier: MIT */
/*
 * Fixtures and expectations of the tests of libaccel.
 */
#define _GNU_SOURCE
#include "common.h"

#include <dirent.h>
#include <drm/onpu_accel.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#if defined(ACCEL_TEST_FAKE) || defined(ACCEL_TEST_MODEL)
#include "../../libaccel/src/os.h"
#endif
#ifdef ACCEL_TEST_MODEL
/* Objects that exist in the model's kernel (../../libaccel/model/mk.h). */
unsigned int mk_objects(void);
#endif

#ifdef ACCEL_TEST_QUEUES
/* Before anything is opened, and for processes that the test starts. */
__attribute__((constructor)) static void choose_queues(void)
{
	setenv("ACCEL_QUEUES", ACCEL_TEST_QUEUES, 1);
}
#endif

bool kernel_queues(void)
{
	const char *queues = getenv("ACCEL_QUEUES");

	return queues && !strcmp(queues, "kernel");
}

void expect_result(int result, int wanted, const char *call, const char *file, int line)
{
	if (result == wanted)
		return;
	print_error("%s:%d: %s: %d (%s), wanted %d (%s)\n%s\n", file, line, call, result,
		    strerror(-result), wanted, strerror(-wanted), accel_error_detail());
	_fail(file, line);
}

void expect_detail(const char *part)
{
	if (!strstr(accel_error_detail(), part))
		fail_msg("detail is \"%s\", wanted \"%s\"", accel_error_detail(), part);
}

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
}

int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

#ifdef ACCEL_TEST_FAKE
	fake_set_cards(1);
#endif
	assert_non_null(f);
	ok(accel_device_open(0, &f->device));
	ok(accel_context_create(f->device, 0, &f->context));
	ok(accel_queue_create(f->context, ACCEL_PRIORITY_MEDIUM, &f->queue));
	*state = f;
	return 0;
}

int teardown(void **state)
{
	struct fixture *f = *state;

	accel_queue_destroy(f->queue);
	accel_context_destroy(f->context);
	accel_device_close(f->device);
	free(f);
#ifdef ACCEL_TEST_FAKE
	if (fake_objects()) {
		print_error("%u objects of the kernel leaked\n", fake_objects());
		return -1;
	}
#elif defined(ACCEL_TEST_MODEL)
	if (mk_objects()) {
		print_error("%u objects of the model's kernel leaked\n", mk_objects());
		return -1;
	}
#endif
	return 0;
}

struct accel_buffer *make_buffer(struct fixture *f, uint64_t size, uint32_t flags)
{
	struct accel_buffer *buffer;

	ok(accel_buffer_create(f->context, size, flags, &buffer));
	return buffer;
}

#ifdef ACCEL_TEST_FAKE

void begin_long(struct fixture *f, struct accel_queue *queue)
{
	fake_hold(true);
	f->busy[0] = make_buffer(f, 4096, ACCEL_BUFFER_CARD);
	ok(accel_fill_async(queue, f->busy[0], 0, 4096, 0, NULL));
}

void end_long(struct fixture *f)
{
	fake_hold(false);
	accel_buffer_destroy(f->busy[0]);
}

#else

/*
 * What occupies a queue: matmuls whose number the card's speed decides. Each takes much longer than its
 * submission, also with a model that a sanitizer slows down.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LONG_SIDE	640
#else
#define LONG_SIDE	2048
#endif
#define LONG_NS		(SECOND * 3 / 4)
#define LONG_MOST	400

static void long_matmul(struct fixture *f, struct accel_queue *queue)
{
	struct accel_matmul p;

	accel_matmul_init(&p);
	p.m = p.n = p.k = LONG_SIDE;
	p.a.buffer = f->busy[0];
	p.a.type = ACCEL_TYPE_F32;
	p.b.buffer = f->busy[1];
	p.d.buffer = f->busy[2];
	ok(accel_matmul_async(queue, &p, NULL));
}

/* How many such matmuls take LONG_NS at the quickest that was seen: whoever is slower is only busy for longer. */
static unsigned int long_count(struct fixture *f)
{
	static unsigned int count;
	uint64_t quickest = UINT64_MAX;
	struct accel_queue *queue;

	if (count)
		return count;
	ok(accel_queue_create(f->context, ACCEL_PRIORITY_MEDIUM, &queue));
	for (int i = 0; i < 3; i++) {
		uint64_t start = now_ns();

		long_matmul(f, queue);
		ok(accel_queue_finish(queue, ACCEL_FOREVER));
		if (now_ns() - start < quickest)
			quickest = now_ns() - start;
	}
	accel_queue_destroy(queue);
	count = LONG_NS / (quickest + 1) + 2;
	return count = count < LONG_MOST ? count : LONG_MOST;
}

void begin_long(struct fixture *f, struct accel_queue *queue)
{
	unsigned int count;

	for (int i = 0; i < 3; i++)
		f->busy[i] = make_buffer(f, (uint64_t)LONG_SIDE * LONG_SIDE * 4, ACCEL_BUFFER_CARD);
	for (count = long_count(f); count; count--)
		long_matmul(f, queue);
}

void end_long(struct fixture *f)
{
	for (int i = 0; i < 3; i++)
		accel_buffer_destroy(f->busy[i]);
}

#endif

/* The library's newest descriptor of the card. */
static int find_fd(void)
{
	char path[280], target[64];
	struct dirent *entry;
	DIR *dir = opendir("/proc/self/fd");
	int fd = -1;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		ssize_t length;

		snprintf(path, sizeof(path), "/proc/self/fd/%s", entry->d_name);
		length = readlink(path, target, sizeof(target) - 1);
		if (length < 0)
			continue;
		target[length] = '\0';
		if ((!strncmp(target, "/dev/accel/", 11) || !strncmp(target, "/memfd:onpu-card", 16)) && atoi(entry->d_name) > fd)
			fd = atoi(entry->d_name);
	}
	closedir(dir);
	assert_true(fd >= 0);
	return fd;
}

int raw_ioctl(unsigned long request, void *arg)
{
#if defined(ACCEL_TEST_MODEL) || defined(ACCEL_TEST_FAKE)
	return os_ioctl(find_fd(), request, arg);
#else
	return ioctl(find_fd(), request, arg) ? -errno : 0;
#endif
}

void steal_mapping(struct accel_buffer *buffer)
{
	struct drm_onpu_bind_op op = {
		.type = DRM_ONPU_BIND_UNMAP,
		.va = accel_buffer_address(buffer),
		.size = (accel_buffer_size(buffer) + 4095) & ~4095ull,
	};
	struct drm_onpu_vm_bind arg = {
		.vm_id = 1,	/* the first of the file */
		.ops = { .count = 1, .stride = sizeof(op), .ptr = (uintptr_t)&op },
	};

	assert_int_equal(raw_ioctl(DRM_IOCTL_ONPU_VM_BIND, &arg), 0);
}

int run_named_group(const char *name, const struct CMUnitTest *tests, size_t count)
{
#if !defined(ACCEL_TEST_FAKE) && !defined(ACCEL_TEST_MODEL)
	if (!getenv("CMOCKA_MESSAGE_OUTPUT"))
		cmocka_set_message_output(CM_OUTPUT_TAP);
#endif
	return _cmocka_run_group_tests(name, tests, count, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * What the tests of libaccel share. The same programs run in the VM on the card, on the host on
 * the model in the process (ACCEL_TEST_MODEL), and (ACCEL_TEST_FAKE) on a kernel of the test's own.
 */
#ifndef COMMON_H
#define COMMON_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <accel/accel.h>

#include "../../tools/accelctl/reference.h"

#ifdef ACCEL_TEST_FAKE
#include "../userspace/fake_kernel.h"
#endif

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define SECOND 1000000000ull

/* An open card with a context and a queue. */
struct fixture {
	struct accel_device *device;
	struct accel_context *context;
	struct accel_queue *queue;
	struct accel_buffer *busy[3];	/* begin_long() */
};

/* The first fails the test with the detail text when a call fails. */
#define ok(call) expect_result(call, 0, #call, __FILE__, __LINE__)
#define fails(call, error) expect_result(call, error, #call, __FILE__, __LINE__)
void expect_result(int result, int wanted, const char *call, const char *file, int line);

uint64_t now_ns(void);
/* The last failure's detail contains @part. */
void expect_detail(const char *part);
/* Whether the test asked for kernel queues. */
bool kernel_queues(void);

int setup(void **state);
int teardown(void **state);

struct accel_buffer *make_buffer(struct fixture *f, uint64_t size, uint32_t flags);

/* Keeps @queue busy for a while; end_long() ends that if it can, and cleans up. */
void begin_long(struct fixture *f, struct accel_queue *queue);
void end_long(struct fixture *f);

/* An ioctl on the open card behind the library's back. */
int raw_ioctl(unsigned long request, void *arg);
/* Takes the pages of a buffer away from the card, so that its next use faults. */
void steal_mapping(struct accel_buffer *buffer);

/* Runs the tests with TAP output in the VM. */
#define run_group(name, tests) run_named_group(name, tests, ARRAY_SIZE(tests))
int run_named_group(const char *name, const struct CMUnitTest *tests, size_t count);

#endif

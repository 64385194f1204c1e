/* SPDX-License-Identifier: MIT */
/*
 * ACCEL_DEVICE, ACCEL_VISIBLE_DEVICES, ACCEL_TRACE and ACCEL_LOG. They are read once, so each case is a
 * process of its own: this program again, with "child" and what it is to do.
 */
#define _GNU_SOURCE
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <accel/accel.h>
#include <cmocka.h>
#include <json-c/json.h>

static char output[1 << 16];

/* Runs this program with variables (up to NULL), and keeps what it says. */
static int run(const char *what, ...)
{
	int pipes[2], status;
	size_t used = 0;
	ssize_t length;
	va_list args;
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	fflush(NULL);
	va_start(args, what);
	pid = fork();
	if (!pid) {
		const char *variable;

		unsetenv("ACCEL_DEVICE");
		while ((variable = va_arg(args, const char *)))
			putenv((char *)(uintptr_t)variable);
		dup2(pipes[1], 1);
		dup2(pipes[1], 2);
		close(pipes[0]);
		close(pipes[1]);
		execl("/proc/self/exe", "test", "child", what, NULL);
		_exit(127);
	}
	va_end(args);
	close(pipes[1]);
	while ((length = read(pipes[0], output + used, sizeof(output) - 1 - used)) > 0)
		used += (size_t)length;
	output[used] = '\0';
	close(pipes[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void says(const char *text)
{
	if (!strstr(output, text))
		fail_msg("says \"%s\", wanted \"%s\"", output, text);
}

/* ---- what the child does ---- */

static int list(void)
{
	int count = accel_device_count();

	if (count < 0)
		printf("error %d: %s\n", count, accel_error_detail());
	for (int i = 0; i < count; i++) {
		struct accel_device_info info;

		accel_device_info_init(&info);
		if (accel_device_list_info((unsigned int)i, &info))
			return 1;
		printf("%d %s %s %llu MiB\n", i, info.pci_address, info.node,
		       (unsigned long long)info.memory_size >> 20);
	}
	return 0;
}

#define MUST(call) do { if (call) { printf("%s: %s\n", #call, accel_error_detail()); return 1; } } while (0)

static int on_last_card(void)
{
	struct accel_device *device;
	struct accel_context *context;
	struct accel_queue *queue;
	struct accel_buffer *buffer;

	MUST(accel_device_open((unsigned int)accel_device_count() - 1, &device));
	MUST(accel_context_create(device, 0, &context));
	MUST(accel_queue_create(context, ACCEL_PRIORITY_MEDIUM, &queue));
	MUST(accel_buffer_create(context, 4096, ACCEL_BUFFER_CARD, &buffer));
	MUST(accel_copy(queue, buffer, 0, buffer, 2048, 1024));
	accel_buffer_destroy(buffer);
	accel_queue_destroy(queue);
	accel_context_destroy(context);
	accel_device_close(device);
	return 0;
}

static int work(void)
{
	struct accel_device *device;
	struct accel_context *context;
	struct accel_queue *queue;
	struct accel_buffer *a, *b;
	struct accel_graph *graph;
	struct accel_matmul p;
	pid_t pid;

	MUST(accel_device_open(0, &device));
	MUST(accel_context_create(device, 0, &context));
	MUST(accel_queue_create(context, ACCEL_PRIORITY_MEDIUM, &queue));
	MUST(accel_buffer_create(context, 65536, ACCEL_BUFFER_CARD, &a));
	MUST(accel_buffer_create(context, 65536, ACCEL_BUFFER_HOST, &b));
	MUST(accel_fill(queue, a, 0, 65536, 0));
	MUST(accel_copy(queue, b, 0, a, 0, 65536));
	accel_matmul_init(&p);
	p.m = p.n = p.k = 100;
	p.a = (struct accel_matrix){ .buffer = a, .type = ACCEL_TYPE_F32 };
	p.b = (struct accel_matrix){ .buffer = a };
	p.d = (struct accel_matrix){ .buffer = b };
	MUST(accel_matmul(queue, &p));
	/* The same again by a graph, and something on the last card. */
	MUST(accel_queue_capture_begin(queue));
	MUST(accel_matmul_async(queue, &p, NULL));
	MUST(accel_fill_async(queue, a, 0, 65536, 0, NULL));
	MUST(accel_queue_capture_end(queue, &graph));
	MUST(accel_graph_launch(queue, graph));
	accel_graph_destroy(graph);
	if (on_last_card())
		return 1;
	/* A child traces nothing and spoils nothing. */
	fflush(NULL);
	pid = fork();
	if (!pid) {
		accel_device_count();
#ifdef __SANITIZE_ADDRESS__	/* what the child inherits and does not use would be leaks */
		_exit(0);
#endif
		exit(0);
	}
	waitpid(pid, NULL, 0);
	if (accel_fill(queue, a, 1, 4, 0) != -22)
		return 1;
	accel_buffer_destroy(a);
	accel_buffer_destroy(b);
	accel_queue_destroy(queue);
	accel_context_destroy(context);
	accel_device_close(device);
	return 0;
}

/* ---- cases ---- */

static void device(void **state)
{
	(void)state;
	assert_int_equal(run("list", "ACCEL_DEVICE=model", NULL), 0);
	assert_string_equal(output, "0 fffe:00:00.0 /dev/accel/model0 4096 MiB\n");
	assert_int_equal(run("list", "ACCEL_DEVICE=model:3,memory=64M,threads=1", NULL), 0);
	says("2 fffe:00:02.0 /dev/accel/model2 64 MiB\n");
	assert_int_equal(run("list", "ACCEL_DEVICE=model:0", NULL), 0);
	assert_string_equal(output, "");
	assert_int_equal(run("list", "ACCEL_DEVICE=gpu", NULL), 0);
	says("error -22: accel_device_count: ACCEL_DEVICE is \"gpu\", neither \"model\" nor \"kernel\"");
	static const char *const wrong[] = {
		"model:", "model:17", "model:x", "model2", "model:1,memory=1", "model:memory=1G,", "model:threads=0",
		"model:memory=99999999999999999999", "model:memory=4GB", "model:-1",
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		char variable[80];

		snprintf(variable, sizeof(variable), "ACCEL_DEVICE=%s", wrong[i]);
		assert_int_equal(run("list", variable, NULL), 0);
		if (strcmp(wrong[i], "model:memory=1G,"))	/* an empty word is no word */
			says("error -22: accel_device_count: ACCEL_DEVICE is \"");
	}
}

static void visible(void **state)
{
	(void)state;
	assert_int_equal(run("list", "ACCEL_DEVICE=model:4", "ACCEL_VISIBLE_DEVICES=2,0", NULL), 0);
	says("0 fffe:00:02.0 /dev/accel/model2");
	says("1 fffe:00:00.0 /dev/accel/model0");
	assert_null(strstr(output, "model1"));
	assert_int_equal(run("list", "ACCEL_DEVICE=model:4", "ACCEL_VISIBLE_DEVICES=fffe:00:03.0", NULL), 0);
	says("0 fffe:00:03.0 /dev/accel/model3");
	assert_int_equal(run("list", "ACCEL_DEVICE=model:4", "ACCEL_VISIBLE_DEVICES=", NULL), 0);
	assert_string_equal(output, "");
	assert_int_equal(run("list", "ACCEL_DEVICE=model:4", "ACCEL_VISIBLE_DEVICES=4", NULL), 0);
	says("error -19: accel_device_count: ACCEL_VISIBLE_DEVICES names \"4\", which is none of the 4 cards");
	assert_int_equal(run("list", "ACCEL_DEVICE=model:4", "ACCEL_VISIBLE_DEVICES=0,first", NULL), 0);
	says("error -22: accel_device_count: ACCEL_VISIBLE_DEVICES: \"first\" is neither");
	assert_int_equal(run("list", "ACCEL_DEVICE=model:4", "ACCEL_VISIBLE_DEVICES=1,fffe:00:01.0", NULL), 0);
	says("names fffe:00:01.0 twice");
}

static void logging(void **state)
{
	(void)state;
	assert_int_equal(run("work", "ACCEL_DEVICE=model", NULL), 0);
	assert_string_equal(output, "");
	assert_int_equal(run("work", "ACCEL_DEVICE=model", "ACCEL_LOG=error", NULL), 0);
	says("libaccel: error: accel_fill: ");
	assert_null(strstr(output, "info"));
	assert_int_equal(run("work", "ACCEL_DEVICE=model", "ACCEL_LOG=debug", NULL), 0);
	says("libaccel: info: opened /dev/accel/model0");
	says("libaccel: debug: ");
	assert_int_equal(run("work", "ACCEL_DEVICE=model", "ACCEL_LOG=none", NULL), 0);
	assert_string_equal(output, "");
	assert_int_equal(run("work", "ACCEL_DEVICE=model", "ACCEL_LOG=", NULL), 0);
	assert_string_equal(output, "");
	assert_int_equal(run("work", "ACCEL_DEVICE=model", "ACCEL_LOG=verbose", NULL), 0);
	assert_string_equal(output,
			    "libaccel: warning: ACCEL_LOG is \"verbose\", none of none, error, warn, info, debug\n");
}

/* The trace is JSON, whole, and tells of calls and packets. */
static void trace(void **state)
{
	char path[] = "/tmp/accel-trace-XXXXXX", variable[64];
	unsigned int calls = 0, packets = 0, names = 0, ops = 0;
	double first = INFINITY, last = 0, at;
	struct json_object *all;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	snprintf(variable, sizeof(variable), "ACCEL_TRACE=%s", path);
	assert_int_equal(run("work", "ACCEL_DEVICE=model:10", variable, NULL), 0);
	assert_string_equal(output, "");
	all = json_object_from_file(path);
	assert_non_null(all);
	assert_true(json_object_is_type(all, json_type_array));
	for (size_t i = 0; i < json_object_array_length(all); i++) {
		struct json_object *event = json_object_array_get_idx(all, i), *category, *args;
		const char *name = json_object_get_string(json_object_object_get(event, "name"));
		const char *phase = json_object_get_string(json_object_object_get(event, "ph"));

		assert_non_null(name);
		assert_true(json_object_object_get_ex(event, "pid", NULL));
		if (!strcmp(phase, "M")) {
			names++;
			continue;
		}
		assert_string_equal(phase, "X");
		at = json_object_get_double(json_object_object_get(event, "ts"));
		first = fmin(first, at);
		last = fmax(last, at);
		assert_true(at >= 0);
		assert_true(json_object_get_double(json_object_object_get(event, "dur")) >= 0);
		assert_true(json_object_is_type(json_object_object_get(event, "pid"), json_type_int));
		assert_true(json_object_is_type(json_object_object_get(event, "tid"), json_type_int));
		category = json_object_object_get(event, "cat");
		if (!strcmp(json_object_get_string(category), "call")) {
			assert_int_equal(strncmp(name, "accel_", 6), 0);
			calls += !strcmp(name, "accel_matmul") || !strcmp(name, "accel_copy") ||
				 !strcmp(name, "accel_fill");
		} else if (json_object_object_get_ex(event, "args", &args)) {
			packets += !strcmp(name, "MATMUL") || !strcmp(name, "COPY") || !strcmp(name, "FILL");
			ops += (unsigned int)json_object_get_int64(json_object_object_get(args, "ops"));
		}
	}
	/* Calls and packets are beside each other: no viewer shows microseconds in days. */
	assert_true(last - first < 120e6);
	assert_int_equal(names, 3);	/* the process and the cards that worked */
	assert_int_equal(calls, 5);
	assert_int_equal(packets, 6);
	assert_int_equal(ops, 2 * 2 * 100 * 100 * 100);
	json_object_put(all);
	unlink(path);
	assert_int_equal(run("work", "ACCEL_DEVICE=model", "ACCEL_TRACE=/nowhere/at/all", "ACCEL_LOG=warn", NULL), 0);
	says("ACCEL_TRACE: cannot write /nowhere/at/all: No such file or directory");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(device),
		cmocka_unit_test(visible),
		cmocka_unit_test(logging),
		cmocka_unit_test(trace),
	};

	if (argc == 3 && !strcmp(argv[1], "child"))
		return strcmp(argv[2], "list") ? work() : list();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

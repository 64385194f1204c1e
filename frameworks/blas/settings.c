// SPDX-License-Identifier: MIT
/*
 * The environment, and the log.
 *
 * A program with more rights than its user (AT_SECURE) takes nothing from the environment. The log
 * never goes to standard output, which is the program's.
 */
#include "blas.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Digits of 7 bits that a double's 53 take, and one more for cancellation. */
#define SLICES_AUTO 9
#define SLICES_MAX 16

bool blas_logging;

static struct blas_settings settings;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int log_fd = -1;

static const char *env(const char *name)
{
	const char *value = secure_getenv(name);

	return value && *value ? value : NULL;
}

/* What is read later: the program may change its environment. */
static const char *env_copy(const char *name)
{
	const char *value = env(name);

	return value ? strdup(value) : NULL;
}

static unsigned int read_slices(const char *text)
{
	char *end;
	unsigned long slices;

	if (!text || !strcmp(text, "cpu") || !strcmp(text, "0"))
		return 0;
	if (!strcmp(text, "int8"))
		return SLICES_AUTO;
	slices = strtoul(text, &end, 10);
	if (!*end && slices >= 2 && slices <= SLICES_MAX)
		return (unsigned int)slices;
	blas_complain("ACCEL_BLAS_DGEMM is cpu, int8 or 2 to %d, not %s", SLICES_MAX, text);
	return 0;
}

static void open_log(const char *path)
{
	if (!path || !strcmp(path, "0"))
		return;
	if (!strcmp(path, "1") || !strcmp(path, "stderr"))
		log_fd = STDERR_FILENO;
	else
		log_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
	if (log_fd < 0)
		blas_complain("ACCEL_BLAS_LOG: cannot write %s", path);
	else
		blas_logging = true;
}

static void read_settings(void)
{
	const char *mode = env("ACCEL_BLAS");
	const char *min = env("ACCEL_BLAS_MIN");
	double side = min ? strtod(min, NULL) : -1;

	if (mode && strcmp(mode, "off") && strcmp(mode, "on"))
		blas_complain("ACCEL_BLAS is on or off, not %s", mode);
	settings.off = mode && !strcmp(mode, "off");
	settings.always = min && side <= 0;
	settings.min_work = side > 0 ? side * side * side : 0;
	settings.slices = read_slices(env("ACCEL_BLAS_DGEMM"));
	settings.next = env_copy("ACCEL_BLAS_NEXT");
	settings.device = env_copy("ACCEL_BLAS_DEVICE");
	settings.model = env_copy("ACCEL_BLAS_MODEL");
	open_log(env("ACCEL_BLAS_LOG"));
}

const struct blas_settings *blas_settings(void)
{
	pthread_once(&once, read_settings);
	return &settings;
}

/* One write for a line, so that those of threads and processes do not mix. */
static void say(int fd, const char *format, va_list args)
{
	char text[512];
	int length = snprintf(text, sizeof(text), "accel-blas: ");
	int more = vsnprintf(text + length, sizeof(text) - (size_t)length - 1, format, args);

	if (more < 0)
		return;
	length += more;
	if (length > (int)sizeof(text) - 2)
		length = (int)sizeof(text) - 2;
	text[length++] = '\n';
	if (write(fd, text, (size_t)length) < 0)
		return;
}

void blas_log(const char *format, ...)
{
	va_list args;

	if (!blas_logging)
		return;
	va_start(args, format);
	say(log_fd, format, args);
	va_end(args);
}

void blas_complain(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(STDERR_FILENO, format, args);
	va_end(args);
}

uint64_t blas_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

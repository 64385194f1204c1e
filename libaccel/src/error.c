/* SPDX-License-Identifier: MIT */
/*
 * Detail texts of failures, one per thread, and the log on stderr.
 *
 * Locking: the texts are thread-local; the log level is read once from the
 * environment (ACCEL_LOG) and is the same whoever reads it first.
 */
#define _GNU_SOURCE
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local struct {
	const char *function;
	char text[480];
} last;

uint32_t accel_version(void)
{
	return ACCEL_VERSION;
}

const char *accel_error_detail(void)
{
	return last.text;
}

struct trace_scope api_enter(const char *function)
{
	last.function = function;
	return trace_begin(function);
}

static enum log_level log_level(void)
{
	static const char *const names[] = { "none", "error", "warn", "info", "debug" };
	static atomic_int cached = -1;
	int level = atomic_load_explicit(&cached, memory_order_relaxed);

	if (level < 0) {
		const char *value = secure_getenv("ACCEL_LOG");

		for (size_t i = 0; value && i < ARRAY_SIZE(names); i++)
			if (!strcmp(value, names[i]))
				level = (int)i;
		if (level < 0 && value && *value)
			fprintf(stderr, "libaccel: warning: ACCEL_LOG is \"%.40s\", none of none, error, warn, info, debug\n",
				value);
		if (level < 0)
			level = LOG_NONE;
		atomic_store_explicit(&cached, level, memory_order_relaxed);
	}
	return (enum log_level)level;
}

bool log_enabled(enum log_level level)
{
	return level <= log_level();
}

void log_print(enum log_level level, const char *format, ...)
{
	static const char *const names[] = { "", "error", "warning", "info", "debug" };
	char text[sizeof(last.text) + 64];
	va_list args;

	if (!log_enabled(level))
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fprintf(stderr, "libaccel: %s: %s\n", names[level], text);
}

int fail(int error, const char *format, ...)
{
	va_list args;
	int used;

	used = snprintf(last.text, sizeof(last.text), "%s: ",
			last.function ? last.function : "libaccel");
	if (used < 0 || (size_t)used >= sizeof(last.text))
		used = 0;
	va_start(args, format);
	vsnprintf(last.text + used, sizeof(last.text) - (size_t)used, format, args);
	va_end(args);
	log_print(LOG_ERROR, "%s (%s)", last.text, strerrorname_np(-error));
	return error;
}

int fail_index(int error, unsigned int index)
{
	size_t prefix = strlen(last.function) + 2;
	char text[sizeof(last.text)];

	memcpy(text, last.text, sizeof(text));
	snprintf(last.text + prefix, sizeof(last.text) - prefix, "element %u: %s", index,
		 text + prefix);
	return error;
}

int copy_out(void *target, const void *source, size_t known, size_t first_version,
	     const char *name)
{
	size_t size;

	memcpy(&size, target, sizeof(size));
	if (size < first_version)
		return fail(-EINVAL, "%s: size is %zu, set it to sizeof(struct %s)", name, size, name);
	memcpy(target, source, size < known ? size : known);
	if (size > known)
		memset((char *)target + known, 0, size - known);
	memcpy(target, &size, sizeof(size));
	return 0;
}

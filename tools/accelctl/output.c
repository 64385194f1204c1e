/* SPDX-License-Identifier: MIT */
/*
 * Text and JSON output. One JSON document per run, printed by main.c when all is known;
 * text as it comes. Warnings and errors go to stderr as text in both cases.
 */
#include "accelctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

void print(const struct ctl *ctl, const char *format, ...)
{
	va_list args;

	if (ctl->json)
		return;
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
}

const char *status_name(enum status status)
{
	static const char *const names[] = {
		[STATUS_OK] = "ok",
		[STATUS_FAILED] = "check-failed",
		[STATUS_USAGE] = "usage",
		[STATUS_NO_DEVICE] = "no-device",
		[STATUS_DEVICE] = "device-error",
		[STATUS_TIMEOUT] = "timeout",
		[STATUS_UNBOUND] = "driver-not-bound",
		[STATUS_PERMISSION] = "permission-denied",
	};

	return names[status];
}

enum status error(struct ctl *ctl, enum status status, const char *format, ...)
{
	struct json_object *object = json_object_new_object();
	char text[600];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fflush(stdout);
	fprintf(stderr, "accelctl: %s\n", text);
	add_text(object, "code", status_name(status));
	add_text(object, "message", text);
	json_object_object_add(ctl->doc, "error", object);
	return status;
}

enum status accel_failed(struct ctl *ctl, int result)
{
	enum status status = STATUS_DEVICE;

	if (result == -EACCES || result == -EPERM)
		status = STATUS_PERMISSION;
	return error(ctl, status, "%s", accel_error_detail());
}

void add_int(struct json_object *object, const char *name, int64_t value)
{
	json_object_object_add(object, name, json_object_new_int64(value));
}

void add_double(struct json_object *object, const char *name, double value)
{
	json_object_object_add(object, name, json_object_new_double(value));
}

void add_bool(struct json_object *object, const char *name, bool value)
{
	json_object_object_add(object, name, json_object_new_boolean(value));
}

void add_text(struct json_object *object, const char *name, const char *value)
{
	json_object_object_add(object, name, value ? json_object_new_string(value) : NULL);
}

void add_format(struct json_object *object, const char *name, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	add_text(object, name, text);
}

const char *human_size(uint64_t size, char text[32])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double value = (double)size;
	size_t unit = 0;

	while (value >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
		value /= 1024;
		unit++;
	}
	snprintf(text, 32, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return text;
}

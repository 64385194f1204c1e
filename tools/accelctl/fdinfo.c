/* SPDX-License-Identifier: MIT */
/*
 * Reads the text of a client's fdinfo: the kernel's drm-usage-stats and what onpu adds.
 *
 * Lines are "key: value". Nothing is taken for granted: lines may be missing, repeated (the last one
 * counts), of any length, and hold any bytes; a number that is none counts as absent.
 */
#include "fdinfo.h"

#include <string.h>

const char *const region_names[REGIONS] = { "vram", "system" };
const char *const figure_names[FIGURES] = { "total", "shared", "resident", "active", "purgeable" };

/* A part of the text. */
struct span {
	const char *text;
	size_t size;
};

static bool is(struct span span, const char *word)
{
	return span.size == strlen(word) && !memcmp(span.text, word, span.size);
}

static bool skip(struct span *span, const char *prefix)
{
	size_t size = strlen(prefix);

	if (span->size < size || memcmp(span->text, prefix, size))
		return false;
	span->text += size;
	span->size -= size;
	return true;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static struct span trimmed(struct span span)
{
	while (span.size && is_blank(*span.text)) {
		span.text++;
		span.size--;
	}
	while (span.size && is_blank(span.text[span.size - 1]))
		span.size--;
	return span;
}

static uint64_t saturated(uint64_t value, uint64_t factor)
{
	return value > INT64_MAX / factor ? INT64_MAX : value * factor;
}

/* Takes the digits at the start of *span; false: there are none. */
static bool take_digits(struct span *span, uint64_t *value)
{
	size_t i = 0;

	*value = 0;
	for (; i < span->size && span->text[i] >= '0' && span->text[i] <= '9'; i++) {
		uint64_t digit = (uint64_t)(span->text[i] - '0');

		*value = saturated(*value, 10);
		*value = *value > INT64_MAX - digit ? INT64_MAX : *value + digit;
	}
	span->text += i;
	span->size -= i;
	return i;
}

/* "12", or with a unit of bytes or time. */
static void take_number(struct span value, uint64_t *to)
{
	static const struct {
		const char *name;
		uint64_t factor;
	} units[] = { { "", 1 }, { "B", 1 }, { "ns", 1 }, { "KiB", 1 << 10 }, { "MiB", 1 << 20 }, { "GiB", 1 << 30 } };
	uint64_t number;

	if (!take_digits(&value, &number))
		return;
	value = trimmed(value);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (is(value, units[i].name))
			*to = saturated(number, units[i].factor);
}

/* "0000:00:04.0", in hexadecimal digits. */
static void take_address(struct span value, char address[16])
{
	static const char form[] = "0000:00:00.0";

	if (value.size != sizeof(form) - 1)
		return;
	for (size_t i = 0; i < value.size; i++) {
		char c = value.text[i];
		bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');

		if (form[i] == '0' ? !digit : c != form[i])
			return;
	}
	memcpy(address, value.text, value.size);
	address[value.size] = '\0';
}

static void take_memory(struct fdinfo *info, struct span key, struct span value)
{
	for (int f = 0; f < FIGURES; f++) {
		struct span rest = key;

		if (!skip(&rest, figure_names[f]) || !skip(&rest, "-"))
			continue;
		for (int r = 0; r < REGIONS; r++)
			if (is(rest, region_names[r]))
				take_number(value, &info->bytes[r][f]);
	}
}

static void take_count(struct fdinfo *info, struct span key, struct span value)
{
	const struct {
		const char *name;
		uint64_t *to;
	} counts[] = {
		{ "contexts", &info->contexts }, { "queues", &info->queues },
		{ "user-queues", &info->user_queues }, { "dead-queues", &info->dead_queues },
		{ "jobs", &info->jobs }, { "hangs", &info->hangs },
		{ "faults", &info->faults }, { "errors", &info->errors },
	};

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		if (is(key, counts[i].name)) {
			take_number(value, counts[i].to);
			info->has_counts = true;
		}
	}
}

static void take_line(struct fdinfo *info, struct span line, bool *ours)
{
	const char *colon = memchr(line.text, ':', line.size);
	struct span key = line, value;

	if (!colon)
		return;
	key.size = (size_t)(colon - line.text);
	value = trimmed((struct span){ colon + 1, line.size - key.size - 1 });
	if (skip(&key, "onpu-"))
		take_count(info, key, value);
	else if (!skip(&key, "drm-"))
		return;
	else if (is(key, "driver"))
		*ours = is(value, "onpu");
	else if (is(key, "pdev"))
		take_address(value, info->address);
	else if (is(key, "client-id"))
		take_number(value, &info->id);
	else if (is(key, "engine-matmul"))
		take_number(value, &info->engine_ns);
	else
		take_memory(info, key, value);
}

bool fdinfo_parse(const char *text, size_t size, struct fdinfo *info)
{
	bool ours = false;

	memset(info, 0, sizeof(*info));
	while (size) {
		const char *end = memchr(text, '\n', size);
		size_t length = end ? (size_t)(end - text) : size;

		take_line(info, (struct span){ text, length }, &ours);
		text += length;
		size -= length;
		if (size) {
			text++;
			size--;
		}
	}
	return ours && info->address[0];
}

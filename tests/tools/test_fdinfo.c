// SPDX-License-Identifier: MIT
/*
 * What accelctl makes of a client's fdinfo: the driver's own text, that of others, and bytes that nobody
 * would write. The text is given without an end mark, so that a sanitizer sees whoever reads beyond it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fdinfo.h"

static const char whole[] =
	"pos:\t0\nflags:\t0100002\nmnt_id:\t9\nino:\t12\ndrm-driver:\tonpu\ndrm-client-id:\t77\n"
	"drm-pdev:\t0000:00:04.0\ndrm-engine-matmul:\t123456789 ns\ndrm-engine-capacity-matmul:\t16\n"
	"onpu-contexts:\t3\nonpu-queues:\t5\nonpu-user-queues:\t2\nonpu-dead-queues:\t1\nonpu-jobs:\t1000\n"
	"onpu-hangs:\t4\nonpu-faults:\t6\nonpu-errors:\t8\n"
	"drm-total-vram:\t3 MiB\ndrm-shared-vram:\t0\ndrm-active-vram:\t4 KiB\ndrm-resident-vram:\t2 MiB\n"
	"drm-purgeable-vram:\t1 KiB\ndrm-total-system:\t1 GiB\ndrm-shared-system:\t5\ndrm-active-system:\t0\n"
	"drm-resident-system:\t7 KiB\ndrm-purgeable-system:\t0\n";

/* Parses a copy that ends where the memory does. */
static bool parse_bytes(const char *text, size_t size, struct fdinfo *info)
{
	char *copy = malloc(size ? size : 1);
	bool ours;

	assert_non_null(copy);
	memcpy(copy, text, size);
	ours = fdinfo_parse(copy, size, info);
	free(copy);
	return ours;
}

static bool parse(const char *text, struct fdinfo *info)
{
	return parse_bytes(text, strlen(text), info);
}

#define OURS "drm-driver: onpu\ndrm-pdev: 0000:00:04.0\n"

static void of_the_driver(void **state)
{
	struct fdinfo info;

	(void)state;
	assert_true(parse(whole, &info));
	assert_string_equal(info.address, "0000:00:04.0");
	assert_int_equal(info.id, 77);
	assert_int_equal(info.engine_ns, 123456789);
	assert_true(info.has_counts);
	assert_int_equal(info.contexts, 3);
	assert_int_equal(info.queues, 5);
	assert_int_equal(info.user_queues, 2);
	assert_int_equal(info.dead_queues, 1);
	assert_int_equal(info.jobs, 1000);
	assert_int_equal(info.hangs, 4);
	assert_int_equal(info.faults, 6);
	assert_int_equal(info.errors, 8);
	assert_int_equal(info.bytes[REGION_VRAM][FIGURE_TOTAL], 3 << 20);
	assert_int_equal(info.bytes[REGION_VRAM][FIGURE_RESIDENT], 2 << 20);
	assert_int_equal(info.bytes[REGION_VRAM][FIGURE_ACTIVE], 4 << 10);
	assert_int_equal(info.bytes[REGION_VRAM][FIGURE_PURGEABLE], 1 << 10);
	assert_int_equal(info.bytes[REGION_SYSTEM][FIGURE_TOTAL], 1 << 30);
	assert_int_equal(info.bytes[REGION_SYSTEM][FIGURE_SHARED], 5);
	assert_int_equal(info.bytes[REGION_SYSTEM][FIGURE_RESIDENT], 7 << 10);
}

/* Of the driver before it told counts; of other drivers; of files that are none. */
static void of_others(void **state)
{
	struct fdinfo info;

	(void)state;
	assert_true(parse(OURS "drm-client-id:5\n", &info));
	assert_false(info.has_counts);
	assert_int_equal(info.id, 5);
	assert_false(parse("", &info));
	assert_false(parse("\n\n\n", &info));
	assert_false(parse("pos:\t0\nflags:\t02\n", &info));
	assert_false(parse("drm-driver:\ti915\ndrm-pdev:\t0000:00:02.0\n", &info));
	assert_false(parse("drm-driver:\tonpux\ndrm-pdev:\t0000:00:02.0\n", &info));
	assert_false(parse("drm-driver:\tonp\ndrm-pdev:\t0000:00:02.0\n", &info));
	assert_false(parse("drm-driver:\tonpu\n", &info));
	assert_false(parse("drm-pdev:\t0000:00:02.0\n", &info));
	assert_false(parse("xdrm-driver:\tonpu\ndrm-pdev:\t0000:00:02.0\n", &info));
	/* The last line counts. */
	assert_false(parse(OURS "drm-driver: i915\n", &info));
	assert_true(parse("drm-driver: i915\n" OURS, &info));
}

static void addresses(void **state)
{
	static const char *const bad[] = { "", "0000:00:04", "0000:00:04.", "0000:00:04.00", "000:000:04.0",
		"0000:0g:04.0", "0000-00-04.0", "../../../etc", "0000:00:04.0:0000:00:04.0", "\xff\xff\xff\xff:00:00.0" };
	struct fdinfo info;
	char text[128];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "drm-driver: onpu\ndrm-pdev: %s\n", bad[i]);
		assert_false(parse(text, &info));
	}
	assert_true(parse("drm-driver: onpu\ndrm-pdev: ffff:af:1f.7", &info));
	assert_string_equal(info.address, "ffff:af:1f.7");
}

static void numbers(void **state)
{
	static const struct {
		const char *text;
		uint64_t value;
	} cases[] = {
		{ "0", 0 }, { "1", 1 }, { "  12  ", 12 }, { "12 B", 12 }, { "12KiB", 12 << 10 }, { "12\tKiB\r", 12 << 10 },
		{ "9223372036854775807", INT64_MAX }, { "9223372036854775808", INT64_MAX },
		{ "99999999999999999999999999999999999999", INT64_MAX }, { "9007199254740992 KiB", INT64_MAX },
		{ "9007199254740991 KiB", 9007199254740991ull << 10 }, { "18446744073709551615 GiB", INT64_MAX },
		/* Not numbers, or not with a unit that there is. */
		{ "", 0 }, { "-1", 0 }, { "+1", 0 }, { "x", 0 }, { "0x10", 0 }, { "1 TiB", 0 }, { "1 kib", 0 }, { "1.5 MiB", 0 },
		{ "1 MiB x", 0 }, { "1e3", 0 }, { ": 5", 0 },
	};
	struct fdinfo info;
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(text, sizeof(text), OURS "drm-total-vram:%s\nonpu-queues: 3", cases[i].text);
		assert_true(parse(text, &info));
		assert_int_equal(info.bytes[REGION_VRAM][FIGURE_TOTAL], cases[i].value);
		assert_int_equal(info.queues, 3);
	}
	/* A null byte is a byte like any. */
	assert_true(parse_bytes(OURS "onpu-queues: 3\0""4\nonpu-jobs: 5", sizeof(OURS "onpu-queues: 3\0""4\nonpu-jobs: 5") - 1,
				&info));
	assert_int_equal(info.queues, 0);
	assert_int_equal(info.jobs, 5);
}

/* Cut off anywhere, with any byte changed, and of nothing but noise. */
static void hostile(void **state)
{
	uint32_t x = 1;
	struct fdinfo info;
	char text[4096];

	(void)state;
	for (size_t size = 0; size < sizeof(whole); size++)
		parse_bytes(whole, size, &info);
	for (size_t i = 0; i < sizeof(whole) - 1; i++) {
		for (unsigned int j = 0; j < 8; j++) {
			memcpy(text, whole, sizeof(whole));
			text[i] ^= (char)(1u << j);
			parse_bytes(text, sizeof(whole) - 1, &info);
			assert_true(info.jobs <= INT64_MAX && strlen(info.address) < sizeof(info.address));
		}
	}
	for (unsigned int round = 0; round < 5000; round++) {
		static const char likely[] = "drm-onpu-engine-matmul:total-vram: \t\n\n::0123456789KMGiB";
		size_t size;

		x = x * 1664525 + 1013904223;
		size = x >> 20;
		for (size_t i = 0; i < size; i++) {
			x = x * 1664525 + 1013904223;
			text[i] = x >> 31 ? (char)(x >> 16) : likely[(x >> 8) % (sizeof(likely) - 1)];
		}
		parse_bytes(text, size, &info);
	}
	/* One line that is longer than anybody's buffer. */
	memset(text, '9', sizeof(text));
	memcpy(text, OURS "onpu-jobs:", sizeof(OURS "onpu-jobs:") - 1);
	assert_true(parse_bytes(text, sizeof(text), &info));
	assert_int_equal(info.jobs, INT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_the_driver),
		cmocka_unit_test(of_others),
		cmocka_unit_test(addresses),
		cmocka_unit_test(numbers),
		cmocka_unit_test(hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/*
 * Copies and fills past the caches: every alignment and length around a vector and a line,
 * nothing written beside the range.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "stream.h"

#define ROOM	512u
#define LENGTH	200u

static void copies(void **state)
{
	uint8_t src[ROOM], dst[ROOM], want[ROOM];

	(void)state;
	for (unsigned int i = 0; i < ROOM; i++)
		src[i] = (uint8_t)(i * 7 + 1);
	for (unsigned int to = 0; to < 32; to++)
		for (unsigned int from = 0; from < 32; from += 5)
			for (unsigned int len = 0; len < LENGTH; len++) {
				memset(dst, 0xee, sizeof(dst));
				memset(want, 0xee, sizeof(want));
				memcpy(want + 64 + to, src + from, len);
				onpu_stream_copy(dst + 64 + to, src + from, len);
				onpu_stream_end();
				assert_memory_equal(dst, want, ROOM);
			}
}

static void fills(void **state)
{
	uint32_t dst[ROOM / 4], want[ROOM / 4];

	(void)state;
	for (unsigned int to = 0; to < 8; to++)
		for (unsigned int words = 0; words < LENGTH / 4; words++) {
			memset(dst, 0xee, sizeof(dst));
			memset(want, 0xee, sizeof(want));
			for (unsigned int i = 0; i < words; i++)
				want[16 + to + i] = 0x01020304;
			onpu_stream_fill((uint8_t *)(dst + 16 + to), words * 4, 0x01020304);
			onpu_stream_end();
			assert_memory_equal(dst, want, ROOM);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies),
		cmocka_unit_test(fills),
	};

	return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}

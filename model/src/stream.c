// SPDX-License-Identifier: MIT
/*
 * Stores that pass the caches by, for copies and fills that are larger than them.
 *
 * Idea: an ordinary store first fetches the line that it is about to overwrite, a third of
 * the traffic of a large copy, and evicts what others still use. Stores here are weakly
 * ordered: whoever called them calls onpu_stream_end() before it lets anybody know.
 * A processor without such stores takes ordinary ones.
 *
 * Locking: none; what overlaps, or changes meanwhile, has undefined content and no worse.
 */
#include <string.h>

#include "stream.h"

#ifdef __SSE2__
#include <emmintrin.h>

#define VECTOR	sizeof(__m128i)
#define LINE	64u

/* Bytes up to the next vector boundary, at most len. */
static uint64_t head_bytes(const uint8_t *p, uint64_t len)
{
	uint64_t head = -(uintptr_t)p % VECTOR;

	return head < len ? head : len;
}

void onpu_stream_copy(uint8_t *dst, const uint8_t *src, uint64_t len)
{
	uint64_t head = head_bytes(dst, len), i;

	memmove(dst, src, head);
	for (i = head; i + LINE <= len; i += LINE) {
		__m128i line[LINE / VECTOR];

		for (unsigned int j = 0; j < LINE / VECTOR; j++)
			line[j] = _mm_loadu_si128((const __m128i *)(const void *)
						  (src + i + j * VECTOR));
		for (unsigned int j = 0; j < LINE / VECTOR; j++)
			_mm_stream_si128((__m128i *)(void *)(dst + i + j * VECTOR), line[j]);
	}
	memmove(dst + i, src + i, len - i);
}

void onpu_stream_fill(uint8_t *dst, uint64_t len, uint32_t pattern)
{
	__m128i vector = _mm_set1_epi32((int)pattern);
	uint64_t head = head_bytes(dst, len), i;

	for (i = 0; i < head; i += sizeof(pattern))
		memcpy(dst + i, &pattern, sizeof(pattern));
	for (; i + VECTOR <= len; i += VECTOR)
		_mm_stream_si128((__m128i *)(void *)(dst + i), vector);
	for (; i < len; i += sizeof(pattern))
		memcpy(dst + i, &pattern, sizeof(pattern));
}

void onpu_stream_end(void)
{
	_mm_sfence();
}
#else
void onpu_stream_copy(uint8_t *dst, const uint8_t *src, uint64_t len)
{
	memmove(dst, src, len);
}

void onpu_stream_fill(uint8_t *dst, uint64_t len, uint32_t pattern)
{
	for (uint64_t i = 0; i < len; i += sizeof(pattern))
		memcpy(dst + i, &pattern, sizeof(pattern));
}

void onpu_stream_end(void)
{
}
#endif

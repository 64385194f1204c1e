// SPDX-License-Identifier: MIT
/*
 * Memory functions, word by word where both sides are aligned.  The compiler
 * must not turn the loops into calls of themselves: the file is built with
 * -fno-tree-loop-distribute-patterns.
 */
#include <stdint.h>
#include "string.h"

typedef uint32_t __attribute__((may_alias)) word;

void *memcpy(void *dst, const void *src, size_t n)
{
	unsigned char *d = dst;
	const unsigned char *s = src;

	if (!(((uintptr_t)d | (uintptr_t)s) & 3)) {
		for (; n >= 4; n -= 4, d += 4, s += 4)
			*(word *)d = *(const word *)s;
	}
	while (n--)
		*d++ = *s++;
	return dst;
}

void *memset(void *dst, int c, size_t n)
{
	unsigned char *d = dst, byte = (unsigned char)c;

	if (!((uintptr_t)d & 3)) {
		for (; n >= 4; n -= 4, d += 4)
			*(word *)d = byte * 0x01010101u;
	}
	while (n--)
		*d++ = byte;
	return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *x = a, *y = b;

	for (; n; n--, x++, y++) {
		if (*x != *y)
			return *x - *y;
	}
	return 0;
}

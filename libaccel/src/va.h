/* SPDX-License-Identifier: MIT */
/*
 * An allocator of ranges of numbers: addresses of a context, and bytes of memory.
 */
#ifndef ACCEL_VA_H
#define ACCEL_VA_H

#include <stdint.h>

struct va_range {
	uint64_t start;
	uint64_t end;
	struct va_range *next;
};

/* Free ranges by rising address, never adjacent. */
struct va_space {
	struct va_range *free;
};

int va_init(struct va_space *space, uint64_t start, uint64_t end);
void va_fini(struct va_space *space);
/* Reserves @size bytes; NULL when there is no such range or no memory. */
struct va_range *va_alloc(struct va_space *space, uint64_t size, uint64_t align);
void va_free(struct va_space *space, struct va_range *range);

#endif

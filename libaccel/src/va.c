/* SPDX-License-Identifier: MIT */
/*
 * Address space of a context: first fit over a sorted list of free ranges. Freed
 * ranges merge with their neighbours. The range of an allocation is its list node, so that
 * freeing cannot fail.
 *
 * Locking: the caller's (the context's lock).
 */
#include "va.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

static struct va_range *new_range(uint64_t start, uint64_t end, struct va_range *next)
{
	struct va_range *range = malloc(sizeof(*range));

	if (range) {
		range->start = start;
		range->end = end;
		range->next = next;
	}
	return range;
}

int va_init(struct va_space *space, uint64_t start, uint64_t end)
{
	space->free = NULL;
	if (start >= end)
		return -EINVAL;
	space->free = new_range(start, end, NULL);
	return space->free ? 0 : -ENOMEM;
}

void va_fini(struct va_space *space)
{
	while (space->free) {
		struct va_range *range = space->free;

		space->free = range->next;
		free(range);
	}
}

/* Cuts [start, start + size) out of the free range at *link. */
static struct va_range *take(struct va_range **link, uint64_t start, uint64_t size)
{
	struct va_range *range = *link;
	uint64_t end = start + size;
	struct va_range *taken, *rest = NULL;

	if (range->start == start && range->end == end) {
		*link = range->next;
		return range;
	}
	if (range->start < start && end < range->end) {
		rest = new_range(end, range->end, range->next);
		if (!rest)
			return NULL;
	}
	taken = new_range(start, end, NULL);
	if (!taken) {
		free(rest);
		return NULL;
	}
	if (rest) {
		range->end = start;
		range->next = rest;
	} else if (range->start < start) {
		range->end = start;
	} else {
		range->start = end;
	}
	return taken;
}

struct va_range *va_alloc(struct va_space *space, uint64_t size, uint64_t align)
{
	for (struct va_range **link = &space->free; *link; link = &(*link)->next) {
		uint64_t start = (*link)->start;

		if (start > UINT64_MAX - (align - 1))
			return NULL;
		start = (start + align - 1) & ~(align - 1);
		if (start < (*link)->end && (*link)->end - start >= size)
			return take(link, start, size);
	}
	return NULL;
}

void va_free(struct va_space *space, struct va_range *range)
{
	struct va_range **link = &space->free, *before = NULL, *after;

	while (*link && (*link)->start < range->start) {
		before = *link;
		link = &before->next;
	}
	after = *link;
	if (after && range->end == after->start) {
		range->end = after->end;
		range->next = after->next;
		free(after);
	} else {
		range->next = after;
	}
	if (before && before->end == range->start) {
		before->end = range->end;
		before->next = range->next;
		free(range);
	} else {
		*link = range;
	}
}

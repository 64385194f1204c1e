/* SPDX-License-Identifier: MIT */
/*
 * Whose is this pointer: the CPU addresses that buffers have.
 *
 * A table of all address ranges of buffers that the CPU has mapped and of memory that is registered,
 * by rising start. The same memory may be registered more than once, so ranges may overlap: a search goes
 * back from the last that starts before the pointer as far as the longest range reaches, and takes the
 * newest that holds it.
 *
 * Locking: table_lock, innermost; a forked child finds it free, and the ranges of its parent's
 * buffers in it, which it passes over.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

struct entry {
	uintptr_t start;
	uint64_t size;
	uint64_t serial;
	struct accel_buffer *buffer;
};

static pthread_rwlock_t table_lock = PTHREAD_RWLOCK_INITIALIZER;
static struct entry *table;
static size_t count, room;
static uint64_t longest, last_serial;

/* Index of the first entry that starts behind @pointer. */
static size_t find_behind(uintptr_t pointer)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (table[middle].start <= pointer)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool make_room(void)
{
	size_t more = room ? room * 2 : 64;
	struct entry *list;

	if (count < room)
		return true;
	list = realloc(table, more * sizeof(*list));
	if (!list)
		return false;
	table = list;
	room = more;
	return true;
}

int pointer_add(struct accel_buffer *buffer, const void *pointer, uint64_t size)
{
	int ret = 0;
	size_t index;

	pthread_rwlock_wrlock(&table_lock);
	if (make_room()) {
		index = find_behind((uintptr_t)pointer);
		memmove(table + index + 1, table + index, (count - index) * sizeof(*table));
		table[index] = (struct entry){ (uintptr_t)pointer, size, ++last_serial, buffer };
		count++;
		if (longest < size)
			longest = size;
	} else {
		ret = fail(-ENOMEM, "out of memory");
	}
	pthread_rwlock_unlock(&table_lock);
	return ret;
}

void pointer_remove(const struct accel_buffer *buffer, const void *pointer)
{
	size_t index;

	pthread_rwlock_wrlock(&table_lock);
	index = find_behind((uintptr_t)pointer);
	while (index && table[index - 1].start == (uintptr_t)pointer) {
		if (table[--index].buffer != buffer)
			continue;
		count--;
		memmove(table + index, table + index + 1, (count - index) * sizeof(*table));
		break;
	}
	pthread_rwlock_unlock(&table_lock);
}

static const struct entry *find(uintptr_t pointer)
{
	const struct entry *found = NULL;

	for (size_t i = find_behind(pointer); i-- && pointer - table[i].start < longest;) {
		const struct entry *entry = &table[i];

		if (pointer - entry->start < entry->size && (!found || entry->serial > found->serial) &&
		    !device_is_foreign(entry->buffer->bo.context->device))
			found = entry;
	}
	return found;
}

int accel_pointer_get_info(const void *pointer, struct accel_pointer_info *info)
{
	struct accel_pointer_info local;
	const struct entry *entry;

	api_begin(__func__);
	if (!info)
		return fail(-EINVAL, "info is NULL");
	accel_pointer_info_init(&local);
	pthread_rwlock_rdlock(&table_lock);
	entry = find((uintptr_t)pointer);
	if (entry) {
		const struct accel_buffer *buffer = entry->buffer;

		local.buffer = entry->buffer;
		local.context = buffer->bo.context;
		local.device = buffer->bo.context->device;
		local.offset = (uintptr_t)pointer - entry->start;
		local.bytes = entry->size - local.offset;
		local.address = buffer_va(buffer) + local.offset;
		local.origin = buffer->origin;
		memcpy(local.pci_address, local.device->found.pci_address, sizeof(local.pci_address));
	}
	pthread_rwlock_unlock(&table_lock);
	return copy_out(info, &local, sizeof(local), sizeof(local), "accel_pointer_info");
}

/* ---- fork: nobody else may hold the lock when it happens ---- */

void pointer_before_fork(void)
{
	pthread_rwlock_wrlock(&table_lock);
}

void pointer_in_parent(void)
{
	pthread_rwlock_unlock(&table_lock);
}

/* It is owned by a thread id that the child's only thread does not have everywhere. */
void pointer_in_child(void)
{
	pthread_rwlock_init(&table_lock, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Fences between processes.
 *
 * Behind the bytes of memory that can be shared stands one more page, the board, which all processes see that
 * have the memory. Each has a place there with two pairs of numbers, for work that writes and work that
 * reads: how much of it has been announced, and how much of that is over. Who is to wait for others notes what they
 * have announced so far; that is over when the second number gets there, or its process has ended. So two
 * processes that wait for each other's work in turn get on, and nobody waits for one that is dead.
 *
 * Such a fence is a value like others (mk_fence.c), whose queue is a place of a board. Nobody tells when it
 * signals: who waits for one looks every POLL_NS.
 *
 * What is on the board was written by others, and is only compared.
 *
 * Locking: mk_lock; the board's numbers are atomic.
 */
#define _GNU_SOURCE
#include "mk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PLACES		60u

struct place {
	uint32_t pid;		/* 0: free */
	uint32_t pad;
	uint64_t born;		/* of the process, as /proc tells it */
	struct {
		uint64_t announced, over;
	} work[2];		/* enum mk_work */
};

struct mk_board {
	struct place places[PLACES];
};

_Static_assert(sizeof(struct mk_board) <= MK_PAGE, "one page");

/* Own work that has been announced. */
struct mk_announced {
	struct mk_announced *next;
	enum mk_work kind;
	uint64_t number;
	struct mk_fences fences;
};

#define FOREIGN		(1ull << 63)
#define ID_SHIFT	8

static uint64_t last_id;
static bool foreign;		/* there has been such a fence */
static unsigned int outstanding;	/* announced, of all boards */

unsigned int mk_board_outstanding(void)
{
	return outstanding;
}

static uint64_t load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

void mk_boards_forget(void)
{
	outstanding = 0;
	foreign = false;
}

/* When a process was born; 0: it is not there, or has ended and nobody has asked how. */
static uint64_t born(uint32_t pid)
{
	char path[40], text[512], *at;
	unsigned long long value = 0;
	size_t length = 0;
	char state;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	file = fopen(path, "re");
	if (file) {
		length = fread(text, 1, sizeof(text) - 1, file);
		fclose(file);
	}
	text[length] = '\0';
	/* The name may have anything in it but ends with the last parenthesis. */
	at = strrchr(text, ')');
	if (!at || sscanf(at, ") %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu",
			  &state, &value) != 2 || state == 'Z' || state == 'X')
		return 0;
	return value;
}

static bool is_over(const struct place *place, enum mk_work kind, uint64_t number)
{
	uint32_t pid;

	if (load(&place->work[kind].over) >= number)
		return true;
	pid = __atomic_load_n(&place->pid, __ATOMIC_ACQUIRE);
	return !pid || born(pid) != load(&place->born);
}

/* ---- places ---- */

int mk_board_open(struct mk_share *share)
{
	void *p;

	if (share->board)
		return 0;
	p = mmap(NULL, MK_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, share->fd, (off_t)share->size);
	if (p == MAP_FAILED)
		return -ENOMEM;
	share->board = p;
	share->id = ++last_id;
	return 0;
}

/* Takes a place for this process: a free one, or one of a process that has ended, whose work is over. */
static struct place *own_place(struct mk_share *share)
{
	uint32_t self = (uint32_t)getpid();

	if (share->place)
		return &share->board->places[share->place - 1];
	for (unsigned int i = 0; i < PLACES; i++) {
		struct place *place = &share->board->places[i];
		uint32_t pid = __atomic_load_n(&place->pid, __ATOMIC_ACQUIRE);

		if (pid && born(pid) == load(&place->born))
			continue;
		/* Nobody is there while this is written. */
		if (!__atomic_compare_exchange_n(&place->pid, &pid, UINT32_MAX, false, __ATOMIC_ACQ_REL,
						 __ATOMIC_ACQUIRE))
			continue;
		for (unsigned int k = 0; k < 2; k++)
			__atomic_store_n(&place->work[k].over, load(&place->work[k].announced), __ATOMIC_RELEASE);
		__atomic_store_n(&place->born, born(self), __ATOMIC_RELEASE);
		__atomic_store_n(&place->pid, self, __ATOMIC_RELEASE);
		share->place = i + 1;
		return place;
	}
	return NULL;
}

void mk_board_close(struct mk_share *share)
{
	if (!share->board)
		return;
	while (share->announced) {
		struct mk_announced *next = share->announced->next;

		free(share->announced->fences.list);
		free(share->announced);
		share->announced = next;
		outstanding--;
	}
	if (share->place)
		__atomic_store_n(&share->board->places[share->place - 1].pid, 0, __ATOMIC_RELEASE);
	munmap(share->board, MK_PAGE);
}

/* ---- own work ---- */

int mk_board_announce(struct mk_share *share, enum mk_work kind, const struct mk_fences *fences)
{
	struct mk_announced *a, **last = &share->announced;
	struct place *place;
	int ret;

	if (!share->board)
		return 0;
	place = own_place(share);
	if (!place)
		return -ENOSPC;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	ret = mk_fences_add(&a->fences, fences->list, fences->count);
	if (ret) {
		free(a);
		return ret;
	}
	a->kind = kind;
	a->number = load(&place->work[kind].announced) + 1;
	while (*last)
		last = &(*last)->next;
	*last = a;
	outstanding++;
	__atomic_store_n(&place->work[kind].announced, a->number, __ATOMIC_RELEASE);
	mk_board_update(share);
	return 0;
}

void mk_board_update(struct mk_share *share)
{
	struct mk_announced *a;

	while ((a = share->announced) && mk_all_signalled(&a->fences)) {
		__atomic_store_n(&share->board->places[share->place - 1].work[a->kind].over, a->number,
				 __ATOMIC_RELEASE);
		share->announced = a->next;
		free(a->fences.list);
		free(a);
		outstanding--;
	}
}

/* ---- others' work ---- */

int mk_board_fences(const struct mk_share *share, bool readers, struct mk_fences *fences)
{
	int ret = 0;

	for (unsigned int i = 0; share->board && i < PLACES && !ret; i++) {
		const struct place *place = &share->board->places[i];

		for (unsigned int kind = 0; kind <= (unsigned int)readers && !ret; kind++) {
			struct mk_fence fence = {
				.queue = FOREIGN | share->id << ID_SHIFT | i << 1 | kind,
				.seqno = load(&place->work[kind].announced),
			};

			if (i + 1 == share->place || is_over(place, kind, fence.seqno))
				continue;
			foreign = true;
			ret = mk_fences_add(fences, &fence, 1);
		}
	}
	return ret;
}

bool mk_is_foreign(struct mk_fence fence)
{
	return fence.queue & FOREIGN;
}

bool mk_foreign_signalled(struct mk_fence fence)
{
	uint64_t id = (fence.queue & ~FOREIGN) >> ID_SHIFT;
	unsigned int place = fence.queue >> 1 & 0x7f, kind = fence.queue & 1;
	const struct mk_share *share = mk_share_by_id(id);

	return !share || place >= PLACES || is_over(&share->board->places[place], kind, fence.seqno);
}

bool mk_must_poll(void)
{
	return foreign;
}

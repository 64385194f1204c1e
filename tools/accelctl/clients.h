/* SPDX-License-Identifier: MIT */
/*
 * Who has a card open, and what for.
 */
#ifndef CLIENTS_H
#define CLIENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "fdinfo.h"

struct card;

/* A process with an open node of a card. */
struct client {
	struct fdinfo info;
	int pid;
	uint32_t uid;
	char user[32];
	char command[32];	/* printable */
	uint64_t pinned;	/* bytes of the process, for all devices */
	bool first;		/* of the processes that have this client, the one with the lowest pid */
	unsigned int processes;	/* that have it, in the first one */
};

struct clients {
	struct client *list;	/* by pid; of a process each client once, however many descriptors it has */
	unsigned int count;
	unsigned int unreadable;	/* processes of others, that we may not look at */
};

/* Looks at all processes; only those with one of these cards count. The caller frees the list. */
void clients_read(struct clients *all, const struct card *cards, unsigned int count);
/* One line if there are processes that could not be looked at; else "". */
const char *clients_unreadable_text(const struct clients *all, char text[128]);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * One client of a card, as /proc/PID/fdinfo/FD tells it.
 */
#ifndef FDINFO_H
#define FDINFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum region { REGION_VRAM, REGION_SYSTEM, REGIONS };
enum figure { FIGURE_TOTAL, FIGURE_SHARED, FIGURE_RESIDENT, FIGURE_ACTIVE, FIGURE_PURGEABLE, FIGURES };

/* What it has and had; what the driver does not tell is 0. */
struct fdinfo {
	char address[16];	/* PCI */
	uint64_t id;
	uint64_t engine_ns;	/* that the card has spent on its work */
	bool has_counts;	/* the driver tells what follows */
	uint64_t contexts, queues, user_queues, dead_queues;
	uint64_t jobs;		/* that have ended, of kernel queues */
	uint64_t hangs, faults, errors;	/* queues that died of it */
	uint64_t bytes[REGIONS][FIGURES];
};

extern const char *const region_names[REGIONS], *const figure_names[FIGURES];

/* Takes any bytes; false: they are not of an open node of a card. Numbers saturate at INT64_MAX. */
bool fdinfo_parse(const char *text, size_t size, struct fdinfo *info);

#endif

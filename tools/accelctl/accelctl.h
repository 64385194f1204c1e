/* SPDX-License-Identifier: MIT */
/*
 * What the source files of accelctl share.
 */
#ifndef ACCELCTL_H
#define ACCELCTL_H

#include <getopt.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include <accel/accel.h>

#include "bench.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Version of the JSON documents: raised when a member goes or changes its meaning. */
#define SCHEMA_VERSION 1

/* Exit statuses; stable, documented in accelctl(1). */
enum status {
	STATUS_OK = 0,
	STATUS_FAILED = 1,	/* a check or test found something wrong */
	STATUS_USAGE = 2,
	STATUS_NO_DEVICE = 3,
	STATUS_DEVICE = 4,	/* the card or its driver reported an error */
	STATUS_TIMEOUT = 5,	/* no answer before the deadline */
	STATUS_UNBOUND = 6,	/* the card is there, the driver is not bound to it */
	STATUS_PERMISSION = 7,
};

/* Options that a command may have, the common ones and an end mark included. */
#define OPTIONS_MAX 64

/* What ps and monitor are to show, and how often. */
struct watch {
	bool all;		/* also who has nothing but an open node */
	bool batch;		/* no control of the terminal */
	unsigned int interval_ms;
	unsigned int count;	/* reports; 0: without end */
};

/* One run of the program. */
struct ctl {
	const struct command *command;
	bool json;
	const char *device;	/* as given, or NULL */
	unsigned int timeout;	/* seconds */
	bool tty;		/* standard output is a terminal */
	struct bench bench;
	struct watch watch;
	struct json_object *doc;
};

struct command {
	const char *name;
	const char *summary;
	const char *usage;	/* what follows the name */
	const char *options;	/* help text of its own options */
	unsigned int timeout;	/* default, seconds */
	/*
	 * It goes on telling until it is interrupted: what it prints goes out at once, and the timeout is that of each
	 * report. With --json it prints documents by itself, each on a line.
	 */
	bool streams;
	const struct option *long_options;	/* its own, val from 1000; or NULL */
	/* Takes an option of its own; STATUS_OK, or fails. */
	enum status (*option)(struct ctl *ctl, int value, const char *argument);
	/* Takes the arguments that are not options; may be NULL: at most a device. */
	enum status (*arguments)(struct ctl *ctl, int count, char **arguments);
	enum status (*run)(struct ctl *ctl);
};

extern const struct command command_list, command_info, command_memory, command_ps, command_monitor,
	command_selftest, command_bench;

/* ---- main.c ---- */

struct json_object *new_document(const char *command);
/* The document with its status; one_line: on one line. */
void print_document(struct json_object *doc, enum status status, bool one_line);

/* ---- output.c ---- */

/* Text output; nothing with --json. */
void print(const struct ctl *ctl, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Tells the error on stderr and in the document; returns @status. */
enum status error(struct ctl *ctl, enum status status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The same from the last failure of libaccel. */
enum status accel_failed(struct ctl *ctl, int result);
const char *status_name(enum status status);

void add_int(struct json_object *object, const char *name, int64_t value);
void add_double(struct json_object *object, const char *name, double value);
void add_bool(struct json_object *object, const char *name, bool value);
/* NULL is null. */
void add_text(struct json_object *object, const char *name, const char *value);
void add_format(struct json_object *object, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* "4.0 GiB". */
const char *human_size(uint64_t size, char text[32]);

/* ---- pci.c ---- */

struct pci_bar {
	unsigned int index;
	uint64_t address;
	uint64_t size;
	bool is_64bit;
	bool prefetchable;
};

/* What PCI tells of a card, driver or not. */
struct pci_card {
	char address[16];
	uint16_t vendor, device, subsystem_vendor, subsystem_device;
	uint8_t revision;
	uint32_t class_code;
	bool memory_enabled, bus_master;
	char driver[32];		/* "" when none is bound */
	int numa_node;			/* -1: unknown */
	unsigned int bar_count;
	struct pci_bar bars[6];
	bool has_link;
	const char *link_speed, *link_speed_max;	/* "2.5 GT/s"; NULL: unknown */
	unsigned int link_width, link_width_max;
	unsigned int msix_vectors;	/* 0: no MSI-X */
	bool msix_enabled;
	bool has_serial;
	uint64_t serial;		/* device serial number capability */
};

/* Lists the cards by PCI address; returns their number. The caller frees *cards. */
unsigned int pci_find(struct pci_card **cards);

/* ---- device.c ---- */

/* A card as PCI and the driver see it. */
struct card {
	struct pci_card pci;
	bool bound;		/* the driver has it; else what follows is empty */
	unsigned int index;	/* libaccel's */
	struct accel_device_info info;
};

/*
 * The cards of this machine by PCI address, as far as ACCEL_VISIBLE_DEVICES leaves them; returns their number, or
 * -status. The caller frees *cards.
 */
int find_cards(struct ctl *ctl, struct card **cards);
/* The same that complains to nobody: -errno. */
int scan_cards(struct card **cards);
/* Whether somebody means this card by that name. */
bool card_is_named(const struct card *card, const char *name);
/* The card that the user asked for, or all, of which there is one at least. The caller frees *cards. */
enum status wanted_cards(struct ctl *ctl, struct card **cards, unsigned int *count);
/* Fails if the cards are models inside this process, of which nobody else knows. */
enum status need_shared_cards(struct ctl *ctl);
/* Says that there is none. */
enum status no_card(struct ctl *ctl);
/* The card that the user asked for, or the first. */
enum status choose_card(struct ctl *ctl, struct card *card);
/* Opens it, with errors as the exit status wants them. */
enum status open_card(struct ctl *ctl, const struct card *card, struct accel_device **device);

#endif

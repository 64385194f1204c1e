/* SPDX-License-Identifier: MIT */
/*
 * accelctl memory: memory of each card, and who has it.
 *
 * Processes are found as the kernel's drm-usage-stats has it: every open node of a card has
 * lines in /proc/PID/fdinfo/FD. Descriptors that are one client (after dup() or in a thread)
 * count once; a client that several processes have open is shown for each of them.
 */
#include "accelctl.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum region { REGION_VRAM, REGION_SYSTEM, REGIONS };
enum figure { FIGURE_TOTAL, FIGURE_SHARED, FIGURE_RESIDENT, FIGURE_ACTIVE, FIGURE_PURGEABLE, FIGURES };

static const char *const region_names[] = { "vram", "system" };
static const char *const figure_names[] = { "total", "shared", "resident", "active", "purgeable" };

/* What one client has, by its fdinfo. */
struct client {
	char driver[16];
	char address[16];
	uint64_t id;
	uint64_t bytes[REGIONS][FIGURES];
};

/* What a process has on a card. */
struct process {
	int pid;
	char name[32];
	char address[16];
	unsigned int clients;
	uint64_t bytes[REGIONS][FIGURES];
};

struct processes {
	struct process *list;
	unsigned int count;
	unsigned int unreadable;	/* of other users */
};

/* "12 KiB" and the like. */
static uint64_t parse_size(const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 10);

	while (*end == ' ')
		end++;
	if (!strncmp(end, "KiB", 3))
		return value << 10;
	if (!strncmp(end, "MiB", 3))
		return value << 20;
	if (!strncmp(end, "GiB", 3))
		return value << 30;
	return value;
}

static void take_word(const char *value, char *to, size_t room)
{
	snprintf(to, room, "%.*s", (int)strcspn(value, " \t\n"), value);
}

static void take_figure(struct client *client, const char *key, const char *value)
{
	char name[48];

	for (unsigned int r = 0; r < REGIONS; r++) {
		for (unsigned int f = 0; f < FIGURES; f++) {
			snprintf(name, sizeof(name), "drm-%s-%s", figure_names[f], region_names[r]);
			if (!strcmp(key, name))
				client->bytes[r][f] = parse_size(value);
		}
	}
}

/* False: it is no open node of a card. */
static bool read_client(const char *path, struct client *client)
{
	FILE *file = fopen(path, "re");
	char line[256];

	memset(client, 0, sizeof(*client));
	if (!file)
		return false;
	while (fgets(line, sizeof(line), file)) {
		char *value = strchr(line, ':');

		if (!value)
			continue;
		*value++ = '\0';
		value += strspn(value, " \t");
		if (!strcmp(line, "drm-driver"))
			take_word(value, client->driver, sizeof(client->driver));
		else if (!strcmp(line, "drm-pdev"))
			take_word(value, client->address, sizeof(client->address));
		else if (!strcmp(line, "drm-client-id"))
			client->id = strtoull(value, NULL, 10);
		else
			take_figure(client, line, value);
	}
	fclose(file);
	return !strcmp(client->driver, "onpu") && client->address[0];
}

static struct process *find_process(struct processes *all, int pid, const char *address)
{
	struct process *process;

	for (unsigned int i = 0; i < all->count; i++)
		if (all->list[i].pid == pid && !strcmp(all->list[i].address, address))
			return &all->list[i];
	process = realloc(all->list, (all->count + 1) * sizeof(*process));
	if (!process)
		abort();
	all->list = process;
	process += all->count++;
	memset(process, 0, sizeof(*process));
	process->pid = pid;
	snprintf(process->address, sizeof(process->address), "%s", address);
	return process;
}

static void read_name(int pid, char *name, size_t room)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	file = fopen(path, "re");
	if (!file || !fgets(name, (int)room, file))
		snprintf(name, room, "?");
	name[strcspn(name, "\n")] = '\0';
	if (file)
		fclose(file);
}

static void add_client(struct processes *all, int pid, const struct client *client)
{
	struct process *process = find_process(all, pid, client->address);

	if (!process->clients++)
		read_name(pid, process->name, sizeof(process->name));
	for (unsigned int r = 0; r < REGIONS; r++)
		for (unsigned int f = 0; f < FIGURES; f++)
			process->bytes[r][f] += client->bytes[r][f];
}

/* Ids of clients are unique on a card. */
static bool seen_before(struct client **seen, unsigned int *count, const struct client *client)
{
	struct client *more;

	for (unsigned int i = 0; i < *count; i++)
		if ((*seen)[i].id == client->id && !strcmp((*seen)[i].address, client->address))
			return true;
	more = realloc(*seen, (*count + 1) * sizeof(*more));
	if (!more)
		abort();
	more[(*count)++] = *client;
	*seen = more;
	return false;
}

static void read_process(struct processes *all, int pid, const char *only)
{
	struct client *seen = NULL, client;
	unsigned int count = 0;
	char path[320];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo", pid);
	dir = opendir(path);
	if (!dir) {
		all->unreadable += errno == EACCES || errno == EPERM;
		return;
	}
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/fdinfo/%s", pid, entry->d_name);
		if (!read_client(path, &client) || (only && strcmp(only, client.address)))
			continue;
		if (!seen_before(&seen, &count, &client))
			add_client(all, pid, &client);
	}
	closedir(dir);
	free(seen);
}

static void read_processes(struct processes *all, const char *only)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			read_process(all, atoi(entry->d_name), only);
	if (dir)
		closedir(dir);
}

/* ---- output ---- */

static void card_json(struct json_object *array, const struct card *card)
{
	struct json_object *object = json_object_new_object();
	const struct accel_device_info *info = &card->info;
	bool known = card->bound && !info->status;

	json_object_object_add(object, "index",
			       card->bound ? json_object_new_int64(card->index) : NULL);
	add_text(object, "pci_address", card->pci.address);
	add_text(object, "node", card->bound ? info->node : NULL);
	add_bool(object, "known", known);
	if (known) {
		add_int(object, "memory_size", (int64_t)info->memory_size);
		add_int(object, "memory_visible", (int64_t)info->memory_visible);
		add_int(object, "memory_used", (int64_t)info->memory_used);
		add_int(object, "host_memory_used", (int64_t)info->host_used);
	}
	json_object_array_add(array, object);
}

static void card_text(const struct ctl *ctl, const struct card *card)
{
	const struct accel_device_info *info = &card->info;
	char size[32], visible[32], used[32], host[32];

	if (!card->bound || info->status) {
		print(ctl, "%-5s  %-12s  %s\n", "-", card->pci.address,
		      card->bound ? strerror(-info->status) : "the onpu driver is not bound");
		return;
	}
	print(ctl, "%-5u  %-12s  %10s  %10s  %10s  %10s\n", card->index, card->pci.address,
	      human_size(info->memory_size, size), human_size(info->memory_visible, visible),
	      human_size(info->memory_used, used), human_size(info->host_used, host));
}

static void process_json(struct json_object *array, const struct process *process)
{
	struct json_object *object = json_object_new_object();

	add_int(object, "pid", process->pid);
	add_text(object, "name", process->name);
	add_text(object, "pci_address", process->address);
	add_int(object, "clients", process->clients);
	for (unsigned int r = 0; r < REGIONS; r++) {
		struct json_object *region = json_object_new_object();

		for (unsigned int f = 0; f < FIGURES; f++)
			add_int(region, figure_names[f], (int64_t)process->bytes[r][f]);
		json_object_object_add(object, region_names[r], region);
	}
	json_object_array_add(array, object);
}

static void process_text(const struct ctl *ctl, const struct process *process)
{
	const uint64_t *vram = process->bytes[REGION_VRAM], *system = process->bytes[REGION_SYSTEM];
	char a[32], b[32], c[32], d[32];

	print(ctl, "%7d  %-15s  %-12s  %10s  %10s  %10s  %10s\n", process->pid, process->name,
	      process->address, human_size(vram[FIGURE_TOTAL], a), human_size(system[FIGURE_TOTAL], b),
	      human_size(vram[FIGURE_SHARED] + system[FIGURE_SHARED], c),
	      human_size(vram[FIGURE_RESIDENT] + system[FIGURE_RESIDENT], d));
}

static int by_size(const void *a, const void *b)
{
	const struct process *x = a, *y = b;
	uint64_t one = x->bytes[REGION_VRAM][FIGURE_TOTAL], two = y->bytes[REGION_VRAM][FIGURE_TOTAL];

	if (one != two)
		return one < two ? 1 : -1;
	return x->pid - y->pid;
}

static void show(struct ctl *ctl, const struct card *cards, int count, struct processes *all)
{
	struct json_object *array = json_object_new_array();

	print(ctl, "%-5s  %-12s  %10s  %10s  %10s  %10s\n", "INDEX", "PCI", "CARD", "VISIBLE", "USED",
	      "SYSTEM");
	for (int i = 0; i < count; i++) {
		card_json(array, &cards[i]);
		card_text(ctl, &cards[i]);
	}
	json_object_object_add(ctl->doc, "cards", array);

	array = json_object_new_array();
	if (all->count) {
		qsort(all->list, all->count, sizeof(*all->list), by_size);
		print(ctl, "\n%7s  %-15s  %-12s  %10s  %10s  %10s  %10s\n", "PID", "NAME", "PCI", "CARD",
		      "SYSTEM", "SHARED", "RESIDENT");
	} else {
		print(ctl, "\nNo process has a card open.\n");
	}
	for (unsigned int i = 0; i < all->count; i++) {
		process_json(array, &all->list[i]);
		process_text(ctl, &all->list[i]);
	}
	if (all->unreadable)
		print(ctl, "%u processes of other users could not be looked at.\n", all->unreadable);
	json_object_object_add(ctl->doc, "processes", array);
	add_int(ctl->doc, "unreadable_processes", all->unreadable);
}

static enum status run_memory(struct ctl *ctl)
{
	struct processes all = { NULL, 0, 0 };
	enum status status = STATUS_OK;
	struct card one, *cards = NULL;
	int count = 1;

	if (ctl->device) {
		status = choose_card(ctl, &one);
		if (status)
			return status;
	} else {
		count = find_cards(ctl, &cards);
		if (count < 0)
			return (enum status)-count;
		if (!count) {
			free(cards);
			return error(ctl, STATUS_NO_DEVICE, "no card in this machine");
		}
	}
	read_processes(&all, ctl->device ? one.pci.address : NULL);
	show(ctl, cards ? cards : &one, count, &all);
	free(all.list);
	free(cards);
	return STATUS_OK;
}

const struct command command_memory = {
	.name = "memory",
	.summary = "show the memory of the cards, and which processes have it",
	.usage = "[DEVICE]",
	.timeout = 10,
	.run = run_memory,
};

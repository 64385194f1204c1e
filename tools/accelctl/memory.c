/* SPDX-License-Identifier: MIT */
/*
 * accelctl memory: memory of each card, and who has it.
 *
 * A card is asked through an open node, which is closed before processes are looked at.
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
	uint64_t pinned;	/* of the process, for all devices */
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

static void read_name(struct process *process)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", process->pid);
	file = fopen(path, "re");
	if (!file || !fgets(process->name, sizeof(process->name), file))
		snprintf(process->name, sizeof(process->name), "?");
	process->name[strcspn(process->name, "\n")] = '\0';
	if (file)
		fclose(file);
}

/* Pages that the process has pinned for devices: registered memory is among them. */
static void read_pinned(struct process *process)
{
	char path[64], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", process->pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, "VmPin:", 6))
			process->pinned = strtoull(line + 6, NULL, 10) << 10;
	if (file)
		fclose(file);
}

/* What belongs on the card and is not there now: evicted, swapped out, or given up. */
static uint64_t off_card(const struct process *process)
{
	const uint64_t *vram = process->bytes[REGION_VRAM];

	return vram[FIGURE_TOTAL] > vram[FIGURE_RESIDENT] ? vram[FIGURE_TOTAL] - vram[FIGURE_RESIDENT] : 0;
}

static void add_client(struct processes *all, int pid, const struct client *client)
{
	struct process *process = find_process(all, pid, client->address);

	if (!process->clients++) {
		read_name(process);
		read_pinned(process);
	}
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

static void limits_json(struct json_object *card, const struct accel_memory_info *memory)
{
	struct json_object *limits = json_object_new_object();

	add_int(limits, "buffer_size", (int64_t)memory->buffer_size_max);
	add_int(limits, "buffers", memory->buffers_max);
	add_int(limits, "contexts", memory->contexts_max);
	add_int(limits, "queues", memory->queues_max);
	add_int(limits, "mappings", memory->mappings_max);
	add_int(limits, "registered", (int64_t)memory->registered_max);
	json_object_object_add(card, "limits", limits);
}

static void card_json(struct json_object *array, const struct card *card,
		      const struct accel_memory_info *memory)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "index",
			       card->bound ? json_object_new_int64(card->index) : NULL);
	add_text(object, "pci_address", card->pci.address);
	add_text(object, "node", card->bound ? card->info.node : NULL);
	add_bool(object, "known", memory);
	if (memory) {
		add_int(object, "memory_size", (int64_t)memory->card_size);
		add_int(object, "memory_visible", (int64_t)memory->card_visible);
		add_int(object, "memory_used", (int64_t)memory->card_used);
		add_int(object, "memory_free", (int64_t)memory->card_free);
		add_int(object, "host_memory_used", (int64_t)memory->host_used);
		add_int(object, "registered_memory_used", (int64_t)memory->registered_used);
		limits_json(object, memory);
	}
	json_object_array_add(array, object);
}

static void card_text(const struct ctl *ctl, const struct card *card,
		      const struct accel_memory_info *memory, int error)
{
	char size[32], visible[32], used[32], left[32], host[32];

	if (!memory) {
		print(ctl, "%-5s  %-12s  %s\n", "-", card->pci.address,
		      card->bound ? strerror(-error) : "the onpu driver is not bound");
		return;
	}
	print(ctl, "%-5u  %-12s  %10s  %10s  %10s  %10s  %10s\n", card->index, card->pci.address,
	      human_size(memory->card_size, size), human_size(memory->card_visible, visible),
	      human_size(memory->card_used, used), human_size(memory->card_free, left),
	      human_size(memory->host_used, host));
}

/* What all cards have in common, from one of them. */
static void limits_text(const struct ctl *ctl, const struct accel_memory_info *memory)
{
	char used[32], most[32], buffer[32];

	print(ctl, "\nRegistered memory of processes, all cards: %s of at most %s.\n",
	      human_size(memory->registered_used, used), human_size(memory->registered_max, most));
	print(ctl, "An open node has at most %u buffers of up to %s, %u contexts, %u queues.\n",
	      memory->buffers_max, human_size(memory->buffer_size_max, buffer), memory->contexts_max,
	      memory->queues_max);
}

/* 0 or -errno. */
static int read_memory(const struct card *card, struct accel_memory_info *memory)
{
	struct accel_device *device;
	int ret;

	if (!card->bound)
		return -ENODEV;
	if (card->info.status)
		return card->info.status;
	ret = accel_device_open_name(card->info.pci_address, &device);
	if (ret)
		return ret;
	accel_memory_info_init(memory);
	ret = accel_device_get_memory(device, memory);
	accel_device_close(device);
	return ret;
}

static void show_cards(struct ctl *ctl, const struct card *cards, int count)
{
	struct json_object *array = json_object_new_array();
	struct accel_memory_info memory, known;

	accel_memory_info_init(&known);

	print(ctl, "%-5s  %-12s  %10s  %10s  %10s  %10s  %10s\n", "INDEX", "PCI", "CARD", "VISIBLE",
	      "USED", "FREE", "SYSTEM");
	for (int i = 0; i < count; i++) {
		int ret = read_memory(&cards[i], &memory);

		card_json(array, &cards[i], ret ? NULL : &memory);
		card_text(ctl, &cards[i], ret ? NULL : &memory, ret);
		if (!ret)
			known = memory;
	}
	if (known.buffers_max)
		limits_text(ctl, &known);
	json_object_object_add(ctl->doc, "cards", array);
}

static void process_json(struct json_object *array, const struct process *process)
{
	struct json_object *object = json_object_new_object();

	add_int(object, "pid", process->pid);
	add_text(object, "name", process->name);
	add_text(object, "pci_address", process->address);
	add_int(object, "clients", process->clients);
	add_int(object, "off_card", (int64_t)off_card(process));
	add_int(object, "pinned", (int64_t)process->pinned);
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
	char a[32], b[32], c[32], d[32], e[32], f[32], g[32];

	print(ctl, "%7d  %-15s  %-12s  %9s  %9s  %9s  %9s  %9s  %9s  %9s\n", process->pid, process->name,
	      process->address, human_size(vram[FIGURE_TOTAL], a), human_size(vram[FIGURE_RESIDENT], b),
	      human_size(off_card(process), c), human_size(system[FIGURE_TOTAL], d),
	      human_size(vram[FIGURE_SHARED] + system[FIGURE_SHARED], e),
	      human_size(vram[FIGURE_PURGEABLE] + system[FIGURE_PURGEABLE], f),
	      human_size(process->pinned, g));
}

static int by_size(const void *a, const void *b)
{
	const struct process *x = a, *y = b;
	uint64_t one = x->bytes[REGION_VRAM][FIGURE_TOTAL], two = y->bytes[REGION_VRAM][FIGURE_TOTAL];

	if (one != two)
		return one < two ? 1 : -1;
	return x->pid - y->pid;
}

static void show_processes(struct ctl *ctl, struct processes *all)
{
	struct json_object *array = json_object_new_array();

	if (all->count) {
		qsort(all->list, all->count, sizeof(*all->list), by_size);
		print(ctl, "\n%7s  %-15s  %-12s  %9s  %9s  %9s  %9s  %9s  %9s  %9s\n", "PID", "NAME", "PCI",
		      "CARD", "ON-CARD", "OFF-CARD", "SYSTEM", "SHARED", "PURGEABLE", "PINNED");
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
	show_cards(ctl, cards ? cards : &one, count);
	read_processes(&all, ctl->device ? one.pci.address : NULL);
	show_processes(ctl, &all);
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

/* SPDX-License-Identifier: MIT */
/*
 * accelctl memory: memory of each card, and who has it.
 *
 * A card is asked through an open node, which is closed before processes are looked at. A client that
 * several processes have open is shown for each of them.
 */
#include "accelctl.h"
#include "clients.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a process has on a card. */
struct process {
	int pid;
	const char *name, *address;
	unsigned int clients;
	uint64_t pinned;	/* of the process, for all devices */
	uint64_t bytes[REGIONS][FIGURES];
};

/* What belongs on the card and is not there now: evicted, swapped out, or given up. */
static uint64_t off_card(const struct process *process)
{
	const uint64_t *vram = process->bytes[REGION_VRAM];

	return vram[FIGURE_TOTAL] > vram[FIGURE_RESIDENT] ? vram[FIGURE_TOTAL] - vram[FIGURE_RESIDENT] : 0;
}

/* Adds up the clients of each process on each card; returns how many these are. */
static unsigned int by_process(const struct clients *clients, struct process *list)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < clients->count; i++) {
		const struct client *client = &clients->list[i];
		struct process *process = list;

		while (process < list + count && (process->pid != client->pid ||
						  strcmp(process->address, client->info.address)))
			process++;
		if (process == list + count) {
			count++;
			*process = (struct process){ .pid = client->pid, .name = client->command,
						     .address = client->info.address, .pinned = client->pinned };
		}
		process->clients++;
		for (unsigned int r = 0; r < REGIONS; r++)
			for (unsigned int f = 0; f < FIGURES; f++)
				process->bytes[r][f] += client->info.bytes[r][f];
	}
	return count;
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

static void show_cards(struct ctl *ctl, const struct card *cards, unsigned int count)
{
	struct json_object *array = json_object_new_array();
	struct accel_memory_info memory, known;

	accel_memory_info_init(&known);

	print(ctl, "%-5s  %-12s  %10s  %10s  %10s  %10s  %10s\n", "INDEX", "PCI", "CARD", "VISIBLE",
	      "USED", "FREE", "SYSTEM");
	for (unsigned int i = 0; i < count; i++) {
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

static void show_processes(struct ctl *ctl, const struct clients *clients)
{
	struct process *list = calloc(clients->count + 1, sizeof(*list));
	struct json_object *array = json_object_new_array();
	unsigned int count;
	char text[128];

	if (!list)
		abort();
	count = by_process(clients, list);
	if (count) {
		qsort(list, count, sizeof(*list), by_size);
		print(ctl, "\n%7s  %-15s  %-12s  %9s  %9s  %9s  %9s  %9s  %9s  %9s\n", "PID", "NAME", "PCI",
		      "CARD", "ON-CARD", "OFF-CARD", "SYSTEM", "SHARED", "PURGEABLE", "PINNED");
	} else {
		print(ctl, "\nNo process has a card open.\n");
	}
	for (unsigned int i = 0; i < count; i++) {
		process_json(array, &list[i]);
		process_text(ctl, &list[i]);
	}
	print(ctl, "%s", clients_unreadable_text(clients, text));
	json_object_object_add(ctl->doc, "processes", array);
	add_int(ctl->doc, "unreadable_processes", clients->unreadable);
	free(list);
}

static enum status run_memory(struct ctl *ctl)
{
	struct clients clients;
	struct card *cards;
	enum status status;
	unsigned int count;

	status = wanted_cards(ctl, &cards, &count);
	if (status)
		return status;
	show_cards(ctl, cards, count);
	clients_read(&clients, cards, count);
	show_processes(ctl, &clients);
	free(clients.list);
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

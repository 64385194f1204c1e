/* SPDX-License-Identifier: MIT */
/*
 * accelctl ps: who uses the cards, and what for.
 *
 * A client is an open node of a card. It is shown once, with the first of the processes that have it; what
 * it has are the figures of its fdinfo, which no card need be asked for.
 */
#include "accelctl.h"
#include "clients.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Whether it can have work done; else it only looks at the card, and is nobody's concern. */
static bool is_user(const struct client *client)
{
	const struct fdinfo *info = &client->info;

	return !info->has_counts || info->contexts || info->queues || info->bytes[REGION_VRAM][FIGURE_TOTAL] ||
	       info->bytes[REGION_SYSTEM][FIGURE_TOTAL];
}

static void add_count(struct json_object *object, const struct fdinfo *info, const char *name, uint64_t value)
{
	json_object_object_add(object, name, info->has_counts ? json_object_new_int64((int64_t)value) : NULL);
}

static struct json_object *client_json(const struct client *client)
{
	struct json_object *object = json_object_new_object();
	const struct fdinfo *info = &client->info;

	add_int(object, "pid", client->pid);
	add_text(object, "command", client->command);
	add_int(object, "uid", client->uid);
	add_text(object, "user", client->user);
	add_text(object, "pci_address", info->address);
	add_int(object, "client_id", (int64_t)info->id);
	add_int(object, "processes", client->processes);
	add_count(object, info, "contexts", info->contexts);
	add_count(object, info, "queues", info->queues);
	add_count(object, info, "user_queues", info->user_queues);
	add_count(object, info, "dead_queues", info->dead_queues);
	add_count(object, info, "jobs", info->jobs);
	add_int(object, "engine_ns", (int64_t)info->engine_ns);
	add_int(object, "card_memory", (int64_t)info->bytes[REGION_VRAM][FIGURE_TOTAL]);
	add_int(object, "card_memory_resident", (int64_t)info->bytes[REGION_VRAM][FIGURE_RESIDENT]);
	add_int(object, "host_memory", (int64_t)info->bytes[REGION_SYSTEM][FIGURE_TOTAL]);
	add_count(object, info, "hangs", info->hangs);
	add_count(object, info, "faults", info->faults);
	add_count(object, info, "errors", info->errors);
	return object;
}

static void client_text(const struct ctl *ctl, const struct client *client)
{
	const struct fdinfo *info = &client->info;
	char queues[48], failed[64] = "-", memory[32], resident[32], host[32];

	snprintf(queues, sizeof(queues), info->user_queues ? "%" PRIu64 "+%" PRIu64 "u" : "%" PRIu64,
		 info->queues - (info->user_queues > info->queues ? info->queues : info->user_queues),
		 info->user_queues);
	if (info->hangs || info->faults || info->errors)
		snprintf(failed, sizeof(failed), "%" PRIu64 "h %" PRIu64 "f %" PRIu64 "e", info->hangs, info->faults,
			 info->errors);
	print(ctl, "%7d  %-15s  %-10s  %-12s  %4" PRIu64 "  %8s  %10.3f  %9s  %9s  %9s  %s\n", client->pid,
	      client->command, client->user, info->address, info->contexts, queues, (double)info->engine_ns / 1e9,
	      human_size(info->bytes[REGION_VRAM][FIGURE_RESIDENT], resident),
	      human_size(info->bytes[REGION_VRAM][FIGURE_TOTAL], memory),
	      human_size(info->bytes[REGION_SYSTEM][FIGURE_TOTAL], host), failed);
}

static int by_engine_time(const void *a, const void *b)
{
	const struct client *x = a, *y = b;

	if (x->info.engine_ns != y->info.engine_ns)
		return x->info.engine_ns < y->info.engine_ns ? 1 : -1;
	return x->pid != y->pid ? x->pid - y->pid : (x->info.id > y->info.id) - (x->info.id < y->info.id);
}

static void show_clients(struct ctl *ctl, struct clients *clients)
{
	struct json_object *array = json_object_new_array();
	unsigned int shown = 0, hidden = 0;
	char text[128];

	if (clients->count)
		qsort(clients->list, clients->count, sizeof(*clients->list), by_engine_time);
	for (unsigned int i = 0; i < clients->count; i++) {
		const struct client *client = &clients->list[i];

		if (!client->first)
			continue;
		if (!ctl->watch.all && !is_user(client)) {
			hidden++;
			continue;
		}
		if (!shown++)
			print(ctl, "%7s  %-15s  %-10s  %-12s  %4s  %8s  %10s  %9s  %9s  %9s  %s\n", "PID", "COMMAND",
			      "USER", "PCI", "CTX", "QUEUES", "ENGINE-S", "ON-CARD", "CARD", "SYSTEM", "FAILED");
		json_object_array_add(array, client_json(client));
		client_text(ctl, client);
	}
	if (!shown)
		print(ctl, "No process uses a card.\n");
	if (hidden)
		print(ctl, "%u client%s only an open node (--all shows them).\n", hidden,
		      hidden == 1 ? " has" : "s have");
	print(ctl, "%s", clients_unreadable_text(clients, text));
	json_object_object_add(ctl->doc, "clients", array);
	add_int(ctl->doc, "hidden_clients", hidden);
	add_int(ctl->doc, "unreadable_processes", clients->unreadable);
}

static enum status run_ps(struct ctl *ctl)
{
	struct clients clients;
	struct card *cards;
	enum status status;
	unsigned int count;

	status = need_shared_cards(ctl);
	if (!status)
		status = wanted_cards(ctl, &cards, &count);
	if (status)
		return status;
	clients_read(&clients, cards, count);
	show_clients(ctl, &clients);
	free(clients.list);
	free(cards);
	return STATUS_OK;
}

enum { OPTION_ALL = 1000 };

static enum status option(struct ctl *ctl, int value, const char *argument)
{
	(void)value;
	(void)argument;
	ctl->watch.all = true;
	return STATUS_OK;
}

const struct command command_ps = {
	.name = "ps",
	.summary = "show who uses the cards: contexts, queues, time on the card, memory",
	.usage = "[DEVICE]",
	.options = "      --all             also clients that have nothing but an open node\n",
	.timeout = 10,
	.long_options = (const struct option[]){ { "all", no_argument, NULL, OPTION_ALL }, { 0 } },
	.option = option,
	.run = run_ps,
};

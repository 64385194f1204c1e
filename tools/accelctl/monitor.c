/* SPDX-License-Identifier: MIT */
/*
 * accelctl monitor: how busy the cards are, and with whose work, again and again.
 *
 * All rates are differences between two looks: what the counters of the card and the engine times of its clients
 * have risen by. Nothing is kept open from look to look, so a card may be unbound, reset or pulled, and the driver
 * unloaded, while it is watched; it is then shown as such until it is back. What was not there at the look before,
 * or counts less than then, has no rates yet.
 *
 * It runs in the child (main.c), which takes the signal to end between two looks.
 */
#define _GNU_SOURCE
#include "accelctl.h"
#include "clients.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A firmware whose heart has not beaten for so long of the card's time is silent: it should every 100 ms. */
#define SILENT_NS	1000000000ull

/* A card at a moment. */
struct look {
	struct card card;
	bool known;		/* the card answered: what follows is there */
	const char *state;
	char reason[128];	/* why not */
	struct accel_device_info info;
	struct accel_device_counters counters;
	uint64_t beat_ns;	/* device time of the first look that saw this heartbeat */
};

/* All of them. */
struct looks {
	struct look *list;
	unsigned int count;
	struct clients clients;
	uint64_t time_ns;	/* of the clients */
};

/* What has happened between two looks at a card. */
struct rates {
	bool known;
	double seconds;		/* of the card's time */
	double slots;		/* that executed, on average */
	double cores, copy, memory, host_read, host_write;	/* percent of engine time */
	double engine_rate;	/* engine time in a second */
	double gops, packets, matmuls, copy_bytes, irqs, faults;	/* a second */
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* ---- looking ---- */

static void ask_card(struct look *look)
{
	struct accel_device *device;
	int ret;

	if (!look->card.bound) {
		look->state = "unbound";
		snprintf(look->reason, sizeof(look->reason), "the onpu driver is not bound (bound: %s)",
			 look->card.pci.driver[0] ? look->card.pci.driver : "none");
		return;
	}
	accel_device_info_init(&look->info);
	accel_device_counters_init(&look->counters);
	ret = accel_device_open_name(look->card.info.pci_address, &device);
	if (!ret) {
		ret = accel_device_get_info(device, &look->info);
		if (!ret)
			ret = accel_device_get_counters(device, &look->counters);
		accel_device_close(device);
	}
	look->known = !ret;
	look->state = ret ? "error" : "ready";
	if (ret)
		snprintf(look->reason, sizeof(look->reason), "%s", strerror(-ret));
}

static const struct look *find_look(const struct looks *looks, const char *address)
{
	for (unsigned int i = 0; i < looks->count; i++)
		if (!strcmp(looks->list[i].card.pci.address, address))
			return &looks->list[i];
	return NULL;
}

static void add_look(struct looks *looks, const struct card *card, const struct looks *before)
{
	const struct look *last = find_look(before, card->pci.address);
	struct look *look = &looks->list[looks->count++];

	look->card = *card;
	ask_card(look);
	look->beat_ns = look->info.device_time_ns;
	if (last && last->known && look->known && last->info.firmware_heartbeat == look->info.firmware_heartbeat)
		look->beat_ns = last->beat_ns;
}

/* Cards that were there and are not any more. */
static void add_gone(struct looks *looks, const struct looks *before)
{
	for (unsigned int i = 0; i < before->count; i++) {
		struct look *look;

		if (find_look(looks, before->list[i].card.pci.address))
			continue;
		look = &looks->list[looks->count++];
		look->card = before->list[i].card;
		look->state = "gone";
		snprintf(look->reason, sizeof(look->reason), "the card is not there any more");
	}
}

/* The cards that are wanted, as they are now; what was known at the look before stays in the list. */
static void look_at_all(const struct ctl *ctl, struct looks *looks, const struct looks *before)
{
	struct card *cards;
	int count = scan_cards(&cards);
	unsigned int wanted = 0;

	memset(looks, 0, sizeof(*looks));
	for (int i = 0; i < count; i++)
		if (!ctl->device || card_is_named(&cards[i], ctl->device) ||
		    find_look(before, cards[i].pci.address))
			cards[wanted++] = cards[i];
	looks->list = calloc(wanted + before->count + 1, sizeof(*looks->list));
	if (!looks->list)
		abort();
	for (unsigned int i = 0; i < wanted; i++)
		if (!ctl->device || !before->count || find_look(before, cards[i].pci.address))
			add_look(looks, &cards[i], before);
	add_gone(looks, before);
	clients_read(&looks->clients, cards, wanted);
	looks->time_ns = now_ns();
	free(cards);
}

static void free_looks(struct looks *looks)
{
	free(looks->list);
	free(looks->clients.list);
}

/* ---- differences ---- */

static double share(uint64_t now, uint64_t before, double of)
{
	return of > 0 && now > before ? (double)(now - before) / of : 0;
}

static struct rates rates_of(const struct look *now, const struct look *before)
{
	const struct accel_device_counters *c = &now->counters, *b = before ? &before->counters : NULL;
	struct rates r = { .known = false };
	double engine;

	/* Power-on begins all counters again. */
	if (!now->known || !before || !before->known || now->info.device_time_ns <= before->info.device_time_ns ||
	    c->packets < b->packets || c->engine_time_ns < b->engine_time_ns)
		return r;
	r.known = true;
	r.seconds = (double)(now->info.device_time_ns - before->info.device_time_ns) / 1e9;
	r.slots = share(c->busy_ns, b->busy_ns, r.seconds * 1e9);
	engine = (double)(c->engine_time_ns - b->engine_time_ns);
	r.cores = 100 * share(c->cores_busy_ns, b->cores_busy_ns, engine);
	r.copy = 100 * share(c->copy_busy_ns, b->copy_busy_ns, engine);
	r.memory = 100 * share(c->memory_busy_ns, b->memory_busy_ns, engine);
	r.host_read = 100 * share(c->host_read_busy_ns, b->host_read_busy_ns, engine);
	r.host_write = 100 * share(c->host_write_busy_ns, b->host_write_busy_ns, engine);
	r.engine_rate = engine / 1e9 / r.seconds;
	r.gops = share(c->matmul_ops, b->matmul_ops, r.seconds * 1e9);
	r.packets = share(c->packets, b->packets, r.seconds);
	r.matmuls = share(c->matmuls, b->matmuls, r.seconds);
	r.copy_bytes = share(c->copy_bytes, b->copy_bytes, r.seconds);
	r.irqs = share(c->irqs, b->irqs, r.seconds);
	r.faults = share(c->faults, b->faults, r.seconds);
	return r;
}

static bool is_silent(const struct look *look)
{
	return look->known && look->info.device_time_ns - look->beat_ns >= SILENT_NS;
}

/* A client and what it did. */
struct use {
	const struct client *client;
	bool known;		/* it was there at the look before */
	double percent;		/* of one slot */
	double jobs;		/* a second */
};

static struct use use_of(const struct client *client, const struct looks *now, const struct looks *before)
{
	double seconds = (double)(now->time_ns - before->time_ns) / 1e9;
	struct use use = { .client = client };

	for (unsigned int i = 0; i < before->clients.count; i++) {
		const struct client *other = &before->clients.list[i];

		if (other->info.id != client->info.id || strcmp(other->info.address, client->info.address))
			continue;
		use.known = true;
		use.percent = 100 * share(client->info.engine_ns, other->info.engine_ns, seconds * 1e9);
		use.jobs = share(client->info.jobs, other->info.jobs, seconds);
		break;
	}
	return use;
}

static int by_use(const void *a, const void *b)
{
	const struct use *x = a, *y = b;

	if (x->percent != y->percent)
		return x->percent < y->percent ? 1 : -1;
	return x->client->pid - y->client->pid;
}

/* The clients of all cards, busiest first; the caller frees the list. */
static struct use *all_uses(const struct looks *now, const struct looks *before, unsigned int *count)
{
	struct use *uses = calloc(now->clients.count + 1, sizeof(*uses));

	if (!uses)
		abort();
	*count = 0;
	for (unsigned int i = 0; i < now->clients.count; i++)
		if (now->clients.list[i].first)
			uses[(*count)++] = use_of(&now->clients.list[i], now, before);
	qsort(uses, *count, sizeof(*uses), by_use);
	return uses;
}

/* ---- text ---- */

static void card_text(const struct look *look, const struct rates *r)
{
	char index[16] = "-", used[32], size[32], copied[32], memory[80];

	if (look->card.bound)
		snprintf(index, sizeof(index), "%u", look->card.index);
	if (!look->known) {
		printf("%-4s  %-12s  %s: %s\n", index, look->card.pci.address, look->state, look->reason);
		return;
	}
	snprintf(memory, sizeof(memory), "%s/%s", human_size(look->info.memory_used, used),
		 human_size(look->info.memory_size, size));
	if (!r->known) {
		printf("%-4s  %-12s  back; rates from the next report on  %s\n", index, look->card.pci.address, memory);
		return;
	}
	printf("%-4s  %-12s  %5.2f/%-3u  %5.1f  %5.1f  %5.1f  %5.1f  %5.1f  %8.1f  %9.0f  %9.0f  %9s/s  %8.0f  %-19s  %s\n",
	       index, look->card.pci.address, r->slots, look->info.slots, r->cores, r->copy, r->memory, r->host_read,
	       r->host_write, r->gops, r->packets, r->matmuls, human_size((uint64_t)r->copy_bytes, copied), r->irqs,
	       memory, is_silent(look) ? "silent" : "alive");
}

static void uses_text(const struct use *uses, unsigned int count)
{
	char memory[32];

	if (count)
		printf("\n%7s  %-15s  %-10s  %-12s  %6s  %9s  %4s  %6s  %10s  %9s\n", "PID", "COMMAND", "USER", "PCI",
		       "SLOT%", "JOBS/S", "CTX", "QUEUES", "ENGINE-S", "ON-CARD");
	for (unsigned int i = 0; i < count; i++) {
		const struct client *client = uses[i].client;
		const struct fdinfo *info = &client->info;
		char percent[16] = "-", jobs[16] = "-";

		if (uses[i].known) {
			snprintf(percent, sizeof(percent), "%.1f", uses[i].percent);
			snprintf(jobs, sizeof(jobs), "%.0f", uses[i].jobs);
		}
		printf("%7d  %-15s  %-10s  %-12s  %6s  %9s  %4" PRIu64 "  %6" PRIu64 "  %10.3f  %9s\n", client->pid,
		       client->command, client->user, info->address, percent, jobs, info->contexts, info->queues,
		       (double)info->engine_ns / 1e9, human_size(info->bytes[REGION_VRAM][FIGURE_RESIDENT], memory));
	}
}

static void report_text(const struct ctl *ctl, const struct looks *now, const struct looks *before,
			const struct use *uses, unsigned int count)
{
	time_t seconds = time(NULL);
	struct tm tm;
	char text[128];

	if (ctl->tty && !ctl->watch.batch)
		printf("\033[H\033[2J");
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", localtime_r(&seconds, &tm));
	printf("%s  every %g s\n", text, ctl->watch.interval_ms / 1e3);
	printf("%-4s  %-12s  %9s  %5s  %5s  %5s  %5s  %5s  %8s  %9s  %9s  %11s  %8s  %-19s  %s\n", "CARD", "PCI",
	       "SLOTS", "CORE%", "COPY%", "MEM%", "IN%", "OUT%", "GOP/S", "PACKETS/S", "MATMULS/S", "COPIED", "IRQ/S",
	       "MEMORY", "FIRMWARE");
	for (unsigned int i = 0; i < now->count; i++) {
		const struct look *look = &now->list[i];
		struct rates r = rates_of(look, find_look(before, look->card.pci.address));

		card_text(look, &r);
	}
	uses_text(uses, count);
	printf("%s\n", clients_unreadable_text(&now->clients, text));
}

/* ---- JSON ---- */

/* What is not known is null. */
static void add_rate(struct json_object *object, const char *name, bool known, double value)
{
	json_object_object_add(object, name, known ? json_object_new_double(value) : NULL);
}

static void add_known(struct json_object *object, const char *name, bool known, uint64_t value)
{
	json_object_object_add(object, name, known ? json_object_new_int64((int64_t)value) : NULL);
}

static struct json_object *card_json(const struct look *look, const struct rates *r)
{
	struct json_object *object = json_object_new_object();

	add_known(object, "index", look->card.bound, look->card.index);
	add_text(object, "pci_address", look->card.pci.address);
	add_text(object, "state", look->state);
	add_text(object, "state_detail", look->known ? NULL : look->reason);
	add_rate(object, "seconds", r->known, r->seconds);
	add_known(object, "slots", look->known, look->info.slots);
	add_rate(object, "slots_busy", r->known, r->slots);
	add_rate(object, "cores_percent", r->known, r->cores);
	add_rate(object, "copy_percent", r->known, r->copy);
	add_rate(object, "memory_percent", r->known, r->memory);
	add_rate(object, "host_read_percent", r->known, r->host_read);
	add_rate(object, "host_write_percent", r->known, r->host_write);
	add_rate(object, "engine_rate", r->known, r->engine_rate);
	add_rate(object, "gops", r->known, r->gops);
	add_rate(object, "packets_per_second", r->known, r->packets);
	add_rate(object, "matmuls_per_second", r->known, r->matmuls);
	add_rate(object, "copy_bytes_per_second", r->known, r->copy_bytes);
	add_rate(object, "interrupts_per_second", r->known, r->irqs);
	add_rate(object, "faults_per_second", r->known, r->faults);
	add_known(object, "memory_size", look->known, look->info.memory_size);
	add_known(object, "memory_used", look->known, look->info.memory_used);
	add_known(object, "host_memory_used", look->known, look->info.host_used);
	add_known(object, "heartbeat", look->known, look->info.firmware_heartbeat);
	json_object_object_add(object, "firmware_silent",
			       look->known ? json_object_new_boolean(is_silent(look)) : NULL);
	add_known(object, "generation", look->known, look->info.generation);
	return object;
}

static struct json_object *use_json(const struct use *use)
{
	struct json_object *object = json_object_new_object();
	const struct client *client = use->client;
	const struct fdinfo *info = &client->info;

	add_int(object, "pid", client->pid);
	add_text(object, "command", client->command);
	add_text(object, "user", client->user);
	add_text(object, "pci_address", info->address);
	add_int(object, "client_id", (int64_t)info->id);
	add_rate(object, "slot_percent", use->known, use->percent);
	add_rate(object, "jobs_per_second", use->known, use->jobs);
	add_int(object, "contexts", (int64_t)info->contexts);
	add_int(object, "queues", (int64_t)info->queues);
	add_int(object, "engine_ns", (int64_t)info->engine_ns);
	add_int(object, "card_memory_resident", (int64_t)info->bytes[REGION_VRAM][FIGURE_RESIDENT]);
	return object;
}

static void report_json(const struct ctl *ctl, const struct looks *now, const struct looks *before,
			const struct use *uses, unsigned int count)
{
	struct json_object *doc = new_document(ctl->command->name);
	struct json_object *cards = json_object_new_array(), *clients = json_object_new_array();

	add_double(doc, "interval", ctl->watch.interval_ms / 1e3);
	add_int(doc, "time", time(NULL));
	for (unsigned int i = 0; i < now->count; i++) {
		const struct look *look = &now->list[i];
		struct rates r = rates_of(look, find_look(before, look->card.pci.address));

		json_object_array_add(cards, card_json(look, &r));
	}
	for (unsigned int i = 0; i < count; i++)
		json_object_array_add(clients, use_json(&uses[i]));
	json_object_object_add(doc, "cards", cards);
	json_object_object_add(doc, "clients", clients);
	add_int(doc, "unreadable_processes", now->clients.unreadable);
	print_document(doc, STATUS_OK, true);
	json_object_put(doc);
}

/* ---- the loop ---- */

/* False when it shall end. */
static bool pause_for(unsigned int ms)
{
	struct timespec time = { ms / 1000, (long)(ms % 1000) * 1000000 };
	sigset_t set;
	int number;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	number = sigtimedwait(&set, NULL, &time);
	return number <= 0;
}

static void report(const struct ctl *ctl, const struct looks *now, const struct looks *before)
{
	unsigned int count;
	struct use *uses = all_uses(now, before, &count);

	if (ctl->json)
		report_json(ctl, now, before, uses, count);
	else
		report_text(ctl, now, before, uses, count);
	free(uses);
}

static enum status run_monitor(struct ctl *ctl)
{
	struct looks now, before = { .list = NULL };
	enum status status;
	struct card *cards;
	unsigned int count;

	status = need_shared_cards(ctl);
	if (!status)
		status = wanted_cards(ctl, &cards, &count);	/* says what is wrong with the arguments */
	if (status)
		return status;
	free(cards);
	look_at_all(ctl, &before, &before);
	for (unsigned int i = 0; !ctl->watch.count || i < ctl->watch.count; i++) {
		if (!pause_for(ctl->watch.interval_ms))
			break;
		look_at_all(ctl, &now, &before);
		report(ctl, &now, &before);
		free_looks(&before);
		before = now;
		if (fflush(stdout))
			break;
	}
	free_looks(&before);
	return STATUS_OK;
}

enum { OPTION_INTERVAL = 1000, OPTION_COUNT, OPTION_BATCH };

static enum status take_interval(struct ctl *ctl, const char *text)
{
	char *end;
	double value = strtod(text, &end);

	if (!((*text >= '0' && *text <= '9') || *text == '.') || *end || !isfinite(value) || value < 0.05 || value > 3600)
		return error(ctl, STATUS_USAGE, "--interval: \"%s\" is no number from 0.05 to 3600", text);
	ctl->watch.interval_ms = (unsigned int)(value * 1e3 + 0.5);
	return STATUS_OK;
}

static enum status take_count(struct ctl *ctl, const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || !value || value > 1000000000)
		return error(ctl, STATUS_USAGE, "--count: \"%s\" is no number from 1 to 1000000000", text);
	ctl->watch.count = (unsigned int)value;
	return STATUS_OK;
}

static enum status option(struct ctl *ctl, int value, const char *argument)
{
	switch (value) {
	case OPTION_INTERVAL:
		return take_interval(ctl, argument);
	case OPTION_COUNT:
		return take_count(ctl, argument);
	default:
		ctl->watch.batch = true;
		return STATUS_OK;
	}
}

const struct command command_monitor = {
	.name = "monitor",
	.summary = "show how busy the cards are, and with whose work, until interrupted",
	.usage = "[DEVICE]",
	.options = "      --interval SECONDS  time from report to report (default: 1)\n"
		   "      --count N         end after N reports\n"
		   "      --batch           report below report, also on a terminal\n",
	.timeout = 10,
	.streams = true,
	.long_options = (const struct option[]){ { "interval", required_argument, NULL, OPTION_INTERVAL },
						 { "count", required_argument, NULL, OPTION_COUNT },
						 { "batch", no_argument, NULL, OPTION_BATCH }, { 0 } },
	.option = option,
	.run = run_monitor,
};

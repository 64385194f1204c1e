/* SPDX-License-Identifier: MIT */
/*
 * accelctl list and accelctl info.
 */
#include "accelctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One word for what can be done with the card. */
static const char *state_of(const struct card *card)
{
	if (!card->bound)
		return "unbound";
	return card->info.status ? "error" : "ready";
}

static void add_identity(struct json_object *object, const struct card *card)
{
	json_object_object_add(object, "index",
			       card->bound ? json_object_new_int64(card->index) : NULL);
	add_text(object, "pci_address", card->pci.address);
	add_format(object, "vendor_id", "0x%04x", card->pci.vendor);
	add_format(object, "device_id", "0x%04x", card->pci.device);
	add_text(object, "node", card->bound ? card->info.node : NULL);
	add_text(object, "driver", card->pci.driver[0] ? card->pci.driver : NULL);
	add_text(object, "state", state_of(card));
	add_text(object, "state_detail", card->bound && card->info.status ?
		 strerror(-card->info.status) : NULL);
}

static void list_json(struct ctl *ctl, const struct card *cards, int count)
{
	struct json_object *array = json_object_new_array();

	for (int i = 0; i < count; i++) {
		struct json_object *object = json_object_new_object();
		const struct accel_device_info *info = &cards[i].info;
		bool known = cards[i].bound && !info->status;

		add_identity(object, &cards[i]);
		json_object_object_add(object, "cores",
				       known ? json_object_new_int64(info->cores) : NULL);
		json_object_object_add(object, "memory_size", known ?
				       json_object_new_int64((int64_t)info->memory_size) : NULL);
		json_object_array_add(array, object);
	}
	json_object_object_add(ctl->doc, "devices", array);
}

static void list_text(const struct ctl *ctl, const struct card *cards, int count)
{
	if (count)
		print(ctl, "%-5s  %-12s  %-9s  %-18s  %-8s  %-6s  %s\n", "INDEX", "PCI", "ID", "NODE",
		      "STATE", "CORES", "MEMORY");
	for (int i = 0; i < count; i++) {
		const struct card *card = &cards[i];
		char index[16] = "-", memory[32] = "-", cores[16] = "-";

		if (card->bound)
			snprintf(index, sizeof(index), "%u", card->index);
		if (card->bound && !card->info.status) {
			human_size(card->info.memory_size, memory);
			snprintf(cores, sizeof(cores), "%u", card->info.cores);
		}
		print(ctl, "%-5s  %-12s  %04x:%04x  %-18s  %-8s  %-6s  %s\n", index, card->pci.address,
		      card->pci.vendor, card->pci.device, card->bound ? card->info.node : "-",
		      state_of(card), cores, memory);
		if (!card->bound)
			print(ctl, "       the onpu driver is not bound (bound: %s)\n",
			      card->pci.driver[0] ? card->pci.driver : "none");
		else if (card->info.status)
			print(ctl, "       %s: %s\n", card->info.node, strerror(-card->info.status));
	}
}

static enum status run_list(struct ctl *ctl)
{
	struct card *cards;
	int count = find_cards(ctl, &cards);

	if (count < 0)
		return (enum status)-count;
	list_json(ctl, cards, count);
	list_text(ctl, cards, count);
	free(cards);
	return count ? STATUS_OK : no_card(ctl);
}

static enum status no_arguments(struct ctl *ctl, int count, char **arguments)
{
	return count ? error(ctl, STATUS_USAGE, "unexpected argument \"%s\"", arguments[0]) : STATUS_OK;
}

const struct command command_list = {
	.name = "list",
	.summary = "list the cards of this machine, with or without driver",
	.usage = "",
	.timeout = 10,
	.arguments = no_arguments,
	.run = run_list,
};

/* ---- info ---- */

static struct json_object *pci_json(const struct pci_card *pci)
{
	struct json_object *object = json_object_new_object(), *bars = json_object_new_array();
	struct json_object *link = NULL;

	add_format(object, "class", "0x%06x", pci->class_code);
	add_format(object, "revision", "0x%02x", pci->revision);
	add_format(object, "subsystem_vendor_id", "0x%04x", pci->subsystem_vendor);
	add_format(object, "subsystem_device_id", "0x%04x", pci->subsystem_device);
	add_bool(object, "memory_enabled", pci->memory_enabled);
	add_bool(object, "bus_master", pci->bus_master);
	add_int(object, "numa_node", pci->numa_node);
	for (unsigned int i = 0; i < pci->bar_count; i++) {
		struct json_object *bar = json_object_new_object();

		add_int(bar, "index", pci->bars[i].index);
		add_format(bar, "address", "0x%" PRIx64, pci->bars[i].address);
		add_int(bar, "size", (int64_t)pci->bars[i].size);
		add_bool(bar, "is_64bit", pci->bars[i].is_64bit);
		add_bool(bar, "prefetchable", pci->bars[i].prefetchable);
		json_object_array_add(bars, bar);
	}
	json_object_object_add(object, "bars", bars);
	if (pci->has_link) {
		link = json_object_new_object();
		add_text(link, "speed", pci->link_speed);
		add_int(link, "width", pci->link_width);
		add_text(link, "speed_max", pci->link_speed_max);
		add_int(link, "width_max", pci->link_width_max);
	}
	json_object_object_add(object, "link", link);
	add_int(object, "msix_vectors", pci->msix_vectors);
	add_bool(object, "msix_enabled", pci->msix_enabled);
	if (pci->has_serial)
		add_format(object, "serial", "%016" PRIx64, pci->serial);
	else
		add_text(object, "serial", NULL);
	return object;
}

static struct json_object *types_json(uint32_t types)
{
	struct json_object *array = json_object_new_array();

	for (uint32_t type = 0; type < 32; type++)
		if (types >> type & 1 && accel_type_name(type))
			json_object_array_add(array, json_object_new_string(accel_type_name(type)));
	return array;
}

static struct json_object *card_json(const struct accel_device_info *info)
{
	struct json_object *object = json_object_new_object(), *macs = json_object_new_array();

	add_format(object, "hw_version", "%u.%u", info->hw_version >> 16, info->hw_version & 0xffff);
	add_format(object, "serial", "%016" PRIx64, info->serial);
	add_int(object, "cores", info->cores);
	add_int(object, "core_clock_khz", info->core_clock_khz);
	add_int(object, "slots", info->slots);
	add_int(object, "dim_max", info->dim_max);
	for (size_t i = 0; i < ARRAY_SIZE(info->macs_per_cycle); i++)
		json_object_array_add(macs, json_object_new_int64(info->macs_per_cycle[i]));
	json_object_object_add(object, "macs_per_cycle", macs);
	add_int(object, "memory_bandwidth", (int64_t)info->memory_bandwidth);
	add_int(object, "host_bandwidth", (int64_t)info->host_bandwidth);
	add_int(object, "packet_ns", info->packet_ns);
	json_object_object_add(object, "types_in", types_json(info->types_in));
	json_object_object_add(object, "types_out", types_json(info->types_out));
	add_int(object, "generation", info->generation);
	add_int(object, "device_time_ns", (int64_t)info->device_time_ns);
	add_int(object, "memory_size", (int64_t)info->memory_size);
	add_int(object, "memory_used", (int64_t)info->memory_used);
	add_int(object, "memory_visible", (int64_t)info->memory_visible);
	add_int(object, "host_memory_used", (int64_t)info->host_used);
	return object;
}

static struct json_object *firmware_json(const struct accel_device_info *info)
{
	struct json_object *object = json_object_new_object();

	add_format(object, "version", "%u.%u.%u", info->firmware_version >> 24,
		   info->firmware_version >> 16 & 0xff, info->firmware_version & 0xffff);
	add_int(object, "svn", info->firmware_svn);
	add_int(object, "heartbeat", info->firmware_heartbeat);
	return object;
}

static struct json_object *driver_json(const struct accel_device_info *info)
{
	struct json_object *object = json_object_new_object();

	add_text(object, "name", info->driver_name);
	add_format(object, "version", "%u.%u.%u", info->driver_version[0], info->driver_version[1],
		   info->driver_version[2]);
	add_int(object, "contexts_max", info->contexts_max);
	add_int(object, "queues_max", info->queues_max);
	add_int(object, "buffer_size_max", (int64_t)info->buffer_size_max);
	add_int(object, "job_timeout_ms", info->job_timeout_ms);
	return object;
}

static struct json_object *counters_json(const struct accel_device_counters *counters)
{
	struct json_object *object = json_object_new_object();

	add_int(object, "busy_ns", (int64_t)counters->busy_ns);
	add_int(object, "packets", (int64_t)counters->packets);
	add_int(object, "matmuls", (int64_t)counters->matmuls);
	add_int(object, "matmul_ops", (int64_t)counters->matmul_ops);
	add_int(object, "copy_bytes", (int64_t)counters->copy_bytes);
	add_int(object, "tlb_hits", (int64_t)counters->tlb_hits);
	add_int(object, "tlb_walks", (int64_t)counters->tlb_walks);
	add_int(object, "faults", (int64_t)counters->faults);
	add_int(object, "irqs", (int64_t)counters->irqs);
	add_int(object, "engine_time_ns", (int64_t)counters->engine_time_ns);
	add_int(object, "cores_busy_ns", (int64_t)counters->cores_busy_ns);
	add_int(object, "copy_busy_ns", (int64_t)counters->copy_busy_ns);
	add_int(object, "memory_busy_ns", (int64_t)counters->memory_busy_ns);
	add_int(object, "host_read_busy_ns", (int64_t)counters->host_read_busy_ns);
	add_int(object, "host_write_busy_ns", (int64_t)counters->host_write_busy_ns);
	add_int(object, "memory_bytes", (int64_t)counters->memory_bytes);
	add_int(object, "host_read_bytes", (int64_t)counters->host_read_bytes);
	add_int(object, "host_write_bytes", (int64_t)counters->host_write_bytes);
	return object;
}

static const char *joined_types(uint32_t types, char *text, size_t room)
{
	size_t used = 0;

	text[0] = '\0';
	for (uint32_t type = 0; type < 32 && used < room; type++)
		if (types >> type & 1 && accel_type_name(type))
			used += (size_t)snprintf(text + used, room - used, "%s%s", used ? ", " : "",
						 accel_type_name(type));
	return text;
}

static void pci_text(const struct ctl *ctl, const struct pci_card *pci)
{
	char size[32];

	print(ctl, "PCI function     %s\n", pci->address);
	print(ctl, "  IDs            %04x:%04x, subsystem %04x:%04x, revision %02x, class %06x\n", pci->vendor,
	      pci->device, pci->subsystem_vendor, pci->subsystem_device, pci->revision, pci->class_code);
	print(ctl, "  driver         %s\n", pci->driver[0] ? pci->driver : "none");
	if (pci->has_link)
		print(ctl, "  link           %s x%u (card: %s x%u)\n",
		      pci->link_speed ? pci->link_speed : "unknown", pci->link_width,
		      pci->link_speed_max ? pci->link_speed_max : "unknown", pci->link_width_max);
	else
		print(ctl, "  link           none (part of the root complex)\n");
	for (unsigned int i = 0; i < pci->bar_count; i++)
		print(ctl, "  BAR%u           0x%" PRIx64 ", %s, %s-bit%s\n", pci->bars[i].index,
		      pci->bars[i].address, human_size(pci->bars[i].size, size),
		      pci->bars[i].is_64bit ? "64" : "32",
		      pci->bars[i].prefetchable ? ", prefetchable" : "");
	print(ctl, "  MSI-X          %u vectors, %s\n", pci->msix_vectors,
	      pci->msix_enabled ? "enabled" : "disabled");
	if (pci->has_serial)
		print(ctl, "  serial         %016" PRIx64 "\n", pci->serial);
}

static void card_text(const struct ctl *ctl, const struct card *card)
{
	const struct accel_device_info *info = &card->info;
	char size[32], used[32], types[256];

	print(ctl, "Card %u           %s, hardware %u.%u\n", card->index, info->node, info->hw_version >> 16,
	      info->hw_version & 0xffff);
	print(ctl, "  serial         %016" PRIx64 "\n", info->serial);
	print(ctl, "  cores          %u at %u MHz\n", info->cores, info->core_clock_khz / 1000);
	if (info->memory_bandwidth) {
		double cycles = (double)info->cores * info->core_clock_khz * 1e3;

		print(ctl, "  peak           %.0f, %.0f, %.0f, %.0f TOP/s with operands of 32, 16, 8, 4 bits\n",
		      2e-12 * cycles * info->macs_per_cycle[0], 2e-12 * cycles * info->macs_per_cycle[1],
		      2e-12 * cycles * info->macs_per_cycle[2], 2e-12 * cycles * info->macs_per_cycle[3]);
		print(ctl, "  bandwidth      card memory %.0f GB/s, PCIe %.0f GB/s each way\n",
		      (double)info->memory_bandwidth / 1e9, (double)info->host_bandwidth / 1e9);
	}
	print(ctl, "  queue slots    %u\n", info->slots);
	print(ctl, "  matmul         up to %u, inputs %s\n", info->dim_max,
	      joined_types(info->types_in, types, sizeof(types)));
	print(ctl, "                 outputs %s\n", joined_types(info->types_out, types, sizeof(types)));
	print(ctl, "  memory         %s, %s used\n", human_size(info->memory_size, size),
	      human_size(info->memory_used, used));
	print(ctl, "  resets         %u since power-on\n", info->generation);
	print(ctl, "Firmware         %u.%u.%u, security version %u, heartbeat %u\n",
	      info->firmware_version >> 24, info->firmware_version >> 16 & 0xff,
	      info->firmware_version & 0xffff, info->firmware_svn, info->firmware_heartbeat);
	print(ctl, "Driver           %s %u.%u.%u\n", info->driver_name, info->driver_version[0],
	      info->driver_version[1], info->driver_version[2]);
	print(ctl, "  limits         %u contexts, %u queues, buffers of %s, ", info->contexts_max, info->queues_max,
	      human_size(info->buffer_size_max, size));
	if (info->job_timeout_ms)
		print(ctl, "jobs of %u ms\n", info->job_timeout_ms);
	else
		print(ctl, "jobs of any length\n");
}

static enum status read_live(struct ctl *ctl, struct card *card,
			     struct accel_device_counters *counters)
{
	struct accel_device *device;
	enum status status;
	int ret;

	status = open_card(ctl, card, &device);
	if (status)
		return status;
	accel_device_info_init(&card->info);
	accel_device_counters_init(counters);
	ret = accel_device_get_info(device, &card->info);
	if (!ret)
		ret = accel_device_get_counters(device, counters);
	if (ret)
		status = accel_failed(ctl, ret);
	accel_device_close(device);
	return status;
}

/* Percent of the engine time. */
static double share_of(const struct accel_device_counters *counters, uint64_t busy_ns)
{
	return 100 * (double)busy_ns / (double)counters->engine_time_ns;
}

static enum status run_info(struct ctl *ctl)
{
	struct json_object *object = json_object_new_object();
	struct accel_device_counters counters;
	struct card card;
	enum status status;

	json_object_object_add(ctl->doc, "device", object);
	status = choose_card(ctl, &card);
	if (status)
		return status;
	pci_text(ctl, &card.pci);
	status = read_live(ctl, &card, &counters);
	if (status && card.bound && !card.info.status)
		card.info.status = -5;
	add_identity(object, &card);
	json_object_object_add(object, "pci", pci_json(&card.pci));
	if (status)
		return status;
	json_object_object_add(object, "card", card_json(&card.info));
	json_object_object_add(object, "firmware", firmware_json(&card.info));
	json_object_object_add(object, "kernel_driver", driver_json(&card.info));
	json_object_object_add(object, "counters", counters_json(&counters));
	card_text(ctl, &card);
	print(ctl, "Counters         %" PRIu64 " packets, %" PRIu64 " matmuls, %" PRIu64 " bytes copied, busy %.3f s\n",
	      counters.packets, counters.matmuls, counters.copy_bytes, (double)counters.busy_ns / 1e9);
	print(ctl, "                 %" PRIu64 " TLB hits, %" PRIu64 " walks, %" PRIu64 " faults, %" PRIu64
	      " interrupts\n", counters.tlb_hits, counters.tlb_walks, counters.faults, counters.irqs);
	if (counters.engine_time_ns)
		print(ctl, "Engine time      %.6f s: cores %.1f %%, copies %.1f %%, card memory %.1f %%, PCIe %.1f %% in, %.1f %% out\n",
		      (double)counters.engine_time_ns / 1e9, share_of(&counters, counters.cores_busy_ns),
		      share_of(&counters, counters.copy_busy_ns), share_of(&counters, counters.memory_busy_ns),
		      share_of(&counters, counters.host_read_busy_ns),
		      share_of(&counters, counters.host_write_busy_ns));
	return STATUS_OK;
}

const struct command command_info = {
	.name = "info",
	.summary = "tell what a card is, from PCI, the driver and the card itself",
	.usage = "[DEVICE]",
	.timeout = 10,
	.run = run_info,
};

/* SPDX-License-Identifier: MIT */
/*
 * Cards as PCI and the driver see them together, and opening the one that is wanted.
 */
#include "accelctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What the driver knows, joined to the PCI function by address. */
static int join_driver(struct ctl *ctl, struct card **cards, unsigned int *count)
{
	int bound = accel_device_count();

	if (bound < 0)
		return -(int)accel_failed(ctl, bound);
	for (unsigned int i = 0; i < (unsigned int)bound; i++) {
		struct accel_device_info info;
		struct card *card = NULL;

		accel_device_info_init(&info);
		if (accel_device_list_info(i, &info))
			continue;	/* gone since */
		for (unsigned int c = 0; c < *count && !card; c++)
			if (!strcmp((*cards)[c].pci.address, info.pci_address))
				card = &(*cards)[c];
		if (!card) {	/* PCI is not visible here, in a container for instance */
			*cards = realloc(*cards, (*count + 1) * sizeof(**cards));
			if (!*cards)
				abort();
			card = &(*cards)[(*count)++];
			memset(card, 0, sizeof(*card));
			memcpy(card->pci.address, info.pci_address, sizeof(card->pci.address));
			memcpy(card->pci.driver, "onpu", 5);
			card->pci.vendor = (uint16_t)info.vendor_id;
			card->pci.device = (uint16_t)info.device_id;
			card->pci.numa_node = -1;
		}
		card->bound = true;
		card->index = i;
		card->info = info;
	}
	return 0;
}

int find_cards(struct ctl *ctl, struct card **cards)
{
	struct pci_card *pci;
	unsigned int count = pci_find(&pci);
	int ret;

	*cards = calloc(count + 1, sizeof(**cards));
	if (!*cards)
		abort();
	for (unsigned int i = 0; i < count; i++)
		(*cards)[i].pci = pci[i];
	free(pci);
	ret = join_driver(ctl, cards, &count);
	if (ret) {
		free(*cards);
		*cards = NULL;
		return ret;
	}
	return (int)count;
}

static bool is_named(const struct card *card, const char *name)
{
	char *end;

	if (!strcmp(name, card->pci.address))
		return true;
	if (!strncmp(card->pci.address, "0000:", 5) && !strcmp(name, card->pci.address + 5))
		return true;
	if (!card->bound)
		return false;
	if (!strcmp(name, card->info.node))
		return true;
	return *name >= '0' && *name <= '9' && strtoul(name, &end, 10) == card->index && !*end;
}

enum status choose_card(struct ctl *ctl, struct card *card)
{
	struct card *cards;
	int count = find_cards(ctl, &cards);
	const struct card *chosen = NULL;

	if (count < 0)
		return (enum status)-count;
	for (int i = 0; i < count && !chosen; i++)
		if (ctl->device ? is_named(&cards[i], ctl->device) : cards[i].bound)
			chosen = &cards[i];
	if (!chosen && !ctl->device && count)	/* none is bound: say so of the first */
		chosen = &cards[0];
	if (chosen)
		*card = *chosen;
	free(cards);
	if (chosen)
		return STATUS_OK;
	if (ctl->device)
		return error(ctl, STATUS_NO_DEVICE, "no card \"%s\" (of %d)", ctl->device, count);
	return error(ctl, STATUS_NO_DEVICE, "no card in this machine");
}

enum status open_card(struct ctl *ctl, const struct card *card, struct accel_device **device)
{
	int ret;

	if (!card->bound)
		return error(ctl, STATUS_UNBOUND, "%s is there, but the onpu driver is not bound to it "
			     "(bound: %s); is the module loaded?", card->pci.address,
			     card->pci.driver[0] ? card->pci.driver : "none");
	ret = accel_device_open_name(card->info.pci_address, device);
	return ret ? accel_failed(ctl, ret) : STATUS_OK;
}

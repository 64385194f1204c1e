/* SPDX-License-Identifier: MIT */
/*
 * Cards as PCI and the driver see them together, and opening the one that is wanted.
 */
#include "accelctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The cards of ACCEL_DEVICE=model are inside the process, and the machine's are not its cards. */
static bool is_model(void)
{
	const char *device = getenv("ACCEL_DEVICE");

	return device && !strncmp(device, "model", 5);
}

static struct card *find_address(struct card *cards, unsigned int count, const char *address)
{
	for (unsigned int i = 0; i < count; i++)
		if (!strcmp(cards[i].pci.address, address))
			return &cards[i];
	return NULL;
}

/* What the driver knows, joined to the PCI function by address. */
static int join_driver(struct card **cards, unsigned int *count)
{
	int bound = accel_device_count();

	if (bound < 0)
		return bound;
	for (unsigned int i = 0; i < (unsigned int)bound; i++) {
		struct accel_device_info info;
		struct card *card;

		accel_device_info_init(&info);
		if (accel_device_list_info(i, &info))
			continue;	/* gone since */
		card = find_address(*cards, *count, info.pci_address);
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

/* libaccel does not tell of those that the variable leaves out: nor do we. */
static void drop_invisible(struct card *cards, unsigned int *count)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < *count; i++)
		if (cards[i].bound)
			cards[kept++] = cards[i];
	*count = kept;
}

int scan_cards(struct card **cards)
{
	struct pci_card *pci = NULL;
	unsigned int count = is_model() ? 0 : pci_find(&pci);
	int ret;

	*cards = calloc(count + 1, sizeof(**cards));
	if (!*cards)
		abort();
	for (unsigned int i = 0; i < count; i++)
		(*cards)[i].pci = pci[i];
	free(pci);
	ret = join_driver(cards, &count);
	if (ret) {
		free(*cards);
		*cards = NULL;
		return ret;
	}
	if (getenv("ACCEL_VISIBLE_DEVICES"))
		drop_invisible(*cards, &count);
	return (int)count;
}

int find_cards(struct ctl *ctl, struct card **cards)
{
	int count = scan_cards(cards);

	if (count == -ENODEV)	/* ACCEL_VISIBLE_DEVICES names others */
		return -(int)error(ctl, STATUS_NO_DEVICE, "%s", accel_error_detail());
	return count < 0 ? -(int)accel_failed(ctl, count) : count;
}

bool card_is_named(const struct card *card, const char *name)
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

enum status no_card(struct ctl *ctl)
{
	if (getenv("ACCEL_VISIBLE_DEVICES"))
		return error(ctl, STATUS_NO_DEVICE, "ACCEL_VISIBLE_DEVICES leaves no card of this machine");
	return error(ctl, STATUS_NO_DEVICE, "no card in this machine");
}

enum status choose_card(struct ctl *ctl, struct card *card)
{
	struct card *cards;
	int count = find_cards(ctl, &cards);
	const struct card *chosen = NULL;

	if (count < 0)
		return (enum status)-count;
	for (int i = 0; i < count; i++) {
		if (ctl->device ? !card_is_named(&cards[i], ctl->device) : !cards[i].bound)
			continue;
		if (!chosen || (!ctl->device && cards[i].index < chosen->index))
			chosen = &cards[i];
	}
	if (!chosen && !ctl->device && count)	/* none is bound: say so of the first */
		chosen = &cards[0];
	if (chosen)
		*card = *chosen;
	free(cards);
	if (chosen)
		return STATUS_OK;
	if (ctl->device)
		return error(ctl, STATUS_NO_DEVICE, "no card \"%s\" (of %d)", ctl->device, count);
	return no_card(ctl);
}

enum status wanted_cards(struct ctl *ctl, struct card **cards, unsigned int *count)
{
	enum status status;
	int found;

	if (ctl->device) {
		*cards = calloc(1, sizeof(**cards));
		if (!*cards)
			abort();
		*count = 1;
		status = choose_card(ctl, *cards);
		if (status)
			free(*cards);
		return status;
	}
	found = find_cards(ctl, cards);
	if (found < 0)
		return (enum status)-found;
	*count = (unsigned int)found;
	if (found)
		return STATUS_OK;
	free(*cards);
	return no_card(ctl);
}

enum status need_shared_cards(struct ctl *ctl)
{
	if (!is_model())
		return STATUS_OK;
	return error(ctl, STATUS_NO_DEVICE, "ACCEL_DEVICE=model: each process has such cards of its own, "
		     "and nobody else can see how they are used");
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

/* SPDX-License-Identifier: MIT */
/*
 * The PCI side of the cards, by libpci: works without the driver.
 */
#include "accelctl.h"

#include <onpu/regs.h>
#include <pci/pci.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Only the cards that the driver would take. */
static bool is_card(struct pci_dev *dev)
{
	pci_fill_info(dev, PCI_FILL_IDENT);
	return dev->vendor_id == ONPU_PCI_VENDOR_ID && dev->device_id == ONPU_PCI_DEVICE_ID;
}

static void read_driver(struct pci_card *card)
{
	char path[80], target[256];
	const char *base;
	ssize_t length;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", card->address);
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		return;
	target[length] = '\0';
	base = strrchr(target, '/');
	snprintf(card->driver, sizeof(card->driver), "%.31s", base ? base + 1 : target);
}

static void read_bars(struct pci_dev *dev, struct pci_card *card)
{
	for (unsigned int i = 0; i < 6; i++) {
		struct pci_bar *bar = &card->bars[card->bar_count];
		pciaddr_t address = dev->base_addr[i];

		if (!dev->size[i])
			continue;
		bar->index = i;
		bar->address = address & PCI_ADDR_MEM_MASK;
		bar->size = dev->size[i];
		bar->is_64bit = (address & PCI_BASE_ADDRESS_MEM_TYPE_MASK) ==
				PCI_BASE_ADDRESS_MEM_TYPE_64;
		bar->prefetchable = address & PCI_BASE_ADDRESS_MEM_PREFETCH;
		card->bar_count++;
	}
}

static const char *speed_text(unsigned int speed)
{
	static const char *const speeds[] = {
		NULL, "2.5 GT/s", "5 GT/s", "8 GT/s", "16 GT/s", "32 GT/s", "64 GT/s",
	};

	return speed < ARRAY_SIZE(speeds) ? speeds[speed] : NULL;
}

static void read_link(struct pci_dev *dev, struct pci_card *card)
{
	struct pci_cap *cap = pci_find_cap(dev, PCI_CAP_ID_EXP, PCI_CAP_NORMAL);
	unsigned int type, max, now;

	if (!cap)
		return;
	type = (pci_read_word(dev, (int)cap->addr + PCI_EXP_FLAGS) & PCI_EXP_FLAGS_TYPE) >> 4;
	if (type == PCI_EXP_TYPE_ROOT_INT_EP)	/* part of the root complex, no link */
		return;
	max = pci_read_long(dev, (int)cap->addr + PCI_EXP_LNKCAP);
	now = pci_read_word(dev, (int)cap->addr + PCI_EXP_LNKSTA);
	card->has_link = true;
	card->link_speed_max = speed_text(max & PCI_EXP_LNKCAP_SPEED);
	card->link_width_max = (max & PCI_EXP_LNKCAP_WIDTH) >> 4;
	card->link_speed = speed_text(now & PCI_EXP_LNKSTA_SPEED);
	card->link_width = (now & PCI_EXP_LNKSTA_WIDTH) >> 4;
}

static void read_caps(struct pci_dev *dev, struct pci_card *card)
{
	struct pci_cap *cap = pci_find_cap(dev, PCI_CAP_ID_MSIX, PCI_CAP_NORMAL);

	if (cap) {
		unsigned int flags = pci_read_word(dev, (int)cap->addr + PCI_MSI_FLAGS);

		card->msix_vectors = (flags & PCI_MSIX_TABSIZE) + 1;
		card->msix_enabled = flags & PCI_MSIX_ENABLE;
	}
	cap = pci_find_cap(dev, PCI_EXT_CAP_ID_DSN, PCI_CAP_EXTENDED);
	if (cap) {
		card->has_serial = true;
		card->serial = pci_read_long(dev, (int)cap->addr + 4) |
			       (uint64_t)pci_read_long(dev, (int)cap->addr + 8) << 32;
	}
}

static void read_card(struct pci_dev *dev, struct pci_card *card)
{
	unsigned int command;

	pci_fill_info(dev, PCI_FILL_IDENT | PCI_FILL_CLASS | PCI_FILL_BASES | PCI_FILL_SIZES |
		      PCI_FILL_CAPS | PCI_FILL_EXT_CAPS | PCI_FILL_NUMA_NODE);
	memset(card, 0, sizeof(*card));
	snprintf(card->address, sizeof(card->address), "%04x:%02x:%02x.%x",
		 (unsigned int)dev->domain & 0xffff, dev->bus, dev->dev, dev->func & 7u);
	card->vendor = dev->vendor_id;
	card->device = dev->device_id;
	card->revision = pci_read_byte(dev, PCI_REVISION_ID);
	card->class_code = (uint32_t)dev->device_class << 8 | pci_read_byte(dev, PCI_CLASS_PROG);
	card->subsystem_vendor = pci_read_word(dev, PCI_SUBSYSTEM_VENDOR_ID);
	card->subsystem_device = pci_read_word(dev, PCI_SUBSYSTEM_ID);
	card->numa_node = dev->numa_node;
	command = pci_read_word(dev, PCI_COMMAND);
	card->memory_enabled = command & PCI_COMMAND_MEMORY;
	card->bus_master = command & PCI_COMMAND_MASTER;
	read_driver(card);
	read_bars(dev, card);
	read_link(dev, card);
	read_caps(dev, card);
}

static int compare(const void *a, const void *b)
{
	const struct pci_card *x = a, *y = b;

	return strcmp(x->address, y->address);	/* fixed width, hexadecimal */
}

/* libpci ends the process when it finds no PCI bus at all. */
static bool has_pci(void)
{
	return !access("/sys/bus/pci/devices", R_OK);
}

unsigned int pci_find(struct pci_card **cards)
{
	struct pci_access *bus;
	unsigned int count = 0;

	*cards = NULL;
	if (!has_pci())
		return 0;
	bus = pci_alloc();
	pci_init(bus);
	pci_scan_bus(bus);
	for (struct pci_dev *dev = bus->devices; dev; dev = dev->next)
		count += is_card(dev);
	*cards = calloc(count + 1, sizeof(**cards));
	if (!*cards)
		abort();
	count = 0;
	for (struct pci_dev *dev = bus->devices; dev; dev = dev->next)
		if (is_card(dev))
			read_card(dev, &(*cards)[count++]);
	pci_cleanup(bus);
	qsort(*cards, count, sizeof(**cards), compare);
	return count;
}

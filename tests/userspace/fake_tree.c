/* SPDX-License-Identifier: MIT */
/*
 * The part of sysfs in which libaccel finds the cards of fake_kernel.c: a folder below /tmp, which
 * goes with the process.
 *
 * Locking: the caller's, but for the folder's name, which is made once.
 */
#include "fake_tree.h"
#include "../../libaccel/src/os.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64];
static pid_t owner;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void remove_root(void)
{
	char command[128];

	if (getpid() != owner)
		return;
	snprintf(command, sizeof(command), "rm -rf %s", root);
	if (system(command))
		fprintf(stderr, "cannot remove %s\n", root);
}

static void make_root(void)
{
	owner = getpid();
	strcpy(root, "/tmp/fake-kernel-XXXXXX");
	if (!mkdtemp(root))
		abort();
	atexit(remove_root);
}

int os_devices(struct found_device *found, unsigned int max, char *problem, size_t room)
{
	(void)found;
	(void)max;
	(void)problem;
	(void)room;
	return -ENOSYS;
}

const char *os_sys_root(void)
{
	pthread_once(&once, make_root);
	return root;
}

static void must(int ret)
{
	if (ret && errno != EEXIST)
		abort();
}

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (!f || fputs(text, f) < 0 || fclose(f))
		abort();
}

/* PCI addresses fall as minor numbers rise, so that a test sees who sorts. */
static void add_card(unsigned int card)
{
	char device[200], path[260], target[260];

	snprintf(device, sizeof(device), "%s/devices/0000:00:%02x.0", root, 0x1f - card);
	must(mkdir(device, 0755));
	snprintf(path, sizeof(path), "%s/vendor", device);
	write_text(path, "0x1b36\n");
	snprintf(path, sizeof(path), "%s/device", device);
	write_text(path, "0x0a11\n");
	snprintf(path, sizeof(path), "%s/driver", device);
	must(symlink("../../bus/pci/drivers/onpu", path));
	snprintf(path, sizeof(path), "%s/class/accel/accel%u", root, card);
	must(mkdir(path, 0755));
	snprintf(path, sizeof(path), "%s/class/accel/accel%u/device", root, card);
	snprintf(target, sizeof(target), "../../../devices/0000:00:%02x.0", 0x1f - card);
	must(symlink(target, path));
}

/* A card of somebody else's, to be passed over. */
static void add_stranger(void)
{
	char path[260];

	snprintf(path, sizeof(path), "%s/devices/0000:00:01.0", root);
	must(mkdir(path, 0755));
	snprintf(path, sizeof(path), "%s/devices/0000:00:01.0/driver", root);
	must(symlink("../../bus/pci/drivers/other", path));
	snprintf(path, sizeof(path), "%s/class/accel/accel63", root);
	must(mkdir(path, 0755));
	snprintf(path, sizeof(path), "%s/class/accel/accel63/device", root);
	must(symlink("../../../devices/0000:00:01.0", path));
}

void tree_set_cards(unsigned int count)
{
	char command[200];

	pthread_once(&once, make_root);
	snprintf(command, sizeof(command), "rm -rf %s/class %s/devices", root, root);
	if (system(command))
		abort();
	if (!count)
		return;
	snprintf(command, sizeof(command), "mkdir -p %s/class/accel %s/devices", root, root);
	if (system(command))
		abort();
	add_stranger();
	for (unsigned int i = 0; i < count; i++)
		add_card(i);
}

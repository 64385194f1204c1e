/* SPDX-License-Identifier: MIT */
/*
 * Finds the cards: /sys/class/accel/accelN whose device is a PCI function bound
 * to our driver, sorted by PCI address (minor numbers depend on probe order); or
 * those that stand in for them (os.h).
 *
 * Locking: none, sysfs is read afresh each time.
 */
#define _GNU_SOURCE
#include "internal.h"
#include "os.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Last path component of the symbolic link @name under @dir. */
static int read_link_name(int dir, const char *name, char *out, size_t room)
{
	char target[PATH_MAX];
	ssize_t length = readlinkat(dir, name, target, sizeof(target) - 1);
	const char *base;

	if (length < 0)
		return -errno;
	target[length] = '\0';
	base = strrchr(target, '/');
	base = base ? base + 1 : target;
	if (strlen(base) >= room)
		return -ENAMETOOLONG;
	strcpy(out, base);
	return 0;
}

static uint32_t read_hex(int dir, const char *name)
{
	char text[32];
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t length;

	if (fd < 0)
		return 0;
	length = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (length <= 0)
		return 0;
	text[length] = '\0';
	return (uint32_t)strtoul(text, NULL, 16);
}

static bool read_device(int dir, const char *name, struct found_device *found)
{
	char path[NAME_MAX + 24], driver[32];
	unsigned int *pci = found->pci;
	unsigned int number;
	int end = 0;

	if (sscanf(name, "accel%u%n", &number, &end) != 1 || name[end])
		return false;
	snprintf(path, sizeof(path), "%s/device/driver", name);
	if (read_link_name(dir, path, driver, sizeof(driver)) || strcmp(driver, DRIVER_NAME))
		return false;
	snprintf(path, sizeof(path), "%s/device", name);
	if (read_link_name(dir, path, found->pci_address, sizeof(found->pci_address)) ||
	    sscanf(found->pci_address, "%x:%x:%x.%u", &pci[0], &pci[1], &pci[2], &pci[3]) != 4)
		return false;
	snprintf(path, sizeof(path), "%s/device/vendor", name);
	found->vendor_id = read_hex(dir, path);
	snprintf(path, sizeof(path), "%s/device/device", name);
	found->device_id = read_hex(dir, path);
	return (size_t)snprintf(found->node, sizeof(found->node), "%s/%s", os_dev_root(), name) <
	       sizeof(found->node);
}

static int compare(const void *a, const void *b)
{
	const struct found_device *x = a, *y = b;

	for (int i = 0; i < 4; i++)
		if (x->pci[i] != y->pci[i])
			return x->pci[i] < y->pci[i] ? -1 : 1;
	return strcmp(x->node, y->node);
}

static int find_in_sysfs(struct found_device *found, unsigned int max)
{
	char path[PATH_MAX];
	unsigned int count = 0;
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/class/accel", os_sys_root());
	dir = opendir(path);
	if (!dir) {
		if (errno == ENOENT)	/* no accel driver is loaded */
			return 0;
		return fail(-errno, "cannot list %s: %s", path, strerror(errno));
	}
	while (count < max && (entry = readdir(dir)))
		if (read_device(dirfd(dir), entry->d_name, &found[count]))
			count++;
	closedir(dir);
	qsort(found, count, sizeof(*found), compare);
	return (int)count;
}

static int find_all(struct found_device *found, unsigned int max)
{
	char problem[400] = "";
	int ret = os_devices(found, max, problem, sizeof(problem));

	if (ret == -ENOSYS)
		return find_in_sysfs(found, max);
	return ret < 0 ? fail(ret, "%s", problem) : ret;
}

/* ---- ACCEL_VISIBLE_DEVICES ---- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char *visible;	/* NULL: all */

static void read_visible(void)
{
	const char *value = secure_getenv("ACCEL_VISIBLE_DEVICES");

	if (value)
		visible = strdup(value);
}

/* The card that a word names by index or PCI address. */
static int find_named(const struct found_device *all, unsigned int count, const char *word, size_t length)
{
	unsigned int pci[4], index;
	char text[32];
	int end = 0;

	snprintf(text, sizeof(text), "%.*s", length < sizeof(text) ? (int)length : 0, word);
	if (sscanf(text, "%4x:%2x:%2x.%1u%n", &pci[0], &pci[1], &pci[2], &pci[3], &end) == 4 && !text[end]) {
		for (unsigned int i = 0; i < count; i++)
			if (!memcmp(all[i].pci, pci, sizeof(pci)))
				return (int)i;
	} else if (*text >= '0' && *text <= '9' && sscanf(text, "%9u%n", &index, &end) == 1 && !text[end]) {
		if (index < count)
			return (int)index;
	} else {
		return fail(-EINVAL, "ACCEL_VISIBLE_DEVICES: \"%s\" is neither an index nor a PCI address", text);
	}
	return fail(-ENODEV, "ACCEL_VISIBLE_DEVICES names \"%s\", which is none of the %u cards", text, count);
}

/* Leaves those that the variable names, in its order. */
static int select_visible(struct found_device *found, unsigned int count)
{
	struct found_device *all = malloc(count * sizeof(*all) + 1);
	unsigned int kept = 0;
	int ret = 0;

	if (!all)
		return fail(-ENOMEM, "out of memory");
	memcpy(all, found, count * sizeof(*all));
	for (const char *word = visible; *word && ret >= 0; word += *word == ',') {
		size_t length = strcspn(word, ",");

		ret = find_named(all, count, word, length);
		for (unsigned int i = 0; i < kept && ret >= 0; i++)
			if (!memcmp(found[i].pci, all[ret].pci, sizeof(found[i].pci)))
				ret = fail(-EINVAL, "ACCEL_VISIBLE_DEVICES names %s twice", found[i].pci_address);
		if (ret >= 0)
			found[kept++] = all[ret];
		word += length;
	}
	free(all);
	return ret < 0 ? ret : (int)kept;
}

int find_devices(struct found_device *found, unsigned int max)
{
	int count = find_all(found, max);

	pthread_once(&once, read_visible);
	return count < 0 || !visible ? count : select_visible(found, (unsigned int)count);
}

/* SPDX-License-Identifier: MIT */
/*
 * Who has a card open, as the kernel's drm-usage-stats has it: every open node of a card has
 * lines in /proc/PID/fdinfo/FD. Descriptors that are one client (after dup(), fork(), in a
 * thread) have the same drm-client-id, which is unique on a card.
 *
 * Processes come and go meanwhile: what cannot be read any more is left out.
 */
#include "accelctl.h"
#include "clients.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The start of a file of /proc; returns its length, or -errno. */
static ssize_t read_file(const char *path, char *text, size_t room)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t got;

	if (fd < 0)
		return -errno;
	do {
		got = read(fd, text + used, room - used);
		if (got > 0)
			used += (size_t)got;
	} while (got > 0 && used < room);
	close(fd);
	return (ssize_t)used;
}

/* A process may call itself anything; a terminal need not obey that. */
static void read_command(struct client *client)
{
	char path[64], text[sizeof(client->command)];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%d/comm", client->pid);
	length = read_file(path, text, sizeof(text) - 1);
	if (length > 0 && text[length - 1] == '\n')
		length--;
	if (length <= 0) {
		length = 1;
		text[0] = '?';
	}
	for (ssize_t i = 0; i < length; i++)
		client->command[i] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
	client->command[length] = '\0';
}

static void read_user(struct client *client)
{
	const struct passwd *user;
	struct stat status;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d", client->pid);
	if (stat(path, &status)) {
		strcpy(client->user, "?");
		return;
	}
	client->uid = status.st_uid;
	user = getpwuid(status.st_uid);
	if (user)
		snprintf(client->user, sizeof(client->user), "%s", user->pw_name);
	else
		snprintf(client->user, sizeof(client->user), "%u", status.st_uid);
}

/* Pages that the process has pinned for devices: registered memory is among them. */
static void read_pinned(struct client *client)
{
	char path[64], text[4096];
	const char *line;
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%d/status", client->pid);
	length = read_file(path, text, sizeof(text) - 1);
	if (length <= 0)
		return;
	text[length] = '\0';
	line = strstr(text, "\nVmPin:");
	if (line)
		client->pinned = strtoull(line + strlen("\nVmPin:"), NULL, 10) << 10;
}

static void add_client(struct clients *all, int pid, const struct fdinfo *info)
{
	struct client *client;

	client = realloc(all->list, (all->count + 1) * sizeof(*client));
	if (!client)
		abort();
	all->list = client;
	client += all->count;
	memset(client, 0, sizeof(*client));
	client->info = *info;
	client->pid = pid;
	client->first = true;
	client->processes = 1;
	for (unsigned int i = 0; i < all->count; i++) {
		struct client *other = &all->list[i];

		if (other->first && other->info.id == info->id &&
		    !strcmp(other->info.address, info->address)) {
			if (other->pid == pid)
				return;	/* not counted: the same again */
			other->processes++;
			client->first = false;
			break;
		}
	}
	for (unsigned int i = 0; !client->first && i < all->count; i++)
		if (all->list[i].pid == pid && all->list[i].info.id == info->id &&
		    !strcmp(all->list[i].info.address, info->address))
			return;
	read_command(client);
	read_user(client);
	read_pinned(client);
	all->count++;
}

static bool is_wanted(const struct fdinfo *info, const struct card *cards, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		if (!strcmp(cards[i].pci.address, info->address))
			return true;
	return false;
}

/* Threads of the kernel have no files, and nobody need know that they are root's. */
static bool has_command_line(int pid)
{
	char path[64], c;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	return read_file(path, &c, 1) == 1;
}

static void read_process(struct clients *all, int pid, const struct card *cards, unsigned int count)
{
	char path[320], text[8192];
	struct dirent *entry;
	struct fdinfo info;
	ssize_t length;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo", pid);
	dir = opendir(path);
	if (!dir) {
		if ((errno == EACCES || errno == EPERM) && has_command_line(pid))
			all->unreadable++;
		return;
	}
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/fdinfo/%s", pid, entry->d_name);
		length = read_file(path, text, sizeof(text));
		if (length > 0 && fdinfo_parse(text, (size_t)length, &info) && is_wanted(&info, cards, count))
			add_client(all, pid, &info);
	}
	closedir(dir);
}

void clients_read(struct clients *all, const struct card *cards, unsigned int count)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;

	memset(all, 0, sizeof(*all));
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			read_process(all, atoi(entry->d_name), cards, count);
	if (dir)
		closedir(dir);
}

const char *clients_unreadable_text(const struct clients *all, char text[128])
{
	bool root = !geteuid();	/* in a sandbox even root may not look at all */

	text[0] = '\0';
	if (all->unreadable)
		snprintf(text, 128, "%u process%s%s could not be looked at%s.\n", all->unreadable,
			 all->unreadable == 1 ? "" : "es", root ? "" : " of other users", root ? "" : ": only root may");
	return text;
}

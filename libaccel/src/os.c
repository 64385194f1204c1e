/* SPDX-License-Identifier: MIT */
/*
 * The real kernel below libaccel. Stateless, so there is nothing to lock.
 */
#define _GNU_SOURCE
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <xf86drm.h>

const char *os_sys_root(void)
{
	return "/sys";
}

const char *os_dev_root(void)
{
	return "/dev/accel";
}

int os_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

void os_close(int fd)
{
	close(fd);
}

int os_ioctl(int fd, unsigned long request, void *arg)
{
	return drmIoctl(fd, request, arg) ? -errno : 0;
}

int os_mmap(int fd, uint64_t offset, size_t size, void **pointer)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);

	if (p == MAP_FAILED)
		return -errno;
	/* A forked child must not write what the parent's card reads. */
	madvise(p, size, MADV_DONTFORK);
	*pointer = p;
	return 0;
}

void os_munmap(void *pointer, size_t size)
{
	munmap(pointer, size);
}

void os_exporter(int fd, char *name, size_t room)
{
	char line[256];
	FILE *file;

	*name = '\0';
	snprintf(line, sizeof(line), "/proc/self/fdinfo/%d", fd);
	file = fopen(line, "re");
	while (file && fgets(line, sizeof(line), file)) {
		char *value = line + strlen("exp_name:");

		if (strncmp(line, "exp_name:", strlen("exp_name:")))
			continue;
		value += strspn(value, " \t");
		snprintf(name, room, "%.*s", (int)strcspn(value, "\n"), value);
	}
	if (file)
		fclose(file);
}

int os_wait_fences(int fd, bool all, uint64_t deadline)
{
	struct pollfd poller = { .fd = fd, .events = all ? POLLOUT : POLLIN };
	int ret;

	do {
		uint64_t now = os_now_ns(), left = deadline > now ? deadline - now : 0;
		struct timespec wait = {
			.tv_sec = (time_t)(left / 1000000000u),
			.tv_nsec = (long)(left % 1000000000u),
		};

		ret = ppoll(&poller, 1, deadline == UINT64_MAX ? NULL : &wait, NULL);
	} while (ret < 0 && errno == EINTR);
	if (ret < 0)
		return -errno;
	if (ret && poller.revents & (POLLERR | POLLNVAL))
		return -EINVAL;
	return ret ? 0 : -ETIME;
}

uint64_t os_memlock_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) || limit.rlim_cur == RLIM_INFINITY)
		return UINT64_MAX;
	return limit.rlim_cur;
}

uint64_t os_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

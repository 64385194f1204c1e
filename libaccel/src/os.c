/* SPDX-License-Identifier: MIT */
/*
 * The real kernel below libaccel. Stateless, so there is nothing to lock.
 */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
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

uint64_t os_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* SPDX-License-Identifier: MIT */
/*
 * The real kernel below libaccel, or what ACCEL_DEVICE names instead: the model of the card, in a
 * library of its own that is loaded for it (a program may also have it linked in).
 *
 * Locking: none; what is below is decided once, by os_devices().
 */
#define _GNU_SOURCE
#include "os.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
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

static int kernel_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static void kernel_close(int fd)
{
	close(fd);
}

static int kernel_ioctl(int fd, unsigned long request, void *arg)
{
	return drmIoctl(fd, request, arg) ? -errno : 0;
}

static int kernel_mmap(int fd, uint64_t offset, size_t size, void **pointer)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);

	if (p == MAP_FAILED)
		return -errno;
	/* A forked child must not write what the parent's card reads. */
	madvise(p, size, MADV_DONTFORK);
	*pointer = p;
	return 0;
}

static void kernel_munmap(void *pointer, size_t size)
{
	munmap(pointer, size);
}

static void kernel_exporter(int fd, char *name, size_t room)
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

static int kernel_wait_fences(int fd, bool all, uint64_t deadline)
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

static const struct os_ops kernel_ops = {
	.open = kernel_open,
	.close = kernel_close,
	.ioctl = kernel_ioctl,
	.mmap = kernel_mmap,
	.munmap = kernel_munmap,
	.exporter = kernel_exporter,
	.wait_fences = kernel_wait_fences,
};

/* ---- what is below ---- */

#define MODEL_LIBRARY	"libaccel-model.so.1"

typedef const struct os_ops *model_entry(const char *device, char *problem, size_t room);

/* There in a program that has it linked in. */
extern model_entry accel_model_os_1 __attribute__((weak, visibility("default")));

static const struct os_ops *ops = &kernel_ops;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int select_error;
static char select_problem[400];

/* Beside this library, where it is before it is installed, else where the loader finds it. */
static void *load_model(void)
{
	char path[4096];
	const char *base;
	void *library;
	Dl_info info;

	if (dladdr((void *)(uintptr_t)&load_model, &info) && info.dli_fname) {
		base = strrchr(info.dli_fname, '/');
		snprintf(path, sizeof(path), "%.*s" MODEL_LIBRARY,
			 base ? (int)(base + 1 - info.dli_fname) : 0, info.dli_fname);
		library = base ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
		if (library)
			return library;
	}
	return dlopen(MODEL_LIBRARY, RTLD_NOW | RTLD_LOCAL);
}

static int find_model(model_entry **entry)
{
	void *library, *symbol;

	if (accel_model_os_1) {
		*entry = accel_model_os_1;
		return 0;
	}
	library = load_model();
	symbol = library ? dlsym(library, "accel_model_os_1") : NULL;
	if (!symbol) {
		const char *reason = dlerror();

		snprintf(select_problem, sizeof(select_problem), "ACCEL_DEVICE=model needs " MODEL_LIBRARY ": %s",
			 reason ? reason : "it is of another version");
		return -ENOTSUP;
	}
	memcpy(entry, &symbol, sizeof(symbol));
	return 0;
}

static void select_ops(void)
{
	const char *device = secure_getenv("ACCEL_DEVICE");
	const struct os_ops *model;
	model_entry *entry;

	if (!device || !*device || !strcmp(device, "kernel"))
		return;
	if (strncmp(device, "model", 5)) {
		select_error = -EINVAL;
		snprintf(select_problem, sizeof(select_problem),
			 "ACCEL_DEVICE is \"%.40s\", neither \"model\" nor \"kernel\"", device);
		return;
	}
	select_error = find_model(&entry);
	if (select_error)
		return;
	model = entry(device, select_problem, sizeof(select_problem));
	if (model)
		ops = model;
	else
		select_error = -EINVAL;
}

int os_devices(struct found_device *found, unsigned int max, char *problem, size_t room)
{
	pthread_once(&once, select_ops);
	if (select_error) {
		snprintf(problem, room, "%s", select_problem);
		return select_error;
	}
	return ops->devices ? ops->devices(found, max) : -ENOSYS;
}

int os_open(const char *path)
{
	return ops->open(path);
}

void os_close(int fd)
{
	ops->close(fd);
}

int os_ioctl(int fd, unsigned long request, void *arg)
{
	return ops->ioctl(fd, request, arg);
}

int os_mmap(int fd, uint64_t offset, size_t size, void **pointer)
{
	return ops->mmap(fd, offset, size, pointer);
}

void os_munmap(void *pointer, size_t size)
{
	ops->munmap(pointer, size);
}

void os_ring(volatile uint32_t *doorbell, uint32_t value)
{
	if (ops->ring)
		ops->ring(doorbell, value);
	else
		*doorbell = value;
}

void os_exporter(int fd, char *name, size_t room)
{
	ops->exporter(fd, name, room);
}

int os_wait_fences(int fd, bool all, uint64_t deadline)
{
	return ops->wait_fences(fd, all, deadline);
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

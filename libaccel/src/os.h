/* SPDX-License-Identifier: MIT */
/*
 * Everything that libaccel asks of the kernel goes through these few functions, so
 * that there can be something else below the library: the model of the card in the process itself
 * (../model), and what the tests put there.
 */
#ifndef ACCEL_OS_H
#define ACCEL_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A card as sysfs tells of it. */
struct found_device {
	unsigned int pci[4];	/* domain, bus, device, function */
	char pci_address[16];
	char node[32];
	uint32_t vendor_id;
	uint32_t device_id;
};

/*
 * The cards of something that is no kernel, by rising PCI address; their number. -ENOSYS: there is the
 * kernel, look in sysfs. Any other error is told in @problem. Called before all that follows.
 */
int os_devices(struct found_device *found, unsigned int max, char *problem, size_t room);

/* Where sysfs is mounted. */
const char *os_sys_root(void);
/* Directory of the device nodes. */
const char *os_dev_root(void);

/* All return -errno on failure. */
int os_open(const char *path);
void os_close(int fd);
/* Restarts when a signal interrupts. */
int os_ioctl(int fd, unsigned long request, void *arg);
int os_mmap(int fd, uint64_t offset, size_t size, void **pointer);
void os_munmap(void *pointer, size_t size);
/* Stores to a doorbell that os_mmap() has given; what the card is to see is ordered before. */
void os_ring(volatile uint32_t *doorbell, uint32_t value);
/* Name of who made the dma-buf of @fd; "" when the kernel does not tell. */
void os_exporter(int fd, char *name, size_t room);
/*
 * Waits until the fences in a dma-buf have signalled, those of writers only unless @all, not longer
 * than until @deadline (os_now_ns(); 0: does not wait); -ETIME if they have not.
 */
int os_wait_fences(int fd, bool all, uint64_t deadline);
/* RLIMIT_MEMLOCK in bytes, UINT64_MAX without limit. */
uint64_t os_memlock_limit(void);
/* CLOCK_MONOTONIC, the clock of syncobj deadlines. */
uint64_t os_now_ns(void);

/* The same of one who is below the library. */
struct os_ops {
	int (*devices)(struct found_device *found, unsigned int max);
	int (*open)(const char *path);
	void (*close)(int fd);
	int (*ioctl)(int fd, unsigned long request, void *arg);
	int (*mmap)(int fd, uint64_t offset, size_t size, void **pointer);
	void (*munmap)(void *pointer, size_t size);
	/* NULL: a doorbell is memory. */
	void (*ring)(const volatile void *doorbell, uint32_t value);
	void (*exporter)(int fd, char *name, size_t room);
	int (*wait_fences)(int fd, bool all, uint64_t deadline);
};

/*
 * What libaccel-model exports, to libaccel of the same version only: sets itself up as @device (the
 * value of ACCEL_DEVICE) says, or returns NULL and tells the @problem. Called once.
 */
const struct os_ops *accel_model_os_1(const char *device, char *problem, size_t room);

#endif

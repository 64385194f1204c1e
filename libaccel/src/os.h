/* SPDX-License-Identifier: MIT */
/*
 * Everything that libaccel asks of the kernel goes through these few functions, so
 * that the tests can put a kernel of their own below the library.
 */
#ifndef ACCEL_OS_H
#define ACCEL_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

#endif

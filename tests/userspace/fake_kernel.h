/* SPDX-License-Identifier: MIT */
/*
 * A kernel and cards in the test's own process, below libaccel in place of os.c. It
 * checks every ioctl as strictly as the driver does and executes packets by the
 * reference, so that the library runs on any machine, under sanitizers.
 */
#ifndef FAKE_KERNEL_H
#define FAKE_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

/* How many cards there are; 0 removes sysfs' class as well. */
void fake_set_cards(unsigned int count);
/* Jobs that have not started wait until released. */
void fake_hold(bool hold);
/* The next open() fails with @error (-errno), 0: no more. */
void fake_fail_open(int error);
/* Every ioctl with this number fails with @error from now on; 0: no more. */
void fake_fail_ioctl(unsigned long request, int error);
/* The next job stops its queue with these DRM_ONPU_QUEUE_* flags. */
void fake_kill_next(unsigned int flags);
/* Spoils results of matmuls; never answers a query; dies of a query. */
void fake_misbehave(bool wrong, bool hang, bool crash);
/* Gives up the content of all purgeable buffer objects. */
void fake_purge(void);
/* RLIMIT_MEMLOCK of the process; it counts each registration by itself. */
void fake_set_memlock(uint64_t limit);
/* Objects that are open in the kernel: files, buffer objects, VMs, queues, syncobjs. */
unsigned int fake_objects(void);
/* SUBMIT calls so far. */
unsigned int fake_submits(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The model's cards and kernel with low limits, below libaccel in place of os.c, that fail as they are
 * told to.
 */
#ifndef FAKE_KERNEL_H
#define FAKE_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

/* How many cards there are, at most 4; 0 removes sysfs' class as well. */
void fake_set_cards(unsigned int count);
/* Jobs that have not started wait until released. */
void fake_hold(bool hold);
/* The next open() fails with @error (-errno), 0: no more. */
void fake_fail_open(int error);
/* Every ioctl with this number fails with @error from now on; 0: no more. */
void fake_fail_ioctl(unsigned long request, int error);
/* The next job stops its queue with these DRM_ONPU_QUEUE_* flags. */
void fake_kill_next(unsigned int flags);
/* Cards opened from now on spoil matmuls; a query is never answered, dies, tells of firmware that stands still. */
void fake_misbehave(bool wrong, bool hang, bool crash, bool still);
/* Gives up the content of all purgeable buffer objects. */
void fake_purge(void);
/* RLIMIT_MEMLOCK of the process; it counts each registration by itself. */
void fake_set_memlock(uint64_t limit);
/* Objects that are open in the kernel: files, buffer objects, VMs, queues. */
unsigned int fake_objects(void);
/* SUBMIT calls so far. */
unsigned int fake_submits(void);

#endif

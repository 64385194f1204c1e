/* SPDX-License-Identifier: MIT */
/*
 * The model's kernel (libaccel/model), made to fail.
 *
 * It is below libaccel in place of os.c: cards are found in a tree of our own like sysfs (fake_tree.c), limits are
 * so low that tests reach them, there are kernel queues only, and any call can be told to fail. All
 * else is the model's: cards, firmware, memory, queues, results.
 *
 * Locking: none; a test sets up what is to fail before it calls.
 */
#include "fake_kernel.h"
#include "fake_tree.h"

#include "../../libaccel/model/mk.h"
#include "../../libaccel/src/os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CARDS	4u

static const struct os_ops *model;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static unsigned int cards;
static int fail_open, fail_error;
static unsigned long fail_request;
static bool always_wrong, never_answers, crashes, stands_still;
static uint64_t memlock = UINT64_MAX;

static void set_up(void)
{
	char problem[200];

	model = accel_model_os_1("model:4,memory=64M", problem, sizeof(problem));
	if (!model)
		abort();
	mk_limits = (struct drm_onpu_query_limits){
		.max_vms = 8, .max_queues = 8, .max_bind_ops = 16, .max_jobs = 32, .max_syncs = 4,
		.max_packets = 16, .max_bo_size = 32ull << 20, .max_jobs_in_flight = 64, .max_bos = 511,
		.max_mappings = 4096, .max_pinned_bytes = 16ull << 20,
	};
}

/* ---- what tests ask for ---- */

void fake_set_cards(unsigned int count)
{
	if (count > CARDS)
		abort();
	cards = count;
	tree_set_cards(count);
}

void fake_hold(bool hold)
{
	mk_queue_hold(hold);
}

void fake_fail_open(int error)
{
	fail_open = error;
}

void fake_fail_ioctl(unsigned long request, int error)
{
	fail_request = request;
	fail_error = error;
}

void fake_kill_next(unsigned int flags)
{
	mk_queue_kill_next(flags);
}

void fake_misbehave(bool wrong, bool hang, bool crash, bool still)
{
	always_wrong = wrong;
	never_answers = hang;
	crashes = crash;
	stands_still = still;
}

void fake_purge(void)
{
	pthread_mutex_lock(&mk_lock);
	mk_bo_purge_all();
	pthread_mutex_unlock(&mk_lock);
}

void fake_set_memlock(uint64_t limit)
{
	memlock = limit;
}

unsigned int fake_objects(void)
{
	return mk_objects();
}

unsigned int fake_submits(void)
{
	return mk_submits;
}

/* ---- the calls of os.h ---- */

const char *os_dev_root(void)
{
	return "/dev/accel";
}

int os_open(const char *path)
{
	unsigned int card;
	char own[40];
	int fd;

	pthread_once(&once, set_up);
	if (fail_open)
		return fail_open;
	if (sscanf(path, "/dev/accel/accel%u", &card) != 1 || card >= cards)
		return -ENOENT;
	snprintf(own, sizeof(own), "/dev/accel/model%u", card);
	fd = model->open(own);
	if (fd >= 0 && always_wrong)
		onpu_card_inject(mk_cards[card]->model, "corrupt-matmul", UINT64_MAX);
	return fd;
}

void os_close(int fd)
{
	model->close(fd);
}

static int query(int fd, struct drm_onpu_dev_query *arg)
{
	struct drm_onpu_query_firmware *firmware = (void *)(uintptr_t)arg->ptr;
	int ret;

	while (never_answers)
		pause();
	if (crashes)
		abort();
	ret = model->ioctl(fd, DRM_IOCTL_ONPU_DEV_QUERY, arg);
	if (!ret && stands_still && arg->type == DRM_ONPU_QUERY_FIRMWARE && firmware)
		firmware->heartbeat = 1;
	return ret;
}

int os_ioctl(int fd, unsigned long request, void *arg)
{
	const struct drm_onpu_bo_userptr *userptr = arg;

	if (fail_error && request == fail_request)
		return fail_error;
	/* Each registration by itself. */
	if (request == DRM_IOCTL_ONPU_BO_USERPTR && userptr->size > memlock)
		return -ENOMEM;
	return request == DRM_IOCTL_ONPU_DEV_QUERY ? query(fd, arg) : model->ioctl(fd, request, arg);
}

int os_mmap(int fd, uint64_t offset, size_t size, void **pointer)
{
	return model->mmap(fd, offset, size, pointer);
}

void os_munmap(void *pointer, size_t size)
{
	model->munmap(pointer, size);
}

void os_ring(volatile uint32_t *doorbell, uint32_t value)
{
	model->ring(doorbell, value);
}

void os_exporter(int fd, char *name, size_t room)
{
	model->exporter(fd, name, room);
}

int os_wait_fences(int fd, bool all, uint64_t deadline)
{
	return model->wait_fences(fd, all, deadline);
}

uint64_t os_memlock_limit(void)
{
	return memlock;
}

uint64_t os_now_ns(void)
{
	return mk_now();
}

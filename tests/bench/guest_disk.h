/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Peers of guest_latency.c: block devices driven by loops that are as tight as the card's.
 *
 * Raw io_uring with a registered file and registered buffers, polled or not, pread(), and
 * passthrough commands of NVMe. A benchmark's own bookkeeping would cost more here than the
 * device does.
 */
#ifndef ONPU_BENCH_GUEST_DISK_H
#define ONPU_BENCH_GUEST_DISK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/io_uring.h>
#include <linux/nvme_ioctl.h>

#define DISK_BLOCK 4096u
#define DISK_BLOCKS 16384u	/* of the device are read: 64 MiB */

struct disk {
	int fd;
	uint8_t *buffer;	/* DISK_BLOCK for each request in flight */
	uint32_t place;
};

struct uring {
	struct disk *disk;
	int fd;
	uint32_t depth;
	uint32_t *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
};

static inline int disk_open(struct disk *disk, const char *path, uint32_t depth)
{
	void *buffer;

	memset(disk, 0, sizeof(*disk));
	disk->fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (disk->fd < 0)
		return -errno;
	if (posix_memalign(&buffer, DISK_BLOCK, (size_t)depth * DISK_BLOCK))
		return -ENOMEM;
	disk->buffer = buffer;
	memset(buffer, 0, (size_t)depth * DISK_BLOCK);
	return 0;
}

static inline uint64_t disk_next(struct disk *disk)
{
	disk->place = (disk->place * 5u + 4099u) % DISK_BLOCKS;
	return (uint64_t)disk->place * DISK_BLOCK;
}

static inline int disk_pread(struct disk *disk)
{
	ssize_t got = pread(disk->fd, disk->buffer, DISK_BLOCK, (off_t)disk_next(disk));

	return got == DISK_BLOCK ? 0 : got < 0 ? -errno : -EIO;
}

/* The shortest command of a drive: nothing is transferred. */
static inline int disk_nvme_flush(struct disk *disk)
{
	struct nvme_passthru_cmd cmd = { .opcode = 0x00, .nsid = 1 };
	int ret = ioctl(disk->fd, NVME_IOCTL_IO_CMD, &cmd);

	return ret < 0 ? -errno : ret ? -EIO : 0;
}

static inline int uring_map(struct uring *ring, const struct io_uring_params *p)
{
	const int prot = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_POPULATE;
	char *sq = mmap(NULL, p->sq_off.array + p->sq_entries * 4, prot, flags, ring->fd,
			IORING_OFF_SQ_RING);
	char *cq = mmap(NULL, p->cq_off.cqes + p->cq_entries * sizeof(*ring->cqes), prot, flags,
			ring->fd, IORING_OFF_CQ_RING);
	void *sqes = mmap(NULL, p->sq_entries * sizeof(*ring->sqes), prot, flags, ring->fd,
			  IORING_OFF_SQES);

	if (sq == MAP_FAILED || cq == MAP_FAILED || sqes == MAP_FAILED)
		return -errno;
	ring->sq_tail = (void *)(sq + p->sq_off.tail);
	ring->sq_mask = (void *)(sq + p->sq_off.ring_mask);
	ring->sq_array = (void *)(sq + p->sq_off.array);
	ring->cq_head = (void *)(cq + p->cq_off.head);
	ring->cq_tail = (void *)(cq + p->cq_off.tail);
	ring->cq_mask = (void *)(cq + p->cq_off.ring_mask);
	ring->cqes = (void *)(cq + p->cq_off.cqes);
	ring->sqes = sqes;
	return 0;
}

static inline int uring_open(struct uring *ring, struct disk *disk, uint32_t depth, bool polled)
{
	struct io_uring_params p = { .flags = polled ? IORING_SETUP_IOPOLL : 0 };
	struct iovec iov = { disk->buffer, (size_t)depth * DISK_BLOCK };
	int ret;

	memset(ring, 0, sizeof(*ring));
	ring->disk = disk;
	ring->depth = depth;
	ring->fd = (int)syscall(SYS_io_uring_setup, depth, &p);
	if (ring->fd < 0)
		return -errno;
	ret = uring_map(ring, &p);
	if (ret)
		return ret;
	if (syscall(SYS_io_uring_register, ring->fd, IORING_REGISTER_FILES, &disk->fd, 1) ||
	    syscall(SYS_io_uring_register, ring->fd, IORING_REGISTER_BUFFERS, &iov, 1))
		return -errno;
	return 0;
}

static inline void uring_add(struct uring *ring, uint32_t buffer)
{
	uint32_t tail = *ring->sq_tail, index = tail & *ring->sq_mask;
	struct io_uring_sqe *sqe = &ring->sqes[index];

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_READ_FIXED;
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->off = disk_next(ring->disk);
	sqe->addr = (uintptr_t)(ring->disk->buffer + (size_t)buffer * DISK_BLOCK);
	sqe->len = DISK_BLOCK;
	sqe->user_data = buffer;
	ring->sq_array[index] = index;
	__atomic_store_n(ring->sq_tail, tail + 1, __ATOMIC_RELEASE);
}

static inline int uring_enter(struct uring *ring, uint32_t submit, uint32_t wait)
{
	int ret;

	do {
		ret = (int)syscall(SYS_io_uring_enter, ring->fd, submit, wait,
				   IORING_ENTER_GETEVENTS, NULL, 0);
	} while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : ret == (int)submit ? 0 : -EIO;
}

/* Takes what is complete and, with @again, puts as many new requests; their number or an error. */
static inline int uring_reap(struct uring *ring, bool again)
{
	uint32_t head = *ring->cq_head, tail = __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE);
	int done = 0;

	for (; head != tail; head++, done++) {
		const struct io_uring_cqe *cqe = &ring->cqes[head & *ring->cq_mask];

		if (cqe->res != (int)DISK_BLOCK)
			return cqe->res < 0 ? cqe->res : -EIO;
		if (again)
			uring_add(ring, (uint32_t)cqe->user_data);
	}
	__atomic_store_n(ring->cq_head, head, __ATOMIC_RELEASE);
	return done;
}

/* One request, there and back. */
static inline int uring_one(struct uring *ring)
{
	int ret;

	uring_add(ring, 0);
	ret = uring_enter(ring, 1, 1);
	while (!ret) {
		ret = uring_reap(ring, false);
		/* A polling call ends early when others want the processor. */
		if (!ret)
			ret = uring_enter(ring, 0, 1);
		else
			return ret == 1 ? 0 : ret < 0 ? ret : -EIO;
	}
	return ret;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * dma-bufs and sync files.
 *
 * What can be shared is a memfd, mapped over a range of its card's memory. The descriptor that an
 * application gets of it is known by its inode; another process, which does not know it, maps the
 * same memfd. One page more stands behind it, by which processes wait for each other's work (mk_board.c).
 *
 * A sync file is a memfd, too, whose content is its fences: they are values (mk_fence.c).
 *
 * Locking: mk_lock.
 */
#define _GNU_SOURCE
#include "mk.h"

#include <fcntl.h>
#include <linux/dma-buf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_NAME	"onpu-dma-buf"
#define SYNC_NAME	"onpu-sync-file"
#define SEALS		(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static struct mk_share *shares;

/* Whether @fd is a memfd that somebody has made with this name. */
static bool is_named(int fd, const char *name)
{
	static const char prefix[] = "/memfd:";
	char link[64], path[64];
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path) - 1);
	if (length < 0)
		return false;
	path[length] = '\0';
	return !strncmp(path, prefix, sizeof(prefix) - 1) &&
	       !strncmp(path + sizeof(prefix) - 1, name, strlen(name)) &&
	       strchr(" ", path[sizeof(prefix) - 1 + strlen(name)]);
}

static bool is_sealed(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && (seals & SEALS) == SEALS;
}

/* ---- memory that can be shared ---- */

static struct mk_share *make(struct mk_card *card, struct va_range *range, uint64_t size, int fd)
{
	struct mk_share *share = calloc(1, sizeof(*share));
	uint8_t *p = card->memory + range->start;
	struct stat stat;

	if (!share || fstat(fd, &stat) ||
	    mmap(p, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != p) {
		free(share);
		return NULL;
	}
	madvise(p, size, MADV_DONTFORK);
	*share = (struct mk_share){
		.next = shares, .refs = 1, .fd = fd, .dev = stat.st_dev, .ino = stat.st_ino,
		.size = size, .home = card, .range = range,
	};
	shares = share;
	return share;
}

struct mk_share *mk_share_create(struct mk_card *card, struct va_range *range, uint64_t size)
{
	int fd = memfd_create(BUFFER_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct mk_share *share = NULL;

	if (fd < 0)
		return NULL;
	/* Others map it, and must not lose it. */
	if (!ftruncate(fd, (off_t)(size + MK_PAGE)) && !fcntl(fd, F_ADD_SEALS, SEALS))
		share = make(card, range, size, fd);
	if (!share)
		close(fd);
	return share;
}

void mk_share_put(struct mk_share *share)
{
	struct mk_share **link = &shares;

	if (--share->refs)
		return;
	while (*link != share)
		link = &(*link)->next;
	*link = share->next;
	mk_board_close(share);
	mk_range_free(share->home, share->range);
	close(share->fd);
	free(share->writers.list);
	free(share->readers.list);
	free(share);
}

/* The descriptors stay open, as others of the parent do. */
void mk_share_forget(void)
{
	shares = NULL;
	mk_boards_forget();
}

struct mk_share *mk_share_by_id(uint64_t id)
{
	struct mk_share *share = shares;

	while (share && (!share->board || share->id != id))
		share = share->next;
	return share;
}

void mk_share_update(void)
{
	for (struct mk_share *share = mk_board_outstanding() ? shares : NULL; share; share = share->next)
		if (share->announced)
			mk_board_update(share);
}

static struct mk_share *find(int fd)
{
	struct mk_share *share = shares;
	struct stat stat;

	if (fstat(fd, &stat))
		return NULL;
	while (share && (share->ino != stat.st_ino || share->dev != stat.st_dev))
		share = share->next;
	return share;
}

bool mk_is_dma_buf(int fd)
{
	return find(fd) || is_named(fd, BUFFER_NAME);
}

/* What another process has made: a share of it, or -EINVAL, -ENOMEM. */
static int adopt(struct mk_card *card, int fd, struct mk_share **out)
{
	struct va_range *range;
	struct stat stat;
	uint64_t size;
	int own;

	if (!is_named(fd, BUFFER_NAME) || !is_sealed(fd) || fstat(fd, &stat) || stat.st_size <= (off_t)MK_PAGE ||
	    (uint64_t)stat.st_size % MK_PAGE)
		return -EINVAL;
	size = (uint64_t)stat.st_size - MK_PAGE;
	own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (own < 0)
		return -errno;
	range = mk_range_alloc(card, size);
	*out = range ? make(card, range, size, own) : NULL;
	if (*out) {
		(*out)->foreign = true;
		(*out)->exported = true;
		if (!mk_board_open(*out))
			return 0;
		mk_share_put(*out);
		return -ENOMEM;
	}
	if (range)
		mk_range_free(card, range);
	close(own);
	return -ENOMEM;
}

static int export_handle(struct mk_file *file, struct drm_prime_handle *arg)
{
	struct mk_bo *bo = mk_bo_find(file, arg->handle);

	if (!bo)
		return -ENOENT;
	if (arg->flags & ~(DRM_CLOEXEC | DRM_RDWR))
		return -EINVAL;
	if (!bo->share)
		return -EPERM;
	if (mk_board_open(bo->share))
		return -ENOMEM;
	arg->fd = fcntl(bo->share->fd, arg->flags & DRM_CLOEXEC ? F_DUPFD_CLOEXEC : F_DUPFD, 3);
	if (arg->fd < 0)
		return -errno;
	bo->share->exported = true;
	return 0;
}

/* Another device reaches it in system memory: there it is, and stays while it does. */
static void pin_home(const struct mk_share *share)
{
	for (struct mk_bo *bo = share->home->bos; bo; bo = bo->next) {
		if (bo->share != share)
			continue;
		mk_bo_move(bo, DRM_ONPU_REGION_SYSTEM);
		bo->pinned = true;
	}
}

static int import_share(struct mk_file *file, struct mk_share *share, struct mk_bo **out)
{
	for (struct mk_bo *bo = file->card->bos; bo; bo = bo->next) {
		if (bo->share == share) {
			mk_bo_get(bo);
			*out = bo;
			return 0;
		}
	}
	share->refs++;
	if (share->home != file->card)
		pin_home(share);
	return mk_bo_wrap(file->card, share, out);
}

static int import_handle(struct mk_file *file, struct drm_prime_handle *arg)
{
	struct mk_share *share;
	struct mk_bo *bo;
	int ret;

	if (fcntl(arg->fd, F_GETFD) < 0)
		return -EBADF;
	share = find(arg->fd);
	if (share) {
		share->refs++;
	} else {
		ret = adopt(file->card, arg->fd, &share);
		if (ret)
			return ret;
	}
	ret = import_share(file, share, &bo);
	mk_share_put(share);
	if (ret)
		return ret;
	for (uint32_t i = 1; i < file->bo_room; i++) {
		if (file->bos[i] == bo) {
			arg->handle = i;
			mk_bo_put(bo);
			return 0;
		}
	}
	ret = mk_handle_create(file, bo, &arg->handle);
	mk_bo_put(bo);
	return ret;
}

/* ---- sync files ---- */

static int new_sync_file(const struct mk_fences *fences)
{
	int fd = memfd_create(SYNC_NAME, MFD_CLOEXEC);
	size_t size = fences->count * sizeof(*fences->list);

	if (fd < 0)
		return -errno;
	if (size && write(fd, fences->list, size) != (ssize_t)size) {
		close(fd);
		return -ENOMEM;
	}
	return fd;
}

static int read_sync_file(int fd, struct mk_fences *fences)
{
	struct mk_fence fence;
	int ret = 0;

	if (fcntl(fd, F_GETFD) < 0)
		return -EBADF;
	if (!is_named(fd, SYNC_NAME))
		return -EINVAL;
	for (off_t at = 0; !ret && pread(fd, &fence, sizeof(fence), at) == sizeof(fence); at += sizeof(fence))
		ret = mk_fences_add(fences, &fence, 1);
	return ret;
}

static int syncobj_to_file(struct mk_file *file, struct drm_syncobj_handle *arg)
{
	struct mk_syncobj *syncobj = mk_syncobj_find(file, arg->handle);
	int fd;

	if (!syncobj)
		return -ENOENT;
	if (arg->flags != DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE || arg->pad || !syncobj->filled)
		return -EINVAL;
	fd = new_sync_file(&syncobj->binary);
	if (fd < 0)
		return fd;
	arg->fd = fd;
	return 0;
}

static int file_to_syncobj(struct mk_file *file, const struct drm_syncobj_handle *arg)
{
	struct mk_syncobj *syncobj = mk_syncobj_find(file, arg->handle);
	struct mk_fences fences = { 0 };
	int ret;

	if (!syncobj)
		return -ENOENT;
	if (arg->flags != DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_IMPORT_SYNC_FILE || arg->pad)
		return -EINVAL;
	ret = read_sync_file(arg->fd, &fences);
	if (ret) {
		free(fences.list);
		return ret;
	}
	free(syncobj->binary.list);
	syncobj->binary = fences;
	syncobj->filled = true;
	return 0;
}

int mk_share_ioctl(struct mk_file *file, unsigned long request, void *arg)
{
	switch (request) {
	case DRM_IOCTL_PRIME_HANDLE_TO_FD:
		return export_handle(file, arg);
	case DRM_IOCTL_PRIME_FD_TO_HANDLE:
		return import_handle(file, arg);
	case DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD:
		return syncobj_to_file(file, arg);
	case DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE:
		return file_to_syncobj(file, arg);
	default:
		return -ENOTTY;
	}
}

/* ---- dma-bufs ---- */

/* What is under way, here and in other processes. */
static int all_fences(const struct mk_share *share, bool readers, struct mk_fences *fences)
{
	int ret = mk_fences_add(fences, share->writers.list, share->writers.count);

	if (!ret && readers)
		ret = mk_fences_add(fences, share->readers.list, share->readers.count);
	return ret ? ret : mk_board_fences(share, readers, fences);
}

static int export_fences(struct mk_share *share, struct dma_buf_export_sync_file *arg)
{
	struct mk_fences fences = { 0 };
	int fd;

	if (!arg->flags || arg->flags & ~DMA_BUF_SYNC_RW)
		return -EINVAL;
	fd = all_fences(share, arg->flags & DMA_BUF_SYNC_WRITE, &fences);
	if (!fd)
		fd = new_sync_file(&fences);
	free(fences.list);
	if (fd < 0)
		return fd;
	arg->fd = fd;
	return 0;
}

static int import_fences(struct mk_share *share, const struct dma_buf_import_sync_file *arg)
{
	struct mk_fences fences = { 0 };
	int ret;

	if (!arg->flags || arg->flags & ~DMA_BUF_SYNC_RW)
		return -EINVAL;
	ret = read_sync_file(arg->fd, &fences);
	if (!ret)
		ret = mk_board_announce(share, arg->flags & DMA_BUF_SYNC_WRITE ? MK_WRITES : MK_READS, &fences);
	if (!ret)
		ret = mk_fences_add(arg->flags & DMA_BUF_SYNC_WRITE ? &share->writers : &share->readers,
				    fences.list, fences.count);
	free(fences.list);
	return ret;
}

int mk_dma_buf_ioctl(int fd, unsigned long request, void *arg)
{
	struct mk_share *share = find(fd);

	if (!share)
		return fcntl(fd, F_GETFD) < 0 ? -EBADF : -ENOTTY;
	switch (request) {
	case DMA_BUF_IOCTL_EXPORT_SYNC_FILE:
		return export_fences(share, arg);
	case DMA_BUF_IOCTL_IMPORT_SYNC_FILE:
		return import_fences(share, arg);
	default:
		return -ENOTTY;
	}
}

int mk_dma_buf_wait(int fd, bool all, uint64_t deadline)
{
	struct mk_share *share = find(fd);
	struct mk_fences fences = { 0 };
	bool in_time = true;
	int ret;

	if (!share)
		return -EINVAL;
	share->refs++;
	ret = all_fences(share, all, &fences);
	while (!ret && !mk_all_signalled(&fences)) {
		uint64_t soon = mk_now() + MK_POLL_NS;

		if (!in_time || !deadline)
			ret = -ETIME;
		else if (mk_must_poll() && soon < deadline)
			mk_wait(soon);
		else
			in_time = mk_wait(deadline);
	}
	free(fences.list);
	mk_share_put(share);
	return ret;
}

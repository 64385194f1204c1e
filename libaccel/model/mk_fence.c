/* SPDX-License-Identifier: MIT */
/*
 * Fences and syncobjs.
 *
 * A fence is a value, not an object: a queue's number and the number of a job in it. Numbers of
 * queues are never used again and a queue leaves when all its jobs have ended, so a queue that is
 * not there has signalled everything. Nothing needs counting, and a sync file is the values.
 *
 * A point of a timeline signals when its fence and all points before it have, as the chains of the
 * kernel do.
 *
 * Locking: mk_lock.
 */
#include "mk.h"

#include <stdlib.h>
#include <string.h>

bool mk_signalled(struct mk_fence fence)
{
	struct mk_queue *queue;

	if (mk_is_foreign(fence))
		return mk_foreign_signalled(fence);
	queue = fence.queue ? mk_queue_by_number(fence.queue) : NULL;
	return !queue || queue->completed >= fence.seqno;
}

bool mk_all_signalled(const struct mk_fences *fences)
{
	for (unsigned int i = 0; i < fences->count; i++)
		if (!mk_signalled(fences->list[i]))
			return false;
	return true;
}

static int grow(struct mk_fences *fences, unsigned int more)
{
	unsigned int room = fences->room ? fences->room : 4;
	struct mk_fence *list;

	if (fences->count + more <= fences->room)
		return 0;
	while (room < fences->count + more)
		room *= 2;
	list = realloc(fences->list, room * sizeof(*list));
	if (!list)
		return -ENOMEM;
	fences->list = list;
	fences->room = room;
	return 0;
}

int mk_fences_add(struct mk_fences *fences, const struct mk_fence *more, unsigned int count)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < fences->count; i++)
		if (!mk_signalled(fences->list[i]))
			fences->list[kept++] = fences->list[i];
	fences->count = kept;
	if (grow(fences, count))
		return -ENOMEM;
	for (unsigned int i = 0; i < count; i++)
		fences->list[fences->count++] = more[i];
	return 0;
}

/* ---- syncobjs ---- */

struct mk_syncobj *mk_syncobj_find(struct mk_file *file, uint32_t handle)
{
	if (!handle || handle >= file->syncobj_room || !file->syncobjs[handle].used)
		return NULL;
	return &file->syncobjs[handle];
}

/* Points at the front that have signalled are forgotten. */
static void advance(struct mk_syncobj *syncobj)
{
	unsigned int gone = 0;

	while (gone < syncobj->count && mk_signalled(syncobj->points[gone].fence))
		syncobj->done = syncobj->points[gone++].point;
	if (!gone)
		return;
	syncobj->count -= gone;
	memmove(syncobj->points, syncobj->points + gone, syncobj->count * sizeof(*syncobj->points));
}

static bool reached(struct mk_syncobj *syncobj, uint64_t point)
{
	if (!point)
		return mk_all_signalled(&syncobj->binary);
	advance(syncobj);
	return syncobj->done >= point;
}

int mk_syncobj_fence(struct mk_syncobj *syncobj, uint64_t point, struct mk_fences *fences)
{
	if (!point) {
		if (!syncobj->filled)
			return -EINVAL;
		return mk_fences_add(fences, syncobj->binary.list, syncobj->binary.count);
	}
	if (reached(syncobj, point))
		return 0;
	/* All that stand before it count, too. */
	for (unsigned int i = 0; i < syncobj->count; i++) {
		if (mk_fences_add(fences, &syncobj->points[i].fence, 1))
			return -ENOMEM;
		if (syncobj->points[i].point >= point)
			return 0;
	}
	return -EINVAL;
}

int mk_syncobj_reserve(struct mk_syncobj *syncobj, unsigned int more)
{
	unsigned int room = syncobj->room ? syncobj->room : 16;
	struct mk_point *points;

	advance(syncobj);
	if (grow(&syncobj->binary, 1))
		return -ENOMEM;
	if (syncobj->count + more <= syncobj->room)
		return 0;
	while (room < syncobj->count + more)
		room *= 2;
	points = realloc(syncobj->points, room * sizeof(*points));
	if (!points)
		return -ENOMEM;
	syncobj->points = points;
	syncobj->room = room;
	return 0;
}

void mk_syncobj_signal(struct mk_syncobj *syncobj, uint64_t point, struct mk_fence fence)
{
	if (point) {
		syncobj->points[syncobj->count++] = (struct mk_point){ point, fence };
		if (syncobj->newest < point)
			syncobj->newest = point;
	} else {
		syncobj->binary.list[0] = fence;
		syncobj->binary.count = 1;
		syncobj->filled = true;
	}
}

void mk_syncobj_clear(struct mk_syncobj *syncobj)
{
	free(syncobj->points);
	free(syncobj->binary.list);
	memset(syncobj, 0, sizeof(*syncobj));
}

static int create(struct mk_file *file, struct drm_syncobj_create *arg)
{
	unsigned int i, room = file->syncobj_room;

	if (arg->flags & ~DRM_SYNCOBJ_CREATE_SIGNALED)
		return -EINVAL;
	for (i = 1; i < room && file->syncobjs[i].used; i++)
		;
	if (i >= room) {
		unsigned int more = room ? room * 2 : 16;
		struct mk_syncobj *list = realloc(file->syncobjs, more * sizeof(*list));

		if (!list)
			return -ENOMEM;
		memset(list + room, 0, (more - room) * sizeof(*list));
		file->syncobjs = list;
		file->syncobj_room = more;
		i = room ? room : 1;
	}
	file->syncobjs[i].used = true;
	file->syncobjs[i].filled = arg->flags & DRM_SYNCOBJ_CREATE_SIGNALED;
	arg->handle = i;
	return 0;
}

/* Whether the wait is over: 0, -EAGAIN, -EINVAL (nothing will signal), -ENOENT. */
static int look(struct mk_file *file, const uint32_t *handles, const uint64_t *points,
		unsigned int count, bool all, unsigned int *first)
{
	unsigned int ready = 0;

	for (unsigned int i = 0; i < count; i++) {
		struct mk_syncobj *syncobj = mk_syncobj_find(file, handles[i]);
		uint64_t point = points ? points[i] : 0;

		if (!syncobj)
			return -ENOENT;
		if (point ? point > syncobj->newest && point > syncobj->done : !syncobj->filled)
			return -EINVAL;
		if (!reached(syncobj, point))
			continue;
		*first = i;
		if (!all)
			return 0;
		ready++;
	}
	return ready == count ? 0 : -EAGAIN;
}

static int wait(struct mk_file *file, const uint32_t *handles, const uint64_t *points,
		unsigned int count, uint32_t flags, int64_t deadline, uint32_t *first)
{
	bool in_time = true;
	int ret;

	if (!count || flags & ~DRM_SYNCOBJ_WAIT_FLAGS_WAIT_ALL)
		return -EINVAL;
	for (;;) {
		ret = look(file, handles, points, count, flags, first);
		if (ret != -EAGAIN)
			return ret;
		if (!in_time || deadline <= 0)
			return -ETIME;
		in_time = mk_wait((uint64_t)deadline);
	}
}

static int transfer(struct mk_file *file, const struct drm_syncobj_transfer *arg)
{
	struct mk_syncobj *from = mk_syncobj_find(file, arg->src_handle);
	struct mk_syncobj *to = mk_syncobj_find(file, arg->dst_handle);
	struct mk_fences fences = { 0 };
	int ret;

	if (!from || !to)
		return -ENOENT;
	if (arg->flags || arg->pad || arg->dst_point)
		return -EINVAL;
	ret = mk_syncobj_fence(from, arg->src_point, &fences);
	if (ret) {
		free(fences.list);
		return ret;
	}
	free(to->binary.list);
	to->binary = fences;
	to->filled = true;
	return 0;
}

static int query(struct mk_file *file, const struct drm_syncobj_timeline_array *arg)
{
	const uint32_t *handles = (const void *)(uintptr_t)arg->handles;
	uint64_t *points = (void *)(uintptr_t)arg->points;

	for (unsigned int i = 0; i < arg->count_handles; i++) {
		struct mk_syncobj *syncobj = mk_syncobj_find(file, handles[i]);

		if (!syncobj)
			return -ENOENT;
		advance(syncobj);
		points[i] = syncobj->done;
	}
	return 0;
}

int mk_syncobj_ioctl(struct mk_file *file, unsigned long request, void *arg)
{
	struct drm_syncobj_timeline_wait *timeline = arg;
	struct drm_syncobj_destroy *destroy = arg;
	struct drm_syncobj_wait *binary = arg;
	struct mk_syncobj *syncobj;

	switch (request) {
	case DRM_IOCTL_SYNCOBJ_CREATE:
		return create(file, arg);
	case DRM_IOCTL_SYNCOBJ_DESTROY:
		syncobj = mk_syncobj_find(file, destroy->handle);
		if (!syncobj)
			return -EINVAL;
		mk_syncobj_clear(syncobj);
		return 0;
	case DRM_IOCTL_SYNCOBJ_WAIT:
		return wait(file, (const void *)(uintptr_t)binary->handles, NULL, binary->count_handles,
			    binary->flags, binary->timeout_nsec, &binary->first_signaled);
	case DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT:
		return wait(file, (const void *)(uintptr_t)timeline->handles,
			    (const void *)(uintptr_t)timeline->points, timeline->count_handles,
			    timeline->flags, timeline->timeout_nsec, &timeline->first_signaled);
	case DRM_IOCTL_SYNCOBJ_TRANSFER:
		return transfer(file, arg);
	case DRM_IOCTL_SYNCOBJ_QUERY:
		return query(file, arg);
	default:
		return -ENOTTY;
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * Buffer objects and where they are.
 *
 * All memory of a card, in card memory or not, is of one piece (mk_card.c), so an object never
 * changes its place in the process: to move it is to count it elsewhere and to write its page-table
 * entries anew. Both the old and the new ones lead to the same bytes, so nobody has to be
 * waited for, and what the driver does by copying costs nothing here. What can be seen of it is the
 * same: what is used is brought back, the least recently used address spaces give way, an
 * address space whose objects must be in card memory and do not fit gets -ENOMEM.
 *
 * Locking: mk_lock.
 */
#define _GNU_SOURCE
#include "mk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PLACES	(DRM_ONPU_BO_VRAM | DRM_ONPU_BO_SYSTEM)
#define FLAGS	(PLACES | DRM_ONPU_BO_CPU_VISIBLE)

static uint64_t pinned;

uint64_t mk_pinned(void)
{
	return pinned;
}

uint64_t mk_pinned_limit(void)
{
	return mk_limits.max_pinned_bytes ? mk_limits.max_pinned_bytes :
	       (uint64_t)sysconf(_SC_PHYS_PAGES) / 2 * MK_PAGE;
}

uint64_t mk_bo_pte(const struct mk_bo *bo, uint64_t offset)
{
	if (bo->region == DRM_ONPU_REGION_VRAM)
		return bo->range->start + offset;
	return (uint64_t)(uintptr_t)bo->memory + offset + ONPU_PTE_HOST;
}

/* ---- places ---- */

static void count(const struct mk_bo *bo, bool in)
{
	uint64_t size = in ? bo->size : -bo->size;

	if (bo->region == DRM_ONPU_REGION_VRAM)
		bo->card->vram_used += size;
	else if (bo->region == DRM_ONPU_REGION_SYSTEM && !bo->user)
		bo->card->host_used += size;
}

static bool must_be_on_card(const struct mk_bo *bo)
{
	return (bo->flags & PLACES) == DRM_ONPU_BO_VRAM && !bo->user && !bo->pinned;
}

int mk_bo_move(struct mk_bo *bo, uint32_t region)
{
	if (bo->region == region)
		return 0;
	count(bo, false);
	bo->region = region;
	count(bo, true);
	for (struct mk_mapping *m = bo->mappings; m; m = m->next) {
		m->vm->moved = true;
		mk_vm_remap(m);
		mk_card_renew(bo->card, m->vm->asid);
	}
	return 0;
}

/* Gives up the content: there is no use of it under way. */
static void purge(struct mk_bo *bo)
{
	madvise(bo->memory, bo->size, bo->share ? MADV_REMOVE : MADV_DONTNEED);
	mk_bo_move(bo, DRM_ONPU_REGION_NONE);
	bo->purged = true;
}

void mk_bo_purge_all(void)
{
	for (unsigned int i = 0; i < MK_CARDS; i++)
		for (struct mk_bo *bo = mk_cards[i] ? mk_cards[i]->bos : NULL; bo; bo = bo->next)
			if (bo->purgeable && !bo->purged)
				purge(bo);
}

static uint64_t last_use(const struct mk_bo *bo)
{
	uint64_t used = 0;

	for (const struct mk_mapping *m = bo->mappings; m; m = m->next)
		if (used < m->vm->used)
			used = m->vm->used;
	return used;
}

static bool maps(const struct mk_bo *bo, const struct mk_vm *vm)
{
	for (const struct mk_mapping *m = bo->mappings; m; m = m->next)
		if (m->vm == vm)
			return true;
	return false;
}

/* Purgeable ones first, then the one that was used least recently; not those that @vm needs. */
static struct mk_bo *find_victim(struct mk_card *card, const struct mk_vm *vm)
{
	struct mk_bo *victim = NULL;

	for (struct mk_bo *bo = card->bos; bo; bo = bo->next) {
		if (bo->region != DRM_ONPU_REGION_VRAM || (vm && maps(bo, vm) && must_be_on_card(bo)))
			continue;
		if (bo->purgeable)
			return bo;
		if (!victim || last_use(bo) < last_use(victim))
			victim = bo;
	}
	return victim;
}

/* Makes room for @size bytes in card memory. */
static bool make_room(struct mk_card *card, uint64_t size, const struct mk_vm *vm)
{
	while (card->vram_used > card->vram || size > card->vram - card->vram_used) {
		struct mk_bo *victim = find_victim(card, vm);

		if (!victim)
			return false;
		if (victim->purgeable)
			purge(victim);
		else
			mk_bo_move(victim, DRM_ONPU_REGION_SYSTEM);
	}
	return true;
}

/* Has an object of @vm, or of no one, where the card may use it. */
static int bring_back(struct mk_bo *bo, const struct mk_vm *vm)
{
	if (bo->region == DRM_ONPU_REGION_VRAM)
		return 0;
	if (!make_room(bo->card, bo->size, vm))
		return -ENOMEM;
	return mk_bo_move(bo, DRM_ONPU_REGION_VRAM);
}

int mk_bo_validate(struct mk_vm *vm)
{
	int ret = 0;

	vm->used = mk_now();
	if (!vm->moved)
		return 0;
	for (unsigned int i = 0; i < vm->count && !ret; i++) {
		struct mk_bo *bo = vm->mappings[i]->bo;

		if (bo && must_be_on_card(bo))
			ret = bring_back(bo, vm);
		else if (bo && bo->region == DRM_ONPU_REGION_NONE)
			ret = mk_bo_move(bo, DRM_ONPU_REGION_SYSTEM);
	}
	vm->moved = ret;
	return ret;
}

/* ---- life ---- */

static struct mk_bo *alloc(struct mk_card *card, uint64_t size, uint32_t flags)
{
	struct mk_bo *bo = calloc(1, sizeof(*bo));

	if (!bo)
		return NULL;
	bo->refs = 1;
	bo->card = card;
	bo->size = size;
	bo->flags = flags;
	bo->next = card->bos;
	bo->link = &card->bos;
	if (bo->next)
		bo->next->link = &bo->next;
	card->bos = bo;
	return bo;
}

void mk_bo_get(struct mk_bo *bo)
{
	bo->refs++;
}

void mk_bo_put(struct mk_bo *bo)
{
	if (--bo->refs)
		return;
	count(bo, false);
	if (bo->share)
		mk_share_put(bo->share);
	else if (bo->range)
		mk_range_free(bo->card, bo->range);
	if (bo->user)
		pinned -= bo->size;
	*bo->link = bo->next;
	if (bo->next)
		bo->next->link = bo->link;
	free(bo);
}

int mk_bo_wrap(struct mk_card *card, struct mk_share *share, struct mk_bo **out)
{
	struct mk_bo *bo = alloc(card, share->size, DRM_ONPU_BO_SYSTEM);

	if (!bo) {
		mk_share_put(share);
		return -ENOMEM;
	}
	bo->share = share;
	bo->memory = share->home->memory + share->range->start;
	bo->region = DRM_ONPU_REGION_SYSTEM;
	bo->pinned = true;
	*out = bo;
	return 0;
}

int mk_handle_create(struct mk_file *file, struct mk_bo *bo, uint32_t *handle)
{
	unsigned int room = file->bo_room, i;

	if (file->bo_count >= mk_limits.max_bos)
		return -ENOSPC;
	for (i = file->bo_hint ? file->bo_hint : 1; i < room && file->bos[i]; i++)
		;
	if (i >= room) {
		unsigned int more = room ? room * 2 : 64;
		struct mk_bo **list = realloc(file->bos, more * sizeof(struct mk_bo *));

		if (!list)
			return -ENOMEM;
		memset(list + room, 0, (more - room) * sizeof(struct mk_bo *));
		file->bos = list;
		file->bo_room = more;
	}
	file->bos[i] = bo;
	file->bo_count++;
	file->bo_hint = i + 1;
	mk_bo_get(bo);
	*handle = i;
	return 0;
}

struct mk_bo *mk_bo_find(struct mk_file *file, uint32_t handle)
{
	return handle && handle < file->bo_room ? file->bos[handle] : NULL;
}

static int close_handle(struct mk_file *file, uint32_t handle)
{
	struct mk_bo *bo = mk_bo_find(file, handle);

	if (!bo)
		return -EINVAL;
	file->bos[handle] = NULL;
	file->bo_count--;
	if (handle < file->bo_hint)
		file->bo_hint = handle;
	mk_bo_put(bo);
	return 0;
}

/* ---- BO_CREATE ---- */

static int place_new(struct mk_bo *bo)
{
	if (bo->flags & DRM_ONPU_BO_VRAM) {
		/* What may be elsewhere does not push others out. */
		bool room = bo->card->vram_used <= bo->card->vram &&
			    bo->size <= bo->card->vram - bo->card->vram_used;

		if (!room && !(bo->flags & DRM_ONPU_BO_SYSTEM))
			room = make_room(bo->card, bo->size, NULL);
		if (room)
			return mk_bo_move(bo, DRM_ONPU_REGION_VRAM);
		if (!(bo->flags & DRM_ONPU_BO_SYSTEM))
			return -ENOMEM;
	}
	return mk_bo_move(bo, DRM_ONPU_REGION_SYSTEM);
}

uint64_t mk_bo_max(const struct mk_card *card)
{
	if (mk_limits.max_bo_size)
		return mk_limits.max_bo_size;
	return card->size - card->vram > card->vram ? card->size - card->vram : card->vram;
}

static int create_memory(struct mk_bo *bo, bool private)
{
	bo->range = mk_range_alloc(bo->card, bo->size);
	if (!bo->range)
		return -ENOMEM;
	bo->memory = bo->card->memory + bo->range->start;
	if (private)
		return 0;
	bo->share = mk_share_create(bo->card, bo->range, bo->size);
	return bo->share ? 0 : -ENOMEM;
}

static int create(struct mk_file *file, struct drm_onpu_bo_create *arg)
{
	struct mk_vm *vm = NULL;
	struct mk_bo *bo;
	int ret;

	if (arg->pad || arg->flags & ~FLAGS || !(arg->flags & PLACES) || !arg->size ||
	    arg->size > mk_bo_max(file->card))
		return -EINVAL;
	if (arg->vm_id) {
		vm = mk_vm_find(file, arg->vm_id);
		if (!vm)
			return -ENOENT;
	}
	if (file->bo_count >= mk_limits.max_bos)
		return -ENOSPC;
	bo = alloc(file->card, (arg->size + MK_PAGE - 1) & ~(MK_PAGE - 1), arg->flags);
	if (!bo)
		return -ENOMEM;
	bo->vm = vm;
	ret = create_memory(bo, vm);
	if (!ret)
		ret = place_new(bo);
	if (!ret)
		ret = mk_handle_create(file, bo, &arg->handle);
	arg->size = bo->size;
	mk_bo_put(bo);
	return ret;
}

/* ---- BO_USERPTR ---- */

/*
 * Whether the process may read, and write, all of [addr, addr + size). As the driver: no memory of a
 * device, and none of a file that the card would write to, but those without a file system.
 */
static bool is_memory(uint64_t addr, uint64_t size, bool write)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	uint64_t start, end, at = addr;
	char line[512], bits[5], path[256];

	while (maps && at < addr + size && fgets(line, sizeof(line), maps)) {
		path[0] = '\0';
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*s %*s %*s %255s", &start, &end, bits,
			   path) < 3 || end <= at)
			continue;
		if (start > at || bits[0] != 'r' || (write && bits[1] != 'w'))
			break;
		if (write && bits[3] == 's' && path[0] == '/' && strncmp(path, "/memfd:", 7) &&
		    strncmp(path, "/dev/", 5) && strncmp(path, "/SYSV", 5))
			break;
		at = end;
	}
	if (maps)
		fclose(maps);
	return at >= addr + size;
}

/* Buffers of the card are a device's memory. */
static bool is_ours(uint64_t addr, uint64_t size)
{
	for (unsigned int i = 0; i < MK_CARDS; i++) {
		uint64_t start = mk_cards[i] ? (uintptr_t)mk_cards[i]->memory : 0;

		if (start && addr < start + mk_cards[i]->size && start < addr + size)
			return true;
	}
	return false;
}

static int userptr(struct mk_file *file, struct drm_onpu_bo_userptr *arg)
{
	bool readonly = arg->flags & DRM_ONPU_USERPTR_READONLY;
	struct mk_bo *bo;
	int ret;

	if (arg->flags & ~DRM_ONPU_USERPTR_READONLY || !arg->size || arg->addr % MK_PAGE ||
	    arg->size % MK_PAGE || arg->addr > UINT64_MAX - arg->size || arg->size > mk_pinned_limit())
		return -EINVAL;
	if (arg->size > mk_pinned_limit() - pinned || file->bo_count >= mk_limits.max_bos)
		return -ENOSPC;
	if (is_ours(arg->addr, arg->size) || !is_memory(arg->addr, arg->size, !readonly))
		return -EFAULT;
	bo = alloc(file->card, arg->size, DRM_ONPU_BO_SYSTEM);
	if (!bo)
		return -ENOMEM;
	bo->user = true;
	bo->readonly = readonly;
	bo->memory = (uint8_t *)(uintptr_t)arg->addr;
	bo->region = DRM_ONPU_REGION_SYSTEM;
	pinned += bo->size;
	ret = mk_handle_create(file, bo, &arg->handle);
	mk_bo_put(bo);
	return ret;
}

/* ---- questions and advice ---- */

static int info(struct mk_file *file, struct drm_onpu_bo_info *arg)
{
	struct mk_bo *bo = mk_bo_find(file, arg->handle);

	if (arg->flags || arg->size || arg->region || arg->state)
		return -EINVAL;
	if (!bo)
		return -ENOENT;
	arg->flags = bo->flags;
	arg->size = bo->size;
	arg->region = bo->region;
	arg->state = (bo->purgeable ? DRM_ONPU_BO_STATE_PURGEABLE : 0) |
		     (bo->purged ? DRM_ONPU_BO_STATE_PURGED : 0);
	return 0;
}

/* A purged one has memory again as soon as somebody asks for it. */
static int prefetch(struct mk_bo *bo)
{
	if (!(bo->flags & DRM_ONPU_BO_VRAM) || bo->user || bo->pinned)
		return bo->region == DRM_ONPU_REGION_NONE ? mk_bo_move(bo, DRM_ONPU_REGION_SYSTEM) : 0;
	return bring_back(bo, NULL);
}

static int evict(struct mk_bo *bo)
{
	return bo->region == DRM_ONPU_REGION_VRAM ? mk_bo_move(bo, DRM_ONPU_REGION_SYSTEM) : 0;
}

static int advise(struct mk_file *file, struct drm_onpu_bo_advise *arg)
{
	struct mk_bo *bo = mk_bo_find(file, arg->handle);

	if (arg->flags || arg->retained || arg->advice < DRM_ONPU_ADVISE_PREFETCH ||
	    arg->advice > DRM_ONPU_ADVISE_NEEDED)
		return -EINVAL;
	if (!bo)
		return -ENOENT;
	arg->retained = !bo->purged;
	switch (arg->advice) {
	case DRM_ONPU_ADVISE_PREFETCH:
		return prefetch(bo);
	case DRM_ONPU_ADVISE_EVICT:
		return evict(bo);
	case DRM_ONPU_ADVISE_PURGEABLE:
		if (bo->user || (bo->share && bo->share->exported))
			return -EPERM;
		bo->purgeable = true;
		return 0;
	default:
		bo->purgeable = false;
		bo->purged = false;
		return bo->region == DRM_ONPU_REGION_NONE ? place_new(bo) : 0;
	}
}

static int mmap_offset(struct mk_file *file, struct drm_onpu_bo_mmap_offset *arg)
{
	if (arg->flags)
		return -EINVAL;
	if (!mk_bo_find(file, arg->handle))
		return -ENOENT;
	arg->offset = (uint64_t)arg->handle << 32;
	return 0;
}

int mk_bo_ioctl(struct mk_file *file, unsigned long request, void *arg)
{
	switch (request) {
	case DRM_IOCTL_ONPU_BO_CREATE:
		return create(file, arg);
	case DRM_IOCTL_ONPU_BO_USERPTR:
		return userptr(file, arg);
	case DRM_IOCTL_ONPU_BO_INFO:
		return info(file, arg);
	case DRM_IOCTL_ONPU_BO_ADVISE:
		return advise(file, arg);
	case DRM_IOCTL_ONPU_BO_MMAP_OFFSET:
		return mmap_offset(file, arg);
	case DRM_IOCTL_GEM_CLOSE:
		return close_handle(file, ((struct drm_gem_close *)arg)->handle);
	default:
		return -ENOTTY;
	}
}

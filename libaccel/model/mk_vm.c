/* SPDX-License-Identifier: MIT */
/*
 * Address spaces: page tables in card memory, and what is mapped where.
 *
 * Pages of 2 MiB are used where address, memory and size allow. A table stays until the end
 * of its address space, because the card may have it in a TLB; when a large page takes the place
 * of an empty table, the table is only left aside.
 *
 * VM_BIND does all or nothing, as the driver's: what its operations may need at most, mappings and pages
 * for tables, is put aside before the first of them.
 *
 * Locking: mk_lock. Entries are written atomically, the card reads them at any time. What was
 * unmapped is let go of when the card has forgotten it, with the lock released in between.
 */
#include "mk.h"

#include <stdlib.h>
#include <string.h>

#define NEXT_LEVEL(va, level)	(((va) | ((1ull << ONPU_MMU_SHIFT(level)) - 1)) + 1)

/* ---- page tables ---- */

static uint64_t *table_at(const struct mk_vm *vm, uint64_t offset)
{
	return (uint64_t *)(void *)(vm->card->memory + offset);
}

static void store(uint64_t *entry, uint64_t value)
{
	__atomic_store_n(entry, value, __ATOMIC_RELEASE);
}

/* Room in the list for @more tables. */
static bool reserve_list(struct mk_vm *vm, uint64_t more)
{
	uint64_t wanted = vm->table_count + more, room = vm->table_room ? vm->table_room : 16;
	uint64_t *list;

	if (wanted <= vm->table_room)
		return true;
	while (room < wanted)
		room *= 2;
	list = realloc(vm->tables, room * sizeof(*list));
	if (!list)
		return false;
	vm->tables = list;
	vm->table_room = (unsigned int)room;
	return true;
}

static uint64_t new_table(struct mk_vm *vm)
{
	uint64_t offset;

	if (!reserve_list(vm, 1))
		return 0;
	offset = mk_page_alloc(vm->card);
	if (offset)
		vm->tables[vm->table_count++] = offset;
	return offset;
}

/* A table instead of a large page, which says the same. */
static bool split(struct mk_vm *vm, uint64_t *entry)
{
	uint64_t offset = new_table(vm), pte = *entry;

	if (!offset)
		return false;
	for (uint64_t i = 0; i < ONPU_MMU_ENTRIES; i++)
		store(table_at(vm, offset) + i, pte & ONPU_PTE_NULL ? pte : pte + i * MK_PAGE);
	store(entry, offset | ONPU_PTE_VALID);
	return true;
}

/* The entry for @va at @level; NULL: there is none and none is wanted, or no memory. */
static uint64_t *find_entry(struct mk_vm *vm, uint64_t va, unsigned int level, bool create)
{
	uint64_t table = vm->root;

	for (unsigned int l = ONPU_MMU_LEVELS - 1;; l--) {
		uint64_t *entry = table_at(vm, table) + (va >> ONPU_MMU_SHIFT(l) & (ONPU_MMU_ENTRIES - 1));

		if (l == level)
			return entry;
		if (*entry & ONPU_PTE_LEAF) {
			if (!split(vm, entry))
				return NULL;
		} else if (!(*entry & ONPU_PTE_VALID)) {
			uint64_t next = create ? new_table(vm) : 0;

			if (!next)
				return NULL;
			store(entry, next | ONPU_PTE_VALID);
		}
		table = *entry & ONPU_PTE_ADDR;
	}
}

static bool is_empty(const uint64_t *table)
{
	for (unsigned int i = 0; i < ONPU_MMU_ENTRIES; i++)
		if (table[i])
			return false;
	return true;
}

/* Whether a large page can stand at @entry. */
static bool takes_leaf(const struct mk_vm *vm, const uint64_t *entry)
{
	if (!(*entry & ONPU_PTE_VALID) || *entry & ONPU_PTE_LEAF)
		return true;
	return is_empty(table_at(vm, *entry & ONPU_PTE_ADDR));
}

int mk_pt_map(struct mk_vm *vm, uint64_t va, uint64_t size, uint64_t pte)
{
	bool null = pte & ONPU_PTE_NULL, aside = false;
	uint64_t end = va + size, step;

	for (; va < end; va += step) {
		uint64_t *entry = NULL;

		step = MK_HUGE;
		if (va % MK_HUGE == 0 && end - va >= MK_HUGE && (pte & ONPU_PTE_ADDR) % MK_HUGE == 0) {
			entry = find_entry(vm, va, 1, true);
			if (!entry)
				return -ENOMEM;
			if (!takes_leaf(vm, entry))
				entry = NULL;
		}
		if (!entry) {
			step = MK_PAGE;
			entry = find_entry(vm, va, 0, true);
			if (!entry)
				return -ENOMEM;
		}
		aside |= step == MK_HUGE && *entry & ONPU_PTE_VALID && !(*entry & ONPU_PTE_LEAF);
		store(entry, pte | ONPU_PTE_VALID | ONPU_PTE_LEAF);
		pte += null ? 0 : step;
	}
	/* The card may remember a table that has been left aside. */
	if (aside)
		mk_card_renew(vm->card, vm->asid);
	return 0;
}

void mk_pt_unmap(struct mk_vm *vm, uint64_t va, uint64_t size)
{
	uint64_t end = va + size, step;

	for (; va < end; va += step) {
		uint64_t *entry = find_entry(vm, va, 1, false);

		step = NEXT_LEVEL(va, 1) - va;
		if (step > end - va)
			step = end - va;
		if (!entry || !(*entry & ONPU_PTE_VALID))
			continue;
		if (*entry & ONPU_PTE_LEAF && step == MK_HUGE) {
			store(entry, 0);
			continue;
		}
		step = MK_PAGE;
		entry = find_entry(vm, va, 0, false);
		if (entry)
			store(entry, 0);
	}
}

static uint64_t bits_of(const struct mk_mapping *m)
{
	return ONPU_PTE_READ | (m->readonly ? 0 : ONPU_PTE_WRITE);
}

/* The tables exist, so that this cannot fail. */
void mk_vm_remap(const struct mk_mapping *m)
{
	if (m->bo->region == DRM_ONPU_REGION_NONE)
		mk_pt_unmap(m->vm, m->va, m->size);
	else
		mk_pt_map(m->vm, m->va, m->size, mk_bo_pte(m->bo, m->offset) | bits_of(m));
}

/* ---- mappings ---- */

/* Index of the first mapping that ends behind @va. */
static unsigned int find_index(const struct mk_vm *vm, uint64_t va)
{
	unsigned int low = 0, high = vm->count;

	while (low < high) {
		unsigned int middle = low + (high - low) / 2;
		const struct mk_mapping *m = vm->mappings[middle];

		if (m->va + m->size <= va)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* One of those that were put aside. */
static void insert(struct mk_vm *vm, const struct mk_mapping *from)
{
	unsigned int index = find_index(vm, from->va);
	struct mk_mapping *m = vm->spare;

	vm->spare = m->next;
	*m = *from;
	m->vm = vm;
	if (m->bo) {
		mk_bo_get(m->bo);
		m->next = m->bo->mappings;
		m->bo->mappings = m;
		vm->moved = true;
	}
	memmove(vm->mappings + index + 1, vm->mappings + index,
		(vm->count - index) * sizeof(struct mk_mapping *));
	vm->mappings[index] = m;
	vm->count++;
}

static void unlink_mapping(struct mk_mapping *m)
{
	struct mk_mapping **link;

	if (!m->bo)
		return;
	for (link = &m->bo->mappings; *link != m; link = &(*link)->next)
		;
	*link = m->next;
}

/* Takes the mapping at @index away and adds it to @gone: the card may still know it. */
static void take(struct mk_vm *vm, unsigned int index, struct mk_mapping **gone)
{
	struct mk_mapping *m = vm->mappings[index];

	unlink_mapping(m);
	vm->count--;
	memmove(vm->mappings + index, vm->mappings + index + 1,
		(vm->count - index) * sizeof(struct mk_mapping *));
	m->next = *gone;
	*gone = m;
}

/* Unmaps a range; parts of mappings that reach over it stay, at most one at each end. */
static void unmap(struct mk_vm *vm, uint64_t va, uint64_t size, struct mk_mapping **gone)
{
	uint64_t end = va + size;
	unsigned int index;

	while (index = find_index(vm, va), index < vm->count && vm->mappings[index]->va < end) {
		struct mk_mapping *m = vm->mappings[index];
		struct mk_mapping before = *m, behind = *m;
		uint64_t m_end = m->va + m->size;

		take(vm, index, gone);
		before.size = va - before.va;
		behind.va = end;
		behind.size = m_end - end;
		behind.offset += m->bo ? end - m->va : 0;
		if (before.va < va)
			insert(vm, &before);
		if (m_end > end)
			insert(vm, &behind);
	}
	mk_pt_unmap(vm, va, size);
}

static void release(struct mk_mapping *gone)
{
	while (gone) {
		struct mk_mapping *next = gone->next;

		if (gone->bo)
			mk_bo_put(gone->bo);
		free(gone);
		gone = next;
	}
}

/* ---- VM_BIND ---- */

static int check_op(struct mk_file *file, const struct mk_vm *vm, const struct drm_onpu_bind_op *op)
{
	const uint32_t flags = DRM_ONPU_BIND_READONLY | DRM_ONPU_BIND_NULL;
	struct mk_bo *bo;

	if (op->pad || !op->size || op->va % MK_PAGE || op->size % MK_PAGE || op->va < MK_VA_START ||
	    op->va > MK_VA_END || op->size > MK_VA_END - op->va || op->type > DRM_ONPU_BIND_UNMAP)
		return -EINVAL;
	if (op->type == DRM_ONPU_BIND_UNMAP)
		return op->flags || op->handle || op->bo_offset ? -EINVAL : 0;
	if (op->flags & ~flags)
		return -EINVAL;
	if (op->flags & DRM_ONPU_BIND_NULL)
		return op->handle || op->bo_offset || op->size > MK_NULL_MAX ? -EINVAL : 0;
	if (op->bo_offset % MK_PAGE || op->bo_offset > UINT64_MAX - op->size)
		return -EINVAL;
	bo = mk_bo_find(file, op->handle);
	if (!bo)
		return -ENOENT;
	if (op->bo_offset + op->size > bo->size || (bo->vm && bo->vm != vm))
		return -EINVAL;
	return bo->readonly && !(op->flags & DRM_ONPU_BIND_READONLY) ? -EACCES : 0;
}

static struct mk_bo *bo_of(struct mk_file *file, const struct drm_onpu_bind_op *op)
{
	return op->type == DRM_ONPU_BIND_MAP && !(op->flags & DRM_ONPU_BIND_NULL) ? mk_bo_find(file, op->handle) : NULL;
}

/* Tables of a level that a range has a part in. */
static uint64_t spans(uint64_t va, uint64_t size, unsigned int level)
{
	return ((va + size - 1) >> ONPU_MMU_SHIFT(level)) - (va >> ONPU_MMU_SHIFT(level)) + 1;
}

/*
 * Most tables that an operation makes: two take the places of large pages that it cuts; a MAP makes those above,
 * and the lowest ones where it cannot have large pages.
 */
static uint64_t tables_of(struct mk_file *file, const struct drm_onpu_bind_op *op)
{
	const struct mk_bo *bo = bo_of(file, op);
	uint64_t count = 2;

	if (op->type == DRM_ONPU_BIND_UNMAP)
		return count;
	for (unsigned int level = 2; level < ONPU_MMU_LEVELS; level++)
		count += spans(op->va, op->size, level);
	if (bo && (mk_bo_pte(bo, op->bo_offset) - op->va) % MK_HUGE)
		count += spans(op->va, op->size, 1);
	return count;
}

static bool reserve_mappings(struct mk_vm *vm, unsigned int spare, unsigned int more)
{
	unsigned int room = vm->room ? vm->room : 16;
	struct mk_mapping **list;

	for (unsigned int i = 0; i < spare; i++) {
		struct mk_mapping *m = malloc(sizeof(*m));

		if (!m)
			return false;
		m->next = vm->spare;
		vm->spare = m;
	}
	if (vm->count + more <= vm->room)
		return true;
	while (room < vm->count + more)
		room *= 2;
	list = realloc(vm->mappings, room * sizeof(struct mk_mapping *));
	if (!list)
		return false;
	vm->mappings = list;
	vm->room = room;
	return true;
}

static void drop_spare(struct mk_vm *vm)
{
	while (vm->spare) {
		struct mk_mapping *next = vm->spare->next;

		free(vm->spare);
		vm->spare = next;
	}
}

static bool splits(const struct mk_vm *vm, const struct drm_onpu_bind_op *op)
{
	unsigned int index = find_index(vm, op->va);
	const struct mk_mapping *m = index < vm->count ? vm->mappings[index] : NULL;

	return m && m->va < op->va && m->va + m->size > op->va + op->size;
}

/* All that the operations may need: 0, -ENOSPC, -ENOMEM. */
static int reserve(struct mk_file *file, struct mk_vm *vm, const uint8_t *ops, const struct drm_onpu_array *array)
{
	unsigned int spare = 0, more = 0;
	uint64_t tables = 0;

	for (uint32_t i = 0; i < array->count; i++) {
		const struct drm_onpu_bind_op *op = (const void *)(ops + (size_t)i * array->stride);
		bool map = op->type == DRM_ONPU_BIND_MAP;

		spare += map ? 3 : 2;
		more += map ? 2 : splits(vm, op);
		tables += tables_of(file, op);
	}
	if (more && vm->count + more > mk_limits.max_mappings)
		return -ENOSPC;
	/* The list is for what an UNMAP may split after a MAP before it, too. */
	if (!reserve_mappings(vm, spare, 2 * array->count) || !reserve_list(vm, tables) ||
	    !mk_page_reserve(vm->card, tables))
		return -ENOMEM;
	return 0;
}

/* Cannot fail. */
static void do_op(struct mk_file *file, struct mk_vm *vm, const struct drm_onpu_bind_op *op,
		  struct mk_mapping **gone)
{
	struct mk_mapping new = {
		.va = op->va, .size = op->size, .offset = op->bo_offset, .bo = bo_of(file, op),
		.readonly = op->flags & DRM_ONPU_BIND_READONLY,
	};

	unmap(vm, op->va, op->size, gone);
	if (op->type == DRM_ONPU_BIND_UNMAP)
		return;
	insert(vm, &new);
	mk_pt_map(vm, op->va, op->size, bits_of(&new) |
		  (new.bo ? mk_bo_pte(new.bo, new.offset) : ONPU_PTE_NULL));
	if (new.bo && new.bo->region == DRM_ONPU_REGION_NONE)
		mk_pt_unmap(vm, op->va, op->size);
}

static int bind(struct mk_file *file, struct drm_onpu_vm_bind *arg)
{
	const uint8_t *ops = (const void *)(uintptr_t)arg->ops.ptr;
	struct mk_vm *vm = mk_vm_find(file, arg->vm_id);
	struct mk_mapping *gone = NULL;
	uint32_t i;
	int ret = 0;

	if (arg->flags || arg->pad || arg->ops.count > mk_limits.max_bind_ops ||
	    (arg->ops.count && arg->ops.stride != sizeof(struct drm_onpu_bind_op)))
		return -EINVAL;
	if (!vm)
		return -ENOENT;
	for (i = 0; i < arg->ops.count && !ret; i++)
		ret = check_op(file, vm, (const void *)(ops + (size_t)i * arg->ops.stride));
	arg->failed_op = ret ? i - 1 : arg->ops.count;
	if (!ret)
		ret = reserve(file, vm, ops, &arg->ops);
	for (i = 0; i < arg->ops.count && !ret; i++)
		do_op(file, vm, (const void *)(ops + (size_t)i * arg->ops.stride), &gone);
	drop_spare(vm);
	if (gone) {
		mk_vm_get(vm);
		mk_card_invalidate(vm->card, vm->asid);
		release(gone);
		mk_vm_put(vm);
	}
	return ret;
}

/* ---- life ---- */

struct mk_vm *mk_vm_find(struct mk_file *file, uint32_t id)
{
	struct mk_vm *vm = id && id <= MK_VMS ? file->vms[id] : NULL;

	/* Not while it is being created. */
	return vm && vm->ready ? vm : NULL;
}

void mk_vm_get(struct mk_vm *vm)
{
	vm->refs++;
}

static void vm_free(struct mk_vm *vm)
{
	struct mk_mapping *gone = NULL;

	vm->ready = false;
	while (vm->count)
		take(vm, vm->count - 1, &gone);
	release(gone);
	for (unsigned int i = 0; i < vm->table_count; i++)
		mk_page_free(vm->card, vm->tables[i]);
	vm->card->vms[vm->asid] = NULL;
	free(vm->mappings);
	free(vm->tables);
	free(vm);
}

void mk_vm_put(struct mk_vm *vm)
{
	struct onpu_msg_ctx msg = { .asid = vm->asid };

	if (--vm->refs)
		return;
	mk_card_request(vm->card, ONPU_MSG_CTX_DESTROY, &msg);
	mk_card_invalidate(vm->card, vm->asid);
	vm_free(vm);
}

static int create_on_card(struct mk_vm *vm)
{
	struct onpu_msg_ctx msg = { .asid = vm->asid };

	vm->root = new_table(vm);
	if (!vm->root)
		return -ENOMEM;
	msg.root = vm->root;
	return mk_card_request(vm->card, ONPU_MSG_CTX_CREATE, &msg);
}

static int create(struct mk_file *file, struct drm_onpu_vm_create *arg)
{
	struct mk_card *card = file->card;
	struct mk_vm *vm;
	uint32_t id, asid;
	int ret;

	if (arg->flags & ~DRM_ONPU_VM_LONG_RUNNING)
		return -EINVAL;
	for (id = 1; id <= mk_limits.max_vms && file->vms[id]; id++)
		;
	for (asid = 0; asid < ONPU_MAX_CONTEXTS && card->vms[asid]; asid++)
		;
	if (id > mk_limits.max_vms || asid == ONPU_MAX_CONTEXTS)
		return -ENOSPC;
	vm = calloc(1, sizeof(*vm));
	if (!vm)
		return -ENOMEM;
	vm->refs = 1;
	vm->card = card;
	vm->asid = asid;
	vm->long_running = arg->flags & DRM_ONPU_VM_LONG_RUNNING;
	/* Before the lock is released. */
	card->vms[asid] = vm;
	file->vms[id] = vm;
	ret = create_on_card(vm);
	if (ret) {
		file->vms[id] = NULL;
		vm_free(vm);
		return ret;
	}
	vm->ready = true;
	arg->id = id;
	return 0;
}

static int destroy(struct mk_file *file, const struct drm_onpu_vm_destroy *arg)
{
	struct mk_vm *vm = mk_vm_find(file, arg->id);

	if (arg->pad)
		return -EINVAL;
	if (!vm)
		return -ENOENT;
	file->vms[arg->id] = NULL;
	mk_vm_put(vm);
	return 0;
}

static int get_state(struct mk_file *file, struct drm_onpu_vm_get_state *arg)
{
	struct mk_vm *vm = mk_vm_find(file, arg->id);
	uint32_t id = arg->id;

	if (!vm)
		return -ENOENT;
	*arg = vm->state;
	arg->id = id;
	arg->table_bytes = vm->table_count * MK_PAGE;
	arg->mappings = vm->count;
	for (unsigned int i = 0; i < vm->count; i++)
		arg->mapped_bytes += vm->mappings[i]->size;
	return 0;
}

int mk_vm_ioctl(struct mk_file *file, unsigned long request, void *arg)
{
	switch (request) {
	case DRM_IOCTL_ONPU_VM_CREATE:
		return create(file, arg);
	case DRM_IOCTL_ONPU_VM_DESTROY:
		return destroy(file, arg);
	case DRM_IOCTL_ONPU_VM_BIND:
		return bind(file, arg);
	case DRM_IOCTL_ONPU_VM_GET_STATE:
		return get_state(file, arg);
	default:
		return -ENOTTY;
	}
}

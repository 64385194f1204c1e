/* SPDX-License-Identifier: MIT */
/*
 * A stand-in for the kernel driver and the card, for tests of libaccel without either. See
 * the header.
 *
 * Locking: one mutex for everything but the memory of buffer objects; one thread per
 * queue executes jobs, with the mutex held per packet, so that a bind is never half seen.
 */
#define _GNU_SOURCE
#include "fake_kernel.h"
#include "fake_matmul.h"
#include "../../tools/accelctl/reference.h"

#include "../../libaccel/src/os.h"

#include <drm.h>
#include <drm/onpu_accel.h>
#include <errno.h>
#include <fcntl.h>
#include <onpu/mmu.h>
#include <onpu/packet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define OBJECTS		64
#define MAX_JOBS	32
#define MAX_SYNCS	4
#define MAX_PACKETS	16
#define VRAM_SIZE	(64ull << 20)
#define BO_MAX		(32ull << 20)
#define VA_START	0x1000ull
#define VA_END		(1ull << 47)
#define FD_BASE		1000000

struct bo {
	bool used;
	uint64_t size;
	bool vram;
	uint8_t *memory;
	unsigned int refs;	/* handle and mappings */
};

struct mapping {
	uint64_t va, size, offset;
	unsigned int bo;
	bool readonly;
	struct mapping *next;
};

struct vm {
	bool used;
	struct mapping *mappings;
};

struct syncobj {
	bool used;
	uint64_t submitted, signalled;
};

struct job {
	struct job *next;
	uint64_t va;
	uint32_t count;
	unsigned int sync_count;
	struct drm_onpu_sync syncs[MAX_SYNCS];
};

struct queue {
	bool used, stop;
	struct file *file;
	unsigned int vm;
	pthread_t thread;
	struct job *first, **last;
	struct drm_onpu_queue_get_state state;
};

struct file {
	bool used;
	unsigned int card;
	struct bo bos[OBJECTS * 8];
	struct vm vms[OBJECTS];
	struct queue queues[OBJECTS];
	struct syncobj syncobjs[OBJECTS];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct file *files[OBJECTS];
static char root[64];
static unsigned int cards;
static uint64_t vram_used;
static bool hold;
static int fail_open;
static unsigned long fail_request;
static int fail_error;
static unsigned int kill_flags;
static unsigned int submits;
static pid_t owner;
static bool always_wrong, never_answers, crashes;

/* ---- a tree like sysfs ---- */

static void remove_root(void)
{
	char command[128];

	if (getpid() != owner)
		return;
	snprintf(command, sizeof(command), "rm -rf %s", root);
	if (system(command))
		fprintf(stderr, "cannot remove %s\n", root);
}

static void init(void)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&changed, &attr);
	owner = getpid();
	strcpy(root, "/tmp/fake-kernel-XXXXXX");
	if (!mkdtemp(root))
		abort();
	atexit(remove_root);
}

static void must(int ret)
{
	if (ret && errno != EEXIST)
		abort();
}

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (!f || fputs(text, f) < 0 || fclose(f))
		abort();
}

/* PCI addresses fall as minor numbers rise, so that a test sees who sorts. */
static void add_card(unsigned int card)
{
	char device[200], path[260], target[260];

	snprintf(device, sizeof(device), "%s/devices/0000:00:%02x.0", root, 0x1f - card);
	must(mkdir(device, 0755));
	snprintf(path, sizeof(path), "%s/vendor", device);
	write_text(path, "0x1b36\n");
	snprintf(path, sizeof(path), "%s/device", device);
	write_text(path, "0x0a11\n");
	snprintf(path, sizeof(path), "%s/driver", device);
	must(symlink("../../bus/pci/drivers/onpu", path));
	snprintf(path, sizeof(path), "%s/class/accel/accel%u", root, card);
	must(mkdir(path, 0755));
	snprintf(path, sizeof(path), "%s/class/accel/accel%u/device", root, card);
	snprintf(target, sizeof(target), "../../../devices/0000:00:%02x.0", 0x1f - card);
	must(symlink(target, path));
}

/* A card of somebody else's, to be passed over. */
static void add_stranger(void)
{
	char path[260];

	snprintf(path, sizeof(path), "%s/devices/0000:00:01.0", root);
	must(mkdir(path, 0755));
	snprintf(path, sizeof(path), "%s/devices/0000:00:01.0/driver", root);
	must(symlink("../../bus/pci/drivers/other", path));
	snprintf(path, sizeof(path), "%s/class/accel/accel63", root);
	must(mkdir(path, 0755));
	snprintf(path, sizeof(path), "%s/class/accel/accel63/device", root);
	must(symlink("../../../devices/0000:00:01.0", path));
}

void fake_set_cards(unsigned int count)
{
	char command[200];

	pthread_once(&once, init);
	pthread_mutex_lock(&lock);
	snprintf(command, sizeof(command), "rm -rf %s/class %s/devices", root, root);
	if (system(command))
		abort();
	cards = count;
	if (count) {
		snprintf(command, sizeof(command), "mkdir -p %s/class/accel %s/devices", root, root);
		if (system(command))
			abort();
		add_stranger();
		for (unsigned int i = 0; i < count; i++)
			add_card(i);
	}
	pthread_mutex_unlock(&lock);
}

const char *os_sys_root(void)
{
	pthread_once(&once, init);
	return root;
}

const char *os_dev_root(void)
{
	return "/dev/accel";
}

/* ---- hooks ---- */

void fake_hold(bool on)
{
	pthread_mutex_lock(&lock);
	hold = on;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

void fake_fail_open(int error)
{
	fail_open = error;
}

void fake_fail_ioctl(unsigned long request, int error)
{
	pthread_mutex_lock(&lock);
	fail_request = request;
	fail_error = error;
	pthread_mutex_unlock(&lock);
}

void fake_kill_next(unsigned int flags)
{
	pthread_mutex_lock(&lock);
	kill_flags = flags;
	pthread_mutex_unlock(&lock);
}

void fake_misbehave(bool wrong, bool hang, bool crash)
{
	always_wrong = wrong;
	never_answers = hang;
	crashes = crash;
}

unsigned int fake_submits(void)
{
	return submits;
}

unsigned int fake_objects(void)
{
	unsigned int count = 0;

	pthread_mutex_lock(&lock);
	for (unsigned int f = 0; f < OBJECTS; f++) {
		if (!files[f])
			continue;
		count++;
		for (unsigned int i = 0; i < OBJECTS; i++)
			count += files[f]->vms[i].used + files[f]->queues[i].used +
				 files[f]->syncobjs[i].used;
		for (unsigned int i = 0; i < OBJECTS * 8; i++)
			count += files[f]->bos[i].used;
	}
	pthread_mutex_unlock(&lock);
	return count;
}

/* ---- memory of a VM ---- */

static struct mapping *find_mapping(struct vm *vm, uint64_t va)
{
	for (struct mapping *m = vm->mappings; m; m = m->next)
		if (va >= m->va && va - m->va < m->size)
			return m;
	return NULL;
}

static bool fault(struct queue *queue, uint64_t va, uint32_t reason, uint32_t access)
{
	queue->state.flags = DRM_ONPU_QUEUE_DEAD | DRM_ONPU_QUEUE_FAULT;
	queue->state.error = ONPU_ERR_FAULT;
	queue->state.fault_va = va;
	queue->state.fault_info = ONPU_FAULT_INFO(reason, access, 0);
	return false;
}

/* Moves bytes between the VM and @data; false: faulted. */
static bool access_vm(struct queue *queue, uint64_t va, void *data, uint64_t size, uint32_t access)
{
	struct file *file = queue->file;
	uint8_t *p = data;

	while (size) {
		struct mapping *m = find_mapping(&file->vms[queue->vm], va);
		uint64_t part;
		uint8_t *memory;

		if (!m)
			return fault(queue, va, ONPU_FAULT_NOT_PRESENT, access);
		if (access == ONPU_FAULT_ACCESS_WRITE && m->readonly)
			return fault(queue, va, ONPU_FAULT_PERMISSION, access);
		part = m->size - (va - m->va);
		if (part > size)
			part = size;
		memory = file->bos[m->bo].memory + m->offset + (va - m->va);
		if (access == ONPU_FAULT_ACCESS_WRITE)
			memcpy(memory, p, part);
		else
			memcpy(p, memory, part);
		va += part;
		p += part;
		size -= part;
	}
	return true;
}

/* Loads a stored matrix without gaps. */
static bool load(struct queue *queue, uint64_t va, uint64_t ld, uint64_t rows, uint64_t columns,
		 struct ref_matrix *matrix)
{
	uint64_t size = accel_type_size(matrix->type);

	matrix->data = malloc(rows * columns * size + 1);
	matrix->ld = columns;
	if (!matrix->data)
		abort();
	for (uint64_t r = 0; r < rows; r++)
		if (!access_vm(queue, va + r * ld * size, matrix->data + r * columns * size,
			       columns * size, ONPU_FAULT_ACCESS_READ))
			return false;
	return true;
}

/* The application polls this word without a lock. */
static bool store_word(struct queue *queue, uint64_t va, uint64_t value)
{
	struct mapping *m = find_mapping(&queue->file->vms[queue->vm], va);
	uint8_t *memory;

	if (!m || m->readonly)
		return fault(queue, va, ONPU_FAULT_NOT_PRESENT, ONPU_FAULT_ACCESS_WRITE);
	memory = queue->file->bos[m->bo].memory + m->offset + (va - m->va);
	__atomic_store_n((uint64_t *)(void *)memory, value, __ATOMIC_RELEASE);
	return true;
}

static bool bad_packet(struct queue *queue, uint32_t error)
{
	queue->state.flags = DRM_ONPU_QUEUE_DEAD | DRM_ONPU_QUEUE_BAD_PACKET;
	queue->state.error = error;
	return false;
}

static bool access_for_matmul(void *queue, uint64_t va, void *data, uint64_t size, bool write)
{
	return access_vm(queue, va, data, size,
			 write ? ONPU_FAULT_ACCESS_WRITE : ONPU_FAULT_ACCESS_READ);
}

/* Whether a descriptor has anything that the reference of plain products does not know. */
static bool asks_for_more(const struct onpu_matmul_desc *desc)
{
	for (size_t i = offsetof(struct onpu_matmul_desc, a_scale_va); i < sizeof(*desc); i++)
		if (((const uint8_t *)desc)[i])
			return true;
	return desc->a_type != desc->b_type || desc->a_type > ONPU_DTYPE_I8 ||
	       desc->d_type != (desc->a_type == ONPU_DTYPE_I8 ? ONPU_DTYPE_I32 : ONPU_DTYPE_F32) ||
	       desc->flags & ~(ONPU_MATMUL_TRANS_A | ONPU_MATMUL_TRANS_B | ONPU_MATMUL_ACCUMULATE);
}

static bool matmul(struct queue *queue, uint64_t desc_va)
{
	struct ref_matrix a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };
	struct onpu_matmul_desc desc;
	bool ta, tb, ok;

	if (desc_va % ONPU_MATMUL_DESC_ALIGN)
		return bad_packet(queue, ONPU_ERR_PACKET);
	if (!access_vm(queue, desc_va, &desc, sizeof(desc), ONPU_FAULT_ACCESS_READ))
		return false;
	if (desc.reserved0 || desc.reserved[0] || desc.reserved[1])
		return bad_packet(queue, ONPU_ERR_DESC);
	if (asks_for_more(&desc)) {
		uint32_t error = fake_matmul(&desc, access_for_matmul, queue);

		return !error || (error != ONPU_ERR_FAULT && bad_packet(queue, error));
	}
	if ( !desc.m || !desc.n || !desc.k || desc.flags & ~ONPU_MATMUL_FLAGS ||
	    (!(desc.flags & ONPU_MATMUL_ACCUMULATE) && (desc.c_va || desc.ldc || desc.c_type)))
		return bad_packet(queue, ONPU_ERR_DESC);
	ta = desc.flags & ONPU_MATMUL_TRANS_A;
	tb = desc.flags & ONPU_MATMUL_TRANS_B;
	a.type = desc.a_type;
	b.type = desc.b_type;
	c.type = d.type = desc.d_type;
	ok = load(queue, desc.a_va, desc.lda, ta ? desc.k : desc.m, ta ? desc.m : desc.k, &a) &&
	     load(queue, desc.b_va, desc.ldb, tb ? desc.n : desc.k, tb ? desc.k : desc.n, &b) &&
	     (!desc.c_va || load(queue, desc.c_va, desc.ldc, desc.m, desc.n, &c));
	if (ok) {
		d.ld = desc.n;
		d.data = malloc((size_t)desc.m * desc.n * 4);
		if (!d.data)
			abort();
		ref_matmul(desc.flags, desc.m, desc.n, desc.k, &a, &b, &c, &d);
		d.data[desc.n] ^= always_wrong;
		for (uint64_t r = 0; r < desc.m && ok; r++)
			ok = access_vm(queue, desc.d_va + r * desc.ldd * 4, d.data + r * desc.n * 4,
				       desc.n * 4ull, ONPU_FAULT_ACCESS_WRITE);
	}
	free(a.data);
	free(b.data);
	free(c.data);
	free(d.data);
	return ok;
}

static bool copy(struct queue *queue, const struct onpu_packet *packet)
{
	uint8_t *data = malloc(packet->copy.size + 1);
	bool ok;

	if (!data)
		abort();
	ok = access_vm(queue, packet->copy.src_va, data, packet->copy.size,
		       ONPU_FAULT_ACCESS_READ) &&
	     access_vm(queue, packet->copy.dst_va, data, packet->copy.size,
		       ONPU_FAULT_ACCESS_WRITE);
	free(data);
	return ok;
}

static bool fill(struct queue *queue, const struct onpu_packet *packet)
{
	if (packet->fill.dst_va % 4 || packet->fill.size % 4)
		return bad_packet(queue, ONPU_ERR_PACKET);
	for (uint64_t i = 0; i < packet->fill.size; i += 4) {
		uint32_t pattern = packet->fill.pattern;

		if (!access_vm(queue, packet->fill.dst_va + i, &pattern, 4, ONPU_FAULT_ACCESS_WRITE))
			return false;
	}
	return true;
}

static bool execute(struct queue *queue, uint64_t va)
{
	struct onpu_packet packet;

	if (!access_vm(queue, va, &packet, sizeof(packet), ONPU_FAULT_ACCESS_FETCH))
		return false;
	queue->state.opcode = packet.opcode;
	if (packet.flags || packet.reserved0 || packet.reserved1)
		return bad_packet(queue, ONPU_ERR_PACKET);
	switch (packet.opcode) {
	case ONPU_OP_MATMUL:
		return matmul(queue, packet.matmul.desc_va);
	case ONPU_OP_COPY:
		return copy(queue, &packet);
	case ONPU_OP_FILL:
		return fill(queue, &packet);
	case ONPU_OP_SIGNAL:
		return packet.signal.va % 8 ? bad_packet(queue, ONPU_ERR_PACKET) :
		       store_word(queue, packet.signal.va, packet.signal.value);
	default:
		return bad_packet(queue, ONPU_ERR_OPCODE);
	}
}

/* ---- queues ---- */

static void wait_syncs(struct queue *queue, const struct job *job)
{
	for (unsigned int i = 0; i < job->sync_count; i++) {
		const struct drm_onpu_sync *sync = &job->syncs[i];
		struct syncobj *syncobj = &queue->file->syncobjs[sync->handle];

		if (sync->flags & DRM_ONPU_SYNC_SIGNAL)
			continue;
		while (!queue->stop && syncobj->used && syncobj->signalled < sync->point)
			pthread_cond_wait(&changed, &lock);
	}
}

static void run_job(struct queue *queue, struct job *job)
{
	wait_syncs(queue, job);
	while (hold && !queue->stop && job->count)
		pthread_cond_wait(&changed, &lock);
	if (kill_flags && !queue->state.flags && job->count) {
		queue->state.flags = DRM_ONPU_QUEUE_DEAD | kill_flags;
		kill_flags = 0;
	}
	for (uint32_t i = 0; i < job->count && !queue->state.flags && !queue->stop; i++) {
		execute(queue, job->va + (uint64_t)i * ONPU_PACKET_SIZE);
		pthread_mutex_unlock(&lock);	/* between packets anything may happen */
		pthread_mutex_lock(&lock);
	}
	for (unsigned int i = 0; i < job->sync_count; i++)
		if (job->syncs[i].flags & DRM_ONPU_SYNC_SIGNAL)
			queue->file->syncobjs[job->syncs[i].handle].signalled = job->syncs[i].point;
	queue->state.jobs_completed++;
	pthread_cond_broadcast(&changed);
}

static void *queue_main(void *arg)
{
	struct queue *queue = arg;

	pthread_mutex_lock(&lock);
	for (;;) {
		struct job *job = queue->first;

		if (!job) {
			if (queue->stop)
				break;
			pthread_cond_wait(&changed, &lock);
			continue;
		}
		run_job(queue, job);
		queue->first = job->next;
		if (!queue->first)
			queue->last = &queue->first;
		free(job);
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

static int queue_create(struct file *file, struct drm_onpu_queue_create *arg)
{
	unsigned int i;

	if (arg->flags || arg->priority > DRM_ONPU_PRIORITY_REALTIME)
		return -EINVAL;
	if (!arg->vm_id || arg->vm_id >= OBJECTS || !file->vms[arg->vm_id].used)
		return -ENOENT;
	if (arg->priority > DRM_ONPU_PRIORITY_MEDIUM)
		return -EACCES;
	for (i = 1; i < 9 && file->queues[i].used; i++)
		;
	if (i == 9)
		return -ENOSPC;
	file->queues[i] = (struct queue){ .used = true, .file = file, .vm = arg->vm_id };
	file->queues[i].last = &file->queues[i].first;
	if (pthread_create(&file->queues[i].thread, NULL, queue_main, &file->queues[i]))
		abort();
	arg->id = i;
	return 0;
}

static int queue_destroy(struct file *file, const struct drm_onpu_queue_destroy *arg)
{
	struct queue *queue = &file->queues[arg->id % OBJECTS];

	if (!arg->id || arg->pad || !queue->used)
		return -ENOENT;
	queue->stop = true;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	pthread_join(queue->thread, NULL);
	pthread_mutex_lock(&lock);
	queue->used = false;
	return 0;
}

static int check_syncs(struct file *file, const struct drm_onpu_job *job, struct job *copy)
{
	const struct drm_onpu_sync *syncs = (const void *)(uintptr_t)job->syncs.ptr;

	if (job->syncs.count > MAX_SYNCS)
		return -EINVAL;
	if (job->syncs.count && job->syncs.stride != sizeof(*syncs))
		return -EINVAL;
	for (unsigned int i = 0; i < job->syncs.count; i++) {
		struct syncobj *syncobj = &file->syncobjs[syncs[i].handle % OBJECTS];

		if (!syncs[i].handle || !syncobj->used)
			return -ENOENT;
		if (!(syncs[i].flags & DRM_ONPU_SYNC_TIMELINE) || !syncs[i].point || syncs[i].flags >> 2)
			return -EINVAL;
		if (syncs[i].flags & DRM_ONPU_SYNC_SIGNAL) {
			if (syncs[i].point <= syncobj->submitted)
				return -EINVAL;
		} else if (syncs[i].point > syncobj->submitted) {
			return -EINVAL;
		}
		copy->syncs[copy->sync_count++] = syncs[i];
	}
	return 0;
}

static int submit(struct file *file, const struct drm_onpu_submit *arg)
{
	const struct drm_onpu_job *jobs = (const void *)(uintptr_t)arg->jobs.ptr;
	struct queue *queue = &file->queues[arg->queue_id % OBJECTS];
	struct job *copies[MAX_JOBS];

	if (!arg->queue_id || !queue->used)
		return -ENOENT;
	if (arg->flags || !arg->jobs.count || arg->jobs.count > MAX_JOBS ||
	    arg->jobs.stride != sizeof(*jobs))
		return -EINVAL;
	if (queue->state.flags & DRM_ONPU_QUEUE_DEAD)
		return -ECANCELED;
	for (unsigned int i = 0; i < arg->jobs.count; i++) {
		int ret;

		copies[i] = calloc(1, sizeof(*copies[i]));
		if (!copies[i])
			abort();
		ret = jobs[i].flags || jobs[i].cmd_count > MAX_PACKETS || jobs[i].cmd_va % 64 ||
		      (!jobs[i].cmd_count && jobs[i].cmd_va) ? -EINVAL :
		      check_syncs(file, &jobs[i], copies[i]);
		if (ret) {
			for (unsigned int j = 0; j <= i; j++)
				free(copies[j]);
			return ret;
		}
		copies[i]->va = jobs[i].cmd_va;
		copies[i]->count = jobs[i].cmd_count;
	}
	for (unsigned int i = 0; i < arg->jobs.count; i++) {
		for (unsigned int s = 0; s < copies[i]->sync_count; s++)
			if (copies[i]->syncs[s].flags & DRM_ONPU_SYNC_SIGNAL)
				file->syncobjs[copies[i]->syncs[s].handle].submitted =
					copies[i]->syncs[s].point;
		*queue->last = copies[i];
		queue->last = &copies[i]->next;
		queue->state.jobs_submitted++;
	}
	submits++;
	pthread_cond_broadcast(&changed);
	return 0;
}

static int queue_state(struct file *file, struct drm_onpu_queue_get_state *arg)
{
	struct queue *queue = &file->queues[arg->id % OBJECTS];
	uint32_t id = arg->id;

	if (!id || !queue->used)
		return -ENOENT;
	*arg = queue->state;
	arg->id = id;
	return 0;
}

/* ---- buffer objects and VMs ---- */

static int bo_create(struct file *file, struct drm_onpu_bo_create *arg)
{
	bool vram = arg->flags & DRM_ONPU_BO_VRAM;
	uint64_t size = (arg->size + 4095) & ~4095ull;
	unsigned int i;

	if (!arg->size || arg->size > BO_MAX || arg->pad || !arg->flags || arg->flags >> 2)
		return -EINVAL;
	if (arg->vm_id && !file->vms[arg->vm_id % OBJECTS].used)
		return -ENOENT;
	for (i = 1; i < OBJECTS * 8 && file->bos[i].used; i++)
		;
	if (vram && vram_used + size > VRAM_SIZE) {
		vram = false;
		if (!(arg->flags & DRM_ONPU_BO_SYSTEM))
			return -ENOMEM;
	}
	if (i == OBJECTS * 8)
		return -ENOMEM;
	file->bos[i] = (struct bo){
		.used = true, .size = size, .vram = vram, .refs = 1,
		.memory = aligned_alloc(4096, size),
	};
	if (!file->bos[i].memory)
		abort();
	memset(file->bos[i].memory, 0, size);
	if (vram)
		vram_used += size;
	arg->handle = i;
	arg->size = size;
	return 0;
}

static void bo_put(struct bo *bo)
{
	if (--bo->refs)
		return;
	if (bo->vram)
		vram_used -= bo->size;
	free(bo->memory);
	bo->used = false;
}

static int bo_close(struct file *file, const struct drm_gem_close *arg)
{
	struct bo *bo = &file->bos[arg->handle % (OBJECTS * 8)];

	if (!arg->handle || !bo->used)
		return -EINVAL;
	bo_put(bo);
	return 0;
}

/* Whole mappings only: the library never splits one. */
static int bind(struct file *file, struct drm_onpu_vm_bind *arg)
{
	const struct drm_onpu_bind_op *op = (const void *)(uintptr_t)arg->ops.ptr;
	struct vm *vm = &file->vms[arg->vm_id % OBJECTS];
	struct mapping **link, *m;

	if (!arg->vm_id || !vm->used)
		return -ENOENT;
	if (arg->flags || arg->pad || arg->ops.count != 1 || arg->ops.stride != sizeof(*op) ||
	    op->pad || op->va % 4096 || op->size % 4096 || !op->size || op->va < VA_START ||
	    op->va > VA_END || op->size > VA_END - op->va)
		return -EINVAL;
	for (link = &vm->mappings; (m = *link); link = &m->next)
		if (m->va < op->va + op->size && op->va < m->va + m->size)
			break;
	if (op->type == DRM_ONPU_BIND_UNMAP) {
		if (op->handle || op->flags || op->bo_offset)
			return -EINVAL;
		if (m) {
			*link = m->next;
			bo_put(&file->bos[m->bo]);
			free(m);
		}
		return 0;
	}
	if (m || !op->handle || !file->bos[op->handle % (OBJECTS * 8)].used)
		abort();	/* the library overwrites a mapping or binds nothing */
	m = calloc(1, sizeof(*m));
	if (!m)
		abort();
	*m = (struct mapping){ op->va, op->size, op->bo_offset, op->handle,
			       op->flags & DRM_ONPU_BIND_READONLY, vm->mappings };
	vm->mappings = m;
	file->bos[op->handle].refs++;
	return 0;
}

static int vm_create(struct file *file, struct drm_onpu_vm_create *arg)
{
	unsigned int i;

	for (i = 1; i < 9 && file->vms[i].used; i++)
		;
	if (i == 9)
		return -ENOSPC;
	file->vms[i] = (struct vm){ .used = true };
	arg->id = i;
	return 0;
}

static void vm_clear(struct file *file, struct vm *vm)
{
	struct mapping *m;

	while ((m = vm->mappings)) {
		vm->mappings = m->next;
		bo_put(&file->bos[m->bo]);
		free(m);
	}
	vm->used = false;
}

/* ---- queries and syncobjs ---- */

static int query(struct file *file, struct drm_onpu_dev_query *arg)
{
	const struct drm_onpu_query_device device = {
		.hw_version = 0x10000, .serial = 100 + file->card, .opcodes = 0x3fe,
		.dtypes_in = 0x3fde, .dtypes_out = 0xfe,
		.cores = 4, .core_clock_khz = 1000000, .dim_max = 65536, .slots = 4,
	};
	const struct drm_onpu_query_memory memory = {
		.vram_size = VRAM_SIZE, .vram_visible = VRAM_SIZE, .vram_used = vram_used,
		.va_start = VA_START, .va_end = VA_END, .page_sizes = 1u << 12 | 1u << 21,
	};
	const struct drm_onpu_query_limits limits = {
		.max_vms = 8, .max_queues = 8, .max_bind_ops = 16, .max_jobs = MAX_JOBS,
		.max_syncs = MAX_SYNCS, .max_packets = MAX_PACKETS, .max_bo_size = BO_MAX,
		.max_jobs_in_flight = 64, .job_timeout_ms = 1000,
	};
	const struct drm_onpu_query_firmware firmware = { .version = 0x01020003 };
	const struct drm_onpu_query_counters counters = { .packets = 7 };
	const struct { const void *data; uint32_t size; } all[] = {
		[DRM_ONPU_QUERY_DEVICE] = { &device, sizeof(device) },
		[DRM_ONPU_QUERY_MEMORY] = { &memory, sizeof(memory) },
		[DRM_ONPU_QUERY_FIRMWARE] = { &firmware, sizeof(firmware) },
		[DRM_ONPU_QUERY_LIMITS] = { &limits, sizeof(limits) },
		[DRM_ONPU_QUERY_COUNTERS] = { &counters, sizeof(counters) },
	};

	while (never_answers)
		pause();
	if (crashes)
		abort();
	if (arg->type >= sizeof(all) / sizeof(all[0]))
		return -EINVAL;
	if (arg->size > all[arg->type].size)
		arg->size = all[arg->type].size;
	memcpy((void *)(uintptr_t)arg->ptr, all[arg->type].data, arg->size);
	return 0;
}

static int version(struct drm_version *arg)
{
	static const char name[] = "onpu";

	if (arg->name_len >= sizeof(name) - 1)
		memcpy(arg->name, name, sizeof(name) - 1);
	arg->name_len = sizeof(name) - 1;
	arg->version_major = 1;
	return 0;
}

static int timeline_wait(struct file *file, struct drm_syncobj_timeline_wait *arg)
{
	const uint32_t *handles = (const void *)(uintptr_t)arg->handles;
	const uint64_t *points = (const void *)(uintptr_t)arg->points;
	struct syncobj *syncobj = &file->syncobjs[handles[0] % OBJECTS];
	struct timespec ts = { arg->timeout_nsec / 1000000000, arg->timeout_nsec % 1000000000 };

	if (arg->count_handles != 1 || arg->flags || !syncobj->used)
		return -EINVAL;
	if (points[0] > syncobj->submitted)
		return -EINVAL;
	while (syncobj->signalled < points[0]) {
		if (!arg->timeout_nsec || pthread_cond_timedwait(&changed, &lock, &ts) == ETIMEDOUT) {
			if (syncobj->signalled < points[0])
				return -ETIME;
		}
	}
	return 0;
}

static int syncobj_create(struct file *file, struct drm_syncobj_create *arg)
{
	unsigned int i;

	for (i = 1; i < OBJECTS && file->syncobjs[i].used; i++)
		;
	if (i == OBJECTS)
		return -ENOMEM;
	file->syncobjs[i] = (struct syncobj){ .used = true };
	arg->handle = i;
	return 0;
}

static int destroy_used(bool *used)
{
	if (!*used)
		return -EINVAL;
	*used = false;
	return 0;
}

static int dispatch(struct file *file, unsigned long request, void *arg)
{
	switch (request) {
	case DRM_IOCTL_VERSION:
		return version(arg);
	case DRM_IOCTL_ONPU_DEV_QUERY:
		return query(file, arg);
	case DRM_IOCTL_ONPU_BO_CREATE:
		return bo_create(file, arg);
	case DRM_IOCTL_ONPU_BO_MMAP_OFFSET:
		((struct drm_onpu_bo_mmap_offset *)arg)->offset =
			(uint64_t)((struct drm_onpu_bo_mmap_offset *)arg)->handle << 32;
		return 0;
	case DRM_IOCTL_GEM_CLOSE:
		return bo_close(file, arg);
	case DRM_IOCTL_ONPU_VM_CREATE:
		return vm_create(file, arg);
	case DRM_IOCTL_ONPU_VM_DESTROY:
		vm_clear(file, &file->vms[((struct drm_onpu_vm_destroy *)arg)->id % OBJECTS]);
		return 0;
	case DRM_IOCTL_ONPU_VM_BIND:
		return bind(file, arg);
	case DRM_IOCTL_ONPU_QUEUE_CREATE:
		return queue_create(file, arg);
	case DRM_IOCTL_ONPU_QUEUE_DESTROY:
		return queue_destroy(file, arg);
	case DRM_IOCTL_ONPU_QUEUE_GET_STATE:
		return queue_state(file, arg);
	case DRM_IOCTL_ONPU_SUBMIT:
		return submit(file, arg);
	case DRM_IOCTL_SYNCOBJ_CREATE:
		return syncobj_create(file, arg);
	case DRM_IOCTL_SYNCOBJ_DESTROY:
		return destroy_used(&file->syncobjs[((struct drm_syncobj_destroy *)arg)->handle %
						    OBJECTS].used);
	case DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT:
		return timeline_wait(file, arg);
	case DRM_IOCTL_SYNCOBJ_QUERY: {
		struct drm_syncobj_timeline_array *array = arg;

		*(uint64_t *)(uintptr_t)array->points =
			file->syncobjs[*(uint32_t *)(uintptr_t)array->handles % OBJECTS].signalled;
		return 0;
	}
	default:
		return -ENOTTY;
	}
}

int os_ioctl(int fd, unsigned long request, void *arg)
{
	int ret;

	pthread_mutex_lock(&lock);
	if (request == fail_request && fail_error)
		ret = fail_error;
	else if (fd < FD_BASE || fd >= FD_BASE + OBJECTS || !files[fd - FD_BASE])
		ret = -EBADF;
	else
		ret = dispatch(files[fd - FD_BASE], request, arg);
	pthread_mutex_unlock(&lock);
	return ret;
}

int os_open(const char *path)
{
	unsigned int card, i;
	int ret = -ENOENT;

	if (fail_open)
		return fail_open;
	pthread_mutex_lock(&lock);
	for (i = 0; i < OBJECTS && files[i]; i++)
		;
	if (i < OBJECTS && sscanf(path, "/dev/accel/accel%u", &card) == 1 && card < cards) {
		files[i] = calloc(1, sizeof(*files[i]));
		if (!files[i])
			abort();
		files[i]->card = card;
		ret = FD_BASE + (int)i;
	}
	pthread_mutex_unlock(&lock);
	return ret;
}

void os_close(int fd)
{
	struct file *file = files[fd - FD_BASE];

	if (getpid() != owner)	/* the parent's threads are not here, its state is a copy */
		return;
	pthread_mutex_lock(&lock);
	for (unsigned int i = 1; i < OBJECTS; i++) {
		if (file->queues[i].used)
			queue_destroy(file, &(struct drm_onpu_queue_destroy){ .id = i });
	}
	for (unsigned int i = 1; i < OBJECTS; i++)
		vm_clear(file, &file->vms[i]);
	for (unsigned int i = 1; i < OBJECTS * 8; i++)
		if (file->bos[i].used)
			bo_put(&file->bos[i]);
	files[fd - FD_BASE] = NULL;
	pthread_mutex_unlock(&lock);
	free(file);
}

int os_mmap(int fd, uint64_t offset, size_t size, void **pointer)
{
	struct bo *bo;
	int ret = -EINVAL;

	pthread_mutex_lock(&lock);
	bo = &files[fd - FD_BASE]->bos[offset >> 32];
	if (bo->used && size == bo->size) {
		*pointer = bo->memory;
		ret = 0;
	}
	pthread_mutex_unlock(&lock);
	return ret;
}

void os_munmap(void *pointer, size_t size)
{
	(void)pointer;
	(void)size;
}

uint64_t os_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

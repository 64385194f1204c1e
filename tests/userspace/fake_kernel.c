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
#include "fake_tree.h"
#include "../../tools/accelctl/reference.h"

#include "../../libaccel/src/os.h"

#include <drm.h>
#include <drm/onpu_accel.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <onpu/mmu.h>
#include <onpu/packet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define OBJECTS		64
#define MAX_BOS		(OBJECTS * 8)
#define MAX_JOBS	32
#define MAX_SYNCS	4
#define MAX_PACKETS	16
#define VRAM_SIZE	(64ull << 20)
#define BO_MAX		(32ull << 20)
#define PINNED_MAX	(16ull << 20)
#define VA_START	0x1000ull
#define VA_END		(1ull << 47)
#define FD_BASE		1000000

/* A job's end; never freed. */
struct fence {
	struct fence *next;	/* of all, or of a timeline */
	uint64_t point;
	bool signalled;
};

struct fence_set {
	unsigned int count;
	struct fence *fences[32];
};

/* What is behind a descriptor: a memfd of the test's process stands for it. Never freed. */
struct dma_buf {
	struct dma_buf *next;
	int fd;
	struct stat stat;
	bool sync_file;
	struct fence_set writers, readers;	/* a sync file has writers only */
	unsigned int card;
	uint64_t size;
	uint8_t *memory;
};

struct bo {
	bool used;
	uint64_t size;
	bool vram;
	bool borrowed;		/* the memory is not the object's */
	bool private;
	uint32_t flags, state, region;
	uint8_t *memory;
	struct dma_buf *dma_buf;
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
	struct drm_onpu_vm_get_state state;
};

struct syncobj {
	bool used;
	uint64_t submitted, signalled;
	struct fence *points[64];	/* of a timeline, the last ones */
	struct fence_set binary;
};

struct job {
	struct job *next;
	uint64_t va;
	uint32_t count;
	unsigned int sync_count;
	struct drm_onpu_sync syncs[MAX_SYNCS];
	struct fence_set waits;		/* of binary syncobjs */
	struct fence *signals;
};

struct queue {
	bool used, stop;
	struct file *file;
	unsigned int vm;
	pthread_t thread;
	struct job *first, **last;
	struct drm_onpu_queue_get_state state;
	uint64_t ops, moved[3];		/* of the packet: in card memory, read from and written to the host */
};

struct file {
	bool used;
	unsigned int card;
	struct bo bos[MAX_BOS];
	struct vm vms[OBJECTS];
	struct queue queues[OBJECTS];
	struct syncobj syncobjs[OBJECTS];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct file *files[OBJECTS];
static unsigned int cards;
static uint64_t vram_used;
static uint64_t engine_time;
static bool hold;
static int fail_open;
static unsigned long fail_request;
static int fail_error;
static unsigned int kill_flags;
static unsigned int submits;
static pid_t owner;
static bool always_wrong, never_answers, crashes;
static struct fence *all_fences;
static struct dma_buf *dma_bufs;
static uint64_t memlock = UINT64_MAX;

static void init(void)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&changed, &attr);
	owner = getpid();
}

void fake_set_cards(unsigned int count)
{
	pthread_once(&once, init);
	pthread_mutex_lock(&lock);
	tree_set_cards(count);
	cards = count;
	pthread_mutex_unlock(&lock);
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
		for (unsigned int i = 0; i < MAX_BOS; i++)
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
	struct drm_onpu_vm_get_state *vm = &queue->file->vms[queue->vm].state;

	vm->flags = DRM_ONPU_VM_FAULTED;
	vm->faults++;
	vm->fault_va = va;
	vm->fault_info = ONPU_FAULT_INFO(reason, access, 0);
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
		queue->moved[file->bos[m->bo].vram ? 0 : access == ONPU_FAULT_ACCESS_WRITE ? 2 : 1] += part;
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
	if (write)
		*(uint8_t *)data ^= always_wrong;
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
	memset(queue->moved, 0, sizeof(queue->moved));
	queue->ops = 2ull * desc.m * desc.n * desc.k * (desc.batch ? desc.batch : 1);
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

static bool copy_2d(struct queue *queue, const struct onpu_packet *packet)
{
	for (uint32_t r = 0; r < packet->copy_2d.rows; r++) {
		struct onpu_packet row = { .opcode = ONPU_OP_COPY };

		row.copy.dst_va = packet->copy_2d.dst_va + r * packet->copy_2d.dst_pitch;
		row.copy.src_va = packet->copy_2d.src_va + r * packet->copy_2d.src_pitch;
		row.copy.size = packet->copy_2d.row_bytes;
		if (!copy(queue, &row))
			return false;
	}
	return true;
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

/* An engine time of its own: see the answer to DRM_ONPU_QUERY_ENGINES. */
static bool store_stamp(struct queue *queue, const struct onpu_packet *packet)
{
	struct onpu_stamp stamp = {
		.start = engine_time, .opcode = packet->opcode, .ops = queue->ops,
		.vram_bytes = queue->moved[0], .host_read_bytes = queue->moved[1],
		.host_write_bytes = queue->moved[2], .cores_ns = queue->ops / 4096,
		.macs = packet->opcode == ONPU_OP_MATMUL ? 512 : 0,
	};

	engine_time += 200 + stamp.cores_ns + stamp.vram_bytes / 1000 + stamp.host_read_bytes / 10 +
		       stamp.host_write_bytes / 10;
	stamp.end = engine_time;
	return access_vm(queue, packet->stamp.va, &stamp, sizeof(stamp), ONPU_FAULT_ACCESS_WRITE);
}

static bool execute_opcode(struct queue *queue, const struct onpu_packet *packet)
{
	switch (packet->opcode) {
	case ONPU_OP_MATMUL:
		return matmul(queue, packet->matmul.desc_va);
	case ONPU_OP_COPY:
		return copy(queue, packet);
	case ONPU_OP_COPY_2D:
		return copy_2d(queue, packet);
	case ONPU_OP_FILL:
		return fill(queue, packet);
	case ONPU_OP_SIGNAL:
		return packet->signal.va % 8 ? bad_packet(queue, ONPU_ERR_PACKET) :
		       store_word(queue, packet->signal.va, packet->signal.value);
	default:
		return bad_packet(queue, ONPU_ERR_OPCODE);
	}
}

static bool execute(struct queue *queue, uint64_t va)
{
	struct onpu_packet packet;
	bool stamp;

	if (!access_vm(queue, va, &packet, sizeof(packet), ONPU_FAULT_ACCESS_FETCH))
		return false;
	queue->state.opcode = packet.opcode;
	stamp = packet.flags == ONPU_PKT_STAMP && packet.opcode != ONPU_OP_SIGNAL;
	if ((packet.flags && !stamp) || packet.reserved0 || packet.reserved1 ||
	    (packet.opcode != ONPU_OP_SIGNAL && packet.stamp.va % (stamp ? ONPU_STAMP_ALIGN : UINT64_MAX)))
		return bad_packet(queue, ONPU_ERR_PACKET);
	queue->ops = 0;
	memset(queue->moved, 0, sizeof(queue->moved));
	return execute_opcode(queue, &packet) && (!stamp || store_stamp(queue, &packet));
}

/* ---- queues ---- */

/* ---- fences and what carries them ---- */

static struct fence *new_fence(uint64_t point)
{
	struct fence *fence = calloc(1, sizeof(*fence));

	if (!fence)
		abort();
	fence->point = point;
	fence->next = all_fences;
	all_fences = fence;
	return fence;
}

static bool all_signalled(const struct fence_set *set)
{
	for (unsigned int i = 0; i < set->count; i++)
		if (!set->fences[i]->signalled)
			return false;
	return true;
}

static void add_fences(struct fence_set *set, const struct fence_set *more)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < set->count; i++)
		if (!set->fences[i]->signalled)
			set->fences[kept++] = set->fences[i];
	set->count = kept;
	for (unsigned int i = 0; i < more->count; i++) {
		if (set->count == sizeof(set->fences) / sizeof(set->fences[0]))
			abort();
		set->fences[set->count++] = more->fences[i];
	}
}

static struct dma_buf *new_descriptor(void)
{
	struct dma_buf *dma_buf = calloc(1, sizeof(*dma_buf));

	if (!dma_buf)
		abort();
	dma_buf->fd = memfd_create("fake", MFD_CLOEXEC);
	if (dma_buf->fd < 0 || fstat(dma_buf->fd, &dma_buf->stat))
		abort();
	dma_buf->next = dma_bufs;
	dma_bufs = dma_buf;
	return dma_buf;
}

/* What a descriptor is, or -EBADF, -EINVAL. */
static int find_descriptor(int fd, bool sync_file, struct dma_buf **found)
{
	struct stat stat;

	if (fstat(fd, &stat))
		return -EBADF;
	for (struct dma_buf *d = dma_bufs; d; d = d->next) {
		if (d->stat.st_ino == stat.st_ino && d->stat.st_dev == stat.st_dev &&
		    d->sync_file == sync_file) {
			*found = d;
			return 0;
		}
	}
	return -EINVAL;
}

static int new_sync_file(const struct fence_set *one, const struct fence_set *two)
{
	struct dma_buf *file = new_descriptor();
	int fd = file->fd;

	file->sync_file = true;
	add_fences(&file->writers, one);
	if (two)
		add_fences(&file->writers, two);
	return fd;	/* the caller's; once closed it is never found again */
}

static int dma_buf_ioctl(int fd, unsigned long request, void *arg)
{
	struct dma_buf_export_sync_file *out = arg;
	struct dma_buf_import_sync_file *in = arg;
	struct dma_buf *dma_buf, *file;
	int ret = find_descriptor(fd, false, &dma_buf);

	if (ret)
		return -ENOTTY;
	switch (request) {
	case DMA_BUF_IOCTL_EXPORT_SYNC_FILE:
		if (!out->flags || out->flags & ~DMA_BUF_SYNC_RW)
			return -EINVAL;
		out->fd = new_sync_file(&dma_buf->writers, out->flags & DMA_BUF_SYNC_WRITE ?
					&dma_buf->readers : NULL);
		return 0;
	case DMA_BUF_IOCTL_IMPORT_SYNC_FILE:
		if (!in->flags || in->flags & ~DMA_BUF_SYNC_RW)
			return -EINVAL;
		ret = find_descriptor(in->fd, true, &file);
		if (!ret)
			add_fences(in->flags & DMA_BUF_SYNC_WRITE ? &dma_buf->writers : &dma_buf->readers,
				   &file->writers);
		return ret;
	default:
		return -ENOTTY;
	}
}

void os_exporter(int fd, char *name, size_t room)
{
	struct dma_buf *dma_buf;

	pthread_mutex_lock(&lock);
	snprintf(name, room, "%s", find_descriptor(fd, false, &dma_buf) ? "" : "fake");
	pthread_mutex_unlock(&lock);
}

int os_wait_fences(int fd, bool all, uint64_t deadline)
{
	struct timespec ts = { (time_t)(deadline / 1000000000), (long)(deadline % 1000000000) };
	struct dma_buf *dma_buf;
	int ret;

	if (deadline == UINT64_MAX)
		ts.tv_sec = INT32_MAX;
	pthread_mutex_lock(&lock);
	ret = find_descriptor(fd, false, &dma_buf);
	while (!ret && (!all_signalled(&dma_buf->writers) || (all && !all_signalled(&dma_buf->readers))))
		if (!deadline || pthread_cond_timedwait(&changed, &lock, &ts) == ETIMEDOUT)
			ret = -ETIME;
	pthread_mutex_unlock(&lock);
	return ret;
}

uint64_t os_memlock_limit(void)
{
	return memlock;
}

void fake_set_memlock(uint64_t limit)
{
	memlock = limit;
}

static void wait_syncs(struct queue *queue, const struct job *job)
{
	while (!queue->stop && !all_signalled(&job->waits))
		pthread_cond_wait(&changed, &lock);
	for (unsigned int i = 0; i < job->sync_count; i++) {
		const struct drm_onpu_sync *sync = &job->syncs[i];
		struct syncobj *syncobj = &queue->file->syncobjs[sync->handle];

		if (sync->flags & DRM_ONPU_SYNC_SIGNAL || !sync->point)
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
	if (job->signals)
		job->signals->signalled = true;
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
		if (!syncs[i].flags && !syncs[i].point) {
			if (!syncobj->binary.count)
				return -EINVAL;
			add_fences(&copy->waits, &syncobj->binary);
			copy->syncs[copy->sync_count++] = syncs[i];
			continue;
		}
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

static void signals_point(struct syncobj *syncobj, uint64_t point, struct job *job)
{
	job->signals = new_fence(point);
	syncobj->submitted = point;
	syncobj->points[point % (sizeof(syncobj->points) / sizeof(syncobj->points[0]))] = job->signals;
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
				signals_point(&file->syncobjs[copies[i]->syncs[s].handle],
					      copies[i]->syncs[s].point, copies[i]);
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

/* A free handle, or 0. */
static unsigned int free_handle(struct file *file)
{
	for (unsigned int i = 1; i < MAX_BOS; i++)
		if (!file->bos[i].used)
			return i;
	return 0;
}

static struct bo *find_bo(struct file *file, uint32_t handle)
{
	return handle && handle < MAX_BOS && file->bos[handle].used ? &file->bos[handle] : NULL;
}

static int bo_create(struct file *file, struct drm_onpu_bo_create *arg)
{
	bool vram = arg->flags & DRM_ONPU_BO_VRAM;
	uint64_t size = (arg->size + 4095) & ~4095ull;
	unsigned int i = free_handle(file);

	if (!arg->size || arg->size > BO_MAX || arg->pad || arg->flags >> 3 ||
	    !(arg->flags & (DRM_ONPU_BO_VRAM | DRM_ONPU_BO_SYSTEM)))
		return -EINVAL;
	if (arg->vm_id && !file->vms[arg->vm_id % OBJECTS].used)
		return -ENOENT;
	if (vram && vram_used + size > VRAM_SIZE) {
		vram = false;
		if (!(arg->flags & DRM_ONPU_BO_SYSTEM))
			return -ENOMEM;
	}
	if (!i)
		return -ENOSPC;
	file->bos[i] = (struct bo){
		.used = true, .size = size, .vram = vram, .refs = 1, .flags = arg->flags,
		.region = vram ? DRM_ONPU_REGION_VRAM : DRM_ONPU_REGION_SYSTEM,
		.private = arg->vm_id, .memory = aligned_alloc(4096, size),
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
	if (!bo->borrowed)
		free(bo->memory);
	bo->used = false;
}

static int bo_close(struct file *file, const struct drm_gem_close *arg)
{
	struct bo *bo = find_bo(file, arg->handle);

	if (!bo)
		return -EINVAL;
	bo_put(bo);
	return 0;
}

static int bo_userptr(struct file *file, struct drm_onpu_bo_userptr *arg)
{
	unsigned int i = free_handle(file);

	if (arg->flags & ~DRM_ONPU_USERPTR_READONLY || !arg->size || arg->addr % 4096 ||
	    arg->size % 4096 || arg->size > PINNED_MAX || arg->addr > UINT64_MAX - arg->size)
		return -EINVAL;
	if (arg->size > memlock)
		return -ENOMEM;
	if (!i)
		return -ENOSPC;
	file->bos[i] = (struct bo){
		.used = true, .size = arg->size, .borrowed = true, .private = true, .refs = 1,
		.flags = DRM_ONPU_BO_SYSTEM, .region = DRM_ONPU_REGION_SYSTEM,
		.memory = (uint8_t *)(uintptr_t)arg->addr,
	};
	arg->handle = i;
	return 0;
}

static int bo_info(struct file *file, struct drm_onpu_bo_info *arg)
{
	struct bo *bo = find_bo(file, arg->handle);

	if (!bo)
		return -ENOENT;
	if (arg->flags || arg->size || arg->region || arg->state)
		return -EINVAL;
	arg->flags = bo->flags;
	arg->size = bo->size;
	arg->region = bo->region;
	arg->state = bo->state;
	return 0;
}

static int bo_advise(struct file *file, struct drm_onpu_bo_advise *arg)
{
	struct bo *bo = find_bo(file, arg->handle);

	if (arg->flags || arg->retained)
		return -EINVAL;
	if (!bo)
		return -ENOENT;
	arg->retained = !(bo->state & DRM_ONPU_BO_STATE_PURGED);
	switch (arg->advice) {
	case DRM_ONPU_ADVISE_PREFETCH:
		if (bo->flags & DRM_ONPU_BO_VRAM)
			bo->region = DRM_ONPU_REGION_VRAM;
		return 0;
	case DRM_ONPU_ADVISE_EVICT:
		bo->region = DRM_ONPU_REGION_SYSTEM;
		return 0;
	case DRM_ONPU_ADVISE_PURGEABLE:
		if (bo->dma_buf || bo->borrowed)
			return -EPERM;
		bo->state |= DRM_ONPU_BO_STATE_PURGEABLE;
		return 0;
	case DRM_ONPU_ADVISE_NEEDED:
		bo->state = 0;
		return 0;
	default:
		return -EINVAL;
	}
}

void fake_purge(void)
{
	pthread_mutex_lock(&lock);
	for (unsigned int f = 0; f < OBJECTS; f++) {
		for (unsigned int i = 1; files[f] && i < MAX_BOS; i++) {
			struct bo *bo = &files[f]->bos[i];

			if (!bo->used || !(bo->state & DRM_ONPU_BO_STATE_PURGEABLE))
				continue;
			memset(bo->memory, 0, bo->size);
			bo->region = DRM_ONPU_REGION_NONE;
			bo->state |= DRM_ONPU_BO_STATE_PURGED;
		}
	}
	pthread_mutex_unlock(&lock);
}

static int handle_to_fd(struct file *file, struct drm_prime_handle *arg)
{
	struct bo *bo = find_bo(file, arg->handle);

	if (!bo)
		return -ENOENT;
	if (arg->flags != (DRM_CLOEXEC | DRM_RDWR))
		return -EINVAL;
	if (bo->private)
		return -EPERM;
	if (!bo->dma_buf) {
		bo->dma_buf = new_descriptor();
		bo->dma_buf->card = file->card;
		bo->dma_buf->size = bo->size;
		bo->dma_buf->memory = bo->memory;
		bo->borrowed = true;
	}
	arg->fd = fcntl(bo->dma_buf->fd, F_DUPFD_CLOEXEC, 3);
	return arg->fd < 0 ? -errno : 0;
}

/* The same handle again if the file has one. */
static int fd_to_handle(struct file *file, struct drm_prime_handle *arg)
{
	struct dma_buf *dma_buf;
	unsigned int i;
	int ret = find_descriptor(arg->fd, false, &dma_buf);

	if (ret)
		return ret;
	for (i = 1; i < MAX_BOS; i++) {
		if (file->bos[i].used && file->bos[i].dma_buf == dma_buf) {
			arg->handle = i;
			return 0;
		}
	}
	i = free_handle(file);
	if (!i)
		return -ENOSPC;
	file->bos[i] = (struct bo){
		.used = true, .size = dma_buf->size, .borrowed = true, .refs = 1, .dma_buf = dma_buf,
		.flags = DRM_ONPU_BO_SYSTEM, .region = DRM_ONPU_REGION_SYSTEM,
		.memory = dma_buf->memory,
	};
	arg->handle = i;
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
	if (m || !find_bo(file, op->handle))
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
		.hw_version = 0x10000, .serial = 100 + file->card, .opcodes = ONPU_OPCODES,
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
		.max_jobs_in_flight = 64, .job_timeout_ms = 1000, .max_bos = MAX_BOS - 1,
		.max_mappings = 4096, .max_pinned_bytes = PINNED_MAX,
	};
	const struct drm_onpu_query_firmware firmware = { .version = 0x01020003 };
	const struct drm_onpu_query_counters counters = { .packets = 7 };
	const struct drm_onpu_query_engines engines = {
		.macs_32 = 512, .macs_16 = 4096, .macs_8 = 8192, .macs_4 = 16384, .tile = 16,
		.packet_ns = 200, .vram_bandwidth = 1000000000000, .host_bandwidth = 10000000000,
		.time_ns = engine_time,
	};
	const struct { const void *data; uint32_t size; } all[] = {
		[DRM_ONPU_QUERY_ENGINES] = { &engines, sizeof(engines) },
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

static int vm_state(struct file *file, struct drm_onpu_vm_get_state *arg)
{
	struct vm *vm = &file->vms[arg->id % OBJECTS];
	uint32_t id = arg->id;

	if (!id || !vm->used)
		return -ENOENT;
	*arg = vm->state;
	arg->id = id;
	arg->table_bytes = 4096;
	for (struct mapping *m = vm->mappings; m; m = m->next) {
		arg->mappings++;
		arg->mapped_bytes += m->size;
	}
	return 0;
}

static struct syncobj *find_syncobj(struct file *file, uint32_t handle)
{
	return handle && handle < OBJECTS && file->syncobjs[handle].used ? &file->syncobjs[handle] : NULL;
}

static int syncobj_transfer(struct file *file, const struct drm_syncobj_transfer *arg)
{
	struct syncobj *from = find_syncobj(file, arg->src_handle);
	struct syncobj *to = find_syncobj(file, arg->dst_handle);
	struct fence *fence;

	if (!from || !to)
		return -ENOENT;
	fence = from->points[arg->src_point % (sizeof(from->points) / sizeof(from->points[0]))];
	if (arg->flags || arg->dst_point || !fence || fence->point != arg->src_point)
		return -EINVAL;
	to->binary = (struct fence_set){ 1, { fence } };
	return 0;
}

static int syncobj_to_fd(struct file *file, struct drm_syncobj_handle *arg)
{
	struct syncobj *syncobj = find_syncobj(file, arg->handle);

	if (!syncobj)
		return -ENOENT;
	if (arg->flags != DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE || arg->pad ||
	    !syncobj->binary.count)
		return -EINVAL;
	arg->fd = new_sync_file(&syncobj->binary, NULL);
	return 0;
}

static int syncobj_from_fd(struct file *file, const struct drm_syncobj_handle *arg)
{
	struct syncobj *syncobj = find_syncobj(file, arg->handle);
	struct dma_buf *sync_file;
	int ret;

	if (!syncobj)
		return -ENOENT;
	if (arg->flags != DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_IMPORT_SYNC_FILE || arg->pad)
		return -EINVAL;
	ret = find_descriptor(arg->fd, true, &sync_file);
	if (!ret)
		syncobj->binary = sync_file->writers;
	return ret;
}

/* Only looks. */
static int syncobj_wait(struct file *file, const struct drm_syncobj_wait *arg)
{
	struct syncobj *syncobj = find_syncobj(file, *(uint32_t *)(uintptr_t)arg->handles);

	if (!syncobj)
		return -ENOENT;
	if (arg->count_handles != 1 || arg->flags || arg->timeout_nsec)
		return -EINVAL;
	return all_signalled(&syncobj->binary) ? 0 : -ETIME;
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
	case DRM_IOCTL_ONPU_BO_USERPTR:
		return bo_userptr(file, arg);
	case DRM_IOCTL_ONPU_BO_INFO:
		return bo_info(file, arg);
	case DRM_IOCTL_ONPU_BO_ADVISE:
		return bo_advise(file, arg);
	case DRM_IOCTL_ONPU_VM_GET_STATE:
		return vm_state(file, arg);
	case DRM_IOCTL_PRIME_HANDLE_TO_FD:
		return handle_to_fd(file, arg);
	case DRM_IOCTL_PRIME_FD_TO_HANDLE:
		return fd_to_handle(file, arg);
	case DRM_IOCTL_SYNCOBJ_TRANSFER:
		return syncobj_transfer(file, arg);
	case DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD:
		return syncobj_to_fd(file, arg);
	case DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE:
		return syncobj_from_fd(file, arg);
	case DRM_IOCTL_SYNCOBJ_WAIT:
		return syncobj_wait(file, arg);
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
	else if (fd < FD_BASE)
		ret = dma_buf_ioctl(fd, request, arg);
	else if (fd >= FD_BASE + OBJECTS || !files[fd - FD_BASE])
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
	for (unsigned int i = 1; i < MAX_BOS; i++)
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

void os_ring(volatile uint32_t *doorbell, uint32_t value)
{
	*doorbell = value;
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

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the driver's selftests share: ioctl wrappers, packet builders, and an
 * environment of a file, an address space, a queue and a command buffer.
 *
 * Wrappers return 0 or a negative errno, so that a test states the errno it
 * expects. Nothing is shared between tests: the harness runs each in a process of
 * its own.
 */
#ifndef ONPU_KSELFTEST_H
#define ONPU_KSELFTEST_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <linux/sync_file.h>

#include <drm/onpu_accel.h>
#include <onpu/mmu.h>
#include <onpu/packet.h>
#include <onpu/regs.h>

#define PAGE 4096ull
#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define USER_PTR(p) ((uint64_t)(uintptr_t)(p))

/* Under emulation on a busy machine everything may take long; a hang is longer. */
#define WAIT_NS 20000000000ll

/* ---- slow kernels ------------------------------------------------------- */

/*
 * How many times as long everything takes here as on the stock kernel: what the runner says
 * (ONPU_SLOW), else by whether lockdep and with it KASAN are there. Time limits are
 * multiplied by it, and counts of rounds that only repeat are divided.
 */
static inline unsigned int onpu_slow(void)
{
	const char *text = getenv("ONPU_SLOW");
	int slow = text ? atoi(text) : 0;

	if (slow <= 0)
		slow = access("/proc/lockdep_stats", F_OK) ? 1 : 4;
	return (unsigned int)slow;
}

/* Of so many rounds on the stock kernel, how many here; never fewer than @least. */
static inline unsigned int onpu_rounds(unsigned int rounds, unsigned int least)
{
	unsigned int here = rounds / onpu_slow();

	return here > least ? here : least;
}

/* The harness sets the time limit of a test by alarm(). */
unsigned int __real_alarm(unsigned int seconds);
unsigned int __wrap_alarm(unsigned int seconds);

unsigned int __wrap_alarm(unsigned int seconds)
{
	return __real_alarm(onpu_slow() * seconds);
}

/* ---- files ------------------------------------------------------------- */

static inline int onpu_ioctl(int fd, unsigned long request, void *arg)
{
	int ret;

	do {
		ret = ioctl(fd, request, arg);
	} while (ret && (errno == EINTR || errno == EAGAIN));
	return ret ? -errno : 0;
}

static inline bool onpu_is_driver(int fd)
{
	char name[16] = "";
	struct drm_version version = { .name = name, .name_len = sizeof(name) - 1 };

	return !onpu_ioctl(fd, DRM_IOCTL_VERSION, &version) && !strcmp(name, "onpu");
}

/* The card's directory in sysfs, by the node that @fd has open. */
static inline int onpu_sysfs(int fd, char *path, size_t size)
{
	char link[96], *real;
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	snprintf(link, sizeof(link), "/sys/dev/char/%u:%u/device",
		 (unsigned int)(st.st_rdev >> 8) & 0xfff, (unsigned int)(st.st_rdev & 0xff));
	real = realpath(link, NULL);
	if (!real)
		return -errno;
	snprintf(path, size, "%s", real);
	free(real);
	return 0;
}

/* The card's name on its bus: its PCI address. */
static inline int onpu_bus_name(int fd, char *name, size_t size)
{
	char path[512];
	int ret = onpu_sysfs(fd, path, sizeof(path));

	if (!ret)
		snprintf(name, size, "%s", strrchr(path, '/') + 1);
	return ret;
}

/*
 * Opens card number @index in the order of PCI addresses: a card that was unbound and bound
 * again is still the same one, whatever its node is called then.
 */
static inline int onpu_open_card(unsigned int index)
{
	char path[512], names[64][64];
	int fds[64], count = 0, found = -ENODEV;

	for (int i = 0; i < 64; i++) {
		int fd;

		snprintf(path, sizeof(path), "/dev/accel/accel%d", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (!onpu_is_driver(fd) || onpu_sysfs(fd, path, sizeof(path))) {
			close(fd);
			continue;
		}
		snprintf(names[count], sizeof(names[0]), "%s", strrchr(path, '/') + 1);
		fds[count++] = fd;
	}
	for (int i = 0; i < count; i++) {
		unsigned int before = 0;

		for (int j = 0; j < count; j++)
			before += strcmp(names[j], names[i]) < 0;
		if (before == index && found < 0)
			found = fds[i];
		else
			close(fds[i]);
	}
	return found;
}

static inline int onpu_open(void)
{
	return onpu_open_card(0);
}

static inline int onpu_write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), error = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		error = -errno;
	close(fd);
	return error;
}

static inline int onpu_read_file(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return -errno;
	got = read(fd, text, size - 1);
	close(fd);
	if (got < 0)
		return -EIO;
	text[got] = 0;
	return 0;
}

static inline int64_t onpu_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

/* ---- query ------------------------------------------------------------- */

static inline int onpu_query(int fd, uint32_t type, void *data, uint32_t size)
{
	struct drm_onpu_dev_query query = { .type = type, .size = size, .ptr = USER_PTR(data) };

	memset(data, 0, size);
	return onpu_ioctl(fd, DRM_IOCTL_ONPU_DEV_QUERY, &query);
}

static inline struct drm_onpu_query_memory onpu_memory(int fd)
{
	struct drm_onpu_query_memory memory;

	if (onpu_query(fd, DRM_ONPU_QUERY_MEMORY, &memory, sizeof(memory)))
		memset(&memory, 0xff, sizeof(memory));
	return memory;
}

static inline struct drm_onpu_query_limits onpu_limits(int fd)
{
	struct drm_onpu_query_limits limits;

	if (onpu_query(fd, DRM_ONPU_QUERY_LIMITS, &limits, sizeof(limits)))
		memset(&limits, 0, sizeof(limits));
	return limits;
}

static inline struct drm_onpu_query_device onpu_device(int fd)
{
	struct drm_onpu_query_device device;

	if (onpu_query(fd, DRM_ONPU_QUERY_DEVICE, &device, sizeof(device)))
		memset(&device, 0, sizeof(device));
	return device;
}

/* Memory is freed by workers some time after the last close: wait for it. */
static inline bool onpu_memory_is_back(const struct drm_onpu_query_memory *before)
{
	int64_t end = onpu_now() + 10000000000ll * onpu_slow();
	struct drm_onpu_query_memory memory;

	do {
		int fd = onpu_open();

		memory = onpu_memory(fd);
		close(fd);
		if (memory.vram_used == before->vram_used &&
		    memory.system_used == before->system_used)
			return true;
		usleep(20000);
	} while (onpu_now() < end);
	fprintf(stderr, "# memory: card %llu -> %llu, system %llu -> %llu bytes\n",
		(unsigned long long)before->vram_used, (unsigned long long)memory.vram_used,
		(unsigned long long)before->system_used, (unsigned long long)memory.system_used);
	return false;
}

/* ---- buffer objects ---------------------------------------------------- */

static inline int onpu_bo_create(int fd, uint64_t size, uint32_t flags, uint32_t vm,
				 uint32_t *handle)
{
	struct drm_onpu_bo_create args = { .size = size, .flags = flags, .vm_id = vm };
	int ret = onpu_ioctl(fd, DRM_IOCTL_ONPU_BO_CREATE, &args);

	if (!ret)
		*handle = args.handle;
	return ret;
}

static inline int onpu_bo_close(int fd, uint32_t handle)
{
	struct drm_gem_close args = { .handle = handle };

	return onpu_ioctl(fd, DRM_IOCTL_GEM_CLOSE, &args);
}

static inline int onpu_bo_offset(int fd, uint32_t handle, uint64_t *offset)
{
	struct drm_onpu_bo_mmap_offset args = { .handle = handle };
	int ret = onpu_ioctl(fd, DRM_IOCTL_ONPU_BO_MMAP_OFFSET, &args);

	*offset = args.offset;
	return ret;
}

/* Mapped memory stays allocated, so tear-downs unmap before they look at the accounts. */
#define ONPU_MAPS 256
static struct {
	void *ptr;
	uint64_t size;
} onpu_maps[ONPU_MAPS];

static inline void onpu_unmap_all(void)
{
	for (int i = 0; i < ONPU_MAPS; i++)
		if (onpu_maps[i].ptr)
			munmap(onpu_maps[i].ptr, onpu_maps[i].size);
	memset(onpu_maps, 0, sizeof(onpu_maps));
}

static inline void onpu_bo_unmap(void *ptr, uint64_t size)
{
	munmap(ptr, size);
	for (int i = 0; i < ONPU_MAPS; i++)
		if (onpu_maps[i].ptr == ptr)
			onpu_maps[i].ptr = NULL;
}

/* NULL on failure. */
static inline void *onpu_bo_map(int fd, uint32_t handle, uint64_t size)
{
	uint64_t offset;
	void *ptr;

	if (onpu_bo_offset(fd, handle, &offset))
		return NULL;
	ptr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
	if (ptr == MAP_FAILED)
		return NULL;
	for (int i = 0; i < ONPU_MAPS; i++) {
		if (!onpu_maps[i].ptr) {
			onpu_maps[i].ptr = ptr;
			onpu_maps[i].size = size;
			break;
		}
	}
	return ptr;
}

/* ---- address spaces ---------------------------------------------------- */

static inline int onpu_vm_create(int fd, uint32_t *id)
{
	struct drm_onpu_vm_create args = { 0 };
	int ret = onpu_ioctl(fd, DRM_IOCTL_ONPU_VM_CREATE, &args);

	if (!ret)
		*id = args.id;
	return ret;
}

static inline int onpu_vm_destroy(int fd, uint32_t id)
{
	struct drm_onpu_vm_destroy args = { .id = id };

	return onpu_ioctl(fd, DRM_IOCTL_ONPU_VM_DESTROY, &args);
}

/* @failed may be NULL. */
static inline int onpu_bind(int fd, uint32_t vm, const struct drm_onpu_bind_op *ops,
			    uint32_t count, uint32_t *failed)
{
	struct drm_onpu_vm_bind args = {
		.vm_id = vm,
		.ops = { .count = count, .stride = sizeof(*ops), .ptr = USER_PTR(ops) },
	};
	int ret = onpu_ioctl(fd, DRM_IOCTL_ONPU_VM_BIND, &args);

	if (failed)
		*failed = args.failed_op;
	return ret;
}

static inline int onpu_map(int fd, uint32_t vm, uint32_t handle, uint64_t offset, uint64_t va,
			   uint64_t size, uint32_t flags)
{
	struct drm_onpu_bind_op op = {
		.type = DRM_ONPU_BIND_MAP, .flags = flags, .handle = handle,
		.bo_offset = offset, .va = va, .size = size,
	};

	return onpu_bind(fd, vm, &op, 1, NULL);
}

static inline int onpu_unmap(int fd, uint32_t vm, uint64_t va, uint64_t size)
{
	struct drm_onpu_bind_op op = { .type = DRM_ONPU_BIND_UNMAP, .va = va, .size = size };

	return onpu_bind(fd, vm, &op, 1, NULL);
}

/* ---- queues ------------------------------------------------------------ */

static inline int onpu_queue_create(int fd, uint32_t vm, uint32_t priority, uint32_t *id)
{
	struct drm_onpu_queue_create args = { .vm_id = vm, .priority = priority };
	int ret = onpu_ioctl(fd, DRM_IOCTL_ONPU_QUEUE_CREATE, &args);

	if (!ret)
		*id = args.id;
	return ret;
}

static inline int onpu_queue_destroy(int fd, uint32_t id)
{
	struct drm_onpu_queue_destroy args = { .id = id };

	return onpu_ioctl(fd, DRM_IOCTL_ONPU_QUEUE_DESTROY, &args);
}

static inline int onpu_queue_state(int fd, uint32_t id, struct drm_onpu_queue_get_state *state)
{
	memset(state, 0, sizeof(*state));
	state->id = id;
	return onpu_ioctl(fd, DRM_IOCTL_ONPU_QUEUE_GET_STATE, state);
}

/* ---- synchronisation objects ------------------------------------------- */

static inline uint32_t onpu_sync_create(int fd, bool signalled)
{
	struct drm_syncobj_create args = {
		.flags = signalled ? DRM_SYNCOBJ_CREATE_SIGNALED : 0,
	};

	return onpu_ioctl(fd, DRM_IOCTL_SYNCOBJ_CREATE, &args) ? 0 : args.handle;
}

static inline int onpu_sync_destroy(int fd, uint32_t handle)
{
	struct drm_syncobj_destroy args = { .handle = handle };

	return onpu_ioctl(fd, DRM_IOCTL_SYNCOBJ_DESTROY, &args);
}

/* 0, -ETIME. A failed job counts as done. */
static inline int onpu_sync_wait_for(int fd, uint32_t handle, int64_t ns)
{
	struct drm_syncobj_wait args = {
		.handles = USER_PTR(&handle), .count_handles = 1, .timeout_nsec = onpu_now() + ns,
	};

	return onpu_ioctl(fd, DRM_IOCTL_SYNCOBJ_WAIT, &args);
}

static inline int onpu_sync_wait(int fd, uint32_t handle)
{
	return onpu_sync_wait_for(fd, handle, WAIT_NS);
}

static inline int onpu_timeline_wait_for(int fd, uint32_t handle, uint64_t point, int64_t ns)
{
	struct drm_syncobj_timeline_wait args = {
		.handles = USER_PTR(&handle), .points = USER_PTR(&point), .count_handles = 1,
		.timeout_nsec = onpu_now() + ns,
		.flags = DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT,
	};

	return onpu_ioctl(fd, DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, &args);
}

static inline int onpu_sync_to_file(int fd, uint32_t handle)
{
	struct drm_syncobj_handle args = {
		.handle = handle, .fd = -1,
		.flags = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE,
	};
	int ret = onpu_ioctl(fd, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &args);

	return ret ? ret : args.fd;
}

/* Status of a sync file's fence: 1 signalled, 0 active, negative error. */
static inline int onpu_file_status(int file, struct sync_fence_info *info)
{
	struct sync_file_info args = { .num_fences = 1, .sync_fence_info = USER_PTR(info) };
	int ret;

	memset(info, 0, sizeof(*info));
	ret = onpu_ioctl(file, SYNC_IOC_FILE_INFO, &args);
	return ret ? -EBADF : info->status;
}

static inline int onpu_sync_status(int fd, uint32_t handle)
{
	int file = onpu_sync_to_file(fd, handle), status;
	struct sync_fence_info info;

	if (file < 0)
		return file;
	status = onpu_file_status(file, &info);
	close(file);
	return status;
}

/* ---- packets ----------------------------------------------------------- */

static inline struct onpu_packet pkt_op(uint8_t opcode)
{
	struct onpu_packet packet;

	memset(&packet, 0, sizeof(packet));
	packet.opcode = opcode;
	return packet;
}

static inline struct onpu_packet pkt_nop(void)
{
	return pkt_op(ONPU_OP_NOP);
}

static inline struct onpu_packet pkt_copy(uint64_t dst, uint64_t src, uint64_t size)
{
	struct onpu_packet packet = pkt_op(ONPU_OP_COPY);

	packet.copy.dst_va = dst;
	packet.copy.src_va = src;
	packet.copy.size = size;
	return packet;
}

static inline struct onpu_packet pkt_copy_2d(uint64_t dst, uint64_t dst_pitch, uint64_t src,
					     uint64_t src_pitch, uint64_t row_bytes, uint32_t rows)
{
	struct onpu_packet packet = pkt_op(ONPU_OP_COPY_2D);

	packet.copy_2d.dst_va = dst;
	packet.copy_2d.src_va = src;
	packet.copy_2d.dst_pitch = dst_pitch;
	packet.copy_2d.src_pitch = src_pitch;
	packet.copy_2d.row_bytes = row_bytes;
	packet.copy_2d.rows = rows;
	return packet;
}

static inline struct onpu_packet pkt_fill(uint64_t dst, uint64_t size, uint32_t pattern)
{
	struct onpu_packet packet = pkt_op(ONPU_OP_FILL);

	packet.fill.dst_va = dst;
	packet.fill.size = size;
	packet.fill.pattern = pattern;
	return packet;
}

static inline struct onpu_packet pkt_wait(uint64_t va, uint32_t op, uint64_t value)
{
	struct onpu_packet packet = pkt_op(ONPU_OP_WAIT);

	packet.wait.va = va;
	packet.wait.op = op;
	packet.wait.value = value;
	return packet;
}

static inline struct onpu_packet pkt_signal(uint64_t va, uint64_t value)
{
	struct onpu_packet packet = pkt_op(ONPU_OP_SIGNAL);

	packet.signal.va = va;
	packet.signal.value = value;
	return packet;
}

static inline struct onpu_packet pkt_timestamp(uint64_t va)
{
	struct onpu_packet packet = pkt_op(ONPU_OP_TIMESTAMP);

	packet.timestamp.va = va;
	return packet;
}

static inline struct onpu_packet pkt_matmul(uint64_t desc)
{
	struct onpu_packet packet = pkt_op(ONPU_OP_MATMUL);

	packet.matmul.desc_va = desc;
	return packet;
}

/* ---- jobs -------------------------------------------------------------- */

static inline int onpu_submit_jobs(int fd, uint32_t queue, const struct drm_onpu_job *jobs,
				   uint32_t count)
{
	struct drm_onpu_submit args = {
		.queue_id = queue,
		.jobs = { .count = count, .stride = sizeof(*jobs), .ptr = USER_PTR(jobs) },
	};

	return onpu_ioctl(fd, DRM_IOCTL_ONPU_SUBMIT, &args);
}

/* One job; @in and @out are binary syncobjs or 0. */
static inline int onpu_submit(int fd, uint32_t queue, uint64_t va, uint32_t count, uint32_t in,
			      uint32_t out)
{
	struct drm_onpu_sync syncs[2];
	struct drm_onpu_job job = {
		.cmd_va = va, .cmd_count = count,
		.syncs = { .stride = sizeof(syncs[0]), .ptr = USER_PTR(syncs) },
	};

	memset(syncs, 0, sizeof(syncs));
	if (in)
		syncs[job.syncs.count++].handle = in;
	if (out) {
		syncs[job.syncs.count].flags = DRM_ONPU_SYNC_SIGNAL;
		syncs[job.syncs.count++].handle = out;
	}
	return onpu_submit_jobs(fd, queue, &job, 1);
}

/* ---- environment ------------------------------------------------------- */

/* Memory that the CPU has mapped and that stands at @va in the address space. */
struct onpu_buf {
	uint32_t handle;
	uint64_t va, size;
	void *cpu;
};

#define CMD_PACKETS 1024

struct onpu_env {
	int fd;
	uint32_t vm, queue, sync;
	uint64_t next_va;
	struct onpu_buf cmd;
	struct onpu_packet *packets;	/* in cmd */
	uint32_t count;			/* packets that were added */
};

static inline int onpu_buf_new(struct onpu_env *env, uint64_t size, uint32_t flags,
			       struct onpu_buf *buf)
{
	int ret;

	memset(buf, 0, sizeof(*buf));
	buf->size = (size + PAGE - 1) / PAGE * PAGE;
	ret = onpu_bo_create(env->fd, size, flags, 0, &buf->handle);
	if (ret)
		return ret;
	buf->cpu = onpu_bo_map(env->fd, buf->handle, buf->size);
	if (!buf->cpu)
		return -ENXIO;
	/* A hole of a page, at least, on either side. */
	buf->va = (env->next_va + MIB(2) + MIB(2) - 1) / MIB(2) * MIB(2);
	ret = onpu_map(env->fd, env->vm, buf->handle, 0, buf->va, buf->size, 0);
	env->next_va = buf->va + buf->size;
	return ret;
}

static inline void onpu_buf_free(struct onpu_env *env, struct onpu_buf *buf)
{
	onpu_unmap(env->fd, env->vm, buf->va, buf->size);
	onpu_bo_unmap(buf->cpu, buf->size);
	onpu_bo_close(env->fd, buf->handle);
}

/* An address space and a queue on a file that is open. */
static inline int onpu_env_on(struct onpu_env *env, int fd)
{
	int ret;

	memset(env, 0, sizeof(*env));
	env->fd = fd;
	env->next_va = 0x10000000ull;
	ret = onpu_vm_create(env->fd, &env->vm);
	if (!ret)
		ret = onpu_queue_create(env->fd, env->vm, DRM_ONPU_PRIORITY_MEDIUM, &env->queue);
	if (!ret)
		ret = onpu_buf_new(env, CMD_PACKETS * sizeof(struct onpu_packet),
				   DRM_ONPU_BO_VRAM, &env->cmd);
	env->packets = env->cmd.cpu;
	env->sync = onpu_sync_create(env->fd, false);
	return ret;
}

static inline int onpu_env_init(struct onpu_env *env)
{
	int fd = onpu_open();

	return fd < 0 ? fd : onpu_env_on(env, fd);
}

static inline void onpu_env_fini(struct onpu_env *env)
{
	close(env->fd);
	onpu_bo_unmap(env->cmd.cpu, env->cmd.size);
}

/* Another queue in the place of the environment's, which may be dead. */
static inline int onpu_env_new_queue(struct onpu_env *env)
{
	onpu_queue_destroy(env->fd, env->queue);
	return onpu_queue_create(env->fd, env->vm, DRM_ONPU_PRIORITY_MEDIUM, &env->queue);
}

static inline void onpu_add(struct onpu_env *env, struct onpu_packet packet)
{
	env->packets[env->count++] = packet;
}

/* Submits what was added, and begins anew. */
static inline int onpu_start(struct onpu_env *env, uint32_t in, uint32_t out)
{
	int ret = onpu_submit(env->fd, env->queue, env->cmd.va, env->count, in, out);

	env->count = 0;
	return ret;
}

/* Runs what was added: 0, or what SUBMIT, the wait or the job's fence says. */
static inline int onpu_run(struct onpu_env *env)
{
	int ret = onpu_start(env, 0, env->sync);

	if (!ret)
		ret = onpu_sync_wait(env->fd, env->sync);
	if (!ret) {
		ret = onpu_sync_status(env->fd, env->sync);
		ret = ret == 1 ? 0 : ret ? ret : -EINPROGRESS;
	}
	return ret;
}

/* Runs one packet. */
static inline int onpu_run_one(struct onpu_env *env, struct onpu_packet packet)
{
	onpu_add(env, packet);
	return onpu_run(env);
}

/* A plain number in the fdinfo of the file; -1 if there is no such line. */
static inline int64_t onpu_fdinfo_number(int fd, const char *key)
{
	char path[64], text[4096], *line;
	size_t length = strlen(key);
	int64_t number;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	if (onpu_read_file(path, text, sizeof(text)))
		return -1;
	for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		if (strncmp(line, key, length) || line[length] != ':')
			continue;
		number = strtoll(line + length + 1, &line, 10);
		return *line ? -1 : number;
	}
	return -1;
}

/* ---- module parameters ------------------------------------------------- */

#define ONPU_PARAM(name) "/sys/module/onpu/parameters/" name

static inline int onpu_set_parameter(const char *path, unsigned int value)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", value);
	return onpu_write_file(path, text);
}

/* Sets the job timeout and returns the former one, or a negative errno. */
static inline int onpu_set_timeout(unsigned int ms)
{
	char text[32];
	int ret = onpu_read_file(ONPU_PARAM("job_timeout_ms"), text, sizeof(text));
	int before;

	if (ret)
		return ret;
	before = atoi(text);
	ret = onpu_set_parameter(ONPU_PARAM("job_timeout_ms"), ms);
	return ret ? ret : before;
}

/* ---- faults ------------------------------------------------------------ */

/* Has the runner do something to the card, and waits until it has. */
static inline void onpu_inject(const char *what)
{
	printf("# card 0: inject %s\n", what);
	fflush(stdout);
	usleep(500000);
}

#endif /* ONPU_KSELFTEST_H */

/* SPDX-License-Identifier: MIT */
/*
 * What the source files of libaccel share. Nothing here is exported.
 *
 * Lifetime: device <- context <- buffer, queue <- event, each arrow a counted
 * reference to the left. Locks, outer first: kinds of a context, queue, context, queues of the device,
 * state of a queue, handles of the device, buffer map. Several queues are locked at once only by who changes
 * the kind of a context's queues (context.c). No lock is held across a call into the application, because there
 * is none.
 */
#ifndef ACCEL_INTERNAL_H
#define ACCEL_INTERNAL_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <drm/onpu_accel.h>
#include <onpu/mmu.h>
#include <onpu/packet.h>

#include "accel/accel.h"

#include "os.h"
#include "va.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* ---- trace.c ---- */

struct trace_scope {
	const char *function;
	uint64_t start;		/* 0: nothing is traced */
};

/* Whether ACCEL_TRACE asks for a trace: then all submissions get stamps. */
bool trace_on(void);
struct trace_scope trace_begin(const char *function);
void trace_end(const struct trace_scope *scope);
void trace_packets(const struct accel_device *device, uint32_t queue, const struct onpu_stamp *stamps,
		   unsigned int count);
void trace_before_fork(void);
void trace_in_parent(void);
void trace_in_child(void);

/* ---- pointer.c: CPU addresses of buffers ---- */

int pointer_add(struct accel_buffer *buffer, const void *pointer, uint64_t size);
void pointer_remove(const struct accel_buffer *buffer, const void *pointer);
void pointer_before_fork(void);
void pointer_in_parent(void);
void pointer_in_child(void);

/* ---- error.c ---- */

enum log_level { LOG_NONE, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Names the public function that the failures to come belong to, and begins its time in the trace. */
#define api_begin(function) \
	struct trace_scope trace_scope __attribute__((cleanup(trace_end), unused)) = api_enter(function)
struct trace_scope api_enter(const char *function);
/* Records the detail text and returns @error. */
int fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Says in the detail text that element @index was at fault. */
int fail_index(int error, unsigned int index);
bool log_enabled(enum log_level level);
void log_print(enum log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- enumerate.c ---- */

#define DEVICES_MAX 256
#define DRIVER_NAME "onpu"

/* Finds the cards in PCI order; returns their number or -errno. */
int find_devices(struct found_device *found, unsigned int max);

/* ---- device.c ---- */

struct accel_device {
	atomic_uint refs;
	int fd;
	unsigned int fork_generation;
	struct accel_device *next;	/* list of all, fork.c */
	struct found_device found;
	struct drm_onpu_query_device caps;
	struct drm_onpu_query_memory memory;
	struct drm_onpu_query_limits limits;
	struct drm_onpu_query_engines engines;	/* zero if nobody tells */
	pthread_mutex_t handles_lock;	/* guards handles, and what closes or imports them */
	struct shared_handle *handles;
	bool user_queues;		/* contexts begin with user-mode queues */
	uint32_t spin_max_ns;		/* longest look at a word before the thread sleeps; 0: none */
	pthread_mutex_t queues_lock;	/* guards the list */
	struct accel_queue *queues;
	atomic_uint watched;		/* jobs in flight that wait on the card for other queues */
};

/*
 * A kernel handle that several buffers of an open device may have: importing a dma-buf twice
 * gives the same one, and closing it once closes it for all.
 */
struct shared_handle {
	struct shared_handle *next;
	uint32_t handle;
	unsigned int refs;
};

void device_get(struct accel_device *device);
void device_put(struct accel_device *device);
/* 0, or fails with -ECHILD in a forked child. */
int device_check(const struct accel_device *device);
/* The same as a question, for destroyers. */
bool device_is_foreign(const struct accel_device *device);
int device_ioctl(const struct accel_device *device, unsigned long request, void *arg);
/* Whether the driver has let go of it. */
bool device_is_gone(const struct accel_device *device);
/* Reads @size bytes of a query; what an older driver does not know stays zero. */
int device_query(const struct accel_device *device, uint32_t type, void *data, uint32_t size);

/* ---- fork.c ---- */

int fork_register(struct accel_device *device);
void fork_unregister(struct accel_device *device);
unsigned int fork_generation(void);

/* ---- context.c ---- */

struct accel_context {
	atomic_uint refs;
	struct accel_device *device;
	uint32_t vm_id;
	pthread_mutex_t lock;	/* guards va */
	struct va_space va;
	atomic_uint_fast64_t card_bytes;	/* of bos that must be in card memory */
	/* Guards @user_queues and the kind of each queue; a queue is created and put away under it. */
	pthread_mutex_t kind_lock;
	bool user_queues;	/* they are user-mode queues */
};

void context_get(struct accel_context *context);
void context_put(struct accel_context *context);

/* ---- kind.c ---- */

/*
 * From here on the queues of the context give and take fences, that is they are kernel queues. Waits for
 * the work of those that are not.
 */
int context_need_fences(struct accel_context *context);

/* ---- bo.c: a kernel buffer object, bound in a context ---- */

struct bo {
	struct accel_context *context;
	uint32_t handle;
	struct shared_handle *shared;	/* of the handle, NULL: nobody else has it */
	uint64_t size;
	uint64_t va;
	struct va_range *range;
	pthread_mutex_t map_lock;
	void *pointer;		/* CPU mapping or NULL; lives until the end of the bo */
	bool borrowed;		/* the pointer is the application's own memory */
	bool view;		/* the handle is another bo's */
	bool card_only;		/* counts in card_bytes of the context */
};

#define PAGE_SIZE	4096ull
#define HUGE_SIZE	(1ull << ONPU_MMU_HUGE_SHIFT)

#define BO_CARD_READONLY	(1u << 0)
#define BO_SHAREABLE		(1u << 1)
#define BO_VIEWABLE		(1u << 2)	/* for bo_init_view() */

/* The three ways to get one; @flags: BO_*. */
int bo_init(struct bo *bo, struct accel_context *context, uint64_t size, uint32_t placement,
	    uint32_t flags);
int bo_init_import(struct bo *bo, struct accel_context *context, int fd, uint32_t flags);
/* Of whole pages of the process. */
int bo_init_memory(struct bo *bo, struct accel_context *context, void *memory, uint64_t size,
		   uint32_t flags);
/* Another context's BO_VIEWABLE bo of the same open device, read only; it must not end before. */
int bo_init_view(struct bo *bo, struct accel_context *context, const struct bo *other);
/* A descriptor of a dma-buf of the bo, or -errno without the detail. */
int bo_export(const struct bo *bo);
void bo_fini(struct bo *bo);
int bo_map(struct bo *bo, void **pointer);

/* ---- buffer.c ---- */

struct accel_buffer {
	atomic_uint refs;	/* the owner's and one per submission in flight */
	struct bo bo;
	uint64_t start;		/* of the first byte in the bo; not 0 for registered memory only */
	uint64_t size;		/* as asked for */
	uint32_t flags;
	uint32_t origin;	/* enum accel_origin */
	char exporter[32];
	atomic_uint maps;
	atomic_bool purgeable;
	atomic_bool listed;	/* its CPU address is in the table of pointer.c */
	bool cached;		/* a cache made it */
	bool idle;		/* and has it back; under the cache's lock */
};

/* accel_buffer_create() from inside. */
int buffer_create(struct accel_context *context, uint64_t size, uint32_t flags, struct accel_buffer **out);
/* Enters the CPU address of the buffer into the table, once. */
int buffer_list(struct accel_buffer *buffer);

void buffer_get(struct accel_buffer *buffer);
void buffer_put(struct accel_buffer *buffer);
/* 0, or fails: NULL, another process's. */
int buffer_check(const struct accel_buffer *buffer);
/* Address on the card. */
uint64_t buffer_va(const struct accel_buffer *buffer);
/* Whether two buffers are the same memory, so that offsets of both compare. */
bool buffer_same(const struct accel_buffer *a, const struct accel_buffer *b);
/* 0, or fails because the content may be gone. */
int buffer_check_content(const struct accel_buffer *buffer);
/* As accel_buffer_export() does, without flags; the detail text is set. */
int buffer_export(const struct accel_buffer *buffer);

#include "queue.h"

/* ---- event.c ---- */

struct accel_event {
	struct accel_queue *queue;
	uint64_t point;
	struct profile *profile;	/* or NULL */
};

struct accel_event *event_alloc(struct accel_queue *queue);

/* ---- profile.c ---- */

/* Of one submission: shared by its job, which fills it in, and its event. */
struct profile;

struct profile *profile_create(uint32_t queue);
void profile_get(struct profile *profile);
void profile_put(struct profile *profile);
/* From the stamps of a job that is done without error. */
void profile_fill(struct profile *profile, const struct accel_device *device,
		  const struct onpu_stamp *stamps, unsigned int count);

/* ---- status.c, besides the above ---- */

/* "write of address 0x1000 (not mapped)". */
void fault_text(char *text, size_t room, uint64_t address, uint32_t access, uint32_t reason);

/* ---- ops.c ---- */

/* Rows of used bytes, stride apart, in a buffer: extent from the first byte to behind the last. */
struct rows {
	const struct accel_buffer *buffer;
	uint64_t offset;
	uint64_t rows;
	uint64_t row_bytes;
	uint64_t stride;
	uint64_t extent;
};

/* Whether two operands share a byte. */
bool rows_overlap(const struct rows *x, const struct rows *y);

/* Checks that a range lies in a buffer that the queue can use. */
int check_range(const struct accel_queue *queue, const char *name,
		const struct accel_buffer *buffer, uint64_t offset, uint64_t size, bool write);

/* ---- structures that grow ---- */

/* Copies a filled structure out to one of the caller's size (its first member). */
int copy_out(void *target, const void *source, size_t known, size_t first_version,
	     const char *name);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The kernel's part of libaccel without a kernel ("mk": model kernel): cards of the model in the
 * process itself, behind the calls of ../src/os.h. It answers the ioctls that libaccel makes with
 * the driver's results and errors (Documentation/uapi.md), over page tables, queues and mailbox
 * of the card (Documentation/hardware.md), whose real firmware runs.
 *
 * Locking: mk_lock guards everything here, mk_changed tells of every change that somebody may wait
 * for. It is not held while the card is waited for, and the card's threads, which call in when they
 * interrupt, take it for moments only; a doorbell may do the card's work in the thread that rings it,
 * so it is rung without the lock. They may not call the card: what follows from an interrupt
 * is done by the thread in mk_world.c, which mk_kick() wakes.
 */
#ifndef ACCEL_MK_H
#define ACCEL_MK_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <drm.h>
#include <drm/onpu_accel.h>
#include <onpu/mbox.h>
#include <onpu/mmu.h>
#include <onpu/packet.h>
#include <onpu/regs.h>

#include "onpu_model.h"

#include "../src/va.h"

#define MK_CARDS	16u		/* at most */
#define MK_PAGE		4096ull
#define MK_HUGE		(1ull << ONPU_MMU_HUGE_SHIFT)

/* The driver's own limits (mk_limits begins with them). */
#define MK_VMS		32u
#define MK_QUEUES	128u
#define MK_BIND_OPS	1024u
#define MK_JOBS		64u		/* in a SUBMIT */
#define MK_SYNCS	64u		/* of a job */
#define MK_IN_FLIGHT	1024u
#define MK_BOS		65536u
#define MK_MAPPINGS	65536u
#define MK_NULL_MAX	(1ull << 40)
#define MK_VA_START	0x1000ull
#define MK_VA_END	(1ull << (ONPU_MMU_VA_BITS - 1))
#define MK_VA_KERNEL	(1ull << (ONPU_MMU_VA_BITS - 1))

extern pthread_mutex_t mk_lock;

/* ---- mk_world.c ---- */

/* What ACCEL_DEVICE asks for. */
struct mk_card;

struct mk_options {
	unsigned int cards;
	int threads;		/* of a card; < 0: as many as the process has CPUs */
	uint64_t memory;	/* of a card */
};

extern struct mk_options mk_options;
/* What is enforced and told; 0 of what the card decides: that. Tests lower them. */
extern struct drm_onpu_query_limits mk_limits;
extern struct mk_card *mk_cards[MK_CARDS];	/* NULL: not opened yet */

/* Something has changed: whoever waits looks again. */
void mk_changed(void);
/* Waits for a change, with the lock released; false when @deadline (CLOCK_MONOTONIC) is over. */
bool mk_wait(uint64_t deadline);
/* Wakes the thread that does what card threads may not. */
void mk_kick(void);
uint64_t mk_now(void);

/* ---- mk_fence.c: ends of jobs, syncobjs ---- */

/* The end of job @seqno of the queue that has the number @queue, for ever; 0: has come. */
struct mk_fence {
	uint64_t queue;
	uint64_t seqno;
};

struct mk_fences {
	unsigned int count, room;
	struct mk_fence *list;
};

struct mk_point {
	uint64_t point;
	struct mk_fence fence;
};

struct mk_syncobj {
	bool used, timeline;
	struct mk_fences binary;
	bool filled;		/* a binary one has been given a fence */
	uint64_t done;		/* timeline: all up to here has signalled */
	uint64_t newest;
	struct mk_point *points;
	unsigned int count, room;
};

struct mk_file;

bool mk_signalled(struct mk_fence fence);
bool mk_all_signalled(const struct mk_fences *fences);
/* Forgets those that have signalled, adds others; -ENOMEM. */
int mk_fences_add(struct mk_fences *fences, const struct mk_fence *more, unsigned int count);
struct mk_syncobj *mk_syncobj_find(struct mk_file *file, uint32_t handle);
/* Adds what a job waits for to @fences: 0, -EINVAL when there is nothing, -ENOMEM. */
int mk_syncobj_fence(struct mk_syncobj *syncobj, uint64_t point, struct mk_fences *fences);
/* Makes room so that mk_syncobj_signal() cannot fail. */
int mk_syncobj_reserve(struct mk_syncobj *syncobj, unsigned int more);
void mk_syncobj_signal(struct mk_syncobj *syncobj, uint64_t point, struct mk_fence fence);
void mk_syncobj_clear(struct mk_syncobj *syncobj);
int mk_syncobj_ioctl(struct mk_file *file, unsigned long request, void *arg);

/* ---- mk_card.c ---- */

struct mk_bo;
struct mk_vm;
struct mk_queue;

struct mk_request {
	struct mk_request *next;
	uint32_t seq;
	bool done;
	struct onpu_msg msg;
};

struct mk_card {
	unsigned int index;
	struct onpu_card *model;
	uint8_t *memory;		/* what buffer objects are made of, and what the card sees as its own */
	uint64_t size;			/* bytes there */
	struct va_space space;		/* free ones, as offsets */
	uint64_t vram, vram_used;	/* card memory, as told to users */
	uint64_t host_used;
	uint64_t *free_pages;		/* offsets of pages for tables */
	unsigned int free_count, free_room;
	unsigned int files;		/* that have it open */
	bool parked;			/* it stands still */
	struct mk_bo *bos;		/* by rising time of creation */
	struct mk_vm *vms[ONPU_MAX_CONTEXTS];
	struct mk_queue *queues[ONPU_MAX_QUEUES];
	struct onpu_mbox_shared *mbox;
	uint32_t seq;
	struct mk_request *requests;
	bool mail;			/* the firmware has written messages */
	bool lost;			/* the firmware is dead */
	struct drm_onpu_query_firmware firmware;
};

/* Creates the card and boots its firmware: 0 or -errno. */
int mk_card_create(unsigned int index);
uint32_t mk_read32(const struct mk_card *card, uint64_t reg);
uint64_t mk_read64(const struct mk_card *card, uint64_t reg);
void mk_write32(const struct mk_card *card, uint64_t reg, uint32_t value);
/* Sends a request and waits for its answer, with the lock released: 0 or -errno. */
int mk_card_request(struct mk_card *card, uint16_t type, const void *payload);
/* In the thread: messages of the firmware. */
void mk_card_mail(struct mk_card *card);
/* Waits until nothing translates through what was unmapped; the lock is released meanwhile. */
void mk_card_invalidate(struct mk_card *card, uint32_t asid);
/* The same without the waiting, where both the old and the new translation are right. */
void mk_card_renew(struct mk_card *card, uint32_t asid);
/* A zeroed page of card memory for tables and such: its offset, 0 when there is none. */
uint64_t mk_page_alloc(struct mk_card *card);
void mk_page_free(struct mk_card *card, uint64_t offset);
/* Has @count of them at hand, so that the next ones are not refused. */
bool mk_page_reserve(struct mk_card *card, uint64_t count);

/* ---- mk_bo.c, mk_share.c: buffer objects ---- */

/* Memory that other contexts, cards and processes may have too: a memfd. */
struct mk_share {
	struct mk_share *next;
	unsigned int refs;
	int fd;
	dev_t dev;
	ino_t ino;
	uint64_t size;
	struct mk_card *home;		/* in whose memory it stands, at @range */
	struct va_range *range;
	bool foreign;			/* another process made it */
	bool exported;
	struct mk_fences writers, readers;
	struct mk_board *board;		/* what processes tell each other; NULL: it has not left this one */
	uint64_t id;			/* of the board here */
	unsigned int place;		/* there, + 1 */
	struct mk_announced *announced;
};

/* Memory of work: written, or only read. */
enum mk_work { MK_WRITES, MK_READS };

struct mk_mapping {
	uint64_t va, size, offset;
	struct mk_vm *vm;
	struct mk_bo *bo;		/* NULL: nothing */
	bool readonly;
	struct mk_mapping *next;	/* of the object */
};

struct mk_bo {
	struct mk_bo *next, **link;	/* of the card */
	unsigned int refs;		/* handles, mappings, calls under way */
	struct mk_card *card;
	uint64_t size;
	uint32_t flags;			/* DRM_ONPU_BO_* */
	uint32_t region;		/* enum drm_onpu_region */
	bool purgeable, purged;
	bool user, readonly;		/* memory of the process */
	bool pinned;			/* others reach it in system memory only */
	struct mk_vm *vm;		/* that it is private to; only compared */
	uint8_t *memory;
	struct va_range *range;		/* of the card's memory, or NULL */
	struct mk_share *share;		/* or NULL */
	struct mk_mapping *mappings;
};

struct mk_bo *mk_bo_find(struct mk_file *file, uint32_t handle);
void mk_bo_get(struct mk_bo *bo);
void mk_bo_put(struct mk_bo *bo);
int mk_bo_ioctl(struct mk_file *file, unsigned long request, void *arg);
/* Gives the object a handle: 0 or -errno. */
int mk_handle_create(struct mk_file *file, struct mk_bo *bo, uint32_t *handle);
/* A buffer object around memory that exists; takes over @share. */
int mk_bo_wrap(struct mk_card *card, struct mk_share *share, struct mk_bo **out);
/* What a page-table entry of it says, for the byte @offset. */
uint64_t mk_bo_pte(const struct mk_bo *bo, uint64_t offset);
/* Memory for @size bytes out of the card's; NULL when there is none. */
struct va_range *mk_range_alloc(struct mk_card *card, uint64_t size);
void mk_range_free(struct mk_card *card, struct va_range *range);
/* Moves it: the content stays where it is, the card reaches it another way. */
int mk_bo_move(struct mk_bo *bo, uint32_t region);
/* Has all that @vm maps where it must be: 0 or -ENOMEM. */
int mk_bo_validate(struct mk_vm *vm);
void mk_bo_purge_all(void);
uint64_t mk_pinned(void);
uint64_t mk_pinned_limit(void);
uint64_t mk_bo_max(const struct mk_card *card);

/* mk_board.c */
int mk_board_open(struct mk_share *share);
void mk_board_close(struct mk_share *share);
/* Tells others of work of this process: 0, -ENOSPC (too many processes), -ENOMEM. */
int mk_board_announce(struct mk_share *share, enum mk_work kind, const struct mk_fences *fences);
/* Tells what of it is over. */
void mk_board_update(struct mk_share *share);
/* Work that has been announced and is not over, as far as was looked. */
unsigned int mk_board_outstanding(void);
void mk_boards_forget(void);
/* Adds what others have announced and is not over. */
int mk_board_fences(const struct mk_share *share, bool readers, struct mk_fences *fences);
bool mk_is_foreign(struct mk_fence fence);
bool mk_foreign_signalled(struct mk_fence fence);
/* There are fences that nobody tells of: look every MK_POLL_NS. */
bool mk_must_poll(void);
#define MK_POLL_NS	1000000ull

struct mk_share *mk_share_by_id(uint64_t id);
/* Tells other processes what is over. */
void mk_share_update(void);
void mk_share_put(struct mk_share *share);
/* Makes the memory of a range shareable: NULL when descriptors or memory are short. */
struct mk_share *mk_share_create(struct mk_card *card, struct va_range *range, uint64_t size);
int mk_share_ioctl(struct mk_file *file, unsigned long request, void *arg);
/* An ioctl on a dma-buf. */
int mk_dma_buf_ioctl(int fd, unsigned long request, void *arg);
bool mk_is_dma_buf(int fd);
int mk_dma_buf_wait(int fd, bool all, uint64_t deadline);

/* ---- mk_vm.c ---- */

struct mk_vm {
	unsigned int refs;
	struct mk_card *card;
	uint32_t asid;
	uint64_t root;
	uint64_t *tables;		/* pages of it, the root first */
	unsigned int table_count, table_room;
	struct mk_mapping **mappings;	/* by rising address */
	unsigned int count, room;
	struct mk_mapping *spare;	/* for a VM_BIND under way */
	bool moved;			/* some object may not be where it must be */
	uint64_t used;			/* when it was submitted to, for eviction */
	bool ready;			/* it is created */
	bool long_running;
	unsigned int queues[2];		/* of the kernel, of user space: one of them is 0 */
	struct drm_onpu_vm_get_state state;
};

struct mk_vm *mk_vm_find(struct mk_file *file, uint32_t id);
void mk_vm_get(struct mk_vm *vm);
/* May release the lock. */
void mk_vm_put(struct mk_vm *vm);
int mk_vm_ioctl(struct mk_file *file, unsigned long request, void *arg);
/* Page-table entries for [va, va + size): 0 or -ENOMEM. */
int mk_pt_map(struct mk_vm *vm, uint64_t va, uint64_t size, uint64_t pte);
void mk_pt_unmap(struct mk_vm *vm, uint64_t va, uint64_t size);
/* Writes the entries of a mapping anew. */
void mk_vm_remap(const struct mk_mapping *mapping);

/* ---- mk_queue.c ---- */

struct mk_job {
	struct mk_job *next;
	uint64_t seqno;
	uint64_t va;
	uint32_t count;
	struct mk_fences waits;
};

struct mk_queue {
	struct mk_queue *next;		/* in the table of all */
	uint64_t number;		/* never used again */
	struct mk_vm *vm;
	struct mk_card *card;
	uint32_t index, vector;		/* on the card */
	uint32_t id;			/* in the file */
	struct va_range *range;		/* of the ring and, behind it, the page with the fence */
	uint8_t *ring;
	uint64_t *fence;
	uint64_t va;
	uint32_t tail;			/* of the ring, in packets */
	uint64_t submitted;		/* newest job */
	uint64_t pushed;		/* newest in the ring */
	uint64_t completed;
	struct mk_job *first, **last;	/* that are not complete */
	struct mk_job *waiting;		/* first of those that are not in the ring */
	struct drm_onpu_queue_get_state state;
	bool on_card, leaving;
	unsigned int ringing;		/* so many ring the doorbell */
	bool user;			/* a user-mode queue: no ring, fence, jobs of ours */
	struct mk_bell *bell;		/* its doorbell as the process has it; NULL: it is dead */
	int notify;			/* eventfd, or -1 */
};

struct mk_queue *mk_queue_by_number(uint64_t number);
struct mk_queue *mk_queue_find(struct mk_file *file, uint32_t id);
int mk_queue_ioctl(struct mk_file *file, unsigned long request, void *arg);
/* In a card's thread: vector @vector of the card was raised. */
void mk_queue_interrupt(struct mk_card *card, unsigned int vector);
/* In the thread: pushes what can be pushed; may release the lock. */
void mk_queue_push_all(void);
/* Jobs wait for something. */
bool mk_queue_waits(void);
/* The firmware says that a queue has stopped. */
void mk_queue_stopped(struct mk_card *card, const struct onpu_msg_queue_error *msg);
/* Takes a queue of a file off the card; may release the lock. */
void mk_queue_destroy(struct mk_file *file, uint32_t id);
void mk_queue_card_lost(struct mk_card *card);
/* There is no memory for what @vm maps: kills its user-mode queues. */
void mk_queue_no_memory(const struct mk_vm *vm);
/* In a forked child: nothing of the parent's is there any more. */
void mk_queue_forget(void);
void mk_share_forget(void);

/* Of tests: jobs that have not started wait; the next job stops its queue with these flags. */
void mk_queue_hold(bool hold);
void mk_queue_kill_next(uint32_t flags);

/* ---- mk_uqueue.c ---- */

struct mk_bell;

/* Offsets at which doorbells are mapped: MK_DOORBELLS + index of the queue on the card. */
#define MK_DOORBELLS	(1ull << 62)

/* The doorbell of a queue, NULL without memory. */
struct mk_bell *mk_bell_create(struct mk_queue *queue);
/* From here on, who rings rings nothing. */
void mk_bell_revoke(struct mk_queue *queue);
int mk_bell_map(struct mk_file *file, uint32_t index, void **pointer);
/* False: it is no doorbell. */
bool mk_bell_unmap(const void *pointer);
void mk_bells_forget(void);
/* Takes the lock by itself. */
void mk_bell_ring(const volatile void *pointer, uint32_t value);
/* Of tests: for how long memory is looked for. */
extern uint64_t mk_patience_ns;
/* What QUEUE_CREATE says of ring and control block. */
int mk_uqueue_check(const struct mk_card *card, const struct drm_onpu_queue_create *arg);
/* Tells the eventfd of a queue, if there is one. */
void mk_queue_notify(const struct mk_queue *queue);
int mk_uqueue_ioctl(struct mk_file *file, unsigned long request, void *arg);

/* ---- mk_query.c ---- */

int mk_query_ioctl(struct mk_file *file, unsigned long request, void *arg);

/* ---- open files ---- */

struct mk_file {
	struct mk_file *next;
	int fd;
	unsigned int refs;		/* calls under way, and the descriptor */
	struct mk_card *card;
	struct mk_bo **bos;
	unsigned int bo_room, bo_count, bo_hint;
	struct mk_vm *vms[MK_VMS + 1];
	struct mk_queue *queues[MK_QUEUES + 1];
	struct mk_syncobj *syncobjs;
	unsigned int syncobj_room;
};

/* Objects that exist, of all files and cards, for tests. */
unsigned int mk_objects(void);
extern unsigned int mk_submits;

#endif

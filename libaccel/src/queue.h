/* SPDX-License-Identifier: MIT */
/*
 * Queues, inside libaccel; a part of internal.h.
 *
 * What a queue is made of on the kernel's side is behind struct queue_backend: a kernel queue, which takes
 * jobs by SUBMIT and signals a timeline syncobj (kqueue.c), or a user-mode queue, whose ring and doorbell
 * are in the process (uqueue.c). Numbers, command memory, dependencies, events, errors are common.
 */
#ifndef ACCEL_QUEUE_H
#define ACCEL_QUEUE_H

#ifndef ACCEL_INTERNAL_H
#error "include internal.h"
#endif

/* ---- arena.c ---- */

/* Command memory of a queue: a ring of bytes, freed in the order of allocation. */
struct arena {
	struct bo bo;
	uint8_t *pointer;
	uint32_t head;		/* where the next allocation starts */
	uint32_t tail;		/* start of the oldest allocation in use */
	uint32_t live;		/* allocations in use; head == tail is empty or full */
};

#define ARENA_SIZE	(256u << 10)
/* The first bytes hold the word that each submission of a kernel queue stores its number in. */
#define ARENA_RESERVED	64u
/* Larger submissions get a buffer object of their own. */
#define ARENA_ALLOC_MAX	(ARENA_SIZE / 4)

int arena_init(struct arena *arena, struct accel_context *context);
void arena_fini(struct arena *arena);
/* Offset of @size bytes (64-byte aligned), or -EAGAIN when they are not free now. */
int64_t arena_alloc(struct arena *arena, uint32_t size);
/* What an allocation of @size bytes takes. */
uint32_t arena_round(uint32_t size);
/* Takes the newest allocation back, which ended at @end. */
void arena_undo(struct arena *arena, uint32_t end, uint32_t size);
/* Frees the oldest allocation, which ends at @end. */
void arena_free_oldest(struct arena *arena, uint32_t end);

/* ---- jobs and dependencies ---- */

/* An unfinished dependency: the queue waits for @point of @queue, or for a fence from elsewhere. */
struct dependency {
	struct accel_queue *queue;
	uint64_t point;
	uint32_t syncobj;	/* binary, without @queue */
	struct bo *view;	/* of the other queue's word, if that is in another context */
};

/* Buffers that a job of the usual size keeps; such jobs are used again. */
#define JOB_BUFFERS	6u

/* A submission in flight and what it keeps alive. */
struct job {
	struct job *next;
	uint64_t point;
	uint32_t arena_end;	/* 0: it used @own, or nothing */
	uint32_t ring_end;	/* user-mode queues: index behind its last packet */
	struct bo *own;		/* command memory of a large submission, or NULL */
	struct profile *profile;	/* of the event, or NULL */
	const struct onpu_stamp *stamps;	/* in the command memory */
	unsigned int stamp_count;
	struct accel_graph *graph;	/* that it launched, or NULL */
	unsigned int dependency_count;
	struct dependency *dependencies;	/* that the card looks at; or NULL */
	unsigned int buffer_count;
	unsigned int buffer_room;
	struct accel_buffer *buffers[];
};

/* ---- the two kinds of queues ---- */

struct submission;

/* Where the commands of a submission stand. */
struct commands {
	uint8_t *pointer;
	uint64_t va;
	uint32_t size;		/* 0: there are none besides packets in the ring */
	uint32_t packets;	/* that stand there; 0: they go into the ring */
	uint32_t descs_offset;
	uint32_t stamps_offset;
	uint32_t arena_end;
	struct bo *own;
	bool awaited;		/* somebody is going to wait for the submission */
};

struct queue_backend {
	/* A submission of up to so many packets brings them along, instead of standing in command memory. */
	unsigned int inline_packets;
	/* Command memory ends with the SIGNAL of the number. */
	bool signal_in_memory;
	/* Makes the kernel's queue; the rest of the queue is ready. */
	int (*create)(struct accel_queue *queue);
	/* Submits @point; under the queue's lock. Fills in what @job is to keep for it. */
	int (*submit)(struct accel_queue *queue, const struct submission *submission,
		      const struct commands *commands, struct job *job, uint64_t point);
	/*
	 * Waits until @point is over, done or not, at most until @deadline (os_now_ns(); 0: only looks); @locked: the
	 * caller has the queue's lock. 0, -ETIME or another error.
	 */
	int (*wait)(struct accel_queue *queue, uint64_t point, int64_t deadline, bool locked);
	/* The newest point of a stopped queue that is over. */
	uint64_t (*over)(struct accel_queue *queue);
	/* Has what is in flight interrupt; NULL: it does. Under the queue's lock. */
	int (*arm)(struct accel_queue *queue);
	/* What a job that is done gives back; under the queue's lock. */
	void (*retire)(struct accel_queue *queue, const struct job *job);
	/* Ends the kernel's queue and what it executes; 0: the card does not use its memory any more. */
	int (*destroy)(struct accel_queue *queue);
	/* Frees the rest. */
	void (*fini)(struct accel_queue *queue);
};

extern const struct queue_backend kernel_queue, user_queue;

/* The process's side of a user-mode queue; under the queue's lock. */
struct ring {
	struct bo bo;
	struct onpu_packet *packets;	/* NULL: there is no ring */
	volatile uint32_t *doorbell;
	uint32_t tail;		/* index of the next packet, modulo 2^32 */
	uint32_t freed;		/* packets before it are complete */
	uint32_t quiet;		/* submissions since the last that interrupts */
	uint64_t armed;		/* newest point that an interrupt comes at, or behind */
};

struct accel_queue {
	atomic_uint refs;
	struct accel_context *context;
	_Atomic(const struct queue_backend *) backend;
	uint32_t priority;
	atomic_uint id;		/* of the kernel's queue; 0: it is being changed for another (kind.c) */
	uint32_t syncobj;	/* of kernel queues: timeline; point n is submission n */
	struct accel_queue *next;	/* in the list of the device */
	pthread_mutex_t lock;	/* guards what follows, except atomics */
	struct arena arena;
	struct ring ring;
	struct bo fence;	/* of user-mode queues: a page for the word */
	uint64_t *word;		/* where the card stores the number of each submission that is done */
	uint64_t word_va;
	struct job *oldest;
	struct job **newest;
	struct job *spare;
	struct capture *capture;	/* what is submitted goes there; or NULL */
	struct dependency *dependencies;
	unsigned int dependency_count;
	unsigned int dependency_room;
	atomic_uint_fast64_t submitted;
	atomic_uint_fast64_t last_done;	/* valid once the word is WORD_OVER */
	atomic_int notify_fd;	/* eventfd + 1, or 0: notify.c */
	atomic_uint spin_ns;	/* how long to look at the word before sleeping */
	atomic_bool sleepy;	/* who waits mostly has to sleep */
	atomic_uint watchers;	/* jobs of others in flight that wait for this on the card */
	atomic_bool destroyed;
	atomic_bool profiling;	/* new submissions with an event get stamps */
	pthread_mutex_t state_lock;	/* guards state */
	atomic_bool state_final;
	struct drm_onpu_queue_get_state state;
};

/* The word of a queue that ended with work undone: whoever waits for it on the card goes on. */
#define WORD_OVER	UINT64_MAX

static inline const struct queue_backend *queue_backend(struct accel_queue *queue)
{
	return atomic_load_explicit(&queue->backend, memory_order_acquire);
}

/* ---- submit.c ---- */

/* What to submit: in a MATMUL packet, desc_va is the index of its descriptor. */
struct submission {
	const struct onpu_packet *packets;
	unsigned int packet_count;
	const struct onpu_matmul_desc *descs;
	unsigned int desc_count;
	struct accel_buffer *const *buffers;
	unsigned int buffer_count;
	struct profile *profile;	/* packets get stamps for it; or NULL */
	struct accel_graph *graph;	/* instead of packets; or NULL */
};

/* Submits and hands out an event if @event is not NULL. */
int queue_submit_event(struct accel_queue *queue, const struct submission *submission,
		       struct accel_event **event);
/* Submits and waits. */
int queue_submit_wait(struct accel_queue *queue, const struct submission *submission);
/* The packet at @index as the card is to have it. */
struct onpu_packet submission_packet(const struct submission *submission,
				     const struct commands *commands, unsigned int index);
/* The packet that stores the number of a submission. */
struct onpu_packet queue_signal(const struct accel_queue *queue, uint64_t point);

/* ---- graph.c ---- */

/* To what the queue captures, under its lock. */
int capture_add(struct accel_queue *queue, const struct submission *submission);
void capture_drop(struct capture *capture);
void graph_get(struct accel_graph *graph);
void graph_put(struct accel_graph *graph);
/* Where the packets of a graph stand, and how many. */
uint64_t graph_commands(const struct accel_graph *graph, uint32_t *count);

/* ---- queue.c ---- */

void queue_get(struct accel_queue *queue);
void queue_put(struct accel_queue *queue);
int queue_check(struct accel_queue *queue);
/* Number of the newest submission that is done without error. */
uint64_t queue_done(const struct accel_queue *queue);
/*
 * Waits for submission @point: 0, -ETIME, or its error with the detail. When earlier
 * work was at fault, @blame_first tells of that instead.
 */
int queue_wait_point(struct accel_queue *queue, uint64_t point, uint64_t timeout_ns,
		     bool blame_first);
int queue_wait(struct accel_queue *queue, uint64_t point, uint64_t timeout_ns);
/* Like queue_wait() for the kernel's side only: no detail, no error of the submission. */
int queue_wait_over(struct accel_queue *queue, uint64_t point, uint64_t timeout_ns, bool locked);
/* Frees what finished submissions hold, if the lock is free. */
void queue_retire(struct accel_queue *queue);
void queue_retire_locked(struct accel_queue *queue, uint64_t point);
/* A job for @buffers buffers, or NULL; and back. Under the lock. */
struct job *queue_get_job(struct accel_queue *queue, unsigned int buffers);
void queue_put_job(struct accel_queue *queue, struct job *job);
int syncobj_create(struct accel_device *device, uint32_t *handle);
void syncobj_destroy(struct accel_device *device, uint32_t handle);

/* ---- depend.c ---- */

/* Makes what follows wait for @syncobj, which belongs to the queue from then on; under the lock. */
int queue_add_fence(struct accel_queue *queue, uint32_t syncobj);
/* Lets go of those that are done; under the lock. */
void queue_prune_dependencies(struct accel_queue *queue);
/* Lets go of all dependencies; under the lock. */
void queue_drop_dependencies(struct accel_queue *queue);
void dependency_drop(struct accel_queue *queue, struct dependency *dependency);
/*
 * Looks whether queues that others wait for on the card have stopped, so that those go on: nobody
 * else would tell them.
 */
void device_look_at_watched(struct accel_device *device);

/* ---- share.c ---- */

/*
 * Makes what follows wait for @point of a queue of another open device, by fences: so both contexts
 * get kernel queues. Not under a lock.
 */
int queue_wait_across(struct accel_queue *queue, struct accel_queue *other, uint64_t point);

/* ---- uqueue.c ---- */

/* Whether user-mode queues can be had, and are wanted. */
int user_queues_init(struct accel_device *device);
/* Frees what a user-mode queue has that is off the card, but its word. */
void user_queue_drop_ring(struct accel_queue *queue);

/* ---- notify.c ---- */

/* Whether there is a descriptor for event loops: work with an event is to interrupt. */
bool queue_notifies(const struct accel_queue *queue);
/* Makes it readable, if there is one. */
void queue_notify(struct accel_queue *queue);
/* For the kernel's new queue in the place of the old one; under the lock. */
int queue_notify_again(struct accel_queue *queue);
void queue_notify_fini(struct accel_queue *queue);

/* ---- status.c ---- */

/* Reads the state from the kernel, or the last one of a stopped queue. */
int queue_state(struct accel_queue *queue, struct drm_onpu_queue_get_state *state);
/* Whether it is known to have stopped. */
bool queue_is_over(struct accel_queue *queue);
/* From here on it counts as stopped, for no reason that the kernel knows. */
void queue_give_up(struct accel_queue *queue);
/* Fills in why submission @point failed, which the kernel says is over. */
int queue_failure(struct accel_queue *queue, uint64_t point, struct accel_status *status);
/* Records the detail text of a failure and returns its error. */
int queue_report(const struct accel_status *status);
/* The error for a queue that takes no more work. */
int queue_dead(struct accel_queue *queue);
/* Lets those go on who wait on the card for work that will not be done. */
void queue_release_watchers(struct accel_queue *queue);

#endif

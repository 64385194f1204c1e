/* SPDX-License-Identifier: MIT */
/*
 * Worker pool of the card model.
 *
 * A pool owns N threads. Two kinds of work run on it:
 *
 *  - one-shot tasks (onpu_pool_submit), first in, first out, for example the next step of a
 *    queue slot's state machine;
 *  - data-parallel loops (onpu_pool_for), called from anywhere, usually from inside a task:
 *    the caller works on its own loop, idle workers join it. Loops nest and several run at once.
 *
 * A worker looks for tasks before loops and again between two indexes of a loop that it has
 * joined, so a long matmul never keeps a short packet of another queue waiting for longer than
 * one index. The caller of a loop stays with it until it is done.
 *
 * How many threads compute: N when loops are called from tasks, N + 1 when from a foreign thread.
 * With N = 0 loops run inline and tasks run when somebody calls onpu_pool_run_one(): this is
 * the deterministic single-threaded mode.
 */
#ifndef ONPU_MODEL_POOL_H
#define ONPU_MODEL_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ONPU_POOL_MAX_THREADS 256u

struct onpu_pool;

/*
 * A one-shot task, owned by the submitter (put it into your own struct; no allocation here).
 * It is off the queue before fn runs: fn may submit it again, or free it.
 * Submitting a task that is still queued is a bug of the caller; see onpu_pool_submit().
 */
struct onpu_task {
	void (*fn)(struct onpu_task *task);
	struct onpu_task *next;		/* the pool's */
	atomic_bool queued;		/* the pool's */
};

static inline void onpu_task_init(struct onpu_task *task, void (*fn)(struct onpu_task *))
{
	task->fn = fn;
	task->next = NULL;
	atomic_init(&task->queued, false);
}

/* name: threads are called "<name>-<i>" (cut to 15 characters). NULL on failure, errno set. */
struct onpu_pool *onpu_pool_create(unsigned int threads, const char *name);

/*
 * Runs every queued task (those too that tasks still submit), then stops and joins the workers.
 * The caller must have seen to it that tasks do not resubmit themselves for ever and that no
 * other thread uses the pool any more. Must not be called from one of its workers. NULL is fine.
 */
void onpu_pool_destroy(struct onpu_pool *pool);

unsigned int onpu_pool_threads(const struct onpu_pool *pool);

/*
 * Whether a loop that begins now would have to do without others: there is nobody else, or all have something
 * to do. Only a guess, since they may be done in a moment.
 */
bool onpu_pool_alone(const struct onpu_pool *pool);

/* Tasks that no worker has begun. */
size_t onpu_pool_tasks(const struct onpu_pool *pool);

/* True on a thread of this pool. */
bool onpu_pool_on_worker(const struct onpu_pool *pool);

/*
 * Queue a task; callable from any thread, never blocks for long, never runs the task inline.
 * Returns false, and does nothing, if the task is queued already (so it can serve as a "kick":
 * a kick during fn queues one more run).
 */
bool onpu_pool_submit(struct onpu_pool *pool, struct onpu_task *task);

/*
 * The same for a task that submits itself as the last thing that it does: if that is on a worker, the
 * worker looks for work next, and nobody is woken for what it can do itself.
 */
bool onpu_pool_submit_again(struct onpu_pool *pool, struct onpu_task *task);

/* Run one queued task in the calling thread; false if none was queued. */
bool onpu_pool_run_one(struct onpu_pool *pool);

/*
 * Call fn(arg, i) once for every i in [0, count), on the caller and on idle workers, in any
 * order, and return when all calls have returned. With cancel non-NULL no further index is
 * started once *cancel is true. Returns true if every index ran. pool may be NULL: runs inline.
 */
typedef void (*onpu_pool_fn)(void *arg, size_t index);
bool onpu_pool_for(struct onpu_pool *pool, size_t count, onpu_pool_fn fn, void *arg,
		   const atomic_bool *cancel);

/* How long an idle worker spins before it sleeps (default 50 us; 0: sleep at once). */
void onpu_pool_set_spin(struct onpu_pool *pool, uint64_t ns);

/*
 * Scratch memory that is kept by the pool between uses, so that hot paths do not allocate:
 * at least size bytes, 4 KiB aligned, content undefined. NULL if there is no memory.
 * Every get needs its put, from any thread, before destroy.
 */
void *onpu_pool_scratch_get(struct onpu_pool *pool, size_t size);
void onpu_pool_scratch_put(struct onpu_pool *pool, void *scratch);

#endif

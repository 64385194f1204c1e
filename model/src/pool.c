// SPDX-License-Identifier: MIT
/*
 * Worker pool: one-shot tasks and parallel loops (pool.h says what it does).
 *
 * Idea: one mutex guards the two work lists (tasks, loops); it is held for a few instructions
 * only. The indexes of a loop are claimed by an atomic counter without the mutex. Idle workers
 * watch an atomic "epoch", which every new piece of work advances, for some tens of microseconds
 * (waking a sleeping thread costs as much), then sleep on a condition variable.
 *
 * A loop lives on its caller's stack. Workers attach and detach under the mutex, and the caller
 * returns only after it has seen, under the mutex, that nobody is attached: so nothing points
 * to the loop afterwards. A claimed index never waits for anything but loops that it starts
 * itself, so nesting cannot deadlock.
 *
 * Locking: pool->lock is a leaf: no callback runs under it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "pool.h"

#define SPIN_DEFAULT_NS		50000u
#define SPIN_ROUNDS		16u	/* pauses between two looks at the clock */
#define SCRATCH_KEEP		8u	/* blocks that wait for their next use */
#define SCRATCH_HEADER		4096u	/* keeps the user's part page-aligned */
#define HUGE_PAGE		((size_t)2 << 20)

struct loop {
	onpu_pool_fn fn;
	void *arg;
	size_t count;
	const atomic_bool *cancel;
	atomic_size_t next;		/* first index that nobody has claimed */
	atomic_size_t done;		/* indexes that have run */
	atomic_uint attached;		/* workers inside; written under the lock */
	struct loop *prev, *link;
};

struct scratch {
	struct scratch *link;
	size_t size;			/* of the whole block */
};

struct onpu_pool {
	pthread_mutex_t lock;
	pthread_cond_t work;		/* sleeping workers */
	pthread_cond_t detached;	/* callers waiting for their loop's workers */
	atomic_uint epoch;		/* advances under the lock with each new work */
	atomic_size_t tasks;		/* length of the task list; written under the lock */
	struct onpu_task *head, **tail;
	struct loop *loops;
	atomic_uint idle;		/* workers that spin or sleep; written under the lock */
	unsigned int spinning;		/* workers that look at the epoch */
	unsigned int sleeping;		/* workers that wait for the condition */
	bool stop;
	_Atomic uint64_t spin_ns;
	struct scratch *scratch;
	unsigned int scratch_count;
	unsigned int threads;
	pthread_t thread[];
};

static _Thread_local const struct onpu_pool *this_pool;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield");
#endif
}

/* Wake workers so that at least want of them are about to look for work. */
static void wake_locked(struct onpu_pool *pool, size_t want)
{
	atomic_fetch_add_explicit(&pool->epoch, 1, memory_order_release);
	if (want <= pool->spinning || pool->sleeping == 0)
		return;
	want -= pool->spinning;
	if (want >= pool->sleeping) {
		pthread_cond_broadcast(&pool->work);
		return;
	}
	while (want-- > 0)
		pthread_cond_signal(&pool->work);
}

static struct onpu_task *pop_task_locked(struct onpu_pool *pool)
{
	struct onpu_task *task = pool->head;

	if (!task)
		return NULL;
	pool->head = task->next;
	if (!pool->head)
		pool->tail = &pool->head;
	atomic_fetch_sub_explicit(&pool->tasks, 1, memory_order_relaxed);
	task->next = NULL;
	/* An exchange, so that the run sees what a refused submitter wrote before it kicked. */
	atomic_exchange(&task->queued, false);
	return task;
}

static struct loop *find_loop_locked(struct onpu_pool *pool)
{
	struct loop *loop;

	for (loop = pool->loops; loop; loop = loop->link)
		if (atomic_load_explicit(&loop->next, memory_order_relaxed) < loop->count)
			return loop;
	return NULL;
}

/* Claim and run indexes until there are none; a worker (pool set) leaves for queued tasks. */
static void run_loop(struct loop *loop, const struct onpu_pool *leave_for)
{
	size_t done = 0;

	for (;;) {
		size_t i;

		if (loop->cancel && atomic_load_explicit(loop->cancel, memory_order_acquire)) {
			/* Claims what is left, so that nobody starts any of it. */
			atomic_store_explicit(&loop->next, loop->count, memory_order_relaxed);
			break;
		}
		/* Plain look first: next must not run away when many find the loop empty. */
		if (atomic_load_explicit(&loop->next, memory_order_relaxed) >= loop->count)
			break;
		i = atomic_fetch_add_explicit(&loop->next, 1, memory_order_relaxed);
		if (i >= loop->count)
			break;
		loop->fn(loop->arg, i);
		done++;
		if (leave_for && atomic_load_explicit(&leave_for->tasks, memory_order_relaxed))
			break;
	}
	atomic_fetch_add_explicit(&loop->done, done, memory_order_relaxed);
}

static bool spin_for_work(struct onpu_pool *pool, unsigned int seen)
{
	uint64_t limit = atomic_load_explicit(&pool->spin_ns, memory_order_relaxed);
	uint64_t start;

	if (limit == 0)
		return false;
	start = now_ns();
	do {
		for (unsigned int i = 0; i < SPIN_ROUNDS; i++) {
			if (atomic_load_explicit(&pool->epoch, memory_order_acquire) != seen)
				return true;
			cpu_relax();
		}
	} while (now_ns() - start < limit);
	return false;
}

/* Called and returns with the lock held; something may have come meanwhile. */
static void idle_locked(struct onpu_pool *pool)
{
	unsigned int seen = atomic_load_explicit(&pool->epoch, memory_order_relaxed);
	bool found;

	atomic_fetch_add_explicit(&pool->idle, 1, memory_order_relaxed);
	pool->spinning++;
	pthread_mutex_unlock(&pool->lock);
	found = spin_for_work(pool, seen);
	pthread_mutex_lock(&pool->lock);
	pool->spinning--;
	if (!found) {
		pool->sleeping++;
		while (!pool->stop &&
		       atomic_load_explicit(&pool->epoch, memory_order_relaxed) == seen)
			pthread_cond_wait(&pool->work, &pool->lock);
		pool->sleeping--;
	}
	atomic_fetch_sub_explicit(&pool->idle, 1, memory_order_relaxed);
}

static void *worker(void *arg)
{
	struct onpu_pool *pool = arg;

	this_pool = pool;
	pthread_mutex_lock(&pool->lock);
	for (;;) {
		struct onpu_task *task = pop_task_locked(pool);
		struct loop *loop;

		if (task) {
			pthread_mutex_unlock(&pool->lock);
			task->fn(task);
			pthread_mutex_lock(&pool->lock);
			continue;
		}
		loop = find_loop_locked(pool);
		if (loop) {
			atomic_fetch_add_explicit(&loop->attached, 1, memory_order_relaxed);
			pthread_mutex_unlock(&pool->lock);
			run_loop(loop, pool);
			pthread_mutex_lock(&pool->lock);
			if (atomic_fetch_sub_explicit(&loop->attached, 1, memory_order_release) == 1)
				pthread_cond_broadcast(&pool->detached);
			continue;
		}
		if (pool->stop)
			break;
		idle_locked(pool);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

static void stop_workers(struct onpu_pool *pool, unsigned int started)
{
	pthread_mutex_lock(&pool->lock);
	pool->stop = true;
	atomic_fetch_add_explicit(&pool->epoch, 1, memory_order_release);
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned int i = 0; i < started; i++)
		pthread_join(pool->thread[i], NULL);
}

static void free_pool(struct onpu_pool *pool)
{
	while (pool->scratch) {
		struct scratch *s = pool->scratch;

		pool->scratch = s->link;
		free(s);
	}
	pthread_cond_destroy(&pool->detached);
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

static int start_workers(struct onpu_pool *pool, const char *name)
{
	sigset_t all, old;
	int err = 0;

	/* Signals belong to the program around us, not to its card's threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (unsigned int i = 0; i < pool->threads; i++) {
		char full[32];

		err = pthread_create(&pool->thread[i], NULL, worker, pool);
		if (err) {
			stop_workers(pool, i);
			break;
		}
		snprintf(full, sizeof(full), "%.10s-%u", name ? name : "onpu", i);
		full[15] = '\0';
		pthread_setname_np(pool->thread[i], full);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}

struct onpu_pool *onpu_pool_create(unsigned int threads, const char *name)
{
	struct onpu_pool *pool;
	int err;

	if (threads > ONPU_POOL_MAX_THREADS) {
		errno = EINVAL;
		return NULL;
	}
	pool = calloc(1, sizeof(*pool) + threads * sizeof(pool->thread[0]));
	if (!pool)
		return NULL;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->work, NULL);
	pthread_cond_init(&pool->detached, NULL);
	pool->tail = &pool->head;
	pool->threads = threads;
	atomic_store(&pool->spin_ns, SPIN_DEFAULT_NS);
	err = start_workers(pool, name);
	if (err) {
		free_pool(pool);
		errno = err;
		return NULL;
	}
	return pool;
}

void onpu_pool_destroy(struct onpu_pool *pool)
{
	if (!pool)
		return;
	/* Workers stop only when they find the task list empty; with none, run it here. */
	while (pool->threads == 0 && onpu_pool_run_one(pool))
		;
	stop_workers(pool, pool->threads);
	free_pool(pool);
}

unsigned int onpu_pool_threads(const struct onpu_pool *pool)
{
	return pool ? pool->threads : 0;
}

bool onpu_pool_alone(const struct onpu_pool *pool)
{
	return !pool || atomic_load_explicit(&pool->idle, memory_order_relaxed) == 0;
}

size_t onpu_pool_tasks(const struct onpu_pool *pool)
{
	return pool ? atomic_load_explicit(&pool->tasks, memory_order_relaxed) : 0;
}

bool onpu_pool_on_worker(const struct onpu_pool *pool)
{
	return pool && this_pool == pool;
}

void onpu_pool_set_spin(struct onpu_pool *pool, uint64_t ns)
{
	atomic_store_explicit(&pool->spin_ns, ns, memory_order_relaxed);
}

static bool submit(struct onpu_pool *pool, struct onpu_task *task, size_t looking)
{
	size_t queued;

	if (atomic_exchange(&task->queued, true))
		return false;
	pthread_mutex_lock(&pool->lock);
	task->next = NULL;
	*pool->tail = task;
	pool->tail = &task->next;
	queued = atomic_fetch_add_explicit(&pool->tasks, 1, memory_order_relaxed) + 1;
	if (queued > looking)
		wake_locked(pool, queued - looking);
	pthread_mutex_unlock(&pool->lock);
	return true;
}

bool onpu_pool_submit(struct onpu_pool *pool, struct onpu_task *task)
{
	return submit(pool, task, 0);
}

bool onpu_pool_submit_again(struct onpu_pool *pool, struct onpu_task *task)
{
	return submit(pool, task, this_pool == pool);
}

bool onpu_pool_run_one(struct onpu_pool *pool)
{
	struct onpu_task *task;

	pthread_mutex_lock(&pool->lock);
	task = pop_task_locked(pool);
	pthread_mutex_unlock(&pool->lock);
	if (!task)
		return false;
	task->fn(task);
	return true;
}

static void publish_loop(struct onpu_pool *pool, struct loop *loop)
{
	size_t helpers = loop->count - 1;

	pthread_mutex_lock(&pool->lock);
	loop->link = pool->loops;
	if (loop->link)
		loop->link->prev = loop;
	pool->loops = loop;
	wake_locked(pool, helpers < pool->threads ? helpers : pool->threads);
	pthread_mutex_unlock(&pool->lock);
}

/* Every index is claimed: wait for those that others still run, then forget the loop. */
static void retire_loop(struct onpu_pool *pool, struct loop *loop)
{
	uint64_t limit = atomic_load_explicit(&pool->spin_ns, memory_order_relaxed);
	uint64_t start = now_ns();

	while (atomic_load_explicit(&loop->attached, memory_order_acquire) &&
	       now_ns() - start < limit)
		for (unsigned int i = 0; i < SPIN_ROUNDS; i++)
			cpu_relax();

	pthread_mutex_lock(&pool->lock);
	while (atomic_load_explicit(&loop->attached, memory_order_relaxed))
		pthread_cond_wait(&pool->detached, &pool->lock);
	if (loop->prev)
		loop->prev->link = loop->link;
	else
		pool->loops = loop->link;
	if (loop->link)
		loop->link->prev = loop->prev;
	pthread_mutex_unlock(&pool->lock);
}

bool onpu_pool_for(struct onpu_pool *pool, size_t count, onpu_pool_fn fn, void *arg,
		   const atomic_bool *cancel)
{
	/* A pool's only worker has nobody to share with. */
	bool alone = !pool || pool->threads == 0 ||
		     (pool->threads == 1 && this_pool == pool);
	struct loop loop = { .fn = fn, .arg = arg, .count = count, .cancel = cancel };

	if (count < 2 || alone) {
		run_loop(&loop, NULL);
		return atomic_load_explicit(&loop.done, memory_order_relaxed) == count;
	}
	publish_loop(pool, &loop);
	run_loop(&loop, NULL);
	retire_loop(pool, &loop);
	return atomic_load_explicit(&loop.done, memory_order_relaxed) == count;
}

/* A cached block that is large enough, but not wastefully so; removed from the cache. */
static struct scratch *take_scratch(struct onpu_pool *pool, size_t size)
{
	struct scratch **p, *found = NULL;

	pthread_mutex_lock(&pool->lock);
	for (p = &pool->scratch; *p; p = &(*p)->link) {
		if ((*p)->size >= size && (*p)->size / 8 <= size) {
			found = *p;
			*p = found->link;
			pool->scratch_count--;
			break;
		}
	}
	pthread_mutex_unlock(&pool->lock);
	return found;
}

void *onpu_pool_scratch_get(struct onpu_pool *pool, size_t size)
{
	struct scratch *s = NULL;
	size_t align = 4096;

	if (size > SIZE_MAX / 2)
		return NULL;
	size += SCRATCH_HEADER;
	if (size >= HUGE_PAGE)
		align = HUGE_PAGE;
	size = (size + align - 1) & ~(align - 1);
	if (pool)
		s = take_scratch(pool, size);
	if (!s) {
		s = aligned_alloc(align, size);
		if (!s)
			return NULL;
#ifdef MADV_HUGEPAGE
		if (align == HUGE_PAGE)
			madvise(s, size, MADV_HUGEPAGE);	/* only a wish */
#endif
		s->size = size;
	}
	s->link = NULL;
	return (uint8_t *)s + SCRATCH_HEADER;
}

void onpu_pool_scratch_put(struct onpu_pool *pool, void *scratch)
{
	struct scratch *s;

	if (!scratch)
		return;
	s = (struct scratch *)((uint8_t *)scratch - SCRATCH_HEADER);
	if (pool) {
		pthread_mutex_lock(&pool->lock);
		if (pool->scratch_count < SCRATCH_KEEP) {
			s->link = pool->scratch;
			pool->scratch = s;
			pool->scratch_count++;
			s = NULL;
		}
		pthread_mutex_unlock(&pool->lock);
	}
	free(s);
}

// SPDX-License-Identifier: MIT
/* Worker pool: tasks, loops, nesting, cancellation, kicks, destruction, scratch memory. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include "pool.h"

#define MAX_INDEX 5000

struct marks {
	atomic_uint hit[MAX_INDEX];
	unsigned int plain[MAX_INDEX];	/* written by whoever runs the index */
};

static void mark(void *arg, size_t i)
{
	struct marks *m = arg;

	m->plain[i] = (unsigned int)i * 3 + 1;
	atomic_fetch_add(&m->hit[i], 1);
}

static void test_loop(void **state)
{
	static const size_t counts[] = { 0, 1, 2, 3, 17, 1000, MAX_INDEX };
	struct marks *m = malloc(sizeof(*m));

	(void)state;
	assert_non_null(m);
	for (unsigned int threads = 0; threads <= 5; threads++) {
		struct onpu_pool *pool = threads == 5 ? NULL : onpu_pool_create(threads, "loop");

		assert_int_equal(onpu_pool_threads(pool), threads == 5 ? 0 : threads);
		for (unsigned int round = 0; round < 20; round++)
			for (unsigned int c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
				memset(m, 0, sizeof(*m));
				assert_true(onpu_pool_for(pool, counts[c], mark, m, NULL));
				for (size_t i = 0; i < MAX_INDEX; i++) {
					assert_int_equal(atomic_load(&m->hit[i]), i < counts[c]);
					assert_int_equal(m->plain[i],
							 i < counts[c] ? i * 3 + 1 : 0);
				}
			}
		onpu_pool_destroy(pool);
	}
	free(m);
}

/* Loops in loops in loops. */
struct nest {
	struct onpu_pool *pool;
	atomic_uint leaves;
	atomic_bool failed;
	unsigned int depth;
	struct nest *root;
};

static void nest_fn(void *arg, size_t i)
{
	struct nest *n = arg;
	struct nest inner = { .pool = n->pool, .depth = n->depth - 1, .root = n->root };

	(void)i;
	if (n->depth == 0)
		atomic_fetch_add(&n->root->leaves, 1);
	else if (!onpu_pool_for(n->pool, 5, nest_fn, &inner, NULL))
		atomic_store(&n->root->failed, true);
}

static void test_nested(void **state)
{
	(void)state;
	for (unsigned int threads = 0; threads <= 4; threads++) {
		struct onpu_pool *pool = onpu_pool_create(threads, "nest");

		for (unsigned int round = 0; round < 30; round++) {
			struct nest root = { .pool = pool, .depth = 3 };

			root.root = &root;
			assert_true(onpu_pool_for(pool, 5, nest_fn, &root, NULL));
			assert_int_equal(atomic_load(&root.leaves), 625);
			assert_false(atomic_load(&root.failed));
		}
		onpu_pool_destroy(pool);
	}
}

struct cancel_loop {
	atomic_bool cancel;
	atomic_uint ran;
};

static void cancel_fn(void *arg, size_t i)
{
	struct cancel_loop *c = arg;

	(void)i;
	if (atomic_fetch_add(&c->ran, 1) >= 9)
		atomic_store(&c->cancel, true);
}

static void test_cancel(void **state)
{
	(void)state;
	for (unsigned int threads = 0; threads <= 4; threads++) {
		struct onpu_pool *pool = onpu_pool_create(threads, "cancel");

		for (unsigned int round = 0; round < 50; round++) {
			struct cancel_loop c = { .ran = 0 };

			assert_false(onpu_pool_for(pool, 100000, cancel_fn, &c, &c.cancel));
			/* Each thread finishes what it had claimed, no more. */
			assert_true(atomic_load(&c.ran) >= 10);
			assert_true(atomic_load(&c.ran) <= 10 + threads);
			/* Set before: nothing runs. */
			atomic_store(&c.ran, 0);
			assert_false(onpu_pool_for(pool, 3, cancel_fn, &c, &c.cancel));
			assert_int_equal(atomic_load(&c.ran), 0);
			/* Nothing to do is done. */
			assert_true(onpu_pool_for(pool, 0, cancel_fn, &c, &c.cancel));
		}
		onpu_pool_destroy(pool);
	}
}

/* Tasks. */
struct job {
	struct onpu_task task;
	struct onpu_pool *pool;
	atomic_uint *count;
	unsigned int again;	/* resubmissions from inside */
	bool nested_loop;
	bool wrong_thread;
};

static void count_fn(void *arg, size_t i)
{
	(void)i;
	atomic_fetch_add((atomic_uint *)arg, 1);
}

static void job_fn(struct onpu_task *task)
{
	struct job *job = (struct job *)task;

	if (!onpu_pool_on_worker(job->pool))
		job->wrong_thread = true;
	if (job->nested_loop)
		onpu_pool_for(job->pool, 10, count_fn, job->count, NULL);
	atomic_fetch_add(job->count, 1);
	if (job->again > 0) {
		job->again--;
		if (!onpu_pool_submit(job->pool, task))
			job->wrong_thread = true;
	}
}

static void test_tasks(void **state)
{
	(void)state;
	for (unsigned int threads = 1; threads <= 4; threads++) {
		struct onpu_pool *pool = onpu_pool_create(threads, "tasks");
		static struct job jobs[200];
		atomic_uint count = 0;

		assert_false(onpu_pool_on_worker(pool));
		memset(jobs, 0, sizeof(jobs));
		for (unsigned int i = 0; i < 200; i++) {
			jobs[i].pool = pool;
			jobs[i].count = &count;
			jobs[i].again = i % 4;
			jobs[i].nested_loop = i % 3 == 0;
			onpu_task_init(&jobs[i].task, job_fn);
			assert_true(onpu_pool_submit(pool, &jobs[i].task));
		}
		/* Destroy runs all that is queued, resubmissions too. */
		onpu_pool_destroy(pool);
		unsigned int expect = 0;

		for (unsigned int i = 0; i < 200; i++) {
			expect += (1 + i % 4) * (i % 3 == 0 ? 11 : 1);
			assert_false(jobs[i].wrong_thread);
		}
		assert_int_equal(atomic_load(&count), expect);
	}
}

/* First in, first out, when one thread runs them; and by hand when there is none. */
struct ordered {
	struct onpu_task task;
	unsigned int id, *log, *n;
};

static void ordered_fn(struct onpu_task *task)
{
	struct ordered *o = (struct ordered *)task;

	o->log[(*o->n)++] = o->id;
}

static void test_order(void **state)
{
	(void)state;
	for (unsigned int threads = 0; threads < 2; threads++) {
		struct onpu_pool *pool = onpu_pool_create(threads, "order");
		struct ordered o[50];
		unsigned int log[50], n = 0;

		for (unsigned int i = 0; i < 50; i++) {
			o[i].id = i;
			o[i].log = log;
			o[i].n = &n;
			onpu_task_init(&o[i].task, ordered_fn);
			assert_true(onpu_pool_submit(pool, &o[i].task));
		}
		if (threads == 0) {
			assert_int_equal(n, 0);
			assert_false(onpu_pool_submit(pool, &o[3].task));	/* queued already */
			assert_true(onpu_pool_run_one(pool));
			assert_int_equal(n, 1);
			for (unsigned int i = 1; i < 30; i++)
				assert_true(onpu_pool_run_one(pool));
		}
		onpu_pool_destroy(pool);	/* runs the other 20 */
		assert_int_equal(n, 50);
		for (unsigned int i = 0; i < 50; i++)
			assert_int_equal(log[i], i);
	}
}

/* A kick is never lost: whatever was written before it is seen by a run after it. */
struct kicked {
	struct onpu_task task;
	atomic_uint written;
	atomic_uint seen;
};

static void kicked_fn(struct onpu_task *task)
{
	struct kicked *k = (struct kicked *)task;

	atomic_store_explicit(&k->seen,
			      atomic_load_explicit(&k->written, memory_order_relaxed),
			      memory_order_release);
}

static void test_kicks(void **state)
{
	struct onpu_pool *pool = onpu_pool_create(2, "kick");
	struct kicked k = { .written = 0 };

	(void)state;
	onpu_task_init(&k.task, kicked_fn);
	for (unsigned int i = 1; i <= 20000; i++) {
		atomic_store_explicit(&k.written, i, memory_order_relaxed);
		onpu_pool_submit(pool, &k.task);
		if (i % 1000 == 0)
			while (atomic_load_explicit(&k.seen, memory_order_acquire) != i)
				sched_yield();
	}
	onpu_pool_destroy(pool);
	assert_int_equal(atomic_load(&k.seen), 20000);
}

/* Sleeping workers wake for both kinds of work; with and without spinning. */
static void test_sleep_wake(void **state)
{
	static const uint64_t spins[] = { 0, 1000, 50000 };

	(void)state;
	for (unsigned int s = 0; s < 3; s++) {
		struct onpu_pool *pool = onpu_pool_create(3, "sleep");
		atomic_uint count = 0;
		struct job job = { .pool = pool, .count = &count };

		onpu_pool_set_spin(pool, spins[s]);
		onpu_task_init(&job.task, job_fn);
		for (unsigned int i = 0; i < 60; i++) {
			struct timespec ts = { 0, (long)(i % 4) * 40000 };

			nanosleep(&ts, NULL);
			atomic_store(&count, 0);
			assert_true(onpu_pool_submit(pool, &job.task));
			while (atomic_load(&count) != 1)
				sched_yield();
			nanosleep(&ts, NULL);
			assert_true(onpu_pool_for(pool, 7, count_fn, &count, NULL));
			assert_int_equal(atomic_load(&count), 8);
		}
		onpu_pool_destroy(pool);
	}
}

/* A worker in a long loop leaves it for a task. */
struct busy {
	struct onpu_pool *pool;
	struct job *job;
	atomic_uint *count;
	atomic_size_t at;	/* index at which the task had run */
	atomic_bool sent;
};

static void busy_fn(void *arg, size_t i)
{
	struct busy *b = arg;
	struct timespec ts = { 0, 1000000 };

	nanosleep(&ts, NULL);
	if (i == 5 && !atomic_exchange(&b->sent, true))
		onpu_pool_submit(b->pool, &b->job->task);
	if (atomic_load(b->count) && atomic_load(&b->at) == 0)
		atomic_store(&b->at, i);
}

static void test_task_before_loop(void **state)
{
	struct onpu_pool *pool = onpu_pool_create(1, "busy");
	atomic_uint count = 0;
	struct job job = { .pool = pool, .count = &count };
	struct busy b = { .pool = pool, .job = &job, .count = &count };

	(void)state;
	onpu_task_init(&job.task, job_fn);
	assert_true(onpu_pool_for(pool, 300, busy_fn, &b, NULL));
	assert_int_equal(atomic_load(&count), 1);
	assert_true(atomic_load(&b.at) > 0 && atomic_load(&b.at) < 250);
	onpu_pool_destroy(pool);
}

/* Loops from many foreign threads at once. */
static void *foreign(void *arg)
{
	for (unsigned int i = 0; i < 200; i++) {
		atomic_uint count = 0;

		if (!onpu_pool_for(arg, 1 + i % 13, count_fn, &count, NULL) ||
		    atomic_load(&count) != 1 + i % 13)
			return arg;
	}
	return NULL;
}

static void test_foreign(void **state)
{
	struct onpu_pool *pool = onpu_pool_create(3, "foreign");
	pthread_t t[4];
	void *failed;

	(void)state;
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, foreign, pool), 0);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(t[i], &failed), 0);
		assert_null(failed);
	}
	onpu_pool_destroy(pool);
}

struct asks {
	struct onpu_task task;
	struct onpu_pool *pool;
	atomic_bool alone, asked;
};

static void ask(struct onpu_task *task)
{
	struct asks *a = (struct asks *)task;	/* its first member */

	atomic_store(&a->alone, onpu_pool_alone(a->pool));
	atomic_store(&a->asked, true);
}

/* A pool without threads, or whose only one asks, has nobody else; one at rest has. */
static void test_alone(void **state)
{
	struct asks a = { 0 };

	(void)state;
	assert_true(onpu_pool_alone(NULL));
	a.pool = onpu_pool_create(0, "none");
	assert_true(onpu_pool_alone(a.pool));
	onpu_pool_destroy(a.pool);
	a.pool = onpu_pool_create(1, "one");
	for (unsigned int i = 0; i < 20; i++) {
		while (onpu_pool_alone(a.pool))
			sched_yield();	/* until it has come to rest */
		onpu_task_init(&a.task, ask);
		atomic_store(&a.asked, false);
		onpu_pool_submit(a.pool, &a.task);
		while (!atomic_load(&a.asked))
			sched_yield();
		assert_true(atomic_load(&a.alone));
	}
	onpu_pool_destroy(a.pool);
}

static void test_create(void **state)
{
	(void)state;
	errno = 0;
	assert_null(onpu_pool_create(ONPU_POOL_MAX_THREADS + 1, "many"));
	assert_int_equal(errno, EINVAL);
	for (unsigned int i = 0; i < 100; i++)
		onpu_pool_destroy(onpu_pool_create(i % 5, i & 1 ? NULL : "a-name-that-is-too-long"));
	onpu_pool_destroy(NULL);
}

static void test_scratch(void **state)
{
	static const size_t sizes[] = { 1, 4096, 5000, 1 << 20, (3 << 20) + 1, 9 << 20 };

	(void)state;
	for (unsigned int with_pool = 0; with_pool < 2; with_pool++) {
		struct onpu_pool *pool = with_pool ? onpu_pool_create(0, NULL) : NULL;
		void *p[24], *again;

		for (unsigned int i = 0; i < 24; i++) {
			p[i] = onpu_pool_scratch_get(pool, sizes[i % 6]);
			assert_non_null(p[i]);
			assert_int_equal((uintptr_t)p[i] % 4096, 0);
			memset(p[i], (int)i, sizes[i % 6]);
		}
		for (unsigned int i = 0; i < 24; i++) {
			assert_int_equal(((uint8_t *)p[i])[sizes[i % 6] - 1], i);
			onpu_pool_scratch_put(pool, p[i]);
		}
		if (pool) {	/* kept: the same block comes back */
			p[0] = onpu_pool_scratch_get(pool, 5000);
			onpu_pool_scratch_put(pool, p[0]);
			again = onpu_pool_scratch_get(pool, 5000);
			assert_ptr_equal(p[0], again);
			onpu_pool_scratch_put(pool, again);
		}
		assert_null(onpu_pool_scratch_get(pool, SIZE_MAX));
		assert_null(onpu_pool_scratch_get(pool, SIZE_MAX - 4096));
		onpu_pool_scratch_put(pool, NULL);
		onpu_pool_destroy(pool);
	}
}

/* Signals go to the program's own threads. */
static void check_mask(struct onpu_task *task)
{
	struct job *job = (struct job *)task;
	sigset_t set;

	pthread_sigmask(SIG_SETMASK, NULL, &set);
	if (!sigismember(&set, SIGINT) || !sigismember(&set, SIGUSR1))
		job->wrong_thread = true;
	atomic_fetch_add(job->count, 1);
}

static void test_signals(void **state)
{
	struct onpu_pool *pool = onpu_pool_create(1, "sig");
	atomic_uint count = 0;
	struct job job = { .pool = pool, .count = &count };
	sigset_t set;

	(void)state;
	onpu_task_init(&job.task, check_mask);
	onpu_pool_submit(pool, &job.task);
	onpu_pool_destroy(pool);
	assert_int_equal(atomic_load(&count), 1);
	assert_false(job.wrong_thread);
	pthread_sigmask(SIG_SETMASK, NULL, &set);
	assert_false(sigismember(&set, SIGINT));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create),
		cmocka_unit_test(test_loop),
		cmocka_unit_test(test_nested),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_tasks),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_kicks),
		cmocka_unit_test(test_sleep_wake),
		cmocka_unit_test(test_task_before_loop),
		cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_scratch),
		cmocka_unit_test(test_signals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

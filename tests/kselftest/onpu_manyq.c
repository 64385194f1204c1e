// SPDX-License-Identifier: GPL-2.0-only
/*
 * All the queues that a card has, or a quarter of them on one with little memory, kept busy by eight
 * processes: every job is done once, jobs of a queue in order, and those of higher priority are
 * done sooner.
 *
 * A job adds one to a counter of its queue by a matmul (so that one done twice shows), copies the counter to its
 * place in a log (so that a wrong order shows), and fills memory for the time that it takes.
 */
#include "kselftest_harness.h"

#include "onpu_uq.h"

#include <sys/wait.h>

#define PROCESSES	8
#define EACH		128
#define QUEUES		(PROCESSES * EACH)
#define ORDER		6
#define BURST		12
#define AGAIN		3
#define WORK		KIB(512)
#define MAX_JOBS	512
/* In a queue's page of data. */
#define AT_DESC		0
#define AT_A		256
#define AT_B		260
#define AT_COUNTER	264
#define AT_TIME		272
#define AT_LOG		1024

/* What the processes tell each other; shared memory. */
struct board {
	unsigned int each;		/* queues of a process */
	unsigned int ready, prepared, created[PROCESSES];
	uint64_t done[QUEUES];		/* device time of the end of the burst; 0: no such queue */
	uint64_t jobs[PROCESSES];
};

struct worker {
	struct uq q;
	struct onpu_buf data;
	uint32_t jobs;
};

struct process {
	struct onpu_env env;
	struct onpu_buf scratch;
	struct worker workers[EACH];
	unsigned int count;
};

#define MUST(condition) do {								\
		if (!(condition)) {							\
			printf("# process %u, line %d: %s\n", number, __LINE__, #condition); \
			fflush(stdout);							\
			_exit(1);							\
		}									\
	} while (0)

/* Waits until all are here. */
static void meet(unsigned int *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(counter, __ATOMIC_SEQ_CST) < PROCESSES)
		usleep(1000);
}

static void write_desc(struct worker *w)
{
	char *data = w->data.cpu;
	struct onpu_matmul_desc desc = {
		.a_type = ONPU_DTYPE_I8, .b_type = ONPU_DTYPE_I8, .c_type = ONPU_DTYPE_I32,
		.d_type = ONPU_DTYPE_I32, .flags = ONPU_MATMUL_ACCUMULATE,
		.m = 1, .n = 1, .k = 1, .lda = 1, .ldb = 1, .ldc = 1, .ldd = 1,
		.a_va = w->data.va + AT_A, .b_va = w->data.va + AT_B,
		.c_va = w->data.va + AT_COUNTER, .d_va = w->data.va + AT_COUNTER,
	};

	memcpy(data + AT_DESC, &desc, sizeof(desc));
	data[AT_A] = 1;
	data[AT_B] = 1;
}

static void add_jobs(struct process *p, struct worker *w, unsigned int count, uint32_t work)
{
	for (unsigned int i = 0; i < count; i++, w->jobs++) {
		struct onpu_packet matmul = pkt_op(ONPU_OP_MATMUL);

		matmul.matmul.desc_va = w->data.va + AT_DESC;
		uq_add(&w->q, matmul);
		uq_add(&w->q, pkt_copy(w->data.va + AT_LOG + w->jobs * 4, w->data.va + AT_COUNTER, 4));
		if (work)
			uq_add(&w->q, pkt_fill(p->scratch.va, work, w->jobs));
	}
}

/* Without a look at the room, as the ring holds it all. */
static void add_end(struct worker *w)
{
	struct onpu_packet packet = pkt_signal(uq_fence_va(&w->q), ++w->q.seq);

	packet.flags = ONPU_PKT_IRQ;
	uq_add(&w->q, packet);
}

static void create_queues(struct process *p, unsigned int each, unsigned int number)
{
	p->env.fd = onpu_open();
	p->env.next_va = 0x10000000ull;
	MUST(p->env.fd >= 0 && !lr_vm_create(p->env.fd, &p->env.vm));
	MUST(!onpu_buf_new(&p->env, WORK, DRM_ONPU_BO_VRAM, &p->scratch));
	for (p->count = 0; p->count < each; p->count++) {
		struct worker *w = &p->workers[p->count];
		int ret = uq_create(&p->env, &w->q, ORDER, DRM_ONPU_BO_SYSTEM, p->count % 4);

		/* The driver has some of the card's queues itself. */
		if (ret == -ENOSPC)
			break;
		MUST(!ret);
		MUST(!onpu_buf_new(&p->env, PAGE, DRM_ONPU_BO_SYSTEM, &w->data));
		write_desc(w);
	}
}

static void check_log(const struct worker *w, unsigned int number)
{
	const volatile uint32_t *log = (void *)((char *)w->data.cpu + AT_LOG);

	MUST(*(volatile uint32_t *)((char *)w->data.cpu + AT_COUNTER) == w->jobs);
	for (uint32_t i = 0; i < w->jobs; i++)
		MUST(log[i] == i + 1);
}

/* Everything at once, to see who is first. */
static void run_burst(struct process *p, struct board *board, unsigned int number)
{
	for (unsigned int i = 0; i < p->count; i++) {
		struct worker *w = &p->workers[i];
		struct onpu_packet stamp = pkt_op(ONPU_OP_TIMESTAMP);

		add_jobs(p, w, BURST, WORK);
		stamp.timestamp.va = w->data.va + AT_TIME;
		uq_add(&w->q, stamp);
		add_end(w);
	}
	meet(&board->prepared);
	for (unsigned int i = 0; i < p->count; i++)
		uq_ring(&p->workers[i].q);
	for (unsigned int i = 0; i < p->count; i++) {
		struct worker *w = &p->workers[i];

		MUST(!uq_wait_for(&w->q, w->q.seq, 10 * WAIT_NS));
		board->done[number * EACH + i] = *(volatile uint64_t *)((char *)w->data.cpu + AT_TIME);
		check_log(w, number);
	}
}

/* Each queue gets more as soon as this process sees that it has done what it had. */
static void keep_busy(struct process *p, unsigned int number)
{
	const unsigned int rounds = onpu_rounds(60, 5);

	for (unsigned int round = 0; round < rounds; round++) {
		for (unsigned int i = 0; i < p->count; i++) {
			struct worker *w = &p->workers[i];

			MUST(!uq_wait_for(&w->q, w->q.seq, 10 * WAIT_NS));
			add_jobs(p, w, AGAIN, i % 8 ? 0 : KIB(4));
			add_end(w);
			uq_ring(&w->q);
		}
	}
	for (unsigned int i = 0; i < p->count; i++) {
		struct worker *w = &p->workers[i];

		MUST(!uq_wait_for(&w->q, w->q.seq, 10 * WAIT_NS));
		check_log(w, number);
		MUST(!uq_flags(&w->q));
	}
}

static void be_process(struct board *board, unsigned int number)
{
	struct process *p = calloc(1, sizeof(*p));

	MUST(p);
	/* One after the other: the last gets what is left. */
	while (__atomic_load_n(&board->ready, __ATOMIC_SEQ_CST) < number)
		usleep(1000);
	create_queues(p, board->each, number);
	board->created[number] = p->count;
	meet(&board->ready);
	run_burst(p, board, number);
	keep_busy(p, number);
	for (unsigned int i = 0; i < p->count; i++)
		board->jobs[number] += p->workers[i].jobs;
	_exit(0);
}

/* Mean time from the first end to the ends of a priority, in us. */
static uint64_t mean_of(const struct board *board, unsigned int priority)
{
	uint64_t first = UINT64_MAX, sum = 0, count = 0;

	for (unsigned int i = 0; i < QUEUES; i++)
		if (board->done[i] && board->done[i] < first)
			first = board->done[i];
	for (unsigned int i = 0; i < QUEUES; i++) {
		if (i % 4 != priority || !board->done[i])
			continue;
		sum += board->done[i] - first;
		count++;
	}
	return count ? sum / count / 1000 : 0;
}

FIXTURE(many)
{
	struct board *board;
};

FIXTURE_SETUP(many)
{
	self->board = mmap(NULL, sizeof(*self->board), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->board);
}

FIXTURE_TEARDOWN(many)
{
	munmap(self->board, sizeof(*self->board));
}

TEST_F_TIMEOUT(many, all_queues_of_the_card, 115)
{
	unsigned int created = 0;
	pid_t pids[PROCESSES];
	uint64_t jobs = 0, mean[4];
	int status, fd = onpu_open();
	uint64_t size;

	ASSERT_GE(fd, 0);
	size = onpu_memory(fd).vram_size;
	close(fd);
	/* Page tables and the state of queues that have no slot are in card memory. */
	self->board->each = size < MIB(256) ? EACH / 4 : EACH;

	for (unsigned int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		if (!pids[i])
			be_process(self->board, i);
		ASSERT_GT(pids[i], 0);
	}
	for (unsigned int i = 0; i < PROCESSES; i++) {
		/* Whichever ends first. */
		ASSERT_LT(0, waitpid(-1, &status, 0));
		EXPECT_EQ(0, status) {
			/* The others wait for it. */
			for (unsigned int j = 0; j < PROCESSES; j++)
				kill(pids[j], SIGKILL);
		}
	}
	for (unsigned int i = 0; i < PROCESSES; i++) {
		created += self->board->created[i];
		jobs += self->board->jobs[i];
	}
	/* All but the driver's own. */
	EXPECT_LE(PROCESSES * self->board->each - 2, created);
	for (unsigned int i = 0; i < 4; i++)
		mean[i] = mean_of(self->board, i);
	TH_LOG("%u queues, %llu jobs; mean ends after %llu us (low), %llu, %llu, %llu (real time)",
	       created, (unsigned long long)jobs, (unsigned long long)mean[0],
	       (unsigned long long)mean[1], (unsigned long long)mean[2],
	       (unsigned long long)mean[3]);
	EXPECT_LT(mean[3], mean[2]);
	EXPECT_LT(mean[2], mean[1]);
	EXPECT_LT(mean[1], mean[0]);
}

TEST_HARNESS_MAIN

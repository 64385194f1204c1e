// SPDX-License-Identifier: GPL-2.0-only
/*
 * User-mode queues: ring, control block and doorbell are the process's own; long-running
 * address spaces, whose memory moves while jobs run.
 */
#include "kselftest_harness.h"

#include "onpu_uq.h"

#include <pthread.h>
#include <signal.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define SYS_DRIVER "/sys/bus/pci/drivers/onpu/"
#define KERNEL_HALF (1ull << (ONPU_MMU_VA_BITS - 1))
#define ORDER 6

/* ---- fixture ------------------------------------------------------------------- */

FIXTURE(uq)
{
	struct onpu_env env;
	struct uq q;
	struct drm_onpu_query_memory before;
	char name[64];
};

FIXTURE_SETUP(uq)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	ASSERT_EQ(0, onpu_bus_name(fd, self->name, sizeof(self->name)));
	self->env.fd = fd;
	self->env.next_va = 0x10000000ull;
	ASSERT_EQ(0, lr_vm_create(fd, &self->env.vm));
	ASSERT_EQ(0, uq_create(&self->env, &self->q, ORDER, DRM_ONPU_BO_SYSTEM,
			       DRM_ONPU_PRIORITY_MEDIUM));
}

FIXTURE_TEARDOWN(uq)
{
	close(self->env.fd);
	if (self->q.doorbell)
		munmap((void *)self->q.doorbell, PAGE);
	onpu_unmap_all();
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

/* ---- what it takes ----------------------------------------------------------------- */

TEST_F(uq, arguments)
{
	struct drm_onpu_queue_create good = self->q.args, bad;
	const uint32_t max = onpu_limits(self->env.fd).max_ring_order;
	int fd = self->env.fd;

	good.id = 0;
	good.doorbell_offset = 0;
	EXPECT_LE(10, max);

#define BAD(error, member, what) do {							\
		bad = good;								\
		bad.member = what;							\
		EXPECT_EQ(error, onpu_ioctl(fd, DRM_IOCTL_ONPU_QUEUE_CREATE, &bad));	\
	} while (0)

	BAD(-EINVAL, flags, 4);
	BAD(-EINVAL, flags, DRM_ONPU_QUEUE_PROGRESS);
	BAD(-EINVAL, flags, DRM_ONPU_QUEUE_USER | DRM_ONPU_QUEUE_PROGRESS); /* and ctl_va */
	BAD(-EINVAL, progress_offset, 1);
	BAD(-EINVAL, pad, 1);
	BAD(-EINVAL, doorbell_offset, 1);
	BAD(-EINVAL, ring_order, 3);
	BAD(-EINVAL, ring_order, max + 1);
	BAD(-EINVAL, ring_order, 64);
	BAD(-EINVAL, ring_va, 0);
	BAD(-EINVAL, ring_va, good.ring_va + 8);
	BAD(-EINVAL, ring_va, KERNEL_HALF);
	BAD(-EINVAL, ring_va, KERNEL_HALF - 64);
	BAD(-EINVAL, ring_va, UINT64_MAX - 63);
	BAD(-EINVAL, ctl_va, 64);
	BAD(-EINVAL, ctl_va, good.ctl_va + 4);
	BAD(-EINVAL, ctl_va, KERNEL_HALF);
	BAD(-EINVAL, ctl_va, UINT64_MAX - 63);
	BAD(-ENOENT, vm_id, good.vm_id + 1);
	/* Kinds of queues and of address spaces go together. */
	BAD(-EINVAL, flags, 0);
	bad = (struct drm_onpu_queue_create){ .vm_id = good.vm_id, .priority = 1 };
	EXPECT_EQ(-EINVAL, onpu_ioctl(fd, DRM_IOCTL_ONPU_QUEUE_CREATE, &bad));
	bad = good;
	ASSERT_EQ(0, onpu_vm_create(fd, &bad.vm_id));
	EXPECT_EQ(-EINVAL, onpu_ioctl(fd, DRM_IOCTL_ONPU_QUEUE_CREATE, &bad));
	EXPECT_EQ(-EINVAL, onpu_submit(fd, self->q.args.id, good.ring_va, 1, 0, 0));
#undef BAD
	ASSERT_EQ(0, uq_run(&self->q));
}

TEST_F(uq, only_the_owner_maps_the_doorbell)
{
	const uint64_t offset = self->q.args.doorbell_offset;
	int fd = self->env.fd, other = onpu_open();

#define MAP(size, flags, file, off)	\
	mmap(NULL, size, PROT_READ | PROT_WRITE, flags, file, (off_t)(off))

	ASSERT_GE(other, 0);
	EXPECT_EQ(MAP_FAILED, MAP(PAGE, MAP_SHARED, other, offset));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(MAP_FAILED, MAP(PAGE, MAP_SHARED, fd, offset + PAGE));
	EXPECT_EQ(MAP_FAILED, MAP(PAGE, MAP_SHARED, fd, offset + (1ull << 40)));
	EXPECT_EQ(MAP_FAILED, MAP(2 * PAGE, MAP_SHARED, fd, offset));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, MAP(PAGE, MAP_PRIVATE, fd, offset));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd,
				   (off_t)offset));
	EXPECT_NE(0, mprotect((void *)self->q.doorbell, PAGE, PROT_READ | PROT_EXEC));
#undef MAP
	close(other);
	ASSERT_EQ(0, uq_run(&self->q));
	/* What was rung last can be read. */
	EXPECT_EQ(self->q.tail, *self->q.doorbell);
}

TEST_F(uq, a_fork_does_not_inherit_the_doorbell)
{
	int status;
	pid_t pid;

	ASSERT_EQ(0, uq_run(&self->q));
	pid = fork();
	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		*self->q.doorbell = 5;
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	ASSERT_EQ(0, uq_run(&self->q));
}

/* ---- what it does --------------------------------------------------------------------- */

TEST_F_TIMEOUT(uq, laps_of_the_ring, 60)
{
	volatile uint32_t *words;
	struct onpu_buf buf;

	ASSERT_EQ(0, onpu_buf_new(&self->env, MIB(1), DRM_ONPU_BO_VRAM, &buf));
	words = buf.cpu;
	for (uint32_t i = 0; i < 1000; i++) {
		uq_add(&self->q, pkt_fill(buf.va + 4 * i, 4, i + 1));
		if (i % 7 == 0)
			uq_ring(&self->q);
	}
	ASSERT_EQ(0, uq_run(&self->q));
	for (uint32_t i = 0; i < 1000; i++)
		ASSERT_EQ(i + 1, words[i]);
	EXPECT_EQ(0, uq_flags(&self->q));
}

TEST_F(uq, without_a_control_block)
{
	struct drm_onpu_queue_create args = self->q.args;
	volatile uint32_t *doorbell;
	struct onpu_packet signal;

	ASSERT_EQ(0, onpu_queue_destroy(self->env.fd, args.id));
	args.id = 0;
	args.doorbell_offset = 0;
	args.ctl_va = 0;
	ASSERT_EQ(0, onpu_ioctl(self->env.fd, DRM_IOCTL_ONPU_QUEUE_CREATE, &args));
	doorbell = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, self->env.fd,
			(off_t)args.doorbell_offset);
	ASSERT_NE(MAP_FAILED, (void *)doorbell);
	signal = pkt_signal(uq_fence_va(&self->q), 77);
	signal.flags = ONPU_PKT_IRQ;
	self->q.ring[0] = signal;
	*doorbell = 1;
	EXPECT_EQ(0, wait_word(self->env.fd, self->q.fence, DRM_ONPU_WAIT_EQ, 77, args.id,
			       WAIT_NS));
	EXPECT_EQ(0, self->q.ctl->consumer);
	munmap((void *)doorbell, PAGE);
}

TEST_F_TIMEOUT(uq, queues_of_one_address_space, 60)
{
	struct uq other;

	ASSERT_EQ(0, uq_create(&self->env, &other, 4, DRM_ONPU_BO_VRAM, DRM_ONPU_PRIORITY_LOW));
	EXPECT_NE(self->q.args.doorbell_offset, other.args.doorbell_offset);
	/* A ball that goes to and fro. */
	for (uint64_t i = 1; i <= 20; i++) {
		uq_add(&self->q, pkt_wait(uq_fence_va(&other) + 8, ONPU_WAIT_GE, i - 1));
		uq_add(&self->q, pkt_signal(uq_fence_va(&self->q) + 8, i));
		uq_ring(&self->q);
		uq_add(&other, pkt_wait(uq_fence_va(&self->q) + 8, ONPU_WAIT_GE, i));
		uq_add(&other, pkt_signal(uq_fence_va(&other) + 8, i));
		uq_ring(&other);
	}
	ASSERT_EQ(0, uq_run(&self->q));
	ASSERT_EQ(0, uq_run(&other));
	EXPECT_EQ(20, other.fence[1]);
	uq_destroy(&other);
}

TEST_F_TIMEOUT(uq, as_many_as_a_file_may_have, 100)
{
	const uint32_t max = onpu_limits(self->env.fd).max_queues;
	struct uq *queues = calloc(max, sizeof(*queues));

	ASSERT_NE(NULL, queues);
	for (uint32_t i = 0; i < max - 1; i++)
		ASSERT_EQ(0, uq_create(&self->env, &queues[i], 4, DRM_ONPU_BO_SYSTEM, i % 2));
	for (int round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < max - 1; i++)
			uq_signal(&queues[i]);
		for (uint32_t i = 0; i < max - 1; i++)
			ASSERT_EQ(0, uq_wait_for(&queues[i], queues[i].seq, WAIT_NS));
	}
	ASSERT_EQ(0, uq_run(&self->q));
	/* A mapped doorbell keeps the file open. */
	for (uint32_t i = 0; i < max - 1; i++)
		munmap((void *)queues[i].doorbell, PAGE);
	free(queues);
}

static uint64_t engine_ns(int fd)
{
	char path[64], text[4096], *line;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	if (onpu_read_file(path, text, sizeof(text)))
		return 0;
	line = strstr(text, "drm-engine-matmul:");
	return line ? strtoull(line + strlen("drm-engine-matmul:"), NULL, 10) : 0;
}

TEST_F(uq, its_time_is_counted)
{
	uint64_t before = engine_ns(self->env.fd), during, after;
	struct onpu_buf buf;
	struct uq q;

	ASSERT_EQ(0, uq_create(&self->env, &q, 4, DRM_ONPU_BO_SYSTEM, 0));
	ASSERT_EQ(0, onpu_buf_new(&self->env, MIB(8), DRM_ONPU_BO_VRAM, &buf));
	for (int i = 0; i < 10; i++)
		uq_add(&q, pkt_fill(buf.va, MIB(8), 1));
	ASSERT_EQ(0, uq_run(&q));
	during = engine_ns(self->env.fd);
	EXPECT_LT(before + 10000, during);
	uq_destroy(&q);
	for (int i = 0; i < 100 && engine_ns(self->env.fd) <= during; i++)
		usleep(10000);
	after = engine_ns(self->env.fd);
	EXPECT_LE(during, after);
	onpu_buf_free(&self->env, &buf);
}

/* ---- how it dies ----------------------------------------------------------------------- */

TEST_F(uq, a_fault_kills_it_alone)
{
	struct drm_onpu_queue_get_state state;
	struct uq other;

	ASSERT_EQ(0, uq_create(&self->env, &other, 4, DRM_ONPU_BO_SYSTEM, 0));
	uq_add(&self->q, pkt_fill(0x7000000000ull, 8, 0));
	EXPECT_EQ(-ECANCELED, uq_run(&self->q));
	ASSERT_EQ(0, onpu_queue_state(self->env.fd, self->q.args.id, &state));
	EXPECT_EQ(DRM_ONPU_QUEUE_DEAD | DRM_ONPU_QUEUE_FAULT, state.flags);
	EXPECT_EQ(0x7000000000ull, state.fault_va);
	/* Its doorbell rings nobody, and hurts nobody. */
	for (int i = 0; i < 100; i++)
		*self->q.doorbell = i;
	ASSERT_EQ(0, uq_run(&other));
	uq_destroy(&other);
}

TEST_F(uq, malformed_rings)
{
	struct drm_onpu_queue_get_state state;
	static const uint32_t expected[] = {
		ONPU_ERR_RING, ONPU_ERR_OPCODE, ONPU_ERR_PACKET, ONPU_ERR_FAULT, ONPU_ERR_FAULT,
		ONPU_ERR_FAULT,
	};

	for (uint32_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		struct onpu_packet packet = pkt_nop();
		struct uq q;

		ASSERT_EQ(0, uq_create(&self->env, &q, 4, DRM_ONPU_BO_SYSTEM, 0));
		switch (i) {
		case 0:
			q.tail = 1000;
			break;
		case 1:
			packet = pkt_op(99);
			break;
		case 2:
			packet.reserved1 = 1;
			break;
		case 3: /* The kernel half, where other queues of the file might have their pages. */
			packet = pkt_fill(KERNEL_HALF, 8, 1);
			break;
		case 4:
			packet = pkt_signal(KERNEL_HALF + PAGE, 1);
			break;
		case 5: /* The ring goes away. */
			ASSERT_EQ(0, onpu_unmap(self->env.fd, self->env.vm, q.mem.va, q.mem.size));
			break;
		}
		if (i) {
			q.ring[0] = packet;
			q.tail = 1;
		}
		uq_ring(&q);
		EXPECT_EQ(-ECANCELED, uq_wait_for(&q, 1, WAIT_NS));
		ASSERT_EQ(0, onpu_queue_state(self->env.fd, q.args.id, &state));
		EXPECT_EQ(expected[i], state.error) {
			TH_LOG("case %u", i);
		}
		uq_destroy(&q);
	}
	ASSERT_EQ(0, uq_run(&self->q));
}

TEST_F(uq, destroyed_in_the_middle)
{
	struct uq q;

	for (int i = 0; i < 10; i++) {
		ASSERT_EQ(0, uq_create(&self->env, &q, 4, DRM_ONPU_BO_SYSTEM, 0));
		uq_add(&q, pkt_wait(uq_fence_va(&q) + 8, ONPU_WAIT_EQ, 1));
		uq_ring(&q);
		uq_destroy(&q);
	}
	ASSERT_EQ(0, uq_run(&self->q));
}

/* ---- progress that only the card writes ------------------------------------------------------ */

/* Another queue on the same ring memory, whose control block is the driver's. */
static int with_progress(struct uq *q, const volatile struct onpu_queue_ctl **ctl)
{
	int ret;

	onpu_queue_destroy(q->env->fd, q->args.id);
	munmap((void *)q->doorbell, PAGE);
	q->args.flags = DRM_ONPU_QUEUE_USER | DRM_ONPU_QUEUE_PROGRESS;
	q->args.ctl_va = 0;
	q->args.doorbell_offset = 0;
	ret = onpu_ioctl(q->env->fd, DRM_IOCTL_ONPU_QUEUE_CREATE, &q->args);
	if (ret)
		return ret;
	q->tail = 0;
	q->doorbell = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, q->env->fd,
			   (off_t)q->args.doorbell_offset);
	*ctl = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, q->env->fd, (off_t)q->args.progress_offset);
	return q->doorbell == MAP_FAILED || *ctl == MAP_FAILED ? -errno : 0;
}

static bool comes_to(const volatile __u64 *word, uint64_t value)
{
	for (int i = 0; i < 20000 && *word != value; i++)
		usleep(500);
	return *word == value;
}

static bool comes_to32(const volatile __u32 *word, uint32_t value)
{
	for (int i = 0; i < 20000 && *word != value; i++)
		usleep(500);
	return *word == value;
}

TEST_F_TIMEOUT(uq, progress, 60)
{
	const volatile struct onpu_queue_ctl *ctl = NULL;
	struct uq q, plain;
	int fd = onpu_open();
	uint64_t at;

	ASSERT_EQ(0, uq_create(&self->env, &plain, 4, DRM_ONPU_BO_SYSTEM, 0));
	EXPECT_EQ(0, plain.args.progress_offset);
	EXPECT_EQ(0, plain.ctl->completed);
	ASSERT_EQ(0, uq_run(&plain));
	EXPECT_TRUE(comes_to(&plain.ctl->completed, 1));
	ASSERT_EQ(0, uq_create(&self->env, &q, 4, DRM_ONPU_BO_SYSTEM, 0));
	ASSERT_EQ(0, with_progress(&q, &ctl));
	EXPECT_EQ(0, ctl->completed);
	for (uint64_t i = 1; i <= 100; i++) {
		q.ring[q.tail++ % 16] = pkt_nop();
		uq_ring(&q);
		ASSERT_TRUE(comes_to32(&ctl->consumer, (uint32_t)i));
		ASSERT_EQ(i, ctl->completed);	/* is stored first */
	}
	/* Nobody else reads it, and nobody writes it. */
	at = q.args.progress_offset;
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, self->env.fd,
				   (off_t)at));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, self->env.fd, (off_t)at));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, self->env.fd, (off_t)at));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, (off_t)at));
	EXPECT_EQ(EACCES, errno);
	at += plain.args.doorbell_offset - q.args.doorbell_offset;
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, self->env.fd, (off_t)at));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, self->env.fd,
				   (off_t)(at + ONPU_MAX_QUEUES * PAGE)));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(-1, mprotect((void *)ctl, PAGE, PROT_READ | PROT_WRITE));
	/* By packets neither, wherever in the kernel's half it is; those of no other queue too. */
	for (uint64_t va = KERNEL_HALF; va < KERNEL_HALF + 64 * PAGE; va += PAGE) {
		struct uq bad;

		ASSERT_EQ(0, uq_create(&self->env, &bad, 4, DRM_ONPU_BO_SYSTEM, 0));
		uq_add(&bad, va / PAGE % 2 ? pkt_signal(va + 8, 12345) : pkt_fill(va, 64, 12345));
		EXPECT_EQ(-ECANCELED, uq_run(&bad));
		uq_destroy(&bad);
	}
	EXPECT_EQ(100, ctl->completed);
	/* The last of it is there when the queue has died, and nothing when it is destroyed. */
	q.ring[q.tail++ % 16] = pkt_nop();
	q.ring[q.tail++ % 16] = pkt_op(255);
	uq_ring(&q);
	EXPECT_EQ(-ECANCELED, uq_wait_for(&q, 1, WAIT_NS));
	EXPECT_EQ(101, ctl->completed);
	uq_destroy(&q);
	EXPECT_TRUE(comes_to(&ctl->completed, 0));
	munmap((void *)ctl, PAGE);
	uq_destroy(&plain);
	close(fd);
}

/*
 * How many ways there are for this process to write to the control block of a queue of its own, which
 * is unmapped in the end.
 */
static int write_over(const volatile struct onpu_queue_ctl *ctl)
{
	uint64_t value = 1000000;
	struct iovec from = { &value, sizeof(value) };
	struct iovec to = { (void *)&ctl->completed, sizeof(value) };
	int file = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	void *moved, *page = (void *)ctl;
	int ways = (file < 0) + (zero < 0);

	ways += pwrite(file, &value, sizeof(value), (off_t)(uintptr_t)&ctl->completed) > 0;
	ways += process_vm_writev(getpid(), &from, 1, &to, 1, 0) > 0;
	ways += read(zero, page, PAGE) > 0;
	ways += !mprotect(page, PAGE, PROT_READ | PROT_WRITE);
	ways += !mprotect(page, PAGE, PROT_WRITE);
	ways += !mprotect(page, PAGE, PROT_READ | PROT_EXEC);
	ways += mremap(page, PAGE, 2 * PAGE, MREMAP_MAYMOVE) != MAP_FAILED;
	/* It may be moved, and that changes nothing. */
	moved = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (moved != MAP_FAILED &&
	    mremap(page, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, moved) == moved)
		page = moved;
	ways += !mprotect(page, PAGE, PROT_READ | PROT_WRITE);
	munmap(page, PAGE);
	close(zero);
	close(file);
	return ways;
}

/* Another process with a queue of that kind, which writes wherever it might be. */
static int attack(void)
{
	const volatile struct onpu_queue_ctl *ctl = NULL;
	struct onpu_env env = { .fd = onpu_open(), .next_va = 0x10000000ull };
	struct uq q;
	int ways;

	if (lr_vm_create(env.fd, &env.vm) || uq_create(&env, &q, 4, DRM_ONPU_BO_SYSTEM, 0) ||
	    with_progress(&q, &ctl))
		return 100;
	q.ring[q.tail++ % 16] = pkt_nop();
	uq_ring(&q);
	if (!comes_to(&ctl->completed, 1))
		return 101;
	ways = write_over(ctl);
	for (uint64_t va = KERNEL_HALF; va < KERNEL_HALF + 8 * PAGE; va += PAGE) {
		struct uq bad;

		if (uq_create(&env, &bad, 4, DRM_ONPU_BO_SYSTEM, 0))
			return 102;
		uq_add(&bad, pkt_fill(va, 64, 0xffffffff));
		ways += uq_run(&bad) != -ECANCELED;
		uq_destroy(&bad);
	}
	return ways;
}

/* A wait for what only the card writes ends when the card has done it, whoever writes what meanwhile. */
TEST_F_TIMEOUT(uq, progress_nobody_forges, 60)
{
	const volatile struct onpu_queue_ctl *ctl = NULL;
	const volatile uint64_t *completed;
	struct uq q;
	int status;
	pid_t pid;

	ASSERT_EQ(0, uq_create(&self->env, &q, 4, DRM_ONPU_BO_SYSTEM, 0));
	ASSERT_EQ(0, with_progress(&q, &ctl));
	completed = (const volatile uint64_t *)&ctl->completed;
	*q.fence = 0;
	q.ring[q.tail++ % 16] = pkt_wait(uq_fence_va(&q), ONPU_WAIT_GE, 1);
	q.ring[q.tail] = pkt_signal(uq_fence_va(&q) + 8, 1);
	q.ring[q.tail++].flags = ONPU_PKT_IRQ;
	uq_ring(&q);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(attack());
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(0, WEXITSTATUS(status));
	EXPECT_EQ(0, *completed);
	EXPECT_EQ(-ETIME, wait_word(self->env.fd, completed, DRM_ONPU_WAIT_NE, 0, q.args.id, 0));
	*q.fence = 1;
	EXPECT_EQ(0, wait_word(self->env.fd, completed, DRM_ONPU_WAIT_GE, 1, q.args.id, WAIT_NS));
	EXPECT_TRUE(comes_to(&ctl->completed, 2));
	EXPECT_EQ(0, write_over(ctl));
	uq_destroy(&q);
}

static void inject(const char *what, uint64_t number)
{
	char text[64];

	snprintf(text, sizeof(text), "%s=%llu", what, (unsigned long long)number);
	onpu_inject(text);
}

static uint64_t number_on_card(const struct uq *q)
{
	return q->args.doorbell_offset / PAGE % ONPU_MAX_QUEUES;
}

TEST_F_TIMEOUT(uq, a_packet_that_never_ends, 60)
{
	int before = onpu_set_timeout(500);
	struct uq other, q;

	ASSERT_GT(before, 0);
	ASSERT_EQ(0, uq_create(&self->env, &q, 4, DRM_ONPU_BO_SYSTEM, 0));
	ASSERT_EQ(0, uq_create(&self->env, &other, 4, DRM_ONPU_BO_SYSTEM, 0));
	onpu_set_timeout((unsigned int)before);
	inject("hang-queue", number_on_card(&q));
	EXPECT_EQ(-ECANCELED, uq_run(&q));
	inject("clear", 0);
	EXPECT_EQ(DRM_ONPU_QUEUE_DEAD | DRM_ONPU_QUEUE_TIMEDOUT, uq_flags(&q));
	ASSERT_EQ(0, uq_run(&other));
	uq_destroy(&q);
	uq_destroy(&other);
}

/* The card is pulled while an unmap waits for a packet: neither waits for the other. */
TEST_F_TIMEOUT(uq, unbound_while_an_unmap_waits, 60)
{
	int before = onpu_set_timeout(60000), ret = 0, status;
	struct onpu_buf buf;
	struct uq q;
	pid_t pid;

	ASSERT_GT(before, 0);
	ASSERT_EQ(0, onpu_buf_new(&self->env, PAGE, DRM_ONPU_BO_SYSTEM, &buf));
	ASSERT_EQ(0, uq_create(&self->env, &q, 4, DRM_ONPU_BO_SYSTEM, 0));
	inject("hang-queue", number_on_card(&q));
	for (int i = 0; i < 20 && !ret; i++) {
		uq_signal(&q);
		ret = uq_wait_for(&q, q.seq, 500000000);
	}
	EXPECT_EQ(-ETIME, ret);
	pid = fork();
	if (!pid) {
		ret = onpu_unmap(self->env.fd, self->env.vm, buf.va, PAGE);
		_exit(ret && ret != -ENODEV);
	}
	ASSERT_GT(pid, 0);
	usleep(500000);
	ASSERT_EQ(0, onpu_write_file("/sys/bus/pci/drivers/onpu/unbind", self->name));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	inject("clear", 0);
	ASSERT_EQ(0, onpu_write_file("/sys/bus/pci/drivers/onpu/bind", self->name));
	onpu_set_timeout((unsigned int)before);
}

/* A kill takes longer than the firmware waits, but a reset of the engine gets through. */
TEST_F_TIMEOUT(uq, a_queue_that_does_not_stop, 60)
{
	struct uq other, q;

	ASSERT_EQ(0, uq_create(&self->env, &q, 4, DRM_ONPU_BO_SYSTEM, 0));
	ASSERT_EQ(0, uq_create(&self->env, &other, 4, DRM_ONPU_BO_SYSTEM, 0));
	uq_add(&q, pkt_wait(uq_fence_va(&q) + 8, ONPU_WAIT_EQ, 1));
	uq_ring(&q);
	inject("hang-queue", number_on_card(&self->q));
	inject("slow-kill", 1300);
	uq_signal(&self->q);
	ASSERT_EQ(0, onpu_queue_destroy(self->env.fd, self->q.args.id));
	for (int i = 0; i < 20; i++) {
		ASSERT_EQ(0, uq_run(&other));
		usleep(150000);
	}
	inject("clear", 0);
	/* Those that let go when they are told to are as they were. */
	EXPECT_EQ(0, uq_flags(&q));
	q.fence[1] = 1;
	ASSERT_EQ(0, uq_run(&q));
	uq_destroy(&q);
	uq_destroy(&other);
}

TEST_F_TIMEOUT(uq, reset_of_the_function, 60)
{
	char path[512], reset[600];

	ASSERT_EQ(0, onpu_sysfs(self->env.fd, path, sizeof(path)));
	snprintf(reset, sizeof(reset), "%s/reset", path);
	for (int i = 0; i < 3; i++) {
		struct uq q;

		ASSERT_EQ(0, uq_create(&self->env, &q, 4, DRM_ONPU_BO_VRAM, 0));
		uq_add(&q, pkt_wait(uq_fence_va(&q) + 8, ONPU_WAIT_EQ, 1));
		uq_ring(&q);
		ASSERT_EQ(0, onpu_write_file(reset, "1"));
		EXPECT_EQ(-ECANCELED, uq_wait_for(&q, 1, WAIT_NS));
		EXPECT_EQ(DRM_ONPU_QUEUE_DEAD | DRM_ONPU_QUEUE_INNOCENT, uq_flags(&q));
		*q.doorbell = 3;
		uq_destroy(&q);
		/* The address space is as it was. */
		ASSERT_EQ(0, uq_create(&self->env, &q, 4, DRM_ONPU_BO_VRAM, 0));
		ASSERT_EQ(0, uq_run(&q)) {
			struct drm_onpu_queue_get_state state;

			onpu_queue_state(self->env.fd, q.args.id, &state);
			TH_LOG("round %d: flags %x, error %u, %x at %#llx", i, state.flags, state.error,
			       state.fault_info, (unsigned long long)state.fault_va);
			TH_LOG("ring %#llx, consumer %llu, tail %u", (unsigned long long)q.mem.va,
			       (unsigned long long)q.ctl->consumer, q.tail);
		}
		uq_destroy(&q);
	}
}

TEST_F_TIMEOUT(uq, the_card_goes, 60)
{
	uq_add(&self->q, pkt_wait(uq_fence_va(&self->q) + 8, ONPU_WAIT_EQ, 1));
	uq_ring(&self->q);
	ASSERT_EQ(0, onpu_write_file(SYS_DRIVER "unbind", self->name));
	EXPECT_EQ(-ENODEV, uq_wait_for(&self->q, 1, WAIT_NS));
	*self->q.doorbell = 12;
	(void)*self->q.doorbell;
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, self->env.fd,
				   (off_t)self->q.args.doorbell_offset));
	EXPECT_EQ(ENODEV, errno);
	ASSERT_EQ(0, onpu_write_file(SYS_DRIVER "bind", self->name));
}

/* A queue that has the number on the card that another one had: 0, or an error. */
static int heir(struct onpu_env *env, struct uq *q, uint64_t offset)
{
	struct uq others[16];
	int count = 0, ret;

	do {
		ret = uq_create(env, q, 4, DRM_ONPU_BO_SYSTEM, 0);
		if (!ret && q->args.doorbell_offset != offset)
			others[count++] = *q;
	} while (!ret && q->args.doorbell_offset != offset && count < 16);
	while (count)
		uq_destroy(&others[--count]);
	return ret ? ret : q->args.doorbell_offset == offset ? 0 : -ENOENT;
}

/* What a process had mapped of a queue that is no more rings nobody, whoever has its number now. */
TEST_F_TIMEOUT(uq, doorbells_of_the_past, 100)
{
	enum { DESTROYED, FAULT, RESET, GONE, ENDS };
	char path[512], reset[600];

	ASSERT_EQ(0, onpu_sysfs(self->env.fd, path, sizeof(path)));
	snprintf(reset, sizeof(reset), "%s/reset", path);
	for (int end = 0; end < ENDS; end++) {
		struct onpu_env other = { .fd = -1, .next_va = 0x10000000ull };
		struct onpu_env *env = &self->env;
		volatile uint32_t *old;
		struct uq q, next;

		ASSERT_EQ(0, uq_create(env, &q, 4, DRM_ONPU_BO_SYSTEM, 0));
		ASSERT_EQ(0, uq_run(&q));
		old = q.doorbell;
		EXPECT_EQ(q.tail, *old);
		if (end == FAULT) {
			uq_add(&q, pkt_fill(0x7000000000ull, 8, 0));
			EXPECT_EQ(-ECANCELED, uq_run(&q));
		} else if (end == RESET) {
			ASSERT_EQ(0, onpu_write_file(reset, "1"));
			EXPECT_EQ(-ECANCELED, uq_wait_for(&q, 1000, WAIT_NS));
		} else if (end == GONE) {
			ASSERT_EQ(0, onpu_write_file(SYS_DRIVER "unbind", self->name));
			ASSERT_EQ(0, onpu_write_file(SYS_DRIVER "bind", self->name));
			other.fd = onpu_open();
			ASSERT_EQ(0, lr_vm_create(other.fd, &other.vm));
			env = &other;
		}
		*old = 500;	/* more than a ring ahead */
		if (end != GONE)
			ASSERT_EQ(0, onpu_queue_destroy(env->fd, q.args.id));
		ASSERT_EQ(0, heir(env, &next, q.args.doorbell_offset)) TH_LOG("end %d", end);
		for (uint32_t i = 0; i < 100; i++) {
			*old = 1000 + i;
			ASSERT_EQ(1000 + i, *old);
			ASSERT_EQ(i, *next.doorbell);
			ASSERT_EQ(0, uq_run(&next)) TH_LOG("end %d, round %u", end, i);
		}
		EXPECT_EQ(0, uq_flags(&next));
		uq_destroy(&next);
		munmap((void *)old, PAGE);
		close(other.fd);
	}
}

/* ---- memory that moves -------------------------------------------------------------------- */

static int advise(int fd, uint32_t handle, uint32_t advice)
{
	struct drm_onpu_bo_advise args = { .handle = handle, .advice = advice };

	return onpu_ioctl(fd, DRM_IOCTL_ONPU_BO_ADVISE, &args);
}

static uint32_t region(int fd, uint32_t handle)
{
	struct drm_onpu_bo_info info = { .handle = handle };

	return onpu_ioctl(fd, DRM_IOCTL_ONPU_BO_INFO, &info) ? ~0u : info.region;
}

TEST_F_TIMEOUT(uq, memory_moves_while_it_runs, 100)
{
	struct onpu_buf buf[2];
	uint64_t sum = 0;

	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, onpu_buf_new(&self->env, MIB(1), DRM_ONPU_BO_VRAM, &buf[i]));
	for (uint32_t i = 0; i < MIB(1) / 4; i++)
		((uint32_t *)buf[0].cpu)[i] = i * 2654435761u;
	for (int round = 0; round < 10; round++) {
		/* It copies to and fro, and stands at a WAIT in the end. */
		for (int i = 0; i < 10; i++) {
			uq_add(&self->q, pkt_copy(buf[1].va, buf[0].va, MIB(1)));
			uq_add(&self->q, pkt_fill(buf[0].va, MIB(1), 0));
			uq_add(&self->q, pkt_copy(buf[0].va, buf[1].va, MIB(1)));
		}
		sum = uq_signal(&self->q);
		uq_add(&self->q, pkt_wait(uq_fence_va(&self->q) + 8, ONPU_WAIT_EQ,
					  (uint64_t)round + 1));
		uq_ring(&self->q);
		if (round & 1)
			ASSERT_EQ(0, uq_wait_for(&self->q, sum, WAIT_NS));
		ASSERT_EQ(0, advise(self->env.fd, buf[round / 2 % 2].handle, DRM_ONPU_ADVISE_EVICT));
		self->q.fence[1] = (uint64_t)round + 1;
		ASSERT_EQ(0, uq_wait_for(&self->q, sum, WAIT_NS));
		ASSERT_EQ(0, uq_run(&self->q));
		/* A job that uses it found it where it belongs. */
		EXPECT_EQ(DRM_ONPU_REGION_VRAM, region(self->env.fd, buf[0].handle));
		EXPECT_EQ(DRM_ONPU_REGION_VRAM, region(self->env.fd, buf[1].handle));
	}
	for (uint32_t i = 0; i < MIB(1) / 4; i++)
		ASSERT_EQ(i * 2654435761u, ((uint32_t *)buf[0].cpu)[i]);
	EXPECT_EQ(0, uq_flags(&self->q));
}

TEST_F_TIMEOUT(uq, binds_while_it_runs, 100)
{
	for (uint32_t i = 1; i <= 30; i++) {
		struct onpu_buf buf;

		ASSERT_EQ(0, onpu_buf_new(&self->env, KIB(256), i & 1 ? DRM_ONPU_BO_VRAM :
					  DRM_ONPU_BO_SYSTEM, &buf));
		uq_add(&self->q, pkt_fill(buf.va, KIB(256), i));
		ASSERT_EQ(0, uq_run(&self->q));
		EXPECT_EQ(i, ((uint32_t *)buf.cpu)[KIB(64) - 1]);
		onpu_buf_free(&self->env, &buf);
	}
	/* What is not mapped any more is a fault. */
	uq_add(&self->q, pkt_fill(self->env.next_va - KIB(256), 4, 1));
	EXPECT_EQ(-ECANCELED, uq_run(&self->q));
	EXPECT_TRUE(uq_flags(&self->q) & DRM_ONPU_QUEUE_FAULT);
}

/*
 * Moved away, and there after @us. A queue whose last fence has come may be at work for a moment
 * still, and then its memory comes back once.
 */
static bool stays_away(int fd, uint32_t handle, unsigned int us)
{
	for (int i = 0; i < 50; i++) {
		if (advise(fd, handle, DRM_ONPU_ADVISE_EVICT))
			return false;
		usleep(us);
		if (region(fd, handle) == DRM_ONPU_REGION_SYSTEM)
			return true;
	}
	return false;
}

/* What is moved away under queues that have nothing to do stays away until one has. */
TEST_F_TIMEOUT(uq, idle_memory_stays_away, 60)
{
	struct onpu_buf buf;
	struct uq other;

	ASSERT_EQ(0, onpu_buf_new(&self->env, MIB(1), DRM_ONPU_BO_VRAM, &buf));
	ASSERT_EQ(0, uq_create(&self->env, &other, 4, DRM_ONPU_BO_SYSTEM, 0));
	for (uint32_t i = 1; i <= 20; i++) {
		struct uq *q = i & 1 ? &self->q : &other;

		uq_add(q, pkt_fill(buf.va, MIB(1), i));
		ASSERT_EQ(0, uq_run(q));
		ASSERT_TRUE(stays_away(self->env.fd, buf.handle, i * 1000));
		ASSERT_EQ(i, ((volatile uint32_t *)buf.cpu)[MIB(1) / 4 - 1]);
		/* So it does when something is mapped meanwhile. */
		if (i % 3 == 0) {
			struct onpu_buf more;

			ASSERT_EQ(0, onpu_buf_new(&self->env, PAGE, DRM_ONPU_BO_VRAM, &more));
			ASSERT_EQ(DRM_ONPU_REGION_SYSTEM, region(self->env.fd, buf.handle));
			uq_add(q, pkt_fill(more.va, PAGE, i));
			ASSERT_EQ(0, uq_run(q));
			EXPECT_EQ(i, ((volatile uint32_t *)more.cpu)[7]);
			EXPECT_EQ(DRM_ONPU_REGION_VRAM, region(self->env.fd, buf.handle));
			onpu_buf_free(&self->env, &more);
		}
	}
	/* One that has work, if only to wait, has its memory. */
	uq_add(&other, pkt_wait(uq_fence_va(&other) + 8, ONPU_WAIT_EQ, 1));
	uq_ring(&other);
	ASSERT_EQ(0, uq_run(&self->q));
	ASSERT_EQ(0, advise(self->env.fd, buf.handle, DRM_ONPU_ADVISE_EVICT));
	for (int i = 0; i < 500 && region(self->env.fd, buf.handle) != DRM_ONPU_REGION_VRAM; i++)
		usleep(10000);
	EXPECT_EQ(DRM_ONPU_REGION_VRAM, region(self->env.fd, buf.handle));
	other.fence[1] = 1;
	ASSERT_EQ(0, uq_run(&other));
	uq_destroy(&other);
}

/* The card's firmware forgets in a reset that it was suspended; so must the driver. */
TEST_F_TIMEOUT(uq, reset_while_it_dozes, 60)
{
	char path[512], reset[600];
	struct onpu_buf buf;
	struct uq q;

	ASSERT_EQ(0, onpu_sysfs(self->env.fd, path, sizeof(path)));
	snprintf(reset, sizeof(reset), "%s/reset", path);
	ASSERT_EQ(0, onpu_buf_new(&self->env, MIB(1), DRM_ONPU_BO_VRAM, &buf));
	uq_add(&self->q, pkt_fill(buf.va, MIB(1), 1));
	ASSERT_EQ(0, uq_run(&self->q));
	for (uint32_t i = 2; i < 6; i++) {
		ASSERT_TRUE(stays_away(self->env.fd, buf.handle, 20000));
		ASSERT_EQ(0, onpu_write_file(reset, "1"));
		ASSERT_EQ(0, uq_create(&self->env, &q, 4, DRM_ONPU_BO_VRAM, 0));
		uq_add(&q, pkt_fill(buf.va, MIB(1), i));
		ASSERT_EQ(0, uq_run(&q)) TH_LOG("round %u, flags %u", i, uq_flags(&q));
		EXPECT_EQ(DRM_ONPU_REGION_VRAM, region(self->env.fd, buf.handle));
		EXPECT_EQ(i, ((volatile uint32_t *)buf.cpu)[7]);
		uq_destroy(&q);
	}
	onpu_buf_free(&self->env, &buf);
}

/* Doorbells rung while memory is moved away all the time: none is lost. */
TEST_F_TIMEOUT(uq, rung_while_it_dozes, 60)
{
	struct onpu_buf buf;
	int status;
	pid_t pid;

	ASSERT_EQ(0, onpu_buf_new(&self->env, MIB(1), DRM_ONPU_BO_VRAM, &buf));
	pid = fork();
	if (!pid) {
		for (;;)
			advise(self->env.fd, buf.handle, DRM_ONPU_ADVISE_EVICT);
	}
	ASSERT_GT(pid, 0);
	for (uint32_t i = 1; i <= onpu_rounds(300, 30); i++) {
		uq_add(&self->q, pkt_fill(buf.va + i % 256 * PAGE, 64, i));
		ASSERT_EQ(0, uq_run(&self->q));
		ASSERT_EQ(i, ((volatile uint32_t *)buf.cpu)[i % 256 * PAGE / 4]);
	}
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, uq_flags(&self->q));
}

/* User-mode queues or kernel queues, one after the other but never both. */
TEST_F_TIMEOUT(uq, kinds_of_queues, 60)
{
	int fd = self->env.fd;
	struct onpu_buf buf;
	uint32_t queue;

	ASSERT_EQ(0, onpu_buf_new(&self->env, MIB(1), DRM_ONPU_BO_VRAM, &buf));
	for (uint32_t i = 1; i <= 5; i++) {
		struct uq q;

		EXPECT_EQ(-EINVAL, onpu_queue_create(fd, self->env.vm, 0, &queue));
		uq_add(&self->q, pkt_fill(buf.va, MIB(1), i));
		ASSERT_EQ(0, uq_run(&self->q));
		/* Also when the context is suspended at that time. */
		if (i & 1)
			ASSERT_EQ(0, advise(fd, buf.handle, DRM_ONPU_ADVISE_EVICT));
		uq_destroy(&self->q);
		ASSERT_EQ(0, onpu_queue_create(fd, self->env.vm, 0, &queue));
		EXPECT_EQ(-EINVAL, uq_create(&self->env, &q, 4, DRM_ONPU_BO_SYSTEM, 0));
		onpu_buf_free(&self->env, &q.mem);
		EXPECT_EQ(i, ((volatile uint32_t *)buf.cpu)[5]);
		((struct onpu_packet *)buf.cpu)[0] = pkt_fill(buf.va + PAGE, PAGE, 100 + i);
		ASSERT_EQ(0, onpu_submit(fd, queue, buf.va, 1, 0, 0));
		for (int t = 0; t < 1000 && ((volatile uint32_t *)buf.cpu)[PAGE / 4 + 3] != 100 + i; t++)
			usleep(1000);
		EXPECT_EQ(100 + i, ((volatile uint32_t *)buf.cpu)[PAGE / 4 + 3]);
		ASSERT_EQ(0, onpu_queue_destroy(fd, queue));
		/* Its number counts until its jobs have ended. */
		for (int t = 0; t < 100; t++) {
			int ret = uq_create(&self->env, &self->q, ORDER, DRM_ONPU_BO_SYSTEM, 1);

			if (!ret)
				break;
			ASSERT_EQ(-EINVAL, ret);
			onpu_buf_free(&self->env, &self->q.mem);
			usleep(10000);
		}
		ASSERT_EQ(0, uq_run(&self->q));
	}
}

TEST_HARNESS_MAIN

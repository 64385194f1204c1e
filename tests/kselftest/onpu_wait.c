// SPDX-License-Identifier: GPL-2.0-only
/* Waiting for words of memory: WAIT, and eventfds that tell when to look (QUEUE_NOTIFY). */
#include "kselftest_harness.h"

#include "onpu_kselftest.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

#define SYS_DRIVER "/sys/bus/pci/drivers/onpu/"
/* Long enough that a wake-up that never comes is told from one that comes late. */
#define LONG_NS 15000000000ll
#define SOON_NS 300000000ll

static int wait_until(int fd, const volatile uint64_t *word, uint32_t op, uint64_t value,
		      uint32_t queue, int64_t end)
{
	struct drm_onpu_wait args = {
		.addr = USER_PTR(word), .value = value, .op = op, .queue_id = queue,
		.timeout_ns = end,
	};

	return onpu_ioctl(fd, DRM_IOCTL_ONPU_WAIT, &args);
}

static int wait_for(int fd, const volatile uint64_t *word, uint64_t value, uint32_t queue,
		    int64_t ns)
{
	return wait_until(fd, word, DRM_ONPU_WAIT_EQ, value, queue, onpu_now() + ns);
}

static int notify(int fd, uint32_t queue, int eventfd)
{
	struct drm_onpu_queue_notify args = { .queue_id = queue, .fd = eventfd };

	return onpu_ioctl(fd, DRM_IOCTL_ONPU_QUEUE_NOTIFY, &args);
}

/* What the eventfd has counted, waiting @ms for the first; it is 0 afterwards. */
static uint64_t counted(int eventfd, int ms)
{
	struct pollfd poller = { .fd = eventfd, .events = POLLIN };
	uint64_t count = 0;

	if (poll(&poller, 1, ms) != 1 || read(eventfd, &count, sizeof(count)) != sizeof(count))
		return 0;
	return count;
}

static struct onpu_packet pkt_signal_irq(uint64_t va, uint64_t value)
{
	struct onpu_packet packet = pkt_signal(va, value);

	packet.flags = ONPU_PKT_IRQ;
	return packet;
}

/* A caller of WAIT in a thread of its own. */
struct waiter {
	pthread_t thread;
	int fd, result;
	const volatile uint64_t *word;
	uint64_t value;
	uint32_t queue;
	int64_t took;
};

static void *waiter_main(void *arg)
{
	struct waiter *w = arg;
	int64_t start = onpu_now();

	w->result = wait_for(w->fd, w->word, w->value, w->queue, LONG_NS);
	w->took = onpu_now() - start;
	return NULL;
}

static int waiter_start(struct waiter *w, int fd, const volatile uint64_t *word, uint64_t value,
			uint32_t queue)
{
	*w = (struct waiter){ .fd = fd, .word = word, .value = value, .queue = queue };
	return pthread_create(&w->thread, NULL, waiter_main, w);
}

static int waiter_join(struct waiter *w)
{
	pthread_join(w->thread, NULL);
	return w->result;
}

FIXTURE(wait)
{
	struct onpu_env env;
	struct onpu_buf buf;
	volatile uint64_t *words;
	struct drm_onpu_query_memory before;
	char name[64];
};

FIXTURE_SETUP(wait)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	ASSERT_EQ(0, onpu_bus_name(fd, self->name, sizeof(self->name)));
	ASSERT_EQ(0, onpu_env_on(&self->env, fd));
	/* Words that jobs wait for meanwhile: the CPU has to reach them where they are. */
	ASSERT_EQ(0, onpu_buf_new(&self->env, PAGE, DRM_ONPU_BO_VRAM | DRM_ONPU_BO_CPU_VISIBLE,
				  &self->buf));
	self->words = self->buf.cpu;
}

FIXTURE_TEARDOWN(wait)
{
	onpu_env_fini(&self->env);
	onpu_unmap_all();
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

TEST_F(wait, arguments)
{
	uint64_t word[2] = { 5, 0 };
	struct drm_onpu_wait good = { .addr = USER_PTR(word), .value = 5, .op = DRM_ONPU_WAIT_EQ };
	struct drm_onpu_wait bad;
	int fd = self->env.fd;

#define BAD(error, member, what) do {						\
		bad = good;							\
		bad.member = what;						\
		EXPECT_EQ(error, onpu_ioctl(fd, DRM_IOCTL_ONPU_WAIT, &bad));	\
	} while (0)

	EXPECT_EQ(0, onpu_ioctl(fd, DRM_IOCTL_ONPU_WAIT, &good));
	BAD(-EINVAL, op, DRM_ONPU_WAIT_LT + 1);
	BAD(-EINVAL, op, ~0u);
	BAD(-EINVAL, flags, 1);
	BAD(-EINVAL, pad, 1);
	BAD(-EINVAL, addr, USER_PTR(word) + 4);
	BAD(-EFAULT, addr, 0);
	BAD(-EFAULT, addr, 1ull << 63);
	BAD(-EFAULT, addr, ~7ull);
	BAD(-ENOENT, queue_id, self->env.queue + 1);
	BAD(-ETIME, value, 6);
	good.queue_id = self->env.queue;
	EXPECT_EQ(0, onpu_ioctl(fd, DRM_IOCTL_ONPU_WAIT, &good));
	/* The whole range of times. */
	EXPECT_EQ(-ETIME, wait_until(fd, word, DRM_ONPU_WAIT_EQ, 6, 0, INT64_MIN));
	good.timeout_ns = INT64_MAX;
	EXPECT_EQ(0, onpu_ioctl(fd, DRM_IOCTL_ONPU_WAIT, &good));
#undef BAD
}

TEST_F(wait, comparisons)
{
	static const uint64_t values[] = { 0, 1, 1ull << 31, 1ull << 32, 1ull << 63, UINT64_MAX };

	for (int i = 0; i < 6; i++) {
		for (int j = 0; j < 6; j++) {
			uint64_t a = values[i], b = values[j];
			const bool holds[] = { a >= b, a == b, a != b, a > b, a <= b, a < b };

			self->words[3] = a;
			for (uint32_t op = 0; op < 6; op++) {
				EXPECT_EQ(holds[op] ? 0 : -ETIME,
					  wait_until(self->env.fd, &self->words[3], op, b, 0, 0)) {
					TH_LOG("op %u, %llx, %llx", op, (unsigned long long)a,
					       (unsigned long long)b);
				}
			}
		}
	}
}

TEST_F(wait, the_time_is_over)
{
	int64_t start = onpu_now(), took;

	EXPECT_EQ(-ETIME, wait_for(self->env.fd, self->words, 1, 0, 50000000));
	took = onpu_now() - start;
	EXPECT_LE(50000000, took);
	EXPECT_GT(LONG_NS, took);
	/* Nothing woke it, but the word is looked at once more. */
	EXPECT_EQ(-ETIME, wait_for(self->env.fd, self->words, 1, self->env.queue, 1));
}

TEST_F_TIMEOUT(wait, for_a_signal, 60)
{
	for (uint64_t i = 1; i <= 50; i++) {
		struct waiter waiter;

		/* The job waits for the CPU, so that the waiter sleeps, now and then. */
		onpu_add(&self->env, pkt_wait(self->buf.va + 8, ONPU_WAIT_EQ, i));
		onpu_add(&self->env, pkt_signal_irq(self->buf.va, i));
		ASSERT_EQ(0, onpu_start(&self->env, 0, self->env.sync));
		ASSERT_EQ(0, waiter_start(&waiter, self->env.fd, self->words, i,
					  i & 1 ? self->env.queue : 0));
		if (i % 4 < 2)
			usleep(10000);
		self->words[1] = i;
		EXPECT_EQ(0, waiter_join(&waiter));
		EXPECT_GT(LONG_NS, waiter.took);
		ASSERT_EQ(0, onpu_sync_wait(self->env.fd, self->env.sync));
	}
}

/* Each for its own word; all of them are woken by every signal. */
TEST_F_TIMEOUT(wait, many_at_once, 60)
{
	struct waiter waiters[16];

	for (uint32_t i = 0; i < 16; i++)
		ASSERT_EQ(0, waiter_start(&waiters[i], self->env.fd, &self->words[i], i + 1, 0));
	usleep(50000);
	for (uint32_t i = 0; i < 16; i++)
		onpu_add(&self->env, pkt_signal_irq(self->buf.va + 8 * (15 - i), 16 - i));
	ASSERT_EQ(0, onpu_run(&self->env));
	for (uint32_t i = 0; i < 16; i++) {
		EXPECT_EQ(0, waiter_join(&waiters[i]));
		EXPECT_GT(LONG_NS, waiters[i].took);
	}
}

TEST_F(wait, memory_of_the_process)
{
	volatile uint64_t word = 0;
	struct waiter waiter;

	/* The card does not store here, but its interrupts have it looked at. */
	ASSERT_EQ(0, waiter_start(&waiter, self->env.fd, &word, 7, 0));
	usleep(20000);
	word = 7;
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_nop()));
	EXPECT_EQ(0, waiter_join(&waiter));
	EXPECT_GT(LONG_NS, waiter.took);
}

TEST_F(wait, memory_that_goes)
{
	volatile uint64_t *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct waiter waiter;

	ASSERT_NE(MAP_FAILED, (void *)page);
	ASSERT_EQ(0, waiter_start(&waiter, self->env.fd, page, 7, 0));
	usleep(50000);
	munmap((void *)page, PAGE);
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_nop()));
	EXPECT_EQ(-EFAULT, waiter_join(&waiter));
}

TEST_F(wait, the_queue_is_destroyed)
{
	struct waiter waiter;

	onpu_add(&self->env, pkt_wait(self->buf.va + 8, ONPU_WAIT_EQ, 1));
	ASSERT_EQ(0, onpu_start(&self->env, 0, self->env.sync));
	ASSERT_EQ(0, waiter_start(&waiter, self->env.fd, self->words, 1, self->env.queue));
	usleep(50000);
	ASSERT_EQ(0, onpu_queue_destroy(self->env.fd, self->env.queue));
	EXPECT_EQ(-ECANCELED, waiter_join(&waiter));
	EXPECT_GT(LONG_NS, waiter.took);
}

TEST_F(wait, the_queue_dies)
{
	struct waiter waiter;

	ASSERT_EQ(0, waiter_start(&waiter, self->env.fd, &self->words[2], 1, self->env.queue));
	usleep(20000);
	/* What it stored before counts, whether it is looked at before it dies or after. */
	onpu_add(&self->env, pkt_signal(self->buf.va, 1));
	onpu_add(&self->env, pkt_fill(0x7000000000ull, 8, 0));
	EXPECT_EQ(-EFAULT, onpu_run(&self->env));
	EXPECT_EQ(-ECANCELED, waiter_join(&waiter));
	EXPECT_EQ(0, wait_for(self->env.fd, self->words, 1, self->env.queue, LONG_NS));
	EXPECT_EQ(-ECANCELED, wait_for(self->env.fd, self->words, 2, self->env.queue, LONG_NS));
	EXPECT_EQ(-ETIME, wait_for(self->env.fd, self->words, 2, 0, 1000000));
}

/* The word may be stored by anybody: WAIT looks at memory of the caller, not at whose queue it is. */
TEST_F_TIMEOUT(wait, a_fence_of_another_context, 60)
{
	int fd = self->env.fd, fd2;
	struct drm_prime_handle prime = { .handle = self->buf.handle, .flags = DRM_RDWR | DRM_CLOEXEC };
	struct onpu_env other;
	struct waiter waiter;
	uint32_t handle;

	/* Another address space of the same file. */
	ASSERT_EQ(0, onpu_env_on(&other, fd));
	ASSERT_EQ(0, onpu_map(fd, other.vm, self->buf.handle, 0, 0x700000000ull, PAGE, 0));
	ASSERT_EQ(0, waiter_start(&waiter, fd, self->words, 1, 0));
	ASSERT_EQ(0, onpu_run_one(&other, pkt_signal_irq(0x700000000ull, 1)));
	EXPECT_EQ(0, waiter_join(&waiter));
	EXPECT_GT(LONG_NS, waiter.took);

	/* Another file, to which the memory was given. It may also die: the word is not its business. */
	ASSERT_EQ(0, onpu_ioctl(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime));
	fd2 = onpu_open();
	ASSERT_EQ(0, onpu_env_on(&other, fd2));
	prime.handle = 0;
	ASSERT_EQ(0, onpu_ioctl(fd2, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime));
	handle = prime.handle;
	ASSERT_EQ(0, onpu_map(fd2, other.vm, handle, 0, 0x700000000ull, PAGE, 0));
	ASSERT_EQ(0, waiter_start(&waiter, fd, self->words, 2, 0));
	ASSERT_EQ(0, onpu_run_one(&other, pkt_signal_irq(0x700000000ull, 2)));
	EXPECT_EQ(0, waiter_join(&waiter));
	EXPECT_GT(LONG_NS, waiter.took);

	/* A queue of another file is none for this one: nobody learns of its death by guessing. */
	EXPECT_EQ(-ENOENT, wait_for(fd, self->words, 3, other.queue + 100, 1000000));
	EXPECT_EQ(-EFAULT, onpu_run_one(&other, pkt_fill(0x7000000000ull, 8, 0)));
	EXPECT_EQ(-ETIME, wait_for(fd, self->words, 3, 0, 1000000));
	/* The file whose queue is dead learns it, and of what it had stored before. */
	EXPECT_EQ(-ECANCELED, wait_for(fd2, self->words, 3, other.queue, LONG_NS));
	EXPECT_EQ(0, wait_for(fd2, self->words, 2, other.queue, LONG_NS));
	close(prime.fd);
	onpu_env_fini(&other);
}

static void ignore(int sig)
{
}

static void *kick(void *arg)
{
	usleep(100000);
	pthread_kill(*(pthread_t *)arg, SIGUSR1);
	return NULL;
}

TEST_F(wait, signals_to_the_process)
{
	pthread_t self_thread = pthread_self(), kicker;
	int64_t end;

	for (int restart = 0; restart < 2; restart++) {
		struct sigaction action = {
			.sa_handler = ignore, .sa_flags = restart ? SA_RESTART : 0,
		};
		struct drm_onpu_wait args = { .addr = USER_PTR(self->words), .value = 1 };

		end = onpu_now() + SOON_NS;
		args.timeout_ns = end;
		sigaction(SIGUSR1, &action, NULL);
		ASSERT_EQ(0, pthread_create(&kicker, NULL, kick, &self_thread));
		errno = 0;
		EXPECT_EQ(-1, ioctl(self->env.fd, DRM_IOCTL_ONPU_WAIT, &args));
		EXPECT_EQ(restart ? ETIME : EINTR, errno);
		/* Restarted, it ends when it would have ended. */
		if (restart)
			EXPECT_LE(end, onpu_now());
		pthread_join(kicker, NULL);
	}
}

TEST_F_TIMEOUT(wait, the_card_goes, 60)
{
	struct waiter waiters[2];

	ASSERT_EQ(0, waiter_start(&waiters[0], self->env.fd, self->words, 1, 0));
	ASSERT_EQ(0, waiter_start(&waiters[1], self->env.fd, self->words, 1, self->env.queue));
	usleep(50000);
	ASSERT_EQ(0, onpu_write_file(SYS_DRIVER "unbind", self->name));
	EXPECT_EQ(-ENODEV, waiter_join(&waiters[0]));
	EXPECT_EQ(-ENODEV, waiter_join(&waiters[1]));
	EXPECT_GT(LONG_NS, waiters[0].took);
	EXPECT_EQ(-ENODEV, wait_for(self->env.fd, self->words, 0, 0, LONG_NS));
	EXPECT_EQ(-ENODEV, notify(self->env.fd, self->env.queue, -1));
	ASSERT_EQ(0, onpu_write_file(SYS_DRIVER "bind", self->name));
}

TEST_F(wait, notify_arguments)
{
	struct drm_onpu_queue_notify good = { .queue_id = self->env.queue, .fd = -1 }, bad;
	int fd = self->env.fd, eventfd_a = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	ASSERT_GE(eventfd_a, 0);
	EXPECT_EQ(0, onpu_ioctl(fd, DRM_IOCTL_ONPU_QUEUE_NOTIFY, &good));
	bad = good;
	bad.flags = 1;
	EXPECT_EQ(-EINVAL, onpu_ioctl(fd, DRM_IOCTL_ONPU_QUEUE_NOTIFY, &bad));
	bad = good;
	bad.pad = 1;
	EXPECT_EQ(-EINVAL, onpu_ioctl(fd, DRM_IOCTL_ONPU_QUEUE_NOTIFY, &bad));
	EXPECT_EQ(-EINVAL, notify(fd, self->env.queue, -2));
	EXPECT_EQ(-ENOENT, notify(fd, self->env.queue + 1, eventfd_a));
	EXPECT_EQ(-ENOENT, notify(fd, 0, eventfd_a));
	EXPECT_EQ(-EBADF, notify(fd, self->env.queue, 1000));
	EXPECT_EQ(-EINVAL, notify(fd, self->env.queue, fd));
	close(eventfd_a);
}

TEST_F(wait, notify_of_jobs_and_signals)
{
	int a = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), b = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	ASSERT_EQ(0, notify(self->env.fd, self->env.queue, a));
	EXPECT_EQ(0, counted(a, 0));
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_nop()));
	EXPECT_LE(1, counted(a, 5000));
	/* A signal in the middle of a job that does not end. */
	onpu_add(&self->env, pkt_signal_irq(self->buf.va, 9));
	onpu_add(&self->env, pkt_wait(self->buf.va + 8, ONPU_WAIT_EQ, 1));
	ASSERT_EQ(0, onpu_start(&self->env, 0, self->env.sync));
	EXPECT_LE(1, counted(a, 5000));
	EXPECT_EQ(0, wait_for(self->env.fd, self->words, 9, 0, LONG_NS));
	/* Another one in its place. */
	ASSERT_EQ(0, notify(self->env.fd, self->env.queue, b));
	counted(a, 0);
	self->words[1] = 1;
	ASSERT_EQ(0, onpu_sync_wait(self->env.fd, self->env.sync));
	EXPECT_LE(1, counted(b, 5000));
	EXPECT_EQ(0, counted(a, 0));
	/* And none. */
	ASSERT_EQ(0, notify(self->env.fd, self->env.queue, -1));
	counted(b, 0);
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_nop()));
	EXPECT_EQ(0, counted(b, 100));
	close(a);
	close(b);
}

TEST_F(wait, notify_of_the_end)
{
	int a = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	/* Of a fault, which is no interrupt of the queue. */
	ASSERT_EQ(0, notify(self->env.fd, self->env.queue, a));
	EXPECT_EQ(-EFAULT, onpu_run_one(&self->env, pkt_fill(0x7000000000ull, 8, 0)));
	EXPECT_LE(1, counted(a, 5000));
	/* The queue has it, whoever else closes it. */
	ASSERT_EQ(0, onpu_env_new_queue(&self->env));
	ASSERT_EQ(0, notify(self->env.fd, self->env.queue, a));
	close(a);
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_nop()));
	a = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ASSERT_EQ(0, notify(self->env.fd, self->env.queue, a));
	ASSERT_EQ(0, onpu_queue_destroy(self->env.fd, self->env.queue));
	EXPECT_LE(1, counted(a, 5000));
	close(a);
}

TEST_HARNESS_MAIN

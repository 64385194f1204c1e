// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a job costs a process beside its work, measured in the guest.
 *
 *     guest_latency [--nvme DEV] [--virtio DEV] [--rounds N] [--segments N] [--rates N]
 *
 * Idea: jobs that do nothing but say that they are done, through the kernel's interface itself, beside
 * block devices whose storage does nothing, driven by loops as tight. Everybody has a turn
 * of TURN operations (throughput: of SLICE_NS) in each round, in this process, for two equal devices
 * that are measured one after the other differ by more than what is looked for. The order rotates.
 *
 * Prints, a line each:
 *     lat NAME SEGMENT P50 P90 P99 N     ns, of the N operations of a segment
 *     all NAME P50 P90 P99 MAX N         ns, of all segments
 *     rate NAME SLICE OPS_PER_S
 *     irqs NAME OPS INTERRUPTS           of the device, over all turns
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "../kselftest/onpu_uq.h"
#include "guest_disk.h"
#include "took.h"

#define TURN		50u
#define SLICE_NS	30000000ll
#define WARM_NS		3000000ll
#define QUEUES_MAX	8u
#define PROCESSES_MAX	8u
#define DEPTH_MAX	1024u
#define UQ_ORDER	11u		/* twice DEPTH_MAX */
#define MANY		256u		/* jobs of a kernel queue that are in flight */

static void check(int ret, const char *what)
{
	if (!ret)
		return;
	fprintf(stderr, "guest_latency: %s: %s\n", what, strerror(-ret));
	exit(1);
}

/* ---- statistics ---- */

static uint64_t percentile(const uint64_t *sorted, size_t n, unsigned int percent)
{
	size_t i = n * percent / 100;

	return sorted[i < n ? i : n - 1];
}

/* Interrupts so far whose name in /proc/interrupts contains @name. */
static uint64_t interrupts(const char *name)
{
	FILE *file = fopen("/proc/interrupts", "re");
	char line[1024];
	uint64_t sum = 0;

	while (file && fgets(line, sizeof(line), file)) {
		char *at = strchr(line, ':'), *end;

		if (!at || !strstr(line, name))
			continue;
		for (at++;; at = end) {
			uint64_t n = strtoull(at, &end, 10);

			if (end == at)
				break;
			sum += n;
		}
	}
	if (file)
		fclose(file);
	return sum;
}

/* ---- the card ---- */

struct card {
	struct onpu_env env;		/* the kernel queue, and address space of the others */
	struct onpu_env lr;
	struct uq uq[QUEUES_MAX];	/* ring and fence in card memory */
	struct uq sys;			/* in system memory */
	uint32_t timeline;
	uint64_t point;
};

static void open_queues(struct onpu_env *lr, struct uq *uq, unsigned int n, uint32_t where)
{
	for (unsigned int i = 0; i < n; i++)
		check(uq_create(lr, &uq[i], UQ_ORDER, where, DRM_ONPU_PRIORITY_MEDIUM),
		      "user-mode queue");
}

static void open_lr(struct onpu_env *lr)
{
	memset(lr, 0, sizeof(*lr));
	lr->fd = onpu_open();
	check(lr->fd < 0 ? lr->fd : 0, "card");
	lr->next_va = 0x10000000ull;
	check(lr_vm_create(lr->fd, &lr->vm), "address space");
}

static uint32_t timeline_create(int fd)
{
	uint32_t handle = onpu_sync_create(fd, false);

	check(handle ? 0 : -ENOMEM, "syncobj");
	return handle;
}

static void card_open(struct card *card)
{
	uint32_t where = DRM_ONPU_BO_VRAM | DRM_ONPU_BO_CPU_VISIBLE;

	check(onpu_env_init(&card->env), "card");
	open_lr(&card->lr);
	open_queues(&card->lr, card->uq, QUEUES_MAX, where);
	open_queues(&card->lr, &card->sys, 1, DRM_ONPU_BO_SYSTEM);
	card->timeline = timeline_create(card->env.fd);
	card->env.packets[0] = pkt_nop();
}

static inline void uq_put(struct uq *q, uint8_t flags)
{
	struct onpu_packet packet = pkt_signal(uq_fence_va(q), ++q->seq);

	packet.flags = flags;
	q->ring[q->tail++ % (1u << UQ_ORDER)] = packet;
}

static inline int uq_spin(const struct uq *q, uint64_t seq)
{
	int64_t end = 0;

	for (unsigned int i = 1; *q->fence < seq; i++) {
		if (i % 1000000)
			continue;
		if (!end)
			end = onpu_now() + WAIT_NS;
		if (onpu_now() > end)
			return -ETIME;
	}
	return 0;
}

static int uq_polled(struct uq *q)
{
	uq_put(q, 0);
	uq_ring(q);
	return uq_spin(q, q->seq);
}

static int uq_waited(struct uq *q)
{
	uq_put(q, ONPU_PKT_IRQ);
	uq_ring(q);
	return uq_wait_for(q, q->seq, WAIT_NS);
}

static int kq_submit(struct card *card, uint32_t count)
{
	struct drm_onpu_job jobs[64];
	struct drm_onpu_sync sync = {
		.flags = DRM_ONPU_SYNC_SIGNAL | DRM_ONPU_SYNC_TIMELINE,
		.handle = card->timeline, .point = ++card->point,
	};

	memset(jobs, 0, count * sizeof(jobs[0]));
	for (uint32_t i = 0; i < count; i++) {
		jobs[i].cmd_va = card->env.cmd.va;
		jobs[i].cmd_count = 1;
	}
	/* The last one tells, jobs of a queue being in order. */
	jobs[count - 1].syncs = (struct drm_onpu_array){
		.count = 1, .stride = sizeof(sync), .ptr = USER_PTR(&sync),
	};
	return onpu_submit_jobs(card->env.fd, card->env.queue, jobs, count);
}

static int kq_wait(struct card *card, uint64_t point)
{
	return onpu_timeline_wait_for(card->env.fd, card->timeline, point, WAIT_NS);
}

static int kq_waited(struct card *card)
{
	int ret = kq_submit(card, 1);

	return ret ? ret : kq_wait(card, card->point);
}

/* ---- latency, everybody in turn ---- */

struct bench {
	struct card card;
	struct disk nvme, virtio;
	struct uring nvme_irq, nvme_poll, virtio_irq, virtio_poll;
	bool has_nvme, has_virtio;
	bool nvme_polls, virtio_polls;
};

static struct bench bench;

static int lat_uq_poll(void)
{
	return uq_polled(&bench.card.uq[0]);
}

static int lat_uq_poll_sys(void)
{
	return uq_polled(&bench.card.sys);
}

static int lat_uq_wait(void)
{
	return uq_waited(&bench.card.uq[0]);
}

static int lat_kq_wait(void)
{
	return kq_waited(&bench.card);
}

static int lat_nvme_flush(void)
{
	return disk_nvme_flush(&bench.nvme);
}

static int lat_nvme_read(void)
{
	return disk_pread(&bench.nvme);
}

static int lat_nvme_uring(void)
{
	return uring_one(&bench.nvme_irq);
}

static int lat_nvme_iopoll(void)
{
	return uring_one(&bench.nvme_poll);
}

static int lat_virtio_read(void)
{
	return disk_pread(&bench.virtio);
}

static int lat_virtio_iopoll(void)
{
	return uring_one(&bench.virtio_poll);
}

struct contestant {
	const char *name;
	const char *irq;	/* its device in /proc/interrupts */
	const bool *there;
	int (*run)(void);
	uint64_t *took;		/* of all segments */
	uint64_t irqs;
};

static const bool always = true;

static struct contestant contestants[] = {
	{ .name = "uq-poll", .irq = "onpu", .there = &always, .run = lat_uq_poll },
	{ .name = "uq-poll-sys", .irq = "onpu", .there = &always, .run = lat_uq_poll_sys },
	{ .name = "uq-wait", .irq = "onpu", .there = &always, .run = lat_uq_wait },
	{ .name = "kq-wait", .irq = "onpu", .there = &always, .run = lat_kq_wait },
	{ .name = "nvme-flush", .irq = "nvme", .there = &bench.has_nvme, .run = lat_nvme_flush },
	{ .name = "nvme-read", .irq = "nvme", .there = &bench.has_nvme, .run = lat_nvme_read },
	{ .name = "nvme-uring", .irq = "nvme", .there = &bench.has_nvme, .run = lat_nvme_uring },
	{ .name = "nvme-iopoll", .irq = "nvme", .there = &bench.nvme_polls,
	  .run = lat_nvme_iopoll },
	{ .name = "virtio-read", .irq = "virtio", .there = &bench.has_virtio,
	  .run = lat_virtio_read },
	{ .name = "virtio-iopoll", .irq = "virtio", .there = &bench.virtio_polls,
	  .run = lat_virtio_iopoll },
};

#define CONTESTANTS (sizeof(contestants) / sizeof(contestants[0]))

static void one_turn(struct contestant *c, uint64_t *took)
{
	uint64_t before = interrupts(c->irq);

	for (unsigned int i = 0; i < TURN; i++) {
		int64_t start = onpu_now();

		check(c->run(), c->name);
		took[i] = (uint64_t)(onpu_now() - start);
	}
	c->irqs += interrupts(c->irq) - before;
}

static void latencies(unsigned int segments, unsigned int rounds)
{
	size_t n = (size_t)rounds * TURN, all = n * segments;

	for (size_t i = 0; i < CONTESTANTS; i++) {
		contestants[i].took = calloc(all, sizeof(uint64_t));
		check(contestants[i].took ? 0 : -ENOMEM, "memory");
		if (*contestants[i].there)	/* warm */
			one_turn(&contestants[i], contestants[i].took);
		contestants[i].irqs = 0;
	}
	for (size_t turn = 0; turn < (size_t)rounds * segments; turn++) {
		for (size_t i = 0; i < CONTESTANTS; i++) {
			struct contestant *c = &contestants[(i + turn) % CONTESTANTS];

			if (*c->there)
				one_turn(c, c->took + turn * TURN);
		}
	}
	for (size_t i = 0; i < CONTESTANTS; i++) {
		struct contestant *c = &contestants[i];

		if (!*c->there)
			continue;
		for (unsigned int s = 0; s < segments; s++) {
			uint64_t *t = c->took + s * n;

			qsort(t, n, sizeof(*t), ascending);
			printf("lat %s %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %zu\n", c->name, s,
			       percentile(t, n, 50), percentile(t, n, 90), percentile(t, n, 99), n);
		}
		qsort(c->took, all, sizeof(uint64_t), ascending);
		printf("all %s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %zu\n", c->name,
		       percentile(c->took, all, 50), percentile(c->took, all, 90),
		       percentile(c->took, all, 99), c->took[all - 1], all);
		printf("irqs %s %zu %" PRIu64 "\n", c->name, all, c->irqs);
	}
}

/* ---- throughput, slices in turn ---- */

static void uq_refill(struct uq *q, uint64_t depth, uint64_t *done)
{
	uint64_t left = q->seq - *q->fence;

	if (left >= depth)
		return;
	*done += depth - left;
	for (; left < depth; left++)
		uq_put(q, 0);
	uq_ring(q);
}

/* Jobs that ended in @ns; @depth of each queue are in flight. */
static uint64_t uq_stream(struct uq *uq, unsigned int queues, uint64_t depth, int64_t ns)
{
	int64_t end = onpu_now() + ns;
	uint64_t put = 0;

	do {
		for (unsigned int round = 0; round < 8; round++)
			for (unsigned int i = 0; i < queues; i++)
				uq_refill(&uq[i], depth, &put);
	} while (onpu_now() < end);
	for (unsigned int i = 0; i < queues; i++)
		check(uq_spin(&uq[i], uq[i].seq), "user-mode queue");
	return put;
}

/* As many jobs an ioctl as given, MANY in flight. */
static uint64_t kq_stream(struct card *card, uint32_t batch, int64_t ns)
{
	int64_t end = onpu_now() + ns;
	uint64_t first = card->point, behind = MANY / batch, since = 0;

	do {
		check(kq_submit(card, batch), "SUBMIT");
		/* Half of them at a time, so that a wait seldom sleeps for one. */
		if (++since >= behind / 2 && card->point - first > behind) {
			check(kq_wait(card, card->point - behind / 2), "wait");
			since = 0;
		}
	} while (onpu_now() < end);
	check(kq_wait(card, card->point), "wait");
	return (card->point - first) * batch;
}

static uint64_t uring_stream(struct uring *ring, uint32_t depth, int64_t ns)
{
	int64_t end = onpu_now() + ns;
	uint32_t put = depth, want = depth > 4 ? depth / 4 : 1;
	uint64_t done = 0;
	int got;

	for (uint32_t i = 0; i < depth; i++)
		uring_add(ring, i);
	do {
		check(uring_enter(ring, put, want), "io_uring");
		got = uring_reap(ring, true);
		check(got < 0 ? got : 0, "read");
		put = (uint32_t)got;
		done += put;
	} while (onpu_now() < end);
	/* What has been put again is run, too, so that the next one finds nothing in flight. */
	for (uint32_t left = depth; left; left -= (uint32_t)got) {
		check(uring_enter(ring, put, left), "io_uring");
		got = uring_reap(ring, false);
		check(got < 0 ? got : 0, "read");
		done += (uint64_t)got;
		put = 0;
	}
	return done;
}

struct worker {
	int go[2], told[2];
	pid_t pid;
};

static struct worker workers[PROCESSES_MAX];

static int worker_main(const struct worker *w)
{
	struct onpu_env lr;
	struct uq uq;
	int64_t ns;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	open_lr(&lr);
	open_queues(&lr, &uq, 1, DRM_ONPU_BO_VRAM | DRM_ONPU_BO_CPU_VISIBLE);
	while (read(w->go[0], &ns, sizeof(ns)) == sizeof(ns)) {
		uint64_t done = uq_stream(&uq, 1, 32, ns);

		if (write(w->told[1], &done, sizeof(done)) != sizeof(done))
			return 1;
	}
	return 0;
}

static void start_workers(void)
{
	for (unsigned int i = 0; i < PROCESSES_MAX; i++) {
		struct worker *w = &workers[i];

		check(pipe2(w->go, O_CLOEXEC) || pipe2(w->told, O_CLOEXEC) ? -errno : 0, "pipe");
		w->pid = fork();
		check(w->pid < 0 ? -errno : 0, "fork");
		if (!w->pid)
			_exit(worker_main(w));
	}
}

static uint64_t process_stream(unsigned int n, int64_t ns)
{
	uint64_t sum = 0, done;

	for (unsigned int i = 0; i < n; i++)
		check(write(workers[i].go[1], &ns, sizeof(ns)) == sizeof(ns) ? 0 : -EIO, "worker");
	for (unsigned int i = 0; i < n; i++) {
		check(read(workers[i].told[0], &done, sizeof(done)) == sizeof(done) ? 0 : -EIO,
		      "worker");
		sum += done;
	}
	return sum;
}

enum kind { UQ, UQ_SYS, KQ, PROCESSES, NVME, NVME_POLL, VIRTIO, VIRTIO_POLL };

struct stream {
	const char *name;
	enum kind kind;
	uint32_t a, b;		/* queues and depth; jobs an ioctl; processes; depth */
	uint64_t ops, irqs;
};

static struct stream streams[] = {
	{ .name = "uq-depth-1", .kind = UQ, .a = 1, .b = 1 },
	{ .name = "uq-depth-32", .kind = UQ, .a = 1, .b = 32 },
	{ .name = "uq-depth-1024", .kind = UQ, .a = 1, .b = 1024 },
	{ .name = "uq-sys-depth-32", .kind = UQ_SYS, .a = 1, .b = 32 },
	{ .name = "uq-2-queues", .kind = UQ, .a = 2, .b = 32 },
	{ .name = "uq-4-queues", .kind = UQ, .a = 4, .b = 32 },
	{ .name = "uq-8-queues", .kind = UQ, .a = 8, .b = 32 },
	{ .name = "uq-1-process", .kind = PROCESSES, .a = 1 },
	{ .name = "uq-2-processes", .kind = PROCESSES, .a = 2 },
	{ .name = "uq-4-processes", .kind = PROCESSES, .a = 4 },
	{ .name = "uq-8-processes", .kind = PROCESSES, .a = 8 },
	{ .name = "kq-1-an-ioctl", .kind = KQ, .a = 1 },
	{ .name = "kq-16-an-ioctl", .kind = KQ, .a = 16 },
	{ .name = "nvme-depth-1", .kind = NVME, .b = 1 },
	{ .name = "nvme-depth-32", .kind = NVME, .b = 32 },
	{ .name = "nvme-depth-128", .kind = NVME, .b = 128 },
	{ .name = "nvme-depth-512", .kind = NVME, .b = 512 },
	{ .name = "nvme-poll-depth-32", .kind = NVME_POLL, .b = 32 },
	{ .name = "nvme-poll-depth-128", .kind = NVME_POLL, .b = 128 },
	{ .name = "nvme-poll-depth-512", .kind = NVME_POLL, .b = 512 },
	{ .name = "virtio-depth-32", .kind = VIRTIO, .b = 32 },
	{ .name = "virtio-depth-128", .kind = VIRTIO, .b = 128 },
	{ .name = "virtio-poll-depth-32", .kind = VIRTIO_POLL, .b = 32 },
	{ .name = "virtio-poll-depth-128", .kind = VIRTIO_POLL, .b = 128 },
};

#define STREAMS (sizeof(streams) / sizeof(streams[0]))

static bool stream_there(const struct stream *s)
{
	switch (s->kind) {
	case NVME:
		return bench.has_nvme;
	case NVME_POLL:
		return bench.nvme_polls;
	case VIRTIO:
		return bench.has_virtio;
	case VIRTIO_POLL:
		return bench.virtio_polls;
	default:
		return true;
	}
}

static uint64_t run_stream(const struct stream *s, int64_t ns)
{
	switch (s->kind) {
	case UQ:
		return uq_stream(bench.card.uq, s->a, s->b, ns);
	case UQ_SYS:
		return uq_stream(&bench.card.sys, s->a, s->b, ns);
	case KQ:
		return kq_stream(&bench.card, s->a, ns);
	case PROCESSES:
		return process_stream(s->a, ns);
	case NVME:
		return uring_stream(&bench.nvme_irq, s->b, ns);
	case NVME_POLL:
		return uring_stream(&bench.nvme_poll, s->b, ns);
	case VIRTIO:
		return uring_stream(&bench.virtio_irq, s->b, ns);
	default:
		return uring_stream(&bench.virtio_poll, s->b, ns);
	}
}

static const char *stream_irq(const struct stream *s)
{
	return s->kind < NVME ? "onpu" : s->kind < VIRTIO ? "nvme" : "virtio";
}

static void rates(unsigned int slices)
{
	for (unsigned int slice = 0; slice < slices; slice++) {
		for (size_t i = 0; i < STREAMS; i++) {
			struct stream *s = &streams[(i + slice) % STREAMS];
			uint64_t ops, before;
			int64_t start, took;

			if (!stream_there(s))
				continue;
			run_stream(s, WARM_NS);
			before = interrupts(stream_irq(s));
			start = onpu_now();
			ops = run_stream(s, SLICE_NS);
			took = onpu_now() - start;
			s->irqs += interrupts(stream_irq(s)) - before;
			s->ops += ops;
			printf("rate %s %u %.0f\n", s->name, slice, (double)ops * 1e9 / (double)took);
		}
	}
	for (size_t i = 0; i < STREAMS; i++)
		if (streams[i].ops)
			printf("irqs %s %" PRIu64 " %" PRIu64 "\n", streams[i].name,
			       streams[i].ops, streams[i].irqs);
}

/* ---- the whole ---- */

static void open_disk(const char *path, struct disk *disk, struct uring *irq, struct uring *poll,
		      bool *polls)
{
	int ret;

	check(disk_open(disk, path, DEPTH_MAX), path);
	check(uring_open(irq, disk, DEPTH_MAX, false), path);
	check(uring_open(poll, disk, DEPTH_MAX, true), path);
	/* -EOPNOTSUPP: the driver was loaded without queues for it. */
	ret = uring_one(poll);
	check(ret == -EOPNOTSUPP ? 0 : ret, path);
	*polls = !ret;
}

int main(int argc, char **argv)
{
	unsigned int rounds = 8, segments = 5, slices = 6;
	const char *nvme = NULL, *virtio = NULL;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--nvme"))
			nvme = argv[i + 1];
		else if (!strcmp(argv[i], "--virtio"))
			virtio = argv[i + 1];
		else if (!strcmp(argv[i], "--rounds"))
			rounds = (unsigned int)atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--segments"))
			segments = (unsigned int)atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--rates"))
			slices = (unsigned int)atoi(argv[i + 1]);
		else
			check(-EINVAL, argv[i]);
	}
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	start_workers();
	card_open(&bench.card);
	if (nvme) {
		open_disk(nvme, &bench.nvme, &bench.nvme_irq, &bench.nvme_poll, &bench.nvme_polls);
		bench.has_nvme = true;
	}
	if (virtio) {
		open_disk(virtio, &bench.virtio, &bench.virtio_irq, &bench.virtio_poll,
			  &bench.virtio_polls);
		bench.has_virtio = true;
	}
	if (rounds && segments)
		latencies(segments, rounds);
	rates(slices);
	fflush(stdout);
	return 0;
}

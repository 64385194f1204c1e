// SPDX-License-Identifier: GPL-2.0-only
/*
 * Systematic fault injection: of each call the first, second, third … allocation of memory,
 * of pages or copy from or to user space fails, until the call needs no more of them. Each time
 * the error is one that such a failure may have, and what was done is undone: memory is back,
 * and the same call works afterwards. The debug kernel's checkers watch, kmemleak at the end.
 *
 * By /proc/thread-self/fail-nth, so that nothing but the call is hit. The kernel has it when it
 * is built with fault injection; on others there is nothing to test.
 */
#include "kselftest_harness.h"

#include <ctype.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "onpu_kselftest.h"

#define FAIL_NTH "/proc/thread-self/fail-nth"
#define FAIL_ALL "/proc/thread-self/make-it-fail"
#define DEBUG "/sys/kernel/debug/"
#define SYS_DRIVER "/sys/bus/pci/drivers/onpu/"

/* A call that fails this often has no end. */
#define MOST 3000

/*
 * Large allocations that fail are said by the kernel, with a trace. And when an interrupt comes
 * without its files in /proc, that they are not there is a warning when it goes.
 */
static void __attribute__((constructor)) announce(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("# expect-kernel: Call Trace|page allocation failure|vmalloc error|"
	       "fs/proc/generic.c.*remove_proc_entry\n");
}

/* ---- injection ----------------------------------------------------------- */

static int nth_fd = -1, all_fd = -1;

/* From the chosen place on, all allocations fail. */
static bool for_good;

/*
 * The allocations that may sleep are all that a driver has; the default leaves them out. Those of a
 * task that is to fail do when no place is counted to, which is so when the place was reached.
 */
static bool inject_init(void)
{
	static const char * const settings[][2] = {
		{ "failslab/ignore-gfp-wait", "N" },
		{ "failslab/verbose", "0" },
		{ "failslab/task-filter", "Y" },
		{ "failslab/times", "-1" },
		{ "failslab/probability", "100" },
		{ "fail_page_alloc/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/ignore-gfp-highmem", "N" },
		{ "fail_page_alloc/min-order", "0" },
		{ "fail_page_alloc/verbose", "0" },
		{ "fail_page_alloc/task-filter", "Y" },
		{ "fail_page_alloc/times", "-1" },
		{ "fail_page_alloc/probability", "100" },
		{ "fail_usercopy/verbose", "0" },
	};
	char path[128];

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		snprintf(path, sizeof(path), DEBUG "%s", settings[i][0]);
		if (onpu_write_file(path, settings[i][1]))
			return false;
	}
	nth_fd = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	all_fd = open(FAIL_ALL, O_RDWR | O_CLOEXEC);
	return nth_fd >= 0 && all_fd >= 0;
}

/* Code of the kernel or of a module. */
struct range {
	unsigned long long start, end;
};

/* Which symbols of code a range spans. */
struct choice {
	const char *names[2];
	struct range range;
};

static void choose(struct choice *choice, const char *name, unsigned long long addr)
{
	for (int i = 0; i < 2; i++) {
		/* The unlikely part of a function is far from it. */
		if (!choice->names[i] || !strstr(name, choice->names[i]) ||
		    strstr(name, ".cold"))
			continue;
		if (addr < choice->range.start)
			choice->range.start = addr;
		if (addr >= choice->range.end)
			choice->range.end = addr + 1;
	}
}

/* Finds both; the first must be there. */
static bool find_code(struct choice *first, struct choice *second)
{
	unsigned long long addr;
	char line[256], name[128], type;
	FILE *file = fopen("/proc/kallsyms", "r");

	first->range = second->range = (struct range){ ~0ull, 0 };
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%llx %c %127s", &addr, &type, name) != 3 ||
		    tolower(type) != 't' || !strncmp(name, "__pfx_", 6))
			continue;
		choose(first, name, addr);
		choose(second, name, addr);
	}
	if (file)
		fclose(file);
	return first->range.start < first->range.end;
}

static bool set_filter(const char *which, struct range range)
{
	static const char * const kinds[] = { "failslab", "fail_page_alloc", "fail_usercopy" };
	char path[128], text[32];

	for (size_t i = 0; i < 2 * sizeof(kinds) / sizeof(kinds[0]); i++) {
		snprintf(path, sizeof(path), DEBUG "%s/%s-%s", kinds[i / 2], which,
			 i % 2 ? "end" : "start");
		snprintf(text, sizeof(text), "0x%llx", i % 2 ? range.end : range.start);
		if (onpu_write_file(path, text))
			return false;
	}
	return true;
}

/* The longest of those functions is shorter. */
#define CODE_SIZE 0x400

/* Where the function after the one at @start begins. */
static unsigned long long next_function(unsigned long long start)
{
	unsigned long long addr, next = ~0ull;
	char line[256], type;
	FILE *file = fopen("/proc/kallsyms", "r");

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%llx %c", &addr, &type) == 2 && tolower(type) == 't' &&
		    addr > start && addr < next)
			next = addr;
	if (file)
		fclose(file);
	return next;
}

/*
 * Says where failures may happen: in all of a call, or below the function of the driver that brings
 * a card up. Not elsewhere in a probe, and never in the kernel's buddy allocator, because the
 * kernel's own handling of such failures is wrong there, which no driver can help (6.12.117,
 * found by this test): a block that cannot be split is freed while it is in the tree of free ones
 * (alloc_from_freetree()), and a minor's device that was not made is put (drm_minor_alloc()).
 */
static bool set_filters(bool probe)
{
	struct choice init = { .names = { "onpu_device_init" } };
	struct choice buddy = { .names = { "gpu_buddy_alloc", "gpu_buddy_block_trim" } };
	struct range where = { 0, ~0ull };

	if (!find_code(&init, &buddy))
		return false;
	if (probe)
		where = (struct range){ init.range.start, next_function(init.range.start) };
	buddy.range.end += CODE_SIZE;
	return set_filter("require", where) &&
	       (buddy.range.start > buddy.range.end || set_filter("reject", buddy.range));
}

static void inject_at(unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	/* This one first: what it copies would be counted. */
	if (for_good && pwrite(all_fd, "1", 1, 0) != 1)
		abort();
	if (pwrite(nth_fd, text, (size_t)len, 0) != len)
		abort();
}

/* Ends the injection; true when the call was hit. */
static bool inject_end(void)
{
	char text[16] = "";
	/* Reading copies, too: what is left may hit that. Then it did not hit the call. */
	bool hit = pread(nth_fd, text, sizeof(text) - 1, 0) > 0 && atoi(text) == 0;

	for (int i = 0; i < 4 && pwrite(nth_fd, "0", 1, 0) != 1; i++)
		;
	if (for_good && pwrite(all_fd, "0", 1, 0) != 1)
		abort();
	return hit;
}

/* ---- what is called -------------------------------------------------------- */

struct ctx {
	struct onpu_env env;
	struct onpu_buf buf;		/* 4 MiB of card memory, bound */
	struct onpu_buf sys;		/* 64 KiB of system memory, bound */
	uint32_t handle, id, syncs[3];
	uint32_t lr_vm;			/* a long-running address space */
	uint64_t offset;
	void *ptr;
	int fd;
	int importer;			/* that imports, one of the next two */
	int same, far;			/* another file of this card, one of another card */
	int dma_buf;
	char path[512];
};

struct call {
	const char *name;
	void (*prepare)(struct ctx *ctx);	/* before each try, or NULL */
	int (*make)(struct ctx *ctx);
	void (*undo)(struct ctx *ctx);		/* after a try that succeeded, or NULL */
	int (*after)(struct ctx *ctx, int ret);	/* after each try, or NULL: what it gave */
	int errors[5];				/* besides -ENOMEM and -EFAULT */
	unsigned int least;			/* tries that must have failed */
	int nr;					/* 1 + the driver's ioctl, or 0 */
};

#define FREE_VA 0x700000000000ull
#define GIB_FAR (1ull << 39)

static int query(struct ctx *ctx, uint32_t type, uint32_t size)
{
	static uint64_t data[32];
	struct drm_onpu_dev_query args = { .type = type, .size = size, .ptr = USER_PTR(data) };

	return onpu_ioctl(ctx->env.fd, DRM_IOCTL_ONPU_DEV_QUERY, &args);
}

static int make_query(struct ctx *ctx)
{
	static const uint32_t sizes[] = {
		sizeof(struct drm_onpu_query_device), sizeof(struct drm_onpu_query_memory),
		sizeof(struct drm_onpu_query_firmware), sizeof(struct drm_onpu_query_limits),
		sizeof(struct drm_onpu_query_counters),
	};
	int ret = 0;

	for (uint32_t type = 0; type < 5 && !ret; type++)
		ret = query(ctx, type, sizes[type]);
	return ret;
}

static int make_bo_vram(struct ctx *ctx)
{
	return onpu_bo_create(ctx->env.fd, MIB(1) + PAGE, DRM_ONPU_BO_VRAM, 0, &ctx->handle);
}

static int make_bo_system(struct ctx *ctx)
{
	return onpu_bo_create(ctx->env.fd, KIB(256), DRM_ONPU_BO_SYSTEM, 0, &ctx->handle);
}

static int make_bo_private(struct ctx *ctx)
{
	return onpu_bo_create(ctx->env.fd, KIB(8), DRM_ONPU_BO_VRAM | DRM_ONPU_BO_SYSTEM,
			      ctx->env.vm, &ctx->handle);
}

static void close_bo(struct ctx *ctx)
{
	onpu_bo_close(ctx->env.fd, ctx->handle);
}

static void have_bo(struct ctx *ctx)
{
	if (make_bo_vram(ctx))
		abort();
}

static int make_close(struct ctx *ctx)
{
	return onpu_bo_close(ctx->env.fd, ctx->handle);
}

static int make_offset(struct ctx *ctx)
{
	return onpu_bo_offset(ctx->env.fd, ctx->handle, &ctx->offset);
}

static void have_offset(struct ctx *ctx)
{
	have_bo(ctx);
	if (make_offset(ctx))
		abort();
}

static int make_mmap(struct ctx *ctx)
{
	void *ptr = mmap(NULL, MIB(1), PROT_READ | PROT_WRITE, MAP_SHARED, ctx->env.fd,
			 (off_t)ctx->offset);

	if (ptr == MAP_FAILED)
		return -errno;
	ctx->ptr = ptr;
	return 0;
}

static void unmap_bo(struct ctx *ctx)
{
	munmap(ctx->ptr, MIB(1));
	ctx->ptr = NULL;
}

static sigjmp_buf fault_jump;

static void on_fault(int signal)
{
	(void)signal;
	siglongjmp(fault_jump, 1);
}

static void drop_map(struct ctx *ctx)
{
	unmap_bo(ctx);
	close_bo(ctx);
}

static void have_map(struct ctx *ctx)
{
	/* The one of a try that failed. */
	if (ctx->ptr)
		drop_map(ctx);
	if (onpu_bo_create(ctx->env.fd, MIB(1), DRM_ONPU_BO_SYSTEM, 0, &ctx->handle) ||
	    make_offset(ctx) || make_mmap(ctx))
		abort();
}

/* A page fault that cannot be served is a signal. */
static int make_fault(struct ctx *ctx)
{
	struct sigaction action = { .sa_handler = on_fault }, before;
	volatile int ret = 0;

	sigaction(SIGBUS, &action, &before);
	if (sigsetjmp(fault_jump, 1))
		ret = -ENOMEM;
	else
		((volatile char *)ctx->ptr)[5 * PAGE] = 1;
	sigaction(SIGBUS, &before, NULL);
	return ret;
}

static int make_vm(struct ctx *ctx)
{
	return onpu_vm_create(ctx->env.fd, &ctx->id);
}

static int make_vm_destroy(struct ctx *ctx)
{
	return onpu_vm_destroy(ctx->env.fd, ctx->id);
}

static void destroy_vm(struct ctx *ctx)
{
	make_vm_destroy(ctx);
}

static void have_vm(struct ctx *ctx)
{
	if (make_vm(ctx))
		abort();
}

static int make_map(struct ctx *ctx)
{
	return onpu_map(ctx->env.fd, ctx->env.vm, ctx->buf.handle, PAGE, FREE_VA, MIB(2), 0);
}

static void undo_map(struct ctx *ctx)
{
	onpu_unmap(ctx->env.fd, ctx->env.vm, FREE_VA, MIB(4));
}

/* Whatever the try before left there. */
static void have_no_map(struct ctx *ctx)
{
	undo_map(ctx);
}

static void have_huge_map(struct ctx *ctx)
{
	if (onpu_map(ctx->env.fd, ctx->env.vm, ctx->buf.handle, 0, FREE_VA, MIB(4), 0))
		abort();
}

static int make_unmap(struct ctx *ctx)
{
	return onpu_unmap(ctx->env.fd, ctx->env.vm, FREE_VA + PAGE, MIB(3));
}

/* Maps, splits what was mapped, and removes all of it again. */
static int make_binds(struct ctx *ctx)
{
	const struct drm_onpu_bind_op ops[] = {
		{ .type = DRM_ONPU_BIND_MAP, .handle = ctx->buf.handle, .va = FREE_VA,
		  .size = MIB(4) },
		{ .type = DRM_ONPU_BIND_MAP, .handle = ctx->sys.handle, .va = FREE_VA + MIB(1),
		  .size = KIB(16), .flags = DRM_ONPU_BIND_READONLY },
		{ .type = DRM_ONPU_BIND_UNMAP, .va = FREE_VA + PAGE, .size = PAGE },
		{ .type = DRM_ONPU_BIND_MAP, .handle = ctx->sys.handle, .va = FREE_VA + GIB_FAR,
		  .size = PAGE },
		{ .type = DRM_ONPU_BIND_UNMAP, .va = FREE_VA, .size = MIB(4) },
		{ .type = DRM_ONPU_BIND_UNMAP, .va = FREE_VA + GIB_FAR, .size = PAGE },
	};

	return onpu_bind(ctx->env.fd, ctx->env.vm, ops, sizeof(ops) / sizeof(ops[0]), NULL);
}

static int create_lr_vm(struct ctx *ctx, uint32_t *id)
{
	struct drm_onpu_vm_create args = { .flags = DRM_ONPU_VM_LONG_RUNNING };
	int ret = onpu_ioctl(ctx->env.fd, DRM_IOCTL_ONPU_VM_CREATE, &args);

	if (!ret)
		*id = args.id;
	return ret;
}

static int make_lr_vm(struct ctx *ctx)
{
	return create_lr_vm(ctx, &ctx->id);
}

static void have_lr_vm(struct ctx *ctx)
{
	if (!ctx->lr_vm && create_lr_vm(ctx, &ctx->lr_vm))
		abort();
}

/* Its ring is not there; that kills it when it is rung only. */
static int make_user_queue(struct ctx *ctx)
{
	struct drm_onpu_queue_create args = {
		.vm_id = ctx->lr_vm, .priority = DRM_ONPU_PRIORITY_MEDIUM,
		.flags = DRM_ONPU_QUEUE_USER, .ring_va = FREE_VA, .ring_order = 4,
	};
	int ret = onpu_ioctl(ctx->env.fd, DRM_IOCTL_ONPU_QUEUE_CREATE, &args);

	if (!ret) {
		ctx->id = args.id;
		ctx->offset = args.doorbell_offset;
	}
	return ret;
}

static int make_doorbell(struct ctx *ctx)
{
	void *ptr = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ctx->env.fd,
			 (off_t)ctx->offset);

	if (ptr == MAP_FAILED)
		return -errno;
	ctx->ptr = ptr;
	*(volatile uint32_t *)ctx->ptr = 0;
	return 0;
}

static int make_queue(struct ctx *ctx)
{
	return onpu_queue_create(ctx->env.fd, ctx->env.vm, DRM_ONPU_PRIORITY_MEDIUM, &ctx->id);
}

static int make_queue_destroy(struct ctx *ctx)
{
	return onpu_queue_destroy(ctx->env.fd, ctx->id);
}

static void destroy_queue(struct ctx *ctx)
{
	make_queue_destroy(ctx);
}

static void have_user_queue(struct ctx *ctx)
{
	have_lr_vm(ctx);
	for (int i = 0; make_user_queue(ctx); i++) {
		if (i == 100)
			abort();
		usleep(20000);
	}
}

static void destroy_doorbell(struct ctx *ctx)
{
	munmap(ctx->ptr, PAGE);
	ctx->ptr = NULL;
	make_queue_destroy(ctx);
}

static void have_queue(struct ctx *ctx)
{
	/* What the tries before destroyed leaves the card a little later. */
	for (int i = 0; make_queue(ctx); i++) {
		if (i == 100)
			abort();
		usleep(20000);
	}
}

static int make_state(struct ctx *ctx)
{
	struct drm_onpu_queue_get_state state;

	return onpu_queue_state(ctx->env.fd, ctx->env.queue, &state);
}

/* A word that has the value, and belongs to a queue. */
static int make_wait(struct ctx *ctx)
{
	static uint64_t word = 5;
	struct drm_onpu_wait args = {
		.addr = USER_PTR(&word), .value = 5, .op = DRM_ONPU_WAIT_EQ,
		.timeout_ns = onpu_now() + WAIT_NS, .queue_id = ctx->env.queue,
	};

	return onpu_ioctl(ctx->env.fd, DRM_IOCTL_ONPU_WAIT, &args);
}

static int notify(struct ctx *ctx, int fd)
{
	struct drm_onpu_queue_notify args = { .queue_id = ctx->env.queue, .fd = fd };

	return onpu_ioctl(ctx->env.fd, DRM_IOCTL_ONPU_QUEUE_NOTIFY, &args);
}

static void have_eventfd(struct ctx *ctx)
{
	ctx->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ctx->fd < 0)
		abort();
}

static int make_notify(struct ctx *ctx)
{
	return notify(ctx, ctx->fd);
}

/* The queue tells it, or nobody. */
static int after_notify(struct ctx *ctx, int ret)
{
	struct pollfd pfd = { .fd = ctx->fd, .events = POLLIN };

	if (onpu_run_one(&ctx->env, pkt_nop()))
		return -EIO;
	/* It is told a little after the job has ended. */
	if (poll(&pfd, 1, ret ? 0 : 10000) != !ret)
		ret = -EILSEQ;
	notify(ctx, -1);
	close(ctx->fd);
	return ret;
}

/* Behind the packets that onpu_run_one() writes. */
#define SUBMIT_AT 512

/* Two jobs with binary and timeline syncobjs on both sides. */
static int make_submit(struct ctx *ctx)
{
	struct drm_onpu_sync first[] = {
		{ .handle = ctx->syncs[0] },
		{ .flags = DRM_ONPU_SYNC_SIGNAL, .handle = ctx->syncs[1] },
		{ .flags = DRM_ONPU_SYNC_SIGNAL | DRM_ONPU_SYNC_TIMELINE, .handle = ctx->syncs[2],
		  .point = ++ctx->offset },
	};
	struct drm_onpu_sync second[] = {
		{ .handle = ctx->syncs[1] },
		{ .flags = DRM_ONPU_SYNC_TIMELINE, .handle = ctx->syncs[2],
		  .point = ctx->offset },
		{ .flags = DRM_ONPU_SYNC_SIGNAL, .handle = ctx->env.sync },
	};
	struct drm_onpu_job jobs[] = {
		{ .cmd_va = ctx->env.cmd.va + 64 * SUBMIT_AT, .cmd_count = 2,
		  .syncs = { .count = 3, .stride = sizeof(first[0]), .ptr = USER_PTR(first) } },
		{ .cmd_va = ctx->env.cmd.va + 64 * SUBMIT_AT, .cmd_count = 1,
		  .syncs = { .count = 3, .stride = sizeof(second[0]), .ptr = USER_PTR(second) } },
	};

	return onpu_submit_jobs(ctx->env.fd, ctx->env.queue, jobs, 2);
}

static void wait_for_jobs(struct ctx *ctx)
{
	if (onpu_sync_wait(ctx->env.fd, ctx->env.sync))
		abort();
}

static int advise(struct ctx *ctx, uint32_t advice)
{
	struct drm_onpu_bo_advise args = { .handle = ctx->handle, .advice = advice };

	return onpu_ioctl(ctx->env.fd, DRM_IOCTL_ONPU_BO_ADVISE, &args);
}

/* In card memory, with something in it that a move has to keep. */
static void have_movable(struct ctx *ctx)
{
	if (onpu_bo_create(ctx->env.fd, KIB(64), DRM_ONPU_BO_VRAM | DRM_ONPU_BO_SYSTEM, 0,
			   &ctx->handle) ||
	    onpu_map(ctx->env.fd, ctx->env.vm, ctx->handle, 0, FREE_VA, KIB(64), 0) ||
	    onpu_run_one(&ctx->env, pkt_fill(FREE_VA, KIB(64), 0x77)))
		abort();
}

static void have_evicted(struct ctx *ctx)
{
	have_movable(ctx);
	if (advise(ctx, DRM_ONPU_ADVISE_EVICT))
		abort();
}

/* Whether it was moved or not, it holds what it held. */
static int after_advise(struct ctx *ctx, int ret)
{
	if (onpu_run_one(&ctx->env, pkt_copy(ctx->sys.va, FREE_VA + KIB(32), PAGE)) ||
	    *(volatile uint32_t *)ctx->sys.cpu != 0x77)
		ret = -EILSEQ;
	onpu_unmap(ctx->env.fd, ctx->env.vm, FREE_VA, KIB(64));
	close_bo(ctx);
	return ret;
}

static int make_evict(struct ctx *ctx)
{
	return advise(ctx, DRM_ONPU_ADVISE_EVICT);
}

static int make_prefetch(struct ctx *ctx)
{
	return advise(ctx, DRM_ONPU_ADVISE_PREFETCH);
}

static int make_purgeable(struct ctx *ctx)
{
	int ret = advise(ctx, DRM_ONPU_ADVISE_PURGEABLE);

	return ret ? ret : advise(ctx, DRM_ONPU_ADVISE_NEEDED);
}

static int make_info(struct ctx *ctx)
{
	struct drm_onpu_bo_info args = { .handle = ctx->buf.handle };

	return onpu_ioctl(ctx->env.fd, DRM_IOCTL_ONPU_BO_INFO, &args);
}

static char user_memory[8 * PAGE] __attribute__((aligned(4096)));

static int make_userptr(struct ctx *ctx)
{
	struct drm_onpu_bo_userptr args = {
		.addr = USER_PTR(user_memory), .size = sizeof(user_memory),
	};
	int ret = onpu_ioctl(ctx->env.fd, DRM_IOCTL_ONPU_BO_USERPTR, &args);

	ctx->handle = args.handle;
	return ret;
}

static void have_userptr(struct ctx *ctx)
{
	memset(user_memory, 0x33, sizeof(user_memory));
	if (make_userptr(ctx))
		abort();
}

static int make_bind_bo(struct ctx *ctx)
{
	return onpu_map(ctx->env.fd, ctx->env.vm, ctx->handle, 0, FREE_VA, sizeof(user_memory), 0);
}

/* What is bound can be used by the card. */
static int after_bind_bo(struct ctx *ctx, int ret)
{
	if (!ret && onpu_run_one(&ctx->env, pkt_copy(ctx->sys.va, FREE_VA + PAGE, PAGE)))
		ret = -EIO;
	undo_map(ctx);
	close_bo(ctx);
	return ret;
}

static int make_vm_state(struct ctx *ctx)
{
	struct drm_onpu_vm_get_state args = { .id = ctx->env.vm };

	return onpu_ioctl(ctx->env.fd, DRM_IOCTL_ONPU_VM_GET_STATE, &args);
}

/* Nothing over something, and something in the middle of nothing. */
static int make_null_binds(struct ctx *ctx)
{
	const struct drm_onpu_bind_op ops[] = {
		{ .type = DRM_ONPU_BIND_MAP, .handle = ctx->buf.handle, .va = FREE_VA,
		  .size = MIB(4) },
		{ .type = DRM_ONPU_BIND_MAP, .flags = DRM_ONPU_BIND_NULL, .va = FREE_VA + MIB(1),
		  .size = MIB(2) + PAGE },
		{ .type = DRM_ONPU_BIND_MAP, .flags = DRM_ONPU_BIND_NULL,
		  .va = FREE_VA + GIB_FAR, .size = 1ull << 31 },
		{ .type = DRM_ONPU_BIND_MAP, .handle = ctx->sys.handle,
		  .va = FREE_VA + GIB_FAR + MIB(5), .size = KIB(16) },
		{ .type = DRM_ONPU_BIND_UNMAP, .va = FREE_VA, .size = 2 * GIB_FAR },
	};

	return onpu_bind(ctx->env.fd, ctx->env.vm, ops, sizeof(ops) / sizeof(ops[0]), NULL);
}

static int make_export(struct ctx *ctx)
{
	struct drm_prime_handle args = {
		.handle = ctx->handle, .flags = DRM_CLOEXEC | DRM_RDWR, .fd = -1,
	};
	int ret = onpu_ioctl(ctx->env.fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &args);

	if (!ret)
		ctx->dma_buf = args.fd;
	return ret;
}

/* What the file remembers of an export is remembered once: each try has a new object. */
static void have_exportable(struct ctx *ctx)
{
	if (onpu_bo_create(ctx->env.fd, sizeof(user_memory), DRM_ONPU_BO_VRAM | DRM_ONPU_BO_SYSTEM,
			   0, &ctx->handle))
		abort();
	/* DRM opens the descriptor before it fails to say its number: it will be this one. */
	ctx->dma_buf = dup(STDOUT_FILENO);
	close(ctx->dma_buf);
}

static int after_export(struct ctx *ctx, int ret)
{
	close(ctx->dma_buf);
	close_bo(ctx);
	return ret;
}

static void have_dma_buf(struct ctx *ctx)
{
	have_exportable(ctx);
	if (make_export(ctx))
		abort();
	close_bo(ctx);
}

static int make_import(struct ctx *ctx)
{
	struct drm_prime_handle args = { .fd = ctx->dma_buf };
	int ret = onpu_ioctl(ctx->importer, DRM_IOCTL_PRIME_FD_TO_HANDLE, &args);

	ctx->handle = args.handle;
	return ret;
}

static int after_import(struct ctx *ctx, int ret)
{
	if (!ret)
		onpu_bo_close(ctx->importer, ctx->handle);
	close(ctx->dma_buf);
	return ret;
}

static void have_dma_buf_same(struct ctx *ctx)
{
	ctx->importer = ctx->same;
	have_dma_buf(ctx);
}

static void have_dma_buf_far(struct ctx *ctx)
{
	ctx->importer = ctx->far;
	have_dma_buf(ctx);
}

/* Memory of the other card, to be bound on this one. */
static void have_import(struct ctx *ctx)
{
	struct drm_prime_handle args = { .flags = DRM_CLOEXEC | DRM_RDWR };
	uint32_t handle;

	if (onpu_bo_create(ctx->far, sizeof(user_memory), DRM_ONPU_BO_SYSTEM, 0, &handle))
		abort();
	args.handle = handle;
	if (onpu_ioctl(ctx->far, DRM_IOCTL_PRIME_HANDLE_TO_FD, &args))
		abort();
	onpu_bo_close(ctx->far, handle);
	ctx->importer = ctx->env.fd;
	ctx->dma_buf = args.fd;
	if (make_import(ctx))
		abort();
	close(ctx->dma_buf);
}

static int make_open(struct ctx *ctx)
{
	ctx->fd = open(ctx->path, O_RDWR | O_CLOEXEC);
	return ctx->fd < 0 ? -errno : 0;
}

static void close_file(struct ctx *ctx)
{
	close(ctx->fd);
}

static int make_fdinfo(struct ctx *ctx)
{
	char path[64], text[4096];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", ctx->env.fd);
	return onpu_read_file(path, text, sizeof(text));
}

#define NR(name) (1 + DRM_ONPU_##name)

/*
 * Calls that make room in card memory try again when there was no memory: what fails in them
 * once is mostly made good.
 */
static const struct call calls[] = {
	{ "dev_query", NULL, make_query, .least = 10, .nr = NR(DEV_QUERY) },
	{ "bo_create_vram", NULL, make_bo_vram, close_bo, .least = 1, .nr = NR(BO_CREATE) },
	{ "bo_create_system", NULL, make_bo_system, close_bo, .least = 1, .nr = NR(BO_CREATE) },
	{ "bo_create_private", NULL, make_bo_private, close_bo, .least = 1, .nr = NR(BO_CREATE) },
	{ "bo_userptr", NULL, make_userptr, close_bo, .least = 5, .nr = NR(BO_USERPTR) },
	{ "bo_info", NULL, make_info, .least = 2, .nr = NR(BO_INFO) },
	{ "bo_evict", have_movable, make_evict, .after = after_advise, .least = 1,
	  .nr = NR(BO_ADVISE) },
	{ "bo_prefetch", have_evicted, make_prefetch, .after = after_advise, .least = 1,
	  .nr = NR(BO_ADVISE) },
	{ "bo_purgeable", have_bo, make_purgeable, close_bo, .least = 2, .nr = NR(BO_ADVISE) },
	{ "gem_close", have_bo, make_close, .least = 1 },
	{ "bo_mmap_offset", have_bo, make_offset, close_bo, .least = 2,
	  .nr = NR(BO_MMAP_OFFSET) },
	{ "mmap", have_offset, make_mmap, unmap_bo, .least = 1 },
	/* The kernel tries a fault again when there was no memory: the process sees nothing. */
	{ "page_fault", have_map, make_fault, drop_map, .least = 0 },
	{ "export", have_exportable, make_export, .after = after_export, .least = 3 },
	{ "import_same_card", have_dma_buf_same, make_import, .after = after_import, .least = 2 },
	{ "import_other_card", have_dma_buf_far, make_import, .after = after_import, .least = 5 },
	{ "vm_create", NULL, make_vm, destroy_vm, .least = 1, .nr = NR(VM_CREATE) },
	{ "vm_create_long_running", NULL, make_lr_vm, destroy_vm, .least = 1,
	  .nr = NR(VM_CREATE) },
	{ "vm_destroy", have_vm, make_vm_destroy, .least = 1, .nr = NR(VM_DESTROY) },
	{ "vm_get_state", NULL, make_vm_state, .least = 2, .nr = NR(VM_GET_STATE) },
	{ "vm_bind_map", have_no_map, make_map, undo_map, .least = 5, .nr = NR(VM_BIND) },
	{ "vm_bind_unmap", have_huge_map, make_unmap, .least = 4, .nr = NR(VM_BIND) },
	{ "vm_bind_all", NULL, make_binds, .least = 10, .nr = NR(VM_BIND) },
	{ "vm_bind_null", NULL, make_null_binds, .least = 10, .nr = NR(VM_BIND) },
	{ "vm_bind_userptr", have_userptr, make_bind_bo, .after = after_bind_bo, .least = 5,
	  .nr = NR(VM_BIND) },
	{ "vm_bind_import", have_import, make_bind_bo, .after = after_bind_bo, .least = 5,
	  .nr = NR(VM_BIND) },
	{ "queue_create", NULL, make_queue, destroy_queue, .least = 1, .nr = NR(QUEUE_CREATE) },
	{ "queue_create_user", have_lr_vm, make_user_queue, destroy_queue, .least = 1,
	  .nr = NR(QUEUE_CREATE) },
	{ "queue_destroy", have_queue, make_queue_destroy, .least = 1, .nr = NR(QUEUE_DESTROY) },
	{ "queue_get_state", NULL, make_state, .least = 2, .nr = NR(QUEUE_GET_STATE) },
	{ "queue_notify", have_eventfd, make_notify, .after = after_notify, .least = 1,
	  .nr = NR(QUEUE_NOTIFY) },
	{ "doorbell", have_user_queue, make_doorbell, destroy_doorbell, .least = 1 },
	{ "wait", NULL, make_wait, .least = 1, .nr = NR(WAIT) },
	{ "submit", NULL, make_submit, wait_for_jobs, .least = 10, .nr = NR(SUBMIT) },
	{ "open", NULL, make_open, close_file, .errors = { -ENFILE }, .least = 3 },
	/* What proc says when there is no memory for the file's name. */
	{ "fdinfo", NULL, make_fdinfo, .errors = { -EIO, -ENOENT }, .least = 1 },
};

/* ---- the loop -------------------------------------------------------------- */

static bool allowed(const struct call *call, int error)
{
	if (error == -ENOMEM || error == -EFAULT)
		return true;
	for (size_t i = 0; i < sizeof(call->errors) / sizeof(call->errors[0]); i++)
		if (call->errors[i] && call->errors[i] == error)
			return true;
	return false;
}

/*
 * Tries the call with its first, second … failure until none is left, or with each @step-th
 * from @first on. Returns how often it failed, or a negative number after a line that says what
 * is wrong.
 */
static int fail_each(const struct call *call, struct ctx *ctx, unsigned int first,
		     unsigned int step)
{
	char result[MOST + 1] = "";
	unsigned int tries = 0;
	int failed = 0;

	for (unsigned int n = first; n < MOST; n += step) {
		bool hit;
		int ret;

		if (call->prepare)
			call->prepare(ctx);
		inject_at(n);
		ret = call->make(ctx);
		hit = inject_end();
		if (!ret && call->undo)
			call->undo(ctx);
		if (call->after)
			ret = call->after(ctx, ret);
		if (!hit) {
			printf("# %s: %u places, %d failed calls: %s\n", call->name, n - 1, failed,
			       result);
			if (ret)
				printf("# %s: fails with nothing injected: %d\n", call->name, ret);
			return ret ? -1 : failed;
		}
		failed += ret != 0;
		result[tries++] = ret ? ret == -ENOMEM ? 'm' : ret == -EFAULT ? 'f' : 'x' : '.';
		if (ret && !allowed(call, ret)) {
			printf("# %s: failure %u gives error %d\n", call->name, n, ret);
			return -1;
		}
	}
	printf("# %s: fails again and again\n", call->name);
	return -1;
}

FIXTURE(inject)
{
	struct ctx ctx;
	struct drm_onpu_query_memory before;
};

FIXTURE_SETUP(inject)
{
	struct ctx *ctx = &self->ctx;
	struct stat st;
	int fd = onpu_open();

	if (!inject_init() || !set_filters(false))
		SKIP(return, "this kernel injects no faults");
	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	ASSERT_EQ(0, fstat(fd, &st));
	snprintf(ctx->path, sizeof(ctx->path), "/dev/accel/accel%u",
		 (unsigned int)(st.st_rdev & 0xff));
	ASSERT_EQ(0, onpu_env_on(&ctx->env, fd));
	ASSERT_EQ(0, onpu_buf_new(&ctx->env, MIB(4), DRM_ONPU_BO_VRAM, &ctx->buf));
	ASSERT_EQ(0, onpu_buf_new(&ctx->env, KIB(64), DRM_ONPU_BO_SYSTEM, &ctx->sys));
	for (int i = 0; i < 3; i++)
		ctx->syncs[i] = onpu_sync_create(fd, i == 0);
	ctx->env.packets[SUBMIT_AT] = pkt_fill(ctx->buf.va, PAGE, 1);
	ctx->env.packets[SUBMIT_AT + 1] = pkt_nop();
	ctx->same = onpu_open();
	ctx->far = onpu_open_card(1);
	ASSERT_GE(ctx->same, 0);
	ASSERT_GE(ctx->far, 0);
}

FIXTURE_TEARDOWN(inject)
{
	if (nth_fd < 0)
		return;
	/* After all that, the same file does what it is there for. */
	EXPECT_EQ(0, onpu_run_one(&self->ctx.env, pkt_fill(self->ctx.buf.va, PAGE, 0x55)));
	EXPECT_EQ(0x55, *(volatile uint32_t *)self->ctx.buf.cpu);
	close(self->ctx.same);
	close(self->ctx.far);
	onpu_env_fini(&self->ctx.env);
	onpu_unmap_all();
	if (self->ctx.ptr)
		munmap(self->ctx.ptr, MIB(1));
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

/* An ioctl that is new has to be entered above. The driver says which there are. */
TEST_F(inject, every_ioctl_has_an_entry)
{
	int known = 0;

	for (int nr = 0; nr < DRM_COMMAND_END - DRM_COMMAND_BASE; nr++) {
		bool entered = false;

		/* The arguments of one that exists cannot be read: -EFAULT. */
		if (onpu_ioctl(self->ctx.env.fd, DRM_IOWR(DRM_COMMAND_BASE + nr, uint64_t),
			       NULL) == -EINVAL)
			continue;
		known++;
		for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
			entered |= calls[i].nr == 1 + nr;
		EXPECT_TRUE(entered) {
			TH_LOG("ioctl %#x", nr);
		}
	}
	EXPECT_GE(known, 16);
}

/*
 * What makes room, or does with less, hides a failure that happens once.
 * ONPU_FAULTINJ_FOR_GOOD=1: memory does not come back during the call.
 */
TEST_F_TIMEOUT(inject, every_call, 100)
{
	const char *text = getenv("ONPU_FAULTINJ_FOR_GOOD");

	for_good = text && atoi(text) > 0;
	/* Nor for the process's own pages. */
	if (for_good)
		ASSERT_EQ(0, mlockall(MCL_CURRENT | MCL_FUTURE));
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		int failed;

		/* The kernel tries a fault of the process for ever. */
		if (for_good && calls[i].make == make_fault)
			continue;
		failed = fail_each(&calls[i], &self->ctx, 1, 1);
		/* Fewer, and it was not the call that was hit. */
		EXPECT_GE(failed, (int)calls[i].least) {
			TH_LOG("%s", calls[i].name);
		}
	}
}

/* ---- probe ------------------------------------------------------------------- */

static void unbind(struct ctx *ctx)
{
	onpu_write_file(SYS_DRIVER "unbind", ctx->path);
}

static int make_bind(struct ctx *ctx)
{
	ssize_t done = pwrite(ctx->fd, ctx->path, strlen(ctx->path), 0);

	return done < 0 ? -errno : 0;
}

FIXTURE(probe)
{
	struct ctx ctx;
};

FIXTURE_SETUP(probe)
{
	char path[512];
	int fd = onpu_open();

	if (!inject_init() || !set_filters(true))
		SKIP(return, "this kernel injects no faults");
	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, onpu_sysfs(fd, path, sizeof(path)));
	close(fd);
	snprintf(self->ctx.path, sizeof(self->ctx.path), "%s", strrchr(path, '/') + 1);
	self->ctx.fd = open(SYS_DRIVER "bind", O_WRONLY | O_CLOEXEC);
	ASSERT_GE(self->ctx.fd, 0);
}

FIXTURE_TEARDOWN(probe)
{
	struct onpu_env env;

	if (nth_fd < 0)
		return;
	EXPECT_TRUE(set_filters(false));
	make_bind(&self->ctx);
	ASSERT_EQ(0, onpu_env_init(&env));
	EXPECT_EQ(0, onpu_run_one(&env, pkt_fill(env.cmd.va + KIB(32), PAGE, 0x55)));
	onpu_env_fini(&env);
	onpu_unmap_all();
}

/*
 * A probe takes seconds here. So each run tries some of the places, by the clock others than the
 * run before; ONPU_FAULTINJ_STEP=1 tries all.
 */
TEST_F_TIMEOUT(probe, allocations, 100)
{
	/*
	 * What the kernel says when there is no memory for a path, an interrupt, a mapping, a
	 * resource of a BAR and a domain of interrupts.
	 */
	const struct call call = {
		"probe", unbind, make_bind, .errors = { -ENOENT, -ENOSPC, -EINVAL, -EBUSY, -ENODEV },
		.least = 4,
	};
	const char *text = getenv("ONPU_FAULTINJ_STEP");
	unsigned int step = text && atoi(text) > 0 ? (unsigned int)atoi(text) : 8;
	unsigned int first = 1 + (unsigned int)(onpu_now() / 1000) % step;

	EXPECT_GE(fail_each(&call, &self->ctx, first, step), (int)call.least);
}

TEST_HARNESS_MAIN

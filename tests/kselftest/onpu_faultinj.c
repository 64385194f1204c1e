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
#include <setjmp.h>
#include <signal.h>

#include "onpu_kselftest.h"

#define FAIL_NTH "/proc/thread-self/fail-nth"
#define DEBUG "/sys/kernel/debug/"
#define SYS_DRIVER "/sys/bus/pci/drivers/onpu/"

/* A call that fails this often has no end. */
#define MOST 3000

/* Large allocations that fail are said by the kernel, with a trace. */
static void __attribute__((constructor)) announce(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("# expect-kernel: Call Trace|page allocation failure|vmalloc error\n");
}

/* ---- injection ----------------------------------------------------------- */

static int nth_fd = -1;

/* The allocations that may sleep are all that a driver has; the default leaves them out. */
static bool inject_init(void)
{
	static const char * const settings[][2] = {
		{ "failslab/ignore-gfp-wait", "N" },
		{ "failslab/verbose", "0" },
		{ "fail_page_alloc/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/ignore-gfp-highmem", "N" },
		{ "fail_page_alloc/min-order", "0" },
		{ "fail_page_alloc/verbose", "0" },
		{ "fail_usercopy/verbose", "0" },
	};
	char path[128];

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		snprintf(path, sizeof(path), DEBUG "%s", settings[i][0]);
		if (onpu_write_file(path, settings[i][1]))
			return false;
	}
	nth_fd = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	return nth_fd >= 0;
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
		if (!choice->names[i] || !strstr(name, choice->names[i]))
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
	return hit;
}

/* ---- what is called -------------------------------------------------------- */

struct ctx {
	struct onpu_env env;
	struct onpu_buf buf;		/* 4 MiB of card memory, bound */
	struct onpu_buf sys;		/* 64 KiB of system memory, bound */
	uint32_t handle, id, syncs[3];
	uint64_t offset;
	void *ptr;
	int fd;
	char path[512];
};

struct call {
	const char *name;
	void (*prepare)(struct ctx *ctx);	/* before each try, or NULL */
	int (*make)(struct ctx *ctx);
	void (*undo)(struct ctx *ctx);		/* after a try that succeeded, or NULL */
	int errors[4];				/* besides -ENOMEM and -EFAULT */
	unsigned int least;			/* tries that must have failed */
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
	ctx->ptr = mmap(NULL, MIB(1), PROT_READ | PROT_WRITE, MAP_SHARED, ctx->env.fd,
			(off_t)ctx->offset);
	return ctx->ptr == MAP_FAILED ? -errno : 0;
}

static void unmap_bo(struct ctx *ctx)
{
	munmap(ctx->ptr, MIB(1));
}

static sigjmp_buf fault_jump;

static void on_fault(int signal)
{
	(void)signal;
	siglongjmp(fault_jump, 1);
}

static void have_map(struct ctx *ctx)
{
	/* The one of the try before: it has been touched. */
	if (ctx->ptr) {
		munmap(ctx->ptr, MIB(1));
		close_bo(ctx);
	}
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
		{ .cmd_va = ctx->env.cmd.va, .cmd_count = 2,
		  .syncs = { .count = 3, .stride = sizeof(first[0]), .ptr = USER_PTR(first) } },
		{ .cmd_va = ctx->env.cmd.va, .cmd_count = 1,
		  .syncs = { .count = 3, .stride = sizeof(second[0]), .ptr = USER_PTR(second) } },
	};

	return onpu_submit_jobs(ctx->env.fd, ctx->env.queue, jobs, 2);
}

static void wait_for_jobs(struct ctx *ctx)
{
	if (onpu_sync_wait(ctx->env.fd, ctx->env.sync))
		abort();
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

static const struct call calls[] = {
	{ "dev_query", NULL, make_query, NULL, {}, 10 },
	{ "bo_create_vram", NULL, make_bo_vram, close_bo, {}, 3 },
	{ "bo_create_system", NULL, make_bo_system, close_bo, {}, 3 },
	{ "bo_create_private", NULL, make_bo_private, close_bo, {}, 3 },
	{ "gem_close", have_bo, make_close, NULL, {}, 1 },
	{ "bo_mmap_offset", have_bo, make_offset, close_bo, {}, 2 },
	{ "mmap", have_offset, make_mmap, unmap_bo, {}, 1 },
	/* The kernel tries a fault again when there was no memory: the process sees nothing. */
	{ "page_fault", have_map, make_fault, NULL, {}, 0 },
	{ "vm_create", NULL, make_vm, destroy_vm, {}, 4 },
	{ "vm_destroy", have_vm, make_vm_destroy, NULL, {}, 1 },
	{ "vm_bind_map", have_no_map, make_map, undo_map, {}, 5 },
	{ "vm_bind_unmap", have_huge_map, make_unmap, NULL, {}, 4 },
	{ "vm_bind_all", NULL, make_binds, NULL, {}, 10 },
	{ "queue_create", NULL, make_queue, destroy_queue, {}, 10 },
	{ "queue_destroy", have_queue, make_queue_destroy, NULL, {}, 1 },
	{ "queue_get_state", NULL, make_state, NULL, {}, 2 },
	{ "submit", NULL, make_submit, wait_for_jobs, {}, 10 },
	{ "open", NULL, make_open, close_file, { -ENFILE }, 3 },
	{ "fdinfo", NULL, make_fdinfo, NULL, { -EIO }, 1 },
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
		if (!hit) {
			printf("# %s: %u places, %d failed calls\n", call->name, n - 1, failed);
			if (ret)
				printf("# %s: fails with nothing injected: %d\n", call->name, ret);
			return ret ? -1 : failed;
		}
		failed += ret != 0;
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
	ctx->env.packets[0] = pkt_fill(ctx->buf.va, PAGE, 1);
	ctx->env.packets[1] = pkt_nop();
}

FIXTURE_TEARDOWN(inject)
{
	if (nth_fd < 0)
		return;
	/* After all that, the same file does what it is there for. */
	EXPECT_EQ(0, onpu_run_one(&self->ctx.env, pkt_fill(self->ctx.buf.va, PAGE, 0x55)));
	EXPECT_EQ(0x55, *(volatile uint32_t *)self->ctx.buf.cpu);
	onpu_env_fini(&self->ctx.env);
	onpu_unmap_all();
	if (self->ctx.ptr && self->ctx.ptr != MAP_FAILED)
		munmap(self->ctx.ptr, MIB(1));
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

TEST_F_TIMEOUT(inject, every_call, 100)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		int failed = fail_each(&calls[i], &self->ctx, 1, 1);

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
	 * What the kernel says when there is no memory for a path, an interrupt, a mapping and a
	 * resource of a BAR.
	 */
	const struct call call = {
		"probe", unbind, make_bind, NULL, { -ENOENT, -ENOSPC, -EINVAL, -EBUSY }, 4,
	};
	const char *text = getenv("ONPU_FAULTINJ_STEP");
	unsigned int step = text && atoi(text) > 0 ? (unsigned int)atoi(text) : 8;
	unsigned int first = 1 + (unsigned int)(onpu_now() / 1000) % step;

	EXPECT_GE(fail_each(&call, &self->ctx, first, step), (int)call.least);
}

TEST_HARNESS_MAIN

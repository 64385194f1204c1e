// SPDX-License-Identifier: GPL-2.0-only
/*
 * Four processes whose working sets are together four times the card's memory: they allocate,
 * bind, fill, copy, multiply, advise and free at random, and look at every result. In the end
 * memory is as it was.
 *
 * ONPU_WORKSET_SECONDS (10) is how long. For cards with little memory; see onpu_workset_small.
 */
#include "kselftest_harness.h"

#include <sys/wait.h>

#include "onpu_kselftest.h"

#define PROCESSES 4
#define FACTOR 4
#define MAX_OBJECTS 512
#define DIM 32

struct object {
	uint32_t handle;
	uint64_t size;		/* 0: none */
	uint32_t pattern;	/* each word of it */
};

struct worker {
	struct onpu_env env;
	struct object objects[MAX_OBJECTS];
	uint64_t total, limit;	/* bytes of objects */
	struct onpu_buf desc, mat;
	uint64_t seed;
	uint64_t counts[8];
};

static uint32_t draw(struct worker *w, uint32_t below)
{
	w->seed ^= w->seed << 13;
	w->seed ^= w->seed >> 7;
	w->seed ^= w->seed << 17;
	return (uint32_t)(w->seed >> 20) % below;
}

static const uint64_t va_of[2] = { 1ull << 42, 1ull << 43 };

static int bind(struct worker *w, int place, const struct object *o)
{
	return onpu_map(w->env.fd, w->env.vm, o->handle, 0, va_of[place], o->size, 0);
}

static int unbind(struct worker *w, int place, const struct object *o)
{
	return onpu_unmap(w->env.fd, w->env.vm, va_of[place], o->size);
}

/* Runs what was added. No room is no error when others hold it all; it passes. */
static int run(struct worker *w)
{
	uint32_t count = w->env.count;
	int ret;

	for (int i = 0; i < 200; i++) {
		w->env.count = count;
		ret = onpu_run(&w->env);
		if (ret != -ENOMEM)
			return ret;
		w->counts[7]++;
		usleep(2000);
	}
	return ret;
}

static struct object *pick(struct worker *w, bool used)
{
	for (int i = 0; i < 4 * MAX_OBJECTS; i++) {
		struct object *o = &w->objects[draw(w, MAX_OBJECTS)];

		if (!!o->size == used)
			return o;
	}
	return NULL;
}

static int fill(struct worker *w, struct object *o)
{
	int ret = bind(w, 0, o);

	if (ret)
		return ret;
	o->pattern = draw(w, UINT32_MAX) | 1;
	onpu_add(&w->env, pkt_fill(va_of[0], o->size, o->pattern));
	ret = run(w);
	return ret ? ret : unbind(w, 0, o);
}

static int make(struct worker *w)
{
	static const uint32_t flags[] = {
		DRM_ONPU_BO_VRAM, DRM_ONPU_BO_VRAM, DRM_ONPU_BO_VRAM | DRM_ONPU_BO_SYSTEM,
		DRM_ONPU_BO_SYSTEM, DRM_ONPU_BO_VRAM | DRM_ONPU_BO_CPU_VISIBLE,
	};
	static const uint64_t sizes[] = { PAGE, KIB(64), KIB(256), MIB(1), MIB(2), MIB(2) + KIB(68) };
	struct object *o = pick(w, false);
	uint64_t size = sizes[draw(w, 6)];
	int ret;

	if (!o || w->total + size > w->limit)
		return 0;
	ret = onpu_bo_create(w->env.fd, size, flags[draw(w, 5)], draw(w, 2) ? w->env.vm : 0,
			     &o->handle);
	if (ret == -ENOMEM)
		return 0;
	if (ret)
		return ret;
	o->size = size;
	w->total += size;
	return fill(w, o);
}

static int drop(struct worker *w, struct object *o)
{
	w->total -= o->size;
	o->size = 0;
	return onpu_bo_close(w->env.fd, o->handle);
}

/* By the CPU, wherever it is: some words of each page. */
static int look(struct worker *w, const struct object *o)
{
	uint32_t *data = onpu_bo_map(w->env.fd, o->handle, o->size);
	int ret = 0;

	if (!data)
		return -ENXIO;
	for (uint64_t i = draw(w, 1024); i < o->size / 4 && !ret; i += 509)
		if (data[i] != o->pattern)
			ret = -EILSEQ;
	if (ret)
		fprintf(stderr, "# %u KiB: %#x is not %#x\n", (unsigned int)(o->size >> 10),
			data[0], o->pattern);
	onpu_bo_unmap(data, o->size);
	return ret;
}

/* One object becomes a copy of another. */
static int copy(struct worker *w, struct object *from, struct object *to)
{
	int ret;

	if (from == to || from->size != to->size)
		return 0;
	ret = bind(w, 0, from);
	if (!ret)
		ret = bind(w, 1, to);
	if (ret)
		return ret;
	onpu_add(&w->env, pkt_copy(va_of[1], va_of[0], from->size));
	to->pattern = from->pattern;
	ret = run(w);
	if (!ret)
		ret = unbind(w, 0, from);
	return ret ? ret : unbind(w, 1, to);
}

/* D = A * B of small integers, which floats hold exactly. */
static int multiply(struct worker *w)
{
	struct onpu_matmul_desc *desc = w->desc.cpu;
	float *a = w->mat.cpu, *b = a + DIM * DIM, *d = b + DIM * DIM;
	uint32_t salt = draw(w, 100);
	int ret;

	for (int i = 0; i < DIM * DIM; i++) {
		a[i] = (float)((i * 7 + (int)salt) % 13);
		b[i] = (float)((i * 5 + (int)salt) % 11);
		d[i] = -1;
	}
	memset(desc, 0, sizeof(*desc));
	desc->a_type = desc->b_type = desc->d_type = ONPU_DTYPE_F32;
	desc->m = desc->n = desc->k = DIM;
	desc->lda = desc->ldb = desc->ldd = DIM;
	desc->a_va = w->mat.va;
	desc->b_va = w->mat.va + DIM * DIM * 4;
	desc->d_va = w->mat.va + DIM * DIM * 8;
	onpu_add(&w->env, pkt_matmul(w->desc.va));
	ret = run(w);
	for (int i = 0; i < DIM && !ret; i++) {
		for (int j = 0; j < DIM && !ret; j++) {
			float sum = 0;

			for (int k = 0; k < DIM; k++)
				sum += a[i * DIM + k] * b[k * DIM + j];
			if (sum != d[i * DIM + j])
				ret = -EILSEQ;
		}
	}
	return ret;
}

static int advise(struct worker *w, const struct object *o)
{
	struct drm_onpu_bo_advise args = {
		.handle = o->handle,
		.advice = draw(w, 2) ? DRM_ONPU_ADVISE_EVICT : DRM_ONPU_ADVISE_PREFETCH,
	};
	int ret = onpu_ioctl(w->env.fd, DRM_IOCTL_ONPU_BO_ADVISE, &args);

	return ret == -ENOMEM ? 0 : ret;
}

static int step(struct worker *w)
{
	struct object *o = pick(w, true);
	uint32_t what = draw(w, 16);

	if (!o || what < 5)
		return make(w);
	w->counts[what % 7]++;
	if (what < 8)
		return look(w, o);
	if (what < 11)
		return copy(w, o, pick(w, true));
	if (what < 13)
		return multiply(w);
	if (what < 14)
		return advise(w, o);
	if (what < 15)
		return fill(w, o);
	return draw(w, 4) ? look(w, o) : drop(w, o);
}

static int work(uint64_t seed, int64_t ns)
{
	static struct worker w;
	int64_t end = onpu_now() + ns;
	uint64_t steps = 0;
	int ret;

	w.seed = seed * 0x9e3779b97f4a7c15ull + 1;
	ret = onpu_env_init(&w.env);
	if (ret)
		return ret;
	w.limit = onpu_memory(w.env.fd).vram_size * FACTOR / PROCESSES;
	ret = onpu_buf_new(&w.env, PAGE, DRM_ONPU_BO_VRAM, &w.desc);
	if (!ret)
		ret = onpu_buf_new(&w.env, DIM * DIM * 12, DRM_ONPU_BO_VRAM, &w.mat);
	/* First the whole working set. */
	for (int i = 0; i < MAX_OBJECTS * 2 && w.total + MIB(3) < w.limit && !ret; i++)
		ret = make(&w);
	while (!ret && onpu_now() < end) {
		ret = step(&w);
		steps++;
	}
	for (int i = 0; i < MAX_OBJECTS && !ret; i++)
		if (w.objects[i].size)
			ret = look(&w, &w.objects[i]);
	fprintf(stderr, "# process %llu: %llu steps, %llu of %llu KiB, %llu waits for room: %d\n",
		(unsigned long long)seed, (unsigned long long)steps,
		(unsigned long long)w.total >> 10, (unsigned long long)w.limit >> 10,
		(unsigned long long)w.counts[7], ret);
	return ret;
}

FIXTURE(workset)
{
	int unused;
};

FIXTURE_SETUP(workset)
{
}

FIXTURE_TEARDOWN(workset)
{
}

TEST_F_TIMEOUT(workset, four_times_the_memory, 7200)
{
	const char *text = getenv("ONPU_WORKSET_SECONDS");
	int64_t ns = (text ? atoi(text) : 10) * 1000000000ll;
	struct drm_onpu_query_memory before;
	pid_t pids[PROCESSES];
	int status, fd = onpu_open();

	ASSERT_GE(fd, 0);
	before = onpu_memory(fd);
	close(fd);
	if (before.vram_size > MIB(256))
		SKIP(return, "the card has more than 256 MiB");
	for (uint64_t i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		if (!pids[i])
			_exit(work(i + 1, ns) ? 1 : 0);
	}
	for (int i = 0; i < PROCESSES; i++) {
		ASSERT_EQ(pids[i], waitpid(pids[i], &status, 0));
		EXPECT_EQ(0, status);
	}
	EXPECT_TRUE(onpu_memory_is_back(&before));
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where buffer objects are: advice, what BO_INFO and fdinfo say of it, cards whose aperture is
 * smaller than their memory, and what large pages do for the TLB.
 */
#include "kselftest_harness.h"

#include "onpu_kselftest.h"

#define BOTH (DRM_ONPU_BO_VRAM | DRM_ONPU_BO_SYSTEM)

FIXTURE(place)
{
	struct onpu_env env;
	struct drm_onpu_query_memory before;
};

FIXTURE_SETUP(place)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	ASSERT_EQ(0, onpu_env_on(&self->env, fd));
}

FIXTURE_TEARDOWN(place)
{
	onpu_env_fini(&self->env);
	onpu_unmap_all();
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

static int advise(int fd, uint32_t handle, uint32_t advice, uint32_t *retained)
{
	struct drm_onpu_bo_advise args = { .handle = handle, .advice = advice };
	int ret = onpu_ioctl(fd, DRM_IOCTL_ONPU_BO_ADVISE, &args);

	if (retained)
		*retained = args.retained;
	return ret;
}

static struct drm_onpu_bo_info info(int fd, uint32_t handle)
{
	struct drm_onpu_bo_info args = { .handle = handle };

	if (onpu_ioctl(fd, DRM_IOCTL_ONPU_BO_INFO, &args))
		memset(&args, 0xff, sizeof(args));
	return args;
}

/* fdinfo's number of bytes of a key, -1 without it. */
static int64_t fdinfo(int fd, const char *key)
{
	char path[64], text[4096], *line, *unit;
	int64_t number;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	if (onpu_read_file(path, text, sizeof(text)))
		return -1;
	line = strstr(text, key);
	if (!line)
		return -1;
	number = strtoll(line + strlen(key) + 1, &unit, 10);
	if (!strncmp(unit, " KiB", 4))
		number *= 1024;
	else if (!strncmp(unit, " MiB", 4))
		number *= 1048576;
	return number;
}

TEST_F(place, bad_arguments)
{
	struct drm_onpu_bo_advise bad[] = {
		{ .advice = 0 },
		{ .advice = 5 },
		{ .advice = UINT32_MAX },
		{ .advice = DRM_ONPU_ADVISE_EVICT, .flags = 1 },
		{ .advice = DRM_ONPU_ADVISE_EVICT, .retained = 1 },
	};
	struct drm_onpu_bo_info wrong[] = {
		{ .flags = 1 }, { .size = 1 }, { .region = 1 }, { .state = 1 },
	};
	uint32_t handle = self->env.cmd.handle;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		bad[i].handle = handle;
		EXPECT_EQ(-EINVAL, onpu_ioctl(self->env.fd, DRM_IOCTL_ONPU_BO_ADVISE, &bad[i]));
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		wrong[i].handle = handle;
		EXPECT_EQ(-EINVAL, onpu_ioctl(self->env.fd, DRM_IOCTL_ONPU_BO_INFO, &wrong[i]));
	}
	EXPECT_EQ(-ENOENT, advise(self->env.fd, handle + 1000, DRM_ONPU_ADVISE_EVICT, NULL));
	EXPECT_EQ(-ENOENT, advise(self->env.fd, 0, DRM_ONPU_ADVISE_EVICT, NULL));
	wrong[0] = (struct drm_onpu_bo_info) { .handle = handle + 1000 };
	EXPECT_EQ(-ENOENT, onpu_ioctl(self->env.fd, DRM_IOCTL_ONPU_BO_INFO, &wrong[0]));
}

TEST_F(place, evict_and_prefetch)
{
	static const uint32_t flags[] = { DRM_ONPU_BO_VRAM, BOTH };

	for (int i = 0; i < 2; i++) {
		const uint64_t size = MIB(5);
		struct onpu_buf buf;
		uint32_t *data;

		ASSERT_EQ(0, onpu_buf_new(&self->env, size, flags[i], &buf));
		data = buf.cpu;
		EXPECT_EQ(size, info(self->env.fd, buf.handle).size);
		EXPECT_EQ(DRM_ONPU_REGION_VRAM, info(self->env.fd, buf.handle).region);
		EXPECT_EQ(flags[i], info(self->env.fd, buf.handle).flags & BOTH);
		for (uint32_t j = 0; j < 3; j++) {
			ASSERT_EQ(0, onpu_run_one(&self->env, pkt_fill(buf.va, size, 0x100 + j)));
			EXPECT_EQ(0, advise(self->env.fd, buf.handle, DRM_ONPU_ADVISE_EVICT, NULL));
			EXPECT_EQ(DRM_ONPU_REGION_SYSTEM, info(self->env.fd, buf.handle).region);
			EXPECT_EQ(0x100 + j, data[0]);
			EXPECT_EQ(0x100 + j, data[size / 4 - 1]);
			data[j] = 0x200 + j;
			EXPECT_EQ(0, advise(self->env.fd, buf.handle, DRM_ONPU_ADVISE_PREFETCH,
					    NULL));
			EXPECT_EQ(DRM_ONPU_REGION_VRAM, info(self->env.fd, buf.handle).region);
			EXPECT_EQ(0x200 + j, data[j]);
			EXPECT_EQ(0x100 + j, data[j + 1]);
		}
		/* A job brings it back by itself, if it has to. */
		EXPECT_EQ(0, advise(self->env.fd, buf.handle, DRM_ONPU_ADVISE_EVICT, NULL));
		ASSERT_EQ(0, onpu_run_one(&self->env, pkt_copy(buf.va + MIB(1), buf.va, PAGE)));
		EXPECT_EQ(DRM_ONPU_REGION_VRAM, info(self->env.fd, buf.handle).region);
		EXPECT_EQ(0x202, data[MIB(1) / 4 + 2]);
	}
}

TEST_F(place, system_memory_does_not_move)
{
	struct onpu_buf buf;

	ASSERT_EQ(0, onpu_buf_new(&self->env, MIB(1), DRM_ONPU_BO_SYSTEM, &buf));
	EXPECT_EQ(0, advise(self->env.fd, buf.handle, DRM_ONPU_ADVISE_PREFETCH, NULL));
	EXPECT_EQ(DRM_ONPU_REGION_SYSTEM, info(self->env.fd, buf.handle).region);
	EXPECT_EQ(0, advise(self->env.fd, buf.handle, DRM_ONPU_ADVISE_EVICT, NULL));
	EXPECT_EQ(DRM_ONPU_REGION_SYSTEM, info(self->env.fd, buf.handle).region);
}

/* Fills the card with objects until @handle is not there any more. */
static void press(int fd, uint32_t handle, uint32_t *others, int *count)
{
	uint64_t size = onpu_memory(fd).vram_size / 8 / PAGE * PAGE;

	for (*count = 0; *count < 16 && info(fd, handle).region == DRM_ONPU_REGION_VRAM; ++*count)
		if (onpu_bo_create(fd, size, DRM_ONPU_BO_VRAM, 0, &others[*count]))
			break;
}

TEST_F_TIMEOUT(place, purgeable, 120)
{
	const uint64_t size = MIB(3);
	uint32_t others[16], retained = 7;
	struct onpu_buf buf;
	uint32_t *data;
	int count;

	ASSERT_EQ(0, onpu_buf_new(&self->env, size, DRM_ONPU_BO_VRAM, &buf));
	data = buf.cpu;
	ASSERT_EQ(0, onpu_run_one(&self->env, pkt_fill(buf.va, size, 0x5050)));
	EXPECT_EQ(0, advise(self->env.fd, buf.handle, DRM_ONPU_ADVISE_PURGEABLE, &retained));
	EXPECT_EQ(1, retained);
	EXPECT_EQ(DRM_ONPU_BO_STATE_PURGEABLE, info(self->env.fd, buf.handle).state);
	EXPECT_GE(fdinfo(self->env.fd, "drm-purgeable-vram:"), (int64_t)size);
	/* Nobody needs the room yet. */
	EXPECT_EQ(0, advise(self->env.fd, buf.handle, DRM_ONPU_ADVISE_NEEDED, &retained));
	EXPECT_EQ(1, retained);
	EXPECT_EQ(0x5050, data[77]);

	EXPECT_EQ(0, advise(self->env.fd, buf.handle, DRM_ONPU_ADVISE_PURGEABLE, NULL));
	press(self->env.fd, buf.handle, others, &count);
	EXPECT_EQ(DRM_ONPU_REGION_NONE, info(self->env.fd, buf.handle).region);
	EXPECT_EQ(DRM_ONPU_BO_STATE_PURGEABLE | DRM_ONPU_BO_STATE_PURGED,
		  info(self->env.fd, buf.handle).state);
	EXPECT_EQ(0, fdinfo(self->env.fd, "drm-purgeable-vram:"));
	/* It is usable, and zero. */
	EXPECT_EQ(0, data[77]);
	data[78] = 0x6060;
	EXPECT_EQ(0, onpu_run_one(&self->env, pkt_copy(buf.va, buf.va + 78 * 4, 4)));
	EXPECT_EQ(0x6060, data[0]);
	EXPECT_EQ(0, data[size / 4 - 1]);
	EXPECT_EQ(0, advise(self->env.fd, buf.handle, DRM_ONPU_ADVISE_NEEDED, &retained));
	EXPECT_EQ(0, retained);
	EXPECT_EQ(0, info(self->env.fd, buf.handle).state);
	while (count)
		EXPECT_EQ(0, onpu_bo_close(self->env.fd, others[--count]));
}

TEST_F(place, purgeable_is_nobody_elses)
{
	struct drm_prime_handle prime = { .handle = self->env.cmd.handle, .fd = -1 };

	ASSERT_EQ(0, onpu_ioctl(self->env.fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime));
	EXPECT_EQ(-EPERM, advise(self->env.fd, self->env.cmd.handle, DRM_ONPU_ADVISE_PURGEABLE,
				 NULL));
	close(prime.fd);
}

TEST_F(place, fdinfo_tells_where)
{
	const int64_t size = MIB(4);
	int64_t total = fdinfo(self->env.fd, "drm-total-vram:");
	int64_t vram = fdinfo(self->env.fd, "drm-resident-vram:");
	int64_t system = fdinfo(self->env.fd, "drm-resident-system:");
	uint32_t handle;

	ASSERT_EQ(0, onpu_bo_create(self->env.fd, size, DRM_ONPU_BO_VRAM, 0, &handle));
	EXPECT_EQ(total + size, fdinfo(self->env.fd, "drm-total-vram:"));
	EXPECT_EQ(vram + size, fdinfo(self->env.fd, "drm-resident-vram:"));
	ASSERT_EQ(0, advise(self->env.fd, handle, DRM_ONPU_ADVISE_EVICT, NULL));
	EXPECT_EQ(total + size, fdinfo(self->env.fd, "drm-total-vram:"));
	EXPECT_EQ(vram, fdinfo(self->env.fd, "drm-resident-vram:"));
	EXPECT_EQ(system + size, fdinfo(self->env.fd, "drm-resident-system:"));
	EXPECT_EQ(0, fdinfo(self->env.fd, "drm-total-system:"));
}

#ifdef ONPU_SMALL_CARDS		/* of which the CPU reaches a part */

/* Memory beyond the aperture, written by the card and by the CPU. */
TEST_F_TIMEOUT(place, beyond_the_aperture, 120)
{
	struct drm_onpu_query_memory memory = onpu_memory(self->env.fd);
	uint64_t size = (memory.vram_size - memory.vram_visible) / 4 / PAGE * PAGE;
	struct onpu_buf buf[5];

	if (memory.vram_visible == memory.vram_size)
		SKIP(return, "the CPU reaches all memory of this card");
	EXPECT_LT(memory.vram_visible, memory.vram_size);
	for (uint32_t i = 0; i < 5; i++) {
		ASSERT_EQ(0, onpu_buf_new(&self->env, size, DRM_ONPU_BO_VRAM, &buf[i]));
		ASSERT_EQ(0, onpu_run_one(&self->env, pkt_fill(buf[i].va, size, 0x700 + i)));
	}
	/* All of it is in use, not only what the CPU reaches. */
	EXPECT_GT(onpu_memory(self->env.fd).vram_used, memory.vram_visible);
	for (uint32_t round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < 5; i++) {
			volatile uint32_t *data = buf[i].cpu;

			EXPECT_EQ(0x700 + i, data[5]);
			EXPECT_EQ(0x700 + i, data[size / 4 - 1]);
			data[3] = 0x800 + i + round;
			ASSERT_EQ(0, onpu_run_one(&self->env,
						  pkt_copy(buf[i].va + PAGE, buf[i].va, 64)));
			EXPECT_EQ(0x800 + i + round, data[PAGE / 4 + 3]);
			ASSERT_EQ(0, onpu_run_one(&self->env,
						  pkt_copy(buf[i].va + PAGE, buf[i].va + 64, 64)));
		}
	}
}

#endif

/* A hint keeps memory where the CPU reaches it. */
TEST_F(place, cpu_visible)
{
	struct onpu_buf buf;
	volatile uint32_t *data;

	ASSERT_EQ(0, onpu_buf_new(&self->env, MIB(2),
				  DRM_ONPU_BO_VRAM | DRM_ONPU_BO_CPU_VISIBLE, &buf));
	data = buf.cpu;
	for (uint32_t i = 0; i < 4; i++) {
		data[i] = i;
		ASSERT_EQ(0, onpu_run_one(&self->env, pkt_fill(buf.va + 4 * i, 4, 0x900 + i)));
		EXPECT_EQ(0x900 + i, data[i]);
		EXPECT_EQ(DRM_ONPU_REGION_VRAM, info(self->env.fd, buf.handle).region);
	}
}

#define PAGES_LIMIT "/sys/module/ttm/parameters/pages_limit"

/* System memory is swapped out when TTM has more pages than it may, and comes back. */
TEST_F_TIMEOUT(place, swapped_out_and_back, 60)
{
	const uint64_t size = MIB(4);
	unsigned int swapped = 0;
	struct onpu_buf buf[6];
	char limit[32];
	int ret = 0;

	if (onpu_read_file(PAGES_LIMIT, limit, sizeof(limit)))
		SKIP(return, "this kernel has no limit of TTM's pages");
	for (uint32_t i = 0; i < 3; i++) {
		ASSERT_EQ(0, onpu_buf_new(&self->env, size, DRM_ONPU_BO_SYSTEM, &buf[i]));
		ASSERT_EQ(0, onpu_run_one(&self->env, pkt_fill(buf[i].va, size, 0xc00 + i)));
	}
	/* As if the machine had little memory: two more fit, then the first ones go. */
	ASSERT_EQ(0, onpu_write_file(PAGES_LIMIT, "4096"));
	for (uint32_t i = 3; i < 6 && !ret; i++)
		ret = onpu_buf_new(&self->env, size, DRM_ONPU_BO_SYSTEM, &buf[i]);
	for (uint32_t i = 0; i < 6; i++)
		swapped += info(self->env.fd, buf[i].handle).region == DRM_ONPU_REGION_SWAP;
	EXPECT_EQ(0, onpu_write_file(PAGES_LIMIT, limit));
	ASSERT_EQ(0, ret);
	EXPECT_GT(swapped, 0);
	/* What is swapped out counts still. */
	EXPECT_GE(onpu_memory(self->env.fd).system_used, self->before.system_used + 6 * size);
	/* One comes back for the CPU, the others for the card. */
	EXPECT_EQ(0xc00, ((volatile uint32_t *)buf[0].cpu)[size / 4 - 1]);
	for (uint32_t i = 0; i < 3; i++) {
		ASSERT_EQ(0, onpu_run_one(&self->env, pkt_copy(buf[3 + i].va, buf[i].va, size)));
		EXPECT_EQ(DRM_ONPU_REGION_SYSTEM, info(self->env.fd, buf[i].handle).region);
	}
	for (uint32_t i = 0; i < 6; i++) {
		volatile uint32_t *data = buf[i].cpu;

		EXPECT_EQ(0xc00 + i % 3, data[0]);
		EXPECT_EQ(0xc00 + i % 3, data[size / 4 - 1]);
	}
}

static uint64_t walks(int fd)
{
	struct drm_onpu_query_counters counters;

	if (onpu_query(fd, DRM_ONPU_QUERY_COUNTERS, &counters, sizeof(counters)))
		return 0;
	return counters.tlb_walks;
}

/* Walks that one pass over the memory costs, with a TLB that knows nothing of it. */
static uint64_t walks_of_fill(struct onpu_env *env, uint64_t va, uint64_t size)
{
	uint64_t start = walks(env->fd);

	if (onpu_run_one(env, pkt_fill(va, size, 0xabab)))
		return UINT64_MAX;
	return walks(env->fd) - start;
}

TEST_F(place, large_pages_save_walks)
{
	const uint64_t size = MIB(8), va = 1ull << 41;
	uint64_t huge, small;
	uint32_t handle;

	ASSERT_EQ(0, onpu_bo_create(self->env.fd, size, DRM_ONPU_BO_VRAM, 0, &handle));
	for (int round = 0; round < 3; round++) {
		ASSERT_EQ(0, onpu_map(self->env.fd, self->env.vm, handle, 0, va, size, 0));
		/* What is away comes back before anything is measured. */
		ASSERT_EQ(0, onpu_run_one(&self->env, pkt_nop()));
		huge = walks_of_fill(&self->env, va, size);
		ASSERT_EQ(0, onpu_unmap(self->env.fd, self->env.vm, va, size));
		ASSERT_EQ(0, onpu_map(self->env.fd, self->env.vm, handle, 0, va + PAGE, size, 0));
		small = walks_of_fill(&self->env, va + PAGE, size);
		ASSERT_EQ(0, onpu_unmap(self->env.fd, self->env.vm, va + PAGE, size));
		TH_LOG("%llu KiB: %llu walks with 2 MiB pages, %llu with 4 KiB pages",
		       (unsigned long long)size / 1024, (unsigned long long)huge,
		       (unsigned long long)small);
		/* One for each page, and some for ring, packets and fences. */
		EXPECT_LE(huge, 4 + 64);
		EXPECT_GE(small, size / PAGE);
		/* The same when it has been away. */
		ASSERT_EQ(0, advise(self->env.fd, handle, DRM_ONPU_ADVISE_EVICT, NULL));
		if (round == 1) {
			ASSERT_EQ(0, advise(self->env.fd, handle, DRM_ONPU_ADVISE_PREFETCH, NULL));
		}
	}
}

TEST_HARNESS_MAIN

/* SPDX-License-Identifier: MIT */
/*
 * Memory: what is told of it, advice, memory of the process.
 */
#define _GNU_SOURCE
#include "common.h"

#include <drm.h>
#include <drm/onpu_accel.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define CARD ACCEL_BUFFER_CARD
#define HOST ACCEL_BUFFER_HOST
#define READONLY ACCEL_BUFFER_CARD_READONLY
#define PAGE 4096u

static struct accel_memory_info memory_of(struct fixture *f)
{
	struct accel_memory_info info;

	accel_memory_info_init(&info);
	ok(accel_device_get_memory(f->device, &info));
	return info;
}

static struct accel_buffer_info info_of(struct accel_buffer *buffer)
{
	struct accel_buffer_info info;

	accel_buffer_info_init(&info);
	ok(accel_buffer_get_info(buffer, &info));
	return info;
}

static uint32_t word_at(struct accel_buffer *buffer, uint64_t offset)
{
	uint32_t word;

	ok(accel_buffer_read(buffer, offset, &word, sizeof(word)));
	return word;
}

static void device_memory(void **state)
{
	struct fixture *f = *state;
	struct accel_memory_info before = memory_of(f), after, old = { .size = 8 };
	struct accel_device_info device;
	struct accel_buffer *buffer;

	accel_device_info_init(&device);
	ok(accel_device_get_info(f->device, &device));
	assert_int_equal(before.card_size, device.memory_size);
	assert_int_equal(before.card_visible, device.memory_visible);
	assert_int_equal(before.buffer_size_max, device.buffer_size_max);
	assert_int_equal(before.card_used + before.card_free, before.card_size);
	assert_true(before.buffers_max > 100 && before.mappings_max > 100);
	assert_true(before.registered_max >= 1 << 20);
	assert_true(before.page_sizes & PAGE);
	buffer = make_buffer(f, 2 << 20, CARD);
	after = memory_of(f);
	assert_true(after.card_used >= before.card_used + (2 << 20));
	assert_int_equal(after.card_used + after.card_free, after.card_size);
	accel_buffer_destroy(buffer);
	assert_true(before.contexts_max && before.queues_max);
	assert_int_equal(before.contexts_max, device.contexts_max);
	assert_int_equal(before.queues_max, device.queues_max);
	fails(accel_device_get_memory(NULL, &after), -EINVAL);
	fails(accel_device_get_memory(f->device, NULL), -EINVAL);
	fails(accel_device_get_memory(f->device, &old), -EINVAL);
	expect_detail("sizeof(struct accel_memory_info)");
}

static void context_status(void **state)
{
	struct fixture *f = *state;
	struct accel_context_status before, after, old = { .size = 8 };
	struct accel_buffer *buffer;
	uint64_t address;
	char wanted[64];

	accel_context_status_init(&before);
	accel_context_status_init(&after);
	ok(accel_context_get_status(f->context, &before));
	assert_int_equal(before.faults, 0);
	assert_string_equal(before.fault_text, "");
	buffer = make_buffer(f, 3 * PAGE, CARD);
	ok(accel_context_get_status(f->context, &after));
	assert_int_equal(after.mappings, before.mappings + 1);
	assert_int_equal(after.mapped_bytes, before.mapped_bytes + 3 * PAGE);
	assert_true(after.table_bytes >= PAGE);
	address = accel_buffer_address(buffer);
	steal_mapping(buffer);
	fails(accel_fill(f->queue, buffer, 0, 4, 1), -EFAULT);
	/* The queue is gone, the context still knows. */
	accel_queue_destroy(f->queue);
	f->queue = NULL;
	ok(accel_context_get_status(f->context, &after));
	assert_int_equal(after.faults, 1);
	assert_int_equal(after.fault_address, address);
	assert_int_equal(after.fault_access, 1);
	snprintf(wanted, sizeof(wanted), "write of address 0x%llx (not mapped)",
		 (unsigned long long)address);
	assert_string_equal(after.fault_text, wanted);
	accel_buffer_destroy(buffer);
	fails(accel_context_get_status(NULL, &after), -EINVAL);
	fails(accel_context_get_status(f->context, NULL), -EINVAL);
	fails(accel_context_get_status(f->context, &old), -EINVAL);
	expect_detail("sizeof(struct accel_context_status)");
}

static void buffer_info(void **state)
{
	static const uint32_t all[] = {
		CARD, HOST, CARD | HOST, CARD | ACCEL_BUFFER_CPU_VISIBLE, CARD | READONLY,
		HOST | ACCEL_BUFFER_SHAREABLE,
		CARD | HOST | READONLY | ACCEL_BUFFER_SHAREABLE | ACCEL_BUFFER_CPU_VISIBLE,
	};
	struct accel_buffer_info info, old = { .size = 4 };
	struct fixture *f = *state;
	struct accel_buffer *buffer;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		buffer = make_buffer(f, 5000, all[i]);
		ok(accel_buffer_write(buffer, 0, "x", 1));
		info = info_of(buffer);
		assert_int_equal(info.bytes, 5000);
		assert_int_equal(info.allocated, 8192);
		assert_int_equal(info.address, accel_buffer_address(buffer));
		/* That the CPU touched it may show. */
		assert_int_equal(info.flags & ~(all[i] & CARD ? ACCEL_BUFFER_CPU_VISIBLE : 0),
				 all[i] & ~ACCEL_BUFFER_CPU_VISIBLE);
		assert_int_equal(info.location, all[i] & CARD ? ACCEL_LOCATION_CARD : ACCEL_LOCATION_HOST);
		assert_int_equal(info.origin, ACCEL_ORIGIN_CREATED);
		assert_int_equal(info.state, 0);
		assert_null(info.memory);
		assert_string_equal(info.exporter, "");
		fails(accel_buffer_get_info(buffer, NULL), -EINVAL);
		fails(accel_buffer_get_info(buffer, &old), -EINVAL);
		accel_buffer_destroy(buffer);
	}
	fails(accel_buffer_get_info(NULL, &info), -EINVAL);
	fails(accel_buffer_create(f->context, 1, HOST | ACCEL_BUFFER_CPU_VISIBLE, &buffer), -EINVAL);
	expect_detail("ACCEL_BUFFER_CPU_VISIBLE is about card memory");
}

/* ---- advice ---- */

static void evict_and_prefetch(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *buffer = make_buffer(f, 1 << 20, CARD);
	uint64_t address = accel_buffer_address(buffer);

	ok(accel_fill(f->queue, buffer, 0, 1 << 20, 0xabcd));
	ok(accel_buffer_advise(buffer, ACCEL_ADVICE_EVICT));
	assert_int_equal(info_of(buffer).location, ACCEL_LOCATION_HOST);
	assert_int_equal(word_at(buffer, (1 << 20) - 4), 0xabcd);
	ok(accel_buffer_advise(buffer, ACCEL_ADVICE_EVICT));
	ok(accel_buffer_advise(buffer, ACCEL_ADVICE_PREFETCH));
	assert_int_equal(info_of(buffer).location, ACCEL_LOCATION_CARD);
	ok(accel_buffer_advise(buffer, ACCEL_ADVICE_PREFETCH));
	assert_int_equal(word_at(buffer, 0), 0xabcd);
	assert_int_equal(accel_buffer_address(buffer), address);
	ok(accel_buffer_advise(buffer, ACCEL_ADVICE_EVICT));
	/* Work brings it back. */
	ok(accel_fill(f->queue, buffer, 4, 4, 1));
	assert_int_equal(word_at(buffer, 0), 0xabcd);
	assert_int_equal(word_at(buffer, 4), 1);
	assert_int_equal(info_of(buffer).location, ACCEL_LOCATION_CARD);
	accel_buffer_destroy(buffer);
	buffer = make_buffer(f, PAGE, HOST);
	ok(accel_buffer_advise(buffer, ACCEL_ADVICE_PREFETCH));
	ok(accel_buffer_advise(buffer, ACCEL_ADVICE_EVICT));
	assert_int_equal(info_of(buffer).location, ACCEL_LOCATION_HOST);
	accel_buffer_destroy(buffer);
}

/* While the content may go, nobody uses it by mistake. */
static void purgeable_is_not_used(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *buffer = make_buffer(f, PAGE, CARD | ACCEL_BUFFER_SHAREABLE);
	struct accel_buffer *other = make_buffer(f, PAGE, CARD);
	uint32_t word = 7;
	void *pointer;
	int fd;

	ok(accel_fill(f->queue, buffer, 0, PAGE, 9));
	ok(accel_buffer_advise(buffer, ACCEL_ADVICE_NEEDED));
	ok(accel_buffer_advise(buffer, ACCEL_ADVICE_PURGEABLE));
	ok(accel_buffer_advise(buffer, ACCEL_ADVICE_PURGEABLE));
	assert_int_equal(info_of(buffer).state, ACCEL_BUFFER_PURGEABLE);
	fails(accel_fill(f->queue, buffer, 0, 4, 1), -ENODATA);
	expect_detail("target: the buffer is purgeable");
	fails(accel_copy(f->queue, other, 0, buffer, 0, 4), -ENODATA);
	expect_detail("accel_copy: source: the buffer is purgeable");
	fails(accel_buffer_map(buffer, &pointer), -ENODATA);
	fails(accel_buffer_read(buffer, 0, &word, 4), -ENODATA);
	fails(accel_buffer_write(buffer, 0, &word, 4), -ENODATA);
	expect_detail("say ACCEL_ADVICE_NEEDED first");
	fails(accel_buffer_export(buffer, 0, &fd), -ENODATA);
	fails(accel_buffer_wait(buffer, ACCEL_ACCESS_READ, 0), -ENODATA);
	assert_int_equal(word, 7);
	ok(accel_buffer_advise(buffer, ACCEL_ADVICE_NEEDED));
	assert_int_equal(info_of(buffer).state, 0);
	assert_int_equal(word_at(buffer, 8), 9);
	accel_buffer_destroy(buffer);
	accel_buffer_destroy(other);
}

static void advice_errors(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *buffer = make_buffer(f, PAGE, CARD | ACCEL_BUFFER_SHAREABLE);
	int fd;

	fails(accel_buffer_advise(NULL, ACCEL_ADVICE_EVICT), -EINVAL);
	fails(accel_buffer_advise(buffer, 0), -EINVAL);
	fails(accel_buffer_advise(buffer, 5), -EINVAL);
	expect_detail("accel_buffer_advise: unknown advice 5");
	ok(accel_buffer_export(buffer, 0, &fd));
	fails(accel_buffer_advise(buffer, ACCEL_ADVICE_PURGEABLE), -EPERM);
	expect_detail("an exported buffer is not this process's alone to give up");
	assert_int_equal(info_of(buffer).state, 0);
	ok(accel_fill(f->queue, buffer, 0, 4, 1));
	close(fd);
	accel_buffer_destroy(buffer);
}

#ifdef ACCEL_TEST_FAKE
static void purged(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *buffer = make_buffer(f, PAGE, CARD);

	ok(accel_fill(f->queue, buffer, 0, PAGE, 9));
	ok(accel_buffer_advise(buffer, ACCEL_ADVICE_PURGEABLE));
	fake_purge();
	assert_int_equal(info_of(buffer).state, ACCEL_BUFFER_PURGEABLE | ACCEL_BUFFER_PURGED);
	assert_int_equal(info_of(buffer).location, ACCEL_LOCATION_NONE);
	fails(accel_buffer_advise(buffer, ACCEL_ADVICE_NEEDED), -ENODATA);
	expect_detail("the content was given up while the buffer was purgeable: it is zero now");
	ok(accel_buffer_advise(buffer, ACCEL_ADVICE_NEEDED));
	assert_int_equal(word_at(buffer, 0), 0);
	ok(accel_fill(f->queue, buffer, 0, 4, 1));
	accel_buffer_destroy(buffer);
}

static void refused(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *buffer = make_buffer(f, PAGE, CARD);
	struct accel_memory_info memory;
	struct accel_context_status status;
	struct accel_buffer_info info;

	fake_fail_ioctl(DRM_IOCTL_ONPU_BO_ADVISE, -ENOMEM);
	fails(accel_buffer_advise(buffer, ACCEL_ADVICE_PREFETCH), -ENOMEM);
	expect_detail("no room for 4096 bytes in card memory");
	fails(accel_buffer_advise(buffer, ACCEL_ADVICE_EVICT), -ENOMEM);
	expect_detail("no room for 4096 bytes in system memory");
	fake_fail_ioctl(DRM_IOCTL_ONPU_BO_ADVISE, -EIO);
	fails(accel_buffer_advise(buffer, ACCEL_ADVICE_EVICT), -EIO);
	expect_detail("the driver refused the advice: Input/output error");
	accel_memory_info_init(&memory);
	accel_context_status_init(&status);
	accel_buffer_info_init(&info);
	fake_fail_ioctl(DRM_IOCTL_ONPU_BO_INFO, -EINTR);
	fails(accel_buffer_get_info(buffer, &info), -EINTR);
	fake_fail_ioctl(DRM_IOCTL_ONPU_VM_GET_STATE, -ENODEV);
	fails(accel_context_get_status(f->context, &status), -ENODEV);
	fake_fail_ioctl(DRM_IOCTL_ONPU_DEV_QUERY, -ENODEV);
	fails(accel_device_get_memory(f->device, &memory), -ENODEV);
	expect_detail("does not answer: No such device");
	fake_fail_ioctl(0, 0);
	accel_buffer_destroy(buffer);
}
#endif

/* ---- memory of the process ---- */

static uint32_t *pages(unsigned int count)
{
	void *p = mmap(NULL, count * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

/* Large pages of the process may be large pages of the card: both begin at the same places. */
static void registered_large(void **state)
{
	enum { HUGE = 2 << 20, SIZE = 3 * HUGE + 5 * 4096 };
	struct fixture *f = *state;
	char *memory = (char *)pages(SIZE / PAGE + 8);

	for (unsigned int page = 0; page < 8; page += 3) {
		uint32_t *words = (uint32_t *)(void *)(memory + page * PAGE);
		struct accel_buffer *buffer;

		ok(accel_host_register(f->context, words, SIZE, 0, &buffer));
		assert_int_equal(accel_buffer_address(buffer) % HUGE, (uintptr_t)words % HUGE);
		ok(accel_fill(f->queue, buffer, 0, SIZE, page + 1));
		for (size_t i = 0; i < SIZE / 4; i += 1023)
			assert_int_equal(words[i], page + 1);
		assert_int_equal(words[SIZE / 4 - 1], page + 1);
		accel_buffer_destroy(buffer);
	}
	munmap(memory, SIZE + 8 * PAGE);
}

static void registered(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *buffer, *card = make_buffer(f, 8 * PAGE, CARD);
	uint32_t *memory = pages(8);
	struct accel_buffer_info info;
	void *pointer;
	int fd;

	for (uint32_t i = 0; i < 8 * PAGE / 4; i++)
		memory[i] = i;
	ok(accel_host_register(f->context, memory, 8 * PAGE, 0, &buffer));
	info = info_of(buffer);
	assert_int_equal(info.origin, ACCEL_ORIGIN_REGISTERED);
	assert_ptr_equal(info.memory, memory);
	assert_int_equal(info.bytes, 8 * PAGE);
	assert_int_equal(info.location, ACCEL_LOCATION_HOST);
	assert_int_equal(accel_buffer_size(buffer), 8 * PAGE);
	assert_true(memory_of(f).registered_used >= 8 * PAGE);
	/* Read by the card, and written. */
	ok(accel_copy(f->queue, card, 0, buffer, 0, 8 * PAGE));
	assert_int_equal(word_at(card, 7 * PAGE + 40), 7 * PAGE / 4 + 10);
	ok(accel_fill(f->queue, buffer, 2 * PAGE, PAGE, 0xfee1));
	assert_int_equal(memory[2 * PAGE / 4 - 1], 2 * PAGE / 4 - 1);
	assert_int_equal(memory[2 * PAGE / 4], 0xfee1);
	assert_int_equal(memory[3 * PAGE / 4 - 1], 0xfee1);
	assert_int_equal(memory[3 * PAGE / 4], 3 * PAGE / 4);
	ok(accel_buffer_map(buffer, &pointer));
	assert_ptr_equal(pointer, memory);
	ok(accel_buffer_unmap(buffer));
	assert_int_equal(word_at(buffer, 2 * PAGE), 0xfee1);
	fails(accel_buffer_export(buffer, 0, &fd), -EPERM);
	expect_detail("registered memory cannot be exported");
	fails(accel_buffer_advise(buffer, ACCEL_ADVICE_PURGEABLE), -EPERM);
	expect_detail("registered memory is not this process's alone");
	ok(accel_buffer_advise(buffer, ACCEL_ADVICE_PREFETCH));
	ok(accel_buffer_advise(buffer, ACCEL_ADVICE_EVICT));
	accel_buffer_destroy(buffer);
	memory[0] = 1;	/* still the process's */
	munmap(memory, 8 * PAGE);
	accel_buffer_destroy(card);
}

/* Any place that malloc() gives, bit for bit in a matmul. */
static void registered_anywhere(void **state)
{
	enum { M = 37, N = 29, K = 53 };
	struct fixture *f = *state;
	float *a = malloc(M * K * 4), *b = malloc(K * N * 4), *d = malloc(M * N * 4 + 64);
	struct accel_matmul p;

	assert_true(a && b && d);
	for (int i = 0; i < M * K; i++)
		a[i] = (float)(i % 17) * 0.37f - 2;
	for (int i = 0; i < K * N; i++)
		b[i] = (float)(i % 23) * 0.11f - 1;
	memset(d, 0x55, M * N * 4 + 64);
	accel_matmul_init(&p);
	p.m = M;
	p.n = N;
	p.k = K;
	p.a.type = ACCEL_TYPE_F32;
	ok(accel_host_register(f->context, a, M * K * 4, READONLY, &p.a.buffer));
	ok(accel_host_register(f->context, b, K * N * 4, READONLY, &p.b.buffer));
	ok(accel_host_register(f->context, d, M * N * 4, 0, &p.d.buffer));
	assert_int_equal(accel_buffer_address(p.d.buffer) % PAGE, (uintptr_t)d % PAGE);
	ok(accel_matmul(f->queue, &p));
	for (int i = 0; i < M; i++) {
		for (int j = 0; j < N; j++) {
			float sum = 0;

			for (int x = 0; x < K; x++)
				sum = __builtin_fmaf(a[i * K + x], b[x * N + j], sum);
			assert_memory_equal(&sum, &d[i * N + j], 4);
		}
	}
	for (int i = 0; i < 64; i++)
		assert_int_equal(((uint8_t *)(d + M * N))[i], 0x55);
	accel_buffer_destroy(p.d.buffer);
	p.d.buffer = p.a.buffer;
	fails(accel_matmul(f->queue, &p), -EACCES);
	accel_buffer_destroy(p.a.buffer);
	accel_buffer_destroy(p.b.buffer);
	/* Not the last range of the page, but of the buffer. */
	ok(accel_host_register(f->context, d, M * N * 4, 0, &p.a.buffer));
	fails(accel_fill(f->queue, p.a.buffer, M * N * 4, 4, 0), -EINVAL);
	accel_buffer_destroy(p.a.buffer);
	free(a);
	free(b);
	free(d);
}

static void register_errors(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *untouched = (struct accel_buffer *)state, *buffer = untouched;
	uint64_t max = memory_of(f).registered_max;
	uint32_t *memory = pages(2);

	fails(accel_host_register(NULL, memory, PAGE, 0, &buffer), -EINVAL);
	fails(accel_host_register(f->context, memory, PAGE, 0, NULL), -EINVAL);
	fails(accel_host_register(f->context, NULL, PAGE, 0, &buffer), -EINVAL);
	expect_detail("accel_host_register: memory is NULL");
	fails(accel_host_register(f->context, memory, 0, 0, &buffer), -EINVAL);
	expect_detail("size is 0");
	fails(accel_host_register(f->context, (char *)memory + 8, PAGE, 0, &buffer), -EINVAL);
	expect_detail("is not aligned to 16 bytes");
	fails(accel_host_register(f->context, memory, PAGE, CARD, &buffer), -EINVAL);
	expect_detail("flags 0x1 are neither 0 nor ACCEL_BUFFER_CARD_READONLY");
	fails(accel_host_register(f->context, memory, max + 1, 0, &buffer), -E2BIG);
	expect_detail("more than all processes together may register");
	fails(accel_host_register(f->context, (void *)(UINTPTR_MAX - 15), 4096, 0, &buffer), -EINVAL);
	expect_detail("wraps");
	fails(accel_host_register(f->context, memory, UINT64_MAX - 100, 0, &buffer), -E2BIG);
	assert_ptr_equal(buffer, untouched);
	munmap(memory, 2 * PAGE);
}

#ifdef ACCEL_TEST_FAKE

static void memlock(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *buffer;
	uint32_t *memory = pages(2);

	fake_set_memlock(PAGE);
	fails(accel_host_register(f->context, memory, 2 * PAGE, 0, &buffer), -ENOMEM);
	expect_detail("RLIMIT_MEMLOCK, 4096 bytes: raise it (ulimit -l");
	ok(accel_host_register(f->context, memory, PAGE, 0, &buffer));
	accel_buffer_destroy(buffer);
	fake_set_memlock(UINT64_MAX);
	fake_fail_ioctl(DRM_IOCTL_ONPU_BO_USERPTR, -ENOMEM);
	fails(accel_host_register(f->context, memory, PAGE, 0, &buffer), -ENOMEM);
	expect_detail("the driver refused 4096 bytes at");
	fake_fail_ioctl(DRM_IOCTL_ONPU_BO_USERPTR, -ENOSPC);
	fails(accel_host_register(f->context, memory, PAGE, 0, &buffer), -ENOSPC);
	expect_detail("all processes together may register 16777216 bytes");
	/* What comes after the handle fails. */
	fake_fail_ioctl(DRM_IOCTL_ONPU_VM_BIND, -ENOSPC);
	fails(accel_host_register(f->context, memory, PAGE, 0, &buffer), -ENOSPC);
	expect_detail("the context has the 4096 mappings that it may have");
	fake_fail_ioctl(DRM_IOCTL_ONPU_VM_BIND, -ENOMEM);
	fails(accel_host_register(f->context, memory, PAGE, 0, &buffer), -ENOMEM);
	expect_detail("the driver did not map 4096 bytes");
	/* A driver that is older than this. */
	fake_fail_ioctl(DRM_IOCTL_ONPU_BO_USERPTR, -ENOTTY);
	fails(accel_host_register(f->context, memory, PAGE, 0, &buffer), -ENOTSUP);
	expect_detail("Operation not supported");
	fake_fail_ioctl(0, 0);
	munmap(memory, 2 * PAGE);
}

/* All handles that a file may have. */
static void too_many(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *buffers[600];
	unsigned int count = 0;
	int ret;

	while (!(ret = accel_buffer_create(f->context, 1, HOST, &buffers[count])))
		count++;
	assert_int_equal(ret, -ENOSPC);
	expect_detail("1 bytes of system memory: the open device has the 511 buffers that it may have");
	while (count)
		accel_buffer_destroy(buffers[--count]);
}

#else

static void register_what_is_not_memory(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *buffer, *mapped = make_buffer(f, PAGE, CARD);
	uint32_t *memory = pages(4);
	void *pointer;
	int fd;

	munmap((char *)memory + PAGE, PAGE);
	fails(accel_host_register(f->context, memory, 2 * PAGE, 0, &buffer), -EFAULT);
	expect_detail("are not all memory that the process can write");
	ok(accel_host_register(f->context, memory, PAGE, 0, &buffer));
	accel_buffer_destroy(buffer);
	mprotect((char *)memory + 2 * PAGE, PAGE, PROT_READ);
	fails(accel_host_register(f->context, (char *)memory + 2 * PAGE, PAGE, 0, &buffer), -EFAULT);
	ok(accel_host_register(f->context, (char *)memory + 2 * PAGE, PAGE, READONLY, &buffer));
	fails(accel_fill(f->queue, buffer, 0, 4, 1), -EACCES);
	accel_buffer_destroy(buffer);
	ok(accel_buffer_map(mapped, &pointer));
	fails(accel_host_register(f->context, pointer, PAGE, 0, &buffer), -EFAULT);
	expect_detail("or it is a device's");
	/* The program itself. */
	fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	pointer = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_true(pointer != MAP_FAILED);
	close(fd);
	fails(accel_host_register(f->context, pointer, PAGE, 0, &buffer), -EFAULT);
	ok(accel_host_register(f->context, pointer, PAGE, READONLY, &buffer));
	ok(accel_copy(f->queue, mapped, 0, buffer, 0, 4));
	assert_int_equal(word_at(mapped, 0), *(uint32_t *)pointer);
	accel_buffer_destroy(buffer);
	accel_buffer_destroy(mapped);
	munmap(pointer, PAGE);
	munmap(memory, 4 * PAGE);
}

#ifndef ACCEL_TEST_MODEL	/* which pins nothing: no limit, and memory must stay while it is used */
/* A user with a limit, as accel_error_detail() explains it. */
static void memlock_limit(void **state)
{
	struct rlimit limit = { 4 * PAGE, 4 * PAGE };
	struct accel_buffer *buffer;
	struct fixture f = { 0 };
	uint32_t *memory = pages(8);
	int status;
	pid_t pid;

	(void)state;
	fflush(NULL);
	pid = fork();
	if (!pid) {
		if (accel_device_open(0, &f.device) || accel_context_create(f.device, 0, &f.context) ||
		    setrlimit(RLIMIT_MEMLOCK, &limit) || setgid(65534) || setuid(65534))
			_exit(1);
		if (accel_host_register(f.context, memory, 8 * PAGE, 0, &buffer) != -ENOMEM)
			_exit(2);
		if (!strstr(accel_error_detail(), "RLIMIT_MEMLOCK, 16384 bytes: raise it (ulimit -l"))
			_exit(3);
		if (accel_host_register(f.context, memory, 4 * PAGE, 0, &buffer))
			_exit(4);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	munmap(memory, 8 * PAGE);
}

/* Work in flight keeps the pages, whatever becomes of the buffer and the mapping. */
static void registered_in_flight(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *buffer, *card = make_buffer(f, PAGE, CARD);
	struct accel_event *event;
	uint32_t *memory = pages(1);

	memory[5] = 0xcafe;
	ok(accel_host_register(f->context, memory, PAGE, 0, &buffer));
	begin_long(f, f->queue);
	ok(accel_copy_async(f->queue, card, 0, buffer, 0, PAGE, &event));
	accel_buffer_destroy(buffer);
	munmap(memory, PAGE);
	end_long(f);
	ok(accel_event_wait(event, ACCEL_FOREVER));
	assert_int_equal(word_at(card, 20), 0xcafe);
	accel_event_destroy(event);
	accel_buffer_destroy(card);
}

#endif

/* After fork() the parent and the card have the pages, the child a copy. */
static void registered_and_forked(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *buffer;
	uint32_t *memory = pages(1);
	int status, go[2];
	char byte = 0;
	pid_t pid;

	memory[0] = 1;
	ok(accel_host_register(f->context, memory, PAGE, 0, &buffer));
	assert_int_equal(pipe(go), 0);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		if (read(go[0], &byte, 1) != 1 || memory[0] != 1)
			_exit(1);
		memory[0] = 3;
		accel_buffer_destroy(buffer);
		_exit(0);
	}
	ok(accel_fill(f->queue, buffer, 0, 4, 2));
	assert_int_equal(memory[0], 2);
	assert_int_equal(write(go[1], &byte, 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	memory[0]++;
	assert_int_equal(word_at(buffer, 0), 3);
	ok(accel_fill(f->queue, buffer, 0, 4, 4));
	assert_int_equal(memory[0], 4);
	close(go[0]);
	close(go[1]);
	accel_buffer_destroy(buffer);
	munmap(memory, PAGE);
}

#ifndef ACCEL_TEST_MODEL	/* which no other process sees */
/* What accelctl memory says of this process: seven sizes as text, "1.0 MiB". */
static void read_accelctl(char sizes[7][16])
{
	char line[256], name[32], address[32], units[7][8], values[7][8];
	FILE *pipe = popen("accelctl memory", "r");
	bool found = false;
	int pid;

	assert_non_null(pipe);
	while (fgets(line, sizeof(line), pipe)) {
		if (sscanf(line, "%d %31s %31s %7s %7s %7s %7s %7s %7s %7s %7s %7s %7s %7s %7s %7s %7s", &pid,
			   name, address, values[0], units[0], values[1], units[1], values[2], units[2],
			   values[3], units[3], values[4], units[4], values[5], units[5], values[6],
			   units[6]) != 17 || pid != getpid())
			continue;
		found = true;
		for (int i = 0; i < 7; i++)
			snprintf(sizes[i], sizeof(sizes[i]), "%s %s", values[i], units[i]);
	}
	assert_int_equal(pclose(pipe), 0);
	assert_true(found);
}

static void as_accelctl_shows_it(void **state)
{
	struct fixture *f = *state;
	struct accel_buffer *evicted = make_buffer(f, 3 << 20, CARD);
	struct accel_buffer *purgeable = make_buffer(f, 2 << 20, CARD);
	struct accel_buffer *host = make_buffer(f, 5 << 20, HOST), *registered;
	uint32_t *memory = pages(16);
	char sizes[7][16];

	ok(accel_host_register(f->context, memory, 16 * PAGE, 0, &registered));
	ok(accel_fill(f->queue, evicted, 0, 4096, 1));
	ok(accel_buffer_advise(purgeable, ACCEL_ADVICE_PURGEABLE));
	ok(accel_buffer_advise(evicted, ACCEL_ADVICE_EVICT));
	read_accelctl(sizes);
	/* The queue's command memory is 256 KiB, a user-mode queue's ring 32 KiB. */
	assert_string_equal(sizes[0], kernel_queues() ? "5.2 MiB" : "5.3 MiB");	/* CARD */
	assert_string_equal(sizes[1], kernel_queues() ? "2.2 MiB" : "2.3 MiB");	/* ON-CARD */
	assert_string_equal(sizes[2], "3.0 MiB");	/* OFF-CARD */
	assert_string_equal(sizes[3], "5.1 MiB");	/* SYSTEM */
	assert_string_equal(sizes[4], "0 B");		/* SHARED */
	assert_string_equal(sizes[5], "2.0 MiB");	/* PURGEABLE */
	assert_string_equal(sizes[6], "64.0 KiB");	/* PINNED */
	accel_buffer_destroy(registered);
	accel_buffer_destroy(evicted);
	accel_buffer_destroy(purgeable);
	accel_buffer_destroy(host);
	munmap(memory, 16 * PAGE);
}
#endif
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(device_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(context_status, setup, teardown),
		cmocka_unit_test_setup_teardown(buffer_info, setup, teardown),
		cmocka_unit_test_setup_teardown(evict_and_prefetch, setup, teardown),
		cmocka_unit_test_setup_teardown(purgeable_is_not_used, setup, teardown),
		cmocka_unit_test_setup_teardown(advice_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(registered, setup, teardown),
		cmocka_unit_test_setup_teardown(registered_large, setup, teardown),
		cmocka_unit_test_setup_teardown(registered_anywhere, setup, teardown),
		cmocka_unit_test_setup_teardown(register_errors, setup, teardown),
#ifdef ACCEL_TEST_FAKE
		cmocka_unit_test_setup_teardown(purged, setup, teardown),
		cmocka_unit_test_setup_teardown(refused, setup, teardown),
		cmocka_unit_test_setup_teardown(memlock, setup, teardown),
		cmocka_unit_test_setup_teardown(too_many, setup, teardown),
#else
		cmocka_unit_test_setup_teardown(register_what_is_not_memory, setup, teardown),
#ifndef ACCEL_TEST_MODEL
		cmocka_unit_test(memlock_limit),
		cmocka_unit_test_setup_teardown(registered_in_flight, setup, teardown),
#endif
		cmocka_unit_test_setup_teardown(registered_and_forked, setup, teardown),
#ifndef ACCEL_TEST_MODEL
		cmocka_unit_test_setup_teardown(as_accelctl_shows_it, setup, teardown),
#endif
#endif
	};

	return run_group("memory", tests);
}

/* SPDX-License-Identifier: MIT */
/*
 * User-mode queues and address spaces of the model in the process, call by call: the answers are those that
 * Documentation/uapi.md promises of the driver.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <accel/accel.h>

#include "../../libaccel/model/mk.h"
#include "../../libaccel/src/os.h"

#define NODE	"/dev/accel/model0"
#define ORDER	6u
#define RING_VA	0x200000ull
#define WORD_VA	0x400000ull
#define CARD_MEMORY	(64ull << 20)
#define NEVER	(10ull * 1000000000u)

/* A file with a long-running address space that has a ring and a page of words. */
struct raw {
	int fd;
	uint32_t vm, queue;
	struct onpu_packet *ring;
	uint64_t *words;
	volatile uint32_t *doorbell;
	uint32_t tail;
};

static void *create_bo(struct raw *r, uint64_t va, uint64_t size, uint32_t flags)
{
	struct drm_onpu_bo_create bo = { .size = size, .flags = flags };
	struct drm_onpu_bo_mmap_offset offset = { 0 };
	struct drm_onpu_bind_op op = { .type = DRM_ONPU_BIND_MAP, .va = va, .size = size };
	struct drm_onpu_vm_bind bind = {
		.vm_id = r->vm, .ops = { .count = 1, .stride = sizeof(op), .ptr = (uintptr_t)&op },
	};
	void *pointer;

	assert_int_equal(os_ioctl(r->fd, DRM_IOCTL_ONPU_BO_CREATE, &bo), 0);
	op.handle = offset.handle = bo.handle;
	assert_int_equal(os_ioctl(r->fd, DRM_IOCTL_ONPU_VM_BIND, &bind), 0);
	assert_int_equal(os_ioctl(r->fd, DRM_IOCTL_ONPU_BO_MMAP_OFFSET, &offset), 0);
	assert_int_equal(os_mmap(r->fd, offset.offset, size, &pointer), 0);
	return pointer;
}

static uint32_t create_vm(int fd, uint32_t flags)
{
	struct drm_onpu_vm_create vm = { .flags = flags };

	assert_int_equal(os_ioctl(fd, DRM_IOCTL_ONPU_VM_CREATE, &vm), 0);
	return vm.id;
}

static int create_queue(int fd, struct drm_onpu_queue_create arg)
{
	int ret = os_ioctl(fd, DRM_IOCTL_ONPU_QUEUE_CREATE, &arg);

	return ret ? ret : (int)arg.id;
}

static struct drm_onpu_queue_create good_queue(const struct raw *r)
{
	return (struct drm_onpu_queue_create){
		.vm_id = r->vm, .priority = DRM_ONPU_PRIORITY_MEDIUM, .flags = DRM_ONPU_QUEUE_USER,
		.ring_va = RING_VA, .ring_order = ORDER,
	};
}

static int setup(void **state)
{
	struct drm_onpu_queue_create arg;
	struct raw *r = calloc(1, sizeof(*r));
	void *doorbell;

	assert_non_null(r);
	r->fd = os_open(NODE);
	assert_true(r->fd >= 0);
	r->vm = create_vm(r->fd, DRM_ONPU_VM_LONG_RUNNING);
	r->ring = create_bo(r, RING_VA, ONPU_PACKET_SIZE << ORDER, DRM_ONPU_BO_VRAM | DRM_ONPU_BO_SYSTEM);
	r->words = create_bo(r, WORD_VA, 4096, DRM_ONPU_BO_SYSTEM);
	arg = good_queue(r);
	assert_int_equal(os_ioctl(r->fd, DRM_IOCTL_ONPU_QUEUE_CREATE, &arg), 0);
	assert_int_equal(os_mmap(r->fd, arg.doorbell_offset, 4096, &doorbell), 0);
	r->queue = arg.id;
	r->doorbell = doorbell;
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct raw *r = *state;

	os_munmap((void *)(uintptr_t)r->doorbell, 4096);
	os_close(r->fd);
	free(r);
	if (mk_objects()) {
		print_error("%u objects of the kernel leaked\n", mk_objects());
		return -1;
	}
	return 0;
}

static void put(struct raw *r, struct onpu_packet packet)
{
	r->ring[r->tail++ % (1u << ORDER)] = packet;
}

static void put_signal(struct raw *r, unsigned int word, uint64_t value, uint32_t flags)
{
	struct onpu_packet packet = { .opcode = ONPU_OP_SIGNAL, .flags = flags };

	packet.signal.va = WORD_VA + word * sizeof(uint64_t);
	packet.signal.value = value;
	put(r, packet);
}

static uint64_t word(const struct raw *r, unsigned int index)
{
	return __atomic_load_n(&r->words[index], __ATOMIC_ACQUIRE);
}

static void put_wait(struct raw *r, unsigned int word, uint64_t value)
{
	struct onpu_packet packet = { .opcode = ONPU_OP_WAIT };

	packet.wait.va = WORD_VA + word * sizeof(uint64_t);
	packet.wait.value = value;
	packet.wait.op = ONPU_WAIT_GE;
	put(r, packet);
}

static struct drm_onpu_wait wait_for(struct raw *r, unsigned int word, uint32_t op, uint64_t value)
{
	return (struct drm_onpu_wait){
		.addr = (uintptr_t)&r->words[word], .value = value, .op = op,
		.queue_id = r->queue, .timeout_ns = (int64_t)(mk_now() + NEVER),
	};
}

static int wait_raw(struct raw *r, struct drm_onpu_wait arg)
{
	return os_ioctl(r->fd, DRM_IOCTL_ONPU_WAIT, &arg);
}

static uint32_t flags_of(struct raw *r)
{
	struct drm_onpu_queue_get_state arg = { .id = r->queue };

	assert_int_equal(os_ioctl(r->fd, DRM_IOCTL_ONPU_QUEUE_GET_STATE, &arg), 0);
	return arg.flags;
}

/* More rounds than the ring has packets, each slept for. */
static void rounds(void **state)
{
	struct raw *r = *state;

	for (uint64_t i = 1; i <= 200; i++) {
		put_signal(r, 0, i, ONPU_PKT_IRQ);
		os_ring(r->doorbell, r->tail);
		assert_int_equal(wait_raw(r, wait_for(r, 0, DRM_ONPU_WAIT_GE, i)), 0);
	}
	assert_int_equal(word(r, 0), 200);
}

static void wait_answers(void **state)
{
	static const struct { uint32_t op; uint64_t value; int ret; } cases[] = {
		{ DRM_ONPU_WAIT_GE, 7, 0 }, { DRM_ONPU_WAIT_GE, 8, -ETIME },
		{ DRM_ONPU_WAIT_EQ, 7, 0 }, { DRM_ONPU_WAIT_EQ, 6, -ETIME },
		{ DRM_ONPU_WAIT_NE, 6, 0 }, { DRM_ONPU_WAIT_NE, 7, -ETIME },
		{ DRM_ONPU_WAIT_GT, 6, 0 }, { DRM_ONPU_WAIT_GT, 7, -ETIME },
		{ DRM_ONPU_WAIT_LE, 7, 0 }, { DRM_ONPU_WAIT_LE, 6, -ETIME },
		{ DRM_ONPU_WAIT_LT, 8, 0 }, { DRM_ONPU_WAIT_LT, 7, -ETIME },
	};
	struct raw *r = *state;
	struct drm_onpu_wait arg;
	uint64_t start = mk_now();

	__atomic_store_n(&r->words[0], 7, __ATOMIC_RELEASE);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		arg = wait_for(r, 0, cases[i].op, cases[i].value);
		arg.timeout_ns = i % 4 == 1 ? (int64_t)(start + 1000000) : i % 4 == 3 ? 0 : arg.timeout_ns;
		assert_int_equal(wait_raw(r, arg), cases[i].ret);
	}
	arg = wait_for(r, 0, DRM_ONPU_WAIT_LT + 1, 0);
	assert_int_equal(wait_raw(r, arg), -EINVAL);
	arg = wait_for(r, 0, DRM_ONPU_WAIT_GE, 0);
	arg.addr += 4;
	assert_int_equal(wait_raw(r, arg), -EINVAL);
	arg.addr = 0;
	assert_int_equal(wait_raw(r, arg), -EFAULT);
	arg = wait_for(r, 0, DRM_ONPU_WAIT_GE, 0);
	arg.flags = 1;
	assert_int_equal(wait_raw(r, arg), -EINVAL);
	arg.flags = 0;
	arg.queue_id = 77;
	assert_int_equal(wait_raw(r, arg), -ENOENT);
	arg.queue_id = 0;
	assert_int_equal(wait_raw(r, arg), 0);
}

static void create_answers(void **state)
{
	struct drm_onpu_query_limits limits = { 0 };
	struct drm_onpu_dev_query query = {
		.type = DRM_ONPU_QUERY_LIMITS, .size = sizeof(limits), .ptr = (uintptr_t)&limits,
	};
	struct raw *r = *state;
	struct drm_onpu_queue_create arg, kernel = { .vm_id = r->vm, .priority = DRM_ONPU_PRIORITY_LOW };
	struct drm_onpu_job job = { 0 };
	struct drm_onpu_submit submit = {
		.queue_id = r->queue, .jobs = { .count = 1, .stride = sizeof(job), .ptr = (uintptr_t)&job },
	};
	int id;

	assert_int_equal(os_ioctl(r->fd, DRM_IOCTL_ONPU_DEV_QUERY, &query), 0);
	assert_true(limits.max_ring_order >= ORDER);
	assert_int_equal(limits.user_vms, 1);
	assert_int_equal(limits.user_queues, 1);

	arg = good_queue(r);
	arg.ring_order = ONPU_RING_ORDER_MIN - 1;
	assert_int_equal(create_queue(r->fd, arg), -EINVAL);
	arg.ring_order = limits.max_ring_order + 1;
	assert_int_equal(create_queue(r->fd, arg), -EINVAL);
	arg = good_queue(r);
	arg.ring_va += 32;
	assert_int_equal(create_queue(r->fd, arg), -EINVAL);
	arg.ring_va = 0;
	assert_int_equal(create_queue(r->fd, arg), -EINVAL);
	arg.ring_va = MK_VA_END - 64;
	assert_int_equal(create_queue(r->fd, arg), -EINVAL);
	arg = good_queue(r);
	arg.ctl_va = WORD_VA + 8;
	assert_int_equal(create_queue(r->fd, arg), -EINVAL);
	arg = good_queue(r);
	arg.doorbell_offset = 4096;
	assert_int_equal(create_queue(r->fd, arg), -EINVAL);
	arg = good_queue(r);
	arg.progress_offset = 4096;
	assert_int_equal(create_queue(r->fd, arg), -EINVAL);
	arg = good_queue(r);
	arg.flags |= 4;
	assert_int_equal(create_queue(r->fd, arg), -EINVAL);
	arg = good_queue(r);
	arg.flags = DRM_ONPU_QUEUE_PROGRESS;
	assert_int_equal(create_queue(r->fd, arg), -EINVAL);
	/* As of a card from before it. */
	arg = good_queue(r);
	arg.flags |= DRM_ONPU_QUEUE_PROGRESS;
	assert_int_equal(create_queue(r->fd, arg), -EOPNOTSUPP);
	arg = good_queue(r);
	arg.vm_id = 9;
	assert_int_equal(create_queue(r->fd, arg), -ENOENT);

	/* Only in a long-running address space, and not beside the other kind. */
	arg = good_queue(r);
	arg.vm_id = create_vm(r->fd, 0);
	assert_int_equal(create_queue(r->fd, arg), -EINVAL);
	assert_int_equal(create_queue(r->fd, kernel), -EINVAL);
	kernel.ring_order = ORDER;
	assert_int_equal(create_queue(r->fd, kernel), -EINVAL);
	kernel.ring_order = 0;
	kernel.vm_id = create_vm(r->fd, DRM_ONPU_VM_LONG_RUNNING);
	id = create_queue(r->fd, kernel);
	assert_true(id > 0);
	arg.vm_id = kernel.vm_id;
	assert_int_equal(create_queue(r->fd, arg), -EINVAL);
	assert_int_equal(os_ioctl(r->fd, DRM_IOCTL_ONPU_VM_CREATE,
				  &(struct drm_onpu_vm_create){ .flags = 2 }), -EINVAL);
	assert_int_equal(os_ioctl(r->fd, DRM_IOCTL_ONPU_SUBMIT, &submit), -EINVAL);
}

static void doorbells(void **state)
{
	struct raw *r = *state;
	struct drm_onpu_queue_create arg = good_queue(r);
	int other = os_open(NODE);
	void *doorbell, *again;

	/* The ring may be another queue's, too, as long as neither is rung. */
	assert_int_equal(os_ioctl(r->fd, DRM_IOCTL_ONPU_QUEUE_CREATE, &arg), 0);
	assert_int_equal(os_mmap(r->fd, arg.doorbell_offset, 8192, &doorbell), -EINVAL);
	assert_int_equal(os_mmap(other, arg.doorbell_offset, 4096, &doorbell), -EACCES);
	assert_int_equal(os_mmap(r->fd, arg.doorbell_offset + 100000, 4096, &doorbell), -EACCES);
	assert_int_equal(os_mmap(r->fd, arg.doorbell_offset, 4096, &doorbell), 0);
	assert_int_equal(os_mmap(r->fd, arg.doorbell_offset, 4096, &again), 0);
	os_close(other);
	os_munmap(again, 4096);
	assert_int_equal(os_ioctl(r->fd, DRM_IOCTL_ONPU_QUEUE_DESTROY,
				  &(struct drm_onpu_queue_destroy){ .id = arg.id }), 0);
	assert_int_equal(os_mmap(r->fd, arg.doorbell_offset, 4096, &again), -EACCES);
	/* It rings nothing: neither a queue that is gone nor one that has its place now. */
	os_ring(doorbell, 1);
	assert_true(create_queue(r->fd, good_queue(r)) > 0);
	os_ring(doorbell, 1);
	os_munmap(doorbell, 4096);
	put_signal(r, 0, 1, ONPU_PKT_IRQ);
	os_ring(r->doorbell, r->tail);
	assert_int_equal(wait_raw(r, wait_for(r, 0, DRM_ONPU_WAIT_EQ, 1)), 0);
}

static void *sleeper(void *arg)
{
	struct raw *r = arg;

	return (void *)(intptr_t)wait_raw(r, wait_for(r, 0, DRM_ONPU_WAIT_GE, 1));
}

/* Who waits is told of the queue's end: by a packet that is none, and by QUEUE_DESTROY. */
static void ends(void **state)
{
	struct raw *r = *state;
	pthread_t thread;
	void *ret;

	put_wait(r, 1, 1);	/* nobody stores it */
	os_ring(r->doorbell, r->tail);
	assert_int_equal(pthread_create(&thread, NULL, sleeper, r), 0);
	usleep(10000);
	assert_int_equal(os_ioctl(r->fd, DRM_IOCTL_ONPU_QUEUE_DESTROY,
				  &(struct drm_onpu_queue_destroy){ .id = r->queue }), 0);
	pthread_join(thread, &ret);
	/* It had not begun to wait when the queue went: then there is no such queue. */
	assert_true((intptr_t)ret == -ECANCELED || (intptr_t)ret == -ENOENT);
}

static void dies(void **state)
{
	struct raw *r = *state;

	put_signal(r, 1, 5, 0);
	put(r, (struct onpu_packet){ .opcode = 0xee });
	os_ring(r->doorbell, r->tail);
	assert_int_equal(wait_raw(r, wait_for(r, 0, DRM_ONPU_WAIT_GE, 1)), -ECANCELED);
	assert_int_equal(wait_raw(r, wait_for(r, 1, DRM_ONPU_WAIT_GE, 5)), 0);
	assert_int_equal(flags_of(r), DRM_ONPU_QUEUE_DEAD | DRM_ONPU_QUEUE_BAD_PACKET);
	os_ring(r->doorbell, r->tail + 1);
}

static void notify(void **state)
{
	int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), file = open("/dev/null", O_RDONLY);
	struct drm_onpu_queue_notify arg = { .fd = file };
	struct raw *r = *state;
	uint64_t count = 0;

	arg.queue_id = r->queue;
	assert_int_equal(os_ioctl(r->fd, DRM_IOCTL_ONPU_QUEUE_NOTIFY, &arg), -EINVAL);
	close(file);
	assert_int_equal(os_ioctl(r->fd, DRM_IOCTL_ONPU_QUEUE_NOTIFY, &arg), -EBADF);
	arg.fd = -2;
	assert_int_equal(os_ioctl(r->fd, DRM_IOCTL_ONPU_QUEUE_NOTIFY, &arg), -EINVAL);
	arg.fd = event;
	arg.queue_id = 99;
	assert_int_equal(os_ioctl(r->fd, DRM_IOCTL_ONPU_QUEUE_NOTIFY, &arg), -ENOENT);
	arg.queue_id = r->queue;
	assert_int_equal(os_ioctl(r->fd, DRM_IOCTL_ONPU_QUEUE_NOTIFY, &arg), 0);
	put_signal(r, 0, 1, ONPU_PKT_IRQ);
	os_ring(r->doorbell, r->tail);
	/* The word and the wake-up come before, or with, what tells the eventfd. */
	for (int i = 0; i < 10000 && read(event, &count, sizeof(count)) < 0; i++)
		usleep(1000);
	assert_true(count >= 1);
	assert_int_equal(word(r, 0), 1);
	put(r, (struct onpu_packet){ .opcode = 0xee });
	os_ring(r->doorbell, r->tail);
	count = 0;
	for (int i = 0; i < 10000 && read(event, &count, sizeof(count)) < 0; i++)
		usleep(1000);
	assert_true(count >= 1);
	arg.fd = -1;
	assert_int_equal(os_ioctl(r->fd, DRM_IOCTL_ONPU_QUEUE_NOTIFY, &arg), 0);
	close(event);
}

static void *ring_it(void *arg)
{
	const struct raw *r = arg;

	os_ring(r->doorbell, r->tail);
	return NULL;
}

/* Who rings while there is no room gets on as soon as there is some. */
static void room_comes(void **state)
{
	struct drm_onpu_bind_op op = {
		.type = DRM_ONPU_BIND_UNMAP, .va = 2ull << 30, .size = CARD_MEMORY / 8 * 5,
	};
	struct raw *r = *state;
	struct drm_onpu_vm_bind bind = {
		.vm_id = r->vm, .ops = { .count = 1, .stride = sizeof(op), .ptr = (uintptr_t)&op },
	};
	uint64_t before = mk_patience_ns;
	pthread_t thread;

	mk_patience_ns = 1000 * NEVER;
	create_bo(r, 1ull << 30, op.size, DRM_ONPU_BO_VRAM);
	create_bo(r, op.va, op.size, DRM_ONPU_BO_VRAM);
	put_signal(r, 0, 1, ONPU_PKT_IRQ);
	assert_int_equal(pthread_create(&thread, NULL, ring_it, r), 0);
	usleep(50000);
	assert_int_equal(word(r, 0), 0);
	assert_int_equal(os_ioctl(r->fd, DRM_IOCTL_ONPU_VM_BIND, &bind), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(wait_raw(r, wait_for(r, 0, DRM_ONPU_WAIT_EQ, 1)), 0);
	assert_int_equal(flags_of(r), 0);
	mk_patience_ns = before;
}

/* The card holds interrupts of busy queues back, as the driver has it do. */
static void interrupts(void **state)
{
	struct raw *r = *state;

	for (unsigned int vector = 1; vector < ONPU_MAX_VECTORS; vector++)
		assert_int_equal(mk_read32(mk_cards[0], ONPU_REG_IRQ_HOLD(vector)), ONPU_IRQ_HOLD(16, 100));
	/* None is lost: whoever waits for any of them is told. */
	for (uint64_t i = 1; i <= 200; i++) {
		put_signal(r, 0, i, ONPU_PKT_IRQ);
		if (i % 40 == 0) {
			os_ring(r->doorbell, r->tail);
			assert_int_equal(wait_raw(r, wait_for(r, 0, DRM_ONPU_WAIT_GE, i - 39 + i % 7)), 0);
			assert_int_equal(wait_raw(r, wait_for(r, 0, DRM_ONPU_WAIT_GE, i)), 0);
		}
	}
}

/* Two address spaces that do not fit together get on in turn; one that does not fit alone is killed. */
static void memory(void **state)
{
	const uint64_t size = CARD_MEMORY / 8 * 5;
	struct raw *r = *state, *other;
	void *second = NULL;

	setup(&second);
	other = second;
	create_bo(r, 1ull << 30, size, DRM_ONPU_BO_VRAM);
	create_bo(other, 1ull << 30, size, DRM_ONPU_BO_VRAM);
	for (uint64_t i = 1; i <= 5; i++) {
		put_signal(r, 0, i, ONPU_PKT_IRQ);
		os_ring(r->doorbell, r->tail);
		put_signal(other, 0, i, ONPU_PKT_IRQ);
		os_ring(other->doorbell, other->tail);
		assert_int_equal(wait_raw(r, wait_for(r, 0, DRM_ONPU_WAIT_GE, i)), 0);
		assert_int_equal(wait_raw(other, wait_for(other, 0, DRM_ONPU_WAIT_GE, i)), 0);
	}
	create_bo(r, 2ull << 30, size, DRM_ONPU_BO_VRAM);
	put_signal(r, 0, 6, ONPU_PKT_IRQ);
	os_ring(r->doorbell, r->tail);
	assert_int_equal(wait_raw(r, wait_for(r, 0, DRM_ONPU_WAIT_GE, 6)), -ECANCELED);
	assert_int_equal(flags_of(r), DRM_ONPU_QUEUE_DEAD | DRM_ONPU_QUEUE_NO_MEMORY);
	put_signal(other, 0, 6, ONPU_PKT_IRQ);
	os_ring(other->doorbell, other->tail);
	assert_int_equal(wait_raw(other, wait_for(other, 0, DRM_ONPU_WAIT_GE, 6)), 0);
	os_munmap((void *)(uintptr_t)other->doorbell, 4096);
	os_close(other->fd);
	free(other);
}

/* ---- memory that is refused ---- */

/* How many calls for memory this thread has left, until one is refused; 0: all are granted. */
static _Thread_local unsigned int refuse_in;

static bool refuse(void)
{
	return refuse_in && !--refuse_in;
}

/* The linker has all calls come here (meson.build). */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *pointer, size_t size);
int __real_mprotect(void *pointer, size_t size, int how);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *pointer, size_t size);
int __wrap_mprotect(void *pointer, size_t size, int how);

void *__wrap_malloc(size_t size)
{
	return refuse() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return refuse() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *pointer, size_t size)
{
	return refuse() ? NULL : __real_realloc(pointer, size);
}

int __wrap_mprotect(void *pointer, size_t size, int how)
{
	if (!refuse())
		return __real_mprotect(pointer, size, how);
	errno = ENOMEM;
	return -1;
}

/* ---- VM_BIND ---- */

#define BASE	(1ull << 30)	/* where there are large pages */
#define MIB	(1ull << 20)

static struct drm_onpu_vm_get_state vm_state(const struct raw *r)
{
	struct drm_onpu_vm_get_state state = { .id = r->vm };

	assert_int_equal(os_ioctl(r->fd, DRM_IOCTL_ONPU_VM_GET_STATE, &state), 0);
	return state;
}

static int bind_ops(const struct raw *r, const struct drm_onpu_bind_op *ops, unsigned int count)
{
	struct drm_onpu_vm_bind arg = {
		.vm_id = r->vm, .ops = { .count = count, .stride = sizeof(*ops), .ptr = (uintptr_t)ops },
	};
	int ret = os_ioctl(r->fd, DRM_IOCTL_ONPU_VM_BIND, &arg);

	/* No single operation is at fault. */
	assert_int_equal(arg.failed_op, count);
	return ret;
}

/* Memory whose every page begins with a number of its own; it is mapped at @va, if that is not 0. */
static uint32_t numbered_bo(struct raw *r, uint64_t va, uint64_t size, uint64_t first)
{
	struct drm_onpu_bo_create bo = { .size = size, .flags = DRM_ONPU_BO_VRAM };
	struct drm_onpu_bo_mmap_offset offset = { 0 };
	struct drm_onpu_bind_op op = { .type = DRM_ONPU_BIND_MAP, .va = va, .size = size };
	void *pointer;

	assert_int_equal(os_ioctl(r->fd, DRM_IOCTL_ONPU_BO_CREATE, &bo), 0);
	op.handle = offset.handle = bo.handle;
	assert_int_equal(os_ioctl(r->fd, DRM_IOCTL_ONPU_BO_MMAP_OFFSET, &offset), 0);
	assert_int_equal(os_mmap(r->fd, offset.offset, size, &pointer), 0);
	for (uint64_t page = 0; page < size / 4096; page++)
		((uint64_t *)pointer)[page * 512] = first + page;
	if (va)
		assert_int_equal(bind_ops(r, &op, 1), 0);
	return bo.handle;
}

/* What the card finds at an address; its queue must be alive. */
static uint64_t card_reads(struct raw *r, uint64_t va)
{
	struct onpu_packet copy = { .opcode = ONPU_OP_COPY };
	uint64_t number = r->tail + 1;

	copy.copy.dst_va = WORD_VA + 8;
	copy.copy.src_va = va;
	copy.copy.size = 8;
	put(r, copy);
	put_signal(r, 0, number, ONPU_PKT_IRQ);
	os_ring(r->doorbell, r->tail);
	assert_int_equal(wait_raw(r, wait_for(r, 0, DRM_ONPU_WAIT_GE, number)), 0);
	return word(r, 1);
}

/* The card cannot read there; this is the end of the queue. */
static void card_faults(struct raw *r, uint64_t va)
{
	struct onpu_packet copy = { .opcode = ONPU_OP_COPY };

	copy.copy.dst_va = WORD_VA + 8;
	copy.copy.src_va = va;
	copy.copy.size = 8;
	put(r, copy);
	os_ring(r->doorbell, r->tail);
	assert_int_equal(wait_raw(r, wait_for(r, 2, DRM_ONPU_WAIT_GE, 1)), -ECANCELED);
	assert_int_equal(flags_of(r), DRM_ONPU_QUEUE_DEAD | DRM_ONPU_QUEUE_FAULT);
}

/* Whichever call for memory is refused, a VM_BIND has done nothing; then all of it. */
static void bind_without_memory(void **state)
{
	struct raw *r = *state;
	uint32_t other = numbered_bo(r, 0, 4 * MIB, 100000);
	struct drm_onpu_bind_op ops[] = {
		/* a page out of a large one, */
		{ .type = DRM_ONPU_BIND_UNMAP, .va = BASE + MIB, .size = 4096 },
		/* something that has no large pages over parts of large ones, */
		{ .type = DRM_ONPU_BIND_MAP, .va = BASE + 3 * MIB, .size = 2 * MIB, .handle = other, .bo_offset = 4096 },
		/* more tables than are at hand, */
		{ .type = DRM_ONPU_BIND_MAP, .va = 1ull << 40, .size = 900ull << 30, .flags = DRM_ONPU_BIND_NULL },
		/* and parts of that again. */
		{ .type = DRM_ONPU_BIND_UNMAP, .va = (1ull << 40) + 4096, .size = (1ull << 39) + 4096 },
	};
	const unsigned int count = sizeof(ops) / sizeof(ops[0]);
	struct drm_onpu_vm_get_state before, now;
	unsigned int refused = 0;
	int ret;

	numbered_bo(r, BASE, 8 * MIB, 1);
	before = vm_state(r);
	do {
		refuse_in = ++refused;
		ret = bind_ops(r, ops, count);
		refuse_in = 0;
		if (!ret)
			break;
		assert_int_equal(ret, -ENOMEM);
		now = vm_state(r);
		assert_memory_equal(&now, &before, sizeof(now));
		assert_int_equal(card_reads(r, BASE + MIB), 1 + 256);
		assert_int_equal(card_reads(r, BASE + 3 * MIB), 1 + 768);
		assert_int_equal(card_reads(r, BASE + 5 * MIB - 4096), 1 + 1279);
	} while (refused < 1000);
	/* Ten mappings, three lists, pages. */
	assert_in_range(refused, 12, 999);
	now = vm_state(r);
	/* 2 pieces in front, the page's gap, the new one, what is behind it; two pieces of nothing. */
	assert_int_equal(now.mappings, before.mappings + 5);
	assert_int_equal(now.mapped_bytes, before.mapped_bytes - 4096 + (900ull << 30) - (1ull << 39) - 4096);
	assert_int_equal(card_reads(r, BASE + MIB - 4096), 256);
	assert_int_equal(card_reads(r, BASE + MIB + 4096), 1 + 257);
	assert_int_equal(card_reads(r, BASE + 3 * MIB - 4096), 768);
	assert_int_equal(card_reads(r, BASE + 3 * MIB), 100001);
	assert_int_equal(card_reads(r, BASE + 5 * MIB - 4096), 100000 + 512);
	assert_int_equal(card_reads(r, BASE + 5 * MIB), 1 + 1280);
	assert_int_equal(card_reads(r, 1ull << 40), 0);
	assert_int_equal(card_reads(r, (1ull << 40) + (1ull << 39) + 8192), 0);
	card_faults(r, BASE + MIB);
}

/* What a call may need at most has to fit before it begins: two for a MAP, one for an UNMAP that splits. */
static void bind_beyond_the_limit(void **state)
{
	const uint32_t limit = mk_limits.max_mappings;
	struct raw *r = *state;
	struct drm_onpu_bind_op map = {
		.type = DRM_ONPU_BIND_MAP, .va = 2 * BASE, .size = 4096, .flags = DRM_ONPU_BIND_NULL,
	};
	struct drm_onpu_bind_op pair[2] = { { .type = DRM_ONPU_BIND_UNMAP, .va = BASE, .size = 4096 }, map };
	struct drm_onpu_bind_op edge = pair[0], middle = { .type = DRM_ONPU_BIND_UNMAP, .va = BASE + MIB, .size = 4096 };
	struct drm_onpu_vm_get_state before, now;

	numbered_bo(r, BASE, 8 * MIB, 1);
	before = vm_state(r);
	mk_limits.max_mappings = (uint32_t)before.mappings + 1;
	assert_int_equal(bind_ops(r, &map, 1), -ENOSPC);
	assert_int_equal(bind_ops(r, pair, 2), -ENOSPC);
	now = vm_state(r);
	assert_memory_equal(&now, &before, sizeof(now));
	assert_int_equal(card_reads(r, BASE), 1);
	assert_int_equal(bind_ops(r, &middle, 1), 0);
	middle.va += MIB;
	assert_int_equal(bind_ops(r, &middle, 1), -ENOSPC);
	assert_int_equal(bind_ops(r, &edge, 1), 0);
	assert_int_equal(vm_state(r).mappings, before.mappings + 1);
	assert_int_equal(card_reads(r, BASE + 2 * MIB), 1 + 512);
	mk_limits.max_mappings = limit;
	assert_int_equal(bind_ops(r, &map, 1), 0);
}

static bool beats(void)
{
	uint32_t before = mk_read32(mk_cards[0], ONPU_REG_HEARTBEAT);

	for (int i = 0; i < 1000; i++) {
		usleep(10000);
		if (mk_read32(mk_cards[0], ONPU_REG_HEARTBEAT) != before)
			return true;
	}
	return false;
}

/* A card that nobody has open stands still, and goes on where it was. */
static void stands_still(void **state)
{
	uint32_t before;
	int first, second;

	(void)state;
	for (int i = 0; i < 3; i++) {
		first = os_open(NODE);
		second = os_open(NODE);
		assert_true(first >= 0 && second >= 0);
		os_close(first);
		assert_true(beats());
		os_close(second);
		before = mk_read32(mk_cards[0], ONPU_REG_HEARTBEAT);
		usleep(200000);
		assert_int_equal(mk_read32(mk_cards[0], ONPU_REG_HEARTBEAT), before);
	}
}

/* How often threads of cards and of their kernel have gone to sleep so far. */
static unsigned long sleeps(void)
{
	DIR *tasks = opendir("/proc/self/task");
	unsigned long sum = 0, count;
	struct dirent *entry;

	assert_non_null(tasks);
	while ((entry = readdir(tasks))) {
		char path[300], line[200];
		bool ours = false;
		FILE *file;

		snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
		file = fopen(path, "r");
		while (file && fgets(line, sizeof(line), file)) {
			ours |= !strncmp(line, "Name:\tonpu-", 11);
			if (ours && sscanf(line, "voluntary_ctxt_switches: %lu", &count) == 1)
				sum += count;
		}
		if (file)
			fclose(file);
	}
	closedir(tasks);
	return sum;
}

/* Waits until no such thread has been awake for the time of many heartbeats. */
static bool all_sleep(void)
{
	unsigned long before = sleeps(), now;

	for (int i = 0; i < 100; i++) {
		usleep(500000);
		now = sleeps();
		if (now == before)
			return true;
		before = now;
	}
	return false;
}

/* A card that is open and has nothing to do sleeps, and is there at once when it is asked or has work. */
static void sleeps_when_idle(void **state)
{
	struct raw *r = *state;

	assert_true(sleeps() > 0);
	for (uint64_t i = 1; i <= 3; i++) {
		assert_true(all_sleep());
		if (i > 1)
			assert_true(beats());
		put_signal(r, 0, i, ONPU_PKT_IRQ);
		os_ring(r->doorbell, r->tail);
		assert_int_equal(wait_raw(r, wait_for(r, 0, DRM_ONPU_WAIT_GE, i)), 0);
	}
	/* A queue that waits for memory is at work. */
	put_wait(r, 1, 1);
	put_signal(r, 0, 4, ONPU_PKT_IRQ);
	os_ring(r->doorbell, r->tail);
	usleep(300000);
	__atomic_store_n(&r->words[1], 1, __ATOMIC_RELEASE);
	assert_int_equal(wait_raw(r, wait_for(r, 0, DRM_ONPU_WAIT_GE, 4)), 0);
	assert_true(all_sleep());
	assert_true(beats());
}

static void *open_and_close(void *arg)
{
	for (int i = 0; i < 100; i++) {
		struct drm_onpu_vm_create vm = { 0 };
		int fd = os_open(NODE);

		if (fd < 0 || os_ioctl(fd, DRM_IOCTL_ONPU_VM_CREATE, &vm))
			return (void *)1;
		os_close(fd);
	}
	return arg;
}

static void opened_by_many(void **state)
{
	pthread_t threads[4];
	void *failed;

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, open_and_close, NULL), 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	assert_int_equal(mk_objects(), 0);
}

static void *look_for_mail(void *arg)
{
	atomic_bool *stop = arg;

	while (!atomic_load(stop)) {
		pthread_mutex_lock(&mk_lock);
		mk_cards[0]->mail = true;
		mk_kick();
		pthread_mutex_unlock(&mk_lock);
		sched_yield();
	}
	return NULL;
}

/* A message that comes between a look for its cause and the end of that look interrupts there. */
static void mail_during_a_look(void **state)
{
	int fd = os_open(NODE);
	atomic_bool stop = false;
	pthread_t thread;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(pthread_create(&thread, NULL, look_for_mail, &stop), 0);
	for (int i = 0; i < 1000; i++) {
		struct drm_onpu_vm_create vm = { 0 };
		struct drm_onpu_vm_destroy gone = { 0 };

		assert_int_equal(os_ioctl(fd, DRM_IOCTL_ONPU_VM_CREATE, &vm), 0);
		gone.id = vm.id;
		assert_int_equal(os_ioctl(fd, DRM_IOCTL_ONPU_VM_DESTROY, &gone), 0);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	os_close(fd);
}

/* What a program has of the library. */
struct program {
	struct accel_device *device;
	struct accel_context *context;
	struct accel_queue *queue;
	struct accel_buffer *buffer;
};

static void begin(struct program *p)
{
	assert_int_equal(accel_device_open(0, &p->device), 0);
	assert_int_equal(accel_context_create(p->device, 0, &p->context), 0);
	assert_int_equal(accel_queue_create(p->context, ACCEL_PRIORITY_MEDIUM, &p->queue), 0);
	assert_int_equal(accel_buffer_create(p->context, 4096, ACCEL_BUFFER_CARD, &p->buffer), 0);
}

static void end(struct program *p)
{
	accel_buffer_destroy(p->buffer);
	accel_queue_destroy(p->queue);
	accel_context_destroy(p->context);
	accel_device_close(p->device);
	assert_int_equal(mk_objects(), 0);
}

/* What the library takes by itself: what is offered, unless it is told otherwise. */
static void the_default(void **state)
{
	enum { OFFERED, NOT_WANTED, NOT_OFFERED, KINDS };
	const uint32_t ring_order = mk_limits.max_ring_order;
	struct accel_device *device;
	struct program p;

	(void)state;
	for (int kind = 0; kind < KINDS; kind++) {
		unsigned int before = mk_submits;

		if (kind == NOT_WANTED)
			setenv("ACCEL_QUEUES", "kernel", 1);
		if (kind == NOT_OFFERED)
			mk_limits.max_ring_order = 0;
		begin(&p);
		assert_int_equal(accel_fill(p.queue, p.buffer, 0, 4096, 1), 0);
		assert_int_equal(mk_submits - before, kind != OFFERED);
		end(&p);
		unsetenv("ACCEL_QUEUES");
	}
	setenv("ACCEL_QUEUES", "user", 1);
	assert_int_equal(accel_device_open(0, &device), -ENOTSUP);
	unsetenv("ACCEL_QUEUES");
	mk_limits.max_ring_order = ring_order;
	assert_int_equal(mk_objects(), 0);
}

/* Number on the card of the only queue. */
static uint32_t only_queue(void)
{
	uint32_t index = 0;

	while (!mk_cards[0]->queues[index])
		index++;
	return index;
}

static uint64_t thread_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Who waits looks for a moment, and sleeps from then on; also one who has always been lucky. */
static void waiting(void **state)
{
	const uint64_t second = 1000000000u;
	struct program p;
	uint64_t cpu[2];
	int ret[2];

	(void)state;
	begin(&p);
	for (int i = 0; i < 100; i++)
		assert_int_equal(accel_fill(p.queue, p.buffer, 0, 4096, 1), 0);
	assert_int_equal(onpu_card_inject(mk_cards[0]->model, "hang-queue", only_queue()), 0);
	assert_int_equal(accel_fill_async(p.queue, p.buffer, 0, 4096, 2, NULL), 0);
	for (int i = 0; i < 2; i++) {
		uint64_t before = thread_ns();

		ret[i] = accel_queue_finish(p.queue, second);
		cpu[i] = thread_ns() - before;
	}
	assert_int_equal(onpu_card_inject(mk_cards[0]->model, "clear", 0), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(ret[i], -ETIME);
		/* It is to look for 50 us. */
		assert_true(cpu[i] < second / 5);
	}
	assert_int_equal(accel_queue_finish(p.queue, NEVER), 0);
	end(&p);
}

/* What was captured goes to the card by one packet and its SIGNAL, however much it is. */
static void replay(void **state)
{
	struct accel_graph *graph;
	struct program p;
	uint64_t doorbell;

	(void)state;
	begin(&p);
	doorbell = ONPU_DOORBELL_BASE + only_queue() * ONPU_DOORBELL_PAGE;
	assert_int_equal(accel_queue_capture_begin(p.queue), 0);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(accel_fill_async(p.queue, p.buffer, 4 * i, 4, i, NULL), 0);
	assert_int_equal(accel_queue_capture_end(p.queue, &graph), 0);
	assert_int_equal(accel_graph_size(graph), 100);
	for (int i = 0; i < 3; i++) {
		uint32_t before = mk_read32(mk_cards[0], doorbell);

		assert_int_equal(accel_graph_launch_async(p.queue, graph, NULL), 0);
		assert_int_equal(mk_read32(mk_cards[0], doorbell), before + 2);
		assert_int_equal(accel_queue_finish(p.queue, ACCEL_FOREVER), 0);
	}
	accel_graph_destroy(graph);
	end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_default),
		cmocka_unit_test(waiting),
		cmocka_unit_test(replay),
		cmocka_unit_test(stands_still),
		cmocka_unit_test(opened_by_many),
		cmocka_unit_test(mail_during_a_look),
		cmocka_unit_test_setup_teardown(sleeps_when_idle, setup, teardown),
		cmocka_unit_test_setup_teardown(rounds, setup, teardown),
		cmocka_unit_test_setup_teardown(wait_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(create_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(doorbells, setup, teardown),
		cmocka_unit_test_setup_teardown(ends, setup, teardown),
		cmocka_unit_test_setup_teardown(dies, setup, teardown),
		cmocka_unit_test_setup_teardown(notify, setup, teardown),
		cmocka_unit_test_setup_teardown(memory, setup, teardown),
		cmocka_unit_test_setup_teardown(bind_without_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(bind_beyond_the_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(room_comes, setup, teardown),
		cmocka_unit_test_setup_teardown(interrupts, setup, teardown),
	};

	setenv("ACCEL_DEVICE", "model:1,memory=64M", 1);
	unsetenv("ACCEL_QUEUES");
	/* Looks at the environment. */
	os_devices(NULL, 0, NULL, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

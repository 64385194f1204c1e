/* SPDX-License-Identifier: MIT */
/*
 * A card: the model, its memory, its firmware and the mailbox.
 *
 * The model sees one large piece of this process's address space as its card memory. Buffer objects
 * are ranges of it, wherever they are said to be: what is in card memory is mapped by its offset,
 * what is in system memory by its address in the process, with ONPU_PTE_HOST; a host DMA address is
 * an address of the process. So moving a buffer object is a matter of page tables and of
 * counting, and no pointer to it ever changes. Only what is allocated can be accessed, the rest is
 * PROT_NONE and takes no memory.
 *
 * Locking: mk_lock; see the header about waiting for the card.
 */
#define _GNU_SOURCE
#include "mk.h"

#include "onpu/fwimage.h"
#include "onpu/mcu.h"

#include "onpu_fw_image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define BOOT_TIMEOUT_NS		(30ull * 1000000000u)
#define REQUEST_TIMEOUT_NS	(30ull * 1000000000u)
#define SERIAL			0x4d4f44454c000000ull	/* "MODEL" */
#define VECTORS			ONPU_MAX_VECTORS
/* As the driver has it by default. */
#define IRQ_HOLD		ONPU_IRQ_HOLD(16u, 100u)

uint32_t mk_read32(const struct mk_card *card, uint64_t reg)
{
	return (uint32_t)onpu_card_mmio_read(card->model, reg, 4);
}

uint64_t mk_read64(const struct mk_card *card, uint64_t reg)
{
	return onpu_card_mmio_read(card->model, reg, 8);
}

void mk_write32(const struct mk_card *card, uint64_t reg, uint32_t value)
{
	onpu_card_mmio_write(card->model, reg, value, 4);
}

/*
 * A register of interrupts, with mk_lock held: what is pending then interrupts at once, in this very thread.
 */
static _Thread_local bool has_lock;

static void write_irq(const struct mk_card *card, uint64_t reg, uint32_t value)
{
	has_lock = true;
	mk_write32(card, reg, value);
	has_lock = false;
}

/* ---- what the model asks of its platform ---- */

static uint64_t op_time(void *opaque)
{
	(void)opaque;
	return mk_now();
}

static int op_map(void *opaque, uint64_t addr, uint64_t len, bool write, struct onpu_hostmap *map)
{
	(void)opaque;
	*map = (struct onpu_hostmap){ .ptr = (void *)(uintptr_t)addr, .len = len, .write = write };
	return 0;
}

static void op_unmap(void *opaque, const struct onpu_hostmap *map)
{
	(void)opaque;
	(void)map;
}

static void op_irq(void *opaque, unsigned int vector)
{
	struct mk_card *card = opaque;
	bool locked = has_lock;

	if (!locked)
		pthread_mutex_lock(&mk_lock);
	if (vector) {
		mk_queue_interrupt(card, vector);
	} else {
		card->mail = true;
		mk_kick();
	}
	if (!locked)
		pthread_mutex_unlock(&mk_lock);
}

/* A rule of the hardware was broken: by this file or its neighbours. */
static void op_error(void *opaque, const char *format, va_list args)
{
	(void)opaque;
	fputs("libaccel: model: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
}

static void op_reset(void *opaque)
{
	(void)opaque;
}

static const struct onpu_host_ops ops = {
	.time_ns = op_time,
	.dma_try_map = op_map,
	.dma_unmap = op_unmap,
	.irq = op_irq,
	.guest_error = op_error,
	.reset_request = op_reset,
};

/* ---- memory ---- */

static uint64_t huge_up(uint64_t size)
{
	return (size + MK_HUGE - 1) & ~(MK_HUGE - 1);
}

/* Aligned to 2 MiB, so that large pages of the card, and of the host, are possible. */
static uint8_t *reserve(uint64_t size)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	uint8_t *p = mmap(NULL, size + MK_HUGE, PROT_NONE, flags, -1, 0);
	uint64_t before;

	if (p == MAP_FAILED)
		return NULL;
	before = huge_up((uintptr_t)p) - (uintptr_t)p;
	if (before)
		munmap(p, before);
	munmap(p + before + size, MK_HUGE - before);
	p += before;
	/* A forked child must not write what the parent's card reads. */
	madvise(p, size, MADV_DONTFORK);
	return p;
}

static int create_memory(struct mk_card *card)
{
	uint64_t ram = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

	card->vram = mk_options.memory;
	card->size = huge_up(mk_options.memory) + huge_up(ram);
	card->memory = reserve(card->size);
	if (!card->memory)
		return -ENOMEM;
	/* The firmware's region is at the beginning. */
	if (mprotect(card->memory, ONPU_FW_REGION_MIN_SIZE, PROT_READ | PROT_WRITE) ||
	    va_init(&card->space, ONPU_FW_REGION_MIN_SIZE, card->size)) {
		munmap(card->memory, card->size);
		return -ENOMEM;
	}
	card->vram_used = ONPU_FW_REGION_MIN_SIZE;
	return 0;
}

struct va_range *mk_range_alloc(struct mk_card *card, uint64_t size)
{
	struct va_range *range = va_alloc(&card->space, size, size >= MK_HUGE ? MK_HUGE : MK_PAGE);

	if (!range)
		return NULL;
	if (mprotect(card->memory + range->start, size, PROT_READ | PROT_WRITE)) {
		va_free(&card->space, range);
		return NULL;
	}
	if (size >= MK_HUGE)
		madvise(card->memory + range->start, size, MADV_HUGEPAGE);
	return range;
}

void mk_range_free(struct mk_card *card, struct va_range *range)
{
	uint8_t *p = card->memory + range->start;
	uint64_t size = range->end - range->start;

	if (mmap(p, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != p)
		return;		/* the next owner would see what is in it */
	madvise(p, size, MADV_DONTFORK);
	va_free(&card->space, range);
}

/* 2 MiB of pages at a time. */
static bool more_pages(struct mk_card *card)
{
	unsigned int count = MK_HUGE / MK_PAGE, room = card->free_room + count;
	uint64_t *list = realloc(card->free_pages, room * sizeof(*list));
	struct va_range *range;

	if (!list)
		return false;
	card->free_pages = list;
	card->free_room = room;
	range = mk_range_alloc(card, MK_HUGE);	/* kept for good */
	if (!range)
		return false;
	for (unsigned int i = count; i--;)
		list[card->free_count++] = range->start + i * MK_PAGE;
	free(range);
	return true;
}

bool mk_page_reserve(struct mk_card *card, uint64_t count)
{
	while (card->free_count < count)
		if (!more_pages(card))
			return false;
	return true;
}

uint64_t mk_page_alloc(struct mk_card *card)
{
	uint64_t offset;

	if (!card->free_count && !more_pages(card))
		return 0;
	offset = card->free_pages[--card->free_count];
	memset(card->memory + offset, 0, MK_PAGE);
	card->vram_used += MK_PAGE;
	return offset;
}

void mk_page_free(struct mk_card *card, uint64_t offset)
{
	card->free_pages[card->free_count++] = offset;
	card->vram_used -= MK_PAGE;
}

/* ---- firmware ---- */

static void tell_of_firmware(struct mk_card *card)
{
	const struct onpu_fw_header *header = (const void *)onpu_fw_image;
	struct drm_onpu_query_firmware *to = &card->firmware;

	to->version = header->fw_version;
	to->svn = header->svn;
	to->mbox_abi = (uint32_t)header->abi[ONPU_FW_ABI_MBOX].major << 16 | header->abi[ONPU_FW_ABI_MBOX].minor;
	to->packet_abi = (uint32_t)header->abi[ONPU_FW_ABI_PACKET].major << 16 |
			 header->abi[ONPU_FW_ABI_PACKET].minor;
	memcpy(to->build_id, header->build_id, sizeof(to->build_id));
}

static int boot(struct mk_card *card)
{
	uint64_t offset = mk_read64(card, ONPU_REG_FW_REGION_OFFSET), end = mk_now() + BOOT_TIMEOUT_NS;
	const struct timespec nap = { .tv_nsec = 50000 };
	uint32_t stage;

	memcpy(card->memory + offset, onpu_fw_image, sizeof(onpu_fw_image));
	tell_of_firmware(card);
	onpu_card_mmio_write(card->model, ONPU_REG_BOOT_ADDR, offset, 8);
	mk_write32(card, ONPU_REG_BOOT_SIZE, sizeof(onpu_fw_image));
	mk_write32(card, ONPU_REG_BOOT_CMD, ONPU_BOOT_START);
	for (;;) {
		stage = ONPU_BOOT_STAGE(mk_read32(card, ONPU_REG_BOOT_STATUS));
		if (stage >= ONPU_BOOT_STAGE_READY)
			break;
		if (mk_now() > end)
			return -ETIMEDOUT;
		nanosleep(&nap, NULL);
	}
	if (stage != ONPU_BOOT_STAGE_READY)
		return -EIO;
	card->mbox = (void *)(card->memory + offset + mk_read32(card, ONPU_REG_FW_MBOX));
	return card->mbox->magic == ONPU_MBOX_MAGIC ? 0 : -EIO;
}

static int hello(struct mk_card *card)
{
	struct onpu_msg_hello msg = {
		.mbox_major = ONPU_MBOX_ABI_MAJOR, .mbox_minor = ONPU_MBOX_ABI_MINOR,
		.packet_major = ONPU_PACKET_ABI_MAJOR, .packet_minor = ONPU_PACKET_ABI_MINOR,
	};

	return mk_card_request(card, ONPU_MSG_HELLO, &msg);
}

static int create_model(struct mk_card *card)
{
	const struct onpu_card_config config = {
		.vram = card->memory,
		.vram_size = card->size,
		.serial = SERIAL + card->index,
		.contexts = ONPU_MAX_CONTEXTS,
		.vectors = VECTORS,
		.threads = mk_options.threads,
		.doorbell_inline = true,
		.heartbeat_on_demand = true,
	};

	card->model = onpu_card_create(&config, &ops, card);
	return card->model ? 0 : -errno;
}

int mk_card_create(unsigned int index)
{
	struct mk_card *card = calloc(1, sizeof(*card));
	int ret;

	if (!card)
		return -ENOMEM;
	card->index = index;
	ret = create_memory(card);
	if (ret) {
		free(card);
		return ret;
	}
	ret = create_model(card);
	if (!ret)
		ret = boot(card);
	if (!ret) {
		for (unsigned int vector = 1; vector < VECTORS; vector++)
			mk_write32(card, ONPU_REG_IRQ_HOLD(vector), IRQ_HOLD);
		write_irq(card, ONPU_REG_IRQ_ENABLE, ONPU_IRQ_MBOX | ONPU_IRQ_FATAL);
		/* From here on the thread looks after it. */
		mk_cards[index] = card;
		ret = hello(card);
	}
	if (ret) {
		mk_cards[index] = NULL;
		/* Its threads may be about to call in. */
		pthread_mutex_unlock(&mk_lock);
		onpu_card_destroy(card->model);
		pthread_mutex_lock(&mk_lock);
		va_fini(&card->space);
		munmap(card->memory, card->size);
		free(card->free_pages);
		free(card);
	}
	return ret;
}

/* ---- mailbox ---- */

static int error_of(uint32_t status)
{
	switch (status) {
	case ONPU_MSG_STATUS_OK:
		return 0;
	case ONPU_MSG_STATUS_NOENT:
		return -ENOENT;
	case ONPU_MSG_STATUS_EXIST:
		return -EEXIST;
	case ONPU_MSG_STATUS_BUSY:
		return -EBUSY;
	case ONPU_MSG_STATUS_TIMEOUT:
		return -ETIMEDOUT;
	default:
		return -EIO;
	}
}

static uint32_t load(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

/* Messages word by word: the firmware orders them by fences, which not every checker of races knows. */
static void write_message(struct onpu_msg *to, const struct onpu_msg *from)
{
	uint32_t *words = (uint32_t *)(void *)to, own[sizeof(*from) / sizeof(uint32_t)];

	memcpy(own, from, sizeof(own));
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		__atomic_store_n(&words[i], own[i], __ATOMIC_RELAXED);
}

static void read_message(struct onpu_msg *to, const struct onpu_msg *from)
{
	const uint32_t *words = (const uint32_t *)(const void *)from;
	uint32_t own[sizeof(*from) / sizeof(uint32_t)];

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		own[i] = __atomic_load_n(&words[i], __ATOMIC_RELAXED);
	memcpy(to, own, sizeof(own));
}

static int send(struct mk_card *card, const struct onpu_msg *msg, uint64_t end)
{
	struct onpu_mbox_shared *mbox = card->mbox;
	struct onpu_msg *ring = (void *)((uint8_t *)card->memory + mbox->h2f_offset);
	uint32_t tail;

	/* Nobody tells when there is room again. */
	while (tail = mbox->h2f_tail, tail - load(&mbox->h2f_head) >= ONPU_MBOX_ENTRIES) {
		if (card->lost || mk_now() > end)
			return card->lost ? -EIO : -ETIMEDOUT;
		mk_wait(mk_now() + 1000000);
	}
	write_message(&ring[tail % ONPU_MBOX_ENTRIES], msg);
	__atomic_store_n(&mbox->h2f_tail, tail + 1, __ATOMIC_RELEASE);
	mk_write32(card, ONPU_REG_MBOX_DB, 1);
	return 0;
}

int mk_card_request(struct mk_card *card, uint16_t type, const void *payload)
{
	uint64_t end = mk_now() + REQUEST_TIMEOUT_NS;
	struct mk_request request = { .seq = ++card->seq }, **link;
	int ret;

	request.msg = (struct onpu_msg){ .type = type, .kind = ONPU_MSG_REQUEST, .seq = request.seq };
	memcpy(request.msg.payload, payload, sizeof(request.msg.payload));
	request.next = card->requests;
	card->requests = &request;
	ret = send(card, &request.msg, end);
	while (!ret && !request.done) {
		if (card->lost)
			ret = -EIO;
		else if (!mk_wait(end))
			ret = request.done ? 0 : -ETIMEDOUT;
	}
	for (link = &card->requests; *link != &request; link = &(*link)->next)
		;
	*link = request.next;
	return ret ? ret : error_of(request.msg.status);
}

static void handle(struct mk_card *card, const struct onpu_msg *msg)
{
	if (msg->kind == ONPU_MSG_EVENT && msg->type == ONPU_MSG_EV_QUEUE_ERROR) {
		struct onpu_msg_queue_error error;

		memcpy(&error, msg->payload, sizeof(error));
		mk_queue_stopped(card, &error);
		return;
	}
	if (msg->kind != ONPU_MSG_RESPONSE)
		return;
	for (struct mk_request *request = card->requests; request; request = request->next) {
		if (request->seq != msg->seq)
			continue;
		request->msg = *msg;
		request->done = true;
	}
}

void mk_card_mail(struct mk_card *card)
{
	struct onpu_mbox_shared *mbox = card->mbox;
	const struct onpu_msg *ring;
	uint32_t cause = mk_read32(card, ONPU_REG_IRQ_CAUSE), head;

	write_irq(card, ONPU_REG_IRQ_CAUSE, cause);
	if (cause & ONPU_IRQ_FATAL) {
		card->lost = true;
		mk_queue_card_lost(card);
	}
	if (!mbox)
		return;
	ring = (const void *)(card->memory + mbox->f2h_offset);
	for (head = mbox->f2h_head; head != load(&mbox->f2h_tail); head++) {
		struct onpu_msg msg;

		read_message(&msg, &ring[head % ONPU_MBOX_ENTRIES]);
		__atomic_store_n(&mbox->f2h_head, head + 1, __ATOMIC_RELEASE);
		handle(card, &msg);
	}
	mk_changed();
}

/* ---- translations ---- */

void mk_card_renew(struct mk_card *card, uint32_t asid)
{
	mk_write32(card, ONPU_REG_TLB_INV, asid);
}

void mk_card_invalidate(struct mk_card *card, uint32_t asid)
{
	struct timespec nap = { .tv_nsec = 1000 };
	uint32_t seq;

	mk_card_renew(card, asid);
	seq = mk_read32(card, ONPU_REG_TLB_SEQ);
	if ((int32_t)(mk_read32(card, ONPU_REG_TLB_DONE) - seq) >= 0)
		return;
	pthread_mutex_unlock(&mk_lock);
	while ((int32_t)(mk_read32(card, ONPU_REG_TLB_DONE) - seq) < 0) {
		nanosleep(&nap, NULL);
		if (nap.tv_nsec < 200000)
			nap.tv_nsec *= 2;
	}
	pthread_mutex_lock(&mk_lock);
}

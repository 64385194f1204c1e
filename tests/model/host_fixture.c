// SPDX-License-Identifier: MIT
/* See host_fixture.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host_fixture.h"
#include "onpu/fwimage.h"

const char *host_image;

void host_work(struct host *h)
{
	struct timespec ts = { .tv_nsec = 100000 };

	assert_true(fx_now_ns() < h->end);
	if (h->fx->opts.threads) {
		nanosleep(&ts, NULL);
	} else {
		onpu_card_run(h->fx->card, 1000);
		/* Time passes while everybody sleeps. */
		atomic_fetch_add(&h->fx->now, 1000000);
	}
}

static uint32_t load32(const void *p)
{
	return __atomic_load_n((const uint32_t *)p, __ATOMIC_ACQUIRE);
}

size_t host_load_image(uint8_t *dst)
{
	FILE *f = fopen(host_image, "rb");
	size_t n;

	assert_non_null(f);
	n = fread(dst, 1, ONPU_FW_REGION_STAGE_SIZE, f);
	assert_true(n > ONPU_FW_HEADER_SIZE && feof(f));
	fclose(f);
	return n;
}

uint32_t host_boot(struct host *h, size_t size)
{
	uint32_t status;

	onpu_card_mmio_write(h->fx->card, ONPU_REG_BOOT_ADDR,
			     fx_rd64(h->fx, ONPU_REG_FW_REGION_OFFSET), 8);
	fx_wr(h->fx, ONPU_REG_BOOT_SIZE, (uint32_t)size);
	fx_wr(h->fx, ONPU_REG_IRQ_ENABLE, ONPU_IRQ_ALL);
	fx_wr(h->fx, ONPU_REG_BOOT_CMD, ONPU_BOOT_START);
	do {
		host_work(h);
		status = fx_rd(h->fx, ONPU_REG_BOOT_STATUS);
	} while (ONPU_BOOT_STAGE(status) < ONPU_BOOT_STAGE_READY);
	return status;
}

bool host_message(struct host *h, struct onpu_msg *msg)
{
	uint32_t head = h->mbox->f2h_head;

	if (load32(&h->mbox->f2h_tail) == head)
		return false;
	memcpy(msg, h->region + h->mbox->f2h_offset +
	       head % ONPU_MBOX_ENTRIES * sizeof(*msg), sizeof(*msg));
	__atomic_store_n(&h->mbox->f2h_head, head + 1, __ATOMIC_RELEASE);
	if (msg->kind == ONPU_MSG_EVENT && msg->type == ONPU_MSG_EV_QUEUE_HANG) {
		memcpy(&h->last_hang, msg->payload, sizeof(h->last_hang));
		h->hangs++;
	} else if (msg->kind == ONPU_MSG_EVENT) {
		assert_int_equal(msg->type, ONPU_MSG_EV_QUEUE_ERROR);
		memcpy(&h->last_error, msg->payload, sizeof(h->last_error));
		h->events++;
	}
	return true;
}

/* Sends a request and returns the status of its response, whose payload replaces the request's. */
uint32_t host_request(struct host *h, uint16_t type, void *payload)
{
	struct onpu_msg msg = { .type = type, .kind = ONPU_MSG_REQUEST, .seq = ++h->seq };
	uint32_t tail = h->mbox->h2f_tail;

	memcpy(msg.payload, payload, sizeof(msg.payload));
	memcpy(h->region + h->mbox->h2f_offset + tail % ONPU_MBOX_ENTRIES * sizeof(msg), &msg,
	       sizeof(msg));
	__atomic_store_n(&h->mbox->h2f_tail, tail + 1, __ATOMIC_RELEASE);
	fx_wr(h->fx, ONPU_REG_MBOX_DB, 1);
	for (;;) {
		while (host_message(h, &msg)) {
			if (msg.kind != ONPU_MSG_RESPONSE)
				continue;
			assert_int_equal(msg.type, type);
			assert_int_equal(msg.seq, h->seq);
			memcpy(payload, msg.payload, sizeof(msg.payload));
			return msg.status;
		}
		host_work(h);
	}
}

static void hello(struct host *h)
{
	struct onpu_msg_hello msg = {
		.mbox_major = ONPU_MBOX_ABI_MAJOR, .packet_major = ONPU_PACKET_ABI_MAJOR,
	};

	assert_int_equal(host_request(h, ONPU_MSG_HELLO, &msg), ONPU_MSG_STATUS_OK);
	assert_int_equal(msg.queues, fx_rd(h->fx, ONPU_REG_QUEUES));
	assert_int_equal(msg.slots, fx_rd(h->fx, ONPU_REG_SLOTS));
	assert_int_equal(msg.contexts, 8);
}

void host_start(struct host *h, const struct fx_opts *opts)
{
	struct fx_opts own = *opts;

	own.real_rom = true;
	memset(h, 0, sizeof(*h));
	h->fx = fx_create(&own);
	h->end = fx_now_ns() + 60000000000ull;
	h->region = fx_vptr(h->fx, fx_rd64(h->fx, ONPU_REG_FW_REGION_OFFSET));
}

void host_bring_up(struct host *h)
{
	assert_int_equal(host_boot(h, host_load_image(h->region)), ONPU_BOOT_STAGE_READY);
	assert_true(fx_rd(h->fx, ONPU_REG_STATUS) & ONPU_STATUS_FW_READY);
	h->mbox = (struct onpu_mbox_shared *)(void *)(h->region +
						      fx_rd(h->fx, ONPU_REG_FW_MBOX));
	assert_int_equal(h->mbox->magic, ONPU_MBOX_MAGIC);
	h->seq = 0;
	hello(h);
}

void host_finish(struct host *h)
{
	assert_int_equal(h->fx->guest_errors, 0);
	fx_destroy(h->fx);
}

uint32_t host_context(struct host *h, uint32_t asid)
{
	struct onpu_msg_ctx msg = { .asid = asid };

	if (!h->fx->roots[asid])
		h->fx->roots[asid] = fx_vram(h->fx, 4096, 4096);
	msg.root = h->fx->roots[asid];
	return host_request(h, ONPU_MSG_CTX_CREATE, &msg);
}

/* SPDX-License-Identifier: MIT */
/*
 * The driver's side of a card with its real boot ROM and firmware, for tests:
 * boot, mailbox, requests. With threads it waits, else it lets the card work.
 */
#ifndef HOST_FIXTURE_H
#define HOST_FIXTURE_H

#include "card_fixture.h"

struct host {
	struct fx *fx;
	uint8_t *region;
	struct onpu_mbox_shared *mbox;
	uint32_t seq;
	uint64_t end;			/* nothing takes longer */
	unsigned int events, hangs;
	struct onpu_msg_queue_error last_error;
	struct onpu_msg_queue_hang last_hang;
};

/* Path of the firmware image. */
extern const char *host_image;

void host_start(struct host *h, const struct fx_opts *opts);
size_t host_load_image(uint8_t *dst);
/* BOOT_STATUS when it is decided. */
uint32_t host_boot(struct host *h, size_t size);
/* Boots the image and says HELLO. */
void host_bring_up(struct host *h);
/* No guest errors. */
void host_finish(struct host *h);

/* Time passes, and so does device time. */
void host_work(struct host *h);
bool host_message(struct host *h, struct onpu_msg *msg);
/* Sends a request and returns the status of its response, whose payload replaces the request's. */
uint32_t host_request(struct host *h, uint16_t type, void *payload);
uint32_t host_context(struct host *h, uint32_t asid);

#endif

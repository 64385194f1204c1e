/* SPDX-License-Identifier: MIT */
/* What the firmware tests share: files, and re-signing of changed images. */
#ifndef FWTEST_H
#define FWTEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "fakecard.h"

/* The image and keys that the build made; see fwtest_init(). */
extern uint8_t fw_image[];
extern size_t fw_image_size;
extern uint8_t dev_seed[32];

/* argv: image, development key. */
void fwtest_init(int argc, char **argv);

/* A copy of the image to change. */
uint8_t *image_copy(void);
struct onpu_fw_header *image_hdr(uint8_t *image);
/* Signs a changed image as the owner of @seed would. */
void image_resign(uint8_t *image, const uint8_t seed[32]);

/* A card whose firmware is ready and has said HELLO. */
struct fake *ready_card(void);
/* Nothing undefined was done, and no message is left. */
void finish(struct fake *f);

/* Requests; their status. */
#define OK	ONPU_MSG_STATUS_OK
#define ROOT(n)	(0x100000ull + 0x1000 * (n))

uint32_t ctx_create(struct fake *f, uint32_t asid);
uint32_t ctx_destroy(struct fake *f, uint32_t asid);
struct onpu_msg_queue_create queue_args(uint32_t queue, uint32_t asid);
uint32_t queue_create(struct fake *f, uint32_t queue, uint32_t asid);
uint32_t queue_op(struct fake *f, uint16_t type, uint32_t queue);
struct onpu_msg_queue_status queue_status(struct fake *f, uint32_t queue);

#endif

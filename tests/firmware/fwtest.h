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

#endif

// SPDX-License-Identifier: MIT
/* See fwtest.h. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fwtest.h"

uint8_t fw_image[ONPU_FW_MAX_SIZE];
size_t fw_image_size;
uint8_t dev_seed[32];

static void die(const char *what)
{
	perror(what);
	exit(99);
}

void fwtest_init(int argc, char **argv)
{
	char line[256];
	size_t n = 0;
	FILE *f;

	if (argc != 3 || sodium_init() < 0)
		die("usage: TEST IMAGE DEVKEY");
	f = fopen(argv[1], "rb");
	if (!f)
		die(argv[1]);
	fw_image_size = fread(fw_image, 1, sizeof(fw_image), f);
	fclose(f);
	f = fopen(argv[2], "r");
	if (!f)
		die(argv[2]);
	while (fgets(line, sizeof(line), f)) {
		if (*line != '#')
			sodium_hex2bin(dev_seed, 32, line, strlen(line), "\n",
				       &n, NULL);
	}
	fclose(f);
	if (n != 32)
		die("development key");
}

uint8_t *image_copy(void)
{
	uint8_t *image = malloc(fw_image_size);

	assert_non_null(image);
	memcpy(image, fw_image, fw_image_size);
	return image;
}

struct onpu_fw_header *image_hdr(uint8_t *image)
{
	return (struct onpu_fw_header *)image;
}

void image_resign(uint8_t *image, const uint8_t seed[32])
{
	struct onpu_fw_header *h = image_hdr(image);
	uint8_t sec[crypto_sign_SECRETKEYBYTES];

	crypto_sign_seed_keypair(h->public_key, sec, seed);
	crypto_sign_detached(h->signature, NULL, image, ONPU_FW_SIGNED_SIZE,
			     sec);
}

struct fake *ready_card(void)
{
	struct onpu_msg_hello hello = {
		.mbox_major = ONPU_MBOX_ABI_MAJOR,
		.packet_major = ONPU_PACKET_ABI_MAJOR,
	};
	struct fake *f = fake_create();

	assert_int_equal(fake_boot(f, fw_image, fw_image_size),
			 ONPU_BOOT_STAGE_READY);
	assert_int_equal(fake_request(f, ONPU_MSG_HELLO, &hello, sizeof(hello),
				      NULL), ONPU_MSG_STATUS_OK);
	return f;
}

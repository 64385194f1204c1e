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

/* --- requests ---------------------------------------------------------------- */

uint32_t ctx_create(struct fake *f, uint32_t asid)
{
	struct onpu_msg_ctx m = { .asid = asid, .root = ROOT(asid) };

	return fake_request(f, ONPU_MSG_CTX_CREATE, &m, sizeof(m), NULL);
}

uint32_t ctx_destroy(struct fake *f, uint32_t asid)
{
	struct onpu_msg_ctx m = { .asid = asid };

	return fake_request(f, ONPU_MSG_CTX_DESTROY, &m, sizeof(m), NULL);
}

struct onpu_msg_queue_create queue_args(uint32_t queue, uint32_t asid)
{
	struct onpu_msg_queue_create m = {
		.queue = queue, .asid = asid, .ring_va = 0x10000 * (queue + 1),
		.ctl_va = 0x7000000 + 64 * queue, .ring_order = 6,
		.flags = ONPU_QUEUE_PRIVILEGED, .vector = 3, .priority = 2,
	};

	return m;
}

uint32_t queue_create(struct fake *f, uint32_t queue, uint32_t asid)
{
	struct onpu_msg_queue_create m = queue_args(queue, asid);

	return fake_request(f, ONPU_MSG_QUEUE_CREATE, &m, sizeof(m), NULL);
}

uint32_t queue_op(struct fake *f, uint16_t type, uint32_t queue)
{
	struct onpu_msg_queue m = { .queue = queue };

	return fake_request(f, type, &m, sizeof(m), NULL);
}

struct onpu_msg_queue_status queue_status(struct fake *f, uint32_t queue)
{
	struct onpu_msg_queue m = { .queue = queue };
	struct onpu_msg_queue_status s;
	struct onpu_msg reply;

	assert_int_equal(fake_request(f, ONPU_MSG_QUEUE_STATUS, &m, sizeof(m),
				      &reply), OK);
	memcpy(&s, reply.payload, sizeof(s));
	assert_int_equal(s.queue, queue);
	return s;
}

void finish(struct fake *f)
{
	struct onpu_msg m;

	assert_false(f->fatal);
	assert_int_equal(f->violations, 0);
	assert_false(fake_receive(f, &m));
	fake_destroy(f);
}

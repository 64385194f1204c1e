// SPDX-License-Identifier: MIT
/*
 * The card's cryptographic block against published vectors (FIPS 180-4,
 * RFC 8032), and the signatures that a strict verifier must refuse.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "crypto.h"

static void unhex(const char *text, uint8_t *out, size_t n)
{
	assert_int_equal(strlen(text), 2 * n);
	for (size_t i = 0; i < n; i++) {
		char pair[3] = { text[2 * i], text[2 * i + 1], 0 };
		char *end;

		out[i] = (uint8_t)strtoul(pair, &end, 16);
		assert_ptr_equal(end, pair + 2);
	}
}

static void check_hash(const void *data, size_t len, const char *expected)
{
	uint8_t want[32], got[32];
	struct onpu_sha256 s;

	unhex(expected, want, 32);
	onpu_sha256(data, len, got);
	assert_memory_equal(got, want, 32);
	/* The same in pieces of odd sizes. */
	onpu_sha256_init(&s);
	for (size_t off = 0, n = 1; off < len; off += n, n = n * 3 % 131 + 1) {
		if (n > len - off)
			n = len - off;
		onpu_sha256_update(&s, (const uint8_t *)data + off, n);
	}
	onpu_sha256_final(&s, got);
	assert_memory_equal(got, want, 32);
}

static void test_sha256(void **state)
{
	static uint8_t million[1000000];

	(void)state;
	check_hash("", 0,
		   "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	check_hash("abc", 3,
		   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	check_hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
		   "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
	memset(million, 'a', sizeof(million));
	check_hash(million, sizeof(million),
		   "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static const struct {
	const char *key, *msg, *sig;
} vectors[] = {
	{ "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
	  "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b" },
	{ "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
	  "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00" },
	{ "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
	  "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a" },
};

static void test_ed25519(void **state)
{
	uint8_t key[32], sig[64], msg[8];

	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		size_t n = strlen(vectors[i].msg) / 2;

		unhex(vectors[i].key, key, 32);
		unhex(vectors[i].sig, sig, 64);
		unhex(vectors[i].msg, msg, n);
		assert_true(onpu_ed25519_verify(sig, msg, n, key));
		/* Every bit of signature and key counts. */
		for (int bit = 0; bit < 512; bit++) {
			sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_false(onpu_ed25519_verify(sig, msg, n, key));
			sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		for (int bit = 0; bit < 256; bit++) {
			key[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_false(onpu_ed25519_verify(sig, msg, n, key));
			key[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		msg[n] = 0;
		assert_false(onpu_ed25519_verify(sig, msg, n + 1, key));
	}
}

/* S and S + L are the same number; only the smaller one is a signature. */
static void test_malleability(void **state)
{
	static const uint8_t order[32] = {
		0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58,
		0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
	};
	uint8_t key[32], sig[64];
	unsigned int carry = 0;

	(void)state;
	unhex(vectors[0].key, key, 32);
	unhex(vectors[0].sig, sig, 64);
	for (int i = 0; i < 32; i++) {
		carry += sig[32 + i] + order[i];
		sig[32 + i] = (uint8_t)carry;
		carry >>= 8;
	}
	assert_int_equal(carry, 0);
	assert_false(onpu_ed25519_verify(sig, "", 0, key));
}

/* Keys of small order would accept forged signatures. */
static void test_small_order(void **state)
{
	uint8_t key[32] = { 0 }, sig[64] = { 0 };

	(void)state;
	assert_false(onpu_ed25519_verify(sig, "", 0, key));
	key[0] = sig[0] = 1; /* the neutral element as key and as R, S = 0 */
	assert_false(onpu_ed25519_verify(sig, "", 0, key));
	memset(key, 0xff, sizeof(key));
	assert_false(onpu_ed25519_verify(sig, "", 0, key));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sha256),
		cmocka_unit_test(test_ed25519),
		cmocka_unit_test(test_malleability),
		cmocka_unit_test(test_small_order),
	};

	if (onpu_crypto_init())
		return 99;
	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/*
 * Key files.  A private key is the 32-byte Ed25519 seed, a public key the
 * 32-byte point, both as 64 hexadecimal digits in a text file in which lines
 * that start with # are comments.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fwtool.h"

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* The digits of @text into @key; false unless there are exactly 64. */
static bool parse_key(const char *text, size_t size, uint8_t key[KEY_BYTES])
{
	bool comment = false, line_start = true;
	size_t n = 0;

	memset(key, 0, KEY_BYTES);
	for (size_t i = 0; i < size; i++) {
		char c = text[i];
		int v = nibble(c);

		if (line_start)
			comment = c == '#';
		line_start = c == '\n';
		if (comment || c == '\n' || c == '\r' || c == ' ')
			continue;
		if (v < 0 || n == 2 * KEY_BYTES)
			return false;
		key[n / 2] = (uint8_t)(key[n / 2] << 4 | v);
		n++;
	}
	return n == 2 * KEY_BYTES;
}

bool key_read(const char *path, uint8_t key[KEY_BYTES])
{
	size_t size;
	uint8_t *text = read_file(path, 1 << 16, &size);
	bool ok;

	if (!text)
		return false;
	ok = parse_key((const char *)text, size, key);
	sodium_memzero(text, size);
	free(text);
	return ok || refuse("%s: not a key file (64 hexadecimal digits)", path);
}

static bool write_key(const char *name, const char *suffix, const char *what,
		      const uint8_t key[KEY_BYTES], unsigned int mode)
{
	char path[4096], text[256], digits[2 * KEY_BYTES + 1];
	int n;

	n = snprintf(path, sizeof(path), "%s.%s", name, suffix);
	if (n < 0 || (size_t)n >= sizeof(path))
		return refuse("name too long");
	hex(digits, key, KEY_BYTES);
	n = snprintf(text, sizeof(text), "# ONPU firmware signing, %s key\n%s\n",
		     what, digits);
	return write_file(path, text, (size_t)n, mode);
}

bool key_generate(const char *name)
{
	uint8_t pub[crypto_sign_PUBLICKEYBYTES], sec[crypto_sign_SECRETKEYBYTES];
	uint8_t seed[KEY_BYTES], hash[HASH_BYTES];
	char text[2 * HASH_BYTES + 1];
	bool ok;

	randombytes_buf(seed, sizeof(seed));
	crypto_sign_seed_keypair(pub, sec, seed);
	ok = write_key(name, "key", "private", seed, 0600) &&
	     write_key(name, "pub", "public", pub, 0644);
	sodium_memzero(seed, sizeof(seed));
	sodium_memzero(sec, sizeof(sec));
	if (!ok)
		return false;
	crypto_hash_sha256(hash, pub, sizeof(pub));
	hex(text, hash, sizeof(hash));
	printf("%s.key: private, keep it safe\n%s.pub: public\n"
	       "key hash for the fuse: %s\n", name, name, text);
	return true;
}

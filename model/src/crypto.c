// SPDX-License-Identifier: MIT
/*
 * The card's cryptographic block over libsodium.  Pure functions of their
 * arguments, no state but the caller's, no locking.
 */
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include "crypto.h"

_Static_assert(sizeof(crypto_hash_sha256_state) <= sizeof(struct onpu_sha256),
	       "struct onpu_sha256 is too small for libsodium's state");
_Static_assert(_Alignof(crypto_hash_sha256_state) <=
	       _Alignof(struct onpu_sha256), "alignment of struct onpu_sha256");
_Static_assert(crypto_hash_sha256_BYTES == ONPU_SHA256_BYTES, "digest size");
_Static_assert(crypto_sign_PUBLICKEYBYTES == ONPU_ED25519_KEY_BYTES,
	       "key size");
_Static_assert(crypto_sign_BYTES == ONPU_ED25519_SIG_BYTES, "signature size");

int onpu_crypto_init(void)
{
	return sodium_init() < 0 ? -EIO : 0;
}

/* Copied in and out, so that no object is accessed as another type. */
void onpu_sha256_init(struct onpu_sha256 *state)
{
	crypto_hash_sha256_state s;

	crypto_hash_sha256_init(&s);
	memset(state, 0, sizeof(*state));
	memcpy(state, &s, sizeof(s));
}

void onpu_sha256_update(struct onpu_sha256 *state, const void *data, size_t len)
{
	crypto_hash_sha256_state s;

	memcpy(&s, state, sizeof(s));
	crypto_hash_sha256_update(&s, data, len);
	memcpy(state, &s, sizeof(s));
}

void onpu_sha256_final(struct onpu_sha256 *state,
		       uint8_t digest[ONPU_SHA256_BYTES])
{
	crypto_hash_sha256_state s;

	memcpy(&s, state, sizeof(s));
	crypto_hash_sha256_final(&s, digest);
}

void onpu_sha256(const void *data, size_t len,
		 uint8_t digest[ONPU_SHA256_BYTES])
{
	crypto_hash_sha256(digest, data, len);
}

bool onpu_ed25519_verify(const uint8_t sig[ONPU_ED25519_SIG_BYTES],
			 const void *data, size_t len,
			 const uint8_t key[ONPU_ED25519_KEY_BYTES])
{
	return !crypto_sign_verify_detached(sig, data, len, key);
}

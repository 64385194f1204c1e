/* SPDX-License-Identifier: MIT */
/*
 * The card's cryptographic block: SHA-256 (FIPS 180-4) and Ed25519 signature
 * checks (RFC 8032).  The management controller reaches it through the
 * ONPU_CRYPTO_* registers; the bus in front of it resolves the addresses.
 */
#ifndef ONPU_MODEL_CRYPTO_H
#define ONPU_MODEL_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ONPU_SHA256_BYTES	32
#define ONPU_ED25519_KEY_BYTES	32
#define ONPU_ED25519_SIG_BYTES	64

/*
 * A hash in progress.  Plain bytes, so that a caller can keep it in any
 * structure; only the functions below know what is inside.
 */
struct onpu_sha256 {
	uint64_t opaque[14];
};

/* Once before anything else; safe to repeat, from any thread.  0 or -EIO. */
int onpu_crypto_init(void);

void onpu_sha256_init(struct onpu_sha256 *state);
void onpu_sha256_update(struct onpu_sha256 *state, const void *data,
			size_t len);
void onpu_sha256_final(struct onpu_sha256 *state,
		       uint8_t digest[ONPU_SHA256_BYTES]);

/* The hash of one piece of memory. */
void onpu_sha256(const void *data, size_t len,
		 uint8_t digest[ONPU_SHA256_BYTES]);

/*
 * Whether @sig signs @data under @key.  Strict: non-canonical encodings and
 * keys or signature points of small order are refused.
 */
bool onpu_ed25519_verify(const uint8_t sig[ONPU_ED25519_SIG_BYTES],
			 const void *data, size_t len,
			 const uint8_t key[ONPU_ED25519_KEY_BYTES]);

#ifdef __cplusplus
}
#endif

#endif

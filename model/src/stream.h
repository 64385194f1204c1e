/* SPDX-License-Identifier: MIT */
#ifndef ONPU_STREAM_H
#define ONPU_STREAM_H

#include <stdint.h>

/** Copies and fills of at least this many bytes gain by stores that pass the caches by. */
#define ONPU_STREAM_MIN	(4ull << 20)

/** Copies @p len bytes of any alignment. */
void onpu_stream_copy(uint8_t *dst, const uint8_t *src, uint64_t len);

/** Repeats @p pattern; @p dst and @p len are multiples of 4. */
void onpu_stream_fill(uint8_t *dst, uint64_t len, uint32_t pattern);

/** Orders the stores of this thread before its later ones. */
void onpu_stream_end(void);

#endif /* ONPU_STREAM_H */

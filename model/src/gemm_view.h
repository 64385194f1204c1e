/* SPDX-License-Identifier: MIT */
/* Access to segmented operand views (gemm.h). */
#ifndef ONPU_MODEL_GEMM_VIEW_H
#define ONPU_MODEL_GEMM_VIEW_H

#include "gemm.h"

/* The segments follow each other without gaps and cover need bytes. */
bool gemm_view_valid(const struct onpu_view *view, uint64_t need);

/* Host address of [off, off + len) if one segment holds all of it, else NULL. In range only. */
uint8_t *gemm_view_at(const struct onpu_view *view, uint64_t off, uint64_t len);

/* Copy across segments. In range only. */
void gemm_view_read(const struct onpu_view *view, uint64_t off, void *dst, size_t len);
void gemm_view_write(const struct onpu_view *view, uint64_t off, const void *src, size_t len);

#endif

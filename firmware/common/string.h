/* SPDX-License-Identifier: MIT */
/* The few functions that freestanding C and its compiler need. */
#ifndef MCU_STRING_H
#define MCU_STRING_H

#include <stddef.h>

void *memcpy(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);

#endif

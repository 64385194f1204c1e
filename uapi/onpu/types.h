/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Fixed-width types and compile-time checks shared by every ONPU contract.
 *
 * The headers in uapi/ compile as C11 and C++11 in user space, in the kernel,
 * in the card model and in the bare-metal RV32 firmware. Everything that two
 * sides share in memory is little-endian, naturally aligned, without implicit
 * holes; reserved fields and bits are zero when written and are checked.
 */
#ifndef ONPU_TYPES_H
#define ONPU_TYPES_H

#if defined(__KERNEL__) || defined(__linux__)
#include <linux/types.h>
#else
/* The base types that <linux/types.h> has, so that formats fit everywhere. */
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef int __s32;
typedef long long __s64;
#endif

#ifdef __KERNEL__
#include <linux/stddef.h>
#else
#include <stddef.h>
#endif

#ifdef __cplusplus
#define ONPU_STATIC_ASSERT(cond, msg) static_assert(cond, msg)
#else
#define ONPU_STATIC_ASSERT(cond, msg) _Static_assert(cond, msg)
#endif

/** Checks that @a type has the size that the contract states. */
#define ONPU_ASSERT_SIZE(type, size) \
	ONPU_STATIC_ASSERT(sizeof(type) == (size), #type " has the wrong size")

/** Checks that @a field of @a type stands where the contract states. */
#define ONPU_ASSERT_OFFSET(type, field, offset) \
	ONPU_STATIC_ASSERT(offsetof(type, field) == (offset), \
			   #type "." #field " has the wrong offset")

#endif /* ONPU_TYPES_H */

/* SPDX-License-Identifier: MIT */
/*
 * Names and sizes of the element types. Constant tables, nothing to lock.
 */
#include "internal.h"

#define CHECK_TYPE(name) \
	_Static_assert((int)ACCEL_TYPE_##name == (int)ONPU_DTYPE_##name, \
		       "the card's numbers are the library's")
CHECK_TYPE(F32);
CHECK_TYPE(BF16);
CHECK_TYPE(F16);
CHECK_TYPE(I8);
CHECK_TYPE(I32);

static const struct {
	const char *name;
	size_t size;
} types[] = {
	[ACCEL_TYPE_F32] = { "f32", 4 },
	[ACCEL_TYPE_BF16] = { "bf16", 2 },
	[ACCEL_TYPE_F16] = { "f16", 2 },
	[ACCEL_TYPE_I8] = { "i8", 1 },
	[ACCEL_TYPE_I32] = { "i32", 4 },
};

size_t accel_type_size(uint32_t type)
{
	return type < ARRAY_SIZE(types) ? types[type].size : 0;
}

const char *accel_type_name(uint32_t type)
{
	return type < ARRAY_SIZE(types) ? types[type].name : NULL;
}

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
CHECK_TYPE(E4M3);
CHECK_TYPE(E5M2);
CHECK_TYPE(I4);
_Static_assert((int)ACCEL_TYPE_MXFP8_E4M3 == (int)ONPU_DTYPE_MX_E4M3 &&
	       (int)ACCEL_TYPE_MXFP8_E5M2 == (int)ONPU_DTYPE_MX_E5M2 &&
	       (int)ACCEL_TYPE_MXFP6_E2M3 == (int)ONPU_DTYPE_MX_E2M3 &&
	       (int)ACCEL_TYPE_MXFP6_E3M2 == (int)ONPU_DTYPE_MX_E3M2 &&
	       (int)ACCEL_TYPE_MXFP4_E2M1 == (int)ONPU_DTYPE_MX_E2M1,
	       "the card's numbers are the library's");

static const struct {
	const char *name;
	unsigned int bits;
} types[] = {
	[ACCEL_TYPE_F32] = { "f32", 32 },
	[ACCEL_TYPE_BF16] = { "bf16", 16 },
	[ACCEL_TYPE_F16] = { "f16", 16 },
	[ACCEL_TYPE_I8] = { "i8", 8 },
	[ACCEL_TYPE_I32] = { "i32", 32 },
	[ACCEL_TYPE_E4M3] = { "e4m3", 8 },
	[ACCEL_TYPE_E5M2] = { "e5m2", 8 },
	[ACCEL_TYPE_I4] = { "i4", 4 },
	[ACCEL_TYPE_MXFP8_E4M3] = { "mxfp8_e4m3", 8 },
	[ACCEL_TYPE_MXFP8_E5M2] = { "mxfp8_e5m2", 8 },
	[ACCEL_TYPE_MXFP6_E2M3] = { "mxfp6_e2m3", 6 },
	[ACCEL_TYPE_MXFP6_E3M2] = { "mxfp6_e3m2", 6 },
	[ACCEL_TYPE_MXFP4_E2M1] = { "mxfp4_e2m1", 4 },
};

unsigned int accel_type_bits(uint32_t type)
{
	return type < ARRAY_SIZE(types) ? types[type].bits : 0;
}

size_t accel_type_size(uint32_t type)
{
	return accel_type_bits(type) / 8;
}

const char *accel_type_name(uint32_t type)
{
	return type < ARRAY_SIZE(types) ? types[type].name : NULL;
}

// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Arguments from user space
 *
 * Arrays travel as &struct drm_onpu_array. They are copied once, in whole, and
 * checked on the copy. The stride lets both sides grow their element: what the
 * caller's is shorter is zero, what it is longer must be zero.
 *
 * Locking: none.
 */

#include <linux/slab.h>
#include <linux/uaccess.h>

#include "onpu_user.h"

/**
 * onpu_array_get() - copy an array of structures from user space
 * @arr: the array, from a copied argument
 * @max_count: cap of the elements
 * @min_stride: size of the first version of the element
 * @elem_size: size of the element as this driver knows it
 *
 * Return: array of @arr->count elements of @elem_size bytes, to be freed by
 * kvfree(), NULL when the count is 0; or an error: -EINVAL for a count or stride
 * out of range, -E2BIG for elements with bytes that are not known, -EFAULT,
 * -ENOMEM.
 */
void *onpu_array_get(const struct drm_onpu_array *arr, u32 max_count,
		     size_t min_stride, size_t elem_size)
{
	void __user *in = u64_to_user_ptr(arr->ptr);
	void *out;
	u32 i;
	int ret;

	if (!arr->count)
		return NULL;
	if (arr->count > max_count || arr->stride < min_stride || arr->stride % 8)
		return ERR_PTR(-EINVAL);

	if (arr->stride == elem_size)
		return vmemdup_array_user(in, arr->count, elem_size);

	out = kvcalloc(arr->count, elem_size, GFP_KERNEL);
	if (!out)
		return ERR_PTR(-ENOMEM);

	for (i = 0; i < arr->count; i++) {
		ret = copy_struct_from_user(out + i * elem_size, elem_size,
					    in + (u64)i * arr->stride, arr->stride);
		if (ret) {
			kvfree(out);
			return ERR_PTR(ret);
		}
	}

	return out;
}

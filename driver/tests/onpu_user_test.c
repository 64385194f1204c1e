// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: Tests of arrays from user space
 *
 * With user memory of their own, so that the real copies are tested.
 */

#include <kunit/test.h>

#include <linux/err.h>
#include <linux/mman.h>

#include "../onpu_user.c"

#include "onpu_kunit.h"

/* An element of two versions: the first had no @late. */
struct elem {
	u64 value;
	u64 late;
};

#define FIRST_SIZE	offsetof(struct elem, late)
#define MAX_COUNT	16

struct user_page {
	unsigned long addr;
};

static int user_init(struct kunit *test)
{
	struct user_page *page = kunit_kzalloc(test, sizeof(*page), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, page);
	page->addr = kunit_vm_mmap(test, NULL, 0, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
				   MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NE(test, page->addr, 0);
	test->priv = page;
	return 0;
}

static u64 user_addr(struct kunit *test)
{
	return ((struct user_page *)test->priv)->addr;
}

/* The u64 with index @i of user memory. */
static void user_put(struct kunit *test, unsigned int i, u64 value)
{
	void __user *to = u64_to_user_ptr(user_addr(test) + i * sizeof(u64));

	KUNIT_ASSERT_EQ(test, copy_to_user(to, &value, sizeof(value)), 0);
}

static struct elem *get(struct kunit *test, u32 count, u32 stride, u64 ptr)
{
	const struct drm_onpu_array arr = { .count = count, .stride = stride, .ptr = ptr };

	return onpu_array_get(&arr, MAX_COUNT, FIRST_SIZE, sizeof(struct elem));
}

static void no_elements(struct kunit *test)
{
	KUNIT_EXPECT_NULL(test, get(test, 0, 0, 0));
	/* The pointer and the stride are ignored then. */
	KUNIT_EXPECT_NULL(test, get(test, 0, 7, ~0ull));
}

static void count_and_stride_are_checked(struct kunit *test)
{
	u64 ptr = user_addr(test);

	KUNIT_EXPECT_EQ(test, PTR_ERR(get(test, MAX_COUNT + 1, 16, ptr)), -EINVAL);
	KUNIT_EXPECT_EQ(test, PTR_ERR(get(test, ~0u, 16, ptr)), -EINVAL);
	KUNIT_EXPECT_EQ(test, PTR_ERR(get(test, 1, 0, ptr)), -EINVAL);
	KUNIT_EXPECT_EQ(test, PTR_ERR(get(test, 1, FIRST_SIZE - 8, ptr)), -EINVAL);
	KUNIT_EXPECT_EQ(test, PTR_ERR(get(test, 1, FIRST_SIZE + 4, ptr)), -EINVAL);
	KUNIT_EXPECT_EQ(test, PTR_ERR(get(test, 1, ~0u, ptr)), -EINVAL);
}

static void same_size(struct kunit *test)
{
	struct elem *out;
	unsigned int i;

	for (i = 0; i < 2 * MAX_COUNT; i++)
		user_put(test, i, i + 1);
	out = get(test, MAX_COUNT, sizeof(struct elem), user_addr(test));
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, out);
	for (i = 0; i < MAX_COUNT; i++) {
		KUNIT_EXPECT_EQ(test, out[i].value, 2 * i + 1);
		KUNIT_EXPECT_EQ(test, out[i].late, 2 * i + 2);
	}
	kvfree(out);
}

static void shorter_elements_end_in_zeros(struct kunit *test)
{
	struct elem *out;
	unsigned int i;

	for (i = 0; i < MAX_COUNT; i++)
		user_put(test, i, i + 1);
	out = get(test, MAX_COUNT, FIRST_SIZE, user_addr(test));
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, out);
	for (i = 0; i < MAX_COUNT; i++) {
		KUNIT_EXPECT_EQ(test, out[i].value, i + 1);
		KUNIT_EXPECT_EQ(test, out[i].late, 0);
	}
	kvfree(out);
}

static void longer_elements_must_end_in_zeros(struct kunit *test)
{
	struct elem *out;
	unsigned int i;

	for (i = 0; i < 3; i++) {
		user_put(test, 3 * i, i + 1);
		user_put(test, 3 * i + 1, i + 11);
		user_put(test, 3 * i + 2, 0);
	}
	out = get(test, 3, 24, user_addr(test));
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, out);
	for (i = 0; i < 3; i++) {
		KUNIT_EXPECT_EQ(test, out[i].value, i + 1);
		KUNIT_EXPECT_EQ(test, out[i].late, i + 11);
	}
	kvfree(out);

	/* In whichever element it is. */
	for (i = 0; i < 3; i++) {
		user_put(test, 3 * i + 2, 1ull << 63);
		KUNIT_EXPECT_EQ(test, PTR_ERR(get(test, 3, 24, user_addr(test))), -E2BIG);
		user_put(test, 3 * i + 2, 0);
	}
}

static void bad_pointers(struct kunit *test)
{
	u64 end = user_addr(test) + 2 * PAGE_SIZE;

	KUNIT_ASSERT_EQ(test, vm_munmap(user_addr(test) + PAGE_SIZE, PAGE_SIZE), 0);
	end -= PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, PTR_ERR(get(test, 1, 16, 0)), -EFAULT);
	KUNIT_EXPECT_EQ(test, PTR_ERR(get(test, 1, 8, ~0ull << 12)), -EFAULT);
	/* The last element is beyond what is mapped. */
	KUNIT_EXPECT_EQ(test, PTR_ERR(get(test, 2, 16, end - 16)), -EFAULT);
	KUNIT_EXPECT_EQ(test, PTR_ERR(get(test, 2, 8, end - 8)), -EFAULT);
	KUNIT_EXPECT_EQ(test, PTR_ERR(get(test, 2, 24, end - 24)), -EFAULT);
}

static struct kunit_case user_cases[] = {
	KUNIT_CASE(no_elements),
	KUNIT_CASE(count_and_stride_are_checked),
	KUNIT_CASE(same_size),
	KUNIT_CASE(shorter_elements_end_in_zeros),
	KUNIT_CASE(longer_elements_must_end_in_zeros),
	KUNIT_CASE(bad_pointers),
	{}
};

struct kunit_suite onpu_user_suite = {
	.name = "onpu_user",
	.init = user_init,
	.test_cases = user_cases,
};

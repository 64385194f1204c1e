// SPDX-License-Identifier: MIT
/*
 * One card of the tests' own kernel, there before anybody looks.
 */
#include "../userspace/fake_kernel.h"

__attribute__((constructor)) static void init(void)
{
	fake_set_cards(1);
}

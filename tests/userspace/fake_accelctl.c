/* SPDX-License-Identifier: MIT */
/*
 * Sets up the cards of fake_kernel.c before accelctl starts, as the environment says: how
 * many, and what is wrong with them.
 */
#include "fake_kernel.h"

#include <drm/onpu_accel.h>
#include <errno.h>
#include <stdlib.h>

__attribute__((constructor)) static void set_up(void)
{
	const char *cards = getenv("FAKE_CARDS");

	fake_set_cards(cards ? (unsigned int)atoi(cards) : 2);
	if (getenv("FAKE_EACCES"))
		fake_fail_open(-EACCES);
	fake_misbehave(getenv("FAKE_WRONG") != NULL, getenv("FAKE_HANG") != NULL,
		       getenv("FAKE_CRASH") != NULL, getenv("FAKE_STILL") != NULL);
}

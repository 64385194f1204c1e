// SPDX-License-Identifier: GPL-2.0-only
/* A workqueue says whether it is of each CPU. */
#include <linux/workqueue.h>

unsigned int probe(void);
unsigned int probe(void)
{
	return WQ_PERCPU;
}

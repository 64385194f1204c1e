// SPDX-License-Identifier: GPL-2.0-only
/* dma_buf_invalidate_mappings(), before that dma_buf_move_notify(). */
#include <linux/dma-buf.h>

_Static_assert(__builtin_types_compatible_p(typeof(&dma_buf_invalidate_mappings),
	void (*)(struct dma_buf *)), "");

// SPDX-License-Identifier: MIT
/*
 * Contexts: which address spaces exist, and how many queues use each.  Main
 * loop only.
 */
#include "rt.h"

struct context {
	bool exists;
	__u32 queues;
};

static struct context contexts[ONPU_MAX_CONTEXTS];

bool context_exists(__u32 asid)
{
	return asid < limits.contexts && contexts[asid].exists;
}

void context_get(__u32 asid)
{
	contexts[asid].queues++;
}

void context_put(__u32 asid)
{
	contexts[asid].queues--;
}

static bool all_zero(const __u32 *words, __u32 n)
{
	while (n--) {
		if (*words++)
			return false;
	}
	return true;
}

/* A page of card memory that is not the firmware's. */
static bool root_is_valid(__u64 root)
{
	__u64 fw_end = limits.region_offset + limits.region_size;

	return !(root & (ONPU_MMU_TABLE_SIZE - 1)) &&
	       limits.vram_size >= ONPU_MMU_TABLE_SIZE &&
	       root <= limits.vram_size - ONPU_MMU_TABLE_SIZE &&
	       (root >= fw_end ||
		root + ONPU_MMU_TABLE_SIZE <= limits.region_offset);
}

__u32 context_create(const struct onpu_msg_ctx *msg)
{
	if (msg->asid >= limits.contexts || msg->reserved0 ||
	    !all_zero(msg->reserved, 8) || !root_is_valid(msg->root))
		return ONPU_MSG_STATUS_INVALID;
	if (contexts[msg->asid].exists)
		return ONPU_MSG_STATUS_EXIST;

	mcu_write(ONPU_CTX_ROOT_LO(msg->asid), (__u32)msg->root);
	mcu_write(ONPU_CTX_ROOT_HI(msg->asid), (__u32)(msg->root >> 32));
	mcu_write(ONPU_CTX_CTRL(msg->asid), ONPU_CTX_VALID);
	contexts[msg->asid].exists = true;
	contexts[msg->asid].queues = 0;
	log_print(LOG_DEBUG, "context %u: root %llx", msg->asid, msg->root);
	return ONPU_MSG_STATUS_OK;
}

__u32 context_destroy(const struct onpu_msg_ctx *msg)
{
	if (msg->asid >= limits.contexts || msg->reserved0 || msg->root ||
	    !all_zero(msg->reserved, 8))
		return ONPU_MSG_STATUS_INVALID;
	if (!contexts[msg->asid].exists)
		return ONPU_MSG_STATUS_NOENT;
	if (contexts[msg->asid].queues)
		return ONPU_MSG_STATUS_BUSY;

	mcu_write(ONPU_CTX_CTRL(msg->asid), 0);
	mcu_write(ONPU_CTX_ROOT_LO(msg->asid), 0);
	mcu_write(ONPU_CTX_ROOT_HI(msg->asid), 0);
	contexts[msg->asid].exists = false;
	log_print(LOG_DEBUG, "context %u: gone", msg->asid);
	return ONPU_MSG_STATUS_OK;
}

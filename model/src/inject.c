// SPDX-License-Identifier: MIT
/*
 * Scriptable faults (Documentation/hardware.md, "Fault injection").
 *
 * Idea: each fault is a variable that the place concerned looks at. They
 * survive a reset of the card, so that a script can make recovery fail, too;
 * "clear" ends all of them.
 *
 * Locking: none; the variables are atomic.
 */
#include <errno.h>
#include <string.h>

#include "onpu_internal.h"

static void clear(struct onpu_card *card)
{
	struct onpu_inject *inj = &card->inject;

	atomic_store(&inj->hang_queue, INJECT_NONE);
	atomic_store(&inj->fault_queue, INJECT_NONE);
	atomic_store(&inj->drop_irq, 0);
	atomic_store(&inj->dma_fault, 0);
	atomic_store(&inj->corrupt, 0);
	atomic_store(&inj->slow_kill_ns, 0);
	atomic_store(&inj->slow_suspend_ns, 0);
	atomic_store(&inj->mbox_silent, false);
	atomic_store(&inj->mcu_stall, false);
}

/* What a fault has stopped goes on. */
static void wake(struct onpu_card *card)
{
	onpu_mcu_kick(card);
	for (unsigned int i = 0; i < card->n_slots; i++)
		onpu_slot_kick(&card->slots[i]);
}

int onpu_card_inject(struct onpu_card *card, const char *fault, uint64_t arg)
{
	uint64_t ns = arg > UINT64_MAX / 1000000 ? UINT64_MAX : arg * 1000000;
	struct onpu_inject *inj = &card->inject;
	const struct {
		const char *name;
		_Atomic uint64_t *value;
	} numbers[] = {
		{ "hang-queue", &inj->hang_queue },
		{ "fault-queue", &inj->fault_queue },
		{ "drop-irq", &inj->drop_irq },
		{ "dma-fault", &inj->dma_fault },
		{ "corrupt-matmul", &inj->corrupt },
	};

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		if (strcmp(fault, numbers[i].name))
			continue;
		atomic_store(numbers[i].value, arg);
		wake(card);
		return 0;
	}
	if (!strcmp(fault, "clear"))
		clear(card);
	else if (!strcmp(fault, "slow-kill"))
		atomic_store(&inj->slow_kill_ns, ns);
	else if (!strcmp(fault, "slow-suspend"))
		atomic_store(&inj->slow_suspend_ns, ns);
	else if (!strcmp(fault, "mbox-silent"))
		atomic_store(&inj->mbox_silent, arg != 0);
	else if (!strcmp(fault, "mcu-stall"))
		atomic_store(&inj->mcu_stall, arg != 0);
	else if (!strcmp(fault, "mcu-crash"))
		onpu_mcu_crash(card);
	else
		return -ENOENT;
	wake(card);
	return 0;
}

// SPDX-License-Identifier: MIT
/*
 * Runtime firmware of the management controller: start, main loop, crash.
 *
 * Idea: one loop, no interrupt handlers.  Interrupts only end the sleep; then
 * each source is acknowledged first and looked at afterwards, so that what
 * happens in between is seen in the next round.
 */
#include "rt.h"

struct limits limits;

static __u64 next_heartbeat;
static __u32 heartbeat;

static __u32 at_most(__u32 value, __u32 max)
{
	return value < max ? value : max;
}

static void read_limits(void)
{
	limits.queues = at_most(mcu_read(ONPU_SYS_QUEUES), ONPU_MAX_QUEUES);
	limits.slots = at_most(mcu_read(ONPU_SYS_SLOTS), ONPU_MAX_SLOTS);
	limits.contexts = at_most(mcu_read(ONPU_SYS_CONTEXTS),
				  ONPU_MAX_CONTEXTS);
	limits.vectors = at_most(mcu_read(ONPU_SYS_VECTORS), ONPU_MAX_VECTORS);
	limits.ring_order_max = at_most(mcu_read(ONPU_SYS_RING_ORDER_MAX),
					ONPU_RING_ORDER_MAX);
	limits.vram_size = mcu_read64(ONPU_SYS_VRAM_SIZE_LO);
	limits.region_offset = mcu_read64(ONPU_SYS_REGION_OFFSET_LO);
	limits.region_size = mcu_read(ONPU_SYS_REGION_SIZE);
}

static void set_timer(__u64 when)
{
	mcu_write(ONPU_SYS_TIMECMP_HI, (__u32)(when >> 32));
	mcu_write(ONPU_SYS_TIMECMP_LO, (__u32)when);
}

static void beat(__u64 now)
{
	if (now < next_heartbeat)
		return;
	mcu_write(ONPU_SYS_HEARTBEAT, ++heartbeat);
	next_heartbeat = now + HEARTBEAT_NS;
	slot_watch(now);
}

static __u64 first(__u64 a, __u64 b)
{
	return a < b ? a : b;
}

static void loop(void)
{
	for (;;) {
		__u32 irqs = mcu_read(ONPU_SYS_IRQ_PENDING);
		__u64 now, deadline;

		mcu_write(ONPU_SYS_IRQ_ACK, irqs);
		mbox_poll();
		if (irqs & ONPU_MCU_IRQ_DOORBELL)
			sched_poll_doorbells();
		if (irqs & ONPU_MCU_IRQ_SLOT)
			slot_poll();
		if (irqs & ONPU_MCU_IRQ_SIGNAL)
			sched_signalled();
		now = mcu_time();
		beat(now);
		engine_poll(now);
		sched_run(now);
		queue_poll_due(now);
		context_poll(now);
		deadline = first(next_heartbeat, queue_next_deadline());
		deadline = first(deadline, context_next_deadline());
		deadline = first(deadline, engine_next_deadline());
		set_timer(first(deadline, sched_next_deadline()));
		mcu_wait();
	}
}

void rt_main(void)
{
	read_limits();
	queue_init();
	sched_init();
	mbox_init();
	mcu_write(ONPU_SYS_FW_VERSION, ONPU_FW_VERSION);
	log_print(LOG_INFO, "ONPU firmware %u.%u.%u", ONPU_FW_VERSION >> 24,
		  ONPU_FW_VERSION >> 16 & 255, ONPU_FW_VERSION & 0xffff);
	log_print(LOG_INFO, "%u queues, %u slots, %u contexts, %u vectors",
		  limits.queues, limits.slots, limits.contexts,
		  limits.vectors);

	mcu_write(ONPU_SYS_IRQ_ENABLE, ONPU_MCU_IRQ_MBOX |
		  ONPU_MCU_IRQ_DOORBELL | ONPU_MCU_IRQ_SLOT);
	mcu_enable_wake(MIE_MEIE | MIE_MTIE);
	beat(mcu_time());
	bad_start();
	mcu_write(ONPU_SYS_BOOT_STATUS, ONPU_BOOT_STAGE_READY);
	mcu_write(ONPU_SYS_HOST_IRQ, ONPU_IRQ_BOOT);
	loop();
}

/* Called by the trap handler: leave a record for the host and stop. */
void rt_crash(const __u32 *regs, __u32 mcause, __u32 mepc, __u32 mtval)
{
	struct onpu_fw_crash *c = mbox_crash_record();

	c->mcause = mcause;
	c->mepc = mepc;
	c->mtval = mtval;
	memcpy(c->regs, regs, sizeof(c->regs));
	c->time_ns = mcu_time();
	mcu_fence();
	c->valid = ONPU_FW_CRASH_MAGIC;
	mcu_fence();
	mcu_write(ONPU_SYS_BOOT_STATUS,
		  ONPU_BOOT_STAGE_CRASHED | (mcause & 0xffff) << 16);
	log_print(LOG_ERROR, "trap %u at %x, value %x", mcause, mepc, mtval);
	rt_halt();
}

void rt_halt(void)
{
	for (;;) {
		mcu_write(ONPU_SYS_FATAL, 1);
		mcu_wait();
	}
}

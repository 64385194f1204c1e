/* SPDX-License-Identifier: MIT */
/*
 * Access to the MCU's private registers and to memory that is shared with the
 * host, for the boot ROM and the runtime.
 */
#ifndef MCU_IO_H
#define MCU_IO_H

#include <onpu/mcu.h>
#include <onpu/regs.h>

static inline __u32 mcu_read(__u32 addr)
{
	return *(volatile __u32 *)addr;
}

static inline void mcu_write(__u32 addr, __u32 value)
{
	*(volatile __u32 *)addr = value;
}

/* A register pair that does not change, or latches its high word. */
static inline __u64 mcu_read64(__u32 addr)
{
	__u32 low = mcu_read(addr);

	return (__u64)mcu_read(addr + 4) << 32 | low;
}

static inline __u64 mcu_time(void)
{
	return mcu_read64(ONPU_SYS_TIME_LO);
}

/* Everything before is visible to the host and the engines before the rest. */
static inline void mcu_fence(void)
{
	__asm__ volatile("fence iorw, iorw" ::: "memory");
}

/* Code was written: later fetches see it. */
static inline void mcu_fence_i(void)
{
	__asm__ volatile("fence.i" ::: "memory");
}

/*
 * Sleep until an enabled interrupt is pending.  Interrupts stay globally
 * disabled: nobody is interrupted, everything is polled after waking, and an
 * interrupt that comes before the sleep makes it return at once.
 */
static inline void mcu_wait(void)
{
	__asm__ volatile("wfi" ::: "memory");
}

#define MIE_MTIE	(1u << 7)
#define MIE_MEIE	(1u << 11)

static inline void mcu_enable_wake(__u32 mie)
{
	__asm__ volatile("csrw mie, %0" :: "r"(mie));
}

#define STRINGIFY_(x)	#x
#define STRINGIFY(x)	STRINGIFY_(x)

#endif

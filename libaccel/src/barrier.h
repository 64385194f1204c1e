/* SPDX-License-Identifier: MIT */
/*
 * Order between this CPU and the card.
 *
 * C11's fences order what threads see of each other, and compilers make of them what that takes: on arm64 an
 * inner-shareable barrier, on x86 nothing for stores or a locked access, which says nothing of
 * write-combined memory that is written past the cache. A card is no thread: it is behind
 * the outer-shareable domain, and rings may be mapped write-combined. So these are made of instructions.
 */
#ifndef ACCEL_BARRIER_H
#define ACCEL_BARRIER_H

/*
 * Between stores to memory that the card is going to read (ring, descriptors) and the store to a doorbell.
 * x86: stores to write-combined memory leave the CPU's buffers before what follows SFENCE. arm64: stores
 * before are seen by all observers of the outer domain before those after. RISC-V: memory writes before
 * device output.
 */
static inline void barrier_before_doorbell(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__asm__ volatile("sfence" ::: "memory");
#elif defined(__aarch64__)
	__asm__ volatile("dmb oshst" ::: "memory");
#elif defined(__riscv)
	__asm__ volatile("fence w, ow" ::: "memory");
#else
	__sync_synchronize();
#endif
}

/*
 * Between the load of a word that the card stores when work is done and loads of what that work wrote.
 * x86 does not reorder loads of cached memory, and a mapping that is write-combined is not read ahead of a
 * fence: LFENCE. The doorbell is no matter here.
 */
static inline void barrier_after_word(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__asm__ volatile("lfence" ::: "memory");
#elif defined(__aarch64__)
	__asm__ volatile("dmb oshld" ::: "memory");
#elif defined(__riscv)
	__asm__ volatile("fence r, ir" ::: "memory");
#else
	__sync_synchronize();
#endif
}

/* In a loop that looks at a word. */
static inline void barrier_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__asm__ volatile("pause" ::: "memory");
#elif defined(__aarch64__)
	__asm__ volatile("yield" ::: "memory");
#else
	__asm__ volatile("" ::: "memory");
#endif
}

#endif

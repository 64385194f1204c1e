/* SPDX-License-Identifier: MIT */
/*
 * What the files of the card model share. Nothing outside model/src (and the
 * white-box tests of tests/model) includes this.
 *
 * Locks, in the order in which they nest (a thread may skip some):
 *   slot->lock     configuration and state changes of one slot
 *   card->inv_lock TLB_SEQ and who blocks TLB_DONE
 *   slot->use_lock whether the slot holds translations
 *   card->dma_lock asynchronous host mappings
 *   card->engine_lock what the engines have been given in engine time
 *   card->lock     registers, interrupt causes, MCU peripherals
 *   mcu.lock       sleeping and parking of the MCU thread
 * All of them are held for a few instructions only, and no host op but time_ns
 * is called under any of them: so register accesses and reset never wait for
 * work in flight, except where reset waits for it on purpose.
 *
 * The engine fields of a slot belong to whoever has set slot->engaged, which is
 * the slot's task, or the MCU thread that kills a slot at rest. While the card
 * is frozen and card->running is 0 they belong to the thread that froze it.
 */
#ifndef ONPU_MODEL_INTERNAL_H
#define ONPU_MODEL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cost.h"
#include "gemm.h"
#include "onpu/mbox.h"
#include "onpu/mcu.h"
#include "onpu/mmu.h"
#include "onpu/packet.h"
#include "onpu/regs.h"
#include "onpu_model.h"
#include "pool.h"
#include "rv32.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the card model shares memory with a little-endian guest as it is"
#endif

#define ONPU_DIM_MAX		(1u << 18)
#define ONPU_DMA_BITS		52u
#define ONPU_FW_REGION_SIZE	ONPU_FW_REGION_MIN_SIZE
#define ONPU_PAGE_SIZE		4096u
#define ONPU_HUGE_SIZE		(1u << ONPU_MMU_HUGE_SHIFT)
#define ONPU_WAIT_POLL_NS	1000000u	/* a WAIT is looked at again at least this often */

/* Work that costs a slot one unit of its turn (queue.c). */
#define ONPU_UNIT_BYTES		(128u << 10)
#define ONPU_UNIT_MACS		(1u << 24)

#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* --- translation ------------------------------------------------------------ */

#define TLB_SMALL_ENTRIES	512u
#define TLB_HUGE_ENTRIES	64u

/* gen values are never reused by another context or after an invalidation. */
struct tlb_entry {
	uint64_t gen;
	uint64_t vpn;
	uint64_t pte;
};

struct tlb {
	struct tlb_entry small[TLB_SMALL_ENTRIES];
	struct tlb_entry huge[TLB_HUGE_ENTRIES];
	uint64_t hits;		/* since they were last added to the card's counters */
	uint64_t walks;
	/* Last level-0 table walked, so that a run of pages costs one load each. */
	uint64_t table_gen;
	uint64_t table_vpn;	/* VA >> 21 */
	uint64_t table;
};

struct mmu_xlat {
	uint64_t addr;
	uint64_t len;		/* from here to the end of the page */
	bool host;
	bool null;		/* no memory; addr counts from the start of the page */
	uint8_t level;
};

struct mmu_fault {
	uint64_t va;
	uint32_t info;
};

struct onpu_context {
	_Atomic uint64_t root;
	_Atomic uint32_t ctrl;
	_Atomic uint64_t gen;
};

/* --- access lists (dma.c) --------------------------------------------------- */

#define DMA_MAX_ACCESS		16u
#define DMA_MAX_SEGS		(1u << 20)	/* per list: 4 GiB in scattered 4 KiB pages */
#define DMA_MAX_REQS		64u		/* asynchronous requests of a slot at a time */

/* rows byte ranges of len bytes, stride apart: a plain range has one row. */
struct dma_access {
	uint64_t va;
	uint64_t rows;
	uint64_t len;
	uint64_t stride;
	uint8_t kind;		/* ONPU_FAULT_ACCESS_* */
	bool priv;
};

enum dma_target { DMA_HOLE, DMA_CARD, DMA_HOST, DMA_NULL };

struct dma_piece {
	uint64_t off;		/* in the access */
	uint64_t len;
	uint64_t addr;
	uint8_t access;		/* index */
	uint8_t target;
	uint8_t level;
};

struct dma_map {
	struct onpu_hostmap map;
	uint64_t off;		/* in the access */
	uint8_t access;
};

struct dma_pending {
	struct onpu_dma_req req;	/* first: what the platform hands back */
	struct onpu_slot *slot;		/* NULL: nobody waits for it any more */
	struct dma_pending *next;	/* in slot->dma.pending or .done */
	size_t piece;
	uint64_t off;			/* in the piece */
};

enum dma_state { DMA_IDLE, DMA_TRANSLATE, DMA_MAPPING, DMA_READY };

struct dma_list {
	enum dma_state state;
	unsigned int n_access;
	struct dma_access access[DMA_MAX_ACCESS];
	struct onpu_view view[DMA_MAX_ACCESS];	/* once READY */
	struct dma_piece *pieces;
	size_t n_pieces, cap_pieces;
	struct dma_map *maps;
	size_t n_maps, cap_maps;
	struct onpu_seg *segs;
	size_t cap_segs;
	size_t next_piece;		/* to be mapped */
	bool unsorted;			/* maps came back in any order */
	unsigned int n_pending;		/* requests out; dma_lock */
	struct dma_pending *pending;	/* dma_lock */
	struct dma_pending *done;	/* dma_lock */
};

/* A small range of one page. */
struct dma_small {
	uint8_t *ptr;
	struct onpu_hostmap map;	/* if mapped */
	bool mapped;
};

/* Results of the engine's steps. */
enum step {
	STEP_OK,		/* go on */
	STEP_EMPTY,		/* ring empty */
	STEP_WAIT,		/* WAIT does not hold yet */
	STEP_PENDING,		/* the platform will call back */
	STEP_YIELD,		/* more to do, others first */
	STEP_HANG,		/* injected: nothing but a kill helps */
	STEP_STOP,		/* killed or cancelled */
	STEP_FAULT,		/* slot->fault tells */
	STEP_ERROR,		/* slot->err tells */
};

/* --- slots ------------------------------------------------------------------ */

enum slot_phase { PH_IDLE, PH_FETCH, PH_DESC, PH_EXEC, PH_STAMP, PH_WRITEBACK };
enum slot_sched { SLOT_SCHED_IDLE, SLOT_SCHED_RUNNING, SLOT_SCHED_KICKED };

struct matmul_progress {
	uint32_t m, n, k;	/* where the next block starts */
	uint32_t bm, bn, bk;	/* its size; rows are chosen at n == 0, columns at k == 0 */
	uint32_t item;		/* which matmul of a batch */
	uint32_t start;		/* first row of the group */
	bool loaded;		/* slot->item is that matmul */
	uint32_t part_m, part_k;	/* of the block: so many rows are done over so much of k */
};

struct onpu_slot {
	struct onpu_card *card;
	unsigned int index;
	struct onpu_task task;
	atomic_uint sched;

	pthread_mutex_t lock;
	bool engaged;			/* somebody owns the engine fields */
	/* Written under lock while FREE, constant while bound. */
	uint32_t queue, asid, order, flags, vector, save;
	uint64_t ring, ctl;
	/* Written under lock. */
	_Atomic uint32_t state;		/* enum onpu_slot_state */
	_Atomic uint32_t events, event_enable;
	_Atomic uint32_t error, fault_info, opcode;
	_Atomic uint64_t fault_va;
	/* Written by the engine. */
	_Atomic uint32_t consumer;
	_Atomic uint32_t consumer_hi;	/* turns of consumer */
	_Atomic uint64_t busy_ns;
	atomic_bool cancel;		/* stop at the next tile */
	atomic_bool kill;
	atomic_bool suspend;		/* stop at the next boundary and save */
	atomic_bool polled;		/* the ticker and every SIGNAL kick it */
	_Atomic uint64_t kill_time;	/* of suspend, too */
	_Atomic uint32_t saved;		/* ONPU_SLOT_SAVED_* */
	_Atomic uint32_t progress, packets;	/* since BIND */

	/* The engine's. */
	enum slot_phase phase;
	struct onpu_packet packet;
	struct onpu_matmul_desc desc;
	struct onpu_matmul_desc item;	/* of a batch: one matmul, with addresses of its own */
	struct matmul_progress mm;
	uint64_t done;			/* bytes of a COPY, COPY_2D or FILL */
	uint32_t work;			/* cost of the last step, in turn units */
	uint64_t wait_since;		/* 0: not waiting */
	uint64_t busy_since;		/* of this turn is not counted yet */
	uint64_t call_va;		/* next packet of the called buffer */
	uint32_t call_left;		/* packets of it, this one included; 0: in the ring */
	uint64_t clock;			/* engine time at which its last packet ended */
	uint32_t held;			/* SIGNALs whose interrupt has not been sent, */
	uint32_t held_vector;		/* of this vector, */
	uint64_t held_since;		/* device time of the first */
	struct onpu_demand demand;	/* of the packet, so far */
	struct onpu_stamp stamp;	/* of the packet, in PH_STAMP */
	struct dma_list dma;
	struct mmu_fault fault;
	uint32_t err;
	struct tlb tlb;

	pthread_mutex_t use_lock;
	bool in_use;			/* holds translations of asid; written by the engine */
	atomic_bool blocks;		/* blocks_seq and what follows wait for it */
	uint32_t blocks_seq;
};

/* --- MCU -------------------------------------------------------------------- */

struct onpu_mcu {
	struct onpu_rv32 *hart;
	uint8_t *rom, *sram;
	/* card->lock */
	uint32_t irq_pending, irq_enable;
	uint32_t time_hi, timecmp_hi_latch;
	uint32_t crypto_src, crypto_len, crypto_key, crypto_sig, crypto_result;
	uint8_t crypto_digest[32];
	_Atomic uint64_t timecmp;
	atomic_bool halted;		/* crashed, or no ROM */
	/* lock */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	pthread_t thread;
	bool has_thread;
	bool exit, park, parked;
	uint64_t kicks;			/* reasons to run again */
	uint64_t seen;			/* kicks when the hart last ran */
	bool waiting;			/* the hart stands at WFI */
	/* Sleeping through heartbeats (mcu.c) */
	bool may_doze;
	atomic_bool dozing;
	atomic_uint idle_beats;		/* since the firmware last did, or was told, anything else */
	atomic_uint timer_sets;		/* since the last of them */
};

/* --- injected faults -------------------------------------------------------- */

#define INJECT_NONE	UINT64_MAX

struct onpu_inject {
	_Atomic uint64_t hang_queue;	/* INJECT_NONE or a queue */
	_Atomic uint64_t fault_queue;
	_Atomic uint64_t drop_irq;	/* how many to drop */
	_Atomic uint64_t dma_fault;	/* how many host mappings to refuse */
	_Atomic uint64_t corrupt;	/* how many matmuls to spoil */
	_Atomic uint64_t slow_kill_ns;
	_Atomic uint64_t slow_suspend_ns;
	atomic_bool mbox_silent;
	atomic_bool mcu_stall;
};

/* --- engine time (engine.c) -------------------------------------------------- */

#define ENGINE_GAPS	16u

struct engine_gap {
	uint64_t from, to;
};

/* What an engine has been given to do. */
struct engine {
	uint64_t free;			/* when all of it is done */
	unsigned int gaps;
	struct engine_gap gap[ENGINE_GAPS];	/* idle before that: rising, the last ones */
};

/* --- the card --------------------------------------------------------------- */

struct onpu_counters {
	_Atomic uint64_t busy_ns, packets, matmuls, matmul_ops, copy_bytes;
	_Atomic uint64_t tlb_hits, tlb_walks, faults, irqs;
	_Atomic uint64_t engine_ns[ONPU_ENGINES], engine_bytes[ONPU_ENGINES];
};

struct onpu_card {
	const struct onpu_host_ops *ops;
	void *opaque;
	uint8_t *vram;
	uint64_t vram_size, aperture_size, fw_offset, fw_size;
	uint8_t *null_read, *null_write;	/* ONPU_HUGE_SIZE each, see dma.c */
	uint64_t serial;
	unsigned int n_slots, n_queues, n_contexts, n_vectors;
	uint32_t isa;			/* enum onpu_gemm_isa */
	uint8_t key_hash[32];
	uint32_t min_svn, fuse_flags;

	struct onpu_pool *pool;
	bool threaded;
	bool doorbell_inline;		/* who rings may run short packets */
	bool quiesced;			/* by onpu_card_quiesce() */
	atomic_bool frozen;		/* slot tasks return at once */
	_Atomic uint32_t running;	/* slot tasks executing */
	pthread_mutex_t quiet_lock;
	pthread_cond_t quiet;		/* running became 0 while frozen */

	pthread_mutex_t lock;
	uint32_t irq_cause, irq_enable;
	_Atomic uint32_t irq_hold[ONPU_MAX_VECTORS];
	uint64_t boot_addr;
	uint32_t boot_size;
	uint32_t boot_status, heartbeat, fw_version, fw_mbox;
	bool fatal;
	_Atomic uint32_t generation;
	_Atomic uint64_t time_base;

	pthread_mutex_t inv_lock;
	uint32_t tlb_seq;
	_Atomic uint64_t tlb_gen;	/* last value given out */

	pthread_mutex_t dma_lock;

	struct onpu_speed speed;
	_Atomic uint64_t engine_time;		/* latest end of a packet */
	pthread_mutex_t engine_lock;
	struct engine engines[ONPU_ENGINES];	/* engine_lock */

	struct onpu_counters cnt;
	struct onpu_inject inject;
	_Atomic uint32_t busy_slots;	/* RUNNING */
	_Atomic uint32_t polled;	/* slots that the ticker must look at */
	atomic_bool watch_signals;	/* the MCU wants to know of SIGNALs */

	/* The ticker: looks at waiting slots every ONPU_WAIT_POLL_NS. */
	pthread_mutex_t tick_lock;
	pthread_cond_t tick_cond;
	pthread_t tick_thread;
	bool has_tick, tick_exit;

	struct onpu_mcu mcu;
	_Atomic uint32_t *db_value;	/* of each queue */
	_Atomic uint32_t *db_slot;	/* slot + 1, or 0 */
	_Atomic uint32_t *db_pending;	/* bits */
	_Atomic uint64_t *db_time;	/* engine time when it was rung last */
	struct onpu_context *contexts;
	struct onpu_slot *slots;
};

/* card.c */
uint64_t onpu_card_time(struct onpu_card *card);
void onpu_guest_error(struct onpu_card *card, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
int onpu_thread_start(pthread_t *thread, const char *name, void *(*fn)(void *), void *arg);
bool onpu_card_enter(struct onpu_card *card);
void onpu_card_leave(struct onpu_card *card);
void onpu_card_raise(struct onpu_card *card, unsigned int vector);
void onpu_card_cause(struct onpu_card *card, uint32_t bits);

static inline void onpu_trace(struct onpu_card *card, enum onpu_trace event,
			      uint64_t a, uint64_t b, uint64_t c)
{
	if (card->ops->trace)
		card->ops->trace(card->opaque, event, a, b, c);
}

/* mmu.c, tlb.c */
bool onpu_mmu_translate(struct onpu_slot *slot, uint64_t va, unsigned int kind, bool priv,
			struct mmu_xlat *out);
bool onpu_mmu_check_range(struct onpu_slot *slot, uint64_t va, uint64_t len, unsigned int kind);
void onpu_mmu_fault(struct onpu_slot *slot, uint64_t va, unsigned int reason, unsigned int kind,
		    unsigned int level);
const struct tlb_entry *onpu_tlb_lookup(struct tlb *tlb, uint64_t gen, uint64_t va);
void onpu_tlb_insert(struct tlb *tlb, uint64_t gen, uint64_t va, unsigned int level, uint64_t pte);
void onpu_tlb_invalidate_context(struct onpu_card *card, unsigned int asid);
void onpu_tlb_request(struct onpu_card *card, uint32_t asid);
uint32_t onpu_tlb_done(struct onpu_card *card);
uint32_t onpu_tlb_seq(struct onpu_card *card);
void onpu_tlb_use_begin(struct onpu_slot *slot);
void onpu_tlb_use_end(struct onpu_slot *slot);
void onpu_tlb_packet_end(struct onpu_slot *slot);

/* dma.c */
void onpu_dma_begin(struct onpu_slot *slot);
void onpu_dma_add(struct onpu_slot *slot, uint64_t va, uint64_t len, unsigned int kind, bool priv);
void onpu_dma_add_rows(struct onpu_slot *slot, uint64_t va, uint64_t rows, uint64_t len,
		       uint64_t stride, unsigned int kind, bool priv);
enum step onpu_dma_progress(struct onpu_slot *slot);
enum step onpu_dma_small(struct onpu_slot *slot, uint64_t va, uint64_t len, unsigned int kind,
			 bool priv, struct dma_small *out);
void onpu_dma_small_end(struct onpu_slot *slot, const struct dma_small *small);
void onpu_dma_release(struct onpu_slot *slot);
void onpu_dma_free(struct onpu_slot *slot);
/* Aligned words that others look at: whoever sees a stored one sees what was stored before. */
static inline uint64_t onpu_load64(const uint8_t *ptr)
{
	return __atomic_load_n((const uint64_t *)(const void *)ptr, __ATOMIC_ACQUIRE);
}

static inline void onpu_store64(uint8_t *ptr, uint64_t value)
{
	__atomic_store_n((uint64_t *)(void *)ptr, value, __ATOMIC_RELEASE);
}

static inline void onpu_store32(uint8_t *ptr, uint32_t value)
{
	__atomic_store_n((uint32_t *)(void *)ptr, value, __ATOMIC_RELEASE);
}

void onpu_view_read(const struct onpu_view *view, uint64_t off, void *dst, uint64_t len);
void onpu_view_write(const struct onpu_view *view, uint64_t off, const void *src, uint64_t len);
uint64_t onpu_view_load64(const struct onpu_view *view);
void onpu_view_store64(const struct onpu_view *view, uint64_t value);
void onpu_store_ctl(uint8_t *ptr, uint32_t consumer, uint32_t high);
void onpu_view_store_ctl(const struct onpu_view *view, uint32_t consumer, uint32_t high);
void onpu_view_copy(const struct onpu_view *dst, const struct onpu_view *src, uint64_t dst_off,
		    uint64_t src_off, uint64_t len, bool stream);
void onpu_view_fill(const struct onpu_view *dst, uint64_t off, uint64_t len, uint32_t pattern,
		    bool stream);

/* packet.c, matmul.c: all run as the slot's engine */
enum step onpu_packet_decode(struct onpu_slot *slot);
enum step onpu_packet_execute(struct onpu_slot *slot);
bool onpu_packet_priv(const struct onpu_slot *slot);
uint64_t onpu_packet_bytes(const struct onpu_packet *p);
bool onpu_matmul_is_short(const struct onpu_slot *slot);
enum step onpu_matmul_prepare(struct onpu_slot *slot);
enum step onpu_matmul_execute(struct onpu_slot *slot);
bool onpu_matmul_progress_valid(const struct onpu_slot *slot);
enum step onpu_engine_error(struct onpu_slot *slot, uint32_t error);

/* engine.c: engine time; all but onpu_engine_time() run as the slot's engine */
uint64_t onpu_engine_time(struct onpu_card *card);
void onpu_engine_not_before(struct onpu_slot *slot, uint64_t time);
void onpu_engine_begin(struct onpu_slot *slot);
void onpu_engine_add_accesses(struct onpu_slot *slot);
void onpu_engine_add_matmul(struct onpu_slot *slot, const struct onpu_matmul_desc *d);
void onpu_engine_end(struct onpu_slot *slot);
enum step onpu_engine_stamp(struct onpu_slot *slot);

/* slot_save.c */
bool onpu_slot_save_valid(const struct onpu_slot *slot);
bool onpu_slot_work_valid(struct onpu_slot *slot);
void onpu_slot_save_seal(uint8_t *area);
uint32_t onpu_slot_save(struct onpu_slot *slot);
bool onpu_slot_restore(struct onpu_slot *slot);

/* queue.c */
int onpu_slot_init(struct onpu_card *card, unsigned int index);
void onpu_slot_fini(struct onpu_slot *slot);
void onpu_slot_reset(struct onpu_slot *slot);
void onpu_slot_kick(struct onpu_slot *slot);
void onpu_slot_park(struct onpu_slot *slot);
bool onpu_slot_config_valid(struct onpu_slot *slot);
void onpu_slot_command(struct onpu_slot *slot, uint32_t cmd);
void onpu_slot_events_clear(struct onpu_slot *slot, uint32_t bits);
void onpu_slot_event_enable(struct onpu_slot *slot, uint32_t bits);
void onpu_doorbell(struct onpu_card *card, uint32_t queue, uint32_t value);
bool onpu_kick_polled(struct onpu_card *card);
int onpu_tick_start(struct onpu_card *card);
void onpu_tick_stop(struct onpu_card *card);

/* mcu.c */
int onpu_mcu_init(struct onpu_card *card, const void *rom, size_t rom_size);
void onpu_mcu_fini(struct onpu_card *card);
void onpu_mcu_reset(struct onpu_card *card);
void onpu_mcu_park(struct onpu_card *card);
void onpu_mcu_unpark(struct onpu_card *card);
void onpu_mcu_irq(struct onpu_card *card, uint32_t bits);
void onpu_mcu_kick(struct onpu_card *card);
/* It has slept through heartbeats for long enough. */
void onpu_mcu_rouse(struct onpu_card *card);
void onpu_mcu_loaded(struct onpu_card *card);
void onpu_mcu_crash(struct onpu_card *card);
bool onpu_mcu_step(struct onpu_card *card);
/* The MCU's bus, also for white-box tests: 0, or -1 for an access fault. */
int onpu_card_mcu_read32(struct onpu_card *card, uint32_t addr, uint32_t *value);
int onpu_card_mcu_write32(struct onpu_card *card, uint32_t addr, uint32_t value);

#endif

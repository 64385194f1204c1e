// SPDX-License-Identifier: MIT
/*
 * Queue engine: doorbells, slots and the state machine that runs a ring.
 *
 * Idea: every slot has one task on the card's pool. A doorbell of a bound queue
 * kicks the task; the task fetches and executes packets, a bounded amount per
 * turn, and queues itself again while there is more, so that slots share the
 * workers fairly. It never waits: when the platform must map memory, a WAIT
 * does not hold, or the ring is empty, it returns and is kicked again.
 *
 * Who rings the doorbell of a slot at rest takes its first turn himself, if the platform allows
 * that: short packets are done before another thread would be awake. Such a turn is shorter
 * still, and what takes longer is left to the workers.
 *
 *   IDLE -> FETCH -> (DESC) -> EXEC -> (STAMP) -> WRITEBACK -> IDLE
 *
 * Each phase but IDLE lists what it accesses when no list is under way, so a
 * phase can be interrupted (onpu_slot_park) and simply starts again. A slot that is
 * to be suspended stops between steps; slot_save.c takes over from there.
 *
 * A doorbell is never lost: the producer index is stored before db_slot is
 * read, and bind stores db_slot before it reads the producer index (both
 * sequentially consistent); so either the ringer kicks the slot or the binder
 * sees the new index. Unbind checks the index again after it cleared db_slot.
 *
 * Locking: slot->lock for configuration and state changes; slot->sched lets
 * the task run once at a time, slot->engaged makes it the owner of the engine fields.
 */
#include <sched.h>
#include <string.h>
#include <time.h>

#include "gemm_view.h"
#include "onpu_internal.h"

#define TURN_UNITS	64u	/* cost that a slot may run up per turn: one per step, and its work */
#define INLINE_UNITS	512u	/* the same in the turn of who rings; some microseconds */
#define INLINE_BYTES	(16u << 10)	/* of a COPY or FILL in such a turn */
/* With matmuls it ends after the time that waking a worker may take, at one in INLINE_LOOK. */
#define INLINE_NS	100000u
#define INLINE_LOOK	4u
/* What the engine writes of a control block. */
#define CTL_BYTES	(offsetof(struct onpu_queue_ctl, completed) + sizeof(uint64_t))
#define HOLD_UNITS	8u	/* no interrupt is held while a packet of so much work begins */
#define WAIT_SPIN_NS	20000u	/* a WAIT is tried over and over for so long */

/* --- state ---------------------------------------------------------------- */

/* slot->lock held. */
static void set_state(struct onpu_slot *slot, uint32_t state)
{
	struct onpu_card *card = slot->card;
	uint32_t old = atomic_exchange(&slot->state, state);

	if (old == state)
		return;
	if (old == ONPU_SLOT_RUNNING)
		atomic_fetch_sub(&card->busy_slots, 1);
	if (state == ONPU_SLOT_RUNNING) {
		atomic_fetch_add(&card->busy_slots, 1);
		onpu_mcu_rouse(card);
	}
}

/* slot->lock held; true if the MCU must be told. */
static bool add_events(struct onpu_slot *slot, uint32_t bits)
{
	atomic_fetch_or(&slot->events, bits);
	return bits & atomic_load(&slot->event_enable);
}

static void change_state(struct onpu_slot *slot, uint32_t state, uint32_t events)
{
	bool tell;

	pthread_mutex_lock(&slot->lock);
	set_state(slot, state);
	tell = add_events(slot, events);
	pthread_mutex_unlock(&slot->lock);
	onpu_trace(slot->card, ONPU_TRACE_SLOT, slot->index, state, slot->queue);
	if (tell)
		onpu_mcu_irq(slot->card, ONPU_MCU_IRQ_SLOT);
}

void onpu_slot_events_clear(struct onpu_slot *slot, uint32_t bits)
{
	atomic_fetch_and(&slot->events, ~bits);
}

void onpu_slot_event_enable(struct onpu_slot *slot, uint32_t bits)
{
	bool tell;

	pthread_mutex_lock(&slot->lock);
	atomic_store(&slot->event_enable, bits);
	tell = atomic_load(&slot->events) & bits;
	pthread_mutex_unlock(&slot->lock);
	if (tell)
		onpu_mcu_irq(slot->card, ONPU_MCU_IRQ_SLOT);
}

static bool alive(uint32_t state)
{
	return state == ONPU_SLOT_IDLE || state == ONPU_SLOT_RUNNING ||
	       state == ONPU_SLOT_WAITING;
}

/* --- being looked at by the ticker ---------------------------------------- */

/* A slot is polled while it waits for memory to change, or for an injected delay. */
static void set_polled(struct onpu_slot *slot, bool polled)
{
	struct onpu_card *card = slot->card;

	if (atomic_exchange(&slot->polled, polled) == polled)
		return;
	if (!polled) {
		atomic_fetch_sub(&card->polled, 1);
		return;
	}
	if (atomic_fetch_add(&card->polled, 1) == 0 && card->has_tick) {
		pthread_mutex_lock(&card->tick_lock);
		pthread_cond_signal(&card->tick_cond);
		pthread_mutex_unlock(&card->tick_lock);
	}
}

/* Kicks every slot that is polled; false if there is none. */
bool onpu_kick_polled(struct onpu_card *card)
{
	bool any = false;

	if (atomic_load(&card->polled) == 0)
		return false;
	for (unsigned int i = 0; i < card->n_slots; i++) {
		if (!atomic_load(&card->slots[i].polled))
			continue;
		onpu_slot_kick(&card->slots[i]);
		any = true;
	}
	return any;
}

static void *tick_main(void *arg)
{
	struct onpu_card *card = arg;
	struct timespec ts;

	pthread_mutex_lock(&card->tick_lock);
	while (!card->tick_exit) {
		if (atomic_load(&card->polled) == 0 || atomic_load(&card->frozen)) {
			pthread_cond_wait(&card->tick_cond, &card->tick_lock);
			continue;
		}
		clock_gettime(CLOCK_MONOTONIC, &ts);
		ts.tv_nsec += ONPU_WAIT_POLL_NS;
		if (ts.tv_nsec >= 1000000000) {
			ts.tv_nsec -= 1000000000;
			ts.tv_sec++;
		}
		pthread_cond_timedwait(&card->tick_cond, &card->tick_lock, &ts);
		pthread_mutex_unlock(&card->tick_lock);
		onpu_kick_polled(card);
		pthread_mutex_lock(&card->tick_lock);
	}
	pthread_mutex_unlock(&card->tick_lock);
	return NULL;
}

int onpu_tick_start(struct onpu_card *card)
{
	int ret = onpu_thread_start(&card->tick_thread, "onpu-tick", tick_main, card);

	card->has_tick = ret == 0;
	return ret;
}

void onpu_tick_stop(struct onpu_card *card)
{
	if (!card->has_tick)
		return;
	pthread_mutex_lock(&card->tick_lock);
	card->tick_exit = true;
	pthread_cond_signal(&card->tick_cond);
	pthread_mutex_unlock(&card->tick_lock);
	pthread_join(card->tick_thread, NULL);
	card->has_tick = false;
}

/* --- the end of a packet -------------------------------------------------- */

/* Leaves what the slot is in the middle of. */
static void drop_work(struct onpu_slot *slot)
{
	onpu_dma_release(slot);
	onpu_tlb_use_end(slot);
	set_polled(slot, false);
	slot->phase = PH_IDLE;
	slot->call_left = 0;
	slot->wait_since = 0;
	slot->done = 0;
}

/* Sends the interrupt that is held. */
static void send_held(struct onpu_slot *slot)
{
	if (!slot->held)
		return;
	slot->held = 0;
	onpu_card_raise(slot->card, slot->held_vector);
}

static void stop_with_error(struct onpu_slot *slot, uint32_t error)
{
	struct onpu_card *card = slot->card;
	bool fault = error == ONPU_ERR_FAULT;

	drop_work(slot);
	if (fault) {
		atomic_fetch_add_explicit(&card->cnt.faults, 1, memory_order_relaxed);
		onpu_trace(card, ONPU_TRACE_FAULT, slot->asid, slot->fault.va, slot->fault.info);
	}
	atomic_store(&slot->fault_va, fault ? slot->fault.va : 0);
	atomic_store(&slot->fault_info, fault ? slot->fault.info : 0);
	atomic_store(&slot->opcode, slot->packet.opcode);
	atomic_store(&slot->error, error);
	change_state(slot, ONPU_SLOT_ERRORED, ONPU_SLOT_EV_ERROR);
}

static void stop_killed(struct onpu_slot *slot)
{
	send_held(slot);
	drop_work(slot);
	atomic_store(&slot->opcode, slot->packet.opcode);
	atomic_store(&slot->error, ONPU_ERR_KILLED);
	atomic_store(&slot->kill, false);
	atomic_store(&slot->suspend, false);
	change_state(slot, ONPU_SLOT_KILLED, ONPU_SLOT_EV_KILLED);
}

static void stop_suspended(struct onpu_slot *slot)
{
	send_held(slot);
	atomic_store(&slot->saved, onpu_slot_save(slot));
	drop_work(slot);
	atomic_store(&slot->suspend, false);
	change_state(slot, ONPU_SLOT_SUSPENDED, ONPU_SLOT_EV_SUSPENDED);
}

/* A counter that nobody else writes now. */
static void count_up(_Atomic uint32_t *counter)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

/* Counts the time since the turn began, or since it was counted last. */
static void count_busy(struct onpu_slot *slot)
{
	uint64_t now = onpu_card_time(slot->card), time = now - slot->busy_since;

	slot->busy_since = now;
	atomic_fetch_add_explicit(&slot->busy_ns, time, memory_order_relaxed);
	atomic_fetch_add_explicit(&slot->card->cnt.busy_ns, time, memory_order_relaxed);
}

/* --- interrupts of SIGNALs ------------------------------------------------ */

/* Whether the queue has anything behind the packet that has just been executed. */
static bool has_more(const struct onpu_slot *slot)
{
	return slot->call_left > 1 || atomic_load(&slot->card->db_value[slot->queue]) !=
	       atomic_load_explicit(&slot->consumer, memory_order_relaxed) + 1;
}

/* Whether the first one has been held for long enough. */
static bool held_long(const struct onpu_slot *slot)
{
	uint32_t hold = atomic_load_explicit(&slot->card->irq_hold[slot->held_vector], memory_order_relaxed);

	return slot->held >= ONPU_IRQ_HOLD_COUNT(hold) ||
	       onpu_card_time(slot->card) - slot->held_since >= ONPU_IRQ_HOLD_US(hold) * 1000ull;
}

/*
 * A SIGNAL wants an interrupt. It is held while there is more to do at once: whoever
 * waits for the last one, as with one job at a time, is told without delay.
 */
static void signal_irq(struct onpu_slot *slot)
{
	struct onpu_card *card = slot->card;
	uint32_t hold = atomic_load_explicit(&card->irq_hold[slot->vector], memory_order_relaxed);

	if (!slot->held++) {
		slot->held_vector = slot->vector;
		slot->held_since = onpu_card_time(card);
	}
	if (ONPU_IRQ_HOLD_COUNT(hold) > 1 && has_more(slot) && !held_long(slot))
		return;
	/* Whoever is told finds the work counted. */
	count_busy(slot);
	send_held(slot);
}

static void after_packet(struct onpu_slot *slot)
{
	struct onpu_card *card = slot->card;
	const struct onpu_packet *p = &slot->packet;

	atomic_fetch_add_explicit(&card->cnt.packets, 1, memory_order_relaxed);
	count_up(&slot->packets);
	if (p->opcode != ONPU_OP_SIGNAL)
		return;
	if (p->flags & ONPU_PKT_IRQ)
		signal_irq(slot);
	onpu_kick_polled(card);
	if (atomic_load_explicit(&card->watch_signals, memory_order_relaxed))
		onpu_mcu_irq(card, ONPU_MCU_IRQ_SIGNAL);
}

/* --- phases --------------------------------------------------------------- */

static bool hang_injected(struct onpu_slot *slot)
{
	return atomic_load_explicit(&slot->card->inject.hang_queue, memory_order_relaxed) ==
	       slot->queue;
}

static bool fault_injected(struct onpu_slot *slot)
{
	uint64_t queue = slot->queue;

	if (atomic_load_explicit(&slot->card->inject.fault_queue, memory_order_relaxed) != queue)
		return false;
	return atomic_compare_exchange_strong(&slot->card->inject.fault_queue, &queue,
					      INJECT_NONE);
}

/* Becomes IDLE unless a packet came meanwhile. */
static enum step go_idle(struct onpu_slot *slot)
{
	struct onpu_card *card = slot->card;
	bool tell = false, idle;

	pthread_mutex_lock(&slot->lock);
	idle = atomic_load(&card->db_value[slot->queue]) == atomic_load(&slot->consumer);
	if (idle && atomic_load(&slot->state) == ONPU_SLOT_RUNNING) {
		set_state(slot, ONPU_SLOT_IDLE);
		tell = add_events(slot, ONPU_SLOT_EV_IDLE);
	}
	pthread_mutex_unlock(&slot->lock);
	if (tell)
		onpu_mcu_irq(card, ONPU_MCU_IRQ_SLOT);
	return idle ? STEP_EMPTY : STEP_OK;
}

static enum step start_packet(struct onpu_slot *slot)
{
	struct onpu_card *card = slot->card;
	uint32_t consumer = atomic_load_explicit(&slot->consumer, memory_order_relaxed);
	uint32_t producer;

	if (!slot->call_left) {
		producer = atomic_load(&card->db_value[slot->queue]);
		if (producer == consumer)
			return go_idle(slot);
		onpu_engine_not_before(slot, atomic_load_explicit(&card->db_time[slot->queue],
								  memory_order_relaxed));
		slot->packet.opcode = 0;
		if (producer - consumer > 1u << slot->order)
			return onpu_engine_error(slot, ONPU_ERR_RING);
	}
	if (atomic_load_explicit(&slot->state, memory_order_relaxed) != ONPU_SLOT_RUNNING) {
		pthread_mutex_lock(&slot->lock);
		set_state(slot, ONPU_SLOT_RUNNING);
		pthread_mutex_unlock(&slot->lock);
	}
	onpu_tlb_use_begin(slot);
	slot->phase = PH_FETCH;
	return STEP_OK;
}

static enum step list_fetch(struct onpu_slot *slot, uint64_t va)
{
	enum step step;

	if (slot->dma.state == DMA_IDLE) {
		onpu_dma_begin(slot);
		onpu_dma_add(slot, va, ONPU_PACKET_SIZE, ONPU_FAULT_ACCESS_FETCH,
			     onpu_packet_priv(slot));
	}
	step = onpu_dma_progress(slot);
	if (step != STEP_OK)
		return step;
	gemm_view_read(&slot->dma.view[0], 0, &slot->packet, sizeof(slot->packet));
	onpu_dma_release(slot);
	return STEP_OK;
}

static enum step fetch_packet(struct onpu_slot *slot)
{
	uint32_t index = atomic_load_explicit(&slot->consumer, memory_order_relaxed) &
			 ((1u << slot->order) - 1);
	uint64_t va = slot->call_left ? slot->call_va :
		      slot->ring + (uint64_t)index * ONPU_PACKET_SIZE;
	struct dma_small small;
	enum step step;

	step = onpu_dma_small(slot, va, ONPU_PACKET_SIZE, ONPU_FAULT_ACCESS_FETCH,
			      onpu_packet_priv(slot), &small);
	if (step == STEP_PENDING)
		return list_fetch(slot, va);
	if (step == STEP_OK) {
		memcpy(&slot->packet, small.ptr, sizeof(slot->packet));
		onpu_dma_small_end(slot, &small);
	}
	return step;
}

static enum step fetch(struct onpu_slot *slot)
{
	enum step step;

	if (hang_injected(slot))
		return STEP_HANG;
	step = fetch_packet(slot);
	if (step != STEP_OK)
		return step;
	onpu_trace(slot->card, ONPU_TRACE_PACKET, slot->queue, slot->packet.opcode,
		   atomic_load_explicit(&slot->consumer, memory_order_relaxed));
	if (fault_injected(slot)) {
		onpu_mmu_fault(slot, 0, ONPU_FAULT_NOT_PRESENT, ONPU_FAULT_ACCESS_READ, 0);
		return STEP_FAULT;
	}
	step = onpu_packet_decode(slot);
	slot->done = 0;
	onpu_engine_begin(slot);
	slot->phase = slot->packet.opcode == ONPU_OP_MATMUL ? PH_DESC : PH_EXEC;
	return step;
}

static enum step list_desc(struct onpu_slot *slot)
{
	enum step step;

	if (slot->dma.state == DMA_IDLE) {
		onpu_dma_begin(slot);
		onpu_dma_add(slot, slot->packet.matmul.desc_va, sizeof(slot->desc),
			     ONPU_FAULT_ACCESS_READ, onpu_packet_priv(slot));
	}
	step = onpu_dma_progress(slot);
	if (step != STEP_OK)
		return step;
	gemm_view_read(&slot->dma.view[0], 0, &slot->desc, sizeof(slot->desc));
	onpu_dma_release(slot);
	return STEP_OK;
}

static enum step fetch_desc(struct onpu_slot *slot)
{
	struct dma_small small;
	enum step step;

	step = onpu_dma_small(slot, slot->packet.matmul.desc_va, sizeof(slot->desc),
			      ONPU_FAULT_ACCESS_READ, onpu_packet_priv(slot), &small);
	if (step == STEP_OK) {
		memcpy(&slot->desc, small.ptr, sizeof(slot->desc));
		onpu_dma_small_end(slot, &small);
	} else if (step == STEP_PENDING) {
		step = list_desc(slot);
	}
	if (step != STEP_OK)
		return step;
	slot->phase = PH_EXEC;
	onpu_trace(slot->card, ONPU_TRACE_MATMUL, slot->desc.m, slot->desc.n, slot->desc.k);
	return onpu_matmul_prepare(slot);
}

/* A ring packet, or the CALL that it was, is complete. */
static void consume(struct onpu_slot *slot)
{
	if (atomic_fetch_add(&slot->consumer, 1) == UINT32_MAX)
		atomic_fetch_add(&slot->consumer_hi, 1);
	slot->phase = PH_WRITEBACK;
}

/* All that the packet stores has been stored. */
static enum step complete(struct onpu_slot *slot)
{
	after_packet(slot);
	if (slot->packet.opcode == ONPU_OP_CALL) {
		slot->call_va = slot->packet.call.va;
		slot->call_left = slot->packet.call.count;
		slot->phase = PH_FETCH;
		return STEP_OK;
	}
	if (slot->call_left) {
		slot->call_va += ONPU_PACKET_SIZE;
		if (--slot->call_left) {
			slot->phase = PH_FETCH;
			return STEP_OK;
		}
	}
	consume(slot);
	return STEP_OK;
}

static enum step execute(struct onpu_slot *slot)
{
	enum step step = onpu_packet_execute(slot);

	if (step != STEP_OK)
		return step;
	/* What was written to host memory is visible before the interrupt. */
	onpu_dma_release(slot);
	onpu_engine_end(slot);
	if (slot->packet.flags & ONPU_PKT_STAMP) {
		slot->phase = PH_STAMP;
		return STEP_OK;
	}
	return complete(slot);
}

static enum step stamp(struct onpu_slot *slot)
{
	enum step step = onpu_engine_stamp(slot);

	return step == STEP_OK ? complete(slot) : step;
}

static enum step list_write_back(struct onpu_slot *slot, uint32_t consumer, uint32_t high)
{
	enum step step;

	if (slot->dma.state == DMA_IDLE) {
		onpu_dma_begin(slot);
		onpu_dma_add(slot, slot->ctl, CTL_BYTES, ONPU_FAULT_ACCESS_WRITE, true);
	}
	step = onpu_dma_progress(slot);
	if (step != STEP_OK)
		return step;
	onpu_view_store_ctl(&slot->dma.view[0], consumer, high);
	onpu_dma_release(slot);
	return STEP_OK;
}

static enum step write_back(struct onpu_slot *slot)
{
	uint32_t consumer = atomic_load(&slot->consumer);
	uint32_t high = atomic_load(&slot->consumer_hi);
	struct dma_small small;
	enum step step = STEP_OK;

	if (slot->ctl) {
		step = onpu_dma_small(slot, slot->ctl, CTL_BYTES, ONPU_FAULT_ACCESS_WRITE, true,
				      &small);
		if (step == STEP_OK) {
			onpu_store_ctl(small.ptr, consumer, high);
			onpu_dma_small_end(slot, &small);
		} else if (step == STEP_PENDING) {
			step = list_write_back(slot, consumer, high);
		}
	}
	if (step != STEP_OK)
		return step;
	onpu_tlb_packet_end(slot);
	slot->phase = PH_IDLE;
	return STEP_OK;
}

static enum step run_phase(struct onpu_slot *slot)
{
	switch (slot->phase) {
	case PH_FETCH:
		return fetch(slot);
	case PH_DESC:
		return fetch_desc(slot);
	case PH_EXEC:
		return execute(slot);
	case PH_STAMP:
		return stamp(slot);
	case PH_WRITEBACK:
		return write_back(slot);
	default:
		return start_packet(slot);
	}
}

/* --- turns ---------------------------------------------------------------- */

/* A WAIT that does not hold: true to try again at once, others first. */
static bool wait_more(struct onpu_slot *slot)
{
	struct onpu_card *card = slot->card;
	uint64_t now = onpu_card_time(card);

	onpu_tlb_use_end(slot);
	if (!slot->wait_since)
		slot->wait_since = now ? now : 1;
	if (card->threaded && now - slot->wait_since < WAIT_SPIN_NS)
		return true;
	if (atomic_load(&slot->polled))
		return false;
	change_state(slot, ONPU_SLOT_WAITING, ONPU_SLOT_EV_WAITING);
	set_polled(slot, true);
	/* A SIGNAL may have come before it could see that this slot waits. */
	return true;
}

static void wait_over(struct onpu_slot *slot)
{
	slot->wait_since = 0;
	set_polled(slot, false);
	if (atomic_load(&slot->state) == ONPU_SLOT_WAITING)
		change_state(slot, ONPU_SLOT_RUNNING, 0);
}

/* What a step that is not STEP_OK means for the turn; true to come again. */
static bool end_turn(struct onpu_slot *slot, enum step step)
{
	/* Before anybody learns of the end otherwise. */
	send_held(slot);
	switch (step) {
	case STEP_WAIT:
		return wait_more(slot);
	case STEP_FAULT:
		stop_with_error(slot, ONPU_ERR_FAULT);
		return false;
	case STEP_ERROR:
		stop_with_error(slot, slot->err);
		return false;
	case STEP_STOP:
		/* Killed: the next turn sees to it. Reset: nobody asks any more. */
		return atomic_load(&slot->kill);
	default:
		return false;
	}
}

/* Whether what comes next may take long: no work for a thread that has others to do. */
static bool is_long(const struct onpu_slot *slot)
{
	const struct onpu_packet *p = &slot->packet;

	if (slot->phase != PH_EXEC && slot->phase != PH_DESC)
		return false;
	switch (p->opcode) {
	case ONPU_OP_MATMUL:
		return slot->phase == PH_EXEC && !onpu_matmul_is_short(slot);
	case ONPU_OP_COPY_2D:
		return true;
	case ONPU_OP_COPY:
		return p->copy.size > INLINE_BYTES;
	case ONPU_OP_FILL:
		return p->fill.size > INLINE_BYTES;
	default:
		return false;
	}
}

/* Whether who rings has had enough of matmuls, each of which is short. */
static bool inline_over(const struct onpu_slot *slot, uint64_t start, unsigned int *matmuls)
{
	if (slot->packet.opcode != ONPU_OP_MATMUL || slot->phase != PH_EXEC ||
	    ++*matmuls % INLINE_LOOK)
		return false;
	return onpu_card_time(slot->card) - start >= INLINE_NS;
}

/* Whether the packet that is about to be executed will take longer than an interrupt may be held. */
static bool is_heavy(const struct onpu_slot *slot)
{
	const struct onpu_matmul_desc *d = &slot->desc;

	if (slot->phase != PH_EXEC)
		return false;
	if (slot->packet.opcode != ONPU_OP_MATMUL)
		return onpu_packet_bytes(&slot->packet) / ONPU_UNIT_BYTES >= HOLD_UNITS;
	return (double)d->m * d->n * d->k * (d->batch ? d->batch : 1) >= (double)ONPU_UNIT_MACS / HOLD_UNITS;
}

/* Between two steps. */
static void look_at_held(struct onpu_slot *slot)
{
	if (slot->held && (is_heavy(slot) || held_long(slot))) {
		count_busy(slot);
		send_held(slot);
	}
}

/*
 * The turn is over: what is held stays so only if the next one follows at once, that is if
 * nobody else wants the workers.
 */
static void end_of_turn_held(struct onpu_slot *slot, bool again, bool is_inline)
{
	bool others = atomic_load_explicit(&slot->card->busy_slots, memory_order_relaxed) > 1;

	if (!again || is_inline || slot->wait_since || others)
		send_held(slot);
}

static bool run_turn(struct onpu_slot *slot, bool is_inline)
{
	uint32_t cost = 0, limit = is_inline ? INLINE_UNITS : TURN_UNITS;
	uint64_t start = slot->busy_since;
	unsigned int matmuls = 0;

	while (cost < limit) {
		bool waits = slot->wait_since != 0;
		enum step step;

		if (is_inline && (is_long(slot) || inline_over(slot, start, &matmuls)))
			return true;
		look_at_held(slot);
		slot->work = 0;
		if (waits)
			onpu_tlb_use_begin(slot);
		step = run_phase(slot);
		if (waits && step != STEP_WAIT && step != STEP_PENDING)
			wait_over(slot);
		if (step == STEP_OK || step == STEP_YIELD)
			count_up(&slot->progress);
		if (step == STEP_YIELD)
			return true;
		if (step != STEP_OK)
			return end_turn(slot, step);
		cost += 1 + slot->work;
		if (atomic_load_explicit(&slot->cancel, memory_order_relaxed) ||
		    atomic_load_explicit(&slot->suspend, memory_order_relaxed) ||
		    atomic_load_explicit(&slot->card->frozen, memory_order_relaxed))
			return true;
	}
	return true;
}

/* True while an injected delay holds the kill, or the suspension, back. */
static bool stop_delayed(struct onpu_slot *slot, bool kill)
{
	const struct onpu_inject *inj = &slot->card->inject;
	uint64_t delay = atomic_load(kill ? &inj->slow_kill_ns : &inj->slow_suspend_ns);

	if (!delay || onpu_card_time(slot->card) - atomic_load(&slot->kill_time) >= delay)
		return false;
	set_polled(slot, true);
	return true;
}

/* In the middle of a packet that never gets anywhere; only a kill helps. */
static bool hangs(struct onpu_slot *slot)
{
	return slot->phase == PH_FETCH && hang_injected(slot);
}

/* What the MCU has asked for is done between steps; true if the slot stopped, or will. */
static bool stop_if_told(struct onpu_slot *slot)
{
	bool kill = atomic_load(&slot->kill);

	if (!alive(atomic_load(&slot->state)) || (!kill && !atomic_load(&slot->suspend)))
		return false;
	if (stop_delayed(slot, kill))
		return true;
	if (kill)
		stop_killed(slot);
	else if (!hangs(slot))
		stop_suspended(slot);
	return true;
}

/* One turn of a slot that is not frozen; true if it wants another. Engaged. */
static bool slot_turn(struct onpu_slot *slot, bool is_inline)
{
	bool again = false;

	if (!atomic_load(&slot->kill) && !atomic_load(&slot->suspend)) {
		slot->busy_since = onpu_card_time(slot->card);
		again = run_turn(slot, is_inline);
		/* Between packets, with others before the next one. */
		if (slot->phase == PH_IDLE)
			onpu_tlb_use_end(slot);
		count_busy(slot);
		end_of_turn_held(slot, again, is_inline);
	}
	/* At once: the next turn may be far off when long packets occupy the workers. */
	return !stop_if_told(slot) && again;
}

/* Takes the engine fields of a slot that has something to run. */
static bool engage(struct onpu_slot *slot)
{
	bool ok;

	pthread_mutex_lock(&slot->lock);
	ok = !slot->engaged && alive(atomic_load(&slot->state));
	if (ok)
		slot->engaged = true;
	pthread_mutex_unlock(&slot->lock);
	return ok;
}

static void disengage(struct onpu_slot *slot)
{
	pthread_mutex_lock(&slot->lock);
	slot->engaged = false;
	pthread_mutex_unlock(&slot->lock);
}

/* A turn of the slot, whose sched was set to RUNNING by the caller or is KICKED. */
static void take_turn(struct onpu_slot *slot, bool is_inline)
{
	struct onpu_card *card = slot->card;
	uint32_t expected = SLOT_SCHED_RUNNING;
	bool again = false;

	if (!onpu_card_enter(card)) {
		/* Whoever thaws the card kicks all slots, perhaps just before this store. */
		atomic_store(&slot->sched, SLOT_SCHED_IDLE);
		if (!atomic_load(&card->frozen))
			onpu_slot_kick(slot);
		return;
	}
	atomic_exchange(&slot->sched, SLOT_SCHED_RUNNING);
	if (engage(slot)) {
		again = slot_turn(slot, is_inline);
		disengage(slot);
	}
	if (again)
		atomic_store(&slot->sched, SLOT_SCHED_KICKED);
	if (again || !atomic_compare_exchange_strong(&slot->sched, &expected, SLOT_SCHED_IDLE)) {
		/* Nobody does anything behind this. */
		onpu_pool_submit_again(card->pool, &slot->task);
	}
	onpu_card_leave(card);
}

static void slot_task(struct onpu_task *task)
{
	take_turn(container_of(task, struct onpu_slot, task), false);
}

void onpu_slot_kick(struct onpu_slot *slot)
{
	if (atomic_exchange(&slot->sched, SLOT_SCHED_KICKED) == SLOT_SCHED_IDLE)
		onpu_pool_submit(slot->card->pool, &slot->task);
}

/* Kicks the slot, and takes its turn if nobody else is about to. */
static void kick_inline(struct onpu_slot *slot)
{
	uint32_t expected = SLOT_SCHED_IDLE;

	if (slot->card->doorbell_inline &&
	    atomic_compare_exchange_strong(&slot->sched, &expected, SLOT_SCHED_RUNNING))
		take_turn(slot, true);
	else
		onpu_slot_kick(slot);
}

/* --- doorbells ------------------------------------------------------------ */

void onpu_doorbell(struct onpu_card *card, uint32_t queue, uint32_t value)
{
	uint32_t slot;

	atomic_store_explicit(&card->db_time[queue], onpu_engine_time(card), memory_order_relaxed);
	atomic_store(&card->db_value[queue], value);
	slot = atomic_load(&card->db_slot[queue]);
	onpu_trace(card, ONPU_TRACE_DOORBELL, queue, value, slot ? slot - 1 : UINT64_MAX);
	if (slot) {
		kick_inline(&card->slots[slot - 1]);
		return;
	}
	atomic_fetch_or(&card->db_pending[queue / 32], 1u << queue % 32);
	onpu_mcu_irq(card, ONPU_MCU_IRQ_DOORBELL);
}

/* --- commands of the MCU -------------------------------------------------- */

bool onpu_slot_config_valid(struct onpu_slot *slot)
{
	const struct onpu_card *card = slot->card;

	return slot->queue < card->n_queues && slot->asid < card->n_contexts &&
	       slot->vector < card->n_vectors && !(slot->flags & ~ONPU_QUEUE_FLAGS) &&
	       slot->order >= ONPU_RING_ORDER_MIN && slot->order <= ONPU_RING_ORDER_MAX &&
	       slot->ring % ONPU_PACKET_SIZE == 0 &&
	       slot->ctl % sizeof(struct onpu_queue_ctl) == 0 && onpu_slot_save_valid(slot);
}

static void forget_past(struct onpu_slot *slot)
{
	slot->phase = PH_IDLE;
	slot->call_left = 0;
	slot->wait_since = 0;
	/* Where the queue was before, nobody remembers. */
	slot->clock = onpu_engine_time(slot->card);
	atomic_store(&slot->cancel, false);
	atomic_store(&slot->kill, false);
	atomic_store(&slot->suspend, false);
	atomic_store(&slot->saved, 0);
	atomic_store(&slot->progress, 0);
	atomic_store(&slot->packets, 0);
	atomic_store(&slot->busy_ns, 0);
	atomic_store(&slot->fault_va, 0);
	atomic_store(&slot->fault_info, 0);
	atomic_store(&slot->opcode, 0);
}

/* slot->lock held: takes the queue, and its saved work. */
static bool own_queue(struct onpu_slot *slot, bool restore)
{
	struct onpu_card *card = slot->card;
	uint32_t none = 0;

	if (!onpu_slot_config_valid(slot) || (restore && !onpu_slot_restore(slot)))
		return false;
	if (!atomic_compare_exchange_strong(&card->db_slot[slot->queue], &none, slot->index + 1)) {
		slot->phase = PH_IDLE;
		slot->call_left = 0;
		return false;
	}
	/* A packet in progress holds translations, from here on. */
	if (slot->phase != PH_IDLE)
		onpu_tlb_use_begin(slot);
	return true;
}

static void bind_slot(struct onpu_slot *slot, bool restore)
{
	struct onpu_card *card = slot->card;
	bool ok, tell = false;

	pthread_mutex_lock(&slot->lock);
	if (atomic_load(&slot->state) != ONPU_SLOT_FREE) {
		pthread_mutex_unlock(&slot->lock);
		return;
	}
	forget_past(slot);
	ok = own_queue(slot, restore);
	atomic_store(&slot->error, ok ? ONPU_ERR_NONE : ONPU_ERR_INTERNAL);
	if (!ok) {
		set_state(slot, ONPU_SLOT_ERRORED);
		tell = add_events(slot, ONPU_SLOT_EV_ERROR);
	} else if (!restore &&
		   atomic_load(&card->db_value[slot->queue]) == atomic_load(&slot->consumer)) {
		set_state(slot, ONPU_SLOT_IDLE);
	} else {
		set_state(slot, ONPU_SLOT_RUNNING);
	}
	pthread_mutex_unlock(&slot->lock);
	onpu_trace(card, ONPU_TRACE_SLOT, slot->index, atomic_load(&slot->state), slot->queue);
	if (ok)
		onpu_slot_kick(slot);
	if (tell)
		onpu_mcu_irq(card, ONPU_MCU_IRQ_SLOT);
}

/* slot->lock held: whether nothing of the queue is left to do, with the doorbell shut. */
static bool detach_idle(struct onpu_slot *slot)
{
	struct onpu_card *card = slot->card;

	atomic_store(&card->db_slot[slot->queue], 0);
	if (atomic_load(&card->db_value[slot->queue]) == atomic_load(&slot->consumer))
		return true;
	atomic_store(&card->db_slot[slot->queue], slot->index + 1);
	return false;
}

/*
 * A slot that is not RUNNING may still have its task in the last instructions
 * of a turn, or in a turn that will find nothing to do. Both are short.
 */
static void lock_at_rest(struct onpu_slot *slot)
{
	for (;;) {
		pthread_mutex_lock(&slot->lock);
		if (!slot->engaged || atomic_load(&slot->state) == ONPU_SLOT_RUNNING)
			return;
		pthread_mutex_unlock(&slot->lock);
		sched_yield();
	}
}

static void unbind_slot(struct onpu_slot *slot)
{
	struct onpu_card *card = slot->card;
	bool kick = false, freed = false;
	uint32_t state;

	lock_at_rest(slot);
	state = atomic_load(&slot->state);
	if (state == ONPU_SLOT_IDLE && !atomic_load(&slot->kill)) {
		freed = detach_idle(slot);
		kick = !freed;
	} else if (state == ONPU_SLOT_ERRORED || state == ONPU_SLOT_KILLED ||
		   state == ONPU_SLOT_SUSPENDED) {
		/* A slot whose bind was refused never owned its queue. */
		if (slot->queue < card->n_queues &&
		    atomic_load(&card->db_slot[slot->queue]) == slot->index + 1)
			atomic_store(&card->db_slot[slot->queue], 0);
		freed = true;
	}
	if (freed) {
		set_state(slot, ONPU_SLOT_FREE);
		atomic_store(&slot->events, 0);
		atomic_store(&slot->event_enable, 0);
	}
	pthread_mutex_unlock(&slot->lock);
	if (kick)
		onpu_slot_kick(slot);
	if (freed)
		onpu_trace(card, ONPU_TRACE_SLOT, slot->index, ONPU_SLOT_FREE, slot->queue);
}

/*
 * KILL and SUSPEND: by this thread if nobody is engaged, else by the engine as soon as it sees
 * the flag. A kill outdoes a suspension.
 */
static void stop_slot(struct onpu_slot *slot, bool kill)
{
	atomic_bool *flag = kill ? &slot->kill : &slot->suspend;
	bool kick, own;

	pthread_mutex_lock(&slot->lock);
	kick = alive(atomic_load(&slot->state)) && !atomic_load(flag) && !atomic_load(&slot->kill);
	own = kick && !slot->engaged;
	if (kick) {
		atomic_store(&slot->kill_time, onpu_card_time(slot->card));
		atomic_store(flag, true);
		if (kill)
			atomic_store(&slot->cancel, true);
		slot->engaged |= own;
	}
	pthread_mutex_unlock(&slot->lock);
	if (own) {
		stop_if_told(slot);
		disengage(slot);
	} else if (kick) {
		onpu_slot_kick(slot);
	}
}

void onpu_slot_command(struct onpu_slot *slot, uint32_t cmd)
{
	switch (cmd) {
	case ONPU_SLOT_BIND:
		bind_slot(slot, false);
		break;
	case ONPU_SLOT_UNBIND:
		unbind_slot(slot);
		break;
	case ONPU_SLOT_KILL:
		stop_slot(slot, true);
		break;
	case ONPU_SLOT_SUSPEND:
		stop_slot(slot, false);
		break;
	case ONPU_SLOT_RESTORE:
		bind_slot(slot, true);
		break;
	default:
		onpu_guest_error(slot->card, "slot %u: unknown command %u", slot->index, cmd);
	}
}

/* --- whole slots, while nothing runs -------------------------------------- */

int onpu_slot_init(struct onpu_card *card, unsigned int index)
{
	struct onpu_slot *slot = &card->slots[index];

	slot->card = card;
	slot->index = index;
	onpu_task_init(&slot->task, slot_task);
	pthread_mutex_init(&slot->lock, NULL);
	pthread_mutex_init(&slot->use_lock, NULL);
	return 0;
}

void onpu_slot_fini(struct onpu_slot *slot)
{
	onpu_dma_free(slot);
	pthread_mutex_destroy(&slot->lock);
	pthread_mutex_destroy(&slot->use_lock);
}

/* Card frozen: gives mappings back; the phase starts again when the card is thawed. */
void onpu_slot_park(struct onpu_slot *slot)
{
	onpu_dma_release(slot);
	/* Nobody knows how long the machine stands still, and they are not saved. */
	send_held(slot);
}

/* Card frozen. */
void onpu_slot_reset(struct onpu_slot *slot)
{
	drop_work(slot);
	slot->held = 0;
	pthread_mutex_lock(&slot->lock);
	set_state(slot, ONPU_SLOT_FREE);
	slot->queue = 0;
	slot->asid = 0;
	slot->order = 0;
	slot->flags = 0;
	slot->vector = 0;
	slot->ring = 0;
	slot->ctl = 0;
	slot->save = 0;
	atomic_store(&slot->saved, 0);
	atomic_store(&slot->progress, 0);
	atomic_store(&slot->packets, 0);
	atomic_store(&slot->suspend, false);
	atomic_store(&slot->consumer, 0);
	atomic_store(&slot->consumer_hi, 0);
	atomic_store(&slot->events, 0);
	atomic_store(&slot->event_enable, 0);
	atomic_store(&slot->error, 0);
	atomic_store(&slot->fault_info, 0);
	atomic_store(&slot->fault_va, 0);
	atomic_store(&slot->opcode, 0);
	atomic_store(&slot->busy_ns, 0);
	atomic_store(&slot->kill, false);
	atomic_store(&slot->cancel, false);
	slot->clock = 0;
	memset(&slot->tlb, 0, sizeof(slot->tlb));
	pthread_mutex_unlock(&slot->lock);
}

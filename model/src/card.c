// SPDX-License-Identifier: MIT
/*
 * The card as a whole: creation, destruction, reset, parking, interrupts.
 *
 * Idea: parking ("freezing") the engines is the base of everything that needs
 * them to stand still. A slot's task enters the card before it does anything
 * (card->running) and leaves at once when the card is frozen; the freezer
 * waits until nobody is inside. A reset sets every slot's cancel flag first, so
 * that the wait is bounded by one tile; quiesce does not, and waits for the
 * packet parts in flight (one block of a matmul, one window of a copy).
 *
 * Locking: create, destroy, reset, quiesce, resume, save and load are
 * serialised by the caller. frozen and running are sequentially consistent
 * atomics: either the task sees frozen, or the freezer sees the task.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "onpu_internal.h"

#define DEFAULT_SLOTS		16u
#define DEFAULT_QUEUES		1024u
#define DEFAULT_CONTEXTS	64u
#define DEFAULT_VECTORS		32u
#define VRAM_MIN		(16ull << 20)

/* --- services for the other files ----------------------------------------- */

uint64_t onpu_card_time(struct onpu_card *card)
{
	return card->ops->time_ns(card->opaque) - atomic_load_explicit(&card->time_base,
								       memory_order_relaxed);
}

void onpu_guest_error(struct onpu_card *card, const char *fmt, ...)
{
	va_list ap;

	if (!card->ops->guest_error)
		return;
	va_start(ap, fmt);
	card->ops->guest_error(card->opaque, fmt, ap);
	va_end(ap);
}

static bool drop_injected(struct onpu_card *card)
{
	uint64_t left = atomic_load_explicit(&card->inject.drop_irq, memory_order_relaxed);

	while (left)
		if (atomic_compare_exchange_weak(&card->inject.drop_irq, &left, left - 1))
			return true;
	return false;
}

/* Sends an MSI-X vector; no lock held. */
void onpu_card_raise(struct onpu_card *card, unsigned int vector)
{
	if (drop_injected(card))
		return;
	atomic_fetch_add_explicit(&card->cnt.irqs, 1, memory_order_relaxed);
	onpu_trace(card, ONPU_TRACE_IRQ, vector, 0, 0);
	card->ops->irq(card->opaque, vector);
}

/* Sets causes of vector 0; no lock held. */
void onpu_card_cause(struct onpu_card *card, uint32_t bits)
{
	bool raise;

	pthread_mutex_lock(&card->lock);
	card->irq_cause |= bits;
	raise = bits & card->irq_enable;
	pthread_mutex_unlock(&card->lock);
	if (raise)
		onpu_card_raise(card, 0);
}

/*
 * Starts a thread of the card. Signals are the host program's business: all but those that
 * the thread itself may cause stay blocked in it.
 */
int onpu_thread_start(pthread_t *thread, const char *name, void *(*fn)(void *), void *arg)
{
	sigset_t block, old;
	int ret;

	sigfillset(&block);
	sigdelset(&block, SIGSEGV);
	sigdelset(&block, SIGBUS);
	sigdelset(&block, SIGFPE);
	sigdelset(&block, SIGILL);
	pthread_sigmask(SIG_SETMASK, &block, &old);
	ret = pthread_create(thread, NULL, fn, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!ret)
		pthread_setname_np(*thread, name);
	return ret;
}

/* --- freezing ------------------------------------------------------------- */

void onpu_card_leave(struct onpu_card *card)
{
	if (atomic_fetch_sub(&card->running, 1) != 1 || !atomic_load(&card->frozen))
		return;
	pthread_mutex_lock(&card->quiet_lock);
	pthread_cond_broadcast(&card->quiet);
	pthread_mutex_unlock(&card->quiet_lock);
}

/* False if the card is frozen; else onpu_card_leave() must follow. */
bool onpu_card_enter(struct onpu_card *card)
{
	atomic_fetch_add(&card->running, 1);
	if (!atomic_load(&card->frozen))
		return true;
	onpu_card_leave(card);
	return false;
}

static void freeze(struct onpu_card *card)
{
	atomic_store(&card->frozen, true);
	pthread_mutex_lock(&card->quiet_lock);
	while (atomic_load(&card->running))
		pthread_cond_wait(&card->quiet, &card->quiet_lock);
	pthread_mutex_unlock(&card->quiet_lock);
}

static void thaw(struct onpu_card *card)
{
	atomic_store(&card->frozen, false);
	pthread_mutex_lock(&card->tick_lock);
	pthread_cond_signal(&card->tick_cond);
	pthread_mutex_unlock(&card->tick_lock);
	for (unsigned int i = 0; i < card->n_slots; i++)
		onpu_slot_kick(&card->slots[i]);
}

void onpu_card_quiesce(struct onpu_card *card)
{
	if (card->quiesced)
		return;
	card->quiesced = true;
	onpu_mcu_park(card);
	freeze(card);
	for (unsigned int i = 0; i < card->n_slots; i++)
		onpu_slot_park(&card->slots[i]);
}

void onpu_card_resume(struct onpu_card *card)
{
	if (!card->quiesced)
		return;
	card->quiesced = false;
	thaw(card);
	onpu_mcu_unpark(card);
}

/* --- reset ---------------------------------------------------------------- */

static void reset_registers(struct onpu_card *card)
{
	pthread_mutex_lock(&card->lock);
	card->irq_cause = 0;
	card->irq_enable = 0;
	for (unsigned int i = 0; i < card->n_vectors; i++)
		atomic_store(&card->irq_hold[i], 0);
	card->boot_addr = 0;
	card->boot_size = 0;
	card->boot_status = 0;
	card->heartbeat = 0;
	card->fw_version = 0;
	card->fw_mbox = 0;
	card->fatal = false;
	pthread_mutex_unlock(&card->lock);

	pthread_mutex_lock(&card->inv_lock);
	card->tlb_seq = 0;
	pthread_mutex_unlock(&card->inv_lock);

	for (unsigned int i = 0; i < card->n_queues; i++) {
		atomic_store(&card->db_time[i], 0);
		atomic_store(&card->db_value[i], 0);
		atomic_store(&card->db_slot[i], 0);
	}
	for (unsigned int i = 0; i < (card->n_queues + 31) / 32; i++)
		atomic_store(&card->db_pending[i], 0);
	for (unsigned int i = 0; i < card->n_contexts; i++) {
		atomic_store(&card->contexts[i].root, 0);
		atomic_store(&card->contexts[i].ctrl, 0);
		onpu_tlb_invalidate_context(card, i);
	}
}

static void power_on(struct onpu_card *card)
{
	_Atomic uint64_t *counters[] = {
		&card->cnt.busy_ns, &card->cnt.packets, &card->cnt.matmuls, &card->cnt.matmul_ops,
		&card->cnt.copy_bytes, &card->cnt.tlb_hits, &card->cnt.tlb_walks,
		&card->cnt.faults, &card->cnt.irqs,
	};

	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		atomic_store(counters[i], 0);
	for (unsigned int i = 0; i < ONPU_ENGINES; i++) {
		atomic_store(&card->cnt.engine_ns[i], 0);
		atomic_store(&card->cnt.engine_bytes[i], 0);
		card->engines[i] = (struct engine){ 0 };
	}
	atomic_store(&card->engine_time, 0);
	atomic_store(&card->generation, 0);
	atomic_store(&card->time_base, card->ops->time_ns(card->opaque));
}

void onpu_card_reset(struct onpu_card *card, enum onpu_reset_kind kind)
{
	if (!card->quiesced)
		onpu_mcu_park(card);
	/* From here on nobody binds or kills; tiles end early. */
	for (unsigned int i = 0; i < card->n_slots; i++)
		atomic_store(&card->slots[i].cancel, true);
	freeze(card);
	for (unsigned int i = 0; i < card->n_slots; i++)
		onpu_slot_reset(&card->slots[i]);
	if (kind == ONPU_RESET_POWER_ON)
		power_on(card);
	reset_registers(card);
	onpu_mcu_reset(card);
	atomic_fetch_add(&card->generation, 1);
	onpu_trace(card, ONPU_TRACE_RESET, kind, atomic_load(&card->generation), 0);
	if (card->quiesced)
		return;
	thaw(card);
	onpu_mcu_unpark(card);
}

/* --- deterministic mode --------------------------------------------------- */

unsigned int onpu_card_run(struct onpu_card *card, unsigned int max_steps)
{
	unsigned int steps = 0;
	bool worked = true;

	if (card->threaded || card->quiesced)
		return 0;
	onpu_kick_polled(card);
	while (worked && steps < max_steps) {
		worked = false;
		if (onpu_mcu_step(card)) {
			worked = true;
			steps++;
		}
		if (steps < max_steps && onpu_pool_run_one(card->pool)) {
			worked = true;
			steps++;
		}
	}
	return steps;
}

/* --- life ----------------------------------------------------------------- */

static unsigned int or_default(unsigned int value, unsigned int def)
{
	return value ? value : def;
}

static bool parse_isa(const char *name, uint32_t *isa)
{
	*isa = ONPU_GEMM_ISA_AUTO;
	if (!name || !*name)
		return true;
	for (unsigned int i = 0; i < ONPU_GEMM_ISA_COUNT; i++) {
		if (!strcmp(name, onpu_gemm_isa_name((enum onpu_gemm_isa)i))) {
			*isa = i;
			return true;
		}
	}
	return false;
}

static int take_config(struct onpu_card *card, const struct onpu_card_config *c)
{
	card->vram = c->vram;
	card->vram_size = c->vram_size;
	card->aperture_size = c->aperture_size ? c->aperture_size : c->vram_size;
	card->fw_offset = 0;
	card->fw_size = ONPU_FW_REGION_SIZE;
	card->serial = c->serial;
	card->speed = c->speed;
	card->n_slots = or_default(c->slots, DEFAULT_SLOTS);
	card->n_queues = or_default(c->queues, DEFAULT_QUEUES);
	card->n_contexts = or_default(c->contexts, DEFAULT_CONTEXTS);
	card->n_vectors = or_default(c->vectors, DEFAULT_VECTORS);
	memcpy(card->key_hash, c->key_hash, sizeof(card->key_hash));
	card->min_svn = c->min_svn;
	card->fuse_flags = c->no_dev_key ? 0 : ONPU_FUSE_DEV_KEY;
	if (!parse_isa(c->isa, &card->isa) || !onpu_speed_init(&card->speed))
		return -EINVAL;
	if (!c->vram || (uintptr_t)c->vram % ONPU_PAGE_SIZE || c->vram_size < VRAM_MIN ||
	    c->vram_size % ONPU_HUGE_SIZE || c->vram_size > 1ull << ONPU_DMA_BITS ||
	    card->aperture_size < card->fw_size || card->aperture_size > card->vram_size)
		return -EINVAL;
	if (card->n_slots > ONPU_MAX_SLOTS || card->n_queues > ONPU_MAX_QUEUES ||
	    card->n_contexts > ONPU_MAX_CONTEXTS || card->n_vectors > ONPU_MAX_VECTORS)
		return -EINVAL;
	return 0;
}

static void init_locks(struct onpu_card *card)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&card->lock, NULL);
	pthread_mutex_init(&card->inv_lock, NULL);
	pthread_mutex_init(&card->dma_lock, NULL);
	pthread_mutex_init(&card->engine_lock, NULL);
	pthread_mutex_init(&card->quiet_lock, NULL);
	pthread_mutex_init(&card->tick_lock, NULL);
	pthread_cond_init(&card->quiet, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&card->tick_cond, &attr);
	pthread_mutex_init(&card->mcu.lock, NULL);
	pthread_cond_init(&card->mcu.cond, &attr);
	pthread_condattr_destroy(&attr);
}

static int init_arrays(struct onpu_card *card)
{
	card->db_value = calloc(card->n_queues, sizeof(*card->db_value));
	card->db_slot = calloc(card->n_queues, sizeof(*card->db_slot));
	card->db_pending = calloc((card->n_queues + 31) / 32, sizeof(*card->db_pending));
	card->db_time = calloc(card->n_queues, sizeof(*card->db_time));
	card->contexts = calloc(card->n_contexts, sizeof(*card->contexts));
	card->slots = calloc(card->n_slots, sizeof(*card->slots));
	if (!card->db_value || !card->db_slot || !card->db_pending || !card->db_time ||
	    !card->contexts || !card->slots)
		return -ENOMEM;
	for (unsigned int i = 0; i < card->n_slots; i++)
		onpu_slot_init(card, i);
	return 0;
}

/* Reading never gives the first one memory, so it costs none. */
static int init_null(struct onpu_card *card)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	void *zeros = mmap(NULL, ONPU_HUGE_SIZE, PROT_READ, flags, -1, 0);
	void *sink = mmap(NULL, ONPU_HUGE_SIZE, PROT_READ | PROT_WRITE, flags, -1, 0);

	card->null_read = zeros == MAP_FAILED ? NULL : zeros;
	card->null_write = sink == MAP_FAILED ? NULL : sink;
	return card->null_read && card->null_write ? 0 : -ENOMEM;
}

static void fini_null(struct onpu_card *card)
{
	if (card->null_read)
		munmap(card->null_read, ONPU_HUGE_SIZE);
	if (card->null_write)
		munmap(card->null_write, ONPU_HUGE_SIZE);
}

static int init_threads(struct onpu_card *card, int threads, bool doorbell_inline)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (threads < 0)
		threads = cpus > 0 ? (int)cpus : 1;
	if (threads > (int)ONPU_POOL_MAX_THREADS)
		threads = ONPU_POOL_MAX_THREADS;
	card->threaded = threads > 0;
	card->doorbell_inline = card->threaded && doorbell_inline;
	card->pool = onpu_pool_create((unsigned int)threads, "onpu");
	if (!card->pool)
		return -ENOMEM;
	return card->threaded ? -onpu_tick_start(card) : 0;
}

struct onpu_card *onpu_card_create(const struct onpu_card_config *config,
				   const struct onpu_host_ops *ops, void *opaque)
{
	struct onpu_card *card = calloc(1, sizeof(*card));
	int ret;

	if (!card)
		return NULL;
	card->ops = ops;
	card->opaque = opaque;
	init_locks(card);
	onpu_card_inject(card, "clear", 0);
	ret = take_config(card, config);
	if (!ret)
		ret = init_arrays(card);
	if (!ret)
		ret = init_null(card);
	if (!ret) {
		power_on(card);
		reset_registers(card);
		atomic_store(&card->generation, 1);
		ret = init_threads(card, config->threads, config->doorbell_inline);
		card->mcu.may_doze = card->threaded && config->heartbeat_on_demand;
	}
	if (!ret)
		ret = onpu_mcu_init(card, config->rom, config->rom_size);
	if (ret) {
		onpu_card_destroy(card);
		errno = -ret;
		return NULL;
	}
	return card;
}

void onpu_card_destroy(struct onpu_card *card)
{
	if (!card)
		return;
	onpu_mcu_fini(card);
	if (card->slots)
		for (unsigned int i = 0; i < card->n_slots; i++)
			atomic_store(&card->slots[i].cancel, true);
	freeze(card);
	onpu_tick_stop(card);
	onpu_pool_destroy(card->pool);
	if (card->slots)
		for (unsigned int i = 0; i < card->n_slots; i++)
			onpu_slot_fini(&card->slots[i]);
	free(card->db_value);
	free(card->db_slot);
	free(card->db_pending);
	free(card->db_time);
	free(card->contexts);
	free(card->slots);
	fini_null(card);
	free(card);
}

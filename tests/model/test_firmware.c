// SPDX-License-Identifier: MIT
/*
 * The card with its real boot ROM and firmware, as the driver meets it: boot,
 * mailbox, contexts, queues bound on demand, jobs, errors, kills, reset. Runs
 * in deterministic mode and with threads. argv[1] is the firmware image.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host_fixture.h"

#define VA	0x10000000ull

struct user_queue {
	uint64_t ring_off, va;
	uint8_t *fence;
	uint32_t producer, queue;
};

/* A queue with its ring, control and fence pages at va. */
static void queue_create(struct host *h, struct user_queue *q, uint32_t queue, uint32_t asid)
{
	struct onpu_msg_queue_create msg = {
		.queue = queue, .asid = asid, .ring_order = 4, .vector = 1,
	};

	memset(q, 0, sizeof(*q));
	q->queue = queue;
	q->va = VA + (uint64_t)queue * 0x10000;
	q->ring_off = fx_vram(h->fx, 4096, 4096);
	fx_map(h->fx, asid, q->va, q->ring_off, 4096, RW);
	fx_buffer(h->fx, asid, q->va + 4096, 4096);
	q->fence = fx_buffer(h->fx, asid, q->va + 8192, 4096);
	msg.ring_va = q->va;
	msg.ctl_va = q->va + 4096;
	assert_int_equal(host_request(h, ONPU_MSG_QUEUE_CREATE, &msg), ONPU_MSG_STATUS_OK);
}

static void submit(struct host *h, struct user_queue *q, struct onpu_packet p)
{
	memcpy(fx_vptr(h->fx, q->ring_off + q->producer++ % 16 * sizeof(p)), &p, sizeof(p));
	fx_wr(h->fx, ONPU_DOORBELL_BASE + q->queue * ONPU_DOORBELL_PAGE, q->producer);
}

static void wait_fence(struct host *h, struct user_queue *q, uint64_t value)
{
	while (fx_load(q->fence) != value)
		host_work(h);
}

static uint32_t queue_op(struct host *h, uint16_t type, uint32_t queue)
{
	struct onpu_msg_queue msg = { .queue = queue };

	return host_request(h, type, &msg);
}

static struct onpu_msg_queue_status status_of(struct host *h, uint32_t queue)
{
	struct onpu_msg_queue_status msg = { .queue = queue };

	assert_int_equal(host_request(h, ONPU_MSG_QUEUE_STATUS, &msg), ONPU_MSG_STATUS_OK);
	return msg;
}

static void jobs_on(int threads)
{
	struct user_queue q[12];
	struct host h;

	host_start(&h, &(struct fx_opts){ .threads = threads });
	host_bring_up(&h);
	for (uint32_t asid = 1; asid < 4; asid++)
		assert_int_equal(host_context(&h, asid), ONPU_MSG_STATUS_OK);
	/* Three times as many queues as slots; each gets its turn, again and again. */
	for (uint32_t i = 0; i < 12; i++)
		queue_create(&h, &q[i], 5 * i, 1 + i % 3);
	for (uint32_t round = 1; round < 20; round++) {
		for (uint32_t i = 0; i < 12; i++)
			submit(&h, &q[i], pk_signal(q[i].va + 8192, round * 100 + i, true));
		for (uint32_t i = 0; i < 12; i++)
			wait_fence(&h, &q[i], round * 100 + i);
	}
	while (atomic_load(&h.fx->irqs[1]) < 19 * 12)
		host_work(&h);
	assert_int_equal(atomic_load(&h.fx->irqs[1]), 19 * 12);
	assert_true(atomic_load(&h.fx->irqs[0]) > 0);
	for (uint32_t i = 0; i < 12; i++)
		assert_int_equal(queue_op(&h, ONPU_MSG_QUEUE_DESTROY, q[i].queue),
				 ONPU_MSG_STATUS_OK);
	assert_int_equal(queue_op(&h, ONPU_MSG_QUEUE_DESTROY, q[0].queue),
			 ONPU_MSG_STATUS_NOENT);
	for (uint32_t asid = 1; asid < 4; asid++) {
		struct onpu_msg_ctx msg = { .asid = asid };

		assert_int_equal(host_request(&h, ONPU_MSG_CTX_DESTROY, &msg), ONPU_MSG_STATUS_OK);
	}
	host_finish(&h);
}

static void jobs(void **state)
{
	(void)state;
	jobs_on(0);
}

static void jobs_threaded(void **state)
{
	(void)state;
	jobs_on(2);
}

static void errors_and_kills_on(int threads)
{
	struct user_queue bad, hung, good;
	struct host h;

	host_start(&h, &(struct fx_opts){ .threads = threads });
	host_bring_up(&h);
	assert_int_equal(host_context(&h, 1), ONPU_MSG_STATUS_OK);
	queue_create(&h, &bad, 1, 1);
	queue_create(&h, &hung, 2, 1);
	queue_create(&h, &good, 3, 1);
	/* A fault is reported with address and reason, and stops this queue only. */
	submit(&h, &bad, pk_signal(0x7000000000, 1, false));
	while (!h.events) {
		struct onpu_msg msg;

		if (!host_message(&h, &msg))
			host_work(&h);
	}
	assert_int_equal(h.last_error.queue, 1);
	assert_int_equal(h.last_error.asid, 1);
	assert_int_equal(h.last_error.error, ONPU_ERR_FAULT);
	assert_true(h.last_error.fault_va == 0x7000000000);
	assert_int_equal(ONPU_FAULT_INFO_REASON(h.last_error.fault_info),
			 ONPU_FAULT_NOT_PRESENT);
	assert_int_equal(h.last_error.opcode, ONPU_OP_SIGNAL);
	assert_int_equal(status_of(&h, 1).state, ONPU_QSTATE_ERROR);
	/* A queue that hangs is killed in time. */
	onpu_card_inject(h.fx->card, "hang-queue", 2);
	submit(&h, &hung, pk_nop());
	while (status_of(&h, 2).state != ONPU_QSTATE_RUNNING)
		host_work(&h);
	assert_int_equal(queue_op(&h, ONPU_MSG_QUEUE_KILL, 2), ONPU_MSG_STATUS_OK);
	assert_int_equal(status_of(&h, 2).state, ONPU_QSTATE_KILLED);
	onpu_card_inject(h.fx->card, "clear", 0);
	/* And one that takes too long to stop is reported. */
	onpu_card_inject(h.fx->card, "slow-kill", 100000);
	submit(&h, &good, pk_wait(good.va + 8192, 1, ONPU_WAIT_EQ));
	while (status_of(&h, 3).state != ONPU_QSTATE_WAITING)
		host_work(&h);
	assert_int_equal(queue_op(&h, ONPU_MSG_QUEUE_KILL, 3), ONPU_MSG_STATUS_TIMEOUT);
	onpu_card_inject(h.fx->card, "clear", 0);
	host_finish(&h);
}

static void errors_and_kills(void **state)
{
	(void)state;
	errors_and_kills_on(0);
}

static void errors_and_kills_threaded(void **state)
{
	(void)state;
	errors_and_kills_on(2);
}

static void reset_and_boot_again(void **state)
{
	struct user_queue q;
	struct host h;

	(void)state;
	host_start(&h, &(struct fx_opts){ .threads = 2 });
	for (unsigned int i = 1; i <= 3; i++) {
		host_bring_up(&h);
		h.fx->roots[1] = 0;
		assert_int_equal(host_context(&h, 1), ONPU_MSG_STATUS_OK);
		queue_create(&h, &q, 1, 1);
		submit(&h, &q, pk_signal(q.va + 8192, i, false));
		wait_fence(&h, &q, i);
		onpu_card_reset(h.fx->card, ONPU_RESET_FUNCTION);
		assert_int_equal(fx_rd(h.fx, ONPU_REG_GENERATION), i + 1);
		assert_int_equal(fx_rd(h.fx, ONPU_REG_STATUS) & ONPU_STATUS_FW_READY, 0);
	}
	host_finish(&h);
}

/* The machine stops, is saved and goes on in another card, in the middle of everything. */
static void save_and_load(void **state)
{
	struct user_queue q, waiting;
	struct onpu_card_config config = { 0 };
	struct host h, other;
	size_t size;
	void *blob;

	(void)state;
	(void)config;
	host_start(&h, &(struct fx_opts){ .threads = 2 });
	host_bring_up(&h);
	assert_int_equal(host_context(&h, 1), ONPU_MSG_STATUS_OK);
	queue_create(&h, &q, 1, 1);
	queue_create(&h, &waiting, 2, 1);
	submit(&h, &q, pk_signal(q.va + 8192, 1, false));
	wait_fence(&h, &q, 1);
	submit(&h, &waiting, pk_wait(waiting.va + 8192 + 8, 5, ONPU_WAIT_EQ));
	submit(&h, &waiting, pk_signal(waiting.va + 8192, 6, false));
	while (status_of(&h, 2).state != ONPU_QSTATE_WAITING)
		host_work(&h);

	onpu_card_quiesce(h.fx->card);
	blob = onpu_card_save(h.fx->card, &size);
	assert_non_null(blob);
	host_start(&other, &(struct fx_opts){ .threads = 2 });
	onpu_card_quiesce(other.fx->card);
	memcpy(other.fx->vram, h.fx->vram, h.fx->vram_size);
	assert_int_equal(onpu_card_load(other.fx->card, blob, size), 0);
	free(blob);
	onpu_card_resume(other.fx->card);
	other.mbox = (struct onpu_mbox_shared *)(void *)(other.region +
							 ((uint8_t *)h.mbox - h.region));
	other.seq = h.seq;
	other.fx->vram_next = h.fx->vram_next;
	memcpy(other.fx->roots, h.fx->roots, sizeof(h.fx->roots));
	q.fence = other.fx->vram + (q.fence - h.fx->vram);
	waiting.fence = other.fx->vram + (waiting.fence - h.fx->vram);
	onpu_card_resume(h.fx->card);
	host_finish(&h);

	/* Same generation, firmware alive, both queues go on. */
	assert_int_equal(fx_rd(other.fx, ONPU_REG_GENERATION), 1);
	submit(&other, &q, pk_signal(q.va + 8192, 2, false));
	wait_fence(&other, &q, 2);
	assert_int_equal(status_of(&other, 2).state, ONPU_QSTATE_WAITING);
	fx_store(waiting.fence + 8, 5);
	wait_fence(&other, &waiting, 6);
	host_finish(&other);
}

static void heartbeat_and_stall(void **state)
{
	struct host h;
	uint32_t beat;

	(void)state;
	host_start(&h, &(struct fx_opts){ .threads = 1 });
	host_bring_up(&h);
	beat = fx_rd(h.fx, ONPU_REG_HEARTBEAT);
	while (fx_rd(h.fx, ONPU_REG_HEARTBEAT) == beat)
		host_work(&h);
	onpu_card_inject(h.fx->card, "mcu-stall", 1);
	usleep(20000);
	beat = fx_rd(h.fx, ONPU_REG_HEARTBEAT);
	usleep(300000);
	assert_int_equal(fx_rd(h.fx, ONPU_REG_HEARTBEAT), beat);
	onpu_card_inject(h.fx->card, "mcu-stall", 0);
	while (fx_rd(h.fx, ONPU_REG_HEARTBEAT) == beat)
		host_work(&h);
	onpu_card_inject(h.fx->card, "mcu-crash", 0);
	assert_int_equal(fx_rd(h.fx, ONPU_REG_STATUS), ONPU_STATUS_FATAL);
	host_finish(&h);
}

static void fuses(void **state)
{
	struct fx_opts opts[] = {
		{ .threads = 1, .real_rom = true, .no_dev_key = true },
		{ .threads = 1, .real_rom = true, .min_svn = 1000000 },
	};
	const uint32_t errors[] = { ONPU_BOOT_ERR_KEY, ONPU_BOOT_ERR_ROLLBACK };

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		struct host h = { .fx = fx_create(&opts[i]) };
		uint32_t status;

		h.end = fx_now_ns() + 30000000000ull;
		h.region = h.fx->vram;
		status = host_boot(&h, host_load_image(h.region));
		assert_int_equal(ONPU_BOOT_STAGE(status), ONPU_BOOT_STAGE_FAILED);
		assert_int_equal(ONPU_BOOT_ERROR(status), errors[i]);
		host_finish(&h);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(jobs),
		cmocka_unit_test(jobs_threaded),
		cmocka_unit_test(errors_and_kills),
		cmocka_unit_test(errors_and_kills_threaded),
		cmocka_unit_test(reset_and_boot_again),
		cmocka_unit_test(save_and_load),
		cmocka_unit_test(heartbeat_and_stall),
		cmocka_unit_test(fuses),
	};

	if (argc != 2) {
		fprintf(stderr, "usage: %s FIRMWARE-IMAGE\n", argv[0]);
		return 2;
	}
	host_image = argv[1];
	return cmocka_run_group_tests_name("firmware", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Why a queue stopped and what that means for each of its submissions.
 *
 * The state of a stopped queue never changes, so it is read once and kept: it must
 * outlive the kernel's queue, because events do.
 *
 * Locking: state_lock of the queue.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void queue_release_watchers(struct accel_queue *queue)
{
	uint64_t done;

	/* Kernel queues: those that wait have the kernel wait. */
	if (queue_backend(queue) == &kernel_queue)
		return;
	pthread_mutex_lock(&queue->state_lock);
	done = queue_done(queue);
	if (done < atomic_load(&queue->submitted)) {
		atomic_store(&queue->last_done, done);
		__atomic_store_n(queue->word, WORD_OVER, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&queue->state_lock);
}

bool queue_is_over(struct accel_queue *queue)
{
	return atomic_load(&queue->state_final) || atomic_load(&queue->destroyed);
}

void queue_give_up(struct accel_queue *queue)
{
	pthread_mutex_lock(&queue->state_lock);
	if (!atomic_load(&queue->state_final)) {
		memset(&queue->state, 0, sizeof(queue->state));
		queue->state.flags = DRM_ONPU_QUEUE_DEAD;
		atomic_store(&queue->state_final, true);
	}
	pthread_mutex_unlock(&queue->state_lock);
	queue_notify(queue);
}

int queue_state(struct accel_queue *queue, struct drm_onpu_queue_get_state *state)
{
	bool stopped = false;
	int ret = 0;

	pthread_mutex_lock(&queue->state_lock);
	if (!atomic_load(&queue->state_final) && !atomic_load(&queue->destroyed)) {
		memset(&queue->state, 0, sizeof(queue->state));
		queue->state.id = queue->id;
		/* Between two kinds it is well: it has done what it was given. */
		if (queue->state.id)
			ret = device_ioctl(queue->context->device, DRM_IOCTL_ONPU_QUEUE_GET_STATE,
					   &queue->state);
		if (ret == -ENODEV) {
			queue->state.flags = DRM_ONPU_QUEUE_DEAD | DRM_ONPU_QUEUE_DEVICE_LOST;
			ret = 0;
		}
		if (!ret && queue->state.flags & DRM_ONPU_QUEUE_DEAD)
			stopped = true;
		if (stopped)
			atomic_store(&queue->state_final, true);
	}
	*state = queue->state;
	pthread_mutex_unlock(&queue->state_lock);
	if (stopped)
		queue_release_watchers(queue);
	if (ret)
		return fail(ret, "the driver does not tell the state of the queue: %s", strerror(-ret));
	return 0;
}

static const int errors[] = {
	[ACCEL_REASON_NONE] = 0,
	[ACCEL_REASON_FAULT] = -EFAULT,
	[ACCEL_REASON_BAD_PACKET] = -EBADMSG,
	[ACCEL_REASON_TIMED_OUT] = -ETIMEDOUT,
	[ACCEL_REASON_RESET] = -ECONNRESET,
	[ACCEL_REASON_DEVICE_LOST] = -ENODEV,
	[ACCEL_REASON_CANCELED] = -ECANCELED,
	[ACCEL_REASON_OTHER] = -EIO,
	[ACCEL_REASON_NO_MEMORY] = -ENOMEM,
};

static enum accel_reason reason_of(uint32_t flags)
{
	static const struct {
		uint32_t flag;
		enum accel_reason reason;
	} map[] = {
		{ DRM_ONPU_QUEUE_DEVICE_LOST, ACCEL_REASON_DEVICE_LOST },
		{ DRM_ONPU_QUEUE_FAULT, ACCEL_REASON_FAULT },
		{ DRM_ONPU_QUEUE_BAD_PACKET, ACCEL_REASON_BAD_PACKET },
		{ DRM_ONPU_QUEUE_TIMEDOUT, ACCEL_REASON_TIMED_OUT },
		{ DRM_ONPU_QUEUE_INNOCENT, ACCEL_REASON_RESET },
		{ DRM_ONPU_QUEUE_NO_MEMORY, ACCEL_REASON_NO_MEMORY },
		{ DRM_ONPU_QUEUE_DEAD, ACCEL_REASON_OTHER },
	};

	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (flags & map[i].flag)
			return map[i].reason;
	return ACCEL_REASON_NONE;
}

static void fill_reason(struct accel_status *status, enum accel_reason reason,
			const struct drm_onpu_queue_get_state *state)
{
	status->state = ACCEL_STATE_FAILED;
	status->reason = reason;
	status->error = errors[reason];
	if (reason == ACCEL_REASON_FAULT) {
		status->fault_address = state->fault_va;
		status->fault_access = ONPU_FAULT_INFO_ACCESS(state->fault_info);
		status->fault_reason = ONPU_FAULT_INFO_REASON(state->fault_info);
	}
	if (reason == ACCEL_REASON_FAULT || reason == ACCEL_REASON_BAD_PACKET)
		status->opcode = state->opcode;
}

int queue_failure(struct accel_queue *queue, uint64_t point, struct accel_status *status)
{
	struct drm_onpu_queue_get_state state;
	enum accel_reason reason;
	int ret;

	ret = queue_state(queue, &state);
	if (ret)
		return ret;
	accel_status_init(status);
	reason = reason_of(state.flags);
	if (reason == ACCEL_REASON_NONE)
		reason = atomic_load(&queue->destroyed) ? ACCEL_REASON_CANCELED : ACCEL_REASON_OTHER;
	/* What stood behind the one at fault did nothing wrong. */
	if (reason != ACCEL_REASON_RESET && reason != ACCEL_REASON_DEVICE_LOST &&
	    point != queue_done(queue) + 1)
		reason = ACCEL_REASON_CANCELED;
	fill_reason(status, reason, &state);
	return 0;
}

static const char *opcode_name(uint32_t opcode)
{
	static const char *const names[] = {
		[ONPU_OP_NOP] = "NOP", [ONPU_OP_MATMUL] = "MATMUL", [ONPU_OP_COPY] = "COPY",
		[ONPU_OP_FILL] = "FILL", [ONPU_OP_CALL] = "CALL", [ONPU_OP_WAIT] = "WAIT",
		[ONPU_OP_SIGNAL] = "SIGNAL", [ONPU_OP_BARRIER] = "BARRIER",
		[ONPU_OP_TIMESTAMP] = "TIMESTAMP", [ONPU_OP_COPY_2D] = "COPY_2D",
	};

	return opcode < ARRAY_SIZE(names) && names[opcode] ? names[opcode] : "?";
}

static const char *fault_name(uint32_t reason)
{
	static const char *const names[] = {
		[ONPU_FAULT_NONE] = "no reason", [ONPU_FAULT_VA_RANGE] = "address out of range",
		[ONPU_FAULT_NOT_PRESENT] = "not mapped", [ONPU_FAULT_PERMISSION] = "no permission",
		[ONPU_FAULT_PRIVILEGE] = "privileged page", [ONPU_FAULT_RESERVED] = "bad page table",
		[ONPU_FAULT_ADDRESS] = "bad physical address", [ONPU_FAULT_HOST] = "refused by the host",
		[ONPU_FAULT_CONTEXT] = "context not valid",
	};

	return reason < ARRAY_SIZE(names) ? names[reason] : "unknown reason";
}

void fault_text(char *text, size_t room, uint64_t address, uint32_t access, uint32_t reason)
{
	static const char *const accesses[] = { "read", "write", "command fetch" };

	snprintf(text, room, "%s of address 0x%" PRIx64 " (%s)",
		 access < ARRAY_SIZE(accesses) ? accesses[access] : "access", address,
		 fault_name(reason));
}

/* Says in words what @status tells. */
static void describe(const struct accel_status *status, char *text, size_t room)
{
	char fault[128];

	switch (status->reason) {
	case ACCEL_REASON_FAULT:
		fault_text(fault, sizeof(fault), status->fault_address, status->fault_access,
			   status->fault_reason);
		snprintf(text, room, "the card faulted: %s by %s", fault, opcode_name(status->opcode));
		break;
	case ACCEL_REASON_BAD_PACKET:
		snprintf(text, room, "the card found a %s command malformed",
			 opcode_name(status->opcode));
		break;
	case ACCEL_REASON_TIMED_OUT:
		snprintf(text, room, "the work ran longer than the driver allows and was stopped");
		break;
	case ACCEL_REASON_RESET:
		snprintf(text, room, "the card was reset because of other work");
		break;
	case ACCEL_REASON_DEVICE_LOST:
		snprintf(text, room, "the card is gone");
		break;
	case ACCEL_REASON_NO_MEMORY:
		snprintf(text, room, "what the context has in card memory found no room there any more");
		break;
	case ACCEL_REASON_CANCELED:
		snprintf(text, room, "canceled: earlier work of the queue failed, or the queue was destroyed");
		break;
	default:
		snprintf(text, room, "the driver stopped the queue and gives no closer reason");
	}
}

int queue_report(const struct accel_status *status)
{
	char text[256];

	describe(status, text, sizeof(text));
	return fail(status->error, "%s", text);
}

int queue_dead(struct accel_queue *queue)
{
	struct drm_onpu_queue_get_state state;
	struct accel_status status;
	char text[256];

	if (queue_state(queue, &state))
		return fail(-ECANCELED, "the queue has stopped");
	/* A card that is gone, and not only given up, says so to everybody. */
	if (state.flags & DRM_ONPU_QUEUE_DEVICE_LOST && device_is_gone(queue->context->device))
		return fail(-ENODEV, "the card is gone");
	accel_status_init(&status);
	fill_reason(&status, reason_of(state.flags), &state);
	describe(&status, text, sizeof(text));
	return fail(-ECANCELED, "the queue has stopped: %s", text);
}

int accel_queue_get_status(struct accel_queue *queue, struct accel_status *status)
{
	struct drm_onpu_queue_get_state state;
	struct accel_status local;
	int ret;

	api_begin(__func__);
	ret = queue_check(queue);
	if (ret)
		return ret;
	if (!status)
		return fail(-EINVAL, "status is NULL");
	ret = queue_state(queue, &state);
	if (ret)
		return ret;
	accel_status_init(&local);
	if (state.flags)
		fill_reason(&local, reason_of(state.flags), &state);
	local.submitted = atomic_load(&queue->submitted);
	local.completed = state.flags ? queue_backend(queue)->over(queue) : queue_done(queue);
	return copy_out(status, &local, sizeof(local), sizeof(local), "accel_status");
}

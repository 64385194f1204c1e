/* SPDX-License-Identifier: MIT */
/*
 * Copy and fill, and what all operations check of their operands.
 *
 * Locking: none here; queue_submit() has it.
 */
#include "internal.h"

#include <inttypes.h>

int check_range(const struct accel_queue *queue, const char *name,
		const struct accel_buffer *buffer, uint64_t offset, uint64_t size, bool write)
{
	if (!buffer)
		return fail(-EINVAL, "%s: buffer is NULL", name);
	if (buffer->bo.context != queue->context)
		return fail(-EXDEV, "%s: the buffer belongs to another context than the queue", name);
	if (offset > buffer->size || size > buffer->size - offset)
		return fail(-EINVAL, "%s: offset %" PRIu64 " + %" PRIu64 " bytes is outside the buffer of %"
			    PRIu64 " bytes", name, offset, size, buffer->size);
	if (buffer_check_content(buffer))
		return fail(-ENODATA, "%s: the buffer is purgeable, its content may be gone: say ACCEL_ADVICE_NEEDED first",
			    name);
	if (write && buffer->flags & ACCEL_BUFFER_CARD_READONLY)
		return fail(-EACCES, "%s: the buffer is ACCEL_BUFFER_CARD_READONLY", name);
	return 0;
}

/*
 * Panels of one buffer may interleave, so when the outlines meet, the rows decide: both ascend, so
 * one pass over them does.
 */
bool rows_overlap(const struct rows *x, const struct rows *y)
{
	uint64_t i = 0, j = 0;

	if (!buffer_same(x->buffer, y->buffer) || x->offset >= y->offset + y->extent ||
	    y->offset >= x->offset + x->extent)
		return false;
	while (i < x->rows && j < y->rows) {
		uint64_t a = x->offset + i * x->stride, b = y->offset + j * y->stride;

		if (a < b + y->row_bytes && b < a + x->row_bytes)
			return true;
		if (a < b)
			i++;
		else
			j++;
	}
	return false;
}

/* The arguments of a copy as a packet. */
static int build_copy(struct accel_queue *queue, struct accel_buffer *const buffers[2],
		      const uint64_t offsets[2], uint64_t size, struct onpu_packet *packet)
{
	int ret;

	ret = queue_check(queue);
	if (!ret)
		ret = check_range(queue, "target", buffers[0], offsets[0], size, true);
	if (!ret)
		ret = check_range(queue, "source", buffers[1], offsets[1], size, false);
	if (ret)
		return ret;
	if (buffer_same(buffers[0], buffers[1]) && offsets[0] < offsets[1] + size &&
	    offsets[1] < offsets[0] + size)
		return fail(-EINVAL, "target and source overlap");
	*packet = (struct onpu_packet){ .opcode = ONPU_OP_COPY };
	packet->copy.dst_va = buffer_va(buffers[0]) + offsets[0];
	packet->copy.src_va = buffer_va(buffers[1]) + offsets[1];
	packet->copy.size = size;
	return 0;
}

int accel_copy_async(struct accel_queue *queue, struct accel_buffer *target, uint64_t target_offset,
		     struct accel_buffer *source, uint64_t source_offset, uint64_t size,
		     struct accel_event **event)
{
	struct accel_buffer *const buffers[] = { target, source };
	const uint64_t offsets[] = { target_offset, source_offset };
	struct onpu_packet packet;
	const struct submission submission = { &packet, 1, NULL, 0, buffers, 2, NULL, NULL };
	int ret;

	api_begin(__func__);
	ret = build_copy(queue, buffers, offsets, size, &packet);
	return ret ? ret : queue_submit_event(queue, &submission, event);
}

int accel_copy(struct accel_queue *queue, struct accel_buffer *target, uint64_t target_offset,
	       struct accel_buffer *source, uint64_t source_offset, uint64_t size)
{
	struct accel_buffer *const buffers[] = { target, source };
	const uint64_t offsets[] = { target_offset, source_offset };
	struct onpu_packet packet;
	const struct submission submission = { &packet, 1, NULL, 0, buffers, 2, NULL, NULL };
	int ret;

	api_begin(__func__);
	ret = build_copy(queue, buffers, offsets, size, &packet);
	return ret ? ret : queue_submit_wait(queue, &submission);
}

/* Of one side of a copy of rows: checked, with its extent filled in. */
static int check_rows(const struct accel_queue *queue, const char *name, struct rows *side, bool write)
{
	uint64_t extent;

	if (side->rows <= 1)
		side->stride = side->row_bytes;
	if (__builtin_mul_overflow(side->rows ? side->rows - 1 : 0, side->stride, &extent) ||
	    __builtin_add_overflow(extent, side->row_bytes, &extent))
		return fail(-EINVAL, "%s: the rows reach beyond 2^64 bytes", name);
	side->extent = side->rows && side->row_bytes ? extent : 0;
	return check_range(queue, name, side->buffer, side->offset, side->extent, write);
}

static int build_copy_2d(struct accel_queue *queue, struct rows *target, struct rows *source,
			 struct onpu_packet *packet)
{
	int ret = queue_check(queue);

	if (ret)
		return ret;
	if (!(queue->context->device->caps.opcodes & 1u << ONPU_OP_COPY_2D))
		return fail(-EOPNOTSUPP, "the card does not know copies of rows");
	if (target->rows > UINT32_MAX)
		return fail(-EINVAL, "%" PRIu64 " rows are more than 2^32 - 1", target->rows);
	if (target->rows > 1 && target->stride < target->row_bytes)
		return fail(-EINVAL, "target: pitch %" PRIu64 " is less than a row of %" PRIu64 " bytes",
			    target->stride, target->row_bytes);
	ret = check_rows(queue, "target", target, true);
	if (!ret)
		ret = check_rows(queue, "source", source, false);
	if (ret)
		return ret;
	*packet = (struct onpu_packet){ .opcode = ONPU_OP_COPY_2D };
	packet->copy_2d.dst_va = buffer_va(target->buffer) + target->offset;
	packet->copy_2d.src_va = buffer_va(source->buffer) + source->offset;
	packet->copy_2d.dst_pitch = target->stride;
	packet->copy_2d.src_pitch = source->stride;
	packet->copy_2d.row_bytes = target->row_bytes;
	packet->copy_2d.rows = (uint32_t)target->rows;
	/* Rows without bytes between them are one. */
	if (source->stride <= source->row_bytes && source->extent) {
		source->row_bytes = source->extent;
		source->rows = 1;
	}
	if (target->extent && rows_overlap(target, source))
		return fail(-EINVAL, "target and source overlap");
	return 0;
}

int accel_copy_2d_async(struct accel_queue *queue, struct accel_buffer *target,
			uint64_t target_offset, uint64_t target_pitch, struct accel_buffer *source,
			uint64_t source_offset, uint64_t source_pitch, uint64_t row_bytes,
			uint64_t rows, struct accel_event **event)
{
	struct accel_buffer *const buffers[] = { target, source };
	struct rows to = { target, target_offset, rows, row_bytes, target_pitch, 0 };
	struct rows from = { source, source_offset, rows, row_bytes, source_pitch, 0 };
	struct onpu_packet packet;
	const struct submission submission = { &packet, 1, NULL, 0, buffers, 2, NULL, NULL };
	int ret;

	api_begin(__func__);
	ret = build_copy_2d(queue, &to, &from, &packet);
	return ret ? ret : queue_submit_event(queue, &submission, event);
}

int accel_copy_2d(struct accel_queue *queue, struct accel_buffer *target, uint64_t target_offset,
		  uint64_t target_pitch, struct accel_buffer *source, uint64_t source_offset,
		  uint64_t source_pitch, uint64_t row_bytes, uint64_t rows)
{
	struct accel_buffer *const buffers[] = { target, source };
	struct rows to = { target, target_offset, rows, row_bytes, target_pitch, 0 };
	struct rows from = { source, source_offset, rows, row_bytes, source_pitch, 0 };
	struct onpu_packet packet;
	const struct submission submission = { &packet, 1, NULL, 0, buffers, 2, NULL, NULL };
	int ret;

	api_begin(__func__);
	ret = build_copy_2d(queue, &to, &from, &packet);
	return ret ? ret : queue_submit_wait(queue, &submission);
}

static int build_fill(struct accel_queue *queue, struct accel_buffer *buffer, uint64_t offset,
		      uint64_t size, uint32_t pattern, struct onpu_packet *packet)
{
	int ret;

	ret = queue_check(queue);
	if (!ret)
		ret = check_range(queue, "target", buffer, offset, size, true);
	if (ret)
		return ret;
	if (offset % 4 || size % 4)
		return fail(-EINVAL, "offset %" PRIu64 " and size %" PRIu64 " are not multiples of 4", offset,
			    size);
	*packet = (struct onpu_packet){ .opcode = ONPU_OP_FILL };
	packet->fill.dst_va = buffer_va(buffer) + offset;
	packet->fill.size = size;
	packet->fill.pattern = pattern;
	return 0;
}

int accel_fill_async(struct accel_queue *queue, struct accel_buffer *buffer, uint64_t offset,
		     uint64_t size, uint32_t pattern, struct accel_event **event)
{
	struct onpu_packet packet;
	const struct submission submission = { &packet, 1, NULL, 0, &buffer, 1, NULL, NULL };
	int ret;

	api_begin(__func__);
	ret = build_fill(queue, buffer, offset, size, pattern, &packet);
	return ret ? ret : queue_submit_event(queue, &submission, event);
}

int accel_fill(struct accel_queue *queue, struct accel_buffer *buffer, uint64_t offset,
	       uint64_t size, uint32_t pattern)
{
	struct onpu_packet packet;
	const struct submission submission = { &packet, 1, NULL, 0, &buffer, 1, NULL, NULL };
	int ret;

	api_begin(__func__);
	ret = build_fill(queue, buffer, offset, size, pattern, &packet);
	return ret ? ret : queue_submit_wait(queue, &submission);
}

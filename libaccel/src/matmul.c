/* SPDX-License-Identifier: MIT */
/*
 * Matmul: from struct accel_matmul to the card's descriptor, with every mistake named.
 *
 * Locking: none here; queue_submit() has it.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MATMUL_FLAGS (ACCEL_MATMUL_TRANS_A | ACCEL_MATMUL_TRANS_B | ACCEL_MATMUL_ACCUMULATE)

_Static_assert(ACCEL_MATMUL_TRANS_A == ONPU_MATMUL_TRANS_A &&
	       ACCEL_MATMUL_TRANS_B == ONPU_MATMUL_TRANS_B &&
	       ACCEL_MATMUL_ACCUMULATE == ONPU_MATMUL_ACCUMULATE, "flags pass through");

/* A checked operand. */
struct operand {
	struct rows at;
	uint64_t ld;
	uint32_t type;
};

/* Copies a structure of the caller's version in; what we do not know must be zero. */
static int copy_in(struct accel_matmul *to, const struct accel_matmul *from)
{
	const uint8_t *tail = (const uint8_t *)from;
	size_t size;

	if (!from)
		return fail(-EINVAL, "matmul is NULL");
	size = from->size;
	if (size < sizeof(*to))
		return fail(-EINVAL, "size is %zu, set it to sizeof(struct accel_matmul)", size);
	for (size_t i = sizeof(*to); i < size && i < 65536; i++)
		if (tail[i])
			return fail(-EINVAL, "byte %zu of the structure asks for something newer than this library",
				    i);
	if (size > 65536)
		return fail(-EINVAL, "size is %zu, set it to sizeof(struct accel_matmul)", size);
	*to = *from;
	return 0;
}

static int check_dims(const struct accel_queue *queue, const struct accel_matmul *p)
{
	const struct { char name; uint32_t value; } dims[] = {
		{ 'm', p->m }, { 'n', p->n }, { 'k', p->k },
	};
	uint32_t max = queue->context->device->caps.dim_max;

	for (size_t i = 0; i < ARRAY_SIZE(dims); i++) {
		if (!dims[i].value)
			return fail(-EINVAL, "%c is 0", dims[i].name);
		if (dims[i].value > max)
			return fail(-EINVAL, "%c %u is larger than the card's %u", dims[i].name, dims[i].value,
				    max);
	}
	return 0;
}

static const char *type_text(uint32_t type)
{
	const char *name = accel_type_name(type);

	return name ? name : "of unknown type";
}

/* Fills in default types and checks that the card multiplies them. */
static int check_types(const struct accel_queue *queue, struct accel_matmul *p)
{
	const struct drm_onpu_query_device *caps = &queue->context->device->caps;
	uint32_t result = p->a.type == ACCEL_TYPE_I8 ? ACCEL_TYPE_I32 : ACCEL_TYPE_F32;

	if (!accel_type_bits(p->a.type))
		return fail(-EINVAL, "a: unknown type %u", p->a.type);
	if (p->a.type > ACCEL_TYPE_E5M2)
		return fail(-ENOTSUP, "a is %s: that takes an accel_plan_create()", type_text(p->a.type));
	if (p->b.type == ACCEL_TYPE_DEFAULT)
		p->b.type = p->a.type;
	if (p->d.type == ACCEL_TYPE_DEFAULT)
		p->d.type = result;
	if (p->c.type == ACCEL_TYPE_DEFAULT)
		p->c.type = p->d.type;
	if (p->a.type != p->b.type)
		return fail(-ENOTSUP, "a is %s, b is %s: the card multiplies equal types only",
			    type_text(p->a.type), type_text(p->b.type));
	if (!(caps->dtypes_in >> p->a.type & 1))
		return fail(-ENOTSUP, "the card does not multiply %s", type_text(p->a.type));
	if (p->d.type != result || !(caps->dtypes_out >> result & 1))
		return fail(-ENOTSUP, "d is %s: %s times %s gives %s", type_text(p->d.type),
			    type_text(p->a.type), type_text(p->b.type), type_text(result));
	if (p->c.type != p->d.type)
		return fail(-ENOTSUP, "c is %s, d is %s: they must be equal", type_text(p->c.type),
			    type_text(p->d.type));
	return 0;
}

static int check_operand(const struct accel_queue *queue, const char *name,
			 const struct accel_matrix *matrix, uint32_t rows, uint32_t columns,
			 const char *columns_name, bool write, struct operand *operand)
{
	uint64_t element = accel_type_size(matrix->type);
	uint64_t ld = matrix->ld ? matrix->ld : columns;
	uint64_t stride = ld * element;

	if (matrix->reserved)
		return fail(-EINVAL, "%s: reserved is not 0", name);
	if (ld < columns)
		return fail(-EINVAL, "ld%s %" PRIu64 " is smaller than %s %u", name, ld, columns_name,
			    columns);
	if (ld > ONPU_MATMUL_LD_MAX)
		return fail(-EINVAL, "ld%s %" PRIu64 " is larger than %llu", name, ld, ONPU_MATMUL_LD_MAX);
	if (matrix->offset % element)
		return fail(-EINVAL, "%s: offset %" PRIu64 " is not a multiple of the element size %" PRIu64, name,
			    matrix->offset, element);
	*operand = (struct operand){
		.at = {
			.buffer = matrix->buffer,
			.offset = matrix->offset,
			.rows = rows,
			.row_bytes = columns * element,
			.stride = stride,
		},
		.ld = ld,
		.type = matrix->type,
	};
	if (__builtin_mul_overflow(stride, rows - 1ull, &operand->at.extent) ||
	    __builtin_add_overflow(operand->at.extent, operand->at.row_bytes, &operand->at.extent))
		return fail(-EINVAL, "%s: %u rows of ld %" PRIu64 " are outside any buffer", name, rows, ld);
	return check_range(queue, name, matrix->buffer, matrix->offset, operand->at.extent, write);
}

static uint64_t address(const struct operand *operand)
{
	return buffer_va(operand->at.buffer) + operand->at.offset;
}

static bool same_place(const struct operand *x, const struct operand *y)
{
	return x->at.buffer == y->at.buffer && x->at.offset == y->at.offset &&
	       (x->ld == y->ld || x->at.rows == 1);
}

static int check_c(const struct accel_queue *queue, struct accel_matmul *p,
		   const struct operand *d, struct operand *c)
{
	int ret;

	if (!(p->flags & ACCEL_MATMUL_ACCUMULATE)) {
		if (p->c.buffer || p->c.offset || p->c.ld)
			return fail(-EINVAL, "c is given without ACCEL_MATMUL_ACCUMULATE");
		return 0;
	}
	if (!p->c.buffer) {
		if (p->c.offset || p->c.ld)
			return fail(-EINVAL, "c: offset or ld is given without a buffer");
		*c = *d;
		return 0;
	}
	ret = check_operand(queue, "c", &p->c, p->m, p->n, "n", false, c);
	if (ret)
		return ret;
	if (!same_place(c, d) && rows_overlap(&c->at, &d->at))
		return fail(-EINVAL, "c and d overlap without being the same");
	return 0;
}

static void fill_desc(struct onpu_matmul_desc *desc, const struct accel_matmul *p,
		      const struct operand *a, const struct operand *b,
		      const struct operand *c, const struct operand *d)
{
	memset(desc, 0, sizeof(*desc));
	desc->a_type = (uint8_t)a->type;
	desc->b_type = (uint8_t)b->type;
	desc->d_type = (uint8_t)d->type;
	desc->flags = p->flags;
	desc->m = p->m;
	desc->n = p->n;
	desc->k = p->k;
	desc->a_va = address(a);
	desc->b_va = address(b);
	desc->d_va = address(d);
	desc->lda = a->ld;
	desc->ldb = b->ld;
	desc->ldd = d->ld;
	if (p->flags & ACCEL_MATMUL_ACCUMULATE) {
		desc->c_type = (uint8_t)c->type;
		desc->c_va = address(c);
		desc->ldc = c->ld;
	}
}

/* Checks @from and fills in the descriptor and the four buffers (C may be NULL). */
static int build(const struct accel_queue *queue, const struct accel_matmul *from,
		 struct onpu_matmul_desc *desc, struct accel_buffer *buffers[4])
{
	struct operand a, b, c, d;
	struct accel_matmul p;
	bool ta, tb;
	int ret;

	ret = copy_in(&p, from);
	if (ret)
		return ret;
	if (p.flags & ~MATMUL_FLAGS)
		return fail(-EINVAL, "unknown flags 0x%x", p.flags & ~MATMUL_FLAGS);
	ta = p.flags & ACCEL_MATMUL_TRANS_A;
	tb = p.flags & ACCEL_MATMUL_TRANS_B;
	ret = check_dims(queue, &p);
	if (!ret)
		ret = check_types(queue, &p);
	if (!ret)
		ret = check_operand(queue, "a", &p.a, ta ? p.k : p.m, ta ? p.m : p.k,
				    ta ? "m" : "k", false, &a);
	if (!ret)
		ret = check_operand(queue, "b", &p.b, tb ? p.n : p.k, tb ? p.k : p.n,
				    tb ? "k" : "n", false, &b);
	if (!ret)
		ret = check_operand(queue, "d", &p.d, p.m, p.n, "n", true, &d);
	if (!ret)
		ret = check_c(queue, &p, &d, &c);
	if (ret)
		return ret;
	if (rows_overlap(&a.at, &d.at) || rows_overlap(&b.at, &d.at))
		return fail(-EINVAL, "d overlaps %s", rows_overlap(&a.at, &d.at) ? "a" : "b");
	fill_desc(desc, &p, &a, &b, &c, &d);
	buffers[0] = p.a.buffer;
	buffers[1] = p.b.buffer;
	buffers[2] = p.d.buffer;
	buffers[3] = p.c.buffer;
	return 0;
}

/* Memory for a submission of many matmuls; one needs none. */
struct batch {
	struct onpu_packet *packets;
	struct onpu_matmul_desc *descs;
	struct accel_buffer **buffers;
	unsigned int buffer_count;
};

static int batch_add(const struct accel_queue *queue, struct batch *batch, unsigned int index,
		     const struct accel_matmul *matmul)
{
	struct accel_buffer *used[4];
	int ret = build(queue, matmul, &batch->descs[index], used);

	if (ret)
		return ret;
	batch->packets[index] = (struct onpu_packet){ .opcode = ONPU_OP_MATMUL };
	batch->packets[index].matmul.desc_va = index;
	for (size_t i = 0; i < ARRAY_SIZE(used); i++)
		if (used[i])
			batch->buffers[batch->buffer_count++] = used[i];
	return 0;
}

static int run(struct accel_queue *queue, const struct batch *batch, unsigned int count, bool wait,
	       struct accel_event **event)
{
	const struct submission submission = {
		.packets = batch->packets,
		.packet_count = count,
		.descs = batch->descs,
		.desc_count = count,
		.buffers = batch->buffers,
		.buffer_count = batch->buffer_count,
	};

	return wait ? queue_submit_wait(queue, &submission) :
		      queue_submit_event(queue, &submission, event);
}

static int matmul_one(struct accel_queue *queue, const struct accel_matmul *matmul, bool wait,
		      struct accel_event **event)
{
	struct onpu_packet packet;
	struct onpu_matmul_desc desc;
	struct accel_buffer *buffers[4];
	struct batch batch = { &packet, &desc, buffers, 0 };
	int ret;

	ret = queue_check(queue);
	if (!ret)
		ret = batch_add(queue, &batch, 0, matmul);
	return ret ? ret : run(queue, &batch, 1, wait, event);
}

static int fill_batch(const struct accel_queue *queue, struct batch *batch,
		      const struct accel_matmul *matmuls, unsigned int count)
{
	const uint8_t *next = (const uint8_t *)matmuls;

	for (unsigned int i = 0; i < count; i++) {
		const struct accel_matmul *matmul = (const struct accel_matmul *)(const void *)next;
		int ret = batch_add(queue, batch, i, matmul);

		if (ret)
			return fail_index(ret, i);
		/* A newer caller's elements are larger. */
		next += matmul->size;
	}
	return 0;
}

static int matmul_many(struct accel_queue *queue, const struct accel_matmul *matmuls,
		       unsigned int count, bool wait, struct accel_event **event)
{
	struct batch batch = { 0 };
	int ret;

	ret = queue_check(queue);
	if (ret)
		return ret;
	if (!count || !matmuls)
		return fail(-EINVAL, "%s", matmuls ? "count is 0" : "matmuls is NULL");
	if (count >= ONPU_CALL_MAX)
		return fail(-E2BIG, "count %u is larger than %u", count, ONPU_CALL_MAX - 1);
	batch.packets = malloc(count * sizeof(*batch.packets));
	batch.descs = malloc(count * sizeof(*batch.descs));
	batch.buffers = malloc(count * 4 * sizeof(*batch.buffers));
	if (batch.packets && batch.descs && batch.buffers)
		ret = fill_batch(queue, &batch, matmuls, count);
	else
		ret = fail(-ENOMEM, "out of memory");
	if (!ret)
		ret = run(queue, &batch, count, wait, event);
	free(batch.packets);
	free(batch.descs);
	free(batch.buffers);
	return ret;
}

int accel_matmul_async(struct accel_queue *queue, const struct accel_matmul *matmul,
		       struct accel_event **event)
{
	api_begin(__func__);
	return matmul_one(queue, matmul, false, event);
}

int accel_matmul(struct accel_queue *queue, const struct accel_matmul *matmul)
{
	api_begin(__func__);
	return matmul_one(queue, matmul, true, NULL);
}

int accel_matmul_many_async(struct accel_queue *queue, const struct accel_matmul *matmuls,
			    unsigned int count, struct accel_event **event)
{
	api_begin(__func__);
	return matmul_many(queue, matmuls, count, false, event);
}

int accel_matmul_many(struct accel_queue *queue, const struct accel_matmul *matmuls,
		      unsigned int count)
{
	api_begin(__func__);
	return matmul_many(queue, matmuls, count, true, NULL);
}

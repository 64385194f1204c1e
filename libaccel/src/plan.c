/* SPDX-License-Identifier: MIT */
/*
 * Matmul plans.
 *
 * Idea: creating a plan judges everything that does not depend on buffers, in the card's own
 * terms, and keeps the finished descriptor without addresses together with what each operand needs: bytes,
 * alignment, rows. A run only places operands and fills in addresses.
 *
 * Locking: none here. A plan does not change; queue_submit() has its own.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define CARD_FLAGS	ONPU_MATMUL_FLAGS
#define OWN_FLAGS	(ACCEL_PLAN_ROW_SCALE | ACCEL_PLAN_COL_SCALE | ACCEL_PLAN_D_SCALE | \
			 ACCEL_PLAN_D_ZERO | ACCEL_PLAN_B_ZERO)

_Static_assert(ACCEL_PLAN_ALPHA == ONPU_MATMUL_ALPHA && ACCEL_PLAN_BETA == ONPU_MATMUL_BETA &&
	       ACCEL_PLAN_BATCH_VECTORS == ONPU_MATMUL_BATCH_VECTORS &&
	       ACCEL_PLAN_D_SCALE_ROWS == ONPU_MATMUL_D_SCALE_ROWS &&
	       ACCEL_PLAN_D_SCALE_COLS == ONPU_MATMUL_D_SCALE_COLS &&
	       ACCEL_PLAN_NO_SATURATE == ONPU_MATMUL_NO_SATURATE, "flags pass through");
_Static_assert((int)ACCEL_ACTIVATION_SILU == (int)ONPU_ACT_SILU &&
	       (int)ACCEL_ACTIVATION_GELU_ERF == (int)ONPU_ACT_GELU_ERF, "activations pass through");
_Static_assert((int)ACCEL_BATCH_GROUPED == (int)ONPU_BATCH_GROUPED &&
	       (int)ACCEL_BATCH_ITEMS == (int)ONPU_BATCH_ITEMS, "batch modes pass through");
_Static_assert(sizeof(struct accel_plan_item) == sizeof(struct onpu_matmul_item),
	       "items pass through");

static const char *const names[ACCEL_OPERANDS] = {
	"a", "b", "c", "d", "a_scale", "b_scale", "b_zero", "bias", "row_scale", "col_scale",
	"residual", "d_scale", "d_zero", "items",
};

/* An operand that a run must place: rows of row_bytes, stride apart, in bytes altogether. */
struct need {
	uint64_t bytes;		/* 0: not used */
	uint64_t rows, row_bytes, stride;
	uint32_t align;
};

struct accel_plan {
	struct onpu_matmul_desc desc;	/* without addresses */
	struct need needs[ACCEL_OPERANDS];
	uint32_t dtypes_in, dtypes_out, dim_max;	/* of the card that it was made for */
};

static bool is_mx(uint32_t type)
{
	return type >= ACCEL_TYPE_MXFP8_E4M3 && type <= ACCEL_TYPE_MXFP4_E2M1;
}

static bool is_integer(uint32_t type)
{
	return type == ACCEL_TYPE_I8 || type == ACCEL_TYPE_I4;
}

static bool is_float(uint32_t type)
{
	return type == ACCEL_TYPE_F32 || type == ACCEL_TYPE_BF16 || type == ACCEL_TYPE_F16;
}

static const char *text(uint32_t type)
{
	const char *name = accel_type_name(type);

	return name ? name : "of unknown type";
}

static int copy_config(struct accel_plan_config *to, const struct accel_plan_config *from)
{
	const uint8_t *tail = (const uint8_t *)from;

	if (!from)
		return fail(-EINVAL, "config is NULL");
	if (from->size < sizeof(*to) || from->size > 65536)
		return fail(-EINVAL, "size is %zu, set it to sizeof(struct accel_plan_config)",
			    from->size);
	for (size_t i = sizeof(*to); i < from->size; i++)
		if (tail[i])
			return fail(-EINVAL, "byte %zu of the structure asks for something newer than this library",
				    i);
	*to = *from;
	return 0;
}

static int check_dims(const struct drm_onpu_query_device *caps, const struct accel_plan_config *p)
{
	const struct { char name; uint32_t value; } dims[] = {
		{ 'm', p->m }, { 'n', p->n }, { 'k', p->k },
	};

	for (size_t i = 0; i < ARRAY_SIZE(dims); i++)
		if (!dims[i].value || dims[i].value > caps->dim_max)
			return fail(-EINVAL, "%c %u is not within 1 .. %u, what the card takes", dims[i].name,
				    dims[i].value, caps->dim_max);
	return 0;
}

/* The type of the sums of A and B, or an error. */
static int sum_type(const struct drm_onpu_query_device *caps, const struct accel_plan_config *p)
{
	const struct { char name; uint32_t type; } inputs[] = { { 'a', p->a_type }, { 'b', p->b_type } };

	for (size_t i = 0; i < ARRAY_SIZE(inputs); i++) {
		if (!accel_type_bits(inputs[i].type))
			return fail(-EINVAL, "%c: unknown type %u", inputs[i].name, inputs[i].type);
		if (!(caps->dtypes_in >> inputs[i].type & 1))
			return fail(-ENOTSUP, "%c is %s, which the card does not multiply", inputs[i].name,
				    text(inputs[i].type));
	}
	if (p->b_group) {
		if (p->b_group != 32 && p->b_group != 64 && p->b_group != 128)
			return fail(-EINVAL, "b_group %u is none of 32, 64, 128", p->b_group);
		if (!is_integer(p->b_type) ||
		    (p->a_type != ACCEL_TYPE_BF16 && p->a_type != ACCEL_TYPE_F16))
			return fail(-ENOTSUP, "a is %s, b is %s: groups are for i8 and i4 weights with bf16 or f16",
				    text(p->a_type), text(p->b_type));
		if (p->b_scale_type != ACCEL_TYPE_F16 && p->b_scale_type != ACCEL_TYPE_BF16)
			return fail(-ENOTSUP, "b_scale_type is %s: scales of groups are f16 or bf16",
				    text(p->b_scale_type));
		return ACCEL_TYPE_F32;
	}
	if (p->b_scale_type || p->flags & ACCEL_PLAN_B_ZERO)
		return fail(-EINVAL, "%s is given without b_group",
			    p->b_scale_type ? "b_scale_type" : "ACCEL_PLAN_B_ZERO");
	if (is_integer(p->a_type) != is_integer(p->b_type))
		return fail(-ENOTSUP, "a is %s, b is %s: an integer and a floating-point type do not multiply",
			    text(p->a_type), text(p->b_type));
	return is_integer(p->a_type) ? ACCEL_TYPE_I32 : ACCEL_TYPE_F32;
}

static bool has_steps(const struct accel_plan_config *p)
{
	return p->flags & (ACCEL_PLAN_ALPHA | ACCEL_PLAN_BETA | ACCEL_PLAN_ROW_SCALE |
			   ACCEL_PLAN_COL_SCALE | ACCEL_PLAN_D_SCALE | ACCEL_PLAN_D_ZERO) ||
	       p->bias_type || p->residual_type || p->activation;
}

static int check_c(struct accel_plan_config *p, uint32_t sum)
{
	switch (p->flags & (ACCEL_MATMUL_ACCUMULATE | ACCEL_PLAN_BETA)) {
	case 0:
		if (p->c_type || p->ldc || p->c_stride)
			return fail(-EINVAL, "c is given without ACCEL_MATMUL_ACCUMULATE or ACCEL_PLAN_BETA");
		return 0;
	case ACCEL_MATMUL_ACCUMULATE:
		if (p->c_type == ACCEL_TYPE_DEFAULT)
			p->c_type = sum;
		return p->c_type == sum ? 0 : fail(-ENOTSUP, "c is %s, sums that start from it are %s",
						   text(p->c_type), text(sum));
	case ACCEL_PLAN_BETA:
		if (p->c_type == ACCEL_TYPE_DEFAULT)
			p->c_type = ACCEL_TYPE_F32;
		return is_float(p->c_type) ? 0 : fail(-ENOTSUP, "c is %s, not f32, bf16 or f16",
						      text(p->c_type));
	default:
		return fail(-EINVAL, "ACCEL_MATMUL_ACCUMULATE and ACCEL_PLAN_BETA exclude each other");
	}
}

/* Fills in default types. */
static int check_types(const struct drm_onpu_query_device *caps, struct accel_plan_config *p)
{
	int sum, ret;

	if (p->b_type == ACCEL_TYPE_DEFAULT)
		p->b_type = p->a_type;
	sum = sum_type(caps, p);
	if (sum < 0)
		return sum;
	if (p->d_type == ACCEL_TYPE_DEFAULT)
		p->d_type = (uint32_t)sum;
	if (p->d_type >= 32 || !(caps->dtypes_out >> p->d_type & 1))
		return fail(-ENOTSUP, "d is %s, which the card does not store", text(p->d_type));
	if (p->d_type == ACCEL_TYPE_I32 && (sum != ACCEL_TYPE_I32 || has_steps(p)))
		return fail(-ENOTSUP, "d is i32: it takes nothing but sums of integers");
	ret = check_c(p, (uint32_t)sum);
	if (ret)
		return ret;
	if ((p->bias_type && !is_float(p->bias_type)) ||
	    (p->residual_type && !is_float(p->residual_type)))
		return fail(-ENOTSUP, "%s is not f32, bf16 or f16",
			    p->bias_type && !is_float(p->bias_type) ? "bias_type" : "residual_type");
	return 0;
}

static int check_steps(const struct accel_plan_config *p)
{
	uint32_t both = ACCEL_PLAN_D_SCALE_ROWS | ACCEL_PLAN_D_SCALE_COLS;

	if (p->flags & ~(CARD_FLAGS | OWN_FLAGS))
		return fail(-EINVAL, "unknown flags 0x%x", p->flags & ~(CARD_FLAGS | OWN_FLAGS));
	if (p->activation > ACCEL_ACTIVATION_SILU)
		return fail(-EINVAL, "unknown activation %u", p->activation);
	if ((p->flags & both) == both)
		return fail(-EINVAL, "D_SCALE_ROWS and D_SCALE_COLS exclude each other");
	if (p->flags & both && !(p->flags & (ACCEL_PLAN_D_SCALE | ACCEL_PLAN_D_ZERO)))
		return fail(-EINVAL, "D_SCALE_ROWS or _COLS is given without D_SCALE or D_ZERO");
	if (p->flags & ACCEL_PLAN_D_ZERO && p->d_type != ACCEL_TYPE_I8)
		return fail(-EINVAL, "D_ZERO is given, but d is %s", text(p->d_type));
	if (p->flags & ACCEL_PLAN_NO_SATURATE && p->d_type != ACCEL_TYPE_E4M3 &&
	    p->d_type != ACCEL_TYPE_E5M2)
		return fail(-EINVAL, "NO_SATURATE is given, but d is %s", text(p->d_type));
	if ((!(p->flags & ACCEL_PLAN_ALPHA) && p->alpha != 0) ||
	    (!(p->flags & ACCEL_PLAN_BETA) && p->beta != 0))
		return fail(-EINVAL, "%s is given without its flag",
			    p->flags & ACCEL_PLAN_ALPHA || p->alpha == 0 ? "beta" : "alpha");
	return 0;
}

static int check_batch(const struct accel_plan_config *p)
{
	uint64_t others = p->a_stride | p->c_stride | p->d_stride | p->residual_stride;

	if (p->batch_mode > ACCEL_BATCH_GROUPED)
		return fail(-EINVAL, "unknown batch_mode %u", p->batch_mode);
	if (p->batch_mode == ACCEL_BATCH_NONE) {
		if (p->batch || p->flags & ACCEL_PLAN_BATCH_VECTORS)
			return fail(-EINVAL, "%s is given without batch_mode",
				    p->batch ? "batch" : "ACCEL_PLAN_BATCH_VECTORS");
	} else if (!p->batch || p->batch > ONPU_MATMUL_BATCH_MAX) {
		return fail(-EINVAL, "batch %u is not within 1 .. %u", p->batch, ONPU_MATMUL_BATCH_MAX);
	}
	if (p->batch_mode != ACCEL_BATCH_STRIDED &&
	    (others || (p->b_stride && p->batch_mode != ACCEL_BATCH_GROUPED)))
		return fail(-EINVAL, "a stride is given without ACCEL_BATCH_STRIDED");
	if (p->batch_mode == ACCEL_BATCH_STRIDED && p->batch > 1 && !p->d_stride)
		return fail(-EINVAL, "d_stride is 0: the matmuls of the batch would have one result");
	if (p->residual_stride && !p->residual_type)
		return fail(-EINVAL, "residual_stride is given without residual_type");
	if (p->batch_mode == ACCEL_BATCH_GROUPED && p->flags & ACCEL_MATMUL_TRANS_A)
		return fail(-ENOTSUP, "a is transposed: groups of rows must be rows");
	return 0;
}

/*
 * A stored matrix with an element of @bits; @ld is filled in when it is 0. With a batch it is
 * there @count times, @batch_stride apart.
 */
static int need_matrix(struct need *need, const char *name, uint64_t rows, uint64_t columns,
		       uint64_t *ld, unsigned int bits, uint64_t count, uint64_t batch_stride)
{
	uint64_t grain = bits == 6 ? 4 : bits == 4 ? 2 : 1, extent;

	if (!*ld)
		*ld = (columns + grain - 1) / grain * grain;
	if (*ld < columns)
		return fail(-EINVAL, "leading dimension %" PRIu64 " of %s is smaller than its rows of %" PRIu64,
			    *ld, name, columns);
	if (*ld > ONPU_MATMUL_LD_MAX)
		return fail(-EINVAL, "leading dimension %" PRIu64 " of %s is larger than %llu", *ld, name,
			    ONPU_MATMUL_LD_MAX);
	if (*ld % grain)
		return fail(-EINVAL, "leading dimension %" PRIu64 " of %s is not a multiple of %" PRIu64 ": rows start at bytes",
			    *ld, name, grain);
	need->align = bits < 8 ? 1 : bits / 8;
	if (batch_stride % need->align)
		return fail(-EINVAL, "stride %" PRIu64 " of %s is not a multiple of the element size", batch_stride,
			    name);
	need->rows = rows;
	need->row_bytes = (columns * bits + 7) / 8;
	need->stride = *ld * bits / 8;
	if (__builtin_mul_overflow(need->stride, rows - 1, &need->bytes) ||
	    __builtin_add_overflow(need->bytes, need->row_bytes, &need->bytes) ||
	    __builtin_mul_overflow(batch_stride, count - 1, &extent) ||
	    __builtin_add_overflow(need->bytes, extent, &need->bytes))
		return fail(-EINVAL, "%s is outside any buffer", name);
	return 0;
}

static void need_vector(struct need *need, uint64_t length, unsigned int bits)
{
	*need = (struct need){ .bytes = length * bits / 8, .rows = 1, .row_bytes = length * bits / 8,
			       .stride = length * bits / 8, .align = bits / 8 };
}

/* Scales of an operand stored with @k_rows: it has them for groups of @group, @bits each. */
static int need_scales(struct need *need, const char *name, const struct accel_plan_config *p,
		       uint64_t lanes, bool k_rows, uint32_t group, uint64_t *ld, unsigned int bits,
		       uint64_t count)
{
	uint64_t groups = (p->k + (uint64_t)group - 1) / group;
	uint64_t rows = k_rows ? groups : lanes, columns = k_rows ? lanes : groups;
	uint64_t distance = *ld ? *ld : columns;

	return need_matrix(need, name, rows, columns, ld, bits, count, rows * distance * bits / 8);
}

static int need_inputs(struct accel_plan *plan, struct accel_plan_config *p)
{
	bool ta = p->flags & ACCEL_MATMUL_TRANS_A, tb = p->flags & ACCEL_MATMUL_TRANS_B;
	bool strided = p->batch_mode == ACCEL_BATCH_STRIDED;
	uint64_t ca = strided && p->a_stride ? p->batch : 1;
	uint64_t cb = (strided || p->batch_mode == ACCEL_BATCH_GROUPED) && p->b_stride ? p->batch : 1;
	uint32_t group = is_mx(p->b_type) ? ONPU_MX_GROUP : p->b_group;
	struct need *needs = plan->needs;
	int ret;

	ret = need_matrix(&needs[ACCEL_OPERAND_A], "a", ta ? p->k : p->m, ta ? p->m : p->k, &p->lda,
			  accel_type_bits(p->a_type), ca, p->a_stride);
	if (!ret)
		ret = need_matrix(&needs[ACCEL_OPERAND_B], "b", tb ? p->n : p->k, tb ? p->k : p->n,
				  &p->ldb, accel_type_bits(p->b_type), cb, p->b_stride);
	if (!ret && is_mx(p->a_type))
		ret = need_scales(&needs[ACCEL_OPERAND_A_SCALE], "a_scale", p, p->m, ta, ONPU_MX_GROUP,
				  &p->lda_scale, 8, ca);
	else if (!ret && p->lda_scale)
		ret = fail(-EINVAL, "lda_scale is given, but a is %s", text(p->a_type));
	if (!ret && group)
		ret = need_scales(&needs[ACCEL_OPERAND_B_SCALE], "b_scale", p, p->n, !tb, group,
				  &p->ldb_scale, p->b_group ? 16 : 8, cb);
	else if (!ret && p->ldb_scale)
		ret = fail(-EINVAL, "ldb_scale is given, but b is %s", text(p->b_type));
	if (!ret && p->flags & ACCEL_PLAN_B_ZERO)
		ret = need_scales(&needs[ACCEL_OPERAND_B_ZERO], "b_zero", p, p->n, !tb, group,
				  &p->ldb_scale, 8, cb);
	if (!ret && (p->lda_scale > UINT32_MAX || p->ldb_scale > UINT32_MAX))
		ret = fail(-EINVAL, "a leading dimension of scales is larger than %u", UINT32_MAX);
	return ret;
}

static int need_results(struct accel_plan *plan, struct accel_plan_config *p)
{
	bool strided = p->batch_mode == ACCEL_BATCH_STRIDED;
	struct need *needs = plan->needs;
	int ret;

	ret = need_matrix(&needs[ACCEL_OPERAND_D], "d", p->m, p->n, &p->ldd, accel_type_bits(p->d_type),
			  strided ? p->batch : 1, p->d_stride);
	if (!ret && p->c_type)
		ret = need_matrix(&needs[ACCEL_OPERAND_C], "c", p->m, p->n, &p->ldc,
				  accel_type_bits(p->c_type), strided ? p->batch : 1, p->c_stride);
	if (!ret && p->residual_type)
		ret = need_matrix(&needs[ACCEL_OPERAND_RESIDUAL], "residual", p->m, p->n, &p->ldr,
				  accel_type_bits(p->residual_type), strided ? p->batch : 1,
				  p->residual_stride);
	else if (!ret && p->ldr)
		ret = fail(-EINVAL, "ldr is given without residual_type");
	return ret;
}

static void need_vectors(struct accel_plan *plan, const struct accel_plan_config *p)
{
	uint64_t times = p->flags & ACCEL_PLAN_BATCH_VECTORS ? p->batch : 1;
	/* m of a GROUPED batch is that of all groups. */
	uint64_t rows = p->m * (p->batch_mode == ACCEL_BATCH_GROUPED ? 1 : times);
	uint64_t columns = p->n * times;
	uint64_t d = p->flags & ACCEL_PLAN_D_SCALE_ROWS ? rows :
		     p->flags & ACCEL_PLAN_D_SCALE_COLS ? columns : times;
	struct need *needs = plan->needs;

	if (p->bias_type)
		need_vector(&needs[ACCEL_OPERAND_BIAS], columns, accel_type_bits(p->bias_type));
	if (p->flags & ACCEL_PLAN_ROW_SCALE)
		need_vector(&needs[ACCEL_OPERAND_ROW_SCALE], rows, 32);
	if (p->flags & ACCEL_PLAN_COL_SCALE)
		need_vector(&needs[ACCEL_OPERAND_COL_SCALE], columns, 32);
	if (p->flags & ACCEL_PLAN_D_SCALE)
		need_vector(&needs[ACCEL_OPERAND_D_SCALE], d, 32);
	if (p->flags & ACCEL_PLAN_D_ZERO)
		need_vector(&needs[ACCEL_OPERAND_D_ZERO], d, 8);
	if (p->batch_mode == ACCEL_BATCH_ITEMS) {
		need_vector(&needs[ACCEL_OPERAND_ITEMS], p->batch,
			    8 * sizeof(struct accel_plan_item));
		needs[ACCEL_OPERAND_ITEMS].align = 8;
	}
	if (p->batch_mode == ACCEL_BATCH_GROUPED)
		need_vector(&needs[ACCEL_OPERAND_ITEMS], p->batch, 32);
}

static void fill_desc(struct onpu_matmul_desc *d, const struct accel_plan_config *p)
{
	*d = (struct onpu_matmul_desc){
		.a_type = (uint8_t)p->a_type, .b_type = (uint8_t)p->b_type,
		.c_type = (uint8_t)p->c_type, .d_type = (uint8_t)p->d_type,
		.flags = p->flags & CARD_FLAGS, .m = p->m, .n = p->n, .k = p->k, .batch = p->batch,
		.lda = p->lda, .ldb = p->ldb, .ldc = p->ldc, .ldd = p->ldd, .ldr = p->ldr,
		.lda_scale = (uint32_t)p->lda_scale, .ldb_scale = (uint32_t)p->ldb_scale,
		.bias_type = (uint8_t)p->bias_type, .residual_type = (uint8_t)p->residual_type,
		.b_scale_type = (uint8_t)p->b_scale_type, .activation = (uint8_t)p->activation,
		.b_group = (uint16_t)p->b_group, .batch_mode = (uint8_t)p->batch_mode,
		.a_stride = p->a_stride, .b_stride = p->b_stride, .c_stride = p->c_stride,
		.d_stride = p->d_stride, .residual_stride = p->residual_stride,
	};
	if (p->flags & ACCEL_PLAN_ALPHA)
		memcpy(&d->alpha, &p->alpha, sizeof(d->alpha));
	if (p->flags & ACCEL_PLAN_BETA)
		memcpy(&d->beta, &p->beta, sizeof(d->beta));
}

int accel_plan_create(struct accel_context *context, const struct accel_plan_config *config,
		      struct accel_plan **result)
{
	const struct drm_onpu_query_device *caps;
	struct accel_plan_config p;
	struct accel_plan *plan;
	int ret;

	api_begin(__func__);
	if (!context || !result)
		return fail(-EINVAL, "%s is NULL", context ? "plan" : "context");
	ret = device_check(context->device);
	if (!ret)
		ret = copy_config(&p, config);
	if (ret)
		return ret;
	caps = &context->device->caps;
	plan = calloc(1, sizeof(*plan));
	if (!plan)
		return fail(-ENOMEM, "out of memory");
	ret = check_dims(caps, &p);
	if (!ret)
		ret = check_types(caps, &p);
	if (!ret)
		ret = check_steps(&p);
	if (!ret)
		ret = check_batch(&p);
	if (!ret)
		ret = need_inputs(plan, &p);
	if (!ret)
		ret = need_results(plan, &p);
	if (ret) {
		free(plan);
		return ret;
	}
	need_vectors(plan, &p);
	fill_desc(&plan->desc, &p);
	plan->dtypes_in = caps->dtypes_in;
	plan->dtypes_out = caps->dtypes_out;
	plan->dim_max = caps->dim_max;
	*result = plan;
	return 0;
}

void accel_plan_destroy(struct accel_plan *plan)
{
	free(plan);
}

uint64_t accel_plan_operand_size(const struct accel_plan *plan, uint32_t operand)
{
	return plan && operand < ACCEL_OPERANDS ? plan->needs[operand].bytes : 0;
}

/* ---- runs ---- */

static int check_place(const struct accel_queue *queue, const struct accel_plan *plan,
		       unsigned int operand, const struct accel_place *place)
{
	const struct need *need = &plan->needs[operand];
	/* Where the matmuls of a batch of items are, only the card gets to know. */
	bool anywhere = plan->desc.batch_mode == ACCEL_BATCH_ITEMS && operand != ACCEL_OPERAND_ITEMS &&
			!(operand >= ACCEL_OPERAND_BIAS && operand != ACCEL_OPERAND_RESIDUAL);

	if (!need->bytes) {
		if (place->buffer || place->offset)
			return fail(-EINVAL, "%s is given, but the plan does not use it", names[operand]);
		return 0;
	}
	if (place->offset % need->align)
		return fail(-EINVAL, "%s: offset %" PRIu64 " is not a multiple of %u", names[operand],
			    place->offset, need->align);
	return check_range(queue, names[operand], place->buffer, place->offset,
			   anywhere ? 0 : need->bytes, operand == ACCEL_OPERAND_D);
}

static struct rows place_rows(const struct need *need, const struct accel_place *place)
{
	return (struct rows){
		.buffer = place->buffer,
		.offset = place->offset,
		.rows = need->rows,
		.row_bytes = need->row_bytes,
		.stride = need->stride,
		.extent = need->bytes,
	};
}

/* Whether operand @i shares a byte with D. */
static bool overlaps_d(const struct accel_plan *plan, const struct accel_place *places, unsigned int i)
{
	struct rows x = place_rows(&plan->needs[i], &places[i]);
	struct rows d = place_rows(&plan->needs[ACCEL_OPERAND_D], &places[ACCEL_OPERAND_D]);

	return rows_overlap(&x, &d);
}

/* C or the residual exactly where D is. */
static bool in_place(const struct accel_plan *plan, unsigned int operand,
		     const struct accel_place *places)
{
	const struct accel_place *d = &places[ACCEL_OPERAND_D], *x = &places[operand];
	const struct onpu_matmul_desc *desc = &plan->desc;

	if (operand != ACCEL_OPERAND_C && operand != ACCEL_OPERAND_RESIDUAL)
		return false;
	return x->buffer == d->buffer && x->offset == d->offset &&
	       (operand == ACCEL_OPERAND_C ? desc->c_type : desc->residual_type) == desc->d_type &&
	       (plan->needs[operand].stride == plan->needs[ACCEL_OPERAND_D].stride || desc->m == 1);
}

static int check_places(const struct accel_queue *queue, const struct accel_plan *plan,
			const struct accel_place *places)
{
	const struct drm_onpu_query_device *caps = &queue->context->device->caps;

	if ((plan->dtypes_in & ~caps->dtypes_in) || (plan->dtypes_out & ~caps->dtypes_out) ||
	    plan->dim_max > caps->dim_max)
		return fail(-EXDEV, "the plan was made for a card that does more than the queue's");
	for (unsigned int i = 0; i < ACCEL_OPERANDS; i++) {
		int ret = check_place(queue, plan, i, &places[i]);

		if (ret)
			return ret;
	}
	for (unsigned int i = 0; i < ACCEL_OPERANDS && !plan->desc.batch_mode; i++)
		if (i != ACCEL_OPERAND_D && plan->needs[i].bytes && !in_place(plan, i, places) &&
		    overlaps_d(plan, places, i))
			return fail(-EINVAL, "d overlaps %s", names[i]);
	return 0;
}

static uint64_t address(const struct accel_place *place)
{
	return place->buffer ? buffer_va(place->buffer) + place->offset : 0;
}

static void fill_addresses(struct onpu_matmul_desc *d, const struct accel_place *places)
{
	d->a_va = address(&places[ACCEL_OPERAND_A]);
	d->b_va = address(&places[ACCEL_OPERAND_B]);
	d->c_va = address(&places[ACCEL_OPERAND_C]);
	d->d_va = address(&places[ACCEL_OPERAND_D]);
	d->a_scale_va = address(&places[ACCEL_OPERAND_A_SCALE]);
	d->b_scale_va = address(&places[ACCEL_OPERAND_B_SCALE]);
	d->b_zero_va = address(&places[ACCEL_OPERAND_B_ZERO]);
	d->bias_va = address(&places[ACCEL_OPERAND_BIAS]);
	d->row_scale_va = address(&places[ACCEL_OPERAND_ROW_SCALE]);
	d->col_scale_va = address(&places[ACCEL_OPERAND_COL_SCALE]);
	d->residual_va = address(&places[ACCEL_OPERAND_RESIDUAL]);
	d->d_scale_va = address(&places[ACCEL_OPERAND_D_SCALE]);
	d->d_zero_va = address(&places[ACCEL_OPERAND_D_ZERO]);
	d->batch_va = address(&places[ACCEL_OPERAND_ITEMS]);
}

static int run(struct accel_queue *queue, const struct accel_plan *plan,
	       const struct accel_place *given, unsigned int count, bool wait,
	       struct accel_event **event)
{
	struct accel_place places[ACCEL_OPERANDS] = { 0 };
	struct accel_buffer *buffers[ACCEL_OPERANDS];
	struct onpu_packet packet = { .opcode = ONPU_OP_MATMUL };
	struct onpu_matmul_desc desc;
	struct submission submission = { &packet, 1, &desc, 1, buffers, 0, NULL, NULL };
	int ret;

	ret = queue_check(queue);
	if (ret)
		return ret;
	if (!plan || !given)
		return fail(-EINVAL, "%s is NULL", plan ? "places" : "plan");
	for (unsigned int i = ACCEL_OPERANDS; i < count; i++)
		if (given[i].buffer || given[i].offset)
			return fail(-EINVAL, "operand %u is newer than this library", i);
	memcpy(places, given, (count < ACCEL_OPERANDS ? count : ACCEL_OPERANDS) * sizeof(*given));
	ret = check_places(queue, plan, places);
	if (ret)
		return ret;
	desc = plan->desc;
	fill_addresses(&desc, places);
	packet.matmul.desc_va = 0;
	for (unsigned int i = 0; i < ACCEL_OPERANDS; i++)
		if (places[i].buffer)
			buffers[submission.buffer_count++] = places[i].buffer;
	return wait ? queue_submit_wait(queue, &submission) :
		      queue_submit_event(queue, &submission, event);
}

int accel_plan_run_async(struct accel_queue *queue, const struct accel_plan *plan,
			 const struct accel_place *places, unsigned int count,
			 struct accel_event **event)
{
	api_begin(__func__);
	return run(queue, plan, places, count, false, event);
}

int accel_plan_run(struct accel_queue *queue, const struct accel_plan *plan,
		   const struct accel_place *places, unsigned int count)
{
	api_begin(__func__);
	return run(queue, plan, places, count, true, NULL);
}

// SPDX-License-Identifier: MIT
/*
 * The epilogue: what happens to a sum between the micro kernel and D.
 *
 * Idea: the kernels leave a few rows of sums in a panel that stays in the first-level cache; each
 * row goes through all steps there and is then converted and stored once. The steps are written
 * once (gemm_epilogue_steps.h) for a scalar and for an AVX2 vector. Conversions work on the bits.
 * No state, no locking.
 */
#include <math.h>
#include <string.h>

#include "gemm_convert.h"
#include "gemm_epilogue.h"
#include "gemm_priv.h"
#include "gemm_view.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* One row's operands, in FP32. */
struct steps {
	float row_scale, alpha, beta, d_scale_row;
	bool has_row_scale, has_alpha, has_d_scale;
	uint32_t activation;
	const float *col_scale, *c, *bias, *residual, *d_scale;
};

static inline float from_bits(uint32_t u)
{
	float f;

	memcpy(&f, &u, sizeof(f));
	return f;
}

static inline uint32_t to_bits(float f)
{
	uint32_t u;

	memcpy(&u, &f, sizeof(u));
	return u;
}

/* --- scalar ----------------------------------------------------------------- */

/* 2^n of an integral n within -126 .. 127. */
static inline float pow2(float n)
{
	return from_bits((uint32_t)((int32_t)n + 127) << 23);
}

#define V		float
#define LANES		1
#define TARGET
#define NAME(x)		x##_c
#define VSET(x)		(x)
#define VLOAD(p)	(*(p))
#define VSTORE(p, x)	(*(p) = (x))
#define VADD(x, y)	((x) + (y))
#define VMUL(x, y)	((x) * (y))
#define VDIV(x, y)	((x) / (y))
#define VFMA(x, y, z)	fmaf(x, y, z)
#define VMAX(x, y)	max_c(x, y)
#define VMIN(x, y)	min_c(x, y)
#define VABS(x)		fabsf(x)
#define VNEG(x)		(-(x))
#define VRINT(x)	rintf(x)
#define VPOW2(x)	pow2(x)
#define VIFNAN(t, x)	(isnan(t) ? (t) : (x))

/* As the processor's: the second operand if they are equal or one is a NaN. */
static inline float max_c(float x, float y)
{
	return x > y ? x : y;
}

static inline float min_c(float x, float y)
{
	return x < y ? x : y;
}

#include "gemm_epilogue_steps.h"

#undef V
#undef LANES
#undef TARGET
#undef NAME
#undef VSET
#undef VLOAD
#undef VSTORE
#undef VADD
#undef VMUL
#undef VDIV
#undef VFMA
#undef VMAX
#undef VMIN
#undef VABS
#undef VNEG
#undef VRINT
#undef VPOW2
#undef VIFNAN

static inline uint32_t bf16_of(uint32_t u)
{
	if ((u & 0x7fffffffu) > 0x7f800000u)
		return 0x7fc0;
	return (u + 0x7fffu + (u >> 16 & 1)) >> 16;
}

/*
 * A magnitude (FP32 bits, no NaN) rounded to mbits fraction bits, as the bits of a format with
 * the given exponent bias and no upper end. Below its least normal number, 2^(1 - bias), adding a
 * power of two whose last place is the least subnormal rounds to that.
 */
static inline uint32_t round_small(uint32_t mag, unsigned int mbits, int bias)
{
	uint32_t drop = 23 - mbits;
	uint32_t magic = (uint32_t)(127 + 1 - bias - (int)mbits + 23) << 23;

	if (mag < (uint32_t)(127 + 1 - bias) << 23)
		return to_bits(from_bits(mag) + from_bits(magic)) - magic;
	mag += (1u << (drop - 1)) - 1 + (mag >> drop & 1);
	return (mag >> drop) - ((uint32_t)(127 - bias) << mbits);
}

static inline uint32_t f16_of(uint32_t u)
{
	uint32_t mag = u & 0x7fffffffu, h;

	if (mag > 0x7f800000u)
		return 0x7e00;
	h = round_small(mag, 10, 15);
	return (u >> 16 & 0x8000u) | (h > 0x7c00u ? 0x7c00u : h);
}

/* FP8: largest number, what is stored for a larger one, and NaN. */
static inline uint32_t fp8_of(uint32_t u, unsigned int mbits, int bias, uint32_t max,
			      uint32_t over, uint32_t over_sign, uint32_t nan)
{
	uint32_t mag = u & 0x7fffffffu, sign = u >> 24 & 0x80u, r;

	if (mag > 0x7f800000u)
		return nan;
	r = round_small(mag, mbits, bias);
	return r > max ? over | (sign & over_sign) : r | sign;
}

static inline uint32_t i8_of(float t, float zero)
{
	/* Beyond this all results are the same, and all steps are exact. */
	t = isnan(t) ? 0.0f : t < -512.0f ? -512.0f : t > 512.0f ? 512.0f : t;
	t = rintf(t) + zero;
	return (uint32_t)(int32_t)(t < -128.0f ? -128.0f : t > 127.0f ? 127.0f : t);
}

static void store_c(const struct onpu_gemm_epilogue *e, const float *zero, const float *v,
		    uint32_t n, uint8_t *out)
{
	bool sat = !(e->flags & ONPU_GEMM_NO_SATURATE);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t u = to_bits(v[i]);
		uint16_t h;

		switch (e->d_type) {
		case ONPU_DTYPE_F32:
			u = isnan(v[i]) ? GEMM_CANONICAL_NAN : u;
			memcpy(out + i * 4, &u, 4);
			break;
		case ONPU_DTYPE_BF16:
		case ONPU_DTYPE_F16:
			h = (uint16_t)(e->d_type == ONPU_DTYPE_F16 ? f16_of(u) : bf16_of(u));
			memcpy(out + i * 2, &h, 2);
			break;
		case ONPU_DTYPE_E4M3:
			out[i] = (uint8_t)(sat ? fp8_of(u, 3, 7, 0x7e, 0x7e, 0x80, 0x7f) :
						 fp8_of(u, 3, 7, 0x7e, 0x7f, 0, 0x7f));
			break;
		case ONPU_DTYPE_E5M2:
			out[i] = (uint8_t)fp8_of(u, 2, 15, 0x7b, sat ? 0x7b : 0x7c, 0x80, 0x7e);
			break;
		default:
			out[i] = (uint8_t)i8_of(v[i], zero[i]);
			break;
		}
	}
}

/* --- AVX2 ------------------------------------------------------------------- */

#if defined(__x86_64__)

#define TAVX2	GEMM_NO_SANITIZE __attribute__((target("avx2,fma,f16c")))

#define V		__m256
#define LANES		8
#define TARGET		TAVX2
#define NAME(x)		x##_avx2
#define VSET(x)		_mm256_set1_ps(x)
#define VLOAD(p)	_mm256_loadu_ps(p)
#define VSTORE(p, x)	_mm256_storeu_ps(p, x)
#define VADD(x, y)	_mm256_add_ps(x, y)
#define VMUL(x, y)	_mm256_mul_ps(x, y)
#define VDIV(x, y)	_mm256_div_ps(x, y)
#define VFMA(x, y, z)	_mm256_fmadd_ps(x, y, z)
#define VMAX(x, y)	_mm256_max_ps(x, y)
#define VMIN(x, y)	_mm256_min_ps(x, y)
#define VABS(x)		_mm256_andnot_ps(_mm256_set1_ps(-0.0f), x)
#define VNEG(x)		_mm256_xor_ps(_mm256_set1_ps(-0.0f), x)
#define VRINT(x)	_mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define VPOW2(n)	_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32( \
				_mm256_cvttps_epi32(n), _mm256_set1_epi32(127)), 23))
#define VIFNAN(t, x)	_mm256_blendv_ps(x, t, _mm256_cmp_ps(t, t, _CMP_UNORD_Q))

#include "gemm_epilogue_steps.h"

TAVX2 GEMM_INLINE __m256 quiet(const float *v)
{
	__m256 t = _mm256_loadu_ps(v);

	return _mm256_blendv_ps(t, _mm256_castsi256_ps(_mm256_set1_epi32((int)GEMM_CANONICAL_NAN)),
				_mm256_cmp_ps(t, t, _CMP_UNORD_Q));
}

/* Bytes 0 of eight words. */
TAVX2 GEMM_INLINE void store8(uint8_t *out, __m256i x)
{
	__m128i lo, hi;

	x = _mm256_and_si256(x, _mm256_set1_epi32(0xff));
	lo = _mm256_castsi256_si128(x);
	hi = _mm256_extracti128_si256(x, 1);
	lo = _mm_packus_epi32(lo, hi);
	_mm_storel_epi64((__m128i *)out, _mm_packus_epi16(lo, lo));
}

/* As fp8_of(). */
TAVX2 GEMM_INLINE __m256i fp8_8(const float *v, const unsigned int mbits, const int bias,
				const int max, const int over, const int over_sign, const int nan)
{
	const int drop = (int)(23 - mbits);
	const __m256i magic = _mm256_set1_epi32((127 + 1 - bias - (int)mbits + 23) << 23);
	const __m256i least = _mm256_set1_epi32((127 + 1 - bias) << 23);
	__m256i u = _mm256_castps_si256(_mm256_loadu_ps(v));
	__m256i mag = _mm256_and_si256(u, _mm256_set1_epi32(0x7fffffff));
	__m256i sign = _mm256_and_si256(_mm256_srli_epi32(u, 24), _mm256_set1_epi32(0x80));
	__m256i is_nan = _mm256_cmpgt_epi32(mag, _mm256_set1_epi32(0x7f800000));
	__m256i small = _mm256_sub_epi32(_mm256_castps_si256(_mm256_add_ps(
			_mm256_castsi256_ps(mag), _mm256_castsi256_ps(magic))), magic);
	__m256i odd = _mm256_and_si256(_mm256_srli_epi32(mag, drop), _mm256_set1_epi32(1));
	__m256i r = _mm256_add_epi32(_mm256_add_epi32(mag, odd),
				     _mm256_set1_epi32((1 << (drop - 1)) - 1));
	__m256i high;

	r = _mm256_sub_epi32(_mm256_srli_epi32(r, drop), _mm256_set1_epi32((127 - bias) << mbits));
	r = _mm256_blendv_epi8(r, small, _mm256_cmpgt_epi32(least, mag));
	high = _mm256_or_si256(_mm256_set1_epi32(over),
			       _mm256_and_si256(sign, _mm256_set1_epi32(over_sign)));
	r = _mm256_blendv_epi8(_mm256_or_si256(r, sign), high,
			       _mm256_cmpgt_epi32(r, _mm256_set1_epi32(max)));
	return _mm256_blendv_epi8(r, _mm256_set1_epi32(nan), is_nan);
}

TAVX2 GEMM_INLINE __m256i i8_8(const float *v, const float *zero)
{
	__m256 t = _mm256_loadu_ps(v);

	t = _mm256_and_ps(t, _mm256_cmp_ps(t, t, _CMP_ORD_Q));
	t = _mm256_min_ps(_mm256_max_ps(t, _mm256_set1_ps(-512.0f)), _mm256_set1_ps(512.0f));
	t = _mm256_add_ps(VRINT(t), _mm256_loadu_ps(zero));
	t = _mm256_min_ps(_mm256_max_ps(t, _mm256_set1_ps(-128.0f)), _mm256_set1_ps(127.0f));
	return _mm256_cvttps_epi32(t);
}

TAVX2 GEMM_INLINE void store_8(const struct onpu_gemm_epilogue *e, const float *zero,
			       const float *v, uint8_t *out)
{
	bool sat = !(e->flags & ONPU_GEMM_NO_SATURATE);
	__m256i x;

	switch (e->d_type) {
	case ONPU_DTYPE_F32:
		_mm256_storeu_ps((float *)(void *)out, quiet(v));
		break;
	case ONPU_DTYPE_F16:
		_mm_storeu_si128((__m128i *)out, _mm256_cvtps_ph(quiet(v), _MM_FROUND_TO_NEAREST_INT));
		break;
	case ONPU_DTYPE_BF16:
		x = _mm256_castps_si256(quiet(v));
		x = _mm256_add_epi32(x, _mm256_add_epi32(_mm256_set1_epi32(0x7fff),
			_mm256_and_si256(_mm256_srli_epi32(x, 16), _mm256_set1_epi32(1))));
		x = _mm256_srli_epi32(x, 16);
		_mm_storeu_si128((__m128i *)out,
				 _mm_packus_epi32(_mm256_castsi256_si128(x),
						  _mm256_extracti128_si256(x, 1)));
		break;
	case ONPU_DTYPE_E4M3:
		store8(out, sat ? fp8_8(v, 3, 7, 0x7e, 0x7e, 0x80, 0x7f) :
				  fp8_8(v, 3, 7, 0x7e, 0x7f, 0, 0x7f));
		break;
	case ONPU_DTYPE_E5M2:
		store8(out, sat ? fp8_8(v, 2, 15, 0x7b, 0x7b, 0x80, 0x7e) :
				  fp8_8(v, 2, 15, 0x7b, 0x7c, 0x80, 0x7e));
		break;
	default:
		store8(out, i8_8(v, zero));
		break;
	}
}

TAVX2 static void store_avx2(const struct onpu_gemm_epilogue *e, const float *zero, const float *v,
			     uint32_t n, uint8_t *out)
{
	size_t es = onpu_gemm_elem_bits(e->d_type) / 8;
	uint8_t last[32];
	uint32_t i;

	for (i = 0; i + 8 <= n; i += 8)
		store_8(e, zero + i, v + i, out + i * es);
	if (i < n) {
		store_8(e, zero + i, v + i, last);
		memcpy(out + i * es, last, (n - i) * es);
	}
}

#else
#define steps_avx2 steps_c
#define store_avx2 store_c
#endif

/* --- operands --------------------------------------------------------------- */

/* n elements of a floating-point operand from byte off on. */
static void load_floats(const struct onpu_view *view, uint64_t off, uint32_t dtype, uint32_t n,
			float *dst)
{
	size_t len = (size_t)n * onpu_gemm_elem_bits(dtype) / 8;
	const uint8_t *src = gemm_view_at(view, off, len);
	uint8_t raw[GEMM_PANEL_COLS * 4];

	if (!src) {
		gemm_view_read(view, off, raw, len);
		src = raw;
	}
	gemm_convert_to_f32(dtype, true)(dst, src, n);
}

static float load_one(const struct onpu_view *view, uint64_t index)
{
	float f;

	gemm_view_read(view, index * 4, &f, 4);
	return f;
}

static void load_zeros(const struct onpu_view *view, uint64_t index, uint32_t n, float *dst)
{
	uint8_t raw[GEMM_PANEL_COLS];

	gemm_view_read(view, index, raw, n);
	gemm_convert_zeros(dst, raw, n);
}

void gemm_epilogue_cols(const struct onpu_gemm_epilogue *e, uint64_t col, uint32_t n,
			struct gemm_epilogue_cols *x)
{
	memset(x, 0, sizeof(*x));
	if (e->col_scale.n)
		load_floats(&e->col_scale, col * 4, ONPU_DTYPE_F32, n, x->col_scale);
	if (e->bias.n)
		load_floats(&e->bias, col * onpu_gemm_elem_bits(e->bias_type) / 8, e->bias_type, n,
			    x->bias);
	if (!(e->flags & ONPU_GEMM_D_SCALE_COLS))
		return;
	if (e->d_scale.n)
		load_floats(&e->d_scale, col * 4, ONPU_DTYPE_F32, n, x->d_scale);
	if (e->d_zero.n)
		load_zeros(&e->d_zero, col, n, x->d_zero);
}

/* The zero points of a row; in *zeros unless they are those of the columns. */
static const float *row_zeros(const struct onpu_gemm_epilogue *e, const struct gemm_epilogue_cols *x,
			      uint64_t row, uint32_t n, float *zeros)
{
	float zero;

	if (!e->d_zero.n || e->flags & ONPU_GEMM_D_SCALE_COLS)
		return x->d_zero;
	load_zeros(&e->d_zero, e->flags & ONPU_GEMM_D_SCALE_ROWS ? row : 0, 1, &zero);
	for (uint32_t i = 0; i < n; i++)
		zeros[i] = zero;
	return zeros;
}

void gemm_epilogue_row(const struct onpu_gemm_desc *d, const struct gemm_epilogue_cols *x,
		       bool integer, bool simd, uint64_t row, uint64_t col, uint32_t n, uint32_t *sums)
{
	const struct onpu_gemm_epilogue *e = d->epilogue;
	_Alignas(32) float c[GEMM_PANEL_COLS], residual[GEMM_PANEL_COLS], zeros[GEMM_PANEL_COLS];
	uint64_t es = onpu_gemm_elem_bits(e->d_type) / 8, off = (row * d->ldd + col) * es;
	float *v = (float *)(void *)sums;
	uint8_t bounce[GEMM_PANEL_COLS * 4], *out = gemm_view_at(&d->d, off, n * es);
	uint32_t padded = (n + 7) & ~7u;
	const float *zero = row_zeros(e, x, row, padded, zeros);
	struct steps s = {
		.has_row_scale = e->row_scale.n, .has_alpha = e->flags & ONPU_GEMM_ALPHA,
		.has_d_scale = e->d_scale.n, .alpha = from_bits(e->alpha),
		.beta = from_bits(e->beta), .activation = e->activation,
		.col_scale = e->col_scale.n ? x->col_scale : NULL,
		.bias = e->bias.n ? x->bias : NULL, .c = e->c.n ? c : NULL,
		.residual = e->residual.n ? residual : NULL,
		.d_scale = e->d_scale.n && e->flags & ONPU_GEMM_D_SCALE_COLS ? x->d_scale : NULL,
	};

	/* Vectors run over the end: what is there must be numbers, or it takes time. */
	for (uint32_t i = n; i < padded; i++)
		sums[i] = 0;
	if (integer)
		for (uint32_t i = 0; i < n; i++)
			v[i] = (float)(int32_t)sums[i];
	if (s.has_row_scale)
		s.row_scale = load_one(&e->row_scale, row);
	if (s.has_d_scale && !s.d_scale)
		s.d_scale_row = load_one(&e->d_scale,
					 e->flags & ONPU_GEMM_D_SCALE_ROWS ? row : 0);
	memset(c + (padded - 8), 0, 32);
	memset(residual + (padded - 8), 0, 32);
	if (s.c)
		load_floats(&e->c, (row * e->ldc + col) * onpu_gemm_elem_bits(e->c_type) / 8,
			    e->c_type, n, c);
	if (s.residual)
		load_floats(&e->residual,
			    (row * e->ldr + col) * onpu_gemm_elem_bits(e->residual_type) / 8,
			    e->residual_type, n, residual);
	(simd ? steps_avx2 : steps_c)(&s, v, simd ? padded : n);
	(simd ? store_avx2 : store_c)(e, zero, v, n, out ? out : bounce);
	if (!out)
		gemm_view_write(&d->d, off, bounce, n * es);
}

/* --- checks ----------------------------------------------------------------- */

static bool vector_ok(const struct onpu_view *view, uint64_t length, unsigned int bits)
{
	return !view->n || (bits && gemm_view_valid(view, length * bits / 8));
}

static unsigned int float_bits(uint32_t dtype)
{
	return dtype == ONPU_DTYPE_F32 || dtype == ONPU_DTYPE_BF16 || dtype == ONPU_DTYPE_F16 ?
	       onpu_gemm_elem_bits(dtype) : 0;
}

bool onpu_gemm_is_result(uint32_t dtype)
{
	return float_bits(dtype) || dtype == ONPU_DTYPE_E4M3 || dtype == ONPU_DTYPE_E5M2 ||
	       dtype == ONPU_DTYPE_I8;
}

static bool matrix_ok(const struct onpu_view *view, uint64_t rows, uint64_t cols, uint64_t ld,
		      unsigned int bits)
{
	uint64_t bytes;

	return !view->n || (bits && onpu_gemm_span(rows, cols, ld, bits, &bytes) &&
			    gemm_view_valid(view, bytes));
}

/* All but D, which the caller looks at as it does without an epilogue. */
bool gemm_epilogue_valid(const struct onpu_gemm_desc *d)
{
	const struct onpu_gemm_epilogue *e = d->epilogue;
	uint64_t m = (uint64_t)d->m0 + d->m, n = (uint64_t)d->n0 + d->n;
	uint64_t length = e->flags & ONPU_GEMM_D_SCALE_ROWS ? m :
			  e->flags & ONPU_GEMM_D_SCALE_COLS ? n : 1;

	return onpu_gemm_is_result(e->d_type) && e->activation <= ONPU_ACT_SILU &&
	       vector_ok(&e->row_scale, m, 32) && vector_ok(&e->col_scale, n, 32) &&
	       vector_ok(&e->bias, n, float_bits(e->bias_type)) &&
	       vector_ok(&e->d_scale, length, 32) && vector_ok(&e->d_zero, length, 8) &&
	       matrix_ok(&e->c, m, n, e->ldc, float_bits(e->c_type)) &&
	       matrix_ok(&e->residual, m, n, e->ldr, float_bits(e->residual_type));
}

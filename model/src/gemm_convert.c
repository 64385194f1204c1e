// SPDX-License-Identifier: MIT
/*
 * Conversion of the small element types while operands are packed.
 *
 * Idea: every floating-point input type has its values among the FP32 numbers, so the kernels
 * multiply FP32 whatever the operands are, and a type costs only its conversion, once per
 * packing. The C versions take the bits apart; those for AVX2 go by way of FP16, whose hardware
 * conversion is exact, or by a table of eight. The scale of a block is one FP32 multiplication,
 * which Documentation/numerics.md defines as such. No state, no locking.
 */
#include <string.h>

#include "gemm_convert.h"
#include "gemm_priv.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* FP32 bits of a number with ebits exponent and mbits fraction bits, sign above; no Inf or NaN. */
static inline uint32_t small_float(uint32_t x, unsigned int ebits, unsigned int mbits)
{
	uint32_t sign = x >> (ebits + mbits) << 31;
	uint32_t exp = (x >> mbits) & ((1u << ebits) - 1), frac = x & ((1u << mbits) - 1);
	uint32_t offset = 127 - ((1u << (ebits - 1)) - 1);
	unsigned int shift;

	if (exp)
		return sign | (exp + offset) << 23 | frac << (23 - mbits);
	if (!frac)
		return sign;
	/* Subnormal: shift the leading one to the place of the hidden bit. */
	shift = mbits + 1 - (32 - (unsigned int)__builtin_clz(frac));
	frac = (frac << shift) & ((1u << mbits) - 1);
	return sign | (offset + 1 - shift) << 23 | frac << (23 - mbits);
}

uint32_t gemm_f16_bits(uint32_t h)
{
	if ((h & 0x7c00u) == 0x7c00u)
		return (h & 0x8000u) << 16 | 0x7f800000u | (h & 0x3ffu) << 13;
	return small_float(h, 5, 10);
}

static inline uint32_t e4m3_bits(uint32_t x)
{
	return (x & 0x7fu) == 0x7fu ? GEMM_CANONICAL_NAN : small_float(x, 4, 3);
}

static inline uint32_t e5m2_bits(uint32_t x)
{
	return gemm_f16_bits(x << 8);
}

static inline void put(void *dst, size_t i, uint32_t bits)
{
	memcpy((uint8_t *)dst + i * 4, &bits, 4);
}

/* Element i of a run of 6-bit elements. */
static inline uint32_t get6(const uint8_t *src, size_t i)
{
	size_t bit = i * 6;
	uint32_t v = src[bit / 8];

	if (bit % 8 > 2)
		v |= (uint32_t)src[bit / 8 + 1] << 8;
	return v >> (bit % 8) & 0x3f;
}

static inline uint32_t get4(const uint8_t *src, size_t i)
{
	return src[i / 2] >> (i % 2 * 4) & 0xf;
}

static inline int32_t signed4(uint32_t x)
{
	return (int32_t)(x ^ 8) - 8;
}

static inline uint32_t int_bits(int32_t i)
{
	float f = (float)i;
	uint32_t bits;

	memcpy(&bits, &f, 4);
	return bits;
}

#define CONVERT_C(name, expression) \
	static void name##_c(void *dst, const uint8_t *src, size_t n) \
	{ \
		for (size_t i = 0; i < n; i++) \
			put(dst, i, expression); \
	}

CONVERT_C(f32, (uint32_t)src[4 * i] | (uint32_t)src[4 * i + 1] << 8 |
	       (uint32_t)src[4 * i + 2] << 16 | (uint32_t)src[4 * i + 3] << 24)
CONVERT_C(bf16, (uint32_t)src[2 * i] << 16 | (uint32_t)src[2 * i + 1] << 24)
CONVERT_C(f16, gemm_f16_bits((uint32_t)src[2 * i] | (uint32_t)src[2 * i + 1] << 8))
CONVERT_C(e4m3, e4m3_bits(src[i]))
CONVERT_C(e5m2, e5m2_bits(src[i]))
CONVERT_C(e2m3, small_float(get6(src, i), 2, 3))
CONVERT_C(e3m2, small_float(get6(src, i), 3, 2))
CONVERT_C(e2m1, small_float(get4(src, i), 2, 1))
CONVERT_C(i8, int_bits((int8_t)src[i]))
CONVERT_C(i4, int_bits(signed4(get4(src, i))))

static void i4_to_i8_c(void *dst, const uint8_t *src, size_t n)
{
	uint8_t *out = dst;

	for (size_t i = 0; i + 2 <= n; i += 2) {
		out[i] = (uint8_t)signed4(src[i / 2] & 0xf);
		out[i + 1] = (uint8_t)signed4(src[i / 2] >> 4);
	}
	if (n % 2)
		out[n - 1] = (uint8_t)signed4(src[n / 2] & 0xf);
}

#if defined(__x86_64__)

#define TAVX2	GEMM_NO_SANITIZE __attribute__((target("avx2,fma,f16c")))

/* Eight elements each. */

TAVX2 GEMM_INLINE __m128i load8(const uint8_t *src)
{
	return _mm_loadl_epi64((const __m128i *)src);
}

TAVX2 GEMM_INLINE __m256 e4m3_8(const uint8_t *src)
{
	__m128i x = _mm_cvtepu8_epi16(load8(src));
	__m128i mag = _mm_and_si128(x, _mm_set1_epi16(0x7f));
	__m128i nan = _mm_cmpeq_epi16(mag, _mm_set1_epi16(0x7f));
	__m128i sign = _mm_slli_epi16(_mm_and_si128(x, _mm_set1_epi16(0x80)), 8);
	/* As FP16 the same bits are 2^-8 times as much: the exponent bias is 15, not 7. */
	__m128i half = _mm_or_si128(sign, _mm_slli_epi16(mag, 7));

	half = _mm_or_si128(half, _mm_and_si128(nan, _mm_set1_epi16(0x7e00)));
	return _mm256_mul_ps(_mm256_cvtph_ps(half), _mm256_set1_ps(256.0f));
}

TAVX2 GEMM_INLINE __m256 e5m2_8(const uint8_t *src)
{
	return _mm256_cvtph_ps(_mm_slli_epi16(_mm_cvtepu8_epi16(load8(src)), 8));
}

/*
 * Eight 6-bit fields of six bytes. Each is brought to the top of 16 bits, then its magnitude to
 * where FP16 has its lower exponent and upper fraction bits: that is the number times a power of
 * two, which factor makes up for.
 */
TAVX2 GEMM_INLINE __m256 fp6_8(const uint8_t *src, const int mbits, const float factor)
{
	const __m128i bytes = _mm_setr_epi8(0, 1, 0, 1, 1, 2, 2, 3, 3, 4, 3, 4, 4, 5, 5, 6);
	const __m128i up = _mm_setr_epi16(1 << 10, 1 << 4, 1 << 6, 1 << 8, 1 << 10, 1 << 4, 1 << 6,
					  1 << 8);
	__m128i x, mag, half;
	uint32_t low;
	uint16_t high;

	/* In two parts: bytes that are put together in memory are slow to load. */
	memcpy(&low, src, sizeof(low));
	memcpy(&high, src + 4, sizeof(high));
	x = _mm_insert_epi16(_mm_cvtsi32_si128((int)low), high, 2);
	x = _mm_mullo_epi16(_mm_shuffle_epi8(x, bytes), up);
	mag = _mm_srli_epi16(_mm_and_si128(x, _mm_set1_epi16(0x7c00)), mbits);
	half = _mm_or_si128(_mm_and_si128(x, _mm_set1_epi16((short)0x8000)), mag);

	return _mm256_mul_ps(_mm256_cvtph_ps(half), _mm256_set1_ps(factor));
}

TAVX2 GEMM_INLINE __m256 e2m3_8(const uint8_t *src)
{
	return fp6_8(src, 3, 0x1p14f);
}

TAVX2 GEMM_INLINE __m256 e3m2_8(const uint8_t *src)
{
	return fp6_8(src, 2, 0x1p12f);
}

/* Eight 4-bit fields of four bytes. */
TAVX2 GEMM_INLINE __m256i fields4(const uint8_t *src)
{
	const __m256i shift = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
	int v;

	memcpy(&v, src, 4);
	return _mm256_srlv_epi32(_mm256_set1_epi32(v), shift);
}

TAVX2 GEMM_INLINE __m256 e2m1_8(const uint8_t *src)
{
	const __m256 table = _mm256_setr_ps(0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f);
	__m256i x = fields4(src);
	__m256i sign = _mm256_slli_epi32(_mm256_and_si256(x, _mm256_set1_epi32(8)), 28);

	/* The permutation looks at the lowest three bits only. */
	return _mm256_or_ps(_mm256_permutevar8x32_ps(table, x), _mm256_castsi256_ps(sign));
}

TAVX2 GEMM_INLINE __m256 i8_8(const uint8_t *src)
{
	return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load8(src)));
}

TAVX2 GEMM_INLINE __m256 i4_8(const uint8_t *src)
{
	__m256i x = _mm256_slli_epi32(fields4(src), 28);

	return _mm256_cvtepi32_ps(_mm256_srai_epi32(x, 28));
}

#define CONVERT_AVX2(name, bits) \
	TAVX2 static void name##_avx2(void *dst, const uint8_t *src, size_t n) \
	{ \
		float *out = dst; \
		size_t i; \
		for (i = 0; i + 8 <= n; i += 8, src += (bits)) \
			_mm256_storeu_ps(out + i, name##_8(src)); \
		if (i < n) { \
			uint8_t tail[8] = { 0 }; \
			float last[8]; \
			memcpy(tail, src, ((n - i) * (bits) + 7) / 8); \
			_mm256_storeu_ps(last, name##_8(tail)); \
			memcpy(out + i, last, (n - i) * 4); \
		} \
	}

CONVERT_AVX2(e4m3, 8)
CONVERT_AVX2(e5m2, 8)
CONVERT_AVX2(e2m3, 6)
CONVERT_AVX2(e3m2, 6)
CONVERT_AVX2(e2m1, 4)
CONVERT_AVX2(i8, 8)
CONVERT_AVX2(i4, 4)

TAVX2 static void i4_to_i8_avx2(void *dst, const uint8_t *src, size_t n)
{
	const __m128i low = _mm_set1_epi8(0xf);
	const __m128i table = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1);
	__m128i *out = dst;
	size_t i;

	for (i = 0; i + 32 <= n; i += 32, out += 2) {
		__m128i x = _mm_loadu_si128((const __m128i *)(src + i / 2));
		__m128i even = _mm_and_si128(x, low), odd = _mm_and_si128(_mm_srli_epi16(x, 4), low);

		_mm_storeu_si128(out, _mm_shuffle_epi8(table, _mm_unpacklo_epi8(even, odd)));
		_mm_storeu_si128(out + 1, _mm_shuffle_epi8(table, _mm_unpackhi_epi8(even, odd)));
	}
	i4_to_i8_c(out, src + i / 2, n - i);
}

#define SIMD(name)	(simd ? name##_avx2 : name##_c)
#else
#define SIMD(name)	((void)simd, name##_c)
#endif

gemm_convert_fn gemm_convert_to_f32(uint32_t dtype, bool simd)
{
	switch (dtype) {
	case ONPU_DTYPE_F32:
		return f32_c;
	case ONPU_DTYPE_BF16:
		return bf16_c;
	case ONPU_DTYPE_F16:
		return f16_c;
	case ONPU_DTYPE_E4M3:
	case ONPU_DTYPE_MX_E4M3:
		return SIMD(e4m3);
	case ONPU_DTYPE_E5M2:
	case ONPU_DTYPE_MX_E5M2:
		return SIMD(e5m2);
	case ONPU_DTYPE_MX_E2M3:
		return SIMD(e2m3);
	case ONPU_DTYPE_MX_E3M2:
		return SIMD(e3m2);
	case ONPU_DTYPE_MX_E2M1:
		return SIMD(e2m1);
	case ONPU_DTYPE_I8:
		return SIMD(i8);
	case ONPU_DTYPE_I4:
		return SIMD(i4);
	default:
		return NULL;
	}
}

gemm_convert_fn gemm_convert_to_i8(uint32_t dtype, bool simd)
{
	return dtype == ONPU_DTYPE_I4 ? SIMD(i4_to_i8) : NULL;
}

/* A difference of two small integers is exact, so only the product rounds, if at all. */
static void scale_run_c(float *v, size_t n, float scale, float zero)
{
	for (size_t i = 0; i < n; i++)
		v[i] = (v[i] - zero) * scale;
}

static void scale_lanes_c(float *v, size_t rows, size_t stride, size_t lanes, const float *scales,
			  const float *zeros)
{
	for (; rows; rows--, v += stride)
		for (size_t i = 0; i < lanes; i++)
			v[i] = (v[i] - (zeros ? zeros[i] : 0)) * scales[i];
}

#if defined(__x86_64__)
TAVX2 static void scale_run_avx2(float *v, size_t n, float scale, float zero)
{
	size_t i;

	for (i = 0; i + 8 <= n; i += 8)
		_mm256_storeu_ps(v + i, _mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(v + i),
								    _mm256_set1_ps(zero)),
						      _mm256_set1_ps(scale)));
	scale_run_c(v + i, n - i, scale, zero);
}

TAVX2 static void scale_lanes_avx2(float *v, size_t rows, size_t stride, size_t lanes,
				   const float *scales, const float *zeros)
{
	size_t i;

	for (i = 0; i + 8 <= lanes; i += 8) {
		__m256 scale = _mm256_loadu_ps(scales + i);
		__m256 zero = zeros ? _mm256_loadu_ps(zeros + i) : _mm256_setzero_ps();

		for (size_t r = 0; r < rows; r++) {
			float *p = v + r * stride + i;

			_mm256_storeu_ps(p, _mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(p), zero),
							  scale));
		}
	}
	scale_lanes_c(v + i, rows, stride, lanes - i, scales + i, zeros ? zeros + i : NULL);
}
#endif

void gemm_scale_run(float *v, size_t n, float scale, float zero, bool simd)
{
	SIMD(scale_run)(v, n, scale, zero);
}

void gemm_scale_lanes(float *v, size_t rows, size_t stride, size_t lanes, const float *scales,
		      const float *zeros, bool simd)
{
	SIMD(scale_lanes)(v, rows, stride, lanes, scales, zeros);
}

void gemm_convert_scales(float *dst, const uint8_t *src, size_t n, uint32_t dtype)
{
	if (dtype == ONPU_DTYPE_F16) {
		f16_c(dst, src, n);
		return;
	}
	if (dtype == ONPU_DTYPE_BF16) {
		bf16_c(dst, src, n);
		return;
	}
	/* UE8M0: 2^(x - 127), of which 2^-127 is subnormal, and one NaN. */
	for (size_t i = 0; i < n; i++)
		put(dst, i, src[i] == 0xff ? GEMM_CANONICAL_NAN :
			    src[i] ? (uint32_t)src[i] << 23 : 0x00400000u);
}

void gemm_convert_zeros(float *dst, const uint8_t *src, size_t n)
{
	i8_c(dst, src, n);
}

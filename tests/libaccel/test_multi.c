/* SPDX-License-Identifier: MIT */
/*
 * Matmuls over all cards: bit for bit what one card gives, for operands that no card can hold.
 */
#include "common.h"

/* Multiply-adds that the CPU can check in a moment. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CPU_WORK 500000
#else
#define CPU_WORK 20000000
#endif

static uint32_t random_state = 7;

static uint32_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state;
}

/* Numbers whose sums depend on their order. */
static void fill_f32(float *to, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		to[i] = (float)((int32_t)next_random() >> (next_random() % 24)) * 1.7e-5f;
}

/* The element that one card would give. */
static float element(const struct accel_multi_matmul *p, const float *before, uint64_t r, uint64_t c)
{
	const float *a = p->a.data, *b = p->b.data;
	float sum = before ? before[r * p->d.ld + c] : 0;

	for (uint64_t x = 0; x < p->k; x++)
		sum = __builtin_fmaf(p->flags & ACCEL_MATMUL_TRANS_A ? a[x * p->a.ld + r] : a[r * p->a.ld + x],
				     p->flags & ACCEL_MATMUL_TRANS_B ? b[c * p->b.ld + x] : b[x * p->b.ld + c], sum);
	return sum;
}

static void check(struct accel_multi *multi, uint32_t flags, uint64_t m, uint64_t n, uint64_t k, uint64_t gap)
{
	bool ta = flags & ACCEL_MATMUL_TRANS_A, tb = flags & ACCEL_MATMUL_TRANS_B;
	uint64_t lda = (ta ? m : k) + gap, ldb = (tb ? k : n) + gap, ldd = n + gap;
	uint64_t step = m * n * k / CPU_WORK + 1;
	uint64_t a_count = (ta ? k : m) * lda, b_count = (tb ? n : k) * ldb, d_count = m * ldd;
	float *a = malloc(a_count * 4), *b = malloc(b_count * 4), *d = malloc(d_count * 4);
	float *before = malloc(d_count * 4);
	struct accel_multi_matmul p;

	assert_true(a && b && d && before);
	fill_f32(a, a_count);
	fill_f32(b, b_count);
	fill_f32(d, d_count);
	memcpy(before, d, d_count * 4);
	accel_multi_matmul_init(&p);
	p.flags = flags;
	p.m = m;
	p.n = n;
	p.k = k;
	p.a = (struct accel_host_matrix){ .data = a, .ld = lda, .type = ACCEL_TYPE_F32 };
	p.b = (struct accel_host_matrix){ .data = b, .ld = ldb };
	p.d = (struct accel_host_matrix){ .data = d, .ld = ldd };
	ok(accel_multi_matmul(multi, &p));
	for (uint64_t i = 0; i < m * n; i += step) {
		float want = element(&p, flags & ACCEL_MATMUL_ACCUMULATE ? before : NULL, i / n, i % n);

		assert_memory_equal(&want, &d[i / n * ldd + i % n], 4);
	}
	/* Between the rows nothing is written. */
	for (uint64_t r = 0; r < m; r++)
		assert_memory_equal(d + r * ldd + n, before + r * ldd + n, gap * 4);
	free(a);
	free(b);
	free(d);
	free(before);
}

static void shapes(void **state)
{
	static const struct { uint64_t m, n, k; } shapes[] = {
		{ 1, 1, 1 }, { 7, 300, 5 }, { 300, 7, 129 }, { 513, 257, 65 }, { 1000, 900, 33 },
	};
	struct accel_multi *multi;

	(void)state;
	ok(accel_multi_create(NULL, 0, &multi));
	assert_int_equal(accel_multi_count(multi), accel_device_count());
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++)
		for (uint32_t flags = 0; flags < 8; flags += i < 3 ? 1 : 3)
			check(multi, flags, shapes[i].m, shapes[i].n, shapes[i].k, i % 2 * 3);
	accel_multi_destroy(multi);
	accel_multi_destroy(NULL);
	assert_int_equal(accel_multi_count(NULL), 0);
}

#ifdef ACCEL_TEST_MODEL
/* Cards of 64 MiB: D alone is 88 MB, and sums are cut into pieces. */
static void larger_than_the_cards(void **state)
{
	struct accel_multi *multi;

	(void)state;
	ok(accel_multi_create(NULL, 0, &multi));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)	/* they take minutes */
	check(multi, ACCEL_MATMUL_TRANS_B, 4700, 4700, 40, 0);
#endif
	check(multi, ACCEL_MATMUL_ACCUMULATE, 150, 130, 40000, 5);
	check(multi, ACCEL_MATMUL_TRANS_A, 60, 40, 70000, 0);
	accel_multi_destroy(multi);
}
#endif

static void integers(void **state)
{
	enum { M = 200, N = 150, K = 333 };
	static int8_t a[M * K], b[K * N];
	static int32_t d[M * N];
	struct accel_multi_matmul p;
	struct accel_multi *multi;

	(void)state;
	for (size_t i = 0; i < sizeof(a); i++)
		a[i] = (int8_t)next_random();
	for (size_t i = 0; i < sizeof(b); i++)
		b[i] = (int8_t)next_random();
	ok(accel_multi_create((unsigned int[]){ 0 }, 1, &multi));
	assert_int_equal(accel_multi_count(multi), 1);
	accel_multi_matmul_init(&p);
	p.m = M;
	p.n = N;
	p.k = K;
	p.a = (struct accel_host_matrix){ .data = a, .ld = K, .type = ACCEL_TYPE_I8 };
	p.b = (struct accel_host_matrix){ .data = b, .ld = N, .type = ACCEL_TYPE_I8 };
	p.d = (struct accel_host_matrix){ .data = d, .ld = N, .type = ACCEL_TYPE_I32 };
	ok(accel_multi_matmul(multi, &p));
	for (int r = 0; r < M; r++) {
		for (int c = 0; c < N; c++) {
			int32_t sum = 0;

			for (int x = 0; x < K; x++)
				sum += a[r * K + x] * b[x * N + c];
			assert_int_equal(d[r * N + c], sum);
		}
	}
	accel_multi_destroy(multi);
}

static void errors(void **state)
{
	struct accel_multi *multi, *untouched = (struct accel_multi *)state;
	struct accel_multi_matmul p, good;
	float x[4] = { 1, 2, 3, 4 }, d[4];

	multi = untouched;
	fails(accel_multi_create(NULL, 0, NULL), -EINVAL);
	fails(accel_multi_create((unsigned int[]){ 0 }, 0, &multi), -EINVAL);
	fails(accel_multi_create((unsigned int[]){ 0, 1000 }, 2, &multi), -ENODEV);
	assert_ptr_equal(multi, untouched);
	ok(accel_multi_create(NULL, 1, &multi));
	accel_multi_matmul_init(&good);
	good.m = good.n = good.k = 2;
	good.a = (struct accel_host_matrix){ .data = x, .ld = 2, .type = ACCEL_TYPE_F32 };
	good.b = (struct accel_host_matrix){ .data = x, .ld = 2 };
	good.d = (struct accel_host_matrix){ .data = d, .ld = 2 };
	ok(accel_multi_matmul(multi, &good));
	assert_true(d[0] == 7 && d[1] == 10 && d[2] == 15 && d[3] == 22);
	fails(accel_multi_matmul(NULL, &good), -EINVAL);
	fails(accel_multi_matmul(multi, NULL), -EINVAL);
#define BAD(change, error, text) do { \
		p = good; \
		change; \
		fails(accel_multi_matmul(multi, &p), error); \
		expect_detail("accel_multi_matmul: " text); \
	} while (0)
	BAD(p.size = 8, -EINVAL, "size is 8");
	BAD(p.flags = 8, -EINVAL, "flags 0x8");
	BAD(p.k = 0, -EINVAL, "m, n and k are 2, 2 and 0");
	BAD(p.m = 1ull << 40, -EINVAL, "m, n and k");
	BAD(p.a.type = ACCEL_TYPE_I4, -ENOTSUP, "a: type 8");
	BAD(p.b.type = ACCEL_TYPE_I8, -EINVAL, "a and b have different types");
	BAD(p.d.type = ACCEL_TYPE_BF16, -EINVAL, "d: the type of sums is F32");
	BAD(p.a.ld = 1, -EINVAL, "a: ld 1 is smaller than its rows, 2");
	BAD(p.d.data = NULL, -EINVAL, "d is NULL");
	BAD(p.b.reserved = 1, -EINVAL, "b: reserved");
	accel_multi_destroy(multi);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shapes),
#ifdef ACCEL_TEST_MODEL
		cmocka_unit_test(larger_than_the_cards),
#endif
		cmocka_unit_test(integers),
		cmocka_unit_test(errors),
	};

	return run_group("multi", tests);
}

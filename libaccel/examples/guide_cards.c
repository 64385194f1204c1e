/* SPDX-License-Identifier: MIT */
#include <accel/accel.h>

#include <stdio.h>
#include <stdlib.h>

#define CHECK(call) do { if (call) { fprintf(stderr, "%s\n", accel_error_detail()); exit(1); } } while (0)

enum { N = 500 };

static float a[N][N], b[N][N], d[N][N];

int main(void)
{
	struct accel_multi_matmul p;
	struct accel_multi *multi;

	for (int i = 0; i < N; i++) {
		a[i][i] = 2;
		for (int j = 0; j < N; j++)
			b[i][j] = (float)(i + j);
	}
	CHECK(accel_multi_create(NULL, 0, &multi));
	accel_multi_matmul_init(&p);
	p.m = p.n = p.k = N;
	p.a.data = a;
	p.a.type = ACCEL_TYPE_F32;
	p.b.data = b;
	p.d.data = d;
	p.a.ld = p.b.ld = p.d.ld = N;
	CHECK(accel_multi_matmul(multi, &p));
	printf("%g on %s\n", d[499][499], accel_multi_count(multi) > 1 ? "several cards" : "one card");
	accel_multi_destroy(multi);
	return 0;
}

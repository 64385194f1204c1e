/* SPDX-License-Identifier: MIT */
/*
 * The steps of an epilogue on V values at a time; included once for each kind of vector by
 * gemm_epilogue.c, which defines V, LANES, TARGET, NAME() and the operations VADD ... VPOW2.
 * Every operation is one of IEEE 754 with one rounding, in the order that
 * Documentation/numerics.md gives: whatever V is, the bits are the same.
 */

/* e^x for x within -87 .. 88; beyond, that of the nearest end. */
TARGET GEMM_INLINE V NAME(exp)(V x)
{
	static const float coeff[] = { 0x1.6c16c2p-10f, 0x1.111112p-7f, 0x1.555556p-5f,
				       0x1.555556p-3f, 0.5f, 1.0f, 1.0f };
	V n, r, p = VSET(0x1.a01a02p-13f);

	x = VMIN(VMAX(x, VSET(-87.0f)), VSET(88.0f));
	n = VRINT(VMUL(x, VSET(0x1.715476p+0f)));
	r = VFMA(n, VSET(-0x1.62e400p-1f), x);
	r = VFMA(n, VSET(-0x1.7f7d1cp-20f), r);
	for (unsigned int i = 0; i < sizeof(coeff) / sizeof(coeff[0]); i++)
		p = VFMA(p, r, VSET(coeff[i]));
	return VMUL(p, VPOW2(n));
}

/* t / (1 + e^-u) */
TARGET GEMM_INLINE V NAME(logistic)(V t, V u)
{
	return VDIV(t, VADD(VSET(1.0f), NAME(exp)(VNEG(u))));
}

TARGET GEMM_INLINE V NAME(silu)(V t)
{
	t = VMAX(t, VSET(-88.0f));
	return NAME(logistic)(t, t);
}

TARGET GEMM_INLINE V NAME(gelu_tanh)(V t)
{
	t = VMAX(t, VSET(-10.0f));
	return NAME(logistic)(t, VMUL(t, VFMA(VSET(0x1.2444f2p-4f), VMUL(t, t),
					      VSET(0x1.988454p+0f))));
}

TARGET GEMM_INLINE V NAME(gelu_erf)(V t)
{
	static const float coeff[] = { -0x1.570e7cp-3f, 0x1.4de858p-2f, -0x1.ea9af6p-3f,
				       0x1.cc3b46p-3f, 0x1.7dd350p-6f, 0x1.b2dd88p-4f,
				       0x1.92281ap-4f, 0x1.98d984p-4f };
	V x = VMIN(VABS(t), VSET(13.0f));
	V s = VDIV(VSET(1.0f), VFMA(VSET(0.25f), x, VSET(1.0f)));
	V h, q = VSET(0x1.d79beep-6f);

	for (unsigned int i = 0; i < sizeof(coeff) / sizeof(coeff[0]); i++)
		q = VFMA(q, s, VSET(coeff[i]));
	h = VMUL(VMUL(q, s), NAME(exp)(VMUL(VSET(-0.5f), VMUL(x, x))));
	return VFMA(VNEG(x), h, VMAX(t, VSET(0.0f)));
}

TARGET GEMM_INLINE void NAME(activate)(float *v, uint32_t n, V (*fn)(V))
{
	for (uint32_t i = 0; i < n; i += LANES) {
		V t = VLOAD(v + i);

		VSTORE(v + i, VIFNAN(t, fn(t)));
	}
}

TARGET GEMM_INLINE V NAME(relu)(V t)
{
	return VMAX(t, VSET(0.0f));
}

/*
 * All steps from the sum to the value that is converted. Arrays of operands that are not there
 * are NULL.
 */
TARGET static void NAME(steps)(const struct steps *s, float *v, uint32_t n)
{
	for (uint32_t i = 0; i < n; i += LANES) {
		V t = VLOAD(v + i);

		if (s->has_row_scale)
			t = VMUL(t, VSET(s->row_scale));
		if (s->col_scale)
			t = VMUL(t, VLOAD(s->col_scale + i));
		if (s->has_alpha)
			t = VMUL(VSET(s->alpha), t);
		if (s->c)
			t = VFMA(VSET(s->beta), VLOAD(s->c + i), t);
		if (s->bias)
			t = VADD(t, VLOAD(s->bias + i));
		VSTORE(v + i, t);
	}
	switch (s->activation) {
	case ONPU_ACT_RELU:
		NAME(activate)(v, n, NAME(relu));
		break;
	case ONPU_ACT_GELU_ERF:
		NAME(activate)(v, n, NAME(gelu_erf));
		break;
	case ONPU_ACT_GELU_TANH:
		NAME(activate)(v, n, NAME(gelu_tanh));
		break;
	case ONPU_ACT_SILU:
		NAME(activate)(v, n, NAME(silu));
		break;
	}
	for (uint32_t i = 0; i < n && (s->residual || s->d_scale || s->has_d_scale); i += LANES) {
		V t = VLOAD(v + i);

		if (s->residual)
			t = VADD(t, VLOAD(s->residual + i));
		if (s->d_scale)
			t = VMUL(t, VLOAD(s->d_scale + i));
		else if (s->has_d_scale)
			t = VMUL(t, VSET(s->d_scale_row));
		VSTORE(v + i, t);
	}
}

// SPDX-License-Identifier: MIT
/*
 * Log: lines of text in a ring in shared memory, for the host to read at any
 * time.  Only the firmware writes; the host sees from log_head how much there
 * has been and reads the last log_size bytes of it.  The firmware never reads
 * anything back, so the host cannot confuse it.
 */
#include <stdarg.h>
#include "rt.h"

#define LOG_LINE_MAX	160

static __u32 log_level = LOG_INFO;
static __u32 log_head;

struct line {
	char text[LOG_LINE_MAX];
	__u32 len;
};

void log_set_level(__u32 level)
{
	log_level = level;
}

static void put(struct line *l, char c)
{
	if (l->len < LOG_LINE_MAX)
		l->text[l->len++] = c;
}

static void put_text(struct line *l, const char *s)
{
	while (*s)
		put(l, *s++);
}

/* At least @width digits, padded with zeros. */
static void put_decimal(struct line *l, __u32 v, __u32 width)
{
	char digits[10];
	__u32 n = 0;

	do {
		digits[n++] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	for (; width > n; width--)
		put(l, '0');
	while (n)
		put(l, digits[--n]);
}

static void put_hex(struct line *l, __u32 v, __u32 width)
{
	bool started = false;

	for (__u32 i = 8; i-- > 0;) {
		__u32 d = v >> (4 * i) & 15;

		started = started || d || i < width;
		if (started)
			put(l, (char)(d < 10 ? '0' + d : 'a' + d - 10));
	}
}

static void put_hex64(struct line *l, __u64 v)
{
	if (v >> 32) {
		put_hex(l, (__u32)(v >> 32), 1);
		put_hex(l, (__u32)v, 8);
	} else {
		put_hex(l, (__u32)v, 1);
	}
}

/* @v / @d by long division; *@v becomes the remainder. */
static __u32 divide(__u64 *v, __u32 d)
{
	__u64 rest = 0;
	__u32 quotient = 0;

	for (__u32 i = 0; i < 64; i++) {
		rest = rest << 1 | *v >> 63;
		*v <<= 1;
		quotient <<= 1;
		if (rest >= d) {
			rest -= d;
			quotient |= 1;
		}
	}
	*v = rest;
	return quotient;
}

static void put_prefix(struct line *l, enum log_level level)
{
	__u64 t = mcu_time();
	__u32 seconds = divide(&t, 1000000000u);

	put_decimal(l, seconds, 1);
	put(l, '.');
	put_decimal(l, (__u32)t / 1000, 6);
	put(l, ' ');
	put(l, "EWID"[level]);
	put(l, ' ');
}

static const char *format_one(struct line *l, const char *f, va_list *ap)
{
	__s32 d;

	switch (*f) {
	case 'u':
		put_decimal(l, va_arg(*ap, unsigned int), 1);
		break;
	case 'd':
		d = va_arg(*ap, int);
		if (d < 0)
			put(l, '-');
		put_decimal(l, d < 0 ? -(__u32)d : (__u32)d, 1);
		break;
	case 'x':
		put_hex(l, va_arg(*ap, unsigned int), 1);
		break;
	case 'l': /* %llx only */
		put_hex64(l, va_arg(*ap, unsigned long long));
		f += 2;
		break;
	case 's':
		put_text(l, va_arg(*ap, const char *));
		break;
	case 'c':
		put(l, (char)va_arg(*ap, int));
		break;
	default:
		put(l, *f);
	}
	return f + 1;
}

static void emit(const struct line *l)
{
	char *ring = mbox_log_ring();

	for (__u32 i = 0; i < l->len; i++)
		ring[log_head++ & (LOG_RING_SIZE - 1)] = l->text[i];
	mcu_fence();
	mbox_shared()->log_head = log_head;
}

void log_print(enum log_level level, const char *fmt, ...)
{
	struct line l;
	va_list ap;

	if (level > log_level)
		return;
	l.len = 0;
	put_prefix(&l, level);
	va_start(ap, fmt);
	while (*fmt) {
		if (*fmt == '%')
			fmt = format_one(&l, fmt + 1, &ap);
		else
			put(&l, *fmt++);
	}
	va_end(ap);
	if (l.len == LOG_LINE_MAX)
		l.len--;
	put(&l, '\n');
	emit(&l);
}

/* SPDX-License-Identifier: MIT */
/*
 * ACCEL_TRACE=FILE: what the process called and what the cards did, as trace events in JSON, which
 * Perfetto and Chrome open. Calls are on the threads that made them, in CLOCK_MONOTONIC; packets
 * on their queues, one process per card, in the card's engine time. That has a beginning of its own, often days
 * away: it is moved so that the first packets of a card end when they are heard of, beside the calls.
 *
 * The file is an array that ends when the process does; of a process that is killed the viewers read
 * what is there. "%p" in the name stands for the process. A forked child does not trace.
 *
 * Locking: trace_lock guards the buffer, innermost. It is not taken when nothing is traced.
 */
#define _GNU_SOURCE
#include "internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Numbers of cards as processes of the trace, and of queues of several contexts of them. */
#define CARD_PID	0x40000000u

static pthread_mutex_t trace_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_bool enabled;
static int file = -1;
static pid_t process;
static char text[64 << 10];
static size_t used;
static bool first = true;
static struct {
	char pci_address[16];
	uint64_t moved;		/* ns that are added to its engine time, modulo 2^64 */
} known_cards[DEVICES_MAX];
static unsigned int known_count;

static void flush(void)
{
	size_t done = 0;

	while (done < used) {
		ssize_t written = write(file, text + done, used - done);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0) {	/* the disk is full: what is a trace against the work */
			atomic_store(&enabled, false);
			break;
		}
		done += (size_t)written;
	}
	used = 0;
}

/* The longest event, with room to spare. */
#define EVENT_MAX	1024u

static void __attribute__((format(printf, 1, 2))) event(const char *format, ...)
{
	va_list args;
	int length;

	if (sizeof(text) - used < EVENT_MAX)
		flush();
	used += (size_t)snprintf(text + used, sizeof(text) - used, first ? "[\n" : ",\n");
	first = false;
	va_start(args, format);
	length = vsnprintf(text + used, sizeof(text) - used, format, args);
	va_end(args);
	used += (size_t)length;
}

static void expand(const char *name, char *path, size_t room)
{
	const char *at = strstr(name, "%p");

	if (at)
		snprintf(path, room, "%.*s%d%s", (int)(at - name), name, (int)process, at + 2);
	else
		snprintf(path, room, "%s", name);
}

/* As a JSON string has it. */
static void escape(const char *from, char *to, size_t room)
{
	size_t length = 0;

	for (; *from && length + 7 < room; from++) {
		if (*from == '"' || *from == '\\')
			to[length++] = '\\';
		if ((unsigned char)*from < ' ' || *from == 0x7f)
			length += (size_t)snprintf(to + length, room - length, "\\u%04x", (unsigned int)*from);
		else
			to[length++] = *from;
	}
	to[length] = '\0';
}

static void start(void)
{
	const char *name = secure_getenv("ACCEL_TRACE");
	char path[4096], program[256];

	if (!name || !*name)
		return;
	process = getpid();
	expand(name, path, sizeof(path));
	file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (file < 0) {
		log_print(LOG_WARN, "ACCEL_TRACE: cannot write %s: %s", path, strerror(errno));
		return;
	}
	escape(program_invocation_short_name, program, sizeof(program));
	atomic_store(&enabled, true);
	pthread_mutex_lock(&trace_lock);
	event("{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":%d,\"args\":{\"name\":\"%s\"}}", (int)process,
	      program);
	pthread_mutex_unlock(&trace_lock);
}

bool trace_on(void)
{
	pthread_once(&once, start);
	return atomic_load_explicit(&enabled, memory_order_relaxed);
}

static void __attribute__((destructor)) end(void)
{
	if (!atomic_load(&enabled) || getpid() != process)
		return;
	pthread_mutex_lock(&trace_lock);
	atomic_store(&enabled, false);
	if (sizeof(text) - used < 8)
		flush();
	memcpy(text + used, "\n]\n", 3);
	used += 3;
	flush();
	close(file);
	pthread_mutex_unlock(&trace_lock);
}

/* ---- calls ---- */

struct trace_scope trace_begin(const char *function)
{
	return (struct trace_scope){ function, trace_on() ? os_now_ns() : 0 };
}

void trace_end(const struct trace_scope *scope)
{
	uint64_t now;

	if (!scope->start || !trace_on())
		return;
	now = os_now_ns();
	pthread_mutex_lock(&trace_lock);
	if (trace_on())
		event("{\"name\":\"%s\",\"cat\":\"call\",\"ph\":\"X\",\"ts\":%" PRIu64 ".%03u,\"dur\":%" PRIu64
		      ".%03u,\"pid\":%d,\"tid\":%ld}", scope->function, scope->start / 1000,
		      (unsigned int)(scope->start % 1000), (now - scope->start) / 1000,
		      (unsigned int)((now - scope->start) % 1000), (int)process, (long)syscall(SYS_gettid));
	pthread_mutex_unlock(&trace_lock);
}

/* ---- packets ---- */

/* Tells the name of a card once; its number. @end: of the newest of its packets so far. */
static unsigned int card_number(const struct accel_device *device, uint64_t end)
{
	const char *address = device->found.pci_address;
	unsigned int number = 0;

	while (number < known_count && strcmp(known_cards[number].pci_address, address))
		number++;
	if (number == known_count && number < DEVICES_MAX) {
		snprintf(known_cards[number].pci_address, sizeof(known_cards[number].pci_address), "%s", address);
		known_cards[number].moved = os_now_ns() - end;
		known_count++;
		event("{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":%u,\"args\":{\"name\":\"card %s (engine time)\"}}",
		      CARD_PID + number, address);
	}
	return number;
}

static const char *packet_name(uint8_t opcode)
{
	switch (opcode) {
	case ONPU_OP_MATMUL:
		return "MATMUL";
	case ONPU_OP_COPY:
		return "COPY";
	case ONPU_OP_FILL:
		return "FILL";
	default:
		return "PACKET";
	}
}

void trace_packets(const struct accel_device *device, uint32_t queue, const struct onpu_stamp *stamps,
		   unsigned int count)
{
	/* Each open device counts its queues from 1. */
	unsigned int card, track = (unsigned int)device->fd << 10 | queue;

	if (!trace_on() || !count)
		return;
	pthread_mutex_lock(&trace_lock);
	card = card_number(device, stamps[count - 1].end);
	for (unsigned int i = 0; i < count && trace_on(); i++) {
		const struct onpu_stamp *s = &stamps[i];
		uint64_t ns = s->end - s->start, start = s->start + (card < DEVICES_MAX ? known_cards[card].moved : 0);

		event("{\"name\":\"%s\",\"cat\":\"packet\",\"ph\":\"X\",\"ts\":%" PRIu64 ".%03u,\"dur\":%" PRIu64
		      ".%03u,\"pid\":%u,\"tid\":%u,\"args\":{\"ops\":%" PRIu64 ",\"card_bytes\":%" PRIu64
		      ",\"host_read_bytes\":%" PRIu64 ",\"host_write_bytes\":%" PRIu64 ",\"cores_ns\":%" PRIu64 "}}",
		      packet_name(s->opcode), start / 1000, (unsigned int)(start % 1000),
		      ns / 1000, (unsigned int)(ns % 1000), CARD_PID + card, track, (uint64_t)s->ops,
		      (uint64_t)s->vram_bytes, (uint64_t)s->host_read_bytes, (uint64_t)s->host_write_bytes,
		      (uint64_t)s->cores_ns);
	}
	pthread_mutex_unlock(&trace_lock);
}

/* ---- fork ---- */

void trace_before_fork(void)
{
	pthread_mutex_lock(&trace_lock);
}

void trace_in_parent(void)
{
	pthread_mutex_unlock(&trace_lock);
}

void trace_in_child(void)
{
	atomic_store(&enabled, false);
	used = 0;
	pthread_mutex_unlock(&trace_lock);
}

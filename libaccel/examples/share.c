/* SPDX-License-Identifier: MIT */
/*
 * Two processes share a buffer: the parent's card writes A, the child's card computes A * A behind
 * it in the same buffer, the parent reads the result.
 *
 *	cc share.c $(pkg-config --cflags --libs libaccel) -o share
 */
#include <accel/accel.h>

#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define N 64
#define MATRIX (N * N * sizeof(float))
#define TWO 0x40000000	/* 2.0f */

struct card {
	struct accel_device *device;
	struct accel_context *context;
	struct accel_queue *queue;
};

static int failed(const char *who)
{
	fprintf(stderr, "%s: %s\n", who, accel_error_detail());
	return 1;
}

static int open_card(struct card *card)
{
	int ret = accel_device_open(0, &card->device);

	if (!ret)
		ret = accel_context_create(card->device, 0, &card->context);
	if (!ret)
		ret = accel_queue_create(card->context, ACCEL_PRIORITY_MEDIUM, &card->queue);
	return ret;
}

static void close_card(struct card *card)
{
	accel_queue_destroy(card->queue);
	accel_context_destroy(card->context);
	accel_device_close(card->device);
}

/* Submits the matmul behind the parent's work, and tells the parent that it has. */
static int multiply(struct card *card, struct accel_buffer *buffer, int parent)
{
	struct accel_matmul p;
	char byte;

	accel_matmul_init(&p);
	p.m = p.n = p.k = N;
	p.a.buffer = p.b.buffer = p.d.buffer = buffer;
	p.a.type = ACCEL_TYPE_F32;
	p.d.offset = MATRIX;
	if (read(parent, &byte, 1) != 1)	/* the parent has released the buffer */
		return 1;
	if (accel_queue_acquire(card->queue, buffer, ACCEL_ACCESS_READ | ACCEL_ACCESS_WRITE) ||
	    accel_matmul_async(card->queue, &p, NULL) ||
	    accel_queue_release(card->queue, buffer, ACCEL_ACCESS_READ | ACCEL_ACCESS_WRITE))
		return failed("child");
	if (send(parent, &byte, 1, MSG_NOSIGNAL) != 1)
		return 1;
	/* To destroy a queue would cancel its work. */
	return accel_queue_finish(card->queue, ACCEL_FOREVER) ? failed("child") : 0;
}

/* What the parent opened is not the child's: it opens the card for itself. */
static int child(int fd, int parent)
{
	struct card card = { NULL, NULL, NULL };
	struct accel_buffer *buffer = NULL;
	int status;

	if (open_card(&card) || accel_buffer_import(card.context, fd, 0, &buffer))
		status = failed("child");
	else
		status = multiply(&card, buffer, parent);
	accel_buffer_destroy(buffer);
	close_card(&card);
	return status;
}

static int produce(struct card *card, struct accel_buffer *buffer, int other)
{
	float d[N * N];
	char byte = 0;

	if (accel_fill_async(card->queue, buffer, 0, MATRIX, TWO, NULL) ||
	    accel_queue_release(card->queue, buffer, ACCEL_ACCESS_WRITE))
		return failed("parent");
	if (send(other, &byte, 1, MSG_NOSIGNAL) != 1 || read(other, &byte, 1) != 1)
		return 1;
	if (accel_buffer_wait(buffer, ACCEL_ACCESS_READ, ACCEL_FOREVER) ||
	    accel_buffer_read(buffer, MATRIX, d, sizeof(d)))
		return failed("parent");
	printf("%g %g\n", d[0], d[N * N - 1]);
	return 0;
}

static int share(struct card *card, struct accel_buffer *buffer)
{
	int fd, socks[2], status = 0, result;
	pid_t pid;

	if (accel_buffer_export(buffer, 0, &fd))
		return failed("parent");
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, socks))
		return 1;
	pid = fork();
	if (!pid) {
		close(socks[0]);
		_exit(child(fd, socks[1]));
	}
	close(fd);
	close(socks[1]);
	result = pid < 0 ? 1 : produce(card, buffer, socks[0]);
	close(socks[0]);
	if (pid > 0)
		waitpid(pid, &status, 0);
	return result || status;
}

int main(void)
{
	struct card card = { NULL, NULL, NULL };
	struct accel_buffer *buffer = NULL;
	int status;

	if (open_card(&card) ||
	    accel_buffer_create(card.context, 2 * MATRIX, ACCEL_BUFFER_CARD | ACCEL_BUFFER_SHAREABLE, &buffer))
		status = failed("parent");
	else
		status = share(&card, buffer);
	accel_buffer_destroy(buffer);
	close_card(&card);
	return status;
}

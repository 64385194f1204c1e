/* SPDX-License-Identifier: MIT */
/*
 * What happens to open devices when the process forks.
 *
 * The child shares the parent's open file: an ioctl of the child would act on
 * the parent's handles, and the copy of the descriptor would keep the card's memory
 * allocated after the parent has gone. So the child closes its copies at once, and
 * a generation number that only fork() changes tells its objects from the parent's.
 *
 * Locking: one mutex for the list, held across fork() so that the child finds it whole; so are the
 * locks of pointer.c and trace.c, which are taken below everything.
 */
#include "internal.h"
#include "os.h"

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct accel_device *list;
static atomic_uint generation;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int once_error;

static void prepare(void)
{
	pthread_mutex_lock(&list_lock);
	pointer_before_fork();
	trace_before_fork();
}

static void parent(void)
{
	trace_in_parent();
	pointer_in_parent();
	pthread_mutex_unlock(&list_lock);
}

static void child(void)
{
	trace_in_child();
	pointer_in_child();
	atomic_fetch_add(&generation, 1);
	for (struct accel_device *device = list; device; device = device->next)
		os_close(device->fd);
	list = NULL;
	pthread_mutex_unlock(&list_lock);
}

static void register_handlers(void)
{
	once_error = -pthread_atfork(prepare, parent, child);
}

int fork_register(struct accel_device *device)
{
	pthread_once(&once, register_handlers);
	if (once_error)
		return once_error;
	pthread_mutex_lock(&list_lock);
	device->fork_generation = atomic_load(&generation);
	device->next = list;
	list = device;
	pthread_mutex_unlock(&list_lock);
	return 0;
}

void fork_unregister(struct accel_device *device)
{
	pthread_mutex_lock(&list_lock);
	for (struct accel_device **p = &list; *p; p = &(*p)->next) {
		if (*p == device) {
			*p = device->next;
			break;
		}
	}
	pthread_mutex_unlock(&list_lock);
}

unsigned int fork_generation(void)
{
	return atomic_load_explicit(&generation, memory_order_relaxed);
}

/* SPDX-License-Identifier: MIT */
/*
 * The calls of ../src/os.h, open files, the thread, and what ACCEL_DEVICE says.
 *
 * A card is created when its node is opened first, and stays until the process ends; while no file has it open it
 * stands still. A descriptor of one is a memfd without content: it gives the file a number that nothing else has.
 *
 * Locking: mk_lock, see mk.h. It is held across fork(). The child has no threads of the card, and the
 * card's memory is not there: it forgets everything and starts afresh when it opens a card.
 */
#define _GNU_SOURCE
#include "mk.h"

#include "../src/os.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define NODE		"/dev/accel/model"
#define MEMORY_DEFAULT	(4ull << 30)
#define MEMORY_MIN	(64ull << 20)
#define MEMORY_MAX	(1ull << 40)

pthread_mutex_t mk_lock = PTHREAD_MUTEX_INITIALIZER;
struct mk_options mk_options;
struct mk_card *mk_cards[MK_CARDS];

static pthread_cond_t changed, work;
static bool has_work, has_thread;
static bool busy[MK_CARDS];		/* being created, stopped or woken */
static struct mk_file *files;
/* What a parent process had: out of use, but not lost. */
static struct mk_file *inherited_files;
static struct mk_card *inherited_cards[MK_CARDS];

uint64_t mk_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void mk_changed(void)
{
	pthread_cond_broadcast(&changed);
}

bool mk_wait(uint64_t deadline)
{
	struct timespec ts = {
		.tv_sec = (time_t)(deadline / 1000000000u), .tv_nsec = (long)(deadline % 1000000000u),
	};

	if (deadline >= INT64_MAX)
		return !pthread_cond_wait(&changed, &mk_lock);
	return !pthread_cond_timedwait(&changed, &mk_lock, &ts);
}

/* ---- the thread ---- */

void mk_kick(void)
{
	has_work = true;
	pthread_cond_signal(&work);
}

static void wait_for_work(void)
{
	struct timespec ts;

	while (!has_work) {
		if (!mk_must_poll() || !mk_queue_waits()) {
			pthread_cond_wait(&work, &mk_lock);
			continue;
		}
		clock_gettime(CLOCK_MONOTONIC, &ts);
		ts.tv_nsec += MK_POLL_NS;
		if (ts.tv_nsec >= 1000000000) {
			ts.tv_nsec -= 1000000000;
			ts.tv_sec++;
		}
		if (pthread_cond_timedwait(&work, &mk_lock, &ts))
			break;
	}
}

static void *thread_main(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&mk_lock);
	for (;;) {
		wait_for_work();
		has_work = false;
		for (unsigned int i = 0; i < MK_CARDS; i++) {
			struct mk_card *card = mk_cards[i];

			if (!card || !card->mail)
				continue;
			card->mail = false;
			mk_card_mail(card);
		}
		mk_queue_push_all();
	}
	return NULL;
}

static int start_thread(void)
{
	sigset_t all, old;
	pthread_t thread;
	int ret;

	if (has_thread)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&thread, NULL, thread_main, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret)
		return -ret;
	pthread_setname_np(thread, "onpu-kernel");
	pthread_detach(thread);
	has_thread = true;
	return 0;
}

/* ---- fork ---- */

static void init_conditions(void)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&changed, &attr);
	pthread_cond_init(&work, &attr);
	pthread_condattr_destroy(&attr);
}

static void before_fork(void)
{
	pthread_mutex_lock(&mk_lock);
}

static void in_parent(void)
{
	pthread_mutex_unlock(&mk_lock);
}

static void in_child(void)
{
	inherited_files = files;
	files = NULL;
	memcpy(inherited_cards, mk_cards, sizeof(mk_cards));
	memset(mk_cards, 0, sizeof(mk_cards));
	memset(busy, 0, sizeof(busy));
	mk_queue_forget();
	mk_share_forget();
	has_work = has_thread = false;
	init_conditions();
	pthread_mutex_unlock(&mk_lock);
}

/* ---- open files ---- */

static struct mk_file *find_file(int fd)
{
	struct mk_file *file = files;

	while (file && file->fd != fd)
		file = file->next;
	return file;
}

/* Stops a card, or has it go on; the lock is released, for its threads may be about to call in. */
static void park(struct mk_card *card, bool stop)
{
	busy[card->index] = true;
	pthread_mutex_unlock(&mk_lock);
	if (stop)
		onpu_card_quiesce(card->model);
	else
		onpu_card_resume(card->model);
	pthread_mutex_lock(&mk_lock);
	card->parked = stop;
	busy[card->index] = false;
	mk_changed();
}

/* Counts one more file that has the card open. */
static int get_card(unsigned int index, struct mk_card **out)
{
	int ret = start_thread();

	while (!ret && busy[index])
		mk_wait(UINT64_MAX);
	if (!ret && !mk_cards[index]) {
		busy[index] = true;
		ret = mk_card_create(index);
		busy[index] = false;
		mk_changed();
	}
	if (ret)
		return ret;
	*out = mk_cards[index];
	if (!(*out)->files++ && (*out)->parked)
		park(*out, false);
	return 0;
}

/* Nobody can see whether a card that is not open is alive: it stands still, and takes no CPU time. */
static void put_card(struct mk_card *card)
{
	if (--card->files)
		return;
	while (busy[card->index])
		mk_wait(UINT64_MAX);
	if (!card->files && !card->parked)
		park(card, true);
}

static int create_file(unsigned int index)
{
	struct mk_card *card;
	struct mk_file *file;
	char name[32];
	int ret;

	ret = get_card(index, &card);
	if (ret)
		return ret;
	file = calloc(1, sizeof(*file));
	if (!file) {
		put_card(card);
		return -ENOMEM;
	}
	snprintf(name, sizeof(name), "onpu-card%u", index);
	file->fd = memfd_create(name, MFD_CLOEXEC);
	if (file->fd < 0) {
		ret = -errno;
		put_card(card);
		free(file);
		return ret;
	}
	file->refs = 1;
	file->card = card;
	file->next = files;
	files = file;
	return file->fd;
}

static int mk_open(const char *path)
{
	unsigned int index;
	int end = 0, ret;

	if (sscanf(path, NODE "%u%n", &index, &end) != 1 || path[end] || index >= mk_options.cards)
		return -ENOENT;
	pthread_mutex_lock(&mk_lock);
	ret = create_file(index);
	pthread_mutex_unlock(&mk_lock);
	return ret;
}

static void put_file(struct mk_file *file)
{
	if (--file->refs)
		return;
	for (uint32_t i = 1; i <= MK_QUEUES; i++)
		if (file->queues[i])
			mk_queue_destroy(file, i);
	for (uint32_t i = 1; i <= MK_VMS; i++)
		if (file->vms[i])
			mk_vm_put(file->vms[i]);
	for (uint32_t i = 1; i < file->bo_room; i++)
		if (file->bos[i])
			mk_bo_put(file->bos[i]);
	for (uint32_t i = 1; i < file->syncobj_room; i++)
		mk_syncobj_clear(&file->syncobjs[i]);
	put_card(file->card);
	free(file->syncobjs);
	free(file->bos);
	free(file);
}

static void mk_close(int fd)
{
	struct mk_file *file, **link;

	pthread_mutex_lock(&mk_lock);
	for (link = &files; (file = *link) && file->fd != fd; link = &file->next)
		;
	if (file) {
		*link = file->next;
		put_file(file);
	}
	pthread_mutex_unlock(&mk_lock);
	close(fd);
}

static int dispatch(struct mk_file *file, unsigned long request, void *arg)
{
	static int (*const parts[])(struct mk_file *file, unsigned long request, void *arg) = {
		mk_queue_ioctl, mk_uqueue_ioctl, mk_syncobj_ioctl, mk_bo_ioctl, mk_vm_ioctl, mk_query_ioctl, mk_share_ioctl,
	};
	int ret = -ENOTTY;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && ret == -ENOTTY; i++)
		ret = parts[i](file, request, arg);
	return ret;
}

static int mk_ioctl(int fd, unsigned long request, void *arg)
{
	struct mk_file *file;
	int ret;

	pthread_mutex_lock(&mk_lock);
	file = find_file(fd);
	if (!file) {
		ret = mk_dma_buf_ioctl(fd, request, arg);
	} else if (file->card->lost && request != DRM_IOCTL_GEM_CLOSE) {
		ret = -ENODEV;
	} else {
		file->refs++;
		ret = dispatch(file, request, arg);
		put_file(file);
	}
	pthread_mutex_unlock(&mk_lock);
	return ret;
}

/* What the library maps is there already, but for doorbells. */
static int mk_mmap(int fd, uint64_t offset, size_t size, void **pointer)
{
	struct mk_file *file;
	struct mk_bo *bo;
	int ret = -EINVAL;

	pthread_mutex_lock(&mk_lock);
	file = find_file(fd);
	if (file && offset >= MK_DOORBELLS) {
		ret = size == MK_PAGE ? mk_bell_map(file, (uint32_t)(offset - MK_DOORBELLS), pointer) : -EINVAL;
		file = NULL;
	}
	bo = file ? mk_bo_find(file, (uint32_t)(offset >> 32)) : NULL;
	if (bo && !bo->user && size <= bo->size && !(offset & UINT32_MAX)) {
		*pointer = bo->memory;
		ret = 0;
	}
	pthread_mutex_unlock(&mk_lock);
	return ret;
}

static void mk_munmap(void *pointer, size_t size)
{
	(void)size;
	pthread_mutex_lock(&mk_lock);
	mk_bell_unmap(pointer);
	pthread_mutex_unlock(&mk_lock);
}

static void mk_exporter(int fd, char *name, size_t room)
{
	pthread_mutex_lock(&mk_lock);
	snprintf(name, room, "%s", mk_is_dma_buf(fd) ? "onpu" : "");
	pthread_mutex_unlock(&mk_lock);
}

static int mk_wait_fences(int fd, bool all, uint64_t deadline)
{
	int ret;

	pthread_mutex_lock(&mk_lock);
	ret = mk_dma_buf_wait(fd, all, deadline);
	pthread_mutex_unlock(&mk_lock);
	return ret;
}

/* In a PCI domain that no machine has. */
static int mk_devices(struct found_device *found, unsigned int max)
{
	unsigned int count = mk_options.cards < max ? mk_options.cards : max;

	for (unsigned int i = 0; i < count; i++) {
		found[i] = (struct found_device){
			.pci = { 0xfffe, 0, i, 0 },
			.vendor_id = ONPU_PCI_VENDOR_ID,
			.device_id = ONPU_PCI_DEVICE_ID,
		};
		snprintf(found[i].pci_address, sizeof(found[i].pci_address), "fffe:00:%02x.0", i % MK_CARDS);
		snprintf(found[i].node, sizeof(found[i].node), NODE "%u", i % MK_CARDS);
	}
	return (int)count;
}

unsigned int mk_objects(void)
{
	unsigned int count = 0;

	pthread_mutex_lock(&mk_lock);
	for (struct mk_file *file = files; file; file = file->next)
		count++;
	for (unsigned int c = 0; c < MK_CARDS; c++) {
		if (!mk_cards[c])
			continue;
		for (struct mk_bo *bo = mk_cards[c]->bos; bo; bo = bo->next)
			count++;
		for (unsigned int i = 0; i < ONPU_MAX_CONTEXTS; i++)
			count += mk_cards[c]->vms[i] != NULL;
		for (unsigned int i = 0; i < ONPU_MAX_QUEUES; i++)
			count += mk_cards[c]->queues[i] != NULL;
	}
	pthread_mutex_unlock(&mk_lock);
	return count;
}

/* ---- ACCEL_DEVICE ---- */

static bool parse_number(const char *text, uint64_t low, uint64_t high, uint64_t *value)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*value = strtoull(text, &end, 10);
	unit = *end ? strchr(units, *end) : NULL;
	if (unit) {
		unsigned int shift = 10 * (unsigned int)(unit - units + 1);

		if (*value > UINT64_MAX >> shift)
			return false;
		*value <<= shift;
		end++;
	}
	return !errno && !*end && *value >= low && *value <= high;
}

static bool parse_option(const char *word)
{
	uint64_t value;

	if (!strncmp(word, "memory=", 7) && parse_number(word + 7, MEMORY_MIN, MEMORY_MAX, &value))
		mk_options.memory = (value + MK_HUGE - 1) & ~(MK_HUGE - 1);
	else if (!strncmp(word, "threads=", 8) && parse_number(word + 8, 1, 256, &value))
		mk_options.threads = (int)value;
	else if (parse_number(word, 0, MK_CARDS, &value))
		mk_options.cards = (unsigned int)value;
	else
		return false;
	return true;
}

static int cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) ? -1 : CPU_COUNT(&set);
}

/* "model", "model:2", "model:2,memory=8G,threads=4" */
static bool parse(const char *text, char *problem, size_t room)
{
	char copy[128], *save = NULL;

	mk_options = (struct mk_options){ .cards = 1, .threads = cpus(), .memory = MEMORY_DEFAULT };
	if (snprintf(copy, sizeof(copy), "%s", text) >= (int)sizeof(copy))
		copy[0] = '\0';
	if (!strcmp(copy, "model"))
		return true;
	if (!strncmp(copy, "model:", 6) && copy[6]) {
		char *word = strtok_r(copy + 6, ",", &save);

		while (word && parse_option(word))
			word = strtok_r(NULL, ",", &save);
		if (!word)
			return true;
	}
	snprintf(problem, room, "ACCEL_DEVICE is \"%.40s\", not as \"model:2,memory=8G,threads=4\""
		 " (at most %u cards, memory from 64M to 1T)", text, MK_CARDS);
	return false;
}

static const struct os_ops ops = {
	.devices = mk_devices,
	.open = mk_open,
	.close = mk_close,
	.ioctl = mk_ioctl,
	.mmap = mk_mmap,
	.munmap = mk_munmap,
	.ring = mk_bell_ring,
	.exporter = mk_exporter,
	.wait_fences = mk_wait_fences,
};

const struct os_ops *accel_model_os_1(const char *device, char *problem, size_t room)
{
	int ret;

	if (!parse(device, problem, room))
		return NULL;
	init_conditions();
	ret = pthread_atfork(before_fork, in_parent, in_child);
	if (ret) {
		snprintf(problem, room, "cannot register fork handlers: %s", strerror(ret));
		return NULL;
	}
	return &ops;
}

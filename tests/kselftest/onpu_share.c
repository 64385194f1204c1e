// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory shared by dma-bufs: between files, processes and cards, from other
 * exporters, and with fences that travel in the dma-buf.
 */
#include "kselftest_harness.h"

#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "onpu_kselftest.h"

#define SIZE MIB(1)
#define WORDS (SIZE / 4)
#define RDWR (DRM_CLOEXEC | DRM_RDWR)

/* A dma-buf of a handle: its file descriptor, or a negative errno. */
static int export_bo(int fd, uint32_t handle, uint32_t flags)
{
	struct drm_prime_handle args = { .handle = handle, .flags = flags, .fd = -1 };
	int ret = onpu_ioctl(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &args);

	return ret ? ret : args.fd;
}

static int import_bo(int fd, int dma_buf, uint32_t *handle)
{
	struct drm_prime_handle args = { .fd = dma_buf };
	int ret = onpu_ioctl(fd, DRM_IOCTL_PRIME_FD_TO_HANDLE, &args);

	*handle = args.handle;
	return ret;
}

static uint32_t *map_dma_buf(int dma_buf, int prot)
{
	uint32_t *map = mmap(NULL, SIZE, prot, MAP_SHARED, dma_buf, 0);

	return map == MAP_FAILED ? NULL : map;
}

/* Another exporter's memory, in a dma-buf. */
static int udmabuf_new(uint64_t size)
{
	struct udmabuf_create args = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = size };
	int memfd = memfd_create("onpu", MFD_ALLOW_SEALING | MFD_CLOEXEC), dev, ret;

	dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	if (memfd < 0 || dev < 0 || ftruncate(memfd, (off_t)size) ||
	    fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK)) {
		ret = -errno;
	} else {
		args.memfd = (uint32_t)memfd;
		ret = ioctl(dev, UDMABUF_CREATE, &args);
		ret = ret < 0 ? -errno : ret;
	}
	close(memfd);
	close(dev);
	return ret;
}

/* The heap maps its pages for each file that imports them, which DMA debugging takes for a mistake. */
static void __attribute__((constructor)) announce(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("# expect-kernel: Call Trace|kernel/dma/debug.c.*add_dma_entry\n");
}

static int heap_new(uint64_t size)
{
	struct dma_heap_allocation_data args = { .len = size, .fd_flags = O_RDWR | O_CLOEXEC };
	int dev = open("/dev/dma_heap/system", O_RDWR | O_CLOEXEC), ret;

	if (dev < 0)
		return -errno;
	ret = ioctl(dev, DMA_HEAP_IOCTL_ALLOC, &args) ? -errno : (int)args.fd;
	close(dev);
	return ret;
}

/* The card fills memory that it has at @va. */
static int fill(struct onpu_env *env, uint64_t va, uint32_t value)
{
	return onpu_run_one(env, pkt_fill(va, SIZE, value));
}

static bool all_words(const uint32_t *map, uint32_t value)
{
	for (uint64_t i = 0; i < WORDS; i++)
		if (map[i] != value)
			return false;
	return true;
}

FIXTURE(share)
{
	struct onpu_env env;
	struct drm_onpu_query_memory before;
	struct onpu_buf buf;
};

FIXTURE_VARIANT(share)
{
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(share, vram)
{
	.flags = DRM_ONPU_BO_VRAM,
};

FIXTURE_VARIANT_ADD(share, system)
{
	.flags = DRM_ONPU_BO_SYSTEM,
};

FIXTURE_SETUP(share)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	ASSERT_EQ(0, onpu_env_on(&self->env, fd));
	ASSERT_EQ(0, onpu_buf_new(&self->env, SIZE, variant->flags, &self->buf));
}

FIXTURE_TEARDOWN(share)
{
	onpu_env_fini(&self->env);
	onpu_unmap_all();
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

TEST_F(share, with_another_file_of_the_card)
{
	int dma_buf = export_bo(self->env.fd, self->buf.handle, RDWR);
	uint32_t handle, again, *map;
	struct onpu_env other;

	ASSERT_GE(dma_buf, 0);
	ASSERT_EQ(0, onpu_env_init(&other));
	ASSERT_EQ(0, import_bo(other.fd, dma_buf, &handle));
	ASSERT_EQ(0, import_bo(other.fd, dma_buf, &again));
	EXPECT_EQ(handle, again);
	close(dma_buf);
	/* It is the same memory, for both cards' address spaces and for both mappings. */
	ASSERT_EQ(0, onpu_map(other.fd, other.vm, handle, 0, MIB(512), SIZE, 0));
	map = onpu_bo_map(other.fd, handle, SIZE);
	ASSERT_NE(NULL, map);
	ASSERT_EQ(0, fill(&self->env, self->buf.va, 0x11223344));
	EXPECT_TRUE(all_words(map, 0x11223344));
	/* It outlives the file that created it. */
	onpu_env_fini(&self->env);
	ASSERT_EQ(0, fill(&other, MIB(512), 0x55667788));
	EXPECT_TRUE(all_words(map, 0x55667788));
	EXPECT_TRUE(all_words(self->buf.cpu, 0x55667788));
	onpu_env_fini(&other);
	self->env.fd = -1;
}

TEST_F(share, import_of_ones_own_is_the_same_handle)
{
	int dma_buf = export_bo(self->env.fd, self->buf.handle, RDWR);
	int again = export_bo(self->env.fd, self->buf.handle, RDWR);
	struct stat one, two;
	uint32_t handle;

	ASSERT_GE(dma_buf, 0);
	ASSERT_GE(again, 0);
	ASSERT_EQ(0, import_bo(self->env.fd, dma_buf, &handle));
	EXPECT_EQ(self->buf.handle, handle);
	ASSERT_EQ(0, fstat(dma_buf, &one));
	ASSERT_EQ(0, fstat(again, &two));
	EXPECT_EQ(one.st_ino, two.st_ino);
	EXPECT_EQ((off_t)SIZE, lseek(dma_buf, 0, SEEK_END));
	close(dma_buf);
	close(again);
}

TEST_F(share, private_memory_is_not)
{
	uint32_t handle;

	ASSERT_EQ(0, onpu_bo_create(self->env.fd, SIZE, variant->flags, self->env.vm, &handle));
	EXPECT_EQ(-EPERM, export_bo(self->env.fd, handle, RDWR));
}

TEST_F(share, bad_arguments)
{
	int dma_buf, plain = open("/dev/null", O_RDWR | O_CLOEXEC);
	uint32_t handle;

	EXPECT_EQ(-ENOENT, export_bo(self->env.fd, 12345, RDWR));
	EXPECT_EQ(-EINVAL, export_bo(self->env.fd, self->buf.handle, 0x40000000));
	EXPECT_EQ(-EINVAL, import_bo(self->env.fd, plain, &handle));
	close(plain);
	EXPECT_EQ(-EBADF, import_bo(self->env.fd, plain, &handle));
	dma_buf = export_bo(self->env.fd, self->buf.handle, DRM_CLOEXEC);
	ASSERT_GE(dma_buf, 0);
	/* Not exported for writing. */
	EXPECT_EQ(NULL, map_dma_buf(dma_buf, PROT_READ | PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	close(dma_buf);
}

TEST_F(share, map_by_the_dma_buf)
{
	int dma_buf = export_bo(self->env.fd, self->buf.handle, RDWR);
	struct dma_buf_sync sync = { .flags = DMA_BUF_SYNC_RW };
	uint32_t *map = map_dma_buf(dma_buf, PROT_READ | PROT_WRITE);

	ASSERT_NE(NULL, map);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, SIZE + PAGE, PROT_READ, MAP_SHARED, dma_buf, 0));
	ASSERT_EQ(0, ioctl(dma_buf, DMA_BUF_IOCTL_SYNC, &sync));
	ASSERT_EQ(0, fill(&self->env, self->buf.va, 0xabcdef01));
	EXPECT_TRUE(all_words(map, 0xabcdef01));
	map[17] = 0x17;
	EXPECT_EQ(0x17, ((uint32_t *)self->buf.cpu)[17]);
	sync.flags = DMA_BUF_SYNC_RW | DMA_BUF_SYNC_END;
	EXPECT_EQ(0, ioctl(dma_buf, DMA_BUF_IOCTL_SYNC, &sync));
	/* The mapping keeps the memory. */
	close(dma_buf);
	onpu_buf_free(&self->env, &self->buf);
	EXPECT_EQ(0x17, map[17]);
	EXPECT_EQ(0xabcdef01, map[WORDS - 1]);
	munmap(map, SIZE);
}

/* Whether a program that is executed still has the descriptor. */
static int survives_exec(int fd)
{
	char text[64];
	int status;
	pid_t pid;

	snprintf(text, sizeof(text), "[ -e /proc/self/fd/%d ]", fd);
	pid = fork();
	if (!pid) {
		execl("/bin/sh", "sh", "-c", text, (char *)NULL);
		_exit(99);
	}
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

TEST_F(share, close_on_exec)
{
	int closed = export_bo(self->env.fd, self->buf.handle, RDWR);
	int kept = export_bo(self->env.fd, self->buf.handle, DRM_RDWR);

	EXPECT_EQ(1, survives_exec(closed));
	EXPECT_EQ(0, survives_exec(kept));
	close(closed);
	close(kept);
}

TEST_F(share, a_child_inherits)
{
	int dma_buf = export_bo(self->env.fd, self->buf.handle, RDWR);
	int status;
	pid_t pid;

	ASSERT_GE(dma_buf, 0);
	pid = fork();
	if (!pid) {
		uint32_t handle, *map = map_dma_buf(dma_buf, PROT_READ | PROT_WRITE);
		struct onpu_env own;

		if (!map || onpu_env_init(&own) || import_bo(own.fd, dma_buf, &handle))
			_exit(1);
		if (onpu_map(own.fd, own.vm, handle, 0, MIB(512), SIZE, 0) ||
		    fill(&own, MIB(512), 0x600d))
			_exit(2);
		/* The mapping of the parent's file is the child's as well. */
		if (!all_words(map, 0x600d) || !all_words(self->buf.cpu, 0x600d))
			_exit(3);
		map[0] = 0x900d;
		_exit(0);
	}
	close(dma_buf);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0x900d, ((uint32_t *)self->buf.cpu)[0]);
	EXPECT_EQ(0x600d, ((uint32_t *)self->buf.cpu)[1]);
}

static int send_fd(int sock, int fd)
{
	char data = 'x', control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = &data, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	return sendmsg(sock, &msg, 0) == 1 ? 0 : -errno;
}

static int receive_fd(int sock)
{
	char data, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { .iov_base = &data, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	int fd = -1;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&msg))
		return -EIO;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

/* A process without any relation to the memory but a socket. */
TEST_F(share, by_a_socket)
{
	int socks[2], dma_buf, status;
	uint32_t handle, *map;
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks));
	pid = fork();
	if (!pid) {
		struct onpu_env own;
		struct onpu_buf buf;

		if (onpu_env_init(&own) || onpu_buf_new(&own, SIZE, variant->flags, &buf) ||
		    fill(&own, buf.va, 0xfeedf00d))
			_exit(1);
		if (send_fd(socks[1], export_bo(own.fd, buf.handle, RDWR)))
			_exit(2);
		_exit(0);
	}
	dma_buf = receive_fd(socks[0]);
	ASSERT_GE(dma_buf, 0);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	ASSERT_EQ(0, import_bo(self->env.fd, dma_buf, &handle));
	close(dma_buf);
	map = onpu_bo_map(self->env.fd, handle, SIZE);
	ASSERT_NE(NULL, map);
	EXPECT_TRUE(all_words(map, 0xfeedf00d));
	ASSERT_EQ(0, onpu_map(self->env.fd, self->env.vm, handle, 0, MIB(512), SIZE, 0));
	ASSERT_EQ(0, fill(&self->env, MIB(512), 1));
	EXPECT_TRUE(all_words(map, 1));
	onpu_bo_unmap(map, SIZE);
	close(socks[0]);
	close(socks[1]);
}

/* A job's fence goes into the dma-buf; who polls it or takes it from there waits for the job. */
TEST_F(share, fences_travel_in_the_dma_buf)
{
	int dma_buf = export_bo(self->env.fd, self->buf.handle, RDWR), file;
	struct dma_buf_import_sync_file in = { .flags = DMA_BUF_SYNC_WRITE };
	struct dma_buf_export_sync_file out = { .flags = DMA_BUF_SYNC_READ };
	volatile uint64_t *word = (void *)&self->env.packets[500];
	struct pollfd poller = { .fd = dma_buf, .events = POLLIN };
	struct drm_syncobj_handle sync = { .flags = DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_IMPORT_SYNC_FILE };
	struct onpu_env other;
	uint32_t done;

	ASSERT_GE(dma_buf, 0);
	/* Fresh memory may be on its way to being zero. */
	EXPECT_EQ(1, poll(&poller, 1, 10000));
	onpu_add(&self->env, pkt_wait(self->env.cmd.va + 64 * 500, ONPU_WAIT_EQ, 1));
	onpu_add(&self->env, pkt_fill(self->buf.va, SIZE, 0xfe4ce));
	ASSERT_EQ(0, onpu_start(&self->env, 0, self->env.sync));
	/* Jobs leave nothing in it that others wait for. */
	EXPECT_EQ(1, poll(&poller, 1, 0));
	file = onpu_sync_to_file(self->env.fd, self->env.sync);
	ASSERT_GE(file, 0);
	in.fd = file;
	ASSERT_EQ(0, ioctl(dma_buf, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &in));
	close(file);
	EXPECT_EQ(0, poll(&poller, 1, 50));

	/* Somebody else's job waits for it. */
	ASSERT_EQ(0, ioctl(dma_buf, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &out));
	ASSERT_EQ(0, onpu_env_init(&other));
	sync.handle = onpu_sync_create(other.fd, false);
	sync.fd = out.fd;
	ASSERT_EQ(0, onpu_ioctl(other.fd, DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, &sync));
	close(out.fd);
	done = onpu_sync_create(other.fd, false);
	onpu_add(&other, pkt_nop());
	ASSERT_EQ(0, onpu_start(&other, sync.handle, done));
	EXPECT_EQ(-ETIME, onpu_sync_wait_for(other.fd, done, 50000000));

	*word = 1;
	EXPECT_EQ(0, onpu_sync_wait(other.fd, done));
	EXPECT_EQ(1, poll(&poller, 1, 10000));
	EXPECT_TRUE(all_words(self->buf.cpu, 0xfe4ce));
	onpu_env_fini(&other);
	close(dma_buf);
}

/* Memory of other exporters, in one card or in two. */
FIXTURE(foreign)
{
	struct onpu_env env[2];
	struct drm_onpu_query_memory before;
	int cards, dma_buf;
	uint32_t *map;
};

FIXTURE_VARIANT(foreign)
{
	int (*create)(uint64_t size);
};

FIXTURE_VARIANT_ADD(foreign, udmabuf)
{
	.create = udmabuf_new,
};

FIXTURE_VARIANT_ADD(foreign, heap)
{
	.create = heap_new,
};

FIXTURE_SETUP(foreign)
{
	int fd = onpu_open();

	ASSERT_GE(fd, 0);
	self->before = onpu_memory(fd);
	self->dma_buf = variant->create(SIZE);
	if (self->dma_buf == -ENOENT)
		SKIP(return, "the kernel has no such exporter");
	ASSERT_GE(self->dma_buf, 0);
	self->map = map_dma_buf(self->dma_buf, PROT_READ | PROT_WRITE);
	ASSERT_NE(NULL, self->map);
	for (self->cards = 0; self->cards < 2 && fd >= 0; fd = onpu_open_card(++self->cards))
		ASSERT_EQ(0, onpu_env_on(&self->env[self->cards], fd));
}

FIXTURE_TEARDOWN(foreign)
{
	for (int i = 0; i < self->cards; i++)
		onpu_env_fini(&self->env[i]);
	if (self->map)
		munmap(self->map, SIZE);
	if (self->dma_buf >= 0)
		close(self->dma_buf);
	onpu_unmap_all();
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

TEST_F(foreign, read_and_write)
{
	for (int i = 0; i < self->cards; i++) {
		struct onpu_env *env = &self->env[i];
		uint64_t used = onpu_memory(env->fd).system_used;
		struct onpu_buf to;
		uint32_t handle;

		ASSERT_EQ(0, import_bo(env->fd, self->dma_buf, &handle));
		/* It is not the driver's memory. */
		EXPECT_EQ(used, onpu_memory(env->fd).system_used);
		ASSERT_EQ(0, onpu_map(env->fd, env->vm, handle, 0, MIB(512), SIZE, 0));
		ASSERT_EQ(0, fill(env, MIB(512), 0x1000 + i));
		EXPECT_TRUE(all_words(self->map, 0x1000 + i));
		ASSERT_EQ(0, onpu_buf_new(env, SIZE, DRM_ONPU_BO_VRAM, &to));
		for (uint32_t j = 0; j < WORDS; j++)
			self->map[j] = j * 7;
		ASSERT_EQ(0, onpu_run_one(env, pkt_copy(to.va, MIB(512), SIZE)));
		EXPECT_EQ(0, memcmp(to.cpu, self->map, SIZE));
		/* Not all exporters can stand two importers at a time under DMA API debugging. */
		ASSERT_EQ(0, onpu_unmap(env->fd, env->vm, MIB(512), SIZE));
		ASSERT_EQ(0, onpu_bo_close(env->fd, handle));
		usleep(100000);
	}
}

TEST_F(foreign, map_by_the_card)
{
	int fd = self->env[0].fd, again;
	struct stat one, two;
	uint32_t handle, *map;

	ASSERT_EQ(0, import_bo(fd, self->dma_buf, &handle));
	map = onpu_bo_map(fd, handle, SIZE);
	ASSERT_NE(NULL, map);
	map[99] = 0x99;
	EXPECT_EQ(0x99, self->map[99]);
	/* Exported again it is the dma-buf that it came from. */
	again = export_bo(fd, handle, RDWR);
	ASSERT_GE(again, 0);
	ASSERT_EQ(0, fstat(self->dma_buf, &one));
	ASSERT_EQ(0, fstat(again, &two));
	EXPECT_EQ(one.st_ino, two.st_ino);
	close(again);
	/* The mapping is the exporter's, and outlives the import. */
	EXPECT_EQ(0, onpu_bo_close(fd, handle));
	map[98] = 0x98;
	EXPECT_EQ(0x98, self->map[98]);
}

TEST_F(foreign, keeps_the_memory)
{
	struct onpu_env *env = &self->env[0];
	uint32_t handle;

	ASSERT_EQ(0, import_bo(env->fd, self->dma_buf, &handle));
	ASSERT_EQ(0, onpu_map(env->fd, env->vm, handle, 0, MIB(512), SIZE, 0));
	EXPECT_EQ(0, onpu_bo_close(env->fd, handle));
	close(self->dma_buf);
	self->dma_buf = -1;
	/* The address space has it still. */
	for (uint32_t i = 1; i < 5; i++) {
		ASSERT_EQ(0, fill(env, MIB(512), i));
		EXPECT_TRUE(all_words(self->map, i));
	}
}

TEST_F(foreign, many_times)
{
	struct onpu_env *env = &self->env[0];
	uint32_t handle;

	for (int i = 0; i < 50; i++) {
		ASSERT_EQ(0, import_bo(env->fd, self->dma_buf, &handle));
		ASSERT_EQ(0, onpu_map(env->fd, env->vm, handle, 0, MIB(512), SIZE, 0));
		ASSERT_EQ(0, onpu_bo_close(env->fd, handle));
		if (i % 3 == 0)
			ASSERT_EQ(0, onpu_unmap(env->fd, env->vm, MIB(512), SIZE));
	}
}

/* Memory of the first card, used by the second one. */
FIXTURE(two)
{
	struct onpu_env env[2];
	struct drm_onpu_query_memory before;
	char name[2][64];
	struct onpu_buf own, result;	/* of the first card, of the second */
	uint32_t handle;		/* the first card's memory in the second */
};

#define SHARED_VA MIB(512)
#define SYS_DRIVER "/sys/bus/pci/drivers/onpu/"

FIXTURE_VARIANT(two)
{
	uint32_t flags;
};

/* Moves to where the second card can reach it. */
FIXTURE_VARIANT_ADD(two, vram)
{
	.flags = DRM_ONPU_BO_VRAM,
};

FIXTURE_VARIANT_ADD(two, system)
{
	.flags = DRM_ONPU_BO_SYSTEM,
};

FIXTURE_SETUP(two)
{
	int dma_buf, fd;

	for (unsigned int i = 0; i < 2; i++) {
		fd = onpu_open_card(i);
		if (fd == -ENODEV)
			SKIP(return, "needs two cards");
		ASSERT_GE(fd, 0);
		if (!i)
			self->before = onpu_memory(fd);
		ASSERT_EQ(0, onpu_bus_name(fd, self->name[i], sizeof(self->name[i])));
		ASSERT_EQ(0, onpu_env_on(&self->env[i], fd));
	}
	ASSERT_EQ(0, onpu_buf_new(&self->env[0], SIZE, variant->flags, &self->own));
	/* What it holds goes with it. */
	ASSERT_EQ(0, fill(&self->env[0], self->own.va, 0x1234));
	ASSERT_EQ(0, onpu_buf_new(&self->env[1], SIZE, DRM_ONPU_BO_VRAM, &self->result));
	dma_buf = export_bo(self->env[0].fd, self->own.handle, RDWR);
	ASSERT_GE(dma_buf, 0);
	ASSERT_EQ(0, import_bo(self->env[1].fd, dma_buf, &self->handle));
	close(dma_buf);
	ASSERT_EQ(0, onpu_map(self->env[1].fd, self->env[1].vm, self->handle, 0, SHARED_VA, SIZE,
			      0));
}

FIXTURE_TEARDOWN(two)
{
	for (int i = 0; i < 2; i++)
		onpu_env_fini(&self->env[i]);
	onpu_unmap_all();
	EXPECT_TRUE(onpu_memory_is_back(&self->before));
}

/* What the second card finds in the first one's memory. */
static bool second_sees(struct onpu_env *env, const struct onpu_buf *result, uint32_t value)
{
	return !onpu_run_one(env, pkt_copy(result->va, SHARED_VA, SIZE)) &&
	       all_words(result->cpu, value);
}

TEST_F(two, both_directions)
{
	EXPECT_TRUE(all_words(self->own.cpu, 0x1234));
	EXPECT_TRUE(second_sees(&self->env[1], &self->result, 0x1234));
	ASSERT_EQ(0, fill(&self->env[0], self->own.va, 0xa));
	EXPECT_TRUE(second_sees(&self->env[1], &self->result, 0xa));
	ASSERT_EQ(0, fill(&self->env[1], SHARED_VA, 0xb));
	EXPECT_TRUE(all_words(self->own.cpu, 0xb));
}

/* Card after card, ordered by fences alone. */
TEST_F(two, one_after_the_other)
{
	uint32_t in[2];

	for (int i = 0; i < 2; i++)
		in[i] = onpu_sync_create(self->env[i].fd, true);
	for (uint32_t step = 1; step <= 40; step++) {
		struct onpu_env *env = &self->env[step % 2];
		uint64_t va = step % 2 ? SHARED_VA : self->own.va;
		struct drm_syncobj_handle args = {
			.handle = in[!(step % 2)],
			.flags = DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_IMPORT_SYNC_FILE,
		};

		/* Words move along, and a new one comes behind. No packet is used twice. */
		env->count = step / 2 * 3;
		onpu_add(env, pkt_copy(va + KIB(512), va, KIB(256)));
		onpu_add(env, pkt_copy(va + 4, va + KIB(512), KIB(256)));
		onpu_add(env, pkt_fill(va, 4, step));
		ASSERT_EQ(0, onpu_submit(env->fd, env->queue,
					 env->cmd.va + (env->count - 3) * sizeof(*env->packets), 3,
					 in[step % 2], env->sync));
		env->count = 0;
		args.fd = onpu_sync_to_file(env->fd, env->sync);
		ASSERT_GE(args.fd, 0);
		ASSERT_EQ(0, onpu_ioctl(self->env[!(step % 2)].fd, DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE,
					&args));
		close(args.fd);
	}
	ASSERT_EQ(0, onpu_sync_wait(self->env[0].fd, self->env[0].sync));
	for (uint32_t i = 0; i < 40; i++) {
		EXPECT_EQ(40 - i, ((uint32_t *)self->own.cpu)[i]);
	}
}

TEST_F(two, the_owner_lets_go)
{
	ASSERT_EQ(0, fill(&self->env[0], self->own.va, 0xc));
	onpu_buf_free(&self->env[0], &self->own);
	onpu_env_fini(&self->env[0]);
	self->env[0].fd = -1;
	EXPECT_TRUE(second_sees(&self->env[1], &self->result, 0xc));
}

TEST_F_TIMEOUT(two, the_owners_card_goes, 60)
{
	uint32_t *map = onpu_bo_map(self->env[1].fd, self->handle, SIZE);

	ASSERT_NE(NULL, map);
	ASSERT_EQ(0, fill(&self->env[0], self->own.va, 0xd));
	EXPECT_EQ(0xd, map[0]);
	ASSERT_EQ(0, onpu_write_file(SYS_DRIVER "unbind", self->name[0]));
	/* The other card has the memory still; processes have not. */
	EXPECT_TRUE(second_sees(&self->env[1], &self->result, 0xd));
	ASSERT_EQ(0, fill(&self->env[1], SHARED_VA, 0xe));
	EXPECT_TRUE(second_sees(&self->env[1], &self->result, 0xe));
	EXPECT_EQ(0, map[0]);
	EXPECT_EQ(-ENODEV, export_bo(self->env[0].fd, self->own.handle, RDWR));
	ASSERT_EQ(0, onpu_write_file(SYS_DRIVER "bind", self->name[0]));
	EXPECT_TRUE(second_sees(&self->env[1], &self->result, 0xe));
}

TEST_F_TIMEOUT(two, the_users_card_goes, 60)
{
	ASSERT_EQ(0, fill(&self->env[1], SHARED_VA, 0xf));
	ASSERT_EQ(0, onpu_write_file(SYS_DRIVER "unbind", self->name[1]));
	EXPECT_TRUE(all_words(self->own.cpu, 0xf));
	ASSERT_EQ(0, fill(&self->env[0], self->own.va, 0x10));
	EXPECT_TRUE(all_words(self->own.cpu, 0x10));
	ASSERT_EQ(0, onpu_write_file(SYS_DRIVER "bind", self->name[1]));
	ASSERT_EQ(0, fill(&self->env[0], self->own.va, 0x11));
	EXPECT_TRUE(all_words(self->own.cpu, 0x11));
}

TEST_HARNESS_MAIN

/* SPDX-License-Identifier: MIT */
/**
 * @file
 * libaccel: matrix work on ONPU accelerator cards.
 *
 * A *device* is an open card. A *context* is an address space on it. *Buffers*
 * are memory in a context. A *queue* executes operations of its context in the
 * order in which they were submitted; different queues are independent. An
 * *event* stands for the completion of a submitted operation.
 *
 * Conventions, for every function unless it says otherwise:
 *
 *  - int functions return 0 or a negative errno; what they create comes back
 *    through the last parameter, which is untouched when they fail.
 *    accel_error_detail() then tells the reason in words.
 *  - Sizes and offsets are bytes; leading dimensions are elements; times are
 *    nanoseconds.
 *  - Every function may be called by any thread at any time on any object,
 *    except that destroying an object while another thread uses it is an error
 *    of the caller.
 *  - Objects may be destroyed in any order: an object keeps what it needs of
 *    the others alive. A buffer that submitted work uses lives until that work
 *    is done. Destroying NULL does nothing.
 *  - After fork() the objects belong to the parent alone. In the child, int
 *    functions on them fail with -ECHILD, destroying them does nothing, and mapped
 *    buffers are not there (registered memory is, as a copy of its own where it is private). The
 *    child may open devices of its own, and import what the parent exported.
 *  - Structures whose first member is @c size grow in later versions: set it to
 *    sizeof the structure and the rest to zero before you fill it in (or call
 *    the ..._init() function beside it). Reserved members must stay zero.
 *
 * Errors that many functions share: -EINVAL (an argument is wrong, the detail
 * names it), -ENOMEM, -ECHILD (see above), -ENODEV (the card is gone), -ENOTSUP (the driver is too old),
 * -ECANCELED (the queue has stopped after an error, see accel_queue_get_status()).
 */
#ifndef ACCEL_ACCEL_H
#define ACCEL_ACCEL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__)
#define ACCEL_API __attribute__((visibility("default")))
#else
#define ACCEL_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct accel_device;
struct accel_context;
struct accel_buffer;
struct accel_queue;
struct accel_event;

/* ---- Library --------------------------------------------------------- */

/** Version of this header: major << 16 | minor << 8 | patch. */
#define ACCEL_VERSION	0x010000u

/** Version of the library that runs, encoded as ACCEL_VERSION. Cannot fail. */
ACCEL_API uint32_t accel_version(void);

/**
 * The reason of the last failure of a libaccel call in the calling thread, one
 * line that begins with the function's name, for example
 * "accel_matmul_async: lda 100 is smaller than k 128". Never NULL; "" before the first
 * failure. Later successes do not clear it, so it survives clean-up code. The text
 * belongs to the thread and lives until the next failing call in this thread.
 */
ACCEL_API const char *accel_error_detail(void);

/* ---- Element types --------------------------------------------------- */

/** Element types; numerics.md defines them bit by bit. */
enum accel_type {
	ACCEL_TYPE_DEFAULT = 0,	/**< where a structure says what that means */
	ACCEL_TYPE_F32 = 1,	/**< IEEE 754 binary32 */
	ACCEL_TYPE_BF16 = 2,	/**< bfloat16: the upper half of a binary32 */
	ACCEL_TYPE_F16 = 3,	/**< IEEE 754 binary16 */
	ACCEL_TYPE_I8 = 4,	/**< two's complement, 8 bits */
	ACCEL_TYPE_I32 = 5,	/**< two's complement, 32 bits */
	ACCEL_TYPE_E4M3 = 6,	/**< OCP OFP8 E4M3 */
	ACCEL_TYPE_E5M2 = 7,	/**< OCP OFP8 E5M2 */
	ACCEL_TYPE_I4 = 8,	/**< two's complement, 4 bits; two in a byte, the lower half first */
	ACCEL_TYPE_MXFP8_E4M3 = 9,	/**< OCP MXFP8; a UE8M0 scale for each 32 along k, as all MX types */
	ACCEL_TYPE_MXFP8_E5M2 = 10,	/**< OCP MXFP8 */
	ACCEL_TYPE_MXFP6_E2M3 = 11,	/**< OCP MXFP6; four in three bytes, the lowest bits first */
	ACCEL_TYPE_MXFP6_E3M2 = 12,	/**< OCP MXFP6 */
	ACCEL_TYPE_MXFP4_E2M1 = 13	/**< OCP MXFP4; two in a byte, the lower half first */
};

/**
 * Bytes of an element of @p type (enum accel_type), 0 if there is no such type or it has no
 * whole byte: see accel_type_bits().
 */
ACCEL_API size_t accel_type_size(uint32_t type);

/** Bits of an element of @p type, 0 if there is no such type. */
ACCEL_API unsigned int accel_type_bits(uint32_t type);

/** Name of @p type ("f32", "bf16", "mxfp4_e2m1"), NULL if there is no such type. */
ACCEL_API const char *accel_type_name(uint32_t type);

/* ---- Devices --------------------------------------------------------- */

/** What a card is and can do. Values that the running card does not tell are 0. */
struct accel_device_info {
	size_t size;			/**< in: sizeof(struct accel_device_info) */
	char pci_address[16];		/**< domain:bus:device.function, "0000:00:04.0" */
	char node[32];			/**< device node, "/dev/accel/accel0" */
	char driver_name[16];		/**< kernel driver, "onpu" */
	uint32_t driver_version[3];	/**< its major, minor and patch level */
	int32_t status;			/**< 0, or -errno why what follows could not be read */
	uint32_t vendor_id;		/**< PCI vendor */
	uint32_t device_id;		/**< PCI device */
	uint32_t hw_version;		/**< major << 16 | minor */
	uint32_t firmware_version;	/**< major << 24 | minor << 16 | patch */
	uint32_t firmware_svn;		/**< security version of the firmware */
	uint32_t firmware_heartbeat;	/**< counter that a live firmware advances */
	uint64_t serial;		/**< serial number */
	uint32_t cores;			/**< matmul cores */
	uint32_t core_clock_khz;	/**< their clock */
	uint32_t slots;			/**< queues that the card executes at the same time */
	uint32_t dim_max;		/**< largest m, n and k of a matmul */
	uint32_t types_in;		/**< bit t set: enum accel_type t is a matmul input */
	uint32_t types_out;		/**< bit t set: enum accel_type t is a matmul output */
	uint64_t memory_size;		/**< bytes of card memory for buffers */
	uint64_t memory_used;		/**< bytes of it allocated now, by all processes */
	uint64_t memory_visible;	/**< bytes of it that the CPU can map */
	uint64_t host_used;		/**< bytes of system memory that buffers of all processes use now */
	uint64_t buffer_size_max;	/**< largest buffer */
	uint32_t contexts_max;		/**< contexts of one open device */
	uint32_t queues_max;		/**< queues of one open device */
	uint32_t job_timeout_ms;	/**< running time after which a submission counts as hung */
	uint32_t generation;		/**< resets of the card since power-on */
	uint64_t device_time_ns;	/**< time of the card since power-on */
	uint32_t macs_per_cycle[4];	/**< of a core: operands of 32, 16, 8 (and 6), 4 bits; the wider counts */
	uint64_t memory_bandwidth;	/**< bytes per second of card memory */
	uint64_t host_bandwidth;	/**< bytes per second between card and host, each way */
	uint32_t packet_ns;		/**< fixed time of an operation on the card */
	uint32_t reserved;
};

/** Zeroes @p info and sets its size. */
static inline void accel_device_info_init(struct accel_device_info *info)
{
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
}

/**
 * Counters of a card since power-on. What begins with engine_time_ns is in the card's own time
 * (hardware.md, "Engine time"): the part of engine_time_ns by which a busy time has risen is the
 * utilisation of that engine.
 */
struct accel_device_counters {
	size_t size;		/**< in: sizeof(struct accel_device_counters) */
	uint64_t busy_ns;	/**< time executing packets, summed over slots */
	uint64_t packets;	/**< packets executed */
	uint64_t matmuls;	/**< matmuls executed */
	uint64_t matmul_ops;	/**< 2 * m * n * k, summed */
	uint64_t copy_bytes;	/**< bytes copied and filled */
	uint64_t tlb_hits;	/**< address translations served from the card's TLB */
	uint64_t tlb_walks;	/**< page-table walks */
	uint64_t faults;	/**< MMU faults */
	uint64_t irqs;		/**< interrupts sent */
	uint64_t engine_time_ns;	/**< engine time now; 0: the card does not tell it */
	uint64_t cores_busy_ns;		/**< time that the matmul cores worked */
	uint64_t copy_busy_ns;		/**< time that the copy engine worked */
	uint64_t memory_busy_ns;	/**< time that card memory worked */
	uint64_t host_read_busy_ns;	/**< time that the way from host to card was in use */
	uint64_t host_write_busy_ns;	/**< time that the way from card to host was in use */
	uint64_t memory_bytes;		/**< bytes moved to and from card memory */
	uint64_t host_read_bytes;	/**< bytes that the card read from the host */
	uint64_t host_write_bytes;	/**< bytes that the card wrote to the host */
};

/** Zeroes @p counters and sets its size. */
static inline void accel_device_counters_init(struct accel_device_counters *counters)
{
	memset(counters, 0, sizeof(*counters));
	counters->size = sizeof(*counters);
}

/**
 * Number of cards that the kernel driver has, or -errno. 0 is no error. Cards
 * are indexed by rising PCI address, so that an index means the same card in
 * every process as long as no card comes or goes.
 */
ACCEL_API int accel_device_count(void);

/**
 * Reads what card @p index is, without keeping it open. When its node cannot be
 * opened or the card does not answer, the function still succeeds: @c status holds the
 * error and only the PCI identity is filled in.
 *
 * Errors: -ENODEV (no card @p index), -EINVAL (size).
 */
ACCEL_API int accel_device_list_info(unsigned int index, struct accel_device_info *info);

/**
 * Opens card @p index. A process may open a card many times; every open device
 * is independent.
 *
 * Errors: -ENODEV (no card @p index), -EACCES (no permission for its node),
 * -EMFILE, -ENOTSUP (a kernel driver that this library does not know).
 */
ACCEL_API int accel_device_open(unsigned int index, struct accel_device **device);

/**
 * Opens a card by name: its PCI address ("0000:00:04.0" or "00:04.0"), its
 * device node ("/dev/accel/accel0") or its index ("0").
 *
 * Errors: as accel_device_open(); -EINVAL (@p name is none of these).
 */
ACCEL_API int accel_device_open_name(const char *name, struct accel_device **device);

/** Closes a device. Its contexts, if any are left, keep it open until they are destroyed. */
ACCEL_API void accel_device_close(struct accel_device *device);

/** Reads what an open card is. Needs no queue and does not wait for running work. */
ACCEL_API int accel_device_get_info(struct accel_device *device, struct accel_device_info *info);

/** Reads the counters of an open card. Does not wait for running work. */
ACCEL_API int accel_device_get_counters(struct accel_device *device,
					struct accel_device_counters *counters);

/** Memory of a card now, and what may be had of it. */
struct accel_memory_info {
	size_t size;			/**< in: sizeof(struct accel_memory_info) */
	uint64_t card_size;		/**< bytes of card memory for buffers */
	uint64_t card_visible;		/**< bytes of it that the CPU can map */
	uint64_t card_used;		/**< bytes of it allocated now, by all processes and the driver */
	uint64_t card_free;		/**< the rest; more can be had, as buffers that are not in use give way */
	uint64_t host_used;		/**< bytes of system memory in buffers of all processes, evicted ones included */
	uint64_t registered_used;	/**< bytes that all processes have registered now, all cards together */
	uint64_t registered_max;	/**< bytes that they may have registered */
	uint64_t buffer_size_max;	/**< largest buffer */
	uint32_t buffers_max;		/**< buffers of one open device */
	uint32_t mappings_max;		/**< buffers of one context */
	uint32_t contexts_max;		/**< contexts of one open device */
	uint32_t queues_max;		/**< queues of one open device */
	uint64_t page_sizes;		/**< bit n set: the card's MMU has pages of 2^n bytes */
};

/** Zeroes @p info and sets its size. */
static inline void accel_memory_info_init(struct accel_memory_info *info)
{
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
}

/**
 * Reads the memory of an open card. Needs no queue and does not wait for running work. Other
 * processes allocate and free at any time.
 */
ACCEL_API int accel_device_get_memory(struct accel_device *device, struct accel_memory_info *info);

/* ---- Contexts -------------------------------------------------------- */

/**
 * Creates a context: an address space of its own on the card. Nothing that runs in it can
 * reach the buffers of another context.
 *
 * @p flags: 0. Errors: -ENOSPC (no more contexts on this device or card).
 */
ACCEL_API int accel_context_create(struct accel_device *device, uint32_t flags,
				   struct accel_context **context);

/** Destroys a context. Its buffers and queues, if any are left, keep it alive. */
ACCEL_API void accel_context_destroy(struct accel_context *context);

/** What a context has, and what went wrong in it. */
struct accel_context_status {
	size_t size;			/**< in: sizeof(struct accel_context_status) */
	uint64_t mappings;		/**< mapped buffers, the library's own command memory included */
	uint64_t mapped_bytes;		/**< bytes that they cover */
	uint64_t table_bytes;		/**< bytes of card memory in its page tables */
	uint64_t faults;		/**< accesses to addresses that were not mapped so, so far */
	uint64_t fault_address;		/**< of the last one; as what follows, 0 without any */
	uint32_t fault_access;		/**< 0 read, 1 write, 2 command fetch */
	uint32_t fault_reason;		/**< the card's code, hardware.md */
	char fault_text[128];		/**< "write of address 0x43040 (not mapped)" */
};

/** Zeroes @p status and sets its size. */
static inline void accel_context_status_init(struct accel_context_status *status)
{
	memset(status, 0, sizeof(*status));
	status->size = sizeof(*status);
}

/**
 * Tells what a context has mapped and the last fault in it, whichever of its queues caused it
 * and whether that queue still exists. A fault stops its queue, not the context. Does not wait.
 */
ACCEL_API int accel_context_get_status(struct accel_context *context,
				       struct accel_context_status *status);

/* ---- Buffers --------------------------------------------------------- */

/** The buffer may live in card memory. */
#define ACCEL_BUFFER_CARD	(1u << 0)
/** The buffer may live in system memory, which the card reads and writes by DMA. */
#define ACCEL_BUFFER_HOST	(1u << 1)
/** The card may only read the buffer; operations that write it fail with -EACCES. */
#define ACCEL_BUFFER_CARD_READONLY	(1u << 2)
/**
 * With ACCEL_BUFFER_CARD: the CPU will touch it. In card memory it is preferably put where the
 * CPU reaches it, which matters on cards whose memory_visible is less than their memory_size:
 * there other card memory is moved when the CPU touches it. A hint; it changes no result.
 */
#define ACCEL_BUFFER_CPU_VISIBLE	(1u << 3)
/**
 * accel_buffer_export() may share the buffer with other contexts, processes and cards. It costs
 * every submission in a context that has it a little time, other buffers cost none. The first shareable or
 * imported buffer of a context also waits for the work of the context's queues (libaccel.md, "Without system calls").
 */
#define ACCEL_BUFFER_SHAREABLE		(1u << 4)

/**
 * Allocates @p size bytes (not 0), all zero, page-aligned on both sides.
 * @p flags: ACCEL_BUFFER_CARD, ACCEL_BUFFER_HOST or both (card memory first, system memory when
 * it is full), and any of the other ACCEL_BUFFER_*.
 *
 * A CARD buffer is in card memory whenever work of its context runs; between that, others may have it
 * moved to system memory and back. Its addresses stay. So the CARD buffers of a context must fit into
 * card memory together (submitting fails with -ENOMEM); those that are CARD | HOST need not.
 *
 * Errors: -EINVAL (size 0, flags), -E2BIG (larger than buffer_size_max),
 * -ENOMEM (no room in the allowed places), -ENOSPC (the open device has buffers_max buffers).
 */
ACCEL_API int accel_buffer_create(struct accel_context *context, uint64_t size, uint32_t flags,
				  struct accel_buffer **buffer);

/**
 * Frees a buffer, once the work submitted before is done with it; does not wait
 * for that. Pointers from accel_buffer_map() must not be used any more.
 */
ACCEL_API void accel_buffer_destroy(struct accel_buffer *buffer);

/** Size as it was created or registered, of an import the dma-buf's; 0 for NULL. */
ACCEL_API uint64_t accel_buffer_size(const struct accel_buffer *buffer);

/** Address of the first byte in the context's address space on the card; 0 for NULL. */
ACCEL_API uint64_t accel_buffer_address(const struct accel_buffer *buffer);

/**
 * Makes the whole buffer accessible to the CPU at @p *pointer. Maps of a buffer
 * are counted and all give the same pointer. Mapping does not wait for submitted work:
 * wait for its event before you read its results or change its operands.
 * System memory is cached; card memory is write-combined (read it with accel_buffer_read()).
 * Of registered memory it is the memory itself.
 *
 * Errors: -ENOMEM, -ENODATA (the buffer is purgeable), and what the exporter of an imported
 * dma-buf says that cannot be mapped.
 */
ACCEL_API int accel_buffer_map(struct accel_buffer *buffer, void **pointer);

/**
 * Ends one accel_buffer_map(). After the last, the pointer must not be used.
 *
 * Errors: -EINVAL (the buffer is not mapped).
 */
ACCEL_API int accel_buffer_unmap(struct accel_buffer *buffer);

/**
 * Copies @p size bytes from @p source into the buffer at @p offset; done when it
 * returns. Not ordered with queues: wait for the work that uses the range first.
 *
 * Errors: -EINVAL (range outside the buffer, NULL), -ENOMEM, -ENODATA (the buffer is purgeable).
 */
ACCEL_API int accel_buffer_write(struct accel_buffer *buffer, uint64_t offset,
				 const void *source, uint64_t size);

/**
 * Copies @p size bytes of the buffer at @p offset to @p target; done when it
 * returns. Not ordered with queues: wait for the work that writes the range first.
 *
 * Errors: as accel_buffer_write().
 */
ACCEL_API int accel_buffer_read(struct accel_buffer *buffer, uint64_t offset,
				void *target, uint64_t size);

/** Where the memory of a buffer is. */
enum accel_location {
	ACCEL_LOCATION_NONE = 0,	/**< it has none now: the content was given up, or is not needed yet */
	ACCEL_LOCATION_CARD = 1,	/**< card memory */
	ACCEL_LOCATION_HOST = 2,	/**< system memory that the card reaches */
	ACCEL_LOCATION_SWAP = 3		/**< swapped out of system memory */
};

/** Whose memory a buffer is. */
enum accel_origin {
	ACCEL_ORIGIN_CREATED = 1,	/**< accel_buffer_create() */
	ACCEL_ORIGIN_IMPORTED = 2,	/**< accel_buffer_import() */
	ACCEL_ORIGIN_REGISTERED = 3	/**< accel_host_register() */
};

/** State of a buffer: the content may be given up. */
#define ACCEL_BUFFER_PURGEABLE	(1u << 0)
/** State of a buffer: the content was given up since it became purgeable. */
#define ACCEL_BUFFER_PURGED	(1u << 1)

/** What a buffer is. */
struct accel_buffer_info {
	size_t size;		/**< in: sizeof(struct accel_buffer_info) */
	uint64_t bytes;		/**< its size, as accel_buffer_size() */
	uint64_t allocated;	/**< bytes of memory that it stands for: whole pages */
	uint64_t address;	/**< on the card, as accel_buffer_address() */
	uint32_t flags;		/**< ACCEL_BUFFER_*; CPU_VISIBLE also when it was found out by use */
	uint32_t location;	/**< enum accel_location: where it is now, or will be when a move ends */
	uint32_t origin;	/**< enum accel_origin */
	uint32_t state;		/**< ACCEL_BUFFER_PURGEABLE, ACCEL_BUFFER_PURGED */
	void *memory;		/**< REGISTERED: the process's memory, else NULL */
	char exporter[32];	/**< IMPORTED: who made the dma-buf ("onpu", "udmabuf", "system"), else "" */
};

/** Zeroes @p info and sets its size. */
static inline void accel_buffer_info_init(struct accel_buffer_info *info)
{
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
}

/** Tells what a buffer is and where it is now. May be out of date when it returns. */
ACCEL_API int accel_buffer_get_info(struct accel_buffer *buffer, struct accel_buffer_info *info);

/** What will be done with a buffer. */
enum accel_advice {
	/** The card needs it soon: have it in card memory, if it may be there, at the cost of others. */
	ACCEL_ADVICE_PREFETCH = 1,
	/** The card does not need it for a while: out of card memory, with its content, until work of its context. */
	ACCEL_ADVICE_EVICT = 2,
	/** The content may be given up, which is cheaper than to move it, when card memory is short. */
	ACCEL_ADVICE_PURGEABLE = 3,
	/** It is needed from here on; ends PURGEABLE. */
	ACCEL_ADVICE_NEEDED = 4
};

/**
 * Says what will be done with a buffer. @p advice: enum accel_advice. PREFETCH and EVICT change
 * no result, only when the memory is moved: PREFETCH returns before a copy is complete and later work
 * waits for it, EVICT waits for the work that uses the buffer and for the copy.
 *
 * While a buffer is PURGEABLE it cannot be used: operations on it, mapping, reading and
 * writing fail with -ENODATA. (Work that was submitted before still runs; what it writes may be lost. A
 * pointer from accel_buffer_map() must not be used.) NEEDED ends that. It returns -ENODATA when
 * the content was given up meanwhile: the buffer can be used again, but all of it is zero.
 *
 * Errors: -EINVAL (no such advice), -ENODATA (see above; NEEDED has taken effect), -ENOMEM (no room, with
 * all that is in use), -EPERM (PURGEABLE of an imported buffer, of registered memory, or of a buffer that was
 * exported or used with accel_queue_acquire(), _release() or accel_buffer_wait()), -EIO (the card failed
 * at the copy; the buffer is where it was).
 */
ACCEL_API int accel_buffer_advise(struct accel_buffer *buffer, uint32_t advice);

/* ---- Memory of others --------------------------------------------------
 *
 * A dma-buf is memory behind a file descriptor. A buffer that was exported as one can be imported in
 * other contexts, by other processes (the descriptor travels by fork() or SCM_RIGHTS), on other cards,
 * and by other drivers; dma-bufs of others (udmabuf, dma-heaps, cameras) can be imported.
 *
 * All of them use the same memory at the same time. Who uses it when is said by
 * accel_queue_release() and accel_queue_acquire(), or by other means of the application.
 */

/**
 * Makes a dma-buf of an ACCEL_BUFFER_SHAREABLE or imported buffer. The descriptor in @p *fd is the
 * caller's to close, is closed by exec(), and keeps the memory alive by itself: the buffer may be
 * destroyed. @p flags: 0. An imported buffer gives the dma-buf that it came from.
 *
 * While another card or driver has it imported, the memory is in system memory (there is no
 * peer-to-peer DMA); within one card it stays where it is.
 *
 * Errors: -EPERM (not SHAREABLE, or registered memory), -EMFILE, -ENODATA (the buffer is purgeable).
 */
ACCEL_API int accel_buffer_export(struct accel_buffer *buffer, uint32_t flags, int *fd);

/**
 * Makes a buffer of the dma-buf @p fd, all of it. Does not take the descriptor: the caller may
 * close it as soon as this returns. @p flags: 0 or ACCEL_BUFFER_CARD_READONLY. The memory is the
 * exporter's and stays where it has it; a dma-buf of the same card is the same memory, not a copy.
 *
 * Errors: -EBADF (@p fd is not open), -EINVAL (it is no dma-buf, or not of whole pages; flags), -ENOSPC
 * (the open device has buffers_max buffers), -ENOMEM, and what the exporter says.
 */
ACCEL_API int accel_buffer_import(struct accel_context *context, int fd, uint32_t flags,
				  struct accel_buffer **buffer);

/**
 * Makes a buffer of @p size bytes of the process's own memory at @p memory (aligned to 16 bytes, as
 * malloc() does), so that the card reads and writes it without a copy. @p flags: 0, or
 * ACCEL_BUFFER_CARD_READONLY for what the card only reads; the process then need not be able to write it.
 *
 * The pages that are there now are pinned until the buffer is destroyed and all work on it is done: keep
 * the memory mapped until then. (After munmap() or the like the card still uses the old pages, and the
 * process has others.) Whole pages are registered; the context can reach what else is in the first and
 * the last. Memory registered twice makes two buffers whose overlaps are not looked for.
 *
 * Anonymous and shared memory will do (malloc(), mmap(), memfd, huge pages); files on disks with
 * CARD_READONLY only; memory of devices, mapped buffers included, will not.
 *
 * Errors: -EINVAL (NULL, alignment, size 0, flags), -EFAULT (not memory, or not such as the card could
 * write), -ENOMEM (also: above RLIMIT_MEMLOCK, which counts all processes of the user unless they have
 * CAP_IPC_LOCK), -E2BIG (above registered_max), -ENOSPC (above it with what is registered; or the open device
 * has buffers_max buffers).
 */
ACCEL_API int accel_host_register(struct accel_context *context, void *memory, uint64_t size,
				  uint32_t flags, struct accel_buffer **buffer);

/** Reads the memory. */
#define ACCEL_ACCESS_READ	(1u << 0)
/** Writes the memory. */
#define ACCEL_ACCESS_WRITE	(1u << 1)

/**
 * Waits until the work that others have released a shared buffer with is done, at most @p timeout_ns from
 * now (ACCEL_FOREVER: no limit; 0: only look): before the CPU reads it (@p access ACCEL_ACCESS_READ: waits
 * for those who write) or writes it (ACCEL_ACCESS_WRITE: waits for all).
 *
 * Errors: -ETIME (not done in time), -EPERM (not a shareable or imported buffer), -EINVAL, -EMFILE. Whether the
 * work failed is not told: only its owner knows.
 */
ACCEL_API int accel_buffer_wait(struct accel_buffer *buffer, uint32_t access, uint64_t timeout_ns);

/* ---- Pointers -------------------------------------------------------- */

/** Whose a pointer of the CPU is. */
struct accel_pointer_info {
	size_t size;			/**< in: sizeof(struct accel_pointer_info) */
	struct accel_buffer *buffer;	/**< what it points into, NULL: no buffer's memory */
	struct accel_context *context;	/**< of the buffer */
	struct accel_device *device;	/**< of the buffer */
	uint64_t offset;		/**< bytes from the start of the buffer */
	uint64_t bytes;			/**< that follow the pointer in the buffer's memory */
	uint64_t address;		/**< on the card */
	uint32_t origin;		/**< enum accel_origin: REGISTERED is memory of the process */
	uint32_t reserved;
	char pci_address[16];		/**< of the card */
};

/** Zeroes @p info and sets its size. */
static inline void accel_pointer_info_init(struct accel_pointer_info *info)
{
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
}

/**
 * Tells which buffer @p pointer points into: memory that accel_buffer_map(), accel_buffer_read() or
 * accel_buffer_write() has mapped since the buffer was made, or that is registered (by which buffer last, if by
 * several). Of any other pointer @c buffer is NULL; that is no error. The objects are not kept
 * alive: they are there as long as their owner does not destroy them.
 *
 * Errors: -EINVAL (NULL, size).
 */
ACCEL_API int accel_pointer_get_info(const void *pointer, struct accel_pointer_info *info);

/* ---- Caches ----------------------------------------------------------
 *
 * A cache keeps buffers that are given back and hands them out again, which costs no call to the kernel.
 */

struct accel_cache;

/** What a cache has. Bytes are those of the buffers, which are up to a quarter larger than asked for. */
struct accel_cache_info {
	size_t size;		/**< in: sizeof(struct accel_cache_info) */
	uint64_t used_buffers;	/**< handed out and not given back */
	uint64_t used_bytes;
	uint64_t idle_buffers;	/**< kept */
	uint64_t idle_bytes;
	uint64_t peak_bytes;	/**< most of both together */
	uint64_t allocations;	/**< calls of accel_cache_alloc() */
	uint64_t hits;		/**< of them that were served from what was kept */
};

/** Zeroes @p info and sets its size. */
static inline void accel_cache_info_init(struct accel_cache_info *info)
{
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
}

/**
 * Creates a cache of buffers of @p context. @p flags: ACCEL_BUFFER_CARD, ACCEL_BUFFER_HOST or both, and
 * ACCEL_BUFFER_CPU_VISIBLE, for all of them. It keeps at most @p limit idle bytes, 0: without limit.
 *
 * Errors: -EINVAL (flags).
 */
ACCEL_API int accel_cache_create(struct accel_context *context, uint32_t flags, uint64_t limit,
				 struct accel_cache **cache);

/**
 * Destroys a cache and frees what it keeps. Buffers that are not given back stay, and are
 * destroyed by accel_buffer_destroy().
 */
ACCEL_API void accel_cache_destroy(struct accel_cache *cache);

/**
 * Hands out a buffer of @p size bytes, for work of @p queue at first. Its content is what somebody left in it.
 * With @p queue NULL, or another than it was given back with, it is one that no work uses any more.
 *
 * Errors: as accel_buffer_create(). When memory is short, everything that is kept is freed first.
 */
ACCEL_API int accel_cache_alloc(struct accel_cache *cache, uint64_t size, struct accel_queue *queue,
				struct accel_buffer **buffer);

/**
 * Gives a buffer back, which must not be used any more (NULL does nothing). What was submitted to
 * @p queue before may still use it; NULL: no work does. Does not wait.
 *
 * Errors: -EINVAL (not from this cache), -EXDEV (queue of another context), -ENODATA (the buffer is purgeable).
 */
ACCEL_API int accel_cache_free(struct accel_cache *cache, struct accel_buffer *buffer,
			       struct accel_queue *queue);

/** Frees idle buffers until at most @p keep bytes of them are left. */
ACCEL_API int accel_cache_trim(struct accel_cache *cache, uint64_t keep);

/** Tells what a cache has. */
ACCEL_API int accel_cache_get_info(struct accel_cache *cache, struct accel_cache_info *info);

/* ---- Queues ---------------------------------------------------------- */

/** Priority of a queue against the others of the card. */
enum accel_priority {
	ACCEL_PRIORITY_LOW = 0,
	ACCEL_PRIORITY_MEDIUM = 1,	/**< the usual one */
	ACCEL_PRIORITY_HIGH = 2,	/**< needs CAP_SYS_NICE */
	ACCEL_PRIORITY_REALTIME = 3	/**< needs CAP_SYS_NICE */
};

/**
 * Creates a queue. @p priority: enum accel_priority.
 *
 * Errors: -EACCES (priority without the capability), -ENOSPC (no more queues on
 * this device or card).
 */
ACCEL_API int accel_queue_create(struct accel_context *context, uint32_t priority,
				 struct accel_queue **queue);

/**
 * Destroys a queue and cancels what it has not finished: the events of that
 * work fail with -ECANCELED. Does not wait for it, only until the card has let go of it; call
 * accel_queue_finish() before if the work counts.
 */
ACCEL_API void accel_queue_destroy(struct accel_queue *queue);

/** Wait without limit. */
#define ACCEL_FOREVER	UINT64_MAX

/**
 * Waits until everything submitted to the queue before is done, at most
 * @p timeout_ns from now (ACCEL_FOREVER: no limit; 0: only look).
 *
 * Returns 0 when it is done without error. Errors: -ETIME (not done in time),
 * else as accel_event_wait() for the first submission that failed.
 */
ACCEL_API int accel_queue_finish(struct accel_queue *queue, uint64_t timeout_ns);

/**
 * Gives a file descriptor for event loops (poll(), epoll, select()). It becomes readable when work that an
 * event was asked for is done or has failed, and when the queue stops or is destroyed; sometimes
 * without a cause, and once at the beginning. So: read() 8 bytes from it, then look at the events
 * (accel_event_query()), then wait for it again; nothing is missed.
 *
 * It is an eventfd, non-blocking and closed by exec(). The caller closes it. What further calls give is
 * another descriptor of the same: what is read from one is gone from all.
 *
 * From the first call on, work of the queue with an event costs an interrupt.
 *
 * Errors: -EMFILE, -ENFILE, -ENOTSUP (the driver does not notify), -ECANCELED (the queue has stopped).
 */
ACCEL_API int accel_queue_get_event_fd(struct accel_queue *queue, int *fd);

/**
 * What is submitted to the queue from now on starts only when @p count events
 * are done. They may be of any queue of the process, other cards' too, and may be destroyed
 * after the call. Work that depends on a failed event is not started by
 * force nor cancelled: dependencies order, they do not carry errors.
 *
 * Does not wait itself, but for the first event of another open device: then it waits until the work is
 * done that the queues of both contexts have (which then become queues that the kernel knows the work of).
 *
 * Errors: -ENOSPC (too many for one submission), -EBUSY (the queue is capturing), -EMFILE (events of other
 * devices), -ECANCELED.
 */
ACCEL_API int accel_queue_wait_events(struct accel_queue *queue, unsigned int count,
				      struct accel_event *const *events);

/**
 * Before work on a shared buffer: what is submitted to the queue from now on starts only when the work is
 * done that others have released the buffer with so far. @p access: ACCEL_ACCESS_READ if that work
 * only reads the buffer (it waits for those who write), ACCEL_ACCESS_WRITE if it writes (waits for all).
 * Does not wait itself.
 *
 * The buffer is one of the queue's context, shareable or imported. The others may be queues of
 * other contexts, processes and cards, and drivers that keep implicit fences. A release that
 * comes later is not seen: the other side must have told this one (by a pipe, a futex ...) that
 * it has released. As with all dependencies, errors of the others are not carried over.
 *
 * Errors: -EINVAL (access), -EXDEV (buffer of another context), -EPERM (not shareable), -ENODATA (purgeable),
 * -EMFILE, -ENOSPC (too many for one submission), -ECANCELED (the queue is destroyed).
 */
ACCEL_API int accel_queue_acquire(struct accel_queue *queue, struct accel_buffer *buffer,
				  uint32_t access);

/**
 * After work on a shared buffer: everything submitted to the queue so far counts as reading or writing
 * (@p access) the buffer, and who acquires it from now on waits for it. Does not wait itself, and
 * other queues of the same context that do not acquire are not ordered by it.
 *
 * Errors: as accel_queue_acquire(), but for -ENOSPC and -ECANCELED.
 */
ACCEL_API int accel_queue_release(struct accel_queue *queue, struct accel_buffer *buffer,
				  uint32_t access);

/** How a submission or a queue is. */
enum accel_state {
	ACCEL_STATE_PENDING = 0,	/**< event: not done; queue: takes work */
	ACCEL_STATE_DONE = 1,		/**< event: done without error */
	ACCEL_STATE_FAILED = 2		/**< event: failed; queue: stopped for good */
};

/** Why a submission failed or a queue stopped, and the error that tells it. */
enum accel_reason {
	ACCEL_REASON_NONE = 0,		/**< it did not */
	ACCEL_REASON_FAULT = 1,		/**< -EFAULT: accessed an address that is not mapped so */
	ACCEL_REASON_BAD_PACKET = 2,	/**< -EBADMSG: the card found a command malformed */
	ACCEL_REASON_TIMED_OUT = 3,	/**< -ETIMEDOUT: ran longer than job_timeout_ms */
	ACCEL_REASON_RESET = 4,		/**< -ECONNRESET: the card was reset, others were the cause */
	ACCEL_REASON_DEVICE_LOST = 5,	/**< -ENODEV: the card is gone */
	ACCEL_REASON_CANCELED = 6,	/**< -ECANCELED: an earlier one failed, or the queue was destroyed */
	ACCEL_REASON_OTHER = 7,		/**< -EIO: the driver gives no closer reason */
	ACCEL_REASON_NO_MEMORY = 8	/**< -ENOMEM: the context's card memory found no room any more */
};

/** State of an event or a queue. */
struct accel_status {
	size_t size;		/**< in: sizeof(struct accel_status) */
	uint32_t state;		/**< enum accel_state */
	uint32_t reason;	/**< enum accel_reason */
	int32_t error;		/**< -errno that waiting returns, 0 without failure */
	uint32_t fault_access;	/**< of a fault: 0 read, 1 write, 2 command fetch */
	uint64_t fault_address;	/**< of a fault: address in the context */
	uint32_t fault_reason;	/**< of a fault: the card's code, hardware.md */
	uint32_t opcode;	/**< of a fault or bad packet: the card's opcode, hardware.md */
	uint64_t submitted;	/**< queue: submissions so far */
	uint64_t completed;	/**< queue: submissions done so far, with or without error */
};

/** Zeroes @p status and sets its size. */
static inline void accel_status_init(struct accel_status *status)
{
	memset(status, 0, sizeof(*status));
	status->size = sizeof(*status);
}

/**
 * Tells whether and why the queue has stopped. A stopped queue takes no work
 * any more (-ECANCELED): destroy it and create another one. Does not wait.
 */
ACCEL_API int accel_queue_get_status(struct accel_queue *queue, struct accel_status *status);

/* ---- Events ---------------------------------------------------------- */

/**
 * Waits until the work of the event is done, at most @p timeout_ns from now
 * (ACCEL_FOREVER: no limit, but the driver stops work that hangs; 0: only look).
 *
 * Returns 0 when the work was done without error. Errors: -ETIME (not done in
 * time; it goes on), or why the work failed: enum accel_reason tells the codes.
 */
ACCEL_API int accel_event_wait(struct accel_event *event, uint64_t timeout_ns);

/**
 * Looks whether the work is done. Returns 0 when done without error, -EBUSY
 * when not done yet (and does not set the detail text), else as accel_event_wait().
 */
ACCEL_API int accel_event_query(struct accel_event *event);

/** Tells how the work of the event is, and why it failed if so. Does not wait. */
ACCEL_API int accel_event_get_status(struct accel_event *event, struct accel_status *status);

/** Destroys an event. The work goes on. */
ACCEL_API void accel_event_destroy(struct accel_event *event);

/* ---- Profiling ------------------------------------------------------- */

/**
 * Switches profiling of a queue on (@p on not 0) or off, as it is at first, for what is
 * submitted from then on. Work with an event then has the card note when it ran: each operation costs
 * one more store of 64 bytes.
 *
 * Errors: -ENOTSUP (a card or driver that does not tell such times).
 */
ACCEL_API int accel_queue_set_profiling(struct accel_queue *queue, int on);

/** What the time of some work was mostly spent on. */
enum accel_bound {
	ACCEL_BOUND_OVERHEAD = 0,	/**< the fixed time of its operations */
	ACCEL_BOUND_COMPUTE = 1,	/**< the cores */
	ACCEL_BOUND_MEMORY = 2,		/**< card memory */
	ACCEL_BOUND_HOST = 3		/**< the way between card and host */
};

/**
 * When work ran on the card and how well it used it. Times are in the card's own engine time
 * (hardware.md), which depends on the work alone. Rooflines are the times that the work would take if
 * only one thing counted: its operations at the peak rate of their types, or its bytes at full bandwidth.
 * The longest of them is the roof.
 */
struct accel_profile {
	size_t size;			/**< in: sizeof(struct accel_profile) */
	uint64_t start_ns;		/**< start of the first operation */
	uint64_t end_ns;		/**< end of the last one */
	uint64_t operations;		/**< packets that it was */
	uint64_t ops;			/**< 2 * m * n * k of its matmuls */
	uint64_t memory_bytes;		/**< bytes moved to and from card memory */
	uint64_t host_read_bytes;	/**< bytes read from the host */
	uint64_t host_write_bytes;	/**< bytes written to the host */
	uint64_t cores_ns;		/**< time that the cores worked, incomplete tiles included */
	uint32_t bound;			/**< enum accel_bound: what is the roof */
	uint32_t reserved;
	double compute_roof_ns;		/**< time of @c ops at peak rate */
	double memory_roof_ns;		/**< time of @c memory_bytes at full bandwidth */
	double host_roof_ns;		/**< time of the bytes over PCIe, the busier direction */
	double ops_per_second;		/**< ops by the time from start to end */
	double roof_ops_per_second;	/**< ops by the roof: what its intensity allows */
	double utilisation;		/**< percent: compute_roof_ns of the time from start to end */
	double memory_utilisation;	/**< percent: memory_roof_ns likewise */
	double host_utilisation;	/**< percent: host_roof_ns likewise */
	double roofline;		/**< percent: the roof likewise */
};

/** Zeroes @p profile and sets its size. */
static inline void accel_profile_init(struct accel_profile *profile)
{
	memset(profile, 0, sizeof(*profile));
	profile->size = sizeof(*profile);
}

/**
 * Tells when the work of an event ran and how well it used the card. Does not wait for it.
 *
 * Errors: -EBUSY (not done yet), -EINVAL (submitted without profiling), else as
 * accel_event_wait() for work that failed.
 */
ACCEL_API int accel_event_get_profile(struct accel_event *event, struct accel_profile *profile);

/* ---- Operations ------------------------------------------------------
 *
 * An ..._async() function returns when the work is submitted; it may wait for room
 * in the queue. With @p event not NULL it creates an event for the work.
 * It checks all arguments first: when it fails, nothing was submitted.
 * Buffers must belong to the queue's context (-EXDEV). The twin without ..._async()
 * also waits for the work, without limit, and returns as accel_event_wait().
 */

/**
 * Copies @p size bytes (0 does nothing) between two buffers or two places of one;
 * the ranges must not overlap.
 *
 * Errors: -EINVAL (range, overlap), -EACCES (target is CARD_READONLY), -EXDEV, -ECANCELED.
 */
ACCEL_API int accel_copy_async(struct accel_queue *queue,
			       struct accel_buffer *target, uint64_t target_offset,
			       struct accel_buffer *source, uint64_t source_offset,
			       uint64_t size, struct accel_event **event);

/** accel_copy_async() and wait. */
ACCEL_API int accel_copy(struct accel_queue *queue,
			 struct accel_buffer *target, uint64_t target_offset,
			 struct accel_buffer *source, uint64_t source_offset, uint64_t size);

/**
 * Copies @p rows rows of @p row_bytes bytes; row r begins at offset + r * pitch on each side. Bytes
 * between the rows of the target stay. @p target_pitch is at least @p row_bytes; @p source_pitch may be
 * less: the rows that are read then overlap, and 0 repeats one row. With fewer than two rows pitches mean
 * nothing. No row of the target may overlap a row of the source. 0 bytes or rows do nothing.
 *
 * Errors: -EINVAL (range, pitch, overlap, more than 2^32 - 1 rows), -EACCES (target is CARD_READONLY),
 * -EXDEV, -ECANCELED; -EOPNOTSUPP: the card is older than this kind of copy.
 */
ACCEL_API int accel_copy_2d_async(struct accel_queue *queue,
				  struct accel_buffer *target, uint64_t target_offset,
				  uint64_t target_pitch,
				  struct accel_buffer *source, uint64_t source_offset,
				  uint64_t source_pitch,
				  uint64_t row_bytes, uint64_t rows, struct accel_event **event);

/** accel_copy_2d_async() and wait. */
ACCEL_API int accel_copy_2d(struct accel_queue *queue,
			    struct accel_buffer *target, uint64_t target_offset,
			    uint64_t target_pitch,
			    struct accel_buffer *source, uint64_t source_offset,
			    uint64_t source_pitch, uint64_t row_bytes, uint64_t rows);

/**
 * Stores the 32-bit @p pattern over @p size bytes. Offset and size are multiples of 4.
 *
 * Errors: -EINVAL (range, alignment), -EACCES, -EXDEV, -ECANCELED.
 */
ACCEL_API int accel_fill_async(struct accel_queue *queue, struct accel_buffer *buffer,
			       uint64_t offset, uint64_t size, uint32_t pattern,
			       struct accel_event **event);

/** accel_fill_async() and wait. */
ACCEL_API int accel_fill(struct accel_queue *queue, struct accel_buffer *buffer,
			 uint64_t offset, uint64_t size, uint32_t pattern);

/**
 * A row-major matrix in a buffer: element (r, c) stands at
 * offset + (r * ld + c) * size of an element. @c offset is a multiple of that size.
 */
struct accel_matrix {
	struct accel_buffer *buffer;	/**< where it stands */
	uint64_t offset;		/**< bytes from the start of the buffer to element (0, 0) */
	uint64_t ld;			/**< elements from row to row; 0: rows follow without gaps */
	uint32_t type;			/**< enum accel_type */
	uint32_t reserved;		/**< zero */
};

/** A is stored transposed: k rows of m. */
#define ACCEL_MATMUL_TRANS_A	(1u << 0)
/** B is stored transposed: n rows of k. */
#define ACCEL_MATMUL_TRANS_B	(1u << 1)
/** The sums start from C, not from zero: D = op(A) * op(B) + C. */
#define ACCEL_MATMUL_ACCUMULATE	(1u << 2)

/**
 * D = op(A) * op(B) [+ C]: D is m x n, op(A) is m x k, op(B) is k x n.
 *
 * A and B have one type: F32, BF16 or F16 give F32, I8 gives I32. Every element
 * of a float result is acc = fma(a[i][x], b[x][j], acc) for x = 0 .. k-1, from +0 or from C, in
 * binary32, on every card; integer sums wrap at 32 bits.
 *
 * D must not overlap A or B. C may be D itself (same place, same ld), else it
 * must not overlap D either.
 *
 * (C++: the keyword struct is needed before this name, which is a function's too.)
 */
struct accel_matmul {
	size_t size;		/**< sizeof(struct accel_matmul) */
	uint32_t flags;		/**< ACCEL_MATMUL_* */
	uint32_t m;		/**< rows of D, 1 .. dim_max */
	uint32_t n;		/**< columns of D, 1 .. dim_max */
	uint32_t k;		/**< length of the sums, 1 .. dim_max */
	struct accel_matrix a;	/**< left operand, m x k (k x m with TRANS_A) */
	struct accel_matrix b;	/**< right operand, k x n (n x k with TRANS_B); type DEFAULT: as A */
	struct accel_matrix c;	/**< ACCUMULATE: m x n of D's type (DEFAULT: that); buffer NULL: D. Else zero. */
	struct accel_matrix d;	/**< result, m x n; type DEFAULT: F32, or I32 if A is I8 */
};

/** Zeroes @p matmul and sets its size. */
static inline void accel_matmul_init(struct accel_matmul *matmul)
{
	memset(matmul, 0, sizeof(*matmul));
	matmul->size = sizeof(*matmul);
}

/**
 * Multiplies matrices.
 *
 * Errors: -EINVAL (dimension, leading dimension, alignment, range, overlap, flags), -ENOTSUP (types
 * that the card does not multiply), -EACCES (D is CARD_READONLY), -EXDEV, -ECANCELED.
 */
ACCEL_API int accel_matmul_async(struct accel_queue *queue, const struct accel_matmul *matmul,
				 struct accel_event **event);

/** accel_matmul_async() and wait. */
ACCEL_API int accel_matmul(struct accel_queue *queue, const struct accel_matmul *matmul);

/**
 * Multiplies @p count matmuls one after the other, as if by accel_matmul_async() for
 * each, at the cost of one call to the kernel. The event stands for all. When one
 * is wrong, the detail names its index and nothing was submitted. @p count 0 is -EINVAL.
 */
ACCEL_API int accel_matmul_many_async(struct accel_queue *queue, const struct accel_matmul *matmuls,
				      unsigned int count, struct accel_event **event);

/** accel_matmul_many_async() and wait. */
ACCEL_API int accel_matmul_many(struct accel_queue *queue, const struct accel_matmul *matmuls,
				unsigned int count);

/* ---- Matmul plans ----------------------------------------------------
 *
 * Everything that the card's matmul can do: all types and mixed pairs, block scales, an
 * epilogue, batches. A plan is checked once when it is created and run as often as wanted, with
 * operands that are only checked for their place. numerics.md defines the result bit by bit.
 */

/** Flags of struct accel_plan_config, besides ACCEL_MATMUL_TRANS_A, _TRANS_B and _ACCUMULATE. */
#define ACCEL_PLAN_ALPHA	(1u << 3)	/**< multiply by alpha */
#define ACCEL_PLAN_BETA		(1u << 4)	/**< add beta * C; not with ACCUMULATE */
#define ACCEL_PLAN_BATCH_VECTORS (1u << 5)	/**< each matmul of a batch has vectors of its own */
#define ACCEL_PLAN_D_SCALE_ROWS	(1u << 6)	/**< d_scale and d_zero have an element per row of D, */
#define ACCEL_PLAN_D_SCALE_COLS	(1u << 7)	/**< or per column, else one for all of D */
#define ACCEL_PLAN_NO_SATURATE	(1u << 8)	/**< FP8 results overflow to infinity or NaN */
#define ACCEL_PLAN_ROW_SCALE	(1u << 16)	/**< multiply by m F32 */
#define ACCEL_PLAN_COL_SCALE	(1u << 17)	/**< multiply by n F32 */
#define ACCEL_PLAN_D_SCALE	(1u << 18)	/**< multiply by F32 before the conversion to D */
#define ACCEL_PLAN_D_ZERO	(1u << 19)	/**< add I8 zero points; D is I8 */
#define ACCEL_PLAN_B_ZERO	(1u << 20)	/**< the groups of B have I8 zero points */

/** Activation functions. */
enum accel_activation {
	ACCEL_ACTIVATION_NONE = 0,
	ACCEL_ACTIVATION_RELU = 1,
	ACCEL_ACTIVATION_GELU_ERF = 2,
	ACCEL_ACTIVATION_GELU_TANH = 3,
	ACCEL_ACTIVATION_SILU = 4
};

/** Batches. */
enum accel_batch {
	ACCEL_BATCH_NONE = 0,		/**< one matmul */
	ACCEL_BATCH_STRIDED = 1,	/**< operands at fixed distances; 0: the same for all */
	ACCEL_BATCH_ITEMS = 2,		/**< operands where struct accel_plan_item says */
	ACCEL_BATCH_GROUPED = 3		/**< groups of rows, each with a B; uint32_t sizes in ITEMS */
};

/**
 * Of ACCEL_BATCH_ITEMS: bytes that are added, modulo 2^64, to where the operands of the run
 * start. Stands in card-visible memory; the card reads it when it gets there. Every place
 * must be in a buffer of the context that stays until the work is done.
 */
struct accel_plan_item {
	uint64_t a, b, c, d, residual, a_scale, b_scale, b_zero;
};

/** What an operand of a run is: the index into its array of places. */
enum accel_operand {
	ACCEL_OPERAND_A = 0,
	ACCEL_OPERAND_B = 1,
	ACCEL_OPERAND_C = 2,
	ACCEL_OPERAND_D = 3,
	ACCEL_OPERAND_A_SCALE = 4,	/**< UE8M0, if A is of an MX type */
	ACCEL_OPERAND_B_SCALE = 5,	/**< UE8M0, or b_scale_type if B has groups */
	ACCEL_OPERAND_B_ZERO = 6,
	ACCEL_OPERAND_BIAS = 7,
	ACCEL_OPERAND_ROW_SCALE = 8,
	ACCEL_OPERAND_COL_SCALE = 9,
	ACCEL_OPERAND_RESIDUAL = 10,
	ACCEL_OPERAND_D_SCALE = 11,
	ACCEL_OPERAND_D_ZERO = 12,
	ACCEL_OPERAND_ITEMS = 13	/**< items or group sizes of a batch */
};
/** Operands that this header knows. */
#define ACCEL_OPERANDS	14u

/**
 * What a plan computes. Steps in this order, each if it is asked for: sums (from C with
 * ACCUMULATE), row scale, column scale, alpha, beta * C, bias, activation, residual, d_scale,
 * conversion to D's type, d_zero.
 *
 * Sums of two floating-point operands are F32, of two integers I32. An I8 or I4 B with
 * b_group set is a floating-point operand. Scales and zero points of groups are stored like
 * their operand, with a group in the place of 32 or b_group elements of k.
 */
struct accel_plan_config {
	size_t size;		/**< sizeof(struct accel_plan_config) */
	uint32_t flags;		/**< ACCEL_MATMUL_TRANS_*, ACCEL_MATMUL_ACCUMULATE, ACCEL_PLAN_* */
	uint32_t m;		/**< rows of D; GROUPED: of all groups together at most */
	uint32_t n;		/**< columns of D */
	uint32_t k;		/**< length of the sums */
	uint32_t a_type;	/**< enum accel_type */
	uint32_t b_type;	/**< DEFAULT: as A */
	uint32_t c_type;	/**< ACCUMULATE: that of the sums; BETA: F32, BF16, F16; DEFAULT: of the sums, F32 */
	uint32_t d_type;	/**< DEFAULT: that of the sums; else F32, BF16, F16, E4M3, E5M2, I8 */
	uint32_t bias_type;	/**< F32, BF16, F16; DEFAULT: no bias */
	uint32_t residual_type;	/**< F32, BF16, F16; DEFAULT: no residual */
	uint32_t b_group;	/**< 32, 64, 128, or 0 */
	uint32_t b_scale_type;	/**< F16 or BF16 with b_group, else DEFAULT */
	uint32_t activation;	/**< enum accel_activation */
	float alpha;		/**< with ACCEL_PLAN_ALPHA, else 0 */
	float beta;		/**< with ACCEL_PLAN_BETA, else 0 */
	uint32_t batch_mode;	/**< enum accel_batch */
	uint32_t batch;		/**< matmuls or groups; 0 without batch_mode */
	uint64_t lda;		/**< elements from row to row, 0: no gaps; as all that follow */
	uint64_t ldb;		/**< of B */
	uint64_t ldc;		/**< of C */
	uint64_t ldd;		/**< of D */
	uint64_t ldr;		/**< of the residual */
	uint64_t lda_scale;	/**< of the scales of A */
	uint64_t ldb_scale;	/**< of the scales and zero points of B */
	uint64_t a_stride;	/**< bytes from matmul to matmul of a STRIDED batch; scales follow */
	uint64_t b_stride;	/**< of a GROUPED one too */
	uint64_t c_stride;	/**< of C */
	uint64_t d_stride;	/**< of D; not 0 */
	uint64_t residual_stride;	/**< of the residual */
};

/** Zeroes @p config and sets its size. */
static inline void accel_plan_config_init(struct accel_plan_config *config)
{
	memset(config, 0, sizeof(*config));
	config->size = sizeof(*config);
}

struct accel_plan;

/**
 * Checks @p config against the card of @p context and makes a plan of it. The plan may be run on
 * every queue of every context of cards that take the same.
 *
 * Errors: -EINVAL (dimension, leading dimension, stride, flags; the detail names it), -ENOTSUP
 * (types that the card does not multiply or convert to).
 */
ACCEL_API int accel_plan_create(struct accel_context *context, const struct accel_plan_config *config,
				struct accel_plan **plan);

/** Destroys a plan. Work that it submitted goes on. */
ACCEL_API void accel_plan_destroy(struct accel_plan *plan);

/**
 * Bytes that operand @p operand (enum accel_operand) of a run needs from where it starts; 0 if
 * the plan does not use it. In an ITEMS batch: of one matmul.
 */
ACCEL_API uint64_t accel_plan_operand_size(const struct accel_plan *plan, uint32_t operand);

/** Where an operand starts. */
struct accel_place {
	struct accel_buffer *buffer;	/**< NULL: an operand that the plan does not use */
	uint64_t offset;		/**< bytes, a multiple of the element size */
};

/**
 * Runs a plan with the @p count operands at @p places, in the order of enum accel_operand (what is
 * behind the last one counts as not given; ACCEL_OPERANDS is enough for every plan).
 *
 * D must not overlap another operand, except that C or the residual may be D: same place, leading
 * dimension, type and stride. Overlaps within batches are not looked for.
 *
 * Errors: -EINVAL (operand missing or not used, range, alignment, overlap), -EACCES (D is
 * CARD_READONLY), -EXDEV (buffer of another context, card that takes less), -ECANCELED.
 */
ACCEL_API int accel_plan_run_async(struct accel_queue *queue, const struct accel_plan *plan,
				   const struct accel_place *places, unsigned int count,
				   struct accel_event **event);

/** accel_plan_run_async() and wait. */
ACCEL_API int accel_plan_run(struct accel_queue *queue, const struct accel_plan *plan,
			     const struct accel_place *places, unsigned int count);

/* ---- All cards -------------------------------------------------------
 *
 * Matmuls of matrices in the memory of the process, spread over several cards in tiles, whatever
 * their size: neither an operand nor the result has to fit into a card.
 */

struct accel_multi;

/**
 * Opens the @p count cards whose indexes are at @p devices, for accel_multi_matmul(). With @p devices
 * NULL: all cards, or the first @p count of them if that is not 0.
 *
 * Errors: as accel_device_open(), -ENODEV (no card), -ENOMEM.
 */
ACCEL_API int accel_multi_create(const unsigned int *devices, unsigned int count, struct accel_multi **multi);

/** Closes them. */
ACCEL_API void accel_multi_destroy(struct accel_multi *multi);

/** How many cards it has; 0 for NULL. */
ACCEL_API unsigned int accel_multi_count(const struct accel_multi *multi);

/** A row-major matrix in the memory of the process: element (r, c) is data[r * ld + c]. */
struct accel_host_matrix {
	void *data;		/**< element (0, 0); only D is written */
	uint64_t ld;		/**< elements from row to row */
	uint32_t type;		/**< enum accel_type */
	uint32_t reserved;	/**< zero */
};

/**
 * D = op(A) * op(B) [+ D]: as struct accel_matmul, with dimensions below 2^40. A and B are F32, BF16, F16 or
 * I8. With ACCUMULATE the sums start from D. D must not overlap A or B.
 *
 * (C++: the keyword struct is needed before this name, which is a function's too.)
 */
struct accel_multi_matmul {
	size_t size;		/**< sizeof(struct accel_multi_matmul) */
	uint32_t flags;		/**< ACCEL_MATMUL_TRANS_A, _TRANS_B, _ACCUMULATE */
	uint32_t reserved;	/**< zero */
	uint64_t m;		/**< rows of D */
	uint64_t n;		/**< columns of D */
	uint64_t k;		/**< length of the sums */
	struct accel_host_matrix a;	/**< left operand, m x k (k x m with TRANS_A) */
	struct accel_host_matrix b;	/**< right operand, k x n (n x k with TRANS_B); type DEFAULT: as A */
	struct accel_host_matrix d;	/**< result, m x n; type DEFAULT: F32, or I32 if A is I8 */
};

/** Zeroes @p matmul and sets its size. */
static inline void accel_multi_matmul_init(struct accel_multi_matmul *matmul)
{
	memset(matmul, 0, sizeof(*matmul));
	matmul->size = sizeof(*matmul);
}

/**
 * Multiplies on all cards at once; D is there when it returns. Every element is, bit by bit, what one card
 * gives. Calls on one object wait for each other.
 *
 * Errors: -EINVAL (dimension, leading dimension, flags, NULL), -ENOTSUP (type), -ENOMEM, and those of
 * accel_matmul(); then D may be written in part.
 */
ACCEL_API int accel_multi_matmul(struct accel_multi *multi, const struct accel_multi_matmul *matmul);

/* ---- Graphs ----------------------------------------------------------
 *
 * Operations that are recorded once and launched as often as wanted, at the cost of one submission
 * however many they are. They use the same buffers and offsets each time; what changes between launches is the
 * content of the buffers.
 */

struct accel_graph;

/**
 * What is submitted to the queue from now on, by any thread, is checked and recorded but not executed, until
 * accel_queue_capture_end(). Meanwhile operations with an event, those that wait, launches of graphs,
 * accel_queue_wait_events() and accel_queue_acquire() fail with -EBUSY. What was submitted before goes on.
 *
 * Errors: -EBUSY (it is capturing, or has been told to wait for events that nothing was submitted after),
 * -ECANCELED (the queue is destroyed).
 */
ACCEL_API int accel_queue_capture_begin(struct accel_queue *queue);

/**
 * Ends the recording and makes a graph of it. @p graph NULL: forgets it. The graph keeps the buffers that
 * it uses. When this fails, what was recorded is lost and the queue captures no more.
 *
 * Errors: -EINVAL (the queue is not capturing), -ENOMEM.
 */
ACCEL_API int accel_queue_capture_end(struct accel_queue *queue, struct accel_graph **graph);

/** Destroys a graph, once the launches submitted before are done; does not wait for that. */
ACCEL_API void accel_graph_destroy(struct accel_graph *graph);

/** Operations of a graph; 0 for NULL. */
ACCEL_API unsigned int accel_graph_size(const struct accel_graph *graph);

/**
 * Submits the operations of a graph to a queue of the context that it was captured in, as if each
 * had been submitted again. The event stands for all. A graph may be launched again before it is done, also on
 * other queues, whose order is the caller's concern.
 *
 * Errors: -EXDEV (a queue of another context), -ENODATA (a buffer of it is purgeable), -EBUSY (the queue is
 * capturing), -ECANCELED.
 */
ACCEL_API int accel_graph_launch_async(struct accel_queue *queue, struct accel_graph *graph,
				       struct accel_event **event);

/** accel_graph_launch_async() and wait. */
ACCEL_API int accel_graph_launch(struct accel_queue *queue, struct accel_graph *graph);

#ifdef __cplusplus
}
#endif

#endif /* ACCEL_ACCEL_H */

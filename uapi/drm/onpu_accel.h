/* SPDX-License-Identifier: MIT */
/**
 * DOC: ONPU accel uAPI, kernel to user
 *
 * Rules that every structure keeps:
 *
 *  - 8-byte alignment, explicit padding, no unions, no pointers but __u64;
 *  - @pad members and unknown flag bits must be zero, else -EINVAL;
 *  - arrays travel as struct drm_onpu_array {count, stride, pointer}; the
 *    kernel reads min(stride, its own size) of each element, and bytes of a
 *    larger element that it does not know must be zero, else -E2BIG;
 *  - every count has a cap that DEV_QUERY tells; above it -EINVAL, or -ENOSPC
 *    where it bounds how many objects of a kind exist at once;
 *  - handles and ids start at 1; 0 means none;
 *  - a field added later means "as before" when 0. Every addition raises the
 *    driver's minor version.
 *
 * Errors that all ioctls share: -EFAULT (bad pointer), -EINVAL (as above),
 * -ENODEV (card unplugged), -EINTR (signal, nothing happened). An id or handle
 * that the file does not have is -ENOENT.
 */
#ifndef _UAPI_DRM_ONPU_ACCEL_H_
#define _UAPI_DRM_ONPU_ACCEL_H_

#if defined(__KERNEL__)
#include <drm/drm.h>
#else
#include <drm.h>
#endif

#if defined(__cplusplus)
extern "C" {
#endif

/** enum drm_onpu_ioctl_id - driver-private ioctl numbers */
enum drm_onpu_ioctl_id {
	/** @DRM_ONPU_DEV_QUERY: read what the card and the driver can do */
	DRM_ONPU_DEV_QUERY = 0,
	/** @DRM_ONPU_BO_CREATE: create a buffer object */
	DRM_ONPU_BO_CREATE,
	/** @DRM_ONPU_BO_MMAP_OFFSET: get the offset to mmap() a buffer object at */
	DRM_ONPU_BO_MMAP_OFFSET,
	/** @DRM_ONPU_VM_CREATE: create an address space */
	DRM_ONPU_VM_CREATE,
	/** @DRM_ONPU_VM_DESTROY: destroy an address space */
	DRM_ONPU_VM_DESTROY,
	/** @DRM_ONPU_VM_BIND: map and unmap buffer objects */
	DRM_ONPU_VM_BIND,
	/** @DRM_ONPU_QUEUE_CREATE: create a queue */
	DRM_ONPU_QUEUE_CREATE,
	/** @DRM_ONPU_QUEUE_DESTROY: destroy a queue, killing what it runs */
	DRM_ONPU_QUEUE_DESTROY,
	/** @DRM_ONPU_QUEUE_GET_STATE: ask whether and why a queue stopped */
	DRM_ONPU_QUEUE_GET_STATE,
	/** @DRM_ONPU_SUBMIT: submit jobs to a queue */
	DRM_ONPU_SUBMIT,
	/** @DRM_ONPU_BO_ADVISE: say what will be done with a buffer object (1.1) */
	DRM_ONPU_BO_ADVISE = 0x0a,
	/** @DRM_ONPU_BO_INFO: ask about a buffer object (1.1) */
	DRM_ONPU_BO_INFO = 0x0b,
	/** @DRM_ONPU_BO_USERPTR: make a buffer object of memory of the process */
	DRM_ONPU_BO_USERPTR = 0x0c,
	/** @DRM_ONPU_VM_GET_STATE: ask what an address space has and what faulted in it */
	DRM_ONPU_VM_GET_STATE = 0x0d,
	/** @DRM_ONPU_WAIT: wait until a word of memory has a value (1.2) */
	DRM_ONPU_WAIT = 0x0e,
	/** @DRM_ONPU_QUEUE_NOTIFY: have an eventfd told when a queue interrupts (1.2) */
	DRM_ONPU_QUEUE_NOTIFY = 0x0f,
};

/**
 * struct drm_onpu_array - an array of structures in user memory
 */
struct drm_onpu_array {
	/** @count: elements */
	__u32 count;
	/** @stride: bytes from element to element, multiple of 8, no less than its first size */
	__u32 stride;
	/** @ptr: user pointer to the first element; ignored when @count is 0 */
	__u64 ptr;
};

/** enum drm_onpu_query_type - what DEV_QUERY reads */
enum drm_onpu_query_type {
	/** @DRM_ONPU_QUERY_DEVICE: struct drm_onpu_query_device */
	DRM_ONPU_QUERY_DEVICE = 0,
	/** @DRM_ONPU_QUERY_MEMORY: struct drm_onpu_query_memory */
	DRM_ONPU_QUERY_MEMORY,
	/** @DRM_ONPU_QUERY_FIRMWARE: struct drm_onpu_query_firmware */
	DRM_ONPU_QUERY_FIRMWARE,
	/** @DRM_ONPU_QUERY_LIMITS: struct drm_onpu_query_limits */
	DRM_ONPU_QUERY_LIMITS,
	/** @DRM_ONPU_QUERY_COUNTERS: struct drm_onpu_query_counters */
	DRM_ONPU_QUERY_COUNTERS,
	/** @DRM_ONPU_QUERY_ENGINES: struct drm_onpu_query_engines (1.2) */
	DRM_ONPU_QUERY_ENGINES,
};

/**
 * struct drm_onpu_dev_query - argument of DRM_IOCTL_ONPU_DEV_QUERY
 *
 * With @ptr 0 the kernel stores the size of the structure in @size. Otherwise
 * it copies min(@size, its size) bytes and stores the number copied.
 */
struct drm_onpu_dev_query {
	/** @type: enum drm_onpu_query_type */
	__u32 type;
	/** @size: in: bytes at @ptr; out: bytes of the structure or copied */
	__u32 size;
	/** @ptr: user pointer, or 0 */
	__u64 ptr;
};

/** struct drm_onpu_query_device - identity and capabilities of the card */
struct drm_onpu_query_device {
	/** @hw_version: major << 16 | minor */
	__u32 hw_version;
	/** @pci_vendor_device: vendor << 16 | device */
	__u32 pci_vendor_device;
	/** @serial: serial number */
	__u64 serial;
	/** @opcodes: bit n set: enum onpu_opcode n is implemented */
	__u32 opcodes;
	/** @dtypes_in: bit n set: enum onpu_dtype n is a matmul input */
	__u32 dtypes_in;
	/** @dtypes_out: bit n set: enum onpu_dtype n is a matmul output */
	__u32 dtypes_out;
	/** @cores: matmul cores */
	__u32 cores;
	/** @core_clock_khz: their clock */
	__u32 core_clock_khz;
	/** @dim_max: largest M, N and K of a matmul */
	__u32 dim_max;
	/** @slots: queues that the card executes at the same time */
	__u32 slots;
	/** @generation: resets of the card since power-on */
	__u32 generation;
	/** @device_time_ns: device time, ns since power-on */
	__u64 device_time_ns;
};

/** struct drm_onpu_query_memory - card memory and address spaces */
struct drm_onpu_query_memory {
	/** @vram_size: bytes of card memory for buffer objects */
	__u64 vram_size;
	/** @vram_visible: bytes of it that the CPU can map */
	__u64 vram_visible;
	/** @vram_used: bytes allocated now, by all clients and the driver */
	__u64 vram_used;
	/** @system_used: bytes of system memory allocated now by buffer objects */
	__u64 system_used;
	/** @va_start: lowest address that VM_BIND takes */
	__u64 va_start;
	/** @va_end: end of the addresses that VM_BIND takes (exclusive) */
	__u64 va_end;
	/** @page_sizes: bit n set: the MMU has pages of 2^n bytes */
	__u64 page_sizes;
	/** @pinned_used: memory of processes in buffer objects now, all cards together (1.2) */
	__u64 pinned_used;
};

/** struct drm_onpu_query_firmware - what runs on the card */
struct drm_onpu_query_firmware {
	/** @version: major << 24 | minor << 16 | patch */
	__u32 version;
	/** @svn: security version of the image */
	__u32 svn;
	/** @mbox_abi: mailbox version, major << 16 | minor */
	__u32 mbox_abi;
	/** @packet_abi: packet version, major << 16 | minor */
	__u32 packet_abi;
	/** @build_id: of the image */
	__u8 build_id[32];
	/** @heartbeat: counter that a live firmware advances */
	__u32 heartbeat;
	/** @restarts: times that the driver restarted a dead firmware (1.3) */
	__u32 restarts;
};

/** struct drm_onpu_query_limits - caps that the driver enforces */
struct drm_onpu_query_limits {
	/** @max_vms: address spaces per file */
	__u32 max_vms;
	/** @max_queues: queues per file */
	__u32 max_queues;
	/** @max_bind_ops: operations per VM_BIND */
	__u32 max_bind_ops;
	/** @max_jobs: jobs per SUBMIT */
	__u32 max_jobs;
	/** @max_syncs: syncs per job */
	__u32 max_syncs;
	/** @max_packets: packets per job */
	__u32 max_packets;
	/** @max_bo_size: bytes of a buffer object */
	__u64 max_bo_size;
	/** @max_jobs_in_flight: jobs of a queue before SUBMIT blocks */
	__u32 max_jobs_in_flight;
	/** @job_timeout_ms: running time after which a job counts as hung */
	__u32 job_timeout_ms;
	/** @max_bos: buffer objects that a file has handles of */
	__u32 max_bos;
	/** @max_mappings: mappings of an address space */
	__u32 max_mappings;
	/** @max_pinned_bytes: memory of processes in buffer objects, all cards together */
	__u64 max_pinned_bytes;
	/** @max_ring_order: log2 of the packets of a user-mode queue's largest ring; 0: none */
	__u32 max_ring_order;
	/** @max_user_vms: address spaces of one user on this card (1.3) */
	__u32 max_user_vms;
	/** @max_user_queues: queues of one user on this card (1.3) */
	__u32 max_user_queues;
	/** @user_vms: address spaces that the calling user has there (1.3) */
	__u32 user_vms;
	/** @user_queues: queues that the calling user has there (1.3) */
	__u32 user_queues;
	/** @pad: zero */
	__u32 pad;
};

/** struct drm_onpu_query_counters - the card's counters since power-on */
struct drm_onpu_query_counters {
	/** @busy_ns: time executing packets, summed over slots */
	__u64 busy_ns;
	/** @packets: packets executed */
	__u64 packets;
	/** @matmuls: matmuls executed */
	__u64 matmuls;
	/** @matmul_ops: 2 * M * N * K summed */
	__u64 matmul_ops;
	/** @copy_bytes: bytes copied and filled */
	__u64 copy_bytes;
	/** @tlb_hits: translations served from the TLB */
	__u64 tlb_hits;
	/** @tlb_walks: page-table walks */
	__u64 tlb_walks;
	/** @faults: MMU faults */
	__u64 faults;
	/** @irqs: interrupts sent */
	__u64 irqs;
};

/**
 * struct drm_onpu_query_engines - how fast the card's engines are, and what they have done
 *
 * All zero for a card that does not tell (hardware version before 1.2). Times are
 * engine time since power-on, see Documentation/hardware.md.
 */
struct drm_onpu_query_engines {
	/** @macs_32: multiply-adds per cycle and core when the wider operand has 32 bits */
	__u32 macs_32;
	/** @macs_16: when it has 16 */
	__u32 macs_16;
	/** @macs_8: when it has 8 or 6 */
	__u32 macs_8;
	/** @macs_4: when it has 4 */
	__u32 macs_4;
	/** @tile: rows and columns of a result that a core computes at a time */
	__u32 tile;
	/** @packet_ns: fixed time of a packet */
	__u32 packet_ns;
	/** @vram_bandwidth: of card memory, bytes per second */
	__u64 vram_bandwidth;
	/** @host_bandwidth: between host and card in each direction, bytes per second */
	__u64 host_bandwidth;
	/** @cores_busy_ns: time that the matmul cores worked */
	__u64 cores_busy_ns;
	/** @copy_busy_ns: time that the copy engine worked */
	__u64 copy_busy_ns;
	/** @vram_busy_ns: time that card memory worked */
	__u64 vram_busy_ns;
	/** @host_read_busy_ns: time that PCIe worked towards the card */
	__u64 host_read_busy_ns;
	/** @host_write_busy_ns: time that PCIe worked from the card */
	__u64 host_write_busy_ns;
	/** @vram_bytes: moved to and from card memory */
	__u64 vram_bytes;
	/** @host_read_bytes: read from the host */
	__u64 host_read_bytes;
	/** @host_write_bytes: written to the host */
	__u64 host_write_bytes;
	/** @time_ns: engine time now; what the busy times are a part of */
	__u64 time_ns;
};

/** enum drm_onpu_region - where a buffer object is */
enum drm_onpu_region {
	/** @DRM_ONPU_REGION_NONE: it has no memory now */
	DRM_ONPU_REGION_NONE = 0,
	/** @DRM_ONPU_REGION_VRAM: card memory */
	DRM_ONPU_REGION_VRAM,
	/** @DRM_ONPU_REGION_SYSTEM: system memory that the card reaches */
	DRM_ONPU_REGION_SYSTEM,
	/** @DRM_ONPU_REGION_SWAP: swapped out */
	DRM_ONPU_REGION_SWAP,
};

/** DRM_ONPU_BO_VRAM - the buffer object may live in card memory */
#define DRM_ONPU_BO_VRAM	(1 << 0)
/** DRM_ONPU_BO_SYSTEM - the buffer object may live in system memory */
#define DRM_ONPU_BO_SYSTEM	(1 << 1)
/** DRM_ONPU_BO_CPU_VISIBLE - in card memory, prefer what the CPU can reach */
#define DRM_ONPU_BO_CPU_VISIBLE	(1 << 2)

/**
 * struct drm_onpu_bo_create - argument of DRM_IOCTL_ONPU_BO_CREATE
 *
 * The memory is zero. With both placement flags the card's memory is tried
 * first. -ENOMEM when no allowed placement has room.
 */
struct drm_onpu_bo_create {
	/** @size: in: bytes, not 0; out: rounded up to pages */
	__u64 size;
	/** @flags: DRM_ONPU_BO_*, at least one placement */
	__u32 flags;
	/** @vm_id: address space that it is private to, or 0; a private one cannot be exported */
	__u32 vm_id;
	/** @handle: out: GEM handle; closed by DRM_IOCTL_GEM_CLOSE */
	__u32 handle;
	/** @pad: zero */
	__u32 pad;
};

/** DRM_ONPU_USERPTR_READONLY - the card only reads; so the process need not be able to write */
#define DRM_ONPU_USERPTR_READONLY	(1 << 0)

/**
 * struct drm_onpu_bo_userptr - argument of DRM_IOCTL_ONPU_BO_USERPTR
 *
 * The pages that are mapped there now are the buffer object's until it is freed,
 * whatever becomes of the mapping. They are pinned and count against
 * RLIMIT_MEMLOCK. The buffer object can be mapped in address spaces, but neither
 * by mmap() nor exported.
 */
struct drm_onpu_bo_userptr {
	/** @addr: address in the process, page aligned */
	__u64 addr;
	/** @size: bytes, page aligned, not 0 */
	__u64 size;
	/** @flags: DRM_ONPU_USERPTR_* */
	__u32 flags;
	/** @handle: out: GEM handle */
	__u32 handle;
};

/** struct drm_onpu_bo_mmap_offset - argument of DRM_IOCTL_ONPU_BO_MMAP_OFFSET */
struct drm_onpu_bo_mmap_offset {
	/** @handle: buffer object */
	__u32 handle;
	/** @flags: zero */
	__u32 flags;
	/** @offset: out: offset for mmap() on the device file */
	__u64 offset;
};

/** enum drm_onpu_advice - what BO_ADVISE says */
enum drm_onpu_advice {
	/** @DRM_ONPU_ADVISE_PREFETCH: the card needs it soon: have it in its best place */
	DRM_ONPU_ADVISE_PREFETCH = 1,
	/** @DRM_ONPU_ADVISE_EVICT: the card does not need it for a while: out of its memory */
	DRM_ONPU_ADVISE_EVICT,
	/** @DRM_ONPU_ADVISE_PURGEABLE: the content may be given up instead of moved */
	DRM_ONPU_ADVISE_PURGEABLE,
	/** @DRM_ONPU_ADVISE_NEEDED: the content is needed from here on */
	DRM_ONPU_ADVISE_NEEDED,
};

/** struct drm_onpu_bo_advise - argument of DRM_IOCTL_ONPU_BO_ADVISE */
struct drm_onpu_bo_advise {
	/** @handle: buffer object */
	__u32 handle;
	/** @advice: enum drm_onpu_advice */
	__u32 advice;
	/** @flags: zero */
	__u32 flags;
	/** @retained: out: 0 when the content was given up since it became purgeable, else 1 */
	__u32 retained;
};

/** DRM_ONPU_BO_STATE_PURGEABLE - the content may be given up */
#define DRM_ONPU_BO_STATE_PURGEABLE	(1 << 0)
/** DRM_ONPU_BO_STATE_PURGED - the content was given up */
#define DRM_ONPU_BO_STATE_PURGED	(1 << 1)

/** struct drm_onpu_bo_info - argument of DRM_IOCTL_ONPU_BO_INFO */
struct drm_onpu_bo_info {
	/** @handle: buffer object */
	__u32 handle;
	/** @flags: out: DRM_ONPU_BO_* */
	__u32 flags;
	/** @size: out: bytes */
	__u64 size;
	/** @region: out: enum drm_onpu_region: where it is, or will be when a move ends */
	__u32 region;
	/** @state: out: DRM_ONPU_BO_STATE_* */
	__u32 state;
};

/**
 * DRM_ONPU_VM_LONG_RUNNING - an address space for user-mode queues (1.2)
 *
 * They are suspended when memory that is mapped moves, and go on when it is back. While there
 * are none, it takes queues of the other kind.
 */
#define DRM_ONPU_VM_LONG_RUNNING	(1 << 0)

/** struct drm_onpu_vm_create - argument of DRM_IOCTL_ONPU_VM_CREATE */
struct drm_onpu_vm_create {
	/** @flags: DRM_ONPU_VM_LONG_RUNNING or zero */
	__u32 flags;
	/** @id: out: id of the address space; -ENOSPC when the file or the card has no more */
	__u32 id;
};

/**
 * struct drm_onpu_vm_destroy - argument of DRM_IOCTL_ONPU_VM_DESTROY
 *
 * Queues and mappings keep the address space alive; only the id goes.
 */
struct drm_onpu_vm_destroy {
	/** @id: address space */
	__u32 id;
	/** @pad: zero */
	__u32 pad;
};

/** DRM_ONPU_VM_FAULTED - a job accessed an address that is not mapped so */
#define DRM_ONPU_VM_FAULTED	(1 << 0)

/**
 * struct drm_onpu_vm_get_state - argument of DRM_IOCTL_ONPU_VM_GET_STATE
 *
 * A fault ends the queue that caused it; the address space stays as it is.
 */
struct drm_onpu_vm_get_state {
	/** @id: address space */
	__u32 id;
	/** @flags: out: DRM_ONPU_VM_* */
	__u32 flags;
	/** @faults: out: faults so far */
	__u64 faults;
	/** @fault_va: out: address of the last one */
	__u64 fault_va;
	/** @fault_info: out: ONPU_FAULT_INFO of the last one */
	__u32 fault_info;
	/** @fault_queue: out: id that the queue has, or had, that caused it */
	__u32 fault_queue;
	/** @mappings: out: mappings; a split makes two of one */
	__u64 mappings;
	/** @mapped_bytes: out: bytes that they cover */
	__u64 mapped_bytes;
	/** @table_bytes: out: card memory in page tables */
	__u64 table_bytes;
};

/** enum drm_onpu_bind_op_type - what a bind operation does */
enum drm_onpu_bind_op_type {
	/** @DRM_ONPU_BIND_MAP: map a range of a buffer object, replacing what was mapped there */
	DRM_ONPU_BIND_MAP = 0,
	/** @DRM_ONPU_BIND_UNMAP: unmap a range; splits mappings; a hole in it is no error */
	DRM_ONPU_BIND_UNMAP,
};

/** DRM_ONPU_BIND_READONLY - the card may not write through the mapping */
#define DRM_ONPU_BIND_READONLY	(1 << 0)
/**
 * DRM_ONPU_BIND_NULL - map nothing: reads give zeros, writes are lost
 *
 * @handle and @bo_offset are zero, @size is 1 TiB at most. -EOPNOTSUPP before
 * hardware version 1.1.
 */
#define DRM_ONPU_BIND_NULL	(1 << 1)

/** struct drm_onpu_bind_op - one operation of a VM_BIND */
struct drm_onpu_bind_op {
	/** @type: enum drm_onpu_bind_op_type */
	__u32 type;
	/** @flags: DRM_ONPU_BIND_*; zero for UNMAP */
	__u32 flags;
	/** @handle: buffer object; zero for UNMAP and NULL */
	__u32 handle;
	/** @pad: zero */
	__u32 pad;
	/** @bo_offset: first byte of it, page aligned; zero for UNMAP and NULL */
	__u64 bo_offset;
	/** @va: address in the VM, page aligned */
	__u64 va;
	/** @size: bytes, page aligned, not 0 */
	__u64 size;
};

/**
 * struct drm_onpu_vm_bind - argument of DRM_IOCTL_ONPU_VM_BIND
 *
 * Synchronous: when it returns, jobs submitted later see the mappings, and
 * nothing translates through a removed one any more; so it may wait for packets
 * of the VM that are being executed. The operations happen in order, all of them
 * or, on any error but -ENODEV and -EIO, none. Replacing a mapping by one that says the
 * same disturbs no job that uses it.
 */
struct drm_onpu_vm_bind {
	/** @vm_id: address space */
	__u32 vm_id;
	/** @flags: zero (asynchronous binds are reserved) */
	__u32 flags;
	/** @ops: struct drm_onpu_bind_op */
	struct drm_onpu_array ops;
	/** @failed_op: out: index of the operation whose arguments are at fault, else the count */
	__u32 failed_op;
	/** @pad: zero */
	__u32 pad;
};

/** enum drm_onpu_priority - of a queue; above MEDIUM needs CAP_SYS_NICE */
enum drm_onpu_priority {
	/** @DRM_ONPU_PRIORITY_LOW: below the others */
	DRM_ONPU_PRIORITY_LOW = 0,
	/** @DRM_ONPU_PRIORITY_MEDIUM: the usual one */
	DRM_ONPU_PRIORITY_MEDIUM,
	/** @DRM_ONPU_PRIORITY_HIGH: above them */
	DRM_ONPU_PRIORITY_HIGH,
	/** @DRM_ONPU_PRIORITY_REALTIME: before all */
	DRM_ONPU_PRIORITY_REALTIME,
};

/**
 * DRM_ONPU_QUEUE_USER - a user-mode queue (1.2)
 *
 * The process writes packets into the ring and rings the doorbell by itself; SUBMIT does
 * not take it. Its address space is DRM_ONPU_VM_LONG_RUNNING.
 */
#define DRM_ONPU_QUEUE_USER	(1 << 0)
/**
 * DRM_ONPU_QUEUE_PROGRESS - a user-mode queue with a control block that only the card writes (1.4)
 *
 * @ctl_va is 0 then, and the block is at the start of the page that mmap() gives at
 * @progress_offset.
 */
#define DRM_ONPU_QUEUE_PROGRESS	(1 << 1)

/**
 * struct drm_onpu_queue_create - argument of DRM_IOCTL_ONPU_QUEUE_CREATE
 *
 * What stands behind @id is for user-mode queues, and zero for others. Ring and control
 * block are in memory that is mapped in the address space and stays so while the
 * queue lives; the ring is not checked, and a queue that cannot read it dies.
 */
struct drm_onpu_queue_create {
	/** @vm_id: address space that its jobs run in */
	__u32 vm_id;
	/** @priority: enum drm_onpu_priority; -EACCES without the capability */
	__u32 priority;
	/** @flags: DRM_ONPU_QUEUE_USER and DRM_ONPU_QUEUE_PROGRESS, or zero */
	__u32 flags;
	/** @id: out: queue id; -ENOSPC when the file or the card has no more */
	__u32 id;
	/** @ring_va: address of the ring, 64-byte aligned */
	__u64 ring_va;
	/** @ctl_va: address of a struct onpu_queue_ctl, 64-byte aligned, or 0: none is written */
	__u64 ctl_va;
	/** @ring_order: log2 of the packets of the ring, from 4 to @max_ring_order of the limits */
	__u32 ring_order;
	/** @pad: zero */
	__u32 pad;
	/** @doorbell_offset: out: offset to mmap() the page at that begins with the doorbell */
	__u64 doorbell_offset;
	/** @progress_offset: out: offset to mmap() the control block at, or 0 (1.4) */
	__u64 progress_offset;
};

/**
 * struct drm_onpu_queue_destroy - argument of DRM_IOCTL_ONPU_QUEUE_DESTROY
 *
 * Never waits for the jobs: they end with -ECANCELED in their fences. Of a user-mode queue, it
 * waits until the card has let go of it.
 */
struct drm_onpu_queue_destroy {
	/** @id: queue */
	__u32 id;
	/** @pad: zero */
	__u32 pad;
};

/** DRM_ONPU_QUEUE_DEAD - the queue takes no more jobs (SUBMIT: -ECANCELED) */
#define DRM_ONPU_QUEUE_DEAD		(1 << 0)
/** DRM_ONPU_QUEUE_TIMEDOUT - a job of it ran longer than the limit */
#define DRM_ONPU_QUEUE_TIMEDOUT		(1 << 1)
/** DRM_ONPU_QUEUE_FAULT - a job of it accessed an address that is not mapped so */
#define DRM_ONPU_QUEUE_FAULT		(1 << 2)
/** DRM_ONPU_QUEUE_BAD_PACKET - a packet or descriptor of it was malformed */
#define DRM_ONPU_QUEUE_BAD_PACKET	(1 << 3)
/** DRM_ONPU_QUEUE_INNOCENT - it was stopped by a reset that others caused */
#define DRM_ONPU_QUEUE_INNOCENT		(1 << 4)
/** DRM_ONPU_QUEUE_DEVICE_LOST - the card is gone */
#define DRM_ONPU_QUEUE_DEVICE_LOST	(1 << 5)
/** DRM_ONPU_QUEUE_NO_MEMORY - what its address space maps found no memory any more (1.2) */
#define DRM_ONPU_QUEUE_NO_MEMORY	(1 << 6)

/** struct drm_onpu_queue_get_state - argument of DRM_IOCTL_ONPU_QUEUE_GET_STATE */
struct drm_onpu_queue_get_state {
	/** @id: queue */
	__u32 id;
	/** @flags: out: DRM_ONPU_QUEUE_*; 0: healthy */
	__u32 flags;
	/** @error: out: enum onpu_queue_error */
	__u32 error;
	/** @fault_info: out: ONPU_FAULT_INFO of a fault */
	__u32 fault_info;
	/** @fault_va: out: address of a fault */
	__u64 fault_va;
	/** @opcode: out: opcode of the packet at fault */
	__u32 opcode;
	/** @pad: zero */
	__u32 pad;
	/** @jobs_submitted: out: jobs taken from SUBMIT */
	__u64 jobs_submitted;
	/** @jobs_completed: out: jobs whose fences have signalled, with or without error */
	__u64 jobs_completed;
};

/** DRM_ONPU_SYNC_SIGNAL - signal the syncobj when the job is done; else wait for it before */
#define DRM_ONPU_SYNC_SIGNAL	(1 << 0)
/** DRM_ONPU_SYNC_TIMELINE - the syncobj is a timeline, @point counts */
#define DRM_ONPU_SYNC_TIMELINE	(1 << 1)

/** struct drm_onpu_sync - a dependency or a completion of a job */
struct drm_onpu_sync {
	/** @flags: DRM_ONPU_SYNC_* */
	__u32 flags;
	/** @handle: syncobj */
	__u32 handle;
	/** @point: timeline point, not 0; zero for a binary syncobj */
	__u64 point;
};

/** struct drm_onpu_job - a job: packets in the address space of the queue */
struct drm_onpu_job {
	/** @cmd_va: address of the first packet, 64-byte aligned */
	__u64 cmd_va;
	/** @cmd_count: packets; 0: an empty job, only its syncs count */
	__u32 cmd_count;
	/** @flags: zero */
	__u32 flags;
	/** @syncs: struct drm_onpu_sync */
	struct drm_onpu_array syncs;
};

/**
 * struct drm_onpu_submit - argument of DRM_IOCTL_ONPU_SUBMIT
 *
 * Jobs of a queue run in order. On error no job of the call was queued.
 * -ECANCELED: the queue is dead, QUEUE_GET_STATE tells why.
 */
struct drm_onpu_submit {
	/** @queue_id: queue */
	__u32 queue_id;
	/** @flags: zero */
	__u32 flags;
	/** @jobs: struct drm_onpu_job, at least one */
	struct drm_onpu_array jobs;
};

/** enum drm_onpu_wait_op - comparison of a WAIT: word OP value, unsigned; as enum onpu_wait_op */
enum drm_onpu_wait_op {
	/** @DRM_ONPU_WAIT_GE: at least the value */
	DRM_ONPU_WAIT_GE = 0,
	/** @DRM_ONPU_WAIT_EQ: the value */
	DRM_ONPU_WAIT_EQ,
	/** @DRM_ONPU_WAIT_NE: another value */
	DRM_ONPU_WAIT_NE,
	/** @DRM_ONPU_WAIT_GT: more than the value */
	DRM_ONPU_WAIT_GT,
	/** @DRM_ONPU_WAIT_LE: at most the value */
	DRM_ONPU_WAIT_LE,
	/** @DRM_ONPU_WAIT_LT: less than the value */
	DRM_ONPU_WAIT_LT,
};

/**
 * struct drm_onpu_wait - argument of DRM_IOCTL_ONPU_WAIT
 *
 * Waits until a 64-bit word in the memory of the process compares as wanted. The word
 * is looked at when the call comes, whenever a queue of the card interrupts or dies,
 * and when the time is over; so what changes it should be a SIGNAL with ONPU_PKT_IRQ. -ETIME:
 * it never did. -ECANCELED: it does not, and @queue_id is dead.
 */
struct drm_onpu_wait {
	/** @addr: user pointer to the word, 8-byte aligned */
	__u64 addr;
	/** @value: what it is compared with */
	__u64 value;
	/** @timeout_ns: end of the wait, CLOCK_MONOTONIC; in the past: only look */
	__s64 timeout_ns;
	/** @op: enum drm_onpu_wait_op */
	__u32 op;
	/** @queue_id: queue that the word waits for, or 0 */
	__u32 queue_id;
	/** @flags: zero */
	__u32 flags;
	/** @pad: zero */
	__u32 pad;
};

/**
 * struct drm_onpu_queue_notify - argument of DRM_IOCTL_ONPU_QUEUE_NOTIFY
 *
 * The eventfd counts one whenever the queue may have got on: when a job ends, when a SIGNAL
 * with ONPU_PKT_IRQ is executed, when the queue dies; sometimes without a cause. A queue has one.
 */
struct drm_onpu_queue_notify {
	/** @queue_id: queue */
	__u32 queue_id;
	/** @fd: eventfd that takes the place of the one before, -1: none */
	__s32 fd;
	/** @flags: zero */
	__u32 flags;
	/** @pad: zero */
	__u32 pad;
};

#define DRM_IOCTL_ONPU_DEV_QUERY \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_ONPU_DEV_QUERY, struct drm_onpu_dev_query)
#define DRM_IOCTL_ONPU_BO_CREATE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_ONPU_BO_CREATE, struct drm_onpu_bo_create)
#define DRM_IOCTL_ONPU_BO_MMAP_OFFSET \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_ONPU_BO_MMAP_OFFSET, struct drm_onpu_bo_mmap_offset)
#define DRM_IOCTL_ONPU_VM_CREATE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_ONPU_VM_CREATE, struct drm_onpu_vm_create)
#define DRM_IOCTL_ONPU_VM_DESTROY \
	DRM_IOW(DRM_COMMAND_BASE + DRM_ONPU_VM_DESTROY, struct drm_onpu_vm_destroy)
#define DRM_IOCTL_ONPU_VM_BIND \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_ONPU_VM_BIND, struct drm_onpu_vm_bind)
#define DRM_IOCTL_ONPU_QUEUE_CREATE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_ONPU_QUEUE_CREATE, struct drm_onpu_queue_create)
#define DRM_IOCTL_ONPU_QUEUE_DESTROY \
	DRM_IOW(DRM_COMMAND_BASE + DRM_ONPU_QUEUE_DESTROY, struct drm_onpu_queue_destroy)
#define DRM_IOCTL_ONPU_QUEUE_GET_STATE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_ONPU_QUEUE_GET_STATE, struct drm_onpu_queue_get_state)
#define DRM_IOCTL_ONPU_BO_ADVISE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_ONPU_BO_ADVISE, struct drm_onpu_bo_advise)
#define DRM_IOCTL_ONPU_BO_INFO \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_ONPU_BO_INFO, struct drm_onpu_bo_info)
#define DRM_IOCTL_ONPU_SUBMIT \
	DRM_IOW(DRM_COMMAND_BASE + DRM_ONPU_SUBMIT, struct drm_onpu_submit)
#define DRM_IOCTL_ONPU_BO_USERPTR \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_ONPU_BO_USERPTR, struct drm_onpu_bo_userptr)
#define DRM_IOCTL_ONPU_VM_GET_STATE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_ONPU_VM_GET_STATE, struct drm_onpu_vm_get_state)
#define DRM_IOCTL_ONPU_WAIT \
	DRM_IOW(DRM_COMMAND_BASE + DRM_ONPU_WAIT, struct drm_onpu_wait)
#define DRM_IOCTL_ONPU_QUEUE_NOTIFY \
	DRM_IOW(DRM_COMMAND_BASE + DRM_ONPU_QUEUE_NOTIFY, struct drm_onpu_queue_notify)

#if defined(__cplusplus)
}
#endif

#endif /* _UAPI_DRM_ONPU_ACCEL_H_ */

/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Command packets, matmul descriptors and errors of the queue engine.
 *
 * A ring is a power-of-two array of 64-byte packets in the address space of
 * its context. Packets of a queue execute and complete in order. Reserved
 * fields and unknown flag bits must be zero, else ONPU_ERR_PACKET.
 */
#ifndef ONPU_PACKET_H
#define ONPU_PACKET_H

#include "types.h"

#define ONPU_PACKET_ABI_MAJOR	1
#define ONPU_PACKET_ABI_MINOR	4
#define ONPU_PACKET_MINOR_PROGRESS 4	/* that onpu_queue_ctl.completed came with */

#define ONPU_PACKET_SIZE	64
#define ONPU_RING_ORDER_MIN	4	/* 16 packets */
#define ONPU_RING_ORDER_MAX	16
#define ONPU_CALL_MAX		65536

/** Packet opcodes; ONPU_REG_OPCODES tells which a card has. */
enum onpu_opcode {
	ONPU_OP_NOP = 1,	/* does nothing */
	ONPU_OP_MATMUL = 2,	/* executes the descriptor at matmul.desc_va */
	ONPU_OP_COPY = 3,	/* copies bytes; the ranges must not overlap (result undefined) */
	ONPU_OP_FILL = 4,	/* stores a 32-bit pattern */
	ONPU_OP_CALL = 5,	/* executes packets of another buffer, unprivileged; not nested */
	ONPU_OP_WAIT = 6,	/* holds the queue until a 64-bit comparison holds */
	ONPU_OP_SIGNAL = 7,	/* stores 64 bits, then optionally interrupts */
	ONPU_OP_BARRIER = 8,	/* everything before it in this queue is complete and visible */
	ONPU_OP_TIMESTAMP = 9,	/* stores device time in ns, 64 bits */
	/* From packet ABI 1.3 on. */
	ONPU_OP_COPY_2D = 10,	/* copies rows of bytes, each side with a pitch of its own */
};
/* Opcodes of this version: bit n for opcode n, as ONPU_REG_OPCODES has them. */
#define ONPU_OPCODES		((1u << (ONPU_OP_COPY_2D + 1)) - (1u << ONPU_OP_NOP))

/** Packet header flags. */
#define ONPU_PKT_IRQ		(1u << 0)	/* SIGNAL: raise the queue's interrupt vector after the store */
/* From packet ABI 1.2 on: every packet but CALL and SIGNAL stores a struct onpu_stamp when it is done. */
#define ONPU_PKT_STAMP		(1u << 1)
#define ONPU_PKT_FLAGS		(ONPU_PKT_IRQ | ONPU_PKT_STAMP)

/** Comparisons of WAIT: memory value OP operand, unsigned. */
enum onpu_wait_op {
	ONPU_WAIT_GE = 0,
	ONPU_WAIT_EQ = 1,
	ONPU_WAIT_NE = 2,
	ONPU_WAIT_GT = 3,
	ONPU_WAIT_LE = 4,
	ONPU_WAIT_LT = 5,
};

/** A command packet. */
struct onpu_packet {
	__u8 opcode;		/* enum onpu_opcode */
	__u8 flags;		/* ONPU_PKT_*; only those the opcode names */
	__u16 reserved0;
	__u32 reserved1;
	union {
		struct {
			__u64 reserved[7];
		} none;		/* NOP, BARRIER */
		struct {
			__u64 desc_va;	/* struct onpu_matmul_desc, 64-byte aligned */
			__u64 reserved[6];
		} matmul;
		struct {
			__u64 dst_va;
			__u64 src_va;
			__u64 size;	/* bytes, any, 0 does nothing */
			__u64 reserved[4];
		} copy;
		struct {
			__u64 dst_va;
			__u64 src_va;
			__u64 dst_pitch; /* bytes from row to row; at least row_bytes */
			__u64 src_pitch; /* any: 0 repeats one row, less than row_bytes overlaps them */
			__u64 row_bytes; /* 0 does nothing */
			__u32 rows;	/* 0 does nothing; 1: no pitch is looked at */
			__u32 reserved32;
			__u64 reserved;
		} copy_2d;
		struct {
			__u64 dst_va;	/* 4-byte aligned */
			__u64 size;	/* bytes, multiple of 4 */
			__u32 pattern;
			__u32 reserved32;
			__u64 reserved[4];
		} fill;
		struct {
			__u64 va;	/* 64-byte aligned array of packets */
			__u32 count;	/* packets, 1 .. CALL_MAX */
			__u32 reserved32;
			__u64 reserved[5];
		} call;
		struct {
			__u64 va;	/* 8-byte aligned */
			__u64 value;
			__u32 op;	/* enum onpu_wait_op */
			__u32 reserved32;
			__u64 reserved[4];
		} wait;
		struct {
			__u64 va;	/* 8-byte aligned */
			__u64 value;
			__u64 reserved[5];
		} signal;
		struct {
			__u64 va;	/* 8-byte aligned */
			__u64 reserved[6];
		} timestamp;
		struct {
			__u64 operands[6];	/* of the packet, as above */
			__u64 va;	/* with ONPU_PKT_STAMP: 64-byte aligned; else reserved */
		} stamp;
	};
};
ONPU_ASSERT_SIZE(struct onpu_packet, ONPU_PACKET_SIZE);
ONPU_ASSERT_OFFSET(struct onpu_packet, copy.dst_va, 8);
ONPU_ASSERT_OFFSET(struct onpu_packet, copy_2d.rows, 48);
ONPU_ASSERT_OFFSET(struct onpu_packet, stamp.va, 56);

/** What ONPU_PKT_STAMP stores: when a packet ran in engine time, and what it took. */
struct onpu_stamp {
	__u64 start;		/* ns of engine time */
	__u64 end;
	__u64 ops;		/* 2 * M * N * K of its matmuls */
	__u64 vram_bytes;	/* moved to and from card memory */
	__u64 host_read_bytes;	/* read from the host */
	__u64 host_write_bytes;	/* written to the host */
	__u64 cores_ns;		/* that the matmul cores worked */
	__u32 macs;		/* multiply-adds per cycle and core for its types; 0: no matmul */
	__u8 opcode;		/* enum onpu_opcode */
	__u8 limit;		/* enum onpu_engine that took longest; ONPU_ENGINES: none, it is all fixed time */
	__u16 reserved;		/* zero */
};
ONPU_ASSERT_SIZE(struct onpu_stamp, 64);
#define ONPU_STAMP_ALIGN	64

/** Written by the engine into the queue's address space, 64-byte aligned. */
struct onpu_queue_ctl {
	__u32 consumer;		/* packets completed, modulo 2^32 */
	__u32 reserved0;
	/* From packet ABI 1.4 on. */
	__u64 completed;	/* packets completed since the queue was created; stored before consumer */
	__u32 reserved[12];
};
ONPU_ASSERT_SIZE(struct onpu_queue_ctl, 64);
ONPU_ASSERT_OFFSET(struct onpu_queue_ctl, completed, 8);

/** Element types; Documentation/numerics.md defines each. */
enum onpu_dtype {
	ONPU_DTYPE_F32 = 1,
	ONPU_DTYPE_BF16 = 2,
	ONPU_DTYPE_F16 = 3,
	ONPU_DTYPE_I8 = 4,
	ONPU_DTYPE_I32 = 5,
	/* From packet ABI 1.1 on. */
	ONPU_DTYPE_E4M3 = 6,	/* OCP OFP8 */
	ONPU_DTYPE_E5M2 = 7,
	ONPU_DTYPE_I4 = 8,	/* two in a byte, the lower half first */
	ONPU_DTYPE_MX_E4M3 = 9,	/* OCP MXFP8: with a UE8M0 scale for each 32 along k, as all MX types */
	ONPU_DTYPE_MX_E5M2 = 10,
	ONPU_DTYPE_MX_E2M3 = 11,	/* MXFP6: four in three bytes, the lowest bits first */
	ONPU_DTYPE_MX_E3M2 = 12,
	ONPU_DTYPE_MX_E2M1 = 13,	/* MXFP4: two in a byte, the lower half first */
};
#define ONPU_MX_GROUP		32

/** Flags of struct onpu_matmul_desc. */
#define ONPU_MATMUL_TRANS_A	(1u << 0)	/* A is stored K x M */
#define ONPU_MATMUL_TRANS_B	(1u << 1)	/* B is stored N x K */
#define ONPU_MATMUL_ACCUMULATE	(1u << 2)	/* sums start from C, not from zero */
#define ONPU_MATMUL_ALPHA	(1u << 3)	/* multiply the sums by alpha */
#define ONPU_MATMUL_BETA	(1u << 4)	/* add beta * C; not with ACCUMULATE */
#define ONPU_MATMUL_BATCH_VECTORS (1u << 5)	/* vectors follow one another, one for each matmul */
#define ONPU_MATMUL_D_SCALE_ROWS (1u << 6)	/* d_scale, d_zero: one for each row of D, */
#define ONPU_MATMUL_D_SCALE_COLS (1u << 7)	/* or for each column; else one for all */
#define ONPU_MATMUL_NO_SATURATE	(1u << 8)	/* D is FP8: overflow gives infinity or NaN */
#define ONPU_MATMUL_FLAGS	0x1ffu

/** Activation functions; Documentation/numerics.md defines each. */
enum onpu_activation {
	ONPU_ACT_NONE = 0,
	ONPU_ACT_RELU = 1,
	ONPU_ACT_GELU_ERF = 2,
	ONPU_ACT_GELU_TANH = 3,
	ONPU_ACT_SILU = 4,
};

/** What a descriptor with more than one matmul does from one to the next. */
enum onpu_batch_mode {
	ONPU_BATCH_NONE = 0,
	ONPU_BATCH_STRIDED = 1,	/* adds the strides; 0: the operand is the same for all */
	ONPU_BATCH_ITEMS = 2,	/* adds what struct onpu_matmul_item i at batch_va says */
	ONPU_BATCH_GROUPED = 3,	/* takes u32 i at batch_va rows of A, C, D, residual; strides B */
};
#define ONPU_MATMUL_BATCH_MAX	(1u << 20)

/** Bytes to add, modulo 2^64, to the addresses of the descriptor. */
struct onpu_matmul_item {
	__u64 a;
	__u64 b;
	__u64 c;
	__u64 d;
	__u64 residual;
	__u64 a_scale;
	__u64 b_scale;
	__u64 b_zero;
};
ONPU_ASSERT_SIZE(struct onpu_matmul_item, 64);

/**
 * D = op(A) * op(B), row-major: element (r, c) of a stored matrix with
 * leading dimension ld stands (r * ld + c) elements behind va. Addresses are
 * aligned to their element; rows of the 4 and 6 bit types start at bytes.
 * Floating-point types (the MX types are such) in any pair have F32 sums,
 * integers I32. b_group makes an integer B a floating-point one:
 * (b - zero) * scale.
 *
 * The sums become D, each step where it is asked for: start from C
 * (ACCUMULATE), times row_scale and col_scale, times alpha, plus beta * C,
 * plus bias, activation, plus residual, times d_scale, to d_type plus d_zero.
 *
 * A matrix of scales or zero points is stored like its operand, with one
 * element where that has a group along k.
 */
struct onpu_matmul_desc {
	__u8 a_type;		/* enum onpu_dtype */
	__u8 b_type;
	__u8 c_type;		/* ACCUMULATE: of the sums; BETA: F32, BF16, F16; else 0 */
	__u8 d_type;
	__u32 flags;		/* ONPU_MATMUL_* */
	__u32 m;		/* rows of D, 1 .. DIM_MAX */
	__u32 n;		/* columns of D */
	__u32 k;		/* length of the sums */
	__u32 batch;		/* matmuls, 1 .. BATCH_MAX; 0 without batch_mode */
	__u64 a_va;
	__u64 b_va;
	__u64 c_va;		/* 0 without ACCUMULATE and BETA */
	__u64 d_va;
	__u64 lda;		/* elements; at least the stored row length, at most 2^32 */
	__u64 ldb;
	__u64 ldc;		/* 0 without C */
	__u64 ldd;
	__u64 a_scale_va;	/* UE8M0 scales of an MX type, else 0 */
	__u64 b_scale_va;	/* of an MX type, or of the groups of b_group */
	__u64 b_zero_va;	/* zero points of the groups, I8; 0: none */
	__u64 bias_va;		/* n elements; 0: none, as all that follow */
	__u64 row_scale_va;	/* m F32 */
	__u64 col_scale_va;	/* n F32 */
	__u64 d_scale_va;	/* 1, m or n F32 */
	__u64 d_zero_va;	/* 1, m or n I8; D is I8 */
	__u64 residual_va;	/* m x n */
	__u64 ldr;		/* of the residual */
	__u32 lda_scale;	/* elements; at least the stored row length */
	__u32 ldb_scale;	/* of the scales and zero points of B */
	__u32 alpha;		/* F32 bits; 0 without ALPHA */
	__u32 beta;		/* F32 bits; 0 without BETA */
	__u8 bias_type;		/* F32, BF16, F16; 0 without it */
	__u8 residual_type;	/* likewise */
	__u8 b_scale_type;	/* with b_group: F16 or BF16, else 0 */
	__u8 activation;	/* enum onpu_activation */
	__u16 b_group;		/* 32, 64 or 128; 0: B has no groups but those of its type */
	__u8 batch_mode;	/* enum onpu_batch_mode */
	__u8 reserved0;
	__u64 a_stride;		/* bytes from matmul to matmul */
	__u64 b_stride;
	__u64 c_stride;
	__u64 d_stride;
	__u64 residual_stride;
	__u64 batch_va;		/* items or group sizes */
	__u64 reserved[2];
};
ONPU_ASSERT_SIZE(struct onpu_matmul_desc, 256);
ONPU_ASSERT_OFFSET(struct onpu_matmul_desc, a_va, 24);
ONPU_ASSERT_OFFSET(struct onpu_matmul_desc, lda, 56);
ONPU_ASSERT_OFFSET(struct onpu_matmul_desc, a_scale_va, 88);
ONPU_ASSERT_OFFSET(struct onpu_matmul_desc, lda_scale, 168);
ONPU_ASSERT_OFFSET(struct onpu_matmul_desc, b_group, 188);
#define ONPU_MATMUL_DESC_ALIGN	64
#define ONPU_MATMUL_LD_MAX	(1ull << 32)

/** Why a queue stopped (slot register, firmware event, QUEUE_GET_STATE). */
enum onpu_queue_error {
	ONPU_ERR_NONE = 0,
	ONPU_ERR_FAULT = 1,	/* MMU fault: address and fault info tell */
	ONPU_ERR_OPCODE = 2,	/* unknown or unimplemented opcode */
	ONPU_ERR_PACKET = 3,	/* reserved field, flag, alignment or size of a packet */
	ONPU_ERR_DESC = 4,	/* matmul descriptor: type, dimension, stride, reserved field */
	ONPU_ERR_CALL = 5,	/* nested CALL, or count out of range */
	ONPU_ERR_RING = 6,	/* producer index more than a ring ahead */
	ONPU_ERR_KILLED = 7,	/* killed by the host */
	ONPU_ERR_INTERNAL = 8,	/* the engine ran out of resources, or found saved work damaged */
};

#endif /* ONPU_PACKET_H */

/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Firmware image: a 1024-byte header, then the bytes of the sections.
 *
 * The Ed25519 signature (RFC 8032) covers every header byte before it, and so,
 * through their hashes, every byte of every section. The boot ROM copies the
 * header and each section to MCU memory first and checks the copies.
 */
#ifndef ONPU_FWIMAGE_H
#define ONPU_FWIMAGE_H

#include "types.h"

#define ONPU_FW_MAGIC		0x4957464f	/* "OFWI" */
#define ONPU_FW_HEADER_VERSION	1
#define ONPU_FW_HEADER_SIZE	1024
#define ONPU_FW_MAX_SECTIONS	8
#define ONPU_FW_MAX_SIZE	(4u << 20)	/* whole image */
#define ONPU_FW_ALIGN		64		/* image address and section offsets */
#define ONPU_FW_FILE		"onpu/onpu_fw.bin"	/* below /lib/firmware */

/** Interfaces whose versions an image states. */
enum onpu_fw_abi {
	ONPU_FW_ABI_HW = 0,	/* registers: must equal the card's major */
	ONPU_FW_ABI_MBOX = 1,	/* ONPU_MBOX_ABI_* */
	ONPU_FW_ABI_PACKET = 2,	/* ONPU_PACKET_ABI_* */
	ONPU_FW_ABI_COUNT = 3,
};

/** Version of one interface: equal majors work together, minors add. */
struct onpu_fw_version {
	__u16 major;
	__u16 minor;
};

#define ONPU_FW_SECTION_EXEC	(1u << 0)

/** One loadable section. */
struct onpu_fw_section {
	__u32 offset;		/* in the image, ONPU_FW_ALIGN */
	__u32 file_size;	/* bytes to copy */
	__u32 load_addr;	/* MCU SRAM address, 4-byte aligned */
	__u32 mem_size;		/* bytes from load_addr, the rest is zeroed; >= file_size */
	__u32 flags;		/* ONPU_FW_SECTION_* */
	__u32 reserved[3];
	__u8 sha256[32];	/* of the file_size bytes */
};
ONPU_ASSERT_SIZE(struct onpu_fw_section, 64);

/** The header at offset 0. */
struct onpu_fw_header {
	__u32 magic;
	__u32 header_version;
	__u32 header_size;	/* ONPU_FW_HEADER_SIZE */
	__u32 image_size;	/* header and sections */
	__u32 fw_version;	/* major << 24 | minor << 16 | patch */
	__u32 svn;		/* security version, see ONPU_REG_FUSE_MIN_SVN */
	__u32 entry;		/* MCU address of the first instruction */
	__u32 num_sections;	/* 1 .. ONPU_FW_MAX_SECTIONS */
	struct onpu_fw_version abi[8];	/* by enum onpu_fw_abi, rest zero */
	__u8 build_id[32];
	char name[32];		/* NUL-terminated */
	struct onpu_fw_section sections[ONPU_FW_MAX_SECTIONS];	/* unused ones zero */
	__u8 reserved[256];
	__u8 public_key[32];	/* Ed25519 */
	__u8 reserved2[32];
	__u8 signature[64];	/* over bytes 0 .. 959 */
};
ONPU_ASSERT_SIZE(struct onpu_fw_header, ONPU_FW_HEADER_SIZE);
ONPU_ASSERT_OFFSET(struct onpu_fw_header, sections, 128);
ONPU_ASSERT_OFFSET(struct onpu_fw_header, public_key, 896);
ONPU_ASSERT_OFFSET(struct onpu_fw_header, signature, 960);
#define ONPU_FW_SIGNED_SIZE	960

#endif /* ONPU_FWIMAGE_H */

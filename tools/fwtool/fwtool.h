/* SPDX-License-Identifier: MIT */
/* Parts of onpu-fwtool. */
#ifndef FWTOOL_H
#define FWTOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <onpu/fwimage.h>

#define KEY_BYTES	32
#define HASH_BYTES	32

/* Prints "onpu-fwtool: ..." on stderr and returns false. */
bool refuse(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A whole file, at most @max bytes; the caller frees. */
uint8_t *read_file(const char *path, size_t max, size_t *size);
/* Replaces the file at @path in one step. */
bool write_file(const char *path, const void *data, size_t size,
		unsigned int mode);

/* key.c: files of 64 hexadecimal digits; lines that start with # are comments. */
bool key_read(const char *path, uint8_t key[KEY_BYTES]);
bool key_generate(const char *name);

/* elf.c: what of an ELF file goes into the image. */
struct segment {
	uint32_t addr;
	uint32_t file_size;
	uint32_t mem_size;
	bool exec;
	const uint8_t *data;
};

struct program {
	uint32_t entry;
	unsigned int n;
	struct segment segments[ONPU_FW_MAX_SECTIONS];
};

/* Segments point into @elf. */
bool elf_parse(const uint8_t *elf, size_t size, struct program *prog);

/* image.c; all return false after a message. */
struct image_info {
	const char *name;
	uint32_t fw_version;
	uint32_t svn;
};

uint8_t *image_build(const struct program *prog, const struct image_info *info,
		     size_t *size);
bool image_sign(uint8_t *image, size_t size, const uint8_t seed[KEY_BYTES]);
/* Everything that the boot ROM checks, but for the fuses. */
bool image_check(const uint8_t *image, size_t size);
void image_print(const uint8_t *image, size_t size, bool json);
bool image_header(const uint8_t *image, size_t size,
		  struct onpu_fw_header *header);
/* 2 * @n digits and a NUL to @out. */
void hex(char *out, const uint8_t *in, size_t n);

#endif

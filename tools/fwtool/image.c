// SPDX-License-Identifier: MIT
/*
 * Building, signing and checking firmware images (uapi/onpu/fwimage.h).
 *
 * The same input gives the same bytes: no time, no path, no random number goes
 * in (Ed25519 signatures are deterministic), and the build id is a hash of the
 * sections.
 */
#include <endian.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <onpu/mbox.h>
#include <onpu/mcu.h>
#include <onpu/packet.h>
#include <onpu/regs.h>
#include "fwtool.h"

static size_t align_up(size_t v)
{
	return (v + ONPU_FW_ALIGN - 1) & ~(size_t)(ONPU_FW_ALIGN - 1);
}

/* --- byte order: the header in the file is little endian -------------------- */

static void swap_header(struct onpu_fw_header *h)
{
	uint32_t *words[] = { &h->magic, &h->header_version, &h->header_size,
		&h->image_size, &h->fw_version, &h->svn, &h->entry,
		&h->num_sections };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		*words[i] = le32toh(*words[i]);
	for (int i = 0; i < 8; i++) {
		h->abi[i].major = le16toh(h->abi[i].major);
		h->abi[i].minor = le16toh(h->abi[i].minor);
	}
	for (int i = 0; i < ONPU_FW_MAX_SECTIONS; i++) {
		struct onpu_fw_section *s = &h->sections[i];

		s->offset = le32toh(s->offset);
		s->file_size = le32toh(s->file_size);
		s->load_addr = le32toh(s->load_addr);
		s->mem_size = le32toh(s->mem_size);
		s->flags = le32toh(s->flags);
	}
}

bool image_header(const uint8_t *image, size_t size,
		  struct onpu_fw_header *h)
{
	if (size < sizeof(*h))
		return refuse("shorter than an image header");
	memcpy(h, image, sizeof(*h));
	swap_header(h);
	if (h->magic != ONPU_FW_MAGIC)
		return refuse("wrong magic: not a firmware image");
	if (h->header_version != ONPU_FW_HEADER_VERSION)
		return refuse("header version %u is not known", h->header_version);
	if (h->num_sections < 1 || h->num_sections > ONPU_FW_MAX_SECTIONS)
		return refuse("%u sections", h->num_sections);
	return true;
}

/* --- building ---------------------------------------------------------------- */

static void fill_abi(struct onpu_fw_header *h)
{
	h->abi[ONPU_FW_ABI_HW] = (struct onpu_fw_version) {
		ONPU_HW_VERSION_MAJOR, ONPU_HW_VERSION_MINOR };
	h->abi[ONPU_FW_ABI_MBOX] = (struct onpu_fw_version) {
		ONPU_MBOX_ABI_MAJOR, ONPU_MBOX_ABI_MINOR };
	h->abi[ONPU_FW_ABI_PACKET] = (struct onpu_fw_version) {
		ONPU_PACKET_ABI_MAJOR, ONPU_PACKET_ABI_MINOR };
}

static size_t fill_sections(struct onpu_fw_header *h,
			    const struct program *prog)
{
	size_t off = sizeof(*h);

	for (unsigned int i = 0; i < prog->n; i++) {
		const struct segment *seg = &prog->segments[i];
		struct onpu_fw_section *s = &h->sections[i];

		s->offset = (uint32_t)off;
		s->file_size = seg->file_size;
		s->load_addr = seg->addr;
		s->mem_size = seg->mem_size;
		s->flags = seg->exec ? ONPU_FW_SECTION_EXEC : 0;
		crypto_hash_sha256(s->sha256, seg->data, seg->file_size);
		off = align_up(off + seg->file_size);
		if (off > ONPU_FW_MAX_SIZE)
			return 0;
	}
	return off;
}

uint8_t *image_build(const struct program *prog, const struct image_info *info,
		     size_t *size)
{
	struct onpu_fw_header h = {
		.magic = ONPU_FW_MAGIC,
		.header_version = ONPU_FW_HEADER_VERSION,
		.header_size = ONPU_FW_HEADER_SIZE,
		.fw_version = info->fw_version,
		.svn = info->svn,
		.entry = prog->entry,
		.num_sections = prog->n,
	};
	uint8_t *image;

	if (strlen(info->name) >= sizeof(h.name)) {
		refuse("name is longer than %zu bytes", sizeof(h.name) - 1);
		return NULL;
	}
	strcpy(h.name, info->name);
	fill_abi(&h);
	*size = fill_sections(&h, prog);
	if (!*size) {
		refuse("image is larger than %u bytes", ONPU_FW_MAX_SIZE);
		return NULL;
	}
	h.image_size = (uint32_t)*size;
	image = calloc(1, *size);
	if (!image) {
		refuse("out of memory");
		return NULL;
	}
	for (unsigned int i = 0; i < prog->n; i++)
		memcpy(image + h.sections[i].offset, prog->segments[i].data,
		       prog->segments[i].file_size);
	swap_header(&h);
	crypto_hash_sha256(h.build_id, (const uint8_t *)h.sections,
			   sizeof(h.sections));
	memcpy(image, &h, sizeof(h));
	return image;
}

bool image_sign(uint8_t *image, size_t size, const uint8_t seed[KEY_BYTES])
{
	uint8_t sec[crypto_sign_SECRETKEYBYTES];
	struct onpu_fw_header h;

	if (!image_header(image, size, &h))
		return false;
	crypto_sign_seed_keypair(image + offsetof(struct onpu_fw_header,
						  public_key), sec, seed);
	crypto_sign_detached(image + ONPU_FW_SIGNED_SIZE, NULL, image,
			     ONPU_FW_SIGNED_SIZE, sec);
	sodium_memzero(sec, sizeof(sec));
	return true;
}

/* --- checking ---------------------------------------------------------------- */

static bool check_section(const struct onpu_fw_header *h, const uint8_t *image,
			  unsigned int i)
{
	const struct onpu_fw_section *s = &h->sections[i];
	uint64_t end = (uint64_t)s->load_addr + s->mem_size;
	uint8_t hash[HASH_BYTES];

	if (s->offset % ONPU_FW_ALIGN || s->offset < h->header_size ||
	    s->offset > h->image_size ||
	    s->file_size > h->image_size - s->offset)
		return refuse("section %u: bytes outside of the image", i);
	if (s->load_addr % 4 || s->load_addr < ONPU_MCU_SRAM_BASE ||
	    end > ONPU_MCU_ROM_DATA_BASE || !s->mem_size ||
	    s->file_size > s->mem_size)
		return refuse("section %u: outside of the memory for firmware", i);
	for (unsigned int k = 0; k < i; k++) {
		const struct onpu_fw_section *o = &h->sections[k];

		if (s->load_addr < (uint64_t)o->load_addr + o->mem_size &&
		    o->load_addr < end)
			return refuse("sections %u and %u overlap in memory", k, i);
		if (s->offset < (uint64_t)o->offset + o->file_size &&
		    o->offset < (uint64_t)s->offset + s->file_size)
			return refuse("sections %u and %u overlap in the file",
				    k, i);
	}
	crypto_hash_sha256(hash, image + s->offset, s->file_size);
	if (memcmp(hash, s->sha256, sizeof(hash)))
		return refuse("section %u: wrong SHA-256", i);
	return true;
}

static bool check_entry(const struct onpu_fw_header *h)
{
	for (unsigned int i = 0; i < h->num_sections; i++) {
		const struct onpu_fw_section *s = &h->sections[i];

		if (s->flags & ONPU_FW_SECTION_EXEC && !(h->entry & 1) &&
		    h->entry >= s->load_addr &&
		    h->entry - s->load_addr < s->file_size)
			return true;
	}
	return refuse("entry point is in no executable section");
}

static bool check_reserved(const struct onpu_fw_header *h)
{
	bool ok = sodium_is_zero(h->reserved, sizeof(h->reserved)) &&
		  sodium_is_zero(h->reserved2, sizeof(h->reserved2)) &&
		  sodium_is_zero((const uint8_t *)&h->abi[ONPU_FW_ABI_COUNT],
				 sizeof(h->abi) - ONPU_FW_ABI_COUNT *
				 sizeof(h->abi[0])) &&
		  !h->name[sizeof(h->name) - 1];

	for (unsigned int i = 0; i < ONPU_FW_MAX_SECTIONS; i++) {
		const struct onpu_fw_section *s = &h->sections[i];

		if (i >= h->num_sections)
			ok &= sodium_is_zero((const uint8_t *)s, sizeof(*s));
		else
			ok &= !(s->flags & ~ONPU_FW_SECTION_EXEC) &&
			      !s->reserved[0] && !s->reserved[1] &&
			      !s->reserved[2];
	}
	return ok || refuse("reserved bytes are not zero");
}

bool image_check(const uint8_t *image, size_t size)
{
	struct onpu_fw_header h;

	if (!image_header(image, size, &h))
		return false;
	if (h.header_size != ONPU_FW_HEADER_SIZE || h.image_size != size)
		return refuse("lengths: header %u, image %u, file %zu bytes",
			    h.header_size, h.image_size, size);
	if (crypto_sign_verify_detached(h.signature, image, ONPU_FW_SIGNED_SIZE,
					h.public_key))
		return refuse("wrong signature");
	if (!check_reserved(&h))
		return false;
	if (h.abi[ONPU_FW_ABI_HW].major != ONPU_HW_VERSION_MAJOR)
		return refuse("for hardware version %u",
			    h.abi[ONPU_FW_ABI_HW].major);
	for (unsigned int i = 0; i < h.num_sections; i++) {
		if (!check_section(&h, image, i))
			return false;
	}
	return check_entry(&h);
}

/* --- printing ---------------------------------------------------------------- */

void hex(char *out, const uint8_t *in, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		*out++ = digits[in[i] >> 4];
		*out++ = digits[in[i] & 15];
	}
	*out = '\0';
}

static void print_field(bool json, const char *key, const char *value)
{
	printf(json ? "  \"%s\": \"%s\",\n" : "%-14s %s\n", key, value);
}

static void print_number(bool json, const char *key, uint32_t value)
{
	printf(json ? "  \"%s\": %" PRIu32 ",\n" : "%-14s %" PRIu32 "\n", key,
	       value);
}

static void print_hex(bool json, const char *key, const uint8_t *p, size_t n)
{
	char text[2 * 64 + 1];

	hex(text, p, n);
	print_field(json, key, text);
}

static void print_section(bool json, const struct onpu_fw_section *s,
			  unsigned int i, bool last)
{
	char hash[2 * HASH_BYTES + 1];

	hex(hash, s->sha256, sizeof(s->sha256));
	if (json)
		printf("    {\"offset\": %u, \"file_size\": %u, "
		       "\"load_addr\": %u, \"mem_size\": %u, "
		       "\"exec\": %s, \"sha256\": \"%s\"}%s\n",
		       s->offset, s->file_size, s->load_addr, s->mem_size,
		       s->flags & ONPU_FW_SECTION_EXEC ? "true" : "false",
		       hash, last ? "" : ",");
	else
		printf("section %u      offset 0x%x, %u bytes to 0x%08x, "
		       "%u in memory%s\n               sha256 %s\n", i,
		       s->offset, s->file_size, s->load_addr, s->mem_size,
		       s->flags & ONPU_FW_SECTION_EXEC ? ", executable" : "",
		       hash);
}

/* A name from an untrusted image: printable characters only. */
static void safe_name(char out[33], const char *name)
{
	int i;

	for (i = 0; i < 32 && name[i]; i++) {
		char c = name[i];

		out[i] = c >= ' ' && c < 127 && c != '"' && c != '\\' ? c : '?';
	}
	out[i] = '\0';
}

void image_print(const uint8_t *image, size_t size, bool json)
{
	static const char * const abi[] = { "abi_hw", "abi_mbox", "abi_packet" };
	struct onpu_fw_header h;
	uint8_t hash[HASH_BYTES];
	char text[64];

	if (!image_header(image, size, &h))
		return;
	if (json)
		printf("{\n");
	safe_name(text, h.name);
	print_field(json, "name", text);
	snprintf(text, sizeof(text), "%u.%u.%u", h.fw_version >> 24,
		 h.fw_version >> 16 & 255, h.fw_version & 0xffff);
	print_field(json, "version", text);
	print_number(json, "svn", h.svn);
	for (int i = 0; i < ONPU_FW_ABI_COUNT; i++) {
		snprintf(text, sizeof(text), "%u.%u", h.abi[i].major,
			 h.abi[i].minor);
		print_field(json, abi[i], text);
	}
	print_hex(json, "build_id", h.build_id, sizeof(h.build_id));
	snprintf(text, sizeof(text), "0x%08x", h.entry);
	print_field(json, "entry", text);
	print_number(json, "image_size", h.image_size);
	print_hex(json, "public_key", h.public_key, sizeof(h.public_key));
	crypto_hash_sha256(hash, h.public_key, sizeof(h.public_key));
	print_hex(json, "key_hash", hash, sizeof(hash));
	print_hex(json, "signature", h.signature, sizeof(h.signature));
	if (json)
		printf("  \"sections\": [\n");
	for (unsigned int i = 0; i < h.num_sections; i++)
		print_section(json, &h.sections[i], i, i + 1 == h.num_sections);
	if (json)
		printf("  ]\n}\n");
}

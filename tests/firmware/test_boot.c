// SPDX-License-Identifier: MIT
/*
 * The boot ROM on the simulator: the good image starts, and every way in which
 * an image can be wrong is refused with its own status, without a byte of it
 * having run.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "fwtest.h"
#include "fwtool.h"

/* The image tool explains each refusal; here its verdict is enough. */
bool refuse(const char *fmt, ...)
{
	(void)fmt;
	return false;
}

#define FAILED(error, detail) \
	(ONPU_BOOT_STAGE_FAILED | ONPU_BOOT_ERR_##error << 8 | (detail) << 16)

static const uint8_t other_seed[32] = { 0x42 };
static const uint8_t production_seed[32] = { 0x17 };

static void test_good(void **state)
{
	struct fake *f = fake_create();
	struct onpu_mbox_shared *s;

	(void)state;
	fake_settle(f);
	assert_int_equal(f->boot_status, ONPU_BOOT_STAGE_ROM);
	assert_int_equal(fake_boot(f, fw_image, fw_image_size),
			 ONPU_BOOT_STAGE_READY);
	assert_true(f->host_irqs & ONPU_IRQ_BOOT);
	assert_false(f->fatal);
	assert_int_equal(f->fw_version, image_hdr(fw_image)->fw_version);
	assert_int_equal(f->violations, 0);
	s = fake_shared(f);
	assert_int_equal(s->magic, ONPU_MBOX_MAGIC);
	assert_int_equal(s->abi_major, ONPU_MBOX_ABI_MAJOR);
	assert_int_equal(s->size, sizeof(*s));
	assert_in_range(s->h2f_offset, ONPU_FW_REGION_STAGE_SIZE,
			FAKE_REGION_SIZE - 4096);
	assert_in_range(s->f2h_offset, ONPU_FW_REGION_STAGE_SIZE,
			FAKE_REGION_SIZE - 4096);
	assert_in_range(s->log_offset, ONPU_FW_REGION_STAGE_SIZE,
			FAKE_REGION_SIZE - s->log_size);
	/* The host's staging area is not written. */
	assert_memory_equal(f->window, fw_image, fw_image_size);
	print_message("boot takes %llu instructions\n",
		      (unsigned long long)f->insns);
	fake_destroy(f);
}

/* --- refusals -------------------------------------------------------------- */

struct refusal {
	const char *name;
	uint32_t expected;
	bool resign;
	void (*change)(struct onpu_fw_header *h, uint8_t *image);
};

static void c_magic(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->magic ^= 1; }
static void c_version(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->header_version++; }
static void c_header_size(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->header_size += 64; }
static void c_longer(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->image_size += 64; }
static void c_shorter(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->image_size -= 64; }
static void c_signature(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->signature[5] ^= 0x10; }
static void c_unsigned_change(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->svn += 7; }
static void c_key(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->public_key[0] ^= 1; }
static void c_hash0(struct onpu_fw_header *h, uint8_t *i)
{ i[h->sections[0].offset + 11] ^= 0x80; }
static void c_hash1(struct onpu_fw_header *h, uint8_t *i)
{ i[h->sections[1].offset + h->sections[1].file_size - 1] ^= 1; }
static void c_hash_field(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->sections[1].sha256[31] ^= 1; }
static void c_no_sections(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->num_sections = 0; }
static void c_many_sections(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->num_sections = 9; }
static void c_huge_sections(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->num_sections = 0xffffffff; }
static void c_file_outside(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->sections[1].offset = h->image_size; }
static void c_file_wraps(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->sections[0].offset = 0xffffffc0; }
static void c_file_in_header(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->sections[0].offset = 0; }
static void c_file_misaligned(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->sections[0].offset += 4; }
static void c_file_overlap(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->sections[1].offset = h->sections[0].offset; }
static void c_load_below(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->sections[0].load_addr = ONPU_MCU_SRAM_BASE - 4; }
static void c_load_rom_data(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->sections[1].load_addr = ONPU_MCU_ROM_DATA_BASE - 4; }
static void c_load_rom(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->sections[1].load_addr = ONPU_MCU_ROM_BASE; }
static void c_load_window(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->sections[1].load_addr = ONPU_MCU_WINDOW_BASE; }
static void c_load_misaligned(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->sections[0].load_addr += 2; }
static void c_load_wraps(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->sections[1].mem_size = 0xfffffff0; }
static void c_load_overlap(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->sections[1].load_addr = h->sections[0].load_addr + 16; }
static void c_mem_smaller(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->sections[0].mem_size = h->sections[0].file_size - 4; }
static void c_mem_zero(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->sections[1].mem_size = h->sections[1].file_size = 0; }
static void c_rollback(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->svn = 0; }
static void c_entry_data(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->entry = h->sections[1].load_addr; }
static void c_entry_outside(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->entry = h->sections[0].load_addr + h->sections[0].file_size; }
static void c_entry_before(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->entry = h->sections[0].load_addr - 2; }
static void c_entry_odd(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->entry |= 1; }
static void c_not_exec(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->sections[0].flags = 0; }
static void c_hardware(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->abi[ONPU_FW_ABI_HW].major++; }
static void c_reserved(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->reserved[255] = 1; }
static void c_reserved2(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->reserved2[0] = 1; }
static void c_abi_unused(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->abi[7].minor = 1; }
static void c_section_flag(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->sections[1].flags = 2; }
static void c_section_reserved(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->sections[1].reserved[2] = 1; }
static void c_unused_section(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; h->sections[7].offset = 64; }
static void c_name(struct onpu_fw_header *h, uint8_t *i)
{ (void)i; memset(h->name, 'x', sizeof(h->name)); }

static const struct refusal refusals[] = {
	{ "magic", FAILED(MAGIC, 0), true, c_magic },
	{ "header version", FAILED(VERSION, 0), true, c_version },
	{ "header size", FAILED(LENGTH, 0), true, c_header_size },
	{ "image size larger", FAILED(LENGTH, 0), true, c_longer },
	{ "image size smaller", FAILED(LENGTH, 0), true, c_shorter },
	{ "signature", FAILED(SIGNATURE, 0), false, c_signature },
	{ "header changed", FAILED(SIGNATURE, 0), false, c_unsigned_change },
	{ "public key changed", FAILED(KEY, 0), false, c_key },
	{ "section 0 changed", FAILED(HASH, 0), false, c_hash0 },
	{ "section 1 changed", FAILED(HASH, 1), false, c_hash1 },
	{ "hash changed", FAILED(HASH, 1), true, c_hash_field },
	{ "no sections", FAILED(SECTION, 8), true, c_no_sections },
	{ "nine sections", FAILED(SECTION, 8), true, c_many_sections },
	{ "huge section count", FAILED(SECTION, 8), true, c_huge_sections },
	{ "file range outside", FAILED(LENGTH, 1), true, c_file_outside },
	{ "file range wraps", FAILED(LENGTH, 0), true, c_file_wraps },
	{ "file range in header", FAILED(LENGTH, 0), true, c_file_in_header },
	{ "file misaligned", FAILED(LENGTH, 0), true, c_file_misaligned },
	{ "file overlap", FAILED(LENGTH, 1), true, c_file_overlap },
	{ "below SRAM", FAILED(SECTION, 0), true, c_load_below },
	{ "on ROM data", FAILED(SECTION, 1), true, c_load_rom_data },
	{ "on ROM", FAILED(SECTION, 1), true, c_load_rom },
	{ "in the window", FAILED(SECTION, 1), true, c_load_window },
	{ "load misaligned", FAILED(SECTION, 0), true, c_load_misaligned },
	{ "load wraps", FAILED(SECTION, 1), true, c_load_wraps },
	{ "load overlap", FAILED(SECTION, 1), true, c_load_overlap },
	{ "memory smaller", FAILED(SECTION, 0), true, c_mem_smaller },
	{ "empty section", FAILED(SECTION, 1), true, c_mem_zero },
	{ "rollback", FAILED(ROLLBACK, 0), true, c_rollback },
	{ "entry in data", FAILED(ENTRY, 0), true, c_entry_data },
	{ "entry after code", FAILED(ENTRY, 0), true, c_entry_outside },
	{ "entry before code", FAILED(ENTRY, 0), true, c_entry_before },
	{ "entry odd", FAILED(ENTRY, 0), true, c_entry_odd },
	{ "nothing executable", FAILED(ENTRY, 0), true, c_not_exec },
	{ "hardware version", FAILED(HARDWARE, 0), true, c_hardware },
	{ "reserved bytes", FAILED(RESERVED, 0), true, c_reserved },
	{ "reserved bytes 2", FAILED(RESERVED, 0), true, c_reserved2 },
	{ "unused interface", FAILED(RESERVED, 0), true, c_abi_unused },
	{ "section flag", FAILED(RESERVED, 1), true, c_section_flag },
	{ "section reserved", FAILED(RESERVED, 1), true, c_section_reserved },
	{ "unused section", FAILED(RESERVED, 7), true, c_unused_section },
	{ "name not ended", FAILED(RESERVED, 0), true, c_name },
};

/* Nothing of a refused image is left in the memory that firmware uses. */
static void assert_wiped(struct fake *f)
{
	uint32_t n = ONPU_MCU_ROM_DATA_BASE - ONPU_MCU_SRAM_BASE;

	for (uint32_t i = 1; i < n; i++) {
		if (f->sram[i] != f->sram[0])
			fail_msg("SRAM offset %#x holds %#x", i, f->sram[i]);
	}
}

static void test_refusals(void **state)
{
	struct fake *f = fake_create();
	size_t n = sizeof(refusals) / sizeof(refusals[0]);

	(void)state;
	f->min_svn = 1;
	fake_settle(f);
	for (size_t i = 0; i < n; i++) {
		const struct refusal *r = &refusals[i];
		uint8_t *image = image_copy();
		uint32_t status;

		r->change(image_hdr(image), image);
		if (r->resign)
			image_resign(image, dev_seed);
		f->host_irqs = 0;
		status = fake_boot(f, image, fw_image_size);
		if (status != r->expected)
			fail_msg("%s: status %#x, expected %#x", r->name,
				 status, r->expected);
		assert_true(f->host_irqs & ONPU_IRQ_BOOT);
		assert_wiped(f);
		free(image);
	}
	/* One card, all refusals, and it still boots what is right. */
	assert_int_equal(fake_boot(f, fw_image, fw_image_size),
			 ONPU_BOOT_STAGE_READY);
	fake_destroy(f);
}

static void test_range(void **state)
{
	const uint64_t base = FAKE_REGION_OFFSET;
	const struct { uint64_t addr; uint32_t size, expected; } t[] = {
		{ base - 64, 2048, FAILED(RANGE, 0) },
		{ 0, 2048, FAILED(RANGE, 0) },
		{ base + 32, 2048, FAILED(RANGE, 0) },
		{ base + FAKE_REGION_SIZE, 2048, FAILED(RANGE, 0) },
		{ base + FAKE_REGION_SIZE - 1024, 2048, FAILED(RANGE, 0) },
		{ base + (1ull << 32), 2048, FAILED(RANGE, 0) },
		{ base, 0xffffffff, FAILED(RANGE, 0) },
		{ ~0ull & ~63ull, 2048, FAILED(RANGE, 0) },
		{ base, FAKE_REGION_SIZE, FAILED(LENGTH, 0) },
		{ base, 0, FAILED(LENGTH, 0) },
		{ base, 1023, FAILED(LENGTH, 0) },
		{ base + FAKE_REGION_SIZE, 0, FAILED(LENGTH, 0) },
	};
	struct fake *f = fake_create();

	(void)state;
	fake_settle(f);
	memcpy(f->window, fw_image, fw_image_size);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		uint32_t status = fake_boot_at(f, t[i].addr, t[i].size);

		if (status != t[i].expected)
			fail_msg("case %zu: status %#x, expected %#x", i,
				 status, t[i].expected);
	}
	/* Truncated by one aligned unit, and by one byte. */
	assert_int_equal(fake_boot(f, fw_image, fw_image_size - 64),
			 FAILED(LENGTH, 0));
	assert_int_equal(fake_boot(f, fw_image, fw_image_size - 1),
			 FAILED(LENGTH, 0));
	/* Elsewhere in the region is fine. */
	memcpy(f->window + 0x100000, fw_image, fw_image_size);
	assert_int_equal(fake_boot_at(f, base + 0x100000,
				      (uint32_t)fw_image_size),
			 ONPU_BOOT_STAGE_READY);
	fake_destroy(f);
}

static void hash_of_key(const uint8_t seed[32], uint8_t hash[32])
{
	uint8_t pub[32], sec[64];

	crypto_sign_seed_keypair(pub, sec, seed);
	crypto_hash_sha256(hash, pub, sizeof(pub));
}

static uint32_t boot_with_fuses(const uint8_t *image, bool dev_key,
				const uint8_t *production)
{
	struct fake *f = fake_create();
	uint32_t status;

	f->fuse_flags = dev_key ? ONPU_FUSE_DEV_KEY : 0;
	if (production)
		hash_of_key(production, f->key_hash);
	status = fake_boot(f, image, fw_image_size);
	fake_destroy(f);
	return status;
}

static void test_keys(void **state)
{
	uint8_t *dev = image_copy(), *prod = image_copy(), *other = image_copy();

	(void)state;
	image_resign(prod, production_seed);
	image_resign(other, other_seed);

	/* The development switch off refuses development images. */
	assert_int_equal(boot_with_fuses(dev, true, NULL),
			 ONPU_BOOT_STAGE_READY);
	assert_int_equal(boot_with_fuses(dev, false, NULL), FAILED(KEY, 0));
	assert_int_equal(boot_with_fuses(dev, false, production_seed),
			 FAILED(KEY, 0));
	assert_int_equal(boot_with_fuses(dev, true, production_seed),
			 ONPU_BOOT_STAGE_READY);
	/* Production images need their fuse only. */
	assert_int_equal(boot_with_fuses(prod, false, production_seed),
			 ONPU_BOOT_STAGE_READY);
	assert_int_equal(boot_with_fuses(prod, true, production_seed),
			 ONPU_BOOT_STAGE_READY);
	assert_int_equal(boot_with_fuses(prod, true, NULL), FAILED(KEY, 0));
	/* A third key is never right. */
	assert_int_equal(boot_with_fuses(other, true, production_seed),
			 FAILED(KEY, 0));
	free(dev);
	free(prod);
	free(other);
}

static void test_rollback(void **state)
{
	struct fake *f = fake_create();
	uint8_t *image = image_copy();

	(void)state;
	image_hdr(image)->svn = 7;
	image_resign(image, dev_seed);
	f->min_svn = 8;
	assert_int_equal(fake_boot(f, image, fw_image_size),
			 FAILED(ROLLBACK, 0));
	f->min_svn = 7;
	assert_int_equal(fake_boot(f, image, fw_image_size),
			 ONPU_BOOT_STAGE_READY);
	free(image);
	fake_destroy(f);
}

/* --- a host that changes the image while it is verified --------------------- */

static unsigned int crypto_calls;

static void scribble(struct fake *f, uint32_t cmd)
{
	(void)cmd;
	crypto_calls++;
	/* Everything that was copied before must not matter any more. */
	memset(f->window, 0, 1024);
	if (crypto_calls > 2)
		memset(f->window + 1024, 0,
		       image_hdr(fw_image)->sections[0].file_size);
}

static void test_race(void **state)
{
	struct fake *f = fake_create();

	(void)state;
	f->on_crypto = scribble;
	assert_int_equal(fake_boot(f, fw_image, fw_image_size),
			 ONPU_BOOT_STAGE_READY);
	assert_int_equal(crypto_calls, 4); /* key, signature, two sections */
	fake_destroy(f);
}

/* Any single changed byte of the header or of a section is noticed. */
static void test_flips(void **state)
{
	struct fake *f = fake_create();
	uint8_t *image = image_copy();
	struct onpu_fw_header *h = image_hdr(fw_image);
	uint32_t x = 12345;

	(void)state;
	for (int i = 0; i < 400; i++) {
		uint32_t at, in_section = 0, status;

		x = x * 1664525 + 1013904223;
		at = (x >> 8) % (i < 300 ? 1024 : (uint32_t)fw_image_size);
		for (uint32_t s = 0; s < h->num_sections; s++)
			in_section |= at - h->sections[s].offset <
				      h->sections[s].file_size;
		if (at >= 1024 && !in_section)
			continue; /* padding: never loaded */
		image[at] ^= (uint8_t)(1u << (x & 7));
		status = fake_boot(f, image, fw_image_size);
		image[at] = fw_image[at];
		if (ONPU_BOOT_STAGE(status) != ONPU_BOOT_STAGE_FAILED)
			fail_msg("byte %u changed, status %#x", at, status);
	}
	free(image);
	fake_destroy(f);
}

/* --- signed nonsense: the ROM and the image tool must agree ------------------- */

static uint32_t rng = 2463534242;

static uint32_t rnd(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 17;
	rng ^= rng << 5;
	return rng;
}

/* A value near something that the ROM compares with. */
static uint32_t tricky(const struct onpu_fw_header *h)
{
	const struct onpu_fw_section *s = &h->sections[rnd() % 2];
	const uint32_t values[] = {
		0, 1, ONPU_FW_HEADER_SIZE, h->image_size, ONPU_FW_MAX_SIZE,
		ONPU_MCU_SRAM_BASE, ONPU_MCU_ROM_DATA_BASE,
		ONPU_MCU_SRAM_BASE + ONPU_MCU_SRAM_SIZE, ONPU_MCU_WINDOW_BASE,
		s->offset, s->file_size, s->load_addr, s->mem_size,
		s->offset + s->file_size, s->load_addr + s->mem_size,
		0x7fffffff, 0x80000000, 0xffffffff, 0u - s->load_addr,
		ONPU_MCU_ROM_DATA_BASE - s->load_addr, rnd(),
	};
	static const int32_t near[] = { 0, 0, 0, 0, 4, -4, 64, -64, 1, -1, 2 };

	return values[rnd() % (sizeof(values) / 4)] +
	       (uint32_t)near[rnd() % (sizeof(near) / 4)];
}

static void change_something(struct onpu_fw_header *h)
{
	const struct onpu_fw_header before = *h;
	struct onpu_fw_section *s = &h->sections[rnd() % 3];

	switch (rnd() % 12) {
	case 0: h->entry = tricky(&before); break;
	case 1: h->num_sections = rnd() % 4 ? rnd() % 4 : tricky(&before); break;
	case 2: s->flags ^= rnd() % 8 ? 1 : 1u << rnd() % 32; break;
	case 3: s->reserved[rnd() % 3] = rnd() & 1; break;
	case 4: case 5: s->offset = tricky(&before); break;
	case 6: s->file_size = tricky(&before); break;
	case 7: case 8: s->load_addr = tricky(&before); break;
	case 9: case 10: s->mem_size = tricky(&before); break;
	case 11: h->abi[rnd() % 8].major ^= rnd() & 1; break;
	}
}

static void repair_hashes(uint8_t *image)
{
	struct onpu_fw_header *h = image_hdr(image);

	for (uint32_t i = 0; i < ONPU_FW_MAX_SECTIONS; i++) {
		struct onpu_fw_section *s = &h->sections[i];

		if (i < h->num_sections && s->offset <= fw_image_size &&
		    s->file_size <= fw_image_size - s->offset)
			crypto_hash_sha256(s->sha256, image + s->offset,
					   s->file_size);
	}
}

static void test_signed_nonsense(void **state)
{
	unsigned int accepted = 0, rounds = 1500;
	uint8_t *image = image_copy();

	(void)state;
	for (unsigned int i = 0; i < rounds; i++) {
		struct fake *f = fake_create();
		uint32_t status;
		bool good;

		memcpy(image, fw_image, fw_image_size);
		for (uint32_t n = rnd() % 3; n < 3; n++)
			change_something(image_hdr(image));
		repair_hashes(image);
		image_resign(image, dev_seed);
		good = image_check(image, fw_image_size);
		f->stop_at_start = true;
		status = fake_boot(f, image, fw_image_size);
		if (good != (status == ONPU_BOOT_STAGE_START) ||
		    (!good && ONPU_BOOT_STAGE(status) !=
			      ONPU_BOOT_STAGE_FAILED))
			fail_msg("round %u: tool says %d, status %#x", i, good,
				 status);
		/* The staged image and what follows it are as they were. */
		assert_memory_equal(f->window, image, fw_image_size);
		assert_int_equal(f->window[fw_image_size], 0x5a);
		accepted += good;
		fake_destroy(f);
	}
	/* Both verdicts were seen often. */
	assert_in_range(accepted, rounds / 100, rounds * 9 / 10);
	free(image);
}

/* Other hardware than the ROM was made for must stop it, not confuse it. */
static void test_rom_trap(void **state)
{
	struct fake *f = fake_create();
	struct onpu_rv32_state s;

	(void)state;
	fake_settle(f);
	onpu_rv32_get_state(f->hart, &s);
	s.pc = 0x40000000; /* nothing there */
	s.wfi = 0;
	onpu_rv32_set_state(f->hart, &s);
	fake_run(f, 1);
	assert_int_equal(ONPU_BOOT_STAGE(f->boot_status),
			 ONPU_BOOT_STAGE_CRASHED);
	assert_int_equal(ONPU_BOOT_DETAIL(f->boot_status),
			 ONPU_RV32_EXC_FETCH_FAULT);
	assert_true(f->fatal);
	fake_destroy(f);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_range),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_rollback),
		cmocka_unit_test(test_race),
		cmocka_unit_test(test_flips),
		cmocka_unit_test(test_signed_nonsense),
		cmocka_unit_test(test_rom_trap),
	};

	fwtest_init(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/*
 * Boot ROM: waits for the host to stage a firmware image, copies it to SRAM,
 * verifies the copies and jumps to them.
 *
 * Idea: nothing of the image is believed before it is authenticated, and
 * nothing is looked at twice in memory that the host can write.  The header is
 * copied first; magic, version and lengths decide only whether it is one; then
 * key and signature; then what it says is checked; then each section is
 * copied to its place and the copy is hashed.  Every refusal has its own
 * error in BOOT_STATUS, and the host may try again.
 *
 * One thread, no interrupts: the controller sleeps until BOOT_CMD is written.
 */
#include <onpu/fwimage.h>
#include "mcu_io.h"
#include "rom.h"
#include "string.h"

ONPU_STATIC_ASSERT(ROM_HEADER_COPY == ONPU_MCU_ROM_DATA_BASE,
		   "header copy outside of the ROM's data");
ONPU_STATIC_ASSERT(ROM_STACK_TOP == ONPU_MCU_ROM_DATA_BASE +
		   ONPU_MCU_ROM_DATA_SIZE, "stack outside of the ROM's data");

#define KEY_WORDS	8

void rom_main(void);
void rom_trap(__u32 mcause);
void rom_jump(__u32 entry) __attribute__((noreturn));

/* The image where the host staged it, as addresses in the window. */
struct staged {
	__u32 addr;
	__u32 size;
};

/* An error and its detail, as BOOT_STATUS carries them; 0 is success. */
#define FAIL(error, detail)	((__u32)(error) << 8 | (__u32)(detail) << 16)

static void set_stage(enum onpu_boot_stage stage)
{
	mcu_write(ONPU_SYS_BOOT_STATUS, stage);
}

static struct onpu_fw_header *header(void)
{
	return (struct onpu_fw_header *)ROM_HEADER_COPY;
}

static int all_zero(const void *p, __u32 n)
{
	const __u8 *b = p;

	while (n--) {
		if (*b++)
			return 0;
	}
	return 1;
}

/* --- finding the image ----------------------------------------------------- */

static __u32 locate(struct staged *img)
{
	__u64 addr = mcu_read64(ONPU_SYS_BOOT_ADDR_LO);
	__u64 region = mcu_read64(ONPU_SYS_REGION_OFFSET_LO);
	__u32 region_size = mcu_read(ONPU_SYS_REGION_SIZE);
	__u32 size = mcu_read(ONPU_SYS_BOOT_SIZE);
	__u64 off = addr - region;

	if (addr < region || off > region_size ||
	    size > region_size - (__u32)off || addr & (ONPU_FW_ALIGN - 1))
		return FAIL(ONPU_BOOT_ERR_RANGE, 0);
	if (size < ONPU_FW_HEADER_SIZE || size > ONPU_FW_MAX_SIZE)
		return FAIL(ONPU_BOOT_ERR_LENGTH, 0);
	img->addr = ONPU_MCU_WINDOW_BASE + (__u32)off;
	img->size = size;
	return 0;
}

static __u32 check_identity(const struct onpu_fw_header *h, __u32 size)
{
	if (h->magic != ONPU_FW_MAGIC)
		return FAIL(ONPU_BOOT_ERR_MAGIC, 0);
	if (h->header_version != ONPU_FW_HEADER_VERSION)
		return FAIL(ONPU_BOOT_ERR_VERSION, 0);
	if (h->header_size != ONPU_FW_HEADER_SIZE || h->image_size != size)
		return FAIL(ONPU_BOOT_ERR_LENGTH, 0);
	return 0;
}

/* --- who signed it --------------------------------------------------------- */

static void sha256(__u32 addr, __u32 len, __u32 digest[KEY_WORDS])
{
	mcu_write(ONPU_CRYPTO_SRC, addr);
	mcu_write(ONPU_CRYPTO_LEN, len);
	mcu_write(ONPU_CRYPTO_CMD, ONPU_CRYPTO_SHA256);
	if (mcu_read(ONPU_CRYPTO_RESULT) != ONPU_CRYPTO_OK)
		rom_trap(~0u);
	for (__u32 i = 0; i < KEY_WORDS; i++)
		digest[i] = mcu_read(ONPU_CRYPTO_DIGEST + 4 * i);
}

/* An erased fuse (all zero) permits no key. */
static int hash_matches(const __u32 digest[KEY_WORDS], __u32 fuse)
{
	__u32 differs = 0, programmed = 0;

	for (__u32 i = 0; i < KEY_WORDS; i++) {
		__u32 word = mcu_read(fuse + 4 * i);

		differs |= word ^ digest[i];
		programmed |= word;
	}
	return programmed && !differs;
}

static __u32 check_key(const struct onpu_fw_header *h)
{
	__u32 digest[KEY_WORDS];

	sha256((__u32)h->public_key, sizeof(h->public_key), digest);
	if (hash_matches(digest, ONPU_SYS_KEY_HASH))
		return 0;
	if (mcu_read(ONPU_SYS_FUSE_FLAGS) & ONPU_FUSE_DEV_KEY &&
	    hash_matches(digest, ONPU_SYS_DEV_KEY_HASH))
		return 0;
	return FAIL(ONPU_BOOT_ERR_KEY, 0);
}

static __u32 check_signature(const struct onpu_fw_header *h)
{
	mcu_write(ONPU_CRYPTO_SRC, (__u32)h);
	mcu_write(ONPU_CRYPTO_LEN, ONPU_FW_SIGNED_SIZE);
	mcu_write(ONPU_CRYPTO_KEY, (__u32)h->public_key);
	mcu_write(ONPU_CRYPTO_SIG, (__u32)h->signature);
	mcu_write(ONPU_CRYPTO_CMD, ONPU_CRYPTO_VERIFY);
	if (mcu_read(ONPU_CRYPTO_RESULT) != ONPU_CRYPTO_OK)
		return FAIL(ONPU_BOOT_ERR_SIGNATURE, 0);
	return 0;
}

/* --- what it says, now that somebody vouches for it ------------------------ */

static __u32 check_reserved(const struct onpu_fw_header *h)
{
	if (!all_zero(h->reserved, sizeof(h->reserved)) ||
	    !all_zero(h->reserved2, sizeof(h->reserved2)) ||
	    !all_zero(&h->abi[ONPU_FW_ABI_COUNT],
		      sizeof(h->abi) - ONPU_FW_ABI_COUNT * sizeof(h->abi[0])) ||
	    h->name[sizeof(h->name) - 1])
		return FAIL(ONPU_BOOT_ERR_RESERVED, 0);
	for (__u32 i = 0; i < ONPU_FW_MAX_SECTIONS; i++) {
		const struct onpu_fw_section *s = &h->sections[i];

		if (i >= h->num_sections ? !all_zero(s, sizeof(*s)) :
		    s->flags & ~ONPU_FW_SECTION_EXEC ||
		    !all_zero(s->reserved, sizeof(s->reserved)))
			return FAIL(ONPU_BOOT_ERR_RESERVED, i);
	}
	return 0;
}

static int overlap(__u32 a, __u32 a_size, __u32 b, __u32 b_size)
{
	return a < b + b_size && b < a + a_size;
}

/* The bytes of section @i in the file: after the header, inside, apart. */
static __u32 check_file_range(const struct onpu_fw_header *h, __u32 i)
{
	const struct onpu_fw_section *s = &h->sections[i];

	if (s->offset & (ONPU_FW_ALIGN - 1) || s->offset < h->header_size ||
	    s->offset > h->image_size ||
	    s->file_size > h->image_size - s->offset)
		return FAIL(ONPU_BOOT_ERR_LENGTH, i);
	for (__u32 k = 0; k < i; k++) {
		if (overlap(s->offset, s->file_size, h->sections[k].offset,
			    h->sections[k].file_size))
			return FAIL(ONPU_BOOT_ERR_LENGTH, i);
	}
	return 0;
}

/* Its place in SRAM: below the ROM's data, and no two in one place. */
static __u32 check_load_range(const struct onpu_fw_header *h, __u32 i)
{
	const struct onpu_fw_section *s = &h->sections[i];
	__u32 off = s->load_addr - ONPU_MCU_SRAM_BASE;
	__u32 room = ONPU_MCU_ROM_DATA_BASE - ONPU_MCU_SRAM_BASE;

	if (s->load_addr & 3 || off >= room || !s->mem_size ||
	    s->mem_size > room - off || s->file_size > s->mem_size)
		return FAIL(ONPU_BOOT_ERR_SECTION, i);
	for (__u32 k = 0; k < i; k++) {
		if (overlap(s->load_addr, s->mem_size, h->sections[k].load_addr,
			    h->sections[k].mem_size))
			return FAIL(ONPU_BOOT_ERR_SECTION, i);
	}
	return 0;
}

static __u32 check_sections(const struct onpu_fw_header *h)
{
	for (__u32 i = 0; i < h->num_sections; i++) {
		__u32 fail = check_file_range(h, i);

		if (!fail)
			fail = check_load_range(h, i);
		if (fail)
			return fail;
	}
	return 0;
}

static __u32 check_entry(const struct onpu_fw_header *h)
{
	for (__u32 i = 0; i < h->num_sections; i++) {
		const struct onpu_fw_section *s = &h->sections[i];

		if (s->flags & ONPU_FW_SECTION_EXEC && !(h->entry & 1) &&
		    h->entry - s->load_addr < s->file_size)
			return 0;
	}
	return FAIL(ONPU_BOOT_ERR_ENTRY, 0);
}

static __u32 check_header(const struct onpu_fw_header *h)
{
	__u32 fail;

	if (!h->num_sections || h->num_sections > ONPU_FW_MAX_SECTIONS)
		return FAIL(ONPU_BOOT_ERR_SECTION, ONPU_FW_MAX_SECTIONS);
	fail = check_reserved(h);
	if (fail)
		return fail;
	if (h->abi[ONPU_FW_ABI_HW].major !=
	    mcu_read(ONPU_SYS_HW_VERSION) >> 16)
		return FAIL(ONPU_BOOT_ERR_HARDWARE, 0);
	if (h->svn < mcu_read(ONPU_SYS_MIN_SVN))
		return FAIL(ONPU_BOOT_ERR_ROLLBACK, 0);
	fail = check_sections(h);
	return fail ? fail : check_entry(h);
}

/* --- loading --------------------------------------------------------------- */

static __u32 load_section(const struct onpu_fw_header *h,
			  const struct staged *img, __u32 i)
{
	const struct onpu_fw_section *s = &h->sections[i];
	__u8 *dst = (__u8 *)s->load_addr;
	__u32 digest[KEY_WORDS];

	memcpy(dst, (const void *)(img->addr + s->offset), s->file_size);
	memset(dst + s->file_size, 0, s->mem_size - s->file_size);
	sha256(s->load_addr, s->file_size, digest);
	if (memcmp(digest, s->sha256, sizeof(digest)))
		return FAIL(ONPU_BOOT_ERR_HASH, i);
	return 0;
}

/* What was loaded of a refused image must not stay around. */
static void wipe_sram(void)
{
	memset((void *)ONPU_MCU_SRAM_BASE, 0,
	       ONPU_MCU_ROM_DATA_BASE - ONPU_MCU_SRAM_BASE);
}

static __u32 load(void)
{
	struct onpu_fw_header *h = header();
	struct staged img;
	__u32 fail;

	set_stage(ONPU_BOOT_STAGE_LOAD);
	fail = locate(&img);
	if (fail)
		return fail;
	memcpy(h, (const void *)img.addr, sizeof(*h));
	fail = check_identity(h, img.size);
	if (fail)
		return fail;

	set_stage(ONPU_BOOT_STAGE_VERIFY);
	fail = check_key(h);
	if (!fail)
		fail = check_signature(h);
	if (!fail)
		fail = check_header(h);
	if (fail)
		return fail;
	for (__u32 i = 0; !fail && i < h->num_sections; i++)
		fail = load_section(h, &img, i);
	if (fail)
		wipe_sram();
	return fail;
}

/* Sleep until the host gives a boot command. */
static void wait_for_command(void)
{
	while (!(mcu_read(ONPU_SYS_IRQ_PENDING) & ONPU_MCU_IRQ_BOOT))
		mcu_wait();
	mcu_write(ONPU_SYS_IRQ_ACK, ONPU_MCU_IRQ_BOOT);
}

void rom_main(void)
{
	__u32 fail;

	mcu_write(ONPU_SYS_IRQ_ENABLE, ONPU_MCU_IRQ_BOOT);
	mcu_enable_wake(MIE_MEIE);
	set_stage(ONPU_BOOT_STAGE_ROM);
	for (;;) {
		wait_for_command();
		fail = load();
		if (!fail)
			break;
		mcu_write(ONPU_SYS_BOOT_STATUS, ONPU_BOOT_STAGE_FAILED | fail);
		mcu_write(ONPU_SYS_HOST_IRQ, ONPU_IRQ_BOOT);
	}
	mcu_write(ONPU_SYS_IRQ_ENABLE, 0);
	set_stage(ONPU_BOOT_STAGE_START);
	mcu_fence();
	rom_jump(header()->entry);
}

void rom_trap(__u32 mcause)
{
	mcu_write(ONPU_SYS_BOOT_STATUS,
		  ONPU_BOOT_STAGE_CRASHED | (mcause & 0xffff) << 16);
	mcu_write(ONPU_SYS_FATAL, 1);
	for (;;)
		mcu_wait();
}

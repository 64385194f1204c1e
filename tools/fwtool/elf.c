// SPDX-License-Identifier: MIT
/* What of a RISC-V ELF file goes into an image: its loadable segments. */
#include <elf.h>
#include <string.h>
#include "fwtool.h"

static bool add_segment(const uint8_t *elf, size_t size, const Elf32_Phdr *ph,
			struct program *prog)
{
	struct segment *s = &prog->segments[prog->n];

	if (ph->p_offset > size || ph->p_filesz > size - ph->p_offset ||
	    ph->p_filesz > ph->p_memsz)
		return refuse("ELF: bad segment");
	if (prog->n == ONPU_FW_MAX_SECTIONS)
		return refuse("ELF: more than %d segments", ONPU_FW_MAX_SECTIONS);
	*s = (struct segment) {
		.addr = ph->p_paddr,
		.file_size = ph->p_filesz,
		.mem_size = ph->p_memsz,
		.exec = ph->p_flags & PF_X,
		.data = elf + ph->p_offset,
	};
	prog->n++;
	return true;
}

bool elf_parse(const uint8_t *elf, size_t size, struct program *prog)
{
	Elf32_Ehdr eh;
	Elf32_Phdr ph;

	memset(prog, 0, sizeof(*prog));
	if (size < sizeof(eh))
		return refuse("ELF: too short");
	memcpy(&eh, elf, sizeof(eh));
	if (memcmp(eh.e_ident, ELFMAG, SELFMAG) ||
	    eh.e_ident[EI_CLASS] != ELFCLASS32 ||
	    eh.e_ident[EI_DATA] != ELFDATA2LSB || eh.e_machine != EM_RISCV ||
	    eh.e_phentsize != sizeof(ph))
		return refuse("ELF: not a 32-bit RISC-V program");
	prog->entry = eh.e_entry;
	for (unsigned int i = 0; i < eh.e_phnum; i++) {
		uint64_t off = eh.e_phoff + (uint64_t)i * sizeof(ph);

		if (off + sizeof(ph) > size)
			return refuse("ELF: program headers outside of the file");
		memcpy(&ph, elf + off, sizeof(ph));
		if (ph.p_type == PT_LOAD && ph.p_memsz &&
		    !add_segment(elf, size, &ph, prog))
			return false;
	}
	return prog->n || refuse("ELF: nothing to load");
}

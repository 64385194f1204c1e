// SPDX-License-Identifier: MIT
/*
 * onpu-rv32run: runs a bare RV32 ELF file on the card's instruction-set
 * simulator, with the `tohost' convention of the public RISC-V test suites.
 *
 * The program gets one or more blocks of memory and a core-local interruptor
 * (msip, mtimecmp, mtime) where common machines have it; mtime counts executed
 * instructions, and jumps ahead when the program sleeps, so runs repeat
 * exactly.  Single-threaded, no locking.
 */
#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "rv32.h"

enum { EXIT_PASS = 0, EXIT_FAIL = 1, EXIT_USAGE = 2, EXIT_STUCK = 3 };

#define CLINT_MSIP	0x02000000u
#define CLINT_MTIMECMP	0x02004000u
#define CLINT_MTIME	0x0200bff8u
#define MAX_ELF_SIZE	(256l << 20)
#define POLL_INSNS	1000	/* how often tohost is looked at */

struct machine {
	struct onpu_rv32 *hart;
	struct onpu_rv32_region mem[ONPU_RV32_MAX_REGIONS];
	unsigned int n_mem;
	uint64_t mtime;		/* instructions run, plus skipped sleep */
	uint64_t mtimecmp;
	uint32_t msip;
};

struct options {
	const char *elf;
	const char *signature;
	uint64_t max_insns;
	bool trace;
	bool quiet;
};

struct image {
	uint8_t *data;
	size_t size;
	const Elf32_Sym *syms;
	size_t n_syms;
	const char *strtab;
	size_t strtab_size;
	uint32_t entry;
};

/* --------------------------------------------------------------- machine */

static uint8_t *mem_ptr(struct machine *m, uint32_t addr, uint32_t size)
{
	for (unsigned int i = 0; i < m->n_mem; i++) {
		const struct onpu_rv32_region *r = &m->mem[i];
		uint32_t off = addr - r->base;

		if (off < r->size && r->size - off >= size)
			return r->ptr + off;
	}
	return NULL;
}

static uint32_t mem_word(struct machine *m, uint32_t addr)
{
	const uint8_t *p = mem_ptr(m, addr, 4);
	uint32_t v = 0;

	if (p)
		memcpy(&v, p, 4);
	return le32toh(v);
}

static void update_lines(struct machine *m)
{
	onpu_rv32_set_irq(m->hart, ONPU_RV32_IRQ_SOFT, m->msip & 1);
	onpu_rv32_set_irq(m->hart, ONPU_RV32_IRQ_TIMER,
			  m->mtime >= m->mtimecmp);
}

static int bus_load(void *opaque, uint32_t addr, unsigned int size,
		    uint32_t *value)
{
	struct machine *m = opaque;

	if (size != 4)
		return -EINVAL;
	switch (addr) {
	case CLINT_MSIP:
		*value = m->msip;
		return 0;
	case CLINT_MTIMECMP:
		*value = (uint32_t)m->mtimecmp;
		return 0;
	case CLINT_MTIMECMP + 4:
		*value = (uint32_t)(m->mtimecmp >> 32);
		return 0;
	case CLINT_MTIME:
		*value = (uint32_t)m->mtime;
		return 0;
	case CLINT_MTIME + 4:
		*value = (uint32_t)(m->mtime >> 32);
		return 0;
	}
	return -EFAULT;
}

static int bus_store(void *opaque, uint32_t addr, unsigned int size,
		     uint32_t value)
{
	struct machine *m = opaque;

	if (size != 4)
		return -EINVAL;
	switch (addr) {
	case CLINT_MSIP:
		m->msip = value & 1;
		break;
	case CLINT_MTIMECMP:
		m->mtimecmp = (m->mtimecmp & ~0xffffffffull) | value;
		break;
	case CLINT_MTIMECMP + 4:
		m->mtimecmp = (uint64_t)value << 32 | (uint32_t)m->mtimecmp;
		break;
	default:
		return -EFAULT;
	}
	update_lines(m);
	onpu_rv32_stop(m->hart); /* the run in progress may end too late now */
	return 0;
}

static void trace(void *opaque, uint32_t pc, uint32_t insn)
{
	(void)opaque;
	if ((insn & 3) == 3)
		fprintf(stderr, "%08" PRIx32 ": %08" PRIx32 "\n", pc, insn);
	else
		fprintf(stderr, "%08" PRIx32 ":     %04" PRIx32 "\n", pc, insn);
}

/* ------------------------------------------------------------------- ELF */

static int read_file(const char *path, struct image *img)
{
	FILE *f = fopen(path, "rb");
	long size;
	int ret = -EIO;

	if (!f)
		return -errno;
	if (fseek(f, 0, SEEK_END) || (size = ftell(f)) < 0 ||
	    fseek(f, 0, SEEK_SET))
		goto out;
	if (size > MAX_ELF_SIZE) { /* or no regular file */
		ret = -EFBIG;
		goto out;
	}
	img->data = malloc((size_t)size + 1);
	if (!img->data) {
		ret = -ENOMEM;
		goto out;
	}
	img->size = fread(img->data, 1, (size_t)size, f);
	ret = img->size == (size_t)size ? 0 : -EIO;
out:
	fclose(f);
	return ret;
}

/* A table of @n elements of @each bytes lies in the file, aligned to 4. */
static const void *file_range(const struct image *img, uint32_t off,
			      uint64_t n, uint64_t each)
{
	uint64_t bytes = n * each;

	if (off & 3 || off > img->size || bytes > img->size - off)
		return NULL;
	return img->data + off;
}

static void find_symbols(struct image *img, const Elf32_Ehdr *eh)
{
	const Elf32_Shdr *sh = file_range(img, eh->e_shoff, eh->e_shnum,
					  sizeof(*sh));

	if (!sh || eh->e_shentsize != sizeof(*sh))
		return;
	for (unsigned int i = 0; i < eh->e_shnum; i++) {
		const Elf32_Shdr *str;

		if (sh[i].sh_type != SHT_SYMTAB || sh[i].sh_link >= eh->e_shnum)
			continue;
		str = &sh[sh[i].sh_link];
		if (str->sh_offset > img->size ||
		    str->sh_size > img->size - str->sh_offset || !str->sh_size)
			continue;
		img->n_syms = sh[i].sh_size / sizeof(Elf32_Sym);
		img->syms = file_range(img, sh[i].sh_offset, img->n_syms,
				       sizeof(Elf32_Sym));
		img->strtab = (const char *)img->data + str->sh_offset;
		img->strtab_size = str->sh_size;
		if (img->syms && !img->strtab[img->strtab_size - 1])
			return;
		img->syms = NULL;
	}
}

static bool symbol(const struct image *img, const char *name, uint32_t *value)
{
	for (size_t i = 0; img->syms && i < img->n_syms; i++) {
		if (img->syms[i].st_name < img->strtab_size &&
		    !strcmp(img->strtab + img->syms[i].st_name, name)) {
			*value = img->syms[i].st_value;
			return true;
		}
	}
	return false;
}

static const char *load_elf(struct machine *m, struct image *img)
{
	const Elf32_Ehdr *eh = (const void *)img->data;
	const Elf32_Phdr *ph;

	if (img->size < sizeof(*eh) || memcmp(eh->e_ident, ELFMAG, SELFMAG) ||
	    eh->e_ident[EI_CLASS] != ELFCLASS32 ||
	    eh->e_ident[EI_DATA] != ELFDATA2LSB || eh->e_machine != EM_RISCV)
		return "not a 32-bit RISC-V ELF file";
	ph = file_range(img, eh->e_phoff, eh->e_phnum, sizeof(*ph));
	if (!ph || eh->e_phentsize != sizeof(*ph))
		return "bad program headers";
	for (unsigned int i = 0; i < eh->e_phnum; i++) {
		uint8_t *dst;

		if (ph[i].p_type != PT_LOAD || !ph[i].p_memsz)
			continue;
		if (ph[i].p_filesz > ph[i].p_memsz ||
		    ph[i].p_offset > img->size ||
		    ph[i].p_filesz > img->size - ph[i].p_offset)
			return "bad segment";
		dst = mem_ptr(m, ph[i].p_paddr, ph[i].p_memsz);
		if (!dst)
			return "segment outside of memory (see --mem)";
		memcpy(dst, img->data + ph[i].p_offset, ph[i].p_filesz);
	}
	img->entry = eh->e_entry;
	find_symbols(img, eh);
	return NULL;
}

static int write_signature(struct machine *m, const struct image *img,
			   const char *path)
{
	uint32_t begin, end;
	FILE *f;

	if (!symbol(img, "begin_signature", &begin) ||
	    !symbol(img, "end_signature", &end) || begin & 3 || end < begin ||
	    (end > begin && !mem_ptr(m, begin, end - begin))) {
		fprintf(stderr, "rv32run: no usable begin_signature and "
			"end_signature\n");
		return -EINVAL;
	}
	f = fopen(path, "w");
	if (!f) {
		perror(path);
		return -errno;
	}
	for (uint32_t a = begin; a < end; a += 4)
		fprintf(f, "%08" PRIx32 "\n", mem_word(m, a));
	if (fclose(f)) {
		perror(path);
		return -EIO;
	}
	return 0;
}

/* ------------------------------------------------------------------- run */

static void print_state(struct machine *m, const char *why)
{
	struct onpu_rv32_state s;

	onpu_rv32_get_state(m->hart, &s);
	fprintf(stderr, "rv32run: %s: pc=%08" PRIx32 " mcause=%08" PRIx32
		" mepc=%08" PRIx32 " mtval=%08" PRIx32 " insns=%" PRIu64 "\n",
		why, s.pc, s.mcause, s.mepc, s.mtval, s.minstret);
}

/*
 * What the program wrote to tohost: -1 nothing or a console byte, else its
 * exit code.  Odd values end the program; device 1 command 1 prints a byte.
 */
static int64_t poll_tohost(struct machine *m, uint32_t tohost)
{
	uint32_t low = mem_word(m, tohost), high = mem_word(m, tohost + 4);
	uint8_t *p = mem_ptr(m, tohost, 8);

	if (!p || !(low | high))
		return -1;
	if (low & 1 && !high)
		return low >> 1;
	if (high == 0x01010000)
		putchar((int)(low & 0xff));
	memset(p, 0, 8);
	return -1;
}

/* The program sleeps: jump to the next timer interrupt, if there is one. */
static bool skip_sleep(struct machine *m)
{
	if (m->mtimecmp == UINT64_MAX || m->mtimecmp <= m->mtime)
		return false;
	m->mtime = m->mtimecmp;
	update_lines(m);
	return true;
}

static int run(struct machine *m, const struct image *img,
	       const struct options *opt)
{
	uint64_t left = opt->max_insns, n, chunk;
	bool has_tohost;
	uint32_t tohost = 0;
	int64_t code;

	has_tohost = symbol(img, "tohost", &tohost);
	while (left) {
		enum onpu_rv32_stop why;

		chunk = left < POLL_INSNS ? left : POLL_INSNS;
		if (m->mtimecmp > m->mtime && m->mtimecmp - m->mtime < chunk)
			chunk = m->mtimecmp - m->mtime;
		why = onpu_rv32_run(m->hart, chunk, &n);
		left -= n;
		m->mtime += n;
		update_lines(m);
		code = has_tohost ? poll_tohost(m, tohost) : -1;
		if (code >= 0) {
			if (!opt->quiet)
				fprintf(stderr, "rv32run: %s (%" PRId64 ")\n",
					code ? "FAIL" : "PASS", code);
			return code ? EXIT_FAIL : EXIT_PASS;
		}
		if (why == ONPU_RV32_LOCKUP) {
			print_state(m, "locked up");
			return EXIT_STUCK;
		}
		if (why == ONPU_RV32_WFI && !skip_sleep(m)) {
			print_state(m, "sleeps for ever");
			return EXIT_STUCK;
		}
	}
	print_state(m, "instruction limit");
	return EXIT_STUCK;
}

/* --------------------------------------------------------------- command */

static void usage(FILE *f)
{
	fprintf(f,
"usage: onpu-rv32run [options] ELF\n"
"Run a bare RV32IMC program; it ends by writing to its symbol `tohost'\n"
"(1: pass, n << 1 | 1: failure n).\n"
"  -m, --mem BASE:SIZE    memory, may be repeated (default 0x80000000:16M)\n"
"  -n, --max-insns N      give up after N instructions (default 100000000)\n"
"  -s, --signature FILE   write begin_signature .. end_signature as hex words\n"
"  -t, --trace            print every instruction on stderr\n"
"  -q, --quiet            no verdict, only the exit status\n"
"  -h, --help             this text\n"
"Exit status: 0 pass, 1 fail, 2 cannot run, 3 stuck or limit reached.\n");
}

static bool parse_number(const char *s, char end, const char **rest,
			 uint64_t *value)
{
	char *e;

	errno = 0;
	*value = strtoull(s, &e, 0);
	if (errno || e == s)
		return false;
	if (*e == 'K' || *e == 'M')
		*value <<= *e++ == 'K' ? 10 : 20;
	if (*e != end)
		return false;
	*rest = e + 1;
	return true;
}

static bool add_memory(struct machine *m, const char *arg)
{
	struct onpu_rv32_region *r = &m->mem[m->n_mem];
	uint64_t base, size;
	const char *rest;

	if (m->n_mem == ONPU_RV32_MAX_REGIONS ||
	    !parse_number(arg, ':', &rest, &base) ||
	    !parse_number(rest, '\0', &rest, &size) || base >> 32 ||
	    !size || size > 1u << 30)
		return false;
	*r = (struct onpu_rv32_region) {
		.base = (uint32_t)base, .size = (uint32_t)size,
		.ptr = calloc(1, size), .writable = true, .executable = true,
	};
	if (!r->ptr)
		return false;
	m->n_mem++;
	return true;
}

static int parse(int argc, char **argv, struct machine *m, struct options *opt)
{
	static const struct option longs[] = {
		{ "mem", required_argument, NULL, 'm' },
		{ "max-insns", required_argument, NULL, 'n' },
		{ "signature", required_argument, NULL, 's' },
		{ "trace", no_argument, NULL, 't' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *rest;
	int c;

	while ((c = getopt_long(argc, argv, "m:n:s:tqh", longs, NULL)) != -1) {
		switch (c) {
		case 'm':
			if (!add_memory(m, optarg)) {
				fprintf(stderr, "rv32run: bad --mem %s\n",
					optarg);
				return EXIT_USAGE;
			}
			break;
		case 'n':
			if (!parse_number(optarg, '\0', &rest,
					  &opt->max_insns)) {
				fprintf(stderr, "rv32run: bad number %s\n",
					optarg);
				return EXIT_USAGE;
			}
			break;
		case 's':
			opt->signature = optarg;
			break;
		case 't':
			opt->trace = true;
			break;
		case 'q':
			opt->quiet = true;
			break;
		case 'h':
			usage(stdout);
			exit(EXIT_PASS);
		default:
			usage(stderr);
			return EXIT_USAGE;
		}
	}
	if (optind + 1 != argc) {
		usage(stderr);
		return EXIT_USAGE;
	}
	opt->elf = argv[optind];
	if (!m->n_mem && !add_memory(m, "0x80000000:16M"))
		return EXIT_USAGE;
	return 0;
}

static int boot(struct machine *m, struct image *img,
		const struct options *opt)
{
	struct onpu_rv32_config config = {
		.bus = { .load = bus_load, .store = bus_store },
		.opaque = m,
	};
	const char *problem;
	int ret = read_file(opt->elf, img);

	if (ret) {
		fprintf(stderr, "rv32run: %s: %s\n", opt->elf, strerror(-ret));
		return EXIT_USAGE;
	}
	problem = load_elf(m, img);
	if (problem) {
		fprintf(stderr, "rv32run: %s: %s\n", opt->elf, problem);
		return EXIT_USAGE;
	}
	config.reset_pc = img->entry;
	m->hart = onpu_rv32_create(&config);
	if (!m->hart)
		return EXIT_USAGE;
	for (unsigned int i = 0; i < m->n_mem; i++) {
		if (onpu_rv32_add_region(m->hart, &m->mem[i])) {
			fprintf(stderr, "rv32run: memory blocks overlap or are "
				"not multiples of 4\n");
			return EXIT_USAGE;
		}
	}
	if (opt->trace)
		onpu_rv32_set_trace(m->hart, trace, NULL);
	return 0;
}

int main(int argc, char **argv)
{
	struct options opt = { .max_insns = 100000000 };
	struct machine m = { .mtimecmp = UINT64_MAX };
	struct image img = { 0 };
	int ret = parse(argc, argv, &m, &opt);

	if (!ret)
		ret = boot(&m, &img, &opt);
	if (!ret) {
		ret = run(&m, &img, &opt);
		fflush(stdout);
		if (opt.signature && ret != EXIT_STUCK &&
		    write_signature(&m, &img, opt.signature))
			ret = EXIT_USAGE;
	}
	onpu_rv32_destroy(m.hart);
	for (unsigned int i = 0; i < m.n_mem; i++)
		free(m.mem[i].ptr);
	free(img.data);
	return ret;
}

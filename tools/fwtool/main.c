// SPDX-License-Identifier: MIT
/*
 * onpu-fwtool: builds, signs, inspects and verifies firmware images.
 * Single-threaded, one command per run.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fwtool.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

#define MAX_ELF_SIZE	(64u << 20)

struct args {
	const char *elf;
	const char *key;
	const char *pub;
	const char *name;
	const char *version;
	const char *svn;
	const char *out;
	const char *operand;
	bool json;
};

bool refuse(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("onpu-fwtool: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return false;
}

/* ------------------------------------------------------------------ files */

uint8_t *read_file(const char *path, size_t max, size_t *size)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data;

	if (!f) {
		refuse("%s: %s", path, strerror(errno));
		return NULL;
	}
	data = malloc(max + 1);
	*size = data ? fread(data, 1, max + 1, f) : 0;
	if (!data || ferror(f) || *size > max) {
		refuse("%s: %s", path, *size > max ? "file too large" :
		     "cannot read");
		free(data);
		data = NULL;
	}
	fclose(f);
	return data;
}

bool write_file(const char *path, const void *data, size_t size,
		unsigned int mode)
{
	char tmp[4096];
	const char *p = data;
	int n, fd;

	n = snprintf(tmp, sizeof(tmp), "%s.tmp", path);
	if (n < 0 || (size_t)n >= sizeof(tmp))
		return refuse("%s: name too long", path);
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (fd < 0)
		return refuse("%s: %s", tmp, strerror(errno));
	while (size) {
		ssize_t done = write(fd, p, size);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0) {
			refuse("%s: %s", tmp, strerror(errno));
			close(fd);
			unlink(tmp);
			return false;
		}
		p += done;
		size -= (size_t)done;
	}
	if (close(fd) || rename(tmp, path)) {
		refuse("%s: %s", path, strerror(errno));
		unlink(tmp);
		return false;
	}
	return true;
}

/* --------------------------------------------------------------- commands */

static bool parse_u32(const char *s, uint32_t *v)
{
	unsigned long long n;
	char *end;

	errno = 0;
	n = strtoull(s, &end, 0);
	*v = (uint32_t)n;
	return !errno && end != s && !*end && *s != '-' && n <= UINT32_MAX;
}

static bool parse_version(const char *s, uint32_t *v)
{
	unsigned int a, b, c;
	char rest;

	if (sscanf(s, "%3u.%3u.%5u%c", &a, &b, &c, &rest) != 3 || a > 255 ||
	    b > 255 || c > 65535)
		return refuse("%s: not a version MAJOR.MINOR.PATCH", s);
	*v = a << 24 | b << 16 | c;
	return true;
}

static int cmd_build(const struct args *a)
{
	struct image_info info = { .name = a->name ? a->name : "onpu" };
	uint8_t *elf, *image = NULL, seed[KEY_BYTES];
	struct program prog;
	size_t size;
	bool ok;

	if (!a->elf || !a->key || !a->out || !a->version)
		return EXIT_USAGE;
	if (a->svn && !parse_u32(a->svn, &info.svn))
		return EXIT_USAGE;
	if (!parse_version(a->version, &info.fw_version))
		return EXIT_USAGE;
	elf = read_file(a->elf, MAX_ELF_SIZE, &size);
	ok = elf && key_read(a->key, seed) && elf_parse(elf, size, &prog) &&
	     (image = image_build(&prog, &info, &size)) &&
	     image_sign(image, size, seed) && image_check(image, size) &&
	     write_file(a->out, image, size, 0644);
	sodium_memzero(seed, sizeof(seed));
	free(image);
	free(elf);
	return ok ? EXIT_OK : EXIT_FAILED;
}

static int cmd_sign(const struct args *a)
{
	uint8_t *image, seed[KEY_BYTES];
	size_t size;
	bool ok;

	if (!a->key || !a->out || !a->operand)
		return EXIT_USAGE;
	image = read_file(a->operand, ONPU_FW_MAX_SIZE, &size);
	ok = image && key_read(a->key, seed) && image_sign(image, size, seed) &&
	     image_check(image, size) && write_file(a->out, image, size, 0644);
	sodium_memzero(seed, sizeof(seed));
	free(image);
	return ok ? EXIT_OK : EXIT_FAILED;
}

static int cmd_inspect(const struct args *a)
{
	struct onpu_fw_header h;
	uint8_t *image;
	size_t size;
	bool ok;

	if (!a->operand)
		return EXIT_USAGE;
	image = read_file(a->operand, ONPU_FW_MAX_SIZE, &size);
	ok = image && image_header(image, size, &h);
	if (ok)
		image_print(image, size, a->json);
	free(image);
	return ok ? EXIT_OK : EXIT_FAILED;
}

static int cmd_verify(const struct args *a)
{
	struct onpu_fw_header h;
	uint8_t *image, pub[KEY_BYTES];
	size_t size;
	bool ok;

	if (!a->operand)
		return EXIT_USAGE;
	image = read_file(a->operand, ONPU_FW_MAX_SIZE, &size);
	ok = image && image_check(image, size) && image_header(image, size, &h);
	if (ok && a->pub) {
		ok = key_read(a->pub, pub);
		if (ok && memcmp(pub, h.public_key, sizeof(pub)))
			ok = refuse("signed by another key than %s", a->pub);
	}
	free(image);
	if (ok)
		printf("%s: good%s\n", a->operand,
		       a->pub ? "" : " (signer not checked: no --pub)");
	return ok ? EXIT_OK : EXIT_FAILED;
}

static int cmd_keygen(const struct args *a)
{
	if (!a->operand)
		return EXIT_USAGE;
	return key_generate(a->operand) ? EXIT_OK : EXIT_FAILED;
}

/* ------------------------------------------------------------ command line */

static const char usage_text[] =
"usage: onpu-fwtool COMMAND ...\n"
"  build --elf FILE --key FILE --version X.Y.Z [--name TEXT] [--svn N] --out FILE\n"
"          pack the loadable segments of a program and sign them\n"
"  sign --key FILE --out FILE IMAGE\n"
"          sign an image again, with another key\n"
"  inspect [--json] IMAGE\n"
"          print the header\n"
"  verify [--pub FILE] IMAGE\n"
"          check everything that the boot ROM checks, but for the fuses\n"
"  keygen NAME\n"
"          make NAME.key and NAME.pub\n"
"  --help  this text\n"
"Exit status: 0 done, 1 refused or failed, 2 wrong usage.\n";

static const struct {
	const char *name;
	int (*run)(const struct args *a);
} commands[] = {
	{ "build", cmd_build },
	{ "sign", cmd_sign },
	{ "inspect", cmd_inspect },
	{ "verify", cmd_verify },
	{ "keygen", cmd_keygen },
};

static bool parse_args(int argc, char **argv, struct args *a)
{
	static const struct option longs[] = {
		{ "elf", required_argument, NULL, 'e' },
		{ "key", required_argument, NULL, 'k' },
		{ "pub", required_argument, NULL, 'p' },
		{ "name", required_argument, NULL, 'n' },
		{ "version", required_argument, NULL, 'v' },
		{ "svn", required_argument, NULL, 's' },
		{ "out", required_argument, NULL, 'o' },
		{ "json", no_argument, NULL, 'j' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "o:", longs, NULL)) != -1) {
		switch (c) {
		case 'e': a->elf = optarg; break;
		case 'k': a->key = optarg; break;
		case 'p': a->pub = optarg; break;
		case 'n': a->name = optarg; break;
		case 'v': a->version = optarg; break;
		case 's': a->svn = optarg; break;
		case 'o': a->out = optarg; break;
		case 'j': a->json = true; break;
		default: return false;
		}
	}
	if (optind < argc)
		a->operand = argv[optind++];
	return optind == argc;
}

int main(int argc, char **argv)
{
	struct args a = { 0 };
	int ret = EXIT_USAGE;

	if (argc == 2 && (!strcmp(argv[1], "--help") ||
			  !strcmp(argv[1], "-h"))) {
		fputs(usage_text, stdout);
		return EXIT_OK;
	}
	if (sodium_init() < 0)
		return refuse("libsodium does not start"), EXIT_FAILED;
	for (size_t i = 0; argc > 1 &&
			   i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (!strcmp(argv[1], commands[i].name) &&
		    parse_args(argc - 1, argv + 1, &a))
			ret = commands[i].run(&a);
	}
	if (ret == EXIT_USAGE)
		fputs(usage_text, stderr);
	return ret;
}

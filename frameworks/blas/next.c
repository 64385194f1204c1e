// SPDX-License-Identifier: MIT
/*
 * The next BLAS: the library that computes what does not go to the card.
 *
 * It is loaded by its path, once, before anything of the program's runs, and stays. Looking for it by
 * RTLD_NEXT would not do: programs load BLAS as a dependency of a plug-in (numpy does), where the
 * search order knows no next. By then the slots are full, and a forwarded call costs one jump: no
 * lock, no check. RTLD_DEEPBIND is left out on purpose: a program's own xerbla_() is to be found
 * from there too. So the next BLAS may come back to us (blas_in_next).
 *
 * What it has not (OpenBLAS has not all of the reference's helpers) comes from the reference BLAS if
 * that is installed. What neither has ends the program, by name, when it is called.
 */
#include "blas.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef BLAS_LIBDIR
#define BLAS_LIBDIR "/usr/lib/x86_64-linux-gnu"
#endif

struct slot {
	const char *name;
	void **pointer;
};

#pragma GCC visibility push(hidden)
extern const struct slot blas_slots[], blas_slots_end[];
void blas_missing(const char *name) __attribute__((noreturn, used));
#pragma GCC visibility pop

/* The testers of the C interface refer to them; the reference library sets them. */
BLAS_API int CBLAS_CallFromC;
BLAS_API int RowMajorStrg;

BLAS_API sgemm_fn sgemm_;

/* The fastest first. */
static const char *const candidates[] = {
	BLAS_LIBDIR "/openblas-pthread/libblas.so.3",
	BLAS_LIBDIR "/openblas-openmp/libblas.so.3",
	BLAS_LIBDIR "/openblas-serial/libblas.so.3",
	BLAS_LIBDIR "/blis-pthread/libblas.so.3",
	BLAS_LIBDIR "/blis-openmp/libblas.so.3",
	BLAS_LIBDIR "/blis-serial/libblas.so.3",
	BLAS_LIBDIR "/atlas/libblas.so.3",
	"libopenblas.so.0",
	"libblis.so.4",
};

static const char reference[] = BLAS_LIBDIR "/blas/libblas.so.3";
static const char *next_path = "none";

const char *blas_next_path(void)
{
	return next_path;
}

void blas_missing(const char *name)
{
	blas_complain("%s() was called, which %s does not have", name, next_path);
	abort();
}

static void *load(const char *path)
{
	void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	/* We may be what is installed there. */
	if (handle && (!dlsym(handle, "sgemm_") || dlsym(handle, "sgemm_") == (void *)sgemm_)) {
		dlclose(handle);
		return NULL;
	}
	return handle;
}

static void *find(void)
{
	const char *wish = blas_settings()->next;
	void *handle = wish ? load(wish) : NULL;

	if (handle) {
		next_path = wish;
		return handle;
	}
	if (wish)
		blas_complain("ACCEL_BLAS_NEXT: %s cannot be the next BLAS", wish);
	for (size_t i = 0; i < sizeof(candidates) / sizeof(candidates[0]) && !handle; i++) {
		handle = load(candidates[i]);
		if (handle)
			next_path = candidates[i];
	}
	return handle;
}

static void fill(void *handle)
{
	for (const struct slot *slot = blas_slots; slot < blas_slots_end; slot++) {
		void *function = dlsym(handle, slot->name);
		Dl_info info;

		/* dlsym() looks into its dependencies too, and one of those could be us. */
		if (function && dladdr(function, &info) && info.dli_fbase) {
			Dl_info self;

			if (dladdr(blas_slots, &self) && self.dli_fbase == info.dli_fbase)
				continue;
			*slot->pointer = function;
		}
	}
}

__attribute__((constructor)) static void init(void)
{
	void *fallback = load(reference);
	void *handle = find();

	if (fallback)
		fill(fallback);
	if (handle)
		fill(handle);
	else if (fallback)
		next_path = reference;
	else
		blas_complain("no other BLAS is installed, and ours needs one (libopenblas0 or libblas3)");
}

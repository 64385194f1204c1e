# SPDX-License-Identifier: MIT
#
# The front door. Everything real is in tools/build (builds), tools/vm (boots), tests/run (tests)
# and the rooms' own Meson and Kbuild files.
#
# Kbuild reads the file Kbuild first, so `make -C $KDIR M=$PWD modules` never comes here.

MAKEFLAGS += --no-print-directory
BUILD := tools/build/build

.DEFAULT_GOAL := help
# Each target is parallel by itself; two of them would be in one build folder at the same time.
.NOTPARALLEL:
.PHONY: help deps build qemu firmware module libaccel tools check coverage demo demo-numpy vm bench lint \
	matrix install install-dkms clean distclean

help:
	@echo 'Targets:'
	@echo '  demo       install what is missing, build everything, boot the VM, run the demonstration'
	@echo '  demo-numpy an unmodified numpy program in the VM with the card and without; draws a plot'
	@echo '  check      run all the tests (T="lint host vm" or a part of them)'
	@echo '  coverage   run the tests on the debug kernel, print which lines of the driver ran'
	@echo '  vm         a shell in a VM with a card (CARDS=2, VRAM=8G; see tools/vm/vm --help)'
	@echo '  bench      matmuls beside OpenBLAS and oneDNN, copies beside memcpy, buffers and jobs'
	@echo '             beside emulated disks (FULL=1: all shapes and numbers of threads)'
	@echo '  build      build everything'
	@echo '  qemu, firmware, module, libaccel, tools'
	@echo '             build one part (module KDIR=/lib/modules/$$(uname -r)/build: build/onpu.ko'
	@echo '             for this machine instead of for the VM)'
	@echo '  deps       install what is missing from the distribution'
	@echo '  lint       checkpatch, sparse, W=1 and the rules of the tree'
	@echo '  matrix     onpu.ko for every kernel that the package archive has: a table'
	@echo '  install    install libaccel, the tools and the firmware image (below /usr/local; DESTDIR)'
	@echo '  install-dkms  build and install the module with dkms, for this kernel and those to come'
	@echo '  clean      remove what was built in this clone'
	@echo '  distclean  remove the cache folder too (QEMU, kernel; shared by all clones)'

deps:
	@tools/build/deps

build: deps
	@$(BUILD) all

qemu: deps
	@$(BUILD) qemu

module: deps
	@$(BUILD) module $(if $(KDIR),--kdir $(KDIR))

firmware libaccel tools: deps
	@$(BUILD) user

check: deps
	@tests/run $(T)

coverage: deps
	@tests/run debug --coverage

lint: deps
	@tests/run lint

matrix: deps
	@$(BUILD) matrix

demo: build
	@tools/vm/demo

demo-numpy: build
	@ONPU_EXTRA_DEPS=python3-matplotlib tools/build/deps
	@tools/vm/demo-numpy

bench: build
	@ONPU_EXTRA_DEPS=libdnnl-dev tools/build/deps
	@tests/bench/matmul $(if $(FULL),,--quick)
	@tests/bench/memory
	@tests/bench/blas
	@tests/bench/latency
	@tests/bench/replay

vm: build
	@tools/vm/vm $(if $(CARDS),--cards $(CARDS)) $(if $(VRAM),--vram $(VRAM))

install: deps
	@$(BUILD) user
	@meson install --no-rebuild -C "$${ONPU_BUILD:-build}/gcc" $(if $(DESTDIR),--destdir "$(DESTDIR)")

install-dkms:
	@packaging/dkms/install $(if $(DESTDIR),--destdir "$(DESTDIR)")

clean:
	@rm -rf "$${ONPU_BUILD:-build}"

distclean: clean
	@rm -rf "$${ONPU_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/onpu}"

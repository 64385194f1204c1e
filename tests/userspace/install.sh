#!/bin/sh
# SPDX-License-Identifier: MIT
# What `make install DESTDIR=` puts into a folder is enough to build and run a program, shared and
# static, without a card.
# install.sh BUILD EXAMPLE.c
set -u
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
status=0

meson install --no-rebuild -C "$1" --destdir "$dir" >"$dir/log" 2>&1 || { cat "$dir/log"; exit 1; }
pc=$(find "$dir" -name libaccel.pc)
lib=$(dirname "$(find "$dir" -name 'libaccel.so.1')")
for wanted in libaccel.so libaccel.so.1 libaccel.a libaccel-model.so.1; do
	[ -e "$lib/$wanted" ] || { echo "$wanted is missing"; status=1; }
done
for wanted in accel.h libaccel.3 accel_matmul.3 accelctl.1 accelctl onpu_fw.bin; do
	find "$dir" -name "$wanted" | grep -q . || { echo "$wanted is missing"; status=1; }
done
PKG_CONFIG_PATH=$(dirname "$pc")
PKG_CONFIG_SYSROOT_DIR=$dir
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
# shellcheck disable=SC2046
cc "$2" $(pkg-config --cflags --libs libaccel) -o "$dir/shared" || status=1
# shellcheck disable=SC2046
cc "$2" $(pkg-config --cflags libaccel) "$lib/libaccel.a" $(PKG_CONFIG_SYSROOT_DIR='' pkg-config --libs libdrm) \
	-pthread -o "$dir/static" || status=1
for program in shared static; do
	LD_LIBRARY_PATH=$lib ACCEL_DEVICE=model "$dir/$program" >"$dir/out" 2>&1
	grep -q '^19 22$' "$dir/out" || { echo "$program:"; cat "$dir/out"; status=1; }
done
exit $status
